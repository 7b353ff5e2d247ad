/* Data files that the tests write themselves, byte by byte; rank 0 writes, all wait. */
#ifndef DATAFILES_H
#define DATAFILES_H

#include "kaltest.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

static inline int TestRank(void)
{
  int rank;

  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  return rank;
}

/* Writes a file as it is, or through zlib. */
static inline void WriteFile(const char *path, const void *bytes, size_t count, int gzip)
{
  int ok = 1;

  if (!TestRank()) {
    if (gzip) {
      gzFile file = gzopen(path, "wb");

      ok = file && gzwrite(file, bytes, (unsigned)count) == (int)count && gzclose(file) == Z_OK;
    } else {
      FILE *file = fopen(path, "wb");

      ok = file && fwrite(bytes, 1, count, file) == count && !fclose(file);
    }
  }
  KalAssert(ok);
}

/* Reads a whole file; the caller frees it. Rank 0 alone. */
static inline unsigned char *ReadFile(const char *path, size_t *count)
{
  FILE          *file  = fopen(path, "rb");
  unsigned char *bytes = (unsigned char *)malloc(1 << 20);

  *count = file ? fread(bytes, 1, 1 << 20, file) : 0;
  if (file) fclose(file);
  return bytes;
}

/* Header and numbers of an IDX file; numbers are given in the machine's (little-endian) order. Returns the bytes. */
static inline size_t IdxBytes(unsigned char *out, int code, int ndims, const unsigned *dims, const void *numbers, size_t count, size_t size)
{
  size_t at = 0;

  out[at++] = 0;
  out[at++] = 0;
  out[at++] = (unsigned char)code;
  out[at++] = (unsigned char)ndims;
  for (int d = 0; d < ndims; d++)
    for (int b = 3; b >= 0; b--) out[at++] = (unsigned char)(dims[d] >> (8 * b));
  for (size_t i = 0; i < count; i++)
    for (size_t b = size; b-- > 0;) out[at++] = ((const unsigned char *)numbers)[i * size + b];
  return at;
}

static inline void WriteIdx(const char *path, int code, int ndims, const unsigned *dims, const void *numbers, size_t count, size_t size, int gzip)
{
  unsigned char *bytes = (unsigned char *)malloc(64 + count * size);
  const size_t   n     = IdxBytes(bytes, code, ndims, dims, numbers, count, size);

  WriteFile(path, bytes, n, gzip);
  free(bytes);
}

/* Makes observations of a path and sets them up; what it made is destroyed if that fails. */
static inline PetscErrorCode Observe(const char *path, KalObservations *obs)
{
  PetscErrorCode ierr;

  if ((ierr = KalObservationsCreate(PETSC_COMM_WORLD, obs))) return ierr;
  if ((ierr = KalObservationsSetPath(*obs, path)) || (ierr = KalObservationsSetUp(*obs))) (void)KalObservationsDestroy(obs);
  return ierr;
}

#endif
