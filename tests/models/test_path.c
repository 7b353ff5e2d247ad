/* ranks: 1 */
/*
  Paths: the transposed derivative of their residuals against central differences, for both difference formulas and for activations that have a
  derivative; residuals of a trajectory of RK4 fall as the formulas' orders say; those of a network's own states are 0; what is predicted
  beyond a path's end is the model's forecast.
*/
#include "kaltest.h"

#define MOST 600

static KalModel Make(const char *options)
{
  KalModel model = NULL;

  KalCall(PetscOptionsClear(NULL));
  KalCall(PetscOptionsInsertString(NULL, options));
  KalCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  KalCall(KalModelSetFromOptions(model));
  KalCall(KalModelSetUp(model));
  KalCall(PetscOptionsClear(NULL));
  return model;
}

static double x[MOST], input[MOST], target[MOST], r[MOST], s[MOST], g[MOST];

static double Sum(KalModel model, const KalBatch *batch, PetscInt p, PetscInt q)
{
  double sum = 0.0;

  KalCall(KalModelResiduals(model, batch, x, r, r + p));
  for (PetscInt i = 0; i < p + q; i++) sum += s[i] * r[i];
  return sum;
}

static void CheckAdjoint(const char *options, PetscInt samples, PetscInt measured, PetscInt dynamics)
{
  KalModel model = Make(options);
  KalBatch batch = {.samples = samples, .input = input, .target = target};
  PetscInt n, p, q;
  double   worst = 0.0;

  KalCall(KalModelGetSize(model, &n));
  KalCall(KalModelGetDataSizes(model, &batch.inputs, &batch.outputs));
  KalCall(KalModelEquations(model, &batch, &p, &q));
  KalAssert(p == measured && q == dynamics && n <= MOST && p + q <= MOST);
  for (PetscInt i = 0; i < MOST; i++) {
    target[i] = cos(1.3 * i);
    x[i]      = 0.8 * sin(0.7 * i * i);
    s[i]      = cos(2.3 * i + 1.0);
  }
  KalCall(KalModelResidualsAdjoint(model, &batch, x, s, s + p, g));
  for (PetscInt i = 0; i < n; i++) {
    const double at = x[i], step = 1e-5;
    double       slope;

    x[i]  = at + step;
    slope = Sum(model, &batch, p, q);
    x[i]  = at - step;
    slope = (slope - Sum(model, &batch, p, q)) / (2.0 * step);
    x[i]  = at;
    worst = fmax(worst, fabs(g[i] - slope));
  }
  if (worst > 1e-8) print_error("%s: off by %g\n", options, worst);
  KalAssert(worst <= 1e-8);
  KalCall(KalModelDestroy(&model));
}

static void TheAdjointIsTheDerivative(void **state)
{
  (void)state;
  for (int i = 0; i < 4; i++) input[i] = 0.05 * (i == 3 ? 6 : 2 * i);
  CheckAdjoint("-model_type path -path_model lorenz96 -lorenz96_size 7 -path_steps 6", 4, 28, 42);
  CheckAdjoint("-model_type path -path_model lorenz96 -lorenz96_size 7 -path_steps 7 -path_rule trapezoid -path_observed 0,3,6", 4, 12, 49);
  CheckAdjoint("-model_type path -path_model lorenz96 -lorenz96_size 4 -path_steps 6 -lorenz96_estimate_forcing -path_observed 1", 4, 4, 30);
  for (int i = 0; i < MOST; i++) input[i] = sin(1.0 + 1.7 * i);
  CheckAdjoint("-model_type path -path_model mlp -path_samples 9 -mlp_activation tanh -mlp_layers 3,5,4,2", 9, 45, 99);
  CheckAdjoint("-model_type path -path_model mlp -path_samples 9 -mlp_activation sigmoid -mlp_layers 3,5,2", 9, 45, 63);
  CheckAdjoint("-model_type path -path_model mlp -path_samples 5 -mlp_activation linear -mlp_layers 3,2", 5, 25, 10);
}

/* The largest residual of the dynamics of a trajectory over 0.8 time units. */
static double Largest(const char *rule, int steps)
{
  char       options[256];
  KalModel   model, lorenz;
  double     at[5] = {1.0, 3.0, -2.0, 5.0, 2.0}, *column = at, time[1] = {0.0}, largest = 0.0;
  KalStatus  status  = KAL_MEMBER_OK;
  KalColumns columns = {0, 1, 1, 5, &column};
  KalBatch   batch   = {.samples = 1, .inputs = 1, .outputs = 5, .input = time, .target = target};
  PetscInt   p, q;

  snprintf(options, sizeof options, "-model_type lorenz96 -lorenz96_size 5 -lorenz96_step %.17g", 0.8 / steps);
  lorenz = Make(options);
  snprintf(options, sizeof options, "-model_type path -path_model lorenz96 -lorenz96_size 5 -lorenz96_step %.17g -path_steps %d -path_rule %s", 0.8 / steps, steps, rule);
  model = Make(options);
  for (int k = 0; k <= steps; k++) {
    memcpy(x + 5 * k, at, sizeof at);
    KalCall(KalModelPropagate(lorenz, NULL, 0.0, 0.8 / steps, &columns, &status));
  }
  KalCall(KalModelEquations(model, &batch, &p, &q));
  KalCall(KalModelResiduals(model, &batch, x, r, r + p));
  for (int i = p; i < p + q; i++) largest = fmax(largest, fabs(r[i]));
  KalCall(KalModelDestroy(&model));
  KalCall(KalModelDestroy(&lorenz));
  return largest;
}

/* Residuals of a step: of order 3 for the trapezoidal rule, of 4 for Hermite's formula and of 5 for Simpson's. */
static void FormulasHaveTheirOrders(void **state)
{
  const double trapezoid = Largest("trapezoid", 50) / Largest("trapezoid", 100), simpson = Largest("simpson", 50) / Largest("simpson", 100);

  (void)state;
  KalAssert(trapezoid > 7.0 && trapezoid < 9.0);
  KalAssert(simpson > 14.0 && simpson < 18.0);
}

/* States that the network itself makes miss nothing of its equations; its predictions are the last of them. */
static void ANetworksOwnStatesAreAPath(void **state)
{
  KalModel  model  = Make("-model_type path -path_model mlp -path_samples 6 -mlp_activation tanh -mlp_layers 3,4,2");
  double   *column = x, y[12], *out = y, none[12] = {0.0};
  KalStatus status = KAL_MEMBER_OK;
  KalBatch  batch  = {.samples = 6, .inputs = 3, .outputs = 2, .input = input, .target = none};
  PetscInt  n, p, q;

  (void)state;
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 26 + 6 * 9);
  KalColumns columns = {0, 1, 1, n, &column};
  for (int i = 0; i < 18; i++) input[i] = sin(1.0 + 1.7 * i);
  for (int i = 0; i < 26; i++) x[i] = cos(0.9 * i);
  memcpy(x + 26, input, 18 * sizeof *x);
  for (int m = 0; m < 6; m++) {
    for (int u = 0; u < 4; u++) {
      double z = x[12 + u];

      for (int i = 0; i < 3; i++) z += x[3 * u + i] * input[3 * m + i];
      x[44 + 4 * m + u] = tanh(z);
    }
    for (int u = 0; u < 2; u++) {
      double z = x[24 + u];

      for (int i = 0; i < 4; i++) z += x[16 + 4 * u + i] * x[44 + 4 * m + i];
      x[68 + 2 * m + u] = z;
    }
  }
  KalCall(KalModelEquations(model, &batch, &p, &q));
  KalCall(KalModelResiduals(model, &batch, x, r, r + p));
  for (int i = 0; i < 18; i++) KalAssertNear(r[i], 0.0, 1e-15);
  for (int i = p; i < p + q; i++) KalAssertNear(r[i], 0.0, 1e-14);
  KalCall(KalModelObserve(model, NULL, 0, &columns, &batch, &out, &status));
  for (int i = 0; i < 12; i++) KalAssertNear(y[i], x[68 + i], 1e-14);
  KalCall(KalModelDestroy(&model));
}

static void BeyondItsEndThePathIsForecast(void **state)
{
  KalModel   model = Make("-model_type path -path_model lorenz96 -lorenz96_size 5 -path_steps 4 -path_observed 1,4"), lorenz = Make("-model_type lorenz96 -lorenz96_size 5");
  double    *column = x, time[4] = {0.1, 0.5, 0.2, 0.35}, y[8], *out = y, at[5], *end = at;
  KalStatus  status  = KAL_MEMBER_OK;
  KalColumns columns = {0, 1, 1, 25, &column}, forecast = {0, 1, 1, 5, &end};
  KalBatch   batch = {.samples = 4, .inputs = 1, .outputs = 2, .input = time};

  (void)state;
  for (int i = 0; i < 25; i++) x[i] = 3.0 * sin(0.7 * i * i);
  KalCall(KalModelObserve(model, NULL, 0, &columns, &batch, &out, &status));
  KalAssert(y[0] == x[11] && y[1] == x[14] && y[4] == x[21] && y[5] == x[24]);
  for (int k = 1; k < 4; k += 2) {
    memcpy(at, x + 20, sizeof at);
    KalCall(KalModelPropagate(lorenz, NULL, 0.2, time[k], &forecast, &status));
    KalAssert(y[2 * k] == at[1] && y[2 * k + 1] == at[4]);
  }
  KalCall(KalModelDestroy(&model));
  KalCall(KalModelDestroy(&lorenz));
}

static PetscErrorCode Build(const char *options)
{
  KalModel model;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  PetscCall(KalModelSetFromOptions(model));
  PetscCall(KalModelSetUp(model));
  PetscCall(KalModelDestroy(&model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PathsThatMakeNoSenseAreRefused(void **state)
{
  static const char *const refused[][2] = {
      {"",                                                                       "-path_model lorenz96 or mlp"                },
      {"-path_model lorenz63",                                                   "-path_model lorenz63: the model has no path"},
      {"-path_model lorenz96 -path_steps 3",                                     "-path_steps 3: must be even"                },
      {"-path_model lorenz96 -path_steps 0 -path_rule trapezoid",                "-path_steps 0: must be at least 1"          },
      {"-path_model lorenz96 -path_steps 2 -path_observed 2,40",                 "-path_observed has the entry 40"            },
      {"-path_model lorenz96 -path_steps 2 -path_observed 2,1",                  "its entries ascend"                         },
      {"-path_model lorenz96 -path_steps 2 -path_spread 0",                      "-path_spread 0: it must be more than 0"     },
      {"-path_model mlp -mlp_layers 2,3,1",                                      "-path_samples 0"                            },
      {"-path_model mlp -mlp_layers 2,3,1 -path_samples 4 -mlp_activation sign", "-mlp_activation sign has no derivative"     },
  };

  (void)state;
  for (size_t k = 0; k < sizeof refused / sizeof *refused; k++) {
    char options[256];

    snprintf(options, sizeof options, "-model_type path %s", refused[k][0]);
    KalCallFails(Build(options), refused[k][1]);
  }
  KalCall(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(TheAdjointIsTheDerivative),
    cmocka_unit_test(FormulasHaveTheirOrders),
    cmocka_unit_test(ANetworksOwnStatesAreAPath),
    cmocka_unit_test(BeyondItsEndThePathIsForecast),
    cmocka_unit_test(PathsThatMakeNoSenseAreRefused),
};

KAL_TEST_MAIN("model path", tests)
