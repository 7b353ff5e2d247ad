/* ranks: 1 */
/*
  The convolutional network against plain loops over pixels: convolutions, pooling of either kind, dense layers, biases or none,
  in both precisions; predictions of a member do not depend on what is given with it; what is refused.
*/
#include "kaltest.h"

#define SAMPLES 3
#define HEIGHT  9
#define WIDTH   8
#define PIXELS  (HEIGHT * WIDTH * 2)

static double Active(int kind, double z)
{
  return kind == 0 ? (z > 0.0 ? z : 0.0) : tanh(z);
}

/* conv:3:2, pool:2, conv:4:2, dense:5 on images of 9 x 8 with 2 channels: 8 x 7 x 3, 4 x 3 x 3, 3 x 2 x 4, 5. */
static void Reference(const double *x, const double *image, int average, int biases, int kind, double *y)
{
  static double a[8][7][3], b[4][3][3], c[3][2][4];
  const double *w1 = x, *b1 = w1 + 3 * 8, *w2 = b1 + (biases ? 3 : 0), *b2 = w2 + 4 * 12, *w3 = b2 + (biases ? 4 : 0), *b3 = w3 + 5 * 24;

  for (int i = 0; i < 8; i++)
    for (int j = 0; j < 7; j++)
      for (int o = 0; o < 3; o++) {
        double z = biases ? b1[o] : 0.0;

        for (int p = 0; p < 2; p++)
          for (int q = 0; q < 2; q++)
            for (int k = 0; k < 2; k++) z += w1[o * 8 + (p * 2 + q) * 2 + k] * image[((i + p) * WIDTH + j + q) * 2 + k];
        a[i][j][o] = Active(kind, z);
      }
  for (int i = 0; i < 4; i++)
    for (int j = 0; j < 3; j++)
      for (int o = 0; o < 3; o++) {
        const double v[4] = {a[2 * i][2 * j][o], a[2 * i][2 * j + 1][o], a[2 * i + 1][2 * j][o], a[2 * i + 1][2 * j + 1][o]};

        b[i][j][o] = average ? (v[0] + v[1] + v[2] + v[3]) / 4.0 : fmax(fmax(v[0], v[1]), fmax(v[2], v[3]));
      }
  for (int i = 0; i < 3; i++)
    for (int j = 0; j < 2; j++)
      for (int o = 0; o < 4; o++) {
        double z = biases ? b2[o] : 0.0;

        for (int p = 0; p < 2; p++)
          for (int q = 0; q < 2; q++)
            for (int k = 0; k < 3; k++) z += w2[o * 12 + (p * 2 + q) * 3 + k] * b[i + p][j + q][k];
        c[i][j][o] = Active(kind, z);
      }
  for (int u = 0; u < 5; u++) {
    y[u] = biases ? b3[u] : 0.0;
    for (int i = 0; i < 24; i++) y[u] += w3[u * 24 + i] * c[i / 8][i / 4 % 2][i % 4];
  }
}

static void PredictionsAreThoseOfPlainLoops(void **state)
{
  static double x[2][512], input[SAMPLES * PIXELS], out[2][SAMPLES * 5], expected[5];
  static float  inputsingle[SAMPLES * PIXELS];

  (void)state;
  for (int i = 0; i < SAMPLES * PIXELS; i++) inputsingle[i] = (float)(input[i] = (double)(float)sin(1.3 * i));
  for (int variant = 0; variant < 16; variant++) {
    const int  single = variant & 1, average = variant & 2, biases = !(variant & 4), kind = variant & 8 ? 1 : 0;
    KalModel   model;
    PetscInt   n;
    double    *member[2] = {x[0], x[1]}, *y[2] = {out[0], out[1]};
    KalStatus  status[2] = {KAL_MEMBER_OK, KAL_MEMBER_OK};
    char       options[512];
    KalColumns columns = {.first = 0, .count = 2, .total = 2, .column = member};
    KalBatch   batch   = {.samples = SAMPLES, .inputs = PIXELS, .outputs = 5, .precision = single ? KAL_SINGLE : KAL_DOUBLE, .input = single ? (void *)inputsingle : (void *)input};

    snprintf(options, sizeof options, "-model_type cnn -cnn_input 9,8,2 -cnn_layers conv:3:2,pool:2,conv:4:2,dense:5 -cnn_pooling %s -cnn_biases %d -cnn_activation %s -model_precision %s", average ? "average" : "max", biases, kind ? "tanh" : "relu", single ? "single" : "double");
    KalCall(PetscOptionsClear(NULL));
    KalCall(PetscOptionsInsertString(NULL, options));
    KalCall(KalModelCreate(PETSC_COMM_SELF, &model));
    KalCall(KalModelSetFromOptions(model));
    KalCall(KalModelSetUp(model));
    KalCall(KalModelGetSize(model, &n));
    KalAssert(n == 24 + 48 + 120 + (biases ? 12 : 0));
    columns.size = n;
    for (int m = 0; m < 2; m++) KalCall(KalModelInitial(model, (KalKey){4, KAL_DRAW_PRIOR, 0, m}, x[m]));
    KalCall(KalModelObserve(model, NULL, 0.0, &columns, &batch, y, status));
    for (int m = 0; m < 2; m++) {
      for (int s = 0; s < SAMPLES; s++) {
        Reference(x[m], input + s * PIXELS, average, biases, kind, expected);
        for (int u = 0; u < 5; u++) KalAssertNear(out[m][s * 5 + u], expected[u], single ? 2e-5 : 1e-12);
      }
    }
    KalCall(KalModelDestroy(&model));
  }
}

/* The sum of c_i z_i over pooled states z is linear in a layer's weights where the largest stay so: its derivative by differences. */
static void UnpooledNumbersMeetTheirRows(void **state)
{
  static double x[512], moved[512], input[SAMPLES * PIXELS], z[SAMPLES * 36], c[SAMPLES * 36], rows[SAMPLES * 56 * 3], room[SAMPLES * 56 * 8];
  const void   *features;
  KalModel      model;
  KalLayer      layer;

  (void)state;
  for (int i = 0; i < SAMPLES * PIXELS; i++) input[i] = sin(1.3 * i);
  for (int i = 0; i < SAMPLES * 36; i++) c[i] = cos(0.7 * i);
  KalCall(PetscOptionsClear(NULL));
  KalCall(PetscOptionsInsertString(NULL, "-model_type cnn -cnn_input 9,8,2 -cnn_layers conv:3:2,pool:2,conv:4:2,dense:5"));
  KalCall(KalModelCreate(PETSC_COMM_SELF, &model));
  KalCall(KalModelSetFromOptions(model));
  KalCall(KalModelSetUp(model));
  KalCall(KalModelInitial(model, (KalKey){4, KAL_DRAW_PRIOR, 0, 0}, x));
  KalCall(KalModelGetLayer(model, 1, &layer));
  KalAssert(layer.rows == 56 && layer.pool == 2 && layer.across == 7 && KalLayerStates(&layer) == 36);
  KalCall(KalModelUnpool(model, x, 1, SAMPLES, input, c, rows));
  KalCall(KalModelFeatures(model, 1, SAMPLES, input, room, &features));
  for (int w = 0; w < 27; w++) { /* 3 x 8 weights, 3 biases */
    const int unit  = w < 24 ? w / 8 : w - 24;
    double    slope = 0.0, sum[2];

    for (int r = 0; r < SAMPLES * 56; r++) slope += rows[r * 3 + unit] * (w < 24 ? ((const double *)features)[r * 8 + w % 8] : 1.0);
    for (int side = 0; side < 2; side++) {
      memcpy(moved, x, sizeof moved);
      moved[w] += side ? 1e-6 : -1e-6;
      KalCall(KalModelAdvance(model, moved, 0, 1, SAMPLES, input, z));
      sum[side] = 0.0;
      for (int i = 0; i < SAMPLES * 36; i++) sum[side] += c[i] * z[i];
    }
    KalAssertNear(slope, (sum[1] - sum[0]) / 2e-6, 1e-6);
  }
  KalCall(KalModelDestroy(&model));
}

static PetscErrorCode Make(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelSetFromOptions(model));
  PetscCall(KalModelSetUp(model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Refusals(void **state)
{
  const char *const cases[][2] = {
      {"-cnn_input 9,8,2",                               "has no layers"                      },
      {"-cnn_layers dense:3",                            "needs the size of its images"       },
      {"-cnn_input 9,8 -cnn_layers dense:3",             "it needs height, width and channels"},
      {"-cnn_input 9,8,2 -cnn_layers conv:3,dense:3",    "the entry conv:3"                   },
      {"-cnn_input 9,8,2 -cnn_layers pool:2,dense:3",    "the entry pool:2"                   },
      {"-cnn_input 9,8,2 -cnn_layers conv:3:10,dense:3", "nothing is left"                    },
      {"-cnn_input 9,8,2 -cnn_layers conv:3:2,pool:2",   "must end with dense"                },
  };

  (void)state;
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    KalModel model;

    KalCall(PetscOptionsClear(NULL));
    KalCall(PetscOptionsInsertString(NULL, "-model_type cnn"));
    KalCall(PetscOptionsInsertString(NULL, cases[i][0]));
    KalCall(KalModelCreate(PETSC_COMM_SELF, &model));
    KalCallFails(Make(model), cases[i][1]);
    KalCall(KalModelDestroy(&model));
  }
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(PredictionsAreThoseOfPlainLoops),
    cmocka_unit_test(UnpooledNumbersMeetTheirRows),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("models cnn", tests)
