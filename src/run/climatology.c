/* Mean and covariance of a free run of the model, for methods that know the system by its climatology. */
#include "runimpl.h"

#include <petscblaslapack.h>

#define KAL_CLIMATE_STATES 64  /* states whose products are taken together */
#define KAL_CLIMATE_SETTLE 0.1 /* share of the run that is left out at its start */

typedef struct {
  PetscReal *mean, *covariance; /* n, n x n */
  PetscReal *state;             /* n x KAL_CLIMATE_STATES departures from the run's first state that counts */
  PetscReal *start;             /* that state: keeps the sums small */
  PetscInt   held, count;
} KalClimate;

/*
  KalRunClimatologyOptions - Looks up the options of a climatology, where the method is known to need one

  Collective
*/
PetscErrorCode KalRunClimatologyOptions(KalRun run)
{
  KalNeeds needs;

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetNeeds(run->analysis, &needs));
  if (!needs.climatology) PetscFunctionReturn(PETSC_SUCCESS);
  PetscOptionsBegin(run->comm, NULL, "Climatology", "KalRun");
  PetscCall(PetscOptionsInt("-run_climatology_cycles", "Length of the free run that a climatology is taken from", "KalRunSetFromOptions", run->climate, &run->climate, NULL));
  PetscOptionsEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds the products of the states held to the sums; the lower triangle of the covariance alone. */
static PetscErrorCode AddStates(KalRun run, KalClimate *c)
{
  const PetscReal one = 1.0;
  PetscBLASInt    n, k;
  PetscInt        i, s;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(run->n, &n));
  PetscCall(PetscBLASIntCast(c->held, &k));
  for (s = 0; s < c->held; s++) {
    for (i = 0; i < run->n; i++) c->mean[i] += c->state[i + (size_t)s * run->n];
  }
  PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "N", &n, &k, &one, c->state, &n, &one, c->covariance, &n));
  c->count += c->held;
  c->held = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode HoldState(KalRun run, const PetscScalar *x, KalClimate *c)
{
  PetscInt i;

  PetscFunctionBeginUser;
  if (!c->count && !c->held) PetscCall(PetscArraycpy(c->start, x, run->n));
  for (i = 0; i < run->n; i++) c->state[i + (size_t)c->held * run->n] = x[i] - c->start[i];
  if (++c->held == KAL_CLIMATE_STATES) PetscCall(AddStates(run, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sums into mean and covariance, both triangles. */
static PetscErrorCode Finish(KalRun run, KalClimate *c)
{
  const PetscInt n = run->n;
  PetscInt       i, j;

  PetscFunctionBeginUser;
  PetscCall(AddStates(run, c));
  for (i = 0; i < n; i++) c->mean[i] /= c->count;
  for (j = 0; j < n; j++) {
    for (i = j; i < n; i++) {
      const PetscReal value = (c->covariance[i + (size_t)j * n] - c->count * c->mean[i] * c->mean[j]) / (c->count - 1);

      c->covariance[i + (size_t)j * n] = c->covariance[j + (size_t)i * n] = value;
    }
  }
  for (i = 0; i < n; i++) c->mean[i] += c->start[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The free run: from a start of its own, observed as often as the run's system; its first part is left out. */
static PetscErrorCode FreeRun(KalRun run, KalClimate *c, char *text, size_t size)
{
  const PetscInt settle = (PetscInt)(KAL_CLIMATE_SETTLE * run->climate);
  PetscScalar   *x[1];
  KalColumns     columns = {.first = 1, .count = 1, .total = 2, .size = run->n, .column = x};
  KalStatus      status  = KAL_MEMBER_OK;
  PetscBool      together;
  PetscReal      from, to;
  PetscInt       k;

  PetscFunctionBeginUser;
  PetscCall(KalRunAllTogether(run, &together));
  PetscCall(PetscMalloc1(run->n, &x[0]));
  PetscCall(KalModelInitial(run->model, (KalKey){run->seed, KAL_DRAW_TRUTH, 0, 1}, x[0]));
  PetscCall(KalObservationsGetTime(run->observations, -1, &from));
  PetscCall(KalObservationsGetTime(run->observations, 0, &to));
  for (k = 0; k < settle + run->climate && status == KAL_MEMBER_OK; k++) {
    PetscCall(KalModelSetKey(run->model, (KalKey){run->seed, KAL_DRAW_TRUTH, k + 1, 1}));
    PetscCall(KalModelPropagate(run->model, NULL, from, to, &columns, &status));
    if (together) { /* the first rank's state counts */
      PetscCallMPI(MPI_Bcast(x[0], (PetscMPIInt)run->n, MPIU_SCALAR, 0, run->group));
      PetscCallMPI(MPI_Bcast(&status, 1, MPI_SIGNED_CHAR, 0, run->group));
    }
    if (k >= settle) PetscCall(HoldState(run, x[0], c));
  }
  PetscCall(PetscFree(x[0]));
  if (status != KAL_MEMBER_OK) PetscCall(PetscSNPrintf(text, size, "The free run for the climatology failed or is not finite after %" PetscInt_FMT " of its cycles: take a smaller time step", k));
  else PetscCall(Finish(run, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunClimatology - Gives the method the mean and covariance of a free run of -run_climatology_cycles windows of the first length

  Collective. Rank 0 runs; the others get what it found. The same after a restart, since it follows from the seed.
*/
PetscErrorCode KalRunClimatology(KalRun run)
{
  const size_t n         = (size_t)run->n;
  char         text[192] = "";
  KalClimate   c         = {.count = 0};
  PetscBool    together;
  size_t       j;

  PetscFunctionBeginUser;
  PetscCheck(run->climate >= 2, run->comm, PETSC_ERR_ARG_OUTOFRANGE, "-run_climatology_cycles %" PetscInt_FMT ": a covariance needs at least 2", run->climate);
  PetscCall(PetscCalloc1(n, &run->climatemean));
  PetscCall(PetscCalloc1(n * n, &run->climatecovariance));
  c.mean       = run->climatemean;
  c.covariance = run->climatecovariance;
  PetscCall(KalRunAllTogether(run, &together));
  if (run->rank < (together ? run->span : 1)) {
    PetscCall(PetscMalloc2(n * KAL_CLIMATE_STATES, &c.state, n, &c.start));
    PetscCall(FreeRun(run, &c, text, sizeof text));
    PetscCall(PetscFree2(c.state, c.start));
  }
  KalCheckAll(run->comm, PETSC_ERR_FP, text);
  PetscCallMPI(MPI_Bcast(c.mean, (PetscMPIInt)n, MPI_DOUBLE, 0, run->comm));
  for (j = 0; j < n; j++) PetscCallMPI(MPI_Bcast(c.covariance + j * n, (PetscMPIInt)n, MPI_DOUBLE, 0, run->comm));
  PetscCall(KalAnalysisSetClimatology(run->analysis, c.mean, c.covariance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tangent(void *ctx, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelTangent((KalModel)ctx, from, to, x, columns, dx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunTellTangent - Gives the method the model's tangent, where it needs one
*/
PetscErrorCode KalRunTellTangent(KalRun run)
{
  PetscFunctionBeginUser;
  if (run->needs.tangent) PetscCall(KalAnalysisSetTangent(run->analysis, Tangent, run->model));
  PetscFunctionReturn(PETSC_SUCCESS);
}
