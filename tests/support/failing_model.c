#include "failing_model.h"

#include <math.h>

#define MOST 64

typedef struct {
  PetscInt  members, calls;
  PetscInt  member[MOST], call[MOST];
  PetscInt  kind; /* 0: status, 1: nan */
  PetscInt  counted;
  PetscInt *seen; /* calls of each member so far, `counted` numbers */
} Failing;

static PetscErrorCode SetFromOptions(KalModel model, KalOptionItems PetscOptionsObject)
{
  static const char *const kinds[] = {"status", "nan"};
  Failing                 *failing;
  PetscInt                 n = MOST;
  PetscBool                given;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetData(model, &failing));
  PetscOptionsHeadBegin(PetscOptionsObject, "Model failing");
  PetscCall(PetscOptionsIntArray("-failing_members", "members that fail", "", failing->member, &n, &given));
  if (given) failing->members = n;
  n = MOST;
  PetscCall(PetscOptionsIntArray("-failing_calls", "calls at which they fail", "", failing->call, &n, &given));
  if (given) failing->calls = n;
  PetscCall(PetscOptionsEList("-failing_kind", "how they fail", "", kinds, 2, kinds[failing->kind], &failing->kind, NULL));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalModel model)
{
  PetscInt inputs, outputs;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetDataSizes(model, &inputs, &outputs));
  PetscCheck(inputs >= 1, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model failing needs KalModelSetDataSizes()");
  PetscCheck(outputs <= 1, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "The model failing predicts 1 output a sample but the data have %" PetscInt_FMT, outputs);
  PetscCall(KalModelSetDataSizes(model, inputs, 1));
  PetscCall(KalModelSetSize(model, inputs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Initial(KalModel model, KalKey key, PetscScalar *x)
{
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSize(model, &n));
  PetscCall(KalDrawNormal(key, 0, n, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Spread(KalModel model, PetscReal *spread)
{
  PetscInt n;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSize(model, &n));
  for (PetscInt i = 0; i < n; i++) spread[i] = 1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Room for the calls of so many members. */
static PetscErrorCode Count(Failing *failing, PetscInt members)
{
  PetscInt *seen;

  PetscFunctionBeginUser;
  if (members <= failing->counted) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1(members, &seen));
  for (PetscInt m = 0; m < failing->counted; m++) seen[m] = failing->seen[m];
  PetscCall(PetscFree(failing->seen));
  failing->seen    = seen;
  failing->counted = members;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool Contains(PetscInt n, const PetscInt *list, PetscInt what)
{
  for (PetscInt i = 0; i < n; i++) {
    if (list[i] == what) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

static PetscErrorCode Observe(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  Failing *failing;

  PetscFunctionBeginUser;
  (void)parameters;
  (void)stage;
  PetscCall(KalModelGetData(model, &failing));
  PetscCall(Count(failing, columns->first + columns->count));
  for (PetscInt k = 0; k < columns->count; k++) {
    const PetscInt member = columns->first + k;
    PetscBool      fails  = PETSC_FALSE;

    if (columns->total > 1) {
      const PetscInt call = failing->seen[member]++;
      fails               = Contains(failing->members, failing->member, member) && (!failing->calls || Contains(failing->calls, failing->call, call)) ? PETSC_TRUE : PETSC_FALSE;
    }
    for (PetscInt s = 0; s < batch->samples; s++) {
      PetscScalar sum = 0.0;
      for (PetscInt i = 0; i < batch->inputs; i++) {
        const PetscInt64 at = (PetscInt64)s * batch->inputs + i;
        sum += columns->column[k][i] * (batch->precision == KAL_SINGLE ? (PetscScalar)((const float *)batch->input)[at] : ((const double *)batch->input)[at]);
      }
      y[k][s] = fails && failing->kind == 1 ? (PetscScalar)NAN : sum;
    }
    if (fails && failing->kind == 0) status[k] = KAL_MEMBER_FAILED;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalModel model)
{
  Failing *failing;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetData(model, &failing));
  PetscCall(PetscFree(failing->seen));
  PetscCall(PetscFree(failing));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Create(KalModel model)
{
  Failing     *failing;
  KalModelOps *ops;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&failing));
  PetscCall(KalModelSetData(model, failing));
  PetscCall(KalModelGetOps(model, &ops));
  ops->setfromoptions = SetFromOptions;
  ops->setup          = SetUp;
  ops->initial        = Initial;
  ops->spread         = Spread;
  ops->observe        = Observe;
  ops->destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalTestRegisterFailingModel(void)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelRegister(KALMODELFAILING, Create));
  PetscFunctionReturn(PETSC_SUCCESS);
}
