/* ranks: 5 */
/* cbo, cycle by cycle against its formulas; and that its consensus ends at the least squares solution. On 1, 2, 3 and 5 ranks. */
#include "refusals.h"

#define MOST_N 6
#define MOST_J 16
#define MOST_P 20

typedef struct {
  const char *options, *fail;
  PetscBool   isotropic, cooled, kicked;
  PetscInt    batch;
} Case;

static const Case cases[] = {
    {"-cbo_kick 0 -cbo_cooling false",                     NULL,  PETSC_FALSE, PETSC_FALSE, PETSC_FALSE, 0},
    {"-cbo_kick 0 -cbo_cooling false -cbo_isotropic true", NULL,  PETSC_TRUE,  PETSC_FALSE, PETSC_FALSE, 0},
    {"-cbo_kick 0",                                        NULL,  PETSC_FALSE, PETSC_TRUE,  PETSC_FALSE, 6},
    {"-cbo_kick 1e9 -cbo_cooling false",                   "0,5", PETSC_FALSE, PETSC_FALSE, PETSC_TRUE,  0},
};

/* v_j <- v_j - 0.1 (v_j - v*) + sigma sqrt(0.1) |v_j - v*| z_j on the survivors S, alpha of the mean loss a sample. */
static PetscErrorCode Reference(const Case *test, const KalBatch *batch, PetscInt all, PetscInt n, PetscInt cycle, PetscInt N, const PetscInt *who, PetscInt batches, double *S)
{
  const PetscInt p = batch->samples, epoch = test->cooled ? cycle / batches : 0;
  const double   alpha = 50.0 * pow(2.0, (double)epoch), sigma = sqrt(0.4) / log2(epoch + 2.0);
  double         G[MOST_P * MOST_J], loss[MOST_J], least = INFINITY, sum = 0.0, v[MOST_N] = {0.0}, z[MOST_N], kick[MOST_N];
  PetscInt       i, j;

  PetscFunctionBeginUser;
  DensePredict((const double *)batch->input, p, n, 1, N, S, G);
  for (j = 0; j < N; j++) {
    for (loss[j] = 0.0, i = 0; i < p; i++) loss[j] += 0.5 * pow(G[i + j * p] - batch->target[i], 2) / 4.0 / p;
    least = fmin(least, loss[j]);
  }
  for (j = 0; j < N; j++) {
    sum += exp(-alpha * (loss[j] - least));
    for (i = 0; i < n; i++) v[i] += exp(-alpha * (loss[j] - least)) * S[i + j * n];
  }
  for (i = 0; i < n; i++) v[i] /= sum;
  for (j = 0; j < N; j++) {
    double length = 0.0;

    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_DIFFUSION, cycle, who[j]}, 0, n, z));
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_DIFFUSION, cycle, who[j] + all}, 0, n, kick));
    for (i = 0; i < n; i++) length += pow((S[i + j * n] - v[i]) / Prior(i), 2);
    for (i = 0; i < n; i++) {
      const double d = S[i + j * n] - v[i];

      S[i + j * n] += -0.1 * d + sigma * sqrt(0.1) * (test->isotropic ? sqrt(length) * Prior(i) : fabs(d)) * z[i];
      if (test->kicked && cycle) S[i + j * n] += sigma * sqrt(0.1) * Prior(i) * kick[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test)
{
  Problem  problem = {.type = "cbo", .options = test->options, .N = 9, .inputs = 4, .outputs = 1, .samples = 12, .batch = test->batch, .noise = 4.0, .spread = 0.8};
  Twin     twin;
  double   U[MOST_N * MOST_J], V[MOST_N * MOST_J], S[MOST_N * MOST_J], far = 0.0;
  PetscInt n = 4, cycle, j, who[MOST_J], active, batches;

  PetscFunctionBeginUser;
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, "-ensemble_block_rows 2", &twin));
  PetscCall(KalObservationsGetCycle(twin.obs, NULL, &batches));
  PetscCall(TwinState(&twin, U));
  for (cycle = 0; cycle < 4; cycle++) {
    for (j = 0, active = 0; j < problem.N; j++) {
      if (Fails(&problem, j)) continue;
      memcpy(S + active * n, U + j * n, (size_t)n * sizeof *S);
      who[active++] = j;
    }
    PetscCall(TwinCycle(&twin));
    PetscCall(Reference(test, &twin.batch, problem.N, n, cycle, active, who, batches, S));
    PetscCall(TwinState(&twin, V));
    for (j = 0; j < active; j++) far = fmax(far, DenseDistance((size_t)n, S + j * n, V + who[j] * n));
    if (!(far <= 1e-9) && kal_holds) print_error("%s, cycle %d: %g from the formula\n", test->options, (int)cycle, far);
    KalHolds(far <= 1e-9);
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

static void CyclesFollowTheFormulas(void **state)
{
  (void)state;
  KalOnEachCount(FormulasOn, NULL);
}

/* Three equations for three unknowns: the loss is 0 at their solution alone. */
static PetscErrorCode SolutionOn(MPI_Comm comm, void *ctx)
{
  static const double x[] = {2, 1, 0, 0, 1, 1, 1, 0, 3}, y[] = {1, -1, 2};
  Problem             problem = {.type = "cbo", .N = 200, .inputs = 3, .outputs = 1, .samples = 3, .noise = 0.01, .spread = 1.0, .x = x, .y = y};
  double              A[9], b[3] = {1, -1, 2}, U[600], mean[3];
  Twin                twin;
  PetscMPIInt         size;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (size > 1) PetscFunctionReturn(PETSC_SUCCESS); /* the same bits, as above, and many cycles */
  for (int i = 0; i < 3; i++) {
    for (int j = 0; j < 3; j++) A[i + 3 * j] = x[3 * i + j];
  }
  PetscCall(DenseSolve(3, A, 1, b));
  PetscCall(TwinCreate(comm, &problem, "-cbo_kick 0 -cbo_cooling false -cbo_noise 1.2", &twin));
  while (twin.cycle < 400) PetscCall(TwinCycle(&twin));
  PetscCall(TwinState(&twin, U));
  DenseMean(3, 200, U, mean);
  if (kal_holds) print_message("%g from the solution\n", DenseDistance(3, mean, b));
  KalHolds(DenseDistance(3, mean, b) < 0.1);
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ParticlesMeetAtTheSolution(void **state)
{
  (void)state;
  KalOnEachCount(SolutionOn, NULL);
}

static void Refusals(void **state)
{
  static const Refusal refused[] = {
      {"cbo", "-cbo_step 0",   "-cbo_step 0"  },
      {"cbo", "-cbo_drift 20", "-cbo_drift 20"},
      {"cbo", "-cbo_noise -1", "-cbo_noise -1"},
      {"cbo", "-cbo_alpha 0",  "-cbo_alpha 0" },
      {"cbo", "-cbo_kick -1",  "-cbo_kick -1" }
  };

  (void)state;
  AreRefused(6, 9, PETSC_STATIC_ARRAY_LENGTH(refused), refused);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(CyclesFollowTheFormulas),
    cmocka_unit_test(ParticlesMeetAtTheSolution),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis cbo", tests)
