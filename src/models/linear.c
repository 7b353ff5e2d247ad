/*
  The model "linear": a matrix a step, with or without model noise.

  The bits of a BLAS call follow from its shape, so members go through it in canonical blocks: member m is column
  m % KAL_LINEAR_BLOCK of a product of KAL_LINEAR_BLOCK columns, of which those that are not here are 0.
*/
#include <models/linear.h>

#include <petscblaslapack.h>

static PetscErrorCode KalModelSetFromOptions_Linear(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalLinearModel *linear = (KalLinearModel *)model->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model linear: a matrix from a file");
  PetscCall(PetscOptionsString("-linear_path", "HDF5 file with /M and perhaps /mean, /covariance_root, /noise_root, /coordinates", "KALMODELLINEAR", linear->path, linear->path, sizeof linear->path, NULL));
  PetscCall(PetscOptionsReal("-linear_step", "model time of one product with the matrix", "KALMODELLINEAR", linear->step, &linear->step, NULL));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLocate_Linear(KalModel model, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  const KalLinearModel *linear = (const KalLinearModel *)model->data;
  const PetscInt        d      = linear->dimension;

  PetscFunctionBeginUser;
  (void)kinds; /* zero already */
  for (PetscInt k = 0; k < count; k++) {
    for (PetscInt a = 0; a < d; a++) coordinates[(size_t)k * KAL_DIMENSIONS + (size_t)a] = linear->data[KAL_LINEAR_COORDINATES][(size_t)entries[k] * (size_t)d + (size_t)a];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDomain_Linear(KalModel model, KalDomain *domain)
{
  PetscFunctionBeginUser;
  domain->dimension = ((const KalLinearModel *)model->data)->dimension;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_Linear(KalModel model)
{
  KalLinearModel *linear = (KalLinearModel *)model->data;
  size_t          size;

  PetscFunctionBeginUser;
  PetscCheck(linear->path[0], model->comm, PETSC_ERR_ARG_WRONGSTATE, "The model linear has no matrix: give -linear_path FILE, an HDF5 file with the data set /M");
  PetscCall(KalDynamicsCheckReal_Private(model, "-linear_step", linear->step, 0.0, PETSC_TRUE));
  PetscCall(KalLinearModelRead_Private(model->comm, linear));
  PetscCall(KalDynamicsSetUp_Private(model, linear->n, linear->step));
  size = (size_t)linear->n * KAL_LINEAR_BLOCK;
  PetscCall(PetscFree(linear->memory));
  PetscCall(KalDynamicsAllocate_Private(3 * size, &linear->memory, &linear->x));
  linear->y         = linear->x + size;
  linear->z         = linear->y + size;
  model->ops.locate = linear->dimension ? KalModelLocate_Linear : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first i + 1 terms of a product, by eight sums in a fixed order. */
KAL_WIDER static PetscScalar Dot(PetscInt count, const PetscScalar *a, const PetscScalar *b)
{
  PetscScalar sum[8] = {0.0}, rest = 0.0;
  PetscInt    j = 0;

  for (; j + 8 <= count; j += 8) {
    for (int l = 0; l < 8; l++) sum[l] += a[j + l] * b[j + l];
  }
  for (; j < count; j++) rest += a[j] * b[j];
  return (((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]))) + rest;
}

static PetscErrorCode KalModelInitial_Linear(KalModel model, KalKey key, PetscScalar *x)
{
  const KalLinearModel *linear = (const KalLinearModel *)model->data;
  const PetscScalar    *mean = linear->data[KAL_LINEAR_MEAN], *root = linear->data[KAL_LINEAR_COVARIANCE];
  const PetscInt        n = linear->n;

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal(key, 0, n, x));
  if (root) { /* from the last row up: row i needs the draws up to i alone */
    for (PetscInt i = n - 1; i >= 0; i--) x[i] = Dot(i + 1, root + (size_t)i * (size_t)n, x);
  }
  if (mean) {
    for (PetscInt i = 0; i < n; i++) x[i] += mean[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_Linear(KalModel model, PetscReal *spread)
{
  const KalLinearModel *linear = (const KalLinearModel *)model->data;
  const PetscScalar    *root   = linear->data[KAL_LINEAR_COVARIANCE];

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < linear->n; i++) {
    const PetscScalar *row = root ? root + (size_t)i * (size_t)linear->n : NULL;

    spread[i] = row ? PetscSqrtReal(Dot(i + 1, row, row)) : 1.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = a x + beta y with a in C order */
static PetscErrorCode Product(const KalLinearModel *linear, const PetscScalar *a, const PetscScalar *x, PetscScalar beta, PetscScalar *y)
{
  const PetscScalar one = 1.0;
  PetscBLASInt      n, block;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(linear->n, &n));
  PetscCall(PetscBLASIntCast(KAL_LINEAR_BLOCK, &block));
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &n, &block, &n, &one, a, &n, x, &n, &beta, y, &n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some steps of the block in linear->x, whose columns here are members first, ..., last - 1; it ends in linear->x. */
static PetscErrorCode Advance(KalModel model, PetscInt steps, PetscInt64 block, PetscInt64 first, PetscInt64 last)
{
  KalLinearModel *linear = (KalLinearModel *)model->data;
  const PetscInt  n      = linear->n;
  KalKey          key;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetKey(model, &key));
  for (PetscInt s = 0; s < steps; s++) {
    PetscScalar *next = linear->y;

    PetscCall(Product(linear, linear->data[KAL_LINEAR_MATRIX], linear->x, 0.0, next));
    if (linear->data[KAL_LINEAR_NOISE]) {
      PetscCall(PetscArrayzero(linear->z, (size_t)n * KAL_LINEAR_BLOCK));
      for (key.member = first; key.member < last; key.member++) PetscCall(KalDrawNormal(key, (PetscInt64)s * n, n, linear->z + (size_t)(key.member - block) * (size_t)n));
      PetscCall(Product(linear, linear->data[KAL_LINEAR_NOISE], linear->z, 1.0, next));
    }
    linear->y = linear->x;
    linear->x = next;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelPropagate_Linear(KalModel model, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *columns, KalStatus *status)
{
  KalLinearModel  *linear = (KalLinearModel *)model->data;
  const PetscInt64 begin = columns->first, end = begin + columns->count;
  const PetscInt   n = linear->n;
  PetscInt         steps;

  PetscFunctionBeginUser;
  (void)parameters;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  for (PetscInt64 block = begin / KAL_LINEAR_BLOCK * KAL_LINEAR_BLOCK; block < end; block += KAL_LINEAR_BLOCK) {
    const PetscInt64 first = PetscMax(block, begin), last = PetscMin(block + KAL_LINEAR_BLOCK, end);

    PetscCall(PetscArrayzero(linear->x, (size_t)n * KAL_LINEAR_BLOCK));
    for (PetscInt64 m = first; m < last; m++) PetscCall(PetscArraycpy(linear->x + (size_t)(m - block) * (size_t)n, columns->column[m - begin], n));
    PetscCall(Advance(model, steps, block, first, last));
    for (PetscInt64 m = first; m < last; m++) PetscCall(PetscArraycpy(columns->column[m - begin], linear->x + (size_t)(m - block) * (size_t)n, n));
  }
  PetscCall(KalDynamicsMark_Private(columns, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelTangent_Linear(KalModel model, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  KalLinearModel *linear = (KalLinearModel *)model->data;
  const size_t    n      = (size_t)linear->n;
  PetscInt        steps;

  PetscFunctionBeginUser;
  (void)x;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  for (PetscInt k = 0; k < columns; k += KAL_LINEAR_BLOCK) {
    const size_t count = n * (size_t)PetscMin(columns - k, KAL_LINEAR_BLOCK);

    PetscCall(PetscArrayzero(linear->x, n * KAL_LINEAR_BLOCK));
    PetscCall(PetscArraycpy(linear->x, dx + (size_t)k * n, count));
    for (PetscInt s = 0; s < steps; s++) {
      PetscScalar *next = linear->y;

      PetscCall(Product(linear, linear->data[KAL_LINEAR_MATRIX], linear->x, 0.0, next));
      linear->y = linear->x;
      linear->x = next;
    }
    PetscCall(PetscArraycpy(dx + (size_t)k * n, linear->x, count));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_Linear(KalModel model, size_t size, char *text)
{
  const KalLinearModel *linear = (const KalLinearModel *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, size, "linear %" PetscInt_FMT " step %.15g matrices %016llx", linear->n, (double)linear->step, (unsigned long long)linear->digest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_Linear(KalModel model, PetscInt samples, PetscReal *bytes)
{
  const KalLinearModel *linear = (const KalLinearModel *)model->data;
  PetscMPIInt           ranks;

  PetscFunctionBeginUser;
  (void)samples;
  PetscCallMPI(MPI_Comm_size(linear->shared.node, &ranks));
  *bytes = 3.0 * (PetscReal)linear->n * KAL_LINEAR_BLOCK * sizeof(PetscScalar) + (PetscReal)linear->shared.bytes / (PetscReal)ranks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_Linear(KalModel model, PetscViewer viewer)
{
  const KalLinearModel *linear = (const KalLinearModel *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "matrix of %s, a step of %g time units\n", linear->path[0] ? linear->path : "(no file yet)", (double)linear->step));
  if (!linear->n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscViewerASCIIPrintf(viewer, "mean %s, covariance %s, model noise %s\n", linear->data[KAL_LINEAR_MEAN] ? "of the file" : "0", linear->data[KAL_LINEAR_COVARIANCE] ? "of the file" : "the identity", linear->data[KAL_LINEAR_NOISE] ? "of the file" : "none"));
  if (linear->dimension) PetscCall(PetscViewerASCIIPrintf(viewer, "coordinates of the file, %" PetscInt_FMT " an entry\n", linear->dimension));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_Linear(KalModel model)
{
  KalLinearModel *linear = (KalLinearModel *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalSharedDestroy(&linear->shared));
  PetscCall(PetscFree(linear->memory));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELLINEAR - "linear", x(t + step) = M x(t) + noise, with a dense matrix from an HDF5 file

   Options Database Keys:
+  -linear_path - the file; needed
-  -linear_step <1> - model time of one product with M

   Notes:
   Data sets of the file, matrices in C order (entry i,j is the weight of x_j in x_i), integers or floating-point numbers\:
+  /M - n x n, needed; n is at most 10000, since all is dense
.  /mean - n, the initial members' mean; default 0
.  /covariance_root - n x n, lower triangular L: initial members are mean + L z; default the identity
.  /noise_root - n x n, any B\: the noise of a step is B z with z new each step; default none
-  /coordinates - n x 1, 2 or 3, places of the entries, of a domain that is not periodic; default none, and no localization then

   Entry i of z is the i-th normal number of the member's key for a start, and number s n + i of the key of KalModelSetKey() for
   step s of a forecast. The tangent leaves the noise out.

   The file is read by one rank of each node, into memory that the node shares. The layout for a restart holds a digest of M
   and the noise's root.

   Linear dynamics with linear observations and Gaussian noise have the Kalman filter as exact answer.
   Source: Kalman, A new approach to linear filtering and prediction problems, J. Basic Eng. 82 (1960).
M*/
PetscErrorCode KalModelCreate_Linear(KalModel model)
{
  KalLinearModel *linear;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&linear));
  linear->step              = 1.0;
  model->data               = linear;
  model->ops.setfromoptions = KalModelSetFromOptions_Linear;
  model->ops.setup          = KalModelSetUp_Linear;
  model->ops.initial        = KalModelInitial_Linear;
  model->ops.spread         = KalModelSpread_Linear;
  model->ops.propagate      = KalModelPropagate_Linear;
  model->ops.tangent        = KalModelTangent_Linear;
  model->ops.domain         = KalModelDomain_Linear;
  model->ops.layout         = KalModelLayout_Linear;
  model->ops.memory         = KalModelMemory_Linear;
  model->ops.view           = KalModelView_Linear;
  model->ops.destroy        = KalModelDestroy_Linear;
  PetscFunctionReturn(PETSC_SUCCESS);
}
