/* HDF5 in small steps: messages, types, attributes, and arrays in boxes. */
#include <snapshot/snapshotimpl.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* HDF5 prints its error stack from every rank unless told not to; its text goes into our messages instead. */
void KalH5Quiet(void)
{
  (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static herr_t Innermost(unsigned n, const H5E_error2_t *error, void *ctx)
{
  (void)n;
  if (error->desc && error->desc[0]) snprintf((char *)ctx, 256, "%s", error->desc);
  return 0;
}

/* A message, where `text` holds none yet: the first one is the one that is told. */
void KalText(char *text, const char *format, ...)
{
  va_list args;

  if (text[0]) return;
  va_start(args, format);
  vsnprintf(text, KAL_SNAPSHOT_TEXT, format, args);
  va_end(args);
}

/* What was tried, and the innermost entry of HDF5's error stack, which is emptied. */
void KalH5Text(char *text, const char *format, ...)
{
  char    reason[256] = "";
  va_list args;

  if (text[0]) return;
  (void)H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, Innermost, reason);
  (void)H5Eclear2(H5E_DEFAULT);
  va_start(args, format);
  vsnprintf(text, KAL_SNAPSHOT_TEXT, format, args);
  va_end(args);
  if (reason[0]) {
    const size_t used = strlen(text);
    snprintf(text + used, KAL_SNAPSHOT_TEXT - used, " (HDF5: %s)", reason);
  }
}

/* Closes whatever an identifier names; H5I_INVALID_HID is left alone. */
void KalH5Close(hid_t id)
{
  if (id < 0) return;
  switch (H5Iget_type(id)) {
  case H5I_FILE:
    (void)H5Fclose(id);
    break;
  case H5I_GROUP:
    (void)H5Gclose(id);
    break;
  case H5I_DATASET:
    (void)H5Dclose(id);
    break;
  case H5I_DATATYPE:
    (void)H5Tclose(id);
    break;
  case H5I_DATASPACE:
    (void)H5Sclose(id);
    break;
  case H5I_ATTR:
    (void)H5Aclose(id);
    break;
  case H5I_GENPROP_LST:
    (void)H5Pclose(id);
    break;
  default:
    break;
  }
}

/* How files are opened: by one process on MPI_COMM_NULL, else by all ranks together. */
hid_t KalH5Access(MPI_Comm comm)
{
  hid_t  access = H5Pcreate(H5P_FILE_ACCESS);
  herr_t bad;

  if (access < 0) return access;
  /* From format 1.10 on HDF5 checksums its own metadata, as it did from 1.8 on, and old tools still read it. */
  bad = H5Pset_libver_bounds(access, H5F_LIBVER_V110, H5F_LIBVER_LATEST);
  if (bad >= 0) bad = H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
  if (bad >= 0) bad = H5Pset_alignment(access, KAL_SNAPSHOT_ALIGN, KAL_SNAPSHOT_ALIGN);
  if (comm != MPI_COMM_NULL) {
    if (bad >= 0) bad = H5Pset_fapl_mpio(access, comm, MPI_INFO_NULL);
    if (bad >= 0) bad = H5Pset_coll_metadata_write(access, 1);
    if (bad >= 0) bad = H5Pset_all_coll_metadata_ops(access, 1);
  }
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
  /* Locks fail on some parallel file systems; the temporary name is ours alone, and a reader changes nothing. */
  else if (bad >= 0)
    bad = H5Pset_file_locking(access, 0, 1);
#endif
  if (bad < 0) {
    (void)H5Pclose(access);
    return H5I_INVALID_HID;
  }
  return access;
}

/*
  How groups are made, the root of a file (H5P_FILE_CREATE) among them. From 9 links on HDF5 would put them into a heap, and
  1.10 aborts where it looks up a link by index in one that is damaged; a group's header has a checksum.
*/
hid_t KalH5Group(hid_t class)
{
  const hid_t create = H5Pcreate(class);

  if (create < 0) return create;
  if (H5Pset_obj_track_times(create, 0) < 0 || H5Pset_link_phase_change(create, 1024, 512) < 0) {
    (void)H5Pclose(create);
    return H5I_INVALID_HID;
  }
  return create;
}

/* UTF-8 text of a fixed length: variable-length text would lie in a heap that HDF5 does not checksum. */
hid_t KalH5TextType(size_t bytes)
{
  const hid_t type = H5Tcopy(H5T_C_S1);

  if (type < 0) return type;
  if (H5Tset_size(type, bytes) < 0 || H5Tset_strpad(type, H5T_STR_NULLTERM) < 0 || H5Tset_cset(type, H5T_CSET_UTF8) < 0) {
    (void)H5Tclose(type);
    return H5I_INVALID_HID;
  }
  return type;
}

hid_t KalH5Type(KalDataType type)
{
  switch (type) {
  case KAL_TYPE_REAL:
    return H5T_IEEE_F64LE;
  case KAL_TYPE_INT64:
    return H5T_STD_I64LE;
  case KAL_TYPE_BYTE:
    return H5T_STD_I8LE;
  }
  return H5I_INVALID_HID;
}

/* A type as people call it. */
const char *KalH5TypeName(hid_t type)
{
  const H5T_class_t class = H5Tget_class(type);
  const size_t bytes      = H5Tget_size(type);

  if (class == H5T_STRING) return "text";
  if (class == H5T_FLOAT) return bytes == 8 ? "float64" : bytes == 4 ? "float32"
                                                                     : "float";
  if (class == H5T_INTEGER) {
    const int plain = H5Tget_sign(type) == H5T_SGN_NONE;
    if (bytes == 8) return plain ? "uint64" : "int64";
    if (bytes == 4) return plain ? "uint32" : "int32";
    if (bytes == 1) return plain ? "uint8" : "int8";
    return "integer";
  }
  return "other";
}

/* An attribute that is one number. */
herr_t KalH5PutNumber(hid_t object, const char *name, hid_t type, const void *value)
{
  const hid_t space = H5Screate(H5S_SCALAR);
  const hid_t attr  = space < 0 ? space : H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  herr_t      bad   = attr < 0 ? -1 : H5Awrite(attr, type, value);

  KalH5Close(attr);
  KalH5Close(space);
  return bad;
}

/* An attribute that is a text. */
herr_t KalH5PutText(hid_t object, const char *name, const char *value)
{
  const hid_t type = KalH5TextType(strlen(value) + 1);
  herr_t      bad  = type < 0 ? -1 : KalH5PutNumber(object, name, type, value);

  KalH5Close(type);
  return bad;
}

/* A text attribute of fixed length, cut to `bytes`; false, and an empty text, where there is none. */
PetscBool KalH5GetText(hid_t object, const char *name, size_t bytes, char *value)
{
  hid_t     attr = H5I_INVALID_HID, type = H5I_INVALID_HID, memory = H5I_INVALID_HID, space = H5I_INVALID_HID;
  PetscBool found = PETSC_FALSE;

  value[0] = 0;
  if (H5Aexists(object, name) > 0 && (attr = H5Aopen(object, name, H5P_DEFAULT)) >= 0) {
    type   = H5Aget_type(attr);
    space  = H5Aget_space(attr);
    memory = KalH5TextType(bytes);
    if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) == 0 && H5Sget_simple_extent_npoints(space) == 1) {
      (void)H5Tset_cset(memory, H5Tget_cset(type));
      if (H5Aread(attr, memory, value) >= 0) found = PETSC_TRUE;
      else value[0] = 0;
    }
  }
  (void)H5Eclear2(H5E_DEFAULT);
  KalH5Close(space);
  KalH5Close(memory);
  KalH5Close(type);
  KalH5Close(attr);
  return found;
}

/* Whether there is an object of that path: H5Lexists() fails where a group on the way is missing. */
htri_t KalH5Exists(hid_t file, const char *name)
{
  char   part[KAL_SNAPSHOT_NAME + 64];
  size_t i;

  for (i = 1; name[i - 1]; i++) {
    if (name[i] && name[i] != '/') continue;
    if (i >= sizeof part) return 0;
    memcpy(part, name, i);
    part[i]            = 0;
    const htri_t found = H5Lexists(file, part, H5P_DEFAULT);
    if (found <= 0) return found;
  }
  return H5Oexists_by_name(file, name, H5P_DEFAULT);
}

/* The walk over an array of `size` in boxes of at most `most` elements. */
void KalBoxesCreate(int ndims, const hsize_t *size, hsize_t most, KalBoxes *boxes)
{
  hsize_t outer = 1;
  int     d;

  memset(boxes, 0, sizeof *boxes);
  most         = most ? most : 1;
  boxes->ndims = ndims;
  boxes->inner = 1;
  for (d = 0; d < ndims; d++) boxes->size[d] = size[d];
  /* from the last dimension on: as many whole ones as fit */
  for (d = ndims - 1; d > 0 && boxes->inner * size[d] <= most; d--) boxes->inner *= size[d];
  boxes->level = d < 0 ? 0 : d;
  for (d = 0; d < boxes->level; d++) outer *= size[d];
  boxes->rows  = boxes->inner ? PetscMax(most / boxes->inner, 1) : 1;
  boxes->steps = ndims ? (size[boxes->level] + boxes->rows - 1) / boxes->rows : 1;
  boxes->count = boxes->inner ? outer * boxes->steps : 0;
}

/* Box number `b` of a walk; one past the end is empty. */
void KalBoxesGet(const KalBoxes *boxes, hsize_t b, KalBox *box)
{
  hsize_t outer = boxes->steps ? b / boxes->steps : 0, step = boxes->steps ? b % boxes->steps : 0, stride;
  int     d;

  memset(box, 0, sizeof *box);
  if (b >= boxes->count) return;
  box->elements = 1;
  for (d = boxes->ndims - 1; d >= 0; d--) {
    if (d > boxes->level) box->count[d] = boxes->size[d];
    else if (d == boxes->level) {
      box->start[d] = step * boxes->rows;
      box->count[d] = PetscMin(boxes->rows, boxes->size[d] - box->start[d]);
    } else {
      box->start[d] = outer % boxes->size[d];
      box->count[d] = 1;
      outer /= boxes->size[d];
    }
    box->elements *= box->count[d];
  }
  for (d = boxes->ndims - 1, stride = 1; d >= 0; d--) {
    box->first += box->start[d] * stride;
    stride *= boxes->size[d];
  }
}

/* Reads or writes one box from or to contiguous memory; an empty box still takes part in a collective call. */
herr_t KalH5Move(PetscBool write, hid_t dataset, hid_t type, hid_t transfer, int ndims, const KalBox *box, void *data)
{
  const hsize_t length = box->elements ? box->elements : 1;
  const hid_t   file   = H5Dget_space(dataset);
  const hid_t   memory = H5Screate_simple(1, &length, NULL);
  long long     none   = 0; /* HDF5 wants an address even for nothing */
  herr_t        bad    = file < 0 || memory < 0 ? -1 : 0;

  if (bad >= 0 && !box->elements) {
    bad = H5Sselect_none(file);
    if (bad >= 0) bad = H5Sselect_none(memory);
    data = &none;
  } else if (bad >= 0 && ndims) bad = H5Sselect_hyperslab(file, H5S_SELECT_SET, box->start, NULL, box->count, NULL);
  if (bad >= 0) bad = write ? H5Dwrite(dataset, type, memory, file, transfer, data) : H5Dread(dataset, type, memory, file, transfer, data);
  KalH5Close(memory);
  KalH5Close(file);
  return bad;
}

/* Opens a file by this process alone; a message that says what is wrong with it where that fails. */
hid_t KalH5OpenSerial(const char *path, unsigned flags, char *text)
{
  struct stat info;
  hid_t       access = H5I_INVALID_HID, file = H5I_INVALID_HID;
  htri_t      hdf5;

  KalH5Quiet();
  if (stat(path, &info)) KalText(text, "There is no snapshot %s; give the path of an existing one", path);
  else if (!S_ISREG(info.st_mode)) KalText(text, "%s is not a file; give the path of a snapshot", path);
  if (text[0]) return file;
  hdf5 = H5Fis_hdf5(path);
  if (hdf5 <= 0) {
    (void)H5Eclear2(H5E_DEFAULT);
    KalText(text, "%s %s; give a snapshot that Kalmia wrote, or restart from the one before it, %s.1, if there is one", path, hdf5 == 0 ? "is not an HDF5 file, or its first bytes are damaged" : "cannot be read", path);
    return file;
  }
  access = KalH5Access(MPI_COMM_NULL);
  if (access >= 0) file = H5Fopen(path, flags, access);
  if (file < 0) KalH5Text(text, "Snapshot %s is truncated or damaged; restart from the one before it, %s.1, if there is one", path, path);
  KalH5Close(access);
  return file;
}

/* Whether an open file is a snapshot of this version. */
void KalH5CheckFormat(hid_t file, const char *path, char *text)
{
  hid_t attr = H5I_INVALID_HID, space = H5I_INVALID_HID;
  int   version = 0;

  if (H5Aexists(file, KAL_FORMAT) <= 0) {
    (void)H5Eclear2(H5E_DEFAULT);
    KalText(text, "%s is an HDF5 file but not a snapshot: it has no attribute " KAL_FORMAT "; give a snapshot that Kalmia wrote", path);
    return;
  }
  KalH5(text, attr = H5Aopen(file, KAL_FORMAT, H5P_DEFAULT), "Attribute " KAL_FORMAT " of %s cannot be opened", path);
  KalH5(text, space = H5Aget_space(attr), "Attribute " KAL_FORMAT " of %s cannot be read", path);
  if (H5Sget_simple_extent_npoints(space) != 1) KalText(text, "Attribute " KAL_FORMAT " of %s is not one number", path);
  else {
    KalH5(text, H5Aread(attr, H5T_NATIVE_INT, &version), "Attribute " KAL_FORMAT " of %s cannot be read", path);
    if (version != KAL_SNAPSHOT_VERSION)
      KalText(text, "Snapshot %s has format version %d, and this Kalmia (" KALMIA_VERSION ") reads version %d; use the Kalmia that wrote it, or start anew", path, version, KAL_SNAPSHOT_VERSION);
  }
done:
  KalH5Close(space);
  KalH5Close(attr);
}
