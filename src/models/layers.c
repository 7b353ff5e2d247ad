/*
  Networks layer by layer: states of a stage are taken through the layers behind it, in packed panels (ensemble/panels.h).

  Each number is one chain of multiply-adds, so that a state has the same bits whatever other samples are given with it.
*/
#include <models/parameterizationimpl.h>

#include <ensemble/panels.h>
#include <ensemble/wider.h>
#include <string.h>

/* Numbers of features that are made at once: they stay in the second-level cache. */
#define KAL_LAYER_NUMBERS 65536
/* Numbers of the widest block of C that a kernel makes: KAL_PANEL_ALIGN keeps what follows it aligned. */
#define KAL_LAYER_TILE 1024

static PetscErrorCode CheckStage(KalModel model, PetscInt stage, PetscInt first)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(!model->parameterization, PETSC_COMM_SELF, PETSC_ERR_SUP, "A state of the parameterization %s does not hold the weights of layers; leave -parameterization_type out", model->parameterization->type);
  PetscCheck(model->ops.layer && model->ops.features, PETSC_COMM_SELF, PETSC_ERR_SUP, "Models of type %s have no layers; mlp and cnn have", model->type);
  PetscCheck(stage >= first && stage <= model->stages, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Stage %" PetscInt_FMT " was asked for: the model has stages %" PetscInt_FMT " to %" PetscInt_FMT, stage, first, model->stages);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetLayer - What the layer before a stage looks like

   Not Collective

   Input Parameters:
+  model - the model, set up
-  stage - from 1 to the number of stages

   Output Parameter:
.  layer - its features, units, rows and place in the parameters

   Errors: PETSC_ERR_SUP where the type has no layers
@*/
PetscErrorCode KalModelGetLayer(KalModel model, PetscInt stage, KalLayer *layer)
{
  PetscFunctionBeginUser;
  PetscCall(CheckStage(model, stage, 1));
  PetscCall((*model->ops.layer)(model, stage, layer));
  PetscCheck(layer->pool >= 1 && layer->across >= 1, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Layer %" PetscInt_FMT " of a model of type %s has pool %" PetscInt_FMT " and across %" PetscInt_FMT ": both are at least 1", stage, model->type, layer->pool, layer->across);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelFeatures - The features that a layer is linear in

   Not Collective

   Input Parameters:
+  model - the model, set up
.  stage - that behind the layer, from 1
.  samples - samples
.  before - their states at the stage before it, of the model's precision
-  room - samples x rows x features numbers, which may be written

   Output Parameter:
.  features - samples x rows x features numbers, a row contiguous: in `room`, or `before` where they are the states themselves

   Errors: PETSC_ERR_SUP where the type has no layers
@*/
PetscErrorCode KalModelFeatures(KalModel model, PetscInt stage, PetscInt samples, const void *before, void *room, const void **features)
{
  PetscFunctionBeginUser;
  PetscCall(CheckStage(model, stage, 1));
  PetscCall((*model->ops.features)(model, stage, samples, before, room, features));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define REAL      float
#define NAME(x)   x##Single
#define PRODUCT   productsingle
#define HEIGHT    heightsingle
#define PACKROWS  packsingle
#define PACKUNITS packrounded
#include <models/layers_kernels.h>

#define REAL      double
#define NAME(x)   x##Double
#define PRODUCT   product
#define HEIGHT    height
#define PACKROWS  pack
#define PACKUNITS pack
#include <models/layers_kernels.h>

/*@
   KalModelAdvance - Takes states of samples from one stage to another, under some parameters

   Not Collective

   Input Parameters:
+  model - the model, set up
.  x - the parameters
.  from - the stage they are at; 0: inputs
.  to - the stage they are taken to, behind it
.  samples - samples
-  in - their states, of the model's precision

   Output Parameter:
.  out - their states at stage `to`

   Errors: PETSC_ERR_SUP where the type has no layers
@*/
PetscErrorCode KalModelAdvance(KalModel model, const PetscScalar *x, PetscInt from, PetscInt to, PetscInt samples, const void *in, void *out)
{
  PetscFunctionBeginUser;
  PetscCall(CheckStage(model, from, 0));
  PetscCall(CheckStage(model, to, from + 1));
  if (model->precision == KAL_SINGLE) PetscCall(AdvanceSingle(model, x, from, to, samples, (const float *)in, (float *)out));
  else PetscCall(AdvanceDouble(model, x, from, to, samples, (const double *)in, (double *)out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelUnpool - Numbers of pooled states given back to the rows that the states come from

   Not Collective

   Input Parameters:
+  model - the model, set up
.  x - the parameters
.  stage - that behind the layer, from 1
.  samples - samples
.  before - their states at the stage before it, of the model's precision
-  pooled - numbers of their states at the stage, for instance increments

   Output Parameter:
.  rows - samples x rows x units numbers: each of `pooled` where the largest of its square is (the first of several), zero elsewhere

   Errors: PETSC_ERR_SUP where the type has no layers
@*/
PetscErrorCode KalModelUnpool(KalModel model, const PetscScalar *x, PetscInt stage, PetscInt samples, const void *before, const void *pooled, void *rows)
{
  PetscFunctionBeginUser;
  PetscCall(CheckStage(model, stage, 1));
  if (model->precision == KAL_SINGLE) PetscCall(UnpoolSingle(model, x, stage, samples, (const float *)before, (const float *)pooled, (float *)rows));
  else PetscCall(UnpoolDouble(model, x, stage, samples, (const double *)before, (const double *)pooled, (double *)rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalModelObserve_Layers - What a network predicts, layer by layer: the `observe` of a type that has layers

  Not Collective
*/
PetscErrorCode KalModelObserve_Layers(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  const PetscInt64 count = (PetscInt64)batch->samples * batch->outputs;
  float           *single;

  PetscFunctionBeginUser;
  (void)parameters;
  (void)stage;
  (void)status; /* KalModelObserve() looks for numbers that are not finite */
  if (model->precision == KAL_DOUBLE) {
    for (PetscInt k = 0; k < columns->count; k++) PetscCall(KalModelAdvance(model, columns->column[k], 0, model->stages, batch->samples, batch->input, y[k]));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(count, &single));
  for (PetscInt k = 0; k < columns->count; k++) {
    PetscCall(KalModelAdvance(model, columns->column[k], 0, model->stages, batch->samples, batch->input, single));
    for (PetscInt64 i = 0; i < count; i++) y[k][i] = (PetscScalar)single[i];
  }
  PetscCall(PetscFree(single));
  PetscFunctionReturn(PETSC_SUCCESS);
}
