/*
  The forward pass of the model "mlp", in both precisions, in packed panels (ensemble/panels.h).

  Inputs are packed once for a block of samples, in panels of samples; the weights of a member are converted and packed layer by
  layer, in panels of units. The product of two panels is a piece of the next layer's packed input, biased and activated while it is
  in the first-level cache. Each number is one chain of multiply-adds, so that a member's predictions have the same bits whatever
  other members and samples are given.
*/
#include <models/mlpimpl.h>

#include <ensemble/wider.h>
#include <stdint.h>
#include <string.h>

/* Numbers of the pieces of the work space: packed inputs, packed weights of a layer, activations of a layer. */
typedef struct {
  PetscInt64 inputs, weights, activations;
} KalMLPRoom;

static KalMLPRoom Room(const KalMLP *mlp, KalPrecision precision, PetscInt samples)
{
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   height = precision == KAL_SINGLE ? kernels->heightsingle : kernels->height, rows = KalPanelCount(PetscMin(samples, KAL_MLP_BLOCK_SAMPLES), height) * height;
  KalMLPRoom       room = {KAL_MLP_ROUNDED((PetscInt64)rows * mlp->width[0]), 0, 0};

  for (PetscInt l = 0; l < mlp->layers; l++) {
    const PetscInt64 units = KalMLPPadded_Private(kernels, mlp->width[l + 1]);

    room.weights     = PetscMax(room.weights, KAL_MLP_ROUNDED(units * mlp->width[l]));
    room.activations = PetscMax(room.activations, KAL_MLP_ROUNDED(units * rows));
  }
  return room;
}

PetscInt64 KalMLPWork_Private(const KalMLP *mlp, KalPrecision precision, PetscInt samples)
{
  const KalMLPRoom room = Room(mlp, precision, samples);

  return room.inputs + room.weights + 2 * room.activations + KAL_MLP_LINE;
}

#define REAL        float
#define NAME(x)     x##Single
#define PRODUCT     productsingle
#define HEIGHT      heightsingle
#define PACKSAMPLES kernels->packsingle
#define PACKUNITS   kernels->packrounded
#define ACTIVATE    KalActivateSingle
#include <models/mlp_kernels.h>

#define REAL        double
#define NAME(x)     x##Double
#define PRODUCT     product
#define HEIGHT      height
#define PACKSAMPLES kernels->pack
#define PACKUNITS   kernels->pack
#define ACTIVATE    KalActivateDouble
#include <models/mlp_kernels.h>

/* Makes room for so many numbers of the model's precision; what lay there is lost. */
PetscErrorCode KalMLPReserve_Private(KalModel model, PetscInt64 numbers)
{
  KalMLP      *mlp   = (KalMLP *)model->data;
  const size_t bytes = (size_t)numbers * (model->precision == KAL_SINGLE ? sizeof(float) : sizeof(double));

  PetscFunctionBeginUser;
  if (bytes <= mlp->work_bytes) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(mlp->work));
  mlp->work_bytes = 0;
  mlp->packed     = 0;
  PetscCall(PetscMalloc(bytes, &mlp->work));
  mlp->work_bytes = bytes;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalModelObserve_MLP(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  KalMLP *mlp   = (KalMLP *)model->data;
  double  flops = 0.0;

  PetscFunctionBeginUser;
  (void)parameters;
  (void)stage;
  (void)status; /* KalModelObserve() looks for numbers that are not finite */
  PetscCall(KalMLPReserve_Private(model, KalMLPWork_Private(mlp, model->precision, batch->samples)));
  if (model->precision == KAL_SINGLE) ForwardSingle(mlp, columns, batch, y);
  else ForwardDouble(mlp, columns, batch, y);
  for (PetscInt l = 0; l < mlp->layers; l++) flops += 2.0 * mlp->width[l] * mlp->width[l + 1];
  PetscCall(PetscLogFlops(flops * batch->samples * columns->count));
  PetscFunctionReturn(PETSC_SUCCESS);
}
