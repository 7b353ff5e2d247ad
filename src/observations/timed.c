/* Observations in time: where they lie in memory, when they are, what is said of them. */
#include "timed.h"

const char *const KalObservationsTypes[] = {KALOBSERVATIONSDATASET, KALOBSERVATIONSTWIN, KALOBSERVATIONSSERIES, "KalObservationsType", "KAL_TYPE_", NULL};

PetscErrorCode KalTimedCreate(KalTimed **timed)
{
  PetscFunctionBeginUser;
  PetscCall(PetscNew(timed));
  (*timed)->stride = 1;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective on the node. */
PetscErrorCode KalTimedDestroy(KalTimed **timed)
{
  PetscFunctionBeginUser;
  PetscCall(KalSharedDestroy(&(*timed)->store));
  PetscCall(KalSharedDestroy(&(*timed)->times));
  PetscCall(PetscFree2((*timed)->rows, (*timed)->target));
  PetscCall(PetscFree(*timed));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalObservationsGetType - The kind of observations

   Not Collective

   Input Parameter:
.  obs - the observations

   Output Parameter:
.  type - its name
@*/
PetscErrorCode KalObservationsGetType(KalObservations obs, KalObservationsType *type)
{
  PetscFunctionBeginUser;
  *type = KalObservationsTypes[obs->type];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsIsTimed - Whether observations are in time: of the types twin and series

   Not Collective

   Input Parameter:
.  obs - the observations

   Output Parameter:
.  timed - PETSC_FALSE for a data set
@*/
PetscErrorCode KalObservationsIsTimed(KalObservations obs, PetscBool *timed)
{
  PetscFunctionBeginUser;
  *timed = (PetscBool)(obs->type != KAL_TYPE_DATASET);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscInt64 Align(PetscInt64 bytes)
{
  return (bytes + 63) / 64 * 64;
}

/* Counts the bytes of an array, and says where it lies once there is a base. */
static void *Place(char *base, PetscBool wanted, PetscInt64 count, size_t size, PetscInt64 *at)
{
  char *here = base && wanted ? base + *at : NULL;

  if (wanted) *at += Align(count * (PetscInt64)size);
  return here;
}

static PetscInt64 Layout(KalTimed *t, char *base)
{
  const KalTimedSizes *s  = &t->size;
  PetscInt64           at = 0;

  t->value     = (PetscReal *)Place(base, s->value, s->m, sizeof(PetscReal), &at);
  t->error     = (PetscReal *)Place(base, s->error, s->m, sizeof(PetscReal), &at);
  t->start_row = (PetscInt *)Place(base, s->rows, (PetscInt64)s->m + 1, sizeof(PetscInt), &at);
  t->entry     = (PetscInt *)Place(base, (PetscBool)(s->entries > 0), s->entries, sizeof(PetscInt), &at);
  t->weight    = (PetscReal *)Place(base, s->weight, s->entries, sizeof(PetscReal), &at);
  t->location  = (PetscReal *)Place(base, s->location, (PetscInt64)s->m * KAL_DIMENSIONS, sizeof(PetscReal), &at);
  t->kind      = (PetscInt *)Place(base, s->kind, s->m, sizeof(PetscInt), &at);
  t->root      = (PetscReal *)Place(base, (PetscBool)(s->dense > 0), (PetscInt64)s->dense * s->dense, sizeof(PetscReal), &at);
  return at;
}

/* Collective. Takes the memory of the observations, once a node; the sizes must be the same on every rank. */
PetscErrorCode KalTimedAllocate(KalObservations obs, const KalTimedSizes *size)
{
  KalTimed  *t     = obs->timed;
  KalFault   fault = {PETSC_SUCCESS, ""};
  PetscInt64 bytes;

  PetscFunctionBeginUser;
  t->size = *size;
  bytes   = Layout(t, NULL);
  KalMemoryCheck("The observations", bytes, &fault);
  KalCheckAll(obs->comm, fault.code, fault.text);
  PetscCall(KalSharedDestroy(&t->store));
  PetscCall(KalSharedCreate(obs->comm, bytes, &t->store));
  if (!obs->noderank) PetscCall(PetscMemzero(t->store.data, (size_t)bytes));
  (void)Layout(t, (char *)t->store.data);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What a whole data set alone has makes no sense in time. */
static PetscErrorCode CheckChoices(KalObservations obs)
{
  const KalTimed *t    = obs->timed;
  const char     *name = KalObservationsTypes[obs->type];

  PetscFunctionBeginUser;
  PetscCheck(t->n, obs->comm, PETSC_ERR_ORDER, "Observations of type %s need the size of the state and the time step of its model before they are set up; call KalObservationsSetState(), and use a -model_type with a time step", name);
  PetscCheck(!obs->batch && !obs->limit, obs->comm, PETSC_ERR_ARG_INCOMP, "%s %" PetscInt_FMT " is for data sets; observations of type %s are analysed all together at each time", obs->batch ? "-observations_batch" : "-observations_samples", obs->batch ? obs->batch : obs->limit, name);
  PetscCheck(!obs->lossset || obs->loss == KAL_LOSS_SQUARED, obs->comm, PETSC_ERR_ARG_INCOMP, "-observations_loss %s needs class labels; observations of type %s have the loss squared", KalLossTypes[obs->loss], name);
  PetscCheck(!obs->set[KAL_SET_TRAIN].samples, obs->comm, PETSC_ERR_ARG_WRONGSTATE, "KalObservationsSetArrays() gives a data set; observations of type %s have none", name);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective. What is observed and when. */
PetscErrorCode KalTimedSetUp(KalObservations obs)
{
  KalTimed *t = obs->timed;

  PetscFunctionBeginUser;
  PetscCall(CheckChoices(obs));
  if (obs->type == KAL_TYPE_TWIN) PetscCall(KalTwinSetUp(obs));
  else PetscCall(KalSeriesSetUp(obs));
  PetscCall(PetscFree2(t->rows, t->target));
  PetscCall(PetscMalloc2((size_t)t->most + 1, &t->rows, t->most, &t->target));
  obs->loss      = KAL_LOSS_SQUARED;
  obs->outputs   = 1;
  obs->normcount = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalTimedGetMost(KalObservations obs, PetscInt *most)
{
  PetscFunctionBeginUser;
  *most = obs->timed->most;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* This rank's share of what stands once a node, and what it has for itself. */
PetscErrorCode KalTimedGetMemory(KalObservations obs, PetscReal *bytes)
{
  const KalTimed *t = obs->timed;

  PetscFunctionBeginUser;
  *bytes = (PetscReal)(t->store.bytes + t->times.bytes) / obs->nodesize + (PetscReal)t->most * (PetscReal)(sizeof *t->rows + sizeof *t->target) + (PetscReal)obs->works * (PetscReal)sizeof(PetscScalar);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsGetTime - The model time of a cycle's observations

   Not Collective

   Input Parameters:
+  obs - observations in time, set up
-  cycle - from 0; -1 for the start

   Output Parameter:
.  time - model time

   Errors: PETSC_ERR_ARG_OUTOFRANGE beyond KalObservationsGetLast()
@*/
PetscErrorCode KalObservationsGetTime(KalObservations obs, PetscInt cycle, PetscReal *time)
{
  const KalTimed *t = obs->timed;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsGetTime"));
  PetscCheck(obs->type != KAL_TYPE_DATASET, PETSC_COMM_SELF, PETSC_ERR_ARG_WRONGSTATE, "A data set has no times; use -observations_type twin or series");
  PetscCheck(cycle >= -1 && cycle < t->cycles, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "The time of cycle %" PetscInt_FMT " was asked for; there are observations for the cycles 0 to %" PetscInt_FMT ", and -1 is the start", cycle, t->cycles - 1);
  if (cycle < 0) *time = t->start;
  else *time = t->start + (PetscReal)(t->steps ? t->steps[cycle] : t->every * ((PetscInt64)cycle + 1)) * t->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsGetLast - For how many cycles there are observations

   Not Collective

   Input Parameter:
.  obs - the observations, set up

   Output Parameter:
.  cycles - the number of times of a series; PETSC_MAX_INT for a twin, a series without times and a data set, which do not end
@*/
PetscErrorCode KalObservationsGetLast(KalObservations obs, PetscInt *cycles)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsGetLast"));
  *cycles = obs->type == KAL_TYPE_SERIES ? obs->timed->cycles : PETSC_MAX_INT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsHasTruth - Whether the observations are of a truth that the run makes: of the type twin

   Not Collective

   Input Parameter:
.  obs - the observations

   Output Parameter:
.  truth - PETSC_TRUE: the batch has its targets from KalObservationsTruth()
@*/
PetscErrorCode KalObservationsHasTruth(KalObservations obs, PetscBool *truth)
{
  PetscFunctionBeginUser;
  *truth = (PetscBool)(obs->type == KAL_TYPE_TWIN);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ViewErrors(KalObservations obs, PetscViewer viewer)
{
  const KalTimed *t   = obs->timed;
  PetscReal       low = PETSC_MAX_REAL, high = 0.0;

  PetscFunctionBeginUser;
  if (t->root) {
    PetscCall(PetscViewerASCIIPrintf(viewer, "errors: dense covariance, whitened by its Cholesky factor\n"));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt i = 0; i < t->size.m; i++) {
    low  = PetscMin(low, t->error[i]);
    high = PetscMax(high, t->error[i]);
  }
  if (low < high) PetscCall(PetscViewerASCIIPrintf(viewer, "errors: independent, standard deviations %g to %g\n", (double)low, (double)high));
  else PetscCall(PetscViewerASCIIPrintf(viewer, "errors: independent, standard deviation %g\n", (double)high));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalTimedView(KalObservations obs, PetscViewer viewer)
{
  const KalTimed *t    = obs->timed;
  const PetscBool twin = (PetscBool)(obs->type == KAL_TYPE_TWIN);
  PetscReal       first, last;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "Observations: %s\n", twin ? "twin experiment" : obs->path[0] ? obs->path
                                                                                                         : "no file"));
  PetscCall(PetscViewerASCIIPushTab(viewer));
  if (!obs->setup) {
    PetscCall(PetscViewerASCIIPrintf(viewer, "not set up yet\n"));
    PetscCall(PetscViewerASCIIPopTab(viewer));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalObservationsGetTime(obs, 0, &first));
  if (t->timeless) PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " observations, taken as those of one time\n", t->size.m));
  else if (twin) PetscCall(PetscViewerASCIIPrintf(viewer, "every %g model time (%lld steps), from %g on\n", (double)(t->every * t->step), (long long)t->every, (double)first));
  else {
    PetscCall(KalObservationsGetTime(obs, t->cycles - 1, &last));
    PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " observations at %" PetscInt_FMT " times, from %g to %g model time, at most %" PetscInt_FMT " a time\n", t->size.m, t->cycles, (double)first, (double)last, t->most));
  }
  if (t->path[0]) PetscCall(PetscViewerASCIIPrintf(viewer, "observed: %" PetscInt_FMT " numbers by %s\n", t->most, KalTimedOwn(t) ? "the model's own operator" : t->path));
  else if (twin) PetscCall(PetscViewerASCIIPrintf(viewer, "observed: %" PetscInt_FMT " of %" PetscInt_FMT " entries, every %" PetscInt_FMT " from %" PetscInt_FMT " on\n", t->most, t->n, t->stride, t->first));
  PetscCall(ViewErrors(obs, viewer));
  if (t->reject > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, "background check: beyond %g standard deviations\n", (double)t->reject));
  PetscCall(PetscViewerASCIIPopTab(viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}
