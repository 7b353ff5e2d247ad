/* Members about one network whose perturbations have rank one in every layer: they are run without their weights being made. */
#ifndef KALMIA_RANKONE_H
#define KALMIA_RANKONE_H

#include "analysisimpl.h"

#include <ensemble/sharing.h>

/* Which draws members are made of. */
typedef struct {
  KalKey    key;        /* its member is set to each member's index, or pair */
  PetscReal spread;     /* times the prior's standard deviations */
  PetscBool antithetic; /* members 2k and 2k + 1 are mirror images */
} KalRankOneDraws;

typedef struct {
  KalGroup    group;       /* all ranks, which share the one network */
  PetscInt    N, draws;    /* members; numbers that one is made of */
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

PETSC_INTERN PetscErrorCode KalRankOneCreate(KalAnalysis, KalRankOne *);
PETSC_INTERN PetscErrorCode KalRankOnePredict(KalAnalysis, const KalTold *, const KalRankOneDraws *, KalRankOne *, KalTold *);
PETSC_INTERN PetscErrorCode KalRankOneCombine(KalAnalysis, const KalRankOneDraws *, const PetscReal *c, KalRankOne *, PetscScalar *y);
PETSC_INTERN PetscReal      KalRankOneMemory(KalAnalysis, PetscInt samples);
PETSC_INTERN PetscErrorCode KalRankOneDestroy(KalRankOne *);

#endif
