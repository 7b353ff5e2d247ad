/* Predictions of members of rank one, in one precision. Included by rankone.c once a precision, with REAL, NAME(x), PRODUCT, HEIGHT and PACK defined; undefines them. */

/* z[row] = base[row] + s flip[row] t[row]; z may be base */
KAL_WIDER static void NAME(Scatter)(PetscInt rows, PetscInt units, const REAL *base, const float *s, const float *flip, const REAL *t, REAL *z)
{
  for (PetscInt r = 0; r < rows; r++) {
    for (PetscInt u = 0; u < units; u++) z[(size_t)r * units + u] = base[(size_t)r * units + u] + (REAL)(s[u] * flip[(size_t)r * units + u]) * t[r];
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

/* t[row] = b'f[row] */
KAL_WIDER static void NAME(Dots)(PetscInt rows, PetscInt features, const float *b, const REAL *f, REAL *restrict t)
{
  for (PetscInt r = 0; r < rows; r++) t[r] = NAME(Dot)(features, b, f + (size_t)r * features);
}

/* The first layer: what all members share, and its panels. */
typedef struct {
  PetscInt    rows, pitch;           /* of features; in whole panels */
  const REAL *base;                  /* the network's own states */
  REAL       *panels;                /* features, by panels of rows */
  REAL       *b, *packed, *tile, *t; /* factors, their panel, a block of products, b'f by members */
} NAME(KalRankOneFirst);

static PetscErrorCode NAME(TakeFirst)(KalAnalysis analysis, PetscInt samples, const REAL *input, REAL *room, REAL *base, NAME(KalRankOneFirst) * first)
{
  const KalLayers *layers  = &analysis->layers;
  const KalLayer  *layer   = &layers->layer[0];
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   F = layer->features, height = kernels->HEIGHT;
  const void      *f;

  PetscFunctionBeginUser;
  PetscCall(layers->features(layers->ctx, 1, samples, input, room, &f));
  for (PetscInt i = 0; i < first->rows; i += height) {
    const PetscInt taken = PetscMin(height, first->rows - i);

    if (taken < height) memset(first->panels + (size_t)i * F, 0, (size_t)height * F * sizeof(REAL));
    kernels->PACK(taken, F, (const REAL *)f + (size_t)i * F, (size_t)F, first->panels + (size_t)i * F, height);
  }
  PetscCall(layers->advance(layers->ctx, analysis->mean, 0, 1, samples, input, base));
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

/* delta[row] += c[row] t[row] s flip[row], squares[row] += t[row]^2 */
KAL_WIDER static void NAME(Gain)(PetscInt rows, PetscInt units, const PetscReal *c, const REAL *t, const float *s, const float *flip, PetscReal *restrict delta, PetscReal *restrict squares)
{
  for (PetscInt r = 0; r < rows; r++) {
    const PetscReal weight = c[r] * (PetscReal)t[r];

    squares[r] += (PetscReal)t[r] * (PetscReal)t[r];
    for (PetscInt u = 0; u < units; u++) delta[(size_t)r * units + u] += weight * (PetscReal)(s[u] * flip[(size_t)r * units + u]);
  }
}

/* Pieces of the work space. */
typedef struct {
  PetscInt most; /* members at once */
  REAL    *state[2], *room, *base, *t;
} NAME(KalRankOneRoom);

static PetscErrorCode NAME(TakeRoom)(const KalLayers *layers, PetscInt samples, KalRankOne *one, NAME(KalRankOneFirst) * first, NAME(KalRankOneRoom) * room)
{
  const KalLayer *layer = layers->layer;
  const PetscInt  F = layer[0].features, height = KalPanelsGet()->HEIGHT;
  size_t          widest = 1, features = 1, rows = 1;
  REAL           *at;

  PetscFunctionBeginUser;
  first->rows  = samples * layer[0].rows;
  first->pitch = KalPanelCount(first->rows, height) * height;
  for (PetscInt l = 0; l < layers->count; l++) {
    widest   = PetscMax(widest, (size_t)layer[l].rows * (size_t)layer[l].units);
    features = PetscMax(features, (size_t)layer[l].rows * (size_t)layer[l].features);
    rows     = PetscMax(rows, (size_t)layer[l].rows);
  }
  room->most = PetscMax(1, PetscMin(KAL_RANKONE_MEMBERS, (PetscInt)(KAL_RANKONE_NUMBERS / (widest * (size_t)samples))));
  PetscCall(KalRankOneWork(one, KAL_PANEL_ALIGN + sizeof(REAL) * ((size_t)(first->pitch + 2 * KAL_RANKONE_PAD) * F + (size_t)KAL_RANKONE_PAD * height + (size_t)first->pitch * KAL_RANKONE_MEMBERS + (size_t)samples * ((size_t)room->most * (2 * widest + features) + widest + rows))));
  first->panels = at = (REAL *)KalPanelsAlign(one->work);
  first->tile        = at += (size_t)first->pitch * F;
  first->packed      = at += (size_t)KAL_RANKONE_PAD * height;
  first->b           = at += (size_t)KAL_RANKONE_PAD * F;
  first->t           = at += (size_t)KAL_RANKONE_PAD * F;
  room->base         = at += (size_t)first->pitch * KAL_RANKONE_MEMBERS;
  room->room         = at += (size_t)samples * widest;
  room->state[0]     = at += (size_t)samples * (size_t)room->most * features;
  room->state[1]     = at += (size_t)samples * (size_t)room->most * widest;
  room->t            = at += (size_t)samples * (size_t)room->most * widest;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The layers behind the first one, for some members whose states behind it are known; `drawn` is what they are made of. */
static PetscErrorCode NAME(Behind)(KalAnalysis analysis, const KalRankOneView *view, PetscInt member, PetscInt taken, const float *drawn, const KalRankOne *one, const NAME(KalRankOneRoom) * room)
{
  const KalLayers *layers = &analysis->layers;

  PetscFunctionBeginUser;
  for (PetscInt l = 1; l < layers->count; l++) {
    const KalLayer *layer   = &layers->layer[l];
    const PetscInt  rows    = view->samples * layer->rows;
    const PetscBool onwards = (PetscBool)(!view->delta || l + 1 < layers->count); /* what the last layer makes is not asked for with what members say */
    REAL           *in = room->state[(l + 1) % 2], *out = room->state[l % 2];
    const void     *f;

    PetscCall(layers->features(layers->ctx, l + 1, taken * view->samples, in, room->room, &f));
    if (onwards) PetscCall(layers->advance(layers->ctx, analysis->mean, l, l + 1, taken * view->samples, in, out));
    for (PetscInt m = 0; m < taken; m++) {
      const float *s  = drawn + (size_t)m * one->draws + one->at[l];
      const REAL  *fm = (const REAL *)f + (size_t)m * (size_t)rows * (size_t)layer->features;

      NAME(Dots)
      (rows, layer->features, s + layer->units, fm, room->t);
      if (Gains(view, member + m)) NAME(Gain)
      (rows, layer->units, view->c + (size_t)(member + m) * view->samples, room->t, s, view->flip[l], view->delta[l], view->squares[l]);
      if (onwards) NAME(Scatter)
      (rows, layer->units, out + (size_t)m * (size_t)rows * (size_t)layer->units, s, view->flip[l], room->t, out + (size_t)m * (size_t)rows * (size_t)layer->units);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NAME(PutPredictions)(PetscInt first, PetscInt taken, size_t p, const REAL *z, KalEnsemble predictions)
{
  PetscScalar *y;

  PetscFunctionBeginUser;
  for (PetscInt m = 0; m < taken; m++, z += p) {
    PetscCall(KalEnsembleGetMember(predictions, first + m, &y));
    for (size_t i = 0; i < p; i++) y[i] = (PetscScalar)z[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members `from` to `to` on some samples of the batch: what they predict, or what they say of the states. */
static PetscErrorCode NAME(Run)(KalAnalysis analysis, const KalBatch *batch, const KalRankOneDraws *draws, const KalRankOneView *view, KalRankOne *one, PetscInt from, PetscInt to)
{
  const KalLayers *layers = &analysis->layers;
  const KalLayer  *layer  = layers->layer;
  NAME(KalRankOneFirst)
  first = {0};
  NAME(KalRankOneRoom)
  room = {0};

  PetscFunctionBeginUser;
  if (!view->samples) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(NAME(TakeRoom)(layers, view->samples, one, &first, &room));
  PetscCall(NAME(TakeFirst)(analysis, view->samples, (const REAL *)batch->input + (size_t)view->first * (size_t)layers->inputs, room.room, room.base, &first));
  for (PetscInt j = from, drawn; j < to; j += drawn) {
    drawn = PetscMin(KAL_RANKONE_MEMBERS, to - j);
    PetscCall(KalRankOneDraw(analysis, draws, one, j, drawn));
    NAME(FirstFactors)
    (layer, drawn, one->drawn + layer->units, one->draws, KalPanelsChoose(KalPanelsGet(), KAL_RANKONE_MEMBERS), &first);
    for (PetscInt k = 0, taken; k < drawn; k += taken) {
      taken = PetscMin(room.most, drawn - k);
      for (PetscInt m = 0; m < taken; m++) {
        const float *s = one->drawn + (size_t)(k + m) * one->draws;
        const REAL  *t = first.t + (size_t)(k + m) * first.pitch;

        if (Gains(view, j + k + m)) NAME(Gain)
        (first.rows, layer->units, view->c + (size_t)(j + k + m) * view->samples, t, s, view->flip[0], view->delta[0], view->squares[0]);
        NAME(Scatter)
        (first.rows, layer->units, room.base, s, view->flip[0], t, room.state[0] + (size_t)m * first.rows * layer->units);
      }
      PetscCall(NAME(Behind)(analysis, view, j + k, taken, one->drawn + (size_t)k * one->draws, one, &room));
      if (!view->delta) PetscCall(NAME(PutPredictions)(j + k, taken, (size_t)view->samples * (size_t)batch->outputs, room.state[(layers->count + 1) % 2], one->predictions));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

#undef REAL
#undef NAME
#undef PRODUCT
#undef HEIGHT
#undef PACK
