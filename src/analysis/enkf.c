/* Ensemble Kalman filter with perturbed observations. */
#include "correction.h"
#include "filter.h"

typedef struct {
  KalCorrection  correction;
  KalAnalysisOps base;
} KalEnKF;

static KalEnKF *Method(KalAnalysis analysis)
{
  return (KalEnKF *)((KalFilter *)analysis->data)->method;
}

static KalCorrection *Correction(KalAnalysis analysis)
{
  return &Method(analysis)->correction;
}

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  PetscFunctionBeginUser;
  PetscCall(KalFilterSetFromOptions(analysis, PetscOptionsObject));
  PetscCall(KalCorrectionSetFromOptions("enkf", Correction(analysis), PetscOptionsObject));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With corrected covariances: x_j <- x_j + C_xy (C_yy + I)^{-1} (r - A_j/scale + Xi_j), whitened. */
static PetscErrorCode Prepare(KalAnalysis analysis, const KalTold *told, const KalInnovation *in)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalCorrectionPrepare(analysis, told, in, filter->status, 1.0, 1.0, Correction(analysis)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Update(KalAnalysis analysis, const KalRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(KalCorrectionRows(analysis, Correction(analysis), rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalFilter           *filter = (KalFilter *)analysis->data;
  const KalCorrection *c      = Correction(analysis);

  PetscFunctionBeginUser;
  PetscCheck(c->type == KAL_CORRECT_NONE || !filter->rotate, analysis->comm, PETSC_ERR_ARG_INCOMP, "-enkf_correction %s: the update is no transform of the members any more, so that -analysis_rotate does not go with it; leave it out", KalCorrects[c->type]);
  if (c->type != KAL_CORRECT_NONE) {
    filter->wants   = KAL_WANT_MEMBERS;
    filter->prepare = Prepare;
    filter->update  = Update;
  }
  PetscCall(KalCorrectionSetUp(analysis, "enkf", c));
  PetscCall(Method(analysis)->base.setup(analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  PetscInt p, outputs;

  PetscFunctionBeginUser;
  PetscCall(Method(analysis)->base.check(analysis, observations));
  PetscCall(KalObservationsGetCycle(observations, &p, NULL));
  PetscCall(KalObservationsGetSizes(observations, KAL_SET_TRAIN, NULL, NULL, &outputs));
  PetscCall(KalCorrectionCheck(analysis, "enkf", Correction(analysis), p * PetscMax(1, outputs))); /* in time, an observation is one number */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalCorrection *c = Correction(analysis);

  PetscFunctionBeginUser;
  PetscCall(Method(analysis)->base.view(analysis, viewer));
  if (c->type != KAL_CORRECT_NONE) PetscCall(PetscViewerASCIIPrintf(viewer, "  correlations corrected by %s\n", KalCorrects[c->type]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalCorrectionDestroy(Correction(analysis)));
  PetscCall(Method(analysis)->base.destroy(analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* P <- P (I - 1 1'/m): the products with perturbations whose mean over the members that did not fail is zero. */
static void Center(const KalInnovation *in, PetscReal *mean, PetscReal *P)
{
  PetscInt j, k;

  for (k = 0; k < in->N; k++) mean[k] = 0.0;
  for (j = 0; j < in->N; j++) {
    if (in->status[j] != KAL_MEMBER_OK) continue;
    for (k = 0; k < in->N; k++) mean[k] += P[k + (size_t)j * in->N];
  }
  for (j = 0; j < in->N; j++) {
    for (k = 0; k < in->N; k++) P[k + (size_t)j * in->N] -= mean[k] / (PetscReal)in->active;
  }
}

/* T = I + scale (I + S)^{-1} A'(R_j - r + Xi) = (I + S)^{-1} (I + scale P), as A'(R_j - r) = -S_j/scale; S, P have one scale factor in them each. */
static PetscErrorCode Weights(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal *w, PetscReal *T)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  const size_t     N      = (size_t)in->N;
  PetscReal       *inverse, *right, *mean;
  size_t           i;

  PetscFunctionBeginUser;
  (void)told;
  PetscCall(PetscMalloc3(N * N, &inverse, N * N, &right, N, &mean));
  PetscCall(KalSpectrumMean(in->N, &filter->spectrum, w));
  PetscCall(KalSpectrumInverse(in->N, &filter->spectrum, inverse));
  PetscCall(PetscArraycpy(right, in->P, N * N));
  Center(in, mean, right);
  for (i = 0; i < N * N; i++) right[i] *= in->scale;
  for (i = 0; i < N * N; i += N + 1) right[i] += 1.0;
  PetscCall(KalMultiply("NN", in->N, in->N, in->N, 1.0, inverse, right, 0.0, T));
  PetscCall(PetscFree3(inverse, right, mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISENKF = "enkf" - Ensemble Kalman filter with perturbed observations

   x_j <- x_j + K (y + e_j - H x_j), K = P H'(H P H' + R)^{-1} with the sample covariance P (divisor N - 1) and e_j drawn from N(0, R) (Burgers,
   van Leeuwen and Evensen 1998, eqs. 13 to 17). The perturbations' mean over the members is removed, so that the mean is updated as by the
   Kalman filter; they are not rescaled for the degree of freedom that this takes. They are keyed by cycle, member and observation.

   Options Database Keys:
+  -inflation_... - the keys of KalInflation
.  -enkf_correction <none> - correction of sampling errors in the correlations of P H' and H P H', entry by entry: sec, sec-fisher or nice; or dropout
.  -enkf_correction_exponent <1>, -enkf_correction_cutoff <0> - of sec
.  -enkf_correction_tolerance <1> - of nice
.  -enkf_correction_probability <0.9> - of dropout: that an entry is kept
.  -analysis_rotate <false> - random mean-preserving rotation of the anomalies
-  -analysis_space <auto> - where the eigen-decomposition is taken: ensemble (N x N) or observation (p x p)

   Note:
   DAPPER's `PertObs`. Lorenz-96 with 40 variables: rmse 0.22 with N = 40, -inflation_factor 1.06, and 0.24 with N = 28, 1.08; Lorenz-63: 0.65 with
   N = 10, 1.04 (share/doc/figures.md).

   A corrected update is not bound to the span of the members, and has no N x N transform: no rotation, and the time of a block of rows grows with
   N p and not with N^2. What the log says of innovations and degrees of freedom is of the sample covariance.

.seealso: KALANALYSISETKF, KALANALYSISDENKF, KalInflation
M*/
PetscErrorCode KalAnalysisCreate_EnKF(KalAnalysis analysis)
{
  KalFilter *filter;
  KalEnKF   *method;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  PetscCall(PetscNew(&method));
  KalCorrectionDefaults(&method->correction);
  method->correction.centered  = PETSC_TRUE;
  method->base                 = analysis->ops;
  filter->weights              = Weights;
  filter->wants                = KAL_WANT_NOISE;
  filter->method               = method;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
