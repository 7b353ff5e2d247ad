/*
  A linear model of the tests' own and a loop that drives an analysis through its public interface, with
  every array at hand for dense reference formulas.

  Output o of sample s is the product of the sample's inputs with entries o*inputs to (o + 1)*inputs - 1 of the state.
*/
#ifndef KALTEST_LINEAR_H
#define KALTEST_LINEAR_H

#include "subcomm.h"

#include <petscblaslapack.h>
#include <stdlib.h>

#define SEED 5

typedef struct {
  const char   *type, *options;
  PetscInt      N, inputs, outputs, samples, batch;
  const double *x, *y; /* samples x inputs; samples x outputs, or a label a sample */
  PetscBool     labels;
  double        noise;
  double        spread; /* of the first members about the first mean, times the prior's */
  PetscInt      nfail, fail[256];

  const KalLayers *layers; /* or NULL: none */
} Problem;

typedef struct {
  MPI_Comm          comm;
  Problem           problem;
  PetscInt          n, N, cycle, asked;
  KalModel          model;
  KalObservations   obs;
  KalAnalysis       analysis;
  KalNeeds          needs;
  KalEnsemble       ensemble, copy[2];
  double           *mean, *prior;
  KalBatch          batch;
  KalVerdict        verdict;
  KalAnalysisReport report;
} Twin;

static PetscErrorCode LinearSetUp(KalModel model)
{
  PetscInt inputs, outputs;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetDataSizes(model, &inputs, &outputs));
  PetscCall(KalModelSetSize(model, inputs * outputs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LinearObserve(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  const double *input = (const double *)batch->input;
  PetscInt      k, s, o, i;

  PetscFunctionBeginUser;
  (void)model;
  (void)parameters;
  (void)stage;
  (void)status;
  for (k = 0; k < columns->count; k++) {
    for (s = 0; s < batch->samples; s++) {
      for (o = 0; o < batch->outputs; o++) {
        double sum = 0.0;

        for (i = 0; i < batch->inputs; i++) sum += input[s * batch->inputs + i] * columns->column[k][o * batch->inputs + i];
        y[k][s * batch->outputs + o] = sum;
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LinearCreate(KalModel model)
{
  KalModelOps *ops;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetOps(model, &ops));
  ops->setup   = LinearSetUp;
  ops->observe = LinearObserve;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first mean, the prior's standard deviations and the first members, from counters of their own. */
static inline double Mean0(PetscInt i)
{
  return 0.5 * KalTestNumber(31, (uint64_t)i);
}
static inline double Prior(PetscInt i)
{
  return 1.0 + 0.4 * KalTestNumber(32, (uint64_t)i);
}
static inline PetscErrorCode Member0(const Problem *problem, PetscInt n, PetscInt j, double *x)
{
  PetscInt i;

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_TEST, 0, j}, 0, n, x));
  for (i = 0; i < n; i++) x[i] = Mean0(i) + problem->spread * Prior(i) * x[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode TwinObservations(Twin *twin)
{
  const Problem *p = &twin->problem;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCreate(twin->comm, &twin->obs));
  PetscCall(KalObservationsSetArrays(twin->obs, KAL_SET_TRAIN, p->samples, p->inputs, p->x, p->labels ? 0 : p->outputs, p->y));
  if (p->labels) PetscCall(KalObservationsSetLoss(twin->obs, KAL_LOSS_CROSS_ENTROPY, 1.0));
  else PetscCall(KalObservationsSetLoss(twin->obs, KAL_LOSS_SQUARED, p->noise));
  PetscCall(KalObservationsSetBatch(twin->obs, p->batch));
  PetscCall(KalObservationsSetSeed(twin->obs, SEED));
  PetscCall(KalObservationsSetFromOptions(twin->obs));
  PetscCall(KalObservationsSetUp(twin->obs));
  PetscCall(KalObservationsSetOutputs(twin->obs, p->outputs));
  PetscCall(KalObservationsSetPrecision(twin->obs, KAL_DOUBLE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode TwinEnsemble(Twin *twin)
{
  PetscInt first, last, j, c;
  double  *x;

  PetscFunctionBeginUser;
  if (twin->needs.generated) {
    PetscCall(KalEnsembleCreateGaussian(twin->comm, twin->n, twin->N, twin->mean, twin->prior, &twin->ensemble));
    PetscCall(KalAnalysisSetMean(twin->analysis, twin->mean));
  } else {
    PetscCall(KalEnsembleCreate(twin->comm, &twin->ensemble));
    PetscCall(KalEnsembleSetSizes(twin->ensemble, twin->n, twin->N));
    PetscCall(KalEnsembleSetFromOptions(twin->ensemble));
    PetscCall(KalEnsembleSetUp(twin->ensemble));
    PetscCall(KalEnsembleGetOwnershipRange(twin->ensemble, &first, &last));
    for (c = -1; c < twin->needs.copies; c++) {
      if (c >= 0) PetscCall(KalEnsembleDuplicate(twin->ensemble, &twin->copy[c]));
      for (j = first; j < last; j++) {
        PetscCall(KalEnsembleGetMember(c < 0 ? twin->ensemble : twin->copy[c], j, &x));
        PetscCall(Member0(&twin->problem, twin->n, j, x));
      }
    }
    PetscCall(KalEnsembleChanged(twin->ensemble));
  }
  PetscCall(KalAnalysisSetEnsemble(twin->analysis, twin->ensemble, twin->needs.copies, twin->copy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode TwinCreate(MPI_Comm comm, const Problem *problem, const char *more, Twin *twin)
{
  PetscInt i, batches;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(twin, sizeof *twin));
  twin->comm    = comm;
  twin->problem = *problem;
  twin->n       = problem->inputs * problem->outputs;
  twin->N       = problem->N;
  PetscCall(PetscOptionsClear(NULL));
  if (problem->options) PetscCall(PetscOptionsInsertString(NULL, problem->options));
  if (more) PetscCall(PetscOptionsInsertString(NULL, more));
  PetscCall(KalModelRegister("linear", LinearCreate));
  PetscCall(KalModelCreate(comm, &twin->model));
  PetscCall(KalModelSetType(twin->model, "linear"));
  PetscCall(KalModelSetDataSizes(twin->model, problem->inputs, problem->outputs));
  PetscCall(KalModelSetUp(twin->model));
  PetscCall(TwinObservations(twin));
  PetscCall(PetscMalloc2(twin->n, &twin->mean, twin->n, &twin->prior));
  for (i = 0; i < twin->n; i++) {
    twin->mean[i]  = Mean0(i);
    twin->prior[i] = Prior(i);
  }
  PetscCall(KalObservationsGetCycle(twin->obs, NULL, &batches));
  PetscCall(KalAnalysisCreate(comm, &twin->analysis));
  PetscCall(KalAnalysisSetType(twin->analysis, problem->type));
  PetscCall(KalAnalysisSetSizes(twin->analysis, twin->n, twin->N));
  PetscCall(KalAnalysisSetSeed(twin->analysis, SEED));
  PetscCall(KalAnalysisSetEpoch(twin->analysis, batches));
  PetscCall(KalAnalysisSetFromOptions(twin->analysis));
  PetscCall(KalAnalysisSetPrior(twin->analysis, twin->prior));
  if (problem->layers) PetscCall(KalAnalysisSetLayers(twin->analysis, problem->layers));
  PetscCall(KalAnalysisSetUp(twin->analysis));
  PetscCall(KalAnalysisGetNeeds(twin->analysis, &twin->needs));
  PetscCall(TwinEnsemble(twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "0,3": members 0 and 3 fail from now on; NULL: none does */
static inline void FailMembers(Problem *problem, const char *list)
{
  problem->nfail = 0;
  while (list && *list) {
    char *end;

    problem->fail[problem->nfail++] = (PetscInt)strtol(list, &end, 10);
    list                            = *end ? end + 1 : end;
  }
}

static inline PetscBool Fails(const Problem *problem, PetscInt j)
{
  PetscInt f;

  for (f = 0; f < problem->nfail; f++) {
    if (problem->fail[f] == j) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

/* Predictions of the points asked for. A failing member has NaN for its state, and zeros for its prediction as a run sees to. */
static inline PetscErrorCode TwinEvaluate(Twin *twin, KalEnsemble points, KalEnsemble *predictions, KalStatus *status)
{
  const PetscInt p = twin->batch.samples * twin->batch.outputs;
  PetscInt       N, first, last, j, i;
  double        *y, *x;
  KalColumns     columns;
  PetscBool      stored;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSizes(points, NULL, &N));
  PetscCall(KalEnsembleIsStored(points, &stored));
  PetscCall(KalEnsembleCreate(twin->comm, predictions));
  PetscCall(KalEnsembleSetSizes(*predictions, p, N));
  PetscCall(KalEnsembleSetRowGroup(*predictions, twin->batch.outputs));
  PetscCall(KalEnsembleSetFromOptions(*predictions));
  PetscCall(KalEnsembleSetUp(*predictions));
  PetscCall(KalEnsembleGetOwnershipRange(points, &first, &last));
  for (j = 0; j < N; j++) status[j] = KAL_MEMBER_OK;
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(*predictions, j, &y));
    PetscCall(KalEnsembleGetColumns(points, j, 1, &columns));
    PetscCall(KalModelObserve(twin->model, NULL, 0.0, &columns, &twin->batch, &y, &status[j]));
    PetscCall(KalEnsembleRestoreColumns(points, &columns));
    if (twin->asked || !Fails(&twin->problem, j)) continue;
    for (i = 0; i < p; i++) y[i] = 0.0;
    if (!stored) continue;
    PetscCall(KalEnsembleGetMember(points, j, &x));
    for (i = 0; i < twin->n; i++) x[i] = NAN;
  }
  for (j = 0; j < N && !twin->asked; j++) {
    if (Fails(&twin->problem, j)) status[j] = j % 2 ? KAL_MEMBER_FAILED : KAL_MEMBER_NONFINITE;
  }
  PetscCall(KalEnsembleChanged(*predictions));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode TwinCycle(Twin *twin)
{
  KalTold   told = {.observations = twin->obs, .batch = &twin->batch, .cycle = twin->cycle};
  KalStatus status[4096];

  PetscFunctionBeginUser;
  PetscCall(KalObservationsNext(twin->obs, twin->cycle, &twin->batch));
  PetscCall(KalAnalysisBegin(twin->analysis, twin->cycle));
  for (twin->asked = 0, twin->verdict = KAL_VERDICT_AGAIN; twin->verdict == KAL_VERDICT_AGAIN; twin->asked++) {
    KalAsk ask;

    PetscCall(KalAnalysisAsk(twin->analysis, &ask));
    PetscCall(TwinEvaluate(twin, ask.points, &told.predictions, status));
    for (PetscInt j = ask.active; ask.active && j < twin->N; j++) status[j] = KAL_MEMBER_IDLE;
    told.status = status;
    PetscCall(KalAnalysisTell(twin->analysis, &told, &twin->verdict));
    PetscCall(KalEnsembleDestroy(&told.predictions));
  }
  if (twin->verdict != KAL_VERDICT_REJECT) PetscCall(KalAnalysisUpdate(twin->analysis));
  PetscCall(KalAnalysisGetReport(twin->analysis, &twin->report));
  twin->cycle++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static inline PetscErrorCode TwinDestroy(Twin *twin)
{
  PetscFunctionBeginUser;
  PetscCall(KalAnalysisDestroy(&twin->analysis));
  PetscCall(KalEnsembleDestroy(&twin->ensemble));
  PetscCall(KalEnsembleDestroy(&twin->copy[0]));
  PetscCall(KalEnsembleDestroy(&twin->copy[1]));
  PetscCall(KalObservationsDestroy(&twin->obs));
  PetscCall(KalModelDestroy(&twin->model));
  PetscCall(PetscFree2(twin->mean, twin->prior));
  PetscCall(PetscOptionsClear(NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members of a stored ensemble on every rank, n x N; or the mean of a generated one. */
static inline PetscErrorCode TwinState(Twin *twin, double *U)
{
  PetscFunctionBeginUser;
  if (twin->needs.generated) PetscCall(PetscArraycpy(U, twin->mean, twin->n));
  else PetscCall(KalEnsembleGatherRows(twin->ensemble, U));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Dense algebra of the references: column-major, plain loops, LAPACK's LU for solves. */
static inline void DenseMean(PetscInt n, PetscInt N, const double *U, double *mean)
{
  PetscInt i, j;

  for (i = 0; i < n; i++) mean[i] = 0.0;
  for (j = 0; j < N; j++) {
    for (i = 0; i < n; i++) mean[i] += U[i + j * n] / N;
  }
}

/* C (a x b) = A' B, with A k x a and B k x b */
static inline void DenseTN(PetscInt k, PetscInt a, PetscInt b, const double *A, const double *B, double *C)
{
  PetscInt i, j, l;

  for (j = 0; j < b; j++) {
    for (i = 0; i < a; i++) {
      C[i + j * a] = 0.0;
      for (l = 0; l < k; l++) C[i + j * a] += A[l + i * k] * B[l + j * k];
    }
  }
}

/* C (a x b) = A B, with A a x k and B k x b */
static inline void DenseNN(PetscInt a, PetscInt k, PetscInt b, const double *A, const double *B, double *C)
{
  PetscInt i, j, l;

  for (i = 0; i < a * b; i++) C[i] = 0.0;
  for (j = 0; j < b; j++) {
    for (l = 0; l < k; l++) {
      for (i = 0; i < a; i++) C[i + j * a] += A[i + l * a] * B[l + j * k];
    }
  }
}

/* B <- A^{-1} B; A (n x n) is overwritten */
static inline PetscErrorCode DenseSolve(PetscInt n, double *A, PetscInt columns, double *B)
{
  PetscBLASInt N = n, k = columns, info, *pivot;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &pivot));
  LAPACKgesv_(&N, &k, A, &N, pivot, B, &N, &info);
  PetscCall(PetscFree(pivot));
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "dgesv: info = %d", (int)info);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* G (count*outputs x N): what columns of n = inputs*outputs numbers predict for some samples' inputs x. */
static inline void DensePredict(const double *x, PetscInt count, PetscInt inputs, PetscInt outputs, PetscInt N, const double *U, double *G)
{
  PetscInt s, o, i, j;

  for (j = 0; j < N; j++) {
    for (s = 0; s < count; s++) {
      for (o = 0; o < outputs; o++) {
        double sum = 0.0;

        for (i = 0; i < inputs; i++) sum += x[s * inputs + i] * U[o * inputs + i + j * inputs * outputs];
        G[s * outputs + o + j * count * outputs] = sum;
      }
    }
  }
}

static inline double DenseDistance(size_t count, const double *a, const double *b)
{
  double distance = 0.0;
  size_t i;

  for (i = 0; i < count; i++) {
    if (!(fabs(a[i] - b[i]) <= distance)) distance = fabs(a[i] - b[i]); /* NaN stays */
    if (distance != distance) return distance;
  }
  return distance;
}

/* Inputs and targets of a regression or a classification, from counters. */
#define MOST_NUMBERS 1000
static double data_x[MOST_NUMBERS], data_y[MOST_NUMBERS];

static inline void MakeData(Problem *problem)
{
  PetscInt i;

  for (i = 0; i < problem->samples * problem->inputs; i++) data_x[i] = KalTestNumber(41, (uint64_t)i);
  for (i = 0; i < problem->samples * problem->outputs; i++) data_y[i] = 2.0 * KalTestNumber(42, (uint64_t)i);
  for (i = 0; problem->labels && i < problem->samples; i++) data_y[i] = (double)(i * 7 % problem->outputs);
  problem->x = data_x;
  problem->y = data_y;
}

#endif
