/* What a method is told of a network's layers. */
#include "runimpl.h"

static PetscErrorCode Features(void *ctx, PetscInt stage, PetscInt samples, const void *before, void *room, const void **features)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelFeatures((KalModel)ctx, stage, samples, before, room, features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Advance(void *ctx, const PetscScalar *x, PetscInt from, PetscInt to, PetscInt samples, const void *in, void *out)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelAdvance((KalModel)ctx, x, from, to, samples, in, out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Unpool(void *ctx, const PetscScalar *x, PetscInt stage, PetscInt samples, const void *before, const void *pooled, void *rows)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelUnpool((KalModel)ctx, x, stage, samples, before, pooled, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunTellLayers - Tells the method the layers of the model, where it has some
*/
PetscErrorCode KalRunTellLayers(KalRun run)
{
  KalLayers    layers = {.features = Features, .advance = Advance, .unpool = Unpool, .ctx = run->model};
  KalModelOps *ops;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetOps(run->model, &ops));
  if (!ops->layer || run->timed) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalModelGetStages(run->model, &layers.count));
  PetscCall(KalModelGetDataSizes(run->model, &layers.inputs, NULL));
  PetscCall(KalModelGetPrecision(run->model, &layers.precision));
  if (!run->layer) PetscCall(PetscMalloc1(layers.count, &run->layer));
  for (PetscInt l = 0; l < layers.count; l++) PetscCall(KalModelGetLayer(run->model, l + 1, &run->layer[l]));
  layers.layer = run->layer;
  PetscCall(KalAnalysisSetLayers(run->analysis, &layers));
  PetscFunctionReturn(PETSC_SUCCESS);
}
