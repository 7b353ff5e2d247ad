/* What a run prints: a header, a line a cycle, a progress bar on a terminal, and the result line. */
#include "runimpl.h"

#include <unistd.h>

/* Groups are of no use to a model that one rank runs. */
static PetscErrorCode WarnAlone(KalRun run)
{
  KalModelOps *ops;
  KalModelType type;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetOps(run->model, &ops));
  PetscCall(KalModelGetType(run->model, &type));
  if (run->span > 1 && (ops->together == KAL_TOGETHER_NOT || (ops->together == KAL_TOGETHER_SAMPLES && (run->timed || ops->propagate)))) PetscCall(PetscPrintf(run->comm, "warning: -run_ranks_per_member %d: a member of the model %s is run by one rank, and the others of its group wait\n", run->span, type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunHeader - Prints what will be done, the memory it will take, and advice
*/
PetscErrorCode KalRunHeader(KalRun run)
{
  PetscViewer viewer;
  char        provenance[512];

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIGetStdout(run->comm, &viewer));
  PetscCall(KalProvenance(sizeof provenance, provenance));
  PetscCall(PetscPrintf(run->comm, "%s, %d rank%s\n", provenance, run->size, run->size > 1 ? "s" : ""));
  PetscCall(KalModelView(run->model, viewer));
  PetscCall(KalObservationsView(run->observations, viewer));
  PetscCall(KalAnalysisView(run->analysis, viewer));
  PetscCall(PetscPrintf(run->comm, "ensemble: N = %" PetscInt_FMT " members of n = %" PetscInt_FMT ", %s, %" PetscInt_FMT " cop%s\n", run->N, run->n, run->needs.generated ? "generated about a mean" : "stored", run->needs.copies, run->needs.copies == 1 ? "y" : "ies"));
  PetscCall(PetscPrintf(run->comm, "run: %" PetscInt_FMT " cycles, ", run->cycles));
  if (run->timed) PetscCall(PetscPrintf(run->comm, "burn-in to time %g, seed %" PetscInt_FMT, (double)run->burnin, run->seed));
  else PetscCall(PetscPrintf(run->comm, "%" PetscInt_FMT " an epoch, seed %" PetscInt_FMT, run->batches, run->seed));
  if (run->schedule == KAL_RUN_DYNAMIC) PetscCall(PetscPrintf(run->comm, ", members by a queue, %" PetscInt_FMT " at once", run->schedulemembers));
  if (run->span > 1) PetscCall(PetscPrintf(run->comm, ", groups of %d ranks", run->span));
  if (run->snapshotpath[0]) {
    PetscCall(PetscPrintf(run->comm, ", snapshot %s", run->snapshotpath));
    if (run->snapshotevery) PetscCall(PetscPrintf(run->comm, " every %" PetscInt_FMT " cycles", run->snapshotevery));
    else PetscCall(PetscPrintf(run->comm, " at the end"));
  }
  PetscCall(PetscPrintf(run->comm, "\n"));
  PetscCall(KalRunMemory(run));
  PetscCall(WarnAlone(run));
  PetscCall(run->dry ? KalAdvise(run->comm) : KalAdviseLoudly(run->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscReal Last(KalRun run, KalHistoryColumn column)
{
  return run->history[column][run->cycle - 1];
}

static PetscErrorCode TrainingLine(KalRun run)
{
  PetscFunctionBeginUser;
  PetscCall(PetscPrintf(run->comm, "cycle %6" PetscInt_FMT "  epoch %4g  loss %10.4e  step %9.3e  spread %9.3e", run->cycle, (double)Last(run, KAL_HISTORY_EPOCH), (double)Last(run, KAL_HISTORY_LOSS), (double)Last(run, KAL_HISTORY_STEP), (double)Last(run, KAL_HISTORY_SPREAD)));
  PetscCall(PetscPrintf(run->comm, "  s %.2f+%.2f+%.2f", (double)Last(run, KAL_HISTORY_FORECAST), (double)Last(run, KAL_HISTORY_OBSERVE), (double)Last(run, KAL_HISTORY_ANALYSIS)));
  if (!PetscIsNanReal(Last(run, KAL_HISTORY_ACCURACY))) PetscCall(PetscPrintf(run->comm, "  accuracy %.4f", (double)Last(run, KAL_HISTORY_ACCURACY)));
  else if (!PetscIsNanReal(Last(run, KAL_HISTORY_RMSE))) PetscCall(PetscPrintf(run->comm, "  rmse %.4e", (double)Last(run, KAL_HISTORY_RMSE)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TimeLine(KalRun run)
{
  PetscFunctionBeginUser;
  PetscCall(PetscPrintf(run->comm, "cycle %6" PetscInt_FMT "  time %8g", run->cycle, (double)Last(run, KAL_HISTORY_MODEL_TIME)));
  if (run->truth) PetscCall(PetscPrintf(run->comm, "  rmse %9.3e -> %9.3e", (double)Last(run, KAL_HISTORY_RMSE_FORECAST), (double)Last(run, KAL_HISTORY_RMSE_ANALYSIS)));
  PetscCall(PetscPrintf(run->comm, "  spread %9.3e -> %9.3e  innovation %5.2f", (double)Last(run, KAL_HISTORY_SPREAD_FORECAST), (double)Last(run, KAL_HISTORY_SPREAD_ANALYSIS), (double)Last(run, KAL_HISTORY_INNOVATION)));
  PetscCall(PetscPrintf(run->comm, "  s %.2g+%.2g+%.2g", (double)Last(run, KAL_HISTORY_FORECAST), (double)Last(run, KAL_HISTORY_OBSERVE), (double)Last(run, KAL_HISTORY_ANALYSIS)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunLine - Prints the line of the cycle that was just done, where one is due
*/
PetscErrorCode KalRunLine(KalRun run)
{
  const PetscBool due = (PetscBool)(run->monitorevery > 0 && (run->cycle % run->monitorevery == 0 || run->cycle == run->cycles || run->stopped));

  PetscFunctionBeginUser;
  if (!due && Last(run, KAL_HISTORY_FAILED) == 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalRunProgress(run, PETSC_TRUE));
  PetscCall(run->timed ? TimeLine(run) : TrainingLine(run));
  if (Last(run, KAL_HISTORY_FAILED) > 0.0) PetscCall(PetscPrintf(run->comm, "  %" PetscInt_FMT " failed members redrawn", (PetscInt)Last(run, KAL_HISTORY_FAILED)));
  if (run->timed && Last(run, KAL_HISTORY_LEFT_OUT) > 0.0) PetscCall(PetscPrintf(run->comm, "  %.0f of %.0f observations rejected", (double)Last(run, KAL_HISTORY_LEFT_OUT), (double)Last(run, KAL_HISTORY_OBSERVATIONS)));
  PetscCall(KalRunLevelsLine(run));
  if (Last(run, KAL_HISTORY_REJECTED) > 0.0) PetscCall(PetscPrintf(run->comm, "  rejected"));
  PetscCall(PetscPrintf(run->comm, "\n"));
  if (run->rank == 0) (void)fflush(stdout);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunProgress - Draws the bar with the time left on standard error, or wipes it
*/
PetscErrorCode KalRunProgress(KalRun run, PetscBool wipe)
{
  const PetscBool on   = (PetscBool)(run->progress > 0 || (run->progress < 0 && isatty(2)));
  const PetscInt  done = run->cycle - run->reported, width = 30, full = run->cycles ? (PetscInt)((PetscInt64)width * run->cycle / run->cycles) : width;
  double          left;
  PetscInt        i;

  PetscFunctionBeginUser;
  if (run->rank || !on) PetscFunctionReturn(PETSC_SUCCESS);
  if (wipe) {
    (void)fprintf(stderr, "\r%-78s\r", "");
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  left = done > 0 ? (MPI_Wtime() - run->started) / done * (run->cycles - run->cycle) : 0.0;
  (void)fprintf(stderr, "\r[");
  for (i = 0; i < width; i++) (void)fputc(i < full ? '#' : '.', stderr);
  (void)fprintf(stderr, "] %" PetscInt_FMT "/%" PetscInt_FMT " cycles, %d:%02d left ", run->cycle, run->cycles, (int)(left / 60.0), (int)left % 60);
  (void)fflush(stderr);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunSeconds - Time spent so far, before a restart included; rank 0's on every rank, since it goes into the snapshot

  Collective
*/
PetscErrorCode KalRunSeconds(KalRun run, double *seconds)
{
  PetscFunctionBeginUser;
  *seconds = run->spent + MPI_Wtime() - run->started;
  PetscCallMPI(MPI_Bcast(seconds, 1, MPI_DOUBLE, 0, run->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TrainingResult(KalRun run, size_t size, char *text)
{
  KalScore  mean, ensemble;
  PetscReal loss = run->cycle ? Last(run, KAL_HISTORY_LOSS) : NAN;

  PetscFunctionBeginUser;
  PetscCall(KalRunScoreMean(run, &mean));
  if (run->evaluateensemble) PetscCall(KalRunScoreEnsemble(run, &ensemble));
  else ensemble.accuracy = ensemble.nll = ensemble.ece = ensemble.rmse = NAN;
  PetscCall(PetscSNPrintf(text, size, "loss=%.6g accuracy=%.4f accuracy_ensemble=%.4f nll=%.4f ece=%.4f rmse=%.6g nll_ensemble=%.4f ece_ensemble=%.4f rmse_ensemble=%.6g", (double)loss, (double)mean.accuracy, (double)ensemble.accuracy, (double)mean.nll, (double)mean.ece, (double)mean.rmse, (double)ensemble.nll, (double)ensemble.ece, (double)ensemble.rmse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Means over time, after the burn-in. */
static PetscErrorCode TimeResult(KalRun run, size_t size, char *text)
{
  static const KalHistoryColumn columns[] = {KAL_HISTORY_RMSE_FORECAST, KAL_HISTORY_RMSE_ANALYSIS, KAL_HISTORY_SPREAD_FORECAST, KAL_HISTORY_SPREAD_ANALYSIS, KAL_HISTORY_CRPS_FORECAST, KAL_HISTORY_CRPS_ANALYSIS, KAL_HISTORY_INNOVATION, KAL_HISTORY_DFS, KAL_HISTORY_EFFECTIVE, KAL_HISTORY_INFLATION};
  PetscReal                     mean, error;
  PetscInt                      k, diverged = 0;
  PetscReal                     rejected = 0.0;
  char                          one[128];
  size_t                        i;

  PetscFunctionBeginUser;
  if (run->cycle && Last(run, KAL_HISTORY_MODEL_TIME) <= run->burnin) PetscCall(PetscPrintf(run->comm, "warning: the run ends at time %g and the burn-in at %g: nothing is left for means over time (-run_burn_in)\n", (double)Last(run, KAL_HISTORY_MODEL_TIME), (double)run->burnin));
  for (k = 0; k < run->cycle; k++) {
    diverged += run->history[KAL_HISTORY_DIVERGED][k] > 0.0;
    rejected += run->history[KAL_HISTORY_LEFT_OUT][k];
  }
  PetscCall(PetscSNPrintf(text, size, "time=%g diverged=%d diverged_cycles=%" PetscInt_FMT " rejected=%.0f", run->cycle ? (double)Last(run, KAL_HISTORY_MODEL_TIME) : 0.0, run->diverged ? 1 : 0, diverged, (double)rejected));
  for (i = 0; i < PETSC_STATIC_ARRAY_LENGTH(columns); i++) {
    KalRunTimeMean(run, columns[i], &mean, &error);
    PetscCall(PetscSNPrintf(one, sizeof one, " %s=%.4f", KalHistoryInfos[columns[i]].name, (double)mean));
    PetscCall(PetscStrlcat(text, one, size));
    if (columns[i] != KAL_HISTORY_RMSE_ANALYSIS) continue;
    PetscCall(PetscSNPrintf(one, sizeof one, " rmse_analysis_error=%.4f", (double)error));
    PetscCall(PetscStrlcat(text, one, size));
  }
  PetscCall(PetscSNPrintf(one, sizeof one, " outliers=%.4f", (double)KalRunOutliers(run)));
  PetscCall(PetscStrlcat(text, one, size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunResult - Scores the end of the run and prints its last line, which scripts rely on; kept for a restart of a finished run
*/
PetscErrorCode KalRunResult(KalRun run)
{
  PetscInt64 checksum;
  double     seconds;
  char       scores[1024], text[1200];

  PetscFunctionBeginUser;
  PetscCall(run->timed ? TimeResult(run, sizeof scores, scores) : TrainingResult(run, sizeof scores, scores));
  PetscCall(KalEnsembleChecksum(run->ensemble, &checksum));
  PetscCall(KalRunSeconds(run, &seconds));
  PetscCall(PetscSNPrintf(text, sizeof text, "result: cycles=%" PetscInt_FMT " %s forward_passes=%.0f seconds=%.1f checksum=%016llx", run->cycle, scores, (double)KalRunPasses(run), seconds, (unsigned long long)checksum));
  PetscCall(PetscFree(run->result));
  PetscCall(PetscStrallocpy(text, &run->result));
  PetscFunctionReturn(PETSC_SUCCESS);
}
