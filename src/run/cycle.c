/* The cycle: next batch; ask, propagate, observe, tell while again; rows; monitor, snapshot. */
#include "runimpl.h"

/* What is known of the cycle in hand before it is remembered. */
typedef struct {
  KalVerdict   verdict;
  PetscInt     failed;
  KalDiagnosis forecast, analysis;
} KalCycle;

/* Members that failed in the model; their statuses are kept. */
static PetscErrorCode CountFailed(KalRun run, PetscInt *failed)
{
  PetscFunctionBeginUser;
  *failed = 0;
  for (PetscInt j = 0; j < run->N; j++) *failed += run->status[j] != KAL_MEMBER_OK && run->status[j] != KAL_MEMBER_IDLE;
  PetscCall(PetscArraycpy(run->laststatus, run->status, run->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSurvivors(KalRun run, PetscInt failed)
{
  const PetscInt active = KalRunActive(run);
  const PetscInt needed = PetscMax(PetscMin(run->survivors, run->needs.least), (PetscInt)(((PetscInt64)run->survivors * active + run->N - 1) / run->N)); /* of fewer members as large a part */

  PetscFunctionBeginUser;
  PetscCheck(active - failed >= needed, run->comm, (PetscErrorCode)PETSC_ERR_CONV_FAILED, "Only %" PetscInt_FMT " of %" PetscInt_FMT " members survived cycle %" PetscInt_FMT "; at least %" PetscInt_FMT " are needed (-run_survivors). %s%s%s", active - failed, active, run->cycle + 1, needed, run->snapshotpath[0] ? "The last snapshot is whole: look at " : "No snapshot was asked for (-snapshot_path)", run->snapshotpath, run->snapshotpath[0] ? " and restart with a smaller step" : "");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Asks and tells until the method is done with the batch. */
static PetscErrorCode Analyse(KalRun run, const KalBatch *batch, KalCycle *c)
{
  KalTold           told = {.observations = run->observations, .batch = batch, .cycle = run->cycle};
  KalAnalysisReport report;
  double            start;
  KalAsk            ask;

  PetscFunctionBeginUser;
  for (PetscInt asked = 0; c->verdict == KAL_VERDICT_AGAIN; asked++) {
    start = MPI_Wtime();
    PetscCall(KalAnalysisAsk(run->analysis, &ask));
    run->seconds[KAL_SECONDS_ANALYSIS] += MPI_Wtime() - start;
    PetscCall(KalRunCountPasses(run, &ask, batch));
    PetscCall(KalRunEvaluate(run, &ask, batch, &told.predictions));
    PetscCall(KalRunDifferentiate(run, &ask, &told));
    if (!asked) {
      PetscCall(CountFailed(run, &c->failed));
      PetscCall(CheckSurvivors(run, c->failed));
    }
    if (!asked && run->timed) {
      PetscCall(KalRunDiagnose(run, ask.points, run->status, &c->forecast));
      if (!ask.bundle) PetscCall(KalRunCountRanks(run, batch->to));
      else c->forecast.spread = c->forecast.crps = NAN;
    }
    told.status = run->status;
    start       = MPI_Wtime();
    PetscCall(KalEventBegin(KAL_EVENT_TELL));
    PetscCall(KalAnalysisTell(run->analysis, &told, &c->verdict));
    PetscCall(KalEventEnd(KAL_EVENT_TELL));
    run->seconds[KAL_SECONDS_ANALYSIS] += MPI_Wtime() - start;
    PetscCall(KalAnalysisGetReport(run->analysis, &report));
    PetscCall(CheckSurvivors(run, c->failed + report.failed));
  }
  start = MPI_Wtime();
  PetscCall(KalEventBegin(KAL_EVENT_UPDATE));
  if (c->verdict != KAL_VERDICT_REJECT) PetscCall(KalAnalysisUpdate(run->analysis));
  PetscCall(KalEventEnd(KAL_EVENT_UPDATE));
  run->seconds[KAL_SECONDS_ANALYSIS] += MPI_Wtime() - start;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A method that is told scores may change how many members take part: a snapshot must have that. */
static PetscErrorCode TellScore(KalRun run, const KalScore *score)
{
  KalAsk   ask;
  PetscInt before = KalRunActive(run), active;

  PetscFunctionBeginUser;
  if (!run->needs.scored) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalAnalysisTellScore(run->analysis, run->cycle, score));
  PetscCall(KalAnalysisAsk(run->analysis, &ask));
  active = KalRunActivePoints(&ask, run->N);
  for (PetscInt j = before; j < active; j++) run->laststatus[j] = KAL_MEMBER_OK;
  for (PetscInt j = active; j < before; j++) run->laststatus[j] = KAL_MEMBER_IDLE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Scores of a data set, where they are due, and the spread. Members that take no part lie at the mean of the others. */
static PetscErrorCode TrainingValues(KalRun run, const KalBatch *batch, PetscReal *values)
{
  const PetscInt active = KalRunActive(run);
  KalScore       score  = {.accuracy = NAN, .nll = NAN, .ece = NAN, .rmse = NAN};

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSpread(run->ensemble, &values[KAL_HISTORY_SPREAD]));
  if (active < run->N) values[KAL_HISTORY_SPREAD] *= PetscSqrtReal((run->N - 1.0) / PetscMax(1.0, active - 1.0));
  if (run->evaluateevery && run->cycle % run->evaluateevery == 0) {
    PetscCall(KalRunScoreMean(run, &score));
    PetscCall(TellScore(run, &score));
  }
  values[KAL_HISTORY_EPOCH]    = batch->epoch;
  values[KAL_HISTORY_ACCURACY] = score.accuracy;
  values[KAL_HISTORY_NLL]      = score.nll;
  values[KAL_HISTORY_ECE]      = score.ece;
  values[KAL_HISTORY_RMSE]     = score.rmse;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void TimeValues(const KalBatch *batch, const KalCycle *c, const KalAnalysisReport *report, PetscReal *values)
{
  values[KAL_HISTORY_MODEL_TIME]      = batch->to;
  values[KAL_HISTORY_OBSERVATIONS]    = batch->samples;
  values[KAL_HISTORY_LEFT_OUT]        = report->rejected;
  values[KAL_HISTORY_RMSE_FORECAST]   = c->forecast.rmse;
  values[KAL_HISTORY_RMSE_ANALYSIS]   = c->analysis.rmse;
  values[KAL_HISTORY_SPREAD_FORECAST] = c->forecast.spread;
  values[KAL_HISTORY_SPREAD_ANALYSIS] = c->analysis.spread;
  values[KAL_HISTORY_CRPS_FORECAST]   = c->forecast.crps;
  values[KAL_HISTORY_CRPS_ANALYSIS]   = c->analysis.crps;
  values[KAL_HISTORY_INNOVATION]      = report->innovation;
  values[KAL_HISTORY_DFS]             = report->dfs;
  values[KAL_HISTORY_EFFECTIVE]       = report->effective;
  values[KAL_HISTORY_INFLATION]       = report->inflation;
}

static PetscErrorCode Remember(KalRun run, const KalBatch *batch, const KalCycle *c)
{
  KalAnalysisReport report;
  PetscReal         values[KAL_HISTORY_COLUMNS];

  PetscFunctionBeginUser;
  for (int k = 0; k < KAL_HISTORY_COLUMNS; k++) values[k] = NAN;
  if (run->size > 1) KalCountCollective(sizeof run->seconds, sizeof run->seconds);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, run->seconds, 3, MPI_DOUBLE, MPI_MAX, run->comm));
  PetscCall(KalAnalysisGetReport(run->analysis, &report));
  values[KAL_HISTORY_CYCLE]    = run->cycle;
  values[KAL_HISTORY_LOSS]     = report.loss;
  values[KAL_HISTORY_STEP]     = report.step;
  values[KAL_HISTORY_TIME]     = report.time;
  values[KAL_HISTORY_FAILED]   = c->failed + report.failed;
  values[KAL_HISTORY_REJECTED] = c->verdict == KAL_VERDICT_REJECT;
  if (run->timed) TimeValues(batch, c, &report, values);
  else PetscCall(TrainingValues(run, batch, values));
  values[KAL_HISTORY_FORECAST] = run->seconds[KAL_SECONDS_FORECAST];
  values[KAL_HISTORY_OBSERVE]  = run->seconds[KAL_SECONDS_OBSERVE];
  values[KAL_HISTORY_ANALYSIS] = run->seconds[KAL_SECONDS_ANALYSIS];
  values[KAL_HISTORY_PASSES]   = run->passes + report.passes;
  PetscCall(KalRunHistoryAdd(run, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A filter that has lost the truth is said once; by option it ends the run. */
static PetscErrorCode Diverge(KalRun run)
{
  const PetscBool before = run->diverged;

  PetscFunctionBeginUser;
  run->diverged                                      = KalRunHasDiverged(run);
  run->history[KAL_HISTORY_DIVERGED][run->cycle - 1] = run->diverged ? 1.0 : 0.0;
  if (run->diverged && !before) PetscCall(PetscPrintf(run->comm, "warning: the filter has diverged by cycle %" PetscInt_FMT ": its errors or innovations are more than %g times what its spread says (-run_divergence)\n", run->cycle, (double)run->divergence));
  if (run->diverged && run->stopdiverged) run->stopped = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunStep - Does one cycle, whatever their number is to be; prints nothing and writes no snapshot

   Collective

   Input Parameter:
.  run - the run; set up if it is not

.seealso: KalRunSolve()
@*/
PetscErrorCode KalRunStep(KalRun run)
{
  KalBatch    batch;
  KalCycle    c = {.verdict = KAL_VERDICT_AGAIN};
  double      start;
  KalEnsemble filtered;

  PetscFunctionBeginUser;
  PetscCall(KalRunSetUp(run));
  if (run->dry) PetscFunctionReturn(PETSC_SUCCESS);
  start = MPI_Wtime();
  PetscCall(PetscArrayzero(run->seconds, 3));
  run->passes = 0.0;
  if (run->timed) PetscCall(KalRunWindow(run, &batch));
  else PetscCall(KalObservationsNext(run->observations, run->cycle, &batch));
  run->seconds[KAL_SECONDS_OBSERVE] += MPI_Wtime() - start;
  start = MPI_Wtime();
  PetscCall(KalAnalysisBegin(run->analysis, run->cycle));
  run->seconds[KAL_SECONDS_ANALYSIS] += MPI_Wtime() - start;
  run->p = batch.samples * batch.outputs;
  PetscCall(Analyse(run, &batch, &c));
  if (run->timed) {
    PetscCall(KalAnalysisGetFiltered(run->analysis, &filtered));
    PetscCall(KalRunDiagnose(run, filtered, NULL, &c.analysis));
  }
  run->cycle++;
  run->stopped = (PetscBool)(c.verdict == KAL_VERDICT_STOP);
  PetscCall(Remember(run, &batch, &c));
  if (run->timed) PetscCall(Diverge(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether the run is over, having done all its cycles or been ended by its method. */
static PetscBool IsOver(KalRun run)
{
  return (PetscBool)(run->cycle >= run->cycles || run->stopped);
}

/* Under a wall-clock limit the first cycle is followed by a snapshot in any case: then it is known what one takes. */
static PetscBool SnapshotIsDue(KalRun run)
{
  const PetscBool every = (PetscBool)(run->snapshotevery && run->cycle % run->snapshotevery == 0), first = (PetscBool)(run->limit > 0.0 && run->cycle == run->begun + 1);

  return (PetscBool)(run->snapshotpath[0] && (every || first));
}

/* The cycles that are left, or those before a signal or the wall-clock limit. */
static PetscErrorCode Cycles(KalRun run)
{
  PetscBool written = PETSC_FALSE, stop = PETSC_FALSE;
  double    start;

  PetscFunctionBeginUser;
  while (!IsOver(run)) {
    PetscCall(KalRunMustStop(run, &stop));
    if (stop) break;
    start = MPI_Wtime();
    PetscCall(KalRunStep(run));
    PetscCall(KalRunLine(run));
    PetscCall(KalRunLevelsWrite(run));
    PetscCall(KalRunProgress(run, PETSC_FALSE));
    run->longestcycle = PetscMax(run->longestcycle, MPI_Wtime() - start);
    written           = (PetscBool)(SnapshotIsDue(run) && !IsOver(run));
    if (written) PetscCall(KalRunWrite(run, PETSC_FALSE));
  }
  if (!stop) PetscFunctionReturn(PETSC_SUCCESS);
  if (!written) PetscCall(KalRunWrite(run, PETSC_FALSE));
  PetscCall(PetscPrintf(run->comm, "stop: after cycle %" PetscInt_FMT " of %" PetscInt_FMT ", to be continued: -restart %s\n", run->cycle, run->cycles, run->snapshotpath));
  run->interrupted = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunSolve - Runs the cycles that are left, writes snapshots, prints the result

   Collective

   Input Parameter:
.  run - the run; set up if it is not

   Notes:
   A restarted run that is done prints its result again and returns at once.

   On SIGUSR1 on any rank, and when -run_walltime nears, the cycle in hand is finished and a snapshot marked `continue` is
   written in place of the result; KalRunIsDone() tells the two ends apart. A handler of the program's own for SIGUSR1 is
   left alone.

.seealso: KalRunIsDone(), KalRunStep()
@*/
PetscErrorCode KalRunSolve(KalRun run)
{
  PetscBool finished;

  PetscFunctionBeginUser;
  KalStopCatch();
  PetscCall(KalRunSetUp(run));
  if (run->dry) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalRunPhasesBegin(run));
  run->started  = MPI_Wtime();
  run->reported = run->begun = run->cycle;
  finished                   = (PetscBool)(run->resumed && run->result && (run->stopped || run->cycle >= run->cycles));
  PetscCall(Cycles(run));
  PetscCall(KalRunProgress(run, PETSC_TRUE));
  if (!finished && !run->interrupted) {
    KalPhasesHold(PETSC_TRUE); /* the scores at the end are of no cycle */
    PetscCall(KalRunResult(run));
    KalPhasesHold(PETSC_FALSE);
    if (run->snapshotpath[0]) PetscCall(KalRunWrite(run, PETSC_TRUE));
  }
  PetscCall(KalRunPhasesWrite(run));
  if (!run->interrupted) PetscCall(PetscPrintf(run->comm, "%s\n", run->result));
  PetscFunctionReturn(PETSC_SUCCESS);
}
