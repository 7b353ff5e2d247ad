/* KalObservations: what was observed: data sets in mini-batches, observations in time, losses. */
#ifndef KALMIA_OBSERVATIONS_H
#define KALMIA_OBSERVATIONS_H

#include <kalmia/ensemble.h>

typedef const char *KalObservationsType;
#define KALOBSERVATIONSDATASET "dataset" /* samples to learn from, in mini-batches */
#define KALOBSERVATIONSTWIN    "twin"    /* of a truth that the same model makes */
#define KALOBSERVATIONSSERIES  "series"  /* in time, from a file */

/* A linear observation operator: p sparse rows over the n state entries. */
typedef struct {
  PetscInt         rows;
  const PetscInt  *start;  /* rows + 1 offsets, or NULL: one entry a row */
  const PetscInt  *entry;  /* state entries */
  const PetscReal *weight; /* their weights, or NULL: 1 each */
} KalLinear;

/*
  The observations of one cycle: a mini-batch of samples, with normalized inputs and what to predict, or the observations
  of one time. Predictions of a member are one column of samples*outputs numbers, sample by sample.
*/
typedef struct {
  PetscInt           samples; /* samples in the batch */
  PetscInt           inputs;  /* numbers a sample's input has */
  PetscInt           outputs; /* numbers a sample's prediction has */
  PetscInt           epoch;   /* passes over the training set before this batch */
  KalPrecision       precision;
  PetscInt64         stamp;  /* another for each batch that is made; 0: nothing may be kept from one call with it to the next */
  const void        *input;  /* float or double (precision), inputs x samples, a sample contiguous */
  const PetscScalar *target; /* outputs x samples: values, or one-hot rows; NULL where the data have none */
  const PetscInt    *label;  /* samples class labels, or NULL for a regression */
  /* Of observations in time: samples = p, outputs = 1, inputs = 0, no label; target is NULL until a twin's truth was observed. */
  PetscBool        timed;
  PetscReal        from, to; /* model times: the observations before these (or the start), and these */
  const KalLinear *linear;   /* what is observed, or NULL: the model's own `observe` */
  const PetscReal *error;    /* p standard deviations; after whitening by a dense R all are 1 */
  const PetscReal *root;     /* lower Cholesky factor of a dense R, p x p by columns, or NULL; see KalObservationsWhitenColumn() */
  const PetscReal *location; /* KAL_DIMENSIONS coordinates an observation, or NULL: those of what it observes */
  const PetscInt  *kind;     /* of each observation, or NULL: all of kind 0 */
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
  PetscInt         rejected;  /* observations in time left out by the background check, -observations_reject (out) */
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
  KAL_LOSS_POISSON,
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

/* Observations in time */
PETSC_EXTERN PetscErrorCode KalObservationsSetType(KalObservations, KalObservationsType);
PETSC_EXTERN PetscErrorCode KalObservationsGetType(KalObservations, KalObservationsType *);
PETSC_EXTERN PetscErrorCode KalObservationsIsTimed(KalObservations, PetscBool *);
PETSC_EXTERN PetscErrorCode KalObservationsSetState(KalObservations, PetscInt, PetscReal);
PETSC_EXTERN PetscErrorCode KalObservationsSetDomain(KalObservations, const KalDomain *);
PETSC_EXTERN PetscErrorCode KalObservationsSetTimes(KalObservations, PetscReal, PetscReal);
PETSC_EXTERN PetscErrorCode KalObservationsSetEntries(KalObservations, PetscInt, PetscInt, PetscInt);
PETSC_EXTERN PetscErrorCode KalObservationsSetOperator(KalObservations, const char *);
PETSC_EXTERN PetscErrorCode KalObservationsSetReject(KalObservations, PetscReal);
PETSC_EXTERN PetscErrorCode KalObservationsGetReject(KalObservations, PetscReal *);
PETSC_EXTERN PetscErrorCode KalObservationsSetTimeless(KalObservations, PetscBool);
PETSC_EXTERN PetscErrorCode KalObservationsGetTime(KalObservations, PetscInt, PetscReal *);
PETSC_EXTERN PetscErrorCode KalObservationsGetLast(KalObservations, PetscInt *);
PETSC_EXTERN PetscErrorCode KalObservationsHasTruth(KalObservations, PetscBool *);
PETSC_EXTERN PetscErrorCode KalObservationsTruth(KalObservations, PetscInt, const PetscScalar *, KalBatch *);
PETSC_EXTERN PetscErrorCode KalObservationsWhitenColumn(const KalBatch *, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalLinearApply(const KalLinear *, const PetscScalar *, PetscScalar *);

PETSC_EXTERN PetscErrorCode KalObservationsNext(KalObservations, PetscInt, KalBatch *);
PETSC_EXTERN PetscErrorCode KalObservationsGetBlock(KalObservations, KalDataSet, PetscInt, PetscInt, KalBatch *);
PETSC_EXTERN PetscErrorCode KalObservationsWhiten(KalObservations, const KalBatch *, KalWhitening *);
PETSC_EXTERN PetscErrorCode KalObservationsLinearize(KalObservations, const KalBatch *, PetscInt, PetscInt, const PetscScalar *, PetscScalar *, PetscScalar *, PetscScalar *, PetscReal *);
PETSC_EXTERN PetscErrorCode KalObservationsLosses(KalObservations, const KalBatch *, const KalRows *, PetscReal *);
PETSC_EXTERN PetscErrorCode KalObservationsAverage(KalObservations, const KalRows *, PetscInt, const KalStatus *, PetscScalar *, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalObservationsScore(KalObservations, const KalBatch *, PetscInt, PetscInt, const PetscScalar *, PetscReal *);
PETSC_EXTERN PetscErrorCode KalScoreFromSums(KalObservations, const PetscReal *, KalScore *);

#endif
