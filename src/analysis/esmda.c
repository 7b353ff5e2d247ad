/* Ensemble smoother with multiple data assimilation: the observations several times, each time with a larger error. */
#include "smoother.h"

typedef struct {
  KalSmoother smoother;
  PetscInt    steps;
  PetscReal   ratio;
  /* of the cycle in hand */
  PetscInt   step;
  PetscReal *w; /* N: weights of the mean */
} KalEsmda;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalEsmda *esmda = (KalEsmda *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsInt("-esmda_steps", "How many times the observations are assimilated", NULL, esmda->steps, &esmda->steps, NULL));
  PetscCall(PetscOptionsReal("-esmda_ratio", "Inflation coefficient of a step over that of the step before (1: equal ones)", NULL, esmda->ratio, &esmda->ratio, NULL));
  PetscCall(KalSmootherSetFromOptions(analysis, &esmda->smoother, PetscOptionsObject));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalEsmda           *esmda     = (KalEsmda *)analysis->data;
  const KalInflation *inflation = &esmda->smoother.inflation;

  PetscFunctionBeginUser;
  PetscCheck(esmda->steps >= 1 && esmda->steps <= 10000, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-esmda_steps %" PetscInt_FMT ": must be from 1 to 10000", esmda->steps);
  PetscCheck(esmda->ratio > 0.0 && !PetscIsInfOrNanReal(esmda->ratio), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-esmda_ratio %g: must be positive; 1 gives equal coefficients", (double)esmda->ratio);
  PetscCheck(inflation->rtpp == 0.0 && inflation->rtps == 0.0, analysis->comm, PETSC_ERR_SUP, "-inflation_rtpp %g, -inflation_rtps %g: esmda has no prior left to relax to after its first step; use -inflation_factor", (double)inflation->rtpp, (double)inflation->rtps);
  PetscCall(KalSmootherSetUp(analysis, &esmda->smoother, esmda->steps));
  PetscCall(PetscMalloc1(analysis->N, &esmda->w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  const KalEsmda *esmda = (const KalEsmda *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalSmootherCheck(analysis, observations, esmda->steps, "-esmda_steps"));
  PetscCall(KalCheckPerturbed(analysis, observations, analysis->type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalEsmda *esmda = (KalEsmda *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalSmootherBegin(analysis, &esmda->smoother, cycle));
  esmda->step = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  KalEsmda       *esmda    = (KalEsmda *)analysis->data;
  KalSmoother    *smoother = &esmda->smoother;
  const PetscInt  N        = analysis->N;
  PetscReal       prior, posterior;
  PetscInt        j;
  const PetscBool iterate = (PetscBool)(smoother->phase == KAL_PHASE_ITERATE);

  PetscFunctionBeginUser;
  ask->points  = iterate ? analysis->copy[0] : analysis->ensemble;
  ask->observe = iterate;
  if (!iterate) PetscFunctionReturn(PETSC_SUCCESS);
  for (j = 0; j < N; j++) smoother->status[j] = KAL_MEMBER_OK;
  PetscCall(KalInflationFactors(&smoother->inflation, &prior, &posterior));
  if (esmda->step || prior == 1.0) {
    PetscCall(KalSmootherCopy(analysis, smoother, NULL));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscArrayzero(esmda->w, N));
  PetscCall(PetscArrayzero(smoother->T, (size_t)N * N));
  for (j = 0; j < N; j++) smoother->T[j + (size_t)j * N] = 1.0;
  PetscCall(KalSmootherCompose(N, smoother->status, N, prior, esmda->w, smoother->T));
  PetscCall(KalSmootherCopy(analysis, smoother, smoother->T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* alpha of a step: a geometric sequence whose inverses sum up to 1 */
static PetscReal Coefficient(const KalEsmda *esmda)
{
  PetscReal sum = 0.0, inverse = 1.0, mine = 1.0;
  PetscInt  i;

  for (i = 0; i < esmda->steps; i++) {
    if (i == esmda->step) mine = inverse;
    sum += inverse;
    inverse /= esmda->ratio;
  }
  return sum / mine;
}

/*
  T = I + centered (S + alpha I)^{-1} (D + sqrt(alpha) P) scale, the perturbations' mean over the members taken out: the mean of the weights is made that
  of the mean residual.
*/
static PetscErrorCode Weights(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal alpha)
{
  KalEsmda        *esmda  = (KalEsmda *)analysis->data;
  const KalStatus *status = in->status;
  PetscReal       *T = esmda->smoother.T, *w = esmda->w;
  const PetscInt   N = in->N;
  PetscReal       *mean;
  PetscInt         j, k;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(N, &mean));
  PetscCall(KalInnovationSolve(analysis, told, in, alpha, N, PetscSqrtReal(alpha), T));
  PetscCall(KalInnovationSolve(analysis, told, in, alpha, 1, 0.0, w));
  for (j = 0; j < N; j++) {
    for (k = 0; status[j] == KAL_MEMBER_OK && k < N; k++) mean[k] += T[k + (size_t)j * N] / in->active;
  }
  for (j = 0; j < N; j++) {
    for (k = 0; k < N; k++) T[k + (size_t)j * N] = in->scale * (T[k + (size_t)j * N] - mean[k]);
    T[j + (size_t)j * N] += 1.0;
  }
  for (k = 0; k < N; k++) w[k] *= in->scale;
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* tr(S (I + S)^{-1}) of the prior's predictions, with what Weights() overwrites as work space. */
static PetscErrorCode FreedomForSignal(KalAnalysis analysis, const KalInnovation *in)
{
  KalEsmda *esmda = (KalEsmda *)analysis->data;
  PetscInt  i;

  PetscFunctionBeginUser;
  PetscCall(KalEigen(analysis, in->N, in->S, esmda->w, esmda->smoother.T));
  for (analysis->report.dfs = 0.0, i = 0; i < in->N; i++) analysis->report.dfs += PetscMax(0.0, esmda->w[i]) / (1.0 + PetscMax(0.0, esmda->w[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Step(KalAnalysis analysis, const KalTold *told)
{
  KalEsmda       *esmda    = (KalEsmda *)analysis->data;
  KalSmoother    *smoother = &esmda->smoother;
  const PetscBool last     = (PetscBool)(esmda->step + 1 == esmda->steps);
  const PetscBool scored   = (PetscBool)(!esmda->step && told->batch->timed); /* as a filter is */
  KalTold         fresh    = *told;
  KalInnovation   in;
  PetscReal       prior, posterior;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(smoother->status, told->status, analysis->N));
  fresh.cycle = told->cycle * esmda->steps + esmda->step; /* each step has perturbations of its own */
  PetscCall(KalInnovationCreate(analysis, &fresh, -1, 0.0, KAL_WANT_MEMBERS | KAL_WANT_PERTURBED | (scored ? KAL_WANT_GRAM : 0), &in));
  PetscCall(KalSmootherSurvivors(analysis, smoother->status, told->cycle, &in.active));
  if (!esmda->step) PetscCall(KalSmootherReport(analysis, told, &in, 1.0));
  if (scored) PetscCall(FreedomForSignal(analysis, &in));
  PetscCall(Weights(analysis, &fresh, &in, Coefficient(esmda)));
  PetscCall(KalInflationFactors(&smoother->inflation, &prior, &posterior));
  PetscCall(KalSmootherCompose(analysis->N, smoother->status, in.active, esmda->step ? 1.0 : prior, esmda->w, smoother->T));
  PetscCall(KalSmootherAnalyse(analysis, smoother, in.active, last, smoother->T));
  PetscCall(KalInnovationDestroy(&in));
  esmda->step++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalEsmda    *esmda    = (KalEsmda *)analysis->data;
  KalSmoother *smoother = &esmda->smoother;

  PetscFunctionBeginUser;
  *verdict = KAL_VERDICT_AGAIN;
  if (smoother->phase == KAL_PHASE_ITERATE) {
    PetscCall(Check(analysis, told->observations));
    PetscCall(Step(analysis, told));
    if (esmda->step < esmda->steps) PetscFunctionReturn(PETSC_SUCCESS);
    analysis->report.step = esmda->steps;
    smoother->phase       = KAL_PHASE_ADVANCE;
    if (!told->batch->timed) *verdict = KAL_VERDICT_ACCEPT; /* there is no time to go on to */
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalSmootherForecast(analysis, smoother, told));
  *verdict = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalEsmda *esmda = (const KalEsmda *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt_FMT " steps, inflation coefficients in a ratio of %g\n", esmda->steps, (double)esmda->ratio));
  PetscCall(KalSmootherView(&esmda->smoother, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalEsmda *esmda = (KalEsmda *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree(esmda->w));
  PetscCall(KalSmootherDestroy(&esmda->smoother));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISESMDA = "esmda" - Ensemble smoother with multiple data assimilation

   The same observations are assimilated Na times with errors inflated to alpha_i R, sum 1/alpha_i = 1. In step i each member x_j at the
   start of the window is forecast to the observations' time, and is itself moved by what it predicts there, g_j:

     x_j <- x_j + C_xg (C_gg + alpha_i R)^{-1} (y + sqrt(alpha_i) R^{1/2} z_ij - g_j),   z_ij ~ N(0, I) anew in each step,

   with the mean over the members of each step's z_ij taken out. Then the members are forecast to the observations' time, which is the
   next window's start. Emerick and Reynolds 2013 (Computers and Geosciences 55, 3). For a linear model the
   members are a sample of the Bayesian posterior; with Na = 1 their mean is the Kalman filter's, from the ensemble's sample
   moments, to rounding.

   Options Database Keys:
+  -esmda_steps <4> - Na
.  -esmda_ratio <1> - alpha_{i+1}/alpha_i: 1 for equal coefficients alpha_i = Na; less than 1 for a cautious beginning (Rafiee and Reynolds 2017)
.  -inflation_factor <1>, -inflation_on, -inflation_additive - see KalInflation; on the prior: before the first step, on the posterior: after the last
-  -analysis_rotate <false> - random rotation of the anomalies that keeps their mean, after the last step

   Notes:
   Squared loss only. For a model without time (parameters of a network or of a black-box model) the data of the cycle are its batch, and there
   is no forecast after the last step; the members are a posterior if each batch is used once: as many cycles as there are
   batches. There is no background check (-observations_reject) unless -esmda_steps is 1. Members that fail in a step are drawn anew from the survivors after it. Loss and innovation are those of the first step.

.seealso: KALANALYSISENKF, KALANALYSISIENKS, KALANALYSISEKI
M*/
PetscErrorCode KalAnalysisCreate_ESMDA(KalAnalysis analysis)
{
  KalEsmda *esmda;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&esmda));
  PetscCall(KalInflationDefaults(&esmda->smoother.inflation));
  esmda->steps                 = 4;
  esmda->ratio                 = 1.0;
  analysis->data               = esmda;
  analysis->takes              = KAL_TAKES_SPACE | KAL_TAKES_SOLVER;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = Tell;
  analysis->ops.update         = KalSmootherUpdate;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
