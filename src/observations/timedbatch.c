/* The observations of one time: as a batch, whitened, and their loss. */
#include "timed.h"

/* What one cycle's rows are, counted from its own first entry. */
static void Rows(KalTimed *t, PetscInt first, PetscInt p)
{
  t->linear = (KalLinear){.rows = p, .entry = t->entry + first, .weight = t->weight ? t->weight + first : NULL};
  if (!t->start_row) return;
  for (PetscInt i = 0; i <= p; i++) t->rows[i] = t->start_row[first + i] - t->start_row[first];
  t->linear.start  = t->rows;
  t->linear.entry  = t->entry + t->start_row[first];
  t->linear.weight = t->weight ? t->weight + t->start_row[first] : NULL;
}

PetscErrorCode KalTimedNext(KalObservations obs, PetscInt cycle, KalBatch *batch)
{
  KalTimed      *t     = obs->timed;
  const PetscInt first = t->offset && cycle < t->cycles ? t->offset[cycle] : 0;

  PetscFunctionBeginUser;
  *batch           = (KalBatch){0};
  batch->timed     = PETSC_TRUE;
  batch->outputs   = 1;
  batch->epoch     = cycle;
  batch->precision = obs->precision;
  PetscCall(KalObservationsGetTime(obs, cycle, &batch->to));
  PetscCall(KalObservationsGetTime(obs, cycle - 1, &batch->from));
  batch->samples = t->offset ? t->offset[cycle + 1] - first : t->size.m;
  if (t->entry) {
    if (t->offset || !t->linear.rows) Rows(t, first, batch->samples);
    batch->linear = &t->linear;
  }
  batch->target   = t->value ? t->value + first : NULL;
  batch->error    = t->error + first;
  batch->root     = t->root;
  batch->location = t->location ? t->location + (size_t)KAL_DIMENSIONS * (size_t)first : NULL;
  batch->kind     = t->kind ? t->kind + first : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscBool Takes(const KalStatus *status, PetscInt j)
{
  return !status || status[j] == KAL_MEMBER_OK ? PETSC_TRUE : PETSC_FALSE;
}

/* The mean of the members that take part, summed in their order. */
static void Mean(const KalWhitening *w, PetscScalar *restrict mean)
{
  const PetscInt rows = w->rows->count;

  for (PetscInt i = 0; i < rows; i++) mean[i] = 0.0;
  for (PetscInt j = 0; j < w->members; j++) {
    const PetscScalar *restrict g = w->rows->x[0] + (size_t)j * (size_t)w->rows->ld[0];

    if (!Takes(w->status, j)) continue;
    for (PetscInt i = 0; i < rows; i++) mean[i] += g[i];
  }
  for (PetscInt i = 0; i < rows; i++) mean[i] /= (PetscReal)w->active;
}

/* Empties the rows of observations that are too far from their predictions, measured in units of their errors. */
static void Reject(PetscReal k, KalWhitening *w, PetscScalar *restrict variance)
{
  const PetscInt  rows = w->rows->count;
  const PetscReal unit = 1.0 / (w->scale * w->scale * (PetscReal)PetscMax(w->active - 1, 1));

  for (PetscInt i = 0; i < rows; i++) variance[i] = 0.0;
  for (PetscInt j = 0; j < w->members; j++) {
    const PetscScalar *restrict a = w->anomalies + (size_t)j * (size_t)rows;

    for (PetscInt i = 0; i < rows; i++) variance[i] += a[i] * a[i];
  }
  for (PetscInt i = 0; i < rows; i++) {
    if (!(w->residual[i] * w->residual[i] > k * k * (1.0 + unit * variance[i]))) continue;
    w->rejected++;
    w->residual[i] = 0.0;
    for (PetscInt j = 0; j < w->members; j++) {
      w->anomalies[i + (size_t)j * (size_t)rows] = 0.0;
      if (w->residuals) w->residuals[i + (size_t)j * (size_t)rows] = 0.0;
    }
  }
}

/* Rows divided by their errors; see KalObservationsWhiten(). `work` has room for 4 rows. */
void KalTimedWhiten(KalObservations obs, const KalBatch *batch, KalWhitening *w, PetscScalar *work)
{
  const PetscInt rows                = w->rows->count;
  const size_t   ld                  = (size_t)w->rows->ld[0];
  const PetscScalar *restrict target = batch->target + w->rows->first;
  PetscScalar *restrict const mean = work, *restrict const inverse = work + rows, *restrict const factor = work + 2 * (size_t)rows;
  PetscScalar *restrict const residual = w->residual;
  const PetscScalar *at;

  Mean(w, mean);
  for (PetscInt i = 0; i < rows; i++) {
    inverse[i] = batch->root ? 1.0 : 1.0 / batch->error[w->rows->first + i];
    factor[i]  = w->scale * inverse[i];
  }
  at = w->center >= 0 ? w->rows->x[0] + (size_t)w->center * ld : mean;
  for (PetscInt i = 0; i < rows; i++) residual[i] = (target[i] - at[i]) * inverse[i];
  for (PetscInt j = 0; j < w->members; j++) {
    const PetscScalar *restrict g = w->rows->x[0] + (size_t)j * ld;
    PetscScalar *restrict a       = w->anomalies + (size_t)j * (size_t)rows;
    PetscScalar *restrict r       = w->residuals ? w->residuals + (size_t)j * (size_t)rows : NULL;

    if (Takes(w->status, j)) {
      for (PetscInt i = 0; i < rows; i++) a[i] = (g[i] - mean[i]) * factor[i];
      if (r)
        for (PetscInt i = 0; i < rows; i++) r[i] = (target[i] - g[i]) * inverse[i];
    } else {
      for (PetscInt i = 0; i < rows; i++) a[i] = 0.0;
      if (r)
        for (PetscInt i = 0; i < rows; i++) r[i] = 0.0;
    }
  }
  if (obs->timed->reject > 0.0) Reject(obs->timed->reject, w, mean);
  w->loss = 0.0;
  for (PetscInt i = 0; i < rows; i++) w->loss += 0.5 * residual[i] * residual[i];
}

/* Half the sum of squares of `count` predictions from row `first` on against their targets, in units of the errors. */
PetscReal KalTimedLoss(const KalBatch *batch, PetscInt first, PetscInt count, const PetscScalar *g)
{
  PetscReal sum = 0.0;

  for (PetscInt i = 0; i < count; i++) {
    const PetscReal r = (batch->target[first + i] - g[i]) / (batch->root ? 1.0 : batch->error[first + i]);

    sum += r * r;
  }
  return 0.5 * sum;
}
