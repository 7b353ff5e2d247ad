/* kalmia-bench: measures this machine, and each phase of a cycle beside what it allows. */
#include <kalmia.h>

#include <string.h>

static const char help[] = "kalmia-bench - how near to the machine's limit each phase of a cycle runs\n"
                           "  mpiexec -n 2 kalmia-bench [--csv FILE] [-bench_rows forward,cycle] [-bench_repeats 5] [-option value ...]\n\n";

/* Takes "--csv FILE" out of the arguments. */
static PetscErrorCode TakeCSV(int *argc, char **argv, const char **csv)
{
  int kept = 1;

  *csv = NULL;
  for (int i = 1; i < *argc; i++) {
    if (strcmp(argv[i], "--csv")) argv[kept++] = argv[i];
    else *csv = i + 1 < *argc ? argv[++i] : "";
  }
  *argc      = kept;
  argv[kept] = NULL;
  return PETSC_SUCCESS;
}

static PetscErrorCode Work(const char *csv)
{
  KalBench    bench;
  PetscBool   askedhelp;
  PetscViewer viewer;

  PetscFunctionBeginUser;
  PetscCheck(!csv || csv[0], PETSC_COMM_WORLD, PETSC_ERR_ARG_WRONG, "--csv takes the name of a file to write");
  PetscCall(PetscOptionsHasName(NULL, NULL, "-help", &askedhelp));
  PetscCall(KalBenchCreate(PETSC_COMM_WORLD, &bench));
  PetscCall(KalBenchSetFromOptions(bench));
  if (!askedhelp) {
    PetscCall(KalAdvise(PETSC_COMM_WORLD));
    PetscCall(KalBenchRun(bench));
    PetscCall(PetscViewerASCIIGetStdout(PETSC_COMM_WORLD, &viewer));
    PetscCall(KalBenchView(bench, viewer));
    if (csv) PetscCall(KalBenchWriteCSV(bench, csv));
  }
  PetscCall(KalBenchDestroy(&bench));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  const char    *csv;
  PetscErrorCode error = TakeCSV(&argc, argv, &csv);
  int            code  = KAL_EXIT_ERROR;

  if (!error) error = KalInitialize(&argc, &argv, help);
  if (!error) error = Work(csv);
  if (KalFinalize(error, &code)) return KAL_EXIT_ERROR;
  return code;
}
