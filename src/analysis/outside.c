/* What a method that is registered from outside the library sees of its analysis. */
#include "analysisimpl.h"

/*@
   KalAnalysisGetOps - Gets the operations of a method, to be filled in by its create function

   Not Collective

   Input Parameter:
.  analysis - the analysis

   Output Parameter:
.  ops - its operations; setup and tell are needed, and rows or update; without ask the points are the ensemble itself

.seealso: KalAnalysisRegister(), KalAnalysisSetData(), KalAnalysisSetNeeds()
@*/
PetscErrorCode KalAnalysisGetOps(KalAnalysis analysis, KalAnalysisOps **ops)
{
  PetscFunctionBeginUser;
  *ops = &analysis->ops;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetData - Keeps the method's own data, which its destroy operation frees

   Not Collective

   Input Parameters:
+  analysis - the analysis
-  data - the data
@*/
PetscErrorCode KalAnalysisSetData(KalAnalysis analysis, void *data)
{
  PetscFunctionBeginUser;
  analysis->data = data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetData - Gets the method's own data

   Not Collective

   Input Parameter:
.  analysis - the analysis

   Output Parameter:
.  data - address of a pointer
@*/
PetscErrorCode KalAnalysisGetData(KalAnalysis analysis, void *data)
{
  PetscFunctionBeginUser;
  *(void **)data = analysis->data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetNeeds - Says what the method asks of the run; called by its setup operation

   Not Collective

   Input Parameters:
+  analysis - the analysis
-  needs - least size, copies, vectors and so on

.seealso: KalAnalysisGetNeeds()
@*/
PetscErrorCode KalAnalysisSetNeeds(KalAnalysis analysis, const KalNeeds *needs)
{
  PetscFunctionBeginUser;
  analysis->needs = *needs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetReport - Says what the cycle's line and the history show; called by the method's tell operation

   Not Collective

   Input Parameters:
+  analysis - the analysis
-  report - loss, step and time; the same on every rank

.seealso: KalAnalysisGetReport()
@*/
PetscErrorCode KalAnalysisSetReport(KalAnalysis analysis, const KalAnalysisReport *report)
{
  PetscFunctionBeginUser;
  analysis->report = *report;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetEnsemble - Gets the ensemble that the method works on, and its copies

   Not Collective

   Input Parameter:
.  analysis - the analysis

   Output Parameters:
+  ensemble - the ensemble
.  copies - how many copies there are, or NULL
-  copy - the copies, or NULL
@*/
PetscErrorCode KalAnalysisGetEnsemble(KalAnalysis analysis, KalEnsemble *ensemble, PetscInt *copies, KalEnsemble **copy)
{
  PetscFunctionBeginUser;
  *ensemble = analysis->ensemble;
  if (copies) *copies = analysis->copies;
  if (copy) *copy = analysis->copy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetSizes - Gets the sizes of the ensemble

   Not Collective

   Input Parameter:
.  analysis - the analysis

   Output Parameters:
+  n - numbers in a member, or NULL
-  N - members, or NULL
@*/
PetscErrorCode KalAnalysisGetSizes(KalAnalysis analysis, PetscInt *n, PetscInt *N)
{
  PetscFunctionBeginUser;
  if (n) *n = analysis->n;
  if (N) *N = analysis->N;
  PetscFunctionReturn(PETSC_SUCCESS);
}
