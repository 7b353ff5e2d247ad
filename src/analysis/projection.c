/*
  The part of perturbations of a network's first layer that a batch can see.

  What members predict for a batch depends on a perturbation W of the first layer through W F' alone, F (rows x features) being the
  batch's inputs, the same for every member. Given the predictions, the rest of W is still distributed as it was drawn: it carries no
  information, and in the sum of perturbations times coefficients it is noise. So each unit's increment g is replaced by what is
  expected of it given F g, with V the variances that the perturbations were drawn with:

    g <- V F' (F V F')^{-1} F g
*/
#include "projection.h"

#include <math.h>

#define KAL_PROJECTION_RIDGE 1e-6 /* times the mean diagonal of F V F': samples may be the same */

/*
  KalLayerDeviations - The prior standard deviations of a unit's weights and, behind them, of its bias

  The units of a layer must have the same.
*/
PetscErrorCode KalLayerDeviations(KalAnalysis analysis, PetscInt stage, PetscReal *deviation)
{
  const KalLayer  *layer   = &analysis->layers.layer[stage - 1];
  const PetscInt   F       = layer->features;
  const PetscReal *weights = analysis->prior + layer->offset, *biases = weights + (PetscInt64)F * layer->units;
  PetscBool        same = PETSC_TRUE;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < F; i++) deviation[i] = weights[i];
  deviation[F] = layer->biased ? biases[0] : 0.0;
  for (PetscInt u = 0; u < layer->units && same; u++) {
    for (PetscInt i = 0; i < F; i++) same = (PetscBool)(same && weights[(PetscInt64)u * F + i] == deviation[i]);
    if (layer->biased) same = (PetscBool)(same && biases[u] == deviation[F]);
  }
  PetscCheck(same, analysis->comm, PETSC_ERR_ARG_INCOMP, "The units of layer %" PetscInt_FMT " have unlike prior standard deviations; -haber_draws rank-one and -haber_project take layers whose units have the same", stage);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalProjectionCreate(KalAnalysis analysis, const char *option, KalProjection *projection)
{
  PetscFunctionBeginUser;
  PetscCheck(analysis->layers.count, analysis->comm, PETSC_ERR_ARG_INCOMP, "-%s works on the layers of a network, and this -model_type has none: take mlp or cnn", option);
  projection->features = analysis->layers.layer[0].features + 1;
  PetscCall(KalGroupCreate(analysis->comm, 1, &projection->group));
  PetscCall(PetscMalloc1(projection->features, &projection->deviation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reserve(KalProjection *projection, PetscInt rows)
{
  const size_t numbers = (size_t)rows * (size_t)projection->features;

  PetscFunctionBeginUser;
  if (rows <= projection->rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree4(projection->f, projection->columns, projection->root, projection->t));
  PetscCall(PetscMalloc4(numbers, &projection->f, numbers, &projection->columns, (size_t)rows * (size_t)rows, &projection->root, rows, &projection->t));
  projection->rows = rows;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first layer's features with a constant behind them, that the bias meets. */
static PetscErrorCode TakeFeatures(KalAnalysis analysis, const KalBatch *batch, PetscInt rows, KalProjection *projection)
{
  const KalLayers *layers = &analysis->layers;
  const PetscInt   F      = projection->features - 1;
  const size_t     real   = layers->precision == KAL_SINGLE ? sizeof(float) : sizeof(double);
  const void      *from;
  void            *room;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc((size_t)rows * (size_t)F * real, &room));
  PetscCall(layers->features(layers->ctx, 1, batch->samples, batch->input, room, &from));
  for (PetscInt r = 0; r < rows; r++) {
    PetscReal *f = projection->f + (size_t)r * (size_t)projection->features;

    for (PetscInt i = 0; i < F; i++) f[i] = layers->precision == KAL_SINGLE ? (PetscReal)((const float *)from)[(size_t)r * F + i] : ((const double *)from)[(size_t)r * F + i];
    f[F] = 1.0;
    for (PetscInt i = 0; i <= F; i++) projection->columns[(size_t)i * rows + r] = f[i];
  }
  PetscCall(PetscFree(room));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y += a x */
KAL_WIDER static void Add(PetscInt n, PetscReal a, const PetscReal *x, PetscReal *restrict y)
{
  for (PetscInt i = 0; i < n; i++) y[i] += a * x[i];
}

/* The Cholesky factor of F V F' and a little, column by column; the same operations on every rank. */
static PetscErrorCode Factor(KalAnalysis analysis, PetscInt rows, KalProjection *projection)
{
  PetscReal *L = projection->root, trace = 0.0;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(L, (size_t)rows * rows));
  for (PetscInt i = 0; i < projection->features; i++) {
    const PetscReal *column = projection->columns + (size_t)i * rows, v = projection->deviation[i] * projection->deviation[i];

    for (PetscInt j = 0; j < rows; j++) Add(rows - j, v * column[j], column + j, L + (size_t)j * rows + j);
  }
  for (PetscInt j = 0; j < rows; j++) trace += L[(size_t)j * rows + j];
  for (PetscInt j = 0; j < rows; j++) {
    PetscReal *column = L + (size_t)j * rows, diagonal = column[j] + KAL_PROJECTION_RIDGE * trace / rows;

    PetscCheck(diagonal > 0.0 && PetscIsNormalReal(diagonal), analysis->comm, PETSC_ERR_FP, "The Gram matrix of the batch's inputs is not positive: -haber_project has nothing to project on");
    diagonal  = sqrt(diagonal);
    column[j] = diagonal;
    for (PetscInt i = j + 1; i < rows; i++) column[i] /= diagonal;
    for (PetscInt k = j + 1; k < rows; k++) Add(rows - k, -column[k], column + k, L + (size_t)k * rows + k);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* t <- (L L')^{-1} t */
static void Solve(PetscInt rows, const PetscReal *L, PetscReal *t)
{
  for (PetscInt j = 0; j < rows; j++) {
    t[j] /= L[(size_t)j * rows + j];
    Add(rows - j - 1, -t[j], L + (size_t)j * rows + j + 1, t + j + 1);
  }
  for (PetscInt j = rows - 1; j >= 0; j--) {
    for (PetscInt i = j + 1; i < rows; i++) t[j] -= L[(size_t)j * rows + i] * t[i];
    t[j] /= L[(size_t)j * rows + j];
  }
}

static void ProjectUnit(const KalProjection *projection, PetscInt rows, PetscScalar *weights, PetscScalar *bias)
{
  const PetscInt F = projection->features - 1;
  PetscReal     *t = projection->t;

  for (PetscInt r = 0; r < rows; r++) t[r] = 0.0;
  for (PetscInt i = 0; i < F; i++) Add(rows, weights[i], projection->columns + (size_t)i * rows, t);
  if (bias) Add(rows, *bias, projection->columns + (size_t)F * rows, t);
  Solve(rows, projection->root, t);
  for (PetscInt i = 0; i < F; i++) weights[i] = 0.0;
  for (PetscInt r = 0; r < rows; r++) Add(F, t[r], projection->f + (size_t)r * projection->features, weights);
  for (PetscInt i = 0; i < F; i++) weights[i] *= projection->deviation[i] * projection->deviation[i];
  if (!bias) return;
  *bias = 0.0;
  for (PetscInt r = 0; r < rows; r++) *bias += t[r];
  *bias *= projection->deviation[F] * projection->deviation[F];
}

/*
  KalProjectionApply - Leaves of the first layer's increments what is expected of them given what the batch sees

  Collective. Ranks share the units. Nothing is left out where the batch has as many rows of features as a unit has weights, or more.
*/
PetscErrorCode KalProjectionApply(KalAnalysis analysis, const KalBatch *batch, KalProjection *projection, PetscScalar *increment)
{
  const KalLayer *layer = &analysis->layers.layer[0];
  const PetscInt  rows = batch->samples * layer->rows, F = layer->features;
  PetscScalar    *weights = increment + layer->offset, *biases = layer->biased ? weights + (PetscInt64)F * layer->units : NULL;
  PetscInt        first, last;

  PetscFunctionBeginUser;
  if (rows >= projection->features) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalLayerDeviations(analysis, 1, projection->deviation));
  PetscCall(Reserve(projection, rows));
  PetscCall(TakeFeatures(analysis, batch, rows, projection));
  PetscCall(Factor(analysis, rows, projection));
  KalGroupShare(&projection->group, layer->units, &first, &last);
  for (PetscInt u = first; u < last; u++) ProjectUnit(projection, rows, weights + (PetscInt64)u * F, biases ? biases + u : NULL);
  PetscCall(KalGroupGather(&projection->group, layer->units, (size_t)F * sizeof *weights, weights));
  if (biases) PetscCall(KalGroupGather(&projection->group, layer->units, sizeof *biases, biases));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bytes that it takes for batches of so many samples. */
PetscReal KalProjectionMemory(KalAnalysis analysis, PetscInt samples)
{
  const KalLayer *layer = &analysis->layers.layer[0];
  const PetscReal rows = (PetscReal)samples * layer->rows, features = layer->features + 1.0;

  return rows < features ? 8.0 * (2.0 * rows * features + rows * rows) : 0.0;
}

PetscErrorCode KalProjectionDestroy(KalProjection *projection)
{
  PetscFunctionBeginUser;
  PetscCall(KalGroupDestroy(&projection->group));
  PetscCall(PetscFree(projection->deviation));
  PetscCall(PetscFree4(projection->f, projection->columns, projection->root, projection->t));
  PetscFunctionReturn(PETSC_SUCCESS);
}
