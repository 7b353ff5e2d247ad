/* The phases of a cycle: events of -log_view, which kalmia-bench reads too, and what each of them takes and moves. */
#ifndef KALMIA_EVENTS_H
#define KALMIA_EVENTS_H

#include <kalmia/ensemble.h>

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
PETSC_INTERN PetscErrorCode KalEventBegin(KalEvent);
PETSC_INTERN PetscErrorCode KalEventEnd(KalEvent);

/* While it holds nothing is counted: what comes between or after the cycles. */
PETSC_INTERN void KalPhasesHold(PetscBool);

/* Bytes are counted for the phase in hand, by whoever moves them. */
PETSC_INTERN void KalCountMessage(PetscInt64 sent, PetscInt64 received);    /* one message, point to point or one-sided */
PETSC_INTERN void KalCountCollective(PetscInt64 sent, PetscInt64 received); /* put into one collective call, and got from it */
PETSC_INTERN void KalCountShared(PetscInt64 bytes);                         /* of other ranks' members, where they lie in a node's window */

#endif
