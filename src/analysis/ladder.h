/* What methods share that fit paths under a growing weight of the dynamics: the ladder of weights, the action, the levels of all paths. */
#ifndef KALMIA_LADDER_H
#define KALMIA_LADDER_H

#include "analysisimpl.h"

typedef struct {
  /* options */
  PetscReal first, growth;
  PetscInt  rungs;
  /* state: survives a restart */
  PetscReal *action, *measured; /* rungs x N, of rungs that are done */
  PetscReal  done[3];           /* how many, and how many numbers are measured and how many equations there are */
  PetscReal *weight;            /* by rung */
  /* of the cycle in hand */
  const KalBatch *batch;
  PetscInt        p, q;  /* residuals of measurements and of the dynamics */
  PetscReal       gamma; /* variance of a measurement */
  PetscReal       R;     /* weight of the dynamics */
  PetscScalar    *r;     /* p + q residuals, */
  PetscScalar    *s;     /* and weighted ones */
  PetscInt        room;
  PetscReal       passes; /* forward passes of this rank */
  KalEnsemble     terms;  /* 3 x N: a member's action, of it the data's part, and the passes it took */
} KalLadder;

PETSC_INTERN PetscErrorCode KalLadderSetFromOptions(KalAnalysis, KalLadder *, KalOptionItems);
PETSC_INTERN PetscErrorCode KalLadderSetUp(KalAnalysis, KalLadder *);
PETSC_INTERN PetscErrorCode KalLadderCheck(KalAnalysis, KalObservations);
PETSC_INTERN PetscErrorCode KalLadderBegin(KalAnalysis, KalLadder *, const KalTold *);
PETSC_INTERN PetscErrorCode KalLadderAction(KalAnalysis, KalLadder *, const PetscScalar *x, PetscReal terms[2], PetscScalar *g);
PETSC_INTERN PetscErrorCode KalLadderTerms(KalLadder *, PetscInt member, PetscReal **terms);
PETSC_INTERN PetscErrorCode KalLadderEnd(KalAnalysis, KalLadder *, PetscInt cycle, KalVerdict *);
PETSC_INTERN PetscErrorCode KalLadderArrays(KalAnalysis, KalLadder *, PetscInt *, KalArray[]);
PETSC_INTERN PetscErrorCode KalLadderLevels(KalAnalysis, const KalLadder *, KalLevels *);
PETSC_INTERN PetscErrorCode KalLadderView(const KalLadder *, PetscViewer);
PETSC_INTERN PetscErrorCode KalLadderDestroy(KalLadder *);

static inline PetscBool KalLadderIsDone(const KalLadder *ladder)
{
  return (PetscBool)(ladder->done[0] >= ladder->rungs);
}

#endif
