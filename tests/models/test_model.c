/* ranks: 1 2 */
#include "kaltest.h"
#include "failing_model.h"

static KalModel Make(const char *type)
{
  KalModel model = NULL;

  KalCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  if (type) KalCall(KalModelSetType(model, type));
  return model;
}

static PetscErrorCode CreateBare(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelSetSize(model, 3));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Types(void **state)
{
  KalModel     model = Make(NULL);
  KalModelType type  = "something";
  char         name[70], layout[64], tiny[5];
  PetscInt     n, stages;

  (void)state;
  KalCall(KalModelGetType(model, &type));
  KalAssert(type == NULL);
  KalCallFails(KalModelSetUp(model), "no type");
  KalCallFails(KalModelSetType(model, "mpl"), "Unknown model type mpl");
  KalCallFails(KalModelSetType(model, "mpl"), "known: mlp");
  KalCall(KalModelRegister("bare", CreateBare));
  KalCall(KalModelRegister("bare", CreateBare));
  KalCall(KalModelSetType(model, "bare"));
  KalCall(KalModelGetType(model, &type));
  KalAssert(!strcmp(type, "bare"));
  KalCallFails(KalModelGetLayout(model, sizeof layout, layout), "before KalModelSetUp");
  KalCall(KalModelSetUp(model));
  KalCall(KalModelSetUp(model));
  KalCall(KalModelGetSize(model, &n));
  KalCall(KalModelGetStages(model, &stages));
  KalAssert(n == 3 && stages == 1);
  KalCall(KalModelGetLayout(model, sizeof layout, layout));
  KalAssert(!strcmp(layout, "bare 3"));
  KalCallFails(KalModelGetLayout(model, sizeof tiny, tiny), "does not fit 5 characters");
  KalCall(KalModelDestroy(&model));
  KalAssert(model == NULL);
  KalCall(KalModelDestroy(&model));
  memset(name, 'a', sizeof name);
  name[69] = '\0';
  KalCallFails(KalModelRegister(name, CreateBare), "1 to 63 characters, not 69");
  KalCallFails(KalModelRegister("", CreateBare), "not 0");
  KalCallFails(KalModelRegister("none", NULL), "type none");
}

static void Options(void **state)
{
  KalModel     model = Make(NULL);
  KalModelType type;
  KalPrecision precision;

  (void)state;
  KalCall(KalModelGetPrecision(model, &precision));
  KalAssert(precision == KAL_DOUBLE);
  KalCall(PetscOptionsSetValue(NULL, "-model_type", "bare"));
  KalCall(PetscOptionsSetValue(NULL, "-model_precision", "single"));
  KalCall(KalModelSetFromOptions(model));
  KalCall(KalModelGetType(model, &type));
  KalCall(KalModelGetPrecision(model, &precision));
  KalAssert(!strcmp(type, "bare") && precision == KAL_SINGLE);
  KalCall(KalModelSetUp(model));
  KalCallFails(KalModelSetFromOptions(model), "before KalModelSetUp");
  KalCallFails(KalModelSetPrecision(model, KAL_DOUBLE), "before KalModelSetUp");
  KalCallFails(KalModelSetDataSizes(model, 1, 1), "before KalModelSetUp");
  KalCall(KalModelDestroy(&model));
  model = Make(NULL);
  KalCall(PetscOptionsSetValue(NULL, "-model_type", "no_such_model"));
  KalCallFails(KalModelSetFromOptions(model), "no_such_model");
  KalCall(KalModelDestroy(&model));
  KalCall(PetscOptionsClearValue(NULL, "-model_type"));
  KalCall(PetscOptionsClearValue(NULL, "-model_precision"));
  model = Make(NULL);
  KalCall(KalModelSetFromOptions(model));
  KalCall(KalModelGetType(model, &type));
  KalAssert(!strcmp(type, KALMODELMLP));
  KalCall(KalModelDestroy(&model));
}

/* What a type lacks: an error that names it, or the identity for a forecast. */
static void Lacking(void **state)
{
  KalModel     model = Make("bare");
  double       x[3] = {1.0, 2.0, 3.0}, input[2] = {0.0, 0.0}, y[2];
  PetscScalar *column[1] = {x}, *predictions[1] = {y};
  KalColumns   columns = {0, 1, 4, 3, column};
  KalBatch     batch   = {.samples = 1, .inputs = 2, .outputs = 2, .precision = KAL_DOUBLE, .input = input};
  KalStatus    status  = KAL_MEMBER_OK;
  KalKey       key     = {1, KAL_DRAW_PRIOR, 0, 0};
  PetscReal    bytes   = 1.0;

  (void)state;
  KalCallFails(KalModelPropagate(model, NULL, 0, 1, &columns, &status), "before KalModelSetUp");
  KalCall(KalModelSetUp(model));
  KalCall(KalModelPropagate(model, NULL, 0, 1, &columns, &status));
  KalAssert(x[0] == 1.0 && x[1] == 2.0 && x[2] == 3.0 && status == KAL_MEMBER_OK);
  KalCallFails(KalModelInitial(model, key, x), "type bare have no prior");
  KalCallFails(KalModelSpread(model, x), "type bare have no prior");
  KalCallFails(KalModelObserve(model, NULL, 0, &columns, &batch, predictions, &status), "type bare predict no observations");
  KalCall(KalModelGetMemory(model, 10, &bytes));
  KalAssert(bytes == 0.0);
  columns.size = 4;
  KalCallFails(KalModelPropagate(model, NULL, 0, 1, &columns, &status), "Members have 4 numbers but the model bare has states of 3");
  KalCallFails(KalModelSetSize(model, 0), "not 0");
  KalCallFails(KalModelSetStages(model, 0), "not 0");
  KalCall(KalModelDestroy(&model));
}

#define MEMBERS 6
#define SAMPLES 3

/* Rounds of observation of six members in column ranges that end at `ends`; the statuses and predictions of each round. */
static void Rounds(KalModel model, int rounds, const int *ends, KalStatus *status, double *y)
{
  double       x[MEMBERS][2];
  double       input[2 * SAMPLES] = {1.0, 2.0, 0.5, -1.0, 3.0, 0.0};
  PetscScalar *column[MEMBERS];
  KalBatch     batch = {.samples = SAMPLES, .inputs = 2, .outputs = 1, .precision = KAL_DOUBLE, .input = input};

  for (int m = 0; m < MEMBERS; m++) {
    x[m][0]   = m + 1.0;
    x[m][1]   = 0.5 * m;
    column[m] = x[m];
  }
  for (int r = 0; r < rounds; r++) {
    for (int first = 0, e = 0; first < MEMBERS; first = ends[e++]) {
      KalColumns   columns = {first, ends[e] - first, MEMBERS, 2, column + first};
      PetscScalar *predictions[MEMBERS];
      for (int k = 0; k < columns.count; k++) {
        predictions[k]                  = y + (r * MEMBERS + first + k) * SAMPLES;
        status[r * MEMBERS + first + k] = KAL_MEMBER_OK;
      }
      assert_int_equal(KalModelObserve(model, NULL, 0, &columns, &batch, predictions, status + r * MEMBERS + first), 0);
    }
  }
}

static void FailingModel(void **state)
{
  const int ends[3][MEMBERS] = {
      {6 },
      {  1, 2, 3, 4, 5, 6},
      { 2, 5, 6}
  };

  (void)state;
  KalCall(KalTestRegisterFailingModel());
  KalCall(PetscOptionsSetValue(NULL, "-model_type", KALMODELFAILING));
  KalCall(PetscOptionsSetValue(NULL, "-failing_members", "1,4"));
  KalCall(PetscOptionsSetValue(NULL, "-failing_calls", "2,3"));
  for (int nan = 0; nan < 2; nan++) {
    KalCall(PetscOptionsSetValue(NULL, "-failing_kind", nan ? "nan" : "status"));
    for (int split = 0; split < 3; split++) {
      KalModel  model = Make(NULL);
      KalStatus status[5 * MEMBERS];
      double    y[5 * MEMBERS * SAMPLES];
      KalCall(KalModelSetFromOptions(model));
      KalCall(KalModelSetDataSizes(model, 2, 1));
      KalCall(KalModelSetUp(model));
      Rounds(model, 5, ends[split], status, y);
      for (int r = 0; r < 5; r++) {
        for (int m = 0; m < MEMBERS; m++) {
          const int     fails = (r == 2 || r == 3) && (m == 1 || m == 4);
          const double *p     = y + (r * MEMBERS + m) * SAMPLES;
          KalAssert(status[r * MEMBERS + m] == (!fails ? KAL_MEMBER_OK : nan ? KAL_MEMBER_NONFINITE
                                                                             : KAL_MEMBER_FAILED));
          KalAssert(p[0] == (fails ? 0.0 : m + 1.0 + m)); /* a failed member's predictions are zero */
          KalAssert(p[2] == (fails ? 0.0 : 3.0 * (m + 1.0)));
        }
      }
      KalCall(KalModelDestroy(&model));
    }
  }
  KalCall(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Types),
    cmocka_unit_test(Options),
    cmocka_unit_test(Lacking),
    cmocka_unit_test(FailingModel),
};

KAL_TEST_MAIN("model", tests)
