/*
  Philox4x32-10 and Box-Muller on chunks of 64 numbers, for 128, 256 and 512 bit vectors.

  The bits are the same for every kernel, since all arithmetic is integer or is a single IEEE operation
  (+ - * sqrt) a line of the loop: multiply-adds must not be contracted. The pragmas see to that.
*/
#include <ensemble/randomimpl.h>

#include <math.h>
#include <string.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("O3", "fp-contract=off", "no-math-errno", "no-trapping-math")
#endif

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <Random123/philox.h>
#pragma GCC diagnostic pop

#if defined(__GNUC__) && defined(__x86_64__)
#define KAL_WIDE 1
#include <immintrin.h>
#if defined(__clang__)
#define KAL_AVX512 "avx512f"
#else
#define KAL_AVX512 "avx512f,prefer-vector-width=512"
#endif
#endif
#if defined(__GNUC__)
#define KAL_INLINE static inline __attribute__((always_inline))
#else
#define KAL_INLINE static inline
#endif

typedef uint32_t Words[4][KAL_DRAW_CALLS];

/* The 16 calls of a chunk, in the order of Random123's philox4x32round and bumpkey. */
static void PhiloxPlain(const KalDrawStream *s, uint64_t chunk, Words w)
{
  const uint64_t call = chunk * KAL_DRAW_CALLS;

  for (int k = 0; k < KAL_DRAW_CALLS; k++) {
    uint32_t a = (uint32_t)call + (uint32_t)k, b = (uint32_t)(call >> 32), c = s->member, d = s->cycle, k0 = s->key[0], k1 = s->key[1];

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC unroll 10 /* of the rounds, so that the calls become the vector loop */
#endif
    for (int round = 0; round < philox4x32_rounds; round++) {
      const uint64_t p0 = (uint64_t)PHILOX_M4x32_0 * a, p1 = (uint64_t)PHILOX_M4x32_1 * c;

      a = (uint32_t)(p1 >> 32) ^ b ^ k0;
      b = (uint32_t)p1;
      c = (uint32_t)(p0 >> 32) ^ d ^ k1;
      d = (uint32_t)p0;
      k0 += PHILOX_W32_0;
      k1 += PHILOX_W32_1;
    }
    w[0][k] = a;
    w[1][k] = b;
    w[2][k] = c;
    w[3][k] = d;
  }
}

/*
  The same with a call a 64-bit lane, for which vectors have a widening multiply of the low halves that
  compilers do not find on their own. What stands in the high halves does not matter.
*/
#define PHILOX_WIDE(name, isa, bytes, register_type, widemul) \
  typedef uint64_t                             name##Lanes __attribute__((vector_size(bytes))); \
  typedef uint32_t                             name##Half __attribute__((vector_size(bytes / 2))); \
  __attribute__((target(isa))) KAL_INLINE void name(const KalDrawStream *s, uint64_t chunk, Words w) \
  { \
    enum { \
      LANES = bytes / 8, \
      PARTS = KAL_DRAW_CALLS / LANES \
    }; \
    const uint64_t        call = chunk * KAL_DRAW_CALLS; \
    const name##Lanes     zero = {0}, m0 = zero + PHILOX_M4x32_0, m1 = zero + PHILOX_M4x32_1; \
    name##Lanes           a[PARTS], b[PARTS], c[PARTS], d[PARTS]; \
    uint32_t              k0 = s->key[0], k1 = s->key[1]; \
    static const uint64_t iota[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; \
\
    for (int i = 0; i < PARTS; i++) { \
      memcpy(&a[i], iota + i * LANES, sizeof a[i]); \
      a[i] += (uint64_t)(uint32_t)call; \
      b[i] = zero + (call >> 32); \
      c[i] = zero + s->member; \
      d[i] = zero + s->cycle; \
    } \
    for (int round = 0; round < philox4x32_rounds; round++) { \
      const name##Lanes v0 = zero + k0, v1 = zero + k1; \
      for (int i = 0; i < PARTS; i++) { \
        const name##Lanes p0 = (name##Lanes)widemul((register_type)m0, (register_type)a[i]), p1 = (name##Lanes)widemul((register_type)m1, (register_type)c[i]); \
        a[i] = (p1 >> 32) ^ b[i] ^ v0; \
        b[i] = p1; \
        c[i] = (p0 >> 32) ^ d[i] ^ v1; \
        d[i] = p0; \
      } \
      k0 += PHILOX_W32_0; \
      k1 += PHILOX_W32_1; \
    } \
    for (int i = 0; i < PARTS; i++) { \
      const name##Half a2 = __builtin_convertvector(a[i], name##Half), b2 = __builtin_convertvector(b[i], name##Half); \
      const name##Half c2 = __builtin_convertvector(c[i], name##Half), d2 = __builtin_convertvector(d[i], name##Half); \
      memcpy(w[0] + i * LANES, &a2, sizeof a2); \
      memcpy(w[1] + i * LANES, &b2, sizeof b2); \
      memcpy(w[2] + i * LANES, &c2, sizeof c2); \
      memcpy(w[3] + i * LANES, &d2, sizeof d2); \
    } \
  }

KAL_INLINE float FloatOf(int32_t bits)
{
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

KAL_INLINE int32_t BitsOf(float x)
{
  int32_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}

/*
  Box-Muller on 16 pairs of words: r = sqrt(-2 log u), u = (v + 1/2) 2^-32, angle = 2 pi w 2^-32.

  The radius. With a = v for u < 1/2 and a = ~v above, x = a + 1/2 is 2^32 times the distance of u to
  its nearer end, 0 or 1, with full relative resolution at both. Below 1/2, u = m 2^-e with m in
  [1/2, 1), so -2 log u = e 2 log 2 - 2 log(1 - q), q = 1 - m; above, q = 1 - u and e = 0. Both terms
  are positive, and P is the minimax polynomial of -2 log(1 - q)/q on [0, 1/2] (relative error 2.3e-8).

  The angle. Its nearest multiple of a quarter turn is taken off in integers; what is left, t in
  [-2^31, 2^31), is theta = t pi/2 2^-32 in [-pi/4, pi/4), where minimax polynomials give sine and cosine.
*/
KAL_INLINE void SquaredRadii(const uint32_t *restrict v, float *restrict r2)
{
  for (int k = 0; k < KAL_DRAW_CALLS; k++) {
    const int32_t upper = (int32_t)v[k] >> 31; /* all ones where u >= 1/2 */
    const float   x     = (float)((int32_t)v[k] ^ upper) + 0.5f;
    const int32_t xbits = BitsOf(x);
    const float   m     = FloatOf((xbits & 0x007fffff) | 0x3f000000);
    const float   e     = (float)((158 - (xbits >> 23)) & ~upper);
    const float   q     = upper ? x * 0x1p-32f : 1.0f - m;
    float         p     = 2.8822159f;

    p     = p * q - 3.39162409f;
    p     = p * q + 2.51533972f;
    p     = p * q - 0.407077975f;
    p     = p * q + 0.539225528f;
    p     = p * q + 0.485610154f;
    p     = p * q + 0.66740123f;
    p     = p * q + 0.999985705f;
    p     = p * q + 2.00000005f;
    r2[k] = e * 1.38629436f + p * q;
  }
}

KAL_INLINE void Turn(const float *restrict r, const uint32_t *restrict w, float *restrict zc, float *restrict zs)
{
  for (int k = 0; k < KAL_DRAW_CALLS; k++) {
    const uint32_t turn = w[k] + 0x20000000u; /* bits 31 and 30: the quarter turn nearest to the angle */
    const float    th   = (float)(int32_t)(w[k] << 2) * (float)(1.57079632679489662 * 0x1p-32);
    const float    t2   = th * th;
    float          s = -0.000195319974f, c = 2.44117111e-05f;

    s                 = s * t2 + 0.00833231194f;
    s                 = s * t2 - 0.166666578f;
    s                 = s * t2 * th + th;
    c                 = c * t2 - 0.00138870287f;
    c                 = c * t2 + 0.0416666335f;
    c                 = c * t2 - 0.5f;
    c                 = c * t2 + 1.0f;
    const float    rs = r[k] * s, rc = r[k] * c;
    const int      odd   = (turn & 0x40000000u) != 0;
    const uint32_t signc = (turn ^ (turn << 1)) & 0x80000000u, signs = turn & 0x80000000u;
    zc[k] = FloatOf((int32_t)((uint32_t)BitsOf(odd ? rs : rc) ^ signc));
    zs[k] = FloatOf((int32_t)((uint32_t)BitsOf(odd ? rc : rs) ^ signs));
  }
}

/* Square roots of 16 numbers; as calls of sqrtf() they would keep errno and with it scalar code. */
#if defined(KAL_WIDE)
#define ROOTS(name, isa, floats, load, root, store) \
  __attribute__((target(isa))) KAL_INLINE void name(float x[KAL_DRAW_CALLS]) \
  { \
    for (int k = 0; k < KAL_DRAW_CALLS; k += floats) store(x + k, root(load(x + k))); \
  }
ROOTS(Roots128, "sse2", 4, _mm_loadu_ps, _mm_sqrt_ps, _mm_storeu_ps)
ROOTS(Roots256, "avx2", 8, _mm256_loadu_ps, _mm256_sqrt_ps, _mm256_storeu_ps)
ROOTS(Roots512, KAL_AVX512, 16, _mm512_loadu_ps, _mm512_sqrt_ps, _mm512_storeu_ps)
#else
static void Roots128(float x[KAL_DRAW_CALLS])
{
  for (int k = 0; k < KAL_DRAW_CALLS; k++) x[k] = sqrtf(x[k]);
}
#endif

#define KERNELS(suffix, attributes, philox, roots) \
  attributes static void Bits##suffix(const KalDrawStream *stream, uint64_t first, size_t chunks, uint32_t *words) \
  { \
    for (size_t i = 0; i < chunks; i++) { \
      Words w; \
      philox(stream, first + i, w); \
      memcpy(words + i * KAL_DRAW_CHUNK, w, sizeof w); \
    } \
  } \
  attributes static void Normal##suffix(const KalDrawStream *stream, uint64_t first, size_t chunks, float *z) \
  { \
    for (size_t i = 0; i < chunks; i++, z += KAL_DRAW_CHUNK) { \
      Words w; \
      float r[2][KAL_DRAW_CALLS]; \
      philox(stream, first + i, w); \
      for (int h = 0; h < 2; h++) { \
        SquaredRadii(w[2 * h], r[h]); \
        roots(r[h]); \
        Turn(r[h], w[2 * h + 1], z + 2 * h * KAL_DRAW_CALLS, z + (2 * h + 1) * KAL_DRAW_CALLS); \
      } \
    } \
  }

KERNELS(Plain, , PhiloxPlain, Roots128)

#if defined(KAL_WIDE)
PHILOX_WIDE(Philox256, "avx2", 32, __m256i, _mm256_mul_epu32)
PHILOX_WIDE(Philox512, KAL_AVX512, 64, __m512i, _mm512_mul_epu32)
KERNELS(256, __attribute__((target("avx2"))), Philox256, Roots256)
KERNELS(512, __attribute__((target(KAL_AVX512))), Philox512, Roots512)
#endif

const KalDrawKernels *KalDrawGetKernels(int which)
{
  static const KalDrawKernels kernels[] = {
    {"plain",   BitsPlain, NormalPlain},
#if defined(KAL_WIDE)
    {"avx2",    Bits256,   Normal256  },
    {"avx512f", Bits512,   Normal512  },
#endif
  };

  if (which == 0) return &kernels[0];
#if defined(KAL_WIDE)
  if (which == 1 && __builtin_cpu_supports("avx2")) return &kernels[1];
  if (which == 2 && __builtin_cpu_supports("avx512f")) return &kernels[2];
#endif
  return NULL;
}
