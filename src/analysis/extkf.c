/* The extended Kalman filter: one state, its covariance, and the tangent linear model. */
#include "reference.h"

static const char *const Abouts[] = {"trajectory", "forecast", "KalExtkfAbout", "KAL_ABOUT_", NULL};

typedef struct {
  PetscBool  forecast;  /* the tangent starts from the forecast, not from the state before it */
  PetscReal  inflation; /* of the covariance, in one unit of model time */
  PetscReal *P, *work;  /* n x n each; P survives a restart */
  KalGain    gain;
  /* of the cycle in hand */
  PetscReal *before, *increment; /* n: the state before the forecast, and what the analysis adds */
  PetscInt   room;
  PetscReal *residual; /* p */
} KalExtended;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalExtended *extkf = (KalExtended *)analysis->data;
  PetscEnum    about = (PetscEnum)extkf->forecast;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsEnum("-extkf_about", "State that the tangent starts from: before the forecast, or the forecast", NULL, Abouts, about, &about, NULL));
  extkf->forecast = (PetscBool)about;
  PetscCall(PetscOptionsReal("-extkf_inflation", "Inflation of the covariance in one unit of model time", NULL, extkf->inflation, &extkf->inflation, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalExtended *extkf = (KalExtended *)analysis->data;
  const size_t n     = (size_t)analysis->n;

  PetscFunctionBeginUser;
  PetscCheck(extkf->inflation > 0.0 && !PetscIsInfOrNanReal(extkf->inflation), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-extkf_inflation %g: must be positive; 1 is none", (double)extkf->inflation);
  PetscCheck(analysis->N == 1, analysis->comm, PETSC_ERR_ARG_INCOMP, "-ensemble_size %" PetscInt_FMT ": extkf has one state and its covariance; use -ensemble_size 1", analysis->N);
  PetscCall(KalReferenceSetUp(analysis, PETSC_TRUE));
  analysis->needs.tangent = PETSC_TRUE;
  PetscCall(PetscMalloc4(n * n, &extkf->P, n * n, &extkf->work, n, &extkf->before, n, &extkf->increment));
  PetscCall(PetscArrayzero(extkf->P, n * n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Keeps the state before its forecast; the covariance begins as the prior's variances. */
static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalExtended       *extkf = (KalExtended *)analysis->data;
  const size_t       n     = (size_t)analysis->n;
  const PetscScalar *mean;
  PetscReal          trace = 0.0;
  size_t             i;

  PetscFunctionBeginUser;
  (void)cycle;
  PetscCall(KalEnsembleGetMean(analysis->ensemble, &mean)); /* of one member: itself, on every rank */
  PetscCall(PetscArraycpy(extkf->before, mean, n));
  for (i = 0; i < n; i++) trace += extkf->P[i + i * n];
  if (trace != 0.0) PetscFunctionReturn(PETSC_SUCCESS); /* of a cycle before, or from a snapshot */
  PetscCheck(analysis->prior, analysis->comm, PETSC_ERR_ORDER, "extkf needs the prior's spread: call KalAnalysisSetPrior()");
  for (i = 0; i < n; i++) extkf->P[i + i * n] = analysis->prior[i] * analysis->prior[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Transpose(PetscInt n, const PetscReal *a, PetscReal *b)
{
  const PetscInt tile = 32;
  PetscInt       i, j, top, left;

  for (left = 0; left < n; left += tile) {
    for (top = 0; top < n; top += tile) {
      for (j = left; j < PetscMin(n, left + tile); j++) {
        for (i = top; i < PetscMin(n, top + tile); i++) b[j + (size_t)i * n] = a[i + (size_t)j * n];
      }
    }
  }
}

static void Symmetrize(PetscInt n, PetscReal factor, PetscReal *P)
{
  PetscInt i, j;

  for (j = 0; j < n; j++) {
    for (i = 0; i <= j; i++) P[i + (size_t)j * n] = P[j + (size_t)i * n] = 0.5 * factor * (P[i + (size_t)j * n] + P[j + (size_t)i * n]);
  }
}

/* P <- factor M P M': the tangent model takes the columns of P, and then those of (M P)' = P M'. */
static PetscErrorCode Forecast(KalAnalysis analysis, const KalBatch *batch)
{
  KalExtended       *extkf  = (KalExtended *)analysis->data;
  const PetscInt     n      = analysis->n;
  const PetscReal    factor = PetscPowReal(extkf->inflation, batch->to - batch->from);
  const PetscScalar *about  = extkf->before;

  PetscFunctionBeginUser;
  PetscCheck(analysis->tangent, analysis->comm, PETSC_ERR_ORDER, "extkf needs a tangent linear model: call KalAnalysisSetTangent()");
  if (extkf->forecast) PetscCall(KalEnsembleGetMean(analysis->ensemble, &about));
  PetscCall(analysis->tangent(analysis->tangentctx, batch->from, batch->to, about, n, extkf->P));
  Transpose(n, extkf->P, extkf->work);
  PetscCall(analysis->tangent(analysis->tangentctx, batch->from, batch->to, about, n, extkf->work));
  PetscCall(PetscArraycpy(extkf->P, extkf->work, (size_t)n * n));
  Symmetrize(n, factor, extkf->P);
  analysis->report.inflation = PetscSqrtReal(factor);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* P <- P - (H P)' K', made symmetric. */
static PetscErrorCode Analyse(KalAnalysis analysis)
{
  KalExtended    *extkf = (KalExtended *)analysis->data;
  const PetscInt  n     = analysis->n;
  const PetscReal one = 1.0, minus = -1.0;
  PetscBLASInt    order, p;

  PetscFunctionBeginUser;
  if (!extkf->gain.p) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscBLASIntCast(n, &order));
  PetscCall(PetscBLASIntCast(extkf->gain.p, &p));
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &order, &order, &p, &minus, extkf->gain.HB, &p, extkf->gain.K, &p, &one, extkf->P, &order));
  Symmetrize(n, 1.0, extkf->P);
  PetscCall(KalFromFirst(analysis, (size_t)n * n, extkf->P));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalExtended       *extkf = (KalExtended *)analysis->data;
  const KalBatch    *batch = told->batch;
  const PetscInt     p     = batch->samples;
  const PetscScalar *predicted;
  PetscReal          square = 0.0;
  PetscInt           i;

  PetscFunctionBeginUser;
  PetscCheck(told->status[0] == KAL_MEMBER_OK, analysis->comm, (PetscErrorCode)PETSC_ERR_CONV_FAILED, "The state of extkf failed or is not finite in cycle %" PetscInt_FMT "; there is no other to go on with", told->cycle + 1);
  PetscCall(KalReferenceCheck(analysis, batch, PETSC_FALSE));
  PetscCall(PetscArrayzero(extkf->increment, analysis->n));
  if (p > extkf->room) {
    PetscCall(PetscFree(extkf->residual));
    PetscCall(PetscMalloc1(p, &extkf->residual));
    extkf->room = p;
  }
  PetscCall(KalEnsembleGetMean(told->predictions, &predicted));
  PetscCall(KalGainResidual(batch, PETSC_TRUE, predicted, extkf->residual));
  PetscCall(KalReferenceReport(analysis, told)); /* may overwrite the predictions */
  PetscCall(Forecast(analysis, batch));
  PetscCall(KalGainMake(analysis, batch, 1.0, extkf->P, PETSC_FALSE, &extkf->gain));
  PetscCall(KalGainApply(&extkf->gain, extkf->residual, extkf->increment));
  PetscCall(Analyse(analysis));
  for (i = 0; i < p; i++) square += extkf->residual[i] * extkf->residual[i];
  analysis->report.innovation = square / (extkf->gain.trace + p);
  analysis->report.dfs        = extkf->gain.dfs;
  *verdict                    = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rows(KalAnalysis analysis, const KalRows *rows)
{
  const KalExtended *extkf = (const KalExtended *)analysis->data;
  PetscInt           i;

  PetscFunctionBeginUser;
  for (i = 0; i < rows->count; i++) rows->x[0][i] += extkf->increment[rows->first + i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalExtended *extkf = (KalExtended *)analysis->data;

  PetscFunctionBeginUser;
  arrays[0].name    = "covariance";
  arrays[0].meaning = "covariance of the state after the analysis, n x n";
  arrays[0].count   = analysis->n * analysis->n;
  arrays[0].data    = extkf->P;
  *count            = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalExtended *extkf = (const KalExtended *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  inflation %g of the covariance in one unit of model time\n", (double)extkf->inflation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalExtended *extkf = (KalExtended *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalGainDestroy(&extkf->gain));
  PetscCall(PetscFree4(extkf->P, extkf->work, extkf->before, extkf->increment));
  PetscCall(PetscFree(extkf->residual));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISEXTKF = "extkf" - The extended Kalman filter

   x is forecast by the model and P by its tangent linear model M along that trajectory, over a time dt:

     P <- inflation^dt M P M',   K = P H'(H P H' + R)^{-1},   x <- x + K (y - H x),   P <- (I - K H) P,

   the last made symmetric. P begins as the variances of the prior (KalAnalysisSetPrior()). Jazwinski 1970, chapter 8; inflation as in
   DAPPER's ExtKF, per unit of model time and on the covariance.

   Options Database Keys:
+  -extkf_inflation <1> - factor on the covariance in one unit of model time
-  -extkf_about <trajectory> - the state that the tangent starts from: that before the forecast (trajectory), or the forecast itself (forecast)

   Notes:
   One member: -ensemble_size 1. It needs a model with a tangent (KalAnalysisSetTangent()) and linear observations with a Gaussian error, diagonal or
   dense. n and p at most 10^4: P (n x n), its forecast and the gain (p x n) are held by every rank, and every rank does all of
   the work, 2 n tangent forecasts a cycle; more ranks make it no faster. P is part of a snapshot. There is no model error but the
   inflation: a model's noise is not added to P. There is no background check (-observations_reject).

   Lorenz-96 with 40 variables, all observed, inflation 10: rmse 0.22; an independent code has 0.218. DAPPER takes M as if the state
   stood still at the forecast: -extkf_about forecast -lorenz96_tangent_frozen reproduces its published 0.24.

.seealso: KALANALYSIS3DVAR, KALANALYSISETKF, KalModelTangent()
M*/
PetscErrorCode KalAnalysisCreate_ExtKF(KalAnalysis analysis)
{
  KalExtended *extkf;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&extkf));
  extkf->inflation             = 1.0;
  analysis->data               = extkf;
  analysis->takes              = KAL_TAKES_SPACE | KAL_TAKES_SOLVER;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.begin          = Begin;
  analysis->ops.tell           = Tell;
  analysis->ops.rows           = Rows;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
