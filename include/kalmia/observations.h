/* KalObservations: what was observed: data sets, mini-batches, losses. */
#ifndef KALMIA_OBSERVATIONS_H
#define KALMIA_OBSERVATIONS_H

#include <kalmia/ensemble.h>

/*
  The observations of one cycle: a mini-batch of samples, with normalized inputs and what to predict.
  Predictions of a member are one column of samples*outputs numbers, sample by sample.
*/
typedef struct {
  PetscInt           samples; /* samples in the batch */
  PetscInt           inputs;  /* numbers a sample's input has */
  PetscInt           outputs; /* numbers a sample's prediction has */
  PetscInt           epoch;   /* passes over the training set before this batch */
  KalPrecision       precision;
  const void        *input;  /* float or double (precision), inputs x samples, a sample contiguous */
  const PetscScalar *target; /* outputs x samples: values, or one-hot rows; NULL where the data have none */
  const PetscInt    *label;  /* samples class labels, or NULL for a regression */
} KalBatch;

/*
  Predictions made ready for an analysis, for whole samples of the batch: anomalies and residuals
  whitened by the loss, so that S = A'A and d = A'r hold for every loss (share/doc/methods.md, "Losses").
*/
typedef struct {
  const KalRows   *rows;      /* rows->x[0]: predictions, a block of whole samples (in) */
  PetscInt         members;   /* members that take part in the ensemble; a center column lies behind them (in) */
  PetscInt         center;    /* column that predicts for the mean, or -1: the mean of the active members (in) */
  const KalStatus *status;    /* members states; only KAL_MEMBER_OK take part (in) */
  PetscInt         active;    /* how many of them are KAL_MEMBER_OK (in) */
  PetscReal        scale;     /* multiplies the anomalies, 1/sqrt(active - 1) by convention (in) */
  PetscScalar     *anomalies; /* rows->count x members, ld rows->count; inactive columns are zero (out) */
  PetscScalar     *residual;  /* rows->count: whitened residual at the mean prediction (out) */
  PetscScalar     *residuals; /* rows->count x members whitened residuals of each member, or NULL (out) */
  PetscReal        loss;      /* sum over the samples of the loss at the mean prediction (out) */
} KalWhitening;

/* Scores of predictions on labelled or real-valued data; sums that add up over blocks of samples. */
#define KAL_SCORE_BINS 15
#define KAL_SCORE_SUMS (5 + 3 * KAL_SCORE_BINS)
typedef struct {
  PetscReal samples;
  PetscReal loss;     /* of the run's loss, mean a sample */
  PetscReal accuracy; /* share of samples whose largest output is the label; NaN for a regression */
  PetscReal nll;      /* negative log-likelihood a sample, natural logarithm; NaN for a regression */
  PetscReal ece;      /* expected calibration error, 15 equal bins of the largest probability; NaN for a regression */
  PetscReal rmse;     /* root mean square of (prediction - target) over samples and outputs */
} KalScore;

typedef enum {
  KAL_SET_TRAIN = 0,
  KAL_SET_TEST  = 1,
} KalDataSet;
typedef enum {
  KAL_NORMALIZE_NONE,
  KAL_NORMALIZE_UNIT,
  KAL_NORMALIZE_STANDARD,
  KAL_NORMALIZE_FEATURE,
} KalNormalize;
typedef enum {
  KAL_LOSS_SQUARED,
  KAL_LOSS_CROSS_ENTROPY,
} KalLossType;
typedef enum {
  KAL_OUTPUT_PROBABILITIES,
  KAL_OUTPUT_LOGITS,
} KalOutputSpace;
PETSC_EXTERN const char *const KalNormalizes[];
PETSC_EXTERN const char *const KalLossTypes[];
PETSC_EXTERN const char *const KalOutputSpaces[];

PETSC_EXTERN PetscErrorCode KalObservationsCreate(MPI_Comm, KalObservations *);
PETSC_EXTERN PetscErrorCode KalObservationsSetPath(KalObservations, const char *);
PETSC_EXTERN PetscErrorCode KalObservationsGetPath(KalObservations, size_t, char *);
PETSC_EXTERN PetscErrorCode KalObservationsSetBatch(KalObservations, PetscInt);
PETSC_EXTERN PetscErrorCode KalObservationsSetSeed(KalObservations, PetscInt);
PETSC_EXTERN PetscErrorCode KalObservationsSetLoss(KalObservations, KalLossType, PetscReal);
PETSC_EXTERN PetscErrorCode KalObservationsSetPrecision(KalObservations, KalPrecision);
PETSC_EXTERN PetscErrorCode KalObservationsSetArrays(KalObservations, KalDataSet, PetscInt, PetscInt, const PetscReal *, PetscInt, const PetscReal *);
PETSC_EXTERN PetscErrorCode KalObservationsSetSamples(KalObservations, PetscInt);
PETSC_EXTERN PetscErrorCode KalObservationsSetTargetsOptional(KalObservations, PetscBool);
PETSC_EXTERN PetscErrorCode KalObservationsSetFromOptions(KalObservations);
PETSC_EXTERN PetscErrorCode KalObservationsSetUp(KalObservations);
PETSC_EXTERN PetscErrorCode KalObservationsSetOutputs(KalObservations, PetscInt);
PETSC_EXTERN PetscErrorCode KalObservationsView(KalObservations, PetscViewer);
PETSC_EXTERN PetscErrorCode KalObservationsDestroy(KalObservations *);

PETSC_EXTERN PetscErrorCode KalObservationsGetSizes(KalObservations, KalDataSet, PetscInt *, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalObservationsGetTargets(KalObservations, KalDataSet, PetscBool *, PetscBool *);
PETSC_EXTERN PetscErrorCode KalObservationsGetCycle(KalObservations, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalObservationsGetLoss(KalObservations, KalLossType *, PetscReal *, PetscBool *);
PETSC_EXTERN PetscErrorCode KalObservationsGetNormalization(KalObservations, PetscInt *, PetscReal **, PetscReal **);
PETSC_EXTERN PetscErrorCode KalObservationsSetNormalization(KalObservations, PetscInt, const PetscReal *, const PetscReal *);
PETSC_EXTERN PetscErrorCode KalObservationsGetMemory(KalObservations, PetscReal *);

PETSC_EXTERN PetscErrorCode KalObservationsNext(KalObservations, PetscInt, KalBatch *);
PETSC_EXTERN PetscErrorCode KalObservationsGetBlock(KalObservations, KalDataSet, PetscInt, PetscInt, KalBatch *);
PETSC_EXTERN PetscErrorCode KalObservationsWhiten(KalObservations, const KalBatch *, KalWhitening *);
PETSC_EXTERN PetscErrorCode KalObservationsLosses(KalObservations, const KalBatch *, const KalRows *, PetscReal *);
PETSC_EXTERN PetscErrorCode KalObservationsAverage(KalObservations, const KalRows *, PetscInt, const KalStatus *, PetscScalar *, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalObservationsScore(KalObservations, const KalBatch *, PetscInt, PetscInt, const PetscScalar *, PetscReal *);
PETSC_EXTERN PetscErrorCode KalScoreFromSums(KalObservations, const PetscReal *, KalScore *);

#endif
