/*
  Streaming of row blocks: the only large communication of the program.

  Members live whole on their ranks; a row block holds all members' values of some entries. Blocks are
  canonical (their bounds follow from sizes and options alone) and dealt out to the ranks in order; each is
  worked on whole by one rank. Where a rank can reach every member in memory (one rank, or a node's
  shared window) it works on the rows where they lie. Otherwise blocks travel: in round t each rank gets
  the rows of its t-th blocks from all ranks while it works on those before, and sends them back. Some blocks
  travel together where they are so low, and the ranks so many, that messages would be small.
*/
#include "ensembleimpl.h"

/* Numbers that a message should have; blocks that travel together for it at most. */
#define KAL_MESSAGE_NUMBERS 4096
#define KAL_BUNDLE_MOST     16

typedef struct {
  PetscInt     k;
  KalEnsemble *ensemble;
  PetscBool    write;
  PetscErrorCode (*visit)(void *, const KalRows *);
  void *ctx;
} KalStream;

/*
  KalEnsembleBlock_Private - First row and row count of a canonical block
*/
PetscErrorCode KalEnsembleBlock_Private(KalEnsemble ensemble, PetscInt block, PetscInt *first, PetscInt *count)
{
  PetscFunctionBeginUser;
  *first = block * ensemble->rows;
  *count = PetscMin(ensemble->rows, ensemble->n - *first);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Visit(const KalStream *stream, KalRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(stream->visit(stream->ctx, rows));
  if (stream->write) PetscCall(KalRowStatistics_Private(stream->ensemble[0], rows, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Describe(const KalStream *stream, PetscInt block, KalRows *rows)
{
  PetscInt e;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleBlock_Private(stream->ensemble[0], block, &rows->first, &rows->count));
  rows->index     = block;
  rows->ensembles = stream->k;
  for (e = 0; e < stream->k; e++) rows->members[e] = stream->ensemble[e]->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Nobody works on rows before all members are written, and nobody on members before all rows are. */
static PetscErrorCode SyncAll(const KalStream *stream)
{
  PetscInt e;

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
  for (e = 0; e < stream->k; e++) PetscCall(KalEnsembleSync_Private(stream->ensemble[e]));
  PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StreamInPlace(const KalStream *stream)
{
  KalEnsemble first = stream->ensemble[0];
  KalRows     rows;
  PetscInt    e, block, last = KalShare(first->nblocks, first->rank + 1, first->size);
  PetscInt64  read = 0; /* bytes of other ranks' members */

  PetscFunctionBeginUser;
  PetscCall(SyncAll(stream));
  for (block = KalShare(first->nblocks, first->rank, first->size); block < last; block++) {
    PetscCall(Describe(stream, block, &rows));
    for (e = 0; e < stream->k; e++) {
      const KalEnsemble ensemble = stream->ensemble[e];

      rows.x[e]  = ensemble->base + rows.first;
      rows.ld[e] = ensemble->n;
      read += (PetscInt64)rows.count * (ensemble->N - (ensemble->last - ensemble->first)) * (PetscInt64)sizeof(PetscScalar);
    }
    PetscCall(Visit(stream, &rows));
  }
  PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
  KalCountShared(stream->write ? 2 * read : read);
  PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
  PetscCall(SyncAll(stream));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some blocks on their way: the buffers it is gathered in and the requests that move it. */
typedef struct {
  PetscScalar *buffer[KAL_ROWS_ENSEMBLES];
  MPI_Request *in, *out;
  PetscMPIInt  nin, nout;
} KalTransit;

/* Some rows, among this rank's members of an ensemble, as an MPI type. */
static PetscErrorCode LocalRows(KalEnsemble ensemble, PetscInt count, MPI_Datatype *type)
{
  PetscMPIInt members, rows;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast(ensemble->last - ensemble->first, &members));
  PetscCall(PetscMPIIntCast(count, &rows));
  PetscCallMPI(MPI_Type_create_hvector(members, rows, (MPI_Aint)ensemble->n * (MPI_Aint)sizeof(PetscScalar), MPI_DOUBLE, type));
  PetscCallMPI(MPI_Type_commit(type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Blocks that travel together, the same on every rank: so many that messages are worth it, few enough for two rounds. */
static PetscInt Bundle(KalEnsemble e)
{
  const PetscInt groups = e->size / e->span, members = (e->N + groups - 1) / groups, blocks = (e->nblocks + e->size - 1) / e->size;
  const PetscInt wanted = (PetscInt)((KAL_MESSAGE_NUMBERS + (PetscInt64)e->rows * members - 1) / ((PetscInt64)e->rows * members));

  return PetscMax(1, PetscMin(PetscMin(wanted, KAL_BUNDLE_MOST), blocks / 2));
}

/* Blocks first to last - 1 of rank `owner` in a round, and their rows; none where it has no more. */
typedef struct {
  PetscInt first, last, row, count;
} KalRound;

static PetscBool RoundOf(KalEnsemble e, PetscInt owner, PetscInt round, KalRound *part)
{
  const PetscInt bundle = Bundle(e), end = KalShare(e->nblocks, owner + 1, e->size);

  part->first = KalShare(e->nblocks, owner, e->size) + round * bundle;
  if (part->first >= end) return PETSC_FALSE;
  part->last  = PetscMin(part->first + bundle, end);
  part->row   = part->first * e->rows;
  part->count = (part->last == e->nblocks ? e->n : part->last * e->rows) - part->row;
  return PETSC_TRUE;
}

/* This rank's own members of its own blocks need no message. */
static PetscErrorCode CopyOwn(KalEnsemble ensemble, PetscInt row, PetscInt count, PetscBool back, PetscScalar *buffer)
{
  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < ensemble->last - ensemble->first; j++) {
    PetscScalar *member = ensemble->local + (size_t)j * ensemble->n + row, *at = buffer + (size_t)j * count;

    PetscCall(PetscArraycpy(back ? member : at, back ? at : member, count));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One message of some numbers, that comes or goes. */
static void Count(PetscBool comes, PetscInt64 numbers)
{
  const PetscInt64 bytes = numbers * (PetscInt64)sizeof(PetscScalar);

  KalCountMessage(comes ? 0 : bytes, comes ? bytes : 0);
}

/* Moves this rank's members of the round's blocks: to their owners, or back from them. */
static PetscErrorCode MoveLocal(const KalStream *stream, PetscInt round, PetscBool back, MPI_Request *request, PetscMPIInt *requests)
{
  KalEnsemble  first = stream->ensemble[0];
  PetscMPIInt  owner;
  PetscInt     e;
  KalRound     part;
  MPI_Datatype type;

  PetscFunctionBeginUser;
  for (owner = 0; owner < first->size; owner++) {
    if (owner == first->rank || !RoundOf(first, owner, round, &part)) continue;
    for (e = 0; e < stream->k; e++) {
      KalEnsemble ensemble = stream->ensemble[e];

      if (ensemble->last == ensemble->first) continue;
      PetscCall(LocalRows(ensemble, part.count, &type));
      Count(back, (PetscInt64)part.count * (ensemble->last - ensemble->first));
      if (back) PetscCallMPI(MPI_Irecv(ensemble->local + part.row, 1, type, owner, (int)(KAL_ROWS_ENSEMBLES + e), ensemble->comm, &request[(*requests)++]));
      else PetscCallMPI(MPI_Isend(ensemble->local + part.row, 1, type, owner, (int)e, ensemble->comm, &request[(*requests)++]));
      PetscCallMPI(MPI_Type_free(&type));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Moves this rank's blocks of the round: gathered from all members, or scattered back to them. */
static PetscErrorCode MoveBlock(const KalStream *stream, PetscInt round, PetscBool back, KalTransit *transit, MPI_Request *request, PetscMPIInt *requests)
{
  KalEnsemble first = stream->ensemble[0];
  PetscInt    e;
  KalRound    part;
  PetscMPIInt rank, length;

  PetscFunctionBeginUser;
  if (!RoundOf(first, first->rank, round, &part)) PetscFunctionReturn(PETSC_SUCCESS);
  for (e = 0; e < stream->k; e++) {
    KalEnsemble ensemble = stream->ensemble[e];

    for (rank = 0; rank < ensemble->size; rank++) {
      const PetscInt begin = KalFirstMember(ensemble, rank), members = KalFirstMember(ensemble, rank + 1) - begin;
      PetscScalar   *at = transit->buffer[e] + (size_t)begin * part.count;

      if (!members) continue;
      if (rank == first->rank) {
        PetscCall(CopyOwn(ensemble, part.row, part.count, back, at));
        continue;
      }
      PetscCall(PetscMPIIntCast((PetscInt64)members * part.count, &length));
      Count((PetscBool)!back, length);
      if (back) PetscCallMPI(MPI_Isend(at, length, MPI_DOUBLE, rank, (int)(KAL_ROWS_ENSEMBLES + e), ensemble->comm, &request[(*requests)++]));
      else PetscCallMPI(MPI_Irecv(at, length, MPI_DOUBLE, rank, (int)e, ensemble->comm, &request[(*requests)++]));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TransitCreate(const KalStream *stream, KalTransit *transit)
{
  KalEnsemble first = stream->ensemble[0];
  PetscInt    e;
  size_t      most = 2 * (size_t)first->size * (size_t)stream->k;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(transit, sizeof *transit));
  for (e = 0; e < stream->k; e++) PetscCall(PetscMalloc1((size_t)PetscMin(Bundle(first) * first->rows, first->n) * stream->ensemble[e]->N, &transit->buffer[e]));
  PetscCall(PetscMalloc2(most, &transit->in, most, &transit->out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TransitDestroy(const KalStream *stream, KalTransit *transit)
{
  PetscInt e;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Waitall(transit->nout, transit->out, MPI_STATUSES_IGNORE));
  for (e = 0; e < stream->k; e++) PetscCall(PetscFree(transit->buffer[e]));
  PetscCall(PetscFree2(transit->in, transit->out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Works on this rank's blocks of a round. */
static PetscErrorCode VisitRound(const KalStream *stream, const KalRound *part, const KalTransit *now)
{
  KalRows rows;

  PetscFunctionBeginUser;
  for (PetscInt block = part->first; block < part->last; block++) {
    PetscCall(Describe(stream, block, &rows));
    for (PetscInt e = 0; e < stream->k; e++) {
      rows.x[e]  = now->buffer[e] + (rows.first - part->row);
      rows.ld[e] = part->count;
    }
    PetscCall(Visit(stream, &rows));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Starts the gathering of a round's blocks; the transit's earlier way back is over first. */
static PetscErrorCode Depart(const KalStream *stream, PetscInt round, KalTransit *transit)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Waitall(transit->nout, transit->out, MPI_STATUSES_IGNORE));
  transit->nin = transit->nout = 0;
  PetscCall(MoveBlock(stream, round, PETSC_FALSE, transit, transit->in, &transit->nin));
  PetscCall(MoveLocal(stream, round, PETSC_FALSE, transit->in, &transit->nin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StreamMessages(const KalStream *stream)
{
  KalEnsemble first = stream->ensemble[0];
  KalTransit  transit[2];
  KalRound    part;
  PetscInt    rounds = 0, round;
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  for (rank = 0; rank < first->size; rank++) {
    while (RoundOf(first, rank, rounds, &part)) rounds++;
  }
  PetscCall(TransitCreate(stream, &transit[0]));
  PetscCall(TransitCreate(stream, &transit[1]));
  PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
  if (rounds) PetscCall(Depart(stream, 0, &transit[0]));
  for (round = 0; round < rounds; round++) {
    KalTransit *now = &transit[round % 2];

    if (round + 1 < rounds) PetscCall(Depart(stream, round + 1, &transit[(round + 1) % 2]));
    PetscCallMPI(MPI_Waitall(now->nin, now->in, MPI_STATUSES_IGNORE));
    now->nin = 0;
    if (stream->write) PetscCall(MoveLocal(stream, round, PETSC_TRUE, now->out, &now->nout));
    if (RoundOf(first, first->rank, round, &part)) {
      PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
      PetscCall(VisitRound(stream, &part, now));
      PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
    }
    if (stream->write) PetscCall(MoveBlock(stream, round, PETSC_TRUE, now, now->out, &now->nout));
  }
  PetscCall(TransitDestroy(stream, &transit[0]));
  PetscCall(TransitDestroy(stream, &transit[1]));
  PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Stream(const KalStream *stream)
{
  KalEnsemble first   = stream->ensemble[0];
  PetscBool   inplace = PETSC_TRUE;
  PetscInt    e;

  PetscFunctionBeginUser;
  PetscCheck(stream->k > 0 && stream->k <= KAL_ROWS_ENSEMBLES, first->comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " ensembles in one exchange; from 1 to %d are possible", stream->k, KAL_ROWS_ENSEMBLES);
  for (e = 0; e < stream->k; e++) {
    KalEnsemble ensemble = stream->ensemble[e];

    PetscCheck(ensemble->kind == KAL_KIND_STORED && ensemble->setup, first->comm, PETSC_ERR_ARG_WRONGSTATE, "Rows are streamed of stored ensembles that are set up; ensemble %" PetscInt_FMT " is not", e);
    PetscCheck(ensemble->n == first->n && ensemble->rows == first->rows, first->comm, PETSC_ERR_ARG_SIZ, "Ensembles in one exchange need the same rows: %" PetscInt_FMT " in blocks of %" PetscInt_FMT ", and %" PetscInt_FMT " in blocks of %" PetscInt_FMT, first->n, first->rows, ensemble->n, ensemble->rows);
    if (!ensemble->base) inplace = PETSC_FALSE;
  }
  if (inplace) PetscCall(StreamInPlace(stream));
  else PetscCall(StreamMessages(stream));
  if (stream->write) {
    for (e = 1; e < stream->k; e++) PetscCall(KalEnsembleChanged(stream->ensemble[e]));
    first->statistics = KAL_STATISTICS_OWNED;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleMapRows - Visits every row block of some ensembles and changes it in place

   Collective

   Input Parameters:
+  k - ensembles in the exchange, at most KAL_ROWS_ENSEMBLES
.  ensembles - stored ensembles with the same n and block size; they may differ in N
.  map - called once for each canonical block, on the rank that works on it; must not communicate
-  ctx - handed to `map`

   Notes:
   Out and back a rank sends and receives about 2 n ceil(N/P) numbers for each ensemble, none inside a
   node where the ensemble lies in a shared window. Row means and spread of the first ensemble are kept
   on the way (KalEnsembleGetMean(), KalEnsembleGetSpread()).

.seealso: KalEnsembleSumRows()
@*/
PetscErrorCode KalEnsembleMapRows(PetscInt k, KalEnsemble ensembles[], KalRowsMap map, void *ctx)
{
  const KalStream stream = {k, ensembles, PETSC_TRUE, map, ctx};

  PetscFunctionBeginUser;
  PetscCall(Stream(&stream));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  KalRowsSum sum;
  void      *ctx;
  KalTree    tree;
} KalSumming;

static PetscErrorCode VisitSum(void *ctx, const KalRows *rows)
{
  KalSumming *summing = (KalSumming *)ctx;
  PetscReal  *leaf    = NULL;

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_SUM));
  PetscCall(KalTreeLeaf(&summing->tree, &leaf));
  PetscCall(KalEventEnd(KAL_EVENT_SUM));
  PetscCall(summing->sum(summing->ctx, rows, leaf));
  PetscCall(KalEventBegin(KAL_EVENT_SUM));
  PetscCall(KalTreeAdd(&summing->tree));
  PetscCall(KalEventEnd(KAL_EVENT_SUM));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleSumRows - Visits every row block of some ensembles and sums an array over the blocks

   Collective

   Input Parameters:
+  k - ensembles in the exchange
.  ensembles - stored ensembles with the same n and block size
.  sum - adds a block's part to the zeroed array of `count` numbers that it is given; the rows are read only
.  ctx - handed to `sum`
-  count - numbers to sum

   Output Parameter:
.  sums - the sums, on every rank, in an order that the number of ranks does not change

.seealso: KalEnsembleMapRows(), KalTreeSum()
@*/
PetscErrorCode KalEnsembleSumRows(PetscInt k, KalEnsemble ensembles[], KalRowsSum sum, void *ctx, PetscInt count, PetscReal *sums)
{
  KalSumming      summing = {.sum = sum, .ctx = ctx};
  const KalStream stream  = {k, ensembles, PETSC_FALSE, VisitSum, &summing};

  PetscFunctionBeginUser;
  PetscCall(KalTreeBegin(&summing.tree, ensembles[0]->comm, ensembles[0]->nblocks, count));
  PetscCall(Stream(&stream));
  PetscCall(KalEventBegin(KAL_EVENT_SUM));
  PetscCall(KalTreeEnd(&summing.tree, sums));
  PetscCall(KalEventEnd(KAL_EVENT_SUM));
  PetscFunctionReturn(PETSC_SUCCESS);
}
