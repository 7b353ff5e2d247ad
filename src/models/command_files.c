/* What is exchanged with a child: a scratch folder of its own, files of plain numbers or HDF5 in it, and its log. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* nftw(), mkdtemp() */
#endif
#include <models/commandimpl.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KAL_TAIL 480 /* characters of a log that are quoted */

/* A new folder that only this user can enter. */
PetscBool KalScratchCreate(const char *parent, PetscInt member, size_t size, char *path, size_t room, char *why)
{
  (void)PetscSNPrintf(path, size, "%s/kalmia-member-%" PetscInt_FMT "-XXXXXX", parent, member);
  if (mkdtemp(path)) return PETSC_TRUE;
  (void)PetscSNPrintf(why, room, "no scratch folder can be made in %s: %s", parent, strerror(errno));
  path[0] = '\0';
  return PETSC_FALSE;
}

static int RemoveOne(const char *path, const struct stat *info, int kind, struct FTW *at)
{
  (void)info;
  (void)kind;
  (void)at;
  return remove(path);
}

/* Links are removed, not followed. */
PetscBool KalScratchRemove(const char *path)
{
  return (PetscBool)(nftw(path, RemoveOne, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0);
}

/* Opens a regular file that a child may have made: neither a link out of the folder nor a pipe that nobody writes to. */
static int OpenRegular(const char *path, PetscInt64 *bytes)
{
  struct stat info;
  const int   file = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

  if (file < 0) return -1;
  if (fstat(file, &info) || !S_ISREG(info.st_mode)) {
    (void)close(file);
    errno = EINVAL;
    return -1;
  }
  *bytes = (PetscInt64)info.st_size;
  return file;
}

/* Transfers all bytes; PETSC_FALSE with errno where that fails, with errno 0 where the file ends first. */
static PetscBool ReadAll(int file, void *data, size_t bytes)
{
  char *at = (char *)data;

  while (bytes) {
    const ssize_t got = read(file, at, bytes);

    if (got < 0 && errno == EINTR) continue;
    if (got == 0) errno = 0;
    if (got <= 0) return PETSC_FALSE;
    at += got;
    bytes -= (size_t)got;
  }
  return PETSC_TRUE;
}

static PetscBool WriteAll(int file, const void *data, size_t bytes)
{
  const char *at = (const char *)data;

  while (bytes) {
    const ssize_t put = write(file, at, bytes);

    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return PETSC_FALSE;
    at += put;
    bytes -= (size_t)put;
  }
  return PETSC_TRUE;
}

/* The last lines, printable and on one line, for a warning. */
void KalScratchTail(const char *log, size_t size, char *text)
{
  char          tail[KAL_TAIL + 1];
  PetscInt64    bytes = 0;
  const int     file  = OpenRegular(log, &bytes);
  size_t        length, used = 0;
  const size_t  wanted = (size_t)PetscMin(bytes, KAL_TAIL);
  unsigned char c;

  text[0] = '\0';
  if (file < 0) return;
  (void)lseek(file, -(off_t)wanted, SEEK_END);
  length = ReadAll(file, tail, wanted) ? wanted : 0;
  (void)close(file);
  while (length && strchr("\n\r\t ", tail[length - 1])) length--;
  for (size_t i = 0; i < length && used + 4 < size; i++) {
    c = (unsigned char)tail[i];
    if (c == '\n') {
      memcpy(text + used, " | ", 3);
      used += 3;
    } else text[used++] = (char)(c == '\t' || c == '\r' ? ' ' : c < 32 || c == 127 ? '?'
                                                                                   : c);
  }
  text[used] = '\0';
}

static PetscBool WriteRaw(const char *path, size_t bytes, const double *x, size_t size, char *why)
{
  const int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  PetscBool ok   = (PetscBool)(file >= 0 && WriteAll(file, x, bytes));

  if (!ok) (void)PetscSNPrintf(why, size, "%s cannot be written: %s", path, strerror(errno));
  if (file >= 0 && close(file) && ok) {
    ok = PETSC_FALSE;
    (void)PetscSNPrintf(why, size, "%s cannot be written: %s", path, strerror(errno));
  }
  return ok;
}

static PetscBool ReadRaw(int file, PetscInt64 bytes, PetscInt64 count, double *x, size_t size, char *why)
{
  const PetscInt64 wanted = count * (PetscInt64)sizeof(double);

  if (bytes != wanted) {
    (void)PetscSNPrintf(why, size, "it wrote %lld bytes and not the %lld of %lld numbers", (long long)bytes, (long long)wanted, (long long)count);
    return PETSC_FALSE;
  }
  if (ReadAll(file, x, (size_t)wanted)) return PETSC_TRUE;
  (void)PetscSNPrintf(why, size, "its output cannot be read: %s", errno ? strerror(errno) : "the file became shorter");
  return PETSC_FALSE;
}

/* By this process alone, whatever HDF5 can do in parallel, and without locks, which some file systems refuse. */
static hid_t Access(void)
{
  const hid_t access = H5Pcreate(H5P_FILE_ACCESS);

  (void)H5Pset_fapl_sec2(access);
  (void)H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
#if H5_VERSION_GE(1, 12, 1) || (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 12, 0))
  (void)H5Pset_file_locking(access, 0, 1);
#endif
  return access;
}

static void Close(hid_t id, herr_t (*close)(hid_t))
{
  if (id >= 0) (void)(*close)(id);
}

static PetscBool WriteHDF5(const char *path, const char *name, PetscInt rows, PetscInt columns, const double *x, size_t size, char *why)
{
  const hsize_t shape[2] = {(hsize_t)rows, (hsize_t)columns};
  const hid_t   access = Access(), file = H5Fcreate(path, H5F_ACC_EXCL, H5P_DEFAULT, access), space = H5Screate_simple(columns == 1 ? 1 : 2, shape, NULL);
  const hid_t   data = file < 0 ? -1 : H5Dcreate2(file, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  PetscBool     ok   = (PetscBool)(data >= 0 && H5Dwrite(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) >= 0);

  Close(data, H5Dclose);
  Close(space, H5Sclose);
  if (file >= 0 && H5Fclose(file) < 0) ok = PETSC_FALSE;
  Close(access, H5Pclose);
  if (!ok) (void)PetscSNPrintf(why, size, "%s cannot be written by HDF5", path);
  return ok;
}

static PetscBool ReadHDF5(const char *path, const char *name, PetscInt64 count, double *x, size_t size, char *why)
{
  const hid_t    access = Access(), file = H5Fopen(path, H5F_ACC_RDONLY, access), data = file < 0 ? -1 : H5Dopen2(file, name, H5P_DEFAULT);
  const hid_t    space = data < 0 ? -1 : H5Dget_space(data), type = data < 0 ? -1 : H5Dget_type(data);
  const hssize_t there = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
  PetscBool      ok    = PETSC_FALSE;

  if (file < 0) (void)PetscSNPrintf(why, size, "it wrote no HDF5 file");
  else if (data < 0) (void)PetscSNPrintf(why, size, "it wrote no dataset /%s", name);
  else if (H5Tget_class(type) != H5T_FLOAT && H5Tget_class(type) != H5T_INTEGER) (void)PetscSNPrintf(why, size, "its dataset /%s does not hold numbers", name);
  else if ((PetscInt64)there != count) (void)PetscSNPrintf(why, size, "its dataset /%s has %lld numbers and not %lld", name, (long long)there, (long long)count);
  else if (H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) < 0) (void)PetscSNPrintf(why, size, "its dataset /%s cannot be read", name);
  else ok = PETSC_TRUE;
  Close(type, H5Tclose);
  Close(space, H5Sclose);
  Close(data, H5Dclose);
  Close(file, H5Fclose);
  Close(access, H5Pclose);
  return ok;
}

/* HDF5 would print its stack for every file that a child spoilt. */
typedef struct {
  H5E_auto2_t function;
  void       *data;
} KalQuiet;

static void Quiet(KalQuiet *quiet)
{
  (void)H5Eget_auto2(H5E_DEFAULT, &quiet->function, &quiet->data);
  (void)H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

static void Loud(const KalQuiet *quiet)
{
  (void)H5Eclear2(H5E_DEFAULT);
  (void)H5Eset_auto2(H5E_DEFAULT, quiet->function, quiet->data);
}

/* rows x columns numbers, a row contiguous: raw doubles and nothing else, or an HDF5 file with one dataset. */
PetscBool KalExchangeWrite(KalCommandFormat format, const char *path, const char *name, PetscInt rows, PetscInt columns, const double *x, size_t size, char *why)
{
  KalQuiet  quiet;
  PetscBool ok;

  if (format == KAL_COMMAND_RAW) return WriteRaw(path, (size_t)rows * (size_t)columns * sizeof *x, x, size, why);
  Quiet(&quiet);
  ok = WriteHDF5(path, name, rows, columns, x, size, why);
  Loud(&quiet);
  return ok;
}

PetscBool KalExchangeRead(KalCommandFormat format, const char *path, const char *name, PetscInt64 count, double *x, size_t size, char *why)
{
  PetscInt64 bytes = 0;
  const int  file  = OpenRegular(path, &bytes);
  KalQuiet   quiet;
  PetscBool  ok;

  if (file < 0) {
    if (errno == ENOENT) (void)PetscSNPrintf(why, size, "it wrote no output");
    else (void)PetscSNPrintf(why, size, "what it left as its output is no plain file that can be read: %s", strerror(errno));
    return PETSC_FALSE;
  }
  if (format == KAL_COMMAND_RAW) ok = ReadRaw(file, bytes, count, x, size, why);
  else {
    Quiet(&quiet);
    ok = ReadHDF5(path, name, count, x, size, why);
    Loud(&quiet);
  }
  (void)close(file);
  return ok;
}
