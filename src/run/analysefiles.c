/* Files of an analysis on files: the prior, the posterior of the cycle before, the posterior. */
#include "analyseimpl.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static PetscBool IsSame(const char *a, const char *b)
{
  struct stat one, other;

  return (PetscBool)(!stat(a, &one) && !stat(b, &other) && one.st_dev == other.st_dev && one.st_ino == other.st_ino);
}

/*
  KalOfflineCheckPaths - Refuses to write over anything but an earlier posterior

  Collective
*/
PetscErrorCode KalOfflineCheckPaths(KalOffline *o)
{
  const char *const read[]     = {o->prior, o->observations};
  char              text[1024] = "", tmp[PETSC_MAX_PATH_LEN];
  int               there      = 0;
  PetscBool         ours;
  struct stat       info;

  PetscFunctionBeginUser;
  if (!o->run->rank) {
    PetscCall(PetscSNPrintf(tmp, sizeof tmp, "%s.tmp", o->posterior)); /* where the posterior is written to at first */
    if (stat(o->prior, &info)) PetscCall(PetscSNPrintf(text, sizeof text, "The prior %s cannot be read: %s; the first argument is an HDF5 file with /members (N x n)", o->prior, strerror(errno)));
    for (int k = 0; k < 2 && !text[0]; k++) {
      if (IsSame(read[k], o->posterior) || IsSame(read[k], tmp)) PetscCall(PetscSNPrintf(text, sizeof text, "%s is what is read, and is not overwritten by the posterior %s; give another path for the posterior", read[k], o->posterior));
    }
    there = !stat(o->posterior, &info) && S_ISREG(info.st_mode) && info.st_size > 0;
  }
  KalCheckAll(o->run->comm, PETSC_ERR_ARG_WRONG, text);
  PetscCallMPI(MPI_Bcast(&there, 1, MPI_INT, 0, o->run->comm));
  if (!there) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalSnapshotHolds(o->run->comm, o->posterior, "source/prior", &ours));
  PetscCheck(ours, o->run->comm, PETSC_ERR_FILE_WRITE, "%s is there already and holds no posterior: it is not overwritten; give another path for the posterior", o->posterior);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An array of the prior that may be there. */
typedef struct {
  const char *name, *shape; /* in words */
  PetscInt64  rows;         /* that it must have */
  PetscBool   found;
  KalDataset  array;
} KalPart;

static PetscErrorCode FindPart(KalOffline *o, KalPart *part, PetscInt most)
{
  KalDataset *array    = &part->array;
  char        text[96] = "one number", one[32];

  PetscFunctionBeginUser;
  array->name = part->name;
  PetscCall(KalSnapshotPlainGetSize(o->run->comm, o->prior, part->name, &array->ndims, array->size, &part->found));
  if (!part->found) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt d = 0; d < array->ndims; d++) {
    PetscCall(PetscSNPrintf(one, sizeof one, "%s%lld", d ? " x " : "", (long long)array->size[d]));
    PetscCall(d ? PetscStrlcat(text, one, sizeof text) : PetscStrncpy(text, one, sizeof text));
  }
  PetscCheck(array->ndims >= 1 && array->ndims <= most && array->size[0] == part->rows, o->run->comm, PETSC_ERR_FILE_UNEXPECTED, "/%s of %s is %s; it must be %s, with /members of N = %" PetscInt_FMT " x n = %" PetscInt_FMT, part->name, o->prior, text, part->shape, o->run->N, o->run->n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sizes of the ensemble. */
static PetscErrorCode FindMembers(KalOffline *o)
{
  KalRun     run = o->run;
  PetscInt   ndims;
  PetscInt64 size[KAL_SNAPSHOT_RANK];
  PetscBool  found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotPlainGetSize(run->comm, o->prior, "members", &ndims, size, &found));
  if (!found) PetscCall(KalSnapshotPlainGetSize(run->comm, o->prior, "ensemble/members", &ndims, size, &found));
  PetscCheck(found, run->comm, PETSC_ERR_FILE_UNEXPECTED, "The prior %s has no dataset /members (N x n), nor /ensemble/members, as a snapshot has it", o->prior);
  PetscCheck(ndims == 2 && size[0] >= 1 && size[1] >= 1, run->comm, PETSC_ERR_FILE_UNEXPECTED, "/members of %s has %" PetscInt_FMT " dimensions; it needs 2, N members by n entries, neither of them 0", o->prior, ndims);
  PetscCheck(size[0] <= PETSC_MAX_INT && size[1] <= PETSC_MAX_INT, run->comm, PETSC_ERR_FILE_UNEXPECTED, "/members of %s is %lld x %lld; this PETSc counts to %" PetscInt_FMT, o->prior, (long long)size[0], (long long)size[1], PETSC_MAX_INT);
  PetscCheck(size[0] >= 2, run->comm, PETSC_ERR_FILE_UNEXPECTED, "/members of %s has 1 member; an analysis needs at least 2", o->prior);
  run->N = (PetscInt)size[0];
  run->n = (PetscInt)size[1];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A place that is no number, or outside the domain; entries of a negative kind have none. */
static PetscErrorCode CheckPlaces(const KalOffline *o, size_t size, char *text)
{
  const PetscInt d = o->domain.dimension;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < o->run->n; i++) {
    if (o->kind && (o->kind[i] > PETSC_MAX_INT || o->kind[i] < PETSC_MIN_INT)) {
      PetscCall(PetscSNPrintf(text, size, "/kind of %s holds %lld at %" PetscInt_FMT " (from 0), which is too large", o->prior, (long long)o->kind[i], i));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    for (PetscInt k = 0; k < d && !(o->kind && o->kind[i] < 0); k++) {
      const PetscReal x = o->coordinates[(size_t)i * (size_t)d + (size_t)k], length = o->domain.length[k];

      if (!PetscIsInfOrNanReal(x) && (length == 0.0 || (x >= 0.0 && x < length))) continue;
      if (PetscIsInfOrNanReal(x)) PetscCall(PetscSNPrintf(text, size, "/coordinates of %s holds %g at %" PetscInt_FMT " (from 0); they must be finite, or the entry of a negative /kind: without a place", o->prior, (double)x, i));
      else PetscCall(PetscSNPrintf(text, size, "Coordinate %" PetscInt_FMT " of entry %" PetscInt_FMT " (from 0) is %g in %s, and direction %" PetscInt_FMT " is periodic from 0 to below %g (/period)", k, i, (double)x, o->prior, k, (double)length));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckPeriod(const KalOffline *o, size_t size, char *text)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < o->domain.dimension; k++) {
    if (o->domain.length[k] >= 0.0 && !PetscIsInfOrNanReal(o->domain.length[k])) continue;
    PetscCall(PetscSNPrintf(text, size, "/period of %s holds %g at %" PetscInt_FMT " (from 0); a period is finite and positive, or 0: not periodic", o->prior, (double)o->domain.length[k], k));
    break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum {
  PART_COORDINATES,
  PART_KIND,
  PART_PERIOD,
  PART_STATUS,
  PARTS
};

/* What of the prior describes entries and members, as far as it is there. */
static PetscErrorCode FindParts(KalOffline *o, KalPart *part)
{
  const KalRun run = o->run;

  PetscFunctionBeginUser;
  part[PART_COORDINATES] = (KalPart){.name = "coordinates", .shape = "n x 1 to 3", .rows = run->n, .array = {.type = KAL_TYPE_REAL}};
  part[PART_KIND]        = (KalPart){.name = "kind", .shape = "n integers", .rows = run->n, .array = {.type = KAL_TYPE_INT64}};
  part[PART_STATUS]      = (KalPart){.name = "status", .shape = "N integers", .rows = run->N, .array = {.type = KAL_TYPE_BYTE}};
  PetscCall(FindPart(o, &part[PART_COORDINATES], 2));
  PetscCall(FindPart(o, &part[PART_KIND], 1));
  PetscCall(FindPart(o, &part[PART_STATUS], 1));
  o->locations = part[PART_COORDINATES].found;
  o->kinds     = part[PART_KIND].found;
  if (o->locations) {
    const KalDataset *c = &part[PART_COORDINATES].array;

    PetscCheck(c->ndims == 1 || (c->size[1] >= 1 && c->size[1] <= KAL_DIMENSIONS), run->comm, PETSC_ERR_FILE_UNEXPECTED, "/coordinates of %s has %lld numbers a row; places have 1 to %d", o->prior, (long long)c->size[1], KAL_DIMENSIONS);
    o->domain.dimension = c->ndims == 1 ? 1 : (PetscInt)c->size[1];
  }
  PetscCheck(o->locations || !o->kinds, run->comm, PETSC_ERR_FILE_UNEXPECTED, "%s has /kind and no /coordinates, which it would belong to", o->prior);
  part[PART_PERIOD] = (KalPart){.name = "period", .shape = "as many numbers as /coordinates has a row", .rows = o->domain.dimension, .array = {.type = KAL_TYPE_REAL}};
  PetscCall(FindPart(o, &part[PART_PERIOD], 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static size_t Take(PetscBool wanted, size_t bytes, size_t *at)
{
  const size_t here = *at;

  if (wanted) *at += (bytes + 63) / 64 * 64;
  return here;
}

/* Rank 0 of a node reads, for all of it. */
static PetscErrorCode ReadParts(KalOffline *o, KalPart *part)
{
  const size_t n = (size_t)o->run->n, N = (size_t)o->run->N;
  size_t       bytes       = 0;
  const size_t coordinates = Take(o->locations, n * (size_t)o->domain.dimension * sizeof(PetscReal), &bytes), kind = Take(o->kinds, n * sizeof(PetscInt64), &bytes), status = Take(PETSC_TRUE, N, &bytes), period = Take(PETSC_TRUE, sizeof o->domain.length, &bytes);
  char         text[1024] = "", *base;

  PetscFunctionBeginUser;
  PetscCall(KalSharedCreate(o->run->comm, (PetscInt64)bytes, &o->shared));
  base                              = (char *)o->shared.data;
  part[PART_COORDINATES].array.data = base + coordinates;
  part[PART_KIND].array.data        = base + kind;
  part[PART_STATUS].array.data      = base + status;
  part[PART_PERIOD].array.data      = base + period;
  if (o->locations) o->coordinates = (const PetscReal *)(base + coordinates);
  if (o->kinds) o->kind = (const PetscInt64 *)(base + kind);
  o->status = (const KalStatus *)(base + status);
  if (!o->shared.noderank) {
    PetscCall(PetscMemzero(base + status, bytes - status));
    for (int k = 0; k < PARTS; k++) {
      if (part[k].found) PetscCall(KalSnapshotPlainReadArray(o->prior, &part[k].array, sizeof text, text));
    }
    PetscCall(PetscArraycpy(o->domain.length, (const PetscReal *)(base + period), KAL_DIMENSIONS));
    if (!text[0]) PetscCall(CheckPeriod(o, sizeof text, text));
    if (!text[0]) PetscCall(CheckPlaces(o, sizeof text, text));
  }
  KalCheckAll(o->run->comm, PETSC_ERR_FILE_UNEXPECTED, text);
  PetscCall(KalSharedSync(&o->shared));
  PetscCall(PetscArraycpy(o->domain.length, (const PetscReal *)(base + period), KAL_DIMENSIONS));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalOfflineReadPrior - Sizes of the ensemble, places of its entries, state of its members; the members are read later

  Collective
*/
PetscErrorCode KalOfflineReadPrior(KalOffline *o)
{
  KalPart part[PARTS];

  PetscFunctionBeginUser;
  PetscCall(FindMembers(o));
  PetscCall(FindParts(o, part));
  PetscCall(ReadParts(o, part));
  for (PetscInt j = 0; j < o->run->N; j++) o->failed += o->status[j] != KAL_MEMBER_OK;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalOfflineReadPrevious - The cycle of the posterior before, and the state that its method left

  Collective
*/
PetscErrorCode KalOfflineReadPrevious(KalOffline *o, PetscInt *cycle)
{
  KalRun      run = o->run;
  KalSnapshot file;
  PetscInt64  value = -1;
  PetscBool   found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotOpen(run->comm, run->restart, KAL_SNAPSHOT_READ, &file));
  PetscCall(KalSnapshotReadInt(file, "analysis/cycle", &value, &found));
  PetscCheck(found && value >= 0 && value < PETSC_MAX_INT - 2, run->comm, PETSC_ERR_FILE_UNEXPECTED, "-analyse_previous %s is no posterior of kalmia-analyse", run->restart);
  *cycle = (PetscInt)value;
  PetscCall(KalRunReadArrays(run, file));
  PetscCall(KalSnapshotClose(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where the posterior comes from, as what, and by what. */
static PetscErrorCode WriteSource(const KalOffline *o, KalSnapshot file)
{
  KalRun          run = o->run;
  KalAnalysisType type;
  char            text[1024], *options;
  PetscInt        rows;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotWriteText(file, "kalmia/version", KALMIA_VERSION));
  PetscCall(KalProvenance(sizeof text, text));
  PetscCall(KalSnapshotWriteText(file, "kalmia/provenance", text));
  PetscCall(KalSnapshotWriteText(file, "source/prior", o->prior));
  PetscCall(KalSnapshotWriteText(file, "source/observations", o->observations));
  if (run->restart[0]) PetscCall(KalSnapshotWriteText(file, "source/previous", run->restart));
  PetscCall(KalOptionsRecord(&options));
  PetscCall(KalSnapshotWriteText(file, "options", options));
  PetscCall(PetscFree(options));
  PetscCall(KalSnapshotWriteInt(file, "run/seed", run->seed));
  PetscCall(KalEnsembleGetBlocks(run->ensemble, &rows, NULL));
  PetscCall(KalSnapshotWriteInt(file, "run/block_rows", rows));
  PetscCall(KalAnalysisGetType(run->analysis, &type));
  PetscCall(KalSnapshotWriteText(file, "analysis/type", type));
  PetscCall(KalSnapshotWriteInt(file, "analysis/cycle", run->cycle));
  PetscCall(KalRunWriteArrays(run, file));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteEnsemble(const KalOffline *o, KalSnapshot file)
{
  KalRun           run         = o->run;
  const KalDataset mean        = {.name = "mean", .meaning = "mean of the members", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->n}, .dimension = {"state"}, .data = o->mean};
  const KalDataset spread      = {.name = "spread", .meaning = "standard deviation of the members (divisor: members less 1)", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {run->n}, .dimension = {"state"}, .data = o->spread};
  const KalDataset status      = {.name = "analysis/status", .meaning = "of the prior's members: 0 in order, 1 failed, 2 its predictions are not finite; these are drawn anew", .units = "1", .type = KAL_TYPE_BYTE, .ndims = 1, .size = {run->N}, .dimension = {"member"}, .data = run->laststatus};
  const KalDataset coordinates = {
      .name = "coordinates", .meaning = "where each entry of the state is", .units = "1", .type = KAL_TYPE_REAL, .ndims = 2, .size = {run->n,  o->domain.dimension},
                       .dimension = {"state", "direction"        },
                       .data = (void *)o->coordinates
  };
  const KalDataset kind   = {.name = "kind", .meaning = "kind of each entry of the state; negative: it has no place", .units = "1", .type = KAL_TYPE_INT64, .ndims = 1, .size = {run->n}, .dimension = {"state"}, .data = (void *)o->kind};
  const KalDataset period = {.name = "period", .meaning = "of each direction, 0: not periodic", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {o->domain.dimension}, .dimension = {"direction"}, .data = (void *)o->domain.length};

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotWriteMembers(file, "members", "members of the ensemble after the analysis", run->ensemble));
  PetscCall(KalSnapshotWriteArray(file, &mean));
  PetscCall(KalSnapshotWriteArray(file, &spread));
  PetscCall(KalSnapshotWriteArray(file, &status));
  if (o->locations) {
    PetscCall(KalSnapshotWriteArray(file, &coordinates));
    PetscCall(KalSnapshotWriteArray(file, &period));
    if (o->kinds) PetscCall(KalSnapshotWriteArray(file, &kind));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteObservations(const KalOffline *o, KalSnapshot file)
{
  const struct {
    const char *name, *meaning;
    PetscReal  *data;
  } columns[] = {
      {"observations/innovation", "observation less the mean of the prior's predictions, in units of its error",        o->innovation},
      {"observations/spread",     "standard deviation of the prior's predictions, in units of the observation's error", o->predicted },
      {"observations/residual",   "observation less the mean of the posterior's predictions, in units of its error",    o->residual  },
  };
  const KalDataset rejected = {.name = "observations/rejected", .meaning = "1: left out by the background check", .units = "1", .type = KAL_TYPE_BYTE, .ndims = 1, .size = {o->p}, .dimension = {"observation"}, .data = o->left};

  PetscFunctionBeginUser;
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(columns); k++) {
    const KalDataset dataset = {.name = columns[k].name, .meaning = columns[k].meaning, .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {o->p}, .dimension = {"observation"}, .data = columns[k].data};

    PetscCall(KalSnapshotWriteArray(file, &dataset));
  }
  PetscCall(KalSnapshotWriteArray(file, &rejected));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a cycle of a run has in its history. */
static PetscErrorCode WriteStatistics(const KalOffline *o, KalSnapshot file)
{
  KalRun            run = o->run;
  KalAnalysisReport report;
  PetscReal         value;
  char              name[64];
  PetscInt          failed = 0;

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetReport(run->analysis, &report));
  for (PetscInt j = 0; j < run->N; j++) failed += run->laststatus[j] != KAL_MEMBER_OK;
  const struct {
    const char *name, *meaning;
    PetscReal   value;
  } numbers[] = {
      {"observations",    "observations, those that the background check left out among them",           (PetscReal)o->p       },
      {"rejected",        "observations that the background check left out",                             (PetscReal)o->rejected},
      {"failed",          "members that failed and were drawn anew",                                     (PetscReal)failed     },
      {"loss",            "half the squared innovation, an observation",                                 report.loss           },
      {"spread_forecast", "root mean square of the prior members' standard deviation",                   o->spreadforecast     },
      {"spread_analysis", "root mean square of the posterior members' standard deviation",               o->spreadanalysis     },
      {"innovation",      "squared innovations over their expectation, 1 where spread and errors agree", report.innovation     },
      {"dfs",             "degrees of freedom for signal, tr(H K)",                                      report.dfs            },
      {"effective",       "effective ensemble size of the predicted anomalies",                          report.effective      },
      {"inflation",       "factor on the prior anomalies",                                               report.inflation      },
  };
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(numbers); k++) {
    const KalDataset dataset = {.name = name, .meaning = numbers[k].meaning, .units = "1", .type = KAL_TYPE_REAL, .ndims = 0, .data = &value};

    value = numbers[k].value;
    PetscCall(PetscSNPrintf(name, sizeof name, "statistics/%s", numbers[k].name));
    PetscCall(KalSnapshotWriteArray(file, &dataset));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalOfflineWrite - Writes the posterior: whole or not at all

  Collective
*/
PetscErrorCode KalOfflineWrite(KalOffline *o)
{
  KalSnapshot file;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotOpen(o->run->comm, o->posterior, KAL_SNAPSHOT_WRITE, &file));
  PetscCall(WriteSource(o, file));
  PetscCall(WriteEnsemble(o, file));
  PetscCall(WriteObservations(o, file));
  PetscCall(WriteStatistics(o, file));
  PetscCall(KalSnapshotCommit(file));
  PetscCall(KalSnapshotClose(&file));
  PetscFunctionReturn(PETSC_SUCCESS);
}
