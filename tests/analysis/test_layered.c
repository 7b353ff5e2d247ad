/* ranks: 1 3 */
/*
  layered against independent answers: increments of the parameters against central differences of the loss, which they approach
  with the number of perturbations and with a small spread; closed-form posteriors of linear networks under the squared loss.
*/
#include "kaltest.h"

#define SAMPLES 9
#define INPUTS  5
#define HIDDEN  7
#define OUTPUTS 3
#define MOST    (HIDDEN * (INPUTS + 1) + HIDDEN * (HIDDEN + 1) + OUTPUTS * (HIDDEN + 1))

static double inputs[SAMPLES * INPUTS], targets[SAMPLES * OUTPUTS], labels[SAMPLES];

static PetscInt seed;

static void MakeData(void)
{
  for (int i = 0; i < SAMPLES * INPUTS; i++) inputs[i] = sin(1.0 + 1.7 * i);
  for (int i = 0; i < SAMPLES * OUTPUTS; i++) targets[i] = cos(2.3 * i);
  for (int i = 0; i < SAMPLES; i++) labels[i] = i % OUTPUTS;
  seed = 0;
}

/* One cycle: parameters before and after it, and the running mean of the increments. */
static PetscErrorCode OneCycle(const char *options, PetscBool classes, double *before, double *after, double *mean)
{
  KalRun          run;
  KalObservations obs;
  KalAnalysis     analysis;
  KalEnsemble     ensemble, *copy;
  KalModel        model;
  double         *x;
  char            text[64];
  PetscInt        n, first, last;
  PetscMPIInt     size, owner;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, "-analysis_type layered -ensemble_size 1 -run_monitor_every 0 -run_progress 0 -run_cycles 1 -observations_normalize none -layered_momentum 0"));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(PetscSNPrintf(text, sizeof text, "-run_seed %" PetscInt_FMT, seed));
  PetscCall(PetscOptionsInsertString(NULL, text));
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  PetscCall(KalRunGetObservations(run, &obs));
  PetscCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, SAMPLES, INPUTS, inputs, classes ? 0 : OUTPUTS, classes ? labels : targets));
  PetscCall(KalRunSetFromOptions(run));
  PetscCall(KalRunSetQuiet(run, PETSC_TRUE));
  PetscCall(KalRunSetUp(run));
  PetscCall(KalRunGetModel(run, &model));
  PetscCall(KalModelGetSize(model, &n));
  PetscCall(KalModelInitial(model, (KalKey){seed, KAL_DRAW_PRIOR, 0, 0}, before));
  PetscCall(KalRunStep(run));
  PetscCall(KalRunGetAnalysis(run, &analysis));
  PetscCall(KalAnalysisGetEnsemble(analysis, &ensemble, NULL, &copy));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  if (last > first) {
    PetscCall(KalEnsembleGetMember(ensemble, 0, &x));
    PetscCall(PetscArraycpy(after, x, n));
    PetscCall(KalEnsembleGetMember(copy[0], 0, &x));
    PetscCall(PetscArraycpy(mean, x, n));
  }
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  owner = size - 1;
  PetscCallMPI(MPI_Bcast(after, (PetscMPIInt)n, MPI_DOUBLE, owner, PETSC_COMM_WORLD));
  PetscCallMPI(MPI_Bcast(mean, (PetscMPIInt)n, MPI_DOUBLE, owner, PETSC_COMM_WORLD));
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean cross-entropy of a tanh network with two hidden layers, by loops. */
static double Loss(const double *x)
{
  const int width[] = {INPUTS, HIDDEN, HIDDEN, OUTPUTS};
  double    sum     = 0.0;

  for (int s = 0; s < SAMPLES; s++) {
    const double *w = x;
    double        h[HIDDEN], z[HIDDEN], total = 0.0;

    for (int i = 0; i < INPUTS; i++) h[i] = inputs[s * INPUTS + i];
    for (int l = 0; l < 3; l++) {
      const double *b = w + width[l] * width[l + 1];

      for (int u = 0; u < width[l + 1]; u++) {
        z[u] = b[u];
        for (int i = 0; i < width[l]; i++) z[u] += w[u * width[l] + i] * h[i];
      }
      for (int u = 0; u < width[l + 1]; u++) h[u] = tanh(z[u]);
      w = b + width[l + 1];
    }
    for (int u = 0; u < OUTPUTS; u++) total += exp(z[u]);
    sum += log(total) - z[(int)labels[s]];
  }
  return sum / SAMPLES;
}

/* Relative distance of the increments from central differences. */
static double Distance(const char *options)
{
  double before[MOST], after[MOST], mean[MOST], squares = 0.0, norm = 0.0;
  char   all[512];

  snprintf(all, sizeof all, "-mlp_layers 5,7,7,3 -mlp_activation tanh -mlp_prior_scale 0.5 %s", options);
  KalCall(OneCycle(all, PETSC_TRUE, before, after, mean));
  for (int i = 0; i < MOST; i++) {
    const double at = before[i], step = 1e-5;
    double       slope;

    before[i] = at + step;
    slope     = Loss(before);
    before[i] = at - step;
    slope     = (slope - Loss(before)) / (2.0 * step);
    before[i] = at;
    squares += (mean[i] - slope) * (mean[i] - slope);
    norm += slope * slope;
  }
  return sqrt(squares / norm);
}

static void IncrementsApproachTheGradientWithTheirNumber(void **state)
{
  const char *const draws[] = {"normal", "signs"};

  (void)state;
  MakeData();
  for (int d = 0; d < 2; d++) {
    double few = 0.0, many = 0.0;

    for (seed = 0; seed < 4; seed++) {
      char options[256];

      snprintf(options, sizeof options, "-layered_draws %s -layered_spread 1e-4 -layered_perturbations 32", draws[d]);
      few += Distance(options) / 4.0;
      snprintf(options, sizeof options, "-layered_draws %s -layered_spread 1e-4 -layered_perturbations 2048", draws[d]);
      many += Distance(options) / 4.0;
    }
    if (fabs(few / many - 8.0) > 2.5) print_error("%s: %g with 32, %g with 2048\n", draws[d], few, many);
    KalAssert(fabs(few / many - 8.0) <= 2.5);
    KalAssert(many < 0.05);
  }
}

static void IncrementsApproachTheGradientWithTheirSpread(void **state)
{
  double coarse, fine;

  (void)state;
  MakeData();
  coarse = Distance("-layered_draws orthogonal -layered_perturbations 32 -layered_antithetic -layered_spread 0.2");
  fine   = Distance("-layered_draws orthogonal -layered_perturbations 32 -layered_antithetic -layered_spread 0.1");
  KalAssertNear(coarse / fine, 4.0, 0.4); /* pairs leave errors of second order */
  KalAssert(Distance("-layered_draws orthogonal -layered_perturbations 16 -layered_spread 1e-4") < 1e-3);
  KalAssert(Distance("-layered_draws orthogonal -layered_perturbations 32 -layered_antithetic -layered_spread 1e-3") < 1e-5);
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

/* Weights with the prior N(w_0, I/lambda) after observations with unit errors: (F'F + lambda)^-1 (F'y + lambda w_0). */
static void OneSweepOfALinearNetworkIsThePosterior(void **state)
{
  const int F = INPUTS + 1;
  double    before[MOST], after[MOST], mean[MOST], f[SAMPLES * (INPUTS + 1)], lambda = 0.0;

  (void)state;
  MakeData();
  KalCall(OneCycle("-mlp_layers 5,3 -observations_loss squared -layered_variant kalman -layered_scaling covariance -layered_memory 0 -layered_ridge 0.1 -layered_step 1 -layered_spread 1e5", PETSC_FALSE, before, after, mean));
  for (int s = 0; s < SAMPLES; s++) {
    for (int i = 0; i < F; i++) {
      f[s * F + i] = i < INPUTS ? inputs[s * INPUTS + i] : 1.0;
      lambda += 0.1 * f[s * F + i] * f[s * F + i] / F;
    }
  }
  for (int u = 0; u < OUTPUTS; u++) {
    double A[(INPUTS + 1) * (INPUTS + 1)], b[INPUTS + 1];

    for (int i = 0; i < F; i++) {
      b[i] = lambda * before[i < INPUTS ? u * INPUTS + i : OUTPUTS * INPUTS + u];
      for (int s = 0; s < SAMPLES; s++) b[i] += f[s * F + i] * targets[s * OUTPUTS + u];
      for (int j = 0; j < F; j++) {
        A[i * F + j] = i == j ? lambda : 0.0;
        for (int s = 0; s < SAMPLES; s++) A[i * F + j] += f[s * F + i] * f[s * F + j];
      }
    }
    SolveDense(F, A, b);
    for (int i = 0; i < F; i++) KalAssertNear(after[i < INPUTS ? u * INPUTS + i : OUTPUTS * INPUTS + u], b[i], 1e-7);
  }
}

/* A hidden state with the prior N(z, sigma^2) moves by sigma^2 W'(sigma^2 W W' + I)^-1 (y - g): the bias sees the mean of that. */
static void StatesOfALinearNetworkTakeTheirPosterior(void **state)
{
  const double  sigma = 0.7;
  double        before[MOST], after[MOST], mean[MOST], expected[HIDDEN] = {0.0};
  const double *W1 = before, *b1 = W1 + HIDDEN * INPUTS, *W2 = b1 + HIDDEN, *b2 = W2 + OUTPUTS * HIDDEN;

  (void)state;
  MakeData();
  KalCall(OneCycle("-mlp_layers 5,7,3 -mlp_activation linear -observations_loss squared -layered_variant kalman -layered_draws orthogonal -layered_perturbations 16 -layered_spread 0.7", PETSC_FALSE, before, after, mean));
  for (int s = 0; s < SAMPLES; s++) {
    double S[OUTPUTS * OUTPUTS], d[OUTPUTS];

    for (int k = 0; k < OUTPUTS; k++) {
      d[k] = targets[s * OUTPUTS + k] - b2[k];
      for (int u = 0; u < HIDDEN; u++) {
        double z = b1[u];

        for (int i = 0; i < INPUTS; i++) z += W1[u * INPUTS + i] * inputs[s * INPUTS + i];
        d[k] -= W2[k * HIDDEN + u] * z;
      }
      for (int j = 0; j < OUTPUTS; j++) {
        S[k * OUTPUTS + j] = k == j ? 1.0 : 0.0;
        for (int u = 0; u < HIDDEN; u++) S[k * OUTPUTS + j] += sigma * sigma * W2[k * HIDDEN + u] * W2[j * HIDDEN + u];
      }
    }
    SolveDense(OUTPUTS, S, d);
    for (int u = 0; u < HIDDEN; u++) {
      for (int k = 0; k < OUTPUTS; k++) expected[u] += sigma * sigma * W2[k * HIDDEN + u] * d[k] / SAMPLES;
    }
  }
  for (int u = 0; u < HIDDEN; u++) KalAssertNear(-mean[HIDDEN * INPUTS + u], expected[u], 1e-10);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(IncrementsApproachTheGradientWithTheirNumber),
    cmocka_unit_test(IncrementsApproachTheGradientWithTheirSpread),
    cmocka_unit_test(OneSweepOfALinearNetworkIsThePosterior),
    cmocka_unit_test(StatesOfALinearNetworkTakeTheirPosterior),
};

KAL_TEST_MAIN("analysis layered", tests)
