/* ranks: 1 2 3 */
/* The reader of HDF5 files: every type, one and more dimensions, and what it refuses. */
#include "datafiles.h"

#include <hdf5.h>

static char path[1024];

/* Writes a data set into a new file or one more into an old one. */
static void Put(int fresh, const char *name, hid_t filetype, hid_t memtype, int ndims, const hsize_t *dims, const void *data)
{
  int ok = 1;

  if (!TestRank()) {
    const hid_t file  = fresh ? H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT) : H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t space = ndims ? H5Screate_simple(ndims, dims, NULL) : H5Screate(H5S_SCALAR);
    const hid_t set   = H5Dcreate2(file, name, filetype, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

    ok = set >= 0 && (!data || H5Dwrite(set, memtype, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(file);
  }
  KalAssert(ok);
}

static PetscErrorCode Attempt(void)
{
  KalObservations obs;
  PetscErrorCode  ierr = Observe(path, &obs);

  if (!ierr) (void)KalObservationsDestroy(&obs);
  return ierr;
}

static void PutX(int fresh)
{
  const double  x[6]    = {1, 2, 3, 4, 5, 6};
  const hsize_t dims[2] = {3, 2};

  Put(fresh, "/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, dims, x);
}

static void PutY(int fresh)
{
  const int     y[3]    = {0, 2, 1};
  const hsize_t dims[1] = {3};

  Put(fresh, "/y", H5T_STD_U8LE, H5T_NATIVE_INT, 1, dims, y);
}

/* Values that need the full width of each type, in little- and big-endian files. */
static void ReadsEveryType(void **state)
{
  const hid_t   file[20]  = {H5T_STD_U8LE, H5T_STD_I8LE, H5T_STD_U16LE, H5T_STD_I16LE, H5T_STD_U32LE, H5T_STD_I32LE, H5T_STD_U64LE, H5T_STD_I64LE, H5T_IEEE_F32LE, H5T_IEEE_F64LE, H5T_STD_U8BE, H5T_STD_I8BE, H5T_STD_U16BE, H5T_STD_I16BE, H5T_STD_U32BE, H5T_STD_I32BE, H5T_STD_U64BE, H5T_STD_I64BE, H5T_IEEE_F32BE, H5T_IEEE_F64BE};
  const double  large[10] = {255, 127, 65535, 32767, 4294967295., 2147483647., 9007199254740992. * 1024, -9007199254740992., 16777215. / 4, 1.0 / 3};
  const double  size[10]  = {1, 1, 2, 2, 4, 4, 8, 8, 4, 8};
  const double  low[10]   = {0, -128, 0, -32768, 0, -2147483648., 0, -1, -1e-3f, -1e-300};
  const hsize_t dims[2]   = {3, 2};
  int           ranks;

  (void)state;
  snprintf(path, sizeof path, "%s", KalTestPath("types.h5"));
  (void)MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  for (int t = 0; t < 20; t++) {
    const double    x[6] = {0, 1, large[t % 10], low[t % 10], 7, 3}, zero = 0., one = 1.;
    KalObservations obs;
    KalBatch        batch;
    PetscReal       bytes;
    int             same = 1;

    Put(1, "/x", file[t], H5T_NATIVE_DOUBLE, 2, dims, x);
    PutY(0);
    KalCall(Observe(path, &obs));
    KalCall(KalObservationsSetNormalization(obs, 1, &zero, &one));
    /* kept as the bytes they came in: the data's share, and one batch of doubles, labels and one-hot rows, and a row */
    KalCall(KalObservationsGetMemory(obs, &bytes));
    KalAssertNear(bytes, (6 * size[t % 10] + 3) / ranks + 6 * 8 + 9 * 8 + 3 * sizeof(PetscInt) + 2 * 8, 1e-9);
    KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 3, &batch));
    for (int i = 0; i < 6; i++) same = same && ((const double *)batch.input)[i] == x[i];
    KalAssert(same && batch.label[0] == 0 && batch.label[1] == 2 && batch.label[2] == 1);
    KalCall(KalObservationsDestroy(&obs));
  }
}

static void ReadsLabelsOfEveryType(void **state)
{
  const hid_t   file[8] = {H5T_STD_U8LE, H5T_STD_I8BE, H5T_STD_U16LE, H5T_STD_I16BE, H5T_STD_U32LE, H5T_STD_I32BE, H5T_STD_U64LE, H5T_STD_I64BE};
  const hsize_t dims[1] = {3};
  const int     y[3] = {3, 0, 100}, negative[3] = {3, 0, -7};

  (void)state;
  snprintf(path, sizeof path, "%s", KalTestPath("labels.h5"));
  for (int t = 0; t < 8; t++) {
    KalObservations obs;
    KalBatch        batch;
    PetscInt        outputs;

    PutX(1);
    Put(0, "/y", file[t], H5T_NATIVE_INT, 1, dims, y);
    KalCall(Observe(path, &obs));
    KalCall(KalObservationsGetSizes(obs, KAL_SET_TRAIN, NULL, NULL, &outputs));
    KalAssert(outputs == 101);
    KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 3, &batch));
    KalAssert(batch.label[0] == 3 && batch.label[1] == 0 && batch.label[2] == 100 && batch.target[3] == 1. && batch.target[101] == 1. && batch.target[302] == 1.);
    KalCall(KalObservationsDestroy(&obs));
    if (t % 2 == 0) continue;
    PutX(1);
    Put(0, "/y", file[t], H5T_NATIVE_INT, 1, dims, negative);
    KalCallFails(Attempt(), "label of sample 2 (from 0)");
    KalAssert(strstr(KalTestMessage(), "is -7;") != NULL);
  }
  PutX(1);
  Put(0, "/y", H5T_STD_U64LE, H5T_NATIVE_UINT64, 1, dims, (uint64_t[3]){0, UINT64_MAX, 1});
  KalCallFails(Attempt(), "label of sample 1 (from 0)");
}

/* Floats of one dimension and anything of two are real-valued targets; a test set comes along. */
static void ReadsRegression(void **state)
{
  const double    x[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, y[6] = {.5, -1, 2, 3, 4, 5};
  const hsize_t   xdims[3] = {3, 2, 2}, ydims[2] = {3, 2}, one[1] = {3}, xtest[3] = {1, 2, 2}, ytest[2] = {1, 2};
  KalObservations obs;
  KalBatch        batch;
  PetscInt        samples, inputs, outputs;
  KalLossType     loss;
  int             same = 1;

  (void)state;
  snprintf(path, sizeof path, "%s", KalTestPath("regression.h5"));
  Put(1, "/x", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 3, xdims, x);
  Put(0, "/y", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, ydims, y);
  Put(0, "/x_test", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 3, xtest, x + 4);
  KalCallFails(Attempt(), "has /x_test but no /y_test");
  Put(0, "/y_test", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, ytest, y + 2);
  KalCall(Observe(path, &obs));
  KalCall(KalObservationsGetSizes(obs, KAL_SET_TRAIN, &samples, &inputs, &outputs));
  KalAssert(samples == 3 && inputs == 4 && outputs == 2);
  KalCall(KalObservationsGetSizes(obs, KAL_SET_TEST, &samples, &inputs, &outputs));
  KalAssert(samples == 1 && inputs == 4 && outputs == 2);
  KalCall(KalObservationsGetLoss(obs, &loss, NULL, NULL));
  KalAssert(loss == KAL_LOSS_SQUARED);
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 1, 2, &batch));
  for (int i = 0; i < 8; i++) same = same && ((const double *)batch.input)[i] == x[4 + i];
  for (int i = 0; i < 4; i++) same = same && batch.target[i] == y[2 + i];
  KalAssert(same && batch.label == NULL);
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TEST, 0, 1, &batch));
  KalAssert(((const double *)batch.input)[0] == 5. && batch.target[1] == 3.);
  KalCallFails(KalObservationsSetOutputs(obs, 3), "has 3 outputs, and a target has 2 numbers");
  KalCall(KalObservationsDestroy(&obs));

  PutX(1);
  Put(0, "/y", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, one, y);
  KalCall(Observe(path, &obs));
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 3, &batch));
  KalAssert(batch.outputs == 1 && batch.label == NULL && batch.target[0] == .5 && batch.target[1] == -1.);
  KalCall(KalObservationsDestroy(&obs));
  PutX(1);
  Put(0, "/y", H5T_STD_I32LE, H5T_NATIVE_INT, 2, ydims, (int[6]){-4, 1, 2, 3, 4, 5});
  KalCall(Observe(path, &obs));
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 3, &batch));
  KalAssert(batch.outputs == 2 && batch.label == NULL && batch.target[0] == -4.);
  KalCall(KalObservationsDestroy(&obs));
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, &obs));
  KalCall(KalObservationsSetPath(obs, path));
  KalCall(KalObservationsSetLoss(obs, KAL_LOSS_CROSS_ENTROPY, 1.));
  KalCallFails(KalObservationsSetUp(obs), "cross-entropy needs class labels, and the targets are real-valued (int32, 2-dimensional)");
  KalCall(KalObservationsDestroy(&obs));
}

static void Refuses(void **state)
{
  const hsize_t two[2] = {2, 2}, none[2] = {0, 2}, huge[2] = {1000000000, 1000000000}, three[2] = {3, 2}, over[3] = {3, 3000000000, 2};
  hid_t         text = H5Tcopy(H5T_C_S1);

  (void)state;
  snprintf(path, sizeof path, "%s", KalTestPath("bad.h5"));
  PutY(1);
  KalCallFails(Attempt(), "has no data set /x");
  PutX(1);
  KalCallFails(Attempt(), "has no data set /y");
  Put(0, "/y", H5T_STD_I8LE, H5T_NATIVE_INT, 1, two, (int[2]){0, 1});
  KalCallFails(Attempt(), "has 3 samples in /x of");
  Put(1, "/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 0, NULL, (double[1]){1});
  KalCallFails(Attempt(), "has 0 dimensions");
  Put(1, "/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, none, NULL);
  KalCallFails(Attempt(), "its size is 0 in dimension 1");
  Put(1, "/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, three, NULL);
  KalCallFails(Attempt(), "never written");
  Put(1, "/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, huge, NULL);
  KalCallFails(Attempt(), "/x of");
  Put(1, "/x", H5T_STD_I8LE, H5T_NATIVE_INT8, 3, over, NULL);
  KalCallFails(Attempt(), "more than 2147483647 numbers");
  (void)H5Tset_size(text, 8);
  Put(1, "/x", text, text, 1, three, "aaaaaaabbbbbbbbccccccccc");
  KalCallFails(Attempt(), "has a type that is not supported");
  (void)H5Tclose(text);
  Put(1, "/x", H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, three, (double[6]){0, 1, 2, 3, INFINITY, 5});
  PutY(0);
  KalCallFails(Attempt(), "holds Inf in sample 2, number 0");
  PutX(1);
  Put(0, "/y", H5T_IEEE_F32LE, H5T_NATIVE_DOUBLE, 1, three, (double[3]){0, NAN, 2});
  KalCallFails(Attempt(), "/y of");
  KalAssert(strstr(KalTestMessage(), "holds NaN in sample 1, number 0") != NULL);
}

static void RefusesCutShort(void **state)
{
  unsigned char *bytes = NULL;
  size_t         n     = 0;
  int            length;

  (void)state;
  snprintf(path, sizeof path, "%s", KalTestPath("cut.h5"));
  PutX(1);
  PutY(0);
  KalCall(Attempt());
  if (!TestRank()) bytes = ReadFile(path, &n);
  length = (int)n;
  (void)MPI_Bcast(&length, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  WriteFile(path, bytes, (size_t)length - 1, 0);
  KalCallFails(Attempt(), "HDF5 says \"truncated file");
  WriteFile(path, bytes, (size_t)length / 2, 0);
  KalCallFails(Attempt(), "truncated");
  WriteFile(path, bytes, 4, 0);
  KalCallFails(Attempt(), "is no HDF5 file");
  WriteFile(path, bytes, 0, 0);
  KalCallFails(Attempt(), "is no HDF5 file");
  free(bytes);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ReadsEveryType),
    cmocka_unit_test(ReadsLabelsOfEveryType),
    cmocka_unit_test(ReadsRegression),
    cmocka_unit_test(Refuses),
    cmocka_unit_test(RefusesCutShort),
};

KAL_TEST_MAIN("observations hdf5", tests)
