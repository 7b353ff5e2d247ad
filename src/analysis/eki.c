/* Ensemble Kalman inversion, with perturbed observations or without. */
#include "inversion.h"

static const char *const Updates[] = {"deterministic", "stochastic", "KalUpdate", "KAL_UPDATE_", NULL};

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalInversion *inv    = (KalInversion *)analysis->data;
  PetscEnum     update = (PetscEnum)inv->perturbed;

  PetscFunctionBeginUser;
  PetscCall(KalInversionSetFromOptions(analysis, PetscOptionsObject));
  PetscCall(PetscOptionsEnum("-eki_update", "Observations as they are, or perturbed for each member", NULL, Updates, update, &update, NULL));
  inv->perturbed = (PetscBool)update;
  PetscCheck(inv->target != KAL_TARGET_POSTERIOR || inv->perturbed, analysis->comm, PETSC_ERR_ARG_INCOMP, "-eki_target posterior needs -eki_update stochastic: without perturbed observations the spread ends too small; etki is the deterministic method for a posterior");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T = I + centered (S + I/h)^{-1} D scale (share/doc/methods.md, "The one update"); whitened perturbations have the variance 1/h. */
static PetscErrorCode Weights(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal step, PetscReal *T)
{
  const KalInversion *inv = (const KalInversion *)analysis->data;
  PetscInt            j;
  size_t              i;

  PetscFunctionBeginUser;
  PetscCall(KalInnovationSolve(analysis, told, in, 1.0 / step, in->N, inv->perturbed ? 1.0 / PetscSqrtReal(step) : 0.0, T));
  PetscCall(KalTransformCenter(in->N, in->status, in->active, T));
  for (i = 0; i < (size_t)in->N * in->N; i++) T[i] *= in->scale;
  for (j = 0; j < in->N; j++) T[j + (size_t)j * in->N] += in->status[j] == KAL_MEMBER_OK ? 1.0 : 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISEKI = "eki" - Ensemble Kalman inversion

   u_j <- u_j + C_ug (C_gg + R/h)^{-1} (y_j - g_j), with y_j = y, or y_j = y + N(0, R/h) for each member; in
   ensemble space U <- U + X W, (S + I/h) W = D, where S = A'A, D = A'R of whitened anomalies A and
   residuals R (share/doc/methods.md, "The one update"). For a loss other than the squared one, R holds the loss' negative gradient at
   each member and the weight is its Gauss-Newton matrix at the mean prediction.

   Options Database Keys:
+  -eki_update <deterministic> - deterministic, or stochastic: with perturbed observations, squared loss only
.  -eki_target <optimum> - posterior: the run stops at total step 1 (steps are counted in epochs)
.  -eki_step_rule <fixed> - fixed; adaptive: h/(|D| + floor) (Kovachki and Stuart); misfit: the data misfit controller (Iglesias and Yang)
.  -eki_step <1>, -eki_step_floor <0.5>, -eki_step_most, -eki_step_total - see KalInversionStep()
.  -eki_momentum <none> - none; constant (-eki_momentum_factor <0.9>); nesterov
.  -eki_redraw_cycles, -eki_redraw_epochs, -eki_redraw_spread <0.1>, -eki_redraw_about <mean> - EKI(R): members are drawn anew, with the prior's standard deviations times the spread
.  -eki_inflation <1> - multiplies the anomalies after the analysis
-  -eki_inflation_additive <0> - adds prior-scaled draws of this spread after the analysis, their mean removed

   Notes:
   Differences from the papers: covariances have 1/(N - 1), not 1/N; the step is the implicit one of
   Iglesias, Law and Stuart (2013) for every step rule, where Kovachki and Stuart (2019) take an explicit
   Euler step; a redraw is scaled by -eki_redraw_spread and not by sqrt(h). Under mini-batches the default is an
   optimiser: spread is lost faster than information is gained (share/doc/methods.md, "Mini-batches").

.seealso: KALANALYSISETKI, KALANALYSISHABER
M*/
PetscErrorCode KalAnalysisCreate_EKI(KalAnalysis analysis)
{
  KalInversion *inv;

  PetscFunctionBeginUser;
  PetscCall(KalInversionCreate(analysis, "eki", &inv));
  analysis->ops.setfromoptions = SetFromOptions;
  inv->weights                 = Weights;
  inv->wants                   = KAL_WANT_MEMBERS;
  PetscFunctionReturn(PETSC_SUCCESS);
}
