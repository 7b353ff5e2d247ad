/* Ranks that share a member: sharing.h. */
#include "sharing.h"

#include <ensemble/events.h>

#include "ensembleimpl.h"

/* Collective over comm, which is borrowed. */
PetscErrorCode KalGroupCreate(MPI_Comm comm, PetscInt members, KalGroup *group)
{
  PetscMPIInt rank, size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  group->all     = comm;
  group->members = members;
  group->first   = KalShare(members, rank, size);
  group->last    = KalShare(members, rank + 1, size);
  group->owner   = (PetscBool)(group->last > group->first);
  if (!group->owner) group->last++;
  PetscCallMPI(MPI_Comm_split(comm, members >= size ? rank : (PetscMPIInt)group->first, rank, &group->comm));
  PetscCallMPI(MPI_Comm_rank(group->comm, &group->rank));
  PetscCallMPI(MPI_Comm_size(group->comm, &group->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's share of `count` things that the group works on. */
void KalGroupShare(const KalGroup *group, PetscInt count, PetscInt *first, PetscInt *last)
{
  *first = KalShare(count, group->rank, group->size);
  *last  = KalShare(count, group->rank + 1, group->size);
}

/* Every rank's share of `count` records of so many bytes comes to all ranks of a communicator. */
static PetscErrorCode Gather(MPI_Comm comm, PetscMPIInt size, PetscInt count, size_t bytes, void *records)
{
  PetscMPIInt *counts, *offsets, length, rank;
  MPI_Datatype record;

  PetscFunctionBeginUser;
  if (size == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCheck(bytes <= (size_t)PETSC_MPI_INT_MAX, comm, PETSC_ERR_ARG_OUTOFRANGE, "A record of %zu bytes is gathered; at most %d are possible: take smaller layers, or as many networks as ranks", bytes, PETSC_MPI_INT_MAX);
  length = (PetscMPIInt)bytes;
  KalCountCollective((PetscInt64)bytes * (KalShare(count, rank + 1, size) - KalShare(count, rank, size)), (PetscInt64)bytes * (count - (KalShare(count, rank + 1, size) - KalShare(count, rank, size))));
  PetscCall(PetscMalloc2(size, &counts, size, &offsets));
  for (PetscMPIInt r = 0; r < size; r++) {
    offsets[r] = (PetscMPIInt)KalShare(count, r, size);
    counts[r]  = (PetscMPIInt)KalShare(count, r + 1, size) - offsets[r];
  }
  PetscCallMPI(MPI_Type_contiguous(length, MPI_BYTE, &record));
  PetscCallMPI(MPI_Type_commit(&record));
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, records, counts, offsets, record, comm));
  PetscCallMPI(MPI_Type_free(&record));
  PetscCall(PetscFree2(counts, offsets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective over the group: each rank has made its share (KalGroupShare()) of the records, and gets all. */
PetscErrorCode KalGroupGather(const KalGroup *group, PetscInt count, size_t bytes, void *records)
{
  PetscFunctionBeginUser;
  PetscCall(Gather(group->comm, group->size, count, bytes, records));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective over the group: the owner's numbers come to all of it. */
PetscErrorCode KalGroupFromOwner(const KalGroup *group, PetscInt count, PetscScalar *numbers)
{
  PetscMPIInt length;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast(count, &length));
  if (group->size == 1) PetscFunctionReturn(PETSC_SUCCESS);
  KalCountCollective(group->owner ? count * (PetscInt64)sizeof *numbers : 0, group->owner ? 0 : count * (PetscInt64)sizeof *numbers);
  PetscCallMPI(MPI_Bcast(numbers, length, MPI_DOUBLE, group->size - 1, group->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective over all ranks: a record of numbers for each member comes from its owner to all. */
PetscErrorCode KalGroupCollect(const KalGroup *group, PetscInt numbers, PetscReal *records)
{
  PetscMPIInt size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(group->all, &size));
  PetscCall(Gather(group->all, size, group->members, (size_t)numbers * sizeof *records, records));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalGroupDestroy(KalGroup *group)
{
  PetscFunctionBeginUser;
  if (group->comm != MPI_COMM_NULL && group->size) PetscCallMPI(MPI_Comm_free(&group->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
