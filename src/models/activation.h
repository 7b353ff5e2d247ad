/* Activation functions of the hidden units of networks. */
#ifndef KALMIA_ACTIVATION_H
#define KALMIA_ACTIVATION_H

#include <kalmia/types.h>

typedef enum {
  KAL_RELU,
  KAL_TANH,
  KAL_SIGMOID,
  KAL_HEAVISIDE, /* 1 above 0, else 0 */
  KAL_LINEAR,
  KAL_SIGN,  /* 1 above 0, else -1 */
  KAL_STEPS, /* a staircase from 0 at -1 to 1 at 1 */
} KalActivationType;

typedef struct {
  KalActivationType type;
  PetscInt          levels; /* of steps, at least 2 */
} KalActivation;

PETSC_EXTERN const char *const KalActivations[];

/* h = activation(z + bias), for units of n numbers each; h may be z. */
PETSC_INTERN void KalActivateSingle(const KalActivation *, PetscInt units, PetscInt n, const PetscScalar *bias, const float *z, float *h);
PETSC_INTERN void KalActivateDouble(const KalActivation *, PetscInt units, PetscInt n, const PetscScalar *bias, const double *z, double *h);
/* d = d times the derivative of the activation, for n activated numbers h; relu's is 0 at 0. */
PETSC_INTERN void           KalDifferentiateSingle(const KalActivation *, PetscInt64 n, const float *h, float *d);
PETSC_INTERN void           KalDifferentiateDouble(const KalActivation *, PetscInt64 n, const double *h, double *d);
PETSC_INTERN PetscBool      KalActivationIsDifferentiable(const KalActivation *);
PETSC_INTERN PetscErrorCode KalActivationText(const KalActivation *, size_t, char *);

#endif
