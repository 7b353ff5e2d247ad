/*
  Dimension scales, as the HDF5 dimension scale specification and netCDF-4 have them.

  They are made when the snapshot is committed, by rank 0 on the closed file: the parallel driver would allocate storage for
  a dimension without coordinates, and each attached scale would be one more round of collective metadata.
*/
#include <snapshot/snapshotimpl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* An entry of a scale's REFERENCE_LIST; its layout is the one of H5DS. */
typedef struct {
  hobj_ref_t   dataset;
  unsigned int dimension;
} Reference;

/* Path of a dimension's scale: in the dataset's group. */
static void ScalePath(const char *name, const char *dimension, size_t bytes, char *path)
{
  const char *slash = strrchr(name, '/');

  snprintf(path, bytes, "%.*s%s", slash ? (int)(slash - name) + 1 : 0, name, dimension);
}

/* Notes the dimensions of a dataset; a dimension that has another size elsewhere in the group is an error. */
PetscErrorCode KalSnapshotAddScales(KalSnapshot snap, const char *name, PetscInt ndims, const PetscInt64 *size, const char *const *dimension)
{
  char       path[2 * KAL_SNAPSHOT_NAME];
  KalScaled *entry;

  PetscFunctionBeginUser;
  for (PetscInt d = 0; d < ndims; d++) {
    if (!dimension[d]) continue;
    ScalePath(name, dimension[d], sizeof path, path);
    PetscCheck(strcmp(path, name) || ndims == 1, snap->comm, PETSC_ERR_ARG_WRONG, "%s has %lld dimensions and the name of one of them; coordinates have one dimension", name, (long long)ndims);
    for (PetscInt i = 0; i < snap->count; i++) {
      const KalScaled *other = &snap->scaled[i];
      if (!strcmp(other->name, path)) PetscCheck(other->ndims == 1 && other->dimension[0] && !strcmp(other->dimension[0], path), snap->comm, PETSC_ERR_ARG_INCOMP, "Dimension %s of %s has the name of a dataset that does not hold its coordinates", dimension[d], name);
      for (PetscInt e = 0; e < other->ndims; e++) {
        if (!other->dimension[e] || strcmp(other->dimension[e], path)) continue;
        PetscCheck(other->size[e] == size[d], snap->comm, PETSC_ERR_ARG_SIZ, "Dimension %s has size %lld in %s and %lld in %s; give it another name in one of them", dimension[d], (long long)size[d], name, (long long)other->size[e], other->name);
      }
    }
  }
  for (PetscInt i = 0; i < snap->count; i++) {
    for (PetscInt e = 0; e < snap->scaled[i].ndims; e++) {
      if (!snap->scaled[i].dimension[e] || strcmp(snap->scaled[i].dimension[e], name)) continue;
      ScalePath(name, ndims == 1 && dimension[0] ? dimension[0] : "", sizeof path, path);
      PetscCheck(!strcmp(path, name), snap->comm, PETSC_ERR_ARG_INCOMP, "%s has the name of a dimension of %s; only the coordinates of that dimension may", name, snap->scaled[i].name);
    }
  }
  if (snap->count == snap->capacity) {
    KalScaled     *more;
    const PetscInt capacity = snap->capacity ? 2 * snap->capacity : 32;
    PetscCall(PetscCalloc1((size_t)capacity, &more));
    for (PetscInt i = 0; i < snap->count; i++) more[i] = snap->scaled[i];
    PetscCall(PetscFree(snap->scaled));
    snap->scaled   = more;
    snap->capacity = capacity;
  }
  entry = &snap->scaled[snap->count++];
  PetscCall(PetscStrallocpy(name, &entry->name));
  entry->ndims = ndims;
  for (PetscInt d = 0; d < ndims; d++) {
    entry->size[d] = size[d];
    if (!dimension[d]) continue;
    ScalePath(name, dimension[d], sizeof path, path);
    PetscCall(PetscStrallocpy(path, &entry->dimension[d]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The scale's dataset, made without storage where nobody wrote coordinates. */
static hid_t OpenScale(hid_t file, const char *path, PetscInt64 length, PetscBool *made, char *text)
{
  const hsize_t size  = (hsize_t)length;
  hid_t         space = H5I_INVALID_HID, create = H5I_INVALID_HID, scale = H5I_INVALID_HID;

  *made = KalH5Exists(file, path) > 0 ? PETSC_FALSE : PETSC_TRUE;
  if (!*made) {
    KalH5(text, scale = H5Dopen2(file, path, H5P_DEFAULT), "Dimension scale %s cannot be opened", path);
    return scale;
  }
  KalH5(text, space = H5Screate_simple(1, &size, NULL), "Dimension scale %s cannot be made", path);
  KalH5(text, create = H5Pcreate(H5P_DATASET_CREATE), "Dimension scale %s cannot be made", path);
  KalH5(text, H5Pset_obj_track_times(create, 0), "Dimension scale %s cannot be made", path);
  KalH5(text, H5Pset_alloc_time(create, H5D_ALLOC_TIME_LATE), "Dimension scale %s cannot be made", path);
  KalH5(text, scale = H5Dcreate2(file, path, H5T_IEEE_F32BE, space, H5P_DEFAULT, create, H5P_DEFAULT), "Dimension scale %s cannot be made", path);
done:
  KalH5Close(create);
  KalH5Close(space);
  return scale;
}

/* The attributes of a scale: its class, its name, and who refers to it. */
static void WriteScale(hid_t file, const char *path, PetscInt64 length, hsize_t count, const Reference *references, char *text)
{
  char      name[160];
  PetscBool made;
  hid_t     scale = OpenScale(file, path, length, &made, text), type = H5I_INVALID_HID, space = H5I_INVALID_HID, attr = H5I_INVALID_HID;

  if (text[0]) goto done;
  if (made) snprintf(name, sizeof name, KAL_NOT_A_VARIABLE "%10lld", (long long)length);
  else snprintf(name, sizeof name, "%s", strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
  KalH5(text, KalH5PutText(scale, "CLASS", "DIMENSION_SCALE"), "Dimension scale %s cannot be written", path);
  KalH5(text, KalH5PutText(scale, "NAME", name), "Dimension scale %s cannot be written", path);
  if (count) {
    KalH5(text, type = H5Tcreate(H5T_COMPOUND, sizeof(Reference)), "The references of dimension scale %s cannot be written", path);
    KalH5(text, H5Tinsert(type, "dataset", HOFFSET(Reference, dataset), H5T_STD_REF_OBJ), "The references of dimension scale %s cannot be written", path);
    KalH5(text, H5Tinsert(type, "dimension", HOFFSET(Reference, dimension), H5T_NATIVE_INT), "The references of dimension scale %s cannot be written", path);
    KalH5(text, space = H5Screate_simple(1, &count, NULL), "The references of dimension scale %s cannot be written", path);
    KalH5(text, attr = H5Acreate2(scale, "REFERENCE_LIST", type, space, H5P_DEFAULT, H5P_DEFAULT), "The references of dimension scale %s cannot be written", path);
    KalH5(text, H5Awrite(attr, type, references), "The references of dimension scale %s cannot be written", path);
  }
done:
  KalH5Close(attr);
  KalH5Close(space);
  KalH5Close(type);
  KalH5Close(scale);
}

/* The attribute by which a dataset refers to the scales of its dimensions. */
static void WriteDimensions(hid_t file, const KalScaled *entry, char *text)
{
  const hsize_t ndims = (hsize_t)entry->ndims;
  hobj_ref_t    reference[KAL_SNAPSHOT_RANK];
  hvl_t         list[KAL_SNAPSHOT_RANK];
  hid_t         dataset = H5I_INVALID_HID, type = H5I_INVALID_HID, space = H5I_INVALID_HID, attr = H5I_INVALID_HID;

  for (PetscInt d = 0; d < entry->ndims; d++) {
    list[d].len = entry->dimension[d] ? 1 : 0;
    list[d].p   = entry->dimension[d] ? &reference[d] : NULL;
    if (entry->dimension[d]) KalH5(text, H5Rcreate(&reference[d], file, entry->dimension[d], H5R_OBJECT, -1), "Dimension scale %s cannot be found", entry->dimension[d]);
  }
  KalH5(text, dataset = H5Dopen2(file, entry->name, H5P_DEFAULT), "Dataset %s cannot be opened", entry->name);
  KalH5(text, type = H5Tvlen_create(H5T_STD_REF_OBJ), "The dimensions of %s cannot be written", entry->name);
  KalH5(text, space = H5Screate_simple(1, &ndims, NULL), "The dimensions of %s cannot be written", entry->name);
  KalH5(text, attr = H5Acreate2(dataset, "DIMENSION_LIST", type, space, H5P_DEFAULT, H5P_DEFAULT), "The dimensions of %s cannot be written", entry->name);
  KalH5(text, H5Awrite(attr, type, list), "The dimensions of %s cannot be written", entry->name);
done:
  KalH5Close(attr);
  KalH5Close(space);
  KalH5Close(type);
  KalH5Close(dataset);
}

/* Whether dimension d of entry i is the first mention of its scale. */
static PetscBool IsFirst(const KalSnapshot snap, PetscInt i, PetscInt d)
{
  const char *path = snap->scaled[i].dimension[d];

  for (PetscInt j = 0; j <= i; j++) {
    for (PetscInt e = 0; e < (j == i ? d : snap->scaled[j].ndims); e++) {
      if (snap->scaled[j].dimension[e] && !strcmp(snap->scaled[j].dimension[e], path)) return PETSC_FALSE;
    }
  }
  return PETSC_TRUE;
}

/* Whether a dataset refers to scales: coordinates are a scale themselves and refer to none. */
static PetscBool Refers(const KalScaled *entry)
{
  PetscBool any = PETSC_FALSE;

  for (PetscInt d = 0; d < entry->ndims; d++) {
    if (!entry->dimension[d]) continue;
    if (!strcmp(entry->dimension[d], entry->name)) return PETSC_FALSE;
    any = PETSC_TRUE;
  }
  return any;
}

/* Scales, and who refers to them. */
static void WriteAll(KalSnapshot snap, char *text)
{
  Reference *references = calloc((size_t)snap->count * KAL_SNAPSHOT_RANK + 1, sizeof *references);
  hid_t      file       = KalH5OpenSerial(snap->tmp, H5F_ACC_RDWR, text);

  if (!references) KalText(text, "No memory for the dimension scales of snapshot %s", snap->tmp);
  for (PetscInt i = 0; i < snap->count && !text[0]; i++) {
    for (PetscInt d = 0; d < snap->scaled[i].ndims && !text[0]; d++) {
      const char *path  = snap->scaled[i].dimension[d];
      hsize_t     count = 0;
      if (!path || !IsFirst(snap, i, d)) continue;
      for (PetscInt j = 0; j < snap->count; j++) {
        const KalScaled *entry = &snap->scaled[j];
        if (!Refers(entry)) continue;
        for (PetscInt e = 0; e < entry->ndims && !text[0]; e++) {
          if (!entry->dimension[e] || strcmp(entry->dimension[e], path)) continue;
          if (H5Rcreate(&references[count].dataset, file, entry->name, H5R_OBJECT, -1) < 0) KalH5Text(text, "Dataset %s cannot be found", entry->name);
          references[count++].dimension = (unsigned int)e;
        }
      }
      if (!text[0]) WriteScale(file, path, snap->scaled[i].size[d], count, references, text);
    }
  }
  for (PetscInt i = 0; i < snap->count && !text[0]; i++) {
    if (Refers(&snap->scaled[i])) WriteDimensions(file, &snap->scaled[i], text);
  }
  if (file >= 0 && H5Fflush(file, H5F_SCOPE_GLOBAL) < 0) KalH5Text(text, "Snapshot %s cannot be flushed to the disk", snap->tmp);
  if (file >= 0 && H5Fclose(file) < 0) KalH5Text(text, "Snapshot %s cannot be closed", snap->tmp);
  free(references);
}

/*
  The digest of what a file holds from byte `start` to its end. DIMENSION_LIST lies in a heap that HDF5 does not checksum,
  and reading it damaged, HDF5 1.10 can go round for ever; all that is written of the scales lies behind the rest.
*/
static int TailDigest(const char *path, uint64_t start, uint64_t *bytes, uint64_t *digest)
{
  static const size_t block  = 1 << 20;
  char               *buffer = malloc(block);
  XXH64_state_t      *state  = XXH64_createState();
  FILE               *file   = fopen(path, "rb");
  size_t              got    = 0;
  int                 bad    = !buffer || !file || fseeko(file, (off_t)start, SEEK_SET) != 0;

  *bytes = 0;
  (void)XXH64_reset(state, 0);
  while (!bad && (got = fread(buffer, 1, block, file)) > 0) {
    (void)XXH64_update(state, buffer, got);
    *bytes += got;
  }
  if (file && ferror(file)) bad = 1;
  if (file) (void)fclose(file);
  *digest = XXH64_digest(state);
  (void)XXH64_freeState(state);
  free(buffer);
  return bad ? -1 : 0;
}

/* An attribute of the file's root that takes the place and the digest of its tail; written empty, to be filled in place. */
herr_t KalH5PutTail(hid_t file, PetscBool create, const uint64_t *tail)
{
  const hsize_t count = 3;
  const hid_t   space = H5Screate_simple(1, &count, NULL);
  const hid_t   attr  = create ? H5Acreate2(file, KAL_SCALES, H5T_STD_U64LE, space, H5P_DEFAULT, H5P_DEFAULT) : H5Aopen(file, KAL_SCALES, H5P_DEFAULT);
  const herr_t  bad   = space < 0 || attr < 0 ? -1 : H5Awrite(attr, H5T_NATIVE_UINT64, tail);

  KalH5Close(attr);
  KalH5Close(space);
  return bad;
}

/* Compares the tail of a file with the digest that its root has. */
void KalH5CheckTail(hid_t file, const char *path, char *text)
{
  hid_t    attr = H5I_INVALID_HID, space = H5I_INVALID_HID;
  uint64_t tail[3], bytes, digest;

  KalH5(text, attr = H5Aopen(file, KAL_SCALES, H5P_DEFAULT), "the checksum of the dimension scales is missing");
  KalH5(text, space = H5Aget_space(attr), "the checksum of the dimension scales cannot be read");
  KalH5(text, H5Sget_simple_extent_npoints(space) == 3 ? 0 : -1, "the checksum of the dimension scales is damaged");
  KalH5(text, H5Aread(attr, H5T_NATIVE_UINT64, tail), "the checksum of the dimension scales cannot be read");
  if (tail[0] > INT64_MAX || TailDigest(path, tail[0], &bytes, &digest)) KalText(text, "the dimension scales cannot be read");
  else if (bytes != tail[1] || digest != tail[2]) KalText(text, "the dimension scales do not match their checksum");
done:
  KalH5Close(space);
  KalH5Close(attr);
}

/* All scales of a snapshot whose parallel file is closed, and their digest; by one rank. */
void KalSnapshotWriteScales(KalSnapshot snap, char *text)
{
  struct stat info;
  hid_t       file;
  uint64_t    tail[3] = {0};

  if (stat(snap->tmp, &info)) KalText(text, "Snapshot %s is gone", snap->tmp);
  if (!text[0]) WriteAll(snap, text);
  if (text[0]) return;
  tail[0] = (uint64_t)info.st_size;
  if (TailDigest(snap->tmp, tail[0], &tail[1], &tail[2])) KalText(text, "The dimension scales of snapshot %s cannot be read back", snap->tmp);
  file = KalH5OpenSerial(snap->tmp, H5F_ACC_RDWR, text);
  if (file < 0) return;
  if (KalH5PutTail(file, PETSC_FALSE, tail) < 0) KalH5Text(text, "The checksum of the dimension scales cannot be written to %s", snap->tmp);
  if (H5Fclose(file) < 0) KalH5Text(text, "Snapshot %s cannot be closed", snap->tmp);
}
