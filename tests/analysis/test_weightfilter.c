/* ranks: 1 2 3 */
/*
  ekf and dekf against independent answers: recursive least squares of a linear network, which after all batches is the posterior of
  all data; one step of dekf on a tanh network with a Jacobian by central differences and a gain by elimination.
*/
#include "kaltest.h"

#define SAMPLES 9
#define INPUTS  5
#define OUTPUTS 3
#define HIDDEN  4
#define MOST    (HIDDEN * (INPUTS + 1) + OUTPUTS * (HIDDEN + 1))

static double inputs[SAMPLES * INPUTS], targets[SAMPLES * OUTPUTS], labels[SAMPLES];

static double Start(int i)
{
  return 0.5 * sin(0.3 + 1.1 * i);
}

static PetscErrorCode Train(const char *options, PetscBool classes, PetscInt cycles, double *x)
{
  KalRun             run;
  KalObservations    obs;
  KalEnsemble        ensemble;
  const PetscScalar *mean;
  double            *member;
  PetscInt           first, last, n;

  PetscFunctionBeginUser;
  for (int i = 0; i < SAMPLES * INPUTS; i++) inputs[i] = sin(1.0 + 1.7 * i);
  for (int i = 0; i < SAMPLES * OUTPUTS; i++) targets[i] = cos(2.3 * i);
  for (int i = 0; i < SAMPLES; i++) labels[i] = i % OUTPUTS;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, "-ensemble_size 1 -run_monitor_every 0 -run_progress 0 -run_cycles 9 -observations_normalize none"));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  PetscCall(KalRunGetObservations(run, &obs));
  PetscCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, SAMPLES, INPUTS, inputs, classes ? 0 : OUTPUTS, classes ? labels : targets));
  PetscCall(KalRunSetFromOptions(run));
  PetscCall(KalRunSetQuiet(run, PETSC_TRUE));
  PetscCall(KalRunSetUp(run));
  PetscCall(KalRunGetEnsemble(run, &ensemble));
  PetscCall(KalEnsembleGetSizes(ensemble, &n, NULL));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  if (last > first) {
    PetscCall(KalEnsembleGetMember(ensemble, 0, &member));
    for (int i = 0; i < n; i++) member[i] = Start(i);
  }
  PetscCall(KalEnsembleChanged(ensemble));
  for (PetscInt k = 0; k < cycles; k++) PetscCall(KalRunStep(run));
  PetscCall(KalEnsembleGetMean(ensemble, &mean));
  PetscCall(PetscArraycpy(x, mean, n));
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x solves A x = b, n x n, by elimination without pivots: A is positive definite. */
static void SolveDense(int n, double *A, double *b)
{
  for (int k = 0; k < n; k++) {
    for (int i = k + 1; i < n; i++) {
      const double f = A[i * n + k] / A[k * n + k];

      for (int j = k; j < n; j++) A[i * n + j] -= f * A[k * n + j];
      b[i] -= f * b[k];
    }
  }
  for (int i = n - 1; i >= 0; i--) {
    for (int j = i + 1; j < n; j++) b[i] -= A[i * n + j] * b[j];
    b[i] /= A[i * n + i];
  }
}

/* (F'F/gamma + I/variance)^-1 (F'y/gamma + w_0/variance) for each unit, F the inputs and 1. */
static void LinearNetworksHaveTheirPosterior(void **state)
{
  const char *const options[] = {"-analysis_type ekf -ekf_variance 3", "-analysis_type dekf -dekf_variance 3", "-analysis_type dekf -dekf_groups layer -dekf_variance 3"};
  const int         F         = INPUTS + 1;
  const double      gamma = 0.5, variance = 3.0;

  (void)state;
  for (int o = 0; o < 3; o++) {
    char   all[256];
    double x[MOST];

    snprintf(all, sizeof all, "%s -mlp_layers 5,3 -observations_loss squared -observations_noise 0.5 -observations_batch 3", options[o]);
    KalCall(Train(all, PETSC_FALSE, 3, x));
    for (int u = 0; u < OUTPUTS; u++) {
      double A[(INPUTS + 1) * (INPUTS + 1)], b[INPUTS + 1];

      for (int i = 0; i < F; i++) {
        b[i] = Start(i < INPUTS ? u * INPUTS + i : OUTPUTS * INPUTS + u) / variance;
        for (int s = 0; s < SAMPLES; s++) b[i] += (i < INPUTS ? inputs[s * INPUTS + i] : 1.0) * targets[s * OUTPUTS + u] / gamma;
        for (int j = 0; j < F; j++) {
          A[i * F + j] = i == j ? 1.0 / variance : 0.0;
          for (int s = 0; s < SAMPLES; s++) A[i * F + j] += (i < INPUTS ? inputs[s * INPUTS + i] : 1.0) * (j < INPUTS ? inputs[s * INPUTS + j] : 1.0) / gamma;
        }
      }
      SolveDense(F, A, b);
      for (int i = 0; i < F; i++) KalAssertNear(x[i < INPUTS ? u * INPUTS + i : OUTPUTS * INPUTS + u], b[i], 1e-10);
    }
  }
}

/* Predictions of the 5-4-3 tanh network for all samples. */
static void Predict(const double *x, double *y)
{
  const double *w2 = x + HIDDEN * (INPUTS + 1);

  for (int s = 0; s < SAMPLES; s++) {
    double h[HIDDEN];

    for (int u = 0; u < HIDDEN; u++) {
      h[u] = x[HIDDEN * INPUTS + u];
      for (int i = 0; i < INPUTS; i++) h[u] += x[u * INPUTS + i] * inputs[s * INPUTS + i];
      h[u] = tanh(h[u]);
    }
    for (int k = 0; k < OUTPUTS; k++) {
      y[s * OUTPUTS + k] = w2[OUTPUTS * HIDDEN + k];
      for (int u = 0; u < HIDDEN; u++) y[s * OUTPUTS + k] += w2[k * HIDDEN + u] * h[u];
    }
  }
}

/* With P = variance I groups do not matter: x <- x + variance H'W (1 + variance H H'W)^-1 ..., W the weight of cross-entropy. */
static void OneStepOfANetwork(void **state)
{
  enum {
    p = SAMPLES * OUTPUTS
  };
  static double H[p * MOST], A[MOST * MOST];
  double        x[MOST], made[2][MOST], up[p], down[p], y[p], W[OUTPUTS * OUTPUTS], b[MOST] = {0.0};

  (void)state;
  KalCall(Train("-analysis_type ekf -mlp_layers 5,4,3 -mlp_activation tanh -ekf_variance 0.7 -ekf_noise 2", PETSC_TRUE, 1, made[0]));
  KalCall(Train("-analysis_type dekf -mlp_layers 5,4,3 -mlp_activation tanh -dekf_variance 0.7 -dekf_noise 2", PETSC_TRUE, 1, made[1]));
  for (int i = 0; i < MOST; i++) x[i] = Start(i);
  Predict(x, y);
  for (int i = 0; i < MOST; i++) {
    x[i] = Start(i) + 1e-5;
    Predict(x, up);
    x[i] = Start(i) - 1e-5;
    Predict(x, down);
    x[i] = Start(i);
    for (int k = 0; k < p; k++) H[k * MOST + i] = (up[k] - down[k]) / 2e-5;
  }
  for (int i = 0; i < MOST * MOST; i++) A[i] = i % (MOST + 1) ? 0.0 : 1.0 / 0.7;
  for (int s = 0; s < SAMPLES; s++) { /* the information form: (H'W H/2 + I/0.7)^-1 H'(t - softmax)/2 */
    const double *h     = H + s * OUTPUTS * MOST;
    double        total = 0.0;

    for (int k = 0; k < OUTPUTS; k++) total += exp(y[s * OUTPUTS + k]);
    for (int k = 0; k < OUTPUTS; k++) {
      const double pk = exp(y[s * OUTPUTS + k]) / total;

      for (int j = 0; j < OUTPUTS; j++) W[k * OUTPUTS + j] = (k == j ? pk : 0.0) - pk * exp(y[s * OUTPUTS + j]) / total;
      for (int i = 0; i < MOST; i++) b[i] += h[k * MOST + i] * ((labels[s] == k ? 1.0 : 0.0) - pk) / 2.0;
    }
    for (int k = 0; k < OUTPUTS; k++) {
      for (int j = 0; j < OUTPUTS; j++) {
        for (int i = 0; i < MOST; i++) {
          for (int m = 0; m < MOST; m++) A[i * MOST + m] += h[k * MOST + i] * W[k * OUTPUTS + j] * h[j * MOST + m] / 2.0;
        }
      }
    }
  }
  SolveDense(MOST, A, b);
  for (int i = 0; i < MOST; i++) {
    KalAssertNear(made[0][i] - Start(i), b[i], 1e-7);
    KalAssertNear(made[1][i], made[0][i], 1e-10);
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(LinearNetworksHaveTheirPosterior),
    cmocka_unit_test(OneStepOfANetwork),
};

KAL_TEST_MAIN("analysis weightfilter", tests)
