/* Reader of IDX files (the format of MNIST), plain or gzip, told apart by content. */
#include "observationsimpl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#define KAL_IDX_DIMENSIONS 8
/* Deflate cannot shrink data by more: a header that asks for more than this lies. */
#define KAL_IDX_DEFLATE_MOST 1032ULL

typedef struct {
  const char        *path;
  FILE              *file;
  unsigned long long bytes; /* of the file */
  PetscBool          gzip;
  PetscBool          member; /* inside a gzip member: its end is still to come */
  z_stream           z;
  KalFault          *fault;
  unsigned char      in[65536];
} KalStream;

static void StreamOpen(KalStream *s, const char *path, KalFault *fault)
{
  struct stat   info;
  unsigned char magic[2];

  memset(s, 0, sizeof *s);
  s->path  = path;
  s->fault = fault;
  if (stat(path, &info)) {
    KalFaultSet(fault, PETSC_ERR_FILE_OPEN, "Cannot read the data file %s: %s; check -observations_path", path, strerror(errno));
    return;
  }
  if (!S_ISREG(info.st_mode)) {
    KalFaultSet(fault, PETSC_ERR_FILE_OPEN, "The data file %s is not a regular file; check -observations_path", path);
    return;
  }
  s->bytes = (unsigned long long)info.st_size;
  s->file  = fopen(path, "rb");
  if (!s->file) {
    KalFaultSet(fault, PETSC_ERR_FILE_OPEN, "Cannot open the data file %s: %s; check -observations_path and its permissions", path, strerror(errno));
    return;
  }
  s->gzip = fread(magic, 1, 2, s->file) == 2 && magic[0] == 0x1f && magic[1] == 0x8b ? PETSC_TRUE : PETSC_FALSE;
  rewind(s->file);
  if (!s->gzip) return;
  if (inflateInit2(&s->z, 16 + MAX_WBITS) != Z_OK) {
    KalFaultSet(fault, PETSC_ERR_MEM, "zlib has no memory to read %s", path);
    fclose(s->file);
    s->file = NULL;
    return;
  }
  s->member = PETSC_TRUE;
}

static void StreamClose(KalStream *s)
{
  if (!s->file) return;
  if (s->gzip) (void)inflateEnd(&s->z);
  fclose(s->file);
  s->file = NULL;
}

/* Gives zlib more input; false at the end of the file. */
static PetscBool StreamFill(KalStream *s)
{
  if (s->z.avail_in) return PETSC_TRUE;
  s->z.next_in  = s->in;
  s->z.avail_in = (uInt)fread(s->in, 1, sizeof s->in, s->file);
  if (ferror(s->file)) KalFaultSet(s->fault, PETSC_ERR_FILE_READ, "Reading %s failed: %s", s->path, strerror(errno));
  return s->z.avail_in ? PETSC_TRUE : PETSC_FALSE;
}

/* A gzip file may hold several members one after another; anything else behind the last one is refused. */
static void StreamNextMember(KalStream *s)
{
  if (!StreamFill(s)) return;
  if (s->z.next_in[0] == 0x1f) {
    (void)inflateReset(&s->z);
    s->member = PETSC_TRUE;
  } else KalFaultSet(s->fault, PETSC_ERR_FILE_UNEXPECTED, "The gzip file %s has trailing garbage behind its compressed data (byte 0x%02x); fetch the file again", s->path, s->z.next_in[0]);
}

/* Reads up to `want` bytes; fewer only at the end of the data or after a fault. */
static size_t StreamRead(KalStream *s, void *data, size_t want)
{
  size_t got = 0;

  if (!s->gzip) {
    got = fread(data, 1, want, s->file);
    if (ferror(s->file)) KalFaultSet(s->fault, PETSC_ERR_FILE_READ, "Reading %s failed: %s", s->path, strerror(errno));
    return got;
  }
  while (got < want && !s->fault->text[0]) {
    const uInt chunk = (uInt)PetscMin(want - got, (size_t)1 << 30);
    int        rc;

    if (!s->member) {
      StreamNextMember(s);
      if (!s->member) break;
    }
    if (!StreamFill(s)) {
      KalFaultSet(s->fault, PETSC_ERR_FILE_READ, "The gzip file %s is cut short: it ends inside its compressed data after %llu bytes of file; fetch the file again", s->path, s->bytes);
      break;
    }
    s->z.next_out  = (unsigned char *)data + got;
    s->z.avail_out = chunk;
    rc             = inflate(&s->z, Z_NO_FLUSH);
    got += chunk - s->z.avail_out;
    if (rc == Z_STREAM_END) s->member = PETSC_FALSE;
    else if (rc != Z_OK && rc != Z_BUF_ERROR) KalFaultSet(s->fault, PETSC_ERR_FILE_READ, "The gzip file %s is corrupt (%s); fetch the file again", s->path, s->z.msg ? s->z.msg : "damaged compressed data");
  }
  return got;
}

static void StreamNeed(KalStream *s, void *data, size_t want, const char *what)
{
  const size_t got = s->fault->text[0] ? 0 : StreamRead(s, data, want);

  if (got < want && !s->fault->text[0]) KalFaultSet(s->fault, PETSC_ERR_FILE_READ, "The IDX file %s is truncated: its %s take %llu bytes, %llu are there; fetch the file again", s->path, what, (unsigned long long)want, (unsigned long long)got);
}

static KalElement IdxElement(unsigned char code)
{
  switch (code) {
  case 0x08:
    return KAL_ELEMENT_UINT8;
  case 0x09:
    return KAL_ELEMENT_INT8;
  case 0x0B:
    return KAL_ELEMENT_INT16;
  case 0x0C:
    return KAL_ELEMENT_INT32;
  case 0x0D:
    return KAL_ELEMENT_FLOAT32;
  case 0x0E:
    return KAL_ELEMENT_FLOAT64;
  default:
    return KAL_ELEMENTS;
  }
}

/* Reads and checks the header; the stream then stands at the first number. */
static void IdxHeader(KalStream *s, KalShape *shape)
{
  unsigned char      magic[4] = {0}, size[4 * KAL_IDX_DIMENSIONS];
  unsigned long long dims[KAL_IDX_DIMENSIONS], most, bytes;
  KalFault          *fault = s->fault;
  PetscInt           ndims;
  KalElement         element;

  StreamNeed(s, magic, sizeof magic, "magic bytes");
  if (fault->text[0]) return;
  if (magic[0] || magic[1]) {
    KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "%s is not an IDX file: its magic number is 0x%02x%02x%02x%02x, and the first two bytes must be zero", s->path, magic[0], magic[1], magic[2], magic[3]);
    return;
  }
  element = IdxElement(magic[2]);
  ndims   = magic[3];
  if (element == KAL_ELEMENTS) {
    KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "The IDX file %s has type 0x%02x, which is not supported; allowed: 0x08 uint8, 0x09 int8, 0x0b int16, 0x0c int32, 0x0d float32, 0x0e float64", s->path, magic[2]);
    return;
  }
  if (ndims < 1 || ndims > KAL_IDX_DIMENSIONS) {
    KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "The IDX file %s has %" PetscInt_FMT " dimensions; allowed: 1 to %d", s->path, ndims, KAL_IDX_DIMENSIONS);
    return;
  }
  StreamNeed(s, size, 4 * (size_t)ndims, "sizes in the header");
  if (fault->text[0]) return;
  for (PetscInt i = 0; i < ndims; i++) dims[i] = (unsigned long long)size[4 * i] << 24 | (unsigned long long)size[4 * i + 1] << 16 | (unsigned long long)size[4 * i + 2] << 8 | size[4 * i + 3];
  KalShapeSet(shape, element, ndims, dims, s->path, fault);
  if (fault->text[0]) return;

  /* Before any memory is taken: can the file hold what its header says? */
  bytes = (unsigned long long)shape->samples * (unsigned long long)shape->width * KalElementSize(element) + 4 + 4 * (unsigned long long)ndims;
  most  = s->gzip ? (s->bytes > ~0ULL / KAL_IDX_DEFLATE_MOST ? ~0ULL : s->bytes * KAL_IDX_DEFLATE_MOST) : s->bytes;
  if (bytes > most) KalFaultSet(fault, PETSC_ERR_FILE_READ, "The IDX file %s is truncated: its header says %" PetscInt_FMT " samples of %" PetscInt_FMT " numbers, %llu bytes in all, and the file %s %llu; fetch the file again", s->path, shape->samples, shape->width, bytes, s->gzip ? "can hold at most" : "has", most);
  else if (!s->gzip && bytes < s->bytes) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "The IDX file %s has trailing garbage: its header says %" PetscInt_FMT " samples of %" PetscInt_FMT " numbers, %llu bytes in all, and the file has %llu; fetch the file again", s->path, shape->samples, shape->width, bytes, s->bytes);
}

/* IDX is big-endian; in memory the numbers have the machine's order. */
static void ToNative(unsigned char *data, size_t count, size_t size)
{
  const unsigned short one = 1;
  unsigned char        low;

  memcpy(&low, &one, 1);
  if (!low || size == 1) return;
  for (size_t i = 0; i < count; i++, data += size) {
    for (size_t k = 0; k < size / 2; k++) {
      const unsigned char t = data[k];

      data[k]            = data[size - 1 - k];
      data[size - 1 - k] = t;
    }
  }
}

/* Whether a file begins as IDX or gzip does; says nothing of the rest. */
PetscBool KalIdxIs(const char *path)
{
  unsigned char magic[2] = {1, 1};
  FILE         *file     = fopen(path, "rb");

  if (!file) return PETSC_FALSE;
  if (fread(magic, 1, 2, file) != 2) magic[0] = 1;
  (void)fclose(file);
  return (!magic[0] && !magic[1]) || (magic[0] == 0x1f && magic[1] == 0x8b) ? PETSC_TRUE : PETSC_FALSE;
}

/* Finds out what an IDX file holds, from its header and its length. */
void KalIdxShape(const char *path, KalShape *shape, KalFault *fault)
{
  KalStream s;

  StreamOpen(&s, path, fault);
  if (!fault->text[0]) IdxHeader(&s, shape);
  StreamClose(&s);
}

/* Reads the numbers of an IDX file whose shape KalIdxShape() found. */
void KalIdxRead(const char *path, const KalShape *shape, void *data, KalFault *fault)
{
  const size_t  size = KalElementSize(shape->element), count = (size_t)shape->samples * (size_t)shape->width;
  KalStream     s;
  KalShape      now;
  unsigned char extra;

  StreamOpen(&s, path, fault);
  if (!fault->text[0]) IdxHeader(&s, &now);
  if (!fault->text[0] && (now.element != shape->element || now.samples != shape->samples || now.width != shape->width)) KalFaultSet(fault, PETSC_ERR_FILE_READ, "%s was changed while it was read; start again", path);
  if (!fault->text[0]) StreamNeed(&s, data, count * size, "numbers");
  /* One byte more: finds trailing garbage, and makes zlib reach and check the checksum at the end. */
  if (!fault->text[0] && StreamRead(&s, &extra, 1) && !fault->text[0]) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "The IDX file %s has trailing garbage: it goes on behind the %" PetscInt_FMT " samples of %" PetscInt_FMT " numbers that its header says; fetch the file again", path, shape->samples, shape->width);
  StreamClose(&s);
  if (!fault->text[0]) ToNative((unsigned char *)data, count, size);
}
