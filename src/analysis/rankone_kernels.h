/* Predictions of members of rank one, in one precision. Included by rankone.c once a precision, with REAL, NAME(x), PRODUCT, HEIGHT and PACK defined; undefines them. */

/* z[row] = base[row] + s t[row] */
KAL_WIDER static void NAME(Scatter)(PetscInt rows, PetscInt units, const REAL *base, const float *s, const REAL *t, REAL *restrict z)
{
  for (PetscInt r = 0; r < rows; r++) {
    for (PetscInt u = 0; u < units; u++) z[(size_t)r * units + u] = base[(size_t)r * units + u] + (REAL)s[u] * t[r];
  }
}

/* b'f with the bias's factor behind b, in sixteen sums side by side */
KAL_WITHIN REAL NAME(Dot)(PetscInt features, const float *b, const REAL *f)
{
  REAL     sum[16] = {0};
  PetscInt i       = 0;

  for (; i + 16 <= features; i += 16) {
    for (int k = 0; k < 16; k++) sum[k] += (REAL)b[i + k] * f[i + k];
  }
  for (int k = 0; i + k < features; k++) sum[k] += (REAL)b[i + k] * f[i + k];
  for (int k = 8; k; k /= 2) {
    for (int m = 0; m < k; m++) sum[m] += sum[m + k];
  }
  return sum[0] + (REAL)b[features];
}

/* z[row] += s (b'f[row]) */
KAL_WIDER static void NAME(Shift)(PetscInt rows, PetscInt features, PetscInt units, const float *s, const float *b, const REAL *f, REAL *restrict z)
{
  for (PetscInt r = 0; r < rows; r++) {
    const REAL t = NAME(Dot)(features, b, f + (size_t)r * features);

    for (PetscInt u = 0; u < units; u++) z[(size_t)r * units + u] += (REAL)s[u] * t;
  }
}

/* The first layer: what all members share, and its panels. */
typedef struct {
  PetscInt    rows, pitch; /* of features; in whole panels */
  const REAL *base;        /* the network's own states */
  REAL       *panels;      /* features, by panels of rows */
  REAL       *b, *packed, *tile, *t;
} NAME(KalRankOneFirst);

static PetscErrorCode NAME(TakeFirst)(KalAnalysis analysis, const KalBatch *batch, REAL *room, REAL *base, NAME(KalRankOneFirst) * first)
{
  const KalLayers *layers  = &analysis->layers;
  const KalLayer  *layer   = &layers->layer[0];
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   F = layer->features, height = kernels->HEIGHT;
  const void      *f;

  PetscFunctionBeginUser;
  PetscCall(layers->features(layers->ctx, 1, batch->samples, batch->input, room, &f));
  for (PetscInt i = 0; i < first->rows; i += height) {
    const PetscInt taken = PetscMin(height, first->rows - i);

    if (taken < height) memset(first->panels + (size_t)i * F, 0, (size_t)height * F * sizeof(REAL));
    kernels->PACK(taken, F, (const REAL *)f + (size_t)i * F, (size_t)F, first->panels + (size_t)i * F, height);
  }
  PetscCall(layers->advance(layers->ctx, analysis->mean, 0, 1, batch->samples, batch->input, base));
  first->base = base;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* t = b'f of the first layer for a few members: pitch numbers each. */
static void NAME(FirstFactors)(const KalLayer *layer, PetscInt members, const float *b, PetscInt draws, const KalPanelWidth *kernel, NAME(KalRankOneFirst) * first)
{
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   F = layer->features, height = kernels->HEIGHT, width = kernel->width;

  for (PetscInt m = 0; m < members; m += width) {
    const PetscInt taken = PetscMin(width, members - m);

    if (taken < width) memset(first->packed, 0, (size_t)width * F * sizeof(REAL));
    for (PetscInt k = 0; k < taken; k++) {
      for (PetscInt i = 0; i < F; i++) first->b[(size_t)k * F + i] = (REAL)b[(size_t)(m + k) * draws + i];
    }
    kernels->PACK(taken, F, first->b, (size_t)F, first->packed, width);
    for (PetscInt i = 0; i < first->pitch; i += height) {
      kernel->PRODUCT(F, first->panels + (size_t)i * F, first->packed, width, PETSC_FALSE, first->tile, (size_t)height);
      for (PetscInt k = 0; k < taken; k++) {
        for (PetscInt r = 0; r < height; r++) first->t[(size_t)(m + k) * first->pitch + i + r] = first->tile[k * height + r] + (REAL)b[(size_t)(m + k) * draws + F];
      }
    }
  }
}

/* Members from `first` to `last` of the predictions, which are this rank's. */
static PetscErrorCode NAME(Predict)(KalAnalysis analysis, const KalBatch *batch, const KalRankOneDraws *draws, KalRankOne *one, PetscInt from, PetscInt to)
{
  const KalLayers     *layers  = &analysis->layers;
  const KalLayer      *layer   = layers->layer;
  const KalPanels     *kernels = KalPanelsGet();
  const PetscInt       L = layers->count, F = layer[0].features, samples = batch->samples, height = kernels->HEIGHT;
  const KalPanelWidth *kernel = KalPanelsChoose(kernels, KAL_RANKONE_MEMBERS);
  NAME(KalRankOneFirst)
  first           = {.rows = samples * layer[0].rows};
  size_t   widest = 1, features = 1;
  PetscInt most;
  REAL    *at, *state[2], *room, *base;

  PetscFunctionBeginUser;
  first.pitch = KalPanelCount(first.rows, height) * height;
  for (PetscInt l = 0; l < L; l++) {
    widest   = PetscMax(widest, (size_t)layer[l].rows * (size_t)layer[l].units);
    features = PetscMax(features, (size_t)layer[l].rows * (size_t)layer[l].features);
  }
  most = PetscMax(1, PetscMin(KAL_RANKONE_MEMBERS, (PetscInt)(KAL_RANKONE_NUMBERS / (widest * (size_t)samples))));
  PetscCall(Work(one, KAL_PANEL_ALIGN + sizeof(REAL) * ((size_t)(first.pitch + 2 * KAL_RANKONE_PAD) * F + (size_t)KAL_RANKONE_PAD * height + (size_t)first.pitch * KAL_RANKONE_MEMBERS + (size_t)samples * ((size_t)most * (2 * widest + features) + features + widest))));
  first.panels = at = (REAL *)KalPanelsAlign(one->work);
  first.tile        = at += (size_t)first.pitch * F;
  first.packed      = at += (size_t)KAL_RANKONE_PAD * height;
  first.b           = at += (size_t)KAL_RANKONE_PAD * F;
  first.t           = at += (size_t)KAL_RANKONE_PAD * F;
  base              = at += (size_t)first.pitch * KAL_RANKONE_MEMBERS;
  room              = at += (size_t)samples * widest;
  state[0]          = at += (size_t)samples * (size_t)most * features;
  state[1]          = at += (size_t)samples * (size_t)most * widest;
  PetscCall(NAME(TakeFirst)(analysis, batch, room, base, &first));
  for (PetscInt j = from, drawn; j < to; j += drawn) {
    drawn = PetscMin(KAL_RANKONE_MEMBERS, to - j);
    PetscCall(Draw(analysis, draws, one, j, drawn));
    NAME(FirstFactors)
    (layer, drawn, one->drawn + layer->units, one->draws, kernel, &first);
    for (PetscInt k = 0, taken; k < drawn; k += taken) {
      taken = PetscMin(most, drawn - k);
      for (PetscInt m = 0; m < taken; m++) NAME(Scatter)
      (first.rows, layer->units, base, one->drawn + (size_t)(k + m) * one->draws, first.t + (size_t)(k + m) * first.pitch, state[0] + (size_t)m * first.rows * layer->units);
      for (PetscInt l = 1; l < L; l++) {
        const size_t rows = (size_t)samples * (size_t)layer[l].rows;
        const void  *f;

        PetscCall(layers->features(layers->ctx, l + 1, taken * samples, state[(l + 1) % 2], room, &f));
        PetscCall(layers->advance(layers->ctx, analysis->mean, l, l + 1, taken * samples, state[(l + 1) % 2], state[l % 2]));
        for (PetscInt m = 0; m < taken; m++) {
          const float *s = one->drawn + (size_t)(k + m) * one->draws + one->at[l];

          NAME(Shift)
          ((PetscInt)rows, layer[l].features, layer[l].units, s, s + layer[l].units, (const REAL *)f + (size_t)m * rows * layer[l].features, state[l % 2] + (size_t)m * rows * layer[l].units);
        }
      }
      for (PetscInt m = 0; m < taken; m++) {
        const size_t p = (size_t)samples * (size_t)batch->outputs;
        const REAL  *z = state[(L + 1) % 2] + (size_t)m * p;
        PetscScalar *y;

        PetscCall(KalEnsembleGetMember(one->predictions, j + k + m, &y));
        for (size_t i = 0; i < p; i++) y[i] = (PetscScalar)z[i];
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

#undef REAL
#undef NAME
#undef PRODUCT
#undef HEIGHT
#undef PACK
