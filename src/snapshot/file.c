/* A snapshot's life: opened, committed or dropped. */
#include <snapshot/snapshotimpl.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

/* The folder that a path lies in. */
static void Folder(const char *path, size_t bytes, char *folder)
{
  const char *slash = strrchr(path, '/');

  if (!slash) snprintf(folder, bytes, ".");
  else if (slash == path) snprintf(folder, bytes, "/");
  else snprintf(folder, bytes, "%.*s", (int)(slash - path), path);
}

/* Whether so many bytes more will fit the file system: better said before they are written than found out half way. */
void KalSnapshotCheckRoom(KalSnapshot snap, const char *name, hsize_t bytes, char *text)
{
  struct statvfs info;

  if (snap->rank || statvfs(snap->tmp, &info)) return;
  if ((double)info.f_bavail * (double)info.f_frsize < (double)bytes)
    KalText(text, "%s takes %.0f MiB, and the file system of snapshot %s has %.0f MiB left; make room, or give another path", name, (double)bytes / 1048576., snap->path, (double)info.f_bavail * (double)info.f_frsize / 1048576.);
}

/* Refuses to replace a file that is no snapshot: most likely somebody's data. An empty file is nobody's. */
static void RefuseForeign(const char *path, char *text)
{
  struct stat info;
  char        why[KAL_SNAPSHOT_TEXT] = "";
  hid_t       file;
  PetscBool   ours;

  if (stat(path, &info) || !info.st_size) return;
  file = KalH5OpenSerial(path, H5F_ACC_RDONLY, why);
  ours = (PetscBool)(file >= 0 && H5Aexists(file, KAL_FORMAT) > 0);
  (void)H5Eclear2(H5E_DEFAULT);
  KalH5Close(file);
  if (!ours) KalText(text, "Snapshot path %s is a file that is no snapshot of Kalmia, and is not overwritten; give another path, or remove the file", path);
}

/* Whether a file can be written at `path`, tried with an empty `tmp`: access() is no answer for root or on NFS. */
static void TryWrite(const char *path, const char *tmp, char *text)
{
  struct stat info;
  char        folder[PETSC_MAX_PATH_LEN];
  int         file;

  Folder(path, sizeof folder, folder);
  if (!path[0] || path[strlen(path) - 1] == '/') KalText(text, "Snapshot path \"%s\" names no file; give a file name", path);
  else if (!stat(path, &info) && S_ISDIR(info.st_mode)) KalText(text, "Snapshot path %s is a folder; give a file name in it", path);
  else if (!stat(path, &info) && !S_ISREG(info.st_mode)) KalText(text, "Snapshot path %s is not a plain file; give another path", path);
  else if (stat(folder, &info)) KalText(text, "Snapshot %s cannot be written: folder %s: %s; make it, or give another path", path, folder, strerror(errno));
  else if (!S_ISDIR(info.st_mode)) KalText(text, "Snapshot %s cannot be written: %s is not a folder; give another path", path, folder);
  if (!text[0]) RefuseForeign(path, text);
  if (text[0]) return;
  (void)unlink(tmp); /* what a killed run left */
  file = open(tmp, O_CREAT | O_EXCL | O_WRONLY, 0666);
  if (file < 0) KalText(text, "Snapshot %s cannot be written: %s: %s; give a path that can be written to", path, tmp, strerror(errno));
  else (void)close(file);
}

static PetscErrorCode OpenWrite(KalSnapshot snap)
{
  const int      version                 = KAL_SNAPSHOT_VERSION;
  const uint64_t tail[3]                 = {0};
  char           text[KAL_SNAPSHOT_TEXT] = "";
  hid_t          create = H5I_INVALID_HID, access = H5I_INVALID_HID;

  PetscFunctionBeginUser;
  if (!snap->rank) TryWrite(snap->path, snap->tmp, text);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_OPEN, text);
  KalH5(text, create = KalH5Group(H5P_FILE_CREATE), "HDF5 refuses a property list");
  KalH5(text, access = KalH5Access(snap->comm), "HDF5 refuses parallel access");
  KalH5(text, snap->file = H5Fcreate(snap->tmp, H5F_ACC_TRUNC, create, access), "Snapshot %s cannot be created", snap->tmp);
done:
  KalH5Close(access);
  KalH5Close(create);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_OPEN, text);
  /*
    Each rank writes long runs of its own, to which collective buffering adds nothing; and Open MPI's collective write
    (4.1, component vulcan, 3 ranks and more) reports success when the disk is full.
  */
  if (H5Pset_dxpl_mpio(snap->transfer, H5FD_MPIO_INDEPENDENT) < 0 || KalH5PutNumber(snap->file, KAL_FORMAT, H5T_NATIVE_INT, &version) < 0 || KalH5PutTail(snap->file, PETSC_TRUE, tail) < 0 || KalH5PutText(snap->file, "kalmia_checksum", "XXH64, seed 0, of the bytes of a dataset, or of one member in a dataset whose name ends in " KAL_COMPANION) < 0)
    KalH5Text(text, "Snapshot %s cannot be written", snap->tmp);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode OpenRead(KalSnapshot snap)
{
  char text[KAL_SNAPSHOT_TEXT] = "";

  PetscFunctionBeginUser;
  if (!snap->rank) {
    snap->file = KalH5OpenSerial(snap->path, H5F_ACC_RDONLY, text);
    if (!text[0]) KalH5CheckFormat(snap->file, snap->path, text);
  }
  KalCheckAll(snap->comm, PETSC_ERR_FILE_READ, text);
  if (H5Pset_dxpl_mpio(snap->transfer, H5FD_MPIO_COLLECTIVE) < 0) KalH5Text(text, "HDF5 refuses collective reading");
  KalCheckAll(snap->comm, PETSC_ERR_FILE_READ, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Closes the files of a snapshot that is not committed, and removes the temporary one. On a full disk HDF5 could not flush
  what it still holds, and after a failed close it brings the process down when MPI is finalized: hence the file is cut to
  nothing first, which makes the room.
*/
static PetscErrorCode Drop(KalSnapshot snap)
{
  PetscFunctionBeginUser;
  if (snap->mode == KAL_SNAPSHOT_WRITE) {
    PetscCallMPI(MPI_Barrier(snap->comm));
    if (!snap->rank && truncate(snap->tmp, 0)) snap->keep = 1; /* it is removed below in any case */
    PetscCallMPI(MPI_Barrier(snap->comm));
  }
  KalH5Close(snap->parallel);
  KalH5Close(snap->file);
  snap->parallel = snap->file = H5I_INVALID_HID;
  snap->open                  = PETSC_FALSE;
  if (snap->mode == KAL_SNAPSHOT_WRITE) {
    PetscCallMPI(MPI_Barrier(snap->comm));
    if (!snap->rank) (void)unlink(snap->tmp);
    PetscCallMPI(MPI_Barrier(snap->comm));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Free(KalSnapshot *snap)
{
  PetscInt i, d;

  PetscFunctionBeginUser;
  KalH5Close((*snap)->transfer);
  for (i = 0; i < (*snap)->count; i++) {
    PetscCall(PetscFree((*snap)->scaled[i].name));
    for (d = 0; d < KAL_SNAPSHOT_RANK; d++) PetscCall(PetscFree((*snap)->scaled[i].dimension[d]));
  }
  PetscCall(PetscFree((*snap)->scaled));
  PetscCall(PetscFree((*snap)->path));
  PetscCall(PetscFree((*snap)->tmp));
  PetscCallMPI(MPI_Comm_free(&(*snap)->comm));
  PetscCall(PetscFree(*snap));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotOpen - Opens a snapshot, to be written anew or to be read

   Collective on `comm`

   Input Parameters:
+  comm - the ranks that write or read it; to read, any number of them
.  path - file name. Writing goes to `path`.tmp: a file at `path` stays as it is until KalSnapshotCommit()
-  mode - `KAL_SNAPSHOT_WRITE` or `KAL_SNAPSHOT_READ`

   Output Parameter:
.  snapshot - the snapshot; give it back with KalSnapshotClose()

   Errors:
   Writing: the path is a folder or a file that is no snapshot, or its folder does not exist or cannot be written to. Reading: there is no such file,
   it is no HDF5 file, is truncated or damaged, is no snapshot, or one of another format version. On every rank.

.seealso: `KalSnapshotCommit()`, `KalSnapshotClose()`, `KalSnapshotVerify()`
@*/
PetscErrorCode KalSnapshotOpen(MPI_Comm comm, const char *path, KalSnapshotMode mode, KalSnapshot *snapshot)
{
  KalSnapshot    snap;
  PetscErrorCode ierr;
  size_t         length;

  PetscFunctionBeginUser;
  *snapshot = NULL;
  PetscCheck(path && path[0], comm, PETSC_ERR_ARG_WRONG, "A snapshot needs a path; an empty one was given");
  PetscCall(PetscStrlen(path, &length));
  PetscCheck(length < PETSC_MAX_PATH_LEN - 16, comm, PETSC_ERR_ARG_OUTOFRANGE, "Snapshot path of %lld characters; at most %d are allowed", (long long)length, PETSC_MAX_PATH_LEN - 17);
  PetscCall(PetscCalloc1(1, &snap));
  PetscCallMPI(MPI_Comm_dup(comm, &snap->comm));
  PetscCallMPI(MPI_Comm_rank(comm, &snap->rank));
  PetscCallMPI(MPI_Comm_size(comm, &snap->size));
  snap->mode = mode;
  snap->keep = 1;
  snap->file = snap->parallel = H5I_INVALID_HID;
  PetscCall(PetscStrallocpy(path, &snap->path));
  PetscCall(PetscMalloc1(length + 8, &snap->tmp));
  PetscCall(PetscSNPrintf(snap->tmp, length + 8, "%s.tmp", path));
  KalH5Quiet();
  snap->transfer = H5Pcreate(H5P_DATASET_XFER);
  ierr           = mode == KAL_SNAPSHOT_WRITE ? OpenWrite(snap) : OpenRead(snap);
  if (ierr) {
    PetscCall(Drop(snap));
    PetscCall(Free(&snap));
    PetscFunctionReturn(ierr);
  }
  snap->open = PETSC_TRUE;
  *snapshot  = snap;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotSetKeep - Sets how many snapshots are kept

   Logically Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that is being written
-  keep - how many, at least 1: the one at `path` and, for more than 1, those before it at `path`.1 (the last but one) to
          `path`.(keep - 1). Older ones of a run that kept more are left alone
@*/
PetscErrorCode KalSnapshotSetKeep(KalSnapshot snap, PetscInt keep)
{
  PetscFunctionBeginUser;
  PetscCheck(keep >= 1 && keep <= 1000000, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "%lld snapshots to keep; allowed are 1 to 1000000", (long long)keep);
  snap->keep = keep;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Flushes a file's or a folder's bytes to the disk. */
static int SyncPath(const char *path, int flags)
{
  const int file = open(path, flags);
  int       bad;

  if (file < 0) return -1;
  bad = fsync(file);
  if (close(file)) bad = -1;
  return bad;
}

/*
  Moves the snapshots at `path` one place on: path.(keep-2) to path.(keep-1), ..., path to path.1. At every moment there
  is a whole file at `path`, or, where the file system has no hard links, at `path`.1.
*/
static void Rotate(const char *path, PetscInt keep, char *text)
{
  char     from[PETSC_MAX_PATH_LEN], to[PETSC_MAX_PATH_LEN], link1[PETSC_MAX_PATH_LEN];
  PetscInt k;

  if (keep < 2 || access(path, F_OK)) return;
  for (k = keep - 1; k >= 2; k--) {
    snprintf(from, sizeof from, "%s.%lld", path, (long long)k - 1);
    snprintf(to, sizeof to, "%s.%lld", path, (long long)k);
    if (rename(from, to) && errno != ENOENT) {
      KalText(text, "Snapshot %s cannot be moved to %s: %s", from, to, strerror(errno));
      return;
    }
  }
  snprintf(to, sizeof to, "%s.1", path);
  snprintf(link1, sizeof link1, "%s.1.tmp", path);
  (void)unlink(link1);
  if (!link(path, link1)) {
    if (!rename(link1, to)) return;
    (void)unlink(link1);
  } else if (!rename(path, to)) return;
  KalText(text, "Snapshot %s cannot be kept as %s: %s", path, to, strerror(errno));
}

typedef struct {
  hid_t        file;
  KalProblems *problems;
} Check;

/* Opening a dataset checks its header; small ones are read, too. */
static void CheckSmall(void *ctx, hid_t dataset, const char *name)
{
  const Check *check = ctx;

  if (H5Dget_storage_size(dataset) <= KAL_SNAPSHOT_ALIGN) KalH5CheckDataset(check->file, name, check->problems);
}

/* Reads back what HDF5 wrote of its own: errors in that are not always reported. */
static void ReadBack(KalSnapshot snap, char *text)
{
  const hid_t file     = KalH5OpenSerial(snap->tmp, H5F_ACC_RDONLY, text);
  KalProblems problems = {0};
  Check       check    = {file, &problems};

  if (!text[0]) KalH5CheckFormat(file, snap->tmp, text);
  if (!text[0]) KalH5CheckTail(file, snap->tmp, text);
  if (!text[0]) KalH5Walk(file, "", &problems, CheckSmall, &check);
  if (problems.count) KalText(text, "Snapshot %s was not written well: %s", snap->tmp, problems.text ? problems.text : "");
  free(problems.text);
  KalH5Close(file);
}

/* Rank 0's part of a commit: the scales, and the file put durably in its place. */
static void Place(KalSnapshot snap, char *text)
{
  char folder[PETSC_MAX_PATH_LEN];

  KalSnapshotWriteScales(snap, text);
  if (!text[0]) ReadBack(snap, text);
  if (!text[0] && SyncPath(snap->tmp, O_RDWR)) KalText(text, "Snapshot %s cannot be flushed to the disk: %s", snap->tmp, strerror(errno));
  if (!text[0]) Rotate(snap->path, snap->keep, text);
  if (!text[0] && rename(snap->tmp, snap->path)) KalText(text, "Snapshot %s cannot be renamed to %s: %s", snap->tmp, snap->path, strerror(errno));
  if (text[0]) {
    (void)unlink(snap->tmp);
    return;
  }
  Folder(snap->path, sizeof folder, folder);
  /* Some file systems refuse to sync a folder; the file itself is safe by now. */
  if (SyncPath(folder, O_RDONLY) && errno != EINVAL && errno != EACCES) KalText(text, "Folder %s of snapshot %s cannot be flushed to the disk: %s", folder, snap->path, strerror(errno));
}

/*@
   KalSnapshotCommit - Finishes a snapshot that was written and puts it in its place

   Collective on the snapshot

   Input Parameter:
.  snap - the snapshot; all that is left to do with it is KalSnapshotClose()

   Note:
   The file is flushed to the disk, the snapshots before it are moved on (KalSnapshotSetKeep()), and it is renamed. A job
   killed at any moment leaves a whole snapshot at `path` (or, without hard links, at `path`.1).

   Errors:
   Where a step fails (a full disk, for instance) the temporary file is removed and the old one stays. On every rank.
@*/
PetscErrorCode KalSnapshotCommit(KalSnapshot snap)
{
  char           text[KAL_SNAPSHOT_TEXT] = "";
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_WRITE, NULL));
  if (H5Fflush(snap->file, H5F_SCOPE_GLOBAL) < 0) KalH5Text(text, "Snapshot %s cannot be flushed to the disk", snap->tmp);
  ierr = KalCheckAllFailed(snap->comm, PETSC_ERR_FILE_WRITE, text, __LINE__, __FILE__);
  if (ierr) {
    PetscCall(Drop(snap));
    PetscFunctionReturn(ierr);
  }
  snap->open = PETSC_FALSE;
  if (H5Fclose(snap->file) < 0) KalH5Text(text, "Snapshot %s cannot be closed", snap->tmp);
  snap->file = H5I_INVALID_HID;
  ierr       = KalCheckAllFailed(snap->comm, PETSC_ERR_FILE_WRITE, text, __LINE__, __FILE__); /* a barrier, too */
  if (ierr) {
    if (!snap->rank) (void)unlink(snap->tmp);
    PetscFunctionReturn(ierr);
  }
  if (!snap->rank) Place(snap, text);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotClose - Gives a snapshot back; one that was written and not committed is dropped

   Collective on the snapshot

   Input Parameter:
.  snapshot - the snapshot, set to NULL; NULL is left alone
@*/
PetscErrorCode KalSnapshotClose(KalSnapshot *snapshot)
{
  PetscFunctionBeginUser;
  if (!*snapshot) PetscFunctionReturn(PETSC_SUCCESS);
  if ((*snapshot)->open) PetscCall(Drop(*snapshot));
  PetscCall(Free(snapshot));
  PetscFunctionReturn(PETSC_SUCCESS);
}
