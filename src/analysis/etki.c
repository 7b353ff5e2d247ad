/* Ensemble transform Kalman inversion: the symmetric square root. */
#include "inversion.h"

/* T = 1 1'/N + centered (scale w 1' + Om^{1/2}), Om = (I + h S)^{-1}, w = (S + I/h)^{-1} d (share/doc/methods.md, "The one update"). */
static PetscErrorCode Weights(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal step, PetscReal *T)
{
  PetscReal *w;
  PetscInt   j, k;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(in->N, &w));
  PetscCall(KalInnovationSolve(analysis, told, in, 1.0 / step, 1, 0.0, w));
  PetscCall(KalInverseRoot(analysis, in->N, in->S, step, T));
  for (j = 0; j < in->N; j++) {
    for (k = 0; k < in->N; k++) T[k + (size_t)j * in->N] += in->scale * w[k];
  }
  PetscCall(KalTransformCenter(in->N, in->status, in->active, T));
  for (j = 0; j < in->N; j++) {
    for (k = 0; k < in->N; k++) T[k + (size_t)j * in->N] += in->status[k] == KAL_MEMBER_OK ? 1.0 / in->active : 0.0;
  }
  PetscCall(PetscFree(w));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISETKI = "etki" - Ensemble transform Kalman inversion, the symmetric square-root form of eki

   Om = (I + h S)^{-1}, w = h Om d, U <- mean 1' + X (w 1' + sqrt(N - 1) Om^{1/2}) (share/doc/methods.md, "The one update"; Hunt,
   Kostelich and Szunyogh 2007, eqs. 20 to 25, with R/h). With total step 1, a linear model and N > n the mean and covariance
   are those of the Gaussian posterior, to rounding.

   Options Database Keys:
.  -etki_... - the keys of KALANALYSISEKI with this prefix, without -eki_update

.seealso: KALANALYSISEKI
M*/
PetscErrorCode KalAnalysisCreate_ETKI(KalAnalysis analysis)
{
  KalInversion *inv;

  PetscFunctionBeginUser;
  PetscCall(KalInversionCreate(analysis, "etki", &inv));
  inv->weights = Weights;
  inv->wants   = KAL_WANT_GRAM;
  PetscFunctionReturn(PETSC_SUCCESS);
}
