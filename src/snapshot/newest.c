/* The newest of the snapshots at a path that is whole. */
#include <snapshot/snapshotimpl.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* So many places in a row without a file, and there are no more: a job killed between two renames leaves gaps. */
#define KAL_GAP 8

/* The next place with a file, from `*place` on, or one too far; asked by rank 0. */
static PetscErrorCode NextPlace(MPI_Comm comm, const char *path, PetscInt *place)
{
  char        name[PETSC_MAX_PATH_LEN];
  PetscMPIInt rank, k = (PetscMPIInt)*place;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  for (; !rank && k < *place + KAL_GAP; k++) {
    PetscCall(KalSnapshotPlace(path, k, sizeof name, name));
    if (!access(name, F_OK)) break;
  }
  PetscCallMPI(MPI_Bcast(&k, 1, MPI_INT, 0, comm));
  *place = k == *place + KAL_GAP ? -1 : k;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One line more about a damaged file: its first problem, and how many there are. */
static PetscErrorCode Tell(const char *name, PetscInt problems, char *first, char **text)
{
  char  *longer, more[48] = "";
  size_t bytes;

  PetscFunctionBeginUser;
  first[strcspn(first, "\n")] = '\0';
  bytes                       = (*text ? strlen(*text) : 0) + strlen(name) + strlen(first) + sizeof more + 16;
  if (problems > 1) PetscCall(PetscSNPrintf(more, sizeof more, ", and %" PetscInt_FMT " more", problems - 1));
  PetscCall(PetscMalloc1(bytes, &longer));
  (void)snprintf(longer, bytes, "%s%s is damaged: %s%s\n", *text ? *text : "", name, first, more);
  PetscCall(PetscFree(*text));
  *text = longer;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotPlace - Name of a snapshot among those that are kept

   Not Collective

   Input Parameters:
+  path - path of the newest
.  place - 0 for the newest, 1 for the one before it, and so on
-  size - room of `name`

   Output Parameter:
.  name - `path`, `path`.1, ...
@*/
PetscErrorCode KalSnapshotPlace(const char *path, PetscInt place, size_t size, char *name)
{
  PetscFunctionBeginUser;
  PetscCheck(strlen(path) + 16 < size, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "Snapshot path of %lld characters is too long", (long long)strlen(path));
  if (place) (void)snprintf(name, size, "%s.%lld", path, (long long)place);
  else (void)snprintf(name, size, "%s", path);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotFindNewest - Finds the newest of the snapshots at a path that is whole

   Collective on `comm`

   Input Parameters:
+  comm - the ranks that verify them, and want to know
.  path - path of the newest; those before it are at `path`.1, `path`.2, ...
-  size - room of `newest`, PETSC_MAX_PATH_LEN

   Output Parameters:
+  newest - its name; empty where none is whole
.  place - its place: 0 at `path`, 1 at `path`.1, ...; where none is whole, how many damaged ones there are
-  text - a line for each damaged one before it, NULL where there is none; to be given back with PetscFree()

.seealso: `KalSnapshotVerify()`, `KalSnapshotSetKeep()`
@*/
PetscErrorCode KalSnapshotFindNewest(MPI_Comm comm, const char *path, size_t size, char *newest, PetscInt *place, char **text)
{
  PetscInt problems, damaged = 0, k = 0;
  char    *lines;

  PetscFunctionBeginUser;
  *text = NULL;
  while (PETSC_TRUE) {
    PetscCall(NextPlace(comm, path, &k));
    if (k < 0) break;
    PetscCall(KalSnapshotPlace(path, k, size, newest));
    PetscCall(KalSnapshotVerify(comm, newest, &problems, &lines));
    if (problems) PetscCall(Tell(newest, problems, lines, text));
    PetscCall(PetscFree(lines));
    *place = k++;
    if (!problems) PetscFunctionReturn(PETSC_SUCCESS);
    damaged++;
  }
  newest[0] = '\0';
  *place    = damaged;
  PetscFunctionReturn(PETSC_SUCCESS);
}
