/* Options: the command line over the option file over the snapshot; what nobody knows is refused. */
#include "runimpl.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Options that PETSc looks up later than a run's set-up, or that are not part of a run's description. */
static const char *const Tolerated[]  = {"options_", "log_", "malloc", "memory_view", "on_error", "objects_", "nox", "no_signal", "checkstack", "fp_trap", "help", "version", "info", "mat_", "vec_", "viewer_", "annealing_tao_view", "annealing_tao_converged_reason", "darcy_ksp_converged_", "darcy_mg_", "darcy_sub_", NULL};
static const char *const Unrecorded[] = {"restart", "run_dry", "options_", "log_", "help", "version", "info", "malloc", "on_error", "run_progress", "run_walltime", "snapshot_resume", "nox", "no_signal", "fp_trap", "ensemble_initial", "run_ranks_per_member", "run_phases", "run_levels", NULL};

/* Those of the solver of an analysis, and of them those that PETSc looks up in a solution. */
static const char *const Solver[]      = {"analysis_ksp_", "analysis_pc_", "analysis_mat_", NULL};
static const char *const SolverLater[] = {"analysis_ksp_view", "analysis_ksp_converged_", "analysis_pc_factor_mat_", "analysis_mat_", NULL};

/* What is lacking where nobody asked for an option that others take. */
static const struct {
  const char *begins, *why;
} Lacking[] = {
    {"analysis_ksp_",            "the method solves no linear system with a KSP"},
    {"analysis_pc_",             "the method solves no linear system with a KSP"},
    {"analysis_mat_",            "the method solves no linear system with a KSP"},
    {"analysis_space",           "the method has no choice of a space"          },
    {"analysis_schedule_cycles", "the method has no schedule"                   },
    {"run_climatology_cycles",   "the method takes no climatology"              },
};

/* Options of ours that may stand without a value: they are true then. */
static const char *const Flags[] = {"run_dry", "run_evaluate_ensemble", "run_stop_diverged", "snapshot_resume", "analysis_rotate", "lorenz96_estimate_forcing", "lorenz96_tangent_frozen", "command_keep", "haber_antithetic", "mlp_prior_center", "analysis_ksp_view", "analysis_ksp_monitor", "analysis_ksp_converged_", "analysis_ksp_error_if_not_converged", "analysis_ksp_initial_guess_nonzero", "analysis_pc_factor_", "analysis_mat_", "eki_prior", "etki_prior", "teki_prior", "cnn_biases", "cnn_prior_center", "layered_antithetic", "gpf_precondition", "gpf_prior", "uki_prior", "uki_simplex", "cbo_isotropic", "cbo_cooling", "yegenoglu_refresh", "subspace_biases", "inducing_normalize", "diffusion_one_shot", "darcy_ksp_", "darcy_pc_", "field_exponential", "gf_precondition", "gf_prior", "annealing_tao_", "haber_project", NULL};
/* Options of ours that are whole numbers. */
static const char *const Integers[] = {"run_cycles", "run_seed", "run_monitor_every", "run_evaluate_every", "run_survivors", "run_climatology_cycles", "run_progress", "run_schedule_members", "ensemble_size", "ensemble_block_rows", "bench_repeats", "bench_layers", "bench_members", "bench_batch", "bench_state", "bench_observations", "bench_file_size", "snapshot_every", "snapshot_keep", "observations_batch", "observations_samples", "observations_first", "observations_stride", "observations_count", "mlp_layers", "analysis_schedule_cycles", "eki_redraw_cycles", "eki_redraw_epochs", "etki_redraw_cycles", "etki_redraw_epochs", "haber_line_search", "analyse_cycle", "advection_size", "advection_speed", "advection_waves", "advection_noise_waves", "command_outputs", "command_parallel", "command_retries", "command_state", "esmda_steps", "ienks_iterations", "ienks_lag", "kuramoto_sivashinsky_size", "letkf_batch", "lorenz96_size", "run_ranks_per_member", "layered_perturbations", "mlp_activation_levels", "cnn_activation_levels", "cnn_input", "teki_redraw_cycles", "teki_redraw_epochs", "enrml_iterations", "yegenoglu_repetitions", "bounds_entries", "subspace_seed", "projection_size", "projection_seed", "inducing_seed", "diffusion_cells", "diffusion_terms", "darcy_cells", "field_grid", "field_modes", "channel_grid", "venkf_iterations", "yegenoglu_repetitions_least", "yegenoglu_size_step", "yegenoglu_size_least", "yegenoglu_size_first", "annealing_rungs", "annealing_enks_iterations", "path_steps", "path_samples", "path_observed", NULL};
/* What options of ours begin with; a model of a user's may have others. */
static const char *const Ours[] = {"run_", "bench_", "ensemble_", "snapshot_", "observations_", "model_", "mlp_", "analysis_", "analyse_", "eki_", "etki_", "haber_", "inflation_", "localization_", "letkf_", "enkf_", "enkfn_", "ienks_", "esmda_", "extkf_", "var3d_", "lorenz63_", "lorenz96_", "kuramoto_sivashinsky_", "advection_", "linear_", "command_", "restart", "layered_", "cnn_", "sgd_", "adam_", "ekf_", "dekf_", "koala-v_", "koala-m_", "gpf_", "elliptic_", "teki_", "ieks_sl_", "eki_sl_", "teki_sl_", "uki_", "ukf_", "eks_", "aldi_", "engps_", "enrml_", "cbo_", "yegenoglu_", "parameterization_", "bounds_", "subspace_", "projection_", "inducing_", "scales_", "diffusion_", "darcy_", "field_", "level_set_", "channel_", "venkf_", "gf_", "annealing_", "path_", NULL};

static PetscBool Begins(const char *name, const char *const list[])
{
  PetscInt i;

  for (i = 0; list[i]; i++) {
    if (!strncmp(name, list[i], strlen(list[i]))) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

/* Whether a word of the option database's text begins an option, and is no negative number. */
static PetscBool IsName(const char *word)
{
  return (PetscBool)(word[0] == '-' && word[1] && !isdigit((unsigned char)word[1]) && word[1] != '.');
}

/*
  One option after the other out of the option database's text "-name value -name -name value ", which is cut into pieces;
  name is NULL at the end. The value is looked up for its length, for it may hold blanks and words like names. That marks the
  option as used: unknown ones must have been refused before.
*/
static PetscErrorCode NextOption(char **at, char **name, char **value)
{
  const char *known;
  size_t      length = 0;
  PetscBool   set;

  PetscFunctionBeginUser;
  *name = strchr(*at, '-');
  if (!*name) PetscFunctionReturn(PETSC_SUCCESS);
  *value = *name + strcspn(*name, " ");
  if (**value) *(*value)++ = '\0';
  PetscCall(PetscOptionsFindPair(NULL, NULL, *name, &known, &set));
  if (set && known) PetscCall(PetscStrlen(known, &length));
  *at = *value + length;
  if (length && **at) *(*at)++ = '\0';
  if (!length) *value = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalOptionsRecord - Text of the options that describe the run, one "-name value" a line; PetscFree it
*/
PetscErrorCode KalOptionsRecord(char **text)
{
  char  *all, *at, *name, *value;
  size_t length;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetAll(NULL, &all));
  PetscCall(PetscStrlen(all, &length));
  PetscCall(PetscCalloc1(length + 2, text));
  at = all;
  while (PETSC_TRUE) {
    PetscCall(NextOption(&at, &name, &value));
    if (!name) break;
    if (Begins(name + 1, Unrecorded)) continue;
    strcat(*text, name);
    if (value) strcat(strcat(*text, " "), value);
    strcat(*text, "\n");
  }
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalOptionsRestore - Sets those options of a snapshot's text that neither command line nor option file set
*/
PetscErrorCode KalOptionsRestore(const char *text)
{
  char     *copy, *line, *value, *rest = NULL;
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(PetscStrallocpy(text, &copy));
  for (line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
    value = strchr(line, ' ');
    if (value) *value++ = 0;
    PetscCall(PetscOptionsHasName(NULL, NULL, line, &set));
    if (!set && IsName(line)) PetscCall(PetscOptionsSetValue(NULL, line, value));
  }
  PetscCall(PetscFree(copy));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An option that stands without its value would be passed over in silence; one of several lines cannot be recorded. */
static PetscErrorCode RefuseValues(MPI_Comm comm)
{
  char     *all, *at, *name, *value;
  PetscBool set;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetAll(NULL, &all));
  at = all;
  while (PETSC_TRUE) {
    PetscCall(NextOption(&at, &name, &value));
    if (!name) break;
    set = (PetscBool)(value && (!IsName(value) || strchr(value, ' ')));
    PetscCheck(set || !Begins(name + 1, Ours) || Begins(name + 1, Tolerated) || Begins(name + 1, Flags), comm, PETSC_ERR_ARG_WRONG, "%s stands without a value; -help says what it takes", name);
    PetscCheck(!value || !strchr(value, '\n'), comm, PETSC_ERR_ARG_WRONG, "The value of %s has more than one line; give it in one", name);
  }
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether a number of a list of whole numbers is too large for a PetscInt: PETSc would take what is left of it. */
static PetscBool IsTooLarge(const char *list)
{
  char *end;

  while (*list) {
    errno                 = 0;
    const long long value = strtoll(list, &end, 10);

    if ((*end == ',' || !*end) && (errno == ERANGE || value > PETSC_MAX_INT || value < PETSC_MIN_INT)) return PETSC_TRUE;
    end += strcspn(end, ",");
    list = *end ? end + 1 : end;
  }
  return PETSC_FALSE;
}

/*
  KalOptionsRefuseLarge - An error that names an option of ours, of whole numbers, whose value is too large for a PetscInt

  Collective. Called before the options are looked up, and marks none as used.
*/
PetscErrorCode KalOptionsRefuseLarge(MPI_Comm comm)
{
  char     *all, *word, *next, *rest = NULL;
  PetscInt  i;
  PetscBool same;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetAll(NULL, &all));
  for (word = strtok_r(all, " ", &rest); word; word = next) {
    next = strtok_r(NULL, " ", &rest);
    for (i = 0; next && word[0] == '-' && Integers[i]; i++) {
      PetscCall(PetscStrcasecmp(word + 1, Integers[i], &same));
      PetscCheck(!same || !IsTooLarge(next), comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %s is too large: this PETSc counts from %" PetscInt_FMT " to %" PetscInt_FMT, word, next, PETSC_MIN_INT, PETSC_MAX_INT);
    }
  }
  PetscCall(PetscFree(all));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Why nobody asked for an option, in parentheses, where that is known; else an empty text. */
static PetscErrorCode Why(const char *name, KalSolverOptions solver, size_t size, char *text)
{
  PetscFunctionBeginUser;
  text[0] = '\0';
  if (solver != KAL_SOLVER_NONE && Begins(name, Solver)) PetscFunctionReturn(PETSC_SUCCESS);
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(Lacking); k++) {
    if (!strncmp(name, Lacking[k].begins, strlen(Lacking[k].begins))) PetscCall(PetscSNPrintf(text, size, " (%s)", Lacking[k].why));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalOptionsRefuseUnknown - An error that names every option nobody asked for, or one that lacks its value

  Collective. Called when all nouns are set up.
*/
PetscErrorCode KalOptionsRefuseUnknown(MPI_Comm comm, KalSolverOptions solver)
{
  char   **names, **values, list[1024] = "", why[128];
  PetscInt left, i, unknown            = 0;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsLeftGet(NULL, &left, &names, &values));
  for (i = 0; i < left; i++) {
    if (Begins(names[i], Tolerated)) continue;
    if (solver != KAL_SOLVER_NONE && Begins(names[i], solver == KAL_SOLVER_HERE ? SolverLater : Solver)) continue;
    PetscCall(PetscStrlcat(list, unknown++ ? ", -" : "-", sizeof list));
    PetscCall(PetscStrlcat(list, names[i], sizeof list));
    PetscCall(Why(names[i], solver, sizeof why, why));
    PetscCall(PetscStrlcat(list, why, sizeof list));
  }
  PetscCall(PetscOptionsLeftRestore(NULL, &left, &names, &values));
  PetscCheck(!unknown, comm, PETSC_ERR_ARG_UNKNOWN_TYPE, "Unknown option%s %s: no part of this run takes %s; look it up with -help, mind that options of a type (-eki_..., -haber_..., -mlp_...) hold for that type alone", unknown > 1 ? "s" : "", list, unknown > 1 ? "them" : "it");
  PetscCall(RefuseValues(comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Takes "-options_file FILE" out of the arguments; the files are read later, under our own error messages. */
static PetscErrorCode TakeFiles(int *argc, char **argv, PetscInt *count, char *files[], PetscInt most)
{
  int i, kept = 1;

  *count = 0;
  for (i = 1; i < *argc; i++) {
    if ((!strcmp(argv[i], "-options_file") || !strcmp(argv[i], "-options_file_yaml")) && i + 1 < *argc && *count < most) files[(*count)++] = argv[++i];
    else argv[kept++] = argv[i];
  }
  *argc      = kept;
  argv[kept] = NULL;
  return PETSC_SUCCESS;
}

/* Whether the error at hand was raised on every rank: then all can end MPI in good order. */
static PetscBool everywhere;
/* Where an error's text goes while a caller wants to say more about it than PETSc does; else NULL. */
static char  *kept;
static size_t keptsize;

/* Which options have a value that PETSc refuses: it names the value alone. */
static void NameOptions(const char *text, size_t size, char *names)
{
  static const char *const before[] = {"Newly set value ", "Input string "};
  char                    *all, *word, *name = NULL, *rest = NULL;
  size_t                   i, length;

  names[0] = '\0';
  for (i = 0; i < PETSC_STATIC_ARRAY_LENGTH(before) && strncmp(text, before[i], strlen(before[i])); i++)
    ;
  if (i == PETSC_STATIC_ARRAY_LENGTH(before) || PetscOptionsGetAll(NULL, &all)) return;
  text += strlen(before[i]);
  length = strcspn(text, " ");
  for (word = strtok_r(all, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
    if (IsName(word)) name = word;
    else if (name && strlen(word) == length && !strncmp(word, text, length)) (void)snprintf(names + strlen(names), size - strlen(names), "%s%s %s", names[0] ? " or " : " of ", name, word);
  }
  (void)PetscFree(all);
}

/* PETSc says of memory that it does not get no more than the function that wanted it. */
static const char *OutOfMemory(const char *text, size_t size, char *more)
{
  for (const char *c = text; *c; c++) {
    if (!isalnum((unsigned char)*c) && *c != '_') return text;
  }
  (void)snprintf(more, size, "out of memory in %s: use fewer members, a smaller batch or more nodes; the line `memory:` of -run_dry says what is needed", text);
  return more;
}

/* Options are the same on every rank, and so are PETSc's complaints about them. */
static PetscBool IsOfOptions(const char *function)
{
  return (PetscBool)(function && (!strncmp(function, "PetscOptions", 12) || !strncmp(function, "PetscParseLayerYAML", 19)));
}

static PetscErrorCode KalError(MPI_Comm comm, int line, const char *function, const char *file, PetscErrorCode code, PetscErrorType type, const char *text, void *ctx)
{
  PetscMPIInt rank = 0, size = 1, world = 0, all = 1;
  char        names[512], more[512];

  (void)line;
  (void)file;
  (void)ctx;
  if (type != PETSC_ERROR_INITIAL) return code;
  if (!text) text = "unknown";
  /* PetscMallocAlign() of 3.18 gives the line and the function that wanted the memory as code and text. */
  if (function && (!strcmp(function, "PetscMallocAlign") || !strcmp(function, "PetscReallocAlign"))) code = PETSC_ERR_MEM;
  if (code == PETSC_ERR_MEM) text = OutOfMemory(text, sizeof more, more);
  if (kept) {
    (void)PetscStrncpy(kept, text, keptsize);
    return code;
  }
  if (comm != MPI_COMM_NULL) {
    (void)MPI_Comm_rank(comm, &rank);
    (void)MPI_Comm_size(comm, &size);
  }
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &world);
  (void)MPI_Comm_size(PETSC_COMM_WORLD, &all);
  everywhere = (PetscBool)(size == all || IsOfOptions(function));
  if (IsOfOptions(function)) {
    NameOptions(text, sizeof names, names);
    if (world == 0) (void)fprintf(stderr, "kalmia: error: %s%s; -help says what is allowed\n", text, names);
  } else if (size > 1 || world == 0) {
    if (rank == 0) (void)fprintf(stderr, "kalmia: error: %s\n", text);
  } else (void)fprintf(stderr, "kalmia: error on rank %d: %s\n", world, text);
  (void)fflush(stderr);
  return code;
}

static PetscErrorCode ReadFile(const char *file)
{
  PetscErrorCode error;
  PetscBool      exists;
  PetscMPIInt    rank;
  char           text[PETSC_MAX_PATH_LEN + 128] = "", why[512] = "";

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(PETSC_COMM_WORLD, &rank));
  if (rank == 0) {
    PetscCall(PetscTestFile(file, 'r', &exists));
    if (!exists) PetscCall(PetscSNPrintf(text, sizeof text, "Option file %s is not there or cannot be read", file));
  }
  KalCheckAll(PETSC_COMM_WORLD, PETSC_ERR_FILE_OPEN, text);
  kept     = why;
  keptsize = sizeof why;
  error    = PetscOptionsInsertFile(PETSC_COMM_WORLD, NULL, file, PETSC_TRUE);
  kept     = NULL;
  PetscCheck(!error, PETSC_COMM_WORLD, PETSC_ERR_FILE_UNEXPECTED, "Option file %s cannot be understood (%s): check its form, YAML for a name that ends in .yaml or .yml, else a line `-option value` each", file, why);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalInitialize - Starts PETSc and MPI for a program of Kalmia: errors as one message, option files under the command line

   Collective on MPI_COMM_WORLD

   Input Parameters:
+  argc - address of main's argc
.  argv - address of main's argv
-  help - text for -help

   Note:
   -options_file FILE (YAML by its ending .yaml or .yml, else PETSc's plain form) may stand anywhere among
   the arguments: the command line wins over it. From here on SIGUSR1 is noted, for KalRunSolve().

.seealso: KalFinalize()
@*/
PetscErrorCode KalInitialize(int *argc, char ***argv, const char *help)
{
  char    *files[16];
  PetscInt count, i;

  KalStopCatch();
  PetscCall(TakeFiles(argc, *argv, &count, files, 16));
  PetscCall(PetscInitialize(argc, argv, NULL, help));
  PetscFunctionBeginUser;
  PetscCall(PetscPushErrorHandler(KalError, NULL));
  for (i = 0; i < count; i++) PetscCall(ReadFile(files[i]));
  /* The cast: PETSc takes char ** here, and const char *const * in newer versions. */
  if (count) PetscCall(PetscOptionsInsertArgs(NULL, *argc - 1, (void *)(*argv + 1)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalFinalize - Ends PETSc and MPI and turns an error into an exit code

   Collective on MPI_COMM_WORLD

   Input Parameter:
.  error - what the program's work returned

   Output Parameter:
.  code - exit code: KAL_EXIT_DONE, KAL_EXIT_MEMBERS where too few members survived, else KAL_EXIT_ERROR

   Note:
   An error that one rank alone raised aborts all: the others may be waiting for it.
@*/
PetscErrorCode KalFinalize(PetscErrorCode error, int *code)
{
  *code = !error ? KAL_EXIT_DONE : ((int)error == PETSC_ERR_CONV_FAILED ? KAL_EXIT_MEMBERS : KAL_EXIT_ERROR);
  (void)fflush(stdout);
  (void)fflush(stderr);
  if (error && !everywhere) (void)MPI_Abort(MPI_COMM_WORLD, *code);
  PetscCall(PetscPopErrorHandler());
  PetscCall(PetscFinalize());
  return PETSC_SUCCESS;
}
