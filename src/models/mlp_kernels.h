/*
  The forward pass in one precision. Included by mlp_forward.c once a precision, with REAL, NAME(x),
  PRODUCT, HEIGHT, PACKSAMPLES, PACKUNITS and ACTIVATE defined; undefines them.
*/

/* Columns of numbers in panels of `size` columns; those beyond the last are zeros. */
static void NAME(PackSamples)(const KalPanels *kernels, PetscInt samples, PetscInt numbers, const REAL *x, REAL *packed)
{
  const PetscInt height = kernels->HEIGHT;

  for (PetscInt s = 0; s < samples; s += height, packed += (PetscInt64)height * numbers) {
    if (samples - s < height) memset(packed, 0, (size_t)height * (size_t)numbers * sizeof *packed);
    PACKSAMPLES(PetscMin(height, samples - s), numbers, x + (PetscInt64)s * numbers, (size_t)numbers, packed, height);
  }
}

static void NAME(PackUnits)(const KalPanels *kernels, PetscInt units, PetscInt numbers, PetscInt width, const PetscScalar *x, REAL *packed)
{
  for (PetscInt u = 0; u < units; u += width, packed += (PetscInt64)width * numbers) {
    if (units - u < width) memset(packed, 0, (size_t)width * (size_t)numbers * sizeof *packed);
    PACKUNITS(PetscMin(width, units - u), numbers, x + (PetscInt64)u * numbers, (size_t)numbers, packed, width);
  }
}

/* The outputs of a panel of samples, biased, sample by sample. */
KAL_WIDER static void NAME(PutOutputs)(PetscInt samples, PetscInt outputs, PetscInt height, const PetscScalar *bias, const REAL *z, PetscScalar *restrict y)
{
  for (PetscInt o = 0; o < outputs; o++) {
    const REAL b = (REAL)bias[o];

    for (PetscInt s = 0; s < samples; s++) y[(PetscInt64)s * outputs + o] = (PetscScalar)(z[(PetscInt64)o * height + s] + b);
  }
}

/* One layer of a member on packed samples `in`: packed samples `out`, activated; `units` with padding apart in a panel. */
static void NAME(Layer)(const KalMLP *mlp, PetscInt l, const KalPanels *kernels, PetscInt panels, const PetscScalar *x, REAL *weights, const REAL *in, PetscInt64 panelin, REAL *out)
{
  const PetscInt       numbers = mlp->width[l], units = mlp->width[l + 1], height = kernels->HEIGHT;
  const KalPanelWidth *kernel   = KalPanelsChoose(kernels, units);
  const PetscInt64     panelout = (PetscInt64)height * Padded(kernels, units);
  const PetscScalar   *bias     = x + (PetscInt64)numbers * units;

  NAME(PackUnits)
  (kernels, units, numbers, kernel->width, x, weights);
  for (PetscInt u = 0; u < units; u += kernel->width) {
    const PetscInt taken = PetscMin(kernel->width, units - u);

    for (PetscInt p = 0; p < panels; p++) {
      REAL *tile = out + p * panelout + (PetscInt64)u * height;

      kernel->PRODUCT(numbers, in + p * panelin, weights + (PetscInt64)u * numbers, kernel->width, PETSC_FALSE, tile, (size_t)height);
      if (l + 1 < mlp->layers) ACTIVATE(&mlp->activation, taken, height, bias + u, tile, tile);
    }
  }
}

static void NAME(Forward)(KalMLP *mlp, const KalColumns *columns, const KalBatch *batch, PetscScalar **y)
{
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   inputs = mlp->width[0], last = mlp->layers - 1, outputs = mlp->width[mlp->layers], height = kernels->HEIGHT;
  const KalMLPRoom room   = Room(mlp, sizeof(REAL) == sizeof(float) ? KAL_SINGLE : KAL_DOUBLE, batch->samples);
  const uintptr_t  line   = LINE * sizeof(REAL);
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
      const PetscInt64 stride  = (PetscInt64)height * Padded(kernels, outputs);

      for (PetscInt l = 0; l <= last; l++) {
        NAME(Layer)
        (mlp, l, kernels, panels, columns->column[m] + mlp->offset[l], weights, in, panelin, spare[l % 2]);
        in      = spare[l % 2];
        panelin = (PetscInt64)height * Padded(kernels, mlp->width[l + 1]);
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
