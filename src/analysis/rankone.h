/* Members about one network whose perturbations have rank one in every layer: they are run without their weights being made. */
#ifndef KALMIA_RANKONE_H
#define KALMIA_RANKONE_H

#include "analysisimpl.h"

#include <ensemble/sharing.h>

#define KAL_RANKONE_MEMBERS 256 /* drawn together */

/* Which draws members are made of. */
typedef struct {
  KalKey    key;        /* its member is set to each member's index, or pair */
  PetscReal spread;     /* times the prior's standard deviations */
  PetscBool antithetic; /* members 2k and 2k + 1 are mirror images */
  PetscBool flipped;    /* the signs of units are multiplied by those of each sample */
} KalRankOneDraws;

typedef struct {
  KalGroup    group;       /* all ranks, which share the one network */
  PetscInt    N, draws;    /* members; numbers that one is made of */
  PetscInt    block;       /* members whose signs are orthogonal: the least power of two above the number of units */
  PetscInt   *at;          /* where those of each layer begin: signs of its units, factors of its features and of the bias */
  PetscReal  *deviation;   /* draws: 1 where a sign is, the prior's standard deviation where a factor is */
  KalEnsemble predictions; /* of the members and, behind them, of the network itself */
  PetscInt    samples;     /* that they are of */
  KalStatus  *status;      /* N + 1 */
  float      *drawn;       /* of some members */
  void       *work;        /* of the arithmetic */
  size_t      bytes;
  PetscReal  *increment; /* of layer after layer, in whole panels */
} KalRankOne;

/* Samples that members are run on: their predictions are wanted, or, with coefficients by member and sample, what they say of each layer's states. */
typedef struct {
  PetscInt         first, samples;
  const PetscReal *c;
  const KalStatus *status;  /* of the members: those that failed say nothing; with delta */
  PetscReal      **delta;   /* samples x units of each layer, or NULL */
  PetscReal      **squares; /* the samples' sums of (b'f)^2, with delta */
  float          **flip;    /* the samples' signs, samples x rows x units of each layer */
} KalRankOneView;

PETSC_INTERN PetscErrorCode KalRankOneCreate(KalAnalysis, KalRankOne *);
PETSC_INTERN PetscErrorCode KalRankOnePredict(KalAnalysis, const KalTold *, const KalRankOneDraws *, KalRankOne *, KalTold *);
PETSC_INTERN PetscErrorCode KalRankOneCombine(KalAnalysis, const KalRankOneDraws *, const PetscReal *c, KalRankOne *, PetscScalar *y);
PETSC_INTERN PetscReal      KalRankOneMemory(KalAnalysis, PetscInt samples, PetscBool flipped);
PETSC_INTERN PetscErrorCode KalRankOneLocalize(KalAnalysis, const KalTold *, const KalRankOneDraws *, const KalInnovation *, const PetscReal *q, KalRankOne *, PetscScalar *y);
PETSC_INTERN PetscErrorCode KalRankOneWork(KalRankOne *, size_t bytes);
PETSC_INTERN PetscErrorCode KalRankOneDraw(KalAnalysis, const KalRankOneDraws *, KalRankOne *, PetscInt first, PetscInt count);
PETSC_INTERN PetscErrorCode KalRankOneRun(KalAnalysis, const KalBatch *, const KalRankOneDraws *, const KalRankOneView *, KalRankOne *, PetscInt from, PetscInt to);
PETSC_INTERN PetscErrorCode KalRankOneDestroy(KalRankOne *);

#endif
