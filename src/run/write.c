/* A run written to a snapshot. */
#include "runimpl.h"

static PetscErrorCode WriteEnsemble(KalRun run, KalSnapshot snapshot)
{
  KalDataset status    = {.name = "ensemble/status", .meaning = "0: in order, 1: failed in the last cycle and redrawn, 2: not finite and redrawn, 3: takes no part, lies at the mean of the others", .units = "1", .type = KAL_TYPE_BYTE, .ndims = 1, .size = {run->N}, .dimension = {"member"}, .data = run->laststatus};
  KalDataset mean      = {.name = "ensemble/mean", .meaning = "mean that members are drawn about", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->n}, .dimension = {"state"}, .data = run->mean};
  KalDataset spread    = {.name = "ensemble/spread", .meaning = "prior standard deviation of each entry", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->n}, .dimension = {"state"}, .data = run->prior};
  KalDataset generator = {.name = "ensemble/generator", .meaning = "factor of the spread, cycle of the draws' key, whether they are mirrored", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {3}, .dimension = {"generator_entry"}};
  PetscReal  values[3], factor;
  KalKey     key;
  PetscBool  antithetic;
  PetscInt   i;
  char       name[32];

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotWriteInt(snapshot, "ensemble/N", run->N));
  PetscCall(KalSnapshotWriteInt(snapshot, "ensemble/n", run->n));
  if (run->needs.generated) {
    PetscCall(KalEnsembleGaussianGet(run->ensemble, &key, &factor, &antithetic));
    values[0]      = factor;
    values[1]      = (PetscReal)key.cycle;
    values[2]      = antithetic ? 1.0 : 0.0;
    generator.data = values;
    PetscCall(KalSnapshotWriteArray(snapshot, &mean));
    PetscCall(KalSnapshotWriteArray(snapshot, &spread));
    PetscCall(KalSnapshotWriteArray(snapshot, &generator));
  } else PetscCall(KalSnapshotWriteMembers(snapshot, "ensemble/members", "members of the ensemble", run->ensemble));
  PetscCall(KalSnapshotWriteArray(snapshot, &status));
  for (i = 0; i < run->needs.copies; i++) {
    PetscCall(PetscSNPrintf(name, sizeof name, "copies/%" PetscInt_FMT, i));
    PetscCall(KalSnapshotWriteMembers(snapshot, name, "the method's copy of the members", run->copy[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteHistory(KalRun run, KalSnapshot snapshot)
{
  PetscInt c;
  char     name[64];

  PetscFunctionBeginUser;
  for (c = 0; c < KAL_HISTORY_COLUMNS && run->cycle > 0; c++) {
    if (!KalRunHistoryHas(run, (KalHistoryColumn)c)) continue;
    const KalDataset dataset = {.name = name, .meaning = KalHistoryInfos[c].meaning, .units = KalHistoryInfos[c].units, .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->cycle}, .dimension = {"cycle"}, .data = run->history[c]};

    PetscCall(PetscSNPrintf(name, sizeof name, "history/%s", KalHistoryInfos[c].name));
    PetscCall(KalSnapshotWriteArray(snapshot, &dataset));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteDescription(KalRun run, KalSnapshot snapshot, PetscBool done)
{
  char              text[1024], *options;
  KalModelType      model;
  KalAnalysisType   analysis;
  PetscInt          rows      = 0;
  static const char version[] = KALMIA_VERSION;
  double            seconds;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotWriteText(snapshot, "kalmia/version", version));
  PetscCall(KalProvenance(sizeof text, text));
  PetscCall(KalSnapshotWriteText(snapshot, "kalmia/provenance", text));
  PetscCall(KalSnapshotWriteText(snapshot, "kalmia/status", done ? "done" : "continue"));
  PetscCall(KalSnapshotWriteInt(snapshot, "kalmia/cycle", run->cycle));
  PetscCall(KalSnapshotWriteInt(snapshot, "run/seed", run->seed));
  PetscCall(KalRunSeconds(run, &seconds));
  PetscCall(KalSnapshotWriteInt(snapshot, "run/milliseconds", (PetscInt64)(1e3 * seconds)));
  if (done) PetscCall(KalSnapshotWriteText(snapshot, "run/result", run->result));
  PetscCall(KalEnsembleGetBlocks(run->ensemble, &rows, NULL));
  PetscCall(KalSnapshotWriteInt(snapshot, "ensemble/block_rows", rows));
  PetscCall(KalOptionsRecord(&options));
  PetscCall(KalSnapshotWriteText(snapshot, "options", options));
  PetscCall(PetscFree(options));
  PetscCall(KalModelGetType(run->model, &model));
  PetscCall(KalModelGetLayout(run->model, sizeof text, text));
  PetscCall(KalSnapshotWriteText(snapshot, "model/type", model));
  PetscCall(KalSnapshotWriteText(snapshot, "model/layout", text));
  PetscCall(KalAnalysisGetType(run->analysis, &analysis));
  PetscCall(KalSnapshotWriteText(snapshot, "analysis/type", analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a prediction needs to know of the data. */
static PetscErrorCode WriteLoss(KalRun run, KalSnapshot snapshot)
{
  KalLossType loss;
  PetscBool   labels;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetLoss(run->observations, &loss, NULL, NULL));
  PetscCall(KalObservationsGetTargets(run->observations, KAL_SET_TRAIN, NULL, &labels));
  PetscCall(KalSnapshotWriteText(snapshot, "observations/loss", KalLossTypes[loss]));
  PetscCall(KalSnapshotWriteInt(snapshot, "observations/labels", labels ? 1 : 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteNormalization(KalRun run, KalSnapshot snapshot)
{
  KalDataset mean      = {.name = "observations/input_mean", .meaning = "subtracted from the inputs", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .dimension = {"input"}};
  KalDataset deviation = {.name = "observations/input_deviation", .meaning = "the inputs are divided by it", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .dimension = {"input"}};
  PetscInt   count;
  PetscReal *m, *d;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetNormalization(run->observations, &count, &m, &d));
  if (!count) PetscFunctionReturn(PETSC_SUCCESS);
  mean.size[0] = deviation.size[0] = count;
  mean.data                        = m;
  deviation.data                   = d;
  PetscCall(KalSnapshotWriteArray(snapshot, &mean));
  PetscCall(KalSnapshotWriteArray(snapshot, &deviation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The observations of the last cycle; earlier ones of a twin follow from seed and cycle. */
static PetscErrorCode WriteObserved(KalRun run, KalSnapshot snapshot)
{
  const KalBatch  *batch = &run->observed;
  const KalDataset value = {.name = "observations/value", .meaning = "observed values of the last cycle", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {batch->samples}, .dimension = {"observation"}, .data = (void *)batch->target};
  const KalDataset error = {.name = "observations/error", .meaning = "standard deviations of their errors; 1 where these are correlated", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {batch->samples}, .dimension = {"observation"}, .data = (void *)batch->error};

  PetscFunctionBeginUser;
  if (!batch->samples) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalSnapshotWriteArray(snapshot, &value));
  PetscCall(KalSnapshotWriteArray(snapshot, &error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The truth, and the histogram that is summed up on the way. */
static PetscErrorCode WriteTime(KalRun run, KalSnapshot snapshot)
{
  const KalDataset ranks = {.name = "run/rank_histogram", .meaning = "how often the truth lay above so many forecast members, after the burn-in", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->N + 1}, .dimension = {"rank"}, .data = run->ranks};

  PetscFunctionBeginUser;
  PetscCall(WriteObserved(run, snapshot));
  if (!run->truth) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalSnapshotWriteArray(snapshot, &ranks));
  PetscCall(KalSnapshotWriteMembers(snapshot, "truth/members", "truth of the twin experiment at the time of the last observations", run->truth));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunWrite - Writes a snapshot, marked done or to be continued

  Collective
*/
PetscErrorCode KalRunWrite(KalRun run, PetscBool done)
{
  KalSnapshot  snapshot;
  const double start = MPI_Wtime();

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_SNAPSHOT));
  PetscCall(KalSnapshotOpen(run->comm, run->snapshotpath, KAL_SNAPSHOT_WRITE, &snapshot));
  PetscCall(KalSnapshotSetKeep(snapshot, run->snapshotkeep));
  PetscCall(WriteDescription(run, snapshot, done));
  PetscCall(WriteEnsemble(run, snapshot));
  if (run->timed) PetscCall(WriteTime(run, snapshot));
  else {
    PetscCall(WriteLoss(run, snapshot));
    PetscCall(WriteNormalization(run, snapshot));
  }
  PetscCall(KalRunWriteArrays(run, snapshot));
  PetscCall(WriteHistory(run, snapshot));
  PetscCall(KalSnapshotCommit(snapshot));
  PetscCall(KalSnapshotClose(&snapshot));
  PetscCall(KalEventEnd(KAL_EVENT_SNAPSHOT));
  run->longestsnapshot = PetscMax(run->longestsnapshot, MPI_Wtime() - start);
  PetscFunctionReturn(PETSC_SUCCESS);
}
