/* ranks: 3 */
/*
  climatology, oi and 3dvar against dense formulas, extkf against a dense Kalman filter on a linear model, with a diagonal and a
  dense R; the covariance of extkf goes through a snapshot's arrays; Lorenz-96's published score. The same bits on 1, 2 and 3 ranks.
*/
#include "window.h"

#define SIZE 5

static void Coupled(PetscInt n, double dt, double *x)
{
  double   y[SIZE];
  PetscInt i, k;

  (void)dt;
  for (i = 0; i < n; i++) {
    y[i] = 0.0;
    for (k = 0; k < n; k++) y[i] += ((i == k ? 0.9 : 0.0) + 0.3 * KalTestNumber(61, (uint64_t)(i * n + k))) * x[k];
  }
  memcpy(x, y, (size_t)n * sizeof *x);
}

static PetscErrorCode CoupledTangent(void *ctx, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  PetscInt j;

  PetscFunctionBeginUser;
  (void)ctx;
  (void)x;
  PetscCheck(fabs(to - from - 0.5) < 1e-12, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "times %g to %g", (double)from, (double)to);
  for (j = 0; j < columns; j++) Coupled(SIZE, 0.5, dx + j * SIZE);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Start(PetscInt n, PetscInt member, double *x)
{
  PetscInt i;

  for (i = 0; i < n; i++) x[i] = 0.5 + 2.0 * KalTestNumber(62, (uint64_t)(member * n + i));
}

static const PetscInt start[] = {0, 1, 3, 5}, entry[] = {0, 1, 3, 2, 4};
static const double   weight[] = {1.0, 0.5, 2.0, -1.0, 0.3}, error[] = {0.5, 1.0, 0.7}, ones[] = {1.0, 1.0, 1.0}, root[] = {0.6, 0.2, -0.3, 0.0, 0.9, 0.4, 0.0, 0.0, 0.5};
static double         climate[SIZE], covariance[SIZE * SIZE];

static void Climate(void)
{
  PetscInt i, j, k;

  for (i = 0; i < SIZE; i++) {
    climate[i] = KalTestNumber(63, (uint64_t)i);
    for (j = 0; j < SIZE; j++) {
      covariance[i + j * SIZE] = i == j ? 0.5 : 0.0;
      for (k = 0; k < SIZE; k++) covariance[i + j * SIZE] += KalTestNumber(64, (uint64_t)(i * SIZE + k)) * KalTestNumber(64, (uint64_t)(j * SIZE + k));
    }
  }
}

static void Observed(PetscInt cycle, PetscInt p, double *y)
{
  PetscInt i;

  for (i = 0; i < p; i++) y[i] = 1.5 * KalTestNumber(65, (uint64_t)(cycle * p + i));
}

#define LINEAR(kind, members, given, ...) \
  { \
    .type = kind, .options = given, .n = SIZE, .N = members, .dt = 0.5, .model = Coupled, .tangent = CoupledTangent, .start = Start, .H = {3, start, entry, weight}, .mean = climate, .covariance = covariance, __VA_ARGS__ \
  }

typedef struct {
  Setting setting;
  double  scale; /* of the climatological covariance; 0: it is the mean that is the analysis */
  int     cycled;
} Case;

#define CASE(...) \
  { \
    __VA_ARGS__ \
  }

static const Case cases[] = {
    CASE(.setting = LINEAR("climatology", 1, NULL, .error = error)),
    CASE(.setting = LINEAR("climatology", 4, NULL, .error = error, .nfail = 1, .fail = {{1, 0, 2}}
                 )),
    CASE(.setting = LINEAR("oi", 1, NULL, .error = error), .scale = 1.0),
    CASE(.setting = LINEAR("oi", 4, NULL, .error = ones, .root = root, .nfail = 1, .fail = {{1, 0, 2}}
                 ), .scale = 1.0),
    CASE(.setting = LINEAR("3dvar", 1, NULL, .error = error), .scale = 0.02, .cycled = 1),
    CASE(.setting = LINEAR("3dvar", 5, "-var3d_background 0.7", .error = ones, .root = root), .scale = 0.7, .cycled = 1),
    CASE(.setting = LINEAR("3dvar", 4, "-var3d_background 0.3", .error = error, .nfail = 1, .fail = {{1, 0, 2}}
                 ), .scale = 0.3, .cycled = 1),
};

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test)
{
  const Setting *s = &test->setting;
  double         X[5 * SIZE], expected[5 * SIZE], P[SIZE * SIZE], mean[SIZE], y[3], dfs = NAN, consistency = NAN;
  Window         w;
  PetscInt       cycle, i, j;

  PetscFunctionBeginUser;
  PetscCall(WindowCreate(comm, s, "-ensemble_block_rows 2", &w));
  KalHolds(w.needs.climatology && w.needs.timed && w.needs.least == 1 && w.needs.copies == 0 && !w.needs.tangent && w.needs.dense);
  PetscCall(KalEnsembleGatherRows(w.ensemble, expected));
  for (cycle = 0; cycle < 4; cycle++) {
    Observed(cycle, 3, y);
    Moments(SIZE, s->N, expected, 0, NULL, mean, P);
    Coupled(SIZE, 0.5, mean);
    for (i = 0; i < SIZE * SIZE; i++) P[i] = test->scale * covariance[i];
    if (!test->cycled) memcpy(mean, climate, sizeof climate);
    if (test->scale > 0.0) PetscCall(DenseKalman(s, y, mean, P, &dfs, &consistency));
    for (j = 0; j < s->N; j++) {
      double *x = expected + j * SIZE;

      Coupled(SIZE, 0.5, x);
      if (!test->cycled || (s->nfail && cycle == 1 && j == 2)) memcpy(x, climate, sizeof climate);
      for (i = 0; i < SIZE * SIZE; i++) P[i] = test->scale * covariance[i];
      if (test->scale > 0.0) PetscCall(DenseKalman(s, y, x, P, NULL, NULL));
    }
    PetscCall(WindowCycle(&w, y));
    KalHolds(w.asks == 1 && w.asked[0].from == -1 && w.asked[0].to == 0 && w.asked[0].observe && w.asked[0].points == w.ensemble);
    PetscCall(KalEnsembleGatherRows(w.ensemble, X));
    KalHolds(DenseDistance((size_t)(SIZE * s->N), X, expected) < 1e-11);
    PetscCall(KalSameBits(comm, X, (size_t)(SIZE * s->N) * sizeof *X));
    if (test->scale > 0.0) {
      KalNear(w.report.dfs, dfs, 1e-10);
      if (!s->nfail) KalNear(w.report.innovation, consistency, 1e-10);
    }
    KalHolds(w.report.loss > 0.0);
  }
  PetscCall(WindowDestroy(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FixedOn(MPI_Comm comm, void *ctx)
{
  size_t t;

  PetscFunctionBeginUser;
  (void)ctx;
  Climate();
  for (t = 0; t < PETSC_STATIC_ARRAY_LENGTH(cases); t++) {
    const int held = kal_holds;

    PetscCall(RunCase(comm, &cases[t]));
    if (held && !kal_holds) print_error("case %d, %s\n", (int)t, cases[t].setting.type);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FixedGainsFollowTheFormulas(void **state)
{
  (void)state;
  KalOnEachCount(FixedOn, NULL);
}

/* A gain is made anew when something else is observed. */
static PetscErrorCode OperatorOn(MPI_Comm comm, void *ctx)
{
  const PetscInt other[]      = {4, 2};
  const double   errors[2][3] = {
        {0.5, 1.0, 0.7},
        {0.3, 0.8, 0.0}
  };
  Setting  s = LINEAR("3dvar", 1, "-var3d_background 1", .error = errors[0]);
  double   X[SIZE], expected[SIZE], P[SIZE * SIZE], y[3];
  Window   w;
  PetscInt cycle;

  PetscFunctionBeginUser;
  (void)ctx;
  Climate();
  PetscCall(WindowCreate(comm, &s, NULL, &w));
  Start(SIZE, 0, expected);
  for (cycle = 0; cycle < 4; cycle++) {
    s.H     = cycle % 2 ? (KalLinear){2, NULL, other, NULL} : (KalLinear){3, start, entry, weight};
    s.error = errors[cycle % 2];
    Observed(cycle, s.H.rows, y);
    Coupled(SIZE, 0.5, expected);
    memcpy(P, covariance, sizeof P);
    PetscCall(DenseKalman(&s, y, expected, P, NULL, NULL));
    PetscCall(WindowCycle(&w, y));
    PetscCall(KalEnsembleGatherRows(w.ensemble, X));
    KalHolds(DenseDistance(SIZE, X, expected) < 1e-11);
  }
  PetscCall(WindowDestroy(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void GainsFollowTheOperator(void **state)
{
  (void)state;
  KalOnEachCount(OperatorOn, NULL);
}

/* The extended Kalman filter of a linear model is the Kalman filter; stopped after three cycles, it goes on from its arrays. */
static PetscErrorCode KalmanOn(MPI_Comm comm, void *ctx)
{
  const Setting setting[2]   = {LINEAR("extkf", 1, "-extkf_inflation 1.7", .error = error), LINEAR("extkf", 1, NULL, .error = ones, .root = root)};
  const double  inflation[2] = {1.7, 1.0};
  double        x[SIZE], P[SIZE * SIZE], X[SIZE], Y[SIZE], y[3], dfs, consistency, *member;
  Window        w, v;
  KalArray      arrays[KAL_ANALYSIS_ARRAYS], other[KAL_ANALYSIS_ARRAYS];
  PetscInt      t, cycle, count, first, last, i;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < 2; t++) {
    const Setting *s = &setting[t];

    PetscCall(WindowCreate(comm, s, NULL, &w));
    KalHolds(w.needs.tangent && w.needs.dense && w.needs.timed && w.needs.least == 1 && !w.needs.climatology);
    Start(SIZE, 0, x);
    for (i = 0; i < SIZE * SIZE; i++) P[i] = i % (SIZE + 1) ? 0.0 : pow(Prior(i % SIZE), 2);
    for (cycle = 0; cycle < 6; cycle++) {
      Observed(cycle, 3, y);
      DenseForecast(s, x, P);
      for (i = 0; i < SIZE * SIZE; i++) P[i] *= pow(inflation[t], 0.5);
      PetscCall(DenseKalman(s, y, x, P, &dfs, &consistency));
      PetscCall(WindowCycle(&w, y));
      PetscCall(KalAnalysisGetArrays(w.analysis, &count, arrays));
      PetscCall(KalEnsembleGatherRows(w.ensemble, X));
      KalHolds(count == 1 && arrays[0].count == SIZE * SIZE && w.asks == 1);
      KalHolds(DenseDistance(SIZE, X, x) < 1e-10 && DenseDistance(SIZE * SIZE, arrays[0].data, P) < 1e-10);
      for (i = 0; i < SIZE * SIZE; i++) KalHolds(arrays[0].data[i] == arrays[0].data[i % SIZE * SIZE + i / SIZE]);
      PetscCall(KalSameBits(comm, X, sizeof X));
      PetscCall(KalSameBits(comm, arrays[0].data, SIZE * SIZE * sizeof *P));
      KalNear(w.report.dfs, dfs, 1e-9);
      KalNear(w.report.innovation, consistency, 1e-9);
      KalNear(w.report.inflation, pow(inflation[t], 0.25), 1e-12);
      if (cycle != 2) continue;
      PetscCall(WindowCreate(comm, s, NULL, &v));
      v.cycle = 3;
      PetscCall(KalAnalysisGetArrays(v.analysis, &count, other));
      PetscCall(PetscArraycpy(other[0].data, arrays[0].data, SIZE * SIZE));
      PetscCall(KalEnsembleGetOwnershipRange(v.ensemble, &first, &last));
      for (i = first; i < last; i++) {
        PetscCall(KalEnsembleGetMember(v.ensemble, i, &member));
        PetscCall(PetscArraycpy(member, X, SIZE));
      }
      PetscCall(KalEnsembleChanged(v.ensemble));
    }
    for (cycle = 3; cycle < 6; cycle++) {
      Observed(cycle, 3, y);
      PetscCall(WindowCycle(&v, y));
    }
    PetscCall(KalEnsembleGatherRows(v.ensemble, Y));
    KalHolds(DenseDistance(SIZE, X, Y) == 0.0);
    PetscCall(WindowDestroy(&v));
    PetscCall(WindowDestroy(&w));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ExtendedIsKalmanOfALinearModel(void **state)
{
  (void)state;
  KalOnEachCount(KalmanOn, NULL);
}

/* Lorenz-96 with 40 variables and its tangent, by RK4, one step of 0.05. */
static void Slope96(const double *x, const double *dx, double *y)
{
  PetscInt i;

  for (i = 0; i < 40; i++) {
    const PetscInt l = (i + 39) % 40, ll = (i + 38) % 40, r = (i + 1) % 40;

    y[i] = dx ? (dx[r] - dx[ll]) * x[l] + (x[r] - x[ll]) * dx[l] - dx[i] : (x[r] - x[ll]) * x[l] - x[i] + 8.0;
  }
}

/* x goes one step on; departures, where there are any, along with it. */
static void Step96(double *x, PetscInt columns, double *dx)
{
  const double factor[4] = {0.0, 0.5, 0.5, 1.0}, share[4] = {1.0, 2.0, 2.0, 1.0};
  double       at[4][40], slope[40], before[40], sum[40], z[40];
  PetscInt     c, i, s;

  for (c = -1; c < columns; c++) {
    double *v = c < 0 ? x : dx + c * 40;

    memcpy(before, v, sizeof before);
    for (i = 0; i < 40; i++) sum[i] = slope[i] = 0.0;
    for (s = 0; s < 4; s++) {
      for (i = 0; i < 40; i++) z[i] = before[i] + factor[s] * 0.05 * slope[i];
      if (c < 0) memcpy(at[s], z, sizeof z);
      if (c < 0) Slope96(z, NULL, slope);
      else Slope96(at[s], z, slope);
      for (i = 0; i < 40; i++) sum[i] += share[s] * slope[i];
    }
    for (i = 0; i < 40; i++) v[i] = before[i] + 0.05 / 6.0 * sum[i];
  }
}

static void Lorenz96(PetscInt n, double dt, double *x)
{
  (void)n;
  (void)dt;
  Step96(x, 0, NULL);
}

static PetscErrorCode Tangent96(void *ctx, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  double z[40];

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCheck(fabs(to - from - 0.05) < 1e-9, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "times %g to %g", (double)from, (double)to);
  memcpy(z, x, sizeof z);
  Step96(z, columns, dx);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Start96(PetscInt n, PetscInt member, double *x)
{
  (void)KalDrawNormal((KalKey){SEED, KAL_DRAW_TEST, 1, member}, 0, n, x);
  for (PetscInt i = 0; i < n; i++) x[i] = (i == 0) + sqrt(0.001) * x[i];
}

#define BITS 50 /* cycles on more than one rank */

typedef struct {
  const char *type, *options;
  double      expected, tolerance;
} Score;

/*
  The climatology of a free run; then the published scores, over 1000 cycles after a burn-in of 400. That of extkf is an independent
  code's with the tangent along the trajectory, 0.218 in 4 runs of 8000 cycles: the published 0.24 takes the Jacobian at the forecast
  (0.236 in that code).
*/
static PetscErrorCode ScoresOn(MPI_Comm comm, void *ctx)
{
  static const Score scores[] = {
      {"climatology", NULL,                     3.6,   0.1 },
      {"oi",          NULL,                     0.95,  0.02},
      {"3dvar",       "-var3d_background 0.02", 0.41,  0.02},
      {"extkf",       "-extkf_inflation 10",    0.218, 0.01},
  };
  static PetscInt all[40];
  static double   sd[40], mean[40], P[1600], X[40 * 4000];
  double          truth[40], y[40], ours[40];
  PetscInt        cycle, i;
  PetscMPIInt     size;
  size_t          t;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  Start96(40, 1000, truth);
  for (cycle = -400; cycle < 4000 * 5; cycle++) {
    Lorenz96(40, 0.05, truth);
    if (cycle >= 0 && cycle % 5 == 0) memcpy(X + cycle / 5 * 40, truth, sizeof truth);
  }
  Moments(40, 4000, X, 0, NULL, mean, P);
  for (i = 0; i < 40; i++) {
    all[i] = i;
    sd[i]  = 1.0;
  }
  for (t = 0; t < PETSC_STATIC_ARRAY_LENGTH(scores); t++) {
    const Setting s = {
        .type = scores[t].type, .options = scores[t].options, .n = 40, .N = 1, .dt = 0.05, .model = Lorenz96, .start = Start96, .tangent = Tangent96, .H = {40, NULL, all, NULL},
                                  .error = sd, .mean = mean, .covariance = P
    };
    Window w;
    double score = 0.0;

    PetscCall(WindowCreate(comm, &s, NULL, &w));
    Start96(40, 1001, truth);
    for (cycle = 0; cycle < (size == 1 ? 1400 : BITS); cycle++) {
      double square = 0.0;

      Lorenz96(40, 0.05, truth);
      PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_TEST, 2, cycle}, 0, 40, y));
      for (i = 0; i < 40; i++) y[i] += truth[i];
      PetscCall(WindowCycle(&w, y));
      PetscCall(KalEnsembleGatherRows(w.ensemble, ours));
      for (i = 0; i < 40; i++) square += pow(ours[i] - truth[i], 2) / 40.0;
      if (cycle >= 400) score += sqrt(square) / 1000.0;
      if (cycle == BITS - 1) PetscCall(KalSameBits(comm, ours, sizeof ours));
    }
    if (size == 1) KalNear(score, scores[t].expected, scores[t].tolerance);
    PetscCall(WindowDestroy(&w));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ScoresOfLorenz96(void **state)
{
  (void)state;
  KalOnEachCount(ScoresOn, NULL);
}

static PetscErrorCode Try(const Setting *s)
{
  Window w;
  double y[3];

  PetscFunctionBeginUser;
  PetscCall(WindowCreate(PETSC_COMM_WORLD, s, NULL, &w));
  Observed(0, 3, y);
  PetscCall(WindowCycle(&w, y));
  PetscCall(WindowDestroy(&w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Refusals(void **state)
{
  static const Setting two = LINEAR("extkf", 2, NULL, .error = error), deflated = LINEAR("extkf", 1, "-extkf_inflation 0", .error = error), none = LINEAR("3dvar", 1, "-var3d_background 0", .error = error), matrixfree = LINEAR("oi", 1, "-analysis_space matrix-free", .error = error), dead = LINEAR("extkf", 1, NULL, .error = error, .nfail = 1, .fail = {
                                                                                                                                                                                                                                                                                                                                                           {0, 0, 0}
  });
  Setting              still = LINEAR("extkf", 1, NULL, .error = error), unknown = LINEAR("oi", 1, NULL, .error = error), unseen = LINEAR("climatology", 1, NULL, .error = error);

  (void)state;
  still.tangent      = NULL;
  unknown.covariance = NULL;
  unseen.mean        = NULL;
  KalRefused(Try(&two), "-ensemble_size 2");
  KalRefused(Try(&deflated), "-extkf_inflation 0");
  KalRefused(Try(&none), "-var3d_background 0");
  KalRefused(Try(&matrixfree), "matrix-free");
  KalRefused(Try(&dead), "failed or is not finite in cycle 1");
  KalRefused(Try(&still), "KalAnalysisSetTangent");
  KalRefused(Try(&unknown), "KalAnalysisSetClimatology");
  KalRefused(Try(&unseen), "KalAnalysisSetClimatology");
  KalCall(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(FixedGainsFollowTheFormulas),
    cmocka_unit_test(GainsFollowTheOperator),
    cmocka_unit_test(ExtendedIsKalmanOfALinearModel),
    cmocka_unit_test(ScoresOfLorenz96),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis references", tests)
