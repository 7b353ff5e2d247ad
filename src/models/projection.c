/*
  The parameterization "projection": all numbers that a model takes, about one prior draw, in one random subspace, w = w_0 + P u.

  P is never stored. Its rows are those of Hadamard matrices, block after block, with random signs of the columns that each block has of its own.
*/
#include <models/parameterizationimpl.h>

typedef struct {
  PetscInt      size; /* of u, as the options say; 0: not yet */
  PetscInt      seed;
  PetscReal     scale;
  PetscInt      order; /* of the Hadamard matrix: the next power of 2 */
  unsigned int *sign;  /* a bit a column and block, blocks of whole words */
  PetscScalar  *base;  /* n_w */
  PetscReal    *sd;    /* n_w: the prior's, times scale/sqrt(size) */
  PetscScalar  *room;  /* order numbers */
} KalProjection;

static PetscErrorCode SetFromOptions(KalParameterization p, KalOptionItems PetscOptionsObject)
{
  KalProjection *projection = (KalProjection *)p->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Parameterization projection: one random subspace");
  PetscCall(PetscOptionsBoundedInt("-projection_size", "numbers of a state", "KALPARAMETERIZATIONPROJECTION", projection->size, &projection->size, NULL, 0));
  PetscCall(PetscOptionsReal("-projection_scale", "sd of what the model takes about the one draw in units of the prior's", "KALPARAMETERIZATIONPROJECTION", projection->scale, &projection->scale, NULL));
  PetscCall(PetscOptionsRangeInt("-projection_seed", "seed of the subspace and of the one draw", "KALPARAMETERIZATIONPROJECTION", projection->seed, &projection->seed, NULL, 0, 2147483647));
  PetscCheck(projection->scale > 0.0 && projection->scale <= PETSC_MAX_REAL, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-projection_scale %g: it is finite and positive", (double)projection->scale);
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Words of signs of a block. */
static PetscInt64 Words(const KalProjection *projection)
{
  return (projection->order + 31) / 32;
}

static PetscErrorCode SetUp(KalParameterization p)
{
  KalProjection *projection = (KalProjection *)p->data;
  PetscInt       n;
  PetscInt64     words;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSize(p->model, &n));
  PetscCheck(projection->size, p->comm, PETSC_ERR_ARG_WRONGSTATE, "The parameterization projection has no size: give -projection_size, at most the model's %" PetscInt_FMT " numbers", n);
  PetscCheck(projection->size <= n, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-projection_size %" PetscInt_FMT ": the model %s takes no more than %" PetscInt_FMT " numbers", projection->size, p->model->type, n);
  PetscCheck(projection->size <= 1 << 30, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-projection_size %" PetscInt_FMT ": at most 2^30 are possible", projection->size);
  for (projection->order = 1; projection->order < projection->size;) projection->order *= 2;
  words = (((PetscInt64)n + projection->order - 1) / projection->order) * Words(projection);
  PetscCall(PetscMalloc4(words, &projection->sign, n, &projection->base, n, &projection->sd, projection->order, &projection->room));
  PetscCall(KalDrawBits((KalKey){projection->seed, KAL_DRAW_SUBSPACE, 0, 2}, 0, words, projection->sign));
  PetscCall(KalModelInitial(p->model, (KalKey){projection->seed, KAL_DRAW_CENTER, 0, 0}, projection->base));
  PetscCall(KalModelSpread(p->model, projection->sd));
  for (PetscInt i = 0; i < n; i++) projection->sd[i] *= projection->scale / PetscSqrtReal((PetscReal)projection->size);
  PetscCall(KalParameterizationSetSize(p, projection->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Initial(KalParameterization p, KalKey key, PetscScalar *u)
{
  PetscFunctionBeginUser;
  if (key.purpose == KAL_DRAW_CENTER) PetscCall(PetscArrayzero(u, p->size));
  else PetscCall(KalDrawNormal(key, 0, p->size, u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x <- H x, H of Sylvester's form, not normalized */
static void Hadamard(PetscInt order, PetscScalar *x)
{
  for (PetscInt half = 1; half < order; half *= 2) {
    for (PetscInt i = 0; i < order; i += 2 * half) {
      for (PetscInt j = i; j < i + half; j++) {
        const PetscScalar a = x[j], b = x[j + half];

        x[j]        = a + b;
        x[j + half] = a - b;
      }
    }
  }
}

static PetscBool IsNegative(const KalProjection *projection, PetscInt64 block, PetscInt k)
{
  return (PetscBool)(projection->sign[block * Words(projection) + k / 32] >> (k % 32) & 1);
}

static PetscErrorCode Map(KalParameterization p, const PetscScalar *u, PetscScalar *w)
{
  const KalProjection *projection = (const KalProjection *)p->data;
  const PetscInt       n = p->model->size, order = projection->order;
  PetscScalar         *x = projection->room;

  PetscFunctionBeginUser;
  for (PetscInt64 first = 0, block = 0; first < n; first += order, block++) {
    const PetscInt count = (PetscInt)PetscMin(order, n - first);

    for (PetscInt k = 0; k < p->size; k++) x[k] = IsNegative(projection, block, k) ? -u[k] : u[k];
    for (PetscInt k = p->size; k < order; k++) x[k] = 0.0;
    Hadamard(order, x);
    for (PetscInt i = 0; i < count; i++) w[first + i] = projection->base[first + i] + projection->sd[first + i] * x[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Adjoint(KalParameterization p, const PetscScalar *u, const PetscScalar *g, PetscScalar *gradient)
{
  const KalProjection *projection = (const KalProjection *)p->data;
  const PetscInt       n = p->model->size, order = projection->order;
  PetscScalar         *x = projection->room;

  PetscFunctionBeginUser;
  (void)u;
  PetscCall(PetscArrayzero(gradient, p->size));
  for (PetscInt64 first = 0, block = 0; first < n; first += order, block++) {
    const PetscInt count = (PetscInt)PetscMin(order, n - first);

    for (PetscInt i = 0; i < count; i++) x[i] = projection->sd[first + i] * g[first + i];
    for (PetscInt i = count; i < order; i++) x[i] = 0.0;
    Hadamard(order, x);
    for (PetscInt k = 0; k < p->size; k++) gradient[k] += IsNegative(projection, block, k) ? -x[k] : x[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Layout(KalParameterization p, size_t size, char *text)
{
  const KalProjection *projection = (const KalProjection *)p->data;
  PetscInt64           digest;

  PetscFunctionBeginUser;
  PetscCall(KalDigest(projection->base, (size_t)p->model->size * sizeof *projection->base, projection->seed, &digest));
  PetscCall(KalDigest(projection->sd, (size_t)p->model->size * sizeof *projection->sd, digest, &digest));
  PetscCall(PetscSNPrintf(text, size, "%" PetscInt_FMT ", %016llx", p->size, (unsigned long long)digest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Memory(KalParameterization p, PetscReal *bytes)
{
  const KalProjection *projection = (const KalProjection *)p->data;

  PetscFunctionBeginUser;
  *bytes = (2.0 * p->model->size + projection->order) * sizeof(PetscScalar) + (p->model->size + projection->order) / 8.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalParameterization p, PetscViewer viewer)
{
  const KalProjection *projection = (const KalProjection *)p->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "about the prior draw of seed %" PetscInt_FMT ", by %.4g of the prior's sd\n", projection->seed, (double)projection->scale));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalParameterization p)
{
  KalProjection *projection = (KalProjection *)p->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree4(projection->sign, projection->base, projection->sd, projection->room));
  PetscCall(PetscFree(p->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALPARAMETERIZATIONPROJECTION - "projection", one random subspace of all that a model takes, about one prior draw

   Options Database Keys:
+  -projection_size <> - d, numbers of a state, at most those that the model takes; needed
.  -projection_scale <0.1> - sd of what the model takes about the draw, in units of the prior's
-  -projection_seed <0> - seed of the draw and of the subspace

   Notes:
   w = w_0 + scale d^{-1/2} diag(sd) P u, with the sd and the draw w_0 of the model's prior (KAL_DRAW_CENTER). Rows k m, ..., k m + m - 1 of P,
   m the power of 2 from d on, are the first d columns of a Hadamard matrix of order m with signs s_kj of their own that random bits decide
   (KAL_DRAW_SUBSPACE). P is not stored: a product takes n log2 m additions. Its columns are orthogonal but for the last block, where this is not
   whole; each w_i has the prior variance (scale sd_i)^2 under u ~ N(0, I).

   It needs a model with a prior that does not forecast its state; a network's layers need not be known.

   Source: the random subspaces of Li, Farkhoor, Liu and Yosinski, Measuring the intrinsic dimension of objective landscapes, ICLR 2018, with
   a Hadamard matrix in place of their dense and Fastfood ones
M*/
PetscErrorCode KalParameterizationCreate_Projection(KalParameterization p)
{
  KalProjection *projection;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&projection));
  projection->scale     = 0.1;
  p->data               = projection;
  p->ops.setfromoptions = SetFromOptions;
  p->ops.setup          = SetUp;
  p->ops.initial        = Initial;
  p->ops.map            = Map;
  p->ops.adjoint        = Adjoint;
  p->ops.layout         = Layout;
  p->ops.memory         = Memory;
  p->ops.view           = View;
  p->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
