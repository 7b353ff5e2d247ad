/* Options of KalObservations. */
#include "timed.h"

/* PETSc names the wrong value of an enumeration, but not the right ones. */
static PetscErrorCode CheckChoice(KalObservations obs, const char *option, const char *const *choices)
{
  char      value[128], allowed[256] = "";
  PetscBool set, same                = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetString(NULL, NULL, option, value, sizeof value, &set));
  if (!set) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; choices[i + 2] && !same; i++) { /* the last two are the type's name and prefix */
    PetscCall(PetscStrcasecmp(value, choices[i], &same));
    PetscCall(PetscStrlcat(allowed, i ? ", " : "", sizeof allowed));
    PetscCall(PetscStrlcat(allowed, choices[i], sizeof allowed));
  }
  PetscCheck(same, obs->comm, PETSC_ERR_ARG_UNKNOWN_TYPE, "%s %s is unknown; allowed: %s", option, value, allowed);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Which types an option is for. */
static const struct {
  const char *name;
  int         types;
} Uses[] = {
    {"-observations_batch",             1 << KAL_TYPE_DATASET                       },
    {"-observations_samples",           1 << KAL_TYPE_DATASET                       },
    {"-observations_normalize",         1 << KAL_TYPE_DATASET                       },
    {"-observations_output",            1 << KAL_TYPE_DATASET                       },
    {"-observations_probability_floor", 1 << KAL_TYPE_DATASET                       },
    {"-observations_path",              1 << KAL_TYPE_DATASET | 1 << KAL_TYPE_SERIES},
    {"-observations_noise",             1 << KAL_TYPE_DATASET | 1 << KAL_TYPE_TWIN  },
    {"-observations_interval",          1 << KAL_TYPE_TWIN                          },
    {"-observations_first",             1 << KAL_TYPE_TWIN                          },
    {"-observations_stride",            1 << KAL_TYPE_TWIN                          },
    {"-observations_count",             1 << KAL_TYPE_TWIN                          },
    {"-observations_operator",          1 << KAL_TYPE_TWIN | 1 << KAL_TYPE_SERIES   },
    {"-observations_start",             1 << KAL_TYPE_TWIN | 1 << KAL_TYPE_SERIES   },
    {"-observations_reject",            1 << KAL_TYPE_TWIN | 1 << KAL_TYPE_SERIES   },
};

/* An option that the type takes no notice of is a mistake. */
static PetscErrorCode CheckUses(KalObservations obs)
{
  PetscFunctionBeginUser;
  for (size_t i = 0; i < PETSC_STATIC_ARRAY_LENGTH(Uses); i++) {
    char      allowed[64] = "";
    PetscBool set;

    PetscCall(PetscOptionsHasName(NULL, NULL, Uses[i].name, &set));
    if (!set || Uses[i].types & 1 << obs->type) continue;
    for (int t = KAL_TYPE_DATASET; t <= KAL_TYPE_SERIES; t++) {
      if (!(Uses[i].types & 1 << t)) continue;
      PetscCall(PetscStrlcat(allowed, allowed[0] ? " or " : "", sizeof allowed));
      PetscCall(PetscStrlcat(allowed, KalObservationsTypes[t], sizeof allowed));
    }
    SETERRQ(obs->comm, PETSC_ERR_ARG_INCOMP, "%s makes no sense with -observations_type %s; it is for %s", Uses[i].name, KalObservationsTypes[obs->type], allowed);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The options of observations in time. */
static PetscErrorCode SetTimedFromOptions(KalObservations obs)
{
  KalTimed *t     = obs->timed;
  PetscReal start = t->start, interval = t->interval, reject = t->reject;
  PetscInt  first = t->first, stride = t->stride, count = t->count;
  PetscBool operatorset, intervalset;
  char      path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscOptionsBegin(obs->comm, NULL, "Observations in time: twin experiments, series from a file", NULL);
  PetscCall(PetscOptionsReal("-observations_start", "Model time before the first cycle", "KalObservationsSetTimes", start, &start, NULL));
  PetscCall(PetscOptionsReal("-observations_interval", "Model time between a twin's observations, a whole number of model steps (default: one step)", "KalObservationsSetTimes", interval, &interval, &intervalset));
  PetscCall(PetscOptionsInt("-observations_first", "First entry of the state that a twin observes", "KalObservationsSetEntries", first, &first, NULL));
  PetscCall(PetscOptionsInt("-observations_stride", "Distance from one observed entry to the next", "KalObservationsSetEntries", stride, &stride, NULL));
  PetscCall(PetscOptionsInt("-observations_count", "How many entries a twin observes; 0: all from the first on", "KalObservationsSetEntries", count, &count, NULL));
  PetscCall(PetscOptionsString("-observations_operator", "HDF5 file with what a twin observes; or model: the model's own operator", "KalObservationsSetOperator", t->path, path, sizeof path, &operatorset));
  PetscCall(PetscOptionsReal("-observations_reject", "Leave out what lies so many standard deviations from its prediction; 0: nothing", "KalObservationsSetReject", reject, &reject, NULL));
  PetscOptionsEnd();
  PetscCheck(!intervalset || interval > 0.0, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_interval %g is not allowed; it must be a positive model time", (double)interval);
  PetscCall(KalObservationsSetTimes(obs, start, interval));
  PetscCall(KalObservationsSetEntries(obs, first, stride, count));
  PetscCall(KalObservationsSetReject(obs, reject));
  if (operatorset) PetscCall(KalObservationsSetOperator(obs, path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetFromOptions - Takes the options with the prefix -observations_

   Collective

   Input Parameter:
.  obs - the observations

   Options Database Keys:
+  -observations_type <dataset,twin,series> - kind of observations, see KalObservationsSetType()
.  -observations_path <path> - the data, see KalObservationsSetPath()
.  -observations_batch <batch> - samples of a mini-batch, see KalObservationsSetBatch()
.  -observations_samples <samples> - use only the first training samples; 0 for all
.  -observations_normalize <none,unit,standard,feature> - what is done to the inputs: nothing; integers divided by the
     largest of their type (255 for uint8); minus the mean and over the standard deviation of all training inputs; the same
     for each entry of an input. Default: standard for uint8, none for other types
.  -observations_loss <squared,cross-entropy> - the loss, see KalObservationsSetLoss()
.  -observations_noise <gamma> - noise variance of the squared loss
.  -observations_output <probabilities,logits> - space in which the cross-entropy is linearized, see KalObservationsWhiten()
.  -observations_probability_floor <floor> - smallest probability in the weight of the cross-entropy under probabilities
.  -observations_start <0> - of observations in time: model time before the first cycle
.  -observations_interval <model step> - of a twin: model time between observations, see KalObservationsSetTimes()
.  -observations_first <0> - of a twin: first entry observed, see KalObservationsSetEntries()
.  -observations_stride <1> - distance from one observed entry to the next
.  -observations_count <all> - how many entries
.  -observations_operator <path> - what is observed instead, see KalObservationsSetOperator()
-  -observations_reject <0> - background check, see KalObservationsSetReject()

   Note:
   An option that the type takes no notice of is refused.
@*/
PetscErrorCode KalObservationsSetFromOptions(KalObservations obs)
{
  PetscInt  batch = obs->batch, limit = obs->limit;
  PetscReal gamma = obs->gamma, floor = obs->floor;
  PetscBool pathset, normalizeset, lossset, noiseset;
  PetscEnum type = (PetscEnum)obs->type, normalize = (PetscEnum)obs->normalize, loss = (PetscEnum)obs->loss, output = (PetscEnum)obs->output;
  char      path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetFromOptions"));
  PetscCall(CheckChoice(obs, "-observations_type", KalObservationsTypes));
  PetscCall(CheckChoice(obs, "-observations_normalize", KalNormalizes));
  PetscCall(CheckChoice(obs, "-observations_loss", KalLossTypes));
  PetscCall(CheckChoice(obs, "-observations_output", KalOutputSpaces));
  PetscOptionsBegin(obs->comm, NULL, "Observations: data sets, mini-batches, losses", NULL);
  PetscCall(PetscOptionsEnum("-observations_type", "Samples to learn from, observations in time of a truth that the model makes, or of a file", "KalObservationsSetType", KalObservationsTypes, type, &type, NULL));
  PetscCall(PetscOptionsString("-observations_path", "Directory with MNIST's file names, one HDF5 file, or a comma list of 2 or 4 IDX files; of a series one HDF5 file", "KalObservationsSetPath", obs->path, path, sizeof path, &pathset));
  PetscCall(PetscOptionsInt("-observations_batch", "Samples of a mini-batch; 0: the whole training set", "KalObservationsSetBatch", batch, &batch, NULL));
  PetscCall(PetscOptionsInt("-observations_samples", "Use only so many training samples, the first ones; 0: all", "KalObservationsSetFromOptions", limit, &limit, NULL));
  PetscCall(PetscOptionsEnum("-observations_normalize", "Inputs: as they are, integers over the largest of their type, minus mean over standard deviation of all, or of each entry (default: standard for uint8, none for other types)", "KalObservationsGetNormalization", KalNormalizes, normalize, &normalize, &normalizeset));
  PetscCall(PetscOptionsEnum("-observations_loss", "Loss (default: cross-entropy for class labels, squared for real-valued targets)", "KalObservationsSetLoss", KalLossTypes, loss, &loss, &lossset));
  PetscCall(PetscOptionsReal("-observations_noise", "Variance gamma of the observation noise of the squared loss, R = gamma I", "KalObservationsSetLoss", gamma, &gamma, &noiseset));
  PetscCall(PetscOptionsEnum("-observations_output", "Space in which the cross-entropy is linearized", "KalObservationsWhiten", KalOutputSpaces, output, &output, NULL));
  PetscCall(PetscOptionsReal("-observations_probability_floor", "Smallest probability in the weight of the cross-entropy under probabilities", "KalObservationsWhiten", floor, &floor, NULL));
  PetscOptionsEnd();

  PetscCall(KalObservationsSetType(obs, KalObservationsTypes[type]));
  PetscCall(CheckUses(obs));
  if (pathset) PetscCall(KalObservationsSetPath(obs, path));
  PetscCall(KalObservationsSetBatch(obs, batch));
  PetscCall(KalObservationsSetSamples(obs, limit));
  PetscCheck(gamma > 0.0 && !PetscIsInfOrNanReal(gamma), obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_noise %g is a variance: it must be positive and finite", (double)gamma);
  PetscCheck(floor > 0.0 && floor <= 1.0, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "-observations_probability_floor %g is not allowed; it must be above 0 and at most 1", (double)floor);
  if (normalizeset) {
    obs->normalize    = (KalNormalize)normalize;
    obs->normalizeset = PETSC_TRUE;
  }
  if (lossset) {
    obs->loss    = (KalLossType)loss;
    obs->lossset = PETSC_TRUE;
  }
  if (noiseset) obs->gamma = gamma;
  if (noiseset) obs->timed->noise = PETSC_TRUE;
  obs->output = (KalOutputSpace)output;
  obs->floor  = floor;
  PetscCall(SetTimedFromOptions(obs));
  PetscFunctionReturn(PETSC_SUCCESS);
}
