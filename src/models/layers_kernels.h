/*
  Layers in one precision. Included by layers.c once a precision, with REAL, NAME(x), PRODUCT, HEIGHT, PACKROWS and PACKUNITS
  defined; undefines them.
*/

/* Numbers of a state at a stage. */
static PetscErrorCode NAME(Width)(KalModel model, PetscInt stage, PetscInt *width)
{
  KalLayer layer;

  PetscFunctionBeginUser;
  PetscCall((*model->ops.layer)(model, PetscMax(1, stage), &layer));
  *width = stage ? KalLayerStates(&layer) : model->inputs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A block of C, a unit contiguous, as rows of states with their biases. */
KAL_WIDER static void NAME(PutRows)(PetscInt rows, PetscInt units, PetscInt taken, PetscInt height, const PetscScalar *bias, const REAL *tile, REAL *restrict out)
{
  for (PetscInt i = 0; i < rows; i++) {
    for (PetscInt u = 0; u < taken; u++) out[(PetscInt64)i * units + u] = tile[(PetscInt64)u * height + i] + (bias ? (REAL)bias[u] : 0);
  }
}

static void NAME(PackWeights)(const KalPanels *kernels, const KalLayer *layer, const PetscScalar *x, REAL *packed)
{
  const PetscInt width = KalPanelsChoose(kernels, layer->units)->width;

  for (PetscInt u = 0; u < layer->units; u += width, packed += (PetscInt64)width * layer->features) {
    if (layer->units - u < width) memset(packed, 0, (size_t)width * (size_t)layer->features * sizeof *packed);
    kernels->PACKUNITS(PetscMin(width, layer->units - u), layer->features, x + layer->offset + (PetscInt64)u * layer->features, (size_t)layer->features, packed, width);
  }
}

/* States of `rows` rows of features. */
static void NAME(Product)(const KalPanels *kernels, const KalLayer *layer, const PetscScalar *x, PetscInt rows, const REAL *features, const REAL *weights, REAL *tile, REAL *panel, REAL *out)
{
  const KalPanelWidth *kernel = KalPanelsChoose(kernels, layer->units);
  const PetscScalar   *bias   = layer->biased ? x + layer->offset + (PetscInt64)layer->features * layer->units : NULL;
  const PetscInt       height = kernels->HEIGHT;

  for (PetscInt i = 0; i < rows; i += height) {
    const PetscInt taken = PetscMin(height, rows - i);

    if (taken < height) memset(panel, 0, (size_t)height * (size_t)layer->features * sizeof *panel);
    kernels->PACKROWS(taken, layer->features, features + (PetscInt64)i * layer->features, (size_t)layer->features, panel, height);
    for (PetscInt u = 0; u < layer->units; u += kernel->width) {
      kernel->PRODUCT(layer->features, panel, weights + (PetscInt64)u * layer->features, kernel->width, PETSC_FALSE, tile, (size_t)height);
      NAME(PutRows)
      (taken, layer->units, PetscMin(kernel->width, layer->units - u), height, bias ? bias + u : NULL, tile, out + (PetscInt64)i * layer->units + u);
    }
  }
}

/* The larger, or a NaN. */
KAL_WIDER static void NAME(Larger)(PetscInt n, const REAL *restrict x, REAL *restrict most)
{
  for (PetscInt c = 0; c < n; c++) most[c] = ((most[c] >= x[c]) | (most[c] != most[c])) ? most[c] : x[c];
}

/* States of some samples: of each square of rows the largest number of each unit. `z` is overwritten. */
static void NAME(Pool)(const KalLayer *layer, PetscInt samples, REAL *z, REAL *restrict out)
{
  const PetscInt size = layer->pool, units = layer->units, line = layer->across * units, width = layer->across / size, height = layer->rows / layer->across / size;

  for (PetscInt s = 0; s < samples; s++, z += (PetscInt64)layer->rows * units) {
    for (PetscInt y = 0; y < height; y++) {
      REAL *top = z + y * size * line; /* takes in the lines below it */

      for (PetscInt k = 1; k < size; k++) NAME(Larger)
      (line, top + k * line, top);
      for (PetscInt i = 0; i < width; i++, out += units, top += size * units) {
        memcpy(out, top, (size_t)units * sizeof *out);
        for (PetscInt k = 1; k < size; k++) NAME(Larger)
        (units, top + k * units, out);
      }
    }
  }
}

/* Numbers of pooled states put where the largest of their squares are. */
static void NAME(PutBack)(const KalLayer *layer, PetscInt samples, const REAL *z, const REAL *pooled, REAL *restrict rows)
{
  const PetscInt size = layer->pool, units = layer->units, across = layer->across, width = across / size, height = layer->rows / across / size;

  memset(rows, 0, (size_t)samples * (size_t)layer->rows * (size_t)units * sizeof *rows);
  for (PetscInt s = 0; s < samples; s++, z += (PetscInt64)layer->rows * units, rows += (PetscInt64)layer->rows * units) {
    for (PetscInt i = 0; i < height * width; i++) {
      const PetscInt corner = (i / width * across + i % width) * size * units;

      for (PetscInt u = 0; u < units; u++) {
        PetscInt most = corner + u;

        for (PetscInt k = 1; k < size * size; k++) {
          const PetscInt other = corner + (k / size * across + k % size) * units + u;

          if (z[other] > z[most]) most = other;
        }
        rows[most] = *pooled++;
      }
    }
  }
}

/* Pieces of the work space, and samples that are taken at once. */
typedef struct {
  PetscInt samples;
  REAL    *weights, *features, *panel, *state[2], *tile, *unpooled;
} NAME(KalLayerRoom);

static PetscErrorCode NAME(Room)(KalModel model, PetscInt from, PetscInt to, PetscInt samples, NAME(KalLayerRoom) * room)
{
  const KalPanels *kernels = KalPanelsGet();
  PetscInt64       weights = 0, features = 1, panel = 0, state = 1, unpooled = 0, numbers;
  size_t           bytes;

  PetscFunctionBeginUser;
  for (PetscInt l = from + 1; l <= to; l++) {
    KalLayer layer;
    PetscInt width;

    PetscCall((*model->ops.layer)(model, l, &layer));
    width = KalPanelsChoose(kernels, layer.units)->width;
    weights += (PetscInt64)KalPanelCount(layer.units, width) * width * layer.features;
    features = PetscMax(features, (PetscInt64)layer.features * layer.rows);
    panel    = PetscMax(panel, (PetscInt64)layer.features * kernels->HEIGHT);
    state    = PetscMax(state, KalLayerStates(&layer));
    if (layer.pool > 1) unpooled = PetscMax(unpooled, (PetscInt64)layer.rows * layer.units);
  }
  room->samples = PetscMax(1, (PetscInt)(KAL_LAYER_NUMBERS / features));
  if (room->samples > kernels->HEIGHT) room->samples -= room->samples % kernels->HEIGHT; /* whole panels where a sample is a row */
  room->samples = PetscMin(room->samples, samples);
  numbers       = KAL_LAYER_TILE + panel + weights + room->samples * (features + 2 * state + unpooled);
  bytes         = (size_t)numbers * sizeof(REAL) + KAL_PANEL_ALIGN;
  if (bytes > model->layerbytes) {
    model->layerbytes = 0;
    PetscCall(PetscFree(model->layerwork));
    PetscCall(PetscMalloc(bytes, &model->layerwork));
    model->layerbytes = bytes;
  }
  room->tile     = (REAL *)KalPanelsAlign(model->layerwork);
  room->panel    = room->tile + KAL_LAYER_TILE;
  room->weights  = room->panel + panel;
  room->features = room->weights + weights;
  room->state[0] = room->features + room->samples * features;
  room->state[1] = room->state[0] + room->samples * state;
  room->unpooled = room->state[1] + room->samples * state;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NAME(Advance)(KalModel model, const PetscScalar *x, PetscInt from, PetscInt to, PetscInt samples, const REAL *in, REAL *out)
{
  const KalPanels *kernels = KalPanelsGet();
  NAME(KalLayerRoom)
  room           = {0};
  PetscInt width = 0, last = 0;

  PetscFunctionBeginUser;
  PetscCall(NAME(Room)(model, from, to, samples, &room));
  PetscCall(NAME(Width)(model, from, &width));
  PetscCall(NAME(Width)(model, to, &last));
  for (PetscInt s = 0; s < samples; s += room.samples) {
    const PetscInt taken   = PetscMin(room.samples, samples - s);
    const REAL    *state   = in + (PetscInt64)s * width;
    REAL          *weights = room.weights;

    for (PetscInt l = from + 1; l <= to; l++) {
      REAL       *next = l == to ? out + (PetscInt64)s * last : room.state[l % 2];
      const void *features;
      KalLayer    layer;

      PetscCall((*model->ops.layer)(model, l, &layer));
      if (s == 0) NAME(PackWeights)
      (kernels, &layer, x, weights);
      PetscCall((*model->ops.features)(model, l, taken, state, room.features, &features));
      NAME(Product)
      (kernels, &layer, x, taken * layer.rows, (const REAL *)features, weights, room.tile, room.panel, layer.pool > 1 ? room.unpooled : next);
      if (layer.pool > 1) NAME(Pool)
      (&layer, taken, room.unpooled, next);
      weights += (PetscInt64)KalPanelCount(layer.units, KalPanelsChoose(kernels, layer.units)->width) * KalPanelsChoose(kernels, layer.units)->width * layer.features;
      state = next;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NAME(Unpool)(KalModel model, const PetscScalar *x, PetscInt stage, PetscInt samples, const REAL *before, const REAL *pooled, REAL *rows)
{
  const KalPanels *kernels = KalPanelsGet();
  NAME(KalLayerRoom)
  room = {0};
  KalLayer layer;
  PetscInt width = 0;

  PetscFunctionBeginUser;
  PetscCall((*model->ops.layer)(model, stage, &layer));
  if (layer.pool == 1) {
    PetscCall(PetscArraycpy(rows, pooled, (PetscInt64)samples * layer.rows * layer.units));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(NAME(Room)(model, stage - 1, stage, samples, &room));
  PetscCall(NAME(Width)(model, stage - 1, &width));
  NAME(PackWeights)
  (kernels, &layer, x, room.weights);
  for (PetscInt s = 0; s < samples; s += room.samples) {
    const PetscInt taken = PetscMin(room.samples, samples - s);
    const void    *features;

    PetscCall((*model->ops.features)(model, stage, taken, before + (PetscInt64)s * width, room.features, &features));
    NAME(Product)
    (kernels, &layer, x, taken * layer.rows, (const REAL *)features, room.weights, room.tile, room.panel, room.unpooled);
    NAME(PutBack)
    (&layer, taken, room.unpooled, pooled + (PetscInt64)s * KalLayerStates(&layer), rows + (PetscInt64)s * layer.rows * layer.units);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

#undef REAL
#undef NAME
#undef PRODUCT
#undef HEIGHT
#undef PACKROWS
#undef PACKUNITS
