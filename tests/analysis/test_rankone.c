/* ranks: 1 3 */
/*
  haber with perturbations of rank one, and with the projection on what a batch sees, against its formula in dense loops over members
  whose weights are made one by one; against central differences of the loss, which increments approach with the number of members.
*/
#include "kaltest.h"

#define SAMPLES 5
#define INPUTS  12
#define HIDDEN  7
#define OUTPUTS 3
#define FIRST   (HIDDEN * (INPUTS + 1))
#define SIZE    (FIRST + OUTPUTS * (HIDDEN + 1))
#define P       (SAMPLES * OUTPUTS)
#define N       14
#define DRAWS   (HIDDEN + INPUTS + 1 + OUTPUTS + HIDDEN + 1)
#define NETWORK "-mlp_layers 12,7,3 -mlp_activation tanh -mlp_prior_scale 0.5 -mlp_prior_bias_scale 0.2 -observations_loss squared -observations_noise 0.25"

static double   inputs[SAMPLES * INPUTS], targets[P];
static PetscInt seed;

static void MakeData(void)
{
  for (int i = 0; i < SAMPLES * INPUTS; i++) inputs[i] = sin(1.0 + 1.7 * i);
  for (int i = 0; i < P; i++) targets[i] = cos(2.3 * i);
  seed = 3;
}

/* The network before one cycle and after it. */
static PetscErrorCode Cycle(KalRun run, double *before, double *after)
{
  KalObservations    obs;
  KalModel           model;
  KalEnsemble        ensemble;
  const PetscScalar *mean;

  PetscFunctionBeginUser;
  PetscCall(KalRunGetObservations(run, &obs));
  PetscCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, SAMPLES, INPUTS, inputs, OUTPUTS, targets));
  PetscCall(KalRunSetFromOptions(run));
  PetscCall(KalRunSetQuiet(run, PETSC_TRUE));
  PetscCall(KalRunSetUp(run));
  PetscCall(KalRunGetModel(run, &model));
  PetscCall(KalModelInitial(model, (KalKey){seed, KAL_DRAW_CENTER, 0, 0}, before));
  PetscCall(KalRunStep(run));
  PetscCall(KalRunGetEnsemble(run, &ensemble));
  PetscCall(KalEnsembleGetMean(ensemble, &mean));
  PetscCall(PetscArraycpy(after, mean, SIZE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The network before and after one cycle; a run that fails is given back too. */
static PetscErrorCode OneCycle(const char *options, double *before, double *after)
{
  PetscErrorCode code;
  KalRun         run;
  char           text[64];

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, "-analysis_type haber -haber_step 1 -run_monitor_every 0 -run_progress 0 -run_cycles 1 -run_evaluate_ensemble 0 -observations_normalize none " NETWORK));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(PetscSNPrintf(text, sizeof text, "-run_seed %" PetscInt_FMT, seed));
  PetscCall(PetscOptionsInsertString(NULL, text));
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  code = Cycle(run, before, after);
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(code);
}

static void Predict(const double *x, double *g)
{
  for (int s = 0; s < SAMPLES; s++) {
    double h[HIDDEN];

    for (int u = 0; u < HIDDEN; u++) {
      h[u] = x[HIDDEN * INPUTS + u];
      for (int i = 0; i < INPUTS; i++) h[u] += x[u * INPUTS + i] * inputs[s * INPUTS + i];
      h[u] = tanh(h[u]);
    }
    for (int k = 0; k < OUTPUTS; k++) {
      g[s * OUTPUTS + k] = x[FIRST + OUTPUTS * HIDDEN + k];
      for (int u = 0; u < HIDDEN; u++) g[s * OUTPUTS + k] += x[FIRST + k * HIDDEN + u] * h[u];
    }
  }
}

static double Loss(const double *x)
{
  double g[P], sum = 0.0;

  Predict(x, g);
  for (int i = 0; i < P; i++) sum += 0.5 * (g[i] - targets[i]) * (g[i] - targets[i]) / 0.25;
  return sum;
}

/* Departure of a member from the network: signs of units times factors of features, layer by layer; biases behind weights. */
static PetscErrorCode Perturbation(PetscInt member, double spread, PetscBool antithetic, double *x)
{
  const int    units[] = {HIDDEN, OUTPUTS}, features[] = {INPUTS, HIDDEN};
  const double mirror = antithetic && member % 2 ? -1.0 : 1.0;
  float        z[DRAWS], *at = z;

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormalSingle((KalKey){seed, KAL_DRAW_PERTURBATION, 0, antithetic ? member / 2 : member}, 0, DRAWS, z));
  for (int l = 0; l < 2; l++) {
    for (int u = 0; u < units[l]; u++) {
      const double sign = mirror * (at[u] < 0.0F ? -1.0 : 1.0);

      for (int i = 0; i < features[l]; i++) x[u * features[l] + i] = sign * spread * 0.5 * (double)at[units[l] + i];
      x[units[l] * features[l] + u] = sign * spread * 0.2 * (double)at[units[l] + features[l]];
    }
    x += units[l] * (features[l] + 1);
    at += units[l] + features[l] + 1;
  }
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

/* g <- V F' (F V F')^{-1} F g for each unit of the first layer */
static void Project(double *x)
{
  const double v[2] = {0.25, 0.04};

  for (int u = 0; u < HIDDEN; u++) {
    double A[SAMPLES * SAMPLES], t[SAMPLES], *w = x + u * INPUTS, *b = x + HIDDEN * INPUTS + u;

    for (int r = 0; r < SAMPLES; r++) {
      t[r] = *b;
      for (int i = 0; i < INPUTS; i++) t[r] += w[i] * inputs[r * INPUTS + i];
      for (int s = 0; s < SAMPLES; s++) {
        A[r * SAMPLES + s] = v[1];
        for (int i = 0; i < INPUTS; i++) A[r * SAMPLES + s] += v[0] * inputs[r * INPUTS + i] * inputs[s * INPUTS + i];
      }
    }
    SolveDense(SAMPLES, A, t);
    *b = 0.0;
    for (int i = 0; i < INPUTS; i++) w[i] = 0.0;
    for (int r = 0; r < SAMPLES; r++) {
      *b += v[1] * t[r];
      for (int i = 0; i < INPUTS; i++) w[i] += v[0] * t[r] * inputs[r * INPUTS + i];
    }
  }
}

/* Omega c with c = (Q'Q + damping tr/N)^{-1} Q'r, less its mean. */
static PetscErrorCode Increment(const double *theta, double spread, double damping, PetscBool antithetic, double *y)
{
  double omega[N][SIZE], Q[N][P], S[N * N], c[N], center[P], mean[P] = {0.0}, trace = 0.0, average = 0.0;

  PetscFunctionBeginUser;
  Predict(theta, center);
  for (int j = 0; j < N; j++) {
    double x[SIZE];

    PetscCall(Perturbation(j, spread, antithetic, omega[j]));
    for (int i = 0; i < SIZE; i++) x[i] = theta[i] + omega[j][i];
    Predict(x, Q[j]);
    for (int i = 0; i < P; i++) mean[i] += Q[j][i] / N;
  }
  for (int j = 0; j < N; j++) {
    c[j] = 0.0;
    for (int i = 0; i < P; i++) Q[j][i] = (Q[j][i] - mean[i]) / 0.5;
    for (int i = 0; i < P; i++) c[j] += Q[j][i] * (targets[i] - center[i]) / 0.5;
    for (int i = 0; i < P; i++) trace += Q[j][i] * Q[j][i];
  }
  for (int j = 0; j < N; j++) {
    for (int k = 0; k < N; k++) {
      S[j * N + k] = j == k ? damping * trace / N : 0.0;
      for (int i = 0; i < P; i++) S[j * N + k] += Q[j][i] * Q[k][i];
    }
  }
  SolveDense(N, S, c);
  for (int j = 0; j < N; j++) average += c[j] / N;
  for (int i = 0; i < SIZE; i++) {
    y[i] = 0.0;
    for (int j = 0; j < N; j++) y[i] += (c[j] - average) * omega[j][i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  A cycle of flipout: members in blocks of 16, which share factors; signs are those of Hadamard's matrix, times those of each sample. q =
  (Q Q' + gamma)^{-1} r; a sample's states move by the regression of q'Q on what it saw, its weights by V f/f'Vf.
*/
#define BLOCK 16
#define FLIPN (2 * BLOCK)

typedef struct {
  double t[2][FLIPN][SAMPLES], s[2][FLIPN][SAMPLES][HIDDEN]; /* by layer */
} Seen;

static PetscErrorCode FlippedPredict(const double *theta, double spread, PetscInt member, Seen *seen, double *g)
{
  unsigned int bits[2][SAMPLES];
  float        z[DRAWS];

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormalSingle((KalKey){seed, KAL_DRAW_PERTURBATION, 0, member / BLOCK}, 0, DRAWS, z));
  for (int l = 0; l < 2; l++) PetscCall(KalDrawBits((KalKey){seed, KAL_DRAW_LAYER, 0, l}, 0, SAMPLES, bits[l]));
  for (int s = 0; s < SAMPLES; s++) {
    const double *f = inputs + s * INPUTS, *w = theta;
    const float  *b = z + HIDDEN;
    double        h[HIDDEN], out[HIDDEN];

    for (int l = 0, F = INPUTS, units = HIDDEN; l < 2; l++, F = HIDDEN, units = OUTPUTS) {
      double t = spread * 0.2 * (double)b[F];

      for (int i = 0; i < F; i++) t += spread * 0.5 * (double)b[i] * f[i];
      seen->t[l][member][s] = t;
      for (int u = 0; u < units; u++) {
        int sign = (bits[l][s] >> u & 1) ? 1 : -1, unit = l * HIDDEN + u + 1;

        for (int k = 0; k < 4; k++) {
          if ((member % BLOCK) >> k & unit >> k & 1) sign = -sign;
        }
        seen->s[l][member][s][u] = sign;
        out[u]                   = w[units * F + u] + sign * t;
        for (int i = 0; i < F; i++) out[u] += w[u * F + i] * f[i];
      }
      for (int u = 0; u < units; u++) h[u] = tanh(out[u]);
      w += units * (F + 1);
      b += F + 1 + OUTPUTS;
      f = h;
    }
    for (int k = 0; k < OUTPUTS; k++) g[s * OUTPUTS + k] = out[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FlippedMove(const double *theta, double spread, const double *q, double Q[FLIPN][P], const Seen *seen, double *y)
{
  for (int i = 0; i < SIZE; i++) y[i] = 0.0;
  for (int s = 0; s < SAMPLES; s++) {
    double f[2][INPUTS + 1], c[FLIPN], mean = 0.0, *at = y;

    for (int i = 0; i < INPUTS; i++) f[0][i] = inputs[s * INPUTS + i];
    for (int u = 0; u < HIDDEN; u++) {
      f[1][u] = theta[HIDDEN * INPUTS + u];
      for (int i = 0; i < INPUTS; i++) f[1][u] += theta[u * INPUTS + i] * f[0][i];
      f[1][u] = tanh(f[1][u]);
    }
    f[0][INPUTS] = f[1][HIDDEN] = 1.0;
    for (int j = 0; j < FLIPN; j++) {
      c[j] = 0.0;
      for (int k = 0; k < OUTPUTS; k++) c[j] += Q[j][s * OUTPUTS + k] * q[s * OUTPUTS + k];
      mean += c[j] / FLIPN;
    }
    for (int l = 0, F = INPUTS, units = HIDDEN; l < 2; l++, F = HIDDEN, units = OUTPUTS) {
      double expected = 0.0, squares = 0.0;

      for (int i = 0; i <= F; i++) expected += f[l][i] * f[l][i] * (i < F ? 0.25 : 0.04);
      for (int j = 0; j < FLIPN; j++) squares += pow(seen->t[l][j][s], 2);
      for (int u = 0; u < units; u++) {
        double delta = 0.0;

        for (int j = 0; j < FLIPN; j++) delta += (c[j] - mean) * seen->t[l][j][s] * seen->s[l][j][s][u];
        delta /= squares / (spread * spread * FLIPN) + 0.1 * expected;
        for (int i = 0; i < F; i++) at[u * F + i] += delta * 0.25 * f[l][i];
        at[units * F + u] += delta * 0.04;
      }
      at += units * (F + 1);
    }
  }
}

static PetscErrorCode FlippedIncrement(const double *theta, double spread, double damping, double *y)
{
  static Seen   seen;
  static double Q[FLIPN][P], S[FLIPN * FLIPN];
  double        c[FLIPN], center[P], q[P], mean[P] = {0.0}, gamma = 0.0;

  PetscFunctionBeginUser;
  Predict(theta, center);
  for (int j = 0; j < FLIPN; j++) {
    PetscCall(FlippedPredict(theta, spread, j, &seen, Q[j]));
    for (int i = 0; i < P; i++) mean[i] += Q[j][i] / FLIPN;
  }
  for (int j = 0; j < FLIPN; j++) {
    c[j] = 0.0;
    for (int i = 0; i < P; i++) {
      Q[j][i] = (Q[j][i] - mean[i]) / 0.5;
      c[j] += Q[j][i] * (targets[i] - center[i]) / 0.5;
      gamma += damping * Q[j][i] * Q[j][i] / FLIPN;
    }
  }
  for (int j = 0; j < FLIPN; j++) {
    for (int k = 0; k < FLIPN; k++) {
      S[j * FLIPN + k] = j == k ? gamma : 0.0;
      for (int i = 0; i < P; i++) S[j * FLIPN + k] += Q[j][i] * Q[k][i];
    }
  }
  SolveDense(FLIPN, S, c);
  for (int i = 0; i < P; i++) {
    q[i] = (targets[i] - center[i]) / 0.5;
    for (int j = 0; j < FLIPN; j++) q[i] -= c[j] * Q[j][i];
    q[i] /= gamma;
  }
  FlippedMove(theta, spread, q, Q, &seen, y);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Distance(const double *a, const double *b)
{
  double squares = 0.0, norm = 0.0;

  for (int i = 0; i < SIZE; i++) {
    squares += (a[i] - b[i]) * (a[i] - b[i]);
    norm += b[i] * b[i];
  }
  return sqrt(squares / norm);
}

static void ACycleIsItsFormula(void **state)
{
  const struct {
    const char *options;
    PetscBool   antithetic, project;
    double      tolerance;
  } cases[] = {
      {"-haber_draws rank-one",                                                PETSC_FALSE, PETSC_FALSE, 1e-6},
      {"-haber_draws rank-one -haber_antithetic",                              PETSC_TRUE,  PETSC_FALSE, 1e-6},
      {"-haber_draws rank-one -haber_project",                                 PETSC_FALSE, PETSC_TRUE,  1e-4},
      {"-haber_draws rank-one -haber_project -model_precision single",         PETSC_FALSE, PETSC_TRUE,  1e-3},
      {"-haber_draws rank-one -run_schedule dynamic -analysis_space ensemble", PETSC_FALSE, PETSC_FALSE, 1e-6},
  };

  (void)state;
  MakeData();
  for (size_t t = 0; t < sizeof cases / sizeof cases[0]; t++) {
    double before[SIZE], after[SIZE], y[SIZE];
    char   options[256];

    snprintf(options, sizeof options, "%s -ensemble_size %d -haber_spread 0.3 -haber_damping 0.7", cases[t].options, N);
    KalCall(OneCycle(options, before, after));
    KalCall(Increment(before, 0.3, 0.7, cases[t].antithetic, y));
    if (cases[t].project) Project(y);
    for (int i = 0; i < SIZE; i++) after[i] -= before[i];
    if (Distance(after, y) > cases[t].tolerance) print_error("%s: off by %g\n", cases[t].options, Distance(after, y));
    KalAssert(Distance(after, y) <= cases[t].tolerance);
  }
}

static void AFlippedCycleIsItsFormula(void **state)
{
  const char *const options[]   = {"", "-model_precision single"};
  const double      tolerance[] = {1e-6, 1e-3};

  (void)state;
  MakeData();
  for (int t = 0; t < 2; t++) {
    double before[SIZE], after[SIZE], y[SIZE];
    char   all[256];

    snprintf(all, sizeof all, "-haber_draws flipout -ensemble_size %d -haber_spread 0.3 -haber_damping 0.7 %s", FLIPN, options[t]);
    KalCall(OneCycle(all, before, after));
    KalCall(FlippedIncrement(before, 0.3, 0.7, y));
    for (int i = 0; i < SIZE; i++) after[i] -= before[i];
    if (Distance(after, y) > tolerance[t]) print_error("%s: off by %g\n", all, Distance(after, y));
    KalAssert(Distance(after, y) <= tolerance[t]);
  }
}

/* Some members overflow: the others move the network, and stay finite; survivors are counted, also where there is none. */
static void FailedMembersSayNothing(void **state)
{
  static const char *const draws[]   = {"rank-one", "flipout"};
  static const char        network[] = "-ensemble_size 32 -haber_damping 0.7 -haber_step 1e20 -model_precision single -mlp_activation relu";
  double                   before[SIZE], after[SIZE];
  char                     options[256];

  (void)state;
  MakeData();
  for (int k = 0; k < 2; k++) {
    PetscBool moved = PETSC_FALSE;

    snprintf(options, sizeof options, "%s -haber_draws %s -haber_spread 1e19 -run_survivors 2", network, draws[k]);
    KalCall(OneCycle(options, before, after));
    for (int i = 0; i < SIZE; i++) KalAssert(isfinite(after[i]));
    for (int i = 0; i < SIZE; i++) moved = (PetscBool)(moved || after[i] != before[i]);
    KalAssert(moved);
    snprintf(options, sizeof options, "%s -haber_draws %s -haber_spread 1e19 -run_survivors 32", network, draws[k]);
    KalCallFails(OneCycle(options, before, after), "of 32 members survived cycle 1; at least 32 are needed (-run_survivors)");
    snprintf(options, sizeof options, "%s -haber_draws %s -haber_spread 1e24", network, draws[k]);
    KalCallFails(OneCycle(options, before, after), "Only 0 of 32 members survived cycle 1; at least 16 are needed (-run_survivors)");
  }
}

/* The first step along moments is of unit length in every weight. */
static void MomentsScaleIncrements(void **state)
{
  double before[SIZE], plain[SIZE], scaled[SIZE];

  (void)state;
  MakeData();
  KalCall(OneCycle("-haber_draws flipout -ensemble_size 16 -haber_damping 1e3", before, plain));
  KalCall(OneCycle("-haber_draws flipout -ensemble_size 16 -haber_damping 1e3 -haber_scaling moments -haber_momentum 0.9 -haber_step 0.01", before, scaled));
  for (int i = 0; i < SIZE; i++) KalAssertNear(scaled[i] - before[i], plain[i] > before[i] ? 0.01 : -0.01, 1e-9);
}

/* Angle between an increment under strong damping and the gradient in the prior's metric. */
static double Angle(const char *options)
{
  double before[SIZE], after[SIZE], product = 0.0, norm = 0.0, squares = 0.0;
  char   all[256];

  snprintf(all, sizeof all, "-haber_spread 1e-3 -haber_damping 1e6 -haber_step 1e6 %s", options);
  KalCall(OneCycle(all, before, after));
  for (int i = 0; i < SIZE; i++) {
    const double at = before[i], step = 1e-5, moved = after[i] - at, sd = (i >= HIDDEN * INPUTS && i < FIRST) || i >= FIRST + OUTPUTS * HIDDEN ? 0.2 : 0.5;
    double       slope;

    before[i] = at + step;
    slope     = Loss(before);
    before[i] = at - step;
    slope     = -sd * (slope - Loss(before)) / (2.0 * step);
    before[i] = at;
    product += slope * moved / sd;
    norm += slope * slope;
    squares += moved * moved / (sd * sd);
  }
  return acos(product / sqrt(norm * squares));
}

static double MeanAngle(const char *options)
{
  double sum = 0.0;

  for (seed = 0; seed < 6; seed++) sum += Angle(options) / 6.0;
  return sum;
}

static void IncrementsApproachTheGradientWithTheirNumber(void **state)
{
  double few, many, projected, independent;

  (void)state;
  MakeData();
  few         = MeanAngle("-haber_draws rank-one -ensemble_size 512");
  many        = MeanAngle("-haber_draws rank-one -ensemble_size 8192");
  projected   = MeanAngle("-haber_draws rank-one -haber_project -ensemble_size 512");
  independent = MeanAngle("-haber_project -ensemble_size 512");
  if (fabs(few / many - 4.0) > 1.0) print_error("%g with 512, %g with 8192\n", few, many);
  KalAssert(fabs(few / many - 4.0) <= 1.0);
  KalAssert(many < 0.2);
  /* 5 of the 13 directions of the first layer's units are left, so that 59 of 115 are */
  if (fabs(projected / few - sqrt(59.0 / 115.0)) > 0.12) print_error("%g projected, %g without, %g of independent draws\n", projected, few, independent);
  KalAssert(fabs(projected / few - sqrt(59.0 / 115.0)) <= 0.12);
  KalAssert(fabs(independent / projected - 1.0) < 0.2);
}

static void FlippedIncrementsAreCloseToTheGradient(void **state)
{
  double few, many;

  (void)state;
  MakeData();
  few  = MeanAngle("-haber_draws flipout -ensemble_size 256");
  many = MeanAngle("-haber_draws flipout -ensemble_size 4096");
  if (few > 0.03 || many > few / 3.0) print_error("%g with 256, %g with 4096\n", few, many);
  KalAssert(few < 0.03 && many < few / 3.0); /* independent draws need 2^18 members for 0.02 */
}

static void WhatABatchSeesStays(void **state)
{
  double before[SIZE], whole[SIZE], projected[SIZE];

  (void)state;
  MakeData();
  KalCall(OneCycle("-ensemble_size 14", before, whole));
  KalCall(OneCycle("-ensemble_size 14 -haber_project", before, projected));
  for (int i = FIRST; i < SIZE; i++) KalAssert(whole[i] == projected[i]); /* the second layer is not projected */
  for (int s = 0; s < SAMPLES; s++) {                                     /* and what the batch sees of the first is as it was */
    for (int u = 0; u < HIDDEN; u++) {
      double t[2] = {whole[HIDDEN * INPUTS + u], projected[HIDDEN * INPUTS + u]};

      for (int i = 0; i < INPUTS; i++) {
        t[0] += whole[u * INPUTS + i] * inputs[s * INPUTS + i];
        t[1] += projected[u * INPUTS + i] * inputs[s * INPUTS + i];
      }
      KalAssertNear(t[0], t[1], 1e-5);
    }
  }
}

static void ModelsWithoutLayersAreRefused(void **state)
{
  const char *const options[] = {"-haber_draws rank-one", "-haber_project"};

  (void)state;
  for (int k = 0; k < 2; k++) {
    KalAnalysis analysis;

    KalCall(PetscOptionsClear(NULL));
    KalCall(PetscOptionsInsertString(NULL, options[k]));
    KalCall(KalAnalysisCreate(PETSC_COMM_WORLD, &analysis));
    KalCall(KalAnalysisSetType(analysis, "haber"));
    KalCall(KalAnalysisSetSizes(analysis, 5, 6));
    KalCall(KalAnalysisSetFromOptions(analysis));
    KalCallFails(KalAnalysisSetUp(analysis), "this -model_type has none: take mlp or cnn");
    KalCall(KalAnalysisDestroy(&analysis));
  }
  KalCall(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ACycleIsItsFormula),
    cmocka_unit_test(AFlippedCycleIsItsFormula),
    cmocka_unit_test(FailedMembersSayNothing),
    cmocka_unit_test(MomentsScaleIncrements),
    cmocka_unit_test(IncrementsApproachTheGradientWithTheirNumber),
    cmocka_unit_test(FlippedIncrementsAreCloseToTheGradient),
    cmocka_unit_test(WhatABatchSeesStays),
    cmocka_unit_test(ModelsWithoutLayersAreRefused),
};

KAL_TEST_MAIN("analysis rank-one", tests)
