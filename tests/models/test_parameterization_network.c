/* ranks: 1 2 */
/*
  Parameterizations of networks against dense formulas: subspace, projection, inducing, scales. The maps are taken apart by unit vectors or written out
  with the draws that their manual pages name; derivatives are held against central differences; refusals.
*/
#include "kaltest.h"

enum {
  MOST    = 400,
  SAMPLES = 6
};
static double none[MOST], at[MOST], moved[MOST], w[MOST], base[MOST], column[MOST][MOST];

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

/* base = T(0), column[k] = T(e_k) - T(0), and that T is affine. */
static void TakeApart(KalModel model, PetscInt n, PetscInt numbers)
{
  KalCall(KalModelMap(model, none, base));
  for (PetscInt i = 0; i < numbers; i++) moved[i] = base[i];
  for (PetscInt k = 0; k < n; k++) {
    memset(at, 0, sizeof at);
    at[k] = 1.0;
    KalCall(KalModelMap(model, at, w));
    for (PetscInt i = 0; i < numbers; i++) {
      column[k][i] = w[i] - base[i];
      moved[i] += column[k][i] * sin(1.0 + (double)k);
    }
  }
  for (PetscInt k = 0; k < n; k++) at[k] = sin(1.0 + (double)k);
  KalCall(KalModelMap(model, at, w));
  for (PetscInt i = 0; i < numbers; i++) KalAssertNear(w[i], moved[i], 1e-12);
}

/* The derivative of predictions along T, by central differences of a weighted sum. */
static PetscErrorCode Given(void *ctx, PetscInt member, PetscInt first, PetscInt samples, const PetscScalar *y, PetscScalar *s)
{
  const PetscInt outputs = *(PetscInt *)ctx;

  (void)member;
  (void)y;
  for (PetscInt i = 0; i < samples * outputs; i++) s[i] = cos(2.3 * (double)(first * outputs + i));
  return PETSC_SUCCESS;
}

static double Sum(KalModel model, const KalBatch *batch, PetscInt n, double *u)
{
  static double y[SAMPLES * 8];
  double       *out = y, sum = 0.0;
  KalStatus     status  = KAL_MEMBER_OK;
  KalColumns    columns = {0, 1, 1, n, &u};

  KalCall(KalModelObserve(model, NULL, 0, &columns, batch, &out, &status));
  for (int i = 0; i < SAMPLES * batch->outputs; i++) sum += cos(2.3 * i) * y[i];
  return sum;
}

static void CheckAdjoint(KalModel model)
{
  static double input[SAMPLES * 40], g[MOST];
  double       *u = at, *gradient = g, worst = 0.0;
  PetscInt      n, inputs, outputs;

  KalCall(KalModelGetSize(model, &n));
  KalCall(KalModelGetDataSizes(model, &inputs, &outputs));
  for (int i = 0; i < SAMPLES * inputs; i++) input[i] = sin(1.0 + 1.7 * i);
  for (PetscInt i = 0; i < n; i++) at[i] = 0.4 * sin(0.7 * (double)(i * i));
  KalColumns columns = {0, 1, 1, n, &u};
  KalBatch   batch   = {.samples = SAMPLES, .inputs = inputs, .outputs = outputs, .input = input};
  KalCall(KalModelAdjoint(model, &columns, &batch, Given, &outputs, &gradient));
  for (PetscInt i = 0; i < n; i++) {
    const double here = at[i], step = 1e-5;
    double       slope;

    at[i] = here + step;
    slope = Sum(model, &batch, n, at);
    at[i] = here - step;
    slope = (slope - Sum(model, &batch, n, at)) / (2.0 * step);
    at[i] = here;
    worst = fmax(worst, fabs(g[i] - slope) / fmax(1.0, fabs(slope)));
  }
  if (worst > 1e-7) print_error("off by %g\n", worst);
  KalAssert(worst <= 1e-7);
}

/* Columns of a layer are s a_i b_j' with orthonormal a and b; on the average the prior's variance times scale^2. */
static void CheckBilinear(const KalLayer *layer, PetscInt first, PetscInt out, PetscInt in, double sd)
{
  const PetscInt f = layer->features, u = layer->units;
  const double   squared = sd * sd * (double)(f * u) / (double)(in * out);

  for (PetscInt k = 0; k < out * in; k++) {
    for (PetscInt m = 0; m < out * in; m++) {
      const double *a = column[first + k] + layer->offset, *b = column[first + m] + layer->offset;
      double        inner = 0.0, worst = 0.0;

      for (PetscInt i = 0; i < f * u; i++) inner += a[i] * b[i];
      KalAssertNear(inner, k == m ? squared : 0.0, 1e-12);
      for (PetscInt i = 0; i < u; i++) { /* other rows of B: D_k D_m' = 0 */
        for (PetscInt j = 0; j < u; j++) {
          double sum = 0.0;

          for (PetscInt c = 0; c < f; c++) sum += a[i * f + c] * b[j * f + c];
          if (k % in != m % in) worst = fmax(worst, fabs(sum));
        }
      }
      for (PetscInt i = 0; i < f; i++) { /* other columns of A: D_k' D_m = 0 */
        for (PetscInt j = 0; j < f; j++) {
          double sum = 0.0;

          for (PetscInt c = 0; c < u; c++) sum += a[c * f + i] * b[c * f + j];
          if (k / in != m / in) worst = fmax(worst, fabs(sum));
        }
      }
      KalAssert(worst < 1e-12);
    }
  }
}

static void SubspacesAreBilinear(void **state)
{
  KalModel model, plain;
  PetscInt n;
  KalLayer layer;

  (void)state;
  KalCall(Make("-mlp_layers 7,5,3 -mlp_activation tanh -mlp_prior_scale 0.4 -parameterization_type subspace -subspace_ranks 2x3,3x2 -subspace_scale 0.5 -subspace_seed 4", &model));
  KalCall(Make("-mlp_layers 7,5,3 -mlp_activation tanh -mlp_prior_scale 0.4", &plain));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 6 + 5 + 6 + 3);
  TakeApart(model, n, 58);
  KalCall(KalModelInitial(plain, (KalKey){4, KAL_DRAW_CENTER, 0, 0}, w));
  KalAssert(!memcmp(w, base, 58 * sizeof *w));
  KalCall(KalModelGetLayer(plain, 1, &layer));
  CheckBilinear(&layer, 0, 2, 3, 0.2);
  KalCall(KalModelGetLayer(plain, 2, &layer));
  CheckBilinear(&layer, 11, 3, 2, 0.2);
  for (PetscInt k = 0; k < 5; k++) {
    for (PetscInt i = 0; i < 58; i++) KalAssertNear(column[6 + k][i], i == 35 + k ? 0.05 : 0.0, 1e-15);
  }
  KalCall(KalModelInitial(model, (KalKey){4, KAL_DRAW_CENTER, 0, 0}, w));
  for (PetscInt i = 0; i < n; i++) KalAssert(w[i] == 0.0);
  CheckAdjoint(model);
  KalCall(KalModelDestroy(&model));
  KalCall(Make("-mlp_layers 7,5,3 -mlp_activation tanh -parameterization_type subspace -subspace_ranks 4x2,full -subspace_biases 0", &model));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 8 + 15);
  CheckAdjoint(model);
  KalCall(KalModelDestroy(&model));
  KalCall(KalModelDestroy(&plain));
}

/* With full ranks the weights are the state, scaled about the network: the members of a seed are those of the plain model. */
static void FullSubspacesAreThePlainModel(void **state)
{
  const KalKey key = {0, KAL_DRAW_PRIOR, 0, 2};
  KalModel     model, plain;
  PetscInt     n;

  (void)state;
  KalCall(Make("-mlp_layers 7,5,3 -parameterization_type subspace -subspace_ranks full,full", &model));
  KalCall(Make("-mlp_layers 7,5,3", &plain));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 58);
  KalCall(KalModelInitial(model, key, at));
  KalCall(KalModelMap(model, at, w));
  KalCall(KalModelInitial(plain, key, moved));
  for (PetscInt i = 0; i < n; i++) KalAssertNear(w[i], moved[i], 1e-15);
  KalCall(KalModelDestroy(&model));
  KalCall(KalModelDestroy(&plain));
}

/* Entries of P are signs, columns orthogonal in whole blocks, and the whole of P as full as it can be. */
static void ProjectionsAreHadamards(void **state)
{
  KalModel model;
  PetscInt n;

  (void)state;
  KalCall(Make("-mlp_layers 7,5,3 -mlp_activation tanh -mlp_prior_scale 0.4 -mlp_prior_bias_scale 0.4 -parameterization_type projection -projection_size 11 -projection_scale 0.5", &model));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 11);
  TakeApart(model, n, 58);
  for (PetscInt k = 0; k < n; k++) {
    for (PetscInt i = 0; i < 58; i++) KalAssertNear(fabs(column[k][i]), 0.2 / sqrt(11.0), 1e-14);
    for (PetscInt m = 0; m < k; m++) {
      for (PetscInt block = 0; block < 3; block++) {
        double sum = 0.0;

        for (PetscInt i = 16 * block; i < 16 * block + 16; i++) sum += column[k][i] * column[m][i];
        KalAssertNear(sum, 0.0, 1e-14);
      }
    }
  }
  CheckAdjoint(model);
  KalCall(KalModelDestroy(&model));
  KalCall(Make("-mlp_layers 3,2,2 -mlp_activation tanh -parameterization_type projection -projection_size 14 -projection_scale 0.5", &model));
  CheckAdjoint(model);
  KalCall(KalModelDestroy(&model));
}

/* K = Z Z' + D^2, its Cholesky factor C by rows, and its inverse by Gauss and Jordan. */
static void Factors(PetscInt rank, PetscInt rows, const double *Z, double diagonal, double *C, double *inverse)
{
  double K[8][16] = {{0.0}};

  for (PetscInt i = 0; i < rank; i++) {
    for (PetscInt j = 0; j < rank; j++) {
      for (PetscInt c = 0; c < rows; c++) K[i][j] += Z[i * rows + c] * Z[j * rows + c];
    }
    K[i][i] += diagonal * diagonal;
    K[i][rank + i] = 1.0;
  }
  for (PetscInt i = 0; i < rank; i++) {
    for (PetscInt j = 0; j <= i; j++) {
      double sum = K[i][j];

      for (PetscInt c = 0; c < j; c++) sum -= C[i * rank + c] * C[j * rank + c];
      C[i * rank + j] = i == j ? sqrt(sum) : sum / C[j * rank + j];
    }
    for (PetscInt j = i + 1; j < rank; j++) C[i * rank + j] = 0.0;
  }
  for (PetscInt i = 0; i < rank; i++) {
    const double pivot = K[i][i];

    for (PetscInt c = 0; c < 2 * rank; c++) K[i][c] /= pivot;
    for (PetscInt j = 0; j < rank; j++) {
      const double factor = K[j][i];

      for (PetscInt c = 0; j != i && c < 2 * rank; c++) K[j][c] -= factor * K[i][c];
    }
  }
  for (PetscInt i = 0; i < rank; i++) {
    for (PetscInt j = 0; j < rank; j++) inverse[i * rank + j] = K[i][rank + j];
  }
}

/* C (m x n) = A (m x k) B (k x n), or with B' (n x k), by rows. */
static void Times(PetscInt m, PetscInt n, PetscInt k, const double *A, const double *B, int transposed, double *C)
{
  for (PetscInt i = 0; i < m; i++) {
    for (PetscInt j = 0; j < n; j++) {
      C[i * n + j] = 0.0;
      for (PetscInt c = 0; c < k; c++) C[i * n + j] += A[i * k + c] * (transposed ? B[j * k + c] : B[c * n + j]);
    }
  }
}

/* The paper's formula with U = C_r V C_c' written out, for the first layer: 5 units, 7 features and the biases. */
static void InducingWeightsAreThePapers(void **state)
{
  enum {
    OUT   = 2,
    IN    = 3,
    UNITS = 5,
    WIDE  = 8
  };
  KalModel model;
  PetscInt n;
  double   Zr[OUT * UNITS], Zc[IN * WIDE], Cr[OUT * OUT], Cc[IN * IN], Kr[OUT * OUT], Kc[IN * IN], U[OUT * IN], A[OUT * IN], B[OUT * IN], W[OUT * WIDE], all[UNITS * WIDE], Zt[UNITS * OUT];

  (void)state;
  KalCall(Make("-mlp_layers 7,5,3 -mlp_activation tanh -mlp_prior_scale 0.4 -parameterization_type inducing -inducing_ranks 2x3,1x2 -inducing_seed 6 -inducing_diagonal 0.3 -inducing_normalize 0", &model));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 6 + 2);
  TakeApart(model, n, 58);
  for (PetscInt i = 0; i < 58; i++) KalAssert(base[i] == 0.0);
  KalCall(KalDrawNormal((KalKey){6, KAL_DRAW_SUBSPACE, 0, 0}, 0, IN * WIDE, Zc));
  KalCall(KalDrawNormal((KalKey){6, KAL_DRAW_SUBSPACE, 0, 1}, 0, OUT * UNITS, Zr));
  for (int i = 0; i < IN * WIDE; i++) Zc[i] /= sqrt(3.0);
  for (int i = 0; i < OUT * UNITS; i++) Zr[i] /= sqrt(2.0);
  Factors(OUT, UNITS, Zr, 0.3, Cr, Kr);
  Factors(IN, WIDE, Zc, 0.3, Cc, Kc);
  for (PetscInt i = 0; i < n; i++) at[i] = sin(1.0 + (double)i);
  KalCall(KalModelMap(model, at, w));
  Times(OUT, IN, OUT, Cr, at, 0, A);
  Times(OUT, IN, IN, A, Cc, 1, U);
  Times(OUT, IN, OUT, Kr, U, 0, A);
  Times(OUT, IN, IN, A, Kc, 0, B);
  Times(OUT, WIDE, IN, B, Zc, 0, W);
  for (int i = 0; i < OUT; i++) {
    for (int j = 0; j < UNITS; j++) Zt[j * OUT + i] = Zr[i * UNITS + j];
  }
  Times(UNITS, WIDE, OUT, Zt, W, 0, all);
  for (int j = 0; j < UNITS; j++) {
    for (int i = 0; i < 7; i++) KalAssertNear(w[j * 7 + i], 0.4 * all[j * WIDE + i], 1e-13);
    KalAssertNear(w[35 + j], 0.1 * all[j * WIDE + 7], 1e-13);
  }
  CheckAdjoint(model);
  KalCall(KalModelDestroy(&model));
}

/* Normalized, the weights have the prior's variance on the average; the noise is a share of the one prior draw. */
static void InducingWeightsAreNormalized(void **state)
{
  KalModel model, plain;
  PetscInt n;
  double   sum = 0.0;

  (void)state;
  KalCall(Make("-mlp_layers 7,5,3 -mlp_activation tanh -mlp_prior_scale 0.4 -mlp_prior_bias_scale 0.4 -parameterization_type inducing -inducing_noise 0.5", &model));
  KalCall(Make("-mlp_layers 7,5,3 -mlp_prior_scale 0.4 -mlp_prior_bias_scale 0.4", &plain));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 2 * 2 + 1 * 2); /* the roots of 5 x 8 and 3 x 6 */
  TakeApart(model, n, 58);
  for (PetscInt k = 0; k < 4; k++) {
    for (PetscInt i = 0; i < 40; i++) sum += column[k][i] * column[k][i];
  }
  KalAssertNear(sqrt(sum / 40.0), 0.4, 1e-13);
  KalCall(KalModelInitial(plain, (KalKey){0, KAL_DRAW_CENTER, 0, 0}, w));
  for (PetscInt i = 0; i < 58; i++) KalAssertNear(base[i], 0.5 * w[i], 1e-15);
  KalCall(KalModelDestroy(&model));
  KalCall(KalModelDestroy(&plain));
}

static void ScalesMultiplyLayers(void **state)
{
  const KalKey key = {3, KAL_DRAW_PRIOR, 0, 2};
  KalModel     model, plain;
  PetscReal    spread[MOST], z[2];
  PetscInt     n;

  (void)state;
  KalCall(Make("-mlp_layers 7,5,3 -mlp_activation tanh -parameterization_type scales -scales_spread 0.7", &model));
  KalCall(Make("-mlp_layers 7,5,3", &plain));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 60);
  KalCall(KalModelSpread(model, spread));
  KalAssert(spread[0] == 1.0 && spread[57] == 1.0 && spread[58] == 0.7 && spread[59] == 0.7);
  KalCall(KalModelInitial(model, key, at));
  KalCall(KalModelInitial(plain, key, moved));
  KalCall(KalDrawNormal(key, 58, 2, z));
  KalAssert(at[58] == 0.7 * z[0] && at[59] == 0.7 * z[1]);
  KalCall(KalModelMap(model, at, w));
  for (PetscInt i = 0; i < 58; i++) {
    const double scale = i < 35 ? exp(at[58]) : i >= 40 && i < 55 ? exp(at[59])
                                                                  : 1.0;

    KalAssertNear(w[i], scale * moved[i], 1e-14);
  }
  CheckAdjoint(model);
  KalCall(KalModelDestroy(&model));
  KalCall(KalModelDestroy(&plain));
}

/* Kernels of a convolution are a layer like another; without biases there are none in the state. */
static void ConvolutionsHaveThemToo(void **state)
{
  KalModel model;
  PetscInt n;
  KalLayer layer;

  (void)state;
  KalCall(Make("-model_type cnn -cnn_input 5,4,2 -cnn_layers conv:3:2,dense:4 -cnn_biases 0 -parameterization_type subspace -subspace_ranks 2x3,4x2", &model));
  KalCall(KalModelGetSize(model, &n));
  KalAssert(n == 6 + 8);
  TakeApart(model, n, 24 + 144);
  layer = (KalLayer){.features = 8, .units = 3, .offset = 0};
  CheckBilinear(&layer, 0, 2, 3, 0.1 * sqrt(2.0 / 8.0));
  KalCall(KalModelDestroy(&model));
}

static void Refusals(void **state)
{
  static const char *const refused[][2] = {
      {"-model_type elliptic -parameterization_type subspace",                      "models of type elliptic have none"            },
      {"-model_type elliptic -parameterization_type scales",                        "models of type elliptic have none"            },
      {"-mlp_layers 4,3,2 -parameterization_type subspace -subspace_ranks 1x2",     "-subspace_ranks has 1 entries"                },
      {"-mlp_layers 4,3,2 -parameterization_type subspace -subspace_ranks 1x2,3x3", "entry 3x3 of layer 2, a matrix of 2 x 3"      },
      {"-mlp_layers 4,3,2 -parameterization_type subspace -subspace_ranks 1x2,0x3", "ranks are from 1"                             },
      {"-mlp_layers 4,3,2 -parameterization_type inducing -inducing_ranks 1x2,2y3", "entry 2y3 of layer 2 is neither OUTxIN"       },
      {"-mlp_layers 4,3,2 -parameterization_type inducing -inducing_diagonal 0",    "-inducing_diagonal 0"                         },
      {"-mlp_layers 4,3,2 -parameterization_type projection",                       "give -projection_size, at most the model's 23"},
      {"-mlp_layers 4,3,2 -parameterization_type projection -projection_size 24",   "takes no more than 23"                        },
      {"-model_type lorenz63 -parameterization_type projection -projection_size 2", "cannot be undone"                             },
      {"-mlp_layers 4,3,2 -parameterization_type scales -scales_spread -1",         "-scales_spread -1"                            },
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
    cmocka_unit_test(SubspacesAreBilinear),
    cmocka_unit_test(FullSubspacesAreThePlainModel),
    cmocka_unit_test(ProjectionsAreHadamards),
    cmocka_unit_test(InducingWeightsAreThePapers),
    cmocka_unit_test(InducingWeightsAreNormalized),
    cmocka_unit_test(ScalesMultiplyLayers),
    cmocka_unit_test(ConvolutionsHaveThemToo),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("models parameterization network", tests)
