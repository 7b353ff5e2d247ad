/* What an analysis on files tells of itself: spread before and after, innovations and residuals, the background check. */
#include "analyseimpl.h"

/* Mean and standard deviation of each row over the members that are in order. */
typedef struct {
  const KalStatus *status; /* NULL: all are */
  PetscReal       *mean, *spread;
} KalMoments;

static PetscErrorCode VisitMoments(void *ctx, const KalRows *rows, PetscReal *sums)
{
  const KalMoments *m    = (const KalMoments *)ctx;
  PetscReal        *mean = m->mean + rows->first, *spread = m->spread + rows->first;
  PetscInt          i, j, active = 0;

  PetscFunctionBeginUser;
  for (i = 0; i < rows->count; i++) mean[i] = spread[i] = 0.0;
  for (j = 0; j < rows->members[0]; j++) {
    const PetscScalar *x = rows->x[0] + (size_t)j * rows->ld[0];

    if (m->status && m->status[j] != KAL_MEMBER_OK) continue;
    for (i = 0; i < rows->count; i++) mean[i] += x[i];
    active++;
  }
  for (i = 0; i < rows->count; i++) mean[i] /= (PetscReal)active;
  for (j = 0; j < rows->members[0]; j++) {
    const PetscScalar *x = rows->x[0] + (size_t)j * rows->ld[0];

    if (m->status && m->status[j] != KAL_MEMBER_OK) continue;
    for (i = 0; i < rows->count; i++) spread[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
  }
  for (i = 0; i < rows->count; i++) {
    spread[i] /= (PetscReal)(active - 1);
    sums[0] += spread[i];
    spread[i] = PetscSqrtReal(spread[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective. Moments of each row on every rank, and the root mean square of the standard deviations. */
static PetscErrorCode Moments(KalEnsemble ensemble, const KalStatus *status, PetscReal *mean, PetscReal *spread, PetscReal *rms)
{
  KalMoments m = {status, mean, spread};
  PetscReal  sum;
  PetscInt   n;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSizes(ensemble, &n, NULL));
  PetscCall(KalEnsembleSumRows(1, &ensemble, VisitMoments, &m, 1, &sum));
  PetscCall(KalEnsembleGatherBlocks(ensemble, mean));
  PetscCall(KalEnsembleGatherBlocks(ensemble, spread));
  if (rms) *rms = PetscSqrtReal(sum / n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which observations the background check leaves out. */
typedef struct {
  KalOffline     *o;
  const KalBatch *batch;
  PetscInt        active;
  PetscScalar    *anomalies, *residual; /* work of a block */
  PetscReal      *left;
} KalChecking;

/* An observation that was left out has no residual any more, though it departs from its prediction. */
static PetscErrorCode VisitCheck(void *ctx, const KalRows *rows, PetscReal *sums)
{
  const KalChecking *c     = (const KalChecking *)ctx;
  KalRun             run   = c->o->run;
  KalWhitening       white = {.rows = rows, .members = run->N, .center = -1, .status = run->status, .active = c->active, .scale = 1.0 / PetscSqrtReal((PetscReal)(c->active - 1)), .anomalies = c->anomalies, .residual = c->residual};

  PetscFunctionBeginUser;
  PetscCall(KalObservationsWhiten(run->observations, c->batch, &white));
  for (PetscInt i = 0; i < rows->count; i++) c->left[rows->first + i] = white.rejected && c->residual[i] == 0.0 && c->o->innovation[rows->first + i] != 0.0 ? 1.0 : 0.0;
  sums[0] += (PetscReal)white.rejected;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Observations less a mean of predictions, in units of their errors; `mean` and `departure` may be the same array. */
static void Depart(const KalBatch *batch, const PetscReal *mean, PetscReal *departure)
{
  for (PetscInt i = 0; i < batch->samples; i++) departure[i] = (batch->target[i] - mean[i]) / (batch->root ? 1.0 : batch->error[i]);
}

/*
  KalOfflineCompare - Spread of the prior, and how its predictions compare with the observations, before the method has its hands on them

  Collective
*/
PetscErrorCode KalOfflineCompare(KalOffline *o, const KalBatch *batch, KalEnsemble predictions, PetscInt active)
{
  KalChecking c = {.o = o, .batch = batch, .active = active, .left = o->residual};
  PetscReal   rejected;
  PetscInt    rows;

  PetscFunctionBeginUser;
  PetscCall(Moments(o->run->ensemble, o->run->status, o->mean, o->run->prior, &o->spreadforecast));
  PetscCall(Moments(predictions, o->run->status, o->innovation, o->predicted, NULL));
  Depart(batch, o->innovation, o->innovation);
  for (PetscInt i = 0; i < o->p; i++) o->predicted[i] /= batch->root ? 1.0 : batch->error[i];
  PetscCall(KalEnsembleGetBlocks(predictions, &rows, NULL));
  PetscCall(PetscMalloc2((size_t)rows * o->run->N, &c.anomalies, rows, &c.residual));
  PetscCall(KalEnsembleSumRows(1, &predictions, VisitCheck, &c, 1, &rejected));
  PetscCall(PetscFree2(c.anomalies, c.residual));
  PetscCall(KalEnsembleGatherBlocks(predictions, c.left));
  for (PetscInt i = 0; i < o->p; i++) o->left[i] = (KalStatus)(c.left[i] != 0.0);
  o->rejected = (PetscInt)rejected;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalOfflineLookBack - Moments of the posterior and of its predictions; it must be finite

  Collective
*/
PetscErrorCode KalOfflineLookBack(KalOffline *o, const KalAsk *ask, const KalBatch *batch)
{
  KalRun      run = o->run;
  KalEnsemble predictions;
  PetscReal  *none;

  PetscFunctionBeginUser;
  PetscCall(Moments(run->ensemble, NULL, o->mean, o->spread, &o->spreadanalysis));
  PetscCall(KalRunEvaluate(run, ask, batch, &predictions));
  for (PetscInt j = 0; j < run->N; j++) PetscCheck(run->status[j] == KAL_MEMBER_OK, run->comm, PETSC_ERR_FP, "Member %" PetscInt_FMT " of the posterior is not finite; look at the prior's numbers and at -inflation_.... No posterior was written", j);
  PetscCall(PetscMalloc1(o->p, &none));
  PetscCall(Moments(predictions, NULL, o->residual, none, NULL));
  PetscCall(PetscFree(none));
  Depart(batch, o->residual, o->residual);
  PetscFunctionReturn(PETSC_SUCCESS);
}
