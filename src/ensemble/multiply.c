/* Products of small matrices that a rank holds whole. Rows of an ensemble are multiplied by KalTransformRows() and KalGramAdd(). */
#include <ensemble/multiply.h>

#include <petscblaslapack.h>

/*
  KalMultiply - C = factor A B + beta C, C m x n, the sum over k; `transposed` has a letter for each of A and B, N or T

  Columns lie one behind the other, those of a transposed matrix too.
*/
PetscErrorCode KalMultiply(const char transposed[2], PetscInt m, PetscInt n, PetscInt k, PetscReal factor, const PetscReal *A, const PetscReal *B, PetscReal beta, PetscReal *C)
{
  const char   a[2] = {transposed[0], '\0'}, b[2] = {transposed[1], '\0'};
  PetscBLASInt bm, bn, bk;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(m, &bm));
  PetscCall(PetscBLASIntCast(n, &bn));
  PetscCall(PetscBLASIntCast(k, &bk));
  PetscCallBLAS("BLASgemm", BLASgemm_(a, b, &bm, &bn, &bk, &factor, A, a[0] == 'T' ? &bk : &bm, B, b[0] == 'T' ? &bn : &bk, &beta, C, &bm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
