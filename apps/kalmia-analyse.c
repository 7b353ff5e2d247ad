/* kalmia-analyse: one analysis on files, for models that run as jobs of their own. */
#include <kalmia.h>

#include <string.h>

static const char help[] = "kalmia-analyse - one analysis on files, for models that run as jobs of their own\n"
                           "  mpiexec -n 4 kalmia-analyse prior.h5 observations.h5 posterior.h5 [-analyse_cycle k] [-option value ...]\n"
                           "  prior.h5 has /members (N x n), and /coordinates (n x 1 to 3) for a localization; posterior.h5 has them, too\n\n";

static PetscErrorCode Work(int argc, char **argv)
{
  KalRun    run;
  PetscBool askedhelp;
  int       files = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-help", &askedhelp));
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  while (files + 1 < argc && argv[files + 1][0] != '-') files++;
  PetscCheck(askedhelp || files == 3, PETSC_COMM_WORLD, PETSC_ERR_ARG_WRONG, "kalmia-analyse takes three files before its options, and was given %d: kalmia-analyse prior.h5 observations.h5 posterior.h5 [-option value ...]; -help lists the options", files);
  PetscCall(KalRunSetAnalyseFromOptions(run));
  if (!askedhelp) PetscCall(KalRunAnalyse(run, argv[1], argv[2], argv[3]));
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  static char    asked[] = "-help"; /* as PETSc has it */
  PetscErrorCode error;
  int            code = KAL_EXIT_ERROR;

  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--help")) argv[i] = asked;
  }
  error = KalInitialize(&argc, &argv, help);
  if (!error) error = Work(argc, argv);
  if (KalFinalize(error, &code)) return KAL_EXIT_ERROR;
  return code;
}
