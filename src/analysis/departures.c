/* The Gram matrix of the members: what filters need that look at the state beside its predictions. */
#include "filter.h"

/* A block's departures from the mean, squared and summed: X'X, with X over sqrt(active - 1). */
typedef struct {
  const KalInnovation *in;
  PetscBool            unit; /* each row scaled to length 1 */
  KalGram              gram;
  PetscScalar         *X, *mean;
} KalDepartures;

/* Rows to length 1, but for those whose departures are the rounding of their mean: these become zero. The means' room takes the factors. */
static void Normalize(const KalDepartures *dep, PetscInt count)
{
  const PetscInt N = dep->in->N;

  for (PetscInt i = 0; i < count; i++) {
    const PetscReal rounding = PETSC_MACHINE_EPSILON * dep->in->scale * PetscAbsScalar(dep->mean[i]); /* of a mean that is a sum of as many numbers */
    PetscReal       square   = 0.0;

    for (PetscInt j = 0; j < N; j++) square += PetscSqr(dep->X[i + (size_t)j * (size_t)count]);
    dep->mean[i] = square > dep->in->active * PetscSqr(rounding) ? 1.0 / PetscSqrtReal(square) : 0.0;
  }
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = 0; i < count; i++) dep->X[i + (size_t)j * (size_t)count] *= dep->mean[i];
  }
}

static PetscErrorCode VisitDepartures(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalDepartures       *dep = (KalDepartures *)ctx;
  const KalInnovation *in  = dep->in;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(dep->mean, rows->count));
  for (PetscInt j = 0; j < in->N; j++) {
    const PetscScalar *x = rows->x[0] + (size_t)j * (size_t)rows->ld[0];

    for (PetscInt i = 0; in->status[j] == KAL_MEMBER_OK && i < rows->count; i++) dep->mean[i] += x[i];
  }
  for (PetscInt j = 0; j < in->N; j++) {
    const PetscScalar *x = rows->x[0] + (size_t)j * (size_t)rows->ld[0];
    PetscScalar       *y = dep->X + (size_t)j * (size_t)rows->count;

    for (PetscInt i = 0; i < rows->count; i++) y[i] = in->status[j] == KAL_MEMBER_OK ? in->scale * (x[i] - dep->mean[i] / in->active) : 0.0;
  }
  if (dep->unit) Normalize(dep, rows->count);
  PetscCall(KalGramTake(&dep->gram, rows->count, dep->X, dep->X));
  for (PetscInt j = 0; j < in->N; j++) {
    PetscCall(PetscArraycpy(sums, dep->gram.product + (size_t)j * dep->gram.high + j, in->N - j));
    sums += in->N - j;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalFilterDepartures - X'X (N x N) of the members' departures from their mean, over sqrt(active - 1); columns of failed members are zero

  With `unit` each row of X has length 1, so that entries in small units count as others do: the row space is that of X, and nothing else is.
  Collective: one pass over the rows of the ensemble.
*/
PetscErrorCode KalFilterDepartures(KalAnalysis analysis, const KalInnovation *in, PetscBool unit, PetscReal *G)
{
  KalDepartures dep = {.in = in, .unit = unit};
  PetscReal    *sums, *at;
  PetscInt      rows;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetBlocks(analysis->ensemble, &rows, NULL));
  PetscCall(PetscMalloc3((size_t)rows * in->N, &dep.X, rows, &dep.mean, (size_t)in->N * (in->N + 1) / 2, &sums));
  PetscCall(KalGramCreate(in->N, &dep.gram));
  PetscCall(KalEnsembleSumRows(1, &analysis->ensemble, VisitDepartures, &dep, in->N * (in->N + 1) / 2, sums));
  at = sums;
  for (PetscInt j = 0; j < in->N; j++) {
    for (PetscInt i = j; i < in->N; i++, at++) G[i + (size_t)j * in->N] = G[j + (size_t)i * in->N] = *at;
  }
  PetscCall(KalGramDestroy(&dep.gram));
  PetscCall(PetscFree3(dep.X, dep.mean, sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}
