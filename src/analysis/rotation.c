/* Random rotations of the anomalies that keep the ensemble's mean and covariance. */
#include "filter.h"

#include <petscblaslapack.h>

PETSC_EXTERN void dorgqr_(const PetscBLASInt *, const PetscBLASInt *, const PetscBLASInt *, PetscReal *, const PetscBLASInt *, const PetscReal *, PetscReal *, const PetscBLASInt *, PetscBLASInt *);

/*
  The Householder reflection that takes x (size numbers) to a multiple of the first unit vector: I - tau v v' with v[0] = 1, as
  LAPACK stores it. Returns the sign of that multiple.
*/
static PetscReal Reflection(PetscInt size, PetscReal *x, PetscReal *tau)
{
  PetscReal square = 0.0, beta;
  PetscInt  i;

  for (i = 1; i < size; i++) square += x[i] * x[i];
  *tau = 0.0;
  if (square == 0.0) return x[0] < 0.0 ? -1.0 : 1.0;
  beta = PetscSqrtReal(square + x[0] * x[0]);
  if (x[0] > 0.0) beta = -beta;
  *tau = (beta - x[0]) / beta;
  for (i = 1; i < size; i++) x[i] /= x[0] - beta;
  return beta < 0.0 ? -1.0 : 1.0;
}

/* H (m x m), uniform over the orthogonal matrices: Q of the QR factorization with a positive diagonal of a matrix of normals (Stewart 1980). */
static PetscErrorCode Haar(KalAnalysis analysis, PetscInt cycle, PetscInt m, PetscReal *H)
{
  KalKey       key   = {analysis->seed, KAL_DRAW_ROTATION, cycle, 0};
  PetscBLASInt order = 0, lwork = -1, info = 0;
  PetscReal   *tau, *sign, *work, size;
  PetscInt     i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(m, &order));
  PetscCall(PetscMalloc2(m, &tau, m, &sign));
  for (j = 0; j < m; j++) {
    PetscReal *column = H + (size_t)j * m;

    key.member = j;
    PetscCall(KalDrawNormal(key, 0, m - j, column + j));
    sign[j] = Reflection(m - j, column + j, &tau[j]);
  }
  dorgqr_(&order, &order, &order, H, &order, tau, &size, &lwork, &info);
  lwork = (PetscBLASInt)size;
  PetscCall(PetscMalloc1(lwork, &work));
  dorgqr_(&order, &order, &order, H, &order, tau, work, &lwork, &info);
  PetscCall(PetscFree(work));
  PetscCheck(!info, analysis->comm, PETSC_ERR_LIB, "LAPACK's dorgqr did not make a rotation of %" PetscInt_FMT " members: info = %d", m + 1, (int)info);
  for (j = 0; j < m; j++) {
    for (i = 0; i < m; i++) H[i + (size_t)j * m] *= sign[j];
  }
  PetscCall(PetscFree2(tau, sign));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalProjection - y = L x, L (N x (N - 1)) having orthonormal columns that are orthogonal to the vector of ones

  L is the deterministic projection of Nerger et al. (2012), eq. 13. x has N - 1 numbers, y N; they may be the same array.
*/
PetscErrorCode KalProjection(PetscInt N, const PetscReal *x, PetscReal *y)
{
  const PetscReal root = PetscSqrtReal((PetscReal)N);
  PetscReal       sum  = 0.0;
  PetscInt        i;

  PetscFunctionBeginUser;
  for (i = 0; i < N - 1; i++) sum += x[i];
  for (i = 0; i < N - 1; i++) y[i] = x[i] - sum / ((PetscReal)N * (1.0 / root + 1.0));
  y[N - 1] = -sum / root;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalProjectionTranspose - x = L' y
*/
PetscErrorCode KalProjectionTranspose(PetscInt N, const PetscReal *y, PetscReal *x)
{
  const PetscReal root = PetscSqrtReal((PetscReal)N), last = y[N - 1];
  PetscReal       sum = 0.0;
  PetscInt        i;

  PetscFunctionBeginUser;
  for (i = 0; i < N - 1; i++) sum += y[i];
  for (i = 0; i < N - 1; i++) x[i] = y[i] - sum / ((PetscReal)N * (1.0 / root + 1.0)) - last / root;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Q = L H L' + 1 1'/N */
static PetscErrorCode MeanPreserving(KalAnalysis analysis, PetscInt cycle, PetscInt N, PetscReal *Q)
{
  PetscReal *H, *half, *row;
  PetscInt   i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3((size_t)N * N, &H, (size_t)N * N, &half, N, &row));
  PetscCall(Haar(analysis, cycle, N - 1, H));
  for (j = 0; j < N - 1; j++) PetscCall(KalProjection(N, H + (size_t)j * (N - 1), half + (size_t)j * N)); /* L H */
  for (i = 0; i < N; i++) {
    for (j = 0; j < N - 1; j++) row[j] = half[i + (size_t)j * N];
    PetscCall(KalProjection(N, row, row));
    for (j = 0; j < N; j++) Q[i + (size_t)j * N] = row[j] + 1.0 / (PetscReal)N;
  }
  PetscCall(PetscFree3(H, half, row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRotationMatrix - A random orthogonal matrix that keeps the mean: Q'Q = I, Q 1 = 1, on every rank with the same bits

  Collective. Q is N x N, uniform over such matrices; its normals are keyed by seed and cycle. Anomalies X (columns of members) become
  X Q: mean and covariance stay.
*/
PetscErrorCode KalRotationMatrix(KalAnalysis analysis, PetscInt cycle, PetscInt N, PetscReal *Q)
{
  PetscErrorCode error = PETSC_SUCCESS;
  int            bad;

  PetscFunctionBeginUser;
  if (analysis->uniform || analysis->rank == 0) error = MeanPreserving(analysis, cycle, N, Q);
  if (!analysis->uniform) {
    bad = (int)error;
    PetscCallMPI(MPI_Bcast(&bad, 1, MPI_INT, 0, analysis->comm));
    error = (PetscErrorCode)bad;
    if (!bad) PetscCall(KalFromFirst(analysis, (size_t)N * N, Q));
  }
  PetscCall(error);
  PetscFunctionReturn(PETSC_SUCCESS);
}
