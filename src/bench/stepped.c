/* Runs that are stepped and timed by their events, and the data they learn from. */
#include <bench/benchimpl.h>

#include <stdio.h>
#include <unistd.h>

/* Time spent in each event so far on this rank. */
static PetscErrorCode Times(double seconds[KAL_EVENTS])
{
  PetscEventPerfInfo info;

  PetscFunctionBeginUser;
  for (int k = 0; k < KAL_EVENTS; k++) {
    PetscCall(PetscLogEventGetPerfInfo(PETSC_DETERMINE, KalEvents[k], &info));
    seconds[k] = info.time;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalStepped *stepped, const char *options)
{
  PetscOptions database;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsCreate(&database));
  PetscCall(PetscOptionsInsertString(database, options));
  PetscCall(PetscOptionsPush(database)); /* the run looks at its own options alone */
  PetscCall(KalRunSetQuiet(stepped->run, PETSC_TRUE));
  PetscCall(KalRunSetFromOptions(stepped->run));
  PetscCall(KalRunStep(stepped->run)); /* the first step takes what memory is left to take */
  PetscCall(PetscOptionsPop());
  PetscCall(PetscOptionsDestroy(&database));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSteppedCreate - Makes a run with its own options, on all ranks or alone on the first

  Collective.
*/
PetscErrorCode KalSteppedCreate(KalBench bench, PetscBool alone, const char *options, KalStepped *stepped)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(stepped, sizeof *stepped));
  stepped->here = (PetscBool)(!alone || !bench->rank);
  if (!stepped->here) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalRunCreate(alone ? PETSC_COMM_SELF : bench->comm, &stepped->run));
  PetscCall(SetUp(stepped, options));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSteppedStep - One cycle, timed

  Collective: ranks that take no part wait.
*/
PetscErrorCode KalSteppedStep(KalBench bench, KalStepped *stepped)
{
  double before[KAL_EVENTS], after[KAL_EVENTS], start;

  PetscFunctionBeginUser;
  PetscCall(Times(before));
  PetscCallMPI(MPI_Barrier(bench->comm));
  start = MPI_Wtime();
  if (stepped->here) PetscCall(KalRunStep(stepped->run));
  PetscCall(KalBenchSlowest(bench, stepped->here ? MPI_Wtime() - start : 0.0, &stepped->step));
  PetscCall(Times(after));
  for (int k = 0; k < KAL_EVENTS; k++) stepped->seconds[k] = after[k] - before[k];
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, stepped->seconds, KAL_EVENTS, MPI_DOUBLE, MPI_MAX, bench->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalSteppedDestroy(KalStepped *stepped)
{
  PetscFunctionBeginUser;
  PetscCall(KalRunDestroy(&stepped->run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An IDX file of bytes that look random: `samples` rows of `width`, or labels below `width` where `labels`. */
static PetscErrorCode WriteIdx(const char *path, PetscInt samples, PetscInt width, PetscBool labels)
{
  const unsigned long dims[2] = {(unsigned long)samples, (unsigned long)width};
  const PetscInt64    numbers = labels ? samples : (PetscInt64)samples * width;
  FILE               *file    = fopen(path, "wb");
  unsigned            state   = 12345;
  int                 bad     = !file;

  PetscFunctionBeginUser;
  if (!bad) bad |= fwrite((const unsigned char[]){0, 0, 8, labels ? 1 : 2}, 1, 4, file) != 4;
  for (int d = 0; !bad && d < (labels ? 1 : 2); d++) bad |= fwrite((const unsigned char[]){(unsigned char)(dims[d] >> 24), (unsigned char)(dims[d] >> 16), (unsigned char)(dims[d] >> 8), (unsigned char)dims[d]}, 1, 4, file) != 4;
  for (PetscInt64 i = 0; !bad && i < numbers; i++) {
    state = state * 1664525u + 1013904223u;
    bad |= fputc((int)(labels ? (state >> 8) % (unsigned)width : state >> 24), file) == EOF;
  }
  if (file && fclose(file)) bad = 1;
  PetscCheck(!bad, PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s cannot be written; give another -bench_folder", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBenchData - Makes samples to learn from: four mini-batches, in two files

  Collective.
*/
PetscErrorCode KalBenchData(KalBench bench, const KalBenchNet *net)
{
  char     images[PETSC_MAX_PATH_LEN], labels[PETSC_MAX_PATH_LEN];
  unsigned id = (unsigned)getpid();

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(&id, 1, MPI_UNSIGNED, 0, bench->comm));
  PetscCall(PetscSNPrintf(images, sizeof images, "%s/kalmia-bench-%u-images", bench->folder, id));
  PetscCall(PetscSNPrintf(labels, sizeof labels, "%s/kalmia-bench-%u-labels", bench->folder, id));
  PetscCall(PetscSNPrintf(bench->data, sizeof bench->data, "%s,%s", images, labels));
  if (!bench->rank) {
    PetscCall(WriteIdx(images, 4 * net->batch, net->width[0], PETSC_FALSE));
    PetscCall(WriteIdx(labels, 4 * net->batch, net->width[net->layers], PETSC_TRUE));
  }
  PetscCallMPI(MPI_Barrier(bench->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}
