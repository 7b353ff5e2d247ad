/*
  (I + S)^{-1/2} times a few vectors, for the many small symmetric S of local analyses. No eigenvectors are formed: S = Q T Q'
  with T tridiagonal, and the root of I + T is a sum of inverses.
*/
#ifndef KALMIA_LOCALROOT_H
#define KALMIA_LOCALROOT_H

#include "analysisimpl.h"

/* Running sums, and poles, that go side by side. */
#define KAL_LANES 8

static inline PetscReal KalLanesSum(const PetscReal s[KAL_LANES])
{
  return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* a'b in one order that vectorizes. */
static inline PetscReal KalLanesDot(PetscInt n, const PetscReal *a, const PetscReal *b)
{
  PetscReal s[KAL_LANES] = {0.0};
  PetscInt  i, l;

  for (i = 0; i + KAL_LANES <= n; i += KAL_LANES) {
    for (l = 0; l < KAL_LANES; l++) s[l] += a[i + l] * b[i + l];
  }
  for (l = 0; i + l < n; l++) s[l] += a[i + l] * b[i + l];
  return KalLanesSum(s);
}

/* (1 + x)^{-1/2} = sum_j weight_j/(1 + x + shift_j) to rounding for 0 <= x < 4^k */
typedef struct {
  PetscInt   count;  /* a multiple of 8 */
  PetscReal *shift;  /* ascending */
  PetscReal *weight; /* and */
  PetscReal *gap;    /* weight_j/(1 + shift_j), which make (1 - (1 + x)^{-1/2})/x of it */
} KalPoles;
#define KAL_POLES_MOST 128 /* largest k: a matrix beyond 4^k is refused */

typedef struct {
  PetscInt        m;        /* size of S */
  PetscReal      *S;        /* m x m: the caller fills its lower triangle; then the reflectors of Q */
  PetscReal      *d, *e;    /* diagonal and off-diagonal of T */
  PetscReal      *tau;      /* of the reflectors */
  PetscReal      *inverse;  /* m x poles: pivots of T + (1 + shift) I, inverted, and */
  PetscReal      *ratio;    /* off-diagonals divided by them */
  PetscReal      *work;     /* m x (lanes + 1) at least */
  const KalPoles *poles;    /* those in use */
  PetscInt        most;     /* sizes there is room for, */
  PetscInt        mostwork; /* and m x poles */
  KalPoles       *table[KAL_POLES_MOST + 1];
  PetscInt        lwork;
  PetscReal      *lapack;
} KalRoot;

typedef enum {
  KAL_ROOT_INVERSE, /* (I + S)^{-1/2} */
  KAL_ROOT_GAP,     /* (I - (I + S)^{-1/2}) S^{-1} */
} KalRootFunction;

PETSC_INTERN PetscErrorCode KalRootReserve(KalRoot *, PetscInt m);
PETSC_INTERN PetscErrorCode KalRootFactor(KalRoot *, PetscBool *ok);
PETSC_INTERN PetscErrorCode KalRootDestroy(KalRoot *);
/* On vectors of m numbers, in place. */
PETSC_INTERN void KalRootEnter(const KalRoot *, PetscReal *x);                  /* Q'x */
PETSC_INTERN void KalRootLeave(const KalRoot *, PetscReal *x);                  /* Q x */
PETSC_INTERN void KalRootSolve(const KalRoot *, PetscReal *x);                  /* (I + T)^{-1} x */
PETSC_INTERN void KalRootApply(const KalRoot *, KalRootFunction, PetscReal *x); /* with T for S */

#endif
