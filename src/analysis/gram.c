/*
  Products A'B of blocks with the same rows, by packed panels (ensemble/panels.h): a Gram product and its like. Each entry is one chain
  over the rows of the block.
*/
#include "analysisimpl.h"

#define KAL_GRAM_ROWS    512 /* of a chain, before the next columns have their turn; those of a block are spread evenly */
#define KAL_GRAM_COLUMNS 256 /* of A whose panels stay in the second-level cache while those of B pass by */

/* The narrowest panels of B, which are parts of those of A: where both are the same, they are packed once. */
static const KalPanelWidth *Narrowest(const KalPanels *kernels)
{
  const KalPanelWidth *width = &kernels->width[0];

  for (int w = 1; w < KAL_PANEL_WIDTHS && kernels->width[w].width; w++) width = &kernels->width[w];
  return width;
}

PetscErrorCode KalGramCreate(PetscInt N, KalGram *gram)
{
  size_t size;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(gram, sizeof *gram));
  gram->N       = N;
  gram->kernels = KalPanelsGet();
  gram->width   = Narrowest(gram->kernels);
  gram->high    = KalPanelCount(N, gram->kernels->height) * gram->kernels->height;
  size          = (size_t)gram->high * KAL_GRAM_ROWS;
  PetscCall(PetscCalloc2(2 * size + KAL_PANEL_ALIGN / sizeof(PetscScalar), &gram->panels, (size_t)gram->high * gram->high, &gram->product));
  gram->left  = (PetscScalar *)KalPanelsAlign(gram->panels);
  gram->right = gram->left + size; /* whole panels: aligned too */
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalGramDestroy(KalGram *gram)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(gram->panels, gram->product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Columns in panels; the empty ones of the last panel hold what is finite and not looked at. */
static void PackColumns(const KalGram *gram, PetscInt rows, const PetscScalar *x, size_t ld, PetscScalar *packed)
{
  const PetscInt height = gram->kernels->height;

  for (PetscInt j = 0; j < gram->N; j += height, packed += (size_t)height * rows) gram->kernels->pack(PetscMin(height, gram->N - j), rows, x + (size_t)j * ld, ld, packed, height);
}

/* Entries in rows `first` to `end` of the product, of packed rows; of a symmetric one, the panels on and below the diagonal. */
static void Entries(const KalGram *gram, PetscInt rows, PetscBool symmetric, PetscBool add, PetscInt first, PetscInt end)
{
  const PetscInt     height = gram->kernels->height, width = gram->width->width, columns = symmetric ? end : gram->N;
  const PetscScalar *right = symmetric ? gram->left : gram->right;

  for (PetscInt j = 0; j < columns; j += width) {
    const PetscScalar *b = right + (size_t)(j / height * height) * rows + j % height;

    for (PetscInt i = symmetric ? PetscMax(first, j / height * height) : first; i < end; i += height) gram->width->product(rows, gram->left + (size_t)i * rows, b, height, add, gram->product + i + (size_t)j * gram->high, (size_t)gram->high);
  }
}

/*
  KalGramTake - Makes gram->product (gram->high x gram->high, of which N x N count) A'B of blocks that are rows x N and contiguous

  Where A and B are the same, the lower triangle alone is to be looked at.
*/
PetscErrorCode KalGramTake(KalGram *gram, PetscInt rows, const PetscScalar *A, const PetscScalar *B)
{
  const PetscInt  pieces = (rows + KAL_GRAM_ROWS - 1) / KAL_GRAM_ROWS, most = (rows + pieces - 1) / PetscMax(1, pieces);
  const PetscBool symmetric = (PetscBool)(A == B);

  PetscFunctionBeginUser;
  for (PetscInt at = 0; at < rows; at += most) {
    const PetscInt count = PetscMin(most, rows - at);

    PackColumns(gram, count, A + at, (size_t)rows, gram->left);
    if (!symmetric) PackColumns(gram, count, B + at, (size_t)rows, gram->right);
    for (PetscInt first = 0; first < gram->N; first += KAL_GRAM_COLUMNS / gram->kernels->height * gram->kernels->height) {
      Entries(gram, count, symmetric, (PetscBool)(at > 0), first, PetscMin(gram->N, first + KAL_GRAM_COLUMNS / gram->kernels->height * gram->kernels->height));
    }
  }
  PetscCall(PetscLogFlops((symmetric ? 1.0 : 2.0) * rows * gram->N * gram->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}
