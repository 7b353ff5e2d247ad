/* ranks: 5 */
/*
  enrml: of a linear model each member's minimum is known in closed form, the perturbed Kalman update of its own draw; one step reaches it, further ones stay, shorter
  ones come nearer by their factor. On 1, 2, 3 and 5 ranks, with more and fewer members than parameters, and with members that fail.
*/
#include "refusals.h"

#define MOST_N 12
#define MOST_P 20
#define MOST_J 16

typedef struct {
  const char *options, *fail;
  PetscInt    N, inputs, samples;
  double      left; /* of the distance between prior and minimum */
} Case;

static const Case cases[] = {
    {"-enrml_iterations 1",                  NULL,  9, 4, 12, 0.0               },
    {"-enrml_iterations 5",                  NULL,  9, 4, 12, 0.0               },
    {"-enrml_iterations 4",                  NULL,  6, 9, 12, 0.0               },
    {"-enrml_iterations 3 -enrml_step 0.5",  NULL,  6, 9, 5,  0.125             },
    {"-enrml_iterations 3 -enrml_step 0.25", NULL,  9, 4, 12, 0.75 * 0.75 * 0.75},
    {"-enrml_iterations 3",                  "1,4", 9, 4, 12, 0.0               },
    {"-enrml_iterations 2",                  "0",   6, 9, 5,  0.0               },
};

/* u_j + C G'(G C G' + R)^{-1}(y + e_j - G u_j), of which all but `left` is gone. */
static PetscErrorCode Reference(const Case *test, const Problem *problem, PetscInt n, PetscInt N, const PetscInt *who, double *S)
{
  const PetscInt p = problem->samples;
  double         G[MOST_P * MOST_J], mean[MOST_N], gmean[MOST_P], M[MOST_P * MOST_P], R[MOST_P * MOST_J], z[MOST_P];
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  DensePredict(problem->x, p, n, 1, N, S, G);
  DenseMean(n, N, S, mean);
  DenseMean(p, N, G, gmean);
  for (j = 0; j < N; j++) {
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_OBSERVATION, 0, who[j]}, 0, p, z));
    for (i = 0; i < p; i++) R[i + j * p] = problem->y[i] + sqrt(problem->noise) * z[i] - G[i + j * p];
  }
  for (i = 0; i < p; i++) {
    for (k = 0; k < p; k++) {
      M[i + k * p] = i == k ? problem->noise : 0.0;
      for (j = 0; j < N; j++) M[i + k * p] += (G[i + j * p] - gmean[i]) * (G[k + j * p] - gmean[k]) / (N - 1);
    }
  }
  PetscCall(DenseSolve(p, M, N, R));
  {
    double C[MOST_N * MOST_P] = {0.0};

    for (i = 0; i < n; i++) {
      for (k = 0; k < p; k++) {
        for (j = 0; j < N; j++) C[i + k * n] += (S[i + j * n] - mean[i]) * (G[k + j * p] - gmean[k]) / (N - 1);
      }
    }
    for (j = 0; j < N; j++) {
      for (i = 0; i < n; i++) {
        for (k = 0; k < p; k++) S[i + j * n] += (1.0 - test->left) * C[i + k * n] * R[k + j * p];
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test, const char *more)
{
  Problem  problem = {.type = "enrml", .options = test->options, .N = test->N, .inputs = test->inputs, .outputs = 1, .samples = test->samples, .noise = 0.4, .spread = 0.8};
  Twin     twin;
  double   U[MOST_N * MOST_J], V[MOST_N * MOST_J], S[MOST_N * MOST_J], far = 0.0;
  PetscInt n = test->inputs, j, who[MOST_J], active = 0;

  PetscFunctionBeginUser;
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, more, &twin));
  PetscCall(TwinState(&twin, U));
  for (j = 0; j < test->N; j++) {
    if (Fails(&problem, j)) continue;
    memcpy(S + active * n, U + j * n, (size_t)n * sizeof *S);
    who[active++] = j;
  }
  PetscCall(TwinCycle(&twin));
  PetscCall(TwinState(&twin, V));
  PetscCall(Reference(test, &problem, n, active, who, S));
  for (j = 0; j < active; j++) far = fmax(far, DenseDistance((size_t)n, S + j * n, V + who[j] * n));
  if (!(far <= 1e-7) && kal_holds) print_error("%s: %g from the closed form\n", test->options, far);
  KalHolds(far <= 1e-7);
  for (j = 0; j < n * test->N; j++) KalHolds(isfinite(V[j]));
  PetscCall(KalSameBits(comm, V, (size_t)n * test->N * sizeof *V));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MinimaOn(MPI_Comm comm, void *ctx)
{
  PetscFunctionBeginUser;
  (void)ctx;
  for (size_t t = 0; t < PETSC_STATIC_ARRAY_LENGTH(cases); t++) {
    PetscCall(RunCase(comm, &cases[t], "-ensemble_exchange shared -ensemble_block_rows 2"));
    PetscCall(RunCase(comm, &cases[t], "-ensemble_exchange messages -ensemble_block_rows 3"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void MembersReachTheirMinima(void **state)
{
  (void)state;
  KalOnEachCount(MinimaOn, NULL);
}

static void Refusals(void **state)
{
  static const Refusal refused[] = {
      {"enrml", "-enrml_iterations 0", "-enrml_iterations 0"},
      {"enrml", "-enrml_step 2",       "-enrml_step 2"      },
      {"enrml", "-enrml_damping -1",   "-enrml_damping -1"  },
      {"enrml", "-inflation_rtps 0.5", "on the posterior"   },
  };

  (void)state;
  AreRefused(6, 9, PETSC_STATIC_ARRAY_LENGTH(refused), refused);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(MembersReachTheirMinima),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis enrml", tests)
