/* Tikhonov ensemble Kalman inversion with statistical linearization. */
#include "linearized.h"

/* With J = (H; I) in the prior's metric, (J'J + I/alpha)^{-1} J'(y - h; m - u): across the members' span H is 0, and the pull alone is left. */
static KalLinearized Method(PetscReal step)
{
  const PetscReal shift = 1.0 + 1.0 / step;

  return (KalLinearized){.shift = shift, .factor = 1.0, .pull = 1.0 / shift};
}

/*MC
   KALANALYSISTEKISL = "teki-sl" - Tikhonov ensemble Kalman inversion with statistical linearization

   A Levenberg-Marquardt step for |y - h(u)|^2/2 in R^{-1} + |u - m|^2/2 in P^{-1}: with G = (H; I), z = (y; m), Q = diag(R, P),

     u_j <- u_j + K (z_j - (h(u_j); u_j)),   K = P G'(G P G' + Q/alpha)^{-1},   z_j ~ N(z, 2 Q/alpha)

   with H = C_hu C_uu^+ (KALANALYSISIEKSSL). Chada, Chen and Sanz-Alonso 2021, TEKI-SL. Of a linear model the mean goes to the posterior's. The covariance does not: along
   a direction in which the data and the prior together have the information l, in units of the prior's, the variance becomes 2/(2 + l alpha) of the prior's.

   Options Database Keys:
+  -teki_sl_step <0.1> - alpha
-  -teki_sl_truncation <1e-10> - see KALANALYSISIEKSSL

.seealso: KALANALYSISIEKSSL, KALANALYSISTEKI
M*/
PetscErrorCode KalAnalysisCreate_TEKISL(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalLinearizedCreate(analysis, "teki_sl", Method));
  PetscFunctionReturn(PETSC_SUCCESS);
}
