/* The inside of the model "kuramoto-sivashinsky". */
#ifndef KALMIA_KURAMOTO_SIVASHINSKY_H
#define KALMIA_KURAMOTO_SIVASHINSKY_H

#include <models/dynamics.h>

#include <fftw3.h>

#define KAL_KS_MOST 100000000 /* points: FFTW counts with int */

/*
  Spectra are 2 (n/2 + 1) numbers, real and imaginary parts in turn, of transforms that are not scaled. A coefficient of a
  wave stands twice, so that loops run over all numbers alike.
*/
typedef struct {
  PetscInt  points;
  PetscReal domain, step, variance; /* domain in units of pi */

  PetscInt     spectrum;     /* numbers of a spectrum */
  PetscScalar *mean;         /* of the initial members */
  PetscScalar *full, *half;  /* exp(h L), exp(h L/2) */
  PetscScalar *q;            /* of the tendency in a half step */
  PetscScalar *f1, *f2, *f3; /* of the tendencies in a whole one */
  PetscScalar *g;            /* k/2 over n^2: of the advection, for unscaled transforms */
  PetscScalar *field;        /* a field, work space */
  PetscScalar *v[8];         /* spectra, work space */
  PetscScalar *memory;
  fftw_plan    forward, backward;
} KalKS;

PETSC_INTERN PetscErrorCode KalKSSetUp_Private(KalKS *);
PETSC_INTERN PetscErrorCode KalKSDestroy_Private(KalKS *);
PETSC_INTERN size_t         KalKSWork_Private(const KalKS *);
PETSC_INTERN void           KalKSAdvance_Private(const KalKS *, PetscInt steps, PetscScalar *x);
PETSC_INTERN PetscErrorCode KalKSTangent_Private(const KalKS *, PetscInt steps, const PetscScalar *x, PetscInt columns, PetscScalar *dx);

#endif
