/* How the time of a phase grows with a size: exponents over a decade, beside those expected. */
#include <bench/benchimpl.h>

#define LAWS 6

/* A phase at a small size and at one ten times as large. */
typedef struct {
  const char *phase, *size; /* what grows */
  PetscReal   expected;
  KalEvent    event[2];
  PetscInt    n, N, p; /* of an analysis in time, at the small size; n 0: a network's batch grows */
  PetscInt    tenfold; /* 0: n, 1: N, 2: p, 3: batch */
} Law;

static const Law laws[LAWS] = {
    {"transform", "n",     1.0, {KAL_EVENT_TRANSFORM, KAL_EVENT_TRANSFORM}, 100000, 64, 1000, 0},
    {"transform", "N",     2.0, {KAL_EVENT_TRANSFORM, KAL_EVENT_TRANSFORM}, 100000, 64, 1000, 1},
    {"gram",      "p",     1.0, {KAL_EVENT_GRAM, KAL_EVENT_SUM},            20000,  64, 2000, 2},
    {"gram",      "N",     2.0, {KAL_EVENT_GRAM, KAL_EVENT_SUM},            20000,  64, 2000, 1},
    {"forward",   "N",     1.0, {KAL_EVENT_OBSERVE, KAL_EVENT_OBSERVE},     0,      64, 0,    1},
    {"forward",   "batch", 1.0, {KAL_EVENT_OBSERVE, KAL_EVENT_OBSERVE},     0,      64, 0,    3},
};

typedef struct {
  KalStepped stepped[2];
  PetscReal  sum[2];
} Pair;

static PetscErrorCode Start(KalBench bench, const Law *law, PetscInt times, KalStepped *stepped)
{
  const PetscInt    n = law->tenfold == 0 ? times * law->n : law->n, N = law->tenfold == 1 ? times * law->N : law->N, p = law->tenfold == 2 ? times * law->p : law->p;
  const KalBenchNet net = {
      .layers = 2, .width = {784, 100, 10},
           .members = N, .batch = law->tenfold == 3 ? times * 128 : 128
  };
  char options[4096], label[KAL_BENCH_TEXT];

  PetscFunctionBeginUser;
  if (law->n) {
    PetscCall(PetscSNPrintf(options, sizeof options, "-model_type lorenz96 -observations_type twin -observations_interval 0.05 -run_monitor_every 0 -run_cycles 1000000 -run_divergence 1e30 -analysis_type etkf -lorenz96_size %" PetscInt_FMT " -observations_stride %" PetscInt_FMT " -observations_count %" PetscInt_FMT " -ensemble_size %" PetscInt_FMT, n, n / p, p, N));
    PetscCall(KalSteppedCreate(bench, PETSC_FALSE, options, stepped));
  } else PetscCall(KalBenchStart(bench, &net, PETSC_FALSE, " -analysis_type haber -model_precision single", stepped, label));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GrowthCreate(KalBench bench, void **group)
{
  Pair *pair;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1(LAWS, &pair));
  for (int l = 0; l < LAWS; l++) {
    for (int s = 0; s < 2; s++) PetscCall(Start(bench, &laws[l], s ? 10 : 1, &pair[l].stepped[s]));
  }
  *group = pair;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Seconds are those of the large size, the bound those of the small one: the view makes an exponent of the two. */
static PetscErrorCode GrowthMeasure(KalBench bench, void *group)
{
  Pair *pair = (Pair *)group;

  PetscFunctionBeginUser;
  for (int l = 0; l < LAWS; l++) {
    PetscReal   seconds[2];
    KalBenchRow row = {.exponent = laws[l].expected};

    for (int s = 0; s < 2; s++) {
      const PetscReal *event = pair[l].stepped[s].seconds;

      PetscCall(KalSteppedStep(bench, &pair[l].stepped[s]));
      seconds[s] = event[laws[l].event[0]] + (laws[l].event[1] == laws[l].event[0] ? 0.0 : event[laws[l].event[1]]);
    }
    PetscCall(PetscSNPrintf(row.name, sizeof row.name, "growth %s", laws[l].phase));
    PetscCall(PetscSNPrintf(row.size, sizeof row.size, "%s tenfold", laws[l].size));
    PetscCall(KalBenchRecord(bench, &row, seconds[1], seconds[0]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GrowthDestroy(KalBench bench, void **group)
{
  Pair *pair = (Pair *)*group;

  PetscFunctionBeginUser;
  (void)bench;
  for (int l = 0; l < LAWS; l++) {
    for (int s = 0; s < 2; s++) PetscCall(KalSteppedDestroy(&pair[l].stepped[s]));
  }
  PetscCall(PetscFree(*group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const KalBenchGroup KalBenchGrowth = {"growth", PETSC_FALSE, 0, GrowthCreate, GrowthMeasure, GrowthDestroy};
