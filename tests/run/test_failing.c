/* ranks: 1 2 3 */
/*
  A run whose members fail. tests/programs/test_failing.sh runs this file as a program, too:
  `test_run_failing kalmia -model_type failing ...` is kalmia with the model of failing_model.h.
*/
#include "failing_model.h"
#include "kaltest.h"

#define SAMPLES 12
#define INPUTS  3

static void Set(const char *const options[][2], int count)
{
  for (int i = 0; i < count; i++) KalCall(PetscOptionsSetValue(NULL, options[i][0], options[i][1]));
}

static void Clear(const char *const options[][2], int count)
{
  for (int i = 0; i < count; i++) KalCall(PetscOptionsClearValue(NULL, options[i][0]));
}

static void MakeRun(KalRun *run)
{
  KalObservations obs;
  PetscReal       x[SAMPLES * INPUTS], y[SAMPLES];

  for (int i = 0; i < SAMPLES * INPUTS; i++) x[i] = sin(1.7 * i);
  for (int s = 0; s < SAMPLES; s++) y[s] = x[INPUTS * s] - 2.0 * x[INPUTS * s + 1] + 0.5 * x[INPUTS * s + 2];
  KalCall(KalTestRegisterFailingModel());
  KalCall(KalRunCreate(PETSC_COMM_WORLD, run));
  KalCall(KalRunSetFromOptions(*run));
  KalCall(KalRunGetObservations(*run, &obs));
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, SAMPLES, INPUTS, x, 1, y));
}

static const char *const common[][2] = {
    {"-model_type",        "failing"},
    {"-analysis_type",     "etki"   },
    {"-ensemble_size",     "7"      },
    {"-run_monitor_every", "0"      },
    {"-run_cycles",        "3"      },
    {"-failing_calls",     "1"      }
};

/* With survivors enough the run goes on, and ends with finite members. */
static void test_goes_on(void **state)
{
  static const char *const own[][2] = {
      {"-failing_members", "2,6"}
  };
  KalRun             run;
  KalEnsemble        ensemble;
  const PetscScalar *mean;
  PetscInt           cycle;

  (void)state;
  Set(common, (int)PETSC_STATIC_ARRAY_LENGTH(common));
  Set(own, 1);
  MakeRun(&run);
  KalCall(KalRunSolve(run));
  KalCall(KalRunGetCycle(run, &cycle));
  KalAssert(cycle == 3);
  KalCall(KalRunGetEnsemble(run, &ensemble));
  KalCall(KalEnsembleGetMean(ensemble, &mean));
  for (int i = 0; i < INPUTS; i++) KalAssert(isfinite(mean[i]));
  KalCall(KalRunDestroy(&run));
  Clear(own, 1);
  Clear(common, (int)PETSC_STATIC_ARRAY_LENGTH(common));
}

/* With too few the run ends on every rank, after the cycles before. */
static void test_too_few(void **state)
{
  static const char *const own[][2] = {
      {"-failing_members", "0,1,2,3"}
  };
  KalRun   run;
  PetscInt cycle;

  (void)state;
  Set(common, (int)PETSC_STATIC_ARRAY_LENGTH(common));
  Set(own, 1);
  MakeRun(&run);
  KalCallFails(KalRunSolve(run), "Only 3 of 7 members survived cycle 2; at least 4 are needed (-run_survivors)");
  KalCall(KalRunGetCycle(run, &cycle));
  KalAssert(cycle == 1);
  KalCall(KalRunDestroy(&run));
  Clear(own, 1);
  Clear(common, (int)PETSC_STATIC_ARRAY_LENGTH(common));
}

static PetscErrorCode Work(void)
{
  KalRun run;

  PetscFunctionBeginUser;
  PetscCall(KalTestRegisterFailingModel());
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  PetscCall(KalRunSetFromOptions(run));
  PetscCall(KalRunSolve(run));
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int Program(int argc, char **argv)
{
  PetscErrorCode error = KalInitialize(&argc, &argv, NULL);
  int            code  = KAL_EXIT_ERROR;

  if (!error) error = Work();
  if (KalFinalize(error, &code)) return KAL_EXIT_ERROR;
  return code;
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_goes_on), cmocka_unit_test(test_too_few)};

  if (argc > 1 && !strcmp(argv[1], "kalmia")) return Program(argc - 1, argv + 1);
  return KalTestMain(argc, argv, "failing members", tests, PETSC_STATIC_ARRAY_LENGTH(tests));
}
