/* Time in a run: the truth of a twin experiment, the observations of a cycle made ready, and where they are. */
#include "runimpl.h"

/* The rank that owns the one member of the truth: the first of the last group. */
static PetscMPIInt TruthOwner(KalRun run)
{
  return run->size - run->span;
}

static PetscErrorCode Broadcast(KalRun run, PetscScalar *x, size_t count)
{
  const PetscBool  root  = (PetscBool)(run->rank == TruthOwner(run));
  const PetscInt64 bytes = run->size > 1 ? (PetscInt64)(count * sizeof *x) : 0;
  size_t           at;

  PetscFunctionBeginUser;
  KalCountCollective(root ? bytes : 0, root ? 0 : bytes);
  for (at = 0; at < count; at += 1 << 28) PetscCallMPI(MPI_Bcast(x + at, (PetscMPIInt)PetscMin(count - at, (size_t)1 << 28), MPI_DOUBLE, TruthOwner(run), run->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunTruthCreate - Makes the truth of a twin experiment and draws its start

  Collective. Its blocks of rows are those of the ensemble, so that both can be visited together.
*/
PetscErrorCode KalRunTruthCreate(KalRun run)
{
  PetscScalar *x;
  PetscInt     rows;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetBlocks(run->ensemble, &rows, NULL));
  PetscCall(KalEnsembleCreate(run->comm, &run->truth));
  PetscCall(KalEnsembleSetSizes(run->truth, run->n, 1));
  PetscCall(KalEnsembleSetFromOptions(run->truth));
  PetscCall(KalEnsembleSetBlockRows(run->truth, rows));
  PetscCall(KalRunJoin(run, run->truth));
  PetscCall(KalEnsembleSetUp(run->truth));
  if (run->rank == TruthOwner(run)) {
    PetscCall(KalEnsembleGetMember(run->truth, 0, &x));
    PetscCall(KalModelInitial(run->model, (KalKey){run->seed, KAL_DRAW_TRUTH, 0, 0}, x));
  }
  PetscCall(KalEnsembleChanged(run->truth));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Room(KalRun run, PetscInt p)
{
  PetscFunctionBeginUser;
  if (p <= run->roomed) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree2(run->target, run->entry));
  PetscCall(PetscFree2(run->location, run->kind));
  PetscCall(PetscMalloc2(p, &run->target, p, &run->entry));
  PetscCall(PetscMalloc2((size_t)KAL_DIMENSIONS * p, &run->location, p, &run->kind));
  run->roomed = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The truth goes on to the time of the observations and is observed there; its errors are the observations' own. */
static PetscErrorCode ObserveTruth(KalRun run, KalBatch *batch)
{
  char       text[128] = "";
  KalColumns columns;
  KalStatus  status = KAL_MEMBER_OK;
  PetscBool  together;

  PetscFunctionBeginUser;
  PetscCall(KalRunAllTogether(run, &together));
  if (run->rank == TruthOwner(run) || (together && run->rank > TruthOwner(run))) {
    if (together) {
      PetscCall(KalEnsembleGroupMeet(run->truth));
      PetscCall(KalEnsembleGroupGet(run->truth, 0, 1, PETSC_TRUE, &columns));
      PetscCall(KalEnsembleGroupMeet(run->truth));
    } else PetscCall(KalEnsembleGetColumns(run->truth, 0, 1, &columns));
    PetscCall(KalModelSetKey(run->model, (KalKey){run->seed, KAL_DRAW_TRUTH, run->cycle + 1, 0}));
    PetscCall(KalModelPropagate(run->model, NULL, batch->from, batch->to, &columns, &status));
    if (together) PetscCallMPI(MPI_Bcast(&status, 1, MPI_SIGNED_CHAR, 0, run->group));
    PetscCall(KalModelObserve(run->model, NULL, batch->to, &columns, batch, &run->target, &status));
    PetscCall(KalEnsembleRestoreColumns(run->truth, &columns));
    if (status != KAL_MEMBER_OK && run->rank == TruthOwner(run)) PetscCall(PetscSNPrintf(text, sizeof text, "The truth of the twin experiment failed or is not finite at time %g: take a smaller time step", (double)batch->to));
  }
  KalCheckAll(run->comm, PETSC_ERR_FP, text);
  PetscCall(KalEnsembleChanged(run->truth));
  PetscCall(Broadcast(run, run->target, batch->samples));
  PetscCall(KalObservationsTruth(run->observations, run->cycle, run->target, batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An observation without a place of its own is where the entry lies that it sees most of. */
static PetscErrorCode Locate(KalRun run, KalBatch *batch)
{
  const KalLinear *linear = batch->linear;
  KalModel         own;
  PetscInt         i, k;

  PetscFunctionBeginUser;
  PetscCheck(linear, run->comm, PETSC_ERR_ARG_INCOMP, "Localization needs to know where the observations are: the model observes itself, and the observations have no locations");
  for (i = 0; i < batch->samples; i++) {
    const PetscInt first = linear->start ? linear->start[i] : i, last = linear->start ? linear->start[i + 1] : i + 1;
    PetscReal      most = -1.0;

    run->entry[i] = 0;
    for (k = first; k < last; k++) {
      const PetscReal weight = linear->weight ? PetscAbsReal(linear->weight[k]) : 1.0;

      if (weight <= most) continue;
      most          = weight;
      run->entry[i] = linear->entry[k];
    }
  }
  PetscCall(KalModelGetOwn(run->model, &own));
  PetscCall(KalModelLocate(own, batch->samples, run->entry, run->location, run->kind));
  for (i = 0; batch->kind && i < batch->samples; i++) {
    if (run->kind[i] >= 0) run->kind[i] = batch->kind[i]; /* as the file says, but an entry without a place stays so */
  }
  batch->location = run->location;
  batch->kind     = run->kind;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunWindow - The observations of the cycle in hand, of a run in time: made of the truth, whitened, located

  Collective
*/
PetscErrorCode KalRunWindow(KalRun run, KalBatch *batch)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsNext(run->observations, run->cycle, batch));
  PetscCall(Room(run, batch->samples));
  if (run->truth) PetscCall(ObserveTruth(run, batch));
  run->observed = *batch; /* as it is observed: what comes lasts until the next window */
  if (batch->root) {
    PetscCall(PetscArraycpy(run->target, batch->target, batch->samples));
    PetscCall(KalObservationsWhitenColumn(batch, run->target));
    batch->target = run->target;
  }
  if (run->needs.locations && !batch->location) PetscCall(Locate(run, batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunTime - Model time of the observations so many cycles from the one in hand; the start where there are none before
*/
PetscErrorCode KalRunTime(KalRun run, PetscInt offset, PetscReal *time)
{
  PetscFunctionBeginUser;
  if (run->timed) PetscCall(KalObservationsGetTime(run->observations, PetscMax(-1, run->cycle + offset), time));
  else *time = (PetscReal)(run->cycle + offset + 1); /* of a data set, time is the cycle */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LocateEntries(void *ctx, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelLocate((KalModel)ctx, count, entries, coordinates, kinds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunTellDomain - Tells the method where the state's entries are, where the model knows
*/
PetscErrorCode KalRunTellDomain(KalRun run)
{
  KalDomain    domain;
  KalModelOps *ops;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetDomain(run->model, &domain));
  PetscCall(KalModelGetOps(run->model, &ops));
  PetscCall(KalAnalysisSetDomain(run->analysis, &domain, ops->locate ? LocateEntries : NULL, run->model));
  PetscFunctionReturn(PETSC_SUCCESS);
}
