/* Windows that are run again from their start: copies, transforms, inflation and rotation, failed members. */
#include "smoother.h"

PetscErrorCode KalSmootherSetFromOptions(KalAnalysis analysis, KalSmoother *smoother, KalOptionItems PetscOptionsObject)
{
  PetscFunctionBeginUser;
  PetscCall(KalInflationSetFromOptions(analysis, &smoother->inflation, PetscOptionsObject));
  PetscCall(PetscOptionsBool("-analysis_rotate", "Rotate the anomalies at random after the analysis; their mean stays", NULL, smoother->rotate, &smoother->rotate, NULL));
  PetscCheck(smoother->inflation.adapt == KAL_ADAPT_NONE, analysis->comm, PETSC_ERR_SUP, "-inflation_adaptive does not go with %s, which compares each observation with members of several iterations; use -inflation_factor", analysis->type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherCheck - Refuses a background check that would be made anew in each iteration, against a spread that is no longer the forecast's
*/
PetscErrorCode KalSmootherCheck(KalAnalysis analysis, KalObservations observations, PetscInt iterations, const char *option)
{
  PetscReal k;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetReject(observations, &k));
  PetscCheck(k == 0.0 || iterations == 1, analysis->comm, PETSC_ERR_SUP, "-observations_reject %g: %s would leave out other observations in each of its %" PetscInt_FMT " iterations; leave it out, or take %s 1", (double)k, analysis->type, iterations, option);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherSetUp - Takes memory and states the needs of a method that forecasts a copy of the members up to `iterations` times a cycle
*/
PetscErrorCode KalSmootherSetUp(KalAnalysis analysis, KalSmoother *smoother, PetscInt iterations)
{
  const PetscInt N = analysis->N;

  PetscFunctionBeginUser;
  PetscCheck(N <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_size %" PetscInt_FMT ": %s transforms members by an N x N matrix; at most %d are possible", N, analysis->type, KAL_MOST_SYSTEM);
  PetscCall(PetscMalloc4(N, &smoother->status, N, &smoother->forecast[0], N, &smoother->forecast[1], (size_t)N * N, &smoother->T));
  smoother->keys         = iterations + 2;
  analysis->needs.least  = 2;
  analysis->needs.copies = 1;
  analysis->needs.points = N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* X T, with the columns of failed members as zeros: they may hold NaN. */
typedef struct {
  KalAnalysis      analysis;
  KalSmoother     *smoother;
  const KalStatus *status;
  PetscInt         active;
  const PetscReal *T;
  PetscBool        analysed; /* relaxation to prior spread and additive inflation follow */
} KalApply;

static PetscErrorCode VisitApply(void *ctx, const KalRows *rows)
{
  const KalApply     *apply     = (const KalApply *)ctx;
  const KalInflation *inflation = &apply->smoother->inflation;
  const PetscInt      N         = apply->analysis->N;
  PetscScalar        *work      = apply->smoother->work;
  PetscInt            j;

  PetscFunctionBeginUser;
  for (j = 0; apply->analysed && inflation->rtps != 0.0 && j < N; j++) { /* the forecast, whose spread is looked back at */
    if (apply->status[j] == KAL_MEMBER_OK) PetscCall(PetscArraycpy(work + (size_t)j * rows->count, rows->x[0] + (size_t)j * rows->ld[0], rows->count));
  }
  PetscCall(KalTransformRows(apply->analysis, rows->count, apply->status, rows->x[0], rows->ld[0], rows->x[0], rows->ld[0]));
  if (!apply->analysed) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalInflationSpread(inflation, rows->count, N, apply->status, apply->active, work, rows->count, rows->x[0], rows->ld[0], apply->smoother->moments));
  PetscCall(KalInflationAdd(apply->analysis, inflation, apply->smoother->cycle, rows, apply->smoother->moments));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Apply(KalApply *apply, KalEnsemble ensemble)
{
  KalSmoother *smoother = apply->smoother;
  PetscInt     rows;

  PetscFunctionBeginUser;
  PetscCall(KalTransformSet(apply->analysis, apply->analysis->N, apply->status, apply->T));
  if (!smoother->moments) {
    PetscCall(KalEnsembleGetBlocks(ensemble, &rows, NULL));
    PetscCall(PetscMalloc2((smoother->inflation.rtps != 0.0 ? (size_t)rows * apply->analysis->N : 1), &smoother->work, 4 * (size_t)rows, &smoother->moments));
  }
  PetscCall(KalEnsembleMapRows(1, &ensemble, VisitApply, apply));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherApply - Replaces the members of an ensemble by their combinations X T; those that failed are not looked at

  Collective
*/
PetscErrorCode KalSmootherApply(KalAnalysis analysis, KalSmoother *smoother, KalEnsemble ensemble, const KalStatus *status, const PetscReal *T)
{
  KalApply apply = {.analysis = analysis, .smoother = smoother, .status = status, .T = T};

  PetscFunctionBeginUser;
  PetscCall(Apply(&apply, ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherCompose - Makes the transform of members out of weights w of their mean and a transform T of their anomalies

  Column j becomes 1/active + factor (w + T_j) with its mean taken out: X T has the mean of X plus factor (X - mean) w. Failed members
  take no part, and get the mean.
*/
PetscErrorCode KalSmootherCompose(PetscInt N, const KalStatus *status, PetscInt active, PetscReal factor, const PetscReal *w, PetscReal *T)
{
  PetscInt j, k;

  PetscFunctionBeginUser;
  for (j = 0; j < N; j++) {
    PetscReal *column = T + (size_t)j * N;

    if (status[j] != KAL_MEMBER_OK) PetscCall(PetscArrayzero(column, N));
    for (k = 0; k < N; k++) column[k] += w[k];
  }
  PetscCall(KalTransformCenter(N, status, active, T));
  for (j = 0; j < N; j++) {
    PetscReal *column = T + (size_t)j * N;

    for (k = 0; k < N; k++) column[k] = factor * column[k] + (status[k] == KAL_MEMBER_OK ? 1.0 / active : 0.0);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T Q on the columns of the members that did not fail; Q keeps the mean of each row, so that the whole of T may be rotated. */
static PetscErrorCode Rotate(KalAnalysis analysis, const KalSmoother *smoother, PetscInt active, PetscReal *T)
{
  const PetscInt N = analysis->N;
  PetscReal     *Q, *row;
  PetscInt       i, j, k, a;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)active * active, &Q, active, &row));
  PetscCall(KalRotationMatrix(analysis, smoother->cycle, active, Q));
  for (i = 0; i < N; i++) {
    for (j = 0, a = 0; j < N; j++) {
      if (smoother->status[j] == KAL_MEMBER_OK) row[a++] = T[i + (size_t)j * N];
    }
    for (j = 0, a = 0; j < N; j++) {
      PetscReal sum = 0.0;

      if (smoother->status[j] != KAL_MEMBER_OK) continue;
      for (k = 0; k < active; k++) sum += row[k] * Q[k + (size_t)a * active];
      T[i + (size_t)j * N] = sum;
      a++;
    }
  }
  PetscCall(PetscFree2(Q, row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* New members for those that failed, by draws of which no two of a run have the same key. */
static PetscErrorCode Redraw(KalAnalysis analysis, KalSmoother *smoother, const KalStatus *status, PetscInt active, PetscReal *T)
{
  PetscFunctionBeginUser;
  PetscCall(KalTransformRecover(analysis, smoother->keys * smoother->cycle + smoother->key++, status, active, T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherAnalyse - Takes the members at the window's start to X T, with new members for those that failed

  Collective. T is the whole transform, and is overwritten. The last analysis of a cycle is followed by inflation and rotation.
*/
PetscErrorCode KalSmootherAnalyse(KalAnalysis analysis, KalSmoother *smoother, PetscInt active, PetscBool last, PetscReal *T)
{
  KalApply  apply = {.analysis = analysis, .smoother = smoother, .status = smoother->status, .active = active, .T = T, .analysed = last};
  PetscReal prior, posterior;

  PetscFunctionBeginUser;
  PetscCall(KalInflationFactors(&smoother->inflation, &prior, &posterior));
  if (last) PetscCall(KalTransformInflate(analysis->N, posterior, smoother->status, active, T));
  if (last && smoother->rotate) PetscCall(Rotate(analysis, smoother, active, T));
  PetscCall(Redraw(analysis, smoother, smoother->status, active, T));
  PetscCall(Apply(&apply, analysis->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherCopy - Puts the combinations X T of the members into their copy; T NULL: the members as they are, without communication

  Collective. Members at a window's start are finite, those that failed later on too.
*/
PetscErrorCode KalSmootherCopy(KalAnalysis analysis, KalSmoother *smoother, const PetscReal *T)
{
  PetscInt     first, last, j;
  PetscScalar *from, *to;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(analysis->ensemble, j, &from));
    PetscCall(KalEnsembleGetMember(analysis->copy[0], j, &to));
    PetscCall(PetscArraycpy(to, from, analysis->n));
  }
  PetscCall(KalEnsembleChanged(analysis->copy[0]));
  if (T) PetscCall(KalSmootherApply(analysis, smoother, analysis->copy[0], smoother->status, T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherBegin - Begins a cycle: nobody has failed, nothing is known
*/
PetscErrorCode KalSmootherBegin(KalAnalysis analysis, KalSmoother *smoother, PetscInt cycle)
{
  PetscReal prior, posterior;
  PetscInt  j;

  PetscFunctionBeginUser;
  PetscCheck(cycle < PETSC_MAX_INT / smoother->keys, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "Cycle %" PetscInt_FMT ": with %" PetscInt_FMT " iterations %s can count no more than %" PetscInt_FMT, cycle + 1, smoother->keys - 2, analysis->type, PETSC_MAX_INT / smoother->keys);
  smoother->cycle = cycle;
  smoother->key   = 0;
  smoother->phase = KAL_PHASE_ITERATE;
  for (j = 0; j < analysis->N; j++) smoother->status[j] = smoother->forecast[0][j] = smoother->forecast[1][j] = KAL_MEMBER_OK;
  PetscCall(KalInflationFactors(&smoother->inflation, &prior, &posterior));
  analysis->report = (KalAnalysisReport){.loss = NAN, .step = NAN, .time = NAN, .innovation = NAN, .dfs = NAN, .effective = NAN, .inflation = prior};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherSurvivors - Counts the members that did not fail; fewer than two end the run
*/
PetscErrorCode KalSmootherSurvivors(KalAnalysis analysis, const KalStatus *status, PetscInt cycle, PetscInt *active)
{
  PetscInt j;

  PetscFunctionBeginUser;
  *active = 0;
  for (j = 0; j < analysis->N; j++) *active += status[j] == KAL_MEMBER_OK;
  PetscCheck(*active >= 2, analysis->comm, (PetscErrorCode)PETSC_ERR_CONV_FAILED, "Only %" PetscInt_FMT " of %" PetscInt_FMT " members survived the iterations of cycle %" PetscInt_FMT "; %s needs at least 2: take a smaller time step of the model, or more members", *active, analysis->N, cycle + 1, analysis->type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherForecast - Notes who failed in a forecast after the analysis
*/
PetscErrorCode KalSmootherForecast(KalAnalysis analysis, KalSmoother *smoother, const KalTold *told)
{
  KalStatus *status = smoother->forecast[smoother->phase == KAL_PHASE_FILTER];
  PetscInt   active;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(status, told->status, analysis->N));
  PetscCall(KalSmootherSurvivors(analysis, status, told->cycle, &active));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherUpdate - Redraws the members that failed in the forecasts after the analysis, from the survivors: all that is left to do when a cycle ends

  Collective
*/
PetscErrorCode KalSmootherUpdate(KalAnalysis analysis)
{
  KalSmoother   *smoother = (KalSmoother *)analysis->data;
  const PetscInt N        = analysis->N;
  PetscInt       which, active, j;

  PetscFunctionBeginUser;
  for (which = 0; which < 2; which++) {
    const KalStatus *status = smoother->forecast[which];

    PetscCall(KalSmootherSurvivors(analysis, status, smoother->cycle, &active));
    if (active == N) continue;
    PetscCall(PetscArrayzero(smoother->T, (size_t)N * N));
    for (j = 0; j < N; j++) smoother->T[j + (size_t)j * N] = status[j] == KAL_MEMBER_OK ? 1.0 : 0.0;
    PetscCall(Redraw(analysis, smoother, status, active, smoother->T));
    PetscCall(KalSmootherApply(analysis, smoother, which ? analysis->copy[0] : analysis->ensemble, status, smoother->T));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSmootherReport - What the predictions of the first iteration, those of the forecast, say; their anomalies are to be multiplied by `factor`
*/
PetscErrorCode KalSmootherReport(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal factor)
{
  KalAnalysisReport *report  = &analysis->report;
  PetscReal          squares = 0.0;
  size_t             i;

  PetscFunctionBeginUser;
  report->loss       = in->loss / PetscMax(1, told->batch->samples - (in->p - in->taken));
  report->innovation = in->taken ? in->rr / (factor * factor * in->trace + in->taken) : (PetscReal)NAN;
  report->rejected   = in->p - in->taken;
  if (!in->S) PetscFunctionReturn(PETSC_SUCCESS);
  for (i = 0; i < (size_t)in->N * in->N; i++) squares += in->S[i] * in->S[i];
  if (squares > 0.0) report->effective = 1.0 + in->trace * in->trace / squares;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalSmootherView(const KalSmoother *smoother, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall(KalInflationView(&smoother->inflation, viewer));
  if (smoother->rotate) PetscCall(PetscViewerASCIIPrintf(viewer, "  random rotation of the anomalies\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalSmootherDestroy(KalSmoother *smoother)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree4(smoother->status, smoother->forecast[0], smoother->forecast[1], smoother->T));
  PetscCall(PetscFree2(smoother->work, smoother->moments));
  PetscFunctionReturn(PETSC_SUCCESS);
}
