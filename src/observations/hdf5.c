/* Reader of HDF5 data sets, by one rank of a node: a serial file access, not MPI-IO. */
#include "observationsimpl.h"

#include <errno.h>
#include <hdf5.h>
#include <string.h>
#include <sys/stat.h>

#define KAL_HDF5_DIMENSIONS 8

/* HDF5's own account of an error: the innermost entry of its stack, where it has one. */
static herr_t Innermost(unsigned n, const H5E_error2_t *entry, void *ctx)
{
  (void)n;
  if (entry->desc) (void)PetscStrncpy((char *)ctx, entry->desc, 256);
  return 0;
}

static void Hdf5Fault(KalFault *fault, const char *what, const char *path)
{
  char why[256] = "no reason given";

  (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, Innermost, why);
  KalFaultSet(fault, PETSC_ERR_FILE_READ, "%s %s: HDF5 says \"%s\"; check the file, for instance with h5dump -H", what, path, why);
}

/* HDF5 prints its stack on every rank unless told not to; the text is taken from the stack instead. */
typedef struct {
  H5E_auto2_t func;
  void       *data;
} KalHush;

static void Hush(KalHush *hush)
{
  (void)H5Eget_auto2(H5E_DEFAULT, &hush->func, &hush->data);
  (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static void Unhush(const KalHush *hush)
{
  (void)H5Eset_auto2(H5E_DEFAULT, hush->func, hush->data);
}

/* Files of data sets, in this file's messages. */
static const KalFileUse DataSets = {"data file", "-observations_path", "takes a directory with MNIST's file names, one HDF5 file, or a comma list of 2 or 4 IDX files", "it must hold /x and /y, and may hold /x_test and /y_test"};

static hid_t Open(const KalFileUse *use, const char *path, KalFault *fault)
{
  struct stat info;
  hid_t       access, file = -1;

  if (stat(path, &info)) {
    KalFaultSet(fault, PETSC_ERR_FILE_OPEN, "Cannot read the %s %s: %s; check %s", use->what, path, strerror(errno), use->option);
    return -1;
  }
  access = H5Pcreate(H5P_FILE_ACCESS);
  if (H5Pset_fapl_sec2(access) >= 0) {
    const htri_t is = H5Fis_hdf5(path);

    if (is == 0) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "%s is no HDF5 file; %s %s", path, use->option, use->takes);
    else file = H5Fopen(path, H5F_ACC_RDONLY, access);
  }
  if (file < 0) Hdf5Fault(fault, "Cannot open", path);
  (void)H5Pclose(access);
  return file;
}

static hid_t MemoryType(KalElement element)
{
  switch (element) {
  case KAL_ELEMENT_UINT8:
    return H5T_NATIVE_UINT8;
  case KAL_ELEMENT_INT8:
    return H5T_NATIVE_INT8;
  case KAL_ELEMENT_UINT16:
    return H5T_NATIVE_UINT16;
  case KAL_ELEMENT_INT16:
    return H5T_NATIVE_INT16;
  case KAL_ELEMENT_UINT32:
    return H5T_NATIVE_UINT32;
  case KAL_ELEMENT_INT32:
    return H5T_NATIVE_INT32;
  case KAL_ELEMENT_UINT64:
    return H5T_NATIVE_UINT64;
  case KAL_ELEMENT_INT64:
    return H5T_NATIVE_INT64;
  case KAL_ELEMENT_FLOAT32:
    return H5T_NATIVE_FLOAT;
  case KAL_ELEMENT_FLOAT64:
    return H5T_NATIVE_DOUBLE;
  default:
    return -1;
  }
}

static KalElement Hdf5Element(hid_t data)
{
  const hid_t type        = H5Dget_type(data);
  const H5T_class_t class = H5Tget_class(type);
  const size_t size       = H5Tget_size(type);
  const int    sign       = class == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_2;
  KalElement   element    = KAL_ELEMENTS;

  if (class == H5T_FLOAT) element = size == 4 ? KAL_ELEMENT_FLOAT32 : size == 8 ? KAL_ELEMENT_FLOAT64
                                                                                : KAL_ELEMENTS;
  else if (class == H5T_INTEGER) {
    if (size == 1) element = sign ? KAL_ELEMENT_INT8 : KAL_ELEMENT_UINT8;
    else if (size == 2) element = sign ? KAL_ELEMENT_INT16 : KAL_ELEMENT_UINT16;
    else if (size == 4) element = sign ? KAL_ELEMENT_INT32 : KAL_ELEMENT_UINT32;
    else if (size == 8) element = sign ? KAL_ELEMENT_INT64 : KAL_ELEMENT_UINT64;
  }
  (void)H5Tclose(type);
  return element;
}

/* A data set may declare a size of which nothing was ever written: do not take memory for it. */
static void CheckStorage(hid_t data, const KalShape *shape, const char *where, KalFault *fault)
{
  const hid_t              plist  = H5Dget_create_plist(data);
  const unsigned long long stored = (unsigned long long)H5Dget_storage_size(data);
  const unsigned long long bytes  = (unsigned long long)shape->samples * (unsigned long long)shape->width * KalElementSize(shape->element);
  const H5D_layout_t       layout = H5Pget_layout(plist);

  if (layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED) {
    if (!stored) KalFaultSet(fault, PETSC_ERR_FILE_READ, "The data set %s was declared with %" PetscInt_FMT " samples of %" PetscInt_FMT " numbers but never written; write the file again", where, shape->samples, shape->width);
    else if (H5Pget_nfilters(plist) == 0 && stored < bytes) KalFaultSet(fault, PETSC_ERR_FILE_READ, "The data set %s is truncated: %" PetscInt_FMT " samples of %" PetscInt_FMT " numbers take %llu bytes, and %llu were written; write the file again", where, shape->samples, shape->width, bytes, stored);
  }
  (void)H5Pclose(plist);
}

static void ShapeOf(hid_t data, const char *where, KalShape *shape, KalFault *fault)
{
  const hid_t        space   = H5Dget_space(data);
  const KalElement   element = Hdf5Element(data);
  const int          ndims   = H5Sget_simple_extent_ndims(space);
  hsize_t            size[KAL_HDF5_DIMENSIONS];
  unsigned long long dims[KAL_HDF5_DIMENSIONS];

  if (element == KAL_ELEMENTS) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "The data set %s has a type that is not supported; allowed: integers of 1, 2, 4 or 8 bytes, float32 and float64", where);
  else if (H5Sget_simple_extent_type(space) != H5S_SIMPLE || ndims < 1 || ndims > KAL_HDF5_DIMENSIONS) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "The data set %s has %d dimensions; allowed: 1 to %d, samples first", where, PetscMax(ndims, 0), KAL_HDF5_DIMENSIONS);
  else {
    (void)H5Sget_simple_extent_dims(space, size, NULL);
    for (int i = 0; i < ndims; i++) dims[i] = (unsigned long long)size[i];
    KalShapeSet(shape, element, ndims, dims, where, fault);
    if (!fault->text[0]) CheckStorage(data, shape, where, fault);
  }
  (void)H5Sclose(space);
}

/* Some samples of a data set, converted to another type; in memory, a sample begins every `ld` numbers. */
static void ReadSome(hid_t data, const char *where, const KalShape *shape, const KalHdf5Part *part, void *values, KalFault *fault)
{
  const hsize_t memory[2] = {(hsize_t)part->count, (hsize_t)part->ld}, none[2] = {0, 0}, block[2] = {(hsize_t)part->count, (hsize_t)shape->width};
  const hid_t   file                       = H5Dget_space(data);
  const hid_t   space                      = H5Screate_simple(2, memory, NULL);
  hsize_t       first[KAL_HDF5_DIMENSIONS] = {0}, count[KAL_HDF5_DIMENSIONS];
  herr_t        failed;

  (void)H5Sget_simple_extent_dims(file, count, NULL);
  first[0] = (hsize_t)part->first;
  count[0] = (hsize_t)part->count;
  failed   = space < 0 || H5Sselect_hyperslab(file, H5S_SELECT_SET, first, NULL, count, NULL) < 0 || H5Sselect_hyperslab(space, H5S_SELECT_SET, none, NULL, block, NULL) < 0 || H5Dread(data, MemoryType(part->as), space, file, H5P_DEFAULT, values) < 0;
  if (failed) Hdf5Fault(fault, "Cannot read the data set", where);
  (void)H5Sclose(space);
  (void)H5Sclose(file);
}

/* Opens /x or the like, and finds its shape or, with `values`, reads all of it or a part. */
static void WithDataset(const KalFileUse *use, const char *path, const char *name, KalShape *shape, const KalHdf5Part *part, void *values, KalFault *fault)
{
  KalHush hush;
  hid_t   file, data;
  char    where[PETSC_MAX_PATH_LEN + 32];

  (void)PetscSNPrintf(where, sizeof where, "%s of %s", name, path);
  Hush(&hush);
  file = Open(use, path, fault);
  if (file >= 0) {
    if (H5Lexists(file, name, H5P_DEFAULT) <= 0) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "The HDF5 file %s has no data set %s; %s", path, name, use->holds);
    else {
      data = H5Dopen2(file, name, H5P_DEFAULT);
      if (data < 0) Hdf5Fault(fault, "Cannot open the data set", where);
      else {
        KalShape now;

        ShapeOf(data, where, &now, fault);
        if (!fault->text[0] && !values) *shape = now;
        else if (!fault->text[0]) {
          if (now.element != shape->element || now.samples != shape->samples || now.width != shape->width) KalFaultSet(fault, PETSC_ERR_FILE_READ, "%s was changed while it was read; start again", path);
          else if (part) ReadSome(data, where, shape, part, values, fault);
          else if (H5Dread(data, MemoryType(shape->element), H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) Hdf5Fault(fault, "Cannot read the data set", where);
        }
        (void)H5Dclose(data);
      }
    }
    (void)H5Fclose(file);
  }
  Unhush(&hush);
}

/* Finds out what a data set of an HDF5 file holds. */
void KalHdf5Shape(const char *path, const char *name, KalShape *shape, KalFault *fault)
{
  WithDataset(&DataSets, path, name, shape, NULL, NULL, fault);
}

/* Reads a data set whose shape KalHdf5Shape() found. */
void KalHdf5Read(const char *path, const char *name, const KalShape *shape, void *values, KalFault *fault)
{
  KalShape same = *shape;

  WithDataset(&DataSets, path, name, &same, NULL, values, fault);
}

/* Is there a link of this name? */
void KalHdf5Holds(const char *path, const char *name, PetscBool *holds, KalFault *fault)
{
  KalHdf5HoldsFor(&DataSets, path, name, holds, fault);
}

void KalHdf5HoldsFor(const KalFileUse *use, const char *path, const char *name, PetscBool *holds, KalFault *fault)
{
  KalHush hush;
  hid_t   file;

  *holds = PETSC_FALSE;
  Hush(&hush);
  file = Open(use, path, fault);
  if (file >= 0) {
    *holds = H5Lexists(file, name, H5P_DEFAULT) > 0 ? PETSC_TRUE : PETSC_FALSE;
    (void)H5Fclose(file);
  }
  Unhush(&hush);
}

/* The same as KalHdf5Shape(), of a file that holds something else than a data set. */
void KalHdf5ShapeFor(const KalFileUse *use, const char *path, const char *name, KalShape *shape, KalFault *fault)
{
  WithDataset(use, path, name, shape, NULL, NULL, fault);
}

/* Reads a part of a data set in another type than it is stored in. */
void KalHdf5ReadFor(const KalFileUse *use, const char *path, const char *name, const KalShape *shape, const KalHdf5Part *part, void *values, KalFault *fault)
{
  KalShape same = *shape;

  if (part->count) WithDataset(use, path, name, &same, part, values, fault);
}
