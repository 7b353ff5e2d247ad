/* A run in a snapshot: what is written, how it is read back, and what a run may begin from instead. */
#include "runimpl.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/* Writes or reads the method's arrays. */
static PetscErrorCode MoveArrays(KalRun run, KalSnapshot snapshot, PetscErrorCode (*move)(KalSnapshot, KalDataset *))
{
  KalArray arrays[KAL_ANALYSIS_ARRAYS];
  PetscInt count, i;
  char     name[64], dimension[64];

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetArrays(run->analysis, &count, arrays));
  for (i = 0; i < count; i++) {
    KalDataset dataset = {.name = name, .meaning = arrays[i].meaning, .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {arrays[i].count}, .dimension = {dimension}, .data = arrays[i].data};

    PetscCall(PetscSNPrintf(name, sizeof name, "analysis/%s", arrays[i].name));
    PetscCall(PetscSNPrintf(dimension, sizeof dimension, "%s_entry", arrays[i].name));
    PetscCall(move(snapshot, &dataset));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteArray(KalSnapshot snapshot, KalDataset *dataset)
{
  PetscFunctionBeginUser;
  PetscCall(KalSnapshotWriteArray(snapshot, dataset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunWriteArrays - Writes the method's own state

  Collective
*/
PetscErrorCode KalRunWriteArrays(KalRun run, KalSnapshot snapshot)
{
  PetscFunctionBeginUser;
  PetscCall(MoveArrays(run, snapshot, WriteArray));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Arrays whose length an option sets must have that of the snapshot. */
static PetscErrorCode CheckArrays(KalRun run, KalSnapshot snapshot)
{
  KalArray   arrays[KAL_ANALYSIS_ARRAYS] = {{0}};
  PetscInt   count, ndims;
  PetscInt64 size[KAL_SNAPSHOT_RANK];
  PetscBool  found;
  char       name[64];

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetArrays(run->analysis, &count, arrays));
  for (PetscInt i = 0; i < count; i++) {
    if (!arrays[i].option) continue;
    PetscCall(PetscSNPrintf(name, sizeof name, "analysis/%s", arrays[i].name));
    PetscCall(KalSnapshotGetSize(snapshot, name, &ndims, size, &found));
    PetscCheck(!found || (ndims == 1 && size[0] == arrays[i].count), run->comm, PETSC_ERR_ARG_INCOMP, "%s was written with another %s: leave it out, or begin a new run", run->restart, arrays[i].option);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunReadArrays - Reads the method's own state

  Collective
*/
PetscErrorCode KalRunReadArrays(KalRun run, KalSnapshot snapshot)
{
  PetscFunctionBeginUser;
  PetscCall(CheckArrays(run, snapshot));
  PetscCall(MoveArrays(run, snapshot, KalSnapshotReadArray));
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

static PetscErrorCode ReadTime(KalRun run, KalSnapshot snapshot)
{
  KalDataset ranks = {.name = "run/rank_histogram", .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->N + 1}, .data = run->ranks};

  PetscFunctionBeginUser;
  if (!run->truth) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalSnapshotReadArray(snapshot, &ranks));
  PetscCall(KalSnapshotReadMembers(snapshot, "truth/members", run->truth));
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

/*
  KalRunReadOptions - Takes the options of the snapshot that is gone on from, where nobody set them

  Collective
*/
PetscErrorCode KalRunReadOptions(KalRun run)
{
  KalSnapshot snapshot;
  char       *options;
  PetscBool   found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotOpen(run->comm, run->restart, KAL_SNAPSHOT_READ, &snapshot));
  PetscCall(KalSnapshotReadText(snapshot, "options", &options, &found));
  PetscCheck(found, run->comm, PETSC_ERR_FILE_UNEXPECTED, "%s holds no options: it is no snapshot of a run", run->restart);
  PetscCall(KalOptionsRestore(options));
  PetscCall(PetscFree(options));
  PetscCall(KalSnapshotClose(&snapshot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Refuses a snapshot whose text `name` is another than this run's. */
PetscErrorCode KalRunMustAgree(KalRun run, KalSnapshot snapshot, const char *name, const char *mine, const char *option)
{
  char     *theirs;
  PetscBool found, same;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotReadText(snapshot, name, &theirs, &found));
  PetscCall(PetscStrcmp(found ? theirs : "", mine, &same));
  PetscCheck(same, run->comm, PETSC_ERR_ARG_INCOMP, "%s was written with %s \"%s\", this run has \"%s\": leave %s out, or begin a new run", run->restart, name, found ? theirs : "(none)", mine, option);
  PetscCall(PetscFree(theirs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MustEqual(KalRun run, KalSnapshot snapshot, const char *name, PetscInt64 mine, const char *option)
{
  PetscInt64 theirs = 0;
  PetscBool  found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotReadInt(snapshot, name, &theirs, &found));
  PetscCheck(found && theirs == mine, run->comm, PETSC_ERR_ARG_INCOMP, "%s was written with %s = %lld, this run has %lld: leave %s out, or begin a new run", run->restart, name, (long long)theirs, (long long)mine, option);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The value of an option in a record of one "-name value" a line, "true" where it stands alone; NULL where it is not there. PetscFree it. */
static PetscErrorCode Recorded(const char *record, const char *name, char **value)
{
  const size_t length = strlen(name);
  size_t       bytes;

  PetscFunctionBeginUser;
  *value = NULL;
  while (*record && (strncasecmp(record, name, length) || !strchr(" \n", record[length]))) {
    record += strcspn(record, "\n");
    record += *record == '\n';
  }
  if (!*record) PetscFunctionReturn(PETSC_SUCCESS);
  record += length;
  bytes = *record == ' ' ? strcspn(++record, "\n") : 0;
  PetscCall(PetscStrallocpy(bytes ? record : "true", value));
  if (bytes) (*value)[bytes] = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether two values say the same: 1.04 and 1.040 do. */
static PetscBool IsSame(const char *mine, const char *theirs)
{
  char        *end[2];
  const double a = strtod(mine, &end[0]), b = strtod(theirs, &end[1]);

  return (PetscBool)(!strcmp(mine, theirs) || (end[0] != mine && !*end[0] && end[1] != theirs && !*end[1] && a == b));
}

/* Says which options are not those of the snapshot. Unknown ones must have been refused before. */
static PetscErrorCode TellChanges(KalRun run, KalSnapshot snapshot)
{
  char     *record, *mine, *name, *value, *was, *rest = NULL;
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotReadText(snapshot, "options", &record, &found));
  PetscCall(KalOptionsRecord(&mine));
  for (name = found ? strtok_r(mine, "\n", &rest) : NULL; name; name = strtok_r(NULL, "\n", &rest)) {
    value = strchr(name, ' ');
    if (value) *value++ = '\0';
    PetscCall(Recorded(record, name, &was));
    if (!was) PetscCall(PetscPrintf(run->comm, "restart: %s%s%s was not given\n", name, value ? " " : "", value ? value : ""));
    else if (!IsSame(value ? value : "true", was)) PetscCall(PetscPrintf(run->comm, "restart: %s %s was %s\n", name, value ? value : "true", was));
    PetscCall(PetscFree(was));
  }
  PetscCall(PetscFree(mine));
  PetscCall(PetscFree(record));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Refuses a snapshot of a run with other settings; needs no ensemble. */
static PetscErrorCode CheckSettings(KalRun run, KalSnapshot snapshot)
{
  char            text[1024];
  KalModelType    model;
  KalAnalysisType analysis;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetType(run->model, &model));
  PetscCall(KalModelGetLayout(run->model, sizeof text, text));
  PetscCall(KalRunMustAgree(run, snapshot, "model/type", model, "-model_type"));
  PetscCall(KalRunMustAgree(run, snapshot, "model/layout", text, "the model's options"));
  PetscCall(KalAnalysisGetType(run->analysis, &analysis));
  PetscCall(KalRunMustAgree(run, snapshot, "analysis/type", analysis, "-analysis_type"));
  PetscCall(MustEqual(run, snapshot, "ensemble/N", run->N, "-ensemble_size"));
  PetscCall(MustEqual(run, snapshot, "ensemble/n", run->n, "the model's options"));
  PetscCall(MustEqual(run, snapshot, "run/seed", run->seed, "-run_seed"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSnapshot(KalRun run, KalSnapshot snapshot)
{
  char       text[1024], *theirs;
  PetscInt64 blockrows;
  PetscInt   rows;
  PetscBool  found, same;

  PetscFunctionBeginUser;
  PetscCall(CheckSettings(run, snapshot));
  PetscCall(KalEnsembleGetBlocks(run->ensemble, &rows, NULL));
  PetscCall(KalProvenance(sizeof text, text));
  PetscCall(KalSnapshotReadText(snapshot, "kalmia/provenance", &theirs, &found));
  PetscCall(PetscStrcmp(found ? theirs : "", text, &same));
  if (!same) PetscCall(PetscPrintf(run->comm, "warning: %s was written by %s; going on with %s may give other bits than an uninterrupted run\n", run->restart, found ? theirs : "an unknown version", text));
  PetscCall(PetscFree(theirs));
  PetscCall(KalSnapshotReadInt(snapshot, "ensemble/block_rows", &blockrows, &found));
  if (found && blockrows != rows) PetscCall(PetscPrintf(run->comm, "warning: %s was written with blocks of %lld rows; going on with %" PetscInt_FMT " may give other bits than an uninterrupted run (-ensemble_block_rows)\n", run->restart, (long long)blockrows, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The members, or what they are generated from, with their status and the method's copies. */
PetscErrorCode KalRunReadEnsemble(KalRun run, KalSnapshot snapshot)
{
  KalDataset status    = {.name = "ensemble/status", .type = KAL_TYPE_BYTE, .ndims = 1, .size = {run->N}, .data = run->laststatus};
  PetscReal  values[3] = {0.0};
  KalDataset mean      = {.name = "ensemble/mean", .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->n}, .data = run->mean};
  KalDataset spread    = {.name = "ensemble/spread", .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->n}, .data = run->prior};
  KalDataset generator = {.name = "ensemble/generator", .type = KAL_TYPE_REAL, .ndims = 1, .size = {3}, .data = values};
  PetscInt   i;
  char       name[32];

  PetscFunctionBeginUser;
  if (run->needs.generated) {
    PetscCall(KalSnapshotReadArray(snapshot, &mean));
    PetscCall(KalSnapshotReadArray(snapshot, &spread));
    PetscCall(KalSnapshotReadArray(snapshot, &generator));
    PetscCall(KalEnsembleGaussianSet(run->ensemble, (KalKey){run->seed, KAL_DRAW_PERTURBATION, (PetscInt64)values[1], 0}, values[0], (PetscBool)(values[2] != 0.0), PETSC_FALSE));
  } else PetscCall(KalSnapshotReadMembers(snapshot, "ensemble/members", run->ensemble));
  PetscCall(KalSnapshotReadArray(snapshot, &status));
  for (i = 0; i < run->needs.copies; i++) {
    PetscCall(PetscSNPrintf(name, sizeof name, "copies/%" PetscInt_FMT, i));
    PetscCall(KalSnapshotReadMembers(snapshot, name, run->copy[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadHistory(KalRun run, KalSnapshot snapshot)
{
  PetscInt c;
  char     name[64];

  PetscFunctionBeginUser;
  PetscCall(KalRunHistoryResize(run, run->cycle));
  for (c = 0; c < KAL_HISTORY_COLUMNS && run->cycle > 0; c++) {
    KalDataset dataset = {.name = name, .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->cycle}, .data = run->history[c]};

    if (!KalRunHistoryHas(run, (KalHistoryColumn)c)) continue;
    PetscCall(PetscSNPrintf(name, sizeof name, "history/%s", KalHistoryInfos[c].name));
    PetscCall(KalSnapshotReadArray(snapshot, &dataset));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Cycles are counted, not times: with other times the run would go on somewhere else. */
static PetscErrorCode CheckTimes(KalRun run)
{
  PetscReal theirs, mine;

  PetscFunctionBeginUser;
  if (!run->timed || !run->cycle || run->cycle > run->cycles) PetscFunctionReturn(PETSC_SUCCESS);
  theirs = run->history[KAL_HISTORY_MODEL_TIME][run->cycle - 1];
  PetscCall(KalObservationsGetTime(run->observations, run->cycle - 1, &mine));
  PetscCheck(theirs == mine, run->comm, PETSC_ERR_ARG_INCOMP, "%s stands at model time %g after cycle %" PetscInt_FMT ", and the observations of that cycle are at %g: leave -observations_interval, -observations_start and -observations_path as they were, and the model's time step, or begin a new run", run->restart, (double)theirs, run->cycle, (double)mine);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The normalization of the inputs, where the snapshot has one. */
PetscErrorCode KalRunReadNormalization(KalRun run, KalSnapshot snapshot)
{
  KalDataset mean      = {.name = "observations/input_mean", .type = KAL_TYPE_REAL, .ndims = 1};
  KalDataset deviation = {.name = "observations/input_deviation", .type = KAL_TYPE_REAL, .ndims = 1};
  PetscInt   ndims;
  PetscInt64 size[KAL_SNAPSHOT_RANK];
  PetscBool  found;
  PetscReal *m, *d;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotGetSize(snapshot, mean.name, &ndims, size, &found));
  if (!found) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(size[0], &m, size[0], &d));
  mean.size[0] = deviation.size[0] = size[0];
  mean.data                        = m;
  deviation.data                   = d;
  PetscCall(KalSnapshotReadArray(snapshot, &mean));
  PetscCall(KalSnapshotReadArray(snapshot, &deviation));
  PetscCall(KalObservationsSetNormalization(run->observations, (PetscInt)size[0], m, d));
  PetscCall(PetscFree2(m, d));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunRead - Goes on from the snapshot -restart names

  Collective
*/
PetscErrorCode KalRunRead(KalRun run)
{
  KalSnapshot snapshot;
  PetscInt64  value = 0;
  PetscBool   found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotOpen(run->comm, run->restart, KAL_SNAPSHOT_READ, &snapshot));
  PetscCall(CheckSnapshot(run, snapshot));
  PetscCall(KalSnapshotReadInt(snapshot, "kalmia/cycle", &value, &found));
  PetscCheck(found && value >= 0 && value < PETSC_MAX_INT, run->comm, PETSC_ERR_FILE_UNEXPECTED, "%s holds no cycle to go on from", run->restart);
  run->cycle = (PetscInt)value;
  PetscCall(KalSnapshotReadInt(snapshot, "run/milliseconds", &value, &found));
  if (found) run->spent = 1e-3 * (double)value;
  PetscCall(KalRunReadEnsemble(run, snapshot));
  if (run->timed) PetscCall(ReadTime(run, snapshot));
  else PetscCall(KalRunReadNormalization(run, snapshot));
  PetscCall(KalRunReadArrays(run, snapshot));
  PetscCall(KalAnalysisIsDone(run->analysis, &run->stopped));
  PetscCall(ReadHistory(run, snapshot));
  PetscCall(CheckTimes(run));
  run->diverged = KalRunHasDiverged(run);
  run->stopped  = (PetscBool)(run->stopped || (run->diverged && run->stopdiverged));
  PetscCall(KalSnapshotReadText(snapshot, "run/result", &run->result, &found));
  PetscCall(PetscPrintf(run->comm, "restart: %s, after cycle %" PetscInt_FMT "\n", run->restart, run->cycle));
  PetscCall(TellChanges(run, snapshot));
  PetscCall(KalSnapshotClose(&snapshot));
  run->resumed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members about a given mean: x_j = mean + spread prior z_j. */
static PetscErrorCode ScatterAbout(KalRun run, const PetscScalar *mean)
{
  KalKey       key = {run->seed, KAL_DRAW_PRIOR, 0, 0};
  PetscScalar *x;
  PetscReal   *z;
  PetscInt     i, j, first, last;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(run->ensemble, &first, &last));
  PetscCall(PetscMalloc1(run->n, &z));
  for (j = first; j < last; j++) {
    key.member = j;
    PetscCall(KalEnsembleGetMember(run->ensemble, j, &x));
    PetscCall(KalDrawNormal(key, 0, run->n, z));
    for (i = 0; i < run->n; i++) x[i] = mean[i] + run->initialspread * run->prior[i] * z[i];
  }
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadInitial(KalRun run)
{
  PetscBool    members;
  PetscScalar *mean = run->mean;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotPlainHas(run->comm, run->initial, "members", &members));
  if (members && !run->needs.generated) {
    PetscCall(KalSnapshotPlainReadMembers(run->initial, NULL, run->ensemble));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (!mean) PetscCall(PetscMalloc1(run->n, &mean));
  PetscCall(KalSnapshotPlainReadMean(run->comm, run->initial, run->n, mean));
  if (!run->needs.generated) {
    PetscCall(ScatterAbout(run, mean));
    PetscCall(PetscFree(mean));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunCheckBeginning - Whether the file that a run begins from is there and fits, without reading it all

  Collective
*/
PetscErrorCode KalRunCheckBeginning(KalRun run)
{
  KalSnapshot snapshot;
  PetscBool   members = PETSC_FALSE, mean = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (run->initial[0]) {
    PetscCall(KalSnapshotPlainHas(run->comm, run->initial, "members", &members));
    PetscCall(KalSnapshotPlainHas(run->comm, run->initial, "mean", &mean));
    PetscCheck(mean || (members && !run->needs.generated), run->comm, PETSC_ERR_FILE_UNEXPECTED, "-ensemble_initial %s holds no dataset %s", run->initial, run->needs.generated ? "mean (n)" : "members (N x n) or mean (n)");
  }
  if (run->restart[0]) {
    PetscCall(KalSnapshotOpen(run->comm, run->restart, KAL_SNAPSHOT_READ, &snapshot));
    PetscCall(CheckSettings(run, snapshot));
    PetscCall(TellChanges(run, snapshot));
    PetscCall(KalSnapshotClose(&snapshot));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunInitial - Draws the ensemble from the prior, or reads it from a file

  Collective
*/
PetscErrorCode KalRunInitial(KalRun run)
{
  KalKey       key = {run->seed, KAL_DRAW_PRIOR, 0, 0};
  PetscInt     j, c, first, last;
  PetscScalar *x, *copy;

  PetscFunctionBeginUser;
  if (run->initial[0]) PetscCall(ReadInitial(run));
  else if (run->needs.generated) PetscCall(KalModelInitial(run->model, (KalKey){run->seed, KAL_DRAW_CENTER, 0, 0}, run->mean));
  if (run->needs.generated) {
    PetscCall(KalEnsembleGaussianSet(run->ensemble, (KalKey){run->seed, KAL_DRAW_PERTURBATION, 0, 0}, 0.0, PETSC_FALSE, PETSC_FALSE));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalEnsembleGetOwnershipRange(run->ensemble, &first, &last));
  for (j = first; j < last; j++) {
    key.member = j;
    PetscCall(KalEnsembleGetMember(run->ensemble, j, &x));
    if (!run->initial[0]) PetscCall(KalModelInitial(run->model, key, x));
    for (c = 0; c < run->needs.copies; c++) {
      PetscCall(KalEnsembleGetMember(run->copy[c], j, &copy));
      PetscCall(PetscArraycpy(copy, x, run->n));
    }
  }
  PetscCall(KalEnsembleChanged(run->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}
