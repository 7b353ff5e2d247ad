/* ranks: 1 3 */
/*
  Models of a program's own functions: a linear model's posterior against the Kalman filter written out here, a forecast and
  its tangent against the exact solution, and what is refused.
*/
#include "subcomm.h"

#include <stdio.h>

#define N 7 /* members */
#define P 5 /* observations */

static PetscErrorCode ObserveLine(KalModel model, PetscInt member, PetscReal stage, const PetscScalar *x, const KalBatch *batch, PetscScalar *y, KalStatus *status)
{
  const double *slope, *input = (const double *)batch->input;

  PetscFunctionBeginUser;
  (void)member;
  (void)stage;
  (void)status;
  PetscCall(KalModelShellGetContext(model, &slope));
  for (PetscInt s = 0; s < batch->samples; s++) y[s] = x[0] + *slope * x[1] * input[s];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static const double times[P] = {-1.0, 0.0, 0.5, 2.0, 3.0}, values[P] = {1.0, 2.0, 2.0, 5.0, 6.5};
static const double mean[2] = {1.0, 0.5}, spread[2] = {2.0, 1.5};

/* Mean and covariance of 2 x N members. */
static void Moments(double x[][2], double m[2], double c[2][2])
{
  for (int a = 0; a < 2; a++) {
    m[a] = 0.0;
    for (int j = 0; j < N; j++) m[a] += x[j][a] / N;
  }
  for (int a = 0; a < 2; a++) {
    for (int b = 0; b < 2; b++) {
      c[a][b] = 0.0;
      for (int j = 0; j < N; j++) c[a][b] += (x[j][a] - m[a]) * (x[j][b] - m[b]) / (N - 1);
    }
  }
}

/* One observation after the other, y = h x + error of variance r. */
static void Kalman(double m[2], double c[2][2], double slope, double r)
{
  for (int s = 0; s < P; s++) {
    const double h[2]  = {1.0, slope * times[s]};
    const double ch[2] = {c[0][0] * h[0] + c[0][1] * h[1], c[1][0] * h[0] + c[1][1] * h[1]};
    const double d = h[0] * ch[0] + h[1] * ch[1] + r, e = values[s] - h[0] * m[0] - h[1] * m[1];

    for (int a = 0; a < 2; a++) m[a] += ch[a] * e / d;
    for (int a = 0; a < 2; a++) {
      for (int b = 0; b < 2; b++) c[a][b] -= ch[a] * ch[b] / d;
    }
  }
}

static PetscErrorCode Solve(MPI_Comm comm, void *ctx)
{
  double          slope = 1.5, x[N][2], m[2], c[2][2], mine[N][2], all[N][2], am[2], ac[2][2];
  KalModel        model;
  KalRun          run;
  KalObservations observations;
  KalEnsemble     ensemble;
  PetscInt        first, last;
  PetscInt64      checksum;
  FILE           *out = PETSC_STDOUT;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCall(KalModelCreateShell(comm, 2, &slope, &model));
  PetscCall(KalModelShellSetPrior(model, mean, spread));
  PetscCall(KalModelShellSetObserve(model, ObserveLine));
  PetscCall(KalRunCreate(comm, &run));
  PetscCall(KalRunSetModel(run, model));
  PetscCall(KalRunGetObservations(run, &observations));
  PetscCall(KalObservationsSetArrays(observations, KAL_SET_TRAIN, P, 1, times, 1, values));
  PetscCall(KalRunSetFromOptions(run));
  PETSC_STDOUT = fopen("/dev/null", "w"); /* not closed: PETSc's viewers keep it */
  PetscCall(KalRunSetUp(run));
  for (PetscInt j = 0; j < N; j++) {
    PetscCall(KalDrawNormal((KalKey){5, KAL_DRAW_PRIOR, 0, j}, 0, 2, x[j]));
    for (int a = 0; a < 2; a++) x[j][a] = mean[a] + spread[a] * x[j][a];
  }
  PetscCall(KalRunSolve(run));
  PETSC_STDOUT = out;
  Moments(x, m, c);
  Kalman(m, c, slope, 0.25);
  memset(mine, 0, sizeof mine);
  PetscCall(KalRunGetEnsemble(run, &ensemble));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    double *member;

    PetscCall(KalEnsembleGetMember(ensemble, j, &member));
    memcpy(mine[j], member, sizeof mine[j]);
  }
  PetscCallMPI(MPI_Allreduce(mine, all, 2 * N, MPI_DOUBLE, MPI_SUM, comm)); /* one term a member is not zero */
  Moments(all, am, ac);
  for (int a = 0; a < 2; a++) {
    KalNear(am[a], m[a], 1e-12);
    for (int b = 0; b < 2; b++) KalNear(ac[a][b], c[a][b], 1e-12);
  }
  PetscCall(KalEnsembleChecksum(ensemble, &checksum));
  PetscCall(KalSameBits(comm, &checksum, sizeof checksum));
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PosteriorOfALinearModel(void **state)
{
  (void)state;
  KalCall(PetscOptionsInsertString(NULL, "-ensemble_size 7 -run_seed 5 -run_cycles 5 -run_monitor_every 0 -run_progress 0 -run_evaluate_ensemble 0 -observations_noise 0.25 -analysis_type etki -etki_target posterior -etki_step 1"));
  KalOnEachCount(Solve, NULL);
  KalCall(PetscOptionsClear(NULL));
}

/* The exact flow of x' = member + 1, y' = -y; members 2 and 3 cannot go on. */
static PetscErrorCode Flow(KalModel model, PetscInt member, PetscReal from, PetscReal to, PetscScalar *x, KalStatus *status)
{
  PetscFunctionBeginUser;
  (void)model;
  x[0] += (member + 1.0) * (to - from);
  x[1] *= exp(from - to);
  if (member == 2) *status = KAL_MEMBER_FAILED;
  if (member == 3) x[1] = INFINITY;
  PetscCheck(member != 99, PETSC_COMM_SELF, PETSC_ERR_LIB, "member 99 ends the run");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FlowTangent(KalModel model, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  PetscFunctionBeginUser;
  (void)model;
  (void)x;
  for (PetscInt k = 0; k < columns; k++) dx[2 * k + 1] *= exp(from - to);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Where(KalModel model, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  PetscFunctionBeginUser;
  (void)model;
  for (PetscInt k = 0; k < count; k++) {
    coordinates[KAL_DIMENSIONS * k] = 0.25 * (double)entries[k];
    kinds[k]                        = entries[k];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Half(KalModel model, KalKey key, PetscScalar *x)
{
  PetscFunctionBeginUser;
  (void)model;
  x[0] = (PetscScalar)key.member;
  x[1] = 0.5;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CountDestroy(void *ctx)
{
  (*(int *)ctx)++;
  return PETSC_SUCCESS;
}

static void ForecastAndLocations(void **state)
{
  KalModel       model;
  double         x[5][2], dx[4] = {1.0, 2.0, 3.0, 4.0}, coordinates[2 * KAL_DIMENSIONS], length[2] = {3.0, 0.0}, sd[2];
  PetscScalar   *column[5];
  KalColumns     columns   = {0, 5, 5, 2, column};
  KalStatus      status[5] = {0, KAL_MEMBER_FAILED, 0, 0, 0};
  const PetscInt entries[] = {1, 0};
  PetscInt       kinds[2], steps;
  KalDomain      domain;
  int            destroyed = 0;
  void          *ctx;

  (void)state;
  KalCall(KalModelCreateShell(PETSC_COMM_WORLD, 2, NULL, &model));
  KalCall(KalModelShellSetContext(model, &destroyed));
  KalCall(KalModelShellGetContext(model, &ctx));
  KalAssert(ctx == &destroyed);
  KalCall(KalModelShellSetDestroy(model, CountDestroy));
  KalCall(KalModelShellSetInitial(model, Half));
  KalCall(KalModelShellSetSpread(model, spread));
  KalCall(KalModelShellSetPropagate(model, Flow));
  KalCall(KalModelShellSetTangent(model, FlowTangent));
  KalCall(KalModelShellSetLocate(model, Where));
  KalCall(KalModelShellSetDomain(model, 2, length));
  KalCall(KalModelSetStep(model, 0.25));
  KalCall(KalModelSetUp(model));
  KalCall(KalModelGetSteps(model, 1.0, 2.0, &steps));
  KalAssert(steps == 4);
  for (int k = 0; k < 5; k++) {
    column[k] = x[k];
    KalCall(KalModelInitial(model, (KalKey){1, KAL_DRAW_PRIOR, 0, k}, x[k]));
    KalAssert(x[k][0] == k && x[k][1] == 0.5);
  }
  KalCall(KalModelSpread(model, sd));
  KalAssert(sd[0] == spread[0] && sd[1] == spread[1]);
  KalCall(KalModelPropagate(model, NULL, 1.0, 2.0, &columns, status));
  KalAssertNear(x[0][0], 1.0, 1e-15);
  KalAssertNear(x[4][0], 9.0, 1e-15);
  KalAssertNear(x[4][1], 0.5 * exp(-1.0), 1e-15);
  KalAssert(x[1][0] == 1.0); /* had failed before */
  KalAssert(status[0] == KAL_MEMBER_OK && status[1] == KAL_MEMBER_FAILED && status[2] == KAL_MEMBER_FAILED && status[3] == KAL_MEMBER_NONFINITE && status[4] == KAL_MEMBER_OK);
  KalCall(KalModelTangent(model, 1.0, 2.0, x[0], 2, dx));
  KalAssert(dx[0] == 1.0 && dx[2] == 3.0);
  KalAssertNear(dx[3], 4.0 * exp(-1.0), 1e-15);
  KalCall(KalModelLocate(model, 2, entries, coordinates, kinds));
  KalAssert(coordinates[0] == 0.25 && coordinates[KAL_DIMENSIONS] == 0.0 && coordinates[1] == 0.0 && kinds[0] == 1 && kinds[1] == 0);
  KalCall(KalModelGetDomain(model, &domain));
  KalAssert(domain.dimension == 2 && domain.length[0] == 3.0 && domain.length[1] == 0.0);
  columns.first = 95;
  memset(status, 0, sizeof status);
  KalCallFails(KalModelPropagate(model, NULL, 1.0, 2.0, &columns, status), "member 99 ends the run");
  KalCallFails(KalModelShellSetPropagate(model, NULL), "comes before KalModelSetUp");
  KalCall(KalModelDestroy(&model));
  KalAssert(destroyed == 1);
}

static PetscErrorCode SetUpWith(KalModel model, PetscInt inputs, PetscInt outputs)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelSetDataSizes(model, inputs, outputs));
  PetscCall(KalModelSetUp(model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Refusals(void **state)
{
  KalModel     model;
  double       bad[2] = {1.0, NAN}, x[2], input[1] = {1.0};
  const double below[2]  = {1.0, -1.0};
  PetscScalar *column[1] = {x}, *y[1] = {x};
  KalColumns   columns = {0, 1, 4, 2, column};
  KalBatch     batch   = {.samples = 1, .inputs = 1, .outputs = 1, .precision = KAL_DOUBLE, .input = input};
  KalStatus    status  = KAL_MEMBER_OK;
  PetscInt     outputs;

  (void)state;
  KalCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  KalCallFails(KalModelShellSetContext(model, NULL), "is for models of type shell; this one is of no type yet");
  KalCall(KalModelSetType(model, KALMODELMLP));
  KalCallFails(KalModelShellSetObserve(model, ObserveLine), "this one is mlp");
  KalCall(KalModelSetType(model, KALMODELSHELL));
  KalCallFails(KalModelSetUp(model), "is made by a program");
  KalCallFails(KalModelShellSetPrior(model, mean, spread), "after KalModelSetSize");
  KalCall(KalModelSetSize(model, 2));
  KalCallFails(KalModelSetUp(model), "needs prior standard deviations");
  KalCallFails(KalModelShellSetPrior(model, bad, spread), "entry 1 is");
  KalCallFails(KalModelShellSetPrior(model, mean, NULL), "no array");
  KalCallFails(KalModelShellSetSpread(model, below), "entry 1 is -1");
  KalCall(KalModelShellSetPrior(model, NULL, spread));
  KalCallFails(KalModelSetUp(model), "KalModelShellSetObserve() or KalModelShellSetPropagate()");
  KalCall(KalModelShellSetPropagate(model, Flow));
  KalCallFails(KalModelShellSetDomain(model, 4, NULL), "1 to 3 are possible");
  KalCallFails(KalModelShellSetDomain(model, 2, below), "period -1");
  KalCall(KalModelShellSetLocate(model, Where));
  KalCallFails(KalModelSetUp(model), "locations without a domain");
  KalCall(KalModelShellSetLocate(model, NULL));
  KalCallFails(KalModelShellSetDataSizes(model, -1, 0), "neither may be negative");
  KalCall(KalModelShellSetDataSizes(model, 1, 3));
  KalCallFails(SetUpWith(model, 2, 3), "takes 1 inputs a sample but the data have 2");
  KalCallFails(SetUpWith(model, 1, 1), "predicts 3 outputs a sample but the data have 1");
  KalCall(SetUpWith(model, 0, 0));
  KalCall(KalModelGetDataSizes(model, NULL, &outputs));
  KalAssert(outputs == 3);
  KalCallFails(KalModelObserve(model, NULL, 0.0, &columns, &batch, y, &status), "type shell predict no observations");
  KalCall(KalModelDestroy(&model));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(PosteriorOfALinearModel),
    cmocka_unit_test(ForecastAndLocations),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("shell", tests)
