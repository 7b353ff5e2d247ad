/* Reader of observation files and of operators, by one rank of a node: which data sets there are, and their numbers. */
#include "timed.h"

#include <stdlib.h>

enum {
  SET_TIME,
  SET_VALUE,
  SET_ERROR,
  SET_COVARIANCE,
  SET_ENTRY,
  SET_START,
  SET_INDEX,
  SET_WEIGHT,
  SET_DENSE,
  SET_LOCATION,
  SET_KIND,
  SETS
};

static const struct {
  const char *name;
  PetscInt    ndims; /* that it may have at most */
  PetscBool   integer;
} Sets[SETS] = {
    {"/time",     1, PETSC_FALSE},
    {"/value",    1, PETSC_FALSE},
    {"/error",    1, PETSC_FALSE},
    {"/R",        2, PETSC_FALSE},
    {"/entry",    1, PETSC_TRUE },
    {"/start",    1, PETSC_TRUE },
    {"/index",    1, PETSC_TRUE },
    {"/weight",   1, PETSC_FALSE},
    {"/H",        2, PETSC_FALSE},
    {"/location", 2, PETSC_FALSE},
    {"/kind",     1, PETSC_TRUE },
};

static const KalFileUse Series   = {"observation file", "-observations_path", "takes with -observations_type series one HDF5 file", "a series needs /time, /value, /error (or /R), and what is observed: /entry, or /start and /index"};
static const KalFileUse Timeless = {"observation file", "the path of the observations", "is that of one HDF5 file", "observations need /value, /error (or /R), and what is observed: /entry, or /start and /index"};
static const KalFileUse Operator = {"observation operator", "-observations_operator", "takes an HDF5 file, or the word model", "an operator needs /entry, or /start and /index, or /H"};

/* What a file holds, as rank 0 of a node found it. */
typedef struct {
  PetscBool has[SETS];
  KalShape  shape[SETS];
  PetscInt  index;   /* the set with the state entries of a row */
  PetscInt  m;       /* observations */
  PetscInt  entries; /* numbers of the operator's rows */
} KalContents;

typedef struct {
  const KalTimed   *t;
  const KalFileUse *use;
  const char       *path;
  PetscBool         series, own; /* own: the model observes */
  KalFault         *fault;
} KalReader;

static void Missing(const KalReader *in, const char *name)
{
  KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "The HDF5 file %s has no data set %s; %s", in->path, name, in->use->holds);
}

static void Both(const KalReader *in, const char *one, const char *other, const char *why)
{
  KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "The %s %s has %s and %s; %s", in->use->what, in->path, one, other, why);
}

static void CheckSize(const KalReader *in, const KalContents *c, int set, PetscInt size, const char *of)
{
  if (c->has[set] && c->shape[set].samples != size) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "%s of %s has %" PetscInt_FMT " rows, and %s %" PetscInt_FMT "; both must agree", Sets[set].name, in->path, c->shape[set].samples, of, size);
}

/* Which data sets go together. */
static void CheckNames(const KalReader *in, const KalContents *c)
{
  const PetscBool *has = c->has;

  if (in->series) {
    for (int set = SET_TIME; set <= SET_VALUE; set++)
      if (!has[set] && !(set == SET_TIME && in->t->timeless)) Missing(in, Sets[set].name);
    if (!has[SET_ERROR] && !has[SET_COVARIANCE]) Missing(in, "/error");
    if (has[SET_DENSE]) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "The observation file %s has /H, which belongs to the operator of a twin; give a series its rows as /start, /index and /weight", in->path);
  } else {
    for (int set = SET_TIME; set <= SET_VALUE; set++)
      if (has[set]) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "The observation operator %s has %s, as a series of observations has; name it with -observations_path and -observations_type series", in->path, Sets[set].name);
    if (has[SET_DENSE] && (has[SET_ENTRY] || has[SET_START])) Both(in, "/H", has[SET_ENTRY] ? "/entry" : "/start", "give one of them");
  }
  if (has[SET_ERROR] && has[SET_COVARIANCE]) Both(in, "/error", "/R", "errors are independent or dense, give one of them");
  if (in->own) {
    if (has[SET_ENTRY] || has[SET_START]) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "The observation file %s says what is observed (%s), and so does -observations_operator model; give one of them", in->path, has[SET_ENTRY] ? "/entry" : "/start");
  } else if (!has[SET_ENTRY] && !has[SET_START] && !has[SET_DENSE]) Missing(in, "/entry");
  if (has[SET_START] && c->index < 0) Missing(in, "/index");
  if (has[SET_START] && has[SET_INDEX] && has[SET_ENTRY]) Both(in, "/entry", "/start", "rows with /start have their state entries in /index");
  if (has[SET_WEIGHT] && has[SET_DENSE]) Both(in, "/weight", "/H", "give one of them");
  if (!in->series && !in->fault->text[0] && in->t->noise && (has[SET_ERROR] || has[SET_COVARIANCE])) KalFaultSet(in->fault, PETSC_ERR_ARG_INCOMP, "The observation operator %s has %s, and -observations_noise gives the errors' variance as well; give one of them", in->path, has[SET_ERROR] ? "/error" : "/R");
}

/* Sizes that must agree. */
static void CheckSizes(const KalReader *in, KalContents *c)
{
  const char *of;

  if (in->series) {
    const int set = in->t->timeless ? SET_VALUE : SET_TIME;

    c->m = c->shape[set].samples;
    of   = Sets[set].name;
  } else if (c->has[SET_DENSE]) {
    c->m = c->shape[SET_DENSE].samples;
    of   = "/H";
    if (c->shape[SET_DENSE].ndims != 2 || c->shape[SET_DENSE].width != in->t->n) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "/H of %s has %" PetscInt_FMT " columns; the state has %" PetscInt_FMT " entries", in->path, c->shape[SET_DENSE].width, in->t->n);
  } else if (c->has[SET_START]) {
    c->m = c->shape[SET_START].samples - 1;
    of   = "/start less 1";
    if (c->m < 1) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "/start of %s has 1 number; it needs one more than there are rows", in->path);
  } else {
    c->m = c->shape[SET_ENTRY].samples;
    of   = "/entry";
  }
  CheckSize(in, c, SET_TIME, c->m, of);
  CheckSize(in, c, SET_VALUE, c->m, of);
  CheckSize(in, c, SET_ERROR, c->m, of);
  CheckSize(in, c, SET_LOCATION, c->m, of);
  CheckSize(in, c, SET_KIND, c->m, of);
  if (c->has[SET_START]) {
    if (c->shape[SET_START].samples - 1 != c->m) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "/start of %s has %" PetscInt_FMT " numbers, and %s %" PetscInt_FMT "; /start needs one more", in->path, c->shape[SET_START].samples, of, c->m);
    c->entries = c->shape[c->index].samples;
    CheckSize(in, c, SET_WEIGHT, c->entries, Sets[c->index].name);
  } else if (c->has[SET_ENTRY]) {
    CheckSize(in, c, SET_ENTRY, c->m, of);
    CheckSize(in, c, SET_WEIGHT, c->m, of);
    c->entries = c->m;
  }
  if (c->has[SET_COVARIANCE]) {
    const KalShape *R = &c->shape[SET_COVARIANCE];

    if (R->ndims != 2 || R->samples != R->width) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "/R of %s is %" PetscInt_FMT " x %" PetscInt_FMT "; an error covariance is square", in->path, R->samples, R->width);
    if (R->samples > KAL_MOST_DENSE) KalFaultSet(in->fault, PETSC_ERR_ARG_OUTOFRANGE, "/R of %s has %" PetscInt_FMT " rows; a dense error covariance may have %d at most, errors that are independent go to /error", in->path, R->samples, KAL_MOST_DENSE);
    if (!in->series) CheckSize(in, c, SET_COVARIANCE, c->m, of);
  }
}

static void CheckLocation(const KalReader *in, const KalContents *c)
{
  const PetscInt d = c->shape[SET_LOCATION].width, domain = in->t->domain.dimension;

  if (!c->has[SET_LOCATION]) return;
  if (d > KAL_DIMENSIONS) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "/location of %s has %" PetscInt_FMT " coordinates a row; allowed: 1 to %d", in->path, d, KAL_DIMENSIONS);
  if (domain && d != domain) KalFaultSet(in->fault, PETSC_ERR_FILE_UNEXPECTED, "/location of %s has %" PetscInt_FMT " coordinates a row, and the model's domain %" PetscInt_FMT " dimensions; both must agree", in->path, d, domain);
}

/* Finds out what a file holds, and whether it can be what it should be. */
static void Contents(const KalReader *in, KalContents *c)
{
  KalFault *fault = in->fault;

  for (int set = 0; set < SETS && !fault->text[0]; set++) {
    KalHdf5HoldsFor(in->use, in->path, Sets[set].name, &c->has[set], fault);
    if (!c->has[set] || fault->text[0]) continue;
    KalHdf5ShapeFor(in->use, in->path, Sets[set].name, &c->shape[set], fault);
    if (fault->text[0]) return;
    if (c->shape[set].ndims > Sets[set].ndims) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "%s of %s has %" PetscInt_FMT " dimensions; allowed: %s%" PetscInt_FMT, Sets[set].name, in->path, c->shape[set].ndims, Sets[set].ndims > 1 ? "at most " : "", Sets[set].ndims);
    if (Sets[set].integer && !KalElementIsInteger(c->shape[set].element)) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "%s of %s holds %s; it must hold integers", Sets[set].name, in->path, KalElementName(c->shape[set].element));
  }
  c->index = c->has[SET_INDEX] ? SET_INDEX : c->has[SET_ENTRY] ? SET_ENTRY
                                                               : -1;
  if (!fault->text[0]) CheckNames(in, c);
  if (!fault->text[0]) CheckSizes(in, c);
  if (!fault->text[0]) CheckLocation(in, c);
}

/* Rows of /H are read so many numbers at a time. */
#define KAL_DENSE_CHUNK 4194304

/* Counts the numbers of /H that are not 0 or, with `t`, makes sparse rows of them. */
static void Dense(const KalReader *in, const KalContents *c, KalTimed *t, PetscInt64 *entries)
{
  const KalShape *shape = &c->shape[SET_DENSE];
  const PetscInt  rows = PetscMax(1, PetscMin(shape->samples, KAL_DENSE_CHUNK / shape->width)), n = shape->width;
  PetscReal      *H  = (PetscReal *)malloc((size_t)rows * (size_t)n * sizeof *H);
  PetscInt64      at = 0;

  if (!H) KalFaultSet(in->fault, PETSC_ERR_MEM, "There is no memory for %" PetscInt_FMT " rows of /H of %s", rows, in->path);
  for (PetscInt first = 0; first < shape->samples && !in->fault->text[0]; first += rows) {
    const KalHdf5Part part = {first, PetscMin(rows, shape->samples - first), n, KAL_ELEMENT_FLOAT64};

    KalHdf5ReadFor(in->use, in->path, Sets[SET_DENSE].name, shape, &part, H, in->fault);
    if (in->fault->text[0]) break;
    for (PetscInt i = 0; i < part.count; i++) {
      for (PetscInt k = 0; k < n; k++) {
        const PetscReal weight = H[(size_t)i * (size_t)n + (size_t)k];

        if (weight == 0.0) continue; /* NaN stays, and is refused with the other weights */
        if (t && at < t->size.entries) {
          t->entry[at]  = k;
          t->weight[at] = weight;
        }
        at++;
      }
      if (t) t->start_row[first + i + 1] = (PetscInt)PetscMin(at, (PetscInt64)t->size.entries);
    }
  }
  free(H);
  *entries = at;
  if (at > PETSC_MAX_INT) KalFaultSet(in->fault, PETSC_ERR_ARG_OUTOFRANGE, "/H of %s has more numbers that are not 0 than an index holds (%" PetscInt_FMT ")", in->path, PETSC_MAX_INT);
}

static void Read(const KalReader *in, const KalContents *c, int set, PetscInt ld, void *values)
{
  KalHdf5Part part = {.ld = ld, .as = KAL_ELEMENT_FLOAT64};

  if (set < 0 || !c->has[set] || !values || in->fault->text[0]) return;
  part.count = c->shape[set].samples;
  if (Sets[set].integer) part.as = sizeof(PetscInt) == 8 ? KAL_ELEMENT_INT64 : KAL_ELEMENT_INT32;
  KalHdf5ReadFor(in->use, in->path, Sets[set].name, &c->shape[set], &part, values, in->fault);
}

/* Reads all that was found into the memory that was taken for it. */
static void ReadAll(const KalReader *in, const KalContents *c, KalTimed *t, PetscReal *times)
{
  PetscInt64 entries;

  Read(in, c, SET_TIME, 1, times);
  Read(in, c, SET_VALUE, 1, t->value);
  Read(in, c, SET_ERROR, 1, t->error);
  Read(in, c, SET_START, 1, t->start_row);
  Read(in, c, c->index, 1, t->entry);
  Read(in, c, SET_WEIGHT, 1, t->weight);
  Read(in, c, SET_LOCATION, KAL_DIMENSIONS, t->location);
  Read(in, c, SET_KIND, 1, t->kind);
  Read(in, c, SET_COVARIANCE, c->shape[SET_COVARIANCE].samples, t->root);
  if (c->has[SET_DENSE] && !in->fault->text[0]) {
    Dense(in, c, t, &entries);
    if (entries != t->size.entries) KalFaultSet(in->fault, PETSC_ERR_FILE_READ, "%s was changed while it was read; start again", in->path);
  }
}

/*
  Collective. Reads an observation file or, for a twin, an operator into new memory, on rank 0 of each node; what is wrong with
  the numbers it leaves in `fault`, to be raised with what else the caller finds. Errors that no file gave are 1.
*/
PetscErrorCode KalTimedLoad(KalObservations obs, const char *path, PetscReal **times, KalFault *fault)
{
  KalTimed       *t      = obs->timed;
  const PetscBool series = (PetscBool)(obs->type == KAL_TYPE_SERIES);
  const KalReader in     = {t, !series ? &Operator : t->timeless ? &Timeless
                                                                 : &Series,
                            path, series, (PetscBool)(series && KalTimedOwn(t)), fault};
  KalContents     c;
  KalTimedSizes   size;
  PetscInt64      entries;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(&c, sizeof c));
  if (!obs->noderank) Contents(&in, &c);
  entries = c.entries;
  if (!obs->noderank && c.has[SET_DENSE] && !fault->text[0]) Dense(&in, &c, NULL, &entries);
  c.entries = (PetscInt)entries;
  KalCheckAll(obs->comm, fault->code, fault->text);
  PetscCallMPI(MPI_Bcast(&c, (PetscMPIInt)sizeof c, MPI_BYTE, 0, obs->comm));
  size = (KalTimedSizes){.m = c.m, .entries = c.entries, .dense = c.has[SET_COVARIANCE] ? c.shape[SET_COVARIANCE].samples : 0, .value = c.has[SET_VALUE], .error = PETSC_TRUE, .rows = (PetscBool)(c.has[SET_START] || c.has[SET_DENSE]), .weight = (PetscBool)(c.has[SET_WEIGHT] || c.has[SET_DENSE]), .location = c.has[SET_LOCATION], .kind = c.has[SET_KIND]};
  PetscCall(KalTimedAllocate(obs, &size));
  if (times) *times = NULL;
  if (!obs->noderank) {
    if (times && c.has[SET_TIME]) {
      *times = (PetscReal *)malloc((size_t)c.m * sizeof **times);
      if (!*times) KalFaultSet(fault, PETSC_ERR_MEM, "There is no memory for the %" PetscInt_FMT " times of %s", c.m, path);
    }
    ReadAll(&in, &c, t, times ? *times : NULL);
    if (!c.has[SET_ERROR])
      for (PetscInt i = 0; i < c.m; i++) t->error[i] = c.has[SET_COVARIANCE] ? 1.0 : PetscSqrtReal(obs->gamma);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective. Raises what was found wrong, makes sure that all nodes hold the same, and shows it to the node. */
PetscErrorCode KalTimedPublish(KalObservations obs, const char *path, KalShared *shared, KalFault *fault)
{
  PetscInt64 digest = 0, first;

  PetscFunctionBeginUser;
  KalCheckAll(obs->comm, fault->code, fault->text);
  if (!obs->noderank) PetscCall(KalDigest(shared->data, (size_t)shared->bytes, 0, &digest));
  first = digest;
  PetscCallMPI(MPI_Bcast(&first, 1, MPIU_INT64, 0, obs->comm));
  if (!obs->noderank && first != digest) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "%s is not the same on every node; put the same file on each", path);
  KalCheckAll(obs->comm, fault->code, fault->text);
  PetscCall(KalSharedSync(shared));
  PetscFunctionReturn(PETSC_SUCCESS);
}
