/* KOALA-V: a filter of the parameters with one scalar variance, whose observation is the loss. */
#include "koala.h"

/* Of a network's state. */
enum {
  NOISE,
  VARIANCE,
  NUMBERS
};

typedef struct {
  KalKoala  koala; /* first: the shared operations take the data for it */
  PetscReal process;
} KalKoalaV;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalKoalaV *v = (KalKoalaV *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalKoalaSetFromOptions(&v->koala, PetscOptionsObject));
  PetscCall(PetscOptionsReal("-koala-v_process", "Variance added in each cycle", NULL, v->process, &v->process, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalKoalaV *v = (KalKoalaV *)analysis->data;

  PetscFunctionBeginUser;
  PetscCheck(v->process >= 0.0 && !PetscIsInfOrNanReal(v->process), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-koala-v_process %g: must not be negative", (double)v->process);
  PetscCall(KalKoalaSetUp(analysis, &v->koala));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalKoalaV *v = (KalKoalaV *)analysis->data;

  PetscFunctionBeginUser;
  for (PetscInt m = 0; !cycle && m < analysis->N; m++) {
    v->koala.state[m * NUMBERS + NOISE]    = 1.0;
    v->koala.state[m * NUMBERS + VARIANCE] = v->koala.variance;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Move(KalAnalysis analysis, PetscInt member, PetscInt n, const PetscScalar *g, PetscScalar *x, PetscScalar *kept[])
{
  KalKoalaV      *v     = (KalKoalaV *)analysis->data;
  KalKoala       *koala = &v->koala;
  PetscReal      *state = koala->state + member * NUMBERS;
  const PetscReal P = state[VARIANCE] + v->process, decay = koala->descent.decay;
  const PetscReal most = KalKoalaObserve(koala, P, state[NOISE], koala->descent.losses[2 * member], g, x);

  (void)n;
  (void)kept;
  for (PetscInt l = 0; l < koala->layers; l++) {
    const PetscReal gain = koala->descent.taken * P * koala->layer[l].factor;

    for (PetscInt i = koala->start[l]; i < koala->start[l + 1]; i++) x[i] -= gain * (g[i] + decay * x[i]);
  }
  state[VARIANCE] = P - P * P * most;
}

static PetscErrorCode Update(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalKoalaUpdate(analysis, (KalKoala *)analysis->data, Move));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalKoalaV *v = (const KalKoalaV *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  step %g (%s), variance %g, process %g, target %g, decay %g, %" PetscInt_FMT " networks\n", (double)v->koala.descent.step, KalSchedules[v->koala.descent.schedule], (double)v->koala.variance, (double)v->process, (double)v->koala.target, (double)v->koala.descent.decay, analysis->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalKoalaDestroy((KalKoala *)analysis->data));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISKOALAV = "koala-v" - KOALA with a scalar variance (Davtyan, Sameni, Cerkezi, Meishvili, Bielski and Favaro, AAAI 2022)

   A Kalman filter whose observation is the mini-batch's mean loss and whose target is a loss. With g_l the derivative by the parameters of layer l plus decay x_l, loss_l =
   loss + decay |x_l|^2/2, and rho the running mean, from 1 on, of the mean squared loss of a sample:

     rho <- 0.9 rho + 0.1 mean_i loss_i^2,  P' = P + process,  S_l = P' |g_l|^2 + rho,
     x_l <- x_l - step P' (loss_l - target)/S_l g_l,  P <- P' - P'^2 max_l |g_l|^2/S_l

   Options Database Keys:
+  -koala-v_step <1>, -koala-v_step_schedule <constant>, -koala-v_step_final <0> - factor of the gain, and how it falls over -analysis_schedule_cycles
.  -koala-v_variance <0.1> - P before the first batch
.  -koala-v_process <1> - variance that is added in each cycle
.  -koala-v_target <0> - the loss that is aimed at
-  -koala-v_decay <0> - weight decay, of weights and biases

   Notes:
   The authors' code moves along the derivative without its decay; here the same g_l stands in both places. -ensemble_size counts
   networks, each trained by itself.

.seealso: KALANALYSISKOALAM, KALANALYSISSGD
M*/
PetscErrorCode KalAnalysisCreate_KoalaV(KalAnalysis analysis)
{
  KalKoalaV *v;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&v));
  v->process = 1.0;
  PetscCall(KalKoalaCreate(analysis, "koala-v", NUMBERS, &v->koala));
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.begin          = Begin;
  analysis->ops.update         = Update;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
