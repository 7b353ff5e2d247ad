/* ranks: 7 */
/* Row blocks of several ensembles in one exchange, and what is computed from them, on 1, 2, 3, 5 and 7 ranks of one launch. */
#include "subcomm.h"

#define MOST 600

typedef struct {
  PetscInt n, block, group;
  PetscInt ensembles, members[KAL_ROWS_ENSEMBLES];
} Shape;

/* Few members and many, more ranks than members, more ranks than blocks, blocks by option and by default, groups. */
static const Shape shapes[] = {
    {40,  6,   1, 3, {5, 3, 11}  },
    {40,  0,   1, 1, {4}         },
    {60,  10,  7, 2, {9, 2}      },
    {600, 0,   5, 2, {6, 6}      },
    {7,   100, 1, 4, {1, 2, 3, 8}},
    {1,   0,   1, 2, {3, 1}      },
    {13,  1,   1, 1, {2}         },
};
#define SHAPES (sizeof shapes / sizeof shapes[0])

/* Whole numbers: sums of them are exact in any order. */
static double Value(PetscInt e, PetscInt i, PetscInt j)
{
  return 1.0 + i + 1000.0 * j + 100000.0 * e;
}

/* What the map makes of them: a number that depends on all members of all ensembles in the row, on the row and on the member. */
static double Mapped(const Shape *shape, PetscInt e, PetscInt i, PetscInt j)
{
  PetscInt f, k;
  double   sum = 0.0;

  for (f = 0; f < shape->ensembles; f++) {
    for (k = 0; k < shape->members[f]; k++) sum += (1.0 + f) * (1.0 + k) * Value(f, i, k);
  }
  return sum + 7.0 * j - 3.0 * e * i;
}

typedef struct {
  const Shape *shape;
  PetscInt     rows, visits[MOST];
} Seen;

static PetscErrorCode Map(void *ctx, const KalRows *rows)
{
  Seen        *seen  = (Seen *)ctx;
  const Shape *shape = seen->shape;
  PetscInt     e, i, j;

  PetscFunctionBeginUser;
  seen->visits[rows->index]++;
  KalHolds(rows->ensembles == shape->ensembles && rows->first == rows->index * seen->rows && rows->count == PetscMin(seen->rows, shape->n - rows->first));
  for (e = 0; e < rows->ensembles; e++) {
    KalHolds(rows->members[e] == shape->members[e] && rows->ld[e] >= rows->count);
    for (j = 0; j < rows->members[e]; j++) {
      for (i = 0; i < rows->count; i++) KalHolds(rows->x[e][i + (size_t)j * rows->ld[e]] == Value(e, rows->first + i, j));
    }
  }
  for (e = 0; e < rows->ensembles; e++) {
    for (j = 0; j < rows->members[e]; j++) {
      for (i = 0; i < rows->count; i++) rows->x[e][i + (size_t)j * rows->ld[e]] = Mapped(shape, e, rows->first + i, j);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Make(MPI_Comm comm, const Shape *shape, KalExchange exchange, PetscInt e, KalEnsemble *ensemble)
{
  PetscInt first, last, i, j;
  double  *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(comm, ensemble));
  PetscCall(KalEnsembleSetSizes(*ensemble, shape->n, shape->members[e]));
  PetscCall(KalEnsembleSetRowGroup(*ensemble, shape->group));
  PetscCall(KalEnsembleSetExchange(*ensemble, exchange));
  PetscCall(KalEnsembleSetFromOptions(*ensemble));
  PetscCall(KalEnsembleSetUp(*ensemble));
  PetscCall(KalEnsembleGetOwnershipRange(*ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(*ensemble, j, &x));
    for (i = 0; i < shape->n; i++) {
      KalHolds(x[i] == 0.0);
      x[i] = Value(e, i, j);
    }
  }
  PetscCall(KalEnsembleChanged(*ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckMembers(KalEnsemble ensemble, const Shape *shape, PetscInt e)
{
  PetscInt first, last, i, j;
  double  *x, *all;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(ensemble, j, &x));
    for (i = 0; i < shape->n; i++) KalHolds(x[i] == Mapped(shape, e, i, j));
  }
  PetscCall(PetscMalloc1((size_t)shape->n * shape->members[e], &all));
  PetscCall(KalEnsembleGatherRows(ensemble, all));
  for (j = 0; j < shape->members[e]; j++) {
    for (i = 0; i < shape->n; i++) KalHolds(all[i + (size_t)j * shape->n] == Mapped(shape, e, i, j));
  }
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Mean and spread against sums in long double; the mean's bits on every rank and number of ranks. */
static PetscErrorCode CheckStatistics(MPI_Comm comm, KalEnsemble ensemble, PetscInt n, PetscInt N, double (*at)(const void *, PetscInt, PetscInt), const void *ctx)
{
  const double *mean;
  double        spread;
  long double   square = 0.0L;
  PetscInt      i, j;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetMean(ensemble, &mean));
  PetscCall(KalEnsembleGetSpread(ensemble, &spread));
  for (i = 0; i < n; i++) {
    long double sum = 0.0L, most = 0.0L;

    for (j = 0; j < N; j++) {
      sum += at(ctx, i, j);
      most = fmaxl(most, fabsl((long double)at(ctx, i, j)));
    }
    KalNear(mean[i], sum / N, 1e-15L * most * N);
    for (j = 0; j < N; j++) square += (at(ctx, i, j) - sum / N) * (at(ctx, i, j) - sum / N);
  }
  square = N > 1 ? sqrtl(square / n / (N - 1)) : 0.0L;
  KalNear(spread, square, 1e-12L * square);
  PetscCall(KalSameBits(comm, mean, (size_t)n * sizeof *mean));
  PetscCall(KalSameBits(comm, &spread, sizeof spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const Shape *shape;
  PetscInt     e;
} Where;

static double MappedAt(const void *ctx, PetscInt i, PetscInt j)
{
  const Where *where = (const Where *)ctx;

  return Mapped(where->shape, where->e, i, j);
}

static double ValueAt(const void *ctx, PetscInt i, PetscInt j)
{
  return Value(((const Where *)ctx)->e, i, j);
}

static PetscErrorCode SetBlock(PetscInt rows)
{
  char text[16];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, sizeof text, "%" PetscInt_FMT, rows));
  PetscCall(PetscOptionsSetValue(NULL, "-ensemble_block_rows", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MapOne(MPI_Comm comm, const Shape *shape, const KalExchange exchange[])
{
  KalEnsemble ensemble[KAL_ROWS_ENSEMBLES];
  Seen        seen = {.shape = shape};
  Where       where;
  PetscInt    e, b, blocks;

  PetscFunctionBeginUser;
  PetscCall(SetBlock(shape->block));
  for (e = 0; e < shape->ensembles; e++) PetscCall(Make(comm, shape, exchange[e % 2], e, &ensemble[e]));
  PetscCall(KalEnsembleGetBlocks(ensemble[0], &seen.rows, &blocks));
  KalHolds(seen.rows % shape->group == 0 && seen.rows >= 1 && (blocks - 1) * seen.rows < shape->n && blocks * seen.rows >= shape->n && blocks <= MOST);
  if (shape->block) KalHolds(seen.rows == (PetscMin(shape->block, shape->n) + shape->group - 1) / shape->group * shape->group); /* no more than there are */
  PetscCall(KalSameBits(comm, &blocks, sizeof blocks));                                                                         /* blocks follow from sizes and options alone */
  for (e = 0; e < shape->ensembles; e++) {                                                                                      /* statistics that the map makes stale */
    where = (Where){shape, e};
    PetscCall(CheckStatistics(comm, ensemble[e], shape->n, shape->members[e], ValueAt, &where));
  }
  PetscCall(KalEnsembleMapRows(shape->ensembles, ensemble, Map, &seen));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, seen.visits, MOST, MPIU_INT, MPI_SUM, comm));
  for (b = 0; b < MOST; b++) KalHolds(seen.visits[b] == (b < blocks ? 1 : 0));
  for (e = 0; e < shape->ensembles; e++) {
    where = (Where){shape, e};
    PetscCall(CheckStatistics(comm, ensemble[e], shape->n, shape->members[e], MappedAt, &where)); /* e = 0: taken on the way */
    PetscCall(CheckMembers(ensemble[e], shape, e));
  }
  for (e = 0; e < shape->ensembles; e++) PetscCall(KalEnsembleDestroy(&ensemble[e]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MapOn(MPI_Comm comm, void *ctx)
{
  const KalExchange exchanges[][2] = {
      {KAL_EXCHANGE_SHARED,   KAL_EXCHANGE_SHARED  },
      {KAL_EXCHANGE_MESSAGES, KAL_EXCHANGE_MESSAGES},
      {KAL_EXCHANGE_AUTO,     KAL_EXCHANGE_MESSAGES}
  };
  size_t s, x;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < SHAPES; s++) {
    for (x = 0; x < 3; x++) PetscCall(MapOne(comm, &shapes[s], exchanges[x]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void MapsEveryBlockOnce(void **state)
{
  (void)state;
  KalOnEachCount(MapOn, NULL);
  KalCall(PetscOptionsClear(NULL));
}

/* Numbers with a large mean: a variance taken as a difference of squares would be lost. */
static double Rough(const void *ctx, PetscInt i, PetscInt j)
{
  (void)ctx;
  return 1e6 + KalTestNumber(5, (uint64_t)i * 977u + (uint64_t)j);
}

static PetscErrorCode Fill(KalEnsemble ensemble, PetscInt n)
{
  PetscInt first, last, i, j;
  double  *x;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(ensemble, j, &x));
    for (i = 0; i < n; i++) x[i] = Rough(NULL, i, j);
  }
  PetscCall(KalEnsembleChanged(ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sum of coefficients times departures, in long double. */
static PetscErrorCode CheckCombine(MPI_Comm comm, KalEnsemble ensemble, PetscInt n, PetscInt N)
{
  double  *c, *y;
  PetscInt i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(N, &c, n, &y));
  for (j = 0; j < N; j++) c[j] = 1.0 + KalTestNumber(6, (uint64_t)j);
  PetscCall(KalEnsembleCombine(ensemble, c, y));
  for (i = 0; i < n; i++) {
    long double mean = 0.0L, sum = 0.0L;

    for (j = 0; j < N; j++) mean += Rough(NULL, i, j);
    for (j = 0; j < N; j++) sum += c[j] * (Rough(NULL, i, j) - mean / N);
    KalNear(y[i], sum, 1e-14 * 1e6 * N);
  }
  PetscCall(KalSameBits(comm, y, (size_t)n * sizeof *y));
  PetscCall(PetscFree2(c, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckGatherBlocks(MPI_Comm comm, KalEnsemble ensemble, PetscInt n)
{
  PetscInt    rows, blocks, b, i;
  PetscMPIInt rank, size;
  double     *x;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  PetscCall(KalEnsembleGetBlocks(ensemble, &rows, &blocks));
  PetscCall(PetscMalloc1(n, &x));
  for (i = 0; i < n; i++) x[i] = NAN;
  for (b = blocks * rank / size; b < blocks * (rank + 1) / size; b++) {
    for (i = b * rows; i < PetscMin(n, (b + 1) * rows); i++) x[i] = 3.0 * i;
  }
  PetscCall(KalEnsembleGatherBlocks(ensemble, x));
  for (i = 0; i < n; i++) KalHolds(x[i] == 3.0 * i);
  PetscCall(PetscFree(x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StatisticsOn(MPI_Comm comm, void *ctx)
{
  const PetscInt sizes[][3] = {
      {500, 6,  64},
      {9,   40, 0 },
      {3,   2,  1 },
      {200, 1,  30}
  };
  const KalExchange exchanges[] = {KAL_EXCHANGE_SHARED, KAL_EXCHANGE_MESSAGES};
  size_t            s, x;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < PETSC_STATIC_ARRAY_LENGTH(sizes); s++) {
    for (x = 0; x < 2; x++) {
      const Shape   shape = {sizes[s][0], sizes[s][2], 1, 1, {sizes[s][1]}};
      KalEnsemble   ensemble, duplicate;
      const double *mean;
      PetscInt      i;

      PetscCall(SetBlock(shape.block));
      PetscCall(Make(comm, &shape, exchanges[x], 0, &ensemble));
      PetscCall(KalEnsembleGetMean(ensemble, &mean)); /* of Value(): to be forgotten when the members change */
      PetscCall(Fill(ensemble, shape.n));
      PetscCall(CheckStatistics(comm, ensemble, shape.n, shape.members[0], Rough, NULL));
      PetscCall(CheckStatistics(comm, ensemble, shape.n, shape.members[0], Rough, NULL));
      PetscCall(CheckCombine(comm, ensemble, shape.n, shape.members[0]));
      PetscCall(CheckGatherBlocks(comm, ensemble, shape.n));
      PetscCall(KalEnsembleDuplicate(ensemble, &duplicate));
      PetscCall(KalEnsembleGetMean(duplicate, &mean));
      for (i = 0; i < shape.n; i++) KalHolds(mean[i] == 0.0);
      PetscCall(Fill(duplicate, shape.n));
      PetscCall(CheckStatistics(comm, duplicate, shape.n, shape.members[0], Rough, NULL));
      PetscCall(KalEnsembleDestroy(&duplicate));
      PetscCall(KalEnsembleDestroy(&ensemble));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void MeanSpreadAndCombinations(void **state)
{
  (void)state;
  KalOnEachCount(StatisticsOn, NULL);
  KalCall(PetscOptionsClear(NULL));
}

/* Default blocks: enough of them for a few ranks, no larger than the cache, the same for every number of ranks. */
static PetscErrorCode BlocksOn(MPI_Comm comm, void *ctx)
{
  const PetscInt sizes[][2] = {
      {1000000,    256  },
      {79510,      512  },
      {31,         5    },
      {5120,       512  },
      {100000,     3    },
      {2000000000, 10000}
  };
  size_t s;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < PETSC_STATIC_ARRAY_LENGTH(sizes); s++) {
    KalEnsemble ensemble;
    PetscInt    rows, blocks;
    double     *none = NULL;

    PetscCall(KalEnsembleCreateGaussian(comm, sizes[s][0], sizes[s][1], none, none, &ensemble)); /* has blocks and no memory */
    PetscCall(KalEnsembleGetBlocks(ensemble, &rows, &blocks));
    KalHolds(rows >= 1 && blocks >= 1 && (PetscInt64)rows * (blocks - 1) < sizes[s][0] && (PetscInt64)rows * blocks >= sizes[s][0]);
    KalHolds(rows <= 4096 && ((PetscInt64)rows * sizes[s][1] * 8 <= 1 << 21 || rows <= 64));
    PetscCall(KalSameBits(comm, &rows, sizeof rows));
    PetscCall(KalEnsembleDestroy(&ensemble));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void DefaultBlocks(void **state)
{
  (void)state;
  KalOnEachCount(BlocksOn, NULL);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(MapsEveryBlockOnce),
    cmocka_unit_test(MeanSpreadAndCombinations),
    cmocka_unit_test(DefaultBlocks),
};

KAL_TEST_MAIN("ensemble rows", tests)
