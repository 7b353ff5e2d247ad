/* Iterative ensemble Kalman method with statistical linearization. */
#include "linearized.h"

static KalLinearized Method(PetscReal step)
{
  return (KalLinearized){.shift = 1.0, .factor = step, .pull = step};
}

/*MC
   KALANALYSISIEKSSL = "ieks-sl" - Iterative ensemble Kalman method with statistical linearization; also called gnki

   A Gauss-Newton step of length alpha for |y - h(u)|^2/2 in R^{-1} + |u - m|^2/2 in P^{-1}, with the derivative H = C_hu C_uu^+ that the members say:

     u_j <- u_j + alpha (K (y_j - h(u_j)) + (I - K H) (m_j - u_j)),   K = P H'(H P H' + R)^{-1},   y_j ~ N(y, 2 R/alpha),  m_j ~ N(m, 2 P/alpha),

   drawn anew in each cycle. The factors 2 make the stationary law of a linear model the Gaussian posterior, but for terms of order alpha. Chada, Chen and
   Sanz-Alonso, Iterative ensemble Kalman methods: a unified perspective with some new variants, Foundations of Data Science 3 (2021), IEKF-SL; in
   CliMA's EnsembleKalmanProcesses.jl GaussNewtonInversion.

   Options Database Keys:
+  -ieks_sl_step <0.1> - alpha
-  -ieks_sl_truncation <1e-10> - directions in which the members vary by less than this part of the largest variance, in units of the prior's standard
                                 deviations, are left out of H

   Notes:
   P is the fixed, diagonal covariance of the prior, so that the ensemble neither collapses nor stays in the span of its first members. C_uu^+ is taken in the
   metric of P^{-1}, where it is one N x N eigen-decomposition and all systems are of its rank, at most n and N - 1; with N > n it is the
   inverse, whatever the metric. With N less than a few n the derivative is noisy: large ensembles, or few parameters. Squared loss; batches of
   a data set each pull to the whole prior, so that the whole set is the batch to take. A member that fails is drawn anew from the survivors.

.seealso: KALANALYSISEKISL, KALANALYSISTEKISL, KALANALYSISUKI
M*/
PetscErrorCode KalAnalysisCreate_IEKSSL(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalLinearizedCreate(analysis, "ieks_sl", Method));
  PetscFunctionReturn(PETSC_SUCCESS);
}
