/* Weights of a network's layers as products of fixed matrices about a small one that is the state's: shapes, products, adjoint. */
#include <models/bilinear.h>

#include <ensemble/multiply.h>

#include <stdlib.h>
#include <string.h>

/* Most layers that ranks can be given for. */
#define KAL_BILINEAR_LAYERS 64

PetscErrorCode KalBilinearSetFromOptions(KalParameterization p, KalOptionItems PetscOptionsObject, const char *ranks, const char *seed, KalBilinear *b)
{
  char     *list[KAL_BILINEAR_LAYERS + 1] = {NULL};
  PetscInt  n                             = KAL_BILINEAR_LAYERS + 1;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsStringArray(ranks, "OUTxIN or full, one a layer: rows and columns of the matrix that is the state's", NULL, list, &n, &given));
  if (given) {
    PetscCall(PetscFree(b->rank));
    PetscCall(PetscCalloc1(KAL_BILINEAR_LAYERS, &b->rank));
    for (PetscInt l = 0; l < n; l++) {
      if (l < KAL_BILINEAR_LAYERS) PetscCall(PetscStrncpy(b->rank[l], list[l], sizeof b->rank[l]));
      PetscCall(PetscFree(list[l]));
    }
    b->ranks = n;
  }
  PetscCheck(b->ranks <= KAL_BILINEAR_LAYERS, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s has more than %d entries", ranks, KAL_BILINEAR_LAYERS);
  PetscCall(PetscOptionsRangeInt(seed, "seed of the matrices that are fixed, and of what they are added to", NULL, b->seed, &b->seed, NULL, 0, 2147483647));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "8x16" or "full" of a layer. */
static PetscErrorCode ParseRank(KalParameterization p, const char *option, PetscInt l, const char *text, KalBilinearLayer *layer)
{
  char     *end;
  long      out = layer->units, in = layer->features;
  PetscBool good = PETSC_TRUE;

  PetscFunctionBeginUser;
  if (strcmp(text, "full")) {
    out  = strtol(text, &end, 10);
    good = (PetscBool)(end != text && *end == 'x');
    if (good) {
      const char *second = end + 1;

      in   = strtol(second, &end, 10);
      good = (PetscBool)(end != second && !*end);
    }
  }
  PetscCheck(good, p->comm, PETSC_ERR_ARG_WRONG, "%s: entry %s of layer %" PetscInt_FMT " is neither OUTxIN, as 8x16, nor full", option, text, l + 1);
  PetscCheck(out >= 1 && out <= layer->units && in >= 1 && in <= layer->features, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s: entry %s of layer %" PetscInt_FMT ", a matrix of %" PetscInt_FMT " x %" PetscInt_FMT "; ranks are from 1 to these", option, text, l + 1, layer->units, layer->features);
  layer->out = (PetscInt)out;
  layer->in  = (PetscInt)in;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeLayer(KalParameterization p, const char *option, PetscBool joined, PetscInt l, const PetscReal *spread, KalBilinear *b)
{
  KalBilinearLayer *layer = b->layer + l;
  KalLayer          shape;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetLayer(p->model, l + 1, &shape));
  layer->joined    = (PetscBool)(joined && shape.biased);
  layer->features  = shape.features + (layer->joined ? 1 : 0);
  layer->units     = shape.units;
  layer->weights   = shape.offset;
  layer->biases    = shape.biased ? shape.offset + (PetscInt64)shape.features * shape.units : -1;
  layer->scale     = spread[layer->weights];
  layer->biasscale = shape.biased ? spread[layer->biases] : 0.0;
  layer->offset    = -1;
  layer->out       = (PetscInt)PetscFloorReal(PetscSqrtReal((PetscReal)layer->units));
  layer->in        = (PetscInt)PetscFloorReal(PetscSqrtReal((PetscReal)layer->features));
  if (b->rank) PetscCall(ParseRank(p, option, l, b->rank[l], layer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBilinearSetUp(KalParameterization p, const char *option, PetscBool joined, PetscBool biases, KalBilinear *b)
{
  PetscReal *spread;
  PetscInt64 n    = 0;
  size_t     room = 0, product = 0;
  PetscInt   numbers;

  PetscFunctionBeginUser;
  PetscCheck(p->model->ops.layer, p->comm, PETSC_ERR_SUP, "The parameterization %s is of the layers of a network, and models of type %s have none: take mlp or cnn", p->type, p->model->type);
  PetscCall(KalModelGetSize(p->model, &numbers));
  PetscCall(KalModelGetStages(p->model, &b->layers));
  PetscCheck(!b->rank || b->ranks == b->layers, p->comm, PETSC_ERR_ARG_SIZ, "%s has %" PetscInt_FMT " entries, and the model has %" PetscInt_FMT " layers of weights; give one for each", option, b->ranks, b->layers);
  PetscCall(PetscCalloc1(b->layers, &b->layer));
  PetscCall(PetscMalloc1(numbers, &spread));
  PetscCall(KalModelSpread(p->model, spread));
  for (PetscInt l = 0; l < b->layers; l++) {
    KalBilinearLayer *layer = b->layer + l;

    PetscCall(TakeLayer(p, option, joined, l, spread, b));
    layer->core = (PetscInt)n;
    n += (PetscInt64)layer->in * layer->out;
    if (layer->biases >= 0 && biases && !layer->joined) {
      layer->offset = (PetscInt)n;
      n += layer->units;
    }
    room    = PetscMax(room, (size_t)PetscMax((PetscInt64)layer->features * layer->out, (PetscInt64)layer->in * layer->units));
    product = PetscMax(product, (size_t)layer->features * (size_t)layer->units);
  }
  PetscCall(PetscFree(spread));
  PetscCheck(n <= PETSC_MAX_INT, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s leaves more than %" PetscInt_FMT " numbers", option, PETSC_MAX_INT);
  PetscCall(PetscMalloc2(room, &b->room, product, &b->product));
  PetscCall(KalParameterizationSetSize(p, (PetscInt)n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBilinearDrawBase(KalParameterization p, PetscReal factor, KalBilinear *b)
{
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSize(p->model, &n));
  PetscCall(PetscMalloc1(n, &b->base));
  PetscCall(KalModelInitial(p->model, (KalKey){b->seed, KAL_DRAW_CENTER, 0, 0}, b->base));
  for (PetscInt i = 0; i < n; i++) b->base[i] *= factor;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBilinearLayout(KalParameterization p, size_t size, char *text)
{
  const KalBilinear *b      = (const KalBilinear *)p->data;
  PetscInt64         digest = b->seed;
  char               part[64];

  PetscFunctionBeginUser;
  text[0] = '\0';
  for (PetscInt l = 0; l < b->layers; l++) {
    const KalBilinearLayer *layer = b->layer + l;

    PetscCall(PetscSNPrintf(part, sizeof part, "%s%" PetscInt_FMT "x%" PetscInt_FMT, l ? "," : "", layer->out, layer->in));
    PetscCall(PetscStrlcat(text, part, size));
    PetscCall(KalDigest(&layer->scale, sizeof layer->scale, digest, &digest));
    PetscCall(KalDigest(&layer->biasscale, sizeof layer->biasscale, digest, &digest));
  }
  if (b->base) PetscCall(KalDigest(b->base, (size_t)p->model->size * sizeof *b->base, digest, &digest));
  PetscCall(PetscSNPrintf(part, sizeof part, ", %016llx", (unsigned long long)digest));
  PetscCall(PetscStrlcat(text, part, size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* P (features x units) = L V^T R^T */
static PetscErrorCode Expand(const KalBilinearLayer *layer, const PetscScalar *V, PetscScalar *room, PetscScalar *P)
{
  const PetscInt f = layer->features, u = layer->units, in = layer->in, out = layer->out;

  PetscFunctionBeginUser;
  if (!layer->L && !layer->R) PetscCall(PetscArraycpy(P, V, (size_t)in * (size_t)out));
  else if (!layer->R) PetscCall(KalMultiply("NN", f, u, in, 1.0, layer->L, V, 0.0, P));
  else if (!layer->L) PetscCall(KalMultiply("NT", f, u, out, 1.0, V, layer->R, 0.0, P));
  else if ((PetscReal)f * out * (in + u) < (PetscReal)in * u * (out + f)) {
    PetscCall(KalMultiply("NN", f, out, in, 1.0, layer->L, V, 0.0, room));
    PetscCall(KalMultiply("NT", f, u, out, 1.0, room, layer->R, 0.0, P));
  } else {
    PetscCall(KalMultiply("NT", in, u, out, 1.0, V, layer->R, 0.0, room));
    PetscCall(KalMultiply("NN", f, u, in, 1.0, layer->L, room, 0.0, P));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* V^T (in x out) = L^T P R */
static PetscErrorCode Contract(const KalBilinearLayer *layer, const PetscScalar *P, PetscScalar *room, PetscScalar *V)
{
  const PetscInt f = layer->features, u = layer->units, in = layer->in, out = layer->out;

  PetscFunctionBeginUser;
  if (!layer->L && !layer->R) PetscCall(PetscArraycpy(V, P, (size_t)in * (size_t)out));
  else if (!layer->R) PetscCall(KalMultiply("TN", in, u, f, 1.0, layer->L, P, 0.0, V));
  else if (!layer->L) PetscCall(KalMultiply("NN", f, out, u, 1.0, P, layer->R, 0.0, V));
  else if ((PetscReal)f * out * (in + u) < (PetscReal)in * u * (out + f)) {
    PetscCall(KalMultiply("NN", f, out, u, 1.0, P, layer->R, 0.0, room));
    PetscCall(KalMultiply("TN", in, out, f, 1.0, layer->L, room, 0.0, V));
  } else {
    PetscCall(KalMultiply("TN", in, u, f, 1.0, layer->L, P, 0.0, room));
    PetscCall(KalMultiply("NN", in, out, u, 1.0, room, layer->R, 0.0, V));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBilinearMap(KalParameterization p, const PetscScalar *u, PetscScalar *w)
{
  const KalBilinear *b = (const KalBilinear *)p->data;

  PetscFunctionBeginUser;
  if (b->base) PetscCall(PetscArraycpy(w, b->base, p->model->size));
  else PetscCall(PetscArrayzero(w, p->model->size));
  for (PetscInt l = 0; l < b->layers; l++) {
    const KalBilinearLayer *layer = b->layer + l;
    const PetscInt          own   = layer->features - (layer->joined ? 1 : 0);

    PetscCall(Expand(layer, u + layer->core, b->room, b->product));
    for (PetscInt j = 0; j < layer->units; j++) {
      const PetscScalar *from = b->product + (size_t)j * (size_t)layer->features;
      PetscScalar       *to   = w + layer->weights + (PetscInt64)j * own;

      for (PetscInt i = 0; i < own; i++) to[i] += layer->scale * from[i];
      if (layer->joined) w[layer->biases + j] += layer->biasscale * from[own];
      else if (layer->offset >= 0) w[layer->biases + j] += layer->biasscale * u[layer->offset + j];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBilinearAdjoint(KalParameterization p, const PetscScalar *u, const PetscScalar *g, PetscScalar *gradient)
{
  const KalBilinear *b = (const KalBilinear *)p->data;

  PetscFunctionBeginUser;
  (void)u;
  for (PetscInt l = 0; l < b->layers; l++) {
    const KalBilinearLayer *layer = b->layer + l;
    const PetscInt          own   = layer->features - (layer->joined ? 1 : 0);

    for (PetscInt j = 0; j < layer->units; j++) {
      const PetscScalar *from = g + layer->weights + (PetscInt64)j * own;
      PetscScalar       *to   = b->product + (size_t)j * (size_t)layer->features;

      for (PetscInt i = 0; i < own; i++) to[i] = layer->scale * from[i];
      if (layer->joined) to[own] = layer->biasscale * g[layer->biases + j];
      else if (layer->offset >= 0) gradient[layer->offset + j] = layer->biasscale * g[layer->biases + j];
    }
    PetscCall(Contract(layer, b->product, b->room, gradient + layer->core));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBilinearMemory(KalParameterization p, PetscReal *bytes)
{
  const KalBilinear *b   = (const KalBilinear *)p->data;
  PetscReal          sum = b->base ? (PetscReal)p->model->size : 0.0, most = 0.0, room = 0.0;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < b->layers; l++) {
    const KalBilinearLayer *layer = b->layer + l;

    sum += (layer->L ? (PetscReal)layer->features * layer->in : 0.0) + (layer->R ? (PetscReal)layer->units * layer->out : 0.0);
    most = PetscMax(most, (PetscReal)layer->features * layer->units);
    room = PetscMax(room, PetscMax((PetscReal)layer->features * layer->out, (PetscReal)layer->in * layer->units));
  }
  *bytes = (sum + most + room) * (PetscReal)sizeof(PetscScalar);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBilinearView(const KalBilinear *b, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < b->layers; l++) {
    const KalBilinearLayer *layer = b->layer + l;

    PetscCall(PetscViewerASCIIPrintf(viewer, "layer %" PetscInt_FMT ": %" PetscInt_FMT " x %" PetscInt_FMT " of %" PetscInt_FMT " x %" PetscInt_FMT "%s\n", l + 1, layer->out, layer->in, layer->units, layer->features, layer->joined ? ", biases among them" : layer->offset >= 0 ? ", and the biases"
                                                                                                                                                                                                                                                             : layer->biases >= 0   ? ", without the biases"
                                                                                                                                                                                                                                                                                    : ""));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBilinearDestroy(KalParameterization p)
{
  KalBilinear *b = (KalBilinear *)p->data;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; b->layer && l < b->layers; l++) {
    PetscCall(PetscFree(b->layer[l].L));
    PetscCall(PetscFree(b->layer[l].R));
  }
  PetscCall(PetscFree(b->layer));
  PetscCall(PetscFree(b->rank));
  PetscCall(PetscFree(b->base));
  PetscCall(PetscFree2(b->room, b->product));
  PetscCall(PetscFree(p->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}
