/* Forecast and observation of members, and scores of their predictions. */
#include "runimpl.h"

#define KAL_COLUMNS_BYTES (64 << 20)
#define KAL_COLUMNS_MADE  (3 << 20) /* of generated members: they stay in the cache until they are used */
/* Samples of a test set that are scored together: a canonical block. */
#define KAL_SCORE_BLOCK 500

/* A stored ensemble for predictions of p numbers by as many points; a few are kept between cycles. */
static PetscErrorCode GetPredictions(KalRun run, PetscInt p, PetscInt points, KalEnsemble *predictions)
{
  PetscInt slot, have, count;

  PetscFunctionBeginUser;
  for (slot = 0; slot < KAL_RUN_SLOTS; slot++) {
    if (!run->predictions[slot]) continue;
    PetscCall(KalEnsembleGetSizes(run->predictions[slot], &have, &count));
    if (have == p && count == points) {
      *predictions = run->predictions[slot];
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  }
  slot          = run->nextslot;
  run->nextslot = (run->nextslot + 1) % KAL_RUN_SLOTS;
  PetscCall(KalEnsembleDestroy(&run->predictions[slot]));
  PetscCall(KalEnsembleCreate(run->comm, &run->predictions[slot]));
  PetscCall(KalEnsembleSetSizes(run->predictions[slot], p, points));
  PetscCall(KalEnsembleSetRowGroup(run->predictions[slot], run->outputs));
  PetscCall(KalEnsembleSetGram(run->predictions[slot], PETSC_TRUE));
  PetscCall(KalEnsembleSetFromOptions(run->predictions[slot]));
  PetscCall(KalEnsembleSetRemote(run->predictions[slot], (PetscBool)(run->schedule == KAL_RUN_DYNAMIC)));
  PetscCall(KalRunJoin(run, run->predictions[slot]));
  PetscCall(KalEnsembleSetUp(run->predictions[slot]));
  *predictions = run->predictions[slot];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunForecastColumns - Forecasts some columns; the time is counted
*/
PetscErrorCode KalRunForecastColumns(KalRun run, const KalSpan *span, KalColumns *columns, KalStatus *status)
{
  const double start = MPI_Wtime();
  PetscInt     k;

  PetscFunctionBeginUser;
  for (k = 0; k < columns->count; k++) status[k] = KAL_MEMBER_OK;
  PetscCall(KalEventBegin(KAL_EVENT_FORECAST));
  PetscCall(KalModelPropagate(run->model, NULL, span->from, span->to, columns, status));
  PetscCall(KalEventEnd(KAL_EVENT_FORECAST));
  run->seconds[KAL_SECONDS_FORECAST] += MPI_Wtime() - start;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunObserveColumns - Predicts for some columns, whitened where R is dense; the time is counted
*/
PetscErrorCode KalRunObserveColumns(KalRun run, PetscReal time, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  const double start = MPI_Wtime();
  PetscInt     k;

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_OBSERVE));
  PetscCall(KalModelObserve(run->model, NULL, time, columns, batch, y, status));
  for (k = 0; batch->root && k < columns->count; k++) PetscCall(KalObservationsWhitenColumn(batch, y[k]));
  PetscCall(KalEventEnd(KAL_EVENT_OBSERVE));
  run->seconds[KAL_SECONDS_OBSERVE] += MPI_Wtime() - start;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The statuses of each rank's own members. */
static PetscErrorCode GatherStatus(KalRun run, PetscInt points)
{
  PetscMPIInt *counts, *offsets, rank;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(run->size, &counts, run->size, &offsets));
  for (rank = 0; rank < run->size; rank++) {
    offsets[rank] = (PetscMPIInt)KalRunFirstPoint(run, points, rank);
    counts[rank]  = (PetscMPIInt)KalRunFirstPoint(run, points, rank + 1) - offsets[rank];
  }
  if (run->size > 1) KalCountCollective(counts[run->rank], points - counts[run->rank]);
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, run->status, counts, offsets, MPI_SIGNED_CHAR, run->comm));
  PetscCall(PetscFree2(counts, offsets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunActivePoints - How many of N points are run: the first ones
*/
PetscInt KalRunActivePoints(const KalAsk *ask, PetscInt N)
{
  return ask->active ? ask->active : N;
}

/*
  KalRunActive - How many members take part: those that were not idle in the last cycle
*/
PetscInt KalRunActive(KalRun run)
{
  PetscInt active = run->N;

  while (active > 0 && run->laststatus[active - 1] == KAL_MEMBER_IDLE) active--;
  return active;
}

/*
  KalRunMostColumns - Columns that a model is given at once
*/
PetscInt KalRunMostColumns(KalEnsemble points, PetscInt n)
{
  PetscBool stored = PETSC_TRUE;

  (void)KalEnsembleIsStored(points, &stored);
  return PetscMax(1, PetscMin(KAL_COLUMNS_MOST, (PetscInt)((stored ? KAL_COLUMNS_BYTES : KAL_COLUMNS_MADE) / sizeof(PetscScalar) / n)));
}

/* Every rank its own points. */
static PetscErrorCode EvaluateOwn(KalRun run, const KalAsk *ask, const KalSpan *span, const KalBatch *batch, KalEnsemble predictions)
{
  PetscInt     n, N, first, last, j, k, count, most;
  PetscScalar *y[KAL_COLUMNS_MOST];
  KalColumns   columns;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSizes(ask->points, &n, &N));
  first = KalRunFirstPoint(run, N, run->rank);
  last  = PetscMin(KalRunFirstPoint(run, N, run->rank + 1), KalRunActivePoints(ask, N));
  most  = KalRunMostColumns(ask->points, n);
  for (j = first; j < last; j += count) {
    count = PetscMin(most - j % most, last - j); /* ends where blocks of members end */
    PetscCall(KalEnsembleGetColumns(ask->points, j, count, &columns));
    PetscCall(KalRunForecastColumns(run, span, &columns, run->status + j));
    if (ask->observe) {
      for (k = 0; k < count; k++) PetscCall(KalEnsembleGetMember(predictions, j + k, &y[k]));
      PetscCall(KalRunObserveColumns(run, span->to, &columns, batch, y, run->status + j));
    }
    PetscCall(KalEnsembleRestoreColumns(ask->points, &columns));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some points of any rank: they come, are run, and go back with what they predict; `moves` is whether the model changes them. */
static PetscErrorCode EvaluateAny(KalRun run, const KalAsk *ask, const KalSpan *span, const KalBatch *batch, PetscBool moves, PetscInt first, PetscInt count, KalEnsemble predictions)
{
  double     start = MPI_Wtime();
  KalColumns columns, predicted;

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
  PetscCall(KalEnsembleRemoteGet(ask->points, first, count, PETSC_TRUE, &columns));
  PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
  run->seconds[KAL_SECONDS_FORECAST] += MPI_Wtime() - start;
  PetscCall(KalRunForecastColumns(run, span, &columns, run->status + first));
  if (ask->observe) {
    PetscCall(KalEnsembleRemoteGet(predictions, first, count, PETSC_FALSE, &predicted));
    PetscCall(KalRunObserveColumns(run, span->to, &columns, batch, predicted.column, run->status + first));
    start = MPI_Wtime();
    PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
    PetscCall(KalEnsembleRemotePut(predictions, PETSC_TRUE, &predicted));
    PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
    run->seconds[KAL_SECONDS_OBSERVE] += MPI_Wtime() - start;
  }
  start = MPI_Wtime();
  PetscCall(KalEventBegin(KAL_EVENT_EXCHANGE));
  PetscCall(KalEnsembleRemotePut(ask->points, moves, &columns));
  PetscCall(KalEventEnd(KAL_EVENT_EXCHANGE));
  run->seconds[KAL_SECONDS_FORECAST] += MPI_Wtime() - start;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank what nobody works on yet. A status is 0 or more, and that of a point that another rank ran is 0 here. */
static PetscErrorCode EvaluateQueue(KalRun run, const KalAsk *ask, const KalSpan *span, const KalBatch *batch, KalEnsemble predictions)
{
  KalModelOps *ops;
  PetscInt     n, N, first, count;
  PetscMPIInt  length;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSizes(ask->points, &n, &N));
  PetscCall(PetscMPIIntCast(N, &length));
  PetscCall(KalModelGetOps(run->model, &ops));
  PetscCall(PetscArrayzero(run->status, N));
  if (!run->queue) PetscCall(KalQueueCreate(run->comm, &run->queue));
  PetscCall(KalEnsembleRemoteBegin(ask->points));
  if (ask->observe) PetscCall(KalEnsembleRemoteBegin(predictions));
  PetscCall(KalQueueBegin(run->queue, KalRunActivePoints(ask, N), PetscMin(run->schedulemembers, KalRunMostColumns(ask->points, n))));
  while (PETSC_TRUE) {
    PetscCall(KalQueueNext(run->queue, &first, &count));
    if (!count) break;
    PetscCall(EvaluateAny(run, ask, span, batch, (PetscBool)(ops->propagate != NULL), first, count, predictions));
  }
  if (ask->observe) PetscCall(KalEnsembleRemoteEnd(predictions));
  PetscCall(KalEnsembleRemoteEnd(ask->points));
  KalCountCollective(length, length);
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, run->status, length, MPI_SIGNED_CHAR, MPI_MAX, run->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunEvaluate - Runs every point that was asked for and observes it; run->status says how each fared

  Collective. Who runs a point changes no bit (-run_schedule). Stored points are forecast in place. The predictions hold until
  the next call with the same sizes; NULL where none were asked for.
*/
PetscErrorCode KalRunEvaluate(KalRun run, const KalAsk *ask, const KalBatch *batch, KalEnsemble *predictions)
{
  PetscInt     N;
  KalSpan      span;
  PetscBool    together;
  KalModelOps *ops;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetOps(run->model, &ops));
  PetscCall(KalEnsembleGetSizes(ask->points, NULL, &N));
  PetscCall(KalRunTime(run, ask->from, &span.from));
  PetscCall(KalRunTime(run, ask->to, &span.to));
  PetscCall(KalModelSetKey(run->model, (KalKey){run->seed, KAL_DRAW_NOISE, PetscMax(0, run->cycle + ask->to + 1), 0}));
  *predictions = NULL;
  if (ask->observe) PetscCall(GetPredictions(run, batch->samples * batch->outputs, N, predictions));
  if (N > run->points) {
    PetscCall(PetscFree(run->status));
    PetscCall(PetscMalloc1(N, &run->status));
    run->points = N;
  }
  if (!ask->observe && !ops->propagate) { /* nothing is done with the points: they need not be made */
    PetscCall(PetscArrayzero(run->status, N));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (run->schedule == KAL_RUN_DYNAMIC && run->size > 1) PetscCall(EvaluateQueue(run, ask, &span, batch, *predictions));
  else {
    PetscCall(KalRunEvaluateTogether(run, ask, &span, batch, *predictions, &together));
    if (!together) PetscCall(EvaluateOwn(run, ask, &span, batch, *predictions));
    PetscCall(GatherStatus(run, N));
  }
  for (PetscInt j = KalRunActivePoints(ask, N); j < N; j++) run->status[j] = KAL_MEMBER_IDLE;
  if (run->timed) PetscCall(KalEnsembleChanged(ask->points));
  if (ask->observe) PetscCall(KalEnsembleChanged(*predictions));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ScoredSet(KalRun run, KalDataSet *set, PetscInt *samples)
{
  PetscFunctionBeginUser;
  *set = KAL_SET_TEST;
  PetscCall(KalObservationsGetSizes(run->observations, *set, samples, NULL, NULL));
  if (*samples) PetscFunctionReturn(PETSC_SUCCESS);
  *set = KAL_SET_TRAIN;
  PetscCall(KalObservationsGetSizes(run->observations, *set, samples, NULL, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Scores one block of samples with one network; `sums` NULL: only helps another rank of the group with it. */
static PetscErrorCode ScoreBlock(KalRun run, KalColumns *columns, const KalBatch *batch, PetscBool together, PetscScalar *y, PetscReal *sums)
{
  const KalRows rows   = {.first = 0, .count = batch->samples * batch->outputs, .index = 0, .ensembles = 1, .members = {1}, .x = {y}, .ld = {batch->samples * batch->outputs}};
  KalStatus     status = KAL_MEMBER_OK;
  PetscScalar  *out[1] = {y}, *average;

  PetscFunctionBeginUser;
  PetscCall(KalModelObserve(run->model, NULL, (PetscReal)run->cycle, columns, batch, out, &status));
  if (together) {
    PetscCallMPI(MPI_Bcast(y, (PetscMPIInt)rows.count, MPIU_SCALAR, 0, run->group));
    PetscCallMPI(MPI_Bcast(&status, 1, MPI_SIGNED_CHAR, 0, run->group));
  }
  if (!sums) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(rows.count, &average));
  PetscCall(KalObservationsAverage(run->observations, &rows, 1, &status, average, NULL));
  PetscCall(KalObservationsScore(run->observations, batch, 0, batch->samples, average, sums));
  PetscCall(PetscFree(average));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Scores the blocks that are this rank's; a model that all ranks of a group call at the same time, with those of the others. */
static PetscErrorCode ScoreBlocks(KalRun run, KalDataSet set, PetscInt samples, KalColumns *columns, PetscReal *sums)
{
  const PetscInt blocks = (samples + KAL_SCORE_BLOCK - 1) / KAL_SCORE_BLOCK;
  PetscScalar   *y;
  PetscBool      together;
  KalBatch       batch;

  PetscFunctionBeginUser;
  PetscCall(KalRunAllTogether(run, &together));
  PetscCall(PetscMalloc1((size_t)KAL_SCORE_BLOCK * run->outputs, &y));
  for (PetscMPIInt rank = run->rank - (together ? run->place : 0), end = together ? rank + run->span : rank + 1; rank < end; rank++) {
    const PetscInt first = (PetscInt)((PetscInt64)blocks * rank / run->size), last = (PetscInt)((PetscInt64)blocks * (rank + 1) / run->size);

    for (PetscInt b = first; b < last; b++) {
      PetscCall(KalObservationsGetBlock(run->observations, set, b * KAL_SCORE_BLOCK, PetscMin(KAL_SCORE_BLOCK, samples - b * KAL_SCORE_BLOCK), &batch));
      PetscCall(ScoreBlock(run, columns, &batch, together, y, rank == run->rank ? sums + (size_t)(b - first) * KAL_SCORE_SUMS : NULL));
    }
  }
  PetscCall(PetscFree(y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What stands for the ensemble: its mean; of paths in minima of their own the one of least action, in `room`, to be freed. */
static PetscErrorCode Estimate(KalRun run, const PetscScalar **x, PetscScalar **room)
{
  const PetscScalar *mean;
  const PetscReal   *action;
  PetscReal         *unit;
  PetscInt           lowest = 0;
  KalLevels          levels;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetMean(run->ensemble, &mean));
  *x    = mean;
  *room = NULL;
  PetscCall(KalAnalysisGetLevels(run->analysis, &levels));
  if (!levels.lowest || !levels.rungs) PetscFunctionReturn(PETSC_SUCCESS);
  action = levels.action + (size_t)(levels.rungs - 1) * (size_t)levels.members;
  for (PetscInt j = 1; j < levels.members; j++) lowest = action[j] < action[lowest] ? j : lowest;
  PetscCall(PetscCalloc1(levels.members, &unit));
  unit[lowest] = 1.0;
  PetscCall(PetscMalloc1(run->n, room));
  PetscCall(KalEnsembleCombine(run->ensemble, unit, *room));
  for (PetscInt i = 0; i < run->n; i++) (*room)[i] += mean[i];
  *x = *room;
  PetscCall(PetscFree(unit));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunScoreMean - Scores the mean network, or the path of least action, on the test set, or on the training set where there is no other

  Collective; blocks of samples are dealt out to the ranks and summed in a fixed order.
*/
PetscErrorCode KalRunScoreMean(KalRun run, KalScore *score)
{
  const PetscScalar *estimate = NULL;
  PetscScalar       *column[1], *room = NULL;
  KalColumns         columns = {.first = 0, .count = 1, .total = 1, .size = run->n, .column = column};
  KalDataSet         set;
  PetscInt           samples, blocks;
  PetscReal         *sums, total[KAL_SCORE_SUMS];

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_SCORE));
  PetscCall(Estimate(run, &estimate, &room));
  column[0] = (PetscScalar *)estimate; /* observed, not written */
  PetscCall(ScoredSet(run, &set, &samples));
  blocks = (samples + KAL_SCORE_BLOCK - 1) / KAL_SCORE_BLOCK;
  PetscCall(PetscCalloc1((size_t)(blocks / run->size + 1) * KAL_SCORE_SUMS, &sums));
  PetscCall(ScoreBlocks(run, set, samples, &columns, sums));
  PetscCall(KalTreeSum(run->comm, blocks, KAL_SCORE_SUMS, sums, total));
  PetscCall(KalScoreFromSums(run->observations, total, score));
  PetscCall(PetscFree(sums));
  PetscCall(PetscFree(room));
  PetscCall(KalEventEnd(KAL_EVENT_SCORE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  KalRun          run;
  const KalBatch *batch;
  PetscScalar    *average;
} KalAveraging;

static PetscErrorCode VisitScore(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalAveraging *averaging = (KalAveraging *)ctx;
  KalRun        run       = averaging->run;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsAverage(run->observations, rows, rows->members[0], run->status, averaging->average, NULL));
  PetscCall(KalObservationsScore(run->observations, averaging->batch, rows->first / run->outputs, rows->count / run->outputs, averaging->average, sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunScoreEnsemble - Scores the average of the members' predictions; members whose prediction is not finite are left out

  Collective.
*/
PetscErrorCode KalRunScoreEnsemble(KalRun run, KalScore *score)
{
  KalBatch     batch;
  KalAveraging averaging = {.run = run, .batch = &batch};
  const KalAsk ask       = {.points = run->ensemble, .from = -1, .to = 0, .active = KalRunActive(run), .observe = PETSC_TRUE};
  KalDataSet   set;
  KalEnsemble  predictions;
  PetscInt     samples, at, i;
  PetscReal    sums[KAL_SCORE_SUMS], total[KAL_SCORE_SUMS] = {0.0};

  PetscFunctionBeginUser;
  PetscCall(ScoredSet(run, &set, &samples));
  PetscCall(PetscMalloc1((size_t)KAL_SCORE_BLOCK * run->outputs, &averaging.average));
  for (at = 0; at < samples; at += KAL_SCORE_BLOCK) {
    PetscCall(KalObservationsGetBlock(run->observations, set, at, PetscMin(KAL_SCORE_BLOCK, samples - at), &batch));
    PetscCall(KalRunEvaluate(run, &ask, &batch, &predictions));
    PetscCall(KalEnsembleSumRows(1, &predictions, VisitScore, &averaging, KAL_SCORE_SUMS, sums));
    for (i = 0; i < KAL_SCORE_SUMS; i++) total[i] += sums[i];
  }
  PetscCall(PetscFree(averaging.average));
  PetscCall(KalScoreFromSums(run->observations, total, score));
  PetscFunctionReturn(PETSC_SUCCESS);
}
