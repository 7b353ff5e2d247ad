/*
  The model "cnn": convolutions, pooling and dense layers, whose weights are the state. Products are of patches by weights, in
  packed panels (layers.c).

  Images are rows of pixels, a pixel's channels side by side. The state holds layer after layer: of each unit (channel) the
  weights of kernel x kernel x channels, or of all inputs of a dense layer; then the units' biases.
*/
#include <models/activation.h>
#include <models/modelimpl.h>
#include <models/prior.h>

#include <ensemble/wider.h>

#include <string.h>

#define KAL_CNN_LAYERS 64

typedef enum {
  KAL_POOL_MAX,
  KAL_POOL_AVERAGE,
} KalPooling;
static const char *const Poolings[] = {"max", "average", "KalPooling", "KAL_POOL_", NULL};

typedef struct {
  PetscInt height, width, channels;
} KalMap;

typedef struct {
  KalMap     before, map, out; /* states before it, what is left of them by averages, what its rows become */
  PetscInt   pool, kernel;     /* squares that are averaged first, or 1; edge of a convolution, 0: dense */
  PetscInt   maxima;           /* squares of which the largest become its states, or 1 */
  PetscInt   features;         /* of a row */
  PetscInt64 offset;
  PetscReal  sd; /* prior, of the weights */
} KalCNNLayer;

typedef struct {
  PetscInt      layers;
  KalMap        input;
  KalCNNLayer   layer[KAL_CNN_LAYERS];
  char          text[2 * KAL_CNN_LAYERS][32]; /* as they were given */
  PetscInt      entries;
  KalActivation activation;
  KalPooling    pooling;
  char          scale[32];
  PetscReal     bias_scale, spread;
  PetscBool     center, biases;
  void         *work; /* an activated image and a pooled one */
} KalCNN;

#define REAL     float
#define NAME(x)  x##Single
#define ACTIVATE KalActivateSingle
#include <models/cnn_kernels.h>

#define REAL     double
#define NAME(x)  x##Double
#define ACTIVATE KalActivateDouble
#include <models/cnn_kernels.h>

static PetscErrorCode LayersFromOptions(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalCNN   *cnn                             = (KalCNN *)model->data;
  char     *entries[2 * KAL_CNN_LAYERS + 1] = {NULL};
  PetscInt  n = 2 * KAL_CNN_LAYERS + 1, sizes = 3, size[3] = {cnn->input.height, cnn->input.width, cnn->input.channels};
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsIntArray("-cnn_input", "height, width and channels of an image", "KALMODELCNN", size, &sizes, &given));
  PetscCheck(!given || sizes == 3, model->comm, PETSC_ERR_ARG_SIZ, "-cnn_input has %" PetscInt_FMT " numbers; it needs height, width and channels, as in 28,28,1", sizes);
  cnn->input = (KalMap){size[0], size[1], size[2]};
  PetscCall(PetscOptionsStringArray("-cnn_layers", "conv:CHANNELS:EDGE, pool:EDGE and dense:UNITS in their order", "KALMODELCNN", entries, &n, &given));
  if (!given) PetscFunctionReturn(PETSC_SUCCESS);
  cnn->entries = PetscMin(n, 2 * KAL_CNN_LAYERS);
  for (PetscInt i = 0; i < n; i++) {
    if (i < cnn->entries) PetscCall(PetscStrncpy(cnn->text[i], entries[i], sizeof cnn->text[i]));
    PetscCall(PetscFree(entries[i]));
  }
  PetscCheck(n <= 2 * KAL_CNN_LAYERS, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cnn_layers has more than %d entries", 2 * KAL_CNN_LAYERS);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetFromOptions_CNN(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalCNN   *cnn     = (KalCNN *)model->data;
  PetscEnum pooling = (PetscEnum)cnn->pooling, activation = (PetscEnum)cnn->activation.type;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model cnn: a convolutional network");
  PetscCall(LayersFromOptions(model, PetscOptionsObject));
  PetscCall(PetscOptionsEnum("-cnn_activation", "of the hidden layers; the outputs are linear", "KALMODELCNN", KalActivations, activation, &activation, NULL));
  PetscCall(PetscOptionsRangeInt("-cnn_activation_levels", "levels of the activation steps", "KALMODELCNN", cnn->activation.levels, &cnn->activation.levels, NULL, 2, 65536));
  PetscCall(PetscOptionsEnum("-cnn_pooling", "what a pooled square becomes", "KALMODELCNN", Poolings, pooling, &pooling, NULL));
  PetscCall(PetscOptionsBool("-cnn_biases", "units have biases", "KALMODELCNN", cnn->biases, &cnn->biases, NULL));
  PetscCall(PetscOptionsString("-cnn_prior_scale", "sd of the weights: he, xavier, lecun or a number", "KALMODELCNN", cnn->scale, cnn->scale, sizeof cnn->scale, NULL));
  PetscCall(PetscOptionsReal("-cnn_prior_bias_scale", "sd of the biases", "KALMODELCNN", cnn->bias_scale, &cnn->bias_scale, NULL));
  PetscCall(PetscOptionsBool("-cnn_prior_center", "members are scattered about one random network", "KALMODELCNN", cnn->center, &cnn->center, NULL));
  PetscCall(PetscOptionsReal("-cnn_prior_center_spread", "sd of that scatter in units of the prior's sd", "KALMODELCNN", cnn->spread, &cnn->spread, NULL));
  cnn->pooling         = (KalPooling)pooling;
  cnn->activation.type = (KalActivationType)activation;
  PetscCheck(cnn->bias_scale >= 0.0 && cnn->bias_scale <= PETSC_MAX_REAL, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cnn_prior_bias_scale %g: a standard deviation is finite and not negative", (double)cnn->bias_scale);
  PetscCheck(cnn->spread > 0.0 && cnn->spread <= PETSC_MAX_REAL, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cnn_prior_center_spread %g: it is finite and positive", (double)cnn->spread);
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The numbers of "name:first:second"; 0 for what is not there, -1 where the entry is something else. */
static PetscInt Entry(const char *text, const char *name, PetscInt *first, PetscInt *second)
{
  const size_t length = strlen(name);
  char         rest;
  int          a = 0, b = 0, n;

  if (strncmp(text, name, length) || text[length] != ':') return -1;
  n       = sscanf(text + length + 1, "%d:%d%c", &a, &b, &rest);
  *first  = a;
  *second = b;
  return n > 2 || n < 1 || (n == 1 && strchr(text + length + 1, ':')) ? 0 : n;
}

/* A layer that follows a map of states, some of it pooled. */
static PetscErrorCode AddLayer(KalModel model, KalMap before, PetscInt pool, PetscInt kernel, PetscInt units, KalMap *out)
{
  KalCNN      *cnn   = (KalCNN *)model->data;
  KalCNNLayer *layer = &cnn->layer[cnn->layers];
  KalMap       map   = {before.height / pool, before.width / pool, before.channels};

  PetscFunctionBeginUser;
  PetscCheck(cnn->layers < KAL_CNN_LAYERS, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cnn_layers has more than %d layers of weights", KAL_CNN_LAYERS);
  PetscCheck(map.height >= PetscMax(1, kernel) && map.width >= PetscMax(1, kernel), model->comm, PETSC_ERR_ARG_SIZ, "-cnn_layers: nothing is left of an image of %" PetscInt_FMT " x %" PetscInt_FMT " after pooling by %" PetscInt_FMT " and a convolution of edge %" PetscInt_FMT, before.height, before.width, pool, kernel);
  *out   = kernel ? (KalMap){map.height - kernel + 1, map.width - kernel + 1, units} : (KalMap){1, 1, units};
  *layer = (KalCNNLayer){.before = before, .map = map, .out = *out, .pool = pool, .kernel = kernel, .maxima = 1, .features = map.channels * (kernel ? kernel * kernel : map.height * map.width)};
  cnn->layers++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Squares of a layer's states become one: their largest before its activation, which is not falling, or their mean behind it. */
static PetscErrorCode AddPool(KalModel model, PetscInt edge, KalMap *map, PetscInt *pool)
{
  KalCNN      *cnn   = (KalCNN *)model->data;
  KalCNNLayer *layer = &cnn->layer[cnn->layers - 1];

  PetscFunctionBeginUser;
  *pool = edge;
  if (cnn->pooling == KAL_POOL_AVERAGE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(map->height >= edge && map->width >= edge, model->comm, PETSC_ERR_ARG_SIZ, "-cnn_layers: nothing is left of an image of %" PetscInt_FMT " x %" PetscInt_FMT " after pooling by %" PetscInt_FMT, map->height, map->width, edge);
  layer->maxima = edge;
  *map          = (KalMap){map->height / edge, map->width / edge, map->channels};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeLayers(KalModel model)
{
  KalCNN  *cnn  = (KalCNN *)model->data;
  KalMap   map  = cnn->input;
  PetscInt pool = 1, a = 0, b = 0; /* pool: of the entry before */

  PetscFunctionBeginUser;
  cnn->layers = 0;
  for (PetscInt i = 0; i < cnn->entries; i++) {
    const char    *text     = cnn->text[i];
    const PetscInt averaged = cnn->pooling == KAL_POOL_AVERAGE ? pool : 1;

    if (Entry(text, "pool", &a, &b) == 1 && a >= 1 && i && pool == 1) {
      PetscCall(AddPool(model, a, &map, &pool));
      continue;
    }
    if (Entry(text, "conv", &a, &b) == 2 && a >= 1 && b >= 1) PetscCall(AddLayer(model, map, averaged, b, a, &map));
    else if (Entry(text, "dense", &a, &b) == 1 && a >= 1) PetscCall(AddLayer(model, map, averaged, 0, a, &map));
    else SETERRQ(model->comm, PETSC_ERR_ARG_WRONG, "-cnn_layers has the entry %s; allowed are conv:CHANNELS:EDGE, dense:UNITS and, behind a layer, pool:EDGE", text);
    pool = 1;
  }
  PetscCheck(cnn->layers && pool == 1, model->comm, PETSC_ERR_ARG_WRONG, "-cnn_layers must end with dense:OUTPUTS, as in conv:8:5,pool:2,dense:10");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckDataSizes(KalModel model, const KalCNN *cnn)
{
  const KalMap  *in = &cnn->input, *out = &cnn->layer[cnn->layers - 1].out;
  const PetscInt inputs = in->height * in->width * in->channels, outputs = out->height * out->width * out->channels;

  PetscFunctionBeginUser;
  PetscCheck(!model->inputs || model->inputs == inputs, model->comm, PETSC_ERR_ARG_SIZ, "-cnn_input makes images of %" PetscInt_FMT " numbers but the data have %" PetscInt_FMT " inputs a sample", inputs, model->inputs);
  PetscCheck(!model->outputs || model->outputs == outputs, model->comm, PETSC_ERR_ARG_SIZ, "-cnn_layers ends with %" PetscInt_FMT " numbers but the data have %" PetscInt_FMT " outputs (or classes) a sample; end it with dense:%" PetscInt_FMT, outputs, model->outputs, model->outputs);
  model->inputs  = inputs;
  model->outputs = outputs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_CNN(KalModel model)
{
  KalCNN    *cnn  = (KalCNN *)model->data;
  PetscInt64 n    = 0;
  PetscInt   room = 1;

  PetscFunctionBeginUser;
  PetscCheck(cnn->entries, model->comm, PETSC_ERR_ARG_WRONGSTATE, "The model cnn has no layers: give -cnn_layers, as in conv:8:5,pool:2,dense:10");
  PetscCheck(cnn->input.height >= 1 && cnn->input.width >= 1 && cnn->input.channels >= 1, model->comm, PETSC_ERR_ARG_WRONGSTATE, "The model cnn needs the size of its images: give -cnn_input height,width,channels, as in 28,28,1");
  PetscCall(MakeLayers(model));
  PetscCall(CheckDataSizes(model, cnn));
  for (PetscInt l = 0; l < cnn->layers; l++) {
    KalCNNLayer *layer = &cnn->layer[l];

    layer->sd = KalPriorScale(cnn->scale, layer->features, layer->out.channels * (layer->kernel ? layer->kernel * layer->kernel : 1));
    PetscCheck(layer->sd > 0.0, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cnn_prior_scale %s: allowed are he, xavier, lecun and positive numbers", cnn->scale);
    layer->offset = n;
    n += ((PetscInt64)layer->features + (cnn->biases ? 1 : 0)) * layer->out.channels;
    room = PetscMax(room, 2 * layer->before.height * layer->before.width * layer->before.channels);
    PetscCheck(n <= PETSC_MAX_INT, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cnn_layers makes more than %" PetscInt_FMT " weights, the most that this PETSc can count", PETSC_MAX_INT);
  }
  PetscCall(PetscMalloc((size_t)room * sizeof(double), &cnn->work));
  PetscCall(KalModelSetSize(model, (PetscInt)n));
  PetscCall(KalModelSetStages(model, cnn->layers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayer_CNN(KalModel model, PetscInt stage, KalLayer *layer)
{
  const KalCNNLayer *l = &((const KalCNN *)model->data)->layer[stage - 1];

  PetscFunctionBeginUser;
  *layer = (KalLayer){.features = l->features, .units = l->out.channels, .rows = l->out.height * l->out.width, .pool = l->maxima, .across = l->out.width, .biased = ((const KalCNN *)model->data)->biases, .offset = l->offset};
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelFeatures_CNN(KalModel model, PetscInt stage, PetscInt samples, const void *before, void *room, const void **features)
{
  const KalCNN *cnn = (const KalCNN *)model->data;

  PetscFunctionBeginUser;
  if (model->precision == KAL_SINGLE) FeaturesSingle(cnn, stage, samples, (const float *)before, (float *)room, features);
  else FeaturesDouble(cnn, stage, samples, (const double *)before, (double *)room, features);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_CNN(KalModel model, KalKey key, PetscScalar *x)
{
  const KalCNN *cnn = (const KalCNN *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < cnn->layers; l++) {
    const KalCNNLayer *layer   = &cnn->layer[l];
    const PetscInt64   weights = (PetscInt64)layer->features * layer->out.channels, at = layer->offset;

    PetscCall(KalPriorDraw(cnn->center, cnn->spread, key, layer->sd, at, weights, x + at));
    if (cnn->biases) PetscCall(KalPriorDraw(cnn->center, cnn->spread, key, cnn->bias_scale, at + weights, layer->out.channels, x + at + weights));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_CNN(KalModel model, PetscReal *spread)
{
  const KalCNN *cnn = (const KalCNN *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < cnn->layers; l++) {
    const KalCNNLayer *layer   = &cnn->layer[l];
    const PetscInt64   weights = (PetscInt64)layer->features * layer->out.channels;

    for (PetscInt64 i = 0; i < weights; i++) spread[layer->offset + i] = layer->sd;
    for (PetscInt64 i = 0; cnn->biases && i < layer->out.channels; i++) spread[layer->offset + weights + i] = cnn->bias_scale;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_CNN(KalModel model, size_t size, char *text)
{
  const KalCNN *cnn = (const KalCNN *)model->data;
  char          activation[64];

  PetscFunctionBeginUser;
  PetscCall(KalActivationText(&cnn->activation, sizeof activation, activation));
  PetscCall(PetscSNPrintf(text, size, "cnn %" PetscInt_FMT "x%" PetscInt_FMT "x%" PetscInt_FMT " %s%s pooled by %s:", cnn->input.height, cnn->input.width, cnn->input.channels, activation, cnn->biases ? "" : " without biases", Poolings[cnn->pooling]));
  for (PetscInt i = 0; i < cnn->entries; i++) {
    PetscCall(PetscStrlcat(text, " ", size));
    PetscCall(PetscStrlcat(text, cnn->text[i], size));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_CNN(KalModel model, PetscViewer viewer)
{
  const KalCNN *cnn = (const KalCNN *)model->data;
  char          text[4096];

  PetscFunctionBeginUser;
  PetscCall(KalModelLayout_CNN(model, sizeof text, text));
  PetscCall(PetscViewerASCIIPrintf(viewer, "%s\n", text));
  PetscCall(PetscViewerASCIIPrintf(viewer, "prior sd of the weights %s, of the biases %.4g, members %s\n", cnn->scale, (double)cnn->bias_scale, cnn->center ? "scattered about one random network" : "independent"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_CNN(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(((KalCNN *)model->data)->work));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELCNN - "cnn", a convolutional network; its state is all weights and biases, its forecast the identity

   Options Database Keys:
+  -cnn_input - height, width and channels of an image, for instance 28,28,1; needed
.  -cnn_layers - in their order: conv:CHANNELS:EDGE, a convolution by squares inside the image; pool:EDGE, behind a layer's
                 activation; dense:UNITS. The last is dense:OUTPUTS. For instance conv:6:5,pool:2,conv:16:5,pool:2,dense:10; needed
.  -cnn_activation <relu>, -cnn_activation_levels <4> - as those of KALMODELMLP
.  -cnn_pooling <max> - max or average of squares that do not overlap; what they leave of an image's edge is dropped
.  -cnn_biases <true> - whether units have biases
.  -cnn_prior_scale <he>, -cnn_prior_bias_scale <0.1> - standard deviations as those of KALMODELMLP; fan_in is a row of features
-  -cnn_prior_center <true>, -cnn_prior_center_spread <0.1> - as those of KALMODELMLP

   Notes:
   Inputs are images row by row, a pixel's channels side by side. Each number of the forward pass is one chain of
   multiply-adds, as in KALMODELMLP.
M*/
PetscErrorCode KalModelCreate_CNN(KalModel model)
{
  KalCNN *cnn;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&cnn));
  cnn->activation = (KalActivation){KAL_RELU, 4};
  cnn->bias_scale = 0.1;
  cnn->center     = PETSC_TRUE;
  cnn->biases     = PETSC_TRUE;
  cnn->spread     = 0.1;
  PetscCall(PetscStrncpy(cnn->scale, "he", sizeof cnn->scale));
  model->data               = cnn;
  model->ops.setfromoptions = KalModelSetFromOptions_CNN;
  model->ops.setup          = KalModelSetUp_CNN;
  model->ops.initial        = KalModelInitial_CNN;
  model->ops.spread         = KalModelSpread_CNN;
  model->ops.observe        = KalModelObserve_Layers;
  model->ops.layer          = KalModelLayer_CNN;
  model->ops.features       = KalModelFeatures_CNN;
  model->ops.layout         = KalModelLayout_CNN;
  model->ops.view           = KalModelView_CNN;
  model->ops.destroy        = KalModelDestroy_CNN;
  PetscFunctionReturn(PETSC_SUCCESS);
}
