/* KalParameterization: what lies between the state that the analysis updates and what the model takes; one file a type, one entry in a table. */
#ifndef KALMIA_PARAMETERIZATION_H
#define KALMIA_PARAMETERIZATION_H

#include <kalmia/model.h>

#define KALPARAMETERIZATIONNONE       "none"
#define KALPARAMETERIZATIONBOUNDS     "bounds"
#define KALPARAMETERIZATIONSUBSPACE   "subspace"
#define KALPARAMETERIZATIONPROJECTION "projection"
#define KALPARAMETERIZATIONINDUCING   "inducing"
#define KALPARAMETERIZATIONSCALES     "scales"
#define KALPARAMETERIZATIONFIELD      "field"
#define KALPARAMETERIZATIONLEVELSET   "level-set"
#define KALPARAMETERIZATIONCHANNEL    "channel"

/*
  What a type provides. The state is a vector u, the model takes w = T(u), member by member. Everything outside of the model sees
  u alone: its size, prior, places, derivatives. No operation communicates, and none may depend on other members.

  Where a type is entrywise, u has as many entries as w, w_i follows from u_i alone, and u has the prior that the model says, its
  places and domain; `initial`, `spread`, `mean`, `locate` and `domain` may stay NULL then. Else those of the prior that
  are NULL are of u ~ N(0, I), and a state without `locate` has no places.
*/
typedef struct {
  PetscBool entrywise;
  PetscErrorCode (*setfromoptions)(KalParameterization, KalOptionItems);
  PetscErrorCode (*setup)(KalParameterization);                                                              /* the model is set up; sets the size of u */
  PetscErrorCode (*initial)(KalParameterization, KalKey, PetscScalar *u);                                    /* prior draw; of purpose KAL_DRAW_CENTER the one state that members are scattered about */
  PetscErrorCode (*spread)(KalParameterization, PetscReal *);                                                /* prior standard deviation of each entry of u */
  PetscErrorCode (*mean)(KalParameterization, PetscScalar *);                                                /* prior mean of each entry of u */
  PetscErrorCode (*map)(KalParameterization, const PetscScalar *u, PetscScalar *w);                          /* w = T(u) */
  PetscErrorCode (*adjoint)(KalParameterization, const PetscScalar *u, const PetscScalar *g, PetscScalar *); /* T'(u)^T g, for g of the size of w */
  PetscErrorCode (*inverse)(KalParameterization, const PetscScalar *w, PetscScalar *u);                      /* u with T(u) = w; needed where the model forecasts its state */
  PetscErrorCode (*locate)(KalParameterization, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds);
  PetscErrorCode (*domain)(KalParameterization, KalDomain *);
  PetscErrorCode (*layout)(KalParameterization, size_t, char *); /* what must agree for a restart, as text; its own name comes with it */
  PetscErrorCode (*memory)(KalParameterization, PetscReal *);    /* bytes that a rank takes */
  PetscErrorCode (*view)(KalParameterization, PetscViewer);
  PetscErrorCode (*destroy)(KalParameterization);
} KalParameterizationOps;

PETSC_EXTERN PetscErrorCode KalParameterizationRegister(const char *, PetscErrorCode (*)(KalParameterization));
PETSC_EXTERN PetscErrorCode KalParameterizationGetOps(KalParameterization, KalParameterizationOps **);
PETSC_EXTERN PetscErrorCode KalParameterizationSetData(KalParameterization, void *);
PETSC_EXTERN PetscErrorCode KalParameterizationGetData(KalParameterization, void *);
PETSC_EXTERN PetscErrorCode KalParameterizationSetSize(KalParameterization, PetscInt);
PETSC_EXTERN PetscErrorCode KalParameterizationGetSize(KalParameterization, PetscInt *);
PETSC_EXTERN PetscErrorCode KalParameterizationGetModel(KalParameterization, KalModel *);

PETSC_EXTERN PetscErrorCode KalModelSetParameterization(KalModel, const char *);
PETSC_EXTERN PetscErrorCode KalModelGetParameterization(KalModel, KalParameterization *);
PETSC_EXTERN PetscErrorCode KalModelGetOwn(KalModel, KalModel *);
PETSC_EXTERN PetscErrorCode KalModelMap(KalModel, const PetscScalar *, PetscScalar *);

#endif
