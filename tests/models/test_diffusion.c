/* ranks: 1 2 */
/* The model diffusion: its solutions are those of the scheme in closed form, residuals those of what the network predicts, weighed by the cycle; bad input is refused. */
#include "kaltest.h"

#define CELLS 16
#define TERMS 3

static PetscErrorCode Make(const char *options, KalModel *model)
{
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(KalModelCreate(PETSC_COMM_WORLD, model));
  PetscCall(KalModelSetType(*model, KALMODELDIFFUSION));
  PetscCall(KalModelSetFromOptions(*model));
  PetscCall(KalModelSetUp(*model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Observe(KalModel model, PetscReal stage, PetscInt samples, PetscInt inputs, const double *x, PetscScalar *u, PetscScalar *y, KalStatus *status)
{
  PetscScalar *column[1] = {u}, *out[1] = {y};
  KalColumns   columns = {.first = 0, .count = 1, .total = 1, .column = column};
  KalBatch     batch   = {.samples = samples, .inputs = inputs, .outputs = 1, .precision = KAL_DOUBLE, .input = x};

  PetscFunctionBeginUser;
  *status = KAL_MEMBER_OK;
  PetscCall(KalModelGetSize(model, &columns.size));
  PetscCall(KalModelObserve(model, NULL, stage, &columns, &batch, out, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* u(x) of the manual page: length 0.3, exponent 1.5, mean 0.2, spread 0.8. */
static double Field(const PetscScalar *xi, double x)
{
  double sum = 0.0, u = 0.0;

  for (int k = 0; k < TERMS; k++) {
    const double s2 = pow(1.0 / (0.3 * 0.3) + k * k * PETSC_PI * PETSC_PI, -1.5);

    sum += s2;
    u += sqrt(s2) * (k ? sqrt(2.0) * cos(k * PETSC_PI * x) : 1.0) * xi[k];
  }
  return 0.2 + 0.8 * u / sqrt(sum);
}

#define FIELD "-diffusion_cells 16 -diffusion_terms 3 -diffusion_length 0.3 -diffusion_exponent 1.5 -diffusion_mean 0.2 -diffusion_spread 0.8 -diffusion_load 4 "

/* e^u q' = c - load x in the middle of each cell, with the c that brings q back to 0. */
static void SolutionsAreThoseOfTheScheme(void **state)
{
  PetscScalar xi[TERMS] = {0.5, -1.2, 0.7}, y[CELLS + 3];
  double      x[CELLS + 3], q[CELLS + 1] = {0.0}, above = 0.0, below = 0.0;
  KalStatus   status;
  KalModel    model;

  (void)state;
  for (int i = 0; i < CELLS; i++) {
    const double middle = (i + 0.5) / CELLS, a = exp(Field(xi, middle));

    above += 4.0 * middle / a;
    below += 1.0 / a;
  }
  for (int i = 0; i < CELLS; i++) q[i + 1] = q[i] + (above / below - 4.0 * (i + 0.5) / CELLS) / exp(Field(xi, (i + 0.5) / CELLS)) / CELLS;
  for (int i = 0; i <= CELLS; i++) x[i] = (double)i / CELLS;
  x[CELLS + 1] = 3.25 / CELLS;
  x[CELLS + 2] = 0.999;
  KalCall(Make(FIELD, &model));
  KalCall(Observe(model, 1.0, CELLS + 3, 2, (double[2 * (CELLS + 3)]){0}, xi, y, &status)); /* inputs of two numbers, all of them 0 */
  KalAssert(status == KAL_MEMBER_OK && y[5] == 0.0);
  KalCall(KalModelDestroy(&model));

  KalCall(PetscOptionsClear(NULL));
  KalCall(PetscOptionsInsertString(NULL, FIELD));
  KalCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  KalCall(KalModelSetType(model, KALMODELDIFFUSION));
  KalCall(KalModelSetDataSizes(model, 1, 1));
  KalCall(KalModelSetFromOptions(model));
  KalCall(KalModelSetUp(model));
  KalCall(Observe(model, 1.0, CELLS + 3, 1, x, xi, y, &status));
  KalAssert(status == KAL_MEMBER_OK);
  for (int i = 0; i <= CELLS; i++) KalAssert(fabs(y[i] - q[i]) < 1e-12);
  KalAssert(fabs(y[CELLS + 1] - (0.75 * q[3] + 0.25 * q[4])) < 1e-12 && fabs(y[CELLS + 2] - (1.0 - 0.999) * CELLS * q[CELLS - 1]) < 1e-12);
  xi[0] = 1e6;
  KalCall(Observe(model, 1.0, CELLS + 3, 1, x, xi, y, &status));
  KalAssert(status == KAL_MEMBER_NONFINITE && y[3] == 0.0);
  KalCall(KalModelDestroy(&model));
}

/* -q'' = load + u in the three-point scheme, whose inverse is Green's function at the nodes. */
static void SourcesAreLinear(void **state)
{
  PetscScalar xi[TERMS] = {0.5, -1.2, 0.7}, y[CELLS - 1];
  double      x[2 * (CELLS - 1)];
  KalStatus   status;
  KalModel    model;

  (void)state;
  for (int i = 1; i < CELLS; i++) {
    x[2 * i - 2] = (double)i / CELLS;
    x[2 * i - 1] = 0.0;
  }
  KalCall(Make(FIELD "-diffusion_unknown source", &model));
  KalCall(Observe(model, 1.0, CELLS - 1, 2, x, xi, y, &status));
  for (int i = 1; i < CELLS; i++) {
    double want = 0.0;

    for (int j = 1; j < CELLS; j++) want += PetscMin(i, j) * (double)(CELLS - PetscMax(i, j)) / (CELLS * CELLS) * (4.0 + Field(xi, (double)j / CELLS)) / CELLS;
    KalAssert(fabs(y[i - 1] - want) < 1e-12);
  }
  KalCall(KalModelDestroy(&model));
}

/* Samples of the equation against what a network of two units predicts at the nodes; penalty 0.5 k^2, at most 3. */
static void ResidualsAreWeighedByTheCycle(void **state)
{
  const double stages[][2] = {
      {0.0, 0.5},
      {1.0, 0.5},
      {2.0, 2.0},
      {3.0, 3.0}
  };
  PetscScalar u[TERMS + 7] = {0.5, -1.2, 0.7, 1.1, -0.6, 0.3, 0.2, 0.9, -0.8, 0.4}, y[2 * CELLS];
  double      x[4 * CELLS], q[CELLS + 1];
  KalStatus   status;
  KalModel    model;

  (void)state;
  for (int i = 0; i < CELLS; i++) {
    x[2 * i]                 = (double)i / CELLS;
    x[2 * i + 1]             = 0.0;
    x[2 * CELLS + 2 * i]     = (i + 0.2) / CELLS; /* the equation at the nearest node */
    x[2 * CELLS + 2 * i + 1] = 1.0;
    q[i]                     = 4.0 * x[2 * i] * (1.0 - x[2 * i]) * (0.9 * tanh(1.1 * (2.0 * x[2 * i] - 1.0) + 0.3) - 0.8 * tanh(-0.6 * (2.0 * x[2 * i] - 1.0) + 0.2) + 0.4);
  }
  q[CELLS] = 0.0;
  KalCall(Make(FIELD "-diffusion_one_shot -mlp_layers 1,2,1 -mlp_activation tanh -diffusion_penalty 0.5 -diffusion_penalty_growth 2 -diffusion_penalty_most 3", &model));
  for (size_t s = 0; s < PETSC_STATIC_ARRAY_LENGTH(stages); s++) {
    KalCall(Observe(model, stages[s][0], 2 * CELLS, 2, x, u, y, &status));
    KalAssert(status == KAL_MEMBER_OK);
    for (int i = 1; i < CELLS; i++) {
      const double before = exp(Field(u, (i - 0.5) / CELLS)), after = exp(Field(u, (i + 0.5) / CELLS));
      const double residual = (before * (q[i] - q[i - 1]) + after * (q[i] - q[i + 1])) * CELLS * CELLS - 4.0;

      KalAssert(fabs(y[i] - q[i]) < 1e-12 && fabs(y[CELLS + i] - sqrt(stages[s][1] / CELLS) * residual) < 1e-9);
    }
  }
  KalCall(KalModelDestroy(&model));
}

/* A network inside draws what it would by itself; the field is N(0, 1) in the state. */
static void MembersAreDrawnFromThePrior(void **state)
{
  KalModel    model, network;
  PetscInt    n;
  PetscScalar mean[TERMS + 7], x[TERMS + 7], z[TERMS], theta[7];
  PetscReal   spread[TERMS + 7];
  PetscBool   known;
  KalKey      key = {7, KAL_DRAW_PRIOR, 0, 3};

  (void)state;
  KalCall(Make(FIELD "-diffusion_one_shot -mlp_layers 1,2,1 -mlp_prior_center false", &model));
  KalCall(KalModelCreate(PETSC_COMM_WORLD, &network));
  KalCall(KalModelSetType(network, KALMODELMLP));
  KalCall(KalModelSetFromOptions(network));
  KalCall(KalModelSetUp(network));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == TERMS + 7);
  KalCall(KalModelInitial(model, key, x));
  KalCall(KalModelInitial(network, key, theta));
  KalCall(KalDrawNormal(key, 7, TERMS, z));
  KalCall(KalModelMean(model, mean, &known));
  KalCall(KalModelSpread(model, spread));
  KalAssert(known && spread[0] == 1.0 && spread[TERMS] == PetscSqrtReal(2.0));
  for (int i = 0; i < TERMS; i++) KalAssert(x[i] == z[i] && mean[i] == 0.0);
  for (int i = 0; i < 7; i++) KalAssert(x[TERMS + i] == theta[i] && mean[TERMS + i] == 0.0);
  KalCall(KalModelDestroy(&network));
  KalCall(KalModelDestroy(&model));
}

static void Refusals(void **state)
{
  static const char *const refused[][2] = {
      {"-diffusion_cells 1",                                                "-diffusion_cells 1: must be from 2"         },
      {"-diffusion_cells 8 -diffusion_terms 9",                             "-diffusion_terms 9: must be from 1"         },
      {"-diffusion_length 0",                                               "-diffusion_length 0: it must be more than 0"},
      {"-diffusion_spread -1",                                              "-diffusion_spread -1"                       },
      {"-diffusion_one_shot",                                               "give -mlp_layers"                           },
      {"-diffusion_one_shot -mlp_layers 2,3,1",                             "begin it with 1"                            },
      {"-diffusion_one_shot -mlp_layers 1,3,1 -diffusion_penalty 0",        "-diffusion_penalty 0: it must be more"      },
      {"-diffusion_one_shot -mlp_layers 1,3,1 -diffusion_penalty_most 0.5", "-diffusion_penalty_most 0.5 is less"        },
      {"-model_precision single",                                           "leave -model_precision single out"          }
  };
  KalModel    model = NULL;
  PetscScalar xi[6] = {0.0}, y[1];
  KalStatus   status;

  (void)state;
  for (size_t s = 0; s < PETSC_STATIC_ARRAY_LENGTH(refused); s++) {
    KalCallFails(Make(refused[s][0], &model), refused[s][1]);
    KalCall(PetscOptionsClear(NULL));
    KalCall(KalModelDestroy(&model));
  }
  KalCall(Make("", &model));
  KalCallFails(Observe(model, 1.0, 1, 2, (double[]){1.5, 0.0}, xi, y, &status), "lies at x = 1.5");
  KalCallFails(Observe(model, 1.0, 1, 2, (double[]){0.5, 2.0}, xi, y, &status), "second input of a sample is 2");
  KalCall(KalModelDestroy(&model));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(SolutionsAreThoseOfTheScheme),
    cmocka_unit_test(SourcesAreLinear),
    cmocka_unit_test(ResidualsAreWeighedByTheCycle),
    cmocka_unit_test(MembersAreDrawnFromThePrior),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("models diffusion", tests)
