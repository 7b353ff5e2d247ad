/* ranks: 1 2 3 */
/* Linear operators, from memory and from files, and dense error covariances. */
#include "timedfiles.h"

enum {
  n = 6,
  p = 3
};

static const double x[n]         = {1., -2., 3., 0.5, 7., -11.};
static const int    start[p + 1] = {0, 2, 3, 6}, entry[6] = {0, 5, 2, 1, 3, 4};
static const double weight[6] = {0.5, 2., -1., 1., 3., 0.25};
/* the same rows, dense */
static const double H[p * n] = {0.5, 0, 0, 0, 0, 2., 0, 0, -1., 0, 0, 0, 0, 1., 0, 3., 0.25, 0};
static const double R[p * p] = {2.0, 0.5, 0.3, 0.5, 1.5, -0.4, 0.3, -0.4, 1.0};

static void Applies(void **state)
{
  const PetscInt  begin[3] = {0, 2, 3}, at[3] = {4, 0, 5};
  const PetscReal w[3]   = {2., 0.5, -1.};
  const KalLinear all[4] = {
      {3, NULL,  at, NULL},
      {3, NULL,  at, w   },
      {2, begin, at, NULL},
      {2, begin, at, w   }
  };
  const double expected[4][3] = {
      {7.,    1., -11.},
      {14.,     0.5,     11.},
      {8.,  -11.},
      {14.5,11.  }
  };
  double y[3];

  (void)state;
  for (int k = 0; k < 4; k++) {
    int same = 1;

    KalCall(KalLinearApply(&all[k], x, y));
    for (int i = 0; i < all[k].rows; i++) same = same && y[i] == expected[k][i];
    KalAssert(same);
  }
}

static void CheckOperator(const char *const *options)
{
  KalObservations obs;
  KalBatch        batch;
  double          y[p], worst = 0.;

  KalCall(Timed("twin", n, 0.5, options, &obs));
  KalCall(KalObservationsNext(obs, 0, &batch));
  KalAssert(batch.samples == p && batch.linear->rows == p && batch.linear->start[0] == 0);
  KalCall(KalLinearApply(batch.linear, x, y));
  for (int i = 0; i < p; i++) {
    double sum = 0.;

    for (int k = 0; k < n; k++) sum += H[i * n + k] * x[k];
    worst = fmax(worst, fabs(sum - y[i]));
  }
  KalAssertNear(worst, 0., 1e-14);
  KalCall(KalObservationsDestroy(&obs));
}

static void ReadsOperators(void **state)
{
  const double    error[p] = {0.5, 1., 2.}, location[p * 2] = {0, 1, 2, 3, 4, 5};
  const int       kind[p] = {2, 0, -1};
  double          hx[p]   = {1, 2, 3}, z[p];
  KalObservations obs;
  KalBatch        batch;
  int             same = 1;

  (void)state;
  NewFile("operator.h5");
  PutInts("/start", p + 1, start);
  PutInts("/entry", 6, entry);
  PutReals("/weight", 6, weight);
  CheckOperator(OPTIONS("-observations_operator", path, "-observations_noise", "4"));
  PutReals("/error", p, error);
  PutMatrix("/location", p, 2, location);
  PutInts("/kind", p, kind);
  CheckOperator(OPTIONS("-observations_operator", path));
  KalCallFails(TryTimed("twin", n, 1., OPTIONS("-observations_operator", path, "-observations_noise", "4")), "has /error, and -observations_noise gives");
  KalCallFails(TryTimed("twin", n, 1., OPTIONS("-observations_operator", path, "-observations_first", "1")), "-observations_first chooses entries of the state, and -observations_operator");
  KalCall(Timed("twin", n, 1., OPTIONS("-observations_operator", path), &obs));
  KalCall(KalObservationsNext(obs, 5, &batch));
  KalCall(KalObservationsTruth(obs, 5, hx, &batch));
  KalCall(KalDrawNormal((KalKey){7, KAL_DRAW_ERROR, 5, 0}, 0, p, z));
  for (int i = 0; i < p; i++) same = same && batch.error[i] == error[i] && batch.kind[i] == kind[i] && batch.location[3 * i] == 2 * i && batch.location[3 * i + 1] == 2 * i + 1 && batch.location[3 * i + 2] == 0. && fabs(batch.target[i] - (hx[i] + error[i] * z[i])) < 1e-14;
  KalAssert(same);
  KalCall(KalObservationsDestroy(&obs));

  NewFile("dense.h5");
  PutMatrix("/H", p, n, H);
  CheckOperator(OPTIONS("-observations_operator", path));
  KalCallFails(TryTimed("twin", n + 1, 1., OPTIONS("-observations_operator", path)), "/H of");
  KalAssert(strstr(KalTestMessage(), "has 6 columns; the state has 7 entries") != NULL);
  PutMatrix("/location", p, 1, location);
  PutMatrix("/R", p, p, R);
  CheckOperator(OPTIONS("-observations_operator", path));
}

/* Inverse of R by Gauss and Jordan. */
static void Invert(const double *matrix, double *inverse)
{
  double a[p * p];

  memcpy(a, matrix, sizeof a);
  for (int i = 0; i < p * p; i++) inverse[i] = i % (p + 1) == 0;
  for (int k = 0; k < p; k++) {
    const double pivot = a[k * p + k];

    for (int j = 0; j < p; j++) {
      a[k * p + j] /= pivot;
      inverse[k * p + j] /= pivot;
    }
    for (int i = 0; i < p; i++) {
      const double factor = a[i * p + k];

      for (int j = 0; j < p && i != k; j++) {
        a[i * p + j] -= factor * a[k * p + j];
        inverse[i * p + j] -= factor * inverse[k * p + j];
      }
    }
  }
}

/* S = A' inv(R) A and d = A' inv(R) (y - mean), which a filter needs, are those of the whitened columns. */
static void WhitensDense(void **state)
{
  enum {
    N = 4
  };
  KalObservations obs;
  KalBatch        batch;
  double          g[p * N], plain[p * N], a[p * N], r[p], target[p], hx[p] = {1, 2, 3}, z[p], inverse[p * p], mean[p] = {0}, worst = 0., L[p * p] = {0}, chi = 0.;
  KalWhitening    w = {.members = N, .center = -1, .active = N, .scale = 0.7, .anomalies = a, .residual = r};

  (void)state;
  NewFile("whiten.h5");
  PutInts("/entry", p, entry + 1);
  PutMatrix("/R", p, p, R);
  KalCall(Timed("twin", n, 1., OPTIONS("-observations_operator", path), &obs));
  KalCall(KalObservationsNext(obs, 1, &batch));
  KalAssert(batch.root != NULL && batch.error[0] == 1. && batch.error[p - 1] == 1.);
  KalCall(KalObservationsTruth(obs, 1, hx, &batch));
  /* the target is hx + L z, by a Cholesky factor made here */
  for (int j = 0; j < p; j++)
    for (int i = j; i < p; i++) {
      double sum = R[i * p + j];

      for (int k = 0; k < j; k++) sum -= L[i * p + k] * L[j * p + k];
      L[i * p + j] = i == j ? sqrt(sum) : sum / L[j * p + j];
    }
  KalCall(KalDrawNormal((KalKey){7, KAL_DRAW_ERROR, 1, 0}, 0, p, z));
  for (int i = 0; i < p; i++) {
    double sum = hx[i];

    for (int k = 0; k <= i; k++) sum += L[i * p + k] * z[k];
    worst     = fmax(worst, fabs(batch.target[i] - sum));
    target[i] = batch.target[i];
    for (int k = 0; k < p; k++) worst = fmax(worst, fabs(batch.root[k * p + i] - L[i * p + k]));
  }
  KalAssertNear(worst, 0., 1e-14);

  for (int k = 0; k < p * N; k++) plain[k] = g[k] = cos(2. * k * k + 0.3);
  for (int j = 0; j < N; j++) KalCall(KalObservationsWhitenColumn(&batch, g + j * p));
  KalCall(KalObservationsWhitenColumn(&batch, target));
  Invert(R, inverse);
  for (int i = 0; i < p; i++)
    for (int j = 0; j < N; j++) mean[i] += plain[j * p + i] / N;
  {
    const double *const kept = batch.target;

    for (int i = 0; i < p; i++)
      for (int k = 0; k < p; k++) chi += (kept[i] - mean[i]) * inverse[i * p + k] * (kept[k] - mean[k]);
    batch.target = target;
    KalCall(WhitenAll(obs, &batch, N, g, &w));
    for (int j = 0; j < N; j++) {
      double d = 0., expected = 0.;

      for (int i = 0; i < p; i++) {
        d += a[j * p + i] * r[i];
        for (int k = 0; k < p; k++) expected += 0.7 * (plain[j * p + i] - mean[i]) * inverse[i * p + k] * (kept[k] - mean[k]);
      }
      worst = fmax(worst, fabs(d - expected));
      for (int m = 0; m < N; m++) {
        double S = 0., exact = 0.;

        for (int i = 0; i < p; i++) {
          S += a[j * p + i] * a[m * p + i];
          for (int k = 0; k < p; k++) exact += 0.49 * (plain[j * p + i] - mean[i]) * inverse[i * p + k] * (plain[m * p + k] - mean[k]);
        }
        worst = fmax(worst, fabs(S - exact));
      }
    }
  }
  KalAssertNear(worst, 0., 1e-13);
  KalAssertNear(w.loss, 0.5 * chi, 1e-12);
  KalAssert(Shows(obs, "observed: 3 numbers by ") && Shows(obs, "errors: dense covariance"));
  KalCall(KalObservationsDestroy(&obs));
}

static PetscErrorCode Attempt(void)
{
  return TryTimed("twin", n, 1., OPTIONS("-observations_operator", path));
}

static void Refuses(void **state)
{
  const double bad[p * p] = {1., 2., 0., 2., 1., 0., 0., 0., 1.}, skew[p * p] = {1., 0.5, 0., 0.4, 1., 0., 0., 0., 1.}, negative[p * p] = {1., 0., 0., 0., -2., 0., 0., 0., 1.}, nan[p * p] = {1., 0., 0., 0., 1., NAN, 0., NAN, 1.}, zero[p * n] = {1};

  (void)state;
  snprintf(path, sizeof path, "%s", KalTestPath("nowhere.h5"));
  KalCallFails(Attempt(), "Cannot read the observation operator");
  KalAssert(strstr(KalTestMessage(), "check -observations_operator") != NULL);
  WriteFile(path, "words", 5, 0);
  KalCallFails(Attempt(), "is no HDF5 file; -observations_operator takes an HDF5 file, or the word model");
  NewFile("bad.h5");
  KalCallFails(Attempt(), "has no data set /entry; an operator needs");
  PutInts("/start", p + 1, start);
  KalCallFails(Attempt(), "has no data set /index");
  PutInts("/entry", 6, (int[6]){0, 5, 2, 1, 6, 4});
  KalCallFails(Attempt(), "Observation 2 (from 0) of");
  KalAssert(strstr(KalTestMessage(), "is of entry 6; the state has entries 0 to 5") != NULL);
  PutInts("/entry", 6, (int[6]){0, -1, 2, 1, 3, 4});
  KalCallFails(Attempt(), "is of entry -1;");
  PutReals("/entry", 6, (double[6]){0, 1, 2, 3, 4, 5});
  KalCallFails(Attempt(), "holds float64; it must hold integers");
  PutInts("/entry", 6, entry);
  PutInts("/start", p + 1, (int[4]){0, 2, 2, 6});
  KalCallFails(Attempt(), "Row 1 (from 0) of the operator");
  PutInts("/start", p + 1, (int[4]){0, 2, 3, 5});
  KalCallFails(Attempt(), "ends with 5; there are 6 entries");
  PutInts("/start", p + 1, (int[4]){1, 2, 3, 6});
  KalCallFails(Attempt(), "begins with 1; it must begin with 0");
  PutInts("/start", 1, start);
  KalCallFails(Attempt(), "has 1 number; it needs one more than there are rows");
  PutInts("/start", p + 1, start);
  PutReals("/weight", 5, weight);
  KalCallFails(Attempt(), "/weight of");
  PutReals("/weight", 6, (double[6]){1, 1, 1, NAN, 1, 1});
  KalCallFails(Attempt(), "has the weight nan of entry 1");
  PutReals("/weight", 6, weight);
  PutReals("/error", 2, weight);
  KalCallFails(Attempt(), "has 2 rows, and /start less 1 3; both must agree");
  PutReals("/error", p, (double[p]){1, 0, 1});
  KalCallFails(Attempt(), "holds 0 at 1 (from 0); errors are standard deviations");
  PutReals("/error", p, (double[p]){1, 1, -2});
  KalCallFails(Attempt(), "holds -2 at 2 (from 0)");
  PutReals("/error", p, (double[p]){NAN, 1, 2});
  KalCallFails(Attempt(), "holds nan at 0 (from 0)");
  PutMatrix("/R", p, p, R);
  KalCallFails(Attempt(), "has /error and /R");
  Remove("/error");
  KalCall(Attempt());
  KalCallFails(TryTimed("twin", n, 1., OPTIONS("-observations_operator", path, "-observations_noise", "1")), "has /R, and -observations_noise");
  PutMatrix("/R", p, p, bad);
  KalCallFails(Attempt(), "is not positive definite: its leading minor of order 2 of 3 is not positive");
  PutMatrix("/R", p, p, skew);
  KalCallFails(Attempt(), "is not symmetric: it holds 0.4 in row 1, column 0 and 0.5 in row 0, column 1");
  PutMatrix("/R", p, p, negative);
  KalCallFails(Attempt(), "holds the variance -2 in row 1");
  PutMatrix("/R", p, p, nan);
  KalCallFails(Attempt(), "holds nan in row 1, column 2");
  PutMatrix("/R", p, 2, bad);
  KalCallFails(Attempt(), "is 3 x 2; an error covariance is square");
  PutMatrix("/R", 2, 2, bad);
  KalCallFails(Attempt(), "/R of");
  Remove("/R");
  PutMatrix("/H", p, n, H);
  KalCallFails(Attempt(), "has /H and /entry; give one of them");
  Remove("/H");
  PutReals("/time", 1, weight);
  KalCallFails(Attempt(), "has /time, as a series of observations has");
  Remove("/time");
  PutInts("/start", p + 1, (int[4]){0, 2, 4, 6});
  PutInts("/entry", 6, (int[6]){1, 2, 3, 4, 1, 2});
  PutReals("/weight", 6, (double[6]){1, 2, 3, 4, 1, 2});
  KalCallFails(Attempt(), "Observations 0 and 2 (from 0) of");
  PutReals("/weight", 6, (double[6]){1, 2, 3, 4, 1, 3});
  KalCall(Attempt());
  NewFile("zero.h5");
  PutMatrix("/H", p, n, zero);
  KalCallFails(Attempt(), "Row 1 (from 0) of the operator");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Applies),
    cmocka_unit_test(ReadsOperators),
    cmocka_unit_test(WhitensDense),
    cmocka_unit_test(Refuses),
};

KAL_TEST_MAIN("observations linear", tests)
