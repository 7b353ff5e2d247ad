/* The inside of KalRun, for src/run alone. */
#ifndef KALMIA_RUNIMPL_H
#define KALMIA_RUNIMPL_H

#include <kalmia/run.h>

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
  KAL_HISTORY_COLUMNS,
} KalHistoryColumn;

typedef struct {
  const char *name, *meaning, *units;
} KalHistoryInfo;
PETSC_INTERN const KalHistoryInfo KalHistoryInfos[KAL_HISTORY_COLUMNS];

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
  PetscBool      dry, evaluateensemble;
  PetscErrorCode error;    /* of the options, where a dry run goes on to find more */
  PetscInt       progress; /* -1: where standard error is a terminal */
  PetscReal      initialspread;
  char           snapshotpath[PETSC_MAX_PATH_LEN], restart[PETSC_MAX_PATH_LEN], initial[PETSC_MAX_PATH_LEN];
  /* what is run */
  PetscInt     n, outputs, batches; /* state entries, numbers a sample's prediction has, cycles in an epoch */
  KalEnsemble  ensemble, copy[KAL_RUN_COPIES];
  PetscScalar *mean;  /* of a generated ensemble */
  PetscReal   *prior; /* standard deviation of each entry */
  KalEnsemble  predictions[KAL_RUN_SLOTS];
  PetscInt     nextslot;
  KalStatus   *status;
  PetscInt     points;     /* length of status */
  KalStatus   *laststatus; /* of the N members in the last cycle */
  /* where it stands */
  PetscInt   cycle; /* cycles done */
  PetscBool  stopped, resumed;
  PetscBool  labelled; /* of a run that was loaded to predict: it was trained on class labels */
  char      *result;
  PetscReal *history[KAL_HISTORY_COLUMNS];
  PetscInt   historysize, reported;
  double     started, seconds[3], spent; /* forecast, observe, analysis of the cycle in hand */
};

/* Events of -log_view */
typedef enum {
  KAL_EVENT_FORECAST,
  KAL_EVENT_OBSERVE,
  KAL_EVENT_TELL,
  KAL_EVENT_UPDATE,
  KAL_EVENT_SCORE,
  KAL_EVENT_SNAPSHOT,
  KAL_EVENTS,
} KalEvent;
PETSC_INTERN PetscLogEvent  KalRunEvents[KAL_EVENTS];
PETSC_INTERN PetscErrorCode KalRunEventsRegister(void);

enum {
  KAL_SECONDS_FORECAST,
  KAL_SECONDS_OBSERVE,
  KAL_SECONDS_ANALYSIS,
};

typedef struct {
  KalScore  mean, ensemble;
  PetscBool test;
} KalScores;

PETSC_INTERN PetscErrorCode KalRunEvaluate(KalRun, KalEnsemble points, const KalBatch *, KalEnsemble *predictions);
PETSC_INTERN PetscErrorCode KalRunScoreMean(KalRun, KalScore *);
PETSC_INTERN PetscErrorCode KalRunScoreEnsemble(KalRun, KalScore *);

PETSC_INTERN PetscErrorCode KalRunHistoryAdd(KalRun, const PetscReal[]);
PETSC_INTERN PetscErrorCode KalRunHistoryResize(KalRun, PetscInt);

PETSC_INTERN PetscErrorCode KalRunHeader(KalRun);
PETSC_INTERN PetscErrorCode KalRunLine(KalRun);
PETSC_INTERN PetscErrorCode KalRunProgress(KalRun, PetscBool last);
PETSC_INTERN PetscErrorCode KalRunSeconds(KalRun, double *);
PETSC_INTERN PetscErrorCode KalRunResult(KalRun);
PETSC_INTERN PetscErrorCode KalRunMemory(KalRun);

PETSC_INTERN PetscErrorCode KalRunWrite(KalRun, PetscBool done);
PETSC_INTERN PetscErrorCode KalRunReadOptions(KalRun);
PETSC_INTERN PetscErrorCode KalRunRead(KalRun);
PETSC_INTERN PetscErrorCode KalRunCheckBeginning(KalRun);
PETSC_INTERN PetscErrorCode KalRunReadEnsemble(KalRun, KalSnapshot);
PETSC_INTERN PetscErrorCode KalRunReadNormalization(KalRun, KalSnapshot);
PETSC_INTERN PetscErrorCode KalRunMustAgree(KalRun, KalSnapshot, const char *name, const char *mine, const char *option);
PETSC_INTERN PetscErrorCode KalRunInitial(KalRun);

PETSC_INTERN PetscErrorCode KalProvenance(size_t, char *);
PETSC_INTERN PetscErrorCode KalOptionsRecord(char **);
PETSC_INTERN PetscErrorCode KalOptionsRestore(const char *);
PETSC_INTERN PetscErrorCode KalOptionsRefuseLarge(MPI_Comm);
PETSC_INTERN PetscErrorCode KalOptionsRefuseUnknown(MPI_Comm);

#endif
