/* Every checksum of a file, compared with what lies there. */
#include <snapshot/snapshotimpl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Notes a problem of a dataset as one line. */
void KalProblemAdd(KalProblems *problems, const char *name, const char *text)
{
  const size_t need = strlen(name) + strlen(text) + 4;

  if (problems->count++ >= KAL_PROBLEMS) return;
  if (problems->bytes + need > problems->room) {
    const size_t room = 2 * problems->room + need;
    char        *more = realloc(problems->text, room);
    if (!more) return;
    problems->text = more;
    problems->room = room;
  }
  problems->bytes += (size_t)snprintf(problems->text + problems->bytes, need, "%s%s%s\n", name, name[0] ? ": " : "", text);
}

/* Whether a dataset is a dimension without coordinates: nothing is stored that could be damaged. */
PetscBool KalH5IsBareScale(hid_t dataset)
{
  char class[64], label[sizeof KAL_NOT_A_VARIABLE];

  if (!KalH5GetText(dataset, "CLASS", sizeof class, class) || strcmp(class, "DIMENSION_SCALE")) return PETSC_FALSE;
  if (!KalH5GetText(dataset, "NAME", sizeof label, label) || strcmp(label, KAL_NOT_A_VARIABLE)) return PETSC_FALSE;
  return H5Dget_storage_size(dataset) == 0 && H5Dget_offset(dataset) == HADDR_UNDEF ? PETSC_TRUE : PETSC_FALSE;
}

/* The values of a dataset against the checksum it has as an attribute. */
static void CheckWhole(hid_t dataset, const char *name, hid_t type, const KalBoxes *boxes, void *buffer, KalProblems *problems)
{
  char           text[KAL_SNAPSHOT_TEXT] = "";
  uint64_t       checksum                = 0;
  XXH64_state_t *state                   = XXH64_createState();

  KalH5Checksum(dataset, "", name, &checksum, text);
  if (text[0]) KalProblemAdd(problems, name, "its checksum cannot be read");
  (void)XXH64_reset(state, 0);
  for (hsize_t b = 0; b < boxes->count && !text[0]; b++) {
    KalBox box;
    KalBoxesGet(boxes, b, &box);
    if (KalH5Move(PETSC_FALSE, dataset, type, H5P_DEFAULT, boxes->ndims, &box, buffer) < 0) {
      KalH5Text(text, "it cannot be read");
      KalProblemAdd(problems, name, text);
    } else (void)XXH64_update(state, buffer, (size_t)box.elements * H5Tget_size(type));
  }
  if (!text[0] && XXH64_digest(state) != checksum) KalProblemAdd(problems, name, "its values do not match their checksum");
  (void)XXH64_freeState(state);
}

/* Whether this rank looks at a member. */
static PetscBool IsMine(const KalProblems *problems, hsize_t member, hsize_t members)
{
  return (PetscBool)(problems->size < 2 || (int)(member * (hsize_t)problems->size / members) == problems->rank);
}

/* The members of a dataset, or this rank's share of them, against the checksums in the dataset beside it. */
static void CheckMembers(hid_t file, hid_t dataset, const char *name, hid_t type, const KalBoxes *boxes, void *buffer, KalProblems *problems)
{
  const size_t     width                   = H5Tget_size(type);
  char             text[KAL_SNAPSHOT_TEXT] = "", path[2 * KAL_SNAPSHOT_NAME];
  const PetscInt64 size                    = (PetscInt64)boxes->size[0];
  uint64_t        *checksum                = malloc(((size_t)size + 1) * sizeof *checksum);
  XXH64_state_t   *state                   = XXH64_createState();

  snprintf(path, sizeof path, "%s" KAL_COMPANION, name);
  if (!checksum) KalText(text, "no memory for its checksums");
  else KalH5ReadWhole(file, "this file", path, H5T_STD_U64LE, 1, &size, checksum, text);
  if (text[0] && !problems->rank) KalProblemAdd(problems, name, text);
  for (hsize_t b = 0; b < boxes->count && !text[0]; b++) {
    KalBox box;
    KalBoxesGet(boxes, b, &box);
    if (!IsMine(problems, box.start[0], boxes->size[0])) continue;
    if (KalH5Move(PETSC_FALSE, dataset, type, H5P_DEFAULT, boxes->ndims, &box, buffer) < 0) {
      KalH5Text(text, "it cannot be read");
      KalProblemAdd(problems, name, text);
      break;
    }
    for (hsize_t k = 0; k < box.count[0]; k++) {
      const hsize_t member = box.start[0] + k;
      char          line[96];
      if (!box.start[1]) (void)XXH64_reset(state, 0);
      (void)XXH64_update(state, (char *)buffer + k * box.count[1] * width, (size_t)box.count[1] * width);
      if (box.start[1] + box.count[1] < boxes->size[1] || XXH64_digest(state) == checksum[member]) continue;
      snprintf(line, sizeof line, "member %llu does not match its checksum", (unsigned long long)member);
      KalProblemAdd(problems, name, line);
    }
  }
  (void)XXH64_freeState(state);
  free(checksum);
}

/* One dataset. */
void KalH5CheckDataset(hid_t file, const char *name, KalProblems *problems)
{
  char         text[KAL_SNAPSHOT_TEXT] = "", companion[2 * KAL_SNAPSHOT_NAME];
  const hid_t  dataset                 = H5Dopen2(file, name, H5P_DEFAULT);
  const hid_t  type                    = dataset < 0 ? H5I_INVALID_HID : H5Dget_type(dataset);
  const size_t width                   = type < 0 ? 0 : H5Tget_size(type);
  hsize_t      size[KAL_SNAPSHOT_RANK];
  const int    ndims  = dataset < 0 ? -1 : KalH5Shape(dataset, size);
  void        *buffer = NULL;
  PetscBool    members;
  KalBoxes     boxes;

  snprintf(companion, sizeof companion, "%s" KAL_COMPANION, name);
  members = (PetscBool)(ndims == 2 && width && H5Aexists(dataset, KAL_CHECKSUM) <= 0 && KalH5Exists(file, companion) > 0);
  if (problems->rank && !members) goto done;
  if (ndims < 0 || !width) {
    KalH5Text(text, "it is damaged and cannot be opened");
    KalProblemAdd(problems, name, text);
    goto done;
  }
  if (KalH5IsBareScale(dataset)) goto done;
  KalBoxesCreate(ndims, size, KAL_SNAPSHOT_BLOCK / width, &boxes);
  buffer = boxes.count ? malloc((size_t)PetscMin(boxes.rows, ndims ? boxes.size[boxes.level] : 1) * (size_t)boxes.inner * width) : NULL;
  if (boxes.count && !buffer) KalProblemAdd(problems, name, "there is no memory to check it");
  else if (H5Tget_class(type) == H5T_STRING && H5Tis_variable_str(type) != 0) KalProblemAdd(problems, name, "it has text of variable length, which cannot be checked");
  else if (H5Aexists(dataset, KAL_CHECKSUM) > 0) CheckWhole(dataset, name, type, &boxes, buffer, problems);
  else if (members) CheckMembers(file, dataset, name, type, &boxes, buffer, problems);
  else KalProblemAdd(problems, name, "it has no checksum");
done:
  (void)H5Eclear2(H5E_DEFAULT);
  free(buffer);
  KalH5Close(type);
  KalH5Close(dataset);
}

/* Name of the entry of a group, or a problem. */
static PetscBool EntryName(hid_t group, const char *path, hsize_t i, char *name, KalProblems *problems)
{
  char          here[KAL_SNAPSHOT_NAME];
  const ssize_t length = H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, here, sizeof here, H5P_DEFAULT);

  if (length > 0 && (size_t)length < sizeof here && strlen(path) + (size_t)length + 2 < KAL_SNAPSHOT_NAME) {
    char *end = stpcpy(name, path);
    if (path[0]) *end++ = '/';
    memcpy(end, here, (size_t)length + 1);
    return PETSC_TRUE;
  }
  if (problems) KalProblemAdd(problems, path, "the name of an entry cannot be read, or is too long");
  return PETSC_FALSE;
}

/* Calls `visit` for every dataset under a group, in order of their names; what cannot be opened is a problem. */
void KalH5Walk(hid_t group, const char *path, KalProblems *problems, KalH5Visit visit, void *ctx)
{
  char       name[KAL_SNAPSHOT_NAME];
  H5G_info_t info;
  PetscInt   depth = 0;

  for (const char *c = path; *c; c++) depth += *c == '/';
  if (depth > 8 || H5Gget_info(group, &info) < 0) {
    if (problems) KalProblemAdd(problems, path, depth > 8 ? "groups lie too deep in each other" : "the group is damaged");
    return;
  }
  for (hsize_t i = 0; i < info.nlinks; i++) {
    hid_t object;
    if (!EntryName(group, path, i, name, problems)) continue;
    object = H5Oopen(group, path[0] ? name + strlen(path) + 1 : name, H5P_DEFAULT);
    if (object < 0) {
      if (problems) KalProblemAdd(problems, name, "it is damaged and cannot be opened");
    } else if (H5Iget_type(object) == H5I_GROUP) KalH5Walk(object, name, problems, visit, ctx);
    else if (H5Iget_type(object) == H5I_DATASET) visit(ctx, object, name);
    else if (problems) KalProblemAdd(problems, name, "it is neither a group nor a dataset");
    KalH5Close(object);
  }
}

typedef struct {
  hid_t        file;
  KalProblems *problems;
} Check;

static void CheckOne(void *ctx, hid_t object, const char *name)
{
  (void)object;
  KalH5CheckDataset(((Check *)ctx)->file, name, ((Check *)ctx)->problems);
}

/* The whole file, or what is this rank's of it. */
static void CheckFile(const char *path, KalProblems *problems)
{
  char        text[KAL_SNAPSHOT_TEXT] = "";
  const hid_t file                    = KalH5OpenSerial(path, H5F_ACC_RDONLY, text);
  Check       check                   = {file, problems};

  if (!text[0]) KalH5CheckFormat(file, path, text);
  if (text[0]) {
    if (!problems->rank) KalProblemAdd(problems, "", text);
  } else {
    if (!problems->rank) KalH5CheckTail(file, path, text);
    if (text[0]) KalProblemAdd(problems, "", text);
    KalH5Walk(file, "", problems->rank ? NULL : problems, CheckOne, &check);
  }
  (void)H5Eclear2(H5E_DEFAULT);
  KalH5Close(file);
}

/* Adds the problems that other ranks found to rank 0's. */
static PetscErrorCode Gather(MPI_Comm comm, KalProblems *problems)
{
  int     mine[2] = {(int)problems->count, (int)problems->bytes}, (*all)[2] = NULL;
  char   *text, *line, *rest = NULL;
  int64_t count = 0;

  PetscFunctionBeginUser;
  if (!problems->rank) PetscCall(PetscMalloc1(2 * (size_t)problems->size, (int **)&all));
  PetscCallMPI(MPI_Gather(mine, 2, MPI_INT, all, 2, MPI_INT, 0, comm));
  if (problems->rank && mine[1]) PetscCallMPI(MPI_Send(problems->text, mine[1], MPI_CHAR, 0, 0, comm));
  for (int r = 1; r < problems->size && !problems->rank; r++) {
    count += all[r][0];
    if (!all[r][1]) continue;
    PetscCall(PetscCalloc1((size_t)all[r][1] + 1, &text));
    PetscCallMPI(MPI_Recv(text, all[r][1], MPI_CHAR, r, 0, comm, MPI_STATUS_IGNORE));
    for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), count--) KalProblemAdd(problems, "", line);
    PetscCall(PetscFree(text));
  }
  problems->count += (PetscInt)count; /* those that were counted, but no longer written down */
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The last line, where not all problems have one. */
static void TellMore(KalProblems *problems)
{
  const PetscInt count = problems->count;
  char           line[64];

  if (count <= KAL_PROBLEMS) return;
  problems->count = 0; /* room for one line more */
  snprintf(line, sizeof line, "and %lld problems more", (long long)count - KAL_PROBLEMS);
  KalProblemAdd(problems, "", line);
  problems->count = count;
}

/*@
   KalSnapshotVerify - Compares every checksum of a snapshot with what lies in the file

   Collective on `comm`; each rank reads its share of the members, in blocks of at most 32 MiB, and rank 0 all else

   Input Parameters:
+  comm - the ranks that want to know
-  path - file name

   Output Parameters:
+  problems - how many there are: 0 for a snapshot that is whole
-  text - one line for each of the first 100, with the dataset's name; to be given back with PetscFree()

   Note:
   HDF5 checks its own metadata as it reads them, Kalmia's checksums cover all values. A file that is missing, is not HDF5,
   is truncated, or of another version, and a dataset that has no checksum are problems, not errors.
@*/
PetscErrorCode KalSnapshotVerify(MPI_Comm comm, const char *path, PetscInt *problems, char **text)
{
  KalProblems found = {0};
  PetscMPIInt rank, sizes[2];

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &found.size));
  found.rank = rank;
  CheckFile(path, &found);
  PetscCall(Gather(comm, &found));
  if (!rank) TellMore(&found);
  sizes[0] = (PetscMPIInt)found.count;
  sizes[1] = (PetscMPIInt)found.bytes;
  PetscCallMPI(MPI_Bcast(sizes, 2, MPI_INT, 0, comm));
  PetscCall(PetscCalloc1((size_t)sizes[1] + 1, text));
  if (!rank && found.bytes) PetscCall(PetscMemcpy(*text, found.text, found.bytes));
  free(found.text);
  PetscCallMPI(MPI_Bcast(*text, sizes[1], MPI_CHAR, 0, comm));
  *problems = sizes[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}
