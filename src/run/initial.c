/* What a run begins from where it is no restart: draws, or members of a file. */
#include "runimpl.h"

/* Members about a given mean: x_j = mean + spread prior z_j. */
static PetscErrorCode ScatterAbout(KalRun run, const PetscScalar *mean)
{
  KalKey       key = {run->seed, KAL_DRAW_PRIOR, 0, 0};
  PetscScalar *x;
  PetscReal   *z;
  PetscInt     i, j, first, last;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetOwnershipRange(run->ensemble, &first, &last));
  PetscCall(PetscMalloc1(run->n, &z));
  for (j = first; j < last; j++) {
    key.member = j;
    PetscCall(KalEnsembleGetMember(run->ensemble, j, &x));
    PetscCall(KalDrawNormal(key, 0, run->n, z));
    for (i = 0; i < run->n; i++) x[i] = mean[i] + run->initialspread * run->prior[i] * z[i];
  }
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ReadInitial(KalRun run)
{
  PetscBool    members;
  PetscScalar *mean = run->mean;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotPlainHas(run->comm, run->initial, "members", &members));
  if (members && !run->needs.generated) {
    PetscCall(KalSnapshotPlainReadMembers(run->initial, NULL, run->ensemble));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (!mean) PetscCall(PetscMalloc1(run->n, &mean));
  PetscCall(KalSnapshotPlainReadMean(run->comm, run->initial, run->n, mean));
  if (!run->needs.generated) {
    PetscCall(ScatterAbout(run, mean));
    PetscCall(PetscFree(mean));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunCheckBeginning - Whether the file that a run begins from is there and fits, without reading it all

  Collective
*/
PetscErrorCode KalRunCheckBeginning(KalRun run)
{
  PetscBool members = PETSC_FALSE, mean = PETSC_FALSE;

  PetscFunctionBeginUser;
  if (run->initial[0]) {
    PetscCall(KalSnapshotPlainHas(run->comm, run->initial, "members", &members));
    PetscCall(KalSnapshotPlainHas(run->comm, run->initial, "mean", &mean));
    PetscCheck(mean || (members && !run->needs.generated), run->comm, PETSC_ERR_FILE_UNEXPECTED, "-ensemble_initial %s holds no dataset %s", run->initial, run->needs.generated ? "mean (n)" : "members (N x n) or mean (n)");
  }
  if (run->restart[0]) PetscCall(KalRunCheckRestart(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunInitial - Draws the ensemble from the prior, or reads it from a file

  Collective
*/
PetscErrorCode KalRunInitial(KalRun run)
{
  KalKey       key = {run->seed, KAL_DRAW_PRIOR, 0, 0};
  PetscInt     j, c, first, last;
  PetscScalar *x, *copy;

  PetscFunctionBeginUser;
  if (run->initial[0]) PetscCall(ReadInitial(run));
  else if (run->needs.generated) PetscCall(KalModelInitial(run->model, (KalKey){run->seed, KAL_DRAW_CENTER, 0, 0}, run->mean));
  if (run->needs.generated) {
    PetscCall(KalEnsembleGaussianSet(run->ensemble, (KalKey){run->seed, KAL_DRAW_PERTURBATION, 0, 0}, 0.0, PETSC_FALSE, PETSC_FALSE));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalEnsembleGetOwnershipRange(run->ensemble, &first, &last));
  for (j = first; j < last; j++) {
    key.member = j;
    PetscCall(KalEnsembleGetMember(run->ensemble, j, &x));
    if (!run->initial[0]) PetscCall(KalModelInitial(run->model, key, x));
    for (c = 0; c < run->needs.copies; c++) {
      PetscCall(KalEnsembleGetMember(run->copy[c], j, &copy));
      PetscCall(PetscArraycpy(copy, x, run->n));
    }
  }
  PetscCall(KalEnsembleChanged(run->ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}
