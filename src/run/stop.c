/* What ends a run early, to be continued: SIGUSR1 on any rank, or a wall-clock limit that nears. */
#include "runimpl.h"

#include <ctype.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds before the limit that are left to what comes after the run: MPI ends, the job script asks for another turn. */
#define KAL_RESERVE 10.0
/* A cycle or a snapshot may take so many times what the longest took. */
#define KAL_SAFETY 1.5

static volatile sig_atomic_t signalled;
static double                began = -1.0; /* when this process began, by Now() */

static void Note(int number)
{
  (void)number;
  signalled = 1;
}

static double Now(void)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/*
  KalStopCatch - From now on SIGUSR1 is noted, unless the program handles it itself; the wall clock runs

  Not Collective; PETSc need not be there yet. Called again it changes nothing. A signal that was to be ignored is noted,
  too: job scripts ignore it for themselves.
*/
void KalStopCatch(void)
{
  struct sigaction action;

  if (began < 0.0) began = Now();
  if (sigaction(SIGUSR1, NULL, &action) || (action.sa_flags & SA_SIGINFO)) return;
  if (action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN) return;
  memset(&action, 0, sizeof action);
  action.sa_handler = Note;
  action.sa_flags   = SA_RESTART;
  (void)sigaction(SIGUSR1, &action, NULL);
}

/*
  KalStopParse - A time as seconds, or in Slurm's forms M:S, H:M:S, D-H, D-H:M, D-H:M:S; 0 for UNLIMITED, negative where it is none of these
*/
double KalStopParse(const char *text)
{
  static const double after[3] = {
      3600.0, 60.0, 1.0
  },
                      before[3][3] = {{1.0}, {60.0, 1.0}, {3600.0, 60.0, 1.0}};
  double      days = 0.0, part[3] = {0.0}, seconds;
  const char *dash  = strchr(text, '-');
  int         parts = 0;
  char       *end;

  if (!strcmp(text, "UNLIMITED") || !strcmp(text, "INFINITE")) return 0.0;
  if (dash) {
    if (!isdigit((unsigned char)text[0])) return -1.0;
    days = strtod(text, &end);
    if (end != dash) return -1.0;
    text = dash + 1;
  }
  do {
    if (parts == 3 || !isdigit((unsigned char)text[0])) return -1.0;
    part[parts++] = strtod(text, &end);
    text          = end + 1;
  } while (*end == ':');
  if (*end) return -1.0;
  seconds = 86400.0 * days;
  for (int k = 0; k < parts; k++) seconds += part[k] * (dash ? after[k] : before[parts - 1][k]);
  return seconds;
}

/*
  KalStopCheckOptions - Refuses a wall-clock limit that cannot be kept, and takes it

  Collective
*/
PetscErrorCode KalStopCheckOptions(KalRun run)
{
  PetscFunctionBeginUser;
  run->limit = run->walltime[0] ? KalStopParse(run->walltime) : 0.0;
  PetscCheck(run->limit >= 0.0, run->comm, PETSC_ERR_ARG_WRONG, "-run_walltime %s is no time: give seconds, or M:S, H:M:S, D-H, D-H:M, D-H:M:S as Slurm has it, or UNLIMITED", run->walltime);
  PetscCheck(run->limit == 0.0 || run->limit > KAL_RESERVE, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-run_walltime %s is too short: %g s are kept for the end of the job, and a cycle and a snapshot come before", run->walltime, KAL_RESERVE);
  PetscCheck(run->limit == 0.0 || run->snapshotpath[0], run->comm, PETSC_ERR_ARG_INCOMP, "-run_walltime %s needs a file to stop into: -snapshot_path run.h5", run->walltime);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether there is no longer time for another cycle and a snapshot; rank 0's answer counts. */
static PetscBool LimitNears(KalRun run)
{
  return (PetscBool)(run->limit > 0.0 && run->cycle > run->begun && Now() - began + KAL_SAFETY * (run->longestcycle + run->longestsnapshot) + KAL_RESERVE > run->limit);
}

/*
  KalRunMustStop - Whether the run is to stop after the cycle that was just done, and says why

  Collective: one reduction of an int
*/
PetscErrorCode KalRunMustStop(KalRun run, PetscBool *stop)
{
  int why = signalled ? 2 : (!run->rank && LimitNears(run) ? 1 : 0);

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &why, 1, MPI_INT, MPI_MAX, run->comm));
  *stop = (PetscBool)(why > 0);
  if (!why) PetscFunctionReturn(PETSC_SUCCESS);
  signalled = 0;
  PetscCall(KalRunProgress(run, PETSC_TRUE));
  PetscCheck(run->snapshotpath[0], run->comm, PETSC_ERR_ARG_INCOMP, "SIGUSR1 ends the run after cycle %" PetscInt_FMT " of %" PetscInt_FMT ", and nothing of it is kept: no -snapshot_path was given", run->cycle, run->cycles);
  if (why == 1) PetscCall(PetscPrintf(run->comm, "stop: -run_walltime %s is near, %.0f s are gone; a cycle took up to %.2g s, a snapshot %.2g s\n", run->walltime, Now() - began, run->longestcycle, run->longestsnapshot));
  else PetscCall(PetscPrintf(run->comm, "stop: SIGUSR1\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}
