/* An analysis on files: what analyse.c and analysefiles.c share. */
#ifndef KALMIA_ANALYSEIMPL_H
#define KALMIA_ANALYSEIMPL_H

#include "runimpl.h"

typedef struct {
  KalRun      run;
  const char *prior, *observations, *posterior;
  /* of the prior, once a node */
  KalShared         shared;
  PetscBool         locations, kinds;
  KalDomain         domain;
  const PetscReal  *coordinates; /* n x domain.dimension */
  const PetscInt64 *kind;        /* n */
  const KalStatus  *status;      /* N, nonzero: the member failed */
  PetscInt          failed;      /* members of the prior that did */
  /* what is found; in units of the observations' errors where it is of them */
  PetscReal *mean, *spread;                     /* n, of the posterior */
  PetscReal  spreadforecast, spreadanalysis;    /* root mean squares of the standard deviations */
  PetscInt   p, rejected;                       /* observations; left out by the background check */
  PetscReal *innovation, *predicted, *residual; /* p: from the prior's mean; prior standard deviation; from the posterior's mean */
  KalStatus *left;                              /* p: 1 where it was left out */
} KalOffline;

PETSC_INTERN PetscErrorCode KalOfflineCheckPaths(KalOffline *);
PETSC_INTERN PetscErrorCode KalOfflineReadPrior(KalOffline *);
PETSC_INTERN PetscErrorCode KalOfflineReadPrevious(KalOffline *, PetscInt *cycle);
PETSC_INTERN PetscErrorCode KalOfflineCompare(KalOffline *, const KalBatch *, KalEnsemble predictions, PetscInt active);
PETSC_INTERN PetscErrorCode KalOfflineLookBack(KalOffline *, const KalAsk *, const KalBatch *);
PETSC_INTERN PetscErrorCode KalOfflineWrite(KalOffline *);

#endif
