/* Members or a mean out of a snapshot or of any HDF5 file, to begin a run from. */
#include <snapshot/snapshotimpl.h>

#include <string.h>

/* Opens dataset NAME, or ensemble/NAME as a snapshot has it; the one that is there. */
static hid_t OpenEither(hid_t file, const char *name)
{
  char path[KAL_SNAPSHOT_NAME];

  if (KalH5Exists(file, name) > 0) return H5Dopen2(file, name, H5P_DEFAULT);
  snprintf(path, sizeof path, "ensemble/%s", name);
  if (KalH5Exists(file, path) > 0) return H5Dopen2(file, path, H5P_DEFAULT);
  return H5I_INVALID_HID;
}

/*
  Reads rows first..last-1 of a dataset of `rows` x n doubles (rows 0: one dimension) and checks that they are finite; rows that
  `status` has marked, where it is not NULL, become 0.
*/
static void ReadRows(const char *path, const char *name, hsize_t rows, hsize_t first, hsize_t last, hsize_t n, const KalStatus *status, double *x, char *text)
{
  hid_t   file, dataset = H5I_INVALID_HID, space = H5I_INVALID_HID, memory = H5I_INVALID_HID;
  hsize_t size[H5S_MAX_RANK] = {0}, start[2] = {first, 0}, count[2] = {1, n};
  int     ndims;

  file = KalH5OpenSerial(path, H5F_ACC_RDONLY, text);
  if (file < 0) return;
  dataset = OpenEither(file, name);
  if (dataset < 0) KalText(text, "%s holds no dataset %s: give a file with /members (N x n) or /mean (n), as kalmia-inspect --export writes them", path, name);
  if (text[0]) goto done;
  space = H5Dget_space(dataset);
  ndims = H5Sget_simple_extent_ndims(space);
  if (ndims > 0) (void)H5Sget_simple_extent_dims(space, size, NULL);
  if (rows ? ndims != 2 || size[0] != rows || size[1] != n : ndims != 1 || size[0] != n) {
    KalText(text, "%s: dataset %s has %d dimensions, %llu x %llu; this run needs %llu x %llu", path, name, ndims, (unsigned long long)size[0], (unsigned long long)(ndims > 1 ? size[1] : 1), (unsigned long long)(rows ? rows : n), (unsigned long long)(rows ? n : 1));
    goto done;
  }
  memory = H5Screate_simple(1, &n, NULL);
  if (!rows) {
    start[0] = 0;
    count[0] = n;
  }
  for (; start[0] < (rows ? last : 1); start[0]++, x += n) {
    if (status && status[start[0]] != KAL_MEMBER_OK) {
      memset(x, 0, (size_t)n * sizeof *x);
      continue;
    }
    KalH5(text, H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL), "%s: dataset %s cannot be read", path, name);
    KalH5(text, H5Dread(dataset, H5T_NATIVE_DOUBLE, memory, space, H5P_DEFAULT, x), "%s: dataset %s cannot be read", path, name);
    for (hsize_t i = 0; i < n; i++) {
      if (PetscIsInfOrNanReal(x[i])) {
        KalText(text, "%s: dataset %s holds %g in row %llu, entry %llu; all numbers must be finite%s", path, name, x[i], (unsigned long long)start[0], (unsigned long long)i, status ? ", but for members that /status marks as failed" : "");
        goto done;
      }
    }
  }
done:
  KalH5Close(memory);
  KalH5Close(space);
  KalH5Close(dataset);
  KalH5Close(file);
}

/*@
   KalSnapshotPlainHas - Looks whether a snapshot or HDF5 file holds a dataset to begin a run from

   Collective

   Input Parameters:
+  comm - the communicator
.  path - the file
-  name - "members" or "mean", looked for at the top and in group ensemble

   Output Parameter:
.  has - whether it is there

   Error:
   The file is not there, or is no HDF5 file.
@*/
PetscErrorCode KalSnapshotPlainHas(MPI_Comm comm, const char *path, const char *name, PetscBool *has)
{
  char  text[KAL_SNAPSHOT_TEXT] = "";
  hid_t file, dataset;

  PetscFunctionBeginUser;
  *has = PETSC_FALSE;
  file = KalH5OpenSerial(path, H5F_ACC_RDONLY, text);
  if (file >= 0) {
    dataset = OpenEither(file, name);
    *has    = (PetscBool)(dataset >= 0);
    KalH5Close(dataset);
    KalH5Close(file);
  }
  KalCheckAll(comm, PETSC_ERR_FILE_OPEN, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotPlainReadMembers - Reads the members of an ensemble, each rank its own

   Collective

   Input Parameters:
+  path - a snapshot, or an HDF5 file with /members (N x n)
.  status - of each member; those that are not KAL_MEMBER_OK are not read. NULL: all are
-  ensemble - a stored ensemble, set up

   Output Parameter:
.  ensemble - its members are those of the file; members that were not read are 0
@*/
PetscErrorCode KalSnapshotPlainReadMembers(const char *path, const KalStatus *status, KalEnsemble ensemble)
{
  char         text[KAL_SNAPSHOT_TEXT] = "";
  PetscInt     n, N, first, last;
  PetscScalar *x = NULL;
  MPI_Comm     comm;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetComm(ensemble, &comm));
  PetscCall(KalEnsembleGetSizes(ensemble, &n, &N));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  if (last > first) {
    PetscCall(KalEnsembleGetMember(ensemble, first, &x)); /* a rank's members lie one behind the other */
    ReadRows(path, "members", (hsize_t)N, (hsize_t)first, (hsize_t)last, (hsize_t)n, status, x, text);
  }
  KalCheckAll(comm, PETSC_ERR_FILE_READ, text);
  PetscCall(KalEnsembleChanged(ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotPlainReadMean - Reads a mean of n numbers

   Collective

   Input Parameters:
+  comm - the communicator
.  path - a snapshot of a generated ensemble, or an HDF5 file with /mean (n)
-  n - numbers

   Output Parameter:
.  mean - the numbers, on every rank
@*/
PetscErrorCode KalSnapshotPlainReadMean(MPI_Comm comm, const char *path, PetscInt n, PetscScalar *mean)
{
  char text[KAL_SNAPSHOT_TEXT] = "";

  PetscFunctionBeginUser;
  ReadRows(path, "mean", 0, 0, 1, (hsize_t)n, NULL, mean, text);
  KalCheckAll(comm, PETSC_ERR_FILE_READ, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}
