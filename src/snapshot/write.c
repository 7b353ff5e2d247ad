/* Arrays, texts and numbers into a snapshot. */
#include <snapshot/snapshotimpl.h>

#include <stdio.h>
#include <string.h>

/* Whether a call fits the snapshot's mode, and the name of its dataset is sound; the same on every rank. */
PetscErrorCode KalSnapshotCheck(KalSnapshot snap, KalSnapshotMode mode, const char *name)
{
  PetscFunctionBeginUser;
  PetscCheck(snap->open && snap->mode == mode, snap->comm, PETSC_ERR_ORDER, "Snapshot %s was %s; open it anew to %s", snap->path, !snap->open ? "committed already" : mode == KAL_SNAPSHOT_WRITE ? "opened to be read"
                                                                                                                                                                                                 : "opened to be written",
             mode == KAL_SNAPSHOT_WRITE ? "write" : "read");
  if (name) {
    const size_t length = strlen(name);
    PetscCheck(length > 0 && length < KAL_SNAPSHOT_NAME && name[0] != '/' && name[length - 1] != '/' && !strstr(name, "//") && !strchr(name, '.'), snap->comm, PETSC_ERR_ARG_WRONG,
               "\"%s\" cannot be a name in a snapshot; a name is like history/loss, of at most %d characters, without points", name, KAL_SNAPSHOT_NAME - 1);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Makes the groups that a name lies in. */
static void CreateGroups(hid_t file, const char *name, char *text)
{
  char  part[KAL_SNAPSHOT_NAME];
  hid_t create = H5I_INVALID_HID, group = H5I_INVALID_HID;

  KalH5(text, create = KalH5Group(H5P_GROUP_CREATE), "HDF5 refuses a property list");
  for (const char *slash = strchr(name, '/'); slash; slash = strchr(slash + 1, '/')) {
    snprintf(part, sizeof part, "%.*s", (int)(slash - name), name);
    if (KalH5Exists(file, part) > 0) continue;
    KalH5(text, group = H5Gcreate2(file, part, H5P_DEFAULT, create, H5P_DEFAULT), "Group %s cannot be made", part);
    KalH5Close(group);
  }
done:
  KalH5Close(create);
}

/* How a dataset of so many bytes is laid out: in its header while it is small, else in one run allocated now. */
static hid_t Layout(hsize_t bytes, PetscBool compact)
{
  const hid_t create = H5Pcreate(H5P_DATASET_CREATE);
  herr_t      bad;

  if (create < 0) return create;
  bad = H5Pset_obj_track_times(create, 0);
  if (compact && bytes <= KAL_SNAPSHOT_COMPACT) {
    if (bad >= 0) bad = H5Pset_layout(create, H5D_COMPACT);
  } else {
    if (bad >= 0) bad = H5Pset_layout(create, H5D_CONTIGUOUS);
    if (bad >= 0) bad = H5Pset_alloc_time(create, H5D_ALLOC_TIME_EARLY);
    if (bad >= 0) bad = H5Pset_fill_time(create, H5D_FILL_TIME_NEVER);
  }
  if (bad < 0) {
    (void)H5Pclose(create);
    return H5I_INVALID_HID;
  }
  return create;
}

/* A dataset with its attributes, without its values; `digest` is the checksum of a dataset that keeps it as an attribute. */
PetscErrorCode KalSnapshotCreateDataset(KalSnapshot snap, const KalItem *item, PetscBool compact, const PetscInt64 *digest, hid_t *dataset)
{
  char    text[KAL_SNAPSHOT_TEXT] = "";
  hid_t   space = H5I_INVALID_HID, create = H5I_INVALID_HID;
  hsize_t size[KAL_SNAPSHOT_RANK], bytes  = H5Tget_size(item->type);

  PetscFunctionBeginUser;
  *dataset = H5I_INVALID_HID;
  if (KalH5Exists(snap->file, item->name) > 0) KalText(text, "Snapshot %s holds %s already; a name is written once", snap->path, item->name);
  KalCheckAll(snap->comm, PETSC_ERR_ARG_WRONGSTATE, text);
  PetscCall(KalSnapshotAddScales(snap, item->name, item->ndims, item->size, item->dimension));
  for (int d = 0; d < item->ndims; d++) {
    size[d] = (hsize_t)item->size[d];
    bytes *= size[d];
  }
  if (bytes > KAL_SNAPSHOT_ALIGN) {
    KalSnapshotCheckRoom(snap, item->name, bytes, text);
    KalCheckAll(snap->comm, PETSC_ERR_FILE_WRITE, text);
  }
  CreateGroups(snap->file, item->name, text);
  if (text[0]) goto done;
  KalH5(text, space = item->ndims ? H5Screate_simple(item->ndims, size, NULL) : H5Screate(H5S_SCALAR), "The shape of %s is refused", item->name);
  KalH5(text, create = Layout(bytes, compact), "The layout of %s is refused", item->name);
  KalH5(text, *dataset = H5Dcreate2(snap->file, item->name, item->type, space, H5P_DEFAULT, create, H5P_DEFAULT), "Dataset %s of snapshot %s cannot be made", item->name, snap->tmp);
  if (item->meaning) KalH5(text, KalH5PutText(*dataset, "long_name", item->meaning), "An attribute of %s cannot be written", item->name);
  if (item->units) KalH5(text, KalH5PutText(*dataset, "units", item->units), "An attribute of %s cannot be written", item->name);
  if (digest) KalH5(text, KalH5PutNumber(*dataset, KAL_CHECKSUM, H5T_STD_U64LE, digest), "The checksum of %s cannot be written", item->name);
done:
  KalH5Close(create);
  KalH5Close(space);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The values of a dataset too large for its header: boxes dealt to the ranks in turn, as many calls on each. */
static herr_t WriteBoxes(KalSnapshot snap, const KalItem *item, hid_t dataset)
{
  const size_t width = H5Tget_size(item->type);
  hsize_t      size[KAL_SNAPSHOT_RANK], total = 1, share;
  KalBoxes     boxes;
  herr_t       bad = 0;

  for (int d = 0; d < item->ndims; d++) total *= size[d] = (hsize_t)item->size[d];
  share = (total * width + (hsize_t)snap->size - 1) / (hsize_t)snap->size;
  KalBoxesCreate((int)item->ndims, size, PetscMin(KAL_SNAPSHOT_BLOCK, PetscMax(KAL_SNAPSHOT_ALIGN, share)) / width, &boxes);
  for (hsize_t b = 0; b < boxes.count; b += (hsize_t)snap->size) {
    KalBox box;
    KalBoxesGet(&boxes, b + (hsize_t)snap->rank, &box);
    /* A rank that fails goes on: the others wait for it in the next collective call. */
    if (KalH5Move(PETSC_TRUE, dataset, item->type, snap->transfer, boxes.ndims, &box, (char *)(uintptr_t)item->data + box.first * width) < 0) bad = -1;
  }
  return bad;
}

/* Writes a dataset that every rank holds, with its checksum. */
PetscErrorCode KalSnapshotWriteItem(KalSnapshot snap, const KalItem *item)
{
  char         text[KAL_SNAPSHOT_TEXT] = "";
  hid_t        dataset;
  const size_t width = H5Tget_size(item->type);
  hsize_t      bytes = width;
  PetscInt64   digest, extreme[2], found[2];
  herr_t       bad;

  PetscFunctionBeginUser;
  for (int d = 0; d < item->ndims; d++) bytes *= (hsize_t)item->size[d];
  PetscCall(KalDigest(item->data, (size_t)bytes, 0, &digest));
  extreme[0] = digest;
  extreme[1] = ~digest; /* the least of ~x is ~ of the greatest x */
  PetscCallMPI(MPI_Allreduce(extreme, found, 2, MPIU_INT64, MPI_MIN, snap->comm));
  PetscCheck(found[0] == ~found[1], snap->comm, PETSC_ERR_ARG_INCOMP, "%s is not the same on every rank; a snapshot takes the arrays that are", item->name);
  PetscCall(KalSnapshotCreateDataset(snap, item, PETSC_TRUE, &digest, &dataset));
  if (!bytes) bad = 0;
  else if (bytes <= KAL_SNAPSHOT_COMPACT) bad = H5Dwrite(dataset, item->type, H5S_ALL, H5S_ALL, snap->transfer, item->data);
  else if (!item->ndims) {
    KalBox box = {.elements = snap->rank ? 0 : 1};
    bad        = KalH5Move(PETSC_TRUE, dataset, item->type, snap->transfer, 0, &box, (void *)(uintptr_t)item->data);
  } else bad = WriteBoxes(snap, item, dataset);
  if (bad < 0) KalH5Text(text, "%s cannot be written to snapshot %s", item->name, snap->tmp);
  if (H5Dclose(dataset) < 0) KalH5Text(text, "%s cannot be written to snapshot %s", item->name, snap->tmp);
  KalCheckAll(snap->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotWriteArray - Writes an array that every rank holds

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that is being written
-  array - name, type, shape and values, the same on every rank. A dimension with a name becomes a dimension scale of its
           group; an array of one dimension that has its dimension's name holds that dimension's coordinates. A NULL
           dimension has no scale, NULL units and a NULL meaning make no attribute

   Note:
   Large arrays are written by all ranks together, each a part. A checksum (XXH64) of the values is kept beside them.

   Errors:
   A name that is taken, a negative size, a dimension that has another size in the same group, values that differ between
   ranks, and what the file system refuses. On every rank.
@*/
PetscErrorCode KalSnapshotWriteArray(KalSnapshot snap, const KalDataset *array)
{
  KalItem   item  = {.name = array->name, .meaning = array->meaning, .units = array->units, .type = KalH5Type(array->type), .ndims = array->ndims, .data = array->data};
  PetscReal bytes = 8;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_WRITE, array->name));
  PetscCheck(item.type >= 0, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "Array %s has type %d; allowed are KAL_TYPE_REAL, KAL_TYPE_INT64 and KAL_TYPE_BYTE", array->name, (int)array->type);
  PetscCheck(array->ndims >= 0 && array->ndims <= KAL_SNAPSHOT_RANK, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "Array %s has %lld dimensions; allowed are 0 to %d", array->name, (long long)array->ndims, KAL_SNAPSHOT_RANK);
  for (int d = 0; d < array->ndims; d++) {
    PetscCheck(array->size[d] >= 0, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "Dimension %d of array %s has size %lld; it must not be negative", d, array->name, (long long)array->size[d]);
    bytes *= (PetscReal)array->size[d];
    item.size[d]      = array->size[d];
    item.dimension[d] = array->dimension[d];
    if (array->dimension[d]) PetscCheck(array->dimension[d][0] && strlen(array->dimension[d]) < 128 && !strpbrk(array->dimension[d], "/.,"), snap->comm, PETSC_ERR_ARG_WRONG, "Dimension %d of array %s cannot be called \"%s\"; allowed are up to 127 characters without / . ,", d, array->name, array->dimension[d]);
  }
  PetscCheck(bytes < 4.e18, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "Array %s has %g bytes; fewer than 4e18 are allowed", array->name, (double)bytes);
  PetscCheck(array->data || bytes == 0, snap->comm, PETSC_ERR_ARG_NULL, "Array %s has no values (data is NULL)", array->name);
  PetscCall(KalSnapshotWriteItem(snap, &item));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotWriteText - Writes a text that every rank holds

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that is being written
.  name - path in the file, as "model/layout"
-  text - UTF-8, at most 64 MiB; becomes a dataset of one string of fixed length with a checksum
@*/
PetscErrorCode KalSnapshotWriteText(KalSnapshot snap, const char *name, const char *text)
{
  KalItem        item = {.name = name, .data = text};
  PetscErrorCode ierr;
  size_t         length;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_WRITE, name));
  PetscCheck(text, snap->comm, PETSC_ERR_ARG_NULL, "Text %s is NULL; give an empty text where there is none", name);
  PetscCall(PetscStrlen(text, &length));
  PetscCheck(length < (size_t)64 << 20, snap->comm, PETSC_ERR_ARG_OUTOFRANGE, "Text %s has %lld characters; fewer than 67108864 are allowed", name, (long long)length);
  item.type = KalH5TextType(length + 1);
  ierr      = KalSnapshotWriteItem(snap, &item);
  KalH5Close(item.type);
  PetscFunctionReturn(ierr);
}

/*@
   KalSnapshotWriteInt - Writes a whole number that every rank holds

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that is being written
.  name - path in the file, as "run/seed"
-  value - the number; becomes a scalar int64 dataset with a checksum
@*/
PetscErrorCode KalSnapshotWriteInt(KalSnapshot snap, const char *name, PetscInt64 value)
{
  const KalItem item = {.name = name, .type = H5T_STD_I64LE, .data = &value};

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_WRITE, name));
  PetscCall(KalSnapshotWriteItem(snap, &item));
  PetscFunctionReturn(PETSC_SUCCESS);
}
