/* What a run asks of a model: checked here once, then handed to its type. No call communicates but of a type that says KAL_TOGETHER_ALL. */
#include <models/parameterizationimpl.h>

static PetscErrorCode CheckColumns(KalModel model, const KalColumns *columns)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(columns && columns->count >= 0 && columns->first >= 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Columns given to a model start at member %" PetscInt_FMT " and are %" PetscInt_FMT "; neither may be negative", columns ? columns->first : -1, columns ? columns->count : -1);
  PetscCheck(columns->size == model->size, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "Members have %" PetscInt_FMT " numbers but the model %s has states of %" PetscInt_FMT, columns->size, model->type, model->size);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelInitial - Draws a member from the prior

   Not Collective

   Input Parameters:
+  model - the model, set up
-  key - seed, purpose, cycle and member of the draw; the result depends on nothing else

   Output Parameter:
.  x - the state, as many numbers as KalModelGetSize() says

   Errors: PETSC_ERR_SUP where the type has no prior
@*/
PetscErrorCode KalModelInitial(KalModel model, KalKey key, PetscScalar *x)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(model->ops.initial, PETSC_COMM_SELF, PETSC_ERR_SUP, "Models of type %s have no prior to draw members from; give an initial ensemble", model->type);
  PetscCall((*model->ops.initial)(model, key, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSpread - The prior standard deviation of each state entry

   Not Collective

   Input Parameter:
.  model - the model, set up

   Output Parameter:
.  spread - as many numbers as KalModelGetSize() says

   Errors: PETSC_ERR_SUP where the type has no prior
@*/
PetscErrorCode KalModelSpread(KalModel model, PetscReal *spread)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(model->ops.spread, PETSC_COMM_SELF, PETSC_ERR_SUP, "Models of type %s have no prior standard deviations", model->type);
  PetscCall((*model->ops.spread)(model, spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelMean - The prior mean of each state entry

   Not Collective

   Input Parameter:
.  model - the model, set up

   Output Parameters:
+  mean - as many numbers as KalModelGetSize() says
-  known - whether the type knows its prior mean; if not, nothing is written

.seealso: KalModelSpread()
@*/
PetscErrorCode KalModelMean(KalModel model, PetscScalar *mean, PetscBool *known)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  *known = (PetscBool)(model->ops.mean != NULL);
  if (*known) PetscCall((*model->ops.mean)(model, mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelPropagate - Takes members from one stage to another, in place

   Not Collective

   Input Parameters:
+  model - the model, set up
.  parameters - columns of parameters of the same members, or NULL
.  from - the stage (layer, time) they are at
-  to - the stage they are taken to

   Input/Output Parameters:
+  columns - the members
-  status - one a column: what it was, or KAL_MEMBER_FAILED or KAL_MEMBER_NONFINITE

   Note:
   Where the type has no forecast, it is the identity.
@*/
PetscErrorCode KalModelPropagate(KalModel model, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *columns, KalStatus *status)
{
  PetscFunctionBeginUser;
  PetscCall(CheckColumns(model, columns));
  if (model->ops.propagate && columns->count) PetscCall((*model->ops.propagate)(model, parameters, from, to, columns, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelCheckInputs - Whether a model can take the inputs of samples: a place where it is defined, a time that it reaches

   Not Collective

   Input Parameters:
+  model - the model, set up
.  batch - the samples, in the model's precision
-  size - characters that `text` has room for

   Output Parameter:
.  text - what is wrong with the first sample that it cannot take; empty where all is well, and where a type takes any input

   Note:
   A run looks at all its samples with it before the first cycle. Calls that take a batch refuse it in the same words.

.seealso: KalModelObserve()
@*/
PetscErrorCode KalModelCheckInputs(KalModel model, const KalBatch *batch, size_t size, char *text)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  text[0] = '\0';
  if (model->ops.inputs) PetscCall((*model->ops.inputs)(model, batch, size, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckBatch(KalModel model, const KalBatch *batch)
{
  char text[512];

  PetscFunctionBeginUser;
  PetscCheck(batch->samples >= 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "A batch of %" PetscInt_FMT " samples", batch->samples);
  if (batch->timed) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(batch->precision == model->precision, PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP, "The batch is in %s precision but the model in %s (-model_precision)", KalPrecisions[batch->precision == KAL_SINGLE], KalPrecisions[model->precision]);
  PetscCheck(!model->inputs || batch->inputs == model->inputs, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "The batch has %" PetscInt_FMT " inputs a sample but the model takes %" PetscInt_FMT, batch->inputs, model->inputs);
  PetscCheck(!model->outputs || batch->outputs == model->outputs, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "The batch has %" PetscInt_FMT " outputs a sample but the model predicts %" PetscInt_FMT, batch->outputs, model->outputs);
  PetscCheck(batch->input || !batch->samples || !batch->inputs, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "The batch of %" PetscInt_FMT " samples has no inputs", batch->samples);
  PetscCall(KalModelCheckInputs(model, batch, sizeof text, text));
  PetscCheck(!text[0], PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%s", text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Without a branch in the loop, so that it takes little beside the model. */
static PetscBool AllFinite(PetscInt64 n, const PetscScalar *y)
{
  int bad = 0;

  for (PetscInt64 i = 0; i < n; i++) bad |= !(PetscAbsScalar(y[i]) <= PETSC_MAX_REAL);
  return bad ? PETSC_FALSE : PETSC_TRUE;
}

/*@
   KalModelObserve - What members predict for a batch

   Not Collective

   Input Parameters:
+  model - the model, set up
.  parameters - columns of parameters of the same members, or NULL
.  stage - the stage (layer, time) the members are at
.  columns - the members
-  batch - the samples to predict, in the model's precision; or observations in time, whose linear operator, where they have
           one, is used in place of the model's own

   Input/Output Parameter:
.  status - one a column: what it was, or KAL_MEMBER_FAILED as the type says, or KAL_MEMBER_NONFINITE
            where a member that was KAL_MEMBER_OK predicts a number that is not finite

   Output Parameter:
.  y - one array a column of batch->samples*batch->outputs numbers, sample by sample; zero where status
       is not KAL_MEMBER_OK

   Errors: PETSC_ERR_SUP where the type predicts nothing, PETSC_ERR_ARG_SIZ and PETSC_ERR_ARG_INCOMP
   where sizes or precision do not fit, PETSC_ERR_ARG_OUTOFRANGE for inputs that KalModelCheckInputs() finds wrong
@*/
PetscErrorCode KalModelObserve(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  PetscFunctionBeginUser;
  PetscCall(CheckColumns(model, columns));
  PetscCheck(model->ops.observe || batch->linear, PETSC_COMM_SELF, PETSC_ERR_SUP, "Models of type %s predict no observations, and these have no linear operator", model->type);
  PetscCall(CheckBatch(model, batch));
  if (!columns->count || !batch->samples) PetscFunctionReturn(PETSC_SUCCESS);
  if (model->parameterization) PetscCall(KalModelObserve_Parameterized(model, parameters, stage, columns, batch, y, status));
  else if (batch->linear) {
    for (PetscInt k = 0; k < columns->count; k++) PetscCall(KalLinearApply(batch->linear, columns->column[k], y[k]));
  } else PetscCall((*model->ops.observe)(model, parameters, stage, columns, batch, y, status));
  for (PetscInt k = 0; k < columns->count; k++) {
    const PetscInt64 n = (PetscInt64)batch->samples * batch->outputs;

    if (status[k] == KAL_MEMBER_OK && !AllFinite(n, y[k])) status[k] = KAL_MEMBER_NONFINITE;
    if (status[k] != KAL_MEMBER_OK) PetscCall(PetscMemzero(y[k], (size_t)n * sizeof *y[k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelLocate - Where state entries are, and of what kind

   Not Collective

   Input Parameters:
+  model - the model, set up
.  count - how many entries
-  entries - their indices

   Output Parameters:
+  coordinates - KAL_DIMENSIONS numbers an entry, in the units of KalModelGetDomain(); those beyond its dimension are 0
-  kinds - the kind of each entry (0, 1, ...), negative where it has no place: a global parameter

   Errors: PETSC_ERR_SUP where the type has no locations
@*/
PetscErrorCode KalModelLocate(KalModel model, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(model->ops.locate, PETSC_COMM_SELF, PETSC_ERR_SUP, "Models of type %s do not say where the entries of their state are", model->type);
  for (PetscInt k = 0; k < count; k++) PetscCheck(entries[k] >= 0 && entries[k] < model->size, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "The location of entry %" PetscInt_FMT " was asked for; a state has entries 0 to %" PetscInt_FMT, entries[k], model->size - 1);
  if (count <= 0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscArrayzero(coordinates, (size_t)KAL_DIMENSIONS * count));
  PetscCall(PetscArrayzero(kinds, count));
  PetscCall((*model->ops.locate)(model, count, entries, coordinates, kinds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetDomain - The space that state entries lie in

   Not Collective

   Input Parameter:
.  model - the model, set up

   Output Parameter:
.  domain - dimension, and the length of each periodic direction; dimension 0 where the type has no locations
@*/
PetscErrorCode KalModelGetDomain(KalModel model, KalDomain *domain)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCall(PetscMemzero(domain, sizeof *domain));
  if (model->ops.domain) PetscCall((*model->ops.domain)(model, domain));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelTangent - Takes departures from a trajectory from one time to another, by the tangent linear model

   Not Collective

   Input Parameters:
+  model - the model, set up
.  from - the time they are at
.  to - the time they are taken to
.  x - the state that the trajectory starts from at `from`
-  columns - how many departures

   Input/Output Parameter:
.  dx - n x columns departures, by columns

   Errors: PETSC_ERR_SUP where the type has no tangent
@*/
PetscErrorCode KalModelTangent(KalModel model, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(model->ops.tangent, PETSC_COMM_SELF, PETSC_ERR_SUP, "Models of type %s have no tangent linear model", model->type);
  PetscCall((*model->ops.tangent)(model, from, to, x, columns, dx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelAdjoint - Derivatives of predictions for a batch by the members, along sensitivities: vector-Jacobian products

   Not Collective

   Input Parameters:
+  model - the model, set up
.  columns - the members
.  batch - the samples, in the model's precision
.  sensitivity - called for a few samples at a time, in their order: takes their predictions y for a column, gives s
-  ctx - its context

   Output Parameter:
.  gradient - one array a column of as many numbers as KalModelGetSize() says: the sum over samples and outputs of s times the
              derivative of the prediction

   Errors: PETSC_ERR_SUP where the model has no adjoint

   Note:
   Predictions and derivatives take one forward pass together. s may be made of y, as the derivative of a loss is, or be given:
   a unit vector yields a row of the Jacobian. Where a prediction is not finite, so may the derivatives be.

.seealso: KalModelObserve(), KalObservationsLinearize()
@*/
PetscErrorCode KalModelAdjoint(KalModel model, const KalColumns *columns, const KalBatch *batch, KalSensitivity sensitivity, void *ctx, PetscScalar **gradient)
{
  char layout[1024];

  PetscFunctionBeginUser;
  PetscCall(CheckColumns(model, columns));
  if (!model->ops.adjoint) {
    PetscCall(KalModelGetLayout(model, sizeof layout, layout));
    SETERRQ(PETSC_COMM_SELF, PETSC_ERR_SUP, "The model %s has no adjoint; an mlp has one with -mlp_activation relu, tanh, sigmoid or linear, and a parameterization that has one too", layout);
  }
  PetscCall(CheckBatch(model, batch));
  for (PetscInt k = 0; k < columns->count; k++) PetscCall(PetscArrayzero(gradient[k], model->size));
  if (columns->count && batch->samples) PetscCall((*model->ops.adjoint)(model, columns, batch, sensitivity, ctx, gradient));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelTendency - The time derivative of a state, of a model that is a system of ordinary differential equations

   Not Collective

   Input Parameters:
+  model - the model, set up
-  x - a state

   Output Parameter:
.  dx - its derivative

   Errors: PETSC_ERR_SUP where the type does not tell its tendency

.seealso: KalModelTendencyAdjoint(), KALMODELPATH
@*/
PetscErrorCode KalModelTendency(KalModel model, const PetscScalar *x, PetscScalar *dx)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(model->ops.tendency, PETSC_COMM_SELF, PETSC_ERR_SUP, "Models of type %s do not tell the time derivative of a state", model->type);
  PetscCall((*model->ops.tendency)(model, x, dx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelTendencyAdjoint - Adds the transposed derivative of the tendency times a vector

   Not Collective

   Input Parameters:
+  model - the model, set up
.  x - the state that the derivative is taken at
-  s - as many numbers

   Input/Output Parameter:
.  g - the sum of what it was and J's, J the derivative of KalModelTendency() at x

   Errors: PETSC_ERR_SUP where the type does not tell it
@*/
PetscErrorCode KalModelTendencyAdjoint(KalModel model, const PetscScalar *x, const PetscScalar *s, PetscScalar *g)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(model->ops.tendencyadjoint, PETSC_COMM_SELF, PETSC_ERR_SUP, "Models of type %s do not tell the derivative of their tendency", model->type);
  PetscCall((*model->ops.tendencyadjoint)(model, x, s, g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelEquations - How many numbers of a path are measured, and how many equations its dynamics have

   Not Collective

   Input Parameters:
+  model - a model whose state is a path, set up
-  batch - what was measured

   Output Parameters:
+  measured - numbers of the batch that a path has a counterpart of
-  dynamics - equations between its states

   Errors: PETSC_ERR_SUP where the state is no path; PETSC_ERR_ARG_INCOMP where the batch does not fit the path

.seealso: KalModelResiduals(), KALMODELPATH
@*/
PetscErrorCode KalModelEquations(KalModel model, const KalBatch *batch, PetscInt *measured, PetscInt *dynamics)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(model->ops.equations, PETSC_COMM_SELF, PETSC_ERR_SUP, "The state of a model of type %s is no path: take -model_type path", model->type);
  PetscCall(CheckBatch(model, batch));
  PetscCall((*model->ops.equations)(model, batch, measured, dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelResiduals - What a path misses of the measurements, and of the equations of its dynamics

   Not Collective

   Input Parameters:
+  model - a model whose state is a path, set up
.  batch - what was measured
-  x - the path

   Output Parameters:
+  measured - the path less what was measured
-  dynamics - a state less what the one before makes it; sizes are those of KalModelEquations(), which is called first

   Note:
   A residual depends on few states: those of one time or layer and of its neighbours.

.seealso: KalModelResidualsAdjoint()
@*/
PetscErrorCode KalModelResiduals(KalModel model, const KalBatch *batch, const PetscScalar *x, PetscScalar *measured, PetscScalar *dynamics)
{
  PetscFunctionBeginUser;
  PetscCall((*model->ops.residuals)(model, batch, x, measured, dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelResidualsAdjoint - The transposed derivative of KalModelResiduals() times a vector

   Not Collective

   Input Parameters:
+  model - a model whose state is a path, set up
.  batch - what was measured
.  x - the path
-  measured, dynamics - as many numbers as there are residuals of each kind

   Output Parameter:
.  g - as many numbers as the path has
@*/
PetscErrorCode KalModelResidualsAdjoint(KalModel model, const KalBatch *batch, const PetscScalar *x, const PetscScalar *measured, const PetscScalar *dynamics, PetscScalar *g)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(g, model->size));
  PetscCall((*model->ops.residualsadjoint)(model, batch, x, measured, dynamics, g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelGetLayout - What of a model must agree for a restart, as text

   Not Collective

   Input Parameters:
+  model - the model, set up
-  size - room in text

   Output Parameter:
.  text - for instance "mlp 784,100,10 relu"; where the type has no text of its own, its name and state size

   Errors: PETSC_ERR_ARG_SIZ where the text does not fit the room
@*/
PetscErrorCode KalModelGetLayout(KalModel model, size_t size, char *text)
{
  size_t length;

  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  PetscCheck(size > 0, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "No room for a model's layout");
  if (model->ops.layout) PetscCall((*model->ops.layout)(model, size, text));
  else PetscCall(PetscSNPrintf(text, size, "%s %" PetscInt_FMT, model->type, model->size));
  PetscCall(PetscStrlen(text, &length));
  PetscCheck(length + 1 < size, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "The layout of the model %s does not fit %zu characters", model->type, size);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetMemory - The work space that a model takes on each rank

   Not Collective

   Input Parameters:
+  model - the model, set up
-  samples - most samples of a batch

   Output Parameter:
.  bytes - how much; 0 where the type does not say
@*/
PetscErrorCode KalModelGetMemory(KalModel model, PetscInt samples, PetscReal *bytes)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  *bytes = 0.0;
  if (model->ops.memory) PetscCall((*model->ops.memory)(model, samples, bytes));
  PetscFunctionReturn(PETSC_SUCCESS);
}
