/* KalBench: how fast this machine is, and how near to it each phase of a cycle comes. */
#ifndef KALMIA_BENCH_H
#define KALMIA_BENCH_H

#include <kalmia/run.h>

typedef struct _p_KalBench *KalBench;

PETSC_EXTERN PetscErrorCode KalBenchCreate(MPI_Comm, KalBench *);
PETSC_EXTERN PetscErrorCode KalBenchSetFromOptions(KalBench);
PETSC_EXTERN PetscErrorCode KalBenchRun(KalBench);
PETSC_EXTERN PetscErrorCode KalBenchView(KalBench, PetscViewer);
PETSC_EXTERN PetscErrorCode KalBenchWriteCSV(KalBench, const char *);
PETSC_EXTERN PetscErrorCode KalBenchDestroy(KalBench *);

#endif
