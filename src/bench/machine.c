/* What the machine can do, all ranks at once: products, copies, exchanges, draws, files. */
#include <bench/benchimpl.h>

#include <fcntl.h>
#include <petscblaslapack.h>
#include <string.h>
#include <unistd.h>

/* PETSc declares BLAS for its own precision only. */
#if defined(PETSC_BLASLAPACK_CAPS)
#define KAL_SGEMM SGEMM
#elif defined(PETSC_BLASLAPACK_UNDERSCORE)
#define KAL_SGEMM sgemm_
#else
#define KAL_SGEMM sgemm
#endif
PETSC_EXTERN void KAL_SGEMM(const char *, const char *, const PetscBLASInt *, const PetscBLASInt *, const PetscBLASInt *, const float *, const float *, const PetscBLASInt *, const float *, const PetscBLASInt *, const float *, float *, const PetscBLASInt *);

#define ORDER      2048           /* of the matrices that are multiplied */
#define COPY_BYTES (256ULL << 20) /* a rank copies: more than a cache holds */
#define MESSAGES   1000           /* one after the other */
#define DRAWS      2048           /* at once, as where members are generated */

/* Two arrays of a rank that all of these work on, touched once. */
static PetscErrorCode Room(KalBench bench)
{
  PetscFunctionBeginUser;
  for (int k = 0; k < 2; k++) {
    if (bench->work[k]) continue;
    PetscCall(PetscMalloc(COPY_BYTES, &bench->work[k]));
    memset(bench->work[k], 0, COPY_BYTES);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Dgemm(KalBench bench)
{
  const double       one = 1.0, zero = 0.0;
  const PetscBLASInt n = ORDER;
  double            *a = (double *)bench->work[0], *b = a + (size_t)ORDER * ORDER, *c = b + (size_t)ORDER * ORDER;

  BLASgemm_("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n);
}

static void Sgemm(KalBench bench)
{
  const float        one = 1.0f, zero = 0.0f;
  const PetscBLASInt n = ORDER;
  float             *a = (float *)bench->work[0], *b = a + (size_t)ORDER * ORDER, *c = b + (size_t)ORDER * ORDER;

  KAL_SGEMM("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n);
}

/* Numbers between 0 and 1: products of zeros may be faster than others. */
static void Fill(KalBench bench, PetscBool single)
{
  for (size_t i = 0; i < (size_t)2 * ORDER * ORDER; i++) {
    const double x = (double)(i * 2654435761u % 1000003u) / 1000003.0;

    if (single) ((float *)bench->work[0])[i] = (float)x;
    else ((double *)bench->work[0])[i] = x;
  }
}

static PetscErrorCode Draw(KalBench bench, PetscInt64 numbers)
{
  KalKey key = {0, KAL_DRAW_TEST, 0, bench->rank};
  float *z   = (float *)bench->work[0];

  PetscFunctionBeginUser;
  for (PetscInt64 i = 0; i < numbers; i += DRAWS) PetscCall(KalDrawNormalSingle(key, i, DRAWS, z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Everybody to everybody, itself included, as many bytes each. */
static PetscErrorCode Alltoall(KalBench bench, size_t bytes)
{
  PetscMPIInt count;

  PetscFunctionBeginUser;
  PetscCall(PetscMPIIntCast((PetscInt64)(bytes / sizeof(double)), &count));
  PetscCallMPI(MPI_Alltoall(bench->work[0], count, MPI_DOUBLE, bench->work[1], count, MPI_DOUBLE, bench->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each rank to the next, and from the one before, over and over: what a message takes when nothing else is to be done. */
static PetscErrorCode Ring(KalBench bench)
{
  const PetscMPIInt next = (bench->rank + 1) % bench->size, before = (bench->rank + bench->size - 1) % bench->size;

  PetscFunctionBeginUser;
  for (int k = 0; k < MESSAGES; k++) PetscCallMPI(MPI_Sendrecv(bench->work[0], 1, MPI_DOUBLE, next, 0, bench->work[1], 1, MPI_DOUBLE, before, 0, bench->comm, MPI_STATUS_IGNORE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBenchForget - Takes a file's pages out of the cache, so that they are read from the disk
*/
PetscErrorCode KalBenchForget(const char *path)
{
  const int file = open(path, O_RDONLY);

  PetscFunctionBeginUser;
  PetscCheck(file >= 0, PETSC_COMM_SELF, PETSC_ERR_FILE_OPEN, "%s cannot be opened", path);
  (void)fsync(file);
#if defined(POSIX_FADV_DONTNEED)
  (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
#endif
  (void)close(file);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBenchFilePlain - Each rank writes its bytes of one file, one rank behind the other, and flushes them; or reads them

  Collective. The bytes are those of one rank.
*/
PetscErrorCode KalBenchFilePlain(KalBench bench, const char *path, PetscBool write, PetscInt64 bytes, void *data, PetscReal *seconds)
{
  const PetscInt64 piece     = 16 << 20;
  int              file      = -1;
  char             text[256] = "";
  double           start;

  PetscFunctionBeginUser;
  if (write && !bench->rank) (void)unlink(path);
  PetscCallMPI(MPI_Barrier(bench->comm));
  start = MPI_Wtime();
  file  = open(path, write ? O_CREAT | O_WRONLY : O_RDONLY, 0600);
  for (PetscInt64 at = 0; at < bytes && file >= 0 && !text[0]; at += piece) {
    const size_t  length = (size_t)PetscMin(piece, bytes - at);
    const off_t   where  = (off_t)(bytes * bench->rank + at);
    const ssize_t done   = write ? pwrite(file, (char *)data + at, length, where) : pread(file, (char *)data + at, length, where);

    if (done != (ssize_t)length) (void)PetscSNPrintf(text, sizeof text, "%s cannot be %s: the disk may be full; give another -bench_folder or a smaller -bench_file_size", path, write ? "written" : "read");
  }
  if (file < 0 || (write && fsync(file))) (void)PetscSNPrintf(text, sizeof text, "%s cannot be %s; give another -bench_folder", path, write ? "written" : "read");
  if (file >= 0) (void)close(file);
  PetscCall(KalBenchSlowest(bench, MPI_Wtime() - start, seconds));
  KalCheckAll(bench->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The seconds of the slowest rank for some of what the machine can do, and how much that is over all ranks. */
static PetscErrorCode Measure(KalBench bench, KalRate rate, PetscReal *work, PetscReal *seconds)
{
  const size_t slice = (COPY_BYTES / (size_t)bench->size) & ~(size_t)4095;
  double       start;

  PetscFunctionBeginUser;
  if (rate == KAL_RATE_DGEMM || rate == KAL_RATE_SGEMM) Fill(bench, (PetscBool)(rate == KAL_RATE_SGEMM));
  PetscCallMPI(MPI_Barrier(bench->comm));
  start = MPI_Wtime();
  switch (rate) {
  case KAL_RATE_DGEMM:
  case KAL_RATE_SGEMM:
    if (rate == KAL_RATE_DGEMM) Dgemm(bench);
    else Sgemm(bench);
    *work = 2.0 * ORDER * ORDER * ORDER * bench->size;
    break;
  case KAL_RATE_COPY:
    memcpy(bench->work[1], bench->work[0], COPY_BYTES);
    *work = (PetscReal)COPY_BYTES * bench->size;
    break;
  case KAL_RATE_ALLTOALL:
    PetscCall(Alltoall(bench, slice));
    *work = (PetscReal)slice * bench->size * bench->size;
    break;
  case KAL_RATE_MESSAGES:
    PetscCall(Ring(bench));
    *work = MESSAGES;
    break;
  default:
    PetscCall(Draw(bench, 4 << 20));
    *work = (PetscReal)(4 << 20) * bench->size;
  }
  PetscCall(KalBenchSlowest(bench, MPI_Wtime() - start, seconds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBenchRates - Asks the machine what it can do, and remembers the best of three

  Collective. Those of files are set where files are measured.
*/
PetscErrorCode KalBenchRates(KalBench bench, unsigned rates)
{
  PetscReal work = 0.0, seconds = 0.0;

  PetscFunctionBeginUser;
  PetscCall(Room(bench));
  for (int k = 0; k < KAL_RATE_WRITE; k++) {
    if (!(rates & KAL_RATE_BIT(k))) continue;
    bench->rate[k] = 0.0;
    for (int i = 0; i < 3; i++) {
      PetscCall(Measure(bench, (KalRate)k, &work, &seconds));
      bench->rate[k] = PetscMax(bench->rate[k], work / seconds);
    }
    if (!bench->rates[k]) PetscCall(PetscMalloc1(1000, &bench->rates[k]));
    if (bench->taken[k] < 1000) bench->rates[k][bench->taken[k]++] = bench->rate[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- nothing but the machine ---- */

static PetscErrorCode MachineCreate(KalBench bench, void **group)
{
  PetscFunctionBeginUser;
  (void)bench;
  *group = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MachineMeasure(KalBench bench, void *group)
{
  PetscFunctionBeginUser;
  (void)bench;
  (void)group;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MachineDestroy(KalBench bench, void **group)
{
  PetscFunctionBeginUser;
  (void)bench;
  (void)group;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The constants of share/doc/performance.md; they are taken between the repeats. */
const KalBenchGroup KalBenchMachine = {"machine", PETSC_FALSE, KAL_RATE_BIT(KAL_RATE_DGEMM) | KAL_RATE_BIT(KAL_RATE_COPY) | KAL_RATE_BIT(KAL_RATE_ALLTOALL) | KAL_RATE_BIT(KAL_RATE_MESSAGES) | KAL_RATE_BIT(KAL_RATE_DRAW), MachineCreate, MachineMeasure, MachineDestroy};
