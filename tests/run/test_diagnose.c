/* ranks: 1 2 3 */
/* Scores of members against a truth, by their definitions; means over time with their errors; divergence. */
#include "kaltest.h"
#include "run/diagnose.c" /* what it tests is hidden in the library */

#define ENTRIES 83
#define MEMBERS 9

/* A run that has what a diagnosis looks at, and no more. */
static void MakeRun(KalRun run, PetscBool truth)
{
  PetscScalar *x;
  PetscReal    z[ENTRIES];
  PetscInt     first, last, rows;
  KalKey       key = {.seed = 5, .purpose = KAL_DRAW_TEST};

  memset(run, 0, sizeof *run);
  run->comm = PETSC_COMM_WORLD;
  run->n    = ENTRIES;
  run->N    = MEMBERS;
  MPI_Comm_rank(run->comm, &run->rank);
  MPI_Comm_size(run->comm, &run->size);
  KalCall(PetscCalloc1(MEMBERS + 1, &run->ranks));
  KalCall(KalEnsembleCreate(run->comm, &run->ensemble));
  KalCall(KalEnsembleSetSizes(run->ensemble, ENTRIES, MEMBERS));
  KalCall(KalEnsembleSetBlockRows(run->ensemble, 17));
  KalCall(KalEnsembleSetUp(run->ensemble));
  KalCall(KalEnsembleGetOwnershipRange(run->ensemble, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    key.member = j;
    KalEnsembleGetMember(run->ensemble, j, &x);
    KalDrawNormal(key, 0, ENTRIES, z);
    for (int i = 0; i < ENTRIES; i++) x[i] = z[i];
  }
  KalCall(KalEnsembleChanged(run->ensemble));
  if (!truth) return;
  KalCall(KalEnsembleGetBlocks(run->ensemble, &rows, NULL));
  KalCall(KalEnsembleCreate(run->comm, &run->truth));
  KalCall(KalEnsembleSetSizes(run->truth, ENTRIES, 1));
  KalCall(KalEnsembleSetBlockRows(run->truth, rows));
  KalCall(KalEnsembleSetUp(run->truth));
  KalCall(KalEnsembleGetOwnershipRange(run->truth, &first, &last));
  key.member = 100;
  KalCall(KalDrawNormal(key, 0, ENTRIES, z));
  if (first < last) {
    KalEnsembleGetMember(run->truth, 0, &x);
    for (int i = 0; i < ENTRIES; i++) x[i] = z[i];
  }
  KalCall(KalEnsembleChanged(run->truth));
}

static void DestroyRun(KalRun run)
{
  KalCall(KalEnsembleDestroy(&run->ensemble));
  KalCall(KalEnsembleDestroy(&run->truth));
  KalCall(PetscFree3(run->sums, run->row, run->column));
  KalCall(PetscFree(run->ranks));
}

typedef struct {
  double square, variance, crps, ranks[MEMBERS + 1];
} Expected;

/* The definitions: CRPS = E|x - t| - E|x - x'|/2 over the members. */
static void Expect(const KalStatus *status, Expected *e)
{
  KalKey    key = {.seed = 5, .purpose = KAL_DRAW_TEST};
  PetscReal x[MEMBERS][ENTRIES], t[ENTRIES];

  memset(e, 0, sizeof *e);
  for (int j = 0; j < MEMBERS; j++) {
    key.member = j;
    KalCall(KalDrawNormal(key, 0, ENTRIES, x[j]));
  }
  key.member = 100;
  KalCall(KalDrawNormal(key, 0, ENTRIES, t));
  for (int i = 0; i < ENTRIES; i++) {
    double mean = 0.0, square = 0.0, first = 0.0, second = 0.0;
    int    count = 0, below = 0;

    for (int j = 0; j < MEMBERS; j++) {
      if (status && status[j]) continue;
      mean += x[j][i];
      first += fabs(x[j][i] - t[i]);
      below += x[j][i] < t[i];
      count++;
      for (int k = 0; k < MEMBERS; k++)
        if (!status || !status[k]) second += fabs(x[j][i] - x[k][i]);
    }
    mean /= count;
    for (int j = 0; j < MEMBERS; j++)
      if (!status || !status[j]) square += (x[j][i] - mean) * (x[j][i] - mean);
    e->square += (mean - t[i]) * (mean - t[i]);
    e->variance += square / (count - 1);
    e->crps += first / count - 0.5 * second / count / count;
    e->ranks[below] += 1.0;
  }
}

static void test_scores(void **state)
{
  const KalStatus  failed[MEMBERS] = {0, 0, KAL_MEMBER_FAILED, 0, 0, 0, KAL_MEMBER_NONFINITE, 0, 0};
  const KalStatus *status[2]       = {NULL, failed};
  struct _p_KalRun run;
  KalDiagnosis     d;
  Expected         e;

  (void)state;
  for (int s = 0; s < 2; s++) {
    MakeRun(&run, PETSC_TRUE);
    Expect(status[s], &e);
    KalCall(KalRunDiagnose(&run, run.ensemble, status[s], &d));
    KalAssertNear(d.rmse, sqrt(e.square / ENTRIES), 1e-13);
    KalAssertNear(d.spread, sqrt(e.variance / ENTRIES), 1e-13);
    KalAssertNear(d.crps, e.crps / ENTRIES, 1e-13);
    run.burnin = 2.0;
    KalCall(KalRunCountRanks(&run, 2.0)); /* not yet */
    KalCall(KalRunCountRanks(&run, 2.5));
    for (int k = 0; k <= MEMBERS; k++) KalAssertNear(run.ranks[k], e.ranks[k], 0.0);
    KalAssertNear(KalRunOutliers(&run), (e.ranks[0] + e.ranks[MEMBERS]) / ENTRIES, 1e-15);
    DestroyRun(&run);
  }
}

static void test_no_truth(void **state)
{
  struct _p_KalRun run;
  KalDiagnosis     d;
  Expected         e;

  (void)state;
  MakeRun(&run, PETSC_FALSE);
  Expect(NULL, &e);
  KalCall(KalRunDiagnose(&run, run.ensemble, NULL, &d));
  KalAssertNear(d.spread, sqrt(e.variance / ENTRIES), 1e-13);
  KalAssert(isnan(d.rmse) && isnan(d.crps));
  DestroyRun(&run);
}

#define CYCLES 10000

/* An autoregressive series, whose mean has a known error: sd (1 + a)/(1 - a) under the root, over the number of cycles. */
static void test_time_mean(void **state)
{
  const double     a   = 0.9;
  struct _p_KalRun run = {.burnin = 500.0, .cycle = CYCLES};
  static double    x[CYCLES], time[CYCLES], z[CYCLES];
  PetscReal        mean, error;
  double           sum      = 0.0;
  const double     expected = sqrt(1.0 / (1.0 - a) / (1.0 - a) / (CYCLES - 500));

  (void)state;
  KalCall(KalDrawNormal((KalKey){.seed = 7, .purpose = KAL_DRAW_TEST}, 0, CYCLES, z));
  for (int k = 0; k < CYCLES; k++) {
    x[k]    = k ? a * x[k - 1] + z[k] : 1e6; /* the start must not count */
    time[k] = k + 1.0;
    if (k == 499) x[k] = 0.0;
    if (k >= 500) sum += x[k];
  }
  run.history[KAL_HISTORY_RMSE_ANALYSIS] = x;
  run.history[KAL_HISTORY_MODEL_TIME]    = time;
  KalRunTimeMean(&run, KAL_HISTORY_RMSE_ANALYSIS, &mean, &error);
  KalAssertNear(mean, sum / (CYCLES - 500), 1e-12);
  KalAssert(error > 0.75 * expected && error < 1.25 * expected);
  run.burnin = 2.0 * CYCLES;
  KalRunTimeMean(&run, KAL_HISTORY_RMSE_ANALYSIS, &mean, &error);
  KalAssert(isnan(mean) && isnan(error));

  run.burnin = 500.0;
  x[600] = x[700]                     = NAN; /* a cycle without observations has no innovation, but every one has an error */
  run.history[KAL_HISTORY_INNOVATION] = x;
  KalRunTimeMean(&run, KAL_HISTORY_INNOVATION, &mean, NULL);
  sum = 0.0;
  for (int k = 500; k < CYCLES; k++) sum += isnan(x[k]) ? 0.0 : x[k];
  KalAssertNear(mean, sum / (CYCLES - 502), 1e-12);
  KalRunTimeMean(&run, KAL_HISTORY_RMSE_ANALYSIS, &mean, &error);
  KalAssert(isnan(mean));
}

static void test_divergence(void **state)
{
  double           rmse[60], spread[60], innovation[60], observations[60], rejected[60];
  struct _p_KalRun run = {.divergence = 3.0, .N = 10, .truth = (KalEnsemble)rmse, .cycle = 60};

  (void)state;
  for (int k = 0; k < 60; k++) {
    rmse[k]         = 1.0;
    spread[k]       = 0.5;
    innovation[k]   = 1.5;
    observations[k] = 40.0;
    rejected[k]     = 1.0;
  }
  run.history[KAL_HISTORY_RMSE_ANALYSIS]   = rmse;
  run.history[KAL_HISTORY_SPREAD_ANALYSIS] = spread;
  run.history[KAL_HISTORY_INNOVATION]      = innovation;
  run.history[KAL_HISTORY_OBSERVATIONS]    = observations;
  run.history[KAL_HISTORY_LEFT_OUT]        = rejected;
  KalAssert(!KalRunHasDiverged(&run));
  for (int k = 45; k < 60; k++) rmse[k] = 1.8; /* 3.3 times the spread over the last 20 */
  KalAssert(KalRunHasDiverged(&run));
  run.truth = NULL;
  KalAssert(!KalRunHasDiverged(&run));
  innovation[50] = NAN; /* a cycle without observations hides nothing */
  for (int k = 40; k < 60; k++) innovation[k] = isnan(innovation[k]) ? NAN : 9.1;
  KalAssert(KalRunHasDiverged(&run));
  run.N = 1; /* a method with a covariance of its own */
  KalAssert(KalRunHasDiverged(&run));
  run.N = 10;
  for (int k = 40; k < 60; k++) innovation[k] = NAN;
  KalAssert(!KalRunHasDiverged(&run));
  for (int k = 40; k < 60; k++) rejected[k] = 21.0; /* a background check that leaves out most of what is observed */
  KalAssert(KalRunHasDiverged(&run));
  run.divergence = 0.0;
  KalAssert(!KalRunHasDiverged(&run));
  run.divergence = 3.0;
  run.cycle      = 19;
  KalAssert(!KalRunHasDiverged(&run));
  spread[18] = INFINITY; /* no need to wait */
  KalAssert(KalRunHasDiverged(&run));
  run.cycle = 0;
  KalAssert(!KalRunHasDiverged(&run));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_scores),
    cmocka_unit_test(test_no_truth),
    cmocka_unit_test(test_time_mean),
    cmocka_unit_test(test_divergence),
};

KAL_TEST_MAIN("diagnose", tests)
