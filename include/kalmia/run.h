/* KalRun: the cycle, its schedules, monitors and stop criteria; owns the other nouns. */
#ifndef KALMIA_RUN_H
#define KALMIA_RUN_H

#include <kalmia/analysis.h>
#include <kalmia/snapshot.h>

/* Exit codes of the program `kalmia`. */
#define KAL_EXIT_DONE    0 /* or stopped early: the mark in the snapshot tells which */
#define KAL_EXIT_ERROR   1
#define KAL_EXIT_MEMBERS 3 /* too few members survived */

PETSC_EXTERN PetscErrorCode KalInitialize(int *, char ***, const char *);
PETSC_EXTERN PetscErrorCode KalFinalize(PetscErrorCode, int *);
PETSC_EXTERN PetscErrorCode KalAdvise(MPI_Comm);

PETSC_EXTERN PetscErrorCode KalRunCreate(MPI_Comm, KalRun *);
PETSC_EXTERN PetscErrorCode KalRunSetModel(KalRun, KalModel);
PETSC_EXTERN PetscErrorCode KalRunSetObservations(KalRun, KalObservations);
PETSC_EXTERN PetscErrorCode KalRunSetCycles(KalRun, PetscInt);
PETSC_EXTERN PetscErrorCode KalRunSetQuiet(KalRun, PetscBool);
PETSC_EXTERN PetscErrorCode KalRunSetFromOptions(KalRun);
PETSC_EXTERN PetscErrorCode KalRunSetUp(KalRun);
PETSC_EXTERN PetscErrorCode KalRunStep(KalRun);
PETSC_EXTERN PetscErrorCode KalRunSolve(KalRun);
PETSC_EXTERN PetscErrorCode KalRunIsDone(KalRun, PetscBool *);
PETSC_EXTERN PetscErrorCode KalRunLoad(KalRun, const char *, const char *);
PETSC_EXTERN PetscErrorCode KalRunPredict(KalRun, KalDataSet, const char *);
PETSC_EXTERN PetscErrorCode KalRunSetAnalyseFromOptions(KalRun);
PETSC_EXTERN PetscErrorCode KalRunAnalyse(KalRun, const char *, const char *, const char *);
PETSC_EXTERN PetscErrorCode KalRunGetModel(KalRun, KalModel *);
PETSC_EXTERN PetscErrorCode KalRunGetObservations(KalRun, KalObservations *);
PETSC_EXTERN PetscErrorCode KalRunGetAnalysis(KalRun, KalAnalysis *);
PETSC_EXTERN PetscErrorCode KalRunGetEnsemble(KalRun, KalEnsemble *);
PETSC_EXTERN PetscErrorCode KalRunGetCycle(KalRun, PetscInt *);
PETSC_EXTERN PetscErrorCode KalRunDestroy(KalRun *);

#endif
