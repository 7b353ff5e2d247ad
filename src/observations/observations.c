/* Life cycle and options of KalObservations; batch.c, loss.c and score.c are its work. */
#include "observationsimpl.h"

const char *const KalNormalizes[]   = {"none", "unit", "standard", "feature", "KalNormalize", "KAL_NORMALIZE_", NULL};
const char *const KalLossTypes[]    = {"squared", "cross-entropy", "poisson", "KalLossType", "KAL_LOSS_", NULL};
const char *const KalOutputSpaces[] = {"probabilities", "logits", "KalOutputSpace", "KAL_OUTPUT_", NULL};

/*@
   KalObservationsCreate - Makes observations that have no data yet

   Collective

   Input Parameter:
.  comm - the ranks; those of one node share one copy of the data

   Output Parameter:
.  obs - the observations; give them KalObservationsSetPath() or KalObservationsSetArrays(), then KalObservationsSetUp()
@*/
PetscErrorCode KalObservationsCreate(MPI_Comm comm, KalObservations *obs)
{
  KalObservations o;

  PetscFunctionBeginUser;
  *obs = NULL;
  PetscCall(PetscNew(&o));
  PetscCall(PetscCommDuplicate(comm, &o->comm, NULL));
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &o->node));
  PetscCallMPI(MPI_Comm_rank(o->node, &o->noderank));
  PetscCallMPI(MPI_Comm_size(o->node, &o->nodesize));
  o->normalize = KAL_NORMALIZE_STANDARD;
  o->loss      = KAL_LOSS_CROSS_ENTROPY;
  o->gamma     = 1.0;
  o->output    = KAL_OUTPUT_PROBABILITIES;
  o->floor     = 0.02;
  PetscCall(KalTimedCreate(&o->timed));
  *obs = o;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* For what must come before KalObservationsSetUp(). */
PetscErrorCode KalObservationsCheckBefore(KalObservations obs, const char *what)
{
  PetscFunctionBeginUser;
  PetscCheck(!obs->setup, obs->comm, PETSC_ERR_ARG_WRONGSTATE, "%s() comes too late: the observations are set up already; call it before KalObservationsSetUp()", what);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* For what must come after it. */
PetscErrorCode KalObservationsCheckSetUp(KalObservations obs, const char *what)
{
  PetscFunctionBeginUser;
  PetscCheck(obs->setup, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "%s() comes too early: call KalObservationsSetUp() first", what);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetPath - Names the files that hold the data

   Logically Collective

   Input Parameters:
+  obs - the observations
-  path - a directory with MNIST's file names (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte,
          t10k-labels-idx1-ubyte, each plain or with .gz behind it; the last two may be missing together), or one HDF5 file
          with /x and /y and, if it has a test set, /x_test and /y_test, or a comma list of 2 or 4 IDX files in the order of
          MNIST's. IDX files are plain or gzip, told apart by content.

   Notes:
   The first dimension counts the samples; all others together are a sample's inputs. One dimension of integers in /y are
   class labels from 0; anything else are real-valued targets, a row a sample. Files are read by KalObservationsSetUp().

   Options Database Key:
.  -observations_path <path> - the same
@*/
PetscErrorCode KalObservationsSetPath(KalObservations obs, const char *path)
{
  size_t length;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetPath"));
  PetscCall(PetscStrlen(path, &length));
  PetscCheck(length < sizeof obs->path, obs->comm, PETSC_ERR_ARG_SIZ, "The path of the data has %zu characters; at most %zu are allowed", length, sizeof obs->path - 1);
  PetscCall(PetscStrncpy(obs->path, path, sizeof obs->path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsGetPath - The path of the data

   Not Collective

   Input Parameters:
+  obs - the observations
-  size - characters that `path` has room for

   Output Parameter:
.  path - as given to KalObservationsSetPath(); empty where none was
@*/
PetscErrorCode KalObservationsGetPath(KalObservations obs, size_t size, char *path)
{
  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(path, obs->path, size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetBatch - Sets the samples of a mini-batch

   Logically Collective

   Input Parameters:
+  obs - the observations
-  batch - samples; 0, or more than the training set has, for the whole set in each cycle

   Options Database Key:
.  -observations_batch <batch> - the same
@*/
PetscErrorCode KalObservationsSetBatch(KalObservations obs, PetscInt batch)
{
  PetscFunctionBeginUser;
  PetscCheck(batch >= 0, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_batch %" PetscInt_FMT " is negative; allowed: 0 (the whole training set) or the samples of a mini-batch", batch);
  obs->batch = batch;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetSamples - Uses only the first training samples

   Logically Collective

   Input Parameters:
+  obs - the observations, not set up yet
-  samples - how many; 0 for all

   Options Database Key:
.  -observations_samples <samples> - the same
@*/
PetscErrorCode KalObservationsSetSamples(KalObservations obs, PetscInt samples)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetSamples"));
  PetscCheck(samples >= 0, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_samples %" PetscInt_FMT " is negative; allowed: 0 (all) or the number of training samples to use", samples);
  obs->limit = samples;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetTargetsOptional - Allows data without targets, to predict them

   Logically Collective

   Input Parameters:
+  obs - the observations, not set up yet
-  optional - whether an HDF5 file may hold /x without /y (and /x_test without /y_test), a directory images without
              labels, and the path may be one IDX file of inputs

   Note:
   Of a set without targets there are batches (target and label are NULL), but no whitening, losses and scores. The loss
   is then the one that was set, KalObservationsSetLoss().
@*/
PetscErrorCode KalObservationsSetTargetsOptional(KalObservations obs, PetscBool optional)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetTargetsOptional"));
  obs->optional = optional;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetSeed - Sets the seed of the shuffle

   Logically Collective

   Input Parameters:
+  obs - the observations
-  seed - any number; the run's seed
@*/
PetscErrorCode KalObservationsSetSeed(KalObservations obs, PetscInt seed)
{
  PetscFunctionBeginUser;
  obs->seed = seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetLoss - Sets the loss

   Logically Collective

   Input Parameters:
+  obs - the observations
.  type - KAL_LOSS_SQUARED: 1/2 |y - g|^2/gamma a sample (class labels as one-hot rows), or KAL_LOSS_CROSS_ENTROPY:
          -log softmax(g)[label] a sample, for class labels, or KAL_LOSS_POISSON: counts y whose rates have the logarithms g
-  gamma - variance of the observation noise of the squared loss, R = gamma I; not used by the others

   Note:
   Default: cross-entropy for class labels, squared loss with gamma 1 for real-valued targets.

   Options Database Keys:
+  -observations_loss <squared,cross-entropy,poisson> - the loss
-  -observations_noise <gamma> - the variance
@*/
PetscErrorCode KalObservationsSetLoss(KalObservations obs, KalLossType type, PetscReal gamma)
{
  PetscFunctionBeginUser;
  PetscCheck(type == KAL_LOSS_SQUARED || type == KAL_LOSS_CROSS_ENTROPY || type == KAL_LOSS_POISSON, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "Loss %d is unknown; allowed: KAL_LOSS_SQUARED, KAL_LOSS_CROSS_ENTROPY, KAL_LOSS_POISSON", (int)type);
  PetscCheck(type != KAL_LOSS_SQUARED || (gamma > 0.0 && !PetscIsInfOrNanReal(gamma)), obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "The noise variance %g of the squared loss (-observations_noise) must be positive and finite", (double)gamma);
  PetscCheck(type != KAL_LOSS_CROSS_ENTROPY || !obs->setup || obs->set[KAL_SET_TRAIN].labels, obs->comm, PETSC_ERR_ARG_INCOMP, "The loss cross-entropy needs class labels, and the targets are real-valued; use -observations_loss squared");
  obs->loss    = type;
  obs->lossset = PETSC_TRUE;
  if (type == KAL_LOSS_SQUARED) obs->gamma = gamma;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetPrecision - Sets the precision of the inputs of a batch: the model's

   Logically Collective

   Input Parameters:
+  obs - the observations
-  precision - KAL_DOUBLE (the default) or KAL_SINGLE
@*/
PetscErrorCode KalObservationsSetPrecision(KalObservations obs, KalPrecision precision)
{
  PetscFunctionBeginUser;
  PetscCheck(precision == KAL_DOUBLE || precision == KAL_SINGLE, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "Precision %d is unknown; allowed: KAL_DOUBLE, KAL_SINGLE", (int)precision);
  obs->precision = precision;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsGetSizes - Sizes of a data set

   Not Collective

   Input Parameters:
+  obs - the observations, set up
-  set - KAL_SET_TRAIN or KAL_SET_TEST

   Output Parameters:
+  samples - samples in use; 0 for a test set that is not there; of observations in time the most of any cycle; may be NULL
.  inputs - numbers a sample's input has; may be NULL
-  outputs - numbers a prediction has: from KalObservationsSetOutputs(); before it the width of the real-valued targets, or
             one more than the largest label; may be NULL
@*/
PetscErrorCode KalObservationsGetSizes(KalObservations obs, KalDataSet set, PetscInt *samples, PetscInt *inputs, PetscInt *outputs)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsGetSizes"));
  PetscCheck(set == KAL_SET_TRAIN || set == KAL_SET_TEST, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Set %d is unknown; allowed: KAL_SET_TRAIN, KAL_SET_TEST", (int)set);
  if (samples) *samples = obs->set[set].samples;
  if (samples && obs->type != KAL_TYPE_DATASET && set == KAL_SET_TRAIN) PetscCall(KalTimedGetMost(obs, samples));
  if (inputs) *inputs = obs->set[KAL_SET_TRAIN].x.shape.width;
  if (outputs) *outputs = obs->outputs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsGetTargets - What kind of targets a data set has

   Not Collective

   Input Parameters:
+  obs - the observations, set up
-  set - KAL_SET_TRAIN or KAL_SET_TEST

   Output Parameters:
+  targets - whether it has any; may be NULL
-  labels - whether they are class labels; may be NULL
@*/
PetscErrorCode KalObservationsGetTargets(KalObservations obs, KalDataSet set, PetscBool *targets, PetscBool *labels)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsGetTargets"));
  if (targets) *targets = obs->type != KAL_TYPE_DATASET ? (PetscBool)(set == KAL_SET_TRAIN) : obs->set[set].targets;
  if (labels) *labels = obs->set[set].labels;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsGetLoss - The loss in use

   Not Collective

   Input Parameter:
.  obs - the observations, set up

   Output Parameters:
+  type - the loss; may be NULL
.  gamma - noise variance of the squared loss; may be NULL
-  affine - PETSC_TRUE where KalObservationsWhiten() without a center column makes residuals_j = residual - anomalies_j/scale
            up to rounding: for the squared loss, and for the cross-entropy in probabilities; may be NULL
@*/
PetscErrorCode KalObservationsGetLoss(KalObservations obs, KalLossType *type, PetscReal *gamma, PetscBool *affine)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsGetLoss"));
  if (type) *type = obs->loss;
  if (gamma) *gamma = obs->gamma;
  if (affine) *affine = obs->loss == KAL_LOSS_SQUARED || (obs->loss == KAL_LOSS_CROSS_ENTROPY && obs->output == KAL_OUTPUT_PROBABILITIES) ? PETSC_TRUE : PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ViewSet(KalObservations obs, PetscViewer viewer, KalDataSet set)
{
  const KalData *data = &obs->set[set];
  char           targets[128];

  PetscFunctionBeginUser;
  if (!data->targets) PetscCall(PetscSNPrintf(targets, sizeof targets, "no targets"));
  else if (data->labels) PetscCall(PetscSNPrintf(targets, sizeof targets, "class labels 0 to %lld (%s)", (long long)data->largest, KalElementName(data->y.shape.element)));
  else PetscCall(PetscSNPrintf(targets, sizeof targets, "%" PetscInt_FMT " real-valued targets each (%s)", data->y.shape.width, KalElementName(data->y.shape.element)));
  PetscCall(PetscViewerASCIIPrintf(viewer, "%s set: %" PetscInt_FMT " samples of %" PetscInt_FMT " inputs (%s), %s\n", set == KAL_SET_TEST ? "test" : "training", data->samples, data->x.shape.width, KalElementName(data->x.shape.element), targets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsView - Prints what is observed

   Collective

   Input Parameters:
+  obs - the observations
-  viewer - an ASCII viewer on the same ranks, or NULL for standard output
@*/
PetscErrorCode KalObservationsView(KalObservations obs, PetscViewer viewer)
{
  PetscBool ascii;
  PetscInt  batch, batches;

  PetscFunctionBeginUser;
  if (!viewer) PetscCall(PetscViewerASCIIGetStdout(obs->comm, &viewer));
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  if (obs->type != KAL_TYPE_DATASET) {
    PetscCall(KalTimedView(obs, viewer));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscViewerASCIIPrintf(viewer, "Observations: %s\n", obs->path[0] ? obs->path : obs->set[KAL_SET_TRAIN].samples ? "from memory"
                                                                                                                            : "no data"));
  PetscCall(PetscViewerASCIIPushTab(viewer));
  if (obs->setup) {
    PetscCall(ViewSet(obs, viewer, KAL_SET_TRAIN));
    if (obs->set[KAL_SET_TEST].samples) PetscCall(ViewSet(obs, viewer, KAL_SET_TEST));
    PetscCall(KalObservationsGetCycle(obs, &batch, &batches));
    PetscCall(PetscViewerASCIIPrintf(viewer, "batch: %" PetscInt_FMT " samples, %" PetscInt_FMT " an epoch, %s\n", batch, batches, batch < obs->set[KAL_SET_TRAIN].samples ? "shuffled" : "in natural order"));
    if (obs->normcount == 1) PetscCall(PetscViewerASCIIPrintf(viewer, "normalization: mean %g, standard deviation %g\n", (double)obs->mean[0], (double)obs->sd[0]));
    else PetscCall(PetscViewerASCIIPrintf(viewer, "normalization: mean and standard deviation of each input\n"));
    if (obs->loss == KAL_LOSS_SQUARED) PetscCall(PetscViewerASCIIPrintf(viewer, "loss: squared, noise variance %g\n", (double)obs->gamma));
    else if (obs->loss == KAL_LOSS_POISSON) PetscCall(PetscViewerASCIIPrintf(viewer, "loss: poisson, of counts whose rates have the outputs as logarithms\n"));
    else if (obs->output == KAL_OUTPUT_LOGITS) PetscCall(PetscViewerASCIIPrintf(viewer, "loss: cross-entropy, linearized in logits\n"));
    else PetscCall(PetscViewerASCIIPrintf(viewer, "loss: cross-entropy, linearized in probabilities, floor %g\n", (double)obs->floor));
  } else PetscCall(PetscViewerASCIIPrintf(viewer, "not set up yet\n"));
  PetscCall(PetscViewerASCIIPopTab(viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BufferDestroy(KalBuffer *buffer)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(buffer->input));
  PetscCall(PetscFree(buffer->target));
  PetscCall(PetscFree(buffer->label));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsDestroy - Gives observations back

   Collective

   Input Parameter:
.  obs - the observations; becomes NULL
@*/
PetscErrorCode KalObservationsDestroy(KalObservations *obs)
{
  KalObservations o = *obs;

  PetscFunctionBeginUser;
  if (!o) PetscFunctionReturn(PETSC_SUCCESS);
  for (int s = 0; s < 2; s++) PetscCall(KalDataDestroy(&o->set[s]));
  PetscCall(KalTimedDestroy(&o->timed));
  PetscCall(BufferDestroy(&o->next));
  PetscCall(BufferDestroy(&o->block));
  PetscCall(PetscFree(o->row));
  PetscCall(PetscFree(o->work));
  PetscCall(PetscFree2(o->mean, o->sd));
  PetscCallMPI(MPI_Comm_free(&o->node));
  PetscCall(PetscCommDestroy(&o->comm));
  PetscCall(PetscFree(o));
  *obs = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}
