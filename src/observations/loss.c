/* Losses: whitened anomalies and residuals for an analysis, losses of members, averaged predictions. */
#include "observationsimpl.h"

#include <ensemble/expreal.h>
#include <ensemble/wider.h>
#include <math.h>

/* Smallest probability in the weight of logits: keeps what is divided by its root finite. */
#define KAL_PROBABILITY_TINY 1e-12

static inline PetscReal CrossEntropy(PetscInt c, const PetscScalar *g, PetscInt label)
{
  PetscReal top = g[0], sum = 0.0;

  for (PetscInt k = 1; k < c; k++) top = PetscMax(top, g[k]);
  for (PetscInt k = 0; k < c; k++) sum += PetscExpReal(g[k] - top);
  return PetscLogReal(sum) + (top - g[label]);
}

/* A column of logits as probabilities, sample by sample. */
KAL_WIDER static void SoftmaxColumn(PetscInt count, PetscInt c, const PetscScalar *g, PetscScalar *restrict p)
{
  for (PetscInt i = 0; i < count; i += c) {
    PetscReal top = g[i];

    for (PetscInt k = i + 1; k < i + c; k++) top = g[k] > top ? g[k] : top;
    for (PetscInt k = i; k < i + c; k++) p[k] = g[k] - top;
  }
  for (PetscInt i = 0; i < count; i++) p[i] = KalExpReal(p[i]);
  for (PetscInt i = 0; i < count; i += c) {
    PetscReal sum = 0.0;

    for (PetscInt k = i; k < i + c; k++) sum += p[k];
    sum = 1.0 / sum;
    for (PetscInt k = i; k < i + c; k++) p[k] *= sum;
  }
}

/* a = (a - mean) factor, by entry */
KAL_WIDER static void Center(PetscInt rows, const PetscScalar *mean, const PetscReal *factor, PetscScalar *restrict a)
{
  for (PetscInt i = 0; i < rows; i++) a[i] = (a[i] - mean[i]) * factor[i];
}

/* r = (target - a) weight */
KAL_WIDER static void Residual(PetscInt rows, const PetscScalar *target, const PetscScalar *a, const PetscReal *weight, PetscScalar *restrict r)
{
  for (PetscInt i = 0; i < rows; i++) r[i] = (target[i] - a[i]) * weight[i];
}

/* a = (g - mean) factor */
KAL_WIDER static void Anomalies(PetscInt rows, const PetscScalar *g, const PetscScalar *mean, PetscReal factor, PetscScalar *restrict a)
{
  for (PetscInt i = 0; i < rows; i++) a[i] = (g[i] - mean[i]) * factor;
}

KAL_WIDER static void AddColumn(PetscInt rows, const PetscScalar *x, PetscScalar *restrict sum)
{
  for (PetscInt i = 0; i < rows; i++) sum[i] += x[i];
}

static inline const PetscScalar *Column(const KalRows *rows, PetscInt j)
{
  return rows->x[0] + (size_t)j * (size_t)rows->ld[0];
}

static inline PetscBool Takes(const KalStatus *status, PetscInt j)
{
  return !status || status[j] == KAL_MEMBER_OK ? PETSC_TRUE : PETSC_FALSE;
}

static PetscErrorCode Work(KalObservations obs, size_t count, PetscScalar **work)
{
  PetscFunctionBeginUser;
  if (count > obs->works) {
    obs->works = 0;
    PetscCall(PetscFree(obs->work));
    PetscCall(PetscMalloc1(count, &obs->work));
    obs->works = count;
  }
  *work = obs->work;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A block must hold whole samples, all of them in the batch. */
static PetscErrorCode CheckRows(const KalRows *rows, PetscInt outputs, PetscInt samples)
{
  PetscFunctionBeginUser;
  PetscCheck(rows->first >= 0 && rows->count >= 0 && rows->first % outputs == 0 && rows->count % outputs == 0, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "A block of %" PetscInt_FMT " predictions from %" PetscInt_FMT " on does not hold whole samples of %" PetscInt_FMT " outputs; set the ensemble's row group to the number of outputs", rows->count, rows->first, outputs);
  PetscCheck(samples < 0 || rows->first / outputs + rows->count / outputs <= samples, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "A block of %" PetscInt_FMT " predictions from %" PetscInt_FMT " on goes beyond the %" PetscInt_FMT " samples of the batch with %" PetscInt_FMT " outputs each", rows->count, rows->first, samples, outputs);
  PetscCheck(rows->ld[0] >= rows->count, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "Leading dimension %" PetscInt_FMT " is less than the %" PetscInt_FMT " rows of the block", rows->ld[0], rows->count);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckBatch(KalObservations obs, const KalBatch *batch)
{
  PetscFunctionBeginUser;
  PetscCheck(batch->outputs >= 1 && (obs->loss != KAL_LOSS_CROSS_ENTROPY || batch->label), PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "The batch has %" PetscInt_FMT " outputs and %s labels; the cross-entropy needs labels", batch->outputs, batch->label ? "its" : "no");
  PetscCheck(batch->target || !batch->samples, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "The batch has no targets; those of a twin come from KalObservationsTruth()");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The mean of the members that take part, summed in their order. */
static void MeanOfMembers(PetscInt rows, PetscInt members, const KalStatus *status, PetscInt active, const PetscScalar *x, size_t ld, PetscScalar *mean)
{
  for (PetscInt i = 0; i < rows; i++) mean[i] = 0.0;
  for (PetscInt j = 0; j < members; j++) {
    const PetscScalar *const column = x + (size_t)j * ld;

    if (Takes(status, j)) AddColumn(rows, column, mean);
  }
  for (PetscInt i = 0; i < rows; i++) mean[i] /= (PetscReal)active;
}

static void Zero(PetscInt rows, PetscScalar *column)
{
  for (PetscInt i = 0; i < rows; i++) column[i] = 0.0;
}

/* R = gamma I: everything is divided by sqrt(gamma). */
static void WhitenSquared(KalObservations obs, const PetscScalar *target, KalWhitening *w, PetscScalar *work)
{
  const PetscInt     rows = w->rows->count;
  const PetscReal    sd = PetscSqrtReal(obs->gamma), factor = w->scale / sd;
  PetscScalar *const mean = work;
  const PetscScalar *at;

  MeanOfMembers(rows, w->members, w->status, w->active, w->rows->x[0], (size_t)w->rows->ld[0], mean);
  at      = w->center >= 0 ? Column(w->rows, w->center) : mean;
  w->loss = 0.0;
  for (PetscInt i = 0; i < rows; i++) {
    w->residual[i] = (target[i] - at[i]) / sd;
    w->loss += 0.5 * w->residual[i] * w->residual[i];
  }
  for (PetscInt j = 0; j < w->members; j++) {
    const PetscScalar *const g = Column(w->rows, j);
    PetscScalar *const       a = w->anomalies + (size_t)j * (size_t)rows;
    PetscScalar *const       r = w->residuals ? w->residuals + (size_t)j * (size_t)rows : NULL;

    if (!Takes(w->status, j)) {
      Zero(rows, a);
      if (r) Zero(rows, r);
      continue;
    }
    Anomalies(rows, g, mean, factor, a);
    if (r)
      for (PetscInt i = 0; i < rows; i++) r[i] = (target[i] - g[i]) / sd;
  }
}

/* The loss at the mean prediction: by its logits where there are any, else by the averaged probabilities. */
static PetscReal MeanLoss(PetscInt rows, PetscInt c, const PetscInt *label, const PetscScalar *logits, const PetscScalar *p)
{
  PetscReal loss = 0.0;

  for (PetscInt i = 0, s = 0; i < rows; i += c, s++) {
    if (logits) loss += CrossEntropy(c, logits + i, label[s]);
    else loss -= KalLogProbability(p[i + label[s]]);
  }
  return loss;
}

/* Cross-entropy, linearized in probabilities: weight 1/Pbar, the Fisher information of a categorical distribution. */
static void WhitenProbabilities(KalObservations obs, const PetscScalar *target, const PetscInt *label, PetscInt c, KalWhitening *w, PetscScalar *work)
{
  const PetscInt     rows = w->rows->count;
  PetscScalar *const mean = work, *const weight = work + rows, *const at = work + 2 * (size_t)rows, *const factor = work + 3 * (size_t)rows;
  const PetscScalar *logits = w->center >= 0 ? Column(w->rows, w->center) : NULL;

  for (PetscInt j = 0; j < w->members; j++) { /* anomalies hold the probabilities until their mean is known */
    PetscScalar *const a = w->anomalies + (size_t)j * (size_t)rows;

    if (Takes(w->status, j)) SoftmaxColumn(rows, c, Column(w->rows, j), a);
    else Zero(rows, a);
  }
  MeanOfMembers(rows, w->members, w->status, w->active, w->anomalies, (size_t)rows, mean);
  if (logits) SoftmaxColumn(rows, c, logits, at);
  for (PetscInt i = 0; i < rows; i++) {
    weight[i]      = 1.0 / PetscSqrtReal(PetscMax(mean[i], obs->floor));
    factor[i]      = weight[i] * w->scale;
    w->residual[i] = (target[i] - (logits ? at[i] : mean[i])) * weight[i];
  }
  w->loss = MeanLoss(rows, c, label, logits, mean);
  for (PetscInt j = 0; j < w->members; j++) {
    PetscScalar *const a = w->anomalies + (size_t)j * (size_t)rows;
    PetscScalar *const r = w->residuals ? w->residuals + (size_t)j * (size_t)rows : NULL;

    if (!Takes(w->status, j)) {
      if (r) Zero(rows, r);
      continue;
    }
    if (r) Residual(rows, target, a, weight, r);
    Center(rows, mean, factor, a);
  }
}

/* Cross-entropy, linearized in logits: weight diag(p) - p p', of which q (e - p'e) with q = sqrt(p) is the root. */
static void WhitenLogits(const PetscScalar *target, const PetscInt *label, PetscInt c, KalWhitening *w, PetscScalar *work)
{
  const PetscInt     rows = w->rows->count;
  PetscScalar *const mean = work, *const q = work + rows, *const p = work + 2 * (size_t)rows, *const pj = work + 3 * (size_t)rows;
  const PetscScalar *logits;

  MeanOfMembers(rows, w->members, w->status, w->active, w->rows->x[0], (size_t)w->rows->ld[0], mean);
  logits = w->center >= 0 ? Column(w->rows, w->center) : mean;
  SoftmaxColumn(rows, c, logits, p);
  for (PetscInt i = 0; i < rows; i++) {
    q[i]           = PetscSqrtReal(PetscMax(p[i], KAL_PROBABILITY_TINY));
    w->residual[i] = (target[i] - p[i]) / q[i];
  }
  w->loss = MeanLoss(rows, c, label, logits, p);
  for (PetscInt j = 0; j < w->members; j++) {
    const PetscScalar *const g = Column(w->rows, j);
    PetscScalar *const       a = w->anomalies + (size_t)j * (size_t)rows;
    PetscScalar *const       r = w->residuals ? w->residuals + (size_t)j * (size_t)rows : NULL;

    if (!Takes(w->status, j)) {
      Zero(rows, a);
      if (r) Zero(rows, r);
      continue;
    }
    Anomalies(rows, g, mean, w->scale, a);
    for (PetscInt s = 0; s < rows; s += c) {
      PetscReal dot = 0.0;

      for (PetscInt k = s; k < s + c; k++) dot += p[k] * a[k];
      for (PetscInt k = s; k < s + c; k++) a[k] = q[k] * (a[k] - dot);
    }
    if (r) {
      SoftmaxColumn(rows, c, g, pj);
      for (PetscInt i = 0; i < rows; i++) r[i] = (target[i] - pj[i]) / q[i];
    }
  }
}

/* -log of the probability of a count y whose rate has the logarithm g */
static inline PetscReal Poisson(PetscReal y, PetscReal g)
{
  return PetscExpReal(g) - y * g + lgamma(y + 1.0);
}

/* Counts: weight rate, of which sqrt(rate) is the root. */
static void WhitenPoisson(const PetscScalar *target, KalWhitening *w, PetscScalar *work)
{
  const PetscInt     rows = w->rows->count;
  PetscScalar *const mean = work, *const q = work + rows, *const factor = work + 2 * (size_t)rows;
  const PetscScalar *at;

  MeanOfMembers(rows, w->members, w->status, w->active, w->rows->x[0], (size_t)w->rows->ld[0], mean);
  at      = w->center >= 0 ? Column(w->rows, w->center) : mean;
  w->loss = 0.0;
  for (PetscInt i = 0; i < rows; i++) {
    const PetscReal rate = KalExpReal(at[i]);

    q[i]           = PetscSqrtReal(PetscMax(rate, KAL_PROBABILITY_TINY));
    factor[i]      = q[i] * w->scale;
    w->residual[i] = (target[i] - rate) / q[i];
    w->loss += Poisson(target[i], at[i]);
  }
  for (PetscInt j = 0; j < w->members; j++) {
    const PetscScalar *const g = Column(w->rows, j);
    PetscScalar *const       a = w->anomalies + (size_t)j * (size_t)rows;
    PetscScalar *const       r = w->residuals ? w->residuals + (size_t)j * (size_t)rows : NULL;

    if (!Takes(w->status, j)) {
      Zero(rows, a);
      if (r) Zero(rows, r);
      continue;
    }
    for (PetscInt i = 0; i < rows; i++) a[i] = g[i];
    Center(rows, mean, factor, a);
    for (PetscInt i = 0; r && i < rows; i++) r[i] = (target[i] - KalExpReal(g[i])) / q[i];
  }
}

/*@
   KalObservationsWhiten - Makes predictions ready for an analysis: anomalies A and residuals r, whitened by the loss

   Not Collective

   Input Parameters:
+  obs - the observations, set up
.  batch - the samples that were predicted
-  whitening - its fields marked (in): a block of whole samples, rows->x[0] with members and maybe a center column, which
               is not changed; see KalWhitening

   Output Parameter:
.  whitening - its fields marked (out): anomalies (rows x members), residual (rows), residuals (rows x members, unless NULL),
               loss (summed over the block's samples). Columns of members that are not KAL_MEMBER_OK become zero, whatever
               they held.

   Notes:
   S = A'A and d = A'r are then what every ensemble Kalman update needs. Write g_j for the predictions of member j, gbar for
   their mean over the active members (always the center of the anomalies), gc for the center column or, without one, gbar.

   Squared loss: A_j = scale (g_j - gbar)/sqrt(gamma), r = (y - gc)/sqrt(gamma), r_j = (y - g_j)/sqrt(gamma); loss
   1/2 |y - gc|^2/gamma. Of observations in time each row has its own standard deviation in the place of sqrt(gamma):
   batch->error, or 1 where batch->root is set and the columns were whitened by it (KalObservationsWhitenColumn()).

   Background check (-observations_reject k, observations in time alone): a row with |y - gc| > k sqrt(error^2 + v), v the
   variance of the active members' g (divisor: active - 1), is left out: it is zero in A, r and r_j and adds nothing to the
   loss. Such rows are counted in `rejected`.

   Cross-entropy in probabilities, P = softmax(g): A_j = scale (P_j - Pbar)/q, r = (y - Pc)/q, r_j = (y - P_j)/q with y one-hot
   and q = sqrt(max(Pbar, floor)), Pc of the center column or Pbar; loss -log Pc[label]. 1/Pbar is the Fisher information of a
   categorical distribution; the floor keeps improbable classes from ruling the update.

   Cross-entropy in logits, p = softmax(gc), e_j = scale (g_j - gbar), q = sqrt(p): A_j = q (e_j - p'e_j),
   r = (y - p)/q, r_j = (y - softmax(g_j))/q; loss -log p[label]. Then A'A = E'(diag(p) - p p')E is the Gauss-Newton
   matrix of the loss and A'r = E'(y - p) minus its gradient (Kovachki and Stuart 2019, arXiv 1808.03620, for the gradient
   in place of a residual). q is kept at 1e-6 at least.

   Poisson, rates l = exp(gc), q = sqrt(l): A_j = scale q (g_j - gbar), r = (y - l)/q, r_j = (y - exp(g_j))/q; loss
   l - y gc + log y!. A'A is the Gauss-Newton matrix, A'r minus the gradient.

   A probability averaged over members can underflow to zero; its loss is cut off at 708.
@*/
PetscErrorCode KalObservationsWhiten(KalObservations obs, const KalBatch *batch, KalWhitening *w)
{
  const PetscInt     c = batch->outputs, rows = w->rows->count;
  const PetscScalar *target;
  const PetscInt    *label;
  PetscScalar       *work;
  PetscInt           active = 0;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsWhiten"));
  PetscCall(CheckBatch(obs, batch));
  PetscCall(CheckRows(w->rows, c, batch->samples));
  for (PetscInt j = 0; j < w->members; j++) active += Takes(w->status, j) ? 1 : 0;
  PetscCheck(active >= 1 && active == w->active, PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP, "%" PetscInt_FMT " members were said to be active, and the status of %" PetscInt_FMT " of %" PetscInt_FMT " is OK; at least one must be", w->active, active, w->members);
  PetscCheck(w->center < w->rows->members[0] && w->members <= w->rows->members[0], PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "The block has %" PetscInt_FMT " columns; %" PetscInt_FMT " members and center column %" PetscInt_FMT " do not fit", w->rows->members[0], w->members, w->center);
  PetscCall(Work(obs, 4 * (size_t)rows, &work));
  target      = batch->target + w->rows->first;
  label       = batch->label ? batch->label + w->rows->first / c : NULL;
  w->rejected = 0;
  if (batch->timed) KalTimedWhiten(obs, batch, w, work);
  else if (obs->loss == KAL_LOSS_SQUARED) WhitenSquared(obs, target, w, work);
  else if (obs->loss == KAL_LOSS_POISSON) WhitenPoisson(target, w, work);
  else if (obs->output == KAL_OUTPUT_LOGITS) WhitenLogits(target, label, c, w, work);
  else WhitenProbabilities(obs, target, label, c, w, work);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsLinearize - Gradient and Gauss-Newton weight of the loss at some predictions, in the space of outputs

   Not Collective

   Input Parameters:
+  obs - the observations, set up, of a data set
.  batch - the samples that were predicted
.  first - first sample of the batch, from 0
.  samples - how many
-  g - outputs x samples predictions, a sample contiguous

   Output Parameters:
+  r - outputs x samples: derivative of a sample's loss by its predictions
.  d - outputs x samples, with
-  v - outputs x samples: the weight of a sample is diag(d) - v v'; may be NULL, then d is not made either
.  loss - of each sample

   Notes:
   Cross-entropy, whatever -observations_output says: r = p - y, d = v = p with p = softmax(g). Squared loss:
   r = (g - y)/gamma, d = 1/gamma, v = 0. Poisson: r = l - y, d = l = exp(g), v = 0.
@*/
PetscErrorCode KalObservationsLinearize(KalObservations obs, const KalBatch *batch, PetscInt first, PetscInt samples, const PetscScalar *g, PetscScalar *r, PetscScalar *d, PetscScalar *v, PetscReal *loss)
{
  const PetscInt           c = batch->outputs, rows = samples * c;
  const PetscScalar *const target = batch->target + (size_t)first * (size_t)c;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsLinearize"));
  PetscCall(CheckBatch(obs, batch));
  PetscCheck(!batch->timed && first >= 0 && samples >= 0 && first <= batch->samples - samples, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " samples from sample %" PetscInt_FMT " on are to be linearized about; the batch has %" PetscInt_FMT " of a data set", samples, first, batch->samples);
  if (obs->loss == KAL_LOSS_CROSS_ENTROPY) {
    for (PetscInt s = 0; s < samples; s++) loss[s] = CrossEntropy(c, g + (size_t)s * (size_t)c, batch->label[first + s]);
    SoftmaxColumn(rows, c, g, r);
    if (v) PetscCall(PetscArraycpy(d, r, rows));
    if (v) PetscCall(PetscArraycpy(v, r, rows));
    for (PetscInt i = 0; i < rows; i++) r[i] -= target[i];
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt s = 0; s < samples; s++) {
    loss[s] = 0.0;
    for (PetscInt i = s * c; i < (s + 1) * c; i++) {
      const PetscReal rate = obs->loss == KAL_LOSS_POISSON ? KalExpReal(g[i]) : 1.0 / obs->gamma;

      r[i] = obs->loss == KAL_LOSS_POISSON ? rate - target[i] : (g[i] - target[i]) * rate;
      loss[s] += obs->loss == KAL_LOSS_POISSON ? Poisson(target[i], g[i]) : 0.5 * r[i] * (g[i] - target[i]);
      if (v) d[i] = rate;
      if (v) v[i] = 0.0;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsLosses - Adds up the loss of each column of a block of predictions

   Not Collective

   Input Parameters:
+  obs - the observations, set up
.  batch - the samples that were predicted
-  rows - a block of whole samples; rows->x[0] holds the predictions

   Output Parameter:
.  sums - for each column of rows->x[0] the sum over the block's samples of the loss at its prediction is added to it

   Note:
   A column that holds NaN or Inf may get a sum that is NaN or Inf.
@*/
PetscErrorCode KalObservationsLosses(KalObservations obs, const KalBatch *batch, const KalRows *rows, PetscReal *sums)
{
  const PetscInt     c = batch->outputs;
  const PetscScalar *target;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsLosses"));
  PetscCall(CheckBatch(obs, batch));
  PetscCall(CheckRows(rows, c, batch->samples));
  target = batch->target + rows->first;
  for (PetscInt j = 0; j < rows->members[0]; j++) {
    const PetscScalar *const g   = Column(rows, j);
    PetscReal                sum = 0.0;

    if (batch->timed) sum = KalTimedLoss(batch, rows->first, rows->count, g);
    else if (obs->loss == KAL_LOSS_SQUARED) {
      for (PetscInt i = 0; i < rows->count; i++) sum += (target[i] - g[i]) * (target[i] - g[i]);
      sum *= 0.5 / obs->gamma;
    } else if (obs->loss == KAL_LOSS_POISSON) {
      for (PetscInt i = 0; i < rows->count; i++) sum += Poisson(target[i], g[i]);
    } else sum = MeanLoss(rows->count, c, batch->label + rows->first / c, g, NULL);
    sums[j] += sum;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsAverage - Averages what is scored over the members

   Not Collective

   Input Parameters:
+  obs - the observations, set up
.  rows - a block of whole samples; rows->x[0] holds the predictions
.  members - the columns that are members
-  status - their states; only KAL_MEMBER_OK take part; NULL if all do

   Output Parameters:
+  mean - rows->count: the mean over the members of the softmax under cross-entropy, of the rates under the loss poisson, of the outputs under squared loss
-  var - rows->count: their variance (divisor: members that take part, less 1; zero for a single one), or NULL
@*/
PetscErrorCode KalObservationsAverage(KalObservations obs, const KalRows *rows, PetscInt members, const KalStatus *status, PetscScalar *mean, PetscScalar *var)
{
  const PetscInt c      = obs->outputs;
  const PetscInt passes = var ? 2 : 1;
  PetscInt       active = 0;
  PetscScalar   *work;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsAverage"));
  PetscCall(CheckRows(rows, c, -1));
  PetscCheck(members <= rows->members[0], PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " members were named, and the block has %" PetscInt_FMT " columns", members, rows->members[0]);
  for (PetscInt j = 0; j < members; j++) active += Takes(status, j) ? 1 : 0;
  PetscCheck(active >= 1, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "None of the %" PetscInt_FMT " members is OK; an average needs one at least", members);
  PetscCall(Work(obs, (size_t)rows->count, &work));
  for (PetscInt pass = 0; pass < passes; pass++) {
    PetscScalar *const out = pass ? var : mean;

    Zero(rows->count, out);
    for (PetscInt j = 0; j < members; j++) {
      const PetscScalar *g = Column(rows, j);

      if (!Takes(status, j)) continue;
      if (obs->loss == KAL_LOSS_CROSS_ENTROPY) {
        SoftmaxColumn(rows->count, c, g, work);
        g = work;
      } else if (obs->loss == KAL_LOSS_POISSON) {
        for (PetscInt i = 0; i < rows->count; i++) work[i] = KalExpReal(g[i]);
        g = work;
      }
      if (!pass)
        for (PetscInt i = 0; i < rows->count; i++) out[i] += g[i];
      else
        for (PetscInt i = 0; i < rows->count; i++) out[i] += (g[i] - mean[i]) * (g[i] - mean[i]);
    }
    for (PetscInt i = 0; i < rows->count; i++) out[i] /= (PetscReal)(pass ? PetscMax(active - 1, 1) : active);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
