/* The time step of the inversions: fixed, adaptive after Kovachki and Stuart, or by the data misfit. */
#include "inversion.h"

/*
  Adaptive: h / (|D| + floor), D_kj = <g_k - mean, grad L(g_j)> / (N - 1); the paper has 1/N (share/doc/methods.md, "Time steps").
*/
static PetscErrorCode Adaptive(KalAnalysis analysis, const KalInnovation *in, PetscReal *step)
{
  const KalInversion *inv = (const KalInversion *)analysis->data;
  PetscReal           norm;

  PetscFunctionBeginUser;
  PetscCall(KalInnovationNorm(analysis, in, &norm));
  *step = inv->step / (norm * in->scale + inv->floor);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Data misfit controller: max(p / (2 mean phi), sqrt(p / (2 var phi))), phi_j = |R_j|^2 / 2 (share/doc/methods.md, "Time steps").
*/
static void Misfit(const KalInnovation *in, PetscReal *step)
{
  PetscReal mean = 0.0, variance = 0.0;
  PetscInt  j;

  for (j = 0; j < in->N; j++) mean += in->status[j] == KAL_MEMBER_OK ? 0.5 * in->misfit[j] : 0.0;
  mean /= in->active;
  for (j = 0; j < in->N; j++) variance += in->status[j] == KAL_MEMBER_OK ? PetscSqr(0.5 * in->misfit[j] - mean) : 0.0;
  variance /= PetscMax(1, in->active - 1);
  *step = in->p / (2.0 * PetscMax(mean, PETSC_SMALL));
  if (variance > 0.0) *step = PetscMax(*step, PetscSqrtReal(in->p / (2.0 * variance)));
}

/*
  KalInversionStep - The time step of this cycle; what is left to the total bounds it

  Collective; the same on every rank.
*/
PetscErrorCode KalInversionStep(KalAnalysis analysis, const KalInnovation *in, PetscReal *step)
{
  KalInversion *inv = (KalInversion *)analysis->data;

  PetscFunctionBeginUser;
  *step = inv->step;
  if (inv->rule == KAL_STEP_ADAPTIVE) PetscCall(Adaptive(analysis, in, step));
  if (inv->rule == KAL_STEP_MISFIT) Misfit(in, step);
  *step = PetscMin(*step, inv->most);
  if (inv->total > 0.0) *step = PetscMin(*step, (inv->total - inv->state[KAL_STATE_TIME]) * analysis->perepoch);
  PetscFunctionReturn(PETSC_SUCCESS);
}
