/* The parameterization "scales": a network's weights and, for each layer, the logarithm of their scale, non-centred. */
#include <models/parameterizationimpl.h>

typedef struct {
  PetscInt   layers;
  KalLayer  *layer;
  PetscReal *sd;     /* the prior's, of each number of w */
  PetscReal  spread; /* prior sd of a logarithm */
} KalScales;

static PetscErrorCode SetFromOptions(KalParameterization p, KalOptionItems PetscOptionsObject)
{
  KalScales *scales = (KalScales *)p->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Parameterization scales: weights, and a scale of each layer");
  PetscCall(PetscOptionsReal("-scales_spread", "prior sd of the logarithm of a layer's scale", "KALPARAMETERIZATIONSCALES", scales->spread, &scales->spread, NULL));
  PetscCheck(scales->spread >= 0.0 && scales->spread <= PETSC_MAX_REAL, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-scales_spread %g: a standard deviation is finite and not negative", (double)scales->spread);
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalParameterization p)
{
  KalScales *scales = (KalScales *)p->data;
  PetscInt   n;

  PetscFunctionBeginUser;
  PetscCheck(p->model->ops.layer, p->comm, PETSC_ERR_SUP, "The parameterization %s is of the layers of a network, and models of type %s have none: take mlp or cnn", p->type, p->model->type);
  PetscCall(KalModelGetSize(p->model, &n));
  PetscCall(KalModelGetStages(p->model, &scales->layers));
  PetscCheck((PetscInt64)n + scales->layers <= PETSC_MAX_INT, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " weights and %" PetscInt_FMT " scales are more than %" PetscInt_FMT, n, scales->layers, PETSC_MAX_INT);
  PetscCall(PetscMalloc1(scales->layers, &scales->layer));
  for (PetscInt l = 0; l < scales->layers; l++) PetscCall(KalModelGetLayer(p->model, l + 1, &scales->layer[l]));
  PetscCall(PetscMalloc1(n, &scales->sd));
  PetscCall(KalModelSpread(p->model, scales->sd));
  PetscCall(KalParameterizationSetSize(p, n + scales->layers));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The model's own draw in units of its prior, so that members are scattered as they are without the scales. */
static PetscErrorCode Initial(KalParameterization p, KalKey key, PetscScalar *u)
{
  const KalScales *scales = (const KalScales *)p->data;
  const PetscInt   n      = p->model->size;

  PetscFunctionBeginUser;
  PetscCall(KalModelInitial(p->model, key, u));
  for (PetscInt i = 0; i < n; i++) u[i] = scales->sd[i] > 0.0 ? u[i] / scales->sd[i] : 0.0;
  if (key.purpose == KAL_DRAW_CENTER) PetscCall(PetscArrayzero(u + n, scales->layers));
  else PetscCall(KalDrawNormal(key, n, scales->layers, u + n));
  for (PetscInt l = 0; l < scales->layers; l++) u[n + l] *= scales->spread;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Spread(KalParameterization p, PetscReal *spread)
{
  const KalScales *scales = (const KalScales *)p->data;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < p->size; i++) spread[i] = i < p->model->size ? 1.0 : scales->spread;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Map(KalParameterization p, const PetscScalar *u, PetscScalar *w)
{
  const KalScales *scales = (const KalScales *)p->data;
  const PetscInt   n      = p->model->size;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) w[i] = scales->sd[i] * u[i];
  for (PetscInt l = 0; l < scales->layers; l++) {
    const KalLayer   *layer = scales->layer + l;
    const PetscInt64  end   = layer->offset + (PetscInt64)layer->features * layer->units;
    const PetscScalar scale = PetscExpScalar(u[n + l]);

    for (PetscInt64 i = layer->offset; i < end; i++) w[i] *= scale;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Adjoint(KalParameterization p, const PetscScalar *u, const PetscScalar *g, PetscScalar *gradient)
{
  const KalScales *scales = (const KalScales *)p->data;
  const PetscInt   n      = p->model->size;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < n; i++) gradient[i] = scales->sd[i] * g[i];
  for (PetscInt l = 0; l < scales->layers; l++) {
    const KalLayer   *layer = scales->layer + l;
    const PetscInt64  end   = layer->offset + (PetscInt64)layer->features * layer->units;
    const PetscScalar scale = PetscExpScalar(u[n + l]);
    PetscScalar       sum   = 0.0;

    for (PetscInt64 i = layer->offset; i < end; i++) {
      gradient[i] *= scale;
      sum += gradient[i] * u[i];
    }
    gradient[n + l] = sum;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Layout(KalParameterization p, size_t size, char *text)
{
  const KalScales *scales = (const KalScales *)p->data;
  PetscInt64       digest;

  PetscFunctionBeginUser;
  PetscCall(KalDigest(scales->sd, (size_t)p->model->size * sizeof *scales->sd, 0, &digest));
  PetscCall(PetscSNPrintf(text, size, "%" PetscInt_FMT ", %016llx", scales->layers, (unsigned long long)digest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Memory(KalParameterization p, PetscReal *bytes)
{
  PetscFunctionBeginUser;
  *bytes = (PetscReal)p->model->size * (PetscReal)sizeof(PetscReal);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalParameterization p, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "weights in units of the prior, and logarithms of scales of prior sd %.4g\n", (double)((const KalScales *)p->data)->spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalParameterization p)
{
  KalScales *scales = (KalScales *)p->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree(scales->layer));
  PetscCall(PetscFree(scales->sd));
  PetscCall(PetscFree(p->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALPARAMETERIZATIONSCALES - "scales", a network's weights xi and for each layer the logarithm theta of their scale, non-centred

   Options Database Key:
.  -scales_spread <0.5> - prior sd of theta

   Notes:
   W_l = exp(theta_l) sd_l xi_l with the prior's sd; biases are sd xi. The state holds xi as the model holds its weights, then theta, an
   entry a layer. The members' xi are the model's own draws in units of the prior's sd, scattered about one network where the model's are;
   theta is N(0, spread^2), its entries the draws behind those of xi.

   The product of two entries lets members leave the span of the first ensemble in weights, and the update learn the scales.

   It needs a model with layers (mlp, cnn).

   Source: the non-centred hierarchical parameterization of Chada, Iglesias, Roininen and Stuart, Parameterizations for ensemble Kalman
   inversion, Inverse Problems 34, 2018, read for the layers of a network
M*/
PetscErrorCode KalParameterizationCreate_Scales(KalParameterization p)
{
  KalScales *scales;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&scales));
  scales->spread        = 0.5;
  p->data               = scales;
  p->ops.setfromoptions = SetFromOptions;
  p->ops.setup          = SetUp;
  p->ops.initial        = Initial;
  p->ops.spread         = Spread;
  p->ops.map            = Map;
  p->ops.adjoint        = Adjoint;
  p->ops.layout         = Layout;
  p->ops.memory         = Memory;
  p->ops.view           = View;
  p->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
