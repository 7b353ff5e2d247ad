/* The inside of the model type "path": what paths of networks and of dynamical models share. */
#ifndef KALMIA_PATH_H
#define KALMIA_PATH_H

#include <models/modelimpl.h>

/* Difference formulas of a dynamical model's equations, over up to three times. */
#define KAL_PATH_SPAN 3
typedef struct {
  PetscInt  span;                    /* steps from one use of the formulas to the next */
  PetscInt  rows;                    /* formulas, as many as steps */
  PetscReal state[2][KAL_PATH_SPAN]; /* factors of the states from the first time on, */
  PetscReal slope[2][KAL_PATH_SPAN]; /* and of their time derivatives, times the step */
} KalPathRule;

typedef struct {
  KalModel     inner;
  char         type[KAL_MODEL_NAME]; /* of the inner model */
  PetscBool    network;
  PetscReal    mean, spread;    /* of the first paths' states */
  PetscInt     most, *observed; /* of a dynamical model: entries of its state that are measured, ascending */
  PetscInt     steps;           /* of it */
  PetscEnum    rule;
  PetscInt     samples; /* of a network: samples that the path has states for */
  PetscInt64   first;   /* where the states begin: behind a network's weights */
  PetscScalar *work;    /* of residuals */
  size_t       room;
} KalPath;

PETSC_INTERN const KalPathRule KalPathRules[];

/* path_time.c */
PETSC_INTERN PetscErrorCode KalPathTimeSetUp_Private(KalModel);
/* path_network.c */
PETSC_INTERN PetscErrorCode KalPathNetworkSetUp_Private(KalModel);

/* Work space of at least so many numbers. */
PETSC_INTERN PetscErrorCode KalPathReserve_Private(KalPath *, size_t);

#endif
