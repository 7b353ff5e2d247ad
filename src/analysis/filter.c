/*
  One analysis of a filter: from the innovation to one N x N transform, in an order that KalInflation states; then the transform of
  the rows, with what of inflation is done entry by entry.
*/
#include "filter.h"

/* Adds the options that all these filters take; a method with options of its own calls this first. */
PetscErrorCode KalFilterSetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalFilter *filter = (KalFilter *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalInflationSetFromOptions(analysis, &filter->inflation, PetscOptionsObject));
  PetscCall(KalTransformSetFromOptions(analysis, PetscOptionsObject));
  PetscCall(PetscOptionsBool("-analysis_rotate", "Random mean-preserving rotation of the anomalies after the analysis", "KalFilter", filter->rotate, &filter->rotate, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalFilter   *filter = (KalFilter *)analysis->data;
  const size_t N = (size_t)analysis->N, NN = N * N;

  PetscFunctionBeginUser;
  PetscCall(KalInflationCheck(analysis, &filter->inflation));
  PetscCheck(analysis->N <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_size %" PetscInt_FMT " is too large: %s makes N x N weights, for at most %d members", analysis->N, analysis->type, KAL_MOST_SYSTEM);
  PetscCheck(analysis->space != KAL_SPACE_MATRIXFREE, analysis->comm, PETSC_ERR_ARG_INCOMP, "-analysis_space matrix-free: %s needs the matrix; leave the option out, or use ensemble", analysis->type);
  PetscCheck(!filter->ensemblespace || analysis->space != KAL_SPACE_OBSERVATION, analysis->comm, PETSC_ERR_ARG_INCOMP, "-analysis_space observation: %s works in ensemble space; leave the option out", analysis->type);
  if (filter->ensemblespace) analysis->space = KAL_SPACE_ENSEMBLE;
  analysis->needs.least  = PetscMax(2, analysis->needs.least);
  analysis->needs.points = analysis->N;
  if (filter->wants & KAL_WANT_ANOMALIES) analysis->needs.gathered = 1;
  PetscCall(PetscMalloc3(N, &filter->status, NN, &filter->T, N, &filter->w));
  if (filter->rotate) PetscCall(PetscMalloc2(NN, &filter->Q, NN, &filter->packed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckMost(KalAnalysis analysis, PetscInt p)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;

  PetscFunctionBeginUser;
  PetscCheck(!filter->most || (PetscReal)p * analysis->N <= (PetscReal)filter->most, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s holds the predictions of all members on each rank, and those of %" PetscInt_FMT " members for %" PetscInt_FMT " observations are more than %" PetscInt_FMT " numbers; use etkf, which has the same mean and covariance", analysis->type, analysis->N, p, filter->most);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  PetscInt    p, outputs;
  KalLossType loss;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetLoss(observations, &loss, NULL, NULL));
  PetscCheck(loss == KAL_LOSS_SQUARED || ((const KalFilter *)analysis->data)->losses, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s takes targets for Gaussian observations: -observations_loss %s does not go with it; use -observations_loss squared, or venkf, eki, etki or haber", analysis->type, KalLossTypes[loss]);
  PetscCall(KalObservationsGetSizes(observations, KAL_SET_TRAIN, NULL, NULL, &outputs));
  PetscCall(KalObservationsGetCycle(observations, &p, NULL)); /* at the time that has most; in time, an observation is one number */
  PetscCall(CheckMost(analysis, p * PetscMax(1, outputs)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalFilter *filter = (KalFilter *)analysis->data;

  PetscFunctionBeginUser;
  filter->cycle = cycle;
  PetscCheck(filter->inflation.additive == 0.0 || analysis->prior, analysis->comm, PETSC_ERR_ORDER, "-inflation_additive needs the prior's spread: call KalAnalysisSetPrior()");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T <- a T + b I */
static void Mix(PetscInt N, PetscReal a, PetscReal b, PetscReal *T)
{
  const size_t NN = (size_t)N * N;
  size_t       i;

  if (a != 1.0) {
    for (i = 0; i < NN; i++) T[i] *= a;
  }
  if (b != 0.0) {
    for (i = 0; i < NN; i += (size_t)N + 1) T[i] += b;
  }
}

/* T <- T Q with a random rotation among the members that did not fail. */
static PetscErrorCode Rotate(KalAnalysis analysis, KalFilter *filter)
{
  const size_t    N   = (size_t)analysis->N;
  const PetscReal one = 1.0, zero = 0.0;
  PetscBLASInt    n, m;
  PetscInt        j, at;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(analysis->N, &n));
  PetscCall(PetscBLASIntCast(filter->active, &m));
  PetscCall(KalRotationMatrix(analysis, filter->cycle, filter->active, filter->Q));
  for (j = 0, at = 0; j < analysis->N; j++) {
    if (filter->status[j] == KAL_MEMBER_OK) PetscCall(PetscArraycpy(filter->packed + N * at++, filter->T + N * j, N));
  }
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &n, &m, &m, &one, filter->packed, &n, filter->Q, &m, &zero, filter->T, &n));
  for (j = analysis->N - 1; j > at - 1 && at > 0; j--) { /* back to their places, the last one first */
    if (filter->status[j] == KAL_MEMBER_OK) PetscCall(PetscArraycpy(filter->T + N * j, filter->T + N * --at, N));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Column j: 1/m + centered (scale w + T_j), so that new members = old members times T. */
static PetscErrorCode Assemble(KalAnalysis analysis, KalFilter *filter, PetscReal scale)
{
  const PetscInt N = analysis->N;
  PetscInt       j, k;

  PetscFunctionBeginUser;
  for (j = 0; j < N; j++) {
    PetscReal *column = filter->T + (size_t)j * N;

    for (k = 0; k < N; k++) column[k] += scale * filter->w[k];
  }
  PetscCall(KalTransformCenter(N, filter->status, filter->active, filter->T));
  for (j = 0; j < N; j++) {
    for (k = 0; k < N; k++) filter->T[k + (size_t)j * N] += filter->status[k] == KAL_MEMBER_OK ? 1.0 / (PetscReal)filter->active : 0.0;
  }
  PetscCall(KalTransformRecover(analysis, filter->cycle, filter->status, filter->active, filter->T));
  PetscCall(KalFromFirst(analysis, (size_t)N * N, filter->T));
  PetscCall(KalTransformSet(analysis, N, filter->status, filter->T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A cycle without observations: the forecast stands, but for failed members. */
static PetscErrorCode Stand(KalAnalysis analysis, KalFilter *filter)
{
  const PetscReal nan = (PetscReal)NAN;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(filter->w, analysis->N));
  PetscCall(PetscArrayzero(filter->T, (size_t)analysis->N * analysis->N));
  Mix(analysis->N, 1.0, 1.0, filter->T);
  PetscCall(Assemble(analysis, filter, 1.0));
  analysis->report = (KalAnalysisReport){.innovation = nan, .dfs = 0.0, .effective = nan, .inflation = 1.0};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Before any inflation `in` and the spectrum are those of the forecast; what the report says is of the inflated prior. */
static PetscErrorCode Report(KalAnalysis analysis, const KalTold *told, const KalFilter *filter, const KalInnovation *in, PetscReal prior)
{
  const size_t    NN     = (size_t)in->N * in->N;
  const PetscReal f      = filter->further;
  PetscReal       square = 0.0;
  PetscInt        i;
  size_t          k;

  PetscFunctionBeginUser;
  if (filter->decompose) {
    for (i = 0; i < filter->spectrum.q; i++) square += filter->spectrum.value[i] * filter->spectrum.value[i] / (f * f * f * f);
  } else {
    for (k = 0; k < NN; k++) square += in->S[k] * in->S[k];
  }
  analysis->report.loss = in->loss / (PetscReal)PetscMax(1, in->taken);
  if (!told->batch->timed) analysis->report.loss = in->loss / (PetscReal)told->batch->samples;
  analysis->report.step       = 1.0;
  analysis->report.time       = 0.0;
  analysis->report.innovation = in->taken ? in->rr / (f * f * in->trace + (PetscReal)in->taken) : (PetscReal)NAN;
  analysis->report.dfs        = filter->dfs;
  analysis->report.effective  = square > 0.0 ? 1.0 + in->trace * in->trace / square : 1.0;
  analysis->report.inflation  = prior * f;
  analysis->report.rejected   = (PetscReal)(in->p - in->taken);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From the products of the forecast to T; the order of operations is KalInflation's. */
static PetscErrorCode Transform(KalAnalysis analysis, const KalTold *told, KalInnovation *in)
{
  KalFilter     *filter = (KalFilter *)analysis->data;
  KalInflation  *inf    = &filter->inflation;
  const PetscInt N      = analysis->N;
  PetscReal      prior, posterior;
  PetscInt       i;

  PetscFunctionBeginUser;
  PetscCall(KalInflationAdapt(inf, &(KalConsistency){.p = in->taken, .rr = in->rr, .trace = in->trace}));
  PetscCall(KalInflationFactors(inf, &filter->prior, &filter->posterior));
  prior     = filter->prior;
  posterior = filter->posterior;
  PetscCall(KalInnovationScale(prior, in));
  filter->further = 1.0;
  filter->dfs     = 0.0;
  if (filter->decompose) PetscCall(filter->decompose(analysis, in, &filter->spectrum));
  if (filter->prepare) PetscCall(filter->prepare(analysis, told, in));
  else PetscCall(filter->weights(analysis, told, in, filter->w, filter->T));
  for (i = 0; filter->decompose && i < filter->spectrum.q; i++) filter->dfs += filter->spectrum.value[i] / (1.0 + filter->spectrum.value[i]);
  PetscCall(Report(analysis, told, filter, in, prior));
  if (filter->prepare) PetscFunctionReturn(PETSC_SUCCESS);
  for (i = 0; i < N; i++) filter->w[i] *= prior;
  Mix(N, prior * posterior * (1.0 - inf->rtpp), prior * posterior * inf->rtpp, filter->T);
  if (filter->rotate) PetscCall(Rotate(analysis, filter));
  PetscCall(Assemble(analysis, filter, in->scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalFilter    *filter = (KalFilter *)analysis->data;
  KalInnovation in;
  PetscInt      j;

  PetscFunctionBeginUser;
  *verdict         = KAL_VERDICT_ACCEPT;
  filter->observed = (PetscBool)(told->batch->samples > 0 && told->batch->outputs > 0);
  filter->active   = 0;
  PetscCall(PetscArraycpy(filter->status, told->status, analysis->N));
  for (j = 0; j < analysis->N; j++) filter->active += told->status[j] == KAL_MEMBER_OK;
  PetscCheck(filter->active >= 2, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " of %" PetscInt_FMT " members did not fail in cycle %" PetscInt_FMT "; %s needs at least 2", filter->active, analysis->N, told->cycle + 1, analysis->type);
  if (!filter->observed) {
    PetscCall(Stand(analysis, filter));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CheckMost(analysis, told->batch->samples * told->batch->outputs));
  PetscCall(KalInnovationCreate(analysis, told, -1, 0.0, filter->wants, &in));
  PetscCall(Transform(analysis, told, &in));
  PetscCall(KalInnovationDestroy(&in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* a y + b y0 about the mean of x: what the anomalies of a block's rows become, with y0 the departures of `old` from its mean (NULL where b is 0); failed members are left. */
static void Combine(const KalFilter *filter, const KalRows *rows, PetscReal a, PetscReal b, const PetscScalar *old)
{
  const size_t ld = (size_t)rows->ld[0];

  for (PetscInt i = 0; i < rows->count; i++) {
    PetscReal mean = 0.0, before = 0.0;

    for (PetscInt j = 0; j < rows->members[0]; j++) {
      if (filter->status[j] != KAL_MEMBER_OK) continue;
      mean += rows->x[0][i + (size_t)j * ld] / filter->active;
      if (old) before += old[i + (size_t)j * (size_t)rows->count] / filter->active;
    }
    for (PetscInt j = 0; j < rows->members[0]; j++) {
      PetscScalar *x = &rows->x[0][i + (size_t)j * ld];

      if (filter->status[j] == KAL_MEMBER_OK) *x = mean + a * (*x - mean) + (old ? b * (old[i + (size_t)j * (size_t)rows->count] - before) : 0.0);
    }
  }
}

/* Inflation, the method's own update, relaxation and inflation again, as Transform() has them; members that failed come from the others then. */
static PetscErrorCode Update(KalAnalysis analysis, const KalRows *rows)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  const PetscReal  rtpp   = filter->inflation.rtpp;

  PetscFunctionBeginUser;
  if (filter->prior != 1.0) Combine(filter, rows, filter->prior, 0.0, NULL);
  PetscCall(filter->update(analysis, rows));
  if (filter->posterior != 1.0 || rtpp != 0.0) Combine(filter, rows, filter->posterior * (1.0 - rtpp), filter->prior * filter->posterior * rtpp, rtpp != 0.0 ? filter->work : NULL);
  PetscCall(KalTransformRecoverRows(analysis, filter->cycle, analysis->N, filter->status, filter->active, rows->count, rows->x[0], rows->ld[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rows(KalAnalysis analysis, const KalRows *rows)
{
  KalFilter      *filter = (KalFilter *)analysis->data;
  const PetscBool other = (PetscBool)(filter->observed && filter->update), keep = (PetscBool)(filter->inflation.rtps != 0.0 || (other && filter->inflation.rtpp != 0.0));
  PetscInt        most, j;

  PetscFunctionBeginUser;
  if (!filter->observed && filter->active == analysis->N) PetscFunctionReturn(PETSC_SUCCESS);
  if (!filter->moments) {
    PetscCall(KalEnsembleGetBlocks(analysis->ensemble, &most, NULL));
    PetscCall(PetscMalloc2((keep ? (size_t)most * analysis->N : 1), &filter->work, 4 * (size_t)most, &filter->moments));
  }
  for (j = 0; keep && j < analysis->N; j++) { /* the forecast, whose spread is looked back at */
    if (filter->status[j] == KAL_MEMBER_OK) PetscCall(PetscArraycpy(filter->work + (size_t)j * rows->count, rows->x[0] + (size_t)j * rows->ld[0], rows->count));
  }
  if (other) PetscCall(Update(analysis, rows));
  else PetscCall(KalTransformRows(analysis, rows->count, filter->status, rows->x[0], rows->ld[0], rows->x[0], rows->ld[0]));
  if (!filter->observed) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalInflationSpread(&filter->inflation, rows->count, analysis->N, filter->status, filter->active, filter->work, rows->count, rows->x[0], rows->ld[0], filter->moments));
  PetscCall(KalInflationAdd(analysis, &filter->inflation, filter->cycle, rows, filter->moments));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalFilter *filter = (KalFilter *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalInflationArray(&filter->inflation, &arrays[0]));
  *count = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalInflationView(&filter->inflation, viewer));
  if (filter->rotate) PetscCall(PetscViewerASCIIPrintf(viewer, "  anomalies are rotated at random after the analysis\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalFilter *filter = (KalFilter *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalSpectrumDestroy(&filter->spectrum));
  PetscCall(PetscFree3(filter->status, filter->T, filter->w));
  PetscCall(PetscFree2(filter->Q, filter->packed));
  PetscCall(PetscFree2(filter->work, filter->moments));
  PetscCall(PetscFree(filter->method));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalFilterSquareRoot - Weights of the filters with a symmetric square root: w = (I + S)^{-1} d, T = (I + S)^{-1/2}
*/
PetscErrorCode KalFilterSquareRoot(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal *w, PetscReal *T)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;

  PetscFunctionBeginUser;
  (void)told;
  PetscCall(KalSpectrumMean(in->N, &filter->spectrum, w));
  PetscCall(KalSpectrumInverseRoot(in->N, &filter->spectrum, T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalFilterCreate - Fills in what the global filters share; the caller adds its weights
*/
PetscErrorCode KalFilterCreate(KalAnalysis analysis, KalFilter **created)
{
  KalFilter *filter;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&filter));
  PetscCall(KalInflationDefaults(&filter->inflation));
  filter->decompose            = KalSpectrumCompute;
  analysis->data               = filter;
  analysis->takes              = KAL_TAKES_SPACE;
  analysis->ops.setfromoptions = KalFilterSetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.tell           = Tell;
  analysis->ops.rows           = Rows;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  *created                     = filter;
  PetscFunctionReturn(PETSC_SUCCESS);
}
