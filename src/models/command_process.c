/*
  Children of a process that runs MPI: started by vfork() and execve(), never by a shell, in process groups of their own.

  vfork() copies no page of the parent, so that memory which a network adapter has registered stays where it is, as
  posix_spawn() would; it alone allows the child to ask that it be killed when this process is.
*/
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* vfork(), environ */
#endif
#include <models/commandimpl.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/prctl.h>
#endif

/* Files that may be open beside 0, 1 and 2; without a list of them, as many are tried. */
#define KAL_FILES_MOST 4096

/* Variables by which a launcher tells a process that it is part of an MPI job or of a job step; a name or its beginning and *. */
static const char *const Launcher[] = {"OMPI_*", "PMIX_*", "PMI_*", "PMI2_*", "ORTE_*", "PRTE_*", "OPAL_*", "MPI_LOCAL*", "MPIR_*", "MV2_COMM_WORLD_*", "HYDI_*", "HYDRA_*", "PALS_*", "FLUX_TASK_*", "SLURM_STEP*", "SLURM_TASK*", "SLURM_LAUNCH_*", "SLURM_SRUN_*", "SLURM_PMI*", "SLURM_CPU_BIND*", "SLURM_MEM_BIND*", "SLURM_GPU_BIND*", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_GTIDS", "SLURM_NTASKS*", "SLURM_NPROCS", "SLURM_DISTRIBUTION", "SLURM_MPI_TYPE", "SLURM_UMASK", "SLURM_PRIO_PROCESS", "SLURM_TOPOLOGY_*", NULL};

double KalProcessNow(void)
{
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static PetscBool IsLaunchers(const char *variable)
{
  const size_t length = strcspn(variable, "=");

  for (PetscInt i = 0; Launcher[i]; i++) {
    const size_t known = strcspn(Launcher[i], "*");

    if (!strncmp(variable, Launcher[i], known) && (Launcher[i][known] || known == length)) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

PetscErrorCode KalProcessEnvironment(char ***environment)
{
  size_t count = 0, kept = 0;

  PetscFunctionBeginUser;
  while (environ && environ[count]) count++;
  PetscCall(PetscCalloc1(count + 1, environment));
  for (size_t i = 0; i < count; i++) {
    if (!IsLaunchers(environ[i])) PetscCall(PetscStrallocpy(environ[i], &(*environment)[kept++]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalProcessEnvironmentFree(char ***environment)
{
  PetscFunctionBeginUser;
  for (char **e = *environment; e && *e; e++) PetscCall(PetscFree(*e));
  PetscCall(PetscFree(*environment));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Open file descriptors from 3 on: MPI's are not all closed on exec. */
static int OpenFiles(int most, int files[])
{
  DIR           *folder = opendir("/proc/self/fd");
  struct dirent *entry;
  int            count = 0;

  if (!folder) {
    for (int file = 3; file < most; file++) files[count++] = file;
    return count;
  }
  while (count < most && (entry = readdir(folder))) {
    const int file = atoi(entry->d_name);

    if (file > 2) files[count++] = file;
  }
  (void)closedir(folder);
  return count;
}

/* A file that is none of 0, 1 and 2, should this process have closed one of these. */
static int OpenHigh(const char *path, int flags)
{
  const int file = open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
  int       high;

  if (file < 0 || file > 2) return file;
  high = fcntl(file, F_DUPFD_CLOEXEC, 3);
  (void)close(file);
  return high;
}

typedef struct {
  const char  *program;
  char *const *arguments, *const *environment;
  int           in, out, count, *files;
  pid_t         parent;
  volatile int *error; /* errno of what failed; shared with the parent */
} KalChild;

/* What the child does before it is another program: system calls alone, for its memory is the parent's. */
static void BecomeProgram(const KalChild *child)
{
  struct sigaction action;
  sigset_t         none;

  (void)setpgid(0, 0);
#if defined(__linux__)
  (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != child->parent) _exit(127); /* it is gone already */
#endif
  memset(&action, 0, sizeof action);
  action.sa_handler = SIG_DFL;
  for (int s = 1; s < NSIG; s++) (void)sigaction(s, &action, NULL);
  action.sa_handler = SIG_IGN; /* Slurm signals all processes of a task, and the cycle in hand is to be finished */
  (void)sigaction(SIGUSR1, &action, NULL);
  if (dup2(child->in, 0) < 0 || dup2(child->out, 1) < 0 || dup2(child->out, 2) < 0) {
    *child->error = errno;
    _exit(127);
  }
  for (int i = 0; i < child->count; i++) (void)close(child->files[i]);
  (void)sigemptyset(&none);
  (void)sigprocmask(SIG_SETMASK, &none, NULL);
  (void)execve(child->program, child->arguments, child->environment);
  *child->error = errno;
  _exit(127);
}

/* No signal may reach the child while it still has the parent's handlers. */
static pid_t Fork(const KalChild *child)
{
  sigset_t all, before;
  pid_t    pid;

  (void)sigfillset(&all);
  (void)sigprocmask(SIG_SETMASK, &all, &before);
  pid = vfork();
  if (pid == 0) BecomeProgram(child);
  if (pid < 0) *child->error = errno;
  (void)sigprocmask(SIG_SETMASK, &before, NULL);
  return pid;
}

/* With SIGCHLD ignored, as a launcher may have left it, a child's end could not be learnt. */
static void ListenForChildren(void)
{
  struct sigaction action;

  if (sigaction(SIGCHLD, NULL, &action)) return;
  if (action.sa_handler != SIG_IGN && !(action.sa_flags & SA_NOCLDWAIT)) return;
  if (action.sa_handler == SIG_IGN) action.sa_handler = SIG_DFL;
  action.sa_flags &= ~SA_NOCLDWAIT;
  (void)sigaction(SIGCHLD, &action, NULL);
}

/*
  KalProcessStart - Starts a program with standard input from /dev/null, its output to a log, and no other file open

  PETSC_FALSE and the reason where it does not start.
*/
PetscBool KalProcessStart(const char *program, char *const arguments[], char *const environment[], const char *log, KalProcess *process, size_t size, char *why)
{
  static int   files[KAL_FILES_MOST];
  volatile int error = 0;
  KalChild     child = {.program = program, .arguments = arguments, .environment = environment, .files = files, .parent = getpid(), .error = &error};
  pid_t        pid   = -1;

  ListenForChildren();
  child.in  = OpenHigh("/dev/null", O_RDONLY);
  child.out = child.in < 0 ? -1 : OpenHigh(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND);
  if (child.out < 0) error = errno;
  else {
    child.count = OpenFiles(KAL_FILES_MOST, files);
    pid         = Fork(&child);
  }
  if (child.in >= 0) (void)close(child.in);
  if (child.out >= 0) (void)close(child.out);
  if (pid > 0 && error) { /* it could not become the program */
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) continue;
  }
  if (error) {
    (void)PetscSNPrintf(why, size, "%s cannot be started: %s", program, strerror(error));
    return PETSC_FALSE;
  }
  process->pid        = pid;
  process->started    = KalProcessNow();
  process->terminated = 0.0;
  process->killed     = PETSC_FALSE;
  return PETSC_TRUE;
}

/* Gathers a child that has ended, after whatever it left running of its group: until then its number is nobody else's. */
static void Gather(KalProcess *process, int *status)
{
  (void)kill(-process->pid, SIGKILL);
  while (waitpid(process->pid, status, 0) < 0 && errno == EINTR) continue;
  process->pid = 0;
}

PetscBool KalProcessEnded(KalProcess *process, double timeout, int *status)
{
  siginfo_t    info;
  const double now = KalProcessNow();
  int          error;

  info.si_pid = 0;
  do error = waitid(P_PID, (id_t)process->pid, &info, WEXITED | WNOHANG | WNOWAIT);
  while (error && errno == EINTR);
  if (error) { /* somebody else gathered it: its number may be another's by now */
    *status      = -1;
    process->pid = 0;
    return PETSC_TRUE;
  }
  if (info.si_pid) {
    Gather(process, status);
    return PETSC_TRUE;
  }
  if (timeout > 0.0 && !process->terminated && now - process->started > timeout) {
    (void)kill(-process->pid, SIGTERM);
    (void)kill(-process->pid, SIGCONT); /* one that is stopped would not see it */
    process->terminated = now;
  } else if (process->terminated && !process->killed && now - process->terminated > KAL_COMMAND_GRACE) {
    (void)kill(-process->pid, SIGKILL);
    process->killed = PETSC_TRUE;
  }
  return PETSC_FALSE;
}
