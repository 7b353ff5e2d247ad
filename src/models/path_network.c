/* Paths of a network: the states of all its units for all samples, its weights, and the equations from layer to layer. */
#include <models/mlpimpl.h>
#include <models/path.h>

#include <ensemble/multiply.h>

/* The states of layer l, 0 to mlp->layers: width[l] x samples numbers. */
static size_t Layer(const KalPath *path, const KalMLP *mlp, PetscInt l)
{
  size_t at = (size_t)path->first;

  for (PetscInt k = 0; k < l; k++) at += (size_t)mlp->width[k] * (size_t)path->samples;
  return at;
}

static PetscErrorCode KalModelInitial_PathNetwork(KalModel model, KalKey key, PetscScalar *x)
{
  const KalPath    *path   = (const KalPath *)model->data;
  const KalMLP     *mlp    = (const KalMLP *)path->inner->data;
  const size_t      hidden = Layer(path, mlp, 1), outputs = Layer(path, mlp, mlp->layers);
  const PetscScalar none = 0.0;

  PetscFunctionBeginUser;
  PetscCall(KalModelInitial(path->inner, key, x));
  PetscCall(KalDrawNormal(key, path->first, model->size - path->first, x + path->first));
  for (PetscInt64 i = path->first; i < model->size; i++) x[i] = path->mean + path->spread * x[i];
  KalActivateDouble(&mlp->activation, 1, (PetscInt)(outputs - hidden), &none, x + hidden, x + hidden);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_PathNetwork(KalModel model, PetscReal *spread)
{
  const KalPath *path = (const KalPath *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalModelSpread(path->inner, spread));
  for (PetscInt64 i = path->first; i < model->size; i++) spread[i] = path->spread;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The weights stand first: they are a state of the network. */
static PetscErrorCode KalModelObserve_PathNetwork(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  KalPath   *path    = (KalPath *)model->data;
  KalColumns weights = *columns;

  PetscFunctionBeginUser;
  weights.size = path->inner->size;
  PetscCall(KalModelObserve(path->inner, parameters, stage, &weights, batch, y, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelEquations_PathNetwork(KalModel model, const KalBatch *batch, PetscInt *measured, PetscInt *dynamics)
{
  const KalPath *path = (const KalPath *)model->data;
  const KalMLP  *mlp  = (const KalMLP *)path->inner->data;

  PetscFunctionBeginUser;
  PetscCheck(batch->samples == path->samples, PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP, "The path has states for %" PetscInt_FMT " samples, and the data have %" PetscInt_FMT ": -path_samples %" PetscInt_FMT, path->samples, batch->samples, batch->samples);
  *measured = batch->samples * (mlp->width[0] + mlp->width[mlp->layers]);
  *dynamics = (PetscInt)((size_t)model->size - Layer(path, mlp, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Z = W X + b, and activated but in the last layer; samples side by side. */
static PetscErrorCode Forward(const KalPath *path, const KalMLP *mlp, PetscInt l, const PetscScalar *x, PetscScalar *z)
{
  const PetscScalar *W = x + mlp->offset[l - 1], *bias = W + (size_t)mlp->width[l - 1] * (size_t)mlp->width[l];
  const PetscScalar  none  = 0.0;
  const PetscInt     units = mlp->width[l];

  PetscFunctionBeginUser;
  for (PetscInt m = 0; m < path->samples; m++) PetscCall(PetscArraycpy(z + (size_t)m * (size_t)units, bias, units));
  PetscCall(KalMultiply("TN", units, path->samples, mlp->width[l - 1], 1.0, W, x + Layer(path, mlp, l - 1), 1.0, z));
  if (l < mlp->layers) KalActivateDouble(&mlp->activation, 1, units * path->samples, &none, z, z);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelResiduals_PathNetwork(KalModel model, const KalBatch *batch, const PetscScalar *x, PetscScalar *measured, PetscScalar *dynamics)
{
  const KalPath     *path = (const KalPath *)model->data;
  const KalMLP      *mlp  = (const KalMLP *)path->inner->data;
  const size_t       in = (size_t)mlp->width[0] * (size_t)path->samples, out = (size_t)mlp->width[mlp->layers] * (size_t)path->samples, states = Layer(path, mlp, 1);
  const PetscScalar *first = x + path->first, *last = x + Layer(path, mlp, mlp->layers);

  PetscFunctionBeginUser;
  for (size_t i = 0; i < in; i++) measured[i] = first[i] - ((const double *)batch->input)[i];
  for (size_t i = 0; i < out; i++) measured[in + i] = last[i] - batch->target[i];
  for (PetscInt l = 1; l <= mlp->layers; l++) {
    const size_t at = Layer(path, mlp, l), count = (size_t)mlp->width[l] * (size_t)path->samples;
    PetscScalar *r = dynamics + (at - states);

    PetscCall(Forward(path, mlp, l, x, r));
    for (size_t i = 0; i < count; i++) r[i] = x[at + i] - r[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of layer l's equations, by its weights and by the states before it; d: minus the sensitivities to W x + b. */
static PetscErrorCode Backward(const KalPath *path, const KalMLP *mlp, PetscInt l, const PetscScalar *x, const PetscScalar *d, PetscScalar *g)
{
  const PetscInt before = mlp->width[l - 1], units = mlp->width[l];
  const size_t   W = (size_t)mlp->offset[l - 1], bias = W + (size_t)before * (size_t)units, at = Layer(path, mlp, l - 1);

  PetscFunctionBeginUser;
  PetscCall(KalMultiply("NT", before, units, path->samples, 1.0, x + at, d, 1.0, g + W));
  PetscCall(KalMultiply("NN", before, path->samples, units, 1.0, x + W, d, 1.0, g + at));
  for (PetscInt m = 0; m < path->samples; m++) {
    for (PetscInt u = 0; u < units; u++) g[bias + (size_t)u] += d[(size_t)m * (size_t)units + (size_t)u];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelResidualsAdjoint_PathNetwork(KalModel model, const KalBatch *batch, const PetscScalar *x, const PetscScalar *measured, const PetscScalar *dynamics, PetscScalar *g)
{
  KalPath      *path = (KalPath *)model->data;
  const KalMLP *mlp  = (const KalMLP *)path->inner->data;
  const size_t  in = (size_t)mlp->width[0] * (size_t)path->samples, out = (size_t)mlp->width[mlp->layers] * (size_t)path->samples, states = Layer(path, mlp, 1);

  PetscFunctionBeginUser;
  (void)batch;
  for (size_t i = 0; i < in; i++) g[(size_t)path->first + i] += measured[i];
  for (size_t i = 0; i < out; i++) g[Layer(path, mlp, mlp->layers) + i] += measured[in + i];
  for (PetscInt l = 1; l <= mlp->layers; l++) {
    const size_t       at = Layer(path, mlp, l), count = (size_t)mlp->width[l] * (size_t)path->samples;
    const PetscScalar *r = dynamics + (at - states);
    PetscScalar       *h, *d;

    PetscCall(KalPathReserve_Private(path, 2 * count));
    h = path->work;
    d = h + count;
    PetscCall(Forward(path, mlp, l, x, h));
    for (size_t i = 0; i < count; i++) {
      g[at + i] += r[i];
      d[i] = -r[i];
    }
    if (l < mlp->layers) KalDifferentiateDouble(&mlp->activation, (PetscInt64)count, h, d);
    PetscCall(Backward(path, mlp, l, x, d, g));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalPathNetworkSetUp_Private(KalModel model)
{
  KalPath      *path = (KalPath *)model->data;
  const KalMLP *mlp  = (const KalMLP *)path->inner->data;
  PetscInt64    n;

  PetscFunctionBeginUser;
  PetscCheck(path->samples >= 1, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-path_samples %" PetscInt_FMT ": a path has states for as many samples as the data have, at least 1", path->samples);
  PetscCheck(KalActivationIsDifferentiable(&mlp->activation), model->comm, PETSC_ERR_SUP, "-mlp_activation %s has no derivative that a path could use: take tanh, sigmoid, relu or linear", KalActivations[mlp->activation.type]);
  path->first = n = path->inner->size;
  for (PetscInt l = 0; l <= mlp->layers; l++) n += (PetscInt64)mlp->width[l] * path->samples;
  PetscCheck(n <= PETSC_MAX_INT, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-path_samples %" PetscInt_FMT " makes a path of %lld numbers, more than this PETSc can count", path->samples, (long long)n);
  PetscCall(KalModelSetDataSizes(model, path->inner->inputs, path->inner->outputs));
  PetscCall(KalModelSetSize(model, (PetscInt)n));
  model->ops.initial          = KalModelInitial_PathNetwork;
  model->ops.spread           = KalModelSpread_PathNetwork;
  model->ops.observe          = KalModelObserve_PathNetwork;
  model->ops.equations        = KalModelEquations_PathNetwork;
  model->ops.residuals        = KalModelResiduals_PathNetwork;
  model->ops.residualsadjoint = KalModelResidualsAdjoint_PathNetwork;
  PetscFunctionReturn(PETSC_SUCCESS);
}
