/* ranks: 5 */
/*
  uki and ukf: of a linear model the unscented transform is exact, so that each cycle is that of a Kalman filter with the dynamics' covariance, whatever the points.
*/
#include "refusals.h"

#define MOST_N 6
#define MOST_P 12
#define MOST_J 16

typedef struct {
  const char *type, *options, *fail;
  PetscInt    N, cycles;
  double      growth, noise, memory, error;
  PetscBool   tikhonov;
} Case;

static const Case cases[] = {
    {"uki", "",                                                             NULL,  9, 6, 2.0,          0.0,              1.0, 2.0, PETSC_FALSE},
    {"uki", "-uki_prior true",                                              NULL,  9, 6, 2.0,          0.0,              1.0, 2.0, PETSC_TRUE },
    {"uki", "-uki_simplex true -uki_prior true",                            NULL,  6, 6, 2.0,          0.0,              1.0, 2.0, PETSC_TRUE },
    {"uki", "-uki_step 0.25 -uki_regularization 0.5 -uki_noise prior",      NULL,  9, 5, 0.25,         1.0 / 3.0 + 0.75, 0.5, 4.0, PETSC_FALSE},
    {"uki", "-uki_prior true",                                              "3,0", 9, 4, 2.0,          0.0,              1.0, 2.0, PETSC_TRUE }, /* a mirror image, and a centre, say the same of a linear model */
    {"ukf", "",                                                             NULL,  9, 5, 1.0 / 0.9995, 0.0,              1.0, 1.0, PETSC_FALSE},
    {"ukf", "-ukf_alpha 0.8 -ukf_kappa 1 -ukf_forgetting 1 -ukf_noise 0.1", NULL,  9, 5, 1.0,          0.1,              1.0, 1.0, PETSC_FALSE},
};

/* One cycle of the Kalman filter: C <- growth C + noise P, m about the prior mean r, then data of the error covariance error R, and of r with error P. */
static PetscErrorCode Filter(const Case *test, const Problem *problem, PetscInt n, const double *r, double *m, double *C)
{
  const PetscInt p = problem->samples, all = test->tikhonov ? p + n : p;
  double         G[(MOST_P + MOST_N) * MOST_N] = {0.0}, CG[(MOST_P + MOST_N) * MOST_N], GC[(MOST_P + MOST_N) * MOST_N], M[(MOST_P + MOST_N) * (MOST_P + MOST_N)], residual;
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  for (i = 0; i < n; i++) {
    m[i] = r[i] + test->memory * (m[i] - r[i]);
    for (j = 0; j < n; j++) C[i + j * n] = test->growth * C[i + j * n] + (i == j ? test->noise * Prior(i) * Prior(i) : 0.0);
  }
  for (j = 0; j < n; j++) {
    for (i = 0; i < p; i++) G[i + j * all] = problem->x[i * n + j];
    if (test->tikhonov) G[p + j + j * all] = 1.0;
  }
  DenseNN(all, n, n, G, C, GC);
  memcpy(CG, GC, sizeof CG);
  for (i = 0; i < all; i++) {
    for (j = 0; j < all; j++) {
      M[i + j * all] = i == j ? test->error * (i < p ? problem->noise : Prior(i - p) * Prior(i - p)) : 0.0;
      for (k = 0; k < n; k++) M[i + j * all] += GC[i + k * all] * G[j + k * all];
    }
  }
  PetscCall(DenseSolve(all, M, n, GC)); /* K' */
  {
    double before[MOST_N];

    memcpy(before, m, (size_t)n * sizeof *m);
    for (i = 0; i < all; i++) {
      residual = i < p ? problem->y[i] : r[i - p];
      for (k = 0; k < n; k++) residual -= G[i + k * all] * before[k];
      for (k = 0; k < n; k++) m[k] += GC[i + k * all] * residual;
    }
  }
  for (i = 0; i < n; i++) {
    for (j = 0; j < n; j++) {
      for (k = 0; k < all; k++) C[i + j * n] -= GC[k + i * all] * CG[k + j * all];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test)
{
  Problem  problem = {.type = test->type, .options = test->options, .N = test->N, .inputs = 4, .outputs = 1, .samples = 10, .noise = 0.4, .spread = 0.8};
  Twin     twin;
  double   U[MOST_N * MOST_J], r[MOST_N], m[MOST_N], C[MOST_N * MOST_N] = {0.0}, us[MOST_N], Cs[MOST_N * MOST_N];
  PetscInt n = 4, cycle, i, j, k;

  PetscFunctionBeginUser;
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, "-ensemble_block_rows 2", &twin));
  PetscCall(TwinState(&twin, U));
  DenseMean(n, test->N, U, m);
  for (i = 0; i < n; i++) {
    r[i]         = 0.3 * i - 0.2;
    C[i + i * n] = Prior(i) * Prior(i);
  }
  if (!strcmp(test->type, "uki")) memcpy(m, r, sizeof m);
  PetscCall(KalAnalysisSetPriorMean(twin.analysis, r));
  for (cycle = 0; cycle < test->cycles; cycle++) {
    PetscCall(TwinCycle(&twin));
    PetscCall(Filter(test, &problem, n, r, m, C));
    PetscCall(TwinState(&twin, U));
    DenseMean(n, test->N, U, us);
    for (i = 0; i < n; i++) {
      for (k = 0; k < n; k++) {
        Cs[i + k * n] = 0.0;
        for (j = 0; j < test->N; j++) Cs[i + k * n] += (U[i + j * n] - us[i]) * (U[k + j * n] - us[k]) / (test->N - 1);
      }
    }
    if (kal_holds && !(DenseDistance(n, us, m) <= 1e-10 && DenseDistance(n * n, Cs, C) <= 1e-10)) print_error("%s %s, cycle %d: %g, %g\n", test->type, test->options, (int)cycle, DenseDistance(n, us, m), DenseDistance(n * n, Cs, C));
    KalHolds(DenseDistance(n, us, m) <= 1e-10 && DenseDistance(n * n, Cs, C) <= 1e-10);
  }
  PetscCall(KalSameBits(comm, U, (size_t)n * test->N * sizeof *U));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LinearOn(MPI_Comm comm, void *ctx)
{
  PetscFunctionBeginUser;
  (void)ctx;
  for (size_t t = 0; t < PETSC_STATIC_ARRAY_LENGTH(cases); t++) PetscCall(RunCase(comm, &cases[t]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void LinearModelsHaveTheKalmanFilter(void **state)
{
  (void)state;
  KalOnEachCount(LinearOn, NULL);
}

/* Two unknowns, G = [1 2; 3 4], y = (3, 7), R = 0.01 I, prior N(0, I): the distance of the mean from the posterior's after 5, 10, 20 and 40 cycles. */
static PetscErrorCode PublishedOn(MPI_Comm comm, void *ctx)
{
  static const double x[] = {1, 2, 3, 4}, y[] = {3, 7};
  const PetscInt      cycles[] = {5, 10, 20, 40};
  const double        bound[]  = {6e-4, 2e-5, 2e-8, 1e-13};
  Problem             problem  = {.type = "uki", .options = "-uki_prior true", .N = 5, .inputs = 2, .outputs = 1, .samples = 2, .noise = 0.01, .spread = 0.8, .x = x, .y = y};
  double              zero[2]  = {0.0, 0.0}, mean[2], U[10];
  Twin                twin;

  PetscFunctionBeginUser;
  (void)ctx;
  /* (G'G + 0.01 I) mean = G'y */
  mean[0] = (24.0 * 20.01 - 34.0 * 14.0) / (10.01 * 20.01 - 14.0 * 14.0);
  mean[1] = (34.0 * 10.01 - 24.0 * 14.0) / (10.01 * 20.01 - 14.0 * 14.0);
  PetscCall(TwinCreate(comm, &problem, NULL, &twin));
  twin.prior[0] = twin.prior[1] = 1.0;
  PetscCall(KalAnalysisSetPriorMean(twin.analysis, zero));
  for (size_t s = 0; s < 4; s++) {
    while (twin.cycle < cycles[s]) PetscCall(TwinCycle(&twin));
    PetscCall(TwinState(&twin, U)); /* the first member is the mean */
    if (kal_holds) print_message("%d cycles: %g from the posterior mean\n", (int)cycles[s], hypot(U[0] - mean[0], U[1] - mean[1]));
    KalHolds(hypot(U[0] - mean[0], U[1] - mean[1]) < bound[s]);
  }
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ErrorsHalveInEachCycle(void **state)
{
  (void)state;
  KalOnEachCount(PublishedOn, NULL);
}

static void Refusals(void **state)
{
  static const Refusal refused[] = {
      {"uki", "-uki_step 1",           "-uki_step 1"          },
      {"uki", "-uki_regularization 0", "-uki_regularization 0"},
      {"uki", "-uki_simplex true",     "use -ensemble_size 6" },
      {"ukf", "-ukf_alpha 0.1",        "take -ukf_alpha 1"    },
      {"ukf", "-ukf_forgetting 1.5",   "-ukf_forgetting 1.5"  },
      {"ukf", "-ukf_noise -1",         "-ukf_noise -1"        },
      {"ukf", "-ukf_kappa -4",         "-ukf_kappa -4"        },
  };

  (void)state;
  AreRefused(4, 9, PETSC_STATIC_ARRAY_LENGTH(refused), refused);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(LinearModelsHaveTheKalmanFilter),
    cmocka_unit_test(ErrorsHalveInEachCycle),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis sigma", tests)
