/*
  The equation of the model "diffusion" in finite differences, in PETSc's objects on each rank alone: its matrix for a member's field, its
  solution, and the residual of what a network says the solution is.
*/
#include <models/diffusion.h>

/* Rows of a tridiagonal matrix; all objects are this rank's alone. */
PetscErrorCode KalDiffusionCreateEquation_Private(KalDiffusion *d)
{
  const PetscInt inner = d->cells - 1;
  PC             pc;

  PetscFunctionBeginUser;
  PetscCall(MatCreateSeqAIJ(PETSC_COMM_SELF, inner, inner, 3, NULL, &d->matrix));
  PetscCall(MatCreateVecs(d->matrix, &d->inner, &d->rhs));
  PetscCall(VecDuplicate(d->rhs, &d->product));
  PetscCall(KSPCreate(PETSC_COMM_SELF, &d->ksp));
  PetscCall(KSPSetType(d->ksp, KSPPREONLY));
  PetscCall(KSPGetPC(d->ksp, &pc));
  PetscCall(PCSetType(pc, PCLU));
  PetscCall(PCFactorSetMatOrderingType(pc, MATORDERINGNATURAL)); /* no fill */
  PetscCall(PetscMalloc3(KalDiffusionPlaces_Private(d), &d->field, d->cells + 1, &d->solution, inner, &d->residual));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalDiffusionDestroyEquation_Private(KalDiffusion *d)
{
  PetscFunctionBeginUser;
  PetscCall(KSPDestroy(&d->ksp));
  PetscCall(MatDestroy(&d->matrix));
  PetscCall(VecDestroy(&d->rhs));
  PetscCall(VecDestroy(&d->inner));
  PetscCall(VecDestroy(&d->product));
  PetscCall(PetscFree3(d->field, d->solution, d->residual));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The field of a member, and whether its equation can be written down. */
static PetscBool MakeField(KalDiffusion *d, const PetscScalar *xi)
{
  PetscBool fine = PETSC_TRUE;

  for (PetscInt i = 0; i < KalDiffusionPlaces_Private(d); i++) {
    PetscScalar u = d->mean;

    for (PetscInt k = 0; k < d->terms; k++) u += d->modes[(size_t)i * (size_t)d->terms + (size_t)k] * xi[k];
    d->field[i] = d->unknown == KAL_DIFFUSION_COEFFICIENT ? PetscExpScalar(u) : u;
    if (PetscIsInfOrNanScalar(d->field[i]) || (d->unknown == KAL_DIFFUSION_COEFFICIENT && !(PetscRealPart(d->field[i]) > 0.0))) fine = PETSC_FALSE;
  }
  return fine;
}

/* Row i: (a_i + a_{i+1}) q_i - a_i q_{i-1} - a_{i+1} q_{i+1} over h^2, a_i the coefficient of the cell before node i. */
static PetscErrorCode Assemble(KalDiffusion *d)
{
  const PetscInt  inner       = d->cells - 1;
  const PetscReal h           = 1.0 / (PetscReal)d->cells;
  const PetscBool coefficient = (PetscBool)(d->unknown == KAL_DIFFUSION_COEFFICIENT);
  PetscScalar    *b;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < inner; i++) {
    const PetscScalar before = (coefficient ? d->field[i] : 1.0) / (h * h), after = (coefficient ? d->field[i + 1] : 1.0) / (h * h);
    const PetscInt    columns[3] = {i - 1, i, i + 1 < inner ? i + 1 : -1}; /* negative ones are passed over */
    const PetscScalar values[3]  = {-before, before + after, -after};

    PetscCall(MatSetValues(d->matrix, 1, &i, 3, columns, values, INSERT_VALUES));
  }
  PetscCall(MatAssemblyBegin(d->matrix, MAT_FINAL_ASSEMBLY));
  PetscCall(MatAssemblyEnd(d->matrix, MAT_FINAL_ASSEMBLY));
  PetscCall(VecGetArrayWrite(d->rhs, &b));
  for (PetscInt i = 0; i < inner; i++) b[i] = d->load + (coefficient ? 0.0 : d->field[i]);
  PetscCall(VecRestoreArrayWrite(d->rhs, &b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The solution at the nodes; its residual counts as 0. */
static PetscErrorCode Solve(KalDiffusion *d, KalStatus *status)
{
  KSPConvergedReason reason;
  const PetscScalar *q;

  PetscFunctionBeginUser;
  PetscCall(KSPSetOperators(d->ksp, d->matrix, d->matrix));
  PetscCall(KSPSolve(d->ksp, d->rhs, d->inner));
  PetscCall(KSPGetConvergedReason(d->ksp, &reason));
  if (reason < 0) *status = KAL_MEMBER_FAILED;
  PetscCall(VecGetArrayRead(d->inner, &q));
  for (PetscInt i = 1; i < d->cells; i++) d->solution[i] = q[i - 1];
  PetscCall(VecRestoreArrayRead(d->inner, &q));
  PetscCall(PetscArrayzero(d->residual, d->cells - 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the network of a member says the solution is, 4 x (1 - x) NN(2 x - 1), and the residual of the equation with it. */
static PetscErrorCode Surrogate(KalDiffusion *d, PetscInt member, PetscInt total, PetscScalar *theta, PetscReal root, KalStatus *status)
{
  const PetscInt     inner     = d->cells - 1;
  PetscScalar       *column[1] = {theta}, *out[1] = {d->solution + 1}, *q;
  const PetscScalar *product, *b;
  KalColumns         columns = {.first = member, .count = 1, .total = total, .column = column};
  const KalBatch     batch   = {.samples = inner, .inputs = 1, .outputs = 1, .precision = KAL_DOUBLE, .stamp = 1, .input = d->places};

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSize(d->network, &columns.size));
  PetscCall(KalModelObserve(d->network, NULL, 0.0, &columns, &batch, out, status));
  PetscCall(VecGetArrayWrite(d->inner, &q));
  for (PetscInt i = 0; i < inner; i++) q[i] = d->solution[i + 1] *= 1.0 - d->places[i] * d->places[i];
  PetscCall(VecRestoreArrayWrite(d->inner, &q));
  PetscCall(MatMult(d->matrix, d->inner, d->product));
  PetscCall(VecGetArrayRead(d->product, &product));
  PetscCall(VecGetArrayRead(d->rhs, &b));
  for (PetscInt i = 0; i < inner; i++) d->residual[i] = root * (product[i] - b[i]);
  PetscCall(VecRestoreArrayRead(d->rhs, &b));
  PetscCall(VecRestoreArrayRead(d->product, &product));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Places must lie in the interval, and it must be clear what holds there. */
PetscErrorCode KalModelInputs_Diffusion(KalModel model, const KalBatch *batch, size_t size, char *text)
{
  const double *in = (const double *)batch->input;

  PetscFunctionBeginUser;
  (void)model;
  for (PetscInt s = 0; s < batch->samples && !text[0]; s++) {
    const double x = in[(size_t)s * (size_t)batch->inputs], kind = batch->inputs > 1 ? in[2 * (size_t)s + 1] : 0.0;

    if (!(x >= 0.0 && x <= 1.0)) PetscCall(PetscSNPrintf(text, size, "A sample lies at x = %g; the model diffusion is on the interval from 0 to 1, so take it out of the data, or leave the inputs as they are with -observations_normalize none", x));
    else if (kind != 0.0 && kind != 1.0) PetscCall(PetscSNPrintf(text, size, "The second input of a sample is %g; to the model diffusion it is 0 (the solution is observed at x) or 1 (the equation holds at x)", kind));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The solution at x, linear between nodes; or the residual at the inner node that is nearest to x. */
static void Predict(const KalDiffusion *d, const KalBatch *batch, PetscScalar *y)
{
  const double *in = (const double *)batch->input;

  for (PetscInt s = 0; s < batch->samples; s++) {
    const PetscReal x = in[(size_t)s * (size_t)batch->inputs], kind = batch->inputs > 1 ? in[2 * (size_t)s + 1] : 0.0, at = x * (PetscReal)d->cells;

    if (kind == 1.0) y[s] = d->residual[PetscMax(1, PetscMin(d->cells - 1, (PetscInt)PetscFloorReal(at + 0.5))) - 1];
    else {
      const PetscInt  i = PetscMin(d->cells - 1, (PetscInt)at);
      const PetscReal t = at - (PetscReal)i;

      y[s] = (1.0 - t) * d->solution[i] + t * d->solution[i + 1];
    }
  }
}

PetscErrorCode KalModelObserve_Diffusion(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  KalDiffusion   *d       = (KalDiffusion *)model->data;
  const PetscReal penalty = PetscMin(d->most, d->penalty * PetscPowReal(PetscMax(stage, 1.0), d->growth)), root = PetscSqrtReal(penalty / (PetscReal)d->cells);

  PetscFunctionBeginUser;
  (void)parameters;
  d->solution[0] = d->solution[d->cells] = 0.0;
  for (PetscInt k = 0; k < columns->count; k++) {
    if (status[k] != KAL_MEMBER_OK) continue;
    if (!MakeField(d, columns->column[k])) {
      status[k] = KAL_MEMBER_NONFINITE;
      continue;
    }
    PetscCall(Assemble(d));
    if (d->oneshot) PetscCall(Surrogate(d, columns->first + k, columns->total, columns->column[k] + d->terms, root, status + k));
    else PetscCall(Solve(d, status + k));
    if (status[k] == KAL_MEMBER_OK) Predict(d, batch, y[k]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
