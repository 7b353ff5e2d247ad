/*
  Sums in one fixed order, whoever holds the terms.

  Leaves 0..L-1 are summed pairwise: a node of level l covers leaves k 2^l to (k+1) 2^l - 1, and is the
  sum of its two halves, left one first; where L is no power of two, what is left at the right end is
  added from right to left. A rank holds consecutive leaves and sums the whole nodes among them, of
  which there are at most 2 log2 L, one where leaves and ranks are powers of two. The remaining sums are
  taken in slices: rank s sums slice s of all nodes, then the slices are gathered, so that a rank sends
  and receives about (nodes + 1) numbers a number summed.
*/
#include "ensembleimpl.h"

#include <ensemble/wider.h>

/* Sums with fewer numbers than this travel whole: latency is all that counts. */
#define KAL_TREE_SMALL 4096

/* Leaves left and right make one node if they are as wide and the left one begins at twice that width. */
static PetscBool Siblings(PetscInt end, PetscInt left, PetscInt right)
{
  return (PetscBool)(left == right && (end - left - right) % (left + right) == 0);
}

/* Widths of the whole nodes among leaves begin..end-1, left to right. */
static PetscInt Nodes(PetscInt begin, PetscInt end, PetscInt width[])
{
  PetscInt depth = 0, leaf;

  for (leaf = begin; leaf < end; leaf++) {
    width[depth++] = 1;
    while (depth > 1 && Siblings(leaf + 1, width[depth - 2], width[depth - 1])) {
      width[depth - 2] += width[depth - 1];
      depth--;
    }
  }
  return depth;
}

PetscErrorCode KalTreeBegin(KalTree *tree, MPI_Comm comm, PetscInt leaves, PetscInt count)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(tree, sizeof *tree));
  tree->comm   = comm;
  tree->leaves = leaves;
  tree->count  = count;
  PetscCallMPI(MPI_Comm_rank(comm, &tree->rank));
  PetscCallMPI(MPI_Comm_size(comm, &tree->size));
  tree->next = KalShare(leaves, tree->rank, tree->size);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A zeroed array for the next leaf; fill it, then call KalTreeAdd(). */
PetscErrorCode KalTreeLeaf(KalTree *tree, PetscReal **leaf)
{
  PetscFunctionBeginUser;
  if (tree->nspare) tree->sum[tree->depth] = tree->spare[--tree->nspare];
  else PetscCall(PetscMalloc1(tree->count, &tree->sum[tree->depth]));
  PetscCall(PetscArrayzero(tree->sum[tree->depth], tree->count));
  *leaf = tree->sum[tree->depth];
  PetscFunctionReturn(PETSC_SUCCESS);
}

KAL_WIDER static void Merge(PetscInt count, PetscReal *restrict left, const PetscReal *right)
{
  PetscInt i;

  for (i = 0; i < count; i++) left[i] += right[i];
}

PetscErrorCode KalTreeAdd(KalTree *tree)
{
  PetscFunctionBeginUser;
  tree->width[tree->depth++] = 1;
  tree->next++;
  while (tree->depth > 1 && Siblings(tree->next, tree->width[tree->depth - 2], tree->width[tree->depth - 1])) {
    const PetscInt d = tree->depth - 2;

    Merge(tree->count, tree->sum[d], tree->sum[d + 1]);
    tree->width[d] += tree->width[d + 1];
    tree->spare[tree->nspare++] = tree->sum[d + 1];
    tree->depth--;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums slices that stand one behind another, `length` numbers each, of all ranks' nodes; the sum stands first. */
static PetscErrorCode Collapse(KalTree *tree, PetscInt length, PetscReal *slices, PetscReal *result)
{
  PetscInt   widths[64], stack[64], depth = 0, end = 0, node = 0, own, i;
  PetscReal *at[64];
  PetscInt   rank;

  PetscFunctionBeginUser;
  for (rank = 0; rank < tree->size; rank++) {
    own = Nodes(KalShare(tree->leaves, rank, tree->size), KalShare(tree->leaves, rank + 1, tree->size), widths);
    for (i = 0; i < own; i++, node++) {
      end += widths[i];
      stack[depth] = widths[i];
      at[depth++]  = slices + (size_t)node * length;
      while (depth > 1 && Siblings(end, stack[depth - 2], stack[depth - 1])) {
        Merge(length, at[depth - 2], at[depth - 1]);
        stack[depth - 2] += stack[depth - 1];
        depth--;
      }
    }
  }
  for (; depth > 1; depth--) Merge(length, at[depth - 2], at[depth - 1]);
  if (depth) PetscCall(PetscArraycpy(result, at[0], length));
  else PetscCall(PetscArrayzero(result, length));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EndAlone(KalTree *tree, PetscReal *result)
{
  PetscInt d;

  PetscFunctionBeginUser;
  for (d = tree->depth - 1; d > 0; d--) Merge(tree->count, tree->sum[d - 1], tree->sum[d]);
  if (tree->depth) PetscCall(PetscArraycpy(result, tree->sum[0], tree->count));
  else PetscCall(PetscArrayzero(result, tree->count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EndSmall(KalTree *tree, PetscReal *result)
{
  PetscMPIInt *counts, *offsets, rank, total = 0;
  PetscInt     widths[64], d;
  PetscReal   *mine, *all;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(tree->size, &counts, tree->size, &offsets));
  for (rank = 0; rank < tree->size; rank++) {
    const PetscInt own = Nodes(KalShare(tree->leaves, rank, tree->size), KalShare(tree->leaves, rank + 1, tree->size), widths);

    counts[rank]  = (PetscMPIInt)(own * tree->count);
    offsets[rank] = total;
    total += counts[rank];
  }
  PetscCall(PetscMalloc2(counts[tree->rank] + 1, &mine, total + 1, &all));
  for (d = 0; d < tree->depth; d++) PetscCall(PetscArraycpy(mine + (size_t)d * tree->count, tree->sum[d], tree->count));
  KalCountCollective((PetscInt64)counts[tree->rank] * (PetscInt64)sizeof(PetscReal), ((PetscInt64)total - counts[tree->rank]) * (PetscInt64)sizeof(PetscReal));
  PetscCallMPI(MPI_Allgatherv(mine, counts[tree->rank], MPI_DOUBLE, all, counts, offsets, MPI_DOUBLE, tree->comm));
  PetscCall(Collapse(tree, tree->count, all, result));
  PetscCall(PetscFree2(mine, all));
  PetscCall(PetscFree2(counts, offsets));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode EndSliced(KalTree *tree, PetscReal *result)
{
  const PetscInt begin = KalShare(tree->count, tree->rank, tree->size), length = KalShare(tree->count, tree->rank + 1, tree->size) - begin;
  PetscInt       widths[64], nodes = 0, node = 0, d, requests = 0;
  PetscMPIInt    rank, *counts, *offsets;
  PetscReal     *slices;
  MPI_Request   *request;

  PetscFunctionBeginUser;
  for (rank = 0; rank < tree->size; rank++) nodes += Nodes(KalShare(tree->leaves, rank, tree->size), KalShare(tree->leaves, rank + 1, tree->size), widths);
  PetscCall(PetscMalloc2((size_t)nodes * length + 1, &slices, nodes + (size_t)tree->depth * tree->size, &request));
  PetscCall(PetscMalloc2(tree->size, &counts, tree->size, &offsets));
  for (rank = 0; rank < tree->size; rank++) {
    const PetscInt own = Nodes(KalShare(tree->leaves, rank, tree->size), KalShare(tree->leaves, rank + 1, tree->size), widths);

    for (d = 0; d < own; d++, node++) {
      if (rank != tree->rank) KalCountMessage(0, (PetscInt64)length * (PetscInt64)sizeof(PetscReal));
      PetscCallMPI(MPI_Irecv(slices + (size_t)node * length, (PetscMPIInt)length, MPI_DOUBLE, rank, (int)d, tree->comm, &request[requests++]));
    }
  }
  for (rank = 0; rank < tree->size; rank++) {
    offsets[rank] = (PetscMPIInt)KalShare(tree->count, rank, tree->size);
    counts[rank]  = (PetscMPIInt)KalShare(tree->count, rank + 1, tree->size) - offsets[rank];
    for (d = 0; d < tree->depth; d++) {
      if (rank != tree->rank) KalCountMessage((PetscInt64)counts[rank] * (PetscInt64)sizeof(PetscReal), 0);
      PetscCallMPI(MPI_Isend(tree->sum[d] + offsets[rank], counts[rank], MPI_DOUBLE, rank, (int)d, tree->comm, &request[requests++]));
    }
  }
  PetscCallMPI(MPI_Waitall((PetscMPIInt)requests, request, MPI_STATUSES_IGNORE));
  PetscCall(Collapse(tree, length, slices, result + begin));
  KalCountCollective((PetscInt64)length * (PetscInt64)sizeof(PetscReal), ((PetscInt64)tree->count - length) * (PetscInt64)sizeof(PetscReal));
  PetscCallMPI(MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, result, counts, offsets, MPI_DOUBLE, tree->comm));
  PetscCall(PetscFree2(counts, offsets));
  PetscCall(PetscFree2(slices, request));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The sum on every rank; frees the tree. Collective. */
PetscErrorCode KalTreeEnd(KalTree *tree, PetscReal *result)
{
  PetscInt d;

  PetscFunctionBeginUser;
  if (tree->size == 1) PetscCall(EndAlone(tree, result));
  else if (tree->count < KAL_TREE_SMALL) PetscCall(EndSmall(tree, result));
  else PetscCall(EndSliced(tree, result));
  for (d = 0; d < tree->depth; d++) PetscCall(PetscFree(tree->sum[d]));
  for (d = 0; d < tree->nspare; d++) PetscCall(PetscFree(tree->spare[d]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalTreeSum - Sums small arrays over blocks in one fixed order, the same bits on any number of ranks

   Collective

   Input Parameters:
+  comm - the communicator
.  leaves - terms in all; rank r of P holds terms leaves*r/P to leaves*(r+1)/P - 1
.  count - numbers in each term
-  values - this rank's terms, one behind another

   Output Parameter:
.  sums - the count sums, on every rank
@*/
PetscErrorCode KalTreeSum(MPI_Comm comm, PetscInt leaves, PetscInt count, const PetscReal *values, PetscReal *sums)
{
  KalTree    tree;
  PetscReal *leaf = NULL;
  PetscInt   i, last;

  PetscFunctionBeginUser;
  PetscCall(KalTreeBegin(&tree, comm, leaves, count));
  last = KalShare(leaves, tree.rank + 1, tree.size) - tree.next;
  for (i = 0; i < last; i++) {
    PetscCall(KalTreeLeaf(&tree, &leaf));
    PetscCall(PetscArraycpy(leaf, values + (size_t)i * count, count));
    PetscCall(KalTreeAdd(&tree));
  }
  PetscCall(KalTreeEnd(&tree, sums));
  PetscFunctionReturn(PETSC_SUCCESS);
}
