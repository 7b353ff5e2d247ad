/* Life cycle of an ensemble: sizes, owners, canonical blocks and the memory it lies in. */
#include "ensembleimpl.h"

#include <sys/statvfs.h>

const char *const KalExchanges[] = {"auto", "shared", "messages", "KalExchange", "KAL_EXCHANGE_", NULL};

/* A block of rows is meant to stay in the second-level cache with all that is done to it. */
#define KAL_BLOCK_BYTES (1 << 19)
#define KAL_BLOCK_MOST  4096
#define KAL_BLOCK_LEAST 64
#define KAL_BLOCK_GRAM  1024 /* an N x N product of fewer rows takes less time than adding it to others */

/*@
   KalEnsembleCreate - Makes an ensemble without sizes

   Collective

   Input Parameter:
.  comm - the ranks its members are dealt out to

   Output Parameter:
.  ensemble - the ensemble; give it sizes with KalEnsembleSetSizes()
@*/
PetscErrorCode KalEnsembleCreate(MPI_Comm comm, KalEnsemble *ensemble)
{
  KalEnsemble e;

  PetscFunctionBeginUser;
  PetscCall(KalEventsRegister());
  PetscCall(PetscNew(&e));
  PetscCallMPI(MPI_Comm_dup(comm, &e->comm));
  PetscCallMPI(MPI_Comm_rank(e->comm, &e->rank));
  PetscCallMPI(MPI_Comm_size(e->comm, &e->size));
  e->node     = MPI_COMM_NULL;
  e->together = MPI_COMM_SELF;
  e->span     = 1;
  e->window   = MPI_WIN_NULL;
  e->access   = MPI_WIN_NULL;
  e->group    = 1;
  e->least    = KAL_BLOCK_LEAST;
  e->factor   = 1.0;
  *ensemble   = e;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleSetSizes - Sets the length and the number of members

   Logically Collective

   Input Parameters:
+  ensemble - the ensemble, not set up yet
.  n - numbers in a member
-  N - members
@*/
PetscErrorCode KalEnsembleSetSizes(KalEnsemble ensemble, PetscInt n, PetscInt N)
{
  PetscFunctionBeginUser;
  PetscCheck(!ensemble->setup, ensemble->comm, PETSC_ERR_ORDER, "The sizes of an ensemble are set before KalEnsembleSetUp()");
  PetscCheck(n >= 1, ensemble->comm, PETSC_ERR_ARG_OUTOFRANGE, "Members of %" PetscInt_FMT " numbers were asked for; at least 1 is needed", n);
  PetscCheck(N >= 1, ensemble->comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " members were asked for; at least 1 is needed", N);
  ensemble->n = n;
  ensemble->N = N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleSetRowGroup - Keeps consecutive rows together in one block, as the outputs of one sample

   Logically Collective

   Input Parameters:
+  ensemble - the ensemble, not set up yet
-  group - rows in a group, at least 1; a block holds whole groups
@*/
PetscErrorCode KalEnsembleSetRowGroup(KalEnsemble ensemble, PetscInt group)
{
  PetscFunctionBeginUser;
  PetscCheck(group >= 1, ensemble->comm, PETSC_ERR_ARG_OUTOFRANGE, "A group of %" PetscInt_FMT " rows was asked for; at least 1 is needed", group);
  ensemble->group = group;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleSetBlockRows - Sets the rows of a block, for an ensemble whose rows are visited together with another's

   Logically Collective

   Input Parameters:
+  ensemble - the ensemble, not set up yet
-  rows - rows in a block, or 0 to choose them from the sizes

   Options Database Key:
.  -ensemble_block_rows <0> - the same; other blocks mean other rounding

.seealso: KalEnsembleGetBlocks()
@*/
PetscErrorCode KalEnsembleSetBlockRows(KalEnsemble ensemble, PetscInt rows)
{
  PetscFunctionBeginUser;
  PetscCheck(!ensemble->setup, ensemble->comm, PETSC_ERR_ORDER, "The rows of a block are set before KalEnsembleSetUp()");
  PetscCheck(rows >= 0, ensemble->comm, PETSC_ERR_ARG_OUTOFRANGE, "Blocks of %" PetscInt_FMT " rows were asked for; 0 chooses from the sizes", rows);
  ensemble->wanted = rows;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleSetGram - Says that an ensemble's rows are multiplied into N x N sums, for which blocks have more rows

   Logically Collective

   Input Parameters:
+  ensemble - the ensemble, not set up yet
-  gram - whether they are

.seealso: KalEnsembleSumRows()
@*/
PetscErrorCode KalEnsembleSetGram(KalEnsemble ensemble, PetscBool gram)
{
  PetscFunctionBeginUser;
  PetscCheck(!ensemble->setup, ensemble->comm, PETSC_ERR_ORDER, "What an ensemble's rows are for is said before KalEnsembleSetUp()");
  ensemble->least = gram ? KAL_BLOCK_GRAM : KAL_BLOCK_LEAST;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleSetExchange - Chooses how rows are brought together

   Logically Collective

   Input Parameters:
+  ensemble - the ensemble, not set up yet
-  exchange - KAL_EXCHANGE_SHARED (a node's shared window), KAL_EXCHANGE_MESSAGES, or KAL_EXCHANGE_AUTO: the window where all ranks are on one node and it has the space

   Options Database Key:
.  -ensemble_exchange <auto> - one of auto, shared, messages

   Note:
   The choice changes no bit of any result.
@*/
PetscErrorCode KalEnsembleSetExchange(KalEnsemble ensemble, KalExchange exchange)
{
  PetscFunctionBeginUser;
  ensemble->exchange = exchange;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetExchange - Gets how rows are brought together

   Not Collective

   Input Parameter:
.  ensemble - a stored ensemble, set up

   Output Parameter:
.  exchange - KAL_EXCHANGE_SHARED where this rank reaches all members in memory, else KAL_EXCHANGE_MESSAGES

.seealso: KalEnsembleSetExchange()
@*/
PetscErrorCode KalEnsembleGetExchange(KalEnsemble ensemble, KalExchange *exchange)
{
  PetscFunctionBeginUser;
  *exchange = ensemble->base ? KAL_EXCHANGE_SHARED : KAL_EXCHANGE_MESSAGES;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleSetFromOptions - Sets an ensemble from the options database

   Collective

   Input Parameter:
.  ensemble - the ensemble

   Options Database Keys:
+  -ensemble_exchange <auto> - auto, shared or messages, see KalEnsembleSetExchange()
-  -ensemble_block_rows <0> - rows in a block, 0 to choose from the sizes; other blocks mean other rounding
@*/
PetscErrorCode KalEnsembleSetFromOptions(KalEnsemble ensemble)
{
  PetscEnum exchange = (PetscEnum)ensemble->exchange;

  PetscFunctionBeginUser;
  PetscOptionsBegin(ensemble->comm, NULL, "Ensemble", "KalEnsemble");
  PetscCall(PetscOptionsEnum("-ensemble_exchange", "How rows are brought together: auto, a node's shared window, or messages", "KalEnsembleSetExchange", KalExchanges, exchange, &exchange, NULL));
  PetscCall(PetscOptionsBoundedInt("-ensemble_block_rows", "Rows in a block (0: from the sizes)", "KalEnsembleSetFromOptions", ensemble->wanted, &ensemble->wanted, NULL, 0));
  PetscOptionsEnd();
  ensemble->exchange = (KalExchange)exchange;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt RoundUp(PetscInt value, PetscInt unit)
{
  return (value + unit - 1) / unit * unit;
}

/* Canonical blocks: as many rows as fit the cache, and a number of blocks that few ranks divide evenly. */
static void ChooseBlocks(KalEnsemble e)
{
  const PetscInt groups = (e->n + e->group - 1) / e->group;
  PetscInt       rows   = e->wanted ? PetscMin(e->wanted, e->n) : PetscMax(e->least, PetscMin(KAL_BLOCK_MOST, (PetscInt)(KAL_BLOCK_BYTES / sizeof(PetscScalar)) / e->N));
  PetscInt       blocks = (e->n + rows - 1) / rows;

  if (!e->wanted && blocks > 2) blocks = blocks <= 8 ? RoundUp(blocks, 2) : RoundUp(blocks, 4);
  if (e->wanted) e->rows = RoundUp(rows, e->group);
  else e->rows = (groups + blocks - 1) / blocks * e->group;
  e->nblocks = (e->n + e->rows - 1) / e->rows;
}

/* A window for all members, where the ranks share a node that has the space; the answer is the same on all. */
static PetscErrorCode WindowFits(KalEnsemble e, PetscBool *fits)
{
  const char    *folder = "/dev/shm";
  struct statvfs room;
  MPI_Comm       node;
  PetscMPIInt    size;
  int            ok;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_split_type(e->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &node));
  PetscCallMPI(MPI_Comm_size(node, &size));
  PetscCallMPI(MPI_Comm_free(&node));
  ok = size == e->size;
  if (ok && !statvfs(folder, &room)) ok = (double)room.f_bavail * (double)room.f_frsize > 1.05 * 8.0 * (double)e->n * (double)e->N + 1e6;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &ok, 1, MPI_INT, MPI_MIN, e->comm));
  *fits = (PetscBool)ok;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AllocateWindow(KalEnsemble e)
{
  const size_t bytes = (size_t)e->n * (size_t)(e->last - e->first) * sizeof(PetscScalar);
  MPI_Aint     size;
  int          unit;
  void        *mine, *all;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_split_type(e->comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &e->node));
  /* contiguous over the ranks, as MPI has it by default: the members of a node are one array */
  PetscCallMPI(MPI_Win_allocate_shared((MPI_Aint)bytes, (int)sizeof(PetscScalar), MPI_INFO_NULL, e->node, &mine, &e->window));
  PetscCallMPI(MPI_Win_shared_query(e->window, MPI_PROC_NULL, &size, &unit, &all));
  PetscCallMPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, e->window));
  e->base  = (PetscScalar *)all;
  e->local = e->base + (size_t)e->first * e->n;
  if (bytes) PetscCall(PetscMemzero(e->local, bytes)); /* each rank touches its own pages first */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleSetUp - Deals out the members and takes the memory of a stored ensemble

   Collective

   Input Parameter:
.  ensemble - the ensemble, with sizes; all members are zero afterwards

   Note:
   Rank r of P holds members N r/P to N (r+1)/P - 1; of groups of ranks (KalEnsembleSetMemberComm()) the first one does. Row blocks are canonical: their bounds follow from
   n, N and the options, never from the number of ranks.
@*/
PetscErrorCode KalEnsembleSetUp(KalEnsemble ensemble)
{
  KalEnsemble e = ensemble;
  PetscBool   fits;

  PetscFunctionBeginUser;
  if (e->setup) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(e->n > 0 && e->N > 0, e->comm, PETSC_ERR_ORDER, "An ensemble needs sizes: call KalEnsembleSetSizes()");
  e->first = KalFirstMember(e, e->rank);
  e->last  = KalFirstMember(e, e->rank + 1);
  ChooseBlocks(e);
  e->setup = PETSC_TRUE;
  if (e->kind != KAL_KIND_STORED) PetscFunctionReturn(PETSC_SUCCESS);
  if (e->size > 1 && e->exchange != KAL_EXCHANGE_MESSAGES) {
    PetscCall(WindowFits(e, &fits));
    PetscCheck(fits || e->exchange == KAL_EXCHANGE_AUTO, e->comm, PETSC_ERR_MEM, "A shared window of %.3g bytes does not fit: -ensemble_exchange shared needs all %d ranks on one node and that space in /dev/shm; use -ensemble_exchange messages", 8.0 * e->n * e->N, e->size);
    if (fits) {
      PetscCall(AllocateWindow(e));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  }
  PetscCall(KalEnsembleAllocate_Private(e));
  if (e->size == 1) e->base = e->local;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleDuplicate - Makes a stored ensemble of the same sizes and layout; its members are zero

   Collective

   Input Parameter:
.  ensemble - the ensemble, set up

   Output Parameter:
.  duplicate - the new one, set up
@*/
PetscErrorCode KalEnsembleDuplicate(KalEnsemble ensemble, KalEnsemble *duplicate)
{
  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(ensemble->comm, duplicate));
  (*duplicate)->n        = ensemble->n;
  (*duplicate)->N        = ensemble->N;
  (*duplicate)->group    = ensemble->group;
  (*duplicate)->wanted   = ensemble->wanted;
  (*duplicate)->least    = ensemble->least;
  (*duplicate)->exchange = ensemble->exchange;
  (*duplicate)->remote   = ensemble->remote;
  (*duplicate)->together = ensemble->together;
  (*duplicate)->span     = ensemble->span;
  (*duplicate)->place    = ensemble->place;
  PetscCall(KalEnsembleSetUp(*duplicate));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalEnsembleSync_Private - Makes what every rank wrote to its members visible to all
*/
PetscErrorCode KalEnsembleSync_Private(KalEnsemble ensemble)
{
  PetscFunctionBeginUser;
  if (ensemble->window == MPI_WIN_NULL) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Win_sync(ensemble->window));
  PetscCallMPI(MPI_Barrier(ensemble->node));
  PetscCallMPI(MPI_Win_sync(ensemble->window));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetComm - Gets the communicator of an ensemble

   Not Collective

   Input Parameter:
.  ensemble - the ensemble

   Output Parameter:
.  comm - its own communicator, with the ranks it was created on
@*/
PetscErrorCode KalEnsembleGetComm(KalEnsemble ensemble, MPI_Comm *comm)
{
  PetscFunctionBeginUser;
  *comm = ensemble->comm;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetSizes - Gets the length and the number of members

   Not Collective

   Input Parameter:
.  ensemble - the ensemble

   Output Parameters:
+  n - numbers in a member, or NULL
-  N - members, or NULL
@*/
PetscErrorCode KalEnsembleGetSizes(KalEnsemble ensemble, PetscInt *n, PetscInt *N)
{
  PetscFunctionBeginUser;
  if (n) *n = ensemble->n;
  if (N) *N = ensemble->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetOwnershipRange - Gets the members that live on this rank

   Not Collective

   Input Parameter:
.  ensemble - the ensemble, set up

   Output Parameters:
+  first - the first local member, or NULL
-  last - one more than the last, or NULL
@*/
PetscErrorCode KalEnsembleGetOwnershipRange(KalEnsemble ensemble, PetscInt *first, PetscInt *last)
{
  PetscFunctionBeginUser;
  if (first) *first = ensemble->first;
  if (last) *last = ensemble->last;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetBlocks - Gets the canonical row blocks

   Not Collective

   Input Parameter:
.  ensemble - the ensemble, set up

   Output Parameters:
+  rows - rows in a block (the last may be smaller), or NULL
-  blocks - number of blocks, or NULL
@*/
PetscErrorCode KalEnsembleGetBlocks(KalEnsemble ensemble, PetscInt *rows, PetscInt *blocks)
{
  PetscFunctionBeginUser;
  if (rows) *rows = ensemble->rows;
  if (blocks) *blocks = ensemble->nblocks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleIsStored - Tells a stored ensemble from a generated one

   Not Collective

   Input Parameter:
.  ensemble - the ensemble

   Output Parameter:
.  stored - whether its members lie in memory
@*/
PetscErrorCode KalEnsembleIsStored(KalEnsemble ensemble, PetscBool *stored)
{
  PetscFunctionBeginUser;
  *stored = (PetscBool)(ensemble->kind == KAL_KIND_STORED);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetMemory - Estimates the memory an ensemble takes on the fullest rank

   Not Collective

   Input Parameter:
.  ensemble - the ensemble, with sizes; it need not be set up

   Output Parameter:
.  bytes - members (a shared page counted once), block buffers and statistics
@*/
PetscErrorCode KalEnsembleGetMemory(KalEnsemble ensemble, PetscReal *bytes)
{
  const PetscInt  groups  = ensemble->size / ensemble->span;
  const PetscReal members = (ensemble->N + groups - 1) / groups;

  PetscFunctionBeginUser;
  *bytes = 0.0;
  if (ensemble->kind == KAL_KIND_STORED) *bytes = 8.0 * ensemble->n * members + 2.0 * KAL_BLOCK_BYTES;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleView - Prints what an ensemble is

   Collective

   Input Parameters:
+  ensemble - the ensemble
-  viewer - an ASCII viewer
@*/
PetscErrorCode KalEnsembleView(KalEnsemble ensemble, PetscViewer viewer)
{
  const char *const kinds[] = {"stored", "generated about a mean", "on a line", "extrapolated"};

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "ensemble: N = %" PetscInt_FMT " members of n = %" PetscInt_FMT ", %s", ensemble->N, ensemble->n, kinds[ensemble->kind]));
  if (ensemble->kind == KAL_KIND_STORED && ensemble->setup) {
    PetscCall(PetscViewerASCIIPrintf(viewer, ", %" PetscInt_FMT " blocks of %" PetscInt_FMT " rows, exchange %s", ensemble->nblocks, ensemble->rows, ensemble->base ? "in memory" : "by messages"));
  }
  PetscCall(PetscViewerASCIIPrintf(viewer, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleDestroy - Frees an ensemble and nulls the pointer

   Collective

   Input Parameter:
.  ensemble - the ensemble; NULL is left alone
@*/
PetscErrorCode KalEnsembleDestroy(KalEnsemble *ensemble)
{
  KalEnsemble e = *ensemble;

  PetscFunctionBeginUser;
  if (!e) PetscFunctionReturn(PETSC_SUCCESS);
  if (e->window != MPI_WIN_NULL) {
    PetscCallMPI(MPI_Win_unlock_all(e->window));
    PetscCallMPI(MPI_Win_free(&e->window));
    PetscCallMPI(MPI_Comm_free(&e->node));
  }
  PetscCall(KalEnsembleCloseRemote_Private(e));
  PetscCall(PetscFree(e->owned));
  PetscCall(PetscFree(e->mean));
  PetscCall(PetscFree(e->squares));
  PetscCall(PetscFree(e->scratch));
  PetscCall(PetscFree(e->pointers));
  PetscCallMPI(MPI_Comm_free(&e->comm));
  PetscCall(PetscFree(*ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}
