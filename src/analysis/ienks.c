/* The iterative ensemble Kalman smoother: Gauss-Newton in ensemble space for the state at the start of a window. */
#include "smoother.h"

static const char *const Linearizations[] = {"transform", "bundle", "KalLinearization", "KAL_LINEARIZATION_", NULL};
typedef enum {
  KAL_LINEARIZATION_TRANSFORM,
  KAL_LINEARIZATION_BUNDLE,
} KalLinearization;

typedef struct {
  KalSmoother      smoother;
  PetscInt         lag, iterations;
  PetscReal        tolerance, epsilon;
  KalLinearization linearization;
  /* of the cycle in hand */
  PetscInt   iteration, active;
  PetscReal *w, *dw, *side, *value;  /* N: weights of the mean, their increment, a right-hand side, eigenvalues of S */
  PetscReal *root, *inverse, *V, *M; /* N x N: (I + S)^{-1/2}; the inverse of T; eigenvectors of S; work */
} KalIenks;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalIenks *ienks = (KalIenks *)analysis->data;
  PetscEnum enumeration;

  PetscFunctionBeginUser;
  enumeration = (PetscEnum)ienks->linearization;
  PetscCall(PetscOptionsInt("-ienks_lag", "Length of the window, in observation times", NULL, ienks->lag, &ienks->lag, NULL));
  PetscCall(PetscOptionsInt("-ienks_iterations", "Most Gauss-Newton iterations of a cycle", NULL, ienks->iterations, &ienks->iterations, NULL));
  PetscCall(PetscOptionsReal("-ienks_tolerance", "Stop where |dw|^2 < tolerance N (0: all iterations)", NULL, ienks->tolerance, &ienks->tolerance, NULL));
  PetscCall(PetscOptionsEnum("-ienks_linearization", "Sensitivities from members with the posterior's spread (transform) or with a tiny one (bundle)", NULL, Linearizations, enumeration, &enumeration, NULL));
  PetscCall(PetscOptionsReal("-ienks_bundle_epsilon", "Spread of the bundle, times that of the members", NULL, ienks->epsilon, &ienks->epsilon, NULL));
  ienks->linearization = (KalLinearization)enumeration;
  PetscCall(KalSmootherSetFromOptions(analysis, &ienks->smoother, PetscOptionsObject));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalIenks    *ienks = (KalIenks *)analysis->data;
  const size_t N = (size_t)analysis->N, NN = N * N;

  PetscFunctionBeginUser;
  PetscCheck(ienks->lag >= 1, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ienks_lag %" PetscInt_FMT ": a window holds at least 1 observation time", ienks->lag);
  PetscCheck(ienks->iterations >= 1, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ienks_iterations %" PetscInt_FMT ": at least 1 is needed", ienks->iterations);
  PetscCheck(ienks->tolerance >= 0.0 && !PetscIsInfOrNanReal(ienks->tolerance), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ienks_tolerance %g: must not be negative", (double)ienks->tolerance);
  PetscCheck(ienks->epsilon > 0.0 && ienks->epsilon <= 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ienks_bundle_epsilon %g: must be positive and at most 1", (double)ienks->epsilon);
  PetscCheck(analysis->space == KAL_SPACE_AUTO || analysis->space == KAL_SPACE_ENSEMBLE, analysis->comm, PETSC_ERR_ARG_INCOMP, "ienks works in ensemble space; leave -analysis_space out");
  analysis->space = KAL_SPACE_ENSEMBLE;
  PetscCall(KalSmootherSetUp(analysis, &ienks->smoother, ienks->iterations));
  PetscCall(PetscMalloc4(N, &ienks->w, N, &ienks->dw, N, &ienks->side, N, &ienks->value));
  PetscCall(PetscMalloc4(NN, &ienks->root, NN, &ienks->inverse, NN, &ienks->V, NN, &ienks->M));
  analysis->needs.timed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  const KalIenks *ienks = (const KalIenks *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalSmootherCheck(analysis, observations, ienks->iterations, "-ienks_iterations"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What multiplies the anomalies of predictions to make them those of members as wide as the bundle is meant to stand for. */
static PetscReal Enlargement(const KalIenks *ienks)
{
  return ienks->linearization == KAL_LINEARIZATION_BUNDLE ? 1.0 / ienks->epsilon : 1.0;
}

/* Back to the members as they are: no weights, and anomalies that are their own transform. */
static PetscErrorCode Restart(KalAnalysis analysis)
{
  KalIenks      *ienks = (KalIenks *)analysis->data;
  const PetscInt N     = analysis->N;
  PetscInt       j;

  PetscFunctionBeginUser;
  ienks->iteration = 0;
  PetscCall(PetscArrayzero(ienks->w, N));
  PetscCall(PetscArrayzero(ienks->root, (size_t)N * N));
  for (j = 0; j < N; j++) ienks->root[j + (size_t)j * N] = 1.0;
  PetscCall(PetscArraycpy(ienks->inverse, ienks->root, (size_t)N * N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalIenks *ienks = (KalIenks *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalSmootherBegin(analysis, &ienks->smoother, cycle));
  PetscCall(Restart(analysis));
  ienks->active      = analysis->N;
  analysis->filtered = ienks->lag > 1 ? analysis->copy[0] : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The copy becomes x + X (w 1' + T), or x + X (w 1' + epsilon I) of a bundle, X being the inflated anomalies of the members. */
static PetscErrorCode Iterate(KalAnalysis analysis)
{
  KalIenks       *ienks  = (KalIenks *)analysis->data;
  const PetscBool bundle = (PetscBool)(ienks->linearization == KAL_LINEARIZATION_BUNDLE);
  const PetscInt  N      = analysis->N;
  PetscReal       prior, posterior;
  PetscInt        j;

  PetscFunctionBeginUser;
  PetscCall(KalInflationFactors(&ienks->smoother.inflation, &prior, &posterior));
  if (!ienks->iteration && !bundle && prior == 1.0 && ienks->active == N) {
    PetscCall(KalSmootherCopy(analysis, &ienks->smoother, NULL));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (bundle) {
    PetscCall(PetscArrayzero(ienks->M, (size_t)N * N));
    for (j = 0; j < N; j++) ienks->M[j + (size_t)j * N] = ienks->epsilon;
  } else PetscCall(PetscArraycpy(ienks->M, ienks->root, (size_t)N * N));
  PetscCall(KalSmootherCompose(N, ienks->smoother.status, ienks->active, prior, ienks->w, ienks->M));
  PetscCall(KalSmootherCopy(analysis, &ienks->smoother, ienks->M));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  KalIenks    *ienks    = (KalIenks *)analysis->data;
  KalSmoother *smoother = &ienks->smoother;

  PetscFunctionBeginUser;
  ask->from    = -PetscMin(ienks->lag, smoother->cycle + 1); /* windows grow to their length from the start of the run */
  ask->to      = 0;
  ask->points  = analysis->copy[0];
  ask->observe = (PetscBool)(smoother->phase == KAL_PHASE_ITERATE);
  ask->bundle  = (PetscBool)(ask->observe && ienks->linearization == KAL_LINEARIZATION_BUNDLE);
  if (smoother->phase == KAL_PHASE_ITERATE) PetscCall(Iterate(analysis));
  if (smoother->phase == KAL_PHASE_FILTER) PetscCall(KalSmootherCopy(analysis, smoother, NULL));
  if (smoother->phase == KAL_PHASE_ADVANCE) {
    ask->points = analysis->ensemble;
    ask->to     = ask->from + 1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members that fail in any iteration take no further part. */
static PetscErrorCode Failures(KalAnalysis analysis, const KalTold *told, PetscBool *more)
{
  KalIenks  *ienks  = (KalIenks *)analysis->data;
  KalStatus *status = ienks->smoother.status;
  PetscInt   before = ienks->active, j;

  PetscFunctionBeginUser;
  for (j = 0; j < analysis->N; j++) {
    if (status[j] == KAL_MEMBER_OK) status[j] = told->status[j];
  }
  PetscCall(KalSmootherSurvivors(analysis, status, told->cycle, &ienks->active));
  *more = (PetscBool)(ienks->active < before);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = factor A x, A symmetric; in plain loops, whose bits no kernel changes */
static void Product(PetscInt N, PetscReal factor, const PetscReal *A, const PetscReal *x, PetscReal *y)
{
  PetscInt i, j;

  for (i = 0; i < N; i++) y[i] = 0.0;
  for (j = 0; j < N; j++) {
    for (i = 0; i < N; i++) y[i] += factor * A[i + (size_t)j * N] * x[j];
  }
}

/* C = A B, or as KalMultiply() has it; where the ranks run different kernels, all go on with what rank 0 has. */
static PetscErrorCode Multiply(KalAnalysis analysis, const char *transposed, const PetscReal *A, const PetscReal *B, PetscReal *C)
{
  PetscFunctionBeginUser;
  PetscCall(KalMultiply(transposed, analysis->N, analysis->N, analysis->N, 1.0, A, B, 0.0, C));
  PetscCall(KalFromFirst(analysis, (size_t)analysis->N * analysis->N, C));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (I + S)^power of S = V diag(value) V' */
static PetscErrorCode Power(KalAnalysis analysis, PetscReal power, PetscReal *result)
{
  KalIenks      *ienks = (KalIenks *)analysis->data;
  const PetscInt N     = analysis->N;
  PetscInt       i, j;

  PetscFunctionBeginUser;
  for (j = 0; j < N; j++) {
    const PetscReal factor = PetscPowReal(1.0 + PetscMax(0.0, ienks->value[j]), power);

    for (i = 0; i < N; i++) ienks->M[i + (size_t)j * N] = factor * ienks->V[i + (size_t)j * N];
  }
  PetscCall(Multiply(analysis, "NT", ienks->M, ienks->V, result));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  One Gauss-Newton step. The predictions' anomalies belong to points with the transform T (of a bundle: epsilon I); those of the members at
  the window's start are theirs times T^{-1}: S = T^{-1} S_T T^{-1}, d = T^{-1} d_T.
*/
static PetscErrorCode Step(KalAnalysis analysis, const KalInnovation *in)
{
  KalIenks       *ienks  = (KalIenks *)analysis->data;
  const PetscInt  N      = analysis->N;
  const PetscReal factor = Enlargement(ienks);
  PetscInt        i, j;

  PetscFunctionBeginUser;
  PetscCall(Multiply(analysis, "NN", ienks->inverse, in->S, ienks->M));
  PetscCall(Multiply(analysis, "NN", ienks->M, ienks->inverse, ienks->V));
  for (j = 0; j < N; j++) {
    for (i = 0; i <= j; i++) ienks->M[i + (size_t)j * N] = ienks->M[j + (size_t)i * N] = 0.5 * factor * factor * (ienks->V[i + (size_t)j * N] + ienks->V[j + (size_t)i * N]);
  }
  PetscCall(KalEigen(analysis, N, ienks->M, ienks->value, ienks->V));
  Product(N, factor * in->scale, ienks->inverse, in->d, ienks->side);
  for (i = 0; i < N; i++) ienks->side[i] -= ienks->w[i];
  PetscCall(Power(analysis, -1.0, ienks->root));
  Product(N, 1.0, ienks->root, ienks->side, ienks->dw);
  for (i = 0; i < N; i++) ienks->w[i] += ienks->dw[i];
  PetscCall(Power(analysis, -0.5, ienks->root));
  if (ienks->linearization == KAL_LINEARIZATION_TRANSFORM) PetscCall(Power(analysis, 0.5, ienks->inverse));
  for (analysis->report.dfs = 0.0, i = 0; i < N; i++) analysis->report.dfs += PetscMax(0.0, ienks->value[i]) / (1.0 + PetscMax(0.0, ienks->value[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The members at the window's start after the last iteration. */
static PetscErrorCode Analyse(KalAnalysis analysis)
{
  KalIenks       *ienks = (KalIenks *)analysis->data;
  PetscReal      *T     = ienks->smoother.T;
  const PetscReal relax = ienks->smoother.inflation.rtpp;
  const PetscInt  N     = analysis->N;
  PetscReal       prior, posterior;
  PetscInt        i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(T, ienks->root, (size_t)N * N));
  for (j = 0; relax > 0.0 && j < N; j++) {
    for (i = 0; i < N; i++) T[i + (size_t)j * N] = (1.0 - relax) * T[i + (size_t)j * N] + (i == j ? relax : 0.0);
  }
  PetscCall(KalInflationFactors(&ienks->smoother.inflation, &prior, &posterior));
  PetscCall(KalSmootherCompose(N, ienks->smoother.status, ienks->active, prior, ienks->w, T));
  PetscCall(KalSmootherAnalyse(analysis, &ienks->smoother, ienks->active, PETSC_TRUE, T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What predictions of an iterate say. */
static PetscErrorCode TellIterate(KalAnalysis analysis, const KalTold *told)
{
  KalIenks       *ienks    = (KalIenks *)analysis->data;
  KalTold         survived = *told;
  const PetscBool first    = (PetscBool)(ienks->iteration == 0);
  KalInnovation   in;
  PetscReal       square = 0.0;
  PetscBool       fewer  = PETSC_FALSE;
  PetscInt        i;

  PetscFunctionBeginUser;
  PetscCall(Failures(analysis, told, &fewer));
  if (fewer && !first) { /* the iterate is made of members that are no longer there */
    PetscCall(Restart(analysis));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  survived.status = ienks->smoother.status;
  PetscCall(KalInnovationCreate(analysis, &survived, -1, 0.0, KAL_WANT_GRAM, &in));
  if (first) PetscCall(KalSmootherReport(analysis, told, &in, Enlargement(ienks)));
  PetscCall(Step(analysis, &in));
  PetscCall(KalInnovationDestroy(&in));
  ienks->iteration++;
  for (i = 0; i < analysis->N; i++) square += ienks->dw[i] * ienks->dw[i];
  if (ienks->iteration < ienks->iterations && !(square < ienks->tolerance * analysis->N)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Analyse(analysis));
  analysis->report.step = ienks->iteration;
  ienks->smoother.phase = ienks->lag > 1 ? KAL_PHASE_FILTER : KAL_PHASE_ADVANCE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalIenks    *ienks    = (KalIenks *)analysis->data;
  KalSmoother *smoother = &ienks->smoother;

  PetscFunctionBeginUser;
  *verdict = KAL_VERDICT_AGAIN;
  if (smoother->phase == KAL_PHASE_ITERATE) {
    PetscCall(TellIterate(analysis, told));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalSmootherForecast(analysis, smoother, told));
  if (smoother->phase == KAL_PHASE_ADVANCE || smoother->cycle + 1 < ienks->lag) *verdict = KAL_VERDICT_ACCEPT; /* a window that is not full yet keeps its start */
  smoother->phase = KAL_PHASE_ADVANCE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalIenks *ienks = (const KalIenks *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  window of %" PetscInt_FMT " observation times, %" PetscInt_FMT " iterations", ienks->lag, ienks->iterations));
  if (ienks->tolerance > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, " or |dw|^2 < %g N", (double)ienks->tolerance));
  PetscCall(PetscViewerASCIIPrintf(viewer, ", %s\n", Linearizations[ienks->linearization]));
  PetscCall(KalSmootherView(&ienks->smoother, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalIenks *ienks = (KalIenks *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree4(ienks->w, ienks->dw, ienks->side, ienks->value));
  PetscCall(PetscFree4(ienks->root, ienks->inverse, ienks->V, ienks->M));
  PetscCall(KalSmootherDestroy(&ienks->smoother));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISIENKS = "ienks" - The iterative ensemble Kalman smoother; with lag 1 the iterative ensemble Kalman filter

   The members stand at the start t_{k-L} of a window of L observation times; those of its end, t_k, are assimilated by minimizing over w

     J(w) = 1/2 |y - H M(x + X w)|^2 in R^{-1}  +  (N - 1)/2 |w|^2,   x the mean and X the anomalies at t_{k-L},

   by Gauss-Newton with sensitivities from the ensemble itself: members x + X (w 1' + T) are forecast to t_k and observed; with Y their
   whitened anomalies times T^{-1}, d the whitened innovation of their mean, C = Y'Y + (N - 1) I,

     w <- w + C^{-1} (Y'd - (N - 1) w),   T <- sqrt(N - 1) C^{-1/2}    (the symmetric root),

   from w = 0, T = I. The members become x + X (w 1' + T), are inflated and rotated, and are forecast by one observation time.
   Bocquet and Sakov 2012 (NPG 19, 383) and 2014 (QJRMS 140, 1521); Sakov, Oliver and Bertino 2012 (MWR 140, 1988); the order
   of operations is that of DAPPER's iEnKS with upd_a='Sqrt'.

   Options Database Keys:
+  -ienks_lag <1> - L, observation times in a window; 1 is the iterative filter (IEnKF)
.  -ienks_iterations <10> - most Gauss-Newton iterations of a cycle
.  -ienks_tolerance <0> - stop where |dw|^2 < tolerance N; 0: all iterations are done
.  -ienks_linearization <transform> - transform: as above; bundle: T = epsilon I in the iterations, a finite difference
.  -ienks_bundle_epsilon <1e-4> - spread of the bundle, times that of the members
.  -inflation_factor <1>, -inflation_on, -inflation_rtpp, -inflation_rtps, -inflation_additive - see KalInflation; they act at the window's start
-  -analysis_rotate <false> - random rotation of the anomalies that keeps their mean, after the analysis

   Notes:
   Observations are used once, when they enter at the end of the window (single data assimilation); the window slides by one
   observation time a cycle. The first L - 1 windows of a run are shorter: they begin at the start of the run, where the ensemble stays
   until the window is full.

   Between cycles the ensemble stands at t_{k-L+1}; with L > 1 the analysis at t_k (KalAnalysisGetFiltered()) is a forecast
   over the window of the members after inflation, in a copy. A cycle forecasts N members (iterations + 1) L times an interval, less one
   where L = 1; with L > 1, iterations L + L + 1.

   There is no background check (-observations_reject) unless -ienks_iterations is 1. A member that fails in any iteration is out for the rest of the cycle, and the iterations begin anew without it unless it was the
   first; at the end such members are drawn anew from the survivors. Loss and innovation are those of the
   first one. The model is taken to be perfect: noise that it adds differs between iterations and is no part of the minimization.

   Reproduces: Lorenz-63 every 25 steps of 0.01, R = 2 I, N = 10, inflation 1.02, rotation: rmse 0.31 (DAPPER, from Bocquet and Sakov).

.seealso: KALANALYSISETKF, KALANALYSISESMDA, KalInflation
M*/
PetscErrorCode KalAnalysisCreate_IEnKS(KalAnalysis analysis)
{
  KalIenks *ienks;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&ienks));
  PetscCall(KalInflationDefaults(&ienks->smoother.inflation));
  ienks->lag                   = 1;
  ienks->iterations            = 10;
  ienks->epsilon               = 1e-4;
  analysis->data               = ienks;
  analysis->takes              = KAL_TAKES_SPACE;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = Tell;
  analysis->ops.update         = KalSmootherUpdate;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
