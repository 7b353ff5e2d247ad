/* The Gaussian flow: a Gaussian goes to the posterior along derivatives at fresh draws of itself. */
#include "filter.h"
#include "gpf.h"

static const char *const Draws[] = {"normal", "rotated", "KalGfDraws", "KAL_GF_", NULL};

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalGpf   *gf    = (KalGpf *)analysis->data;
  PetscEnum draws = (PetscEnum)gf->rotated;

  PetscFunctionBeginUser;
  PetscCall(KalGpfSetFromOptions(analysis, PetscOptionsObject));
  PetscCall(PetscOptionsEnum("-gf_draws", "The points of a cycle: independent draws, or the columns turned at random", NULL, Draws, draws, &draws, NULL));
  gf->rotated = (PetscBool)draws;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalGpf      *gf = (KalGpf *)analysis->data;
  const size_t NN = (size_t)analysis->N * (size_t)analysis->N;

  PetscFunctionBeginUser;
  PetscCall(KalGpfSetUp(analysis));
  analysis->needs.copies = 1;
  PetscCall(PetscMalloc1(NN, &gf->K));
  PetscCall(PetscMalloc1(NN, &gf->Z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  PetscFunctionBeginUser;
  (void)observations;
  PetscCheck(analysis->uniform, analysis->comm, PETSC_ERR_SUP, "gf needs the same BLAS kernels on every rank; these ranks run different ones: set OPENBLAS_CORETYPE, or use gpf");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Points mean + X Z/sqrt(N) of a block's rows. */
static PetscErrorCode VisitPoints(void *ctx, const KalRows *rows)
{
  const KalAnalysis analysis = (KalAnalysis)ctx;
  const KalGpf     *gf       = (const KalGpf *)analysis->data;
  const PetscInt    N = analysis->N, m = rows->count;
  PetscScalar      *X, *P, *mean;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3((size_t)m * N, &X, (size_t)m * N, &P, m, &mean));
  PetscCall(PetscArrayzero(mean, m));
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = 0; i < m; i++) mean[i] += rows->x[0][i + (size_t)j * (size_t)rows->ld[0]] / N;
  }
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = 0; i < m; i++) X[i + (size_t)j * m] = rows->x[0][i + (size_t)j * (size_t)rows->ld[0]] - mean[i];
  }
  PetscCall(KalMultiply("NN", m, N, N, 1.0 / PetscSqrtReal(N), X, gf->Z, 0.0, P));
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = 0; i < m; i++) rows->x[1][i + (size_t)j * (size_t)rows->ld[1]] = mean[i] + P[i + (size_t)j * m];
  }
  PetscCall(PetscFree3(X, P, mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Z anew: column j is standard normal, or sqrt(N) times that of a random rotation that keeps (1, ..., 1). */
static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalGpf        *gf     = (KalGpf *)analysis->data;
  const PetscInt N      = analysis->N;
  KalKey         key    = {analysis->seed, KAL_DRAW_FLOW, cycle, 0};
  KalEnsemble    both[] = {analysis->ensemble, analysis->copy[0]};

  PetscFunctionBeginUser;
  gf->points = analysis->copy[0];
  if (gf->rotated) {
    PetscCall(KalRotationMatrix(analysis, cycle, N, gf->Z));
    for (size_t i = 0; i < (size_t)N * N; i++) gf->Z[i] *= PetscSqrtReal(N);
  } else {
    for (key.member = 0; key.member < N; key.member++) PetscCall(KalDrawNormal(key, 0, N, gf->Z + (size_t)key.member * N));
  }
  PetscCall(KalEnsembleMapRows(2, both, VisitPoints, analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall(KalGpfView(analysis, viewer));
  PetscCall(PetscViewerASCIIPrintf(viewer, "  points: %s\n", ((const KalGpf *)analysis->data)->rotated ? "columns turned at random" : "independent draws"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISGF = "gf" - The Gaussian flow (Galy-Fajou, Perrone and Opper, Entropy 23, 990, 2021)

   A Gaussian N(m, Gamma Gamma') of low rank, Gamma of N columns, goes to the one nearest to the posterior exp(-V) along derivatives at fresh points x_s = m + Gamma z_s, z_s ~ N(0, I),
   s = 1, ..., N, in every cycle. With phi_s the derivative of V at x_s and phi their mean

     m <- m - step phi,   Gamma <- Gamma - step spread ((1/N) sum_s phi_s (x_s - m)' - I) Gamma

   The Gaussian is held as the ensemble: m is the members' mean, Gamma their departures X over sqrt(N), so that Gamma Gamma' is their covariance (with 1/N) and Gamma has rank N - 1; a second
   ensemble has the points. The matrix is not formed: (1/N) sum_s phi_s (x_s - m)' X = Phi (P'X)/N, P'X = Z'X'X/sqrt(N).

   KALANALYSISGPF takes the members themselves for the points. Fresh points explore the Gaussian; the price is their noise, which does not vanish, so that steps must become small
   (-gf_step_schedule). With -gf_draws rotated the points are sqrt(N) Gamma Q, Q a random rotation: fresh points too, but their mean and covariance are exactly m and Gamma Gamma', and a Gaussian
   posterior with N > n is reached without noise.

   Options Database Keys:
+  -gf_draws <normal> - normal or rotated
.  -gf_step <1e-4>, -gf_step_schedule <constant>, -gf_step_final <0> - step length, and how it falls over -analysis_schedule_cycles
.  -gf_step_spread <1> - that of the departures, times that of the mean
.  -gf_precondition <false> - the mean goes along Gamma Gamma' phi
.  -gf_derivatives <adjoint> - or ensemble: by statistical linearization of the points' own predictions, as in gpf
-  -gf_prior <true> - with the prior, else V is that of the likelihood alone

   Note:
   The paper has the number of points and that of columns apart; here both are -ensemble_size.

.seealso: KALANALYSISGPF, KALANALYSISSGD, KalModelAdjoint()
M*/
PetscErrorCode KalAnalysisCreate_GF(KalAnalysis analysis)
{
  KalGpf *gf;

  PetscFunctionBeginUser;
  PetscCall(KalGpfCreate(analysis, "gf", &gf));
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.view           = View;
  PetscFunctionReturn(PETSC_SUCCESS);
}
