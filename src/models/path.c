/*
  The model "path": the states of another model at all times, or of a network at all layers, each a number of its own that need not obey
  the model's equations. Options and life cycle; the equations are in path_time.c and path_network.c.
*/
#include <models/dynamics.h>
#include <models/path.h>

#define KAL_PATH_OBSERVED 4096 /* most entries that -path_observed names */

static const char *const Rules[] = {"simpson", "trapezoid", "KalPathRule", "KAL_PATH_", NULL};

/* By -path_rule. Hermite's and Simpson's over pairs of steps; the trapezoidal rule. */
const KalPathRule KalPathRules[] = {
    {.span = 2, .rows = 2, .state = {{-0.5, 1.0, -0.5}, {-1.0, 0.0, 1.0}}, .slope = {{-0.25, 0.0, 0.25}, {-1.0 / 3.0, -4.0 / 3.0, -1.0 / 3.0}}},
    {.span = 1, .rows = 1, .state = {{-1.0, 1.0, 0.0}},                    .slope = {{-0.5, -0.5, 0.0}}                                       },
};

PetscErrorCode KalPathReserve_Private(KalPath *path, size_t count)
{
  PetscFunctionBeginUser;
  if (count <= path->room) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(path->work));
  PetscCall(PetscMalloc1(count, &path->work));
  path->room = count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TimeOptions(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalPath  *path = (KalPath *)model->data;
  PetscInt *list, n = KAL_PATH_OBSERVED + 1;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsInt("-path_steps", "time steps of the path", "KALMODELPATH", path->steps, &path->steps, NULL));
  PetscCall(PetscOptionsEnum("-path_rule", "difference formula of the equations", "KALMODELPATH", Rules, path->rule, &path->rule, NULL));
  PetscCall(PetscCalloc1(n, &list)); /* -help prints the first */
  PetscCall(PetscOptionsIntArray("-path_observed", "entries of a state that are measured, ascending (default: all)", "KALMODELPATH", list, &n, &given));
  PetscCheck(!given || n <= KAL_PATH_OBSERVED, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-path_observed has more than %d entries", KAL_PATH_OBSERVED);
  if (given) {
    PetscCall(PetscFree(path->observed));
    PetscCall(PetscMalloc1(n, &path->observed));
    PetscCall(PetscArraycpy(path->observed, list, n));
    path->most = n;
  }
  PetscCall(PetscFree(list));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetFromOptions_Path(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalPath *path = (KalPath *)model->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model path: all states of another model");
  PetscCall(PetscOptionsString("-path_model", "type of the model whose states they are: mlp, or one in time that tells its tendency, as lorenz96", "KALMODELPATH", path->type, path->type, sizeof path->type, NULL));
  PetscCheck(path->type[0], model->comm, PETSC_ERR_ARG_WRONGSTATE, "The model path needs to know whose states it has: -path_model lorenz96 or mlp");
  PetscCall(KalModelSetType(path->inner, path->type));
  path->network = (PetscBool)(path->inner->ops.layer != NULL);
  PetscCheck(path->network ? !strcmp(path->type, KALMODELMLP) : path->inner->ops.tendencyadjoint != NULL, model->comm, PETSC_ERR_SUP, "-path_model %s: the model has no path; possible are mlp, and models in time that tell their tendency, as lorenz96", path->type);
  PetscCall(PetscOptionsReal("-path_mean", "mean of the states of the first paths", "KALMODELPATH", path->mean, &path->mean, NULL));
  PetscCall(PetscOptionsReal("-path_spread", "their standard deviation", "KALMODELPATH", path->spread, &path->spread, NULL));
  if (path->network) PetscCall(PetscOptionsInt("-path_samples", "samples that the path has states for: those of the data", "KALMODELPATH", path->samples, &path->samples, NULL));
  else PetscCall(TimeOptions(model, PetscOptionsObject));
  PetscOptionsHeadEnd();
  if (path->inner->ops.setfromoptions) PetscCall((*path->inner->ops.setfromoptions)(path->inner, PetscOptionsObject));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_Path(KalModel model)
{
  KalPath *path = (KalPath *)model->data;

  PetscFunctionBeginUser;
  PetscCheck(model->precision == KAL_DOUBLE, model->comm, PETSC_ERR_SUP, "The model path runs in double precision only; leave -model_precision single out");
  PetscCheck(path->type[0], model->comm, PETSC_ERR_ARG_WRONGSTATE, "The model path needs to know whose states it has: -path_model lorenz96 or mlp");
  PetscCall(KalDynamicsCheckReal_Private(model, "-path_mean", path->mean, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-path_spread", path->spread, 0.0, PETSC_TRUE));
  if (path->network) PetscCall(KalModelSetDataSizes(path->inner, model->inputs, model->outputs));
  PetscCall(KalModelSetUp(path->inner));
  if (path->network) PetscCall(KalPathNetworkSetUp_Private(model));
  else PetscCall(KalPathTimeSetUp_Private(model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_Path(KalModel model, size_t size, char *text)
{
  const KalPath *path = (const KalPath *)model->data;
  char           inner[200];

  PetscFunctionBeginUser;
  PetscCall(KalModelGetLayout(path->inner, sizeof inner, inner));
  if (path->network) PetscCall(PetscSNPrintf(text, size, "path of %s, %" PetscInt_FMT " samples", inner, path->samples));
  else PetscCall(PetscSNPrintf(text, size, "path of %s, %" PetscInt_FMT " steps, %s", inner, path->steps, Rules[path->rule]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_Path(KalModel model, PetscInt samples, PetscReal *bytes)
{
  const KalPath *path = (const KalPath *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetMemory(path->inner, samples, bytes));
  *bytes += (PetscReal)sizeof(PetscScalar) * 2.0 * (PetscReal)model->size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_Path(KalModel model, PetscViewer viewer)
{
  const KalPath *path = (const KalPath *)model->data;

  PetscFunctionBeginUser;
  if (path->network) PetscCall(PetscViewerASCIIPrintf(viewer, "a network's states for %" PetscInt_FMT " samples, and its weights\n", path->samples));
  else PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " time steps by %s, %" PetscInt_FMT " entries measured\n", path->steps, Rules[path->rule], model->outputs));
  PetscCall(PetscViewerASCIIPrintf(viewer, "states of the first paths about %g, standard deviation %g%s\n", (double)path->mean, (double)path->spread, path->network ? ", hidden ones activated" : ""));
  PetscCall(KalModelView(path->inner, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_Path(KalModel model)
{
  KalPath *path = (KalPath *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalModelDestroy(&path->inner));
  PetscCall(PetscFree(path->observed));
  PetscCall(PetscFree(path->work));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELPATH - "path", all states of another model as unknowns of their own, for methods that let the dynamics err

   Options Database Keys:
+  -path_model <none> - the other model: mlp, or lorenz96; its own options are read too. Needed
.  -path_steps <none> - of a model in time: time steps T from the first state to the last. Needed
.  -path_rule <simpson> - simpson or trapezoid: the difference formula of its equations
.  -path_observed <all> - of it: which entries of a state are measured, ascending, as in 0,2,5
.  -path_samples <none> - of mlp: samples M that there are states for, the training samples. Needed
.  -path_mean <0> - mean of the states of the first paths
-  -path_spread <1> - their standard deviation

   Notes:
   In time, a path is x_0, ..., x_T, a state of D numbers contiguous, at multiples of the model's step h. With f the model's tendency its equations are

     simpson, k even:   x_(k+1) - (x_k + x_(k+2))/2 - h/4 (f_k - f_(k+2))  and  x_(k+2) - x_k - h/3 (f_k + 4 f_(k+1) + f_(k+2))
     trapezoid:         x_(k+1) - x_k - h/2 (f_k + f_(k+1)).

   A sample of the data has one input, a time from 0 on that is a whole number of steps, and as many targets as entries are measured. Beyond
   T h the path is continued by the model: samples of a test set that lie there score predictions.

   Of an mlp, a path is the network's weights, then the states of layer after layer, from the inputs to the outputs, M samples each, those of a sample contiguous:
   x_l - act(W_l x_(l-1) + b_l), without the activation in the last layer, are its equations. Inputs and targets of the data are measured. Predictions are
   those of the network with the path's weights. The activation needs a derivative.

   First paths are draws of the key: states mean + spread z, those of hidden units activated, weights as the model's.

   Paths with both simpson formulas: Abarbanel, Rozdeba and Shirman, Machine learning: deepest learning as statistical data assimilation problems,
   Neural Computation 30 (2018), and the code that the first two published with it.

.seealso: KALANALYSISANNEALING, KalModelResiduals()
M*/
PetscErrorCode KalModelCreate_Path(KalModel model)
{
  KalPath *path;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&path));
  PetscCall(KalModelCreate(model->comm, &path->inner));
  path->spread              = 1.0;
  model->data               = path;
  model->ops.setfromoptions = KalModelSetFromOptions_Path;
  model->ops.setup          = KalModelSetUp_Path;
  model->ops.layout         = KalModelLayout_Path;
  model->ops.memory         = KalModelMemory_Path;
  model->ops.view           = KalModelView_Path;
  model->ops.destroy        = KalModelDestroy_Path;
  PetscFunctionReturn(PETSC_SUCCESS);
}
