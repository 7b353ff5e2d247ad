/* ranks: 1 2 */
/* The model elliptic: its predictions solve the boundary value problem, its prior has the moments that are asked for, bad options are refused. */
#include "kaltest.h"

static PetscErrorCode Make(const char *options, KalModel *model)
{
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(KalModelCreate(PETSC_COMM_WORLD, model));
  PetscCall(KalModelSetType(*model, KALMODELELLIPTIC));
  PetscCall(KalModelSetFromOptions(*model));
  PetscCall(KalModelSetUp(*model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* -(e^{u_1} p')' = 1 by central differences, exact for a parabola; p(0) = 0, p(1) = u_2. */
static void PredictionsSolveTheProblem(void **state)
{
  enum {
    POINTS = 9
  };
  double       x[POINTS], u[2] = {-1.3, 2.5}, y[POINTS], h = 1.0 / (POINTS - 1);
  PetscScalar *column[1] = {u}, *out[1] = {y};
  KalColumns   columns = {.first = 0, .count = 1, .total = 1, .size = 2, .column = column};
  KalBatch     batch   = {.samples = POINTS, .inputs = 1, .outputs = 1, .precision = KAL_DOUBLE, .input = x};
  KalStatus    status  = KAL_MEMBER_OK;
  KalModel     model;

  (void)state;
  for (int s = 0; s < POINTS; s++) x[s] = s * h;
  KalCall(Make("", &model));
  KalCall(KalModelObserve(model, NULL, 0.0, &columns, &batch, out, &status));
  KalAssert(status == KAL_MEMBER_OK && fabs(y[0]) < 1e-14 && fabs(y[POINTS - 1] - u[1]) < 1e-14);
  for (int s = 1; s + 1 < POINTS; s++) KalAssert(fabs(-exp(u[0]) * (y[s + 1] - 2.0 * y[s] + y[s - 1]) / (h * h) - 1.0) < 1e-10);
  KalCall(KalModelDestroy(&model));
}

static void MembersAreDrawnFromThePrior(void **state)
{
  KalModel    model;
  PetscScalar mean[2], x[2], z[2];
  PetscReal   spread[2];
  PetscBool   known;
  KalKey      key = {7, KAL_DRAW_PRIOR, 0, 3};

  (void)state;
  KalCall(Make("-elliptic_mean -1,50 -elliptic_spread 0.5,4", &model));
  KalCall(KalModelMean(model, mean, &known));
  KalCall(KalModelSpread(model, spread));
  KalAssert(known && mean[0] == -1.0 && mean[1] == 50.0 && spread[0] == 0.5 && spread[1] == 4.0);
  KalCall(KalModelInitial(model, key, x));
  KalCall(KalDrawNormal(key, 0, 2, z));
  KalAssert(x[0] == -1.0 + 0.5 * z[0] && x[1] == 50.0 + 4.0 * z[1]);
  KalCall(KalModelDestroy(&model));
}

static void Refusals(void **state)
{
  static const char *const refused[][2] = {
      {"-elliptic_mean 1",        "give 2"                           },
      {"-elliptic_spread 1,0",    "-elliptic_spread 0"               },
      {"-model_precision single", "leave -model_precision single out"}
  };
  KalModel model = NULL;

  (void)state;
  for (size_t s = 0; s < PETSC_STATIC_ARRAY_LENGTH(refused); s++) {
    KalCallFails(Make(refused[s][0], &model), refused[s][1]);
    KalCall(PetscOptionsClear(NULL));
    KalCall(KalModelDestroy(&model));
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(PredictionsSolveTheProblem),
    cmocka_unit_test(MembersAreDrawnFromThePrior),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("models elliptic", tests)
