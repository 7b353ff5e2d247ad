/* The inside of the method "layered": options, sizes, work, and the arithmetic that comes in two precisions. */
#ifndef KALMIA_LAYERED_H
#define KALMIA_LAYERED_H

#include "analysisimpl.h"
#include "schedule.h"

#include <ensemble/sharing.h>

#define KAL_LAYERED_STAGES 64  /* most layers */
#define KAL_LAYERED_ROWS   256 /* of features that are packed together */

typedef enum {
  KAL_LAYERED_FIRST, /* increments to first order: along the regressed gradient */
  KAL_LAYERED_KALMAN,
} KalLayeredVariant;
typedef enum {
  KAL_SCALING_MOMENTS,    /* by the root of running second moments, as Adam's */
  KAL_SCALING_COVARIANCE, /* by the inverse of a running covariance of the layer's features */
} KalScaling;
typedef enum {
  KAL_SWEEP_TOGETHER, /* all layers at once */
  KAL_SWEEP_FORWARD,  /* one after another from the inputs on, each with what those before have become */
  KAL_SWEEP_BACKWARD,
  KAL_SWEEP_ALTERNATE, /* forward in even cycles, backward in odd ones */
} KalSweep;
typedef enum {
  KAL_DRAWS_NORMAL,
  KAL_DRAWS_SIGNS,      /* 1 or -1 */
  KAL_DRAWS_ORTHOGONAL, /* signs whose sample covariance is exact: columns of a Hadamard matrix, at random */
} KalDraws;
typedef enum {
  KAL_SPREAD_FIXED,
  KAL_SPREAD_RELATIVE, /* times the standard deviation of the layer's states over the batch */
} KalSpreadKind;

typedef struct {
  /* options */
  KalLayeredVariant variant;
  KalScaling        scaling;
  KalSweep          sweep;
  KalDraws          draws;
  KalSpreadKind     spreadkind;
  PetscInt          N; /* perturbations a sample */
  PetscBool         antithetic;
  void             *hadamard; /* of orthogonal draws, or NULL; KalLayeredHadamard() */
  PetscInt          widest;   /* numbers of a hidden stage's states */
  PetscReal         spread, damping, ridge, memory, first, second, floor, decay, step, stepfinal;
  KalSchedule       schedule;
  /* state: survives a restart, with the copies of the ensemble */
  PetscReal  time;
  PetscReal *covariance;  /* of the networks' layers one behind another, or NULL */
  PetscInt   covariances; /* numbers of one network's */
  /* what is run */
  KalGroup     group;
  PetscInt     stages, width[KAL_LAYERED_STAGES + 1]; /* numbers of a state */
  size_t       real;                                  /* bytes of a number of the model's precision */
  PetscBool    joined;                                /* the ranks of a group hold the same member */
  PetscScalar *replica;                               /* of a member and its moments on ranks that do not own it */
  /* work of a batch of `samples` */
  PetscInt    samples;
  void       *state[KAL_LAYERED_STAGES + 1], *delta[KAL_LAYERED_STAGES + 1], *room, *unpooled; /* of features; of increments of a stage's rows */
  const void *features;                                                                        /* of the stage in hand */
  PetscReal  *outputs, *r, *d, *v, *losses;
  PetscReal  *loss;       /* of each network */
  size_t      increments; /* numbers of a layer's, at most */
  void       *increment, *work;
  size_t      workbytes;
  PetscReal  *normal, *right, *rows; /* of the covariance's solves */
} KalLayered;

/* A member that is worked on: parameters, first and second moments of their increments. */
typedef struct {
  PetscInt     member;
  PetscScalar *x, *first, *second;
} KalNetwork;

/* Perturbations of the states of a stage. */
typedef struct {
  PetscInt           stage;
  const PetscScalar *x;
  PetscReal          spread;
  KalKey             key;
  PetscInt           from, to;  /* samples of the batch */
  const PetscReal   *r, *d, *v; /* of those samples */
} KalPerturbed;

/* Perturbations of a sample that are drawn; others mirror them. */
static inline PetscInt KalLayeredDraws(const KalLayered *layered)
{
  return layered->antithetic ? layered->N / 2 : layered->N;
}

/* What sums over perturbations are divided by: one less where their mean is taken off them, and is not zero by design. */
static inline PetscReal KalLayeredDivisor(const KalLayered *layered)
{
  return layered->antithetic || layered->draws == KAL_DRAWS_ORTHOGONAL ? layered->N : layered->N - 1;
}

/* Increments of a layer's parameters lie unit by unit, so many numbers from one to the next: features, bias, zeros. */
static inline PetscInt KalLayeredPitch(const KalLayer *layer, PetscInt height)
{
  return KalPanelCount(layer->features + 1, height) * height;
}

/* The arithmetic in one precision. */
typedef struct {
  PetscErrorCode (*perturb)(KalAnalysis, const KalPerturbed *, const void *z, void *delta);
  void (*regress)(const KalLayer *, PetscInt rows, const void *features, const void *delta, PetscInt from, PetscInt to, void *panel, void *increment);
  void (*moments)(const KalLayer *, const KalLayered *, PetscReal factor, PetscReal step, const PetscReal correction[2], const void *increment, KalNetwork *);
  void (*get)(PetscInt count, const void *from, PetscReal *to);
  void (*put)(PetscInt count, const PetscReal *from, void *to);
  PetscErrorCode (*hadamard)(KalLayered *);
  void (*spread)(PetscInt count, const void *z, PetscReal *spread);
} KalLayeredKernels;
PETSC_INTERN const KalLayeredKernels KalLayeredSingle, KalLayeredDouble;

PETSC_INTERN PetscErrorCode KalLayeredWork(KalLayered *, size_t bytes);
PETSC_INTERN PetscErrorCode KalLayeredWeigh(PetscInt outputs, const PetscReal *d, const PetscReal *v, const PetscReal *C, PetscReal damping, PetscReal *q);
PETSC_INTERN PetscErrorCode KalLayeredTell(KalAnalysis, const KalTold *, KalVerdict *);
PETSC_INTERN PetscErrorCode KalLayeredRidge(KalAnalysis, const KalTold *, PetscInt stage, PetscReal correction, PetscReal step, KalNetwork *);

#endif
