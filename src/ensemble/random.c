/* Counter-based draws: any number of any stream, from its key and index alone. The layout is in randomimpl.h. */
#include <ensemble/randomimpl.h>

#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <Random123/philox.h>
#pragma GCC diagnostic pop

#define LARGEST_WORD     ((PetscInt64)0xffffffff)
#define LARGEST_INDEX    ((PetscInt64)0x7fffffffffffffff)
#define LARGEST_PERMUTED ((PetscInt64)1 << 62)
#define PERMUTE_ROUNDS   10

/* Chunks drawn at once where the result is not what the kernel writes; the buffer stays in the first cache. */
#define BUFFER_CHUNKS 32

/* The widest kernels that this processor has. */
static const KalDrawKernels *Kernels(void)
{
  for (int i = KAL_DRAW_KERNELS - 1; i > 0; i--) {
    const KalDrawKernels *kernels = KalDrawGetKernels(i);
    if (kernels) return kernels;
  }
  return KalDrawGetKernels(0);
}

static PetscErrorCode StreamOf(KalKey key, KalDrawStream *stream)
{
  PetscFunctionBeginUser;
  PetscCheck(key.seed == (PetscInt)(int32_t)key.seed, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Seed %" PetscInt_FMT " does not fit a signed 32-bit integer", key.seed);
  PetscCheck(key.member >= 0 && key.member <= LARGEST_WORD, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Draws for member %lld: members are counted from 0 to 4294967295", (long long)key.member);
  PetscCheck(key.cycle >= 0 && key.cycle <= LARGEST_WORD, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Draws for cycle %lld: cycles are counted from 0 to 4294967295", (long long)key.cycle);
  stream->key[0] = (uint32_t)key.seed;
  stream->key[1] = (uint32_t)key.purpose;
  stream->member = (uint32_t)key.member;
  stream->cycle  = (uint32_t)key.cycle;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckRange(PetscInt64 first, PetscInt64 count, const void *result)
{
  PetscFunctionBeginUser;
  PetscCheck(first >= 0 && count >= 0 && first <= LARGEST_INDEX - count, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%lld draws from index %lld on: neither may be negative, and the last index must be below 2^63", (long long)count, (long long)first);
  PetscCheck(result || count == 0, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "No array given for %lld draws", (long long)count);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* How many of the `left` numbers from index `at` on lie in the next `chunks` chunks, and where in the first of them they start. */
static size_t Piece(PetscInt64 at, PetscInt64 left, PetscInt64 chunks, size_t *start)
{
  *start = (size_t)(at % KAL_DRAW_CHUNK);
  return (size_t)PetscMin(left, chunks * KAL_DRAW_CHUNK - (PetscInt64)*start);
}

static size_t ChunksOf(size_t numbers)
{
  return (numbers + KAL_DRAW_CHUNK - 1) / KAL_DRAW_CHUNK;
}

/*@
   KalDrawBits - Draws 32-bit words, uniform on 0..2^32-1

   Not Collective

   Input Parameters:
+  key - which stream: seed, purpose, cycle and member
.  first - index of the first word, from 0
-  count - how many words

   Output Parameter:
.  words - `count` words; word i is the same in whatever range it is drawn

   Errors: PETSC_ERR_ARG_OUTOFRANGE for a member, cycle or index that has no counter.

   Source: Philox4x32-10 of Salmon, Moraes, Dror and Shaw, Parallel random numbers: as easy as 1, 2, 3, SC11.
@*/
PetscErrorCode KalDrawBits(KalKey key, PetscInt64 first, PetscInt64 count, unsigned int *words)
{
  const KalDrawKernels *kernels = Kernels();
  KalDrawStream         stream;
  uint32_t              buffer[BUFFER_CHUNKS * KAL_DRAW_CHUNK];
  size_t                start, n;

  PetscFunctionBeginUser;
  PetscCall(CheckRange(first, count, words));
  PetscCall(StreamOf(key, &stream));
  for (PetscInt64 done = 0; done < count; done += (PetscInt64)n) {
    n = Piece(first + done, count - done, BUFFER_CHUNKS, &start);
    kernels->bits(&stream, (uint64_t)(first + done) / KAL_DRAW_CHUNK, ChunksOf(start + n), buffer);
    for (size_t i = 0; i < n; i++) words[(size_t)done + i] = buffer[start + i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalDrawUniform - Draws real numbers, uniform on (0, 1)

   Not Collective

   Input Parameters:
+  key - which stream: seed, purpose, cycle and member
.  first - index of the first number, from 0
-  count - how many numbers

   Output Parameter:
.  u - `count` numbers (w + 1/2) 2^-32, w the word of the same index of KalDrawBits(); neither 0 nor 1 occurs

   Errors: as KalDrawBits()
@*/
PetscErrorCode KalDrawUniform(KalKey key, PetscInt64 first, PetscInt64 count, PetscReal *u)
{
  const KalDrawKernels *kernels = Kernels();
  KalDrawStream         stream;
  uint32_t              buffer[BUFFER_CHUNKS * KAL_DRAW_CHUNK];
  size_t                start, n;

  PetscFunctionBeginUser;
  PetscCall(CheckRange(first, count, u));
  PetscCall(StreamOf(key, &stream));
  for (PetscInt64 done = 0; done < count; done += (PetscInt64)n) {
    n = Piece(first + done, count - done, BUFFER_CHUNKS, &start);
    kernels->bits(&stream, (uint64_t)(first + done) / KAL_DRAW_CHUNK, ChunksOf(start + n), buffer);
    for (size_t i = 0; i < n; i++) u[(size_t)done + i] = ((double)buffer[start + i] + 0.5) * 0x1p-32;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalDrawNormal - Draws standard normal numbers

   Not Collective

   Input Parameters:
+  key - which stream: seed, purpose, cycle and member
.  first - index of the first number, from 0
-  count - how many numbers

   Output Parameter:
.  z - `count` numbers, those of KalDrawNormalSingle() as doubles

   Errors: as KalDrawBits()
@*/
PetscErrorCode KalDrawNormal(KalKey key, PetscInt64 first, PetscInt64 count, PetscReal *z)
{
  const KalDrawKernels *kernels = Kernels();
  KalDrawStream         stream;
  float                 buffer[BUFFER_CHUNKS * KAL_DRAW_CHUNK];
  size_t                start, n;

  PetscFunctionBeginUser;
  PetscCall(CheckRange(first, count, z));
  PetscCall(StreamOf(key, &stream));
  for (PetscInt64 done = 0; done < count; done += (PetscInt64)n) {
    n = Piece(first + done, count - done, BUFFER_CHUNKS, &start);
    kernels->normal(&stream, (uint64_t)(first + done) / KAL_DRAW_CHUNK, ChunksOf(start + n), buffer);
    for (size_t i = 0; i < n; i++) z[(size_t)done + i] = (double)buffer[start + i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalDrawNormalSingle - Draws standard normal numbers in single precision

   Not Collective

   Input Parameters:
+  key - which stream: seed, purpose, cycle and member
.  first - index of the first number, from 0
-  count - how many numbers

   Output Parameter:
.  z - `count` numbers; the largest that can occur is 6.76

   Notes:
   The bits are the same on every processor with IEEE arithmetic. A number differs from the exact
   Box-Muller transform of its two words by less than 3e-7 of itself.

   Errors: as KalDrawBits()

   Source: Box and Muller, A note on the generation of random normal deviates, Ann. Math. Statist. 29 (1958).
@*/
PetscErrorCode KalDrawNormalSingle(KalKey key, PetscInt64 first, PetscInt64 count, float *z)
{
  const KalDrawKernels *kernels = Kernels();
  KalDrawStream         stream;
  float                 buffer[KAL_DRAW_CHUNK];
  size_t                start, n;

  PetscFunctionBeginUser;
  PetscCall(CheckRange(first, count, z));
  PetscCall(StreamOf(key, &stream));
  for (PetscInt64 done = 0; done < count; done += (PetscInt64)n) {
    const PetscInt64 at = first + done, left = count - done;
    const uint64_t   chunk = (uint64_t)at / KAL_DRAW_CHUNK;

    if (at % KAL_DRAW_CHUNK == 0 && left >= KAL_DRAW_CHUNK) {
      n = (size_t)(left / KAL_DRAW_CHUNK) * KAL_DRAW_CHUNK;
      kernels->normal(&stream, chunk, n / KAL_DRAW_CHUNK, z + done);
    } else {
      n = Piece(at, left, 1, &start);
      kernels->normal(&stream, chunk, 1, buffer);
      memcpy(z + done, buffer + start, n * sizeof *z);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One pass of the Feistel network over 2*bits bits; round r maps the right half h by word 0 of call {h, 2^31 + r}. */
static uint64_t Feistel(const KalDrawStream *stream, int bits, uint64_t x)
{
  const philox4x32_key_t key = {
      {stream->key[0], stream->key[1]}
  };
  const uint32_t mask = (uint32_t)(((uint64_t)1 << bits) - 1);
  uint32_t       left = (uint32_t)(x >> bits), right = (uint32_t)x & mask;

  for (uint32_t round = 0; round < PERMUTE_ROUNDS; round++) {
    const philox4x32_ctr_t counter = {
        {right, 0x80000000u | round, stream->member, stream->cycle}
    };
    const uint32_t next = left ^ (philox4x32(counter, key).v[0] & mask);

    left  = right;
    right = next;
  }
  return (uint64_t)left << bits | right;
}

/*@
   KalDrawPermuted - One value of a random permutation of 0..size-1, without storing the permutation

   Not Collective

   Input Parameters:
+  key - which permutation: seed, purpose, cycle and member
.  size - how many values are permuted, from 1 to 2^62
-  index - from 0 to size-1

   Output Parameter:
.  permuted - where the permutation sends `index`; different indices go to different values

   Notes:
   A balanced Feistel network of 10 rounds on the smallest even number of bits that holds size-1; a
   value beyond the size is sent through it again until it falls inside (fewer than 4 times on average).

   Errors: PETSC_ERR_ARG_OUTOFRANGE for an index outside 0..size-1, or as KalDrawBits()

   Source: Black and Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002, section 3 (cycle walking).
@*/
PetscErrorCode KalDrawPermuted(KalKey key, PetscInt64 size, PetscInt64 index, PetscInt64 *permuted)
{
  KalDrawStream stream;
  int           bits = 1;
  uint64_t      x;

  PetscFunctionBeginUser;
  PetscCheck(size >= 1 && size <= LARGEST_PERMUTED, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "A permutation of %lld values: sizes run from 1 to 2^62", (long long)size);
  PetscCheck(index >= 0 && index < size, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Index %lld in a permutation of %lld values: indices run from 0 to %lld", (long long)index, (long long)size, (long long)(size - 1));
  PetscCall(StreamOf(key, &stream));
  while (((uint64_t)(size - 1) >> (2 * bits)) != 0) bits++;
  x = (uint64_t)index;
  do x = Feistel(&stream, bits, x);
  while (x >= (uint64_t)size);
  *permuted = (PetscInt64)x;
  PetscFunctionReturn(PETSC_SUCCESS);
}
