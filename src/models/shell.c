/* The model type "shell": functions of a program, called for one member at a time, as PETSc's MATSHELL and PCSHELL are. */
#include <models/modelimpl.h>

#include <string.h>

typedef struct {
  void                  *ctx;
  PetscInt               inputs, outputs; /* of a sample, 0: whatever the data have */
  PetscScalar           *mean;            /* n, or NULL: 0 */
  PetscReal             *spread;          /* n */
  KalDomain              domain;
  KalModelShellInitial   initial;
  KalModelShellPropagate propagate;
  KalModelShellObserve   observe;
  KalModelShellLocate    locate;
  KalModelShellTangent   tangent;
  KalModelShellDestroy   destroy;
} KalShell;

static PetscErrorCode GetShell(KalModel model, const char *caller, KalShell **shell)
{
  PetscFunctionBeginUser;
  PetscCheck(model && !strcmp(model->type, KALMODELSHELL), model ? model->comm : PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "%s() is for models of type %s; this one is %s", caller, KALMODELSHELL, model && model->type[0] ? model->type : "of no type yet");
  *shell = (KalShell *)model->data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same, for what must be set before KalModelSetUp(). */
static PetscErrorCode GetOpenShell(KalModel model, const char *caller, KalShell **shell)
{
  PetscFunctionBeginUser;
  PetscCall(GetShell(model, caller, shell));
  PetscCheck(!model->ready, model->comm, PETSC_ERR_ORDER, "%s() comes before KalModelSetUp()", caller);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelCreateShell - Makes a model out of functions of the calling program

   Collective

   Input Parameters:
+  comm - the ranks that will run members of it
.  n - numbers of a state
-  ctx - whatever the functions need, or NULL; see KalModelShellGetContext()

   Output Parameter:
.  model - the model, of type KALMODELSHELL

   Note:
   What comes next is KalModelShellSetPrior() and KalModelShellSetObserve() or KalModelShellSetPropagate(), and KalRunSetModel().

.seealso: KALMODELSHELL
@*/
PetscErrorCode KalModelCreateShell(MPI_Comm comm, PetscInt n, void *ctx, KalModel *model)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelCreate(comm, model));
  PetscCall(KalModelSetType(*model, KALMODELSHELL));
  PetscCall(KalModelSetSize(*model, n));
  PetscCall(KalModelShellSetContext(*model, ctx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelShellSetContext - Gives a shell model what its functions need

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL
-  ctx - anything; the caller keeps it, unless KalModelShellSetDestroy() says otherwise

.seealso: KalModelShellGetContext()
@*/
PetscErrorCode KalModelShellSetContext(KalModel model, void *ctx)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetShell(model, "KalModelShellSetContext", &shell));
  shell->ctx = ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelShellGetContext - What a shell model was given for its functions

   Not Collective

   Input Parameter:
.  model - the model, of type KALMODELSHELL

   Output Parameter:
.  ctx - the pointer (pass its address)

.seealso: KalModelShellSetContext()
@*/
PetscErrorCode KalModelShellGetContext(KalModel model, void *ctx)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetShell(model, "KalModelShellGetContext", &shell));
  *(void **)ctx = shell->ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelShellSetDestroy - Sets what is called with the context when the model is destroyed

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL
-  destroy - the function, or NULL: nothing is called
@*/
PetscErrorCode KalModelShellSetDestroy(KalModel model, KalModelShellDestroy destroy)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetShell(model, "KalModelShellSetDestroy", &shell));
  shell->destroy = destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelShellSetDataSizes - Sets what a shell model takes and predicts of a sample; other data are refused in KalModelSetUp()

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL, not set up yet
.  inputs - numbers of a sample's input, 0 (the default): as many as the data have
-  outputs - numbers of a sample's prediction, 0 (the default): as many as the data have; needed where these have class labels
@*/
PetscErrorCode KalModelShellSetDataSizes(KalModel model, PetscInt inputs, PetscInt outputs)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetOpenShell(model, "KalModelShellSetDataSizes", &shell));
  PetscCheck(inputs >= 0 && outputs >= 0, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "Samples of %" PetscInt_FMT " inputs and %" PetscInt_FMT " outputs: neither may be negative (0: as the data have)", inputs, outputs);
  shell->inputs  = inputs;
  shell->outputs = outputs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A copy of n numbers, in place of the one before. */
static PetscErrorCode Copy(KalModel model, const char *caller, const PetscReal *from, PetscReal **to)
{
  PetscFunctionBeginUser;
  PetscCheck(model->size >= 1, model->comm, PETSC_ERR_ORDER, "%s() comes after KalModelSetSize()", caller);
  PetscCheck(from, model->comm, PETSC_ERR_ARG_NULL, "%s() was given no array", caller);
  for (PetscInt i = 0; i < model->size; i++) PetscCheck(!PetscIsInfOrNanReal(from[i]), model->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s(): entry %" PetscInt_FMT " is %g; all must be finite", caller, i, (double)from[i]);
  PetscCall(PetscFree(*to));
  PetscCall(PetscMalloc1(model->size, to));
  PetscCall(PetscArraycpy(*to, from, model->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelShellSetSpread - Sets the prior standard deviation of each entry of a shell model's state

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL, with its size set
-  spread - n standard deviations, finite and not negative; they are copied

.seealso: KalModelShellSetPrior(), KalModelShellSetInitial()
@*/
PetscErrorCode KalModelShellSetSpread(KalModel model, const PetscReal *spread)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetOpenShell(model, "KalModelShellSetSpread", &shell));
  for (PetscInt i = 0; spread && i < model->size; i++) PetscCheck(!(spread[i] < 0.0), model->comm, PETSC_ERR_ARG_OUTOFRANGE, "KalModelShellSetSpread(): entry %" PetscInt_FMT " is %g; a standard deviation is not negative", i, (double)spread[i]);
  PetscCall(Copy(model, "KalModelShellSetSpread", spread, &shell->spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelShellSetPrior - Sets a Gaussian prior of independent entries for a shell model

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL, with its size set
.  mean - n numbers, or NULL: 0; they are copied
-  spread - n standard deviations; they are copied

   Note:
   Entry i of a member is mean_i + spread_i z_i, with z_i draw i of the member's key.

.seealso: KalModelShellSetInitial()
@*/
PetscErrorCode KalModelShellSetPrior(KalModel model, const PetscScalar *mean, const PetscReal *spread)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetOpenShell(model, "KalModelShellSetPrior", &shell));
  PetscCall(KalModelShellSetSpread(model, spread));
  if (mean) PetscCall(Copy(model, "KalModelShellSetPrior", mean, &shell->mean));
  else PetscCall(PetscFree(shell->mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelShellSetInitial - Sets the function that draws a member from the prior, in place of KalModelShellSetPrior()'s Gaussian

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL
-  initial - fills x with n numbers that depend on the key alone (KalDrawNormal(), KalDrawUniform()), or NULL: the Gaussian

   Calling sequence of initial:
$  PetscErrorCode initial(KalModel model, KalKey key, PetscScalar *x)

   Note:
   Methods ask for standard deviations too: KalModelShellSetSpread().
@*/
PetscErrorCode KalModelShellSetInitial(KalModel model, KalModelShellInitial initial)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetOpenShell(model, "KalModelShellSetInitial", &shell));
  shell->initial = initial;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelShellSetPropagate - Sets the forecast of a shell model

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL
-  propagate - the function, or NULL: the identity, as for parameters

   Calling sequence of propagate:
$  PetscErrorCode propagate(KalModel model, PetscInt member, PetscReal from, PetscReal to, PetscScalar *x, KalStatus *status)
+  member - index in its ensemble
.  from, to - model times (KalModelSetStep())
.  x - the state, n numbers, changed in place
-  status - KAL_MEMBER_OK; set it to KAL_MEMBER_FAILED where the member cannot go on. An error code that is returned ends the run

   Notes:
   What it does must depend on nothing but the member, its state and the times, or a run is not the same on every number of ranks.
   Noise is drawn by the key of KalModelGetKey() with the member put in.

   A state that is not finite afterwards is KAL_MEMBER_NONFINITE without its saying so.
@*/
PetscErrorCode KalModelShellSetPropagate(KalModel model, KalModelShellPropagate propagate)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetOpenShell(model, "KalModelShellSetPropagate", &shell));
  shell->propagate = propagate;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelShellSetObserve - Sets what a shell model predicts for a batch

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL
-  observe - the function, or NULL: only observations that are linear functions of the state can be predicted

   Calling sequence of observe:
$  PetscErrorCode observe(KalModel model, PetscInt member, PetscReal stage, const PetscScalar *x, const KalBatch *batch, PetscScalar *y, KalStatus *status)
+  member - index in its ensemble, 0 for a mean
.  stage - the model time it is at
.  x - its state, n numbers
.  batch - the samples: batch->input has batch->inputs numbers for each of batch->samples
.  y - room for batch->samples times batch->outputs predictions, sample by sample
-  status - KAL_MEMBER_OK; set it to KAL_MEMBER_FAILED where the member predicts nothing. An error code that is returned ends the run

   Note:
   batch->input is of type double, or float under -model_precision single (batch->precision).
@*/
PetscErrorCode KalModelShellSetObserve(KalModel model, KalModelShellObserve observe)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetOpenShell(model, "KalModelShellSetObserve", &shell));
  shell->observe = observe;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelShellSetLocate - Sets where the entries of a shell model's state are, which a localization needs

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL
-  locate - as KalModelLocate(): KAL_DIMENSIONS coordinates an entry, zeroed before the call, and kinds; or NULL: no locations

.seealso: KalModelShellSetDomain()
@*/
PetscErrorCode KalModelShellSetLocate(KalModel model, KalModelShellLocate locate)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetOpenShell(model, "KalModelShellSetLocate", &shell));
  shell->locate = locate;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelShellSetDomain - Sets the space that the entries of a shell model's state lie in

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL
.  dimension - 1 to KAL_DIMENSIONS
-  length - of each direction: its period, or 0 where it is not periodic; NULL: none is periodic

.seealso: KalModelShellSetLocate()
@*/
PetscErrorCode KalModelShellSetDomain(KalModel model, PetscInt dimension, const PetscReal *length)
{
  KalShell *shell  = NULL;
  KalDomain domain = {0};

  PetscFunctionBeginUser;
  PetscCall(GetOpenShell(model, "KalModelShellSetDomain", &shell));
  PetscCheck(dimension >= 1 && dimension <= KAL_DIMENSIONS, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "A domain of %" PetscInt_FMT " dimensions; 1 to %d are possible", dimension, KAL_DIMENSIONS);
  domain.dimension = dimension;
  for (PetscInt d = 0; length && d < dimension; d++) {
    PetscCheck(length[d] >= 0.0 && !PetscIsInfOrNanReal(length[d]), model->comm, PETSC_ERR_ARG_OUTOFRANGE, "Direction %" PetscInt_FMT " of the domain has the period %g; it is finite and not negative (0: not periodic)", d, (double)length[d]);
    domain.length[d] = length[d];
  }
  shell->domain = domain;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelShellSetTangent - Sets the tangent linear model of a shell model's forecast

   Logically Collective

   Input Parameters:
+  model - the model, of type KALMODELSHELL
-  tangent - as KalModelTangent(): n x columns departures from the trajectory that starts at x, in place; or NULL: none
@*/
PetscErrorCode KalModelShellSetTangent(KalModel model, KalModelShellTangent tangent)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(GetOpenShell(model, "KalModelShellSetTangent", &shell));
  shell->tangent = tangent;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Initial(KalModel model, KalKey key, PetscScalar *x)
{
  const KalShell *shell = (const KalShell *)model->data;

  PetscFunctionBeginUser;
  if (shell->initial) {
    PetscCall((*shell->initial)(model, key, x));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalDrawNormal(key, 0, model->size, x));
  for (PetscInt i = 0; i < model->size; i++) x[i] = (shell->mean ? shell->mean[i] : 0.0) + shell->spread[i] * x[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Spread(KalModel model, PetscReal *spread)
{
  const KalShell *shell = (const KalShell *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(spread, shell->spread, model->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Propagate(KalModel model, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *columns, KalStatus *status)
{
  const KalShell *shell = (const KalShell *)model->data;

  PetscFunctionBeginUser;
  (void)parameters;
  for (PetscInt k = 0; k < columns->count; k++) {
    PetscScalar *const x = columns->column[k];

    if (status[k] != KAL_MEMBER_OK) continue;
    PetscCall((*shell->propagate)(model, columns->first + k, from, to, x, &status[k]));
    for (PetscInt i = 0; i < columns->size && status[k] == KAL_MEMBER_OK; i++) {
      if (PetscIsInfOrNanScalar(x[i])) status[k] = KAL_MEMBER_NONFINITE;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Observe(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  const KalShell *shell = (const KalShell *)model->data;

  PetscFunctionBeginUser;
  (void)parameters;
  for (PetscInt k = 0; k < columns->count; k++) {
    if (status[k] == KAL_MEMBER_OK) PetscCall((*shell->observe)(model, columns->first + k, stage, columns->column[k], batch, y[k], &status[k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Domain(KalModel model, KalDomain *domain)
{
  PetscFunctionBeginUser;
  *domain = ((const KalShell *)model->data)->domain;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The data must have what the program said; what it left open is the data's. */
static PetscErrorCode CheckDataSizes(KalModel model)
{
  const KalShell *shell = (const KalShell *)model->data;

  PetscFunctionBeginUser;
  PetscCheck(!shell->inputs || !model->inputs || shell->inputs == model->inputs, model->comm, PETSC_ERR_ARG_SIZ, "The model takes %" PetscInt_FMT " inputs a sample but the data have %" PetscInt_FMT, shell->inputs, model->inputs);
  PetscCheck(!shell->outputs || !model->outputs || shell->outputs == model->outputs, model->comm, PETSC_ERR_ARG_SIZ, "The model predicts %" PetscInt_FMT " outputs a sample but the data have %" PetscInt_FMT, shell->outputs, model->outputs);
  if (shell->inputs) model->inputs = shell->inputs;
  if (shell->outputs) model->outputs = shell->outputs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalModel model)
{
  KalShell *shell = (KalShell *)model->data;

  PetscFunctionBeginUser;
  PetscCheck(model->size >= 1, model->comm, PETSC_ERR_ORDER, "A model of type shell has no size yet: it is made by a program (KalModelCreateShell()); -model_type shell alone makes none");
  PetscCheck(shell->spread, model->comm, PETSC_ERR_ORDER, "A model of type shell needs prior standard deviations before KalModelSetUp(): KalModelShellSetPrior(), or KalModelShellSetSpread() with KalModelShellSetInitial()");
  PetscCheck(shell->propagate || shell->observe, model->comm, PETSC_ERR_ORDER, "A model of type shell needs KalModelShellSetObserve() or KalModelShellSetPropagate() before KalModelSetUp()");
  PetscCheck(!shell->locate == !shell->domain.dimension, model->comm, PETSC_ERR_ORDER, "A model of type shell has %s: locations need both KalModelShellSetLocate() and KalModelShellSetDomain()", shell->locate ? "locations without a domain" : "a domain without locations");
  PetscCall(CheckDataSizes(model));
  model->ops.propagate = shell->propagate ? Propagate : NULL;
  model->ops.observe   = shell->observe ? Observe : NULL;
  model->ops.locate    = shell->locate;
  model->ops.domain    = shell->locate ? Domain : NULL;
  model->ops.tangent   = shell->tangent;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalModel model, PetscViewer viewer)
{
  const KalShell *shell = (const KalShell *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "functions of the program:%s%s%s%s%s\n", shell->initial ? " initial" : "", shell->propagate ? " propagate" : "", shell->observe ? " observe" : "", shell->locate ? " locate" : "", shell->tangent ? " tangent" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalModel model)
{
  KalShell *shell = (KalShell *)model->data;

  PetscFunctionBeginUser;
  if (shell->destroy) PetscCall((*shell->destroy)(shell->ctx));
  PetscCall(PetscFree(shell->mean));
  PetscCall(PetscFree(shell->spread));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELSHELL - "shell", functions of the calling program, called for one member at a time

   Notes:
   KalModelCreateShell() makes one; KalModelSetSize() and KalModelSetStep() hold for it as for any model.
   For parameters that are estimated, KalModelShellSetPrior() and KalModelShellSetObserve() are enough. A dynamical model has
   KalModelSetStep() and KalModelShellSetPropagate(), and for a localization KalModelShellSetLocate() and KalModelShellSetDomain().

   A function says that a member failed through its status; the error code it returns is for what must end the run. No function
   may communicate: the ranks call them for their own members, in no common order.

   share/examples/shell is a program with such a model.

.seealso: KalModelCreateShell(), KalRunSetModel()
M*/
PetscErrorCode KalModelCreate_Shell(KalModel model)
{
  KalShell *shell = NULL;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&shell));
  model->data        = shell;
  model->ops.setup   = SetUp;
  model->ops.initial = Initial;
  model->ops.spread  = Spread;
  model->ops.view    = View;
  model->ops.destroy = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
