/*
  The file of the model "linear": rank 0 says what is in it, one rank of each node reads it, serially and not by MPI-IO, and
  checks what it read. What one rank finds wrong is raised on all.
*/
#include <models/linear.h>

#include <errno.h>
#include <hdf5.h>
#include <string.h>
#include <sys/stat.h>

static const char *const Names[KAL_LINEAR_DATASETS] = {"/M", "/mean", "/covariance_root", "/noise_root", "/coordinates"};

/* What is wrong, empty where nothing is. */
typedef struct {
  PetscErrorCode code;
  char           text[1024];
} Fault;

#define SetFault(fault, number, ...) ((void)((fault)->code = (number)), (void)PetscSNPrintf((fault)->text, sizeof(fault)->text, __VA_ARGS__))

/* Shapes of what the file holds; 0 rows: nothing of that name. */
typedef struct {
  PetscInt64 rows[KAL_LINEAR_DATASETS], columns[KAL_LINEAR_DATASETS];
} Shapes;

/* HDF5's own account of an error: the innermost entry of its stack, where it has one. */
static herr_t Innermost(unsigned n, const H5E_error2_t *entry, void *ctx)
{
  (void)n;
  if (entry->desc) (void)PetscStrncpy((char *)ctx, entry->desc, 256);
  return 0;
}

static void Hdf5Fault(Fault *fault, const char *what, const char *path)
{
  char why[256] = "no reason given";

  (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, Innermost, why);
  SetFault(fault, PETSC_ERR_FILE_READ, "Cannot read %s of -linear_path %s: HDF5 says \"%s\"; check the file, for instance with h5dump -H", what, path, why);
}

static hid_t Open(const char *path, Fault *fault)
{
  struct stat info;
  hid_t       access, file = -1;

  if (stat(path, &info)) {
    SetFault(fault, PETSC_ERR_FILE_OPEN, "-linear_path %s cannot be read: %s; it names the HDF5 file with the matrix /M", path, strerror(errno));
    return -1;
  }
  access = H5Pcreate(H5P_FILE_ACCESS);
  if (H5Pset_fapl_sec2(access) >= 0) {
    if (H5Fis_hdf5(path) == 0) SetFault(fault, PETSC_ERR_FILE_UNEXPECTED, "-linear_path %s is no HDF5 file; it must hold the matrix /M", path);
    else file = H5Fopen(path, H5F_ACC_RDONLY, access);
  }
  if (file < 0 && !fault->text[0]) Hdf5Fault(fault, "anything", path);
  (void)H5Pclose(access);
  return file;
}

/* One data set's shape, of numbers and no more than 2 dimensions. */
static void ShapeOf(hid_t data, const char *name, const char *path, PetscInt64 *rows, PetscInt64 *columns, Fault *fault)
{
  const hid_t space = H5Dget_space(data), type = H5Dget_type(data);
  const int   ndims   = H5Sget_simple_extent_ndims(space);
  hsize_t     size[2] = {0, 0};

  *columns = 1;
  if (H5Tget_class(type) != H5T_FLOAT && H5Tget_class(type) != H5T_INTEGER) SetFault(fault, PETSC_ERR_FILE_UNEXPECTED, "%s of -linear_path %s does not hold numbers", name, path);
  else if (H5Sget_simple_extent_type(space) != H5S_SIMPLE || ndims < 1 || ndims > 2) SetFault(fault, PETSC_ERR_FILE_UNEXPECTED, "%s of -linear_path %s has %d dimensions; allowed are 1 and 2", name, path, PetscMax(ndims, 0));
  else {
    (void)H5Sget_simple_extent_dims(space, size, NULL);
    *rows = (PetscInt64)size[0];
    if (ndims == 2) *columns = (PetscInt64)size[1];
    if (!*rows || !*columns) SetFault(fault, PETSC_ERR_FILE_UNEXPECTED, "%s of -linear_path %s is empty", name, path);
    else if (*rows > KAL_LINEAR_MOST) SetFault(fault, PETSC_ERR_ARG_OUTOFRANGE, "%s of -linear_path %s has %lld rows; the model linear is dense and takes states of at most %d numbers (a sparse operator is better written as a model of your own)", name, path, (long long)*rows, KAL_LINEAR_MOST);
    else if (!H5Dget_storage_size(data)) SetFault(fault, PETSC_ERR_FILE_READ, "%s of -linear_path %s was declared but never written; write the file again", name, path);
  }
  (void)H5Tclose(type);
  (void)H5Sclose(space);
}

static void FindShapes(const char *path, Shapes *shapes, Fault *fault)
{
  const hid_t file = Open(path, fault);

  if (file < 0) return;
  for (int d = 0; d < KAL_LINEAR_DATASETS && !fault->text[0]; d++) {
    hid_t data;

    if (H5Lexists(file, Names[d], H5P_DEFAULT) <= 0) {
      if (d == KAL_LINEAR_MATRIX) SetFault(fault, PETSC_ERR_FILE_UNEXPECTED, "-linear_path %s has no data set /M; it must hold the n x n matrix of a step, and may hold /mean (n), /covariance_root (n x n), /noise_root (n x n) and /coordinates (n x 1 to 3)", path);
      continue;
    }
    data = H5Dopen2(file, Names[d], H5P_DEFAULT);
    if (data < 0) Hdf5Fault(fault, Names[d], path);
    else {
      ShapeOf(data, Names[d], path, &shapes->rows[d], &shapes->columns[d], fault);
      (void)H5Dclose(data);
    }
  }
  (void)H5Fclose(file);
}

static void CheckShapes(const char *path, const Shapes *shapes, Fault *fault)
{
  const PetscInt64 n = shapes->rows[KAL_LINEAR_MATRIX];

  if (n != shapes->columns[KAL_LINEAR_MATRIX]) SetFault(fault, PETSC_ERR_ARG_SIZ, "/M of -linear_path %s is %lld x %lld; it must be square", path, (long long)n, (long long)shapes->columns[KAL_LINEAR_MATRIX]);
  for (int d = KAL_LINEAR_MEAN; d < KAL_LINEAR_DATASETS && !fault->text[0]; d++) {
    const PetscInt64 most  = d == KAL_LINEAR_MEAN ? 1 : d == KAL_LINEAR_COORDINATES ? KAL_DIMENSIONS
                                                                                    : n;
    const PetscInt64 least = d == KAL_LINEAR_COORDINATES ? 1 : most;

    if (!shapes->rows[d] || (shapes->rows[d] == n && shapes->columns[d] >= least && shapes->columns[d] <= most)) continue;
    if (least == most) SetFault(fault, PETSC_ERR_ARG_SIZ, "%s of -linear_path %s is %lld x %lld; with /M of %lld x %lld it must be %lld x %lld", Names[d], path, (long long)shapes->rows[d], (long long)shapes->columns[d], (long long)n, (long long)n, (long long)n, (long long)most);
    else SetFault(fault, PETSC_ERR_ARG_SIZ, "%s of -linear_path %s is %lld x %lld; with /M of %lld x %lld it must be %lld x 1 to %lld", Names[d], path, (long long)shapes->rows[d], (long long)shapes->columns[d], (long long)n, (long long)n, (long long)n, (long long)most);
  }
}

/* Numbers that are not finite, and in the covariance's root any above the diagonal. */
static void CheckValues(const char *path, int d, PetscInt64 rows, PetscInt64 columns, const PetscScalar *x, Fault *fault)
{
  for (PetscInt64 i = 0; i < rows; i++) {
    for (PetscInt64 j = 0; j < columns; j++) {
      const PetscScalar value = x[i * columns + j];

      if (!(PetscAbsScalar(value) <= PETSC_MAX_REAL)) {
        SetFault(fault, PETSC_ERR_FP, "%s[%lld,%lld] of -linear_path %s is %g; all numbers must be finite", Names[d], (long long)i, (long long)j, path, (double)value);
        return;
      }
      if (d == KAL_LINEAR_COVARIANCE && j > i && value != 0.0) {
        SetFault(fault, PETSC_ERR_ARG_WRONG, "%s[%lld,%lld] of -linear_path %s is %g, above the diagonal; it must be the lower triangular L of the covariance L L^T, as a Cholesky factorization gives it", Names[d], (long long)i, (long long)j, path, (double)value);
        return;
      }
    }
  }
}

static void ReadOne(hid_t file, const char *path, int d, const Shapes *shapes, PetscScalar *x, Fault *fault)
{
  Shapes      now  = {{0}, {0}};
  const hid_t data = H5Dopen2(file, Names[d], H5P_DEFAULT);

  if (data < 0) {
    Hdf5Fault(fault, Names[d], path);
    return;
  }
  ShapeOf(data, Names[d], path, &now.rows[d], &now.columns[d], fault);
  if (!fault->text[0]) {
    if (now.rows[d] != shapes->rows[d] || now.columns[d] != shapes->columns[d]) SetFault(fault, PETSC_ERR_FILE_READ, "%s was changed while it was read; start again", path);
    else if (H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) < 0) Hdf5Fault(fault, Names[d], path);
    else CheckValues(path, d, shapes->rows[d], shapes->columns[d], x, fault);
  }
  (void)H5Dclose(data);
}

static void ReadAll(const KalLinearModel *linear, const Shapes *shapes, Fault *fault)
{
  PetscScalar *x    = (PetscScalar *)linear->shared.data;
  const hid_t  file = Open(linear->path, fault);

  if (file < 0) return;
  for (int d = 0; d < KAL_LINEAR_DATASETS && !fault->text[0]; d++) {
    if (shapes->rows[d]) ReadOne(file, linear->path, d, shapes, x, fault);
    x += shapes->rows[d] * shapes->columns[d];
  }
  (void)H5Fclose(file);
}

/* HDF5 prints its stack on every rank unless told not to; the text is taken from the stack instead. */
typedef struct {
  H5E_auto2_t func;
  void       *data;
} Quiet;

static void QuietBegin(Quiet *quiet)
{
  (void)H5Eget_auto2(H5E_DEFAULT, &quiet->func, &quiet->data);
  (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static void QuietEnd(const Quiet *quiet)
{
  (void)H5Eset_auto2(H5E_DEFAULT, quiet->func, quiet->data);
}

/* What stands for the model's matrices in its layout. */
static PetscErrorCode Digest(MPI_Comm comm, KalLinearModel *linear)
{
  const size_t bytes = (size_t)linear->n * (size_t)linear->n * sizeof(PetscScalar);
  PetscMPIInt  rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank == 0) {
    PetscCall(KalDigest(linear->data[KAL_LINEAR_MATRIX], bytes, 0, &linear->digest));
    if (linear->data[KAL_LINEAR_NOISE]) PetscCall(KalDigest(linear->data[KAL_LINEAR_NOISE], bytes, linear->digest, &linear->digest));
  }
  PetscCallMPI(MPI_Bcast(&linear->digest, 1, MPIU_INT64, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalLinearModelRead_Private(MPI_Comm comm, KalLinearModel *linear)
{
  Shapes       shapes = {{0}, {0}};
  Fault        fault  = {PETSC_SUCCESS, ""};
  Quiet        quiet;
  PetscInt64   total = 0;
  PetscScalar *x;
  PetscMPIInt  rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (rank == 0) {
    QuietBegin(&quiet);
    FindShapes(linear->path, &shapes, &fault);
    QuietEnd(&quiet);
    if (!fault.text[0]) CheckShapes(linear->path, &shapes, &fault);
  }
  KalCheckAll(comm, fault.code, fault.text);
  PetscCallMPI(MPI_Bcast(&shapes, (PetscMPIInt)sizeof shapes, MPI_BYTE, 0, comm));
  for (int d = 0; d < KAL_LINEAR_DATASETS; d++) total += shapes.rows[d] * shapes.columns[d];
  PetscCall(KalSharedDestroy(&linear->shared));
  PetscCall(KalSharedCreate(comm, total * (PetscInt64)sizeof *x, &linear->shared));
  if (linear->shared.noderank == 0) {
    QuietBegin(&quiet);
    ReadAll(linear, &shapes, &fault);
    QuietEnd(&quiet);
  }
  KalCheckAll(comm, fault.code, fault.text);
  PetscCall(KalSharedSync(&linear->shared));
  linear->n         = (PetscInt)shapes.rows[KAL_LINEAR_MATRIX];
  linear->dimension = shapes.rows[KAL_LINEAR_COORDINATES] ? (PetscInt)shapes.columns[KAL_LINEAR_COORDINATES] : 0;
  x                 = (PetscScalar *)linear->shared.data;
  for (int d = 0; d < KAL_LINEAR_DATASETS; d++) {
    linear->data[d] = shapes.rows[d] ? x : NULL;
    x += shapes.rows[d] * shapes.columns[d];
  }
  PetscCall(Digest(comm, linear));
  PetscFunctionReturn(PETSC_SUCCESS);
}
