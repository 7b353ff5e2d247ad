/*
  What the iterative methods share that run a window again and again from its start: the members at the start stay in the
  ensemble, a copy is forecast, and members that fail are redrawn from the survivors at the end.
*/
#ifndef KALMIA_SMOOTHER_H
#define KALMIA_SMOOTHER_H

#include "filter.h"

/* What is asked for. */
typedef enum {
  KAL_PHASE_ITERATE, /* a copy of the members, forecast from the window's start and observed at its end */
  KAL_PHASE_FILTER,  /* a copy of the analysed members, forecast to the end of a longer window */
  KAL_PHASE_ADVANCE, /* the members themselves, forecast to the start of the next window */
} KalPhase;

/* The first thing in the data of such a method. */
typedef struct {
  KalInflation inflation;
  PetscBool    rotate; /* -analysis_rotate */
  /* of the cycle in hand */
  KalPhase     phase;
  PetscInt     cycle;
  PetscInt     keys, key;   /* draws of new members: so many keys a cycle, and the next one */
  KalStatus   *status;      /* N: who failed in the window */
  KalStatus   *forecast[2]; /* N each: who failed in the forecast of the members and of their copy after the analysis */
  PetscReal   *T;           /* N x N */
  PetscScalar *work;        /* a block of rows, */
  PetscReal   *moments;     /* and their moments */
} KalSmoother;

PETSC_INTERN PetscErrorCode KalSmootherSetFromOptions(KalAnalysis, KalSmoother *, KalOptionItems);
PETSC_INTERN PetscErrorCode KalSmootherCheck(KalAnalysis, KalObservations, PetscInt iterations, const char *option);
PETSC_INTERN PetscErrorCode KalSmootherSetUp(KalAnalysis, KalSmoother *, PetscInt iterations);
PETSC_INTERN PetscErrorCode KalSmootherBegin(KalAnalysis, KalSmoother *, PetscInt cycle);
PETSC_INTERN PetscErrorCode KalSmootherCopy(KalAnalysis, KalSmoother *, const PetscReal *T);
PETSC_INTERN PetscErrorCode KalSmootherApply(KalAnalysis, KalSmoother *, KalEnsemble, const KalStatus *, const PetscReal *T);
PETSC_INTERN PetscErrorCode KalSmootherCompose(PetscInt N, const KalStatus *, PetscInt active, PetscReal factor, const PetscReal *w, PetscReal *T);
PETSC_INTERN PetscErrorCode KalSmootherAnalyse(KalAnalysis, KalSmoother *, PetscInt active, PetscBool last, PetscReal *T);
PETSC_INTERN PetscErrorCode KalSmootherSurvivors(KalAnalysis, const KalStatus *, PetscInt cycle, PetscInt *active);
PETSC_INTERN PetscErrorCode KalSmootherForecast(KalAnalysis, KalSmoother *, const KalTold *);
PETSC_INTERN PetscErrorCode KalSmootherUpdate(KalAnalysis);
PETSC_INTERN PetscErrorCode KalSmootherReport(KalAnalysis, const KalTold *, const KalInnovation *, PetscReal factor);
PETSC_INTERN PetscErrorCode KalSmootherView(const KalSmoother *, PetscViewer);
PETSC_INTERN PetscErrorCode KalSmootherDestroy(KalSmoother *);

#endif
