/* ranks: 1 2 3 */
/* The reader of IDX files: what it reads, and every kind of damage that it refuses. */
#include "datafiles.h"

#include <sys/stat.h>

#define SAMPLES 5
#define INPUTS  6

static unsigned char pixels[SAMPLES * INPUTS];
static unsigned char classes[SAMPLES] = {2, 0, 1, 2, 1};
static char          images[1024], labels[1024], list[3100];

static void Paths(const char *x, const char *y)
{
  snprintf(images, sizeof images, "%s", KalTestPath(x));
  snprintf(labels, sizeof labels, "%s", KalTestPath(y));
  snprintf(list, sizeof list, "%s,%s", images, labels);
}

/* Good images (5 of 2 x 3) and labels, plain, under names of their own. */
static void WriteGood(int gzip)
{
  const unsigned dims[3] = {SAMPLES, 2, 3};

  for (int i = 0; i < SAMPLES * INPUTS; i++) pixels[i] = (unsigned char)(37 * i + 5);
  Paths("x.idx", "y.idx");
  WriteIdx(images, 0x08, 3, dims, pixels, sizeof pixels, 1, gzip);
  WriteIdx(labels, 0x08, 1, dims, classes, sizeof classes, 1, gzip);
}

/* Sets up without normalization and compares every number with what was written. */
static void CheckGood(const char *path)
{
  KalObservations obs;
  KalBatch        batch;
  PetscInt        samples, inputs, outputs;
  int             same = 1;

  KalCall(Observe(path, &obs));
  KalCall(KalObservationsGetSizes(obs, KAL_SET_TRAIN, &samples, &inputs, &outputs));
  KalAssert(samples == SAMPLES && inputs == INPUTS && outputs == 3);
  {
    const PetscReal zero = 0., one = 1.;

    KalCall(KalObservationsSetNormalization(obs, 1, &zero, &one));
  }
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, SAMPLES, &batch));
  for (int i = 0; i < SAMPLES * INPUTS; i++) same = same && ((const double *)batch.input)[i] == pixels[i];
  for (int s = 0; s < SAMPLES; s++) {
    same = same && batch.label[s] == classes[s];
    for (int k = 0; k < 3; k++) same = same && batch.target[3 * s + k] == (k == classes[s]);
  }
  KalAssert(same);
  KalCall(KalObservationsDestroy(&obs));
}

static PetscErrorCode Attempt(const char *path)
{
  KalObservations obs;
  PetscErrorCode  ierr = Observe(path, &obs);

  if (!ierr) (void)KalObservationsDestroy(&obs);
  return ierr;
}

static void ReadsPlainAndGzip(void **state)
{
  (void)state;
  for (int gzip = 0; gzip < 2; gzip++) {
    WriteGood(gzip);
    CheckGood(list);
  }
}

static void ReadsGzipOfTwoMembers(void **state)
{
  unsigned char  bytes[64 + sizeof pixels];
  const unsigned dims[3] = {SAMPLES, 2, 3};
  size_t         n;

  (void)state;
  WriteGood(0);
  n = IdxBytes(bytes, 0x08, 3, dims, pixels, sizeof pixels, 1);
  if (!TestRank()) {
    gzFile file = gzopen(images, "wb");

    gzwrite(file, bytes, 10);
    gzclose(file);
    file = gzopen(images, "ab");
    gzwrite(file, bytes + 10, (unsigned)n - 10);
    gzclose(file);
  }
  KalAssert(1);
  CheckGood(list);
}

static void ReadsDirectory(void **state)
{
  const unsigned dims[2] = {SAMPLES, INPUTS};
  char           folder[1024];

  (void)state;
  WriteGood(0);
  snprintf(folder, sizeof folder, "%s", KalTestPath("mnist"));
  if (!TestRank()) mkdir(folder, 0700);
  KalAssert(1);
  KalCallFails(Attempt(folder), "train-images-idx3-ubyte");
  WriteIdx(KalTestPath("mnist/train-images-idx3-ubyte.gz"), 0x08, 2, dims, pixels, sizeof pixels, 1, 1);
  KalCallFails(Attempt(folder), "has no train-labels-idx1-ubyte");
  WriteIdx(KalTestPath("mnist/train-labels-idx1-ubyte"), 0x08, 1, dims, classes, sizeof classes, 1, 0);
  CheckGood(folder);
  WriteIdx(KalTestPath("mnist/t10k-images-idx3-ubyte"), 0x08, 2, dims, pixels, sizeof pixels, 1, 0);
  KalCallFails(Attempt(folder), "has no t10k-labels-idx1-ubyte");
  WriteIdx(KalTestPath("mnist/t10k-labels-idx1-ubyte.gz"), 0x08, 1, dims, classes, sizeof classes, 1, 1);
  CheckGood(folder);
}

static void ReadsEveryType(void **state)
{
  const unsigned      dims[2] = {2, 3};
  const signed char   i8[6]   = {-128, -1, 0, 1, 5, 127};
  const short         i16[6]  = {-32768, -2, 0, 258, 1, 32767};
  const int           i32[6]  = {-2147483647, 65536, 0, 1, -3, 16909060};
  const float         f32[6]  = {-1.5f, 0.25f, 3e38f, 1e-38f, 7.f, 0.f};
  const double        f64[6]  = {-1.5, 0.1, 1e300, 1e-300, 7., 0.};
  const unsigned char y[2]    = {0, 1};
  const int           code[5] = {0x09, 0x0B, 0x0C, 0x0D, 0x0E};
  const size_t        size[5] = {1, 2, 4, 4, 8};
  const void *const   data[5] = {i8, i16, i32, f32, f64};

  (void)state;
  Paths("types.idx", "typesy.idx");
  WriteIdx(labels, 0x08, 1, dims, y, 2, 1, 0);
  for (int t = 0; t < 5; t++) {
    KalObservations obs;
    KalBatch        batch;
    int             same = 1;

    WriteIdx(images, code[t], 2, dims, data[t], 6, size[t], t % 2);
    KalCall(Observe(list, &obs)); /* of other types than uint8 the inputs are taken as they are */
    KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 2, &batch));
    for (int i = 0; i < 6; i++) {
      const double want = t == 0 ? i8[i] : t == 1 ? i16[i]
                                       : t == 2   ? i32[i]
                                       : t == 3   ? (double)f32[i]
                                                  : f64[i];

      same = same && ((const double *)batch.input)[i] == want;
    }
    KalAssert(same);
    KalCall(KalObservationsDestroy(&obs));
  }
}

static void RefusesMissing(void **state)
{
  (void)state;
  WriteGood(0);
  KalCallFails(Attempt(KalTestPath("nowhere")), "does not exist");
  snprintf(list, sizeof list, "%s,%s", images, KalTestPath("nowhere"));
  KalCallFails(Attempt(list), "nowhere: No such file");
  snprintf(list, sizeof list, "%s,%s,%s", images, labels, labels);
  KalCallFails(Attempt(list), "lists 3 files");
  snprintf(list, sizeof list, "%s,", images);
  KalCallFails(Attempt(list), "empty name at place 2");
  KalCallFails(Attempt(images), "is no HDF5 file");
}

/* Writes damaged images and asks for the message; the labels stay good. */
static void Damaged(const unsigned char *bytes, size_t count, int gzip, const char *message)
{
  WriteFile(images, bytes, count, gzip);
  KalCallFails(Attempt(list), message);
  KalAssert(strstr(KalTestMessage(), "x.idx") != NULL);
}

static void RefusesDamage(void **state)
{
  unsigned char  bytes[128], other[128];
  const unsigned dims[3] = {SAMPLES, 2, 3};
  size_t         n;

  (void)state;
  for (int gzip = 0; gzip < 2; gzip++) {
    WriteGood(gzip);
    n = IdxBytes(bytes, 0x08, 3, dims, pixels, sizeof pixels, 1);
    Damaged(bytes, 0, gzip, "is truncated: its magic bytes take 4 bytes, 0 are there");
    Damaged(bytes, 9, gzip, "is truncated: its sizes in the header take 12 bytes, 5 are there");
    Damaged(bytes, n - 1, gzip, "is truncated");
    bytes[n] = 0;
    Damaged(bytes, n + 1, gzip, "trailing garbage");
    memcpy(other, bytes, n);
    other[1] = 7;
    Damaged(other, n, gzip, "magic number is 0x00070803");
    other[1] = 0;
    other[2] = 0x0A;
    Damaged(other, n, gzip, "type 0x0a, which is not supported");
    other[2] = 0x08;
    other[3] = 0;
    Damaged(other, n, gzip, "has 0 dimensions");
    other[3] = 200;
    Damaged(other, n, gzip, "has 200 dimensions");
    other[3] = 3;
    memset(other + 4, 0xff, 12);
    Damaged(other, n, gzip, "more than 2147483647 numbers");
    memcpy(other, bytes, n);
    memset(other + 4, 0xff, 4);
    Damaged(other, n, gzip, "4294967295 samples");
    memcpy(other, bytes, n);
    other[4] = 0x7f; /* 2 GiB of samples: refused before memory is taken */
    Damaged(other, n, gzip, "its header says 2130706437 samples");
    memcpy(other, bytes, n);
    other[7] = 0;
    Damaged(other, n, gzip, "its size is 0 in dimension 1");
    memcpy(other, bytes, n);
    other[11] = 0;
    Damaged(other, n, gzip, "its size is 0 in dimension 2");
    other[11]    = 2;
    other[7]     = SAMPLES - 1;
    other[n - 6] = 0;
    Damaged(other, n - 6, gzip, "4 samples");
  }
}

/* The label and the number of samples are told. */
static void RefusesDisagreement(void **state)
{
  const unsigned      dims[2] = {SAMPLES, 4}, four[2] = {4, INPUTS};
  const signed char   negative[SAMPLES] = {0, 1, 0, -1, 1};
  const unsigned char high[SAMPLES]     = {0, 1, 9, 3, 12};
  char                path[4200], y[1024], x2[1024];
  KalObservations     obs;

  (void)state;
  WriteGood(0);
  snprintf(y, sizeof y, "%s", KalTestPath("y4.idx"));
  snprintf(x2, sizeof x2, "%s", KalTestPath("x4.idx"));
  WriteIdx(y, 0x08, 1, four, classes, 4, 1, 0);
  snprintf(path, sizeof path, "%s,%s", images, y);
  KalCallFails(Attempt(path), "4 in ");
  KalAssert(strstr(KalTestMessage(), "has 5 samples") != NULL);
  WriteIdx(x2, 0x08, 2, dims, pixels, SAMPLES * 4, 1, 0);
  snprintf(path, sizeof path, "%s,%s,%s,%s", images, labels, x2, labels);
  KalCallFails(Attempt(path), "A sample of the test set has 4 inputs and one of the training set 6");
  WriteIdx(y, 0x09, 1, dims, negative, SAMPLES, 1, 0);
  snprintf(path, sizeof path, "%s,%s", images, y);
  KalCallFails(Attempt(path), "label of sample 3 (from 0)");
  KalAssert(strstr(KalTestMessage(), "is -1;") != NULL);
  WriteIdx(y, 0x0E, 2, four, (double[24]){0}, 24, 8, 0);
  WriteIdx(x2, 0x08, 2, four, pixels, 24, 1, 0);
  snprintf(path, sizeof path, "%s,%s,%s,%s", images, labels, x2, y);
  KalCallFails(Attempt(path), "The test set has real-valued targets and the training set class labels");

  /* out of range: only known once the outputs are */
  WriteIdx(y, 0x08, 1, dims, high, SAMPLES, 1, 0);
  snprintf(path, sizeof path, "%s,%s", images, y);
  KalCall(Observe(path, &obs));
  KalCall(KalObservationsSetOutputs(obs, 13));
  KalCallFails(KalObservationsSetOutputs(obs, 10), "label of sample 4 (from 0) in the training set is 12; with 10 outputs, labels from 0 to 9 are allowed");
  KalCallFails(KalObservationsSetOutputs(obs, 9), "label of sample 2 (from 0) in the training set is 9;");
  KalCallFails(KalObservationsSetOutputs(obs, 12), "label of sample 4 (from 0) in the training set is 12; with 12 outputs, labels from 0 to 11 are allowed");
  KalCallFails(KalObservationsSetOutputs(obs, 0), "0 outputs");
  KalCall(KalObservationsDestroy(&obs));
  snprintf(path, sizeof path, "%s,%s,%s,%s", images, labels, images, y);
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, &obs));
  KalCall(KalObservationsSetOutputs(obs, 10));
  KalCall(KalObservationsSetPath(obs, path));
  KalCallFails(KalObservationsSetUp(obs), "label of sample 4 (from 0) in the test set is 12;");
  KalCall(KalObservationsDestroy(&obs));
}

static void RefusesNonfinite(void **state)
{
  const unsigned dims[2] = {3, 2};
  double         x[6]    = {0, 1, 2, 3, 4, 5};
  float          f[6]    = {0, 1, 2, 3, 4, 5};

  (void)state;
  Paths("nan.idx", "nany.idx");
  WriteIdx(labels, 0x08, 1, dims, (unsigned char[3]){0, 1, 0}, 3, 1, 0);
  x[3] = NAN;
  WriteIdx(images, 0x0E, 2, dims, x, 6, 8, 0);
  KalCallFails(Attempt(list), "holds NaN in sample 1, number 1");
  f[4] = -INFINITY;
  WriteIdx(images, 0x0D, 2, dims, f, 6, 4, 1);
  KalCallFails(Attempt(list), "holds -Inf in sample 2, number 0");
}

/* Damage to the gzip layer itself. */
static void RefusesDamagedGzip(void **state)
{
  unsigned char *bytes = NULL;
  size_t         n     = 0;
  int            length;

  (void)state;
  WriteGood(1);
  if (!TestRank()) bytes = ReadFile(images, &n);
  length = (int)n;
  (void)MPI_Bcast(&length, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  if (TestRank()) bytes = (unsigned char *)calloc((size_t)length + 16, 1);
  n = (size_t)length;
  KalAssert(n > 30);
  for (size_t cut = 3; cut < n; cut += 4) Damaged(bytes, cut, 0, "is cut short");
  Damaged(bytes, n - 1, 0, "is cut short");
  bytes[n - 6] ^= 1; /* the checksum */
  Damaged(bytes, n, 0, "is corrupt (incorrect data check)");
  bytes[n - 6] ^= 1;
  bytes[n - 2] ^= 1; /* the length */
  Damaged(bytes, n, 0, "is corrupt (incorrect length check)");
  bytes[n - 2] ^= 1;
  bytes[12] ^= 0xff; /* the data */
  Damaged(bytes, n, 0, "gzip file");
  bytes[12] ^= 0xff;
  bytes[n] = 'x';
  Damaged(bytes, n + 1, 0, "trailing garbage behind its compressed data (byte 0x78)");
  WriteFile(images, bytes, n, 0); /* and the undamaged bytes are read */
  CheckGood(list);
  free(bytes);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ReadsPlainAndGzip),
    cmocka_unit_test(ReadsGzipOfTwoMembers),
    cmocka_unit_test(ReadsDirectory),
    cmocka_unit_test(ReadsEveryType),
    cmocka_unit_test(RefusesMissing),
    cmocka_unit_test(RefusesDamage),
    cmocka_unit_test(RefusesDisagreement),
    cmocka_unit_test(RefusesNonfinite),
    cmocka_unit_test(RefusesDamagedGzip),
};

KAL_TEST_MAIN("observations idx", tests)
