/* Plain files from a snapshot, streamed: HDF5 where the name ends in .h5 or .hdf5, else NumPy's .npy. */
#include <snapshot/snapshotimpl.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A plain file of one array of doubles that is written from its first to its last number. */
typedef struct {
  char  path[PETSC_MAX_PATH_LEN], tmp[PETSC_MAX_PATH_LEN + 8];
  hid_t file, dataset; /* HDF5 */
  FILE *npy;
  int   ndims;
} Plain;

static PetscBool EndsWith(const char *text, const char *end)
{
  const size_t a = strlen(text), b = strlen(end);
  return a >= b && !strcmp(text + a - b, end) ? PETSC_TRUE : PETSC_FALSE;
}

/* NumPy's format 1.0: magic, header length, and a Python dictionary padded to a multiple of 64. */
static void NpyHeader(Plain *plain, const hsize_t *size, char *text)
{
  char   header[256], shape[96] = "";
  size_t length, padded;

  for (int d = 0; d < plain->ndims; d++) {
    const size_t used = strlen(shape);
    snprintf(shape + used, sizeof shape - used, d ? " %llu%s" : "%llu%s", (unsigned long long)size[d], d == 0 || d < plain->ndims - 1 ? "," : "");
  }
  length = (size_t)snprintf(header, sizeof header, "{'descr': '<f8', 'fortran_order': False, 'shape': (%s), }", shape);
  padded = (10 + length + 1 + 63) / 64 * 64 - 10;
  memset(header + length, ' ', padded - length);
  header[padded - 1] = '\n';
  if (fwrite("\x93NUMPY\x01\x00", 1, 8, plain->npy) != 8 || fputc((int)(padded & 255), plain->npy) == EOF || fputc((int)(padded >> 8), plain->npy) == EOF || fwrite(header, 1, padded, plain->npy) != padded)
    KalText(text, "%s cannot be written: %s", plain->tmp, strerror(errno));
}

static void PlainOpen(Plain *plain, const char *source, const char *path, const char *as, int ndims, const hsize_t *size, char *text)
{
  struct stat from, to;
  hid_t       space = H5I_INVALID_HID, create = H5I_INVALID_HID;

  memset(plain, 0, sizeof *plain);
  plain->file = plain->dataset = H5I_INVALID_HID;
  plain->ndims                 = ndims;
  if (strlen(path) >= sizeof plain->path) KalText(text, "The path to export to is longer than %d characters", PETSC_MAX_PATH_LEN - 1);
  else if (!stat(path, &to) && !S_ISREG(to.st_mode)) KalText(text, "%s is not a plain file; give another path to export to", path);
  else if (!stat(path, &to) && !stat(source, &from) && from.st_dev == to.st_dev && from.st_ino == to.st_ino) KalText(text, "%s is the snapshot itself; give another path to export to", path);
  if (text[0]) return;
  snprintf(plain->path, sizeof plain->path, "%s", path);
  snprintf(plain->tmp, sizeof plain->tmp, "%s.tmp", path);
  if (EndsWith(path, ".h5") || EndsWith(path, ".hdf5")) {
    KalH5(text, plain->file = H5Fcreate(plain->tmp, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), "%s cannot be written", plain->tmp);
    KalH5(text, space = H5Screate_simple(ndims, size, NULL), "%s cannot be written", plain->tmp);
    KalH5(text, create = H5Pcreate(H5P_DATASET_CREATE), "%s cannot be written", plain->tmp);
    KalH5(text, H5Pset_fill_time(create, H5D_FILL_TIME_NEVER), "%s cannot be written", plain->tmp);
    KalH5(text, plain->dataset = H5Dcreate2(plain->file, as, H5T_IEEE_F64LE, space, H5P_DEFAULT, create, H5P_DEFAULT), "%s cannot be written", plain->tmp);
  } else {
    plain->npy = fopen(plain->tmp, "wb");
    if (!plain->npy) KalText(text, "%s cannot be written: %s; give another path to export to", plain->tmp, strerror(errno));
    else NpyHeader(plain, size, text);
  }
done:
  KalH5Close(create);
  KalH5Close(space);
}

/* The next box; boxes come in the order of the array. */
static void PlainWrite(Plain *plain, const KalBox *box, const double *values, char *text)
{
  if (plain->npy) {
    if (fwrite(values, sizeof *values, (size_t)box->elements, plain->npy) != (size_t)box->elements) KalText(text, "%s cannot be written: %s", plain->tmp, strerror(errno));
  } else if (KalH5Move(PETSC_TRUE, plain->dataset, H5T_NATIVE_DOUBLE, H5P_DEFAULT, plain->ndims, box, (void *)(uintptr_t)values) < 0) KalH5Text(text, "%s cannot be written", plain->tmp);
}

/* Puts the file in its place, or removes it after a failure. */
static void PlainClose(Plain *plain, char *text)
{
  if (!plain->path[0]) return;
  if (plain->npy && fclose(plain->npy) && !text[0]) KalText(text, "%s cannot be written: %s", plain->tmp, strerror(errno));
  KalH5Close(plain->dataset);
  if (plain->file >= 0 && H5Fclose(plain->file) < 0) KalH5Text(text, "%s cannot be written", plain->tmp);
  if (!text[0] && rename(plain->tmp, plain->path)) KalText(text, "%s cannot be renamed to %s: %s", plain->tmp, plain->path, strerror(errno));
  if (text[0]) (void)unlink(plain->tmp);
}

/* Opens a dataset of doubles whose checksums are right. */
static hid_t OpenChecked(KalSnapshot snap, const char *name, int *ndims, hsize_t *size, char *text)
{
  KalProblems problems = {0};
  hid_t       dataset = H5I_INVALID_HID, type = H5I_INVALID_HID;

  if (KalH5Exists(snap->file, name) <= 0) {
    KalText(text, "Snapshot %s holds no %s", snap->path, name);
    return dataset;
  }
  KalH5CheckDataset(snap->file, name, &problems);
  if (problems.count) {
    KalText(text, "Snapshot %s is damaged: %.*s; export from the one before it, %s.1, if there is one", snap->path, (int)strcspn(problems.text ? problems.text : "", "\n"), problems.text ? problems.text : "", snap->path);
    free(problems.text);
    return dataset;
  }
  KalH5(text, dataset = H5Dopen2(snap->file, name, H5P_DEFAULT), "%s of snapshot %s cannot be opened", name, snap->path);
  KalH5(text, type = H5Dget_type(dataset), "%s of snapshot %s has no type", name, snap->path);
  if (H5Tequal(type, H5T_IEEE_F64LE) <= 0) KalText(text, "%s of snapshot %s has numbers of type %s; only float64 is exported", name, snap->path, KalH5TypeName(type));
  *ndims = KalH5Shape(dataset, size);
done:
  KalH5Close(type);
  return dataset;
}

static void ExportWhole(KalSnapshot snap, const char *name, const char *as, const char *path, char *text)
{
  Plain    plain = {.file = H5I_INVALID_HID, .dataset = H5I_INVALID_HID};
  int      ndims = 0;
  hsize_t  size[KAL_SNAPSHOT_RANK];
  hid_t    dataset = OpenChecked(snap, name, &ndims, size, text);
  double  *buffer  = NULL;
  KalBoxes boxes;

  if (!text[0]) PlainOpen(&plain, snap->path, path, as, ndims, size, text);
  if (!text[0]) {
    KalBoxesCreate(ndims, size, KAL_SNAPSHOT_BLOCK / sizeof *buffer, &boxes);
    buffer = malloc(KAL_SNAPSHOT_BLOCK);
    if (!buffer) KalText(text, "No memory to export %s", name);
    for (hsize_t b = 0; b < boxes.count && !text[0]; b++) {
      KalBox box;
      KalBoxesGet(&boxes, b, &box);
      if (KalH5Move(PETSC_FALSE, dataset, H5T_NATIVE_DOUBLE, H5P_DEFAULT, ndims, &box, buffer) < 0) KalH5Text(text, "%s of snapshot %s cannot be read", name, snap->path);
      else PlainWrite(&plain, &box, buffer, text);
    }
  }
  PlainClose(&plain, text);
  free(buffer);
  KalH5Close(dataset);
}

/* The mean over the members that are not skipped, summed in their order, of some of their numbers. */
static void MeanPart(hid_t dataset, hsize_t N, const KalStatus *status, const KalBox *part, double *sum, double *buffer, char *text)
{
  hsize_t used = 0;

  memset(sum, 0, (size_t)part->elements * sizeof *sum);
  for (hsize_t j = 0; j < N && !text[0]; j++) {
    const KalBox box = {
        .start    = {j, part->start[0]},
        .count    = {1, part->count[0]},
        .elements = part->elements
    };
    if (status && status[j] != KAL_MEMBER_OK) continue;
    if (KalH5Move(PETSC_FALSE, dataset, H5T_NATIVE_DOUBLE, H5P_DEFAULT, 2, &box, buffer) < 0) KalH5Text(text, "Member %llu cannot be read", (unsigned long long)j);
    for (hsize_t i = 0; i < part->elements; i++) sum[i] += buffer[i];
    used++;
  }
  if (!used) KalText(text, "No member is marked as sound: there is no mean to export");
  for (hsize_t i = 0; i < part->elements; i++) sum[i] /= (double)used;
}

static void ExportMean(KalSnapshot snap, const char *name, const KalStatus *status, const char *as, const char *path, char *text)
{
  Plain    plain = {.file = H5I_INVALID_HID, .dataset = H5I_INVALID_HID};
  int      ndims = 0;
  hsize_t  size[KAL_SNAPSHOT_RANK];
  hid_t    dataset = OpenChecked(snap, name, &ndims, size, text);
  double  *buffer  = NULL;
  KalBoxes boxes;

  if (!text[0] && ndims != 2) KalText(text, "%s of snapshot %s has %d dimensions; a mean is taken over members of 2", name, snap->path, ndims);
  if (!text[0]) PlainOpen(&plain, snap->path, path, as, 1, &size[1], text);
  if (!text[0]) {
    const hsize_t half = KAL_SNAPSHOT_BLOCK / sizeof *buffer / 2;
    KalBoxesCreate(1, &size[1], half, &boxes);
    buffer = malloc(KAL_SNAPSHOT_BLOCK);
    if (!buffer) KalText(text, "No memory for the mean of %s", name);
    for (hsize_t b = 0; b < boxes.count && !text[0]; b++) {
      KalBox part;
      KalBoxesGet(&boxes, b, &part);
      MeanPart(dataset, size[0], status, &part, buffer, buffer + half, text);
      if (!text[0]) PlainWrite(&plain, &part, buffer, text);
    }
  }
  PlainClose(&plain, text);
  free(buffer);
  KalH5Close(dataset);
}

/*@
   KalSnapshotExport - Writes one dataset of doubles to a plain file

   Collective on the snapshot; rank 0 reads and writes, in blocks of at most 32 MiB

   Input Parameters:
+  snap - a snapshot that was opened to be read
.  name - the dataset
.  as - its name in an HDF5 file
-  path - file to write: HDF5 where it ends in .h5 or .hdf5, else NumPy's .npy (version 1.0, little endian, C order)

   Errors:
   No such dataset, one that does not match its checksums, and a path that cannot be written to or is the snapshot. On
   every rank; a file that stood at `path` is replaced only when all went well.
@*/
PetscErrorCode KalSnapshotExport(KalSnapshot snap, const char *name, const char *as, const char *path)
{
  char text[KAL_SNAPSHOT_TEXT] = "";

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_READ, name));
  if (!snap->rank) ExportWhole(snap, name, as, path, text);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotExportMean - Writes the mean over members to a plain file

   Collective on the snapshot; rank 0 reads and writes, in blocks of at most 32 MiB

   Input Parameters:
+  snap - a snapshot that was opened to be read
.  name - dataset of the members, N x n
.  status - N states; only members that are `KAL_MEMBER_OK` count; NULL: all do
.  as - name of the mean in an HDF5 file
-  path - file to write, as in KalSnapshotExport()

   Note:
   The members are summed in their order, then divided by their number.
@*/
PetscErrorCode KalSnapshotExportMean(KalSnapshot snap, const char *name, const KalStatus *status, const char *as, const char *path)
{
  char text[KAL_SNAPSHOT_TEXT] = "";

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_READ, name));
  if (!snap->rank) ExportMean(snap, name, status, as, path, text);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}
