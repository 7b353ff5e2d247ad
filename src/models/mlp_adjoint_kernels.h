/*
  The adjoint in one precision. Included by mlp_adjoint.c once a precision, with what mlp_layer_kernels.h takes and DIFFERENTIATE
  defined; undefines it.
*/
#include <models/mlp_layer_kernels.h>

/* Pieces of the work space, and where the layer in hand lies in them. */
typedef struct {
  PetscInt samples, panels;
  REAL    *inputs, *activation[KAL_MLP_LAYERS], *weights, *delta[2], *flat, *panel, *gradient;
} NAME(Pieces);

static void NAME(Take)(const KalMLP *mlp, PetscInt samples, NAME(Pieces) * w)
{
  const KalMLPAdjointRoom room = Room(mlp, sizeof(REAL) == sizeof(float) ? KAL_SINGLE : KAL_DOUBLE, samples);

  w->inputs   = (REAL *)KalPanelsAlign(mlp->work);
  w->panel    = w->inputs + room.inputs;
  w->weights  = w->panel + room.panel;
  w->delta[0] = w->weights + room.weights;
  w->delta[1] = w->delta[0] + room.delta;
  w->flat     = w->delta[1] + room.delta;
  w->gradient = w->flat + room.flat;
  for (PetscInt l = 0; l < mlp->layers; l++) w->activation[l] = l ? w->activation[l - 1] + room.activation[l - 1] : w->gradient + room.gradient;
}

/* Sensitivities to the outputs, in panels of samples; lanes without a sample are zero. */
static PetscErrorCode NAME(Begin)(const KalMLP *mlp, const PetscScalar *x, PetscInt column, PetscInt first, KalSensitivity sensitivity, void *ctx, const NAME(Pieces) * w, PetscScalar *y)
{
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   outputs = mlp->width[mlp->layers], height = kernels->HEIGHT;
  const PetscInt64 stride = (PetscInt64)height * KalMLPPadded_Private(kernels, outputs);
  PetscScalar     *s      = y + (PetscInt64)w->samples * outputs;

  PetscFunctionBeginUser;
  for (PetscInt p = 0; p < w->panels; p++) NAME(PutOutputs)
  (PetscMin(height, w->samples - p * height), outputs, height, x + mlp->offset[mlp->layers] - outputs, w->activation[mlp->layers - 1] + p * stride, y + (PetscInt64)p * height * outputs);
  PetscCall((*sensitivity)(ctx, column, first, w->samples, y, s));
  for (PetscInt p = 0; p < w->panels; p++) {
    REAL *delta = w->delta[0] + p * stride;

    for (PetscInt o = 0; o < outputs; o++) {
      for (PetscInt i = 0; i < height; i++) delta[(PetscInt64)o * height + i] = p * height + i < w->samples ? (REAL)s[((PetscInt64)p * height + i) * outputs + o] : 0;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds a layer's derivatives, of `pitch` numbers a unit, and sums of `flat` by units to those there are. */
KAL_WIDER static void NAME(Add)(PetscInt features, PetscInt units, PetscInt samples, PetscInt pitch, const REAL *made, const REAL *flat, PetscScalar *restrict gradient)
{
  PetscScalar *bias = gradient + (PetscInt64)features * units;

  for (PetscInt u = 0; u < units; u++) {
    for (PetscInt f = 0; f < features; f++) gradient[(PetscInt64)u * features + f] += (PetscScalar)made[(PetscInt64)u * pitch + f];
  }
  for (PetscInt s = 0; s < samples; s++) {
    for (PetscInt u = 0; u < units; u++) bias[u] += (PetscScalar)flat[(PetscInt64)s * units + u];
  }
}

/* What a layer takes of some samples, `height` features of theirs side by side. */
static void NAME(PackFeatures)(const KalMLP *mlp, PetscInt l, PetscInt first, const REAL *input, const NAME(Pieces) * w)
{
  const KalPanels *kernels  = KalPanelsGet();
  const PetscInt   features = mlp->width[l], height = kernels->HEIGHT, taken = PetscMin(height, features - first);
  const PetscInt64 stride = l ? (PetscInt64)height * KalMLPPadded_Private(kernels, features) : 0;

  if (taken < height) memset(w->panel, 0, (size_t)w->samples * (size_t)height * sizeof *w->panel);
  if (!l) {
    for (PetscInt s = 0; s < w->samples; s++) memcpy(w->panel + (PetscInt64)s * height, input + (PetscInt64)s * features + first, (size_t)taken * sizeof *input);
  } else {
    for (PetscInt p = 0; p < w->panels; p++) PACKSAMPLES(taken, PetscMin(height, w->samples - p * height), w->activation[l - 1] + p * stride + (PetscInt64)first * height, (size_t)height, w->panel + (PetscInt64)p * height * height, height);
  }
}

/* Derivatives by the weights and biases of a layer. */
static void NAME(Weights)(const KalMLP *mlp, PetscInt l, const REAL *delta, const REAL *input, const NAME(Pieces) * w, PetscScalar *gradient)
{
  const KalPanels     *kernels  = KalPanelsGet();
  const PetscInt       features = mlp->width[l], units = mlp->width[l + 1], height = kernels->HEIGHT, pitch = Pitch(features, height);
  const KalPanelWidth *kernel = KalPanelsChoose(kernels, units);
  const PetscInt64     stride = (PetscInt64)height * KalMLPPadded_Private(kernels, units);

  for (PetscInt p = 0; p < w->panels; p++) PACKSAMPLES(units, PetscMin(height, w->samples - p * height), delta + p * stride, (size_t)height, w->flat + (PetscInt64)p * height * units, units);
  memset(w->flat + (PetscInt64)w->samples * units, 0, KAL_MLP_BEYOND * sizeof *w->flat);
  for (PetscInt f = 0; f < features; f += height) {
    NAME(PackFeatures)
    (mlp, l, f, input, w);
    for (PetscInt u = 0; u < units; u += kernel->width) kernel->PRODUCT(w->samples, w->panel, w->flat + u, units, PETSC_FALSE, w->gradient + (PetscInt64)u * pitch + f, (size_t)pitch);
  }
  NAME(Add)
  (features, units, w->samples, pitch, w->gradient, w->flat, gradient);
}

/* Derivatives by the units of the layer before. */
static void NAME(Back)(const KalMLP *mlp, PetscInt l, const PetscScalar *x, const REAL *delta, const NAME(Pieces) * w, REAL *before)
{
  const KalPanels     *kernels  = KalPanelsGet();
  const PetscInt       features = mlp->width[l], units = mlp->width[l + 1], height = kernels->HEIGHT;
  const KalPanelWidth *kernel = KalPanelsChoose(kernels, features);
  const PetscInt64     stride = (PetscInt64)height * KalMLPPadded_Private(kernels, units), out = (PetscInt64)height * KalMLPPadded_Private(kernels, features);

  for (PetscInt64 i = 0; i < (PetscInt64)features * units; i++) w->weights[i] = (REAL)x[i];
  memset(w->weights + (PetscInt64)features * units, 0, KAL_MLP_BEYOND * sizeof *w->weights);
  for (PetscInt f = 0; f < features; f += kernel->width) {
    for (PetscInt p = 0; p < w->panels; p++) kernel->PRODUCT(units, delta + p * stride, w->weights + f, features, PETSC_FALSE, before + p * out + (PetscInt64)f * height, (size_t)height);
  }
  for (PetscInt p = 0; p < w->panels; p++) DIFFERENTIATE(&mlp->activation, (PetscInt64)height * features, w->activation[l - 1] + p * out, before + p * out);
}

/* One member on packed inputs: forward, then back. */
static PetscErrorCode NAME(Pass)(const KalMLP *mlp, const PetscScalar *x, PetscInt column, PetscInt first, const REAL *input, KalSensitivity sensitivity, void *ctx, const NAME(Pieces) * w, PetscScalar *y, PetscScalar *gradient)
{
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   height  = kernels->HEIGHT;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < mlp->layers; l++) NAME(Layer)
  (mlp, l, kernels, w->panels, x + mlp->offset[l], w->weights, l ? w->activation[l - 1] : w->inputs, (PetscInt64)height * (l ? KalMLPPadded_Private(kernels, mlp->width[l]) : mlp->width[0]), w->activation[l]);
  PetscCall(NAME(Begin)(mlp, x, column, first, sensitivity, ctx, w, y));
  for (PetscInt l = mlp->layers - 1, k = 0; l >= 0; l--, k = !k) {
    NAME(Weights)
    (mlp, l, w->delta[k], input, w, gradient + mlp->offset[l]);
    if (l) NAME(Back)
    (mlp, l, x + mlp->offset[l], w->delta[k], w, w->delta[!k]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NAME(Adjoint)(KalMLP *mlp, const KalColumns *columns, const KalBatch *batch, KalSensitivity sensitivity, void *ctx, PetscScalar **gradient)
{
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   inputs  = mlp->width[0];
  PetscScalar     *y;
  NAME(Pieces)
  w = {0};

  PetscFunctionBeginUser;
  NAME(Take)
  (mlp, batch->samples, &w);
  PetscCall(PetscMalloc1((size_t)2 * KAL_MLP_ADJOINT_SAMPLES * (size_t)mlp->width[mlp->layers], &y));
  for (PetscInt s = 0; s < batch->samples; s += KAL_MLP_ADJOINT_SAMPLES) {
    const REAL *input = (const REAL *)batch->input + (PetscInt64)s * inputs;

    w.samples = PetscMin(batch->samples - s, KAL_MLP_ADJOINT_SAMPLES);
    w.panels  = KalPanelCount(w.samples, kernels->HEIGHT);
    NAME(PackSamples)
    (kernels, w.samples, inputs, input, w.inputs);
    for (PetscInt m = 0; m < columns->count; m++) PetscCall(NAME(Pass)(mlp, columns->column[m], m, s, input, sensitivity, ctx, &w, y, gradient[m]));
  }
  PetscCall(PetscFree(y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#undef REAL
#undef NAME
#undef PRODUCT
#undef HEIGHT
#undef PACKSAMPLES
#undef PACKUNITS
#undef ACTIVATE
#undef DIFFERENTIATE
