/*
  What koala-v and koala-m share: a Kalman filter with small scalar covariances for each network, whose one observation is the
  batch's loss, of which each layer takes its part.
*/
#ifndef KALMIA_KOALA_H
#define KALMIA_KOALA_H

#include "descent.h"

#include <ensemble/sharing.h>

typedef struct {
  PetscReal norm;   /* squared, of the layer's derivatives with the decay */
  PetscReal loss;   /* with the layer's decay */
  PetscReal factor; /* (loss - target)/S */
} KalKoalaLayer;

typedef struct {
  KalDescent descent;
  PetscReal  variance, target;
  PetscInt   numbers; /* of a network's state below */
  /* state of each network, `numbers` each; survives a restart */
  PetscReal *state; /* the loss's running second moment first, then covariances */
  /* of the cycle in hand */
  KalGroup       group;
  KalKoalaLayer *layer;
  PetscInt       layers, *start; /* parameters start[l] to start[l + 1] - 1 are a layer's */
} KalKoala;

PETSC_INTERN PetscErrorCode KalKoalaCreate(KalAnalysis, const char *name, PetscInt numbers, KalKoala *);
PETSC_INTERN PetscErrorCode KalKoalaSetFromOptions(KalKoala *, KalOptionItems);
PETSC_INTERN PetscErrorCode KalKoalaSetUp(KalAnalysis, KalKoala *);
PETSC_INTERN PetscReal      KalKoalaObserve(KalKoala *, PetscReal P, PetscReal noise, PetscReal loss, const PetscScalar *g, const PetscScalar *x);
PETSC_INTERN PetscErrorCode KalKoalaUpdate(KalAnalysis, KalKoala *, KalDescentMove);
PETSC_INTERN PetscErrorCode KalKoalaDestroy(KalKoala *);

#endif
