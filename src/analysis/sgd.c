/* Stochastic gradient descent with momentum: a baseline. */
#include "descent.h"

typedef struct {
  KalDescent descent;
  PetscReal  momentum;
} KalSgd;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalSgd *sgd = (KalSgd *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalDescentSetFromOptions(&sgd->descent, PetscOptionsObject));
  PetscCall(PetscOptionsReal("-sgd_momentum", "Part of the velocity that is kept", NULL, sgd->momentum, &sgd->momentum, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalSgd *sgd = (KalSgd *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalDescentFactor(analysis, &sgd->descent, "momentum", sgd->momentum));
  PetscCall(KalDescentSetUp(analysis, &sgd->descent));
  analysis->needs.copies = sgd->momentum > 0.0 ? 1 : 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  PetscFunctionBeginUser;
  PetscCall(KalDescentTell(analysis, &((KalSgd *)analysis->data)->descent, told, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

KAL_WIDER static void MoveWith(PetscInt n, PetscReal keep, PetscReal step, PetscReal decay, const PetscScalar *restrict g, PetscScalar *restrict x, PetscScalar *restrict v)
{
  for (PetscInt i = 0; i < n; i++) {
    v[i] = keep * v[i] + (g[i] + decay * x[i]);
    x[i] -= step * v[i];
  }
}

KAL_WIDER static void MoveWithout(PetscInt n, PetscReal step, PetscReal decay, const PetscScalar *restrict g, PetscScalar *restrict x)
{
  for (PetscInt i = 0; i < n; i++) x[i] -= step * (g[i] + decay * x[i]);
}

static void Move(KalAnalysis analysis, PetscInt member, PetscInt n, const PetscScalar *g, PetscScalar *x, PetscScalar *kept[])
{
  const KalSgd *sgd = (const KalSgd *)analysis->data;

  (void)member;
  if (sgd->momentum > 0.0) MoveWith(n, sgd->momentum, sgd->descent.taken, sgd->descent.decay, g, x, kept[0]);
  else MoveWithout(n, sgd->descent.taken, sgd->descent.decay, g, x);
}

static PetscErrorCode Update(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalDescentUpdate(analysis, &((KalSgd *)analysis->data)->descent, Move));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  PetscFunctionBeginUser;
  arrays[0] = KalDescentArray(&((KalSgd *)analysis->data)->descent);
  *count    = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalSgd *sgd = (const KalSgd *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  step %g (%s), momentum %g, decay %g, %" PetscInt_FMT " networks\n", (double)sgd->descent.step, KalSchedules[sgd->descent.schedule], (double)sgd->momentum, (double)sgd->descent.decay, analysis->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISSGD = "sgd" - Stochastic gradient descent with momentum, a baseline for the methods without derivatives

   With g the derivative of the mini-batch's mean loss by a network's parameters x (the model's adjoint):
   v <- momentum v + g + decay x, x <- x - step v, v from 0 on (Polyak 1964; the form of PyTorch's torch.optim.SGD).

   Options Database Keys:
+  -sgd_step <0.1>, -sgd_step_schedule <constant>, -sgd_step_final <0> - step length, and how it falls over -analysis_schedule_cycles
.  -sgd_momentum <0.9> - part of the velocity that is kept
-  -sgd_decay <0> - weight decay, of weights and biases

   Notes:
   -ensemble_size counts networks, each trained by itself; 1 is enough. With as many networks as ranks or more, each rank trains
   its own; with fewer, neighbouring ranks divide the samples of a network's mini-batch.

.seealso: KALANALYSISADAM, KalModelAdjoint()
M*/
PetscErrorCode KalAnalysisCreate_SGD(KalAnalysis analysis)
{
  KalSgd *sgd;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&sgd));
  sgd->descent.name = "sgd";
  sgd->descent.step = 0.1;
  sgd->momentum     = 0.9;

  analysis->data               = sgd;
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
