/* Inflation: of the prior or the posterior, multiplicative, relaxing or additive, by a given factor or an adaptive one. */
#include "filter.h"

static const char *const InflateOns[] = {"posterior-anomalies", "prior-anomalies", "prior-covariance", "KalInflateOn", "KAL_INFLATE_", NULL};
static const char *const Adapts[]     = {"none", "anderson", "miyoshi", "KalAdapt", "KAL_ADAPT_", NULL};

/*
  KalInflationDefaults - No inflation, and an adaptive factor of 1
*/
PetscErrorCode KalInflationDefaults(KalInflation *inflation)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(inflation, sizeof *inflation));
  inflation->factor   = 1.0;
  inflation->sd       = 0.05;
  inflation->least    = 1.0;
  inflation->most     = 10.0;
  inflation->state[0] = 1.0;
  inflation->state[1] = inflation->sd * inflation->sd;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KalInflation - Inflation of a filter's ensemble

   Options Database Keys:
+  -inflation_factor <1> - the factor of multiplicative inflation; 1 is none
.  -inflation_on <posterior-anomalies> - what the factor multiplies: posterior-anomalies, after the analysis (the `infl` of DAPPER,
                                         which the published figures of share/doc/figures.md use); prior-anomalies, before it; or
                                         prior-covariance: the prior anomalies by its square root (Anderson and Anderson 1999)
.  -inflation_rtpp <0> - relaxation to prior perturbations, 0 to 1: new anomalies (1 - a) x^a + a x^f (Zhang, Snyder and Sun 2004, eq. 5)
.  -inflation_rtps <0> - relaxation to prior spread, 0 or more: new anomalies x^a (1 + a (s^f - s^a)/s^a), entry by entry
                         (Whitaker and Hamill 2012, eq. 2)
.  -inflation_additive <0> - adds draws of this spread, times the prior's standard deviations (those of the members' first draw), their mean
                             over the members removed
.  -inflation_adaptive <none> - anderson, miyoshi: a factor on the prior covariance that follows the innovations, one for the whole state
.  -inflation_adaptive_sd <0.05> - standard deviation of the factor's prior in each cycle: how fast it moves
-  -inflation_adaptive_least <1>, -inflation_adaptive_most <10> - bounds of the adaptive factor

   Notes:
   Order of operations of a cycle: the adaptive factor is estimated from the forecast as it is; prior inflation (adaptive, then
   -inflation_factor where it is on the prior); the analysis; RTPP and RTPS, towards the inflated prior; posterior
   inflation; the random rotation (-analysis_rotate); failed members are drawn anew from the survivors; additive inflation. A
   cycle without observations inflates nothing.

   Both adaptive factors are random walks. With r the whitened innovation, p observations and S the Gram matrix of whitened predicted
   anomalies, r'r has the expectation p + f tr S where f is the right factor on the covariance.

   anderson: the most likely f given its prior N(f_before, sd^2) and the innovation (Anderson 2007, Tellus A 59, eqs. 3 to 9).
   He takes one observation after the other; here all p are taken at once, each with the mean predicted variance tr S/p, so that the
   order of observations does not matter: f maximizes -(f - f_before)^2/(2 sd^2) - p/2 log(1 + f s) - r'r/(2 (1 + f s)), s = tr S/p.
   sd stays as it is, as he recommends.

   miyoshi: f_o = (r'r - p)/tr S, of variance v_o = 2/p ((f_before tr S + p)/tr S)^2, is an observation of f, which a scalar Kalman
   filter takes in with the prior's variance sd^2 (Miyoshi 2011, Monthly Weather Review 139, eqs. 7 to 13, with one factor for
   the state; he has sd = 0.04 to 0.2).

   state[1] is the variance of the factor after the cycle, sd^2 shrunk by the cycle's information.

.seealso: KALANALYSISETKF, KALANALYSISENKFN, KALANALYSISLETKF
M*/
PetscErrorCode KalInflationSetFromOptions(KalAnalysis analysis, KalInflation *inflation, KalOptionItems PetscOptionsObject)
{
  PetscEnum on = (PetscEnum)inflation->on, adapt = (PetscEnum)inflation->adapt;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsEnum("-inflation_on", "What the inflation factor multiplies", "KalInflation", InflateOns, on, &on, NULL));
  PetscCall(PetscOptionsReal("-inflation_factor", "Factor of multiplicative inflation", "KalInflation", inflation->factor, &inflation->factor, NULL));
  PetscCall(PetscOptionsReal("-inflation_additive", "Spread of additive inflation, times the prior's", "KalInflation", inflation->additive, &inflation->additive, NULL));
  PetscCall(PetscOptionsReal("-inflation_rtpp", "Relaxation to prior perturbations", "KalInflation", inflation->rtpp, &inflation->rtpp, NULL));
  PetscCall(PetscOptionsReal("-inflation_rtps", "Relaxation to prior spread", "KalInflation", inflation->rtps, &inflation->rtps, NULL));
  PetscCall(PetscOptionsEnum("-inflation_adaptive", "Adaptive factor on the prior covariance", "KalInflation", Adapts, adapt, &adapt, NULL));
  PetscCall(PetscOptionsReal("-inflation_adaptive_sd", "Standard deviation of the adaptive factor's prior", "KalInflation", inflation->sd, &inflation->sd, NULL));
  PetscCall(PetscOptionsReal("-inflation_adaptive_least", "Least adaptive factor", "KalInflation", inflation->least, &inflation->least, NULL));
  PetscCall(PetscOptionsReal("-inflation_adaptive_most", "Largest adaptive factor", "KalInflation", inflation->most, &inflation->most, NULL));
  inflation->on       = (KalInflateOn)on;
  inflation->adapt    = (KalAdapt)adapt;
  inflation->state[1] = inflation->sd * inflation->sd;
  PetscCall(KalInflationCheck(analysis, inflation));
  inflation->state[0] = PetscMin(inflation->most, PetscMax(inflation->least, inflation->state[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* False for NaN and infinities too. */
static PetscBool Within(PetscReal value, PetscReal least, PetscReal most)
{
  return (PetscBool)(value >= least && value <= most);
}

/*
  KalInflationCheck - Refuses factors that make no sense
*/
PetscErrorCode KalInflationCheck(KalAnalysis analysis, const KalInflation *inflation)
{
  PetscFunctionBeginUser;
  PetscCheck(inflation->factor > 0.0 && Within(inflation->factor, 0.0, 1e6), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-inflation_factor %g: must be positive and at most 1e6; 1 is none", (double)inflation->factor);
  PetscCheck(Within(inflation->additive, 0.0, 1e6), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-inflation_additive %g: must be from 0 to 1e6", (double)inflation->additive);
  PetscCheck(Within(inflation->rtpp, 0.0, 1.0), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-inflation_rtpp %g: must be from 0 to 1", (double)inflation->rtpp);
  PetscCheck(Within(inflation->rtps, 0.0, 10.0), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-inflation_rtps %g: must be from 0 to 10", (double)inflation->rtps);
  PetscCheck(inflation->sd > 0.0 && Within(inflation->sd, 0.0, 1e3), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-inflation_adaptive_sd %g: must be positive and at most 1000", (double)inflation->sd);
  PetscCheck(inflation->least > 0.0 && Within(inflation->least, 0.0, 1e6), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-inflation_adaptive_least %g: must be positive", (double)inflation->least);
  PetscCheck(Within(inflation->most, inflation->least, 1e6), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-inflation_adaptive_most %g: must be at least -inflation_adaptive_least %g, and at most 1e6", (double)inflation->most, (double)inflation->least);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalInflationView(const KalInflation *inflation, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  inflation %g on %s", (double)inflation->factor, InflateOns[inflation->on]));
  if (inflation->adapt != KAL_ADAPT_NONE) PetscCall(PetscViewerASCIIPrintf(viewer, ", adaptive (%s, sd %g) on prior-covariance", Adapts[inflation->adapt], (double)inflation->sd));
  if (inflation->rtpp > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, ", rtpp %g", (double)inflation->rtpp));
  if (inflation->rtps > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, ", rtps %g", (double)inflation->rtps));
  if (inflation->additive > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, ", additive %g", (double)inflation->additive));
  PetscCall(PetscViewerASCIIPrintf(viewer, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInflationArray - The state of the adaptive factor, for a snapshot
*/
PetscErrorCode KalInflationArray(KalInflation *inflation, KalArray *array)
{
  PetscFunctionBeginUser;
  array->name    = "inflation";
  array->meaning = "adaptive factor on the prior covariance, and its variance";
  array->count   = 2;
  array->data    = inflation->state;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Derivative in f of minus the logarithm of prior times likelihood, s = tr S/p and q = r'r/p; see KalInflation. */
static PetscReal Slope(const KalInflation *inflation, PetscInt p, PetscReal s, PetscReal q, PetscReal f)
{
  const PetscReal variance = 1.0 + f * s;

  return (f - inflation->state[0]) / (inflation->sd * inflation->sd) + 0.5 * (PetscReal)p * s * (variance - q) / (variance * variance);
}

/* The mode: a root of the slope between the bounds, by bisection to rounding; at a bound where the slope has one sign. */
static PetscReal Anderson(const KalInflation *inflation, PetscInt p, PetscReal s, PetscReal q)
{
  PetscReal low = inflation->least, high = inflation->most;
  PetscInt  i;

  if (Slope(inflation, p, s, q, low) >= 0.0) return low;
  if (Slope(inflation, p, s, q, high) <= 0.0) return high;
  for (i = 0; i < 60; i++) {
    const PetscReal middle = 0.5 * (low + high);

    if (Slope(inflation, p, s, q, middle) < 0.0) low = middle;
    else high = middle;
  }
  return 0.5 * (low + high);
}

/*
  KalInflationAdapt - The adaptive factor after a cycle's innovation

  Without observations, or predictions without spread, it stays as it is.
*/
PetscErrorCode KalInflationAdapt(KalInflation *inflation, const KalConsistency *c)
{
  const PetscReal before = inflation->sd * inflation->sd, s = c->trace / PetscMax(1, c->p), q = c->rr / PetscMax(1, c->p);
  PetscReal       factor = inflation->state[0], error;

  PetscFunctionBeginUser;
  if (inflation->adapt == KAL_ADAPT_NONE || c->p < 1 || !(c->trace > 0.0) || PetscIsInfOrNanReal(c->rr)) PetscFunctionReturn(PETSC_SUCCESS);
  error = 2.0 / c->p * ((1.0 + factor * s) / s) * ((1.0 + factor * s) / s);
  if (inflation->adapt == KAL_ADAPT_ANDERSON) factor = Anderson(inflation, c->p, s, q);
  else factor = (error * factor + before * (q - 1.0) / s) / (error + before);
  inflation->state[0] = PetscMin(inflation->most, PetscMax(inflation->least, factor));
  inflation->state[1] = before * error / (before + error);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInflationFactors - What multiplies the anomalies before the analysis, and after it
*/
PetscErrorCode KalInflationFactors(const KalInflation *inflation, PetscReal *prior, PetscReal *posterior)
{
  PetscFunctionBeginUser;
  *prior     = inflation->adapt == KAL_ADAPT_NONE ? 1.0 : PetscSqrtReal(inflation->state[0]);
  *posterior = 1.0;
  if (inflation->on == KAL_INFLATE_POSTERIOR_ANOMALIES) *posterior = inflation->factor;
  else *prior *= inflation->on == KAL_INFLATE_PRIOR_COVARIANCE ? PetscSqrtReal(inflation->factor) : inflation->factor;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean and sum of squared departures of each row over the members that did not fail. */
static void RowMoments(PetscInt rows, PetscInt N, const KalStatus *status, PetscInt active, const PetscScalar *x, PetscInt ld, PetscReal *mean, PetscReal *square)
{
  PetscInt i, j;

  for (i = 0; i < rows; i++) mean[i] = square[i] = 0.0;
  for (j = 0; j < N; j++) {
    const PetscScalar *column = x + (size_t)j * ld;

    if (status[j] != KAL_MEMBER_OK) continue;
    for (i = 0; i < rows; i++) mean[i] += column[i];
  }
  for (i = 0; i < rows; i++) mean[i] /= (PetscReal)active;
  for (j = 0; j < N; j++) {
    const PetscScalar *column = x + (size_t)j * ld;

    if (status[j] != KAL_MEMBER_OK) continue;
    for (i = 0; i < rows; i++) square[i] += (column[i] - mean[i]) * (column[i] - mean[i]);
  }
}

/*
  KalInflationSpread - Relaxation to prior spread of a block of rows

  `prior` holds the rows before the analysis and any inflation (columns of failed members are not looked at), x those after it, with
  posterior inflation and rotation done, which commute with this. A row that the analysis left without spread stays so. `work` has
  room for 4 x rows numbers.
*/
PetscErrorCode KalInflationSpread(const KalInflation *inflation, PetscInt rows, PetscInt N, const KalStatus *status, PetscInt active, const PetscScalar *prior, PetscInt ldprior, PetscScalar *x, PetscInt ld, PetscReal *work)
{
  PetscReal *mean = work, *square = work + rows, *factor = work + 2 * (size_t)rows, *before = work + 3 * (size_t)rows;
  PetscReal  inflated, after;
  PetscInt   i, j;

  PetscFunctionBeginUser;
  if (inflation->rtps == 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalInflationFactors(inflation, &inflated, &after));
  RowMoments(rows, N, status, active, prior, ldprior, mean, before);
  RowMoments(rows, N, status, active, x, ld, mean, square);
  for (i = 0; i < rows; i++) factor[i] = square[i] > 0.0 ? 1.0 + inflation->rtps * (inflated * after * PetscSqrtReal(before[i] / square[i]) - 1.0) : 1.0;
  for (j = 0; j < N; j++) {
    PetscScalar *column = x + (size_t)j * ld;

    for (i = 0; i < rows; i++) column[i] = mean[i] + factor[i] * (column[i] - mean[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInflationAdd - Additive inflation of a block of rows

  Draws scaled by the prior's standard deviations, keyed by cycle, member and state entry, with their mean over the members removed, so
  that the ensemble's mean stays. `work` has room for 2 x rows numbers.
*/
PetscErrorCode KalInflationAdd(KalAnalysis analysis, const KalInflation *inflation, PetscInt cycle, const KalRows *rows, PetscReal *work)
{
  KalKey         key = {analysis->seed, KAL_DRAW_INFLATION, cycle, 0};
  const PetscInt N   = rows->members[0];
  PetscReal     *z = work, *mean = work + rows->count;
  PetscInt       i, j;

  PetscFunctionBeginUser;
  if (inflation->additive == 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(analysis->prior, PETSC_COMM_SELF, PETSC_ERR_ORDER, "-inflation_additive needs the prior's spread: call KalAnalysisSetPrior()");
  PetscCall(PetscArrayzero(mean, rows->count));
  for (j = 0; j < N; j++) {
    key.member = j;
    PetscCall(KalDrawNormal(key, rows->first, rows->count, z));
    for (i = 0; i < rows->count; i++) mean[i] += z[i] / (PetscReal)N;
  }
  for (j = 0; j < N; j++) {
    PetscScalar *x = rows->x[0] + (size_t)j * rows->ld[0];

    key.member = j;
    PetscCall(KalDrawNormal(key, rows->first, rows->count, z));
    for (i = 0; i < rows->count; i++) x[i] += inflation->additive * analysis->prior[rows->first + i] * (z[i] - mean[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
