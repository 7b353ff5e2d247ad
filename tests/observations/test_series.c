/* ranks: 1 2 3 */
/* Series of observations from a file: grouped by time, with all that can be wrong with them. */
#include "timedfiles.h"

enum {
  n = 8,
  M = 9
};

/* Nine observations at four times after a start at 1, in steps of 0.1; the third time has one, the last three. */
static const double times[M] = {1.1, 1.1, 1.1, 1.5, 1.5, 1.6, 3.1, 3.1, 3.1}, values[M] = {0.5, -1, 2, 3, 4, 5, 6, 7, 8}, errors[M] = {1, 2, 0.5, 1, 1, 3, 0.25, 1, 1};
static const int    entries[M] = {0, 3, 7, 7, 0, 2, 1, 1, 5}, kinds[M] = {0, 1, 0, 4, 0, 0, 0, 1, 0}, first[5] = {0, 3, 5, 6, 9};

static void Write(void)
{
  NewFile("series.h5");
  PutReals("/time", M, times);
  PutReals("/value", M, values);
  PutReals("/error", M, errors);
  PutInts("/entry", M, entries);
  PutInts("/kind", M, kinds);
}

static PetscErrorCode Open(KalObservations *obs)
{
  return Timed("series", n, 0.1, OPTIONS("-observations_path", path, "-observations_start", "1"), obs);
}

static PetscErrorCode Attempt(void)
{
  return TryTimed("series", n, 0.1, OPTIONS("-observations_path", path, "-observations_start", "1"));
}

static void Reads(void **state)
{
  const double    location[M * 2] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17};
  KalObservations obs;
  KalBatch        batch;
  PetscReal       time, before = 1.;
  PetscInt        last, samples, batches;
  PetscBool       truth;

  (void)state;
  Write();
  for (int pass = 0; pass < 2; pass++) {
    KalCall(Open(&obs));
    KalCall(KalObservationsGetLast(obs, &last));
    KalCall(KalObservationsHasTruth(obs, &truth));
    KalAssert(last == 4 && !truth);
    KalCall(KalObservationsGetCycle(obs, &samples, &batches));
    KalAssert(samples == 3 && batches == 1);
    before = 1.;
    for (int c = 0; c < 4; c++) {
      const int p = first[c + 1] - first[c];
      double    x[n], y[3];
      int       same = 1;

      KalCall(KalObservationsGetTime(obs, c, &time));
      KalAssertNear(time, times[first[c]], 1e-12);
      KalCall(KalObservationsNext(obs, c, &batch));
      KalAssert(batch.timed && batch.samples == p && batch.from == before && batch.to == time && batch.outputs == 1 && !batch.root && !batch.label);
      for (int k = 0; k < n; k++) x[k] = 3. * k + 1.;
      KalCall(KalLinearApply(batch.linear, x, y));
      for (int i = 0; i < p; i++) {
        const int o = first[c] + i;

        same = same && batch.target[i] == values[o] && batch.error[i] == errors[o] && batch.kind[i] == kinds[o] && y[i] == x[entries[o]];
        if (pass) same = same && batch.location[3 * i] == location[2 * o] && batch.location[3 * i + 1] == location[2 * o + 1] && batch.location[3 * i + 2] == 0.;
      }
      KalAssert(same && (pass || !batch.location));
      before = time;
    }
    KalCallFails(KalObservationsNext(obs, 4, &batch), "there are observations for the cycles 0 to 3");
    KalCallFails(KalObservationsTruth(obs, 0, values, &batch), "not made from a truth");
    KalAssert(Shows(obs, "9 observations at 4 times, from 1.1 to 3.1 model time, at most 3 a time\n  errors: independent, standard deviations 0.25 to 3.\n"));
    KalCall(KalObservationsDestroy(&obs));
    PutMatrix("/location", M, 2, location);
  }
}

/* Rows of several entries, differing from time to time; single precision, and times that are not quite whole. */
static void ReadsRows(void **state)
{
  const int       start[M + 1] = {0, 1, 3, 6, 7, 9, 10, 11, 13, 15}, index[15] = {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6};
  const hsize_t   dims[1] = {M};
  double          weight[15], x[n], y[3];
  KalObservations obs;
  KalBatch        batch;
  double          worst = 0.;

  (void)state;
  NewFile("rows.h5");
  for (int k = 0; k < 15; k++) weight[k] = 0.5 * k - 3.;
  for (int k = 0; k < n; k++) x[k] = 1. / (k + 1);
  Put("/time", H5T_IEEE_F32BE, H5T_NATIVE_DOUBLE, 1, dims, times);
  Put("/value", H5T_STD_I16LE, H5T_NATIVE_DOUBLE, 1, dims, values);
  PutReals("/error", M, errors);
  PutInts("/start", M + 1, start);
  PutInts("/index", 15, index);
  PutReals("/weight", 15, weight);
  KalCall(Open(&obs));
  for (int c = 0; c < 4; c++) {
    KalCall(KalObservationsNext(obs, c, &batch));
    KalAssertNear(batch.to, times[first[c]], 1e-12);
    KalAssert(batch.linear->start[0] == 0 && batch.linear->rows == first[c + 1] - first[c]);
    KalCall(KalLinearApply(batch.linear, x, y));
    for (int i = 0; i < batch.samples; i++) {
      const int o   = first[c] + i;
      double    sum = 0.;

      for (int k = start[o]; k < start[o + 1]; k++) sum += weight[k] * x[index[k]];
      worst = fmax(worst, fabs(sum - y[i]));
      worst = fmax(worst, fabs(batch.target[i] - trunc(values[o])));
    }
  }
  KalAssertNear(worst, 0., 1e-15);
  KalCall(KalObservationsDestroy(&obs));
}

static void ReadsDense(void **state)
{
  const double    R[4] = {4., 1., 1., 2.}, time[4] = {1.1, 1.1, 1.2, 1.2};
  KalObservations obs;
  KalBatch        batch;
  double          y[2];

  (void)state;
  NewFile("r.h5");
  PutReals("/time", 4, time);
  PutReals("/value", 4, values);
  PutMatrix("/R", 2, 2, R);
  PutInts("/entry", 4, (int[4]){0, 1, 2, 1});
  KalCall(Open(&obs));
  for (int c = 0; c < 2; c++) {
    KalCall(KalObservationsNext(obs, c, &batch));
    KalAssert(batch.samples == 2 && batch.error[0] == 1. && batch.error[1] == 1. && batch.target[1] == values[2 * c + 1]);
    y[0] = batch.target[0];
    y[1] = batch.target[1];
    KalCall(KalObservationsWhitenColumn(&batch, y));
    /* L = (2 0; 1/2 sqrt(7/4)) */
    KalAssertNear(y[0], values[2 * c] / 2., 1e-15);
    KalAssertNear(y[1], (values[2 * c + 1] - values[2 * c] / 4.) / sqrt(1.75), 1e-14);
  }
  KalCall(KalObservationsDestroy(&obs));
  PutReals("/time", 4, (double[4]){1.1, 1.1, 1.1, 1.2});
  KalCallFails(Attempt(), "has 2 rows, and there are 3 observations at time 1.1");
  PutReals("/time", 4, time);
  PutMatrix("/R", 2, 2, (double[4]){1., 2., 2., 1.});
  KalCallFails(Attempt(), "is not positive definite: its leading minor of order 2 of 2");
}

/* What the model itself observes needs no rows. */
static void ReadsOwn(void **state)
{
  const char *const options[] = {"-observations_path", path, "-observations_start", "1", "-observations_operator", "model", NULL};
  KalObservations   obs;
  KalBatch          batch;

  (void)state;
  Write();
  KalCallFails(TryTimed("series", n, 0.1, options), "says what is observed (/entry), and so does -observations_operator model");
  Remove("/entry");
  KalCallFails(Attempt(), "has no data set /entry; a series needs /time, /value, /error (or /R), and what is observed");
  KalCall(Timed("series", n, 0.1, options, &obs));
  KalCall(KalObservationsNext(obs, 3, &batch));
  KalAssert(!batch.linear && batch.samples == 3 && batch.kind[1] == 1 && batch.target[2] == 8.);
  KalCall(KalObservationsDestroy(&obs));
  PutReals("/location", M, (double[M]){0, 1, 2, 3, 4, 5, 6, 7, 6});
  KalCallFails(TryTimed("series", n, 0.1, options), "Observations 6 and 8 (from 0) of");
  KalCallFails(TryTimed("series", n, 0.1, OPTIONS("-observations_path", path, "-observations_operator", "file.h5")), "-observations_operator file.h5 is a file");
}

static void RefusesTimes(void **state)
{
  double t[M];

  (void)state;
  Write();
  memcpy(t, times, sizeof t);
  t[4] = 1.4;
  PutReals("/time", M, t);
  KalCallFails(Attempt(), "is not sorted: it holds 1.4 at 4 (from 0) and 1.5 before it; sort the observations by time");
  t[4] = 1.55;
  t[5] = 1.6;
  PutReals("/time", M, t);
  KalCallFails(Attempt(), "holds 1.55 at 4 (from 0), 5.5 time steps of 0.1 after the start at 1; it must be a whole number");
  t[4] = NAN;
  PutReals("/time", M, t);
  KalCallFails(Attempt(), "holds nan at 4 (from 0)");
  memcpy(t, times, sizeof t);
  t[0] = 1.;
  PutReals("/time", M, t);
  KalCallFails(Attempt(), "holds 1 at 0 (from 0), which is not after the start at 1; choose an earlier -observations_start");
  t[0] = -5.;
  PutReals("/time", M, t);
  KalCallFails(Attempt(), "holds -5 at 0 (from 0), which is not after");
  PutReals("/time", M - 1, times);
  KalCallFails(Attempt(), "/value of");
  KalAssert(strstr(KalTestMessage(), "has 9 rows, and /time 8; both must agree") != NULL);
  PutReals("/time", 0, times);
  KalCallFails(Attempt(), "/time of");
  KalAssert(strstr(KalTestMessage(), "holds no numbers") != NULL);
  PutMatrix("/time", 3, 3, times);
  KalCallFails(Attempt(), "has 2 dimensions; allowed: 1");
}

static void RefusesValues(void **state)
{
  static const char *const needed[] = {"/time", "/value", "/error", "/entry"};
  KalObservations          obs;
  double                   v[M];
  int                      k[M];

  (void)state;
  snprintf(path, sizeof path, "%s", KalTestPath("nowhere.h5"));
  KalCallFails(Attempt(), "Cannot read the observation file");
  KalAssert(strstr(KalTestMessage(), "check -observations_path") != NULL);
  KalCallFails(TryTimed("series", n, 0.1, NULL), "-observations_type series needs a file; name it with -observations_path");
  WriteFile(path, "words", 5, 0);
  KalCallFails(Attempt(), "is no HDF5 file; -observations_path takes with -observations_type series one HDF5 file");
  for (int s = 0; s < 4; s++) {
    char text[64];

    Write();
    Remove(needed[s]);
    snprintf(text, sizeof text, "has no data set %s; a series needs", needed[s]);
    KalCallFails(Attempt(), text);
  }
  Write();
  memcpy(v, values, sizeof v);
  v[5] = NAN;
  PutReals("/value", M, v);
  KalCallFails(Attempt(), "holds nan at 5 (from 0); it must be finite");
  PutReals("/value", M, values);
  for (int s = 0; s < 4; s++) {
    const double bad[4] = {0., -1., NAN, INFINITY};
    char         text[128];

    memcpy(v, errors, sizeof v);
    v[s + 2] = bad[s];
    PutReals("/error", M, v);
    snprintf(text, sizeof text, "holds %g at %d (from 0); errors are standard deviations", bad[s], s + 2);
    KalCallFails(Attempt(), text);
  }
  PutReals("/error", M - 1, errors);
  KalCallFails(Attempt(), "has 8 rows, and /time 9");
  PutReals("/error", M, errors);
  for (int s = 0; s < 2; s++) {
    memcpy(k, entries, sizeof k);
    k[8] = s ? n : -1;
    PutInts("/entry", M, k);
    KalCallFails(Attempt(), s ? "is of entry 8; the state has entries 0 to 7" : "Observation 8 (from 0) of");
  }
  /* an index that no 32 bits hold is not taken for another */
  Put("/entry", H5T_STD_I64LE, H5T_NATIVE_INT64, 1, (hsize_t[1]){M}, (int64_t[M]){0, 3, 7, 7, ((int64_t)1 << 32) + 1, 2, 1, 1, 5});
  KalCallFails(Attempt(), "Observation 4 (from 0) of");
  PutInts("/entry", M, entries);
  PutInts("/kind", M, (int[M]){0, 1, 0, 4, 0, 0, 0, 0, 0});
  KalCallFails(Attempt(), "Observations 6 and 7 (from 0) of");
  KalAssert(strstr(KalTestMessage(), "are of the same time, kind (0) and entries of the state; keep one of them") != NULL);
  PutInts("/kind", M, kinds);
  PutMatrix("/H", 3, 3, values);
  KalCallFails(Attempt(), "has /H, which belongs to the operator of a twin");
  Remove("/H");
  PutInts("/start", M + 1, (int[M + 1]){0, 1, 2, 3, 4, 5, 6, 7, 8, 9});
  PutInts("/index", M, entries);
  KalCallFails(Attempt(), "has /entry and /start; rows with /start have their state entries in /index");
  Remove("/entry");
  KalCall(Attempt());
  PutInts("/start", M, k);
  KalCallFails(Attempt(), "has 9 numbers, and /time 9; /start needs one more");
  Write();
  KalCall(Open(&obs));
  KalCall(KalObservationsDestroy(&obs));
}

static PetscErrorCode InDomain(const KalDomain *domain)
{
  KalObservations obs;
  PetscErrorCode  ierr;

  if ((ierr = KalObservationsCreate(PETSC_COMM_WORLD, &obs))) return ierr;
  (void)KalObservationsSetType(obs, KALOBSERVATIONSSERIES);
  (void)KalObservationsSetPath(obs, path);
  (void)KalObservationsSetTimes(obs, 1., 0.);
  (void)KalObservationsSetState(obs, n, 0.1);
  ierr = KalObservationsSetDomain(obs, domain);
  if (!ierr) ierr = KalObservationsSetUp(obs);
  (void)KalObservationsDestroy(&obs);
  return ierr;
}

static void RefusesLocations(void **state)
{
  double          location[M * 2];
  const KalDomain ring = {
                      1, {8.}
  },
                  band = {2, {10., 0.}}, bad = {4, {0.}};

  (void)state;
  Write();
  for (int i = 0; i < M; i++) {
    location[2 * i]     = entries[i];
    location[2 * i + 1] = 100. * i - 50.;
  }
  PutMatrix("/location", M, 2, location);
  KalCall(InDomain(&band));
  KalCallFails(InDomain(&bad), "A domain of 4 dimensions");
  KalCallFails(InDomain(&ring), "has 2 coordinates a row, and the model's domain 1 dimensions");
  location[4] = 10.;
  PutMatrix("/location", M, 2, location);
  KalCallFails(InDomain(&band), "Observation 2 (from 0) of");
  KalAssert(strstr(KalTestMessage(), "lies outside the domain: its coordinate 0 is 10, and direction 0 is periodic from 0 to below 10") != NULL);
  location[4] = -1e-9;
  PutMatrix("/location", M, 2, location);
  KalCallFails(InDomain(&band), "its coordinate 0 is -1e-09");
  location[4] = NAN;
  PutMatrix("/location", M, 2, location);
  KalCallFails(InDomain(&band), "holds nan at 2 (from 0)");
  PutMatrix("/location", M, 2, location);
  PutReals("/location", M, values);
  KalCallFails(InDomain(&ring), "Observation 1 (from 0) of");
  PutMatrix("/location", 3, 4, location);
  KalCallFails(Attempt(), "has 3 rows, and /time 9");
  {
    double four[M * 4] = {0};

    PutMatrix("/location", M, 4, four);
    KalCallFails(Attempt(), "has 4 coordinates a row; allowed: 1 to 3");
  }
}

/* Many observations: grouped and found again, and a duplicate among them noticed. */
static void ReadsMany(void **state)
{
  enum {
    cycles = 50,
    size   = 400
  };
  double         *time = malloc(sizeof(double) * cycles * size), *value = malloc(sizeof(double) * cycles * size), *error = malloc(sizeof(double) * cycles * size);
  int            *entry = malloc(sizeof(int) * cycles * size);
  KalObservations obs;
  KalBatch        batch;
  int             m = 0, same = 1;

  (void)state;
  for (int c = 0; c < cycles; c++)
    for (int i = 0; i < 1 + (c * 37) % size; i++, m++) {
      time[m]  = 0.1 * (1 + 3 * c);
      value[m] = 1000. * c + i;
      error[m] = 1. + i;
      entry[m] = (i * 7 + c) % size;
    }
  NewFile("many.h5");
  PutReals("/time", m, time);
  PutReals("/value", m, value);
  PutReals("/error", m, error);
  PutInts("/entry", m, entry);
  KalCall(Timed("series", size, 0.1, OPTIONS("-observations_path", path), &obs));
  for (int c = cycles; c-- > 0;) {
    const PetscInt p = 1 + (c * 37) % size;

    KalCall(KalObservationsNext(obs, c, &batch));
    same = same && batch.samples == p && batch.target[p - 1] == 1000. * c + (double)p - 1. && batch.error[p - 1] == (double)p && batch.linear->entry[p - 1] == ((p - 1) * 7 + c) % size;
  }
  KalAssert(same);
  KalCall(KalObservationsDestroy(&obs));
  entry[m - 1] = entry[m - 9];
  PutInts("/entry", m, entry);
  KalCallFails(TryTimed("series", size, 0.1, OPTIONS("-observations_path", path)), "are of the same time, kind (0)");
  free(time);
  free(value);
  free(error);
  free(entry);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Reads),
    cmocka_unit_test(ReadsRows),
    cmocka_unit_test(ReadsDense),
    cmocka_unit_test(ReadsOwn),
    cmocka_unit_test(RefusesTimes),
    cmocka_unit_test(RefusesValues),
    cmocka_unit_test(RefusesLocations),
    cmocka_unit_test(ReadsMany),
};

KAL_TEST_MAIN("observations series", tests)
