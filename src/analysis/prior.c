/* The Gaussian prior of the parameters and the products of members in its metric; see prior.h. */
#include "prior.h"

/*
  KalPriorCreate - Takes memory for the prior mean, and says that it is needed
*/
PetscErrorCode KalPriorCreate(KalAnalysis analysis, KalPrior *prior)
{
  PetscFunctionBeginUser;
  analysis->needs.prior = PETSC_TRUE;
  analysis->needs.vectors += 2;
  PetscCall(PetscMalloc1(analysis->n, &prior->mean));
  for (PetscInt i = 0; i < analysis->n; i++) prior->mean[i] = (PetscReal)NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalPriorBegin - Makes the prior known, before the first cycle: its mean is the one that was given, or that of the first members

  Collective
*/
PetscErrorCode KalPriorBegin(KalAnalysis analysis, KalPrior *prior)
{
  const PetscScalar *mean = analysis->priormean;

  PetscFunctionBeginUser;
  PetscCheck(analysis->prior, analysis->comm, PETSC_ERR_ORDER, "%s needs the prior's spread: call KalAnalysisSetPrior()", analysis->type);
  if (prior->mean[0] == prior->mean[0]) PetscFunctionReturn(PETSC_SUCCESS); /* of a cycle before, or from a snapshot */
  if (!mean) PetscCall(KalEnsembleGetMean(analysis->ensemble, &mean));
  PetscCall(PetscArraycpy(prior->mean, mean, analysis->n));
  for (PetscInt i = 0; i < analysis->n; i++) PetscCheck(analysis->prior[i] > 0.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s divides by the prior's standard deviations, and that of entry %" PetscInt_FMT " is %g: give the model's prior a positive one", analysis->type, i, (double)analysis->prior[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalPriorArray(KalAnalysis analysis, KalPrior *prior, KalArray *array)
{
  PetscFunctionBeginUser;
  array->name    = "prior_mean";
  array->meaning = "prior mean of each entry";
  array->count   = analysis->n;
  array->data    = prior->mean;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalPriorDestroy(KalPrior *prior)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(prior->mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  KalAnalysis      analysis;
  const KalPrior  *prior;
  const KalStatus *status;
  PetscReal        scale;
  PetscInt         cycle, N;
  PetscBool        draws;
  PetscReal       *V, *Xi, *mean; /* a block of rows: P^{-1/2} X, draws, P^{-1/2} (m - mean) */
  KalGram          gram;
} KalPriorPass;

/* P^{-1/2} times anomalies and departure of the prior mean; members that failed are zero. */
static void Scaled(const KalPriorPass *pass, const KalRows *rows)
{
  const PetscReal *sd     = pass->analysis->prior + rows->first;
  PetscInt         active = 0, i, j;

  for (i = 0; i < rows->count; i++) pass->mean[i] = 0.0;
  for (j = 0; j < pass->N; j++) {
    const PetscScalar *x = rows->x[0] + (size_t)j * rows->ld[0];

    if (pass->status[j] != KAL_MEMBER_OK) continue;
    active++;
    for (i = 0; i < rows->count; i++) pass->mean[i] += x[i];
  }
  for (i = 0; i < rows->count; i++) pass->mean[i] /= (PetscReal)PetscMax(1, active);
  for (j = 0; j < pass->N; j++) {
    const PetscScalar *x = rows->x[0] + (size_t)j * rows->ld[0];
    PetscReal         *v = pass->V + (size_t)j * rows->count;

    if (pass->status[j] != KAL_MEMBER_OK) {
      for (i = 0; i < rows->count; i++) v[i] = 0.0;
    } else {
      for (i = 0; i < rows->count; i++) v[i] = pass->scale * (x[i] - pass->mean[i]) / sd[i];
    }
  }
  for (i = 0; i < rows->count; i++) pass->mean[i] = (pass->prior->mean[rows->first + i] - pass->mean[i]) / sd[i];
}

static PetscErrorCode VisitPrior(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalPriorPass  *pass = (KalPriorPass *)ctx;
  const PetscInt N    = pass->N;
  KalKey         key  = {pass->analysis->seed, KAL_DRAW_ANCHOR, pass->cycle, 0};
  PetscInt       i, j;

  PetscFunctionBeginUser;
  Scaled(pass, rows);
  for (j = 0; j < N; j++) {
    for (i = 0, sums[j] = 0.0; i < rows->count; i++) sums[j] += pass->V[i + (size_t)j * rows->count] * pass->mean[i];
  }
  sums += N;
  PetscCall(KalGramTake(&pass->gram, rows->count, pass->V, pass->V));
  for (j = 0; j < N; j++) {
    PetscCall(PetscArraycpy(sums, pass->gram.product + (size_t)j * pass->gram.high + j, N - j));
    sums += N - j;
  }
  if (!pass->draws) PetscFunctionReturn(PETSC_SUCCESS);
  for (j = 0; j < N; j++) {
    key.member = j;
    if (pass->status[j] == KAL_MEMBER_OK) PetscCall(KalDrawNormal(key, rows->first, rows->count, pass->Xi + (size_t)j * rows->count));
    else PetscCall(PetscArrayzero(pass->Xi + (size_t)j * rows->count, rows->count));
  }
  PetscCall(KalGramTake(&pass->gram, rows->count, pass->V, pass->Xi));
  for (j = 0; j < N; j++) PetscCall(PetscArraycpy(sums + (size_t)j * N, pass->gram.product + (size_t)j * pass->gram.high, N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalPriorGramCreate - Takes the products of an ensemble in the metric of the prior

  Collective; the same bits on every rank. `scale` multiplies the anomalies. Draws are keyed by cycle, member and entry, with the purpose
  KAL_DRAW_ANCHOR.
*/
PetscErrorCode KalPriorGramCreate(KalAnalysis analysis, const KalPrior *prior, KalEnsemble ensemble, const KalStatus *status, PetscReal scale, PetscInt cycle, PetscBool draws, KalPriorGram *gram)
{
  const PetscInt N     = analysis->N;
  const PetscInt count = N + N * (N + 1) / 2 + (draws ? N * N : 0);
  KalPriorPass   pass  = {.analysis = analysis, .prior = prior, .status = status, .scale = scale, .cycle = cycle, .N = N, .draws = draws};
  PetscReal     *sums, *at;
  PetscInt       rows, i, j;

  PetscFunctionBeginUser;
  gram->N     = N;
  gram->scale = scale;
  gram->F     = NULL;
  PetscCall(KalEnsembleGetBlocks(ensemble, &rows, NULL));
  PetscCall(PetscMalloc4((size_t)rows * N, &pass.V, draws ? (size_t)rows * N : 1, &pass.Xi, rows, &pass.mean, count, &sums));
  PetscCall(KalGramCreate(N, &pass.gram));
  PetscCall(KalEnsembleSumRows(1, &ensemble, VisitPrior, &pass, count, sums));
  PetscCall(PetscMalloc2((size_t)N * N, &gram->G, N, &gram->c));
  PetscCall(PetscArraycpy(gram->c, sums, N));
  for (j = 0, at = sums + N; j < N; j++) {
    for (i = j; i < N; i++, at++) gram->G[i + (size_t)j * N] = gram->G[j + (size_t)i * N] = *at;
  }
  if (draws) {
    PetscCall(PetscMalloc1((size_t)N * N, &gram->F));
    PetscCall(PetscArraycpy(gram->F, at, (size_t)N * N));
  }
  PetscCall(KalGramDestroy(&pass.gram));
  PetscCall(PetscFree4(pass.V, pass.Xi, pass.mean, sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalPriorGramDestroy(KalPriorGram *gram)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(gram->G, gram->c));
  PetscCall(PetscFree(gram->F));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalPriorPull - B_j = X' P^{-1} (m + spread P^{1/2} Xi_j - u_j) for each member; zero for those that failed
*/
void KalPriorPull(const KalPriorGram *gram, const KalStatus *status, PetscReal spread, PetscReal *B)
{
  const size_t N = (size_t)gram->N;

  for (size_t j = 0; j < N; j++) {
    for (size_t k = 0; k < N; k++) {
      B[k + j * N] = status[j] == KAL_MEMBER_OK ? gram->c[k] - gram->G[k + j * N] / gram->scale : 0.0;
      if (spread != 0.0 && status[j] == KAL_MEMBER_OK) B[k + j * N] += spread * gram->F[k + j * N];
    }
  }
}
