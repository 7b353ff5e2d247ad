/* The variational ensemble Kalman filter: the affine map of the members whose image is nearest to the posterior. */
#include "filter.h"

#define KAL_VENKF_HALVINGS 40

typedef struct {
  PetscInt  iterations;
  PetscReal tolerance;
  PetscErrorCode (*check)(KalAnalysis, KalObservations); /* of all filters */
} KalVenkf;

/*
  A cycle's problem. In coordinates z (q) with x = mean + X V z the prior is N(0, I), and the map is z -> B z + b, B symmetric and positive: a point
  [B b] of q x (q + 1) numbers. V (N x q) has orthonormal columns that diagonalize S.
*/
typedef struct {
  KalAnalysis          analysis;
  const KalTold       *told;
  const KalInnovation *in;
  PetscBool            gaussian; /* the likelihood is a function of S and d */
  PetscReal            factor;   /* of the predictions' departures */
  PetscInt             q, rows;
  PetscReal           *V, *s, *d;         /* N x q; V'S V; V'd */
  PetscReal           *Z;                 /* q x N: the members, of which the mean is 0 and the covariance (1/active) I */
  PetscScalar         *A, *Y, *U, *G, *R; /* of a block of predictions: departures (rows x N), times V (rows x q), times a point (rows x (q + 1)), points, scores */
  PetscScalar         *mean;
  PetscReal           *linear; /* 3 rows and the losses of rows samples: derivative and weight of a column */
  const PetscReal     *point;  /* where the likelihood is wanted */
} KalVariation;

/* A point, what is minimized there, its gradient, and the curvatures of its metric. */
typedef struct {
  PetscReal *M, *gradient; /* q x (q + 1) */
  PetscReal *curvature;    /* q: 1 + that of the likelihood, mean over the members */
  PetscReal  value;
} KalPlace;

/* Departures of a block's predictions into A, their mean into mean. */
static void Depart(const KalVariation *v, const KalRows *block)
{
  const KalInnovation *in   = v->in;
  const PetscInt       rows = block->count;

  for (PetscInt i = 0; i < rows; i++) v->mean[i] = 0.0;
  for (PetscInt j = 0; j < in->N; j++) {
    for (PetscInt i = 0; in->status[j] == KAL_MEMBER_OK && i < rows; i++) v->mean[i] += block->x[0][i + (size_t)j * (size_t)block->ld[0]];
  }
  for (PetscInt i = 0; i < rows; i++) v->mean[i] /= in->active;
  for (PetscInt j = 0; j < in->N; j++) {
    for (PetscInt i = 0; i < rows; i++) v->A[i + (size_t)j * rows] = in->status[j] == KAL_MEMBER_OK ? v->factor * (block->x[0][i + (size_t)j * (size_t)block->ld[0]] - v->mean[i]) : 0.0;
  }
}

/* Adds the curvature of a column's loss along each coordinate: sum over samples of y'(diag(w) - v v')y, y a column of Y. */
static void Curve(const KalVariation *v, PetscInt rows, PetscInt outputs, const PetscReal *weight, const PetscReal *vector, PetscReal *sums)
{
  for (PetscInt a = 0; a < v->q; a++) {
    const PetscScalar *y = v->Y + (size_t)a * rows;

    for (PetscInt i = 0; i < rows; i += outputs) {
      PetscReal dot = 0.0;

      for (PetscInt k = i; k < i + outputs; k++) {
        sums[a] += weight[k] * y[k] * y[k] / v->in->active;
        dot += vector[k] * y[k];
      }
      sums[a] -= dot * dot / v->in->active;
    }
  }
}

/* A block's part of the likelihood: its mean over the mapped members, its curvatures, its derivatives by z for each member (q x N). */
static PetscErrorCode VisitLikelihood(void *ctx, const KalRows *block, PetscReal *sums)
{
  KalVariation  *v    = (KalVariation *)ctx;
  const PetscInt rows = block->count, N = v->in->N, q = v->q, c = v->told->batch->outputs;
  PetscReal     *weight = v->linear, *vector = v->linear + rows, *loss = v->linear + 2 * (size_t)rows;

  PetscFunctionBeginUser;
  Depart(v, block);
  PetscCall(KalMultiply("NN", rows, q, N, 1.0, v->A, v->V, 0.0, v->Y));
  PetscCall(KalMultiply("NN", rows, q + 1, q, 1.0, v->Y, v->point, 0.0, v->U));
  PetscCall(KalMultiply("NN", rows, N, q, 1.0, v->U, v->Z, 0.0, v->G));
  PetscCall(PetscArrayzero(v->R, (size_t)rows * N));
  for (PetscInt j = 0; j < N; j++) {
    PetscScalar *g = v->G + (size_t)j * rows;

    if (v->in->status[j] != KAL_MEMBER_OK) continue;
    for (PetscInt i = 0; i < rows; i++) g[i] += v->mean[i] + v->U[i + (size_t)q * rows];
    PetscCall(KalObservationsLinearize(v->told->observations, v->told->batch, block->first / c, rows / c, g, v->R + (size_t)j * rows, weight, vector, loss));
    for (PetscInt i = 0; i < rows / c; i++) sums[0] += loss[i] / v->in->active;
    Curve(v, rows, c, weight, vector, sums + 1);
  }
  PetscCall(KalMultiply("TN", q, N, rows, 1.0, v->Y, v->R, 0.0, sums + 1 + q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The likelihood's part of value, gradient and curvature, by a pass over the predictions. */
static PetscErrorCode Likelihood(KalVariation *v, KalPlace *at)
{
  const PetscInt N = v->in->N, q = v->q, count = 1 + q + q * N;
  KalEnsemble    predictions = v->in->predictions;
  PetscReal     *sums, *B, *b = at->gradient + (size_t)q * q;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(count, &sums, (size_t)q * q, &B));
  v->point = at->M;
  PetscCall(KalEnsembleSumRows(1, &predictions, VisitLikelihood, v, count, sums));
  at->value += sums[0];
  PetscCall(KalMultiply("NT", q, q, N, 1.0 / v->in->active, sums + 1 + q, v->Z, 0.0, B));
  for (PetscInt a = 0; a < q; a++) {
    at->curvature[a] += sums[1 + a];
    for (PetscInt k = 0; k < q; k++) at->gradient[a + (size_t)k * q] += 0.5 * (B[a + (size_t)k * q] + B[k + (size_t)a * q]);
    for (PetscInt j = 0; j < N; j++) b[a] += sums[1 + q + a + (size_t)j * q] / v->in->active;
  }
  PetscCall(PetscFree2(sums, B));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same for Gaussian errors: |r|^2/2 - b'd + (tr(B s B) + b's b)/2. */
static void Gaussian(const KalVariation *v, KalPlace *at)
{
  const PetscInt   q = v->q;
  const PetscReal *b = at->M + (size_t)q * q;

  at->value += 0.5 * v->in->rr;
  for (PetscInt a = 0; a < q; a++) {
    at->curvature[a] += v->s[a];
    at->value += b[a] * (0.5 * v->s[a] * b[a] - v->d[a]);
    at->gradient[a + (size_t)q * q] += v->s[a] * b[a] - v->d[a];
    for (PetscInt k = 0; k < q; k++) {
      at->value += 0.5 * v->s[a] * PetscSqr(at->M[a + (size_t)k * q]);
      at->gradient[a + (size_t)k * q] += 0.5 * (v->s[a] + v->s[k]) * at->M[a + (size_t)k * q];
    }
  }
}

/*
  F(B, b) = -log det B + (|B|^2 + |b|^2)/2 - mean over the members of log p(y | B z_j + b), and what else a place has; `inside` false, and nothing else,
  where B is not positive.
*/
static PetscErrorCode Evaluate(KalVariation *v, KalPlace *at, PetscBool *inside)
{
  const PetscInt q  = v->q;
  const size_t   qq = (size_t)q * q, all = qq + q;
  PetscReal     *inverse = at->gradient;
  PetscBLASInt   order, info;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(q, &order));
  PetscCall(PetscArraycpy(inverse, at->M, qq));
  PetscCallBLAS("LAPACKpotrf", LAPACKpotrf_("L", &order, inverse, &order, &info));
  *inside = (PetscBool)(info == 0);
  if (!*inside) PetscFunctionReturn(PETSC_SUCCESS);
  at->value = 0.0;
  for (PetscInt a = 0; a < q; a++) at->value -= 2.0 * PetscLogReal(inverse[a + (size_t)a * q]);
  for (size_t i = 0; i < all; i++) at->value += 0.5 * PetscSqr(at->M[i]);
  PetscCallBLAS("LAPACKpotri", LAPACKpotri_("L", &order, inverse, &order, &info));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "LAPACK's dpotri: info = %d", (int)info);
  for (PetscInt k = 0; k < q; k++) {
    for (PetscInt a = k; a < q; a++) {
      const PetscReal g = at->M[a + (size_t)k * q] - inverse[a + (size_t)k * q];

      at->gradient[a + (size_t)k * q] = at->gradient[k + (size_t)a * q] = g;
    }
  }
  for (PetscInt a = 0; a < q; a++) {
    at->gradient[qq + a] = at->M[qq + a];
    at->curvature[a]     = 1.0;
  }
  if (v->gaussian) Gaussian(v, at);
  else PetscCall(Likelihood(v, at));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y = the gradient divided by the metric: the curvatures of F where B is diagonal and the members' curvatures are alike. */
static void Precondition(PetscInt q, const KalPlace *at, PetscReal *y)
{
  for (PetscInt k = 0; k < q; k++) {
    for (PetscInt a = 0; a < q; a++) y[a + (size_t)k * q] = at->gradient[a + (size_t)k * q] / (1.0 / (at->M[a + (size_t)a * q] * at->M[k + (size_t)k * q]) + 0.5 * (at->curvature[a] + at->curvature[k]));
  }
  for (PetscInt a = 0; a < q; a++) y[a + (size_t)q * q] = at->gradient[a + (size_t)q * q] / at->curvature[a];
}

static PetscReal Dot(size_t n, const PetscReal *x, const PetscReal *y)
{
  PetscReal sum = 0.0;

  for (size_t i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

/*
  The first of the steps 1, 1/2, ... that is long enough down (Armijo), or, where differences of F are rounding, has a flatter slope at its end.
  `there` takes its place; `found` false: none does.
*/
static PetscErrorCode Search(KalVariation *v, const KalPlace *here, const PetscReal *direction, PetscReal slope, KalPlace *there, PetscBool *found)
{
  const size_t    all  = (size_t)v->q * (v->q + 1);
  const PetscReal flat = 1e-10 * (1.0 + PetscAbsReal(here->value));
  PetscReal       step = 1.0;
  PetscBool       inside;

  PetscFunctionBeginUser;
  *found = PETSC_FALSE;
  for (PetscInt k = 0; k < KAL_VENKF_HALVINGS && !*found; k++, step *= 0.5) {
    for (size_t i = 0; i < all; i++) there->M[i] = here->M[i] + step * direction[i];
    PetscCall(Evaluate(v, there, &inside));
    if (!inside) continue;
    *found = (PetscBool)(there->value <= here->value + 1e-4 * step * slope);
    if (!*found && there->value <= here->value + flat) *found = (PetscBool)(PetscAbsReal(Dot(all, there->gradient, direction)) <= 0.9 * PetscAbsReal(slope));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  From B = I, b = 0 by conjugate gradients (Polak and Ribiere) in the metric. The squared gradient in it, halved, is what F has left to fall, about;
  where that is under the tolerance the search ends.
*/
static PetscErrorCode Minimize(KalVariation *v, const KalVenkf *venkf, KalPlace *at, KalPlace *next)
{
  const PetscInt q   = v->q;
  const size_t   all = (size_t)q * (q + 1);
  PetscReal     *y, *direction, *before, left = 0.0;
  PetscInt       k;
  PetscBool      go;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(all, &y, all, &direction, all, &before));
  PetscCall(PetscArrayzero(at->M, all));
  for (PetscInt a = 0; a < q; a++) at->M[a + (size_t)a * q] = 1.0;
  PetscCall(Evaluate(v, at, &go));
  PetscCheck(!PetscIsInfOrNanReal(at->value), v->analysis->comm, PETSC_ERR_FP, "The members' loss is not finite in cycle %" PetscInt_FMT ": their predictions are too far apart for -observations_loss; begin with less spread", v->told->cycle + 1);
  for (k = 0; k < venkf->iterations; k++) {
    const PetscReal last = left;
    PetscReal       slope, beta = 0.0;

    Precondition(q, at, y);
    left = Dot(all, at->gradient, y);
    if (0.5 * left <= venkf->tolerance) break;
    if (k) beta = PetscMax(0.0, (left - Dot(all, before, y)) / last);
    for (size_t i = 0; i < all; i++) direction[i] = (beta > 0.0 ? beta * direction[i] : 0.0) - y[i];
    slope = Dot(all, at->gradient, direction);
    if (slope >= 0.0) {
      for (size_t i = 0; i < all; i++) direction[i] = -y[i];
      slope = -left;
    }
    PetscCall(PetscArraycpy(before, at->gradient, all));
    PetscCall(Search(v, at, direction, slope, next, &go));
    if (!go) break;
    {
      const KalPlace swap = *at;

      *at   = *next;
      *next = swap;
    }
  }
  PetscCall(PetscInfo(NULL, "venkf: cycle %" PetscInt_FMT ", %" PetscInt_FMT " iterations, F = %.15g, about %g above the least\n", v->told->cycle + 1, k, (double)at->value, (double)(0.5 * left)));
  PetscCall(PetscFree3(y, direction, before));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* V, s and d: an orthonormal basis of the members' departures, beyond rounding, that diagonalizes S. */
static PetscErrorCode Basis(KalVariation *v)
{
  const KalInnovation *in = v->in;
  const size_t         N = (size_t)in->N, NN = N * N;
  PetscReal           *G, *W, *SW, *value;
  PetscInt             q = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(NN, &G, NN, &W, NN, &SW, N, &value));
  PetscCall(KalFilterDepartures(v->analysis, in, PETSC_TRUE, G));
  PetscCall(KalEigen(v->analysis, in->N, G, value, G));
  for (size_t a = 0; a < N; a++) {
    if (!(value[a] > 1e-13 * value[N - 1])) continue;
    for (size_t j = 0; j < N; j++) W[j + (size_t)q * N] = in->status[j] == KAL_MEMBER_OK ? G[j + a * N] : 0.0;
    q++;
  }
  v->q = q;
  PetscCall(KalMultiply("NN", in->N, q, in->N, 1.0, in->S, W, 0.0, SW));
  PetscCall(KalMultiply("TN", q, q, in->N, 1.0, W, SW, 0.0, G));
  if (q) PetscCall(KalEigen(v->analysis, q, G, value, G));
  PetscCall(KalMultiply("NN", in->N, q, q, 1.0, W, G, 0.0, v->V));
  for (PetscInt a = 0; a < q; a++) {
    v->s[a] = PetscMax(0.0, value[a]);
    v->d[a] = Dot(N, v->V + (size_t)a * N, in->d);
    for (size_t j = 0; j < N; j++) v->Z[a + (PetscInt)j * q] = PetscSqrtReal(in->active) * v->V[j + (size_t)a * N];
  }
  PetscCall(PetscFree4(G, W, SW, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PlaceCreate(PetscInt q, KalPlace *at)
{
  const size_t all = (size_t)q * (q + 1);

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(all, &at->M, all, &at->gradient, q, &at->curvature));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PlaceDestroy(KalPlace *at)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(at->M, at->gradient, at->curvature));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* w = V b, T = V (B - I) V' */
static PetscErrorCode Map(KalVariation *v, const KalVenkf *venkf, PetscReal *w, PetscReal *T)
{
  const PetscInt N = v->in->N, q = v->q;
  KalPlace       at, next;
  PetscReal     *VB;

  PetscFunctionBeginUser;
  PetscCall(PlaceCreate(q, &at));
  PetscCall(PlaceCreate(q, &next));
  PetscCall(Minimize(v, venkf, &at, &next));
  PetscCall(PetscMalloc1((size_t)N * q, &VB));
  for (PetscInt a = 0; a < q; a++) at.M[a + (size_t)a * q] -= 1.0;
  PetscCall(KalMultiply("NN", N, q, q, 1.0, v->V, at.M, 0.0, VB));
  PetscCall(KalMultiply("NT", N, N, q, 1.0, VB, v->V, 0.0, T));
  PetscCall(KalMultiply("NN", N, 1, q, 1.0, v->V, at.M + (size_t)q * q, 0.0, w));
  PetscCall(PetscFree(VB));
  PetscCall(PlaceDestroy(&at));
  PetscCall(PlaceDestroy(&next));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Weights(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal *w, PetscReal *T)
{
  KalFilter   *filter = (KalFilter *)analysis->data;
  KalVariation v      = {.analysis = analysis, .told = told, .in = in};
  const size_t N      = (size_t)in->N;
  KalLossType  loss;
  PetscReal    prior, posterior;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetLoss(told->observations, &loss, NULL, NULL));
  PetscCall(KalInflationFactors(&filter->inflation, &prior, &posterior));
  v.gaussian = (PetscBool)(told->batch->timed || loss == KAL_LOSS_SQUARED);
  v.factor   = prior * in->scale;
  PetscCall(PetscMalloc4(N * N, &v.V, N, &v.s, N, &v.d, N * N, &v.Z));
  PetscCall(Basis(&v));
  PetscCall(KalEnsembleGetBlocks(in->predictions, &v.rows, NULL));
  if (!v.gaussian) PetscCall(PetscMalloc7((size_t)v.rows * N, &v.A, (size_t)v.rows * v.q, &v.Y, (size_t)v.rows * (v.q + 1), &v.U, (size_t)v.rows * N, &v.G, (size_t)v.rows * N, &v.R, v.rows, &v.mean, 3 * (size_t)v.rows, &v.linear));
  PetscCall(PetscArrayzero(w, N));
  PetscCall(PetscArrayzero(T, N * N));
  if (v.q) PetscCall(Map(&v, (const KalVenkf *)filter->method, w, T));
  for (PetscInt j = 0; j < in->N; j++) T[j + (size_t)j * N] += in->status[j] == KAL_MEMBER_OK ? 1.0 : 0.0; /* what V leaves out stands */
  for (PetscInt a = 0; a < v.q; a++) filter->dfs += v.s[a] / (1.0 + v.s[a]);
  if (!v.gaussian) PetscCall(PetscFree7(v.A, v.Y, v.U, v.G, v.R, v.mean, v.linear));
  PetscCall(PetscFree4(v.V, v.s, v.d, v.Z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalVenkf *venkf = (KalVenkf *)((KalFilter *)analysis->data)->method;

  PetscFunctionBeginUser;
  PetscCall(KalFilterSetFromOptions(analysis, PetscOptionsObject));
  PetscCall(PetscOptionsInt("-venkf_iterations", "Most iterations of the minimization in a cycle", NULL, venkf->iterations, &venkf->iterations, NULL));
  PetscCall(PetscOptionsReal("-venkf_tolerance", "Divergence from the posterior that may be left above the least one, about", NULL, venkf->tolerance, &venkf->tolerance, NULL));
  PetscCheck(venkf->iterations >= 1, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-venkf_iterations %" PetscInt_FMT ": must be 1 or more", venkf->iterations);
  PetscCheck(venkf->tolerance > 0.0 && !PetscIsInfOrNanReal(venkf->tolerance), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-venkf_tolerance %g: must be positive", (double)venkf->tolerance);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Numbers of a cycle beyond those of a filter: of a basis, of points and their gradients; of a block of predictions, with as many rows as an ensemble's block has. */
static PetscErrorCode Work(KalAnalysis analysis, KalObservations observations)
{
  const PetscReal N = analysis->N;
  PetscReal       rows;
  PetscInt        samples, outputs;
  KalLossType     loss;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetLoss(observations, &loss, NULL, NULL));
  PetscCall(KalObservationsGetCycle(observations, &samples, NULL));
  PetscCall(KalObservationsGetSizes(observations, KAL_SET_TRAIN, NULL, NULL, &outputs));
  rows                 = loss == KAL_LOSS_SQUARED ? 0.0 : PetscMin((PetscReal)samples * outputs, PetscMax(1024.0, 65536.0 / N));
  analysis->needs.work = sizeof(PetscReal) * (7.0 * N * N + 5.0 * rows * N);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank minimizes, and all must end after as many passes. */
static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  const KalVenkf *venkf = (const KalVenkf *)((KalFilter *)analysis->data)->method;

  PetscFunctionBeginUser;
  PetscCheck(analysis->uniform, analysis->comm, PETSC_ERR_SUP, "venkf needs the same BLAS kernels on every rank; these ranks run different ones: set OPENBLAS_CORETYPE, or use etkf");
  PetscCall(venkf->check(analysis, observations));
  PetscCall(Work(analysis, observations));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISVENKF = "venkf" - Variational ensemble Kalman filter: the affine map that takes the forecast nearest to the posterior (Wen and Li 2022)

   Of the maps x -> L x + c the one is taken for which the image of the forecast's Gaussian N(m, C) has the least Kullback-Leibler divergence from the posterior that C and
   the likelihood define. With X the members' departures over sqrt(N - 1) and V (N x q) an orthonormal basis of their row space, from rows of length 1, x = m + X V z,

     F(B, b) = -log det B + (|B|^2 + |b|^2)/2 - 1/N sum_j log p(y | g(B z_j + b)),   z_j -> B z_j + b

   is minimized over symmetric positive B (q x q) and b, from B = I, b = 0: L = I + X V (B - I) (X V)^+, never formed, q at most N - 1 and n. The members in the last term are multiplied by
   sqrt(N/(N - 1)), so that their covariance with 1/N is C. g(z) = gbar + Y z is what the members' own predictions say: Y their regression on z, exact at each member where
   N <= n + 1. F is convex where log p is concave in g.

   Options Database Keys:
+  -venkf_iterations <100> - most iterations in a cycle
.  -venkf_tolerance <1e-10> - they end where F is about this far above its least value
.  -inflation_... - the keys of KalInflation
-  -analysis_rotate <false> - random mean-preserving rotation of the anomalies

   Notes:
   For Gaussian errors mean and covariance are those of etkf, the Kalman filter's, and where N <= n + 1 so are the members; F is then a function of S and d and nothing is sent. It is meant for other
   likelihoods, -observations_loss poisson or cross-entropy of a data set, that enter as they are and not by one quadratic model at the mean: each iteration is a
   pass over the predictions (p x N numbers out, a sum of N^2), 6 p N^2 flops, without runs of the model.

   Conjugate gradients in a metric, which is that of Newton's method where B is diagonal and the curvature of the likelihood is alike at all members, with halved steps until F has
   fallen. L. Wen and J. Li, Affine-mapping based variational ensemble Kalman filter, Statistics and Computing 32 (2022); of the paper only the abstract could be read,
   the formulas are derived. There gradient descent is taken in the space of the state.

.seealso: KALANALYSISETKF, KALANALYSISOTENKF, KALANALYSISGPF
M*/
PetscErrorCode KalAnalysisCreate_VEnKF(KalAnalysis analysis)
{
  KalFilter *filter;
  KalVenkf  *venkf;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  PetscCall(PetscNew(&venkf)); /* freed with the filter */
  venkf->iterations            = 100;
  venkf->tolerance             = 1e-10;
  venkf->check                 = analysis->ops.check;
  filter->method               = venkf;
  filter->weights              = Weights;
  filter->decompose            = NULL;
  filter->ensemblespace        = PETSC_TRUE;
  filter->losses               = PETSC_TRUE;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.check          = Check;
  PetscFunctionReturn(PETSC_SUCCESS);
}
