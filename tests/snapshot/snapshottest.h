/* What the tests of snapshots share: ensembles and a sample snapshot with known values. */
#ifndef SNAPSHOTTEST_H
#define SNAPSHOTTEST_H

#include <kalmia.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Entry i of member j in round `seed`: a function of these alone. */
static inline double SampleValue(PetscInt seed, PetscInt64 i, PetscInt64 j)
{
  return sin(0.37 * (double)i + 1.9 * (double)j + (double)seed) + (double)j;
}

static inline PetscErrorCode SampleEnsemble(MPI_Comm comm, PetscInt n, PetscInt N, PetscInt seed, KalEnsemble *ens)
{
  PetscInt first, last;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(comm, ens));
  PetscCall(KalEnsembleSetSizes(*ens, n, N));
  PetscCall(KalEnsembleSetUp(*ens));
  PetscCall(KalEnsembleGetOwnershipRange(*ens, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    PetscScalar *x;
    PetscCall(KalEnsembleGetMember(*ens, j, &x));
    for (PetscInt i = 0; i < n; i++) x[i] = seed < 0 ? -1. : SampleValue(seed, i, j);
  }
  PetscCall(KalEnsembleChanged(*ens));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether this rank's members have the values of SampleEnsemble(). */
static inline int SampleIs(KalEnsemble ens, PetscInt seed)
{
  PetscInt n, N, first, last;

  if (KalEnsembleGetSizes(ens, &n, &N) || KalEnsembleGetOwnershipRange(ens, &first, &last)) return 0;
  for (PetscInt j = first; j < last; j++) {
    PetscScalar *x;
    if (KalEnsembleGetMember(ens, j, &x)) return 0;
    for (PetscInt i = 0; i < n; i++) {
      if (x[i] != SampleValue(seed, i, j)) return 0;
    }
  }
  return 1;
}

#define SAMPLE_CYCLES  4
#define SAMPLE_COLUMNS 16 /* of history besides loss and cycle: more than HDF5 keeps in the header of a group untold */
static inline const char *SampleColumn(int column)
{
  static char name[32];
  (void)snprintf(name, sizeof name, "history/column%d", column);
  return name;
}

/* A snapshot as a run writes it: n numbers, N members, `generated` with a mean and a spread instead of members. */
static inline PetscErrorCode SampleWrite(MPI_Comm comm, const char *path, PetscInt n, PetscInt N, PetscInt seed, PetscInt keep, PetscBool generated)
{
  KalSnapshot snap;
  KalEnsemble ens;
  PetscInt64  cycle[SAMPLE_CYCLES];
  PetscReal   loss[SAMPLE_CYCLES], *mean;
  KalStatus  *status;
  KalDataset  cycles  = {.name = "history/cycle", .meaning = "cycle", .units = "1", .type = KAL_TYPE_INT64, .ndims = 1, .size = {SAMPLE_CYCLES}, .dimension = {"cycle"}, .data = cycle};
  KalDataset  losses  = {.name = "history/loss", .meaning = "training loss, mean a sample", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {SAMPLE_CYCLES}, .dimension = {"cycle"}, .data = loss};
  KalDataset  state   = {.name = "ensemble/status", .meaning = "0 sound, 1 failed, 2 not finite", .units = "1", .type = KAL_TYPE_BYTE, .ndims = 1, .size = {N}, .dimension = {"member"}};
  KalDataset  average = {.name = "ensemble/mean", .meaning = "mean of the members", .units = "1", .type = KAL_TYPE_REAL, .ndims = 1, .size = {n}, .dimension = {"state"}};

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2((size_t)n, &mean, (size_t)N, &status));
  for (PetscInt k = 0; k < SAMPLE_CYCLES; k++) {
    cycle[k] = k;
    loss[k]  = 1. / (double)(k + 1 + seed);
  }
  for (PetscInt i = 0; i < n; i++) mean[i] = SampleValue(seed, i, 0);
  if (N > 2) status[2] = KAL_MEMBER_NONFINITE;
  average.data = mean;
  state.data   = status;
  PetscCall(KalSnapshotOpen(comm, path, KAL_SNAPSHOT_WRITE, &snap));
  PetscCall(KalSnapshotSetKeep(snap, keep));
  PetscCall(KalSnapshotWriteText(snap, "kalmia/version", KALMIA_VERSION));
  PetscCall(KalSnapshotWriteText(snap, "kalmia/provenance", "compiler: test\nblas: none\n"));
  PetscCall(KalSnapshotWriteText(snap, "kalmia/status", "continue"));
  PetscCall(KalSnapshotWriteText(snap, "options", "-run_cycles 4\n-model_type mlp\n"));
  PetscCall(KalSnapshotWriteText(snap, "model/type", "mlp"));
  PetscCall(KalSnapshotWriteText(snap, "model/layout", "3,2"));
  PetscCall(KalSnapshotWriteText(snap, "analysis/type", generated ? "haber" : "eki"));
  PetscCall(KalSnapshotWriteInt(snap, "kalmia/cycle", SAMPLE_CYCLES));
  PetscCall(KalSnapshotWriteInt(snap, "ensemble/N", N));
  PetscCall(KalSnapshotWriteInt(snap, "ensemble/n", n));
  PetscCall(KalSnapshotWriteInt(snap, "run/seed", seed));
  PetscCall(KalSnapshotWriteArray(snap, &state));
  if (generated) {
    PetscCall(KalSnapshotWriteArray(snap, &average));
    average.name    = "ensemble/spread";
    average.meaning = "standard deviation of the members";
    PetscCall(KalSnapshotWriteArray(snap, &average));
  } else {
    PetscCall(SampleEnsemble(comm, n, N, seed, &ens));
    PetscCall(KalSnapshotWriteMembers(snap, "ensemble/members", "members of the ensemble", ens));
    PetscCall(KalSnapshotWriteMembers(snap, "copies/1", "momentum", ens));
    PetscCall(KalEnsembleDestroy(&ens));
  }
  PetscCall(KalSnapshotWriteArray(snap, &losses));
  PetscCall(KalSnapshotWriteArray(snap, &cycles));
  for (int c = 0; c < SAMPLE_COLUMNS; c++) {
    losses.name = SampleColumn(c);
    PetscCall(KalSnapshotWriteArray(snap, &losses));
  }
  PetscCall(KalSnapshotCommit(snap));
  PetscCall(KalSnapshotClose(&snap));
  PetscCall(PetscFree2(mean, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

#endif
