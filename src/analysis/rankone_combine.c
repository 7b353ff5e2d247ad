/* Sums over members of rank one: their perturbations times coefficients, or, sample by sample, what each says of the states that it moved. */
#include "rankone.h"

#define KAL_RANKONE_RIDGE 0.1 /* of the regression on a sample's perturbed states, times their expected squares */

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

/*
  Adds to this rank's share of a layer's increments products of what the units and the features have (with the bias behind them, `pitch`
  numbers from one to the next) of some members or samples: one chain over these, from the first on.
*/
static PetscErrorCode AddProducts(const KalLayer *layer, const KalShape *shape, PetscInt count, const PetscReal *units, const PetscReal *features, PetscBool add, KalRankOne *one, PetscReal *increment)
{
  const KalPanels     *kernels = KalPanelsGet();
  const KalPanelWidth *kernel  = KalPanelsChoose(kernels, layer->units);
  const PetscInt       height = kernels->height, padded = shape->panels * shape->width;
  PetscReal           *left, *right;

  PetscFunctionBeginUser;
  PetscCall(KalRankOneWork(one, (size_t)count * (size_t)(height + padded) * sizeof(PetscReal) + KAL_PANEL_ALIGN));
  left  = (PetscReal *)KalPanelsAlign(one->work);
  right = left + (size_t)count * (size_t)height;
  PetscCall(PetscArrayzero(right, (size_t)count * (size_t)padded));
  for (PetscInt k = 0; k < count; k++) PetscCall(PetscArraycpy(right + (size_t)k * padded, units + (size_t)k * layer->units, layer->units));
  for (PetscInt i = 0; i < shape->pitch; i += height) {
    for (PetscInt k = 0; k < count; k++) PetscCall(PetscArraycpy(left + (size_t)k * height, features + (size_t)k * shape->pitch + i, height));
    for (PetscInt p = shape->from; p < shape->to; p++) kernel->product(count, left, right + p * shape->width, padded, add, increment + (size_t)p * shape->numbers + i, (size_t)shape->pitch);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same of some members' draws, times coefficients. */
static PetscErrorCode AddDraws(const KalLayer *layer, const KalShape *shape, PetscInt members, const PetscReal *c, const float *drawn, PetscBool add, KalRankOne *one, PetscReal *increment)
{
  PetscReal *units, *features;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)members * layer->units, &units, (size_t)members * shape->pitch, &features));
  PetscCall(PetscArrayzero(features, (size_t)members * shape->pitch));
  for (PetscInt k = 0; k < members; k++, drawn += one->draws) {
    for (PetscInt u = 0; u < layer->units; u++) units[(size_t)k * layer->units + u] = c[k] * (PetscReal)drawn[u];
    for (PetscInt i = 0; i <= layer->features; i++) features[(size_t)k * shape->pitch + i] = (PetscReal)drawn[layer->units + i];
  }
  PetscCall(AddProducts(layer, shape, members, units, features, add, one, increment));
  PetscCall(PetscFree2(units, features));
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

    PetscCall(KalRankOneDraw(analysis, draws, one, j, members));
    increment = one->increment;
    for (PetscInt l = 0; l < analysis->layers.count; l++) {
      const KalShape shape = Shape(one, &layer[l]);

      PetscCall(AddDraws(&layer[l], &shape, members, c + j, one->drawn + one->at[l], (PetscBool)(j > 0), one, increment));
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

/* What the whole batch's features are at the network itself, for a layer whose states before it are known: with the bias's 1, times variances over f'Vf. `squares` are expected to be f'Vf times `expected`. */
static PetscErrorCode Directions(KalAnalysis analysis, PetscInt l, PetscInt samples, const void *before, void *room, PetscInt pitch, PetscReal expected, const PetscReal *squares, const KalRankOne *one, PetscReal *f)
{
  const KalLayers *layers    = &analysis->layers;
  const KalLayer  *layer     = &layers->layer[l];
  const PetscReal *deviation = one->deviation + one->at[l] + layer->units;
  const PetscInt   F         = layer->features;
  const void      *from;

  PetscFunctionBeginUser;
  PetscCall(layers->features(layers->ctx, l + 1, samples, before, room, &from));
  PetscCall(PetscArrayzero(f, (size_t)samples * pitch));
  for (PetscInt s = 0; s < samples; s++, f += pitch) {
    PetscReal sum = 0.0;

    for (PetscInt i = 0; i <= F; i++) {
      f[i] = layers->precision == KAL_SINGLE ? (PetscReal)((const float *)from)[(size_t)s * F + PetscMin(i, F - 1)] : ((const double *)from)[(size_t)s * F + PetscMin(i, F - 1)];
      if (i == F) f[i] = 1.0;
      sum += f[i] * f[i] * deviation[i] * deviation[i];
    }
    sum = squares[s] / expected + KAL_RANKONE_RIDGE * sum;
    for (PetscInt i = 0; i <= F; i++) f[i] *= sum > 0.0 ? deviation[i] * deviation[i] / sum : 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Parameters move as the states do, by the features that the network itself has; layer after layer. */
static PetscErrorCode MoveLayers(KalAnalysis analysis, const KalBatch *batch, PetscReal expected, PetscReal **delta, PetscReal **squares, KalRankOne *one, PetscScalar *y)
{
  const KalLayers *layers  = &analysis->layers;
  const PetscInt   samples = batch->samples;
  const void      *before  = batch->input;
  const size_t     real    = layers->precision == KAL_SINGLE ? sizeof(float) : sizeof(double);
  size_t           widest = 1, pitches = 1;
  void            *state[2], *room;
  PetscReal       *f;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < layers->count; l++) {
    widest  = PetscMax(widest, (size_t)PetscMax(layers->layer[l].units, layers->layer[l].features));
    pitches = PetscMax(pitches, (size_t)Shape(one, &layers->layer[l]).pitch);
  }
  PetscCall(PetscMalloc4(widest * samples * real, (char **)&state[0], widest * samples * real, (char **)&state[1], widest * samples * real, (char **)&room, pitches * samples, &f));
  for (PetscInt l = 0; l < layers->count; l++) {
    const KalLayer *layer = &layers->layer[l];
    const KalShape  shape = Shape(one, layer);

    PetscCall(KalGroupGather(&one->group, samples, (size_t)layer->units * sizeof(PetscReal), delta[l]));
    PetscCall(KalGroupGather(&one->group, samples, sizeof(PetscReal), squares[l]));
    PetscCall(Directions(analysis, l, samples, before, room, shape.pitch, expected, squares[l], one, f));
    PetscCall(AddProducts(layer, &shape, samples, delta[l], f, PETSC_FALSE, one, one->increment));
    PetscCall(GatherLayer(one, layer, one->increment, y));
    if (l + 1 < layers->count) PetscCall(layers->advance(layers->ctx, analysis->mean, l, l + 1, samples, before, state[l % 2]));
    before = state[l % 2];
  }
  PetscCall(PetscFree4(state[0], state[1], room, f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Coefficients of each member for each of some samples: its anomalies there along the weighted residual q, less their mean over the members. */
static void SampleCoefficients(const KalInnovation *in, PetscInt outputs, PetscInt first, PetscInt samples, const PetscReal *q, PetscReal *c)
{
  for (PetscInt s = 0; s < samples; s++) {
    const PetscInt row  = (first + s) * outputs;
    PetscReal      mean = 0.0;

    for (PetscInt j = 0; j < in->N; j++) {
      const PetscScalar *a   = in->A + (size_t)j * (size_t)in->p + row;
      PetscReal          sum = 0.0;

      for (PetscInt k = 0; k < outputs; k++) sum += a[k] * q[row + k];
      c[(size_t)j * samples + s] = in->status[j] == KAL_MEMBER_OK ? sum : 0.0;
      mean += c[(size_t)j * samples + s] / in->active;
    }
    for (PetscInt j = 0; j < in->N; j++) c[(size_t)j * samples + s] -= in->status[j] == KAL_MEMBER_OK ? mean : 0.0;
  }
}

/*
  KalRankOneLocalize - Sums of perturbations times coefficients where each sample moves a layer by what it sees of a perturbation alone

  Collective. q are the p weighted residuals; the innovation has the anomalies of all members. Ranks share the samples, then the units.
*/
PetscErrorCode KalRankOneLocalize(KalAnalysis analysis, const KalTold *told, const KalRankOneDraws *draws, const KalInnovation *in, const PetscReal *q, KalRankOne *one, PetscScalar *y)
{
  const KalBatch *batch = told->batch;
  const PetscInt  L     = analysis->layers.count;
  KalRankOneView  view  = {0};
  PetscReal     **delta, **squares, *c;
  PetscInt        last;

  PetscFunctionBeginUser;
  KalGroupShare(&one->group, batch->samples, &view.first, &last);
  view.samples = last - view.first;
  PetscCall(PetscMalloc5(L, &delta, L, &squares, L, &view.delta, L, &view.squares, (size_t)one->N * (size_t)view.samples, &c));
  for (PetscInt l = 0; l < L; l++) {
    PetscCall(PetscCalloc1((size_t)batch->samples * analysis->layers.layer[l].units, &delta[l]));
    PetscCall(PetscCalloc1(batch->samples, &squares[l]));
    view.delta[l]   = delta[l] + (size_t)view.first * analysis->layers.layer[l].units;
    view.squares[l] = squares[l] + view.first;
  }
  SampleCoefficients(in, batch->outputs, view.first, view.samples, q, c);
  view.c      = c;
  view.status = in->status;
  PetscCall(KalRankOneRun(analysis, batch, draws, &view, one, 0, one->N));
  PetscCall(PetscArrayzero(y, analysis->n));
  PetscCall(MoveLayers(analysis, batch, draws->spread * draws->spread * in->active, delta, squares, one, y));
  for (PetscInt l = 0; l < L; l++) {
    PetscCall(PetscFree(delta[l]));
    PetscCall(PetscFree(squares[l]));
  }
  PetscCall(PetscFree5(delta, squares, view.delta, view.squares, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}
