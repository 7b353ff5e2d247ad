/* The model type "command": an external command that is run once a member; its options and set-up. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* realpath() */
#endif
#include <models/commandimpl.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const KalCommandTasks[]   = {"observe", "forecast", "both", "KalCommandTask", "KAL_COMMAND_", NULL};
const char *const KalCommandFormats[] = {"raw", "hdf5", "KalCommandFormat", "KAL_COMMAND_", NULL};

/* A text that PETSc would cut short in silence. */
static PetscErrorCode Text(KalModel model, KalOptionItems PetscOptionsObject, const char *name, const char *help, size_t size, char *text)
{
  size_t length;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsString(name, help, "KALMODELCOMMAND", text, text, size, NULL));
  PetscCall(PetscStrlen(text, &length));
  PetscCheck(length + 1 < size, model->comm, PETSC_ERR_ARG_SIZ, "%s has more than the %zu characters that are possible", name, size - 2);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetFromOptions(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalCommand *command = (KalCommand *)model->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model command: an external command, run once a member");
  PetscCall(Text(model, PetscOptionsObject, "-model_command", "program and arguments, with {state} and {output} for the files", sizeof command->command, command->command));
  PetscCall(PetscOptionsEnum("-command_task", "what the command does", "KALMODELCOMMAND", KalCommandTasks, (PetscEnum)command->task, (PetscEnum *)&command->task, NULL));
  PetscCall(PetscOptionsBoundedInt("-command_state", "numbers of a state", "KALMODELCOMMAND", command->size, &command->size, NULL, 0));
  PetscCall(PetscOptionsBoundedInt("-command_outputs", "numbers predicted of a sample (0: as many as the data have)", "KALMODELCOMMAND", command->outputs, &command->outputs, NULL, 0));
  PetscCall(PetscOptionsReal("-command_step", "model time that the times of observations are whole multiples of", "KALMODELCOMMAND", command->step, &command->step, NULL));
  PetscCall(Text(model, PetscOptionsObject, "-command_mean", "prior means: one number, n of them, or an HDF5 file", sizeof command->mean, command->mean));
  PetscCall(Text(model, PetscOptionsObject, "-command_spread", "prior standard deviations, likewise", sizeof command->spread, command->spread));
  PetscCall(PetscOptionsEnum("-command_format", "form of the files: plain doubles, or HDF5", "KALMODELCOMMAND", KalCommandFormats, (PetscEnum)command->format, (PetscEnum *)&command->format, NULL));
  PetscCall(PetscOptionsReal("-command_timeout", "seconds after which a command is killed (0: never)", "KALMODELCOMMAND", command->timeout, &command->timeout, NULL));
  PetscCall(PetscOptionsBoundedInt("-command_retries", "how often a command that failed is run again", "KALMODELCOMMAND", command->retries, &command->retries, NULL, 0));
  PetscCall(PetscOptionsRangeInt("-command_parallel", "commands at once on a rank", "KALMODELCOMMAND", command->parallel, &command->parallel, NULL, 1, 1024));
  PetscCall(Text(model, PetscOptionsObject, "-command_scratch", "folder for the scratch folders", sizeof command->scratch, command->scratch));
  PetscCall(PetscOptionsBool("-command_keep", "scratch folders stay", "KALMODELCOMMAND", command->keep, &command->keep, NULL));
  PetscOptionsHeadEnd();
  PetscCheck(command->timeout >= 0.0 && !PetscIsInfOrNanReal(command->timeout), model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-command_timeout %g: seconds are not negative (0: no limit)", (double)command->timeout);
  PetscCheck(command->step >= 0.0 && !PetscIsInfOrNanReal(command->step), model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-command_step %g: a time step is positive", (double)command->step);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckWords(KalModel model, KalCommand *command)
{
  static const char *const known[]                     = {"state", "output", "input", "task", "member", "from", "to", "size", "samples", "outputs", "seed", "scratch", NULL};
  char                     why[2 * KAL_COMMAND_REASON] = "";

  PetscFunctionBeginUser;
  PetscCall(KalWordsDestroy(&command->words));
  PetscCall(KalWordsSplit(command->command, &command->words, sizeof why, why));
  if (!why[0]) PetscCall(KalWordsCheck(&command->words, known, sizeof why, why));
  PetscCheck(!why[0], model->comm, PETSC_ERR_ARG_WRONG, "%s", why);
  PetscCheck(KalWordsHave(&command->words, "state") && KalWordsHave(&command->words, "output"), model->comm, PETSC_ERR_ARG_WRONG, "-model_command %s: the arguments must have {state} and {output}, the files that are read and written", command->command);
  PetscCheck(command->task != KAL_COMMAND_BOTH || KalWordsHave(&command->words, "task"), model->comm, PETSC_ERR_ARG_WRONG, "-model_command %s: with -command_task both the arguments must have {task}, by which the command learns which of the two is wanted", command->command);
  command->input = KalWordsHave(&command->words, "input");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscBool IsProgram(const char *path)
{
  struct stat info;

  return (PetscBool)(!stat(path, &info) && S_ISREG(info.st_mode) && !access(path, X_OK));
}

/* The file to execute: a name with a slash is a path, any other is looked for in PATH. */
static PetscErrorCode FindProgram(const char *name, size_t size, char *program, size_t room, char *why)
{
  const char *path = getenv("PATH"), *end;

  PetscFunctionBeginUser;
  if (strchr(name, '/')) {
    PetscCall(PetscStrncpy(program, name, size));
    if (!IsProgram(program)) PetscCall(PetscSNPrintf(why, room, "-model_command: %s is not there, or is no file that can be executed", name));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; path; path = *end ? end + 1 : NULL) {
    end = path + strcspn(path, ":");
    PetscCall(PetscSNPrintf(program, size, "%.*s%s%s", (int)(end - path), path, end > path ? "/" : "./", name));
    if (IsProgram(program)) PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscSNPrintf(why, room, "-model_command: no program %s in PATH; one of this folder is named ./%s", name, name));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The folder for scratch folders as an absolute path, in which one can be made. */
static PetscErrorCode FindScratch(const char *given, size_t size, char *scratch, size_t room, char *why)
{
  const char *tmp  = getenv("TMPDIR");
  const char *want = given[0] ? given : tmp && tmp[0] ? tmp
                                                      : "/tmp";
  char       *real = realpath(want, NULL), probe[PETSC_MAX_PATH_LEN], reason[KAL_COMMAND_REASON] = "";

  PetscFunctionBeginUser;
  if (!real || strlen(real) + 64 > size) PetscCall(PetscSNPrintf(why, room, "The scratch folder %s (-command_scratch) %s: %s", want, real ? "cannot be used" : "is not there", real ? "its path is too long" : strerror(errno)));
  else if (!KalScratchCreate(real, 0, sizeof probe, probe, sizeof reason, reason)) PetscCall(PetscSNPrintf(why, room, "-command_scratch: %s", reason));
  else {
    (void)KalScratchRemove(probe);
    PetscCall(PetscStrncpy(scratch, real, size));
  }
  free(real);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each rank looks on its own node. */
static PetscErrorCode FindFiles(KalModel model, KalCommand *command)
{
  char scratch[PETSC_MAX_PATH_LEN], why[KAL_COMMAND_REASON + PETSC_MAX_PATH_LEN] = "";

  PetscFunctionBeginUser;
  PetscCall(FindProgram(command->words.word[0], sizeof command->program, command->program, sizeof why, why));
  if (!why[0]) PetscCall(FindScratch(command->scratch, sizeof scratch, scratch, sizeof why, why));
  KalCheckAll(model->comm, PETSC_ERR_FILE_OPEN, why);
  PetscCall(PetscStrncpy(command->scratch, scratch, sizeof command->scratch));
  PetscCall(KalProcessEnvironmentFree(&command->environment));
  PetscCall(KalProcessEnvironment(&command->environment));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpOutputs(KalModel model, KalCommand *command)
{
  PetscFunctionBeginUser;
  PetscCheck(!command->outputs || !model->outputs || command->outputs == model->outputs, model->comm, PETSC_ERR_ARG_SIZ, "-command_outputs %" PetscInt_FMT " but the data have %" PetscInt_FMT " outputs a sample; leave it out", command->outputs, model->outputs);
  if (command->outputs) model->outputs = command->outputs;
  if (!model->outputs && command->step > 0.0) model->outputs = 1; /* observations in time are one number each */
  PetscCheck(model->outputs || command->task == KAL_COMMAND_FORECAST, model->comm, PETSC_ERR_ARG_WRONGSTATE, "The data do not say how many numbers are predicted of a sample: give -command_outputs");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Propagate(KalModel model, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *columns, KalStatus *status)
{
  PetscFunctionBeginUser;
  (void)parameters;
  if (from != to) PetscCall(KalCommandRun(model, from, to, columns, NULL, NULL, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Observe(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  PetscFunctionBeginUser;
  (void)parameters;
  PetscCall(KalCommandRun(model, stage, stage, columns, batch, y, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalModel model)
{
  KalCommand *command = (KalCommand *)model->data;

  PetscFunctionBeginUser;
  PetscCall(CheckWords(model, command));
  PetscCheck(command->size, model->comm, PETSC_ERR_ARG_WRONGSTATE, "The model command needs -command_state, the numbers of a state");
  PetscCheck(model->precision == KAL_DOUBLE, model->comm, PETSC_ERR_SUP, "The model command exchanges doubles: leave -model_precision out");
  PetscCheck(command->task == KAL_COMMAND_OBSERVE || command->step > 0.0, model->comm, PETSC_ERR_ARG_WRONGSTATE, "-command_task %s needs -command_step, a model time that all times of observations are multiples of", KalCommandTasks[command->task]);
  PetscCall(KalModelSetSize(model, command->size));
  PetscCall(SetUpOutputs(model, command));
  if (command->step > 0.0) PetscCall(KalModelSetStep(model, command->step));
  PetscCall(FindFiles(model, command));
  PetscCall(PetscFree(command->prior));
  PetscCall(PetscMalloc1(2 * (size_t)command->size, &command->prior));
  PetscCall(KalCommandPrior(model, "-command_mean", "mean", command->mean, command->prior));
  PetscCall(KalCommandPrior(model, "-command_spread", "spread", command->spread, command->prior + command->size));
  for (PetscInt i = 0; i < command->size; i++) PetscCheck(command->prior[command->size + i] >= 0.0, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-command_spread: entry %" PetscInt_FMT " is %g; a standard deviation is not negative", i, (double)command->prior[command->size + i]);
  model->ops.propagate = command->task == KAL_COMMAND_OBSERVE ? NULL : Propagate;
  model->ops.observe   = command->task == KAL_COMMAND_FORECAST ? NULL : Observe;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Initial(KalModel model, KalKey key, PetscScalar *x)
{
  const KalCommand *command = (const KalCommand *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal(key, 0, model->size, x));
  for (PetscInt i = 0; i < model->size; i++) x[i] = command->prior[i] + command->prior[model->size + i] * x[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Spread(KalModel model, PetscReal *spread)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(spread, ((const KalCommand *)model->data)->prior + model->size, model->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Mean(KalModel model, PetscScalar *mean)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(mean, ((const KalCommand *)model->data)->prior, model->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Layout(KalModel model, size_t size, char *text)
{
  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, size, "command %" PetscInt_FMT " %s", model->size, KalCommandTasks[((const KalCommand *)model->data)->task]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Memory(KalModel model, PetscInt samples, PetscReal *bytes)
{
  PetscFunctionBeginUser;
  *bytes = sizeof(double) * (2.0 * (PetscReal)model->size + PetscMax((PetscReal)model->size, (PetscReal)samples * (PetscReal)model->outputs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalModel model, PetscViewer viewer)
{
  const KalCommand *command = (const KalCommand *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "command %s\n", command->command));
  PetscCall(PetscViewerASCIIPrintf(viewer, "task %s, %s files in %s%s, %" PetscInt_FMT " at once on a rank, ", KalCommandTasks[command->task], KalCommandFormats[command->format], command->scratch, command->keep ? " (kept)" : "", command->parallel));
  PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_FALSE));
  if (command->timeout > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, "killed after %g s, ", (double)command->timeout));
  else PetscCall(PetscViewerASCIIPrintf(viewer, "no time limit, "));
  PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " retries\n", command->retries));
  PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalModel model)
{
  KalCommand *command = (KalCommand *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalWordsDestroy(&command->words));
  PetscCall(KalProcessEnvironmentFree(&command->environment));
  PetscCall(PetscFree(command->prior));
  PetscCall(PetscFree(command->work));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELCOMMAND - "command", an external command that is run once a member

   Options Database Keys:
+  -model_command - program and arguments; {state} and {output} must be among these
.  -command_task <observe> - observe: it predicts what is observed of a state; forecast: it takes a state from one time to another; both: either, as {task} says
.  -command_state - n, the numbers of a state
.  -command_outputs - numbers that are predicted of a sample, where the data do not say: with class labels
.  -command_step - for observations in time: the model time that all their times are whole multiples of; with -command_task observe the
                   state stays as it is from one to the next, as parameters do
.  -command_mean <0> - prior means: one number for all, n with commas between, or an HDF5 file with /mean (n)
.  -command_spread <1> - prior standard deviations: likewise, the dataset is /spread
.  -command_format <raw> - raw: files of plain doubles; hdf5: HDF5 files
.  -command_timeout <3600> - seconds after which a command is told to end (SIGTERM), and 2 seconds later killed; 0: never
.  -command_retries <0> - how often a command that failed is run again
.  -command_parallel <1> - commands that a rank has running at once
.  -command_scratch <$TMPDIR or /tmp> - folder that the scratch folders are made in
-  -command_keep - scratch folders are not removed

   Notes on the command:
   It is started without a shell. Blanks separate words. '...' is taken as it is; within "..." a backslash stands before a " or \
   that belongs to the word; outside of quotes it takes away the meaning of any character. No other character has a meaning: no variables,
   patterns, pipes or redirections. The first word is the program, a path if it has a slash, else looked for in PATH; in the others
   these places are filled in afterwards, so that they never split a word ({{ and }} stand for braces):

.vb
   {state}    file that holds the state                   {output}   file to be written
   {task}     observe or forecast                         {member}   index of the member, from 0; 0 for a mean
   {from}     model time of the state                     {to}       model time wanted, the same for observe
   {size}     n                                           {seed}     0 to 2^32 - 1, of run, cycle and member: for a model with noise
   {samples}  samples of the batch                        {outputs}  numbers wanted of each
   {input}    file with the samples' inputs               {scratch}  folder of this run of the command
.ve

   A raw file holds doubles of this machine and nothing else: n of the state; samples x inputs of the inputs, a sample contiguous;
   the output n numbers of a forecast, or samples x outputs predictions, sample by sample. In an HDF5 file they are the one
   dataset /state, /input or /output, the last of any shape. Observations in time are samples of one output each, and their
   inputs are their locations, KAL_DIMENSIONS numbers each.

   With -command_task forecast what is observed are linear functions of the state, which the observations name; with observe and
   both the command is asked where they name none (-observations_operator model).

   The child's working folder is that of the run. Its standard input is empty, its output goes to the file log in its scratch
   folder, and no other file is open. The variables of the launcher (OMPI_*, PMIX_*, PMI_*, those of Slurm that belong to a step or task) are
   not in its environment, so that it may itself be an MPI program on this node; SLURM_JOB_ID and its like stay. What such a
   program needs of them is given back by `env`: -model_command "env OMPI_MCA_btl=self,vader mpiexec -n 2 ./model {state} {output}".

   A test set, and each 500 samples of a set that is scored at the end, are predicted as batches of their own: with more samples or
   mini-batches the command must look at {input}.

   Notes on failures:
   A member fails (KAL_MEMBER_FAILED) if its command cannot be started, ends with another status than 0 or by a signal, runs past the time-out, or
   writes no output or one of the wrong size; it is KAL_MEMBER_NONFINITE if a number is not finite, which is not tried again. The run goes on. A rank
   prints one line for each group of members in which some failed, ten in a run, with their number, the first reason and the end of that one's output.

   Each run of a command has a scratch folder of its own that nobody else can enter, and a process group of its own. What is
   left of the group when the command has ended is killed, as is the command when its rank dies.

.seealso: KalModelSetType()
M*/
PetscErrorCode KalModelCreate_Command(KalModel model)
{
  KalCommand *command;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&command));
  command->parallel = 1;
  command->timeout  = 3600.0;
  PetscCall(PetscStrncpy(command->mean, "0", sizeof command->mean));
  PetscCall(PetscStrncpy(command->spread, "1", sizeof command->spread));
  model->data               = command;
  model->ops.setfromoptions = SetFromOptions;
  model->ops.setup          = SetUp;
  model->ops.initial        = Initial;
  model->ops.spread         = Spread;
  model->ops.mean           = Mean;
  model->ops.layout         = Layout;
  model->ops.memory         = Memory;
  model->ops.view           = View;
  model->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
