/* ranks: 1 2 */
/* Damage is found: a flipped bit anywhere, a file cut short, another version; or what is read is unchanged. */
#include "kaltest.h"
#include "snapshottest.h"

#include <hdf5.h>

#define SAMPLE_N       4
#define SAMPLE_STATE   7
#define SAMPLE_LARGEST (1 << 20)

typedef struct {
  unsigned char byte[SAMPLE_LARGEST];
  size_t        size;
} Image;
static Image sample;

static int Rank(void)
{
  int rank;
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  return rank;
}

/* Rank 0 loads a file, all know its size. */
static int Load(const char *path, Image *image)
{
  long long size = 0;

  if (!Rank()) {
    FILE *file = fopen(path, "rb");
    if (file) {
      size = (long long)fread(image->byte, 1, sizeof image->byte, file);
      fclose(file);
    }
  }
  (void)MPI_Bcast(&size, 1, MPI_LONG_LONG, 0, PETSC_COMM_WORLD);
  image->size = (size_t)size;
  return size > 0 && size < (long long)sizeof image->byte;
}

/* Rank 0 stores the first `size` bytes, with one bit flipped where `mask` is not 0. */
static void Store(const char *path, const Image *image, size_t size, size_t offset, unsigned char mask)
{
  if (!Rank()) {
    FILE *file = fopen(path, "wb");
    if (file) {
      (void)fwrite(image->byte, 1, size, file);
      if (mask) {
        const unsigned char flipped = (unsigned char)(image->byte[offset] ^ mask);
        (void)fseek(file, (long)offset, SEEK_SET);
        (void)fwrite(&flipped, 1, 1, file);
      }
      fclose(file);
    }
  }
  (void)MPI_Barrier(PETSC_COMM_WORLD);
}

static int TextIs(KalSnapshot snap, const char *name, const char *expected)
{
  char     *text  = NULL;
  PetscBool found = PETSC_FALSE;
  int       same;

  if (KalSnapshotReadText(snap, name, &text, &found)) return 0;
  same = found && text && !strcmp(text, expected);
  (void)PetscFree(text);
  return same;
}

static int IntIs(KalSnapshot snap, const char *name, PetscInt64 expected)
{
  PetscInt64 value = -77;
  PetscBool  found = PETSC_FALSE;

  return !KalSnapshotReadInt(snap, name, &value, &found) && found && value == expected;
}

static int MembersAre(KalSnapshot snap, const char *name)
{
  KalEnsemble ens;
  int         same;

  if (SampleEnsemble(PETSC_COMM_WORLD, SAMPLE_STATE, SAMPLE_N, -1, &ens)) return 0;
  same = KalTestAll(!KalSnapshotReadMembers(snap, name, ens) && SampleIs(ens, 5));
  (void)KalEnsembleDestroy(&ens);
  return same;
}

/* Whether all that SampleWrite() wrote is read unchanged. */
static int Unchanged(KalSnapshot snap)
{
  PetscInt64 cycle[SAMPLE_CYCLES] = {0};
  PetscReal  loss[SAMPLE_CYCLES]  = {0};
  KalStatus  status[SAMPLE_N]     = {9, 9, 9, 9};
  KalDataset cycles               = {.name = "history/cycle", .type = KAL_TYPE_INT64, .ndims = 1, .size = {SAMPLE_CYCLES}, .data = cycle};
  KalDataset losses               = {.name = "history/loss", .type = KAL_TYPE_REAL, .ndims = 1, .size = {SAMPLE_CYCLES}, .data = loss};
  KalDataset states               = {.name = "ensemble/status", .type = KAL_TYPE_BYTE, .ndims = 1, .size = {SAMPLE_N}, .data = status};

  if (!TextIs(snap, "kalmia/version", KALMIA_VERSION) || !TextIs(snap, "kalmia/provenance", "compiler: test\nblas: none\n") || !TextIs(snap, "kalmia/status", "continue")) return 0;
  if (!TextIs(snap, "options", "-run_cycles 4\n-model_type mlp\n") || !TextIs(snap, "model/type", "mlp") || !TextIs(snap, "model/layout", "3,2") || !TextIs(snap, "analysis/type", "eki")) return 0;
  if (!IntIs(snap, "kalmia/cycle", SAMPLE_CYCLES) || !IntIs(snap, "ensemble/N", SAMPLE_N) || !IntIs(snap, "ensemble/n", SAMPLE_STATE) || !IntIs(snap, "run/seed", 5)) return 0;
  if (KalSnapshotReadArray(snap, &cycles) || KalSnapshotReadArray(snap, &losses) || KalSnapshotReadArray(snap, &states)) return 0;
  for (int k = 0; k < SAMPLE_CYCLES; k++) {
    if (cycle[k] != k || loss[k] != 1. / (double)(k + 6)) return 0;
  }
  for (int c = 0; c < SAMPLE_COLUMNS; c++) {
    losses.name = SampleColumn(c);
    if (KalSnapshotReadArray(snap, &losses)) return 0;
    for (int k = 0; k < SAMPLE_CYCLES; k++) {
      if (loss[k] != 1. / (double)(k + 6)) return 0;
    }
  }
  if (status[0] || status[1] || status[2] != KAL_MEMBER_NONFINITE || status[3]) return 0;
  return MembersAre(snap, "ensemble/members") && MembersAre(snap, "copies/1");
}

/* 1: verification reports a problem; 0: it does not, and everything is as it was; -1: it does not, and something changed. */
static int Outcome(const char *path)
{
  KalSnapshot snap;
  PetscInt    problems = 0;
  char       *text     = NULL;
  int         same;

  if (KalSnapshotVerify(PETSC_COMM_WORLD, path, &problems, &text)) return -1;
  if (problems) {
    const int told = text && strlen(text) > 4;
    (void)PetscFree(text);
    return told ? 1 : -1;
  }
  (void)PetscFree(text);
  if (KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_READ, &snap)) return -1;
  same = Unchanged(snap);
  (void)KalSnapshotClose(&snap);
  return same ? 0 : -1;
}

static int Setup(void **state)
{
  const char *path = KalTestPath("sample.h5");

  (void)state;
  if (SampleWrite(PETSC_COMM_WORLD, path, SAMPLE_STATE, SAMPLE_N, 5, 1, PETSC_FALSE)) return -1;
  return Load(path, &sample) ? 0 : -1;
}

static void Whole(void **state)
{
  const char *path = KalTestPath("sample.h5");

  (void)state;
  KalAssert(Outcome(path) == 0);
}

/* A bit flipped at every so many bytes of the file; at every byte with KALTEST_EVERY in the environment (about a minute). */
static void Flips(void **state)
{
  const char *path  = KalTestPath("flipped.h5");
  size_t      flips = 0, found = 0, silent = 0, step;
  unsigned    random = 12345;
  int         size;

  (void)state;
  (void)MPI_Comm_size(PETSC_COMM_WORLD, &size);
  step = size == 1 && getenv("KALTEST_EVERY") ? 1 : sample.size / 400 + 1;
  for (size_t offset = 0; offset < sample.size; offset += step) {
    unsigned bit, place;
    int      outcome;
    random = 1664525u * random + 1013904223u;
    bit    = (random >> 24) & 7;
    place  = (random >> 8) % (unsigned)step;
    place  = offset + place < sample.size ? place : 0;
    Store(path, &sample, sample.size, offset + place, (unsigned char)(1u << bit));
    outcome = Outcome(path);
    if (outcome < 0) {
      print_error("bit %u of byte %zu: not reported, and something read is changed (%s)\n", bit, offset + place, KalTestMessage());
      silent++;
    }
    flips++;
    if (outcome > 0) found++;
  }
  KalAssert(silent == 0);
  KalAssert(flips >= 300 && found > flips / 10);
}

/* Where the value of a dataset lies in the sample. */
static size_t Find(const void *bytes, size_t count, size_t from)
{
  for (size_t i = from; i + count <= sample.size; i++) {
    if (!memcmp(sample.byte + i, bytes, count)) return i;
  }
  return sample.size;
}

/* Every place of known values, flipped: the dataset is named. */
static void FlippedValue(const void *bytes, size_t count, const char *name)
{
  const char *path  = KalTestPath("flipped.h5");
  PetscInt    found = 0, named = 0;

  for (size_t at = Rank() ? 0 : Find(bytes, count, 0);;) {
    unsigned long long place = at;
    PetscInt           problems;
    char              *text;
    (void)MPI_Bcast(&place, 1, MPI_UNSIGNED_LONG_LONG, 0, PETSC_COMM_WORLD);
    if (place >= sample.size) break;
    Store(path, &sample, sample.size, (size_t)place + count / 2, 16);
    KalCall(KalSnapshotVerify(PETSC_COMM_WORLD, path, &problems, &text));
    KalAssert(problems > 0);
    found++;
    if (strstr(text, name)) named++;
    KalCall(PetscFree(text));
    at = Rank() ? 0 : Find(bytes, count, (size_t)place + 1);
  }
  KalAssert(found > 0 && named > 0);
}

static void EachDataset(void **state)
{
  const double     member = SampleValue(5, 3, 3), loss = 1. / 7.;
  const PetscInt64 cycle[2] = {2, 3};
  const int        index[2] = {2, 3};
  PetscInt64       digest;
  double           values[SAMPLE_STATE];

  (void)state;
  for (PetscInt i = 0; i < SAMPLE_STATE; i++) values[i] = SampleValue(5, i, 1);
  KalCall(KalDigest(values, sizeof values, 0, &digest));
  FlippedValue(&member, sizeof member, "ensemble/members: member 3");
  FlippedValue(&member, sizeof member, "copies/1: member 3");
  FlippedValue(&digest, sizeof digest, "ensemble/members_checksum");
  FlippedValue(&loss, sizeof loss, "history/loss");
  FlippedValue(cycle, sizeof cycle, "history/cycle");
  FlippedValue(index, sizeof index, "ensemble/member");
  FlippedValue("-run_cycles 4", 13, "options");
  FlippedValue("compiler: test", 14, "kalmia/provenance");
  FlippedValue("continue", 8, "kalmia/status");
  FlippedValue("training loss", 13, "history/loss");
}

/* A flipped member is named when it is read, with the remedy. */
static void ReadDamaged(void **state)
{
  const double member = SampleValue(5, 3, 3);
  const char  *path   = KalTestPath("flipped.h5");
  KalSnapshot  snap;
  KalEnsemble  ens;
  int          named = 0;

  (void)state;
  KalCall(SampleEnsemble(PETSC_COMM_WORLD, SAMPLE_STATE, SAMPLE_N, -1, &ens));
  for (size_t from = 0; from < sample.size;) {
    unsigned long long at = Rank() ? 0 : Find(&member, sizeof member, from);
    (void)MPI_Bcast(&at, 1, MPI_UNSIGNED_LONG_LONG, 0, PETSC_COMM_WORLD);
    if (at >= sample.size) break;
    from = (size_t)at + 1;
    Store(path, &sample, sample.size, (size_t)at + 2, 4);
    KalCall(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_READ, &snap));
    if (KalSnapshotReadMembers(snap, "ensemble/members", ens)) {
      KalAssert(strstr(KalTestMessage(), "Member 3 of ensemble/members") && strstr(KalTestMessage(), "flipped.h5.1"));
      named++;
    }
    KalCall(KalSnapshotClose(&snap));
  }
  KalAssert(named == 1);
  KalCall(KalEnsembleDestroy(&ens));
}

/* Cut at any length, the file is reported and nothing hangs. */
static void Truncated(void **state)
{
  const char *path = KalTestPath("cut.h5");
  KalSnapshot snap;

  (void)state;
  for (size_t size = 0; size < sample.size; size += sample.size / 23 + 1) {
    Store(path, &sample, size, 0, 0);
    KalAssert(Outcome(path) == 1);
    KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_READ, &snap), "cut.h5");
    KalAssert(snap == NULL);
  }
  Store(path, &sample, sample.size - 1, 0, 0);
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_READ, &snap), "truncated or damaged");
}

/* A file that HDF5 made, with or without a version in it. */
static void Foreign(const char *path, int version)
{
  if (!Rank()) {
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT), space = H5Screate(H5S_SCALAR);
    const hid_t set = H5Dcreate2(file, "bare", H5T_NATIVE_INT, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    H5Dwrite(set, H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT, &version);
    H5Dclose(set);
    if (version) {
      const hid_t attr = H5Acreate2(file, "kalmia_format", H5T_NATIVE_INT, space, H5P_DEFAULT, H5P_DEFAULT);
      H5Awrite(attr, H5T_NATIVE_INT, &version);
      H5Aclose(attr);
    }
    H5Sclose(space);
    H5Fclose(file);
  }
  (void)MPI_Barrier(PETSC_COMM_WORLD);
}

static void OtherFiles(void **state)
{
  const char *path = KalTestPath("other.h5");
  KalSnapshot snap;
  PetscInt    problems;
  char       *text;

  (void)state;
  Foreign(path, 0);
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_READ, &snap), "not a snapshot");
  Foreign(path, KAL_SNAPSHOT_VERSION + 41);
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_READ, &snap), "has format version 42, and this Kalmia (" KALMIA_VERSION ") reads version 1");
  Foreign(path, KAL_SNAPSHOT_VERSION);
  KalCall(KalSnapshotVerify(PETSC_COMM_WORLD, path, &problems, &text));
  KalAssert(problems == 2 && strstr(text, "bare: it has no checksum\n") && strstr(text, "checksum of the dimension scales is missing"));
  KalCall(PetscFree(text));
  Store(path, &sample, 0, 0, 0);
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, path, KAL_SNAPSHOT_READ, &snap), "not an HDF5 file");
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, KalTestPath("none.h5"), KAL_SNAPSHOT_READ, &snap), "There is no snapshot");
  KalCallFails(KalSnapshotOpen(PETSC_COMM_WORLD, "/", KAL_SNAPSHOT_READ, &snap), "not a file");
  KalCall(KalSnapshotVerify(PETSC_COMM_WORLD, KalTestPath("none.h5"), &problems, &text));
  KalAssert(problems == 1 && strstr(text, "There is no snapshot"));
  KalCall(PetscFree(text));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test_setup(Whole, Setup), cmocka_unit_test(Flips), cmocka_unit_test(EachDataset), cmocka_unit_test(ReadDamaged), cmocka_unit_test(Truncated), cmocka_unit_test(OtherFiles)};
  return KalTestMain(argc, argv, "snapshot damage", tests, sizeof tests / sizeof tests[0]);
}
