/* ranks: 1 2 */
/*
  The model that is an external command. This very program is the command: with --child as its first argument it does what the
  second says and starts no MPI.
*/
#include "kaltest.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <dirent.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define MEMBERS 5

/* --- the child --- */

static int ReadDoubles(const char *path, int most, double *x)
{
  FILE *file  = fopen(path, "rb");
  int   count = file ? (int)fread(x, sizeof *x, (size_t)most, file) : -1;

  if (file) fclose(file);
  return count;
}

static int WriteBytes(const char *path, size_t bytes, const void *data)
{
  FILE *file = fopen(path, "wb");

  if (!file || fwrite(data, 1, bytes, file) != bytes) return 1;
  return fclose(file) ? 1 : 0;
}

static int CountOpenFiles(void)
{
  int count = 0;

  for (int file = 3; file < 1024; file++) count += fcntl(file, F_GETFD) != -1;
  return count;
}

static int CountLaunchers(void)
{
  static const char *const names[] = {"OMPI_", "PMIX_", "PMI_", "ORTE_", "SLURM_PROCID=", "SLURM_LOCALID=", "SLURM_STEP_ID=", "SLURM_STEPID=", "SLURM_NTASKS=", NULL};
  int                      count   = 0;

  for (char **e = environ; *e; e++) {
    for (int i = 0; names[i]; i++) count += !strncmp(*e, names[i], strlen(names[i]));
  }
  return count;
}

/* --child WHAT STATE OUTPUT MEMBER FROM TO FILE: WHAT is a word for all, or one letter a member. */
static int Child(int argc, char **argv)
{
  const char  *what = argv[2], *output = argv[4], *file = argv[8];
  const int    member = atoi(argv[5]);
  const double from = atof(argv[6]), to = atof(argv[7]);
  double       x[3] = {0.0}, long_[9] = {0.0};
  const int    count = ReadDoubles(argv[3], 3, x);
  const char   kind  = strlen(what) == MEMBERS ? what[member] : what[0];

  if (argc != 9 || count != 2) return 99;
  x[0] += to - from;
  x[1] *= 2.0;
  switch (kind) {
  case 'o': /* in order */
    break;
  case 'x': /* exit status */
    printf("first line\n\tno convergence\x07 in step 3\n");
    return 7;
  case 's': /* a signal */
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return 0;
  case 'h': /* hangs, and ends when it is told to */
    sleep(100);
    return 0;
  case 'i': /* hangs whatever it is told */
    signal(SIGTERM, SIG_IGN);
    while (1) sleep(100);
  case 'z': /* stopped */
    raise(SIGSTOP);
    return 0;
  case 'm': /* no output */
    return 0;
  case 'w': /* too little */
    return WriteBytes(output, 8, x);
  case 'l': /* too much */
    return WriteBytes(output, sizeof long_, long_);
  case 'g': /* garbage */
    return WriteBytes(output, 13, "no number at all");
  case 'n': /* not finite */
    x[1] = NAN;
    break;
  case 'f': /* a pipe that nobody writes to */
    return mkfifo(output, 0600);
  case 'k': /* a link to somewhere else */
    return symlink(argv[3], output);
  case 't': /* fails at first */
    if (access(file, F_OK)) return WriteBytes(file, 0, "") ? 1 : 5;
    break;
  case 'd': { /* leaves another process behind */
    const int pid = (int)fork();

    if (pid == 0) {
      sleep(100);
      _exit(0);
    }
    if (WriteBytes(file, sizeof pid, &pid)) return 1;
    break;
  }
  case 'e': { /* surroundings: variables, files, group, input, mode of the folder */
    struct stat info;
    char        folder[4096];

    snprintf(folder, sizeof folder, "%s", output);
    *strrchr(folder, '/') = '\0';
    x[0]                  = CountLaunchers() + 100.0 * CountOpenFiles() + (getpgrp() == getpid() ? 0.0 : 1e4) + (getchar() == EOF ? 0.0 : 1e5);
    x[1]                  = stat(folder, &info) ? -1.0 : (double)(info.st_mode & 0777);
    if (!getenv("SLURM_JOB_ID") || strcmp(getenv("SLURM_JOB_ID"), "4711")) x[0] += 1e6;
    break;
  }
  default:
    return 98;
  }
  return WriteBytes(output, 2 * sizeof *x, x);
}

/* --childhdf5 STATE INPUT OUTPUT MEMBER: y = x_0 + x_1 input, in single precision, of two dimensions; member 3 writes another size. */
static int ChildHDF5(char **argv)
{
  double  x[2], input[8], y[8];
  hsize_t shape[2] = {2, 2};
  hid_t   file     = H5Fopen(argv[2], H5F_ACC_RDONLY, H5P_DEFAULT), data, space;

  data = H5Dopen2(file, "state", H5P_DEFAULT);
  if (H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x) < 0) return 1;
  H5Dclose(data);
  H5Fclose(file);
  file = H5Fopen(argv[3], H5F_ACC_RDONLY, H5P_DEFAULT);
  data = H5Dopen2(file, "input", H5P_DEFAULT);
  if (H5Dread(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, input) < 0) return 1;
  H5Dclose(data);
  H5Fclose(file);
  for (int i = 0; i < 4; i++) y[i] = x[0] + x[1] * input[i];
  if (atoi(argv[5]) == 3) shape[1] = 1;
  file  = H5Fcreate(argv[4], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  space = H5Screate_simple(2, shape, NULL);
  data  = H5Dcreate2(file, "output", H5T_NATIVE_FLOAT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  if (H5Dwrite(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, y) < 0) return 1;
  H5Dclose(data);
  H5Sclose(space);
  return H5Fclose(file) < 0;
}

/* --childwords STATE OUTPUT WORD ...: whether the words are those of test Words. */
static int ChildWords(int argc, char **argv)
{
  static const char *const expected[] = {"a b", "c\"d\\e", "f'g", "", "$HOME", "*", ";", "touch", "x{y}", "h\\i", "n=2,k=4", "j k"};
  double                   x[2]       = {1.0, 0.0};

  for (int i = 4; i < argc && i < 16; i++) x[0] *= !strcmp(argv[i], expected[i - 4]);
  x[1] = argc;
  return WriteBytes(argv[3], sizeof x, x);
}

/* --- the tests --- */

static char self[2048];

static double Now(void)
{
  struct timespec t;

  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* A model from option text, with "SELF" in the command's place. */
static PetscErrorCode Make(const char *command, const char *options, KalModel *model)
{
  char text[8192];

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, options));
  snprintf(text, sizeof text, "'%s' %s", self, command);
  PetscCall(PetscOptionsSetValue(NULL, "-model_command", text));
  PetscCall(PetscOptionsSetValue(NULL, "-command_scratch", KalTestPath("scratch")));
  PetscCall(KalModelCreate(PETSC_COMM_WORLD, model));
  PetscCall(KalModelSetType(*model, KALMODELCOMMAND));
  PetscCall(KalModelSetFromOptions(*model));
  PetscCall(KalModelSetUp(*model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscMPIInt Rank(void)
{
  PetscMPIInt rank;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  return rank;
}

static void RemoveFile(void)
{
  char path[2200];

  snprintf(path, sizeof path, "%s-%d", KalTestPath("file"), (int)Rank());
  remove(path);
}

#define FORECAST " -command_task forecast -command_step 0.5 -command_state 2 "

/* Makes a forecast from 1 to 3 by the child `what`; standard error goes to `warning`. */
static void Forecast(const char *what, const char *options, double x[MEMBERS][2], KalStatus status[MEMBERS], size_t size, char *warning)
{
  KalModel     model;
  PetscScalar *column[MEMBERS];
  KalColumns   columns = {0, MEMBERS, MEMBERS, 2, column};
  char         command[4096], all[1024], path[2200];
  int          saved, file, error;
  ssize_t      length;

  for (int k = 0; k < MEMBERS; k++) {
    column[k] = x[k];
    x[k][0]   = k;
    x[k][1]   = k + 0.5;
    status[k] = KAL_MEMBER_OK;
  }
  snprintf(command, sizeof command, "--child %s {state} {output} {member} {from} {to} %s-%d", what, KalTestPath("file"), (int)Rank());
  snprintf(all, sizeof all, FORECAST "%s", options);
  KalCall(Make(command, all, &model));
  snprintf(path, sizeof path, "%s-%d", KalTestPath("stderr"), (int)Rank());
  fflush(stderr);
  saved = dup(2);
  file  = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
  dup2(file, 2);
  error = (int)KalModelPropagate(model, NULL, 1.0, 3.0, &columns, status);
  dup2(saved, 2);
  close(saved);
  KalAssert(!error);
  length = pread(file, warning, size - 1, 0);
  close(file);
  warning[length > 0 ? length : 0] = '\0';
  KalCall(KalModelDestroy(&model));
}

static int IsEmpty(const char *path)
{
  DIR           *folder = opendir(path);
  struct dirent *entry;
  int            count = 0;

  while (folder && (entry = readdir(folder))) count += entry->d_name[0] != '.';
  if (folder) closedir(folder);
  return folder && !count;
}

/* No child is left, not even a dead one. */
static int NoChildren(void)
{
  siginfo_t info;

  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == -1 && errno == ECHILD;
}

static void InOrder(void **state)
{
  static const char *const options[] = {"", "-command_parallel 3", "-command_parallel 1000 -command_timeout 0"};
  double                   x[MEMBERS][2];
  KalStatus                status[MEMBERS];
  char                     warning[4096];

  (void)state;
  for (int o = 0; o < 3; o++) {
    Forecast("o", options[o], x, status, sizeof warning, warning);
    for (int k = 0; k < MEMBERS; k++) KalAssert(status[k] == KAL_MEMBER_OK && x[k][0] == k + 2.0 && x[k][1] == 2.0 * k + 1.0);
    KalAssert(!warning[0] && NoChildren());
  }
  MPI_Barrier(PETSC_COMM_WORLD);
  KalAssert(IsEmpty(KalTestPath("scratch")));
}

/* One bad member among good ones; `reason` is in the warning. */
static void OneFails(const char *what, const char *options, KalMemberState expected, const char *reason)
{
  double    x[MEMBERS][2];
  KalStatus status[MEMBERS];
  char      warning[4096];

  Forecast(what, options, x, status, sizeof warning, warning);
  for (int k = 0; k < MEMBERS; k++) {
    const int ok = what[k] == 'o';

    KalAssert(status[k] == (KalStatus)(ok ? KAL_MEMBER_OK : expected));
    KalAssert(ok ? x[k][0] == k + 2.0 && x[k][1] == 2.0 * k + 1.0 : x[k][0] == k && x[k][1] == k + 0.5); /* a failed member's state stays */
  }
  if (!strstr(warning, reason)) print_error("\"%s\" is not in \"%s\"\n", reason, warning);
  KalAssert(strstr(warning, reason) != NULL);
  KalAssert(strchr(warning, '\n') == warning + strlen(warning) - 1); /* one line */
  KalAssert(NoChildren());
  MPI_Barrier(PETSC_COMM_WORLD);
  KalAssert(IsEmpty(KalTestPath("scratch")));
}

static void Failures(void **state)
{
  (void)state;
  OneFails("ooxoo", "", KAL_MEMBER_FAILED, "failed for 1 of 5 members (forecast); member 2: it ended with exit status 7; its output ends: first line |  no convergence? in step 3\n");
  OneFails("xooox", "-command_parallel 2", KAL_MEMBER_FAILED, "failed for 2 of 5 members (forecast); member 0: it ended with exit status 7");
  OneFails("oooxo", "-command_retries 2", KAL_MEMBER_FAILED, "member 3, at the last of 3 tries: it ended with exit status 7");
  OneFails("soooo", "", KAL_MEMBER_FAILED, "member 0: it ended by signal 11");
  OneFails("omooo", "", KAL_MEMBER_FAILED, "member 1: it wrote no output");
  OneFails("oowoo", "", KAL_MEMBER_FAILED, "member 2: it wrote 8 bytes and not the 16 of 2 numbers");
}

static void BadOutputs(void **state)
{
  (void)state;
  OneFails("olooo", "", KAL_MEMBER_FAILED, "member 1: it wrote 72 bytes and not the 16 of 2 numbers");
  OneFails("ogooo", "", KAL_MEMBER_FAILED, "member 1: it wrote 13 bytes");
  OneFails("onooo", "-command_retries 5", KAL_MEMBER_NONFINITE, "member 1: number 1 of its output is nan");
  OneFails("ofooo", "", KAL_MEMBER_FAILED, "member 1: what it left as its output is no plain file");
  OneFails("okooo", "", KAL_MEMBER_FAILED, "member 1: what it left as its output is no plain file");
}

/* A command that hangs is ended in time, one that will not end is killed, and with it what it started. */
static void TimeOuts(void **state)
{
  double start = Now(), took;

  (void)state;
  OneFails("ohooo", "-command_timeout 4", KAL_MEMBER_FAILED, "member 1: it ran longer than 4 seconds (-command_timeout) and was told to end");
  took = Now() - start;
  KalAssert(took > 4.0 && took < 30.0);
  start = Now();
  OneFails("ioooz", "-command_timeout 4 -command_parallel 5", KAL_MEMBER_FAILED, "it ran longer than 4 seconds (-command_timeout) and was");
  took = Now() - start;
  KalAssert(took > 6.0 && took < 40.0);
}

static void Retries(void **state)
{
  double    x[MEMBERS][2];
  KalStatus status[MEMBERS];
  char      warning[4096];

  (void)state;
  RemoveFile();
  Forecast("ooooo", "", x, status, sizeof warning, warning);
  Forecast("otooo", "-command_retries 1", x, status, sizeof warning, warning);
  KalAssert(status[1] == KAL_MEMBER_OK && x[1][0] == 3.0 && x[1][1] == 3.0 && !warning[0]);
  RemoveFile();
  Forecast("otooo", "", x, status, sizeof warning, warning);
  KalAssert(status[1] == KAL_MEMBER_FAILED && strstr(warning, "exit status 5"));
}

/* What a command leaves running in its group is gone when it has ended. */
static void Descendants(void **state)
{
  double    x[MEMBERS][2];
  KalStatus status[MEMBERS];
  char      warning[4096], path[2200], line[512] = "";
  int       pid = 0;
  FILE     *file;

  (void)state;
  RemoveFile();
  Forecast("oodoo", "", x, status, sizeof warning, warning);
  KalAssert(status[2] == KAL_MEMBER_OK);
  snprintf(path, sizeof path, "%s-%d", KalTestPath("file"), (int)Rank());
  file = fopen(path, "rb");
  KalAssert(file && fread(&pid, sizeof pid, 1, file) == 1 && pid > 1);
  fclose(file);
  for (int i = 0; i < 200 && kill(pid, 0) == 0; i++) { /* whoever gathers orphans may take a moment, or never do it */
    const struct timespec pause = {0, 10000000};

    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    file = fopen(path, "r");
    if (!file) break;
    if (!fgets(line, sizeof line, file)) line[0] = '\0';
    fclose(file);
    if (strstr(line, ") Z ")) break;
    nanosleep(&pause, NULL);
  }
  KalAssert(kill(pid, 0) || strstr(line, ") Z "));
}

static void Surroundings(void **state)
{
  double    x[MEMBERS][2];
  KalStatus status[MEMBERS];
  char      warning[4096];
  int       inherited;

  (void)state;
  setenv("SLURM_JOB_ID", "4711", 1);
  setenv("SLURM_PROCID", "1", 1);
  setenv("SLURM_STEP_ID", "0", 1);
  setenv("SLURM_NTASKS", "2", 1);
  setenv("PMI_RANK", "1", 1);
  inherited = dup(0); /* not closed on exec */
  signal(SIGCHLD, SIG_IGN);
  Forecast("e", "", x, status, sizeof warning, warning);
  for (int k = 0; k < MEMBERS; k++) KalAssert(status[k] == KAL_MEMBER_OK && x[k][0] == 0.0 && x[k][1] == 0700);
  close(inherited);
  signal(SIGCHLD, SIG_DFL);
}

static void Words(void **state)
{
  KalModel     model;
  double       x[2]      = {1.0, 2.0};
  PetscScalar *column[1] = {x};
  KalColumns   columns   = {0, 1, 1, 2, column};
  KalStatus    status    = KAL_MEMBER_OK;

  (void)state;
  KalCall(Make("--childwords {state} {output} 'a b'   \"c\\\"d\\\\e\"\tf\\'g '' $HOME * ; touch x{{y}} \"h\\i\" n={size},k={from} \"j\"' 'k", FORECAST, &model));
  KalCall(KalModelPropagate(model, NULL, 4.0, 5.0, &columns, &status));
  KalAssert(status == KAL_MEMBER_OK && x[0] == 1.0 && x[1] == 16.0);
  KalCall(KalModelDestroy(&model));
}

/* Predictions, with the inputs of the samples, through HDF5. */
static void ObserveByHDF5(void **state)
{
  const double input[4] = {0.0, 1.0, -2.0, 0.5};
  double       x[MEMBERS][2], y[MEMBERS][4];
  PetscScalar *column[MEMBERS], *out[MEMBERS];
  KalColumns   columns = {0, MEMBERS, MEMBERS, 2, column};
  KalBatch     batch   = {.samples = 4, .inputs = 1, .outputs = 1, .precision = KAL_DOUBLE, .input = input};
  KalStatus    status[MEMBERS];
  KalModel     model;

  (void)state;
  for (int k = 0; k < MEMBERS; k++) {
    column[k] = x[k];
    out[k]    = y[k];
    x[k][0]   = k;
    x[k][1]   = 2.0 * k;
    status[k] = k == 4 ? KAL_MEMBER_FAILED : KAL_MEMBER_OK;
  }
  KalCall(Make("--childhdf5 {state} {input} {output} {member}", "-command_format hdf5 -command_state 2 -command_outputs 1", &model));
  KalCall(KalModelObserve(model, NULL, 0.0, &columns, &batch, out, status));
  for (int k = 0; k < MEMBERS; k++) {
    KalAssert(status[k] == (k < 3 ? KAL_MEMBER_OK : KAL_MEMBER_FAILED));
    for (int s = 0; s < 4; s++) KalAssert(y[k][s] == (k < 3 ? x[k][0] + x[k][1] * input[s] : 0.0));
  }
  KalCall(KalModelDestroy(&model));
}

static void WriteDataset(const char *path, const char *name, hsize_t count, const double *x)
{
  if (Rank() == 0) {
    hid_t file  = access(path, F_OK) ? H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT) : H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    hid_t space = H5Screate_simple(1, &count, NULL), data = H5Dcreate2(file, name, H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);

    H5Dwrite(data, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
    H5Dclose(data);
    H5Sclose(space);
    H5Fclose(file);
  }
  MPI_Barrier(PETSC_COMM_WORLD);
}

static void Priors(void **state)
{
  const double mean[2] = {3.0, -4.0}, below[2] = {1.0, -1.0};
  const KalKey key = {7, KAL_DRAW_PRIOR, 0, 3};
  char         options[4096];
  double       x[2], z[2], sd[2];
  KalModel     model;

  (void)state;
  KalCall(KalDrawNormal(key, 0, 2, z));
  WriteDataset(KalTestPath("prior.h5"), "mean", 2, mean);
  WriteDataset(KalTestPath("prior.h5"), "spread", 2, below);
  snprintf(options, sizeof options, FORECAST "-command_mean %s -command_spread 0.5,2", KalTestPath("prior.h5"));
  KalCall(Make("{state} {output}", options, &model));
  KalCall(KalModelInitial(model, key, x));
  KalCall(KalModelSpread(model, sd));
  KalAssert(x[0] == 3.0 + 0.5 * z[0] && x[1] == -4.0 + 2.0 * z[1] && sd[0] == 0.5 && sd[1] == 2.0);
  KalCall(KalModelDestroy(&model));
  KalCall(Make("{state} {output}", FORECAST "-command_mean -2", &model));
  KalCall(KalModelInitial(model, key, x));
  KalAssert(x[0] == -2.0 + z[0] && x[1] == -2.0 + z[1]);
  KalCall(KalModelDestroy(&model));
}

static void Refused(const char *command, const char *options, const char *message)
{
  KalModel model = NULL;

  KalCallFails(Make(command, options, &model), message);
  KalCall(KalModelDestroy(&model));
}

static void Refusals(void **state)
{
  char options[4096];

  (void)state;
  Refused("{state} {outputs}", FORECAST, "must have {state} and {output}");
  Refused("{state} {output} {stat}", FORECAST, "the argument {stat} has a brace that is no place to be filled in; these are {state} {output}");
  Refused("{state} {output} }", FORECAST, "a brace itself is written twice");
  Refused("{state} {output} 'a", FORECAST, "a quote is opened and not closed");
  Refused("{state} {output}", "-command_state 2 -command_task both -command_step 1", "must have {task}");
  Refused("{state} {output}", "-command_state 2 -command_task forecast", "needs -command_step");
  Refused("{state} {output}", "-command_state 2", "give -command_outputs");
  Refused("{state} {output}", "-command_outputs 2", "needs -command_state");
  Refused("{state} {output}", FORECAST "-command_timeout -1", "-command_timeout -1");
  Refused("{state} {output}", FORECAST "-command_mean 1,2,3", "-command_mean has 3 numbers; give 1, or 2");
  Refused("{state} {output}", FORECAST "-command_mean nan", "all must be finite");
  Refused("{state} {output}", FORECAST "-command_spread -1", "a standard deviation is not negative");
  Refused("{state} {output}", FORECAST "-command_spread nosuch.h5", "there is no such file");
  snprintf(options, sizeof options, FORECAST "-command_spread %s", KalTestPath("prior.h5"));
  Refused("{state} {output}", options, "entry 1 is -1");
  snprintf(options, sizeof options, "-command_task forecast -command_step 1 -command_state 3 -command_mean %s", KalTestPath("prior.h5"));
  Refused("{state} {output}", options, "has 2 numbers and not 3");
}

/* What is wrong with the files, found on every rank. */
static void RefusedFiles(void **state)
{
  char path[sizeof self];

  (void)state;
  memcpy(path, self, sizeof path);
  snprintf(self, sizeof self, "no such program");
  Refused("{state} {output}", FORECAST, "no program no such program in PATH");
  snprintf(self, sizeof self, "./nosuch");
  Refused("{state} {output}", FORECAST, "./nosuch is not there, or is no file that can be executed");
  snprintf(self, sizeof self, "/tmp");
  Refused("{state} {output}", FORECAST, "/tmp is not there, or is no file that can be executed");
  memcpy(self, path, sizeof self);
  KalCall(PetscOptionsClear(NULL));
}

static int MakeScratch(void **state)
{
  (void)state;
  mkdir(KalTestPath("scratch"), 0700);
  MPI_Barrier(PETSC_COMM_WORLD);
  return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup(InOrder, MakeScratch),
    cmocka_unit_test(Failures),
    cmocka_unit_test(BadOutputs),
    cmocka_unit_test(TimeOuts),
    cmocka_unit_test(Retries),
    cmocka_unit_test(Descendants),
    cmocka_unit_test(Surroundings),
    cmocka_unit_test(Words),
    cmocka_unit_test(ObserveByHDF5),
    cmocka_unit_test(Priors),
    cmocka_unit_test(Refusals),
    cmocka_unit_test(RefusedFiles),
};

int main(int argc, char **argv)
{
  ssize_t length;

  if (argc > 2 && !strncmp(argv[1], "--child", 7)) {
    const int code = !strcmp(argv[1], "--child") ? Child(argc, argv) : !strcmp(argv[1], "--childhdf5") ? ChildHDF5(argv)
                                                                                                       : ChildWords(argc, argv);

    fflush(stdout);
    _exit(code); /* no sanitizer need look for a child's leaks */
  }
  length = readlink("/proc/self/exe", self, sizeof self - 1);
  if (length < 0) return 1;
  self[length] = '\0';
  return KalTestMain(argc, argv, "command", tests, sizeof tests / sizeof tests[0]);
}
