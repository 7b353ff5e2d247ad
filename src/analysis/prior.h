/*
  The Gaussian prior N(m, P), P diagonal, and how members stand to it: products in the metric of P^{-1}, the only ones of n numbers that
  the methods with a prior need beside their transform.
*/
#ifndef KALMIA_PRIOR_H
#define KALMIA_PRIOR_H

#include "analysisimpl.h"

/* With X the anomalies u_j - mean of the members that did not fail, times a scale. */
typedef struct {
  PetscInt   N;
  PetscReal  scale;
  PetscReal *G; /* N x N: X' P^{-1} X */
  PetscReal *c; /* N: X' P^{-1} (m - mean) */
  PetscReal *F; /* N x N: X' P^{-1/2} Xi with Xi standard normal, a column a member; NULL where no draws were asked for */
} KalPriorGram;

typedef struct {
  PetscReal *mean; /* m, n; survives a restart. NaN until the first cycle */
} KalPrior;

PETSC_INTERN PetscErrorCode KalPriorCreate(KalAnalysis, KalPrior *);
PETSC_INTERN PetscErrorCode KalPriorBegin(KalAnalysis, KalPrior *);
PETSC_INTERN PetscErrorCode KalPriorArray(KalAnalysis, KalPrior *, KalArray *);
PETSC_INTERN PetscErrorCode KalPriorDestroy(KalPrior *);
PETSC_INTERN PetscErrorCode KalPriorGramCreate(KalAnalysis, const KalPrior *, KalEnsemble, const KalStatus *, PetscReal scale, PetscInt cycle, PetscBool draws, KalPriorGram *);
PETSC_INTERN PetscErrorCode KalPriorGramDestroy(KalPriorGram *);
PETSC_INTERN void           KalPriorPull(const KalPriorGram *, const KalStatus *, PetscReal spread, PetscReal *B);

#endif
