/* ranks: 1 2 */
/* Scores against values worked out by hand. */
#include "datafiles.h"

static void Make(KalLossType loss, double gamma, int samples, int outputs, const double *y, KalObservations *obs, KalBatch *batch)
{
  double x[8] = {0};

  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, obs));
  KalCall(KalObservationsSetArrays(*obs, KAL_SET_TRAIN, samples, 1, x, outputs, y));
  KalCall(KalObservationsSetLoss(*obs, loss, gamma));
  if (!outputs) KalCall(KalObservationsSetOutputs(*obs, 3));
  KalCall(KalObservationsSetUp(*obs));
  KalCall(KalObservationsNext(*obs, 0, batch));
}

/*
  Confidences 0.7 (right), 0.68 (wrong), 0.5 (right), 1.0 (right). Of 15 bins, 0.7 and 0.68 share (10/15, 11/15]:
  |1 - 1.38|; 0.5 is alone: |1 - 0.5|; 1.0 is alone: 0. Sum 0.88 over 4 samples.
*/
static void CrossEntropy(void **state)
{
  const double    y[4]  = {0, 1, 2, 1};
  const double    p[12] = {.7, .2, .1, .68, .02, .3, .25, .25, .5, 0, 1, 0};
  KalObservations obs;
  KalBatch        batch;
  PetscReal       sums[KAL_SCORE_SUMS] = {0}, parts[KAL_SCORE_SUMS] = {0};
  KalScore        score;
  const double    squares = .09 + .04 + .01 + .4624 + .9604 + .09 + .0625 + .0625 + .25;

  (void)state;
  Make(KAL_LOSS_CROSS_ENTROPY, 1., 4, 0, y, &obs, &batch);
  KalCall(KalObservationsScore(obs, &batch, 0, 4, p, sums));
  KalCall(KalScoreFromSums(obs, sums, &score));
  KalAssert(score.samples == 4. && score.accuracy == .75);
  KalAssertNear(score.nll, -(log(.7) + log(.02) + log(.5)) / 4, 1e-14);
  KalAssertNear(score.loss, score.nll, 0.);
  KalAssertNear(score.ece, .88 / 4, 1e-14);
  KalAssertNear(score.rmse, sqrt(squares / 12), 1e-14);
  /* blocks add up */
  KalCall(KalObservationsScore(obs, &batch, 0, 1, p, parts));
  KalCall(KalObservationsScore(obs, &batch, 1, 3, p + 3, parts));
  KalAssert(!memcmp(sums, parts, sizeof sums));
  KalCallFails(KalObservationsScore(obs, &batch, 2, 3, p, parts), "3 samples from sample 2 on");
  /* an empty sum has no score */
  memset(parts, 0, sizeof parts);
  KalCall(KalScoreFromSums(obs, parts, &score));
  KalAssert(score.samples == 0. && isnan(score.loss) && isnan(score.accuracy) && isnan(score.nll) && isnan(score.ece) && isnan(score.rmse));
  KalCall(KalObservationsDestroy(&obs));
}

/* Bins are closed above: 1/15 * k belongs to bin k - 1. A prediction that is NaN is wrong, in the first bin. */
static void Bins(void **state)
{
  const double    y[4]  = {0, 0, 0, 0};
  const double    p[12] = {.4, .3, .3, .4 + 1e-9, .3, .3 - 1e-9, 1, 0, 0, NAN, NAN, NAN};
  KalObservations obs;
  KalBatch        batch;
  PetscReal       sums[KAL_SCORE_SUMS] = {0};
  KalScore        score;

  (void)state;
  Make(KAL_LOSS_CROSS_ENTROPY, 1., 4, 0, y, &obs, &batch);
  KalCall(KalObservationsScore(obs, &batch, 0, 4, p, sums));
  KalAssert(sums[5 + 5] == 1. && sums[5 + 6] == 1. && sums[5 + 14] == 1. && sums[5] == 1.);
  KalCall(KalScoreFromSums(obs, sums, &score));
  KalAssert(score.accuracy == .75 && isnan(score.nll) && isnan(score.ece));
  KalCall(KalObservationsDestroy(&obs));
}

/* Outputs 2 0 0 with label 0 and 0 0 1 with label 1: likelihoods by softmax. */
static void SquaredOnLabels(void **state)
{
  const double    y[2] = {0, 1}, g[6] = {2, 0, 0, 0, 0, 1};
  const double    first = exp(2.) / (exp(2.) + 2), choice = exp(1.) / (exp(1.) + 2), label = 1 / (exp(1.) + 2);
  KalObservations obs;
  KalBatch        batch;
  PetscReal       sums[KAL_SCORE_SUMS] = {0};
  KalScore        score;

  (void)state;
  Make(KAL_LOSS_SQUARED, .5, 2, 0, y, &obs, &batch);
  KalCall(KalObservationsScore(obs, &batch, 0, 2, g, sums));
  KalCall(KalScoreFromSums(obs, sums, &score));
  KalAssert(score.accuracy == .5);
  KalAssertNear(score.loss, .5 * (1. + 2.) / .5 / 2, 1e-14);
  KalAssertNear(score.rmse, sqrt(3. / 6), 1e-14);
  KalAssertNear(score.nll, -(log(first) + log(label)) / 2, 1e-14);
  KalAssertNear(score.ece, (1 - first + choice) / 2, 1e-14);
  KalCall(KalObservationsDestroy(&obs));
}

static void Regression(void **state)
{
  const double    y[4] = {1, 2, 3, 4}, g[4] = {1, 0, 3, 5};
  KalObservations obs;
  KalBatch        batch;
  PetscReal       sums[KAL_SCORE_SUMS] = {0};
  KalScore        score;

  (void)state;
  Make(KAL_LOSS_SQUARED, 2., 2, 2, y, &obs, &batch);
  KalCall(KalObservationsScore(obs, &batch, 0, 2, g, sums));
  KalCall(KalScoreFromSums(obs, sums, &score));
  KalAssert(score.samples == 2. && isnan(score.accuracy) && isnan(score.nll) && isnan(score.ece));
  KalAssertNear(score.rmse, sqrt(5. / 4), 1e-14);
  KalAssertNear(score.loss, .5 * 5. / 2. / 2, 1e-14);
  KalCall(KalObservationsDestroy(&obs));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(CrossEntropy),
    cmocka_unit_test(Bins),
    cmocka_unit_test(SquaredOnLabels),
    cmocka_unit_test(Regression),
};

KAL_TEST_MAIN("observations score", tests)
