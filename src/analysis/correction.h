/* Correction of sampling errors, entry by entry, in the covariances that an update is made of. */
#ifndef KALMIA_CORRECTION_H
#define KALMIA_CORRECTION_H

#include "analysisimpl.h"

typedef enum {
  KAL_CORRECT_NONE,
  KAL_CORRECT_SEC,
  KAL_CORRECT_SEC_FISHER,
  KAL_CORRECT_NICE,
  KAL_CORRECT_DROPOUT,
} KalCorrect;
PETSC_INTERN const char *const KalCorrects[];

#define KAL_NICE_POWERS 6 /* r, r^3, ..., r^11 */

/* A correlation r becomes weight r^power + (1 - weight) r^(power + 2). */
typedef struct {
  PetscInt  power;
  PetscReal weight;
} KalNice;

typedef struct {
  KalCorrect type;
  PetscReal  exponent, cutoff, tolerance; /* of sec; of nice */
  PetscReal  probability;                 /* of dropout: that an entry is kept */
  PetscBool  centered;                    /* the mean over the members of perturbed observations' perturbations is taken out */
  /* of the cycle in hand */
  PetscInt         N, p, active;
  PetscInt         first; /* of the observations, in the batch */
  PetscReal        scale;
  const KalStatus *status; /* N; borrowed */
  PetscReal       *A, *sd; /* p x N whitened anomalies of the predictions; p */
  PetscReal       *M;      /* p x N: what the corrected covariance of members and predictions multiplies */
  PetscReal       *X, *C;  /* work of a block: rows x N, rows x p */
  PetscInt         rows;   /* that there is room for */
  KalNice          nice;   /* of the covariance of members and predictions */
  KalKey           key;    /* of what is dropped */
} KalCorrection;

PETSC_INTERN void           KalCorrectionDefaults(KalCorrection *);
PETSC_INTERN PetscErrorCode KalCorrectionSetFromOptions(const char *prefix, KalCorrection *, KalOptionItems);
PETSC_INTERN PetscErrorCode KalCorrectionSetUp(KalAnalysis, const char *prefix, const KalCorrection *);
PETSC_INTERN PetscErrorCode KalCorrectionCheck(KalAnalysis, const char *prefix, const KalCorrection *, PetscInt p);
PETSC_INTERN PetscErrorCode KalCorrectionPrepare(KalAnalysis, const KalTold *, const KalInnovation *, const KalStatus *, PetscReal shift, PetscReal perturbed, KalCorrection *);
PETSC_INTERN PetscErrorCode KalCorrectionRows(KalAnalysis, KalCorrection *, const KalRows *);
PETSC_INTERN void           KalCorrectionHand(KalCorrection *from, KalCorrection *to);
PETSC_INTERN PetscErrorCode KalCorrectionDestroy(KalCorrection *);

#endif
