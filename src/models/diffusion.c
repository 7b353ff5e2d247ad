/* The model "diffusion": a boundary value problem in one dimension with an unknown field, solved, or with a network in place of its solution. */
#include <models/diffusion.h>

static const char *const Unknowns[] = {"coefficient", "source", "KalDiffusionUnknown", "KAL_DIFFUSION_", NULL};

static PetscErrorCode KalModelSetFromOptions_Diffusion(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalDiffusion *d = (KalDiffusion *)model->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model diffusion: a boundary value problem with an unknown field");
  PetscCall(PetscOptionsInt("-diffusion_cells", "cells of the interval", "KALMODELDIFFUSION", d->cells, &d->cells, NULL));
  PetscCall(PetscOptionsEnum("-diffusion_unknown", "the field is the logarithm of the coefficient, or a source", "KALMODELDIFFUSION", Unknowns, (PetscEnum)d->unknown, (PetscEnum *)&d->unknown, NULL));
  PetscCall(PetscOptionsInt("-diffusion_terms", "terms of the field's expansion", "KALMODELDIFFUSION", d->terms, &d->terms, NULL));
  PetscCall(PetscOptionsReal("-diffusion_mean", "prior mean of the field", "KALMODELDIFFUSION", d->mean, &d->mean, NULL));
  PetscCall(PetscOptionsReal("-diffusion_spread", "prior standard deviation of the field, its variance averaged over the interval", "KALMODELDIFFUSION", d->spread, &d->spread, NULL));
  PetscCall(PetscOptionsReal("-diffusion_length", "length scale of the field", "KALMODELDIFFUSION", d->length, &d->length, NULL));
  PetscCall(PetscOptionsReal("-diffusion_exponent", "exponent of the field's covariance", "KALMODELDIFFUSION", d->exponent, &d->exponent, NULL));
  PetscCall(PetscOptionsReal("-diffusion_load", "right-hand side", "KALMODELDIFFUSION", d->load, &d->load, NULL));
  PetscCall(PetscOptionsBool("-diffusion_one_shot", "the state has the parameters of a network that stands for the solution", "KALMODELDIFFUSION", d->oneshot, &d->oneshot, NULL));
  if (d->oneshot) {
    PetscCall(PetscOptionsReal("-diffusion_penalty", "weight of the equation in the first cycle, in units of the observations'", "KALMODELDIFFUSION", d->penalty, &d->penalty, NULL));
    PetscCall(PetscOptionsReal("-diffusion_penalty_growth", "power of the cycle, from 1, that it grows with", "KALMODELDIFFUSION", d->growth, &d->growth, NULL));
    PetscCall(PetscOptionsReal("-diffusion_penalty_most", "its largest value", "KALMODELDIFFUSION", d->most, &d->most, NULL));
    PetscCall((*d->network->ops.setfromoptions)(d->network, PetscOptionsObject));
  }
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckOptions(KalModel model, const KalDiffusion *d)
{
  PetscFunctionBeginUser;
  PetscCheck(d->cells >= 2 && d->cells <= 100000, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-diffusion_cells %" PetscInt_FMT ": must be from 2 to 100000", d->cells);
  PetscCheck(d->terms >= 1 && d->terms <= d->cells, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-diffusion_terms %" PetscInt_FMT ": must be from 1 to the number of cells, %" PetscInt_FMT, d->terms, d->cells);
  PetscCall(KalDynamicsCheckReal_Private(model, "-diffusion_mean", d->mean, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-diffusion_load", d->load, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-diffusion_spread", d->spread, 0.0, PETSC_TRUE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-diffusion_length", d->length, 0.0, PETSC_TRUE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-diffusion_exponent", d->exponent, 0.0, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-diffusion_penalty", d->penalty, 0.0, PETSC_TRUE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-diffusion_penalty_growth", d->growth, 0.0, PETSC_FALSE));
  PetscCheck(d->most >= d->penalty, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-diffusion_penalty_most %g is less than -diffusion_penalty %g, which it begins with", (double)d->most, (double)d->penalty);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Data have places, and, where the equation is one of the things observed, a second input that tells which samples are of it. */
static PetscErrorCode CheckData(KalModel model, const KalDiffusion *d)
{
  PetscFunctionBeginUser;
  PetscCheck(model->precision == KAL_DOUBLE, model->comm, PETSC_ERR_SUP, "The model diffusion runs in double precision only; leave -model_precision single out");
  PetscCheck(model->inputs == 0 || model->inputs == 2 || (model->inputs == 1 && !d->oneshot), model->comm, PETSC_ERR_ARG_SIZ, "The data have %" PetscInt_FMT " inputs a sample; the model diffusion takes 2, the place x and 0 where the solution is observed or 1 where the equation holds%s", model->inputs, d->oneshot ? "" : ", or the place alone");
  PetscCheck(model->outputs <= 1, model->comm, PETSC_ERR_ARG_SIZ, "The model diffusion predicts one number a sample, but the data have %" PetscInt_FMT, model->outputs);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Modes cos(k pi x) of the Laplacian without flux, from the constant one on, with variances ((1/length)^2 + (k pi)^2)^(-exponent), in the
  measure that makes the mean variance spread^2.
*/
static PetscErrorCode MakeModes(KalDiffusion *d)
{
  const PetscInt  places = KalDiffusionPlaces_Private(d);
  const PetscReal first  = d->unknown == KAL_DIFFUSION_COEFFICIENT ? 0.5 : 1.0;
  PetscReal      *sd, sum = 0.0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(d->terms, &sd));
  for (PetscInt k = 0; k < d->terms; k++) {
    sd[k] = PetscPowReal(1.0 + PetscSqr((PetscReal)k * PETSC_PI * d->length), -0.5 * d->exponent);
    sum += sd[k] * sd[k];
  }
  PetscCall(PetscMalloc1((size_t)places * (size_t)d->terms, &d->modes));
  for (PetscInt i = 0; i < places; i++) {
    const PetscReal x = ((PetscReal)i + first) / (PetscReal)d->cells;

    for (PetscInt k = 0; k < d->terms; k++) d->modes[(size_t)i * (size_t)d->terms + (size_t)k] = d->spread * sd[k] / PetscSqrtReal(sum) * (k ? PetscSqrtReal(2.0) * PetscCosReal((PetscReal)k * PETSC_PI * x) : 1.0);
  }
  PetscCall(PetscFree(sd));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_Diffusion(KalModel model)
{
  KalDiffusion *d       = (KalDiffusion *)model->data;
  PetscInt      weights = 0;

  PetscFunctionBeginUser;
  PetscCall(CheckOptions(model, d));
  PetscCall(CheckData(model, d));
  if (d->oneshot) {
    PetscCall(KalModelSetDataSizes(d->network, 1, 1));
    PetscCall(KalModelSetUp(d->network));
    PetscCall(KalModelGetSize(d->network, &weights));
    PetscCheck(weights <= PETSC_MAX_INT - d->terms, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-mlp_layers makes %" PetscInt_FMT " weights, too many to count beside -diffusion_terms %" PetscInt_FMT, weights, d->terms);
    PetscCall(PetscMalloc1(d->cells - 1, &d->places));
    for (PetscInt i = 1; i < d->cells; i++) d->places[i - 1] = 2.0 * (PetscReal)i / (PetscReal)d->cells - 1.0;
  }
  PetscCall(MakeModes(d));
  PetscCall(KalDiffusionCreateEquation_Private(d));
  PetscCall(KalModelSetDataSizes(model, model->inputs ? model->inputs : 2, 1));
  PetscCall(KalModelSetSize(model, d->terms + weights));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The network takes the first draws of the key, as one that stands alone; the field those behind them. */
static PetscErrorCode KalModelInitial_Diffusion(KalModel model, KalKey key, PetscScalar *x)
{
  const KalDiffusion *d = (const KalDiffusion *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal(key, model->size - d->terms, d->terms, x));
  if (d->oneshot) PetscCall(KalModelInitial(d->network, key, x + d->terms));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_Diffusion(KalModel model, PetscReal *spread)
{
  const KalDiffusion *d = (const KalDiffusion *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < d->terms; k++) spread[k] = 1.0;
  if (d->oneshot) PetscCall(KalModelSpread(d->network, spread + d->terms));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMean_Diffusion(KalModel model, PetscScalar *mean)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(mean, model->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_Diffusion(KalModel model, size_t size, char *text)
{
  const KalDiffusion *d           = (const KalDiffusion *)model->data;
  char                network[96] = "solved";
  PetscInt64          digest;

  PetscFunctionBeginUser;
  if (d->oneshot) PetscCall(KalModelGetLayout(d->network, sizeof network, network));
  PetscCall(KalDigest(&d->mean, sizeof d->mean, 0, &digest));
  PetscCall(KalDigest(&d->spread, sizeof d->spread, digest, &digest));
  PetscCall(KalDigest(&d->exponent, sizeof d->exponent, digest, &digest));
  PetscCall(KalDigest(&d->load, sizeof d->load, digest, &digest));
  PetscCall(PetscSNPrintf(text, size, "diffusion %s %" PetscInt_FMT " terms, length %.15g, %016llx, %s", Unknowns[d->unknown], d->terms, (double)d->length, (unsigned long long)digest, network));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_Diffusion(KalModel model, PetscInt samples, PetscReal *bytes)
{
  const KalDiffusion *d = (const KalDiffusion *)model->data;

  PetscFunctionBeginUser;
  (void)samples;
  *bytes = 0.0;
  if (d->oneshot) PetscCall(KalModelGetMemory(d->network, d->cells - 1, bytes));
  *bytes += (PetscReal)d->cells * ((PetscReal)d->terms + 20.0) * (PetscReal)sizeof(PetscScalar);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_Diffusion(KalModel model, PetscViewer viewer)
{
  const KalDiffusion *d = (const KalDiffusion *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " cells, load %g, unknown: the %s, of %" PetscInt_FMT " terms\n", d->cells, (double)d->load, d->unknown == KAL_DIFFUSION_COEFFICIENT ? "coefficient's logarithm" : "source", d->terms));
  PetscCall(PetscViewerASCIIPrintf(viewer, "field: mean %g, standard deviation %g, length %g, exponent %g\n", (double)d->mean, (double)d->spread, (double)d->length, (double)d->exponent));
  if (!d->oneshot) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscViewerASCIIPrintf(viewer, "one shot: a network for the solution, the equation weighs %g cycle^%g, at most %g\n", (double)d->penalty, (double)d->growth, (double)d->most));
  PetscCall(KalModelView(d->network, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_Diffusion(KalModel model)
{
  KalDiffusion *d = (KalDiffusion *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalDiffusionDestroyEquation_Private(d));
  PetscCall(KalModelDestroy(&d->network));
  PetscCall(PetscFree(d->modes));
  PetscCall(PetscFree(d->places));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELDIFFUSION - "diffusion", a boundary value problem in one dimension with an unknown field; one-shot inversion

   Options Database Keys:
+  -diffusion_unknown <coefficient> - coefficient\: -(e^u q')' = load; source\: -q'' = load + u; q(0) = q(1) = 0
.  -diffusion_cells <64> - cells of equal width h; q stands at their ends, e^u in their middles, a source at their ends
.  -diffusion_load <10> - the load
.  -diffusion_terms <6> - terms of u, numbers of the state
.  -diffusion_mean <0>, -diffusion_spread <1> - mean of u, and the root of its variance's mean over the interval
.  -diffusion_length <0.2>, -diffusion_exponent <2> - l and alpha, below
.  -diffusion_one_shot <false> - the state has the parameters of a network too, which stands for q
.  -diffusion_penalty <1> - lambda of the first cycle, in units of the observations' weight
.  -diffusion_penalty_growth <0> - lambda of cycle k, from 1, is penalty k^growth
.  -diffusion_penalty_most <no bound> - and no more than this
-  -mlp_layers, -mlp_activation, -mlp_prior_... - the network, of one input and one output; see KALMODELMLP

   Notes:
   u(x) = mean + sum_k s_k phi_k(x) xi_k, k from 0, phi_0 = 1, phi_k = sqrt(2) cos(k pi x), s_k^2 in proportion to (1/l^2 + (k pi)^2)^(-alpha)\: a
   truncated Karhunen-Loeve expansion of the Whittle-Matern field with covariance (1/l^2 - Laplace)^(-alpha) without flux at the ends. The state holds the
   xi_k, independent N(0, 1), then the network's parameters.

   A sample of the data has the inputs x and 0, with what was observed of q at x (linear between nodes) as its target; or x and 1, with the target
   0\: the equation at the inner node that is nearest to x. Where the state is u alone, q solves the equation (KSP, LU), samples of the second
   kind predict 0, and the second input may be left out.

   One shot\: q(x) = 4 x (1 - x) NN(2 x - 1), and samples of the second kind predict sqrt(lambda h) (A(u) q - f)_i, so that with the noise
   R = gamma I (-observations_noise) their squares sum to lambda/gamma times the integral of the squared residual\: a variance
   gamma/lambda of the equation's error. No equation is solved. The cycle is the stage that the model is observed at.

   Source\: Guth, Schillings and Weissmann, Ensemble Kalman filter for neural network based one-shot inversion, 2020; the factor 4 x (1 - x),
   with which the surrogate has the boundary values, is ours.
M*/
PetscErrorCode KalModelCreate_Diffusion(KalModel model)
{
  KalDiffusion *d;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&d));
  d->cells    = 64;
  d->terms    = 6;
  d->spread   = 1.0;
  d->length   = 0.2;
  d->exponent = 2.0;
  d->load     = 10.0;
  d->penalty  = 1.0;
  d->most     = PETSC_MAX_REAL;
  PetscCall(KalModelCreate(model->comm, &d->network));
  PetscCall(KalModelSetType(d->network, KALMODELMLP));
  model->data               = d;
  model->ops.setfromoptions = KalModelSetFromOptions_Diffusion;
  model->ops.setup          = KalModelSetUp_Diffusion;
  model->ops.initial        = KalModelInitial_Diffusion;
  model->ops.spread         = KalModelSpread_Diffusion;
  model->ops.mean           = KalModelMean_Diffusion;
  model->ops.inputs         = KalModelInputs_Diffusion;
  model->ops.observe        = KalModelObserve_Diffusion;
  model->ops.layout         = KalModelLayout_Diffusion;
  model->ops.memory         = KalModelMemory_Diffusion;
  model->ops.view           = KalModelView_Diffusion;
  model->ops.destroy        = KalModelDestroy_Diffusion;
  PetscFunctionReturn(PETSC_SUCCESS);
}
