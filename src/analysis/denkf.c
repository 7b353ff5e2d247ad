/* Deterministic ensemble Kalman filter: half the gain for the anomalies. */
#include "filter.h"

/* T = I - S (I + S)^{-1}/2 = (I + (I + S)^{-1})/2 */
static PetscErrorCode Weights(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal *w, PetscReal *T)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  const size_t     N      = (size_t)in->N;
  size_t           i;

  PetscFunctionBeginUser;
  (void)told;
  PetscCall(KalSpectrumMean(in->N, &filter->spectrum, w));
  PetscCall(KalSpectrumInverse(in->N, &filter->spectrum, T));
  for (i = 0; i < N * N; i++) T[i] *= 0.5;
  for (i = 0; i < N * N; i += N + 1) T[i] += 0.5;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISDENKF = "denkf" - Deterministic ensemble Kalman filter

   The mean moves by the Kalman gain K, the anomalies by half of it: X <- X - K H X/2 (Sakov and Oke 2008, Tellus A 60, eqs. 13 to 15). The analysis
   covariance is P - K H P + K H P H'K'/4: larger than the Kalman filter's, the more so the more accurate the observations.

   Options Database Keys:
+  -inflation_... - the keys of KalInflation
.  -analysis_rotate <false> - random mean-preserving rotation of the anomalies
-  -analysis_space <auto> - where the eigen-decomposition is taken: ensemble (N x N) or observation (p x p)

   Note:
   DAPPER's `DEnKF`. Lorenz-96 with 40 variables: rmse 0.18 with N = 40, -inflation_factor 1.01 (share/doc/figures.md).

.seealso: KALANALYSISETKF, KALANALYSISENKF, KalInflation
M*/
PetscErrorCode KalAnalysisCreate_DEnKF(KalAnalysis analysis)
{
  KalFilter *filter;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  filter->weights = Weights;
  PetscFunctionReturn(PETSC_SUCCESS);
}
