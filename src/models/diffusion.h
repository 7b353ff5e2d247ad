/* The inside of the model type "diffusion": a field, an equation in finite differences, and perhaps a network in place of its solution. */
#ifndef KALMIA_DIFFUSION_H
#define KALMIA_DIFFUSION_H

#include <models/dynamics.h>

#include <petscksp.h>

typedef enum {
  KAL_DIFFUSION_COEFFICIENT, /* -(e^u q')' = load */
  KAL_DIFFUSION_SOURCE       /* -q'' = load + u */
} KalDiffusionUnknown;

typedef struct {
  PetscInt            cells, terms; /* of the interval, of the field's expansion */
  KalDiffusionUnknown unknown;
  PetscReal           mean, spread, length, exponent; /* of the field */
  PetscReal           load;
  PetscBool           oneshot; /* the state holds a network that stands for the solution */
  PetscReal           penalty, growth, most;
  KalModel            network;
  PetscReal          *modes;    /* places x terms: the field at cells' midpoints, or at nodes, is mean + modes xi */
  PetscScalar        *places;   /* of the inner nodes, as the network's inputs */
  PetscScalar        *field;    /* one number a place */
  PetscScalar        *solution; /* cells + 1 nodes */
  PetscScalar        *residual; /* cells - 1 inner nodes */
  Mat                 matrix;
  Vec                 rhs, inner, product; /* inner nodes */
  KSP                 ksp;
} KalDiffusion;

/* Midpoints of the cells, or inner nodes: where the field is needed. */
static inline PetscInt KalDiffusionPlaces_Private(const KalDiffusion *d)
{
  return d->unknown == KAL_DIFFUSION_COEFFICIENT ? d->cells : d->cells - 1;
}

PETSC_INTERN PetscErrorCode KalDiffusionCreateEquation_Private(KalDiffusion *);
PETSC_INTERN PetscErrorCode KalDiffusionDestroyEquation_Private(KalDiffusion *);
PETSC_INTERN PetscErrorCode KalModelInputs_Diffusion(KalModel, const KalBatch *, size_t, char *);
PETSC_INTERN PetscErrorCode KalModelObserve_Diffusion(KalModel, const KalColumns *, PetscReal, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);

#endif
