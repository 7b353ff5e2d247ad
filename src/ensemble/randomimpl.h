/* The kernels under the KalDraw*() functions: whole chunks of Philox words and of normals. */
#ifndef KALMIA_RANDOMIMPL_H
#define KALMIA_RANDOMIMPL_H

#include <kalmia/types.h>

#include <stdint.h>

/*
  Layout of the draws of a key. Random123's philox4x32-10 is called with
    key     = {seed, purpose}
    counter = {call index, low 32 bits; call index, high 32 bits; member; cycle}.
  Numbers come in chunks of 64 = 16 calls of 4 words: number i = 16*l + k of chunk c (0 <= l < 4,
  0 <= k < 16) is word l of call 16*c + k, so that 16 calls run side by side in vector registers and
  each word position fills one contiguous run of 16 numbers. Normals of a chunk come in pairs by
  Box-Muller: runs 0 and 1 are the cosines and sines of words 0 and 1, runs 2 and 3 those of words 2 and 3.
  An index below 2^63 needs call indices below 2^61: a high word with its top bit set never occurs in
  draws, and the round functions of KalDrawPermuted() live there.
*/
#define KAL_DRAW_CALLS 16
#define KAL_DRAW_CHUNK 64

typedef struct {
  uint32_t key[2];
  uint32_t member;
  uint32_t cycle;
} KalDrawStream;

/* `chunks` chunks of 64 from chunk `first` on; every kernel gives the same bits. */
typedef struct {
  const char *name;
  void (*bits)(const KalDrawStream *stream, uint64_t first, size_t chunks, uint32_t *words);
  void (*normal)(const KalDrawStream *stream, uint64_t first, size_t chunks, float *z);
} KalDrawKernels;

/* Kernels number `which` (0: plain C, the others for wider vectors), NULL where this processor or compiler has them not. */
#define KAL_DRAW_KERNELS 3
PETSC_EXTERN const KalDrawKernels *KalDrawGetKernels(int which);

#endif
