/* A method in a cycle: one call for each of its operations. */
#include "analysisimpl.h"

/*@
   KalAnalysisBegin - Begins a cycle: redraws the ensemble where that is due

   Collective

   Input Parameters:
+  analysis - the analysis
-  cycle - the cycle, from 0
@*/
PetscErrorCode KalAnalysisBegin(KalAnalysis analysis, PetscInt cycle)
{
  PetscFunctionBeginUser;
  if (analysis->ops.begin) PetscCall(analysis->ops.begin(analysis, cycle));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisAsk - Asks the method which points it wants evaluated

   Collective

   Input Parameter:
.  analysis - the analysis

   Output Parameter:
.  ask - the points, an ensemble that belongs to the method, and the times they are to be forecast from and to
@*/
PetscErrorCode KalAnalysisAsk(KalAnalysis analysis, KalAsk *ask)
{
  PetscFunctionBeginUser;
  ask->points      = analysis->ensemble;
  ask->from        = -1;
  ask->to          = 0;
  ask->active      = 0;
  ask->observe     = PETSC_TRUE;
  ask->bundle      = PETSC_FALSE;
  ask->derivatives = KAL_DERIVATIVES_NONE;
  if (analysis->ops.ask) PetscCall(analysis->ops.ask(analysis, ask));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisTell - Tells the method what the points predict

   Collective

   Input Parameters:
+  analysis - the analysis
-  told - predictions and status of the points asked for; the predictions may be overwritten

   Output Parameter:
.  verdict - accept, ask again, reject or stop
@*/
PetscErrorCode KalAnalysisTell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  PetscFunctionBeginUser;
  PetscCall(analysis->ops.tell(analysis, told, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitUpdate(void *ctx, const KalRows *rows)
{
  KalAnalysis analysis = (KalAnalysis)ctx;

  PetscFunctionBeginUser;
  PetscCall(analysis->ops.rows(analysis, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisUpdate - Carries out an accepted analysis

   Collective

   Input Parameter:
.  analysis - the analysis

   Note:
   A method with a row-local map has it called for every row block of the ensemble and its copies, in one
   exchange; one with a generated ensemble updates its mean.
@*/
PetscErrorCode KalAnalysisUpdate(KalAnalysis analysis)
{
  KalEnsemble all[1 + KAL_MOST_COPIES];
  PetscInt    i;

  PetscFunctionBeginUser;
  if (analysis->ops.rows) {
    all[0] = analysis->ensemble;
    for (i = 0; i < analysis->copies; i++) all[1 + i] = analysis->copy[i];
    PetscCall(KalEnsembleMapRows(1 + analysis->copies, all, VisitUpdate, analysis));
  }
  if (analysis->ops.update) PetscCall(analysis->ops.update(analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisTellScore - Tells a method how well the mean network does, where it asked for that (KalNeeds, `scored`)

   Collective

   Input Parameters:
+  analysis - the analysis
.  cycle - how many cycles were done
-  score - of the test set, or of the training set where there is no other

   Note:
   The method may change the ensemble. What it will ask for is seen by KalAnalysisAsk(), which changes nothing of such a method.
@*/
PetscErrorCode KalAnalysisTellScore(KalAnalysis analysis, PetscInt cycle, const KalScore *score)
{
  PetscFunctionBeginUser;
  if (analysis->ops.score) PetscCall(analysis->ops.score(analysis, cycle, score));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetReport - Gets loss and step of the last analysis

   Not Collective

   Input Parameter:
.  analysis - the analysis

   Output Parameter:
.  report - for the cycle's line and the history
@*/
PetscErrorCode KalAnalysisGetReport(KalAnalysis analysis, KalAnalysisReport *report)
{
  PetscFunctionBeginUser;
  *report = analysis->report;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetArrays - Lists the method's own state, for a snapshot

   Not Collective

   Input Parameter:
.  analysis - the analysis, set up

   Output Parameters:
+  count - how many arrays, at most KAL_ANALYSIS_ARRAYS
-  arrays - name, meaning, size and place of each; the same on every rank, to be read or written there
@*/
PetscErrorCode KalAnalysisGetArrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  PetscFunctionBeginUser;
  *count = 0;
  if (analysis->ops.arrays) PetscCall(analysis->ops.arrays(analysis, count, arrays));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetLevels - The actions of all members in the rungs that are done, of a method that anneals

   Not Collective

   Input Parameter:
.  analysis - the analysis, set up

   Output Parameter:
.  levels - their numbers, the same on every rank; borrowed until the next cycle. No members where the method has no such ladder

.seealso: KALANALYSISANNEALING
@*/
PetscErrorCode KalAnalysisGetLevels(KalAnalysis analysis, KalLevels *levels)
{
  PetscFunctionBeginUser;
  *levels = (KalLevels){0};
  if (analysis->ops.levels) PetscCall(analysis->ops.levels(analysis, levels));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisIsDone - Tells whether the method's own stop criterion holds, as for a run that is gone on with

   Not Collective

   Input Parameter:
.  analysis - the analysis; its arrays were read from a snapshot

   Output Parameter:
.  done - whether no further cycle is to be done; never, for a method without such a criterion
@*/
PetscErrorCode KalAnalysisIsDone(KalAnalysis analysis, PetscBool *done)
{
  PetscFunctionBeginUser;
  *done = PETSC_FALSE;
  if (analysis->ops.isdone) PetscCall(analysis->ops.isdone(analysis, done));
  PetscFunctionReturn(PETSC_SUCCESS);
}
