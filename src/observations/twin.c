/* Twin experiments: what is observed of a truth, how often, and with which errors. */
#include "timed.h"

#include <petscblaslapack.h>

/* How many model steps lie between two observations. */
static PetscErrorCode Interval(KalObservations obs)
{
  KalTimed       *t     = obs->timed;
  const PetscReal exact = t->interval > 0.0 ? t->interval / t->step : 1.0, whole = PetscFloorReal(exact + 0.5);

  PetscFunctionBeginUser;
  PetscCheck(whole >= 1.0 && whole < 1e9 && PetscAbsReal(exact - whole) <= 1e-6 * whole, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_interval %g is %g time steps of %g of the model; it must be a whole number of them, from 1 to 10^9", (double)t->interval, (double)exact, (double)t->step);
  t->every  = (PetscInt64)whole;
  t->cycles = PETSC_MAX_INT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every stride-th entry from the first on, as many as asked for, or as many as there are. */
static PetscErrorCode Entries(KalObservations obs, PetscInt *count)
{
  const KalTimed *t = obs->timed;
  PetscInt        most;

  PetscFunctionBeginUser;
  PetscCheck(t->first < t->n, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_first %" PetscInt_FMT " is outside the state, whose entries are 0 to %" PetscInt_FMT, t->first, t->n - 1);
  most = (t->n - 1 - t->first) / t->stride + 1;
  PetscCheck(t->count <= most, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_count %" PetscInt_FMT " asks for more entries than there are: every %" PetscInt_FMT " from %" PetscInt_FMT " on, of %" PetscInt_FMT ", are %" PetscInt_FMT, t->count, t->stride, t->first, t->n, most);
  *count = t->count ? t->count : most;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Plain(KalObservations obs)
{
  KalTimed      *t    = obs->timed;
  KalTimedSizes  size = {.error = PETSC_TRUE};
  const PetscInt own  = KalTimedOwn(t);

  PetscFunctionBeginUser;
  if (own) {
    PetscCheck(t->count, obs->comm, PETSC_ERR_ARG_INCOMP, "-observations_operator model observes what the model does; say how many numbers that are with -observations_count");
    PetscCheck(!t->first && t->stride == 1, obs->comm, PETSC_ERR_ARG_INCOMP, "-observations_%s chooses entries of the state; -observations_operator model observes what the model does", t->first ? "first" : "stride");
    size.m = t->count;
  } else {
    PetscCall(Entries(obs, &size.m));
    size.entries = size.m;
  }
  PetscCall(KalTimedAllocate(obs, &size));
  if (!obs->noderank) {
    for (PetscInt i = 0; i < size.entries; i++) t->entry[i] = t->first + i * t->stride;
    for (PetscInt i = 0; i < size.m; i++) t->error[i] = PetscSqrtReal(obs->gamma);
  }
  PetscCall(KalSharedSync(&t->store));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective. */
PetscErrorCode KalTwinSetUp(KalObservations obs)
{
  KalTimed *t     = obs->timed;
  KalFault  fault = {PETSC_SUCCESS, ""};

  PetscFunctionBeginUser;
  PetscCheck(!obs->path[0], obs->comm, PETSC_ERR_ARG_INCOMP, "-observations_path %s names a file with observations, and those of -observations_type twin are made from a truth; use -observations_type series to read them", obs->path);
  PetscCall(Interval(obs));
  if (!t->path[0] || KalTimedOwn(t)) PetscCall(Plain(obs));
  else {
    PetscCheck(!t->first && t->stride == 1 && !t->count, obs->comm, PETSC_ERR_ARG_INCOMP, "-observations_%s chooses entries of the state, and -observations_operator %s says what is observed; give one of them", t->first ? "first" : t->count ? "count"
                                                                                                                                                                                                                                                : "stride",
               t->path);
    PetscCall(KalTimedLoad(obs, t->path, NULL, &fault));
    if (!obs->noderank && !fault.text[0]) {
      KalTimedCheck(t, t->path, &fault);
      KalTimedCheckTwice(t, t->path, NULL, 0, t->size.m, &fault);
    }
    PetscCall(KalTimedPublish(obs, t->path, &t->store, &fault));
    PetscCall(KalTimedRoot(obs, t->path));
  }
  t->most = t->size.m;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsTruth - Makes the observations of a twin experiment: what the truth predicts, and errors

   Not Collective; every rank makes its own copy of the same numbers

   Input Parameters:
+  obs - observations of type twin, set up
.  cycle - from 0
-  hx - p numbers: the operator applied to the truth at the time of the cycle

   Input/Output Parameter:
.  batch - the batch of KalObservationsNext() of the same cycle; its target becomes hx + error z, or hx + L z where the errors
           have a dense covariance R = L L', not whitened yet

   Note:
   z_i is normal number i of the key (seed, KAL_DRAW_ERROR, cycle, 0).
@*/
PetscErrorCode KalObservationsTruth(KalObservations obs, PetscInt cycle, const PetscScalar *hx, KalBatch *batch)
{
  KalTimed          *t   = obs->timed;
  const KalKey       key = {obs->seed, KAL_DRAW_ERROR, cycle, 0};
  const PetscInt     p   = t->size.m;
  const PetscBLASInt one = 1;
  PetscBLASInt       order;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsTruth"));
  PetscCheck(obs->type == KAL_TYPE_TWIN, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "Observations of type %s are not made from a truth; use -observations_type twin", KalObservationsTypes[obs->type]);
  PetscCheck(batch->timed && batch->samples == p, PETSC_COMM_SELF, PETSC_ERR_ARG_SIZ, "A batch of %" PetscInt_FMT " observations was given; the twin has %" PetscInt_FMT ", see KalObservationsNext()", batch->samples, p);
  PetscCall(KalDrawNormal(key, 0, p, t->target));
  if (t->root) {
    PetscCall(PetscBLASIntCast(p, &order));
    PetscCallBLAS("BLAStrmv", BLAStrmv_("L", "N", "N", &order, t->root, &order, t->target, &one));
    for (PetscInt i = 0; i < p; i++) t->target[i] += hx[i];
  } else {
    for (PetscInt i = 0; i < p; i++) t->target[i] = hx[i] + t->error[i] * t->target[i];
  }
  batch->target = t->target;
  PetscFunctionReturn(PETSC_SUCCESS);
}
