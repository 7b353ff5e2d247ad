/* ranks: 1 2 3 */
/*
  Snapshots as files: whole or absent, whatever goes wrong; how many are kept; nothing else left behind.

  With arguments the program writes the sample snapshot instead, for the end-to-end tests:
    test_snapshot_files write PATH stored|generated n N seed
    test_snapshot_files loop PATH n N      one after the other, until it is killed
*/
#include "kaltest.h"
#include "snapshottest.h"

#include <dirent.h>
#include <errno.h>
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>

static int Rank(void)
{
  int rank;
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  return rank;
}

/* A fresh folder under the scratch folder. */
static void Folder(const char *name, char *folder, size_t bytes)
{
  (void)snprintf(folder, bytes, "%s", KalTestPath(name));
  if (!Rank()) (void)mkdir(folder, 0700);
  (void)MPI_Barrier(PETSC_COMM_WORLD);
}

/* How many entries a folder has: what is left behind is seen here. */
static int Entries(const char *folder)
{
  int            count = 0;
  DIR           *dir   = opendir(folder);
  struct dirent *entry;

  if (!dir) return -1;
  while ((entry = readdir(dir))) count += entry->d_name[0] != '.' || entry->d_name[1];
  closedir(dir);
  return count - 1; /* .. */
}

/* Number `seed` of the sample at a path, or -1 where there is no sound snapshot. */
static PetscInt SeedOf(const char *path)
{
  KalSnapshot snap;
  PetscInt64  seed = -1;
  PetscInt    problems;
  PetscBool   found;
  char       *text;

  if (KalSnapshotVerify(PETSC_COMM_WORLD, path, &problems, &text)) return -1;
  (void)PetscFree(text);
  if (problems || KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_READ, &snap)) return -1;
  if (KalSnapshotReadInt(snap, "run/seed", &seed, &found)) seed = -1;
  (void)KalSnapshotClose(&snap);
  return (PetscInt)seed;
}

static const char *Numbered(const char *path, int k)
{
  static char text[4200];
  (void)snprintf(text, sizeof text, k ? "%s.%d" : "%s", path, k);
  return text;
}

static void Refusals(void **state)
{
  char        folder[2048], path[2100];
  KalSnapshot snap;

  (void)state;
  Folder("refusals", folder, sizeof folder);
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, "", KAL_SNAPSHOT_WRITE, &snap), "needs a path");
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, folder, KAL_SNAPSHOT_WRITE, &snap), "is a folder");
  (void)snprintf(path, sizeof path, "%s/", folder);
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap), "names no file");
  (void)snprintf(path, sizeof path, "%s/none/run.h5", folder);
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap), "No such file or directory");
  KalAssert(Entries(folder) == 0);
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, "/dev/null", KAL_SNAPSHOT_WRITE, &snap), "not a plain file");
  (void)snprintf(path, sizeof path, "%s/run.h5", folder);
  if (geteuid() == 0) KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, "/proc/run.h5", KAL_SNAPSHOT_WRITE, &snap), "cannot be written");
  else {
    KalAssert(chmod(folder, 0500) == 0);
    KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap), "cannot be written");
    KalAssert(Entries(folder) == 0);
    (void)MPI_Barrier(PETSC_COMM_WORLD);
    KalAssert(chmod(folder, 0700) == 0);
  }
  KalCall(SampleWrite(PETSC_COMM_WORLD, path, 5, 4, 1, 1, PETSC_FALSE));
  (void)snprintf(path, sizeof path, "%s/run.h5/run.h5", folder);
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap), "is not a folder");
  KalAssert(snap == NULL && Entries(folder) == 1);
}

/* Writes a file of somebody else's: `text`, or an HDF5 file where it is NULL. */
static void WriteForeign(const char *path, const char *text)
{
  if (!Rank() && text) {
    FILE *file = fopen(path, "w");
    if (file) {
      fputs(text, file);
      fclose(file);
    }
  } else if (!Rank()) (void)H5Fclose(H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT));
  (void)MPI_Barrier(PETSC_COMM_WORLD);
}

/* A file that is no snapshot is not replaced; an empty one is. */
static void Foreign(void **state)
{
  char        folder[2048], path[2100];
  KalSnapshot snap;

  (void)state;
  Folder("foreign", folder, sizeof folder);
  (void)snprintf(path, sizeof path, "%s/data.h5", folder);
  for (int text = 0; text < 2; text++) {
    struct stat before, after;
    WriteForeign(path, text ? "my notes" : NULL);
    KalAssert(!stat(path, &before) && before.st_size > 0);
    KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap), "data.h5 is a file that is no snapshot");
    KalAssert(snap == NULL && !stat(path, &after) && after.st_size == before.st_size && after.st_ino == before.st_ino && Entries(folder) == 1);
    (void)MPI_Barrier(PETSC_COMM_WORLD);
  }
  WriteForeign(path, "");
  KalCall(SampleWrite(PETSC_COMM_WORLD, path, 5, 4, 51, 1, PETSC_FALSE));
  KalAssert(SeedOf(path) == 51);
}

/* Nothing is at the path before the commit, and what was there before stays until then. */
static void Dropped(void **state)
{
  char        folder[2048], path[2100];
  KalSnapshot snap;

  (void)state;
  Folder("dropped", folder, sizeof folder);
  (void)snprintf(path, sizeof path, "%s/run.h5", folder);
  KalCall(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap));
  KalCall(KalSnapshotWriteInt(snap, "run/seed", 3));
  KalAssert(access(path, F_OK) != 0);
  KalCall(KalSnapshotClose(&snap));
  KalAssert(snap == NULL && Entries(folder) == 0);
  KalCall(KalSnapshotClose(&snap));
  KalCall(SampleWrite(PETSC_COMM_WORLD, path, 5, 4, 11, 1, PETSC_FALSE));
  KalCall(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap));
  KalCall(KalSnapshotWriteInt(snap, "run/seed", 12));
  KalAssert(SeedOf(path) == 11);
  KalCall(KalSnapshotClose(&snap));
  KalAssert(SeedOf(path) == 11);
  KalAssert(Entries(folder) == 1);
}

static void Kept(void **state)
{
  char folder[2048], path[2100];

  (void)state;
  for (int keep = 1; keep <= 4; keep++) {
    (void)snprintf(path, sizeof path, "kept%d", keep);
    Folder(path, folder, sizeof folder);
    (void)snprintf(path, sizeof path, "%s/run.h5", folder);
    for (int k = 0; k < 6; k++) {
      KalCall(SampleWrite(PETSC_COMM_WORLD, path, 3, 4, 100 + k, keep, PETSC_TRUE));
      for (int back = 0; back < keep && back <= k; back++) KalAssert(SeedOf(Numbered(path, back)) == 100 + k - back);
      KalAssert(Entries(folder) == PetscMin(keep, k + 1));
      (void)MPI_Barrier(PETSC_COMM_WORLD);
    }
  }
}

/* Opens, writes a little, lets rank 0 do `spoil`, and tries to commit. */
static PetscErrorCode CommitSpoiled(const char *path, PetscInt keep, const char *spoil)
{
  KalSnapshot    snap;
  PetscErrorCode ierr;

  if (KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap)) return 0;
  if (KalSnapshotSetKeep(snap, keep) || KalSnapshotWriteInt(snap, "run/seed", 99)) return 0;
  if (!Rank() && spoil) (void)mkdir(spoil, 0700);
  ierr = KalSnapshotCommit(snap);
  if (KalSnapshotClose(&snap)) return 0;
  return ierr;
}

/* A commit that cannot take its place leaves everything as it was. */
static void Spoiled(void **state)
{
  char folder[2048], path[2100], inside[2200];

  (void)state;
  Folder("spoiled", folder, sizeof folder);
  (void)snprintf(path, sizeof path, "%s/run.h5", folder);
  KalCallFails(CommitSpoiled(path, 1, path), "cannot be renamed");
  KalAssert(Entries(folder) == 1);
  (void)MPI_Barrier(PETSC_COMM_WORLD);
  if (!Rank()) (void)rmdir(path);
  (void)MPI_Barrier(PETSC_COMM_WORLD);
  KalCall(SampleWrite(PETSC_COMM_WORLD, path, 5, 4, 21, 1, PETSC_FALSE));
  (void)snprintf(inside, sizeof inside, "%s.1", path);
  KalCallFails(CommitSpoiled(path, 2, inside), "cannot be kept");
  KalAssert(SeedOf(path) == 21);
  KalAssert(Entries(folder) == 2);
}

/* A disk that fills up while members are written: RLIMIT_FSIZE stands for it. */
static void Full(void **state)
{
  char          folder[2048], path[2100];
  KalSnapshot   snap;
  KalEnsemble   ens;
  struct rlimit before, small;

  (void)state;
  Folder("full", folder, sizeof folder);
  (void)snprintf(path, sizeof path, "%s/run.h5", folder);
  KalCall(SampleWrite(PETSC_COMM_WORLD, path, 5, 4, 31, 1, PETSC_FALSE));
  KalCall(SampleEnsemble(PETSC_COMM_WORLD, 100000, 12, 1, &ens));
  KalCall(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_WRITE, &snap));
  (void)signal(SIGXFSZ, SIG_IGN);
  (void)getrlimit(RLIMIT_FSIZE, &before);
  small          = before;
  small.rlim_cur = 1 << 20;
  KalAssert(setrlimit(RLIMIT_FSIZE, &small) == 0);
  KalCallFails(KalSnapshotWriteMembers(snap, "ensemble/members", NULL, ens), "ensemble/members cannot be written to snapshot");
  KalAssert(setrlimit(RLIMIT_FSIZE, &before) == 0);
  KalCall(KalSnapshotClose(&snap));
  KalCall(KalEnsembleDestroy(&ens));
  KalAssert(SeedOf(path) == 31);
  KalAssert(Entries(folder) == 1);
}

/* What a killed run left at the temporary name is in nobody's way. */
static void Stale(void **state)
{
  char  folder[2048], path[2100], tmp[2200];
  FILE *file;

  (void)state;
  Folder("stale", folder, sizeof folder);
  (void)snprintf(path, sizeof path, "%s/run.h5", folder);
  (void)snprintf(tmp, sizeof tmp, "%s.tmp", path);
  if (!Rank() && (file = fopen(tmp, "w"))) {
    fputs("half a snapshot", file);
    fclose(file);
  }
  (void)MPI_Barrier(PETSC_COMM_WORLD);
  KalCall(SampleWrite(PETSC_COMM_WORLD, path, 5, 4, 41, 1, PETSC_FALSE));
  KalAssert(SeedOf(path) == 41);
  KalAssert(Entries(folder) == 1);
}

/* The writer for the end-to-end tests. */
static PetscErrorCode Writer(int argc, char **argv)
{
  PetscFunctionBeginUser;
  if (!strcmp(argv[1], "write") && argc == 7) PetscCall(SampleWrite(PETSC_COMM_WORLD, argv[2], atoi(argv[4]), atoi(argv[5]), atoi(argv[6]), 1, strcmp(argv[3], "generated") ? PETSC_FALSE : PETSC_TRUE));
  else if (!strcmp(argv[1], "loop") && argc == 5) {
    for (PetscInt k = 0; k < 100000; k++) {
      PetscCall(SampleWrite(PETSC_COMM_WORLD, argv[2], atoi(argv[3]), atoi(argv[4]), k, 2, PETSC_FALSE));
      PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%d\n", (int)k));
    }
  } else SETERRQ(PETSC_COMM_WORLD, PETSC_ERR_USER, "Usage: write PATH stored|generated n N seed, or loop PATH n N");
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(Refusals), cmocka_unit_test(Foreign), cmocka_unit_test(Dropped), cmocka_unit_test(Kept), cmocka_unit_test(Spoiled), cmocka_unit_test(Full), cmocka_unit_test(Stale)};

  if (argc > 2) {
    PetscCall(PetscInitialize(NULL, NULL, NULL, NULL));
    PetscCall(Writer(argc, argv));
    return (int)PetscFinalize();
  }
  return KalTestMain(argc, argv, "snapshot files", tests, sizeof tests / sizeof tests[0]);
}
