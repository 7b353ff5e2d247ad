/* ranks: 1 2 */
#include "dynamical.h"

#define POINTS 128

/* Kassam and Trefethen's start, at the points x = length/n, ..., length. */
static void Start(PetscInt n, PetscScalar *x)
{
  for (PetscInt i = 0; i < n; i++) {
    const PetscReal q = 2.0 * PETSC_PI * (PetscReal)(i + 1) / (PetscReal)n;

    x[i] = PetscCosReal(q) * (1.0 + PetscSinReal(q));
  }
}

static const int At[6] = {0, 1, 31, 64, 100, 127};

/*
  Numbers of NumPy: ETD-RK4 with complex transforms, its coefficients by their formulas in decimal arithmetic of 80 digits and
  not by contour integrals.
*/
static void SchemeNumbers(void **state)
{
  const PetscScalar one[6]  = {1.0191105112515, 1.06498608478526, 0.0, -0.92072658665016, 0.00592545617827334, 0.970880735541535};
  const PetscScalar many[6] = {0.621423457326666, 0.654973792678485, 0.0, -0.554761623683263, -0.0223915894036356, 0.587948288849219};
  PetscScalar       x[POINTS], y[POINTS], squares = 0.0;
  KalModel          model = Make("-model_type kuramoto-sivashinsky");
  PetscReal         step;

  (void)state;
  KalAssert(SizeOf(model) == POINTS);
  KalCall(KalModelGetStep(model, &step));
  KalAssert(step == 0.5);
  Start(POINTS, x);
  Start(POINTS, y);
  Run(model, 0.5, x);
  Run(model, 10.0, y);
  for (int k = 0; k < 6; k++) {
    KalAssertNear(x[At[k]], one[k], 2e-14);
    KalAssertNear(y[At[k]], many[k], 2e-13);
  }
  for (int i = 0; i < POINTS; i++) squares += y[i] * y[i];
  KalAssertNear(squares, 91.672646193809, 2e-11);
  KalCall(KalModelDestroy(&model));
}

/*
  NumPy's numbers of another scheme (integrating factor, RK4 with 32000 steps) at time 10. Ours comes to the same solution, with order 4
  once the steps are short: each halving divides the error by more than before.
*/
static void ConvergesToTheEquation(void **state)
{
  const PetscScalar  exact[6] = {0.621423066452436, 0.654974279582602, 0.0, -0.554761252870313, -0.0223916495334051, 0.587948919049635};
  static const char *option[] = {"0.05", "0.025", "0.0125"};
  PetscReal          error[3];

  (void)state;
  for (int r = 0; r < 3; r++) {
    PetscScalar x[POINTS];
    KalModel    model;
    char        options[128];

    (void)snprintf(options, sizeof options, "-model_type kuramoto-sivashinsky -kuramoto_sivashinsky_step %s", option[r]);
    model = Make(options);
    Start(POINTS, x);
    Run(model, 10.0, x);
    error[r] = 0.0;
    for (int k = 0; k < 6; k++) error[r] = PetscMax(error[r], PetscAbsReal(x[At[k]] - exact[k]));
    KalCall(KalModelDestroy(&model));
  }
  KalAssertNear(error[0], 0.0, 5e-9);
  KalAssertNear(error[2], 0.0, 1e-10);
  KalAssert(log2(error[0] / error[1]) > 2.4);
  KalAssert(log2(error[1] / error[2]) > 2.9);
}

/* One small wave of number k grows as exp((k^2 - k^4) t): the coefficients, over growing and damped waves. Of other sizes too. */
static void SmallWavesGrow(void **state)
{
  static const PetscInt size[] = {128, 45, 24};
  const PetscReal       small = 1e-7, time = 3.0;

  (void)state;
  for (int r = 0; r < 3; r++) {
    const PetscInt n = size[r];
    PetscScalar   *x = Numbers((size_t)n);
    KalModel       model;
    char           options[128];

    (void)snprintf(options, sizeof options, "-model_type kuramoto-sivashinsky -kuramoto_sivashinsky_size %d -kuramoto_sivashinsky_domain 10", (int)n);
    model = Make(options);
    for (PetscInt w = 1; w <= 6; w++) {
      const PetscReal k = 2.0 * (PetscReal)w / 10.0, growth = PetscExpReal((k * k - k * k * k * k) * time);
      PetscReal       worst = 0.0;

      for (PetscInt i = 0; i < n; i++) x[i] = small * PetscCosReal(2.0 * PETSC_PI * (PetscReal)(w * i % n) / (PetscReal)n);
      Run(model, time, x);
      for (PetscInt i = 0; i < n; i++) worst = PetscMax(worst, PetscAbsReal(x[i] - growth * small * PetscCosReal(2.0 * PETSC_PI * (PetscReal)(w * i % n) / (PetscReal)n)));
      KalAssertNear(worst / small, 0.0, 1e-6); /* of the order of the wave itself: the nonlinear part */
    }
    KalCall(KalModelDestroy(&model));
    free(x);
  }
}

/* The mean over the domain stays, and a shift of the field and its frame (Galilean invariance) with it. */
static void KeepsTheMean(void **state)
{
  PetscScalar x[POINTS];
  PetscReal   before = 0.0, after = 0.0, largest = 0.0;
  KalModel    model = Make("-model_type kuramoto-sivashinsky");

  (void)state;
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, 0), x));
  for (int i = 0; i < POINTS; i++) before += (x[i] += 0.25);
  Run(model, 100.0, x);
  for (int i = 0; i < POINTS; i++) {
    after += x[i];
    largest = PetscMax(largest, PetscAbsReal(x[i]));
  }
  KalAssertNear(after / POINTS, before / POINTS, 1e-13);
  KalAssert(largest > 1.0 && largest < 5.0); /* the attractor's size */
  KalCall(KalModelDestroy(&model));
}

static void TangentOfTheScheme(void **state)
{
  PetscScalar x[POINTS];
  KalModel    model = Make("-model_type kuramoto-sivashinsky");

  (void)state;
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, 0), x));
  CheckTangent(model, 1.5, x, 1e-8);
  KalCall(KalModelDestroy(&model));
}

/* The initial mean is the forecast of the start over 150 time units; members lie about it with the stated variance. */
static void Starts(void **state)
{
  PetscScalar mean[POINTS], x[POINTS], z[POINTS];
  PetscReal   spread[POINTS], sum = 0.0, squares = 0.0;
  KalModel    model = Make("-model_type kuramoto-sivashinsky");

  (void)state;
  Start(POINTS, mean);
  Run(model, 150.0, mean);
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_TRUTH, 4, 2), x));
  KalCall(KalDrawNormal(KeyOf(KAL_DRAW_TRUTH, 4, 2), 0, POINTS, z));
  for (int i = 0; i < POINTS; i++) {
    KalAssertNear(x[i], mean[i] + sqrt(0.001) * z[i], 1e-14);
    sum += mean[i] / POINTS;
    squares += mean[i] * mean[i] / POINTS;
  }
  KalAssertNear(sum, 0.0, 1e-13);
  KalAssertNear(PetscSqrtReal(squares), 1.3, 0.3); /* climatology */
  KalCall(KalModelSpread(model, spread));
  KalAssertNear(spread[POINTS - 1], sqrt(0.001), 1e-15);
  CheckInitial(model);
  CheckCircle(model, POINTS);
  CheckTexts(model, "128 domain 32 step 0.5");
  KalCall(KalModelDestroy(&model));
}

static void Groups(void **state)
{
  static const char *const options[] = {"-model_type kuramoto-sivashinsky", "-model_type kuramoto-sivashinsky -kuramoto_sivashinsky_size 63 -kuramoto_sivashinsky_domain 11.5 -kuramoto_sivashinsky_step 0.25"};

  (void)state;
  for (int k = 0; k < 2; k++) {
    KalModel model = Make(options[k]);

    CheckGroups(model, 2.0, 0.0);
    CheckNonfinite(model, 1.0);
    KalCall(KalModelDestroy(&model));
  }
}

static void BadInput(void **state)
{
  (void)state;
  Refused("-model_type kuramoto-sivashinsky -kuramoto_sivashinsky_size 7", "-kuramoto_sivashinsky_size 7: allowed are 8 to");
  Refused("-model_type kuramoto-sivashinsky -kuramoto_sivashinsky_domain 0", "-kuramoto_sivashinsky_domain 0: it must be more than 0");
  Refused("-model_type kuramoto-sivashinsky -kuramoto_sivashinsky_step -1", "-kuramoto_sivashinsky_step -1");
  Refused("-model_type kuramoto-sivashinsky -kuramoto_sivashinsky_step 1e-9", "must be at least");
  Refused("-model_type kuramoto-sivashinsky -kuramoto_sivashinsky_variance nan", "-kuramoto_sivashinsky_variance nan");
  Refused("-model_type kuramoto-sivashinsky -kuramoto_sivashinsky_size 12 -kuramoto_sivashinsky_domain 10", "grows without bound");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(SchemeNumbers),
    cmocka_unit_test(ConvergesToTheEquation),
    cmocka_unit_test(SmallWavesGrow),
    cmocka_unit_test(KeepsTheMean),
    cmocka_unit_test(TangentOfTheScheme),
    cmocka_unit_test(Starts),
    cmocka_unit_test(Groups),
    cmocka_unit_test(BadInput),
};

KAL_TEST_MAIN("kuramoto-sivashinsky", tests)
