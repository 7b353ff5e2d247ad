/* Scores of averaged predictions; as sums, so that blocks of samples add up. */
#include "observationsimpl.h"

/* Where the sums lie. */
enum {
  SUM_SAMPLES,
  SUM_LOSS,
  SUM_CORRECT,
  SUM_NLL,
  SUM_SQUARES,
  SUM_BINS /* KAL_SCORE_BINS counts, then as many sums of confidences, then as many of right answers */
};

/* What a classifier says of one sample: its choice, how sure it is, the negative log-likelihood of the label. */
static void Classify(PetscInt c, const PetscScalar *p, PetscBool logits, PetscInt label, PetscInt *choice, PetscReal *confidence, PetscReal *nll)
{
  PetscReal sum = 0.0;

  *choice = 0;
  for (PetscInt k = 1; k < c; k++)
    if (p[k] > p[*choice]) *choice = k;
  if (logits) {
    for (PetscInt k = 0; k < c; k++) sum += PetscExpReal(p[k] - p[*choice]);
    *confidence = 1.0 / sum;
    *nll        = PetscLogReal(sum) + (p[*choice] - p[label]);
  } else {
    *confidence = p[*choice];
    *nll        = -KalLogProbability(p[label]);
  }
}

/*@
   KalObservationsScore - Adds the scores of some predictions to sums

   Not Collective

   Input Parameters:
+  obs - the observations, set up
.  batch - the samples that were predicted
.  first - first sample of the batch that is scored, from 0
.  samples - how many
-  averaged - outputs x samples, a sample contiguous: what KalObservationsAverage() made, probabilities under cross-entropy,
              rates under the loss poisson, outputs under squared loss

   Output Parameter:
.  sums - KAL_SCORE_SUMS numbers that are added to; zero at the start; KalScoreFromSums() makes scores of them

   Note:
   Under squared loss on labelled data the targets are one-hot rows, the choice is the largest output, and likelihood and
   confidence are those of the softmax of the outputs. Of equal largest outputs the first is the choice.
@*/
PetscErrorCode KalObservationsScore(KalObservations obs, const KalBatch *batch, PetscInt first, PetscInt samples, const PetscScalar *averaged, PetscReal *sums)
{
  const PetscInt  c       = batch->outputs;
  const PetscBool squared = obs->loss == KAL_LOSS_SQUARED ? PETSC_TRUE : PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsScore"));
  PetscCheck(first >= 0 && samples >= 0 && first <= batch->samples - samples, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " samples from sample %" PetscInt_FMT " on are to be scored; the batch has %" PetscInt_FMT, samples, first, batch->samples);
  PetscCheck(obs->loss != KAL_LOSS_CROSS_ENTROPY || batch->label, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONG, "The batch has no labels, and the cross-entropy needs them");
  for (PetscInt s = 0; s < samples; s++) {
    const PetscScalar *const p       = averaged + (size_t)s * (size_t)c;
    const PetscScalar *const target  = batch->target + (size_t)(first + s) * (size_t)c;
    PetscReal                squares = 0.0, confidence, nll;
    PetscInt                 choice, bin = 0;

    for (PetscInt k = 0; k < c; k++) squares += (p[k] - target[k]) * (p[k] - target[k]);
    sums[SUM_SAMPLES] += 1.0;
    sums[SUM_SQUARES] += squares;
    if (batch->timed) sums[SUM_LOSS] += KalTimedLoss(batch, first + s, 1, p);
    else if (squared) sums[SUM_LOSS] += 0.5 * squares / obs->gamma;
    else if (obs->loss == KAL_LOSS_POISSON) {
      for (PetscInt k = 0; k < c; k++) sums[SUM_LOSS] += p[k] - target[k] * KalLogProbability(p[k]) + lgamma(target[k] + 1.0);
    }
    if (!batch->label) continue;
    Classify(c, p, squared, batch->label[first + s], &choice, &confidence, &nll);
    if (!squared) sums[SUM_LOSS] += nll;
    sums[SUM_NLL] += nll;
    /* bin b holds confidences in (b/bins, (b + 1)/bins]; NaN goes to the first */
    if (confidence > 0.0) bin = PetscMin((PetscInt)PetscCeilReal(PetscMin(confidence, 1.0) * KAL_SCORE_BINS) - 1, KAL_SCORE_BINS - 1);
    sums[SUM_BINS + bin] += 1.0;
    sums[SUM_BINS + KAL_SCORE_BINS + bin] += confidence;
    if (choice == batch->label[first + s] && !PetscIsNanReal(confidence)) {
      sums[SUM_CORRECT] += 1.0;
      sums[SUM_BINS + 2 * KAL_SCORE_BINS + bin] += 1.0;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalScoreFromSums - Makes scores of the sums of KalObservationsScore()

   Not Collective

   Input Parameters:
+  obs - the observations, set up
-  sums - KAL_SCORE_SUMS numbers, added up over all blocks

   Output Parameter:
.  score - the scores; without samples all are NaN, and of a regression accuracy, nll and ece are

   Note:
   The expected calibration error is sum_b count_b/samples |accuracy_b - confidence_b| over 15 equal bins of the largest
   probability (Guo, Pleiss, Sun, Weinberger 2017, equation 3).
@*/
PetscErrorCode KalScoreFromSums(KalObservations obs, const PetscReal *sums, KalScore *score)
{
  const PetscReal nan = (PetscReal)NAN, samples = sums[SUM_SAMPLES];
  PetscReal       ece = 0.0;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalScoreFromSums"));
  score->samples  = samples;
  score->loss     = samples > 0.0 ? sums[SUM_LOSS] / samples : nan;
  score->rmse     = samples > 0.0 ? PetscSqrtReal(sums[SUM_SQUARES] / (samples * (PetscReal)obs->outputs)) : nan;
  score->accuracy = score->nll = score->ece = nan;
  if (!(obs->set[KAL_SET_TRAIN].labels || obs->set[KAL_SET_TEST].labels) || !(samples > 0.0)) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt b = 0; b < KAL_SCORE_BINS; b++) ece += PetscAbsReal(sums[SUM_BINS + 2 * KAL_SCORE_BINS + b] - sums[SUM_BINS + KAL_SCORE_BINS + b]);
  score->accuracy = sums[SUM_CORRECT] / samples;
  score->nll      = sums[SUM_NLL] / samples;
  score->ece      = ece / samples;
  PetscFunctionReturn(PETSC_SUCCESS);
}
