/* What the dynamical models share; see dynamics.h. */
#include <models/dynamics.h>

#include <stdint.h>
#include <stdio.h>

/* Collective. Sizes and time step of a dynamical model; its predictions come from linear operators of the observations. */
PetscErrorCode KalDynamicsSetUp_Private(KalModel model, PetscInt64 size, PetscReal step)
{
  PetscFunctionBeginUser;
  PetscCheck(model->precision == KAL_DOUBLE, model->comm, PETSC_ERR_SUP, "The model %s runs in double precision only; leave -model_precision single out", model->type);
  PetscCheck(!model->inputs, model->comm, PETSC_ERR_ARG_INCOMP, "The model %s takes no inputs, but the data have %" PetscInt_FMT " a sample; give it observations in time, or another -model_type", model->type, model->inputs);
  PetscCheck(size <= PETSC_MAX_INT, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "A state of %lld numbers of the model %s is more than the %" PetscInt_FMT " that this PETSc can count", (long long)size, model->type, PETSC_MAX_INT);
  PetscCall(KalModelSetSize(model, (PetscInt)size));
  PetscCall(KalModelSetStep(model, step));
  PetscCall(KalModelSetDataSizes(model, 0, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Refuses a value of an option that is not finite, or below `least`, or `least` itself where the range is open. */
PetscErrorCode KalDynamicsCheckReal_Private(KalModel model, const char *option, PetscReal value, PetscReal least, PetscBool open)
{
  char text[64], bound[64]; /* PETSc's own %g writes 0 as "0." */

  PetscFunctionBeginUser;
  (void)snprintf(text, sizeof text, "%.15g", (double)value);
  (void)snprintf(bound, sizeof bound, "%.15g", (double)least);
  PetscCheck(!PetscIsInfOrNanReal(value), model->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %s: it must be finite", option, text);
  PetscCheck(value > least || (!open && value == least), model->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %s: it must be %s %s", option, text, open ? "more than" : "at least", bound);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Refuses an option with a longer list of numbers than it takes: PETSc would leave the last ones out without a word. */
PetscErrorCode KalDynamicsCheckList_Private(MPI_Comm comm, const char *option, PetscInt most)
{
  PetscInt   n = most + 1;
  PetscReal *list;
  PetscBool  given;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(n, &list));
  PetscCall(PetscOptionsGetRealArray(NULL, NULL, option, list, &n, &given));
  PetscCall(PetscFree(list));
  PetscCheck(!given || n <= most, comm, PETSC_ERR_ARG_SIZ, "%s has more than %" PetscInt_FMT " numbers; give no more than these", option, most);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x = mean + sqrt(variance) z, z the first n normal numbers of the key; a NULL mean is 0. */
PetscErrorCode KalDynamicsDraw_Private(KalKey key, PetscInt n, const PetscScalar *mean, PetscReal variance, PetscScalar *x)
{
  const PetscReal sd = PetscSqrtReal(variance);

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal(key, 0, n, x));
  if (mean) {
    for (PetscInt i = 0; i < n; i++) x[i] = mean[i] + sd * x[i];
  } else {
    for (PetscInt i = 0; i < n; i++) x[i] *= sd;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Without a branch in the loop, so that it takes little beside the model. */
static PetscBool AllFinite(PetscInt n, const PetscScalar *x)
{
  int bad = 0;

  for (PetscInt i = 0; i < n; i++) bad |= !(PetscAbsScalar(x[i]) <= PETSC_MAX_REAL);
  return bad ? PETSC_FALSE : PETSC_TRUE;
}

/* Marks and zeroes the columns that were well and now hold a number that is not finite. */
PetscErrorCode KalDynamicsMark_Private(const KalColumns *columns, KalStatus *status)
{
  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < columns->count; k++) {
    if (status[k] != KAL_MEMBER_OK || AllFinite(columns->size, columns->column[k])) continue;
    status[k] = KAL_MEMBER_NONFINITE;
    PetscCall(PetscArrayzero(columns->column[k], columns->size));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Zeroed numbers that start on a cache line; free `memory`. */
PetscErrorCode KalDynamicsAllocate_Private(size_t count, PetscScalar **memory, PetscScalar **first)
{
  const uintptr_t line = KAL_LINE * sizeof(PetscScalar);

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(count + KAL_LINE, memory));
  *first = (PetscScalar *)(((uintptr_t)*memory + line - 1) / line * line);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entry i lies at coordinate i of a circle as long as the state. */
PetscErrorCode KalCircleLocate_Private(KalModel model, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  PetscFunctionBeginUser;
  (void)model;
  (void)kinds; /* zero already */
  for (PetscInt k = 0; k < count; k++) coordinates[(size_t)k * KAL_DIMENSIONS] = (PetscReal)entries[k];
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalCircleDomain_Private(KalModel model, KalDomain *domain)
{
  PetscFunctionBeginUser;
  domain->dimension = 1;
  domain->length[0] = (PetscReal)model->size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* n entries of the columns from `first` on, side by side; lanes without a column are 0. */
void KalLanesGather_Private(const KalColumns *columns, PetscInt first, PetscInt n, PetscScalar *lanes)
{
  for (PetscInt l = 0; l < KAL_LANES; l++) {
    const PetscScalar *x = first + l < columns->count ? columns->column[first + l] : NULL;

    if (x) {
      for (PetscInt i = 0; i < n; i++) lanes[(size_t)i * KAL_LANES + l] = x[i];
    } else {
      for (PetscInt i = 0; i < n; i++) lanes[(size_t)i * KAL_LANES + l] = 0.0;
    }
  }
}

/* The way back. */
void KalLanesScatter_Private(const PetscScalar *lanes, PetscInt first, PetscInt n, const KalColumns *columns)
{
  for (PetscInt l = 0; l < KAL_LANES && first + l < columns->count; l++) {
    PetscScalar *x = columns->column[first + l];

    for (PetscInt i = 0; i < n; i++) x[i] = lanes[(size_t)i * KAL_LANES + l];
  }
}
