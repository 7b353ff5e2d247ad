/* The climatological mean as an analysis: what every other method has to beat. */
#include "reference.h"

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalReferenceSetUp(analysis, PETSC_TRUE)); /* the run takes mean and covariance together */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  PetscFunctionBeginUser;
  PetscCheck(analysis->climatemean, analysis->comm, PETSC_ERR_ORDER, "climatology needs the model's climatology: call KalAnalysisSetClimatology()");
  PetscCall(KalReferenceReport(analysis, told));
  *verdict = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Update(KalAnalysis analysis)
{
  PetscInt     first, last, j;
  PetscScalar *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(analysis->ensemble, j, &x));
    PetscCall(PetscArraycpy(x, analysis->climatemean, analysis->n));
  }
  PetscCall(KalEnsembleChanged(analysis->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISCLIMATOLOGY = "climatology" - The mean of the model's states over a long time, whatever is observed

   Every member becomes that mean, which the run takes from the model (KalAnalysisSetClimatology()); one member is enough, -ensemble_size 1.
   The score to beat: the root of the climatological variance, mean over the state's entries. Reproduces (DAPPER): Lorenz-96 with 40 variables rmse 3.6, Lorenz-63 7.6.

.seealso: KALANALYSISOI, KALANALYSIS3DVAR, KalAnalysisSetClimatology()
M*/
PetscErrorCode KalAnalysisCreate_Climatology(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  analysis->needs.climatology = PETSC_TRUE;

  analysis->ops.setup  = SetUp;
  analysis->ops.tell   = Tell;
  analysis->ops.update = Update;
  PetscFunctionReturn(PETSC_SUCCESS);
}
