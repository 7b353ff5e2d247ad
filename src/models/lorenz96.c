/*
  The model "lorenz96": n places on a circle, RK4.

  Short states are advanced KAL_LANES members at a time, side by side; copies of the circle's ends before and behind make the inner loop
  one over all numbers, without a modulo and without a remainder. Longer ones are advanced one by one and piece by piece, each
  with the neighbours that its four stages look at, so that work space stays in the cache however long the state is. Both do the
  same operations on a place's numbers; which it is follows from the size alone.
*/
#include <models/lorenz96.h>

#include <string.h>

#define BEFORE      2    /* places that a tendency looks back, ... */
#define BEHIND      1    /* ... and ahead */
#define STAGES      4    /* of a step */
#define LANE_PLACES 128  /* longest state that is advanced side by side with others */
#define PIECE       1024 /* places of a piece of a longer one */

static PetscErrorCode KalModelSetFromOptions_Lorenz96(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalLorenz96 *lorenz = (KalLorenz96 *)model->data;
  PetscBool    mean, spread;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model lorenz96: a quantity on a circle of latitude");
  PetscCall(PetscOptionsInt("-lorenz96_size", "places on the circle", "KALMODELLORENZ96", lorenz->places, &lorenz->places, NULL));
  PetscCall(PetscOptionsReal("-lorenz96_forcing", "forcing, of the truth and of members that do not estimate it", "KALMODELLORENZ96", lorenz->forcing, &lorenz->forcing, NULL));
  PetscCall(PetscOptionsReal("-lorenz96_step", "time step", "KALMODELLORENZ96", lorenz->step, &lorenz->step, NULL));
  PetscCall(PetscOptionsReal("-lorenz96_mean_first", "mean of entry 0 of the initial members; that of the others is 0", "KALMODELLORENZ96", lorenz->first, &lorenz->first, NULL));
  PetscCall(PetscOptionsReal("-lorenz96_variance", "variance of each place of the initial members", "KALMODELLORENZ96", lorenz->variance, &lorenz->variance, NULL));
  PetscCall(PetscOptionsBool("-lorenz96_estimate_forcing", "the forcing is an entry more of the state, unknown", "KALMODELLORENZ96", lorenz->estimate, &lorenz->estimate, NULL));
  PetscCall(PetscOptionsBool("-lorenz96_tangent_frozen", "the tangent is that of the state it starts from, all the way", "KALMODELLORENZ96", lorenz->frozen, &lorenz->frozen, NULL));
  lorenz->prior_mean = lorenz->forcing;
  PetscCall(PetscOptionsReal("-lorenz96_forcing_mean", "mean of the initial members' forcing, where it is estimated", "KALMODELLORENZ96", lorenz->prior_mean, &lorenz->prior_mean, &mean));
  PetscCall(PetscOptionsReal("-lorenz96_forcing_spread", "standard deviation of the initial members' forcing, where it is estimated", "KALMODELLORENZ96", lorenz->prior_spread, &lorenz->prior_spread, &spread));
  PetscCheck(lorenz->estimate || (!mean && !spread), model->comm, PETSC_ERR_ARG_INCOMP, "-lorenz96_forcing_mean and -lorenz96_forcing_spread are of a forcing that is estimated; give -lorenz96_estimate_forcing too, or leave them out");
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckOptions(KalModel model, const KalLorenz96 *lorenz)
{
  PetscFunctionBeginUser;
  PetscCheck(lorenz->places >= 4, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-lorenz96_size %" PetscInt_FMT ": the circle has at least 4 places", lorenz->places);
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz96_forcing", lorenz->forcing, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz96_step", lorenz->step, 0.0, PETSC_TRUE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz96_mean_first", lorenz->first, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz96_variance", lorenz->variance, 0.0, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz96_forcing_mean", lorenz->prior_mean, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz96_forcing_spread", lorenz->prior_spread, 0.0, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool SideBySide(const KalLorenz96 *lorenz)
{
  return lorenz->places <= LANE_PLACES ? PETSC_TRUE : PETSC_FALSE;
}

/* Numbers of the work space's arrays, and what is before the first of them: whole lines. */
static size_t Count(const KalLorenz96 *lorenz)
{
  return SideBySide(lorenz) ? (size_t)lorenz->places * KAL_LANES : PIECE;
}

#define MARGIN (BEFORE * KAL_LANES > BEFORE * STAGES ? BEFORE * KAL_LANES : BEFORE * STAGES)

static PetscErrorCode KalModelSetUp_Lorenz96(KalModel model)
{
  KalLorenz96 *lorenz = (KalLorenz96 *)model->data;
  const size_t padded = Count(lorenz) + 2 * MARGIN;
  PetscScalar *start;

  PetscFunctionBeginUser;
  PetscCall(CheckOptions(model, lorenz));
  PetscCall(KalDynamicsSetUp_Private(model, (PetscInt64)lorenz->places + lorenz->estimate, lorenz->step));
  PetscCall(PetscFree(lorenz->memory));
  PetscCall(KalDynamicsAllocate_Private(5 * padded, &lorenz->memory, &start));
  lorenz->x     = start + MARGIN;
  lorenz->now   = lorenz->x + padded;
  lorenz->next  = lorenz->now + padded;
  lorenz->sum   = lorenz->next + padded;
  lorenz->force = lorenz->sum + padded;
  for (size_t i = 0; i < padded - MARGIN; i++) lorenz->force[i] = lorenz->forcing;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_Lorenz96(KalModel model, KalKey key, PetscScalar *x)
{
  const KalLorenz96 *lorenz = (const KalLorenz96 *)model->data;
  const PetscInt     n      = lorenz->places;

  PetscFunctionBeginUser;
  PetscCall(KalDynamicsDraw_Private(key, n, NULL, lorenz->variance, x));
  x[0] += lorenz->first;
  if (!lorenz->estimate) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalDrawNormal(key, n, 1, &x[n]));
  x[n] = key.purpose == KAL_DRAW_TRUTH ? lorenz->forcing : lorenz->prior_mean + lorenz->prior_spread * x[n];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_Lorenz96(KalModel model, PetscReal *spread)
{
  const KalLorenz96 *lorenz = (const KalLorenz96 *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < lorenz->places; i++) spread[i] = PetscSqrtReal(lorenz->variance);
  if (lorenz->estimate) spread[lorenz->places] = lorenz->prior_spread;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Copies the ends of n places of `lanes` numbers to where the other end's neighbours are looked up. */
static inline void Close(size_t n, size_t lanes, PetscScalar *x)
{
  const size_t all = n * lanes;

  for (size_t i = 0; i < BEFORE * lanes; i++) (x - BEFORE * lanes)[i] = x[all - BEFORE * lanes + i];
  for (size_t i = 0; i < BEHIND * lanes; i++) x[all + i] = x[i];
}

/* dx_i/dt of number k, whose neighbours are s numbers away. */
#define TENDENCY(t) (((t)[k + s] - (t)[k - 2 * s]) * (t)[k - s] - (t)[k] + force[k])

/* The four stages: the tendency at `now`, the weighted sum of tendencies, the state that the next stage looks at. */
KAL_WIDER static void FirstStage(ptrdiff_t count, ptrdiff_t s, PetscReal factor, const PetscScalar *x, const PetscScalar *force, PetscScalar *restrict sum, PetscScalar *restrict next)
{
  for (ptrdiff_t k = 0; k < count; k++) {
    const PetscScalar dx = TENDENCY(x);

    sum[k]  = dx;
    next[k] = x[k] + factor * dx;
  }
}

KAL_WIDER static void MiddleStage(ptrdiff_t count, ptrdiff_t s, PetscReal factor, const PetscScalar *x, const PetscScalar *now, const PetscScalar *force, PetscScalar *restrict sum, PetscScalar *restrict next)
{
  for (ptrdiff_t k = 0; k < count; k++) {
    const PetscScalar dx = TENDENCY(now);

    sum[k] += 2.0 * dx;
    next[k] = x[k] + factor * dx;
  }
}

KAL_WIDER static void LastStage(ptrdiff_t count, ptrdiff_t s, PetscReal sixth, const PetscScalar *now, const PetscScalar *force, const PetscScalar *sum, PetscScalar *restrict x)
{
  for (ptrdiff_t k = 0; k < count; k++) {
    const PetscScalar dx = TENDENCY(now);

    x[k] += sixth * (sum[k] + dx);
  }
}

/* Some steps of the members side by side in lorenz->x. */
static void AdvanceGroup(const KalLorenz96 *lorenz, PetscInt steps)
{
  const size_t    n     = (size_t)lorenz->places;
  const ptrdiff_t count = (ptrdiff_t)n * KAL_LANES;
  const PetscReal step  = lorenz->step;

  for (PetscInt k = 0; k < steps; k++) {
    Close(n, KAL_LANES, lorenz->x);
    FirstStage(count, KAL_LANES, 0.5 * step, lorenz->x, lorenz->force, lorenz->sum, lorenz->now);
    Close(n, KAL_LANES, lorenz->now);
    MiddleStage(count, KAL_LANES, 0.5 * step, lorenz->x, lorenz->now, lorenz->force, lorenz->sum, lorenz->next);
    Close(n, KAL_LANES, lorenz->next);
    MiddleStage(count, KAL_LANES, step, lorenz->x, lorenz->next, lorenz->force, lorenz->sum, lorenz->now);
    Close(n, KAL_LANES, lorenz->now);
    LastStage(count, KAL_LANES, step / 6.0, lorenz->now, lorenz->force, lorenz->sum, lorenz->x);
  }
}

/* A step of `count` places of lorenz->x, with 4 BEFORE places before and 4 BEHIND places behind: each stage has fewer neighbours. */
static void AdvancePiece(const KalLorenz96 *lorenz, ptrdiff_t count)
{
  const ptrdiff_t before = BEFORE, all = BEFORE + BEHIND;
  const PetscReal step = lorenz->step;

  FirstStage(count + 3 * all, 1, 0.5 * step, lorenz->x - 3 * before, lorenz->force, lorenz->sum - 3 * before, lorenz->now - 3 * before);
  MiddleStage(count + 2 * all, 1, 0.5 * step, lorenz->x - 2 * before, lorenz->now - 2 * before, lorenz->force, lorenz->sum - 2 * before, lorenz->next - 2 * before);
  MiddleStage(count + all, 1, step, lorenz->x - before, lorenz->next - before, lorenz->force, lorenz->sum - before, lorenz->now - before);
  LastStage(count, 1, step / 6.0, lorenz->now, lorenz->force, lorenz->sum, lorenz->x);
}

/* Some steps of one member. What a piece overwrites and others look at is put by: the state's head, and the end of the piece before. */
static void AdvanceLong(const KalLorenz96 *lorenz, PetscInt steps, PetscScalar *x)
{
  enum { left  = STAGES * BEFORE,
         right = STAGES * BEHIND };
  const PetscInt n = lorenz->places;
  PetscScalar    head[right], tail[left];

  for (PetscInt s = 0; s < steps; s++) {
    memcpy(head, x, sizeof head);
    memcpy(tail, x + n - left, sizeof tail);
    for (PetscInt at = 0; at < n; at += PetscMin(PIECE, n - at)) {
      const PetscInt count = PetscMin(PIECE, n - at);

      memcpy(lorenz->x - left, tail, sizeof tail);
      memcpy(lorenz->x, x + at, (size_t)count * sizeof *x);
      for (PetscInt i = 0; i < right; i++) lorenz->x[count + i] = i < n - at - count ? x[at + count + i] : head[i - (n - at - count)];
      memcpy(tail, lorenz->x + count - left, sizeof tail);
      AdvancePiece(lorenz, count);
      memcpy(x + at, lorenz->x, (size_t)count * sizeof *x);
    }
  }
}

/* The forcing of each member of a group, at every place. */
static void GatherForcing(const KalLorenz96 *lorenz, const KalColumns *columns, PetscInt first)
{
  const PetscInt n = lorenz->places;

  for (PetscInt l = 0; l < KAL_LANES; l++) {
    const PetscScalar forcing = first + l < columns->count ? columns->column[first + l][n] : 0.0;

    for (PetscInt i = 0; i < n; i++) lorenz->force[(size_t)i * KAL_LANES + (size_t)l] = forcing;
  }
}

static PetscErrorCode KalModelPropagate_Lorenz96(KalModel model, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *columns, KalStatus *status)
{
  const KalLorenz96 *lorenz = (const KalLorenz96 *)model->data;
  const PetscInt     n      = lorenz->places;
  const PetscBool    side   = SideBySide(lorenz);
  PetscInt           steps;

  PetscFunctionBeginUser;
  (void)parameters;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  for (PetscInt k = 0; side && k < columns->count; k += KAL_LANES) {
    if (lorenz->estimate) GatherForcing(lorenz, columns, k);
    KalLanesGather_Private(columns, k, n, lorenz->x);
    AdvanceGroup(lorenz, steps);
    KalLanesScatter_Private(lorenz->x, k, n, columns);
  }
  for (PetscInt k = 0; !side && k < columns->count; k++) {
    for (size_t i = 0; lorenz->estimate && i < PIECE + MARGIN; i++) lorenz->force[i] = columns->column[k][n];
    AdvanceLong(lorenz, steps, columns->column[k]);
  }
  PetscCall(KalDynamicsMark_Private(columns, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The states of a step's four stages, and where it ends; each array has room for the copied ends. */
static void Stages(const KalLorenz96 *lorenz, PetscReal forcing, PetscScalar *x, PetscScalar *stage[4], PetscScalar *sum)
{
  const size_t    n         = (size_t)lorenz->places;
  const PetscReal factor[4] = {0.5 * lorenz->step, 0.5 * lorenz->step, lorenz->step, 0.0}, weight[4] = {1.0, 2.0, 2.0, 1.0};

  for (size_t i = 0; i < n; i++) {
    stage[0][i] = x[i];
    sum[i]      = 0.0;
  }
  for (int r = 0; r < 4; r++) {
    Close(n, 1, stage[r]);
    for (ptrdiff_t i = 0; i < (ptrdiff_t)n; i++) {
      const PetscScalar *t  = stage[r];
      const PetscScalar  dx = (t[i + 1] - t[i - 2]) * t[i - 1] - t[i] + forcing;

      sum[i] += weight[r] * dx;
      if (r < 3) stage[r + 1][i] = x[i] + factor[r] * dx;
    }
  }
  for (size_t i = 0; i < n; i++) x[i] += lorenz->step / 6.0 * sum[i];
}

/* The stages of a state that stays as it is. */
static void Freeze(const KalLorenz96 *lorenz, const PetscScalar *x, PetscScalar *stage[4])
{
  for (int r = 0; r < 4; r++) {
    for (PetscInt i = 0; i < lorenz->places; i++) stage[r][i] = x[i];
    Close((size_t)lorenz->places, 1, stage[r]);
  }
}

/* A step of one departure d, with that of the forcing; e[2] and sum are work space. */
KAL_WIDER static void Depart(const KalLorenz96 *lorenz, PetscScalar *const stage[4], PetscScalar dforcing, PetscScalar *d, PetscScalar *const e[2], PetscScalar *restrict sum)
{
  const ptrdiff_t n         = lorenz->places;
  const PetscReal factor[4] = {0.5 * lorenz->step, 0.5 * lorenz->step, lorenz->step, 0.0}, weight[4] = {1.0, 2.0, 2.0, 1.0};

  for (ptrdiff_t i = 0; i < n; i++) {
    e[0][i] = d[i];
    sum[i]  = 0.0;
  }
  for (int r = 0; r < 4; r++) {
    const PetscScalar *t = stage[r], *now = e[r % 2];
    PetscScalar *restrict next = e[(r + 1) % 2];

    Close((size_t)n, 1, e[r % 2]);
    for (ptrdiff_t i = 0; i < n; i++) {
      const PetscScalar dx = (now[i + 1] - now[i - 2]) * t[i - 1] + (t[i + 1] - t[i - 2]) * now[i - 1] - now[i] + dforcing;

      sum[i] += weight[r] * dx;
      next[i] = d[i] + factor[r] * dx;
    }
  }
  for (ptrdiff_t i = 0; i < n; i++) d[i] += lorenz->step / 6.0 * sum[i];
}

static PetscErrorCode KalModelTangent_Lorenz96(KalModel model, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  const KalLorenz96 *lorenz  = (const KalLorenz96 *)model->data;
  const PetscInt     n       = lorenz->places;
  const size_t       padded  = (size_t)n + BEFORE + BEHIND;
  const PetscReal    forcing = lorenz->estimate ? x[n] : lorenz->forcing;
  PetscScalar       *memory, *array[8]; /* state, four stages, two of a departure, a sum */
  PetscInt           steps;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  PetscCall(PetscMalloc1(8 * padded, &memory));
  for (int a = 0; a < 8; a++) array[a] = memory + (size_t)a * padded + BEFORE;
  PetscCall(PetscArraycpy(array[0], x, n));
  for (PetscInt s = 0; s < steps; s++) {
    if (lorenz->frozen) Freeze(lorenz, array[0], &array[1]);
    else Stages(lorenz, forcing, array[0], &array[1], array[7]);
    for (PetscInt k = 0; k < columns; k++) {
      PetscScalar *d = dx + (size_t)k * (size_t)model->size;

      Depart(lorenz, &array[1], lorenz->estimate ? d[n] : 0.0, d, &array[5], array[7]);
    }
  }
  PetscCall(PetscFree(memory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* dx/dt; that of an estimated forcing is 0. */
static PetscErrorCode KalModelTendency_Lorenz96(KalModel model, const PetscScalar *x, PetscScalar *dx)
{
  const KalLorenz96 *lorenz = (const KalLorenz96 *)model->data;
  const PetscInt     n      = lorenz->places;
  const PetscScalar  force  = lorenz->estimate ? x[n] : lorenz->forcing;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) dx[i] = (x[i + 1 < n ? i + 1 : 0] - x[i > 1 ? i - 2 : i - 2 + n]) * x[i > 0 ? i - 1 : n - 1] - x[i] + force;
  if (lorenz->estimate) dx[n] = 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelTendencyAdjoint_Lorenz96(KalModel model, const PetscScalar *x, const PetscScalar *s, PetscScalar *g)
{
  const KalLorenz96 *lorenz = (const KalLorenz96 *)model->data;
  const PetscInt     n      = lorenz->places;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) {
    const PetscInt ahead = i + 1 < n ? i + 1 : 0, before = i > 0 ? i - 1 : n - 1, back = i > 1 ? i - 2 : i - 2 + n;

    g[ahead] += s[i] * x[before];
    g[back] -= s[i] * x[before];
    g[before] += s[i] * (x[ahead] - x[back]);
    g[i] -= s[i];
    if (lorenz->estimate) g[n] += s[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLocate_Lorenz96(KalModel model, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  const KalLorenz96 *lorenz = (const KalLorenz96 *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < count; k++) {
    if (entries[k] < lorenz->places) coordinates[(size_t)k * KAL_DIMENSIONS] = (PetscReal)entries[k];
    else kinds[k] = -1;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDomain_Lorenz96(KalModel model, KalDomain *domain)
{
  PetscFunctionBeginUser;
  domain->dimension = 1;
  domain->length[0] = (PetscReal)((const KalLorenz96 *)model->data)->places;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_Lorenz96(KalModel model, size_t size, char *text)
{
  const KalLorenz96 *lorenz = (const KalLorenz96 *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, size, "lorenz96 %" PetscInt_FMT " forcing %.15g step %.15g%s", lorenz->places, (double)lorenz->forcing, (double)lorenz->step, lorenz->estimate ? " estimated forcing" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_Lorenz96(KalModel model, PetscInt samples, PetscReal *bytes)
{
  const KalLorenz96 *lorenz = (const KalLorenz96 *)model->data;

  PetscFunctionBeginUser;
  (void)samples;
  *bytes = 5.0 * (PetscReal)(Count(lorenz) + 2 * MARGIN) * sizeof(PetscScalar);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_Lorenz96(KalModel model, PetscViewer viewer)
{
  const KalLorenz96 *lorenz = (const KalLorenz96 *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " places, forcing %g, time step %g (RK4)\n", lorenz->places, (double)lorenz->forcing, (double)lorenz->step));
  PetscCall(PetscViewerASCIIPrintf(viewer, "initial members about (%g, 0, ...), variance %g\n", (double)lorenz->first, (double)lorenz->variance));
  if (lorenz->estimate) PetscCall(PetscViewerASCIIPrintf(viewer, "forcing estimated; initial members' mean %g, sd %g\n", (double)lorenz->prior_mean, (double)lorenz->prior_spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_Lorenz96(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(((KalLorenz96 *)model->data)->memory));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELLORENZ96 - "lorenz96", Lorenz's chaotic quantity on a circle of latitude, of any size and forcing

   Options Database Keys:
+  -lorenz96_size <40> - places on the circle, at least 4
.  -lorenz96_forcing <8> - forcing F, of the truth and of members that do not estimate it
.  -lorenz96_step <0.05> - time step
.  -lorenz96_mean_first <1> - mean of entry 0 of the initial members; that of the others is 0
.  -lorenz96_variance <0.001> - variance of each place of the initial members
.  -lorenz96_estimate_forcing <false> - the state has one entry more, the member's forcing
.  -lorenz96_forcing_mean <the forcing> - mean of the initial members' forcing, where it is estimated
.  -lorenz96_tangent_frozen <false> - the tangent is that of the state it starts from, all the way
-  -lorenz96_forcing_spread <1> - standard deviation of the initial members' forcing, where it is estimated

   Notes:
   dx_i/dt = (x_(i+1) - x_(i-2)) x_(i-1) - x_i + F with i modulo n, by the classical Runge-Kutta scheme of order 4. The unit
   of time is the dissipation's, usually read as 5 days: the default step is 6 hours.

   Entry i of a member's start is mean_i + sqrt(variance) z_i, z_i the i-th normal number of its key. Entry i lies at
   coordinate i of a circle of length n. An estimated forcing is constant in time, has no place (kind -1), is drawn with
   number n of the key, and in the truth of a twin experiment (a key of KAL_DRAW_TRUTH) is -lorenz96_forcing exactly. The
   tangent is that of the discrete scheme along the trajectory, or, frozen, that of the state it starts from, by the same
   scheme: DAPPER's, which its extended Kalman filter's published score belongs to.

   Source: Lorenz, Predictability - a problem partly solved, Seminar on Predictability, ECMWF (1996), eq. 1. The defaults
   are those of Sakov and Oke, A deterministic formulation of the ensemble Kalman filter, Tellus 60A (2008), and of the
   scores published for it.
M*/
PetscErrorCode KalModelCreate_Lorenz96(KalModel model)
{
  KalLorenz96 *lorenz;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&lorenz));
  lorenz->places             = 40;
  lorenz->forcing            = 8.0;
  lorenz->step               = 0.05;
  lorenz->first              = 1.0;
  lorenz->variance           = 0.001;
  lorenz->prior_mean         = 8.0;
  lorenz->prior_spread       = 1.0;
  model->data                = lorenz;
  model->ops.setfromoptions  = KalModelSetFromOptions_Lorenz96;
  model->ops.setup           = KalModelSetUp_Lorenz96;
  model->ops.initial         = KalModelInitial_Lorenz96;
  model->ops.spread          = KalModelSpread_Lorenz96;
  model->ops.propagate       = KalModelPropagate_Lorenz96;
  model->ops.tangent         = KalModelTangent_Lorenz96;
  model->ops.tendency        = KalModelTendency_Lorenz96;
  model->ops.tendencyadjoint = KalModelTendencyAdjoint_Lorenz96;
  model->ops.locate          = KalModelLocate_Lorenz96;
  model->ops.domain          = KalModelDomain_Lorenz96;
  model->ops.layout          = KalModelLayout_Lorenz96;
  model->ops.memory          = KalModelMemory_Lorenz96;
  model->ops.view            = KalModelView_Lorenz96;
  model->ops.destroy         = KalModelDestroy_Lorenz96;
  PetscFunctionReturn(PETSC_SUCCESS);
}
