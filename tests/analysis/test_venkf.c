/* ranks: 3 */
/*
  venkf on 1, 2 and 3 ranks: counts with a rate exp(H x) against the posterior by quadrature and against the conditions of the least
  divergence, class labels against those of the mean, Gaussian errors against etkf, in entries of any units.
*/
#include "filters.h"

#define GRID 21

/* The quantile of a standard normal distribution, by bisection. */
static double Quantile(double part)
{
  double low = -10.0, high = 10.0;

  for (int k = 0; k < 80; k++) {
    const double x = 0.5 * (low + high);

    if (0.5 * erfc(-x / sqrt(2.0)) < part) low = x;
    else high = x;
  }
  return low;
}

static PetscErrorCode Fill(Twin *twin, const double *U)
{
  PetscInt first, last;
  double  *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(twin->ensemble, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(twin->ensemble, j, &x));
    PetscCall(PetscArraycpy(x, U + (size_t)j * twin->n, twin->n));
  }
  PetscCall(KalEnsembleChanged(twin->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* U (n x N) after one analysis. */
static PetscErrorCode Analyse(MPI_Comm comm, const Problem *problem, double *U)
{
  Twin twin;

  PetscFunctionBeginUser;
  PetscCall(TwinCreate(comm, problem, "-ensemble_block_rows 4 -venkf_tolerance 1e-20", &twin));
  PetscCall(Fill(&twin, U));
  PetscCall(TwinCycle(&twin));
  KalHolds(twin.verdict == KAL_VERDICT_ACCEPT && isfinite(twin.report.loss));
  PetscCall(TwinState(&twin, U));
  PetscCall(KalSameBits(comm, U, (size_t)twin.n * twin.N * sizeof *U));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean and covariance of prior times likelihood of counts, on a grid of 401 x 401 places, the prior that of the members. */
static PetscErrorCode Quadrature(const Problem *problem, const double *m, const double *C, double *mean, double *covariance)
{
  const double det = C[0] * C[3] - C[1] * C[2];
  double       sum = 0.0, first[2] = {0.0, 0.0}, second[4] = {0.0};

  PetscFunctionBeginUser;
  for (int a = -200; a <= 200; a++) {
    for (int b = -200; b <= 200; b++) {
      const double d[2] = {0.03 * a * sqrt(C[0]), 0.03 * b * sqrt(C[3])};
      double       f    = -0.5 * (C[3] * d[0] * d[0] - 2.0 * C[1] * d[0] * d[1] + C[0] * d[1] * d[1]) / det;

      for (PetscInt s = 0; s < problem->samples; s++) {
        const double g = problem->x[2 * s] * (m[0] + d[0]) + problem->x[2 * s + 1] * (m[1] + d[1]);

        f += problem->y[s] * g - exp(g);
      }
      f = exp(f);
      sum += f;
      for (int i = 0; i < 2; i++) first[i] += f * d[i];
      for (int i = 0; i < 4; i++) second[i] += f * d[i % 2] * d[i / 2];
    }
  }
  for (int i = 0; i < 2; i++) mean[i] = m[i] + first[i] / sum;
  for (int i = 0; i < 4; i++) covariance[i] = second[i] / sum - first[i % 2] * first[i / 2] / sum / sum;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members that lie as a Gaussian does: the posterior's mean and covariance, but for what the best Gaussian is off by. */
static PetscErrorCode CountsOn(MPI_Comm comm, void *ctx)
{
  static const double x[]     = {1.0, 0.2, 0.5, -0.7, 1.2, 0.4, -0.3, 1.0, 0.1, 0.9};
  static const double y[]     = {4.0, 1.0, 5.0, 2.0, 3.0};
  const Problem       problem = {.type = "venkf", .options = "-observations_loss poisson", .N = GRID * GRID, .inputs = 2, .outputs = 1, .samples = 5, .x = x, .y = y, .noise = 1.0};
  double              U[2 * GRID * GRID], m[2], C[4], mean[2], covariance[4];

  PetscFunctionBeginUser;
  (void)ctx;
  for (int j = 0; j < GRID * GRID; j++) {
    const double u = Quantile((j % GRID + 0.5) / GRID), v = Quantile((j / GRID + 0.5) / GRID);

    U[2 * j]     = 0.4 + 0.6 * u;
    U[2 * j + 1] = 0.1 + 0.3 * u + 0.5 * v;
  }
  DenseMoments(2, problem.N, U, m, C);
  PetscCall(Quadrature(&problem, m, C, mean, covariance));
  PetscCall(Analyse(comm, &problem, U));
  DenseMoments(2, problem.N, U, m, C);
  for (int i = 0; i < 2; i++) KalNear(m[i], mean[i], 0.02 * sqrt(covariance[3 * i]));
  for (int i = 0; i < 4; i++) KalNear(C[i], covariance[i], 0.03 * sqrt(covariance[0] * covariance[3]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void CountsHaveTheirPosterior(void **state)
{
  (void)state;
  KalOnEachCount(CountsOn, NULL);
}

/*
  One unknown, few members: with b and beta = B of the map, (m' - m)/sd = b and sd'/sd = beta, the derivatives of F vanish, its means being those of
  the members themselves. Two failed.
*/
static PetscErrorCode OneUnknownOn(MPI_Comm comm, void *ctx)
{
  static const double x[] = {1.0, 0.5, 1.2}, y[] = {4.0, 0.0, 7.0};
  Problem             problem = {.type = "venkf", .options = "-observations_loss poisson", .N = 9, .inputs = 1, .outputs = 1, .samples = 3, .x = x, .y = y, .noise = 1.0};
  double              U[9], V[7], m = 0.0, sd = 0.0, to = 0.0, tosd = 0.0, b, beta, Fb, Fbeta;

  PetscFunctionBeginUser;
  (void)ctx;
  FailMembers(&problem, "0,5");
  for (int j = 0, k = 0; j < 9; j++) {
    U[j] = 0.5 + 0.8 * KalTestNumber(71, (uint64_t)j);
    if (j && j != 5) V[k++] = U[j];
  }
  PetscCall(Analyse(comm, &problem, U));
  for (int j = 0; j < 9; j++) to += j && j != 5 ? U[j] / 7.0 : 0.0;
  for (int j = 0; j < 9; j++) tosd += j && j != 5 ? (U[j] - to) * (U[j] - to) / 6.0 : 0.0;
  for (int j = 0; j < 7; j++) m += V[j] / 7.0;
  for (int j = 0; j < 7; j++) sd += (V[j] - m) * (V[j] - m) / 6.0;
  sd   = sqrt(sd);
  tosd = sqrt(tosd);
  b = Fb = (to - m) / sd;
  beta   = tosd / sd;
  Fbeta  = beta - 1.0 / beta;
  for (int j = 0; j < 7; j++) {
    const double z = sqrt(7.0 / 6.0) * (V[j] - m) / sd, at = m + sd * (beta * z + b);

    for (int s = 0; s < 3; s++) {
      Fb += sd * x[s] * (exp(x[s] * at) - y[s]) / 7.0;
      Fbeta += sd * x[s] * (exp(x[s] * at) - y[s]) * z / 7.0;
    }
  }
  KalHolds(fabs(b) > 0.1 && beta < 0.9 && isfinite(U[0]) && isfinite(U[5]));
  KalNear(Fb, 0.0, 1e-8);
  KalNear(Fbeta, 0.0, 1e-8);
  for (int j = 0, k = 0; j < 9; j++) {
    if (j && j != 5) KalNear(U[j], to + beta * (V[k++] - m), 1e-10);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void DerivativesVanish(void **state)
{
  (void)state;
  KalOnEachCount(OneUnknownOn, NULL);
}

/* Class labels: C^-1 (m' - m) is the mean of the members' scores, by loops over samples and classes; 6 unknowns, 20 members. */
static PetscErrorCode LabelsOn(MPI_Comm comm, void *ctx)
{
  Problem  problem = {.type = "venkf", .N = 20, .inputs = 2, .outputs = 3, .samples = 8, .labels = PETSC_TRUE, .noise = 1.0};
  double   U[6 * 20], m[6], C[36], to[6], Cto[36], score[6] = {0.0}, right[6];
  PetscInt i, j, s, k;

  PetscFunctionBeginUser;
  (void)ctx;
  MakeData(&problem);
  for (i = 0; i < 6 * 20; i++) U[i] = 1.5 * KalTestNumber(72, (uint64_t)i);
  DenseMoments(6, 20, U, m, C);
  PetscCall(Analyse(comm, &problem, U));
  DenseMoments(6, 20, U, to, Cto);
  for (j = 0; j < 20; j++) {
    for (s = 0; s < 8; s++) {
      double p[3], sum = 0.0;

      for (k = 0; k < 3; k++) {
        p[k] = 0.0;
        for (i = 0; i < 2; i++) p[k] += problem.x[2 * s + i] * (to[2 * k + i] + sqrt(20.0 / 19.0) * (U[2 * k + i + 6 * j] - to[2 * k + i]));
        p[k] = exp(p[k]);
        sum += p[k];
      }
      for (k = 0; k < 3; k++) {
        for (i = 0; i < 2; i++) score[2 * k + i] += ((k == (PetscInt)problem.y[s]) - p[k] / sum) * problem.x[2 * s + i] / 20.0;
      }
    }
  }
  for (i = 0; i < 6; i++) right[i] = to[i] - m[i];
  PetscCall(DenseSolve(6, C, 1, right));
  KalNear(DenseDistance(6, right, score), 0.0, 1e-8);
  KalHolds(fabs(score[0]) > 1e-2);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void LabelsMoveTheMeanByTheMeanScore(void **state)
{
  (void)state;
  KalOnEachCount(LabelsOn, NULL);
}

/* Gaussian errors, fewer members than unknowns: the members of etkf, inflation and rotation included. */
static PetscErrorCode GaussianOn(MPI_Comm comm, void *ctx)
{
  static const char *const options = "-inflation_factor 1.1 -inflation_on prior-anomalies -inflation_rtpp 0.2 -analysis_rotate -venkf_tolerance 1e-20";
  double                   U[2][MOST_STATE * 9];
  KalAnalysisReport        report[2];

  PetscFunctionBeginUser;
  (void)ctx;
  for (PetscInt p = 4; p <= 20; p += 16) {
    for (int t = 0; t < 2; t++) {
      const Setting set = {.type = t ? "etkf" : "venkf", .options = options, .n = 12, .N = 9, .p = p};

      FilterStart(&set, U[t]);
      PetscCall(FilterOnce(comm, &set, 2, U[t], &report[t]));
    }
    KalNear(DenseDistance(12 * 9, U[0], U[1]), 0.0, 1e-7);
    KalNear(report[0].dfs, report[1].dfs, 1e-8);
    KalNear(report[0].effective, report[1].effective, 1e-8);
    PetscCall(KalSameBits(comm, U[0], sizeof U[0]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void GaussianErrorsAreThoseOfEtkf(void **state)
{
  (void)state;
  KalOnEachCount(GaussianOn, NULL);
}

/*
  More members than unknowns, entries in small units, all but alike, and the same in all members (in which nothing is but rounding): mean and
  covariance are etkf's in their own units.
*/
static PetscErrorCode UnitsOn(MPI_Comm comm, void *ctx)
{
  double U[2][5 * 40], mean[2][5], C[2][25];
  Filter f;

  PetscFunctionBeginUser;
  (void)ctx;
  for (int t = 0; t < 2; t++) {
    const Setting set = {.type = t ? "etkf" : "venkf", .options = "-venkf_tolerance 1e-20", .n = 5, .N = 40, .p = 4};

    FilterStart(&set, U[t]);
    for (int j = 0; j < 40; j++) {
      double *u = U[t] + 5 * j;

      u[1] *= 1e-8;
      u[3] = u[2] + 1e-7 * u[3];
      u[4] = 0.1;
    }
    PetscCall(FilterCreate(comm, &set, U[t], &f));
    for (int i = 0; i < 4; i++) f.H[i + 4] *= 1e8; /* which the observations look at no less */
    PetscCall(FilterAnalyse(&f, PETSC_TRUE));
    PetscCall(KalEnsembleGatherRows(f.ensemble, U[t]));
    PetscCall(FilterDestroy(&f));
    for (int j = 0; j < 40; j++) U[t][5 * j + 3] -= U[t][5 * j + 2];
    DenseMoments(5, 40, U[t], mean[t], C[t]);
  }
  for (int i = 0; i < 4; i++) {
    KalNear(mean[0][i], mean[1][i], 1e-6 * sqrt(C[1][6 * i]));
    for (int k = 0; k < 4; k++) KalNear(C[0][i + 5 * k], C[1][i + 5 * k], 1e-6 * sqrt(C[1][6 * i] * C[1][6 * k]));
  }
  KalNear(mean[0][4], 0.1, 1e-14);
  KalHolds(C[0][24] < 1e-28 && C[1][6] > 1e-18 && C[1][6] < 1e-16);
  PetscCall(KalSameBits(comm, U[0], sizeof U[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void EntriesKeepTheirUnits(void **state)
{
  (void)state;
  KalOnEachCount(UnitsOn, NULL);
}

static PetscErrorCode SetUp(const char *options)
{
  const Setting set = {.type = "venkf", .options = options, .n = 3, .N = 5};
  KalAnalysis   analysis;

  PetscFunctionBeginUser;
  PetscCall(FilterAnalysis(PETSC_COMM_WORLD, &set, &analysis));
  PetscCall(KalAnalysisDestroy(&analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void BadOptionsAreRefused(void **state)
{
  (void)state;
  KalRefused(SetUp("-venkf_iterations 0"), "-venkf_iterations 0: must be 1 or more");
  KalRefused(SetUp("-venkf_tolerance 0"), "-venkf_tolerance 0.: must be positive");
  KalRefused(SetUp("-analysis_space observation"), "venkf works in ensemble space");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(CountsHaveTheirPosterior),
    cmocka_unit_test(DerivativesVanish),
    cmocka_unit_test(LabelsMoveTheMeanByTheMeanScore),
    cmocka_unit_test(GaussianErrorsAreThoseOfEtkf),
    cmocka_unit_test(EntriesKeepTheirUnits),
    cmocka_unit_test(BadOptionsAreRefused),
};

KAL_TEST_MAIN("analysis venkf", tests)
