/* The modified ensemble Kalman filter of Haber, Lucka and Ruthotto: fresh perturbations about one mean. */
#include "analysisimpl.h"
#include "projection.h"
#include "rankone.h"
#include "schedule.h"

#define KAL_MOST_STEPS 32

typedef enum {
  KAL_HABER_INDEPENDENT,
  KAL_HABER_RANK_ONE, /* in each layer of a network */
  KAL_HABER_FLIPOUT,  /* the same, and for each sample with signs of its own */
} KalHaberDraws;
typedef enum {
  KAL_HABER_SCALING_NONE,
  KAL_HABER_SCALING_MOMENTS, /* by the root of running second moments, as Adam's */
} KalHaberScaling;
static const char *const Scalings[] = {"none", "moments", "KalHaberScaling", "KAL_HABER_SCALING_", NULL};
static const char *const Draws[]    = {"independent", "rank-one", "flipout", "KalHaberDraws", "KAL_HABER_", NULL};

typedef struct {
  /* options */
  PetscReal       damping, step, stepfinal, momentum, second, spread, spreadfinal;
  KalSchedule     stepschedule, spreadschedule;
  PetscInt        linesearch;
  PetscBool       antithetic, project;
  KalHaberDraws   draws;
  KalHaberScaling scaling;
  /* state: survives a restart */
  PetscScalar *velocity, *squares; /* squares: of increments, where they scale */
  PetscReal    time;
  /* of the cycle in hand */
  PetscInt     cycle;
  PetscBool    searching;
  PetscReal    loss, taken, steps[KAL_MOST_STEPS];
  PetscScalar *candidate; /* velocity if the step is accepted */
  KalEnsemble  points, line;
  /* work */
  KalProjection projection;
  KalRankOne    rankone;
} KalHaber;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalHaber *haber = (KalHaber *)analysis->data;
  PetscEnum step = (PetscEnum)haber->stepschedule, spread = (PetscEnum)haber->spreadschedule, draws = (PetscEnum)haber->draws, scaling = (PetscEnum)haber->scaling;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsReal("-haber_damping", "Damping, times the mean eigenvalue of Q'Q", NULL, haber->damping, &haber->damping, NULL));
  PetscCall(PetscOptionsReal("-haber_step", "Step length", NULL, haber->step, &haber->step, NULL));
  PetscCall(PetscOptionsEnum("-haber_step_schedule", "How the step falls to its final value", NULL, KalSchedules, step, &step, NULL));
  PetscCall(PetscOptionsReal("-haber_step_final", "Final step of a schedule", NULL, haber->stepfinal, &haber->stepfinal, NULL));
  PetscCall(PetscOptionsRangeInt("-haber_line_search", "Halvings of the step that are tried at once (0: no line search)", NULL, haber->linesearch, &haber->linesearch, NULL, 0, KAL_MOST_STEPS));
  PetscCall(PetscOptionsReal("-haber_momentum", "Factor of the velocity kept from one cycle to the next", NULL, haber->momentum, &haber->momentum, NULL));
  PetscCall(PetscOptionsEnum("-haber_scaling", "What increments are scaled by", NULL, Scalings, scaling, &scaling, NULL));
  PetscCall(PetscOptionsReal("-haber_second", "Factor of the running second moments kept", NULL, haber->second, &haber->second, NULL));
  PetscCall(PetscOptionsReal("-haber_spread", "Standard deviation of the perturbations, times the prior's", NULL, haber->spread, &haber->spread, NULL));
  PetscCall(PetscOptionsEnum("-haber_spread_schedule", "How the spread falls to its final value", NULL, KalSchedules, spread, &spread, NULL));
  PetscCall(PetscOptionsReal("-haber_spread_final", "Final spread of a schedule", NULL, haber->spreadfinal, &haber->spreadfinal, NULL));
  PetscCall(PetscOptionsBool("-haber_antithetic", "Perturbations in mirrored pairs", NULL, haber->antithetic, &haber->antithetic, NULL));
  PetscCall(PetscOptionsEnum("-haber_draws", "What a perturbation is made of", NULL, Draws, draws, &draws, NULL));
  PetscCall(PetscOptionsBool("-haber_project", "The first layer moves within what the batch sees of it", NULL, haber->project, &haber->project, NULL));
  haber->stepschedule   = (KalSchedule)step;
  haber->spreadschedule = (KalSchedule)spread;
  haber->draws          = (KalHaberDraws)draws;
  haber->scaling        = (KalHaberScaling)scaling;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalHaber *haber = (KalHaber *)analysis->data;

  PetscFunctionBeginUser;
  PetscCheck(haber->damping > 0.0 && !PetscIsInfOrNanReal(haber->damping), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-haber_damping %g: must be positive and finite", (double)haber->damping);
  PetscCheck(haber->step > 0.0 && !PetscIsInfOrNanReal(haber->step), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-haber_step %g: must be positive and finite", (double)haber->step);
  PetscCheck(haber->spread > 0.0 && !PetscIsInfOrNanReal(haber->spread), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-haber_spread %g: must be positive and finite", (double)haber->spread);
  PetscCheck(haber->momentum >= 0.0 && haber->momentum < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-haber_momentum %g: must be at least 0 and less than 1", (double)haber->momentum);
  PetscCheck(haber->second >= 0.0 && haber->second < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-haber_second %g: must be at least 0 and less than 1", (double)haber->second);
  PetscCheck(haber->scaling == KAL_HABER_SCALING_NONE || !haber->linesearch, analysis->comm, PETSC_ERR_ARG_INCOMP, "-haber_scaling moments has steps of a fixed length: leave -haber_line_search out");
  PetscCall(KalScheduleCheck(analysis, "haber_step", haber->stepschedule, haber->stepfinal));
  PetscCall(KalScheduleCheck(analysis, "haber_spread", haber->spreadschedule, haber->spreadfinal));
  PetscCall(KalScheduleNone(analysis, (PetscBool)(haber->stepschedule || haber->spreadschedule), "haber_step_schedule or -haber_spread_schedule"));
  PetscCheck(haber->spreadfinal > 0.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-haber_spread_final %g: must be positive, perturbations without spread change no prediction", (double)haber->spreadfinal);
  analysis->needs.least     = 2;
  analysis->needs.vectors   = haber->scaling == KAL_HABER_SCALING_MOMENTS ? 3 : 2;
  analysis->needs.generated = PETSC_TRUE;
  analysis->needs.gathered  = haber->draws == KAL_HABER_FLIPOUT ? 1 : 0;
  analysis->needs.points    = PetscMax(analysis->N + 1, haber->linesearch);
  PetscCheck(haber->draws != KAL_HABER_FLIPOUT || !haber->project, analysis->comm, PETSC_ERR_ARG_INCOMP, "-haber_draws flipout leaves nothing to -haber_project: leave it out");
  for (PetscInt l = 0; haber->draws == KAL_HABER_FLIPOUT && l < analysis->layers.count; l++) PetscCheck(analysis->layers.layer[l].rows == 1, analysis->comm, PETSC_ERR_SUP, "-haber_draws flipout takes layers that have one row of features a sample, and layer %" PetscInt_FMT " has %" PetscInt_FMT ": take rank-one, or an mlp", l + 1, analysis->layers.layer[l].rows);
  if (haber->draws != KAL_HABER_INDEPENDENT) PetscCall(KalRankOneCreate(analysis, &haber->rankone));
  PetscCheck(haber->draws != KAL_HABER_FLIPOUT || (analysis->N % haber->rankone.block == 0 && !haber->antithetic), analysis->comm, PETSC_ERR_ARG_INCOMP, "-haber_draws flipout takes members in blocks of %" PetscInt_FMT ", the least power of two above the number of the network's units, and no -haber_antithetic: take a multiple of it for -ensemble_size, not %" PetscInt_FMT, haber->rankone.block, analysis->N);
  analysis->needs.untimed = (PetscBool)(haber->draws != KAL_HABER_INDEPENDENT);
  if (haber->project) PetscCall(KalProjectionCreate(analysis, "haber_project", &haber->projection));
  PetscCall(PetscCalloc1(analysis->n, &haber->velocity));
  PetscCall(PetscMalloc1(analysis->n, &haber->candidate));
  if (haber->scaling == KAL_HABER_SCALING_MOMENTS) PetscCall(PetscCalloc1(analysis->n, &haber->squares));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The work space of a batch is known once the batch is. */
static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  KalHaber *haber = (KalHaber *)analysis->data;
  PetscInt  samples;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetCycle(observations, &samples, NULL));
  analysis->needs.work = 0.0;
  if (haber->draws != KAL_HABER_INDEPENDENT) analysis->needs.work += KalRankOneMemory(analysis, samples, (PetscBool)(haber->draws == KAL_HABER_FLIPOUT));
  if (haber->project) analysis->needs.work += KalProjectionMemory(analysis, samples);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static KalRankOneDraws RankOneDraws(KalAnalysis analysis)
{
  const KalHaber *haber = (const KalHaber *)analysis->data;

  return (KalRankOneDraws){
      .key        = {analysis->seed, KAL_DRAW_PERTURBATION, haber->cycle, 0},
      .spread     = KalScheduled(analysis, haber->spreadschedule, haber->spread, haber->spreadfinal, haber->cycle),
      .antithetic = haber->antithetic,
      .flipped    = (PetscBool)(haber->draws == KAL_HABER_FLIPOUT)
  };
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalHaber       *haber  = (KalHaber *)analysis->data;
  const KalKey    key    = {analysis->seed, KAL_DRAW_PERTURBATION, cycle, 0};
  const PetscReal spread = KalScheduled(analysis, haber->spreadschedule, haber->spread, haber->spreadfinal, cycle);

  PetscFunctionBeginUser;
  PetscCheck(analysis->mean && analysis->prior, analysis->comm, PETSC_ERR_ORDER, "haber needs a mean and the prior's spread: call KalAnalysisSetMean() and KalAnalysisSetPrior()");
  haber->cycle     = cycle;
  haber->searching = PETSC_FALSE;
  if (!haber->points) PetscCall(KalEnsembleCreateGaussian(analysis->comm, analysis->n, analysis->N + 1, analysis->mean, analysis->prior, &haber->points));
  PetscCall(KalEnsembleGaussianSet(haber->points, key, spread, haber->antithetic, PETSC_TRUE));
  PetscCall(KalEnsembleGaussianSet(analysis->ensemble, key, spread, haber->antithetic, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  KalHaber *haber = (KalHaber *)analysis->data;

  PetscFunctionBeginUser;
  ask->points  = haber->points;
  ask->observe = (PetscBool)(haber->searching || haber->draws == KAL_HABER_INDEPENDENT); /* members of rank one are run here */
  if (haber->searching) {
    if (!haber->line) PetscCall(KalEnsembleCreateLine(analysis->comm, analysis->n, haber->linesearch, analysis->mean, haber->candidate, haber->steps, &haber->line));
    ask->points = haber->line;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Coefficients c = (Q'Q + gamma I)^{-1} Q'r. */
static PetscErrorCode Coefficients(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal *gamma, PetscReal *c)
{
  const KalHaber *haber = (const KalHaber *)analysis->data;

  PetscFunctionBeginUser;
  PetscCheck(in->trace > 0.0 && PetscIsNormalReal(in->trace), analysis->comm, PETSC_ERR_FP, "The perturbations change no prediction (trace of Q'Q = %g) in cycle %" PetscInt_FMT ": -haber_spread %g is too small, or the network's outputs do not depend on its weights", (double)in->trace, told->cycle, (double)haber->spread);
  *gamma = haber->damping * in->trace / in->active;
  PetscCall(KalInnovationSolve(analysis, told, in, *gamma, 1, 0.0, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sum of coefficients, their mean over the active members removed, times perturbations. */
static PetscErrorCode Combine(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal *c, PetscScalar *y)
{
  KalHaber             *haber = (KalHaber *)analysis->data;
  const KalRankOneDraws draws = RankOneDraws(analysis);
  PetscReal             mean  = 0.0;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < in->N; j++) mean += in->status[j] == KAL_MEMBER_OK ? c[j] : 0.0;
  for (PetscInt j = 0; j < in->N; j++) c[j] = in->status[j] == KAL_MEMBER_OK ? c[j] - mean / in->active : 0.0;
  if (haber->draws == KAL_HABER_RANK_ONE) PetscCall(KalRankOneCombine(analysis, &draws, c, &haber->rankone, y));
  else PetscCall(KalEnsembleCombine(haber->points, c, y));
  if (haber->project) PetscCall(KalProjectionApply(analysis, told->batch, &haber->projection, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The same sample by sample, with the weighted residuals q = (Q Q' + gamma I)^{-1} r = (r - Q c)/gamma. */
static PetscErrorCode CombineLocally(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal gamma, const PetscReal *c, PetscScalar *y)
{
  KalHaber             *haber = (KalHaber *)analysis->data;
  const KalRankOneDraws draws = RankOneDraws(analysis);
  PetscReal            *q;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(in->p, &q));
  PetscCall(PetscArraycpy(q, in->r, in->p));
  for (PetscInt j = 0; j < in->N; j++) {
    for (PetscInt i = 0; i < in->p && in->status[j] == KAL_MEMBER_OK; i++) q[i] -= c[j] * in->A[i + (size_t)j * in->p];
  }
  for (PetscInt i = 0; i < in->p; i++) q[i] /= gamma;
  PetscCall(KalRankOneLocalize(analysis, told, &draws, in, q, &haber->rankone, y));
  PetscCall(PetscFree(q));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Moves the running moments of the increments, and puts in their place the first over the root of the second. */
static void Scale(KalHaber *haber, PetscInt n)
{
  const PetscReal t = haber->cycle + 1.0, k1 = haber->momentum, k2 = haber->second;
  const PetscReal factor = PetscSqrtReal(1.0 - PetscPowReal(k2, t)) / (1.0 - PetscPowReal(k1, t));

  for (PetscInt i = 0; i < n; i++) {
    const PetscReal g = haber->candidate[i];

    haber->velocity[i]  = k1 * haber->velocity[i] + (1.0 - k1) * g;
    haber->squares[i]   = k2 * haber->squares[i] + (1.0 - k2) * g * g;
    haber->candidate[i] = haber->squares[i] > 0.0 ? factor * haber->velocity[i] / PetscSqrtReal(haber->squares[i]) : 0.0;
  }
}

static PetscErrorCode TellPerturbed(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalHaber       *haber = (KalHaber *)analysis->data;
  const PetscReal step  = KalScheduled(analysis, haber->stepschedule, haber->step, haber->stepfinal, haber->cycle);
  KalInnovation   in;
  PetscReal      *c, gamma;
  PetscInt        i, k;

  PetscFunctionBeginUser;
  PetscCheck(told->status[analysis->N] == KAL_MEMBER_OK, analysis->comm, PETSC_ERR_FP, "The mean's own prediction is not finite in cycle %" PetscInt_FMT "; a smaller -haber_step or a larger -haber_damping keeps it so", told->cycle);
  PetscCall(KalInnovationCreate(analysis, told, analysis->N, 1.0, haber->draws == KAL_HABER_FLIPOUT ? KAL_WANT_ANOMALIES : 0, &in));
  PetscCall(PetscCalloc1(analysis->N + 1, &c));
  PetscCall(Coefficients(analysis, told, &in, &gamma, c));
  if (haber->draws == KAL_HABER_FLIPOUT) PetscCall(CombineLocally(analysis, told, &in, gamma, c, haber->candidate));
  else PetscCall(Combine(analysis, told, &in, c, haber->candidate));
  if (haber->scaling == KAL_HABER_SCALING_MOMENTS) Scale(haber, analysis->n);
  else
    for (i = 0; i < analysis->n; i++) haber->candidate[i] += haber->momentum * haber->velocity[i];
  haber->loss           = in.loss;
  haber->taken          = step;
  analysis->report.loss = in.loss / told->batch->samples;
  *verdict              = KAL_VERDICT_ACCEPT;
  if (haber->linesearch) {
    for (k = 0; k < haber->linesearch; k++) haber->steps[k] = k ? 0.5 * haber->steps[k - 1] : step;
    haber->searching = PETSC_TRUE;
    *verdict         = KAL_VERDICT_AGAIN;
  }
  PetscCall(PetscFree(c));
  PetscCall(KalInnovationDestroy(&in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Predictions of members that are run here. */
static PetscErrorCode TellRankOne(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalHaber             *haber  = (KalHaber *)analysis->data;
  const KalRankOneDraws draws  = RankOneDraws(analysis);
  PetscInt              failed = 0;
  KalTold               mine;

  PetscFunctionBeginUser;
  PetscCall(KalRankOnePredict(analysis, told, &draws, &haber->rankone, &mine));
  for (PetscInt j = 0; j < analysis->N; j++) failed += mine.status[j] != KAL_MEMBER_OK;
  analysis->report.passes = ((haber->draws == KAL_HABER_FLIPOUT ? 2.0 : 1.0) * analysis->N + 1.0) * told->batch->samples; /* flipout runs members once more, to regress on them */
  analysis->report.failed = failed;
  if (analysis->N - failed < analysis->needs.least) {
    haber->taken = 0.0;
    *verdict     = KAL_VERDICT_REJECT; /* the run, which counts survivors, ends */
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(TellPerturbed(analysis, &mine, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitLosses(void *ctx, const KalRows *rows, PetscReal *sums)
{
  const KalTold *told = (const KalTold *)ctx;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsLosses(told->observations, told->batch, rows, sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TellLine(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalHaber   *haber       = (KalHaber *)analysis->data;
  KalEnsemble predictions = told->predictions;
  PetscReal   loss[KAL_MOST_STEPS], best = haber->loss;
  PetscInt    k;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleSumRows(1, &predictions, VisitLosses, (void *)told, haber->linesearch, loss));
  haber->taken = 0.0;
  for (k = 0; k < haber->linesearch; k++) {
    if (told->status[k] == KAL_MEMBER_OK && loss[k] < best) {
      best         = loss[k];
      haber->taken = haber->steps[k];
    }
  }
  *verdict = KAL_VERDICT_ACCEPT;
  if (haber->taken == 0.0) { /* no step lowers the loss: the direction and what led to it are dropped */
    PetscCall(PetscArrayzero(haber->velocity, analysis->n));
    *verdict = KAL_VERDICT_REJECT;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalHaber *haber = (KalHaber *)analysis->data;

  PetscFunctionBeginUser;
  if (haber->searching) PetscCall(TellLine(analysis, told, verdict));
  else if (haber->draws == KAL_HABER_INDEPENDENT) PetscCall(TellPerturbed(analysis, told, verdict));
  else PetscCall(TellRankOne(analysis, told, verdict));
  analysis->report.step = haber->taken;
  if (*verdict == KAL_VERDICT_ACCEPT) haber->time += haber->taken;
  analysis->report.time = haber->time;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Update(KalAnalysis analysis)
{
  KalHaber *haber = (KalHaber *)analysis->data;
  PetscInt  i;

  PetscFunctionBeginUser;
  for (i = 0; i < analysis->n; i++) {
    if (haber->scaling == KAL_HABER_SCALING_NONE) haber->velocity[i] = haber->candidate[i];
    analysis->mean[i] += haber->taken * haber->candidate[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalHaber *haber = (KalHaber *)analysis->data;

  PetscFunctionBeginUser;
  arrays[0].name    = "velocity";
  arrays[0].meaning = "velocity of the mean, kept by momentum";
  arrays[0].count   = analysis->n;
  arrays[0].data    = haber->velocity;
  arrays[1].name    = "time";
  arrays[1].meaning = "sum of the steps";
  arrays[1].count   = 1;
  arrays[1].data    = &haber->time;
  *count            = 2;
  if (!haber->squares) PetscFunctionReturn(PETSC_SUCCESS);
  arrays[2] = (KalArray){.name = "squares", .meaning = "running second moments of the increments", .count = analysis->n, .data = haber->squares};
  *count    = 3;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalHaber *haber = (const KalHaber *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  damping %g tr/N, step %g (%s), momentum %g, spread %g (%s)%s", (double)haber->damping, (double)haber->step, KalSchedules[haber->stepschedule], (double)haber->momentum, (double)haber->spread, KalSchedules[haber->spreadschedule], haber->antithetic ? ", antithetic" : ""));
  if (haber->draws == KAL_HABER_RANK_ONE) PetscCall(PetscViewerASCIIPrintf(viewer, ", of rank one in each layer"));
  if (haber->draws == KAL_HABER_FLIPOUT) PetscCall(PetscViewerASCIIPrintf(viewer, ", of rank one in each layer, signs of each sample"));
  if (haber->scaling == KAL_HABER_SCALING_MOMENTS) PetscCall(PetscViewerASCIIPrintf(viewer, ", scaled by second moments"));
  if (haber->project) PetscCall(PetscViewerASCIIPrintf(viewer, ", projected"));
  if (haber->linesearch) PetscCall(PetscViewerASCIIPrintf(viewer, ", line search over %" PetscInt_FMT " halvings", haber->linesearch));
  PetscCall(PetscViewerASCIIPrintf(viewer, "\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalHaber *haber = (KalHaber *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleDestroy(&haber->points));
  PetscCall(KalEnsembleDestroy(&haber->line));
  if (haber->project) PetscCall(KalProjectionDestroy(&haber->projection));
  if (haber->draws != KAL_HABER_INDEPENDENT) PetscCall(KalRankOneDestroy(&haber->rankone));
  PetscCall(PetscFree(haber->velocity));
  PetscCall(PetscFree(haber->candidate));
  PetscCall(PetscFree(haber->squares));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISHABER = "haber" - The modified ensemble Kalman filter of Haber, Lucka and Ruthotto ("Never look back", 2018)

   Each cycle draws N fresh perturbations Omega about one mean theta, of fixed or shrinking spread; with Q the
   whitened anomalies of their predictions and r the whitened residual at theta,
   c = (Q'Q + gamma I)^{-1} Q'r, v <- beta v + Omega c, theta <- theta + mu v (share/doc/methods.md, "haber"). No member is
   stored and none is sent: perturbations follow from their counters and are drawn again for Omega c.

   Options Database Keys:
+  -haber_damping <20> - gamma in units of tr(Q'Q)/N
.  -haber_step <0.1>, -haber_step_schedule <constant>, -haber_step_final <0> - mu, and how it falls over -analysis_schedule_cycles
.  -haber_line_search <0> - step lengths mu, mu/2, ... that are evaluated at once, the one with the least loss is taken; none better: the cycle is rejected
.  -haber_momentum <0> - beta
.  -haber_spread <0.1>, -haber_spread_schedule <constant>, -haber_spread_final <0.01> - standard deviation of the perturbations, times the prior's
.  -haber_antithetic <false> - perturbations in mirrored pairs
.  -haber_draws <independent> - independent: a normal number for every weight; rank-one, of networks: in every layer a sign of each
                                unit times a normal number of each feature, and of the bias; flipout: signs of each sample besides
.  -haber_project <false> - of a network's first layer: Omega c is replaced by what is expected of it given the batch's inputs and predictions
.  -haber_scaling <none> - moments: theta moves by the running mean of Omega c over the root of its running squares, as Adam's; beta is
                           then the part of the mean that is kept, v <- beta v + (1 - beta) Omega c
-  -haber_second <0.999> - part of the running squares that is kept

   Notes:
   Perturbations of rank one have the same standard deviations, and no two weights are correlated. Members are run by the method
   itself, without their weights being made: the network's own products serve all of them, and what is left to each is a scalar product
   of its factors and a sample's features. Ranks share the members; those whose predictions are not finite take no part.

   The projection: predictions depend on a perturbation W of the first layer through W F' alone, F the batch's inputs with
   the bias's 1. What F does not see of the members' sum is noise: each unit's part g becomes
   V F' (F V F')^{-1} F g, V the prior's variances. The expectation of the increment is the same, its variance is
   less by the share of rows of F in the weights of a unit; batches with as many samples as these are left alone.

   Flipout (after Wen et al., 2018): sample s sees the signs of the units multiplied by signs of its own, so that samples tell of
   perturbations that are uncorrelated. Members come in blocks, of the least power of two above the number of the network's units; those of
   a block share the factors b, and their signs are columns of a Hadamard matrix. With q = (Q Q' + gamma I)^{-1} r and
   q_s, Q_s their parts of sample s, the sample's states in a layer with features f move by the ridge regression of q_s'Q_s on what the members
   did to them, their perturbations being sigma_j t_j with t_j = b_j'f,

     delta_s = sum_j (q_s'Q_sj) t_j sigma_j / (sum_j t_j^2/(N spread^2) + 0.1 f'V f),   W <- W + sum_s delta_s f'V

   which is what is expected of the perturbation given what the sample saw of it, in the mean over b. Layers have one row of features a
   sample (mlp, not convolutions).

   Differences from the re-implementations the formula was read in: the damping is relative to the trace, anomalies are
   taken about the members' mean (so that Omega's mean is removed), and the loss' weight whitens Q. Draws of rank one, the
   projection, flipout and moments are additions.

.seealso: KALANALYSISEKI
M*/
PetscErrorCode KalAnalysisCreate_Haber(KalAnalysis analysis)
{
  KalHaber *haber;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&haber));
  haber->damping     = 20.0;
  haber->step        = 0.1;
  haber->spread      = 0.1;
  haber->spreadfinal = 0.01;
  haber->second      = 0.999;

  analysis->data               = haber;
  analysis->takes              = KAL_TAKES_SPACE | KAL_TAKES_SOLVER | KAL_TAKES_SCHEDULE;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = Tell;
  analysis->ops.update         = Update;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
