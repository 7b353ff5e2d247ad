/* The spectrum of S = A'A and the functions of S that the square-root filters are made of. */
#include "filter.h"

/*
  KalSpectrumReserve - Memory for q modes of N members; kept between cycles
*/
PetscErrorCode KalSpectrumReserve(KalAnalysis analysis, PetscInt N, PetscInt q, KalSpectrum *s)
{
  PetscFunctionBeginUser;
  (void)analysis;
  s->q = q;
  if (q <= s->room) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalSpectrumDestroy(s));
  PetscCall(PetscMalloc3(q, &s->value, q, &s->c, q, &s->u));
  PetscCall(PetscMalloc2((size_t)N * q, &s->B, (size_t)PetscMax(N, q) * q, &s->work));
  s->q = s->room = q;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalSpectrumDestroy(KalSpectrum *s)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(s->value, s->c, s->u));
  PetscCall(PetscFree2(s->B, s->work));
  s->room = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSpectrumResidual - u from c, and eigenvalues that rounding made negative as 0
*/
PetscErrorCode KalSpectrumResidual(KalSpectrum *s)
{
  const PetscReal tiny = 100.0 * PETSC_MACHINE_EPSILON * PetscMax(0.0, s->q ? s->value[s->q - 1] : 0.0);
  PetscInt        i;

  PetscFunctionBeginUser;
  for (i = 0; i < s->q; i++) {
    if (s->value[i] <= tiny) s->u[i] = 0.0;
    else s->u[i] = s->observed ? s->c[i] : s->c[i] / PetscSqrtReal(s->value[i]);
    s->value[i] = PetscMax(0.0, s->value[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* S = V diag(value) V', c = V'd. */
static PetscErrorCode ComputeEnsemble(KalAnalysis analysis, const KalInnovation *in, KalSpectrum *s)
{
  PetscInt i, k;

  PetscFunctionBeginUser;
  PetscCall(KalSpectrumReserve(analysis, in->N, in->N, s));
  PetscCall(KalEigen(analysis, in->N, in->S, s->value, s->B));
  for (i = 0; i < in->N; i++) {
    const PetscReal *v = s->B + (size_t)i * in->N;

    for (k = 0, s->c[i] = 0.0; k < in->N; k++) s->c[i] += v[k] * in->d[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* AA' = U diag(value) U', B = A'U, c = U'r. */
static PetscErrorCode ComputeObservation(KalAnalysis analysis, const KalInnovation *in, KalSpectrum *s)
{
  const PetscReal one = 1.0, zero = 0.0;
  PetscBLASInt    N, p;
  PetscInt        i, k;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(in->N, &N));
  PetscCall(PetscBLASIntCast(in->p, &p));
  PetscCall(KalSpectrumReserve(analysis, in->N, in->p, s));
  PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "N", &p, &N, &one, in->A, &p, &zero, s->work, &p));
  PetscCall(KalEigen(analysis, in->p, s->work, s->value, s->work));
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &N, &p, &p, &one, in->A, &p, s->work, &p, &zero, s->B, &N));
  for (i = 0; i < in->p; i++) {
    const PetscReal *u = s->work + (size_t)i * in->p;

    for (k = 0, s->c[i] = 0.0; k < in->p; k++) s->c[i] += u[k] * in->r[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSpectrumCompute - The spectrum in the space that the innovation was taken in

  Collective; the eigenvectors have the same bits on every rank.
*/
PetscErrorCode KalSpectrumCompute(KalAnalysis analysis, const KalInnovation *in, KalSpectrum *s)
{
  PetscFunctionBeginUser;
  s->observed = (PetscBool)(in->space == KAL_SPACE_OBSERVATION);
  s->scale    = 1.0;
  if (s->observed) PetscCall(ComputeObservation(analysis, in, s));
  else PetscCall(ComputeEnsemble(analysis, in, s));
  PetscCall(KalSpectrumResidual(s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSpectrumScale - Makes the spectrum what it is for anomalies that are multiplied by a factor
*/
PetscErrorCode KalSpectrumScale(PetscReal factor, KalSpectrum *s)
{
  PetscInt i;

  PetscFunctionBeginUser;
  if (factor == 1.0) PetscFunctionReturn(PETSC_SUCCESS);
  for (i = 0; i < s->q; i++) s->value[i] *= factor * factor;
  if (s->observed) s->scale *= factor;
  for (i = 0; !s->observed && i < s->q; i++) s->c[i] *= factor;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSpectrumMean - w = (I + S)^{-1} d
*/
PetscErrorCode KalSpectrumMean(PetscInt N, const KalSpectrum *s, PetscReal *w)
{
  PetscInt i, k;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(w, N));
  for (i = 0; i < s->q; i++) {
    const PetscReal  c = s->scale * s->c[i] / (1.0 + s->value[i]);
    const PetscReal *b = s->B + (size_t)i * N;

    for (k = 0; k < N; k++) w[k] += c * b[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T = f(S), given (f(x) - f(0))/x and f(0) = 1 */
static PetscErrorCode Fill(PetscInt N, const KalSpectrum *s, PetscReal (*factor)(PetscReal), PetscReal *T)
{
  const PetscReal one = 1.0;
  PetscBLASInt    n, q;
  PetscInt        i, k;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(N, &n));
  PetscCall(PetscBLASIntCast(s->q, &q));
  for (i = 0; i < s->q; i++) {
    const PetscReal  g = factor(s->value[i]) * (s->observed ? s->scale * s->scale : s->value[i]);
    const PetscReal *b = s->B + (size_t)i * N;
    PetscReal       *x = s->work + (size_t)i * N;

    for (k = 0; k < N; k++) x[k] = g * b[k];
  }
  PetscCall(PetscArrayzero(T, (size_t)N * N));
  for (k = 0; k < N; k++) T[k + (size_t)k * N] = 1.0;
  if (s->q) PetscCallBLAS("BLASgemm", BLASgemm_("N", "T", &n, &n, &q, &one, s->work, &n, s->B, &n, &one, T, &n));
  PetscCall(PetscLogFlops(2.0 * N * N * s->q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* (f(x) - 1)/x of f(x) = 1/(1 + x) and of f(x) = 1/sqrt(1 + x), without loss of digits for small x */
static PetscReal DividedInverse(PetscReal x)
{
  return -1.0 / (1.0 + x);
}

static PetscReal DividedInverseRoot(PetscReal x)
{
  const PetscReal root = PetscSqrtReal(1.0 + x);

  return -1.0 / (root * (1.0 + root));
}

/*
  KalSpectrumInverse - T = (I + S)^{-1}
*/
PetscErrorCode KalSpectrumInverse(PetscInt N, const KalSpectrum *s, PetscReal *T)
{
  PetscFunctionBeginUser;
  PetscCall(Fill(N, s, DividedInverse, T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSpectrumInverseRoot - T = (I + S)^{-1/2}, the symmetric root
*/
PetscErrorCode KalSpectrumInverseRoot(PetscInt N, const KalSpectrum *s, PetscReal *T)
{
  PetscFunctionBeginUser;
  PetscCall(Fill(N, s, DividedInverseRoot, T));
  PetscFunctionReturn(PETSC_SUCCESS);
}
