/* The Gaussian particle flow: particles go to the best Gaussian approximation of the posterior. */
#include "gpf.h"

/* Rows that are multiplied at once: they stay in the first-level cache. */
#define KAL_GPF_ROWS 64

static const char *const Derivatives[] = {"adjoint", "ensemble", "KalGpfDerivatives", "KAL_GPF_", NULL};

/* "-<prefix>_<name>", in a buffer that the next call overwrites */
static const char *Option(const KalGpf *gpf, const char *name)
{
  static char text[64];

  (void)PetscSNPrintf(text, sizeof text, "-%s_%s", gpf->prefix, name);
  return text;
}

PetscErrorCode KalGpfSetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalGpf   *gpf      = (KalGpf *)analysis->data;
  PetscEnum schedule = (PetscEnum)gpf->schedule, derivatives = (PetscEnum)gpf->linearized;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsReal(Option(gpf, "step"), "Step length of the mean", NULL, gpf->step, &gpf->step, NULL));
  PetscCall(PetscOptionsReal(Option(gpf, "step_spread"), "Step length of the departures from it, times that of the mean", NULL, gpf->spread, &gpf->spread, NULL));
  PetscCall(PetscOptionsEnum(Option(gpf, "step_schedule"), "How the step falls to its final value", NULL, KalSchedules, schedule, &schedule, NULL));
  PetscCall(PetscOptionsReal(Option(gpf, "step_final"), "Final step of a schedule", NULL, gpf->stepfinal, &gpf->stepfinal, NULL));
  PetscCall(PetscOptionsBool(Option(gpf, "precondition"), "The mean goes along the particles' covariance times the derivative", NULL, gpf->precondition, &gpf->precondition, NULL));
  PetscCall(PetscOptionsBool(Option(gpf, "prior"), "The posterior has a prior, that of the model", NULL, gpf->prior, &gpf->prior, NULL));
  PetscCall(PetscOptionsEnum(Option(gpf, "derivatives"), "Where derivatives come from: the model's adjoint, or the particles' own predictions", NULL, Derivatives, derivatives, &derivatives, NULL));
  gpf->schedule   = (KalSchedule)schedule;
  gpf->linearized = (PetscBool)derivatives;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalGpfSetUp(KalAnalysis analysis)
{
  KalGpf        *gpf = (KalGpf *)analysis->data;
  const PetscInt N   = analysis->N;
  char           step[16], schedule[32];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(step, sizeof step, "%s_step", gpf->prefix));
  PetscCall(PetscSNPrintf(schedule, sizeof schedule, "%s_step_schedule", gpf->prefix));
  PetscCheck(gpf->step > 0.0 && !PetscIsInfOrNanReal(gpf->step), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must be positive and finite", Option(gpf, "step"), (double)gpf->step);
  PetscCheck(gpf->spread >= 0.0 && !PetscIsInfOrNanReal(gpf->spread), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must not be negative", Option(gpf, "step_spread"), (double)gpf->spread);
  PetscCall(KalScheduleCheck(analysis, step, gpf->schedule, gpf->stepfinal));
  PetscCall(KalScheduleNone(analysis, (PetscBool)(gpf->schedule != KAL_SCHEDULE_CONSTANT), schedule));
  PetscCheck(N <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_size %" PetscInt_FMT ": %s takes at most %d particles", N, gpf->prefix, KAL_MOST_SYSTEM);
  PetscCall(KalGramCreate(N, &gpf->gram));
  PetscCall(PetscMalloc1((size_t)N * ((size_t)N + 1), &gpf->sums));
  gpf->K                  = gpf->sums; /* of gf, which has other points, its own */
  analysis->needs.least   = 2;
  analysis->needs.adjoint = (PetscBool)!gpf->linearized;
  analysis->needs.prior   = gpf->prior;
  analysis->needs.untimed = PETSC_TRUE;
  if (!gpf->linearized) PetscFunctionReturn(PETSC_SUCCESS);
  analysis->space        = KAL_SPACE_ENSEMBLE;
  analysis->needs.points = N;
  PetscCall(PetscMalloc1((size_t)N * N, &gpf->W));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  const KalGpf *gpf = (const KalGpf *)analysis->data;

  PetscFunctionBeginUser;
  if (gpf->points) ask->points = gpf->points;
  if (gpf->linearized) PetscFunctionReturn(PETSC_SUCCESS);
  ask->observe     = PETSC_FALSE;
  ask->derivatives = KAL_DERIVATIVES_LOSS;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reserve(KalAnalysis analysis, KalGpf *gpf, PetscInt rows)
{
  const size_t size = (size_t)rows * (size_t)analysis->N;

  PetscFunctionBeginUser;
  if (rows <= gpf->room) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree5(gpf->X, gpf->P, gpf->phi, gpf->mean, gpf->go));
  PetscCall(PetscMalloc5(size, &gpf->X, gpf->points ? size : 1, &gpf->P, size, &gpf->phi, rows, &gpf->mean, rows, &gpf->go));
  gpf->room = rows;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The mean of each row, over members in their order, and x less it where that is wanted. */
static void Center(PetscInt rows, PetscInt N, PetscReal *x, PetscReal *mean, PetscBool take)
{
  for (PetscInt i = 0; i < rows; i++) mean[i] = 0.0;
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = 0; i < rows; i++) mean[i] += x[(size_t)j * rows + i];
  }
  for (PetscInt i = 0; i < rows; i++) mean[i] /= N;
  for (PetscInt j = 0; take && j < N; j++) {
    for (PetscInt i = 0; i < rows; i++) x[(size_t)j * rows + i] -= mean[i];
  }
}

/* y = y + a x */
KAL_WITHIN void Add(PetscInt n, PetscReal a, const PetscReal *restrict x, PetscReal *restrict y)
{
  for (PetscInt i = 0; i < n; i++) y[i] += a * x[i];
}

/* phi of a block without that of the prior: of the adjoint, or P W once W is known. */
static void Likelihood(const KalGpf *gpf, PetscInt N, const KalRows *block)
{
  const PetscInt   rows = block->count, last = block->ensembles - 1;
  const PetscReal *P = gpf->points ? gpf->P : gpf->X;

  for (PetscInt j = 0; j < N; j++) {
    PetscReal *phi = gpf->phi + (size_t)j * (size_t)rows;

    for (PetscInt i = 0; i < rows; i++) phi[i] = gpf->linearized ? 0.0 : gpf->samples * block->x[last][i + (size_t)j * (size_t)block->ld[last]];
    for (PetscInt k = 0; gpf->known && k < N; k++) Add(rows, gpf->W[(size_t)j * N + k], P + (size_t)k * (size_t)rows, phi);
  }
}

/* X, P, phi and the mean of phi of a block: particles, the points where these are others, and derivatives of the mean loss where they come from the adjoint. */
static PetscErrorCode Take(KalAnalysis analysis, const KalRows *block)
{
  KalGpf            *gpf  = (KalGpf *)analysis->data;
  const PetscInt     rows = block->count, N = analysis->N, at = gpf->points ? 1 : 0;
  const PetscScalar *m = analysis->priormean; /* NULL: 0 */

  PetscFunctionBeginUser;
  PetscCall(Reserve(analysis, gpf, rows));
  for (PetscInt j = 0; j < N; j++) PetscCall(PetscArraycpy(gpf->X + (size_t)j * (size_t)rows, block->x[0] + (size_t)j * (size_t)block->ld[0], rows));
  Center(rows, N, gpf->X, gpf->go, PETSC_TRUE);
  for (PetscInt j = 0; gpf->points && j < N; j++) {
    for (PetscInt i = 0; i < rows; i++) gpf->P[i + (size_t)j * (size_t)rows] = block->x[1][i + (size_t)j * (size_t)block->ld[1]] - gpf->go[i];
  }
  Likelihood(gpf, N, block);
  for (PetscInt j = 0; gpf->prior && j < N; j++) {
    for (PetscInt i = 0; i < rows; i++) {
      const PetscReal sd = analysis->prior[block->first + i], mean = m ? m[block->first + i] : 0.0;

      if (sd > 0.0) gpf->phi[i + (size_t)j * (size_t)rows] += (block->x[at][i + (size_t)j * (size_t)block->ld[at]] - mean) / (sd * sd);
    }
  }
  Center(rows, N, gpf->phi, gpf->mean, PETSC_FALSE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A block's part of X'X, and of X'phi for the mean phi. */
static PetscErrorCode VisitSums(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalAnalysis    analysis = (KalAnalysis)ctx;
  KalGpf        *gpf      = (KalGpf *)analysis->data;
  const PetscInt N        = analysis->N;

  PetscFunctionBeginUser;
  PetscCall(Take(analysis, rows));
  PetscCall(KalGramTake(&gpf->gram, rows->count, gpf->X, gpf->X));
  for (PetscInt j = 0; j < N; j++) {
    PetscReal sum = 0.0;

    for (PetscInt i = j; i < N; i++) sums[(size_t)j * N + i] = sums[(size_t)i * N + j] = gpf->gram.product[i + (size_t)j * gpf->gram.high];
    for (PetscInt i = 0; i < rows->count; i++) sum += gpf->X[(size_t)j * rows->count + i] * gpf->mean[i];
    sums[(size_t)N * N + j] = sum;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The particles, the points, and their derivatives where these come from the adjoint. */
static PetscInt Ensembles(KalAnalysis analysis, KalEnsemble all[3])
{
  const KalGpf *gpf = (const KalGpf *)analysis->data;
  PetscInt      k   = 0;

  all[k++] = analysis->ensemble;
  if (gpf->points) all[k++] = gpf->points;
  if (!gpf->linearized) all[k++] = gpf->derivatives;
  return k;
}

/* K = P'X and, in W for the time being, P'P of the points less their mean: of X'X, which both are where the points are the particles. */
static PetscErrorCode Cross(KalGpf *gpf, PetscInt N)
{
  PetscFunctionBeginUser;
  if (!gpf->points) {
    if (gpf->linearized) PetscCall(PetscArraycpy(gpf->W, gpf->sums, (size_t)N * N));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalMultiply("TN", N, N, N, 1.0 / PetscSqrtReal(N), gpf->Z, gpf->sums, 0.0, gpf->K));
  if (!gpf->linearized) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalMultiply("NN", N, N, N, 1.0 / PetscSqrtReal(N), gpf->K, gpf->Z, 0.0, gpf->W));
  for (int pass = 0; pass < 2; pass++) { /* rows, then columns, less their means */
    const size_t along = pass ? 1 : (size_t)N, across = pass ? (size_t)N : 1;

    for (PetscInt j = 0; j < N; j++) {
      PetscReal mean = 0.0;

      for (PetscInt i = 0; i < N; i++) mean += gpf->W[j * across + i * along] / N;
      for (PetscInt i = 0; i < N; i++) gpf->W[j * across + i * along] -= mean;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* W = -samples/batch sqrt(N - 1) (P'P)^+ D, with D = A'R of the whitened anomalies A and residuals R of the points, P less their mean; so are the columns of W. */
static PetscErrorCode Linearize(KalAnalysis analysis, const KalTold *told)
{
  KalGpf         *gpf    = (KalGpf *)analysis->data;
  const PetscInt  N      = analysis->N;
  const PetscReal factor = -gpf->samples / told->batch->samples * PetscSqrtReal(N - 1.0);
  KalInnovation   in;
  PetscReal      *value, *V, *c;

  PetscFunctionBeginUser;
  PetscCall(KalInnovationCreate(analysis, told, -1, 0.0, KAL_WANT_MEMBERS, &in));
  analysis->report.loss = in.loss / told->batch->samples;
  PetscCall(PetscMalloc3(N, &value, (size_t)N * N, &V, N, &c));
  PetscCall(KalEigen(analysis, N, gpf->W, value, V));
  PetscCall(PetscArrayzero(gpf->W, (size_t)N * N));
  for (PetscInt i = 0; i < N; i++) {
    for (PetscInt k = 0; k < N; k++) {
      c[k] = 0.0;
      if (value[k] <= 1e-12 * N * value[N - 1]) continue;
      for (PetscInt j = 0; j < N; j++) c[k] += V[(size_t)k * N + j] * in.D[(size_t)i * N + j];
      Add(N, factor * c[k] / value[k], V + (size_t)k * N, gpf->W + (size_t)i * N);
    }
  }
  PetscCall(PetscFree3(value, V, c));
  PetscCall(KalInnovationDestroy(&in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* No particle may be lost: the others would stand for another Gaussian. */
static PetscErrorCode CheckParticles(KalAnalysis analysis, const KalTold *told)
{
  const KalGpf *gpf = (const KalGpf *)analysis->data;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < analysis->N; j++) {
    const PetscBool fine = gpf->linearized ? (PetscBool)(told->status[j] == KAL_MEMBER_OK) : (PetscBool)!PetscIsInfOrNanReal(told->losses[2 * j]);

    PetscCheck(fine, analysis->comm, PETSC_ERR_FP, "The loss of particle %" PetscInt_FMT " is not finite in cycle %" PetscInt_FMT ": take a smaller %s than %g", j, told->cycle + 1, Option(gpf, "step"), (double)gpf->step);
  }
  PetscCheck(!gpf->prior || analysis->prior, analysis->comm, PETSC_ERR_ORDER, "%s needs the prior's spread: call KalAnalysisSetPrior()", gpf->prefix);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalGpf        *gpf = (KalGpf *)analysis->data;
  const PetscInt N   = analysis->N;
  KalEnsemble    all[3];
  PetscInt       samples, k;

  PetscFunctionBeginUser;
  PetscCall(CheckParticles(analysis, told));
  PetscCall(KalObservationsGetSizes(told->observations, KAL_SET_TRAIN, &samples, NULL, NULL));
  gpf->samples     = samples;
  gpf->derivatives = told->derivatives;
  gpf->known       = PETSC_FALSE;
  gpf->taken       = KalScheduled(analysis, gpf->schedule, gpf->step, gpf->stepfinal, told->cycle);
  gpf->time += gpf->taken;
  analysis->report.loss = 0.0;
  for (PetscInt j = 0; !gpf->linearized && j < N; j++) analysis->report.loss += told->losses[2 * j] / N;
  k = Ensembles(analysis, all);
  PetscCall(KalEnsembleSumRows(k, all, VisitSums, analysis, N * (N + 1), gpf->sums));
  PetscCall(Cross(gpf, N));
  if (gpf->linearized) {
    PetscCall(Linearize(analysis, told));
    gpf->known = PETSC_TRUE;
    if (gpf->precondition) PetscCall(KalEnsembleSumRows(k, all, VisitSums, analysis, N * (N + 1), gpf->sums));
  }
  analysis->report.step = gpf->taken;
  analysis->report.time = gpf->time;
  *verdict              = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some rows of the particles: x_k goes by -step (go + spread (sum_j phi_j K_jk/N - X_k)). */
KAL_WIDER static void Move(PetscInt rows, PetscInt N, PetscInt ld, PetscReal step, PetscReal spread, const PetscReal *K, const PetscReal *phi, const PetscReal *X, const PetscReal *go, PetscScalar *x, PetscInt ldx)
{
  PetscReal sum[KAL_GPF_ROWS];

  for (PetscInt k = 0; k < N; k++) {
    for (PetscInt i = 0; i < rows; i++) sum[i] = 0.0;
    for (PetscInt j = 0; j < N; j++) Add(rows, K[(size_t)k * N + j] / N, phi + (size_t)j * ld, sum);
    Add(rows, -1.0, X + (size_t)k * ld, sum);
    Add(rows, -step * spread, sum, x + (size_t)k * ldx);
    Add(rows, -step, go, x + (size_t)k * ldx);
  }
}

static PetscErrorCode VisitMove(void *ctx, const KalRows *rows)
{
  KalAnalysis      analysis = (KalAnalysis)ctx;
  KalGpf          *gpf      = (KalGpf *)analysis->data;
  const PetscInt   N        = analysis->N;
  const PetscReal *along    = gpf->sums + (size_t)N * N;

  PetscFunctionBeginUser;
  PetscCall(Take(analysis, rows));
  PetscCall(PetscArraycpy(gpf->go, gpf->mean, rows->count));
  if (gpf->precondition) {
    PetscCall(PetscArrayzero(gpf->go, rows->count));
    for (PetscInt j = 0; j < N; j++) Add(rows->count, along[j] / N, gpf->X + (size_t)j * (size_t)rows->count, gpf->go);
  }
  for (PetscInt i = 0; i < rows->count; i += KAL_GPF_ROWS) Move(PetscMin(KAL_GPF_ROWS, rows->count - i), N, rows->count, gpf->taken, gpf->spread, gpf->K, gpf->phi + i, gpf->X + i, gpf->go + i, rows->x[0] + i, rows->ld[0]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Update(KalAnalysis analysis)
{
  KalEnsemble    all[3];
  const PetscInt k = Ensembles(analysis, all);

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleMapRows(k, all, VisitMove, analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  PetscFunctionBeginUser;
  arrays[0] = (KalArray){.name = "time", .meaning = "sum of the steps", .count = 1, .data = &((KalGpf *)analysis->data)->time};
  *count    = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalGpfView(KalAnalysis analysis, PetscViewer viewer)
{
  const KalGpf *gpf = (const KalGpf *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  step %g (%s), of departures %g times that%s%s\n", (double)gpf->step, KalSchedules[gpf->schedule], (double)gpf->spread, gpf->precondition ? ", mean preconditioned" : "", gpf->prior ? "" : ", no prior"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalGpfDestroy(KalAnalysis analysis)
{
  KalGpf *gpf = (KalGpf *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalGramDestroy(&gpf->gram));
  if (gpf->K != gpf->sums) PetscCall(PetscFree(gpf->K));
  PetscCall(PetscFree(gpf->Z));
  PetscCall(PetscFree(gpf->sums));
  PetscCall(PetscFree(gpf->W));
  PetscCall(PetscFree5(gpf->X, gpf->P, gpf->phi, gpf->mean, gpf->go));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalGpfCreate - Fills in what gpf and gf share
*/
PetscErrorCode KalGpfCreate(KalAnalysis analysis, const char *prefix, KalGpf **created)
{
  KalGpf *gpf;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&gpf));
  PetscCall(PetscStrncpy(gpf->prefix, prefix, sizeof gpf->prefix));
  gpf->step   = 1e-4;
  gpf->spread = 1.0;
  gpf->prior  = PETSC_TRUE;

  analysis->data               = gpf;
  analysis->takes              = KAL_TAKES_SCHEDULE;
  analysis->ops.setfromoptions = KalGpfSetFromOptions;
  analysis->ops.setup          = KalGpfSetUp;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = Tell;
  analysis->ops.update         = Update;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = KalGpfView;
  analysis->ops.destroy        = KalGpfDestroy;
  *created                     = gpf;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISGPF = "gpf" - The Gaussian particle flow (Galy-Fajou, Perrone and Opper, Entropy 23, 990, 2021)

   N particles x_i with mean m go to the Gaussian that is nearest to the posterior exp(-V), of rank N - 1. With phi_i the
   derivative of V at x_i, phi their mean, X the departures from m:

     A = (1/N) sum_i phi_i (x_i - m)' - I,   x_i <- x_i - step phi - step spread A (x_i - m)

   A is not formed: A X = Phi (X'X)/N - X. With -gpf_precondition phi is replaced by C phi, C = X X'/N. V is the data set's samples
   times the mini-batch's mean loss plus |(x - mean)/sd|^2/2, mean and sd the prior's (entries with sd 0 have none). Where phi = 0 and A = 0 the flow stands; with N > n
   a Gaussian posterior has its own mean and covariance there (with 1/N).

   Without an adjoint (-gpf_derivatives ensemble) the loss's part of phi_i comes from the particles' own predictions by statistical
   linearization, H'R^{-1}(g_i - y) with H = G X^+, G the departures of the predictions from their mean: X W with an N x N matrix
   W = (X'X)^+ G'R^{-1}(g_i - y), a deterministic flow like that of ensemble Kalman samplers. For a linear model and N > n it is the same.

   Options Database Keys:
+  -gpf_step <1e-4>, -gpf_step_schedule <constant>, -gpf_step_final <0> - step length, and how it falls over -analysis_schedule_cycles
.  -gpf_step_spread <1> - that of the departures, times that of the mean
.  -gpf_precondition <false> - the mean goes along C phi
.  -gpf_derivatives <adjoint> - or ensemble
-  -gpf_prior <true> - with the prior, else V is that of the likelihood alone

   Notes:
   The prior is about the mean that the model knows (KalModelMean()), else about 0: of networks about 0, -mlp_prior_center does not move it. A step much above the inverse of the largest curvature of V diverges.

.seealso: KALANALYSISGF, KALANALYSISSGD, KalModelAdjoint()
M*/
PetscErrorCode KalAnalysisCreate_GPF(KalAnalysis analysis)
{
  KalGpf *gpf;

  PetscFunctionBeginUser;
  PetscCall(KalGpfCreate(analysis, "gpf", &gpf));
  PetscFunctionReturn(PETSC_SUCCESS);
}
