/* What the unscented methods share: sigma points of a mean and a dense covariance, both of which survive a restart. */
#ifndef KALMIA_SIGMA_H
#define KALMIA_SIGMA_H

#include "prior.h"

typedef struct {
  char prefix[16];
  /* of the method: what is predicted, C <- growth C + noise P, m <- r + memory (m - r), r the prior mean */
  PetscReal growth, noise, memory;
  PetscReal error;                    /* the error covariance that the analysis takes, times R */
  PetscReal weight;                   /* of a point's departure in covariances */
  PetscReal centermean;               /* of the centre in means, */
  PetscReal center;                   /* and of its departure from the mean in covariances of predictions */
  PetscReal reach;                    /* of the points along the columns of the covariance's root */
  PetscBool simplex;                  /* n + 2 points, not 2 n + 1 */
  PetscBool members;                  /* begins at the mean of the first members, not at the prior's */
  PetscBool tikhonov;                 /* the prior mean is a datum too */
  PetscErrorCode (*set)(KalAnalysis); /* fills in the numbers above from the method's options */
  PetscErrorCode (*view)(KalAnalysis, PetscViewer);
  void *method; /* the method's own options, one PetscNew() */
  /* state: survives a restart */
  KalPrior   prior;
  PetscReal *m, *C; /* n, n x n: of the last analysis; the trace of C is 0 before the first */
  PetscReal  time;
  /* of the cycle in hand */
  PetscReal *predicted, *root; /* n; n x n, lower */
  PetscReal *unit;             /* n x (points - 1): the points' departures in units of the root */
} KalSigma;

PETSC_INTERN PetscErrorCode KalSigmaCreate(KalAnalysis, const char *prefix, KalSigma **);
PETSC_INTERN const char    *KalSigmaOption(const KalSigma *, const char *name);

#endif
