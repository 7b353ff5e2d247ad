/* Means, spread, combinations and digests: small results of large arrays, the same bits on any layout. */
#include "ensembleimpl.h"

#include <ensemble/wider.h>

#define KAL_DRAWS           2048
#define KAL_STATISTICS_ROWS 256 /* of a block that sums are taken of at once */

/* Room for row means and squares, on ranks without a block too. */
static PetscErrorCode Room(KalEnsemble e)
{
  PetscFunctionBeginUser;
  if (e->mean) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(e->n, &e->mean));
  PetscCall(PetscMalloc1(e->nblocks, &e->squares));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums of departures from the first column, and of their squares, column by column. */
KAL_WIDER static void Departures(PetscInt count, PetscInt N, const PetscScalar *x, size_t ld, PetscScalar *restrict sum, PetscReal *restrict square)
{
  for (PetscInt i = 0; i < count; i++) sum[i] = square[i] = 0.0;
  for (PetscInt j = 1; j < N; j++) {
    const PetscScalar *column = x + (size_t)j * ld;

    for (PetscInt i = 0; i < count; i++) {
      const PetscScalar d = column[i] - x[i];

      sum[i] += d;
      square[i] += d * d;
    }
  }
}

/*
  KalRowStatistics_Private - Takes the row means of a block and the sum of squares about them, in one pass

  Departures are from the first member, which lies as far from the mean as members do: little is lost when the squares are
  shifted to the mean.
*/
PetscErrorCode KalRowStatistics_Private(KalEnsemble e, const KalRows *rows, PetscInt which)
{
  const PetscScalar *x = rows->x[which];
  const PetscInt     N = rows->members[which];
  PetscReal          square[KAL_STATISTICS_ROWS], total = 0.0;

  PetscFunctionBeginUser;
  PetscCall(Room(e));
  for (PetscInt at = 0; at < rows->count; at += KAL_STATISTICS_ROWS) {
    const PetscInt count = PetscMin(KAL_STATISTICS_ROWS, rows->count - at);
    PetscScalar   *mean  = e->mean + rows->first + at;

    Departures(count, N, x + at, (size_t)rows->ld[which], mean, square);
    for (PetscInt i = 0; i < count; i++) {
      const PetscReal shift = mean[i] / N;

      total += PetscMax(0.0, square[i] - shift * mean[i]);
      mean[i] = x[at + i] + shift;
    }
  }
  e->squares[rows->index] = total;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitStatistics(void *ctx, const KalRows *rows, PetscReal *sums)
{
  PetscFunctionBeginUser;
  (void)sums;
  PetscCall(KalRowStatistics_Private((KalEnsemble)ctx, rows, 0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Row means and squares on the ranks that own the blocks. */
static PetscErrorCode OwnStatistics(KalEnsemble e)
{
  PetscReal none;

  PetscFunctionBeginUser;
  PetscCall(Room(e)); /* a rank without a block has visited none, and is given the mean all the same */
  if (e->statistics != KAL_STATISTICS_NONE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleSumRows(1, &e, VisitStatistics, e, 1, &none));
  e->statistics = KAL_STATISTICS_OWNED;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first row of a rank's blocks. */
static PetscInt FirstRow(KalEnsemble e, PetscInt rank)
{
  return (PetscInt)PetscMin((PetscInt64)e->n, (PetscInt64)KalShare(e->nblocks, rank, e->size) * e->rows);
}

/*@
   KalEnsembleGatherBlocks - Gives every rank the entries that were computed block by block

   Collective

   Input Parameters:
+  ensemble - the ensemble whose row blocks were visited
-  x - n numbers; a rank has written those of the rows of its own blocks

   Output Parameter:
.  x - all n numbers
@*/
PetscErrorCode KalEnsembleGatherBlocks(KalEnsemble e, PetscScalar *x)
{
  PetscMPIInt *counts, *offsets, rank;

  PetscFunctionBeginUser;
  if (e->size == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc2(e->size, &counts, e->size, &offsets));
  for (rank = 0; rank < e->size; rank++) {
    const PetscInt begin = FirstRow(e, rank), end = FirstRow(e, rank + 1);

    PetscCall(PetscMPIIntCast(begin, &offsets[rank]));
    PetscCall(PetscMPIIntCast(end - begin, &counts[rank]));
  }
  if (e->size > 1) KalCountCollective((PetscInt64)counts[e->rank] * (PetscInt64)sizeof(PetscScalar), ((PetscInt64)e->n - counts[e->rank]) * (PetscInt64)sizeof(PetscScalar));
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, x, counts, offsets, MPI_DOUBLE, e->comm));
  PetscCall(PetscFree2(counts, offsets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetMean - Gets the mean of the members on every rank

   Collective

   Input Parameter:
.  ensemble - a stored or a Gaussian ensemble, set up

   Output Parameter:
.  mean - its n numbers; the mean that a Gaussian ensemble was given, for that kind. Valid until members change
@*/
PetscErrorCode KalEnsembleGetMean(KalEnsemble ensemble, const PetscScalar **mean)
{
  KalEnsemble e = ensemble;

  PetscFunctionBeginUser;
  if (e->kind == KAL_KIND_GAUSSIAN) {
    *mean = e->center;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(OwnStatistics(e));
  if (e->statistics != KAL_STATISTICS_ALL) PetscCall(KalEnsembleGatherBlocks(e, e->mean));
  e->statistics = KAL_STATISTICS_ALL;
  *mean         = e->mean;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetSpread - Gets the root mean square over the entries of the members' standard deviation

   Collective

   Input Parameter:
.  ensemble - a stored or a Gaussian ensemble, set up

   Output Parameter:
.  spread - sqrt of the mean over entries of the variance with N - 1; 0 for one member
@*/
PetscErrorCode KalEnsembleGetSpread(KalEnsemble ensemble, PetscReal *spread)
{
  KalEnsemble     e      = ensemble;
  const PetscReal factor = (PetscReal)e->n * PetscMax(1, e->N - 1);
  PetscReal       square = 0.0;
  PetscInt        i;

  PetscFunctionBeginUser;
  if (e->kind == KAL_KIND_GAUSSIAN) {
    for (i = 0; i < e->n; i++) square += e->deviation[i] * e->deviation[i];
    *spread = e->factor * PetscSqrtReal(square / e->n);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(OwnStatistics(e));
  PetscCall(KalTreeSum(e->comm, e->nblocks, 1, e->squares + KalShare(e->nblocks, e->rank, e->size), &square));
  *spread = PetscSqrtReal(square / factor);
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const PetscReal *c;
  PetscScalar     *y;
} KalCombining;

static PetscErrorCode VisitCombine(void *ctx, const KalRows *rows, PetscReal *sums)
{
  const KalCombining *combining = (const KalCombining *)ctx;
  PetscScalar        *y         = combining->y + rows->first;
  PetscInt            i, j;

  PetscFunctionBeginUser;
  (void)sums;
  PetscCall(PetscArrayzero(y, rows->count));
  for (j = 0; j < rows->members[0]; j++) {
    const PetscScalar *column = rows->x[0] + (size_t)j * rows->ld[0];

    for (i = 0; i < rows->count; i++) y[i] += combining->c[j] * column[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CombineStored(KalEnsemble e, const PetscReal *c, PetscScalar *y)
{
  KalCombining combining;
  PetscReal   *centered, mean = 0.0, none;
  PetscInt     j;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(e->N, &centered));
  for (j = 0; j < e->N; j++) mean += c[j];
  for (j = 0; j < e->N; j++) centered[j] = c[j] - mean / e->N;
  combining.c = centered;
  combining.y = y;
  PetscCall(KalEnsembleSumRows(1, &e, VisitCombine, &combining, 1, &none));
  PetscCall(PetscFree(centered));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* y += weight z */
KAL_WIDER static void AddDraws(PetscInt count, PetscReal weight, const float *z, PetscScalar *restrict y)
{
  for (PetscInt i = 0; i < count; i++) y[i] += weight * (PetscReal)z[i];
}

/* Sum of coefficient times draws for some entries, members in order: no entry depends on the bounds. */
static PetscErrorCode CombineDraws(KalEnsemble e, const PetscReal *c, PetscInt first, PetscInt count, PetscScalar *y)
{
  const PetscInt members = e->N - (e->centered ? 1 : 0), step = e->antithetic ? 2 : 1;
  KalKey         key = e->key;
  float          z[KAL_DRAWS];
  PetscInt       i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(y, count));
  for (j = 0; j < members; j += step) {
    const PetscReal weight = e->antithetic && j + 1 < members ? c[j] - c[j + 1] : c[j];

    key.member = e->antithetic ? j / 2 : j;
    if (weight == 0.0) continue;
    PetscCall(KalDrawNormalSingle(key, first, count, z));
    AddDraws(count, weight, z, y);
  }
  for (i = 0; i < count; i++) y[i] *= e->factor * e->deviation[first + i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleCombine - Sums the members' departures from the mean, each times a coefficient

   Collective

   Input Parameters:
+  ensemble - a stored or a Gaussian ensemble, set up
-  c - N coefficients, the same on every rank

   Output Parameter:
.  y - n numbers, the same on every rank: the sum over j of c_j (x_j - mean), the mean being that of the members, or the given one of a Gaussian ensemble

   Note:
   Members of a Gaussian ensemble are drawn again, each rank its share of the rows: n numbers a rank are
   all that travels.
@*/
PetscErrorCode KalEnsembleCombine(KalEnsemble ensemble, const PetscReal *c, PetscScalar *y)
{
  KalEnsemble    e    = ensemble;
  const PetscInt last = FirstRow(e, e->rank + 1);
  PetscInt       i;

  PetscFunctionBeginUser;
  if (e->kind == KAL_KIND_STORED) PetscCall(CombineStored(e, c, y));
  else {
    PetscCheck(e->kind == KAL_KIND_GAUSSIAN, e->comm, PETSC_ERR_SUP, "Members of this kind of ensemble are not combined; stored and Gaussian ones are");
    PetscCall(KalEventBegin(KAL_EVENT_DRAW));
    for (i = FirstRow(e, e->rank); i < last; i += KAL_DRAWS) PetscCall(CombineDraws(e, c, i, PetscMin(KAL_DRAWS, last - i), y + i));
    PetscCall(KalEventEnd(KAL_EVENT_DRAW));
  }
  PetscCall(KalEnsembleGatherBlocks(e, y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGatherRows - Gives every rank all of a small ensemble

   Collective

   Input Parameter:
.  ensemble - a stored ensemble, set up; meant for predictions with p < N, no larger than the N x N that every rank holds anyway

   Output Parameter:
.  x - n x N numbers, a member contiguous
@*/
PetscErrorCode KalEnsembleGatherRows(KalEnsemble ensemble, PetscScalar *x)
{
  KalEnsemble  e = ensemble;
  PetscMPIInt *counts, *offsets, rank;

  PetscFunctionBeginUser;
  PetscCheck(e->kind == KAL_KIND_STORED && e->setup, e->comm, PETSC_ERR_ARG_WRONGSTATE, "Only a stored ensemble that is set up is gathered");
  PetscCall(PetscMalloc2(e->size, &counts, e->size, &offsets));
  for (rank = 0; rank < e->size; rank++) {
    PetscCall(PetscMPIIntCast((PetscInt64)KalFirstMember(e, rank) * e->n, &offsets[rank]));
    PetscCall(PetscMPIIntCast((PetscInt64)KalFirstMember(e, rank + 1) * e->n - offsets[rank], &counts[rank]));
  }
  PetscCall(KalEnsembleSync_Private(e));
  if (e->size > 1) KalCountCollective((PetscInt64)counts[e->rank] * (PetscInt64)sizeof(PetscScalar), ((PetscInt64)e->N * e->n - counts[e->rank]) * (PetscInt64)sizeof(PetscScalar));
  PetscCallMPI(MPI_Allgatherv(e->local, counts[e->rank], MPI_DOUBLE, x, counts, offsets, MPI_DOUBLE, e->comm));
  PetscCall(PetscFree2(counts, offsets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetMemberDigests - Gets a digest of each member's bytes

   Collective

   Input Parameter:
.  ensemble - a stored ensemble, set up

   Output Parameter:
.  digests - N digests (XXH64 of the member's n numbers), the same on every rank
@*/
PetscErrorCode KalEnsembleGetMemberDigests(KalEnsemble ensemble, PetscInt64 *digests)
{
  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGatherDigests(ensemble, PETSC_FALSE, digests));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGatherDigests - As KalEnsembleGetMemberDigests(), where each rank may have taken those of its own members already

   Collective

   Input Parameters:
+  ensemble - a stored ensemble, set up
.  taken - whether a rank's own digests stand in their places of `digests`
-  digests - N places

   Output Parameter:
.  digests - those of all members, the same on every rank
@*/
PetscErrorCode KalEnsembleGatherDigests(KalEnsemble ensemble, PetscBool taken, PetscInt64 *digests)
{
  KalEnsemble  e = ensemble;
  PetscMPIInt *counts, *offsets, rank;
  PetscInt     j;

  PetscFunctionBeginUser;
  PetscCheck(e->kind == KAL_KIND_STORED && e->setup, e->comm, PETSC_ERR_ARG_WRONGSTATE, "Only members of a stored ensemble that is set up have digests");
  PetscCall(KalEnsembleSync_Private(e));
  PetscCall(PetscMalloc2(e->size, &counts, e->size, &offsets));
  for (rank = 0; rank < e->size; rank++) {
    offsets[rank] = (PetscMPIInt)KalFirstMember(e, rank);
    counts[rank]  = (PetscMPIInt)KalFirstMember(e, rank + 1) - offsets[rank];
  }
  for (j = e->first; j < e->last && !taken; j++) PetscCall(KalDigest(e->local + (size_t)(j - e->first) * e->n, (size_t)e->n * sizeof(PetscScalar), 0, &digests[j]));
  if (e->size > 1) KalCountCollective((PetscInt64)counts[e->rank] * (PetscInt64)sizeof *digests, ((PetscInt64)e->N - counts[e->rank]) * (PetscInt64)sizeof *digests);
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, digests, counts, offsets, MPI_INT64_T, e->comm));
  PetscCall(PetscFree2(counts, offsets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleChecksum - Digest of an ensemble's exact bits, independent of its layout

   Collective

   Input Parameter:
.  ensemble - a stored or a Gaussian ensemble, set up

   Output Parameter:
.  checksum - digest of the members' digests in order; of a Gaussian ensemble that of its mean, standard deviations, factor and key

.seealso: KalEnsembleGetMemberDigests()
@*/
PetscErrorCode KalEnsembleChecksum(KalEnsemble ensemble, PetscInt64 *checksum)
{
  KalEnsemble e = ensemble;
  PetscInt64 *digests, key[4];

  PetscFunctionBeginUser;
  if (e->kind == KAL_KIND_GAUSSIAN) {
    key[0] = e->key.seed;
    key[1] = (PetscInt64)e->key.purpose;
    key[2] = e->key.cycle;
    key[3] = e->antithetic ? 1 : 0;
    PetscCall(KalDigest(e->center, (size_t)e->n * sizeof(PetscScalar), e->N, checksum));
    PetscCall(KalDigest(e->deviation, (size_t)e->n * sizeof(PetscReal), *checksum, checksum));
    PetscCall(KalDigest(&e->factor, sizeof e->factor, *checksum, checksum));
    PetscCall(KalDigest(key, sizeof key, *checksum, checksum));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(e->N, &digests));
  PetscCall(KalEnsembleGetMemberDigests(e, digests));
  PetscCall(KalDigest(digests, (size_t)e->N * sizeof *digests, 0, checksum));
  PetscCall(PetscFree(digests));
  PetscFunctionReturn(PETSC_SUCCESS);
}
