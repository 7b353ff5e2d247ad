/* What a run's bits depend on: version, commit, PETSc, BLAS and its kernels. */
#include "runimpl.h"

#include <ensemble/panels.h>

#ifndef KALMIA_COMMIT
#define KALMIA_COMMIT "unknown"
#endif

/*
  KalProvenance - One line that two runs must share to agree in their bits

  Not Collective
*/
PetscErrorCode KalProvenance(size_t length, char *text)
{
  char kernels[256];

  PetscFunctionBeginUser;
  PetscCall(KalGetKernels(sizeof kernels, kernels));
  PetscCall(PetscSNPrintf(text, length, "kalmia %s (%s), PETSc %d.%d.%d, BLAS %s, products %s", KALMIA_VERSION, KALMIA_COMMIT, PETSC_VERSION_MAJOR, PETSC_VERSION_MINOR, PETSC_VERSION_SUBMINOR, kernels, KalPanelsGet()->name));
  PetscFunctionReturn(PETSC_SUCCESS);
}
