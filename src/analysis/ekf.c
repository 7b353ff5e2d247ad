/* The global extended Kalman filter of a network's parameters. */
#include "weightfilter.h"

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  PetscFunctionBeginUser;
  PetscCall(KalWeightFilterSetFromOptions((KalWeightFilter *)analysis->data, PetscOptionsObject));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One group, all parameters in their order. */
static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalWeightFilter *filter = (KalWeightFilter *)analysis->data;

  PetscFunctionBeginUser;
  filter->groups = 1;
  PetscCall(PetscMalloc2(2, &filter->start, analysis->n, &filter->entry));
  filter->start[0] = 0;
  filter->start[1] = analysis->n;
  for (PetscInt i = 0; i < analysis->n; i++) filter->entry[i] = i;
  PetscCall(KalWeightFilterSetUp(analysis, filter));
  analysis->needs.dense = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall(KalWeightFilterView((const KalWeightFilter *)analysis->data, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalWeightFilterDestroy((KalWeightFilter *)analysis->data));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISEKF = "ekf" - The global extended Kalman filter as a trainer of networks

   The state is a network's n parameters x, the observations are the predictions for a mini-batch, H their Jacobian (p x n, by
   the model's adjoint), R the noise and r the residual:

     S = R + H P H',  K = P H'S^{-1},  x <- x + K r,  P <- P - K H P + q I

   P begins as variance I. Puskorius and Feldkamp, chapter 2 of Haykin (ed.), Kalman Filtering and Neural Networks, 2001, whose
   batch of several samples is called multistream. The squared loss has R = noise gamma I and r = y - g. Under cross-entropy with
   p = softmax(g) the weight of a sample is diag(p) - p p' = R^{-1} noise: with q = sqrt(p), H becomes q (H - p'H) and r becomes
   (y - p)/q, R noise I. For a linear model, the squared loss, noise 1 and q = 0 this is recursive least squares: the
   posterior of the prior N(x, variance I), whatever the batches.

   Options Database Keys:
+  -ekf_variance <100> - P before the first batch
.  -ekf_noise <1>, -ekf_noise_schedule <constant>, -ekf_noise_final <1> - R in units of the loss's, and how it falls over -analysis_schedule_cycles
-  -ekf_process <0>, -ekf_process_schedule <constant>, -ekf_process_final <0> - q, variance that is added in each cycle

   Notes:
   One network: -ensemble_size 1. n and p at most 10^4: P (n x n) and H (n x p) are held by every rank, and every rank does all of
   the products; the Jacobian's columns, a backward pass each, are divided among the ranks. P is part of a snapshot.
   P is corrected as P - B B', B = P H'L'^{-1} with S = L L', which keeps it symmetric.

.seealso: KALANALYSISDEKF, KALANALYSISEXTKF, KalModelAdjoint()
M*/
PetscErrorCode KalAnalysisCreate_EKF(KalAnalysis analysis)
{
  KalWeightFilter *filter;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&filter));
  PetscCall(KalWeightFilterCreate(analysis, "ekf", filter));
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
