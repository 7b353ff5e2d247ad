/* A snapshot beside a plain file of the same size: written and flushed, and read from the disk with its checksums. */
#include <bench/benchimpl.h>

#include <stdio.h>
#include <unistd.h>

#define FILE_N 262144 /* numbers of a member: 2 MiB */

typedef struct {
  KalEnsemble ensemble;
  char        plain[PETSC_MAX_PATH_LEN], aside[PETSC_MAX_PATH_LEN], snapshot[PETSC_MAX_PATH_LEN];
} Files;

static PetscErrorCode FileCreate(KalBench bench, void **group)
{
  Files       *files;
  PetscInt     first, last;
  PetscScalar *x;
  unsigned     id = (unsigned)getpid();

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&files));
  PetscCallMPI(MPI_Bcast(&id, 1, MPI_UNSIGNED, 0, bench->comm));
  PetscCall(PetscSNPrintf(files->plain, sizeof files->plain, "%s/kalmia-bench-%u-plain", bench->folder, id));
  PetscCall(PetscSNPrintf(files->aside, sizeof files->aside, "%s.tmp", files->plain));
  PetscCall(PetscSNPrintf(files->snapshot, sizeof files->snapshot, "%s/kalmia-bench-%u.h5", bench->folder, id));
  PetscCall(KalEnsembleCreate(bench->comm, &files->ensemble));
  PetscCall(KalEnsembleSetSizes(files->ensemble, FILE_N, PetscMax(bench->size, bench->filesize / 2)));
  PetscCall(KalEnsembleSetExchange(files->ensemble, KAL_EXCHANGE_MESSAGES));
  PetscCall(KalEnsembleSetUp(files->ensemble));
  PetscCall(KalEnsembleGetOwnershipRange(files->ensemble, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(files->ensemble, j, &x));
    PetscCall(KalDrawNormal((KalKey){0, KAL_DRAW_TEST, 0, j}, 0, FILE_N, x));
  }
  *group = files;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* As a snapshot is: aside, flushed, and renamed over the one before, which is there until then. */
static PetscErrorCode WritePlain(KalBench bench, Files *files, PetscInt64 bytes, void *data, PetscReal *seconds)
{
  PetscFunctionBeginUser;
  PetscCall(KalBenchFilePlain(bench, files->aside, PETSC_TRUE, bytes, data, seconds));
  if (!bench->rank) PetscCheck(!rename(files->aside, files->plain), PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s cannot be renamed; give another -bench_folder", files->aside);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteSnapshot(KalBench bench, Files *files, PetscReal *seconds)
{
  KalSnapshot  snapshot;
  const double start = MPI_Wtime();

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotOpen(bench->comm, files->snapshot, KAL_SNAPSHOT_WRITE, &snapshot));
  PetscCall(KalSnapshotSetKeep(snapshot, 1));
  PetscCall(KalSnapshotWriteMembers(snapshot, "ensemble/members", "members", files->ensemble));
  PetscCall(KalSnapshotCommit(snapshot));
  PetscCall(KalSnapshotClose(&snapshot));
  PetscCall(KalBenchSlowest(bench, MPI_Wtime() - start, seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadSnapshot(KalBench bench, Files *files, PetscReal *seconds)
{
  KalSnapshot  snapshot;
  const double start = MPI_Wtime();

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotOpen(bench->comm, files->snapshot, KAL_SNAPSHOT_READ, &snapshot));
  PetscCall(KalSnapshotReadMembers(snapshot, "ensemble/members", files->ensemble));
  PetscCall(KalSnapshotClose(&snapshot));
  PetscCall(KalBenchSlowest(bench, MPI_Wtime() - start, seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Remember(KalBench bench, KalRate rate, PetscReal value)
{
  PetscFunctionBeginUser;
  bench->rate[rate] = value;
  if (bench->repeat < 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (!bench->rates[rate]) PetscCall(PetscMalloc1(1000, &bench->rates[rate]));
  if (bench->taken[rate] < 1000) bench->rates[rate][bench->taken[rate]++] = value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank waits until the pages are out of the cache. */
static PetscErrorCode Forget(KalBench bench, const char *path)
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Barrier(bench->comm));
  if (!bench->rank) PetscCall(KalBenchForget(path));
  PetscCallMPI(MPI_Barrier(bench->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FileMeasure(KalBench bench, void *group)
{
  Files       *files = (Files *)group;
  PetscInt     n, N, first, last;
  PetscScalar *x;
  PetscInt64   mine;
  PetscReal    bytes, seconds[4];
  KalBenchRow  write = {.name = "snapshot written", .unit = "GB", .least = 0.85}, read = {.name = "snapshot read, cold", .unit = "GB", .least = 0.85};

  PetscFunctionBeginUser;
  if (bench->repeat < 0) PetscFunctionReturn(PETSC_SUCCESS); /* nothing to warm up */
  PetscCall(KalEnsembleGetSizes(files->ensemble, &n, &N));
  PetscCall(KalEnsembleGetOwnershipRange(files->ensemble, &first, &last));
  PetscCall(KalEnsembleGetMember(files->ensemble, first, &x));
  mine  = (PetscInt64)8 * n * (N / bench->size); /* as many bytes of each rank */
  bytes = (PetscReal)mine * bench->size;
  for (int half = 0; half < 2; half++) { /* who goes first takes turns */
    if ((bench->repeat + half) % 2) PetscCall(WriteSnapshot(bench, files, &seconds[1]));
    else PetscCall(WritePlain(bench, files, mine, x, &seconds[0]));
  }
  PetscCall(Forget(bench, files->plain));
  PetscCall(Forget(bench, files->snapshot));
  for (int half = 0; half < 2; half++) {
    if ((bench->repeat + half) % 2) PetscCall(ReadSnapshot(bench, files, &seconds[3]));
    else PetscCall(KalBenchFilePlain(bench, files->plain, PETSC_FALSE, mine, x, &seconds[2]));
  }
  PetscCall(Remember(bench, KAL_RATE_WRITE, bytes / seconds[0]));
  PetscCall(Remember(bench, KAL_RATE_READ, bytes / seconds[2]));
  write.work = read.work = 8e-9 * n * N;
  PetscCall(PetscSNPrintf(write.size, sizeof write.size, "%.0f MiB", 8.0 * n * N / 1048576.0));
  PetscCall(PetscStrncpy(read.size, write.size, sizeof read.size));
  PetscCall(KalBenchRecord(bench, &write, seconds[1], write.work * 1e9 / bench->rate[KAL_RATE_WRITE]));
  PetscCall(KalBenchRecord(bench, &read, seconds[3], read.work * 1e9 / bench->rate[KAL_RATE_READ]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FileDestroy(KalBench bench, void **group)
{
  Files *files = (Files *)*group;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Barrier(bench->comm));
  if (!bench->rank) {
    (void)unlink(files->plain);
    (void)unlink(files->snapshot);
  }
  PetscCall(KalEnsembleDestroy(&files->ensemble));
  PetscCall(PetscFree(*group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const KalBenchGroup KalBenchFile = {"file", PETSC_TRUE, 0, FileCreate, FileMeasure, FileDestroy};
