/* Consensus-based optimization: particles that drift towards a weighted mean of them all. */
#include "analysisimpl.h"

typedef struct {
  PetscReal step, drift, noise, alpha, tolerance;
  PetscBool isotropic, cooled;
  /* state: survives a restart */
  PetscScalar *consensus; /* n: that of the last cycle */
  PetscReal    time;
  /* of the cycle in hand */
  PetscInt     cycle, active;
  PetscBool    kicked;
  PetscReal   *weight, *distance; /* N each: of the consensus; of a particle from it, where the noise is isotropic */
  PetscReal    sigma;
  KalStatus   *status;
  PetscScalar *before; /* n: the consensus of the cycle before */
  PetscReal   *z;
} KalCbo;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalCbo *cbo = (KalCbo *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsReal("-cbo_step", "Time step", NULL, cbo->step, &cbo->step, NULL));
  PetscCall(PetscOptionsReal("-cbo_drift", "Rate of the drift towards the consensus", NULL, cbo->drift, &cbo->drift, NULL));
  PetscCall(PetscOptionsReal("-cbo_noise", "Noise, times the distance from the consensus", NULL, cbo->noise, &cbo->noise, NULL));
  PetscCall(PetscOptionsReal("-cbo_alpha", "Sharpness of the weights exp(-alpha loss)", NULL, cbo->alpha, &cbo->alpha, NULL));
  PetscCall(PetscOptionsReal("-cbo_kick", "Particles are kicked where no entry of the consensus moves by more than this, times the prior's standard deviation (0: never)", NULL, cbo->tolerance, &cbo->tolerance, NULL));
  PetscCall(PetscOptionsBool("-cbo_isotropic", "Noise of a particle's whole distance in every entry, not of the entry's own", NULL, cbo->isotropic, &cbo->isotropic, NULL));
  PetscCall(PetscOptionsBool("-cbo_cooling", "From epoch to epoch less noise and sharper weights", NULL, cbo->cooled, &cbo->cooled, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalCbo        *cbo = (KalCbo *)analysis->data;
  const PetscInt N   = analysis->N;

  PetscFunctionBeginUser;
  PetscCheck(cbo->step > 0.0 && !PetscIsInfOrNanReal(cbo->step), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cbo_step %g: must be positive", (double)cbo->step);
  PetscCheck(cbo->drift > 0.0 && cbo->drift * cbo->step <= 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cbo_drift %g: must be positive, and times the step %g at most 1", (double)cbo->drift, (double)cbo->step);
  PetscCheck(cbo->noise >= 0.0 && !PetscIsInfOrNanReal(cbo->noise), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cbo_noise %g: must not be negative", (double)cbo->noise);
  PetscCheck(cbo->alpha > 0.0 && !PetscIsInfOrNanReal(cbo->alpha), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cbo_alpha %g: must be positive and finite", (double)cbo->alpha);
  PetscCheck(cbo->tolerance >= 0.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-cbo_kick %g: must not be negative", (double)cbo->tolerance);
  analysis->needs.least   = 2;
  analysis->needs.points  = N;
  analysis->needs.vectors = 2;
  PetscCall(PetscMalloc3(N, &cbo->weight, N, &cbo->distance, N, &cbo->status));
  PetscCall(PetscMalloc2(analysis->n, &cbo->consensus, analysis->n, &cbo->before));
  for (PetscInt i = 0; i < analysis->n; i++) cbo->consensus[i] = (PetscReal)NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalCbo *cbo = (KalCbo *)analysis->data;

  PetscFunctionBeginUser;
  PetscCheck(analysis->prior, analysis->comm, PETSC_ERR_ORDER, "cbo needs the prior's spread: call KalAnalysisSetPrior()");
  cbo->cycle = cycle;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitLosses(void *ctx, const KalRows *rows, PetscReal *sums)
{
  const KalTold *told = (const KalTold *)ctx;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsLosses(told->observations, told->batch, rows, sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* exp(-alpha (loss_j - least)), normalized; a loss is the mean a sample. */
static PetscErrorCode Weigh(KalAnalysis analysis, const KalTold *told)
{
  KalCbo        *cbo         = (KalCbo *)analysis->data;
  KalEnsemble    predictions = told->predictions;
  const PetscInt epoch       = cbo->cooled ? cbo->cycle / analysis->perepoch : 0;
  /* sigma <- sigma log2(e + 1)/log2(e + 2) and alpha <- 2 alpha after epoch e = 1, 2, ...; alpha no more than exp() tells apart */
  const PetscReal alpha = cbo->alpha * PetscPowReal(2.0, (PetscReal)PetscMin(epoch, 40));
  PetscReal      *loss, least = PETSC_MAX_REAL, sum = 0.0, mean = 0.0;

  PetscFunctionBeginUser;
  cbo->sigma = cbo->noise / PetscLog2Real(epoch + 2.0);
  PetscCall(PetscMalloc1(analysis->N, &loss));
  PetscCall(KalEnsembleSumRows(1, &predictions, VisitLosses, (void *)told, analysis->N, loss));
  cbo->active = 0;
  for (PetscInt j = 0; j < analysis->N; j++) {
    cbo->status[j] = told->status[j];
    if (cbo->status[j] == KAL_MEMBER_OK && !(loss[j] <= PETSC_MAX_REAL)) cbo->status[j] = KAL_MEMBER_NONFINITE; /* squares overflow sooner than predictions */
    loss[j] /= (PetscReal)PetscMax(1, told->batch->samples);
    if (cbo->status[j] != KAL_MEMBER_OK) continue;
    cbo->active++;
    least = PetscMin(least, loss[j]);
  }
  PetscCheck(cbo->active >= 2, analysis->comm, (PetscErrorCode)PETSC_ERR_CONV_FAILED, "The loss of %" PetscInt_FMT " of %" PetscInt_FMT " particles alone is finite in cycle %" PetscInt_FMT "; cbo needs 2: take a smaller -cbo_noise or -cbo_step", cbo->active, analysis->N, told->cycle + 1);
  for (PetscInt j = 0; j < analysis->N; j++) {
    cbo->weight[j] = cbo->status[j] == KAL_MEMBER_OK ? PetscExpReal(-alpha * (loss[j] - least)) : 0.0;
    sum += cbo->weight[j];
    mean += cbo->weight[j] > 0.0 ? cbo->weight[j] * loss[j] : 0.0;
  }
  for (PetscInt j = 0; j < analysis->N; j++) cbo->weight[j] /= sum;
  analysis->report.loss = mean / sum;
  PetscCall(PetscFree(loss));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The consensus of a block's rows, and with it the squared distances of the particles. */
static PetscErrorCode VisitConsensus(void *ctx, const KalRows *rows, PetscReal *sums)
{
  const KalAnalysis analysis = (KalAnalysis)ctx;
  KalCbo           *cbo      = (KalCbo *)analysis->data;
  PetscScalar      *v        = cbo->consensus + rows->first;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(v, rows->count));
  for (PetscInt j = 0; j < analysis->N; j++) {
    const PetscScalar *x = rows->x[0] + (size_t)j * (size_t)rows->ld[0];

    if (cbo->status[j] != KAL_MEMBER_OK) continue;
    for (PetscInt i = 0; i < rows->count; i++) v[i] += cbo->weight[j] * x[i];
  }
  for (PetscInt j = 0; j < analysis->N; j++) {
    const PetscScalar *x = rows->x[0] + (size_t)j * (size_t)rows->ld[0];

    for (PetscInt i = 0; cbo->status[j] == KAL_MEMBER_OK && i < rows->count; i++) {
      const PetscReal spread = analysis->prior[rows->first + i];

      if (spread > 0.0) sums[j] += PetscSqr((x[i] - v[i]) / spread); /* entries without a prior spread are the same in all particles */
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalCbo   *cbo = (KalCbo *)analysis->data;
  PetscBool still;

  PetscFunctionBeginUser;
  PetscCall(Weigh(analysis, told));
  PetscCall(PetscArraycpy(cbo->before, cbo->consensus, analysis->n));
  PetscCall(KalEnsembleSumRows(1, &analysis->ensemble, VisitConsensus, analysis, analysis->N, cbo->distance));
  PetscCall(KalEnsembleGatherBlocks(analysis->ensemble, cbo->consensus));
  for (PetscInt j = 0; j < analysis->N; j++) cbo->distance[j] = PetscSqrtReal(cbo->distance[j]);
  still = (PetscBool)(cbo->tolerance > 0.0 && cbo->before[0] == cbo->before[0]);
  for (PetscInt i = 0; still && i < analysis->n; i++) still = (PetscBool)(PetscAbsScalar(cbo->consensus[i] - cbo->before[i]) <= cbo->tolerance * analysis->prior[i]);
  cbo->kicked = still;
  cbo->time += cbo->step;
  analysis->report.step = cbo->step;
  analysis->report.time = cbo->time;
  *verdict              = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rows(KalAnalysis analysis, const KalRows *rows)
{
  KalCbo            *cbo   = (KalCbo *)analysis->data;
  const PetscScalar *v     = cbo->consensus + rows->first;
  const PetscReal   *sd    = analysis->prior + rows->first;
  const PetscReal    noise = cbo->sigma * PetscSqrtReal(cbo->step), pull = cbo->drift * cbo->step;
  KalKey             key = {analysis->seed, KAL_DRAW_DIFFUSION, cbo->cycle, 0};
  PetscInt           most;

  PetscFunctionBeginUser;
  if (!cbo->z) {
    PetscCall(KalEnsembleGetBlocks(analysis->ensemble, &most, NULL));
    PetscCall(PetscMalloc1(2 * (size_t)most, &cbo->z));
  }
  for (key.member = 0; key.member < analysis->N; key.member++) {
    PetscScalar *x    = rows->x[0] + (size_t)key.member * (size_t)rows->ld[0];
    KalKey       kick = key;

    if (cbo->status[key.member] != KAL_MEMBER_OK) continue;
    PetscCall(KalDrawNormal(key, rows->first, rows->count, cbo->z));
    kick.member += analysis->N;
    if (cbo->kicked) PetscCall(KalDrawNormal(kick, rows->first, rows->count, cbo->z + rows->count));
    for (PetscInt i = 0; i < rows->count; i++) {
      const PetscScalar d = x[i] - v[i];

      x[i] += -pull * d + noise * (cbo->isotropic ? cbo->distance[key.member] * sd[i] : PetscAbsScalar(d)) * cbo->z[i];
      if (cbo->kicked) x[i] += noise * sd[i] * cbo->z[rows->count + i];
    }
  }
  PetscCall(KalTransformRecoverRows(analysis, cbo->cycle, analysis->N, cbo->status, cbo->active, rows->count, rows->x[0], rows->ld[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalCbo *cbo = (KalCbo *)analysis->data;

  PetscFunctionBeginUser;
  arrays[0] = (KalArray){.name = "consensus", .meaning = "weighted mean of the particles before the last step", .count = analysis->n, .data = cbo->consensus};
  arrays[1] = (KalArray){.name = "time", .meaning = "sum of the steps", .count = 1, .data = &cbo->time};
  *count    = 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalCbo *cbo = (const KalCbo *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  step %g, drift %g, %s noise %g, alpha %g%s\n", (double)cbo->step, (double)cbo->drift, cbo->isotropic ? "isotropic" : "anisotropic", (double)cbo->noise, (double)cbo->alpha, cbo->cooled ? ", cooled by epochs" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalCbo *cbo = (KalCbo *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree3(cbo->weight, cbo->distance, cbo->status));
  PetscCall(PetscFree2(cbo->consensus, cbo->before));
  PetscCall(PetscFree(cbo->z));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISCBO = "cbo" - Consensus-based optimization, the baseline that is not a Kalman method

   With E_j the loss of particle v_j, a mean a sample,

     v* = sum_j w_j v_j/sum_j w_j,  w_j = exp(-alpha (E_j - min E)),   v_j <- v_j - lambda dt (v_j - v*) + sigma sqrt(dt) D_j z_j,

   D_j = diag |v_j - v*| (anisotropic), or the length of v_j - v* times the identity (isotropic). If v* stands still, particles are kicked: v_j <- v_j + sigma sqrt(dt) z_j. Cooling after
   epoch e = 1, 2, ...: sigma <- sigma log2(e + 1)/log2(e + 2), alpha <- 2 alpha. Pinnau, Totzeck, Tse and Martin 2017; Carrillo, Jin, Li and Zhu, A consensus-based global
   optimization method for high dimensional machine learning problems, ESAIM: COCV 27 (2021); Riedl, Klock, Geldhauser and Fornasier, Gradient is all you need?,
   arXiv 2306.09778, whose public code the scheme and its constants were read in.

   Options Database Keys:
+  -cbo_step <0.1> - dt
.  -cbo_drift <1> - lambda
.  -cbo_noise <sqrt(0.4)> - sigma
.  -cbo_alpha <50> - alpha
.  -cbo_cooling <true> - cooling by epochs
.  -cbo_kick <1e-5> - largest move of an entry of v*, times the prior's standard deviation, that counts as standing still; 0: no kicks
-  -cbo_isotropic <false> - isotropic noise

   Notes:
   Lengths and kicks are in units of the prior's standard deviations, where the papers' are plain. All particles are moved, and weigh, in each cycle. What is scored is the
   particles' mean; the consensus is in the snapshot (analysis/consensus). Any loss. It costs the losses, one sum over the rows, and n numbers to every rank.

.seealso: KALANALYSISHABER, KALANALYSISEKI
M*/
PetscErrorCode KalAnalysisCreate_CBO(KalAnalysis analysis)
{
  KalCbo *cbo;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&cbo));
  cbo->step                    = 0.1;
  cbo->drift                   = 1.0;
  cbo->noise                   = PetscSqrtReal(0.4);
  cbo->alpha                   = 50.0;
  cbo->tolerance               = 1e-5;
  cbo->cooled                  = PETSC_TRUE;
  analysis->data               = cbo;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.begin          = Begin;
  analysis->ops.tell           = Tell;
  analysis->ops.rows           = Rows;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
