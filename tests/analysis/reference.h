/*
  The inversions as their manual pages state them, in dense plain loops, for a few members. Predictions E, weight H and
  negative gradients of the loss take the place of whitened anomalies; failed members are left out
  from the start.
*/
#ifndef KALTEST_REFERENCE_H
#define KALTEST_REFERENCE_H

#include "linear.h"

#define MOST_MEMBERS 24
#define MOST_STATE   16
#define MOST_OBS     48

typedef enum {
  SQUARED,
  PROBABILITIES,
  LOGITS,
} Loss;
typedef enum {
  FIXED,
  ADAPTIVE,
  MISFIT,
} Rule;

#define FLOOR 0.02 /* of probabilities, the default */

typedef struct {
  PetscInt n, N, p, c;
  Loss     loss;
  double   noise, scale;
  double   G[MOST_OBS * MOST_MEMBERS], center[MOST_OBS]; /* predictions or probabilities; the point where the loss is linearized */
  double   E[MOST_OBS * MOST_MEMBERS], HE[MOST_OBS * MOST_MEMBERS], gradient[MOST_OBS * MOST_MEMBERS], mean[MOST_OBS];
  double   residual[MOST_OBS * MOST_MEMBERS]; /* target less prediction, over the root of the weight's diagonal */
  double   loss_at_center;
} Dense;

static inline void DenseSoftmax(PetscInt rows, PetscInt c, const double *g, double *p)
{
  PetscInt s, k;

  for (s = 0; s < rows; s += c) {
    double sum = 0.0;

    for (k = s; k < s + c; k++) sum += exp(g[k]);
    for (k = s; k < s + c; k++) p[k] = exp(g[k]) / sum;
  }
}

/* H e for the Gauss-Newton weight H of the loss: 1/noise; diag(p) - p p' a sample; 1/max(Pbar, floor) */
static inline void DenseWeight(const Dense *d, const double *members, const double *e, double *He)
{
  PetscInt s, k;

  for (s = 0; s < d->p; s += d->c) {
    double dot = 0.0;

    for (k = s; k < s + d->c; k++) dot += d->center[k] * e[k];
    for (k = s; k < s + d->c; k++) {
      if (d->loss == SQUARED) He[k] = e[k] / d->noise;
      else if (d->loss == LOGITS) He[k] = d->center[k] * (e[k] - dot);
      else He[k] = e[k] / fmax(members[k], FLOOR);
    }
  }
}

/*
  E = G - mean G, H E and the negative gradients of the loss at each member and, in `mean`, at the center: the
  prediction `at`, or NULL for the members' mean.
*/
static inline void DenseLinearize(Dense *d, const double *G, const double *target, const double *at)
{
  double   members[MOST_OBS], logits[MOST_OBS], e[MOST_OBS];
  PetscInt i, j;

  DenseMean(d->p, d->N, G, logits);
  if (at) memcpy(logits, at, (size_t)d->p * sizeof *at);
  memcpy(d->G, G, (size_t)d->p * d->N * sizeof *G);
  if (d->loss == PROBABILITIES) {
    for (j = 0; j < d->N; j++) DenseSoftmax(d->p, d->c, G + j * d->p, d->G + j * d->p);
  }
  DenseMean(d->p, d->N, d->G, members);
  if (d->loss == SQUARED) memcpy(d->center, logits, (size_t)d->p * sizeof *logits);
  else if (d->loss == LOGITS || at) DenseSoftmax(d->p, d->c, logits, d->center);
  else memcpy(d->center, members, (size_t)d->p * sizeof *members);
  d->loss_at_center = 0.0;
  for (i = 0; i < d->p; i++) {
    if (d->loss == SQUARED) d->loss_at_center += 0.5 * pow(target[i] - d->center[i], 2) / d->noise;
    else d->loss_at_center -= target[i] * log(d->center[i]);
  }
  for (j = -1; j < d->N; j++) {
    double *to = j < 0 ? d->mean : d->gradient + j * d->p, own[MOST_OBS];

    memcpy(own, j < 0 ? d->center : d->G + j * d->p, (size_t)d->p * sizeof *own);
    if (d->loss == LOGITS && j >= 0) DenseSoftmax(d->p, d->c, d->G + j * d->p, own);
    for (i = 0; i < d->p; i++) {
      e[i] = target[i] - own[i];
      if (j >= 0) d->residual[i + j * d->p] = e[i] / sqrt(d->loss == SQUARED ? d->noise : (d->loss == LOGITS ? d->center[i] : fmax(members[i], FLOOR)));
    }
    if (d->loss == LOGITS) memcpy(to, e, (size_t)d->p * sizeof *e);
    else DenseWeight(d, members, e, to);
    if (j < 0) continue;
    for (i = 0; i < d->p; i++) d->E[i + j * d->p] = d->G[i + j * d->p] - members[i];
    DenseWeight(d, members, d->E + j * d->p, d->HE + j * d->p);
  }
}

/* S = scale^2 E'HE */
static inline void DenseGram(const Dense *d, double *S)
{
  PetscInt i;

  DenseTN(d->p, d->N, d->N, d->E, d->HE, S);
  for (i = 0; i < d->N * d->N; i++) S[i] *= d->scale * d->scale;
}

/* The step by the rule: |D|, D_kj = <g_k - mean, negative gradient at j>/(N - 1); or the data misfits. */
static inline double DenseStep(const Dense *d, Rule rule, double step, double floor)
{
  double   D[MOST_MEMBERS * MOST_MEMBERS], square = 0.0, phi[MOST_MEMBERS], mean = 0.0, variance = 0.0;
  PetscInt i, j;

  if (rule == FIXED) return step;
  if (rule == ADAPTIVE) {
    DenseTN(d->p, d->N, d->N, d->E, d->gradient, D);
    for (i = 0; i < d->N * d->N; i++) square += pow(D[i] / (d->N - 1), 2);
    return step / (sqrt(square) + floor);
  }
  for (j = 0; j < d->N; j++) {
    phi[j] = 0.0;
    for (i = 0; i < d->p; i++) phi[j] += 0.5 * pow(d->residual[i + j * d->p], 2);
    mean += phi[j] / d->N;
  }
  for (j = 0; j < d->N; j++) variance += pow(phi[j] - mean, 2) / (d->N - 1);
  return fmax(d->p / (2.0 * mean), sqrt(d->p / (2.0 * variance)));
}

/* U + C_ug (C_gg + R/h)^{-1} (y + noise - g_j), in observation space: the squared loss alone */
static inline PetscErrorCode DenseKalman(const Dense *d, const double *V, double h, const double *target, const double *noise, double *U)
{
  double   mean[MOST_STATE], Cug[MOST_STATE * MOST_OBS], M[MOST_OBS * MOST_OBS], R[MOST_OBS * MOST_MEMBERS], X[MOST_STATE * MOST_MEMBERS];
  PetscInt i, k, j;

  PetscFunctionBeginUser;
  DenseMean(d->n, d->N, V, mean);
  for (j = 0; j < d->N; j++) {
    for (i = 0; i < d->n; i++) X[i + j * d->n] = V[i + j * d->n] - mean[i];
    for (i = 0; i < d->p; i++) R[i + j * d->p] = target[i] + (noise ? noise[i + j * d->p] * sqrt(d->noise / h) : 0.0) - d->G[i + j * d->p];
  }
  for (k = 0; k < d->p; k++) {
    for (i = 0; i < d->n; i++) {
      Cug[i + k * d->n] = 0.0;
      for (j = 0; j < d->N; j++) Cug[i + k * d->n] += X[i + j * d->n] * d->E[k + j * d->p] / (d->N - 1);
    }
    for (i = 0; i < d->p; i++) {
      M[i + k * d->p] = i == k ? d->noise / h : 0.0;
      for (j = 0; j < d->N; j++) M[i + k * d->p] += d->E[i + j * d->p] * d->E[k + j * d->p] / (d->N - 1);
    }
  }
  PetscCall(DenseSolve(d->p, M, d->N, R));
  DenseNN(d->n, d->p, d->N, Cug, R, U);
  for (i = 0; i < d->n * d->N; i++) U[i] += V[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* U = V + X W, (S + I/h) W = X' negative gradients; X and S of scaled anomalies */
static inline PetscErrorCode DenseEnsemble(const Dense *d, const double *V, double h, double *U)
{
  double   S[MOST_MEMBERS * MOST_MEMBERS], W[MOST_MEMBERS * MOST_MEMBERS], mean[MOST_STATE], X[MOST_STATE * MOST_MEMBERS];
  PetscInt i, j;

  PetscFunctionBeginUser;
  DenseGram(d, S);
  DenseTN(d->p, d->N, d->N, d->E, d->gradient, W);
  for (i = 0; i < d->N * d->N; i++) W[i] *= d->scale;
  for (j = 0; j < d->N; j++) S[j + j * d->N] += 1.0 / h;
  PetscCall(DenseSolve(d->N, S, d->N, W));
  DenseMean(d->n, d->N, V, mean);
  for (j = 0; j < d->N; j++) {
    for (i = 0; i < d->n; i++) X[i + j * d->n] = (V[i + j * d->n] - mean[i]) * d->scale;
  }
  DenseNN(d->n, d->N, d->N, X, W, U);
  for (i = 0; i < d->n * d->N; i++) U[i] += V[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean + X (w 1' + sqrt(N - 1) Om^{1/2}), Om = (I + h S)^{-1}, w = h Om X' gradient at the mean; the root by Denman and Beavers' iteration */
static inline PetscErrorCode DenseRoot(const Dense *d, const double *V, double h, double *U)
{
  enum { ITERATIONS = 30 };
  const PetscInt NN = d->N * d->N;
  double         Y[MOST_MEMBERS * MOST_MEMBERS], Z[MOST_MEMBERS * MOST_MEMBERS], A[MOST_MEMBERS * MOST_MEMBERS], invY[MOST_MEMBERS * MOST_MEMBERS], invZ[MOST_MEMBERS * MOST_MEMBERS];
  double         w[MOST_MEMBERS], mean[MOST_STATE], X[MOST_STATE * MOST_MEMBERS];
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  DenseGram(d, Y);
  for (i = 0; i < NN; i++) {
    Y[i] = h * Y[i] + (i % d->N == i / d->N ? 1.0 : 0.0);
    A[i] = Y[i];
    Z[i] = i % d->N == i / d->N ? 1.0 : 0.0;
  }
  DenseTN(d->p, d->N, 1, d->E, d->mean, w);
  for (j = 0; j < d->N; j++) w[j] *= d->scale * h;
  PetscCall(DenseSolve(d->N, A, 1, w));
  for (k = 0; k < ITERATIONS; k++) {
    for (i = 0; i < NN; i++) invY[i] = invZ[i] = i % d->N == i / d->N ? 1.0 : 0.0;
    memcpy(A, Y, (size_t)NN * sizeof *A);
    PetscCall(DenseSolve(d->N, A, d->N, invY));
    memcpy(A, Z, (size_t)NN * sizeof *A);
    PetscCall(DenseSolve(d->N, A, d->N, invZ));
    for (i = 0; i < NN; i++) {
      Y[i] = 0.5 * (Y[i] + invZ[i]);
      Z[i] = 0.5 * (Z[i] + invY[i]);
    }
  }
  DenseMean(d->n, d->N, V, mean);
  for (j = 0; j < d->N; j++) {
    for (i = 0; i < d->n; i++) X[i + j * d->n] = (V[i + j * d->n] - mean[i]) * d->scale;
    for (k = 0; k < d->N; k++) A[k + j * d->N] = w[k] + Z[k + j * d->N] / d->scale;
  }
  DenseNN(d->n, d->N, d->N, X, A, U);
  for (j = 0; j < d->N; j++) {
    for (i = 0; i < d->n; i++) U[i + j * d->n] += mean[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

#endif
