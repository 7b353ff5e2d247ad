/* The annealing of paths by an ensemble: Gauss-Newton steps whose derivatives are the members' own differences. */
#include "ladder.h"

typedef struct {
  KalLadder ladder;
  PetscInt  iterations;
  PetscReal damping, bundle;
  /* of the rung in hand */
  KalEnsemble  points; /* (p + q) x N residuals */
  PetscScalar *mean;   /* p + q: those of the mean path */
  PetscReal   *S, *T, *V;
  PetscReal   *d, *w, *value;
  PetscScalar *change, *trial; /* n: the step's direction, a path along it */
} KalAnnealingEnKS;

#define KAL_HALVINGS 12 /* of a step, before it is given up */

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalAnnealingEnKS *enks = (KalAnnealingEnKS *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalLadderSetFromOptions(analysis, &enks->ladder, PetscOptionsObject));
  PetscCall(PetscOptionsInt("-annealing_enks_iterations", "Gauss-Newton steps on a rung", NULL, enks->iterations, &enks->iterations, NULL));
  PetscCall(PetscOptionsReal("-annealing_enks_damping", "Precision along each departure of the members that a step is damped by", NULL, enks->damping, &enks->damping, NULL));
  PetscCall(PetscOptionsReal("-annealing_enks_bundle", "Departures that residuals are taken at, times those of the members", NULL, enks->bundle, &enks->bundle, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalAnnealingEnKS *enks = (KalAnnealingEnKS *)analysis->data;
  const size_t      N = (size_t)analysis->N, n = (size_t)analysis->n;

  PetscFunctionBeginUser;
  PetscCheck(enks->iterations >= 1 && enks->iterations <= 10000, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_enks_iterations %" PetscInt_FMT ": must be from 1 to 10000", enks->iterations);
  PetscCheck(enks->damping > 0.0 && !PetscIsInfOrNanReal(enks->damping), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_enks_damping %g: must be positive", (double)enks->damping);
  PetscCheck(enks->bundle > 0.0 && enks->bundle <= 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_enks_bundle %g: must be above 0 and at most 1", (double)enks->bundle);
  PetscCall(KalLadderSetUp(analysis, &enks->ladder));
  analysis->needs.least   = 3;
  analysis->needs.vectors = 2;
  analysis->needs.work += sizeof(PetscScalar) * 2.0 * (PetscReal)n * (PetscReal)((analysis->N + analysis->size - 1) / analysis->size); /* residuals: about as many as a path has numbers, of data and equations */
  PetscCall(PetscMalloc6(N * N, &enks->S, N * N, &enks->T, N * N, &enks->V, N, &enks->d, N, &enks->w, N, &enks->value));
  PetscCall(PetscMalloc2(n, &enks->change, n, &enks->trial));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each rank makes its own transform and step of the same sums. */
static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  PetscFunctionBeginUser;
  PetscCheck(analysis->uniform, analysis->comm, PETSC_ERR_SUP, "annealing-enks needs the same BLAS kernels on every rank; these ranks run different ones: set OPENBLAS_CORETYPE, or use annealing");
  PetscCall(KalLadderCheck(analysis, observations));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  PetscFunctionBeginUser;
  ask->points  = analysis->ensemble;
  ask->observe = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reserve(KalAnalysis analysis)
{
  KalAnnealingEnKS *enks = (KalAnnealingEnKS *)analysis->data;
  const PetscInt    rows = enks->ladder.p + enks->ladder.q;
  PetscInt          have = 0;

  PetscFunctionBeginUser;
  if (enks->points) PetscCall(KalEnsembleGetSizes(enks->points, &have, NULL));
  if (have == rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleDestroy(&enks->points));
  PetscCall(PetscFree(enks->mean));
  PetscCall(PetscMalloc1(rows, &enks->mean));
  PetscCall(KalEnsembleCreate(analysis->comm, &enks->points));
  PetscCall(KalEnsembleSetSizes(enks->points, rows, analysis->N));
  PetscCall(KalEnsembleSetGram(enks->points, PETSC_TRUE));
  PetscCall(KalEnsembleSetFromOptions(enks->points));
  PetscCall(KalEnsembleSetUp(enks->points));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Residuals of members drawn together about their mean, each on the rank that holds it; and those of the mean, on every rank. */
static PetscErrorCode Predict(KalAnalysis analysis, const PetscScalar *mean, PetscReal terms[2])
{
  KalAnnealingEnKS *enks   = (KalAnnealingEnKS *)analysis->data;
  KalLadder        *ladder = &enks->ladder;
  PetscInt          first, last;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (PetscInt m = first; m < last; m++) {
    PetscScalar *x, *r;
    PetscReal    unused[2];

    PetscCall(KalEnsembleGetMember(analysis->ensemble, m, &x));
    PetscCall(KalEnsembleGetMember(enks->points, m, &r));
    for (PetscInt i = 0; i < analysis->n; i++) enks->trial[i] = enks->bundle < 1.0 ? mean[i] + enks->bundle * (x[i] - mean[i]) : x[i];
    PetscCall(KalLadderAction(analysis, ladder, enks->trial, unused, NULL));
    PetscCall(PetscArraycpy(r, ladder->r, ladder->p + ladder->q));
  }
  PetscCall(KalEnsembleChanged(enks->points));
  PetscCall(KalLadderAction(analysis, ladder, mean, terms, NULL));
  PetscCall(PetscArraycpy(enks->mean, ladder->r, ladder->p + ladder->q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  KalAnalysis  analysis;
  KalGram      gram;
  PetscScalar *A; /* most x N */
} KalPass;

/* Y'Y and -Y'r of a block: Y the departures of the members' residuals over sqrt(N - 1), r those of the mean path, both in units of their errors. */
static PetscErrorCode Visit(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalPass                *pass      = (KalPass *)ctx;
  const KalAnnealingEnKS *enks      = (const KalAnnealingEnKS *)pass->analysis->data;
  const KalLadder        *ladder    = &enks->ladder;
  const PetscInt          N         = pass->analysis->N;
  const PetscReal         scale     = 1.0 / (enks->bundle * PetscSqrtReal(N - 1.0));
  const PetscReal         errors[2] = {PetscSqrtReal(1.0 / ladder->gamma), PetscSqrtReal(ladder->R * ladder->p / ladder->q)};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < rows->count; i++) {
    const PetscScalar *g      = rows->x[0] + i;
    const PetscReal    weight = errors[rows->first + i >= ladder->p];
    PetscReal          mean   = 0.0;

    for (PetscInt j = 0; j < N; j++) mean += g[(size_t)j * (size_t)rows->ld[0]];
    mean /= N;
    for (PetscInt j = 0; j < N; j++) {
      const PetscReal a = weight * scale * (g[(size_t)j * (size_t)rows->ld[0]] - mean);

      pass->A[i + (size_t)j * (size_t)rows->count] = a;
      sums[j] -= a * weight * enks->mean[rows->first + i];
    }
  }
  PetscCall(KalGramTake(&pass->gram, rows->count, pass->A, pass->A));
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = j; i < N; i++) sums[N + i + (size_t)j * (size_t)N] = pass->gram.product[i + (size_t)j * (size_t)pass->gram.high];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Products(KalAnalysis analysis)
{
  KalAnnealingEnKS *enks = (KalAnnealingEnKS *)analysis->data;
  const PetscInt    N    = analysis->N;
  KalPass           pass = {.analysis = analysis};
  PetscReal        *sums;
  PetscInt          most;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetBlocks(enks->points, &most, NULL));
  PetscCall(KalGramCreate(N, &pass.gram));
  PetscCall(PetscMalloc2((size_t)most * N, &pass.A, (size_t)N * (N + 1), &sums));
  PetscCall(KalEnsembleSumRows(1, &enks->points, Visit, &pass, N * (N + 1), sums));
  PetscCall(PetscArraycpy(enks->d, sums, N));
  PetscCall(PetscArraycpy(enks->S, sums + N, (size_t)N * N));
  PetscCall(PetscFree2(pass.A, sums));
  PetscCall(KalGramDestroy(&pass.gram));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  With S = V L V': the step w = V (L + mu)^{-1} V'd, and T = V min(L^{-1/2}, 1) V', which makes the members' covariance that of the action's Gauss-Newton
  matrix wherever this is smaller than what they have.
*/
static PetscErrorCode Weights(KalAnalysis analysis)
{
  KalAnnealingEnKS *enks = (KalAnnealingEnKS *)analysis->data;
  const size_t      N    = (size_t)analysis->N;
  PetscReal        *scaled;

  PetscFunctionBeginUser;
  PetscCall(KalEigen(analysis, analysis->N, enks->S, enks->value, enks->V));
  PetscCall(PetscMalloc1(N * N, &scaled));
  PetscCall(PetscArrayzero(enks->w, N));
  for (size_t k = 0; k < N; k++) {
    const PetscReal *v = enks->V + k * N, value = PetscMax(0.0, enks->value[k]), root = value > 1.0 ? 1.0 / PetscSqrtReal(value) : 1.0;
    PetscReal        c = 0.0;

    for (size_t i = 0; i < N; i++) c += v[i] * enks->d[i];
    for (size_t i = 0; i < N; i++) {
      enks->w[i] += v[i] * c / (value + enks->damping);
      scaled[i + k * N] = root * v[i];
    }
  }
  PetscCall(KalMultiply("NT", analysis->N, analysis->N, analysis->N, 1.0, scaled, enks->V, 0.0, enks->T));
  PetscCall(PetscFree(scaled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where along the step the action of the mean path is less; 0: nowhere. Every rank looks for itself, at the same numbers. */
static PetscErrorCode Search(KalAnalysis analysis, const PetscScalar *mean, PetscReal before, PetscReal *length, PetscReal terms[2])
{
  KalAnnealingEnKS *enks = (KalAnnealingEnKS *)analysis->data;
  PetscReal        *c, sum = 0.0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(analysis->N, &c));
  for (PetscInt j = 0; j < analysis->N; j++) sum += enks->w[j];
  for (PetscInt j = 0; j < analysis->N; j++) c[j] = (enks->w[j] - sum / analysis->N) / PetscSqrtReal(analysis->N - 1.0);
  PetscCall(KalEnsembleCombine(analysis->ensemble, c, enks->change));
  PetscCall(PetscFree(c));
  *length = 1.0;
  for (int k = 0; k < KAL_HALVINGS; k++, *length *= 0.5) {
    for (PetscInt i = 0; i < analysis->n; i++) enks->trial[i] = mean[i] + *length * enks->change[i];
    PetscCall(KalLadderAction(analysis, &enks->ladder, enks->trial, terms, NULL));
    if (terms[0] < before) PetscFunctionReturn(PETSC_SUCCESS);
  }
  *length = 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitMove(void *ctx, const KalRows *rows)
{
  KalAnalysis analysis = (KalAnalysis)ctx;

  PetscFunctionBeginUser;
  PetscCall(KalTransformRows(analysis, rows->count, NULL, rows->x[0], rows->ld[0], rows->x[0], rows->ld[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members become mean + step + departures T: the columns of that matrix sum to 1. */
static PetscErrorCode Move(KalAnalysis analysis, PetscReal length)
{
  KalAnnealingEnKS *enks = (KalAnnealingEnKS *)analysis->data;
  const size_t      N    = (size_t)analysis->N;
  PetscReal         step = 0.0, *row;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(N, &row));
  for (size_t i = 0; i < N; i++) step += enks->w[i] / (PetscReal)N;
  for (size_t j = 0; j < N; j++) { /* (I - 1 1'/N) T (I - 1 1'/N): the departures that come out have the mean 0 */
    for (size_t i = 0; i < N; i++) row[i] += enks->T[i + j * N] / (PetscReal)N;
  }
  for (size_t j = 0; j < N; j++) {
    PetscReal mean = 0.0;

    for (size_t i = 0; i < N; i++) mean += (enks->T[i + j * N] -= row[i]) / (PetscReal)N;
    for (size_t i = 0; i < N; i++) enks->T[i + j * N] += 1.0 / (PetscReal)N - mean + length * (enks->w[i] - step) / PetscSqrtReal((PetscReal)N - 1.0);
  }
  PetscCall(PetscFree(row));
  PetscCall(KalTransformSet(analysis, analysis->N, NULL, enks->T));
  PetscCall(KalEnsembleMapRows(1, &analysis->ensemble, VisitMove, analysis));
  PetscCall(KalEnsembleChanged(analysis->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalAnnealingEnKS  *enks   = (KalAnnealingEnKS *)analysis->data;
  KalLadder         *ladder = &enks->ladder;
  const PetscScalar *mean;
  const PetscReal    each = (enks->iterations + 1.0) * told->batch->samples; /* passes of a member */
  PetscReal          terms[2], after[2], length = 0.0, *place;
  PetscInt           first, last;

  PetscFunctionBeginUser;
  PetscCall(KalLadderCheck(analysis, told->observations));
  PetscCall(KalLadderBegin(analysis, ladder, told));
  PetscCall(Reserve(analysis));
  for (PetscInt k = 0; k < enks->iterations; k++) {
    PetscCall(KalEnsembleGetMean(analysis->ensemble, &mean));
    PetscCall(Predict(analysis, mean, terms));
    PetscCheck(terms[0] <= 1e200, analysis->comm, PETSC_ERR_FP, "The action of the mean path is %g on rung %" PetscInt_FMT ": take a smaller -path_spread", (double)terms[0], told->cycle);
    PetscCall(Products(analysis));
    PetscCall(Weights(analysis));
    PetscCall(Search(analysis, mean, terms[0], &length, after));
    PetscCall(Move(analysis, length));
  }
  PetscCall(KalEnsembleGetMean(analysis->ensemble, &mean));
  PetscCall(KalLadderAction(analysis, ladder, mean, terms, NULL));
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (PetscInt m = first; m < last; m++) {
    PetscScalar *x;

    PetscCall(KalEnsembleGetMember(analysis->ensemble, m, &x));
    PetscCall(KalLadderTerms(ladder, m, &place));
    PetscCall(KalLadderAction(analysis, ladder, x, place, NULL));
    place[2] = each;
  }
  PetscCall(KalLadderEnd(analysis, ladder, told->cycle, verdict));
  analysis->report.loss = terms[0];
  analysis->report.passes += ladder->passes - (last - first) * each; /* those of mean paths, which every rank runs for itself */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  PetscFunctionBeginUser;
  PetscCall(KalLadderArrays(analysis, &((KalAnnealingEnKS *)analysis->data)->ladder, count, arrays));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Levels(KalAnalysis analysis, KalLevels *levels)
{
  PetscFunctionBeginUser;
  PetscCall(KalLadderLevels(analysis, &((KalAnnealingEnKS *)analysis->data)->ladder, levels));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode IsDone(KalAnalysis analysis, PetscBool *done)
{
  PetscFunctionBeginUser;
  *done = KalLadderIsDone(&((KalAnnealingEnKS *)analysis->data)->ladder);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalAnnealingEnKS *enks = (const KalAnnealingEnKS *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalLadderView(&enks->ladder, viewer));
  PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt_FMT " Gauss-Newton steps a rung, damping %g, departures times %g\n", enks->iterations, (double)enks->damping, (double)enks->bundle));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalAnnealingEnKS *enks = (KalAnnealingEnKS *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree6(enks->S, enks->T, enks->V, enks->d, enks->w, enks->value));
  PetscCall(PetscFree2(enks->change, enks->trial));
  PetscCall(PetscFree(enks->mean));
  PetscCall(KalEnsembleDestroy(&enks->points));
  PetscCall(KalLadderDestroy(&enks->ladder));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISANNEALINGENKS = "annealing-enks" - A weak-constraint ensemble smoother on the ladder of variational annealing

   Members are paths (KALMODELPATH), their mean the estimate. Observations are the measured numbers, of variance gamma, and a zero for each of the q equations,
   whose errors, the model's, have the variance q/(p R_f): p times the action of KALANALYSISANNEALING is their misfit. With X the members' departures
   over sqrt(N - 1), Y those of their residuals and r the residual of the mean path, both in units of the errors, S = Y'Y = V L V', each step of a rung is

     mean <- mean - a X V (L + mu)^{-1} V'Y'r,    X <- X V min(L^{-1/2}, 1) V',

   a the first of 1, 1/2, 1/4, ... that lowers the action of the mean path: Gauss and Newton's in ensemble space, after which the members' covariance
   is that of the action where this is smaller than before. It takes forward evaluations of residuals alone, no derivative of the model. A rung begins where the one before ended.

   The form of Bocquet and Sakov's iterative ensemble Kalman smoother (Q. J. R. Meteorol. Soc. 140, 2014) without a prior, with the ladder of Abarbanel, Rozdeba and
   Shirman (Neural Computation 30, 2018).

   Options Database Keys:
+  -annealing_first <1e-6>, -annealing_growth <2>, -annealing_rungs <40> - as KALANALYSISANNEALING
.  -annealing_enks_iterations <3> - steps on a rung
.  -annealing_enks_damping <0.001> - mu
-  -annealing_enks_bundle <1> - departures that residuals are taken at, times those of the members: 1e-4 takes them for derivatives at the mean

   Notes:
   Steps stay within the span of the first members: with N - 1 below the n numbers of a path, the action can go no lower than in there. The printed
   loss is the action of the mean path, levels are those of the members. All ranks must run the same BLAS kernels.

.seealso: KALMODELPATH, KALANALYSISANNEALING, KALANALYSISIENKS
M*/
PetscErrorCode KalAnalysisCreate_AnnealingEnKS(KalAnalysis analysis)
{
  KalAnnealingEnKS *enks;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&enks));
  enks->ladder                 = (KalLadder){.first = 1e-6, .growth = 2.0, .rungs = 40};
  enks->iterations             = 3;
  enks->damping                = 1e-3;
  enks->bundle                 = 1.0;
  analysis->data               = enks;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = Tell;
  analysis->ops.arrays         = Arrays;
  analysis->ops.levels         = Levels;
  analysis->ops.isdone         = IsDone;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
