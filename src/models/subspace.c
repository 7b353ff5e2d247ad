/* The parameterization "subspace": the weights of each layer of a network move in a random bilinear subspace about one random network. */
#include <models/bilinear.h>

#include <petscblaslapack.h>

typedef struct {
  KalBilinear b;
  PetscReal   scale;
  PetscBool   biases;
} KalSubspace;

static PetscErrorCode SetFromOptions(KalParameterization p, KalOptionItems PetscOptionsObject)
{
  KalSubspace *subspace = (KalSubspace *)p->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Parameterization subspace: a random subspace of each layer");
  PetscCall(KalBilinearSetFromOptions(p, PetscOptionsObject, "-subspace_ranks", "-subspace_seed", &subspace->b));
  PetscCall(PetscOptionsReal("-subspace_scale", "sd of the members' weights about the one network in units of the prior's", "KALPARAMETERIZATIONSUBSPACE", subspace->scale, &subspace->scale, NULL));
  PetscCall(PetscOptionsBool("-subspace_biases", "the biases are entries of the state", "KALPARAMETERIZATIONSUBSPACE", subspace->biases, &subspace->biases, NULL));
  PetscCheck(subspace->scale > 0.0 && subspace->scale <= PETSC_MAX_REAL, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-subspace_scale %g: it is finite and positive", (double)subspace->scale);
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Orthonormal columns of a matrix of normal numbers; none where it is square: the subspace is the whole space, and V as good as its rotation. */
static PetscErrorCode Orthonormal(const KalSubspace *subspace, PetscInt layer, PetscInt side, PetscInt rows, PetscInt columns, PetscScalar **matrix)
{
  PetscBLASInt m, n, info, length;
  PetscScalar *tau, *work;

  PetscFunctionBeginUser;
  if (rows == columns) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscBLASIntCast(rows, &m));
  PetscCall(PetscBLASIntCast(columns, &n));
  PetscCall(PetscBLASIntCast((PetscInt64)64 * columns, &length));
  PetscCall(PetscMalloc1((size_t)rows * (size_t)columns, matrix));
  PetscCall(PetscMalloc2(columns, &tau, length, &work));
  PetscCall(KalDrawNormal((KalKey){subspace->b.seed, KAL_DRAW_SUBSPACE, layer, side}, 0, (PetscInt64)rows * columns, *matrix));
  PetscCallBLAS("LAPACKgeqrf", LAPACKgeqrf_(&m, &n, *matrix, &m, tau, work, &length, &info));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK's geqrf failed with info %d", (int)info);
  PetscCallBLAS("LAPACKorgqr", LAPACKorgqr_(&m, &n, &n, *matrix, &m, tau, work, &length, &info));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK's orgqr failed with info %d", (int)info);
  PetscCall(PetscFree2(tau, work));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalParameterization p)
{
  KalSubspace *subspace = (KalSubspace *)p->data;

  PetscFunctionBeginUser;
  PetscCall(KalBilinearSetUp(p, "-subspace_ranks", PETSC_FALSE, subspace->biases, &subspace->b));
  PetscCall(KalBilinearDrawBase(p, 1.0, &subspace->b));
  for (PetscInt l = 0; l < subspace->b.layers; l++) {
    KalBilinearLayer *layer = subspace->b.layer + l;

    PetscCall(Orthonormal(subspace, l, 0, layer->features, layer->in, &layer->L));
    PetscCall(Orthonormal(subspace, l, 1, layer->units, layer->out, &layer->R));
    layer->scale *= subspace->scale * PetscSqrtReal((PetscReal)layer->features * layer->units / ((PetscReal)layer->in * layer->out));
    layer->biasscale *= subspace->scale;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Initial(KalParameterization p, KalKey key, PetscScalar *u)
{
  PetscFunctionBeginUser;
  if (key.purpose == KAL_DRAW_CENTER) PetscCall(PetscArrayzero(u, p->size));
  else PetscCall(KalDrawNormal(key, 0, p->size, u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalParameterization p, PetscViewer viewer)
{
  const KalSubspace *subspace = (const KalSubspace *)p->data;

  PetscFunctionBeginUser;
  PetscCall(KalBilinearView(&subspace->b, viewer));
  PetscCall(PetscViewerASCIIPrintf(viewer, "about the network of seed %" PetscInt_FMT ", by %.4g of the prior's sd\n", subspace->b.seed, (double)subspace->scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALPARAMETERIZATIONSUBSPACE - "subspace", a random bilinear subspace of each layer of a network, about one random network

   Options Database Keys:
+  -subspace_ranks <roots> - OUTxIN or full, one a layer of weights, as 8x16,10x32; the roots of units and features, rounded down
.  -subspace_scale <0.1> - sd of the members' weights about the network, in units of the prior's, as -mlp_prior_center_spread
.  -subspace_biases <true> - the biases are entries of the state; false: they stay those of the network
-  -subspace_seed <0> - seed of the network and of the subspace

   Notes:
   W = W_0 + s A V B for each layer: A (units x OUT) has orthonormal columns, B (IN x features) orthonormal rows, both drawn by counters of the
   seed (KAL_DRAW_SUBSPACE); W_0 is the network of the model's prior that this seed decides (KAL_DRAW_CENTER), V (OUT x IN) is the
   state's. s is the scale times the prior's sd times sqrt(units features/(OUT IN)), so that the entries of s A V B have on the
   average the variance that they have without the subspace. The state holds layer after layer, V by rows, then the biases; its prior is N(0, I).

   Where a side's rank is full, its matrix is the identity: with full ranks the state is the weights themselves, shifted and scaled.

   It needs a model with layers (mlp, cnn). Each rank keeps W_0, A and B.
M*/
PetscErrorCode KalParameterizationCreate_Subspace(KalParameterization p)
{
  KalSubspace *subspace;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&subspace));
  subspace->scale       = 0.1;
  subspace->biases      = PETSC_TRUE;
  p->data               = subspace;
  p->ops.setfromoptions = SetFromOptions;
  p->ops.setup          = SetUp;
  p->ops.initial        = Initial;
  p->ops.map            = KalBilinearMap;
  p->ops.adjoint        = KalBilinearAdjoint;
  p->ops.layout         = KalBilinearLayout;
  p->ops.memory         = KalBilinearMemory;
  p->ops.view           = View;
  p->ops.destroy        = KalBilinearDestroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
