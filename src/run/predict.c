/* Predictions of a run that is over or paused: its ensemble is read from a snapshot and shown new samples. */
#include "runimpl.h"

/* Samples that are predicted together: a canonical block, as in evaluate.c. */
#define KAL_PREDICT_BLOCK 500

static PetscErrorCode MustHaveInt(KalRun run, KalSnapshot snapshot, const char *name, PetscInt *value)
{
  PetscInt64 number = -1;
  PetscBool  found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotReadInt(snapshot, name, &number, &found));
  PetscCheck(found && number >= 0 && number < PETSC_MAX_INT, run->comm, PETSC_ERR_FILE_UNEXPECTED, "%s holds no %s: it is no snapshot of a run that can be predicted with", run->restart, name);
  *value = (PetscInt)number;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The loss the run was trained with, which the data to be predicted need not tell. */
static PetscErrorCode LoadLoss(KalRun run, KalSnapshot snapshot)
{
  PetscReal gamma = 1.0;
  PetscInt  labels, ndims;
  PetscBool found, squared, entropy, poisson, timed;
  char     *loss;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotGetSize(snapshot, "history/model_time", &ndims, NULL, &timed));
  PetscCheck(!timed, run->comm, PETSC_ERR_ARG_INCOMP, "%s is of a run in time, which has no inputs to predict for; predictions are made with a model that was trained on a data set", run->restart);
  PetscCall(KalSnapshotReadText(snapshot, "observations/loss", &loss, &found));
  PetscCall(PetscStrcmp(found ? loss : "", KalLossTypes[KAL_LOSS_SQUARED], &squared));
  PetscCall(PetscStrcmp(found ? loss : "", KalLossTypes[KAL_LOSS_CROSS_ENTROPY], &entropy));
  PetscCall(PetscStrcmp(found ? loss : "", KalLossTypes[KAL_LOSS_POISSON], &poisson));
  PetscCheck(squared || entropy || poisson, run->comm, PETSC_ERR_FILE_UNEXPECTED, "%s does not say which loss its run had (observations/loss is %s); go on with the run for a cycle to have it written again", run->restart, found ? loss : "not there");
  PetscCall(PetscFree(loss));
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-observations_noise", &gamma, NULL));
  PetscCall(KalObservationsSetLoss(run->observations, squared ? KAL_LOSS_SQUARED : poisson ? KAL_LOSS_POISSON
                                                                                           : KAL_LOSS_CROSS_ENTROPY,
                                   gamma));
  PetscCall(MustHaveInt(run, snapshot, "observations/labels", &labels));
  run->labelled = (PetscBool)(labels != 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The model as the snapshot has it, for the inputs that the data have. */
static PetscErrorCode LoadModel(KalRun run, KalSnapshot snapshot)
{
  PetscInt     inputs;
  KalPrecision precision;
  KalModelType type;
  char         layout[1024];

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetSizes(run->observations, KAL_SET_TRAIN, NULL, &inputs, NULL));
  PetscCall(KalModelSetDataSizes(run->model, inputs, 0));
  PetscCall(KalModelSetUp(run->model));
  PetscCall(KalModelGetType(run->model, &type));
  PetscCall(KalModelGetLayout(run->model, sizeof layout, layout));
  PetscCall(KalRunMustAgree(run, snapshot, "model/type", type, "-model_type"));
  PetscCall(KalRunMustAgree(run, snapshot, "model/layout", layout, "the model's options (-mlp_layers, -mlp_activation)"));
  PetscCall(KalModelGetSize(run->model, &run->n));
  PetscCall(KalModelGetDataSizes(run->model, NULL, &run->outputs));
  PetscCall(KalModelGetPrecision(run->model, &precision));
  PetscCall(KalObservationsSetOutputs(run->observations, run->outputs));
  PetscCall(KalObservationsSetPrecision(run->observations, precision));
  PetscCall(KalRunCheckInputs(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The ensemble without the method's copies. */
static PetscErrorCode LoadEnsemble(KalRun run, KalSnapshot snapshot)
{
  KalEnsemble probe;
  PetscInt    ndims;
  PetscBool   generated;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(run->comm, &probe)); /* looks up the ensemble's options, whether one is stored or not */
  PetscCall(KalEnsembleSetFromOptions(probe));
  PetscCall(KalOptionsRefuseUnknown(run->comm, KAL_SOLVER_ELSEWHERE));
  PetscCall(KalSnapshotGetSize(snapshot, "ensemble/generator", &ndims, NULL, &generated));
  PetscCall(PetscCalloc1(run->N, &run->laststatus));
  run->needs.generated = generated;
  run->needs.copies    = 0;
  if (generated) {
    PetscCall(KalEnsembleDestroy(&probe));
    PetscCall(PetscCalloc1(run->n, &run->mean));
    PetscCall(PetscCalloc1(run->n, &run->prior));
    PetscCall(KalEnsembleCreateGaussian(run->comm, run->n, run->N, run->mean, run->prior, &run->ensemble));
  } else {
    run->ensemble = probe;
    PetscCall(KalEnsembleSetSizes(run->ensemble, run->n, run->N));
    PetscCall(KalEnsembleSetRemote(run->ensemble, (PetscBool)(run->schedule == KAL_RUN_DYNAMIC)));
    PetscCall(KalRunJoin(run, run->ensemble));
    PetscCall(KalEnsembleSetUp(run->ensemble));
  }
  PetscCall(KalRunReadEnsemble(run, snapshot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunLoad - Makes a run ready to predict: model, loss, normalization and ensemble from a snapshot, other data

   Collective

   Input Parameters:
+  run - the run, neither set up nor set from options
.  snapshot - file of a run's snapshot
-  data - the data to be predicted, in the forms of KalObservationsSetPath(); they need not have targets

   Notes:
   The snapshot's options hold where neither command line nor option file say otherwise, save -observations_path and
   -observations_samples. All options that a program takes itself must have been looked up before: unknown ones are refused.

   Errors:
   A snapshot that is missing, damaged or of another model; data that are not as the run's. On every rank.

.seealso: KalRunPredict()
@*/
PetscErrorCode KalRunLoad(KalRun run, const char *snapshot, const char *data)
{
  KalSnapshot file;
  PetscInt    n, samples = 0;
  PetscBool   set, given;
  size_t      length;

  PetscFunctionBeginUser;
  PetscCheck(!run->setup, run->comm, PETSC_ERR_ORDER, "A run is set up or loaded once");
  PetscCall(PetscOptionsHasName(NULL, NULL, "-restart", &set));
  PetscCheck(!set, run->comm, PETSC_ERR_ARG_INCOMP, "-restart goes on with a run; a prediction takes the snapshot as its first argument: leave -restart out");
  PetscCall(PetscOptionsGetInt(NULL, NULL, "-observations_samples", &samples, &given));
  PetscCall(PetscStrlen(snapshot, &length));
  PetscCheck(length < sizeof run->restart, run->comm, PETSC_ERR_ARG_SIZ, "The path of the snapshot has %zu characters; at most %zu are allowed", length, sizeof run->restart - 1);
  PetscCall(PetscStrncpy(run->restart, snapshot, sizeof run->restart));
  PetscCall(KalRunSetFromOptions(run));
  PetscCall(KalRunGroup(run));
  PetscCall(KalObservationsSetPath(run->observations, data));
  PetscCall(KalObservationsSetSamples(run->observations, given ? samples : 0));
  PetscCall(KalObservationsSetTargetsOptional(run->observations, PETSC_TRUE));
  PetscCall(KalSnapshotOpen(run->comm, snapshot, KAL_SNAPSHOT_READ, &file));
  PetscCall(MustHaveInt(run, file, "kalmia/cycle", &run->cycle));
  PetscCall(MustHaveInt(run, file, "run/seed", &run->seed));
  PetscCall(MustHaveInt(run, file, "ensemble/N", &run->N));
  PetscCall(MustHaveInt(run, file, "ensemble/n", &n));
  PetscCall(KalRunReadNormalization(run, file));
  PetscCall(LoadLoss(run, file));
  PetscCall(KalObservationsSetUp(run->observations));
  PetscCall(LoadModel(run, file));
  PetscCheck(run->N >= 1 && n == run->n, run->comm, PETSC_ERR_FILE_UNEXPECTED, "%s has %" PetscInt_FMT " members of %" PetscInt_FMT " numbers, and its model has %" PetscInt_FMT, snapshot, run->N, n, run->n);
  PetscCall(LoadEnsemble(run, file));
  PetscCall(KalSnapshotClose(&file));
  run->setup = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A block of samples: what is predicted of it, and the scores so far. */
typedef struct {
  KalRun       run;
  KalDataSet   set;
  PetscBool    targets;
  KalBatch     batch;
  PetscScalar *mean, *spread, *ofmean; /* samples x outputs */
  PetscInt64 *class;
  PetscReal        ensemblesums[KAL_SCORE_SUMS], meansums[KAL_SCORE_SUMS];
  KalSnapshotTable table[4];
} KalPrediction;

static PetscErrorCode VisitAverage(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalPrediction *p   = (KalPrediction *)ctx;
  KalRun         run = p->run;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsAverage(run->observations, rows, rows->members[0], run->status, p->mean + rows->first, p->spread + rows->first));
  if (p->targets) PetscCall(KalObservationsScore(run->observations, &p->batch, rows->first / run->outputs, rows->count / run->outputs, p->mean + rows->first, sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Average and spread over the members; those that predict no finite numbers are left out. */
static PetscErrorCode PredictEnsemble(KalPrediction *p)
{
  KalRun         run   = p->run;
  const PetscInt count = p->batch.samples * run->outputs;
  const KalAsk   ask   = {.points = run->ensemble, .from = -1, .to = 0, .active = KalRunActive(run), .observe = PETSC_TRUE};
  KalEnsemble    predictions;
  PetscReal      sums[KAL_SCORE_SUMS];
  PetscInt       i, active = 0;

  PetscFunctionBeginUser;
  PetscCall(KalRunEvaluate(run, &ask, &p->batch, &predictions));
  for (i = 0; i < run->N; i++) active += run->status[i] == KAL_MEMBER_OK;
  PetscCheck(active, run->comm, PETSC_ERR_FP, "None of the %" PetscInt_FMT " members predicts finite numbers; look at the inputs and at the snapshot with kalmia-inspect", run->N);
  PetscCall(KalEnsembleSumRows(1, &predictions, VisitAverage, p, KAL_SCORE_SUMS, sums));
  for (i = 0; i < KAL_SCORE_SUMS; i++) p->ensemblesums[i] += sums[i];
  PetscCall(KalEnsembleGatherBlocks(predictions, p->mean));
  PetscCall(KalEnsembleGatherBlocks(predictions, p->spread));
  for (i = 0; i < count; i++) p->spread[i] = PetscSqrtReal(p->spread[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The mean network; one rank runs it, in turn. */
static PetscErrorCode PredictMean(KalPrediction *p, PetscInt block)
{
  KalRun             run   = p->run;
  const PetscInt     count = p->batch.samples * run->outputs;
  PetscMPIInt        root;
  PetscBool          together;
  KalStatus          status = KAL_MEMBER_OK;
  const PetscScalar *mean;
  PetscScalar       *column[1], *y;
  KalColumns         columns = {.first = 0, .count = 1, .total = 1, .size = run->n, .column = column};
  PetscMPIInt        length;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetMean(run->ensemble, &mean));
  column[0] = (PetscScalar *)mean; /* observed, not written */
  PetscCall(PetscMPIIntCast(count, &length));
  PetscCall(KalRunAllTogether(run, &together));
  root = (PetscMPIInt)(together ? block % (run->size / run->span) * run->span : block % run->size);
  if (run->rank == root || (together && run->rank - run->place == root)) {
    PetscCall(PetscMalloc1(count, &y));
    const KalRows rows = {.count = count, .ensembles = 1, .members = {1}, .x = {y}, .ld = {count}};

    PetscCall(KalModelObserve(run->model, NULL, (PetscReal)run->cycle, &columns, &p->batch, &y, &status));
    PetscCall(KalObservationsAverage(run->observations, &rows, 1, NULL, p->ofmean, NULL));
    PetscCall(PetscFree(y));
  }
  PetscCallMPI(MPI_Bcast(p->ofmean, length, MPIU_SCALAR, root, run->comm));
  if (p->targets) PetscCall(KalObservationsScore(run->observations, &p->batch, 0, p->batch.samples, p->ofmean, p->meansums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The class of a sample is its largest averaged output, the first of equal ones. */
static void Classify(KalPrediction *p)
{
  const PetscInt c = p->run->outputs;

  for (PetscInt s = 0; s < p->batch.samples; s++) {
    const PetscScalar *mean = p->mean + (size_t)s * c;

    p->class[s] = 0;
    for (PetscInt k = 1; k < c; k++)
      if (mean[k] > mean[p->class[s]]) p->class[s] = k;
  }
}

static PetscErrorCode Stream(KalPrediction *p, PetscInt samples)
{
  KalRun   run = p->run;
  PetscInt at, block = 0;
  size_t   size = (size_t)PetscMin(KAL_PREDICT_BLOCK, samples) * (size_t)run->outputs;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(size, &p->mean, size, &p->spread, size, &p->ofmean, PetscMin(KAL_PREDICT_BLOCK, samples), &p->class));
  for (at = 0; at < samples; at += KAL_PREDICT_BLOCK, block++) {
    PetscCall(KalObservationsGetBlock(run->observations, p->set, at, PetscMin(KAL_PREDICT_BLOCK, samples - at), &p->batch));
    PetscCall(PredictEnsemble(p));
    PetscCall(PredictMean(p, block));
    PetscCall(KalSnapshotTableWrite(p->table[0], p->batch.samples, p->mean));
    PetscCall(KalSnapshotTableWrite(p->table[1], p->batch.samples, p->spread));
    PetscCall(KalSnapshotTableWrite(p->table[2], p->batch.samples, p->ofmean));
    if (run->labelled) {
      Classify(p);
      PetscCall(KalSnapshotTableWrite(p->table[3], p->batch.samples, p->class));
    }
  }
  PetscCall(PetscFree4(p->mean, p->spread, p->ofmean, p->class));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the file holds beside the predictions: where they come from. */
static PetscErrorCode Describe(KalRun run, KalDataSet set, const char *data, KalSnapshot file)
{
  KalLossType loss;
  char        text[1024];

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetLoss(run->observations, &loss, NULL, NULL));
  PetscCall(KalSnapshotWriteText(file, "kalmia/version", KALMIA_VERSION));
  PetscCall(KalProvenance(sizeof text, text));
  PetscCall(KalSnapshotWriteText(file, "kalmia/provenance", text));
  PetscCall(KalSnapshotWriteText(file, "source/snapshot", run->restart));
  PetscCall(KalSnapshotWriteInt(file, "source/cycle", run->cycle));
  PetscCall(KalSnapshotWriteText(file, "source/data", data));
  PetscCall(KalSnapshotWriteText(file, "source/set", set == KAL_SET_TEST ? "test" : "training"));
  PetscCall(KalSnapshotWriteText(file, "source/loss", KalLossTypes[loss]));
  PetscCall(KalModelGetLayout(run->model, sizeof text, text));
  PetscCall(KalSnapshotWriteText(file, "source/model", text));
  PetscCall(KalSnapshotWriteInt(file, "source/members", run->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BeginTables(KalPrediction *p, PetscInt samples, KalSnapshot file)
{
  static const char *const names[]       = {"mean", "spread", "prediction_of_mean"};
  static const char *const probability[] = {"probabilities, averaged over the members", "standard deviation of the probabilities over the members", "probabilities that the mean network predicts"};
  static const char *const rate[]        = {"rates, averaged over the members", "standard deviation of the rates over the members", "rates that the mean network predicts"};
  static const char *const output[]      = {"outputs, averaged over the members", "standard deviation of the outputs over the members", "outputs that the mean network predicts"};
  const KalDataset class                 = {.name = "class", .meaning = "class with the largest averaged prediction", .units = "1", .type = KAL_TYPE_INT64, .ndims = 1, .size = {samples}, .dimension = {"sample"}};
  KalLossType loss;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetLoss(p->run->observations, &loss, NULL, NULL));
  for (int t = 0; t < 3; t++) {
    const KalDataset dataset = {
        .name = names[t], .meaning = loss == KAL_LOSS_CROSS_ENTROPY ? probability[t] : loss == KAL_LOSS_POISSON ? rate[t]
                                                                                                                : output[t],
        .units     = "1",
        .type      = KAL_TYPE_REAL,
        .ndims     = 2,
        .size      = {samples,  p->run->outputs},
        .dimension = {"sample", "output"       }
    };

    PetscCall(KalSnapshotTableBegin(file, &dataset, &p->table[t]));
  }
  if (p->run->labelled) PetscCall(KalSnapshotTableBegin(file, &class, &p->table[3]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A file that is there is replaced only if it holds predictions. */
static PetscErrorCode CheckOutput(KalRun run, const char *output)
{
  PetscBool predictions;
  int       exists = 0;

  PetscFunctionBeginUser;
  if (!run->rank) {
    PetscBool is;

    PetscCall(PetscTestFile(output, '\0', &is));
    exists = is;
  }
  PetscCallMPI(MPI_Bcast(&exists, 1, MPI_INT, 0, run->comm));
  if (!exists) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalSnapshotHolds(run->comm, output, "prediction_of_mean", &predictions));
  PetscCheck(predictions, run->comm, PETSC_ERR_FILE_WRITE, "%s is there already and holds no predictions: it is not overwritten; give another path (-output)", output);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintScores(const KalPrediction *p, PetscInt samples)
{
  KalRun   run = p->run;
  KalScore mean, ensemble;

  PetscFunctionBeginUser;
  if (!p->targets) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalScoreFromSums(run->observations, p->meansums, &mean));
  PetscCall(KalScoreFromSums(run->observations, p->ensemblesums, &ensemble));
  PetscCall(PetscPrintf(run->comm, "result: samples=%" PetscInt_FMT " accuracy=%.4f accuracy_ensemble=%.4f nll=%.4f ece=%.4f rmse=%.6g nll_ensemble=%.4f ece_ensemble=%.4f rmse_ensemble=%.6g\n", samples, (double)mean.accuracy, (double)ensemble.accuracy, (double)mean.nll, (double)mean.ece, (double)mean.rmse, (double)ensemble.nll, (double)ensemble.ece, (double)ensemble.rmse));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunPredict - Predicts a data set with every member and with the mean, and writes the predictions

   Collective

   Input Parameters:
+  run - a run that KalRunLoad() made ready
.  set - KAL_SET_TRAIN for the first set of the data, or KAL_SET_TEST
-  output - HDF5 file to write

   Notes:
   The file has the format of a snapshot, checksums included, with
   /mean (samples x outputs), the prediction averaged over the members: probabilities under cross-entropy, outputs otherwise;
   /spread, their standard deviation over the members (divisor: members less 1), of the same shape;
   /prediction_of_mean, what the mean network predicts, of the same shape;
   /class (samples), the largest averaged prediction, where the run was trained on class labels;
   /source, where they come from. It is written block by block of 500 samples, and is whole or absent.

   Members of a stored ensemble that failed in the last cycle take no part. Of a generated ensemble those of the last
   cycle's draws are made again about the mean.

   Where the data have targets a result line with the scores of the mean network and of the averaged prediction is printed.

   Errors:
   No such set; an output that is there and holds anything but predictions; what the file system refuses. On every rank.
@*/
PetscErrorCode KalRunPredict(KalRun run, KalDataSet set, const char *output)
{
  KalPrediction p = {.run = run, .set = set};
  KalSnapshot   file;
  PetscInt      samples;
  char          data[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCheck(run->setup, run->comm, PETSC_ERR_ORDER, "Call KalRunLoad() before KalRunPredict()");
  PetscCall(KalObservationsGetSizes(run->observations, set, &samples, NULL, NULL));
  PetscCheck(samples, run->comm, PETSC_ERR_ARG_WRONG, "The data have no %s set; predict the other one, or give data that have it", set == KAL_SET_TEST ? "test" : "training");
  PetscCall(KalObservationsGetTargets(run->observations, set, &p.targets, NULL));
  PetscCall(KalObservationsGetPath(run->observations, sizeof data, data));
  PetscCall(CheckOutput(run, output));
  PetscCall(KalSnapshotOpen(run->comm, output, KAL_SNAPSHOT_WRITE, &file));
  PetscCall(Describe(run, set, data, file));
  PetscCall(BeginTables(&p, samples, file));
  PetscCall(Stream(&p, samples));
  for (int t = 0; t < 4; t++) PetscCall(KalSnapshotTableEnd(&p.table[t]));
  PetscCall(KalSnapshotCommit(file));
  PetscCall(KalSnapshotClose(&file));
  PetscCall(PetscPrintf(run->comm, "predictions: %" PetscInt_FMT " samples, %" PetscInt_FMT " outputs, in %s\n", samples, run->outputs, output));
  PetscCall(PrintScores(&p, samples));
  PetscFunctionReturn(PETSC_SUCCESS);
}
