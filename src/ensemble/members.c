/* Members as whole columns: those that lie in memory, and those that are generated where they are needed. */
#include "ensembleimpl.h"

#include <ensemble/wider.h>

/* Draws made at once while a member is generated; they stay in the first-level cache. */
#define KAL_DRAWS 2048

/*@
   KalEnsembleCreateGaussian - Makes an ensemble whose members are drawn about a mean and never stored

   Collective

   Input Parameters:
+  comm - the ranks its members are dealt out to
.  n - numbers in a member
.  N - members
.  mean - n numbers, the same on every rank; borrowed
-  deviation - n standard deviations, the same on every rank; borrowed

   Output Parameter:
.  ensemble - the ensemble, set up; see KalEnsembleGaussianSet()

   Note:
   Entry i of member j is mean_i + factor deviation_i z, with z normal number i of the key with member j.
@*/
PetscErrorCode KalEnsembleCreateGaussian(MPI_Comm comm, PetscInt n, PetscInt N, const PetscScalar *mean, const PetscReal *deviation, KalEnsemble *ensemble)
{
  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(comm, ensemble));
  PetscCall(KalEnsembleSetSizes(*ensemble, n, N));
  (*ensemble)->kind      = KAL_KIND_GAUSSIAN;
  (*ensemble)->center    = mean;
  (*ensemble)->deviation = deviation;
  PetscCall(KalEnsembleSetUp(*ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGaussianSet - Says which draws a generated ensemble is made of

   Logically Collective

   Input Parameters:
+  ensemble - an ensemble of KalEnsembleCreateGaussian()
.  key - key of the draws; its member is set to each member's index
.  factor - multiplies the standard deviations
.  antithetic - members 2k and 2k + 1 are mirrored about the mean: one set of draws for both
-  centered - the last member is the mean itself
@*/
PetscErrorCode KalEnsembleGaussianSet(KalEnsemble ensemble, KalKey key, PetscReal factor, PetscBool antithetic, PetscBool centered)
{
  PetscFunctionBeginUser;
  PetscCheck(ensemble->kind == KAL_KIND_GAUSSIAN, ensemble->comm, PETSC_ERR_ARG_WRONG, "Only an ensemble of KalEnsembleCreateGaussian() has draws to set");
  ensemble->key        = key;
  ensemble->factor     = factor;
  ensemble->antithetic = antithetic;
  ensemble->centered   = centered;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGaussianGet - Gets which draws a generated ensemble is made of

   Not Collective

   Input Parameter:
.  ensemble - an ensemble of KalEnsembleCreateGaussian()

   Output Parameters:
+  key - key of the draws
.  factor - multiplies the standard deviations
-  antithetic - whether members are mirrored in pairs
@*/
PetscErrorCode KalEnsembleGaussianGet(KalEnsemble ensemble, KalKey *key, PetscReal *factor, PetscBool *antithetic)
{
  PetscFunctionBeginUser;
  PetscCheck(ensemble->kind == KAL_KIND_GAUSSIAN, ensemble->comm, PETSC_ERR_ARG_WRONG, "Only an ensemble of KalEnsembleCreateGaussian() has draws");
  *key        = ensemble->key;
  *factor     = ensemble->factor;
  *antithetic = ensemble->antithetic;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleCreateLine - Makes an ensemble of points on a line, as a line search asks for

   Collective

   Input Parameters:
+  comm - the ranks its members are dealt out to
.  n - numbers in a member
.  N - members
.  center - n numbers, the same on every rank; borrowed
.  direction - n numbers, the same on every rank; borrowed
-  steps - N step lengths; borrowed. Member j is center + steps[j] direction

   Output Parameter:
.  ensemble - the ensemble, set up
@*/
PetscErrorCode KalEnsembleCreateLine(MPI_Comm comm, PetscInt n, PetscInt N, const PetscScalar *center, const PetscScalar *direction, const PetscReal *steps, KalEnsemble *ensemble)
{
  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(comm, ensemble));
  PetscCall(KalEnsembleSetSizes(*ensemble, n, N));
  (*ensemble)->kind      = KAL_KIND_LINE;
  (*ensemble)->center    = center;
  (*ensemble)->direction = direction;
  (*ensemble)->steps     = steps;
  PetscCall(KalEnsembleSetUp(*ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleCreateExtrapolated - Makes the ensemble a + factor (a - b) of two stored ones, as momentum asks for

   Collective

   Input Parameters:
+  a - a stored ensemble; borrowed
.  b - another of the same sizes; borrowed
-  factor - the factor

   Output Parameter:
.  ensemble - the ensemble, set up; members are made where they are needed
@*/
PetscErrorCode KalEnsembleCreateExtrapolated(KalEnsemble a, KalEnsemble b, PetscReal factor, KalEnsemble *ensemble)
{
  PetscFunctionBeginUser;
  PetscCheck(a->n == b->n && a->N == b->N, a->comm, PETSC_ERR_ARG_SIZ, "Ensembles of %" PetscInt_FMT " x %" PetscInt_FMT " and %" PetscInt_FMT " x %" PetscInt_FMT " cannot be extrapolated; the sizes must agree", a->n, a->N, b->n, b->N);
  PetscCall(KalEnsembleCreate(a->comm, ensemble));
  PetscCall(KalEnsembleSetSizes(*ensemble, a->n, a->N));
  (*ensemble)->kind     = KAL_KIND_EXTRAPOLATED;
  (*ensemble)->a        = a;
  (*ensemble)->b        = b;
  (*ensemble)->factor   = factor;
  (*ensemble)->together = a->together;
  (*ensemble)->span     = a->span;
  (*ensemble)->place    = a->place;
  PetscCall(KalEnsembleSetUp(*ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleSetFactor - Sets the factor of a generated ensemble: of the spread, or of the extrapolation

   Logically Collective

   Input Parameters:
+  ensemble - an ensemble of KalEnsembleCreateGaussian() or KalEnsembleCreateExtrapolated()
-  factor - the factor
@*/
PetscErrorCode KalEnsembleSetFactor(KalEnsemble ensemble, PetscReal factor)
{
  PetscFunctionBeginUser;
  PetscCheck(ensemble->kind == KAL_KIND_GAUSSIAN || ensemble->kind == KAL_KIND_EXTRAPOLATED, ensemble->comm, PETSC_ERR_ARG_WRONG, "Only a Gaussian or an extrapolated ensemble has a factor");
  ensemble->factor = factor;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x = center + factor deviation z */
KAL_WIDER static void Scatter(PetscInt count, const PetscScalar *center, PetscReal factor, const PetscReal *deviation, const float *z, PetscScalar *restrict x)
{
  for (PetscInt j = 0; j < count; j++) x[j] = center[j] + factor * deviation[j] * (PetscReal)z[j];
}

/* Some consecutive members, a piece of all of them after the other, so that mean and deviation are read once. */
static PetscErrorCode GenerateGaussian(KalEnsemble e, PetscInt first, PetscInt members, PetscScalar *const x[])
{
  KalKey key = e->key;
  float  z[KAL_DRAWS];

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < e->n; i += KAL_DRAWS) {
    const PetscInt count = PetscMin(KAL_DRAWS, e->n - i);

    for (PetscInt k = 0; k < members; k++) {
      const PetscInt  member = first + k;
      const PetscReal factor = e->antithetic && member % 2 ? -e->factor : e->factor;

      if (e->centered && member == e->N - 1) {
        PetscCall(PetscArraycpy(x[k] + i, e->center + i, count));
        continue;
      }
      key.member = e->antithetic ? member / 2 : member;
      PetscCall(KalDrawNormalSingle(key, i, count, z));
      Scatter(count, e->center + i, factor, e->deviation + i, z, x[k] + i);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalEnsembleExtrapolate_Private - Makes one member of an extrapolated ensemble of the same member of the two
*/
PetscErrorCode KalEnsembleExtrapolate_Private(KalEnsemble e, const PetscScalar *a, const PetscScalar *b, PetscScalar *x)
{
  PetscInt i;

  PetscFunctionBeginUser;
  for (i = 0; i < e->n; i++) x[i] = a[i] + e->factor * (a[i] - b[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalEnsembleGenerate_Private - Makes one member of a generated ensemble
*/
PetscErrorCode KalEnsembleGenerate_Private(KalEnsemble e, PetscInt member, PetscScalar *x)
{
  PetscScalar *a, *b;
  PetscInt     i;

  PetscFunctionBeginUser;
  switch (e->kind) {
  case KAL_KIND_GAUSSIAN:
    PetscCall(GenerateGaussian(e, member, 1, &x));
    break;
  case KAL_KIND_LINE:
    for (i = 0; i < e->n; i++) x[i] = e->center[i] + e->steps[member] * e->direction[i];
    break;
  case KAL_KIND_EXTRAPOLATED:
    PetscCall(KalEnsembleGetMember(e->a, member, &a));
    PetscCall(KalEnsembleGetMember(e->b, member, &b));
    PetscCall(KalEnsembleExtrapolate_Private(e, a, b, x));
    break;
  default:
    SETERRQ(e->comm, PETSC_ERR_PLIB, "A stored ensemble is not generated");
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetMember - Gets a local member of a stored ensemble

   Not Collective

   Input Parameters:
+  ensemble - the ensemble, set up
-  member - its index, in this rank's ownership range

   Output Parameter:
.  x - its n numbers, to read and write; say KalEnsembleChanged() after writing
@*/
PetscErrorCode KalEnsembleGetMember(KalEnsemble ensemble, PetscInt member, PetscScalar **x)
{
  PetscFunctionBeginUser;
  PetscCheck(ensemble->kind == KAL_KIND_STORED && ensemble->setup, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "Members lie in memory in a stored ensemble that is set up; use KalEnsembleGetColumns() for a generated one");
  PetscCheck(member >= ensemble->first && member < ensemble->last, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Member %" PetscInt_FMT " is not on this rank, which holds %" PetscInt_FMT " to %" PetscInt_FMT, member, ensemble->first, ensemble->last - 1);
  *x = ensemble->local + (size_t)(member - ensemble->first) * ensemble->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalEnsembleReserve_Private - Room for the pointers of some columns, and for the numbers of those that do not lie in memory
*/
PetscErrorCode KalEnsembleReserve_Private(KalEnsemble e, PetscInt count, size_t numbers)
{
  PetscFunctionBeginUser;
  if (count > e->npointers) {
    PetscCall(PetscFree(e->pointers));
    PetscCall(PetscMalloc1(count, &e->pointers));
    e->npointers = count;
  }
  if (numbers > e->scratchsize) {
    PetscCall(PetscFree(e->scratch));
    PetscCall(PetscMalloc1(numbers, &e->scratch));
    e->scratchsize = numbers;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleGetColumns - Gets some consecutive local members as columns; of a Gaussian ensemble, or one on a line, any members

   Not Collective

   Input Parameters:
+  ensemble - the ensemble, set up
.  first - the first member, on this rank
-  count - how many, all on this rank

   Output Parameter:
.  columns - the columns; those of a generated ensemble hold until KalEnsembleRestoreColumns()
@*/
PetscErrorCode KalEnsembleGetColumns(KalEnsemble ensemble, PetscInt first, PetscInt count, KalColumns *columns)
{
  KalEnsemble e = ensemble;
  PetscInt    k;

  PetscFunctionBeginUser;
  PetscCheck(count >= 0 && (KalMadeAnywhere(e) || (first >= e->first && first + count <= e->last)), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Members %" PetscInt_FMT " to %" PetscInt_FMT " are not all on this rank, which holds %" PetscInt_FMT " to %" PetscInt_FMT, first, first + count - 1, e->first, e->last - 1);
  PetscCall(KalEnsembleReserve_Private(e, count, e->kind == KAL_KIND_STORED ? 0 : (size_t)count * e->n));
  PetscCall(KalEventBegin(KAL_EVENT_DRAW));
  for (k = 0; k < count; k++) {
    if (e->kind == KAL_KIND_STORED) e->pointers[k] = e->local + (size_t)(first + k - e->first) * e->n;
    else {
      e->pointers[k] = e->scratch + (size_t)k * e->n;
      if (e->kind != KAL_KIND_GAUSSIAN) PetscCall(KalEnsembleGenerate_Private(e, first + k, e->pointers[k]));
    }
  }
  if (e->kind == KAL_KIND_GAUSSIAN) PetscCall(GenerateGaussian(e, first, count, e->pointers));
  PetscCall(KalEventEnd(KAL_EVENT_DRAW));
  columns->first  = first;
  columns->count  = count;
  columns->total  = e->N;
  columns->size   = e->n;
  columns->column = e->pointers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleRestoreColumns - Ends the use of columns

   Not Collective

   Input Parameters:
+  ensemble - the ensemble
-  columns - what KalEnsembleGetColumns() gave
@*/
PetscErrorCode KalEnsembleRestoreColumns(KalEnsemble ensemble, KalColumns *columns)
{
  PetscFunctionBeginUser;
  (void)ensemble;
  columns->column = NULL;
  columns->count  = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalEnsembleChanged - Says that members were written, so that statistics are taken anew

   Logically Collective

   Input Parameter:
.  ensemble - the ensemble
@*/
PetscErrorCode KalEnsembleChanged(KalEnsemble ensemble)
{
  PetscFunctionBeginUser;
  ensemble->statistics = KAL_STATISTICS_NONE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
