/* What the Gaussian particle flow and the Gaussian flow share; they differ in the points where derivatives are taken. */
#ifndef KALMIA_GPF_H
#define KALMIA_GPF_H

#include "schedule.h"

typedef struct {
  char prefix[8]; /* of the options */
  /* options */
  PetscReal   step, stepfinal, spread;
  KalSchedule schedule;
  PetscBool   precondition, prior;
  PetscBool   linearized; /* derivatives from the points' own predictions */
  PetscBool   rotated;    /* of gf: its points are the columns turned at random */
  /* state: survives a restart */
  PetscReal time;
  /* of the cycle in hand */
  KalEnsemble points; /* where derivatives are taken; NULL: at the particles themselves */
  PetscReal  *Z;      /* N x N: points are mean + X Z/sqrt(N) */
  KalEnsemble derivatives;
  PetscReal   samples, taken; /* of the data set; step length */
  PetscReal  *sums;           /* X'X (N x N), and behind it X'phi for the mean phi */
  PetscReal  *K;              /* P'X (N x N), P the points less the particles' mean: X'X itself where the points are the particles */
  KalGram     gram;
  PetscBool   known; /* W, where derivatives are P W (N x N) */
  PetscReal  *W;
  PetscInt    room;        /* rows there is memory for */
  PetscReal  *X, *P, *phi; /* rows x N: departures from the mean, of particles and points; derivatives of the potential */
  PetscReal  *mean, *go;   /* rows: of phi; what the mean goes along */
} KalGpf;

PETSC_INTERN PetscErrorCode KalGpfCreate(KalAnalysis, const char *prefix, KalGpf **);
PETSC_INTERN PetscErrorCode KalGpfSetFromOptions(KalAnalysis, KalOptionItems);
PETSC_INTERN PetscErrorCode KalGpfSetUp(KalAnalysis);
PETSC_INTERN PetscErrorCode KalGpfView(KalAnalysis, PetscViewer);
PETSC_INTERN PetscErrorCode KalGpfDestroy(KalAnalysis);

#endif
