/* Serial square-root filter: one observation after another. */
#include "filter.h"

#define KAL_MOST_SERIAL 134217728 /* numbers of the predictions on each rank, 1 GiB */

/*
  The transform so far and its transpose, N x N by columns, so that products with either run over whole columns; and row i of A, as a
  column.
*/
typedef struct {
  PetscInt   N;
  PetscReal *T, *transposed, *a, *column, *row;
} KalSerial;

/* y = M x */
static void Product(PetscInt N, const PetscReal *M, const PetscReal *x, PetscReal *y)
{
  PetscInt j, k;

  for (k = 0; k < N; k++) y[k] = 0.0;
  for (j = 0; j < N; j++) {
    const PetscReal *m = M + (size_t)j * N, xj = x[j];

    for (k = 0; k < N; k++) y[k] += m[k] * xj;
  }
}

/* M <- M - factor x y' */
static void Subtract(PetscInt N, PetscReal factor, const PetscReal *x, const PetscReal *y, PetscReal *M)
{
  PetscInt j, k;

  for (j = 0; j < N; j++) {
    const PetscReal g = factor * y[j];
    PetscReal      *m = M + (size_t)j * N;

    for (k = 0; k < N; k++) m[k] -= g * x[k];
  }
}

/* One observation: a = A_i T, D = 1 + a a', w <- w + T a' (r_i - A_i w)/D, T <- T (I - a'a/(D + sqrt(D))). */
static void Assimilate(KalSerial *s, PetscReal r, PetscReal *w)
{
  PetscReal D = 1.0, innovation = r;
  PetscInt  k;

  Product(s->N, s->transposed, s->a, s->row);
  Product(s->N, s->T, s->row, s->column);
  for (k = 0; k < s->N; k++) {
    D += s->row[k] * s->row[k];
    innovation -= s->a[k] * w[k];
  }
  for (k = 0; k < s->N; k++) w[k] += s->column[k] * innovation / D;
  Subtract(s->N, 1.0 / (D + PetscSqrtReal(D)), s->column, s->row, s->T);
  Subtract(s->N, 1.0 / (D + PetscSqrtReal(D)), s->row, s->column, s->transposed);
}

static PetscErrorCode Weights(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal *w, PetscReal *T)
{
  KalFilter   *filter = (KalFilter *)analysis->data;
  const size_t N      = (size_t)in->N;
  KalSerial    s      = {.N = in->N, .T = T};
  PetscInt     i, j;
  size_t       k;

  PetscFunctionBeginUser;
  (void)told;
  PetscCall(PetscMalloc4(N * N, &s.transposed, N, &s.a, N, &s.column, N, &s.row));
  PetscCall(PetscArrayzero(w, N));
  PetscCall(PetscArrayzero(T, N * N));
  for (k = 0; k < N * N; k += N + 1) T[k] = 1.0;
  PetscCall(PetscArraycpy(s.transposed, T, N * N));
  for (i = 0; i < in->p; i++) {
    for (j = 0; j < in->N; j++) s.a[j] = in->A[i + (size_t)j * in->p];
    Assimilate(&s, in->r[i], w);
  }
  filter->dfs = (PetscReal)in->N; /* tr(H K) = tr(I - T T') */
  for (k = 0; k < N * N; k++) filter->dfs -= T[k] * T[k];
  PetscCall(PetscFree4(s.transposed, s.a, s.column, s.row));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISENSRF = "ensrf" - Serial ensemble square-root filter

   Observations are assimilated one at a time, in the order that they come in; R is diagonal, or was made so. For one, whitened, with a = its
   row of A: D = 1 + a a', mean <- mean + X a'(r/D)/sqrt(N - 1), X <- X (I - a'a/(D + sqrt(D))) (Potter's form; Whitaker and Hamill 2002,
   Monthly Weather Review 130, eqs. 10 to 13). Not localized this is a transform of the members, N x N, updated by rank one:
   2 N^2 multiplications twice over for an observation, and no state row is touched before the last.

   Options Database Keys:
+  -inflation_... - the keys of KalInflation
-  -analysis_rotate <false> - random mean-preserving rotation of the anomalies

   Notes:
   DAPPER's `Serial` (which by default takes the observations in random order). Lorenz-96 with 40 variables: rmse 0.18 with N = 28,
   -inflation_factor 1.02 -analysis_rotate (share/doc/figures.md).

   Each rank holds the whitened predictions of all members, p x N numbers, at most 2^27 (1 GiB): the order of the observations does not follow
   the ranks. Mean and covariance are those of etkf, which does not need them; the members differ by a rotation.

.seealso: KALANALYSISETKF, KalInflation
M*/
PetscErrorCode KalAnalysisCreate_EnSRF(KalAnalysis analysis)
{
  KalFilter *filter;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  filter->decompose     = NULL;
  filter->weights       = Weights;
  filter->wants         = KAL_WANT_ANOMALIES;
  filter->ensemblespace = PETSC_TRUE;
  filter->most          = KAL_MOST_SERIAL;
  PetscFunctionReturn(PETSC_SUCCESS);
}
