/* A run gone on from a snapshot: what must agree, and how it is read back. */
#include "runimpl.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/*
  KalRunCheckRestart - Whether the snapshot that is gone on from is of such a run, without reading it all; says which options have changed

  Collective
*/
PetscErrorCode KalRunCheckRestart(KalRun run)
{
  KalSnapshot snapshot;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotOpen(run->comm, run->restart, KAL_SNAPSHOT_READ, &snapshot));
  PetscCall(CheckSettings(run, snapshot));
  PetscCall(TellChanges(run, snapshot));
  PetscCall(KalSnapshotClose(&snapshot));
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
