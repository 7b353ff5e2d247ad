/* The phases of a cycle as events of -log_view, which kalmia-bench reads too. */
#ifndef KALMIA_EVENTS_H
#define KALMIA_EVENTS_H

#include <kalmia/types.h>

typedef enum {
  KAL_EVENT_FORECAST,
  KAL_EVENT_OBSERVE,
  KAL_EVENT_TELL,   /* from predictions to weights: the next six in it, */
  KAL_EVENT_UPDATE, /* from weights to members: exchange, transform and draws in it */
  KAL_EVENT_EXCHANGE,
  KAL_EVENT_WHITEN,
  KAL_EVENT_GRAM,
  KAL_EVENT_SUM,
  KAL_EVENT_SOLVE,
  KAL_EVENT_TRANSFORM,
  KAL_EVENT_DRAW,
  KAL_EVENT_SCORE,
  KAL_EVENT_SNAPSHOT,
  KAL_EVENTS,
} KalEvent;
PETSC_INTERN PetscLogEvent  KalEvents[KAL_EVENTS];
PETSC_INTERN PetscErrorCode KalEventsRegister(void);

#define KalEventBegin(event) PetscLogEventBegin(KalEvents[event], 0, 0, 0, 0)
#define KalEventEnd(event)   PetscLogEventEnd(KalEvents[event], 0, 0, 0, 0)

#endif
