/*
  A linear model with observations in time, and a loop that drives a filter through the public interface, with every array at hand
  for dense reference formulas.
*/
#ifndef KALTEST_FILTERS_H
#define KALTEST_FILTERS_H

#include "linear.h"

#define MOST_STATE 12
#define MOST_OBS   24

typedef struct {
  const char *type, *options;
  PetscInt    n, N, p;
  PetscInt    nfail, fail[4]; /* members that fail in every cycle */
} Setting;

typedef struct {
  MPI_Comm          comm;
  Setting           set;
  KalObservations   obs;
  KalAnalysis       analysis;
  KalEnsemble       ensemble;
  PetscInt          cycle;
  double            M[MOST_STATE * MOST_STATE]; /* n x n */
  double            H[MOST_OBS * MOST_STATE];   /* p x n */
  double            y[MOST_OBS], error[MOST_OBS], prior[MOST_STATE];
  KalBatch          batch;
  KalVerdict        verdict;
  KalAnalysisReport report;
} Filter;

/* The model: two reflections, and a growth that observations hold down. */
static inline void FilterModel(Filter *f)
{
  const PetscInt n = f->set.n;
  double         v[2][MOST_STATE], square[2] = {0.0, 0.0}, cross = 0.0;
  PetscInt       i, k;

  for (i = 0; i < n; i++) {
    v[0][i] = KalTestNumber(61, (uint64_t)i);
    v[1][i] = KalTestNumber(62, (uint64_t)i);
    square[0] += v[0][i] * v[0][i];
    square[1] += v[1][i] * v[1][i];
    cross += v[0][i] * v[1][i];
  }
  for (i = 0; i < n; i++) {
    for (k = 0; k < n; k++) f->M[i + k * n] = 1.02 * ((i == k) - 2.0 * v[0][i] * v[0][k] / square[0] - 2.0 * v[1][i] * v[1][k] / square[1] + 4.0 * v[0][i] * cross * v[1][k] / square[0] / square[1]);
  }
  for (i = 0; i < f->set.p * n; i++) f->H[i] = KalTestNumber(63, (uint64_t)i);
  for (i = 0; i < f->set.p; i++) f->error[i] = 0.5 + 0.3 * KalTestNumber(64, (uint64_t)i);
  for (i = 0; i < n; i++) f->prior[i] = 1.0 + 0.4 * KalTestNumber(65, (uint64_t)i);
}

/* Members of the start, n x N. */
static inline void FilterStart(const Setting *set, double *U)
{
  PetscInt i;

  for (i = 0; i < set->n * set->N; i++) U[i] = 2.0 * KalTestNumber(66, (uint64_t)i) + (double)(i % set->n);
}

static inline PetscErrorCode FilterFill(Filter *f, const double *U)
{
  PetscInt first, last, j;
  double  *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(f->ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(f->ensemble, j, &x));
    PetscCall(PetscArraycpy(x, U + (size_t)j * f->set.n, f->set.n));
  }
  PetscCall(KalEnsembleChanged(f->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode FilterAnalysis(MPI_Comm comm, const Setting *set, KalAnalysis *analysis)
{
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, "-ensemble_block_rows 2"));
  if (set->options) PetscCall(PetscOptionsInsertString(NULL, set->options));
  PetscCall(KalAnalysisCreate(comm, analysis));
  PetscCall(KalAnalysisSetType(*analysis, set->type));
  PetscCall(KalAnalysisSetSizes(*analysis, set->n, set->N));
  PetscCall(KalAnalysisSetSeed(*analysis, SEED));
  PetscCall(KalAnalysisSetFromOptions(*analysis));
  PetscCall(KalAnalysisSetUp(*analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode FilterCreate(MPI_Comm comm, const Setting *set, const double *U, Filter *f)
{
  static const double nothing[2] = {0.0, 1.0};
  KalNeeds            needs;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(f, sizeof *f));
  f->comm = comm;
  f->set  = *set;
  FilterModel(f);
  PetscCall(FilterAnalysis(comm, set, &f->analysis));
  PetscCall(KalAnalysisGetNeeds(f->analysis, &needs));
  KalHolds((needs.least == 2 || (needs.least == 4 && strstr(set->options, "_correction "))) && needs.points == set->N && !needs.copies);
  PetscCall(KalObservationsCreate(comm, &f->obs));
  PetscCall(KalObservationsSetArrays(f->obs, KAL_SET_TRAIN, 2, 1, nothing, 1, nothing));
  PetscCall(KalObservationsSetLoss(f->obs, KAL_LOSS_SQUARED, 1.0));
  PetscCall(KalObservationsSetUp(f->obs));
  PetscCall(KalEnsembleCreate(comm, &f->ensemble));
  PetscCall(KalEnsembleSetSizes(f->ensemble, set->n, set->N));
  PetscCall(KalEnsembleSetFromOptions(f->ensemble));
  PetscCall(KalEnsembleSetUp(f->ensemble));
  PetscCall(KalAnalysisSetPrior(f->analysis, f->prior));
  PetscCall(KalAnalysisSetEnsemble(f->analysis, f->ensemble, 0, NULL));
  PetscCall(FilterFill(f, U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode FilterDestroy(Filter *f)
{
  PetscFunctionBeginUser;
  PetscCall(KalAnalysisDestroy(&f->analysis));
  PetscCall(KalEnsembleDestroy(&f->ensemble));
  PetscCall(KalObservationsDestroy(&f->obs));
  PetscCall(PetscOptionsClear(NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode FilterForecast(Filter *f)
{
  PetscInt first, last, j;
  double  *x, z[MOST_STATE];

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(f->ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(f->ensemble, j, &x));
    DenseNN(f->set.n, f->set.n, 1, f->M, x, z);
    PetscCall(PetscArraycpy(x, z, f->set.n));
  }
  PetscCall(KalEnsembleChanged(f->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscBool FilterFails(const Setting *set, PetscInt j)
{
  PetscInt k;

  for (k = 0; k < set->nfail; k++) {
    if (set->fail[k] == j) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

/* Predictions of the members; a failed one holds NaN, and predicts zeros as a run sees to. */
static inline PetscErrorCode FilterPredict(Filter *f, KalEnsemble points, KalEnsemble *predictions)
{
  PetscInt first, last, j, i;
  double  *x, *y;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(f->comm, predictions));
  PetscCall(KalEnsembleSetSizes(*predictions, f->batch.samples, f->set.N));
  PetscCall(KalEnsembleSetFromOptions(*predictions));
  PetscCall(KalEnsembleSetUp(*predictions));
  PetscCall(KalEnsembleGetOwnershipRange(points, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(points, j, &x));
    PetscCall(KalEnsembleGetMember(*predictions, j, &y));
    DenseNN(f->batch.samples, f->set.n, 1, f->H, x, y);
    if (!FilterFails(&f->set, j)) continue;
    for (i = 0; i < f->set.n; i++) x[i] = NAN;
    for (i = 0; i < f->batch.samples; i++) y[i] = 0.0;
  }
  PetscCall(KalEnsembleChanged(*predictions));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One analysis of the members as they are; `observed` false: a cycle without observations. */
static inline PetscErrorCode FilterAnalyse(Filter *f, PetscBool observed)
{
  KalTold   told = {.observations = f->obs, .batch = &f->batch, .cycle = f->cycle};
  KalStatus status[2048];
  KalAsk    ask;
  PetscInt  i;

  PetscFunctionBeginUser;
  for (i = 0; i < f->set.p; i++) f->y[i] = 2.0 * KalTestNumber(67, (uint64_t)(f->cycle * MOST_OBS + i)) + (double)(i % 3);
  for (i = 0; i < f->set.N; i++) status[i] = FilterFails(&f->set, i) ? KAL_MEMBER_FAILED : KAL_MEMBER_OK;
  f->batch    = (KalBatch){.samples = observed ? f->set.p : 0, .outputs = 1, .precision = KAL_DOUBLE, .target = f->y, .timed = PETSC_TRUE, .from = f->cycle, .to = f->cycle + 1.0, .error = f->error};
  told.status = status;
  PetscCall(KalAnalysisBegin(f->analysis, f->cycle));
  PetscCall(KalAnalysisAsk(f->analysis, &ask));
  KalHolds(ask.points == f->ensemble && ask.from == -1 && ask.to == 0 && ask.observe);
  if (observed) PetscCall(FilterPredict(f, ask.points, &told.predictions));
  PetscCall(KalAnalysisTell(f->analysis, &told, &f->verdict));
  KalHolds(f->verdict == KAL_VERDICT_ACCEPT);
  PetscCall(KalEnsembleDestroy(&told.predictions));
  PetscCall(KalAnalysisUpdate(f->analysis));
  PetscCall(KalAnalysisGetReport(f->analysis, &f->report));
  f->cycle++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One analysis with a fresh filter: U (n x N) before and after; the observations and draws are those of `cycle`. */
static inline PetscErrorCode FilterOnce(MPI_Comm comm, const Setting *set, PetscInt cycle, double *U, KalAnalysisReport *report)
{
  Filter f;

  PetscFunctionBeginUser;
  PetscCall(FilterCreate(comm, set, U, &f));
  f.cycle = cycle;
  PetscCall(FilterAnalyse(&f, PETSC_TRUE));
  PetscCall(KalEnsembleGatherRows(f.ensemble, U));
  if (report) *report = f.report;
  PetscCall(FilterDestroy(&f));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sample mean and covariance (divisor N - 1) of the columns of U. */
static inline void DenseMoments(PetscInt n, PetscInt N, const double *U, double *mean, double *C)
{
  PetscInt i, j, k;

  DenseMean(n, N, U, mean);
  for (i = 0; i < n * n; i++) C[i] = 0.0;
  for (j = 0; j < N; j++) {
    for (i = 0; i < n; i++) {
      for (k = 0; k < n; k++) C[i + k * n] += (U[i + j * n] - mean[i]) * (U[k + j * n] - mean[k]) / (double)(N - 1);
    }
  }
}

/* K = C H'(H C H' + R)^{-1}, n x p, of the observations of the filter's last cycle. */
static inline PetscErrorCode DenseGain(const Filter *f, const double *C, double *K)
{
  const PetscInt n = f->set.n, p = f->set.p;
  double         HC[MOST_OBS * MOST_STATE], S[MOST_OBS * MOST_OBS];
  PetscInt       i, j, k;

  PetscFunctionBeginUser;
  DenseNN(p, n, n, f->H, C, HC);
  for (i = 0; i < p; i++) {
    for (j = 0; j < p; j++) {
      S[i + j * p] = i == j ? f->error[i] * f->error[i] : 0.0;
      for (k = 0; k < n; k++) S[i + j * p] += HC[i + k * p] * f->H[j + k * p];
    }
  }
  PetscCall(DenseSolve(p, S, n, HC)); /* K' */
  for (i = 0; i < n; i++) {
    for (j = 0; j < p; j++) K[i + j * n] = HC[j + i * p];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* mean <- mean + K (y - H mean), C <- (I - K H) C, made symmetric */
static inline PetscErrorCode DenseKalman(const Filter *f, double *mean, double *C)
{
  const PetscInt n = f->set.n, p = f->set.p;
  double         K[MOST_STATE * MOST_OBS], r[MOST_OBS], HC[MOST_OBS * MOST_STATE], KHC[MOST_STATE * MOST_STATE];
  PetscInt       i, k;

  PetscFunctionBeginUser;
  PetscCall(DenseGain(f, C, K));
  DenseNN(p, n, 1, f->H, mean, r);
  for (i = 0; i < p; i++) r[i] = f->y[i] - r[i];
  for (i = 0; i < n; i++) {
    for (k = 0; k < p; k++) mean[i] += K[i + k * n] * r[k];
  }
  DenseNN(p, n, n, f->H, C, HC);
  DenseNN(n, p, n, K, HC, KHC);
  for (i = 0; i < n; i++) {
    for (k = 0; k <= i; k++) C[i + k * n] = C[k + i * n] = 0.5 * (C[i + k * n] - KHC[i + k * n] + C[k + i * n] - KHC[k + i * n]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whitened anomalies over sqrt(N - 1) (p x N) and innovation (p) of the members U, by their definition. */
static inline void DenseWhiten(const Filter *f, PetscInt N, const double *U, double *A, double *r)
{
  const PetscInt n = f->set.n, p = f->set.p;
  double         mean[MOST_OBS];
  PetscInt       i, j;

  DenseNN(p, n, N, f->H, U, A);
  DenseMean(p, N, A, mean);
  for (i = 0; i < p; i++) r[i] = (f->y[i] - mean[i]) / f->error[i];
  for (j = 0; j < N; j++) {
    for (i = 0; i < p; i++) A[i + j * p] = (A[i + j * p] - mean[i]) / f->error[i] / sqrt(N - 1.0);
  }
}

#endif
