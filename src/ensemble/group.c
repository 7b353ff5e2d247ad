/*
  Members that several ranks work on together: a group of consecutive ranks, of which the first holds the members.

  A group gets whole columns of its members. In a node's shared window its ranks read them where they lie; else the first one
  sends them, some at a time. Members of a Gaussian ensemble, or of one on a line, are made by each rank of the group. Rows are no affair of
  groups: every rank has row blocks of its own, as without them.
*/
#include "ensembleimpl.h"

/* Numbers that one call sends: bounds the counts. */
#define KAL_GROUP_NUMBERS (1 << 20)

/*@
   KalEnsembleSetMemberComm - Says which ranks work on a member together

   Logically Collective

   Input Parameters:
+  ensemble - the ensemble, not set up yet
-  group - as many consecutive ranks of the ensemble's communicator as every other group has, the first of which will hold the group's members; borrowed

   Note:
   Without groups a rank works on members alone. Members are dealt out to the groups as they are to ranks; of P ranks in groups of s,
   rank r holds members from KalShare(N, r/s, P/s) on where s divides r, and none where it does not.

.seealso: KalEnsembleGroupGet()
@*/
PetscErrorCode KalEnsembleSetMemberComm(KalEnsemble ensemble, MPI_Comm group)
{
  PetscMPIInt size, place;

  PetscFunctionBeginUser;
  PetscCheck(!ensemble->setup, ensemble->comm, PETSC_ERR_ORDER, "Which ranks work on a member together is set before KalEnsembleSetUp()");
  PetscCallMPI(MPI_Comm_size(group, &size));
  PetscCallMPI(MPI_Comm_rank(group, &place));
  PetscCheck(ensemble->size % size == 0, ensemble->comm, PETSC_ERR_ARG_SIZ, "%d ranks do not make groups of %d ranks; the number of ranks must be a multiple of it", ensemble->size, size);
  ensemble->together = group;
  ensemble->span     = size;
  ensemble->place    = place;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetGroupRange - Gets the members that this rank's group works on

   Not Collective

   Input Parameter:
.  ensemble - the ensemble, set up

   Output Parameters:
+  first - the first of them, or NULL
-  last - one more than the last, or NULL; without groups, those of KalEnsembleGetOwnershipRange()
@*/
PetscErrorCode KalEnsembleGetGroupRange(KalEnsemble ensemble, PetscInt *first, PetscInt *last)
{
  const KalEnsemble e = ensemble;

  PetscFunctionBeginUser;
  if (first) *first = KalFirstMember(e, e->rank - e->place);
  if (last) *last = KalFirstMember(e, e->rank - e->place + e->span);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Send(KalEnsemble e, PetscScalar *x)
{
  const PetscInt64 bytes = (PetscInt64)e->n * (PetscInt64)sizeof *x;

  PetscFunctionBeginUser;
  KalCountCollective(e->place ? 0 : bytes, e->place ? bytes : 0);
  for (PetscInt at = 0; at < e->n; at += KAL_GROUP_NUMBERS) PetscCallMPI(MPI_Bcast(x + at, (PetscMPIInt)PetscMin(KAL_GROUP_NUMBERS, e->n - at), MPIU_SCALAR, 0, e->together));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Those of the first rank for the others of its group: where they lie, or copies. */
static PetscErrorCode GetOthers(KalEnsemble e, PetscInt first, PetscInt count, PetscBool own, PetscScalar *where)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < count; k++) {
    PetscScalar *there = e->base ? e->base + (size_t)(first + k) * e->n : NULL;

    e->pointers[k] = there && !own ? there : where + (size_t)k * e->n;
    if (there) {
      KalCountShared((PetscInt64)e->n * (PetscInt64)sizeof *there);
      if (own) PetscCall(PetscArraycpy(e->pointers[k], there, e->n));
    } else PetscCall(Send(e, e->pointers[k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGroupGet - Gets some consecutive members of a group as columns on each of its ranks

   Collective on the ranks of the group

   Input Parameters:
+  ensemble - the ensemble, set up
.  first - the first member, of this rank's group
.  count - how many, all of the group
-  own - whether this rank will write to its columns; those of the first rank are the members themselves, those of others copies that nobody else sees

   Output Parameter:
.  columns - the columns, until KalEnsembleRestoreColumns()

   Note:
   In a node's shared window the ranks of the group must have met since the first one wrote to the members, by any collective call: see KalEnsembleGroupMeet().
@*/
PetscErrorCode KalEnsembleGroupGet(KalEnsemble ensemble, PetscInt first, PetscInt count, PetscBool own, KalColumns *columns)
{
  KalEnsemble e = ensemble;

  PetscFunctionBeginUser;
  if (!e->place || KalMadeAnywhere(e)) {
    PetscCall(KalEnsembleGetColumns(e, first, count, columns));
    if (!KalMadeAnywhere(e) && e->span > 1 && !(e->kind == KAL_KIND_STORED && e->base)) {
      for (PetscInt k = 0; k < count; k++) PetscCall(Send(e, columns->column[k]));
    }
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalEnsembleReserve_Private(e, count, e->kind == KAL_KIND_STORED && e->base && !own ? 0 : (size_t)count * e->n));
  PetscCall(GetOthers(e, first, count, own, e->scratch));
  columns->first  = first;
  columns->count  = count;
  columns->total  = e->N;
  columns->size   = e->n;
  columns->column = e->pointers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGroupMeet - Makes what ranks of a group wrote to members visible to the others of the group

   Collective on the ranks of the group

   Input Parameter:
.  ensemble - the ensemble, set up
@*/
PetscErrorCode KalEnsembleGroupMeet(KalEnsemble ensemble)
{
  PetscFunctionBeginUser;
  if (ensemble->window == MPI_WIN_NULL || ensemble->span == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Win_sync(ensemble->window));
  PetscCallMPI(MPI_Barrier(ensemble->together));
  PetscCallMPI(MPI_Win_sync(ensemble->window));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the other ranks made of some members' rows comes to the first one, or goes there. */
static PetscErrorCode MoveRows(KalEnsemble e, PetscInt first, PetscInt count, const PetscInt bounds[], PetscScalar *made)
{
  MPI_Request *request;
  MPI_Datatype type;
  PetscMPIInt  requests = 0, length;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(e->span, &request));
  for (PetscMPIInt rank = 1; rank < e->span; rank++) {
    const PetscInt   rows  = bounds[rank + 1] - bounds[rank];
    const PetscInt64 bytes = (PetscInt64)rows * count * (PetscInt64)sizeof(PetscScalar);

    if (!rows || (e->place && rank != e->place)) continue;
    KalCountMessage(e->place ? bytes : 0, e->place ? 0 : bytes);
    PetscCall(PetscMPIIntCast(e->place ? (PetscInt64)rows * count : (PetscInt64)rows, &length));
    if (e->place) PetscCallMPI(MPI_Isend(made, length, MPIU_SCALAR, 0, 0, e->together, &request[requests++]));
    else {
      PetscCallMPI(MPI_Type_create_hvector((PetscMPIInt)count, length, (MPI_Aint)e->n * (MPI_Aint)sizeof(PetscScalar), MPIU_SCALAR, &type));
      PetscCallMPI(MPI_Type_commit(&type));
      PetscCallMPI(MPI_Irecv(e->local + (size_t)(first - e->first) * e->n + bounds[rank], 1, type, rank, 0, e->together, &request[requests++]));
      PetscCallMPI(MPI_Type_free(&type));
    }
  }
  PetscCallMPI(MPI_Waitall(requests, request, MPI_STATUSES_IGNORE));
  PetscCall(PetscFree(request));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGroupPlaces - Gets where this rank writes its rows of some members of its group

   Collective on the ranks of the group

   Input Parameters:
+  ensemble - a stored ensemble, set up
.  first - the first member, of this rank's group
.  count - how many
-  bounds - the rank at place i of the group writes rows bounds[i] to bounds[i+1] - 1; one number more than the group has ranks

   Output Parameter:
.  places - count pointers to row bounds[i] of each member; give them back with KalEnsembleGroupGather()
@*/
PetscErrorCode KalEnsembleGroupPlaces(KalEnsemble ensemble, PetscInt first, PetscInt count, const PetscInt bounds[], PetscScalar *places[])
{
  KalEnsemble    e    = ensemble;
  const PetscInt rows = bounds[e->place + 1] - bounds[e->place];

  PetscFunctionBeginUser;
  if (e->place && !e->base) PetscCall(KalEnsembleReserve_Private(e, 0, (size_t)rows * count));
  for (PetscInt k = 0; k < count; k++) {
    if (e->base) places[k] = e->base + (size_t)(first + k) * e->n + bounds[e->place];
    else if (e->place) places[k] = e->scratch + (size_t)k * rows;
    else places[k] = e->local + (size_t)(first + k - e->first) * e->n;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGroupGather - Takes what the ranks of a group wrote of its members to the first of them, who holds these

   Collective on the ranks of the group

   Input Parameters:
+  ensemble - a stored ensemble, set up
.  first - the first member
.  count - how many
-  bounds - as KalEnsembleGroupPlaces() was given
@*/
PetscErrorCode KalEnsembleGroupGather(KalEnsemble ensemble, PetscInt first, PetscInt count, const PetscInt bounds[])
{
  KalEnsemble e = ensemble;

  PetscFunctionBeginUser;
  if (e->base) {
    if (e->place) KalCountShared((PetscInt64)(bounds[e->place + 1] - bounds[e->place]) * count * (PetscInt64)sizeof(PetscScalar));
    PetscCall(KalEnsembleGroupMeet(e));
  } else PetscCall(MoveRows(e, first, count, bounds, e->scratch));
  PetscFunctionReturn(PETSC_SUCCESS);
}
