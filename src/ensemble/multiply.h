/* Products of small matrices that a rank holds whole. */
#ifndef KALMIA_MULTIPLY_H
#define KALMIA_MULTIPLY_H

#include <kalmia/types.h>

PETSC_INTERN PetscErrorCode KalMultiply(const char[2], PetscInt, PetscInt, PetscInt, PetscReal, const PetscReal *, const PetscReal *, PetscReal, PetscReal *);

#endif
