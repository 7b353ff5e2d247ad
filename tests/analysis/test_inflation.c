/* ranks: 3 */
/* Inflation and rotation of the filters, each by its definition, and in the order that they state; on 1, 2 and 3 ranks. */
#include "filters.h"

#define N_STATE   5
#define N_MEMBERS 8
#define NUMBERS   (N_STATE * N_MEMBERS)

/* The members' departures from their mean, times a factor each row. */
static void Scale(double *U, const double *factor)
{
  double   mean[N_STATE];
  PetscInt i, j;

  DenseMean(N_STATE, N_MEMBERS, U, mean);
  for (j = 0; j < N_MEMBERS; j++) {
    for (i = 0; i < N_STATE; i++) U[i + j * N_STATE] = mean[i] + factor[i] * (U[i + j * N_STATE] - mean[i]);
  }
}

static void ScaleAll(double *U, double factor)
{
  double   all[N_STATE];
  PetscInt i;

  for (i = 0; i < N_STATE; i++) all[i] = factor;
  Scale(U, all);
}

/* RTPP by its definition: new anomalies (1 - a) x^a + a x^f. */
static void RelaxPerturbations(double a, const double *prior, double *U)
{
  double   mean[N_STATE], before[N_STATE];
  PetscInt i, j;

  DenseMean(N_STATE, N_MEMBERS, U, mean);
  DenseMean(N_STATE, N_MEMBERS, prior, before);
  for (j = 0; j < N_MEMBERS; j++) {
    for (i = 0; i < N_STATE; i++) U[i + j * N_STATE] = mean[i] + (1.0 - a) * (U[i + j * N_STATE] - mean[i]) + a * (prior[i + j * N_STATE] - before[i]);
  }
}

/* RTPS by its definition: anomalies of a row times 1 + a (s^f - s^a)/s^a. */
static void RelaxSpread(double a, const double *prior, double *U)
{
  double   mean[N_STATE], before[N_STATE * N_STATE], after[N_STATE * N_STATE], factor[N_STATE];
  PetscInt i;

  DenseMoments(N_STATE, N_MEMBERS, prior, mean, before);
  DenseMoments(N_STATE, N_MEMBERS, U, mean, after);
  for (i = 0; i < N_STATE; i++) {
    const double sf = sqrt(before[i + i * N_STATE]), sa = sqrt(after[i + i * N_STATE]);

    factor[i] = 1.0 + a * (sf - sa) / sa;
  }
  Scale(U, factor);
}

/* Draws keyed by cycle and member, their mean removed, times the prior's standard deviations. */
static PetscErrorCode AddDraws(double spread, PetscInt cycle, double *U)
{
  double   z[NUMBERS], mean[N_STATE];
  PetscInt i, j;

  PetscFunctionBeginUser;
  for (j = 0; j < N_MEMBERS; j++) PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_INFLATION, cycle, j}, 0, N_STATE, z + j * N_STATE));
  DenseMean(N_STATE, N_MEMBERS, z, mean);
  for (j = 0; j < N_MEMBERS; j++) {
    for (i = 0; i < N_STATE; i++) U[i + j * N_STATE] += spread * (1.0 + 0.4 * KalTestNumber(65, (uint64_t)i)) * (z[i + j * N_STATE] - mean[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const char *options;
  double      prior, rtpp, rtps, posterior, additive;
} Case;

/* What the options do is what the definitions do about a plain analysis, one after the other. */
static PetscErrorCode OneCase(MPI_Comm comm, const char *type, PetscInt p, const Case *c)
{
  const PetscInt    cycle = 4;
  const Setting     plain = {.type = type, .n = N_STATE, .N = N_MEMBERS, .p = p};
  Setting           set   = plain;
  double            U[NUMBERS], V[NUMBERS], prior[NUMBERS];
  KalAnalysisReport report = {.loss = 0.0};

  PetscFunctionBeginUser;
  set.options = c->options;
  FilterStart(&set, U);
  PetscCall(FilterOnce(comm, &set, cycle, U, &report));
  FilterStart(&plain, V);
  ScaleAll(V, c->prior);
  PetscCall(PetscArraycpy(prior, V, NUMBERS));
  PetscCall(FilterOnce(comm, &plain, cycle, V, NULL));
  if (c->rtpp > 0.0) RelaxPerturbations(c->rtpp, prior, V);
  if (c->rtps > 0.0) RelaxSpread(c->rtps, prior, V);
  ScaleAll(V, c->posterior);
  PetscCall(AddDraws(c->additive, cycle, V));
  if (strcmp(type, "enkfn")) KalNear(report.inflation, c->prior, 1e-14);
  KalNear(DenseDistance(NUMBERS, U, V), 0.0, 1e-10);
  if (DenseDistance(NUMBERS, U, V) > 1e-10) print_error("%s %s, p = %d\n", type, c->options, (int)p);
  PetscCall(KalSameBits(comm, U, sizeof U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DefinitionsOn(MPI_Comm comm, void *ctx)
{
  const char *types[] = {"etkf", "estkf", "denkf", "ensrf", "enkf", "enkfn"};
  const Case  cases[] = {
       {"-inflation_factor 1.2",                                                                                               1.0, 0.0, 0.0, 1.2, 0.0},
       {"-inflation_factor 1.2 -inflation_on posterior-anomalies",                                                             1.0, 0.0, 0.0, 1.2, 0.0},
       {"-inflation_factor 1.2 -inflation_on prior-anomalies",                                                                 1.2, 0.0, 0.0, 1.0, 0.0},
       {"-inflation_factor 1.44 -inflation_on prior-covariance",                                                               1.2, 0.0, 0.0, 1.0, 0.0},
       {"-inflation_factor 0.9",                                                                                               1.0, 0.0, 0.0, 0.9, 0.0},
       {"-inflation_rtpp 0.3",                                                                                                 1.0, 0.3, 0.0, 1.0, 0.0},
       {"-inflation_rtpp 1",                                                                                                   1.0, 1.0, 0.0, 1.0, 0.0},
       {"-inflation_rtps 0.7",                                                                                                 1.0, 0.0, 0.7, 1.0, 0.0},
       {"-inflation_additive 0.3",                                                                                             1.0, 0.0, 0.0, 1.0, 0.3},
       {"-inflation_factor 1.3 -inflation_on prior-anomalies -inflation_rtpp 0.2 -inflation_rtps 0.4 -inflation_additive 0.1", 1.3, 0.2, 0.4, 1.0, 0.1},
       {"-inflation_factor 1.3 -inflation_rtpp 0.2 -inflation_rtps 0.4 -inflation_additive 0.1",                               1.0, 0.2, 0.4, 1.3, 0.1},
  };
  size_t t, k;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < PETSC_STATIC_ARRAY_LENGTH(types); t++) {
    for (k = t % KALTEST_STRIDE; k < PETSC_STATIC_ARRAY_LENGTH(cases); k += KALTEST_STRIDE) {
      PetscCall(OneCase(comm, types[t], 3, &cases[k]));
      PetscCall(OneCase(comm, types[t], 14, &cases[k]));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void EachInflationIsItsDefinition(void **state)
{
  (void)state;
  KalOnEachCount(DefinitionsOn, NULL);
}

/* Logarithm of prior times likelihood of Anderson's factor, to be maximized. */
static double LogPosterior(double before, double sd, double p, double s, double rr, double f)
{
  return -0.5 * (f - before) * (f - before) / (sd * sd) - 0.5 * p * log(1.0 + f * s) - 0.5 * rr / (1.0 + f * s);
}

static double GridMode(double before, double sd, double least, double most, double p, double s, double rr)
{
  double   low = least, high = most, at = least, best, width;
  PetscInt pass, i;

  for (pass = 0; pass < 4; pass++) {
    best  = -INFINITY;
    width = high - low;
    for (i = 0; i <= 1000; i++) {
      const double f = low + width * i / 1000.0, value = LogPosterior(before, sd, p, s, rr, f);

      if (value > best) {
        best = value;
        at   = f;
      }
    }
    low  = fmax(least, at - width / 500.0);
    high = fmin(most, at + width / 500.0);
  }
  return at;
}

typedef struct {
  const char *options;
  double      sd, least, most;
  PetscBool   anderson;
  double      spread; /* of the first members, times FilterStart()'s */
} Adaptive;

/* From the members and the arrays that one filter has, another one with the same options goes on with the same bits. */
static PetscErrorCode GoOn(MPI_Comm comm, Filter *f)
{
  Setting  set = f->set;
  double   U[NUMBERS], V[NUMBERS];
  PetscInt k, count;
  KalArray arrays[2][KAL_ANALYSIS_ARRAYS];
  Filter   g;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGatherRows(f->ensemble, U));
  PetscCall(FilterCreate(comm, &set, U, &g));
  PetscCall(KalAnalysisGetArrays(f->analysis, &count, arrays[0]));
  PetscCall(KalAnalysisGetArrays(g.analysis, &count, arrays[1]));
  for (k = 0; k < count; k++) PetscCall(PetscArraycpy(arrays[1][k].data, arrays[0][k].data, arrays[0][k].count));
  g.cycle = f->cycle;
  PetscCall(FilterAnalyse(&g, PETSC_TRUE));
  PetscCall(FilterAnalyse(f, PETSC_TRUE));
  PetscCall(KalEnsembleGatherRows(f->ensemble, U));
  PetscCall(KalEnsembleGatherRows(g.ensemble, V));
  KalHolds(!memcmp(U, V, sizeof U) && !memcmp(arrays[0][0].data, arrays[1][0].data, 2 * sizeof(double)));
  PetscCall(FilterDestroy(&g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Six cycles: the factor that each one uses, from the forecast's moments by hand; and an etkf with that factor has the same members. */
static PetscErrorCode Follow(MPI_Comm comm, const Adaptive *c)
{
  const PetscInt p   = 7;
  Setting        set = {.type = "etkf", .options = c->options, .n = N_STATE, .N = N_MEMBERS, .p = p};
  double         U[NUMBERS], V[NUMBERS], A[MOST_OBS * N_MEMBERS], r[MOST_OBS], factor = fmax(1.0, c->least), trace, rr, moved = 0.0;
  char           text[128];
  PetscInt       cycle, i, count;
  KalArray       arrays[KAL_ANALYSIS_ARRAYS];
  Filter         f;

  PetscFunctionBeginUser;
  FilterStart(&set, U);
  ScaleAll(U, c->spread);
  PetscCall(FilterCreate(comm, &set, U, &f));
  PetscCall(KalAnalysisGetArrays(f.analysis, &count, arrays));
  KalHolds(count == 1 && arrays[0].count == 2 && arrays[0].data[0] == factor);
  for (cycle = 0; cycle < 6; cycle++) {
    const Setting given = {.type = "etkf", .options = text, .n = N_STATE, .N = N_MEMBERS, .p = p};

    PetscCall(FilterForecast(&f));
    PetscCall(KalEnsembleGatherRows(f.ensemble, U));
    PetscCall(FilterAnalyse(&f, PETSC_TRUE));
    PetscCall(KalEnsembleGatherRows(f.ensemble, V));
    DenseWhiten(&f, N_MEMBERS, U, A, r);
    for (i = 0, trace = 0.0; i < p * N_MEMBERS; i++) trace += A[i] * A[i];
    for (i = 0, rr = 0.0; i < p; i++) rr += r[i] * r[i];
    if (c->anderson) factor = GridMode(factor, c->sd, c->least, c->most, p, trace / p, rr);
    else {
      const double observed = (rr - p) / trace, error = 2.0 / p * pow((factor * trace + p) / trace, 2.0), before = c->sd * c->sd;

      factor = fmin(c->most, fmax(c->least, (observed * before + factor * error) / (before + error)));
    }
    moved = fmax(moved, fabs(factor - 1.0));
    KalNear(f.report.inflation * f.report.inflation, factor, c->anderson ? 1e-5 : 1e-12);
    KalNear(arrays[0].data[0], factor, c->anderson ? 1e-5 : 1e-12);
    factor = arrays[0].data[0];
    KalNear(f.report.innovation, rr / (factor * trace + p), 1e-10);
    PetscCall(PetscSNPrintf(text, sizeof text, "-inflation_on prior-covariance -inflation_factor %.17g", factor));
    PetscCall(FilterOnce(comm, &given, cycle, U, NULL));
    KalNear(DenseDistance(NUMBERS, U, V), 0.0, 1e-10);
  }
  KalHolds(moved > 1e-3);
  PetscCall(KalSameBits(comm, arrays[0].data, 2 * sizeof(double)));
  PetscCall(GoOn(comm, &f));
  PetscCall(FilterDestroy(&f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AdaptiveOn(MPI_Comm comm, void *ctx)
{
  const Adaptive cases[] = {
      {"-inflation_adaptive anderson",                                                          0.05, 1.0, 10.0, PETSC_TRUE,  0.3 },
      {"-inflation_adaptive anderson -inflation_adaptive_sd 1",                                 1.0,  1.0, 10.0, PETSC_TRUE,  0.3 },
      {"-inflation_adaptive anderson -inflation_adaptive_sd 0.4 -inflation_adaptive_least 0.2", 0.4,  0.2, 10.0, PETSC_TRUE,  20.0}, /* too much spread: the factor falls */
      {"-inflation_adaptive anderson -inflation_adaptive_sd 5 -inflation_adaptive_most 1.5",    5.0,  1.0, 1.5,  PETSC_TRUE,  0.05}, /* up to its bound */
      {"-inflation_adaptive miyoshi",                                                           0.05, 1.0, 10.0, PETSC_FALSE, 0.3 },
      {"-inflation_adaptive miyoshi -inflation_adaptive_sd 1 -inflation_adaptive_least 0.5",    1.0,  0.5, 10.0, PETSC_FALSE, 20.0},
      {"-inflation_adaptive miyoshi -inflation_adaptive_sd 5 -inflation_adaptive_most 1.5",     5.0,  1.0, 1.5,  PETSC_FALSE, 0.05},
  };
  size_t k;

  PetscFunctionBeginUser;
  (void)ctx;
  for (k = 0; k < PETSC_STATIC_ARRAY_LENGTH(cases); k++) PetscCall(Follow(comm, &cases[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void AdaptiveFactorsFollowTheInnovation(void **state)
{
  (void)state;
  KalOnEachCount(AdaptiveOn, NULL);
}

enum {
  N_ROTATED = 6,
  CYCLES    = 200
};

/*
  The rotation of a cycle, from the anomalies of two filters, one without and one with it: with N - 1 state entries these span all but the
  mean. Also returns both means.
*/
static PetscErrorCode RotationOf(Filter filter[2], PetscInt cycle, double *Q, double *mean)
{
  const PetscInt N = N_ROTATED;
  double         U[2][N_ROTATED * N_ROTATED], M[N_ROTATED * N_ROTATED];
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  for (k = 0; k < 2; k++) {
    FilterStart(&filter[k].set, U[k]);
    PetscCall(FilterFill(&filter[k], U[k]));
    filter[k].cycle = cycle;
    PetscCall(FilterAnalyse(&filter[k], PETSC_TRUE));
    PetscCall(KalEnsembleGatherRows(filter[k].ensemble, U[k]));
    DenseMean(N - 1, N, U[k], mean + k * (N - 1));
  }
  for (j = 0; j < N; j++) { /* [anomalies; 1'] Q = [rotated; 1'] */
    for (i = 0; i < N; i++) {
      M[i + j * N] = i < N - 1 ? U[0][i + j * (N - 1)] - mean[i] : 1.0;
      Q[i + j * N] = i < N - 1 ? U[1][i + j * (N - 1)] - mean[i] : 1.0;
    }
  }
  PetscCall(DenseSolve(N, M, N, Q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RotationOn(MPI_Comm comm, void *ctx)
{
  const Setting set[2] = {
      {.type = "etkf",      .n = N_ROTATED - 1, .N = N_ROTATED, .p = 3                       },
      { .type = "etkf", .n = N_ROTATED - 1,     .N = N_ROTATED,         .p = 3, .options = "-analysis_rotate"}
  };
  const PetscInt N = N_ROTATED;
  Filter         filter[2];
  double         U[N_ROTATED * N_ROTATED], Q[N_ROTATED * N_ROTATED], QQ[N_ROTATED * N_ROTATED], first[N_ROTATED * N_ROTATED], mean[2 * N_ROTATED] = {0.0}, trace = 0.0, square = 0.0, fourth = 0.0;
  PetscInt       cycle, i, j;

  PetscFunctionBeginUser;
  (void)ctx;
  FilterStart(&set[0], U);
  for (i = 0; i < 2; i++) PetscCall(FilterCreate(comm, &set[i], U, &filter[i]));
  for (cycle = 0; cycle < CYCLES; cycle++) {
    double t = 0.0, s = 0.0;

    PetscCall(RotationOf(filter, cycle, Q, mean));
    if (cycle < 3) {
      DenseTN(N, N, N, Q, Q, QQ);
      for (i = 0; i < N; i++) {
        for (j = 0; j < N; j++) KalNear(QQ[i + j * N], i == j, 1e-9);
      }
      KalNear(DenseDistance(N - 1, mean, mean + N - 1), 0.0, 1e-12);
      PetscCall(KalSameBits(comm, Q, sizeof Q));
      KalHolds(!cycle || DenseDistance(N * N, Q, first) > 0.1);
      if (!cycle) PetscCall(PetscArraycpy(first, Q, N * N));
    }
    for (i = 0; i < N; i++) {
      t += Q[i + i * N];
      for (j = 0; j < N; j++) s += Q[i + j * N] * Q[j + i * N];
    }
    trace += (t - 1.0) / CYCLES; /* less the part that keeps the mean */
    fourth += (t - 1.0) * (t - 1.0) / CYCLES;
    square += (s - 1.0) / CYCLES;
  }
  /* Uniform on O(5): the trace has mean 0 and variance 1, the trace of the square mean 1 and variance 2 (Diaconis and Shahshahani 1994). */
  KalNear(trace, 0.0, 4.0 / sqrt(CYCLES));
  KalNear(fourth, 1.0, 4.0 * sqrt(2.0 / CYCLES));
  KalNear(square, 1.0, 4.0 * sqrt(2.0 / CYCLES));
  for (i = 0; i < 2; i++) PetscCall(FilterDestroy(&filter[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void RotationsAreRandomAndKeepTheMean(void **state)
{
  (void)state;
  KalOnEachCount(RotationOn, NULL);
}

/* Diagnostics against their definitions, with and without inflation of the prior. */
static PetscErrorCode ReportsOn(MPI_Comm comm, void *ctx)
{
  const char    *types[] = {"etkf", "estkf", "denkf", "ensrf", "enkf"};
  const PetscInt sizes[] = {3, 14};
  double         U[NUMBERS], A[MOST_OBS * N_MEMBERS], S[MOST_OBS * MOST_OBS], r[MOST_OBS], x[MOST_OBS * MOST_OBS];
  PetscInt       t, s, i, j;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < 5; t++) {
    for (s = 0; s < 2; s++) {
      const PetscInt p     = sizes[s];
      const Setting  set   = {.type = types[t], .options = "-inflation_on prior-anomalies -inflation_factor 1.1", .n = N_STATE, .N = N_MEMBERS, .p = p};
      double         trace = 0.0, frobenius = 0.0, rr = 0.0, dfs = 0.0;
      Filter         f;

      FilterStart(&set, U);
      PetscCall(FilterCreate(comm, &set, U, &f));
      PetscCall(FilterAnalyse(&f, PETSC_TRUE));
      DenseWhiten(&f, N_MEMBERS, U, A, r);
      for (i = 0; i < p * N_MEMBERS; i++) A[i] *= 1.1;
      for (i = 0; i < p; i++) {
        rr += r[i] * r[i];
        for (j = 0; j < p; j++) {
          PetscInt k;

          for (k = 0, S[i + j * p] = 0.0; k < N_MEMBERS; k++) S[i + j * p] += A[i + k * p] * A[j + k * p];
          x[i + j * p] = S[i + j * p];
          frobenius += S[i + j * p] * S[i + j * p];
        }
        trace += S[i + i * p];
      }
      for (i = 0; i < p; i++) S[i + i * p] += 1.0;
      PetscCall(DenseSolve(p, S, p, x));
      for (i = 0; i < p; i++) dfs += x[i + i * p];
      KalNear(f.report.dfs, dfs, 1e-10);
      KalNear(f.report.effective, 1.0 + trace * trace / frobenius, 1e-10);
      KalNear(f.report.innovation, rr / (trace + p), 1e-10);
      KalNear(f.report.loss, 0.5 * rr / p, 1e-10);
      KalNear(f.report.inflation, 1.1, 1e-14);
      PetscCall(FilterDestroy(&f));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void ReportsAreTheirDefinitions(void **state)
{
  (void)state;
  KalOnEachCount(ReportsOn, NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(EachInflationIsItsDefinition),
    cmocka_unit_test(AdaptiveFactorsFollowTheInnovation),
    cmocka_unit_test(RotationsAreRandomAndKeepTheMean),
    cmocka_unit_test(ReportsAreTheirDefinitions),
};

KAL_TEST_MAIN("analysis inflation", tests)
