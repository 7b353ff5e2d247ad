/* Groups of ranks that run members together: -run_ranks_per_member. */
#include "runimpl.h"

#include <stdlib.h>

/* Samples of a mini-batch that are not parted: whole panels of a network's forward pass. */
#define KAL_TOGETHER_BLOCK 32

/* A launcher and an MPI that do not know each other start runs of one rank each, as many as there were to be ranks, and all write one snapshot. The first cannot tell. */
static PetscErrorCode RefuseSingletons(KalRun run)
{
  const char *tasks = getenv("SLURM_STEP_NUM_TASKS"), *task = getenv("SLURM_PROCID");
  PetscMPIInt world;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(MPI_COMM_WORLD, &world));
  if (world > 1 || !tasks || !task || atoi(tasks) < 2 || atoi(task) == 0) PetscFunctionReturn(PETSC_SUCCESS);
  SETERRQ(run->comm, PETSC_ERR_ARG_INCOMP, "srun started %s tasks, and each is a run of one rank: it does not speak to this MPI; use srun --mpi=pmix, or another that srun --mpi=list names, or mpirun", tasks);
}

/*
  KalRunGroup - Makes the groups of ranks, and tells the model of them

  Collective
*/
PetscErrorCode KalRunGroup(KalRun run)
{
  PetscFunctionBeginUser;
  PetscCall(RefuseSingletons(run));
  PetscCheck(run->span <= run->size && run->size % run->span == 0, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-run_ranks_per_member %d: %d ranks do not make groups of %d; give a number that divides the ranks", run->span, run->size, run->span);
  PetscCheck(run->span == 1 || run->schedule == KAL_RUN_STATIC, run->comm, PETSC_ERR_ARG_INCOMP, "-run_schedule dynamic with -run_ranks_per_member %d: members that go from rank to rank have no group; leave one of them out", run->span);
  if (run->span == 1 || run->group != MPI_COMM_NULL) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCallMPI(MPI_Comm_split(run->comm, run->rank / run->span, run->rank, &run->group));
  run->place = run->rank % run->span;
  PetscCall(KalModelSetMemberComm(run->model, run->group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunJoin - Tells an ensemble of the groups, before its set-up
*/
PetscErrorCode KalRunJoin(KalRun run, KalEnsemble ensemble)
{
  PetscFunctionBeginUser;
  if (run->span > 1) PetscCall(KalEnsembleSetMemberComm(ensemble, run->group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunAllTogether - Whether the model is called by all ranks of a group at the same time, wherever it is called
*/
PetscErrorCode KalRunAllTogether(KalRun run, PetscBool *all)
{
  KalModelOps *ops;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetOps(run->model, &ops));
  *all = (PetscBool)(run->span > 1 && ops->together == KAL_TOGETHER_ALL);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether the ranks of a group predict a part of a batch each. What the model forecasts first, and what a linear operator observes, is the first rank's alone. */
static PetscErrorCode PartsSamples(KalRun run, const KalAsk *ask, const KalBatch *batch, PetscBool *parts)
{
  KalModelOps *ops;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetOps(run->model, &ops));
  *parts = (PetscBool)(run->span > 1 && ops->together == KAL_TOGETHER_SAMPLES && !ops->propagate && ask->observe && !batch->linear);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The samples of a batch that this rank predicts, as a batch of its own, and where the rows of each rank's begin. */
static PetscErrorCode Part(KalRun run, const KalBatch *batch, PetscInt *bounds, KalBatch *part)
{
  const PetscInt blocks = (batch->samples + KAL_TOGETHER_BLOCK - 1) / KAL_TOGETHER_BLOCK;
  const size_t   number = batch->precision == KAL_SINGLE ? sizeof(float) : sizeof(double);
  PetscInt       first, i;

  PetscFunctionBeginUser;
  for (i = 0; i <= run->span; i++) bounds[i] = PetscMin(batch->samples, (PetscInt)((PetscInt64)blocks * i / run->span) * KAL_TOGETHER_BLOCK) * batch->outputs;
  first         = bounds[run->place] / batch->outputs;
  *part         = *batch;
  part->samples = (bounds[run->place + 1] - bounds[run->place]) / batch->outputs;
  part->stamp   = -batch->stamp; /* not to be taken for the whole batch */
  if (batch->input) part->input = (const char *)batch->input + (size_t)first * (size_t)batch->inputs * number;
  if (batch->target) part->target += (size_t)first * (size_t)batch->outputs;
  if (batch->label) part->label += first;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some points of the group, each rank its samples. */
static PetscErrorCode PredictParts(KalRun run, const KalAsk *ask, PetscReal time, const KalBatch *batch, PetscInt first, PetscInt count, KalEnsemble predictions, PetscInt *bounds)
{
  PetscScalar *y[KAL_COLUMNS_MOST];
  KalStatus   *status = run->status + first;
  KalColumns   columns;
  KalBatch     part;

  PetscFunctionBeginUser;
  PetscCall(Part(run, batch, bounds, &part));
  PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
  PetscCall(KalEnsembleGroupGet(ask->points, first, count, PETSC_FALSE, &columns));
  PetscCall(KalEnsembleGroupPlaces(predictions, first, count, bounds, y));
  PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
  for (PetscInt k = 0; k < count; k++) status[k] = KAL_MEMBER_OK;
  PetscCall(KalRunObserveColumns(run, time, &columns, &part, y, status));
  PetscCall(KalEnsembleRestoreColumns(ask->points, &columns));
  PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
  KalCountCollective(count, count);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, status, (PetscMPIInt)count, MPI_SIGNED_CHAR, MPI_MAX, run->group));
  PetscCall(KalEnsembleGroupGather(predictions, first, count, bounds));
  PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
  for (PetscInt k = 0; k < count && !run->place; k++) { /* some rank's part of it may be finite */
    if (status[k] == KAL_MEMBER_OK) continue;
    PetscCall(KalEnsembleGetMember(predictions, first + k, &y[k]));
    PetscCall(PetscArrayzero(y[k], (size_t)batch->samples * batch->outputs));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some points of the group, all its ranks the same; `spare` takes what the others predict. */
static PetscErrorCode RunAll(KalRun run, const KalAsk *ask, const KalSpan *span, const KalBatch *batch, PetscInt first, PetscInt count, KalEnsemble predictions, PetscScalar *spare)
{
  PetscScalar *y[KAL_COLUMNS_MOST];
  KalColumns   columns;

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
  PetscCall(KalEnsembleGroupGet(ask->points, first, count, PETSC_TRUE, &columns));
  PetscCall(KalEnsembleGroupMeet(ask->points)); /* the first rank writes to members that others copy */
  PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
  PetscCall(KalRunForecastColumns(run, span, &columns, run->status + first));
  if (ask->observe) {
    PetscCallMPI(MPI_Bcast(run->status + first, (PetscMPIInt)count, MPI_SIGNED_CHAR, 0, run->group)); /* a model may pass over members that failed */
    for (PetscInt k = 0; k < count; k++) {
      if (run->place) y[k] = spare + (size_t)k * (size_t)batch->samples * batch->outputs;
      else PetscCall(KalEnsembleGetMember(predictions, first + k, &y[k]));
    }
    PetscCall(KalRunObserveColumns(run, span->to, &columns, batch, y, run->status + first));
  }
  PetscCall(KalEnsembleRestoreColumns(ask->points, &columns));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunEvaluateTogether - Runs and observes the points of this rank's group with its other ranks, where the model can; else says that it was not done

  Collective
*/
PetscErrorCode KalRunEvaluateTogether(KalRun run, const KalAsk *ask, const KalSpan *span, const KalBatch *batch, KalEnsemble predictions, PetscBool *done)
{
  PetscInt     n, N, j, count, last, most, *bounds;
  PetscBool    parts = PETSC_FALSE, all = PETSC_FALSE;
  PetscScalar *spare = NULL;

  PetscFunctionBeginUser;
  PetscCall(PartsSamples(run, ask, batch, &parts));
  PetscCall(KalRunAllTogether(run, &all));
  *done = (PetscBool)(parts || all);
  if (!*done) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleGetSizes(ask->points, &n, &N));
  j    = KalRunFirstPoint(run, N, run->rank - run->place);
  last = PetscMin(KalRunFirstPoint(run, N, run->rank - run->place + run->span), KalRunActivePoints(ask, N));
  most = KalRunMostColumns(ask->points, n);
  PetscCall(PetscMalloc1(run->span + 1, &bounds));
  if (all && run->place && ask->observe) PetscCall(PetscMalloc1((size_t)PetscMax(0, PetscMin(most, last - j)) * (size_t)batch->samples * batch->outputs, &spare));
  PetscCall(KalEnsembleGroupMeet(ask->points));
  if (ask->observe) PetscCall(KalEnsembleGroupMeet(predictions)); /* the first rank is done with what it had there */
  for (; j < last; j += count) {
    count = PetscMin(most - j % most, last - j);
    if (parts) PetscCall(PredictParts(run, ask, span->to, batch, j, count, predictions, bounds));
    else PetscCall(RunAll(run, ask, span, batch, j, count, predictions, spare));
  }
  PetscCall(PetscFree(spare));
  PetscCall(PetscFree(bounds));
  PetscFunctionReturn(PETSC_SUCCESS);
}
