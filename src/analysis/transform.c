/*
  The transform X T of row blocks, and what every N x N transform has in common: failed members take no
  part and are redrawn from the survivors, as further columns of T.
*/
#include "analysisimpl.h"

#include <petscblaslapack.h>

/*
  KalTransformCenter - Subtracts from each column of T its mean over the active rows, so that members enter as departures from their mean

  Rows of failed members become zero.
*/
PetscErrorCode KalTransformCenter(PetscInt N, const KalStatus *status, PetscInt active, PetscReal *T)
{
  PetscInt j, k;

  PetscFunctionBeginUser;
  for (j = 0; j < N; j++) {
    PetscReal *column = T + (size_t)j * N, mean = 0.0;

    for (k = 0; k < N; k++) mean += status[k] == KAL_MEMBER_OK ? column[k] : 0.0;
    mean /= active;
    for (k = 0; k < N; k++) column[k] = status[k] == KAL_MEMBER_OK ? column[k] - mean : 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean of the active columns: the coefficients of the new mean. */
static void MeanColumn(PetscInt N, const KalStatus *status, PetscInt active, const PetscReal *T, PetscReal *mean)
{
  PetscInt j, k;

  for (k = 0; k < N; k++) mean[k] = 0.0;
  for (j = 0; j < N; j++) {
    if (status[j] != KAL_MEMBER_OK) continue;
    for (k = 0; k < N; k++) mean[k] += T[k + (size_t)j * N];
  }
  for (k = 0; k < N; k++) mean[k] /= active;
}

/*
  KalTransformInflate - Multiplies the departures of the new members from their mean by a factor
*/
PetscErrorCode KalTransformInflate(PetscInt N, PetscReal factor, const KalStatus *status, PetscInt active, PetscReal *T)
{
  PetscReal *mean;
  PetscInt   j, k;

  PetscFunctionBeginUser;
  if (factor == 1.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(N, &mean));
  MeanColumn(N, status, active, T, mean);
  for (j = 0; j < N; j++) {
    for (k = 0; k < N; k++) T[k + (size_t)j * N] = mean[k] + factor * (T[k + (size_t)j * N] - mean[k]);
  }
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalTransformRecover - Makes the columns of failed members: draws from the Gaussian of the surviving new members

  Member f becomes mean + sum over survivors k of (x_k - mean) z_k / sqrt(active - 1), z keyed by cycle, f and k.
*/
PetscErrorCode KalTransformRecover(KalAnalysis analysis, PetscInt cycle, const KalStatus *status, PetscInt active, PetscReal *T)
{
  const PetscInt N   = analysis->N;
  KalKey         key = {analysis->seed, KAL_DRAW_RECOVERY, cycle, 0};
  PetscReal     *mean, *z;
  PetscInt       f, j, k;

  PetscFunctionBeginUser;
  if (active == N) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(N, &mean, N, &z));
  MeanColumn(N, status, active, T, mean);
  for (f = 0; f < N; f++) {
    PetscReal *column = T + (size_t)f * N;

    if (status[f] == KAL_MEMBER_OK) continue;
    key.member = f;
    PetscCall(KalDrawNormal(key, 0, N, z));
    PetscCall(PetscArraycpy(column, mean, N));
    for (j = 0; j < N; j++) {
      const PetscReal weight = z[j] / PetscSqrtReal((PetscReal)PetscMax(1, active - 1));

      if (status[j] != KAL_MEMBER_OK) continue;
      for (k = 0; k < N; k++) column[k] += weight * (T[k + (size_t)j * N] - mean[k]);
    }
  }
  PetscCall(PetscFree2(mean, z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalTransformRows - Replaces a block of rows by work T, work being a contiguous copy of the rows, rows x N
*/
PetscErrorCode KalTransformRows(PetscInt rows, PetscInt N, PetscScalar *work, const PetscReal *T, PetscScalar *x, PetscInt ld)
{
  const PetscReal one = 1.0, zero = 0.0;
  PetscBLASInt    m, n, l;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(rows, &m));
  PetscCall(PetscBLASIntCast(N, &n));
  PetscCall(PetscBLASIntCast(ld, &l));
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &m, &n, &n, &one, work, &m, T, &n, &zero, x, &l));
  PetscCall(PetscLogFlops(2.0 * rows * N * N));
  PetscFunctionReturn(PETSC_SUCCESS);
}
