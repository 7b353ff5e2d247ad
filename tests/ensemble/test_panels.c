/* ranks: 1 */
/* Products of packed panels on each kind of vector that the processor has, against chains of multiply-adds one by one. */
#include "kaltest.h"

#include <ensemble/expreal.h>
#include <ensemble/panels.h>

#include <math.h>
#include <stdlib.h>

#define K 37 /* numbers in a chain */

static double Number(unsigned i)
{
  return (double)((i * 2654435761u) % 2000003u) / 1000003.0 - 1.0;
}

static void *Panel(size_t bytes, void **memory)
{
  *memory = malloc(bytes + KAL_PANEL_ALIGN);
  assert_non_null(*memory);
  return KalPanelsAlign(*memory);
}

/* c <- c + a b, rounded once or twice as the kernels say */
static double Chain(PetscBool fused, double a, double b, double c)
{
  return fused ? fma(a, b, c) : c + a * b;
}

static float ChainSingle(PetscBool fused, float a, float b, float c)
{
  return fused ? fmaf(a, b, c) : c + a * b;
}

/* Two products, the second going on with the first's chains, and B's columns part of a wider panel. */
static void Double(const KalPanels *kernels, const KalPanelWidth *width)
{
  const PetscInt  H = kernels->height, W = width->width, step = W + 3, ld = H + 5;
  const PetscBool fused = (PetscBool)!strcmp(kernels->name, "fused");
  void           *memory[2];
  double         *a = (double *)Panel(sizeof *a * (size_t)H * K, &memory[0]), *b = (double *)Panel(sizeof *b * (size_t)step * K, &memory[1]), *c = (double *)malloc(sizeof *c * (size_t)ld * (size_t)W);

  assert_non_null(c);
  for (PetscInt i = 0; i < H * K; i++) a[i] = Number((unsigned)i);
  for (PetscInt i = 0; i < step * K; i++) b[i] = Number((unsigned)i + 1000u);
  for (PetscInt i = 0; i < ld * W; i++) c[i] = 7.0;
  width->product(20, a, b, step, PETSC_FALSE, c, (size_t)ld);
  width->product(K - 20, a + 20 * H, b + 20 * step, step, PETSC_TRUE, c, (size_t)ld);
  for (PetscInt j = 0; j < W; j++) {
    for (PetscInt i = 0; i < H; i++) {
      double sum = 0.0;

      for (PetscInt k = 0; k < K; k++) sum = Chain(fused, a[k * H + i], b[k * step + j], sum);
      KalAssert(c[j * ld + i] == sum);
    }
    for (PetscInt i = H; i < ld; i++) KalAssert(c[j * ld + i] == 7.0); /* nothing beyond */
  }
  free(memory[0]);
  free(memory[1]);
  free(c);
}

static void Single(const KalPanels *kernels, const KalPanelWidth *width)
{
  const PetscInt  H = kernels->heightsingle, W = width->width;
  const PetscBool fused = (PetscBool)!strcmp(kernels->name, "fused");
  void           *memory[2];
  float          *a = (float *)Panel(sizeof *a * (size_t)H * K, &memory[0]), *b = (float *)Panel(sizeof *b * (size_t)W * K, &memory[1]), *c = (float *)malloc(sizeof *c * (size_t)H * (size_t)W);

  assert_non_null(c);
  for (PetscInt i = 0; i < H * K; i++) a[i] = (float)Number((unsigned)i);
  for (PetscInt i = 0; i < W * K; i++) b[i] = (float)Number((unsigned)i + 1000u);
  width->productsingle(K, a, b, W, PETSC_FALSE, c, (size_t)H);
  for (PetscInt j = 0; j < W; j++) {
    for (PetscInt i = 0; i < H; i++) {
      float sum = 0.0f;

      for (PetscInt k = 0; k < K; k++) sum = ChainSingle(fused, a[k * H + i], b[k * W + j], sum);
      KalAssert(c[j * H + i] == sum);
    }
  }
  free(memory[0]);
  free(memory[1]);
  free(c);
}

static void Products(void **state)
{
  (void)state;
  for (int which = 0; which < 3; which++) {
    const KalPanels *kernels = KalPanelsOf(which);

    for (int w = 0; kernels && w < KAL_PANEL_WIDTHS && kernels->width[w].width; w++) {
      KalAssert(kernels->height % kernels->width[w].width == 0 || w + 1 < KAL_PANEL_WIDTHS); /* the narrowest is a part of A's panels */
      Double(kernels, &kernels->width[w]);
      Single(kernels, &kernels->width[w]);
    }
  }
}

/* Columns side by side, whatever their number and length; what lies between them stays. */
static void Packing(void **state)
{
  static const PetscInt columns[] = {1, 4, 7, 8, 12, 19}, numbers[] = {1, 7, 8, 13, 24};
  const size_t          ld = 29;
  double                x[19 * 29], packed[24 * 21];
  float                 y[19 * 29], rounded[24 * 21], single[24 * 21];

  (void)state;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(x); i++) {
    x[i] = Number((unsigned)i);
    y[i] = (float)x[i];
  }
  for (int which = 0; which < 3; which++) {
    const KalPanels *kernels = KalPanelsOf(which);

    for (size_t c = 0; kernels && c < PETSC_STATIC_ARRAY_LENGTH(columns); c++) {
      for (size_t n = 0; n < PETSC_STATIC_ARRAY_LENGTH(numbers); n++) {
        for (int i = 0; i < 24 * 21; i++) packed[i] = rounded[i] = single[i] = 9.0f;
        kernels->pack(columns[c], numbers[n], x, ld, packed, 21);
        kernels->packrounded(columns[c], numbers[n], x, ld, rounded, 21);
        kernels->packsingle(columns[c], numbers[n], y, ld, single, 21);
        for (PetscInt k = 0; k < 24; k++) {
          for (PetscInt i = 0; i < 21; i++) {
            const PetscBool taken = (PetscBool)(k < numbers[n] && i < columns[c]);
            const double    value = taken ? x[(size_t)i * ld + (size_t)k] : 9.0;

            KalAssert(packed[k * 21 + i] == value && rounded[k * 21 + i] == (float)value && single[k * 21 + i] == (float)value);
          }
        }
      }
    }
  }
}

/* Panels are chosen for the least of empty columns. */
static void Choice(void **state)
{
  const KalPanels *kernels = KalPanelsGet();

  (void)state;
  for (PetscInt columns = 1; columns < 300; columns++) {
    const PetscInt best = KalPanelsChoose(kernels, columns)->width;

    for (int w = 0; w < KAL_PANEL_WIDTHS && kernels->width[w].width; w++) KalAssert(KalPanelCount(columns, best) * best <= KalPanelCount(columns, kernels->width[w].width) * kernels->width[w].width);
  }
}

/* exp within 2 units in the last place of the C library's, and what it is at the ends. */
static void Exponential(void **state)
{
  (void)state;
  for (int i = -7000; i <= 7000; i++) {
    const double x = i / 10.0 + 1e-3 * Number((unsigned)(i + 7000)), e = exp(x);

    KalAssert(fabs(KalExpReal(x) - e) <= 2.0 * 2.22e-16 * e);
  }
  KalAssert(KalExpReal(0.0) == 1.0 && isnan(KalExpReal(NAN)));
  KalAssert(KalExpReal(-1e9) == KalExpReal(-708.0) && KalExpReal(-708.0) < 1e-300 && KalExpReal(1e9) == KalExpReal(708.0) && isfinite(KalExpReal(1e9)));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Products),
    cmocka_unit_test(Packing),
    cmocka_unit_test(Choice),
    cmocka_unit_test(Exponential),
};

KAL_TEST_MAIN("panels", tests)
