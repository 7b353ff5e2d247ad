/* The inside of a KalModel and the types that come with the library. */
#ifndef KALMIA_MODELIMPL_H
#define KALMIA_MODELIMPL_H

#include <kalmia/model.h>

#define KAL_MODEL_NAME 64 /* longest type name, with its end */

struct _p_KalModel {
  MPI_Comm     comm;
  KalModelOps  ops;
  char         type[KAL_MODEL_NAME]; /* empty: not set yet */
  void        *data;                 /* of the type */
  KalPrecision precision;
  PetscInt     size;    /* numbers of a state, 0: not known yet */
  PetscInt     inputs;  /* numbers of a sample's input, 0: unknown */
  PetscInt     outputs; /* numbers of a sample's prediction, 0: unknown */
  PetscInt     stages;  /* layers or times */
  PetscBool    ready;   /* SetUp was called */
};

PETSC_INTERN PetscErrorCode KalModelCreate_MLP(KalModel);

#endif
