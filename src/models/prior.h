/* Priors of networks: independent weights, members perhaps scattered about one network. */
#ifndef KALMIA_PRIOR_H
#define KALMIA_PRIOR_H

#include <kalmia/types.h>

PETSC_INTERN PetscReal      KalPriorScale(const char *text, PetscInt fan_in, PetscInt fan_out);
PETSC_INTERN PetscErrorCode KalPriorDraw(PetscBool centered, PetscReal spread, KalKey, PetscReal sd, PetscInt64 first, PetscInt64 count, PetscScalar *x);

#endif
