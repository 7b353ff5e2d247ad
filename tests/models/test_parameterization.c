/* ranks: 1 2 */
/*
  What lies between the state and a model: a program's own type and the type bounds, against formulas written out here. Predictions, forecasts,
  linear observations and derivatives of T(u); priors, places and layouts; refusals.
*/
#include "kaltest.h"

static PetscErrorCode Make(const char *options, KalModel *model)
{
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(KalModelCreate(PETSC_COMM_WORLD, model));
  PetscCall(KalModelSetFromOptions(*model));
  PetscCall(KalModelSetUp(*model));
  PetscCall(PetscOptionsClear(NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A type of three numbers: w_i = u_0 + i u_1 u_2. */
static PetscErrorCode LineMap(KalParameterization p, const PetscScalar *u, PetscScalar *w)
{
  KalModel model;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(KalParameterizationGetModel(p, &model));
  PetscCall(KalModelGetSize(model, &n));
  for (PetscInt i = 0; i < n; i++) w[i] = u[0] + (double)i * u[1] * u[2];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LineAdjoint(KalParameterization p, const PetscScalar *u, const PetscScalar *g, PetscScalar *gradient)
{
  KalModel model;
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(KalParameterizationGetModel(p, &model));
  PetscCall(KalModelGetSize(model, &n));
  gradient[0] = gradient[1] = gradient[2] = 0.0;
  for (PetscInt i = 0; i < n; i++) {
    gradient[0] += g[i];
    gradient[1] += (double)i * u[2] * g[i];
    gradient[2] += (double)i * u[1] * g[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LineSetUp(KalParameterization p)
{
  return KalParameterizationSetSize(p, 3);
}

static PetscErrorCode LineCreate(KalParameterization p)
{
  KalParameterizationOps *ops;

  PetscFunctionBeginUser;
  PetscCall(KalParameterizationGetOps(p, &ops));
  ops->setup   = LineSetUp;
  ops->map     = LineMap;
  ops->adjoint = LineAdjoint;
  PetscFunctionReturn(PETSC_SUCCESS);
}

enum {
  SAMPLES = 5,
  MEMBERS = 70, /* more than are mapped at once */
  MOST    = 64
};
static double input[SAMPLES * 8], weight[MEMBERS][SAMPLES * 2], u[MEMBERS][MOST], w[MEMBERS][MOST], g[MEMBERS][MOST], made[MEMBERS][SAMPLES * 2], wanted[MEMBERS][SAMPLES * 2];

static PetscErrorCode Given(void *ctx, PetscInt column, PetscInt first, PetscInt samples, const PetscScalar *y, PetscScalar *s)
{
  (void)ctx;
  (void)y;
  return PetscArraycpy(s, weight[column] + first * 2, (size_t)(samples * 2));
}

static double Sum(KalModel model, const KalBatch *batch, PetscInt n, int k)
{
  double     y[SAMPLES * 2], *column = u[k], *out = y, sum = 0.0;
  KalStatus  status  = KAL_MEMBER_OK;
  KalColumns columns = {0, 1, 1, n, &column};

  KalCall(KalModelObserve(model, NULL, 0, &columns, batch, &out, &status));
  for (int i = 0; i < SAMPLES * 2; i++) sum += weight[k][i] * y[i];
  return sum;
}

/* Predictions of u are those of T(u) by the plain network, however many members there are; derivatives are their slopes. */
static void CheckNetwork(const char *options, void (*map)(PetscInt, const double *, double *))
{
  KalModel  plain, model;
  char      text[256];
  double   *columns[MEMBERS], *mapped[MEMBERS], *out[MEMBERS], *should[MEMBERS], *gradient[MEMBERS];
  KalStatus status[MEMBERS] = {KAL_MEMBER_OK};
  KalBatch  batch           = {.samples = SAMPLES, .inputs = 4, .outputs = 2, .input = input};
  PetscInt  n, size;
  double    worst = 0.0;

  snprintf(text, sizeof text, "-mlp_layers 4,5,2 -mlp_activation tanh %s", options);
  KalCall(Make(text, &model));
  KalCall(Make("-mlp_layers 4,5,2 -mlp_activation tanh", &plain));
  KalCall(KalModelGetSize(model, &n));
  KalCall(KalModelGetSize(plain, &size));
  for (int i = 0; i < SAMPLES * 4; i++) input[i] = sin(1.0 + 1.7 * i);
  for (int k = 0; k < MEMBERS; k++) {
    for (int i = 0; i < SAMPLES * 2; i++) weight[k][i] = cos(2.3 * i + k);
    for (int i = 0; i < n; i++) u[k][i] = 0.4 * sin(0.7 * i * i + 3.0 * k);
    map(size, u[k], w[k]);
    columns[k]  = u[k];
    mapped[k]   = w[k];
    out[k]      = made[k];
    should[k]   = wanted[k];
    gradient[k] = g[k];
  }
  KalColumns us = {0, MEMBERS, MEMBERS, n, columns}, ws = {0, MEMBERS, MEMBERS, size, mapped};
  KalCall(KalModelObserve(model, NULL, 0, &us, &batch, out, status));
  KalCall(KalModelObserve(plain, NULL, 0, &ws, &batch, should, status));
  for (int k = 0; k < MEMBERS; k++) {
    double again[MOST];

    KalCall(KalModelMap(model, u[k], again));
    for (int i = 0; i < size; i++) KalAssertNear(again[i], w[k][i], 1e-14 * fmax(1.0, fabs(w[k][i])));
    for (int i = 0; i < SAMPLES * 2; i++) worst = fmax(worst, fabs(made[k][i] - wanted[k][i]));
  }
  KalAssert(worst < 1e-13);
  KalCall(KalModelAdjoint(model, &us, &batch, Given, NULL, gradient));
  for (int k = 0; k < MEMBERS; k += MEMBERS - 1) {
    for (PetscInt i = 0; i < n; i++) {
      const double at = u[k][i], step = 1e-6;
      double       slope;

      u[k][i] = at + step;
      slope   = Sum(model, &batch, n, k);
      u[k][i] = at - step;
      slope   = (slope - Sum(model, &batch, n, k)) / (2.0 * step);
      u[k][i] = at;
      worst   = fmax(worst, fabs(g[k][i] - slope) / fmax(1.0, fabs(slope)));
    }
  }
  KalAssert(worst < 1e-6);
  KalCall(KalModelDestroy(&model));
  KalCall(KalModelDestroy(&plain));
}

static void Line(PetscInt n, const double *from, double *to)
{
  for (PetscInt i = 0; i < n; i++) to[i] = from[0] + (double)i * from[1] * from[2];
}

static void Positive(PetscInt n, const double *from, double *to)
{
  for (PetscInt i = 0; i < n; i++) to[i] = exp(from[i]);
}

static void Between(PetscInt n, const double *from, double *to)
{
  for (PetscInt i = 0; i < n; i++) to[i] = -2.0 + 3.0 / (1.0 + exp(-from[i]));
}

/* Entry 3 below 1, entry 0 above -1, entry 5 between 2 and 4, as they are listed. */
static void Listed(PetscInt n, const double *from, double *to)
{
  for (PetscInt i = 0; i < n; i++) to[i] = from[i];
  to[3] = 1.0 - exp(from[3]);
  to[0] = -1.0 + exp(from[0]);
  to[5] = 2.0 + 2.0 / (1.0 + exp(-from[5]));
}

static void NetworksAreOfWhatStatesAreMappedTo(void **state)
{
  (void)state;
  KalCall(KalParameterizationRegister("line", LineCreate));
  CheckNetwork("-parameterization_type line", Line);
  CheckNetwork("-parameterization_type bounds -bounds_lower 0", Positive);
  CheckNetwork("-parameterization_type bounds -bounds_lower -2 -bounds_upper 1", Between);
  CheckNetwork("-parameterization_type bounds -bounds_entries 3,0,5 -bounds_lower -inf,-1,2 -bounds_upper 1,inf,4", Listed);
}

/* Of a type that says no prior it is N(0, I); bounds have that of the model. */
static void Priors(void **state)
{
  KalModel    model, own;
  double      x[16], z[16], spread[16];
  PetscInt    n;
  PetscBool   known;
  const char *elliptic = "-model_type elliptic -elliptic_mean 0.5,4.6 -elliptic_spread 0.3,0.1 -parameterization_type bounds -bounds_lower 0";
  KalKey      key      = {7, KAL_DRAW_PRIOR, 0, 3};

  (void)state;
  KalCall(Make("-mlp_layers 4,5,2 -parameterization_type line", &model));
  KalCall(KalModelGetSize(model, &n));
  KalCall(KalModelMean(model, x, &known));
  KalCall(KalModelSpread(model, spread));
  KalAssert(n == 3 && known && x[0] == 0.0 && x[2] == 0.0 && spread[0] == 1.0 && spread[2] == 1.0);
  KalCall(KalModelInitial(model, key, x));
  KalCall(KalDrawNormal(key, 0, 3, z));
  KalAssert(!memcmp(x, z, 3 * sizeof *x));
  KalCall(KalModelGetOwn(model, &own));
  KalCall(KalModelGetSize(own, &n));
  KalAssert(own != model && n == 37);
  KalCall(KalModelDestroy(&model));

  KalCall(Make(elliptic, &model));
  KalCall(KalModelMean(model, x, &known));
  KalCall(KalModelSpread(model, spread));
  KalAssert(known && x[0] == 0.5 && x[1] == 4.6 && spread[0] == 0.3 && spread[1] == 0.1);
  KalCall(KalModelInitial(model, key, x));
  KalAssert(x[0] == 0.5 + 0.3 * z[0] && x[1] == 4.6 + 0.1 * z[1]);
  KalCall(KalModelDestroy(&model));
}

/* The forcing of lorenz96 as a logarithm: it keeps its bits, the places move as under the forcing itself; observations are of w. */
static void ForecastsAreOfWhatStatesAreMappedTo(void **state)
{
  const char *options = "-model_type lorenz96 -lorenz96_size 5 -lorenz96_estimate_forcing -lorenz96_variance 1 -lorenz96_mean_first 2";
  char        text[512];
  KalModel    plain, model;
  double      a[6], b[6], first, y[2], *columns[1] = {a}, *should[1] = {b}, *out[1] = {y};
  KalStatus   status = KAL_MEMBER_OK;
  KalColumns  us = {0, 1, 1, 6, columns}, ws = {0, 1, 1, 6, should};
  PetscInt    entries[2] = {5, 2}, kinds[2];
  KalLinear   linear     = {.rows = 2, .entry = entries};
  KalBatch    batch      = {.samples = 2, .outputs = 1, .timed = PETSC_TRUE, .linear = &linear};
  PetscReal   places[2 * KAL_DIMENSIONS];
  KalDomain   domain;
  KalKey      key = {1, KAL_DRAW_PRIOR, 0, 0};

  (void)state;
  KalCall(Make(options, &plain));
  snprintf(text, sizeof text, "%s -parameterization_type bounds -bounds_entries 5 -bounds_lower 1", options);
  KalCall(Make(text, &model));
  KalCall(KalModelInitial(model, key, a));
  a[5] = first = 1.7;
  memcpy(b, a, sizeof b);
  b[5] = 1.0 + exp(1.7);
  KalCall(KalModelPropagate(model, NULL, 0.0, 0.1, &us, &status));
  KalCall(KalModelPropagate(plain, NULL, 0.0, 0.1, &ws, &status));
  KalAssertNear(a[5], first, 0.0);
  KalAssert(status == KAL_MEMBER_OK);
  for (int i = 0; i < 5; i++) KalAssertNear(a[i], b[i], 0.0);
  KalCall(KalModelObserve(model, NULL, 0.1, &us, &batch, out, &status));
  KalAssertNear(y[0], 1.0 + exp(1.7), 1e-14);
  KalAssert(y[1] == a[2]);
  KalCall(KalModelLocate(model, 2, entries, places, kinds));
  KalCall(KalModelGetDomain(model, &domain));
  KalAssert(kinds[0] < 0 && kinds[1] == 0 && places[KAL_DIMENSIONS] == 2.0 && domain.dimension == 1);
  KalCall(KalModelDestroy(&model));
  KalCall(KalModelDestroy(&plain));

  /* A place that a forecast takes below its bound has no u; over a step none keeps its value. */
  snprintf(text, sizeof text, "%s -parameterization_type bounds -bounds_entries 2 -bounds_lower -40 -bounds_upper -30", options);
  KalCall(Make(text, &model));
  KalCall(KalModelInitial(model, key, a));
  status = KAL_MEMBER_OK;
  KalCall(KalModelPropagate(model, NULL, 0.0, 1.0, &us, &status));
  KalAssert(status == KAL_MEMBER_NONFINITE);
  KalCall(KalModelDestroy(&model));
}

static void LayoutsTell(void **state)
{
  static const char *const options[] = {"-bounds_lower 0", "-bounds_lower 0 -bounds_entries 1", "-bounds_upper 0", "-bounds_lower 0 -bounds_entries 2", ""};
  char                     layout[PETSC_STATIC_ARRAY_LENGTH(options)][256], text[256];

  (void)state;
  for (size_t s = 0; s < PETSC_STATIC_ARRAY_LENGTH(options); s++) {
    KalModel model;

    snprintf(text, sizeof text, "-mlp_layers 4,5,2 %s %s", options[s][0] ? "-parameterization_type bounds" : "", options[s]);
    KalCall(Make(text, &model));
    KalCall(KalModelGetLayout(model, sizeof layout[s], layout[s]));
    for (size_t t = 0; t < s; t++) KalAssert(strcmp(layout[s], layout[t]));
    KalAssert(!strncmp(layout[s], options[s][0] ? "mlp 4,5,2 relu; bounds " : "mlp 4,5,2 relu", options[s][0] ? 23 : 15));
    KalCall(KalModelDestroy(&model));
  }
}

static void Refusals(void **state)
{
  static const char *const refused[][2] = {
      {"-mlp_layers 4,2 -parameterization_type nowhere",                                        "Unknown type nowhere of a parameterization"                     },
      {"-mlp_layers 4,2 -parameterization_type bounds",                                         "give -bounds_lower"                                             },
      {"-mlp_layers 4,2 -parameterization_type bounds -bounds_lower 1 -bounds_upper 1",         "above 1. (-bounds_lower) and below 1."                          },
      {"-mlp_layers 4,2 -parameterization_type bounds -bounds_lower 0 -bounds_entries 10",      "lists entry 10: the model mlp has entries 0 to 9"               },
      {"-mlp_layers 4,2 -parameterization_type bounds -bounds_lower 0 -bounds_entries 1,3,1",   "lists entry 1 twice"                                            },
      {"-mlp_layers 4,2 -parameterization_type bounds -bounds_lower 0,1 -bounds_entries 1,3,2", "-bounds_lower has 2 numbers; give one, or one for each of the 3"},
      {"-model_type lorenz63 -parameterization_type line",                                      "cannot be undone"                                               },
  };
  KalModel model = NULL;
  KalLayer layer;

  (void)state;
  for (size_t s = 0; s < PETSC_STATIC_ARRAY_LENGTH(refused); s++) {
    KalCallFails(Make(refused[s][0], &model), refused[s][1]);
    KalCall(PetscOptionsClear(NULL));
    KalCall(KalModelDestroy(&model));
  }
  KalCall(Make("-mlp_layers 4,2 -parameterization_type line", &model));
  KalCallFails(KalModelGetLayer(model, 1, &layer), "does not hold the weights of layers");
  KalCallFails(KalModelSetParameterization(model, "bounds"), "before KalModelSetUp()");
  KalCall(KalModelDestroy(&model));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(NetworksAreOfWhatStatesAreMappedTo),
    cmocka_unit_test(Priors),
    cmocka_unit_test(ForecastsAreOfWhatStatesAreMappedTo),
    cmocka_unit_test(LayoutsTell),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("models parameterization", tests)
