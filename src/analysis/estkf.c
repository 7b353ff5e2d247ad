/* Error-subspace transform Kalman filter. */
#include "filter.h"

/* The rows and columns of S that members which did not fail have, m x m. */
static void Compress(const KalInnovation *in, PetscReal *small)
{
  PetscInt j, k;

  for (j = 0; j < in->N; j++) {
    if (in->status[j] != KAL_MEMBER_OK) continue;
    for (k = 0; k < in->N; k++) {
      if (in->status[k] == KAL_MEMBER_OK) *small++ = in->S[k + (size_t)j * in->N];
    }
  }
}

/* A vector of the error subspace, m - 1 numbers, as weights of all N members: L x, with zeros for failed ones. */
static PetscErrorCode Expand(const KalInnovation *in, const PetscReal *x, PetscReal *work, PetscReal *y)
{
  PetscInt k, at = 0;

  PetscFunctionBeginUser;
  PetscCall(KalProjection(in->active, x, work));
  for (k = 0; k < in->N; k++) y[k] = in->status[k] == KAL_MEMBER_OK ? work[at++] : 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The spectrum of L'SL, (m - 1) x (m - 1), its vectors taken back by L. */
static PetscErrorCode Decompose(KalAnalysis analysis, const KalInnovation *in, KalSpectrum *s)
{
  const PetscInt m = in->active, q = in->active - 1;
  PetscReal     *S, *row;
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  s->observed = PETSC_FALSE;
  s->scale    = 1.0;
  PetscCall(KalSpectrumReserve(analysis, in->N, q, s));
  PetscCall(PetscMalloc2((size_t)m * m, &S, m, &row));
  Compress(in, S);
  for (j = 0; j < m; j++) PetscCall(KalProjectionTranspose(m, S + (size_t)j * m, S + (size_t)j * m)); /* L'S in the first m - 1 rows */
  for (i = 0; i < q; i++) {
    for (j = 0; j < m; j++) row[j] = S[i + (size_t)j * m];
    PetscCall(KalProjectionTranspose(m, row, row));
    for (j = 0; j < q; j++) s->work[i + (size_t)j * q] = row[j];
  }
  PetscCall(KalEigen(analysis, q, s->work, s->value, s->work));
  for (i = 0; i < q; i++) {
    PetscReal *b = s->B + (size_t)i * in->N;

    PetscCall(Expand(in, s->work + (size_t)i * q, row, b));
    for (k = 0, s->c[i] = 0.0; k < in->N; k++) s->c[i] += b[k] * in->d[k];
  }
  PetscCall(PetscFree2(S, row));
  PetscCall(KalSpectrumResidual(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISESTKF = "estkf" - Error-subspace transform Kalman filter

   As etkf, in the N - 1 dimensions that the anomalies span: with the deterministic projection L (N x (N - 1), orthonormal columns, L'1 = 0; Nerger,
   Janjic, Schroeter and Hiller 2012, Monthly Weather Review 140, eq. 13), M = (I + L'A'A L)^{-1}, w = L M L'A'r and X <- X L M^{1/2} L' (eqs. 14 to
   20 there, N - 1 in place of their divisor N, symmetric root). To rounding these are the weights of etkf; PDAF's ESTKF.

   Options Database Keys:
+  -inflation_... - the keys of KalInflation
-  -analysis_rotate <false> - random mean-preserving rotation of the anomalies (the paper's random L)

.seealso: KALANALYSISETKF, KalInflation
M*/
PetscErrorCode KalAnalysisCreate_ESTKF(KalAnalysis analysis)
{
  KalFilter *filter;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  filter->decompose     = Decompose;
  filter->weights       = KalFilterSquareRoot;
  filter->ensemblespace = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
