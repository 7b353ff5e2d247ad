/*
  Perturbed states, regression and moments in one precision. Included by layered_kernels.c once a precision, with REAL, NAME(x),
  PRODUCT, HEIGHT and DRAW defined; undefines them.
*/

KAL_WIDER static void NAME(Signs)(PetscInt count, const unsigned int *bits, REAL *restrict xi)
{
  for (PetscInt i = 0; i < count; i++) xi[i] = (REAL)(1 - 2 * (int)((bits[i / 32] >> (i % 32)) & 1));
}

/* Row j of the Hadamard matrix without its first column, over and over, for as many numbers as any shifted sample takes. */
static PetscErrorCode NAME(Hadamard)(KalLayered *layered)
{
  const PetscInt order = KalLayeredDraws(layered), length = order - 1 + layered->widest;
  REAL          *row;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)order * (size_t)length, &row));
  layered->hadamard = row;
  for (PetscInt j = 0; j < order; j++) {
    for (PetscInt c = 0; c < length; c++) {
      unsigned int odd = (unsigned int)j & (unsigned int)(c % (order - 1) + 1);

      for (int half = 16; half; half /= 2) odd ^= odd >> half;
      *row++ = odd & 1 ? -1 : 1;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* zp_j = z + scale xi_j, mirrored ones behind theirs; `pitch` numbers from one draw to the next. */
KAL_WIDER static void NAME(Perturb)(PetscInt width, PetscInt draws, PetscInt pitch, PetscBool mirrored, const REAL *scale, const REAL *z, const REAL *xi, REAL *restrict zp)
{
  for (PetscInt j = 0; j < draws; j++, xi += pitch) {
    for (PetscInt u = 0; u < width; u++) zp[u] = z[u] + scale[u] * xi[u];
    zp += width;
    if (!mirrored) continue;
    for (PetscInt u = 0; u < width; u++) zp[u] = z[u] - scale[u] * xi[u];
    zp += width;
  }
}

/* delta = sign sum_j c_j xi_j */
KAL_WIDER static void NAME(Combine)(PetscInt width, PetscInt draws, PetscInt pitch, const PetscReal *c, const REAL *sign, const REAL *xi, REAL *restrict delta)
{
  for (PetscInt u = 0; u < width; u++) delta[u] = 0;
  for (PetscInt j = 0; j < draws; j++, xi += pitch) {
    const REAL cj = (REAL)c[j];

    for (PetscInt u = 0; u < width; u++) delta[u] += cj * xi[u];
  }
  for (PetscInt u = 0; u < width; u++) delta[u] *= sign[u];
}

/* Coefficients q'g_j of a sample less their mean, times a factor. */
KAL_WIDER static void NAME(Project)(PetscInt N, PetscInt outputs, const PetscReal *q, PetscReal factor, const REAL *g, PetscReal *restrict c)
{
  PetscReal mean = 0.0;

  for (PetscInt j = 0; j < N; j++, g += outputs) {
    PetscReal sum = 0.0;

    for (PetscInt k = 0; k < outputs; k++) sum += q[k] * (PetscReal)g[k];
    c[j] = sum;
    mean += sum;
  }
  mean /= N;
  for (PetscInt j = 0; j < N; j++) c[j] = (c[j] - mean) * factor;
}

/* Anomalies of N predictions of a sample, a prediction contiguous. */
static void NAME(Anomalies)(PetscInt N, PetscInt outputs, const REAL *g, PetscReal *a)
{
  for (PetscInt k = 0; k < outputs; k++) {
    PetscReal mean = 0.0;

    for (PetscInt j = 0; j < N; j++) mean += (PetscReal)g[j * outputs + k];
    mean /= N;
    for (PetscInt j = 0; j < N; j++) a[j * outputs + k] = (PetscReal)g[j * outputs + k] - mean;
  }
}

/* Work of some samples, and where the draws of one lie. */
typedef struct {
  PetscInt      samples, draws, pitch;
  REAL         *drawn, *sign, *scale, *zp, *g; /* of all samples, but for sign and scale */
  const REAL   *xi;
  PetscReal    *a, *C, *q, *c;
  unsigned int *bits;
  PetscInt      words; /* of a sample */
} NAME(Room);

static PetscErrorCode NAME(TakeRoom)(KalLayered *layered, PetscInt width, PetscInt outputs, PetscInt samples, NAME(Room) * room)
{
  const size_t    N = (size_t)layered->N, o = (size_t)outputs, small = N * o + o * o + o + N;
  const PetscBool orthogonal = (PetscBool)(layered->draws == KAL_DRAWS_ORTHOGONAL);
  size_t          drawn, bits;

  PetscFunctionBeginUser;
  room->draws   = KalLayeredDraws(layered);
  room->pitch   = orthogonal ? room->draws - 1 + layered->widest : width;
  room->samples = PetscMin(samples, PetscMax(1, KAL_LAYERED_NUMBERS / (layered->N * width)));
  room->words   = orthogonal ? 1 + (width + 31) / 32 : (room->draws * width + 31) / 32;
  bits          = (size_t)room->samples * (size_t)room->words / 2 + 1; /* in doubles */
  drawn         = orthogonal ? 0 : (size_t)room->samples * (size_t)room->draws * (size_t)width;
  PetscCall(KalLayeredWork(layered, (small + bits) * sizeof(PetscReal) + (drawn + 2 * (size_t)width + (size_t)room->samples * N * ((size_t)width + o)) * sizeof(REAL)));
  room->a     = (PetscReal *)layered->work;
  room->C     = room->a + N * o;
  room->q     = room->C + o * o;
  room->c     = room->q + o;
  room->bits  = (unsigned int *)(room->c + N);
  room->sign  = (REAL *)(room->c + N + bits);
  room->scale = room->sign + width;
  room->zp    = room->scale + width;
  room->g     = room->zp + (size_t)room->samples * N * (size_t)width;
  room->drawn = room->g + (size_t)room->samples * N * o;
  for (PetscInt u = 0; u < width; u++) room->sign[u] = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Draws for some samples of the batch; words of a sample lie behind those of the one before. */
static PetscErrorCode NAME(Draw)(const KalLayered *layered, KalKey key, PetscInt first, PetscInt samples, PetscInt width, NAME(Room) * room)
{
  const PetscInt numbers = room->draws * width;

  PetscFunctionBeginUser;
  if (layered->draws == KAL_DRAWS_NORMAL) PetscCall(DRAW(key, (PetscInt64)first * numbers, (PetscInt64)samples * numbers, room->drawn));
  else PetscCall(KalDrawBits(key, (PetscInt64)first * room->words, (PetscInt64)samples * room->words, room->bits));
  for (PetscInt s = 0; layered->draws == KAL_DRAWS_SIGNS && s < samples; s++) NAME(Signs)
  (numbers, room->bits + (size_t)s * (size_t)room->words, room->drawn + (size_t)s * (size_t)numbers);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where a sample's draws lie. Orthogonal ones are columns of the matrix from a random one on, with random signs. */
static void NAME(TakeSample)(const KalLayered *layered, PetscInt sample, PetscInt width, REAL spread, NAME(Room) * room)
{
  const unsigned int *bits = room->bits + (size_t)sample * (size_t)room->words;

  if (layered->draws == KAL_DRAWS_ORTHOGONAL) {
    room->xi = (const REAL *)layered->hadamard + bits[0] % (unsigned int)(room->draws - 1);
    NAME(Signs)
    (width, bits + 1, room->sign);
  } else room->xi = room->drawn + (size_t)sample * (size_t)room->draws * (size_t)width;
  for (PetscInt u = 0; u < width; u++) room->scale[u] = spread * room->sign[u];
}

/* Coefficients of the draws of one sample: anomalies of what they predict along the weighted residual. */
static PetscErrorCode NAME(Coefficients)(const KalLayered *layered, const KalPerturbed *p, PetscInt sample, PetscInt outputs, const REAL *g, const NAME(Room) * room)
{
  const PetscInt  N = layered->N, at = sample * outputs;
  const PetscReal divisor = KalLayeredDivisor(layered);
  const PetscReal factor  = layered->variant == KAL_LAYERED_KALMAN ? p->spread / divisor : 1.0 / (divisor * p->spread);

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(room->q, p->r + at, outputs));
  if (layered->variant == KAL_LAYERED_KALMAN) {
    NAME(Anomalies)
    (N, outputs, g, room->a);
    for (PetscInt k = 0; k < outputs * outputs; k++) room->C[k] = 0.0;
    for (PetscInt j = 0; j < N; j++) {
      const PetscReal *a = room->a + j * outputs;

      for (PetscInt k = 0; k < outputs; k++) {
        for (PetscInt i = 0; i < outputs; i++) room->C[k * outputs + i] += a[k] * a[i] / divisor;
      }
    }
    PetscCall(KalLayeredWeigh(outputs, p->d + at, p->v + at, room->C, layered->damping, room->q));
  }
  NAME(Project)
  (N, outputs, room->q, factor, g, room->c);
  for (PetscInt j = 0; layered->antithetic && j < N / 2; j++) room->c[j] = room->c[2 * j] - room->c[2 * j + 1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NAME(Increments)(KalAnalysis analysis, const KalPerturbed *p, const void *states, void *increments)
{
  KalLayered    *layered = (KalLayered *)analysis->data;
  const PetscInt width = layered->width[p->stage], outputs = layered->width[layered->stages], N = layered->N;
  const REAL    *z     = (const REAL *)states;
  REAL          *delta = (REAL *)increments;
  NAME(Room)
  room = {0};

  PetscFunctionBeginUser;
  PetscCall(NAME(TakeRoom)(layered, width, outputs, p->to - p->from, &room));
  for (PetscInt s = p->from, taken; s < p->to; s += taken) {
    taken = PetscMin(room.samples, p->to - s);
    PetscCall(NAME(Draw)(layered, p->key, s, taken, width, &room));
    for (PetscInt i = 0; i < taken; i++) {
      NAME(TakeSample)
      (layered, i, width, (REAL)p->spread, &room);
      NAME(Perturb)
      (width, room.draws, room.pitch, layered->antithetic, room.scale, z + (size_t)(s + i) * (size_t)width, room.xi, room.zp + (size_t)i * (size_t)(N * width));
    }
    PetscCall(analysis->layers.advance(analysis->layers.ctx, p->x, p->stage, layered->stages, taken * N, room.zp, room.g));
    for (PetscInt i = 0; i < taken; i++) {
      NAME(TakeSample)
      (layered, i, width, (REAL)p->spread, &room);
      PetscCall(NAME(Coefficients)(layered, p, s + i - p->from, outputs, room.g + (size_t)i * (size_t)(N * outputs), &room));
      NAME(Combine)
      (width, room.draws, room.pitch, room.c, room.sign, room.xi, delta + (size_t)(s + i) * (size_t)width);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some features of some rows side by side, with the constant that meets the bias behind the last; zeros beyond. */
static void NAME(PackFeatures)(const KalLayer *layer, PetscInt rows, PetscInt first, PetscInt height, const REAL *features, REAL *panel)
{
  const PetscInt taken = PetscMax(0, PetscMin(height, layer->features - first));

  for (PetscInt k = 0; k < rows; k++, panel += height, features += layer->features) {
    if (taken) memcpy(panel, features + first, (size_t)taken * sizeof *panel);
    for (PetscInt i = taken; i < height; i++) panel[i] = layer->biased && first + i == layer->features ? 1 : 0;
  }
}

/* Sums over rows of delta_u f, for the units of some panels. `delta` is readable for a panel's width beyond its end. */
static void NAME(Regress)(const KalLayer *layer, PetscInt rows, const void *f, const void *d, PetscInt from, PetscInt to, void *work, void *increments)
{
  const KalPanels     *kernels = KalPanelsGet();
  const KalPanelWidth *kernel  = KalPanelsChoose(kernels, layer->units);
  const PetscInt       height = kernels->HEIGHT, pitch = KalLayeredPitch(layer, height);
  const REAL          *features = (const REAL *)f, *delta = (const REAL *)d;
  REAL                *panel = (REAL *)work, *increment = (REAL *)increments;

  for (PetscInt k = 0; k < rows; k += KAL_LAYERED_ROWS) {
    const PetscInt taken = PetscMin(KAL_LAYERED_ROWS, rows - k);

    for (PetscInt i = 0; i < pitch; i += height) {
      NAME(PackFeatures)
      (layer, taken, i, height, features + (size_t)k * (size_t)layer->features, panel);
      for (PetscInt p = from; p < to; p++) kernel->PRODUCT(taken, panel, delta + (size_t)k * (size_t)layer->units + (size_t)(p * kernel->width), layer->units, (PetscBool)(k > 0), increment + (size_t)(p * kernel->width) * (size_t)pitch + i, (size_t)pitch);
    }
  }
}

KAL_WIDER static void NAME(MoveUnit)(PetscInt count, PetscReal factor, const PetscReal keep[2], PetscReal floor, const PetscReal correction[2], PetscReal step, PetscReal shrink, const REAL *g, PetscScalar *restrict x, PetscScalar *restrict first, PetscScalar *restrict second)
{
  const PetscReal k1 = keep[0], k2 = keep[1], step1 = step * correction[0], c2 = correction[1];

  for (PetscInt i = 0; i < count; i++) {
    const PetscReal gi = factor * (PetscReal)g[i];
    const PetscReal m = k1 * first[i] + (1.0 - k1) * gi, v = k2 * second[i] + (1.0 - k2) * gi * gi;

    first[i]  = m;
    second[i] = v;
    x[i]      = shrink * x[i] - step1 * m / (sqrt(c2 * v) + floor);
  }
}

static void NAME(Moments)(const KalLayer *layer, const KalLayered *layered, PetscReal factor, PetscReal step, const PetscReal correction[2], const void *increments, KalNetwork *network)
{
  const PetscInt  pitch = KalLayeredPitch(layer, KalPanelsGet()->HEIGHT), F = layer->features;
  const PetscReal keep[2] = {layered->first, layered->second}, shrink = 1.0 - step * layered->decay;
  const REAL     *g = (const REAL *)increments;

  for (PetscInt u = 0; u < layer->units; u++, g += pitch) {
    const PetscInt64 at = layer->offset + (PetscInt64)u * F, bias = layer->offset + (PetscInt64)layer->units * F + u;

    NAME(MoveUnit)
    (F, factor, keep, layered->floor, correction, step, shrink, g, network->x + at, network->first + at, network->second + at);
    if (layer->biased) NAME(MoveUnit)
    (1, factor, keep, layered->floor, correction, step, 1.0, g + F, network->x + bias, network->first + bias, network->second + bias);
  }
}

static void NAME(Get)(PetscInt count, const void *from, PetscReal *to)
{
  for (PetscInt i = 0; i < count; i++) to[i] = (PetscReal)((const REAL *)from)[i];
}

static void NAME(Put)(PetscInt count, const PetscReal *from, void *to)
{
  for (PetscInt i = 0; i < count; i++) ((REAL *)to)[i] = (REAL)from[i];
}

/* Standard deviation of some states about their mean. */
static void NAME(Spread)(PetscInt count, const void *states, PetscReal *spread)
{
  const REAL *z   = (const REAL *)states;
  PetscReal   sum = 0.0, squares = 0.0;

  for (PetscInt i = 0; i < count; i++) sum += (PetscReal)z[i];
  sum /= count;
  for (PetscInt i = 0; i < count; i++) squares += ((PetscReal)z[i] - sum) * ((PetscReal)z[i] - sum);
  *spread = PetscSqrtReal(squares / count);
}

const KalLayeredKernels NAME(KalLayered) = {NAME(Increments), NAME(Regress), NAME(Moments), NAME(Get), NAME(Put), NAME(Hadamard), NAME(Spread)};

#undef REAL
#undef NAME
#undef PRODUCT
#undef HEIGHT
#undef DRAW
