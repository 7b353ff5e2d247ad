/* Ensemble Kalman filter with perturbed observations. */
#include "filter.h"

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
.  -analysis_rotate <false> - random mean-preserving rotation of the anomalies
-  -analysis_space <auto> - where the eigen-decomposition is taken: ensemble (N x N) or observation (p x p)

   Note:
   DAPPER's `PertObs`. Lorenz-96 with 40 variables: rmse 0.22 with N = 40, -inflation_factor 1.06, and 0.24 with N = 28, 1.08; Lorenz-63: 0.65 with
   N = 10, 1.04 (share/doc/figures.md).

.seealso: KALANALYSISETKF, KALANALYSISDENKF, KalInflation
M*/
PetscErrorCode KalAnalysisCreate_EnKF(KalAnalysis analysis)
{
  KalFilter *filter;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  filter->weights = Weights;
  filter->wants   = KAL_WANT_NOISE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
