/* Set-up of a run: the nouns are made to fit each other, and everything that can be refused is. */
#include "runimpl.h"

static PetscErrorCode SetUpObservations(KalRun run, PetscInt *inputs, PetscInt *outputs)
{
  PetscBool labels;
  PetscReal step;
  PetscInt  n;
  KalDomain domain;
  KalModel  own;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsSetSeed(run->observations, run->seed));
  if (run->timed) {
    PetscCall(KalModelGetStep(run->model, &step));
    PetscCall(KalModelGetOwn(run->model, &own)); /* what is observed is what the model takes, not what it is made of */
    PetscCall(KalModelGetDomain(own, &domain));
    PetscCall(KalModelGetSize(own, &n));
    PetscCall(KalObservationsSetState(run->observations, n, step));
    PetscCall(KalObservationsSetDomain(run->observations, &domain));
  }
  PetscCall(KalObservationsSetUp(run->observations));
  PetscCall(KalObservationsGetSizes(run->observations, KAL_SET_TRAIN, NULL, inputs, outputs));
  PetscCall(KalObservationsGetTargets(run->observations, KAL_SET_TRAIN, NULL, &labels));
  if (labels) *outputs = 0; /* there may be more classes than occur; labels are held against the model's outputs */
  PetscCall(KalObservationsGetCycle(run->observations, NULL, &run->batches));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sizes of the data that are 0 are unknown, and not held against the model. */
static PetscErrorCode SetUpModel(KalRun run, PetscInt inputs, PetscInt outputs)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelSetDataSizes(run->model, inputs, outputs));
  PetscCall(KalModelSetUp(run->model));
  PetscCall(KalModelGetDataSizes(run->model, NULL, &run->outputs));
  PetscCall(KalModelGetSize(run->model, &run->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A model in time stands before its observations, which need to know its state and its step. */
static PetscErrorCode SetUpInTime(KalRun run)
{
  PetscInt  inputs, outputs, last;
  PetscReal start;

  PetscFunctionBeginUser;
  PetscCall(SetUpModel(run, 0, 0));
  PetscCall(SetUpObservations(run, &inputs, &outputs));
  run->outputs = outputs;
  PetscCall(KalObservationsGetLast(run->observations, &last));
  run->cycles = PetscMin(run->cycles, last);
  PetscCall(KalObservationsGetTime(run->observations, -1, &start));
  run->burnin = start + run->burn;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Samples that are looked at together. */
#define KAL_INPUTS_BLOCK 500

/* What the model cannot take of this rank's share of a set, and where it stands. */
static PetscErrorCode CheckShare(KalRun run, KalDataSet set, size_t size, char *text)
{
  PetscInt samples, blocks, end;
  KalBatch batch;
  char     what[400];

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetSizes(run->observations, set, &samples, NULL, NULL));
  blocks = (samples + KAL_INPUTS_BLOCK - 1) / KAL_INPUTS_BLOCK;
  end    = (PetscInt)((PetscInt64)blocks * (run->rank + 1) / run->size);
  for (PetscInt b = (PetscInt)((PetscInt64)blocks * run->rank / run->size); b < end && !text[0]; b++) {
    const PetscInt first = b * KAL_INPUTS_BLOCK, count = PetscMin(KAL_INPUTS_BLOCK, samples - first);

    PetscCall(KalObservationsGetBlock(run->observations, set, first, count, &batch));
    PetscCall(KalModelCheckInputs(run->model, &batch, sizeof what, what));
    if (what[0]) PetscCall(PetscSNPrintf(text, size, "%s (one of samples %" PetscInt_FMT " to %" PetscInt_FMT " of the %s set)", what, first, first + count - 1, set == KAL_SET_TEST ? "test" : "training"));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunCheckInputs - Refuses data with a sample that the model cannot take

  Collective. The test set too, which is used last: what a run has computed would be lost.
*/
PetscErrorCode KalRunCheckInputs(KalRun run)
{
  KalModelOps *ops;
  char         text[512] = "";

  PetscFunctionBeginUser;
  PetscCall(KalModelGetOps(run->model, &ops));
  if (!ops->inputs) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(CheckShare(run, KAL_SET_TRAIN, sizeof text, text));
  if (!text[0]) PetscCall(CheckShare(run, KAL_SET_TEST, sizeof text, text));
  KalCheckAll(run->comm, PETSC_ERR_ARG_OUTOFRANGE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The data learn what the model predicts, and in which precision; then the model sees what it will be given. */
static PetscErrorCode JoinModelAndData(KalRun run)
{
  KalPrecision precision;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsSetOutputs(run->observations, run->outputs));
  PetscCall(KalModelGetPrecision(run->model, &precision));
  PetscCall(KalObservationsSetPrecision(run->observations, precision));
  PetscCall(KalRunCheckInputs(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Observations without an operator of their own need a model that observes itself, and a localization needs to know where they are. */
static PetscErrorCode CheckOperator(KalRun run)
{
  KalModelOps *ops;
  KalBatch     batch;

  PetscFunctionBeginUser;
  if (!run->timed) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalModelGetOps(run->model, &ops));
  PetscCall(KalObservationsNext(run->observations, 0, &batch));
  PetscCheck(batch.linear || ops->observe, run->comm, PETSC_ERR_ARG_INCOMP, "-observations_operator model: this -model_type does not observe itself; leave it out, or name a file with an operator");
  PetscCheck(batch.linear || batch.location || !run->needs.locations, run->comm, PETSC_ERR_ARG_INCOMP, "Localization needs to know where the observations are: the model observes itself, and the observations have no locations");
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Largest n of a method that is dense in n. */
#define KAL_DENSE_MOST 10000

static PetscErrorCode SetUpAnalysis(KalRun run)
{
  KalModelOps *ops;
  char         layout[1024];

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisSetSizes(run->analysis, run->n, run->N));
  PetscCall(KalAnalysisSetSeed(run->analysis, run->seed));
  PetscCall(KalAnalysisSetEpoch(run->analysis, run->batches));
  if (run->timed) PetscCall(KalRunTellDomain(run));
  PetscCall(KalRunTellLayers(run));
  PetscCall(KalRunTellResiduals(run));
  PetscCall(KalAnalysisSetUp(run->analysis));
  PetscCall(KalAnalysisGetNeeds(run->analysis, &run->needs));
  PetscCall(KalRunClimatologyOptions(run)); /* of a method that says so no earlier */
  PetscCheck(!run->needs.timed || run->timed, run->comm, PETSC_ERR_ARG_INCOMP, "The method works on observations in time, not on a data set: -observations_type twin or series");
  PetscCheck(!run->needs.untimed || run->span == 1, run->comm, PETSC_ERR_ARG_INCOMP, "-run_ranks_per_member %d: the method deals its work out to the ranks by itself; leave the option out", (int)run->span);
  PetscCheck(!run->needs.untimed || !run->timed, run->comm, PETSC_ERR_ARG_INCOMP, "The method works on a data set, not on observations in time: take a filter or a smoother");
  PetscCheck(!run->needs.scored || run->evaluateevery, run->comm, PETSC_ERR_ARG_INCOMP, "The ensemble's size follows the scores of the mean network: say with -run_evaluate_every after how many cycles they are taken");
  PetscCheck(!run->needs.generated || !run->timed, run->comm, PETSC_ERR_ARG_INCOMP, "The method generates its members about a mean, and observations in time need members that are kept: take a filter");
  PetscCheck(run->needs.copies <= KAL_RUN_COPIES, run->comm, PETSC_ERR_SUP, "The method keeps %" PetscInt_FMT " copies of the ensemble; at most %d are provided for", run->needs.copies, KAL_RUN_COPIES);
  PetscCall(KalModelGetOps(run->model, &ops));
  PetscCheck(!run->needs.locations || ops->locate, run->comm, PETSC_ERR_ARG_INCOMP, "The method needs locations of the state's entries, which this -model_type does not have");
  if (run->needs.adjoint && !ops->adjoint) {
    PetscCall(KalModelGetLayout(run->model, sizeof layout, layout));
    SETERRQ(run->comm, PETSC_ERR_ARG_INCOMP, "The method takes derivatives, and the model %s has no adjoint: take an mlp with -mlp_activation relu, tanh, sigmoid or linear", layout);
  }
  PetscCheck(!run->needs.residuals || ops->residualsadjoint, run->comm, PETSC_ERR_ARG_INCOMP, "The method fits paths: take -model_type path");
  PetscCheck(!run->needs.tangent || ops->tangent, run->comm, PETSC_ERR_ARG_INCOMP, "The method needs the model's tangent, which this -model_type does not have");
  PetscCheck(!run->needs.dense || run->n <= KAL_DENSE_MOST, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "The method holds an n x n matrix: n = %" PetscInt_FMT " is too large, at most %d is possible", run->n, KAL_DENSE_MOST);
  if (!run->survivors) run->survivors = PetscMax(run->needs.least, (run->N + 1) / 2);
  PetscCheck(run->survivors >= run->needs.least, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-run_survivors %" PetscInt_FMT ": the method needs at least %" PetscInt_FMT " members", run->survivors, run->needs.least);
  PetscCheck(run->survivors <= run->N, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-run_survivors %" PetscInt_FMT ": there are only %" PetscInt_FMT " members", run->survivors, run->N);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The folder of the snapshots must be there and writable before the first cycle, not after the last. */
static PetscErrorCode CheckSnapshotPath(KalRun run)
{
  KalSnapshot snapshot;

  PetscFunctionBeginUser;
  PetscCheck(!run->snapshotevery || run->snapshotpath[0], run->comm, PETSC_ERR_ARG_INCOMP, "-snapshot_every %" PetscInt_FMT " needs a file: -snapshot_path run.h5", run->snapshotevery);
  if (!run->snapshotpath[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalSnapshotOpen(run->comm, run->snapshotpath, KAL_SNAPSHOT_WRITE, &snapshot));
  PetscCall(KalSnapshotClose(&snapshot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a run in time has beside the ensemble. */
static PetscErrorCode TakeTime(KalRun run)
{
  PetscBool truth;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(run->N + 1, &run->ranks));
  PetscCall(KalObservationsHasTruth(run->observations, &truth));
  if (truth) PetscCall(KalRunTruthCreate(run));
  if (run->needs.climatology) PetscCall(KalRunClimatology(run));
  PetscCall(KalRunTellTangent(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The prior mean, to a method that asks for it and from a model that knows it. */
static PetscErrorCode TellPriorMean(KalRun run)
{
  PetscScalar *mean;
  PetscBool    known;

  PetscFunctionBeginUser;
  if (!run->needs.prior) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(run->n, &mean));
  PetscCall(KalModelMean(run->model, mean, &known));
  if (known) PetscCall(KalAnalysisSetPriorMean(run->analysis, mean));
  PetscCall(PetscFree(mean));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeMemory(KalRun run)
{
  PetscInt i;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(run->n, &run->prior));
  PetscCall(KalModelSpread(run->model, run->prior));
  PetscCall(KalAnalysisSetPrior(run->analysis, run->prior));
  PetscCall(TellPriorMean(run));
  PetscCall(PetscCalloc1(run->N, &run->laststatus));
  if (run->needs.generated) {
    PetscCall(PetscCalloc1(run->n, &run->mean));
    PetscCall(KalEnsembleCreateGaussian(run->comm, run->n, run->N, run->mean, run->prior, &run->ensemble));
    PetscCall(KalAnalysisSetMean(run->analysis, run->mean));
  } else {
    PetscCall(KalEnsembleCreate(run->comm, &run->ensemble));
    PetscCall(KalEnsembleSetSizes(run->ensemble, run->n, run->N));
    PetscCall(KalEnsembleSetFromOptions(run->ensemble));
    PetscCall(KalEnsembleSetRemote(run->ensemble, (PetscBool)(run->schedule == KAL_RUN_DYNAMIC)));
    PetscCall(KalRunJoin(run, run->ensemble));
    PetscCall(KalEnsembleSetUp(run->ensemble));
    for (i = 0; i < run->needs.copies; i++) PetscCall(KalEnsembleDuplicate(run->ensemble, &run->copy[i]));
  }
  PetscCall(KalAnalysisSetEnsemble(run->analysis, run->ensemble, run->needs.copies, run->copy));
  if (run->timed) PetscCall(TakeTime(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckOptions(KalRun run)
{
  KSP ksp;

  PetscFunctionBeginUser;
  PetscCheck(run->initialspread >= 0.0, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_initial_spread %g: must not be negative", (double)run->initialspread);
  PetscCheck(run->burn >= 0.0, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-run_burn_in %g: must not be negative", (double)run->burn);
  PetscCheck(run->divergence == 0.0 || run->divergence >= 1.0, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-run_divergence %g: must be at least 1, or 0 not to look", (double)run->divergence);
  PetscCheck(!run->timed || !run->evaluateevery, run->comm, PETSC_ERR_ARG_INCOMP, "-run_evaluate_every %" PetscInt_FMT " scores a network on a data set; a run in time is scored in every cycle, leave it out", run->evaluateevery);
  PetscCheck(!run->initial[0] || !run->restart[0], run->comm, PETSC_ERR_ARG_INCOMP, "-ensemble_initial begins a run, -restart goes on with one: give one of them");
  PetscCall(KalAnalysisGetKSP(run->analysis, &ksp));
  PetscCall(KalOptionsRefuseUnknown(run->comm, ksp ? KAL_SOLVER_HERE : KAL_SOLVER_NONE));
  PetscCall(KalStopCheckOptions(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Dry run: each step is tried whatever became of the one before, so that every error that can be found is told.
*/
static PetscErrorCode DryRun(KalRun run)
{
  PetscErrorCode groups, data, model, joined = PETSC_SUCCESS, analysis, options, path, beginning = PETSC_SUCCESS;
  PetscInt       inputs = 0, outputs = 0;

  PetscFunctionBeginUser;
  groups = KalRunGroup(run);
  if (run->timed) data = model = SetUpInTime(run);
  else {
    data  = SetUpObservations(run, &inputs, &outputs);
    model = SetUpModel(run, data ? 0 : inputs, data ? 0 : outputs);
    if (!data && !model) joined = JoinModelAndData(run);
  }
  if (data) run->batches = 1;
  if (model) run->n = 1; /* the method's own options can be looked at all the same */
  analysis = SetUpAnalysis(run);
  if (!data && !analysis) analysis = KalAnalysisCheck(run->analysis, run->observations);
  PetscCall(KalAnalysisGetNeeds(run->analysis, &run->needs));
  if (!data && !model && !analysis) analysis = CheckOperator(run);
  options = CheckOptions(run);
  path    = run->damaged ? PETSC_SUCCESS : CheckSnapshotPath(run); /* what is there would be put aside */
  if (!run->error && !model && !analysis) beginning = KalRunCheckBeginning(run);
  PetscCall(run->error);
  PetscCall(groups);
  PetscCall(data);
  PetscCall(model);
  PetscCall(joined);
  PetscCall(analysis);
  PetscCall(options);
  PetscCall(path);
  PetscCall(beginning);
  PetscCall(KalRunHeader(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunSetUp - Makes a run ready: reads the data, checks what can be checked, prints the header, takes the memory, draws or reads the ensemble

   Collective

   Input Parameter:
.  run - the run

   Note:
   Bad input is refused here, before anything is computed or written; after -run_dry nothing more is done.
@*/
PetscErrorCode KalRunSetUp(KalRun run)
{
  PetscInt inputs, outputs;

  PetscFunctionBeginUser;
  if (run->setup) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalObservationsIsTimed(run->observations, &run->timed));
  if (run->dry) {
    PetscCall(DryRun(run));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalRunGroup(run));
  if (run->timed) PetscCall(SetUpInTime(run));
  else {
    PetscCall(SetUpObservations(run, &inputs, &outputs));
    PetscCall(SetUpModel(run, inputs, outputs));
    PetscCall(JoinModelAndData(run));
  }
  PetscCall(SetUpAnalysis(run));
  PetscCall(KalAnalysisCheck(run->analysis, run->observations));
  PetscCall(KalAnalysisGetNeeds(run->analysis, &run->needs));
  PetscCall(CheckOperator(run));
  PetscCall(CheckOptions(run));
  PetscCall(KalRunSetAside(run));
  PetscCall(CheckSnapshotPath(run));
  PetscCall(KalRunLevelsWrite(run));
  if (!run->quiet) PetscCall(KalRunHeader(run));
  run->setup = PETSC_TRUE;
  PetscCall(TakeMemory(run));
  if (run->restart[0]) {
    PetscCall(KalRunRead(run));
    PetscCall(KalRunLevelsWrite(run)); /* of a ladder that is done no rung is to come */
  } else PetscCall(KalRunInitial(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}
