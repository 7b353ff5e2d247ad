/* The inside of the model "linear". */
#ifndef KALMIA_MODELS_LINEAR_H
#define KALMIA_MODELS_LINEAR_H

#include <models/dynamics.h>

#define KAL_LINEAR_MOST  10000 /* longest state: its matrices are dense */
#define KAL_LINEAR_BLOCK 8     /* members of a canonical block */

/* What a file may hold. */
enum {
  KAL_LINEAR_MATRIX,      /* M, n x n, needed */
  KAL_LINEAR_MEAN,        /* n */
  KAL_LINEAR_COVARIANCE,  /* n x n, lower triangular */
  KAL_LINEAR_NOISE,       /* n x n */
  KAL_LINEAR_COORDINATES, /* n x dimension */
  KAL_LINEAR_DATASETS
};

typedef struct {
  char               path[PETSC_MAX_PATH_LEN];
  PetscReal          step;
  PetscInt           n, dimension;              /* of the file; dimension 0: no coordinates */
  PetscInt64         digest;                    /* of M and the noise's root */
  KalShared          shared;                    /* all data sets, once a node */
  const PetscScalar *data[KAL_LINEAR_DATASETS]; /* in C order; NULL: not in the file */
  PetscScalar       *x, *y, *z;                 /* n x KAL_LINEAR_BLOCK, columns contiguous */
  PetscScalar       *memory;
} KalLinearModel;

/* Collective. Reads and checks the file. */
PETSC_INTERN PetscErrorCode KalLinearModelRead_Private(MPI_Comm, KalLinearModel *);

#endif
