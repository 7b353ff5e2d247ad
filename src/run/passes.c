/* How often the model was run: forward passes, the measure in which methods are compared. */
#include "runimpl.h"

/* What a derivative counts as: one pass forward, and two for the one back. */
#define KAL_PASSES_DERIVATIVE 3

/*
  KalRunCountPasses - Counts the forward passes of what is asked for

  Not Collective; the same on every rank

  A pass is one member's prediction of one sample, or one member's forecast by one time step (of a model without one, by any time). Linear
  functions of a state are none. A derivative counts as three, one pass forward and two back. Scores, a twin's truth, a climatology's free run
  and tangents are not counted.
*/
PetscErrorCode KalRunCountPasses(KalRun run, const KalAsk *ask, const KalBatch *batch)
{
  KalModelOps *ops;
  PetscInt     points;
  PetscReal    step, from, to, each = 0.0;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetOps(run->model, &ops));
  PetscCall(KalModelGetStep(run->model, &step));
  PetscCall(KalEnsembleGetSizes(ask->points, NULL, &points));
  if (ask->active) points = ask->active;
  PetscCall(KalRunTime(run, ask->from, &from));
  PetscCall(KalRunTime(run, ask->to, &to));
  if (ops->propagate) each += step > 0.0 ? PetscFloorReal((to - from) / step + 0.5) : 1.0;
  if (ask->observe && !batch->linear) each += batch->samples;
  if (ask->derivatives == KAL_DERIVATIVES_LOSS) each += KAL_PASSES_DERIVATIVE * (PetscReal)batch->samples;
  if (ask->derivatives == KAL_DERIVATIVES_PREDICTIONS) each += KAL_PASSES_DERIVATIVE * (PetscReal)batch->samples * batch->outputs;
  run->passes += each * points;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunPasses - Forward passes of all cycles so far
*/
PetscReal KalRunPasses(KalRun run)
{
  PetscReal sum = 0.0;

  for (PetscInt k = 0; k < run->cycle; k++) sum += run->history[KAL_HISTORY_PASSES][k];
  return sum;
}
