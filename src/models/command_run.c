/* The model type "command" at work: one child a member, a few at once, and what becomes of the members. */
#include <models/commandimpl.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#define KAL_WARNINGS_MOST 10 /* lines that a rank prints in a run */

/* What is asked of all columns. */
typedef struct {
  KalModel          model;
  PetscReal         from, to;
  const KalColumns *columns;
  const KalBatch   *batch; /* NULL: a forecast */
  PetscScalar     **y;
  KalStatus        *status;
  double           *input; /* the batch's inputs as doubles, or NULL */
  PetscInt          inputs;
  PetscInt          failed; /* members so far */
  char              first[KAL_COMMAND_REASON];
} KalJob;

/* A child at work for one column. */
typedef struct {
  PetscInt   column; /* -1: nobody */
  PetscInt   tries;
  KalProcess process;
  char       folder[PETSC_MAX_PATH_LEN];
} KalSlot;

static PetscInt64 Wanted(const KalJob *job)
{
  return job->batch ? (PetscInt64)job->batch->samples * job->batch->outputs : (PetscInt64)job->columns->size;
}

static void PathIn(const KalSlot *slot, const char *name, char path[PETSC_MAX_PATH_LEN])
{
  (void)PetscSNPrintf(path, PETSC_MAX_PATH_LEN, "%s/%s", slot->folder, name);
}

/* A number that follows from run, cycle and member alone, for a model that draws its own noise. */
static unsigned int Seed(const KalJob *job, PetscInt member)
{
  unsigned int bits = 0;
  KalKey       key  = job->model->key;

  key.member = member;
  (void)KalDrawBits(key, 0, 1, &bits);
  return bits;
}

/* The arguments for one column: every place has its value. */
static PetscBool Arguments(const KalJob *job, const KalSlot *slot, char ***arguments)
{
  const KalCommand *command = (const KalCommand *)job->model->data;
  const PetscInt    member  = job->columns->first + slot->column;
  char              state[PETSC_MAX_PATH_LEN], output[PETSC_MAX_PATH_LEN], input[PETSC_MAX_PATH_LEN], number[7][32];
  const KalPlace    places[] = {
         {"state",   state                                                                   },
         {"output",  output                                                                  },
         {"input",   input                                                                   },
         {"scratch", slot->folder                                                            },
         {"task",    KalCommandTasks[job->batch ? KAL_COMMAND_OBSERVE : KAL_COMMAND_FORECAST]},
         {"member",  number[0]                                                               },
         {"from",    number[1]                                                               },
         {"to",      number[2]                                                               },
         {"size",    number[3]                                                               },
         {"samples", number[4]                                                               },
         {"outputs", number[5]                                                               },
         {"seed",    number[6]                                                               },
  };

  PathIn(slot, "state", state);
  PathIn(slot, "output", output);
  PathIn(slot, "input", input);
  (void)snprintf(number[0], sizeof number[0], "%lld", (long long)member);
  (void)snprintf(number[1], sizeof number[1], "%.17g", (double)job->from);
  (void)snprintf(number[2], sizeof number[2], "%.17g", (double)job->to);
  (void)snprintf(number[3], sizeof number[3], "%lld", (long long)job->columns->size);
  (void)snprintf(number[4], sizeof number[4], "%lld", (long long)(job->batch ? job->batch->samples : 0));
  (void)snprintf(number[5], sizeof number[5], "%lld", (long long)(job->batch ? job->batch->outputs : 0));
  (void)snprintf(number[6], sizeof number[6], "%u", Seed(job, member));
  return KalWordsFill(&command->words, places, arguments);
}

/* Makes the folder, writes what the child reads, and starts it. */
static PetscBool Begin(const KalJob *job, KalSlot *slot, size_t size, char *why)
{
  const KalCommand *command   = (const KalCommand *)job->model->data;
  char            **arguments = NULL, path[PETSC_MAX_PATH_LEN];
  PetscBool         ok;

  if (!KalScratchCreate(command->scratch, job->columns->first + slot->column, sizeof slot->folder, slot->folder, size, why)) return PETSC_FALSE;
  PathIn(slot, "state", path);
  ok = KalExchangeWrite(command->format, path, "state", job->columns->size, 1, job->columns->column[slot->column], size, why);
  if (ok && job->input) {
    PathIn(slot, "input", path);
    ok = KalExchangeWrite(command->format, path, "input", job->batch->samples, job->inputs, job->input, size, why);
  }
  if (ok && !Arguments(job, slot, &arguments)) {
    ok = PETSC_FALSE;
    (void)PetscSNPrintf(why, size, "an argument has more than %d characters when it is filled in", KAL_COMMAND_LENGTH - 1);
  }
  PathIn(slot, "log", path);
  if (ok) ok = KalProcessStart(command->program, arguments, command->environment, path, &slot->process, size, why);
  KalWordsFree(arguments);
  return ok;
}

/* How the child ended, where that is not well. */
static PetscBool EndedWell(const KalJob *job, const KalSlot *slot, int status, size_t size, char *why)
{
  const KalCommand *command = (const KalCommand *)job->model->data;

  if (slot->process.terminated) (void)snprintf(why, size, "it ran longer than %g seconds (-command_timeout) and was %s", (double)command->timeout, slot->process.killed ? "killed" : "told to end");
  else if (status < 0) (void)PetscSNPrintf(why, size, "what became of it could not be learnt");
  else if (WIFSIGNALED(status)) (void)PetscSNPrintf(why, size, "it ended by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
  else if (!WIFEXITED(status) || WEXITSTATUS(status)) (void)PetscSNPrintf(why, size, "it ended with exit status %d", WEXITSTATUS(status));
  else return PETSC_TRUE;
  return PETSC_FALSE;
}

/* The child's numbers to where they belong, once all are known to be good: until then a state stays as it was. */
static KalMemberState Take(const KalJob *job, const KalSlot *slot, size_t size, char *why)
{
  const KalCommand *command = (const KalCommand *)job->model->data;
  const PetscInt64  count   = Wanted(job);
  char              path[PETSC_MAX_PATH_LEN];

  PathIn(slot, "output", path);
  if (!KalExchangeRead(command->format, path, "output", count, command->work, size, why)) return KAL_MEMBER_FAILED;
  for (PetscInt64 i = 0; i < count; i++) {
    if (!PetscIsInfOrNanReal(command->work[i])) continue;
    (void)snprintf(why, size, "number %lld of its output is %g", (long long)i, command->work[i]);
    return KAL_MEMBER_NONFINITE;
  }
  memcpy(job->batch ? job->y[slot->column] : job->columns->column[slot->column], command->work, (size_t)count * sizeof(double));
  return KAL_MEMBER_OK;
}

static void RemoveFolder(const KalJob *job, KalSlot *slot)
{
  KalCommand *command = (KalCommand *)job->model->data;

  if (!slot->folder[0] || command->keep) return;
  if (!KalScratchRemove(slot->folder) && command->warned < KAL_WARNINGS_MOST) {
    command->warned++;
    (void)fprintf(stderr, "kalmia: warning: the scratch folder %s cannot be removed\n", slot->folder);
  }
  slot->folder[0] = '\0';
}

/* Why a member failed, with the end of its command's output; the first one is kept. */
static void Failed(KalJob *job, const KalSlot *slot, KalMemberState state, const char *why)
{
  const KalCommand *command = (const KalCommand *)job->model->data;
  char              log[PETSC_MAX_PATH_LEN], tail[KAL_COMMAND_REASON / 2] = "", again[48] = "", kept[PETSC_MAX_PATH_LEN + 16] = "";

  job->status[slot->column] = (KalStatus)state;
  if (job->failed++) return;
  PathIn(slot, "log", log);
  if (slot->folder[0]) KalScratchTail(log, sizeof tail, tail);
  if (slot->tries > 1) (void)snprintf(again, sizeof again, ", at the last of %lld tries", (long long)slot->tries);
  if (command->keep && slot->folder[0]) (void)snprintf(kept, sizeof kept, "; kept in %s", slot->folder);
  (void)PetscSNPrintf(job->first, sizeof job->first, "member %lld%s: %.*s%s%s%s", (long long)(job->columns->first + slot->column), again, KAL_COMMAND_REASON / 3, why, tail[0] ? "; its output ends: " : "", tail, kept);
}

/* Runs the command for a slot's column, again where it may be; PETSC_FALSE where nothing is running in the end. */
static PetscBool Try(KalJob *job, KalSlot *slot)
{
  const KalCommand *command                 = (const KalCommand *)job->model->data;
  char              why[KAL_COMMAND_REASON] = "";

  while (PETSC_TRUE) {
    slot->tries++;
    slot->folder[0] = '\0';
    if (Begin(job, slot, sizeof why, why)) return PETSC_TRUE;
    if (slot->tries > command->retries) Failed(job, slot, KAL_MEMBER_FAILED, why);
    RemoveFolder(job, slot);
    if (slot->tries > command->retries) return PETSC_FALSE;
  }
}

/* After a child's end: its numbers, another try, or a failed member. PETSC_TRUE where another child runs. */
static PetscBool Finish(KalJob *job, KalSlot *slot, int status)
{
  const KalCommand *command                 = (const KalCommand *)job->model->data;
  char              why[KAL_COMMAND_REASON] = "";
  KalMemberState    state                   = KAL_MEMBER_FAILED;
  PetscBool         again;

  if (EndedWell(job, slot, status, sizeof why, why)) state = Take(job, slot, sizeof why, why);
  again = (PetscBool)(state == KAL_MEMBER_FAILED && slot->tries <= command->retries);
  if (state != KAL_MEMBER_OK && !again) Failed(job, slot, state, why);
  RemoveFolder(job, slot);
  return again ? Try(job, slot) : PETSC_FALSE;
}

/* A pause between two looks at the children: short at first, so that a short command costs little beside itself. */
static void Pause(double running)
{
  const double    seconds = PetscMin(0.01, PetscMax(5e-5, running / 16.0));
  struct timespec pause   = {0, (long)(1e9 * seconds)};

  (void)nanosleep(&pause, NULL);
}

/* Looks at every child once; starts one for the next column where one has ended. Returns how many are running. */
static PetscInt Look(KalJob *job, PetscInt count, KalSlot *slots, PetscInt *next)
{
  const KalCommand *command = (const KalCommand *)job->model->data;
  PetscInt          running = 0;
  int               status;

  for (PetscInt s = 0; s < count; s++) {
    KalSlot *slot = &slots[s];

    if (slot->column >= 0 && KalProcessEnded(&slot->process, (double)command->timeout, &status) && !Finish(job, slot, status)) slot->column = -1;
    while (slot->column < 0 && *next < job->columns->count) {
      slot->column = (*next)++;
      slot->tries  = 0;
      if (job->status[slot->column] != KAL_MEMBER_OK || !Try(job, slot)) slot->column = -1;
    }
    running += slot->column >= 0;
  }
  return running;
}

/* Seconds since the youngest child was started, at most 1. */
static double Youngest(PetscInt count, const KalSlot *slots)
{
  const double now     = KalProcessNow();
  double       running = 1.0;

  for (PetscInt s = 0; s < count; s++) {
    if (slots[s].column >= 0) running = PetscMin(running, now - slots[s].process.started);
  }
  return running;
}

static void Warn(const KalJob *job)
{
  KalCommand *command = (KalCommand *)job->model->data;

  if (!job->failed || command->warned >= KAL_WARNINGS_MOST) return;
  command->warned++;
  (void)fprintf(stderr, "kalmia: warning: the command failed for %lld of %lld members (%s); %s%s\n", (long long)job->failed, (long long)job->columns->count, job->batch ? "observe" : "forecast", job->first, command->warned == KAL_WARNINGS_MOST ? "; this rank says no more of it" : "");
  (void)fflush(stderr);
}

/* The inputs of the samples as doubles, or the locations of observations in time. */
static PetscErrorCode Inputs(KalJob *job, double **own)
{
  const KalBatch *batch = job->batch;

  PetscFunctionBeginUser;
  *own        = NULL;
  job->inputs = batch->timed ? KAL_DIMENSIONS : batch->inputs;
  if (batch->timed) {
    PetscCheck(batch->location, PETSC_COMM_SELF, PETSC_ERR_ARG_INCOMP, "-model_command has {input}, but these observations have no locations; leave it out");
    PetscCall(PetscMalloc1((size_t)batch->samples * KAL_DIMENSIONS, own));
    PetscCall(PetscArraycpy(*own, batch->location, (size_t)batch->samples * KAL_DIMENSIONS));
    job->input = *own;
  } else job->input = (double *)batch->input; /* SetUp() refuses single precision; written, not changed */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(KalCommand *command, size_t count)
{
  PetscFunctionBeginUser;
  if (command->works >= count) PetscFunctionReturn(PETSC_SUCCESS);
  command->works = 0;
  PetscCall(PetscFree(command->work));
  PetscCall(PetscMalloc1(count, &command->work));
  command->works = count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalCommandRun - Runs the command for each column whose status is KAL_MEMBER_OK: a forecast in place (batch NULL), or predictions

  From the first child on nothing can fail but members, so that no child is left behind.
*/
PetscErrorCode KalCommandRun(KalModel model, PetscReal from, PetscReal to, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  KalCommand    *command = (KalCommand *)model->data;
  KalJob         job     = {.model = model, .from = from, .to = to, .columns = columns, .batch = batch, .y = y, .status = status};
  const PetscInt count   = PetscMin(command->parallel, columns->count);
  PetscInt       next    = 0;
  KalSlot       *slots;
  double        *own = NULL;

  PetscFunctionBeginUser;
  PetscCall(Work(command, (size_t)Wanted(&job)));
  if (batch && command->input) PetscCall(Inputs(&job, &own));
  PetscCall(PetscCalloc1(count, &slots));
  for (PetscInt s = 0; s < count; s++) slots[s].column = -1;
  while (Look(&job, count, slots, &next)) Pause(Youngest(count, slots));
  Warn(&job);
  PetscCall(PetscFree(slots));
  PetscCall(PetscFree(own));
  PetscFunctionReturn(PETSC_SUCCESS);
}
