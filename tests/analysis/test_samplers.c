/* ranks: 5 */
/*
  eks, aldi and engps: a cycle against the formula with dense n x n matrices, the draws by their keys; and over many cycles the variances of a Gaussian posterior, which
  aldi has with ten members too, and eks has not.
*/
#include "refusals.h"

#define MOST_N 6
#define MOST_J 16

typedef struct {
  const char *type, *options, *fail;
  PetscInt    N, samples, cycles;
  double      h, floor;
} Case;

static const Case cases[] = {
    {"eks",   "",                                  NULL,    9,  12, 3, 1.0, 1e-8},
    {"eks",   "-eks_step 0.5 -eks_step_floor 0.1", "1,6",   11, 3,  2, 0.5, 0.1 },
    {"aldi",  "-aldi_step 0.7",                    NULL,    9,  12, 3, 0.7, 1e-8},
    {"aldi",  "",                                  "0,3,9", 11, 5,  2, 1.0, 1e-8},
    {"engps", "-engps_step 0.7",                   NULL,    9,  12, 2, 0.7, 1e-8}, /* a linear model is emulated exactly */
    {"engps", "",                                  "2",     10, 12, 2, 1.0, 1e-8},
};

/* A step of the survivors S (n x N): (I + dt C P^{-1}) u* = u - dt (U - mean) D + dt C P^{-1} m + [dt (n + 1)/N (u - mean)], and sqrt(2 dt/N) (U - mean) z. */
static PetscErrorCode Reference(const Case *test, const Problem *problem, PetscInt n, PetscInt cycle, PetscInt N, const PetscInt *who, const double *m, double *S, double *step)
{
  const PetscInt  p    = problem->samples;
  const PetscBool aldi = (PetscBool)strcmp(test->type, "eks");
  double          G[32 * MOST_J], mean[MOST_N], gmean[32], D[MOST_J * MOST_J], C[MOST_N * MOST_N] = {0.0}, M[MOST_N * MOST_N], V[MOST_N * MOST_J], z[MOST_J], square = 0.0, dt;
  PetscInt        i, j, k;

  PetscFunctionBeginUser;
  DensePredict(problem->x, p, n, 1, N, S, G);
  DenseMean(n, N, S, mean);
  DenseMean(p, N, G, gmean);
  for (j = 0; j < N; j++) {
    for (k = 0; k < N; k++) {
      D[k + j * N] = 0.0;
      for (i = 0; i < p; i++) D[k + j * N] += (G[i + k * p] - gmean[i]) * (G[i + j * p] - problem->y[i]) / problem->noise / N;
      square += D[k + j * N] * D[k + j * N];
    }
  }
  *step = dt = fmin(1.0, test->h / (sqrt(square) + test->floor));
  for (i = 0; i < n; i++) {
    for (k = 0; k < n; k++) {
      for (j = 0; j < N; j++) C[i + k * n] += (S[i + j * n] - mean[i]) * (S[k + j * n] - mean[k]) / N;
      M[i + k * n] = (i == k ? 1.0 : 0.0) + dt * C[i + k * n] / (Prior(k) * Prior(k));
    }
  }
  for (j = 0; j < N; j++) {
    double *v = V + j * n;

    for (i = 0; i < n; i++) {
      v[i] = S[i + j * n] + (aldi ? dt * (n + 1) / N * (S[i + j * n] - mean[i]) : 0.0);
      for (k = 0; k < N; k++) v[i] -= dt * (S[i + k * n] - mean[i]) * D[k + j * N];
      for (k = 0; k < n; k++) v[i] += dt * C[i + k * n] * m[k] / (Prior(k) * Prior(k));
    }
  }
  PetscCall(DenseSolve(n, M, N, V));
  for (j = 0; j < N; j++) {
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_DIFFUSION, cycle, who[j]}, 0, problem->N, z));
    for (i = 0; i < n; i++) {
      for (k = 0; k < N; k++) V[i + j * n] += sqrt(2.0 * dt / N) * (S[i + k * n] - mean[i]) * z[who[k]];
    }
  }
  memcpy(S, V, (size_t)n * N * sizeof *S);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test)
{
  Problem  problem = {.type = test->type, .options = test->options, .N = test->N, .inputs = 4, .outputs = 1, .samples = test->samples, .noise = 0.4, .spread = 0.8};
  Twin     twin;
  double   U[MOST_N * MOST_J], V[MOST_N * MOST_J], S[MOST_N * MOST_J], m[MOST_N], mean[MOST_N], z[MOST_J], step = 0.0, far;
  PetscInt n = 4, cycle, i, j, k, who[MOST_J], active;

  PetscFunctionBeginUser;
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, "-ensemble_block_rows 2", &twin));
  for (i = 0; i < n; i++) m[i] = 0.3 * i - 0.2;
  PetscCall(KalAnalysisSetPriorMean(twin.analysis, m));
  PetscCall(TwinState(&twin, U));
  for (cycle = 0; cycle < test->cycles; cycle++) {
    for (j = 0, active = 0; j < test->N; j++) {
      if (Fails(&problem, j)) continue;
      memcpy(S + active * n, U + j * n, (size_t)n * sizeof *S);
      who[active++] = j;
    }
    PetscCall(TwinCycle(&twin));
    PetscCall(Reference(test, &problem, n, cycle, active, who, m, S, &step));
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
    if (!(far <= 1e-7) && kal_holds) print_error("%s %s, cycle %d: %g from the formula\n", test->type, test->options, (int)cycle, far);
    KalHolds(far <= 1e-7);
    KalNear(twin.report.step, step, 1e-7);
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
  for (size_t t = 0; t < PETSC_STATIC_ARRAY_LENGTH(cases); t++) PetscCall(RunCase(comm, &cases[t]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void StepsFollowTheFormulas(void **state)
{
  (void)state;
  KalOnEachCount(FormulasOn, NULL);
}

/* G = [1 2; 3 4], y = (3, 7), R = 0.01 I, prior N(0, I), ten members: the mean over cycles of their variances (divisor N), over the posterior's. */
static PetscErrorCode Variances(const char *type, double ratio[2])
{
  static const double x[] = {1, 2, 3, 4}, y[] = {3, 7};
  const PetscInt      burn = 300, cycles = KALTEST_STRIDE > 1 ? 1000 : 8000;
  Problem             problem = {.type = type, .options = !strcmp(type, "eks") ? "-eks_step 0.1" : "-aldi_step 0.1", .N = 10, .inputs = 2, .outputs = 1, .samples = 2, .noise = 0.01, .spread = 0.8, .x = x, .y = y};
  double              zero[2] = {0.0, 0.0}, U[20], mean[2], total[2] = {0.0, 0.0};
  Twin                twin;

  PetscFunctionBeginUser;
  PetscCall(TwinCreate(PETSC_COMM_SELF, &problem, NULL, &twin));
  twin.prior[0] = twin.prior[1] = 1.0;
  PetscCall(KalAnalysisSetPriorMean(twin.analysis, zero));
  while (twin.cycle < cycles) {
    PetscCall(TwinCycle(&twin));
    if (twin.cycle <= burn) continue;
    PetscCall(TwinState(&twin, U));
    DenseMean(2, 10, U, mean);
    for (int j = 0; j < 10; j++) {
      for (int i = 0; i < 2; i++) total[i] += pow(U[i + 2 * j] - mean[i], 2) / 10 / (cycles - burn);
    }
  }
  PetscCall(TwinDestroy(&twin));
  ratio[0] = total[0] / 0.04653; /* share of (G'G/0.01 + I)^{-1} */
  ratio[1] = total[1] / 0.02328;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void AldiIsCorrectedForFewMembers(void **state)
{
  PetscMPIInt rank;
  double      eks[2] = {0.7, 0.7}, aldi[2] = {1.0, 1.0};

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  if (!rank) {
    KalHolds(!Variances("eks", eks) && !Variances("aldi", aldi));
    print_message("eks %.3f %.3f, aldi %.3f %.3f of the posterior's variances\n", eks[0], eks[1], aldi[0], aldi[1]);
  }
  KalAssert(kal_holds && eks[0] > 0.55 && eks[0] < 0.85 && eks[1] > 0.55 && eks[1] < 0.85);
  KalAssert(aldi[0] > 0.8 && aldi[0] < 1.15 && aldi[1] > 0.8 && aldi[1] < 1.15);
}

static void Refusals(void **state)
{
  static const Refusal refused[] = {
      {"eks",   "-eks_step 0",         "-eks_step 0"        },
      {"aldi",  "-aldi_step_floor -1", "-aldi_step_floor -1"},
      {"engps", "-engps_length -1",    "-engps_length -1"   },
      {"engps", "-engps_noise -1",     "-engps_noise -1"    },
  };
  static const Refusal few[] = {
      {"eks", "", "take 8 or more"},
  };

  (void)state;
  AreRefused(6, 9, PETSC_STATIC_ARRAY_LENGTH(refused), refused);
  AreRefused(6, 7, PETSC_STATIC_ARRAY_LENGTH(few), few);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(StepsFollowTheFormulas),
    cmocka_unit_test(AldiIsCorrectedForFewMembers),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis samplers", tests)
