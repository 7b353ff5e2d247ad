/* The inside of KalObservations: tables of numbers as the bytes they came in, options, work arrays. */
#ifndef KAL_OBSERVATIONSIMPL_H
#define KAL_OBSERVATIONSIMPL_H

#include <kalmia/observations.h>

#include <float.h>

/* Type of the numbers of a table; in memory always in the machine's byte order. */
typedef enum {
  KAL_ELEMENT_UINT8,
  KAL_ELEMENT_INT8,
  KAL_ELEMENT_UINT16,
  KAL_ELEMENT_INT16,
  KAL_ELEMENT_UINT32,
  KAL_ELEMENT_INT32,
  KAL_ELEMENT_UINT64,
  KAL_ELEMENT_INT64,
  KAL_ELEMENT_FLOAT32,
  KAL_ELEMENT_FLOAT64,
  KAL_ELEMENTS,
} KalElement;

/* What a reader knows of a table before it reads it. */
typedef struct {
  KalElement element;
  PetscInt   ndims; /* dimensions in the file: one dimension of integers are class labels */
  PetscInt   samples;
  PetscInt   width; /* numbers a sample has */
} KalShape;

typedef struct {
  KalShape  shape;
  KalShared shared; /* samples x width numbers, a sample contiguous; once a node */
} KalTable;

typedef struct {
  KalTable   x, y;
  PetscInt   samples; /* in use; 0 where the set is not there */
  PetscBool  targets; /* there is a y */
  PetscBool  labels;  /* y holds class labels, not real-valued targets */
  PetscInt64 largest; /* largest label */
} KalData;

/* Where a table comes from: a file, and its data set where the file is HDF5 ("" for IDX). */
typedef struct {
  char file[PETSC_MAX_PATH_LEN];
  char dataset[16];
} KalSource;

/* What one rank found wrong, kept until every rank can raise it together. */
typedef struct {
  PetscErrorCode code;
  char           text[1024];
} KalFault;

/* What an HDF5 file is for, for messages about it. */
typedef struct {
  const char *what;   /* "data file" */
  const char *option; /* that names it */
  const char *takes;  /* what the option takes: behind its name, a verb first */
  const char *holds;  /* what the file must hold: a sentence */
} KalFileUse;

/* Some samples of a data set, and what they become in memory. */
typedef struct {
  PetscInt   first, count;
  PetscInt   ld; /* numbers from one sample to the next, at least the width of one */
  KalElement as;
} KalHdf5Part;

/* Buffers behind a KalBatch; they grow and are never given back before Destroy. */
typedef struct {
  void        *input;
  size_t       inputbytes;
  PetscScalar *target;
  size_t       targets;
  PetscInt    *label;
  size_t       labels;
} KalBuffer;

/* A KalObservationsType as a number. */
typedef enum {
  KAL_TYPE_DATASET,
  KAL_TYPE_TWIN,
  KAL_TYPE_SERIES,
} KalObservationsKind;
PETSC_INTERN const char *const KalObservationsTypes[];

typedef struct KalTimed KalTimed; /* timed.h */

struct _p_KalObservations {
  MPI_Comm    comm;
  MPI_Comm    node;
  PetscMPIInt noderank, nodesize;
  PetscBool   setup;

  KalObservationsKind type;
  KalTimed           *timed; /* of observations in time */

  char      path[PETSC_MAX_PATH_LEN];
  KalData   set[2]; /* by KalDataSet */
  PetscInt  limit;  /* use only so many training samples; 0: all */
  PetscInt  batch;
  PetscInt  seed;
  PetscInt  outputs;      /* numbers a prediction has; 0 until known */
  PetscBool outputsgiven; /* by KalObservationsSetOutputs() */
  PetscBool optional;     /* sets without targets are allowed: for prediction */

  KalPrecision precision;
  KalNormalize normalize;
  PetscBool    normalizeset;  /* chosen by the user, not by the type of the data */
  PetscBool    normalization; /* mean and sd are known; before SetUp: given */
  PetscInt     normcount;     /* 1 or the number of inputs */
  PetscReal   *mean, *sd;

  KalLossType    loss;
  PetscBool      lossset;
  PetscReal      gamma;
  KalOutputSpace output;
  PetscReal      floor;

  KalBuffer    next, block;
  PetscReal   *row;  /* one sample's inputs on their way into a batch */
  PetscScalar *work; /* of loss.c */
  size_t       works;
};

/* table.c and load.c; the readers behind them run on one rank of a node and report by KalFault */
PETSC_INTERN void           KalFaultSet(KalFault *, PetscErrorCode, const char *, ...) PETSC_ATTRIBUTE_FORMAT(3, 4);
PETSC_INTERN size_t         KalElementSize(KalElement);
PETSC_INTERN const char    *KalElementName(KalElement);
PETSC_INTERN PetscBool      KalElementIsInteger(KalElement);
PETSC_INTERN void           KalMemoryCheck(const char *, PetscInt64, KalFault *);
PETSC_INTERN PetscErrorCode KalTableCreate(KalObservations, const KalShape *, const char *, KalTable *);
PETSC_INTERN PetscErrorCode KalTablePublish(KalObservations, const char *, KalTable *, KalFault *);
PETSC_INTERN void           KalTableRow(const KalTable *, PetscInt, PetscReal *);
PETSC_INTERN PetscInt64     KalTableLabel(const KalTable *, PetscInt);
PETSC_INTERN PetscErrorCode KalObservationsLoad(KalObservations);
PETSC_INTERN PetscErrorCode KalDataCheck(KalObservations, KalDataSet, const char *, const char *);
PETSC_INTERN PetscErrorCode KalDataDestroy(KalData *);
PETSC_INTERN void           KalShapeSet(KalShape *, KalElement, PetscInt, const unsigned long long *, const char *, KalFault *);

PETSC_INTERN PetscBool KalIdxIs(const char *);
PETSC_INTERN void      KalIdxShape(const char *, KalShape *, KalFault *);
PETSC_INTERN void      KalIdxRead(const char *, const KalShape *, void *, KalFault *);
PETSC_INTERN void      KalHdf5Shape(const char *, const char *, KalShape *, KalFault *);
PETSC_INTERN void      KalHdf5Read(const char *, const char *, const KalShape *, void *, KalFault *);
PETSC_INTERN void      KalHdf5Holds(const char *, const char *, PetscBool *, KalFault *);
PETSC_INTERN void      KalHdf5HoldsFor(const KalFileUse *, const char *, const char *, PetscBool *, KalFault *);
PETSC_INTERN void      KalHdf5ShapeFor(const KalFileUse *, const char *, const char *, KalShape *, KalFault *);
PETSC_INTERN void      KalHdf5ReadFor(const KalFileUse *, const char *, const char *, const KalShape *, const KalHdf5Part *, void *, KalFault *);

/* timed.c */
PETSC_INTERN PetscErrorCode KalTimedCreate(KalTimed **);
PETSC_INTERN PetscErrorCode KalTimedSetUp(KalObservations);
PETSC_INTERN PetscErrorCode KalTimedNext(KalObservations, PetscInt, KalBatch *);
PETSC_INTERN PetscErrorCode KalTimedGetMost(KalObservations, PetscInt *);
PETSC_INTERN PetscErrorCode KalTimedGetMemory(KalObservations, PetscReal *);
PETSC_INTERN PetscErrorCode KalTimedView(KalObservations, PetscViewer);
PETSC_INTERN PetscErrorCode KalTimedDestroy(KalTimed **);
PETSC_INTERN void           KalTimedWhiten(KalObservations, const KalBatch *, KalWhitening *, PetscScalar *);
PETSC_INTERN PetscReal      KalTimedLoss(const KalBatch *, PetscInt, PetscInt, const PetscScalar *);

/* normalize.c */
PETSC_INTERN PetscErrorCode KalObservationsNormalize(KalObservations);

/* observations.c */
PETSC_INTERN PetscErrorCode KalObservationsCheckBefore(KalObservations, const char *);
PETSC_INTERN PetscErrorCode KalObservationsCheckSetUp(KalObservations, const char *);

/* Logarithm of a probability averaged over members, which may have underflowed to zero; NaN stays NaN. */
static inline PetscReal KalLogProbability(PetscReal p)
{
  return PetscLogReal(p >= 0.0 && p < DBL_MIN ? DBL_MIN : p);
}

#endif
