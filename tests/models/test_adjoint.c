/* ranks: 1 */
/*
  The adjoint of mlp against central differences of a weighted sum of predictions, for each activation that has one; relu's
  derivative of 0 at 0; the same bits whatever columns are given together; single precision near double.
*/
#include "kaltest.h"

#define MOST    8000
#define SAMPLES 101 /* more than one block */
#define OUTPUTS 3

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

static double input[SAMPLES * 40], weight[2][SAMPLES * OUTPUTS], x[2][MOST], g[2][MOST], alone[MOST];
static float  single[SAMPLES * 40];

static PetscErrorCode Given(void *ctx, PetscInt column, PetscInt first, PetscInt samples, const PetscScalar *y, PetscScalar *s)
{
  (void)y;
  return PetscArraycpy(s, weight[column + *(int *)ctx] + first * OUTPUTS, (size_t)(samples * OUTPUTS));
}

/* The sum of weighted predictions of column k. */
static double Sum(KalModel model, const KalBatch *batch, PetscInt n, int k)
{
  static double y[SAMPLES * OUTPUTS];
  double       *column = x[k], *out = y, sum = 0.0;
  KalStatus     status  = KAL_MEMBER_OK;
  KalColumns    columns = {0, 1, 1, n, &column};

  KalCall(KalModelObserve(model, NULL, 0, &columns, batch, &out, &status));
  for (int i = 0; i < SAMPLES * OUTPUTS; i++) sum += weight[k][i] * y[i];
  return sum;
}

static void Fill(PetscInt inputs, PetscInt n)
{
  for (int i = 0; i < SAMPLES * inputs; i++) single[i] = (float)(input[i] = sin(1.0 + 1.7 * i));
  for (int k = 0; k < 2; k++) {
    for (int i = 0; i < SAMPLES * OUTPUTS; i++) weight[k][i] = cos(2.3 * i + k);
    for (int i = 0; i < n; i++) x[k][i] = 0.4 * sin(0.7 * i * i + 3.0 * k);
  }
}

static void Check(const char *layers, const char *activation, const char *precision, double tol)
{
  KalModel model;
  char     options[256];
  PetscInt n, inputs;
  int      none = 0, one = 1, is = !strcmp(precision, "single");
  double  *columns[2] = {x[0], x[1]}, *made[2] = {g[0], g[1]}, *second = alone, worst = 0.0;

  snprintf(options, sizeof options, "-mlp_layers %s -mlp_activation %s -model_precision %s", layers, activation, precision);
  model = Make(options);
  KalCall(KalModelGetSize(model, &n));
  KalCall(KalModelGetDataSizes(model, &inputs, NULL));
  KalAssert(n <= MOST);
  Fill(inputs, n);
  KalColumns all = {0, 2, 2, n, columns}, last = {1, 1, 2, n, columns + 1};
  KalBatch   batch = {.samples = SAMPLES, .inputs = inputs, .outputs = OUTPUTS, .precision = is ? KAL_SINGLE : KAL_DOUBLE, .input = is ? (void *)single : (void *)input};
  KalCall(KalModelAdjoint(model, &all, &batch, Given, &none, made));
  KalCall(KalModelAdjoint(model, &last, &batch, Given, &one, &second));
  KalAssert(!memcmp(g[1], alone, (size_t)n * sizeof *alone));
  for (int k = 0; k < 2; k++) {
    for (PetscInt i = 0; i<n; i += n> 500 ? 7 : 1) {
      const double at = x[k][i], step = is ? 1e-2 : 1e-6;
      double       slope;

      x[k][i] = at + step;
      slope   = Sum(model, &batch, n, k);
      x[k][i] = at - step;
      slope   = (slope - Sum(model, &batch, n, k)) / (2.0 * step);
      x[k][i] = at;
      worst   = fmax(worst, fabs(g[k][i] - slope) / fmax(1.0, fabs(slope)));
    }
  }
  if (worst > tol) print_error("%s: off by %g\n", options, worst);
  KalAssert(worst <= tol);
  KalCall(KalModelDestroy(&model));
}

static void TheAdjointIsTheDerivative(void **state)
{
  (void)state;
  Check("5,7,3", "tanh", "double", 1e-6);
  Check("5,7,3", "sigmoid", "double", 1e-6);
  Check("5,7,3", "relu", "double", 1e-6);
  Check("5,7,3", "linear", "double", 1e-6);
  Check("5,3", "linear", "double", 1e-6);
  Check("37,29,13,17,3", "tanh", "double", 1e-6);
  Check("37,1,41,3", "relu", "double", 1e-6);
}

static void SinglePrecisionIsNearIt(void **state)
{
  (void)state;
  Check("37,29,13,3", "tanh", "single", 2e-2);
  Check("5,3", "linear", "single", 2e-3);
}

/* 1-1-1 networks: y = v act(w t + b) + c; at w = b = 0 the derivative by w is v act'(0) t. */
static void ReluHasNoSlopeAtZero(void **state)
{
  double     at[4] = {0.0, 0.0, 2.0, 0.5}, made[4], t[1] = {3.0}, *column = at, *out = made;
  KalColumns columns = {0, 1, 1, 4, &column};
  KalBatch   batch   = {.samples = 1, .inputs = 1, .outputs = 1, .input = t};
  KalModel   model   = Make("-mlp_layers 1,1,1 -mlp_activation relu");
  int        none    = 0;

  (void)state;
  for (int i = 0; i < SAMPLES * OUTPUTS; i++) weight[0][i] = 1.0;
  KalCall(KalModelAdjoint(model, &columns, &batch, Given, &none, &out));
  KalAssert(made[0] == 0.0 && made[1] == 0.0 && made[2] == 0.0 && made[3] == 1.0);
  at[1] = 0.25;
  KalCall(KalModelAdjoint(model, &columns, &batch, Given, &none, &out));
  KalAssert(made[0] == 6.0 && made[1] == 2.0 && made[2] == 0.25 && made[3] == 1.0);
  KalCall(KalModelDestroy(&model));
}

static void StepsHaveNoAdjoint(void **state)
{
  const char *const refused[] = {"heaviside", "sign", "steps"};
  double            at[4] = {0.0}, made[4], t[1] = {3.0}, *column = at, *out = made;
  KalColumns        columns = {0, 1, 1, 4, &column};
  KalBatch          batch   = {.samples = 1, .inputs = 1, .outputs = 1, .input = t};
  int               none    = 0;

  (void)state;
  for (int a = 0; a < 3; a++) {
    char     options[64], message[64];
    KalModel model;

    snprintf(options, sizeof options, "-mlp_layers 1,1,1 -mlp_activation %s", refused[a]);
    snprintf(message, sizeof message, "The model mlp 1,1,1 %s", refused[a]);
    model = Make(options);
    KalCallFails(KalModelAdjoint(model, &columns, &batch, Given, &none, &out), message);
    KalCall(KalModelDestroy(&model));
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(TheAdjointIsTheDerivative),
    cmocka_unit_test(SinglePrecisionIsNearIt),
    cmocka_unit_test(ReluHasNoSlopeAtZero),
    cmocka_unit_test(StepsHaveNoAdjoint),
};

KAL_TEST_MAIN("model adjoint", tests)
