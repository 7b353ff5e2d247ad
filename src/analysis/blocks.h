/* Block localization: blocks of the state that are perturbed one at a time, whose covariances with each other are taken to be zero. */
#ifndef KALMIA_BLOCKS_H
#define KALMIA_BLOCKS_H

#include "analysisimpl.h"

typedef struct {
  PetscInt     count; /* of blocks, 0: there are none */
  PetscInt    *bound; /* count + 1 state entries: block l has those from bound[l] on */
  PetscInt     asked; /* how many sets of points were asked for in this cycle */
  PetscInt     N, cycle;
  KalEnsemble  points;      /* the mean of the members, with one block of each of them */
  KalEnsemble *predictions; /* count + 1: of the members, and of those points, a block after the other */
  KalStatus   *status;      /* (count + 1) x N: of a member the same for each */
  PetscScalar *mean;        /* n: of the members that did not fail */
  PetscReal   *S, *D, *P;   /* with A = [A_1 ... A_count]: A'A, A'R, A'Xi */
  PetscReal   *T;           /* N x N for each block */
  PetscScalar *x, *y;       /* rows x N: of a block of rows */
  PetscInt     rows;        /* that there is room for */
} KalBlocks;

PETSC_INTERN PetscErrorCode KalBlocksCreate(KalAnalysis, const char *option, KalBlocks *);
PETSC_INTERN PetscErrorCode KalBlocksBegin(KalAnalysis, KalBlocks *, PetscInt cycle);
PETSC_INTERN PetscErrorCode KalBlocksAsk(KalAnalysis, KalBlocks *, KalAsk *);
PETSC_INTERN PetscErrorCode KalBlocksKeep(KalAnalysis, KalBlocks *, const KalTold *, PetscBool *more);
PETSC_INTERN PetscErrorCode KalBlocksProducts(KalAnalysis, KalBlocks *, const KalTold *, PetscBool perturbed, KalInnovation *);
PETSC_INTERN PetscErrorCode KalBlocksWeights(KalAnalysis, KalBlocks *, const KalInnovation *, PetscReal shift, PetscReal perturbed, PetscReal inflation);
PETSC_INTERN PetscErrorCode KalBlocksRows(KalAnalysis, KalBlocks *, const KalRows *);
PETSC_INTERN PetscErrorCode KalBlocksDestroy(KalBlocks *);

#endif
