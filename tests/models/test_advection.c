/* ranks: 1 2 */
#include "dynamical.h"

/* After n steps a field is where it was, after fewer it is shifted, to the last bit. */
static void Exact(void **state)
{
  static const PetscInt speed[] = {1, 3, -2, 1003, 0};

  (void)state;
  for (int r = 0; r < 5; r++) {
    PetscScalar start[100], x[100];
    KalModel    model;
    char        options[128];
    int         same = 1;

    (void)snprintf(options, sizeof options, "-model_type advection -advection_size 100 -advection_speed %d", (int)speed[r]);
    model = Make(options);
    KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, 0), start));
    memcpy(x, start, sizeof x);
    Run(model, 7.0, x);
    for (PetscInt i = 0; i < 100; i++) same = same && x[((i + 7 * speed[r]) % 100 + 100) % 100] == start[i];
    KalAssert(same);
    Run(model, 93.0, x);
    KalAssert(!memcmp(x, start, sizeof x));
    KalCall(KalModelDestroy(&model));
  }
}

static void Damped(void **state)
{
  PetscScalar start[50], x[50], d[50];
  KalModel    model = Make("-model_type advection -advection_size 50 -advection_damping 0.75 -advection_mean 2");

  (void)state;
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, 0), start));
  memcpy(x, start, sizeof x);
  Run(model, 3.0, x);
  for (PetscInt i = 0; i < 50; i++) KalAssertNear(x[(i + 3) % 50], 0.421875 * start[i], 1e-15);
  CheckTangent(model, 3.0, start, 1e-9);
  memcpy(d, start, sizeof d);
  KalCall(KalModelTangent(model, 0.0, 3.0, x, 1, d));
  KalAssert(!memcmp(x, d, sizeof d)); /* it is linear: the tangent is the model itself */
  KalCall(KalModelDestroy(&model));
}

/* Members are sums of sinusoids of the key's numbers, and so of the stated covariance. */
static void Fields(void **state)
{
  const PetscInt n = 60, waves = 7, draws = 3000;
  PetscScalar    x[60], z[14], product = 0.0, expected = 0.0;
  PetscReal      mean, variance, spread[60];
  KalModel       model = Make("-model_type advection -advection_size 60 -advection_waves 7 -advection_variance 4 -advection_mean 0.5");

  (void)state;
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_TRUTH, 1, 8), x));
  KalCall(KalDrawNormal(KeyOf(KAL_DRAW_TRUTH, 1, 8), 0, 14, z));
  for (PetscInt i = 0; i < n; i++) {
    PetscScalar sum = 0.0;

    for (PetscInt k = 1; k <= waves; k++) sum += z[2 * k - 2] * PetscCosReal(2.0 * PETSC_PI * (PetscReal)(k * i) / n) + z[2 * k - 1] * PetscSinReal(2.0 * PETSC_PI * (PetscReal)(k * i) / n);
    KalAssertNear(x[i], 0.5 + 2.0 / sqrt(7.0) * sum, 1e-13);
  }
  Moments(model, draws, 17, &mean, &variance);
  KalAssertNear(mean, 0.5, 5.0 * 2.0 / sqrt((double)draws));
  KalAssertNear(variance, 4.0, 5.0 * 4.0 * sqrt(2.0 / draws));
  for (PetscInt m = 0; m < draws; m++) {
    KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, m), x));
    product += (x[10] - 0.5) * (x[14] - 0.5) / draws;
  }
  for (PetscInt k = 1; k <= waves; k++) expected += 4.0 / waves * PetscCosReal(2.0 * PETSC_PI * (PetscReal)(4 * k) / n);
  KalAssertNear(product, expected, 5.0 * sqrt(2.0) * 4.0 / sqrt((double)draws));
  KalCall(KalModelSpread(model, spread));
  KalAssert(spread[0] == 2.0 && spread[59] == 2.0);
  CheckInitial(model);
  CheckCircle(model, 60);
  CheckTexts(model, "60 speed 1");
  KalCall(KalModelDestroy(&model));

  model = Make("-model_type advection -advection_size 14 -advection_waves 0 -advection_variance 9");
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_TRUTH, 1, 8), x));
  for (PetscInt i = 0; i < 14; i++) KalAssertNear(x[i], 3.0 * z[i], 1e-15);
  KalCall(KalModelDestroy(&model));
}

/*
  White noise: that of step s is the numbers from s n on of the key with the member's number. The sum of five steps' noise has five
  times its variance.
*/
static void WhiteNoise(void **state)
{
  const PetscInt n = 30, draws = 64;
  PetscScalar    x[30], z[90], many[64 * 30];
  PetscReal      squares = 0.0, sum = 0.0;
  KalStatus      status[64] = {KAL_MEMBER_OK};
  KalModel       model      = Make("-model_type advection -advection_size 30 -advection_noise 0.5 -advection_noise_waves 0");

  (void)state;
  KalCall(KalModelSetKey(model, KeyOf(KAL_DRAW_TRUTH, 12, 99)));
  memset(many, 0, sizeof many);
  Forecast(model, 4.0, 7.0, 6, 1, many, status);
  KalCall(KalDrawNormal(KeyOf(KAL_DRAW_TRUTH, 12, 6), 0, 90, z));
  for (PetscInt i = 0; i < n; i++) x[i] = 0.5 * (z[((i - 2) % n + n) % n] + z[n + ((i - 1) % n + n) % n] + z[2 * n + i]);
  for (PetscInt i = 0; i < n; i++) KalAssertNear(many[6 * n + i], x[i], 1e-14);

  memset(many, 0, sizeof many);
  KalCall(KalModelSetKey(model, KeyOf(KAL_DRAW_NOISE, 12, 0)));
  Forecast(model, 0.0, 5.0, 0, draws, many, status);
  KalAssert(many[6 * n] != x[0]);
  for (PetscInt i = 0; i < draws * n; i++) {
    sum += many[i] / (draws * n);
    squares += many[i] * many[i] / (draws * n);
  }
  KalAssertNear(sum, 0.0, 5.0 * sqrt(1.25 / (draws * n)));
  KalAssertNear(squares, 1.25, 5.0 * 1.25 * sqrt(2.0 / (draws * n)));
  KalCall(KalModelDestroy(&model));
}

/* Noise of few waves: its spectrum holds these waves alone; another cycle has other noise, and truth and members differ. */
static void CorrelatedNoise(void **state)
{
  const PetscInt n = 40;
  PetscScalar    x[3][40];
  PetscReal      power[21], sum = 0.0;
  KalStatus      status = KAL_MEMBER_OK;
  KalModel       model  = Make("-model_type advection -advection_size 40 -advection_noise 2 -advection_noise_waves 3");

  (void)state;
  memset(x, 0, sizeof x);
  for (int r = 0; r < 3; r++) {
    KalCall(KalModelSetKey(model, KeyOf(r == 2 ? KAL_DRAW_TRUTH : KAL_DRAW_NOISE, r == 1 ? 8 : 7, 0)));
    Forecast(model, 0.0, 1.0, 0, 1, x[r], &status);
  }
  KalAssert(x[0][5] != x[1][5] && x[0][5] != x[2][5] && x[1][5] != x[2][5]);
  for (PetscInt k = 0; k <= 20; k++) {
    PetscReal re = 0.0, im = 0.0;

    for (PetscInt i = 0; i < n; i++) {
      re += x[0][i] * PetscCosReal(2.0 * PETSC_PI * (PetscReal)(k * i) / n);
      im += x[0][i] * PetscSinReal(2.0 * PETSC_PI * (PetscReal)(k * i) / n);
    }
    power[k] = (re * re + im * im) / ((PetscReal)n * n);
    sum += power[k];
  }
  KalAssert(power[1] > 0.0 && power[2] > 0.0 && power[3] > 0.0);
  KalAssertNear((power[1] + power[2] + power[3]) / sum, 1.0, 1e-14);
  KalCall(KalModelDestroy(&model));
}

static void Groups(void **state)
{
  static const char *const options[] = {"-model_type advection", "-model_type advection -advection_size 97 -advection_noise 0.1", "-model_type advection -advection_size 50 -advection_noise 0.1 -advection_noise_waves 0 -advection_damping 0.98"};

  (void)state;
  for (int k = 0; k < 3; k++) {
    KalModel model = Make(options[k]);

    CheckGroups(model, 5.0, 0.0);
    CheckNonfinite(model, 5.0);
    KalCall(KalModelDestroy(&model));
  }
}

static void BadInput(void **state)
{
  KalModel    model = Make("-model_type advection -advection_size 10");
  PetscScalar x[10] = {0.0}, *column[1] = {x};
  KalColumns  columns = {0, 1, 1, 10, column};
  KalStatus   status  = KAL_MEMBER_OK;

  (void)state;
  KalCallFails(KalModelPropagate(model, NULL, 0.0, 1.5, &columns, &status), "whole number");
  KalCall(KalModelDestroy(&model));
  Refused("-model_type advection -advection_size 2", "-advection_size 2: allowed are 3 to");
  Refused("-model_type advection -advection_damping 1.5", "-advection_damping 1.5");
  Refused("-model_type advection -advection_damping 0", "-advection_damping 0: it must be more than 0");
  Refused("-model_type advection -advection_size 20 -advection_waves 10", "allowed are 1 to 9 wave numbers");
  Refused("-model_type advection -advection_noise_waves -1", "-advection_noise_waves -1");
  Refused("-model_type advection -advection_noise -0.1", "-advection_noise -0.1: it must be at least 0");
  Refused("-model_type advection -advection_variance inf", "-advection_variance inf: it must be finite");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Exact),
    cmocka_unit_test(Damped),
    cmocka_unit_test(Fields),
    cmocka_unit_test(WhiteNoise),
    cmocka_unit_test(CorrelatedNoise),
    cmocka_unit_test(Groups),
    cmocka_unit_test(BadInput),
};

KAL_TEST_MAIN("advection", tests)
