/* KalModel: what is run once a member; one file a model, one entry in the table of types. */
#ifndef KALMIA_MODEL_H
#define KALMIA_MODEL_H

#include <kalmia/observations.h>

typedef const char *KalModelType;
#define KALMODELMLP "mlp"

/*
  What a model provides. A stage is a time of a dynamical model or a layer of a network; a network's
  weights are a state whose forecast is the identity, so its `propagate` is NULL and `observe` is its
  forward pass. No operation communicates: the columns given are whole and local.
*/
typedef struct {
  PetscErrorCode (*setfromoptions)(KalModel, KalOptionItems);
  PetscErrorCode (*setup)(KalModel);                          /* sets the state size and the stages */
  PetscErrorCode (*initial)(KalModel, KalKey, PetscScalar *); /* prior draw of member key.member: n numbers */
  PetscErrorCode (*spread)(KalModel, PetscReal *);            /* prior standard deviation of each of n entries */
  PetscErrorCode (*propagate)(KalModel, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *, KalStatus *);
  PetscErrorCode (*observe)(KalModel, const KalColumns *parameters, PetscReal stage, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);
  PetscErrorCode (*locate)(KalModel, PetscInt, PetscInt, PetscInt, PetscReal *, PetscInt *);
  PetscErrorCode (*adjoint)(KalModel, const KalColumns *, const KalBatch *, PetscScalar **, PetscScalar **);
  PetscErrorCode (*layout)(KalModel, size_t, char *);                /* what must agree for a restart, as text */
  PetscErrorCode (*memory)(KalModel, PetscInt samples, PetscReal *); /* bytes of work space a rank takes */
  PetscErrorCode (*view)(KalModel, PetscViewer);
  PetscErrorCode (*destroy)(KalModel);
} KalModelOps;

PETSC_EXTERN PetscErrorCode KalModelRegister(const char *, PetscErrorCode (*)(KalModel));
PETSC_EXTERN PetscErrorCode KalModelGetOps(KalModel, KalModelOps **);
PETSC_EXTERN PetscErrorCode KalModelSetData(KalModel, void *);
PETSC_EXTERN PetscErrorCode KalModelGetData(KalModel, void *);

PETSC_EXTERN PetscErrorCode KalModelCreate(MPI_Comm, KalModel *);
PETSC_EXTERN PetscErrorCode KalModelSetType(KalModel, KalModelType);
PETSC_EXTERN PetscErrorCode KalModelGetType(KalModel, KalModelType *);
PETSC_EXTERN PetscErrorCode KalModelSetSize(KalModel, PetscInt);
PETSC_EXTERN PetscErrorCode KalModelGetSize(KalModel, PetscInt *);
PETSC_EXTERN PetscErrorCode KalModelSetDataSizes(KalModel, PetscInt, PetscInt);
PETSC_EXTERN PetscErrorCode KalModelGetDataSizes(KalModel, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalModelSetStages(KalModel, PetscInt);
PETSC_EXTERN PetscErrorCode KalModelGetStages(KalModel, PetscInt *);
PETSC_EXTERN PetscErrorCode KalModelSetPrecision(KalModel, KalPrecision);
PETSC_EXTERN PetscErrorCode KalModelGetPrecision(KalModel, KalPrecision *);
PETSC_EXTERN PetscErrorCode KalModelSetFromOptions(KalModel);
PETSC_EXTERN PetscErrorCode KalModelSetUp(KalModel);
PETSC_EXTERN PetscErrorCode KalModelView(KalModel, PetscViewer);
PETSC_EXTERN PetscErrorCode KalModelDestroy(KalModel *);

PETSC_EXTERN PetscErrorCode KalModelInitial(KalModel, KalKey, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalModelSpread(KalModel, PetscReal *);
PETSC_EXTERN PetscErrorCode KalModelPropagate(KalModel, const KalColumns *, PetscReal, PetscReal, KalColumns *, KalStatus *);
PETSC_EXTERN PetscErrorCode KalModelObserve(KalModel, const KalColumns *, PetscReal, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);
PETSC_EXTERN PetscErrorCode KalModelGetLayout(KalModel, size_t, char *);
PETSC_EXTERN PetscErrorCode KalModelGetMemory(KalModel, PetscInt, PetscReal *);

#endif
