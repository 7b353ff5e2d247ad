/* ranks: 1 2 3 5 */
/* Members come back bit by bit, on any other number of ranks; sizes are compared; the file holds what HDF5 itself reads. */
#include "kaltest.h"
#include "snapshottest.h"

#include <hdf5.h>
#include <xxhash.h>

/* A communicator of the first `count` ranks, MPI_COMM_NULL on the others. */
static MPI_Comm First(int count)
{
  int      rank;
  MPI_Comm comm;

  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  (void)MPI_Comm_split(PETSC_COMM_WORLD, rank < count ? 0 : MPI_UNDEFINED, rank, &comm);
  return comm;
}

static PetscErrorCode Write(MPI_Comm comm, const char *path, PetscInt n, PetscInt N, PetscInt seed)
{
  KalSnapshot snap;
  KalEnsemble ens;

  PetscFunctionBeginUser;
  PetscCall(SampleEnsemble(comm, n, N, seed, &ens));
  PetscCall(KalSnapshotOpen(comm, path, KAL_SNAPSHOT_WRITE, &snap));
  PetscCall(KalSnapshotWriteMembers(snap, "ensemble/members", "members", ens));
  PetscCall(KalSnapshotCommit(snap));
  PetscCall(KalSnapshotClose(&snap));
  PetscCall(KalEnsembleDestroy(&ens));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Read(MPI_Comm comm, const char *path, PetscInt n, PetscInt N, PetscInt seed, int *same)
{
  KalSnapshot snap;
  KalEnsemble ens;

  PetscFunctionBeginUser;
  PetscCall(SampleEnsemble(comm, n, N, -1, &ens));
  PetscCall(KalSnapshotOpen(comm, path, KAL_SNAPSHOT_READ, &snap));
  PetscCall(KalSnapshotReadMembers(snap, "ensemble/members", ens));
  PetscCall(KalSnapshotClose(&snap));
  *same = SampleIs(ens, seed);
  PetscCall(KalEnsembleDestroy(&ens));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Written on a ranks, read on b, for all a and b up to the size of the launch. */
static void RoundTrips(void **state)
{
  static const PetscInt sizes[][2] = {
      {1,     3},
      {7,     5},
      {1000,  8},
      {70001, 4}
  };
  const char *path = KalTestPath("members.h5");
  int         size;

  (void)state;
  (void)MPI_Comm_size(PETSC_COMM_WORLD, &size);
  for (int a = 1; a <= size; a++) {
    for (int b = 1; b <= size; b++) {
      for (int s = 0; s < 4; s++) {
        MPI_Comm writers = First(a), readers = First(b);
        int      bad = 0, same = 1;
        if (writers != MPI_COMM_NULL) bad = (int)Write(writers, path, sizes[s][0], sizes[s][1], 10 * a + s);
        (void)MPI_Barrier(PETSC_COMM_WORLD);
        KalCall(bad);
        if (readers != MPI_COMM_NULL) bad = (int)Read(readers, path, sizes[s][0], sizes[s][1], 10 * a + s, &same);
        KalCall(bad);
        KalAssert(same);
        if (writers != MPI_COMM_NULL) (void)MPI_Comm_free(&writers);
        if (readers != MPI_COMM_NULL) (void)MPI_Comm_free(&readers);
      }
    }
  }
}

/* A member larger than what a rank moves in one call. */
static void LargeMembers(void **state)
{
  const PetscInt n    = 4500001;
  const char    *path = KalTestPath("large.h5");
  int            same = 0;

  (void)state;
  KalCall(Write(PETSC_COMM_WORLD, path, n, 3, 7));
  KalCall(Read(PETSC_COMM_WORLD, path, n, 3, 7, &same));
  KalAssert(same);
}

/* Many members, more than a rank moves in one call, next to each other. */
static void ManyMembers(void **state)
{
  const char *path = KalTestPath("many.h5");
  int         same = 0;

  (void)state;
  KalCall(Write(PETSC_COMM_WORLD, path, 30011, 300, 8));
  KalCall(Read(PETSC_COMM_WORLD, path, 30011, 300, 8, &same));
  KalAssert(same);
}

/* What HDF5 reads without us, and XXH64 by the xxHash library. */
static void PlainFile(void **state)
{
  const char *path = KalTestPath("plain.h5");
  double      values[6][11];
  uint64_t    checksum[6];
  int         member[6], ok = 1, rank;
  hid_t       file, set;

  (void)state;
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  KalCall(Write(PETSC_COMM_WORLD, path, 11, 6, 3));
  if (!rank) {
    file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
    set  = H5Dopen2(file, "ensemble/members", H5P_DEFAULT);
    ok   = H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) >= 0;
    H5Dclose(set);
    set = H5Dopen2(file, "ensemble/members_checksum", H5P_DEFAULT);
    ok  = ok && H5Dread(set, H5T_NATIVE_UINT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, checksum) >= 0;
    H5Dclose(set);
    set = H5Dopen2(file, "ensemble/member", H5P_DEFAULT);
    ok  = ok && H5Dread(set, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, member) >= 0;
    H5Dclose(set);
    set = H5Dopen2(file, "ensemble/state", H5P_DEFAULT);
    ok  = ok && set >= 0 && H5Dget_storage_size(set) == 0;
    H5Dclose(set);
    for (int j = 0; ok && j < 6; j++) {
      ok = ok && member[j] == j && checksum[j] == XXH64(values[j], sizeof values[j], 0);
      for (int i = 0; i < 11; i++) ok = ok && values[j][i] == SampleValue(3, i, j);
    }
    H5Fclose(file);
  }
  KalAssert(ok);
}

static void Refusals(void **state)
{
  const char *path = KalTestPath("sizes.h5");
  KalSnapshot snap;
  KalEnsemble ens, generated;
  PetscReal   spread[4] = {1, 1, 1, 1};
  PetscScalar mean[4]   = {0};

  (void)state;
  KalCall(Write(PETSC_COMM_WORLD, path, 12, 6, 3));
  KalCall(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_READ, &snap));
  KalCall(SampleEnsemble(PETSC_COMM_WORLD, 12, 7, 0, &ens));
  KalCallFails(KalSnapshotReadMembers(snap, "ensemble/members", ens), "6 members of 12 numbers, and the ensemble 7 of 12");
  KalCallFails(KalSnapshotReadMembers(snap, "ensemble/none", ens), "holds no ensemble/none");
  KalCallFails(KalSnapshotReadMembers(snap, "ensemble/member", ens), "0 members");
  KalCallFails(KalSnapshotWriteMembers(snap, "ensemble/members", NULL, ens), "opened to be read");
  KalCall(KalEnsembleDestroy(&ens));
  KalCall(KalSnapshotClose(&snap));
  KalAssert(snap == NULL);
  KalCall(KalEnsembleCreateGaussian(PETSC_COMM_WORLD, 4, 3, mean, spread, &generated));
  KalCall(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap));
  KalCallFails(KalSnapshotWriteMembers(snap, "ensemble/members", NULL, generated), "generated");
  KalCall(KalEnsembleDestroy(&generated));
  KalCall(SampleEnsemble(PETSC_COMM_WORLD, 12, 7, 0, &ens));
  KalCall(KalSnapshotWriteMembers(snap, "copies/1", NULL, ens));
  KalCallFails(KalSnapshotWriteMembers(snap, "copies/1", NULL, ens), "holds copies/1_checksum already");
  KalCall(KalEnsembleDestroy(&ens));
  KalCall(SampleEnsemble(PETSC_COMM_WORLD, 13, 7, 0, &ens));
  KalCallFails(KalSnapshotWriteMembers(snap, "copies/2", NULL, ens), "Dimension state has size 13 in copies/2 and 12 in copies/1");
  KalCall(KalEnsembleDestroy(&ens));
  KalCall(KalSnapshotClose(&snap));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(RoundTrips), cmocka_unit_test(LargeMembers), cmocka_unit_test(ManyMembers), cmocka_unit_test(PlainFile), cmocka_unit_test(Refusals)};
  return KalTestMain(argc, argv, "snapshot members", tests, sizeof tests / sizeof tests[0]);
}
