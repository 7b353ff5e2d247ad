/* The model "lorenz96", for the types that are made of it. */
#ifndef KALMIA_LORENZ96_H
#define KALMIA_LORENZ96_H

#include <models/dynamics.h>

typedef struct {
  PetscInt     places;
  PetscReal    forcing, step;
  PetscReal    first, variance; /* prior: mean of entry 0, variance of every place */
  PetscBool    estimate;        /* the forcing is the state's last entry */
  PetscReal    prior_mean, prior_spread;
  PetscBool    frozen;                                /* the tangent is that of the state it starts from */
  PetscScalar *memory, *x, *now, *next, *sum, *force; /* work space of a group, or of a piece; force needs no neighbours */
} KalLorenz96;

#endif
