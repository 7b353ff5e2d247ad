/*
  What ekf and dekf share: a Kalman filter whose state is a network's parameters, in groups with a covariance each, and whose
  observation operator is the Jacobian of the batch's predictions.
*/
#ifndef KALMIA_WEIGHTFILTER_H
#define KALMIA_WEIGHTFILTER_H

#include "schedule.h"

typedef struct {
  const char *name; /* of the method: prefix of its options */
  /* options */
  PetscReal   variance, noise, noisefinal, process, processfinal;
  KalSchedule noiseschedule, processschedule;
  /* groups of parameters: entries start[i] to start[i + 1] - 1 are those of group i */
  PetscInt  groups, *start, *entry;
  PetscInt *covariance; /* where that of each group begins, and how many numbers they are in all */
  /* state: survives a restart */
  PetscReal *P; /* of group after group, each square and symmetric */
  PetscReal  time;
  /* of the cycle in hand */
  PetscInt   room;      /* observations there is memory for */
  PetscReal *A, *B;     /* n x p: whitened Jacobian, in the order of the groups, and its products with P */
  PetscReal *S;         /* p x p */
  PetscReal *r, *d, *v; /* p each */
  PetscReal *losses;    /* of the samples */
  PetscReal *increment; /* n */
} KalWeightFilter;

PETSC_INTERN PetscErrorCode KalWeightFilterCreate(KalAnalysis, const char *name, KalWeightFilter *);
PETSC_INTERN PetscErrorCode KalWeightFilterSetFromOptions(KalWeightFilter *, KalOptionItems);
PETSC_INTERN PetscErrorCode KalWeightFilterSetUp(KalAnalysis, KalWeightFilter *);
PETSC_INTERN PetscErrorCode KalWeightFilterView(const KalWeightFilter *, PetscViewer);
PETSC_INTERN PetscErrorCode KalWeightFilterDestroy(KalWeightFilter *);

#endif
