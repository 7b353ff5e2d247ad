/*
  Diagnostics of a run in time: errors against the truth, spread, CRPS, rank histogram, means over time, divergence.
  CRPS is that of the members' empirical distribution (Hersbach 2000), mean over the state's entries, or over some of a long state.
*/
#include "runimpl.h"

#include <ensemble/wider.h>

#define KAL_DIVERGENCE_CYCLES   20    /* errors and innovations are judged by their mean over so many cycles */
#define KAL_DIVERGENCE_REJECTED 0.5   /* a filter whose background check leaves out more of the observations no longer looks at them */
#define KAL_PAIRS_MOST          64    /* members whose differences are taken pair by pair, along the rows; more are sorted in each row */
#define KAL_CHUNK               64    /* rows that are worked on together */
#define KAL_SCORED              10240 /* entries that CRPS and ranks are taken of; of a longer state, chunks evenly apart */

enum {
  SUM_SQUARE,
  SUM_VARIANCE,
  SUM_CRPS,
  SUM_SCORED, /* entries that CRPS and ranks are taken of */
  SUM_RANKS,
};

typedef struct {
  const KalStatus    *status;
  PetscBool           truth;
  PetscInt            apart;  /* chunks from one that CRPS and ranks are taken of to the next */
  const PetscScalar **column; /* work: the members in order, */
  PetscReal          *row;    /* and one row of them */
} KalDiagnosing;

/* Some rows at once, what is wanted of each of them. */
typedef struct {
  PetscReal mean[KAL_CHUNK], square[KAL_CHUNK], absolute[KAL_CHUNK], pairs[KAL_CHUNK], below[KAL_CHUNK];
} KalChunk;

KAL_WIDER static void Moments(PetscInt count, PetscInt N, const PetscScalar *const x[], KalChunk *c)
{
  PetscInt i, j;

  for (i = 0; i < count; i++) c->mean[i] = c->square[i] = 0.0;
  for (j = 0; j < N; j++) {
    for (i = 0; i < count; i++) c->mean[i] += x[j][i];
  }
  for (i = 0; i < count; i++) c->mean[i] /= N;
  for (j = 0; j < N; j++) {
    for (i = 0; i < count; i++) c->square[i] += (x[j][i] - c->mean[i]) * (x[j][i] - c->mean[i]);
  }
}

/* Sum over the members of |x - t|, and how many lie below t. */
static void Against(PetscInt count, PetscInt N, const PetscScalar *const x[], const PetscScalar *t, KalChunk *c)
{
  PetscInt i, j;

  for (i = 0; i < count; i++) c->absolute[i] = c->below[i] = 0.0;
  for (j = 0; j < N; j++) {
    for (i = 0; i < count; i++) {
      c->absolute[i] += PetscAbsReal(x[j][i] - t[i]);
      c->below[i] += x[j][i] < t[i] ? 1.0 : 0.0;
    }
  }
}

/* Sum over the pairs of members of |x - x'|, each pair once. */
static PetscErrorCode Pairs(PetscInt count, PetscInt N, const PetscScalar *const x[], PetscReal *row, KalChunk *c)
{
  PetscInt i, j, k;

  PetscFunctionBeginUser;
  for (i = 0; i < count; i++) c->pairs[i] = 0.0;
  for (j = 0; N <= KAL_PAIRS_MOST && j < N; j++) {
    for (k = j + 1; k < N; k++) {
      for (i = 0; i < count; i++) c->pairs[i] += PetscAbsReal(x[j][i] - x[k][i]);
    }
  }
  for (i = 0; N > KAL_PAIRS_MOST && i < count; i++) {
    for (j = 0; j < N; j++) row[j] = x[j][i];
    PetscCall(PetscSortReal(N, row));
    for (j = 0; j < N; j++) c->pairs[i] += (2 * j - N + 1) * (row[j] - c->mean[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* CRPS and ranks of some rows, which take far longer than the moments. */
static PetscErrorCode Rank(const KalDiagnosing *d, PetscInt count, PetscInt N, const PetscScalar *truth, KalChunk *c, PetscReal *sums)
{
  PetscFunctionBeginUser;
  Against(count, N, d->column, truth, c);
  PetscCall(Pairs(count, N, d->column, d->row, c));
  sums[SUM_SCORED] += (PetscReal)count;
  for (PetscInt i = 0; i < count; i++) {
    sums[SUM_CRPS] += c->absolute[i] / N - c->pairs[i] / ((PetscReal)N * N);
    sums[SUM_RANKS + (PetscInt)c->below[i]] += 1.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitRows(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalDiagnosing *d = (KalDiagnosing *)ctx;
  KalChunk       c;
  PetscInt       at, count, i, j, N;

  PetscFunctionBeginUser;
  for (at = 0; at < rows->count; at += KAL_CHUNK) {
    const PetscScalar *truth = d->truth ? rows->x[1] + at : NULL;

    count = PetscMin(KAL_CHUNK, rows->count - at);
    for (j = 0, N = 0; j < rows->members[0]; j++) {
      if (!d->status || d->status[j] == KAL_MEMBER_OK) d->column[N++] = rows->x[0] + at + (size_t)j * rows->ld[0];
    }
    Moments(count, N, d->column, &c);
    for (i = 0; N > 1 && i < count; i++) sums[SUM_VARIANCE] += c.square[i] / (N - 1);
    if (!truth) continue;
    for (i = 0; i < count; i++) sums[SUM_SQUARE] += (c.mean[i] - truth[i]) * (c.mean[i] - truth[i]);
    if ((rows->first + at) / KAL_CHUNK % d->apart == 0) PetscCall(Rank(d, count, N, truth, &c, sums));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunDiagnose - Scores members against the truth, or takes their spread where there is none

  Collective. `status` NULL: all members are in order. Ranks of the forecast are counted after the burn-in.
*/
PetscErrorCode KalRunDiagnose(KalRun run, KalEnsemble members, const KalStatus *status, KalDiagnosis *diagnosis)
{
  KalEnsemble   both[2] = {members, run->truth};
  KalDiagnosing d       = {.status = status, .truth = run->truth ? PETSC_TRUE : PETSC_FALSE};
  PetscInt      N;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSizes(members, NULL, &N));
  if (!run->sums) PetscCall(PetscMalloc3(SUM_RANKS + run->N + 1, &run->sums, run->N, &run->row, run->N, &run->column));
  PetscCheck(N <= run->N, run->comm, PETSC_ERR_PLIB, "%" PetscInt_FMT " members to diagnose, with room for %" PetscInt_FMT, N, run->N);
  d.apart  = (run->n + KAL_SCORED - 1) / KAL_SCORED;
  d.row    = run->row;
  d.column = run->column;
  PetscCall(KalEnsembleSumRows(run->truth ? 2 : 1, both, VisitRows, &d, run->truth ? SUM_RANKS + N + 1 : SUM_CRPS, run->sums));
  diagnosis->spread = PetscSqrtReal(run->sums[SUM_VARIANCE] / run->n);
  diagnosis->rmse   = run->truth ? PetscSqrtReal(run->sums[SUM_SQUARE] / run->n) : NAN;
  diagnosis->crps   = run->truth ? run->sums[SUM_CRPS] / run->sums[SUM_SCORED] : NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunCountRanks - Adds the ranks of the last diagnosis to the histogram, after the burn-in
*/
PetscErrorCode KalRunCountRanks(KalRun run, PetscReal time)
{
  PetscInt k;

  PetscFunctionBeginUser;
  if (!run->truth || time <= run->burnin) PetscFunctionReturn(PETSC_SUCCESS);
  for (k = 0; k <= run->N; k++) run->ranks[k] += run->sums[SUM_RANKS + k];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscReal MeanSquareRatio(const PetscReal *above, const PetscReal *below, PetscInt first, PetscInt last)
{
  PetscReal a = 0.0, b = 0.0;
  PetscInt  k;

  for (k = first; k < last; k++) {
    a += above[k] * above[k];
    b += below[k] * below[k];
  }
  return a / b;
}

/* Sum of a column over some cycles, and in how many of them it has a number. */
static PetscReal Sum(const PetscReal *x, PetscInt first, PetscInt last, PetscInt *known)
{
  PetscReal sum = 0.0;
  PetscInt  k;

  for (k = first, *known = 0; k < last; k++) {
    if (PetscIsNanReal(x[k])) continue;
    sum += x[k];
    ++*known;
  }
  return sum;
}

/*
  KalRunHasDiverged - Whether errors, or innovations, have been far larger than the spread over the last cycles

  Not Collective. Errors or a spread that are not finite are told at once. Innovations are those that passed the background check; that
  most of them do not is told as well. NaN compares as not
  diverged: a method that does not say, an ensemble without spread.
*/
PetscBool KalRunHasDiverged(KalRun run)
{
  const PetscInt  last = run->cycle, first = last - KAL_DIVERGENCE_CYCLES;
  const PetscReal most = run->divergence * run->divergence;
  PetscInt        known, counted;

  if (run->divergence == 0.0 || last < 1) return PETSC_FALSE;
  if (PetscIsInfOrNanReal(run->history[KAL_HISTORY_SPREAD_ANALYSIS][last - 1]) || (run->truth && PetscIsInfOrNanReal(run->history[KAL_HISTORY_RMSE_ANALYSIS][last - 1]))) return PETSC_TRUE;
  if (first < 0) return PETSC_FALSE;
  if (Sum(run->history[KAL_HISTORY_LEFT_OUT], first, last, &counted) > KAL_DIVERGENCE_REJECTED * Sum(run->history[KAL_HISTORY_OBSERVATIONS], first, last, &known)) return PETSC_TRUE;
  if (Sum(run->history[KAL_HISTORY_INNOVATION], first, last, &known) > most * known) return PETSC_TRUE;
  return (PetscBool)(run->truth && run->N > 1 && MeanSquareRatio(run->history[KAL_HISTORY_RMSE_ANALYSIS], run->history[KAL_HISTORY_SPREAD_ANALYSIS], first, last) > most);
}

/*
  KalRunOutliers - How often the truth lay outside the forecast members: the ends of the rank histogram, 2/(N + 1) where members and truth are alike

  Not Collective. NaN where no rank was counted.
*/
PetscReal KalRunOutliers(KalRun run)
{
  PetscReal all = 0.0;
  PetscInt  k;

  for (k = 0; k <= run->N; k++) all += run->ranks[k];
  return all > 0.0 ? (run->ranks[0] + run->ranks[run->N]) / all : NAN;
}

/*
  KalRunTimeMean - Mean of a column of the history over the cycles after the burn-in, with its standard error

  Not Collective. The error is that of batch means: as many batches as the root of the number of cycles, so that it holds for
  cycles that depend on those before. NaN where there is nothing to average. What a method says of innovations is averaged over the cycles in
  which it can: not those without observations. Errors and spread have a number in each; NaN among these is told.
*/
void KalRunTimeMean(KalRun run, KalHistoryColumn column, PetscReal *mean, PetscReal *error)
{
  const PetscBool  partly = (PetscBool)(column == KAL_HISTORY_INNOVATION || column == KAL_HISTORY_DFS || column == KAL_HISTORY_EFFECTIVE || column == KAL_HISTORY_INFLATION);
  const PetscReal *x = run->history[column], *time = run->history[KAL_HISTORY_MODEL_TIME];
  PetscInt         first  = 0, count, batches, size, b, k;
  PetscReal        square = 0.0;

  *mean = NAN;
  if (error) *error = NAN;
  while (first < run->cycle && time[first] <= run->burnin) first++;
  for (count = 0, k = first; k < run->cycle; k++) count += !partly || !PetscIsNanReal(x[k]);
  if (!count) return;
  for (*mean = 0.0, k = first; k < run->cycle; k++) {
    if (!partly || !PetscIsNanReal(x[k])) *mean += x[k] / count;
  }
  batches = (PetscInt)PetscSqrtReal((PetscReal)count);
  if (!error || partly || batches < 2) return;
  size = count / batches;
  for (b = 0; b < batches; b++) {
    PetscReal part = 0.0;

    for (k = 0; k < size; k++) part += x[first + b * size + k] / size;
    square += (part - *mean) * (part - *mean);
  }
  *error = PetscSqrtReal(square / (batches - 1) / batches);
}
