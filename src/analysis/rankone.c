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

#define KAL_RANKONE_MEMBERS 256   /* drawn together */
#define KAL_RANKONE_NUMBERS 65536 /* of their states at once: they stay in the second-level cache */
#define KAL_RANKONE_PAD     32    /* numbers that fill a panel, at most */

static PetscErrorCode Work(KalRankOne *one, size_t bytes)
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

/* What some members are made of, a member contiguous; the one behind the last member is the network itself: all zeros. */
static PetscErrorCode Draw(KalAnalysis analysis, const KalRankOneDraws *draws, KalRankOne *one, PetscInt first, PetscInt count)
{
  KalKey key = draws->key;

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_DRAW));
  for (PetscInt k = 0; k < count; k++) {
    const PetscInt j = first + k;
    float         *z = one->drawn + (size_t)k * (size_t)one->draws;

    if (j == one->N) {
      memset(z, 0, (size_t)one->draws * sizeof *z);
      continue;
    }
    key.member = draws->antithetic ? j / 2 : j;
    PetscCall(KalDrawNormalSingle(key, 0, one->draws, z));
    for (PetscInt l = 0; l < analysis->layers.count; l++) {
      const KalLayer *layer = &analysis->layers.layer[l];
      const PetscInt  at = one->at[l], factors = at + layer->units;

      Signs(layer->units, (PetscBool)(draws->antithetic && j % 2), z + at);
      Factors(layer->features + 1, draws->spread, one->deviation + factors, z + factors);
    }
  }
  PetscCall(KalEventEnd(KAL_EVENT_DRAW));
  PetscFunctionReturn(PETSC_SUCCESS);
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

/*
  KalRankOneCreate - Makes ready for members of the analysis's network

  Collective. The layers are known (KalAnalysisSetLayers()).
*/
PetscErrorCode KalRankOneCreate(KalAnalysis analysis, KalRankOne *one)
{
  const KalLayers *layers    = &analysis->layers;
  size_t           increment = 0;

  PetscFunctionBeginUser;
  PetscCheck(layers->count, analysis->comm, PETSC_ERR_ARG_INCOMP, "-haber_draws rank-one perturbs the layers of a network, and this -model_type has none: take mlp or cnn");
  PetscCall(KalGroupCreate(analysis->comm, 1, &one->group));
  PetscCall(PetscMalloc1(layers->count, &one->at));
  one->N     = analysis->N;
  one->draws = 0;
  for (PetscInt l = 0; l < layers->count; l++) {
    const KalLayer *layer = &layers->layer[l];

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
  const PetscInt p = told->batch->samples * told->batch->outputs;
  PetscInt       first, last;
  PetscScalar   *y;

  PetscFunctionBeginUser;
  PetscCall(Prepare(analysis, told->batch, one));
  PetscCall(KalEnsembleGetOwnershipRange(one->predictions, &first, &last));
  PetscCall(KalEventBegin(KAL_EVENT_OBSERVE));
  if (analysis->layers.precision == KAL_SINGLE) PetscCall(PredictSingle(analysis, told->batch, draws, one, first, last));
  else PetscCall(PredictDouble(analysis, told->batch, draws, one, first, last));
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

/* Increments of a layer: its panels of units, the numbers of one of them, and from which to which are this rank's. */
typedef struct {
  PetscInt width, panels, pitch, from, to;
  size_t   numbers;
} KalShape;

static KalShape Shape(const KalRankOne *one, const KalLayer *layer)
{
  const PetscInt height = KalPanelsGet()->height;
  KalShape       shape  = {.width = KalPanelsChoose(KalPanelsGet(), layer->units)->width, .pitch = KalPanelCount(layer->features + 1, height) * height};

  shape.panels  = KalPanelCount(layer->units, shape.width);
  shape.numbers = (size_t)shape.width * (size_t)shape.pitch;
  KalGroupShare(&one->group, shape.panels, &shape.from, &shape.to);
  return shape;
}

/* Adds coefficients c times perturbations of some members to this rank's share of a layer's increments. */
static PetscErrorCode AddProducts(const KalLayer *layer, const KalShape *shape, PetscInt members, const PetscReal *c, const float *drawn, PetscBool add, KalRankOne *one, PetscReal *increment)
{
  const KalPanels     *kernels = KalPanelsGet();
  const KalPanelWidth *kernel  = KalPanelsChoose(kernels, layer->units);
  const PetscInt       height = kernels->height, units = shape->panels * shape->width;
  PetscReal           *left, *right;

  PetscFunctionBeginUser;
  PetscCall(Work(one, (size_t)KAL_RANKONE_MEMBERS * (size_t)(height + units) * sizeof(PetscReal) + KAL_PANEL_ALIGN));
  left  = (PetscReal *)KalPanelsAlign(one->work);
  right = left + (size_t)KAL_RANKONE_MEMBERS * (size_t)height;
  for (PetscInt k = 0; k < members; k++) {
    for (PetscInt u = 0; u < units; u++) right[(size_t)k * units + u] = u < layer->units ? c[k] * (PetscReal)drawn[(size_t)k * one->draws + u] : 0.0;
  }
  for (PetscInt i = 0; i < shape->pitch; i += height) {
    const PetscInt taken = PetscMin(height, layer->features + 1 - i);

    for (PetscInt k = 0; k < members; k++) {
      const float *b = drawn + (size_t)k * one->draws + layer->units + i;

      for (PetscInt f = 0; f < height; f++) left[(size_t)k * height + f] = f < taken ? (PetscReal)b[f] : 0.0;
    }
    for (PetscInt p = shape->from; p < shape->to; p++) kernel->product(members, left, right + p * shape->width, units, add, increment + (size_t)p * shape->numbers + i, (size_t)shape->pitch);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* All ranks get the increments of all units, and put them where the layer's parameters are. */
static PetscErrorCode GatherLayer(const KalRankOne *one, const KalLayer *layer, PetscReal *increment, PetscScalar *y)
{
  const KalShape shape = Shape(one, layer);
  const PetscInt F     = layer->features;

  PetscFunctionBeginUser;
  PetscCall(KalGroupGather(&one->group, shape.panels, shape.numbers * sizeof *increment, increment));
  for (PetscInt u = 0; u < layer->units; u++) {
    PetscCall(PetscArraycpy(y + layer->offset + (PetscInt64)u * F, increment + (size_t)u * shape.pitch, F));
    if (layer->biased) y[layer->offset + (PetscInt64)layer->units * F + u] = increment[(size_t)u * shape.pitch + F];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRankOneCombine - Sums the members' departures from the network, each times a coefficient

  Collective. Each number is one chain over the members; ranks share the units.
*/
PetscErrorCode KalRankOneCombine(KalAnalysis analysis, const KalRankOneDraws *draws, const PetscReal *c, KalRankOne *one, PetscScalar *y)
{
  const KalLayer *layer = analysis->layers.layer;
  PetscReal      *increment;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < one->N; j += KAL_RANKONE_MEMBERS) {
    const PetscInt members = PetscMin(KAL_RANKONE_MEMBERS, one->N - j);

    PetscCall(Draw(analysis, draws, one, j, members));
    increment = one->increment;
    for (PetscInt l = 0; l < analysis->layers.count; l++) {
      const KalShape shape = Shape(one, &layer[l]);

      PetscCall(AddProducts(&layer[l], &shape, members, c + j, one->drawn + one->at[l], (PetscBool)(j > 0), one, increment));
      increment += shape.numbers * (size_t)shape.panels;
    }
  }
  PetscCall(PetscArrayzero(y, analysis->n));
  increment = one->increment;
  for (PetscInt l = 0; l < analysis->layers.count; l++) {
    const KalShape shape = Shape(one, &layer[l]);

    PetscCall(GatherLayer(one, &layer[l], increment, y));
    PetscCall(PetscLogFlops(2.0 * one->N * (layer[l].features + 1.0) * (shape.to - shape.from) * shape.width));
    increment += shape.numbers * (size_t)shape.panels;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bytes that it takes for batches of so many samples: draws, increments, packed features, factors of the first layer, states, predictions. */
PetscReal KalRankOneMemory(KalAnalysis analysis, PetscInt samples)
{
  const KalLayers *layers = &analysis->layers;
  const PetscReal  real = layers->precision == KAL_SINGLE ? 4.0 : 8.0, rows = (PetscReal)samples * layers->layer[0].rows;
  PetscReal        numbers = 0.0, draws = 0.0, increments = 0.0;

  for (PetscInt l = 0; l < layers->count; l++) {
    const KalLayer *layer = &layers->layer[l];

    draws += layer->units + layer->features + 1.0;
    increments += (layer->units + (PetscReal)KAL_RANKONE_PAD) * (layer->features + 1.0 + KAL_RANKONE_PAD);
    numbers = PetscMax(numbers, (PetscReal)samples * layer->rows * (layer->features + 3.0 * layer->units));
  }
  numbers = PetscMax(numbers, 3.0 * KAL_RANKONE_NUMBERS) + rows * (layers->layer[0].features + KAL_RANKONE_MEMBERS);
  return real * numbers + 4.0 * KAL_RANKONE_MEMBERS * draws + 8.0 * increments;
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
