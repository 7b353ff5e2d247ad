/* The inside of letkf: its own data, and the local analyses of a row block. */
#ifndef KALMIA_LETKF_H
#define KALMIA_LETKF_H

#include "filter.h"
#include "localization.h"
#include "localroot.h"

/* Consecutive state entries that share one analysis. */
typedef struct {
  PetscInt  first, count;
  PetscBool unplaced; /* near everything */
  PetscReal center[KAL_DIMENSIONS];
} KalPatch;

typedef struct {
  KalLocalization localization;
  PetscInt        batch; /* -letkf_batch */
  KalAnalysisOps  base;  /* of the global filter */

  /* the row blocks of this rank, cut into patches once */
  PetscBool cut;
  PetscInt  firstblock, lastblock, rows;
  PetscInt *start; /* of each block's patches in */
  KalPatch *patch;

  /* observations that count here, until they move */
  PetscInt  wanted, *entries; /* ascending */
  PetscInt *position;         /* of each observation among them */

  /* of the cycle in hand */
  KalTold    told;
  PetscInt   active, *member; /* members that did not fail, and which */
  PetscReal  scale;           /* 1/sqrt(active - 1) */
  PetscReal  prior, posterior;
  size_t     mostY;
  PetscReal *Y;   /* whitened predicted anomalies times scale: members of an observation side by side */
  PetscReal *r;   /* whitened innovations */
  PetscReal *mix; /* active x N: rotation and failed members, the same for every row; NULL where there is neither */
  PetscBool  mixes;
  char       error[256]; /* of a local analysis, to be raised by all ranks together */

  /* the local analysis in hand */
  KalNeighbours near, before; /* before: what root was made of */
  PetscBool     ready;        /* root is that of `before` */
  PetscBool     observed;     /* root is one in observation space */
  KalRoot       root;
  PetscReal    *A;    /* active x observations, localized */
  PetscReal    *z;    /* (I + T)^{-1} Q' A r */
  PetscReal    *side; /* a vector on its way through root */

  /* of a row block */
  PetscReal   *X, *mean; /* rows x active anomalies, a row's side by side; rows */
  PetscScalar *mixed;    /* N x rows, or a copy of some rows */
  PetscScalar *forecast; /* a copy of the rows before the analysis, where inflation looks back at it */
  PetscReal   *moments;  /* 4 x rows */
} KalLETKF;

PETSC_INTERN PetscErrorCode KalLETKFPredictions(KalAnalysis, KalLETKF *);
PETSC_INTERN PetscErrorCode KalLETKFRows(void *, const KalRows *);
PETSC_INTERN PetscErrorCode KalLETKFRoom(KalAnalysis, KalLETKF *);
PETSC_INTERN PetscErrorCode KalLETKFFree(KalLETKF *);

#endif
