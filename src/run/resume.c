/* -snapshot_resume: the newest snapshot that is whole, if there is one, so that one command begins a run and goes on with it. */
#include "runimpl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
  KalRunResume - Sets -restart to the newest snapshot at -snapshot_path that is whole, where there is one

  Collective
*/
PetscErrorCode KalRunResume(KalRun run)
{
  PetscInt place;
  char    *text;

  PetscFunctionBeginUser;
  PetscCheck(run->snapshotpath[0], run->comm, PETSC_ERR_ARG_INCOMP, "-snapshot_resume looks for a snapshot at -snapshot_path, which is not given: -snapshot_path run.h5");
  PetscCheck(!run->restart[0], run->comm, PETSC_ERR_ARG_INCOMP, "-restart names a snapshot and -snapshot_resume looks for one: give one of them");
  PetscCall(KalSnapshotFindNewest(run->comm, run->snapshotpath, sizeof run->restart, run->restart, &place, &text));
  if (text) PetscCall(PetscPrintf(run->comm, "%s", text));
  PetscCall(PetscFree(text));
  PetscCheck(run->restart[0] || !place, run->comm, PETSC_ERR_FILE_UNEXPECTED, "-snapshot_resume: all snapshots at %s are damaged; look at them with kalmia-inspect FILE --verify, and remove them to begin anew", run->snapshotpath);
  run->damaged = place;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunSetAside - Renames damaged snapshots that are newer than the one gone on from

  Collective

  Else the next snapshot would move them on, in place of those that are whole.
*/
PetscErrorCode KalRunSetAside(KalRun run)
{
  char from[PETSC_MAX_PATH_LEN], to[PETSC_MAX_PATH_LEN + 16], text[2 * PETSC_MAX_PATH_LEN + 128] = "";

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < run->damaged; k++) {
    PetscCall(KalSnapshotPlace(run->snapshotpath, k, sizeof from, from));
    (void)snprintf(to, sizeof to, "%s.damaged", from);
    if (run->rank == 0 && !rename(from, to)) PetscCall(PetscPrintf(PETSC_COMM_SELF, "%s is put aside as %s\n", from, to));
    else if (run->rank == 0 && errno != ENOENT) (void)snprintf(text, sizeof text, "Damaged snapshot %s cannot be renamed to %s: %s", from, to, strerror(errno));
    KalCheckAll(run->comm, PETSC_ERR_FILE_WRITE, text);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
