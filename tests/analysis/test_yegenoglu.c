/* ranks: 5 */
/* yegenoglu against its formula, sample by sample with dense matrices, on 1, 2, 3 and 5 ranks; what a refreshed presentation is of a linear model; an ensemble that grows and shrinks. */
#include "linear.h"

#define MOST_N 16
#define MOST_J 16
#define MOST_P 40

typedef struct {
  const char *options, *fail;
  PetscInt    repetitions, batch;
  PetscBool   refresh;
  double      exponent; /* a correlation r becomes r |r|^exponent */
} Case;

static const Case cases[] = {
    {"-yegenoglu_repetitions 1",                                                                   NULL,  1, 0, PETSC_FALSE, 0.0},
    {"-yegenoglu_repetitions 3",                                                                   NULL,  3, 4, PETSC_FALSE, 0.0},
    {"-yegenoglu_repetitions 2 -yegenoglu_refresh true",                                           NULL,  2, 4, PETSC_TRUE,  0.0},
    {"-yegenoglu_repetitions 1",                                                                   "3,7", 1, 0, PETSC_FALSE, 0.0},
    {"-yegenoglu_repetitions 1 -yegenoglu_refresh true",                                           "0",   1, 0, PETSC_TRUE,  0.0},
    {"-yegenoglu_repetitions 2 -yegenoglu_correction sec -yegenoglu_correction_exponent 2",        NULL,  2, 4, PETSC_FALSE, 2.0},
    {"-yegenoglu_repetitions 1 -yegenoglu_correction sec -yegenoglu_correction_exponent 2",        "6",   1, 4, PETSC_FALSE, 2.0},
    {"-yegenoglu_repetitions 1 -yegenoglu_correction dropout -yegenoglu_correction_probability 1", "3,7", 1, 0, PETSC_FALSE, 0.0},
};

/* Covariances of two departures, whose variances are a and b, with the correlation made smaller. */
static double Shrunk(double covariance, double a, double b, double exponent)
{
  return covariance * pow(fabs(covariance) / sqrt(a * b), exponent);
}

/* A presentation to the members S: outputs as they were before it, or, of a linear model, as they are, for the refreshed form. */
static PetscErrorCode Present(const Problem *problem, const KalBatch *batch, PetscInt n, PetscInt N, const Case *test, double *S)
{
  const PetscInt c = batch->outputs, p = batch->samples * c;
  double         G[MOST_P * MOST_J], mean[MOST_N], gmean[4], M[16], R[4 * MOST_J], C[MOST_N * 4], variance[MOST_N], square[4];
  PetscInt       i, j, k, q;

  PetscFunctionBeginUser;
  DensePredict((const double *)batch->input, batch->samples, batch->inputs, c, N, S, G);
  for (q = 0; q < batch->samples; q++) {
    if (test->refresh) DensePredict((const double *)batch->input, batch->samples, batch->inputs, c, N, S, G);
    DenseMean(n, N, S, mean);
    for (i = 0; i < c; i++) {
      for (gmean[i] = 0.0, j = 0; j < N; j++) gmean[i] += G[q * c + i + j * p] / N;
      for (j = 0; j < N; j++) R[i + j * c] = batch->target[q * c + i] - G[q * c + i + j * p];
    }
    for (i = 0; i < c; i++) {
      for (k = 0; k < c; k++) {
        M[i + k * c] = i == k ? problem->noise : 0.0;
        for (j = 0; j < N; j++) M[i + k * c] += (G[q * c + i + j * p] - gmean[i]) * (G[q * c + k + j * p] - gmean[k]) / (N - 1);
      }
      for (k = 0; k < n; k++) {
        for (C[k + i * n] = 0.0, j = 0; j < N; j++) C[k + i * n] += (S[k + j * n] - mean[k]) * (G[q * c + i + j * p] - gmean[i]) / (N - 1);
      }
    }
    for (k = 0; k < n; k++) {
      for (variance[k] = 0.0, j = 0; j < N; j++) variance[k] += pow(S[k + j * n] - mean[k], 2) / (N - 1);
    }
    for (i = 0; i < c; i++) square[i] = M[i + i * c] - problem->noise;
    for (i = 0; i < c; i++) {
      for (k = 0; k < n; k++) C[k + i * n] = Shrunk(C[k + i * n], variance[k], square[i], test->exponent);
      for (k = 0; k < c; k++) M[k + i * c] = k == i ? M[k + i * c] : Shrunk(M[k + i * c], square[k], square[i], test->exponent);
    }
    PetscCall(DenseSolve(c, M, N, R));
    for (j = 0; j < N; j++) {
      for (k = 0; k < n; k++) {
        for (i = 0; i < c; i++) S[k + j * n] += C[k + i * n] * R[i + j * c];
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test)
{
  Problem  problem = {.type = "yegenoglu", .options = test->options, .N = 11, .inputs = 4, .outputs = 3, .samples = 12, .batch = test->batch, .noise = 0.4, .spread = 0.8};
  Twin     twin;
  double   U[MOST_N * MOST_J], V[MOST_N * MOST_J], S[MOST_N * MOST_J], far = 0.0;
  PetscInt n = 12, cycle, j, r, who[MOST_J], active;

  PetscFunctionBeginUser;
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, "-ensemble_block_rows 3", &twin));
  PetscCall(TwinState(&twin, U));
  for (cycle = 0; cycle < 2; cycle++) {
    for (j = 0, active = 0; j < problem.N; j++) {
      if (Fails(&problem, j)) continue;
      memcpy(S + active * n, U + j * n, (size_t)n * sizeof *S);
      who[active++] = j;
    }
    PetscCall(TwinCycle(&twin));
    for (r = 0; r < test->repetitions; r++) PetscCall(Present(&problem, &twin.batch, n, active, test, S));
    PetscCall(TwinState(&twin, V));
    for (j = 0; j < active; j++) far = fmax(far, DenseDistance((size_t)n, S + j * n, V + who[j] * n));
    if (!(far <= 1e-8) && kal_holds) print_error("%s, cycle %d: %g from the formula\n", test->options, (int)cycle, far);
    KalHolds(far <= 1e-8);
    for (j = 0; j < n * problem.N; j++) KalHolds(isfinite(V[j]));
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

static void PresentationsFollowTheFormulas(void **state)
{
  (void)state;
  KalOnEachCount(FormulasOn, NULL);
}

/* A cycle of so many repetitions, of the first `size` members, is that of an ensemble of so many; the others lie at the mean of these. */
static PetscErrorCode SizedCycle(Twin *twin, PetscInt size, PetscInt repetitions, double *U)
{
  const PetscInt n = twin->n, N = twin->N;
  double         S[MOST_N * MOST_J], mean[MOST_N];

  PetscFunctionBeginUser;
  memcpy(S, U, (size_t)(n * N) * sizeof *S);
  PetscCall(TwinCycle(twin));
  for (PetscInt r = 0; r < repetitions; r++) PetscCall(Present(&twin->problem, &twin->batch, n, size, &cases[0], S));
  PetscCall(TwinState(twin, U));
  DenseMean(n, size, S, mean);
  KalNear(DenseDistance((size_t)(n * size), S, U), 0.0, 1e-9);
  for (PetscInt j = size; j < N; j++) KalNear(DenseDistance((size_t)n, mean, U + j * n), 0.0, 1e-9);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What becomes of `before` members on a score after a cycle. */
static PetscErrorCode SizedScore(Twin *twin, double accuracy, PetscInt before, PetscInt after, double *U)
{
  const PetscInt n = twin->n, N = twin->N;
  const KalScore score = {.accuracy = accuracy};
  double         S[MOST_N * MOST_J], mean[MOST_N], z[MOST_J];
  KalAsk         ask;

  PetscFunctionBeginUser;
  memcpy(S, U, (size_t)(n * N) * sizeof *S);
  PetscCall(KalAnalysisTellScore(twin->analysis, twin->cycle, &score));
  PetscCall(KalAnalysisAsk(twin->analysis, &ask));
  KalHolds(ask.active == after);
  PetscCall(TwinState(twin, U));
  DenseMean(n, before, S, mean);
  for (PetscInt j = before; j < after; j++) {
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_GROWTH, twin->cycle, j}, 0, before, z));
    memcpy(S + j * n, mean, (size_t)n * sizeof *S);
    for (PetscInt k = 0; k < before; k++) {
      for (PetscInt i = 0; i < n; i++) S[i + j * n] += (S[i + k * n] - mean[i]) * z[k] / sqrt(before - 1.0);
    }
  }
  DenseMean(n, after, S, mean);
  for (PetscInt j = after; j < N; j++) memcpy(S + j * n, mean, (size_t)n * sizeof *S);
  KalNear(DenseDistance((size_t)(n * N), S, U), 0.0, before == after ? 1e-12 : 1e-9);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SizesOn(MPI_Comm comm, void *ctx)
{
  Problem problem = {.type = "yegenoglu", .options = "-yegenoglu_repetitions 4 -yegenoglu_repetitions_least 2 -yegenoglu_size_step 3 -yegenoglu_size_least 4 -yegenoglu_size_first 5 -observations_loss squared -observations_noise 0.4", .N = 10, .inputs = 4, .outputs = 3, .samples = 12, .labels = PETSC_TRUE, .noise = 0.4, .spread = 0.8};
  Twin    twin;
  double  U[MOST_N * MOST_J];

  PetscFunctionBeginUser;
  (void)ctx;
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, "-ensemble_block_rows 3", &twin));
  PetscCall(TwinState(&twin, U));
  PetscCall(SizedCycle(&twin, 5, 4, U));
  PetscCall(SizedScore(&twin, 0.95, 5, 5, U)); /* no score before it */
  PetscCall(SizedScore(&twin, 0.97, 5, 8, U));
  PetscCall(SizedCycle(&twin, 8, 3, U));
  PetscCall(SizedScore(&twin, 0.96, 8, 5, U));
  PetscCall(SizedScore(&twin, 0.95, 5, 4, U)); /* the least */
  PetscCall(SizedCycle(&twin, 4, 2, U));
  PetscCall(SizedScore(&twin, 0.96, 4, 7, U));
  PetscCall(SizedScore(&twin, 0.5, 7, 7, U)); /* not good enough */
  PetscCall(SizedScore(&twin, 0.91, 7, 10, U));
  PetscCall(SizedScore(&twin, 0.92, 10, 10, U)); /* the most */
  PetscCall(SizedCycle(&twin, 10, 2, U));
  PetscCall(KalSameBits(comm, U, (size_t)(twin.n * twin.N) * sizeof *U));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void TheSizeFollowsTheAccuracy(void **state)
{
  (void)state;
  KalOnEachCount(SizesOn, NULL);
}

static PetscErrorCode OneCycle(const Problem *problem)
{
  Twin twin;

  PetscFunctionBeginUser;
  PetscCall(TwinCreate(PETSC_COMM_WORLD, problem, NULL, &twin));
  PetscCall(TwinCycle(&twin));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Refusals(void **state)
{
  Problem problem = {.type = "yegenoglu", .options = "-yegenoglu_repetitions 0", .N = 5, .inputs = 4, .outputs = 3, .samples = 12, .noise = 0.4, .spread = 0.8};

  (void)state;
  MakeData(&problem);
  KalRefused(OneCycle(&problem), "-yegenoglu_repetitions 0");
  problem.options = "-yegenoglu_size_step 2";
  KalRefused(OneCycle(&problem), "these data have no class labels");
  problem.options = "-yegenoglu_size_step 2 -yegenoglu_size_least 6";
  KalRefused(OneCycle(&problem), "-yegenoglu_size_least 6");
  problem.options = "-yegenoglu_size_step 2147483647";
  KalRefused(OneCycle(&problem), "-yegenoglu_size_step 2147483647: must be from 0 to -ensemble_size 5");
  problem.options = "-yegenoglu_size_step -1";
  KalRefused(OneCycle(&problem), "-yegenoglu_size_step -1");
  problem.options = "-yegenoglu_size_first 3";
  KalRefused(OneCycle(&problem), "give -yegenoglu_size_step");
  problem.options = "-yegenoglu_repetitions 3 -yegenoglu_repetitions_least 4 -yegenoglu_size_step 2";
  KalRefused(OneCycle(&problem), "-yegenoglu_repetitions_least 4: must be from 0 to -yegenoglu_repetitions 3");
  problem.options = NULL;
  problem.labels  = PETSC_TRUE;
  MakeData(&problem);
  KalRefused(OneCycle(&problem), "use -observations_loss squared");
  KalCall(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(PresentationsFollowTheFormulas),
    cmocka_unit_test(TheSizeFollowsTheAccuracy),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis yegenoglu", tests)
