/* Ensemble Kalman inversion with statistical linearization. */
#include "linearized.h"

static KalLinearized Method(PetscReal step)
{
  return (KalLinearized){.shift = 1.0 / step, .factor = 1.0, .pull = 0.0};
}

/*MC
   KALANALYSISEKISL = "eki-sl" - Ensemble Kalman inversion with statistical linearization

   A Levenberg-Marquardt step for |y - h(u)|^2/2 in R^{-1}, with the prior's covariance P as preconditioner:

     u_j <- u_j + K (y_j - h(u_j)),   K = P H'(H P H' + R/alpha)^{-1},   y_j ~ N(y, 2 R/alpha)

   with H = C_hu C_uu^+ (KALANALYSISIEKSSL). Chada, Chen and Sanz-Alonso 2021, EKI-SL. The prior is no part of what is minimized: members
   follow the data as closely as the model can, and stop moving but for their perturbations.

   Options Database Keys:
+  -eki_sl_step <0.1> - alpha
-  -eki_sl_truncation <1e-10> - see KALANALYSISIEKSSL

.seealso: KALANALYSISIEKSSL, KALANALYSISEKI
M*/
PetscErrorCode KalAnalysisCreate_EKISL(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalLinearizedCreate(analysis, "eki_sl", Method));
  PetscFunctionReturn(PETSC_SUCCESS);
}
