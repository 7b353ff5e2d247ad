/* Options of a method that its set-up refuses, each with what the message must say. */
#ifndef KALMIA_TEST_REFUSALS_H
#define KALMIA_TEST_REFUSALS_H

#include "linear.h"

typedef struct {
  const char *type, *options, *message;
} Refusal;

static PetscErrorCode SetFromOptionsAndUp(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalAnalysisSetFromOptions(analysis));
  PetscCall(KalAnalysisSetUp(analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of N members with n numbers. */
static void AreRefused(PetscInt n, PetscInt N, size_t count, const Refusal refusals[])
{
  KalAnalysis analysis;

  for (size_t s = 0; s < count; s++) {
    KalCall(PetscOptionsClear(NULL));
    KalCall(PetscOptionsInsertString(NULL, refusals[s].options));
    KalCall(KalAnalysisCreate(PETSC_COMM_WORLD, &analysis));
    KalCall(KalAnalysisSetType(analysis, refusals[s].type));
    KalCall(KalAnalysisSetSizes(analysis, n, N));
    KalRefused(SetFromOptionsAndUp(analysis), refusals[s].message);
    KalCall(KalAnalysisDestroy(&analysis));
    KalAssert(!analysis);
  }
  KalCall(PetscOptionsClear(NULL));
}

#endif
