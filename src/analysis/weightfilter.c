/* A Kalman filter of a network's parameters, with a covariance for each group of them: weightfilter.h. */
#include "weightfilter.h"

#define KAL_MOST_COVARIANCE 100000000 /* numbers of all covariances */
#define KAL_LEAST_WEIGHT    1e-12     /* of a class: what its root divides by must not vanish */

PetscErrorCode KalWeightFilterSetFromOptions(KalWeightFilter *filter, KalOptionItems PetscOptionsObject)
{
  PetscEnum noise = (PetscEnum)filter->noiseschedule, process = (PetscEnum)filter->processschedule;
  char      option[64];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_variance", filter->name));
  PetscCall(PetscOptionsReal(option, "Variance of the parameters before the first batch", NULL, filter->variance, &filter->variance, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_noise", filter->name));
  PetscCall(PetscOptionsReal(option, "Variance of the observations, times that of the loss", NULL, filter->noise, &filter->noise, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_noise_schedule", filter->name));
  PetscCall(PetscOptionsEnum(option, "How it falls to its final value", NULL, KalSchedules, noise, &noise, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_noise_final", filter->name));
  PetscCall(PetscOptionsReal(option, "Its final value", NULL, filter->noisefinal, &filter->noisefinal, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_process", filter->name));
  PetscCall(PetscOptionsReal(option, "Variance added to the parameters in each cycle", NULL, filter->process, &filter->process, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_process_schedule", filter->name));
  PetscCall(PetscOptionsEnum(option, "How it falls to its final value", NULL, KalSchedules, process, &process, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_process_final", filter->name));
  PetscCall(PetscOptionsReal(option, "Its final value", NULL, filter->processfinal, &filter->processfinal, NULL));
  filter->noiseschedule   = (KalSchedule)noise;
  filter->processschedule = (KalSchedule)process;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckOptions(KalAnalysis analysis, const KalWeightFilter *filter)
{
  char what[128];

  PetscFunctionBeginUser;
  PetscCheck(analysis->N == 1, analysis->comm, PETSC_ERR_ARG_INCOMP, "-ensemble_size %" PetscInt_FMT ": %s has one network and its covariance; use -ensemble_size 1", analysis->N, filter->name);
  PetscCheck(filter->variance > 0.0 && !PetscIsInfOrNanReal(filter->variance), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_variance %g: must be positive and finite", filter->name, (double)filter->variance);
  PetscCheck(filter->noise > 0.0 && !PetscIsInfOrNanReal(filter->noise), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_noise %g: must be positive and finite", filter->name, (double)filter->noise);
  PetscCheck(filter->process >= 0.0 && !PetscIsInfOrNanReal(filter->process), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_process %g: must not be negative", filter->name, (double)filter->process);
  PetscCall(PetscSNPrintf(what, sizeof what, "%s_noise", filter->name));
  PetscCall(KalScheduleCheck(analysis, what, filter->noiseschedule, filter->noisefinal));
  PetscCheck(filter->noiseschedule == KAL_SCHEDULE_CONSTANT || filter->noisefinal > 0.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_noise_final %g: must be positive", filter->name, (double)filter->noisefinal);
  PetscCall(PetscSNPrintf(what, sizeof what, "%s_process", filter->name));
  PetscCall(KalScheduleCheck(analysis, what, filter->processschedule, filter->processfinal));
  PetscCall(PetscSNPrintf(what, sizeof what, "%s_noise_schedule or -%s_process_schedule", filter->name, filter->name));
  PetscCall(KalScheduleNone(analysis, (PetscBool)(filter->noiseschedule || filter->processschedule), what));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* After the groups are known. */
PetscErrorCode KalWeightFilterSetUp(KalAnalysis analysis, KalWeightFilter *filter)
{
  PetscInt64 numbers = 0;

  PetscFunctionBeginUser;
  PetscCall(CheckOptions(analysis, filter));
  PetscCall(PetscMalloc1(filter->groups + 1, &filter->covariance));
  for (PetscInt i = 0; i <= filter->groups; i++) {
    PetscCheck(numbers <= KAL_MOST_COVARIANCE, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "The covariances of %s would have more than %d numbers: take smaller layers%s", filter->name, KAL_MOST_COVARIANCE, filter->groups == 1 ? ", or dekf" : "");
    filter->covariance[i] = (PetscInt)numbers;
    if (i < filter->groups) numbers += (PetscInt64)(filter->start[i + 1] - filter->start[i]) * (filter->start[i + 1] - filter->start[i]);
  }
  PetscCall(PetscMalloc2(filter->covariance[filter->groups], &filter->P, analysis->n, &filter->increment));
  analysis->needs.least   = 1;
  analysis->needs.points  = 1;
  analysis->needs.adjoint = PETSC_TRUE;
  analysis->needs.untimed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  const KalWeightFilter *filter = (const KalWeightFilter *)analysis->data;
  PetscInt               samples, outputs;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetCycle(observations, &samples, NULL));
  PetscCall(KalObservationsGetSizes(observations, KAL_SET_TRAIN, NULL, NULL, &outputs));
  PetscCheck((PetscInt64)samples * outputs <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "A batch of %" PetscInt_FMT " samples of %" PetscInt_FMT " outputs makes a system of more than %d unknowns; choose a smaller -observations_batch", samples, outputs, KAL_MOST_SYSTEM);
  analysis->needs.work = 8.0 * (filter->covariance[filter->groups] + 3.0 * analysis->n * samples * outputs); /* covariances; the Jacobian, its copy and P times it */
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Covariances begin as multiples of the identity. */
static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalWeightFilter *filter = (KalWeightFilter *)analysis->data;

  PetscFunctionBeginUser;
  if (cycle) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscArrayzero(filter->P, filter->covariance[filter->groups]));
  for (PetscInt i = 0; i < filter->groups; i++) {
    const PetscInt m = filter->start[i + 1] - filter->start[i];

    for (PetscInt k = 0; k < m; k++) filter->P[filter->covariance[i] + k * (m + 1)] = filter->variance;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  PetscFunctionBeginUser;
  (void)analysis;
  ask->derivatives = KAL_DERIVATIVES_PREDICTIONS;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reserve(KalAnalysis analysis, KalWeightFilter *filter, PetscInt p, PetscInt samples)
{
  const size_t np = (size_t)analysis->n * (size_t)p;

  PetscFunctionBeginUser;
  if (p <= filter->room) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree7(filter->A, filter->B, filter->S, filter->r, filter->d, filter->v, filter->losses));
  PetscCall(PetscMalloc7(np, &filter->A, np, &filter->B, (size_t)p * (size_t)p, &filter->S, p, &filter->r, p, &filter->d, p, &filter->v, samples, &filter->losses));
  filter->room = p;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rows of the Jacobian H (n x p) in the order of the groups, whitened by the loss's weight; r becomes the whitened residual. */
static void Whiten(const KalWeightFilter *filter, PetscInt n, PetscInt samples, PetscInt outputs, PetscReal noise, const PetscReal *H)
{
  const PetscReal scale = 1.0 / PetscSqrtReal(noise);

  for (PetscInt s = 0; s < samples; s++) {
    const PetscInt   at = s * outputs;
    const PetscReal *v = filter->v + at, *h = H + (size_t)at * (size_t)n;
    PetscReal       *a    = filter->A + (size_t)at * (size_t)n;
    PetscBool        mean = PETSC_FALSE;

    for (PetscInt k = 0; k < outputs; k++) {
      const PetscReal root = PetscSqrtReal(PetscMax(filter->d[at + k], KAL_LEAST_WEIGHT)) * scale;

      mean              = (PetscBool)(mean || v[k] != 0.0);
      filter->r[at + k] = -filter->r[at + k] * scale * scale / root;
      filter->d[at + k] = root;
    }
    for (PetscInt i = 0; i < n; i++) {
      const PetscInt e   = filter->entry[i];
      PetscReal      sum = 0.0;

      for (PetscInt k = 0; mean && k < outputs; k++) sum += v[k] * h[e + (size_t)k * (size_t)n];
      for (PetscInt k = 0; k < outputs; k++) a[i + (size_t)k * (size_t)n] = filter->d[at + k] * (h[e + (size_t)k * (size_t)n] - sum);
    }
  }
}

/* S = I + sum over groups of A_i'P_i A_i = L L', B_i = P_i A_i L'^-1, r <- L^-1 r; only the lower triangle of S is meant. */
static PetscErrorCode Factor(KalAnalysis analysis, const KalWeightFilter *filter, PetscInt count)
{
  const PetscReal one = 1.0, zero = 0.0;
  PetscBLASInt    n, p, info, unit = 1;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(analysis->n, &n));
  PetscCall(PetscBLASIntCast(count, &p));
  PetscCall(PetscArrayzero(filter->S, (size_t)count * (size_t)count));
  for (PetscInt k = 0; k < count; k++) filter->S[(size_t)k * ((size_t)count + 1)] = 1.0;
  for (PetscInt i = 0; i < filter->groups; i++) {
    const PetscInt   first = filter->start[i];
    const PetscReal *A = filter->A + first, *P = filter->P + filter->covariance[i];
    PetscReal       *B = filter->B + first;
    PetscBLASInt     m;

    PetscCall(PetscBLASIntCast(filter->start[i + 1] - first, &m));
    PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &m, &p, &m, &one, P, &m, A, &n, &zero, B, &n));
    PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &p, &p, &m, &one, A, &n, B, &n, &one, filter->S, &p));
  }
  PetscCallBLAS("LAPACKpotrf", LAPACKpotrf_("L", &p, filter->S, &p, &info));
  PetscCheck(!info, analysis->comm, (PetscErrorCode)PETSC_ERR_CONV_FAILED, "The innovations' covariance of %s is not positive definite (LAPACK says %d): the covariance has become too large, take a larger -%s_noise or a smaller -%s_process", filter->name, (int)info, filter->name, filter->name);
  PetscCallBLAS("BLAStrsm", BLAStrsm_("R", "L", "T", "N", &n, &p, &one, filter->S, &p, filter->B, &n));
  PetscCallBLAS("BLAStrsm", BLAStrsm_("L", "L", "N", "N", &p, &unit, &one, filter->S, &p, filter->r, &p));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The upper triangle becomes that of the lower, in squares that stay in the cache. */
static void Mirror(PetscInt size, PetscReal *P)
{
  const PetscInt tile = 32;

  for (PetscInt left = 0; left < size; left += tile) {
    for (PetscInt top = left; top < size; top += tile) {
      for (PetscInt j = left; j < PetscMin(size, left + tile); j++) {
        for (PetscInt i = PetscMax(j + 1, top); i < PetscMin(size, top + tile); i++) P[j + (size_t)i * (size_t)size] = P[i + (size_t)j * (size_t)size];
      }
    }
  }
}

/* w_i <- w_i + B_i r, P_i <- P_i - B_i B_i' + q I: a symmetric product, so that P stays so to the bit. */
static PetscErrorCode Correct(KalAnalysis analysis, const KalWeightFilter *filter, PetscInt count, PetscReal process)
{
  const PetscReal one = 1.0, minus = -1.0;
  PetscBLASInt    n, p;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(analysis->n, &n));
  PetscCall(PetscBLASIntCast(count, &p));
  for (PetscInt i = 0; i < filter->groups; i++) {
    const PetscInt size = filter->start[i + 1] - filter->start[i];
    PetscReal     *P = filter->P + filter->covariance[i], *B = filter->B + filter->start[i];
    PetscBLASInt   m;

    PetscCall(PetscBLASIntCast(size, &m));
    PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "N", &m, &p, &minus, B, &n, &one, P, &m));
    for (PetscInt k = 0; k < size; k++) P[(size_t)k * ((size_t)size + 1)] += process;
    Mirror(size, P);
  }
  for (PetscInt i = 0; i < analysis->n; i++) {
    PetscReal sum = 0.0;

    for (PetscInt k = 0; k < count; k++) sum += filter->B[i + (size_t)k * (size_t)analysis->n] * filter->r[k];
    filter->increment[filter->entry[i]] = sum;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where ranks run different BLAS kernels, rank 0's numbers hold. */
static PetscErrorCode Agree(KalAnalysis analysis, const KalWeightFilter *filter)
{
  const PetscInt numbers = filter->covariance[filter->groups];

  PetscFunctionBeginUser;
  PetscCall(KalFromFirst(analysis, (size_t)numbers, filter->P));
  PetscCall(KalFromFirst(analysis, (size_t)analysis->n, filter->increment));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalWeightFilter   *filter  = (KalWeightFilter *)analysis->data;
  const PetscInt     samples = told->batch->samples, outputs = told->batch->outputs, p = samples * outputs;
  const PetscReal    noise   = KalScheduled(analysis, filter->noiseschedule, filter->noise, filter->noisefinal, told->cycle);
  const PetscReal    process = KalScheduled(analysis, filter->processschedule, filter->process, filter->processfinal, told->cycle);
  const PetscScalar *predicted;
  PetscReal          loss = 0.0;

  PetscFunctionBeginUser;
  PetscCall(Reserve(analysis, filter, p, samples));
  PetscCall(KalEnsembleGetMean(told->predictions, &predicted)); /* of one network: its own, on every rank */
  PetscCall(KalObservationsLinearize(told->observations, told->batch, 0, samples, predicted, filter->r, filter->d, filter->v, filter->losses));
  for (PetscInt s = 0; s < samples; s++) loss += filter->losses[s];
  PetscCall(KalEnsembleGatherRows(told->derivatives, filter->B));
  Whiten(filter, analysis->n, samples, outputs, noise, filter->B);
  PetscCall(Factor(analysis, filter, p));
  PetscCall(Correct(analysis, filter, p, process));
  PetscCall(Agree(analysis, filter));
  filter->time += 1.0;
  analysis->report.loss = loss / samples;
  analysis->report.step = 1.0;
  analysis->report.time = filter->time;
  *verdict              = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rows(KalAnalysis analysis, const KalRows *rows)
{
  const KalWeightFilter *filter = (const KalWeightFilter *)analysis->data;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < rows->count; i++) rows->x[0][i] += filter->increment[rows->first + i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalWeightFilter *filter = (KalWeightFilter *)analysis->data;

  PetscFunctionBeginUser;
  arrays[0] = (KalArray){.name = "covariance", .meaning = "covariance of the parameters, of group after group", .count = filter->covariance[filter->groups], .data = filter->P};
  arrays[1] = (KalArray){.name = "time", .meaning = "batches assimilated", .count = 1, .data = &filter->time};
  *count    = 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalWeightFilterView(const KalWeightFilter *filter, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt_FMT " groups of parameters, variance %g, noise %g (%s), process %g (%s)\n", filter->groups, (double)filter->variance, (double)filter->noise, KalSchedules[filter->noiseschedule], (double)filter->process, KalSchedules[filter->processschedule]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalWeightFilterDestroy(KalWeightFilter *filter)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(filter->start, filter->entry));
  PetscCall(PetscFree(filter->covariance));
  PetscCall(PetscFree2(filter->P, filter->increment));
  PetscCall(PetscFree7(filter->A, filter->B, filter->S, filter->r, filter->d, filter->v, filter->losses));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Defaults, and the operations that do not differ; `filter` is, or begins, the data of the method. */
PetscErrorCode KalWeightFilterCreate(KalAnalysis analysis, const char *name, KalWeightFilter *filter)
{
  PetscFunctionBeginUser;
  filter->name         = name;
  filter->variance     = 100.0;
  filter->noise        = 1.0;
  filter->noisefinal   = 1.0;
  analysis->data       = filter;
  analysis->takes      = KAL_TAKES_SCHEDULE;
  analysis->ops.check  = Check;
  analysis->ops.begin  = Begin;
  analysis->ops.ask    = Ask;
  analysis->ops.tell   = Tell;
  analysis->ops.rows   = Rows;
  analysis->ops.arrays = Arrays;
  PetscFunctionReturn(PETSC_SUCCESS);
}
