#include "kaltest.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Not in cmocka.h's macro for a group of run-time size. */
extern int _cmocka_run_group_tests(const char *, const struct CMUnitTest *const, const size_t, CMFixtureFunction, CMFixtureFunction);

static char message[4096];
static char scratch[1024];

static PetscErrorCode remember(MPI_Comm comm, int line, const char *func, const char *file, PetscErrorCode code, PetscErrorType type, const char *text, void *ctx)
{
  (void)comm;
  (void)line;
  (void)func;
  (void)file;
  (void)ctx;
  if (type == PETSC_ERROR_INITIAL) snprintf(message, sizeof message, "%s", text ? text : "");
  return code;
}

int KalTestAll(int ok)
{
  int all = 0;
  (void)MPI_Allreduce(&ok, &all, 1, MPI_INT, MPI_MIN, PETSC_COMM_WORLD);
  return all;
}

const char *KalTestMessage(void)
{
  return message;
}

const char *KalTestPath(const char *name)
{
  static char path[2048];
  snprintf(path, sizeof path, "%s/%s", scratch, name);
  return path;
}

static void timeout(int sig)
{
  static const char text[] = "a test ran past its time\n";
  (void)sig;
  if (write(2, text, sizeof text - 1) < 0) _exit(98);
  _exit(99);
}

int KalTestMain(int argc, char **argv, const char *group, const struct CMUnitTest *tests, size_t count)
{
  const char *rankname = getenv("OMPI_COMM_WORLD_RANK"), *limit = getenv("KALTEST_SECONDS");
  int         failed = 0, pid = (int)getpid();

  if (rankname && atoi(rankname) > 0) { /* one report is enough */
    if (!freopen("/dev/null", "w", stdout)) return 1;
  }
  if (PetscInitialize(&argc, &argv, NULL, NULL)) return 1;
  PetscPushErrorHandler(remember, NULL);
  (void)MPI_Bcast(&pid, 1, MPI_INT, 0, PETSC_COMM_WORLD);
  snprintf(scratch, sizeof scratch, "%s/kaltest-%d", getenv("KALTEST_SCRATCH") ? getenv("KALTEST_SCRATCH") : "/tmp", pid);
  mkdir(scratch, 0700);
  (void)MPI_Barrier(PETSC_COMM_WORLD);
  signal(SIGALRM, timeout);
  alarm(limit ? (unsigned)atoi(limit) : 300);
  failed = _cmocka_run_group_tests(group, tests, count, NULL, NULL);
  (void)MPI_Barrier(PETSC_COMM_WORLD);
  if (!rankname || atoi(rankname) == 0) {
    char command[1200];
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    if (system(command)) failed++;
  }
  PetscPopErrorHandler();
  if (PetscFinalize()) failed++;
  return failed;
}
