/*
  A loop that drives an analysis in time through its public interface: it honours what is asked for (from, to, observe), with a model that
  is a function of the test's own, and members that fail on order. Dense Kalman filters beside it.
*/
#ifndef KALTEST_WINDOW_H
#define KALTEST_WINDOW_H

#include "linear.h"

#define WINDOW_STATE 40
#define WINDOW_ASKS  64

typedef struct {
  PetscInt cycle, ask, member;
} Failure;

typedef struct {
  const char *type, *options;
  PetscInt    n, N;
  double      dt;                                  /* time between observations */
  void (*model)(PetscInt n, double dt, double *x); /* from one observation time to the next */
  void (*start)(PetscInt n, PetscInt member, double *x);
  PetscErrorCode (*tangent)(void *, PetscReal, PetscReal, const PetscScalar *, PetscInt, PetscScalar *);
  KalLinear     H;
  const double *error;
  const double *root; /* lower Cholesky factor of a dense R, or NULL */
  const double *mean, *covariance;
  PetscInt      nfail;
  Failure       fail[8];
} Setting;

typedef struct {
  MPI_Comm          comm;
  const Setting    *setting;
  KalObservations   obs;
  KalAnalysis       analysis;
  KalNeeds          needs;
  KalEnsemble       ensemble, copy[2];
  double            prior[WINDOW_STATE], target[WINDOW_STATE];
  PetscInt          cycle, asks;
  KalAsk            asked[WINDOW_ASKS];
  KalAnalysisReport report;
} Window;

static inline PetscErrorCode WindowCreate(MPI_Comm comm, const Setting *s, const char *more, Window *w)
{
  const double one = 1.0;
  PetscInt     first, last, j, c;
  double      *x;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(w, sizeof *w));
  w->comm    = comm;
  w->setting = s;
  PetscCall(PetscOptionsClear(NULL));
  if (s->options) PetscCall(PetscOptionsInsertString(NULL, s->options));
  if (more) PetscCall(PetscOptionsInsertString(NULL, more));
  PetscCall(KalObservationsCreate(comm, &w->obs)); /* for their whitening: what is observed comes with the batch */
  PetscCall(KalObservationsSetArrays(w->obs, KAL_SET_TRAIN, 1, 1, &one, 1, &one));
  PetscCall(KalObservationsSetLoss(w->obs, KAL_LOSS_SQUARED, 1.0));
  PetscCall(KalObservationsSetUp(w->obs));
  for (j = 0; j < s->n; j++) w->prior[j] = Prior(j);
  PetscCall(KalAnalysisCreate(comm, &w->analysis));
  PetscCall(KalAnalysisSetType(w->analysis, s->type));
  PetscCall(KalAnalysisSetSizes(w->analysis, s->n, s->N));
  PetscCall(KalAnalysisSetSeed(w->analysis, SEED));
  PetscCall(KalAnalysisSetFromOptions(w->analysis));
  PetscCall(KalAnalysisSetUp(w->analysis));
  PetscCall(KalAnalysisSetPrior(w->analysis, w->prior));
  PetscCall(KalAnalysisGetNeeds(w->analysis, &w->needs));
  if (w->needs.climatology) PetscCall(KalAnalysisSetClimatology(w->analysis, s->mean, s->covariance));
  if (w->needs.tangent) PetscCall(KalAnalysisSetTangent(w->analysis, s->tangent, NULL));
  PetscCall(KalEnsembleCreate(comm, &w->ensemble));
  PetscCall(KalEnsembleSetSizes(w->ensemble, s->n, s->N));
  PetscCall(KalEnsembleSetFromOptions(w->ensemble));
  PetscCall(KalEnsembleSetUp(w->ensemble));
  for (c = 0; c < w->needs.copies; c++) PetscCall(KalEnsembleDuplicate(w->ensemble, &w->copy[c]));
  PetscCall(KalAnalysisSetEnsemble(w->analysis, w->ensemble, w->needs.copies, w->copy));
  PetscCall(KalEnsembleGetOwnershipRange(w->ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(w->ensemble, j, &x));
    s->start(s->n, j, x);
  }
  PetscCall(KalEnsembleChanged(w->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode WindowDestroy(Window *w)
{
  PetscFunctionBeginUser;
  PetscCall(KalAnalysisDestroy(&w->analysis));
  PetscCall(KalEnsembleDestroy(&w->ensemble));
  PetscCall(KalEnsembleDestroy(&w->copy[0]));
  PetscCall(KalEnsembleDestroy(&w->copy[1]));
  PetscCall(KalObservationsDestroy(&w->obs));
  PetscCall(PetscOptionsClear(NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscBool WindowFails(const Window *w, PetscInt member)
{
  PetscInt f;

  for (f = 0; f < w->setting->nfail; f++) {
    const Failure *failure = &w->setting->fail[f];

    if (failure->cycle == w->cycle && failure->ask == w->asks && failure->member == member) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

/* Forecasts the points asked for in place; predictions only where they are asked for. */
static inline PetscErrorCode WindowEvaluate(Window *w, const KalBatch *batch, const KalAsk *ask, KalEnsemble *predictions, KalStatus *status)
{
  const Setting *s = w->setting;
  PetscInt       N, first, last, i, j, k;
  double        *x, *y;

  PetscFunctionBeginUser;
  *predictions = NULL;
  PetscCall(KalEnsembleGetSizes(ask->points, NULL, &N));
  PetscCall(KalEnsembleGetOwnershipRange(ask->points, &first, &last));
  if (ask->observe) {
    PetscCall(KalEnsembleCreate(w->comm, predictions));
    PetscCall(KalEnsembleSetSizes(*predictions, s->H.rows, N));
    PetscCall(KalEnsembleSetFromOptions(*predictions));
    PetscCall(KalEnsembleSetUp(*predictions));
  }
  for (j = 0; j < N; j++) status[j] = WindowFails(w, j) ? KAL_MEMBER_NONFINITE : KAL_MEMBER_OK;
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(ask->points, j, &x));
    for (k = ask->from; k < ask->to; k++) s->model(s->n, s->dt, x);
    for (i = 0; status[j] != KAL_MEMBER_OK && i < s->n; i++) x[i] = NAN;
    if (!ask->observe) continue;
    PetscCall(KalEnsembleGetMember(*predictions, j, &y));
    PetscCall(KalLinearApply(&s->H, x, y));
    PetscCall(KalObservationsWhitenColumn(batch, y));
    for (i = 0; status[j] != KAL_MEMBER_OK && i < s->H.rows; i++) y[i] = 0.0;
  }
  if (ask->observe) PetscCall(KalEnsembleChanged(*predictions));
  PetscCall(KalEnsembleChanged(ask->points));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One cycle with the observations y. */
static inline PetscErrorCode WindowCycle(Window *w, const double *y)
{
  const Setting *s     = w->setting;
  KalBatch       batch = {.samples = s->H.rows, .outputs = 1, .timed = PETSC_TRUE, .from = w->cycle * s->dt, .to = (w->cycle + 1) * s->dt, .linear = &s->H, .error = s->error, .root = s->root, .target = w->target};
  KalTold        told  = {.observations = w->obs, .batch = &batch, .cycle = w->cycle};
  KalVerdict     verdict;
  KalStatus      status[4096];

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(w->target, y, s->H.rows));
  PetscCall(KalObservationsWhitenColumn(&batch, w->target));
  PetscCall(KalAnalysisBegin(w->analysis, w->cycle));
  for (w->asks = 0, verdict = KAL_VERDICT_AGAIN; verdict == KAL_VERDICT_AGAIN; w->asks++) {
    KalAsk ask;

    PetscCall(KalAnalysisAsk(w->analysis, &ask));
    PetscCheck(w->asks < WINDOW_ASKS, w->comm, PETSC_ERR_ARG_OUTOFRANGE, "asked too often");
    PetscCheck(w->cycle + ask.from >= -1 && ask.from <= ask.to && ask.to <= 0, w->comm, PETSC_ERR_ARG_OUTOFRANGE, "asked for times from %d to %d in cycle %d", (int)ask.from, (int)ask.to, (int)w->cycle);
    w->asked[w->asks] = ask;
    PetscCall(WindowEvaluate(w, &batch, &ask, &told.predictions, status));
    told.status = status;
    PetscCall(KalAnalysisTell(w->analysis, &told, &verdict));
    PetscCall(KalEnsembleDestroy(&told.predictions));
    for (PetscInt j = 0; j < s->N; j++) status[j] = KAL_MEMBER_FAILED; /* nothing told is kept */
  }
  PetscCheck(verdict == KAL_VERDICT_ACCEPT, w->comm, PETSC_ERR_PLIB, "verdict %d", (int)verdict);
  PetscCall(KalAnalysisUpdate(w->analysis));
  PetscCall(KalAnalysisGetReport(w->analysis, &w->report));
  w->cycle++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean (n) and covariance (n x n) of columns, those named in `out` left out. */
static inline void Moments(PetscInt n, PetscInt N, const double *X, PetscInt nout, const PetscInt *out, double *mean, double *P)
{
  PetscInt i, j, k, pass, active = N - nout;

  for (i = 0; i < n; i++) mean[i] = 0.0;
  for (i = 0; i < n * n; i++) P[i] = 0.0;
  for (pass = 0; pass < 2; pass++) {
    for (j = 0; j < N; j++) {
      const double *x = X + j * n;

      for (k = 0; k < nout && out[k] != j; k++) {
      }
      if (k < nout) continue;
      for (i = 0; i < n; i++) {
        if (!pass) mean[i] += x[i] / active;
        else
          for (k = 0; k < n; k++) P[i + k * n] += (x[i] - mean[i]) * (x[k] - mean[k]) / (active - 1);
      }
    }
  }
}

/* C (n x n) = M P M', M by columns from a linear model. */
static inline void DenseForecast(const Setting *s, double *mean, double *P)
{
  const PetscInt n = s->n;
  double         Q[WINDOW_STATE * WINDOW_STATE];
  PetscInt       i, j;

  s->model(n, s->dt, mean);
  for (i = 0; i < 2; i++) {
    for (j = 0; j < n; j++) s->model(n, s->dt, P + j * n);
    for (j = 0; j < n * n; j++) Q[j % n * n + j / n] = P[j];
    memcpy(P, Q, (size_t)n * n * sizeof *P);
  }
}

/* The operator as a dense p x n matrix. */
static inline void DenseOperator(const Setting *s, double *H)
{
  PetscInt i, k;

  for (i = 0; i < s->H.rows * s->n; i++) H[i] = 0.0;
  for (i = 0; i < s->H.rows; i++) {
    for (k = s->H.start ? s->H.start[i] : i; k < (s->H.start ? s->H.start[i + 1] : i + 1); k++) H[i + s->H.entry[k] * s->H.rows] += s->H.weight ? s->H.weight[k] : 1.0;
  }
}

static inline void DenseError(const Setting *s, double *R)
{
  const PetscInt p = s->H.rows;
  PetscInt       i, j, k;

  for (i = 0; i < p * p; i++) R[i] = 0.0;
  for (i = 0; i < p && !s->root; i++) R[i + i * p] = s->error[i] * s->error[i];
  for (i = 0; i < p && s->root; i++) {
    for (j = 0; j < p; j++) {
      for (k = 0; k <= PetscMin(i, j); k++) R[i + j * p] += s->root[i + k * p] * s->root[j + k * p];
    }
  }
}

/* mean and P given y: K = P H'(H P H' + R)^{-1}, P - K H P; tr(H K) and, of the innovation about `center`, d'R^{-1}d/(tr(R^{-1}HPH') + p). */
static inline PetscErrorCode DenseKalman(const Setting *s, const double *y, double *mean, double *P, double *dfs, double *consistency)
{
  const PetscInt n = s->n, p = s->H.rows;
  double         H[WINDOW_STATE * WINDOW_STATE], R[WINDOW_STATE * WINDOW_STATE], HP[WINDOW_STATE * WINDOW_STATE], S[WINDOW_STATE * WINDOW_STATE], K[WINDOW_STATE * WINDOW_STATE], C[WINDOW_STATE * WINDOW_STATE], d[WINDOW_STATE], Rd[WINDOW_STATE], trace = 0.0, square = 0.0;
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  DenseOperator(s, H);
  DenseError(s, R);
  DenseNN(p, n, n, H, P, HP);
  for (i = 0; i < p; i++) {
    for (j = 0; j < p; j++) {
      S[i + j * p] = 0.0;
      for (k = 0; k < n; k++) S[i + j * p] += HP[i + k * p] * H[j + k * p];
    }
  }
  for (i = 0; i < p; i++) {
    d[i] = y[i];
    for (k = 0; k < n; k++) d[i] -= H[i + k * p] * mean[k];
    Rd[i] = d[i];
  }
  memcpy(C, R, sizeof C);
  PetscCall(DenseSolve(p, C, 1, Rd));
  memcpy(C, R, sizeof C);
  memcpy(K, S, sizeof K);
  PetscCall(DenseSolve(p, C, p, K));
  for (i = 0; i < p; i++) {
    trace += K[i + i * p];
    square += d[i] * Rd[i];
  }
  if (consistency) *consistency = square / (trace + p);
  for (i = 0; i < p * p; i++) S[i] += R[i];
  memcpy(K, HP, sizeof K);
  PetscCall(DenseSolve(p, S, n, K)); /* the gain's transpose */
  for (j = 0; j < n; j++) {
    for (i = 0; i < p; i++) mean[j] += K[i + j * p] * d[i];
  }
  DenseTN(p, n, n, HP, K, C);
  for (i = 0; i < n * n; i++) P[i] -= C[i];
  if (dfs) {
    *dfs = 0.0;
    for (i = 0; i < p; i++) {
      for (k = 0; k < n; k++) *dfs += H[i + k * p] * K[i + k * p];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

#endif
