/* Prior means and standard deviations of the model type "command": numbers in an option, or a dataset of an HDF5 file. */
#include <models/commandimpl.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KAL_BROADCAST_MOST (1 << 26) /* numbers of a message */

/* Whether the text is numbers with commas between them; the first n of them go to x. */
static PetscBool Numbers(const char *text, PetscInt n, PetscReal *x, PetscInt *count)
{
  char *end;

  *count = 0;
  for (const char *at = text;; at = end + 1) {
    const double value = strtod(at, &end);

    if (end == at || (*end && *end != ',')) return PETSC_FALSE;
    if (*count < n) x[*count] = value;
    (*count)++;
    if (!*end) return PETSC_TRUE;
  }
}

/* Rank 0 reads, and tells the others what it read or why it could not. */
static PetscErrorCode FromFile(KalModel model, const char *option, const char *dataset, const char *path, PetscReal *x)
{
  char        text[KAL_COMMAND_REASON + PETSC_MAX_PATH_LEN + 128] = "", why[KAL_COMMAND_REASON] = "";
  PetscMPIInt rank;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(model->comm, &rank));
  if (rank == 0 && !KalExchangeRead(KAL_COMMAND_HDF5, path, dataset, model->size, x, sizeof why, why)) {
    PetscCall(PetscSNPrintf(text, sizeof text, "%s %s is neither a number, nor %" PetscInt_FMT " of them with commas between, nor an HDF5 file with as many in /%s: %s", option, path, model->size, dataset, strcmp(why, "it wrote no output") ? why : "there is no such file"));
  }
  KalCheckAll(model->comm, PETSC_ERR_FILE_READ, text);
  for (PetscInt i = 0; i < model->size; i += KAL_BROADCAST_MOST) PetscCallMPI(MPI_Bcast(x + i, (PetscMPIInt)PetscMin(KAL_BROADCAST_MOST, model->size - i), MPIU_REAL, 0, model->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalCommandPrior - n numbers out of an option: one for all, n with commas between, or a dataset of an HDF5 file

  Collective
*/
PetscErrorCode KalCommandPrior(KalModel model, const char *option, const char *dataset, const char *text, PetscReal *x)
{
  const PetscInt n = model->size;
  PetscInt       count;

  PetscFunctionBeginUser;
  if (Numbers(text, n, x, &count)) {
    PetscCheck(count == 1 || count == n, model->comm, PETSC_ERR_ARG_SIZ, "%s has %" PetscInt_FMT " numbers; give 1, or %" PetscInt_FMT " as -command_state says", option, count, n);
    for (PetscInt i = 1; i < n && count == 1; i++) x[i] = x[0];
  } else PetscCall(FromFile(model, option, dataset, text, x));
  for (PetscInt i = 0; i < n; i++) PetscCheck(!PetscIsInfOrNanReal(x[i]), model->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %s: entry %" PetscInt_FMT " is %g; all must be finite", option, text, i, (double)x[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}
