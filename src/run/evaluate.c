/* Forecast and observation of members, and scores of their predictions. */
#include "runimpl.h"

/* Columns that are handed to a model at once: enough for its blocks, few enough to generate in place. */
#define KAL_COLUMNS_MOST  64
#define KAL_COLUMNS_BYTES (64 << 20)
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
  PetscCall(KalEnsembleSetFromOptions(run->predictions[slot]));
  PetscCall(KalEnsembleSetUp(run->predictions[slot]));
  *predictions = run->predictions[slot];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EvaluateColumns(KalRun run, KalColumns *columns, const KalBatch *batch, KalEnsemble predictions, KalStatus *status)
{
  PetscScalar *y[KAL_COLUMNS_MOST];
  PetscInt     k;
  double       start = MPI_Wtime();

  PetscFunctionBeginUser;
  for (k = 0; k < columns->count; k++) {
    status[k] = KAL_MEMBER_OK;
    PetscCall(KalEnsembleGetMember(predictions, columns->first + k, &y[k]));
  }
  PetscCall(PetscLogEventBegin(KalRunEvents[KAL_EVENT_FORECAST], 0, 0, 0, 0));
  PetscCall(KalModelPropagate(run->model, NULL, (PetscReal)run->cycle, (PetscReal)run->cycle + 1.0, columns, status));
  PetscCall(PetscLogEventEnd(KalRunEvents[KAL_EVENT_FORECAST], 0, 0, 0, 0));
  run->seconds[KAL_SECONDS_FORECAST] += MPI_Wtime() - start;
  start = MPI_Wtime();
  PetscCall(PetscLogEventBegin(KalRunEvents[KAL_EVENT_OBSERVE], 0, 0, 0, 0));
  PetscCall(KalModelObserve(run->model, NULL, (PetscReal)run->cycle + 1.0, columns, batch, y, status));
  PetscCall(PetscLogEventEnd(KalRunEvents[KAL_EVENT_OBSERVE], 0, 0, 0, 0));
  run->seconds[KAL_SECONDS_OBSERVE] += MPI_Wtime() - start;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GatherStatus(KalRun run, PetscInt points)
{
  PetscMPIInt *counts, *offsets, rank;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(run->size, &counts, run->size, &offsets));
  for (rank = 0; rank < run->size; rank++) {
    offsets[rank] = (PetscMPIInt)((PetscInt64)points * rank / run->size);
    counts[rank]  = (PetscMPIInt)((PetscInt64)points * (rank + 1) / run->size) - offsets[rank];
  }
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, run->status, counts, offsets, MPI_SIGNED_CHAR, run->comm));
  PetscCall(PetscFree2(counts, offsets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunEvaluate - Runs and observes every point of an ensemble; run->status says how each fared

  Collective. The predictions hold until the next call with the same sizes.
*/
PetscErrorCode KalRunEvaluate(KalRun run, KalEnsemble points, const KalBatch *batch, KalEnsemble *predictions)
{
  PetscInt   n, N, first, last, j, count, most;
  KalColumns columns;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSizes(points, &n, &N));
  PetscCall(KalEnsembleGetOwnershipRange(points, &first, &last));
  PetscCall(GetPredictions(run, batch->samples * batch->outputs, N, predictions));
  if (N > run->points) {
    PetscCall(PetscFree(run->status));
    PetscCall(PetscMalloc1(N, &run->status));
    run->points = N;
  }
  most = PetscMax(1, PetscMin(KAL_COLUMNS_MOST, (PetscInt)(KAL_COLUMNS_BYTES / sizeof(PetscScalar) / n)));
  for (j = first; j < last; j += count) {
    count = PetscMin(most - j % most, last - j); /* ends where blocks of members end */
    PetscCall(KalEnsembleGetColumns(points, j, count, &columns));
    PetscCall(EvaluateColumns(run, &columns, batch, *predictions, run->status + j));
    PetscCall(KalEnsembleRestoreColumns(points, &columns));
  }
  PetscCall(KalEnsembleChanged(*predictions));
  PetscCall(GatherStatus(run, N));
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

/* Scores one block of samples with one network. */
static PetscErrorCode ScoreBlock(KalRun run, KalColumns *columns, const KalBatch *batch, PetscScalar *y, PetscReal *sums)
{
  const KalRows rows   = {.first = 0, .count = batch->samples * batch->outputs, .index = 0, .ensembles = 1, .members = {1}, .x = {y}, .ld = {batch->samples * batch->outputs}};
  KalStatus     status = KAL_MEMBER_OK;
  PetscScalar  *out[1] = {y}, *average;

  PetscFunctionBeginUser;
  PetscCall(KalModelObserve(run->model, NULL, (PetscReal)run->cycle, columns, batch, out, &status));
  PetscCall(PetscMalloc1(rows.count, &average));
  PetscCall(KalObservationsAverage(run->observations, &rows, 1, &status, average, NULL));
  PetscCall(KalObservationsScore(run->observations, batch, 0, batch->samples, average, sums));
  PetscCall(PetscFree(average));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunScoreMean - Scores the mean network on the test set, or on the training set where there is no other

  Collective; blocks of samples are dealt out to the ranks and summed in a fixed order.
*/
PetscErrorCode KalRunScoreMean(KalRun run, KalScore *score)
{
  const PetscScalar *mean;
  PetscScalar       *column[1], *y;
  KalColumns         columns = {.first = 0, .count = 1, .total = 1, .size = run->n, .column = column};
  KalDataSet         set;
  KalBatch           batch;
  PetscInt           samples, blocks, first, last, b;
  PetscReal         *sums, total[KAL_SCORE_SUMS];

  PetscFunctionBeginUser;
  PetscCall(PetscLogEventBegin(KalRunEvents[KAL_EVENT_SCORE], 0, 0, 0, 0));
  PetscCall(KalEnsembleGetMean(run->ensemble, &mean));
  column[0] = (PetscScalar *)mean; /* observed, not written */
  PetscCall(ScoredSet(run, &set, &samples));
  blocks = (samples + KAL_SCORE_BLOCK - 1) / KAL_SCORE_BLOCK;
  first  = (PetscInt)((PetscInt64)blocks * run->rank / run->size);
  last   = (PetscInt)((PetscInt64)blocks * (run->rank + 1) / run->size);
  PetscCall(PetscCalloc1((size_t)PetscMax(1, last - first) * KAL_SCORE_SUMS, &sums));
  PetscCall(PetscMalloc1((size_t)KAL_SCORE_BLOCK * run->outputs, &y));
  for (b = first; b < last; b++) {
    PetscCall(KalObservationsGetBlock(run->observations, set, b * KAL_SCORE_BLOCK, PetscMin(KAL_SCORE_BLOCK, samples - b * KAL_SCORE_BLOCK), &batch));
    PetscCall(ScoreBlock(run, &columns, &batch, y, sums + (size_t)(b - first) * KAL_SCORE_SUMS));
  }
  PetscCall(KalTreeSum(run->comm, blocks, KAL_SCORE_SUMS, sums, total));
  PetscCall(KalScoreFromSums(run->observations, total, score));
  PetscCall(PetscFree(y));
  PetscCall(PetscFree(sums));
  PetscCall(PetscLogEventEnd(KalRunEvents[KAL_EVENT_SCORE], 0, 0, 0, 0));
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
  KalDataSet   set;
  KalEnsemble  predictions;
  PetscInt     samples, at, i;
  PetscReal    sums[KAL_SCORE_SUMS], total[KAL_SCORE_SUMS] = {0.0};

  PetscFunctionBeginUser;
  PetscCall(ScoredSet(run, &set, &samples));
  PetscCall(PetscMalloc1((size_t)KAL_SCORE_BLOCK * run->outputs, &averaging.average));
  for (at = 0; at < samples; at += KAL_SCORE_BLOCK) {
    PetscCall(KalObservationsGetBlock(run->observations, set, at, PetscMin(KAL_SCORE_BLOCK, samples - at), &batch));
    PetscCall(KalRunEvaluate(run, run->ensemble, &batch, &predictions));
    PetscCall(KalEnsembleSumRows(1, &predictions, VisitScore, &averaging, KAL_SCORE_SUMS, sums));
    for (i = 0; i < KAL_SCORE_SUMS; i++) total[i] += sums[i];
  }
  PetscCall(PetscFree(averaging.average));
  PetscCall(KalScoreFromSums(run->observations, total, score));
  PetscFunctionReturn(PETSC_SUCCESS);
}
