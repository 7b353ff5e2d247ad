/* What the methods share that move each network along derivatives of its own loss. */
#ifndef KALMIA_DESCENT_H
#define KALMIA_DESCENT_H

#include "schedule.h"

typedef struct {
  const char *name; /* of the method: prefix of its options */
  /* options */
  PetscReal   step, stepfinal, decay;
  KalSchedule schedule;
  PetscReal   time; /* sum of the steps: survives a restart */
  /* of the cycle in hand */
  PetscInt         cycle;
  PetscReal        taken;
  KalEnsemble      derivatives;
  const PetscReal *losses; /* two a network: mean loss, mean square */
} KalDescent;

/* Moves the n numbers x of a network along g; `kept` are those of the same network in the copies of the ensemble. */
typedef void (*KalDescentMove)(KalAnalysis, PetscInt member, PetscInt n, const PetscScalar *g, PetscScalar *x, PetscScalar *kept[]);

PETSC_INTERN PetscErrorCode KalDescentSetFromOptions(KalDescent *, KalOptionItems);
PETSC_INTERN PetscErrorCode KalDescentSetUp(KalAnalysis, KalDescent *);
PETSC_INTERN PetscErrorCode KalDescentFactor(KalAnalysis, const KalDescent *, const char *option, PetscReal);
PETSC_INTERN PetscErrorCode KalDescentBegin(KalAnalysis, PetscInt cycle);
PETSC_INTERN PetscErrorCode KalDescentAsk(KalAnalysis, KalAsk *);
PETSC_INTERN PetscErrorCode KalDescentTell(KalAnalysis, KalDescent *, const KalTold *, KalVerdict *);
PETSC_INTERN PetscErrorCode KalDescentUpdate(KalAnalysis, KalDescent *, KalDescentMove);
PETSC_INTERN KalArray       KalDescentArray(KalDescent *);

#endif
