/* Finite-size ensemble Kalman filter: the inflation that the innovation itself calls for, given how few members there are. */
#include "filter.h"

typedef struct {
  PetscReal g;                          /* -enkfn_g */
  PetscReal x;                          /* -enkfn_x */
  PetscErrorCode (*setup)(KalAnalysis); /* that of all filters */
} KalEnKFN;

/*
  The dual cost as a function of t = log(l^2): J(t) = sum_i a_i/(1 + value_i e^t) + e e^{-t} + c t, a_i = u_i^2/(m - 1). Beyond what is added
  here it has a constant, of the innovation outside the span of the anomalies.
*/
typedef struct {
  const KalSpectrum *s;
  PetscReal          m1;   /* members less 1 */
  PetscReal          e, c; /* eN and cL */
} KalDual;

static PetscReal Cost(const KalDual *dual, PetscReal t)
{
  const PetscReal x    = PetscExpReal(t);
  PetscReal       cost = dual->e / x + dual->c * t;
  PetscInt        i;

  for (i = 0; i < dual->s->q; i++) cost += dual->s->u[i] * dual->s->u[i] / dual->m1 / (1.0 + dual->s->value[i] * x);
  return cost;
}

/* First derivative; the second one, where it is asked for. */
static PetscReal Slope(const KalDual *dual, PetscReal t, PetscReal *curvature)
{
  const PetscReal x     = PetscExpReal(t);
  PetscReal       slope = dual->c - dual->e / x, second = dual->e / x;
  PetscInt        i;

  for (i = 0; i < dual->s->q; i++) {
    const PetscReal z = dual->s->value[i] * x, g = dual->s->u[i] * dual->s->u[i] / dual->m1 * z / ((1.0 + z) * (1.0 + z));

    slope -= g;
    second -= g * (1.0 - z) / (1.0 + z);
  }
  if (curvature) *curvature = second;
  return slope;
}

/* Coefficients of the hyperprior, with the correction of its mode: Bocquet, Raanes and Hannart (2015), eq. 36; see the manual page. */
static void Hyperprior(const KalEnKFN *method, PetscInt m, KalDual *dual)
{
  PetscReal share = (PetscReal)m, correction;
  PetscInt  i;

  for (i = 0; i < dual->s->q; i++) share -= dual->s->value[i] / (1.0 + dual->s->value[i]);
  dual->e    = (PetscReal)(m + 1) / (PetscReal)m;
  dual->c    = ((PetscReal)m + method->g) / (PetscReal)(m - 1);
  correction = PetscSqrtReal(PetscPowReal(dual->e / dual->c, share / (PetscReal)m));
  dual->e *= method->x / correction;
  dual->c *= method->x * correction;
}

/*
  The minimum. The slope is at most c - e e^{-t}, so negative below e^t = e/c, and at least c - (e + sum_i a_i/value_i) e^{-t}. Between these a
  scan finds the lowest valley, and Newton's method, kept between its sides by bisection, the lowest point there.
*/
static PetscReal Minimum(const KalDual *dual)
{
  enum {
    POINTS = 40
  };
  const PetscReal first = PetscLogReal(dual->e / dual->c);
  PetscReal       last = first, reach = dual->e, least = 0.0, low, high, t;
  PetscInt        i, best = 0;

  for (i = 0; i < dual->s->q; i++) {
    if (dual->s->u[i] != 0.0) reach += dual->s->u[i] * dual->s->u[i] / dual->m1 / dual->s->value[i];
  }
  last = PetscMin(PetscMax(PetscLogReal(reach / dual->c), first + 1e-3), first + 46.0); /* at most a factor of 1e20 */
  for (i = 0; i <= POINTS; i++) {
    const PetscReal cost = Cost(dual, first + (last - first) * (PetscReal)i / POINTS);

    if (!i || cost < least) {
      least = cost;
      best  = i;
    }
  }
  t    = first + (last - first) * (PetscReal)best / POINTS;
  low  = best > 0 ? t - (last - first) / POINTS : t;
  high = best < POINTS ? t + (last - first) / POINTS : t;
  for (i = 0; i < 100 && high - low > 4.0 * PETSC_MACHINE_EPSILON * PetscMax(1.0, PetscAbsReal(t)); i++) {
    PetscReal       curvature, next;
    const PetscReal slope = Slope(dual, t, &curvature);

    if (slope == 0.0) break;
    if (slope < 0.0) low = t;
    else high = t;
    next = t - slope / curvature;
    if (!(curvature > 0.0) || !(next > low && next < high)) next = 0.5 * (low + high);
    if (PetscAbsReal(next - t) <= 4.0 * PETSC_MACHINE_EPSILON * PetscMax(1.0, PetscAbsReal(t))) break;
    t = next;
  }
  return t;
}

static PetscErrorCode Weights(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal *w, PetscReal *T)
{
  KalFilter   *filter = (KalFilter *)analysis->data;
  KalDual      dual   = {.s = &filter->spectrum, .m1 = (PetscReal)(in->active - 1)};
  const size_t N      = (size_t)in->N;
  PetscReal    l;
  size_t       i;

  PetscFunctionBeginUser;
  (void)told;
  Hyperprior((const KalEnKFN *)filter->method, in->active, &dual);
  l = PetscExpReal(0.5 * Minimum(&dual));
  PetscCall(KalSpectrumScale(l, &filter->spectrum));
  PetscCall(KalSpectrumMean(in->N, &filter->spectrum, w));
  PetscCall(KalSpectrumInverseRoot(in->N, &filter->spectrum, T));
  for (i = 0; i < N; i++) w[i] *= l;
  for (i = 0; i < N * N; i++) T[i] *= l;
  filter->further = l;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalEnKFN *method = (KalEnKFN *)((KalFilter *)analysis->data)->method;

  PetscFunctionBeginUser;
  PetscCall(KalFilterSetFromOptions(analysis, PetscOptionsObject));
  PetscCall(PetscOptionsReal("-enkfn_g", "Dimensions of the null space that the hyperprior counts", "KALANALYSISENKFN", method->g, &method->g, NULL));
  PetscCall(PetscOptionsReal("-enkfn_x", "Certainty of the hyperprior", "KALANALYSISENKFN", method->x, &method->x, NULL));
  PetscCheck(method->x > 0.0 && method->x <= 1e6, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-enkfn_x %g: must be positive and at most 1e6", (double)method->x);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The number of members is known here, and not when options are looked up. */
static PetscErrorCode SetUp(KalAnalysis analysis)
{
  const KalEnKFN *method = (const KalEnKFN *)((KalFilter *)analysis->data)->method;

  PetscFunctionBeginUser;
  PetscCheck(method->g >= 0.0 && method->g <= (PetscReal)analysis->N, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-enkfn_g %g: must be from 0 to the number of members, %" PetscInt_FMT, (double)method->g, analysis->N);
  PetscCall(method->setup(analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISENKFN = "enkfn" - Finite-size ensemble Kalman filter (EnKF-N)

   An etkf whose prior anomalies are first multiplied by a factor l, found anew in each cycle: the sample moments of N members are
   uncertain, and a Gaussian prior given them, with the Jeffreys prior for the true ones, is a mixture over l. With m = N - 1,
   s_i^2 = m times the eigenvalues of S = A'A, u the components of the whitened innovation along the left singular vectors of A, l > 0
   minimizes the dual cost

     J(l) = sum_i u_i^2/((l s_i)^2 + m) + e/l^2 + c log(l^2),   e = (N + 1)/N, c = (N + g)/m

   (Bocquet 2011, Nonlinear Processes in Geophysics 18; Bocquet and Sakov 2012, NPG 19; in this form Bocquet, Raanes and Hannart 2015, NPG 22). As in
   DAPPER, e is divided and c multiplied by sqrt((e/c)^k), k the mean over the N directions of 1/(1 + eigenvalue of S): where observations say
   little, l = 1 (eq. 36 there); then both are multiplied by x. The minimum is found by a scan and Newton's method with
   bisection.

   Options Database Keys:
+  -enkfn_g <0> - g: directions of the state that the ensemble does not span, counted in the hyperprior
.  -enkfn_x <1> - x: certainty of the hyperprior; a larger one keeps l nearer to 1. DAPPER's xN
.  -inflation_... - the keys of KalInflation; none is needed for a perfect model
.  -analysis_rotate <false> - random mean-preserving rotation of the anomalies
-  -analysis_space <auto> - where the eigen-decomposition is taken: ensemble (N x N) or observation (p x p)

   Notes:
   The new anomalies are those of etkf for the inflated prior, without the curvature of J along l (DAPPER's default too). What
   KalAnalysisReport calls inflation has l in it.

   DAPPER's `EnKF_N` (its dual form). Lorenz-96 with 40 variables, N = 24, -analysis_rotate: rmse 0.21, and 0.18, that of a tuned etkf, with
   -enkfn_x 2: the setting to take for a deterministic model without error.

.seealso: KALANALYSISETKF, KalInflation
M*/
PetscErrorCode KalAnalysisCreate_EnKFN(KalAnalysis analysis)
{
  KalFilter *filter;
  KalEnKFN  *method;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  PetscCall(PetscNew(&method));
  method->x                    = 1.0;
  method->setup                = analysis->ops.setup;
  filter->method               = method;
  filter->weights              = Weights;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  PetscFunctionReturn(PETSC_SUCCESS);
}
