/* What ranks agree on together: errors that one of them finds, and arrays that stand once a node. */
#include <kalmia/types.h>

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/*
  KalCheckAllFailed - Raises on every rank the error that some ranks found; see KalCheckAll().

  Collective. Costs one reduction of an int where nobody found anything.
*/
PetscErrorCode KalCheckAllFailed(MPI_Comm comm, PetscErrorCode code, const char *text, int line, const char *file)
{
  PetscMPIInt rank, size, mine, first;
  char        message[1024] = "";
  int         number        = (int)code;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  mine = text && text[0] ? rank : size;
  PetscCallMPI(MPI_Allreduce(&mine, &first, 1, MPI_INT, MPI_MIN, comm));
  if (first == size) PetscFunctionReturn(PETSC_SUCCESS);
  if (rank == first) PetscCall(PetscStrncpy(message, text, sizeof message));
  PetscCallMPI(MPI_Bcast(message, (PetscMPIInt)sizeof message, MPI_CHAR, first, comm));
  PetscCallMPI(MPI_Bcast(&number, 1, MPI_INT, first, comm));
  PetscFunctionReturn(PetscError(comm, line, PETSC_FUNCTION_NAME, file, (PetscErrorCode)number, PETSC_ERROR_INITIAL, "%s", message));
}

/*@
   KalSharedCreate - Makes an array that stands once a node and is seen by each of its ranks

   Collective on `comm`

   Input Parameters:
+  comm - the communicator; its ranks on one node share one copy
-  bytes - size of the array, the same on every rank

   Output Parameter:
.  shared - the array; the rank with `noderank` 0 fills it, then all call KalSharedSync()
@*/
PetscErrorCode KalSharedCreate(MPI_Comm comm, PetscInt64 bytes, KalShared *shared)
{
  MPI_Aint size;
  int      unit;
  void    *mine;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(shared, sizeof *shared));
  PetscCheck(bytes >= 0, comm, PETSC_ERR_ARG_OUTOFRANGE, "An array of %lld bytes was asked for; the size must not be negative", (long long)bytes);
  shared->bytes = bytes;
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &shared->node));
  PetscCallMPI(MPI_Comm_rank(shared->node, &shared->noderank));
  PetscCallMPI(MPI_Win_allocate_shared(shared->noderank ? 0 : (MPI_Aint)PetscMax(bytes, 8), 1, MPI_INFO_NULL, shared->node, &mine, &shared->window));
  PetscCallMPI(MPI_Win_shared_query(shared->window, 0, &size, &unit, &shared->data));
  PetscCallMPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, shared->window));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSharedSync - Makes what one rank of the node wrote visible to the others

   Collective on the ranks of the node

   Input Parameter:
.  shared - the array
@*/
PetscErrorCode KalSharedSync(KalShared *shared)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Win_sync(shared->window));
  PetscCallMPI(MPI_Barrier(shared->node));
  PetscCallMPI(MPI_Win_sync(shared->window));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSharedDestroy - Gives a shared array back

   Collective on the ranks of the node

   Input Parameter:
.  shared - the array; one that was never made, or is gone already, is left alone
@*/
PetscErrorCode KalSharedDestroy(KalShared *shared)
{
  PetscFunctionBeginUser;
  if (!shared->data) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Win_unlock_all(shared->window));
  PetscCallMPI(MPI_Win_free(&shared->window));
  PetscCallMPI(MPI_Comm_free(&shared->node));
  PetscCall(PetscMemzero(shared, sizeof *shared));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalDigest - 64-bit digest of some bytes (xxHash's XXH64)

   Not Collective

   Input Parameters:
+  data - the bytes
.  bytes - how many
-  seed - digest to continue from, 0 at the start

   Output Parameter:
.  digest - the digest
@*/
PetscErrorCode KalDigest(const void *data, size_t bytes, PetscInt64 seed, PetscInt64 *digest)
{
  const XXH64_hash_t hash = XXH64(data, bytes, (XXH64_hash_t)seed);

  PetscFunctionBeginUser;
  memcpy(digest, &hash, sizeof *digest);
  PetscFunctionReturn(PETSC_SUCCESS);
}
