/* Whether the numbers of an observation file make sense, each with its place and the remedy. */
#include "timed.h"

#include <stdlib.h>

static void CheckFinite(const PetscReal *x, PetscInt64 count, PetscInt width, const char *name, const char *path, KalFault *fault)
{
  if (!x || fault->text[0]) return;
  for (PetscInt64 i = 0; i < count; i++) {
    if (!PetscIsInfOrNanReal(x[i])) continue;
    KalFaultSet(fault, PETSC_ERR_FP, "%s of %s holds %g at %lld (from 0); it must be finite: leave the observation out", name, path, (double)x[i], (long long)(i / width));
    return;
  }
}

static void CheckErrors(const KalTimed *t, const char *path, KalFault *fault)
{
  if (fault->text[0]) return;
  for (PetscInt i = 0; i < t->size.m; i++) {
    if (t->error[i] > 0.0 && !PetscIsInfOrNanReal(t->error[i])) continue;
    KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "/error of %s holds %g at %" PetscInt_FMT " (from 0); errors are standard deviations, positive and finite", path, (double)t->error[i], i);
    return;
  }
}

/* Offsets must begin at 0, grow from row to row, and end behind the last entry. */
static void CheckStarts(const KalTimed *t, const char *path, KalFault *fault)
{
  const PetscInt *start = t->start_row;

  if (!start || fault->text[0]) return;
  if (start[0]) KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "/start of %s begins with %" PetscInt_FMT "; it must begin with 0", path, start[0]);
  for (PetscInt i = 0; i < t->size.m && !fault->text[0]; i++) {
    if (start[i + 1] > start[i]) continue;
    KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "Row %" PetscInt_FMT " (from 0) of the operator in %s has no entries (from %" PetscInt_FMT " to %" PetscInt_FMT "); each row must observe something", i, path, start[i], start[i + 1]);
  }
  if (start[t->size.m] != t->size.entries) KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "/start of %s ends with %" PetscInt_FMT "; there are %" PetscInt_FMT " entries", path, start[t->size.m], t->size.entries);
}

/* The observation whose row holds a number of the operator. */
static PetscInt RowOf(const KalTimed *t, PetscInt at)
{
  PetscInt low = 0, high = t->size.m;

  if (!t->start_row) return at;
  while (high - low > 1) {
    const PetscInt middle = low + (high - low) / 2;

    if (t->start_row[middle] <= at) low = middle;
    else high = middle;
  }
  return low;
}

static void CheckEntries(const KalTimed *t, const char *path, KalFault *fault)
{
  if (!t->entry || fault->text[0]) return;
  for (PetscInt k = 0; k < t->size.entries; k++) {
    if (t->entry[k] >= 0 && t->entry[k] < t->n) continue;
    KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "Observation %" PetscInt_FMT " (from 0) of %s is of entry %" PetscInt_FMT "; the state has entries 0 to %" PetscInt_FMT, RowOf(t, k), path, t->entry[k], t->n - 1);
    return;
  }
  if (!t->weight) return;
  for (PetscInt k = 0; k < t->size.entries; k++) {
    if (!PetscIsInfOrNanReal(t->weight[k])) continue;
    KalFaultSet(fault, PETSC_ERR_FP, "Observation %" PetscInt_FMT " (from 0) of %s has the weight %g of entry %" PetscInt_FMT "; weights must be finite", RowOf(t, k), path, (double)t->weight[k], t->entry[k]);
    return;
  }
}

/* HDF5 clips integers that are too large for an index to the largest there is. */
static void CheckKinds(const KalTimed *t, const char *path, KalFault *fault)
{
  if (!t->kind || fault->text[0]) return;
  for (PetscInt i = 0; i < t->size.m; i++) {
    if (t->kind[i] < PETSC_MAX_INT && t->kind[i] > PETSC_MIN_INT) continue;
    KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "/kind of %s holds %" PetscInt_FMT " or beyond at %" PetscInt_FMT " (from 0); a kind must be smaller", path, t->kind[i], i);
    return;
  }
}

static void CheckLocations(const KalTimed *t, const char *path, KalFault *fault)
{
  if (!t->location || fault->text[0]) return;
  for (PetscInt i = 0; i < t->size.m; i++) {
    for (PetscInt d = 0; d < t->domain.dimension; d++) {
      const PetscReal x = t->location[(size_t)i * KAL_DIMENSIONS + (size_t)d], length = t->domain.length[d];

      if (!(length > 0.0) || (x >= 0.0 && x < length)) continue;
      KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "Observation %" PetscInt_FMT " (from 0) of %s lies outside the domain: its coordinate %" PetscInt_FMT " is %g, and direction %" PetscInt_FMT " is periodic from 0 to below %g", i, path, d, (double)x, d, (double)length);
      return;
    }
  }
}

/* All that can be said of an observation by itself. */
void KalTimedCheck(const KalTimed *t, const char *path, KalFault *fault)
{
  CheckFinite(t->value, t->size.m, 1, "/value", path, fault);
  CheckErrors(t, path, fault);
  CheckStarts(t, path, fault);
  CheckEntries(t, path, fault);
  CheckFinite(t->location, (PetscInt64)t->size.m * KAL_DIMENSIONS, KAL_DIMENSIONS, "/location", path, fault);
  CheckLocations(t, path, fault);
  CheckKinds(t, path, fault);
}

/* What tells an observation of one time from another. */
typedef struct {
  PetscInt64 key; /* a digest of its row, or of its place where the model observes */
  PetscInt   kind, index;
} KalMark;

static int Compare(const void *left, const void *right)
{
  const KalMark *a = (const KalMark *)left, *b = (const KalMark *)right;

  if (a->kind != b->kind) return a->kind < b->kind ? -1 : 1;
  if (a->key != b->key) return a->key < b->key ? -1 : 1;
  return a->index < b->index ? -1 : 1;
}

static PetscInt64 Key(const KalTimed *t, const PetscReal *times, PetscInt i)
{
  const PetscInt first = t->start_row ? t->start_row[i] : i, count = t->start_row ? t->start_row[i + 1] - first : 1;
  PetscInt64     key = 0;

  if (!t->entry) (void)KalDigest(t->location + (size_t)i * KAL_DIMENSIONS, KAL_DIMENSIONS * sizeof(PetscReal), 0, &key);
  else if (!t->start_row && !t->weight) key = t->entry[i];
  else {
    (void)KalDigest(t->entry + first, (size_t)count * sizeof(PetscInt), 0, &key);
    if (t->weight) (void)KalDigest(t->weight + first, (size_t)count * sizeof(PetscReal), key, &key);
  }
  if (times) (void)KalDigest(times + i, sizeof *times, key, &key);
  return key;
}

/* Refuses two observations of the same thing among `count` of one time, or with the same of `times`, from `first` on. */
void KalTimedCheckTwice(const KalTimed *t, const char *path, const PetscReal *times, PetscInt first, PetscInt count, KalFault *fault)
{
  KalMark  *mark;
  PetscBool sorted = PETSC_TRUE;

  if (fault->text[0] || (!t->entry && !t->location)) return;
  mark = (KalMark *)malloc((size_t)PetscMax(count, 1) * sizeof *mark);
  if (!mark) {
    KalFaultSet(fault, PETSC_ERR_MEM, "There is no memory to compare the %" PetscInt_FMT " observations of one time in %s", count, path);
    return;
  }
  for (PetscInt i = 0; i < count; i++) {
    mark[i] = (KalMark){Key(t, times, first + i), t->kind ? t->kind[first + i] : 0, i};
    if (i && Compare(&mark[i - 1], &mark[i]) > 0) sorted = PETSC_FALSE;
  }
  if (!sorted) qsort(mark, (size_t)count, sizeof *mark, Compare);
  for (PetscInt i = 1; i < count; i++) {
    if (mark[i].kind != mark[i - 1].kind || mark[i].key != mark[i - 1].key) continue;
    KalFaultSet(fault, PETSC_ERR_ARG_WRONG, "Observations %" PetscInt_FMT " and %" PetscInt_FMT " (from 0) of %s are of the same time, kind (%" PetscInt_FMT ") and %s; keep one of them, or their mean", first + mark[i - 1].index, first + mark[i].index, path, mark[i].kind, t->entry ? "entries of the state" : "place");
    break;
  }
  free(mark);
}
