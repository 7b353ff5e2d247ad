/* Steps and spreads that fall over the cycles. */
#ifndef KALMIA_SCHEDULE_H
#define KALMIA_SCHEDULE_H

#include "analysisimpl.h"

typedef enum {
  KAL_SCHEDULE_CONSTANT,
  KAL_SCHEDULE_COSINE,
  KAL_SCHEDULE_GEOMETRIC,
} KalSchedule;
PETSC_INTERN const char *const KalSchedules[];

/* Refuses a final value that makes no sense for the option -WHAT, and a schedule without cycles to run over. */
PETSC_INTERN PetscErrorCode KalScheduleCheck(KalAnalysis, const char *what, KalSchedule, PetscReal end);
/* Refuses cycles for schedules where there is not `any`; `options` are those that would make one. */
PETSC_INTERN PetscErrorCode KalScheduleNone(KalAnalysis, PetscBool any, const char *options);
PETSC_INTERN PetscReal      KalScheduled(KalAnalysis, KalSchedule, PetscReal start, PetscReal end, PetscInt cycle);

#endif
