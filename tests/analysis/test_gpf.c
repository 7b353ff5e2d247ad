/* ranks: 1 2 3 */
/*
  gpf and gf on a Gaussian posterior with more particles than parameters: their mean and covariance (with 1/N) become those of the linear
  network's weights; one step by loops.
*/
#include "kaltest.h"

#define SAMPLES 9
#define INPUTS  2
#define N       6
#define n       (INPUTS + 1)

static double inputs[SAMPLES * INPUTS], targets[SAMPLES];

static PetscErrorCode Flow(const char *options, PetscInt cycles, double *before, double *after)
{
  KalRun          run;
  KalObservations obs;
  KalEnsemble     ensemble;

  PetscFunctionBeginUser;
  for (int i = 0; i < SAMPLES * INPUTS; i++) inputs[i] = sin(1.0 + 1.7 * i);
  for (int i = 0; i < SAMPLES; i++) targets[i] = cos(2.3 * i);
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, "-analysis_type gpf -ensemble_size 6 -mlp_layers 2,1 -mlp_prior_scale 0.5 -mlp_prior_bias_scale 0.8 -mlp_prior_center 0 -observations_loss squared -observations_noise 0.5"));
  PetscCall(PetscOptionsInsertString(NULL, "-run_monitor_every 0 -run_progress 0 -run_cycles 2000 -observations_normalize none"));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  PetscCall(KalRunGetObservations(run, &obs));
  PetscCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, SAMPLES, INPUTS, inputs, 1, targets));
  PetscCall(KalRunSetFromOptions(run));
  PetscCall(KalRunSetQuiet(run, PETSC_TRUE));
  PetscCall(KalRunSetUp(run));
  PetscCall(KalRunGetEnsemble(run, &ensemble));
  PetscCall(KalEnsembleGatherRows(ensemble, before));
  for (PetscInt k = 0; k < cycles; k++) PetscCall(KalRunStep(run));
  PetscCall(KalEnsembleGatherRows(ensemble, after));
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The posterior's precision H = F'F/gamma + D^-2 and H times its mean, F'y/gamma. */
static void Posterior(double *H, double *b)
{
  for (int i = 0; i < n; i++) {
    const double sd = i < INPUTS ? 0.5 : 0.8;

    b[i] = 0.0;
    for (int j = 0; j < n; j++) H[i * n + j] = i == j ? 1.0 / (sd * sd) : 0.0;
    for (int s = 0; s < SAMPLES; s++) {
      const double fi = i < INPUTS ? inputs[s * INPUTS + i] : 1.0;

      b[i] += fi * targets[s] / 0.5;
      for (int j = 0; j < n; j++) H[i * n + j] += fi * (j < INPUTS ? inputs[s * INPUTS + j] : 1.0) / 0.5;
    }
  }
}

static void Moments(const double *x, double *mean, double *C)
{
  for (int i = 0; i < n; i++) {
    mean[i] = 0.0;
    for (int k = 0; k < N; k++) mean[i] += x[k * n + i] / N;
  }
  for (int i = 0; i < n * n; i++) {
    C[i] = 0.0;
    for (int k = 0; k < N; k++) C[i] += (x[k * n + i / n] - mean[i / n]) * (x[k * n + i % n] - mean[i % n]) / N;
  }
}

/* H m = b and H C = I */
static void ParticlesBecomeTheGaussian(void **state)
{
  const char *const options[] = {"-gpf_step 0.01 -gpf_step_spread 5", "-gpf_step 0.05 -gpf_precondition", "-gpf_step 0.05 -gpf_precondition -gpf_derivatives ensemble", "-analysis_type gf -gf_draws rotated -gf_step 0.01 -gf_step_spread 5", "-analysis_type gf -gf_draws rotated -gf_step 0.05 -gf_precondition -gf_derivatives ensemble"};

  (void)state;
  for (size_t o = 0; o < PETSC_STATIC_ARRAY_LENGTH(options); o++) {
    double before[N * n], x[N * n], H[n * n], b[n], mean[n], C[n * n];

    KalCall(Flow(options[o], 800, before, x));
    Posterior(H, b);
    Moments(x, mean, C);
    for (int i = 0; i < n; i++) {
      double Hm = 0.0;

      for (int j = 0; j < n; j++) Hm += H[i * n + j] * mean[j];
      KalAssertNear(Hm, b[i], 1e-9);
      for (int j = 0; j < n; j++) {
        double HC = 0.0;

        for (int k = 0; k < n; k++) HC += H[i * n + k] * C[k * n + j];
        KalAssertNear(HC, i == j ? 1.0 : 0.0, 1e-9);
      }
    }
  }
}

/* One step: m goes by -step (H m - b), X by -step spread (H C - I) X. */
static void CheckStep(const char *options)
{
  double x[N * n], y[N * n], H[n * n], b[n], mean[n], C[n * n];

  KalCall(Flow(options, 1, x, y));
  Posterior(H, b);
  Moments(x, mean, C);
  for (int k = 0; k < N; k++) {
    for (int i = 0; i < n; i++) {
      double go = -b[i], spread = -(x[k * n + i] - mean[i]);

      for (int j = 0; j < n; j++) {
        double HC = 0.0;

        go += H[i * n + j] * mean[j];
        for (int l = 0; l < n; l++) HC += H[i * n + l] * C[l * n + j];
        spread += HC * (x[k * n + j] - mean[j]);
      }
      KalAssertNear(y[k * n + i], x[k * n + i] - 0.01 * (go + 3.0 * spread), 1e-12);
    }
  }
}

static void OneStep(void **state)
{
  (void)state;
  CheckStep("-gpf_step 0.01 -gpf_step_spread 3");
  CheckStep("-gpf_step 0.01 -gpf_step_spread 3 -gpf_derivatives ensemble");
}

/* gf: with points m + X Z/sqrt(N), phi = H (point - m) + H m - b; m goes by -step times the mean phi, X by -step spread (sum phi (point - m)'/N - I) X. */
static void CheckFlow(const char *options)
{
  double x[N * n], y[N * n], H[n * n], b[n], mean[n], C[n * n], z[N], P[N * n] = {0.0}, phi[N * n];

  KalCall(Flow(options, 1, x, y));
  Posterior(H, b);
  Moments(x, mean, C);
  for (int s = 0; s < N; s++) {
    KalCall(KalDrawNormal((KalKey){3, KAL_DRAW_FLOW, 0, s}, 0, N, z));
    for (int k = 0; k < N; k++) {
      for (int i = 0; i < n; i++) P[s * n + i] += (x[k * n + i] - mean[i]) * z[k] / sqrt(N);
    }
    for (int i = 0; i < n; i++) {
      phi[s * n + i] = -b[i];
      for (int j = 0; j < n; j++) phi[s * n + i] += H[i * n + j] * (mean[j] + P[s * n + j]);
    }
  }
  for (int k = 0; k < N; k++) {
    for (int i = 0; i < n; i++) {
      double go = 0.0, spread = -(x[k * n + i] - mean[i]);

      for (int s = 0; s < N; s++) {
        go += phi[s * n + i] / N;
        for (int j = 0; j < n; j++) spread += phi[s * n + i] * P[s * n + j] * (x[k * n + j] - mean[j]) / N;
      }
      KalAssertNear(y[k * n + i], x[k * n + i] - 0.01 * (go + 3.0 * spread), 1e-12);
    }
  }
}

static void OneStepOfFreshPoints(void **state)
{
  (void)state;
  CheckFlow("-analysis_type gf -gf_step 0.01 -gf_step_spread 3 -run_seed 3");
  CheckFlow("-analysis_type gf -gf_step 0.01 -gf_step_spread 3 -run_seed 3 -gf_derivatives ensemble");
}

/* Independent draws, steps that fall: near the Gaussian. */
static void FreshPointsComeNear(void **state)
{
  double before[N * n], x[N * n], H[n * n], b[n], mean[n], C[n * n];

  (void)state;
  KalCall(Flow("-analysis_type gf -gf_step 0.005 -gf_step_schedule geometric -gf_step_final 1e-4 -analysis_schedule_cycles 2000 -gf_step_spread 3", 2000, before, x));
  Posterior(H, b);
  Moments(x, mean, C);
  for (int i = 0; i < n; i++) {
    double Hm = 0.0;

    for (int j = 0; j < n; j++) Hm += H[i * n + j] * mean[j];
    KalAssertNear(Hm, b[i], 0.2);
    for (int j = 0; j < n; j++) {
      double HC = 0.0;

      for (int k = 0; k < n; k++) HC += H[i * n + k] * C[k * n + j];
      KalAssertNear(HC, i == j ? 1.0 : 0.0, 0.1);
    }
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ParticlesBecomeTheGaussian),
    cmocka_unit_test(OneStep),
    cmocka_unit_test(OneStepOfFreshPoints),
    cmocka_unit_test(FreshPointsComeNear),
};

KAL_TEST_MAIN("analysis gpf", tests)
