/*
  A queue of members over the ranks: whoever is idle takes the next members that nobody works on.

  Each rank counts how many groups of its own members were taken; to take one is to add one to that count, one-sided. A rank
  takes its own members first, where they lie; when none are left it goes round the others, from the next one on, and what
  it takes there comes to it. Where all members cost the same hardly any moves; where they do not, no rank waits as long as a member
  does. A count that has run out never comes back, so that a rank asks each of the others once more than it gets.

  Turns take two counts alternately: one is set back while the ranks meet for the other, so that they meet once a turn.
*/
#include "runimpl.h"

#define KAL_QUEUE_COUNTS 2

struct _n_KalQueue {
  MPI_Comm    comm;
  PetscMPIInt rank, size;
  MPI_Win     window;
  PetscInt64 *taken; /* of this rank's groups, one count for each of two turns */
  int         turn;
  PetscInt    members, group;
  PetscMPIInt ahead; /* whose members are taken: those of the rank so many further on */
};

/*
  KalQueueCreate - Makes a queue

  Collective
*/
PetscErrorCode KalQueueCreate(MPI_Comm comm, KalQueue *queue)
{
  KalQueue q;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&q));
  q->comm = comm;
  PetscCallMPI(MPI_Comm_rank(comm, &q->rank));
  PetscCallMPI(MPI_Comm_size(comm, &q->size));
  PetscCallMPI(MPI_Win_allocate(KAL_QUEUE_COUNTS * (MPI_Aint)sizeof *q->taken, (int)sizeof *q->taken, MPI_INFO_NULL, comm, &q->taken, &q->window));
  PetscCallMPI(MPI_Win_lock_all(MPI_MODE_NOCHECK, q->window));
  PetscCall(PetscArrayzero(q->taken, KAL_QUEUE_COUNTS));
  PetscCallMPI(MPI_Win_sync(q->window));
  *queue = q;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalQueueBegin - Begins a turn: all members are to be taken once

  Collective. Members are dealt out as those of an ensemble are; `group` of them are taken at once, or what is left of a rank's.
*/
PetscErrorCode KalQueueBegin(KalQueue queue, PetscInt members, PetscInt group)
{
  PetscFunctionBeginUser;
  queue->turn               = (queue->turn + 1) % KAL_QUEUE_COUNTS;
  queue->taken[queue->turn] = 0; /* nobody looks at it: all have begun the turn before, and are done with the one before that */
  queue->members            = members;
  queue->group              = group;
  queue->ahead              = 0;
  PetscCallMPI(MPI_Win_sync(queue->window));
  PetscCallMPI(MPI_Barrier(queue->comm));
  PetscCallMPI(MPI_Win_sync(queue->window));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalQueueNext - Takes the next members that nobody has taken; none (count 0) when the turn is over

  Not Collective
*/
PetscErrorCode KalQueueNext(KalQueue queue, PetscInt *first, PetscInt *count)
{
  const PetscInt64 one = 1;

  PetscFunctionBeginUser;
  for (*count = 0; queue->ahead < queue->size; queue->ahead++) {
    const PetscMPIInt owner = (PetscMPIInt)(((PetscInt64)queue->rank + queue->ahead) % queue->size);
    const PetscInt    begin = (PetscInt)((PetscInt64)queue->members * owner / queue->size), end = (PetscInt)((PetscInt64)queue->members * (owner + 1) / queue->size);
    PetscInt64        taken = 0;

    if (begin == end) continue;
    if (owner != queue->rank) KalCountMessage((PetscInt64)sizeof one, (PetscInt64)sizeof taken);
    PetscCallMPI(MPI_Fetch_and_op(&one, &taken, MPI_INT64_T, owner, queue->turn, MPI_SUM, queue->window));
    PetscCallMPI(MPI_Win_flush(owner, queue->window));
    if (taken * queue->group >= end - begin) continue;
    *first = begin + (PetscInt)taken * queue->group;
    *count = PetscMin(queue->group, end - *first);
    break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalQueueDestroy - Frees a queue and nulls the pointer

  Collective
*/
PetscErrorCode KalQueueDestroy(KalQueue *queue)
{
  PetscFunctionBeginUser;
  if (!*queue) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Win_unlock_all((*queue)->window));
  PetscCallMPI(MPI_Win_free(&(*queue)->window));
  PetscCall(PetscFree(*queue));
  PetscFunctionReturn(PETSC_SUCCESS);
}
