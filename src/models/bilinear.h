/* What parameterizations of networks share whose layers' weights are products: W = base + scale A V B, with V of few numbers in the state. */
#ifndef KALMIA_BILINEAR_H
#define KALMIA_BILINEAR_H

#include <models/parameterizationimpl.h>

/*
  A layer. W^T (features x units) is kept as L V^T R^T: L (features x in) for B^T, R (units x out) for A, by columns; V (out x in) by rows is V^T
  (in x out) by columns. A factor that is NULL is the identity.
*/
typedef struct {
  PetscInt     features, units; /* of W; with the biases as its last feature where they are joined to it */
  PetscInt     in, out;         /* ranks: of the side of the features, of that of the units */
  PetscBool    joined;
  PetscScalar *L, *R;
  PetscInt64   weights, biases; /* in w; biases negative: none */
  PetscInt     core, offset;    /* in u: V; the biases, where they are entries of their own, else negative */
  PetscReal    scale, biasscale;
} KalBilinearLayer;

/* First in what such a type keeps: p->data is one. */
typedef struct {
  PetscInt          layers;
  KalBilinearLayer *layer;
  char (*rank)[32]; /* as the options say, by layer; NULL: the root of each side */
  PetscInt     ranks;
  PetscInt     seed;
  PetscScalar *base; /* n_w, or NULL: 0 */
  PetscScalar *room, *product;
} KalBilinear;

/* "-subspace_ranks 8x16,10x32" and the seed. */
PETSC_INTERN PetscErrorCode KalBilinearSetFromOptions(KalParameterization, KalOptionItems, const char *ranks, const char *seed, KalBilinear *);
/* Shapes and ranks of the model's layers, with the prior's standard deviations as scales; places in u, and its size. */
PETSC_INTERN PetscErrorCode KalBilinearSetUp(KalParameterization, const char *ranks, PetscBool joined, PetscBool biases, KalBilinear *);
/* A prior draw of the model as base, of the seed alone. */
PETSC_INTERN PetscErrorCode KalBilinearDrawBase(KalParameterization, PetscReal factor, KalBilinear *);
PETSC_INTERN PetscErrorCode KalBilinearView(const KalBilinear *, PetscViewer);
/* Operations of such a type. Its layout: what of the seed and the model's prior T depends on. */
PETSC_INTERN PetscErrorCode KalBilinearLayout(KalParameterization, size_t, char *);
PETSC_INTERN PetscErrorCode KalBilinearMap(KalParameterization, const PetscScalar *u, PetscScalar *w);
PETSC_INTERN PetscErrorCode KalBilinearAdjoint(KalParameterization, const PetscScalar *u, const PetscScalar *g, PetscScalar *gradient);
PETSC_INTERN PetscErrorCode KalBilinearMemory(KalParameterization, PetscReal *);
PETSC_INTERN PetscErrorCode KalBilinearDestroy(KalParameterization);

#endif
