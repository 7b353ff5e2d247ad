/* What is chosen of observations before they are set up: their kind and, of those in time, times, operator, checks. */
#include "timed.h"

/*@C
   KalObservationsSetType - Sets the kind of observations

   Logically Collective

   Input Parameters:
+  obs - the observations, not set up yet
-  type - KALOBSERVATIONSDATASET (the default): samples to learn from, in mini-batches; KALOBSERVATIONSTWIN: in time, of a
          truth that the same model makes; KALOBSERVATIONSSERIES: in time, from a file

   Options Database Key:
.  -observations_type <dataset,twin,series> - the same
@*/
PetscErrorCode KalObservationsSetType(KalObservations obs, KalObservationsType type)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetType"));
  for (int t = KAL_TYPE_DATASET; t <= KAL_TYPE_SERIES; t++) {
    PetscBool same;

    PetscCall(PetscStrcmp(type, KalObservationsTypes[t], &same));
    if (!same) continue;
    obs->type = (KalObservationsKind)t;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  SETERRQ(obs->comm, PETSC_ERR_ARG_UNKNOWN_TYPE, "Observations of type %s are unknown; allowed: dataset, twin, series", type);
}

/*@
   KalObservationsSetState - Tells what is observed in time: the size of the state and the time step of its model

   Logically Collective

   Input Parameters:
+  obs - the observations, not set up yet
.  n - entries of the state
-  step - model time of one time step, positive

   Note:
   Observations of type twin and series cannot be set up without it; a data set takes no notice.
@*/
PetscErrorCode KalObservationsSetState(KalObservations obs, PetscInt n, PetscReal step)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetState"));
  PetscCheck(n >= 1, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "A state of %" PetscInt_FMT " entries is to be observed; it needs at least 1", n);
  PetscCheck(step > 0.0 && !PetscIsInfOrNanReal(step), obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "The time step of the observed model is %g; it must be positive", (double)step);
  obs->timed->n    = n;
  obs->timed->step = step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetDomain - Tells the space that observations in time lie in, so that their locations can be checked

   Logically Collective

   Input Parameters:
+  obs - the observations, not set up yet
-  domain - dimension and periods, KalModelGetDomain(); of dimension 0, which is the default, nothing is checked

   Note:
   Locations need as many coordinates as the domain has dimensions, and in a periodic direction 0 <= coordinate < length.
@*/
PetscErrorCode KalObservationsSetDomain(KalObservations obs, const KalDomain *domain)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetDomain"));
  PetscCheck(domain->dimension >= 0 && domain->dimension <= KAL_DIMENSIONS, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "A domain of %" PetscInt_FMT " dimensions was named; allowed: 0 to %d", domain->dimension, KAL_DIMENSIONS);
  obs->timed->domain = *domain;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetTimes - Sets when observations in time begin, and the interval of a twin's

   Logically Collective

   Input Parameters:
+  obs - the observations, not set up yet
.  start - model time that the ensemble starts at, before the first cycle; 0 by default
-  interval - model time between the observations of a twin, a whole number of model steps; 0, the default, for one step

   Options Database Keys:
+  -observations_start <0> - model time of the start
-  -observations_interval <model step> - model time between observations

   Note:
   A twin is first observed one interval after the start.
@*/
PetscErrorCode KalObservationsSetTimes(KalObservations obs, PetscReal start, PetscReal interval)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetTimes"));
  PetscCheck(!PetscIsInfOrNanReal(start), obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_start %g is no model time; it must be finite", (double)start);
  PetscCheck(interval >= 0.0 && !PetscIsInfOrNanReal(interval), obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_interval %g is not allowed; it must be a positive model time", (double)interval);
  obs->timed->start    = start;
  obs->timed->interval = interval;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetEntries - Sets which entries of the state a twin experiment observes

   Logically Collective

   Input Parameters:
+  obs - the observations, not set up yet
.  first - first entry, from 0
.  stride - distance from one entry to the next, at least 1
-  count - how many entries; 0, the default: all from the first on

   Options Database Keys:
+  -observations_first <0> - first entry
.  -observations_stride <1> - distance from one entry to the next
-  -observations_count <all> - how many
@*/
PetscErrorCode KalObservationsSetEntries(KalObservations obs, PetscInt first, PetscInt stride, PetscInt count)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetEntries"));
  PetscCheck(first >= 0, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_first %" PetscInt_FMT " is negative; entries of the state count from 0", first);
  PetscCheck(stride >= 1, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_stride %" PetscInt_FMT " is not allowed; it must be at least 1", stride);
  PetscCheck(count >= 0, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_count %" PetscInt_FMT " is negative; allowed: 0 (all) or how many entries are observed", count);
  obs->timed->first  = first;
  obs->timed->stride = stride;
  obs->timed->count  = count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalObservationsSetOperator - Names what is observed in time, where it is not plain entries of the state

   Logically Collective

   Input Parameters:
+  obs - the observations, not set up yet
-  path - an HDF5 file with a linear operator, for a twin (share/doc/file-format.md, "Observation operators"); or the word
          `model`, for the model's own `observe`: a twin then needs -observations_count, a series no /entry

   Options Database Key:
.  -observations_operator <path> - the same
@*/
PetscErrorCode KalObservationsSetOperator(KalObservations obs, const char *path)
{
  size_t length;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetOperator"));
  PetscCall(PetscStrlen(path, &length));
  PetscCheck(length < sizeof obs->timed->path, obs->comm, PETSC_ERR_ARG_SIZ, "The path of the observation operator has %zu characters; at most %zu are allowed", length, sizeof obs->timed->path - 1);
  PetscCall(PetscStrncpy(obs->timed->path, path, sizeof obs->timed->path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetReject - Sets the background check of observations in time

   Logically Collective

   Input Parameters:
+  obs - the observations
-  k - an observation farther from its prediction than k times sqrt(error^2 + ensemble variance) is left out of the analysis;
       0, the default: none is

   Options Database Key:
.  -observations_reject <0> - the same
@*/
PetscErrorCode KalObservationsSetReject(KalObservations obs, PetscReal k)
{
  PetscFunctionBeginUser;
  PetscCheck(k >= 0.0, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_reject %g is not allowed; give 0 (no background check), or how many standard deviations from its prediction an observation may lie", (double)k);
  obs->timed->reject = k;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsGetReject - Gets the background check of observations in time

   Not Collective

   Input Parameter:
.  obs - the observations

   Output Parameter:
.  k - as given to KalObservationsSetReject(); 0: nothing is rejected
@*/
PetscErrorCode KalObservationsGetReject(KalObservations obs, PetscReal *k)
{
  PetscFunctionBeginUser;
  *k = obs->timed->reject;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetTimeless - Takes all observations of a series as those of one time, for an analysis on files

   Logically Collective

   Input Parameters:
+  obs - the observations, of type KALOBSERVATIONSSERIES, not set up yet
-  timeless - PETSC_TRUE: the file need not have /time. Where it has one, observations of the same entry are told apart by it, and
              nothing else is made of it

   Notes:
   Every cycle has the same observations, all of them; its model time is that of the start and a step of the model a cycle.

   A dense /R has as many rows as there are observations.

.seealso: KalRunAnalyse()
@*/
PetscErrorCode KalObservationsSetTimeless(KalObservations obs, PetscBool timeless)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetTimeless"));
  PetscCheck(!timeless || obs->type == KAL_TYPE_SERIES, obs->comm, PETSC_ERR_ARG_WRONGSTATE, "Observations of type %s cannot do without times; KalObservationsSetType() with series comes first", KalObservationsTypes[obs->type]);
  obs->timed->timeless = timeless;
  PetscFunctionReturn(PETSC_SUCCESS);
}
