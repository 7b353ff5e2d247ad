/* ranks: 7 */
/*
  -run_schedule dynamic: the bits of the static schedule for every kind of points that a method asks for, whoever runs them, on 1, 2, 3, 5
  and 7 ranks of one launch; members of unequal cost are run by ranks that do not hold them.
*/
#include "subcomm.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES 12
#define SAMPLES 9
#define INPUTS  3
#define MOST    32

/* What the model does, and a record of what it did on this rank. */
typedef struct {
  PetscInt microseconds[MOST]; /* that a member takes */
  PetscInt failing, nonfinite; /* members that do not come through in one cycle each, or -1 */
  PetscInt runs[MOST];         /* of each member */
} Work;

static void Sleep(PetscInt microseconds)
{
  const struct timespec length = {.tv_sec = 0, .tv_nsec = 1000L * (long)microseconds};

  if (microseconds) (void)nanosleep(&length, NULL);
}

/* The work of a member: its time goes by, and it is taken down. Fails in the third, or is not finite in the fourth cycle. */
static PetscErrorCode Labour(KalModel model, PetscInt member, PetscReal *value, KalStatus *status)
{
  Work  *work;
  KalKey key;

  PetscFunctionBeginUser;
  PetscCall(KalModelShellGetContext(model, &work));
  PetscCall(KalModelGetKey(model, &key));
  if (key.purpose != KAL_DRAW_NOISE) PetscFunctionReturn(PETSC_SUCCESS);
  Sleep(work->microseconds[member]);
  work->runs[member]++;
  if (member == work->failing && key.cycle == 3) *status = KAL_MEMBER_FAILED;
  if (member == work->nonfinite && key.cycle == 4) *value = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In time: pulled by its neighbours, with noise of its own. */
static PetscErrorCode Propagate(KalModel model, PetscInt member, PetscReal from, PetscReal to, PetscScalar *x, KalStatus *status)
{
  PetscReal noise[ENTRIES];
  KalKey    key;
  PetscInt  i;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetKey(model, &key));
  key.member = member;
  PetscCall(KalDrawNormal(key, 0, ENTRIES, noise));
  for (i = 0; i < ENTRIES; i++) x[i] += (to - from) * sin(2.0 * x[(i + 1) % ENTRIES]) + 0.1 * noise[i];
  PetscCall(Labour(model, member, &x[ENTRIES / 2], status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of a data set: a sum of sines. */
static PetscErrorCode Observe(KalModel model, PetscInt member, PetscReal stage, const PetscScalar *x, const KalBatch *batch, PetscScalar *y, KalStatus *status)
{
  const double *input = (const double *)batch->input;
  PetscInt      s, i;

  PetscFunctionBeginUser;
  (void)stage;
  for (s = 0; s < batch->samples; s++) {
    y[s] = 0.0;
    for (i = 0; i < ENTRIES; i++) y[s] += x[i] * sin((1.0 + (double)i) * input[s * INPUTS + i % INPUTS]);
  }
  PetscCall(Labour(model, member, &y[batch->samples / 2], status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeRun(MPI_Comm comm, PetscBool timed, Work *work, KalRun *run)
{
  PetscScalar     mean[ENTRIES];
  PetscReal       deviation[ENTRIES];
  double          input[SAMPLES * INPUTS], target[SAMPLES];
  KalModel        model;
  KalObservations observations;
  PetscInt        i;

  PetscFunctionBeginUser;
  for (i = 0; i < ENTRIES; i++) {
    mean[i]      = KalTestNumber(1, (uint64_t)i);
    deviation[i] = 0.8;
  }
  for (i = 0; i < SAMPLES * INPUTS; i++) input[i] = KalTestNumber(2, (uint64_t)i);
  for (i = 0; i < SAMPLES; i++) target[i] = KalTestNumber(3, (uint64_t)i);
  if (PETSC_STDOUT == stdout) PETSC_STDOUT = fopen("/dev/null", "w"); /* not put back: PETSc's viewers keep it */
  PetscCall(KalModelCreateShell(comm, ENTRIES, work, &model));
  PetscCall(KalModelShellSetPrior(model, mean, deviation));
  PetscCall(KalRunCreate(comm, run));
  PetscCall(KalRunSetModel(*run, model));
  PetscCall(KalRunGetObservations(*run, &observations));
  if (timed) {
    PetscCall(KalModelShellSetPropagate(model, Propagate));
    PetscCall(KalModelSetStep(model, 0.1));
  } else {
    PetscCall(KalModelShellSetObserve(model, Observe));
    PetscCall(KalModelShellSetDataSizes(model, INPUTS, 1));
    PetscCall(KalObservationsSetArrays(observations, KAL_SET_TRAIN, SAMPLES, INPUTS, input, 1, target));
  }
  PetscCall(KalRunSetFromOptions(*run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetOptions(const char *const options[], int count)
{
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, "-run_monitor_every 0 -run_progress 0 -run_evaluate_ensemble 0 -run_seed 8 -run_survivors 3"));
  for (int k = 0; k < count; k++) PetscCall(PetscOptionsInsertString(NULL, options[k]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Checksum(KalRun run, PetscInt64 *checksum)
{
  KalEnsemble        ensemble;
  const PetscScalar *mean;

  PetscFunctionBeginUser;
  PetscCall(KalRunGetEnsemble(run, &ensemble));
  PetscCall(KalEnsembleChecksum(ensemble, checksum));
  PetscCall(KalEnsembleGetMean(ensemble, &mean));
  PetscCall(KalDigest(mean, ENTRIES * sizeof *mean, *checksum, checksum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Runs of each member on all ranks. */
static PetscErrorCode CountRuns(MPI_Comm comm, const Work *work, PetscInt runs[MOST])
{
  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(work->runs, runs, MOST, MPIU_INT, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef struct {
  const char *name;
  PetscBool   timed;
  PetscInt    failing, nonfinite;
  const char *options;
} Case;

static const Case cases[] = {
    {"filter",                       PETSC_TRUE,  -1, -1, "-analysis_type etkf -ensemble_size 11 -run_cycles 4"                                                                         },
    {"filter with failing members",  PETSC_TRUE,  2,  7,  "-analysis_type etkf -ensemble_size 11 -run_cycles 5"                                                                         },
    {"fewer members than ranks",     PETSC_TRUE,  -1, 3,  "-analysis_type enkf -ensemble_size 4 -run_cycles 5"                                                                          },
    {"smoother",                     PETSC_TRUE,  -1, -1, "-analysis_type ienks -ienks_lag 2 -ienks_iterations 2 -ensemble_size 9 -run_cycles 4"                                        },
    {"stored members of a data set", PETSC_FALSE, 3,  4,  "-analysis_type etki -ensemble_size 10 -run_cycles 5"                                                                         },
    {"extrapolated members",         PETSC_FALSE, 4,  3,  "-analysis_type eki -eki_momentum nesterov -ensemble_size 10 -run_cycles 5"                                                   },
    {"generated members",            PETSC_FALSE, 3,  -1, "-analysis_type haber -haber_antithetic -haber_line_search 3 -haber_spread 0.1 -haber_step 0.5 -ensemble_size 8 -run_cycles 5"},
};
#define CASES ((int)PETSC_STATIC_ARRAY_LENGTH(cases))

static const char *const schedules[] = {
    "-run_schedule static",
    "-run_schedule dynamic",
    "-run_schedule dynamic -run_schedule_members 3",
    "-run_schedule dynamic -ensemble_exchange messages -run_schedule_members 2",
};
#define SCHEDULES ((int)PETSC_STATIC_ARRAY_LENGTH(schedules))

/* One case by one schedule; who is quick and who is slow differs from schedule to schedule, and with it who runs what. */
static PetscErrorCode RunOne(MPI_Comm comm, const Case *c, int s, PetscInt64 *checksum, PetscInt runs[MOST])
{
  const char *const options[2] = {c->options, schedules[s]};
  Work              work       = {.failing = c->failing, .nonfinite = c->nonfinite};
  KalRun            run;

  PetscFunctionBeginUser;
  for (int j = 0; j < MOST; j++) work.microseconds[j] = KalTestNumber(20 + (uint64_t)s, (uint64_t)j) > 0.4 ? 600 : 0;
  PetscCall(SetOptions(options, 2));
  if (c->timed) PetscCall(PetscOptionsInsertString(NULL, "-observations_type twin -observations_noise 0.25 -observations_stride 2"));
  else PetscCall(PetscOptionsInsertString(NULL, "-observations_noise 0.1 -model_precision double"));
  PetscCall(MakeRun(comm, c->timed, &work, &run));
  PetscCall(KalRunSolve(run));
  PetscCall(Checksum(run, checksum));
  PetscCall(KalRunDestroy(&run));
  PetscCall(CountRuns(comm, &work, runs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SameBitsOn(MPI_Comm comm, void *ctx)
{
  PetscInt64 checksum, first = 0;
  PetscInt   runs[MOST], once[MOST];

  PetscFunctionBeginUser;
  (void)ctx;
  for (int c = 0; c < CASES; c++) {
    for (int s = 0; s < SCHEDULES; s++) {
      PetscCall(RunOne(comm, &cases[c], s, &checksum, runs));
      if (s == 0) {
        first = checksum;
        memcpy(once, runs, sizeof once);
        KalHolds(once[1] >= 4);
        PetscCall(KalSameBits(comm, &checksum, sizeof checksum));
      }
      if (checksum != first || memcmp(once, runs, sizeof once)) print_error("%s, %s: other bits, or other members run\n", cases[c].name, schedules[s]);
      KalHolds(checksum == first);
      KalHolds(!memcmp(once, runs, sizeof once)); /* each as often as by the static schedule */
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void TheScheduleChangesNoBit(void **state)
{
  (void)state;
  KalOnEachCount(SameBitsOn, NULL);
}

#define UNEQUAL 16
/* Members 0 to 3 take 20 ms and the others 1 ms: how long a cycle takes, and how many members were run by ranks that do not hold them. */
static PetscErrorCode Unequal(MPI_Comm comm, const char *schedule, double *seconds, PetscInt *moved)
{
  const PetscInt    cycles     = 3;
  const char *const options[3] = {"-analysis_type etkf -ensemble_size 16 -run_cycles 3", "-observations_type twin -observations_noise 0.25", schedule};
  Work              work       = {.failing = -1, .nonfinite = -1};
  PetscMPIInt       rank, size;
  PetscInt          j;
  KalRun            run;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (j = 0; j < UNEQUAL; j++) work.microseconds[j] = j < 4 ? 20000 : 1000;
  PetscCall(SetOptions(options, 3));
  PetscCall(MakeRun(comm, PETSC_TRUE, &work, &run));
  PetscCall(KalRunSetUp(run));
  PetscCallMPI(MPI_Barrier(comm));
  *seconds = MPI_Wtime();
  PetscCall(KalRunSolve(run));
  *seconds = (MPI_Wtime() - *seconds) / (double)cycles;
  PetscCallMPI(MPI_Bcast(seconds, 1, MPI_DOUBLE, 0, comm));
  PetscCall(KalRunDestroy(&run));
  for (*moved = 0, j = 0; j < UNEQUAL; j++) {
    if (j < UNEQUAL * rank / size || j >= UNEQUAL * (rank + 1) / size) *moved += work.runs[j];
  }
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, moved, 1, MPIU_INT, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The machine may be busy with other things: it has five tries to be quicker with the queue, which takes 0.6 or 0.3 of the time when idle. */
static PetscErrorCode UnequalOn(MPI_Comm comm, const char *exchange)
{
  char        schedule[128];
  double      fixed = 0.0, queue = 0.0;
  PetscInt    moved;
  PetscMPIInt size;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_size(comm, &size));
  for (int k = 0; k < 5 && queue >= fixed; k++) {
    PetscCall(PetscSNPrintf(schedule, sizeof schedule, "-run_schedule static -ensemble_exchange %s", exchange));
    PetscCall(Unequal(comm, schedule, &fixed, &moved));
    KalHolds(moved == 0);
    PetscCall(PetscSNPrintf(schedule, sizeof schedule, "-run_schedule dynamic -ensemble_exchange %s", exchange));
    PetscCall(Unequal(comm, schedule, &queue, &moved));
    KalHolds(moved >= 1);
  }
  print_message("%d ranks, %s: %.1f ms a cycle by the static schedule, %.1f ms by the queue, %d members moved\n", size, exchange, 1e3 * fixed, 1e3 * queue, (int)moved);
  KalHolds(queue < fixed);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void IdleRanksTakeOthersMembers(void **state)
{
  static const char *const exchanges[] = {"shared", "messages"};
  static const int         counts[]    = {2, 4};
  PetscMPIInt              rank;

  (void)state;
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (int c = 0; c < 2; c++) {
    MPI_Comm comm;
    int      error = 0;

    (void)MPI_Comm_split(PETSC_COMM_WORLD, rank < counts[c] ? 0 : MPI_UNDEFINED, 0, &comm);
    kal_holds = 1;
    for (int x = 0; x < 2 && comm != MPI_COMM_NULL && !error; x++) error = (int)UnequalOn(comm, exchanges[x]);
    if (comm != MPI_COMM_NULL && !error) (void)MPI_Comm_free(&comm);
    KalAssert(kal_holds && !error);
  }
}

/* Too few survivors end the run on every rank, wherever they were run. */
static void TooFewSurvivorsEndTheRun(void **state)
{
  static const char *const options[] = {"-analysis_type etkf -ensemble_size 5 -run_cycles 4 -run_survivors 5", "-observations_type twin -observations_noise 0.25 -run_schedule dynamic"};
  Work                     work      = {.failing = 1, .nonfinite = -1};
  KalRun                   run;

  (void)state;
  KalCall(SetOptions(options, 2));
  KalCall(MakeRun(PETSC_COMM_WORLD, PETSC_TRUE, &work, &run));
  KalRefused(KalRunSolve(run), "Only 4 of 5 members survived cycle 3");
  KalCall(KalRunDestroy(&run));
}

static void WhatMakesNoSenseIsRefused(void **state)
{
  static const char *const bad[][2] = {
      {"-run_schedule_members 0",           "bound 1"  },
      {"-run_schedule sometimes",           "sometimes"},
      {"-run_schedule_members 99999999999", "too large"}
  };
  KalRun run;

  (void)state;
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(bad); k++) {
    KalCall(SetOptions(&bad[k][0], 1));
    KalCall(KalRunCreate(PETSC_COMM_WORLD, &run));
    KalRefused(KalRunSetFromOptions(run), bad[k][1]);
    KalCall(KalRunDestroy(&run));
  }
  KalCall(PetscOptionsClear(NULL));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(TheScheduleChangesNoBit), cmocka_unit_test(IdleRanksTakeOthersMembers), cmocka_unit_test(TooFewSurvivorsEndTheRun), cmocka_unit_test(WhatMakesNoSenseIsRefused)};

  return KalTestMain(argc, argv, "members by a queue", tests, sizeof tests / sizeof tests[0]);
}
