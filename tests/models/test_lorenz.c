/* ranks: 1 2 */
#include "dynamical.h"

/*
  Numbers of NumPy, to 15 digits: a plain classical Runge-Kutta step, k1 = f(x), k2 = f(x + dt/2 k1), k3 = f(x + dt/2 k2), k4 = f(x + dt k3),
  x + dt/6 (k1 + 2 k2 + 2 k3 + k4), with f(x) = (roll(x,-1) - roll(x,2)) roll(x,1) - x + F for Lorenz-96, started from
  x_i = 8 + 2 sin(0.7 i).
*/
static void Wave(PetscInt n, PetscScalar *x)
{
  for (PetscInt i = 0; i < n; i++) x[i] = 8.0 + 2.0 * PetscSinReal(0.7 * (PetscReal)i);
}

static void Lorenz63Numbers(void **state)
{
  const PetscScalar one[3] = {1.22232426615723, -1.47678059399473, 24.7698123478344}, many[3] = {-1.50733809537902, -2.60979239116867, 13.2483026527796};
  PetscScalar       x[3] = {1.509, -1.531, 25.46}, y[3] = {1.509, -1.531, 25.46};
  KalModel          model = Make("-model_type lorenz63");
  PetscReal         step;

  (void)state;
  KalAssert(SizeOf(model) == 3);
  KalCall(KalModelGetStep(model, &step));
  KalAssert(step == 0.01);
  Run(model, 0.01, x);
  Run(model, 0.25, y);
  for (int i = 0; i < 3; i++) {
    KalAssertNear(x[i], one[i], 1e-13);
    KalAssertNear(y[i], many[i], 1e-12);
  }
  KalCall(KalModelDestroy(&model));
}

static void Lorenz63Equilibrium(void **state)
{
  KalModel    model = Make("-model_type lorenz63 -lorenz63_sigma 7 -lorenz63_rho 20 -lorenz63_beta 2 -lorenz63_step 0.02");
  PetscScalar x[3], a = PetscSqrtReal(2.0 * 19.0);

  (void)state;
  x[0] = x[1] = a; /* sqrt(beta (rho - 1)) */
  x[2]        = 19.0;
  Run(model, 0.2, x);
  KalAssertNear(x[0], a, 1e-12);
  KalAssertNear(x[1], a, 1e-12);
  KalAssertNear(x[2], 19.0, 1e-12);
  KalCall(KalModelDestroy(&model));
}

static void Lorenz96Numbers(void **state)
{
  const int         at[6]   = {0, 1, 2, 20, 38, 39};
  const PetscScalar one[6]  = {7.68732142564819, 9.67449654470773, 10.5860314728068, 10.122255801677, 10.0481684274256, 8.50079013171229};
  const PetscScalar many[6] = {-4.0346627863242, 2.89638129921828, 6.28200612390038, -6.51730582866034, -5.77562088908937, -1.11398825416871};
  PetscScalar       x[40], y[40], sum[2] = {0.0, 0.0}, squares[2] = {0.0, 0.0};
  KalModel          model = Make("-model_type lorenz96");

  (void)state;
  KalAssert(SizeOf(model) == 40);
  Wave(40, x);
  Wave(40, y);
  Run(model, 0.05, x);
  Run(model, 1.0, y);
  for (int k = 0; k < 6; k++) {
    KalAssertNear(x[at[k]], one[k], 1e-12);
    KalAssertNear(y[at[k]], many[k], 1e-11);
  }
  for (int i = 0; i < 40; i++) {
    sum[0] += x[i];
    sum[1] += y[i];
    squares[0] += x[i] * x[i];
    squares[1] += y[i] * y[i];
  }
  KalAssertNear(sum[0], 322.142862278697, 1e-11);
  KalAssertNear(sum[1], -16.2677438733349, 1e-10);
  KalAssertNear(squares[0], 2709.21702945308, 1e-10);
  KalAssertNear(squares[1], 849.964914738955, 1e-9);
  KalCall(KalModelDestroy(&model));
}

/* An odd size with another forcing and step, and one too long for lanes. */
static void Lorenz96Sizes(void **state)
{
  const PetscScalar few[7]  = {10.6696642306519, 11.8135676393514, 8.60893362432003, 5.99553877909481, 5.64779912624548, 5.99755717748787, 7.47482047301966};
  const int         at[6]   = {0, 1, 2, 750, 1498, 1499};
  const PetscScalar many[6] = {8.0420137499564, 6.74983196122486, 5.56841309841063, 6.79247728345485, 11.8373022837974, 10.88507186325};
  PetscScalar       x[1500];
  KalModel          model = Make("-model_type lorenz96 -lorenz96_size 7 -lorenz96_forcing 6.5 -lorenz96_step 0.01");

  (void)state;
  Wave(7, x);
  Run(model, 0.1, x);
  for (int i = 0; i < 7; i++) KalAssertNear(x[i], few[i], 1e-12);
  KalCall(KalModelDestroy(&model));

  model = Make("-model_type lorenz96 -lorenz96_size 1500");
  Wave(1500, x);
  Run(model, 0.2, x);
  for (int k = 0; k < 6; k++) KalAssertNear(x[at[k]], many[k], 1e-11);
  KalCall(KalModelDestroy(&model));
}

/* A state that repeats goes as one period of it does, to the last bit: long states come in pieces, short ones in lanes. */
static void Lorenz96Repeats(void **state)
{
  static const PetscInt period[] = {41, 43, 128, 4}, repeats[] = {25, 3, 16, 257}; /* 1025, 129, 2048 and 1028 places */

  (void)state;
  for (int r = 0; r < 4; r++) {
    const PetscInt n = period[r] * repeats[r];
    PetscScalar   *x = Numbers((size_t)n), *y = Numbers((size_t)period[r]);
    KalModel       model;
    char           options[128];
    int            same = 1;

    Wave(period[r], y);
    for (PetscInt i = 0; i < n; i++) x[i] = y[i % period[r]];
    for (int k = 0; k < 2; k++) {
      (void)snprintf(options, sizeof options, "-model_type lorenz96 -lorenz96_size %d", (int)(k ? n : period[r]));
      model = Make(options);
      Run(model, 1.0, k ? x : y);
      KalCall(KalModelDestroy(&model));
    }
    for (PetscInt i = 0; i < n; i++) same = same && x[i] == y[i % period[r]];
    KalAssert(same);
    free(x);
    free(y);
  }
}

/* Halving the step divides the error by 16: differences of three runs. */
static PetscReal Order(const char *type, const char *option, PetscReal step, PetscInt n)
{
  PetscScalar *x[3];
  PetscReal    coarse = 0.0, fine = 0.0;
  char         options[128];

  for (int k = 0; k < 3; k++) {
    KalModel model;

    x[k] = Numbers((size_t)n);
    (void)snprintf(options, sizeof options, "-model_type %s %s %.17g", type, option, step / (1 << k));
    model = Make(options);
    Wave(n, x[k]);
    Run(model, 8.0 * step, x[k]);
    KalCall(KalModelDestroy(&model));
  }
  for (PetscInt i = 0; i < n; i++) {
    coarse += (x[0][i] - x[1][i]) * (x[0][i] - x[1][i]);
    fine += (x[1][i] - x[2][i]) * (x[1][i] - x[2][i]);
  }
  for (int k = 0; k < 3; k++) free(x[k]);
  return 0.5 * log2(coarse / fine);
}

static void OrderFour(void **state)
{
  (void)state;
  KalAssertNear(Order("lorenz63", "-lorenz63_step", 0.01, 3), 4.0, 0.15);
  KalAssertNear(Order("lorenz96", "-lorenz96_step", 0.02, 40), 4.0, 0.15);
}

static void Tangents(void **state)
{
  const PetscScalar x3[3] = {1.509, -1.531, 25.46};
  PetscScalar       x[41];
  KalModel          model = Make("-model_type lorenz63");

  (void)state;
  CheckTangent(model, 0.25, x3, 1e-8);
  KalCall(KalModelDestroy(&model));
  model = Make("-model_type lorenz96");
  Wave(40, x);
  CheckTangent(model, 0.2, x, 1e-8);
  KalCall(KalModelDestroy(&model));
  model = Make("-model_type lorenz96 -lorenz96_estimate_forcing");
  Wave(40, x);
  x[40] = 7.3;
  CheckTangent(model, 0.2, x, 1e-8);
  KalCall(KalModelDestroy(&model));
}

/* With the forcing in the state a member goes as in the model of that forcing, to the last bit, and keeps its forcing. */
static void EstimatedForcing(void **state)
{
  const PetscInt entries[3] = {39, 40, 2};
  PetscReal      coordinates[3 * KAL_DIMENSIONS];
  PetscInt       kinds[3];
  PetscScalar    x[3 * 41], y[40];
  PetscReal      spread[41], mean, variance;
  KalStatus      status[3] = {KAL_MEMBER_OK};
  KalModel       model     = Make("-model_type lorenz96 -lorenz96_estimate_forcing -lorenz96_forcing 8.25 -lorenz96_forcing_mean 7 -lorenz96_forcing_spread 0.5"), plain;
  KalDomain      domain;

  (void)state;
  KalAssert(SizeOf(model) == 41);
  for (int m = 0; m < 3; m++) {
    Wave(40, x + 41 * m);
    x[41 * m + 40] = 7.0 + 0.5 * m;
  }
  Forecast(model, 0.0, 1.0, 0, 3, x, status);
  plain = Make("-model_type lorenz96 -lorenz96_forcing 7.5");
  Wave(40, y);
  Run(plain, 1.0, y);
  KalAssert(!memcmp(x + 41, y, sizeof y));
  for (int m = 0; m < 3; m++) KalAssert(x[41 * m + 40] == 7.0 + 0.5 * m);
  KalAssert(PetscAbsReal(x[3] - y[3]) > 0.01);
  KalCall(KalModelDestroy(&plain));

  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_TRUTH, 0, 0), x));
  KalAssert(x[40] == 8.25);
  Moments(model, 4000, 40, &mean, &variance);
  KalAssertNear(mean, 7.0, 5.0 * 0.5 / sqrt(4000.0));
  KalAssertNear(variance, 0.25, 5.0 * 0.25 * sqrt(2.0 / 4000.0));
  KalCall(KalModelSpread(model, spread));
  KalAssertNear(spread[0], sqrt(0.001), 1e-15);
  KalAssert(spread[40] == 0.5);
  KalCall(KalModelGetDomain(model, &domain));
  KalAssert(domain.dimension == 1 && domain.length[0] == 40.0);
  KalCall(KalModelLocate(model, 3, entries, coordinates, kinds));
  KalAssert(kinds[0] == 0 && kinds[1] < 0 && kinds[2] == 0 && coordinates[0] == 39.0 && coordinates[2 * KAL_DIMENSIONS] == 2.0);
  CheckGroups(model, 0.5, 0.25);
  CheckTexts(model, "estimated");
  KalCall(KalModelDestroy(&model));
}

/* Starts: entry i is made of the i-th normal number of the key. */
static void Starts(void **state)
{
  const PetscScalar mean3[3] = {1.509, -1.531, 25.46};
  PetscScalar       z[40], x[40];
  PetscReal         mean, variance, spread[40];
  KalDomain         domain;
  KalModel          model = Make("-model_type lorenz63");

  (void)state;
  KalCall(KalDrawNormal(KeyOf(KAL_DRAW_PRIOR, 2, 9), 0, 40, z));
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 2, 9), x));
  for (int i = 0; i < 3; i++) KalAssertNear(x[i], mean3[i] + sqrt(2.0) * z[i], 1e-14);
  CheckInitial(model);
  KalCall(KalModelGetDomain(model, &domain));
  KalAssert(domain.dimension == 0);
  Moments(model, 4000, 2, &mean, &variance);
  KalAssertNear(mean, 25.46, 5.0 * sqrt(2.0 / 4000.0));
  KalAssertNear(variance, 2.0, 5.0 * 2.0 * sqrt(2.0 / 4000.0));
  KalCall(KalModelSpread(model, spread));
  KalAssertNear(spread[1], sqrt(2.0), 1e-15);
  CheckTexts(model, "rho 28");
  KalCall(KalModelDestroy(&model));

  model = Make("-model_type lorenz63 -lorenz63_mean 1,2,3 -lorenz63_variance 0");
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 2, 9), x));
  KalAssert(x[0] == 1.0 && x[1] == 2.0 && x[2] == 3.0);
  KalCall(KalModelDestroy(&model));

  model = Make("-model_type lorenz96");
  KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 2, 9), x));
  for (int i = 0; i < 40; i++) KalAssertNear(x[i], (i ? 0.0 : 1.0) + sqrt(0.001) * z[i], 1e-15);
  CheckInitial(model);
  CheckCircle(model, 40);
  CheckTexts(model, "forcing 8");
  KalCall(KalModelDestroy(&model));
}

static void Groups(void **state)
{
  static const char *const options[] = {"-model_type lorenz63", "-model_type lorenz96", "-model_type lorenz96 -lorenz96_size 5", "-model_type lorenz96 -lorenz96_size 128", "-model_type lorenz96 -lorenz96_size 129", "-model_type lorenz96 -lorenz96_size 1027", "-model_type lorenz96 -lorenz96_size 300 -lorenz96_estimate_forcing"};

  (void)state;
  for (size_t k = 0; k < sizeof options / sizeof *options; k++) {
    KalModel model = Make(options[k]);

    CheckGroups(model, 0.5, 0.2);
    CheckNonfinite(model, 0.5);
    KalCall(KalModelDestroy(&model));
  }
}

static void BadInput(void **state)
{
  PetscScalar x[3] = {1.0, 1.0, 1.0}, *column[1] = {x};
  KalColumns  columns = {0, 1, 1, 3, column};
  KalStatus   status  = KAL_MEMBER_OK;
  KalModel    model   = Make("-model_type lorenz63");
  PetscInt    entry   = 0, kind;
  PetscReal   place[KAL_DIMENSIONS];

  (void)state;
  KalCallFails(KalModelPropagate(model, NULL, 0.0, 0.015, &columns, &status), "whole number");
  KalCallFails(KalModelPropagate(model, NULL, 1.0, 0.5, &columns, &status), "not forward");
  KalCallFails(KalModelLocate(model, 1, &entry, place, &kind), "do not say where");
  KalCall(KalModelDestroy(&model));
  Refused("-model_type lorenz63 -lorenz63_step 0", "-lorenz63_step 0: it must be more than 0");
  Refused("-model_type lorenz63 -lorenz63_step -0.1", "-lorenz63_step -0.1");
  Refused("-model_type lorenz63 -lorenz63_variance -1", "-lorenz63_variance -1: it must be at least 0");
  Refused("-model_type lorenz63 -lorenz63_mean 1,2", "give 3");
  Refused("-model_type lorenz63 -lorenz63_rho inf", "-lorenz63_rho inf: it must be finite");
  Refused("-model_type lorenz63 -model_precision single", "double precision only");
  Refused("-model_type lorenz96 -lorenz96_size 3", "-lorenz96_size 3: the circle has at least 4");
  Refused("-model_type lorenz96 -lorenz96_forcing nan", "-lorenz96_forcing nan: it must be finite");
  Refused("-model_type lorenz96 -lorenz96_forcing_mean 7", "give -lorenz96_estimate_forcing");
  Refused("-model_type lorenz96 -lorenz96_estimate_forcing -lorenz96_forcing_spread -1", "-lorenz96_forcing_spread -1");

  KalCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  KalCall(KalModelSetType(model, KALMODELLORENZ96));
  KalCall(KalModelSetDataSizes(model, 784, 10));
  KalCallFails(KalModelSetUp(model), "takes no inputs");
  KalCall(KalModelDestroy(&model));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Lorenz63Numbers),
    cmocka_unit_test(Lorenz63Equilibrium),
    cmocka_unit_test(Lorenz96Numbers),
    cmocka_unit_test(Lorenz96Sizes),
    cmocka_unit_test(Lorenz96Repeats),
    cmocka_unit_test(OrderFour),
    cmocka_unit_test(Tangents),
    cmocka_unit_test(EstimatedForcing),
    cmocka_unit_test(Starts),
    cmocka_unit_test(Groups),
    cmocka_unit_test(BadInput),
};

KAL_TEST_MAIN("lorenz", tests)
