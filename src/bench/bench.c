/* Life of a benchmark: options, groups of measurements in turn, medians. */
#include <bench/benchimpl.h>
#include <run/runimpl.h>

#include <string.h>
#include <unistd.h>

static const KalBenchGroup *const groups[] = {&KalBenchNetworks, &KalBenchGram, &KalBenchAnalysis, &KalBenchExchange, &KalBenchLocal, &KalBenchCycle, &KalBenchFile, &KalBenchGrowth, &KalBenchMachine};
#define GROUPS ((PetscInt)PETSC_STATIC_ARRAY_LENGTH(groups))

/*@
   KalBenchCreate - Makes a benchmark

   Collective

   Input Parameter:
.  comm - the ranks that are measured together

   Output Parameter:
.  bench - the benchmark
@*/
PetscErrorCode KalBenchCreate(MPI_Comm comm, KalBench *bench)
{
  KalBench b;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&b));
  PetscCallMPI(MPI_Comm_dup(comm, &b->comm));
  PetscCallMPI(MPI_Comm_rank(b->comm, &b->rank));
  PetscCallMPI(MPI_Comm_size(b->comm, &b->size));
  PetscCall(PetscStrncpy(b->folder, ".", sizeof b->folder));
  b->repeats  = 5;
  b->filesize = 2048;
  *bench      = b;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether a group is to be measured: by its name in the list, or, without a list, because it usually is. */
static PetscBool Wanted(KalBench bench, const KalBenchGroup *group)
{
  const size_t length = strlen(group->name);
  const char  *at     = bench->wanted;

  if (!at[0]) return group->usual;
  for (; at; at = strchr(at, ',')) {
    at += *at == ',';
    if (!strncmp(at, group->name, length) && (at[length] == ',' || !at[length])) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

static PetscErrorCode CheckWanted(KalBench bench)
{
  char     list[4 * KAL_BENCH_TEXT], known[4 * KAL_BENCH_TEXT] = "", *name, *rest = NULL;
  PetscInt g;

  PetscFunctionBeginUser;
  for (g = 0; g < GROUPS; g++) {
    PetscCall(PetscStrlcat(known, g ? ", " : "", sizeof known));
    PetscCall(PetscStrlcat(known, groups[g]->name, sizeof known));
  }
  PetscCall(PetscStrncpy(list, bench->wanted, sizeof list));
  for (name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) {
    for (g = 0; g < GROUPS && strcmp(groups[g]->name, name); g++)
      ;
    PetscCheck(g < GROUPS, bench->comm, PETSC_ERR_ARG_WRONG, "-bench_rows names %s, which is no group of rows; there are %s", name, known);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalBenchSetFromOptions - Sets a benchmark from the options database

   Collective

   Input Parameter:
.  bench - the benchmark

   Options Database Keys:
+  -bench_rows <forward,gram,analysis,exchange,local,cycle,file> - groups of rows to measure; there are growth, and machine for the constants of a performance model alone, too
.  -bench_repeats <5> - repeats that medians are taken of
.  -bench_layers <0> - widths of the one network to measure, as 784,100,10, instead of those of the targets
.  -bench_members <0>, -bench_batch <0>, -bench_state <0>, -bench_observations <0> - N, samples of a mini-batch, n and p
   instead of the sizes of the targets
.  -bench_file_size <2048> - MiB of the file that is written and read
-  -bench_folder <.> - where files are written, to be removed again

   Note:
   At their defaults the rows have the sizes of the targets that the table names.
@*/
PetscErrorCode KalBenchSetFromOptions(KalBench bench)
{
  PetscInt  count = 64, i;
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(KalOptionsRefuseLarge(bench->comm));
  PetscOptionsBegin(bench->comm, NULL, "Benchmark", "KalBench");
  PetscCall(PetscOptionsString("-bench_rows", "Groups of rows to measure, by commas: forward, gram, analysis, exchange, local, cycle, file, growth, machine", "KalBenchSetFromOptions", bench->wanted, bench->wanted, sizeof bench->wanted, NULL));
  PetscCall(PetscOptionsRangeInt("-bench_repeats", "Repeats that medians are taken of", "KalBenchSetFromOptions", bench->repeats, &bench->repeats, NULL, 1, 1000));
  PetscCall(PetscOptionsIntArray("-bench_layers", "Widths of the one network to measure", "KalBenchSetFromOptions", bench->width, &count, &set));
  if (set) bench->layers = count - 1;
  PetscCall(PetscOptionsRangeInt("-bench_members", "Members (0: those of the targets)", "KalBenchSetFromOptions", bench->members, &bench->members, NULL, 0, 10000));
  PetscCall(PetscOptionsRangeInt("-bench_batch", "Samples of a mini-batch (0: those of the targets)", "KalBenchSetFromOptions", bench->batch, &bench->batch, NULL, 0, 1000000));
  PetscCall(PetscOptionsBoundedInt("-bench_state", "State entries (0: those of the targets)", "KalBenchSetFromOptions", bench->state, &bench->state, NULL, 0));
  PetscCall(PetscOptionsBoundedInt("-bench_observations", "Observations (0: those of the targets)", "KalBenchSetFromOptions", bench->observations, &bench->observations, NULL, 0));
  PetscCall(PetscOptionsRangeInt("-bench_file_size", "MiB of the file that is written and read", "KalBenchSetFromOptions", bench->filesize, &bench->filesize, NULL, 1, 1048576));
  PetscCall(PetscOptionsString("-bench_folder", "Where files are written, to be removed again", "KalBenchSetFromOptions", bench->folder, bench->folder, sizeof bench->folder, NULL));
  PetscOptionsEnd();
  PetscCheck(!set || count >= 2, bench->comm, PETSC_ERR_ARG_WRONG, "-bench_layers has %" PetscInt_FMT " width; at least 2 are needed, inputs and outputs, as 784,100,10", count);
  for (i = 0; i < count && set; i++) PetscCheck(bench->width[i] > 0, bench->comm, PETSC_ERR_ARG_OUTOFRANGE, "-bench_layers has a width of %" PetscInt_FMT "; at least 1 is needed", bench->width[i]);
  PetscCheck(bench->members != 1, bench->comm, PETSC_ERR_ARG_OUTOFRANGE, "-bench_members 1: at least 2 are needed");
  PetscCall(CheckWanted(bench));
  PetscCall(KalOptionsRefuseUnknown(bench->comm, KAL_SOLVER_ELSEWHERE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBenchSlowest - What the slowest rank took

  Collective.
*/
PetscErrorCode KalBenchSlowest(KalBench bench, double seconds, PetscReal *slowest)
{
  PetscFunctionBeginUser;
  *slowest = seconds;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, slowest, 1, MPI_DOUBLE, MPI_MAX, bench->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBenchRecord - Remembers what a row took in the repeat in hand, and what the machine would; a new name and size make a new row
*/
PetscErrorCode KalBenchRecord(KalBench bench, const KalBenchRow *wanted, PetscReal seconds, PetscReal bound)
{
  KalBenchRow *row;
  PetscInt     r;

  PetscFunctionBeginUser;
  if (bench->repeat < 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (r = 0; r < bench->rows && (strcmp(bench->row[r].name, wanted->name) || strcmp(bench->row[r].size, wanted->size)); r++)
    ;
  row = &bench->row[r];
  if (r == bench->rows) {
    PetscCheck(r < KAL_BENCH_ROWS, bench->comm, PETSC_ERR_PLIB, "More than %d rows", KAL_BENCH_ROWS);
    *row = *wanted;
    bench->rows++;
    PetscCall(PetscMalloc2(bench->repeats, &row->seconds, bench->repeats, &row->bound));
  }
  row->seconds[bench->repeat] = seconds;
  row->bound[bench->repeat]   = bound;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBenchMedian - The median of some values
*/
PetscReal KalBenchMedian(PetscInt count, const PetscReal *values)
{
  PetscReal sorted[1000];

  if (!count) return 0.0;
  count = PetscMin(count, 1000);
  (void)PetscArraycpy(sorted, values, count);
  (void)PetscSortReal(count, sorted);
  return 0.5 * (sorted[(count - 1) / 2] + sorted[count / 2]);
}

/*@
   KalBenchRun - Measures the machine and the phases of cycles in turn

   Collective

   Input Parameter:
.  bench - the benchmark

   Notes:
   A group of rows is made ready, runs once to warm up, and is then repeated; before each repeat the machine is asked anew what it
   can do, so that a ratio compares what was measured side by side.

   The times are those of the slowest rank, from the events that -log_view shows of an ordinary run.
@*/
PetscErrorCode KalBenchRun(KalBench bench)
{
  PetscInt g;
  void    *group;

  PetscFunctionBeginUser;
#if !defined(PETSC_USE_LOG)
  SETERRQ(bench->comm, PETSC_ERR_SUP, "This PETSc was built without logging (--with-log=0), which kalmia-bench reads its times from");
#endif
  PetscCall(PetscLogDefaultBegin());
  PetscCall(KalEventsRegister());
  for (g = 0; g < GROUPS; g++) {
    if (!Wanted(bench, groups[g])) continue;
    PetscCall(groups[g]->create(bench, &group));
    for (bench->repeat = -1; bench->repeat < bench->repeats; bench->repeat++) {
      if (bench->repeat >= 0) PetscCall(KalBenchRates(bench, groups[g]->rates));
      PetscCall(groups[g]->measure(bench, group));
    }
    PetscCall(groups[g]->destroy(bench, &group));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalBenchDestroy - Frees a benchmark and nulls the pointer

   Collective

   Input Parameter:
.  bench - the benchmark; NULL is left alone
@*/
PetscErrorCode KalBenchDestroy(KalBench *bench)
{
  KalBench b = *bench;

  PetscFunctionBeginUser;
  if (!b) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt r = 0; r < b->rows; r++) PetscCall(PetscFree2(b->row[r].seconds, b->row[r].bound));
  for (int k = 0; k < KAL_RATES; k++) PetscCall(PetscFree(b->rates[k]));
  PetscCall(PetscFree(b->work[0]));
  PetscCall(PetscFree(b->work[1]));
  PetscCallMPI(MPI_Comm_free(&b->comm));
  PetscCall(PetscFree(*bench));
  PetscFunctionReturn(PETSC_SUCCESS);
}
