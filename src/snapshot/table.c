/* A table that is too large to be held: its rows come block by block, its checksum at the end. */
#include <snapshot/snapshotimpl.h>

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct _p_KalSnapshotTable {
  KalSnapshot    snap;
  char          *name;
  hid_t          dataset, type;
  PetscInt       ndims;
  hsize_t        size[KAL_SNAPSHOT_RANK], next; /* the row that comes next */
  XXH64_state_t *digest;
};

/*@
   KalSnapshotTableBegin - Makes a dataset whose rows are given block by block

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that is being written
-  array - the dataset; `size`[0] counts its rows, `data` is not used

   Output Parameter:
.  table - to be given to KalSnapshotTableWrite() and KalSnapshotTableEnd(); several may be open at once

   Errors:
   No dimension, a name that is taken, no room on the disk. On every rank.
@*/
PetscErrorCode KalSnapshotTableBegin(KalSnapshot snap, const KalDataset *array, KalSnapshotTable *table)
{
  KalSnapshotTable t;
  KalItem          item = {.name = array->name, .meaning = array->meaning, .units = array->units ? array->units : "1", .type = KalH5Type(array->type), .ndims = array->ndims};

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_WRITE, array->name));
  PetscCheck(array->ndims >= 1 && array->ndims <= KAL_SNAPSHOT_RANK, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "Table %s has %" PetscInt_FMT " dimensions; allowed are 1 to %d", array->name, array->ndims, KAL_SNAPSHOT_RANK);
  PetscCall(PetscNew(&t));
  t->snap  = snap;
  t->type  = item.type;
  t->ndims = array->ndims;
  for (PetscInt d = 0; d < array->ndims; d++) {
    PetscCheck(array->size[d] >= 1, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "Table %s has the size %lld in dimension %" PetscInt_FMT "; at least 1 is needed", array->name, (long long)array->size[d], d);
    item.size[d]      = array->size[d];
    item.dimension[d] = array->dimension[d];
    t->size[d]        = (hsize_t)array->size[d];
  }
  PetscCall(PetscStrallocpy(array->name, &t->name));
  t->digest = XXH64_createState();
  PetscCheck(t->digest, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for the checksum of %s", array->name);
  (void)XXH64_reset(t->digest, 0);
  PetscCall(KalSnapshotCreateDataset(snap, &item, PETSC_FALSE, NULL, &t->dataset));
  *table = t;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotTableWrite - Writes the next rows of a table

   Collective on the snapshot; rank 0 writes

   Input Parameters:
+  table - the table
.  rows - how many rows
-  data - their values, a row contiguous, the same on every rank

   Errors:
   More rows than the table has, what the file system refuses. On every rank.
@*/
PetscErrorCode KalSnapshotTableWrite(KalSnapshotTable table, PetscInt rows, const void *data)
{
  char   text[KAL_SNAPSHOT_TEXT] = "";
  KalBox box                     = {.start = {table->next}, .count = {(hsize_t)rows}, .elements = (hsize_t)rows};

  PetscFunctionBeginUser;
  PetscCheck(rows >= 1 && (hsize_t)rows <= table->size[0] - table->next, table->snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " rows behind row %lld of table %s, which has %lld", rows, (long long)table->next, table->name, (long long)table->size[0]);
  for (PetscInt d = 1; d < table->ndims; d++) {
    box.count[d] = table->size[d];
    box.elements *= table->size[d];
  }
  (void)XXH64_update(table->digest, data, (size_t)box.elements * H5Tget_size(table->type));
  table->next += (hsize_t)rows;
  if (table->snap->rank) box.elements = 0;
  if (KalH5Move(PETSC_TRUE, table->dataset, table->type, table->snap->transfer, (int)table->ndims, &box, (void *)(uintptr_t)data) < 0) KalH5Text(text, "%s cannot be written to %s", table->name, table->snap->tmp);
  KalCheckAll(table->snap->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotTableEnd - Finishes a table with its checksum

   Collective on the snapshot, before KalSnapshotCommit()

   Input Parameter:
.  table - the table, set to NULL; NULL is left alone

   Errors:
   Rows that were not written. On every rank.
@*/
PetscErrorCode KalSnapshotTableEnd(KalSnapshotTable *table)
{
  KalSnapshotTable t                       = *table;
  char             text[KAL_SNAPSHOT_TEXT] = "";
  uint64_t         digest;

  PetscFunctionBeginUser;
  if (!t) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(t->next == t->size[0], t->snap->comm, PETSC_ERR_ORDER, "%lld of the %lld rows of table %s were written", (long long)t->next, (long long)t->size[0], t->name);
  digest = XXH64_digest(t->digest);
  if (KalH5PutNumber(t->dataset, KAL_CHECKSUM, H5T_STD_U64LE, &digest) < 0 || H5Dclose(t->dataset) < 0) KalH5Text(text, "%s cannot be written to %s", t->name, t->snap->tmp);
  KalCheckAll(t->snap->comm, PETSC_ERR_FILE_WRITE, text);
  (void)XXH64_freeState(t->digest);
  PetscCall(PetscFree(t->name));
  PetscCall(PetscFree(t));
  *table = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotHolds - Whether a path is a file of Kalmia's format that holds a name

   Collective on `comm`; a file that is missing, damaged or another is no error

   Input Parameters:
+  comm - the ranks that want to know
.  path - file name
-  name - as "ensemble/mean"

   Output Parameter:
.  holds - the answer
@*/
PetscErrorCode KalSnapshotHolds(MPI_Comm comm, const char *path, const char *name, PetscBool *holds)
{
  char        text[KAL_SNAPSHOT_TEXT] = "";
  int         answer                  = 0;
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  KalH5Quiet();
  if (!rank) {
    const hid_t file = KalH5OpenSerial(path, H5F_ACC_RDONLY, text);

    if (!text[0]) KalH5CheckFormat(file, path, text);
    answer = !text[0] && KalH5Exists(file, name) > 0;
    (void)H5Eclear2(H5E_DEFAULT);
    KalH5Close(file);
  }
  PetscCallMPI(MPI_Bcast(&answer, 1, MPI_INT, 0, comm));
  *holds = (PetscBool)answer;
  PetscFunctionReturn(PETSC_SUCCESS);
}
