/* KalEnsemble: N members of n numbers, who owns which, and the streaming of row blocks. */
#ifndef KALMIA_ENSEMBLE_H
#define KALMIA_ENSEMBLE_H

#include <kalmia/types.h>

/*
  Some consecutive members as columns of n numbers, each whole on this rank.
  Column k is member first + k; a model may work on them together but never lets one touch another.
*/
typedef struct {
  PetscInt      first;  /* index of the first member in its ensemble */
  PetscInt      count;  /* columns here */
  PetscInt      total;  /* members of the whole ensemble */
  PetscInt      size;   /* numbers in a column */
  PetscScalar **column; /* count pointers */
} KalColumns;

/*
  A block of rows: all members' values of some consecutive state entries.
  Entry i of member j is x[e][i + j*ld[e]] for 0 <= i < count, 0 <= j < members[e].
*/
#define KAL_ROWS_ENSEMBLES 16
typedef struct {
  PetscInt     first;                       /* state entry of the first row */
  PetscInt     count;                       /* rows in the block */
  PetscInt     index;                       /* which canonical block this is */
  PetscInt     ensembles;                   /* ensembles in the exchange */
  PetscInt     members[KAL_ROWS_ENSEMBLES]; /* members of each */
  PetscScalar *x[KAL_ROWS_ENSEMBLES];
  PetscInt     ld[KAL_ROWS_ENSEMBLES];
} KalRows;

typedef PetscErrorCode (*KalRowsMap)(void *ctx, const KalRows *rows);
typedef PetscErrorCode (*KalRowsSum)(void *ctx, const KalRows *rows, PetscReal *sums);

typedef enum {
  KAL_EXCHANGE_AUTO,
  KAL_EXCHANGE_SHARED,
  KAL_EXCHANGE_MESSAGES,
} KalExchange;
PETSC_EXTERN const char *const KalExchanges[];

/* What a phase of the cycles took on this rank, and what it moved: see KalPhaseGet(). */
typedef struct {
  PetscReal  seconds;
  PetscInt64 sent, received; /* bytes, to and from other ranks */
  PetscInt64 messages;       /* sent and received */
  PetscInt64 collectives;    /* calls */
  PetscInt64 shared;         /* bytes of others' members, used where they lie */
} KalPhaseCost;
PETSC_EXTERN const char *const KalPhaseNames[];
PETSC_EXTERN PetscErrorCode    KalPhasesReset(void);
PETSC_EXTERN PetscErrorCode    KalPhaseGet(const char[], KalPhaseCost *);

/* Life cycle of a stored ensemble */
PETSC_EXTERN PetscErrorCode KalEnsembleCreate(MPI_Comm, KalEnsemble *);
PETSC_EXTERN PetscErrorCode KalEnsembleSetSizes(KalEnsemble, PetscInt, PetscInt);
PETSC_EXTERN PetscErrorCode KalEnsembleSetRowGroup(KalEnsemble, PetscInt);
PETSC_EXTERN PetscErrorCode KalEnsembleSetBlockRows(KalEnsemble, PetscInt);
PETSC_EXTERN PetscErrorCode KalEnsembleSetGram(KalEnsemble, PetscBool);
PETSC_EXTERN PetscErrorCode KalEnsembleSetExchange(KalEnsemble, KalExchange);
PETSC_EXTERN PetscErrorCode KalEnsembleSetFromOptions(KalEnsemble);
PETSC_EXTERN PetscErrorCode KalEnsembleSetUp(KalEnsemble);
PETSC_EXTERN PetscErrorCode KalEnsembleDuplicate(KalEnsemble, KalEnsemble *);
PETSC_EXTERN PetscErrorCode KalEnsembleView(KalEnsemble, PetscViewer);
PETSC_EXTERN PetscErrorCode KalEnsembleDestroy(KalEnsemble *);

/* Generated ensembles: members are made where they are needed and never sent */
PETSC_EXTERN PetscErrorCode KalEnsembleCreateGaussian(MPI_Comm, PetscInt, PetscInt, const PetscScalar *, const PetscReal *, KalEnsemble *);
PETSC_EXTERN PetscErrorCode KalEnsembleGaussianSet(KalEnsemble, KalKey, PetscReal, PetscBool, PetscBool);
PETSC_EXTERN PetscErrorCode KalEnsembleGaussianGet(KalEnsemble, KalKey *, PetscReal *, PetscBool *);
PETSC_EXTERN PetscErrorCode KalEnsembleCreateLine(MPI_Comm, PetscInt, PetscInt, const PetscScalar *, const PetscScalar *, const PetscReal *, KalEnsemble *);
PETSC_EXTERN PetscErrorCode KalEnsembleCreateExtrapolated(KalEnsemble, KalEnsemble, PetscReal, KalEnsemble *);
PETSC_EXTERN PetscErrorCode KalEnsembleSetFactor(KalEnsemble, PetscReal);

/* Sizes and owners */
PETSC_EXTERN PetscErrorCode KalEnsembleGetComm(KalEnsemble, MPI_Comm *);
PETSC_EXTERN PetscErrorCode KalEnsembleGetSizes(KalEnsemble, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalEnsembleGetOwnershipRange(KalEnsemble, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalEnsembleGetBlocks(KalEnsemble, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalEnsembleGetBlockRange(KalEnsemble, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalEnsembleGetExchange(KalEnsemble, KalExchange *);
PETSC_EXTERN PetscErrorCode KalEnsembleIsStored(KalEnsemble, PetscBool *);

/* Members: local, whole */
PETSC_EXTERN PetscErrorCode KalEnsembleGetMember(KalEnsemble, PetscInt, PetscScalar **);
PETSC_EXTERN PetscErrorCode KalEnsembleGetColumns(KalEnsemble, PetscInt, PetscInt, KalColumns *);
PETSC_EXTERN PetscErrorCode KalEnsembleRestoreColumns(KalEnsemble, KalColumns *);
PETSC_EXTERN PetscErrorCode KalEnsembleChanged(KalEnsemble);

/* Members: of any rank, one-sided */
PETSC_EXTERN PetscErrorCode KalEnsembleSetRemote(KalEnsemble, PetscBool);
PETSC_EXTERN PetscErrorCode KalEnsembleRemoteBegin(KalEnsemble);
PETSC_EXTERN PetscErrorCode KalEnsembleRemoteGet(KalEnsemble, PetscInt, PetscInt, PetscBool, KalColumns *);
PETSC_EXTERN PetscErrorCode KalEnsembleRemotePut(KalEnsemble, PetscBool, KalColumns *);
PETSC_EXTERN PetscErrorCode KalEnsembleRemoteEnd(KalEnsemble);

/* Members: of a group of ranks, which work on them together */
PETSC_EXTERN PetscErrorCode KalEnsembleSetMemberComm(KalEnsemble, MPI_Comm);
PETSC_EXTERN PetscErrorCode KalEnsembleGetGroupRange(KalEnsemble, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalEnsembleGroupGet(KalEnsemble, PetscInt, PetscInt, PetscBool, KalColumns *);
PETSC_EXTERN PetscErrorCode KalEnsembleGroupMeet(KalEnsemble);
PETSC_EXTERN PetscErrorCode KalEnsembleGroupPlaces(KalEnsemble, PetscInt, PetscInt, const PetscInt[], PetscScalar *[]);
PETSC_EXTERN PetscErrorCode KalEnsembleGroupGather(KalEnsemble, PetscInt, PetscInt, const PetscInt[]);

/* Rows: the only large communication of the program */
PETSC_EXTERN PetscErrorCode KalEnsembleMapRows(PetscInt, KalEnsemble[], KalRowsMap, void *);
PETSC_EXTERN PetscErrorCode KalEnsembleSumRows(PetscInt, KalEnsemble[], KalRowsSum, void *, PetscInt, PetscReal *);
PETSC_EXTERN PetscErrorCode KalEnsembleFetchRows(KalEnsemble, PetscInt, const PetscInt[], PetscScalar *);
PETSC_EXTERN PetscErrorCode KalEnsembleGatherRows(KalEnsemble, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalEnsembleGatherBlocks(KalEnsemble, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalEnsembleCombine(KalEnsemble, const PetscReal *, PetscScalar *);

/* Statistics and digests, the same bits on every layout */
PETSC_EXTERN PetscErrorCode KalEnsembleGetMean(KalEnsemble, const PetscScalar **);
PETSC_EXTERN PetscErrorCode KalEnsembleGetSpread(KalEnsemble, PetscReal *);
PETSC_EXTERN PetscErrorCode KalEnsembleGetMemberDigests(KalEnsemble, PetscInt64 *);
PETSC_EXTERN PetscErrorCode KalEnsembleGatherDigests(KalEnsemble, PetscBool, PetscInt64 *);
PETSC_EXTERN PetscErrorCode KalEnsembleChecksum(KalEnsemble, PetscInt64 *);
PETSC_EXTERN PetscErrorCode KalEnsembleGetMemory(KalEnsemble, PetscReal *);

/* The fixed-tree sum under KalEnsembleSumRows(), for small arrays of any kind */
PETSC_EXTERN PetscErrorCode KalTreeSum(MPI_Comm, PetscInt, PetscInt, const PetscReal *, PetscReal *);

#endif
