/* The arrays of a method in a snapshot: its state beyond the ensemble. */
#include "runimpl.h"

/* Writes or reads the method's arrays. */
static PetscErrorCode MoveArrays(KalRun run, KalSnapshot snapshot, PetscErrorCode (*move)(KalSnapshot, KalDataset *))
{
  KalArray arrays[KAL_ANALYSIS_ARRAYS];
  PetscInt count, i;
  char     name[64], dimension[64];

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetArrays(run->analysis, &count, arrays));
  for (i = 0; i < count; i++) {
    KalDataset dataset = {.name = name, .meaning = arrays[i].meaning, .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {arrays[i].count}, .dimension = {dimension}, .data = arrays[i].data};

    PetscCall(PetscSNPrintf(name, sizeof name, "analysis/%s", arrays[i].name));
    PetscCall(PetscSNPrintf(dimension, sizeof dimension, "%s_entry", arrays[i].name));
    PetscCall(move(snapshot, &dataset));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WriteArray(KalSnapshot snapshot, KalDataset *dataset)
{
  PetscFunctionBeginUser;
  PetscCall(KalSnapshotWriteArray(snapshot, dataset));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunWriteArrays - Writes the method's own state

  Collective
*/
PetscErrorCode KalRunWriteArrays(KalRun run, KalSnapshot snapshot)
{
  PetscFunctionBeginUser;
  PetscCall(MoveArrays(run, snapshot, WriteArray));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Arrays whose length an option sets must have that of the snapshot. */
static PetscErrorCode CheckArrays(KalRun run, KalSnapshot snapshot)
{
  KalArray   arrays[KAL_ANALYSIS_ARRAYS] = {{0}};
  PetscInt   count, ndims;
  PetscInt64 size[KAL_SNAPSHOT_RANK];
  PetscBool  found;
  char       name[64];

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetArrays(run->analysis, &count, arrays));
  for (PetscInt i = 0; i < count; i++) {
    if (!arrays[i].option) continue;
    PetscCall(PetscSNPrintf(name, sizeof name, "analysis/%s", arrays[i].name));
    PetscCall(KalSnapshotGetSize(snapshot, name, &ndims, size, &found));
    PetscCheck(!found || (ndims == 1 && size[0] == arrays[i].count), run->comm, PETSC_ERR_ARG_INCOMP, "%s was written with another %s: leave it out, or begin a new run", run->restart, arrays[i].option);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunReadArrays - Reads the method's own state

  Collective
*/
PetscErrorCode KalRunReadArrays(KalRun run, KalSnapshot snapshot)
{
  PetscFunctionBeginUser;
  PetscCall(CheckArrays(run, snapshot));
  PetscCall(MoveArrays(run, snapshot, KalSnapshotReadArray));
  PetscFunctionReturn(PETSC_SUCCESS);
}
