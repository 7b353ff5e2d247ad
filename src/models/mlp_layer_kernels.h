/*
  One layer in one precision: packing, product, activation, outputs. Included once a precision, with REAL, NAME(x), PRODUCT,
  HEIGHT, PACKSAMPLES, PACKUNITS and ACTIVATE defined.
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
  const PetscInt64     panelout = (PetscInt64)height * KalMLPPadded_Private(kernels, units);
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
