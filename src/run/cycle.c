/* The cycle: next batch; ask, propagate, observe, tell while again; rows; monitor, snapshot. */
#include "runimpl.h"

static PetscErrorCode CheckSurvivors(KalRun run, PetscInt *failed)
{
  PetscInt j;

  PetscFunctionBeginUser;
  *failed = 0;
  for (j = 0; j < run->N; j++) *failed += run->status[j] != KAL_MEMBER_OK;
  PetscCall(PetscArraycpy(run->laststatus, run->status, run->N));
  PetscCheck(run->N - *failed >= run->survivors, run->comm, (PetscErrorCode)PETSC_ERR_CONV_FAILED, "Only %" PetscInt_FMT " of %" PetscInt_FMT " members survived cycle %" PetscInt_FMT "; at least %" PetscInt_FMT " are needed (-run_survivors). %s%s%s", run->N - *failed, run->N, run->cycle + 1, run->survivors, run->snapshotpath[0] ? "The last snapshot is whole: look at " : "No snapshot was asked for (-snapshot_path)", run->snapshotpath, run->snapshotpath[0] ? " and restart with a smaller step" : "");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Asks and tells until the method is done with the batch. */
static PetscErrorCode Analyse(KalRun run, const KalBatch *batch, PetscInt *failed, KalVerdict *verdict)
{
  KalTold  told = {.observations = run->observations, .batch = batch, .cycle = run->cycle};
  PetscInt asked;
  double   start;

  PetscFunctionBeginUser;
  for (asked = 0, *verdict = KAL_VERDICT_AGAIN; *verdict == KAL_VERDICT_AGAIN; asked++) {
    KalEnsemble points;

    start = MPI_Wtime();
    PetscCall(KalAnalysisAsk(run->analysis, &points));
    run->seconds[KAL_SECONDS_ANALYSIS] += MPI_Wtime() - start;
    PetscCall(KalRunEvaluate(run, points, batch, &told.predictions));
    if (!asked) PetscCall(CheckSurvivors(run, failed));
    told.status = run->status;
    start       = MPI_Wtime();
    PetscCall(PetscLogEventBegin(KalRunEvents[KAL_EVENT_TELL], 0, 0, 0, 0));
    PetscCall(KalAnalysisTell(run->analysis, &told, verdict));
    PetscCall(PetscLogEventEnd(KalRunEvents[KAL_EVENT_TELL], 0, 0, 0, 0));
    run->seconds[KAL_SECONDS_ANALYSIS] += MPI_Wtime() - start;
  }
  start = MPI_Wtime();
  PetscCall(PetscLogEventBegin(KalRunEvents[KAL_EVENT_UPDATE], 0, 0, 0, 0));
  if (*verdict != KAL_VERDICT_REJECT) PetscCall(KalAnalysisUpdate(run->analysis));
  PetscCall(PetscLogEventEnd(KalRunEvents[KAL_EVENT_UPDATE], 0, 0, 0, 0));
  run->seconds[KAL_SECONDS_ANALYSIS] += MPI_Wtime() - start;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Remember(KalRun run, PetscInt epoch, PetscInt failed, KalVerdict verdict)
{
  KalAnalysisReport report;
  KalScore          score = {.accuracy = NAN, .nll = NAN, .ece = NAN, .rmse = NAN};
  PetscReal         values[KAL_HISTORY_COLUMNS], spread;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, run->seconds, 3, MPI_DOUBLE, MPI_MAX, run->comm));
  PetscCall(KalAnalysisGetReport(run->analysis, &report));
  PetscCall(KalEnsembleGetSpread(run->ensemble, &spread));
  if (run->evaluateevery && run->cycle % run->evaluateevery == 0) PetscCall(KalRunScoreMean(run, &score));
  values[KAL_HISTORY_CYCLE]    = run->cycle;
  values[KAL_HISTORY_EPOCH]    = epoch;
  values[KAL_HISTORY_LOSS]     = report.loss;
  values[KAL_HISTORY_STEP]     = report.step;
  values[KAL_HISTORY_TIME]     = report.time;
  values[KAL_HISTORY_SPREAD]   = spread;
  values[KAL_HISTORY_FAILED]   = failed;
  values[KAL_HISTORY_REJECTED] = verdict == KAL_VERDICT_REJECT;
  values[KAL_HISTORY_ACCURACY] = score.accuracy;
  values[KAL_HISTORY_NLL]      = score.nll;
  values[KAL_HISTORY_ECE]      = score.ece;
  values[KAL_HISTORY_RMSE]     = score.rmse;
  values[KAL_HISTORY_FORECAST] = run->seconds[KAL_SECONDS_FORECAST];
  values[KAL_HISTORY_OBSERVE]  = run->seconds[KAL_SECONDS_OBSERVE];
  values[KAL_HISTORY_ANALYSIS] = run->seconds[KAL_SECONDS_ANALYSIS];
  PetscCall(KalRunHistoryAdd(run, values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Cycle(KalRun run)
{
  KalBatch   batch;
  KalVerdict verdict;
  PetscInt   failed = 0;
  double     start  = MPI_Wtime();

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(run->seconds, 3));
  PetscCall(KalObservationsNext(run->observations, run->cycle, &batch));
  run->seconds[KAL_SECONDS_OBSERVE] += MPI_Wtime() - start;
  start = MPI_Wtime();
  PetscCall(KalAnalysisBegin(run->analysis, run->cycle));
  run->seconds[KAL_SECONDS_ANALYSIS] += MPI_Wtime() - start;
  PetscCall(Analyse(run, &batch, &failed, &verdict));
  run->cycle++;
  run->stopped = (PetscBool)(verdict == KAL_VERDICT_STOP);
  PetscCall(Remember(run, batch.epoch, failed, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunSolve - Runs the cycles that are left, writes snapshots, prints the result

   Collective

   Input Parameter:
.  run - the run; set up if it is not

   Note:
   A restarted run that is done prints its result again and returns at once.
@*/
PetscErrorCode KalRunSolve(KalRun run)
{
  PetscBool finished;

  PetscFunctionBeginUser;
  PetscCall(KalRunSetUp(run));
  if (run->dry) PetscFunctionReturn(PETSC_SUCCESS);
  run->started  = MPI_Wtime();
  run->reported = run->cycle;
  finished      = (PetscBool)(run->resumed && run->result && (run->stopped || run->cycle >= run->cycles));
  while (run->cycle < run->cycles && !run->stopped) {
    PetscCall(Cycle(run));
    PetscCall(KalRunLine(run));
    PetscCall(KalRunProgress(run, PETSC_FALSE));
    if (run->snapshotpath[0] && run->snapshotevery && run->cycle % run->snapshotevery == 0 && run->cycle < run->cycles && !run->stopped) PetscCall(KalRunWrite(run, PETSC_FALSE));
  }
  PetscCall(KalRunProgress(run, PETSC_TRUE));
  if (!finished) {
    PetscCall(KalRunResult(run));
    if (run->snapshotpath[0]) PetscCall(KalRunWrite(run, PETSC_TRUE));
  }
  PetscCall(PetscPrintf(run->comm, "%s\n", run->result));
  PetscFunctionReturn(PETSC_SUCCESS);
}
