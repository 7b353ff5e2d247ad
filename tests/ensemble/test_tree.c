/* ranks: 7 */
/* Sums in the documented tree order, bit for bit, on 1, 2, 3, 5 and 7 ranks of one launch. */
#include "subcomm.h"

#include <stdlib.h>

/* Numbers of very different sizes: another order gives other bits. */
static double Term(PetscInt leaf, PetscInt i)
{
  const double x = KalTestNumber(17, (uint64_t)leaf * 100003u + (uint64_t)i);

  return x * pow(10.0, 7.0 * KalTestNumber(18, (uint64_t)leaf * 31u + (uint64_t)i));
}

/*
  The order as documented: a node of level l covers leaves k 2^l to (k+1) 2^l - 1 and is the sum of its
  halves; where the number of leaves is no power of two, what is left at the right end is added from right to left:
  the largest whole node plus the sum of the rest.
*/
static double Reference(PetscInt first, PetscInt leaves, PetscInt i, double (*term)(PetscInt, PetscInt))
{
  PetscInt whole = 1;

  if (!leaves) return 0.0;
  if (leaves == 1) return term(first, i);
  while (2 * whole <= leaves) whole *= 2;
  if (whole == leaves) return Reference(first, leaves / 2, i, term) + Reference(first + leaves / 2, leaves / 2, i, term);
  return Reference(first, whole, i, term) + Reference(first + whole, leaves - whole, i, term);
}

static PetscErrorCode Sum(MPI_Comm comm, PetscInt leaves, PetscInt count, PetscReal *sums)
{
  PetscMPIInt rank, size;
  PetscInt    first, last, leaf, i;
  PetscReal  *values;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  first = leaves * rank / size;
  last  = leaves * (rank + 1) / size;
  PetscCall(PetscMalloc1((size_t)(last - first) * count + 1, &values));
  for (leaf = first; leaf < last; leaf++) {
    for (i = 0; i < count; i++) values[(leaf - first) * count + i] = Term(leaf, i);
  }
  for (i = 0; i < count; i++) sums[i] = NAN;
  PetscCall(KalTreeSum(comm, leaves, count, values, sums));
  PetscCall(PetscFree(values));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  PetscInt leaves, count;
} Shape;

static PetscErrorCode TreeOn(MPI_Comm comm, void *ctx)
{
  /* below 4096 numbers sums travel whole, from there on in slices; 0 to 1000 leaves on up to 7 ranks */
  const Shape shapes[] = {
      {0,    3   },
      {1,    1   },
      {2,    3   },
      {3,    3   },
      {4,    2   },
      {5,    3   },
      {6,    3   },
      {7,    5   },
      {8,    3   },
      {9,    1   },
      {11,   3   },
      {13,   7   },
      {16,   2   },
      {29,   3   },
      {63,   2   },
      {64,   2   },
      {65,   2   },
      {100,  3   },
      {1000, 2   },
      {0,    4100},
      {1,    4096},
      {3,    4095},
      {3,    4096},
      {6,    4097},
      {11,   4099},
      {16,   4096},
      {29,   5003}
  };
  PetscReal *sums;
  PetscInt   i;
  size_t     s;

  PetscFunctionBeginUser;
  (void)ctx;
  PetscCall(PetscMalloc1(5003, &sums));
  for (s = 0; s < PETSC_STATIC_ARRAY_LENGTH(shapes); s++) {
    PetscInt differ = 0;

    PetscCall(Sum(comm, shapes[s].leaves, shapes[s].count, sums));
    for (i = 0; i < shapes[s].count; i++) differ += sums[i] != Reference(0, shapes[s].leaves, i, Term);
    if (differ && kal_holds) print_error("%d leaves of %d numbers: %d sums differ from the tree's\n", (int)shapes[s].leaves, (int)shapes[s].count, (int)differ);
    KalHolds(!differ);
  }
  PetscCall(PetscFree(sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void TreeOrder(void **state)
{
  double   plain = 0.0;
  PetscInt leaf;

  (void)state;
  for (leaf = 0; leaf < 1000; leaf++) plain += Term(leaf, 0);
  KalAssert(plain != Reference(0, 1000, 0, Term)); /* the numbers can tell one order from another */
  KalOnEachCount(TreeOn, NULL);
}

#define MEMBERS 4
typedef struct {
  PetscInt    n, rows, calls, wide;
  PetscMPIInt rank;
} Rows;

static Rows rows_of;

static double Entry(PetscInt i, PetscInt j)
{
  return Term(i, j);
}

/* What a block gives to number k of the sum: its rows of member k, one after another. */
static double Block(PetscInt block, PetscInt k)
{
  PetscInt i;
  double   sum = 0.0;

  for (i = block * rows_of.rows; i < PetscMin(rows_of.n, (block + 1) * rows_of.rows); i++) sum += Entry(i, k % MEMBERS) * (k / MEMBERS + 1);
  return sum;
}

static PetscErrorCode SumBlock(void *ctx, const KalRows *rows, PetscReal *sums)
{
  Rows    *seen = (Rows *)ctx;
  PetscInt i, k;

  PetscFunctionBeginUser;
  seen->calls++;
  for (k = 0; k < seen->wide; k++) {
    KalHolds(sums[k] == 0.0);
    for (i = 0; i < rows->count; i++) sums[k] += rows->x[0][i + (size_t)(k % MEMBERS) * rows->ld[0]] * (k / MEMBERS + 1);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SumRowsOn(MPI_Comm comm, void *ctx)
{
  const PetscInt sizes[][3] = {
      {100, 7,   9   },
      {3,   1,   5   },
      {5,   100, 4   },
      {64,  1,   4   },
      {90,  30,  4099}
  };
  const KalExchange exchanges[] = {KAL_EXCHANGE_SHARED, KAL_EXCHANGE_MESSAGES};
  char              text[16];
  size_t            s, x;

  PetscFunctionBeginUser;
  (void)ctx;
  for (s = 0; s < PETSC_STATIC_ARRAY_LENGTH(sizes); s++) {
    for (x = 0; x < 2; x++) {
      KalEnsemble ensemble;
      PetscInt    first, last, i, j, blocks, calls, differ = 0;
      PetscReal  *sums;
      double     *member;

      PetscCall(PetscSNPrintf(text, sizeof text, "%" PetscInt_FMT, sizes[s][1]));
      PetscCall(PetscOptionsSetValue(NULL, "-ensemble_block_rows", text));
      rows_of = (Rows){.n = sizes[s][0], .wide = sizes[s][2]};
      PetscCall(KalEnsembleCreate(comm, &ensemble));
      PetscCall(KalEnsembleSetSizes(ensemble, rows_of.n, MEMBERS));
      PetscCall(KalEnsembleSetExchange(ensemble, exchanges[x]));
      PetscCall(KalEnsembleSetFromOptions(ensemble));
      PetscCall(KalEnsembleSetUp(ensemble));
      PetscCall(KalEnsembleGetBlocks(ensemble, &rows_of.rows, &blocks));
      KalHolds(rows_of.rows == PetscMin(sizes[s][1], rows_of.n) && blocks == (rows_of.n + rows_of.rows - 1) / rows_of.rows);
      PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
      for (j = first; j < last; j++) {
        PetscCall(KalEnsembleGetMember(ensemble, j, &member));
        for (i = 0; i < rows_of.n; i++) member[i] = Entry(i, j);
      }
      PetscCall(KalEnsembleChanged(ensemble));
      PetscCall(PetscMalloc1(rows_of.wide, &sums));
      PetscCall(KalEnsembleSumRows(1, &ensemble, SumBlock, &rows_of, rows_of.wide, sums));
      for (i = 0; i < rows_of.wide; i++) differ += sums[i] != Reference(0, blocks, i, Block);
      KalHolds(!differ);
      PetscCallMPI(MPI_Allreduce(&rows_of.calls, &calls, 1, MPIU_INT, MPI_SUM, comm));
      KalHolds(calls == blocks);
      PetscCall(PetscFree(sums));
      PetscCall(KalEnsembleDestroy(&ensemble));
      KalHolds(!ensemble);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void SumsOverRows(void **state)
{
  (void)state;
  KalOnEachCount(SumRowsOn, NULL);
  KalCall(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(TreeOrder),
    cmocka_unit_test(SumsOverRows),
};

KAL_TEST_MAIN("ensemble tree", tests)
