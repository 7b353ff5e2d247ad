/* The table that people read, and the one that programs do. */
#include <bench/benchimpl.h>

static const struct {
  const char *name, *csv, *unit;
  PetscReal   scale;
  PetscBool   inverse; /* shown is the time of one */
} rates[KAL_RATES] = {
    {"dgemm 2048 x 2048",              "machine dgemm",      "GF/s", 1e-9, PETSC_FALSE},
    {"sgemm 2048 x 2048",              "machine sgemm",      "GF/s", 1e-9, PETSC_FALSE},
    {"memory copy",                    "machine copy",       "GB/s", 1e-9, PETSC_FALSE},
    {"all-to-all",                     "machine alltoall",   "GB/s", 1e-9, PETSC_FALSE},
    {"latency of a message",           "machine latency",    "us",   1e6,  PETSC_TRUE },
    {"normal numbers",                 "machine draw",       "G/s",  1e-9, PETSC_FALSE},
    {"plain file, written and synced", "machine file write", "GB/s", 1e-9, PETSC_FALSE},
    {"plain file, read cold",          "machine file read",  "GB/s", 1e-9, PETSC_FALSE},
};

/* What the machine can do, in the unit shown. */
static double Shown(KalBench bench, int k)
{
  const PetscReal median = KalBenchMedian(bench->taken[k], bench->rates[k]);

  return (double)(rates[k].inverse ? rates[k].scale / median : rates[k].scale * median);
}

/* The median of the ratios; of a growth, of the exponents. */
static PetscReal Ratio(KalBench bench, const KalBenchRow *row)
{
  PetscReal ratio[1000];

  for (PetscInt r = 0; r < bench->repeats; r++) ratio[r] = row->exponent > 0.0 ? PetscLog10Real(row->seconds[r] / row->bound[r]) : row->bound[r] / row->seconds[r];
  return KalBenchMedian(bench->repeats, ratio);
}

/* "at least 0.75" and whether it is reached. */
static PetscErrorCode Target(const KalBenchRow *row, PetscReal ratio, PetscReal seconds, size_t length, char *text)
{
  PetscFunctionBeginUser;
  text[0] = '\0';
  if (row->exponent > 0.0) PetscCall(PetscSNPrintf(text, length, "exponent, expected %.0f", (double)row->exponent));
  if (row->least > 0.0) PetscCall(PetscSNPrintf(text, length, ">= %.2f %s", (double)row->least, ratio >= row->least ? "reached" : "MISSED"));
  if (row->most > 0.0) PetscCall(PetscSNPrintf(text, length, "<= %.2f s %s", (double)row->most, seconds <= row->most ? "reached" : "MISSED"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalBenchView - Prints what was measured as a table

   Collective

   Input Parameters:
+  bench - the benchmark, after KalBenchRun()
-  viewer - an ASCII viewer

   Note:
   A ratio is what the machine would take, at the rates measured beside, divided by what was taken; of an efficiency, the time
   on one rank divided by that on all, times their number; of a growth, the exponent of the size that the time goes with.
@*/
PetscErrorCode KalBenchView(KalBench bench, PetscViewer viewer)
{
  char kernels[256], target[64], rate[64];

  PetscFunctionBeginUser;
  PetscCall(KalGetKernels(sizeof kernels, kernels));
  PetscCall(PetscViewerASCIIPrintf(viewer, "kalmia-bench: %d rank%s, BLAS %s, medians of %" PetscInt_FMT " repeats\n\nmachine, all ranks at once\n", bench->size, bench->size > 1 ? "s" : "", kernels, bench->repeats));
  for (int k = 0; k < KAL_RATES; k++) {
    if (bench->taken[k]) PetscCall(PetscViewerASCIIPrintf(viewer, "  %-32s %10.2f %s\n", rates[k].name, Shown(bench, k), rates[k].unit));
  }
  if (!bench->rows) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscViewerASCIIPrintf(viewer, "\n%-22s %-44s %10s %14s %10s %6s  %s\n", "phase", "size", "seconds", "rate", "bound s", "ratio", "target"));
  for (PetscInt r = 0; r < bench->rows; r++) {
    const KalBenchRow *row     = &bench->row[r];
    const PetscReal    seconds = KalBenchMedian(bench->repeats, row->seconds), bound = KalBenchMedian(bench->repeats, row->bound), ratio = Ratio(bench, row);

    rate[0] = '\0';
    if (row->work > 0.0) PetscCall(PetscSNPrintf(rate, sizeof rate, "%.2f %s/s", (double)(row->work / seconds), row->unit));
    PetscCall(Target(row, ratio, seconds, sizeof target, target));
    PetscCall(PetscViewerASCIIPrintf(viewer, "%-22s %-44s %10.5f %14s ", row->name, row->size, (double)seconds, rate));
    if (bound > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, "%10.5f %6.2f  %s\n", (double)bound, (double)ratio, target));
    else PetscCall(PetscViewerASCIIPrintf(viewer, "%10s %6s  %s\n", "", "", target));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalBenchWriteCSV - Writes what was measured as a table of values separated by commas

   Collective

   Input Parameters:
+  bench - the benchmark, after KalBenchRun()
-  path - file to write: row, size, seconds, rate, unit, bound, ratio, target; target is a ratio at least, or seconds at most with a minus
@*/
PetscErrorCode KalBenchWriteCSV(KalBench bench, const char *path)
{
  FILE *file;
  char  text[256] = "";

  PetscFunctionBeginUser;
  if (!bench->rank) {
    file = fopen(path, "w");
    if (!file) PetscCall(PetscSNPrintf(text, sizeof text, "%s cannot be written; give another file to --csv", path));
    else {
      (void)fprintf(file, "row,size,seconds,rate,unit,bound,ratio,target\n");
      for (int k = 0; k < KAL_RATES; k++) {
        if (bench->taken[k]) (void)fprintf(file, "%s,%d ranks,,%.6g,%s,,,\n", rates[k].csv, bench->size, Shown(bench, k), rates[k].unit);
      }
      for (PetscInt r = 0; r < bench->rows; r++) {
        const KalBenchRow *row     = &bench->row[r];
        const PetscReal    seconds = KalBenchMedian(bench->repeats, row->seconds), bound = KalBenchMedian(bench->repeats, row->bound);

        (void)fprintf(file, "\"%s\",\"%s\",%.6g,", row->name, row->size, (double)seconds);
        if (row->work > 0.0) (void)fprintf(file, "%.6g,%s/s,", (double)(row->work / seconds), row->unit);
        else (void)fprintf(file, ",,");
        if (bound > 0.0) (void)fprintf(file, "%.6g,%.4g,", (double)bound, (double)Ratio(bench, row));
        else (void)fprintf(file, ",,");
        if (row->least > 0.0) (void)fprintf(file, "%.3g", (double)row->least);
        if (row->most > 0.0) (void)fprintf(file, "-%.3g", (double)row->most);
        (void)fputc('\n', file);
      }
      if (fclose(file)) PetscCall(PetscSNPrintf(text, sizeof text, "%s cannot be written: the disk may be full", path));
    }
  }
  KalCheckAll(bench->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}
