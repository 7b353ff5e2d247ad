/*
  The local analyses of letkf. With X (rows of a patch) and A' (observations near it) anomalies of the members that did not fail, A localized and
  divided by sqrt(N - 1), S = A A':

    new mean = mean + X (I + S)^{-1} A r/sqrt(N - 1),   new anomalies = X (I + S)^{-1/2}.

  A patch has few rows, so no N x N transform is formed: (I + S)^{-1/2} is applied to its rows (localroot.c). With fewer observations
  than members that is done in observation space, by (I + A A')^{-1/2} = I - A g(A'A) A', g(x) = (1 - (1 + x)^{-1/2})/x.
*/
#include "letkf.h"

/* Observations that are taken into S together. */
#define KAL_LETKF_CHUNK 512
/* Rows that are turned from columns together. */
#define KAL_LETKF_TILE 16

/*
  KalLETKFRoom - Takes the memory of local analyses, for this rank's row blocks
*/
PetscErrorCode KalLETKFRoom(KalAnalysis analysis, KalLETKF *letkf)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  const size_t     N = (size_t)analysis->N, rows = (size_t)letkf->rows;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc5(N, &letkf->member, N * N, &letkf->mix, N * PetscMax(N, KAL_LETKF_CHUNK), &letkf->A, N, &letkf->z, N, &letkf->side));
  PetscCall(PetscMalloc4(rows * N, &letkf->X, rows, &letkf->mean, rows * N, &letkf->mixed, 4 * rows, &letkf->moments));
  if (filter->inflation.rtps != 0.0) PetscCall(PetscMalloc1(rows * N, &letkf->forecast));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalLETKFFree(KalLETKF *letkf)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree5(letkf->member, letkf->mix, letkf->A, letkf->z, letkf->side));
  PetscCall(PetscFree4(letkf->X, letkf->mean, letkf->mixed, letkf->moments));
  PetscCall(PetscFree(letkf->forecast));
  PetscCall(PetscFree2(letkf->Y, letkf->r));
  PetscCall(KalNeighboursDestroy(&letkf->near));
  PetscCall(KalNeighboursDestroy(&letkf->before));
  PetscCall(KalRootDestroy(&letkf->root));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The mean over some members, summed in their order, of `count` rows. */
KAL_WIDER static void Means(PetscInt count, PetscInt active, const PetscInt *member, const PetscScalar *x, PetscInt ld, PetscReal *restrict mean)
{
  PetscInt i, a;

  for (i = 0; i < count; i++) mean[i] = 0.0;
  for (a = 0; a < active; a++) {
    const PetscScalar *column = x + (size_t)member[a] * ld;

    for (i = 0; i < count; i++) mean[i] += column[i];
  }
  for (i = 0; i < count; i++) mean[i] /= (PetscReal)active;
}

/* out (a row's members side by side) = factor_i (x_ij - mean_i) */
KAL_WIDER static void Turn(PetscInt count, PetscInt active, const PetscInt *member, const PetscScalar *x, PetscInt ld, const PetscReal *mean, const PetscReal *factor, PetscReal *restrict out)
{
  PetscInt i, a, first;

  for (first = 0; first < count; first += KAL_LETKF_TILE) {
    const PetscInt last = PetscMin(count, first + KAL_LETKF_TILE);

    for (a = 0; a < active; a++) {
      const PetscScalar *column = x + (size_t)member[a] * ld;

      for (i = first; i < last; i++) out[(size_t)i * active + a] = factor[i] * (column[i] - mean[i]);
    }
  }
}

/* x_ij = mean_i + factor in(i, j), members of a row side by side in `in` */
KAL_WIDER static void TurnBack(PetscInt first, PetscInt end, PetscInt columns, const PetscInt *member, const PetscReal *in, const PetscReal *mean, PetscReal factor, PetscScalar *restrict x, PetscInt ld)
{
  PetscInt i, a, tile;

  for (tile = first; tile < end; tile += KAL_LETKF_TILE) {
    const PetscInt last = PetscMin(end, tile + KAL_LETKF_TILE);

    for (a = 0; a < columns; a++) {
      PetscScalar *column = x + (size_t)(member ? member[a] : a) * ld;

      for (i = tile; i < last; i++) column[i] = mean[i] + factor * in[(size_t)i * columns + a];
    }
  }
}

/* The same for every row: the rotation of the members that did not fail, and draws from them for those that did (KalTransformRecover()). */
static PetscErrorCode Mixture(KalAnalysis analysis, KalLETKF *letkf)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  const PetscInt   active = letkf->active;
  KalKey           key    = {analysis->seed, KAL_DRAW_RECOVERY, letkf->told.cycle, 0};
  PetscInt         j, a, b;

  PetscFunctionBeginUser;
  letkf->mixes = (PetscBool)(filter->rotate || active < analysis->N);
  if (!letkf->mixes) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscArrayzero(letkf->mix, (size_t)active * analysis->N));
  for (b = 0; b < active; b++) {
    PetscReal *column = letkf->mix + (size_t)active * letkf->member[b];

    if (filter->rotate) PetscCall(PetscArraycpy(column, filter->Q + (size_t)active * b, active));
    else column[b] = 1.0;
  }
  for (j = 0; j < analysis->N; j++) {
    PetscReal *column = letkf->mix + (size_t)active * j;

    if (filter->status[j] == KAL_MEMBER_OK) continue;
    key.member = j;
    PetscCall(KalDrawNormal(key, 0, analysis->N, letkf->side));
    for (b = 0; b < active; b++) {
      const PetscReal *from = letkf->mix + (size_t)active * letkf->member[b];

      for (a = 0; a < active; a++) column[a] += letkf->scale * letkf->side[letkf->member[b]] * from[a];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whitens the predictions that were fetched, some observations at a time, and turns them: the members of an observation side by side. */
static PetscErrorCode Whiten(KalAnalysis analysis, KalLETKF *letkf, PetscScalar *y)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  const PetscInt   wanted = letkf->wanted;
  KalBatch         here   = *letkf->told.batch; /* the observations that count here, as a batch of their own */
  KalRows          rows   = {.ensembles = 1, .members = {analysis->N}, .ld = {wanted}};
  KalWhitening     white  = {.rows = &rows, .members = analysis->N, .center = -1, .status = filter->status, .active = letkf->active, .scale = letkf->scale};
  PetscScalar     *target, *anomalies;
  PetscReal       *error, *zero, *factor;
  PetscInt         k;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(wanted, &target, wanted, &error));
  PetscCall(PetscMalloc3((size_t)PetscMin(wanted, KAL_LETKF_CHUNK) * analysis->N, &anomalies, KAL_LETKF_CHUNK, &zero, KAL_LETKF_CHUNK, &factor));
  for (k = 0; k < wanted; k++) {
    target[k] = letkf->told.batch->target[letkf->entries[k]];
    error[k]  = letkf->told.batch->error[letkf->entries[k]];
  }
  for (k = 0; k < KAL_LETKF_CHUNK; k++) {
    zero[k]   = 0.0;
    factor[k] = letkf->prior;
  }
  here.samples    = wanted;
  here.target     = target;
  here.error      = error;
  white.anomalies = anomalies;
  for (rows.first = 0; rows.first < wanted; rows.first += KAL_LETKF_CHUNK) {
    rows.count     = PetscMin(KAL_LETKF_CHUNK, wanted - rows.first);
    rows.x[0]      = y + rows.first;
    white.residual = letkf->r + rows.first;
    PetscCall(KalObservationsWhiten(letkf->told.observations, &here, &white));
    Turn(rows.count, letkf->active, letkf->member, anomalies, rows.count, zero, factor, letkf->Y + (size_t)rows.first * letkf->active);
  }
  PetscCall(PetscFree3(anomalies, zero, factor));
  PetscCall(PetscFree2(target, error));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalLETKFPredictions - Brings the predictions that count on this rank here, whitened; readies what is the same for every row

  Collective.
*/
PetscErrorCode KalLETKFPredictions(KalAnalysis analysis, KalLETKF *letkf)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  const size_t     size   = (size_t)letkf->wanted * analysis->N;
  PetscScalar     *y;
  PetscInt         j;

  PetscFunctionBeginUser;
  for (j = 0, letkf->active = 0; j < analysis->N; j++) {
    if (filter->status[j] == KAL_MEMBER_OK) letkf->member[letkf->active++] = j;
  }
  letkf->scale = 1.0 / PetscSqrtReal((PetscReal)(letkf->active - 1));
  letkf->ready = PETSC_FALSE;
  PetscCall(KalInflationFactors(&filter->inflation, &letkf->prior, &letkf->posterior));
  PetscCall(Mixture(analysis, letkf));
  if (size > letkf->mostY) {
    letkf->mostY = size;
    PetscCall(PetscFree2(letkf->Y, letkf->r));
    PetscCall(PetscMalloc2(size, &letkf->Y, letkf->wanted, &letkf->r));
  }
  PetscCall(PetscMalloc1(size, &y));
  PetscCall(KalEnsembleFetchRows(letkf->told.predictions, letkf->wanted, letkf->entries, y));
  PetscCall(Whiten(analysis, letkf, y));
  PetscCall(PetscFree(y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Columns `first` to `end` of A, localized, and A r added to z (in ensemble space) or r itself put there. */
KAL_WIDER static void Localize(const KalLETKF *letkf, PetscInt first, PetscInt end, PetscReal *restrict A, PetscReal *restrict z)
{
  const PetscInt active = letkf->active;
  PetscInt       l, a;

  for (l = first; l < end; l++, A += active) {
    const PetscInt   k    = letkf->position[letkf->near.index[l]];
    const PetscReal *Y    = letkf->Y + (size_t)k * active;
    const PetscReal  root = PetscSqrtReal(letkf->near.coefficient[l]), r = root * letkf->r[k];

    for (a = 0; a < active; a++) A[a] = root * Y[a];
    if (letkf->observed) z[l] = r;
    else {
      for (a = 0; a < active; a++) z[a] += r * A[a];
    }
  }
}

/* Makes root, A and z those of the neighbours in hand. */
static PetscErrorCode Factor(KalLETKF *letkf, PetscBool *ok)
{
  const PetscReal one = 1.0, zero = 0.0;
  const PetscInt  count = letkf->near.count;
  PetscBLASInt    m, k;
  PetscInt        first;

  PetscFunctionBeginUser;
  letkf->observed = (PetscBool)(count < letkf->active);
  PetscCall(PetscBLASIntCast(letkf->active, &m));
  PetscCall(PetscArrayzero(letkf->z, letkf->active));
  PetscCall(KalRootReserve(&letkf->root, PetscMin(count, letkf->active)));
  if (letkf->observed) {
    PetscCall(PetscBLASIntCast(count, &k));
    Localize(letkf, 0, count, letkf->A, letkf->z);
    PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "T", &k, &m, &one, letkf->A, &m, &zero, letkf->root.S, &k));
  } else {
    for (first = 0; first < count; first += KAL_LETKF_CHUNK) {
      const PetscInt end = PetscMin(count, first + KAL_LETKF_CHUNK);

      PetscCall(PetscBLASIntCast(end - first, &k));
      Localize(letkf, first, end, letkf->A, letkf->z);
      PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "N", &m, &k, &one, letkf->A, &m, first ? &one : &zero, letkf->root.S, &m));
    }
  }
  PetscCall(KalRootFactor(&letkf->root, ok));
  if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
  KalRootEnter(&letkf->root, letkf->z);
  KalRootSolve(&letkf->root, letkf->z);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* b = A'x, A active x count */
KAL_WIDER static void TransposedProduct(PetscInt active, PetscInt count, const PetscReal *A, const PetscReal *x, PetscReal *restrict b)
{
  PetscInt l;

  for (l = 0; l < count; l++) b[l] = KalLanesDot(active, A + (size_t)l * active, x);
}

/* x <- x + factor A b */
KAL_WIDER static void AddProduct(PetscInt active, PetscInt count, PetscReal factor, const PetscReal *A, const PetscReal *b, PetscReal *restrict x)
{
  PetscInt a, l;

  for (l = 0; l < count; l++) {
    const PetscReal c = factor * b[l];

    for (a = 0; a < active; a++) x[a] += c * A[(size_t)l * active + a];
  }
}

/* Analyses one row: moves its mean and changes its anomalies; `keep` of these is kept (RTPP). */
static void AnalyseRow(KalLETKF *letkf, PetscReal keep, PetscReal *x, PetscReal *mean)
{
  const KalRoot *root   = &letkf->root;
  const PetscInt active = letkf->active;
  PetscReal     *side   = letkf->side;
  PetscInt       a;

  if (letkf->observed) TransposedProduct(active, root->m, letkf->A, x, side);
  else {
    for (a = 0; a < active; a++) side[a] = x[a];
  }
  KalRootEnter(root, side);
  *mean += letkf->scale * KalLanesDot(root->m, side, letkf->z);
  KalRootApply(root, letkf->observed ? KAL_ROOT_GAP : KAL_ROOT_INVERSE, side);
  KalRootLeave(root, side);
  if (letkf->observed) AddProduct(active, root->m, keep - 1.0, letkf->A, side, x);
  else {
    for (a = 0; a < active; a++) x[a] = (1.0 - keep) * side[a] + keep * x[a];
  }
}

/* Whether the neighbours in hand are those that root was made of. */
static PetscErrorCode Same(const KalLETKF *letkf, PetscBool *same)
{
  PetscFunctionBeginUser;
  *same = (PetscBool)(letkf->ready && letkf->near.count == letkf->before.count);
  if (*same) PetscCall(PetscArraycmp(letkf->near.index, letkf->before.index, letkf->near.count, same));
  if (*same) PetscCall(PetscArraycmp(letkf->near.coefficient, letkf->before.coefficient, letkf->near.count, same));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode AnalysePatch(KalLETKF *letkf, PetscReal keep, const KalPatch *patch, PetscInt row)
{
  PetscBool     same, ok;
  KalNeighbours swap;
  PetscInt      i;

  PetscFunctionBeginUser;
  PetscCall(KalLocalizationFind(&letkf->localization, patch->center, &letkf->near));
  if (!letkf->near.count) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Same(letkf, &same));
  if (!same) {
    PetscCall(Factor(letkf, &ok));
    letkf->ready = ok;
    if (!ok) {
      PetscCall(PetscSNPrintf(letkf->error, sizeof letkf->error, "The predicted anomalies of the %" PetscInt_FMT " observations near state entry %" PetscInt_FMT " are not finite, or beyond 1e38 standard errors: the ensemble has diverged, or an observation's error is far too small", letkf->near.count, patch->first));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    swap          = letkf->before;
    letkf->before = letkf->near;
    letkf->near   = swap;
  }
  for (i = patch->first - row; i < patch->first - row + patch->count; i++) AnalyseRow(letkf, keep, letkf->X + (size_t)i * letkf->active, letkf->mean + i);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows without a place: the global filter's transform. */
static PetscErrorCode TransformPatch(KalAnalysis analysis, const KalRows *rows, const KalPatch *patch)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  PetscScalar     *x      = rows->x[0] + (patch->first - rows->first);

  PetscFunctionBeginUser;
  PetscCall(KalTransformRows(analysis, patch->count, filter->status, x, rows->ld[0], x, rows->ld[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rotation, failed members and posterior inflation; then all rows go back to their columns, but for those without a place. */
static PetscErrorCode PutRows(KalAnalysis analysis, KalLETKF *letkf, const KalRows *rows, const KalPatch *patch, PetscInt patches)
{
  const PetscReal  one = 1.0, zero = 0.0;
  const PetscReal *X       = letkf->X;
  const PetscInt  *member  = letkf->member;
  PetscInt         columns = letkf->active, k, first, end;
  PetscBLASInt     N, m, count;

  PetscFunctionBeginUser;
  if (letkf->mixes) {
    PetscCall(PetscBLASIntCast(analysis->N, &N));
    PetscCall(PetscBLASIntCast(letkf->active, &m));
    PetscCall(PetscBLASIntCast(rows->count, &count));
    PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &N, &count, &m, &one, letkf->mix, &m, letkf->X, &m, &zero, letkf->mixed, &N));
    X       = letkf->mixed;
    member  = NULL;
    columns = analysis->N;
  }
  for (k = 0; k < patches; k++) {
    if (patch[k].unplaced) {
      PetscCall(TransformPatch(analysis, rows, &patch[k]));
      continue;
    }
    first = patch[k].first - rows->first;
    while (k + 1 < patches && !patch[k + 1].unplaced) k++;
    end = patch[k].first + patch[k].count - rows->first;
    TurnBack(first, end, columns, member, X, letkf->mean, letkf->posterior, rows->x[0], rows->ld[0]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalLETKFRows - Analyses a row block
*/
PetscErrorCode KalLETKFRows(void *ctx, const KalRows *rows)
{
  KalAnalysis      analysis = (KalAnalysis)ctx;
  const KalFilter *filter   = (const KalFilter *)analysis->data;
  KalLETKF        *letkf    = (KalLETKF *)filter->method;
  const PetscInt  *start    = letkf->start + (rows->index - letkf->firstblock);
  PetscInt         k, i, j;

  PetscFunctionBeginUser;
  Means(rows->count, letkf->active, letkf->member, rows->x[0], rows->ld[0], letkf->mean);
  for (i = 0; i < rows->count; i++) letkf->moments[i] = letkf->prior;
  Turn(rows->count, letkf->active, letkf->member, rows->x[0], rows->ld[0], letkf->mean, letkf->moments, letkf->X);
  for (j = 0; letkf->forecast && j < analysis->N; j++) PetscCall(PetscArraycpy(letkf->forecast + (size_t)j * rows->count, rows->x[0] + (size_t)j * rows->ld[0], rows->count));
  for (k = start[0]; k < start[1]; k++) {
    if (!letkf->patch[k].unplaced) PetscCall(AnalysePatch(letkf, filter->inflation.rtpp, &letkf->patch[k], rows->first));
  }
  PetscCall(PutRows(analysis, letkf, rows, letkf->patch + start[0], start[1] - start[0]));
  PetscCall(KalInflationSpread(&filter->inflation, rows->count, analysis->N, filter->status, letkf->active, letkf->forecast, rows->count, rows->x[0], rows->ld[0], letkf->moments));
  PetscCall(KalInflationAdd(analysis, &filter->inflation, letkf->told.cycle, rows, letkf->moments));
  PetscFunctionReturn(PETSC_SUCCESS);
}
