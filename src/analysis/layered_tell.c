/*
  A cycle of the method "layered": states forward, perturbed states to the outputs, increments of states regressed onto features.

  Ranks that share a network each take a share of the samples (states and their increments) and of the units (their regression),
  and gather what the others made. Every number is made whole by one rank, so that its bits do not depend on how many share.
*/
#include "layered.h"

/* Rows of features from which on units are dealt out: with fewer, sending their increments takes longer than making them. */
#define KAL_LAYERED_SHARED 512

static inline char *Sample(const KalLayered *layered, void *states, PetscInt stage, PetscInt sample)
{
  return (char *)states + (size_t)sample * (size_t)layered->width[stage] * layered->real;
}

static PetscErrorCode Reserve(KalAnalysis analysis, PetscInt samples)
{
  KalLayered  *layered = (KalLayered *)analysis->data;
  const size_t outputs = (size_t)samples * (size_t)layered->width[layered->stages], slack = KAL_PANEL_ALIGN * sizeof(PetscReal); /* what a panel reads beyond the end */
  size_t       features = 0, unpooled = 0;

  PetscFunctionBeginUser;
  if (samples <= layered->samples) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt l = 1; l <= layered->stages; l++) {
    const KalLayer *layer = &analysis->layers.layer[l - 1];

    PetscCall(PetscFree(layered->state[l]));
    PetscCall(PetscFree(layered->delta[l]));
    PetscCall(PetscMalloc((size_t)samples * (size_t)layered->width[l] * layered->real, &layered->state[l]));
    PetscCall(PetscCalloc((size_t)samples * (size_t)layered->width[l] * layered->real + slack, &layered->delta[l]));
    features = PetscMax(features, (size_t)samples * (size_t)layer->rows * (size_t)layer->features);
    if (layer->pool > 1) unpooled = PetscMax(unpooled, (size_t)samples * (size_t)layer->rows * (size_t)layer->units);
  }
  PetscCall(PetscFree(layered->room));
  PetscCall(PetscFree(layered->unpooled));
  PetscCall(PetscFree5(layered->outputs, layered->r, layered->d, layered->v, layered->losses));
  PetscCall(PetscMalloc(features * layered->real, &layered->room));
  if (unpooled) PetscCall(PetscCalloc(unpooled * layered->real + slack, &layered->unpooled));
  PetscCall(PetscMalloc5(outputs, &layered->outputs, outputs, &layered->r, outputs, &layered->d, outputs, &layered->v, samples, &layered->losses));
  layered->samples = samples;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const KalLayeredKernels *Kernels(KalAnalysis analysis)
{
  return analysis->layers.precision == KAL_SINGLE ? &KalLayeredSingle : &KalLayeredDouble;
}

/* States of this rank's samples at every stage, and the loss there. */
static PetscErrorCode Forecast(KalAnalysis analysis, const KalTold *told, const KalNetwork *network, PetscInt from, PetscInt to)
{
  KalLayered     *layered = (KalLayered *)analysis->data;
  const PetscInt  L = layered->stages, count = to - from;
  const void     *before = (const char *)told->batch->input + (size_t)from * (size_t)analysis->layers.inputs * layered->real;
  const PetscBool kalman = (PetscBool)(layered->variant == KAL_LAYERED_KALMAN);

  PetscFunctionBeginUser;
  for (PetscInt l = 1; l <= L; l++) {
    void *state = Sample(layered, layered->state[l], l, from);

    PetscCall(analysis->layers.advance(analysis->layers.ctx, network->x, l - 1, l, count, before, state));
    before = state;
  }
  Kernels(analysis)->get(count * layered->width[L], before, layered->outputs);
  PetscCall(KalObservationsLinearize(told->observations, told->batch, from, count, layered->outputs, layered->r, layered->d, kalman ? layered->v : NULL, layered->losses + from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Perturbations of the outputs have a covariance that needs no sample of them. */
static PetscErrorCode OutputIncrements(KalAnalysis analysis, PetscInt from, PetscInt to, PetscReal spread)
{
  KalLayered    *layered = (KalLayered *)analysis->data;
  const PetscInt L = layered->stages, outputs = layered->width[L];
  PetscReal     *C;

  PetscFunctionBeginUser;
  if (layered->variant == KAL_LAYERED_KALMAN) {
    PetscCall(PetscCalloc1((size_t)outputs * (size_t)outputs, &C));
    for (PetscInt k = 0; k < outputs; k++) C[k * outputs + k] = spread * spread;
    for (PetscInt s = 0; s < to - from; s++) {
      PetscReal *q = layered->r + s * outputs;

      PetscCall(KalLayeredWeigh(outputs, layered->d + s * outputs, layered->v + s * outputs, C, layered->damping, q));
      for (PetscInt k = 0; k < outputs; k++) q[k] *= spread * spread;
    }
    PetscCall(PetscFree(C));
  }
  Kernels(analysis)->put((to - from) * outputs, layered->r, Sample(layered, layered->delta[L], L, from));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Increments of a stage's states for all samples, on every rank of the group. */
static PetscErrorCode Analyse(KalAnalysis analysis, const KalTold *told, const KalNetwork *network, PetscInt l, PetscInt from, PetscInt to)
{
  KalLayered  *layered = (KalLayered *)analysis->data;
  const size_t bytes   = (size_t)layered->width[l] * layered->real;
  PetscReal    spread  = 1.0;

  PetscFunctionBeginUser;
  if (l < layered->stages || layered->spreadkind == KAL_SPREAD_RELATIVE) PetscCall(KalGroupGather(&layered->group, told->batch->samples, bytes, layered->state[l]));
  if (layered->spreadkind == KAL_SPREAD_RELATIVE) Kernels(analysis)->spread(told->batch->samples * layered->width[l], layered->state[l], &spread);
  spread *= layered->spread;
  if (l == layered->stages) PetscCall(OutputIncrements(analysis, from, to, spread));
  else {
    const KalPerturbed p = {
        .stage = l, .x = network->x, .spread = PetscMax(spread, PETSC_SMALL), .key = {analysis->seed, KAL_DRAW_LAYER, told->cycle, (PetscInt64)network->member * KAL_LAYERED_STAGES + l - 1},
                    .from = from, .to = to, .r = layered->r, .d = layered->d, .v = layered->v
    };

    PetscCall(Kernels(analysis)->perturb(analysis, &p, layered->state[l], layered->delta[l]));
  }
  PetscCall(KalGroupGather(&layered->group, told->batch->samples, bytes, layered->delta[l]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The increments of a layer's parameters, of units dealt out where that takes less time than sending them. */
static PetscErrorCode Regress(KalAnalysis analysis, const KalLayer *layer, const void *delta, PetscInt samples, void *increment)
{
  KalLayered     *layered = (KalLayered *)analysis->data;
  const PetscBool single  = (PetscBool)(analysis->layers.precision == KAL_SINGLE);
  const PetscInt  height = single ? KalPanelsGet()->heightsingle : KalPanelsGet()->height, width = KalPanelsChoose(KalPanelsGet(), layer->units)->width;
  const PetscInt  panels = KalPanelCount(layer->units, width), rows = samples * layer->rows;
  const PetscBool shared = (PetscBool)(layered->group.size > 1 && rows >= KAL_LAYERED_SHARED);
  PetscInt        first = 0, last = panels;

  PetscFunctionBeginUser;
  if (shared) KalGroupShare(&layered->group, panels, &first, &last);
  PetscCall(KalLayeredWork(layered, (size_t)KAL_LAYERED_ROWS * (size_t)height * layered->real + KAL_PANEL_ALIGN));
  Kernels(analysis)->regress(layer, rows, layered->features, delta, first, last, KalPanelsAlign(layered->work), increment);
  if (shared) PetscCall(KalGroupGather(&layered->group, panels, (size_t)width * (size_t)KalLayeredPitch(layer, height) * layered->real, increment));
  PetscCall(PetscLogFlops(2.0 * rows * (layer->features + 1.0) * layer->units));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Moves a layer's parameters by the regression of its states' increments; the same on every rank of the group. */
static PetscErrorCode Move(KalAnalysis analysis, const KalTold *told, KalNetwork *network, PetscInt l, PetscReal step)
{
  KalLayered     *layered = (KalLayered *)analysis->data;
  const KalLayer *layer   = &analysis->layers.layer[l - 1];
  const PetscInt  samples = told->batch->samples;
  const void     *before  = l > 1 ? layered->state[l - 1] : told->batch->input;
  const PetscReal t = told->cycle + 1.0, factor = 1.0 / samples;
  const PetscReal correction[2] = {1.0 / (1.0 - PetscPowReal(layered->first, t)), 1.0 / (1.0 - PetscPowReal(layered->second, t))};

  PetscFunctionBeginUser;
  PetscCall(analysis->layers.features(analysis->layers.ctx, l, samples, before, layered->room, &layered->features));
  if (layer->pool > 1) PetscCall(analysis->layers.unpool(analysis->layers.ctx, network->x, l, samples, before, layered->delta[l], layered->unpooled));
  PetscCall(Regress(analysis, layer, layer->pool > 1 ? layered->unpooled : layered->delta[l], samples, layered->increment));
  if (layered->scaling == KAL_SCALING_MOMENTS) Kernels(analysis)->moments(layer, layered, factor, step, correction, layered->increment, network);
  else PetscCall(KalLayeredRidge(analysis, told, l, correction[0], step, network));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The mean loss of the batch before the network is moved, summed in the order of the samples. */
static PetscErrorCode TakeLoss(KalLayered *layered, PetscInt member, PetscInt samples)
{
  PetscReal sum = 0.0;

  PetscFunctionBeginUser;
  PetscCall(KalGroupGather(&layered->group, samples, sizeof *layered->losses, layered->losses));
  for (PetscInt s = 0; s < samples; s++) sum += layered->losses[s];
  layered->loss[member] = sum / samples;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Analyses stages first to last at once, then moves their layers. A network whose loss is not finite is left alone: all are told of it together. */
static PetscErrorCode Sweep(KalAnalysis analysis, const KalTold *told, KalNetwork *network, PetscBool begins, PetscInt first, PetscInt last, PetscReal step)
{
  KalLayered *layered = (KalLayered *)analysis->data;
  PetscInt    from, to;

  PetscFunctionBeginUser;
  KalGroupShare(&layered->group, told->batch->samples, &from, &to);
  PetscCall(Forecast(analysis, told, network, from, to));
  if (begins) PetscCall(TakeLoss(layered, network->member, told->batch->samples));
  if (PetscIsInfOrNanReal(layered->loss[network->member])) PetscFunctionReturn(PETSC_SUCCESS);
  if (first > 1) PetscCall(KalGroupGather(&layered->group, told->batch->samples, (size_t)layered->width[first - 1] * layered->real, layered->state[first - 1]));
  for (PetscInt l = first; l <= last; l++) PetscCall(Analyse(analysis, told, network, l, from, to));
  for (PetscInt l = first; l <= last; l++) PetscCall(Move(analysis, told, network, l, step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The parameters and moments of a member where this rank may work on them. */
static PetscErrorCode GetNetwork(KalAnalysis analysis, PetscInt member, KalNetwork *network)
{
  KalLayered    *layered = (KalLayered *)analysis->data;
  const PetscInt moments = analysis->needs.copies;
  PetscScalar   *part[3] = {NULL, NULL, NULL};

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i <= moments; i++) {
    if (layered->group.owner) PetscCall(KalEnsembleGetMember(i ? analysis->copy[i - 1] : analysis->ensemble, member, &part[i]));
    else part[i] = layered->replica + (size_t)i * (size_t)analysis->n;
    if (!layered->joined) PetscCall(KalGroupFromOwner(&layered->group, analysis->n, part[i]));
  }
  *network = (KalNetwork){.member = member, .x = part[0], .first = part[1], .second = part[2]};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Train(KalAnalysis analysis, const KalTold *told, KalNetwork *network, PetscReal step)
{
  KalLayered     *layered = (KalLayered *)analysis->data;
  const PetscInt  L = layered->stages, sweeps = layered->sweep == KAL_SWEEP_TOGETHER ? 1 : L;
  const PetscBool backward = (PetscBool)(layered->sweep == KAL_SWEEP_BACKWARD || (layered->sweep == KAL_SWEEP_ALTERNATE && told->cycle % 2));

  PetscFunctionBeginUser;
  for (PetscInt i = 1; i <= sweeps; i++) {
    const PetscInt l = backward ? L + 1 - i : i;

    PetscCall(Sweep(analysis, told, network, (PetscBool)(i == 1), sweeps == 1 ? 1 : l, sweeps == 1 ? L : l, step));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Forward passes of a cycle; from a hidden stage on a pass counts as the part of a network's multiply-adds that it takes. */
static PetscReal Passes(KalAnalysis analysis, PetscInt samples)
{
  const KalLayered *layered = (const KalLayered *)analysis->data;
  PetscReal         behind = 0.0, sum = 0.0;

  for (PetscInt l = layered->stages; l >= 1; l--) {
    const KalLayer *layer = &analysis->layers.layer[l - 1];

    behind += (PetscReal)layer->rows * layer->features * layer->units;
    if (l > 1) sum += behind; /* what lies behind stage l - 1 */
  }
  return (PetscReal)analysis->N * samples * ((layered->sweep == KAL_SWEEP_TOGETHER ? 1 : layered->stages) + layered->N * sum / behind);
}

PetscErrorCode KalLayeredTell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalLayered     *layered = (KalLayered *)analysis->data;
  const PetscReal step    = KalScheduled(analysis, layered->schedule, layered->step, layered->stepfinal, told->cycle);
  KalNetwork      network;

  PetscFunctionBeginUser;
  PetscCall(Reserve(analysis, told->batch->samples));
  for (PetscInt m = layered->group.first; m < layered->group.last; m++) {
    PetscCall(GetNetwork(analysis, m, &network));
    PetscCall(Train(analysis, told, &network, step));
  }
  layered->joined = PETSC_TRUE;
  PetscCall(KalEnsembleChanged(analysis->ensemble));
  for (PetscInt i = 0; i < analysis->needs.copies; i++) PetscCall(KalEnsembleChanged(analysis->copy[i]));
  PetscCall(KalGroupCollect(&layered->group, 1, layered->loss));
  analysis->report.loss = 0.0;
  for (PetscInt m = 0; m < analysis->N; m++) {
    PetscCheck(!PetscIsInfOrNanReal(layered->loss[m]), analysis->comm, PETSC_ERR_FP, "The loss of network %" PetscInt_FMT " is not finite in cycle %" PetscInt_FMT ": take a smaller -layered_step than %g", m, told->cycle + 1, (double)layered->step);
    analysis->report.loss += layered->loss[m] / analysis->N;
  }
  PetscCall(KalMembersFinite(analysis, told->cycle, "layered_step", layered->step));
  layered->time += step;
  analysis->report.step   = step;
  analysis->report.time   = layered->time;
  analysis->report.passes = Passes(analysis, told->batch->samples);
  *verdict                = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}
