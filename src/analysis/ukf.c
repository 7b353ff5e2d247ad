/* The unscented Kalman filter for the parameters of a network. */
#include "sigma.h"

typedef struct {
  PetscReal alpha, beta, kappa, forgetting, noise;
} KalUkf;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalUkf *ukf = (KalUkf *)((KalSigma *)analysis->data)->method;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsReal("-ukf_alpha", "Spread of the sigma points", NULL, ukf->alpha, &ukf->alpha, NULL));
  PetscCall(PetscOptionsReal("-ukf_beta", "Weight of the centre in covariances; 2 for a Gaussian", NULL, ukf->beta, &ukf->beta, NULL));
  PetscCall(PetscOptionsReal("-ukf_kappa", "Secondary spread", NULL, ukf->kappa, &ukf->kappa, NULL));
  PetscCall(PetscOptionsReal("-ukf_forgetting", "The covariance is divided by it before each cycle", NULL, ukf->forgetting, &ukf->forgetting, NULL));
  PetscCall(PetscOptionsReal("-ukf_noise", "Noise that is added to the covariance before each cycle, times that of the prior", NULL, ukf->noise, &ukf->noise, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Set(KalAnalysis analysis)
{
  KalSigma       *sigma = (KalSigma *)analysis->data;
  const KalUkf   *ukf   = (const KalUkf *)sigma->method;
  const PetscReal n = (PetscReal)analysis->n, room = ukf->alpha * ukf->alpha * (n + ukf->kappa); /* n + lambda */

  PetscFunctionBeginUser;
  PetscCheck(ukf->forgetting > 0.0 && ukf->forgetting <= 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ukf_forgetting %g: must be above 0 and at most 1, which is none", (double)ukf->forgetting);
  PetscCheck(ukf->noise >= 0.0 && !PetscIsInfOrNanReal(ukf->noise), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ukf_noise %g: must not be negative", (double)ukf->noise);
  PetscCheck(room > 0.0 && !PetscIsInfOrNanReal(room), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ukf_alpha %g, -ukf_kappa %g: alpha^2 (n + kappa) must be positive", (double)ukf->alpha, (double)ukf->kappa);
  sigma->memory     = 1.0;
  sigma->growth     = 1.0 / ukf->forgetting;
  sigma->noise      = ukf->noise;
  sigma->error      = 1.0;
  sigma->reach      = PetscSqrtReal(room);
  sigma->weight     = 0.5 / room;
  sigma->centermean = 1.0 - n / room;
  sigma->center     = sigma->centermean + 1.0 - ukf->alpha * ukf->alpha + ukf->beta;
  PetscCheck(sigma->center >= 0.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ukf_alpha %g, -ukf_beta %g, -ukf_kappa %g give the centre the weight %g in covariances, which can make them indefinite; take -ukf_alpha 1 or a larger -ukf_beta", (double)ukf->alpha, (double)ukf->beta, (double)ukf->kappa, (double)sigma->center);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalUkf *ukf = (const KalUkf *)((const KalSigma *)analysis->data)->method;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  alpha %g, beta %g, kappa %g, forgetting %g, noise %g of the prior's\n", (double)ukf->alpha, (double)ukf->beta, (double)ukf->kappa, (double)ukf->forgetting, (double)ukf->noise));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISUKF = "ukf" - The unscented Kalman filter for the parameters of a network

   The parameters are a state that stands still but for forgetting and noise, the targets of a mini-batch its observations:

     P^ = P/l + q P_0;   w_0 = w, w_(+-i) = w +- sqrt(n + lambda) L_i,  L L' = P^,  lambda = alpha^2 (n + kappa) - n;   d_k = h(w_k)
     mean d = lambda/(n + lambda) d_0 + sum_i d_i/(2 (n + lambda)),   P_dd = sum_k W_k (d_k - mean d)(d_k - mean d)' + R,   P_wd likewise,
     W_0 = lambda/(n + lambda) + 1 - alpha^2 + beta,  W_i = 1/(2 (n + lambda)),
     w <- w + P_wd P_dd^{-1} (y - mean d),   P <- P^ - P_wd P_dd^{-1} P_wd',

   from the prior's covariance P_0. Wan and van der Merwe, chapter 7 of Haykin (ed.), Kalman Filtering and Neural Networks (2001), parameter
   estimation, from memory of its table.

   Options Database Keys:
+  -ukf_alpha <1> - alpha
.  -ukf_beta <2> - beta
.  -ukf_kappa <0> - kappa
.  -ukf_forgetting <0.9995> - l
-  -ukf_noise <0> - q

   Notes:
   Weights with a negative W_0, as for a small alpha, are refused. w begins at the mean of the first members, which for mlp are scattered about one random
   network: at the prior's own mean, the network of zeros, no point tells anything of a hidden layer. Members, sizes, failures and what is kept as for KALANALYSISUKI.

.seealso: KALANALYSISUKI, KALANALYSISENKF
M*/
PetscErrorCode KalAnalysisCreate_UKF(KalAnalysis analysis)
{
  KalSigma *sigma;
  KalUkf   *ukf;

  PetscFunctionBeginUser;
  PetscCall(KalSigmaCreate(analysis, "ukf", &sigma));
  PetscCall(PetscNew(&ukf));
  ukf->alpha                   = 1.0;
  ukf->beta                    = 2.0;
  ukf->forgetting              = 0.9995;
  sigma->members               = PETSC_TRUE;
  sigma->method                = ukf;
  sigma->set                   = Set;
  sigma->view                  = View;
  analysis->ops.setfromoptions = SetFromOptions;
  PetscFunctionReturn(PETSC_SUCCESS);
}
