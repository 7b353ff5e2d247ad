/* kalmia-predict: shows new samples to the ensemble of a snapshot and writes what it predicts. */
#include <kalmia.h>

static const char help[] = "kalmia-predict - predictions of an ensemble that was trained\n"
                           "  mpiexec -n 4 kalmia-predict run.h5 data [-output predictions.h5] [-predict_set training|test] [-option value ...]\n"
                           "  run.h5 is a snapshot; data are as in -observations_path, and need no targets\n\n";

static PetscErrorCode Work(int argc, char **argv)
{
  static const char *const sets[]                     = {"training", "test"};
  char                     output[PETSC_MAX_PATH_LEN] = "predictions.h5";
  PetscInt                 set                        = KAL_SET_TRAIN;
  KalRun                   run;
  PetscBool                askedhelp;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsHasName(NULL, NULL, "-help", &askedhelp));
  PetscOptionsBegin(PETSC_COMM_WORLD, NULL, "Predictions", "KalRunPredict");
  PetscCall(PetscOptionsString("-output", "HDF5 file that the predictions are written to", "KalRunPredict", output, output, sizeof output, NULL));
  PetscCall(PetscOptionsEList("-predict_set", "Which set of the data is predicted", "KalRunPredict", sets, 2, sets[set], &set, NULL));
  PetscOptionsEnd();
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  if (askedhelp) PetscCall(KalRunSetFromOptions(run));
  else {
    PetscCheck(argc > 2 && argv[1][0] != '-' && argv[2][0] != '-', PETSC_COMM_WORLD, PETSC_ERR_ARG_WRONG, "kalmia-predict takes a snapshot and the data to be predicted before its options: kalmia-predict run.h5 data [-output predictions.h5]");
    PetscCall(KalRunLoad(run, argv[1], argv[2]));
    PetscCall(KalRunPredict(run, (KalDataSet)set, output));
  }
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode error = KalInitialize(&argc, &argv, help);
  int            code  = KAL_EXIT_ERROR;

  if (!error) error = Work(argc, argv);
  if (KalFinalize(error, &code)) return KAL_EXIT_ERROR;
  return code;
}
