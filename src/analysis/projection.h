/* Increments of a network's first layer, less what no sample of the batch can see. */
#ifndef KALMIA_PROJECTION_H
#define KALMIA_PROJECTION_H

#include "analysisimpl.h"

#include <ensemble/sharing.h>

typedef struct {
  KalGroup   group;                  /* all ranks, which share the one network */
  PetscInt   features, rows;         /* the bias among them; rows that there is room for */
  PetscReal *deviation;              /* of the weights of a unit */
  PetscReal *f, *columns, *root, *t; /* features by rows, the same by columns, Cholesky factor of their Gram matrix, work */
} KalProjection;

PETSC_INTERN PetscErrorCode KalProjectionCreate(KalAnalysis, const char *option, KalProjection *);
PETSC_INTERN PetscErrorCode KalProjectionApply(KalAnalysis, const KalBatch *, KalProjection *, PetscScalar *increment);
PETSC_INTERN PetscReal      KalProjectionMemory(KalAnalysis, PetscInt samples);
PETSC_INTERN PetscErrorCode KalProjectionDestroy(KalProjection *);
PETSC_INTERN PetscErrorCode KalLayerDeviations(KalAnalysis, PetscInt stage, PetscReal *deviation);

#endif
