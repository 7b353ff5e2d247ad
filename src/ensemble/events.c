/* The phases of a cycle: what -log_view shows of a run, and a count of our own that needs no logging. */
#include <ensemble/events.h>

/* Phases within phases: an update, its exchange, draws in it. More are only left behind by calls that failed. */
#define KAL_DEPTH 16

PetscLogEvent KalEvents[KAL_EVENTS];

const char *const KalPhaseNames[] = {"forecast", "observe", "tell", "update", "exchange", "whiten", "gram", "sum", "solve", "transform", "draw", "score", "snapshot", "other", NULL};

/* Of the process, as PETSc's log is. */
static struct {
  KalPhaseCost phase[KAL_EVENTS + 1], dropped; /* the last: outside of all events; what was taken while nothing is counted */
  PetscBool    held;
  int          within[KAL_DEPTH], depth;
  double       since; /* when the phase in hand began, or was gone on with */
} account;

static KalPhaseCost *InHand(void)
{
  if (account.held) return &account.dropped;
  return &account.phase[account.depth ? account.within[account.depth - 1] : KAL_EVENTS];
}

static void Charge(void)
{
  const double now = MPI_Wtime();

  if (account.since > 0.0) InHand()->seconds += now - account.since;
  account.since = now;
}

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

/*
  KalEventBegin - Begins a phase, within the one in hand
*/
PetscErrorCode KalEventBegin(KalEvent event)
{
  PetscFunctionBeginUser;
  PetscCall(PetscLogEventBegin(KalEvents[event], 0, 0, 0, 0));
  Charge();
  if (account.depth == KAL_DEPTH) account.depth = 0;
  account.within[account.depth++] = event;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalEventEnd - Ends a phase, and those within it that a failed call left
*/
PetscErrorCode KalEventEnd(KalEvent event)
{
  PetscFunctionBeginUser;
  Charge();
  for (int d = account.depth; d > 0; d--) {
    if (account.within[d - 1] != (int)event) continue;
    account.depth = d - 1;
    break;
  }
  PetscCall(PetscLogEventEnd(KalEvents[event], 0, 0, 0, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

void KalCountMessage(PetscInt64 sent, PetscInt64 received)
{
  InHand()->messages++;
  InHand()->sent += sent;
  InHand()->received += received;
}

void KalCountCollective(PetscInt64 sent, PetscInt64 received)
{
  InHand()->collectives++;
  InHand()->sent += sent;
  InHand()->received += received;
}

void KalCountShared(PetscInt64 bytes)
{
  InHand()->shared += bytes;
}

void KalPhasesHold(PetscBool hold)
{
  Charge();
  account.held = hold;
}

/*@
   KalPhasesReset - Begins to count anew what the phases of cycles take and move

   Not Collective

.seealso: KalPhaseGet()
@*/
PetscErrorCode KalPhasesReset(void)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(account.phase, sizeof account.phase));
  account.since = MPI_Wtime();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalPhaseGet - Gets what a phase of the cycles took and moved on this rank since KalPhasesReset()

   Not Collective

   Input Parameter:
.  name - one of KalPhaseNames: forecast, observe, tell, update, exchange, whiten, gram, sum, solve, transform, draw, score, snapshot, or other for the rest

   Output Parameter:
.  phase - seconds without the phases within it, so that those of all phases add up; bytes sent to other ranks and received from them;
           messages, point to point and one-sided, sent and received; collective calls; bytes of other ranks' members that were read or
           written where they lie in a node's shared window

   Notes:
   Of a collective call the bytes are those that the rank puts in for others, and those that it gets of them; how MPI moves them on the way is not seen.
   Not counted are barriers, agreement on an error (one int a call), set-up, and what MPI-IO moves for a file.

   PETSc's own count of messages stands in -log_view, without collective calls' bytes and one-sided ones.

   Errors: PETSC_ERR_ARG_WRONG for a name that is no phase
@*/
PetscErrorCode KalPhaseGet(const char name[], KalPhaseCost *phase)
{
  PetscBool found = PETSC_FALSE;

  PetscFunctionBeginUser;
  Charge();
  for (int k = 0; KalPhaseNames[k] && !found; k++) {
    PetscCall(PetscStrcmp(name, KalPhaseNames[k], &found));
    if (found) *phase = account.phase[k];
  }
  PetscCheck(found, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "There is no phase %s; there are those of KalPhaseNames: forecast, observe, exchange and so on", name);
  PetscFunctionReturn(PETSC_SUCCESS);
}
