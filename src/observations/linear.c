/* Linear operators: what is observed of a state, and dense error covariances by their Cholesky factor. */
#include "timed.h"

#include <petscblaslapack.h>

/*@
   KalLinearApply - Applies a linear observation operator to a state

   Not Collective

   Input Parameters:
+  linear - the operator: p sparse rows
-  x - a state: as many numbers as the operator's entries need

   Output Parameter:
.  y - p numbers; y_i is the sum of weight times entry over row i, in the order they are stored in
@*/
PetscErrorCode KalLinearApply(const KalLinear *linear, const PetscScalar *x, PetscScalar *y)
{
  const PetscInt        p     = linear->rows;
  const PetscInt *const start = linear->start, *const entry = linear->entry;
  const PetscReal *const weight = linear->weight;

  PetscFunctionBeginUser;
  if (!start) {
    if (weight)
      for (PetscInt i = 0; i < p; i++) y[i] = weight[i] * x[entry[i]];
    else
      for (PetscInt i = 0; i < p; i++) y[i] = x[entry[i]];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt i = 0; i < p; i++) {
    PetscScalar sum = 0.0;

    if (weight)
      for (PetscInt k = start[i]; k < start[i + 1]; k++) sum += weight[k] * x[entry[k]];
    else
      for (PetscInt k = start[i]; k < start[i + 1]; k++) sum += x[entry[k]];
    y[i] = sum;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsWhitenColumn - Divides a column of predictions or targets by the root of a dense error covariance

   Not Collective

   Input Parameters:
+  batch - observations in time; without a dense covariance nothing is done
-  column - p numbers

   Output Parameter:
.  column - inv(L) column in its place, R = L L'; errors are independent and of variance 1 then

   Note:
   A filter on columns whitened so has the same innovations as with R itself: (H X)' inv(R) (H X) is unchanged.
@*/
PetscErrorCode KalObservationsWhitenColumn(const KalBatch *batch, PetscScalar *column)
{
  const PetscReal    one    = 1.0;
  const PetscBLASInt single = 1;
  PetscBLASInt       p;

  PetscFunctionBeginUser;
  if (!batch->root || !batch->samples) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscBLASIntCast(batch->samples, &p));
  PetscCallBLAS("BLAStrsm", BLAStrsm_("L", "L", "N", "N", &p, &single, &one, batch->root, &p, column, &p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Looks for what no covariance has: NaN, a variance that is not positive, two halves that differ. */
static void CheckSymmetric(PetscInt p, const PetscReal *R, const char *where, KalFault *fault)
{
  const size_t n = (size_t)p;

  for (size_t i = 0; i < n && !fault->text[0]; i++) {
    for (size_t j = 0; j < n; j++)
      if (PetscIsInfOrNanReal(R[i * n + j])) {
        KalFaultSet(fault, PETSC_ERR_FP, "%s holds %g in row %zu, column %zu (from 0); error covariances must be finite", where, (double)R[i * n + j], i, j);
        return;
      }
    if (!(R[i * n + i] > 0.0)) KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "%s holds the variance %g in row %zu (from 0) of its diagonal; variances must be positive", where, (double)R[i * n + i], i);
  }
  for (size_t i = 0; i < n && !fault->text[0]; i++) {
    for (size_t j = 0; j < i; j++) {
      const PetscReal a = R[i * n + j], b = R[j * n + i];

      if (PetscAbsReal(a - b) > 1e-6 * PetscSqrtReal(R[i * n + i] * R[j * n + j])) {
        KalFaultSet(fault, PETSC_ERR_ARG_WRONG, "%s is not symmetric: it holds %g in row %zu, column %zu and %g in row %zu, column %zu (from 0); an error covariance is", where, (double)a, i, j, (double)b, j, i);
        return;
      }
    }
  }
}

/* A dense covariance, p x p, becomes its lower Cholesky factor by columns, with zeros above; its lower triangle is the one used. */
static void RootOf(PetscInt p, PetscReal *R, const char *where, KalFault *fault)
{
  const size_t n     = (size_t)p;
  PetscBLASInt order = (PetscBLASInt)p, info = 0;

  CheckSymmetric(p, R, where, fault);
  if (fault->text[0]) return;
  /* A row of a file is a column here: where the halves differ in their last digits, the lower one counts. */
  for (size_t i = 0; i < n; i++)
    for (size_t j = 0; j < i; j++) R[j * n + i] = R[i * n + j];
  LAPACKpotrf_("L", &order, R, &order, &info);
  if (info > 0) KalFaultSet(fault, PETSC_ERR_MAT_CH_ZRPVT, "%s is not positive definite: its leading minor of order %d of %" PetscInt_FMT " is not positive; give a covariance, or errors that are independent in /error", where, (int)info, p);
  else if (info < 0) KalFaultSet(fault, PETSC_ERR_LIB, "LAPACK's potrf refuses its argument %d for %s", -(int)info, where);
  for (size_t j = 1; j < n; j++)
    for (size_t i = 0; i < j; i++) R[j * n + i] = 0.0;
}

/* Collective. Makes the factor of a dense error covariance, where there is one, once a node. */
PetscErrorCode KalTimedRoot(KalObservations obs, const char *path)
{
  KalTimed *t     = obs->timed;
  KalFault  fault = {PETSC_SUCCESS, ""};
  char      where[PETSC_MAX_PATH_LEN + 32];

  PetscFunctionBeginUser;
  if (!t->root) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(where, sizeof where, "/R of %s", path));
  if (!obs->noderank) RootOf(t->size.dense, t->root, where, &fault);
  KalCheckAll(obs->comm, fault.code, fault.text);
  PetscCall(KalSharedSync(&t->store));
  PetscFunctionReturn(PETSC_SUCCESS);
}
