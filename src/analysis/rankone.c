/*
  Members about one network whose perturbations have rank one in every layer.

  A unit's weights and bias are moved by s_u b, with a sign s_u of each unit and one normal factor of each feature, and of the bias:
  every weight is moved by a normal number of the prior's standard deviation, uncorrelated with all others, as it is where all are
  drawn by themselves. A layer's states are W f + s (b'f): the products of the network's own W are the same for all
  members where the features f are, as they are in the first layer, and one scalar product a sample is left to each member.
*/
#include "rankone.h"

#include "projection.h"

#include <math.h>
#include <string.h>

#define KAL_RANKONE_NUMBERS 65536 /* of their states at once: they stay in the second-level cache */
#define KAL_RANKONE_PAD     32    /* numbers that fill a panel, at most */

PetscErrorCode KalRankOneWork(KalRankOne *one, size_t bytes)
{
  PetscFunctionBeginUser;
  if (bytes > one->bytes) {
    one->bytes = 0;
    PetscCall(PetscFree(one->work));
    PetscCall(PetscMalloc(bytes, &one->work));
    one->bytes = bytes;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Factors of features, with the bias's, times their deviations; signs of units. */
KAL_WIDER static void Factors(PetscInt count, PetscReal spread, const PetscReal *deviation, float *z)
{
  for (PetscInt i = 0; i < count; i++) z[i] = (float)(spread * deviation[i] * (PetscReal)z[i]);
}

static void Signs(PetscInt count, PetscBool mirrored, float *z)
{
  for (PetscInt u = 0; u < count; u++) z[u] = (z[u] < 0.0F) == (mirrored == PETSC_TRUE) ? 1.0F : -1.0F;
}

/* The sign of a member for a unit, numbered over all layers: a row and a column of a Hadamard matrix without its first column. */
static inline PetscBool Mirrored(PetscInt row, PetscInt unit)
{
  unsigned int common = (unsigned int)row & (unsigned int)(unit + 1), parity = 0;

  for (; common; common &= common - 1) parity ^= 1;
  return (PetscBool)parity;
}

/* What some members are made of, a member contiguous; the one behind the last member is the network itself: all zeros. */
PetscErrorCode KalRankOneDraw(KalAnalysis analysis, const KalRankOneDraws *draws, KalRankOne *one, PetscInt first, PetscInt count)
{
  KalKey key = draws->key;

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_DRAW));
  for (PetscInt k = 0; k < count; k++) {
    const PetscInt j    = first + k;
    float         *z    = one->drawn + (size_t)k * (size_t)one->draws;
    PetscInt       unit = 0;

    if (j == one->N) {
      memset(z, 0, (size_t)one->draws * sizeof *z);
      continue;
    }
    if (draws->flipped) key.member = j / one->block;
    else key.member = draws->antithetic ? j / 2 : j;
    PetscCall(KalDrawNormalSingle(key, 0, one->draws, z));
    for (PetscInt l = 0; l < analysis->layers.count; l++) {
      const KalLayer *layer = &analysis->layers.layer[l];
      const PetscInt  at = one->at[l], factors = at + layer->units;

      if (draws->flipped) {
        for (PetscInt u = 0; u < layer->units; u++) z[at + u] = Mirrored(j % one->block, unit + u) ? -1.0F : 1.0F;
      } else Signs(layer->units, (PetscBool)(draws->antithetic && j % 2), z + at);
      unit += layer->units;
      Factors(layer->features + 1, draws->spread, one->deviation + factors, z + factors);
    }
  }
  PetscCall(KalEventEnd(KAL_EVENT_DRAW));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether a view asks what a member says: one that failed may have any numbers, and 0 times those need not be 0. */
static inline PetscBool Gains(const KalRankOneView *view, PetscInt member)
{
  return (PetscBool)(view->delta && view->status[member] == KAL_MEMBER_OK);
}

#define REAL    float
#define NAME(x) x##Single
#define PRODUCT productsingle
#define HEIGHT  heightsingle
#define PACK    packsingle
#include "rankone_kernels.h"

#define REAL    double
#define NAME(x) x##Double
#define PRODUCT product
#define HEIGHT  height
#define PACK    pack
#include "rankone_kernels.h"

/* The signs of each sample of a view for each unit of a layer: random ones, or all 1. */
static PetscErrorCode Flip(const KalLayer *layer, PetscInt l, const KalRankOneDraws *draws, const KalRankOneView *view, float *flip)
{
  const PetscInt units = layer->units, words = (units + 31) / 32;
  const KalKey   key = {draws->key.seed, KAL_DRAW_LAYER, draws->key.cycle, l};
  unsigned int  *bits;

  PetscFunctionBeginUser;
  for (PetscInt64 i = 0; i < (PetscInt64)view->samples * layer->rows * units; i++) flip[i] = 1.0F;
  if (!draws->flipped) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1((size_t)view->samples * words, &bits));
  PetscCall(KalDrawBits(key, (PetscInt64)view->first * words, (PetscInt64)view->samples * words, bits));
  for (PetscInt s = 0; s < view->samples; s++) {
    for (PetscInt u = 0; u < units; u++) flip[(size_t)s * units + u] = bits[(size_t)s * words + u / 32] >> (u % 32) & 1U ? 1.0F : -1.0F;
  }
  PetscCall(PetscFree(bits));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRankOneRun - Runs some members on some samples of the batch

  Not Collective. Without view->delta their predictions go to one->predictions; the samples are all of the batch then.
*/
PetscErrorCode KalRankOneRun(KalAnalysis analysis, const KalBatch *batch, const KalRankOneDraws *draws, const KalRankOneView *view, KalRankOne *one, PetscInt from, PetscInt to)
{
  const PetscInt L    = analysis->layers.count;
  KalRankOneView with = *view;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(L, &with.flip));
  for (PetscInt l = 0; l < L; l++) {
    const KalLayer *layer = &analysis->layers.layer[l];

    PetscCall(PetscMalloc1((size_t)view->samples * (size_t)layer->rows * (size_t)layer->units, &with.flip[l]));
    PetscCall(Flip(layer, l, draws, view, with.flip[l]));
  }
  if (analysis->layers.precision == KAL_SINGLE) PetscCall(RunSingle(analysis, batch, draws, &with, one, from, to));
  else PetscCall(RunDouble(analysis, batch, draws, &with, one, from, to));
  for (PetscInt l = 0; l < L; l++) PetscCall(PetscFree(with.flip[l]));
  PetscCall(PetscFree(with.flip));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRankOneCreate - Makes ready for members of the analysis's network

  Collective. The layers are known (KalAnalysisSetLayers()).
*/
PetscErrorCode KalRankOneCreate(KalAnalysis analysis, KalRankOne *one)
{
  const KalLayers *layers    = &analysis->layers;
  size_t           increment = 0;
  PetscInt         units     = 0;

  PetscFunctionBeginUser;
  PetscCheck(layers->count, analysis->comm, PETSC_ERR_ARG_INCOMP, "-haber_draws rank-one perturbs the layers of a network, and this -model_type has none: take mlp or cnn");
  PetscCall(KalGroupCreate(analysis->comm, 1, &one->group));
  PetscCall(PetscMalloc1(layers->count, &one->at));
  one->N     = analysis->N;
  one->block = 1;
  for (PetscInt l = 0; l < layers->count; l++) units += layers->layer[l].units;
  while (one->block <= units) one->block *= 2;
  one->draws = 0;
  for (PetscInt l = 0; l < layers->count; l++) {
    const KalLayer *layer = &layers->layer[l];

    PetscCheck(layer->pool == 1, analysis->comm, PETSC_ERR_SUP, "-haber_draws rank-one perturbs each row of a layer, and those of layer %" PetscInt_FMT " are pooled by maxima: take -cnn_pooling average, or -haber_draws independent", l + 1);
    one->at[l] = one->draws;
    one->draws += layer->units + layer->features + 1;
    increment += (size_t)(layer->units + KAL_RANKONE_PAD) * (size_t)(layer->features + 1 + KAL_RANKONE_PAD);
  }
  PetscCall(PetscMalloc1(one->draws, &one->deviation));
  PetscCall(PetscMalloc1((size_t)one->draws * KAL_RANKONE_MEMBERS, &one->drawn));
  PetscCall(PetscMalloc1(increment, &one->increment));
  PetscCall(PetscMalloc1(one->N + 1, &one->status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The prior's deviations, once they are known, and room for the predictions of a batch. */
static PetscErrorCode Prepare(KalAnalysis analysis, const KalBatch *batch, KalRankOne *one)
{
  PetscFunctionBeginUser;
  if (one->samples == batch->samples) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 0; l < analysis->layers.count; l++) {
    const PetscInt units = analysis->layers.layer[l].units;

    for (PetscInt u = 0; u < units; u++) one->deviation[one->at[l] + u] = 1.0;
    PetscCall(KalLayerDeviations(analysis, l + 1, one->deviation + one->at[l] + units));
  }
  PetscCall(KalEnsembleDestroy(&one->predictions));
  PetscCall(KalEnsembleCreate(analysis->comm, &one->predictions));
  PetscCall(KalEnsembleSetSizes(one->predictions, batch->samples * batch->outputs, one->N + 1));
  PetscCall(KalEnsembleSetRowGroup(one->predictions, batch->outputs));
  PetscCall(KalEnsembleSetGram(one->predictions, PETSC_TRUE));
  PetscCall(KalEnsembleSetFromOptions(one->predictions));
  PetscCall(KalEnsembleSetUp(one->predictions));
  one->samples = batch->samples;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRankOnePredict - What the members and the network itself predict for the batch

  Collective. `mine` is `told` with these predictions, N + 1 of them, and their statuses.
*/
PetscErrorCode KalRankOnePredict(KalAnalysis analysis, const KalTold *told, const KalRankOneDraws *draws, KalRankOne *one, KalTold *mine)
{
  const PetscInt p    = told->batch->samples * told->batch->outputs;
  KalRankOneView view = {.first = 0, .samples = told->batch->samples};
  PetscInt       first, last;
  PetscScalar   *y;

  PetscFunctionBeginUser;
  PetscCall(Prepare(analysis, told->batch, one));
  PetscCall(KalEnsembleGetOwnershipRange(one->predictions, &first, &last));
  PetscCall(KalEventBegin(KAL_EVENT_OBSERVE));
  PetscCall(KalRankOneRun(analysis, told->batch, draws, &view, one, first, last));
  PetscCall(KalEventEnd(KAL_EVENT_OBSERVE));
  for (PetscInt j = first; j < last; j++) {
    PetscReal sum = 0.0;

    PetscCall(KalEnsembleGetMember(one->predictions, j, &y));
    for (PetscInt i = 0; i < p; i++) sum += y[i] - y[i];
    one->status[j] = sum == 0.0 ? KAL_MEMBER_OK : KAL_MEMBER_NONFINITE; /* what is not finite, less itself, is not 0 */
    if (sum != 0.0) PetscCall(PetscArrayzero(y, p));
  }
  PetscCall(KalGroupGather(&one->group, one->N + 1, sizeof *one->status, one->status));
  PetscCall(KalEnsembleChanged(one->predictions));
  *mine             = *told;
  mine->predictions = one->predictions;
  mine->status      = one->status;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Bytes that it takes for batches of so many samples: draws, increments, packed features, factors of the first layer, states, signs of samples;
  flipped: coefficients of this rank's share of the samples, what members say of the states of all, and these samples' features.
*/
PetscReal KalRankOneMemory(KalAnalysis analysis, PetscInt samples, PetscBool flipped)
{
  const KalLayers *layers = &analysis->layers;
  const PetscReal  real = layers->precision == KAL_SINGLE ? 4.0 : 8.0, rows = (PetscReal)samples * layers->layer[0].rows;
  PetscReal        numbers = 0.0, draws = 0.0, increments = 0.0, signs = 0.0, said = 0.0, features = 0.0, widest = 0.0;

  for (PetscInt l = 0; l < layers->count; l++) {
    const KalLayer *layer = &layers->layer[l];

    draws += layer->units + layer->features + 1.0;
    increments += (layer->units + (PetscReal)KAL_RANKONE_PAD) * (layer->features + 1.0 + KAL_RANKONE_PAD);
    numbers = PetscMax(numbers, (PetscReal)samples * layer->rows * (layer->features + 3.0 * layer->units));
    signs += (PetscReal)samples * layer->rows * layer->units;
    said += (PetscReal)samples * (layer->units + 1.0);
    features = PetscMax(features, (PetscReal)samples * (layer->features + 1.0 + KAL_RANKONE_PAD));
    widest   = PetscMax(widest, (PetscReal)samples * PetscMax(layer->units, layer->features));
  }
  numbers = PetscMax(numbers, 3.0 * KAL_RANKONE_NUMBERS) + rows * (layers->layer[0].features + KAL_RANKONE_MEMBERS);
  if (flipped) said += features + (PetscReal)analysis->N * ((samples + analysis->size - 1) / analysis->size);
  else said = widest = 0.0;
  return real * (numbers + 3.0 * widest) + 4.0 * (KAL_RANKONE_MEMBERS * draws + signs) + 8.0 * (increments + said);
}

PetscErrorCode KalRankOneDestroy(KalRankOne *one)
{
  PetscFunctionBeginUser;
  PetscCall(KalGroupDestroy(&one->group));
  PetscCall(KalEnsembleDestroy(&one->predictions));
  PetscCall(PetscFree(one->at));
  PetscCall(PetscFree(one->deviation));
  PetscCall(PetscFree(one->status));
  PetscCall(PetscFree(one->drawn));
  PetscCall(PetscFree(one->work));
  PetscCall(PetscFree(one->increment));
  PetscFunctionReturn(PETSC_SUCCESS);
}
