/* Shapes and arrays out of any HDF5 file, Kalmia's or not. */
#include <snapshot/snapshotimpl.h>

#include <string.h>
#include <sys/stat.h>

static hid_t OpenPlain(const char *path, char *text)
{
  struct stat info;
  hid_t       access = H5I_INVALID_HID, file = H5I_INVALID_HID;
  htri_t      hdf5;

  KalH5Quiet();
  if (stat(path, &info)) KalText(text, "There is no file %s; give the path of an HDF5 file", path);
  else if (!S_ISREG(info.st_mode)) KalText(text, "%s is not a file; give the path of an HDF5 file", path);
  if (text[0]) return file;
  hdf5 = H5Fis_hdf5(path);
  if (hdf5 <= 0) {
    (void)H5Eclear2(H5E_DEFAULT);
    KalText(text, "%s %s", path, hdf5 == 0 ? "is no HDF5 file, or its first bytes are damaged" : "cannot be read");
    return file;
  }
  access = KalH5Access(MPI_COMM_NULL);
  if (access >= 0) file = H5Fopen(path, H5F_ACC_RDONLY, access);
  if (file < 0) KalH5Text(text, "%s is truncated or damaged", path);
  KalH5Close(access);
  return file;
}

/* HDF5 gives zeros for what was declared and never written. */
static PetscBool IsUnwritten(hid_t dataset)
{
  const hid_t create    = H5Dget_create_plist(dataset);
  const int   layout    = create < 0 ? -1 : (int)H5Pget_layout(create);
  PetscBool   unwritten = PETSC_FALSE;

  if (layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED) unwritten = (PetscBool)(H5Pget_external_count(create) == 0 && H5Dget_storage_size(dataset) == 0);
  KalH5Close(create);
  return unwritten;
}

/* -1: not there. */
static int ShapeOf(const char *path, const char *name, hsize_t *size, char *text)
{
  hid_t file, dataset = H5I_INVALID_HID;
  int   ndims = -1;

  file = OpenPlain(path, text);
  if (file < 0 || KalH5Exists(file, name) <= 0) {
    (void)H5Eclear2(H5E_DEFAULT);
    KalH5Close(file);
    return -1;
  }
  KalH5(text, dataset = H5Dopen2(file, name, H5P_DEFAULT), "/%s of %s cannot be opened as a dataset", name, path);
  ndims = KalH5Shape(dataset, size);
  if (ndims < 0) KalText(text, "/%s of %s is no array of up to %d dimensions", name, path, KAL_SNAPSHOT_RANK);
  else if (IsUnwritten(dataset)) KalText(text, "/%s of %s was declared but never written, or is empty; write the file again", name, path);
done:
  KalH5Close(dataset);
  KalH5Close(file);
  return ndims;
}

/*@
   KalSnapshotPlainGetSize - Looks for a dataset of any HDF5 file

   Collective

   Input Parameters:
+  comm - the ranks that want to know
.  path - the file
-  name - path of the dataset in it, as "members" or "ensemble/members"

   Output Parameters:
+  ndims - its dimensions, at most KAL_SNAPSHOT_RANK
.  size - its sizes, room for KAL_SNAPSHOT_RANK
-  found - whether it is there; else ndims is 0

   Errors:
   No such file, none of HDF5, something else than an array, an array without numbers. On every rank.
@*/
PetscErrorCode KalSnapshotPlainGetSize(MPI_Comm comm, const char *path, const char *name, PetscInt *ndims, PetscInt64 *size, PetscBool *found)
{
  char        text[KAL_SNAPSHOT_TEXT]       = "";
  PetscInt64  answer[1 + KAL_SNAPSHOT_RANK] = {-1};
  hsize_t     dims[KAL_SNAPSHOT_RANK]       = {0};
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  if (!rank) {
    answer[0] = ShapeOf(path, name, dims, text);
    for (int d = 0; d < KAL_SNAPSHOT_RANK; d++) answer[1 + d] = (PetscInt64)dims[d];
  }
  KalCheckAll(comm, PETSC_ERR_FILE_READ, text);
  PetscCallMPI(MPI_Bcast(answer, 1 + KAL_SNAPSHOT_RANK, MPIU_INT64, 0, comm));
  *found = (PetscBool)(answer[0] >= 0);
  *ndims = (PetscInt)PetscMax(0, answer[0]);
  PetscCall(PetscArraycpy(size, answer + 1, KAL_SNAPSHOT_RANK));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The type to read numbers in, to be closed; a byte may be stored as h5py stores booleans. */
static hid_t MemoryType(hid_t dataset, const KalDataset *array, const char *path, char *text)
{
  const hid_t stored      = H5Dget_type(dataset);
  const H5T_class_t class = H5Tget_class(stored);
  hid_t memory            = H5I_INVALID_HID;

  if (array->type == KAL_TYPE_BYTE && class == H5T_ENUM && H5Tget_size(stored) == 1) return stored;
  if (class == H5T_INTEGER || (class == H5T_FLOAT && array->type == KAL_TYPE_REAL)) memory = H5Tcopy(array->type == KAL_TYPE_REAL ? H5T_NATIVE_DOUBLE : array->type == KAL_TYPE_INT64 ? H5T_NATIVE_INT64
                                                                                                                                                                                      : H5T_NATIVE_INT8);
  else KalText(text, "/%s of %s must hold %s", array->name, path, array->type == KAL_TYPE_REAL ? "numbers" : "integers");
  KalH5Close(stored);
  return memory;
}

/*@
   KalSnapshotPlainReadArray - Reads a dataset of any HDF5 file, whole, on the calling rank

   Not Collective

   Input Parameters:
+  path - the file
.  array - `name`, `type`, `ndims` and `size` as KalSnapshotPlainGetSize() found them, and `data` with room for the numbers
-  length - room in text; KalCheckAll() carries 1024 characters

   Output Parameters:
+  array - its data, whatever type of number they are stored as
-  text - what is wrong, for KalCheckAll(); a text that is not empty stays, and nothing is read
@*/
PetscErrorCode KalSnapshotPlainReadArray(const char *path, KalDataset *array, size_t length, char *text)
{
  char    why[KAL_SNAPSHOT_TEXT] = "";
  hid_t   file = H5I_INVALID_HID, dataset = H5I_INVALID_HID, memory = H5I_INVALID_HID;
  hsize_t size[KAL_SNAPSHOT_RANK] = {0};
  int     ndims;

  PetscFunctionBeginUser;
  if (text[0]) PetscFunctionReturn(PETSC_SUCCESS);
  file = OpenPlain(path, why);
  if (why[0]) goto done;
  KalH5(why, dataset = H5Dopen2(file, array->name, H5P_DEFAULT), "/%s of %s cannot be opened as a dataset", array->name, path);
  ndims = KalH5Shape(dataset, size);
  for (int d = 0; d < ndims && ndims == array->ndims; d++) {
    if ((PetscInt64)size[d] != array->size[d]) ndims = -1;
  }
  if (ndims != array->ndims) KalText(why, "%s was changed while it was read; start again", path);
  if (why[0]) goto done;
  memory = MemoryType(dataset, array, path, why);
  if (!why[0]) KalH5(why, H5Dread(dataset, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, array->data), "/%s of %s cannot be read", array->name, path);
done:
  KalH5Close(memory);
  KalH5Close(dataset);
  KalH5Close(file);
  PetscCall(PetscStrncpy(text, why, length));
  PetscFunctionReturn(PETSC_SUCCESS);
}
