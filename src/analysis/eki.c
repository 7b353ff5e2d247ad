/* Ensemble Kalman inversion, with perturbed observations or without. */
#include "inversion.h"

static const char *const Updates[] = {"deterministic", "stochastic", "KalUpdate", "KAL_UPDATE_", NULL};

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalInversion *inv    = (KalInversion *)analysis->data;
  PetscEnum     update = (PetscEnum)inv->perturbed;

  PetscFunctionBeginUser;
  PetscCall(KalInversionSetFromOptions(analysis, PetscOptionsObject));
  PetscCall(PetscOptionsEnum(KalInversionOption(inv, "update"), "Observations as they are, or perturbed for each member", NULL, Updates, update, &update, NULL));
  inv->perturbed = (PetscBool)update;
  PetscCheck(inv->target != KAL_TARGET_POSTERIOR || inv->perturbed, analysis->comm, PETSC_ERR_ARG_INCOMP, "-%s_target posterior needs -%s_update stochastic: without perturbed observations the spread ends too small; etki is the deterministic method for a posterior", inv->prefix, inv->prefix);
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
.  -eki_prior <false> - the prior mean is a datum too (Tikhonov; KALANALYSISTEKI)
.  -eki_dynamics <static> - stochastic: before each cycle departures from the mean are multiplied by 1/sqrt(1 - h)
.  -eki_correction <none> - correction of sampling errors in the correlations of C_ug and C_gg, entry by entry: sec, sec-fisher or nice; or dropout
.  -eki_correction_exponent <1>, -eki_correction_cutoff <0> - of sec
.  -eki_correction_tolerance <1> - of nice
.  -eki_correction_probability <0.9> - of dropout: that an entry is kept
.  -eki_blocks <none> - block localization, the blocks being the layers of a network: none or layers
.  -eki_inflation <1> - multiplies the anomalies after the analysis
-  -eki_inflation_additive <0> - adds prior-scaled draws of this spread after the analysis, their mean removed

   Notes:
   Differences from the papers: covariances have 1/(N - 1), not 1/N; the step is the implicit one of
   Iglesias, Law and Stuart (2013) for every step rule, where Kovachki and Stuart (2019) take an explicit
   Euler step; a redraw is scaled by -eki_redraw_spread and not by sqrt(h). Under mini-batches the default is an
   optimiser: spread is lost faster than information is gained (share/doc/methods.md, "Mini-batches").

   -eki_dynamics stochastic is the ensemble form of the dynamics under uki: a random walk whose noise, of covariance C h/(1 - h), restores in the forecast
   what the analysis with R/h takes from the spread, so that the ensemble does not collapse (Huang, Huang, Reich and Stuart 2022). With
   -eki_prior, a linear model and N > n the mean and covariance of etki go to those of the Gaussian posterior, at the
   rate (1 - h)^cycle; of stochastic eki within sampling error. Step 0.5 is the paper's.

   -eki_correction dropout corrects nothing: in each cycle entries of C_ug are left out at random, each kept with the probability, C_gg staying whole (Bernoulli dropout, as in CliMA's code;
   there the entries on the diagonal are kept too, here all are alike). Since what is left out differs from row to row the members leave the span of the first ones, at the price of a noisy
   step that is the probability times eki's on average.

   With -eki_correction C_ug is formed, a block of rows at a time, and the update is no longer one N x N transform, nor bound to the span of the first members. sec: r |r|^exponent, 0 below the
   cutoff (Lee 2021); sec-fisher: r Q^2/(1 + Q^2), Q = r over its standard error by Fisher's transform (Flowerdew 2015); nice: r^(g + 1), g the least even number that
   changes the correlations by more than tolerance times their standard errors (1 - r^2)/sqrt(N), Frobenius norms, mixed with r^(g - 1) so that it is just that (Vishny, Morzfeld,
   Gwirtz, Bach, Dunbar and Hodyss 2024), for C_ug and C_gg each. Negative eigenvalues of the corrected C_gg are taken as 0. As in CliMA's
   EnsembleKalmanProcesses.jl, but for the standard error, there (1 - r)/sqrt(N). Squared loss or not; it costs 4 n p N flops, and p N numbers four times on every rank.

   With -eki_blocks layers covariances between the parameters of different layers are taken to be zero. That is not to be had from the members' predictions, in which all layers move at
   once: the same weights for each layer are the plain update, layer by layer. So the predictions are asked for anew with one layer perturbed at a time about the mean. With A_l the
   whitened anomalies of those of layer l, and y_j - g_j the residuals of the members themselves,

     u_j[l] <- u_j[l] + X_l A_l' (sum_k A_k A_k' + R/h)^{-1} (y_j - g_j),

   a system of layers x N unknowns. For a model that is linear in its parameters this is the Kalman update with the members' covariance whose blocks between layers are zero.
   The members leave the span of the first ones: each layer has N - 1 directions of its own. It costs layers + 1 times the forward passes, the predictions of them are kept, and
   layers x N is at most 10000.

.seealso: KALANALYSISETKI, KALANALYSISTEKI, KALANALYSISUKI, KALANALYSISHABER
M*/
PetscErrorCode KalAnalysisCreate_EKI(KalAnalysis analysis)
{
  KalInversion *inv;

  PetscFunctionBeginUser;
  PetscCall(KalInversionCreate(analysis, "eki", &inv));
  analysis->ops.setfromoptions = SetFromOptions;
  inv->weights                 = Weights;
  inv->wants                   = KAL_WANT_MEMBERS;
  inv->correctable             = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
