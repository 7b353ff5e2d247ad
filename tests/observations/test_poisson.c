/* ranks: 1 */
/* The loss poisson against its formulas: whitened anomalies and residuals, losses, gradients by differences, averages and scores; what it refuses. */
#include "kaltest.h"

#define SAMPLES 4
#define OUTPUTS 2
#define ROWS    (SAMPLES * OUTPUTS)
#define MEMBERS 3

static const double inputs[SAMPLES] = {0.0, 1.0, 2.0, 3.0}, counts[ROWS] = {0, 3, 1, 2, 7, 0, 4, 1};

static PetscErrorCode Make(const double *targets, PetscInt outputs, KalObservations *obs)
{
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, "-observations_loss poisson"));
  PetscCall(KalObservationsCreate(PETSC_COMM_WORLD, obs));
  PetscCall(KalObservationsSetArrays(*obs, KAL_SET_TRAIN, SAMPLES, 1, inputs, outputs, targets));
  PetscCall(KalObservationsSetFromOptions(*obs));
  PetscCall(KalObservationsSetUp(*obs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -log of the probability of counts whose rates have the logarithms g. */
static double Loss(const double *g)
{
  double sum = 0.0;

  for (int i = 0; i < ROWS; i++) {
    sum += exp(g[i]) - counts[i] * g[i];
    for (int k = 2; k <= (int)counts[i]; k++) sum += log(k);
  }
  return sum;
}

static void FormulasHold(void **state)
{
  KalObservations obs;
  KalBatch        batch;
  double          g[ROWS * MEMBERS], mean[ROWS] = {0.0}, a[ROWS * MEMBERS], r[ROWS], each[ROWS * MEMBERS], slope[ROWS], d[ROWS], v[ROWS], losses[SAMPLES], sums[MEMBERS] = {0.0}, averaged[ROWS], scored[KAL_SCORE_SUMS] = {0.0}, expected = 0.0;
  const KalRows   rows            = {.count = ROWS, .ensembles = 1, .members = {MEMBERS}, .x = {g}, .ld = {ROWS}};
  const KalStatus status[MEMBERS] = {KAL_MEMBER_OK, KAL_MEMBER_OK, KAL_MEMBER_OK};
  KalWhitening    w               = {.rows = &rows, .members = MEMBERS, .center = -1, .status = status, .active = MEMBERS, .scale = 0.5, .anomalies = a, .residual = r, .residuals = each};
  KalScore        score;

  (void)state;
  for (int i = 0; i < ROWS * MEMBERS; i++) g[i] = sin(0.7 * i + 0.2);
  for (int i = 0; i < ROWS; i++) {
    for (int j = 0; j < MEMBERS; j++) mean[i] += g[j * ROWS + i] / MEMBERS;
  }
  KalCall(Make(counts, OUTPUTS, &obs));
  KalCall(KalObservationsNext(obs, 0, &batch));
  KalCall(KalObservationsWhiten(obs, &batch, &w));
  KalAssertNear(w.loss, Loss(mean), 1e-12);
  for (int i = 0; i < ROWS; i++) {
    for (int j = 0; j < MEMBERS; j++) {
      KalAssertNear(a[j * ROWS + i], 0.5 * exp(0.5 * mean[i]) * (g[j * ROWS + i] - mean[i]), 1e-13);
      KalAssertNear(each[j * ROWS + i], (counts[i] - exp(g[j * ROWS + i])) * exp(-0.5 * mean[i]), 1e-13);
    }
    KalAssertNear(r[i], (counts[i] - exp(mean[i])) * exp(-0.5 * mean[i]), 1e-13);
  }
  KalCall(KalObservationsLosses(obs, &batch, &rows, sums));
  for (int j = 0; j < MEMBERS; j++) KalAssertNear(sums[j], Loss(g + j * ROWS), 1e-12);
  KalCall(KalObservationsLinearize(obs, &batch, 0, SAMPLES, mean, slope, d, v, losses));
  KalAssertNear(losses[0] + losses[1] + losses[2] + losses[3], Loss(mean), 1e-12);
  for (int i = 0; i < ROWS; i++) {
    const double at = mean[i];
    double       difference;

    mean[i]    = at + 1e-5;
    difference = Loss(mean);
    mean[i]    = at - 1e-5;
    difference = (difference - Loss(mean)) / 2e-5;
    mean[i]    = at;
    KalAssertNear(slope[i], difference, 1e-8);
    KalAssertNear(d[i], exp(at), 1e-13);
    KalAssertNear(v[i], 0.0, 0.0);
  }
  KalCall(KalObservationsAverage(obs, &rows, MEMBERS, status, averaged, NULL));
  for (int i = 0; i < ROWS; i++) {
    const double rate = (exp(g[i]) + exp(g[ROWS + i]) + exp(g[2 * ROWS + i])) / 3.0;

    KalAssertNear(averaged[i], rate, 1e-13);
    mean[i] = log(rate);
    expected += (rate - counts[i]) * (rate - counts[i]) / ROWS;
  }
  KalCall(KalObservationsScore(obs, &batch, 0, SAMPLES, averaged, scored));
  KalCall(KalScoreFromSums(obs, scored, &score));
  KalAssertNear(score.loss, Loss(mean) / SAMPLES, 1e-12);
  KalAssertNear(score.rmse, sqrt(expected), 1e-12);
  KalCall(KalObservationsDestroy(&obs));
}

static void Refusals(void **state)
{
  const double    labels[SAMPLES] = {0, 1, 1, 0}, negative[ROWS] = {0, 3, 1, -2, 7, 0, 4, 1};
  KalObservations obs;

  (void)state;
  KalCallFails(Make(labels, 0, &obs), "store counts as two-dimensional targets");
  KalCallFails(Make(negative, OUTPUTS, &obs), "Target -2. of sample 1 (from 0) of the training set is negative");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(FormulasHold),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("observations poisson", tests)
