/* The arithmetic of the method "layered" in both precisions. */
#include "layered.h"

#include <math.h>
#include <string.h>

#define KAL_LAYERED_NUMBERS 131072 /* of perturbed states at once: they stay in the second-level cache */

PetscErrorCode KalLayeredWork(KalLayered *layered, size_t bytes)
{
  PetscFunctionBeginUser;
  if (bytes > layered->workbytes) {
    layered->workbytes = 0;
    PetscCall(PetscFree(layered->work));
    PetscCall(PetscMalloc(bytes, &layered->work));
    layered->workbytes = bytes;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* q <- (H C + damping I)^-1 q with H = diag(d) - v v', by elimination with pivots; C is overwritten. */
PetscErrorCode KalLayeredWeigh(PetscInt n, const PetscReal *d, const PetscReal *v, const PetscReal *C, PetscReal damping, PetscReal *q)
{
  PetscReal   *M;
  PetscBLASInt size, one = 1, info, *pivot;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(n, &size));
  PetscCall(PetscMalloc2((size_t)n * (size_t)n, &M, n, &pivot));
  for (PetscInt j = 0; j < n; j++) {
    PetscReal dot = 0.0;

    for (PetscInt i = 0; i < n; i++) dot += v[i] * C[j * n + i];
    for (PetscInt i = 0; i < n; i++) M[j * n + i] = d[i] * C[j * n + i] - v[i] * dot + (i == j ? damping : 0.0);
  }
  PetscCallBLAS("LAPACKgesv", LAPACKgesv_(&size, &one, M, &size, pivot, q, &size, &info));
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_FP, "The weight of a sample is singular; a larger -layered_damping than %g keeps it from that", (double)damping);
  PetscCall(PetscFree2(M, pivot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define REAL    float
#define NAME(x) x##Single
#define PRODUCT productsingle
#define HEIGHT  heightsingle
#define DRAW    KalDrawNormalSingle
#include "layered_kernels.h"

#define REAL    double
#define NAME(x) x##Double
#define PRODUCT product
#define HEIGHT  height
#define DRAW    KalDrawNormal
#include "layered_kernels.h"
