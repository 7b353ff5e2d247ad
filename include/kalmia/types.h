/*
  What every noun shares: PETSc's version bridge, collective checks, counter-based draws,
  blocks of rows, and arrays that stand once a node.
*/
#ifndef KALMIA_TYPES_H
#define KALMIA_TYPES_H

#include <petscksp.h>

#if defined(PETSC_USE_COMPLEX) || !defined(PETSC_USE_REAL_DOUBLE)
#error "Kalmia needs a PETSc built for real double precision"
#endif
#if PETSC_VERSION_LT(3, 19, 0) && !defined(PETSC_SUCCESS)
#define PETSC_SUCCESS 0
#endif

/* What PETSc's option macros work on inside `setfromoptions`, where it is named PetscOptionsObject. */
#if PETSC_VERSION_LT(3, 23, 0)
typedef PetscOptionItems *KalOptionItems;
#else
typedef PetscOptionItems  KalOptionItems;
#endif

/* What MatShellSetOperation() takes. */
#if PETSC_VERSION_LT(3, 24, 0)
typedef void (*KalOperation)(void);
#else
typedef PetscErrorCodeFn *KalOperation;
#endif

#define KALMIA_VERSION "0.1.0"

typedef struct _p_KalEnsemble         *KalEnsemble;
typedef struct _p_KalModel            *KalModel;
typedef struct _p_KalParameterization *KalParameterization;
typedef struct _p_KalObservations     *KalObservations;
typedef struct _p_KalAnalysis         *KalAnalysis;
typedef struct _p_KalSnapshot         *KalSnapshot;
typedef struct _p_KalRun              *KalRun;

/* What became of a member in the forecast or observation of a cycle. */
typedef enum {
  KAL_MEMBER_OK        = 0,
  KAL_MEMBER_FAILED    = 1,
  KAL_MEMBER_NONFINITE = 2,
  KAL_MEMBER_IDLE      = 3, /* takes no part: KalAsk's `active` */
} KalMemberState;
typedef signed char KalStatus; /* a KalMemberState, one byte a member: travels as MPI_SIGNED_CHAR */

typedef enum {
  KAL_DOUBLE = 0,
  KAL_SINGLE = 1,
} KalPrecision;
PETSC_EXTERN const char *const KalPrecisions[];

/*
  Where state entries or observations are: up to three coordinates and a kind each. Entries of a negative kind have no
  place (a global parameter): they are near everything.
*/
#define KAL_DIMENSIONS 3
typedef struct {
  PetscInt  dimension;              /* 0: there are no locations */
  PetscReal length[KAL_DIMENSIONS]; /* of a periodic direction; 0: not periodic */
} KalDomain;

/* Coordinates (KAL_DIMENSIONS an entry, the last ones 0 where there are fewer) and kinds of state entries. */
typedef PetscErrorCode (*KalLocate)(void *ctx, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds);

/* Errors that one rank finds and all must report: see KalCheckAll(). */
PETSC_EXTERN PetscErrorCode KalCheckAllFailed(MPI_Comm, PetscErrorCode, const char *, int, const char *);

/*MC
   KalCheckAll - Turns an error found on some ranks into the same error on every rank

   Collective. The message of the lowest rank with a non-empty `text` is raised on all ranks of `comm`.

   Input Parameters:
+  comm - the communicator
.  code - PETSc error code to raise, for instance PETSC_ERR_FILE_OPEN; taken from the failing rank
-  text - char array: empty where all is well, else the message with the offending value and the remedy
M*/
#define KalCheckAll(comm, code, text) PetscCall(KalCheckAllFailed((comm), (code), (text), __LINE__, __FILE__))

/* An array that stands once a node, in a shared-memory window; every rank of the node sees it. */
typedef struct {
  void       *data; /* the bytes, the same on every rank of the node */
  PetscInt64  bytes;
  MPI_Comm    node; /* the ranks that share it */
  PetscMPIInt noderank;
  MPI_Win     window;
} KalShared;
PETSC_EXTERN PetscErrorCode KalSharedCreate(MPI_Comm, PetscInt64, KalShared *);
PETSC_EXTERN PetscErrorCode KalSharedSync(KalShared *); /* after node rank 0 wrote it */
PETSC_EXTERN PetscErrorCode KalSharedDestroy(KalShared *);

/* Counter-based draws (Philox4x32-10): a number follows from its key and its index alone. */
typedef enum {
  KAL_DRAW_PRIOR        = 1,
  KAL_DRAW_CENTER       = 2,
  KAL_DRAW_PERTURBATION = 3,
  KAL_DRAW_REDRAW       = 4,
  KAL_DRAW_OBSERVATION  = 5,
  KAL_DRAW_SHUFFLE      = 6,
  KAL_DRAW_INFLATION    = 7,
  KAL_DRAW_RECOVERY     = 8,
  KAL_DRAW_TEST         = 9,
  KAL_DRAW_TRUTH        = 10, /* the truth of a twin experiment: its start and its model noise */
  KAL_DRAW_ERROR        = 11, /* errors of a twin experiment's observations */
  KAL_DRAW_NOISE        = 12, /* model noise of the members */
  KAL_DRAW_ROTATION     = 13,
  KAL_DRAW_LAYER        = 14, /* perturbations of a network's layers */
  KAL_DRAW_ANCHOR       = 15, /* perturbed prior means */
  KAL_DRAW_DIFFUSION    = 16, /* noise of samplers and particles */
  KAL_DRAW_SUBSPACE     = 17, /* fixed matrices of a parameterization */
  KAL_DRAW_DROPOUT      = 18, /* entries of covariances that are left out */
  KAL_DRAW_FLOW         = 19, /* points of the Gaussian flow */
  KAL_DRAW_GROWTH       = 20, /* members that an ensemble grows by */
} KalDrawPurpose;
typedef struct {
  PetscInt       seed;
  KalDrawPurpose purpose;
  PetscInt64     cycle;  /* at most 2^32 - 1 */
  PetscInt64     member; /* at most 2^32 - 1 */
} KalKey;
PETSC_EXTERN PetscErrorCode KalDrawBits(KalKey, PetscInt64, PetscInt64, unsigned int *);
PETSC_EXTERN PetscErrorCode KalDrawUniform(KalKey, PetscInt64, PetscInt64, PetscReal *);
PETSC_EXTERN PetscErrorCode KalDrawNormal(KalKey, PetscInt64, PetscInt64, PetscReal *);
PETSC_EXTERN PetscErrorCode KalDrawNormalSingle(KalKey, PetscInt64, PetscInt64, float *);
PETSC_EXTERN PetscErrorCode KalDrawPermuted(KalKey, PetscInt64, PetscInt64, PetscInt64 *);

/* Digests (xxHash's XXH64), of bytes as they lie in memory. */
PETSC_EXTERN PetscErrorCode KalDigest(const void *, size_t, PetscInt64, PetscInt64 *);

#endif
