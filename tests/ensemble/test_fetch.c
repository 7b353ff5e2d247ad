/* ranks: 7 */
/* Rows on demand: uneven, empty, whole and large requests, by both exchanges, on 1, 2, 3, 5 and 7 ranks of one launch. */
#include "subcomm.h"

#include <stdlib.h>

typedef struct {
  PetscInt n, N;
} Shape;

/* More ranks than members, one row, one member, and more rows than a message takes. */
static const Shape shapes[] = {
    {40,    6 },
    {97,    3 },
    {1,     4 },
    {30,    1 },
    {60000, 64}
};
#define SHAPES (sizeof shapes / sizeof shapes[0])
#define LARGE  10000

static double Value(PetscInt i, PetscInt j)
{
  return (double)i + 1e6 * (double)j + 0.5;
}

static PetscErrorCode Make(MPI_Comm comm, const Shape *shape, KalExchange exchange, KalEnsemble *ensemble)
{
  PetscInt first, last, i, j;
  double  *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(comm, ensemble));
  PetscCall(KalEnsembleSetSizes(*ensemble, shape->n, shape->N));
  PetscCall(KalEnsembleSetExchange(*ensemble, exchange));
  PetscCall(KalEnsembleSetUp(*ensemble));
  PetscCall(KalEnsembleGetOwnershipRange(*ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(*ensemble, j, &x));
    for (i = 0; i < shape->n; i++) x[i] = Value(i, j);
  }
  PetscCall(KalEnsembleChanged(*ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a rank wants in a round: nothing, all, one run, or scattered entries, each rank something else. */
static PetscInt Wanted(const Shape *shape, PetscInt round, PetscMPIInt rank, PetscInt *entries)
{
  PetscInt i, count = 0;

  for (i = 0; i < shape->n; i++) {
    const PetscInt kind = (round + rank) % 4;
    PetscBool      take = PETSC_FALSE;

    if (kind == 1) take = PETSC_TRUE;
    else if (kind == 2) take = (PetscBool)(i >= shape->n / 3 && i < shape->n - 2);
    else if (kind == 3) take = (PetscBool)(KalTestNumber(71 + (uint64_t)rank, (uint64_t)(round * shape->n + i)) > 0.3);
    if (take) entries[count++] = i;
  }
  return count;
}

static PetscErrorCode FetchOne(MPI_Comm comm, const Shape *shape, KalExchange exchange)
{
  KalEnsemble ensemble;
  PetscMPIInt rank;
  PetscInt    round, rounds = shape->n > LARGE ? 2 : 5, count, k, j, *entries;
  double     *out;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(Make(comm, shape, exchange, &ensemble));
  PetscCall(PetscMalloc2(shape->n, &entries, (size_t)shape->n * shape->N + 1, &out));
  for (round = 0; round < rounds; round++) {
    count                         = Wanted(shape, round, rank, entries);
    out[(size_t)count * shape->N] = -7.0; /* nothing is written behind the end */
    PetscCall(KalEnsembleFetchRows(ensemble, count, entries, out));
    for (j = 0; j < shape->N; j++) {
      for (k = 0; k < count; k++) KalHolds(out[k + (size_t)j * count] == Value(entries[k], j));
    }
    KalHolds(out[(size_t)count * shape->N] == -7.0);
  }
  PetscCall(PetscFree2(entries, out));
  PetscCall(KalEnsembleDestroy(&ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FetchOn(MPI_Comm comm, void *ctx)
{
  const KalExchange exchanges[] = {KAL_EXCHANGE_SHARED, KAL_EXCHANGE_MESSAGES};
  PetscMPIInt       size;
  size_t            s, x;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (s = 0; s < SHAPES; s++) {
    for (x = 0; x < 2; x++) {
      if (shapes[s].n <= LARGE || size == 3) PetscCall(FetchOne(comm, &shapes[s], exchanges[x]));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void EachRankGetsWhatItAsksFor(void **state)
{
  (void)state;
  KalOnEachCount(FetchOn, NULL);
}

/* What is fetched is what the members hold at that time, after they changed as well. */
static PetscErrorCode AgainOn(MPI_Comm comm, void *ctx)
{
  const KalExchange exchanges[] = {KAL_EXCHANGE_SHARED, KAL_EXCHANGE_MESSAGES};
  const Shape       shape       = {50, 5};
  const PetscInt    entries[]   = {0, 7, 8, 49};
  PetscInt          x, turn, first, last, j, k, i;
  double            out[20], *member;
  KalEnsemble       ensemble;

  PetscFunctionBeginUser;
  (void)ctx;
  for (x = 0; x < 2; x++) {
    PetscCall(Make(comm, &shape, exchanges[x], &ensemble));
    for (turn = 0; turn < 20; turn++) {
      PetscCall(KalEnsembleFetchRows(ensemble, 4, entries, out));
      for (k = 0; k < 4; k++) {
        for (j = 0; j < shape.N; j++) KalHolds(out[k + j * 4] == Value(entries[k], j) + 3.0 * turn);
      }
      PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
      for (j = first; j < last; j++) {
        PetscCall(KalEnsembleGetMember(ensemble, j, &member));
        for (i = 0; i < shape.n; i++) member[i] += 3.0;
      }
      PetscCall(KalEnsembleChanged(ensemble));
    }
    PetscCall(KalEnsembleDestroy(&ensemble));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void MembersThatChange(void **state)
{
  (void)state;
  KalOnEachCount(AgainOn, NULL);
}

/* The blocks of the ranks follow on one another and are those that are mapped. */
static PetscErrorCode Note(void *ctx, const KalRows *rows)
{
  PetscInt *visits = (PetscInt *)ctx;

  PetscFunctionBeginUser;
  visits[rows->index]++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RangeOn(MPI_Comm comm, void *ctx)
{
  const Shape shape = {61, 3};
  KalEnsemble ensemble;
  PetscInt    visits[61] = {0}, first, last, blocks, b;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCall(PetscOptionsSetValue(NULL, "-ensemble_block_rows", "4"));
  PetscCall(KalEnsembleCreate(comm, &ensemble));
  PetscCall(KalEnsembleSetSizes(ensemble, shape.n, shape.N));
  PetscCall(KalEnsembleSetFromOptions(ensemble));
  PetscCall(KalEnsembleSetUp(ensemble));
  PetscCall(KalEnsembleGetBlocks(ensemble, NULL, &blocks));
  PetscCall(KalEnsembleGetBlockRange(ensemble, &first, &last));
  PetscCall(KalEnsembleMapRows(1, &ensemble, Note, visits));
  KalHolds(blocks == 16);
  for (b = 0; b < 61; b++) KalHolds(visits[b] == (b >= first && b < last ? 1 : 0));
  PetscCall(KalEnsembleDestroy(&ensemble));
  PetscCall(PetscOptionsClear(NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void BlocksOfARank(void **state)
{
  (void)state;
  KalOnEachCount(RangeOn, NULL);
}

/* One rank's mistake is every rank's error. */
static void Refusals(void **state)
{
  const Shape    shape  = {10, 3};
  const PetscInt good[] = {2, 5}, twice[] = {5, 5}, order[] = {5, 2}, beyond[] = {2, 10}, negative[] = {-1, 2};
  double         out[6], *none = NULL;
  KalEnsemble    ensemble, generated;
  PetscMPIInt    rank, size;
  PetscBool      mine;

  (void)state;
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  (void)MPI_Comm_size(PETSC_COMM_WORLD, &size);
  mine = (PetscBool)(rank == size - 1);
  KalCall(Make(PETSC_COMM_WORLD, &shape, KAL_EXCHANGE_AUTO, &ensemble));
  KalRefused(KalEnsembleFetchRows(ensemble, 2, mine ? twice : good, out), "Row 5 was asked for after row 5");
  KalRefused(KalEnsembleFetchRows(ensemble, 2, mine ? order : good, out), "Row 2 was asked for after row 5");
  KalRefused(KalEnsembleFetchRows(ensemble, 2, mine ? beyond : good, out), "Row 10 was asked for; the ensemble has rows 0 to 9");
  KalRefused(KalEnsembleFetchRows(ensemble, 2, mine ? negative : good, out), "Row -1 was asked for");
  KalRefused(KalEnsembleFetchRows(ensemble, mine ? -3 : 2, good, out), "-3 rows were asked for");
  KalCall(KalEnsembleFetchRows(ensemble, 2, good, out));
  KalAssert(out[3] == Value(5, 1));
  KalCall(KalEnsembleCreateGaussian(PETSC_COMM_WORLD, 10, 3, none, none, &generated));
  KalRefused(KalEnsembleFetchRows(generated, 2, good, out), "Only rows of a stored ensemble");
  KalCall(KalEnsembleDestroy(&generated));
  KalCall(KalEnsembleDestroy(&ensemble));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(EachRankGetsWhatItAsksFor),
    cmocka_unit_test(MembersThatChange),
    cmocka_unit_test(BlocksOfARank),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("ensemble fetch", tests)
