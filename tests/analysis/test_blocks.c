/* ranks: 5 */
/*
  eki with layers perturbed one at a time, on 1, 2, 3 and 5 ranks: of a linear model the Kalman update with the covariance whose blocks between layers
  are zero; with one layer eki itself, whatever the loss.
*/
#include "refusals.h"

#define n      9
#define MOST_J 12
#define MOST_P 12

static const KalLayer  layer[] = {{.offset = 0}, {.offset = 4}, {.offset = 7}};
static const KalLayers one = {.count = 1, .layer = layer}, three = {.count = 3, .layer = layer};

typedef struct {
  const char *options, *fail;
  PetscBool   perturbed;
} Case;

static const Case cases[] = {
    {"-eki_blocks layers -eki_step 0.5",                          NULL,  PETSC_FALSE},
    {"-eki_blocks layers -eki_step 0.5 -eki_update stochastic",   NULL,  PETSC_TRUE },
    {"-eki_blocks layers -eki_step 0.5 -ensemble_block_rows 100", "2,5", PETSC_FALSE},
};

/* C of the members with zeros between layers, then u_j + C G'(G C G' + R/h)^{-1} (y_j - G u_j). */
static PetscErrorCode Reference(const Case *test, const Problem *problem, PetscInt cycle, PetscInt N, const PetscInt *who, double *S)
{
  const PetscInt p = problem->samples;
  const double   h = 0.5;
  double         mean[n], C[n * n], GC[MOST_P * n], M[MOST_P * MOST_P], R[MOST_P * MOST_J], z[MOST_P];

  PetscFunctionBeginUser;
  DenseMean(n, N, S, mean);
  for (PetscInt i = 0; i < n; i++) {
    for (PetscInt k = 0; k < n; k++) {
      C[i + k * n] = 0.0;
      for (PetscInt j = 0; (i >= 4) == (k >= 4) && (i >= 7) == (k >= 7) && j < N; j++) C[i + k * n] += (S[i + j * n] - mean[i]) * (S[k + j * n] - mean[k]) / (N - 1);
    }
  }
  DensePredict(problem->x, p, n, 1, n, C, GC);
  for (PetscInt i = 0; i < p; i++) {
    for (PetscInt k = 0; k < p; k++) {
      M[i + k * p] = i == k ? problem->noise / h : 0.0;
      for (PetscInt l = 0; l < n; l++) M[i + k * p] += GC[i + l * p] * problem->x[k * n + l];
    }
  }
  DensePredict(problem->x, p, n, 1, N, S, R);
  for (PetscInt j = 0; j < N; j++) {
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_OBSERVATION, cycle, who[j]}, 0, p, z));
    for (PetscInt i = 0; i < p; i++) R[i + j * p] = problem->y[i] - R[i + j * p] + (test->perturbed ? sqrt(problem->noise / h) * z[i] : 0.0);
  }
  PetscCall(DenseSolve(p, M, N, R));
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = 0; i < n; i++) {
      for (PetscInt k = 0; k < p; k++) S[i + j * n] += GC[k + i * p] * R[k + j * p];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test)
{
  Problem  problem = {.type = "eki", .options = test->options, .N = 6, .inputs = n, .outputs = 1, .samples = 10, .noise = 0.4, .spread = 0.8, .layers = &three};
  Twin     twin;
  double   U[n * MOST_J], V[n * MOST_J], S[n * MOST_J];
  PetscInt who[MOST_J], active;

  PetscFunctionBeginUser;
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, "-ensemble_block_rows 2", &twin));
  PetscCall(TwinState(&twin, U));
  for (PetscInt cycle = 0; cycle < 2; cycle++) {
    active = 0;
    for (PetscInt j = 0; j < problem.N; j++) {
      if (Fails(&problem, j)) continue;
      memcpy(S + active * n, U + j * n, n * sizeof *S);
      who[active++] = j;
    }
    PetscCall(TwinCycle(&twin));
    KalHolds(twin.asked == 4); /* the members, and each of three layers */
    PetscCall(Reference(test, &problem, cycle, active, who, S));
    PetscCall(TwinState(&twin, V));
    for (PetscInt j = 0; j < active; j++) KalNear(DenseDistance(n, S + j * n, V + who[j] * n), 0.0, 1e-9);
    for (PetscInt i = 0; i < n * problem.N; i++) KalHolds(isfinite(V[i]));
    memcpy(U, V, sizeof U);
  }
  PetscCall(KalSameBits(comm, V, (size_t)n * problem.N * sizeof *V));
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

static void LinearModelsHaveTheBlockwiseKalmanUpdate(void **state)
{
  (void)state;
  KalOnEachCount(FormulasOn, NULL);
}

static PetscErrorCode Cycles(const Problem *problem, double *U, KalAnalysisReport *report)
{
  Twin twin;

  PetscFunctionBeginUser;
  PetscCall(TwinCreate(PETSC_COMM_WORLD, problem, "-ensemble_block_rows 3", &twin));
  for (PetscInt k = 0; k < 3; k++) PetscCall(TwinCycle(&twin));
  PetscCall(TwinState(&twin, U));
  *report = twin.report;
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void OneLayerIsTheWhole(void **state)
{
  const char *options[][2] = {
      {"",                                                          "-eki_blocks layers"                                                          },
      {"-eki_step_rule misfit",                                     "-eki_blocks layers -eki_step_rule misfit"                                    },
      {"-eki_step_rule adaptive -observations_output logits",       "-eki_blocks layers -eki_step_rule adaptive -observations_output logits"      },
      {"-eki_inflation 1.1 -eki_dynamics stochastic -eki_step 0.5", "-eki_blocks layers -eki_inflation 1.1 -eki_dynamics stochastic -eki_step 0.5"},
  };
  Problem           problem = {.type = "eki", .N = 7, .inputs = 3, .outputs = 3, .samples = 8, .labels = PETSC_TRUE, .noise = 1.0, .spread = 0.8, .layers = &one};
  double            U[3][n * 7];
  KalAnalysisReport report[3];

  (void)state;
  MakeData(&problem);
  for (size_t t = 0; t < PETSC_STATIC_ARRAY_LENGTH(options); t++) {
    problem.options = options[t][0];
    problem.layers  = &one;
    KalCall(Cycles(&problem, U[0], &report[0]));
    problem.options = options[t][1];
    KalCall(Cycles(&problem, U[1], &report[1]));
    problem.layers = &three;
    KalCall(Cycles(&problem, U[2], &report[2]));
    KalAssertNear(DenseDistance(n * 7, U[0], U[1]), 0.0, 1e-8);
    KalAssertNear(report[0].loss, report[1].loss, 1e-9);
    KalAssertNear(report[0].step, report[1].step, 1e-9);
    KalAssert(DenseDistance(n * 7, U[0], U[2]) > 0.01); /* three layers are not the joint update */
  }
}

static void Refusals(void **state)
{
  static const Refusal refused[] = {
      {"eki", "-eki_blocks layers",                        "this -model_type has no layers"},
      {"eki", "-eki_blocks layers -eki_momentum nesterov", "leave them out"                },
      {"eki", "-eki_blocks layers -eki_correction nice",   "leave them out"                },
      {"eki", "-eki_blocks layers -eki_prior true",        "leave them out"                },
  };

  (void)state;
  AreRefused(6, 9, PETSC_STATIC_ARRAY_LENGTH(refused), refused);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(LinearModelsHaveTheBlockwiseKalmanUpdate),
    cmocka_unit_test(OneLayerIsTheWhole),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis blocks", tests)
