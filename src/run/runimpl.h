/* The inside of KalRun, for src/run alone. */
#ifndef KALMIA_RUNIMPL_H
#define KALMIA_RUNIMPL_H

#include <kalmia/run.h>
#include <kalmia/parameterization.h>

#include <ensemble/events.h>

/* Columns of the history, one number a cycle. */
typedef enum {
  KAL_HISTORY_CYCLE,
  KAL_HISTORY_EPOCH,
  KAL_HISTORY_LOSS,
  KAL_HISTORY_STEP,
  KAL_HISTORY_TIME,
  KAL_HISTORY_SPREAD,
  KAL_HISTORY_FAILED,
  KAL_HISTORY_REJECTED,
  KAL_HISTORY_ACCURACY,
  KAL_HISTORY_NLL,
  KAL_HISTORY_ECE,
  KAL_HISTORY_RMSE,
  KAL_HISTORY_FORECAST,
  KAL_HISTORY_OBSERVE,
  KAL_HISTORY_ANALYSIS,
  KAL_HISTORY_PASSES,
  /* of a run in time */
  KAL_HISTORY_MODEL_TIME,
  KAL_HISTORY_OBSERVATIONS,
  KAL_HISTORY_LEFT_OUT,
  KAL_HISTORY_RMSE_FORECAST,
  KAL_HISTORY_RMSE_ANALYSIS,
  KAL_HISTORY_SPREAD_FORECAST,
  KAL_HISTORY_SPREAD_ANALYSIS,
  KAL_HISTORY_CRPS_FORECAST,
  KAL_HISTORY_CRPS_ANALYSIS,
  KAL_HISTORY_INNOVATION,
  KAL_HISTORY_DFS,
  KAL_HISTORY_EFFECTIVE,
  KAL_HISTORY_INFLATION,
  KAL_HISTORY_DIVERGED,
  KAL_HISTORY_COLUMNS,
} KalHistoryColumn;

typedef enum {
  KAL_HISTORY_ALWAYS,
  KAL_HISTORY_OF_TRAINING, /* of a data set */
  KAL_HISTORY_OF_TIME,     /* of observations in time */
} KalHistoryKind;
typedef struct {
  const char    *name, *meaning, *units;
  KalHistoryKind kind;
} KalHistoryInfo;
PETSC_INTERN const KalHistoryInfo KalHistoryInfos[KAL_HISTORY_COLUMNS];

/* Who computes a member. */
typedef enum {
  KAL_RUN_STATIC,  /* the rank that holds it */
  KAL_RUN_DYNAMIC, /* a rank that is idle */
} KalRunSchedule;
PETSC_INTERN const char *const   KalRunSchedules[];
typedef struct _n_KalQueue      *KalQueue;
typedef struct _n_KalDerivation *KalDerivation; /* derivatives.c */

/* Columns that are handed to a model at once: enough for its blocks, few enough to generate in place. */
#define KAL_COLUMNS_MOST 64

#define KAL_RUN_COPIES 2
#define KAL_RUN_SLOTS  3

struct _p_KalRun {
  MPI_Comm        comm;
  PetscMPIInt     rank, size;
  PetscBool       setup;
  KalModel        model;
  KalObservations observations;
  KalAnalysis     analysis;
  KalNeeds        needs;
  /* options */
  PetscInt       N, cycles, seed, monitorevery, evaluateevery, survivors, snapshotevery, snapshotkeep;
  PetscBool      dry, quiet, evaluateensemble;
  KalRunSchedule schedule;
  PetscMPIInt    span;            /* ranks that run a member together: groups of them, */
  MPI_Comm       group;           /* this rank's, MPI_COMM_NULL without groups, */
  PetscMPIInt    place;           /* and which of them this is; the first holds the members */
  PetscInt       schedulemembers; /* taken at once from the queue */
  PetscErrorCode error;           /* of the options, where a dry run goes on to find more */
  PetscInt       progress;        /* -1: where standard error is a terminal */
  PetscReal      initialspread;
  PetscReal      burn, burnin; /* model time after the start that is left out of the means; the time that this is */
  PetscReal      divergence;   /* errors this many times the spread */
  PetscBool      stopdiverged;
  char           snapshotpath[PETSC_MAX_PATH_LEN], restart[PETSC_MAX_PATH_LEN], initial[PETSC_MAX_PATH_LEN], phases[PETSC_MAX_PATH_LEN], levels[PETSC_MAX_PATH_LEN];
  PetscBool      resume;       /* from the newest snapshot at snapshotpath, if there is one */
  PetscInt       damaged;      /* places before that of the newest that is whole */
  char           walltime[64]; /* as it was given */
  double         limit;        /* the same in seconds from the start of the process; 0: none */
  /* what is run */
  PetscInt      n, outputs, batches; /* state entries, numbers a sample's prediction has, cycles in an epoch */
  KalEnsemble   ensemble, copy[KAL_RUN_COPIES];
  PetscScalar  *mean;  /* of a generated ensemble */
  PetscReal    *prior; /* standard deviation of each entry */
  KalEnsemble   predictions[KAL_RUN_SLOTS];
  KalQueue      queue; /* NULL until it is needed */
  PetscInt      nextslot;
  KalDerivation derivation; /* NULL until derivatives are asked for */
  KalStatus    *status;
  PetscInt      points;     /* length of status */
  KalStatus    *laststatus; /* of the N members in the last cycle */
  /* of a run in time */
  PetscBool           timed;
  KalEnsemble         truth;    /* of a twin experiment: one member, NULL where there is none */
  PetscReal          *ranks;    /* N + 1 counts of the rank histogram */
  KalBatch            observed; /* the observations of the last cycle, before whitening; no samples before the first */
  PetscScalar        *target;   /* work: `roomed` observations, what is observed of the truth or whitened values; */
  PetscInt           *entry;    /* the entry that each sees; */
  PetscReal          *location; /* where that is, */
  PetscInt           *kind;     /* and what it is */
  PetscInt            roomed;
  PetscReal          *sums, *row; /* work of a diagnosis */
  const PetscScalar **column;
  PetscReal          *climatemean, *climatecovariance; /* of a free run, where the method needs them */
  PetscInt            climate;                         /* cycles of that run */
  KalLayer           *layer;                           /* of a network, stage by stage from 1; NULL where the model has none */
  /* where it stands */
  PetscInt   cycle; /* cycles done */
  PetscInt   begun; /* cycles done before this process */
  PetscBool  stopped, resumed, diverged;
  PetscBool  interrupted; /* ended early, with a snapshot to be continued */
  PetscBool  labelled;    /* of a run that was loaded to predict: it was trained on class labels */
  char      *result;
  PetscReal *history[KAL_HISTORY_COLUMNS];
  PetscInt   historysize, reported;
  PetscInt   p, unphased;                /* observations of the last cycle; cycles before phases were counted */
  double     started, seconds[3], spent; /* forecast, observe, analysis of the cycle in hand */
  PetscReal  passes;                     /* forward passes of the cycle in hand, the same on every rank */
  double     longestcycle, longestsnapshot;
};

enum {
  KAL_SECONDS_FORECAST,
  KAL_SECONDS_OBSERVE,
  KAL_SECONDS_ANALYSIS,
};

typedef struct {
  KalScore  mean, ensemble;
  PetscBool test;
} KalScores;

/* What a diagnosis finds of members; NaN where there is no truth to compare with. */
typedef struct {
  PetscReal rmse, spread, crps;
} KalDiagnosis;

PETSC_INTERN PetscErrorCode KalRunTruthCreate(KalRun);
PETSC_INTERN PetscErrorCode KalRunWindow(KalRun, KalBatch *);
PETSC_INTERN PetscErrorCode KalRunTime(KalRun, PetscInt offset, PetscReal *time);
PETSC_INTERN PetscErrorCode KalRunCountPasses(KalRun, const KalAsk *, const KalBatch *);
PETSC_INTERN PetscReal      KalRunPasses(KalRun);
PETSC_INTERN PetscErrorCode KalRunTellDomain(KalRun);
PETSC_INTERN PetscErrorCode KalRunTellTangent(KalRun);
PETSC_INTERN PetscErrorCode KalRunClimatologyOptions(KalRun);
PETSC_INTERN PetscErrorCode KalRunTellLayers(KalRun);
PETSC_INTERN PetscErrorCode KalRunTellResiduals(KalRun);
PETSC_INTERN PetscErrorCode KalRunLevelsLine(KalRun);
PETSC_INTERN PetscErrorCode KalRunLevelsWrite(KalRun);
PETSC_INTERN PetscErrorCode KalRunClimatology(KalRun);
PETSC_INTERN PetscErrorCode KalRunDiagnose(KalRun, KalEnsemble, const KalStatus *, KalDiagnosis *);
PETSC_INTERN PetscErrorCode KalRunCountRanks(KalRun, PetscReal time);
PETSC_INTERN PetscBool      KalRunHasDiverged(KalRun);
PETSC_INTERN PetscReal      KalRunOutliers(KalRun);
PETSC_INTERN void           KalRunTimeMean(KalRun, KalHistoryColumn, PetscReal *mean, PetscReal *error);

/* Model times that points are taken from and to. */
typedef struct {
  PetscReal from, to;
} KalSpan;

/* The first of N points of a rank: the first rank of a group has those of the group, as KalEnsembleSetMemberComm() has it. */
static inline PetscInt KalRunFirstPoint(KalRun run, PetscInt N, PetscMPIInt rank)
{
  return (PetscInt)((PetscInt64)N * ((rank + run->span - 1) / run->span) / (run->size / run->span));
}
PETSC_INTERN PetscErrorCode KalRunGroup(KalRun);
PETSC_INTERN PetscErrorCode KalRunJoin(KalRun, KalEnsemble);
PETSC_INTERN PetscErrorCode KalRunAllTogether(KalRun, PetscBool *);
PETSC_INTERN PetscErrorCode KalRunEvaluateTogether(KalRun, const KalAsk *, const KalSpan *, const KalBatch *, KalEnsemble predictions, PetscBool *done);
PETSC_INTERN PetscInt       KalRunMostColumns(KalEnsemble points, PetscInt n);
PETSC_INTERN PetscInt       KalRunActivePoints(const KalAsk *, PetscInt N);
PETSC_INTERN PetscInt       KalRunActive(KalRun);
PETSC_INTERN PetscErrorCode KalRunForecastColumns(KalRun, const KalSpan *, KalColumns *, KalStatus *);
PETSC_INTERN PetscErrorCode KalRunObserveColumns(KalRun, PetscReal time, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);
PETSC_INTERN PetscErrorCode KalRunEvaluate(KalRun, const KalAsk *, const KalBatch *, KalEnsemble *predictions);
PETSC_INTERN PetscErrorCode KalRunDifferentiate(KalRun, const KalAsk *, KalTold *);
PETSC_INTERN PetscErrorCode KalDerivationDestroy(KalDerivation *);
PETSC_INTERN PetscErrorCode KalQueueCreate(MPI_Comm, KalQueue *);
PETSC_INTERN PetscErrorCode KalQueueBegin(KalQueue, PetscInt members, PetscInt group);
PETSC_INTERN PetscErrorCode KalQueueNext(KalQueue, PetscInt *first, PetscInt *count);
PETSC_INTERN PetscErrorCode KalQueueDestroy(KalQueue *);
PETSC_INTERN PetscErrorCode KalRunScoreMean(KalRun, KalScore *);
PETSC_INTERN PetscErrorCode KalRunScoreEnsemble(KalRun, KalScore *);

PETSC_INTERN PetscErrorCode KalRunHistoryAdd(KalRun, const PetscReal[]);
PETSC_INTERN PetscErrorCode KalRunHistoryResize(KalRun, PetscInt);
PETSC_INTERN PetscBool      KalRunHistoryHas(KalRun, KalHistoryColumn);

PETSC_INTERN PetscErrorCode KalRunPhasesBegin(KalRun);
PETSC_INTERN PetscErrorCode KalRunPhasesWrite(KalRun);

PETSC_INTERN PetscErrorCode KalRunHeader(KalRun);
PETSC_INTERN PetscErrorCode KalRunLine(KalRun);
PETSC_INTERN PetscErrorCode KalRunCheckInputs(KalRun);
PETSC_INTERN PetscErrorCode KalRunProgress(KalRun, PetscBool last);
PETSC_INTERN PetscErrorCode KalRunSeconds(KalRun, double *);
PETSC_INTERN PetscErrorCode KalRunResult(KalRun);
PETSC_INTERN PetscErrorCode KalRunMemory(KalRun);
PETSC_INTERN PetscErrorCode KalAdviseLoudly(MPI_Comm);

PETSC_INTERN void           KalStopCatch(void);
PETSC_INTERN double         KalStopParse(const char *);
PETSC_INTERN PetscErrorCode KalStopCheckOptions(KalRun);
PETSC_INTERN PetscErrorCode KalRunMustStop(KalRun, PetscBool *);

PETSC_INTERN PetscErrorCode KalRunWrite(KalRun, PetscBool done);
PETSC_INTERN PetscErrorCode KalRunResume(KalRun);
PETSC_INTERN PetscErrorCode KalRunSetAside(KalRun);
PETSC_INTERN PetscErrorCode KalRunReadOptions(KalRun);
PETSC_INTERN PetscErrorCode KalRunRead(KalRun);
PETSC_INTERN PetscErrorCode KalRunCheckBeginning(KalRun);
PETSC_INTERN PetscErrorCode KalRunCheckRestart(KalRun);
PETSC_INTERN PetscErrorCode KalRunReadEnsemble(KalRun, KalSnapshot);
PETSC_INTERN PetscErrorCode KalRunReadNormalization(KalRun, KalSnapshot);
PETSC_INTERN PetscErrorCode KalRunMustAgree(KalRun, KalSnapshot, const char *name, const char *mine, const char *option);
PETSC_INTERN PetscErrorCode KalRunInitial(KalRun);
PETSC_INTERN PetscErrorCode KalRunWriteArrays(KalRun, KalSnapshot);
PETSC_INTERN PetscErrorCode KalRunReadArrays(KalRun, KalSnapshot);

/* Whose the options of a solver of the analysis (-analysis_ksp_... and so on) are. */
typedef enum {
  KAL_SOLVER_NONE,      /* nobody's: the method has none */
  KAL_SOLVER_HERE,      /* of one that has been set from them, but for those that it looks up later */
  KAL_SOLVER_ELSEWHERE, /* of one that is not made here */
} KalSolverOptions;

PETSC_INTERN PetscErrorCode KalProvenance(size_t, char *);
PETSC_INTERN PetscErrorCode KalOptionsRecord(char **);
PETSC_INTERN PetscErrorCode KalOptionsRestore(const char *);
PETSC_INTERN PetscErrorCode KalOptionsRefuseLarge(MPI_Comm);
PETSC_INTERN PetscErrorCode KalOptionsRefuseUnknown(MPI_Comm, KalSolverOptions);

#endif
