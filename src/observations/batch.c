/* Mini-batches: which samples, normalized inputs, targets. */
#include "observationsimpl.h"

/* Samples of a cycle's batch, and the batches of an epoch. */
static void Cycle(KalObservations obs, PetscInt *batch, PetscInt *batches)
{
  const PetscInt samples = obs->set[KAL_SET_TRAIN].samples;

  *batch   = obs->batch && obs->batch < samples ? obs->batch : samples;
  *batches = samples / *batch;
}

static PetscErrorCode Grow(KalObservations obs, PetscInt count, const char *what, KalBuffer *buffer)
{
  const PetscInt inputs = obs->set[KAL_SET_TRAIN].x.shape.width;
  const size_t   bytes  = (size_t)inputs * (size_t)count * (obs->precision == KAL_SINGLE ? sizeof(float) : sizeof(double));
  const size_t   target = (size_t)count * (size_t)obs->outputs;

  PetscFunctionBeginUser;
  PetscCheck(count <= PETSC_MAX_INT / obs->outputs, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%s of %" PetscInt_FMT " samples with %" PetscInt_FMT " outputs each has more numbers than an index holds (%" PetscInt_FMT "); use a smaller -observations_batch", what, count, obs->outputs, PETSC_MAX_INT);
  if (bytes > buffer->inputbytes) {
    buffer->inputbytes = 0;
    PetscCall(PetscFree(buffer->input));
    PetscCall(PetscMalloc(bytes, &buffer->input));
    buffer->inputbytes = bytes;
  }
  if (target > buffer->targets) {
    buffer->targets = 0;
    PetscCall(PetscFree(buffer->target));
    PetscCall(PetscMalloc1(target, &buffer->target));
    buffer->targets = target;
  }
  if ((size_t)count > buffer->labels) {
    buffer->labels = 0;
    PetscCall(PetscFree(buffer->label));
    PetscCall(PetscMalloc1((size_t)count, &buffer->label));
    buffer->labels = (size_t)count;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Puts one sample of a set at place `at` of a buffer. */
static void Gather(KalObservations obs, const KalData *data, PetscInt sample, PetscInt at, KalBuffer *buffer)
{
  const PetscInt   n = data->x.shape.width, c = obs->outputs;
  const size_t     place  = (size_t)at * (size_t)n;
  PetscScalar     *target = buffer->target + (size_t)at * (size_t)c;
  PetscReal *const row    = obs->row;

  KalTableRow(&data->x, sample, row);
  if (obs->normcount == 1) {
    const PetscReal mean = obs->mean[0], sd = obs->sd[0];

    for (PetscInt i = 0; i < n; i++) row[i] = (row[i] - mean) / sd;
  } else {
    for (PetscInt i = 0; i < n; i++) row[i] = (row[i] - obs->mean[i]) / obs->sd[i];
  }
  if (obs->precision == KAL_SINGLE) {
    float *const input = (float *)buffer->input + place;

    for (PetscInt i = 0; i < n; i++) input[i] = (float)row[i];
  } else {
    double *const input = (double *)buffer->input + place;

    for (PetscInt i = 0; i < n; i++) input[i] = row[i];
  }
  if (!data->targets) return;
  if (data->labels) {
    const PetscInt label = (PetscInt)KalTableLabel(&data->y, sample);

    for (PetscInt k = 0; k < c; k++) target[k] = k == label ? 1.0 : 0.0;
    buffer->label[at] = label;
  } else KalTableRow(&data->y, sample, target);
}

static void Fill(KalObservations obs, const KalData *data, const KalBuffer *buffer, PetscInt samples, PetscInt epoch, KalBatch *batch)
{
  static PetscInt64 stamp = 0;

  *batch           = (KalBatch){0};
  batch->samples   = samples;
  batch->inputs    = data->x.shape.width;
  batch->outputs   = obs->outputs;
  batch->epoch     = epoch;
  batch->precision = obs->precision;
  batch->stamp     = ++stamp;
  batch->input     = buffer->input;
  batch->target    = data->targets ? buffer->target : NULL;
  batch->label     = data->labels ? buffer->label : NULL;
}

/*@
   KalObservationsGetCycle - How the training set is cut into mini-batches

   Not Collective

   Input Parameter:
.  obs - the observations, set up

   Output Parameters:
+  batch - samples of a cycle's batch; may be NULL
-  batches - batches of an epoch; may be NULL

   Note:
   Every batch has the same size: an epoch drops the samples that are left over, other ones each time since it is
   shuffled. -observations_batch 0, or one not smaller than the training set, makes the whole set the one batch of an
   epoch, in its natural order. Of observations in time, `batch` is the most that any cycle has, and `batches` is 1.
@*/
PetscErrorCode KalObservationsGetCycle(KalObservations obs, PetscInt *batch, PetscInt *batches)
{
  PetscInt size, count;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsGetCycle"));
  if (obs->type == KAL_TYPE_DATASET) Cycle(obs, &size, &count);
  else {
    PetscCall(KalTimedGetMost(obs, &size));
    count = 1;
  }
  if (batch) *batch = size;
  if (batches) *batches = count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsNext - The mini-batch of a cycle, or its observations in time

   Not Collective; every rank makes its own normalized copy

   Input Parameters:
+  obs - the observations, set up
-  cycle - from 0; the batch follows from it and from the seed alone

   Output Parameter:
.  batch - the batch; its arrays belong to `obs` and last until the next call of this function

   Notes:
   The epoch is cycle/batches, rounded down. Each epoch is shuffled by a permutation with the key (seed,
   KAL_DRAW_SHUFFLE, epoch); a full batch keeps the natural order. See KalObservationsGetCycle() for what is left over.

   Of observations in time, those of the cycle's time: their targets are values from a file, or NULL for a twin until
   KalObservationsTruth() makes them. With a dense error covariance, `root` is its lower Cholesky factor and `error` is 1.
@*/
PetscErrorCode KalObservationsNext(KalObservations obs, PetscInt cycle, KalBatch *batch)
{
  const KalData *data = &obs->set[KAL_SET_TRAIN];
  PetscInt       size, batches;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsNext"));
  PetscCheck(cycle >= 0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Cycle %" PetscInt_FMT " was asked for; cycles count from 0", cycle);
  if (obs->type != KAL_TYPE_DATASET) {
    PetscCall(KalTimedNext(obs, cycle, batch));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  Cycle(obs, &size, &batches);
  PetscCall(Grow(obs, size, "A batch", &obs->next));
  {
    const KalKey key = {obs->seed, KAL_DRAW_SHUFFLE, cycle / batches, 0};

    for (PetscInt i = 0; i < size; i++) {
      PetscInt64 sample = i;

      if (size < data->samples) PetscCall(KalDrawPermuted(key, data->samples, (PetscInt64)(cycle % batches) * size + i, &sample));
      Gather(obs, data, (PetscInt)sample, i, &obs->next);
    }
  }
  Fill(obs, data, &obs->next, size, cycle / batches, batch);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsGetBlock - Consecutive samples of a set in their natural order, as a batch

   Not Collective; every rank makes its own normalized copy

   Input Parameters:
+  obs - the observations, set up
.  set - KAL_SET_TRAIN or KAL_SET_TEST
.  first - first sample, from 0
-  count - samples

   Output Parameter:
.  batch - the batch; its arrays belong to `obs`, last until the next call of this function, and leave those of
           KalObservationsNext() alone
@*/
PetscErrorCode KalObservationsGetBlock(KalObservations obs, KalDataSet set, PetscInt first, PetscInt count, KalBatch *batch)
{
  const KalData *data = &obs->set[set];

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsGetBlock"));
  PetscCheck(obs->type == KAL_TYPE_DATASET, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "Observations of type %s are in time and have no sets of samples; use KalObservationsNext()", KalObservationsTypes[obs->type]);
  PetscCheck(data->samples, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "There is no %s set; name one in -observations_path", set == KAL_SET_TEST ? "test" : "training");
  PetscCheck(first >= 0 && count >= 1 && first <= data->samples - count, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " samples from sample %" PetscInt_FMT " on were asked for; the %s set has %" PetscInt_FMT, count, first, set == KAL_SET_TEST ? "test" : "training", data->samples);
  PetscCall(Grow(obs, count, "A block", &obs->block));
  for (PetscInt i = 0; i < count; i++) Gather(obs, data, first + i, i, &obs->block);
  Fill(obs, data, &obs->block, count, 0, batch);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscReal BufferBytes(const KalBuffer *buffer)
{
  return (PetscReal)buffer->inputbytes + (PetscReal)buffer->targets * (PetscReal)sizeof(PetscScalar) + (PetscReal)buffer->labels * (PetscReal)sizeof(PetscInt);
}

/*@
   KalObservationsGetMemory - Memory that the observations take on this rank, in bytes

   Not Collective

   Input Parameter:
.  obs - the observations, set up

   Output Parameter:
.  bytes - this rank's share of the data, which stand once a node (the ranks of a node share it evenly), the batch of
           KalObservationsNext(), and what the other buffers have grown to so far
@*/
PetscErrorCode KalObservationsGetMemory(KalObservations obs, PetscReal *bytes)
{
  PetscReal shared = 0.0, next;
  PetscInt  size, batches;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsGetMemory"));
  if (obs->type != KAL_TYPE_DATASET) {
    PetscCall(KalTimedGetMemory(obs, bytes));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (int s = 0; s < 2; s++) shared += (PetscReal)obs->set[s].x.shared.bytes + (PetscReal)obs->set[s].y.shared.bytes;
  Cycle(obs, &size, &batches);
  next   = (PetscReal)size * ((PetscReal)obs->set[KAL_SET_TRAIN].x.shape.width * (obs->precision == KAL_SINGLE ? 4.0 : 8.0) + (PetscReal)obs->outputs * (PetscReal)sizeof(PetscScalar) + (PetscReal)sizeof(PetscInt));
  *bytes = shared / obs->nodesize + PetscMax(next, BufferBytes(&obs->next)) + BufferBytes(&obs->block) + (PetscReal)obs->works * (PetscReal)sizeof(PetscScalar) + (PetscReal)obs->set[KAL_SET_TRAIN].x.shape.width * (PetscReal)sizeof(PetscReal);
  PetscFunctionReturn(PETSC_SUCCESS);
}
