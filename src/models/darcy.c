/* The model "darcy": flow in a porous medium in two dimensions, on a grid of PETSc's on each rank alone; its state is the logarithm of the conductivity. */
#include <models/dynamics.h>

#include <petscdmda.h>
#include <petscksp.h>

typedef struct {
  PetscInt     nx, ny; /* cells of the unit square */
  PetscReal    mean, spread, load;
  PetscScalar *conductivity; /* of the cells */
  Mat          matrix;
  Vec          rhs, pressure;
  KSP          ksp;
} KalDarcy;

static PetscErrorCode KalModelSetFromOptions_Darcy(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalDarcy *darcy    = (KalDarcy *)model->data;
  PetscInt  cells[2] = {darcy->nx, darcy->ny}, n = 2;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model darcy: flow in a porous medium");
  PetscCall(KalDynamicsCheckList_Private(model->comm, "-darcy_cells", 2));
  PetscCall(PetscOptionsIntArray("-darcy_cells", "cells along x and y", "KALMODELDARCY", cells, &n, &given));
  PetscCheck(!given || n == 2, model->comm, PETSC_ERR_ARG_SIZ, "-darcy_cells has %" PetscInt_FMT " numbers; give 2, as in 24,24", n);
  darcy->nx = cells[0];
  darcy->ny = cells[1];
  PetscCall(PetscOptionsReal("-darcy_load", "source of water everywhere", "KALMODELDARCY", darcy->load, &darcy->load, NULL));
  PetscCall(PetscOptionsReal("-darcy_mean", "prior mean of the logarithm of the conductivity", "KALMODELDARCY", darcy->mean, &darcy->mean, NULL));
  PetscCall(PetscOptionsReal("-darcy_spread", "its prior standard deviation, cells independent", "KALMODELDARCY", darcy->spread, &darcy->spread, NULL));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A grid and a solver of this rank's alone; -darcy_ksp_... and -darcy_pc_... choose another than Cholesky's. */
static PetscErrorCode MakeSolver(KalModel model)
{
  KalDarcy *darcy = (KalDarcy *)model->data;
  PetscBool nonzero, guess, reuse;
  DM        grid;
  PC        pc;

  PetscFunctionBeginUser;
  PetscCall(DMDACreate2d(PETSC_COMM_SELF, DM_BOUNDARY_NONE, DM_BOUNDARY_NONE, DMDA_STENCIL_STAR, darcy->nx, darcy->ny, 1, 1, 1, 1, NULL, NULL, &grid));
  PetscCall(DMSetUp(grid));
  PetscCall(DMCreateMatrix(grid, &darcy->matrix));
  PetscCall(DMCreateGlobalVector(grid, &darcy->rhs));
  PetscCall(DMDestroy(&grid));
  PetscCall(VecDuplicate(darcy->rhs, &darcy->pressure));
  PetscCall(MatSetOption(darcy->matrix, MAT_SPD, PETSC_TRUE));
  PetscCall(VecSet(darcy->rhs, darcy->load / ((PetscReal)darcy->nx * (PetscReal)darcy->ny)));
  PetscCall(KSPCreate(PETSC_COMM_SELF, &darcy->ksp));
  PetscCall(KSPSetOptionsPrefix(darcy->ksp, "darcy_"));
  PetscCall(KSPSetType(darcy->ksp, KSPPREONLY));
  PetscCall(KSPGetPC(darcy->ksp, &pc));
  PetscCall(PCSetType(pc, PCCHOLESKY));
  PetscCall(KSPSetFromOptions(darcy->ksp));
  PetscCall(KSPGetInitialGuessNonzero(darcy->ksp, &nonzero));
  PetscCall(PetscOptionsHasName(NULL, "darcy_", "-ksp_guess_type", &guess));
  PetscCall(KSPGetReusePreconditioner(darcy->ksp, &reuse));
  PetscCheck(!nonzero, model->comm, PETSC_ERR_ARG_INCOMP, "-darcy_ksp_initial_guess_nonzero: a member's pressure would depend on which one this rank solved before; leave it out");
  PetscCheck(!guess, model->comm, PETSC_ERR_ARG_INCOMP, "-darcy_ksp_guess_type: a member's pressure would depend on which ones this rank solved before; leave it out");
  PetscCheck(!reuse, model->comm, PETSC_ERR_ARG_INCOMP, "-darcy_ksp_reuse_preconditioner: a member's pressure would depend on which one this rank solved before; leave it out");
  PetscCall(PetscMalloc1((size_t)darcy->nx * (size_t)darcy->ny, &darcy->conductivity));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_Darcy(KalModel model)
{
  KalDarcy *darcy = (KalDarcy *)model->data;

  PetscFunctionBeginUser;
  PetscCheck(model->precision == KAL_DOUBLE, model->comm, PETSC_ERR_SUP, "The model darcy runs in double precision only; leave -model_precision single out");
  PetscCheck(!model->inputs || model->inputs == 2, model->comm, PETSC_ERR_ARG_SIZ, "The model darcy takes two inputs a sample, the place x, y, but the data have %" PetscInt_FMT, model->inputs);
  PetscCheck(!model->outputs || model->outputs == 1, model->comm, PETSC_ERR_ARG_SIZ, "The model darcy predicts one number a sample, the pressure, but the data have %" PetscInt_FMT, model->outputs);
  PetscCheck(darcy->nx >= 2 && darcy->ny >= 2 && darcy->nx <= 10000 && darcy->ny <= 10000, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-darcy_cells %" PetscInt_FMT ",%" PetscInt_FMT ": both must be from 2 to 10000", darcy->nx, darcy->ny);
  PetscCall(KalDynamicsCheckReal_Private(model, "-darcy_load", darcy->load, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-darcy_mean", darcy->mean, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-darcy_spread", darcy->spread, 0.0, PETSC_TRUE));
  PetscCall(MakeSolver(model));
  PetscCall(KalModelSetSize(model, darcy->nx * darcy->ny));
  PetscCall(KalModelSetDataSizes(model, 2, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_Darcy(KalModel model, KalKey key, PetscScalar *w)
{
  const KalDarcy *darcy = (const KalDarcy *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal(key, 0, model->size, w));
  for (PetscInt i = 0; i < model->size; i++) w[i] = darcy->mean + darcy->spread * w[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_Darcy(KalModel model, PetscReal *spread)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < model->size; i++) spread[i] = ((const KalDarcy *)model->data)->spread;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMean_Darcy(KalModel model, PetscScalar *mean)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < model->size; i++) mean[i] = ((const KalDarcy *)model->data)->mean;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What flows out of a cell to one beside it for a difference of 1: the harmonic mean; to the boundary, half a cell away, twice the cell's own. */
static inline PetscScalar Through(const KalDarcy *darcy, PetscInt i, PetscInt j, PetscInt i2, PetscInt j2)
{
  const PetscScalar a = darcy->conductivity[(size_t)j * (size_t)darcy->nx + (size_t)i];

  if (i2 < 0 || i2 >= darcy->nx || j2 < 0 || j2 >= darcy->ny) return 2.0 * a;
  return 2.0 / (1.0 / a + 1.0 / darcy->conductivity[(size_t)j2 * (size_t)darcy->nx + (size_t)i2]);
}

static PetscErrorCode Assemble(KalDarcy *darcy)
{
  static const PetscInt beside[4][2] = {
      {-1, 0 },
      {1,  0 },
      {0,  -1},
      {0,  1 }
  };
  const PetscReal ratio = (PetscReal)darcy->nx / (PetscReal)darcy->ny; /* of a cell's height to its width */

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < darcy->ny; j++) {
    for (PetscInt i = 0; i < darcy->nx; i++) {
      const MatStencil row = {.i = i, .j = j};
      MatStencil       column[5];
      PetscScalar      value[5];
      PetscInt         count = 1;

      column[0] = row;
      value[0]  = 0.0;
      for (int s = 0; s < 4; s++) {
        const PetscInt    i2 = i + beside[s][0], j2 = j + beside[s][1];
        const PetscScalar t = Through(darcy, i, j, i2, j2) * (s < 2 ? ratio : 1.0 / ratio);

        value[0] += t;
        if (i2 < 0 || i2 >= darcy->nx || j2 < 0 || j2 >= darcy->ny) continue;
        column[count]  = (MatStencil){.i = i2, .j = j2};
        value[count++] = -t;
      }
      PetscCall(MatSetValuesStencil(darcy->matrix, 1, &row, count, column, value, INSERT_VALUES));
    }
  }
  PetscCall(MatAssemblyBegin(darcy->matrix, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(darcy->matrix, MAT_FINAL_ASSEMBLY));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The pressure of cell i, j of a line of cells or, at -1 and the count, of the boundary. */
static inline PetscScalar Pressure(const KalDarcy *darcy, const PetscScalar *p, PetscInt i, PetscInt j)
{
  return i < 0 || j < 0 || i >= darcy->nx || j >= darcy->ny ? 0.0 : p[(size_t)j * (size_t)darcy->nx + (size_t)i];
}

/* Between which two centres of `cells` cells x lies, and how far from the first; from the boundary it is half a cell to the next. */
static PetscReal Between(PetscReal x, PetscInt cells, PetscInt *first)
{
  const PetscReal at = x * (PetscReal)cells - 0.5;

  *first = PetscMin(cells - 1, (PetscInt)PetscFloorReal(at));
  if (*first < 0) return 1.0 + 2.0 * at;
  if (*first == cells - 1) return 2.0 * (at - (PetscReal)*first);
  return at - (PetscReal)*first;
}

/* Places must lie on the square. */
static PetscErrorCode KalModelInputs_Darcy(KalModel model, const KalBatch *batch, size_t size, char *text)
{
  const double *in = (const double *)batch->input;

  PetscFunctionBeginUser;
  (void)model;
  for (PetscInt s = 0; s < batch->samples; s++) {
    const double x = in[2 * (size_t)s], z = in[2 * (size_t)s + 1];

    if (x >= 0.0 && x <= 1.0 && z >= 0.0 && z <= 1.0) continue;
    PetscCall(PetscSNPrintf(text, size, "A sample lies at %g, %g; the model darcy is on the unit square, so take it out of the data, or leave the inputs as they are with -observations_normalize none", x, z));
    break;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bilinear between centres of cells and the boundary. */
static void Predict(const KalDarcy *darcy, const KalBatch *batch, const PetscScalar *p, PetscScalar *y)
{
  const double *in = (const double *)batch->input;

  for (PetscInt s = 0; s < batch->samples; s++) {
    const PetscReal x = in[2 * (size_t)s], z = in[2 * (size_t)s + 1];
    PetscInt        i, j;
    PetscReal       a, b;

    a    = Between(x, darcy->nx, &i);
    b    = Between(z, darcy->ny, &j);
    y[s] = (1.0 - b) * ((1.0 - a) * Pressure(darcy, p, i, j) + a * Pressure(darcy, p, i + 1, j)) + b * ((1.0 - a) * Pressure(darcy, p, i, j + 1) + a * Pressure(darcy, p, i + 1, j + 1));
  }
}

static PetscErrorCode KalModelObserve_Darcy(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  KalDarcy          *darcy = (KalDarcy *)model->data;
  KSPConvergedReason reason;
  const PetscScalar *p;

  PetscFunctionBeginUser;
  (void)parameters;
  (void)stage;
  for (PetscInt k = 0; k < columns->count; k++) {
    PetscBool fine = PETSC_TRUE;

    if (status[k] != KAL_MEMBER_OK) continue;
    for (PetscInt i = 0; i < model->size; i++) {
      darcy->conductivity[i] = PetscExpScalar(columns->column[k][i]);
      if (!(darcy->conductivity[i] > 0.0) || PetscIsInfOrNanScalar(darcy->conductivity[i])) fine = PETSC_FALSE;
    }
    if (!fine) {
      status[k] = KAL_MEMBER_NONFINITE;
      continue;
    }
    PetscCall(Assemble(darcy));
    PetscCall(KSPSetOperators(darcy->ksp, darcy->matrix, darcy->matrix));
    PetscCall(KSPSolve(darcy->ksp, darcy->rhs, darcy->pressure));
    PetscCall(KSPGetConvergedReason(darcy->ksp, &reason));
    if (reason < 0) status[k] = KAL_MEMBER_FAILED;
    else {
      PetscCall(VecGetArrayRead(darcy->pressure, &p));
      Predict(darcy, batch, p, y[k]);
      PetscCall(VecRestoreArrayRead(darcy->pressure, &p));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_Darcy(KalModel model, size_t size, char *text)
{
  const KalDarcy *darcy = (const KalDarcy *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, size, "darcy %" PetscInt_FMT " x %" PetscInt_FMT, darcy->nx, darcy->ny));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Matrix, factor and vectors; the factor by nested dissection has about 31/4 n log2 n numbers. */
static PetscErrorCode KalModelMemory_Darcy(KalModel model, PetscInt samples, PetscReal *bytes)
{
  const PetscReal n = (PetscReal)model->size;

  PetscFunctionBeginUser;
  (void)samples;
  *bytes = n * (7.75 * PetscLog2Real(n) + 12.0) * 1.5 * (PetscReal)sizeof(PetscScalar);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_Darcy(KalModel model, PetscViewer viewer)
{
  const KalDarcy *darcy = (const KalDarcy *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " x %" PetscInt_FMT " cells, load %g\n", darcy->nx, darcy->ny, (double)darcy->load));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_Darcy(KalModel model)
{
  KalDarcy *darcy = (KalDarcy *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KSPDestroy(&darcy->ksp));
  PetscCall(MatDestroy(&darcy->matrix));
  PetscCall(VecDestroy(&darcy->rhs));
  PetscCall(VecDestroy(&darcy->pressure));
  PetscCall(PetscFree(darcy->conductivity));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELDARCY - "darcy", flow in a porous medium in two dimensions, whose conductivity is unknown

   Options Database Keys:
+  -darcy_cells <24,24> - cells along x and y
.  -darcy_load <10> - the source f
.  -darcy_mean <0>, -darcy_spread <1> - prior of each cell's number, independent of the others, where no parameterization says another
-  -darcy_ksp_..., -darcy_pc_... - the solver; Cholesky's factors unless others are chosen

   Notes:
   -div(e^w grad p) = f on the unit square, p = 0 on its boundary. Entry i + nx j of w is that of cell i, j. Finite volumes\: between cells the harmonic
   mean of e^w, to the boundary half a cell. A sample of a data set has the place x, y as its input, and the pressure there as its target, bilinear between
   the centres of cells and the boundary.

   An unknown of as many numbers as cells wants a parameterization\: KALPARAMETERIZATIONFIELD, KALPARAMETERIZATIONLEVELSET or KALPARAMETERIZATIONCHANNEL.

   The problem is that of Iglesias, Law and Stuart, Ensemble Kalman methods for inverse problems, Inverse Problems 29 (2013), on another square with other
   conditions at the boundary.
M*/
PetscErrorCode KalModelCreate_Darcy(KalModel model)
{
  KalDarcy *darcy;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&darcy));
  darcy->nx = darcy->ny     = 24;
  darcy->load               = 10.0;
  darcy->spread             = 1.0;
  model->data               = darcy;
  model->ops.setfromoptions = KalModelSetFromOptions_Darcy;
  model->ops.setup          = KalModelSetUp_Darcy;
  model->ops.initial        = KalModelInitial_Darcy;
  model->ops.spread         = KalModelSpread_Darcy;
  model->ops.mean           = KalModelMean_Darcy;
  model->ops.inputs         = KalModelInputs_Darcy;
  model->ops.observe        = KalModelObserve_Darcy;
  model->ops.layout         = KalModelLayout_Darcy;
  model->ops.memory         = KalModelMemory_Darcy;
  model->ops.view           = KalModelView_Darcy;
  model->ops.destroy        = KalModelDestroy_Darcy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
