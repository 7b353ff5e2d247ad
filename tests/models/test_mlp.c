/* ranks: 1 */
#include "kaltest.h"

#include <stdlib.h>

/* A model mlp with options "-name value ...", set up; the options are taken away again. */
static KalModel Make(const char *options)
{
  KalModel model = NULL;

  KalCall(PetscOptionsInsertString(NULL, options));
  KalCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  KalCall(KalModelSetFromOptions(model));
  KalCall(KalModelSetUp(model));
  KalCall(PetscOptionsClear(NULL));
  return model;
}

static PetscErrorCode Configure(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelSetFromOptions(model));
  PetscCall(KalModelSetUp(model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Refused(const char *options, PetscInt inputs, PetscInt outputs, const char *message)
{
  KalModel model = NULL;

  KalCall(PetscOptionsInsertString(NULL, options));
  KalCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  KalCall(KalModelSetDataSizes(model, inputs, outputs));
  KalCallFails(Configure(model), message);
  KalCall(KalModelDestroy(&model));
  KalCall(PetscOptionsClear(NULL));
}

static void *Allocate(size_t bytes)
{
  void *p = malloc(bytes);
  assert_non_null(p);
  return p;
}

/* A rank's members and a batch, and where the predictions go. */
typedef struct {
  PetscInt      members, samples, size, inputs, outputs;
  KalPrecision  precision;
  PetscScalar **x, **y;
  double       *input;
  float        *input_single;
  KalStatus    *status;
} Case;

static Case NewCase(KalModel model, PetscInt members, PetscInt samples)
{
  Case c;

  c.members = members;
  c.samples = samples;
  KalCall(KalModelGetSize(model, &c.size));
  KalCall(KalModelGetDataSizes(model, &c.inputs, &c.outputs));
  KalCall(KalModelGetPrecision(model, &c.precision));
  c.x = Allocate((size_t)members * sizeof *c.x);
  c.y = Allocate((size_t)members * sizeof *c.y);
  for (PetscInt m = 0; m < members; m++) {
    c.x[m] = Allocate((size_t)c.size * sizeof **c.x);
    c.y[m] = Allocate((size_t)(samples * c.outputs) * sizeof **c.y);
  }
  c.input        = Allocate((size_t)(samples * c.inputs) * sizeof *c.input);
  c.input_single = Allocate((size_t)(samples * c.inputs) * sizeof *c.input_single);
  c.status       = Allocate((size_t)members);
  return c;
}

static void FreeCase(Case *c)
{
  for (PetscInt m = 0; m < c->members; m++) {
    free(c->x[m]);
    free(c->y[m]);
  }
  free(c->x);
  free(c->y);
  free(c->input);
  free(c->input_single);
  free(c->status);
}

/* Predictions of members begin..end-1 in one call. */
static void Observe(KalModel model, Case *c, PetscInt begin, PetscInt end)
{
  KalColumns columns = {begin, end - begin, c->members, c->size, c->x + begin};
  KalBatch   batch   = {.samples = c->samples, .inputs = c->inputs, .outputs = c->outputs, .precision = c->precision, .input = c->input};

  if (c->precision == KAL_SINGLE) {
    for (PetscInt i = 0; i < c->samples * c->inputs; i++) c->input_single[i] = (float)c->input[i];
    batch.input = c->input_single;
  }
  memset(c->status + begin, KAL_MEMBER_OK, (size_t)(end - begin));
  KalCall(KalModelObserve(model, NULL, 0, &columns, &batch, c->y + begin, c->status + begin));
}

static KalKey Key(KalDrawPurpose purpose, PetscInt64 member)
{
  KalKey key;
  key.seed    = 17;
  key.purpose = purpose;
  key.cycle   = 0;
  key.member  = member;
  return key;
}

/* Fills with whole multiples of 1/8 in [-1, 1): sums of their products are exact in single precision too. */
static void FillExact(double *v, PetscInt64 n, PetscInt64 stream)
{
  KalCall(KalDrawUniform(Key(KAL_DRAW_TEST, stream), 0, n, v));
  for (PetscInt64 i = 0; i < n; i++) v[i] = floor(16.0 * v[i]) / 8.0 - 1.0;
}

static double Activation(const char *name, double v)
{
  if (!strcmp(name, "relu")) return v > 0.0 ? v : 0.0;
  if (!strcmp(name, "tanh")) return tanh(v);
  if (!strcmp(name, "sigmoid")) return 1.0 / (1.0 + exp(-v));
  if (!strcmp(name, "heaviside")) return v > 0.0 ? 1.0 : 0.0;
  return v;
}

/* The network, written down: unit by unit, weights of a layer before its biases. */
static void Network(int layers, const int *width, const char *activation, const double *x, const double *input, double *output)
{
  double a[2][512];

  for (int i = 0; i < width[0]; i++) a[0][i] = input[i];
  for (int l = 0; l < layers; l++) {
    const double *in = a[l % 2], *bias = x + width[l] * width[l + 1];
    for (int u = 0; u < width[l + 1]; u++) {
      double v = bias[u];
      for (int i = 0; i < width[l]; i++) v += x[u * width[l] + i] * in[i];
      a[(l + 1) % 2][u] = l + 1 < layers ? Activation(activation, v) : v;
    }
    x = bias + width[l + 1];
  }
  for (int o = 0; o < width[layers]; o++) output[o] = a[layers % 2][o];
}

static void ForwardPass(void **state)
{
  static const struct {
    int layers, width[5], samples;
  } nets[] = {
      {1, {5, 3},           4   },
      {2, {7, 4, 2},        513 },
      {3, {33, 17, 9, 3},   20  },
      {2, {3, 300, 2},      7   },
      {4, {20, 8, 6, 5, 1}, 1030}
  };
  static const char *const activations[] = {"relu", "tanh", "sigmoid", "heaviside", "linear"};
  char                     options[200];
  double                   expected[8];

  (void)state;
  for (size_t k = 0; k < sizeof nets / sizeof nets[0]; k++) {
    for (int a = 0; a < 5; a++) {
      for (int single = 0; single < 2; single++) {
        const int *width = nets[k].width, outputs = width[nets[k].layers];
        /* where nothing is rounded on the way, both precisions are exact */
        const double tolerance = !strcmp(activations[a], "tanh") || !strcmp(activations[a], "sigmoid") ? (single ? 2e-5 : 1e-12) : !strcmp(activations[a], "heaviside") || nets[k].layers < 3 ? 0.0
                                                                                                                                                                                              : (single ? 5e-3 : 1e-10);
        double       worst     = 0.0;
        size_t       at        = 0;
        KalModel     model;
        Case         c;

        for (int l = 0; l <= nets[k].layers; l++) at += (size_t)snprintf(options + at, sizeof options - at, "%s%d", l ? "," : "-mlp_layers ", width[l]);
        snprintf(options + at, sizeof options - at, " -mlp_activation %s -model_precision %s", activations[a], single ? "single" : "double");
        model = Make(options);
        c     = NewCase(model, 9, nets[k].samples);
        for (PetscInt m = 0; m < c.members; m++) FillExact(c.x[m], c.size, m);
        FillExact(c.input, (PetscInt64)c.samples * c.inputs, 1000);
        Observe(model, &c, 0, c.members);
        for (PetscInt m = 0; m < c.members; m++) {
          for (PetscInt s = 0; s < c.samples; s++) {
            Network(nets[k].layers, width, activations[a], c.x[m], c.input + s * c.inputs, expected);
            for (int o = 0; o < outputs; o++) worst = PetscMax(worst, fabs(c.y[m][s * outputs + o] - expected[o]));
          }
          assert_int_equal(c.status[m], KAL_MEMBER_OK);
        }
        if (worst > tolerance) print_error("%s\n", options);
        KalAssertNear(worst, 0.0, tolerance);
        FreeCase(&c);
        KalCall(KalModelDestroy(&model));
      }
    }
  }
}

/* One unit with weight 1: the activation itself, against the C library over its whole range. */
static void Activations(void **state)
{
  const int samples = 4001;

  (void)state;
  for (int single = 0; single < 2; single++) {
    for (int sigmoid = 0; sigmoid < 2; sigmoid++) {
      const double relative = single ? 3e-7 : 1e-14;
      char         options[200];
      KalModel     model;
      Case         c;

      snprintf(options, sizeof options, "-mlp_layers 1,1,1 -mlp_activation %s -model_precision %s", sigmoid ? "sigmoid" : "tanh", single ? "single" : "double");
      model = Make(options);
      c     = NewCase(model, 1, samples);
      memcpy(c.x[0], ((const double[]){1.0, 0.0, 1.0, 0.0}), 4 * sizeof(double));
      for (int s = 0; s < samples; s++) c.input[s] = s == 0 ? 1e30 : s == 1 ? -1e30
                                                                            : (double)(float)(pow((s - 2000) / 2000.0, 3) * 80.0);
      Observe(model, &c, 0, 1);
      for (int s = 0; s < samples; s++) {
        const double exact = Activation(sigmoid ? "sigmoid" : "tanh", c.input[s]);
        KalAssertNear(c.y[0][s], exact, relative * fabs(exact) + (s == 1 ? 1e-37 : 0.0));
      }
      FreeCase(&c);
      KalCall(KalModelDestroy(&model));
    }
  }
}

/* However the members are dealt out in columns, and whatever the others are, their bits are the same. */
static void SplitsGiveTheSameBits(void **state)
{
#if defined(__SANITIZE_ADDRESS__) /* ten times as slow, and looking for other things */
  const int samples = 97;
#else
  const int samples = 600;
#endif
  static const char *const nets[] = {"50,24,10", "31,130,20,3", "12,300,4"};
  char                     options[200];

  (void)state;
  for (int k = 0; k < 3; k++) {
    for (int single = 0; single < 2; single++) {
      KalModel model;
      Case     c;
      double  *all;
      size_t   row;

      snprintf(options, sizeof options, "-mlp_layers %s -mlp_activation tanh -model_precision %s -mlp_prior_center 0", nets[k], single ? "single" : "double");
      model = Make(options);
      c     = NewCase(model, 23, samples);
      row   = (size_t)(c.samples * c.outputs);
      all   = Allocate((size_t)c.members * row * sizeof *all);
      for (PetscInt m = 0; m < c.members; m++) KalCall(KalModelInitial(model, Key(KAL_DRAW_PRIOR, m), c.x[m]));
      KalCall(KalDrawNormal(Key(KAL_DRAW_TEST, 0), 0, (PetscInt64)c.samples * c.inputs, c.input));
      Observe(model, &c, 0, c.members);
      for (PetscInt m = 0; m < c.members; m++) memcpy(all + (size_t)m * row, c.y[m], row * sizeof *all);
      for (PetscInt width = 1; width < c.members; width++) { /* every width of range, starting anywhere */
        for (PetscInt begin = -(width - 1) / 2; begin < c.members; begin += width) {
          const PetscInt b = PetscMax(begin, 0), e = PetscMin(begin + width, c.members);
          for (PetscInt m = b; m < e; m++) memset(c.y[m], 0, row * sizeof **c.y);
          Observe(model, &c, b, e);
        }
        for (PetscInt m = 0; m < c.members; m++) assert_memory_equal(c.y[m], all + (size_t)m * row, row * sizeof *all);
      }
      free(all);
      FreeCase(&c);
      KalCall(KalModelDestroy(&model));
    }
  }
}

/* Standard deviation of entries begin..end-1 over members, against sd within 5 standard errors; and the mean against 0. */
static void CheckSpread(const Case *c, PetscInt begin, PetscInt end, double sd)
{
  const double n   = (double)c->members * (double)(end - begin);
  double       sum = 0.0, squares = 0.0;

  for (PetscInt m = 0; m < c->members; m++) {
    for (PetscInt i = begin; i < end; i++) {
      sum += c->x[m][i];
      squares += c->x[m][i] * c->x[m][i];
    }
  }
  KalAssertNear(sqrt(squares / n), sd, 5.0 * sd / sqrt(2.0 * n));
  KalAssertNear(sum / n, 0.0, 5.0 * sd / sqrt(n));
}

static void PriorByLayer(void **state)
{
  /* 60,40,5: weights 0..2399, biases ..2439, weights ..2639, biases ..2644 */
  static const struct {
    const char *options;
    double      first, second, biases;
  } priors[] = {
      {"",                                                     0.18257418583505536, 0.22360679774997896, 0.1 },
      {"-mlp_prior_scale he -mlp_prior_bias_scale 0.25",       0.18257418583505536, 0.22360679774997896, 0.25},
      {"-mlp_prior_scale xavier",                              0.14142135623730951, 0.21081851067789195, 0.1 },
      {"-mlp_prior_scale lecun -mlp_prior_bias_scale 0",       0.12909944487358055, 0.15811388300841897, 0.0 },
      {"-mlp_prior_scale 0.7",                                 0.7,                 0.7,                 0.1 },
      {"-mlp_prior_scales 0.3,xavier",                         0.3,                 0.21081851067789195, 0.1 },
      {"-mlp_prior_scales lecun,2e-3 -mlp_prior_bias_scale 2", 0.12909944487358055, 2e-3,                2.0 }
  };
  char options[200];

  (void)state;
  for (size_t k = 0; k < sizeof priors / sizeof priors[0]; k++) {
    KalModel model;
    Case     c;
    double  *spread;

    snprintf(options, sizeof options, "-mlp_layers 60,40,5 -mlp_prior_center false %s", priors[k].options);
    model  = Make(options);
    c      = NewCase(model, 60, 1);
    spread = Allocate((size_t)c.size * sizeof *spread);
    assert_int_equal(c.size, 2645);
    KalCall(KalModelSpread(model, spread));
    for (PetscInt m = 0; m < c.members; m++) KalCall(KalModelInitial(model, Key(KAL_DRAW_PRIOR, m), c.x[m]));
    CheckSpread(&c, 0, 2400, priors[k].first);
    CheckSpread(&c, 2400, 2440, priors[k].biases);
    CheckSpread(&c, 2440, 2640, priors[k].second);
    CheckSpread(&c, 2640, 2645, priors[k].biases);
    for (PetscInt i = 0; i < c.size; i++) {
      const double sd = i < 2400 ? priors[k].first : i < 2440 ? priors[k].biases
                                                 : i < 2640   ? priors[k].second
                                                              : priors[k].biases;
      KalAssertNear(spread[i], sd, 1e-15);
    }
    free(spread);
    FreeCase(&c);
    KalCall(KalModelDestroy(&model));
  }
}

/* Each entry is what its draws say: sd z, or sd (c + spread z) about a network that no member and no cycle changes. */
static void PriorEntries(void **state)
{
  (void)state;
  for (int center = 0; center < 2; center++) {
    KalModel model  = Make(center ? "-mlp_layers 60,40,5 -mlp_prior_center_spread 0.3" : "-mlp_layers 60,40,5 -mlp_prior_center 0");
    Case     c      = NewCase(model, 3, 1);
    double  *spread = Allocate((size_t)c.size * sizeof *spread), *z = Allocate((size_t)c.size * sizeof *z), *network = Allocate((size_t)c.size * sizeof *network);

    KalCall(KalModelSpread(model, spread));
    KalCall(KalDrawNormal(Key(KAL_DRAW_CENTER, 0), 0, c.size, network));
    for (PetscInt m = 0; m < c.members; m++) {
      KalKey key = Key(KAL_DRAW_PRIOR, 7 * m);
      key.cycle  = m;
      KalCall(KalModelInitial(model, key, c.x[m]));
      KalCall(KalDrawNormal(key, 0, c.size, z));
      for (PetscInt i = 0; i < c.size; i++) KalAssertNear(c.x[m][i], spread[i] * (center ? network[i] + 0.3 * z[i] : z[i]), 1e-15);
    }
    free(spread);
    free(z);
    free(network);
    FreeCase(&c);
    KalCall(KalModelDestroy(&model));
  }
}

/* A NaN or an overflow in a member marks it and nobody else, whatever the activation. */
static void NonfiniteMembers(void **state)
{
  static const char *const activations[] = {"relu", "tanh", "sigmoid", "heaviside", "linear"};
  char                     options[200];

  (void)state;
  for (int a = 0; a < 5; a++) {
    for (int single = 0; single < 2; single++) {
      KalModel model;
      Case     c;

      snprintf(options, sizeof options, "-mlp_layers 6,5,2 -mlp_activation %s -model_precision %s", activations[a], single ? "single" : "double");
      model = Make(options);
      c     = NewCase(model, 20, 40);
      for (PetscInt m = 0; m < c.members; m++) FillExact(c.x[m], c.size, m);
      FillExact(c.input, (PetscInt64)c.samples * c.inputs, 1000);
      c.x[3][8]           = NAN;                 /* of the first layer */
      c.x[9][32]          = NAN;                 /* a bias of the first layer */
      c.x[12][c.size - 1] = INFINITY;            /* a bias of the last */
      c.x[13][c.size - 1] = single ? 1e39 : 1.0; /* beyond single precision */
      Observe(model, &c, 0, c.members);
      for (PetscInt m = 0; m < c.members; m++) {
        const int bad = m == 3 || m == 9 || m == 12 || (single && m == 13);
        KalAssert(c.status[m] == (bad ? KAL_MEMBER_NONFINITE : KAL_MEMBER_OK));
        for (PetscInt i = 0; i < c.samples * c.outputs; i++) KalAssert(bad ? c.y[m][i] == 0.0 : isfinite(c.y[m][i]));
      }
      FreeCase(&c);
      KalCall(KalModelDestroy(&model));
    }
  }
}

static void LayoutAndView(void **state)
{
  KalModel    model = Make("-mlp_layers 784,100,10 -mlp_activation heaviside -model_precision single");
  char        layout[64], text[1000] = "";
  PetscInt    n, inputs, outputs, stages;
  PetscReal   bytes[2];
  PetscViewer viewer;
  FILE       *file;

  (void)state;
  KalCall(KalModelGetLayout(model, sizeof layout, layout));
  assert_string_equal(layout, "mlp 784,100,10 heaviside");
  KalCallFails(KalModelGetLayout(model, 10, layout), "does not fit 10");
  KalCall(KalModelGetSize(model, &n));
  KalCall(KalModelGetDataSizes(model, &inputs, &outputs));
  KalCall(KalModelGetStages(model, &stages));
  KalAssert(n == 79510 && inputs == 784 && outputs == 10 && stages == 2);
  KalCall(KalModelGetMemory(model, 512, &bytes[0]));
  KalCall(KalModelGetMemory(model, 100000, &bytes[1]));
  KalAssert(bytes[0] == bytes[1] && bytes[0] > 4.0 * 79510 && bytes[0] < 64.0 * 79510); /* samples go through in blocks of 512 */
  KalCall(PetscViewerASCIIOpen(PETSC_COMM_WORLD, KalTestPath("view"), &viewer));
  KalCall(KalModelView(model, viewer));
  KalCall(PetscViewerDestroy(&viewer));
  file = fopen(KalTestPath("view"), "r");
  assert_non_null(file);
  KalAssert(fread(text, 1, sizeof text - 1, file) > 0);
  fclose(file);
  KalAssert(strstr(text, "784,100,10") && strstr(text, "heaviside") && strstr(text, "single") && strstr(text, "0.05051"));
  KalCall(KalModelDestroy(&model));
}

static void BadOptions(void **state)
{
  (void)state;
  Refused("", 784, 10, "no layers: give -mlp_layers");
  Refused("-mlp_layers 784", 784, 10, "has 1 numbers");
  Refused("-mlp_layers 784,0,10", 784, 10, "width 0");
  Refused("-mlp_layers 100,100,10", 784, 10, "-mlp_layers begins with 100 but the data have 784 inputs a sample");
  Refused("-mlp_layers 784,100,9", 784, 10, "-mlp_layers ends with 9 but the data have 10 outputs");
  Refused("-mlp_layers 4,3,2 -mlp_prior_scale hee", 0, 0, "Prior scale hee of layer 1");
  Refused("-mlp_layers 4,3,2 -mlp_prior_scale -1", 0, 0, "Prior scale -1 of layer 1");
  Refused("-mlp_layers 4,3,2 -mlp_prior_scale 0", 0, 0, "Prior scale 0 of layer 1");
  Refused("-mlp_layers 4,3,2 -mlp_prior_scale 1e999", 0, 0, "Prior scale 1e999 of layer 1");
  Refused("-mlp_layers 4,3,2 -mlp_prior_scales he,x", 0, 0, "Prior scale x of layer 2");
  Refused("-mlp_layers 4,3,2 -mlp_prior_scales 1,2,3", 0, 0, "has 3 entries but -mlp_layers makes 2");
  Refused("-mlp_layers 4,3,2 -mlp_prior_scales 1,2 -mlp_prior_scale he", 0, 0, "give one of them");
  Refused("-mlp_layers 4,3,2 -mlp_prior_bias_scale -1", 0, 0, "-mlp_prior_bias_scale -1");
  Refused("-mlp_layers 4,3,2 -mlp_prior_center_spread 0", 0, 0, "-mlp_prior_center_spread 0");
  Refused("-mlp_layers 4,3,2 -mlp_activation reluu", 0, 0, "reluu");
  if (sizeof(PetscInt) == 4) Refused("-mlp_layers 100000,100000,10", 0, 0, "more than 2147483647 weights");
}

static void BadBatches(void **state)
{
  KalModel   model = Make("-mlp_layers 4,3,2");
  double     x[23] = {0}, input[8] = {0}, y[4];
  double    *column[1] = {x}, *predictions[1] = {y};
  KalColumns columns = {0, 1, 1, 23, column};
  KalBatch   good    = {.samples = 2, .inputs = 4, .outputs = 2, .precision = KAL_DOUBLE, .input = input}, bad;
  KalStatus  status  = KAL_MEMBER_FAILED;

  (void)state;
  KalCall(KalModelObserve(model, NULL, 0, &columns, &good, predictions, &status));
  KalAssert(status == KAL_MEMBER_FAILED && y[0] == 0.0); /* who failed before stays so */
  bad           = good;
  bad.precision = KAL_SINGLE;
  KalCallFails(KalModelObserve(model, NULL, 0, &columns, &bad, predictions, &status), "in single precision but the model in double");
  bad        = good;
  bad.inputs = 5;
  KalCallFails(KalModelObserve(model, NULL, 0, &columns, &bad, predictions, &status), "5 inputs a sample but the model takes 4");
  bad         = good;
  bad.outputs = 1;
  KalCallFails(KalModelObserve(model, NULL, 0, &columns, &bad, predictions, &status), "1 outputs a sample but the model predicts 2");
  bad       = good;
  bad.input = NULL;
  KalCallFails(KalModelObserve(model, NULL, 0, &columns, &bad, predictions, &status), "has no inputs");
  columns.size = 24;
  KalCallFails(KalModelObserve(model, NULL, 0, &columns, &good, predictions, &status), "Members have 24 numbers");
  columns.size  = 23;
  columns.count = 0;
  KalCall(KalModelObserve(model, NULL, 0, &columns, &good, NULL, NULL));
  KalCall(KalModelDestroy(&model));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(ForwardPass),
    cmocka_unit_test(Activations),
    cmocka_unit_test(SplitsGiveTheSameBits),
    cmocka_unit_test(PriorByLayer),
    cmocka_unit_test(PriorEntries),
    cmocka_unit_test(NonfiniteMembers),
    cmocka_unit_test(LayoutAndView),
    cmocka_unit_test(BadOptions),
    cmocka_unit_test(BadBatches),
};

KAL_TEST_MAIN("mlp", tests)
