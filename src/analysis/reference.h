/*
  What the reference methods share: the gain of a given n x n covariance, made dense, on every rank.
*/
#ifndef KALMIA_REFERENCE_H
#define KALMIA_REFERENCE_H

#include "analysisimpl.h"

/* With H the observation operator, whitened like the observations, and B the covariance: K = B H'(H B H' + I)^{-1}. */
typedef struct {
  PetscInt   n, p;
  PetscInt   room;    /* observations there is memory for */
  PetscBool  made;    /* for the operator of this digest */
  PetscInt64 digest;  /* of operator and errors */
  PetscReal *HB;      /* p x n */
  PetscReal *K;       /* p x n: the gain's transpose */
  PetscReal *M, *row; /* p x p: H B H'; a state */
  PetscReal *column;  /* p */
  PetscReal  trace;   /* of H B H' */
  PetscReal  dfs;     /* tr(H K) */
} KalGain;

PETSC_INTERN PetscErrorCode KalGainMake(KalAnalysis, const KalBatch *, PetscReal scale, const PetscReal *B, PetscBool fixed, KalGain *);
PETSC_INTERN PetscErrorCode KalGainResidual(const KalBatch *, PetscBool whitened, const PetscScalar *predicted, PetscReal *residual);
PETSC_INTERN PetscErrorCode KalGainApply(const KalGain *, const PetscReal *residual, PetscScalar *x);
PETSC_INTERN PetscErrorCode KalGainDestroy(KalGain *);

PETSC_INTERN PetscErrorCode KalReferenceSetUp(KalAnalysis, PetscBool dense);
PETSC_INTERN PetscErrorCode KalReferenceCheck(KalAnalysis, const KalBatch *, PetscBool covariance);
PETSC_INTERN PetscErrorCode KalReferenceReport(KalAnalysis, const KalTold *);

#endif
