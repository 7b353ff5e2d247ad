/* ranks: 7 */
/*
  -run_ranks_per_member: the bits of members that one rank runs, for every kind of points that a method asks for, in groups of 2 and 3 of 2, 3 and 6
  ranks of one launch; of a model that one rank of a group runs, one that parts a batch, and one that computes in parallel itself.
*/
#include "subcomm.h"

#define ENTRIES 12
#define SAMPLES 75
#define INPUTS  3
#define MOST    32

typedef struct {
  PetscInt failing, nonfinite; /* members that do not come through in one cycle each, or -1 */
  PetscInt runs[MOST];         /* of each member, on this rank */
} Work;

/* What is done together ends on the first rank; what the others are left with must not matter. */
static PetscErrorCode Collect(KalModel model, PetscInt count, PetscScalar *x)
{
  MPI_Comm    group;
  PetscMPIInt place;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetMemberComm(model, &group));
  PetscCallMPI(MPI_Comm_rank(group, &place));
  PetscCallMPI(MPI_Reduce(place ? x : MPI_IN_PLACE, x, (PetscMPIInt)count, MPIU_SCALAR, MPI_SUM, 0, group));
  for (PetscInt i = 0; place && i < count; i++) x[i] = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether an entry is this rank's. Without groups all are. */
static PetscErrorCode Mine(KalModel model, PetscInt i, PetscBool *mine)
{
  KalModelOps *ops;
  MPI_Comm     group;
  PetscMPIInt  place, size;

  PetscFunctionBeginUser;
  *mine = PETSC_TRUE;
  PetscCall(KalModelGetOps(model, &ops));
  if (ops->together != KAL_TOGETHER_ALL) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalModelGetMemberComm(model, &group));
  PetscCallMPI(MPI_Comm_rank(group, &place));
  PetscCallMPI(MPI_Comm_size(group, &size));
  *mine = (PetscBool)(i % size == place);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The member is taken down; it fails in the third, or is not finite in the fourth cycle. */
static PetscErrorCode Labour(KalModel model, PetscInt member, PetscReal *value, KalStatus *status)
{
  Work        *work;
  KalKey       key;
  KalModelOps *ops;

  PetscFunctionBeginUser;
  PetscCall(KalModelShellGetContext(model, &work));
  PetscCall(KalModelGetOps(model, &ops));
  PetscCall(KalModelGetKey(model, &key));
  if (key.purpose != KAL_DRAW_NOISE) PetscFunctionReturn(PETSC_SUCCESS);
  work->runs[member]++;
  if (member == work->failing && key.cycle == 3) *status = KAL_MEMBER_FAILED;
  if (member == work->nonfinite && key.cycle == 4) *value = NAN;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Propagate(KalModel model, PetscInt member, PetscReal from, PetscReal to, PetscScalar *x, KalStatus *status)
{
  PetscReal    noise[ENTRIES], next[ENTRIES];
  KalKey       key;
  KalModelOps *ops;
  PetscBool    mine;
  PetscInt     i;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetKey(model, &key));
  PetscCall(KalModelGetOps(model, &ops));
  key.member = member;
  PetscCall(KalDrawNormal(key, 0, ENTRIES, noise));
  for (i = 0; i < ENTRIES; i++) {
    PetscCall(Mine(model, i, &mine));
    next[i] = mine ? x[i] + (to - from) * sin(2.0 * x[(i + 1) % ENTRIES]) + 0.1 * noise[i] : 0.0;
  }
  for (i = 0; i < ENTRIES; i++) x[i] = next[i];
  if (ops->together == KAL_TOGETHER_ALL) PetscCall(Collect(model, ENTRIES, x));
  PetscCall(Labour(model, member, &x[ENTRIES / 2], status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Observe(KalModel model, PetscInt member, PetscReal stage, const PetscScalar *x, const KalBatch *batch, PetscScalar *y, KalStatus *status)
{
  const double *input = (const double *)batch->input;
  KalModelOps  *ops;
  PetscBool     mine;
  PetscInt      s, i;

  PetscFunctionBeginUser;
  (void)stage;
  PetscCall(KalModelGetOps(model, &ops));
  for (s = 0; s < batch->samples; s++) {
    PetscCall(Mine(model, s, &mine));
    y[s] = 0.0;
    for (i = 0; mine && i < ENTRIES; i++) y[s] += x[i] * sin((1.0 + (double)i) * input[s * INPUTS + i % INPUTS]);
  }
  if (ops->together == KAL_TOGETHER_ALL) PetscCall(Collect(model, batch->samples, y));
  PetscCall(Labour(model, member, &y[batch->samples / 2], status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeRun(MPI_Comm comm, PetscBool timed, KalTogether together, Work *work, KalRun *run)
{
  PetscScalar     mean[ENTRIES];
  PetscReal       deviation[ENTRIES];
  double          input[SAMPLES * INPUTS], target[SAMPLES];
  KalModel        model;
  KalModelOps    *ops;
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
  PetscCall(KalModelGetOps(model, &ops));
  ops->together = together;
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

/* Of the members, their mean and the result line with its scores, without the seconds. */
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

typedef struct {
  const char *name;
  PetscBool   timed;
  PetscInt    failing, nonfinite;
  const char *options;
} Case;

static const Case cases[] = {
    {"filter with failing members",     PETSC_TRUE,  2,  7,  "-analysis_type etkf -ensemble_size 11 -run_cycles 5"                                                                                                },
    {"fewer members than groups",       PETSC_TRUE,  -1, -1, "-analysis_type enkf -ensemble_size 2 -run_cycles 5 -run_divergence 0"                                                                               },
    {"filter by messages",              PETSC_TRUE,  -1, -1, "-analysis_type etkf -ensemble_size 5 -run_cycles 3 -ensemble_exchange messages"                                                                     },
    {"smoother",                        PETSC_TRUE,  -1, -1, "-analysis_type ienks -ienks_lag 2 -ienks_iterations 2 -ensemble_size 9 -run_cycles 4"                                                               },
    {"climatology",                     PETSC_TRUE,  -1, -1, "-analysis_type oi -ensemble_size 1 -run_cycles 3 -run_climatology_cycles 40"                                                                        },
    {"stored members of a data set",    PETSC_FALSE, 3,  4,  "-analysis_type etki -ensemble_size 10 -run_cycles 5 -run_evaluate_every 2"                                                                          },
    {"the same by messages, scored",    PETSC_FALSE, 3,  4,  "-analysis_type eki -ensemble_size 10 -run_cycles 5 -ensemble_exchange messages -run_evaluate_every 2 -run_evaluate_ensemble 1"                      },
    {"extrapolated members",            PETSC_FALSE, 4,  3,  "-analysis_type eki -eki_momentum nesterov -ensemble_size 10 -run_cycles 5"                                                                          },
    {"extrapolated members, messages",  PETSC_FALSE, 4,  3,  "-analysis_type eki -eki_momentum nesterov -ensemble_size 10 -run_cycles 5 -ensemble_exchange messages"                                              },
    {"generated members, mini-batches", PETSC_FALSE, 3,  -1, "-analysis_type haber -haber_antithetic -haber_line_search 3 -haber_spread 0.1 -haber_step 0.5 -ensemble_size 8 -run_cycles 5 -observations_batch 40"},
};
#define CASES ((int)PETSC_STATIC_ARRAY_LENGTH(cases))

static const KalTogether ways[] = {KAL_TOGETHER_NOT, KAL_TOGETHER_SAMPLES, KAL_TOGETHER_ALL};

static PetscErrorCode RunOne(MPI_Comm comm, const Case *c, KalTogether together, int span, PetscInt64 *checksum, PetscInt runs[MOST])
{
  Work   work = {.failing = c->failing, .nonfinite = c->nonfinite};
  KalRun run;
  char   option[64];

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-run_ranks_per_member %d", span));
  PetscCall(PetscOptionsInsertString(NULL, "-run_monitor_every 0 -run_progress 0 -run_evaluate_ensemble 0 -run_seed 8"));
  PetscCall(PetscOptionsInsertString(NULL, c->timed ? "-observations_type twin -observations_noise 0.25 -observations_stride 2" : "-observations_noise 0.1 -model_precision double"));
  PetscCall(PetscOptionsInsertString(NULL, c->options));
  if (strstr(c->name, "mini-batches") == NULL && !c->timed) PetscCall(PetscOptionsInsertString(NULL, "-observations_batch 75"));
  PetscCall(PetscOptionsInsertString(NULL, option));
  PetscCall(MakeRun(comm, c->timed, together, &work, &run));
  PetscCall(KalRunSolve(run));
  PetscCall(Checksum(run, checksum));
  PetscCall(KalRunDestroy(&run));
  PetscCallMPI(MPI_Allreduce(work.runs, runs, MOST, MPIU_INT, MPI_SUM, comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SameBitsOn(MPI_Comm comm, int size, PetscInt64 known[CASES])
{
  PetscInt64 checksum;
  PetscInt   runs[MOST];

  PetscFunctionBeginUser;
  for (int c = 0; c < CASES; c += KALTEST_STRIDE) {
    for (int span = size == 1 ? 1 : 2; span <= 3 && span <= size; span++) {
      if (size % span) continue;
      for (int w = 0; w < (span == 1 ? 1 : 3); w++) {
        PetscCall(RunOne(comm, &cases[c], ways[w], span, &checksum, runs));
        if (size == 1) known[c] = checksum;
        if (checksum != known[c]) print_error("%s, %d ranks in groups of %d, way %d: other bits\n", cases[c].name, size, span, w);
        KalHolds(checksum == known[c]);
        KalHolds(ways[w] != KAL_TOGETHER_ALL || runs[0] % span == 0); /* each time by all of a group */
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void GroupsChangeNoBit(void **state)
{
  static const int counts[]     = {1, 2, 3, 6};
  PetscInt64       known[CASES] = {0};
  PetscMPIInt      rank;

  (void)state;
  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(counts); k++) {
    MPI_Comm comm;
    int      error = 0;

    (void)MPI_Comm_split(PETSC_COMM_WORLD, rank < counts[k] ? 0 : MPI_UNDEFINED, 0, &comm);
    (void)MPI_Bcast(known, CASES, MPI_INT64_T, 0, PETSC_COMM_WORLD);
    kal_holds = 1;
    if (comm != MPI_COMM_NULL) {
      error = (int)SameBitsOn(comm, counts[k], known);
      if (error) print_error("on %d ranks: error %d: %s\n", counts[k], error, KalTestMessage());
      else (void)MPI_Comm_free(&comm);
    }
    KalAssert(kal_holds && !error);
  }
}

static void WhatMakesNoSenseIsRefused(void **state)
{
  static const char *const bad[][2] = {
      {"-run_ranks_per_member 2",                       "7 ranks do not make groups of 2"                },
      {"-run_ranks_per_member 14",                      "7 ranks do not make groups of 14"               },
      {"-run_ranks_per_member 7 -run_schedule dynamic", "members that go from rank to rank have no group"},
      {"-run_ranks_per_member 0",                       "bound 1"                                        },
  };
  Work   work = {.failing = -1, .nonfinite = -1};
  KalRun run;

  (void)state;
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(bad); k++) {
    PetscErrorCode error;

    KalCall(PetscOptionsClear(NULL));
    KalCall(PetscOptionsInsertString(NULL, "-observations_type twin -observations_noise 0.25 -analysis_type etkf -ensemble_size 5"));
    KalCall(PetscOptionsInsertString(NULL, bad[k][0]));
    error = k == 3 ? 0 : MakeRun(PETSC_COMM_WORLD, PETSC_TRUE, KAL_TOGETHER_NOT, &work, &run);
    KalAssert(!error);
    if (k == 3) {
      KalCall(KalRunCreate(PETSC_COMM_WORLD, &run));
      KalRefused(KalRunSetFromOptions(run), bad[k][1]);
    } else KalRefused(KalRunSetUp(run), bad[k][1]);
    KalCall(KalRunDestroy(&run));
  }
  KalCall(PetscOptionsClear(NULL));
}

int main(int argc, char **argv)
{
  const struct CMUnitTest tests[] = {cmocka_unit_test(GroupsChangeNoBit), cmocka_unit_test(WhatMakesNoSenseIsRefused)};

  return KalTestMain(argc, argv, "groups of ranks", tests, PETSC_STATIC_ARRAY_LENGTH(tests));
}
