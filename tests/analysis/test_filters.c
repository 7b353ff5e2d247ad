/* ranks: 3 */
/* The global filters: against a Kalman filter and dense formulas, with failed members and without observations; on 1, 2 and 3 ranks. */
#include "filters.h"

#define MOST_MEMBERS 40

/* 100 cycles: mean and covariance are those of a Kalman filter that starts from the sample moments. */
static PetscErrorCode FollowsKalman(MPI_Comm comm, const Setting *set, double *last)
{
  const PetscInt n = set->n;
  Filter         f;
  double         U[MOST_STATE * MOST_MEMBERS], mean[MOST_STATE], C[MOST_STATE * MOST_STATE], m[MOST_STATE], c[MOST_STATE * MOST_STATE], z[MOST_STATE], MC[MOST_STATE * MOST_STATE];
  const double   rounding = strstr("ot-enkf venkf", set->type) ? 1e-8 : 1e-10; /* the root of the squares of variances, or where a search ends */
  PetscInt       cycle, i, j, k;

  PetscFunctionBeginUser;
  FilterStart(set, U);
  DenseMoments(n, set->N, U, mean, C);
  PetscCall(FilterCreate(comm, set, U, &f));
  for (cycle = 0; cycle < 100; cycle++) {
    PetscCall(FilterForecast(&f));
    PetscCall(FilterAnalyse(&f, PETSC_TRUE));
    DenseNN(n, n, 1, f.M, mean, z);
    PetscCall(PetscArraycpy(mean, z, n));
    DenseNN(n, n, n, f.M, C, MC);
    for (i = 0; i < n; i++) {
      for (j = 0; j < n; j++) {
        for (k = 0, C[i + j * n] = 0.0; k < n; k++) C[i + j * n] += MC[i + k * n] * f.M[j + k * n];
      }
    }
    PetscCall(DenseKalman(&f, mean, C));
    PetscCall(KalEnsembleGatherRows(f.ensemble, U));
    DenseMoments(n, set->N, U, m, c);
    KalNear(DenseDistance((size_t)n, mean, m), 0.0, rounding);
    KalNear(DenseDistance((size_t)(n * n), C, c), 0.0, rounding);
  }
  KalHolds(C[0] > 1e-4 && f.report.innovation > 0.0 && f.report.inflation == 1.0);
  PetscCall(FilterDestroy(&f));
  PetscCall(PetscArraycpy(last, U, (size_t)n * set->N));
  PetscCall(KalSameBits(comm, U, (size_t)n * set->N * sizeof *U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalmanOn(MPI_Comm comm, void *ctx)
{
  const char    *types[]  = {"etkf", "estkf", "ensrf", "ot-enkf", "venkf"};
  const PetscInt sizes[]  = {3, 20}; /* fewer observations than members, and more */
  const char    *spaces[] = {"-analysis_space ensemble", "-analysis_space observation"};
  double         etkf[MOST_STATE * MOST_MEMBERS], U[MOST_STATE * MOST_MEMBERS];
  PetscInt       t, s;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < 2; s++) {
    for (t = 0; t < 5; t++) {
      const Setting set = {.type = types[t], .options = t == 4 ? "-venkf_tolerance 1e-22" : NULL, .n = 6, .N = 12, .p = sizes[s]};

      PetscCall(FollowsKalman(comm, &set, t ? U : etkf));
      if (t == 1) KalNear(DenseDistance(72, U, etkf), 0.0, 1e-10);  /* estkf is etkf */
      if (t == 2 && s) KalHolds(DenseDistance(72, U, etkf) > 1e-6); /* ensrf has the same moments, other members */
      if (t == 3) KalHolds(DenseDistance(72, U, etkf) > 1e-6);      /* so has ot-enkf */
    }
    for (t = 0; t < 2; t++) { /* the space of the eigen-decomposition changes nothing but rounding */
      const Setting set = {.type = "etkf", .options = spaces[t], .n = 6, .N = 12, .p = sizes[s]};

      PetscCall(FollowsKalman(comm, &set, U));
      KalNear(DenseDistance(72, U, etkf), 0.0, 1e-10);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void SquareRootsFollowTheKalmanFilter(void **state)
{
  (void)state;
  KalOnEachCount(KalmanOn, NULL);
}

/* What each rank's columns must hold: U_j + K (y + e_j - H U_j), the e_j drawn and centered by hand. */
static PetscErrorCode DensePerturbed(const Filter *f, PetscInt N, const PetscInt *member, double *U)
{
  const PetscInt n = f->set.n, p = f->set.p;
  double         mean[MOST_STATE], C[MOST_STATE * MOST_STATE], K[MOST_STATE * MOST_OBS], Hu[MOST_OBS], center[MOST_OBS] = {0.0}, *z;
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)p * N, &z));
  DenseMoments(n, N, U, mean, C);
  PetscCall(DenseGain(f, C, K));
  for (j = 0; j < N; j++) {
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_OBSERVATION, f->cycle - 1, member ? member[j] : j}, 0, p, z + (size_t)j * p));
    for (i = 0; i < p; i++) center[i] += z[i + (size_t)j * p] / (double)N;
  }
  for (j = 0; j < N; j++) {
    DenseNN(p, n, 1, f->H, U + (size_t)j * n, Hu);
    for (k = 0; k < p; k++) Hu[k] = f->y[k] + f->error[k] * (z[k + (size_t)j * p] - center[k]) - Hu[k];
    for (i = 0; i < n; i++) {
      for (k = 0; k < p; k++) U[i + (size_t)j * n] += K[i + k * n] * Hu[k];
    }
  }
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PerturbedOn(MPI_Comm comm, void *ctx)
{
  const PetscInt sizes[][2] = {
      {12,   20},
      {12,   3 },
      {1000, 4 }
  };
  Filter   f;
  double   mean[MOST_STATE], C[MOST_STATE * MOST_STATE], m[MOST_STATE], c[MOST_STATE * MOST_STATE], *U, *V;
  PetscInt s, i, k;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < 3; s++) {
    const Setting  set = {.type = "enkf", .n = 4, .N = sizes[s][0], .p = sizes[s][1]};
    const PetscInt n = set.n, N = set.N;

    PetscCall(PetscMalloc2(n * N, &U, n * N, &V));
    FilterStart(&set, U);
    PetscCall(FilterCreate(comm, &set, U, &f));
    f.cycle = 7;
    PetscCall(FilterAnalyse(&f, PETSC_TRUE));
    PetscCall(KalEnsembleGatherRows(f.ensemble, V));
    DenseMoments(n, N, U, mean, C);
    PetscCall(DenseKalman(&f, mean, C));
    PetscCall(DensePerturbed(&f, N, NULL, U));
    KalNear(DenseDistance((size_t)(n * N), U, V), 0.0, 1e-10);
    DenseMoments(n, N, V, m, c);
    KalNear(DenseDistance((size_t)n, mean, m), 0.0, 1e-10); /* the perturbations have no mean */
    for (i = 0; s == 2 && i < n; i++) {
      for (k = 0; k < n; k++) KalNear(c[i + k * n], C[i + k * n], 5.0 * sqrt((C[i + i * n] * C[k + k * n] + C[i + k * n] * C[i + k * n]) / (double)N));
    }
    PetscCall(KalSameBits(comm, V, (size_t)(n * N) * sizeof *V));
    PetscCall(FilterDestroy(&f));
    PetscCall(PetscFree2(U, V));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void EnkfPerturbsObservations(void **state)
{
  (void)state;
  KalOnEachCount(PerturbedOn, NULL);
}

/* denkf: the mean by K, the anomalies by K/2. */
static PetscErrorCode HalfGainOn(MPI_Comm comm, void *ctx)
{
  const PetscInt sizes[] = {3, 20};
  Filter         f;
  double         U[MOST_STATE * MOST_MEMBERS], V[MOST_STATE * MOST_MEMBERS], mean[MOST_STATE], after[MOST_STATE], C[MOST_STATE * MOST_STATE], K[MOST_STATE * MOST_OBS], Hx[MOST_OBS], x[MOST_STATE];
  PetscInt       s, i, j, k;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < 2; s++) {
    const Setting  set = {.type = "denkf", .n = 5, .N = 9, .p = sizes[s]};
    const PetscInt n   = set.n;

    FilterStart(&set, U);
    PetscCall(FilterCreate(comm, &set, U, &f));
    PetscCall(FilterAnalyse(&f, PETSC_TRUE));
    PetscCall(KalEnsembleGatherRows(f.ensemble, V));
    DenseMoments(n, set.N, U, mean, C);
    PetscCall(DenseGain(&f, C, K));
    PetscCall(PetscArraycpy(after, mean, n));
    PetscCall(DenseKalman(&f, after, C));
    for (j = 0; j < set.N; j++) {
      for (i = 0; i < n; i++) x[i] = U[i + j * n] - mean[i];
      DenseNN(set.p, n, 1, f.H, x, Hx);
      for (i = 0; i < n; i++) {
        U[i + j * n] = after[i] + x[i];
        for (k = 0; k < set.p; k++) U[i + j * n] -= 0.5 * K[i + k * n] * Hx[k];
      }
    }
    KalNear(DenseDistance((size_t)(n * set.N), U, V), 0.0, 1e-10);
    PetscCall(KalSameBits(comm, V, (size_t)(n * set.N) * sizeof *V));
    PetscCall(FilterDestroy(&f));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void DenkfTakesHalfTheGain(void **state)
{
  (void)state;
  KalOnEachCount(HalfGainOn, NULL);
}

/* M = l^2 A A' + I, p x p, by columns */
static void DenseSystem(PetscInt p, PetscInt N, const double *A, double l, double *M)
{
  PetscInt i, j, k;

  for (i = 0; i < p; i++) {
    for (j = 0; j < p; j++) {
      M[i + j * p] = i == j ? 1.0 : 0.0;
      for (k = 0; k < N; k++) M[i + j * p] += l * l * A[i + k * p] * A[j + k * p];
    }
  }
}

/* enkfn's dual cost by its definition: r'((l^2 Y'Y + m I)^{-1}) r + e/l^2 + c log(l^2), Y'Y = m A A', solved densely. */
static PetscErrorCode DualCost(PetscInt p, PetscInt N, const double *A, const double *r, double e, double c, double l, double *cost)
{
  double   M[MOST_OBS * MOST_OBS], x[MOST_OBS];
  PetscInt i;

  PetscFunctionBeginUser;
  DenseSystem(p, N, A, l, M);
  PetscCall(PetscArraycpy(x, r, p));
  PetscCall(DenseSolve(p, M, 1, x));
  for (i = 0, *cost = e / (l * l) + 2.0 * c * log(l); i < p; i++) *cost += r[i] * x[i] / (N - 1.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The hyperprior's coefficients: the mean over the N directions of 1/(1 + eigenvalue of A'A) is 1 - tr(A'(AA' + I)^{-1} A)/N. */
static PetscErrorCode Hyperprior(PetscInt p, PetscInt N, const double *A, double g, double x, double *e, double *c)
{
  double   M[MOST_OBS * MOST_OBS], B[MOST_OBS * MOST_MEMBERS], share = 1.0, correction;
  PetscInt i;

  PetscFunctionBeginUser;
  DenseSystem(p, N, A, 1.0, M);
  PetscCall(PetscArraycpy(B, A, (size_t)p * N));
  PetscCall(DenseSolve(p, M, N, B));
  for (i = 0; i < p * N; i++) share -= A[i] * B[i] / N;
  *e         = (N + 1.0) / N;
  *c         = (N + g) / (N - 1.0);
  correction = sqrt(pow(*e / *c, share));
  *e *= x / correction;
  *c *= x * correction;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The lowest point of a fine grid, from one twentieth to a hundred, made finer about it three times. */
static PetscErrorCode GridMinimum(PetscInt p, PetscInt N, const double *A, const double *r, double e, double c, double *l, double *least)
{
  double   low = log(0.05), high = log(100.0), at = 0.0, cost;
  PetscInt pass, i;

  PetscFunctionBeginUser;
  for (pass = 0; pass < 4; pass++) {
    *least = INFINITY;
    for (i = 0; i <= 200; i++) {
      const double t = low + (high - low) * i / 200.0;

      PetscCall(DualCost(p, N, A, r, e, c, exp(t), &cost));
      if (cost < *least) {
        *least = cost;
        at     = t;
      }
    }
    cost = (high - low) / 100.0;
    low  = at - cost;
    high = at + cost;
  }
  *l = exp(at);
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const char *options;
  double      g, x;
  PetscInt    p, cycle;
  double      spread;
} Finite;

static PetscErrorCode FiniteOn(MPI_Comm comm, void *ctx)
{
  const Finite cases[] = {
      {NULL,                      0.0, 1.0, 20, 0, 1.0 },
      {NULL,                      0.0, 1.0, 4,  1, 1.0 }, /* fewer observations than members */
      {"-enkfn_x 2",              0.0, 2.0, 20, 2, 0.1 }, /* the innovation calls for much inflation */
      {"-enkfn_g 1 -enkfn_x 0.5", 1.0, 0.5, 4,  3, 0.05},
      {NULL,                      0.0, 1.0, 20, 4, 20.0}, /* and for less spread */
  };
  char     text[128];
  double   U[MOST_STATE * MOST_MEMBERS], V[MOST_STATE * MOST_MEMBERS], A[MOST_OBS * MOST_MEMBERS], r[MOST_OBS], mean[MOST_STATE], e = 0.0, c = 0.0, l = 1.0, least = 0.0, cost = 0.0;
  PetscInt s, i;
  Filter   f;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < (PetscInt)PETSC_STATIC_ARRAY_LENGTH(cases); s++) {
    Setting      set  = {.type = "enkfn", .options = cases[s].options, .n = 6, .N = 9, .p = cases[s].p};
    const size_t size = (size_t)(set.n * set.N);

    FilterStart(&set, U);
    DenseMean(set.n, set.N, U, mean);
    for (i = 0; i < (PetscInt)size; i++) U[i] = mean[i % set.n] + cases[s].spread * (U[i] - mean[i % set.n]);
    PetscCall(FilterCreate(comm, &set, U, &f));
    f.cycle = cases[s].cycle;
    PetscCall(FilterAnalyse(&f, PETSC_TRUE));
    PetscCall(KalEnsembleGatherRows(f.ensemble, V));
    DenseWhiten(&f, set.N, U, A, r);
    PetscCall(Hyperprior(set.p, set.N, A, cases[s].g, cases[s].x, &e, &c));
    PetscCall(GridMinimum(set.p, set.N, A, r, e, c, &l, &least));
    PetscCall(DualCost(set.p, set.N, A, r, e, c, f.report.inflation, &cost));
    KalNear(f.report.inflation / l, 1.0, 2e-5); /* the width of the finest grid */
    KalHolds(cost <= least + 1e-12 * fabs(least));
    KalHolds(s != 2 || l > 2.0);
    PetscCall(PetscSNPrintf(text, sizeof text, "-inflation_on prior-anomalies -inflation_factor %.17g", f.report.inflation));
    PetscCall(FilterDestroy(&f));
    set.type    = "etkf"; /* the rest is an etkf with that inflation */
    set.options = text;
    PetscCall(FilterOnce(comm, &set, cases[s].cycle, U, NULL));
    KalNear(DenseDistance(size, U, V), 0.0, 1e-10);
    PetscCall(KalSameBits(comm, V, size * sizeof *V));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void EnkfnMinimizesTheDualCost(void **state)
{
  (void)state;
  KalOnEachCount(FiniteOn, NULL);
}

/* ot-enkf moves departures by a symmetric map, and all members together less than etkf does, to the same mean and covariance. */
static PetscErrorCode TransportOn(MPI_Comm comm, void *ctx)
{
  const PetscInt n = 5, N = 12;
  double         U[MOST_STATE * MOST_MEMBERS], V[MOST_STATE * MOST_MEMBERS], mean[2][MOST_STATE], XX[MOST_STATE * MOST_STATE], XY[MOST_STATE * MOST_STATE], moved[2] = {0.0, 0.0};
  const char    *types[] = {"ot-enkf", "etkf"};
  PetscInt       t, i, j, k;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < 2; t++) {
    const Setting set = {.type = types[t], .n = n, .N = N, .p = 4};

    FilterStart(&set, U);
    memcpy(V, U, sizeof V);
    PetscCall(FilterOnce(comm, &set, 0, V, NULL));
    PetscCall(KalSameBits(comm, V, (size_t)(n * N) * sizeof *V));
    for (i = 0; i < n * N; i++) moved[t] += (V[i] - U[i]) * (V[i] - U[i]);
    if (t) break;
    DenseMean(n, N, U, mean[0]);
    DenseMean(n, N, V, mean[1]);
    for (i = 0; i < n; i++) {
      for (k = 0; k < n; k++) {
        XX[i + k * n] = XY[i + k * n] = 0.0;
        for (j = 0; j < N; j++) {
          XX[i + k * n] += (U[i + j * n] - mean[0][i]) * (U[k + j * n] - mean[0][k]);
          XY[i + k * n] += (U[i + j * n] - mean[0][i]) * (V[k + j * n] - mean[1][k]);
        }
      }
    }
    PetscCall(DenseSolve(n, XX, n, XY)); /* (X X')^{-1} X Y' = M' */
    for (i = 0; i < n; i++) {
      KalHolds(XY[i + i * n] > 0.0 && XY[i + i * n] < 1.0 + 1e-10);
      for (k = 0; k < n; k++) KalNear(XY[i + k * n], XY[k + i * n], 1e-9);
    }
  }
  KalHolds(moved[0] < moved[1] * (1.0 - 1e-6));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void TransportMovesMembersLeast(void **state)
{
  (void)state;
  KalOnEachCount(TransportOn, NULL);
}

/* With two members failed the others are what they are without these two, whatever the method; the two are draws about their mean. */
static PetscErrorCode FailedOn(MPI_Comm comm, void *ctx)
{
  const char    *types[] = {"etkf", "estkf", "denkf", "ensrf", "enkfn", "enkf", "ot-enkf", "venkf"};
  const PetscInt sizes[] = {4, 20}, n = 5, N = 11, fewer = 9;
  double         U[MOST_STATE * MOST_MEMBERS], V[MOST_STATE * MOST_MEMBERS], W[MOST_STATE * MOST_MEMBERS];
  const char    *options = "-inflation_factor 1.1 -inflation_on prior-anomalies -inflation_rtpp 0.2 -inflation_rtps 0.3 -analysis_rotate";
  PetscInt       t, s, i, j, at, member[9];
  Filter         f;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < 8; t++) {
    for (s = 0; s < 2; s++) {
      const Setting set = {
          .type = types[t], .options = t == 5 ? NULL : options, .n = n, .N = N, .p = sizes[s], .nfail = 2, .fail = {0, 6}
      };
      const Setting less = {.type = types[t], .options = set.options, .n = n, .N = fewer, .p = sizes[s]};

      FilterStart(&set, U);
      for (j = 0, at = 0; j < N; j++) {
        if (FilterFails(&set, j)) continue;
        PetscCall(PetscArraycpy(W + at * n, U + j * n, n));
        member[at++] = j;
      }
      PetscCall(FilterCreate(comm, &set, U, &f));
      f.cycle = 3;
      PetscCall(FilterAnalyse(&f, PETSC_TRUE));
      PetscCall(KalEnsembleGatherRows(f.ensemble, V));
      PetscCall(KalSameBits(comm, V, (size_t)(n * N) * sizeof *V));
      if (t == 5) PetscCall(DensePerturbed(&f, fewer, member, W)); /* draws follow the member */
      else PetscCall(FilterOnce(comm, &less, 3, W, NULL));
      PetscCall(FilterDestroy(&f));
      for (j = 0; j < fewer; j++) KalNear(DenseDistance((size_t)n, W + j * n, V + member[j] * n), 0.0, 1e-10);
      for (i = 0; i < n; i++) KalHolds(isfinite(V[i]) && isfinite(V[i + 6 * n]) && V[i] != V[i + 6 * n]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FailedMembersTakeNoPart(void **state)
{
  (void)state;
  KalOnEachCount(FailedOn, NULL);
}

/* Without observations the forecast stands to the last bit, nothing is inflated or rotated; a failed member is drawn anew. */
static PetscErrorCode UnobservedOn(MPI_Comm comm, void *ctx)
{
  const char *types[] = {"etkf", "estkf", "denkf", "ensrf", "enkfn", "enkf", "ot-enkf", "venkf"};
  double      U[MOST_STATE * MOST_MEMBERS], V[MOST_STATE * MOST_MEMBERS];
  PetscInt    t, j;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < 8; t++) {
    Setting set = {.type = types[t], .options = "-inflation_factor 1.3 -inflation_rtps 0.5 -inflation_additive 0.1 -inflation_adaptive miyoshi -analysis_rotate", .n = 5, .N = 8, .p = 4};
    Filter  f;

    FilterStart(&set, U);
    PetscCall(FilterCreate(comm, &set, U, &f));
    PetscCall(FilterAnalyse(&f, PETSC_FALSE));
    PetscCall(KalEnsembleGatherRows(f.ensemble, V));
    KalHolds(!memcmp(U, V, 40 * sizeof *U) && f.report.dfs == 0.0);
    f.set.nfail   = 1;
    f.set.fail[0] = 2;
    PetscCall(FilterAnalyse(&f, PETSC_FALSE));
    PetscCall(KalEnsembleGatherRows(f.ensemble, V));
    for (j = 0; j < 8; j++) {
      if (j == 2) KalHolds(DenseDistance(5, U + 10, V + 10) > 1e-3);
      else KalNear(DenseDistance(5, U + j * 5, V + j * 5), 0.0, 1e-14);
    }
    PetscCall(KalSameBits(comm, V, 40 * sizeof *V));
    PetscCall(FilterDestroy(&f));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void WithoutObservationsTheForecastStands(void **state)
{
  (void)state;
  KalOnEachCount(UnobservedOn, NULL);
}

static PetscErrorCode SetUp(const char *type, const char *options, PetscInt N)
{
  const Setting set = {.type = type, .options = options, .n = 3, .N = N};
  KalAnalysis   analysis;

  PetscFunctionBeginUser;
  PetscCall(FilterAnalysis(PETSC_COMM_WORLD, &set, &analysis));
  PetscCall(KalAnalysisDestroy(&analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void BadOptionsAreRefused(void **state)
{
  (void)state;
  KalRefused(SetUp("etkf", "-inflation_factor 0", 5), "-inflation_factor 0");
  KalRefused(SetUp("enkf", "-inflation_factor nan", 5), "-inflation_factor");
  KalRefused(SetUp("etkf", "-inflation_rtpp 1.5", 5), "-inflation_rtpp 1.5: must be from 0 to 1");
  KalRefused(SetUp("etkf", "-inflation_rtps -1", 5), "-inflation_rtps -1");
  KalRefused(SetUp("etkf", "-inflation_additive -0.1", 5), "-inflation_additive -0.1: must");
  KalRefused(SetUp("etkf", "-inflation_adaptive_sd 0", 5), "-inflation_adaptive_sd 0");
  KalRefused(SetUp("etkf", "-inflation_adaptive_least 3 -inflation_adaptive_most 2", 5), "at least -inflation_adaptive_least 3");
  KalRefused(SetUp("etkf", "-analysis_space matrix-free", 5), "leave the option out");
  KalRefused(SetUp("ensrf", "-analysis_space observation", 5), "ensrf works in ensemble space");
  KalRefused(SetUp("enkfn", "-enkfn_x 0", 5), "-enkfn_x 0");
  KalRefused(SetUp("enkfn", "-enkfn_g -1", 5), "-enkfn_g -1");
  KalRefused(SetUp("denkf", NULL, 1), "needs at least 2 members");
  KalCall(SetUp("etkf", NULL, 2));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(SquareRootsFollowTheKalmanFilter),
    cmocka_unit_test(EnkfPerturbsObservations),
    cmocka_unit_test(DenkfTakesHalfTheGain),
    cmocka_unit_test(EnkfnMinimizesTheDualCost),
    cmocka_unit_test(TransportMovesMembersLeast),
    cmocka_unit_test(FailedMembersTakeNoPart),
    cmocka_unit_test(WithoutObservationsTheForecastStands),
    cmocka_unit_test(BadOptionsAreRefused),
};

KAL_TEST_MAIN("analysis filters", tests)
