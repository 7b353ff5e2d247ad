/*
  Block localization. Covariances of the members between blocks of the state are taken to be zero, and so the predictions are asked for anew with one block
  perturbed at a time about the mean: A_l, whitened anomalies of block l alone. With X_l the members' anomalies in block l the covariance with the
  predictions is X_l A_l', that of the predictions sum over l of A_l A_l', and

    u_j[l] <- u_j[l] + X_l A_l' (sum_k A_k A_k' + R/h)^{-1} (y_j - g_j)   =   u_j[l] + X_l W_lj,   W = (A'A + I/h)^{-1} A'(R + Xi/sqrt(h)),

  with A = [A_1 ... A_count]: a system of count x N unknowns, whose solution differs from block to block.
*/
#include "blocks.h"

/*
  KalBlocksCreate - The layers of the network as blocks; `option` is what asked for them
*/
PetscErrorCode KalBlocksCreate(KalAnalysis analysis, const char *option, KalBlocks *b)
{
  const KalLayers *layers = &analysis->layers;
  const PetscInt   N      = analysis->N;

  PetscFunctionBeginUser;
  PetscCheck(layers->count, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s layers: this -model_type has no layers: take mlp or cnn, or leave it out", option);
  PetscCheck(layers->count < KAL_ROWS_ENSEMBLES, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s layers: the network has %" PetscInt_FMT " layers, and at most %d are possible", option, layers->count, KAL_ROWS_ENSEMBLES - 1);
  PetscCheck(N <= KAL_MOST_SYSTEM / layers->count, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s layers: the system has %" PetscInt_FMT " x %" PetscInt_FMT " unknowns, layers times members; at most %d are possible: use fewer members", option, layers->count, N, KAL_MOST_SYSTEM);
  b->count = layers->count;
  b->N     = N;
  PetscCall(PetscMalloc5(b->count + 1, &b->bound, (size_t)(b->count + 1) * N, &b->status, analysis->n, &b->mean, (size_t)b->count * N * N, &b->T, b->count + 1, &b->predictions));
  for (PetscInt l = 0; l < b->count; l++) PetscCall(PetscIntCast(layers->layer[l].offset, &b->bound[l]));
  b->bound[b->count] = analysis->n;
  for (PetscInt e = 0; e <= b->count; e++) b->predictions[e] = NULL;
  PetscCall(PetscMalloc3((size_t)b->count * N * b->count * N, &b->S, (size_t)b->count * N * N, &b->D, (size_t)b->count * N * N, &b->P));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBlocksDestroy(KalBlocks *b)
{
  PetscFunctionBeginUser;
  for (PetscInt e = 0; b->predictions && e <= b->count; e++) PetscCall(KalEnsembleDestroy(&b->predictions[e]));
  PetscCall(KalEnsembleDestroy(&b->points));
  PetscCall(PetscFree5(b->bound, b->status, b->mean, b->T, b->predictions));
  PetscCall(PetscFree3(b->S, b->D, b->P));
  PetscCall(PetscFree2(b->x, b->y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalBlocksBegin(KalAnalysis analysis, KalBlocks *b, PetscInt cycle)
{
  PetscFunctionBeginUser;
  (void)analysis;
  b->asked = 0;
  b->cycle = cycle;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The mean of a block's rows over the members that did not fail, in their order. */
static PetscErrorCode VisitMean(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalBlocks   *b      = (KalBlocks *)ctx;
  PetscScalar *mean   = b->mean + rows->first;
  PetscInt     active = 0;

  PetscFunctionBeginUser;
  (void)sums;
  PetscCall(PetscArrayzero(mean, rows->count));
  for (PetscInt j = 0; j < b->N; j++) {
    if (b->status[j] != KAL_MEMBER_OK) continue;
    active++;
    for (PetscInt i = 0; i < rows->count; i++) mean[i] += rows->x[0][i + (size_t)j * (size_t)rows->ld[0]];
  }
  for (PetscInt i = 0; i < rows->count; i++) mean[i] /= active;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBlocksAsk - First the members themselves, then those with all but one block at the mean, a block after the other
*/
PetscErrorCode KalBlocksAsk(KalAnalysis analysis, KalBlocks *b, KalAsk *ask)
{
  PetscInt     first, last;
  PetscReal    none;
  PetscScalar *x, *y;

  PetscFunctionBeginUser;
  if (!b->asked) PetscFunctionReturn(PETSC_SUCCESS);
  if (b->asked == 1) {
    PetscCall(KalEnsembleSumRows(1, &analysis->ensemble, VisitMean, b, 1, &none));
    PetscCall(KalEnsembleGatherBlocks(analysis->ensemble, b->mean));
  }
  if (!b->points) PetscCall(KalEnsembleDuplicate(analysis->ensemble, &b->points));
  PetscCall(KalEnsembleGetOwnershipRange(b->points, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    const PetscInt from = b->bound[b->asked - 1];

    PetscCall(KalEnsembleGetMember(b->points, j, &y));
    PetscCall(PetscArraycpy(y, b->mean, analysis->n));
    if (b->status[j] != KAL_MEMBER_OK) continue;
    PetscCall(KalEnsembleGetMember(analysis->ensemble, j, &x));
    PetscCall(PetscArraycpy(y + from, x + from, b->bound[b->asked] - from));
  }
  PetscCall(KalEnsembleChanged(b->points));
  ask->points = b->points;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBlocksKeep - Keeps the predictions that it was told; `more` is whether points are left to be asked for
*/
PetscErrorCode KalBlocksKeep(KalAnalysis analysis, KalBlocks *b, const KalTold *told, PetscBool *more)
{
  const PetscInt p    = told->batch->samples * told->batch->outputs;
  KalEnsemble   *kept = &b->predictions[b->asked];
  PetscInt       have = p, first, last;
  PetscScalar   *x, *y;

  PetscFunctionBeginUser;
  (void)analysis;
  if (*kept) PetscCall(KalEnsembleGetSizes(*kept, &have, NULL));
  if (have != p) PetscCall(KalEnsembleDestroy(kept));
  if (!*kept) PetscCall(KalEnsembleDuplicate(told->predictions, kept));
  PetscCall(KalEnsembleGetOwnershipRange(*kept, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(told->predictions, j, &x));
    PetscCall(KalEnsembleGetMember(*kept, j, &y));
    PetscCall(PetscArraycpy(y, x, p));
  }
  PetscCall(KalEnsembleChanged(*kept));
  for (PetscInt j = 0; j < b->N; j++) {
    if (!b->asked || (b->status[j] == KAL_MEMBER_OK && told->status[j] != KAL_MEMBER_OK)) b->status[j] = told->status[j];
  }
  *more = (PetscBool)(b->asked++ < b->count);
  for (PetscInt e = 1; !*more && e <= b->count; e++) PetscCall(PetscArraycpy(b->status + (size_t)e * b->N, b->status, b->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One pass over all predictions. */
typedef struct {
  KalAnalysis          analysis;
  const KalBlocks     *b;
  const KalTold       *told;
  const KalInnovation *in;
  PetscBool            perturbed;
  PetscInt             q, cross; /* count N; where sums behind the packed A'A begin */
  PetscScalar         *G, *A, *R, *r, *Xi;
  KalGram              gram;
} KalBlocksPass;

/* Anomalies of each block's points about the mean of their own predictions. */
static void Center(const KalBlocksPass *pass, PetscInt rows)
{
  const PetscInt N = pass->b->N;

  for (PetscInt l = 1; l <= pass->b->count; l++) {
    for (PetscInt i = 0; i < rows; i++) {
      PetscScalar *a = pass->A + i + (size_t)l * N * rows, mean = 0.0;

      for (PetscInt j = 0; j < N; j++) mean += a[(size_t)j * rows];
      for (PetscInt j = 0; j < N; j++) a[(size_t)j * rows] -= pass->b->status[j] == KAL_MEMBER_OK ? mean / pass->in->active : 0.0;
    }
  }
}

/* Sums: misfits (N), loss and r'r, A'A packed, A'R, A'Xi. */
static PetscErrorCode VisitProducts(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalBlocksPass   *pass = (KalBlocksPass *)ctx;
  const KalBlocks *b    = pass->b;
  const PetscInt   N = b->N, all = (b->count + 1) * N, m = rows->count;
  KalRows          joint = {.first = rows->first, .count = m, .index = rows->index, .ensembles = 1, .members = {all}, .x = {pass->G}, .ld = {m}};
  KalWhitening     white = {.rows = &joint, .members = all, .center = -1, .status = b->status, .active = (b->count + 1) * pass->in->active, .scale = pass->in->scale, .anomalies = pass->A, .residual = pass->r, .residuals = pass->R};
  KalKey           key   = {pass->analysis->seed, KAL_DRAW_OBSERVATION, pass->told->cycle, 0};
  PetscReal       *packed;

  PetscFunctionBeginUser;
  for (PetscInt e = 0; e <= b->count; e++) {
    for (PetscInt j = 0; j < N; j++) PetscCall(PetscArraycpy(pass->G + ((size_t)e * N + j) * m, rows->x[e] + (size_t)j * (size_t)rows->ld[e], m));
  }
  PetscCall(KalObservationsWhiten(pass->told->observations, pass->told->batch, &white));
  Center(pass, m);
  sums[N] = white.loss;
  for (PetscInt i = 0; i < m; i++) sums[N + 1] += pass->r[i] * pass->r[i];
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = 0; i < m; i++) sums[j] += pass->R[i + (size_t)j * m] * pass->R[i + (size_t)j * m];
  }
  PetscCall(KalGramTake(&pass->gram, m, pass->A + (size_t)N * m, pass->A + (size_t)N * m));
  packed = sums + N + 2;
  for (PetscInt j = 0; j < pass->q; j++) {
    PetscCall(PetscArraycpy(packed, pass->gram.product + (size_t)j * pass->gram.high + j, pass->q - j));
    packed += pass->q - j;
  }
  PetscCall(KalMultiply("TN", pass->q, N, m, 1.0, pass->A + (size_t)N * m, pass->R, 0.0, sums + pass->cross));
  if (!pass->perturbed) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt j = 0; j < N; j++) {
    key.member = j;
    if (b->status[j] == KAL_MEMBER_OK) PetscCall(KalDrawNormal(key, rows->first, m, pass->Xi + (size_t)j * m));
    else PetscCall(PetscArrayzero(pass->Xi + (size_t)j * m, m));
  }
  PetscCall(KalMultiply("TN", pass->q, N, m, 1.0, pass->A + (size_t)N * m, pass->Xi, 0.0, sums + pass->cross + (size_t)pass->q * N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a time step looks at, of all blocks together: by superposition D is the sum of theirs. */
static PetscErrorCode Unfold(KalBlocks *b, const KalBlocksPass *pass, const PetscReal *sums, KalInnovation *in)
{
  const PetscInt   N = b->N, q = pass->q;
  const PetscReal *packed = sums + N + 2;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(N, &in->d, N, &in->diagonal, N, &in->misfit));
  PetscCall(PetscCalloc1((size_t)N * N, &in->D));
  PetscCall(PetscArraycpy(in->misfit, sums, N));
  in->loss = sums[N];
  in->rr   = sums[N + 1];
  for (PetscInt j = 0; j < q; j++) {
    for (PetscInt i = j; i < q; i++, packed++) b->S[i + (size_t)j * q] = b->S[j + (size_t)i * q] = *packed;
  }
  PetscCall(PetscArraycpy(b->D, sums + pass->cross, (size_t)q * N));
  if (pass->perturbed) PetscCall(PetscArraycpy(b->P, sums + pass->cross + (size_t)q * N, (size_t)q * N));
  for (PetscInt j = 0; j < N; j++) {
    for (PetscInt i = 0; i < q; i++) in->D[i % N + (size_t)j * N] += b->D[i + (size_t)j * q];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBlocksProducts - S, D and P of the blocks, and of an innovation what a time step and the report need

  Collective. The weight of the loss is taken at the mean of all predictions; anomalies of a block are about the mean of its own.
*/
PetscErrorCode KalBlocksProducts(KalAnalysis analysis, KalBlocks *b, const KalTold *told, PetscBool perturbed, KalInnovation *in)
{
  const PetscInt N = b->N, q = b->count * N;
  KalBlocksPass  pass  = {.analysis = analysis, .b = b, .told = told, .in = in, .perturbed = perturbed, .q = q, .cross = N + 2 + q * (q + 1) / 2};
  const PetscInt count = pass.cross + (perturbed ? 2 : 1) * q * N;
  PetscInt       rows;
  PetscReal     *sums;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(in, sizeof *in));
  in->N      = N;
  in->p      = told->batch->samples * told->batch->outputs;
  in->taken  = in->p;
  in->status = b->status;
  for (PetscInt j = 0; j < N; j++) in->active += b->status[j] == KAL_MEMBER_OK;
  PetscCheck(in->active >= 2, analysis->comm, (PetscErrorCode)PETSC_ERR_CONV_FAILED, "Only %" PetscInt_FMT " of %" PetscInt_FMT " members survived cycle %" PetscInt_FMT " with each block perturbed; 2 are needed at least", in->active, N, told->cycle + 1);
  in->scale = 1.0 / PetscSqrtReal(in->active - 1.0);
  PetscCall(KalEnsembleGetBlocks(b->predictions[0], &rows, NULL));
  PetscCall(PetscMalloc6((size_t)rows * (q + N), &pass.G, (size_t)rows * (q + N), &pass.A, (size_t)rows * (q + N), &pass.R, rows, &pass.r, (size_t)rows * N, &pass.Xi, count, &sums));
  PetscCall(KalGramCreate(q, &pass.gram));
  PetscCall(KalEnsembleSumRows(b->count + 1, b->predictions, VisitProducts, &pass, count, sums));
  PetscCall(Unfold(b, &pass, sums, in));
  PetscCall(KalGramDestroy(&pass.gram));
  PetscCall(PetscFree6(pass.G, pass.A, pass.R, pass.r, pass.Xi, sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBlocksWeights - The transforms T_l = I + scale centered W_l of the blocks, W = (S + shift I)^{-1} (D + perturbed P); then inflation and failed members
*/
PetscErrorCode KalBlocksWeights(KalAnalysis analysis, KalBlocks *b, const KalInnovation *in, PetscReal shift, PetscReal perturbed, PetscReal inflation)
{
  const PetscInt N = b->N, q = b->count * N;
  PetscReal     *W;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)q * N, &W));
  for (size_t i = 0; perturbed != 0.0 && i < (size_t)q * N; i++) b->D[i] += perturbed * b->P[i];
  PetscCall(KalSolve(analysis, KAL_SPACE_ENSEMBLE, q, b->S, shift, NULL, N, b->D, W));
  for (PetscInt l = 0; l < b->count; l++) {
    PetscReal *T = b->T + (size_t)l * N * N;

    for (PetscInt j = 0; j < N; j++) PetscCall(PetscArraycpy(T + (size_t)j * N, W + (size_t)j * q + (size_t)l * N, N));
    PetscCall(KalTransformCenter(N, b->status, in->active, T));
    for (size_t i = 0; i < (size_t)N * N; i++) T[i] *= in->scale;
    for (PetscInt j = 0; j < N; j++) T[j + (size_t)j * N] += b->status[j] == KAL_MEMBER_OK ? 1.0 : 0.0;
    PetscCall(KalTransformInflate(N, inflation, b->status, in->active, T));
    PetscCall(KalTransformRecover(analysis, b->cycle, b->status, in->active, T));
  }
  PetscCall(PetscFree(W));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBlocksRows - X <- X T_l for the rows of each block of the state among these
*/
PetscErrorCode KalBlocksRows(KalAnalysis analysis, KalBlocks *b, const KalRows *rows)
{
  const PetscInt N = b->N;

  PetscFunctionBeginUser;
  (void)analysis;
  if (rows->count > b->rows) {
    PetscCall(PetscFree2(b->x, b->y));
    PetscCall(PetscMalloc2((size_t)rows->count * N, &b->x, (size_t)rows->count * N, &b->y));
    b->rows = rows->count;
  }
  for (PetscInt l = 0; l < b->count; l++) {
    const PetscInt from = PetscMax(rows->first, b->bound[l]) - rows->first, m = PetscMin(rows->first + rows->count, b->bound[l + 1]) - rows->first - from;

    if (m <= 0) continue;
    for (PetscInt j = 0; j < N; j++) {
      if (b->status[j] == KAL_MEMBER_OK) PetscCall(PetscArraycpy(b->x + (size_t)j * m, rows->x[0] + from + (size_t)j * (size_t)rows->ld[0], m));
      else PetscCall(PetscArrayzero(b->x + (size_t)j * m, m));
    }
    PetscCall(KalMultiply("NN", m, N, N, 1.0, b->x, b->T + (size_t)l * N * N, 0.0, b->y));
    for (PetscInt j = 0; j < N; j++) PetscCall(PetscArraycpy(rows->x[0] + from + (size_t)j * (size_t)rows->ld[0], b->y + (size_t)j * m, m));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
