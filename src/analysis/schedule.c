/* Steps and spreads that fall over the cycles. */
#include "schedule.h"

const char *const KalSchedules[] = {"constant", "cosine", "geometric", "KalSchedule", "KAL_SCHEDULE_", NULL};

PetscErrorCode KalScheduleCheck(KalAnalysis analysis, const char *what, KalSchedule schedule, PetscReal end)
{
  PetscFunctionBeginUser;
  if (schedule == KAL_SCHEDULE_CONSTANT) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(analysis->horizon > 0, analysis->comm, PETSC_ERR_ARG_INCOMP, "-%s_schedule %s needs -analysis_schedule_cycles, the cycles it runs over: a restart that goes on for more cycles must not change it", what, KalSchedules[schedule]);
  PetscCheck(end >= 0.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_final %g: must not be negative", what, (double)end);
  PetscCheck(schedule != KAL_SCHEDULE_GEOMETRIC || end > 0.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_final %g: a geometric schedule needs a positive final value", what, (double)end);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalScheduleNone(KalAnalysis analysis, PetscBool any, const char *options)
{
  PetscFunctionBeginUser;
  PetscCheck(!analysis->horizon || any, analysis->comm, PETSC_ERR_ARG_INCOMP, "-analysis_schedule_cycles %" PetscInt_FMT ": nothing runs over them; choose a -%s, or leave the option out", analysis->horizon, options);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscReal KalScheduled(KalAnalysis analysis, KalSchedule schedule, PetscReal start, PetscReal end, PetscInt cycle)
{
  const PetscReal t = schedule == KAL_SCHEDULE_CONSTANT ? 0.0 : PetscMin(1.0, (PetscReal)cycle / analysis->horizon);

  if (schedule == KAL_SCHEDULE_COSINE) return end + (start - end) * 0.5 * (1.0 + PetscCosReal(PETSC_PI * t));
  if (schedule == KAL_SCHEDULE_GEOMETRIC) return start * PetscPowReal(end / start, t);
  return start;
}
