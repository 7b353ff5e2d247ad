/* Ensemble transform Kalman filter: the symmetric square root. */
#include "filter.h"

/*MC
   KALANALYSISETKF = "etkf" - Ensemble transform Kalman filter, with the symmetric square root

   With X the anomalies, A = R^{-1/2} H X/sqrt(N - 1) and r = R^{-1/2} (y - H mean): w = (I + A'A)^{-1} A'r, mean <- mean + X w/sqrt(N - 1),
   X <- X (I + A'A)^{-1/2} (Bishop, Etherton and Majumdar 2001; the symmetric root: Hunt, Kostelich and Szunyogh 2007, eqs. 20 to 25, Sakov
   and Oke 2008, Monthly Weather Review 136). One eigen-decomposition, of A'A or, with fewer observations than members, of AA', gives both.

   Options Database Keys:
+  -inflation_... - the keys of KalInflation
.  -analysis_rotate <false> - multiplies the anomalies by a random mean-preserving orthogonal matrix after the analysis (KalRotationMatrix(); DAPPER's
                              `rot`)
-  -analysis_space <auto> - where the eigen-decomposition is taken: ensemble (N x N) or observation (p x p)

   Notes:
   DAPPER's `Sqrt`. Lorenz-96 with 40 variables, all observed at each step with unit errors: rmse 0.18 with N = 24,
   -inflation_factor 1.02 -analysis_rotate (share/doc/figures.md).

   With a linear model and N > n mean and covariance are those of the Kalman filter that starts from the ensemble's sample moments, to
   rounding.

.seealso: KALANALYSISESTKF, KALANALYSISLETKF, KALANALYSISENKFN, KalInflation
M*/
PetscErrorCode KalAnalysisCreate_ETKF(KalAnalysis analysis)
{
  KalFilter *filter;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  filter->weights = KalFilterSquareRoot;
  PetscFunctionReturn(PETSC_SUCCESS);
}
