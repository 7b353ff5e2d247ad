/* What eki and etki share: time step, momentum, redraw, inflation; they differ in their weights. */
#ifndef KALMIA_INVERSION_H
#define KALMIA_INVERSION_H

#include "blocks.h"
#include "correction.h"
#include "prior.h"

typedef enum {
  KAL_STEP_FIXED,
  KAL_STEP_ADAPTIVE,
  KAL_STEP_MISFIT,
} KalStepRule;
typedef enum {
  KAL_MOMENTUM_NONE,
  KAL_MOMENTUM_CONSTANT,
  KAL_MOMENTUM_NESTEROV,
} KalMomentum;
typedef enum {
  KAL_REDRAW_MEAN,
  KAL_REDRAW_MEMBER,
} KalRedrawAbout;
typedef enum {
  KAL_TARGET_OPTIMUM,
  KAL_TARGET_POSTERIOR,
} KalTarget;

typedef struct {
  char prefix[16]; /* of the options */
  /* options */
  KalTarget      target;
  KalStepRule    rule;
  PetscReal      step, floor, most, total;
  KalMomentum    momentum;
  PetscReal      momentumfactor;
  PetscInt       redrawcycles, redrawepochs;
  PetscReal      redrawspread;
  KalRedrawAbout redrawabout;
  PetscReal      inflation, additive;
  PetscBool      tikhonov;   /* the prior mean is a datum too: errors P */
  PetscBool      diffused;   /* members are spread before each cycle by what the analysis takes from them */
  KalPrior       prior;      /* where tikhonov */
  KalCorrection  correction; /* of sampling errors */
  PetscBool      blockwise;  /* layers are perturbed one at a time */
  KalBlocks      blocks;     /* where blockwise */
  /* state: survives a restart */
  PetscReal state[3]; /* sum of the steps, Nesterov's theta, factor of the next extrapolation */
  /* of the cycle in hand */
  PetscInt     cycle, active;
  KalEnsemble  points; /* extrapolated, where there is momentum */
  KalStatus   *status;
  PetscReal   *T;
  PetscScalar *work, *noise;
  /* what the method itself adds */
  PetscInt wants;
  PetscErrorCode (*weights)(KalAnalysis, const KalTold *, const KalInnovation *, PetscReal step, PetscReal *T);
  PetscBool perturbed;
  PetscBool correctable; /* the update has explicit covariances to be corrected */
} KalInversion;

enum {
  KAL_STATE_TIME   = 0,
  KAL_STATE_THETA  = 1,
  KAL_STATE_FACTOR = 2,
};

PETSC_INTERN PetscErrorCode KalInversionCreate(KalAnalysis, const char *prefix, KalInversion **);
PETSC_INTERN const char    *KalInversionOption(const KalInversion *, const char *name);
PETSC_INTERN PetscErrorCode KalInversionSetFromOptions(KalAnalysis, KalOptionItems);
PETSC_INTERN PetscErrorCode KalInversionStep(KalAnalysis, const KalInnovation *, PetscReal *);

#endif
