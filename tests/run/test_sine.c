/* ranks: 2 */
/*
  Known answers: the sine regression of the methods' notes, a 1-10-1 tanh network (31 weights) on 100 noisy points of
  [-pi, pi], noise 0.05. Each rank trains with seeds of its own; the root mean square error of the mean network against the
  noise-free sine, by a forward pass written out here, is compared with figures measured with other code.
*/
#include "subcomm.h"

#include <stdlib.h>

#define POINTS 100
#define HIDDEN 10
#define SEEDS  5

static double inputs[POINTS], targets[POINTS], truth[POINTS];

static void MakeSine(void)
{
  const double pi = acos(-1.0);
  PetscInt     i;

  for (i = 0; i < POINTS; i++) {
    const double u = 0.5 * (1.0 + KalTestNumber(50, (uint64_t)i)), v = KalTestNumber(51, (uint64_t)i);

    inputs[i]  = pi * (2.0 * i / (POINTS - 1) - 1.0);
    truth[i]   = sin(inputs[i]);
    targets[i] = truth[i] + 0.05 * sqrt(-2.0 * log(1.0 - u)) * cos(pi * v); /* Box and Muller */
  }
}

/* The network: 10 weights and 10 biases of the hidden layer, 10 weights and the bias of the output. */
static double Error(const double *w)
{
  double   sum = 0.0;
  PetscInt i, k;

  for (i = 0; i < POINTS; i++) {
    double y = w[3 * HIDDEN];

    for (k = 0; k < HIDDEN; k++) y += w[2 * HIDDEN + k] * tanh(w[k] * inputs[i] + w[HIDDEN + k]);
    sum += (y - truth[i]) * (y - truth[i]);
  }
  return sqrt(sum / POINTS);
}

static const char common[] = "-model_type mlp -mlp_layers 1,10,1 -mlp_activation tanh -model_precision double -mlp_prior_scales 1,1 -mlp_prior_bias_scale 1 -observations_noise 0.0025 -run_monitor_every 0 -run_progress 0 -run_evaluate_ensemble 0";

static PetscInt trained; /* cycles of the last run */

static PetscErrorCode Train(MPI_Comm comm, const char *options, PetscInt seed, double *error, PetscInt64 *checksum)
{
  KalRun          run;
  KalObservations obs;
  KalEnsemble     ensemble;
  const double   *mean;
  char            text[64];
  PetscInt        n;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, common));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(PetscSNPrintf(text, sizeof text, "-run_seed %" PetscInt_FMT, seed));
  PetscCall(PetscOptionsInsertString(NULL, text));
  if (PETSC_STDOUT == stdout) PETSC_STDOUT = fopen("/dev/null", "w"); /* what a run prints is looked at elsewhere; not put back: PETSc's viewers keep it */
  PetscCall(KalRunCreate(comm, &run));
  PetscCall(KalRunGetObservations(run, &obs));
  PetscCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, POINTS, 1, inputs, 1, targets));
  PetscCall(KalRunSetFromOptions(run));
  PetscCall(KalRunSolve(run));
  PetscCall(KalRunGetEnsemble(run, &ensemble));
  PetscCall(KalEnsembleGetSizes(ensemble, &n, NULL));
  PetscCheck(n == 3 * HIDDEN + 1, comm, PETSC_ERR_ARG_SIZ, "%d weights", (int)n);
  PetscCall(KalEnsembleGetMean(ensemble, &mean));
  PetscCall(KalRunGetCycle(run, &trained));
  *error = Error(mean);
  PetscCall(KalEnsembleChecksum(ensemble, checksum));
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#ifndef KALTEST_SANITIZED
static int Up(const void *a, const void *b)
{
  return (*(const double *)a > *(const double *)b) - (*(const double *)a < *(const double *)b);
}

/* Errors for five seeds, sorted; the ranks take turns, each on a communicator of its own. */
static void Errors(const char *options, double *errors)
{
  PetscMPIInt rank, size;
  PetscInt    s;
  PetscInt64  checksum;
  int         failed = 0;

  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  MPI_Comm_size(PETSC_COMM_WORLD, &size);
  MakeSine();
  for (s = 0; s < SEEDS; s++) {
    errors[s] = 0.0;
    if (s % size == rank) failed |= (int)Train(PETSC_COMM_SELF, options, s + 1, &errors[s], &checksum);
  }
  if (failed) print_error("%s: %s\n", options, KalTestMessage());
  KalAssert(!failed);
  MPI_Allreduce(MPI_IN_PLACE, errors, SEEDS, MPI_DOUBLE, MPI_SUM, PETSC_COMM_WORLD); /* one term a seed is not zero */
  qsort(errors, SEEDS, sizeof *errors, Up);
}

static void Within(const char *options, double value, double low, double high)
{
  const int ok = value >= low && value <= high;

  if (!ok) print_error("%s: %.4f is not between %.4f and %.4f\n", options, value, low, high);
  KalAssert(ok);
}

/*
  The noise floor with K = 5 perturbations for 31 weights: notes 0.018 to 0.021 in 12 runs, NumPy (8 seeds, other data)
  0.008 to 0.022. A seed may end in a poorer minimum, hence one of five may do worse.
*/
static void HaberReachesTheNoiseFloor(void **state)
{
  static const char *const sizes[] = {"5", "10"};
  double                   errors[SEEDS];
  char                     options[256];
  size_t                   k;

  (void)state;
  for (k = 0; k < 2; k++) {
    snprintf(options, sizeof options, "-analysis_type haber -ensemble_size %s -haber_spread 0.05 -haber_damping 0.01 -haber_step 1 -haber_line_search 6 -run_cycles 1000", sizes[k]);
    Errors(options, errors);
    Within(options, errors[SEEDS - 2], 0.005, 0.022);
    Within(options, errors[SEEDS - 1], 0.005, 0.04);
  }
}

/*
  N members reach N - 1 directions; a redraw about the mean every 5 cycles opens the others. Figures of the notes (mean of 5)
  and, where these hang on how large the first random network is, of NumPy with this very set-up (quartiles of 20 seeds):

    members     5            10           20             32             100
    no redraw   0.561        0.466        0.081          0.039          0.025
      NumPy     0.79..1.91   0.34..0.63   0.049..0.106   0.015..0.025   0.016..0.020
    redraw      0.108        0.032        0.025                         0.026
      NumPy     0.11..0.18   0.026..0.048 0.015..0.019   0.017..0.023   0.020..0.026

  The median of five seeds is to lie in a band around both, about half as wide again as the quartiles.
*/
static void MembersSpanTheirSubspace(void **state)
{
  static const struct {
    PetscInt N;
    double   low[2], high[2]; /* without and with redraws */
  } bands[] = {
      {5,   {0.35, 0.05},   {3.0, 0.30}   },
      {10,  {0.20, 0.018},  {0.80, 0.065} },
      {20,  {0.035, 0.010}, {0.16, 0.030} },
      {32,  {0.010, 0.010}, {0.042, 0.030}},
      {100, {0.010, 0.010}, {0.030, 0.032}},
  };
  double errors[SEEDS], median[2] = {0.0};
  char   options[256];
  size_t k;
  int    redraw;

  (void)state;
  for (k = 0; k < sizeof bands / sizeof bands[0]; k++) {
    for (redraw = 0; redraw < 2; redraw++) {
      snprintf(options, sizeof options, "-analysis_type eki -run_cycles 100 -mlp_prior_center_spread 0.5 -ensemble_size %d%s", (int)bands[k].N, redraw ? " -eki_redraw_cycles 5 -eki_redraw_spread 0.1" : "");
      Errors(options, errors);
      median[redraw] = errors[SEEDS / 2];
      Within(options, median[redraw], bands[k].low[redraw], bands[k].high[redraw]);
    }
    if (bands[k].N == 10) KalAssert(median[0] > 5.0 * median[1]);
  }
}

/*
  Members that are independent draws from N(0, I). Figures of the notes (mean of 5), of NumPy with this very set-up (quartiles of 40 seeds, of 12 for eki),
  and a band about twice as wide for the median of five seeds:

    esmda, N = 100, steps   4            8            16           32
    notes                   0.44         0.35         0.16         0.055
    NumPy                   0.58..1.15   0.53..0.91   0.21..0.43   0.13..0.22
    eki, 50 cycles, N       50           100          200          400: more members are slower, not better
    notes                   0.018        0.018..0.033 0.013..0.027 0.050..0.063
    NumPy                   0.014..0.019 0.019..0.031 0.063..0.18  0.21..0.45
*/
static void IndependentMembers(void **state)
{
  static const struct {
    const char *options;
    double      low, high;
  } bands[] = {
      {"-analysis_type esmda -run_cycles 1 -ensemble_size 100 -esmda_steps 4",  0.35,  1.6  },
      {"-analysis_type esmda -run_cycles 1 -ensemble_size 100 -esmda_steps 8",  0.3,   1.25 },
      {"-analysis_type esmda -run_cycles 1 -ensemble_size 100 -esmda_steps 16", 0.12,  0.65 },
      {"-analysis_type esmda -run_cycles 1 -ensemble_size 100 -esmda_steps 32", 0.05,  0.3  },
      {"-analysis_type eki -run_cycles 50 -ensemble_size 50",                   0.008, 0.03 },
      {"-analysis_type eki -run_cycles 50 -ensemble_size 100",                  0.01,  0.045},
      {"-analysis_type eki -run_cycles 50 -ensemble_size 400",                  0.12,  0.8  },
  };
  double errors[SEEDS], median[PETSC_STATIC_ARRAY_LENGTH(bands)];
  char   options[256];

  (void)state;
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(bands); k++) {
    snprintf(options, sizeof options, "%s -mlp_prior_center false", bands[k].options);
    Errors(options, errors);
    median[k] = errors[SEEDS / 2];
    Within(options, median[k], bands[k].low, bands[k].high);
  }
  KalAssert(median[3] < 0.5 * median[0] && median[6] > 5.0 * median[4]);
}

/* The data misfit controller to the total step 1: notes 22 to 27 cycles and 0.03 to 0.04; NumPy with this set-up, 20 seeds, 40 to 61 and 0.026 to 0.089. */
static void TheMisfitSetsTheSteps(void **state)
{
  double      errors[SEEDS];
  const char *options = "-analysis_type eki -eki_update stochastic -eki_step_rule misfit -eki_target posterior -run_cycles 400 -mlp_prior_center false -ensemble_size 50";

  (void)state;
  Errors(options, errors);
  Within(options, errors[SEEDS / 2], 0.02, 0.1);
  Within("cycles", (double)trained, 35.0, 65.0);
}

#endif

/* The same run on one rank and on two. */
static void RanksChangeNothing(void **state)
{
  static const char *const options[] = {
      "-analysis_type haber -ensemble_size 5 -haber_spread 0.05 -haber_damping 0.01 -haber_step 1 -haber_line_search 6 -haber_momentum 0.3 -run_cycles 20",
      "-analysis_type eki -ensemble_size 7 -eki_redraw_cycles 3 -eki_momentum nesterov -run_cycles 8 -ensemble_block_rows 3",
      "-analysis_type eki -ensemble_size 7 -eki_update stochastic -observations_batch 30 -run_cycles 8 -ensemble_exchange messages",
      "-analysis_type etki -ensemble_size 40 -etki_step_rule misfit -etki_step_total 1 -run_cycles 30",
  };
  size_t k;

  (void)state;
  MakeSine();
  for (k = 0; k < sizeof options / sizeof options[0]; k++) {
    double     alone, together;
    PetscInt64 one, all;

    KalCall(Train(PETSC_COMM_SELF, options[k], 3, &alone, &one));
    KalCall(Train(PETSC_COMM_WORLD, options[k], 3, &together, &all));
    KalAssert(one == all && alone == together);
    KalCall(Train(PETSC_COMM_SELF, options[k], 4, &alone, &all));
    KalAssert(one != all);
  }
}

static const struct CMUnitTest tests[] = {
#ifndef KALTEST_SANITIZED /* minutes */
    cmocka_unit_test(HaberReachesTheNoiseFloor),
    cmocka_unit_test(MembersSpanTheirSubspace),
    cmocka_unit_test(IndependentMembers),
    cmocka_unit_test(TheMisfitSetsTheSteps),
#endif
    cmocka_unit_test(RanksChangeNothing),
};

KAL_TEST_MAIN("run sine", tests)
