/* kalmia: trains networks, estimates parameters and assimilates observations by ensemble Kalman methods. */
#include <kalmia.h>

static const char help[] = "kalmia - ensemble Kalman methods over MPI\n"
                           "  mpiexec -n 4 kalmia -options_file run.yaml [-option value ...]\n"
                           "  mpiexec -n 4 kalmia -restart run.h5 -run_cycles 200\n\n";

static PetscErrorCode Work(void)
{
  KalRun    run;
  PetscBool askedhelp;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-help", &askedhelp));
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  PetscCall(KalRunSetFromOptions(run));
  if (!askedhelp) PetscCall(KalRunSolve(run));
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode error = KalInitialize(&argc, &argv, help);
  int            code  = KAL_EXIT_ERROR;

  if (!error) error = Work();
  if (KalFinalize(error, &code)) return KAL_EXIT_ERROR;
  return code;
}
