/* ranks: 1 2 3 */
#include "dynamical.h"

#include <hdf5.h>

/* Adds a data set of doubles to a file, new where `fresh`; columns 0: one dimension. Rank 0 writes, all wait. */
static void Write(const char *path, int fresh, const char *name, hsize_t rows, hsize_t columns, const double *x)
{
  const hsize_t size[2] = {rows, columns};
  PetscMPIInt   rank;
  int           ok = 1;

  KalCall(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) {
    const hid_t file  = fresh ? H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT) : H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    const hid_t space = H5Screate_simple(columns ? 2 : 1, size, NULL);
    const hid_t data  = H5Dcreate2(file, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

    ok = !x || H5Dwrite(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) >= 0;
    H5Dclose(data);
    H5Sclose(space);
    ok = H5Fclose(file) >= 0 && ok;
  }
  KalAssert(ok);
}

/* The matrix cos(1 + i n + j)/3 */
static void Matrix(int n, double *m)
{
  for (int i = 0; i < n * n; i++) m[i] = cos(1.0 + i) / 3.0;
}

static const char *OptionsOf(const char *path)
{
  static char options[2200];

  (void)snprintf(options, sizeof options, "-model_type linear -linear_path %s", path);
  return options;
}

static const char *PathOf(const char *name)
{
  static char path[2048];

  (void)snprintf(path, sizeof path, "%s", KalTestPath(name));
  return path;
}

/* Products of NumPy, of one and of four steps, and the defaults. */
static void Products(void **state)
{
  const double one[6]  = {-0.491330852776112, -0.211449557313522, 0.0852756886604775, 0.375207922164398, 0.635251307695679, 0.844690938245962};
  const double four[6] = {0.023868131197145, -0.0221678395469682, -0.0664379329016084, -0.105415618610222, -0.135995956575197, -0.155742934605973};
  const char  *path    = PathOf("products.h5");
  char         options[2300];
  double       m[36];
  PetscScalar  x[6], y[6], z[6];
  PetscReal    spread[6];
  KalDomain    domain;
  KalModel     model;

  (void)state;
  Matrix(6, m);
  Write(path, 1, "/M", 6, 6, m);
  (void)snprintf(options, sizeof options, "%s -linear_step 0.5", OptionsOf(path));
  model = Make(options);
  KalAssert(SizeOf(model) == 6);
  for (int i = 0; i < 6; i++) x[i] = y[i] = sin(i + 0.5);
  Run(model, 0.5, x);
  Run(model, 2.0, y);
  for (int i = 0; i < 6; i++) {
    KalAssertNear(x[i], one[i], 1e-14);
    KalAssertNear(y[i], four[i], 1e-14);
  }
  CheckTangent(model, 1.0, x, 1e-9);
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_TRUTH, 0, 5), x));
  KalCall(KalDrawNormal(KeyOf(KAL_DRAW_TRUTH, 0, 5), 0, 6, z));
  KalAssert(!memcmp(x, z, sizeof x));
  KalCall(KalModelSpread(model, spread));
  KalAssert(spread[3] == 1.0);
  KalCall(KalModelGetDomain(model, &domain));
  KalAssert(domain.dimension == 0);
  CheckInitial(model);
  CheckTexts(model, "linear 6 step 0.5");
  KalCall(KalModelDestroy(&model));
}

/* A prior and model noise of stated covariances, exactly from the numbers of the key; places. */
static void PriorAndNoise(void **state)
{
  enum { n = 11 };
  const char    *path       = PathOf("noise.h5");
  const PetscInt entries[2] = {10, 3};
  double         m[n * n], l[n * n], b[n * n], mean[n], place[2 * n];
  PetscScalar    x[4 * n], y[n], z[2 * n];
  PetscReal      coordinates[2 * KAL_DIMENSIONS], spread[n], sum;
  PetscInt       kinds[2];
  KalDomain      domain;
  KalStatus      status[4] = {KAL_MEMBER_OK};
  KalModel       model;

  (void)state;
  Matrix(n, m);
  for (int i = 0; i < n; i++) {
    mean[i] = 10.0 + i;
    for (int j = 0; j < n; j++) {
      l[i * n + j] = j > i ? 0.0 : 1.0 / (1.0 + i - j);
      b[i * n + j] = sin(3.0 * i - 2.0 * j);
    }
    place[2 * i]     = 0.5 * i;
    place[2 * i + 1] = -1.0 * i;
  }
  Write(path, 1, "/M", n, n, m);
  Write(path, 0, "/mean", n, 0, mean);
  Write(path, 0, "/covariance_root", n, n, l);
  Write(path, 0, "/noise_root", n, n, b);
  Write(path, 0, "/coordinates", n, 2, place);
  model = Make(OptionsOf(path));

  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, 2), x));
  KalCall(KalDrawNormal(KeyOf(KAL_DRAW_PRIOR, 0, 2), 0, n, z));
  KalCall(KalModelSpread(model, spread));
  for (int i = 0; i < n; i++) {
    y[i] = mean[i];
    sum  = 0.0;
    for (int j = 0; j < n; j++) {
      y[i] += l[i * n + j] * z[j];
      sum += l[i * n + j] * l[i * n + j];
    }
    KalAssertNear(x[i], y[i], 1e-14);
    KalAssertNear(spread[i], sqrt(sum), 1e-15);
  }

  /* two steps from 0 of member 3 of four: M B z_0 + B z_1 */
  memset(x, 0, sizeof x);
  KalCall(KalModelSetKey(model, KeyOf(KAL_DRAW_NOISE, 6, 0)));
  Forecast(model, 3.0, 5.0, 0, 4, x, status);
  KalCall(KalDrawNormal(KeyOf(KAL_DRAW_NOISE, 6, 3), 0, 2 * n, z));
  for (int i = 0; i < n; i++) {
    y[i] = 0.0;
    for (int j = 0; j < n; j++) y[i] += b[i * n + j] * z[j];
  }
  for (int i = 0; i < n; i++) {
    sum = 0.0;
    for (int j = 0; j < n; j++) sum += m[i * n + j] * y[j] + b[i * n + j] * z[n + j];
    KalAssertNear(x[3 * n + i], sum, 1e-13);
  }

  KalCall(KalModelGetDomain(model, &domain));
  KalAssert(domain.dimension == 2 && domain.length[0] == 0.0 && domain.length[1] == 0.0);
  KalCall(KalModelLocate(model, 2, entries, coordinates, kinds));
  KalAssert(kinds[0] == 0 && coordinates[0] == 5.0 && coordinates[1] == -10.0 && coordinates[2] == 0.0 && coordinates[KAL_DIMENSIONS] == 1.5);
  CheckGroups(model, 3.0, 0.0);
  CheckInitial(model);
  KalCall(KalModelDestroy(&model));
}

/* Many rows, as BLAS cuts them; and single precision or integers in the file. */
static void Groups(void **state)
{
  enum { n = 67 };
  const char *path = PathOf("groups.h5");
  double     *m    = Numbers(n * n);
  KalModel    model;

  (void)state;
  Matrix(n, m);
  for (int i = 0; i < n * n; i++) m[i] *= 0.1;
  Write(path, 1, "/M", n, n, m);
  model = Make(OptionsOf(path));
  CheckGroups(model, 3.0, 1.0);
  CheckNonfinite(model, 2.0);
  KalCall(KalModelDestroy(&model));
  free(m);
}

/* The layout tells two matrices apart. */
static void Layouts(void **state)
{
  const char *path = PathOf("layout.h5");
  double      m[9];
  char        text[3][128];

  (void)state;
  for (int r = 0; r < 3; r++) {
    KalModel model;

    Matrix(3, m);
    if (r == 1) m[5] = nextafter(m[5], 10.0);
    Write(path, 1, "/M", 3, 3, m);
    if (r == 2) Write(path, 0, "/noise_root", 3, 3, m);
    model = Make(OptionsOf(path));
    KalCall(KalModelGetLayout(model, sizeof text[r], text[r]));
    KalCall(KalModelDestroy(&model));
  }
  KalAssert(strcmp(text[0], text[1]) && strcmp(text[0], text[2]) && strcmp(text[1], text[2]));
}

static void BadFiles(void **state)
{
  const char *path = PathOf("bad.h5");
  double     *m    = Numbers(10001);
  PetscMPIInt rank;

  (void)state;
  KalCall(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  Refused("-model_type linear", "give -linear_path FILE");
  Refused("-model_type linear -linear_path /nowhere/at/all.h5", "/nowhere/at/all.h5 cannot be read: No such file");
  Write(path, 1, "/A", 3, 3, m);
  Refused(OptionsOf(path), "has no data set /M");
  Write(path, 1, "/M", 3, 2, m);
  Refused(OptionsOf(path), "is 3 x 2; it must be square");
  Write(path, 1, "/M", 9, 0, m);
  Refused(OptionsOf(path), "is 9 x 1; it must be square");
  Write(path, 1, "/M", 10001, 10001, NULL);
  Refused(OptionsOf(path), "has 10001 rows; the model linear is dense and takes states of at most 10000 numbers");
  Write(path, 1, "/M", 10000, 10000, NULL);
  Refused(OptionsOf(path), "declared but never written");
  Write(path, 1, "/M", 3, 3, m);
  Write(path, 0, "/mean", 4, 0, m);
  Refused(OptionsOf(path), "/mean of -linear_path");
  Write(path, 1, "/M", 3, 3, m);
  Write(path, 0, "/covariance_root", 3, 2, m);
  Refused(OptionsOf(path), "is 3 x 2; with /M of 3 x 3 it must be 3 x 3");
  Write(path, 1, "/M", 3, 3, m);
  Write(path, 0, "/noise_root", 2, 2, m);
  Refused(OptionsOf(path), "/noise_root of");
  Write(path, 1, "/M", 3, 3, m);
  Write(path, 0, "/coordinates", 3, 4, m);
  Refused(OptionsOf(path), "is 3 x 4; with /M of 3 x 3 it must be 3 x 1 to 3");
  m[5] = NAN;
  Write(path, 1, "/M", 3, 3, m);
  Refused(OptionsOf(path), "/M[1,2] of -linear_path");
  m[5] = 1.0;
  Write(path, 1, "/M", 3, 3, m);
  Write(path, 0, "/covariance_root", 3, 3, m);
  Refused(OptionsOf(path), "/covariance_root[1,2] of");
  if (rank == 0) {
    FILE *file = fopen(path, "w");

    fputs("no HDF5 file", file);
    fclose(file);
  }
  Refused(OptionsOf(path), "is no HDF5 file");
  free(m);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Products),
    cmocka_unit_test(PriorAndNoise),
    cmocka_unit_test(Groups),
    cmocka_unit_test(Layouts),
    cmocka_unit_test(BadFiles),
};

KAL_TEST_MAIN("linear", tests)
