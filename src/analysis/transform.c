/*
  The transform X T of row blocks, and what every N x N transform has in common: failed members take no
  part and are redrawn from the survivors, as further columns of T.
*/
#include "analysisimpl.h"

#include <string.h>

/*
  KalTransformCenter - Subtracts from each column of T its mean over the active rows, so that members enter as departures from their mean

  Rows of failed members become zero.
*/
PetscErrorCode KalTransformCenter(PetscInt N, const KalStatus *status, PetscInt active, PetscReal *T)
{
  PetscInt j, k;

  PetscFunctionBeginUser;
  for (j = 0; j < N; j++) {
    PetscReal *column = T + (size_t)j * N, mean = 0.0;

    for (k = 0; k < N; k++) mean += status[k] == KAL_MEMBER_OK ? column[k] : 0.0;
    mean /= active;
    for (k = 0; k < N; k++) column[k] = status[k] == KAL_MEMBER_OK ? column[k] - mean : 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean of the active columns: the coefficients of the new mean. */
static void MeanColumn(PetscInt N, const KalStatus *status, PetscInt active, const PetscReal *T, PetscReal *mean)
{
  PetscInt j, k;

  for (k = 0; k < N; k++) mean[k] = 0.0;
  for (j = 0; j < N; j++) {
    if (status[j] != KAL_MEMBER_OK) continue;
    for (k = 0; k < N; k++) mean[k] += T[k + (size_t)j * N];
  }
  for (k = 0; k < N; k++) mean[k] /= active;
}

/*
  KalTransformInflate - Multiplies the departures of the new members from their mean by a factor
*/
PetscErrorCode KalTransformInflate(PetscInt N, PetscReal factor, const KalStatus *status, PetscInt active, PetscReal *T)
{
  PetscReal *mean;
  PetscInt   j, k;

  PetscFunctionBeginUser;
  if (factor == 1.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(N, &mean));
  MeanColumn(N, status, active, T, mean);
  for (j = 0; j < N; j++) {
    for (k = 0; k < N; k++) T[k + (size_t)j * N] = mean[k] + factor * (T[k + (size_t)j * N] - mean[k]);
  }
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalTransformRecover - Makes the columns of failed members: draws from the Gaussian of the surviving new members

  Member f becomes mean + sum over survivors k of (x_k - mean) z_k / sqrt(active - 1), z keyed by cycle, f and k.
*/
PetscErrorCode KalTransformRecover(KalAnalysis analysis, PetscInt cycle, const KalStatus *status, PetscInt active, PetscReal *T)
{
  const PetscInt N   = analysis->N;
  KalKey         key = {analysis->seed, KAL_DRAW_RECOVERY, cycle, 0};
  PetscReal     *mean, *z;
  PetscInt       f, j, k;

  PetscFunctionBeginUser;
  if (active == N) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(N, &mean, N, &z));
  MeanColumn(N, status, active, T, mean);
  for (f = 0; f < N; f++) {
    PetscReal *column = T + (size_t)f * N;

    if (status[f] == KAL_MEMBER_OK) continue;
    key.member = f;
    PetscCall(KalDrawNormal(key, 0, N, z));
    PetscCall(PetscArraycpy(column, mean, N));
    for (j = 0; j < N; j++) {
      const PetscReal weight = z[j] / PetscSqrtReal((PetscReal)PetscMax(1, active - 1));

      if (status[j] != KAL_MEMBER_OK) continue;
      for (k = 0; k < N; k++) column[k] += weight * (T[k + (size_t)j * N] - mean[k]);
    }
  }
  PetscCall(PetscFree2(mean, z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalTransformRecoverRows - As KalTransformRecover(), on a block of new rows: for methods whose members are more than combinations

  Not collective. The draws are those of KalTransformRecover(), one for each pair of members whatever the row.
*/
PetscErrorCode KalTransformRecoverRows(KalAnalysis analysis, PetscInt cycle, PetscInt N, const KalStatus *status, PetscInt active, PetscInt rows, PetscScalar *x, PetscInt ld)
{
  KalKey       key = {analysis->seed, KAL_DRAW_RECOVERY, cycle, 0};
  PetscScalar *mean;
  PetscReal   *z;

  PetscFunctionBeginUser;
  if (active == N) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc2(rows, &mean, N, &z));
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = 0; status[j] == KAL_MEMBER_OK && i < rows; i++) mean[i] += x[i + (size_t)j * (size_t)ld];
  }
  for (PetscInt i = 0; i < rows; i++) mean[i] /= active;
  for (PetscInt f = 0; f < N; f++) {
    PetscScalar *to = x + (size_t)f * (size_t)ld;

    if (status[f] == KAL_MEMBER_OK) continue;
    key.member = f;
    PetscCall(KalDrawNormal(key, 0, N, z));
    PetscCall(PetscArraycpy(to, mean, rows));
    for (PetscInt j = 0; j < N; j++) {
      const PetscReal    weight = z[j] / PetscSqrtReal((PetscReal)PetscMax(1, active - 1));
      const PetscScalar *from   = x + (size_t)j * (size_t)ld;

      for (PetscInt i = 0; status[j] == KAL_MEMBER_OK && i < rows; i++) to[i] += weight * (from[i] - mean[i]);
    }
  }
  PetscCall(PetscFree2(mean, z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the product ---- */

#define KAL_TRANSFORM_BYTES (1 << 19) /* of the rows that are worked on together: they stay in the second-level cache */
#define KAL_TRANSFORM_CHUNK 1024      /* members that a chain takes in before the next columns have their turn */
#define KAL_TILE            (32 * 12) /* numbers of a product of two panels, at most */

/* Rows that are worked on together, in whole panels. */
static PetscInt RowsAtOnce(PetscInt N, PetscInt height)
{
  const PetscInt rows = KAL_TRANSFORM_BYTES / (PetscInt)sizeof(PetscScalar) / PetscMin(N, KAL_TRANSFORM_CHUNK);

  return PetscMax(1, rows / height) * height;
}

static PetscErrorCode Reserve(KalTransform *transform, PetscInt N, KalPrecision precision)
{
  const PetscBool single = (PetscBool)(precision == KAL_SINGLE);
  size_t          columns, rows;

  PetscFunctionBeginUser;
  if (transform->N == N && transform->precision == precision) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalTransformDestroy(transform));
  transform->kernels   = KalPanelsGet();
  transform->width     = KalPanelsChoose(transform->kernels, N);
  transform->height    = single ? transform->kernels->heightsingle : transform->kernels->height;
  transform->N         = N;
  transform->precision = precision;
  transform->rows      = RowsAtOnce(N, transform->height);
  columns              = (size_t)KalPanelCount(N, transform->width->width) * transform->width->width;
  rows                 = (size_t)transform->rows;
  if (single) PetscCall(PetscMalloc5(columns * N, &transform->Tsingle, rows * N + KAL_PANEL_ALIGN, &transform->panelssingle, rows * columns, &transform->product, rows, &transform->mean, N, &transform->base));
  else PetscCall(PetscMalloc2(columns * N, &transform->T, rows * N + KAL_PANEL_ALIGN, &transform->panels));
  transform->X       = (PetscScalar *)KalPanelsAlign(transform->panels);
  transform->Xsingle = (float *)KalPanelsAlign(transform->panelssingle);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalTransformSetFromOptions - The option of methods that transform by one N x N matrix whose columns sum to 1
*/
PetscErrorCode KalTransformSetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  PetscEnum precision = (PetscEnum)analysis->precision;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsEnum("-analysis_transform_precision", "Precision that the members' increments are computed in", "KalAnalysisSetFromOptions", KalPrecisions, precision, &precision, NULL));
  analysis->precision = (KalPrecision)precision;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalTransformDestroy(KalTransform *transform)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree5(transform->Tsingle, transform->panelssingle, transform->product, transform->mean, transform->base));
  PetscCall(PetscFree2(transform->T, transform->panels));
  transform->N = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalTransformSet - Takes the N x N matrix that KalTransformRows() multiplies by, from now on

  In single precision X T = X + (X - m 1')(T - I), m the means of the rows, for a T whose columns sum to 1: the increment alone is
  computed in single precision. Columns of failed members start from m.
*/
PetscErrorCode KalTransformSet(KalAnalysis analysis, PetscInt N, const KalStatus *status, const PetscReal *T)
{
  KalTransform *transform = &analysis->transform;
  PetscInt      W, j, k;

  PetscFunctionBeginUser;
  PetscCall(Reserve(transform, N, analysis->precision));
  W = transform->width->width;
  for (j = 0; j < KalPanelCount(N, W) * W; j++) {
    const PetscBool ok = (PetscBool)(j < N && (!status || status[j] == KAL_MEMBER_OK));
    const size_t    at = (size_t)(j / W) * W * N + j % W;

    if (transform->precision == KAL_SINGLE && j < N) transform->base[j] = ok;
    for (k = 0; k < N; k++) {
      const PetscReal value = j < N ? T[k + (size_t)j * N] : 0.0;

      if (transform->precision == KAL_SINGLE) transform->Tsingle[at + (size_t)k * W] = (float)(ok && j == k ? value - 1.0 : value);
      else transform->T[at + (size_t)k * W] = value;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some rows of every member, in panels; those of failed members, which may hold anything, and those beyond the last are zeros. */
KAL_WIDER static void PackRows(PetscInt rows, PetscInt N, PetscInt height, const KalStatus *status, const PetscScalar *x, size_t ld, PetscScalar *restrict packed)
{
  for (PetscInt j = 0; j < N; j++, x += ld) {
    const PetscInt taken = !status || status[j] == KAL_MEMBER_OK ? rows : 0;

    for (PetscInt first = 0; first < rows; first += height) {
      PetscScalar *to   = packed + (size_t)first * N + (size_t)j * height;
      PetscInt     here = PetscMax(0, PetscMin(height, taken - first)), i;

      for (i = 0; i < here; i++) to[i] = x[first + i];
      for (; i < height; i++) to[i] = 0.0;
    }
  }
}

/* The products of all panels of T with one of X; c are the rows that this makes of every member. */
static void Columns(const KalTransform *transform, PetscInt first, PetscInt count, const PetscScalar *X, PetscInt rows, PetscScalar *c, size_t ld)
{
  const PetscInt  W = transform->width->width, H = transform->height, N = transform->N;
  const PetscBool add = (PetscBool)(first > 0);
  PetscScalar     tile[KAL_TILE];

  for (PetscInt j = 0; j < N; j += W) {
    const PetscScalar *T = transform->T + (size_t)j * N + (size_t)first * W;

    for (PetscInt i = 0; i < rows; i += H) {
      const PetscScalar *x    = X + (size_t)i * N + (size_t)first * H;
      const PetscInt     high = PetscMin(H, rows - i), wide = PetscMin(W, N - j);

      if (high == H && wide == W) {
        transform->width->product(count, x, T, W, add, c + i + (size_t)j * ld, ld);
        continue;
      }
      for (PetscInt w = 0; add && w < wide; w++) memcpy(tile + (size_t)w * H, c + i + (size_t)(j + w) * ld, (size_t)high * sizeof *c);
      transform->width->product(count, x, T, W, add, tile, (size_t)H);
      for (PetscInt w = 0; w < wide; w++) memcpy(c + i + (size_t)(j + w) * ld, tile + (size_t)w * H, (size_t)high * sizeof *c);
    }
  }
}

/* The means of some rows over the members that did not fail. */
KAL_WIDER static void RowMeans(PetscInt rows, PetscInt N, const KalStatus *status, const PetscScalar *x, size_t ld, PetscReal *restrict mean)
{
  PetscInt active = 0;

  for (PetscInt i = 0; i < rows; i++) mean[i] = 0.0;
  for (PetscInt j = 0; j < N; j++, x += ld) {
    if (status && status[j] != KAL_MEMBER_OK) continue;
    active++;
    for (PetscInt i = 0; i < rows; i++) mean[i] += x[i];
  }
  for (PetscInt i = 0; i < rows; i++) mean[i] /= PetscMax(1, active);
}

/* As PackRows(), of departures from the means, in single precision. */
KAL_WIDER static void PackDepartures(PetscInt rows, PetscInt N, PetscInt height, const KalStatus *status, const PetscReal *mean, const PetscScalar *x, size_t ld, float *restrict packed)
{
  for (PetscInt j = 0; j < N; j++, x += ld) {
    const PetscInt taken = !status || status[j] == KAL_MEMBER_OK ? rows : 0;

    for (PetscInt first = 0; first < rows; first += height) {
      float   *to   = packed + (size_t)first * N + (size_t)j * height;
      PetscInt here = PetscMax(0, PetscMin(height, taken - first)), i;

      for (i = 0; i < here; i++) to[i] = (float)(x[first + i] - mean[first + i]);
      for (; i < height; i++) to[i] = 0.0f;
    }
  }
}

/* to = from + increment */
KAL_WIDER static void Increase(PetscInt rows, const PetscScalar *from, const float *restrict increment, PetscScalar *to)
{
  for (PetscInt i = 0; i < rows; i++) to[i] = from[i] + (double)increment[i];
}

static void RowsSingle(const KalTransform *transform, PetscInt rows, const KalStatus *status, const PetscScalar *from, size_t ldfrom, PetscScalar *x, size_t ld)
{
  const PetscInt W = transform->width->width, H = transform->height, N = transform->N, padded = KalPanelCount(rows, H) * H;

  RowMeans(rows, N, status, from, ldfrom, transform->mean);
  PackDepartures(rows, N, H, status, transform->mean, from, ldfrom, transform->Xsingle);
  for (PetscInt first = 0; first < N; first += KAL_TRANSFORM_CHUNK) {
    const PetscInt count = PetscMin(KAL_TRANSFORM_CHUNK, N - first);

    for (PetscInt j = 0; j < N; j += W) {
      for (PetscInt i = 0; i < rows; i += H) transform->width->productsingle(count, transform->Xsingle + (size_t)i * N + (size_t)first * H, transform->Tsingle + (size_t)j * N + (size_t)first * W, W, (PetscBool)(first > 0), transform->product + i + (size_t)j * padded, (size_t)padded);
    }
  }
  for (PetscInt j = 0; j < N; j++) Increase(rows, transform->base[j] ? from + (size_t)j * ldfrom : transform->mean, transform->product + (size_t)j * padded, x + (size_t)j * ld);
}

/*
  KalTransformRows - Multiplies a block of rows by the matrix of KalTransformSet(): `from` (rows x N) may be x itself

  The bits of a row follow from it and the matrix alone. Members whose status is not OK are taken as zeros, whatever they hold.
*/
PetscErrorCode KalTransformRows(KalAnalysis analysis, PetscInt rows, const KalStatus *status, const PetscScalar *from, PetscInt ldfrom, PetscScalar *x, PetscInt ld)
{
  const KalTransform *transform = &analysis->transform;
  const PetscInt      N         = transform->N;

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_TRANSFORM));
  for (PetscInt at = 0; at < rows; at += transform->rows) {
    const PetscInt here = PetscMin(transform->rows, rows - at);

    if (transform->precision == KAL_SINGLE) {
      RowsSingle(transform, here, status, from + at, (size_t)ldfrom, x + at, (size_t)ld);
      continue;
    }
    PackRows(here, N, transform->height, status, from + at, (size_t)ldfrom, transform->X);
    for (PetscInt first = 0; first < N; first += KAL_TRANSFORM_CHUNK) Columns(transform, first, PetscMin(KAL_TRANSFORM_CHUNK, N - first), transform->X, here, x + at, (size_t)ld);
  }
  PetscCall(PetscLogFlops(2.0 * rows * N * N));
  PetscCall(KalEventEnd(KAL_EVENT_TRANSFORM));
  PetscFunctionReturn(PETSC_SUCCESS);
}
