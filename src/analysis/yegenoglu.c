/* The sequential ensemble Kalman filter for networks: the samples of a mini-batch one after the other, the batch several times. */
#include "correction.h"

#define KAL_SEQUENTIAL_MOST (1 << 27) /* numbers of the predictions, which every rank holds */

typedef struct {
  PetscInt      repetitions;
  PetscBool     refresh;
  PetscInt      step, least, first; /* of the ensemble's size; step 0: it is fixed */
  PetscInt      fewest;             /* repetitions at least, one fewer with each change of the size; 0: they stay */
  PetscReal     above;              /* accuracy from which on the size follows it */
  KalCorrection correction;         /* of sampling errors: its options */
  /* state: survives a restart */
  PetscReal time;
  PetscReal state[3]; /* members that take part, the first ones; accuracy of the last score, -1: none; changes of the size */
  /* of the cycle in hand */
  PetscInt       cycle, repetition, presented, active; /* presented: number of the presentation, over all cycles */
  KalStatus     *status;
  PetscReal     *T;
  PetscInt       before;  /* members that took part before a change */
  KalCorrection *samples; /* count: of each sample, where correlations are corrected */
  PetscInt       count;
} KalSequential;

enum {
  KAL_STATE_SIZE     = 0,
  KAL_STATE_ACCURACY = 1,
  KAL_STATE_CHANGES  = 2,
};

static PetscInt Size(const KalSequential *seq)
{
  return (PetscInt)seq->state[KAL_STATE_SIZE];
}

static PetscInt Repetitions(const KalSequential *seq)
{
  return seq->fewest ? PetscMax(seq->fewest, seq->repetitions - (PetscInt)seq->state[KAL_STATE_CHANGES]) : seq->repetitions;
}

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalSequential *seq = (KalSequential *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsInt("-yegenoglu_repetitions", "How many times a mini-batch is presented", NULL, seq->repetitions, &seq->repetitions, NULL));
  PetscCall(PetscOptionsBool("-yegenoglu_refresh", "Predictions of a sample are those after the updates by the samples before it, to first order", NULL, seq->refresh, &seq->refresh, NULL));
  PetscCall(PetscOptionsInt("-yegenoglu_size_step", "Members that the ensemble grows or shrinks by where the accuracy rises or falls (0: its size is fixed)", NULL, seq->step, &seq->step, NULL));
  PetscCall(PetscOptionsInt("-yegenoglu_size_least", "Members that it keeps at least", NULL, seq->least, &seq->least, NULL));
  PetscCall(PetscOptionsInt("-yegenoglu_size_first", "Members that it begins with (0: all)", NULL, seq->first, &seq->first, NULL));
  PetscCall(PetscOptionsInt("-yegenoglu_repetitions_least", "Repetitions that are kept at least, where one less is made with each change of the size (0: they stay)", NULL, seq->fewest, &seq->fewest, NULL));
  PetscCall(PetscOptionsReal("-yegenoglu_size_accuracy", "Accuracy above which the size follows it", NULL, seq->above, &seq->above, NULL));
  PetscCall(KalCorrectionSetFromOptions("yegenoglu", &seq->correction, PetscOptionsObject));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckSizes(KalAnalysis analysis, KalSequential *seq)
{
  const PetscInt N = analysis->N;

  PetscFunctionBeginUser;
  PetscCheck(seq->step >= 0 && seq->step <= N, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-yegenoglu_size_step %" PetscInt_FMT ": must be from 0 to -ensemble_size %" PetscInt_FMT, seq->step, N);
  PetscCheck(seq->step || (seq->first == 0 && seq->least == 2), analysis->comm, PETSC_ERR_ARG_INCOMP, "-yegenoglu_size_first and -yegenoglu_size_least are of an ensemble whose size changes: give -yegenoglu_size_step, or leave them out");
  PetscCheck(seq->least >= 2 && seq->least <= N, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-yegenoglu_size_least %" PetscInt_FMT ": must be from 2 to -ensemble_size %" PetscInt_FMT ", which is the most", seq->least, N);
  PetscCheck(seq->first == 0 || (seq->first >= seq->least && seq->first <= N), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-yegenoglu_size_first %" PetscInt_FMT ": must be from -yegenoglu_size_least %" PetscInt_FMT " to -ensemble_size %" PetscInt_FMT, seq->first, seq->least, N);
  PetscCheck(seq->fewest >= 0 && seq->fewest <= seq->repetitions, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-yegenoglu_repetitions_least %" PetscInt_FMT ": must be from 0 to -yegenoglu_repetitions %" PetscInt_FMT, seq->fewest, seq->repetitions);
  PetscCheck(seq->step || !seq->fewest, analysis->comm, PETSC_ERR_ARG_INCOMP, "-yegenoglu_repetitions_least: repetitions become fewer where the ensemble's size changes: give -yegenoglu_size_step, or leave it out");
  PetscCheck(seq->above >= 0.0 && seq->above < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-yegenoglu_size_accuracy %g: must be at least 0 and less than 1", (double)seq->above);
  seq->state[KAL_STATE_SIZE]     = seq->first ? seq->first : N;
  seq->state[KAL_STATE_ACCURACY] = -1.0;
  analysis->needs.scored         = (PetscBool)(seq->step > 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each sample's update is one of its own then, and no N x N transform holds them all. */
static PetscErrorCode CheckCorrection(KalAnalysis analysis, const KalSequential *seq)
{
  const KalCorrect type = seq->correction.type;

  PetscFunctionBeginUser;
  PetscCheck(type == KAL_CORRECT_NONE || !seq->refresh, analysis->comm, PETSC_ERR_ARG_INCOMP, "-yegenoglu_refresh: predictions follow updates that are one transform of the members, and with -yegenoglu_correction %s they are none; leave one of them out", KalCorrects[type]);
  PetscCheck(type != KAL_CORRECT_NICE, analysis->comm, PETSC_ERR_ARG_INCOMP, "-yegenoglu_correction nice chooses by all correlations with a batch at once, and yegenoglu takes its samples one after the other; take sec, sec-fisher or dropout");
  PetscCall(KalCorrectionSetUp(analysis, "yegenoglu", &seq->correction));
  PetscCheck(!seq->step || seq->least >= analysis->needs.least, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-yegenoglu_size_least %" PetscInt_FMT ": must be at least %" PetscInt_FMT " with -yegenoglu_correction %s", seq->least, analysis->needs.least, KalCorrects[type]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalSequential *seq = (KalSequential *)analysis->data;
  const PetscInt N   = analysis->N;

  PetscFunctionBeginUser;
  PetscCheck(seq->repetitions >= 1 && seq->repetitions <= 10000, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-yegenoglu_repetitions %" PetscInt_FMT ": must be from 1 to 10000", seq->repetitions);
  PetscCheck(N <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_size %" PetscInt_FMT " is too large: yegenoglu makes N x N weights, for at most %d members", N, KAL_MOST_SYSTEM);
  PetscCall(CheckSizes(analysis, seq));
  analysis->needs.least = 2;
  PetscCall(CheckCorrection(analysis, seq));
  analysis->space          = KAL_SPACE_ENSEMBLE; /* the samples are taken out of what is gathered */
  analysis->needs.points   = N;
  analysis->needs.gathered = seq->correction.type == KAL_CORRECT_NONE ? 1 : 3;
  PetscCall(PetscMalloc2(N, &seq->status, (size_t)N * N, &seq->T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  KalSequential *seq = (KalSequential *)analysis->data;
  KalLossType    loss;
  PetscBool      timed, labels;
  PetscInt       samples, outputs;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsIsTimed(observations, &timed));
  PetscCheck(!timed, analysis->comm, PETSC_ERR_ARG_INCOMP, "yegenoglu goes over the samples of a data set; for observations in time use -analysis_type ensrf, which takes them one after the other too");
  PetscCall(KalObservationsGetLoss(observations, &loss, NULL, NULL));
  PetscCheck(loss == KAL_LOSS_SQUARED, analysis->comm, PETSC_ERR_ARG_INCOMP, "yegenoglu fits outputs to targets, those of classes one-hot, by least squares: use -observations_loss squared");
  if (analysis->needs.scored) {
    PetscCall(KalObservationsGetTargets(observations, KAL_SET_TRAIN, NULL, &labels));
    PetscCheck(labels, analysis->comm, PETSC_ERR_ARG_INCOMP, "-yegenoglu_size_step: the size follows the accuracy, and these data have no class labels; leave it out");
  }
  PetscCall(KalObservationsGetCycle(observations, &samples, NULL));
  PetscCall(KalObservationsGetSizes(observations, KAL_SET_TRAIN, NULL, NULL, &outputs));
  PetscCheck((PetscReal)samples * PetscMax(1, outputs) * analysis->N <= (PetscReal)KAL_SEQUENTIAL_MOST, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "yegenoglu holds the predictions of all members on each rank, and those of %" PetscInt_FMT " members for %" PetscInt_FMT " samples are more than %d numbers; choose a smaller -observations_batch", analysis->N, samples, KAL_SEQUENTIAL_MOST);
  PetscCall(KalCorrectionCheck(analysis, "yegenoglu", &seq->correction, outputs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalSequential *seq = (KalSequential *)analysis->data;

  PetscFunctionBeginUser;
  PetscCheck(cycle < PETSC_MAX_INT / seq->repetitions, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "Cycle %" PetscInt_FMT ": with %" PetscInt_FMT " repetitions yegenoglu can count no more than %" PetscInt_FMT, cycle + 1, seq->repetitions, PETSC_MAX_INT / seq->repetitions);
  PetscCheck(seq->step || Size(seq) == analysis->N, analysis->comm, PETSC_ERR_ARG_INCOMP, "-yegenoglu_size_step 0: only %" PetscInt_FMT " of %" PetscInt_FMT " members take part in the run that is gone on from; give -yegenoglu_size_step, as it did", Size(seq), analysis->N);
  seq->cycle      = cycle;
  seq->repetition = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  PetscFunctionBeginUser;
  ask->active = Size((const KalSequential *)analysis->data);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Work of a sample's update: its anomalies (c x N) and residual (c), the system (c x c) and what it is solved for. */
typedef struct {
  PetscInt   c, N, p, active;
  PetscReal  scale;
  PetscReal *a, *r, *M, *B, *x, *V, *moved;
} KalSample;

/* The sample's predictions after the updates before it: a T, whose mean over the members moves the residual. */
static PetscErrorCode Refresh(const KalInnovation *in, const PetscReal *T, KalSample *s)
{
  PetscFunctionBeginUser;
  PetscCall(KalMultiply("NN", s->c, s->N, s->N, 1.0, s->a, T, 0.0, s->moved));
  for (PetscInt i = 0; i < s->c; i++) {
    PetscReal mean = 0.0;

    for (PetscInt j = 0; j < s->N; j++) mean += in->status[j] == KAL_MEMBER_OK ? s->moved[i + (size_t)j * s->c] / s->active : 0.0;
    s->r[i] -= mean / s->scale;
    for (PetscInt j = 0; j < s->N; j++) s->a[i + (size_t)j * s->c] = in->status[j] == KAL_MEMBER_OK ? s->moved[i + (size_t)j * s->c] - mean : 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T <- T (I + scale a' (a a' + I)^{-1} (r 1' - a/scale)), of rank c: the stochastic update without perturbations. */
static PetscErrorCode Take(KalAnalysis analysis, const KalInnovation *in, PetscInt first, PetscBool refresh, PetscReal *T, KalSample *s)
{
  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < s->c; i++) s->r[i] = in->r[first + i];
  for (PetscInt j = 0; j < s->N; j++) PetscCall(PetscArraycpy(s->a + (size_t)j * s->c, in->A + first + (size_t)j * s->p, s->c));
  if (refresh) PetscCall(Refresh(in, T, s));
  PetscCall(KalMultiply("NT", s->c, s->c, s->N, 1.0, s->a, s->a, 0.0, s->M));
  for (PetscInt j = 0; j < s->N; j++) {
    for (PetscInt i = 0; i < s->c; i++) s->B[i + (size_t)j * s->c] = in->status[j] == KAL_MEMBER_OK ? s->r[i] - s->a[i + (size_t)j * s->c] / s->scale : 0.0;
  }
  PetscCall(KalSolve(analysis, KAL_SPACE_OBSERVATION, s->c, s->M, 1.0, NULL, s->N, s->B, s->x));
  PetscCall(KalMultiply("NT", s->N, s->c, s->N, 1.0, T, s->a, 0.0, s->V));
  PetscCall(KalMultiply("NN", s->N, s->N, s->c, s->scale, s->V, s->x, 1.0, T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Transform(KalAnalysis analysis, const KalTold *told, const KalInnovation *in)
{
  KalSequential *seq = (KalSequential *)analysis->data;
  const PetscInt N = Size(seq), c = told->batch->outputs; /* the others are behind these */
  KalSample      s = {.c = c, .N = N, .p = in->p, .active = in->active, .scale = in->scale};

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc7((size_t)c * N, &s.a, c, &s.r, (size_t)c * c, &s.M, (size_t)c * N, &s.B, (size_t)c * N, &s.x, (size_t)c * N, &s.V, (size_t)c * N, &s.moved));
  PetscCall(PetscArrayzero(seq->T, (size_t)N * N));
  for (PetscInt j = 0; j < N; j++) seq->T[j + (size_t)j * N] = in->status[j] == KAL_MEMBER_OK ? 1.0 : 0.0;
  for (PetscInt q = 0; q < told->batch->samples; q++) PetscCall(Take(analysis, in, q * c, (PetscBool)(seq->refresh && q > 0), seq->T, &s));
  PetscCall(KalFromFirst(analysis, (size_t)N * N, seq->T));
  PetscCall(KalTransformSet(analysis, N, in->status, seq->T));
  PetscCall(PetscFree7(s.a, s.r, s.M, s.B, s.x, s.V, s.moved));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FreeSamples(KalSequential *seq)
{
  PetscFunctionBeginUser;
  if (seq->count) KalCorrectionHand(&seq->samples[0], &seq->correction);
  for (PetscInt q = 0; q < seq->count; q++) PetscCall(KalCorrectionDestroy(&seq->samples[q]));
  PetscCall(PetscFree(seq->samples));
  seq->count = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the rows need of each sample: its anomalies, and what its corrected covariance with the members multiplies. */
static PetscErrorCode Corrections(KalAnalysis analysis, const KalTold *told, const KalInnovation *in)
{
  KalSequential *seq = (KalSequential *)analysis->data;
  const PetscInt N = Size(seq), c = told->batch->outputs;
  KalInnovation  sample = {.p = c, .N = N, .active = in->active, .scale = in->scale, .status = in->status};

  PetscFunctionBeginUser;
  PetscCall(FreeSamples(seq));
  PetscCall(PetscCalloc1(told->batch->samples, &seq->samples));
  PetscCall(PetscMalloc2((size_t)c * N, &sample.A, (size_t)c * N, &sample.R));
  for (seq->count = 0; seq->count < told->batch->samples; seq->count++) {
    KalCorrection *one   = &seq->samples[seq->count];
    const PetscInt first = seq->count * c;

    for (PetscInt j = 0; j < N; j++) {
      for (PetscInt i = 0; i < c; i++) {
        sample.A[i + (size_t)j * c] = in->A[first + i + (size_t)j * in->p];
        sample.R[i + (size_t)j * c] = in->status[j] == KAL_MEMBER_OK ? in->r[first + i] - sample.A[i + (size_t)j * c] / in->scale : 0.0;
      }
    }
    *one       = seq->correction;
    one->first = first;
    KalCorrectionHand(&seq->correction, one); /* to the first */
    PetscCall(KalCorrectionPrepare(analysis, told, &sample, seq->status, 1.0, 0.0, one));
    one->key.cycle = seq->presented;
  }
  PetscCall(PetscFree2(sample.A, sample.R));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members that take no part go to the mean of the first `size`, so that it is the mean of all, too. */
static PetscErrorCode Rest(const KalRows *rows, PetscInt size)
{
  PetscScalar *mean;

  PetscFunctionBeginUser;
  if (size == rows->members[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscCalloc1(rows->count, &mean));
  for (PetscInt j = 0; j < size; j++) {
    for (PetscInt i = 0; i < rows->count; i++) mean[i] += rows->x[0][i + (size_t)j * (size_t)rows->ld[0]];
  }
  for (PetscInt i = 0; i < rows->count; i++) mean[i] /= size;
  for (PetscInt j = size; j < rows->members[0]; j++) PetscCall(PetscArraycpy(rows->x[0] + (size_t)j * (size_t)rows->ld[0], mean, rows->count));
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rows(KalAnalysis analysis, const KalRows *rows)
{
  const KalSequential *seq = (const KalSequential *)analysis->data;

  PetscFunctionBeginUser;
  for (PetscInt q = 0; q < seq->count; q++) {
    PetscCall(KalCorrectionRows(analysis, &seq->samples[q], rows));
    if (seq->count > 1) KalCorrectionHand(&seq->samples[q], &seq->samples[(q + 1) % seq->count]);
  }
  if (!seq->count) PetscCall(KalTransformRows(analysis, rows->count, seq->status, rows->x[0], rows->ld[0], rows->x[0], rows->ld[0]));
  PetscCall(KalTransformRecoverRows(analysis, seq->presented, Size(seq), seq->status, seq->active, rows->count, rows->x[0], rows->ld[0]));
  PetscCall(Rest(rows, Size(seq)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members that join: draws from the Gaussian of those before, mean + sum over these of (x_k - mean) z_k/sqrt(before - 1). */
static PetscErrorCode VisitResize(void *ctx, const KalRows *rows)
{
  const KalAnalysis    analysis = (KalAnalysis)ctx;
  const KalSequential *seq      = (const KalSequential *)analysis->data;
  const size_t         ld       = (size_t)rows->ld[0];
  KalKey               key      = {analysis->seed, KAL_DRAW_GROWTH, seq->cycle, 0};
  PetscScalar         *mean;
  PetscReal           *z;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(rows->count, &mean, seq->before, &z));
  for (PetscInt k = 0; k < seq->before; k++) {
    for (PetscInt i = 0; i < rows->count; i++) mean[i] += rows->x[0][i + (size_t)k * ld];
  }
  for (PetscInt i = 0; i < rows->count; i++) mean[i] /= seq->before;
  for (PetscInt j = seq->before; j < Size(seq); j++) {
    PetscScalar *x = rows->x[0] + (size_t)j * ld;

    key.member = j;
    PetscCall(KalDrawNormal(key, 0, seq->before, z));
    PetscCall(PetscArraycpy(x, mean, rows->count));
    for (PetscInt k = 0; k < seq->before; k++) {
      const PetscReal weight = z[k] / PetscSqrtReal(seq->before - 1.0);

      for (PetscInt i = 0; i < rows->count; i++) x[i] += weight * (rows->x[0][i + (size_t)k * ld] - mean[i]);
    }
  }
  PetscCall(PetscFree2(mean, z));
  PetscCall(Rest(rows, Size(seq)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The size follows the accuracy, from one score to the next, where that is good enough. */
static PetscErrorCode Score(KalAnalysis analysis, PetscInt cycle, const KalScore *score)
{
  KalSequential  *seq  = (KalSequential *)analysis->data;
  const PetscReal last = seq->state[KAL_STATE_ACCURACY];
  PetscInt        to   = Size(seq);

  PetscFunctionBeginUser;
  seq->state[KAL_STATE_ACCURACY] = score->accuracy;
  if (!seq->step || last < 0.0 || score->accuracy <= seq->above || score->accuracy == last) PetscFunctionReturn(PETSC_SUCCESS);
  seq->before = to;
  if (score->accuracy > last) to = PetscMin(analysis->N - seq->step, to) + seq->step;
  else to = PetscMax(seq->least + seq->step, to) - seq->step;
  if (to == seq->before) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscInfo(NULL, "yegenoglu: %" PetscInt_FMT " members take part after cycle %" PetscInt_FMT ", where the accuracy is %g\n", to, cycle, (double)score->accuracy));
  seq->cycle                 = cycle;
  seq->state[KAL_STATE_SIZE] = to;
  seq->state[KAL_STATE_CHANGES] += 1.0;
  PetscCall(KalEnsembleMapRows(1, &analysis->ensemble, VisitResize, analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitRows(void *ctx, const KalRows *rows)
{
  PetscFunctionBeginUser;
  PetscCall(Rows((KalAnalysis)ctx, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalSequential *seq = (KalSequential *)analysis->data;
  KalInnovation  in;

  PetscFunctionBeginUser;
  PetscCall(Check(analysis, told->observations));
  PetscCall(KalInnovationCreate(analysis, told, -1, 0.0, KAL_WANT_ANOMALIES, &in));
  PetscCheck(in.active >= 2, analysis->comm, (PetscErrorCode)PETSC_ERR_CONV_FAILED, "Only %" PetscInt_FMT " of %" PetscInt_FMT " members survived a repetition of cycle %" PetscInt_FMT "; yegenoglu needs at least 2: take a larger -observations_noise", in.active, in.N, told->cycle + 1);
  if (!seq->repetition) analysis->report.loss = in.loss / told->batch->samples;
  PetscCall(PetscArraycpy(seq->status, in.status, in.N));
  seq->active    = in.active;
  seq->presented = seq->cycle * seq->repetitions + seq->repetition++;
  if (seq->correction.type == KAL_CORRECT_NONE) PetscCall(Transform(analysis, told, &in));
  else PetscCall(Corrections(analysis, told, &in));
  PetscCall(KalInnovationDestroy(&in));
  seq->time += 1.0;
  analysis->report.step = Repetitions(seq);
  analysis->report.time = seq->time;
  *verdict              = KAL_VERDICT_ACCEPT;
  if (seq->repetition == Repetitions(seq)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleMapRows(1, &analysis->ensemble, VisitRows, analysis));
  *verdict = KAL_VERDICT_AGAIN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalSequential *seq = (KalSequential *)analysis->data;

  PetscFunctionBeginUser;
  arrays[0] = (KalArray){.name = "time", .meaning = "presentations of mini-batches", .count = 1, .data = &seq->time};
  arrays[1] = (KalArray){.name = "size", .meaning = "members that take part, the first ones; accuracy of the last score, -1: none", .count = 2, .data = seq->state};
  *count    = 2;
  if (!seq->fewest) PetscFunctionReturn(PETSC_SUCCESS);
  arrays[2] = (KalArray){.name = "changes", .meaning = "changes of the size, each of which takes a repetition away", .count = 1, .data = &seq->state[KAL_STATE_CHANGES]};
  *count    = 3;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalSequential *seq = (const KalSequential *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  each batch %" PetscInt_FMT " times, predictions %s\n", Repetitions(seq), seq->refresh ? "follow the updates within it" : "are those before it"));
  if (seq->step) PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt_FMT " members take part; %" PetscInt_FMT " more or fewer, from %" PetscInt_FMT " on, with the accuracy where it is above %g\n", Size(seq), seq->step, seq->least, (double)seq->above));
  if (seq->fewest) PetscCall(PetscViewerASCIIPrintf(viewer, "  one time less with each such change, down to %" PetscInt_FMT "\n", seq->fewest));
  if (seq->correction.type != KAL_CORRECT_NONE) PetscCall(PetscViewerASCIIPrintf(viewer, "  correlations corrected by %s\n", KalCorrects[seq->correction.type]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalSequential *seq = (KalSequential *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(FreeSamples(seq));
  PetscCall(KalCorrectionDestroy(&seq->correction));
  PetscCall(PetscFree2(seq->status, seq->T));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISYEGENOGLU = "yegenoglu" - The sequential ensemble Kalman filter for networks of Yegenoglu, Krajsek, Diaz Pier and Herty

   A mini-batch is presented several times. Each time all members predict it; then, for one sample q after the other, with C_gg = cov(g_q, g_q), C_ug = cov(u, g_q),

     u_j <- u_j + C_ug (C_gg + Gamma)^{-1} (y_q - g_qj),

   without perturbations, y_q one-hot for classes and g the plain outputs. Ensemble Kalman filter optimizing deep neural networks: an alternative approach to non-performing
   gradient descent, LOD 2020, whose public code the scheme was read in.

   Options Database Keys:
+  -yegenoglu_repetitions <8> - presentations of a mini-batch, all in one cycle
.  -yegenoglu_refresh <false> - g_qj follows the updates by the samples before q, to first order, as in a serial filter
.  -yegenoglu_size_step <0> - members that the ensemble grows by where the accuracy of the mean network rises from one score (-run_evaluate_every) to the next, and shrinks by where it falls; 0: none
.  -yegenoglu_repetitions_least <0> - with each change of the size one presentation less, down to so many; 0: they stay
.  -yegenoglu_size_least <2>, -yegenoglu_size_first <0> - members it has at least, and begins with (0: all); -ensemble_size is the most
.  -yegenoglu_size_accuracy <0.9> - accuracy above which the size follows it
-  -yegenoglu_correction <none> - correction of sampling errors in the correlations of C_ug and C_gg of each sample: sec (-yegenoglu_correction_exponent <1>, -yegenoglu_correction_cutoff <0>), sec-fisher, or dropout (-yegenoglu_correction_probability <0.9>); not with refreshed predictions

   Notes:
   In the paper's form, the default, u changes from sample to sample and g does not: the same differences between members count again for each sample, as if it were the
   only one. That is no Kalman filter of the batch, and its spread says nothing of uncertainty, but as an optimiser it takes long steps. With
   -yegenoglu_refresh a presentation is, for a linear model, that of deterministic eki for the samples in turn.

   Covariances have the divisor N - 1, the paper's N. Gamma is -observations_noise, 0.01 in the paper, with -observations_batch 64 and -ensemble_size 5000. The paper's ensemble
   grows and shrinks by 1000 between 1000 and 9000; in its code repetitions become fewer as well (-yegenoglu_repetitions_least 1). All updates of a presentation are one N x N transform, made on every rank from the
   predictions of all members, 4 N^2 c flops for a sample of c outputs. With -yegenoglu_correction each sample moves the rows by itself, 4 n N c/P flops.

   An ensemble whose size changes holds -ensemble_size members, of which the first ones take part; the others lie at the mean of these, are not run, and have the status KAL_MEMBER_IDLE. Those
   that join are draws from the Gaussian of those that are there, those that leave are the last. The ranks that hold the others wait while members are run, unless with -run_schedule dynamic.

.seealso: KALANALYSISEKI, KALANALYSISENSRF
M*/
PetscErrorCode KalAnalysisCreate_Yegenoglu(KalAnalysis analysis)
{
  KalSequential *seq;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&seq));
  seq->repetitions = 8;
  seq->least       = 2;
  seq->above       = 0.9;
  KalCorrectionDefaults(&seq->correction);
  analysis->data               = seq;
  analysis->takes              = KAL_TAKES_SOLVER;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = Tell;
  analysis->ops.score          = Score;
  analysis->ops.rows           = Rows;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
