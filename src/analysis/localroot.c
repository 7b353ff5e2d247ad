/*
  The kernel of local analyses. A member's anomaly or the few rows of a batch need (I + S)^{-1/2} x, never the root itself. With
  Householder's S = Q T Q' that is Q (I + T)^{-1/2} Q'x, and the inverse root of a tridiagonal matrix is, to rounding, a sum of
  some 16 shifted inverses (Hale, Higham and Trefethen 2008, SIAM J. Numer. Anal. 46, method 3: the poles of the best rational
  approximation, by elliptic functions), each of them one sweep down and up, all of them side by side in vector registers.
  For N = 64 this takes a fifth of the time of dsyevd and the products that follow it.
*/
#include "localroot.h"

#include <petscblaslapack.h>

/* Up to here the reduction below beats LAPACK's. */
#define KAL_ROOT_OWN 96
PETSC_EXTERN void dsytrd_(const char *, const PetscBLASInt *, PetscReal *, const PetscBLASInt *, PetscReal *, PetscReal *, PetscReal *, PetscReal *, const PetscBLASInt *, PetscBLASInt *);

/* sc(u | k') = sn/cn for k'^2 = 1 - k^2 and 0 <= u <= K'/2, by descending Landen transformations of i sn(i u | k): no cancellation. */
static PetscReal EllipticTangent(PetscReal u, PetscReal k)
{
  PetscReal less, s;

  if (k < 1e-18) return PetscSinhReal(u);
  less = k / (1.0 + PetscSqrtReal((1.0 - k) * (1.0 + k)));
  less *= less;
  s = EllipticTangent(u / (1.0 + less), less);
  return (1.0 + less) * s / (1.0 - less * s * s);
}

/* K' = K(k') = pi/(2 agm(1, k)) */
static PetscReal EllipticPeriod(PetscReal k)
{
  PetscReal a = 1.0, b = k;
  PetscInt  i;

  for (i = 0; i < 64 && PetscAbsReal(a - b) > 4.0 * PETSC_MACHINE_EPSILON * a; i++) {
    const PetscReal next = 0.5 * (a + b);

    b = PetscSqrtReal(a * b);
    a = next;
  }
  return PETSC_PI / (a + b);
}

/*
  a^{-1/2} = 2/pi int_0^K' w(u)/(s(u)^2 + a) du, s = sc(u | k'), w = s' = sqrt((1 + s^2)(1 + k^2 s^2)), by the midpoint rule, which
  converges as exp(-2 pi^2 count/(log 1/k^2 + 3)) for 1 <= a <= 1/k^2. The points are symmetric: s(K' - u) = 1/(k s(u)).
*/
static PetscErrorCode PolesCreate(PetscInt power, KalPoles **poles)
{
  const PetscReal k = PetscPowReal(2.0, -(PetscReal)power), period = EllipticPeriod(k);
  const PetscInt  enough = 1 + (PetscInt)(1.8 * (2.0 * power * PetscLogReal(2.0) + 3.0)), count = (enough + KAL_LANES - 1) / KAL_LANES * KAL_LANES;
  KalPoles       *p;
  PetscInt        j;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&p));
  PetscCall(PetscMalloc3(count, &p->shift, count, &p->weight, count, &p->gap));
  p->count = count;
  for (j = 0; j < count; j++) {
    const PetscInt  i = PetscMin(j, count - 1 - j);
    const PetscReal t = EllipticTangent(((PetscReal)i + 0.5) * period / (PetscReal)count, k), s = i == j ? t : 1.0 / (k * t);

    p->shift[j]  = s * s;
    p->weight[j] = 2.0 * period / (PETSC_PI * (PetscReal)count) * PetscSqrtReal((1.0 + s * s) * (1.0 + k * k * s * s));
    p->gap[j]    = p->weight[j] / (1.0 + s * s);
  }
  *poles = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ChoosePoles(KalRoot *root, PetscReal largest)
{
  int power;

  PetscFunctionBeginUser;
  (void)frexp(largest, &power); /* largest < 2^power */
  power = (power + 1) / 2;
  if (!root->table[power]) PetscCall(PolesCreate(power, &root->table[power]));
  root->poles = root->table[power];
  if (root->m * root->poles->count > root->mostwork) {
    root->mostwork = root->m * root->poles->count;
    PetscCall(PetscFree3(root->inverse, root->ratio, root->work));
    PetscCall(PetscMalloc3(root->mostwork, &root->inverse, root->mostwork, &root->ratio, 2 * (size_t)root->mostwork, &root->work));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRootReserve - Makes room for a matrix of size m, which becomes the size of the next one; what was factored is lost
*/
PetscErrorCode KalRootReserve(KalRoot *root, PetscInt m)
{
  PetscFunctionBeginUser;
  if (m > root->most) {
    root->most = PetscMax(m, root->most + root->most / 2);
    PetscCall(PetscFree4(root->S, root->d, root->e, root->tau));
    PetscCall(PetscMalloc4((size_t)root->most * root->most, &root->S, root->most, &root->d, root->most, &root->e, root->most, &root->tau));
  }
  root->m = m;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalRootDestroy(KalRoot *root)
{
  PetscInt k;

  PetscFunctionBeginUser;
  for (k = 0; k <= KAL_POLES_MOST; k++) {
    if (root->table[k]) PetscCall(PetscFree3(root->table[k]->shift, root->table[k]->weight, root->table[k]->gap));
    PetscCall(PetscFree(root->table[k]));
  }
  PetscCall(PetscFree4(root->S, root->d, root->e, root->tau));
  PetscCall(PetscFree3(root->inverse, root->ratio, root->work));
  PetscCall(PetscFree(root->lapack));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* p = B v, B symmetric and whole (ld m), four columns at a time. */
static inline void SymmetricProduct(PetscInt r, PetscInt m, const PetscReal *B, const PetscReal *v, PetscReal *restrict p)
{
  PetscInt i, j;

  for (i = 0; i < r; i++) p[i] = 0.0;
  for (j = 0; j + 4 <= r; j += 4) {
    const PetscReal *c0 = B + (size_t)j * m, *c1 = c0 + m, *c2 = c1 + m, *c3 = c2 + m;

    for (i = 0; i < r; i++) p[i] += (c0[i] * v[j] + c1[i] * v[j + 1]) + (c2[i] * v[j + 2] + c3[i] * v[j + 3]);
  }
  for (; j < r; j++) {
    for (i = 0; i < r; i++) p[i] += B[i + (size_t)j * m] * v[j];
  }
}

/*
  S = Q T Q' by Householder reflections (Golub and Van Loan, algorithm 8.3.1), on both triangles so that all columns are
  contiguous. Column k keeps the vector of reflection k below the diagonal, with its leading 1; p and w are work.
*/
KAL_WIDER static void Tridiagonalize(PetscInt m, PetscReal *restrict S, PetscReal *restrict d, PetscReal *restrict e, PetscReal *restrict tau, PetscReal *restrict p, PetscReal *restrict w)
{
  PetscInt i, j, k;

  for (k = 0; k < m; k++) {
    const PetscInt  r = m - k - 1;
    PetscReal      *v = S + (size_t)k * m + k + 1, *B = v + m;
    const PetscReal square = r > 1 ? KalLanesDot(r - 1, v + 1, v + 1) : 0.0;
    PetscReal       beta, half;

    d[k] = S[(size_t)k * m + k];
    if (!r) break;
    e[k]   = v[0];
    tau[k] = 0.0;
    if (square != 0.0) {
      const PetscReal norm = PetscSqrtReal(v[0] * v[0] + square);

      beta   = v[0] > 0.0 ? -norm : norm;
      tau[k] = (beta - v[0]) / beta;
      half   = 1.0 / (v[0] - beta);
      for (i = 1; i < r; i++) v[i] *= half;
      e[k] = beta;
    }
    v[0] = 1.0;
    if (tau[k] == 0.0) continue;
    SymmetricProduct(r, m, B, v, p);
    half = 0.5 * tau[k] * tau[k] * KalLanesDot(r, v, p);
    for (i = 0; i < r; i++) w[i] = tau[k] * p[i] - half * v[i];
    for (j = 0; j < r; j++) {
      for (i = 0; i < r; i++) B[i + (size_t)j * m] -= v[i] * w[j] + w[i] * v[j];
    }
  }
}

/* LAPACK's reduction, in its blocks; its reflectors begin with a 1 that it does not store. */
static PetscErrorCode TridiagonalizeLarge(KalRoot *root, PetscBool *ok)
{
  PetscBLASInt m, lwork = -1, info = 0;
  PetscReal    size;
  PetscInt     k;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(root->m, &m));
  dsytrd_("L", &m, root->S, &m, root->d, root->e, root->tau, &size, &lwork, &info);
  if ((PetscInt)size > root->lwork) {
    root->lwork = (PetscInt)size;
    PetscCall(PetscFree(root->lapack));
    PetscCall(PetscMalloc1(root->lwork, &root->lapack));
  }
  lwork = (PetscBLASInt)root->lwork;
  dsytrd_("L", &m, root->S, &m, root->d, root->e, root->tau, root->lapack, &lwork, &info);
  for (k = 0; k + 1 < root->m; k++) root->S[(size_t)k * root->m + k + 1] = 1.0;
  if (info) *ok = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Pivots of T + (1 + shift) I = L D L' for all shifts; positive, since T is positive semidefinite but for rounding. */
KAL_WIDER static void FactorShifts(PetscInt m, PetscInt P, const PetscReal *d, const PetscReal *e, const PetscReal *shift, PetscReal *restrict inverse, PetscReal *restrict ratio)
{
  PetscInt i, first, l;

  for (first = 0; first < P; first += KAL_LANES) {
    PetscReal now[KAL_LANES];

    for (l = 0; l < KAL_LANES; l++) now[l] = 1.0 / ((1.0 + d[0]) + shift[first + l]);
    for (i = 0; i < m; i++) {
      const PetscReal diagonal = 1.0 + (i + 1 < m ? d[i + 1] : 0.0), off = i + 1 < m ? e[i] : 0.0;
      PetscReal      *keep = inverse + (size_t)i * P + first, *quotient = ratio + (size_t)i * P + first;

      for (l = 0; l < KAL_LANES; l++) {
        keep[l]     = now[l];
        quotient[l] = off * now[l];
        now[l]      = 1.0 / ((diagonal + shift[first + l]) - off * (off * now[l]));
      }
    }
  }
}

/*
  KalRootFactor - Reduces the S whose lower triangle the caller put into root->S, and readies its roots

  `ok` is false where S is not finite or its entries are beyond 1e76: then nothing is ready. Rounding may make eigenvalues of S
  negative, by no more than m eps times the largest; where that is no longer small beside 1 it is added to S.
*/
PetscErrorCode KalRootFactor(KalRoot *root, PetscBool *ok)
{
  const PetscInt m       = root->m;
  PetscReal      largest = 0.0, trace = 0.0, rounding;
  PetscInt       i, j;

  PetscFunctionBeginUser;
  *ok = PETSC_TRUE;
  for (i = 0; i < m; i++) trace += root->S[i + (size_t)i * m]; /* bounds every entry of a semidefinite matrix */
  *ok = (PetscBool)(trace < 1e76);
  if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(ChoosePoles(root, 1.0)); /* room for the work of the reduction */
  if (m <= KAL_ROOT_OWN) {
    for (j = 0; j < m; j++) {
      for (i = j + 1; i < m; i++) root->S[j + (size_t)i * m] = root->S[i + (size_t)j * m];
    }
    Tridiagonalize(m, root->S, root->d, root->e, root->tau, root->work, root->work + m);
  } else PetscCall(TridiagonalizeLarge(root, ok));
  for (i = 0; i < m; i++) {
    const PetscReal row = PetscAbsReal(root->d[i]) + (i ? PetscAbsReal(root->e[i - 1]) : 0.0) + (i + 1 < m ? PetscAbsReal(root->e[i]) : 0.0);

    if (!(row <= largest)) largest = row; /* NaN stays */
  }
  if (!(largest < 1e76)) *ok = PETSC_FALSE;
  if (!*ok) PetscFunctionReturn(PETSC_SUCCESS);
  rounding = (PetscReal)m * PETSC_MACHINE_EPSILON * largest;
  if (rounding > 0.01) {
    for (i = 0; i < m; i++) root->d[i] += rounding;
  }
  PetscCall(ChoosePoles(root, 1.0 + largest + rounding));
  FactorShifts(m, root->poles->count, root->d, root->e, root->poles->shift, root->inverse, root->ratio);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x <- (I - tau v v') x */
static inline void Reflect(PetscInt r, PetscReal tau, const PetscReal *v, PetscReal *restrict x)
{
  const PetscReal s = tau * KalLanesDot(r, v, x);
  PetscInt        i;

  for (i = 0; i < r; i++) x[i] -= s * v[i];
}

KAL_WIDER static void ReflectAll(PetscInt m, const PetscReal *S, const PetscReal *tau, PetscBool backwards, PetscReal *x)
{
  PetscInt i;

  for (i = 0; i + 1 < m; i++) {
    const PetscInt k = backwards ? m - 2 - i : i;

    Reflect(m - k - 1, tau[k], S + (size_t)k * m + k + 1, x + k + 1);
  }
}

void KalRootEnter(const KalRoot *root, PetscReal *x)
{
  ReflectAll(root->m, root->S, root->tau, PETSC_FALSE, x);
}

void KalRootLeave(const KalRoot *root, PetscReal *x)
{
  ReflectAll(root->m, root->S, root->tau, PETSC_TRUE, x);
}

void KalRootSolve(const KalRoot *root, PetscReal *x)
{
  PetscReal *pivot = root->work;
  PetscInt   i;

  pivot[0] = 1.0 + root->d[0];
  for (i = 1; i < root->m; i++) {
    const PetscReal q = root->e[i - 1] / pivot[i - 1];

    pivot[i] = (1.0 + root->d[i]) - q * root->e[i - 1];
    x[i] -= q * x[i - 1];
  }
  for (i = root->m - 1; i >= 0; i--) x[i] = (x[i] - (i + 1 < root->m ? root->e[i] * x[i + 1] : 0.0)) / pivot[i];
}

/* x <- sum_j weight_j (T + (1 + shift_j) I)^{-1} x; y is work for m numbers and m lanes. */
KAL_WIDER static void SumShifts(PetscInt m, PetscInt P, const PetscReal *inverse, const PetscReal *ratio, const PetscReal *weight, PetscReal *restrict y, PetscReal *restrict x)
{
  PetscReal *sum = y + (size_t)m * KAL_LANES;
  PetscInt   i, first, l;

  for (first = 0; first < P; first += KAL_LANES) {
    const PetscReal *w = weight + first;
    PetscReal        z[KAL_LANES];

    for (l = 0; l < KAL_LANES; l++) y[l] = z[l] = x[0];
    for (i = 1; i < m; i++) {
      const PetscReal *q = ratio + (size_t)(i - 1) * P + first;

      for (l = 0; l < KAL_LANES; l++) z[l] = x[i] - q[l] * z[l];
      for (l = 0; l < KAL_LANES; l++) y[(size_t)i * KAL_LANES + l] = z[l];
    }
    for (l = 0; l < KAL_LANES; l++) z[l] = 0.0;
    for (i = m - 1; i >= 0; i--) {
      const PetscReal *inv = inverse + (size_t)i * P + first, *q = ratio + (size_t)i * P + first, *above = y + (size_t)i * KAL_LANES;
      PetscReal        s[KAL_LANES];

      for (l = 0; l < KAL_LANES; l++) z[l] = above[l] * inv[l] - q[l] * z[l];
      for (l = 0; l < KAL_LANES; l++) s[l] = w[l] * z[l];
      sum[i] = (first ? sum[i] : 0.0) + KalLanesSum(s);
    }
  }
  for (i = 0; i < m; i++) x[i] = sum[i];
}

void KalRootApply(const KalRoot *root, KalRootFunction function, PetscReal *x)
{
  const KalPoles *poles = root->poles;

  SumShifts(root->m, poles->count, root->inverse, root->ratio, function == KAL_ROOT_GAP ? poles->gap : poles->weight, root->work, x);
}
