/* KalAnalysis: a method, from predicted observations to weights, from weights to new members. */
#ifndef KALMIA_ANALYSIS_H
#define KALMIA_ANALYSIS_H

#include <kalmia/model.h>

typedef const char *KalAnalysisType;
#define KALANALYSISEKI     "eki"
#define KALANALYSISETKI    "etki"
#define KALANALYSISHABER   "haber"
#define KALANALYSISLAYERED "layered"
/* Inversions and samplers with a prior, for parameters */
#define KALANALYSISTEKI      "teki"
#define KALANALYSISIEKSSL    "ieks-sl"
#define KALANALYSISGNKI      "gnki" /* another name of ieks-sl */
#define KALANALYSISEKISL     "eki-sl"
#define KALANALYSISTEKISL    "teki-sl"
#define KALANALYSISUKI       "uki"
#define KALANALYSISUKF       "ukf"
#define KALANALYSISEKS       "eks"
#define KALANALYSISALDI      "aldi"
#define KALANALYSISENGPS     "engps"
#define KALANALYSISENRML     "enrml"
#define KALANALYSISCBO       "cbo"
#define KALANALYSISYEGENOGLU "yegenoglu"
#define KALANALYSISOTENKF    "ot-enkf"
#define KALANALYSISVENKF     "venkf"
/* Methods that take derivatives of a model with an adjoint */
#define KALANALYSISSGD    "sgd"
#define KALANALYSISADAM   "adam"
#define KALANALYSISEKF    "ekf"
#define KALANALYSISDEKF   "dekf"
#define KALANALYSISKOALAV "koala-v"
#define KALANALYSISKOALAM "koala-m"
#define KALANALYSISGPF    "gpf"
#define KALANALYSISGF     "gf"
/* Paths whose dynamics may err, less and less */
#define KALANALYSISANNEALING     "annealing"
#define KALANALYSISANNEALINGENKS "annealing-enks"
/* Filters and smoothers of dynamical systems */
#define KALANALYSISENKF        "enkf"
#define KALANALYSISETKF        "etkf"
#define KALANALYSISESTKF       "estkf"
#define KALANALYSISDENKF       "denkf"
#define KALANALYSISENSRF       "ensrf"
#define KALANALYSISLETKF       "letkf"
#define KALANALYSISENKFN       "enkfn"
#define KALANALYSISIENKS       "ienks"
#define KALANALYSISESMDA       "esmda"
#define KALANALYSISCLIMATOLOGY "climatology"
#define KALANALYSISOI          "oi"
#define KALANALYSIS3DVAR       "3dvar"
#define KALANALYSISEXTKF       "extkf"

/* What a method asks of the run, known after SetUp. */
typedef struct {
  PetscInt  least;       /* members it needs at least */
  PetscInt  copies;      /* ensembles of n x N that it keeps beside the one */
  PetscInt  vectors;     /* replicated arrays of n numbers that it keeps */
  PetscInt  points;      /* most columns it asks to be evaluated at once */
  PetscInt  gathered;    /* arrays of p x N, predictions of all members, that every rank holds */
  PetscInt  brought;     /* arrays with its share of p x N that a rank brings together for its row blocks */
  PetscReal work;        /* bytes of other work space on a rank; known after KalAnalysisCheck() */
  PetscBool generated;   /* members are generated about a mean: no n x N is stored */
  PetscBool prior;       /* takes the prior mean: KalAnalysisSetPriorMean() */
  PetscBool locations;   /* needs KalModel's locate */
  PetscBool adjoint;     /* needs KalModel's adjoint */
  PetscBool residuals;   /* needs a model whose state is a path: KalAnalysisSetResiduals() */
  PetscBool dense;       /* holds an n x n matrix */
  PetscBool tangent;     /* needs the model's tangent: KalAnalysisSetTangent() */
  PetscBool climatology; /* needs mean and covariance of a free run: KalAnalysisSetClimatology() */
  PetscBool timed;       /* works on observations in time alone */
  PetscBool untimed;     /* works on a data set alone, and deals its work on members out by itself */
  PetscBool scored;      /* is told scores of the mean network, with the share of labels that are right */
} KalNeeds;

/*
  A network's layers, for a method that works on them: KalModelFeatures(), KalModelAdvance() and KalModelUnpool() of the model,
  whose parameters are a member.
*/
typedef struct {
  PetscInt        count;  /* layers, 0: the model has none */
  const KalLayer *layer;  /* of stages 1 to count; borrowed */
  PetscInt        inputs; /* numbers of a sample's input */
  KalPrecision    precision;
  PetscErrorCode (*features)(void *ctx, PetscInt stage, PetscInt samples, const void *before, void *room, const void **features);
  PetscErrorCode (*advance)(void *ctx, const PetscScalar *x, PetscInt from, PetscInt to, PetscInt samples, const void *in, void *out);
  PetscErrorCode (*unpool)(void *ctx, const PetscScalar *x, PetscInt stage, PetscInt samples, const void *before, const void *pooled, void *rows);
  void *ctx;
} KalLayers;

/*
  Residuals of a model whose state is a path: KalModelEquations(), KalModelResiduals() and KalModelResidualsAdjoint(). They look at one
  member, on the rank that holds it.
*/
typedef struct {
  PetscErrorCode (*equations)(void *ctx, const KalBatch *, PetscInt *measured, PetscInt *dynamics);
  PetscErrorCode (*residuals)(void *ctx, const KalBatch *, const PetscScalar *x, PetscScalar *measured, PetscScalar *dynamics);
  PetscErrorCode (*adjoint)(void *ctx, const KalBatch *, const PetscScalar *x, const PetscScalar *measured, const PetscScalar *dynamics, PetscScalar *g);
  void *ctx;
} KalResiduals;

/* The actions of all members, rung by rung of a ladder of weights. */
typedef struct {
  PetscInt         rungs, members; /* rungs done */
  PetscReal        expected;       /* action of a path that is consistent with data and dynamics; 0 or less: too few data to tell */
  const PetscReal *weight;         /* of the dynamics, by rung */
  const PetscReal *action;         /* rungs x members, a rung contiguous */
  const PetscReal *measured;       /* the part of it that is the data's */
  PetscBool        lowest;         /* members lie in minima of their own, and the lowest is the estimate, not their mean */
} KalLevels;

/* Derivatives that a method asks for, of a model with an adjoint and a data set's batch. */
typedef enum {
  KAL_DERIVATIVES_NONE,
  KAL_DERIVATIVES_LOSS,        /* of each point's mean loss a sample, by the point */
  KAL_DERIVATIVES_PREDICTIONS, /* of each prediction of the one point */
} KalDerivatives;

/*
  What a method asks for: points to be forecast, in place, from one time to another, and what they predict there. Times
  are those of the observations, counted from those of the cycle in hand: -1 is the time before it, or the start.
*/
typedef struct {
  KalEnsemble    points;      /* stored, or generated; it belongs to the method */
  PetscInt       from, to;    /* -1 and 0 unless the method says otherwise */
  PetscInt       active;      /* the first so many points are run, the others are KAL_MEMBER_IDLE; 0: all */
  PetscBool      bundle;      /* the points lie far closer together than the members that they stand for: their mean alone is a forecast */
  PetscBool      observe;     /* true unless the method says otherwise; else the points are forecast and nothing is told of predictions */
  KalDerivatives derivatives; /* none unless the method says otherwise */
} KalAsk;

/* What a method says of the predictions it was told. */
typedef enum {
  KAL_VERDICT_ACCEPT = 0, /* update the ensemble, the cycle is over */
  KAL_VERDICT_AGAIN  = 1, /* ask once more */
  KAL_VERDICT_REJECT = 2, /* leave the ensemble as it is, the cycle is over */
  KAL_VERDICT_STOP   = 3  /* update the ensemble, the run is over */
} KalVerdict;

/* The predictions of the points asked for. */
typedef struct {
  KalObservations  observations;
  const KalBatch  *batch;
  KalEnsemble      predictions; /* stored, batch->samples*batch->outputs numbers a member; NULL where none were asked for */
  const KalStatus *status;      /* of every point, the same on every rank */
  KalEnsemble      derivatives; /* stored: a column of n numbers a point, or a prediction; NULL where none were asked for */
  const PetscReal *losses;      /* with those of the loss, for every point, the same on every rank: the mean loss a sample, and behind it the mean of their squares */
  PetscInt         cycle;       /* from 0 */
} KalTold;

/* A named piece of a method's own state, for a snapshot; `data` is the same on every rank. */
typedef struct {
  const char *name;
  const char *meaning;
  PetscInt    count;
  PetscReal  *data;
  const char *option; /* that `count` follows from, for the message where a snapshot has another; or NULL */
} KalArray;
#define KAL_ANALYSIS_ARRAYS 8

/* What a cycle's line and the history show of a method. */
typedef struct {
  PetscReal loss;   /* mean a sample, at the mean prediction before the update */
  PetscReal step;   /* time step or step length taken */
  PetscReal time;   /* sum of the steps */
  PetscReal passes; /* forward passes through layers that the method made by itself in the cycle, a pass through some of them in parts of one */
  PetscInt  failed; /* members that the method ran by itself in the cycle and that failed */
  /* Of a filter; NaN where a method does not say */
  PetscReal innovation; /* d'd/(tr S + p) of whitened innovations d and anomalies S: 1 where the filter is consistent */
  PetscReal dfs;        /* degrees of freedom for signal, tr(H K) */
  PetscReal effective;  /* effective ensemble size 1 + (tr S)^2/tr(S S) of the predicted anomalies */
  PetscReal inflation;  /* factor on the prior anomalies in use */
  PetscReal rejected;   /* observations that the background check left out, 0 where there is none */
} KalAnalysisReport;

typedef struct {
  PetscErrorCode (*setfromoptions)(KalAnalysis, KalOptionItems);
  PetscErrorCode (*setup)(KalAnalysis);
  PetscErrorCode (*check)(KalAnalysis, KalObservations); /* refuses observations it cannot work with */
  PetscErrorCode (*begin)(KalAnalysis, PetscInt cycle);  /* redraws and the like, before the cycle's first ask */
  PetscErrorCode (*ask)(KalAnalysis, KalAsk *);          /* NULL: the ensemble itself, forecast to the observations and observed */
  PetscErrorCode (*tell)(KalAnalysis, const KalTold *, KalVerdict *);
  PetscErrorCode (*rows)(KalAnalysis, const KalRows *);                   /* row-local update of the ensemble and the copies */
  PetscErrorCode (*update)(KalAnalysis);                                  /* or, for a method without rows, the whole update */
  PetscErrorCode (*score)(KalAnalysis, PetscInt cycle, const KalScore *); /* the mean network's after so many cycles, where it is taken (-run_evaluate_every) */
  PetscErrorCode (*arrays)(KalAnalysis, PetscInt *, KalArray[]);
  PetscErrorCode (*levels)(KalAnalysis, KalLevels *);
  PetscErrorCode (*isdone)(KalAnalysis, PetscBool *); /* whether its own stop criterion holds, after its arrays were read */
  PetscErrorCode (*view)(KalAnalysis, PetscViewer);
  PetscErrorCode (*destroy)(KalAnalysis);
} KalAnalysisOps;

/* The kernels of the BLAS at hand, for the provenance: two runs agree in their bits only if these do. */
PETSC_EXTERN PetscErrorCode KalGetKernels(size_t, char *);

PETSC_EXTERN PetscErrorCode KalAnalysisRegister(const char *, PetscErrorCode (*)(KalAnalysis));
/* For a method that is registered from outside the library */
PETSC_EXTERN PetscErrorCode KalAnalysisGetOps(KalAnalysis, KalAnalysisOps **);
PETSC_EXTERN PetscErrorCode KalAnalysisSetData(KalAnalysis, void *);
PETSC_EXTERN PetscErrorCode KalAnalysisGetData(KalAnalysis, void *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetNeeds(KalAnalysis, const KalNeeds *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetReport(KalAnalysis, const KalAnalysisReport *);
PETSC_EXTERN PetscErrorCode KalAnalysisGetEnsemble(KalAnalysis, KalEnsemble *, PetscInt *, KalEnsemble **);
PETSC_EXTERN PetscErrorCode KalAnalysisGetSizes(KalAnalysis, PetscInt *, PetscInt *);

PETSC_EXTERN PetscErrorCode KalAnalysisCreate(MPI_Comm, KalAnalysis *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetType(KalAnalysis, KalAnalysisType);
PETSC_EXTERN PetscErrorCode KalAnalysisGetType(KalAnalysis, KalAnalysisType *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetSizes(KalAnalysis, PetscInt, PetscInt);
PETSC_EXTERN PetscErrorCode KalAnalysisSetSeed(KalAnalysis, PetscInt);
PETSC_EXTERN PetscErrorCode KalAnalysisSetEpoch(KalAnalysis, PetscInt);
PETSC_EXTERN PetscErrorCode KalAnalysisSetPrior(KalAnalysis, const PetscReal *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetPriorMean(KalAnalysis, const PetscScalar *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetEnsemble(KalAnalysis, KalEnsemble, PetscInt, KalEnsemble[]);
PETSC_EXTERN PetscErrorCode KalAnalysisSetDomain(KalAnalysis, const KalDomain *, KalLocate, void *);
/* Takes departures (n x columns) from the trajectory that starts at x from one model time to another, in place. */
typedef PetscErrorCode (*KalTangent)(void *ctx, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx);
PETSC_EXTERN PetscErrorCode KalAnalysisSetTangent(KalAnalysis, KalTangent, void *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetLayers(KalAnalysis, const KalLayers *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetResiduals(KalAnalysis, const KalResiduals *);
PETSC_EXTERN PetscErrorCode KalAnalysisGetLevels(KalAnalysis, KalLevels *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetClimatology(KalAnalysis, const PetscReal *, const PetscReal *);
PETSC_EXTERN PetscErrorCode KalAnalysisGetFiltered(KalAnalysis, KalEnsemble *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetMean(KalAnalysis, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalAnalysisSetFromOptions(KalAnalysis);
PETSC_EXTERN PetscErrorCode KalAnalysisSetUp(KalAnalysis);
PETSC_EXTERN PetscErrorCode KalAnalysisGetNeeds(KalAnalysis, KalNeeds *);
PETSC_EXTERN PetscErrorCode KalAnalysisGetKSP(KalAnalysis, KSP *);
PETSC_EXTERN PetscErrorCode KalAnalysisCheck(KalAnalysis, KalObservations);
PETSC_EXTERN PetscErrorCode KalAnalysisBegin(KalAnalysis, PetscInt);
PETSC_EXTERN PetscErrorCode KalAnalysisAsk(KalAnalysis, KalAsk *);
PETSC_EXTERN PetscErrorCode KalAnalysisTell(KalAnalysis, const KalTold *, KalVerdict *);
PETSC_EXTERN PetscErrorCode KalAnalysisUpdate(KalAnalysis);
PETSC_EXTERN PetscErrorCode KalAnalysisTellScore(KalAnalysis, PetscInt, const KalScore *);
PETSC_EXTERN PetscErrorCode KalAnalysisGetReport(KalAnalysis, KalAnalysisReport *);
PETSC_EXTERN PetscErrorCode KalAnalysisGetArrays(KalAnalysis, PetscInt *, KalArray[]);
PETSC_EXTERN PetscErrorCode KalAnalysisIsDone(KalAnalysis, PetscBool *);
PETSC_EXTERN PetscErrorCode KalAnalysisView(KalAnalysis, PetscViewer);
PETSC_EXTERN PetscErrorCode KalAnalysisDestroy(KalAnalysis *);

#endif
