/*
  The forward pass in one precision. Included by mlp_forward.c once a precision, with what mlp_layer_kernels.h takes defined;
  undefines it.
*/
#include <models/mlp_layer_kernels.h>

static void NAME(Forward)(KalMLP *mlp, const KalColumns *columns, const KalBatch *batch, PetscScalar **y)
{
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   inputs = mlp->width[0], last = mlp->layers - 1, outputs = mlp->width[mlp->layers], height = kernels->HEIGHT;
  const KalMLPRoom room   = Room(mlp, sizeof(REAL) == sizeof(float) ? KAL_SINGLE : KAL_DOUBLE, batch->samples);
  const uintptr_t  line   = KAL_MLP_LINE * sizeof(REAL);
  REAL            *packed = (REAL *)(((uintptr_t)mlp->work + line - 1) / line * line), *weights = packed + room.inputs, *spare[2];

  spare[0] = weights + room.weights;
  spare[1] = spare[0] + room.activations;
  for (PetscInt s = 0; s < batch->samples; s += KAL_MLP_BLOCK_SAMPLES) {
    const PetscInt samples = PetscMin(batch->samples - s, KAL_MLP_BLOCK_SAMPLES), panels = KalPanelCount(samples, height);

    if (!mlp->packed || mlp->packed != batch->stamp) NAME(PackSamples)
    (kernels, samples, inputs, (const REAL *)batch->input + (PetscInt64)s * inputs, packed);
    mlp->packed = batch->samples <= KAL_MLP_BLOCK_SAMPLES ? batch->stamp : 0; /* members come in groups, each with the same batch */
    for (PetscInt m = 0; m < columns->count; m++) {
      const REAL      *in      = packed;
      PetscInt64       panelin = (PetscInt64)height * inputs;
      const PetscInt64 stride  = (PetscInt64)height * KalMLPPadded_Private(kernels, outputs);

      for (PetscInt l = 0; l <= last; l++) {
        NAME(Layer)
        (mlp, l, kernels, panels, columns->column[m] + mlp->offset[l], weights, in, panelin, spare[l % 2]);
        in      = spare[l % 2];
        panelin = (PetscInt64)height * KalMLPPadded_Private(kernels, mlp->width[l + 1]);
      }
      for (PetscInt p = 0; p < panels; p++) {
        NAME(PutOutputs)
        (PetscMin(height, samples - p * height), outputs, height, columns->column[m] + mlp->offset[mlp->layers] - outputs, in + p * stride, y[m] + (PetscInt64)(s + p * height) * outputs);
      }
    }
  }
}

#undef REAL
#undef NAME
#undef PRODUCT
#undef HEIGHT
#undef PACKSAMPLES
#undef PACKUNITS
#undef ACTIVATE
