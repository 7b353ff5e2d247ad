/* What data are observed: from memory or from files, and whether they fit together. */
#include "observationsimpl.h"

/* Node rank 0 copies an array of the caller into a table. */
static PetscErrorCode TableFromArray(KalObservations obs, KalShape *shape, const PetscReal *values, const char *where, KalTable *table)
{
  KalFault       fault = {PETSC_SUCCESS, ""};
  const PetscInt n     = shape->width;

  PetscFunctionBeginUser;
  PetscCall(KalTableCreate(obs, shape, where, table));
  if (!obs->noderank) {
    if (shape->element == KAL_ELEMENT_FLOAT64) PetscCall(PetscMemcpy(table->shared.data, values, (size_t)shape->samples * (size_t)n * sizeof(PetscReal)));
    else {
      for (PetscInt i = 0; i < shape->samples && !fault.text[0]; i++) {
        const PetscReal v = values[i];

        if (v >= 0 && v < (PetscReal)PETSC_MAX_INT && v == PetscFloorReal(v)) ((int64_t *)table->shared.data)[i] = (int64_t)v;
        else KalFaultSet(&fault, PETSC_ERR_ARG_OUTOFRANGE, "The label of sample %" PetscInt_FMT " (from 0) in %s is %g; class labels are whole numbers from 0 to one less than the number of outputs", i, where, (double)v);
      }
    }
  }
  PetscCall(KalTablePublish(obs, where, table, &fault));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetArrays - Gives a data set from memory in place of files

   Collective

   Input Parameters:
+  obs - the observations
.  set - KAL_SET_TRAIN or KAL_SET_TEST
.  samples - samples, at least 1
.  inputs - numbers an input has, at least 1
.  x - samples x inputs, a sample contiguous; the same on every rank; copied
.  outputs - numbers a target has, or 0: `y` holds a class label a sample
-  y - samples x outputs (or `samples` whole numbers from 0), a sample contiguous; the same on every rank; copied

   Errors:
   NaN or Inf, a label that is negative or not whole, sizes below 1
@*/
PetscErrorCode KalObservationsSetArrays(KalObservations obs, KalDataSet set, PetscInt samples, PetscInt inputs, const PetscReal *x, PetscInt outputs, const PetscReal *y)
{
  const PetscInt     width   = PetscMax(outputs, 1);
  unsigned long long dims[2] = {(unsigned long long)samples, (unsigned long long)inputs};
  KalFault           fault   = {PETSC_SUCCESS, ""};
  KalShape           shape;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetArrays"));
  PetscCheck(set == KAL_SET_TRAIN || set == KAL_SET_TEST, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "Set %d is unknown; allowed: KAL_SET_TRAIN, KAL_SET_TEST", (int)set);
  PetscCheck(samples >= 1 && inputs >= 1 && outputs >= 0, obs->comm, PETSC_ERR_ARG_SIZ, "A data set of %" PetscInt_FMT " samples with %" PetscInt_FMT " inputs and %" PetscInt_FMT " outputs was given; samples and inputs must be at least 1, outputs at least 0", samples, inputs, outputs);
  PetscCheck(x && y, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "The array of %s is NULL", x ? "targets" : "inputs");
  PetscCall(KalDataDestroy(&obs->set[set]));
  KalShapeSet(&shape, KAL_ELEMENT_FLOAT64, 2, dims, "the array of inputs", &fault);
  KalCheckAll(obs->comm, fault.code, fault.text);
  PetscCall(TableFromArray(obs, &shape, x, "the array of inputs", &obs->set[set].x));
  dims[1] = (unsigned long long)width;
  KalShapeSet(&shape, outputs ? KAL_ELEMENT_FLOAT64 : KAL_ELEMENT_INT64, outputs ? 2 : 1, dims, "the array of targets", &fault);
  KalCheckAll(obs->comm, fault.code, fault.text);
  PetscCall(TableFromArray(obs, &shape, y, "the array of targets", &obs->set[set].y));
  PetscCall(KalDataCheck(obs, set, "the array of inputs", "the array of targets"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The loss poisson is of counts. */
static PetscErrorCode CheckCounts(KalObservations obs)
{
  static const char *const names[] = {"training", "test"};

  PetscFunctionBeginUser;
  if (obs->loss != KAL_LOSS_POISSON) PetscFunctionReturn(PETSC_SUCCESS);
  for (int s = 0; s < 2; s++) {
    KalData  *data = &obs->set[s];
    PetscReal row[64];

    if (!data->targets || !data->samples) continue;
    PetscCheck(!data->labels, obs->comm, PETSC_ERR_ARG_INCOMP, "The loss poisson is of counts, and the targets are class labels; use -observations_loss cross-entropy, or store counts as two-dimensional targets");
    PetscCheck(data->y.shape.width <= (PetscInt)PETSC_STATIC_ARRAY_LENGTH(row), obs->comm, PETSC_ERR_SUP, "The loss poisson takes %d counts a sample at most, not %" PetscInt_FMT, (int)PETSC_STATIC_ARRAY_LENGTH(row), data->y.shape.width);
    for (PetscInt i = 0; i < data->samples; i++) {
      KalTableRow(&data->y, i, row);
      for (PetscInt k = 0; k < data->y.shape.width; k++) PetscCheck(row[k] >= 0.0, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "Target %g of sample %" PetscInt_FMT " (from 0) of the %s set is negative; the loss poisson is of counts", (double)row[k], i, names[s]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Training and test set must tell the same kind of thing. */
static PetscErrorCode CheckSets(KalObservations obs)
{
  KalData *train = &obs->set[KAL_SET_TRAIN], *test = &obs->set[KAL_SET_TEST];

  PetscFunctionBeginUser;
  PetscCheck(train->samples, obs->comm, PETSC_ERR_ARG_WRONGSTATE, "There are no training data; name them with -observations_path, or give them with KalObservationsSetArrays()");
  if (test->samples) {
    PetscCheck(test->x.shape.width == train->x.shape.width, obs->comm, PETSC_ERR_ARG_SIZ, "A sample of the test set has %" PetscInt_FMT " inputs and one of the training set %" PetscInt_FMT "; both need the same number", test->x.shape.width, train->x.shape.width);
  }
  if (test->targets && train->targets) {
    PetscCheck(test->labels == train->labels, obs->comm, PETSC_ERR_ARG_INCOMP, "The test set has %s and the training set %s; both need the same kind of targets", test->labels ? "class labels" : "real-valued targets", train->labels ? "class labels" : "real-valued targets");
    PetscCheck(train->labels || test->y.shape.width == train->y.shape.width, obs->comm, PETSC_ERR_ARG_SIZ, "A target of the test set has %" PetscInt_FMT " numbers and one of the training set %" PetscInt_FMT "; both need the same number", test->y.shape.width, train->y.shape.width);
  }
  PetscCheck(obs->limit <= train->samples, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_samples %" PetscInt_FMT " asks for more samples than the training set has (%" PetscInt_FMT ")", obs->limit, train->samples);
  if (obs->limit) train->samples = obs->limit;
  if (!train->targets) {
    PetscCheck(obs->loss != KAL_LOSS_CROSS_ENTROPY || !test->targets || test->labels, obs->comm, PETSC_ERR_ARG_INCOMP, "The loss cross-entropy needs class labels, and the targets of the test set are real-valued");
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(CheckCounts(obs));
  if (!obs->lossset) obs->loss = train->labels ? KAL_LOSS_CROSS_ENTROPY : KAL_LOSS_SQUARED;
  PetscCheck(obs->loss != KAL_LOSS_CROSS_ENTROPY || train->labels, obs->comm, PETSC_ERR_ARG_INCOMP, "The loss cross-entropy needs class labels, and the targets are real-valued (%s, %" PetscInt_FMT "-dimensional); use -observations_loss squared, or store labels as one dimension of integers", KalElementName(train->y.shape.element), train->y.shape.ndims);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Outputs that were given must be those of the targets, and no label may lie behind them. */
static PetscErrorCode CheckLabels(KalObservations obs)
{
  static const char *const names[] = {"training", "test"};
  PetscInt64               largest = -1;

  PetscFunctionBeginUser;
  for (int s = 0; s < 2; s++) {
    const KalData *data = &obs->set[s];

    if (!data->samples || !data->targets) continue;
    largest = PetscMax(largest, data->largest);
    if (data->labels) continue;
    PetscCheck(!obs->outputsgiven || obs->outputs == data->y.shape.width, obs->comm, PETSC_ERR_ARG_SIZ, "The model has %" PetscInt_FMT " outputs, and a target has %" PetscInt_FMT " numbers; both must agree", obs->outputs, data->y.shape.width);
    obs->outputs = data->y.shape.width;
  }
  if (largest < 0) PetscFunctionReturn(PETSC_SUCCESS);
  if (!obs->outputsgiven) obs->outputs = (PetscInt)largest + 1;
  for (int s = 0; s < 2; s++) {
    const KalData *data = &obs->set[s];
    PetscInt       i    = 0;

    if (!data->samples || data->largest < obs->outputs) continue;
    while (i < data->y.shape.samples - 1 && KalTableLabel(&data->y, i) < obs->outputs) i++;
    PetscCheck(PETSC_FALSE, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "The label of sample %" PetscInt_FMT " (from 0) in the %s set is %lld; with %" PetscInt_FMT " outputs, labels from 0 to %" PetscInt_FMT " are allowed; give the model %lld outputs, or mend the data", i, names[s], (long long)KalTableLabel(&data->y, i), obs->outputs, obs->outputs - 1, (long long)(data->largest + 1));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetUp - Reads the data and checks them

   Collective; rank 0 of each node reads

   Input Parameter:
.  obs - the observations

   Errors:
   Every error is raised on every rank, with the file, the value and the remedy: a file that is missing, truncated, damaged,
   of another format or with more bytes than it should have; sizes that disagree; an empty set; a label out of range; NaN or
   Inf; a loss or normalization that does not fit the data

   Note:
   The data are kept as the bytes they came in, once a node, in shared memory.
@*/
PetscErrorCode KalObservationsSetUp(KalObservations obs)
{
  PetscFunctionBeginUser;
  if (obs->setup) PetscFunctionReturn(PETSC_SUCCESS);
  if (obs->type != KAL_TYPE_DATASET) {
    PetscCall(KalTimedSetUp(obs));
    obs->setup = PETSC_TRUE;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (obs->path[0]) {
    PetscCheck(!obs->set[KAL_SET_TRAIN].samples && !obs->set[KAL_SET_TEST].samples, obs->comm, PETSC_ERR_ARG_WRONGSTATE, "Data were given from memory and by -observations_path %s as well; give one of them", obs->path);
    PetscCall(KalObservationsLoad(obs));
  }
  PetscCall(CheckSets(obs));
  PetscCall(CheckLabels(obs));
  PetscCall(PetscFree(obs->row));
  PetscCall(PetscMalloc1(obs->set[KAL_SET_TRAIN].x.shape.width, &obs->row));
  PetscCall(KalObservationsNormalize(obs));
  obs->setup = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetOutputs - Tells the number of outputs of the model

   Logically Collective; before or after KalObservationsSetUp()

   Input Parameters:
+  obs - the observations
-  outputs - numbers that the model predicts for a sample

   Errors:
   A label that is not below `outputs`; targets of another width

   Note:
   Observations in time have one output each, and take no notice.
@*/
PetscErrorCode KalObservationsSetOutputs(KalObservations obs, PetscInt outputs)
{
  PetscFunctionBeginUser;
  PetscCheck(outputs >= 1, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "A model with %" PetscInt_FMT " outputs was named; it needs at least 1", outputs);
  if (obs->type != KAL_TYPE_DATASET) PetscFunctionReturn(PETSC_SUCCESS);
  obs->outputs      = outputs;
  obs->outputsgiven = PETSC_TRUE;
  if (obs->setup) PetscCall(CheckLabels(obs));
  PetscFunctionReturn(PETSC_SUCCESS);
}
