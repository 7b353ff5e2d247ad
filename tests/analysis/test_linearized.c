/* ranks: 5 */
/*
  The methods that know the prior's mean and covariance, cycle by cycle against the formulas in the space of the parameters, with dense n x n and p x p
  matrices; and what the stochastic dynamics go to: the Gaussian posterior of a linear model.
*/
#include "refusals.h"

#define MOST_N 12
#define MOST_P 20
#define MOST_J 16

typedef struct {
  const char *type, *options;
  PetscInt    N, inputs, samples, cycles;
  double      step;
  const char *fail;
} Case;

static const Case cases[] = {
    {"ieks-sl", "-ieks_sl_step 0.2",                         9, 4, 12, 3, 0.2, NULL   },
    {"gnki",    "-ieks_sl_step 0.2",                         9, 4, 12, 1, 0.2, NULL   },
    {"ieks-sl", "",                                          6, 9, 5,  3, 0.1, NULL   }, /* fewer members than parameters */
    {"ieks-sl", "-ieks_sl_step 1",                           9, 4, 12, 2, 1.0, "0,5,8"},
    {"eki-sl",  "-eki_sl_step 0.5",                          9, 4, 12, 3, 0.5, NULL   },
    {"eki-sl",  "",                                          6, 9, 12, 2, 0.1, "2"    },
    {"teki-sl", "-teki_sl_step 0.5",                         9, 4, 12, 3, 0.5, NULL   },
    {"teki-sl", "-teki_sl_step 0.3",                         6, 9, 5,  2, 0.3, "1,3"  },
    {"teki",    "-teki_step 0.5",                            9, 4, 12, 3, 0.5, NULL   },
    {"teki",    "-teki_step 0.5 -teki_update deterministic", 6, 9, 12, 2, 0.5, NULL   },
    {"teki",    "",                                          8, 9, 5,  2, 1.0, "0,7"  },
};

/* A = B C, B (a x k) and C (k x b); A = B' C where `transposed` and B is k x a. */
static void Times(PetscBool transposed, PetscInt a, PetscInt k, PetscInt b, const double *B, const double *C, double *A)
{
  if (transposed) DenseTN(k, a, b, B, C, A);
  else DenseNN(a, k, b, B, C, A);
}

/* H (p x n) of members: that of the linear model itself, times the projection on their span, orthogonal in P^{-1}, where they are too few. */
static PetscErrorCode Linearized(const Problem *problem, PetscInt n, PetscInt N, const double *U, double *H)
{
  const PetscInt p = problem->samples, q = N - 1;
  double         mean[MOST_N], X[MOST_N * MOST_J], PX[MOST_N * MOST_J], M[MOST_J * MOST_J], GX[MOST_P * MOST_J], right[MOST_J * MOST_N];
  PetscInt       i, j;

  PetscFunctionBeginUser;
  for (i = 0; i < p; i++) {
    for (j = 0; j < n; j++) H[i + j * p] = problem->x[i * n + j];
  }
  if (N > n) PetscFunctionReturn(PETSC_SUCCESS);
  DenseMean(n, N, U, mean);
  for (j = 0; j < q; j++) {
    for (i = 0; i < n; i++) {
      X[i + j * n]  = U[i + j * n] - mean[i];
      PX[i + j * n] = X[i + j * n] / (Prior(i) * Prior(i));
    }
  }
  Times(PETSC_TRUE, q, n, q, X, PX, M);
  Times(PETSC_FALSE, p, n, q, H, X, GX);
  for (i = 0; i < q; i++) {
    for (j = 0; j < n; j++) right[i + j * q] = PX[j + i * n];
  }
  PetscCall(DenseSolve(q, M, n, right));
  Times(PETSC_FALSE, p, q, n, GX, right, H);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* K = C G' (G C G' + Q)^{-1}, C n x n, G m x n, Q diagonal. */
static PetscErrorCode Gain(PetscInt n, PetscInt m, const double *C, const double *G, const double *Q, double *K)
{
  double  *CG, *M;
  PetscInt i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(m * n, &CG, m * m, &M));
  for (i = 0; i < m; i++) { /* (G C)' */
    for (j = 0; j < n; j++) {
      CG[i + j * m] = 0.0;
      for (PetscInt k = 0; k < n; k++) CG[i + j * m] += G[i + k * m] * C[k + j * n];
    }
  }
  for (i = 0; i < m; i++) {
    for (j = 0; j < m; j++) {
      M[i + j * m] = i == j ? Q[i] : 0.0;
      for (PetscInt k = 0; k < n; k++) M[i + j * m] += CG[i + k * m] * G[j + k * m];
    }
  }
  PetscCall(DenseSolve(m, M, n, CG));
  for (i = 0; i < n; i++) {
    for (j = 0; j < m; j++) K[i + j * n] = CG[j + i * m];
  }
  PetscCall(PetscFree2(CG, M));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One cycle of the survivors S (n x N) whose indices are `who`, by the formula of the type. */
static PetscErrorCode Reference(const Case *test, const Problem *problem, PetscInt n, PetscInt cycle, PetscInt N, const PetscInt *who, const double *m, double *S)
{
  const PetscInt  p = problem->samples, all = p + n;
  const PetscBool teki = (PetscBool)(!strcmp(test->type, "teki")), tekisl = (PetscBool)(!strcmp(test->type, "teki-sl")), ekisl = (PetscBool)(!strcmp(test->type, "eki-sl"));
  const PetscBool plain = (PetscBool)(teki && strstr(test->options, "deterministic"));
  const double    a = test->step, spread = plain ? 0.0 : sqrt((teki ? 1.0 : 2.0) / a);
  double         *G, *C, *K, *Q, mean[MOST_N], z[MOST_P], xi[MOST_N], r[MOST_P + MOST_N], g[MOST_P], pull[MOST_N];
  PetscInt        i, j, k, rows = teki || tekisl ? all : p;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc4(all * n, &G, n * n, &C, n * all, &K, all, &Q));
  {
    double H[MOST_P * MOST_N];

    PetscCall(Linearized(problem, n, teki ? n + 1 : N, S, H)); /* teki's covariances are those of the linear model */
    for (i = 0; i < p; i++) {
      for (j = 0; j < n; j++) G[i + j * rows] = H[i + j * p];
    }
  }
  for (j = 0; rows == all && j < n; j++) G[p + j + j * rows] = 1.0;
  for (i = 0; i < rows; i++) Q[i] = (i < p ? problem->noise : Prior(i - p) * Prior(i - p)) / (teki || tekisl || ekisl ? a : 1.0);
  for (i = 0; i < n; i++) C[i + i * n] = Prior(i) * Prior(i);
  DenseMean(n, N, S, mean);
  for (i = 0; teki && i < n; i++) {
    for (k = 0; k < n; k++) {
      C[i + k * n] = 0.0;
      for (j = 0; j < N; j++) C[i + k * n] += (S[i + j * n] - mean[i]) * (S[k + j * n] - mean[k]) / (N - 1);
    }
  }
  PetscCall(Gain(n, rows, C, G, Q, K));
  for (j = 0; j < N; j++) {
    double *u = S + j * n, du[MOST_N];

    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_OBSERVATION, cycle, who[j]}, 0, p, z));
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_ANCHOR, cycle, who[j]}, 0, n, xi));
    DensePredict(problem->x, p, n, 1, 1, u, g);
    for (i = 0; i < p; i++) r[i] = problem->y[i] + spread * sqrt(problem->noise) * z[i] - g[i];
    for (i = 0; i < n; i++) r[p + i] = pull[i] = m[i] + spread * Prior(i) * xi[i] - u[i];
    for (i = 0; i < n; i++) {
      du[i] = 0.0;
      for (k = 0; k < rows; k++) du[i] += K[i + k * n] * r[k];
    }
    if (rows == p && !ekisl) { /* ieks-sl: alpha (K r + (I - K H) pull) */
      double h[MOST_P];

      for (i = 0; i < p; i++) {
        for (h[i] = 0.0, k = 0; k < n; k++) h[i] += G[i + k * p] * pull[k];
      }
      for (i = 0; i < n; i++) {
        for (k = 0; k < p; k++) du[i] -= K[i + k * n] * h[k];
        du[i] = a * (du[i] + pull[i]);
      }
    }
    for (i = 0; i < n; i++) u[i] += du[i];
  }
  PetscCall(PetscFree4(G, C, K, Q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test, const char *more)
{
  Problem  problem = {.type = test->type, .options = test->options, .N = test->N, .inputs = test->inputs, .outputs = 1, .samples = test->samples, .noise = 0.4, .spread = 0.8};
  Twin     twin;
  double   U[MOST_N * MOST_J], V[MOST_N * MOST_J], S[MOST_N * MOST_J], m[MOST_N], mean[MOST_N], z[MOST_J], far;
  PetscInt cycle, i, j, k, n = test->inputs, who[MOST_J], active;

  PetscFunctionBeginUser;
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, more, &twin));
  KalHolds(twin.needs.prior);
  PetscCall(TwinState(&twin, U));
  DenseMean(n, test->N, U, m);
  if (test->cycles > 1) { /* a prior mean of its own */
    for (i = 0; i < n; i++) m[i] += 0.3 * (1 + i % 3);
    PetscCall(KalAnalysisSetPriorMean(twin.analysis, m));
  }
  for (cycle = 0; cycle < test->cycles; cycle++) {
    for (j = 0, active = 0; j < test->N; j++) {
      if (Fails(&problem, j)) continue;
      memcpy(S + active * n, U + j * n, (size_t)n * sizeof *S);
      who[active++] = j;
    }
    PetscCall(TwinCycle(&twin));
    PetscCall(Reference(test, &problem, n, cycle, active, who, m, S));
    DenseMean(n, active, S, mean);
    for (j = 0; j < active; j++) memcpy(U + who[j] * n, S + j * n, (size_t)n * sizeof *S);
    for (k = 0; k < problem.nfail; k++) {
      double *u = U + problem.fail[k] * n;

      PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_RECOVERY, cycle, problem.fail[k]}, 0, test->N, z));
      for (i = 0; i < n; i++) {
        u[i] = mean[i];
        for (j = 0; j < active; j++) u[i] += (S[i + j * n] - mean[i]) * z[who[j]] / sqrt(active - 1.0);
      }
    }
    PetscCall(TwinState(&twin, V));
    far = DenseDistance((size_t)n * test->N, U, V);
    if (!(far <= 1e-8) && kal_holds) print_error("%s %s, cycle %d: %g from the formula\n", test->type, test->options, (int)cycle, far);
    KalHolds(far <= 1e-8);
    memcpy(U, V, sizeof U);
  }
  PetscCall(KalSameBits(comm, U, (size_t)n * test->N * sizeof *U));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FormulasOn(MPI_Comm comm, void *ctx)
{
  PetscFunctionBeginUser;
  (void)ctx;
  for (size_t t = 0; t < PETSC_STATIC_ARRAY_LENGTH(cases); t += KALTEST_STRIDE) {
    PetscCall(RunCase(comm, &cases[t], "-ensemble_exchange shared -ensemble_block_rows 2"));
    PetscCall(RunCase(comm, &cases[t], "-ensemble_exchange messages -ensemble_block_rows 3"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void UpdatesFollowTheFormulas(void **state)
{
  (void)state;
  KalOnEachCount(FormulasOn, NULL);
}

/* The Gaussian posterior of the prior N(m, P) of a linear model. */
static PetscErrorCode Posterior(const Problem *problem, PetscInt n, const double *m, double *mean, double *C)
{
  const PetscInt p                  = problem->samples;
  double         P[MOST_N * MOST_N] = {0.0}, K[MOST_N * MOST_P], G[MOST_P * MOST_N], Q[MOST_P], g[MOST_P];
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  for (i = 0; i < n; i++) P[i + i * n] = Prior(i) * Prior(i);
  for (i = 0; i < p; i++) {
    Q[i] = problem->noise;
    for (j = 0; j < n; j++) G[i + j * p] = problem->x[i * n + j];
  }
  PetscCall(Gain(n, p, P, G, Q, K));
  DensePredict(problem->x, p, n, 1, 1, m, g);
  for (i = 0; i < n; i++) {
    mean[i] = m[i];
    for (k = 0; k < p; k++) mean[i] += K[i + k * n] * (problem->y[k] - g[k]);
    for (j = 0; j < n; j++) {
      C[i + j * n] = P[i + j * n];
      for (k = 0; k < p; k++) C[i + j * n] -= K[i + k * n] * G[k + j * p] * P[j + j * n];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Root or no root, the members' mean and covariance are the posterior's in the end, at the rate (1 - h)^cycle. */
static PetscErrorCode StationaryOn(MPI_Comm comm, void *ctx)
{
  Problem  problem = {.type = "etki", .options = "-etki_dynamics stochastic -etki_prior true -etki_step 0.5", .N = 9, .inputs = 4, .outputs = 1, .samples = 12, .noise = 0.4, .spread = 0.8};
  double   U[MOST_N * MOST_J], m[MOST_N], mean[MOST_N], C[MOST_N * MOST_N], us[MOST_N], Cs[MOST_N * MOST_N] = {0.0};
  PetscInt n = 4, i, j, k;
  Twin     twin;

  PetscFunctionBeginUser;
  (void)ctx;
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, NULL, &twin));
  for (i = 0; i < n; i++) m[i] = 0.2 * i - 0.1;
  PetscCall(KalAnalysisSetPriorMean(twin.analysis, m));
  for (k = 0; k < 50; k++) PetscCall(TwinCycle(&twin));
  PetscCall(TwinState(&twin, U));
  PetscCall(KalSameBits(comm, U, (size_t)n * problem.N * sizeof *U));
  PetscCall(TwinDestroy(&twin));
  PetscCall(Posterior(&problem, n, m, mean, C));
  DenseMean(n, problem.N, U, us);
  for (i = 0; i < n; i++) {
    for (k = 0; k < n; k++) {
      for (j = 0; j < problem.N; j++) Cs[i + k * n] += (U[i + j * n] - us[i]) * (U[k + j * n] - us[k]) / (problem.N - 1);
    }
  }
  KalHolds(DenseDistance(n, us, mean) < 1e-11 && DenseDistance(n * n, Cs, C) < 1e-11);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void StochasticDynamicsEndAtThePosterior(void **state)
{
  (void)state;
  KalOnEachCount(StationaryOn, NULL);
}

/* Filters take data sets: etkf is etki with step 1, and the mean of enkf, whose perturbations have none, is that of both. */
static PetscErrorCode DataSetsOn(MPI_Comm comm, void *ctx)
{
  static const char *const types[] = {"etki", "etkf", "enkf"};
  double                   U[3][MOST_N * MOST_J], mean[3][MOST_N];
  Twin                     twin;

  PetscFunctionBeginUser;
  (void)ctx;
  for (int t = 0; t < 3; t++) {
    Problem problem = {.type = types[t], .N = 9, .inputs = 4, .outputs = 1, .samples = 12, .batch = 1, .noise = 0.4, .spread = 0.8};

    MakeData(&problem);
    PetscCall(TwinCreate(comm, &problem, "-ensemble_block_rows 2", &twin));
    while (twin.cycle < (t == 2 ? 1 : 6)) PetscCall(TwinCycle(&twin));
    PetscCall(TwinState(&twin, U[t]));
    PetscCall(KalSameBits(comm, U[t], 36 * sizeof(double)));
    PetscCall(TwinDestroy(&twin));
  }
  KalHolds(DenseDistance(36, U[0], U[1]) < 1e-11);
  for (int t = 0; t < 2; t++) {
    Problem problem = {.type = types[1 + t], .N = 9, .inputs = 4, .outputs = 1, .samples = 12, .batch = 1, .noise = 0.4, .spread = 0.8};

    MakeData(&problem);
    PetscCall(TwinCreate(comm, &problem, NULL, &twin));
    PetscCall(TwinCycle(&twin));
    PetscCall(TwinState(&twin, U[t]));
    PetscCall(TwinDestroy(&twin));
    DenseMean(4, 9, U[t], mean[t]);
  }
  KalHolds(DenseDistance(4, mean[0], mean[1]) < 1e-11);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FiltersTakeDataSets(void **state)
{
  (void)state;
  KalOnEachCount(DataSetsOn, NULL);
}

static void Refusals(void **state)
{
  static const Refusal refused[] = {
      {"ieks-sl", "-ieks_sl_step 0",                                  "-ieks_sl_step 0"       },
      {"eki-sl",  "-eki_sl_step 1.5",                                 "-eki_sl_step 1.5"      },
      {"teki-sl", "-teki_sl_truncation 1",                            "-teki_sl_truncation 1" },
      {"teki",    "-teki_momentum constant",                          "-teki_momentum"        },
      {"teki",    "-teki_step_rule misfit",                           "-teki_step_rule misfit"},
      {"eki",     "-eki_dynamics stochastic",                         "-eki_step 0.5"         },
      {"etki",    "-etki_dynamics stochastic -etki_step_rule misfit", "-etki_step 0.5"        },
      {"etki",    "-etki_prior true -etki_target posterior",          "-etki_target posterior"},
      {"eki",     "-eki_prior true -analysis_space matrix-free",      "ensemble space alone"  },
  };

  (void)state;
  AreRefused(4, 6, PETSC_STATIC_ARRAY_LENGTH(refused), refused);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(UpdatesFollowTheFormulas),
    cmocka_unit_test(StochasticDynamicsEndAtThePosterior),
    cmocka_unit_test(FiltersTakeDataSets),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis linearized", tests)
