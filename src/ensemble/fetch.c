/*
  Single rows on demand: each rank names the entries it wants and is given all members' values of these.

  What is wanted follows from where things are (a local analysis needs the predictions near its rows), so that the lists differ
  from rank to rank. Where a rank can reach every member in memory it copies from where they lie. Otherwise it asks in
  rounds: in round t rank r asks rank r + t, and answers rank r - t, in slices of a size that both know.
*/
#include "ensembleimpl.h"

/* Numbers in a slice of an answer: bounds the buffers, and the counts of messages. */
#define KAL_FETCH_NUMBERS (1 << 19)

enum {
  KAL_TAG_ENTRIES = 2 * KAL_ROWS_ENSEMBLES, /* behind those of the row blocks */
  KAL_TAG_VALUES,
};

typedef struct {
  KalEnsemble     ensemble;
  PetscInt        count;   /* entries wanted here */
  const PetscInt *entries; /* ascending */
  PetscScalar    *out;     /* count x N */
  PetscInt       *counts;  /* entries wanted by each rank */
  PetscInt        slice;   /* entries in a slice */
  PetscInt       *asked;   /* a slice of another rank's entries, and */
  PetscScalar    *answer;  /* their values */
} KalFetch;

static PetscErrorCode CheckEntries(KalEnsemble e, PetscInt count, const PetscInt entries[])
{
  char     text[256] = "";
  PetscInt k;

  PetscFunctionBeginUser;
  if (count < 0) PetscCall(PetscSNPrintf(text, sizeof text, "%" PetscInt_FMT " rows were asked for; the number must not be negative", count));
  for (k = 0; k < count && !text[0]; k++) {
    if (entries[k] < 0 || entries[k] >= e->n) PetscCall(PetscSNPrintf(text, sizeof text, "Row %" PetscInt_FMT " was asked for; the ensemble has rows 0 to %" PetscInt_FMT, entries[k], e->n - 1));
    else if (k && entries[k] <= entries[k - 1]) PetscCall(PetscSNPrintf(text, sizeof text, "Row %" PetscInt_FMT " was asked for after row %" PetscInt_FMT "; rows are asked for in ascending order, each once", entries[k], entries[k - 1]));
  }
  KalCheckAll(e->comm, PETSC_ERR_ARG_OUTOFRANGE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entries of one member, side by side; runs of consecutive entries are copied whole. */
static PetscErrorCode Pick(PetscInt count, const PetscInt entries[], const PetscScalar *member, PetscScalar *values)
{
  PetscInt k = 0;

  PetscFunctionBeginUser;
  while (k < count) {
    PetscInt run = 1;

    while (k + run < count && entries[k + run] == entries[k] + run) run++;
    if (run < 8) {
      for (; run > 0; run--, k++) values[k] = member[entries[k]];
    } else {
      PetscCall(PetscArraycpy(values + k, member + entries[k], run));
      k += run;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FetchInPlace(KalEnsemble e, PetscInt count, const PetscInt entries[], PetscScalar *out)
{
  PetscInt j;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleSync_Private(e));
  KalCountShared((PetscInt64)count * (e->N - (e->last - e->first)) * (PetscInt64)sizeof(PetscScalar));
  for (j = 0; j < e->N; j++) PetscCall(Pick(count, entries, e->base + (size_t)j * e->n, out + (size_t)j * count));
  PetscCall(KalEnsembleSync_Private(e)); /* nobody writes what another still reads */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A slice of what this rank wants of a rank's members: the entries go there, the values come to their place. */
static PetscErrorCode Ask(const KalFetch *fetch, PetscMPIInt owner, PetscInt at, MPI_Request *request, PetscMPIInt *requests)
{
  const KalEnsemble e     = fetch->ensemble;
  const PetscInt    begin = KalFirstMember(e, owner), members = KalFirstMember(e, owner + 1) - begin, rows = PetscMin(fetch->slice, fetch->count - at);
  PetscMPIInt       blocks, length;
  MPI_Datatype      type;

  PetscFunctionBeginUser;
  if (rows <= 0 || !members) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMPIIntCast(members, &blocks));
  PetscCall(PetscMPIIntCast(rows, &length));
  PetscCallMPI(MPI_Type_create_hvector(blocks, length, (MPI_Aint)fetch->count * (MPI_Aint)sizeof(PetscScalar), MPI_DOUBLE, &type));
  PetscCallMPI(MPI_Type_commit(&type));
  PetscCallMPI(MPI_Irecv(fetch->out + (size_t)begin * fetch->count + at, 1, type, owner, KAL_TAG_VALUES, e->comm, &request[(*requests)++]));
  PetscCallMPI(MPI_Type_free(&type));
  KalCountMessage(0, (PetscInt64)members * rows * (PetscInt64)sizeof(PetscScalar));
  KalCountMessage((PetscInt64)rows * (PetscInt64)sizeof(PetscInt), 0);
  PetscCallMPI(MPI_Isend(fetch->entries + at, length, MPIU_INT, owner, KAL_TAG_ENTRIES, e->comm, &request[(*requests)++]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A slice of what another rank wants of this rank's members. */
static PetscErrorCode Answer(const KalFetch *fetch, PetscMPIInt other, PetscInt at, MPI_Request *request, PetscMPIInt *requests)
{
  const KalEnsemble e       = fetch->ensemble;
  const PetscInt    members = e->last - e->first, rows = PetscMin(fetch->slice, fetch->counts[other] - at);
  PetscMPIInt       length;
  PetscInt          j;

  PetscFunctionBeginUser;
  if (rows <= 0 || !members) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMPIIntCast(rows, &length));
  PetscCallMPI(MPI_Recv(fetch->asked, length, MPIU_INT, other, KAL_TAG_ENTRIES, e->comm, MPI_STATUS_IGNORE));
  for (j = 0; j < members; j++) PetscCall(Pick(rows, fetch->asked, e->local + (size_t)j * e->n, fetch->answer + (size_t)j * rows));
  PetscCall(PetscMPIIntCast((PetscInt64)members * rows, &length));
  KalCountMessage(0, (PetscInt64)rows * (PetscInt64)sizeof(PetscInt));
  KalCountMessage((PetscInt64)length * (PetscInt64)sizeof(PetscScalar), 0);
  PetscCallMPI(MPI_Isend(fetch->answer, length, MPI_DOUBLE, other, KAL_TAG_VALUES, e->comm, &request[(*requests)++]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FetchMessages(KalFetch *fetch)
{
  const KalEnsemble e    = fetch->ensemble;
  const PetscInt    most = (e->N + e->size / e->span - 1) / (e->size / e->span);
  PetscInt          j, at, round;

  PetscFunctionBeginUser;
  fetch->slice = PetscMax(1, KAL_FETCH_NUMBERS / most);
  PetscCall(PetscMalloc1(e->size, &fetch->counts));
  KalCountCollective((PetscInt64)sizeof(PetscInt), (PetscInt64)sizeof(PetscInt) * (e->size - 1));
  PetscCallMPI(MPI_Allgather(&fetch->count, 1, MPIU_INT, fetch->counts, 1, MPIU_INT, e->comm));
  for (j = e->first; j < e->last; j++) PetscCall(Pick(fetch->count, fetch->entries, e->local + (size_t)(j - e->first) * e->n, fetch->out + (size_t)j * fetch->count));
  for (at = 0, round = 0; round < e->size; round++) at = PetscMax(at, fetch->counts[round]);
  at = PetscMin(at, fetch->slice);
  PetscCall(PetscMalloc2(at, &fetch->asked, (size_t)at * (e->last - e->first), &fetch->answer));
  for (round = 1; round < e->size; round++) {
    const PetscMPIInt owner = (PetscMPIInt)(((PetscInt64)e->rank + round) % e->size), other = (PetscMPIInt)(((PetscInt64)e->rank + e->size - round) % e->size);

    for (at = 0; at < PetscMax(fetch->count, fetch->counts[other]); at += fetch->slice) {
      MPI_Request request[3];
      PetscMPIInt requests = 0;

      PetscCall(Ask(fetch, owner, at, request, &requests));
      PetscCall(Answer(fetch, other, at, request, &requests));
      PetscCallMPI(MPI_Waitall(requests, request, MPI_STATUSES_IGNORE));
    }
  }
  PetscCall(PetscFree2(fetch->asked, fetch->answer));
  PetscCall(PetscFree(fetch->counts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleFetchRows - Gives each rank all members' values of the entries it asks for

   Collective

   Input Parameters:
+  ensemble - a stored ensemble, set up
.  count - how many entries this rank wants; may be 0, and differ from rank to rank
-  entries - which, ascending, each at most once

   Output Parameter:
.  out - count x N numbers: entry entries[k] of member j is out[k + j*count]

   Note:
   In a node's shared window a rank copies from where the members lie. Otherwise a rank sends its entries to the ranks that hold
   members and receives about count N numbers, in slices of about 4 MiB. The numbers are the same either way.

.seealso: KalEnsembleGetBlockRange(), KalEnsembleMapRows()
@*/
PetscErrorCode KalEnsembleFetchRows(KalEnsemble ensemble, PetscInt count, const PetscInt entries[], PetscScalar *out)
{
  KalFetch fetch = {.ensemble = ensemble, .count = count, .entries = entries, .out = out};

  PetscFunctionBeginUser;
  PetscCheck(ensemble->kind == KAL_KIND_STORED && ensemble->setup, ensemble->comm, PETSC_ERR_ARG_WRONGSTATE, "Only rows of a stored ensemble that is set up are fetched");
  PetscCall(CheckEntries(ensemble, count, entries));
  PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
  if (ensemble->base) PetscCall(FetchInPlace(ensemble, count, entries, out));
  else PetscCall(FetchMessages(&fetch));
  PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetBlockRange - Gets the canonical row blocks that this rank works on in KalEnsembleMapRows() and KalEnsembleSumRows()

   Not Collective

   Input Parameter:
.  ensemble - the ensemble, set up

   Output Parameters:
+  first - the first block, or NULL
-  last - one more than the last, or NULL

   Note:
   Block b has the rows from b times the `rows` of KalEnsembleGetBlocks() on.
@*/
PetscErrorCode KalEnsembleGetBlockRange(KalEnsemble ensemble, PetscInt *first, PetscInt *last)
{
  PetscFunctionBeginUser;
  if (first) *first = KalShare(ensemble->nblocks, ensemble->rank, ensemble->size);
  if (last) *last = KalShare(ensemble->nblocks, ensemble->rank + 1, ensemble->size);
  PetscFunctionReturn(PETSC_SUCCESS);
}
