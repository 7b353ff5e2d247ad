/*
  The forward pass in one precision. Included by mlp_forward.c once a precision, with REAL, NAME(x),
  GEMM, TANH and SIGMOID defined; undefines them.
*/

/* z = activation(z + bias) on one unit's column of samples. NaN stays NaN. */
WIDER static void NAME(Activate)(KalActivation activation, PetscInt n, REAL bias, REAL *z)
{
  switch (activation) {
  case KAL_RELU:
    for (PetscInt i = 0; i < n; i++) {
      const REAL v = z[i] + bias;
      z[i]         = v < 0 ? 0 : v;
    }
    break;
  case KAL_TANH:
    for (PetscInt i = 0; i < n; i++) z[i] = TANH(z[i] + bias);
    break;
  case KAL_SIGMOID:
    for (PetscInt i = 0; i < n; i++) z[i] = SIGMOID(z[i] + bias);
    break;
  case KAL_HEAVISIDE:
    for (PetscInt i = 0; i < n; i++) {
      const REAL v = z[i] + bias, step = v <= 0 ? 0 : v;
      z[i] = v > 0 ? 1 : step;
    }
    break;
  case KAL_LINEAR:
    for (PetscInt i = 0; i < n; i++) z[i] += bias;
    break;
  }
}

/* c (m x n) = op(a) (m x k) b (k x n), columns contiguous */
static void NAME(Product)(const char *op, PetscInt m, PetscInt n, PetscInt k, const REAL *a, const REAL *b, REAL *c)
{
  const PetscBLASInt bm = (PetscBLASInt)m, bn = (PetscBLASInt)n, bk = (PetscBLASInt)k, lda = *op == 'T' ? bk : bm;
  const REAL         one = 1, zero = 0;

  GEMM(op, "N", &bm, &bn, &bk, &one, a, &lda, b, &bk, &zero, c, &bm);
}

/* The members of a block among the columns, in this precision: first weights side by side, the rest one after the other. */
WIDER static void NAME(Pack)(const KalMLP *mlp, const KalColumns *columns, PetscInt64 member, REAL *first, REAL *rest)
{
  const PetscInt64 nfirst = (PetscInt64)mlp->width[0] * mlp->width[1], nrest = Rest(mlp);

  for (PetscInt slot = 0; slot < mlp->block; slot++, member++, first += nfirst, rest += nrest) {
    const PetscInt64 k = member - columns->first;

    if (k < 0 || k >= columns->count) {
      memset(first, 0, (size_t)nfirst * sizeof *first);
    } else {
      const PetscScalar *x = columns->column[k];
      for (PetscInt64 i = 0; i < nfirst; i++) first[i] = (REAL)x[i];
      for (PetscInt64 i = 0; i < nrest; i++) rest[i] = (REAL)x[nfirst + i];
    }
  }
}

/* From a member's first product h (rows x width[1]) to its predictions; `rest` are its first biases and further layers. */
static void NAME(Finish)(const KalMLP *mlp, PetscInt rows, const REAL *rest, REAL *h, REAL *spare[2], PetscScalar *y)
{
  const PetscInt last = mlp->layers - 1, outputs = mlp->width[mlp->layers];

  for (PetscInt l = 0; l < last; l++) {
    const PetscInt width = mlp->width[l + 1], next = mlp->width[l + 2];
    REAL          *z = spare[l % 2];

    for (PetscInt u = 0; u < width; u++) NAME(Activate)
    (mlp->activation, rows, rest[u], h + (PetscInt64)u * rows);
    rest += width;
    NAME(Product)
    ("N", rows, next, width, h, rest, z);
    rest += (PetscInt64)width * next;
    h = z;
  }
  for (PetscInt s = 0; s < rows; s++) {
    for (PetscInt o = 0; o < outputs; o++) y[(PetscInt64)s * outputs + o] = (PetscScalar)(h[s + (PetscInt64)o * rows] + rest[o]);
  }
}

static void NAME(Forward)(const KalMLP *mlp, const KalColumns *columns, const KalBatch *batch, PetscScalar **y)
{
  const PetscInt   inputs = mlp->width[0], units = mlp->width[1], outputs = mlp->width[mlp->layers], most = PetscMin(batch->samples, KAL_MLP_BLOCK_SAMPLES);
  const PetscInt64 all = (PetscInt64)mlp->block * units, begin = columns->first, end = begin + columns->count;
  const uintptr_t  line  = LINE * sizeof(REAL);
  REAL            *first = (REAL *)(((uintptr_t)mlp->work + line - 1) / line * line), *rest = first + ROUNDED(all * inputs), *h = rest + ROUNDED(mlp->block * Rest(mlp));
  REAL            *spare[2];

  spare[0] = h + ROUNDED(all * most);
  spare[1] = spare[0] + ROUNDED((PetscInt64)mlp->widest * most);
  for (PetscInt64 member = begin / mlp->block * mlp->block; member < end; member += mlp->block) {
    NAME(Pack)
    (mlp, columns, member, first, rest);
    for (PetscInt s = 0; s < batch->samples; s += KAL_MLP_BLOCK_SAMPLES) {
      const PetscInt rows = PetscMin(batch->samples - s, KAL_MLP_BLOCK_SAMPLES);

      NAME(Product)
      ("T", rows, (PetscInt)all, inputs, (const REAL *)batch->input + (PetscInt64)s * inputs, first, h);
      for (PetscInt64 m = PetscMax(member, begin); m < PetscMin(member + mlp->block, end); m++) {
        NAME(Finish)
        (mlp, rows, rest + (m - member) * Rest(mlp), h + (m - member) * units * rows, spare, y[m - begin] + (PetscInt64)s * outputs);
      }
    }
  }
}

#undef REAL
#undef NAME
#undef GEMM
#undef TANH
#undef SIGMOID
