/*
  Who works on which members, where a member takes more than one rank's work: with as many members as ranks or more every rank
  works on its own alone; with fewer, neighbouring ranks share one, the last of them its owner.
*/
#ifndef KALMIA_SHARING_H
#define KALMIA_SHARING_H

#include <kalmia/ensemble.h>

typedef struct {
  MPI_Comm    all, comm; /* all ranks; those that share a member */
  PetscMPIInt rank, size;
  PetscInt    members;
  PetscInt    first, last; /* members that this rank works on */
  PetscBool   owner;       /* whether they are its own */
} KalGroup;

PETSC_INTERN PetscErrorCode KalGroupCreate(MPI_Comm, PetscInt members, KalGroup *);
PETSC_INTERN void           KalGroupShare(const KalGroup *, PetscInt count, PetscInt *first, PetscInt *last);
PETSC_INTERN PetscErrorCode KalGroupGather(const KalGroup *, PetscInt count, size_t bytes, void *records);
PETSC_INTERN PetscErrorCode KalGroupFromOwner(const KalGroup *, PetscInt count, PetscScalar *numbers);
PETSC_INTERN PetscErrorCode KalGroupCollect(const KalGroup *, PetscInt numbers, PetscReal *records);
PETSC_INTERN PetscErrorCode KalGroupDestroy(KalGroup *);

#endif
