/* ranks: 5 */
/* Corrected correlations: eki with dense covariances and the formulas of sec, sec-fisher and nice, and dropout, on 1, 2, 3 and 5 ranks; and that spurious correlations are cut. */
#include "refusals.h"

#define MOST_N 12
#define MOST_P 12
#define MOST_J 12

typedef struct {
  const char *options, *fail;
  int         type; /* 1 sec, 2 sec-fisher, 3 nice, 4 dropout */
  double      exponent, cutoff, tolerance;
  PetscBool   perturbed;
} Case;

static const Case cases[] = {
    {"-eki_correction sec -eki_correction_exponent 2 -eki_correction_cutoff 0.2 -eki_step 0.5", NULL,  1, 2.0, 0.2, 0.0, PETSC_FALSE},
    {"-eki_correction sec-fisher -eki_step 0.5 -eki_update stochastic",                         NULL,  2, 0.0, 0.0, 0.0, PETSC_TRUE },
    {"-eki_correction nice -eki_step 0.5",                                                      NULL,  3, 0.0, 0.0, 1.0, PETSC_FALSE},
    {"-eki_correction nice -eki_correction_tolerance 0.3 -eki_step 0.5",                        "2,5", 3, 0.0, 0.0, 0.3, PETSC_FALSE},
    {"-eki_correction dropout -eki_correction_probability 0.6 -eki_step 0.5",                   "4",   4, 0.0, 0.0, 0.6, PETSC_FALSE},
};

static double Norm(PetscInt count, const double *r, const double *s)
{
  double sum = 0.0;

  for (PetscInt i = 0; i < count; i++) sum += (r[i] - s[i]) * (r[i] - s[i]);
  return sqrt(sum);
}

/* Correlations r, of which those in `skip` (a diagonal) do not count, are replaced. */
static void Correct(const Case *test, PetscInt N, PetscInt count, double *r)
{
  double s[MOST_N * MOST_P], before[MOST_N * MOST_P], error = 0.0;

  for (PetscInt i = 0; i < count; i++) {
    const double sd = 1.0 / sqrt(N - 3.0), e = 0.5 * (tanh(atanh(r[i]) + sd) - tanh(atanh(r[i]) - sd)), Q = r[i] / e;

    if (test->type == 1) r[i] = fabs(r[i]) < test->cutoff ? 0.0 : r[i] * pow(fabs(r[i]), test->exponent);
    if (test->type == 2) r[i] = r[i] * Q * Q / (1.0 + Q * Q);
    error += pow(1.0 - r[i] * r[i], 2) / N;
  }
  if (test->type != 3) return;
  memcpy(before, r, (size_t)count * sizeof *r);
  for (int g = 2; g <= 10; g += 2) {
    for (PetscInt i = 0; i < count; i++) s[i] = pow(r[i], g + 1);
    if (Norm(count, r, s) > test->tolerance * sqrt(error) || g == 10) {
      double low = 0.0, high = 1.0, mixed[MOST_N * MOST_P];

      if (Norm(count, r, s) <= test->tolerance * sqrt(error)) {
        memcpy(r, s, (size_t)count * sizeof *r);
        return;
      }
      for (int b = 0; b < 100; b++) { /* bisection for the part of the power before */
        const double w = 0.5 * (low + high);

        for (PetscInt i = 0; i < count; i++) mixed[i] = w * before[i] + (1.0 - w) * s[i];
        if (Norm(count, r, mixed) > test->tolerance * sqrt(error)) low = w;
        else high = w;
      }
      memcpy(r, mixed, (size_t)count * sizeof *r);
      return;
    }
    memcpy(before, s, (size_t)count * sizeof *r);
  }
}

static PetscErrorCode Reference(const Case *test, const Problem *problem, PetscInt n, PetscInt cycle, PetscInt N, const PetscInt *who, double *S)
{
  const PetscInt p = problem->samples;
  const double   h = 0.5;
  double         G[MOST_P * MOST_J], mean[MOST_N], gmean[MOST_P], su[MOST_N], sg[MOST_P], ug[MOST_N * MOST_P], gg[MOST_P * MOST_P], M[MOST_P * MOST_P], R[MOST_P * MOST_J], z[MOST_P], off[MOST_P * MOST_P];
  PetscInt       i, j, k, count = 0;

  PetscFunctionBeginUser;
  DensePredict(problem->x, p, n, 1, N, S, G);
  DenseMean(n, N, S, mean);
  DenseMean(p, N, G, gmean);
  for (i = 0; i < n; i++) {
    for (su[i] = 0.0, j = 0; j < N; j++) su[i] += pow(S[i + j * n] - mean[i], 2) / (N - 1);
    su[i] = sqrt(su[i]);
  }
  for (i = 0; i < p; i++) {
    for (sg[i] = 0.0, j = 0; j < N; j++) sg[i] += pow(G[i + j * p] - gmean[i], 2) / (N - 1);
    sg[i] = sqrt(sg[i]);
  }
  for (k = 0; k < p; k++) {
    for (i = 0; i < n; i++) {
      for (ug[i + k * n] = 0.0, j = 0; j < N; j++) ug[i + k * n] += (S[i + j * n] - mean[i]) * (G[k + j * p] - gmean[k]) / (N - 1) / su[i] / sg[k];
    }
    for (i = 0; i < p; i++) {
      for (gg[i + k * p] = 0.0, j = 0; j < N; j++) gg[i + k * p] += (G[i + j * p] - gmean[i]) * (G[k + j * p] - gmean[k]) / (N - 1) / sg[i] / sg[k];
      if (i != k) off[count++] = gg[i + k * p];
    }
  }
  Correct(test, N, n * p, ug);
  Correct(test, N, count, off);
  for (k = 0; test->type == 4 && k < p; k++) {
    PetscCall(KalDrawUniform((KalKey){SEED, KAL_DRAW_DROPOUT, cycle, k}, 0, n, z));
    for (i = 0; i < n; i++) ug[i + k * n] *= z[i] < test->tolerance;
  }
  for (k = 0, count = 0; k < p; k++) {
    for (i = 0; i < p; i++) M[i + k * p] = sg[i] * sg[k] * (i == k ? 1.0 : off[count++]);
  }
  { /* its positive part */
    PetscBLASInt order = p, info, lwork = 64 * MOST_P;
    double       V[MOST_P * MOST_P], value[MOST_P], work[64 * MOST_P];

    memcpy(V, M, sizeof V);
    LAPACKsyev_("V", "L", &order, V, &order, value, work, &lwork, &info);
    for (i = 0; i < p; i++) {
      for (k = 0; k < p; k++) {
        for (M[i + k * p] = i == k ? problem->noise / h : 0.0, j = 0; j < p; j++) M[i + k * p] += V[i + j * p] * fmax(0.0, value[j]) * V[k + j * p];
      }
    }
  }
  for (j = 0; j < N; j++) {
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_OBSERVATION, cycle, who[j]}, 0, p, z));
    for (i = 0; i < p; i++) R[i + j * p] = problem->y[i] - G[i + j * p] + (test->perturbed ? sqrt(problem->noise / h) * z[i] : 0.0);
  }
  PetscCall(DenseSolve(p, M, N, R));
  for (j = 0; j < N; j++) {
    for (i = 0; i < n; i++) {
      for (k = 0; k < p; k++) S[i + j * n] += su[i] * sg[k] * ug[i + k * n] * R[k + j * p];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test)
{
  Problem  problem = {.type = "eki", .options = test->options, .N = 8, .inputs = 9, .outputs = 1, .samples = 10, .noise = 0.4, .spread = 0.8};
  Twin     twin;
  double   U[MOST_N * MOST_J], V[MOST_N * MOST_J], S[MOST_N * MOST_J], far = 0.0;
  PetscInt n = 9, cycle, j, who[MOST_J], active;

  PetscFunctionBeginUser;
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, "-ensemble_block_rows 2", &twin));
  PetscCall(TwinState(&twin, U));
  for (cycle = 0; cycle < 2; cycle++) {
    for (j = 0, active = 0; j < problem.N; j++) {
      if (Fails(&problem, j)) continue;
      memcpy(S + active * n, U + j * n, (size_t)n * sizeof *S);
      who[active++] = j;
    }
    PetscCall(TwinCycle(&twin));
    PetscCall(Reference(test, &problem, n, cycle, active, who, S));
    PetscCall(TwinState(&twin, V));
    for (j = 0; j < active; j++) far = fmax(far, DenseDistance((size_t)n, S + j * n, V + who[j] * n));
    if (!(far <= 1e-7) && kal_holds) print_error("%s, cycle %d: %g from the formula\n", test->options, (int)cycle, far);
    KalHolds(far <= 1e-7);
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

static void CorrectionsFollowTheFormulas(void **state)
{
  (void)state;
  KalOnEachCount(FormulasOn, NULL);
}

/* How far what moved member 1 lies from the span of the first departures: least squares. */
static PetscErrorCode Outside(const char *options, double *part)
{
  Problem  problem = {.type = "eki", .options = options, .N = 4, .inputs = 9, .outputs = 1, .samples = 10, .noise = 0.4, .spread = 0.8};
  Twin     twin;
  double   U[MOST_N * MOST_J], V[MOST_N * MOST_J], X[MOST_N * 3], XX[9], c[3], moved[MOST_N], norm = 0.0;
  PetscInt n = 9;

  PetscFunctionBeginUser;
  MakeData(&problem);
  PetscCall(TwinCreate(PETSC_COMM_WORLD, &problem, "-ensemble_block_rows 2", &twin));
  PetscCall(TwinState(&twin, U));
  PetscCall(TwinCycle(&twin));
  PetscCall(TwinState(&twin, V));
  PetscCall(TwinDestroy(&twin));
  for (PetscInt i = 0; i < 3 * n; i++) X[i] = U[n + i] - U[i % n];
  for (PetscInt i = 0; i < n; i++) moved[i] = V[n + i] - U[n + i];
  for (PetscInt i = 0; i < n; i++) norm += moved[i] * moved[i];
  DenseTN(n, 3, 3, X, X, XX);
  DenseTN(n, 3, 1, X, moved, c);
  PetscCall(DenseSolve(3, XX, 1, c));
  for (PetscInt j = 0; j < 3; j++) {
    for (PetscInt i = 0; i < n; i++) moved[i] -= X[i + j * n] * c[j];
  }
  *part = 0.0;
  for (PetscInt i = 0; i < n; i++) *part += moved[i] * moved[i];
  *part = sqrt(*part / norm);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void DropoutLeavesTheSpan(void **state)
{
  double plain, whole, dropout;

  (void)state;
  KalCall(Outside("-eki_step 0.5", &plain));
  KalCall(Outside("-eki_step 0.5 -eki_correction dropout -eki_correction_probability 1", &whole)); /* nothing is dropped: eki */
  KalCall(Outside("-eki_step 0.5 -eki_correction dropout -eki_correction_probability 0.7", &dropout));
  KalAssert(plain < 1e-10 && whole < 1e-10 && dropout > 0.05);
}

static void Refusals(void **state)
{
  static const Refusal refused[] = {
      {"eki", "-eki_correction nice -eki_correction_tolerance -1",     "-eki_correction_tolerance -1" },
      {"eki", "-eki_correction sec -eki_correction_cutoff 1",          "-eki_correction_cutoff 1"     },
      {"eki", "-eki_correction sec -eki_correction_exponent -1",       "-eki_correction_exponent -1"  },
      {"eki", "-eki_correction dropout -eki_correction_probability 0", "-eki_correction_probability 0"},
      {"eki", "-eki_correction nice -eki_momentum nesterov",           "leave them out"               },
      {"eki", "-eki_correction nice -eki_prior true",                  "leave them out"               },
      {"eki", "-eki_correction nice -analysis_space ensemble",         "leave -analysis_space out"    },
  };

  (void)state;
  AreRefused(6, 9, PETSC_STATIC_ARRAY_LENGTH(refused), refused);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(CorrectionsFollowTheFormulas),
    cmocka_unit_test(DropoutLeavesTheSpan),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis correction", tests)
