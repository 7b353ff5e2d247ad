/* ranks: 1 2 3 5 */
/* Arrays, texts and numbers come back as they were written; wrong shapes, types and names are refused. */
#include "kaltest.h"
#include "snapshottest.h"

#include <hdf5.h>
#include <xxhash.h>

static KalSnapshot Open(const char *path, KalSnapshotMode mode)
{
  KalSnapshot snap = NULL;

  KalCall(KalSnapshotOpen(PETSC_COMM_WORLD, path, mode, &snap));
  return snap;
}

static PetscInt64 Elements(const KalDataset *array)
{
  PetscInt64 elements = 1;
  for (PetscInt d = 0; d < array->ndims; d++) elements *= array->size[d];
  return elements;
}

/* Shapes of 0 to 3 dimensions, of a few bytes to more than a rank moves in one call. */
static void Shapes(void **state)
{
  static const PetscInt64 shapes[][4] = {
      {0, 0,       0,      0  },
      {1, 1,       0,      0  },
      {1, 0,       0,      0  },
      {1, 2048,    0,      0  },
      {1, 2049,    0,      0  },
      {1, 131073,  0,      0  },
      {1, 4700001, 0,      0  },
      {2, 3,       5,      0  },
      {2, 5,       0,      0  },
      {2, 3,       150001, 0  },
      {2, 150001,  3,      0  },
      {3, 7,       3,      2  },
      {3, 3,       129,    777},
      {3, 70001,   2,      2  }
  };
  const char  *path  = KalTestPath("shapes.h5");
  const size_t count = sizeof shapes / sizeof shapes[0];
  KalSnapshot  snap  = Open(path, KAL_SNAPSHOT_WRITE);
  char         name[64];

  (void)state;
  for (int pass = 0; pass < 2; pass++) {
    for (size_t s = 0; s < count; s++) {
      KalDataset array = {
          .name = name, .meaning = "test", .units = "m s-1", .type = KAL_TYPE_REAL, .ndims = (PetscInt)shapes[s][0], .size = {shapes[s][1], shapes[s][2], shapes[s][3]}
      };
      double    *values;
      int        same = 1;
      PetscInt   ndims;
      PetscInt64 size[KAL_SNAPSHOT_RANK], elements = Elements(&array);
      PetscBool  found;
      char       dimension[3][16];
      for (int d = 0; d < 3; d++) {
        (void)snprintf(dimension[d], sizeof dimension[d], "axis%d", d);
        array.dimension[d] = d == 1 ? NULL : dimension[d];
      }
      (void)snprintf(name, sizeof name, "shape%zu/values", s);
      values     = malloc(((size_t)elements + 1) * sizeof *values);
      array.data = values;
      for (PetscInt64 i = 0; i < elements; i++) values[i] = pass ? 0. : SampleValue((PetscInt)s, i, 1);
      if (!pass) KalCall(KalSnapshotWriteArray(snap, &array));
      else {
        KalCall(KalSnapshotGetSize(snap, name, &ndims, size, &found));
        KalAssert(found && ndims == array.ndims);
        for (PetscInt d = 0; d < ndims; d++) same = same && size[d] == array.size[d];
        KalCall(KalSnapshotReadArray(snap, &array));
        for (PetscInt64 i = 0; i < elements; i++) same = same && values[i] == SampleValue((PetscInt)s, i, 1);
        KalAssert(same);
      }
      free(values);
    }
    if (pass) break;
    KalCall(KalSnapshotCommit(snap));
    KalCall(KalSnapshotClose(&snap));
    snap = Open(path, KAL_SNAPSHOT_READ);
  }
  KalCall(KalSnapshotClose(&snap));
}

static void Verified(void **state)
{
  PetscInt problems;
  char    *text;

  (void)state;
  KalCall(KalSnapshotVerify(PETSC_COMM_WORLD, KalTestPath("shapes.h5"), &problems, &text));
  if (problems) print_error("%s", text);
  KalAssert(problems == 0);
  KalAssert(text[0] == 0);
  KalCall(PetscFree(text));
}

static void TextsAndNumbers(void **state)
{
  static const PetscInt64 numbers[] = {0, -1, 1, 4294967297, PETSC_MAX_INT, -9223372036854775807LL - 1, 9223372036854775807LL};
  const char             *path      = KalTestPath("texts.h5");
  const size_t            length    = 40000;
  char                   *large     = malloc(length + 1), *text, name[32];
  KalSnapshot             snap      = Open(path, KAL_SNAPSHOT_WRITE);
  PetscInt64              value;
  PetscBool               found;

  (void)state;
  for (size_t i = 0; i < length; i++) large[i] = (char)('a' + i % 26);
  large[length] = 0;
  KalCall(KalSnapshotWriteText(snap, "empty", ""));
  KalCall(KalSnapshotWriteText(snap, "a/b/c/utf8", "\xce\xba\xce\xb1\xce\xbb\xce\xbc\xce\xaf\xce\xb1\n"));
  KalCall(KalSnapshotWriteText(snap, "large", large));
  for (int i = 0; i < 7; i++) {
    (void)snprintf(name, sizeof name, "numbers/%d", i);
    KalCall(KalSnapshotWriteInt(snap, name, numbers[i]));
  }
  KalCall(KalSnapshotCommit(snap));
  KalCallFails(KalSnapshotWriteInt(snap, "late", 1), "committed already");
  KalCallFails(KalSnapshotCommit(snap), "committed already");
  KalCall(KalSnapshotClose(&snap));
  snap = Open(path, KAL_SNAPSHOT_READ);
  KalCall(KalSnapshotReadText(snap, "empty", &text, &found));
  KalAssert(found && text && !text[0]);
  KalCall(PetscFree(text));
  KalCall(KalSnapshotReadText(snap, "a/b/c/utf8", &text, &found));
  KalAssert(found && !strcmp(text, "\xce\xba\xce\xb1\xce\xbb\xce\xbc\xce\xaf\xce\xb1\n"));
  KalCall(PetscFree(text));
  KalCall(KalSnapshotReadText(snap, "large", &text, &found));
  KalAssert(found && !strcmp(text, large));
  KalCall(PetscFree(text));
  for (int i = 0; i < 7; i++) {
    (void)snprintf(name, sizeof name, "numbers/%d", i);
    KalCall(KalSnapshotReadInt(snap, name, &value, &found));
    KalAssert(found && value == numbers[i]);
  }
  value = 17;
  KalCall(KalSnapshotReadInt(snap, "numbers/none", &value, &found));
  KalAssert(!found && value == 17);
  KalCall(KalSnapshotReadText(snap, "no/such/text", &text, &found));
  KalAssert(!found && !text);
  KalCallFails(KalSnapshotReadText(snap, "numbers/1", &text, &found), "is no text");
  KalCallFails(KalSnapshotReadInt(snap, "large", &value, &found), "has the type text, and int64 is expected");
  KalCallFails(KalSnapshotReadInt(snap, "numbers", &value, &found), "numbers of snapshot");
  KalCall(KalSnapshotClose(&snap));
  free(large);
}

static void Refusals(void **state)
{
  const char *path      = KalTestPath("refused.h5");
  double      values[6] = {1, 2, 3, 4, 5, 6}, mine[2];
  KalDataset  array     = {
                      .name = "a/x", .type = KAL_TYPE_REAL, .ndims = 2, .size = {2,     3       },
                                 .dimension = {"row", "column"},
                                 .data = values
  },
             other    = array;
  const char *names[] = {"", "/a", "a/", "a//b", "a/../b"};
  KalSnapshot snap    = Open(path, KAL_SNAPSHOT_WRITE);
  int         rank, size;

  (void)state;
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  (void)MPI_Comm_size(PETSC_COMM_WORLD, &size);
  for (int i = 0; i < 5; i++) {
    other.name = names[i];
    KalCallFails(KalSnapshotWriteArray(snap, &other), "cannot be a name");
  }
  KalCallFails(KalSnapshotReadArray(snap, &array), "opened to be written");
  KalCall(KalSnapshotWriteArray(snap, &array));
  KalCallFails(KalSnapshotWriteArray(snap, &array), "holds a/x already");
  other         = array;
  other.name    = "a/y";
  other.size[0] = 3;
  other.size[1] = 2;
  KalCallFails(KalSnapshotWriteArray(snap, &other), "Dimension row has size 3 in a/y and 2 in a/x");
  other.size[0] = -3;
  KalCallFails(KalSnapshotWriteArray(snap, &other), "must not be negative");
  other.size[0] = other.size[1] = (PetscInt64)1 << 40;
  KalCallFails(KalSnapshotWriteArray(snap, &other), "fewer than 4e18");
  other.ndims = 4;
  KalCallFails(KalSnapshotWriteArray(snap, &other), "4 dimensions");
  other              = array;
  other.name         = "a/z";
  other.dimension[1] = "b/c";
  KalCallFails(KalSnapshotWriteArray(snap, &other), "cannot be called \"b/c\"");
  other.dimension[1] = "column";
  other.data         = NULL;
  KalCallFails(KalSnapshotWriteArray(snap, &other), "no values");
  other.data = values;
  other.name = "a/row";
  KalCallFails(KalSnapshotWriteArray(snap, &other), "coordinates have one dimension");
  mine[0] = 1;
  mine[1] = rank;
  other   = (KalDataset){.name = "a/mine", .type = KAL_TYPE_REAL, .ndims = 1, .size = {2}, .data = mine};
  if (size > 1) KalCallFails(KalSnapshotWriteArray(snap, &other), "not the same on every rank");
  KalCallFails(KalSnapshotWriteText(snap, "text", NULL), "is NULL");
  KalCallFails(KalSnapshotSetKeep(snap, 0), "0 snapshots to keep");
  KalCall(KalSnapshotCommit(snap));
  KalCall(KalSnapshotClose(&snap));
  snap          = Open(path, KAL_SNAPSHOT_READ);
  other         = array;
  other.size[1] = 4;
  KalCallFails(KalSnapshotReadArray(snap, &other), "has the shape 2 x 3, and 2 x 4 is expected");
  other.ndims = 1;
  KalCallFails(KalSnapshotReadArray(snap, &other), "has the shape 2 x 3, and 2 is expected");
  other      = array;
  other.type = KAL_TYPE_INT64;
  KalCallFails(KalSnapshotReadArray(snap, &other), "has the type float64, and int64 is expected");
  other.name = "a/none";
  KalCallFails(KalSnapshotReadArray(snap, &other), "holds no a/none");
  KalCallFails(KalSnapshotWriteArray(snap, &array), "opened to be read");
  memset(values, 0, sizeof values);
  KalCall(KalSnapshotReadArray(snap, &array));
  for (int i = 0; i < 6; i++) KalAssert(values[i] == i + 1);
  KalCall(KalSnapshotClose(&snap));
}

/* Attributes, types and checksum as HDF5 itself reads them. */
static void PlainFile(void **state)
{
  const char *path      = KalTestPath("plain.h5");
  signed char bytes[5]  = {0, 1, 2, -3, 127};
  PetscInt64  cycle[3]  = {3, 5, 8};
  KalDataset  status    = {.name = "g/status", .meaning = "what became of it", .units = "1", .type = KAL_TYPE_BYTE, .ndims = 1, .size = {5}, .dimension = {"member"}, .data = bytes};
  KalDataset  cycles    = {.name = "g/cycle", .units = "s", .type = KAL_TYPE_INT64, .ndims = 1, .size = {3}, .dimension = {"cycle"}, .data = cycle};
  KalSnapshot snap      = Open(path, KAL_SNAPSHOT_WRITE);
  int         ok        = 1, rank;
  signed char back[5]   = {0};
  char        text[128] = "";
  uint64_t    checksum  = 0;

  (void)state;
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  KalCall(KalSnapshotWriteArray(snap, &status));
  KalCall(KalSnapshotWriteArray(snap, &cycles));
  KalCall(KalSnapshotCommit(snap));
  KalCall(KalSnapshotClose(&snap));
  if (!rank) {
    const hid_t file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(file, "g/status", H5P_DEFAULT), scale = H5Dopen2(file, "g/cycle", H5P_DEFAULT);
    const hid_t type = H5Dget_type(set), longname = H5Aopen(set, "long_name", H5P_DEFAULT), digest = H5Aopen(set, "checksum", H5P_DEFAULT), class = H5Aopen(scale, "CLASS", H5P_DEFAULT), lasttype = H5Aget_type(longname), classtype = H5Aget_type(class);
    ok = H5Tequal(type, H5T_STD_I8LE) > 0 && H5Dread(set, H5T_NATIVE_SCHAR, H5S_ALL, H5S_ALL, H5P_DEFAULT, back) >= 0 && !memcmp(back, bytes, 5);
    ok = ok && H5Aread(digest, H5T_NATIVE_UINT64, &checksum) >= 0 && checksum == XXH64(bytes, 5, 0);
    ok = ok && H5Aread(longname, lasttype, text) >= 0 && !strcmp(text, "what became of it");
    memset(text, 0, sizeof text);
    ok = ok && H5Aread(class, classtype, text) >= 0 && !strcmp(text, "DIMENSION_SCALE");
    H5Tclose(lasttype);
    H5Tclose(classtype);
    H5Tclose(type);
    H5Aclose(longname);
    H5Aclose(digest);
    H5Aclose(class);
    H5Dclose(set);
    H5Dclose(scale);
    H5Fclose(file);
  }
  KalAssert(ok);
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(Shapes), cmocka_unit_test(Verified), cmocka_unit_test(TextsAndNumbers), cmocka_unit_test(Refusals), cmocka_unit_test(PlainFile)};
  return KalTestMain(argc, argv, "snapshot arrays", tests, sizeof tests / sizeof tests[0]);
}
