/*
  A plug-in, -model_type ./libheat.so: the heat equation u_t = (k(x) u_x)_x on [0, 1], u = 0 at both ends, from
  u(x, 0) = sin(pi x) + sin(2 pi x)/2. The diffusivity k is constant in each of a few zones of equal length; a state is its
  logarithms. A sample's inputs are a place and a time, its prediction is the temperature there.

  PETSc does the work: a DMDA for the grid and TS (Crank and Nicolson) for the time, on PETSC_COMM_SELF, since a member
  lives on one rank.

  -heat_zones 2          zones, the numbers of a state
  -heat_points 101       points of the grid, the ends included
  -heat_step 0.005       largest time step
  -heat_prior_mean -2    prior mean of log k, and
  -heat_prior_spread 1   its standard deviation
  -heat_ts_..., -heat_ksp_...   PETSc's own, see TSSetFromOptions()
*/
#include <kalmia.h>
#include <petscdmda.h>
#include <petscts.h>

#include <math.h>

#define LARGEST 20.0 /* of |log k|: beyond it a member has failed */

typedef struct {
  PetscInt           zones, points;
  PetscReal          step, mean, spread;
  DM                 grid;
  Vec                u;
  Mat                A;
  TS                 ts;
  const PetscScalar *logk; /* of the member at work */
} Heat;

/* Diffusivity between the points i and i + 1. */
static PetscReal Diffusivity(const Heat *heat, PetscInt i)
{
  const PetscReal x = ((PetscReal)i + 0.5) / (PetscReal)(heat->points - 1);

  return PetscExpReal(heat->logk[PetscMin(heat->zones - 1, (PetscInt)(x * (PetscReal)heat->zones))]);
}

/* The system is linear, u_t = A u: A is filled for the member at work. */
static PetscErrorCode Jacobian(TS ts, PetscReal t, Vec u, Mat A, Mat P, void *ctx)
{
  const Heat     *heat = (const Heat *)ctx;
  const PetscReal h2   = 1.0 / PetscSqr(1.0 / (PetscReal)(heat->points - 1));

  PetscFunctionBeginUser;
  (void)ts;
  (void)t;
  (void)u;
  PetscCall(MatZeroEntries(P));
  for (PetscInt i = 1; i < heat->points - 1; i++) {
    const PetscReal   left = h2 * Diffusivity(heat, i - 1), right = h2 * Diffusivity(heat, i);
    const PetscInt    columns[3] = {i - 1, i, i + 1};
    const PetscScalar values[3]  = {left, -left - right, right};

    PetscCall(MatSetValues(P, 1, &i, 3, columns, values, INSERT_VALUES));
  }
  PetscCall(MatAssemblyBegin(P, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(P, MAT_FINAL_ASSEMBLY));
  if (A != P) {
    PetscCall(MatAssemblyBegin(A, MAT_FINAL_ASSEMBLY));
    PetscCall(MatAssemblyEnd(A, MAT_FINAL_ASSEMBLY));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Function(TS ts, PetscReal t, Vec u, Vec f, void *ctx)
{
  const Heat        *heat = (const Heat *)ctx;
  const PetscReal    h2   = 1.0 / PetscSqr(1.0 / (PetscReal)(heat->points - 1));
  const PetscScalar *x;
  PetscScalar       *y;

  PetscFunctionBeginUser;
  (void)ts;
  (void)t;
  PetscCall(DMDAVecGetArrayRead(heat->grid, u, &x));
  PetscCall(DMDAVecGetArray(heat->grid, f, &y));
  y[0] = y[heat->points - 1] = 0.0;
  for (PetscInt i = 1; i < heat->points - 1; i++) y[i] = h2 * (Diffusivity(heat, i) * (x[i + 1] - x[i]) - Diffusivity(heat, i - 1) * (x[i] - x[i - 1]));
  PetscCall(DMDAVecRestoreArray(heat->grid, f, &y));
  PetscCall(DMDAVecRestoreArrayRead(heat->grid, u, &x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Start(Heat *heat)
{
  PetscScalar *u;

  PetscFunctionBeginUser;
  PetscCall(DMDAVecGetArray(heat->grid, heat->u, &u));
  for (PetscInt i = 0; i < heat->points; i++) {
    const PetscReal x = (PetscReal)i / (PetscReal)(heat->points - 1);

    u[i] = PetscSinReal(PETSC_PI * x) + 0.5 * PetscSinReal(2.0 * PETSC_PI * x);
  }
  u[0] = u[heat->points - 1] = 0.0;
  PetscCall(DMDAVecRestoreArray(heat->grid, heat->u, &u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* From one time to another in equal steps; every member begins as if it were the first. */
static PetscErrorCode Advance(Heat *heat, PetscReal from, PetscReal to, PetscBool *ok)
{
  const PetscInt    steps = PetscMax(1, (PetscInt)PetscCeilReal((to - from) / heat->step));
  TSConvergedReason reason;

  PetscFunctionBeginUser;
  PetscCall(TSSetTime(heat->ts, from));
  PetscCall(TSSetStepNumber(heat->ts, 0));
  PetscCall(TSSetTimeStep(heat->ts, (to - from) / (PetscReal)steps));
  PetscCall(TSSetMaxSteps(heat->ts, 100 * steps));
  PetscCall(TSSetMaxTime(heat->ts, to));
  PetscCall(TSRestartStep(heat->ts));
  PetscCall(TSSolve(heat->ts, heat->u));
  PetscCall(TSGetConvergedReason(heat->ts, &reason));
  *ok = (PetscBool)(reason > 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Temperatures of the samples at one time, interpolated between the points. */
static PetscErrorCode Sample(Heat *heat, const KalBatch *batch, PetscReal time, PetscScalar *y)
{
  const double      *input = (const double *)batch->input;
  const PetscScalar *u;

  PetscFunctionBeginUser;
  PetscCall(DMDAVecGetArrayRead(heat->grid, heat->u, &u));
  for (PetscInt s = 0; s < batch->samples; s++) {
    const PetscReal at = input[2 * s] * (PetscReal)(heat->points - 1);
    const PetscInt  i  = PetscMin(heat->points - 2, (PetscInt)at);

    if (input[2 * s + 1] == time) y[s] = u[i] + (at - (PetscReal)i) * (u[i + 1] - u[i]);
  }
  PetscCall(DMDAVecRestoreArrayRead(heat->grid, heat->u, &u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first time of a sample after `now`; PETSC_INFINITY where there is none. */
static PetscReal Next(const KalBatch *batch, PetscReal now)
{
  const double *input = (const double *)batch->input;
  PetscReal     next  = PETSC_INFINITY;

  for (PetscInt s = 0; s < batch->samples; s++) {
    if (input[2 * s + 1] > now) next = PetscMin(next, input[2 * s + 1]);
  }
  return next;
}

static PetscErrorCode Predict(Heat *heat, const KalBatch *batch, PetscScalar *y, KalStatus *status)
{
  PetscBool ok = PETSC_TRUE;

  PetscFunctionBeginUser;
  for (PetscInt z = 0; z < heat->zones; z++) ok = (PetscBool)(ok && PetscAbsReal(heat->logk[z]) <= LARGEST);
  if (ok) {
    PetscCall(Start(heat));
    PetscCall(Sample(heat, batch, 0.0, y));
  }
  for (PetscReal now = 0.0, next = Next(batch, 0.0); ok && next < PETSC_INFINITY; now = next, next = Next(batch, now)) {
    PetscCall(Advance(heat, now, next, &ok));
    if (ok) PetscCall(Sample(heat, batch, next, y));
  }
  if (!ok) *status = KAL_MEMBER_FAILED;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSamples(const KalBatch *batch)
{
  const double *input = (const double *)batch->input;

  PetscFunctionBeginUser;
  PetscCheck(batch->precision == KAL_DOUBLE, PETSC_COMM_SELF, PETSC_ERR_SUP, "The model heat runs with -model_precision double");
  for (PetscInt s = 0; s < batch->samples; s++) PetscCheck(input[2 * s] >= 0.0 && input[2 * s] <= 1.0 && input[2 * s + 1] >= 0.0, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "A sample is at x = %g, t = %g; x is from 0 to 1 and t not negative (-observations_normalize none)", input[2 * s], input[2 * s + 1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Observe(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  Heat *heat;

  PetscFunctionBeginUser;
  (void)parameters;
  (void)stage;
  PetscCall(KalModelGetData(model, &heat));
  PetscCall(CheckSamples(batch));
  for (PetscInt k = 0; k < columns->count; k++) {
    heat->logk = columns->column[k];
    if (status[k] == KAL_MEMBER_OK) PetscCall(Predict(heat, batch, y[k], &status[k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetFromOptions(KalModel model, KalOptionItems PetscOptionsObject)
{
  Heat *heat;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetData(model, &heat));
  PetscOptionsHeadBegin(PetscOptionsObject, "Model heat: diffusivity of the heat equation");
  PetscCall(PetscOptionsBoundedInt("-heat_zones", "zones of constant diffusivity", NULL, heat->zones, &heat->zones, NULL, 1));
  PetscCall(PetscOptionsBoundedInt("-heat_points", "points of the grid", NULL, heat->points, &heat->points, NULL, 3));
  PetscCall(PetscOptionsReal("-heat_step", "largest time step", NULL, heat->step, &heat->step, NULL));
  PetscCall(PetscOptionsReal("-heat_prior_mean", "prior mean of the logarithm of the diffusivity", NULL, heat->mean, &heat->mean, NULL));
  PetscCall(PetscOptionsReal("-heat_prior_spread", "prior standard deviation of it", NULL, heat->spread, &heat->spread, NULL));
  PetscOptionsHeadEnd();
  PetscCheck(heat->step > 0.0, PETSC_COMM_WORLD, PETSC_ERR_ARG_OUTOFRANGE, "-heat_step %g: must be positive", (double)heat->step);
  PetscCheck(heat->spread >= 0.0, PETSC_COMM_WORLD, PETSC_ERR_ARG_OUTOFRANGE, "-heat_prior_spread %g: must not be negative", (double)heat->spread);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpTS(Heat *heat)
{
  SNES snes;
  KSP  ksp;
  PC   pc;

  PetscFunctionBeginUser;
  PetscCall(TSCreate(PETSC_COMM_SELF, &heat->ts));
  PetscCall(TSSetOptionsPrefix(heat->ts, "heat_"));
  PetscCall(TSSetDM(heat->ts, heat->grid));
  PetscCall(TSSetProblemType(heat->ts, TS_LINEAR));
  PetscCall(TSSetType(heat->ts, TSCN));
  PetscCall(TSSetRHSFunction(heat->ts, NULL, Function, heat));
  PetscCall(TSSetRHSJacobian(heat->ts, heat->A, heat->A, Jacobian, heat));
  PetscCall(TSSetExactFinalTime(heat->ts, TS_EXACTFINALTIME_MATCHSTEP));
  PetscCall(TSSetErrorIfStepFails(heat->ts, PETSC_FALSE));
  PetscCall(TSGetSNES(heat->ts, &snes));
  PetscCall(SNESGetKSP(snes, &ksp));
  PetscCall(KSPSetType(ksp, KSPPREONLY));
  PetscCall(KSPGetPC(ksp, &pc));
  PetscCall(PCSetType(pc, PCLU));
  PetscCall(TSSetFromOptions(heat->ts));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalModel model)
{
  Heat *heat;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetData(model, &heat));
  PetscCall(KalModelSetDataSizes(model, 2, 1));
  PetscCall(KalModelSetSize(model, heat->zones));
  PetscCall(DMDACreate1d(PETSC_COMM_SELF, DM_BOUNDARY_NONE, heat->points, 1, 1, NULL, &heat->grid));
  PetscCall(DMSetUp(heat->grid));
  PetscCall(DMCreateGlobalVector(heat->grid, &heat->u));
  PetscCall(DMCreateMatrix(heat->grid, &heat->A));
  PetscCall(SetUpTS(heat));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Initial(KalModel model, KalKey key, PetscScalar *x)
{
  Heat *heat;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetData(model, &heat));
  PetscCall(KalDrawNormal(key, 0, heat->zones, x));
  for (PetscInt z = 0; z < heat->zones; z++) x[z] = heat->mean + heat->spread * x[z];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Spread(KalModel model, PetscReal *spread)
{
  Heat *heat;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetData(model, &heat));
  for (PetscInt z = 0; z < heat->zones; z++) spread[z] = heat->spread;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalModel model)
{
  Heat *heat;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetData(model, &heat));
  PetscCall(TSDestroy(&heat->ts));
  PetscCall(MatDestroy(&heat->A));
  PetscCall(VecDestroy(&heat->u));
  PetscCall(DMDestroy(&heat->grid));
  PetscCall(PetscFree(heat));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Create(KalModel model)
{
  Heat        *heat;
  KalModelOps *ops;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&heat));
  heat->zones  = 2;
  heat->points = 101;
  heat->step   = 0.005;
  heat->mean   = -2.0;
  heat->spread = 1.0;
  PetscCall(KalModelSetData(model, heat));
  PetscCall(KalModelGetOps(model, &ops));
  ops->setfromoptions = SetFromOptions;
  ops->setup          = SetUp;
  ops->initial        = Initial;
  ops->spread         = Spread;
  ops->observe        = Observe;
  ops->destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Register(void)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelRegister("heat", Create));
  PetscFunctionReturn(PETSC_SUCCESS);
}

KAL_MODEL_PLUGIN(Register)
