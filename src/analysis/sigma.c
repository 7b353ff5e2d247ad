/*
  Unscented analyses. Covariances with the predictions are products with the points' departures, so that all of the observations goes through the
  Gram matrix of the points' predictions: with Theta (n x q) weighted departures of the points, Z (points x q) what takes the predictions to theirs,
  and E = A Z their whitened predictions,

    m <- m + Theta (E'E + error I)^{-1} E'r,   C <- error Theta (E'E + error I)^{-1} Theta',

  which is m + C_ty C_yy^{-1} (y - mean y) and C - C_ty C_yy^{-1} C_ty' with C_ty = Theta E', C_yy = E E' + error I.
*/
#include "sigma.h"

const char *KalSigmaOption(const KalSigma *sigma, const char *name)
{
  static char text[64];

  (void)PetscSNPrintf(text, sizeof text, "-%s_%s", sigma->prefix, name);
  return text;
}

/* The departures of the points in units of the root: +-reach e_j, or the n + 1 corners of a simplex, columns that sum to 0 and whose products sum to I/weight. */
static void Unit(KalSigma *sigma, PetscInt n)
{
  if (!sigma->simplex) {
    for (PetscInt j = 0; j < n; j++) {
      sigma->unit[j + (size_t)j * (size_t)n]       = sigma->reach;
      sigma->unit[j + (size_t)(n + j) * (size_t)n] = -sigma->reach;
    }
    return;
  }
  for (PetscInt i = 0; i < n; i++) {
    const PetscReal length = 1.0 / PetscSqrtReal(sigma->weight * (i + 1) * (i + 2));

    for (PetscInt j = 0; j <= i; j++) sigma->unit[i + (size_t)j * (size_t)n] = i ? length : -length;
    sigma->unit[i + (size_t)(i + 1) * (size_t)n] = i ? -(i + 1) * length : length;
  }
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalSigma    *sigma = (KalSigma *)analysis->data;
  const size_t n     = (size_t)analysis->n;
  PetscInt     points;

  PetscFunctionBeginUser;
  PetscCall((*sigma->set)(analysis));
  points = sigma->simplex ? analysis->n + 2 : 2 * analysis->n + 1;
  PetscCheck(analysis->n < KAL_MOST_SYSTEM / 2, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s holds matrices of n x n numbers and runs %" PetscInt_FMT " points: n = %" PetscInt_FMT " is too large, at most %d is possible", analysis->type, points, analysis->n, KAL_MOST_SYSTEM / 2 - 1);
  PetscCheck(analysis->N == points, analysis->comm, PETSC_ERR_ARG_INCOMP, "-ensemble_size %" PetscInt_FMT ": %s has as many members as sigma points; with %" PetscInt_FMT " parameters use -ensemble_size %" PetscInt_FMT, analysis->N, analysis->type, analysis->n, points);
  analysis->space         = KAL_SPACE_ENSEMBLE;
  analysis->needs.least   = 2;
  analysis->needs.copies  = 1; /* the points of the prediction; the ensemble holds those of the analysis */
  analysis->needs.points  = points;
  analysis->needs.dense   = PETSC_TRUE;
  analysis->needs.vectors = 2 + 3 * analysis->n;
  analysis->needs.work    = 8.0 * points * (3.0 * points + 4.0 * analysis->n); /* of a cycle */
  PetscCall(KalPriorCreate(analysis, &sigma->prior));
  PetscCall(PetscCalloc5(n, &sigma->m, n * n, &sigma->C, n, &sigma->predicted, n * n, &sigma->root, n * (size_t)(points - 1), &sigma->unit));
  Unit(sigma, analysis->n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* root root' = C, lower, by LAPACK's dpotrf, on every rank with the same bits. */
static PetscErrorCode Cholesky(KalAnalysis analysis, const PetscReal *C, PetscReal *root)
{
  const PetscInt n = analysis->n;
  PetscBLASInt   order, info = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(n, &order));
  PetscCall(PetscArraycpy(root, C, (size_t)n * n));
  LAPACKpotrf_("L", &order, root, &order, &info);
  PetscCall(KalFromFirst(analysis, (size_t)n * n, root));
  if (!analysis->uniform) PetscCallMPI(MPI_Bcast(&info, 1, MPI_INT, 0, analysis->comm));
  PetscCheck(!info, analysis->comm, PETSC_ERR_FP, "The covariance of %s is no longer positive definite: dpotrf stops in row %d. Observations are too accurate for double precision, or the model's predictions too rough: take a larger -observations_noise", analysis->type, (int)info);
  for (PetscInt j = 0; j < n; j++) {
    for (PetscInt i = 0; i < j; i++) root[i + (size_t)j * n] = 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's members become the points about a mean, times a factor; the first is the mean itself. */
static PetscErrorCode Put(KalAnalysis analysis, const PetscReal *mean, PetscReal factor, KalEnsemble ensemble)
{
  const KalSigma *sigma = (const KalSigma *)analysis->data;
  const size_t    n     = (size_t)analysis->n;
  PetscInt        first, last;
  PetscScalar    *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(ensemble, j, &x));
    PetscCall(PetscArraycpy(x, mean, n));
    for (size_t k = 0; j > 0 && k < n; k++) {
      const PetscReal u = factor * sigma->unit[k + (size_t)(j - 1) * n];

      for (size_t i = k; u != 0.0 && i < n; i++) x[i] += u * sigma->root[i + k * n];
    }
  }
  PetscCall(KalEnsembleChanged(ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The prediction: mean and covariance of the artificial dynamics, and their points. */
static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalSigma    *sigma = (KalSigma *)analysis->data;
  const size_t n     = (size_t)analysis->n;
  PetscReal   *C, trace = 0.0;

  PetscFunctionBeginUser;
  (void)cycle;
  PetscCall(KalPriorBegin(analysis, &sigma->prior));
  for (size_t i = 0; i < n; i++) trace += sigma->C[i + i * n];
  if (trace == 0.0) { /* neither a cycle before nor a snapshot */
    const PetscScalar *mean = sigma->prior.mean;

    if (sigma->members) PetscCall(KalEnsembleGetMean(analysis->ensemble, &mean));
    PetscCall(PetscArraycpy(sigma->m, mean, n));
    for (size_t i = 0; i < n; i++) sigma->C[i + i * n] = PetscSqr(analysis->prior[i]);
  }
  PetscCall(PetscMalloc1(n * n, &C));
  for (size_t i = 0; i < n * n; i++) C[i] = sigma->growth * sigma->C[i];
  for (size_t i = 0; i < n; i++) {
    C[i + i * n] += sigma->noise * PetscSqr(analysis->prior[i]);
    sigma->predicted[i] = sigma->prior.mean[i] + sigma->memory * (sigma->m[i] - sigma->prior.mean[i]);
  }
  PetscCall(Cholesky(analysis, C, sigma->root));
  PetscCall(PetscFree(C));
  PetscCall(Put(analysis, sigma->predicted, 1.0, analysis->copy[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  PetscFunctionBeginUser;
  ask->points = analysis->copy[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A centre that failed is the mean of the points whose opposites are in order too, or of all that are. */
static void Centre(const KalSigma *sigma, PetscInt n, PetscInt N, const KalStatus *status, PetscInt active, PetscReal *e)
{
  PetscInt pairs = 0;

  for (PetscInt j = 1; !sigma->simplex && j <= n; j++) pairs += status[j] == KAL_MEMBER_OK && status[j + n] == KAL_MEMBER_OK;
  for (PetscInt k = 1; k < N; k++) {
    const PetscBool whole = (PetscBool)(pairs && status[k <= n ? k + n : k - n] == KAL_MEMBER_OK);

    if (status[k] == KAL_MEMBER_OK && (whole || !pairs)) e[k] = pairs ? 0.5 / pairs : 1.0 / active;
  }
}

/*
  What stands for point j in combinations of the points, column j of e: itself; of one that failed, the mirror image of the point across the
  centre; where there is none, the centre, as if the model did not change that way.
*/
static void Stand(const KalSigma *sigma, PetscInt n, PetscInt N, const KalStatus *status, PetscInt active, PetscReal *e)
{
  for (size_t i = 0; i < (size_t)N * N; i++) e[i] = 0.0;
  if (status[0] == KAL_MEMBER_OK) e[0] = 1.0;
  else Centre(sigma, n, N, status, active, e);
  for (PetscInt j = 1; j < N; j++) {
    const PetscInt mirror = sigma->simplex ? 0 : (j <= n ? j + n : j - n);
    PetscReal     *column = e + (size_t)j * (size_t)N;

    if (status[j] == KAL_MEMBER_OK) column[j] = 1.0;
    else {
      const PetscBool seen = (PetscBool)(mirror && status[mirror] == KAL_MEMBER_OK);

      for (PetscInt k = 0; k < N; k++) column[k] = (seen ? 2.0 : 1.0) * e[k];
      if (seen) column[mirror] -= 1.0;
    }
  }
}

/*
  Z (N x N), a column for each departure, the centre's first, and omega (N), the mean. Of the columns of Theta that of the centre is 0.
*/
static void Departures(const KalSigma *sigma, PetscInt N, PetscReal *e, PetscReal *omega)
{
  const PetscReal root = PetscSqrtReal(sigma->weight), center = PetscSqrtReal(sigma->center), mean = N > 1 ? (1.0 - sigma->centermean) / (N - 1) : 0.0;

  for (PetscInt k = 0; k < N; k++) {
    omega[k] = sigma->centermean * e[k];
    for (PetscInt j = 1; j < N; j++) omega[k] += mean * e[k + (size_t)j * N];
  }
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt k = 0; k < N; k++) e[k + (size_t)j * N] = (j ? root : center) * (e[k + (size_t)j * N] - omega[k]);
  }
}

/* Theta' (N x n): the points' weighted departures, one a row, the centre's being 0. */
static void Points(const KalSigma *sigma, PetscInt n, PetscInt N, PetscReal *theta)
{
  const PetscReal root = PetscSqrtReal(sigma->weight);

  for (PetscInt i = 0; i < n; i++) {
    theta[(size_t)i * N] = 0.0;
    for (PetscInt j = 1; j < N; j++) {
      PetscReal sum = 0.0;

      for (PetscInt k = 0; k <= i; k++) sum += sigma->root[i + (size_t)k * n] * sigma->unit[k + (size_t)(j - 1) * n];
      theta[j + (size_t)i * N] = root * sum;
    }
  }
}

/* The system E'E (N x N) and in column n of `right` E'(y - mean y); with the prior as a datum, its part of both. */
static PetscErrorCode System(KalAnalysis analysis, const KalInnovation *in, const PetscReal *theta, PetscReal *system, PetscReal *right)
{
  const KalSigma *sigma = (const KalSigma *)analysis->data;
  const PetscInt  N = in->N, n = analysis->n;
  const size_t    NN = (size_t)N * N;
  PetscReal      *Z, *SZ, *omega, *residual, *scaled;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc5(NN, &Z, NN, &SZ, N, &omega, N, &residual, (size_t)N * n, &scaled));
  Stand(sigma, n, N, in->status, in->active, Z);
  Departures(sigma, N, Z, omega);
  PetscCall(KalMultiply("TN", N, N, N, 1.0, in->S, Z, 0.0, SZ));
  PetscCall(KalMultiply("TN", N, N, N, 1.0, Z, SZ, 0.0, system));
  for (PetscInt k = 0; k < N; k++) {
    residual[k] = in->d[k];
    for (PetscInt j = 0; j < N; j++) residual[k] -= in->S[k + (size_t)j * N] * omega[j];
  }
  for (PetscInt j = 0; j < N; j++) {
    right[j] = 0.0;
    for (PetscInt k = 0; k < N; k++) right[j] += Z[k + (size_t)j * N] * residual[k];
  }
  if (sigma->tikhonov) {
    for (PetscInt i = 0; i < n; i++) {
      const PetscReal pull = (sigma->prior.mean[i] - sigma->predicted[i]) / PetscSqr(analysis->prior[i]);

      for (PetscInt j = 0; j < N; j++) {
        scaled[i + (size_t)j * n] = theta[j + (size_t)i * N] / analysis->prior[i];
        right[j] += theta[j + (size_t)i * N] * pull;
      }
    }
    PetscCall(KalMultiply("TN", N, N, n, 1.0, scaled, scaled, 1.0, system));
  }
  PetscCall(PetscFree5(Z, SZ, omega, residual, scaled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Analyse(KalAnalysis analysis, const KalInnovation *in)
{
  KalSigma      *sigma = (KalSigma *)analysis->data;
  const PetscInt N = in->N, n = analysis->n;
  PetscReal     *theta, *system, *right, *x;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4((size_t)N * n, &theta, (size_t)N * N, &system, (size_t)N * (n + 1), &right, (size_t)N * (n + 1), &x));
  Points(sigma, n, N, theta);
  PetscCall(System(analysis, in, theta, system, right + (size_t)N * n));
  PetscCall(PetscArraycpy(right, theta, (size_t)N * n));
  PetscCall(KalSolve(analysis, KAL_SPACE_ENSEMBLE, N, system, sigma->error, NULL, n + 1, right, x));
  for (PetscInt i = 0; i < n; i++) {
    sigma->m[i] = sigma->predicted[i];
    for (PetscInt j = 0; j < N; j++) sigma->m[i] += theta[j + (size_t)i * N] * x[j + (size_t)n * N];
  }
  PetscCall(KalMultiply("TN", n, n, N, sigma->error, theta, x, 0.0, sigma->C));
  for (PetscInt j = 0; j < n; j++) {
    for (PetscInt i = 0; i < j; i++) sigma->C[i + (size_t)j * n] = sigma->C[j + (size_t)i * n] = 0.5 * (sigma->C[i + (size_t)j * n] + sigma->C[j + (size_t)i * n]);
  }
  PetscCall(KalFromFirst(analysis, (size_t)n * n, sigma->C));
  PetscCall(PetscFree4(theta, system, right, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalSigma     *sigma = (KalSigma *)analysis->data;
  KalInnovation in;

  PetscFunctionBeginUser;
  PetscCall(KalInnovationCreate(analysis, told, -1, 1.0, KAL_WANT_GRAM, &in));
  PetscCall(Analyse(analysis, &in));
  sigma->time += 1.0 / sigma->error;
  analysis->report.loss = in.loss / told->batch->samples;
  analysis->report.step = 1.0 / sigma->error;
  analysis->report.time = sigma->time;
  *verdict              = KAL_VERDICT_ACCEPT;
  PetscCall(KalInnovationDestroy(&in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The members become points whose mean and sample covariance are those of the analysis. */
static PetscErrorCode Update(KalAnalysis analysis)
{
  KalSigma *sigma = (KalSigma *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(Cholesky(analysis, sigma->C, sigma->root));
  PetscCall(Put(analysis, sigma->m, PetscSqrtReal(sigma->weight * (analysis->N - 1)), analysis->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalSigma *sigma = (KalSigma *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalPriorArray(analysis, &sigma->prior, &arrays[0]));
  arrays[1] = (KalArray){.name = "mean", .meaning = "mean of the parameters after the analysis", .count = analysis->n, .data = sigma->m};
  arrays[2] = (KalArray){.name = "covariance", .meaning = "covariance of the parameters after the analysis, n x n", .count = analysis->n * analysis->n, .data = sigma->C};
  arrays[3] = (KalArray){.name = "time", .meaning = "sum of the steps", .count = 1, .data = &sigma->time};
  *count    = 4;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall((*((const KalSigma *)analysis->data)->view)(analysis, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalSigma *sigma = (KalSigma *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalPriorDestroy(&sigma->prior));
  PetscCall(PetscFree5(sigma->m, sigma->C, sigma->predicted, sigma->root, sigma->unit));
  PetscCall(PetscFree(sigma->method));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSigmaCreate - Fills in what the unscented methods share; the caller adds its options, `set` and `view`
*/
PetscErrorCode KalSigmaCreate(KalAnalysis analysis, const char *prefix, KalSigma **created)
{
  KalSigma *sigma;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&sigma));
  PetscCall(PetscStrncpy(sigma->prefix, prefix, sizeof sigma->prefix));
  analysis->data        = sigma;
  analysis->takes       = KAL_TAKES_SOLVER; /* in ensemble space alone */
  analysis->ops.setup   = SetUp;
  analysis->ops.begin   = Begin;
  analysis->ops.ask     = Ask;
  analysis->ops.tell    = Tell;
  analysis->ops.update  = Update;
  analysis->ops.arrays  = Arrays;
  analysis->ops.view    = View;
  analysis->ops.destroy = Destroy;
  *created              = sigma;
  PetscFunctionReturn(PETSC_SUCCESS);
}
