/* Analyses of observations in time: global ones, the exchange alone, local ones. */
#include <bench/benchimpl.h>

#define GLOBALS 4

static const char common[] = "-model_type lorenz96 -observations_type twin -observations_interval 0.05 -observations_noise 1 -run_monitor_every 0 -run_cycles 1000000 -run_divergence 1e30";

/* ---- global analyses ---- */

typedef struct {
  PetscInt   n, N[GLOBALS], p;
  KalStepped stepped[GLOBALS];
} Global;

static const struct {
  const char *type, *options;
  PetscInt    N;
  PetscReal   least;       /* of the transform */
  PetscReal   alone, both; /* seconds on one rank and on two */
} global[GLOBALS] = {
    {"etkf", "",                             256, 0.78, 2.1,  1.15},
    {"etkf", " -ensemble_exchange messages", 256, 0.68, 0.0,  0.0 },
    {"etkf", "",                             64,  0.0,  0.16, 0.11},
    {"enkf", "",                             64,  0.0,  0.35, 0.35},
};

/* By messages there is nothing to see on one rank. */
static PetscBool Skipped(KalBench bench, int g)
{
  return (PetscBool)(g == 1 && bench->size == 1);
}

static PetscErrorCode GlobalCreate(KalBench bench, void **group)
{
  Global *all;
  char    options[1024];

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&all));
  all->n = bench->state ? bench->state : 1000000;
  all->p = PetscMin(all->n, bench->observations ? bench->observations : 10000);
  for (int g = 0; g < GLOBALS; g++) {
    all->N[g] = bench->members ? bench->members : global[g].N;
    if (Skipped(bench, g)) continue;
    PetscCall(PetscSNPrintf(options, sizeof options, "%s -lorenz96_size %" PetscInt_FMT " -observations_stride %" PetscInt_FMT " -observations_count %" PetscInt_FMT " -ensemble_size %" PetscInt_FMT " -analysis_type %s%s", common, all->n, all->n / all->p, all->p, all->N[g], global[g].type, global[g].options));
    PetscCall(KalSteppedCreate(bench, PETSC_FALSE, options, &all->stepped[g]));
  }
  *group = all;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GlobalMeasure(KalBench bench, void *group)
{
  Global *all = (Global *)group;

  PetscFunctionBeginUser;
  for (int g = 0; g < GLOBALS; g++) {
    const PetscReal  N = all->N[g], n = all->n, flops = 2.0 * n * N * N;
    const PetscReal *seconds   = all->stepped[g].seconds;
    const PetscBool  stated    = (PetscBool) !(bench->state || bench->members || bench->observations);
    KalBenchRow      transform = {.unit = "GF", .work = flops * 1e-9, .least = stated ? global[g].least : 0.0};
    KalBenchRow      whole     = {.most = stated ? (bench->size == 1 ? global[g].alone : global[g].both) : 0.0};

    if (Skipped(bench, g)) continue;
    PetscCall(KalSteppedStep(bench, &all->stepped[g]));
    PetscCall(PetscSNPrintf(whole.name, sizeof whole.name, "analysis %s%s", global[g].type, g == 1 ? ", messages" : ""));
    PetscCall(PetscSNPrintf(whole.size, sizeof whole.size, "n=%.0f N=%.0f p=%" PetscInt_FMT, (double)n, (double)N, all->p));
    PetscCall(PetscSNPrintf(transform.name, sizeof transform.name, "transform%s", g == 1 ? ", messages" : ""));
    PetscCall(PetscSNPrintf(transform.size, sizeof transform.size, "n=%.0f N=%.0f", (double)n, (double)N));
    if (g != 3) PetscCall(KalBenchRecord(bench, &transform, seconds[KAL_EVENT_UPDATE], flops / bench->rate[KAL_RATE_DGEMM]));
    PetscCall(KalBenchRecord(bench, &whole, seconds[KAL_EVENT_TELL] + seconds[KAL_EVENT_UPDATE], (flops + all->p * N * (N + 1.0) + (g == 3 ? 2.0 * all->p * N * N : 0.0)) / bench->rate[KAL_RATE_DGEMM] + 16.0 * n * N / bench->rate[KAL_RATE_COPY]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GlobalDestroy(KalBench bench, void **group)
{
  Global *all = (Global *)*group;

  PetscFunctionBeginUser;
  for (int g = 0; g < GLOBALS; g++) {
    if (!Skipped(bench, g)) PetscCall(KalSteppedDestroy(&all->stepped[g]));
  }
  PetscCall(PetscFree(*group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const KalBenchGroup KalBenchAnalysis = {"analysis", PETSC_TRUE, KAL_RATE_BIT(KAL_RATE_DGEMM) | KAL_RATE_BIT(KAL_RATE_COPY), GlobalCreate, GlobalMeasure, GlobalDestroy};

/* ---- the exchange alone, by messages ---- */

static PetscErrorCode ExchangeCreate(KalBench bench, void **group)
{
  KalEnsemble ensemble;

  PetscFunctionBeginUser;
  *group = NULL;
  if (bench->size == 1) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleCreate(bench->comm, &ensemble));
  PetscCall(KalEnsembleSetSizes(ensemble, bench->state ? bench->state : 1000000, bench->members ? bench->members : 256));
  PetscCall(KalEnsembleSetExchange(ensemble, KAL_EXCHANGE_MESSAGES));
  PetscCall(KalEnsembleSetUp(ensemble));
  *group = ensemble;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitNothing(void *ctx, const KalRows *rows)
{
  (void)ctx;
  (void)rows;
  return PETSC_SUCCESS;
}

static PetscErrorCode ExchangeMeasure(KalBench bench, void *group)
{
  KalEnsemble        ensemble = (KalEnsemble)group;
  PetscEventPerfInfo before, after;
  KalBenchRow        row = {.name = "exchange, messages", .unit = "GB", .least = 0.60};
  PetscInt           n, N;
  PetscReal          bytes, seconds;

  PetscFunctionBeginUser;
  if (!ensemble) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleGetSizes(ensemble, &n, &N));
  bytes    = 16.0 * n * N;
  row.work = bytes * 1e-9;
  PetscCall(PetscSNPrintf(row.size, sizeof row.size, "n=%" PetscInt_FMT " N=%" PetscInt_FMT ", out and back", n, N));
  PetscCallMPI(MPI_Barrier(bench->comm));
  PetscCall(PetscLogEventGetPerfInfo(PETSC_DETERMINE, KalEvents[KAL_EVENT_EXCHANGE], &before));
  PetscCall(KalEnsembleMapRows(1, &ensemble, VisitNothing, NULL)); /* its event leaves out the visits, which take means */
  PetscCall(PetscLogEventGetPerfInfo(PETSC_DETERMINE, KalEvents[KAL_EVENT_EXCHANGE], &after));
  PetscCall(KalBenchSlowest(bench, after.time - before.time, &seconds));
  PetscCall(KalBenchRecord(bench, &row, seconds, bytes / bench->rate[KAL_RATE_ALLTOALL]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ExchangeDestroy(KalBench bench, void **group)
{
  KalEnsemble ensemble = (KalEnsemble)*group;

  PetscFunctionBeginUser;
  (void)bench;
  PetscCall(KalEnsembleDestroy(&ensemble));
  *group = NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

const KalBenchGroup KalBenchExchange = {"exchange", PETSC_TRUE, KAL_RATE_BIT(KAL_RATE_ALLTOALL), ExchangeCreate, ExchangeMeasure, ExchangeDestroy};

/* ---- local analyses, on one rank ---- */

typedef struct {
  PetscInt   n, N, p;
  KalStepped stepped;
} Local;

static PetscErrorCode LocalCreate(KalBench bench, void **group)
{
  Local *local;
  char   options[1024];

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&local));
  local->n = bench->state ? bench->state : 10000;
  local->N = bench->members ? bench->members : 64;
  local->p = PetscMin(local->n, bench->observations ? bench->observations : 1000);
  PetscCall(PetscSNPrintf(options, sizeof options, "%s -lorenz96_size %" PetscInt_FMT " -observations_stride %" PetscInt_FMT " -observations_count %" PetscInt_FMT " -ensemble_size %" PetscInt_FMT " -analysis_type letkf -localization_convention support -localization_radius %g", common, local->n, local->n / local->p, local->p, local->N, 20.0 * local->n / local->p));
  PetscCall(KalSteppedCreate(bench, PETSC_TRUE, options, &local->stepped));
  *group = local;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LocalMeasure(KalBench bench, void *group)
{
  Local      *local = (Local *)group;
  KalBenchRow row   = {.name = "analysis letkf", .unit = "k points", .work = local->n * 1e-3, .most = bench->state || bench->members || bench->observations ? 0.0 : 0.7};

  PetscFunctionBeginUser;
  PetscCall(KalSteppedStep(bench, &local->stepped));
  PetscCall(PetscSNPrintf(row.size, sizeof row.size, "n=%" PetscInt_FMT " N=%" PetscInt_FMT " p=%" PetscInt_FMT ", 40 in reach, 1 rank", local->n, local->N, local->p));
  PetscCall(KalBenchRecord(bench, &row, local->stepped.seconds[KAL_EVENT_TELL] + local->stepped.seconds[KAL_EVENT_UPDATE], 0.0));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LocalDestroy(KalBench bench, void **group)
{
  Local *local = (Local *)*group;

  PetscFunctionBeginUser;
  (void)bench;
  PetscCall(KalSteppedDestroy(&local->stepped));
  PetscCall(PetscFree(*group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const KalBenchGroup KalBenchLocal = {"local", PETSC_TRUE, 0, LocalCreate, LocalMeasure, LocalDestroy};
