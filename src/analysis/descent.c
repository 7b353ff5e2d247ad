/* Networks that are moved along derivatives of their losses: descent.h. */
#include "descent.h"

/* -NAME_step, -NAME_step_schedule, -NAME_step_final, -NAME_decay */
PetscErrorCode KalDescentSetFromOptions(KalDescent *descent, KalOptionItems PetscOptionsObject)
{
  PetscEnum schedule = (PetscEnum)descent->schedule;
  char      option[64];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_step", descent->name));
  PetscCall(PetscOptionsReal(option, "Step length", NULL, descent->step, &descent->step, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_step_schedule", descent->name));
  PetscCall(PetscOptionsEnum(option, "How the step falls to its final value", NULL, KalSchedules, schedule, &schedule, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_step_final", descent->name));
  PetscCall(PetscOptionsReal(option, "Final step of a schedule", NULL, descent->stepfinal, &descent->stepfinal, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_decay", descent->name));
  PetscCall(PetscOptionsReal(option, "Weight decay", NULL, descent->decay, &descent->decay, NULL));
  descent->schedule = (KalSchedule)schedule;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Refuses a factor that is not at least 0 and less than 1. */
PetscErrorCode KalDescentFactor(KalAnalysis analysis, const KalDescent *descent, const char *option, PetscReal value)
{
  PetscFunctionBeginUser;
  PetscCheck(value >= 0.0 && value < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_%s %g: must be at least 0 and less than 1", descent->name, option, (double)value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalDescentSetUp(KalAnalysis analysis, KalDescent *descent)
{
  char what[64];

  PetscFunctionBeginUser;
  PetscCheck(descent->step > 0.0 && !PetscIsInfOrNanReal(descent->step), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_step %g: must be positive and finite", descent->name, (double)descent->step);
  PetscCheck(descent->decay >= 0.0 && descent->decay * descent->step < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_decay %g: must not be negative, nor 1/-%s_step or more", descent->name, (double)descent->decay, descent->name);
  PetscCall(PetscSNPrintf(what, sizeof what, "%s_step", descent->name));
  PetscCall(KalScheduleCheck(analysis, what, descent->schedule, descent->stepfinal));
  PetscCall(PetscStrlcat(what, "_schedule", sizeof what));
  PetscCall(KalScheduleNone(analysis, (PetscBool)(descent->schedule != KAL_SCHEDULE_CONSTANT), what));
  analysis->needs.least   = 1;
  analysis->needs.adjoint = PETSC_TRUE;
  analysis->needs.untimed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What is kept of each network begins at zero, whatever the copies of the members hold before the first cycle. */
PetscErrorCode KalDescentBegin(KalAnalysis analysis, PetscInt cycle)
{
  PetscInt     first, last;
  PetscScalar *kept;

  PetscFunctionBeginUser;
  if (cycle) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (PetscInt i = 0; i < analysis->copies; i++) {
    for (PetscInt j = first; j < last; j++) {
      PetscCall(KalEnsembleGetMember(analysis->copy[i], j, &kept));
      PetscCall(PetscArrayzero(kept, analysis->n));
    }
    PetscCall(KalEnsembleChanged(analysis->copy[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalDescentAsk(KalAnalysis analysis, KalAsk *ask)
{
  PetscFunctionBeginUser;
  (void)analysis;
  ask->observe     = PETSC_FALSE;
  ask->derivatives = KAL_DERIVATIVES_LOSS;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalDescentTell(KalAnalysis analysis, KalDescent *descent, const KalTold *told, KalVerdict *verdict)
{
  PetscFunctionBeginUser;
  descent->cycle       = told->cycle;
  descent->derivatives = told->derivatives;
  descent->losses      = told->losses;
  descent->taken       = KalScheduled(analysis, descent->schedule, descent->step, descent->stepfinal, told->cycle);
  descent->time += descent->taken;
  analysis->report.loss = 0.0;
  for (PetscInt m = 0; m < analysis->N; m++) {
    PetscCheck(!PetscIsInfOrNanReal(told->losses[2 * m]), analysis->comm, PETSC_ERR_FP, "The loss of network %" PetscInt_FMT " is not finite in cycle %" PetscInt_FMT ": take a smaller -%s_step than %g", m, told->cycle + 1, descent->name, (double)descent->step);
    analysis->report.loss += told->losses[2 * m] / analysis->N;
  }
  analysis->report.step = descent->taken;
  analysis->report.time = descent->time;
  *verdict              = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each rank moves the networks that it holds; nothing is sent. */
PetscErrorCode KalDescentUpdate(KalAnalysis analysis, KalDescent *descent, KalDescentMove move)
{
  char         option[64];
  PetscInt     first, last;
  PetscScalar *g, *x, *kept[KAL_MOST_COPIES] = {NULL};

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (PetscInt m = first; m < last; m++) {
    PetscCall(KalEnsembleGetMember(analysis->ensemble, m, &x));
    PetscCall(KalEnsembleGetMember(descent->derivatives, m, &g));
    for (PetscInt i = 0; i < analysis->copies; i++) PetscCall(KalEnsembleGetMember(analysis->copy[i], m, &kept[i]));
    (*move)(analysis, m, analysis->n, g, x, kept);
  }
  PetscCall(KalEnsembleChanged(analysis->ensemble));
  for (PetscInt i = 0; i < analysis->copies; i++) PetscCall(KalEnsembleChanged(analysis->copy[i]));
  PetscCall(PetscSNPrintf(option, sizeof option, "%s_step", descent->name));
  PetscCall(KalMembersFinite(analysis, descent->cycle, option, descent->step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

KalArray KalDescentArray(KalDescent *descent)
{
  return (KalArray){.name = "time", .meaning = "sum of the steps", .count = 1, .data = &descent->time};
}
