/* The method "layered": a network is analysed layer by layer, each sample of a mini-batch by itself. Options, set-up, state. */
#include "layered.h"

static const char *const Variants[] = {"first-order", "kalman", "KalLayeredVariant", "KAL_LAYERED_", NULL};
static const char *const Scalings[] = {"moments", "covariance", "KalScaling", "KAL_SCALING_", NULL};
static const char *const Sweeps[]   = {"together", "forward", "backward", "alternate", "KalSweep", "KAL_SWEEP_", NULL};
static const char *const Draws[]    = {"normal", "signs", "orthogonal", "KalDraws", "KAL_DRAWS_", NULL};
static const char *const Kinds[]    = {"fixed", "relative", "KalSpreadKind", "KAL_SPREAD_", NULL};

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalLayered *layered = (KalLayered *)analysis->data;
  PetscEnum   variant = (PetscEnum)layered->variant, scaling = (PetscEnum)layered->scaling, sweep = (PetscEnum)layered->sweep, draws = (PetscEnum)layered->draws, kind = (PetscEnum)layered->spreadkind, schedule = (PetscEnum)layered->schedule;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsEnum("-layered_variant", "How a sample's predictions move its states", NULL, Variants, variant, &variant, NULL));
  PetscCall(PetscOptionsEnum("-layered_scaling", "What the increments of parameters are scaled by", NULL, Scalings, scaling, &scaling, NULL));
  PetscCall(PetscOptionsEnum("-layered_sweep", "Order of the layers in a cycle", NULL, Sweeps, sweep, &sweep, NULL));
  PetscCall(PetscOptionsBoundedInt("-layered_perturbations", "Perturbations of a sample's states", NULL, layered->N, &layered->N, NULL, 2));
  PetscCall(PetscOptionsEnum("-layered_draws", "Distribution of the perturbations", NULL, Draws, draws, &draws, NULL));
  PetscCall(PetscOptionsBool("-layered_antithetic", "Perturbations in mirrored pairs", NULL, layered->antithetic, &layered->antithetic, NULL));
  PetscCall(PetscOptionsReal("-layered_spread", "Standard deviation of the perturbations", NULL, layered->spread, &layered->spread, NULL));
  PetscCall(PetscOptionsEnum("-layered_spread_kind", "What the spread is measured in", NULL, Kinds, kind, &kind, NULL));
  PetscCall(PetscOptionsReal("-layered_damping", "Added to the weight of a sample by the Kalman variant", NULL, layered->damping, &layered->damping, NULL));
  PetscCall(PetscOptionsReal("-layered_ridge", "Added to the features' covariance, times its mean diagonal", NULL, layered->ridge, &layered->ridge, NULL));
  PetscCall(PetscOptionsReal("-layered_memory", "Factor of the features' covariance kept from one cycle to the next", NULL, layered->memory, &layered->memory, NULL));
  PetscCall(PetscOptionsReal("-layered_momentum", "Factor of the running mean of increments kept", NULL, layered->first, &layered->first, NULL));
  PetscCall(PetscOptionsReal("-layered_second", "Factor of the running second moments kept", NULL, layered->second, &layered->second, NULL));
  PetscCall(PetscOptionsReal("-layered_floor", "Added to the root of the second moments", NULL, layered->floor, &layered->floor, NULL));
  PetscCall(PetscOptionsReal("-layered_decay", "Weights shrink by this times the step", NULL, layered->decay, &layered->decay, NULL));
  PetscCall(PetscOptionsReal("-layered_step", "Step length", NULL, layered->step, &layered->step, NULL));
  PetscCall(PetscOptionsEnum("-layered_step_schedule", "How the step falls to its final value", NULL, KalSchedules, schedule, &schedule, NULL));
  PetscCall(PetscOptionsReal("-layered_step_final", "Final step of a schedule", NULL, layered->stepfinal, &layered->stepfinal, NULL));
  layered->variant    = (KalLayeredVariant)variant;
  layered->scaling    = (KalScaling)scaling;
  layered->sweep      = (KalSweep)sweep;
  layered->draws      = (KalDraws)draws;
  layered->spreadkind = (KalSpreadKind)kind;
  layered->schedule   = (KalSchedule)schedule;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckFactor(KalAnalysis analysis, const char *name, PetscReal value)
{
  PetscFunctionBeginUser;
  PetscCheck(value >= 0.0 && value < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-layered_%s %g: must be at least 0 and less than 1", name, (double)value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckPositive(KalAnalysis analysis, const char *name, PetscReal value)
{
  PetscFunctionBeginUser;
  PetscCheck(value > 0.0 && !PetscIsInfOrNanReal(value), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-layered_%s %g: must be positive and finite", name, (double)value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckOptions(KalAnalysis analysis)
{
  const KalLayered *layered = (const KalLayered *)analysis->data;
  const PetscInt    draws   = KalLayeredDraws(layered);

  PetscFunctionBeginUser;
  PetscCheck(layered->N <= 65536, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-layered_perturbations %" PetscInt_FMT ": at most 65536 are possible", layered->N);
  PetscCheck(!layered->antithetic || layered->N % 2 == 0, analysis->comm, PETSC_ERR_ARG_INCOMP, "-layered_perturbations %" PetscInt_FMT " is odd: -layered_antithetic needs pairs", layered->N);
  PetscCheck(layered->draws != KAL_DRAWS_ORTHOGONAL || (draws >= 4 && (draws & (draws - 1)) == 0), analysis->comm, PETSC_ERR_ARG_INCOMP, "-layered_draws orthogonal needs a power of two, 4 or more, as -layered_perturbations (twice that with -layered_antithetic), not %" PetscInt_FMT, layered->N);
  PetscCall(CheckPositive(analysis, "spread", layered->spread));
  PetscCall(CheckPositive(analysis, "damping", layered->damping));
  PetscCall(CheckPositive(analysis, "ridge", layered->ridge));
  PetscCall(CheckPositive(analysis, "floor", layered->floor));
  PetscCall(CheckPositive(analysis, "step", layered->step));
  PetscCall(CheckFactor(analysis, "memory", layered->memory));
  PetscCall(CheckFactor(analysis, "momentum", layered->first));
  PetscCall(CheckFactor(analysis, "second", layered->second));
  PetscCheck(layered->decay >= 0.0 && layered->decay * layered->step < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-layered_decay %g: must not be negative, nor 1/-layered_step or more", (double)layered->decay);
  PetscCall(KalScheduleCheck(analysis, "layered_step", layered->schedule, layered->stepfinal));
  PetscCall(KalScheduleNone(analysis, (PetscBool)(layered->schedule != KAL_SCHEDULE_CONSTANT), "layered_step_schedule"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sizes of the layers, and the arrays that hold a whole layer's increments. */
static PetscErrorCode TakeLayers(KalAnalysis analysis)
{
  KalLayered      *layered   = (KalLayered *)analysis->data;
  const KalPanels *kernels   = KalPanelsGet();
  const PetscInt   height    = analysis->layers.precision == KAL_SINGLE ? kernels->heightsingle : kernels->height;
  size_t           increment = 1, order = 1, right = 1, covariances = 0;

  PetscFunctionBeginUser;
  layered->stages = analysis->layers.count;
  layered->real   = analysis->layers.precision == KAL_SINGLE ? sizeof(float) : sizeof(double);
  for (PetscInt l = 1; l <= layered->stages; l++) {
    const KalLayer *layer = &analysis->layers.layer[l - 1];
    const PetscInt  width = KalPanelsChoose(kernels, layer->units)->width;
    const size_t    one   = (size_t)layer->features + 1;

    layered->width[l] = KalLayerStates(layer);
    if (l < layered->stages) layered->widest = PetscMax(layered->widest, layered->width[l]);
    increment = PetscMax(increment, (size_t)(KalPanelCount(layer->units, width) * width) * (size_t)KalLayeredPitch(layer, height));
    order     = PetscMax(order, one);
    right     = PetscMax(right, one * (size_t)layer->units);
    covariances += one * one;
  }
  layered->increments = increment;
  PetscCall(PetscMalloc(increment * layered->real, &layered->increment));
  if (layered->scaling == KAL_SCALING_MOMENTS) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(covariances <= (size_t)(PETSC_MAX_INT / analysis->N), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-layered_scaling covariance holds %zu numbers for each of %" PetscInt_FMT " networks, too many: take -layered_scaling moments", covariances, analysis->N);
  layered->covariances = (PetscInt)covariances;
  PetscCall(PetscCalloc1(covariances * (size_t)analysis->N, &layered->covariance));
  PetscCall(PetscMalloc3(order * order, &layered->normal, right, &layered->right, order * KAL_LAYERED_ROWS, &layered->rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalLayered *layered = (KalLayered *)analysis->data;

  PetscFunctionBeginUser;
  PetscCheck(analysis->layers.count, analysis->comm, PETSC_ERR_ARG_INCOMP, "The method layered works on the layers of a network, and this -model_type has none: take mlp or cnn, without -parameterization_type");
  PetscCheck(analysis->layers.count <= KAL_LAYERED_STAGES, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "The network has %" PetscInt_FMT " layers; layered takes %d at most", analysis->layers.count, KAL_LAYERED_STAGES);
  PetscCall(CheckOptions(analysis));
  PetscCall(TakeLayers(analysis));
  if (layered->draws == KAL_DRAWS_ORTHOGONAL) PetscCall(analysis->layers.precision == KAL_SINGLE ? KalLayeredSingle.hadamard(layered) : KalLayeredDouble.hadamard(layered));
  PetscCall(KalGroupCreate(analysis->comm, analysis->N, &layered->group));
  PetscCheck(layered->N <= PETSC_MAX_INT / PetscMax(1, layered->widest), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-layered_perturbations %" PetscInt_FMT " of a layer with %" PetscInt_FMT " states are too many numbers for a sample; take fewer", layered->N, layered->widest);
  analysis->needs.least   = 1;
  analysis->needs.copies  = layered->scaling == KAL_SCALING_MOMENTS ? 2 : 1;
  analysis->needs.untimed = PETSC_TRUE;
  PetscCall(PetscCalloc1(analysis->N, &layered->loss));
  if (!layered->group.owner) PetscCall(PetscMalloc1((size_t)analysis->n * (size_t)(1 + analysis->needs.copies), &layered->replica));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The work space of a batch is known once the batch is. */
static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  KalLayered *layered = (KalLayered *)analysis->data;
  PetscReal   states = 0.0, features = 0.0, unpooled = 0.0, numbers;
  PetscInt    samples;

  PetscFunctionBeginUser;
  PetscCheck(analysis->uniform || (layered->scaling == KAL_SCALING_MOMENTS && layered->variant == KAL_LAYERED_FIRST), analysis->comm, PETSC_ERR_SUP, "-layered_variant kalman and -layered_scaling covariance need the same BLAS kernels on every rank; these ranks run different ones: set OPENBLAS_CORETYPE, or use first-order and moments");
  PetscCall(KalObservationsGetCycle(observations, &samples, NULL));
  for (PetscInt l = 1; l <= layered->stages; l++) {
    const KalLayer *layer = &analysis->layers.layer[l - 1];

    states += 2.0 * layered->width[l];
    features = PetscMax(features, (PetscReal)layer->rows * layer->features);
    if (layer->pool > 1) unpooled = PetscMax(unpooled, (PetscReal)layer->rows * layer->units);
  }
  numbers              = samples * (states + features + unpooled) + 2.0 * layered->N * layered->widest + (PetscReal)layered->increments;
  analysis->needs.work = numbers * (PetscReal)layered->real + 8.0 * layered->covariances * (PetscReal)analysis->N + (layered->replica ? 8.0 * analysis->n * (1.0 + analysis->needs.copies) : 0.0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Moments begin at zero, whatever the copies of the members hold before the first cycle. */
static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  PetscInt     first, last;
  PetscScalar *moments;

  PetscFunctionBeginUser;
  if (cycle) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (PetscInt i = 0; i < analysis->needs.copies; i++) {
    for (PetscInt j = first; j < last; j++) {
      PetscCall(KalEnsembleGetMember(analysis->copy[i], j, &moments));
      PetscCall(PetscArrayzero(moments, analysis->n));
    }
    PetscCall(KalEnsembleChanged(analysis->copy[i]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Nothing is asked of the run but the batch: states are perturbed, forecast and observed where their samples are. */
static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  PetscFunctionBeginUser;
  (void)analysis;
  ask->observe = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalLayered *layered = (KalLayered *)analysis->data;

  PetscFunctionBeginUser;
  arrays[0] = (KalArray){.name = "time", .meaning = "sum of the steps", .count = 1, .data = &layered->time};
  *count    = 1;
  if (!layered->covariance) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalGroupCollect(&layered->group, layered->covariances, layered->covariance));
  arrays[1] = (KalArray){.name = "covariance", .meaning = "running covariance of each layer's features, by network", .count = layered->covariances * analysis->N, .data = layered->covariance};
  *count    = 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalLayered *layered = (const KalLayered *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  %s, %" PetscInt_FMT " perturbations a sample (%s%s), spread %g%s, layers %s, scaled by %s\n", Variants[layered->variant], layered->N, Draws[layered->draws], layered->antithetic ? ", antithetic" : "", (double)layered->spread, layered->spreadkind == KAL_SPREAD_RELATIVE ? " of the states'" : "", Sweeps[layered->sweep], Scalings[layered->scaling]));
  PetscCall(PetscViewerASCIIPrintf(viewer, "  step %g (%s), %" PetscInt_FMT " networks\n", (double)layered->step, KalSchedules[layered->schedule], analysis->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalLayered *layered = (KalLayered *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalGroupDestroy(&layered->group));
  for (PetscInt l = 0; l <= KAL_LAYERED_STAGES; l++) {
    PetscCall(PetscFree(layered->state[l]));
    PetscCall(PetscFree(layered->delta[l]));
  }
  PetscCall(PetscFree(layered->hadamard));
  PetscCall(PetscFree(layered->room));
  PetscCall(PetscFree(layered->unpooled));
  PetscCall(PetscFree(layered->increment));
  PetscCall(PetscFree(layered->work));
  PetscCall(PetscFree(layered->covariance));
  PetscCall(PetscFree(layered->replica));
  PetscCall(PetscFree(layered->loss));
  PetscCall(PetscFree3(layered->normal, layered->right, layered->rows));
  PetscCall(PetscFree5(layered->outputs, layered->r, layered->d, layered->v, layered->losses));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISLAYERED = "layered" - A network is trained layer by layer, by an ensemble of forward passes and local analyses

   A network is a dynamical system whose state at stage l is the vector z_l of pre-activations of a sample. In each cycle the
   states of every hidden layer are perturbed, N times for each sample, and taken forward to the outputs; the loss at the
   outputs then says, by the perturbations' covariance with the outputs, how the sample's state should move (delta_l), and the
   layer's parameters follow by regression of these increments on its features. No derivative of the network is taken. See
   share/doc/layered.md for the derivation and its sources.

   Options Database Keys:
+  -layered_variant <first-order> - delta = (sigma (N - 1))^-1 sum_j xi_j g'_j.r, or kalman: sigma^2 times that with r replaced by (H C_gg + damping I)^-1 r
.  -layered_perturbations <16>, -layered_draws <normal>, -layered_antithetic <false> - N, their distribution (normal, signs, orthogonal), mirrored pairs
.  -layered_spread <0.3>, -layered_spread_kind <fixed> - sigma; relative: times the standard deviation of the layer's states over the batch
.  -layered_damping <1> - of the Kalman variant
.  -layered_sweep <together> - together, forward, backward or alternate
.  -layered_scaling <moments> - moments: by running second moments, as Adam; covariance: by (A + ridge tr A/F I)^-1, A the features' running covariance
.  -layered_momentum <0.9>, -layered_second <0.999>, -layered_floor <1e-8> - Adam's beta_1, beta_2, epsilon; beta_1 under either scaling
.  -layered_ridge <0.01>, -layered_memory <0.95> - of the covariance
.  -layered_decay <0> - weight decay, apart from the increments
-  -layered_step <0.001>, -layered_step_schedule <constant>, -layered_step_final <0> - step length, and how it falls over -analysis_schedule_cycles

   Notes:
   -ensemble_size counts networks, each trained by itself; 1 is enough. With as many networks as ranks or more, each rank trains
   its own; with fewer, neighbouring ranks share a network: its samples, and the units of large regressions.

.seealso: KALANALYSISHABER, KalAnalysisSetLayers()
M*/
PetscErrorCode KalAnalysisCreate_Layered(KalAnalysis analysis)
{
  KalLayered *layered;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&layered));
  layered->N       = 16;
  layered->spread  = 0.3;
  layered->damping = 1.0;
  layered->ridge   = 0.01;
  layered->memory  = 0.95;
  layered->first   = 0.9;
  layered->second  = 0.999;
  layered->floor   = 1e-8;
  layered->step    = 1e-3;

  analysis->data               = layered;
  analysis->takes              = KAL_TAKES_SCHEDULE;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = KalLayeredTell;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
