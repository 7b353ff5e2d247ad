/* ranks: 3 */
/*
  ienks and esmda: for a linear model the Kalman filter, whatever the lag and the iterations; failed members; the Bayesian posterior; the
  iterative filter on Lorenz-63. The same bits on 1, 2 and 3 ranks.
*/
#include "window.h"

#define N_STATE 4
#define MEMBERS 9

/* Nearly a rotation of two pairs, coupled: invertible, so that a window's start follows from its end. */
static void Rotate(PetscInt n, double dt, double *x)
{
  double   y[N_STATE];
  PetscInt i, k;

  (void)dt;
  for (i = 0; i < n; i++) {
    y[i] = 0.0;
    for (k = 0; k < n; k++) y[i] += ((i == k ? 0.9 : 0.0) + 0.3 * KalTestNumber(51, (uint64_t)(i * n + k))) * x[k];
  }
  memcpy(x, y, (size_t)n * sizeof *x);
}

static void Start(PetscInt n, PetscInt member, double *x)
{
  PetscInt i;

  for (i = 0; i < n; i++) x[i] = 0.5 + 2.0 * KalTestNumber(52, (uint64_t)(member * n + i));
}

static const PetscInt start[] = {0, 1, 3, 5}, entry[] = {0, 1, 3, 2, 0};
static const double   weight[] = {1.0, 0.5, 2.0, -1.0, 0.3}, error[] = {0.5, 1.0, 0.7};

static void Observed(PetscInt cycle, PetscInt p, double *y)
{
  PetscInt i;

  for (i = 0; i < p; i++) y[i] = 1.5 * KalTestNumber(53, (uint64_t)(cycle * p + i));
}

#define SIZED(kind, size, members, observations, ...) \
  { \
    .type = kind, .n = size, .N = members, .dt = 0.5, .model = Rotate, .start = Start, .H = {observations, start, entry, weight}, .error = error, __VA_ARGS__ \
  }
#define LINEAR(kind, ...) SIZED(kind, N_STATE, MEMBERS, 3, __VA_ARGS__)

typedef struct {
  Setting   setting;
  PetscInt  lag, asks;     /* asks of a cycle with a full window */
  double    before, after; /* factors on the covariance at the window's start */
  PetscBool relaxed;       /* anomalies go back to what they were */
} Case;

#define CASE(...) \
  { \
    __VA_ARGS__ \
  }

static const Case cases[] = {
    CASE(.setting = LINEAR("ienks", .options = "-ienks_iterations 1"), .lag = 1, .asks = 2),
    CASE(.setting = LINEAR("ienks", .options = "-analysis_rotate"), .lag = 1, .asks = 11),
    CASE(.setting = LINEAR("ienks", .options = "-ienks_tolerance 1e-12"), .lag = 1, .asks = 3),
    CASE(.setting = LINEAR("ienks", .options = "-ienks_linearization bundle -ienks_bundle_epsilon 0.01 -ienks_iterations 3"), .lag = 1, .asks = 4),
    CASE(.setting = LINEAR("ienks", .options = "-ienks_iterations 4 -inflation_factor 1.1 -analysis_rotate"), .lag = 1, .asks = 5, .after = 1.1 * 1.1),
    CASE(.setting = LINEAR("ienks", .options = "-ienks_iterations 2 -inflation_factor 1.3 -inflation_on prior-covariance"), .lag = 1, .asks = 3, .before = 1.3),
    CASE(.setting = LINEAR("ienks", .options = "-ienks_iterations 2 -inflation_factor 1.3 -inflation_on prior-anomalies"), .lag = 1, .asks = 3, .before = 1.69),
    CASE(.setting = LINEAR("ienks", .options = "-ienks_iterations 2 -inflation_rtpp 1"), .lag = 1, .asks = 3, .relaxed = PETSC_TRUE),
    CASE(.setting = SIZED("ienks", 1, MEMBERS, 1, .options = "-ienks_iterations 2 -inflation_rtps 1"), .lag = 1, .asks = 3, .relaxed = PETSC_TRUE),
    CASE(.setting = LINEAR("ienks", .options = "-ienks_lag 3 -ienks_iterations 1"), .lag = 3, .asks = 3),
    CASE(.setting = LINEAR("ienks", .options = "-ienks_lag 3 -ienks_iterations 4 -analysis_rotate"), .lag = 3, .asks = 6),
    CASE(.setting = LINEAR("ienks", .options = "-ienks_lag 2 -ienks_iterations 2 -ienks_linearization bundle -ienks_bundle_epsilon 0.01"), .lag = 2, .asks = 4),
};

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test, const char *more)
{
  const Setting *s = &test->setting;
  const PetscInt n = s->n, p = s->H.rows;
  Window         w;
  KalEnsemble    filtered;
  double         X[N_STATE * MEMBERS], mean[N_STATE], P[N_STATE * N_STATE], ours[N_STATE], C[N_STATE * N_STATE], free[N_STATE * N_STATE], y[3], dfs, consistency;
  PetscInt       cycle, i, k, j;

  PetscFunctionBeginUser;
  PetscCall(WindowCreate(comm, s, more, &w));
  KalHolds(w.needs.copies == 1 && w.needs.least == 2 && w.needs.timed && !w.needs.dense);
  PetscCall(KalEnsembleGatherRows(w.ensemble, X));
  Moments(n, MEMBERS, X, 0, NULL, mean, P);
  for (cycle = 0; cycle < 6; cycle++) {
    const PetscBool full = (PetscBool)(cycle >= test->lag - 1);

    Observed(cycle, p, y);
    for (i = 0; i < n * n; i++) P[i] *= test->before > 0.0 ? test->before : 1.0;
    DenseForecast(s, mean, P);
    memcpy(free, P, sizeof P);
    PetscCall(DenseKalman(s, y, mean, P, &dfs, &consistency));
    for (i = 0; i < n * n; i++) P[i] = test->relaxed ? free[i] : P[i] * (test->after > 0.0 ? test->after : 1.0);
    PetscCall(WindowCycle(&w, y));

    KalHolds(w.asks == test->asks - (full ? 0 : 1));
    for (k = 0; k < w.asks; k++) {
      const PetscInt  from    = -PetscMin(test->lag, cycle + 1);
      const PetscBool advance = (PetscBool)(full && k == w.asks - 1), filter = (PetscBool)(test->lag > 1 && k == w.asks - 1 - (full ? 1 : 0));

      KalHolds(w.asked[k].from == from && w.asked[k].to == (advance ? from + 1 : 0));
      KalHolds(w.asked[k].observe == (advance || filter ? PETSC_FALSE : PETSC_TRUE));
      KalHolds(w.asked[k].points == (advance ? w.ensemble : w.copy[0]));
    }
    /* the analysis at the time of the observations */
    PetscCall(KalAnalysisGetFiltered(w.analysis, &filtered));
    KalHolds(filtered == (test->lag > 1 ? w.copy[0] : w.ensemble));
    PetscCall(KalEnsembleGatherRows(filtered, X));
    Moments(n, MEMBERS, X, 0, NULL, ours, C);
    KalHolds(DenseDistance((size_t)n, ours, mean) < 1e-9 && DenseDistance((size_t)(n * n), C, P) < 1e-9);
    /* and the members, which stand at the start of the next window */
    PetscCall(KalEnsembleGatherRows(w.ensemble, X));
    for (j = 0; j < MEMBERS; j++) {
      for (k = 0; k < (full ? test->lag - 1 : cycle + 1); k++) s->model(n, s->dt, X + j * n);
    }
    Moments(n, MEMBERS, X, 0, NULL, ours, C);
    KalHolds(DenseDistance((size_t)n, ours, mean) < 1e-9 && DenseDistance((size_t)(n * n), C, P) < 1e-9);
    PetscCall(KalSameBits(comm, X, (size_t)(n * MEMBERS) * sizeof *X));
    KalNear(w.report.dfs, dfs, 1e-8);
    KalNear(w.report.innovation, consistency, 1e-8);
    KalNear(w.report.inflation, sqrt(test->before > 0.0 ? test->before : 1.0), 1e-12);
    KalHolds(w.report.effective > 1.0 && w.report.effective <= n + 1.0 + 1e-9);
  }
  PetscCall(WindowDestroy(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LinearOn(MPI_Comm comm, void *ctx)
{
  const char *more[] = {"-ensemble_exchange messages -ensemble_block_rows 3", "-ensemble_exchange shared"};
  size_t      t;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < PETSC_STATIC_ARRAY_LENGTH(cases); t++) {
    const int held = kal_holds;

    PetscCall(RunCase(comm, &cases[t], more[t % 2]));
    if (held && !kal_holds) print_error("with %s\n", cases[t].setting.options);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void LinearModelsAreFiltered(void **state)
{
  (void)state;
  KalOnEachCount(LinearOn, NULL);
}

/* A rotation changes members, each cycle's in its own way, and neither mean nor covariance. */
static PetscErrorCode RotationOn(MPI_Comm comm, void *ctx)
{
  const Setting plain = LINEAR("ienks", .options = "-ienks_iterations 2"), rotated = LINEAR("ienks", .options = "-ienks_iterations 2 -analysis_rotate");
  double        X[2][N_STATE * MEMBERS], mean[2][N_STATE], P[2][N_STATE * N_STATE], y[3];
  Window        w;
  PetscInt      t;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < 2; t++) {
    PetscCall(WindowCreate(comm, t ? &rotated : &plain, NULL, &w));
    Observed(0, 3, y);
    PetscCall(WindowCycle(&w, y));
    PetscCall(KalEnsembleGatherRows(w.ensemble, X[t]));
    PetscCall(WindowDestroy(&w));
    Moments(N_STATE, MEMBERS, X[t], 0, NULL, mean[t], P[t]);
  }
  KalHolds(DenseDistance(N_STATE, mean[0], mean[1]) < 1e-12 && DenseDistance(N_STATE * N_STATE, P[0], P[1]) < 1e-12);
  for (t = 0; t < MEMBERS; t++) KalHolds(DenseDistance(N_STATE, X[0] + t * N_STATE, X[1] + t * N_STATE) > 1e-3);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void RotationKeepsMoments(void **state)
{
  (void)state;
  KalOnEachCount(RotationOn, NULL);
}

/* Members that fail in the first and in a later iteration: the analysis is that of the others, and these are redrawn. */
static PetscErrorCode FailuresOn(MPI_Comm comm, void *ctx)
{
  const Setting  failing = LINEAR("ienks", .options = "-ienks_iterations 4 -inflation_factor 1.05 -analysis_rotate", .nfail = 4, .fail = {
                                                                                                                                     {0, 0, 2},
                                                                                                                                     {0, 2, 5},
                                                                                                                                     {0, 2, 8},
                                                                                                                                     {1, 4, 7}
  });
  const Setting  sound   = LINEAR("ienks", .options = "-ienks_iterations 4 -inflation_factor 1.05 -analysis_rotate", .nfail = 3, .fail = {
                                                                                                                                     {0, 0, 2},
                                                                                                                                     {0, 2, 5},
                                                                                                                                     {0, 2, 8}
  });
  const PetscInt out[] = {2, 5, 8}, none = 7;
  double         X[N_STATE * MEMBERS], Y[N_STATE * MEMBERS], mean[N_STATE], P[N_STATE * N_STATE], ours[N_STATE], C[N_STATE * N_STATE], y[3];
  Window         w, v;
  PetscInt       i, j;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCall(WindowCreate(comm, &failing, NULL, &w));
  PetscCall(KalEnsembleGatherRows(w.ensemble, X));
  Moments(N_STATE, MEMBERS, X, 3, out, mean, P);
  Observed(0, 3, y);
  DenseForecast(&failing, mean, P);
  PetscCall(DenseKalman(&failing, y, mean, P, NULL, NULL));
  for (i = 0; i < N_STATE * N_STATE; i++) P[i] *= 1.05 * 1.05;
  PetscCall(WindowCycle(&w, y));
  KalHolds(w.asks == 3 + 4 + 1); /* the third predictions are thrown away */
  PetscCall(KalEnsembleGatherRows(w.ensemble, X));
  Moments(N_STATE, MEMBERS, X, 3, out, ours, C);
  KalHolds(DenseDistance(N_STATE, ours, mean) < 1e-9 && DenseDistance(N_STATE * N_STATE, C, P) < 1e-9);
  for (i = 0; i < N_STATE * MEMBERS; i++) KalHolds(fabs(X[i]) < 20.0);
  KalHolds(DenseDistance(N_STATE, X + 2 * N_STATE, X + 5 * N_STATE) > 1e-3 && DenseDistance(N_STATE, X + 2 * N_STATE, X + 8 * N_STATE) > 1e-3 && DenseDistance(N_STATE, X + 2 * N_STATE, mean) > 1e-3);
  PetscCall(KalSameBits(comm, X, sizeof X));

  /* one that fails on the way to the next window leaves the others alone */
  Observed(1, 3, y);
  PetscCall(WindowCycle(&w, y));
  PetscCall(KalEnsembleGatherRows(w.ensemble, X));
  PetscCall(KalSameBits(comm, X, sizeof X));
  PetscCall(WindowDestroy(&w));
  PetscCall(WindowCreate(comm, &sound, NULL, &v));
  for (i = 0; i < 2; i++) {
    Observed(i, 3, y);
    PetscCall(WindowCycle(&v, y));
  }
  PetscCall(KalEnsembleGatherRows(v.ensemble, Y));
  PetscCall(WindowDestroy(&v));
  for (j = 0; j < MEMBERS; j++) KalHolds((DenseDistance(N_STATE, X + j * N_STATE, Y + j * N_STATE) == 0.0) == (j != none));
  KalHolds(DenseDistance(N_STATE, X + none * N_STATE, Y + none * N_STATE) < 20.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FailedMembersStayOut(void **state)
{
  (void)state;
  KalOnEachCount(FailuresOn, NULL);
}

/* In a longer window the members and their copy are forecast after the analysis, and lose members there. */
static PetscErrorCode CopyOn(MPI_Comm comm, void *ctx)
{
  const Setting failing = LINEAR("ienks", .options = "-ienks_lag 2 -ienks_iterations 2", .nfail = 2, .fail = {
                                                                                                         {1, 2, 3},
                                                                                                         {1, 3, 3}
  });
  double        X[N_STATE * MEMBERS], Y[N_STATE * MEMBERS], y[3];
  KalEnsemble   filtered;
  Window        w;
  PetscInt      cycle, i;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCall(WindowCreate(comm, &failing, NULL, &w));
  for (cycle = 0; cycle < 3; cycle++) {
    Observed(cycle, 3, y);
    PetscCall(WindowCycle(&w, y));
    PetscCall(KalAnalysisGetFiltered(w.analysis, &filtered));
    PetscCall(KalEnsembleGatherRows(filtered, X));
    for (i = 0; i < N_STATE * MEMBERS; i++) KalHolds(fabs(X[i]) < 20.0);
    PetscCall(KalSameBits(comm, X, sizeof X));
    PetscCall(KalEnsembleGatherRows(w.ensemble, X));
    for (i = 0; i < N_STATE * MEMBERS; i++) KalHolds(fabs(X[i]) < 20.0);
    PetscCall(KalSameBits(comm, X, sizeof X));
    if (cycle != 1) continue;
    PetscCall(KalEnsembleGatherRows(filtered, Y)); /* its member 3 is another draw than that of the members themselves */
    for (i = 0; i < MEMBERS; i++) {
      Rotate(N_STATE, 0.5, X + i * N_STATE);
      KalHolds((DenseDistance(N_STATE, X + i * N_STATE, Y + i * N_STATE) < 1e-12) == (i != 3));
    }
  }
  PetscCall(WindowDestroy(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FailuresAfterTheAnalysis(void **state)
{
  (void)state;
  KalOnEachCount(CopyOn, NULL);
}

/* esmda in time: with one step the mean is the Kalman filter's, from the sample moments; the covariance up to sampling error. */
#define MANY 1000
typedef struct {
  const char *options;
  PetscInt    asks;
  double      before, after;
} Annealing;
static const Annealing annealings[] = {
    {"-esmda_steps 1",                                                      2, 1.0, 1.0 },
    {"-esmda_steps 1 -analysis_space observation",                          2, 1.0, 1.0 },
    {"-esmda_steps 1 -analysis_space matrix-free -analysis_ksp_rtol 1e-13", 2, 1.0, 1.0 },
    {"-esmda_steps 4",                                                      5, 1.0, 1.0 },
    {"-esmda_steps 3 -esmda_ratio 0.4",                                     4, 1.0, 1.0 },
    {"-esmda_steps 2 -inflation_factor 1.2",                                3, 1.0, 1.44},
    {"-esmda_steps 2 -inflation_factor 1.5 -inflation_on prior-covariance", 3, 1.5, 1.0 },
};

static PetscErrorCode Anneal(MPI_Comm comm, const Annealing *test)
{
  const PetscInt n = N_STATE;
  const Setting  s = SIZED("esmda", N_STATE, MANY, 3, .options = test->options);
  Window         w;
  double        *X, mean[N_STATE], P[N_STATE * N_STATE], ours[N_STATE], C[N_STATE * N_STATE], y[3];
  PetscInt       i, k;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n * MANY, &X));
  PetscCall(WindowCreate(comm, &s, NULL, &w));
  KalHolds(w.needs.copies == 1 && w.needs.least == 2 && !w.needs.timed);
  PetscCall(KalEnsembleGatherRows(w.ensemble, X));
  Moments(n, MANY, X, 0, NULL, mean, P);
  Observed(0, 3, y);
  for (i = 0; i < n * n; i++) P[i] *= test->before;
  DenseForecast(&s, mean, P);
  PetscCall(DenseKalman(&s, y, mean, P, NULL, NULL));
  for (i = 0; i < n * n; i++) P[i] *= test->after;
  PetscCall(WindowCycle(&w, y));
  KalHolds(w.asks == test->asks);
  for (k = 0; k < w.asks; k++) KalHolds(w.asked[k].from == -1 && w.asked[k].to == 0 && w.asked[k].observe == (k < w.asks - 1 ? PETSC_TRUE : PETSC_FALSE) && w.asked[k].points == (k < w.asks - 1 ? w.copy[0] : w.ensemble));
  PetscCall(KalEnsembleGatherRows(w.ensemble, X));
  Moments(n, MANY, X, 0, NULL, ours, C);
  for (i = 0; i < n; i++) {
    KalNear(ours[i], mean[i], w.asks == 2 ? 1e-8 : 4.0 * sqrt(P[i + i * n] / MANY));
    for (k = 0; k < n; k++) KalNear(C[i + k * n], P[i + k * n], 4.0 * sqrt((P[i + i * n] * P[k + k * n] + pow(P[i + k * n], 2)) / MANY));
  }
  PetscCall(KalSameBits(comm, X, (size_t)n * MANY * sizeof *X));
  PetscCall(WindowDestroy(&w));
  PetscCall(PetscFree(X));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AnnealingsOn(MPI_Comm comm, void *ctx)
{
  size_t t;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < PETSC_STATIC_ARRAY_LENGTH(annealings); t++) {
    const int held = kal_holds;

    PetscCall(Anneal(comm, &annealings[t]));
    if (held && !kal_holds) print_error("with %s\n", annealings[t].options);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PosteriorInTime(void **state)
{
  (void)state;
  KalOnEachCount(AnnealingsOn, NULL);
}

/* What every ask's members are on average after their forecast, in the first entry. */
static double   seen[3];
static PetscInt calls;
static void     Watched(PetscInt n, double dt, double *x)
{
  Rotate(n, dt, x);
  if (calls < 3 * MANY) seen[calls++ / MANY] += x[0] / MANY;
}

/* The first of two steps has the larger coefficient where their ratio is less than 1: alpha_1 = 1 + 1/ratio. */
static void CoefficientsFollowTheRatio(void **state)
{
  const double  ratio   = 0.25;
  const Setting s       = SIZED("esmda", N_STATE, MANY, 3, .options = "-esmda_steps 2 -esmda_ratio 0.25");
  Setting       watched = s, first = s;
  double       *X, mean[N_STATE], P[N_STATE * N_STATE], y[3], errors[3];
  Window        w;
  PetscInt      i;

  (void)state;
  watched.model = Watched;
  first.error   = errors;
  for (i = 0; i < 3; i++) errors[i] = error[i] * sqrt(1.0 + 1.0 / ratio);
  KalCall(PetscMalloc1(N_STATE * MANY, &X));
  KalCall(WindowCreate(PETSC_COMM_SELF, &watched, NULL, &w));
  KalCall(KalEnsembleGatherRows(w.ensemble, X));
  Moments(N_STATE, MANY, X, 0, NULL, mean, P);
  Observed(0, 3, y);
  KalCall(WindowCycle(&w, y));
  KalCall(WindowDestroy(&w));
  DenseForecast(&s, mean, P);
  KalAssertNear(seen[0], mean[0], 1e-10);
  KalCall(DenseKalman(&first, y, mean, P, NULL, NULL));
  KalAssertNear(seen[1], mean[0], 1e-8);
  KalCall(PetscFree(X));
}

/* The same without time: parameters of a linear regression. A member fails and is redrawn. */
static PetscErrorCode RegressionOn(MPI_Comm comm, void *ctx)
{
  Problem  problem = {.type = "esmda", .options = "-esmda_steps 3", .N = MANY, .inputs = 3, .outputs = 1, .samples = 7, .noise = 0.4, .spread = 0.8};
  double  *U, mean[3], P[9], ours[3], C[9], H[21], R[7];
  PetscInt start[8], entry[21], i, k;
  Setting  s = {
       .n = 3, .H = {7, start, entry, H},
            .error = R
  };
  Twin twin;

  PetscFunctionBeginUser;
  (void)ctx;
  MakeData(&problem);
  FailMembers(&problem, "17");
  for (i = 0; i < 7; i++) R[i] = sqrt(problem.noise);
  for (i = 0; i < 8; i++) start[i] = 3 * i;
  for (i = 0; i < 21; i++) {
    entry[i] = i % 3;
    H[i]     = problem.x[i];
  }
  PetscCall(PetscMalloc1(3 * MANY, &U));
  PetscCall(TwinCreate(comm, &problem, NULL, &twin));
  PetscCall(TwinState(&twin, U));
  Moments(3, MANY, U, 0, NULL, mean, P);
  PetscCall(DenseKalman(&s, problem.y, mean, P, NULL, NULL));
  PetscCall(TwinCycle(&twin));
  KalHolds(twin.asked == 3 && twin.verdict == KAL_VERDICT_ACCEPT);
  PetscCall(TwinState(&twin, U));
  Moments(3, MANY, U, 0, NULL, ours, C);
  for (i = 0; i < 3; i++) {
    KalNear(ours[i], mean[i], 4.0 * sqrt(P[i + i * 3] / MANY));
    for (k = 0; k < 3; k++) KalNear(C[i + k * 3], P[i + k * 3], 4.0 * sqrt((P[i + i * 3] * P[k + k * 3] + pow(P[i + k * 3], 2)) / MANY));
  }
  PetscCall(KalSameBits(comm, U, 3 * MANY * sizeof *U));
  PetscCall(TwinDestroy(&twin));
  PetscCall(PetscFree(U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PosteriorWithoutTime(void **state)
{
  (void)state;
  KalOnEachCount(RegressionOn, NULL);
}

#define ROOT2 1.4142135623730951

#define BITS 50 /* cycles on more than one rank */

/* Lorenz-63 by RK4, 25 steps of 0.01 between observations. */
static void Slope63(const double *x, double *dx)
{
  dx[0] = 10.0 * (x[1] - x[0]);
  dx[1] = x[0] * (28.0 - x[2]) - x[1];
  dx[2] = x[0] * x[1] - 8.0 / 3.0 * x[2];
}

static void Lorenz63(PetscInt n, double dt, double *x)
{
  const double h = dt / 25.0;
  double       k[4][3], z[3];
  PetscInt     step, i;

  (void)n;
  for (step = 0; step < 25; step++) {
    Slope63(x, k[0]);
    for (i = 0; i < 3; i++) z[i] = x[i] + 0.5 * h * k[0][i];
    Slope63(z, k[1]);
    for (i = 0; i < 3; i++) z[i] = x[i] + 0.5 * h * k[1][i];
    Slope63(z, k[2]);
    for (i = 0; i < 3; i++) z[i] = x[i] + h * k[2][i];
    Slope63(z, k[3]);
    for (i = 0; i < 3; i++) x[i] += h / 6.0 * (k[0][i] + 2.0 * k[1][i] + 2.0 * k[2][i] + k[3][i]);
  }
}

static void Start63(PetscInt n, PetscInt member, double *x)
{
  const double mean[3] = {1.509, -1.531, 25.46};
  PetscInt     i;

  (void)KalDrawNormal((KalKey){SEED, KAL_DRAW_TEST, 1, member}, 0, n, x);
  for (i = 0; i < n; i++) x[i] = mean[i] + ROOT2 * x[i];
}

/* The published score, 0.31 with 10 iterations, from a shorter run; and what a longer window leaves of the errors at its start. */
static PetscErrorCode ScoreOn(MPI_Comm comm, void *ctx)
{
  static const PetscInt all[]   = {0, 1, 2};
  static const double   sd[]    = {ROOT2, ROOT2, ROOT2};
  const Setting         setting = {
              .type = "ienks", .options = "-inflation_factor 1.02 -analysis_rotate -ienks_tolerance 1e-5", .n = 3, .N = 10, .dt = 0.25, .model = Lorenz63, .start = Start63, .H = {3, NULL, all, NULL},
                                     .error = sd
  };
  const PetscInt cycles = 1000;
  double         truth[3], y[3], X[30], mean[3], P[9], score = 0.0;
  Window         w;
  PetscInt       cycle, i;
  PetscMPIInt    size;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(WindowCreate(comm, &setting, NULL, &w));
  Start63(3, 1000, truth);
  for (cycle = 0; cycle < (size == 1 ? cycles : BITS); cycle++) {
    Lorenz63(3, 0.25, truth);
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_TEST, 2, cycle}, 0, 3, y));
    for (i = 0; i < 3; i++) y[i] = truth[i] + ROOT2 * y[i];
    PetscCall(WindowCycle(&w, y));
    PetscCall(KalEnsembleGatherRows(w.ensemble, X));
    Moments(3, 10, X, 0, NULL, mean, P);
    if (cycle >= 64) score += sqrt((pow(mean[0] - truth[0], 2) + pow(mean[1] - truth[1], 2) + pow(mean[2] - truth[2], 2)) / 3.0) / (cycles - 64);
    if (cycle == BITS - 1) PetscCall(KalSameBits(comm, X, sizeof X));
  }
  if (size == 1) KalNear(score, 0.31, 0.06);
  PetscCall(WindowDestroy(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ScoreOfLorenz63(void **state)
{
  (void)state;
  KalOnEachCount(ScoreOn, NULL);
}

static PetscErrorCode Try(const char *type, const char *options)
{
  const Setting s = LINEAR(type, .options = options, .nfail = 8, .fail = {
                                                                     {0, 1, 0},
                                                                     {0, 1, 1},
                                                                     {0, 1, 2},
                                                                     {0, 1, 3},
                                                                     {0, 1, 4},
                                                                     {0, 1, 5},
                                                                     {0, 1, 6},
                                                                     {0, 1, 7}
  });
  Window        w;
  double        y[3];

  PetscFunctionBeginUser;
  PetscCall(WindowCreate(PETSC_COMM_WORLD, &s, NULL, &w));
  Observed(0, 3, y);
  PetscCall(WindowCycle(&w, y));
  PetscCall(WindowDestroy(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Refusals(void **state)
{
  (void)state;
  KalRefused(Try("ienks", "-ienks_lag 0"), "-ienks_lag 0");
  KalRefused(Try("ienks", "-ienks_iterations 0"), "-ienks_iterations 0");
  KalRefused(Try("ienks", "-ienks_tolerance -1"), "-ienks_tolerance -1");
  KalRefused(Try("ienks", "-ienks_bundle_epsilon 0"), "-ienks_bundle_epsilon 0");
  KalRefused(Try("ienks", "-analysis_space observation"), "ensemble space");
  KalRefused(Try("ienks", "-inflation_adaptive anderson"), "-inflation_adaptive");
  KalRefused(Try("ienks", "-ienks_iterations 3"), "Only 1 of 9 members survived");
  KalRefused(Try("esmda", "-esmda_steps 3"), "Only 1 of 9 members survived");
  KalRefused(Try("esmda", "-esmda_steps 0"), "-esmda_steps 0");
  KalRefused(Try("esmda", "-esmda_ratio 0"), "-esmda_ratio 0");
  KalRefused(Try("esmda", "-inflation_rtps 0.5"), "-inflation_rtps 0.5");
  KalCall(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(LinearModelsAreFiltered),
    cmocka_unit_test(RotationKeepsMoments),
    cmocka_unit_test(FailedMembersStayOut),
    cmocka_unit_test(FailuresAfterTheAnalysis),
    cmocka_unit_test(PosteriorInTime),
    cmocka_unit_test(CoefficientsFollowTheRatio),
    cmocka_unit_test(PosteriorWithoutTime),
    cmocka_unit_test(ScoreOfLorenz63),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis smoothers", tests)
