/* The decoupled extended Kalman filter of a network's parameters. */
#include "weightfilter.h"

static const char *const Groups[] = {"unit", "layer", "KalDecoupling", "KAL_DECOUPLED_", NULL};

typedef struct {
  KalWeightFilter filter; /* first: the shared operations take the data for it */
  PetscBool       layers; /* a group is a layer, not a unit */
} KalDecoupled;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalDecoupled *dekf   = (KalDecoupled *)analysis->data;
  PetscEnum     groups = (PetscEnum)dekf->layers;

  PetscFunctionBeginUser;
  PetscCall(KalWeightFilterSetFromOptions(&dekf->filter, PetscOptionsObject));
  PetscCall(PetscOptionsEnum("-dekf_groups", "Parameters that share a covariance", NULL, Groups, groups, &groups, NULL));
  dekf->layers = (PetscBool)groups;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Units, each with its weights and its bias, or whole layers. */
static PetscErrorCode TakeGroups(KalAnalysis analysis, KalDecoupled *dekf)
{
  KalWeightFilter *filter = &dekf->filter;
  PetscInt         taken = 0, group = 0;

  PetscFunctionBeginUser;
  for (PetscInt l = 0; l < analysis->layers.count; l++) filter->groups += dekf->layers ? 1 : analysis->layers.layer[l].units;
  PetscCall(PetscMalloc2(filter->groups + 1, &filter->start, analysis->n, &filter->entry));
  for (PetscInt l = 0; l < analysis->layers.count; l++) {
    const KalLayer *layer = &analysis->layers.layer[l];

    for (PetscInt u = 0; u < layer->units; u++) {
      if (!u || !dekf->layers) filter->start[group++] = taken;
      for (PetscInt f = 0; f < layer->features; f++) filter->entry[taken++] = (PetscInt)layer->offset + u * layer->features + f;
      if (layer->biased) filter->entry[taken++] = (PetscInt)layer->offset + layer->units * layer->features + u;
    }
  }
  filter->start[group] = taken;
  PetscCheck(taken == analysis->n, analysis->comm, PETSC_ERR_PLIB, "The layers have %" PetscInt_FMT " parameters, the model %" PetscInt_FMT, taken, analysis->n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalDecoupled *dekf = (KalDecoupled *)analysis->data;

  PetscFunctionBeginUser;
  PetscCheck(analysis->layers.count, analysis->comm, PETSC_ERR_ARG_INCOMP, "The method dekf works on the units of a network, and this -model_type has none: take mlp without -parameterization_type, or ekf");
  PetscCall(TakeGroups(analysis, dekf));
  PetscCall(KalWeightFilterSetUp(analysis, &dekf->filter));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall(KalWeightFilterView(&((const KalDecoupled *)analysis->data)->filter, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalWeightFilterDestroy(&((KalDecoupled *)analysis->data)->filter));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISDEKF = "dekf" - The decoupled extended Kalman filter as a trainer of networks

   As ekf, with a covariance P_i for each group of parameters and none between groups: with H_i the Jacobian by those of group i,

     S = R + sum_i H_i P_i H_i',  K_i = P_i H_i'S^{-1},  x_i <- x_i + K_i r,  P_i <- P_i - K_i H_i P_i + q I

   Puskorius and Feldkamp, chapter 2 of Haykin (ed.), Kalman Filtering and Neural Networks, 2001. A linear network of one layer
   has predictions that share no parameters between units: there groups of units give what ekf gives.

   Options Database Keys:
+  -dekf_groups <unit> - a unit's weights and bias, or those of a layer
.  -dekf_variance <100> - each P_i before the first batch
.  -dekf_noise <1>, -dekf_noise_schedule <constant>, -dekf_noise_final <1> - R in units of the loss's, and how it falls over -analysis_schedule_cycles
-  -dekf_process <0>, -dekf_process_schedule <constant>, -dekf_process_final <0> - q, variance that is added in each cycle

   Notes:
   One network: -ensemble_size 1. The covariances, sums of squares of the groups' sizes, have at most 10^8 numbers and are held by
   every rank, as are Jacobian and products; see KALANALYSISEKF.

.seealso: KALANALYSISEKF, KalModelAdjoint()
M*/
PetscErrorCode KalAnalysisCreate_DEKF(KalAnalysis analysis)
{
  KalDecoupled *dekf;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&dekf));
  PetscCall(KalWeightFilterCreate(analysis, "dekf", &dekf->filter));
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
