/* ranks: 5 */
/* The Gaussian posterior of a linear model in closed form: etki to rounding, eki within its sampling error; on 1, 2, 3 and 5 ranks. */
#include "refusals.h"

#define N_ETKI 12
#define MOST_P 40
#define MOST_N 6

/*
  Posterior of the Gaussian with the members' sample moments as prior (covariance with N - 1): K = C G'(G C G' + R)^{-1},
  mean + K (y - G mean), (I - K G) C. Also returns the gain, n x p.
*/
static PetscErrorCode Posterior(const Problem *problem, PetscInt n, PetscInt N, const double *U, double *mean, double *C, double *gain)
{
  const PetscInt p = problem->samples;
  double        *CG, *M, *GU, *g, prior[MOST_N * MOST_N];
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4((size_t)n * p, &CG, (size_t)p * p, &M, (size_t)n * p, &GU, p, &g));
  DenseMean(n, N, U, mean);
  for (i = 0; i < n; i++) {
    for (k = 0; k < n; k++) {
      prior[i + k * n] = 0.0;
      for (j = 0; j < N; j++) prior[i + k * n] += (U[i + j * n] - mean[i]) * (U[k + j * n] - mean[k]) / (N - 1);
    }
  }
  for (i = 0; i < p; i++) { /* CG = G C (p x n) */
    for (k = 0; k < n; k++) {
      CG[i + k * p] = 0.0;
      for (j = 0; j < n; j++) CG[i + k * p] += problem->x[i * n + j] * prior[j + k * n];
      GU[i + k * p] = CG[i + k * p];
    }
  }
  for (i = 0; i < p; i++) {
    for (k = 0; k < p; k++) {
      M[i + k * p] = i == k ? problem->noise : 0.0;
      for (j = 0; j < n; j++) M[i + k * p] += CG[i + j * p] * problem->x[k * n + j];
    }
  }
  PetscCall(DenseSolve(p, M, n, CG)); /* CG = (G C G' + R)^{-1} G C = K' */
  DensePredict(problem->x, p, n, 1, 1, mean, g);
  for (k = 0; k < n; k++) {
    for (i = 0; i < p; i++) {
      gain[k + i * n] = CG[i + k * p];
      mean[k] += gain[k + i * n] * (problem->y[i] - g[i]);
    }
  }
  for (i = 0; i < n; i++) {
    for (k = 0; k < n; k++) {
      C[i + k * n] = prior[i + k * n];
      for (j = 0; j < p; j++) C[i + k * n] -= gain[i + j * n] * GU[j + k * p];
    }
  }
  PetscCall(PetscFree4(CG, M, GU, g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Moments(PetscInt n, PetscInt N, const double *U, double *mean, double *C)
{
  PetscInt i, j, k;

  DenseMean(n, N, U, mean);
  for (i = 0; i < n; i++) {
    for (k = 0; k < n; k++) {
      C[i + k * n] = 0.0;
      for (j = 0; j < N; j++) C[i + k * n] += (U[i + j * n] - mean[i]) * (U[k + j * n] - mean[k]) / (N - 1);
    }
  }
}

typedef struct {
  const char *options;
  PetscInt    samples, batch, least, most; /* cycles to the stop */
} Etki;

/* Cycles until the method says stop; then its moments against the closed form. */
static PetscErrorCode EtkiOne(MPI_Comm comm, const Etki *etki, const char *exchange, double *U)
{
  Problem  problem = {.type = "etki", .options = etki->options, .N = N_ETKI, .inputs = 4, .outputs = 1, .samples = etki->samples, .batch = etki->batch, .noise = 0.3, .spread = 1.0};
  Twin     twin;
  double   first[MOST_N * N_ETKI], mean[MOST_N], C[MOST_N * MOST_N], m[MOST_N], c[MOST_N * MOST_N], gain[MOST_N * MOST_P];
  PetscInt j, most = 50;

  PetscFunctionBeginUser;
  MakeData(&problem);
  for (j = 0; j < N_ETKI; j++) PetscCall(Member0(&problem, 4, j, first + j * 4));
  PetscCall(Posterior(&problem, 4, N_ETKI, first, mean, C, gain));
  PetscCall(TwinCreate(comm, &problem, exchange, &twin));
  do {
    PetscCall(TwinCycle(&twin));
  } while (twin.verdict == KAL_VERDICT_ACCEPT && twin.cycle < most);
  KalHolds(twin.verdict == KAL_VERDICT_STOP && twin.cycle >= etki->least && twin.cycle <= etki->most);
  KalNear(twin.report.time, 1.0, 1e-12);
  PetscCall(TwinState(&twin, U));
  PetscCall(TwinDestroy(&twin));
  Moments(4, N_ETKI, U, m, c);
  KalHolds(DenseDistance(16, C, c) <= 1e-10 && DenseDistance(4, mean, m) <= 1e-10);
  KalHolds(DenseDistance(4 * N_ETKI, U, first) > 0.1);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EtkiOn(MPI_Comm comm, void *ctx)
{
  const Etki cases[] = {
      {"-etki_step 1 -etki_step_total 1",                                30, 0,  1, 1 },
      {"-etki_step 1 -etki_step_total 1",                                6,  0,  1, 1 }, /* fewer observations than members */
      {"-etki_step 0.25 -etki_step_total 1",                             30, 0,  4, 4 },
      {"-etki_step 0.25 -etki_step_total 1 -analysis_space matrix-free", 6,  0,  4, 4 },
      {"-etki_step 0.3 -etki_step_total 1",                              6,  0,  4, 4 }, /* the last step is what is left */
      {"-etki_step_rule misfit -etki_step_total 1",                      30, 0,  2, 40},
      {"-etki_step_rule misfit -etki_target posterior",                  6,  0,  2, 40},
      {"-etki_step_rule adaptive -etki_step 2 -etki_step_total 1",       30, 0,  2, 40},
      {"-etki_target posterior",                                         30, 15, 2, 2 }, /* two mini-batches: each once */
      {"-etki_target posterior -etki_step 0.5",                          40, 10, 8, 8 }, /* four of them, each twice by half */
  };
  size_t s;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < PETSC_STATIC_ARRAY_LENGTH(cases); s++) {
    double U[MOST_N * N_ETKI], V[MOST_N * N_ETKI];

    PetscCall(EtkiOne(comm, &cases[s], "-ensemble_exchange shared -ensemble_block_rows 1", U));
    PetscCall(EtkiOne(comm, &cases[s], "-ensemble_exchange messages -ensemble_block_rows 1", V));
    if (memcmp(U, V, 4 * N_ETKI * sizeof *U) && kal_holds) print_error("the exchange changes bits with %s\n", cases[s].options);
    KalHolds(!memcmp(U, V, 4 * N_ETKI * sizeof *U));
    PetscCall(KalSameBits(comm, U, 4 * N_ETKI * sizeof *U));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void EtkiIsThePosterior(void **state)
{
  (void)state;
  KalOnEachCount(EtkiOn, NULL);
}

#define N_EKI 2000

/*
  Perturbed observations: with the gain K of the sample moments, a new mean errs by K times the mean of N
  perturbations, so its standard error is the root of (K R K')_ii / N; a new covariance errs at most like a
  sample covariance of N members. The deterministic update keeps the right mean with too small a covariance.
*/
static PetscErrorCode EkiOn(MPI_Comm comm, void *ctx)
{
  Problem        problem  = {.type = "eki", .N = N_EKI, .inputs = 2, .outputs = 1, .samples = 5, .noise = 0.4, .spread = 1.0};
  const char    *spaces[] = {"-analysis_space observation", "-analysis_space observation -eki_step 0.5", "-eki_update deterministic"};
  const PetscInt n = 2, p = 5;
  double        *first, *U, mean[2], C[4], m[2], c[4], gain[10], error, far = 0.0;
  PetscInt       i, k, j, s;
  Twin           twin;

  PetscFunctionBeginUser;
  (void)ctx;
  MakeData(&problem);
  PetscCall(PetscMalloc2(n * N_EKI, &first, n * N_EKI, &U));
  for (j = 0; j < N_EKI; j++) PetscCall(Member0(&problem, n, j, first + j * n));
  PetscCall(Posterior(&problem, n, N_EKI, first, mean, C, gain));
  for (s = 0; s < 3; s++) {
    problem.options = s == 2 ? "-eki_step_total 1" : "-eki_update stochastic -eki_target posterior";
    PetscCall(TwinCreate(comm, &problem, spaces[s], &twin));
    do {
      PetscCall(TwinCycle(&twin));
    } while (twin.verdict == KAL_VERDICT_ACCEPT);
    KalHolds(twin.verdict == KAL_VERDICT_STOP && twin.cycle == (s == 1 ? 2 : 1));
    PetscCall(TwinState(&twin, U));
    PetscCall(KalSameBits(comm, U, n * N_EKI * sizeof *U));
    PetscCall(TwinDestroy(&twin));
    Moments(n, N_EKI, U, m, c);
    for (i = 0; i < n; i++) {
      double variance = 0.0;

      for (j = 0; j < p; j++) variance += gain[i + j * n] * gain[i + j * n] * problem.noise / N_EKI;
      KalNear(m[i], mean[i], s == 2 ? 1e-10 : (s == 1 ? 10.0 : 5.0) * sqrt(variance)); /* two steps: two errors, the first one's gain is not smaller than half */
      KalHolds(s == 2 || fabs(m[i] - mean[i]) > 1e-9);                                 /* there is a sampling error */
      for (k = 0; k < n; k++) {
        error = sqrt((C[i + i * n] * C[k + k * n] + C[i + k * n] * C[i + k * n]) / N_EKI);
        if (s < 2) KalNear(c[i + k * n], C[i + k * n], 5.0 * error);
        else far = fmax(far, fabs(c[i + k * n] - C[i + k * n]) / error);
      }
    }
  }
  KalHolds(far > 5.0);
  PetscCall(PetscFree2(first, U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void EkiSamplesThePosterior(void **state)
{
  (void)state;
  KalOnEachCount(EkiOn, NULL);
}

/* What makes no posterior, or no update, is refused. */
static void Refusals(void **state)
{
  static const Refusal refused[] = {
      {"eki",   "-eki_target posterior",                                                              "-eki_update stochastic"        },
      {"etki",  "-etki_target posterior -etki_momentum nesterov",                                     "leave them out"                },
      {"etki",  "-etki_target posterior -etki_redraw_cycles 3",                                       "leave them out"                },
      {"etki",  "-etki_target posterior -etki_inflation 1.1",                                         "leave them out"                },
      {"eki",   "-eki_step 0",                                                                        "the time step must be positive"},
      {"eki",   "-eki_step_total -1",                                                                 "-eki_step_total -1"            },
      {"etki",  "-etki_step_floor -0.1",                                                              "-etki_step_floor -0.1"         },
      {"etki",  "-etki_step_most 0",                                                                  "-etki_step_most 0"             },
      {"eki",   "-eki_inflation 0",                                                                   "-eki_inflation 0"              },
      {"eki",   "-eki_inflation_additive -1",                                                         "-eki_inflation_additive -1"    },
      {"eki",   "-eki_redraw_spread -0.5",                                                            "-eki_redraw_spread -0.5"       },
      {"eki",   "-eki_momentum constant -eki_momentum_factor 1",                                      "-eki_momentum_factor 1"        },
      {"haber", "-haber_damping 0",                                                                   "-haber_damping 0"              },
      {"haber", "-haber_step -1",                                                                     "-haber_step -1"                },
      {"haber", "-haber_spread 0",                                                                    "-haber_spread 0"               },
      {"haber", "-haber_momentum 1",                                                                  "-haber_momentum 1"             },
      {"haber", "-haber_step_schedule cosine",                                                        "-analysis_schedule_cycles"     },
      {"haber", "-haber_spread_schedule geometric -haber_spread_final 0 -analysis_schedule_cycles 9", "-haber_spread_final 0"         },
      {"haber", "-haber_step_schedule cosine -haber_step_final -1 -analysis_schedule_cycles 9",       "-haber_step_final -1"          },
  };
  KalAnalysis analysis;
  KalEnsemble none = NULL;

  (void)state;
  AreRefused(4, 6, PETSC_STATIC_ARRAY_LENGTH(refused), refused);
  KalCall(PetscOptionsClear(NULL));
  KalCall(KalAnalysisCreate(PETSC_COMM_WORLD, &analysis));
  KalRefused(KalAnalysisSetUp(analysis), "no type");
  KalRefused(KalAnalysisSetType(analysis, "kalman"), "Unknown -analysis_type \"kalman\"; known are eki, etki, haber");
  KalRefused(KalAnalysisSetSeed(analysis, -1), "seed is -1");
  KalRefused(KalAnalysisSetEpoch(analysis, 0), "epoch of 0 cycles");
  KalCall(KalAnalysisSetType(analysis, "eki"));
  KalRefused(KalAnalysisSetType(analysis, "etki"), "has the type eki already");
  KalCall(KalAnalysisSetSizes(analysis, 4, 1));
  KalRefused(KalAnalysisSetUp(analysis), "-ensemble_size 1 is too small");
  KalRefused(KalAnalysisSetEnsemble(analysis, none, 1, &none), "needs 0 copies");
  KalCall(KalAnalysisDestroy(&analysis));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(EtkiIsThePosterior),
    cmocka_unit_test(EkiSamplesThePosterior),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis posterior", tests)
