/*
  Activations in one precision. Included by activation.c once a precision, with REAL, NAME(x), TANH, SIGMOID and CEIL defined;
  undefines them. NaN stays NaN.
*/

/* h = activation(z + bias) on n numbers; h may be z. */
KAL_WITHIN void NAME(Unit)(const KalActivation *activation, PetscInt n, REAL bias, const REAL *z, REAL *h)
{
  const REAL steps = (REAL)(activation->levels - 1);

  switch (activation->type) {
  case KAL_RELU:
    for (PetscInt i = 0; i < n; i++) {
      const REAL v = z[i] + bias;
      h[i]         = v < 0 ? 0 : v;
    }
    break;
  case KAL_TANH:
    for (PetscInt i = 0; i < n; i++) h[i] = TANH(z[i] + bias);
    break;
  case KAL_SIGMOID:
    for (PetscInt i = 0; i < n; i++) h[i] = SIGMOID(z[i] + bias);
    break;
  case KAL_HEAVISIDE:
    for (PetscInt i = 0; i < n; i++) {
      const REAL v = z[i] + bias, step = v <= 0 ? 0 : v;
      h[i] = v > 0 ? 1 : step;
    }
    break;
  case KAL_LINEAR:
    for (PetscInt i = 0; i < n; i++) h[i] = z[i] + bias;
    break;
  case KAL_SIGN:
    for (PetscInt i = 0; i < n; i++) {
      const REAL v = z[i] + bias, sign = v <= 0 ? -1 : v;
      h[i] = v > 0 ? 1 : sign;
    }
    break;
  case KAL_STEPS:
    for (PetscInt i = 0; i < n; i++) {
      const REAL v = (z[i] + bias + 1) / 2, low = v < 0 ? 0 : v;
      h[i] = CEIL((low > 1 ? 1 : low) * steps - (REAL)0.5) / steps;
    }
    break;
  }
}

KAL_WIDER void NAME(KalActivate)(const KalActivation *activation, PetscInt units, PetscInt n, const PetscScalar *bias, const REAL *z, REAL *h)
{
  for (PetscInt u = 0; u < units; u++) NAME(Unit)
  (activation, n, (REAL)bias[u], z + (PetscInt64)u * n, h + (PetscInt64)u * n);
}

KAL_WIDER void NAME(KalDifferentiate)(const KalActivation *activation, PetscInt64 n, const REAL *restrict h, REAL *restrict d)
{
  switch (activation->type) {
  case KAL_RELU:
    for (PetscInt64 i = 0; i < n; i++) d[i] = h[i] > 0 ? d[i] : 0;
    break;
  case KAL_TANH:
    for (PetscInt64 i = 0; i < n; i++) d[i] *= 1 - h[i] * h[i];
    break;
  case KAL_SIGMOID:
    for (PetscInt64 i = 0; i < n; i++) d[i] *= h[i] * (1 - h[i]);
    break;
  default: /* linear; the others have no derivative that is of use */
    break;
  }
}

#undef REAL
#undef NAME
#undef TANH
#undef SIGMOID
#undef CEIL
