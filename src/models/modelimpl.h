/* The inside of a KalModel and the types that come with the library. */
#ifndef KALMIA_MODELIMPL_H
#define KALMIA_MODELIMPL_H

#include <kalmia/model.h>

#define KAL_MODEL_NAME 64 /* longest type name, with its end */

struct _p_KalModel {
  MPI_Comm     comm;
  MPI_Comm     together; /* the ranks that run a member together, MPI_COMM_SELF or borrowed */
  KalModelOps  ops;
  char         type[KAL_MODEL_NAME]; /* empty: not set yet */
  void        *data;                 /* of the type */
  KalPrecision precision;
  PetscInt     size;      /* numbers of a state, 0: not known yet */
  PetscInt     inputs;    /* numbers of a sample's input, 0: unknown */
  PetscInt     outputs;   /* numbers of a sample's prediction, 0: unknown */
  PetscInt     stages;    /* layers or times */
  PetscReal    step;      /* model time of one time step, 0: no dynamical model */
  KalKey       key;       /* of model noise: seed, purpose and cycle; the member is the column's */
  PetscBool    ready;     /* SetUp was called */
  void        *layerwork; /* of KalModelAdvance() */
  size_t       layerbytes;

  KalParameterization parameterization; /* NULL: the state is what the model takes */
  KalModel            own;              /* with one, from set-up on: the model that takes T(u); its data are `data` here too */
};

PETSC_INTERN PetscErrorCode KalModelCreate_MLP(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_CNN(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Lorenz63(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Lorenz96(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Lorenz96Averages(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_KuramotoSivashinsky(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Advection(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Linear(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Elliptic(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Diffusion(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Darcy(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Path(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Shell(KalModel);
PETSC_INTERN PetscErrorCode KalModelCreate_Command(KalModel);

PETSC_INTERN PetscErrorCode KalModelObserve_Layers(KalModel, const KalColumns *, PetscReal, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);

/* Types from a shared object, plugin.c. */
PETSC_INTERN PetscBool      KalModelIsPlugin(const char *name);
PETSC_INTERN PetscErrorCode KalModelLoadPlugin(MPI_Comm, const char *path, size_t, char *type);
/* Clears (NULL) or tells the name of the type that was registered first since it was cleared; "" where there is none. */
PETSC_INTERN PetscErrorCode KalModelRegistered(const char **name);

#endif
