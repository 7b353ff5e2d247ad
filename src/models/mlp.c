/*
  The model "mlp": a fully connected network whose weights are the state. Options, prior and sizes;
  the forward pass is in mlp_forward.c.

  The state holds layer after layer: the weights of a layer unit by unit (each unit's fan_in weights
  contiguous), then its biases.
*/
#include <models/mlpimpl.h>
#include <models/prior.h>

#include <string.h>

/* "784,100,10" */
static PetscErrorCode WidthsText(const KalMLP *mlp, size_t size, char *text)
{
  char part[32];

  PetscFunctionBeginUser;
  text[0] = '\0';
  for (PetscInt l = 0; l <= mlp->layers; l++) {
    PetscCall(PetscSNPrintf(part, sizeof part, l ? ",%" PetscInt_FMT : "%" PetscInt_FMT, mlp->width[l]));
    PetscCall(PetscStrlcat(text, part, size));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* PETSc passes over an empty entry of a list. */
static PetscErrorCode RefuseEmptyEntries(MPI_Comm comm)
{
  const char *text;
  PetscBool   set;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsFindPair(NULL, NULL, "-mlp_layers", &text, &set));
  for (const char *c = set ? text : NULL; c; c = strchr(c, ',') ? strchr(c, ',') + 1 : NULL) {
    PetscCheck(*c && *c != ',', comm, PETSC_ERR_ARG_WRONG, "-mlp_layers %s has an empty entry; give every width, as in 784,100,10", text);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LayersFromOptions(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalMLP   *mlp                       = (KalMLP *)model->data;
  PetscInt  width[KAL_MLP_LAYERS + 2] = {0}, n = KAL_MLP_LAYERS + 2;
  PetscBool given;

  PetscFunctionBeginUser;
  if (mlp->layers) PetscCall(PetscArraycpy(width, mlp->width, mlp->layers + 1));
  PetscCall(PetscOptionsIntArray("-mlp_layers", "widths: inputs, hidden layers, outputs", "KALMODELMLP", width, &n, &given));
  if (!given) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(RefuseEmptyEntries(model->comm));
  PetscCheck(n >= 2, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-mlp_layers has %" PetscInt_FMT " numbers; it needs at least the input and the output width, as in 784,100,10", n);
  PetscCheck(n <= KAL_MLP_LAYERS + 1, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-mlp_layers has more than %d numbers", KAL_MLP_LAYERS + 1);
  for (PetscInt l = 0; l < n; l++) PetscCheck(width[l] >= 1, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-mlp_layers has a layer of width %" PetscInt_FMT "; widths are at least 1", width[l]);
  PetscCall(PetscArraycpy(mlp->width, width, n));
  mlp->layers = n - 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PriorFromOptions(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalMLP   *mlp                        = (KalMLP *)model->data;
  char     *scales[KAL_MLP_LAYERS + 1] = {NULL};
  PetscInt  n                          = KAL_MLP_LAYERS + 1;
  PetscBool one, each;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsString("-mlp_prior_scale", "sd of the weights: he, xavier, lecun or a number", "KALMODELMLP", mlp->scale[0], mlp->scale[0], sizeof mlp->scale[0], &one));
  PetscCall(PetscOptionsStringArray("-mlp_prior_scales", "the same, one a layer", "KALMODELMLP", scales, &n, &each));
  if (one) mlp->scales = 1;
  if (each) mlp->scales = n;
  for (PetscInt l = 0; each && l < n; l++) {
    if (l < KAL_MLP_LAYERS) PetscCall(PetscStrncpy(mlp->scale[l], scales[l], sizeof mlp->scale[l]));
    PetscCall(PetscFree(scales[l]));
  }
  PetscCheck(!one || !each, model->comm, PETSC_ERR_ARG_INCOMP, "Both -mlp_prior_scale and -mlp_prior_scales are given; give one of them");
  PetscCheck(!each || n <= KAL_MLP_LAYERS, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-mlp_prior_scales has more than %d entries", KAL_MLP_LAYERS);
  PetscCall(PetscOptionsReal("-mlp_prior_bias_scale", "sd of the biases", "KALMODELMLP", mlp->bias_scale, &mlp->bias_scale, NULL));
  PetscCall(PetscOptionsBool("-mlp_prior_center", "members are scattered about one random network", "KALMODELMLP", mlp->center, &mlp->center, NULL));
  PetscCall(PetscOptionsReal("-mlp_prior_center_spread", "sd of that scatter in units of the prior's sd", "KALMODELMLP", mlp->spread, &mlp->spread, NULL));
  PetscCheck(mlp->bias_scale >= 0.0 && mlp->bias_scale <= PETSC_MAX_REAL, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-mlp_prior_bias_scale %g: a standard deviation is finite and not negative", (double)mlp->bias_scale);
  PetscCheck(mlp->spread > 0.0 && mlp->spread <= PETSC_MAX_REAL, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-mlp_prior_center_spread %g: it is finite and positive", (double)mlp->spread);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetFromOptions_MLP(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalMLP *mlp = (KalMLP *)model->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model mlp: a fully connected network");
  PetscCall(LayersFromOptions(model, PetscOptionsObject));
  PetscCall(PetscOptionsEnum("-mlp_activation", "of the hidden layers; the outputs are linear", "KALMODELMLP", KalActivations, (PetscEnum)mlp->activation.type, (PetscEnum *)&mlp->activation.type, NULL));
  PetscCall(PetscOptionsRangeInt("-mlp_activation_levels", "levels of the activation steps", "KALMODELMLP", mlp->activation.levels, &mlp->activation.levels, NULL, 2, 65536));
  PetscCall(PriorFromOptions(model, PetscOptionsObject));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Refuses layers that do not fit the data. */
static PetscErrorCode CheckDataSizes(KalModel model, const KalMLP *mlp)
{
  const PetscInt first = mlp->width[0], last = mlp->width[mlp->layers];

  PetscFunctionBeginUser;
  PetscCheck(!model->inputs || model->inputs == first, model->comm, PETSC_ERR_ARG_SIZ, "-mlp_layers begins with %" PetscInt_FMT " but the data have %" PetscInt_FMT " inputs a sample; begin it with %" PetscInt_FMT, first, model->inputs, model->inputs);
  PetscCheck(!model->outputs || model->outputs == last, model->comm, PETSC_ERR_ARG_SIZ, "-mlp_layers ends with %" PetscInt_FMT " but the data have %" PetscInt_FMT " outputs (or classes) a sample; end it with %" PetscInt_FMT, last, model->outputs, model->outputs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_MLP(KalModel model)
{
  KalMLP      *mlp = (KalMLP *)model->data;
  PetscInt64   n   = 0;
  PetscBLASInt unused;

  PetscFunctionBeginUser;
  PetscCheck(mlp->layers, model->comm, PETSC_ERR_ARG_WRONGSTATE, "The model mlp has no layers: give -mlp_layers inputs,hidden widths,outputs, as in 784,100,10");
  PetscCall(CheckDataSizes(model, mlp));
  PetscCheck(mlp->scales == 1 || mlp->scales == mlp->layers, model->comm, PETSC_ERR_ARG_SIZ, "-mlp_prior_scales has %" PetscInt_FMT " entries but -mlp_layers makes %" PetscInt_FMT " layers of weights", mlp->scales, mlp->layers);
  for (PetscInt l = 0; l < mlp->layers; l++) {
    const PetscInt fan_in = mlp->width[l], fan_out = mlp->width[l + 1];
    const char    *scale = mlp->scale[mlp->scales == 1 ? 0 : l];

    mlp->sd[l] = KalPriorScale(scale, fan_in, fan_out);
    PetscCheck(mlp->sd[l] > 0.0, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "Prior scale %s of layer %" PetscInt_FMT " (-mlp_prior_scale): allowed are he, xavier, lecun and positive numbers", scale, l + 1);
    mlp->offset[l] = n;
    PetscCall(PetscBLASIntCast(fan_in, &unused));
    PetscCall(PetscBLASIntCast(fan_out, &unused));
    n += ((PetscInt64)fan_in + 1) * fan_out;
    PetscCheck(n <= PETSC_MAX_INT, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-mlp_layers makes more than %" PetscInt_FMT " weights, the most that this PETSc can count (one with 64-bit indices counts further)", PETSC_MAX_INT);
  }
  mlp->offset[mlp->layers] = n;
  model->ops.adjoint       = KalActivationIsDifferentiable(&mlp->activation) ? KalModelAdjoint_MLP : NULL;
  model->inputs            = mlp->width[0];
  model->outputs           = mlp->width[mlp->layers];
  PetscCall(KalModelSetSize(model, (PetscInt)n));
  PetscCall(KalModelSetStages(model, mlp->layers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_MLP(KalModel model, KalKey key, PetscScalar *x)
{
  const KalMLP *mlp = (const KalMLP *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < mlp->layers; l++) {
    const PetscInt64 weights = mlp->offset[l], biases = weights + (PetscInt64)mlp->width[l] * mlp->width[l + 1];

    PetscCall(KalPriorDraw(mlp->center, mlp->spread, key, mlp->sd[l], weights, biases - weights, x + weights));
    PetscCall(KalPriorDraw(mlp->center, mlp->spread, key, mlp->bias_scale, biases, mlp->offset[l + 1] - biases, x + biases));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_MLP(KalModel model, PetscReal *spread)
{
  const KalMLP *mlp = (const KalMLP *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < mlp->layers; l++) {
    const PetscInt64 biases = mlp->offset[l] + (PetscInt64)mlp->width[l] * mlp->width[l + 1];

    for (PetscInt64 i = mlp->offset[l]; i < biases; i++) spread[i] = mlp->sd[l];
    for (PetscInt64 i = biases; i < mlp->offset[l + 1]; i++) spread[i] = mlp->bias_scale;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayer_MLP(KalModel model, PetscInt stage, KalLayer *layer)
{
  const KalMLP *mlp = (const KalMLP *)model->data;

  PetscFunctionBeginUser;
  *layer = (KalLayer){.features = mlp->width[stage - 1], .units = mlp->width[stage], .rows = 1, .pool = 1, .across = 1, .biased = PETSC_TRUE, .offset = mlp->offset[stage - 1]};
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The activated units of the layer before, or the inputs themselves. */
static PetscErrorCode KalModelFeatures_MLP(KalModel model, PetscInt stage, PetscInt samples, const void *before, void *room, const void **features)
{
  const KalMLP     *mlp   = (const KalMLP *)model->data;
  const PetscInt    count = samples * mlp->width[stage - 1];
  const PetscScalar none  = 0.0;

  PetscFunctionBeginUser;
  *features = stage > 1 ? room : before;
  if (stage == 1) PetscFunctionReturn(PETSC_SUCCESS);
  if (model->precision == KAL_SINGLE) KalActivateSingle(&mlp->activation, 1, count, &none, (const float *)before, (float *)room);
  else KalActivateDouble(&mlp->activation, 1, count, &none, (const double *)before, (double *)room);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* That of the distribution that the one network, too, is drawn from. */
static PetscErrorCode KalModelMean_MLP(KalModel model, PetscScalar *mean)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(mean, model->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_MLP(KalModel model, size_t size, char *text)
{
  const KalMLP *mlp = (const KalMLP *)model->data;
  char          widths[16 * (KAL_MLP_LAYERS + 1)], activation[64];

  PetscFunctionBeginUser;
  PetscCall(WidthsText(mlp, sizeof widths, widths));
  PetscCall(KalActivationText(&mlp->activation, sizeof activation, activation));
  PetscCall(PetscSNPrintf(text, size, "mlp %s %s", widths, activation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_MLP(KalModel model, PetscInt samples, PetscReal *bytes)
{
  const KalMLP *mlp = (const KalMLP *)model->data;

  PetscFunctionBeginUser;
  *bytes = (PetscReal)KalMLPWork_Private(mlp, model->precision, samples) * (model->precision == KAL_SINGLE ? sizeof(float) : sizeof(double));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_MLP(KalModel model, PetscViewer viewer)
{
  const KalMLP *mlp = (const KalMLP *)model->data;
  char          widths[16 * (KAL_MLP_LAYERS + 1)], activation[64];

  PetscFunctionBeginUser;
  PetscCall(WidthsText(mlp, sizeof widths, widths));
  PetscCall(KalActivationText(&mlp->activation, sizeof activation, activation));
  PetscCall(PetscViewerASCIIPrintf(viewer, "layers %s, hidden layers %s\n", widths, activation));
  PetscCall(PetscViewerASCIIPrintf(viewer, "prior sd of the weights"));
  PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_FALSE));
  for (PetscInt l = 0; l < mlp->layers; l++) PetscCall(PetscViewerASCIIPrintf(viewer, " %.4g", (double)mlp->sd[l]));
  PetscCall(PetscViewerASCIIPrintf(viewer, " by layer, of the biases %.4g\n", (double)mlp->bias_scale));
  PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_TRUE));
  if (mlp->center) PetscCall(PetscViewerASCIIPrintf(viewer, "members scattered about one random network, by %.4g of the prior's sd\n", (double)mlp->spread));
  else PetscCall(PetscViewerASCIIPrintf(viewer, "members independent\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_MLP(KalModel model)
{
  KalMLP *mlp = (KalMLP *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree(mlp->work));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELMLP - "mlp", a fully connected network; its state is all weights and biases, its forecast the identity

   Options Database Keys:
+  -mlp_layers - widths: inputs, hidden layers, outputs, for instance 784,100,10; needed
.  -mlp_activation <relu> - relu, tanh, sigmoid, heaviside, linear, sign or steps, of the hidden layers; the outputs are linear
.  -mlp_activation_levels <4> - levels of steps
.  -mlp_prior_scale <he> - sd of the weights of every layer: he is sqrt(2/fan_in), xavier sqrt(2/(fan_in + fan_out)),
                           lecun 1/sqrt(fan_in), a number is itself
.  -mlp_prior_scales <...> - the same, one entry a layer, for instance he,0.05
.  -mlp_prior_bias_scale <0.1> - sd of the biases of every layer
.  -mlp_prior_center <true> - members are scattered about one random network that the seed alone decides
                              (KAL_DRAW_CENTER, cycle 0, member 0), else each is drawn from the prior on its own
-  -mlp_prior_center_spread <0.1> - sd of that scatter in units of the prior's sd

   Notes:
   Entry i of a member is made of draw i of its key: x_i = sd_i z_i, or sd_i (c_i + spread z_i) about the
   network c. KalModelSpread() gives sd_i, KalModelMean() 0.

   heaviside(z) is 1 for z > 0 and 0 for z <= 0, sign(z) is 1 and -1 there; steps is the hard sigmoid (z + 1)/2, kept between
   0 and 1, rounded to multiples of 1/(levels - 1), so that 2 levels are heaviside's; a NaN stays NaN in every activation.

   KalModelAdjoint() is there for relu, whose derivative at 0 is 0, tanh, sigmoid and linear.

   Each number of the forward pass is one chain of multiply-adds, whatever the columns and samples are that
   are given with it, so that a member's predictions have the same bits on any rank. Single precision converts the weights; predictions are handed back in double.

   Sources: he - He, Zhang, Ren and Sun, ICCV 2015; xavier - Glorot and Bengio, AISTATS 2010;
   lecun - LeCun, Bottou, Orr and Mueller, Efficient BackProp, 1998.
M*/
PetscErrorCode KalModelCreate_MLP(KalModel model)
{
  KalMLP *mlp;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&mlp));
  mlp->activation = (KalActivation){KAL_RELU, 4};
  mlp->scales     = 1;
  mlp->bias_scale = 0.1;
  mlp->center     = PETSC_TRUE;
  mlp->spread     = 0.1;
  PetscCall(PetscStrncpy(mlp->scale[0], "he", sizeof mlp->scale[0]));
  model->data               = mlp;
  model->ops.together       = KAL_TOGETHER_SAMPLES;
  model->ops.setfromoptions = KalModelSetFromOptions_MLP;
  model->ops.setup          = KalModelSetUp_MLP;
  model->ops.initial        = KalModelInitial_MLP;
  model->ops.spread         = KalModelSpread_MLP;
  model->ops.mean           = KalModelMean_MLP;
  model->ops.observe        = KalModelObserve_MLP;
  model->ops.layer          = KalModelLayer_MLP;
  model->ops.features       = KalModelFeatures_MLP;
  model->ops.layout         = KalModelLayout_MLP;
  model->ops.memory         = KalModelMemory_MLP;
  model->ops.view           = KalModelView_MLP;
  model->ops.destroy        = KalModelDestroy_MLP;
  PetscFunctionReturn(PETSC_SUCCESS);
}
