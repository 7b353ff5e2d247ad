/* The gain of a given covariance, and what else the reference methods share. */
#include "reference.h"

/*@
   KalAnalysisSetClimatology - Gives the mean and the covariance of the model's states over a long time

   Logically Collective

   Input Parameters:
+  analysis - the analysis; its KalNeeds say whether it asks for them
.  mean - n numbers, the same on every rank; borrowed
-  covariance - n x n numbers, symmetric, the same on every rank; borrowed. NULL where KalNeeds does not say `dense`

.seealso: KALANALYSISCLIMATOLOGY, KALANALYSISOI, KALANALYSIS3DVAR
@*/
PetscErrorCode KalAnalysisSetClimatology(KalAnalysis analysis, const PetscReal *mean, const PetscReal *covariance)
{
  PetscFunctionBeginUser;
  analysis->climatemean       = mean;
  analysis->climatecovariance = covariance;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalAnalysisSetTangent - Gives the tangent linear model to a method that needs it

   Logically Collective

   Input Parameters:
+  analysis - the analysis; its KalNeeds say whether it asks for one
.  tangent - takes departures from the trajectory that begins in a state from one time to another, in place, without communication
-  ctx - handed to `tangent`; borrowed

.seealso: KALANALYSISEXTKF, KalModelTangent()
@*/
PetscErrorCode KalAnalysisSetTangent(KalAnalysis analysis, KalTangent tangent, void *ctx)
{
  PetscFunctionBeginUser;
  analysis->tangent    = tangent;
  analysis->tangentctx = ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The background check compares with the spread of members, which these methods do not have. */
static PetscErrorCode RefuseReject(KalAnalysis analysis, KalObservations observations)
{
  PetscReal k;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetReject(observations, &k));
  PetscCheck(k == 0.0, analysis->comm, PETSC_ERR_ARG_INCOMP, "-observations_reject %g: the background check needs the spread of members, and %s has none; leave it out", (double)k, analysis->type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalReferenceSetUp - The needs of a reference method
*/
PetscErrorCode KalReferenceSetUp(KalAnalysis analysis, PetscBool dense)
{
  PetscFunctionBeginUser;
  analysis->ops.check = RefuseReject;
  PetscCheck(!dense || analysis->n <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s holds matrices of n x n numbers on every rank: n = %" PetscInt_FMT " is too large, at most %d is possible", analysis->type, analysis->n, KAL_MOST_SYSTEM);
  PetscCheck(analysis->space == KAL_SPACE_AUTO || analysis->space == KAL_SPACE_OBSERVATION, analysis->comm, PETSC_ERR_ARG_INCOMP, "-analysis_space %s: %s forms its linear system in observation space; leave the option out", KalSpaces[analysis->space], analysis->type);
  analysis->needs.least  = 1;
  analysis->needs.points = analysis->N;
  analysis->needs.timed  = PETSC_TRUE;
  analysis->needs.dense  = dense;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalReferenceCheck - Refuses observations without an operator, and a climatology that was not given
*/
PetscErrorCode KalReferenceCheck(KalAnalysis analysis, const KalBatch *batch, PetscBool covariance)
{
  PetscFunctionBeginUser;
  PetscCheck(batch->timed && batch->linear && batch->error, analysis->comm, PETSC_ERR_SUP, "%s needs linear observations of the state in time, with their errors; it does not work with a model that observes itself", analysis->type);
  PetscCheck(batch->samples <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s forms p x p matrices: p = %" PetscInt_FMT " is too large, at most %d is possible", analysis->type, batch->samples, KAL_MOST_SYSTEM);
  PetscCheck(!analysis->needs.climatology || (analysis->climatemean && (!covariance || analysis->climatecovariance)), analysis->comm, PETSC_ERR_ORDER, "%s needs the model's climatology: call KalAnalysisSetClimatology()", analysis->type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalReferenceReport - Loss and consistency of the forecast; the rest is not known

  Collective. Without members to compare, S is zero: a method with a covariance puts its own consistency in place.
*/
PetscErrorCode KalReferenceReport(KalAnalysis analysis, const KalTold *told)
{
  KalInnovation in;
  PetscInt      active = 0, j;

  PetscFunctionBeginUser;
  analysis->report = (KalAnalysisReport){.loss = NAN, .step = NAN, .time = NAN, .innovation = NAN, .dfs = NAN, .effective = NAN, .inflation = NAN};
  for (j = 0; j < analysis->N; j++) active += told->status[j] == KAL_MEMBER_OK;
  if (!active || !told->batch->samples) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalInnovationCreate(analysis, told, -1, 0.0, 0, &in));
  analysis->report.loss = in.loss / told->batch->samples;
  PetscCall(KalInnovationDestroy(&in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the gain depends on. */
static PetscErrorCode Digest(const KalBatch *batch, PetscReal scale, PetscInt64 *digest)
{
  const KalLinear *H       = batch->linear;
  const size_t     p       = (size_t)batch->samples;
  const size_t     entries = H->start ? (size_t)H->start[p] : p;

  PetscFunctionBeginUser;
  PetscCall(KalDigest(&scale, sizeof scale, (PetscInt64)p, digest));
  if (H->start) PetscCall(KalDigest(H->start, (p + 1) * sizeof *H->start, *digest, digest));
  PetscCall(KalDigest(H->entry, entries * sizeof *H->entry, *digest, digest));
  if (H->weight) PetscCall(KalDigest(H->weight, entries * sizeof *H->weight, *digest, digest));
  PetscCall(KalDigest(batch->error, p * sizeof *batch->error, *digest, digest));
  if (batch->root) PetscCall(KalDigest(batch->root, p * p * sizeof *batch->root, *digest, digest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* H x, divided by the root of the error covariance. */
static PetscErrorCode Observe(const KalBatch *batch, const PetscScalar *x, PetscScalar *y)
{
  PetscInt i;

  PetscFunctionBeginUser;
  PetscCall(KalLinearApply(batch->linear, x, y));
  if (batch->root) PetscCall(KalObservationsWhitenColumn(batch, y));
  for (i = 0; !batch->root && i < batch->samples; i++) y[i] /= batch->error[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Column i of a p x p matrix is H times row i of a p x n one, for each i in turn. */
static PetscErrorCode ObserveRow(const KalBatch *batch, const KalGain *gain, const PetscReal *rows, PetscInt i, PetscReal *y)
{
  PetscInt j;

  PetscFunctionBeginUser;
  for (j = 0; j < gain->n; j++) gain->row[j] = rows[i + (size_t)j * gain->p];
  PetscCall(Observe(batch, gain->row, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Room(KalGain *gain)
{
  const size_t p = (size_t)gain->p, n = (size_t)gain->n;

  PetscFunctionBeginUser;
  if (gain->p <= gain->room) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree5(gain->HB, gain->K, gain->M, gain->row, gain->column));
  PetscCall(PetscMalloc5(p * n, &gain->HB, p * n, &gain->K, p * p, &gain->M, n, &gain->row, p, &gain->column));
  gain->room = gain->p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalGainMake - Makes the gain of scale times a covariance B for the observations of a cycle; a fixed B and the operator of the cycle before: it stays

  Collective. B is n x n, symmetric and the same on every rank; so is the gain.
*/
PetscErrorCode KalGainMake(KalAnalysis analysis, const KalBatch *batch, PetscReal scale, const PetscReal *B, PetscBool fixed, KalGain *gain)
{
  PetscInt64 digest = 0;
  PetscInt   i, j;

  PetscFunctionBeginUser;
  if (fixed) PetscCall(Digest(batch, scale, &digest));
  if (fixed && gain->made && gain->digest == digest) PetscFunctionReturn(PETSC_SUCCESS);
  gain->n = analysis->n;
  gain->p = batch->samples;
  PetscCall(Room(gain));
  gain->trace = gain->dfs = 0.0;
  gain->made              = PETSC_FALSE;
  if (!gain->p) PetscFunctionReturn(PETSC_SUCCESS);
  for (j = 0; j < gain->n; j++) {
    PetscReal *column = gain->HB + (size_t)j * gain->p;

    PetscCall(Observe(batch, B + (size_t)j * gain->n, column));
    for (i = 0; i < gain->p; i++) column[i] *= scale;
  }
  for (i = 0; i < gain->p; i++) PetscCall(ObserveRow(batch, gain, gain->HB, i, gain->M + (size_t)i * gain->p));
  for (j = 0; j < gain->p; j++) {
    gain->trace += gain->M[j + (size_t)j * gain->p];
    for (i = 0; i < j; i++) gain->M[i + (size_t)j * gain->p] = gain->M[j + (size_t)i * gain->p] = 0.5 * (gain->M[i + (size_t)j * gain->p] + gain->M[j + (size_t)i * gain->p]);
  }
  PetscCall(KalSolve(analysis, KAL_SPACE_OBSERVATION, gain->p, gain->M, 1.0, NULL, gain->n, gain->HB, gain->K));
  for (i = 0; i < gain->p; i++) {
    PetscCall(ObserveRow(batch, gain, gain->K, i, gain->column));
    gain->dfs += gain->column[i];
  }
  gain->made   = PETSC_TRUE;
  gain->digest = digest;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalGainResidual - (y - prediction)/error; `whitened`: the prediction comes from the run, which whitened it where R is dense; else it is a state, to be observed

  Not Collective. The target is whitened by the run in either case.
*/
PetscErrorCode KalGainResidual(const KalBatch *batch, PetscBool whitened, const PetscScalar *predicted, PetscReal *residual)
{
  PetscInt i;

  PetscFunctionBeginUser;
  if (!whitened) PetscCall(Observe(batch, predicted, residual));
  for (i = 0; i < batch->samples; i++) {
    const PetscReal error = batch->root ? 1.0 : batch->error[i];

    residual[i] = batch->target[i] / error - (whitened ? predicted[i] / error : residual[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalGainApply - x <- x + K residual, n numbers
*/
PetscErrorCode KalGainApply(const KalGain *gain, const PetscReal *residual, PetscScalar *x)
{
  const PetscReal one = 1.0;
  PetscBLASInt    n, p, inc = 1;

  PetscFunctionBeginUser;
  if (!gain->p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscBLASIntCast(gain->n, &n));
  PetscCall(PetscBLASIntCast(gain->p, &p));
  PetscCallBLAS("BLASgemv", BLASgemv_("T", &p, &n, &one, gain->K, &p, residual, &inc, &one, x, &inc));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalGainDestroy(KalGain *gain)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree5(gain->HB, gain->K, gain->M, gain->row, gain->column));
  PetscFunctionReturn(PETSC_SUCCESS);
}
