/* Series of observations from a file: which belong to one time, and the times as steps of the model. */
#include "timed.h"

#include <stdlib.h>

/* How far, in time steps, a time of a file may be from a whole number of them; times of single precision are taken. */
#define KAL_TIME_TOLERANCE 1e-3
#define KAL_MOST_STEPS     1e15

/* The time of an observation in steps after the start, or -1 and a fault. */
static PetscInt64 StepOf(const KalTimed *t, const PetscReal *times, PetscInt i, const char *path, KalFault *fault)
{
  const PetscReal exact = (times[i] - t->start) / t->step, whole = PetscFloorReal(exact + 0.5);

  if (PetscIsInfOrNanReal(times[i])) KalFaultSet(fault, PETSC_ERR_FP, "/time of %s holds %g at %" PetscInt_FMT " (from 0); it must be finite", path, (double)times[i], i);
  else if (whole < 1.0) KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "/time of %s holds %g at %" PetscInt_FMT " (from 0), which is not after the start at %g; choose an earlier -observations_start", path, (double)times[i], i, (double)t->start);
  else if (PetscAbsReal(exact - whole) > KAL_TIME_TOLERANCE || whole > KAL_MOST_STEPS) KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "/time of %s holds %.10g at %" PetscInt_FMT " (from 0), %.10g time steps of %g after the start at %g; it must be a whole number of them", path, (double)times[i], i, (double)exact, (double)t->step, (double)t->start);
  else return (PetscInt64)whole;
  return -1;
}

/* Counts the times and the most observations of one; with `steps` and `offset`, which have room for that, writes them. */
static void Group(const KalTimed *t, const PetscReal *times, const char *path, PetscInt *cycles, PetscInt *most, PetscInt64 *steps, PetscInt *offset, KalFault *fault)
{
  PetscInt64 before = 0;
  PetscInt   first  = 0;

  *cycles = *most = 0;
  for (PetscInt i = 0; i < t->size.m; i++) {
    const PetscInt64 step = StepOf(t, times, i, path, fault);

    if (step < 0) return;
    if (step < before) {
      KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "/time of %s is not sorted: it holds %g at %" PetscInt_FMT " (from 0) and %g before it; sort the observations by time", path, (double)times[i], i, (double)times[i - 1]);
      return;
    }
    if (step > before) {
      if (steps) steps[*cycles] = step;
      if (offset) offset[*cycles] = i;
      ++*cycles;
      first  = i;
      before = step;
    }
    *most = PetscMax(*most, i - first + 1);
  }
  if (offset) offset[*cycles] = t->size.m;
}

/* Collective. Takes memory for the times, once a node. */
static PetscErrorCode AllocateTimes(KalObservations obs)
{
  KalTimed        *t     = obs->timed;
  const PetscInt64 steps = (PetscInt64)t->cycles * (PetscInt64)sizeof(PetscInt64);

  PetscFunctionBeginUser;
  PetscCall(KalSharedDestroy(&t->times));
  PetscCall(KalSharedCreate(obs->comm, steps + ((PetscInt64)t->cycles + 1) * (PetscInt64)sizeof(PetscInt), &t->times));
  t->steps  = (PetscInt64 *)t->times.data;
  t->offset = (PetscInt *)((char *)t->times.data + steps);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What can only be checked with the times known: duplicates, and as many observations of each time as R has rows. */
static void CheckCycles(const KalTimed *t, const char *path, KalFault *fault)
{
  for (PetscInt c = 0; c < t->cycles && !fault->text[0]; c++) {
    const PetscInt p = t->offset[c + 1] - t->offset[c];

    if (t->root && p != t->size.dense) KalFaultSet(fault, PETSC_ERR_ARG_SIZ, "/R of %s has %" PetscInt_FMT " rows, and there are %" PetscInt_FMT " observations at time %g; a dense error covariance needs the same number at each time", path, t->size.dense, p, (double)(t->start + (PetscReal)t->steps[c] * t->step));
    else KalTimedCheckTwice(t, path, NULL, t->offset[c], p, fault);
  }
}

/* Collective. All observations together, in every cycle; `fault` is what was found wrong with them so far. */
static PetscErrorCode SetUpTimeless(KalObservations obs, PetscReal *times, KalFault *fault)
{
  KalTimed *t = obs->timed;

  PetscFunctionBeginUser;
  if (!obs->noderank && !fault->text[0]) {
    KalTimedCheck(t, obs->path, fault);
    if (t->root && t->size.dense != t->size.m) KalFaultSet(fault, PETSC_ERR_ARG_SIZ, "/R of %s has %" PetscInt_FMT " rows, and there are %" PetscInt_FMT " observations; both must agree", obs->path, t->size.dense, t->size.m);
    KalTimedCheckTwice(t, obs->path, times, 0, t->size.m, fault);
  }
  free(times);
  PetscCall(KalTimedPublish(obs, obs->path, &t->store, fault));
  PetscCall(KalTimedRoot(obs, obs->path));
  t->most   = t->size.m;
  t->cycles = PETSC_MAX_INT;
  t->every  = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective. */
PetscErrorCode KalSeriesSetUp(KalObservations obs)
{
  KalTimed  *t        = obs->timed;
  KalFault   fault    = {PETSC_SUCCESS, ""};
  PetscReal *times    = NULL;
  PetscInt   sizes[2] = {0, 0};

  PetscFunctionBeginUser;
  PetscCheck(obs->path[0], obs->comm, PETSC_ERR_ARG_WRONGSTATE, "-observations_type series needs a file; name it with -observations_path");
  PetscCheck(!t->path[0] || KalTimedOwn(t), obs->comm, PETSC_ERR_ARG_INCOMP, "-observations_operator %s is a file, and a series says in its own what is observed; the word model is allowed here, a file for -observations_type twin", t->path);
  PetscCall(KalTimedLoad(obs, obs->path, &times, &fault));
  if (t->timeless) {
    PetscCall(SetUpTimeless(obs, times, &fault));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (!obs->noderank && !fault.text[0]) {
    KalTimedCheck(t, obs->path, &fault);
    if (!fault.text[0]) Group(t, times, obs->path, &sizes[0], &sizes[1], NULL, NULL, &fault);
  }
  if (fault.text[0]) free(times);
  PetscCall(KalTimedPublish(obs, obs->path, &t->store, &fault));
  PetscCallMPI(MPI_Bcast(sizes, 2, MPIU_INT, 0, obs->comm));
  t->cycles = sizes[0];
  t->most   = sizes[1];
  PetscCall(AllocateTimes(obs));
  if (!obs->noderank) {
    Group(t, times, obs->path, &sizes[0], &sizes[1], t->steps, t->offset, &fault);
    free(times);
    CheckCycles(t, obs->path, &fault);
  }
  PetscCall(KalTimedPublish(obs, obs->path, &t->times, &fault));
  PetscCall(KalTimedRoot(obs, obs->path));
  PetscFunctionReturn(PETSC_SUCCESS);
}
