/*
  The adjoint of the model "mlp", in both precisions, in packed panels (ensemble/panels.h).

  The forward pass keeps the activations of every layer, in panels of samples. Derivatives by the units of a layer, D, come back
  through products with its weights, in panels of samples too; derivatives by its weights are D'H, H the activations before it,
  both sample by sample: one chain of multiply-adds over the samples of a block, and blocks added in their order, so that a
  member's derivatives have the same bits whatever other members are given.
*/
#include <models/mlpimpl.h>

#include <ensemble/wider.h>
#include <stdint.h>
#include <string.h>

/* Samples that go through at once: whole panels on every processor (8, 4, 24, 12, 32 or 16 samples a panel). */
#define KAL_MLP_ADJOINT_SAMPLES 96
/* Numbers that a panel of units may be read beyond its end. */
#define KAL_MLP_BEYOND 64

/* Numbers of the pieces of the work space. */
typedef struct {
  PetscInt64 inputs, activation[KAL_MLP_LAYERS], weights, delta, flat, panel, gradient, numbers;
} KalMLPAdjointRoom;

/* Features of a layer in whole panels. */
static inline PetscInt Pitch(PetscInt features, PetscInt height)
{
  return KalPanelCount(features, height) * height;
}

static KalMLPAdjointRoom Room(const KalMLP *mlp, KalPrecision precision, PetscInt samples)
{
  const KalPanels  *kernels = KalPanelsGet();
  const PetscInt    height = precision == KAL_SINGLE ? kernels->heightsingle : kernels->height, rows = KalPanelCount(PetscMin(samples, KAL_MLP_ADJOINT_SAMPLES), height) * height;
  KalMLPAdjointRoom room = {0};

  room.inputs  = KAL_MLP_ROUNDED((PetscInt64)rows * mlp->width[0]);
  room.panel   = KAL_MLP_ROUNDED((PetscInt64)rows * height);
  room.numbers = KAL_MLP_LINE + room.inputs + room.panel;
  for (PetscInt l = 0; l < mlp->layers; l++) {
    const PetscInt64 features = mlp->width[l], units = mlp->width[l + 1], padded = KalMLPPadded_Private(kernels, (PetscInt)units);

    room.activation[l] = KAL_MLP_ROUNDED(rows * padded);
    room.numbers += room.activation[l];
    room.weights  = PetscMax(room.weights, KAL_MLP_ROUNDED(padded * features + KAL_MLP_BEYOND));
    room.delta    = PetscMax(room.delta, room.activation[l]);
    room.flat     = PetscMax(room.flat, KAL_MLP_ROUNDED(rows * units + KAL_MLP_BEYOND));
    room.gradient = PetscMax(room.gradient, KAL_MLP_ROUNDED(padded * Pitch((PetscInt)features, height)));
  }
  room.numbers += room.weights + 2 * room.delta + room.flat + room.gradient;
  return room;
}

PetscInt64 KalMLPAdjointWork_Private(const KalMLP *mlp, KalPrecision precision, PetscInt samples)
{
  return Room(mlp, precision, samples).numbers;
}

#define REAL          float
#define NAME(x)       x##Single
#define PRODUCT       productsingle
#define HEIGHT        heightsingle
#define PACKSAMPLES   kernels->packsingle
#define PACKUNITS     kernels->packrounded
#define ACTIVATE      KalActivateSingle
#define DIFFERENTIATE KalDifferentiateSingle
#include <models/mlp_adjoint_kernels.h>

#define REAL          double
#define NAME(x)       x##Double
#define PRODUCT       product
#define HEIGHT        height
#define PACKSAMPLES   kernels->pack
#define PACKUNITS     kernels->pack
#define ACTIVATE      KalActivateDouble
#define DIFFERENTIATE KalDifferentiateDouble
#include <models/mlp_adjoint_kernels.h>

PetscErrorCode KalModelAdjoint_MLP(KalModel model, const KalColumns *columns, const KalBatch *batch, KalSensitivity sensitivity, void *ctx, PetscScalar **gradient)
{
  KalMLP *mlp   = (KalMLP *)model->data;
  double  flops = 0.0;

  PetscFunctionBeginUser;
  PetscCall(KalMLPReserve_Private(model, KalMLPAdjointWork_Private(mlp, model->precision, batch->samples)));
  mlp->packed = 0; /* inputs of a forward pass that lay there */
  if (model->precision == KAL_SINGLE) PetscCall(AdjointSingle(mlp, columns, batch, sensitivity, ctx, gradient));
  else PetscCall(AdjointDouble(mlp, columns, batch, sensitivity, ctx, gradient));
  for (PetscInt l = 0; l < mlp->layers; l++) flops += (l ? 6.0 : 4.0) * mlp->width[l] * mlp->width[l + 1];
  PetscCall(PetscLogFlops(flops * batch->samples * columns->count));
  PetscFunctionReturn(PETSC_SUCCESS);
}
