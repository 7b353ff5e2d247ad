/* What must not reach a snapshot. */
#include "analysisimpl.h"

/* Whether all of n numbers are finite: x - x is 0, or not a number. */
KAL_WIDER static PetscBool Finite(PetscInt n, const PetscScalar *x)
{
  PetscScalar sum = 0.0;

  for (PetscInt i = 0; i < n; i++) sum += x[i] - x[i];
  return (PetscBool)(sum == 0.0);
}

/*
  KalMembersFinite - Refuses members that a cycle's move left with numbers that are not finite, with the option that makes smaller moves

  Collective
*/
PetscErrorCode KalMembersFinite(KalAnalysis analysis, PetscInt cycle, const char *option, PetscReal value)
{
  char         text[160] = "";
  PetscInt     first, last;
  PetscScalar *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (PetscInt m = first; m < last && !text[0]; m++) {
    PetscCall(KalEnsembleGetMember(analysis->ensemble, m, &x));
    if (!Finite(analysis->n, x)) PetscCall(PetscSNPrintf(text, sizeof text, "Network %" PetscInt_FMT " is not finite after cycle %" PetscInt_FMT ": take a smaller -%s than %g", m, cycle + 1, option, (double)value));
  }
  KalCheckAll(analysis->comm, PETSC_ERR_FP, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}
