/* ranks: 1 2 3 */
/* Twin experiments: when and what is observed, its errors, and how predictions are whitened. */
#include "timedfiles.h"

static void Observes(void **state)
{
  const double    step = 0.05;
  KalObservations obs;
  KalBatch        batch;
  KalKey          key = {7, KAL_DRAW_ERROR, 3, 0};
  PetscReal       z[4], time, hx[4] = {1.5, -2., 8., 0.25};
  PetscInt        last, entry[4] = {3, 8, 13, 18};
  PetscBool       truth, timed;
  int             same = 1;

  (void)state;
  KalCall(Timed("twin", 40, step, OPTIONS("-observations_interval", "0.15", "-observations_noise", "0.25", "-observations_first", "3", "-observations_stride", "5", "-observations_count", "4", "-observations_start", "-2"), &obs));
  KalCall(KalObservationsGetTime(obs, -1, &time));
  KalAssert(time == -2.);
  KalCall(KalObservationsGetTime(obs, 99, &time));
  KalAssertNear(time, -2. + 100 * 0.15, 1e-12);
  KalCallFails(KalObservationsGetTime(obs, -2, &time), "The time of cycle -2");
  KalCall(KalObservationsGetLast(obs, &last));
  KalAssert(last == PETSC_MAX_INT);
  KalCall(KalObservationsHasTruth(obs, &truth));
  KalCall(KalObservationsIsTimed(obs, &timed));
  KalAssert(truth && timed);

  KalCall(KalObservationsNext(obs, 3, &batch));
  KalAssert(batch.timed && batch.samples == 4 && batch.outputs == 1 && batch.inputs == 0 && !batch.label && !batch.target && !batch.root && !batch.location && !batch.kind);
  KalAssertNear(batch.from, -2. + 3 * 0.15, 1e-12);
  KalAssertNear(batch.to, -2. + 4 * 0.15, 1e-12);
  for (int i = 0; i < 4; i++) same = same && batch.linear->entry[i] == entry[i] && batch.error[i] == 0.5;
  KalAssert(same && batch.linear->rows == 4 && !batch.linear->start && !batch.linear->weight);
  KalCall(KalObservationsTruth(obs, 3, hx, &batch));
  KalCall(KalDrawNormal(key, 0, 4, z));
  for (int i = 0; i < 4; i++) same = same && fabs(batch.target[i] - (hx[i] + 0.5 * z[i])) <= 1e-15 * 16;
  KalAssert(same && fabs(z[0]) > 0. && z[0] != z[1]);
  /* another cycle has other errors, and no target before its truth */
  KalCall(KalObservationsNext(obs, 4, &batch));
  KalAssert(!batch.target);
  KalCall(KalObservationsTruth(obs, 4, hx, &batch));
  KalAssert(fabs(batch.target[0] - (hx[0] + 0.5 * z[0])) > 1e-6);
  KalCall(KalObservationsDestroy(&obs));
}

/* Without options every entry is observed at every step, with variance 1. */
static void ObservesAll(void **state)
{
  KalObservations     obs;
  KalObservationsType type;
  KalBatch            batch;
  KalLossType         loss;
  PetscReal           time, gamma, bytes, *mean;
  PetscInt            samples, inputs, outputs, batches, count, ranks = 1;
  PetscBool           targets, labels, affine, timed;
  PetscMPIInt         size;
  int                 same = 1;

  (void)state;
  (void)MPI_Comm_size(PETSC_COMM_WORLD, &size);
  ranks = size;
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, &obs));
  KalCall(KalObservationsIsTimed(obs, &timed));
  KalCall(KalObservationsGetType(obs, &type));
  KalAssert(!timed && !strcmp(type, "dataset"));
  KalCallFails(KalObservationsSetType(obs, "forecast"), "allowed: dataset, twin, series");
  KalCall(KalObservationsSetType(obs, KALOBSERVATIONSTWIN));
  KalCall(KalObservationsGetType(obs, &type));
  KalAssert(!strcmp(type, "twin"));
  KalCallFails(KalObservationsSetUp(obs), "need the size of the state and the time step");
  KalCall(KalObservationsSetState(obs, 6, 0.01));
  KalCall(KalObservationsSetUp(obs));
  KalCallFails(KalObservationsSetState(obs, 6, 0.01), "comes too late");
  KalCall(KalObservationsGetTime(obs, 0, &time));
  KalAssertNear(time, 0.01, 1e-15);
  KalCall(KalObservationsGetSizes(obs, KAL_SET_TRAIN, &samples, &inputs, &outputs));
  KalAssert(samples == 6 && inputs == 0 && outputs == 1);
  KalCall(KalObservationsGetSizes(obs, KAL_SET_TEST, &samples, NULL, NULL));
  KalAssert(samples == 0);
  KalCall(KalObservationsGetCycle(obs, &samples, &batches));
  KalAssert(samples == 6 && batches == 1);
  KalCall(KalObservationsGetTargets(obs, KAL_SET_TRAIN, &targets, &labels));
  KalAssert(targets && !labels);
  KalCall(KalObservationsGetTargets(obs, KAL_SET_TEST, &targets, &labels));
  KalAssert(!targets && !labels);
  KalCall(KalObservationsGetLoss(obs, &loss, &gamma, &affine));
  KalAssert(loss == KAL_LOSS_SQUARED && gamma == 1. && affine);
  KalCall(KalObservationsGetNormalization(obs, &count, &mean, NULL));
  KalAssert(count == 0 && mean == NULL);
  /* errors and entries once a node, on lines of 64 bytes; a target and a row's place for each and one more */
  KalCall(KalObservationsGetMemory(obs, &bytes));
  KalAssertNear(bytes, 128. / ranks + 6 * (sizeof(PetscInt) + 8.), 1e-9);
  KalCall(KalObservationsSetOutputs(obs, 3));
  KalCall(KalObservationsNext(obs, 0, &batch));
  for (int i = 0; i < 6; i++) same = same && batch.linear->entry[i] == i && batch.error[i] == 1.;
  KalAssert(same && batch.samples == 6 && batch.from == 0.);
  KalCallFails(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 1, &batch), "have no sets of samples");
  KalCallFails(KalObservationsSetNormalization(obs, 1, &time, &time), "no inputs to be normalized");
  KalAssert(Shows(obs, "every 0.01 model time (1 steps), from 0.01 on\n  observed: 6 of 6 entries, every 1 from 0 on\n  errors: independent, standard deviation 1.\n"));
  KalCall(KalObservationsDestroy(&obs));
}

static void Refuses(void **state)
{
  KalObservations obs;
  KalBatch        batch;
  PetscReal       hx[2] = {0, 0};

  (void)state;
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_interval", "0.25")), "-observations_interval 0.25 is 2.5 time steps of 0.1");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_interval", "0.01")), "-observations_interval 0.01 is 0.1 time steps of 0.1");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_interval", "0")), "-observations_interval 0. is not allowed");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_interval", "-1")), "-observations_interval -1. is not allowed");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_first", "10")), "-observations_first 10 is outside the state, whose entries are 0 to 9");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_first", "-1")), "-observations_first -1 is negative");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_stride", "0")), "-observations_stride 0 is not allowed");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_stride", "3", "-observations_count", "5")), "-observations_count 5 asks for more entries than there are: every 3 from 0 on, of 10, are 4");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_noise", "0")), "-observations_noise 0. is a variance");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_reject", "-3")), "-observations_reject -3. is not allowed");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_batch", "3")), "-observations_batch makes no sense with -observations_type twin; it is for dataset");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_path", "x.h5")), "-observations_path makes no sense with -observations_type twin; it is for dataset or series");
  KalCallFails(TryTimed("series", 10, 0.1, OPTIONS("-observations_interval", "1")), "-observations_interval makes no sense with -observations_type series; it is for twin");
  KalCallFails(TryTimed("dataset", 10, 0.1, OPTIONS("-observations_reject", "1")), "-observations_reject makes no sense with -observations_type dataset; it is for twin or series");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_loss", "cross-entropy")), "-observations_loss cross-entropy needs class labels");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_operator", "model")), "with -observations_count");
  KalCallFails(TryTimed("twin", 10, 0.1, OPTIONS("-observations_operator", "model", "-observations_count", "2", "-observations_stride", "2")), "-observations_stride chooses entries");
  KalCallFails(TryTimed("twin", 0, 0.1, NULL), "A state of 0 entries");
  KalCallFails(TryTimed("twin", 10, 0., NULL), "The time step of the observed model is 0.");
  KalCallFails(TryTimed("triplet", 10, 0.1, NULL), "-observations_type triplet is unknown; allowed: dataset, twin, series");
  /* the model's own operator: only the number of observations is known */
  KalCall(Timed("twin", 10, 0.1, OPTIONS("-observations_operator", "model", "-observations_count", "2"), &obs));
  KalCall(KalObservationsNext(obs, 0, &batch));
  KalAssert(batch.samples == 2 && !batch.linear && batch.error[1] == 1.);
  KalCall(KalObservationsTruth(obs, 0, hx, &batch));
  KalAssert(batch.target[1] != 0.);
  batch.samples = 3;
  KalCallFails(KalObservationsTruth(obs, 0, hx, &batch), "A batch of 3 observations was given; the twin has 2");
  KalCall(KalObservationsDestroy(&obs));
}

enum {
  P = 5,
  N = 7
};

static double Prediction(int i, int j)
{
  return sin(1. + i * 2.3 + j * j * 0.7) + (i == 3 ? 10. : 0.);
}

/* The formulas of KalObservationsWhiten(), member by member; member 2 failed. */
static void Whitens(void **state)
{
  const double    sd = sqrt(0.3);
  KalObservations obs;
  KalBatch        batch;
  KalStatus       status[N] = {0, 0, KAL_MEMBER_FAILED, 0, 0, 0, 0};
  double          g[P * (N + 1)], a[P * N], r[P], rs[P * N], hx[P] = {0.5, 0, 1, -1, 2}, mean[P] = {0}, loss = 0., sums[N + 1] = {0}, worst = 0.;

  (void)state;
  KalCall(Timed("twin", P, 1., OPTIONS("-observations_noise", "0.3"), &obs));
  KalCall(KalObservationsNext(obs, 2, &batch));
  for (int j = 0; j <= N; j++)
    for (int i = 0; i < P; i++) g[j * P + i] = j == 2 ? NAN : Prediction(i, j);
  for (int center = 0; center < 2; center++) {
    const double *at = center ? g + N * P : mean;
    KalWhitening  w  = {.members = N, .center = center ? N : -1, .status = status, .active = N - 1, .scale = 0.4, .anomalies = a, .residual = r, .residuals = center ? NULL : rs, .rejected = 99};

    if (!center) KalCallFails(WhitenAll(obs, &batch, N + 1, g, &w), "The batch has no targets");
    KalCall(KalObservationsTruth(obs, 2, hx, &batch));
    KalCall(WhitenAll(obs, &batch, N + 1, g, &w));
    loss = 0.;
    for (int i = 0; i < P; i++) {
      mean[i] = 0.;
      for (int j = 0; j < N; j++) mean[i] += j == 2 ? 0. : g[j * P + i] / (N - 1);
      worst = fmax(worst, fabs(r[i] - (batch.target[i] - at[i]) / sd));
      loss += 0.5 * pow((batch.target[i] - at[i]) / sd, 2);
      for (int j = 0; j < N; j++) {
        worst = fmax(worst, fabs(a[j * P + i] - (j == 2 ? 0. : 0.4 * (g[j * P + i] - mean[i]) / sd)));
        if (!center) worst = fmax(worst, fabs(rs[j * P + i] - (j == 2 ? 0. : (batch.target[i] - g[j * P + i]) / sd)));
      }
    }
    KalAssertNear(worst, 0., 1e-13);
    KalAssertNear(w.loss, loss, 1e-12 * loss);
    KalAssert(w.rejected == 0);
  }
  {
    const KalRows rows     = {.count = 3, .first = 2, .ensembles = 1, .members = {N + 1}, .x = {g + 2}, .ld = {P}};
    double        expected = 0.;

    KalCall(KalObservationsLosses(obs, &batch, &rows, sums));
    for (int i = 2; i < P; i++) expected += 0.5 * pow(batch.target[i] - g[N * P + i], 2) / 0.3;
    KalAssertNear(sums[N], expected, 1e-12 * expected);
  }
  {
    PetscReal scores[KAL_SCORE_SUMS] = {0};
    KalScore  score;
    double    squares = 0.;

    KalCall(KalObservationsScore(obs, &batch, 0, P, hx, scores));
    KalCall(KalScoreFromSums(obs, scores, &score));
    for (int i = 0; i < P; i++) squares += pow(batch.target[i] - hx[i], 2);
    KalAssertNear(score.loss, 0.5 * squares / 0.3 / P, 1e-12);
    KalAssertNear(score.rmse, sqrt(squares / P), 1e-12);
    KalAssert(isnan(score.accuracy));
  }
  KalCall(KalObservationsDestroy(&obs));
}

/* Observation 3 is 10 off; whether that is too far depends on error and spread together. */
static void Rejects(void **state)
{
  const double ks[4]  = {1e-3, 3., 6., 1e3};
  int          counts = 0;

  (void)state;
  for (int t = 0; t < 4; t++) {
    char            k[32];
    KalObservations obs;
    KalBatch        batch;
    double          g[P * N], a[P * N], r[P], rs[P * N], hx[P] = {0}, loss = 0.;
    KalWhitening    w     = {.members = N, .center = -1, .active = N, .scale = 3., .anomalies = a, .residual = r, .residuals = rs};
    int             right = 1, rejected = 0;

    snprintf(k, sizeof k, "%g", ks[t]);
    KalCall(Timed("twin", P, 1., OPTIONS("-observations_noise", "0.25", "-observations_reject", k), &obs));
    KalCall(KalObservationsNext(obs, 0, &batch));
    KalCall(KalObservationsTruth(obs, 0, hx, &batch));
    for (int j = 0; j < N; j++)
      for (int i = 0; i < P; i++) g[j * P + i] = Prediction(i, j);
    KalCall(WhitenAll(obs, &batch, N, g, &w));
    for (int i = 0; i < P; i++) {
      double mean = 0., var = 0.;
      int    out;

      for (int j = 0; j < N; j++) mean += g[j * P + i] / N;
      for (int j = 0; j < N; j++) var += pow(g[j * P + i] - mean, 2) / (N - 1);
      out = fabs(batch.target[i] - mean) > ks[t] * sqrt(0.25 + var);
      rejected += out;
      loss += out ? 0. : 0.5 * pow(batch.target[i] - mean, 2) / 0.25;
      right = right && fabs(r[i] - (out ? 0. : (batch.target[i] - mean) / 0.5)) < 1e-12;
      for (int j = 0; j < N; j++) right = right && fabs(a[j * P + i] - (out ? 0. : 3. * (g[j * P + i] - mean) / 0.5)) < 1e-12 && fabs(rs[j * P + i] - (out ? 0. : (batch.target[i] - g[j * P + i]) / 0.5)) < 1e-12;
    }
    KalAssert(right && w.rejected == rejected);
    KalAssertNear(w.loss, loss, 1e-12 * (1. + loss));
    if (t == 1) KalAssert(rejected == 1); /* the one that is off, and no other */
    counts = counts * 10 + rejected;
    KalCall(KalObservationsDestroy(&obs));
  }
  KalAssert(counts / 1000 == P && counts % 10 == 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Observes),
    cmocka_unit_test(ObservesAll),
    cmocka_unit_test(Refuses),
    cmocka_unit_test(Whitens),
    cmocka_unit_test(Rejects),
};

KAL_TEST_MAIN("observations twin", tests)
