/* The inside of a KalParameterization and the types that come with the library. */
#ifndef KALMIA_PARAMETERIZATIONIMPL_H
#define KALMIA_PARAMETERIZATIONIMPL_H

#include <kalmia/parameterization.h>
#include <models/modelimpl.h>

struct _p_KalParameterization {
  MPI_Comm               comm; /* the model's */
  KalParameterizationOps ops;
  char                   type[KAL_MODEL_NAME];
  void                  *data;  /* of the type */
  KalModel               model; /* the model's own, which takes w; borrowed, set up before the type is */
  PetscInt               size;  /* numbers of u */
  PetscInt               most;  /* members that are mapped at once */
  size_t                 worksize, slopesize;
  PetscScalar           *work;  /* what the model takes of so many members */
  PetscScalar           *slope; /* derivatives by that, where some were asked for */
};

PETSC_INTERN PetscErrorCode KalParameterizationCreate_Bounds(KalParameterization);
PETSC_INTERN PetscErrorCode KalParameterizationCreate_Subspace(KalParameterization);
PETSC_INTERN PetscErrorCode KalParameterizationCreate_Projection(KalParameterization);
PETSC_INTERN PetscErrorCode KalParameterizationCreate_Inducing(KalParameterization);
PETSC_INTERN PetscErrorCode KalParameterizationCreate_Scales(KalParameterization);
PETSC_INTERN PetscErrorCode KalParameterizationCreate_Field(KalParameterization);
PETSC_INTERN PetscErrorCode KalParameterizationCreate_LevelSet(KalParameterization);
PETSC_INTERN PetscErrorCode KalParameterizationCreate_Channel(KalParameterization);

PETSC_INTERN PetscErrorCode KalParameterizationCreate(MPI_Comm, const char *type, KalParameterization *);
PETSC_INTERN PetscErrorCode KalParameterizationListTypes(size_t, char *);
PETSC_INTERN PetscErrorCode KalParameterizationDestroy(KalParameterization *);
PETSC_INTERN PetscErrorCode KalModelParameterize(KalModel); /* set-up of a model with a parameterization */
PETSC_INTERN PetscErrorCode KalModelObserve_Parameterized(KalModel, const KalColumns *, PetscReal, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);

#endif
