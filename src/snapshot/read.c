/* Arrays, texts and numbers out of a snapshot: rank 0 reads and checks, then every rank gets them. */
#include <snapshot/snapshotimpl.h>

#include <stdio.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* The checksum that a dataset has as an attribute; a message where it has none. */
void KalH5Checksum(hid_t dataset, const char *path, const char *name, uint64_t *checksum, char *text)
{
  hid_t attr = H5I_INVALID_HID;

  KalH5(text, attr = H5Aopen(dataset, KAL_CHECKSUM, H5P_DEFAULT), "%s of snapshot %s has no checksum; restart from the one before it, %s.1, if there is one", name, path, path);
  KalH5(text, H5Aread(attr, H5T_NATIVE_UINT64, checksum), "The checksum of %s in snapshot %s cannot be read", name, path);
done:
  KalH5Close(attr);
}

/* The number of dimensions and sizes of an open dataset. */
int KalH5Shape(hid_t dataset, hsize_t *size)
{
  const hid_t space = H5Dget_space(dataset);
  int         ndims = space < 0 ? -1 : H5Sget_simple_extent_ndims(space);

  if (ndims > KAL_SNAPSHOT_RANK) ndims = -1;
  if (ndims > 0 && H5Sget_simple_extent_dims(space, size, NULL) < 0) ndims = -1;
  KalH5Close(space);
  return ndims;
}

/* A shape as people write it. */
static void ShapeText(PetscInt ndims, const PetscInt64 *size, size_t bytes, char *text)
{
  snprintf(text, bytes, "%s", ndims ? "" : "one number");
  for (PetscInt d = 0; d < ndims; d++) {
    const size_t used = strlen(text);
    snprintf(text + used, bytes - used, "%s%lld", d ? " x " : "", (long long)size[d]);
  }
}

/* Whether a dataset has the type and the shape that the caller has room for. */
static void CheckShape(hid_t dataset, const char *path, const char *name, hid_t type, PetscInt ndims, const PetscInt64 *size, char *text)
{
  hsize_t    found[KAL_SNAPSHOT_RANK];
  PetscInt64 in[KAL_SNAPSHOT_RANK];
  char       have[96], want[96];
  int        dims   = KalH5Shape(dataset, found);
  PetscBool  same   = dims == (int)ndims ? PETSC_TRUE : PETSC_FALSE;
  hid_t      infile = H5Dget_type(dataset);

  for (int d = 0; d < dims; d++) {
    in[d] = (PetscInt64)found[d];
    if (same && in[d] != size[d]) same = PETSC_FALSE;
  }
  if (dims < 0) KalH5Text(text, "The shape of %s in snapshot %s cannot be read", name, path);
  else if (!same) {
    ShapeText(dims, in, sizeof have, have);
    ShapeText(ndims, size, sizeof want, want);
    KalText(text, "%s of snapshot %s has the shape %s, and %s is expected; use the sizes that it was written with", name, path, have, want);
  } else if (infile < 0 || H5Tequal(infile, type) <= 0) KalText(text, "%s of snapshot %s has the type %s, and %s is expected", name, path, infile < 0 ? "unknown" : KalH5TypeName(infile), KalH5TypeName(type));
  (void)H5Eclear2(H5E_DEFAULT);
  KalH5Close(infile);
}

/* Reads a dataset whole on this rank and compares it with its checksum; a message in `text` where that fails. */
void KalH5ReadWhole(hid_t file, const char *path, const char *name, hid_t type, PetscInt ndims, const PetscInt64 *size, void *data, char *text)
{
  hid_t          dataset = H5I_INVALID_HID;
  const size_t   width   = H5Tget_size(type);
  hsize_t        dims[KAL_SNAPSHOT_RANK];
  uint64_t       checksum = 0;
  XXH64_state_t *state    = NULL;
  KalBoxes       boxes;

  if (KalH5Exists(file, name) <= 0) {
    (void)H5Eclear2(H5E_DEFAULT);
    KalText(text, "Snapshot %s holds no %s, or its place is damaged; restart from the one before it, %s.1, if there is one", path, name, path);
    return;
  }
  KalH5(text, dataset = H5Dopen2(file, name, H5P_DEFAULT), "%s of snapshot %s is damaged; restart from the one before it, %s.1, if there is one", name, path, path);
  CheckShape(dataset, path, name, type, ndims, size, text);
  if (!text[0]) KalH5Checksum(dataset, path, name, &checksum, text);
  if (text[0]) goto done;
  for (PetscInt d = 0; d < ndims; d++) dims[d] = (hsize_t)size[d];
  KalBoxesCreate((int)ndims, dims, KAL_SNAPSHOT_BLOCK / width, &boxes);
  state = XXH64_createState();
  (void)XXH64_reset(state, 0);
  for (hsize_t b = 0; b < boxes.count; b++) {
    KalBox box;
    char  *here;
    KalBoxesGet(&boxes, b, &box);
    here = (char *)data + box.first * width;
    KalH5(text, KalH5Move(PETSC_FALSE, dataset, type, H5P_DEFAULT, boxes.ndims, &box, here), "%s of snapshot %s cannot be read; restart from the one before it, %s.1, if there is one", name, path, path);
    (void)XXH64_update(state, here, (size_t)box.elements * width);
  }
  if (XXH64_digest(state) != checksum) KalText(text, "%s of snapshot %s is damaged: it does not match its checksum; restart from the one before it, %s.1, if there is one", name, path, path);
done:
  (void)XXH64_freeState(state);
  KalH5Close(dataset);
}

/* From rank 0 to all, in parts whose count an int holds. */
static PetscErrorCode Broadcast(MPI_Comm comm, void *data, PetscInt64 bytes)
{
  PetscFunctionBeginUser;
  for (PetscInt64 done = 0; done < bytes; done += (PetscInt64)KAL_SNAPSHOT_BLOCK) PetscCallMPI(MPI_Bcast((char *)data + done, (PetscMPIInt)PetscMin((PetscInt64)KAL_SNAPSHOT_BLOCK, bytes - done), MPI_BYTE, 0, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotReadArray - Reads an array onto every rank

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that was opened to be read
-  array - `name`, `type`, `ndims` and `size` as they are expected, and `data` with room for them; filled on return

   Errors:
   No such array, another type or shape (the message has both), or values that do not match their checksum. On every rank.

.seealso: `KalSnapshotGetSize()`
@*/
PetscErrorCode KalSnapshotReadArray(KalSnapshot snap, KalDataset *array)
{
  char        text[KAL_SNAPSHOT_TEXT] = "";
  const hid_t type                    = KalH5Type(array->type);
  PetscInt64  bytes;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_READ, array->name));
  PetscCheck(type >= 0, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "Array %s has type %d; allowed are KAL_TYPE_REAL, KAL_TYPE_INT64 and KAL_TYPE_BYTE", array->name, (int)array->type);
  PetscCheck(array->ndims >= 0 && array->ndims <= KAL_SNAPSHOT_RANK, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "Array %s has %lld dimensions; allowed are 0 to %d", array->name, (long long)array->ndims, KAL_SNAPSHOT_RANK);
  bytes = (PetscInt64)H5Tget_size(type);
  for (PetscInt d = 0; d < array->ndims; d++) bytes *= array->size[d];
  if (!snap->rank) KalH5ReadWhole(snap->file, snap->path, array->name, type, array->ndims, array->size, array->data, text);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_READ, text);
  PetscCall(Broadcast(snap->comm, array->data, bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotGetSize - Whether a snapshot holds a dataset, and its shape

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that was opened to be read
-  name - path in the file

   Output Parameters:
+  ndims - number of dimensions, 0 for a scalar
.  size - room for KAL_SNAPSHOT_RANK sizes, or NULL; the first `ndims` are set
-  found - whether there is a dataset of that name; where not, `ndims` is 0
@*/
PetscErrorCode KalSnapshotGetSize(KalSnapshot snap, const char *name, PetscInt *ndims, PetscInt64 *size, PetscBool *found)
{
  char       text[KAL_SNAPSHOT_TEXT] = "";
  PetscInt64 all[KAL_SNAPSHOT_RANK + 2];

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_READ, name));
  PetscCall(PetscMemzero(all, sizeof all));
  if (!snap->rank) {
    hid_t   dataset = H5I_INVALID_HID;
    hsize_t dims[KAL_SNAPSHOT_RANK];
    htri_t  exists = KalH5Exists(snap->file, name);
    if (exists > 0) {
      dataset = H5Dopen2(snap->file, name, H5P_DEFAULT);
      all[0]  = dataset < 0 ? -1 : KalH5Shape(dataset, dims);
      all[1]  = 1;
      if (all[0] < 0) KalH5Text(text, "%s of snapshot %s is no dataset that can be read, or has more than %d dimensions; restart from the one before it, %s.1, if there is one", name, snap->path, KAL_SNAPSHOT_RANK, snap->path);
      for (PetscInt64 d = 0; d < all[0]; d++) all[2 + d] = (PetscInt64)dims[d];
      KalH5Close(dataset);
    } else if (exists < 0) KalH5Text(text, "The place of %s in snapshot %s is damaged; restart from the one before it, %s.1, if there is one", name, snap->path, snap->path);
  }
  KalCheckAll(snap->comm, PETSC_ERR_FILE_READ, text);
  PetscCallMPI(MPI_Bcast(all, KAL_SNAPSHOT_RANK + 2, MPIU_INT64, 0, snap->comm));
  *ndims = (PetscInt)all[0];
  *found = all[1] ? PETSC_TRUE : PETSC_FALSE;
  for (PetscInt d = 0; size && d < *ndims; d++) size[d] = all[2 + d];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotGetType - Which of the types of KalDataset an array has

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that was opened to be read
-  name - path in the file

   Output Parameters:
+  type - its type; left alone where `found` is false
-  found - whether there is a dataset of that name that is an array of one of these types
@*/
PetscErrorCode KalSnapshotGetType(KalSnapshot snap, const char *name, KalDataType *type, PetscBool *found)
{
  PetscInt    ndims;
  PetscMPIInt which = -1;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotGetSize(snap, name, &ndims, NULL, found));
  if (!*found) PetscFunctionReturn(PETSC_SUCCESS);
  if (!snap->rank) {
    const hid_t dataset = H5Dopen2(snap->file, name, H5P_DEFAULT), infile = dataset < 0 ? dataset : H5Dget_type(dataset);
    for (int t = KAL_TYPE_REAL; infile >= 0 && t <= KAL_TYPE_BYTE; t++) {
      if (H5Tequal(infile, KalH5Type((KalDataType)t)) > 0) which = t;
    }
    KalH5Close(infile);
    KalH5Close(dataset);
  }
  PetscCallMPI(MPI_Bcast(&which, 1, MPI_INT, 0, snap->comm));
  *found = which >= 0 ? PETSC_TRUE : PETSC_FALSE;
  if (*found) *type = (KalDataType)which;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The length of a text with its end; a message where `name` is no text. */
static PetscInt64 TextLength(KalSnapshot snap, const char *name, char *text)
{
  hid_t   dataset = H5I_INVALID_HID, type = H5I_INVALID_HID;
  hsize_t dims[KAL_SNAPSHOT_RANK];
  size_t  length = 0;

  KalH5(text, dataset = H5Dopen2(snap->file, name, H5P_DEFAULT), "%s of snapshot %s is damaged", name, snap->path);
  KalH5(text, type = H5Dget_type(dataset), "%s of snapshot %s is damaged", name, snap->path);
  length = H5Tget_size(type);
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) != 0 || KalH5Shape(dataset, dims) != 0 || length < 1 || length > (size_t)64 << 20)
    KalText(text, "%s of snapshot %s is no text of fixed length", name, snap->path);
done:
  KalH5Close(type);
  KalH5Close(dataset);
  return (PetscInt64)length;
}

/*@
   KalSnapshotReadText - Reads a text onto every rank

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that was opened to be read
-  name - path in the file

   Output Parameters:
+  text - the text, to be given back with PetscFree(); NULL where there is none
-  found - whether there is a text of that name

   Errors:
   A dataset that is no text, or does not match its checksum. On every rank.
@*/
PetscErrorCode KalSnapshotReadText(KalSnapshot snap, const char *name, char **text, PetscBool *found)
{
  char           problem[KAL_SNAPSHOT_TEXT] = "", *value = NULL;
  PetscInt       ndims;
  PetscInt64     length = 0;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  *text = NULL;
  PetscCall(KalSnapshotGetSize(snap, name, &ndims, NULL, found));
  if (!*found) PetscFunctionReturn(PETSC_SUCCESS);
  if (!snap->rank) length = TextLength(snap, name, problem);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_READ, problem);
  PetscCallMPI(MPI_Bcast(&length, 1, MPIU_INT64, 0, snap->comm));
  PetscCall(PetscCalloc1((size_t)length + 1, &value));
  if (!snap->rank) {
    const hid_t type = KalH5TextType((size_t)length);
    KalH5ReadWhole(snap->file, snap->path, name, type, 0, NULL, value, problem);
    KalH5Close(type);
  }
  ierr = KalCheckAllFailed(snap->comm, PETSC_ERR_FILE_READ, problem, __LINE__, __FILE__);
  if (ierr) PetscCall(PetscFree(value));
  PetscCall(ierr);
  PetscCall(Broadcast(snap->comm, value, length));
  *text = value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotReadInt - Reads a whole number onto every rank

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that was opened to be read
-  name - path in the file

   Output Parameters:
+  value - the number; left alone where there is none
-  found - whether there is a number of that name

   Errors:
   A dataset that is no scalar int64, or does not match its checksum. On every rank.
@*/
PetscErrorCode KalSnapshotReadInt(KalSnapshot snap, const char *name, PetscInt64 *value, PetscBool *found)
{
  PetscInt64 number = 0;
  KalDataset array  = {.name = name, .type = KAL_TYPE_INT64, .data = &number};
  PetscInt   ndims;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotGetSize(snap, name, &ndims, NULL, found));
  if (!*found) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalSnapshotReadArray(snap, &array));
  *value = number;
  PetscFunctionReturn(PETSC_SUCCESS);
}
