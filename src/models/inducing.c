/* The parameterization "inducing": the weights of each layer of a network are made of few inducing weights (Ritter and others 2021). */
#include <models/bilinear.h>

#include <ensemble/multiply.h>
#include <petscblaslapack.h>

typedef struct {
  KalBilinear b;
  PetscReal   diagonal; /* D, added squared */
  PetscReal   noise;
  PetscBool   normalize;
} KalInducing;

static PetscErrorCode SetFromOptions(KalParameterization p, KalOptionItems PetscOptionsObject)
{
  KalInducing *inducing = (KalInducing *)p->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Parameterization inducing: a network's weights from few inducing weights");
  PetscCall(KalBilinearSetFromOptions(p, PetscOptionsObject, "-inducing_ranks", "-inducing_seed", &inducing->b));
  PetscCall(PetscOptionsReal("-inducing_diagonal", "what is added, squared, to the diagonal of Z Z'", "KALPARAMETERIZATIONINDUCING", inducing->diagonal, &inducing->diagonal, NULL));
  PetscCall(PetscOptionsReal("-inducing_noise", "share of one prior draw, the same for all members, that is added", "KALPARAMETERIZATIONINDUCING", inducing->noise, &inducing->noise, NULL));
  PetscCall(PetscOptionsBool("-inducing_normalize", "weights have the prior's variance on the average", "KALPARAMETERIZATIONINDUCING", inducing->normalize, &inducing->normalize, NULL));
  PetscCheck(inducing->diagonal > 0.0 && inducing->diagonal <= PETSC_MAX_REAL, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-inducing_diagonal %g: it is finite and positive", (double)inducing->diagonal);
  PetscCheck(inducing->noise >= 0.0 && inducing->noise <= PETSC_MAX_REAL, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-inducing_noise %g: it is finite and not negative", (double)inducing->noise);
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* X = Z' C^(-T) (rows x rank) with C C' = Z Z' + D^2 and Z (rank x rows) of variance 1/rank; and the sum of its squares. */
static PetscErrorCode Side(const KalInducing *inducing, PetscInt layer, PetscInt side, PetscInt rows, PetscInt rank, PetscScalar **X, PetscReal *squares)
{
  const PetscScalar one = 1.0, factor = 1.0 / PetscSqrtReal((PetscReal)rank);
  PetscBLASInt      m, n, info;
  PetscScalar      *C;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(rows, &m));
  PetscCall(PetscBLASIntCast(rank, &n));
  PetscCall(PetscMalloc1((size_t)rows * (size_t)rank, X));
  PetscCall(PetscMalloc1((size_t)rank * (size_t)rank, &C));
  PetscCall(KalDrawNormal((KalKey){inducing->b.seed, KAL_DRAW_SUBSPACE, layer, side}, 0, (PetscInt64)rows * rank, *X));
  for (size_t i = 0; i < (size_t)rows * (size_t)rank; i++) (*X)[i] *= factor;
  PetscCall(KalMultiply("TN", rank, rank, rows, 1.0, *X, *X, 0.0, C));
  for (PetscInt i = 0; i < rank; i++) C[(size_t)i * (size_t)(rank + 1)] += inducing->diagonal * inducing->diagonal;
  PetscCallBLAS("LAPACKpotrf", LAPACKpotrf_("L", &n, C, &n, &info));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_MAT_CH_ZRPVT, "Inducing weights of layer %" PetscInt_FMT ": Z Z' + D^2 is not positive definite in floating point; take a larger -inducing_diagonal than %g", layer + 1, (double)inducing->diagonal);
  PetscCallBLAS("BLAStrsm", BLAStrsm_("R", "L", "T", "N", &m, &n, &one, C, &n, *X, &m));
  *squares = 0.0;
  for (size_t i = 0; i < (size_t)rows * (size_t)rank; i++) *squares += (*X)[i] * (*X)[i];
  PetscCall(PetscFree(C));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalParameterization p)
{
  KalInducing *inducing = (KalInducing *)p->data;

  PetscFunctionBeginUser;
  PetscCall(KalBilinearSetUp(p, "-inducing_ranks", PETSC_TRUE, PETSC_FALSE, &inducing->b));
  if (inducing->noise > 0.0) PetscCall(KalBilinearDrawBase(p, inducing->noise, &inducing->b));
  for (PetscInt l = 0; l < inducing->b.layers; l++) {
    KalBilinearLayer *layer = inducing->b.layer + l;
    PetscReal         columns, rows, factor = 1.0;

    PetscCall(Side(inducing, l, 0, layer->features, layer->in, &layer->L, &columns));
    PetscCall(Side(inducing, l, 1, layer->units, layer->out, &layer->R, &rows));
    if (inducing->normalize) factor = PetscSqrtReal((PetscReal)layer->features * layer->units / (rows * columns));
    layer->scale *= factor;
    layer->biasscale *= factor;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalParameterization p, PetscViewer viewer)
{
  const KalInducing *inducing = (const KalInducing *)p->data;

  PetscFunctionBeginUser;
  PetscCall(KalBilinearView(&inducing->b, viewer));
  PetscCall(PetscViewerASCIIPrintf(viewer, "seed %" PetscInt_FMT ", diagonal %.4g, noise %.4g%s\n", inducing->b.seed, (double)inducing->diagonal, (double)inducing->noise, inducing->normalize ? ", weights of the prior's variance" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALPARAMETERIZATIONINDUCING - "inducing", the weights of each layer of a network from few inducing weights

   Options Database Keys:
+  -inducing_ranks <roots> - OUTxIN or full, one a layer of weights, as 8x16,10x32; the roots of units and features + 1, rounded down
.  -inducing_diagonal <0.001> - D, the same for all inducing weights
.  -inducing_noise <0> - lambda: share of one prior draw, the same for all members, that is added to the weights
.  -inducing_normalize <true> - s is such that the weights have the prior's variance on the average; false: s is the prior's sd, as in the paper
-  -inducing_seed <0> - seed of Z

   Notes:
   W = s Z_r' (Z_r Z_r' + D^2)^{-1} U (Z_c Z_c' + D^2)^{-1} Z_c for the weights and biases of a layer, the biases as their last column:
   Z_r (OUT x units) and Z_c (IN x features + 1) are drawn once with variances 1/OUT and 1/IN (KAL_DRAW_SUBSPACE) and stay as they are.
   The state is the whitened V, with U = C_r V C_c', C C' = Z Z' + D^2, by rows and layer after layer; its prior is N(0, I), as the
   paper's, and s is taken entry by entry, for weights and biases. With small D the rows of C^{-1} Z are nearly orthonormal: the map is that of
   the parameterization subspace without its network, and W a matrix of low rank.

   In the paper Z, D and lambda are learnt too, and lambda's noise is drawn anew; there s without -inducing_normalize leaves the rest of the prior's variance to it.

   It needs a model with layers (mlp, cnn).

   Source: Ritter, Kukla, Zhang and Li, Sparse uncertainty representation in deep learning with inducing weights, NeurIPS 2021
M*/
PetscErrorCode KalParameterizationCreate_Inducing(KalParameterization p)
{
  KalInducing *inducing;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&inducing));
  inducing->diagonal    = 1e-3;
  inducing->normalize   = PETSC_TRUE;
  p->data               = inducing;
  p->ops.setfromoptions = SetFromOptions;
  p->ops.setup          = SetUp;
  p->ops.map            = KalBilinearMap;
  p->ops.adjoint        = KalBilinearAdjoint;
  p->ops.layout         = KalBilinearLayout;
  p->ops.memory         = KalBilinearMemory;
  p->ops.view           = View;
  p->ops.destroy        = KalBilinearDestroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
