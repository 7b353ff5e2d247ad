/* The members of an ensemble, written and read by all ranks together. */
#include <snapshot/snapshotimpl.h>

#include <stdio.h>
#include <string.h>

/* A rank's members on their way to or from the file, box by box. */
typedef struct {
  KalEnsemble  ens;
  PetscInt     first, n;
  KalBoxes     boxes;  /* of this rank's members */
  hsize_t      rounds; /* the most boxes that a rank has */
  PetscScalar *buffer; /* where members do not follow each other in memory, else NULL */
} Rounds;

/* Whether this rank's members lie one behind the other. */
static PetscErrorCode AreContiguous(KalEnsemble ens, PetscInt first, PetscInt last, PetscInt n, PetscBool *contiguous)
{
  PetscScalar *before = NULL, *here;

  PetscFunctionBeginUser;
  *contiguous = PETSC_TRUE;
  for (PetscInt j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(ens, j, &here));
    if (j > first && here != before + n) *contiguous = PETSC_FALSE;
    before = here;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RoundsCreate(KalSnapshot snap, KalEnsemble ens, PetscInt n, Rounds *rounds)
{
  PetscInt   last;
  hsize_t    size[2];
  PetscInt64 mine, most;
  PetscBool  contiguous;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(ens, &rounds->first, &last));
  rounds->ens = ens;
  rounds->n   = n;
  size[0]     = (hsize_t)(last - rounds->first);
  size[1]     = (hsize_t)n;
  KalBoxesCreate(2, size, KAL_SNAPSHOT_BLOCK / sizeof(PetscScalar), &rounds->boxes);
  mine = (PetscInt64)rounds->boxes.count;
  PetscCallMPI(MPI_Allreduce(&mine, &most, 1, MPIU_INT64, MPI_MAX, snap->comm));
  rounds->rounds = (hsize_t)most;
  rounds->buffer = NULL;
  PetscCall(AreContiguous(ens, rounds->first, last, n, &contiguous));
  if (!contiguous) PetscCall(PetscMalloc1((size_t)PetscMin(KAL_SNAPSHOT_BLOCK / sizeof(PetscScalar), size[0] * size[1]), &rounds->buffer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One box: where it lies in the file, and in memory; the members' values are in `data` or go there. */
static PetscErrorCode RoundsGet(const Rounds *rounds, hsize_t round, KalBox *box, PetscScalar **data)
{
  PetscScalar *member;

  PetscFunctionBeginUser;
  *data = NULL;
  KalBoxesGet(&rounds->boxes, round, box);
  if (!box->elements) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleGetMember(rounds->ens, rounds->first + (PetscInt)box->start[0], &member));
  *data = rounds->buffer ? rounds->buffer : member + box->start[1];
  box->start[0] += (hsize_t)rounds->first;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Between the members and the buffer, where there is one. */
static PetscErrorCode RoundsCopy(const Rounds *rounds, const KalBox *box, PetscBool out)
{
  PetscScalar *member;

  PetscFunctionBeginUser;
  if (!rounds->buffer || !box->elements) PetscFunctionReturn(PETSC_SUCCESS);
  for (hsize_t k = 0; k < box->count[0]; k++) {
    PetscScalar *buffer = rounds->buffer + k * box->count[1];
    PetscCall(KalEnsembleGetMember(rounds->ens, (PetscInt)(box->start[0] + k), &member));
    if (out) memcpy(buffer, member + box->start[1], (size_t)box->count[1] * sizeof *buffer);
    else memcpy(member + box->start[1], buffer, (size_t)box->count[1] * sizeof *buffer);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The index of each member, once a group: coordinates of the dimension `member`. */
static PetscErrorCode WriteIndex(KalSnapshot snap, const char *name, PetscInt N)
{
  char           path[2 * KAL_SNAPSHOT_NAME];
  const char    *slash = strrchr(name, '/');
  int           *index;
  KalItem        item = {.meaning = "index of the member", .units = "1", .type = H5T_STD_I32LE, .ndims = 1, .size = {N}, .dimension = {"member"}};
  PetscErrorCode ierr = PETSC_SUCCESS;

  PetscFunctionBeginUser;
  snprintf(path, sizeof path, "%.*smember", slash ? (int)(slash - name) + 1 : 0, name);
  if (KalH5Exists(snap->file, path) > 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1((size_t)N, &index));
  for (PetscInt j = 0; j < N; j++) index[j] = (int)j;
  item.name = path;
  item.data = index;
  ierr      = KalSnapshotWriteItem(snap, &item);
  PetscCall(PetscFree(index));
  PetscFunctionReturn(ierr);
}

/* The checksum of each member, in a dataset beside theirs. */
static PetscErrorCode WriteDigests(KalSnapshot snap, const char *name, PetscInt N, KalEnsemble ens)
{
  char           path[2 * KAL_SNAPSHOT_NAME];
  PetscInt64    *digests;
  KalItem        item = {.name = path, .meaning = "XXH64, seed 0, of the bytes of each member", .units = "1", .type = H5T_STD_U64LE, .ndims = 1, .size = {N}, .dimension = {"member"}};
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  snprintf(path, sizeof path, "%s" KAL_COMPANION, name);
  PetscCall(PetscMalloc1((size_t)N, &digests));
  ierr      = KalEnsembleGetMemberDigests(ens, digests);
  item.data = digests;
  if (!ierr) ierr = KalSnapshotWriteItem(snap, &item);
  PetscCall(PetscFree(digests));
  PetscFunctionReturn(ierr);
}

/*@
   KalSnapshotWriteMembers - Writes the members of a stored ensemble

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that is being written
.  name - path in the file, as "ensemble/members": becomes a dataset of N x n doubles, a member contiguous
.  meaning - its long_name
-  ens - the ensemble, stored, on the communicator of the snapshot or one congruent to it

   Note:
   Each rank writes its own members, in as many rounds on every rank. The checksum of each member goes to `name`_checksum,
   its index to the dataset `member` of the same group.

   Errors:
   An ensemble whose members are generated, a name that is taken, what the file system refuses. On every rank.
@*/
PetscErrorCode KalSnapshotWriteMembers(KalSnapshot snap, const char *name, const char *meaning, KalEnsemble ens)
{
  char    text[KAL_SNAPSHOT_TEXT] = "";
  KalItem item                    = {
                         .name = name, .meaning = meaning, .units = "1", .type = H5T_IEEE_F64LE, .ndims = 2, .dimension = {"member", "state"}
  };
  Rounds    rounds;
  PetscBool stored;
  PetscInt  n, N;
  hid_t     dataset;
  herr_t    bad = 0;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_WRITE, name));
  PetscCheck(strlen(name) + strlen(KAL_COMPANION) < KAL_SNAPSHOT_NAME, snap->comm, PETSC_ERR_ARG_WRONG, "Name %s is too long for members; at most %d characters are allowed", name, KAL_SNAPSHOT_NAME - (int)sizeof KAL_COMPANION);
  PetscCall(KalEnsembleIsStored(ens, &stored));
  PetscCheck(stored, snap->comm, PETSC_ERR_ARG_WRONG, "The members of %s are generated, not stored; write their mean and spread", name);
  PetscCall(KalEnsembleGetSizes(ens, &n, &N));
  item.size[0] = N;
  item.size[1] = n;
  PetscCall(WriteIndex(snap, name, N));
  PetscCall(WriteDigests(snap, name, N, ens));
  PetscCall(KalSnapshotCreateDataset(snap, &item, PETSC_FALSE, NULL, &dataset));
  PetscCall(RoundsCreate(snap, ens, n, &rounds));
  for (hsize_t r = 0; r < rounds.rounds; r++) {
    KalBox       box;
    PetscScalar *data;
    PetscCall(RoundsGet(&rounds, r, &box, &data));
    PetscCall(RoundsCopy(&rounds, &box, PETSC_TRUE));
    /* A rank that fails goes on: the others wait for it in the next collective call. */
    if (KalH5Move(PETSC_TRUE, dataset, H5T_IEEE_F64LE, snap->transfer, 2, &box, data) < 0) bad = -1;
  }
  PetscCall(PetscFree(rounds.buffer));
  if (H5Dclose(dataset) < 0) bad = -1;
  if (bad < 0) KalH5Text(text, "%s cannot be written to snapshot %s", name, snap->tmp);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0 compares sizes and reads the checksums; then every rank has them. */
static PetscErrorCode ReadDigests(KalSnapshot snap, const char *name, PetscInt n, PetscInt N, PetscInt64 *digests)
{
  char       text[KAL_SNAPSHOT_TEXT] = "", path[2 * KAL_SNAPSHOT_NAME];
  PetscInt64 size[KAL_SNAPSHOT_RANK];
  PetscInt   ndims;
  PetscBool  found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotGetSize(snap, name, &ndims, size, &found));
  PetscCheck(found, snap->comm, PETSC_ERR_FILE_UNEXPECTED, "Snapshot %s holds no %s; give a snapshot of a run that stored it", snap->path, name);
  PetscCheck(ndims == 2 && size[0] == N && size[1] == n, snap->comm, PETSC_ERR_ARG_SIZ, "%s of snapshot %s has %lld members of %lld numbers, and the ensemble %lld of %lld; use the sizes that it was written with", name, snap->path, (long long)(ndims == 2 ? size[0] : 0), (long long)(ndims == 2 ? size[1] : 0),
             (long long)N, (long long)n);
  snprintf(path, sizeof path, "%s" KAL_COMPANION, name);
  size[0] = N;
  if (!snap->rank) KalH5ReadWhole(snap->file, snap->path, path, H5T_STD_U64LE, 1, size, digests, text);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_READ, text);
  PetscCallMPI(MPI_Bcast(digests, (PetscMPIInt)N, MPIU_INT64, 0, snap->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The file opened by all ranks together, and the dataset of the members in it. */
static PetscErrorCode OpenMembers(KalSnapshot snap, const char *name, hid_t *dataset)
{
  char  text[KAL_SNAPSHOT_TEXT] = "";
  hid_t access = H5I_INVALID_HID, type = H5I_INVALID_HID;

  PetscFunctionBeginUser;
  *dataset = H5I_INVALID_HID;
  if (snap->parallel < 0) {
    KalH5(text, access = KalH5Access(snap->comm), "HDF5 refuses parallel access");
    KalH5(text, snap->parallel = H5Fopen(snap->path, H5F_ACC_RDONLY, access), "Snapshot %s cannot be opened by all ranks", snap->path);
  }
  KalH5(text, *dataset = H5Dopen2(snap->parallel, name, H5P_DEFAULT), "%s of snapshot %s cannot be opened", name, snap->path);
  KalH5(text, type = H5Dget_type(*dataset), "%s of snapshot %s has no type", name, snap->path);
  if (H5Tequal(type, H5T_IEEE_F64LE) <= 0) KalText(text, "%s of snapshot %s has numbers of type %s; float64 is expected", name, snap->path, KalH5TypeName(type));
done:
  KalH5Close(type);
  KalH5Close(access);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_READ, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The checksums of members that a box brought whole, while they are in the cache; those of others are left alone. */
static PetscErrorCode DigestBox(const Rounds *rounds, const KalBox *box, PetscInt64 *digests)
{
  PetscScalar *member;

  PetscFunctionBeginUser;
  if (!box->elements || box->count[1] != (hsize_t)rounds->n) PetscFunctionReturn(PETSC_SUCCESS);
  for (hsize_t k = 0; k < box->count[0]; k++) {
    PetscCall(KalEnsembleGetMember(rounds->ens, (PetscInt)(box->start[0] + k), &member));
    PetscCall(KalDigest(member, (size_t)rounds->n * sizeof *member, 0, &digests[box->start[0] + k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The values, in rounds; `digests` of the members of this rank where a round brings them whole, as `whole` says it does. */
static PetscErrorCode ReadRounds(KalSnapshot snap, const char *name, PetscInt n, KalEnsemble ens, PetscInt64 *digests, PetscBool *whole)
{
  char   text[KAL_SNAPSHOT_TEXT] = "";
  Rounds rounds;
  hid_t  dataset;
  herr_t bad = 0;

  PetscFunctionBeginUser;
  PetscCall(OpenMembers(snap, name, &dataset));
  PetscCall(RoundsCreate(snap, ens, n, &rounds));
  for (hsize_t r = 0; r < rounds.rounds; r++) {
    KalBox       box;
    PetscScalar *data;
    PetscCall(RoundsGet(&rounds, r, &box, &data));
    if (KalH5Move(PETSC_FALSE, dataset, H5T_IEEE_F64LE, snap->transfer, 2, &box, data) < 0) bad = -1;
    PetscCall(RoundsCopy(&rounds, &box, PETSC_FALSE));
    PetscCall(DigestBox(&rounds, &box, digests));
  }
  *whole = (PetscBool)((hsize_t)n * sizeof(PetscScalar) <= KAL_SNAPSHOT_BLOCK);
  PetscCall(PetscFree(rounds.buffer));
  if (bad < 0) KalH5Text(text, "%s of snapshot %s cannot be read; restart from the one before it, %s.1, if there is one", name, snap->path, snap->path);
  KalH5Close(dataset);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_READ, text);
  PetscCall(KalEnsembleChanged(ens));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Reads and compares; `written` and `read` have room for N digests each. */
static PetscErrorCode ReadChecked(KalSnapshot snap, const char *name, PetscInt n, PetscInt N, KalEnsemble ens, PetscInt64 *written, PetscInt64 *read)
{
  char      text[KAL_SNAPSHOT_TEXT] = "";
  PetscInt  damaged = 0, which = -1;
  PetscBool whole = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(ReadDigests(snap, name, n, N, written));
  PetscCall(ReadRounds(snap, name, n, ens, read, &whole));
  PetscCall(KalEnsembleGatherDigests(ens, whole, read));
  for (PetscInt j = N - 1; j >= 0; j--) {
    if (read[j] == written[j]) continue;
    damaged++;
    which = j;
  }
  if (damaged) KalText(text, "Member %lld of %s in snapshot %s is damaged (%lld of %lld members do not match their checksums); restart from the one before it, %s.1, if there is one", (long long)which, name, snap->path, (long long)damaged, (long long)N, snap->path);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_READ, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotReadMembers - Reads the members of a stored ensemble

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that was opened to be read, on any number of ranks
.  name - as given to KalSnapshotWriteMembers()
-  ens - a stored ensemble, set up, with the sizes of the one that was written; its values are replaced

   Errors:
   No such dataset, other sizes, and a member that does not match its checksum. On every rank.
@*/
PetscErrorCode KalSnapshotReadMembers(KalSnapshot snap, const char *name, KalEnsemble ens)
{
  PetscInt64    *written, *read;
  PetscBool      stored;
  PetscInt       n, N;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_READ, name));
  PetscCall(KalEnsembleIsStored(ens, &stored));
  PetscCheck(stored, snap->comm, PETSC_ERR_ARG_WRONG, "%s cannot be read into an ensemble whose members are generated; read their mean and spread", name);
  PetscCall(KalEnsembleGetSizes(ens, &n, &N));
  PetscCall(PetscMalloc2((size_t)N, &written, (size_t)N, &read));
  ierr = ReadChecked(snap, name, n, N, ens, written, read);
  PetscCall(PetscFree2(written, read));
  PetscFunctionReturn(ierr);
}
