/* ranks: 7 */
/* Members as columns, stored and generated, their digests, and what ranks agree on, on 1, 2, 3, 5 and 7 ranks of one launch. */
#include "subcomm.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static double Value(PetscInt i, PetscInt j)
{
  return KalTestNumber(3, (uint64_t)i * 1009u + (uint64_t)j);
}

/* Digests as documented, made here of the numbers themselves: XXH64 of each member's bytes, and of these digests in order. */
static PetscErrorCode DigestsOn(MPI_Comm comm, void *ctx)
{
  const PetscInt sizes[][2] = {
      {33,  12},
      {1,   1 },
      {5,   3 },
      {700, 2 }
  };
  const KalExchange exchanges[] = {KAL_EXCHANGE_SHARED, KAL_EXCHANGE_MESSAGES};
  size_t            s, x;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < PETSC_STATIC_ARRAY_LENGTH(sizes); s++) {
    for (x = 0; x < 2; x++) {
      const PetscInt n = sizes[s][0], N = sizes[s][1];
      KalEnsemble    ensemble;
      PetscInt       first, last, i, j;
      PetscInt64     digests[12], checksum, before;
      XXH64_hash_t   expected[12], all;
      double        *x_j, member[700];

      PetscCall(KalEnsembleCreate(comm, &ensemble));
      PetscCall(KalEnsembleSetSizes(ensemble, n, N));
      PetscCall(KalEnsembleSetExchange(ensemble, exchanges[x]));
      PetscCall(KalEnsembleSetUp(ensemble));
      PetscCall(KalEnsembleChecksum(ensemble, &before));
      PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
      for (j = first; j < last; j++) {
        PetscCall(KalEnsembleGetMember(ensemble, j, &x_j));
        for (i = 0; i < n; i++) x_j[i] = Value(i, j);
      }
      for (j = 0; j < N; j++) {
        for (i = 0; i < n; i++) member[i] = Value(i, j);
        expected[j] = XXH64(member, (size_t)n * sizeof *member, 0);
      }
      all = XXH64(expected, (size_t)N * sizeof *expected, 0);
      PetscCall(KalEnsembleGetMemberDigests(ensemble, digests));
      PetscCall(KalEnsembleChecksum(ensemble, &checksum));
      for (j = 0; j < N; j++) KalHolds((XXH64_hash_t)digests[j] == expected[j]);
      KalHolds((XXH64_hash_t)checksum == all && checksum != before);
      PetscCall(KalEnsembleDestroy(&ensemble));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Digests(void **state)
{
  const char text[] = "members";
  PetscInt64 digest;

  (void)state;
  KalCall(KalDigest(text, sizeof text, 12345, &digest));
  KalAssert((XXH64_hash_t)digest == XXH64(text, sizeof text, 12345));
  KalOnEachCount(DigestsOn, NULL);
}

/* Generated members against the formula of the manual page: longer than a block of draws, in odd pieces. */
#define LONG 4500
typedef struct {
  PetscInt  N;
  PetscBool antithetic, centered;
} Kind;

static double center[LONG], deviation[LONG], other[LONG];

static PetscErrorCode Expected(const Kind *kind, KalKey key, double factor, PetscInt j, double *x)
{
  float   *z;
  PetscInt i;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(LONG, &z));
  key.member = kind->antithetic ? j / 2 : j;
  PetscCall(KalDrawNormalSingle(key, 0, LONG, z));
  if (kind->antithetic && j % 2) factor = -factor;
  if (kind->centered && j == kind->N - 1) factor = 0.0;
  for (i = 0; i < LONG; i++) x[i] = center[i] + factor * deviation[i] * z[i];
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckColumns(KalEnsemble ensemble, const Kind *kind, KalKey key, double factor)
{
  KalColumns columns;
  PetscInt   first, last, i, k;
  double    *x;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(LONG, &x));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  PetscCall(KalEnsembleGetColumns(ensemble, first, last - first, &columns));
  KalHolds(columns.first == first && columns.count == last - first && columns.total == kind->N && columns.size == LONG);
  for (k = 0; k < columns.count; k++) {
    PetscCall(Expected(kind, key, factor, first + k, x));
    for (i = 0; i < LONG; i++) KalNear(columns.column[k][i], x[i], 1e-15 * (1.0 + fabs(x[i])));
  }
  PetscCall(KalEnsembleRestoreColumns(ensemble, &columns));
  PetscCall(PetscFree(x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Combine against the sum over the columns themselves, taken in long double on every rank. */
static PetscErrorCode CheckCombine(MPI_Comm comm, KalEnsemble ensemble, const Kind *kind, KalKey key, double factor)
{
  double      *y, *x, c[16];
  long double *sum;
  PetscInt     i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(LONG, &y, LONG, &x, LONG, &sum));
  for (i = 0; i < LONG; i++) sum[i] = 0.0L;
  for (j = 0; j < kind->N; j++) {
    c[j] = j == 3 ? 0.0 : 0.3 + KalTestNumber(9, (uint64_t)j); /* their sum is not zero: the mean given is what counts */
    PetscCall(Expected(kind, key, factor, j, x));
    for (i = 0; i < LONG; i++) sum[i] += (long double)c[j] * (x[i] - center[i]);
  }
  PetscCall(KalEnsembleCombine(ensemble, c, y));
  for (i = 0; i < LONG; i++) KalNear(y[i], sum[i], 1e-13);
  PetscCall(KalSameBits(comm, y, LONG * sizeof *y));
  PetscCall(PetscFree3(y, x, sum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GaussianOn(MPI_Comm comm, void *ctx)
{
  const Kind kinds[] = {
      {5,  PETSC_FALSE, PETSC_FALSE},
      {2,  PETSC_FALSE, PETSC_TRUE },
      {8,  PETSC_TRUE,  PETSC_FALSE},
      {9,  PETSC_TRUE,  PETSC_TRUE },
      {7,  PETSC_TRUE,  PETSC_FALSE},
      {12, PETSC_TRUE,  PETSC_TRUE }
  };
  size_t        s;
  PetscInt64    checksum, another;
  KalEnsemble   ensemble;
  const double *mean;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < PETSC_STATIC_ARRAY_LENGTH(kinds); s++) {
    KalKey    key    = {11, KAL_DRAW_PERTURBATION, 40 + (PetscInt64)s, 0}, got;
    PetscReal factor = 0.25, spread, square = 0.0;
    PetscBool stored, antithetic;
    PetscInt  i;

    PetscCall(KalEnsembleCreateGaussian(comm, LONG, kinds[s].N, center, deviation, &ensemble));
    PetscCall(KalEnsembleGaussianSet(ensemble, key, 0.5, kinds[s].antithetic, kinds[s].centered));
    PetscCall(KalEnsembleSetFactor(ensemble, factor));
    PetscCall(KalEnsembleIsStored(ensemble, &stored));
    PetscCall(KalEnsembleGaussianGet(ensemble, &got, &factor, &antithetic));
    KalHolds(!stored && got.seed == 11 && got.purpose == KAL_DRAW_PERTURBATION && got.cycle == key.cycle && factor == 0.25 && antithetic == kinds[s].antithetic);
    PetscCall(CheckColumns(ensemble, &kinds[s], key, factor));
    PetscCall(CheckCombine(comm, ensemble, &kinds[s], key, factor));
    PetscCall(KalEnsembleGetMean(ensemble, &mean));
    PetscCall(KalEnsembleGetSpread(ensemble, &spread));
    for (i = 0; i < LONG; i++) {
      KalHolds(mean[i] == center[i]);
      square += deviation[i] * deviation[i];
    }
    KalNear(spread, 0.25 * sqrt(square / LONG), 1e-12);
    /* the checksum tells mean, spread and draws apart */
    PetscCall(KalEnsembleChecksum(ensemble, &checksum));
    PetscCall(KalSameBits(comm, &checksum, sizeof checksum));
    PetscCall(KalEnsembleSetFactor(ensemble, 0.26));
    PetscCall(KalEnsembleChecksum(ensemble, &another));
    KalHolds(another != checksum);
    key.seed++;
    PetscCall(KalEnsembleGaussianSet(ensemble, key, 0.25, kinds[s].antithetic, kinds[s].centered));
    PetscCall(KalEnsembleChecksum(ensemble, &another));
    KalHolds(another != checksum);
    PetscCall(KalEnsembleDestroy(&ensemble));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LineOn(MPI_Comm comm, void *ctx)
{
  const double steps[] = {1.0, 0.5, 0.25, 0.125, -2.0};
  KalEnsemble  line, a, b, points;
  KalColumns   columns;
  PetscInt     first, last, i, j, k;
  double      *x;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCall(KalEnsembleCreateLine(comm, LONG, 5, center, other, steps, &line));
  PetscCall(KalEnsembleGetOwnershipRange(line, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetColumns(line, j, 1, &columns));
    for (i = 0; i < LONG; i++) KalNear(columns.column[0][i], center[i] + steps[j] * other[i], 1e-15 * (1.0 + fabs(steps[j] * other[i])));
    PetscCall(KalEnsembleRestoreColumns(line, &columns));
  }
  PetscCall(KalEnsembleDestroy(&line));

  PetscCall(KalEnsembleCreate(comm, &a));
  PetscCall(KalEnsembleSetSizes(a, 50, 4));
  PetscCall(KalEnsembleSetUp(a));
  PetscCall(KalEnsembleDuplicate(a, &b));
  PetscCall(KalEnsembleGetOwnershipRange(a, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(a, j, &x));
    for (i = 0; i < 50; i++) x[i] = Value(i, j);
    PetscCall(KalEnsembleGetMember(b, j, &x));
    for (i = 0; i < 50; i++) x[i] = Value(i, j + 100);
  }
  PetscCall(KalEnsembleCreateExtrapolated(a, b, 0.0, &points));
  PetscCall(KalEnsembleSetFactor(points, 0.7));
  PetscCall(KalEnsembleGetColumns(points, first, last - first, &columns));
  for (k = 0; k < columns.count; k++) {
    for (i = 0; i < 50; i++) KalNear(columns.column[k][i], Value(i, first + k) + 0.7 * (Value(i, first + k) - Value(i, first + k + 100)), 1e-15);
  }
  PetscCall(KalEnsembleRestoreColumns(points, &columns));
  PetscCall(KalEnsembleDestroy(&points));
  /* the columns of a stored ensemble are its members themselves */
  PetscCall(KalEnsembleGetColumns(a, first, last - first, &columns));
  for (k = 0; k < columns.count; k++) {
    PetscCall(KalEnsembleGetMember(a, first + k, &x));
    KalHolds(columns.column[k] == x);
  }
  PetscCall(KalEnsembleDestroy(&a));
  PetscCall(KalEnsembleDestroy(&b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void GeneratedMembers(void **state)
{
  PetscInt i;

  (void)state;
  for (i = 0; i < LONG; i++) {
    center[i]    = 2.0 * KalTestNumber(20, (uint64_t)i);
    deviation[i] = 1.0 + 0.5 * KalTestNumber(21, (uint64_t)i);
    other[i]     = KalTestNumber(22, (uint64_t)i);
  }
  KalOnEachCount(GaussianOn, NULL);
  KalOnEachCount(LineOn, NULL);
}

static PetscErrorCode SharedOn(MPI_Comm comm, void *ctx)
{
  const PetscInt64 bytes[] = {0, 1, 100003};
  KalShared        shared;
  size_t           s;
  PetscInt64       i;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < PETSC_STATIC_ARRAY_LENGTH(bytes); s++) {
    unsigned char *data;

    PetscCall(KalSharedCreate(comm, bytes[s], &shared));
    KalHolds(shared.data != NULL && shared.bytes == bytes[s]);
    data = (unsigned char *)shared.data;
    if (shared.noderank == 0) {
      for (i = 0; i < bytes[s]; i++) data[i] = (unsigned char)(i % 251);
    }
    PetscCall(KalSharedSync(&shared));
    for (i = 0; i < bytes[s]; i++) KalHolds(data[i] == i % 251);
    PetscCall(KalSharedSync(&shared));
    if (shared.noderank == 0 && bytes[s]) data[0] = 77;
    PetscCall(KalSharedSync(&shared));
    KalHolds(!bytes[s] || data[0] == 77);
    PetscCall(KalSharedDestroy(&shared));
    KalHolds(!shared.data);
    PetscCall(KalSharedDestroy(&shared));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void SharedArrays(void **state)
{
  KalShared shared;

  (void)state;
  KalOnEachCount(SharedOn, NULL);
  KalRefused(KalSharedCreate(PETSC_COMM_WORLD, -1, &shared), "An array of -1 bytes");
}

static PetscErrorCode Check(MPI_Comm comm, PetscErrorCode code, const char *text)
{
  PetscFunctionBeginUser;
  KalCheckAll(comm, code, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What some ranks find, all raise: the lowest rank's message and code. */
static void ErrorsOfSomeRanks(void **state)
{
  PetscMPIInt rank;
  char        text[64], expected[64];
  int         r, error;

  (void)state;
  MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  KalCall(Check(PETSC_COMM_WORLD, PETSC_ERR_FILE_READ, ""));
  KalCall(Check(PETSC_COMM_WORLD, PETSC_ERR_FILE_READ, NULL));
  for (r = 0; r < 7; r += 3) {
    snprintf(expected, sizeof expected, "the file of rank %d is short", r);
    snprintf(text, sizeof text, "the file of rank %d is short", rank);
    error = (int)Check(PETSC_COMM_WORLD, (PetscErrorCode)(rank == r ? PETSC_ERR_FILE_READ : PETSC_ERR_MEM), rank >= r ? text : "");
    KalAssert(error == PETSC_ERR_FILE_READ && !strcmp(KalTestMessage(), expected));
  }
}

static PetscErrorCode NoMap(void *ctx, const KalRows *rows)
{
  (void)ctx;
  (void)rows;
  return PETSC_SUCCESS;
}

static KalEnsemble MakeStored(PetscInt n, PetscInt N)
{
  KalEnsemble ensemble;

  KalCall(KalEnsembleCreate(PETSC_COMM_WORLD, &ensemble));
  KalCall(KalEnsembleSetSizes(ensemble, n, N));
  KalCall(KalEnsembleSetUp(ensemble));
  return ensemble;
}

static void RefusesMembersAndSizes(void **state)
{
  KalEnsemble ensemble;
  KalColumns  columns;
  double     *x;

  (void)state;
  KalCall(KalEnsembleCreate(PETSC_COMM_WORLD, &ensemble));
  KalRefused(KalEnsembleSetUp(ensemble), "needs sizes");
  KalRefused(KalEnsembleSetSizes(ensemble, 0, 4), "Members of 0 numbers");
  KalRefused(KalEnsembleSetSizes(ensemble, 4, -3), "-3 members were asked for");
  KalRefused(KalEnsembleSetRowGroup(ensemble, 0), "A group of 0 rows");
  KalCall(KalEnsembleSetSizes(ensemble, 4, 14));
  KalRefused(KalEnsembleGetMember(ensemble, 0, &x), "set up");
  KalCall(KalEnsembleSetUp(ensemble));
  KalCall(KalEnsembleSetUp(ensemble));
  KalRefused(KalEnsembleSetSizes(ensemble, 4, 5), "before KalEnsembleSetUp()");
  KalRefused(KalEnsembleGetMember(ensemble, 14, &x), "Member 14 is not on this rank");
  KalRefused(KalEnsembleGetMember(ensemble, -1, &x), "Member -1 is not on this rank");
  KalRefused(KalEnsembleGetColumns(ensemble, 0, 14, &columns), "Members 0 to 13 are not all on this rank");
  KalRefused(KalEnsembleSetFactor(ensemble, 1.0), "Only a Gaussian or an extrapolated ensemble");
  KalRefused(KalEnsembleGaussianSet(ensemble, (KalKey){0, KAL_DRAW_TEST, 0, 0}, 1.0, PETSC_FALSE, PETSC_FALSE), "Only an ensemble of KalEnsembleCreateGaussian()");
  KalCall(KalEnsembleDestroy(&ensemble));
  KalCall(KalEnsembleDestroy(&ensemble));
  KalCall(PetscOptionsSetValue(NULL, "-ensemble_block_rows", "-2"));
  KalCall(KalEnsembleCreate(PETSC_COMM_WORLD, &ensemble));
  KalRefused(KalEnsembleSetFromOptions(ensemble), "-2");
  KalCall(KalEnsembleDestroy(&ensemble));
  KalCall(PetscOptionsClear(NULL));
  KalCall(KalEnsembleCreate(PETSC_COMM_WORLD, &ensemble)); /* 160 TB: no node has that */
  KalCall(KalEnsembleSetSizes(ensemble, 2000000000, 10000));
  KalCall(KalEnsembleSetExchange(ensemble, KAL_EXCHANGE_SHARED));
  KalRefused(KalEnsembleSetUp(ensemble), "use -ensemble_exchange messages");
  KalCall(KalEnsembleDestroy(&ensemble));
}

static void RefusesExchanges(void **state)
{
  KalEnsemble   a = MakeStored(10, 4), b = MakeStored(11, 4), generated, line, many[KAL_ROWS_ENSEMBLES + 1], points;
  const double *mean;
  double        numbers[40], steps[2] = {0.0, 1.0};
  PetscInt64    digests[4];

  (void)state;
  KalCall(KalEnsembleCreateGaussian(PETSC_COMM_WORLD, 10, 4, center, deviation, &generated));
  KalCall(KalEnsembleCreateLine(PETSC_COMM_WORLD, 10, 2, center, other, steps, &line));
  for (int k = 0; k <= KAL_ROWS_ENSEMBLES; k++) many[k] = a;
  KalRefused(KalEnsembleMapRows(KAL_ROWS_ENSEMBLES + 1, many, NoMap, NULL), "17 ensembles in one exchange; from 1 to 16");
  KalRefused(KalEnsembleMapRows(0, many, NoMap, NULL), "0 ensembles in one exchange");
  many[1] = b;
  KalRefused(KalEnsembleMapRows(2, many, NoMap, NULL), "need the same rows");
  many[1] = generated;
  KalRefused(KalEnsembleMapRows(2, many, NoMap, NULL), "ensemble 1 is not");
  KalRefused(KalEnsembleGatherRows(generated, numbers), "Only a stored ensemble");
  KalRefused(KalEnsembleGetMemberDigests(generated, digests), "stored ensemble");
  KalRefused(KalEnsembleGetMean(line, &mean), "stored ensembles");
  KalRefused(KalEnsembleCombine(line, numbers, numbers + 2), "not combined");
  KalRefused(KalEnsembleCreateExtrapolated(a, b, 0.5, &points), "10 x 4 and 11 x 4");
  KalCall(KalEnsembleDestroy(&generated));
  KalCall(KalEnsembleDestroy(&line));
  KalCall(KalEnsembleDestroy(&a));
  KalCall(KalEnsembleDestroy(&b));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Digests),
    cmocka_unit_test(GeneratedMembers),
    cmocka_unit_test(SharedArrays),
    cmocka_unit_test(ErrorsOfSomeRanks),
    cmocka_unit_test(RefusesMembersAndSizes),
    cmocka_unit_test(RefusesExchanges),
};

KAL_TEST_MAIN("ensemble members", tests)
