/* Optimal interpolation and 3D-Var: a gain from a fixed covariance, applied to the climatological mean or to the forecast. */
#include "reference.h"

typedef struct {
  PetscBool  cycled; /* the forecast is the background, and not the climatological mean */
  PetscReal  scale;  /* of the covariance */
  KalGain    gain;
  PetscReal *mean; /* n: the analysis of the climatological mean */
  /* of the cycle in hand */
  PetscInt   room;
  size_t     behind;   /* where the residual of a mean stands */
  PetscReal *residual; /* p for each member on this rank, and for a mean behind them */
  KalStatus *status;   /* N */
} KalInterpolation;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalInterpolation *oi = (KalInterpolation *)analysis->data;

  PetscFunctionBeginUser;
  if (!oi->cycled) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscOptionsReal("-var3d_background", "Background error covariance, times the climatological one", NULL, oi->scale, &oi->scale, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalInterpolation *oi = (KalInterpolation *)analysis->data;

  PetscFunctionBeginUser;
  PetscCheck(oi->scale > 0.0 && !PetscIsInfOrNanReal(oi->scale), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-var3d_background %g: must be positive", (double)oi->scale);
  PetscCall(KalReferenceSetUp(analysis, PETSC_TRUE));
  PetscCall(PetscMalloc2(analysis->n, &oi->mean, analysis->N, &oi->status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Squared innovations of the background's mean over their expectation, as the fixed covariance has it. */
static PetscErrorCode Consistency(KalAnalysis analysis, const KalTold *told, PetscReal *consistency)
{
  KalInterpolation  *oi = (KalInterpolation *)analysis->data;
  const PetscScalar *mean;
  const PetscInt     p        = told->batch->samples;
  PetscReal         *residual = oi->residual + oi->behind, square = 0.0;
  PetscInt           i;

  PetscFunctionBeginUser;
  *consistency = NAN;
  for (i = 0; oi->cycled && i < analysis->N; i++) {
    if (told->status[i] != KAL_MEMBER_OK) PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (oi->cycled) {
    PetscCall(KalEnsembleGetMean(told->predictions, &mean));
    PetscCall(KalGainResidual(told->batch, PETSC_TRUE, mean, residual));
  } else PetscCall(KalGainResidual(told->batch, PETSC_FALSE, analysis->climatemean, residual));
  for (i = 0; i < p; i++) square += residual[i] * residual[i];
  if (p) *consistency = square / (oi->gain.trace + p);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Residuals of the members that have a forecast, and room for that of a mean. */
static PetscErrorCode Residuals(KalAnalysis analysis, const KalTold *told)
{
  KalInterpolation *oi = (KalInterpolation *)analysis->data;
  const PetscInt    p  = told->batch->samples;
  PetscInt          first, last, j;
  PetscScalar      *y;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  if (p > oi->room) {
    PetscCall(PetscFree(oi->residual));
    PetscCall(PetscMalloc1((size_t)p * (size_t)(last - first + 1), &oi->residual));
    oi->room = p;
  }
  oi->behind = (size_t)(last - first) * (size_t)p;
  for (j = first; oi->cycled && j < last; j++) {
    if (told->status[j] != KAL_MEMBER_OK) continue;
    PetscCall(KalEnsembleGetMember(told->predictions, j, &y));
    PetscCall(KalGainResidual(told->batch, PETSC_TRUE, y, oi->residual + (size_t)(j - first) * p));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalInterpolation *oi = (KalInterpolation *)analysis->data;
  PetscReal         consistency;

  PetscFunctionBeginUser;
  PetscCall(KalReferenceCheck(analysis, told->batch, PETSC_TRUE));
  PetscCall(KalGainMake(analysis, told->batch, oi->scale, analysis->climatecovariance, PETSC_TRUE, &oi->gain));
  PetscCall(PetscArraycpy(oi->status, told->status, analysis->N));
  PetscCall(Residuals(analysis, told));
  PetscCall(PetscArraycpy(oi->mean, analysis->climatemean, analysis->n));
  PetscCall(KalGainResidual(told->batch, PETSC_FALSE, oi->mean, oi->residual + oi->behind));
  PetscCall(KalGainApply(&oi->gain, oi->residual + oi->behind, oi->mean));
  PetscCall(Consistency(analysis, told, &consistency));
  PetscCall(KalReferenceReport(analysis, told)); /* may overwrite the predictions */
  analysis->report.innovation = consistency;
  analysis->report.dfs        = oi->gain.dfs;
  *verdict                    = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The forecast of 3D-Var; members without one, and all of optimal interpolation, go back to the climatological mean. */
static PetscErrorCode Update(KalAnalysis analysis)
{
  KalInterpolation *oi = (KalInterpolation *)analysis->data;
  PetscInt          first, last, j;
  PetscScalar      *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(analysis->ensemble, j, &x));
    if (oi->cycled && oi->status[j] == KAL_MEMBER_OK) PetscCall(KalGainApply(&oi->gain, oi->residual + (size_t)(j - first) * oi->gain.p, x));
    else PetscCall(PetscArraycpy(x, oi->mean, analysis->n));
  }
  PetscCall(KalEnsembleChanged(analysis->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalInterpolation *oi = (const KalInterpolation *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  background: %s, error covariance %g times the climatological one\n", oi->cycled ? "the forecast" : "the climatological mean", (double)oi->scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalInterpolation *oi = (KalInterpolation *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalGainDestroy(&oi->gain));
  PetscCall(PetscFree(oi->residual));
  PetscCall(PetscFree2(oi->mean, oi->status));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Create(KalAnalysis analysis, PetscBool cycled, PetscReal scale)
{
  KalInterpolation *oi;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&oi));
  oi->cycled                   = cycled;
  oi->scale                    = scale;
  analysis->data               = oi;
  analysis->takes              = KAL_TAKES_SPACE | KAL_TAKES_SOLVER;
  analysis->needs.climatology  = PETSC_TRUE;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.tell           = Tell;
  analysis->ops.update         = Update;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISOI = "oi" - Optimal interpolation: the climatological mean, corrected by the observations of the time alone

     x = m + B H'(H B H' + R)^{-1} (y - H m),

   m and B the mean and covariance of the model's states over a long time (KalAnalysisSetClimatology()). The forecast is not looked at, as in DAPPER's OptInterp. Every member gets this x: one is enough, -ensemble_size 1.

   Notes:
   Linear observations with a Gaussian error (diagonal or dense R); n and p at most 10^4: B and the gain are dense, on every rank. The
   gain is made once for as long as the same is observed with the same errors. There is no background check (-observations_reject). The history's dfs is tr(H K), its innovation
   that of the climatological mean.

   Reproduces (DAPPER): Lorenz-96 with 40 variables, all observed, rmse 0.95.

.seealso: KALANALYSIS3DVAR, KALANALYSISCLIMATOLOGY
M*/
PetscErrorCode KalAnalysisCreate_OI(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(Create(analysis, PETSC_FALSE, 1.0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSIS3DVAR = "3dvar" - Three-dimensional variational assimilation with a fixed covariance, cycled

     x <- x + B H'(H B H' + R)^{-1} (y - H x),   x the forecast, B = background times the climatological covariance,

   the minimum of |x - x_f|^2 in B^{-1} plus |y - H x|^2 in R^{-1}, found directly, as the observations are linear. Lorenc 1986 (QJRMS 112, 1177).

   Options Database Key:
.  -var3d_background <0.02> - B over the climatological covariance

   Notes:
   See KALANALYSISOI for its limits. Every member is corrected with the same gain; one is enough, -ensemble_size 1. A member that fails
   begins anew from the climatological mean, corrected with that gain too.

   Reproduces (DAPPER): Lorenz-96 with 40 variables, all observed, background 0.02: rmse 0.41.

.seealso: KALANALYSISOI, KALANALYSISEXTKF
M*/
PetscErrorCode KalAnalysisCreate_3DVar(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(Create(analysis, PETSC_TRUE, 0.02));
  PetscFunctionReturn(PETSC_SUCCESS);
}
