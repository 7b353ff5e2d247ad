/* The ensemble Gaussian process sampler: Langevin dynamics along the derivative of an emulator that is fitted to the members. */
#include "langevin.h"

typedef struct {
  PetscReal length, noise; /* of the kernel, or 0: by the evidence */
} KalEngps;

/* The emulator, over the m members that did not fail. */
typedef struct {
  PetscInt   m, q, N;
  PetscInt  *who;   /* m: their indices */
  PetscReal *Y;     /* m x q: orthonormal columns that span their departures */
  PetscReal *S, *d; /* m x m, m: products of the whitened predictions, unscaled */
  PetscReal *M;     /* m x m: takes out mean and linear trend */
  PetscReal *K;     /* m x m: kernel */
  PetscReal *P;     /* m x m: M (K + noise I)^{-1} */
  PetscReal *value, *Q, *work, *more;
  PetscReal  length, noise;
} KalEmulator;

static const PetscReal Lengths[] = {0.5, 1.0, 2.0, 4.0, 8.0}, Ratios[] = {1e-8, 1e-6, 1e-4, 1e-2, 1e-1, 1.0, 10.0};

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalEngps *engps = (KalEngps *)((KalLangevin *)analysis->data)->method;

  PetscFunctionBeginUser;
  PetscCall(KalLangevinSetFromOptions(analysis, PetscOptionsObject));
  PetscCall(PetscOptionsReal("-engps_length", "Length of the kernel in standard deviations of the members (0: by the evidence)", NULL, engps->length, &engps->length, NULL));
  PetscCall(PetscOptionsReal("-engps_noise", "Variance of the predictions' noise over that of the emulated departure from a linear model (0: by the evidence)", NULL, engps->noise, &engps->noise, NULL));
  PetscCheck(engps->length >= 0.0 && !PetscIsInfOrNanReal(engps->length), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-engps_length %g: must be positive, or 0", (double)engps->length);
  PetscCheck(engps->noise >= 0.0 && !PetscIsInfOrNanReal(engps->noise), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-engps_noise %g: must be positive, or 0", (double)engps->noise);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Coordinates and products of the members that did not fail. */
static PetscErrorCode Gather(KalAnalysis analysis, const KalInnovation *in, const KalPriorGram *gram, KalEmulator *e)
{
  const size_t N = (size_t)in->N, m = (size_t)in->active;
  PetscReal   *value, *Y;

  PetscFunctionBeginUser;
  e->N = in->N;
  e->m = in->active;
  PetscCall(PetscMalloc2(N, &value, N * N, &Y));
  PetscCall(PetscMalloc5(m, &e->who, m * m, &e->Y, m * m, &e->S, m, &e->d, m * m, &e->M));
  PetscCall(PetscMalloc6(m * m, &e->K, m * m, &e->P, m, &e->value, m * m, &e->Q, m * m, &e->work, m * m, &e->more));
  PetscCall(KalEigen(analysis, in->N, gram->G, value, Y));
  PetscCheck(value[N - 1] > 0.0, analysis->comm, PETSC_ERR_FP, "All members are the same, and engps fits an emulator to their differences: begin with members that are spread");
  for (PetscInt j = 0, k = 0; j < in->N; j++) {
    if (in->status[j] == KAL_MEMBER_OK) e->who[k++] = j;
  }
  for (size_t a = N; a-- > 0 && value[a] > 1e-10 * value[N - 1];) {
    for (size_t k = 0; k < m; k++) e->Y[k + (size_t)e->q * m] = Y[(size_t)e->who[k] + a * N];
    e->q++;
  }
  for (size_t j = 0; j < m; j++) {
    e->d[j] = in->d[e->who[j]] / in->scale;
    for (size_t k = 0; k < m; k++) {
      e->S[k + j * m] = in->S[(size_t)e->who[k] + (size_t)e->who[j] * N] / PetscSqr(in->scale);
      e->M[k + j * m] = (k == j ? 1.0 : 0.0) - 1.0 / (PetscReal)m;
      for (size_t a = 0; a < (size_t)e->q; a++) e->M[k + j * m] -= e->Y[k + a * m] * e->Y[j + a * m];
    }
  }
  PetscCall(PetscFree2(value, Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* k(u_i, u_j) = exp(-|c_i - c_j|^2/(2 length^2)), |c_i - c_j| the distance in standard deviations of the members. */
static void Kernel(KalEmulator *e)
{
  const size_t m = (size_t)e->m;

  for (size_t j = 0; j < m; j++) {
    for (size_t i = 0; i <= j; i++) {
      PetscReal square = 0.0;

      for (size_t a = 0; a < (size_t)e->q; a++) square += PetscSqr(e->Y[i + a * m] - e->Y[j + a * m]);
      e->K[i + j * m] = e->K[j + i * m] = PetscExpReal(-0.5 * (PetscReal)m * square / PetscSqr(e->length));
    }
  }
}

/*
  The evidence of kernels: the logarithm of the likelihood of all outputs, which share a kernel, at the best variance. T = M S M are the products of their departures
  from a linear model: -1/2 (log|K + noise I| + m log tr((K + noise I)^{-1} T)) an output.
*/
static PetscErrorCode Evidence(KalAnalysis analysis, const KalEngps *engps, KalEmulator *e)
{
  const size_t m    = (size_t)e->m;
  PetscReal    best = -PETSC_MAX_REAL, length = 1.0, noise = 1.0;

  PetscFunctionBeginUser;
  PetscCall(KalMultiply("NN", e->m, e->m, e->m, 1.0, e->M, e->S, 0.0, e->work));
  PetscCall(KalMultiply("NN", e->m, e->m, e->m, 1.0, e->work, e->M, 0.0, e->more)); /* T */
  for (size_t l = 0; l < (engps->length > 0.0 ? 1 : PETSC_STATIC_ARRAY_LENGTH(Lengths)); l++) {
    e->length = engps->length > 0.0 ? engps->length : Lengths[l] * PetscSqrtReal((PetscReal)e->q);
    Kernel(e);
    PetscCall(KalEigen(analysis, e->m, e->K, e->value, e->Q));
    PetscCall(KalMultiply("NN", e->m, e->m, e->m, 1.0, e->more, e->Q, 0.0, e->work));
    for (size_t r = 0; r < (engps->noise > 0.0 ? 1 : PETSC_STATIC_ARRAY_LENGTH(Ratios)); r++) {
      const PetscReal ratio = engps->noise > 0.0 ? engps->noise : Ratios[r];
      PetscReal       trace = 0.0, determinant = 0.0, evidence;

      for (size_t a = 0; a < m; a++) {
        const PetscReal v   = PetscMax(0.0, e->value[a]) + ratio;
        PetscReal       sum = 0.0;

        for (size_t i = 0; i < m; i++) sum += e->Q[i + a * m] * e->work[i + a * m];
        trace += sum / v;
        determinant += PetscLogReal(v);
      }
      evidence = -0.5 * (determinant + (PetscReal)m * PetscLogReal(PetscMax(trace, 1e-300)));
      if (evidence <= best) continue;
      best   = evidence;
      length = e->length;
      noise  = ratio;
    }
  }
  e->length = length;
  e->noise  = noise;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* P = M (K + noise I)^{-1} */
static PetscErrorCode Fit(KalAnalysis analysis, KalEmulator *e)
{
  const size_t m = (size_t)e->m;

  PetscFunctionBeginUser;
  Kernel(e);
  PetscCall(KalEigen(analysis, e->m, e->K, e->value, e->Q));
  for (size_t a = 0; a < m; a++) {
    for (size_t i = 0; i < m; i++) e->work[a + i * m] = e->Q[i + a * m] / (PetscMax(0.0, e->value[a]) + e->noise);
  }
  PetscCall(KalMultiply("NN", e->m, e->m, e->m, 1.0, e->Q, e->work, 0.0, e->more));
  PetscCall(KalMultiply("NN", e->m, e->m, e->m, 1.0, e->M, e->more, 0.0, e->P));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  With c the coordinates of u in the members' standard deviations, the emulator is mean g + departures of the predictions times w(c), w = Y c/sqrt(m) + P k(c); its potential has
  the gradient (dw/dc)'(S w - d). C grad Phi = X Y times it.
*/
static PetscErrorCode Gradient(KalAnalysis analysis, KalInnovation *in, const KalPriorGram *gram, PetscReal *Phi)
{
  const KalEngps *engps = (const KalEngps *)((const KalLangevin *)analysis->data)->method;
  KalEmulator     e     = {.q = 0};
  PetscReal      *slope;
  size_t          m, q, N = (size_t)in->N;

  PetscFunctionBeginUser;
  PetscCall(Gather(analysis, in, gram, &e));
  PetscCall(Evidence(analysis, engps, &e));
  PetscCall(Fit(analysis, &e));
  m = (size_t)e.m;
  q = (size_t)e.q;
  PetscCall(KalMultiply("NN", e.m, e.m, e.m, 1.0, e.P, e.K, 0.0, e.work));
  for (size_t j = 0; j < m; j++) {
    for (size_t k = 0; k < m; k++) {
      for (size_t a = 0; a < q; a++) e.work[k + j * m] += e.Y[k + a * m] * e.Y[j + a * m];
    }
  }
  PetscCall(KalMultiply("NN", e.m, e.m, e.m, 1.0, e.S, e.work, 0.0, e.Q)); /* S w - d, of each member */
  for (size_t j = 0; j < m; j++) {
    for (size_t k = 0; k < m; k++) e.Q[k + j * m] -= e.d[k];
  }
  PetscCall(KalMultiply("TN", e.m, e.m, e.m, 1.0, e.P, e.Q, 0.0, e.more));
  PetscCall(PetscMalloc1(q, &slope));
  PetscCall(PetscArrayzero(Phi, N * N));
  for (size_t j = 0; j < m; j++) {
    PetscReal *column = Phi + (size_t)e.who[j] * N;

    for (size_t a = 0; a < q; a++) {
      slope[a] = 0.0;
      for (size_t i = 0; i < m; i++) slope[a] += e.Y[i + a * m] * e.Q[i + j * m] / PetscSqrtReal((PetscReal)m) - e.more[i + j * m] * e.K[i + j * m] * PetscSqrtReal((PetscReal)m) * (e.Y[j + a * m] - e.Y[i + a * m]) / PetscSqr(e.length);
    }
    for (size_t k = 0; k < m; k++) {
      for (size_t a = 0; a < q; a++) column[e.who[k]] += e.Y[k + a * m] * slope[a] / PetscSqrtReal((PetscReal)m);
    }
  }
  PetscCall(PetscFree(slope));
  PetscCall(PetscFree5(e.who, e.Y, e.S, e.d, e.M));
  PetscCall(PetscFree6(e.K, e.P, e.value, e.Q, e.work, e.more));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISENGPS = "engps" - The ensemble Gaussian process sampler

   The dynamics of aldi, in which the derivative of the model by differences of the members gives way to that of an emulator, fitted anew in each cycle: a linear
   model and a Gaussian process for what departs from it,

     g(u) = mean g + slope (u - mean u) + sum_i b_i k(u, u_i),   k(u, v) = exp(-|u - v|^2/(2 l^2)) with |.|^2 in C^{-1},  the members' covariance,

   and noise of the predictions, whose variance and length l are those of the greatest evidence over a grid. Noise and fast oscillations of the model are so taken for what
   they are, where a derivative would follow them. After Dunbar, Duncan, Stuart and Wolfram, Ensemble inference methods for models with noisy and expensive
   likelihoods, SIAM J. Applied Dynamical Systems 21 (2022).

   Options Database Keys:
+  -engps_length <0> - l, in standard deviations of the members; 0: by the evidence
.  -engps_noise <0> - variance of the noise over that of the departure from a linear model; 0: by the evidence
-  -engps_step <1>, -engps_step_floor <1e-8>, -engps_step_most <1> - as those of KALANALYSISEKS

   Notes:
   Differences from the paper, which was not at hand in full: the model's outputs are emulated, with one kernel for all, not their likelihood; a linear trend is
   part of it; hyperparameters are from a grid, l/sqrt(n) from 1/2 to 8 and the noise from 1e-8 to 10. In the metric of C all of it is products of N x N matrices, whatever
   the number of outputs: of the predictions their Gram matrix is needed alone. Up to 6 eigen-decompositions a cycle: some hundred members. Of a
   linear model engps is aldi, but for the rounding. Members that start where the model hardly changes are left behind there, where the slope of all others would have
   pulled them along: begin near the posterior, as with some cycles of etki.

.seealso: KALANALYSISALDI, KALANALYSISEKS
M*/
PetscErrorCode KalAnalysisCreate_EnGPS(KalAnalysis analysis)
{
  KalLangevin *l;
  KalEngps    *engps;

  PetscFunctionBeginUser;
  PetscCall(KalLangevinCreate(analysis, "engps", &l));
  PetscCall(PetscNew(&engps));
  l->method                    = engps;
  l->gradient                  = Gradient;
  l->correction                = PETSC_TRUE;
  l->wants                     = KAL_WANT_GRAM;
  analysis->ops.setfromoptions = SetFromOptions;
  PetscFunctionReturn(PETSC_SUCCESS);
}
