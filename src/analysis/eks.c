/* Ensemble Kalman sampler. */
#include "langevin.h"

/*MC
   KALANALYSISEKS = "eks" - Ensemble Kalman sampler

   Interacting Langevin dynamics without derivatives, whose stationary law of many members is the posterior of a linear model:

     du_j = -1/N sum_k <g_k - mean g, g_j - y> in R^{-1} (u_k - mean u) dt - C P^{-1} (u_j - m) dt + sqrt(2 C) dW_j,   C with the divisor N.

   The prior N(m, P) is taken implicitly; the step is h/(|D| + floor), D the matrix of the inner products over N, |.| the Frobenius norm. Garbuno-Inigo, Hoffmann,
   Li and Stuart, Interacting Langevin diffusions, SIAM J. Applied Dynamical Systems 19 (2020); the scheme as in CliMA's EnsembleKalmanProcesses.jl.

   Options Database Keys:
+  -eks_step <1> - h
.  -eks_step_floor <1e-8> - the floor
-  -eks_step_most <1> - largest step

   Notes:
   The noise is sqrt(2 dt) X xi_j with xi_j of N numbers, X the anomalies over sqrt(N), which has the law of sqrt(2 dt) C^{1/2} xi_j with xi_j of n; it is part of the
   N x N transform. More than n + 1 members. With few members the spread is too small: variances of a linear model with two parameters are 30
   percent low with N = 10; aldi corrects it. Mini-batches add noise that the sampler does not know of.

.seealso: KALANALYSISALDI, KALANALYSISENGPS
M*/
PetscErrorCode KalAnalysisCreate_EKS(KalAnalysis analysis)
{
  KalLangevin *l;

  PetscFunctionBeginUser;
  PetscCall(KalLangevinCreate(analysis, "eks", &l));
  PetscFunctionReturn(PETSC_SUCCESS);
}
