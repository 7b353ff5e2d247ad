/* What -log_view shows of a run. */
#include <ensemble/events.h>

PetscLogEvent KalEvents[KAL_EVENTS];

/*
  KalEventsRegister - Registers the class and the events, once
*/
PetscErrorCode KalEventsRegister(void)
{
  static const char *const names[KAL_EVENTS] = {"KalForecast", "KalObserve", "KalTell", "KalUpdate", "KalExchange", "KalWhiten", "KalGram", "KalSum", "KalSolve", "KalTransform", "KalDraw", "KalScore", "KalSnapshot"};
  static PetscClassId      id                = 0;
  PetscInt                 i;

  PetscFunctionBeginUser;
  if (id) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscClassIdRegister("Kalmia", &id));
  for (i = 0; i < KAL_EVENTS; i++) PetscCall(PetscLogEventRegister(names[i], id, &KalEvents[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}
