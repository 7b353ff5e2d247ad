/*
  Products of packed panels, C = A B, for a few rows of A and columns of B at a time.

  Each entry of C is one chain of fused multiply-adds in the order of k, c <- fma(a_ik, b_kj, c) from 0: its bits depend on
  nothing but its row of A and column of B, not on the shape of the product, the panels or the width of the vectors. A processor
  without fused multiply-adds rounds each product first; the name of the kernels says which of the two they do.
*/
#ifndef KALMIA_PANELS_H
#define KALMIA_PANELS_H

#include <kalmia/types.h>

#include <stdint.h>

/*
  A panel of A has `height` rows: for each k, its rows' entries side by side. One of B has `width` columns: for each k, its
  columns' entries side by side, `step` numbers from one k to the next: more than its width where it is a part of a wider panel. `product` makes the height x width block of C, columns ld numbers apart, or, to go on with a
  longer chain, adds to what is there. A's panels are aligned to KAL_PANEL_ALIGN bytes, which halves
  the time.
*/
#define KAL_PANEL_ALIGN  64
#define KAL_PANEL_WIDTHS 3
typedef struct {
  PetscInt width;
  void (*product)(PetscInt k, const double *a, const double *b, PetscInt step, PetscBool add, double *c, size_t ld);
  void (*productsingle)(PetscInt k, const float *a, const float *b, PetscInt step, PetscBool add, float *c, size_t ld);
} KalPanelWidth;
typedef struct {
  const char   *name;                 /* fused or unfused: what the bits depend on */
  PetscInt      height, heightsingle; /* of A's panels */
  KalPanelWidth width[KAL_PANEL_WIDTHS];
  /*
    Puts some columns of `numbers` each, ld numbers apart, side by side: number k of column i becomes packed[k pitch + i]. Doubles, doubles
    rounded to single precision, numbers in single precision.
  */
  void (*pack)(PetscInt columns, PetscInt numbers, const double *x, size_t ld, double *packed, PetscInt pitch);
  void (*packrounded)(PetscInt columns, PetscInt numbers, const double *x, size_t ld, float *packed, PetscInt pitch);
  void (*packsingle)(PetscInt columns, PetscInt numbers, const float *x, size_t ld, float *packed, PetscInt pitch);
} KalPanels;

PETSC_EXTERN const KalPanels     *KalPanelsGet(void);
PETSC_EXTERN const KalPanels     *KalPanelsOf(int which); /* 0 plain, 1 avx2, 2 avx512f; NULL where the processor has it not */
PETSC_EXTERN const KalPanelWidth *KalPanelsChoose(const KalPanels *, PetscInt columns);

/* The first byte of some memory, taken with KAL_PANEL_ALIGN bytes to spare, where panels may lie. */
static inline void *KalPanelsAlign(void *memory)
{
  return (void *)(((uintptr_t)memory + KAL_PANEL_ALIGN - 1) / KAL_PANEL_ALIGN * KAL_PANEL_ALIGN);
}

/* Things of a size that hold so many. */
static inline PetscInt KalPanelCount(PetscInt entries, PetscInt size)
{
  return (entries + size - 1) / size;
}

#endif
