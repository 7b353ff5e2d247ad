/*
  Derivatives by the points of a method, where the model has an adjoint.

  Ranks that share a point (ensemble/sharing.h) divide the batch's samples, by blocks whose bounds follow from the batch alone, and
  sum what they made in the order of the tree.
*/
#include "runimpl.h"

#include <ensemble/ensembleimpl.h>
#include <ensemble/sharing.h>

/* Samples of a block: enough to fill panels, few enough that some ranks have one each. */
#define KAL_DERIVATIVES_SAMPLES 32

struct _n_KalDerivation {
  KalGroup     group;
  PetscInt     n, points;
  KalEnsemble  columns; /* of a point, or of a prediction */
  PetscScalar *replica; /* of a point that another rank owns */
  PetscReal   *sum;     /* n + 2 */
  PetscReal   *losses;  /* two a point */
};

PetscErrorCode KalDerivationDestroy(KalDerivation *derivation)
{
  PetscFunctionBeginUser;
  if (!*derivation) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalGroupDestroy(&(*derivation)->group));
  PetscCall(KalEnsembleDestroy(&(*derivation)->columns));
  PetscCall(PetscFree3((*derivation)->replica, (*derivation)->sum, (*derivation)->losses));
  PetscCall(PetscFree(*derivation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Room for points of n numbers and so many columns, kept from one cycle to the next. */
static PetscErrorCode Reserve(KalRun run, PetscInt n, PetscInt points, PetscInt columns)
{
  KalDerivation d    = run->derivation;
  PetscInt      have = 0;

  PetscFunctionBeginUser;
  if (d) PetscCall(KalEnsembleGetSizes(d->columns, NULL, &have));
  if (d && d->n == n && d->points == points && have == columns) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalDerivationDestroy(&run->derivation));
  PetscCall(PetscNew(&d));
  d->n      = n;
  d->points = points;
  PetscCall(KalGroupCreate(run->comm, points, &d->group));
  PetscCall(PetscMalloc3(n, &d->replica, (size_t)n + 2, &d->sum, 2 * (size_t)points, &d->losses));
  PetscCall(KalEnsembleCreate(run->comm, &d->columns));
  PetscCall(KalEnsembleSetSizes(d->columns, n, columns));
  PetscCall(KalEnsembleSetFromOptions(d->columns));
  PetscCall(KalEnsembleSetUp(d->columns));
  run->derivation = d;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt Blocks(const KalBatch *batch)
{
  return (batch->samples + KAL_DERIVATIVES_SAMPLES - 1) / KAL_DERIVATIVES_SAMPLES;
}

/* Some samples of a batch. */
static KalBatch Part(const KalBatch *batch, PetscInt first, PetscInt samples)
{
  const size_t real = batch->precision == KAL_SINGLE ? sizeof(float) : sizeof(double);
  KalBatch     part = *batch;

  part.samples = samples;
  part.stamp   = 0;
  part.input   = (const char *)batch->input + (size_t)first * (size_t)batch->inputs * real;
  part.target  = batch->target ? batch->target + (size_t)first * (size_t)batch->outputs : NULL;
  part.label   = batch->label ? batch->label + first : NULL;
  return part;
}

typedef struct {
  KalObservations observations;
  const KalBatch *batch;
  PetscInt        first;   /* sample of the batch that the part in hand begins with */
  PetscInt        output;  /* of the prediction in hand */
  PetscReal       sums[2]; /* of losses and their squares */
} KalSensitive;

/* Derivatives of the mean loss by the predictions. */
static PetscErrorCode OfLoss(void *ctx, PetscInt column, PetscInt first, PetscInt samples, const PetscScalar *y, PetscScalar *s)
{
  KalSensitive   *part   = (KalSensitive *)ctx;
  const PetscReal factor = 1.0 / part->batch->samples;
  PetscReal       losses[KAL_DERIVATIVES_SAMPLES];

  PetscFunctionBeginUser;
  (void)column;
  PetscCheck(samples <= KAL_DERIVATIVES_SAMPLES, PETSC_COMM_SELF, PETSC_ERR_PLIB, "%" PetscInt_FMT " samples came at once", samples);
  PetscCall(KalObservationsLinearize(part->observations, part->batch, part->first + first, samples, y, s, NULL, NULL, losses));
  for (PetscInt i = 0; i < samples * part->batch->outputs; i++) s[i] *= factor;
  for (PetscInt i = 0; i < samples; i++) {
    part->sums[0] += losses[i] * factor;
    part->sums[1] += losses[i] * losses[i] * factor;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Derivatives of one output of one sample. */
static PetscErrorCode OfPrediction(void *ctx, PetscInt column, PetscInt first, PetscInt samples, const PetscScalar *y, PetscScalar *s)
{
  const KalSensitive *part = (const KalSensitive *)ctx;

  PetscFunctionBeginUser;
  (void)column;
  (void)first;
  (void)y;
  PetscCall(PetscArrayzero(s, (size_t)samples * (size_t)part->batch->outputs));
  s[part->output] = 1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One point's derivative of the loss, and its losses behind it, on every rank of the group. */
static PetscErrorCode DifferentiateLoss(KalRun run, const KalBatch *batch, PetscScalar *x)
{
  KalDerivation d       = run->derivation;
  KalColumns    columns = {.first = 0, .count = 1, .total = 1, .size = d->n, .column = &x};
  KalSensitive  part    = {.observations = run->observations, .batch = batch};
  PetscInt      first, last;
  KalTree       tree;

  PetscFunctionBeginUser;
  PetscCall(KalTreeBegin(&tree, d->group.comm, Blocks(batch), d->n + 2));
  KalGroupShare(&d->group, Blocks(batch), &first, &last);
  for (PetscInt b = first; b < last; b++) {
    KalBatch   block;
    PetscReal *leaf;

    part.first   = b * KAL_DERIVATIVES_SAMPLES;
    part.sums[0] = part.sums[1] = 0.0;
    block                       = Part(batch, part.first, PetscMin(KAL_DERIVATIVES_SAMPLES, batch->samples - part.first));
    PetscCall(KalTreeLeaf(&tree, &leaf));
    PetscCall(KalModelAdjoint(run->model, &columns, &block, OfLoss, &part, &leaf));
    PetscCall(PetscArraycpy(leaf + d->n, part.sums, 2));
    PetscCall(KalTreeAdd(&tree));
  }
  PetscCall(KalTreeEnd(&tree, d->sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Losses(KalRun run, const KalAsk *ask, const KalBatch *batch)
{
  KalDerivation d = run->derivation;

  PetscFunctionBeginUser;
  for (PetscInt m = d->group.first; m < d->group.last; m++) {
    KalColumns   columns;
    PetscScalar *x = d->replica, *column;

    if (d->group.owner) {
      PetscCall(KalEnsembleGetColumns(ask->points, m, 1, &columns));
      x = columns.column[0];
    }
    PetscCall(KalGroupFromOwner(&d->group, d->n, x));
    PetscCall(DifferentiateLoss(run, batch, x));
    PetscCall(PetscArraycpy(d->losses + 2 * m, d->sum + d->n, 2));
    if (!d->group.owner) continue;
    PetscCall(KalEnsembleRestoreColumns(ask->points, &columns));
    PetscCall(KalEnsembleGetMember(d->columns, m, &column));
    PetscCall(PetscArraycpy(column, d->sum, d->n));
  }
  PetscCall(KalGroupCollect(&d->group, 2, d->losses));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Predictions are dealt out to the ranks. */
static PetscErrorCode Predictions(KalRun run, const KalAsk *ask, const KalBatch *batch)
{
  KalDerivation      d = run->derivation;
  const PetscScalar *mean;
  PetscScalar       *x, *column;
  KalColumns         columns = {.first = 0, .count = 1, .total = 1, .size = d->n, .column = &x};
  KalSensitive       part    = {.observations = run->observations, .batch = batch};
  PetscInt           first, last;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetMean(ask->points, &mean)); /* of one point: itself, on every rank */
  x = (PetscScalar *)mean;                           /* differentiated, not written */
  PetscCall(KalEnsembleGetOwnershipRange(d->columns, &first, &last));
  for (PetscInt k = first; k < last; k++) {
    const KalBatch one = Part(batch, k / batch->outputs, 1);

    part.output = k % batch->outputs;
    PetscCall(KalEnsembleGetMember(d->columns, k, &column));
    PetscCall(KalModelAdjoint(run->model, &columns, &one, OfPrediction, &part, &column));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunDifferentiate - Makes the derivatives that were asked for, and tells them

  Collective. told->batch is the batch; derivatives and losses hold until the next call.
*/
PetscErrorCode KalRunDifferentiate(KalRun run, const KalAsk *ask, KalTold *told)
{
  const double    start = MPI_Wtime();
  const KalBatch *batch = told->batch;
  PetscInt        n, points, columns;

  PetscFunctionBeginUser;
  told->derivatives = NULL;
  told->losses      = NULL;
  if (ask->derivatives == KAL_DERIVATIVES_NONE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(!run->timed, run->comm, PETSC_ERR_SUP, "Derivatives are those of a data set's batch, not of observations in time");
  PetscCall(KalEnsembleGetSizes(ask->points, &n, &points));
  PetscCheck(ask->derivatives == KAL_DERIVATIVES_LOSS || points == 1, run->comm, PETSC_ERR_SUP, "Derivatives of predictions are those of one point, not of %" PetscInt_FMT, points);
  columns = ask->derivatives == KAL_DERIVATIVES_LOSS ? points : batch->samples * batch->outputs;
  PetscCall(KalEventBegin(KAL_EVENT_OBSERVE));
  PetscCall(Reserve(run, n, points, columns));
  if (ask->derivatives == KAL_DERIVATIVES_LOSS) PetscCall(Losses(run, ask, batch));
  else PetscCall(Predictions(run, ask, batch));
  PetscCall(KalEnsembleChanged(run->derivation->columns));
  PetscCall(KalEventEnd(KAL_EVENT_OBSERVE));
  told->derivatives = run->derivation->columns;
  told->losses      = ask->derivatives == KAL_DERIVATIVES_LOSS ? run->derivation->losses : NULL;
  run->seconds[KAL_SECONDS_OBSERVE] += MPI_Wtime() - start;
  PetscFunctionReturn(PETSC_SUCCESS);
}
