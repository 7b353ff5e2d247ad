/* ranks: 1 */
#include "kaltest.h"

#include <ensemble/randomimpl.h>

#include <stdlib.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wunused-function"
#include <Random123/philox.h>
#pragma GCC diagnostic pop

#define MANY (1 << 21)

static KalKey Key(PetscInt seed, KalDrawPurpose purpose, PetscInt64 cycle, PetscInt64 member)
{
  KalKey key;
  key.seed    = seed;
  key.purpose = purpose;
  key.cycle   = cycle;
  key.member  = member;
  return key;
}

static void *Allocate(size_t bytes)
{
  void *p = malloc(bytes);
  assert_non_null(p);
  return p;
}

/* Word number `index` of a key by Random123 itself, in the layout of randomimpl.h. */
static uint32_t Oracle(KalKey key, PetscInt64 index)
{
  const uint64_t         call    = (uint64_t)index / 64 * 16 + (uint64_t)index % 16;
  const philox4x32_ctr_t counter = {
      {(uint32_t)call, (uint32_t)(call >> 32), (uint32_t)key.member, (uint32_t)key.cycle}
  };
  const philox4x32_key_t k = {
      {(uint32_t)key.seed, (uint32_t)key.purpose}
  };

  return philox4x32(counter, k).v[index % 64 / 16];
}

/* The three vectors that Random123 publishes (tests/kat_vectors, philox4x32 10): counter, key, result. */
static void KnownAnswers(void **state)
{
  static const uint32_t vectors[3][10] = {
      {0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x00000000, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
      {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
      {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}
  };
  unsigned int words[64];

  (void)state;
  for (int v = 0; v < 3; v++) {
    philox4x32_ctr_t counter, result;
    philox4x32_key_t key;
    for (int i = 0; i < 4; i++) counter.v[i] = vectors[v][i];
    for (int i = 0; i < 2; i++) key.v[i] = vectors[v][4 + i];
    result = philox4x32(counter, key);
    for (int i = 0; i < 4; i++) assert_int_equal(result.v[i], vectors[v][6 + i]);

    /* The same vector through the kernels: its call is one of the 16 of a chunk. */
    for (int which = 0; which < KAL_DRAW_KERNELS; which++) {
      const KalDrawKernels *kernels = KalDrawGetKernels(which);
      const KalDrawStream   stream  = {
             {vectors[v][4], vectors[v][5]},
             vectors[v][2],
             vectors[v][3]
      };
      const uint64_t call = (uint64_t)vectors[v][1] << 32 | vectors[v][0];
      uint32_t       chunk[64];
      if (!kernels) continue;
      kernels->bits(&stream, call / 16, 1, chunk);
      for (int l = 0; l < 4; l++) assert_int_equal(chunk[16 * l + (int)(call % 16)], vectors[v][6 + l]);
    }
  }
  KalCall(KalDrawBits(Key(0, (KalDrawPurpose)0, 0, 0), 0, 64, words));
  for (int l = 0; l < 4; l++) assert_int_equal(words[16 * l], vectors[0][6 + l]);
}

static void BitsAgreeWithRandom123(void **state)
{
  const PetscInt64 starts[] = {0, 1, 77, (PetscInt64)1 << 34, ((PetscInt64)1 << 34) - 70, ((PetscInt64)1 << 62) + 5, 0x7fffffffffffffff - 300};
  const KalKey     keys[]   = {Key(1, KAL_DRAW_PRIOR, 0, 0), Key(-5, KAL_DRAW_REDRAW, 0xffffffff, 12), Key(0x7fffffff, KAL_DRAW_TEST, 3, 0xffffffff)};
  unsigned int     words[300];

  (void)state;
  for (size_t k = 0; k < sizeof keys / sizeof keys[0]; k++) {
    for (size_t s = 0; s < sizeof starts / sizeof starts[0]; s++) {
      KalCall(KalDrawBits(keys[k], starts[s], 300, words));
      for (int i = 0; i < 300; i++) assert_int_equal(words[i], Oracle(keys[k], starts[s] + i));
    }
  }
}

static void SubrangesAreTheSame(void **state)
{
  const KalKey  key    = Key(42, KAL_DRAW_TEST, 7, 9);
  const int     length = 5000;
  unsigned int *w = Allocate(5000 * sizeof *w), *wp = Allocate(5000 * sizeof *wp);
  double       *u = Allocate(5000 * sizeof *u), *z = Allocate(5000 * sizeof *z), *p = Allocate(5000 * sizeof *p);
  float        *f = Allocate(5000 * sizeof *f), *fp = Allocate(5000 * sizeof *fp);
  const int     counts[] = {0, 1, 2, 15, 16, 17, 63, 64, 65, 128, 200, 2049, 4200};

  (void)state;
  KalCall(KalDrawBits(key, 0, length, w));
  KalCall(KalDrawUniform(key, 0, length, u));
  KalCall(KalDrawNormal(key, 0, length, z));
  KalCall(KalDrawNormalSingle(key, 0, length, f));
  for (int i = 0; i < length; i++) {
    assert_true(u[i] == ((double)w[i] + 0.5) / 4294967296.0);
    assert_true(z[i] == (double)f[i]);
  }
  for (int first = 0; first < 140; first++) {
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
      const int n = counts[c];
      wp[n]       = 12345u; /* one past the range stays */
      fp[n]       = 12345.0f;
      p[n]        = 12345.0;
      assert_int_equal(KalDrawBits(key, first, n, wp), 0);
      assert_memory_equal(wp, w + first, (size_t)n * sizeof *w);
      assert_int_equal(KalDrawNormalSingle(key, first, n, fp), 0);
      assert_memory_equal(fp, f + first, (size_t)n * sizeof *f);
      assert_int_equal(KalDrawNormal(key, first, n, p), 0);
      assert_memory_equal(p, z + first, (size_t)n * sizeof *z);
      assert_int_equal(KalDrawUniform(key, first, n, p), 0);
      assert_memory_equal(p, u + first, (size_t)n * sizeof *u);
      assert_true(wp[n] == 12345u && fp[n] == 12345.0f && p[n] == 12345.0);
    }
  }
  free(w);
  free(wp);
  free(u);
  free(z);
  free(p);
  free(f);
  free(fp);
}

/* Every kernel that runs here against Box-Muller in double precision, and bit by bit against each other. */
static void KernelsAgree(void **state)
{
  const KalDrawStream stream = {
      {11, KAL_DRAW_TEST},
      5,
      6
  };
  const size_t chunks = 20000;
  uint32_t    *words = Allocate(chunks * 64 * sizeof *words), *other = Allocate(chunks * 64 * sizeof *other);
  float       *z = Allocate(chunks * 64 * sizeof *z), *zo = Allocate(chunks * 64 * sizeof *zo);
  double       worst = 0.0;

  (void)state;
  assert_non_null(KalDrawGetKernels(0));
  KalDrawGetKernels(0)->bits(&stream, 0xfffffff0u / 16 - 100, chunks, words);
  KalDrawGetKernels(0)->normal(&stream, 0xfffffff0u / 16 - 100, chunks, z);
  for (size_t i = 0; i < chunks * 64; i++) {
    const size_t pair = i / 32 * 32 + i % 16;
    const double r = sqrt(-2.0 * log(((double)words[pair] + 0.5) / 4294967296.0)), angle = 2.0 * PETSC_PI * (double)words[pair + 16] / 4294967296.0;
    const double exact = i % 32 < 16 ? r * cos(angle) : r * sin(angle);
    worst              = PetscMax(worst, fabs((double)z[i] - exact) / PetscMax(fabs(exact), 1e-9));
  }
  KalAssertNear(worst, 0.0, 3e-7);
  for (int which = 1; which < KAL_DRAW_KERNELS; which++) {
    const KalDrawKernels *kernels = KalDrawGetKernels(which);
    if (!kernels) continue;
    kernels->bits(&stream, 0xfffffff0u / 16 - 100, chunks, other);
    assert_memory_equal(other, words, chunks * 64 * sizeof *words);
    kernels->normal(&stream, 0xfffffff0u / 16 - 100, chunks, zo);
    assert_memory_equal(zo, z, chunks * 64 * sizeof *z);
  }
  free(words);
  free(other);
  free(z);
  free(zo);
}

/* Means of powers within 5 standard errors; counts in tails likewise. */
static void NormalMomentsAndTails(void **state)
{
  double      *z       = Allocate(MANY * sizeof *z);
  double       sums[5] = {0}, largest = 0.0;
  const double bounds[] = {0.5, 1.0, 2.0, 3.0, 4.0, 4.5};
  const double moment[] = {0.0, 0.0, 1.0, 0.0, 3.0}, variance[] = {0.0, 1.0, 2.0, 15.0, 96.0};

  (void)state;
  KalCall(KalDrawNormal(Key(2024, KAL_DRAW_TEST, 1, 1), 0, MANY, z));
  for (int i = 0; i < MANY; i++) {
    double power = 1.0;
    for (int k = 1; k <= 4; k++) sums[k] += (power *= z[i]);
    largest = PetscMax(largest, fabs(z[i]));
  }
  for (int k = 1; k <= 4; k++) KalAssertNear(sums[k] / MANY, moment[k], 5.0 * sqrt(variance[k] / MANY));
  assert_true(largest > 4.5 && largest < 6.77);
  for (size_t b = 0; b < sizeof bounds / sizeof bounds[0]; b++) {
    const double p     = 0.5 * erfc(bounds[b] / sqrt(2.0));
    int          above = 0, below = 0;
    for (int i = 0; i < MANY; i++) {
      above += z[i] > bounds[b];
      below += z[i] < -bounds[b];
    }
    KalAssertNear(above, p * MANY, 5.0 * sqrt(p * (1 - p) * MANY));
    KalAssertNear(below, p * MANY, 5.0 * sqrt(p * (1 - p) * MANY));
  }
  free(z);
}

static int Ascending(const void *a, const void *b)
{
  const double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

/* sqrt(n) times the largest distance between the empirical distribution of v and F(v), v sorted here. */
static double KolmogorovSmirnov(double *v, int n, PetscBool normal)
{
  double d = 0.0;

  qsort(v, (size_t)n, sizeof *v, Ascending);
  for (int i = 0; i < n; i++) {
    const double f = normal ? 0.5 * erfc(-v[i] / sqrt(2.0)) : v[i];
    d              = PetscMax(d, PetscMax((i + 1.0) / n - f, f - (double)i / n));
  }
  return d * sqrt((double)n);
}

/* The Kolmogorov distribution exceeds 2.0 once in 1500. */
static void Distributions(void **state)
{
  const int n = 1 << 18;
  double   *v = Allocate((size_t)n * sizeof *v);

  (void)state;
  for (PetscInt64 member = 0; member < 3; member++) {
    KalCall(KalDrawNormal(Key(5, KAL_DRAW_TEST, 0, member), 1000003, n, v));
    assert_true(KolmogorovSmirnov(v, n, PETSC_TRUE) < 2.0);
    KalCall(KalDrawUniform(Key(5, KAL_DRAW_TEST, 0, member), 1000003, n, v));
    for (int i = 0; i < n; i++) assert_true(v[i] > 0.0 && v[i] < 1.0);
    assert_true(KolmogorovSmirnov(v, n, PETSC_FALSE) < 2.0);
  }
  free(v);
}

/* Streams that differ in one part of their key, and a stream and itself some places on, are uncorrelated, and so are their squares. */
static void StreamsAreIndependent(void **state)
{
  const int    n      = 1 << 19;
  const KalKey base   = Key(3, KAL_DRAW_PRIOR, 4, 5);
  const KalKey keys[] = {Key(4, KAL_DRAW_PRIOR, 4, 5), Key(3, KAL_DRAW_CENTER, 4, 5), Key(3, KAL_DRAW_PRIOR, 5, 5), Key(3, KAL_DRAW_PRIOR, 4, 6), Key(3, KAL_DRAW_PRIOR, 5, 4)};
  const int    lags[] = {1, 2, 15, 16, 32, 48, 64, 1024};
  double      *a = Allocate(((size_t)n + 1024) * sizeof *a), *b = Allocate((size_t)n * sizeof *b);

  (void)state;
  KalCall(KalDrawNormal(base, 0, n + 1024, a));
  for (size_t k = 0; k < 5 + sizeof lags / sizeof lags[0]; k++) {
    double sum = 0.0, squares = 0.0;
    if (k < 5) KalCall(KalDrawNormal(keys[k], 0, n, b));
    else memcpy(b, a + lags[k - 5], (size_t)n * sizeof *b);
    for (int i = 0; i < n; i++) {
      sum += a[i] * b[i];
      squares += (a[i] * a[i] - 1.0) * (b[i] * b[i] - 1.0);
    }
    KalAssertNear(sum / n, 0.0, 5.0 / sqrt((double)n));
    KalAssertNear(squares / n, 0.0, 5.0 * 2.0 / sqrt((double)n));
  }
  free(a);
  free(b);
}

static void PermutationsAreBijections(void **state)
{
  const PetscInt64 sizes[] = {1, 2, 3, 4, 5, 7, 10, 16, 17, 255, 256, 257, 60000};

  (void)state;
  for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    char *seen = Allocate((size_t)sizes[s]);
    for (PetscInt64 cycle = 0; cycle < 3; cycle++) {
      memset(seen, 0, (size_t)sizes[s]);
      for (PetscInt64 i = 0; i < sizes[s]; i++) {
        PetscInt64 to = -1;
        assert_int_equal(KalDrawPermuted(Key(8, KAL_DRAW_SHUFFLE, cycle, 0), sizes[s], i, &to), 0);
        assert_true(to >= 0 && to < sizes[s]);
        assert_int_equal(seen[to], 0);
        seen[to] = 1;
      }
    }
    free(seen);
  }
}

/* The value of an index, and the order of the whole permutation, are uniform over the keys (chi squared, 5 standard errors). */
static void PermutationsAreUniform(void **state)
{
  const int  draws      = 60000;
  int        counts[49] = {0}, orders[24] = {0};
  const int  sizes[2] = {7, 4};
  double     chi;
  PetscInt64 to[4];

  (void)state;
  for (int c = 0; c < draws; c++) {
    for (int i = 0; i < 7; i++) {
      KalDrawPermuted(Key(1, KAL_DRAW_SHUFFLE, c, 0), sizes[0], i, to);
      counts[7 * i + to[0]]++;
    }
    for (int i = 0; i < 4; i++) KalDrawPermuted(Key(1, KAL_DRAW_SHUFFLE, c, 1), sizes[1], i, to + i);
    int rank = 0; /* of the permutation in lexicographic order */
    for (int i = 0; i < 4; i++) {
      int smaller = 0;
      for (int j = i + 1; j < 4; j++) smaller += to[j] < to[i];
      rank = rank * (4 - i) + smaller;
    }
    orders[rank]++;
  }
  for (int i = 0; i < 7; i++) {
    chi = 0.0;
    for (int j = 0; j < 7; j++) chi += pow(counts[7 * i + j] - draws / 7.0, 2) / (draws / 7.0);
    assert_true(chi < 6.0 + 5.0 * sqrt(2.0 * 6.0));
  }
  chi = 0.0;
  for (int j = 0; j < 24; j++) chi += pow(orders[j] - draws / 24.0, 2) / (draws / 24.0);
  assert_true(chi < 23.0 + 5.0 * sqrt(2.0 * 23.0));
}

/* A long permutation: no trend, neighbours apart at random, and another one in the next cycle. */
static void LongPermutation(void **state)
{
  const int    n     = 60000;
  double       trend = 0.0, neighbours = 0.0, cycles = 0.0;
  PetscInt64  *a = Allocate((size_t)n * sizeof *a), *b = Allocate((size_t)n * sizeof *b);
  const double half = 0.5 * (n - 1), variance = ((double)n * n - 1.0) / 12.0;

  (void)state;
  for (int i = 0; i < n; i++) {
    KalDrawPermuted(Key(1, KAL_DRAW_SHUFFLE, 0, 0), n, i, a + i);
    KalDrawPermuted(Key(1, KAL_DRAW_SHUFFLE, 1, 0), n, i, b + i);
  }
  for (int i = 0; i < n; i++) {
    trend += (i - half) * ((double)a[i] - half) / variance;
    neighbours += ((double)a[i] - half) * ((double)a[(i + 1) % n] - half) / variance;
    cycles += ((double)a[i] - half) * ((double)b[i] - half) / variance;
  }
  KalAssertNear(trend, 0.0, 5.0 * sqrt((double)n));
  KalAssertNear(neighbours, 0.0, 5.0 * sqrt((double)n));
  KalAssertNear(cycles, 0.0, 5.0 * sqrt((double)n));
  free(a);
  free(b);
}

static void LargeSizes(void **state)
{
  const PetscInt64 size = (PetscInt64)1 << 62;
  PetscInt64       a = -1, b = -1;

  (void)state;
  KalCall(KalDrawPermuted(Key(1, KAL_DRAW_SHUFFLE, 0, 0), size, size - 1, &a));
  KalCall(KalDrawPermuted(Key(1, KAL_DRAW_SHUFFLE, 0, 0), size, 0, &b));
  assert_true(a >= 0 && a < size && b >= 0 && b < size && a != b);
  KalCall(KalDrawPermuted(Key(1, KAL_DRAW_SHUFFLE, 0, 0), ((PetscInt64)1 << 60) + 1, 5, &a));
  assert_true(a >= 0 && a <= (PetscInt64)1 << 60);
}

static void Errors(void **state)
{
  const KalKey key = Key(1, KAL_DRAW_TEST, 0, 0);
  unsigned int word;
  double       z;
  PetscInt64   to;

  (void)state;
  KalCallFails(KalDrawBits(key, -1, 1, &word), "from index -1");
  KalCallFails(KalDrawNormal(key, 0, -3, &z), "-3 draws");
  KalCallFails(KalDrawUniform(key, 0x7fffffffffffffff, 1, &z), "below 2^63");
  KalCallFails(KalDrawNormal(key, 0, 1, NULL), "No array");
  KalCallFails(KalDrawNormal(Key(1, KAL_DRAW_TEST, 0, -1), 0, 1, &z), "member -1");
  KalCallFails(KalDrawNormal(Key(1, KAL_DRAW_TEST, 4294967296LL, 0), 0, 1, &z), "cycle 4294967296");
  KalCallFails(KalDrawPermuted(key, 10, 10, &to), "Index 10");
  KalCallFails(KalDrawPermuted(key, 10, -1, &to), "Index -1");
  KalCallFails(KalDrawPermuted(key, 0, 0, &to), "permutation of 0");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(KnownAnswers),
    cmocka_unit_test(BitsAgreeWithRandom123),
    cmocka_unit_test(SubrangesAreTheSame),
    cmocka_unit_test(KernelsAgree),
    cmocka_unit_test(NormalMomentsAndTails),
    cmocka_unit_test(Distributions),
    cmocka_unit_test(StreamsAreIndependent),
    cmocka_unit_test(PermutationsAreBijections),
    cmocka_unit_test(PermutationsAreUniform),
    cmocka_unit_test(LongPermutation),
    cmocka_unit_test(LargeSizes),
    cmocka_unit_test(Errors),
};

KAL_TEST_MAIN("random", tests)
