/* A table of what the phases of the cycles took and moved, over all ranks. */
#include "runimpl.h"

#include <errno.h>
#include <string.h>

enum {
  KAL_COUNT_SENT,
  KAL_COUNT_RECEIVED,
  KAL_COUNT_MESSAGES,
  KAL_COUNT_COLLECTIVES,
  KAL_COUNT_SHARED,
  KAL_COUNTS,
};

/* What stands in front of each line, so that tables of several runs can be put one behind the other. */
static PetscErrorCode Prefix(KalRun run, size_t size, char *text)
{
  KalAnalysisType method;
  KalExchange     exchange = KAL_EXCHANGE_MESSAGES;
  PetscInt        s;

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetType(run->analysis, &method));
  for (s = 0; s < KAL_RUN_SLOTS && !run->predictions[s]; s++)
    ;
  if (s < KAL_RUN_SLOTS) PetscCall(KalEnsembleGetExchange(run->predictions[s], &exchange));
  PetscCall(PetscSNPrintf(text, size, "%s,%d,%d,%" PetscInt_FMT ",%" PetscInt_FMT ",%" PetscInt_FMT ",%s,%" PetscInt_FMT, method, run->size, run->span, run->n, run->N, run->p, KalExchanges[exchange], run->cycle - run->unphased));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One phase over all ranks: the slowest rank's seconds; of each count the most of a rank, and that of all ranks. */
static PetscErrorCode Line(KalRun run, const char *prefix, const char *name, const KalPhaseCost *cost, FILE *file)
{
  PetscInt64 own[KAL_COUNTS], most[KAL_COUNTS], sum[KAL_COUNTS];
  double     slowest;

  PetscFunctionBeginUser;
  own[KAL_COUNT_SENT]        = cost->sent;
  own[KAL_COUNT_RECEIVED]    = cost->received;
  own[KAL_COUNT_MESSAGES]    = cost->messages;
  own[KAL_COUNT_COLLECTIVES] = cost->collectives;
  own[KAL_COUNT_SHARED]      = cost->shared;
  PetscCallMPI(MPI_Reduce(&cost->seconds, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, run->comm));
  PetscCallMPI(MPI_Reduce(own, most, KAL_COUNTS, MPI_INT64_T, MPI_MAX, 0, run->comm));
  PetscCallMPI(MPI_Reduce(own, sum, KAL_COUNTS, MPI_INT64_T, MPI_SUM, 0, run->comm));
  if (!file) PetscFunctionReturn(PETSC_SUCCESS);
  (void)fprintf(file, "%s,%s,%.6f", prefix, name, slowest);
  for (int k = 0; k < KAL_COUNTS; k++) (void)fprintf(file, ",%lld,%lld", (long long)most[k], (long long)sum[k]);
  (void)fprintf(file, "\n");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Lines(KalRun run, const char *prefix, FILE *file)
{
  KalPhaseCost cost, all = {.seconds = 0.0};

  PetscFunctionBeginUser;
  for (int k = 0; KalPhaseNames[k]; k++) {
    PetscCall(KalPhaseGet(KalPhaseNames[k], &cost));
    PetscCall(Line(run, prefix, KalPhaseNames[k], &cost, file));
    all.seconds += cost.seconds;
    all.sent += cost.sent;
    all.received += cost.received;
    all.messages += cost.messages;
    all.collectives += cost.collectives;
    all.shared += cost.shared;
  }
  PetscCall(Line(run, prefix, "all", &all, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rank 0 opens the file; a path that cannot be written is an error of all ranks. */
static PetscErrorCode Open(KalRun run, const char *mode, FILE **file)
{
  char text[PETSC_MAX_PATH_LEN + 128] = "";

  PetscFunctionBeginUser;
  *file = NULL;
  if (!run->rank) {
    *file = fopen(run->phases, mode);
    if (!*file) PetscCall(PetscSNPrintf(text, sizeof text, "-run_phases %s cannot be written (%s): give a file in a folder that is there", run->phases, strerror(errno)));
  }
  KalCheckAll(run->comm, PETSC_ERR_FILE_OPEN, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunPhasesBegin - Begins to count what the phases take and move, where that is wanted, and sees that it can be written

  Collective
*/
PetscErrorCode KalRunPhasesBegin(KalRun run)
{
  FILE *file;

  PetscFunctionBeginUser;
  if (!run->phases[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Open(run, "a", &file));
  if (file) (void)fclose(file);
  run->unphased = run->cycle;
  PetscCall(KalPhasesReset());
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunPhasesWrite - Writes the table, where it is wanted

  Collective
*/
PetscErrorCode KalRunPhasesWrite(KalRun run)
{
  FILE *file;
  char  prefix[256], text[PETSC_MAX_PATH_LEN + 128] = "";

  PetscFunctionBeginUser;
  if (!run->phases[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Prefix(run, sizeof prefix, prefix));
  PetscCall(Open(run, "w", &file));
  if (file) (void)fprintf(file, "method,ranks,ranks_per_member,state,members,observations,exchange,cycles,phase,seconds,sent_most,sent_all,received_most,received_all,messages_most,messages_all,collectives_most,collectives_all,shared_most,shared_all\n");
  PetscCall(Lines(run, prefix, file));
  if (file && fclose(file)) PetscCall(PetscSNPrintf(text, sizeof text, "-run_phases %s cannot be written: %s", run->phases, strerror(errno)));
  KalCheckAll(run->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}
