/* ranks: 1 2 */
/*
  The parameterizations field, level-set and channel against formulas written out here: covariances, and far from the sides the Matern one; linearity; the
  unknown numbers of the covariance; levels; a channel's cells; refusals. The models are there for their sizes.
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
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The covariance of T(u), the sum over the state of T(e_k) T(e_k)', of 200 places on a line of length 20: exp(-r) in the middle for alpha = 1 and l = 1. */
static void CovarianceIsMatern(void **state)
{
  enum {
    N = 200
  };
  static PetscScalar u[N], w[N];
  static double      covariance[N][N];
  double             variance = 0.0, sum = 0.0;
  KalModel           model;
  PetscInt           n;

  (void)state;
  KalCall(Make("-mlp_layers 99,2 -parameterization_type field -field_sides 20 -field_length 1 -field_exponent 1 -field_sd 1.5", &model));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == N);
  for (int k = 0; k < N; k++) sum += 1.0 / (1.0 + pow(k * PETSC_PI / 20.0, 2.0));
  for (int k = 0; k < N; k++) {
    for (int i = 0; i < N; i++) u[i] = i == k ? 1.0 : 0.0;
    KalCall(KalModelMap(model, u, w));
    for (int i = 0; i < N; i++) {
      for (int j = 0; j < N; j++) covariance[i][j] += w[i] * w[j];
    }
  }
  for (int i = 0; i < N; i++) variance += covariance[i][i] / N;
  KalAssert(fabs(variance - 1.5 * 1.5) < 1e-10);
  for (int i = 0; i < N; i += 13) {
    double want = 0.0;

    for (int k = 0; k < N; k++) want += (k ? 2.0 : 1.0) * cos(k * PETSC_PI * (i + 0.5) / N) * cos(k * PETSC_PI * 77.5 / N) / (1.0 + pow(k * PETSC_PI / 20.0, 2.0));
    KalAssert(fabs(covariance[i][77] - 2.25 * want / sum) < 1e-10);
  }
  for (int r = 2; r <= 40; r++) KalAssert(fabs(covariance[100][100 + r] / covariance[100][100] - exp(-0.1 * r)) < 0.025);
  KalCall(KalModelDestroy(&model));
}

/* Modes of 2 x 3 on 4 x 5 places of a rectangle, length and sd unknown. */
static void UnknownLengths(void **state)
{
  PetscScalar  u[8]   = {0.3, -1.1, 0.8, 0.5, -0.4, 1.7, 0.6, -0.9}, w[20], w2[20], z[8];
  const double length = 0.3 * exp(0.5 * 0.6), sd = 2.0 * exp(0.25 * -0.9), alpha = 2.5;
  double       sum = 0.0;
  KalKey       key = {3, KAL_DRAW_PRIOR, 0, 5};
  PetscReal    spread[8];
  KalModel     model;
  PetscInt     n;

  (void)state;
  KalCall(Make("-model_type darcy -darcy_cells 4,5 -parameterization_type field -field_grid 4,5 -field_modes 2,3 -field_sides 2,1 -field_mean 0.7 -field_length 0.3 -field_length_spread 0.5 -field_exponent 2.5 -field_sd 2 -field_sd_spread 0.25", &model));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 8);
  KalCall(KalModelMap(model, u, w));
  for (int l = 0; l < 3; l++) {
    for (int k = 0; k < 2; k++) sum += pow(1.0 + length * length * (pow(k * PETSC_PI / 2.0, 2.0) + pow(l * PETSC_PI, 2.0)), -alpha);
  }
  for (int i = 0; i < 20; i++) {
    double want = 0.0;

    for (int l = 0; l < 3; l++) {
      for (int k = 0; k < 2; k++) want += (k ? sqrt(2.0) : 1.0) * (l ? sqrt(2.0) : 1.0) * cos(k * PETSC_PI * (i % 4 + 0.5) / 4.0) * cos(l * PETSC_PI * ((double)(i / 4) + 0.5) / 5.0) * u[k + 2 * l] * pow(1.0 + length * length * (pow(k * PETSC_PI / 2.0, 2.0) + pow(l * PETSC_PI, 2.0)), -0.5 * alpha);
    }
    KalAssert(fabs(w[i] - (0.7 + sd * want / sqrt(sum))) < 1e-12);
  }
  for (int i = 0; i < 6; i++) u[i] *= -2.0; /* linear in the coefficients */
  KalCall(KalModelMap(model, u, w2));
  for (int i = 0; i < 20; i++) KalAssert(fabs((w2[i] - 0.7) + 2.0 * (w[i] - 0.7)) < 1e-12);
  KalCall(KalModelInitial(model, key, u));
  KalCall(KalDrawNormal(key, 0, 8, z));
  KalCall(KalModelSpread(model, spread));
  for (int i = 0; i < 8; i++) KalAssert(u[i] == z[i] && spread[i] == 1.0);
  KalCall(KalModelDestroy(&model));
}

#define GRID "-model_type darcy -darcy_cells 4,5 -field_grid 4,5 "

static void LevelsAndPositivity(void **state)
{
  PetscScalar u[20], plain[20], cut[20], positive[20];
  KalModel    model;
  int         seen[3] = {0};

  (void)state;
  for (int i = 0; i < 20; i++) u[i] = 2.0 * sin(1.3 * i * i);
  KalCall(Make(GRID "-parameterization_type field -field_length 0.1", &model));
  KalCall(KalModelMap(model, u, plain));
  KalCall(KalModelDestroy(&model));
  KalCall(Make(GRID "-parameterization_type field -field_length 0.1 -field_exponential", &model));
  KalCall(KalModelMap(model, u, positive));
  KalCall(KalModelDestroy(&model));
  KalCall(Make(GRID "-parameterization_type level-set -field_length 0.1 -level_set_thresholds -0.5,0.5 -level_set_values 3,-1,7", &model));
  KalCall(KalModelMap(model, u, cut));
  KalCall(KalModelDestroy(&model));
  for (int i = 0; i < 20; i++) {
    const int level = plain[i] < -0.5 ? 0 : plain[i] < 0.5 ? 1
                                                           : 2;

    seen[level]++;
    KalAssert(positive[i] > 0.0 && fabs(positive[i] - exp(plain[i])) <= 1e-12 * positive[i]);
    KalAssert(cut[i] == (level == 0 ? 3.0 : level == 1 ? -1.0
                                                       : 7.0));
  }
  KalAssert(seen[0] && seen[1] && seen[2]);
}

/* Seven numbers: those of the middle of the ranges, and others; each column of cells has the channel's width of it. */
static void Channel(void **state)
{
  PetscScalar u[7] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.5, -0.2}, w[8 * 50];
  KalModel    model;
  PetscInt    n;

  (void)state;
  KalCall(Make("-model_type darcy -darcy_cells 8,50 -parameterization_type channel -channel_grid 8,50 -channel_amplitude 0.1,0.2 -channel_frequency 0.8,1.2 -channel_slope 0,0.2 -channel_offset 0.35,0.45 -channel_width 0.1,0.3 -channel_inside 2,0.5 -channel_outside 0.1,0.25", &model));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 7);
  for (int shift = 0; shift < 2; shift++) {
    const double part = 0.5 * erfc(-0.7 * shift / sqrt(2.0)), inside = 2.25, outside = 0.05;

    u[4] = 0.7 * shift;
    KalCall(KalModelMap(model, u, w));
    for (int i = 0; i < 8; i++) {
      const double x = (i + 0.5) / 8.0, middle = 0.4 + 0.1 * x + 0.15 * sin(2.0 * PETSC_PI * x), width = 0.1 + 0.2 * part;
      double       filled = 0.0;

      for (int j = 0; j < 50; j++) {
        filled += (w[i + 8 * j] - outside) / (inside - outside) / 50.0;
        if (fabs((j + 0.5) / 50.0 - middle) < 0.5 * width - 0.01) KalAssert(fabs(w[i + 8 * j] - inside) < 1e-12);
        if (fabs((j + 0.5) / 50.0 - middle) > 0.5 * width + 0.01) KalAssert(fabs(w[i + 8 * j] - outside) < 1e-12);
      }
      KalAssert(fabs(filled - width) < 1e-12);
    }
  }
  for (int i = 0; i < 7; i++) { /* what is no number makes none */
    const PetscScalar fine = u[i];

    u[i] = i % 2 ? INFINITY : NAN;
    KalCall(KalModelMap(model, u, w));
    for (int j = 0; j < 8 * 50; j++) KalAssert(isnan(w[j]));
    u[i] = fine;
  }
  KalCall(KalModelDestroy(&model));
}

static void Refusals(void **state)
{
  static const char *const refused[][2] = {
      {"-parameterization_type field -field_grid 4,4",                                                                                                                    "-field_grid makes 4 x 4 places, but the model darcy takes 20"},
      {"-parameterization_type field -field_grid 4,5 -field_modes 5,5",                                                                                                   "-field_modes has 5 along a side of 4 places"                 },
      {"-parameterization_type field -field_grid 4,5 -field_modes 4",                                                                                                     "-field_modes has 1 numbers; -field_grid has 2"               },
      {"-parameterization_type field -field_grid 4,5 -field_sides 1,0",                                                                                                   "-field_sides has a side of 0"                                },
      {"-parameterization_type field -field_grid 4,5 -field_length 0",                                                                                                    "-field_length 0"                                             },
      {"-parameterization_type field -field_grid 4,5 -field_sd_spread -1",                                                                                                "-field_sd_spread -1"                                         },
      {"-parameterization_type level-set -field_grid 4,5",                                                                                                                "give at least one level"                                     },
      {"-parameterization_type level-set -field_grid 4,5 -level_set_thresholds 1,0 -level_set_values 1,2,3",                                                              "they must rise"                                              },
      {"-parameterization_type field -field_grid 9,7,4",                                                                                                                  "-field_grid has more than 2 numbers"                         },
      {"-parameterization_type field -field_grid 4,5 -field_modes 4,4,3",                                                                                                 "-field_modes has more than 2 numbers"                        },
      {"-parameterization_type field -field_grid 4,5 -field_sides 1,2,3",                                                                                                 "-field_sides has more than 2 numbers"                        },
      {"-parameterization_type level-set -field_grid 4,5 -level_set_thresholds 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32", "-level_set_thresholds has more than 32 numbers"              },
      {"-parameterization_type level-set -field_grid 4,5 -level_set_values 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33",  "-level_set_values has more than 33 numbers"                  },
      {"-parameterization_type channel -channel_grid 4,5,6",                                                                                                              "-channel_grid has more than 2 numbers"                       },
      {"-parameterization_type channel -channel_grid 4,5 -channel_width 0.1,0.3,0.7",                                                                                     "-channel_width has more than 2 numbers"                      },
      {"-parameterization_type channel",                                                                                                                                  "needs -channel_grid"                                         },
      {"-parameterization_type channel -channel_grid 5,5",                                                                                                                "-channel_grid makes 5 x 5 cells"                             },
      {"-parameterization_type channel -channel_grid 4,5 -channel_width 0.3,0.1",                                                                                         "the least must be less"                                      },
      {"-parameterization_type channel -channel_grid 4,5 -channel_inside 1,0",                                                                                            "standard deviation must be positive"                         }
  };
  KalModel model = NULL;
  char     options[256];

  (void)state;
  for (size_t s = 0; s < PETSC_STATIC_ARRAY_LENGTH(refused); s++) {
    snprintf(options, sizeof options, "-model_type darcy -darcy_cells 4,5 %s", refused[s][0]);
    KalCallFails(Make(options, &model), refused[s][1]);
    KalCall(PetscOptionsClear(NULL));
    KalCall(KalModelDestroy(&model));
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(CovarianceIsMatern),
    cmocka_unit_test(UnknownLengths),
    cmocka_unit_test(LevelsAndPositivity),
    cmocka_unit_test(Channel),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("models field", tests)
