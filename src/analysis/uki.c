/* Unscented Kalman inversion. */
#include "sigma.h"

static const char *const Noises[] = {"current", "prior", "KalUkiNoise", "KAL_UKI_NOISE_", NULL};

typedef struct {
  PetscReal step, memory;
  PetscBool prior; /* noise of the prior's covariance, not of the current one */
} KalUki;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalSigma *sigma = (KalSigma *)analysis->data;
  KalUki   *uki   = (KalUki *)sigma->method;
  PetscEnum noise = (PetscEnum)uki->prior;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsReal("-uki_step", "Step h: the analysis takes R/h, and the prediction adds noise of h/(1 - h)", NULL, uki->step, &uki->step, NULL));
  PetscCall(PetscOptionsReal("-uki_regularization", "Part of the departure from the prior mean that the prediction keeps", NULL, uki->memory, &uki->memory, NULL));
  PetscCall(PetscOptionsEnum("-uki_noise", "Covariance of the noise: the current one, or the prior's", NULL, Noises, noise, &noise, NULL));
  PetscCall(PetscOptionsBool("-uki_prior", "The prior mean is a datum too, with the prior's covariance as its error", NULL, sigma->tikhonov, &sigma->tikhonov, NULL));
  PetscCall(PetscOptionsBool("-uki_simplex", "n + 2 points of a simplex, not 2 n + 1", NULL, sigma->simplex, &sigma->simplex, NULL));
  uki->prior = (PetscBool)noise;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Set(KalAnalysis analysis)
{
  KalSigma       *sigma = (KalSigma *)analysis->data;
  const KalUki   *uki   = (const KalUki *)sigma->method;
  const PetscReal n = (PetscReal)analysis->n, spread = PetscMin(PetscSqrtReal(4.0 / n), 1.0);
  PetscReal       noise;

  PetscFunctionBeginUser;
  PetscCheck(uki->step > 0.0 && uki->step < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-uki_step %g: must be above 0 and less than 1", (double)uki->step);
  PetscCheck(uki->memory > 0.0 && uki->memory <= 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-uki_regularization %g: must be above 0 and at most 1, which is none", (double)uki->memory);
  noise             = uki->step / (1.0 - uki->step) + 1.0 - uki->memory * uki->memory;
  sigma->memory     = uki->memory;
  sigma->growth     = uki->memory * uki->memory + (uki->prior ? 0.0 : noise);
  sigma->noise      = uki->prior ? noise : 0.0;
  sigma->error      = 1.0 / uki->step;
  sigma->reach      = spread * PetscSqrtReal(n);
  sigma->weight     = sigma->simplex ? n / (4.0 * (n + 1.0)) : 0.5 / PetscSqr(sigma->reach);
  sigma->centermean = 1.0;
  sigma->center     = 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalSigma *sigma = (const KalSigma *)analysis->data;
  const KalUki   *uki   = (const KalUki *)sigma->method;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  step %g, noise of the %s covariance, regularization %g%s%s\n", (double)uki->step, Noises[uki->prior], (double)uki->memory, sigma->tikhonov ? ", the prior mean a datum" : "", sigma->simplex ? ", simplex" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISUKI = "uki" - Unscented Kalman inversion

   The Kalman filter of the artificial dynamics u' = r + a (u - r) + noise, y = h(u') + error, with quadrature at sigma points. In each cycle, with m, C of
   the last one and at first those of the prior,

     m^ = r + a (m - r),  C^ = a^2 C + (h/(1 - h) + 1 - a^2) Lambda,      r the prior mean, Lambda = C or the prior's P
     u_0 = m^,  u_(+-j) = m^ +- c L_j,  L L' = C^,  c = b sqrt(n),  b = min(sqrt(4/n), 1);     y_k = h(u_k), the mean prediction is y_0
     C_uy = w sum_j (u_j - m^)(y_j - y_0)',  C_yy = w sum_j (y_j - y_0)(y_j - y_0)' + R/h,  w = 1/(2 b^2 n)
     m = m^ + C_uy C_yy^{-1} (y - y_0),  C = C^ - C_uy C_yy^{-1} C_uy'.

   Huang, Schneider and Stuart, Iterated Kalman methodology for inverse problems, J. Comput. Phys. 463 (2022); steps other than 1/2 and the simplex as in the
   authors' code (InverseProblems.jl). -uki_prior makes the prior mean a datum with the error P (Huang, Huang, Reich and Stuart, Efficient derivative-free
   Bayesian inference for large-scale inverse problems, Inverse Problems 38, 2022): for a linear model m and C then go to those of the Gaussian
   posterior, the errors falling like (1 - h)^cycle.

   Options Database Keys:
+  -uki_step <0.5> - h
.  -uki_regularization <1> - a; less than 1 regularizes problems with fewer data than parameters
.  -uki_noise <current> - Lambda: current is C, prior is P
.  -uki_prior <false> - the prior mean is a datum too
-  -uki_simplex <false> - the mean and n + 1 corners of a simplex instead of 2 n + 1 points

   Notes:
   -ensemble_size must be the number of points, 2 n + 1 or n + 2. Members are points with the mean m and, as a sample, the covariance C; the points that the
   model is run at are their copy. m, C (n x n) and their root are on every rank, and part of a snapshot: n less than 5000. Of a point that fails the
   mirror image of its opposite is taken, or if that fails too, no change along that direction.

.seealso: KALANALYSISUKF, KALANALYSISETKI, KALANALYSISIEKSSL
M*/
PetscErrorCode KalAnalysisCreate_UKI(KalAnalysis analysis)
{
  KalSigma *sigma;
  KalUki   *uki;

  PetscFunctionBeginUser;
  PetscCall(KalSigmaCreate(analysis, "uki", &sigma));
  PetscCall(PetscNew(&uki));
  uki->step                    = 0.5;
  uki->memory                  = 1.0;
  sigma->method                = uki;
  sigma->set                   = Set;
  sigma->view                  = View;
  analysis->ops.setfromoptions = SetFromOptions;
  PetscFunctionReturn(PETSC_SUCCESS);
}
