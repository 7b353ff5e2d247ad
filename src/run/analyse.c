/*
  One analysis on files, for models that run as jobs of their own: a prior that others forecast, observations, a posterior. It is a
  cycle of a run whose model stands still.
*/
#include "analyseimpl.h"

#include <string.h>

/* Methods of the library that this is not for: they run a model again, or know it by its tangent or climatology. */
static const char *const Refused[] = {KALANALYSISEKI, KALANALYSISETKI, KALANALYSISHABER, KALANALYSISIENKS, KALANALYSISESMDA, KALANALYSISCLIMATOLOGY, KALANALYSISOI, KALANALYSIS3DVAR, KALANALYSISEXTKF, KALANALYSISTEKI, KALANALYSISIEKSSL, KALANALYSISGNKI, KALANALYSISEKISL, KALANALYSISTEKISL, KALANALYSISUKI, KALANALYSISUKF, KALANALYSISEKS, KALANALYSISALDI, KALANALYSISENGPS, KALANALYSISENRML, KALANALYSISCBO, KALANALYSISYEGENOGLU};
#define KAL_OFFLINE_METHODS "enkf, etkf, estkf, denkf, ensrf, letkf, enkfn, ot-enkf, venkf"

/* Options of observations that the arguments, or the want of a model, leave no choice of. */
static const struct {
  const char *name, *why;
} Settled[] = {
    {"-observations_type",     "an analysis on files has observations from a file"                          },
    {"-observations_path",     "the second argument names the observations"                                 },
    {"-observations_start",    "an analysis on files has no time"                                           },
    {"-observations_operator", "there is no model that could observe itself; the file says what is observed"},
    {"-ensemble_size",         "there are as many members as the prior has"                                 },
    {"-ensemble_initial",      "the first argument names the prior"                                         },
    {"-snapshot_path",         "the third argument names the posterior"                                     },
    {"-restart",               "an analysis goes on from no snapshot but by its prior and -analyse_previous"},
    {"-run_cycles",            "an analysis on files is one cycle; -analyse_cycle says which"               },
    {"-model_type",            "an analysis on files has no model"                                          },
};

static PetscErrorCode RefuseSettled(KalRun run)
{
  PetscBool set;

  PetscFunctionBeginUser;
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(Settled); k++) {
    PetscCall(PetscOptionsHasName(NULL, NULL, Settled[k].name, &set));
    PetscCheck(!set, run->comm, PETSC_ERR_ARG_INCOMP, "%s makes no sense here: %s; leave it out", Settled[k].name, Settled[k].why);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The method that is meant where none is named. */
static PetscErrorCode DefaultMethod(KalRun run)
{
  KalAnalysisType type;
  PetscBool       named, local;

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetType(run->analysis, &type));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-analysis_type", &named));
  if (named || type[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscOptionsHasName(NULL, NULL, "-localization_radius", &local)); /* which makes it known: letkf takes it */
  PetscCall(KalAnalysisSetType(run->analysis, local ? KALANALYSISLETKF : KALANALYSISETKF));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RefuseMethod(KalRun run, PetscBool refused)
{
  KalAnalysisType type;

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetType(run->analysis, &type));
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(Refused); k++) refused = (PetscBool)(refused || !strcmp(type, Refused[k]));
  PetscCheck(!refused, run->comm, PETSC_ERR_ARG_INCOMP, "-analysis_type %s asks more of a model than an analysis on files has; take one of " KAL_OFFLINE_METHODS, type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunSetAnalyseFromOptions - Sets a run that is one analysis on files from the options database

   Collective

   Input Parameter:
.  run - the run, neither set up nor set from options

   Options Database Keys:
+  -analyse_cycle <0> - which analysis this is, for the draws: perturbed observations, rotations and redrawn members of two analyses
                        differ if their cycles do
.  -analyse_previous <file> - the posterior of the analysis before: adaptive inflation goes on from it, and the cycle is the next one
.  -run_seed <0> - seed of all draws
.  -run_survivors <N/2> - members of the prior that must be in order
.  -analysis_type <letkf, etkf> - the method: enkf, etkf, estkf, denkf, ensrf, letkf, enkfn or one that was registered. letkf where
                                  -localization_radius is given, else etkf
.  -analysis_..., -inflation_..., -localization_..., -letkf_..., -enkf_..., -enkfn_... - as the method has them
.  -observations_reject <0> - background check
-  -ensemble_block_rows, -ensemble_exchange - as in any run

.seealso: KalRunAnalyse()
@*/
PetscErrorCode KalRunSetAnalyseFromOptions(KalRun run)
{
  KalEnsemble probe;

  PetscFunctionBeginUser;
  PetscCall(KalOptionsRefuseLarge(run->comm));
  PetscCall(RefuseSettled(run));
  run->cycle = -1;
  PetscOptionsBegin(run->comm, NULL, "Analysis on files", "KalRunAnalyse");
  PetscCall(PetscOptionsRangeInt("-analyse_cycle", "Which analysis this is: the cycle in the keys of its draws (-1: the one after -analyse_previous, or 0)", "KalRunAnalyse", run->cycle, &run->cycle, NULL, -1, PETSC_MAX_INT - 2));
  PetscCall(PetscOptionsString("-analyse_previous", "Posterior of the analysis before: adaptive inflation and the cycle go on from it", "KalRunAnalyse", run->restart, run->restart, sizeof run->restart, NULL));
  PetscCall(PetscOptionsBoundedInt("-run_seed", "Seed of all draws", "KalRunAnalyse", run->seed, &run->seed, NULL, 0));
  PetscCall(PetscOptionsBoundedInt("-run_survivors", "Members of the prior that must be in order (0: half of them)", "KalRunAnalyse", run->survivors, &run->survivors, NULL, 0));
  PetscOptionsEnd();
  PetscCall(KalEnsembleCreate(run->comm, &probe)); /* looks up the ensemble's options, for -help */
  PetscCall(KalEnsembleSetFromOptions(probe));
  PetscCall(KalEnsembleDestroy(&probe));
  PetscCall(KalObservationsSetType(run->observations, KALOBSERVATIONSSERIES));
  PetscCall(KalObservationsSetTimeless(run->observations, PETSC_TRUE));
  PetscCall(KalObservationsSetFromOptions(run->observations));
  PetscCall(DefaultMethod(run));
  PetscCall(KalAnalysisSetFromOptions(run->analysis));
  PetscCall(RefuseMethod(run, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StandStill(KalModel model, PetscInt member, PetscReal from, PetscReal to, PetscScalar *x, KalStatus *status)
{
  PetscFunctionBeginUser;
  (void)model;
  (void)member;
  (void)from;
  (void)to;
  (void)x;
  (void)status;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Locate(KalModel model, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  KalOffline *o;
  PetscInt    d;

  PetscFunctionBeginUser;
  PetscCall(KalModelShellGetContext(model, &o));
  d = o->domain.dimension;
  for (PetscInt k = 0; k < count; k++) {
    const size_t i = (size_t)entries[k];

    PetscCall(PetscArraycpy(coordinates + (size_t)k * KAL_DIMENSIONS, o->coordinates + i * (size_t)d, d));
    kinds[k] = o->kind ? (PetscInt)o->kind[i] : 0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Forget(void *ctx)
{
  KalOffline *o = (KalOffline *)ctx;

  PetscFunctionBeginUser;
  PetscCall(KalSharedDestroy(&o->shared));
  PetscCall(PetscFree2(o->mean, o->spread));
  PetscCall(PetscFree4(o->innovation, o->predicted, o->residual, o->left));
  PetscCall(PetscFree(o));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A model that stands still; it owns what is known of the analysis. */
static PetscErrorCode SetUpModel(KalOffline *o)
{
  KalRun     run = o->run;
  KalModel   model;
  PetscReal *zero;

  PetscFunctionBeginUser;
  PetscCall(KalModelCreateShell(run->comm, run->n, o, &model));
  PetscCall(KalRunSetModel(run, model));
  PetscCall(KalModelShellSetDestroy(model, Forget));
  PetscCall(KalModelSetStep(model, 1.0));
  PetscCall(KalModelShellSetPropagate(model, StandStill));
  PetscCall(PetscCalloc1(run->n, &zero)); /* members are not drawn */
  PetscCall(KalModelShellSetSpread(model, zero));
  PetscCall(PetscFree(zero));
  if (o->locations) {
    PetscCall(KalModelShellSetDomain(model, o->domain.dimension, o->domain.length));
    PetscCall(KalModelShellSetLocate(model, Locate));
  }
  PetscCall(KalModelSetUp(model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpObservations(KalOffline *o)
{
  KalRun run = o->run;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsSetPath(run->observations, o->observations));
  PetscCall(KalObservationsSetSeed(run->observations, run->seed));
  PetscCall(KalObservationsSetState(run->observations, run->n, 1.0));
  PetscCall(KalObservationsSetDomain(run->observations, &o->domain));
  PetscCall(KalObservationsSetUp(run->observations));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* letkf localizes unless it is told not to, and can say no more than that a model has no locations. */
static PetscErrorCode CheckLocations(KalOffline *o)
{
  KalAnalysisType type;
  char            localization[64] = "";

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetType(o->run->analysis, &type));
  if (strcmp(type, KALANALYSISLETKF)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscOptionsGetString(NULL, NULL, "-localization_type", localization, sizeof localization, NULL));
  PetscCheck(o->locations || !strcmp(localization, "none"), o->run->comm, PETSC_ERR_ARG_INCOMP, "letkf needs to know where the state's entries are, and %s has no /coordinates (n x 1 to 3); add them, or use -localization_type none", o->prior);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUpAnalysis(KalOffline *o)
{
  KalRun    run  = o->run;
  KalNeeds *need = &run->needs;

  PetscFunctionBeginUser;
  PetscCall(CheckLocations(o));
  PetscCall(KalAnalysisSetSizes(run->analysis, run->n, run->N));
  PetscCall(KalAnalysisSetSeed(run->analysis, run->seed));
  PetscCall(KalRunTellDomain(run));
  PetscCall(KalAnalysisSetUp(run->analysis));
  PetscCall(KalAnalysisGetNeeds(run->analysis, need));
  PetscCall(RefuseMethod(run, (PetscBool)(need->generated || need->copies || need->adjoint || need->tangent || need->climatology || need->dense)));
  PetscCall(KalAnalysisCheck(run->analysis, run->observations));
  if (!run->survivors) run->survivors = PetscMax(need->least, (run->N + 1) / 2);
  PetscCheck(run->survivors >= need->least && run->survivors <= run->N, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-run_survivors %" PetscInt_FMT ": the prior has %" PetscInt_FMT " members, and the method needs at least %" PetscInt_FMT, run->survivors, run->N, need->least);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What will be done, the memory that it will take, and advice. */
static PetscErrorCode Header(KalOffline *o)
{
  KalRun      run = o->run;
  PetscViewer viewer;
  char        text[512];

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIGetStdout(run->comm, &viewer));
  PetscCall(KalProvenance(sizeof text, text));
  PetscCall(PetscPrintf(run->comm, "%s, %d rank%s\n", text, run->size, run->size > 1 ? "s" : ""));
  if (o->locations) PetscCall(PetscSNPrintf(text, sizeof text, "located in %" PetscInt_FMT " dimension%s", o->domain.dimension, o->domain.dimension > 1 ? "s" : ""));
  PetscCall(PetscPrintf(run->comm, "Prior: %s, N = %" PetscInt_FMT " members of n = %" PetscInt_FMT ", %" PetscInt_FMT " of them failed, %s\n", o->prior, run->N, run->n, o->failed, o->locations ? text : "without locations"));
  PetscCall(KalObservationsView(run->observations, viewer));
  PetscCall(KalAnalysisView(run->analysis, viewer));
  PetscCall(PetscPrintf(run->comm, "Posterior: %s, cycle %" PetscInt_FMT ", seed %" PetscInt_FMT "\n", o->posterior, run->cycle, run->seed));
  PetscCall(KalRunMemory(run));
  PetscCall(KalAdviseLoudly(run->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TakeMemory(KalOffline *o)
{
  KalRun run = o->run;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetCycle(run->observations, &o->p, NULL));
  PetscCall(PetscMalloc1(run->n, &run->prior));
  PetscCall(PetscMalloc2(run->n, &o->mean, run->n, &o->spread));
  PetscCall(PetscMalloc4(o->p, &o->innovation, o->p, &o->predicted, o->p, &o->residual, o->p, &o->left));
  PetscCall(PetscCalloc1(run->N, &run->laststatus));
  PetscCall(KalEnsembleCreate(run->comm, &run->ensemble));
  PetscCall(KalEnsembleSetSizes(run->ensemble, run->n, run->N));
  PetscCall(KalEnsembleSetFromOptions(run->ensemble));
  PetscCall(KalEnsembleSetUp(run->ensemble));
  PetscCall(KalAnalysisSetPrior(run->analysis, run->prior));
  PetscCall(KalAnalysisSetEnsemble(run->analysis, run->ensemble, 0, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Everything that can be refused is, before anything is computed or written. */
static PetscErrorCode SetUp(KalOffline *o)
{
  KalRun      run = o->run;
  KalSnapshot file;
  PetscInt    previous = -1;
  KSP         ksp;

  PetscFunctionBeginUser;
  PetscCall(KalOfflineCheckPaths(o));
  PetscCall(KalOfflineReadPrior(o));
  PetscCall(SetUpModel(o));
  PetscCall(SetUpObservations(o));
  PetscCall(SetUpAnalysis(o));
  PetscCall(KalAnalysisGetKSP(run->analysis, &ksp));
  PetscCall(KalOptionsRefuseUnknown(run->comm, ksp ? KAL_SOLVER_HERE : KAL_SOLVER_NONE));
  if (run->restart[0]) PetscCall(KalOfflineReadPrevious(o, &previous));
  if (run->cycle < 0) run->cycle = previous + 1;
  PetscCall(KalSnapshotOpen(run->comm, o->posterior, KAL_SNAPSHOT_WRITE, &file)); /* whether it can be written */
  PetscCall(KalSnapshotClose(&file));
  PetscCall(Header(o));
  PetscCall(TakeMemory(o));
  PetscCall(KalSnapshotPlainReadMembers(o->prior, o->status, run->ensemble));
  run->setup = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members that the prior calls failed are left out with those whose predictions are not finite. */
static PetscErrorCode CheckSurvivors(KalOffline *o, PetscInt *active)
{
  KalRun run = o->run;

  PetscFunctionBeginUser;
  *active = 0;
  for (PetscInt j = 0; j < run->N; j++) {
    if (o->status[j] != KAL_MEMBER_OK) run->status[j] = KAL_MEMBER_FAILED;
    run->laststatus[j] = run->status[j];
    *active += run->status[j] == KAL_MEMBER_OK;
  }
  PetscCheck(*active >= run->survivors, run->comm, (PetscErrorCode)PETSC_ERR_CONV_FAILED, "Only %" PetscInt_FMT " of the %" PetscInt_FMT " members of %s are in order (/status); at least %" PetscInt_FMT " are needed (-run_survivors). No posterior was written", *active, run->N, o->prior, run->survivors);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One cycle. */
static PetscErrorCode Analyse(KalOffline *o)
{
  KalRun     run  = o->run;
  KalTold    told = {.observations = run->observations, .cycle = run->cycle};
  KalVerdict verdict;
  KalBatch   batch;
  KalAsk     ask;
  PetscInt   active;

  PetscFunctionBeginUser;
  PetscCall(KalRunWindow(run, &batch));
  PetscCall(KalAnalysisBegin(run->analysis, run->cycle));
  PetscCall(KalAnalysisAsk(run->analysis, &ask));
  PetscCall(RefuseMethod(run, (PetscBool)(ask.points != run->ensemble || !ask.observe)));
  PetscCall(KalRunEvaluate(run, &ask, &batch, &told.predictions));
  PetscCall(CheckSurvivors(o, &active));
  PetscCall(KalOfflineCompare(o, &batch, told.predictions, active));
  told.batch  = &batch;
  told.status = run->status;
  PetscCall(KalAnalysisTell(run->analysis, &told, &verdict));
  PetscCall(RefuseMethod(run, (PetscBool)(verdict == KAL_VERDICT_AGAIN)));
  if (verdict != KAL_VERDICT_REJECT) PetscCall(KalAnalysisUpdate(run->analysis));
  PetscCall(KalOfflineLookBack(o, &ask, &batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Result(KalOffline *o, double seconds)
{
  KalRun            run = o->run;
  KalAnalysisReport report;
  PetscInt64        checksum;
  PetscInt          failed = 0;

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetReport(run->analysis, &report));
  PetscCall(KalEnsembleChecksum(run->ensemble, &checksum));
  for (PetscInt j = 0; j < run->N; j++) failed += run->laststatus[j] != KAL_MEMBER_OK;
  PetscCall(PetscPrintf(run->comm, "result: cycle=%" PetscInt_FMT " members=%" PetscInt_FMT " failed=%" PetscInt_FMT " observations=%" PetscInt_FMT " rejected=%" PetscInt_FMT " spread_forecast=%.6g spread_analysis=%.6g innovation=%.4f dfs=%.4f effective=%.4f inflation=%.4f seconds=%.1f checksum=%016llx\n", run->cycle, run->N, failed, o->p, o->rejected, (double)o->spreadforecast, (double)o->spreadanalysis, (double)report.innovation, (double)report.dfs, (double)report.effective, (double)report.inflation, seconds, (unsigned long long)checksum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalRunAnalyse - One analysis on files: a prior and observations in, a posterior out

   Collective

   Input Parameters:
+  run - a run that KalRunSetAnalyseFromOptions() has set, and nothing else
.  prior - HDF5 file with /members (N x n); where each entry is, /coordinates (n x 1 to 3), with /kind (n, negative: no place) and /period (a
           number a direction, 0: not periodic), which a localization needs; and /status (N, nonzero: the member failed)
.  observations - HDF5 file as of KALOBSERVATIONSSERIES; all are taken as those of one time, and /time may be missing
-  posterior - HDF5 file to write, in a snapshot's format, with /members as the prior has them

   Notes:
   The formats are described in share/doc/file-format.md, "An analysis on files". A posterior can be the next prior, as it is or with new
   members written over the old ones.

   A prior of a snapshot, with /ensemble/members, is taken as well.

   The result is that of the same cycle of a run: equal members, observations, seed and cycle (-analyse_cycle) give equal bits, on any number of
   ranks. Standard deviations "of the prior", which -inflation_additive multiplies, are those of the members in order.

   Failed members are left out and drawn anew from the survivors; fewer than -run_survivors end the program with KAL_EXIT_MEMBERS.

   Errors:
   Files that are missing, damaged or of the wrong shape; numbers that are not finite; no observations; a localization without /coordinates; a
   method that needs a model; a posterior that is what is read, or a file that is there and no posterior. On every rank, and no posterior is
   written.

.seealso: KalRunSetAnalyseFromOptions(), KalObservationsSetTimeless()
@*/
PetscErrorCode KalRunAnalyse(KalRun run, const char *prior, const char *observations, const char *posterior)
{
  const double start = MPI_Wtime();
  KalOffline  *o;

  PetscFunctionBeginUser;
  PetscCheck(!run->setup, run->comm, PETSC_ERR_ORDER, "A run is set up once, and an analysis on files is one run");
  PetscCall(PetscNew(&o));
  o->run          = run;
  o->prior        = prior;
  o->observations = observations;
  o->posterior    = posterior;
  run->timed      = PETSC_TRUE;
  run->outputs    = 1;
  run->cycles     = 1;
  PetscCall(SetUp(o));
  PetscCall(Analyse(o));
  PetscCall(KalOfflineWrite(o));
  PetscCall(Result(o, MPI_Wtime() - start));
  PetscFunctionReturn(PETSC_SUCCESS);
}
