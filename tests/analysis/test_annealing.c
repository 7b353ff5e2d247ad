/* ranks: 1 3 */
/*
  Variational annealing against closed forms and chi-square levels.

  A 1-1 network without hidden units whose inputs and targets both have errors is a straight line: with b = w and v the variances of the errors
  of inputs (gamma p) and, with the equations' share, outputs (gamma p + q/R) the least action on any rung is that of Deming's regression,
  w = (syy - d sxx + sqrt((syy - d sxx)^2 + 4 d sxy^2))/(2 sxy), d = v/b, and the action sum (y - a - w x)^2/(v + w^2 b).
*/
#include "refusals.h"

#define SAMPLES 40
#define RUNGS   14

static double inputs[SAMPLES], targets[SAMPLES];

/* Runs a ladder; the actions of its rungs, the lowest of the members, or of the mean path. */
static PetscErrorCode Anneal(const char *options, PetscInt samples, PetscInt outputs, const double *x, const double *y, KalRun *run, double *action, double *expected)
{
  KalObservations   obs;
  KalAnalysis       analysis;
  KalAnalysisReport report;
  KalLevels         levels;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, "-model_type path -run_monitor_every 0 -run_progress 0 -observations_normalize none"));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, run));
  PetscCall(KalRunGetObservations(*run, &obs));
  PetscCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, samples, 1, x, outputs, y));
  PetscCall(KalRunSetFromOptions(*run));
  PetscCall(KalRunSetQuiet(*run, PETSC_TRUE));
  PetscCall(KalRunSetUp(*run));
  PetscCall(KalRunGetAnalysis(*run, &analysis));
  do {
    PetscCall(KalRunStep(*run));
    PetscCall(KalAnalysisGetReport(analysis, &report));
    PetscCall(KalAnalysisGetLevels(analysis, &levels));
    action[levels.rungs - 1] = report.loss;
  } while (levels.rungs < RUNGS);
  *expected = levels.expected;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static double Deming(double R, double gamma, double *slope)
{
  const double b = gamma * 2 * SAMPLES, v = b + SAMPLES / R, d = v / b;
  double       mx = 0.0, my = 0.0, sxx = 0.0, syy = 0.0, sxy = 0.0;

  for (int i = 0; i < SAMPLES; i++) {
    mx += inputs[i] / SAMPLES;
    my += targets[i] / SAMPLES;
  }
  for (int i = 0; i < SAMPLES; i++) {
    sxx += pow(inputs[i] - mx, 2);
    syy += pow(targets[i] - my, 2);
    sxy += (inputs[i] - mx) * (targets[i] - my);
  }
  *slope = (syy - d * sxx + sqrt(pow(syy - d * sxx, 2) + 4.0 * d * sxy * sxy)) / (2.0 * sxy);
  return (syy - 2.0 * *slope * sxy + *slope * *slope * sxx) / (v + *slope * *slope * b);
}

static void AStraightLineIsDemings(void **state)
{
  const char *const types[] = {"-analysis_type annealing -ensemble_size 5 -annealing_tao_gatol 1e-9", "-analysis_type annealing -ensemble_size 2 -annealing_lower -9 -annealing_upper 9 -annealing_tao_gatol 1e-9", "-analysis_type annealing-enks -ensemble_size 101 -annealing_enks_bundle 1e-4 -annealing_enks_iterations 8"};

  (void)state;
  for (int i = 0; i < SAMPLES; i++) {
    inputs[i]  = 2.0 * sin(0.37 * i) + 0.2 * cos(1.9 * i * i);
    targets[i] = 0.3 + 1.4 * 2.0 * sin(0.37 * i) + 0.2 * sin(2.9 * i * i);
  }
  for (int t = 0; t < 3; t++) {
    char               options[512];
    double             action[RUNGS], expected, slope;
    KalRun             run;
    KalEnsemble        ensemble;
    const PetscScalar *mean;

    snprintf(options, sizeof options, "-path_model mlp -mlp_layers 1,1 -mlp_prior_center false -path_samples %d -observations_noise 0.04 -annealing_first 0.01 -annealing_growth 4 -annealing_rungs %d %s", SAMPLES, RUNGS, types[t]);
    KalCall(Anneal(options, SAMPLES, 1, inputs, targets, &run, action, &expected));
    for (int k = t < 2 ? 0 : 6; k < RUNGS; k++) KalAssertNear(action[k] / Deming(0.01 * pow(4.0, k), 0.04, &slope), 1.0, 1e-5);
    KalAssertNear(expected, 1.0 - (SAMPLES + 2.0) / (2.0 * SAMPLES), 1e-14);
    KalCall(KalRunGetEnsemble(run, &ensemble));
    KalCall(KalEnsembleGetMean(ensemble, &mean));
    KalAssertNear(mean[0], slope, 1e-3);
    KalCall(KalRunDestroy(&run));
  }
}

/* A bump of two tanh units, with errors of 0.1 in both coordinates: one unit cannot make it. */
static void NetworksThatAreLargeEnoughLevelOff(void **state)
{
  double noise[2 * SAMPLES], action[RUNGS], expected = 0.0;
  KalRun run;

  (void)state;
  KalCall(KalDrawNormal((KalKey){5, KAL_DRAW_TEST, 0, 0}, 0, 2 * SAMPLES, noise));
  for (int i = 0; i < SAMPLES; i++) {
    const double x = -2.5 + 5.0 * i / (SAMPLES - 1.0);

    inputs[i]  = x + 0.1 * noise[i];
    targets[i] = 2.0 * tanh(1.5 * x + 1.5) - 2.0 * tanh(1.5 * x - 1.5) + 0.1 * noise[SAMPLES + i];
  }
  for (int units = 1; units <= 2; units++) {
    char options[512];

    snprintf(options, sizeof options, "-path_model mlp -mlp_layers 1,%d,1 -mlp_activation tanh -mlp_prior_center false -path_samples %d -observations_noise 0.01 -annealing_first 1 -annealing_growth 4 -annealing_rungs %d -analysis_type annealing -ensemble_size 9 -annealing_lower -8 -annealing_upper 8 -annealing_tao_max_it 400", units, SAMPLES, RUNGS);
    KalCall(Anneal(options, SAMPLES, 1, inputs, targets, &run, action, &expected));
    KalCall(KalRunDestroy(&run));
    KalAssertNear(expected, 1.0 - (SAMPLES + 3.0 * units + 1.0) / (2.0 * SAMPLES), 1e-14);
    if (units == 1) KalAssert(action[RUNGS - 1] > 10.0);
    else KalAssertNear(action[RUNGS - 1], expected, 3.0 * sqrt(2.0 * expected / (2.0 * SAMPLES)));
    if (units == 2) KalAssertNear(action[RUNGS - 1] / action[RUNGS - 4], 1.0, 0.01);
  }
}

#define ENTRIES 8
#define STEPS   28
#define SEEN    4

/* Every other step of a trajectory with forcing 8, four of its eight entries, with errors of standard deviation 0.4. */
static void Observe(double *times, double *values)
{
  double    at[ENTRIES], *column = at, noise[(STEPS / 2 + 1) * SEEN];
  KalModel  lorenz;
  KalStatus status      = KAL_MEMBER_OK;
  int       entry[SEEN] = {0, 2, 4, 6};

  KalColumns columns = {0, 1, 1, ENTRIES, &column};
  KalCall(PetscOptionsClear(NULL));
  KalCall(PetscOptionsInsertString(NULL, "-model_type lorenz96 -lorenz96_size 8 -lorenz96_step 0.025"));
  KalCall(KalModelCreate(PETSC_COMM_WORLD, &lorenz));
  KalCall(KalModelSetFromOptions(lorenz));
  KalCall(KalModelSetUp(lorenz));
  KalCall(KalDrawNormal((KalKey){7, KAL_DRAW_TEST, 0, 0}, 0, (STEPS / 2 + 1) * SEEN, noise));
  for (int i = 0; i < ENTRIES; i++) at[i] = 8.0 + sin(1.0 + i);
  KalCall(KalModelPropagate(lorenz, NULL, 0.0, 20.0, &columns, &status));
  for (int k = 0; k <= STEPS / 2; k++) {
    times[k] = 0.05 * k;
    for (int i = 0; i < SEEN; i++) values[SEEN * k + i] = at[entry[i]] + 0.4 * noise[SEEN * k + i];
    KalCall(KalModelPropagate(lorenz, NULL, 0.0, 0.05, &columns, &status));
  }
  KalCall(KalModelDestroy(&lorenz));
}

#define LORENZ "-path_model lorenz96 -lorenz96_size 8 -lorenz96_step 0.025 -path_steps 28 -path_observed 0,2,4,6 -path_mean 2.3 -path_spread 3 -observations_noise 0.16 -annealing_first 0.05 -annealing_growth 4 -annealing_rungs 14 "

/* The action levels off at the chi-square level of the data; with another forcing far above it. By an ensemble the same. */
static void LorenzLevelsOff(void **state)
{
  double      times[STEPS / 2 + 1], values[(STEPS / 2 + 1) * SEEN], action[RUNGS], other[RUNGS], smooth[RUNGS], expected;
  const int   p   = (STEPS / 2 + 1) * SEEN;
  const char *tao = "-analysis_type annealing -ensemble_size 2 ";
  char        options[512];
  KalRun      run;

  (void)state;
  Observe(times, values);
  snprintf(options, sizeof options, LORENZ "%s", tao);
  KalCall(Anneal(options, STEPS / 2 + 1, SEEN, times, values, &run, action, &expected));
  KalCall(KalRunDestroy(&run));
  KalAssertNear(expected, 1.0 - (double)ENTRIES / p, 1e-14);
  for (int k = 1; k < RUNGS; k++) KalAssert(action[k] >= action[k - 1]);
  KalAssertNear(action[RUNGS - 1], expected, 3.0 * sqrt(2.0 / p));
  KalAssertNear(action[RUNGS - 1] / action[RUNGS - 4], 1.0, 0.01); /* R_f 64 times as large */
  snprintf(options, sizeof options, LORENZ "%s -lorenz96_forcing 12", tao);
  KalCall(Anneal(options, STEPS / 2 + 1, SEEN, times, values, &run, other, &expected));
  KalCall(KalRunDestroy(&run));
  KalAssert(other[RUNGS - 1] > 3.0);
  snprintf(options, sizeof options, LORENZ "-analysis_type annealing-enks -ensemble_size 250 -annealing_enks_bundle 1e-4");
  KalCall(Anneal(options, STEPS / 2 + 1, SEEN, times, values, &run, smooth, &expected));
  KalCall(KalRunDestroy(&run));
  for (int k = 3; k < RUNGS; k++) KalAssertNear(smooth[k] / action[k], 1.0, 1e-3);
}

static void OptionsThatMakeNoSenseAreRefused(void **state)
{
  const Refusal refusals[] = {
      {"annealing",      "",                                      "annealing fits paths: take -model_type path"             },
      {"annealing",      "-annealing_lower 2 -annealing_upper 1", "-annealing_lower 2.: must be below -annealing_upper 1"   },
      {"annealing-enks", "-annealing_enks_iterations 0",          "-annealing_enks_iterations 0: must be from 1"            },
      {"annealing-enks", "-annealing_enks_damping 0",             "-annealing_enks_damping 0.: must be positive"            },
      {"annealing-enks", "-annealing_enks_bundle 2",              "-annealing_enks_bundle 2.: must be above 0 and at most 1"},
      {"annealing-enks", "",                                      "annealing-enks fits paths: take -model_type path"        },
  };
  double times[STEPS / 2 + 1], values[(STEPS / 2 + 1) * SEEN], action[RUNGS], expected;
  KalRun run;

  (void)state;
  AreRefused(7, 5, sizeof refusals / sizeof *refusals, refusals);
  Observe(times, values);
  KalRefused(Anneal(LORENZ "-analysis_type annealing -annealing_first 0", STEPS / 2 + 1, SEEN, times, values, &run, action, &expected), "-annealing_first 0.: must be positive");
  KalCall(KalRunDestroy(&run));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(AStraightLineIsDemings),
    cmocka_unit_test(NetworksThatAreLargeEnoughLevelOff),
    cmocka_unit_test(LorenzLevelsOff),
    cmocka_unit_test(OptionsThatMakeNoSenseAreRefused),
};

KAL_TEST_MAIN("analysis annealing", tests)
