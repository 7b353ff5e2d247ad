/* Adam: a baseline. */
#include "descent.h"

typedef struct {
  KalDescent descent;
  PetscReal  first, second, floor;
} KalAdam;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalAdam *adam = (KalAdam *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalDescentSetFromOptions(&adam->descent, PetscOptionsObject));
  PetscCall(PetscOptionsReal("-adam_first", "Factor of the running mean of derivatives kept, beta_1", NULL, adam->first, &adam->first, NULL));
  PetscCall(PetscOptionsReal("-adam_second", "Factor of the running mean of their squares kept, beta_2", NULL, adam->second, &adam->second, NULL));
  PetscCall(PetscOptionsReal("-adam_floor", "Added to the root of the second moments, epsilon", NULL, adam->floor, &adam->floor, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalAdam *adam = (KalAdam *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalDescentFactor(analysis, &adam->descent, "first", adam->first));
  PetscCall(KalDescentFactor(analysis, &adam->descent, "second", adam->second));
  PetscCheck(adam->floor > 0.0 && !PetscIsInfOrNanReal(adam->floor), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-adam_floor %g: must be positive and finite", (double)adam->floor);
  PetscCall(KalDescentSetUp(analysis, &adam->descent));
  analysis->needs.copies = 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  PetscFunctionBeginUser;
  PetscCall(KalDescentTell(analysis, &((KalAdam *)analysis->data)->descent, told, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* step1 and c2 hold the corrections of the moments' bias. */
KAL_WIDER static void MoveAll(PetscInt n, PetscReal k1, PetscReal k2, PetscReal c2, PetscReal step1, PetscReal floor, PetscReal shrink, const PetscScalar *restrict g, PetscScalar *restrict x, PetscScalar *restrict first, PetscScalar *restrict second)
{
  for (PetscInt i = 0; i < n; i++) {
    const PetscReal m = k1 * first[i] + (1.0 - k1) * g[i], v = k2 * second[i] + (1.0 - k2) * g[i] * g[i];

    first[i]  = m;
    second[i] = v;
    x[i]      = shrink * x[i] - step1 * m / (sqrt(c2 * v) + floor);
  }
}

static void Move(KalAnalysis analysis, PetscInt member, PetscInt n, const PetscScalar *g, PetscScalar *x, PetscScalar *kept[])
{
  const KalAdam  *adam = (const KalAdam *)analysis->data;
  const PetscReal t = adam->descent.cycle + 1.0, step = adam->descent.taken;

  (void)member;
  MoveAll(n, adam->first, adam->second, 1.0 / (1.0 - PetscPowReal(adam->second, t)), step / (1.0 - PetscPowReal(adam->first, t)), adam->floor, 1.0 - step * adam->descent.decay, g, x, kept[0], kept[1]);
}

static PetscErrorCode Update(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalDescentUpdate(analysis, &((KalAdam *)analysis->data)->descent, Move));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  PetscFunctionBeginUser;
  arrays[0] = KalDescentArray(&((KalAdam *)analysis->data)->descent);
  *count    = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalAdam *adam = (const KalAdam *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  step %g (%s), moments keep %g and %g, floor %g, decay %g, %" PetscInt_FMT " networks\n", (double)adam->descent.step, KalSchedules[adam->descent.schedule], (double)adam->first, (double)adam->second, (double)adam->floor, (double)adam->descent.decay, analysis->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISADAM = "adam" - Adam (Kingma and Ba, ICLR 2015, algorithm 1), a baseline for the methods without derivatives

   With g the derivative of the mini-batch's mean loss by a network's parameters x (the model's adjoint), in cycle t = 1, 2, ...:
   m <- first m + (1 - first) g, v <- second v + (1 - second) g^2, m' = m/(1 - first^t), v' = v/(1 - second^t),
   x <- (1 - step decay) x - step m'/(sqrt(v') + floor), m and v from 0 on. The decay is that of AdamW (Loshchilov and Hutter,
   ICLR 2019).

   Options Database Keys:
+  -adam_step <0.001>, -adam_step_schedule <constant>, -adam_step_final <0> - step length, and how it falls over -analysis_schedule_cycles
.  -adam_first <0.9> - beta_1
.  -adam_second <0.999> - beta_2
.  -adam_floor <1e-8> - epsilon
-  -adam_decay <0> - weight decay, of weights and biases, apart from the derivatives

   Notes:
   -ensemble_size counts networks, each trained by itself; 1 is enough. With as many networks as ranks or more, each rank trains
   its own; with fewer, neighbouring ranks divide the samples of a network's mini-batch. Derivatives are of the model's
   precision, moments and parameters double.

.seealso: KALANALYSISSGD, KALANALYSISLAYERED, KalModelAdjoint()
M*/
PetscErrorCode KalAnalysisCreate_Adam(KalAnalysis analysis)
{
  KalAdam *adam;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&adam));
  adam->descent.name = "adam";
  adam->descent.step = 0.001;
  adam->first        = 0.9;
  adam->second       = 0.999;
  adam->floor        = 1e-8;

  analysis->data               = adam;
  analysis->takes              = KAL_TAKES_SCHEDULE;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.begin          = KalDescentBegin;
  analysis->ops.ask            = KalDescentAsk;
  analysis->ops.tell           = Tell;
  analysis->ops.update         = Update;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
