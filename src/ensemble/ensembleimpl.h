/* The inside of KalEnsemble, for src/ensemble alone. */
#ifndef KALMIA_ENSEMBLEIMPL_H
#define KALMIA_ENSEMBLEIMPL_H

#include <kalmia/ensemble.h>

#include <ensemble/events.h>

typedef enum {
  KAL_KIND_STORED,
  KAL_KIND_GAUSSIAN,
  KAL_KIND_LINE,
  KAL_KIND_EXTRAPOLATED,
} KalKind;

/* How much of the row means and the spread is known. */
typedef enum {
  KAL_STATISTICS_NONE,
  KAL_STATISTICS_OWNED,
  KAL_STATISTICS_ALL,
} KalStatistics;

struct _p_KalEnsemble {
  MPI_Comm    comm;
  PetscMPIInt rank, size;
  KalKind     kind;
  PetscBool   setup;
  PetscInt    n, N;
  PetscInt    first, last;   /* local members */
  MPI_Comm    together;      /* the ranks that work on a member together, MPI_COMM_SELF or borrowed; */
  PetscMPIInt span, place;   /* how many they are, and which of them this is */
  PetscInt    group;         /* rows that must stay together in a block */
  PetscInt    wanted;        /* rows in a block by option, or 0 */
  PetscInt    least;         /* rows in a block at least, where they are not by option */
  PetscInt    rows, nblocks; /* canonical blocks: from n, N and the options alone */

  /* stored */
  KalExchange  exchange;
  PetscScalar *local; /* the local members, one after another */
  PetscScalar *base;  /* member 0 where this rank can reach all members in memory, else NULL */
  PetscScalar *owned; /* what must be freed, or NULL for a window's memory */
  MPI_Comm     node;
  MPI_Win      window;
  PetscBool    remote, reached; /* other ranks will work on members; they may now */
  MPI_Win      access;          /* over the local members where others cannot reach them in memory, or MPI_WIN_NULL */

  /* statistics, a by-product of writing rows */
  KalStatistics statistics;
  PetscScalar  *mean;
  PetscReal    *squares; /* a block's sum of squared deviations from the row means */

  /* generated: borrowed vectors of n numbers, the same on every rank */
  const PetscScalar *center, *direction;
  const PetscReal   *deviation, *steps;
  KalKey             key;
  PetscReal          factor;
  PetscBool          antithetic, centered;
  KalEnsemble        a, b;

  /* columns made for GetColumns() */
  PetscScalar *scratch, **pointers;
  size_t       scratchsize;
  PetscInt     npointers;
};

PETSC_INTERN PetscErrorCode KalEnsembleBlock_Private(KalEnsemble, PetscInt, PetscInt *, PetscInt *);
PETSC_INTERN PetscErrorCode KalEnsembleGenerate_Private(KalEnsemble, PetscInt, PetscScalar *);
PETSC_INTERN PetscErrorCode KalEnsembleExtrapolate_Private(KalEnsemble, const PetscScalar *, const PetscScalar *, PetscScalar *);
PETSC_INTERN PetscErrorCode KalEnsembleReserve_Private(KalEnsemble, PetscInt, size_t);
PETSC_INTERN PetscErrorCode KalEnsembleAllocate_Private(KalEnsemble);
PETSC_INTERN PetscErrorCode KalEnsembleCloseRemote_Private(KalEnsemble);
PETSC_INTERN PetscErrorCode KalEnsembleSync_Private(KalEnsemble);
PETSC_INTERN PetscErrorCode KalRowStatistics_Private(KalEnsemble, const KalRows *, PetscInt);

/* The first of `count` things that belongs to a rank: all that is dealt out is dealt out so. */
static inline PetscInt KalShare(PetscInt count, PetscInt rank, PetscInt size)
{
  return (PetscInt)((PetscInt64)count * rank / size);
}

/* Whether any rank can make any member by itself. */
static inline PetscBool KalMadeAnywhere(KalEnsemble e)
{
  return (PetscBool)(e->kind == KAL_KIND_GAUSSIAN || e->kind == KAL_KIND_LINE);
}

/* The first member of a rank: members are dealt out to groups of ranks, and the first rank of each holds them. */
static inline PetscInt KalFirstMember(KalEnsemble e, PetscInt rank)
{
  return KalShare(e->N, (rank + e->span - 1) / e->span, e->size / e->span);
}

/* Sums over leaves in the one order of a binary tree, whoever holds which leaves. */
typedef struct {
  MPI_Comm    comm;
  PetscMPIInt rank, size;
  PetscInt    leaves, count; /* leaves in all, numbers in each */
  PetscInt    next;          /* leaf to be added next */
  PetscInt    depth;         /* partial sums on the stack */
  PetscInt    width[64];     /* leaves under each */
  PetscReal  *sum[64];
  PetscReal  *spare[64]; /* buffers to use again */
  PetscInt    nspare;
} KalTree;
PETSC_INTERN PetscErrorCode KalTreeBegin(KalTree *, MPI_Comm, PetscInt, PetscInt);
PETSC_INTERN PetscErrorCode KalTreeLeaf(KalTree *, PetscReal **);
PETSC_INTERN PetscErrorCode KalTreeAdd(KalTree *);
PETSC_INTERN PetscErrorCode KalTreeEnd(KalTree *, PetscReal *);

#endif
