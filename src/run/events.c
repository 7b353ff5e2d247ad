/* What -log_view shows of a run. */
#include "runimpl.h"

PetscLogEvent KalRunEvents[KAL_EVENTS];

/*
  KalRunEventsRegister - Registers the class and the events, once
*/
PetscErrorCode KalRunEventsRegister(void)
{
  static const char *const names[KAL_EVENTS] = {"KalForecast", "KalObserve", "KalTell", "KalUpdate", "KalScore", "KalSnapshot"};
  static PetscClassId      id                = 0;
  PetscInt                 i;

  PetscFunctionBeginUser;
  if (id) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscClassIdRegister("Kalmia", &id));
  for (i = 0; i < KAL_EVENTS; i++) PetscCall(PetscLogEventRegister(names[i], id, &KalRunEvents[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
