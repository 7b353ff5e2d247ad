/* ranks: 1 2 */
/* The model lorenz96-averages: averages against NumPy's, the prior, members that do not depend on each other, bad options and data. */
#include "dynamical.h"

/* Mean and standard deviation of a plain classical Runge-Kutta run in NumPy from (1, 0, ..., 0), over times 1 to 2, 0 to 0.05 and 2 to 6. */
static const PetscReal Windows[6]     = {1.0, 2.0, 0.0, 0.05, 2.0, 6.0};
static const PetscReal Forcings[2]    = {8.0, 6.5};
static const PetscReal Averages[2][6] = {
    {4.057180921075554, 3.953737842654583, 0.4139379012194393,  0.14852624531637051, 2.3238252438406097, 3.7250843051589166},
    {4.081565266876019, 2.596765898576536, 0.34078342880721596, 0.1485211346438267,  2.070792801372954,  3.251981393460269 }
};

static KalBatch Batch(const PetscReal *input, PetscInt samples)
{
  return (KalBatch){.samples = samples, .inputs = 2, .outputs = 2, .precision = KAL_DOUBLE, .input = input};
}

static void AveragesOfNumPy(void **state)
{
  KalModel       model     = Make("-model_type lorenz96-averages");
  PetscScalar    x[2]      = {Forcings[0], Forcings[1]}, y[2][6];
  PetscScalar   *column[2] = {&x[0], &x[1]}, *out[2] = {y[0], y[1]};
  KalColumns     columns   = {.first = 0, .count = 2, .total = 2, .size = 1, .column = column};
  KalStatus      status[2] = {KAL_MEMBER_OK, KAL_MEMBER_OK};
  const KalBatch batch     = Batch(Windows, 3);

  (void)state;
  KalAssert(SizeOf(model) == 1);
  KalCall(KalModelObserve(model, NULL, 0.0, &columns, &batch, out, status));
  for (int k = 0; k < 2; k++) {
    KalAssert(status[k] == KAL_MEMBER_OK);
    for (int i = 0; i < 6; i++) KalAssertNear(y[k][i], Averages[k][i], 1e-10);
  }
  KalAssert(x[0] == Forcings[0] && x[1] == Forcings[1]);
  KalCall(KalModelDestroy(&model));
}

/* Alone, and in a batch of fewer samples, a member predicts the same bits; one that overflows is marked, and the others do not notice. */
static void MembersAndSamplesAlone(void **state)
{
  KalModel       model = Make("-model_type lorenz96-averages -lorenz96_size 9");
  PetscScalar    x[9], y[9][6], alone[6], *column[9], *out[9], *one[1] = {alone};
  KalColumns     columns   = {.first = 0, .count = 9, .total = 9, .size = 1, .column = column};
  KalStatus      status[9] = {KAL_MEMBER_OK};
  const KalBatch batch = Batch(Windows, 3), last = Batch(Windows + 4, 1);

  (void)state;
  for (int k = 0; k < 9; k++) {
    x[k]      = k == 4 ? 1e200 : 5.0 + 0.5 * k;
    column[k] = &x[k];
    out[k]    = y[k];
  }
  KalCall(KalModelObserve(model, NULL, 0.0, &columns, &batch, out, status));
  for (int k = 0; k < 9; k++) {
    KalStatus  mine   = KAL_MEMBER_OK;
    KalColumns single = {.first = k, .count = 1, .total = 9, .size = 1, .column = &column[k]};

    KalAssert(status[k] == (k == 4 ? KAL_MEMBER_NONFINITE : KAL_MEMBER_OK));
    KalCall(KalModelObserve(model, NULL, 0.0, &single, &last, one, &mine));
    KalAssert(mine == status[k] && !memcmp(alone, y[k] + 4, 2 * sizeof *alone));
  }
  KalCall(KalModelDestroy(&model));
}

/* Windows in no order, that overlap, are apart, begin or end together: each has the bits that it has alone. */
static void WindowsInAnyOrder(void **state)
{
  KalModel       model = Make("-model_type lorenz96-averages -lorenz96_size 5");
  PetscReal      input[80];
  PetscScalar    x = 7.0, y[80], alone[2], *column[1] = {&x}, *out[1] = {y}, *one[1] = {alone};
  KalColumns     columns = {.first = 0, .count = 1, .total = 1, .size = 1, .column = column};
  KalStatus      status  = KAL_MEMBER_OK;
  const KalBatch batch   = Batch(input, 40);

  (void)state;
  for (int s = 0; s < 40; s++) {
    input[2 * s]     = 0.05 * (3 + 17 * s % 29);
    input[2 * s + 1] = input[2 * s] + 0.05 * (1 + 7 * s % 5);
  }
  KalCall(KalModelObserve(model, NULL, 0.0, &columns, &batch, out, &status));
  for (int s = 0; s < 40; s++) {
    const KalBatch single = Batch(input + 2 * s, 1);

    KalCall(KalModelObserve(model, NULL, 0.0, &columns, &single, one, &status));
    KalAssert(!memcmp(alone, y + 2 * s, sizeof alone));
  }
  KalCall(KalModelDestroy(&model));
}

static void Prior(void **state)
{
  KalModel    model = Make("-model_type lorenz96-averages -lorenz96_forcing_mean 6 -lorenz96_forcing_spread 1.5");
  PetscScalar mean, x, z;
  PetscReal   spread;
  PetscBool   known;

  (void)state;
  KalCall(KalModelMean(model, &mean, &known));
  KalCall(KalModelSpread(model, &spread));
  KalAssert(known && mean == 6.0 && spread == 1.5);
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, 3), &x));
  KalCall(KalDrawNormal(KeyOf(KAL_DRAW_PRIOR, 0, 3), 0, 1, &z));
  KalAssert(x == 6.0 + 1.5 * z);
  KalCall(KalModelDestroy(&model));
}

static void Refusals(void **state)
{
  const PetscReal backwards[2] = {2.0, 2.0};
  const KalBatch  batch        = Batch(backwards, 1);
  KalModel        model        = Make("-model_type lorenz96-averages");
  PetscScalar     x = 8.0, y[2], *column[1] = {&x}, *out[1] = {y};
  KalColumns      columns = {.first = 0, .count = 1, .total = 1, .size = 1, .column = column};
  KalStatus       status  = KAL_MEMBER_OK;

  (void)state;
  KalCallFails(KalModelObserve(model, NULL, 0.0, &columns, &batch, out, &status), "the second must be later");
  KalCall(KalModelDestroy(&model));
  Refused("-model_type lorenz96-averages -lorenz96_estimate_forcing false", "leave -lorenz96_estimate_forcing out");
  Refused("-model_type lorenz96-averages -lorenz96_forcing_spread 0", "must be positive");
  Refused("-model_type lorenz96-averages -lorenz96_size 3", "at least 4 places");
  Refused("-model_type lorenz96-averages -model_precision single", "leave -model_precision single out");
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(AveragesOfNumPy),
    cmocka_unit_test(MembersAndSamplesAlone),
    cmocka_unit_test(WindowsInAnyOrder),
    cmocka_unit_test(Prior),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("models lorenz96-averages", tests)
