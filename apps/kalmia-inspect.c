/* kalmia-inspect: what a snapshot holds, whether it is whole, its history as CSV, its mean or members as plain files. */
#include <kalmia/snapshot.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_DAMAGED 1
#define EXIT_USAGE   2
#define EXIT_CLOSED  141 /* as of a program that the signal ends */

static const char usage[] = "Usage: kalmia-inspect FILE                             what the snapshot FILE holds\n"
                            "       kalmia-inspect FILE --verify                    ok, or what is damaged\n"
                            "       kalmia-inspect FILE --mark                      done or continue, and the cycles done\n"
                            "       kalmia-inspect FILE --newest                    the same and the name of the newest that is whole:\n"
                            "                                                       FILE, else FILE.1, FILE.2, ...\n"
                            "       kalmia-inspect FILE --csv [OUT]                 the history as CSV\n"
                            "       kalmia-inspect FILE --export mean|members OUT   the mean of the members, or all members:\n"
                            "                                                       HDF5 to OUT.h5 or OUT.hdf5, else NumPy's .npy\n"
                            "       kalmia-inspect --help\n"
                            "Exit codes: 0 all is well; 1 the snapshot is missing or damaged, or OUT cannot be written; 2 wrong arguments;\n"
                            "            141 whoever read the output went away\n";

typedef enum {
  LOOK,
  VERIFY,
  MARK,
  NEWEST,
  CSV,
  EXPORT,
} Action;
typedef struct {
  Action      action;
  const char *file, *what, *out;
} Arguments;

/* The first message of an error, without PETSc's trace. */
static char           message[2048];
static PetscErrorCode Remember(MPI_Comm comm, int line, const char *function, const char *file, PetscErrorCode code, PetscErrorType type, const char *text, void *ctx)
{
  (void)comm;
  (void)line;
  (void)function;
  (void)file;
  (void)ctx;
  if (type == PETSC_ERROR_INITIAL && text) snprintf(message, sizeof message, "%s", text);
  return code;
}

/* Whether the reader of the output went away, as `head` does. PETSc would tell of a crash, and abort MPI. */
static volatile sig_atomic_t closed;
static void                  Close(int signal)
{
  (void)signal;
  closed = 1;
}

/* 0, or the problem in `problem`. */
static int Parse(int argc, char **argv, Arguments *arguments, char *problem, size_t bytes)
{
  int actions = 0;

  memset(arguments, 0, sizeof *arguments);
  for (int i = 1; i < argc; i++) {
    const char *word = argv[i];
    if (word[0] != '-' || !word[1]) {
      if (arguments->file) return snprintf(problem, bytes, "unexpected argument %s", word);
      arguments->file = word;
      continue;
    }
    if (++actions > 1) return snprintf(problem, bytes, "%s: one of --verify, --mark, --newest, --csv and --export at a time", word);
    if (!strcmp(word, "--verify")) arguments->action = VERIFY;
    else if (!strcmp(word, "--mark")) arguments->action = MARK;
    else if (!strcmp(word, "--newest")) arguments->action = NEWEST;
    else if (!strcmp(word, "--csv")) {
      arguments->action = CSV;
      if (arguments->file && i + 1 < argc && argv[i + 1][0] != '-') arguments->out = argv[++i];
    } else if (!strcmp(word, "--export")) {
      arguments->action = EXPORT;
      if (i + 2 >= argc) return snprintf(problem, bytes, "--export needs mean or members, and the file to write");
      arguments->what = argv[++i];
      arguments->out  = argv[++i];
      if (strcmp(arguments->what, "mean") && strcmp(arguments->what, "members")) return snprintf(problem, bytes, "--export %s: mean and members can be exported", arguments->what);
    } else return snprintf(problem, bytes, "unknown argument %s", word);
  }
  if (!arguments->file) return snprintf(problem, bytes, "no snapshot is named");
  return 0;
}

/* A text of the snapshot after its label; nothing where there is none. */
static PetscErrorCode PrintText(KalSnapshot snap, const char *label, const char *name)
{
  char     *text;
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotReadText(snap, name, &text, &found));
  if (found) printf("%-12s %s\n", label, text);
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintNumber(KalSnapshot snap, const char *label, const char *name)
{
  PetscInt64 value;
  PetscBool  found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotReadInt(snap, name, &value, &found));
  if (found) printf("%-12s %lld\n", label, (long long)value);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A text of several lines under a title. */
static PetscErrorCode PrintLines(KalSnapshot snap, const char *title, const char *name)
{
  char     *text;
  PetscBool found;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotReadText(snap, name, &text, &found));
  if (found) printf("\n%s\n", title);
  for (const char *line = text; found && *line;) {
    const int length = (int)strcspn(line, "\n");
    printf("  %.*s\n", length, line);
    line += length;
    if (*line) line++;
  }
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintEnsemble(KalSnapshot snap)
{
  PetscInt   ndims;
  PetscInt64 size[KAL_SNAPSHOT_RANK], N = 0, n = 0;
  PetscBool  stored, generated, known;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotGetSize(snap, "ensemble/members", &ndims, size, &stored));
  PetscCall(KalSnapshotGetSize(snap, "ensemble/mean", &ndims, size, &generated));
  PetscCall(KalSnapshotReadInt(snap, "ensemble/N", &N, &known));
  if (known) PetscCall(KalSnapshotReadInt(snap, "ensemble/n", &n, &known));
  if (known) printf("%-12s %lld members of %lld numbers, %s\n", "ensemble", (long long)N, (long long)n, stored ? "stored" : generated ? "generated about a mean"
                                                                                                                                      : "without values");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One array of the history, and its values as doubles or whole numbers. */
typedef struct {
  const char *name; /* without its group */
  KalDataType type;
  void       *data;
} Column;

/* The arrays of the history that are as long as its cycles, the cycles first. */
static PetscErrorCode ReadHistory(KalSnapshot snap, PetscInt64 *rows, PetscInt *count, Column **columns, PetscInt *nnames, char ***names)
{
  PetscInt    ndims;
  PetscInt64  size[KAL_SNAPSHOT_RANK];
  PetscBool   found;
  KalDataType type = KAL_TYPE_REAL;

  PetscFunctionBeginUser;
  *rows  = -1;
  *count = 0;
  PetscCall(KalSnapshotGetNames(snap, "history", nnames, names));
  PetscCall(PetscCalloc1((size_t)*nnames + 1, columns));
  for (PetscInt k = 1; k < *nnames; k++) {
    if (strcmp((*names)[k], "history/cycle")) continue;
    char *cycle = (*names)[k];
    for (PetscInt j = k; j > 0; j--) (*names)[j] = (*names)[j - 1];
    (*names)[0] = cycle;
  }
  for (PetscInt k = 0; k < *nnames; k++) {
    KalDataset array = {.name = (*names)[k], .ndims = 1};
    PetscCall(KalSnapshotGetSize(snap, array.name, &ndims, size, &found));
    if (!found || ndims != 1 || (*rows >= 0 && size[0] != *rows)) continue;
    PetscCall(KalSnapshotGetType(snap, array.name, &type, &found));
    if (!found) continue;
    *rows = array.size[0] = size[0];
    array.type            = type;
    PetscCall(PetscMalloc1((size_t)size[0] + 1, (PetscInt64 **)&array.data));
    PetscCall(KalSnapshotReadArray(snap, &array));
    (*columns)[(*count)++] = (Column){.name = array.name + strlen("history/"), .type = type, .data = array.data};
  }
  *rows = PetscMax(*rows, 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode FreeHistory(PetscInt count, Column *columns, PetscInt nnames, char **names)
{
  PetscFunctionBeginUser;
  for (PetscInt c = 0; c < count; c++) PetscCall(PetscFree(columns[c].data));
  for (PetscInt k = 0; k < nnames; k++) PetscCall(PetscFree(names[k]));
  PetscCall(PetscFree(columns));
  PetscCall(PetscFree(names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void PrintValue(FILE *out, const Column *column, PetscInt64 row, int digits)
{
  if (column->type == KAL_TYPE_REAL) {
    const double value = ((const double *)column->data)[row];
    if (PetscIsNanReal(value)) fprintf(out, "nan");
    else fprintf(out, "%.*g", digits, value);
  } else fprintf(out, "%lld", column->type == KAL_TYPE_INT64 ? (long long)((const PetscInt64 *)column->data)[row] : (long long)((const signed char *)column->data)[row]);
}

static PetscErrorCode PrintLast(KalSnapshot snap)
{
  PetscInt64 rows;
  PetscInt   count, nnames;
  Column    *columns;
  char     **names;

  PetscFunctionBeginUser;
  PetscCall(ReadHistory(snap, &rows, &count, &columns, &nnames, &names));
  if (rows) printf("\nhistory, the last of %lld\n", (long long)rows);
  for (PetscInt c = 0; rows && c < count; c++) {
    printf("  %-28s ", columns[c].name);
    PrintValue(stdout, &columns[c], rows - 1, 7);
    printf("\n");
  }
  PetscCall(FreeHistory(count, columns, nnames, names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Look(KalSnapshot snap, const Arguments *arguments)
{
  PetscFunctionBeginUser;
  printf("%-12s %s\n%-12s %d\n", "snapshot", arguments->file, "format", KAL_SNAPSHOT_VERSION);
  PetscCall(PrintText(snap, "kalmia", "kalmia/version"));
  PetscCall(PrintText(snap, "status", "kalmia/status"));
  PetscCall(PrintText(snap, "result", "run/result"));
  PetscCall(PrintNumber(snap, "cycle", "kalmia/cycle"));
  PetscCall(PrintNumber(snap, "seed", "run/seed"));
  PetscCall(PrintText(snap, "model", "model/type"));
  PetscCall(PrintText(snap, "layout", "model/layout"));
  PetscCall(PrintText(snap, "analysis", "analysis/type"));
  PetscCall(PrintEnsemble(snap));
  PetscCall(PrintLines(snap, "options", "options"));
  PetscCall(PrintLines(snap, "provenance", "kalmia/provenance"));
  PetscCall(PrintLast(snap));
  printf("\ndatasets\n");
  fflush(stdout);
  PetscCall(KalSnapshotView(snap, PETSC_VIEWER_STDOUT_SELF));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where the CSV goes: a temporary name until it is complete. */
static PetscErrorCode Csv(KalSnapshot snap, const Arguments *arguments)
{
  PetscInt64  rows;
  PetscInt    count, nnames;
  Column     *columns;
  char      **names, tmp[PETSC_MAX_PATH_LEN];
  FILE       *out = stdout;
  struct stat from, to;
  PetscBool   bad;

  PetscFunctionBeginUser;
  if (arguments->out) {
    PetscCheck(stat(arguments->out, &to) || stat(arguments->file, &from) || from.st_dev != to.st_dev || from.st_ino != to.st_ino, PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s is the snapshot itself; give another path for the CSV", arguments->out);
    PetscCheck(strlen(arguments->out) < sizeof tmp - 8, PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "The path for the CSV is too long");
    snprintf(tmp, sizeof tmp, "%s.tmp", arguments->out);
  }
  PetscCall(ReadHistory(snap, &rows, &count, &columns, &nnames, &names));
  if (arguments->out) out = fopen(tmp, "w");
  PetscCheck(out, PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s cannot be written: %s", tmp, strerror(errno));
  for (PetscInt c = 0; c < count; c++) fprintf(out, "%s%s", c ? "," : "", columns[c].name);
  if (count) fprintf(out, "\n");
  for (PetscInt64 r = 0; r < rows; r++) {
    for (PetscInt c = 0; c < count; c++) {
      if (c) fputc(',', out);
      PrintValue(out, &columns[c], r, 17);
    }
    fputc('\n', out);
  }
  bad = fflush(out) || ferror(out) ? PETSC_TRUE : PETSC_FALSE;
  if (arguments->out) {
    if (fclose(out)) bad = PETSC_TRUE;
    if (!bad && rename(tmp, arguments->out)) bad = PETSC_TRUE;
    if (bad) (void)unlink(tmp);
  }
  PetscCheck(!bad || closed, PETSC_COMM_SELF, PETSC_ERR_FILE_WRITE, "%s cannot be written: %s", arguments->out ? arguments->out : "Standard output", strerror(errno));
  PetscCall(FreeHistory(count, columns, nnames, names));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Export(KalSnapshot snap, const Arguments *arguments)
{
  const PetscBool mean = !strcmp(arguments->what, "mean") ? PETSC_TRUE : PETSC_FALSE;
  PetscInt        ndims, none;
  PetscInt64      size[KAL_SNAPSHOT_RANK];
  PetscBool       stored, generated;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotGetSize(snap, "ensemble/members", &ndims, size, &stored));
  PetscCall(KalSnapshotGetSize(snap, "ensemble/mean", &none, NULL, &generated));
  PetscCheck(stored || generated, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "Snapshot %s holds no ensemble", arguments->file);
  PetscCheck(stored || mean, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "The members of %s are generated about a mean and not stored; export the mean", arguments->file);
  if (stored && mean) {
    PetscCheck(ndims == 2, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "ensemble/members of snapshot %s has %d dimensions; members have 2", arguments->file, (int)ndims);
    PetscCall(KalSnapshotExportMean(snap, "ensemble/members", NULL, "mean", arguments->out)); /* failed members were redrawn before it was written */
  } else PetscCall(KalSnapshotExport(snap, mean ? "ensemble/mean" : "ensemble/members", arguments->what, arguments->out));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 0, or EXIT_DAMAGED after saying what is wrong. */
static PetscErrorCode Verify(const Arguments *arguments, int *code)
{
  PetscInt problems;
  char    *text;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotVerify(PETSC_COMM_SELF, arguments->file, &problems, &text));
  printf("%s", problems ? text : "ok\n");
  *code = problems ? EXIT_DAMAGED : 0;
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether the run is to be continued, and after which cycle; `more` follows on the same line. */
static PetscErrorCode Mark(KalSnapshot snap, const char *file, const char *more)
{
  char      *text;
  PetscInt64 cycle = 0;
  PetscBool  marked, known;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotReadText(snap, "kalmia/status", &text, &marked));
  PetscCall(KalSnapshotReadInt(snap, "kalmia/cycle", &cycle, &known));
  PetscCheck(marked && known, PETSC_COMM_SELF, PETSC_ERR_FILE_UNEXPECTED, "%s is no snapshot of a run: it is not marked done or continue", file);
  printf("%s %lld%s%s\n", text, (long long)cycle, more[0] ? " " : "", more);
  PetscCall(PetscFree(text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The newest that is whole; what is wrong with those before it goes to standard error. */
static PetscErrorCode Newest(const Arguments *arguments)
{
  KalSnapshot snap;
  PetscInt    place;
  char        newest[PETSC_MAX_PATH_LEN], *text;

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotFindNewest(PETSC_COMM_SELF, arguments->file, sizeof newest, newest, &place, &text));
  if (text) fprintf(stderr, "%s", text);
  PetscCall(PetscFree(text));
  PetscCheck(newest[0], PETSC_COMM_SELF, PETSC_ERR_FILE_OPEN, "%s %s", place ? "No snapshot is whole at" : "There is no snapshot at", arguments->file);
  PetscCall(KalSnapshotOpen(PETSC_COMM_SELF, newest, KAL_SNAPSHOT_READ, &snap));
  PetscCall(Mark(snap, newest, newest));
  PetscCall(KalSnapshotClose(&snap));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(const Arguments *arguments, int *code)
{
  KalSnapshot    snap;
  PetscErrorCode ierr;

  PetscFunctionBeginUser;
  if (arguments->action == VERIFY) {
    PetscCall(Verify(arguments, code));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (arguments->action == NEWEST) {
    PetscCall(Newest(arguments));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalSnapshotOpen(PETSC_COMM_SELF, arguments->file, KAL_SNAPSHOT_READ, &snap));
  ierr = arguments->action == LOOK ? Look(snap, arguments) : arguments->action == MARK ? Mark(snap, arguments->file, "")
                                                         : arguments->action == CSV    ? Csv(snap, arguments)
                                                                                       : Export(snap, arguments);
  PetscCall(KalSnapshotClose(&snap));
  PetscFunctionReturn(ierr);
}

int main(int argc, char **argv)
{
  Arguments      arguments;
  char           problem[256];
  int            code  = 0;
  PetscErrorCode error = PETSC_SUCCESS;
  PetscMPIInt    rank;

  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return fputs(usage, stdout) < 0;
  }
  if (Parse(argc, argv, &arguments, problem, sizeof problem)) {
    fprintf(stderr, "kalmia-inspect: %s\n%s", problem, usage);
    return EXIT_USAGE;
  }
  /* Our arguments are none of PETSc's. */
  if (PetscInitialize(NULL, NULL, NULL, NULL)) return EXIT_DAMAGED;
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  (void)PetscPushErrorHandler(Remember, NULL);
  (void)sigaction(SIGPIPE, &(struct sigaction){.sa_handler = Close}, NULL);
  if (!rank) error = Work(&arguments, &code);
  fflush(stdout);
  if (closed) code = EXIT_CLOSED;
  else if (error) {
    fprintf(stderr, "kalmia-inspect: %s\n", message);
    code = EXIT_DAMAGED;
  }
  (void)PetscPopErrorHandler();
  if (PetscFinalize()) code = EXIT_DAMAGED;
  return code;
}
