/* Tikhonov ensemble Kalman inversion: eki with the prior mean as a further datum. */
#include "inversion.h"

/*MC
   KALANALYSISTEKI = "teki" - Tikhonov ensemble Kalman inversion

   eki on the data z = (y; m) of h~(u) = (h(u); u), with errors Q = diag(R, P), m and P the prior's mean and (diagonal) covariance:

     u_j <- u_j + C_{u h~} (C_{h~ h~} + Q/h)^{-1} (z_j - h~(u_j)),   z_j ~ N(z, Q/h),

   the Levenberg-Marquardt method for |y - h(u)|^2/2 in R^{-1} + |u - m|^2/2 in P^{-1} (Chada, Stuart and Tong 2020; Chada, Chen and Sanz-Alonso 2021,
   section 3). In ensemble space S <- S + X'P^{-1}X, D <- D + X'P^{-1}(m - u_j): no vector of p + n numbers is formed.

   Options Database Keys:
+  -teki_update <stochastic> - stochastic: data perturbed for each member; deterministic: as they are
.  -teki_prior <true> - false makes it eki
-  -teki_... - the other keys of KALANALYSISEKI, with this prefix; not -teki_momentum nor -teki_step_rule misfit

   Notes:
   The ensemble collapses to the minimizer in the span of its first members; it is no sample of the posterior. -teki_dynamics stochastic
   keeps it spread: then, with the update deterministic or not, see KALANALYSISEKI. teki works in ensemble space alone.

.seealso: KALANALYSISEKI, KALANALYSISTEKISL
M*/
PetscErrorCode KalAnalysisCreate_TEKI(KalAnalysis analysis)
{
  KalInversion *inv;

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisCreate_EKI(analysis));
  inv            = (KalInversion *)analysis->data;
  inv->tikhonov  = PETSC_TRUE;
  inv->perturbed = PETSC_TRUE;
  PetscCall(PetscStrncpy(inv->prefix, "teki", sizeof inv->prefix));
  PetscFunctionReturn(PETSC_SUCCESS);
}
