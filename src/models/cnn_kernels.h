/*
  Features of the layers of a convolutional network in one precision. Included by cnn.c once a precision, with REAL, NAME(x) and
  ACTIVATE defined; undefines them.
*/

KAL_WIDER static void NAME(Sum)(PetscInt n, const REAL *restrict x, REAL *restrict sum)
{
  for (PetscInt c = 0; c < n; c++) sum[c] += x[c];
}

/* Means of squares of one image that do not overlap; what is left at the edges is dropped. `in` is overwritten. */
static void NAME(Average)(const KalMap *map, PetscInt size, REAL *in, REAL *out)
{
  const PetscInt channels = map->channels, height = map->height / size, width = map->width / size, line = map->width * channels;
  const REAL     share = (REAL)1 / (REAL)(size * size);

  for (PetscInt y = 0; y < height; y++) {
    REAL *top = in + y * size * line; /* takes in the lines below it */

    for (PetscInt k = 1; k < size; k++) {
      NAME(Sum)
      (line, top + k * line, top);
    }
    for (PetscInt x = 0; x < width; x++, out += channels, top += size * channels) {
      for (PetscInt c = 0; c < channels; c++) {
        REAL value = top[c];

        for (PetscInt k = 1; k < size; k++) value += top[k * channels + c];
        out[c] = share * value;
      }
    }
  }
}

/* Patches of kernel x kernel x channels numbers, one for each place of the kernel inside the image. */
static void NAME(Patches)(const KalMap *map, PetscInt kernel, const REAL *in, REAL *out)
{
  const size_t line = (size_t)(kernel * map->channels);

  for (PetscInt y = 0; y + kernel <= map->height; y++) {
    for (PetscInt x = 0; x + kernel <= map->width; x++) {
      for (PetscInt k = 0; k < kernel; k++, out += line) memcpy(out, in + ((y + k) * map->width + x) * map->channels, line * sizeof *out);
    }
  }
}

static void NAME(Features)(const KalCNN *cnn, PetscInt stage, PetscInt samples, const REAL *before, REAL *room, const void **features)
{
  const KalCNNLayer *layer = &cnn->layer[stage - 1];
  const PetscInt     width = layer->before.height * layer->before.width * layer->before.channels, pooled = layer->map.height * layer->map.width * layer->map.channels;
  const PetscInt     count  = layer->out.height * layer->out.width * layer->features;
  const PetscScalar  none   = 0.0;
  REAL              *active = (REAL *)cnn->work, *image = active + width;

  if (stage == 1 && layer->pool == 1 && !layer->kernel) {
    *features = before;
    return;
  }
  *features = room;
  for (PetscInt s = 0; s < samples; s++, before += width, room += count) {
    const REAL *from = before;

    if (stage > 1) { /* nothing is pooled before the first layer */
      ACTIVATE(&cnn->activation, 1, width, &none, before, active);
      from = active;
    }
    if (layer->pool > 1) {
      NAME(Average)
      (&layer->before, layer->pool, active, image);
      from = image;
    }
    if (layer->kernel) NAME(Patches)
    (&layer->map, layer->kernel, from, room);
    else memcpy(room, from, (size_t)pooled * sizeof *room);
  }
}

#undef REAL
#undef NAME
#undef ACTIVATE
