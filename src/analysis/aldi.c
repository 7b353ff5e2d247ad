/* Affine invariant Langevin dynamics. */
#include "langevin.h"

/*MC
   KALANALYSISALDI = "aldi" - Affine invariant Langevin dynamics, the ensemble Kalman sampler corrected for a finite ensemble

   The drift of eks and (n + 1)/N (u_j - mean u) dt, with which the product of N posteriors is stationary for every N > n + 1 (exact gradients, steps to 0).
   Garbuno-Inigo, Nuesken and Reich, Affine invariant interacting Langevin dynamics for Bayesian inference, SIAM J. Applied Dynamical Systems 19 (2020);
   the scheme as in CliMA's EnsembleKalmanProcesses.jl.

   Options Database Keys:
.  -aldi_step <1>, -aldi_step_floor <1e-8>, -aldi_step_most <1> - as those of KALANALYSISEKS

.seealso: KALANALYSISEKS, KALANALYSISENGPS
M*/
PetscErrorCode KalAnalysisCreate_ALDI(KalAnalysis analysis)
{
  KalLangevin *l;

  PetscFunctionBeginUser;
  PetscCall(KalLangevinCreate(analysis, "aldi", &l));
  l->correction = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
