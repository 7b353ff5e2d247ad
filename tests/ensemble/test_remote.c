/* ranks: 7 */
/*
  Members of other ranks: every rank gets and puts any of them, in a node's shared window, through a window whose memory MPI gave, and
  through one over memory that was there, on 1, 2, 3, 5 and 7 ranks of one launch.
*/
#include "subcomm.h"

#include <time.h>

typedef struct {
  PetscInt n, N;
} Shape;

/* More ranks than members, one row, one member, and more rows than one call moves. */
static const Shape shapes[] = {
    {40,      11},
    {97,      3 },
    {1,       4 },
    {30,      1 },
    {1100003, 3 }
};
#define SHAPES (sizeof shapes / sizeof shapes[0])
#define LARGE  10000

typedef struct {
  KalExchange exchange;
  PetscBool   remote;
} Way;
static const Way ways[] = {
    {KAL_EXCHANGE_SHARED,   PETSC_TRUE },
    {KAL_EXCHANGE_MESSAGES, PETSC_TRUE },
    {KAL_EXCHANGE_MESSAGES, PETSC_FALSE}
};
#define WAYS (sizeof ways / sizeof ways[0])

static double Value(PetscInt i, PetscInt j, PetscInt turn)
{
  return (double)i + 1e8 * (double)j + 0.25 * (double)turn;
}

static PetscErrorCode Make(MPI_Comm comm, const Shape *shape, const Way *way, KalEnsemble *ensemble)
{
  PetscInt first, last, i, j;
  double  *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(comm, ensemble));
  PetscCall(KalEnsembleSetSizes(*ensemble, shape->n, shape->N));
  PetscCall(KalEnsembleSetExchange(*ensemble, way->exchange));
  PetscCall(KalEnsembleSetRemote(*ensemble, way->remote));
  PetscCall(KalEnsembleSetUp(*ensemble));
  PetscCall(KalEnsembleGetOwnershipRange(*ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(*ensemble, j, &x));
    for (i = 0; i < shape->n; i++) KalHolds(x[i] == 0.0); /* whoever gave the memory */
    for (i = 0; i < shape->n; i++) x[i] = Value(i, j, 0);
  }
  PetscCall(KalEnsembleChanged(*ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool Holds(PetscInt n, const double *x, PetscInt j, PetscInt turn)
{
  PetscInt i;

  for (i = 0; i < n && x[i] == Value(i, j, turn); i++) continue;
  return (PetscBool)(i == n);
}

/* Every rank reads all members, in groups that begin anywhere and lie with several ranks. */
static PetscErrorCode ReadAll(KalEnsemble ensemble, PetscInt turn)
{
  PetscInt   n, N, j, k, group;
  KalColumns columns;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSizes(ensemble, &n, &N));
  PetscCall(KalEnsembleRemoteBegin(ensemble));
  for (group = 1; group <= (n > LARGE ? 1 : 4); group++) {
    for (j = 0; j < N; j += group) {
      PetscCall(KalEnsembleRemoteGet(ensemble, j, PetscMin(group, N - j), PETSC_TRUE, &columns));
      KalHolds(columns.first == j && columns.count == PetscMin(group, N - j) && columns.total == N && columns.size == n);
      for (k = 0; k < columns.count; k++) KalHolds(Holds(n, columns.column[k], j + k, turn));
      PetscCall(KalEnsembleRemotePut(ensemble, PETSC_FALSE, &columns));
    }
  }
  PetscCall(KalEnsembleRemoteEnd(ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each member is written by one rank, another one in each turn: in place of what it held, or as a change of it. */
static PetscErrorCode WriteAll(KalEnsemble ensemble, PetscInt turn, PetscBool read)
{
  MPI_Comm    comm;
  PetscMPIInt rank, size;
  PetscInt    n, N, i, j;
  KalColumns  columns;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetComm(ensemble, &comm));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(KalEnsembleGetSizes(ensemble, &n, &N));
  PetscCall(KalEnsembleRemoteBegin(ensemble));
  for (j = 0; j < N; j++) {
    if ((j + turn) % size != rank) continue;
    PetscCall(KalEnsembleRemoteGet(ensemble, j, 1, read, &columns));
    if (read) KalHolds(Holds(n, columns.column[0], j, turn - 1));
    for (i = 0; i < n; i++) columns.column[0][i] = read ? columns.column[0][i] + 0.25 : Value(i, j, turn);
    PetscCall(KalEnsembleRemotePut(ensemble, PETSC_TRUE, &columns));
  }
  PetscCall(KalEnsembleRemoteEnd(ensemble));
  PetscCall(KalEnsembleChanged(ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What others wrote is what the owners hold, what rows hold, and what all read. */
static PetscErrorCode CheckAll(KalEnsemble ensemble, PetscInt turn)
{
  PetscInt           n, N, first, last, j, i;
  const PetscScalar *mean;
  double            *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSizes(ensemble, &n, &N));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(ensemble, j, &x));
    KalHolds(Holds(n, x, j, turn));
  }
  PetscCall(KalEnsembleGetMean(ensemble, &mean));
  for (i = 0; i < n; i++) KalHolds(fabs(mean[i] - Value(i, 0, turn) - 0.5e8 * (double)(N - 1)) < 1e-6);
  PetscCall(ReadAll(ensemble, turn));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAndWrite(MPI_Comm comm, const Shape *shape, const Way *way)
{
  KalEnsemble ensemble;
  PetscInt    turn;

  PetscFunctionBeginUser;
  PetscCall(Make(comm, shape, way, &ensemble));
  PetscCall(ReadAll(ensemble, 0));
  for (turn = 1; turn < (shape->n > LARGE ? 3 : 5); turn++) {
    PetscCall(WriteAll(ensemble, turn, (PetscBool)(turn % 2)));
    PetscCall(CheckAll(ensemble, turn));
  }
  PetscCall(KalEnsembleDestroy(&ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadAndWriteOn(MPI_Comm comm, void *ctx)
{
  PetscMPIInt size;
  size_t      s, w;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (s = 0; s < SHAPES; s++) {
    for (w = 0; w < WAYS; w++) {
      if (shapes[s].n <= LARGE || size == 3) PetscCall(ReadAndWrite(comm, &shapes[s], &ways[w]));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void AnyRankReadsAndWritesAnyMember(void **state)
{
  (void)state;
  KalOnEachCount(ReadAndWriteOn, NULL);
}

/* A duplicate is as its original: it has its own members, and they are reached in the same way. */
static PetscErrorCode DuplicateOn(MPI_Comm comm, void *ctx)
{
  KalEnsemble ensemble, duplicate;
  size_t      w;

  PetscFunctionBeginUser;
  (void)ctx;
  for (w = 0; w < WAYS; w++) {
    PetscCall(Make(comm, &shapes[0], &ways[w], &ensemble));
    PetscCall(ReadAll(ensemble, 0));
    PetscCall(KalEnsembleDuplicate(ensemble, &duplicate));
    PetscCall(WriteAll(duplicate, 3, PETSC_FALSE));
    PetscCall(WriteAll(ensemble, 1, PETSC_TRUE));
    PetscCall(CheckAll(duplicate, 3));
    PetscCall(CheckAll(ensemble, 1));
    PetscCall(KalEnsembleDestroy(&ensemble));
    PetscCall(CheckAll(duplicate, 3));
    PetscCall(KalEnsembleDestroy(&duplicate));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void DuplicatesAreReachedToo(void **state)
{
  (void)state;
  KalOnEachCount(DuplicateOn, NULL);
}

/*
  The rank that holds a member need not call MPI while another one gets it and puts it back: it looks at its memory until
  the member has changed. MPI promises it of no memory but what a window gave, hence KalEnsembleSetRemote().
*/
static PetscErrorCode NobodyServes(KalEnsemble ensemble)
{
  const struct timespec pause = {.tv_nsec = 1000000};
  MPI_Comm              comm;
  PetscMPIInt           rank, size;
  double               *x, start;
  KalColumns            columns;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetComm(ensemble, &comm));
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(KalEnsembleRemoteBegin(ensemble));
  if (rank == size - 1) { /* the last rank holds the last member */
    PetscCall(KalEnsembleGetMember(ensemble, shapes[0].N - 1, &x));
    start = MPI_Wtime();
    while (*(volatile double *)x != -7.0 && MPI_Wtime() - start < 10.0) (void)nanosleep(&pause, NULL);
    KalHolds(*(volatile double *)x == -7.0);
  } else if (rank == 0) {
    PetscCall(KalEnsembleRemoteGet(ensemble, shapes[0].N - 1, 1, PETSC_TRUE, &columns));
    columns.column[0][0] = -7.0;
    PetscCall(KalEnsembleRemotePut(ensemble, PETSC_TRUE, &columns));
  }
  PetscCall(KalEnsembleRemoteEnd(ensemble));
  PetscCall(KalEnsembleChanged(ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NobodyServesOn(MPI_Comm comm, void *ctx)
{
  KalEnsemble ensemble, duplicate;
  PetscMPIInt size;
  size_t      w;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (w = 0; w < WAYS && size > 1; w++) {
    if (!ways[w].remote) continue;
    PetscCall(Make(comm, &shapes[0], &ways[w], &ensemble));
    PetscCall(KalEnsembleDuplicate(ensemble, &duplicate));
    PetscCall(NobodyServes(ensemble));
    PetscCall(NobodyServes(duplicate));
    PetscCall(KalEnsembleDestroy(&duplicate));
    PetscCall(KalEnsembleDestroy(&ensemble));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void NobodyServesWhileItComputes(void **state)
{
  (void)state;
  KalOnEachCount(NobodyServesOn, NULL);
}

/* Any rank makes any member of a generated ensemble, with the bits that its own rank makes. */
static PetscErrorCode MadeAnywhere(KalEnsemble ensemble)
{
  MPI_Comm    comm;
  PetscInt    n, N, first, last, j, k;
  PetscInt64 *own, digest;
  PetscMPIInt length;
  KalColumns  columns;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetComm(ensemble, &comm));
  PetscCall(KalEnsembleGetSizes(ensemble, &n, &N));
  PetscCall(PetscMPIIntCast(N, &length));
  PetscCall(PetscCalloc1(N, &own));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetColumns(ensemble, j, 1, &columns));
    PetscCall(KalDigest(columns.column[0], (size_t)n * sizeof(double), 0, &own[j]));
    PetscCall(KalEnsembleRestoreColumns(ensemble, &columns));
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, own, length, MPI_INT64_T, MPI_BXOR, comm));
  PetscCall(KalEnsembleRemoteBegin(ensemble));
  for (j = 0; j < N; j += 2) {
    PetscCall(KalEnsembleRemoteGet(ensemble, j, PetscMin(2, N - j), PETSC_TRUE, &columns));
    for (k = 0; k < columns.count; k++) {
      PetscCall(KalDigest(columns.column[k], (size_t)n * sizeof(double), 0, &digest));
      KalHolds(digest == own[j + k]);
    }
    PetscCall(KalEnsembleRemotePut(ensemble, PETSC_TRUE, &columns)); /* they live nowhere */
  }
  PetscCall(KalEnsembleRemoteEnd(ensemble));
  PetscCall(KalSameBits(comm, own, (size_t)N * sizeof *own));
  PetscCall(PetscFree(own));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define MADE 53
static PetscErrorCode GeneratedOn(MPI_Comm comm, void *ctx)
{
  const Shape  shape = {MADE, 6};
  PetscScalar  mean[MADE], direction[MADE];
  PetscReal    deviation[MADE], steps[4] = {1.0, 0.5, 0.25, 0.125};
  KalEnsemble  a, b, ensemble;
  PetscScalar *x;
  PetscInt     i, j, first, last;
  size_t       w;

  PetscFunctionBeginUser;
  (void)ctx;
  for (i = 0; i < MADE; i++) {
    mean[i]      = KalTestNumber(1, (uint64_t)i);
    direction[i] = KalTestNumber(2, (uint64_t)i);
    deviation[i] = 1.5 + KalTestNumber(3, (uint64_t)i);
  }
  PetscCall(KalEnsembleCreateGaussian(comm, MADE, 9, mean, deviation, &ensemble));
  PetscCall(KalEnsembleGaussianSet(ensemble, (KalKey){3, KAL_DRAW_TEST, 5, 0}, 0.3, PETSC_TRUE, PETSC_TRUE));
  PetscCall(MadeAnywhere(ensemble));
  PetscCall(KalEnsembleDestroy(&ensemble));
  PetscCall(KalEnsembleCreateLine(comm, MADE, 4, mean, direction, steps, &ensemble));
  PetscCall(MadeAnywhere(ensemble));
  PetscCall(KalEnsembleDestroy(&ensemble));
  for (w = 0; w < WAYS; w++) {
    PetscCall(Make(comm, &shape, &ways[w], &a));
    PetscCall(KalEnsembleDuplicate(a, &b));
    PetscCall(KalEnsembleGetOwnershipRange(b, &first, &last));
    for (j = first; j < last; j++) {
      PetscCall(KalEnsembleGetMember(b, j, &x));
      for (i = 0; i < MADE; i++) x[i] = KalTestNumber(4, (uint64_t)(MADE * j + i));
    }
    PetscCall(KalEnsembleCreateExtrapolated(a, b, 0.7, &ensemble));
    PetscCall(MadeAnywhere(ensemble));
    PetscCall(KalEnsembleDestroy(&ensemble));
    PetscCall(KalEnsembleDestroy(&a));
    PetscCall(KalEnsembleDestroy(&b));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void GeneratedMembersAreMadeAnywhere(void **state)
{
  (void)state;
  KalOnEachCount(GeneratedOn, NULL);
}

static void WhatMakesNoSenseIsRefused(void **state)
{
  const Shape shape = {8, 5};
  KalEnsemble ensemble;
  KalColumns  columns;

  (void)state;
  KalCall(KalEnsembleCreate(PETSC_COMM_WORLD, &ensemble));
  KalCall(KalEnsembleSetSizes(ensemble, 8, 5));
  KalRefused(KalEnsembleRemoteBegin(ensemble), "after KalEnsembleSetUp()");
  KalCall(KalEnsembleDestroy(&ensemble));
  for (size_t w = 0; w < WAYS; w++) {
    KalCall(Make(PETSC_COMM_WORLD, &shape, &ways[w], &ensemble));
    KalRefused(KalEnsembleSetRemote(ensemble, PETSC_TRUE), "before KalEnsembleSetUp()");
    KalRefused(KalEnsembleRemoteGet(ensemble, 0, 1, PETSC_TRUE, &columns), "between KalEnsembleRemoteBegin() and");
    KalRefused(KalEnsembleRemoteEnd(ensemble), "without KalEnsembleRemoteBegin()");
    KalCall(KalEnsembleRemoteBegin(ensemble));
    KalRefused(KalEnsembleRemoteBegin(ensemble), "twice");
    KalRefused(KalEnsembleRemoteGet(ensemble, 4, 2, PETSC_TRUE, &columns), "2 members from member 4 on were asked for; the ensemble has members 0 to 4");
    KalRefused(KalEnsembleRemoteGet(ensemble, -1, 1, PETSC_TRUE, &columns), "from member -1 on");
    KalRefused(KalEnsembleRemoteGet(ensemble, 0, -1, PETSC_TRUE, &columns), "-1 members");
    KalCall(KalEnsembleRemoteGet(ensemble, 5, 0, PETSC_TRUE, &columns));
    KalCall(KalEnsembleRemotePut(ensemble, PETSC_TRUE, &columns));
    KalCall(KalEnsembleRemoteEnd(ensemble));
    KalCall(KalEnsembleDestroy(&ensemble));
  }
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(AnyRankReadsAndWritesAnyMember), cmocka_unit_test(DuplicatesAreReachedToo), cmocka_unit_test(NobodyServesWhileItComputes), cmocka_unit_test(GeneratedMembersAreMadeAnywhere), cmocka_unit_test(WhatMakesNoSenseIsRefused)};

  return KalTestMain(argc, argv, "members of other ranks", tests, sizeof tests / sizeof tests[0]);
}
