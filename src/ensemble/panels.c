/* The kernels of panels.h, once for each kind of vector. */
#include <ensemble/panels.h>

#include <string.h>

#if defined(__GNUC__) && defined(__x86_64__)
#define KAL_WIDE 1
#include <immintrin.h>
#endif

/*
  H vectors of A times W columns of B, all of C in registers; what of A is wanted soon, and where C goes, is
  fetched ahead.
*/
#define PRODUCT(name, isa, real, vector, lanes, H, W, zero, load, spread, madd, store) \
  __attribute__((target(isa))) static void name(PetscInt k, const real *a, const real *b, PetscInt step, PetscBool add, real *c, size_t ld) \
  { \
    vector sum[W][H]; \
\
    _Pragma("GCC unroll 12") for (int j = 0; j < W; j++) \
    { \
      _Pragma("GCC unroll 4") for (int i = 0; i < H; i++) sum[j][i] = add ? load(c + (size_t)j * ld + i * lanes) : zero(); \
    } \
    _Pragma("GCC unroll 12") for (int j = 0; j < W; j++) \
    { \
      _Pragma("GCC unroll 4") for (int i = 0; i < H; i++) __builtin_prefetch(c + (size_t)j * ld + i * lanes, 1); \
    } \
    for (PetscInt p = 0; p < k; p++, a += H * lanes, b += step) { \
      vector x[H]; \
\
      _Pragma("GCC unroll 4") for (int i = 0; i < H; i++) \
      { \
        x[i] = load(a + i * lanes); \
        _mm_prefetch((const char *)(a + (8 * H + i) * lanes), _MM_HINT_T0); \
      } \
      _Pragma("GCC unroll 12") for (int j = 0; j < W; j++) \
      { \
        const vector y                                                = spread(b[j]); \
        _Pragma("GCC unroll 4") for (int i = 0; i < H; i++) sum[j][i] = madd(x[i], y, sum[j][i]); \
      } \
    } \
    _Pragma("GCC unroll 12") for (int j = 0; j < W; j++) \
    { \
      _Pragma("GCC unroll 4") for (int i = 0; i < H; i++) store(c + (size_t)j * ld + i * lanes, sum[j][i]); \
    } \
  }

/* For any processor: vectors of 16 bytes as compilers have them, each product rounded before it is added. */
#define PLAIN(name, real, lanes) \
  typedef real name##Vector __attribute__((vector_size(16))); \
  static void  name(PetscInt k, const real *a, const real *b, PetscInt step, PetscBool add, real *c, size_t ld) \
  { \
    name##Vector sum[4][2] = {{{0}}}; \
\
    for (int j = 0; add && j < 4; j++) memcpy(sum[j], c + (size_t)j * ld, sizeof sum[j]); \
    for (PetscInt p = 0; p < k; p++, a += 2 * lanes, b += step) { \
      name##Vector x[2]; \
\
      memcpy(x, a, sizeof x); \
      for (int j = 0; j < 4; j++) { \
        sum[j][0] += x[0] * b[j]; \
        sum[j][1] += x[1] * b[j]; \
      } \
    } \
    for (int j = 0; j < 4; j++) memcpy(c + (size_t)j * ld, sum[j], sizeof sum[j]); \
  }
PLAIN(Plain, double, 2)
PLAIN(PlainSingle, float, 4)

#if defined(KAL_WIDE)
#define AVX2(W) \
  PRODUCT(Avx2_##W, "avx2,fma", double, __m256d, 4, 3, W, _mm256_setzero_pd, _mm256_loadu_pd, _mm256_set1_pd, _mm256_fmadd_pd, _mm256_storeu_pd) \
  PRODUCT(Avx2_##W##Single, "avx2,fma", float, __m256, 8, 3, W, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_storeu_ps)
AVX2(4)
#define AVX512(W) \
  PRODUCT(Avx512_##W, "avx512f", double, __m512d, 8, 2, W, _mm512_setzero_pd, _mm512_loadu_pd, _mm512_set1_pd, _mm512_fmadd_pd, _mm512_storeu_pd) \
  PRODUCT(Avx512_##W##Single, "avx512f", float, __m512, 16, 2, W, _mm512_setzero_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_fmadd_ps, _mm512_storeu_ps)
AVX512(8)
AVX512(10)
AVX512(12)
#endif

/* Columns `begin` to `end`, numbers `first` to `last` of them, one by one. */
#define PACK_PLAIN(name, real, to) \
  static void name##Rest(PetscInt begin, PetscInt end, PetscInt first, PetscInt last, const real *x, size_t ld, to *packed, PetscInt pitch) \
  { \
    for (PetscInt i = begin; i < end; i++) { \
      for (PetscInt k = first; k < last; k++) packed[(size_t)k * (size_t)pitch + (size_t)i] = (to)x[(size_t)i * ld + (size_t)k]; \
    } \
  } \
  static void name(PetscInt columns, PetscInt numbers, const real *x, size_t ld, to *packed, PetscInt pitch) \
  { \
    name##Rest(0, columns, 0, numbers, x, ld, packed, pitch); \
  }
PACK_PLAIN(Pack, double, double)
PACK_PLAIN(PackRounded, double, float)
PACK_PLAIN(PackSingle, float, float)

#if defined(KAL_WIDE)
/* Eight rows of eight numbers become eight columns. */
__attribute__((target("avx"))) static inline void Transpose(__m256 r[8])
{
  __m256 t[8], u[8];

  for (int i = 0; i < 4; i++) {
    t[2 * i]     = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
  }
  for (int h = 0; h < 2; h++) {
    u[4 * h]     = _mm256_shuffle_ps(t[4 * h], t[4 * h + 2], 0x44);
    u[4 * h + 1] = _mm256_shuffle_ps(t[4 * h], t[4 * h + 2], 0xee);
    u[4 * h + 2] = _mm256_shuffle_ps(t[4 * h + 1], t[4 * h + 3], 0x44);
    u[4 * h + 3] = _mm256_shuffle_ps(t[4 * h + 1], t[4 * h + 3], 0xee);
  }
  for (int i = 0; i < 4; i++) {
    r[i]     = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
    r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
  }
}

__attribute__((target("avx"))) static inline __m256 Load(const double *x)
{
  return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(_mm256_loadu_pd(x))), _mm256_cvtpd_ps(_mm256_loadu_pd(x + 4)), 1);
}

__attribute__((target("avx"))) static inline __m256 LoadSingle(const float *x)
{
  return _mm256_loadu_ps(x);
}

#define PACK_WIDE(name, plain, real, load) \
  __attribute__((target("avx"))) static void name(PetscInt columns, PetscInt numbers, const real *x, size_t ld, float *packed, PetscInt pitch) \
  { \
    const PetscInt eights = columns / 8 * 8, whole = numbers / 8 * 8; \
\
    for (PetscInt i = 0; i < eights; i += 8) { \
      for (PetscInt k = 0; k < whole; k += 8) { \
        __m256 r[8]; \
\
        for (int c = 0; c < 8; c++) r[c] = load(x + (size_t)(i + c) * ld + (size_t)k); \
        Transpose(r); \
        for (int c = 0; c < 8; c++) _mm256_storeu_ps(packed + (size_t)(k + c) * (size_t)pitch + (size_t)i, r[c]); \
      } \
    } \
    plain##Rest(0, eights, whole, numbers, x, ld, packed, pitch); \
    plain##Rest(eights, columns, 0, numbers, x, ld, packed, pitch); \
  }
PACK_WIDE(PackWideRounded, PackRounded, double, Load)
PACK_WIDE(PackWideSingle, PackSingle, float, LoadSingle)

__attribute__((target("avx"))) static void PackWide(PetscInt columns, PetscInt numbers, const double *x, size_t ld, double *packed, PetscInt pitch)
{
  const PetscInt fours = columns / 4 * 4, whole = numbers / 4 * 4;

  for (PetscInt i = 0; i < fours; i += 4) {
    for (PetscInt k = 0; k < whole; k += 4) {
      __m256d r[4], t[4];

      for (int c = 0; c < 4; c++) r[c] = _mm256_loadu_pd(x + (size_t)(i + c) * ld + (size_t)k);
      for (int c = 0; c < 4; c += 2) {
        t[c]     = _mm256_unpacklo_pd(r[c], r[c + 1]);
        t[c + 1] = _mm256_unpackhi_pd(r[c], r[c + 1]);
      }
      for (int c = 0; c < 2; c++) {
        _mm256_storeu_pd(packed + (size_t)(k + c) * (size_t)pitch + (size_t)i, _mm256_permute2f128_pd(t[c], t[c + 2], 0x20));
        _mm256_storeu_pd(packed + (size_t)(k + 2 + c) * (size_t)pitch + (size_t)i, _mm256_permute2f128_pd(t[c], t[c + 2], 0x31));
      }
    }
  }
  PackRest(0, fours, whole, numbers, x, ld, packed, pitch);
  PackRest(fours, columns, 0, numbers, x, ld, packed, pitch);
}
#endif

#define NONE \
  { \
    0, NULL, NULL \
  }
static const KalPanels panels[] = {
    {"unfused", 4,  8,  {{4, Plain, PlainSingle}, NONE, NONE},                                                               Pack,     PackRounded,     PackSingle    },
#if defined(KAL_WIDE)
    {"fused",   12, 24, {{4, Avx2_4, Avx2_4Single}, NONE, NONE},                                                             PackWide, PackWideRounded, PackWideSingle},
    {"fused",   16, 32, {{12, Avx512_12, Avx512_12Single}, {10, Avx512_10, Avx512_10Single}, {8, Avx512_8, Avx512_8Single}}, PackWide, PackWideRounded, PackWideSingle},
#endif
};

/*
  KalPanelsOf - The kernels for one kind of vector, or NULL where the processor has it not
*/
const KalPanels *KalPanelsOf(int which)
{
  if (which == 0) return &panels[0];
#if defined(KAL_WIDE)
  if (which == 1 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return &panels[1];
  if (which == 2 && __builtin_cpu_supports("avx512f")) return &panels[2];
#endif
  return NULL;
}

/*
  KalPanelsGet - The widest kernels that the processor has
*/
const KalPanels *KalPanelsGet(void)
{
  static const KalPanels *widest = NULL;

  for (int which = 2; !widest; which--) widest = KalPanelsOf(which);
  return widest;
}

/*
  KalPanelsChoose - The width of panels that leaves the least of `columns` columns empty, the widest of those
*/
const KalPanelWidth *KalPanelsChoose(const KalPanels *kernels, PetscInt columns)
{
  const KalPanelWidth *best = &kernels->width[0];

  for (int w = 1; w < KAL_PANEL_WIDTHS && kernels->width[w].width; w++) {
    const KalPanelWidth *other = &kernels->width[w];

    if (KalPanelCount(columns, other->width) * other->width < KalPanelCount(columns, best->width) * best->width) best = other;
  }
  return best;
}
