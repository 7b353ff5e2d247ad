/* Observations in time inside KalObservations: twin experiments and series from a file. */
#ifndef KAL_TIMED_H
#define KAL_TIMED_H

#include "observationsimpl.h"

/* Most observations of one time with a dense error covariance: its factor is p x p. */
#define KAL_MOST_DENSE 10000

/* Which arrays some observations have. */
typedef struct {
  PetscInt  m;       /* observations */
  PetscInt  entries; /* numbers of entry[], and of weight[] where there is one; 0: the model's own `observe` */
  PetscInt  dense;   /* rows of a dense error covariance, or 0 */
  PetscBool value, error, rows, weight, location, kind;
} KalTimedSizes;

struct KalTimed {
  /* Chosen before the set-up */
  PetscInt  n;                        /* entries of the state; 0 until known */
  PetscReal step;                     /* model time of a time step */
  PetscReal start;                    /* model time before the first cycle */
  PetscReal interval;                 /* of a twin: model time between observations; 0: one step */
  PetscInt  first, stride;            /* of a twin without an operator: what is observed */
  PetscInt  count;                    /* how many entries; 0: all from `first` on */
  PetscBool noise;                    /* an error variance was chosen */
  PetscReal reject;                   /* background check; 0: none */
  char      path[PETSC_MAX_PATH_LEN]; /* of the operator; "model" for the model's own */
  KalDomain domain;                   /* dimension 0: unknown */
  PetscBool timeless;                 /* of a series: all its observations are of one time, the same in every cycle */

  /* The observations of all cycles, one time after the other; those of a twin and of a timeless series are the same in each cycle */
  KalTimedSizes size;
  PetscInt      most;   /* of any cycle */
  PetscInt      cycles; /* PETSC_MAX_INT for a twin and a timeless series */
  PetscInt64    every;  /* of these: steps between observations */
  KalShared     store, times;
  PetscReal    *value, *error, *weight, *location, *root;
  PetscInt     *start_row, *entry, *kind; /* start_row: size.m + 1 offsets into entry[] */
  PetscInt     *offset;                   /* of a series in time: first observation of each cycle, cycles + 1 numbers */
  PetscInt64   *steps;                    /* and its time, in steps after the start */

  /* The batch of the cycle in hand */
  KalLinear    linear;
  PetscInt    *rows;   /* most + 1 */
  PetscScalar *target; /* most */
};

/* A path that is no file: what is observed is the model's own `observe`. */
static inline PetscBool KalTimedOwn(const KalTimed *t)
{
  return (PetscBool)!strcmp(t->path, "model");
}

/* timed.c */
PETSC_INTERN PetscErrorCode KalTimedAllocate(KalObservations, const KalTimedSizes *);

/* linear.c */
PETSC_INTERN PetscErrorCode KalTimedRoot(KalObservations, const char *);

/* twin.c, series.c */
PETSC_INTERN PetscErrorCode KalTwinSetUp(KalObservations);
PETSC_INTERN PetscErrorCode KalSeriesSetUp(KalObservations);

/* seriesfile.c; times on rank 0 of a node alone, to be given back by free(); NULL where a timeless series has none */
PETSC_INTERN PetscErrorCode KalTimedLoad(KalObservations, const char *, PetscReal **times, KalFault *);
PETSC_INTERN PetscErrorCode KalTimedPublish(KalObservations, const char *, KalShared *, KalFault *);

/* seriescheck.c; on rank 0 of a node; observations of one time are told apart by `times`, where these are not NULL */
PETSC_INTERN void KalTimedCheck(const KalTimed *, const char *, KalFault *);
PETSC_INTERN void KalTimedCheckTwice(const KalTimed *, const char *, const PetscReal *times, PetscInt, PetscInt, KalFault *);

#endif
