/* Life cycle of a run and its options. */
#include "runimpl.h"

const char *const KalRunSchedules[] = {"static", "dynamic", "KalRunSchedule", "KAL_RUN_", NULL};

/*@
   KalRunCreate - Makes a run

   Collective

   Input Parameter:
.  comm - the communicator that members are dealt out on

   Output Parameter:
.  run - the run
@*/
PetscErrorCode KalRunCreate(MPI_Comm comm, KalRun *run)
{
  KalRun r;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&r));
  PetscCallMPI(MPI_Comm_dup(comm, &r->comm));
  PetscCallMPI(MPI_Comm_rank(r->comm, &r->rank));
  PetscCallMPI(MPI_Comm_size(r->comm, &r->size));
  PetscCall(KalModelCreate(r->comm, &r->model));
  PetscCall(KalObservationsCreate(r->comm, &r->observations));
  PetscCall(KalAnalysisCreate(r->comm, &r->analysis));
  r->N                = 64;
  r->cycles           = 100;
  r->monitorevery     = 10;
  r->snapshotkeep     = 2;
  r->evaluateensemble = PETSC_TRUE;
  r->progress         = -1;
  r->initialspread    = 0.1;
  r->divergence       = 3.0;
  r->climate          = 10000;
  r->schedulemembers  = 1;
  r->span             = 1;
  r->group            = MPI_COMM_NULL;
  *run                = r;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunSetCycles - Sets the number of cycles in all, those before a restart included

   Logically Collective

   Input Parameters:
+  run - the run
-  cycles - cycles, not negative

   Options Database Key:
.  -run_cycles <100> - cycles in all
@*/
PetscErrorCode KalRunSetCycles(KalRun run, PetscInt cycles)
{
  PetscFunctionBeginUser;
  PetscCheck(cycles >= 0, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-run_cycles %" PetscInt_FMT ": must not be negative", cycles);
  run->cycles = cycles;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunSetQuiet - Keeps a run from printing its header

   Logically Collective

   Input Parameters:
+  run - the run, not set up yet
-  quiet - whether KalRunSetUp() prints nothing

.seealso: KalRunStep()
@*/
PetscErrorCode KalRunSetQuiet(KalRun run, PetscBool quiet)
{
  PetscFunctionBeginUser;
  run->quiet = quiet;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunSetModel - Replaces the run's model by another, which the run destroys in the end

   Collective

   Input Parameters:
+  run - the run, not set up yet
-  model - the model
@*/
PetscErrorCode KalRunSetModel(KalRun run, KalModel model)
{
  PetscFunctionBeginUser;
  PetscCheck(!run->setup, run->comm, PETSC_ERR_ORDER, "The model is set before KalRunSetUp()");
  PetscCall(KalModelDestroy(&run->model));
  run->model = model;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunSetObservations - Replaces the run's observations by others, which the run destroys in the end

   Collective

   Input Parameters:
+  run - the run, not set up yet
-  observations - the observations
@*/
PetscErrorCode KalRunSetObservations(KalRun run, KalObservations observations)
{
  PetscFunctionBeginUser;
  PetscCheck(!run->setup, run->comm, PETSC_ERR_ORDER, "The observations are set before KalRunSetUp()");
  PetscCall(KalObservationsDestroy(&run->observations));
  run->observations = observations;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunGetModel - Gets the run's model

   Not Collective

   Input Parameter:
.  run - the run

   Output Parameter:
.  model - its model
@*/
PetscErrorCode KalRunGetModel(KalRun run, KalModel *model)
{
  PetscFunctionBeginUser;
  *model = run->model;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunGetObservations - Gets the run's observations

   Not Collective

   Input Parameter:
.  run - the run

   Output Parameter:
.  observations - its observations
@*/
PetscErrorCode KalRunGetObservations(KalRun run, KalObservations *observations)
{
  PetscFunctionBeginUser;
  *observations = run->observations;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunGetAnalysis - Gets the run's analysis

   Not Collective

   Input Parameter:
.  run - the run

   Output Parameter:
.  analysis - its analysis
@*/
PetscErrorCode KalRunGetAnalysis(KalRun run, KalAnalysis *analysis)
{
  PetscFunctionBeginUser;
  *analysis = run->analysis;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunGetEnsemble - Gets the run's ensemble

   Not Collective

   Input Parameter:
.  run - the run, set up

   Output Parameter:
.  ensemble - its ensemble
@*/
PetscErrorCode KalRunGetEnsemble(KalRun run, KalEnsemble *ensemble)
{
  PetscFunctionBeginUser;
  *ensemble = run->ensemble;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunGetCycle - Gets the number of cycles done

   Not Collective

   Input Parameter:
.  run - the run

   Output Parameter:
.  cycle - cycles done, those before a restart included
@*/
PetscErrorCode KalRunGetCycle(KalRun run, PetscInt *cycle)
{
  PetscFunctionBeginUser;
  *cycle = run->cycle;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunIsDone - Whether a run came to its end, or was stopped early by SIGUSR1 or its wall-clock limit

   Not Collective

   Input Parameter:
.  run - the run, after KalRunSolve()

   Output Parameter:
.  done - false where the run is to be continued; its snapshot is marked so
@*/
PetscErrorCode KalRunIsDone(KalRun run, PetscBool *done)
{
  PetscFunctionBeginUser;
  *done = (PetscBool)!run->interrupted;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SnapshotOptions(KalRun run)
{
  PetscFunctionBeginUser;
  PetscOptionsBegin(run->comm, NULL, "Snapshots", "KalSnapshot");
  PetscCall(PetscOptionsString("-snapshot_path", "File that snapshots are written to", "KalRunSetFromOptions", run->snapshotpath, run->snapshotpath, sizeof run->snapshotpath, NULL));
  PetscCall(PetscOptionsBoundedInt("-snapshot_every", "Cycles from one snapshot to the next (0: at the end alone)", "KalRunSetFromOptions", run->snapshotevery, &run->snapshotevery, NULL, 0));
  PetscCall(PetscOptionsBoundedInt("-snapshot_keep", "Snapshots kept: the newest, and earlier ones as PATH.1, PATH.2, ...", "KalRunSetFromOptions", run->snapshotkeep, &run->snapshotkeep, NULL, 1));
  PetscCall(PetscOptionsString("-restart", "Snapshot to go on from; its options hold where neither command line nor option file say otherwise", "KalRunSetFromOptions", run->restart, run->restart, sizeof run->restart, NULL));
  PetscCall(PetscOptionsBool("-snapshot_resume", "Go on from the newest snapshot at -snapshot_path that is whole; begin where there is none", "KalRunSetFromOptions", run->resume, &run->resume, NULL));
  PetscOptionsEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* In a dry run the options of every noun are looked at, whatever is wrong with those before. */
static PetscErrorCode NounsFromOptions(KalRun run)
{
  PetscErrorCode model, observations, analysis;

  PetscFunctionBeginUser;
  model = KalModelSetFromOptions(run->model);
  if (!run->dry) PetscCall(model);
  observations = KalObservationsSetFromOptions(run->observations);
  if (!run->dry) PetscCall(observations);
  analysis = KalAnalysisSetFromOptions(run->analysis);
  if (!run->dry) PetscCall(analysis);
  run->error = model ? model : observations ? observations
                                            : analysis;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Options of an ensemble are looked up here, whether one will be stored or not: for -help, and so that they are known. */
static PetscErrorCode EnsembleOptions(KalRun run)
{
  KalEnsemble probe;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(run->comm, &probe));
  PetscCall(KalEnsembleSetFromOptions(probe));
  PetscCall(KalEnsembleDestroy(&probe));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunSetFromOptions - Sets a run, its model, observations and analysis from the options database

   Collective

   Input Parameter:
.  run - the run

   Options Database Keys:
+  -run_cycles <100> - cycles in all
.  -run_seed <0> - seed of all draws
.  -run_monitor_every <10> - cycles from one printed line to the next (0: none)
.  -run_evaluate_every <0> - cycles from one score of the mean network on the test set to the next (0: at the end alone)
.  -run_evaluate_ensemble <true> - score the averaged prediction of the members at the end
.  -run_survivors <N/2> - members that must survive a cycle, else the run ends with an error
.  -run_burn_in <0> - model time after the start that is left out of means over time and of the rank histogram
.  -run_divergence <3> - a filter has diverged when its errors or innovations are so many times its spread over 20 cycles (0: do not look)
.  -run_climatology_cycles <10000> - observation times of the free run that climatology, oi and 3dvar know the system by; theirs alone
.  -run_stop_diverged <false> - end a run whose filter has diverged, with its snapshot
.  -run_schedule <static> - static: a rank computes the members it holds; dynamic: one that is idle takes others'. Changes no bit
.  -run_schedule_members <1> - members that a rank takes at once from a dynamic schedule, at most 64
.  -run_ranks_per_member <1> - consecutive ranks that run members together; must divide the number of ranks
.  -run_progress <-1> - progress bar on standard error: 0 no, 1 yes, -1 where it is a terminal
.  -run_phases <file> - table (CSV) of what each phase of the cycles took and moved, written at the end
.  -run_levels <file> - table (CSV) of the actions of all paths on all rungs, of a method that anneals; written anew after each rung
.  -run_dry - check options and data, print the header, the time a cycle will take and advice about the machine, and stop
.  -run_walltime <time> - seconds, or D-HH:MM:SS, from the start of the program; before they are over the run stops, to be continued
.  -ensemble_size <64> - members N
.  -ensemble_initial <file> - snapshot or HDF5 file with /members (N x n) or /mean (n) to begin from
.  -ensemble_initial_spread <0.1> - spread about a mean that was read, times the prior's
.  -snapshot_path, -snapshot_every <0>, -snapshot_keep <2> - where, how often and how many
.  -snapshot_resume <false> - go on from the newest snapshot at -snapshot_path that is whole; begin where there is none
-  -restart <file> - snapshot to go on from

   Note:
   -run_walltime stops the run after a cycle when less is left than 1.5 times (the longest cycle so far and the longest
   snapshot) and 10 s. The first cycle is followed by a snapshot, which measures what one takes. At least one cycle is done.
@*/
PetscErrorCode KalRunSetFromOptions(KalRun run)
{
  PetscInt  cycles, span = run->span;
  PetscEnum schedule = (PetscEnum)run->schedule;

  PetscFunctionBeginUser;
  PetscCall(KalOptionsRefuseLarge(run->comm));
  PetscCall(SnapshotOptions(run));
  if (run->resume) PetscCall(KalRunResume(run));
  if (run->restart[0]) {
    PetscCall(KalRunReadOptions(run));
    PetscCall(SnapshotOptions(run));
  }
  cycles = run->cycles;
  PetscOptionsBegin(run->comm, NULL, "Run", "KalRun");
  PetscCall(PetscOptionsInt("-run_cycles", "Cycles in all", "KalRunSetCycles", cycles, &cycles, NULL));
  PetscCall(PetscOptionsBoundedInt("-run_seed", "Seed of all draws", "KalRunSetFromOptions", run->seed, &run->seed, NULL, 0));
  PetscCall(PetscOptionsBoundedInt("-run_monitor_every", "Cycles from one printed line to the next (0: none)", "KalRunSetFromOptions", run->monitorevery, &run->monitorevery, NULL, 0));
  PetscCall(PetscOptionsBoundedInt("-run_evaluate_every", "Cycles from one score on the test set to the next (0: at the end alone)", "KalRunSetFromOptions", run->evaluateevery, &run->evaluateevery, NULL, 0));
  PetscCall(PetscOptionsBool("-run_evaluate_ensemble", "Score the averaged prediction of the members at the end", "KalRunSetFromOptions", run->evaluateensemble, &run->evaluateensemble, NULL));
  PetscCall(PetscOptionsBoundedInt("-run_survivors", "Members that must survive a cycle (0: half of them)", "KalRunSetFromOptions", run->survivors, &run->survivors, NULL, 0));
  PetscCall(PetscOptionsReal("-run_burn_in", "Model time after the start that is left out of means over time", "KalRunSetFromOptions", run->burn, &run->burn, NULL));
  PetscCall(PetscOptionsReal("-run_divergence", "A filter has diverged when its errors are so many times its spread (0: do not look)", "KalRunSetFromOptions", run->divergence, &run->divergence, NULL));
  PetscCall(PetscOptionsBool("-run_stop_diverged", "End a run whose filter has diverged", "KalRunSetFromOptions", run->stopdiverged, &run->stopdiverged, NULL));
  PetscCall(PetscOptionsEnum("-run_schedule", "Who computes a member: static, the rank that holds it, or dynamic, any that is idle", "KalRunSetFromOptions", KalRunSchedules, schedule, &schedule, NULL));
  PetscCall(PetscOptionsBoundedInt("-run_schedule_members", "Members that an idle rank takes at once", "KalRunSetFromOptions", run->schedulemembers, &run->schedulemembers, NULL, 1));
  PetscCall(PetscOptionsBoundedInt("-run_ranks_per_member", "Ranks that run members together", "KalRunSetFromOptions", span, &span, NULL, 1));
  PetscCall(PetscOptionsRangeInt("-run_progress", "Progress bar: 0 no, 1 yes, -1 on a terminal", "KalRunSetFromOptions", run->progress, &run->progress, NULL, -1, 1));
  PetscCall(PetscOptionsString("-run_phases", "File (CSV) for what each phase of the cycles took and moved", "KalRunSetFromOptions", run->phases, run->phases, sizeof run->phases, NULL));
  PetscCall(PetscOptionsString("-run_levels", "File (CSV) for the actions of all paths on all rungs, of a method that anneals", "KalRunSetFromOptions", run->levels, run->levels, sizeof run->levels, NULL));
  PetscCall(PetscOptionsString("-run_walltime", "Time from the program's start, in seconds or as D-HH:MM:SS; the run stops before it is over, to be continued", "KalRunSetFromOptions", run->walltime, run->walltime, sizeof run->walltime, NULL));
  PetscCall(PetscOptionsBool("-run_dry", "Check everything, print what would be done, and stop", "KalRunSetFromOptions", run->dry, &run->dry, NULL));
  PetscCall(PetscOptionsBoundedInt("-ensemble_size", "Members", "KalRunSetFromOptions", run->N, &run->N, NULL, 1));
  PetscCall(PetscOptionsString("-ensemble_initial", "File with members or a mean to begin from", "KalRunSetFromOptions", run->initial, run->initial, sizeof run->initial, NULL));
  PetscCall(PetscOptionsReal("-ensemble_initial_spread", "Spread about a mean that was read, times the prior's", "KalRunSetFromOptions", run->initialspread, &run->initialspread, NULL));
  PetscOptionsEnd();
  run->schedule = (KalRunSchedule)schedule;
  PetscCall(PetscMPIIntCast(span, &run->span));
  if (run->resume && run->restart[0]) run->initial[0] = '\0'; /* the run has begun */
  PetscCall(KalRunSetCycles(run, cycles));
  PetscCall(EnsembleOptions(run));
  PetscCall(NounsFromOptions(run));
  PetscCall(KalRunClimatologyOptions(run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunDestroy - Frees a run with all it owns and nulls the pointer

   Collective

   Input Parameter:
.  run - the run; NULL is left alone
@*/
PetscErrorCode KalRunDestroy(KalRun *run)
{
  KalRun   r = *run;
  PetscInt i;

  PetscFunctionBeginUser;
  if (!r) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalAnalysisDestroy(&r->analysis));
  for (i = 0; i < KAL_RUN_SLOTS; i++) PetscCall(KalEnsembleDestroy(&r->predictions[i]));
  for (i = 0; i < KAL_RUN_COPIES; i++) PetscCall(KalEnsembleDestroy(&r->copy[i]));
  PetscCall(KalEnsembleDestroy(&r->ensemble));
  PetscCall(KalEnsembleDestroy(&r->truth));
  PetscCall(KalQueueDestroy(&r->queue));
  PetscCall(KalDerivationDestroy(&r->derivation));
  PetscCall(PetscFree(r->ranks));
  PetscCall(PetscFree2(r->target, r->entry));
  PetscCall(PetscFree2(r->location, r->kind));
  PetscCall(PetscFree3(r->sums, r->row, r->column));
  PetscCall(PetscFree(r->climatemean));
  PetscCall(PetscFree(r->climatecovariance));
  PetscCall(KalObservationsDestroy(&r->observations));
  PetscCall(KalModelDestroy(&r->model));
  for (i = 0; i < KAL_HISTORY_COLUMNS; i++) PetscCall(PetscFree(r->history[i]));
  PetscCall(PetscFree(r->mean));
  PetscCall(PetscFree(r->prior));
  PetscCall(PetscFree(r->layer));
  PetscCall(PetscFree(r->status));
  PetscCall(PetscFree(r->laststatus));
  PetscCall(PetscFree(r->result));
  if (r->group != MPI_COMM_NULL) PetscCallMPI(MPI_Comm_free(&r->group));
  PetscCallMPI(MPI_Comm_free(&r->comm));
  PetscCall(PetscFree(*run));
  PetscFunctionReturn(PETSC_SUCCESS);
}
