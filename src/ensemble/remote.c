/*
  Members of other ranks, one-sided: a rank takes a member that lives elsewhere, works on it and gives it back, and the rank
  that holds it need not know.

  In a node's shared window, members are used where they lie. Otherwise they are copied through an MPI window over each rank's
  members, in an epoch that is open as long as the window is (passive target). Whether the other rank must take part after all is up
  to MPI. Open MPI moves the numbers by itself where MPI_Win_allocate() gave the memory, on a node and between nodes whose network
  has remote memory access; over memory that was there before, it does so only if the node lets one process read another's. Hence
  KalEnsembleSetRemote(), before the memory is taken. Where it cannot, it moves them when the other rank calls MPI next: when that has
  finished what it works on.
*/
#include "ensembleimpl.h"

#include <sys/statvfs.h>

/* Numbers that one call moves: bounds the counts. */
#define KAL_REMOTE_NUMBERS (1 << 20)

/*@
   KalEnsembleSetRemote - Says that other ranks will work on members, so that their memory is taken accordingly

   Logically Collective

   Input Parameters:
+  ensemble - the ensemble, not set up yet
-  remote - whether KalEnsembleRemoteBegin() will be called

   Note:
   Without it nothing changes but the time: a rank that wants a member may have to wait until the rank that holds it calls MPI.

.seealso: KalEnsembleRemoteBegin()
@*/
PetscErrorCode KalEnsembleSetRemote(KalEnsemble ensemble, PetscBool remote)
{
  PetscFunctionBeginUser;
  PetscCheck(!ensemble->setup, ensemble->comm, PETSC_ERR_ORDER, "Whether other ranks work on members is set before KalEnsembleSetUp()");
  ensemble->remote = remote;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether each node has the space for the windows of its ranks: MPI takes their memory from it where ranks share a node. */
static PetscErrorCode Fits(KalEnsemble e, PetscInt64 bytes, PetscBool *fits)
{
  const char    *folder = "/dev/shm";
  struct statvfs room;
  MPI_Comm       node;
  int            ok = 1;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_split_type(e->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &bytes, 1, MPI_INT64_T, MPI_SUM, node));
  PetscCallMPI(MPI_Comm_free(&node));
  if (!statvfs(folder, &room)) ok = (double)room.f_bavail * (double)room.f_frsize > 1.05 * (double)bytes + 1e6;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, e->comm));
  *fits = (PetscBool)ok;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The epoch in which everything is got and put. */
static PetscErrorCode Open(KalEnsemble e)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, e->access));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalEnsembleAllocate_Private - Takes the memory of this rank's members, zeroed; from MPI where others will reach for them

  Collective
*/
PetscErrorCode KalEnsembleAllocate_Private(KalEnsemble e)
{
  const size_t count = (size_t)e->n * (size_t)(e->last - e->first);
  PetscBool    fits  = PETSC_FALSE;
  void        *memory;

  PetscFunctionBeginUser;
  if (e->remote && e->size > 1) PetscCall(Fits(e, (PetscInt64)(count * sizeof(PetscScalar)), &fits));
  if (fits) {
    PetscCallMPI(MPI_Win_allocate((MPI_Aint)(count * sizeof(PetscScalar)), (int)sizeof(PetscScalar), MPI_INFO_NULL, e->comm, &memory, &e->access));
    PetscCall(Open(e));
    e->local = (PetscScalar *)memory;
    if (count) PetscCall(PetscArrayzero(e->local, count));
  } else {
    PetscCall(PetscCalloc1(count, &e->owned));
    e->local = e->owned;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalEnsembleCloseRemote_Private - Gives back the window over this rank's members, and their memory where it is the window's

  Collective
*/
PetscErrorCode KalEnsembleCloseRemote_Private(KalEnsemble e)
{
  PetscFunctionBeginUser;
  if (e->access == MPI_WIN_NULL) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Win_unlock_all(e->access));
  PetscCallMPI(MPI_Win_free(&e->access));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What every rank wrote to its own members, or had put into others', is there for all. */
static PetscErrorCode Meet(KalEnsemble e)
{
  PetscFunctionBeginUser;
  if (e->base) PetscCall(KalEnsembleSync_Private(e));
  else {
    PetscCallMPI(MPI_Win_sync(e->access));
    PetscCallMPI(MPI_Barrier(e->comm));
    PetscCallMPI(MPI_Win_sync(e->access));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleRemoteBegin - Lets every rank work on any member, until KalEnsembleRemoteEnd()

   Collective

   Input Parameter:
.  ensemble - the ensemble, stored or generated, set up

   Notes:
   Between the two calls a rank asks for members with KalEnsembleRemoteGet() and gives them back with KalEnsembleRemotePut(), its own
   ones included. No member may be with two ranks at once, unless both only read it: who works on which is the caller's affair.

   Rows, statistics and digests wait until the end, and so does anything else that is collective on the ensemble.

.seealso: KalEnsembleSetRemote()
@*/
PetscErrorCode KalEnsembleRemoteBegin(KalEnsemble ensemble)
{
  KalEnsemble e = ensemble;

  PetscFunctionBeginUser;
  PetscCheck(e->setup, e->comm, PETSC_ERR_ORDER, "Members are reached on other ranks after KalEnsembleSetUp()");
  PetscCheck(!e->reached, e->comm, PETSC_ERR_ORDER, "KalEnsembleRemoteBegin() was called twice without KalEnsembleRemoteEnd()");
  if (e->kind == KAL_KIND_STORED) {
    if (!e->base && e->access == MPI_WIN_NULL) {
      PetscCallMPI(MPI_Win_create(e->local, (MPI_Aint)e->n * (MPI_Aint)(e->last - e->first) * (MPI_Aint)sizeof(PetscScalar), (int)sizeof(PetscScalar), MPI_INFO_NULL, e->comm, &e->access));
      PetscCall(Open(e));
    }
    PetscCall(Meet(e));
  }
  if (e->kind == KAL_KIND_EXTRAPOLATED) {
    PetscCall(KalEnsembleRemoteBegin(e->a));
    PetscCall(KalEnsembleRemoteBegin(e->b));
  }
  e->reached = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleRemoteEnd - Waits until every rank has given back what it worked on

   Collective

   Input Parameter:
.  ensemble - the ensemble of KalEnsembleRemoteBegin(); say KalEnsembleChanged() if members were written
@*/
PetscErrorCode KalEnsembleRemoteEnd(KalEnsemble ensemble)
{
  KalEnsemble e = ensemble;

  PetscFunctionBeginUser;
  PetscCheck(e->reached, e->comm, PETSC_ERR_ORDER, "KalEnsembleRemoteEnd() was called without KalEnsembleRemoteBegin()");
  if (e->kind == KAL_KIND_STORED) PetscCall(Meet(e));
  if (e->kind == KAL_KIND_EXTRAPOLATED) {
    PetscCall(KalEnsembleRemoteEnd(e->a));
    PetscCall(KalEnsembleRemoteEnd(e->b));
  }
  e->reached = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The rank that holds a member: the inverse of KalFirstMember(). */
static PetscMPIInt Owner(KalEnsemble e, PetscInt member)
{
  return (PetscMPIInt)((((PetscInt64)member + 1) * (e->size / e->span) + e->N - 1) / e->N - 1) * e->span;
}

/* Where a stored member lies if this rank can reach it in memory, else NULL. */
static PetscScalar *InMemory(KalEnsemble e, PetscInt member)
{
  if (e->base) return e->base + (size_t)member * e->n;
  if (member >= e->first && member < e->last) return e->local + (size_t)(member - e->first) * e->n;
  return NULL;
}

/* Brings a member of another rank here, or takes it there; it is on its way until the window is flushed. */
static PetscErrorCode Move(KalEnsemble e, PetscInt member, PetscBool back, PetscScalar *x)
{
  const PetscMPIInt owner = Owner(e, member);
  const MPI_Aint    start = (MPI_Aint)(member - KalFirstMember(e, owner)) * e->n;
  PetscInt          at;

  PetscFunctionBeginUser;
  for (at = 0; at < e->n; at += KAL_REMOTE_NUMBERS) {
    const PetscMPIInt count = (PetscMPIInt)PetscMin(KAL_REMOTE_NUMBERS, e->n - at);
    const PetscInt64  bytes = (PetscInt64)count * (PetscInt64)sizeof(PetscScalar);

    KalCountMessage(back ? bytes : 0, back ? 0 : bytes);
    if (back) PetscCallMPI(MPI_Put(x + at, count, MPI_DOUBLE, owner, start + at, count, MPI_DOUBLE, e->access));
    else PetscCallMPI(MPI_Get(x + at, count, MPI_DOUBLE, owner, start + at, count, MPI_DOUBLE, e->access));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Waits until members are here, or there: each owner once. */
static PetscErrorCode Arrive(KalEnsemble e, PetscInt first, PetscInt count)
{
  PetscInt    j;
  PetscMPIInt owner, last = -1;

  PetscFunctionBeginUser;
  for (j = first; j < first + count; j++) {
    owner = Owner(e, j);
    if (owner != last && owner != e->rank) PetscCallMPI(MPI_Win_flush(owner, e->access));
    last = owner;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GetStored(KalEnsemble e, PetscInt first, PetscInt count, PetscBool read)
{
  PetscInt k;

  PetscFunctionBeginUser;
  for (k = 0; k < count; k++) {
    e->pointers[k] = InMemory(e, first + k);
    if (e->pointers[k] && (first + k < e->first || first + k >= e->last)) KalCountShared((PetscInt64)e->n * (PetscInt64)sizeof(PetscScalar));
    if (e->pointers[k]) continue;
    e->pointers[k] = e->scratch + (size_t)k * e->n;
    if (read) PetscCall(Move(e, first + k, PETSC_FALSE, e->pointers[k]));
  }
  if (read && !e->base) PetscCall(Arrive(e, first, count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Generate(KalEnsemble e, PetscInt member, PetscScalar *x)
{
  KalColumns a, b;

  PetscFunctionBeginUser;
  if (e->kind == KAL_KIND_EXTRAPOLATED) {
    PetscCall(KalEnsembleRemoteGet(e->a, member, 1, PETSC_TRUE, &a));
    PetscCall(KalEnsembleRemoteGet(e->b, member, 1, PETSC_TRUE, &b));
    PetscCall(KalEnsembleExtrapolate_Private(e, a.column[0], b.column[0], x));
    PetscCall(KalEnsembleRemotePut(e->a, PETSC_FALSE, &a));
    PetscCall(KalEnsembleRemotePut(e->b, PETSC_FALSE, &b));
  } else PetscCall(KalEnsembleGenerate_Private(e, member, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleRemoteGet - Gets some consecutive members as columns, wherever they live

   Not Collective

   Input Parameters:
+  ensemble - the ensemble, between KalEnsembleRemoteBegin() and KalEnsembleRemoteEnd()
.  first - the first member, of any rank
.  count - how many
-  read - whether what the members hold is wanted; else each is to be written whole

   Output Parameter:
.  columns - the columns, until KalEnsembleRemotePut(); an ensemble has one set of them at a time

   Note:
   Members in this rank's memory or its node's shared window are used where they lie, others are copied, those of a
   generated ensemble are made here. It takes memory for the members that do not lie here, and no more.
@*/
PetscErrorCode KalEnsembleRemoteGet(KalEnsemble ensemble, PetscInt first, PetscInt count, PetscBool read, KalColumns *columns)
{
  KalEnsemble e = ensemble;
  PetscBool   whole, own;
  PetscInt    k;

  PetscFunctionBeginUser;
  PetscCheck(e->reached, PETSC_COMM_SELF, PETSC_ERR_ORDER, "Members of other ranks are got between KalEnsembleRemoteBegin() and KalEnsembleRemoteEnd()");
  PetscCheck(count >= 0 && first >= 0 && count <= e->N - first, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " members from member %" PetscInt_FMT " on were asked for; the ensemble has members 0 to %" PetscInt_FMT, count, first, e->N - 1);
  own   = (PetscBool)(first >= e->first && first + count <= e->last);
  whole = (PetscBool)(e->kind == KAL_KIND_STORED && (e->base || own));
  PetscCall(KalEnsembleReserve_Private(e, count, whole ? 0 : (size_t)count * e->n));
  if (e->kind == KAL_KIND_STORED) PetscCall(GetStored(e, first, count, read));
  else {
    for (k = 0; k < count; k++) {
      e->pointers[k] = e->scratch + (size_t)k * e->n;
      PetscCall(Generate(e, first + k, e->pointers[k]));
    }
  }
  columns->first  = first;
  columns->count  = count;
  columns->total  = e->N;
  columns->size   = e->n;
  columns->column = e->pointers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleRemotePut - Gives columns back

   Not Collective

   Input Parameters:
+  ensemble - the ensemble
.  write - whether they were written, so that they go to where they live; those of a generated ensemble live nowhere
-  columns - what KalEnsembleRemoteGet() gave

   Note:
   When it returns, the numbers are where they belong, for another rank to get after both have met.
@*/
PetscErrorCode KalEnsembleRemotePut(KalEnsemble ensemble, PetscBool write, KalColumns *columns)
{
  KalEnsemble e = ensemble;
  PetscInt    k;

  PetscFunctionBeginUser;
  if (write && e->kind == KAL_KIND_STORED && !e->base) {
    for (k = 0; k < columns->count; k++) {
      if (!InMemory(e, columns->first + k)) PetscCall(Move(e, columns->first + k, PETSC_TRUE, columns->column[k]));
    }
    PetscCall(Arrive(e, columns->first, columns->count));
  }
  columns->column = NULL;
  columns->count  = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}
