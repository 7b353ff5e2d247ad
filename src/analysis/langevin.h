/* What the Langevin samplers of interacting members share: all is one N x N transform, drift and noise. */
#ifndef KALMIA_LANGEVIN_H
#define KALMIA_LANGEVIN_H

#include "prior.h"

typedef struct KalLangevin KalLangevin;
struct KalLangevin {
  char      prefix[16];
  PetscReal step, floor, most;
  KalPrior  prior;
  PetscReal time;       /* survives a restart */
  PetscBool correction; /* for a finite ensemble: ALDI */
  PetscInt  wants;      /* KAL_WANT_... */
  /*
    Fills Phi (N x N): column j holds C-preconditioned gradients of the misfit in ensemble space, so that the drift of member j is -sum_k (u_k - mean) Phi_kj,
    with the divisor N of the covariance in it.
  */
  PetscErrorCode (*gradient)(KalAnalysis, KalInnovation *, const KalPriorGram *, PetscReal *Phi);
  void *method; /* the method's own data, one PetscNew() */
  /* of the cycle in hand */
  KalStatus *status;
  PetscReal *T;
};

PETSC_INTERN PetscErrorCode KalLangevinCreate(KalAnalysis, const char *prefix, KalLangevin **);
PETSC_INTERN PetscErrorCode KalLangevinSetFromOptions(KalAnalysis, KalOptionItems);
PETSC_INTERN const char    *KalLangevinOption(const KalLangevin *, const char *name);

#endif
