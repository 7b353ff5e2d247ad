/* Paths of a dynamical model: states at all times, and the difference equations between them. */
#include <models/path.h>

/* The time of sample s in steps, a whole number but for rounding. */
static inline PetscReal Steps(const KalPath *path, const KalBatch *batch, PetscInt s)
{
  return ((const double *)batch->input)[s] / path->inner->step;
}

static inline PetscInt StepOf(const KalPath *path, const KalBatch *batch, PetscInt s)
{
  return (PetscInt)PetscFloorReal(Steps(path, batch, s) + 0.5);
}

static PetscErrorCode KalModelInputs_PathTime(KalModel model, const KalBatch *batch, size_t size, char *text)
{
  const KalPath *path = (const KalPath *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < batch->samples; s++) {
    const PetscReal exact = Steps(path, batch, s), whole = PetscFloorReal(exact + 0.5);

    if (whole >= 0.0 && whole <= 1e9 && PetscAbsReal(exact - whole) <= 1e-6 * PetscMax(1.0, whole)) continue;
    PetscCall(PetscSNPrintf(text, size, "A sample is at time %g, %g steps of %g: times of a path are whole numbers of steps from 0 on; use -observations_normalize none if they are so in the data", ((const double *)batch->input)[s], (double)exact, (double)path->inner->step));
    break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_PathTime(KalModel model, KalKey key, PetscScalar *x)
{
  const KalPath *path = (const KalPath *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal(key, 0, model->size, x));
  for (PetscInt i = 0; i < model->size; i++) x[i] = path->mean + path->spread * x[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_PathTime(KalModel model, PetscReal *spread)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < model->size; i++) spread[i] = ((const KalPath *)model->data)->spread;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* States at the samples' times, from the path, or continued from its end. */
static PetscErrorCode Observe(KalModel model, const PetscScalar *x, const KalBatch *batch, PetscScalar *y, KalStatus *status)
{
  KalPath        *path = (KalPath *)model->data;
  const PetscInt  D    = path->inner->size;
  const PetscReal h    = path->inner->step;
  PetscInt        at   = path->steps;
  PetscScalar    *end;
  KalColumns      column = {.first = 0, .count = 1, .total = 1, .size = D, .column = &end};

  PetscFunctionBeginUser;
  PetscCall(KalPathReserve_Private(path, (size_t)D));
  end = path->work;
  PetscCall(PetscArraycpy(end, x + (size_t)path->steps * (size_t)D, D));
  for (PetscInt s = 0; s < batch->samples; s++) {
    const PetscInt     step  = StepOf(path, batch, s);
    const PetscScalar *state = end;

    if (step <= path->steps) state = x + (size_t)step * (size_t)D;
    else {
      if (step < at) {
        PetscCall(PetscArraycpy(end, x + (size_t)path->steps * (size_t)D, D));
        at = path->steps;
      }
      PetscCall(KalModelPropagate(path->inner, NULL, at * h, step * h, &column, status));
      at = step;
    }
    for (PetscInt i = 0; i < model->outputs; i++) y[(size_t)s * (size_t)model->outputs + (size_t)i] = state[path->observed ? path->observed[i] : i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelObserve_PathTime(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  PetscFunctionBeginUser;
  (void)parameters;
  (void)stage;
  for (PetscInt k = 0; k < columns->count; k++) PetscCall(Observe(model, columns->column[k], batch, y[k], &status[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelEquations_PathTime(KalModel model, const KalBatch *batch, PetscInt *measured, PetscInt *dynamics)
{
  const KalPath *path = (const KalPath *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt s = 0; s < batch->samples; s++) {
    const PetscInt step = StepOf(path, batch, s);

    PetscCheck(step <= path->steps, PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP, "Sample %" PetscInt_FMT " is at time step %" PetscInt_FMT ", beyond the path's end at %" PetscInt_FMT ": take a larger -path_steps, or put it into the test set", s, step, path->steps);
  }
  *measured = batch->samples * batch->outputs;
  *dynamics = path->steps * path->inner->size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelResiduals_PathTime(KalModel model, const KalBatch *batch, const PetscScalar *x, PetscScalar *measured, PetscScalar *dynamics)
{
  KalPath           *path = (KalPath *)model->data;
  const KalPathRule *rule = &KalPathRules[path->rule];
  const size_t       D    = (size_t)path->inner->size;
  const PetscReal    h    = path->inner->step;
  PetscScalar       *f;

  PetscFunctionBeginUser;
  PetscCall(Observe(model, x, batch, measured, NULL));
  for (PetscInt i = 0; i < batch->samples * batch->outputs; i++) measured[i] -= batch->target[i];
  PetscCall(KalPathReserve_Private(path, D * (size_t)(path->steps + 1)));
  f = path->work;
  for (PetscInt k = 0; k <= path->steps; k++) PetscCall(KalModelTendency(path->inner, x + D * (size_t)k, f + D * (size_t)k));
  for (PetscInt k = 0; k < path->steps; k++) {
    const PetscInt   first = k - k % rule->span, row = k % rule->span;
    PetscScalar     *r = dynamics + D * (size_t)k;
    const PetscReal *a = rule->state[row], *b = rule->slope[row];

    for (size_t i = 0; i < D; i++) r[i] = 0.0;
    for (PetscInt j = 0; j <= rule->span; j++) {
      const PetscScalar *state = x + D * (size_t)(first + j), *slope = f + D * (size_t)(first + j);

      for (size_t i = 0; i < D; i++) r[i] += a[j] * state[i] + h * b[j] * slope[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelResidualsAdjoint_PathTime(KalModel model, const KalBatch *batch, const PetscScalar *x, const PetscScalar *measured, const PetscScalar *dynamics, PetscScalar *g)
{
  KalPath           *path = (KalPath *)model->data;
  const KalPathRule *rule = &KalPathRules[path->rule];
  const size_t       D    = (size_t)path->inner->size;
  const PetscReal    h    = path->inner->step;
  PetscScalar       *s;

  PetscFunctionBeginUser;
  for (PetscInt m = 0; m < batch->samples; m++) {
    const PetscInt step = StepOf(path, batch, m);

    for (PetscInt i = 0; i < model->outputs; i++) g[(size_t)step * D + (size_t)(path->observed ? path->observed[i] : i)] += measured[(size_t)m * (size_t)model->outputs + (size_t)i];
  }
  PetscCall(KalPathReserve_Private(path, D * (size_t)(path->steps + 1)));
  s = path->work; /* sensitivities to the slopes */
  PetscCall(PetscArrayzero(s, D * (size_t)(path->steps + 1)));
  for (PetscInt k = 0; k < path->steps; k++) {
    const PetscInt     first = k - k % rule->span, row = k % rule->span;
    const PetscScalar *r = dynamics + D * (size_t)k;
    const PetscReal   *a = rule->state[row], *b = rule->slope[row];

    for (PetscInt j = 0; j <= rule->span; j++) {
      PetscScalar *state = g + D * (size_t)(first + j), *slope = s + D * (size_t)(first + j);

      for (size_t i = 0; i < D; i++) {
        state[i] += a[j] * r[i];
        slope[i] += h * b[j] * r[i];
      }
    }
  }
  for (PetscInt k = 0; k <= path->steps; k++) PetscCall(KalModelTendencyAdjoint(path->inner, x + D * (size_t)k, s + D * (size_t)k, g + D * (size_t)k));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalPathTimeSetUp_Private(KalModel model)
{
  KalPath         *path = (KalPath *)model->data;
  const PetscInt   D = path->inner->size, L = path->observed ? path->most : D, span = KalPathRules[path->rule].span;
  const PetscInt64 n = (PetscInt64)D * ((PetscInt64)path->steps + 1);

  PetscFunctionBeginUser;
  PetscCheck(path->steps >= span && path->steps % span == 0, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-path_steps %" PetscInt_FMT ": must be %s", path->steps, span == 2 ? "even and at least 2 (or take -path_rule trapezoid)" : "at least 1");
  PetscCheck(n <= PETSC_MAX_INT, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-path_steps %" PetscInt_FMT " makes a path of %lld numbers, more than this PETSc can count", path->steps, (long long)n);
  for (PetscInt i = 0; i < path->most; i++) {
    PetscCheck(path->observed[i] >= 0 && path->observed[i] < D, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-path_observed has the entry %" PetscInt_FMT "; a state has entries 0 to %" PetscInt_FMT, path->observed[i], D - 1);
    PetscCheck(!i || path->observed[i] > path->observed[i - 1], model->comm, PETSC_ERR_ARG_WRONG, "-path_observed has %" PetscInt_FMT " behind %" PetscInt_FMT "; its entries ascend", path->observed[i], path->observed[i - 1]);
  }
  PetscCheck(!model->inputs || model->inputs == 1, model->comm, PETSC_ERR_ARG_SIZ, "A sample of a path in time has one input, its time, but the data have %" PetscInt_FMT, model->inputs);
  PetscCheck(!model->outputs || model->outputs == L, model->comm, PETSC_ERR_ARG_SIZ, "The data have %" PetscInt_FMT " targets a sample, and %" PetscInt_FMT " entries of a state are measured: name them with -path_observed", model->outputs, L);
  PetscCall(KalModelSetDataSizes(model, 1, L));
  PetscCall(KalModelSetSize(model, (PetscInt)n));
  model->ops.initial          = KalModelInitial_PathTime;
  model->ops.spread           = KalModelSpread_PathTime;
  model->ops.inputs           = KalModelInputs_PathTime;
  model->ops.observe          = KalModelObserve_PathTime;
  model->ops.equations        = KalModelEquations_PathTime;
  model->ops.residuals        = KalModelResiduals_PathTime;
  model->ops.residualsadjoint = KalModelResidualsAdjoint_PathTime;
  PetscFunctionReturn(PETSC_SUCCESS);
}
