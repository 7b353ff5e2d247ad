/* The optimal transport form of the ensemble Kalman filter's analysis. */
#include "filter.h"

/*
  With X = U s V' (rank q): T = V s^{-2} (s^2 B s^2)^{1/2} V', B = V'(I + S)^{-1} V, so that X T = M X with M = U s^{-1} (s^2 B s^2)^{1/2} s^{-1} U' symmetric and
  M (X X') M = X (I + S)^{-1} X', the covariance of the analysis.
*/
static PetscErrorCode Weights(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal *w, PetscReal *T)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  const size_t     N = (size_t)in->N, NN = N * N;
  PetscReal       *G, *V, *R, *x, *value, *root;
  size_t           q = 0;

  PetscFunctionBeginUser;
  (void)told;
  PetscCall(KalSpectrumMean(in->N, &filter->spectrum, w));
  PetscCall(KalSpectrumInverse(in->N, &filter->spectrum, T));
  PetscCall(PetscMalloc6(NN, &G, NN, &V, NN, &R, NN, &x, N, &value, N, &root));
  PetscCall(KalFilterDepartures(analysis, in, PETSC_FALSE, G));
  PetscCall(KalEigen(analysis, in->N, G, value, G));
  for (size_t a = 0; a < N; a++) { /* directions in which members differ, beyond rounding */
    if (!(value[a] > 1e-13 * value[N - 1])) continue;
    PetscCall(PetscArraycpy(V + q * N, G + a * N, N));
    value[q++] = value[a];
  }
  if (q) {
    PetscCall(KalMultiply("NN", in->N, (PetscInt)q, in->N, 1.0, T, V, 0.0, x));
    PetscCall(KalMultiply("TN", (PetscInt)q, (PetscInt)q, in->N, 1.0, V, x, 0.0, R));
    for (size_t b = 0; b < q; b++) {
      for (size_t a = 0; a < q; a++) R[a + b * q] *= value[a] * value[b];
    }
    PetscCall(KalEigen(analysis, (PetscInt)q, R, root, R));
    for (size_t a = 0; a < q; a++) {
      for (size_t b = 0; b < q; b++) x[b + a * q] = R[b + a * q] * PetscSqrtReal(PetscMax(0.0, root[a]));
    }
    PetscCall(KalMultiply("NT", (PetscInt)q, (PetscInt)q, (PetscInt)q, 1.0, x, R, 0.0, G)); /* (s^2 B s^2)^{1/2} */
    for (size_t b = 0; b < q; b++) {
      for (size_t a = 0; a < q; a++) G[a + b * q] /= value[a];
    }
    PetscCall(KalMultiply("NN", in->N, (PetscInt)q, (PetscInt)q, 1.0, V, G, 0.0, x));
    PetscCall(KalMultiply("NT", in->N, in->N, (PetscInt)q, 1.0, x, V, 0.0, T));
  }
  PetscCall(PetscFree6(G, V, R, x, value, root));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISOTENKF = "ot-enkf" - Ensemble Kalman filter whose members are moved by optimal transport

   The mean and covariance of the analysis are those of etkf, x <- mean + X w and X X' <- X (I + A'A)^{-1} X', and of all linear maps of the members' departures that have
   this covariance the one is taken that moves them least: X <- M X, M the symmetric positive matrix with M C M = C_a, C and C_a the covariances before and after. It is the
   analysis step of Taghvaei and Mehta, An optimal transport formulation of the ensemble Kalman filter, IEEE Trans. Automatic Control 66 (2021), whose filter in continuous
   time has the symmetric solution of a Lyapunov equation in the place of M; the map between Gaussians is that of Olkin and Pukelsheim 1982.

   Options Database Keys:
+  -inflation_... - the keys of KalInflation
-  -analysis_rotate <false> - random mean-preserving rotation of the anomalies, which undoes what the method is for

   Notes:
   In ensemble space, by eigen-decompositions of the N x N Gram matrices of the members and of what they become; n is the number of rows of the one pass that sums the first. Distances are
   Euclidean in the state as it is: entries of different units are best scaled. The forecast is the model's own, not a transport. More members than n + 1 are moved by one map too.

.seealso: KALANALYSISETKF, KALANALYSISESTKF
M*/
PetscErrorCode KalAnalysisCreate_OTEnKF(KalAnalysis analysis)
{
  KalFilter *filter;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  filter->weights = Weights;
  PetscFunctionReturn(PETSC_SUCCESS);
}
