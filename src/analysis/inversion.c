/*
  Ensemble Kalman inversion as a cycle: redraw where due, ask for the members (or their extrapolation),
  make weights of what they predict, transform the rows.
*/
#include "inversion.h"

static const char *const StepRules[]    = {"fixed", "adaptive", "misfit", "KalStepRule", "KAL_STEP_", NULL};
static const char *const Momentums[]    = {"none", "constant", "nesterov", "KalMomentum", "KAL_MOMENTUM_", NULL};
static const char *const RedrawAbouts[] = {"mean", "member", "KalRedrawAbout", "KAL_REDRAW_", NULL};
static const char *const Dynamics[]     = {"static", "stochastic", "KalDynamics", "KAL_DYNAMICS_", NULL};
static const char *const Blocks[]       = {"none", "layers", "KalBlocks", "KAL_BLOCKS_", NULL};
static const char *const Targets[]      = {"optimum", "posterior", "KalTarget", "KAL_TARGET_", NULL};

/* "-<prefix>_<name>", in a buffer that the next call of the same slot overwrites */
const char *KalInversionOption(const KalInversion *inv, const char *name)
{
  static char text[64];

  (void)PetscSNPrintf(text, sizeof text, "-%s_%s", inv->prefix, name);
  return text;
}

static PetscErrorCode SetMomentumAndRedraw(KalInversion *inv, KalOptionItems PetscOptionsObject)
{
  PetscEnum momentum = (PetscEnum)inv->momentum, about = (PetscEnum)inv->redrawabout;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsEnum(KalInversionOption(inv, "momentum"), "Momentum of the members", NULL, Momentums, momentum, &momentum, NULL));
  PetscCall(PetscOptionsReal(KalInversionOption(inv, "momentum_factor"), "Factor of constant momentum", NULL, inv->momentumfactor, &inv->momentumfactor, NULL));
  PetscCall(PetscOptionsBoundedInt(KalInversionOption(inv, "redraw_cycles"), "Redraw the ensemble every so many cycles (0: never)", NULL, inv->redrawcycles, &inv->redrawcycles, NULL, 0));
  PetscCall(PetscOptionsBoundedInt(KalInversionOption(inv, "redraw_epochs"), "Redraw the ensemble every so many epochs (0: never)", NULL, inv->redrawepochs, &inv->redrawepochs, NULL, 0));
  PetscCall(PetscOptionsReal(KalInversionOption(inv, "redraw_spread"), "Spread of a redraw, times the prior's", NULL, inv->redrawspread, &inv->redrawspread, NULL));
  PetscCall(PetscOptionsEnum(KalInversionOption(inv, "redraw_about"), "Redraw about the mean, or about each member", NULL, RedrawAbouts, about, &about, NULL));
  inv->momentum    = (KalMomentum)momentum;
  inv->redrawabout = (KalRedrawAbout)about;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetCorrection(KalInversion *inv, KalOptionItems PetscOptionsObject)
{
  PetscEnum blocks = (PetscEnum)inv->blockwise;

  PetscFunctionBeginUser;
  if (!inv->correctable) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalCorrectionSetFromOptions(inv->prefix, &inv->correction, PetscOptionsObject));
  PetscCall(PetscOptionsEnum(KalInversionOption(inv, "blocks"), "Block localization: layers are perturbed one at a time, and their covariances with each other are zero", NULL, Blocks, blocks, &blocks, NULL));
  inv->blockwise = (PetscBool)blocks;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalInversionSetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalInversion *inv    = (KalInversion *)analysis->data;
  PetscEnum     target = (PetscEnum)inv->target, rule = (PetscEnum)inv->rule, dynamics = (PetscEnum)inv->diffused;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsEnum(KalInversionOption(inv, "target"), "Optimum: iterate on; posterior: stop at total step 1", NULL, Targets, target, &target, NULL));
  PetscCall(PetscOptionsEnum(KalInversionOption(inv, "step_rule"), "Time step: fixed, adaptive (Kovachki and Stuart), misfit (Iglesias and Yang)", NULL, StepRules, rule, &rule, NULL));
  PetscCall(PetscOptionsReal(KalInversionOption(inv, "step"), "Time step, or the numerator of the adaptive one", NULL, inv->step, &inv->step, NULL));
  PetscCall(PetscOptionsReal(KalInversionOption(inv, "step_floor"), "Added to the denominator of the adaptive step", NULL, inv->floor, &inv->floor, NULL));
  PetscCall(PetscOptionsReal(KalInversionOption(inv, "step_most"), "Largest step", NULL, inv->most, &inv->most, NULL));
  PetscCall(PetscOptionsReal(KalInversionOption(inv, "step_total"), "Stop when the steps, counted in epochs, sum up to this (0: never)", NULL, inv->total, &inv->total, NULL));
  PetscCall(PetscOptionsReal(KalInversionOption(inv, "inflation"), "Multiplies the anomalies after the analysis", NULL, inv->inflation, &inv->inflation, NULL));
  PetscCall(PetscOptionsReal(KalInversionOption(inv, "inflation_additive"), "Spread of additive inflation after the analysis, times the prior's", NULL, inv->additive, &inv->additive, NULL));
  PetscCall(KalTransformSetFromOptions(analysis, PetscOptionsObject));
  PetscCall(PetscOptionsBool(KalInversionOption(inv, "prior"), "The prior mean is a datum too, with the prior's covariance as its error", NULL, inv->tikhonov, &inv->tikhonov, NULL));
  PetscCall(PetscOptionsEnum(KalInversionOption(inv, "dynamics"), "Members stand still between cycles, or are spread by artificial noise", NULL, Dynamics, dynamics, &dynamics, NULL));
  PetscCall(SetCorrection(inv, PetscOptionsObject));
  inv->target   = (KalTarget)target;
  inv->rule     = (KalStepRule)rule;
  inv->diffused = (PetscBool)dynamics;
  PetscCall(SetMomentumAndRedraw(inv, PetscOptionsObject));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckOptions(KalAnalysis analysis, const KalInversion *inv)
{
  const PetscBool renewed = (PetscBool)(inv->redrawcycles || inv->redrawepochs || inv->inflation != 1.0 || inv->additive != 0.0 || inv->momentum != KAL_MOMENTUM_NONE);

  PetscFunctionBeginUser;
  PetscCheck(inv->step > 0.0 && !PetscIsInfOrNanReal(inv->step), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: the time step must be positive", KalInversionOption(inv, "step"), (double)inv->step);
  PetscCheck(inv->floor >= 0.0 && !PetscIsInfOrNanReal(inv->floor), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must not be negative", KalInversionOption(inv, "step_floor"), (double)inv->floor);
  PetscCheck(inv->most > 0.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must be positive", KalInversionOption(inv, "step_most"), (double)inv->most);
  PetscCheck(inv->total >= 0.0 && !PetscIsInfOrNanReal(inv->total), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must not be negative", KalInversionOption(inv, "step_total"), (double)inv->total);
  PetscCheck(inv->inflation > 0.0 && !PetscIsInfOrNanReal(inv->inflation), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must be positive; 1 is none", KalInversionOption(inv, "inflation"), (double)inv->inflation);
  PetscCheck(inv->additive >= 0.0 && !PetscIsInfOrNanReal(inv->additive), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must not be negative", KalInversionOption(inv, "inflation_additive"), (double)inv->additive);
  PetscCheck(inv->redrawspread >= 0.0 && !PetscIsInfOrNanReal(inv->redrawspread), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must not be negative", KalInversionOption(inv, "redraw_spread"), (double)inv->redrawspread);
  PetscCheck(inv->momentumfactor >= 0.0 && inv->momentumfactor < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must be at least 0 and less than 1", KalInversionOption(inv, "momentum_factor"), (double)inv->momentumfactor);
  PetscCheck(inv->target != KAL_TARGET_POSTERIOR || !renewed, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s posterior: momentum, redraws and inflation change the distribution; leave them out", KalInversionOption(inv, "target"));
  PetscCheck(inv->target != KAL_TARGET_POSTERIOR || !(inv->tikhonov || inv->diffused), analysis->comm, PETSC_ERR_ARG_INCOMP, "%s posterior stops at total step 1, to which the first members are the prior: -%s_prior and -%s_dynamics stochastic, which go on to a stationary ensemble, do not go with it", KalInversionOption(inv, "target"), inv->prefix, inv->prefix);
  PetscCheck(!inv->diffused || (inv->rule == KAL_STEP_FIXED && inv->step < 1.0), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_dynamics stochastic spreads members by 1/sqrt(1 - h), for a fixed step h less than 1: take -%s_step 0.5 and no -%s_step_rule", inv->prefix, inv->prefix, inv->prefix);
  PetscCheck(!inv->diffused || inv->momentum == KAL_MOMENTUM_NONE, analysis->comm, PETSC_ERR_ARG_INCOMP, "-%s_dynamics stochastic changes the members that -%s_momentum extrapolates; leave one of them out", inv->prefix, inv->prefix);
  PetscCheck(!inv->tikhonov || (inv->momentum == KAL_MOMENTUM_NONE && inv->rule != KAL_STEP_MISFIT), analysis->comm, PETSC_ERR_ARG_INCOMP, "A prior that is a datum (-%s_prior) goes with neither -%s_momentum nor -%s_step_rule misfit, which look at the observations alone; leave them out", inv->prefix, inv->prefix, inv->prefix);
  PetscCheck(!inv->tikhonov || analysis->space == KAL_SPACE_AUTO || analysis->space == KAL_SPACE_ENSEMBLE, analysis->comm, PETSC_ERR_ARG_INCOMP, "A prior that is a datum (-%s_prior) adds n numbers to the observations, so that %s works in ensemble space alone; leave -analysis_space out", inv->prefix, analysis->type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What an update that is no transform of the members does not have. */
static PetscErrorCode CheckCorrection(KalAnalysis analysis, KalInversion *inv)
{
  const KalCorrection *c = &inv->correction;

  PetscFunctionBeginUser;
  PetscCheck(c->type == KAL_CORRECT_NONE || (!inv->tikhonov && inv->momentum == KAL_MOMENTUM_NONE && inv->inflation == 1.0), analysis->comm, PETSC_ERR_ARG_INCOMP, "-%s_correction %s: the update is no transform of the members any more, so that -%s_prior, -%s_momentum and -%s_inflation do not go with it; leave them out", inv->prefix, KalCorrects[c->type], inv->prefix, inv->prefix, inv->prefix);
  PetscCall(KalCorrectionSetUp(analysis, inv->prefix, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Nor does one that is another transform for each block; it solves in the space of all blocks' members. */
static PetscErrorCode SetUpBlocks(KalAnalysis analysis, KalInversion *inv)
{
  char option[64];

  PetscFunctionBeginUser;
  if (!inv->blockwise) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_blocks", inv->prefix));
  PetscCheck(!inv->tikhonov && inv->momentum == KAL_MOMENTUM_NONE && inv->correction.type == KAL_CORRECT_NONE, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s layers: the update is another transform for each layer, so that -%s_prior, -%s_momentum and -%s_correction do not go with it; leave them out", option, inv->prefix, inv->prefix, inv->prefix);
  PetscCheck(analysis->space == KAL_SPACE_AUTO || analysis->space == KAL_SPACE_ENSEMBLE, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s layers: the system is that of the members of all layers; leave -analysis_space out", option);
  analysis->space = KAL_SPACE_ENSEMBLE;
  PetscCall(KalBlocksCreate(analysis, option, &inv->blocks));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalInversion *inv = (KalInversion *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(CheckOptions(analysis, inv));
  PetscCheck(analysis->N <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_size %" PetscInt_FMT " is too large: %s makes N x N weights, for at most %d members; haber needs none", analysis->N, inv->prefix, KAL_MOST_SYSTEM);
  if (inv->target == KAL_TARGET_POSTERIOR && inv->total == 0.0) inv->total = 1.0;
  analysis->needs.least  = 2;
  analysis->needs.copies = inv->momentum == KAL_MOMENTUM_NONE ? 0 : 1;
  analysis->needs.points = analysis->N;
  PetscCall(CheckCorrection(analysis, inv));
  PetscCall(SetUpBlocks(analysis, inv));
  PetscCall(PetscMalloc2(analysis->N, &inv->status, (size_t)analysis->N * analysis->N, &inv->T));
  inv->state[KAL_STATE_THETA] = 1.0;
  if (!inv->tikhonov) PetscFunctionReturn(PETSC_SUCCESS);
  analysis->space = KAL_SPACE_ENSEMBLE;
  PetscCall(KalPriorCreate(analysis, &inv->prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members anew about the mean or about themselves, with draws keyed by cycle, member and entry. */
static PetscErrorCode Redraw(KalAnalysis analysis, PetscInt cycle)
{
  KalInversion      *inv = (KalInversion *)analysis->data;
  KalKey             key = {analysis->seed, KAL_DRAW_REDRAW, cycle, 0};
  const PetscScalar *mean;
  PetscScalar       *x, *previous;
  PetscReal         *z;
  PetscInt           i, j, first, last;

  PetscFunctionBeginUser;
  PetscCheck(analysis->prior, analysis->comm, PETSC_ERR_ORDER, "A redraw needs the prior's spread: call KalAnalysisSetPrior()");
  PetscCall(KalEnsembleGetMean(analysis->ensemble, &mean));
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  PetscCall(PetscMalloc1(analysis->n, &z));
  for (j = first; j < last; j++) {
    key.member = j;
    PetscCall(KalEnsembleGetMember(analysis->ensemble, j, &x));
    PetscCall(KalDrawNormal(key, 0, analysis->n, z));
    for (i = 0; i < analysis->n; i++) x[i] = (inv->redrawabout == KAL_REDRAW_MEAN ? mean[i] : x[i]) + inv->redrawspread * analysis->prior[i] * z[i];
    if (analysis->copies) {
      PetscCall(KalEnsembleGetMember(analysis->copy[0], j, &previous));
      PetscCall(PetscArraycpy(previous, x, analysis->n));
    }
  }
  PetscCall(PetscFree(z));
  PetscCall(KalEnsembleChanged(analysis->ensemble));
  inv->state[KAL_STATE_THETA]  = 1.0;
  inv->state[KAL_STATE_FACTOR] = 0.0; /* momentum begins anew with the members */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Departures from the mean of a block's rows times 1/sqrt(1 - h): covariance C becomes C/(1 - h), as by noise of covariance C h/(1 - h). */
static PetscErrorCode VisitDiffuse(void *ctx, const KalRows *rows)
{
  const KalAnalysis   analysis = (KalAnalysis)ctx;
  const KalInversion *inv      = (const KalInversion *)analysis->data;
  const PetscReal     factor   = 1.0 / PetscSqrtReal(1.0 - inv->step);

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < rows->count; i++) {
    PetscScalar *x = rows->x[0] + i, mean = 0.0;

    for (PetscInt j = 0; j < analysis->N; j++) mean += x[(size_t)j * (size_t)rows->ld[0]];
    mean /= analysis->N;
    for (PetscInt j = 0; j < analysis->N; j++) x[(size_t)j * (size_t)rows->ld[0]] = mean + factor * (x[(size_t)j * (size_t)rows->ld[0]] - mean);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalInversion  *inv   = (KalInversion *)analysis->data;
  const PetscInt epoch = inv->redrawepochs * analysis->perepoch;

  PetscFunctionBeginUser;
  inv->cycle = cycle;
  if (inv->tikhonov) PetscCall(KalPriorBegin(analysis, &inv->prior));
  if (inv->blockwise) PetscCall(KalBlocksBegin(analysis, &inv->blocks, cycle));
  if (cycle > 0 && ((inv->redrawcycles && cycle % inv->redrawcycles == 0) || (epoch && cycle % epoch == 0))) PetscCall(Redraw(analysis, cycle));
  if (inv->diffused) PetscCall(KalEnsembleMapRows(1, &analysis->ensemble, VisitDiffuse, analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  KalInversion *inv = (KalInversion *)analysis->data;

  PetscFunctionBeginUser;
  if (inv->blockwise) PetscCall(KalBlocksAsk(analysis, &inv->blocks, ask));
  if (inv->state[KAL_STATE_FACTOR] != 0.0) {
    if (!inv->points) PetscCall(KalEnsembleCreateExtrapolated(analysis->ensemble, analysis->copy[0], 0.0, &inv->points));
    PetscCall(KalEnsembleSetFactor(inv->points, inv->state[KAL_STATE_FACTOR]));
    ask->points = inv->points;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckLoss(KalAnalysis analysis, KalObservations observations)
{
  const KalInversion *inv = (const KalInversion *)analysis->data;
  PetscInt            samples, outputs;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetCycle(observations, &samples, NULL));
  PetscCall(KalObservationsGetSizes(observations, KAL_SET_TRAIN, NULL, NULL, &outputs));
  PetscCall(KalCorrectionCheck(analysis, inv->prefix, &inv->correction, samples * PetscMax(1, outputs)));
  if (inv->blockwise) {
    const PetscReal p = (PetscReal)samples * outputs, q = (PetscReal)inv->blocks.count * analysis->N, members = (analysis->N + analysis->size - 1) / analysis->size;

    analysis->needs.work = 8.0 * (q * q + 3.0 * q * analysis->N + members * (analysis->n + p * (inv->blocks.count + 1)));
  }
  if (inv->perturbed) {
    char what[64];

    PetscCall(PetscSNPrintf(what, sizeof what, "-%s_update stochastic", inv->prefix));
    PetscCall(KalCheckPerturbed(analysis, observations, what));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The steps sum up to the total that was asked for, but for rounding. */
static PetscErrorCode IsDone(KalAnalysis analysis, PetscBool *done)
{
  const KalInversion *inv = (const KalInversion *)analysis->data;

  PetscFunctionBeginUser;
  *done = (PetscBool)(inv->total > 0.0 && inv->state[KAL_STATE_TIME] >= inv->total * (1.0 - 1e-12));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Adds the prior mean to the data: with h~(u) = (h(u); u), data (y; m) and errors diag(R, P), S, d, D and A' Xi are sums of those of the observations
  and of X' P^{-1} X, X' P^{-1} (m - u) and X' P^{-1/2} Xi.
*/
static PetscErrorCode AddPrior(KalAnalysis analysis, const KalTold *told, KalInnovation *in)
{
  KalInversion *inv = (KalInversion *)analysis->data;
  const size_t  N = (size_t)in->N, NN = N * N;
  KalPriorGram  gram;
  PetscReal    *pull, trace = 0.0;

  PetscFunctionBeginUser;
  PetscCall(KalPriorGramCreate(analysis, &inv->prior, analysis->ensemble, in->status, in->scale, told->cycle, inv->perturbed, &gram));
  PetscCall(PetscMalloc1(NN, &pull));
  KalPriorPull(&gram, in->status, 0.0, pull);
  for (size_t i = 0; i < NN; i++) in->S[i] += gram.G[i];
  for (size_t i = 0; i < N; i++) {
    in->d[i] += gram.c[i];
    in->diagonal[i] += gram.G[i + i * N];
    trace += gram.G[i + i * N];
  }
  for (size_t i = 0; in->D && i < NN; i++) in->D[i] += pull[i];
  for (size_t i = 0; in->P && i < NN; i++) in->P[i] += gram.F[i];
  in->trace += trace;
  PetscCall(PetscFree(pull));
  PetscCall(KalPriorGramDestroy(&gram));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the predictions say, as far as a step and the weights need it. */
static PetscErrorCode Products(KalAnalysis analysis, const KalTold *told, KalInnovation *in)
{
  KalInversion *inv   = (KalInversion *)analysis->data;
  PetscInt      wants = inv->wants | (inv->perturbed ? KAL_WANT_PERTURBED : 0);
  PetscBool     affine;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetLoss(told->observations, NULL, NULL, &affine));
  if (inv->rule == KAL_STEP_ADAPTIVE || (inv->rule == KAL_STEP_MISFIT && !affine)) wants |= KAL_WANT_MEMBERS; /* affine misfits follow from r and A */
  if (inv->blockwise) PetscCall(KalBlocksProducts(analysis, &inv->blocks, told, inv->perturbed, in));
  else PetscCall(KalInnovationCreate(analysis, told, -1, 0.0, wants, in));
  if (inv->tikhonov) PetscCall(AddPrior(analysis, told, in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalInversion *inv = (KalInversion *)analysis->data;
  KalInnovation in;
  PetscReal     step;
  PetscBool     done, more = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(CheckLoss(analysis, told->observations));
  *verdict = KAL_VERDICT_AGAIN;
  if (inv->blockwise) PetscCall(KalBlocksKeep(analysis, &inv->blocks, told, &more));
  if (more) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Products(analysis, told, &in));
  PetscCall(KalInversionStep(analysis, &in, &step));
  PetscCall(PetscArraycpy(inv->status, in.status, in.N));
  if (inv->blockwise) PetscCall(KalBlocksWeights(analysis, &inv->blocks, &in, 1.0 / step, inv->perturbed ? 1.0 / PetscSqrtReal(step) : 0.0, inv->inflation));
  else if (inv->correction.type != KAL_CORRECT_NONE) PetscCall(KalCorrectionPrepare(analysis, told, &in, inv->status, 1.0 / step, inv->perturbed ? 1.0 / PetscSqrtReal(step) : 0.0, &inv->correction));
  else {
    PetscCall(inv->weights(analysis, told, &in, step, inv->T));
    PetscCall(KalTransformInflate(in.N, inv->inflation, told->status, in.active, inv->T));
    PetscCall(KalTransformRecover(analysis, told->cycle, told->status, in.active, inv->T));
    PetscCall(KalTransformSet(analysis, in.N, told->status, inv->T));
  }
  inv->active = in.active;
  inv->state[KAL_STATE_TIME] += step / analysis->perepoch;
  analysis->report.loss     = in.loss / told->batch->samples;
  analysis->report.step     = step;
  analysis->report.time     = inv->state[KAL_STATE_TIME];
  analysis->report.rejected = in.p - in.taken;
  PetscCall(IsDone(analysis, &done));
  *verdict = done ? KAL_VERDICT_STOP : KAL_VERDICT_ACCEPT;
  PetscCall(KalInnovationDestroy(&in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The rows that the transform starts from where there is momentum: the members' extrapolation; their present rows become the past. */
static PetscErrorCode Extrapolate(const KalAnalysis analysis, const KalRows *rows, PetscScalar *work)
{
  const KalInversion *inv    = (const KalInversion *)analysis->data;
  const PetscReal     factor = inv->state[KAL_STATE_FACTOR];
  PetscInt            i, j;

  PetscFunctionBeginUser;
  for (j = 0; j < analysis->N; j++) {
    PetscScalar *w = work + (size_t)j * rows->count, *x = rows->x[0] + (size_t)j * rows->ld[0], *previous = rows->x[1] + (size_t)j * rows->ld[1];

    if (inv->status[j] != KAL_MEMBER_OK) continue;
    for (i = 0; i < rows->count; i++) {
      w[i]        = factor == 0.0 ? x[i] : x[i] + factor * (x[i] - previous[i]);
      previous[i] = x[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Additive inflation: prior-scaled draws with their mean over the members removed, so that the mean stays. */
static PetscErrorCode Inflate(KalAnalysis analysis, const KalRows *rows)
{
  KalInversion *inv = (KalInversion *)analysis->data;
  KalKey        key = {analysis->seed, KAL_DRAW_INFLATION, inv->cycle, 0};
  PetscReal    *z = inv->noise, *mean = inv->noise + rows->count;
  PetscInt      i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(mean, rows->count));
  for (j = 0; j < analysis->N; j++) {
    key.member = j;
    PetscCall(KalDrawNormal(key, rows->first, rows->count, z));
    for (i = 0; i < rows->count; i++) mean[i] += z[i] / analysis->N;
  }
  for (j = 0; j < analysis->N; j++) {
    PetscScalar *x = rows->x[0] + (size_t)j * rows->ld[0];

    key.member = j;
    PetscCall(KalDrawNormal(key, rows->first, rows->count, z));
    for (i = 0; i < rows->count; i++) x[i] += inv->additive * analysis->prior[rows->first + i] * (z[i] - mean[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rows(KalAnalysis analysis, const KalRows *rows)
{
  KalInversion *inv = (KalInversion *)analysis->data;
  PetscInt      most, j;

  PetscFunctionBeginUser;
  if (!inv->noise) {
    PetscCall(KalEnsembleGetBlocks(analysis->ensemble, &most, NULL));
    PetscCall(PetscMalloc2((analysis->copies ? (size_t)most * analysis->N : 1), &inv->work, 2 * (size_t)most, &inv->noise));
  }
  if (analysis->copies) PetscCall(Extrapolate(analysis, rows, inv->work));
  if (inv->correction.type != KAL_CORRECT_NONE) {
    PetscCall(KalCorrectionRows(analysis, &inv->correction, rows));
    PetscCall(KalTransformRecoverRows(analysis, inv->cycle, analysis->N, inv->status, inv->active, rows->count, rows->x[0], rows->ld[0]));
  } else if (inv->blockwise) PetscCall(KalBlocksRows(analysis, &inv->blocks, rows));
  else PetscCall(KalTransformRows(analysis, rows->count, inv->status, analysis->copies ? inv->work : rows->x[0], analysis->copies ? rows->count : rows->ld[0], rows->x[0], rows->ld[0]));
  if (inv->additive > 0.0) PetscCall(Inflate(analysis, rows));
  for (j = 0; analysis->copies && j < analysis->N; j++) { /* a redrawn member has no past */
    if (inv->status[j] != KAL_MEMBER_OK) PetscCall(PetscArraycpy(rows->x[1] + (size_t)j * rows->ld[1], rows->x[0] + (size_t)j * rows->ld[0], rows->count));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* After the rows: the extrapolation of the next cycle (share/doc/methods.md, "Momentum"; the theta recursion is Nesterov's). */
static PetscErrorCode Update(KalAnalysis analysis)
{
  KalInversion   *inv   = (KalInversion *)analysis->data;
  const PetscReal theta = inv->state[KAL_STATE_THETA], square = theta * theta;

  PetscFunctionBeginUser;
  if (inv->momentum == KAL_MOMENTUM_CONSTANT) inv->state[KAL_STATE_FACTOR] = inv->momentumfactor;
  if (inv->momentum == KAL_MOMENTUM_NESTEROV) {
    inv->state[KAL_STATE_THETA]  = 0.5 * (PetscSqrtReal(square * square + 4.0 * square) - square);
    inv->state[KAL_STATE_FACTOR] = inv->state[KAL_STATE_THETA] * (1.0 / theta - 1.0);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalInversion *inv = (KalInversion *)analysis->data;

  PetscFunctionBeginUser;
  arrays[0].name    = "state";
  arrays[0].meaning = "sum of the time steps in epochs, Nesterov's theta, factor of the next extrapolation";
  arrays[0].count   = 3;
  arrays[0].data    = inv->state;
  *count            = 1;
  if (inv->tikhonov) PetscCall(KalPriorArray(analysis, &inv->prior, &arrays[(*count)++]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalInversion *inv = (const KalInversion *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  target %s, %s step %g", Targets[inv->target], StepRules[inv->rule], (double)inv->step));
  if (inv->total > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, " to a total of %g", (double)inv->total));
  if (inv->tikhonov) PetscCall(PetscViewerASCIIPrintf(viewer, ", the prior mean a datum"));
  if (inv->correction.type != KAL_CORRECT_NONE) PetscCall(PetscViewerASCIIPrintf(viewer, ", correlations corrected by %s", KalCorrects[inv->correction.type]));
  if (inv->blockwise) PetscCall(PetscViewerASCIIPrintf(viewer, ", %" PetscInt_FMT " layers perturbed one at a time", inv->blocks.count));
  if (inv->diffused) PetscCall(PetscViewerASCIIPrintf(viewer, ", stochastic dynamics"));
  PetscCall(PetscViewerASCIIPrintf(viewer, ", momentum %s, inflation %g", Momentums[inv->momentum], (double)inv->inflation));
  if (inv->additive > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, " and additive %g", (double)inv->additive));
  if (inv->redrawcycles || inv->redrawepochs) PetscCall(PetscViewerASCIIPrintf(viewer, ", redrawn about the %s with spread %g", RedrawAbouts[inv->redrawabout], (double)inv->redrawspread));
  PetscCall(PetscViewerASCIIPrintf(viewer, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalInversion *inv = (KalInversion *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleDestroy(&inv->points));
  PetscCall(KalPriorDestroy(&inv->prior));
  PetscCall(KalCorrectionDestroy(&inv->correction));
  PetscCall(KalBlocksDestroy(&inv->blocks));
  PetscCall(PetscFree2(inv->status, inv->T));
  PetscCall(PetscFree2(inv->work, inv->noise));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInversionCreate - Fills in what eki and etki share; the caller adds its weights
*/
PetscErrorCode KalInversionCreate(KalAnalysis analysis, const char *prefix, KalInversion **inversion)
{
  KalInversion *inv;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&inv));
  PetscCall(PetscStrncpy(inv->prefix, prefix, sizeof inv->prefix));
  inv->step           = 1.0;
  inv->floor          = 0.5;
  inv->most           = PETSC_MAX_REAL;
  inv->momentumfactor = 0.9;
  inv->redrawspread   = 0.1;
  inv->inflation      = 1.0;
  KalCorrectionDefaults(&inv->correction);

  analysis->data               = inv;
  analysis->takes              = KAL_TAKES_SPACE | KAL_TAKES_SOLVER;
  analysis->ops.setfromoptions = KalInversionSetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = CheckLoss;
  analysis->ops.begin          = Begin;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = Tell;
  analysis->ops.rows           = Rows;
  analysis->ops.update         = Update;
  analysis->ops.arrays         = Arrays;
  analysis->ops.isdone         = IsDone;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  *inversion                   = inv;
  PetscFunctionReturn(PETSC_SUCCESS);
}
