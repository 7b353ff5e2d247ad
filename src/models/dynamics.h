/* What the dynamical models share: set-up, Gaussian priors, places on a circle, members side by side in vector lanes. */
#ifndef KALMIA_DYNAMICS_H
#define KALMIA_DYNAMICS_H

#include <models/modelimpl.h>

#include <ensemble/wider.h>

/*
  Members that are advanced together: entry i of the l-th of them is number i*KAL_LANES + l. No operation goes from lane to
  lane, and empty lanes are worked on too, so a member's bits do not depend on the others.
*/
#define KAL_LANES 8

/* Numbers of a cache line; work space starts on lines. */
#define KAL_LINE 8

PETSC_INTERN PetscErrorCode KalDynamicsSetUp_Private(KalModel, PetscInt64 size, PetscReal step);
PETSC_INTERN PetscErrorCode KalDynamicsCheckReal_Private(KalModel, const char *option, PetscReal value, PetscReal least, PetscBool open);
PETSC_INTERN PetscErrorCode KalDynamicsCheckList_Private(MPI_Comm, const char *option, PetscInt most);
PETSC_INTERN PetscErrorCode KalDynamicsDraw_Private(KalKey, PetscInt n, const PetscScalar *mean, PetscReal variance, PetscScalar *x);
PETSC_INTERN PetscErrorCode KalDynamicsMark_Private(const KalColumns *, KalStatus *);
PETSC_INTERN PetscErrorCode KalDynamicsAllocate_Private(size_t count, PetscScalar **memory, PetscScalar **first);

PETSC_INTERN PetscErrorCode KalCircleLocate_Private(KalModel, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds);
PETSC_INTERN PetscErrorCode KalCircleDomain_Private(KalModel, KalDomain *);

PETSC_INTERN void KalLanesGather_Private(const KalColumns *, PetscInt first, PetscInt n, PetscScalar *lanes);
PETSC_INTERN void KalLanesScatter_Private(const PetscScalar *lanes, PetscInt first, PetscInt n, const KalColumns *);

#endif
