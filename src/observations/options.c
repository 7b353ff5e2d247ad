/* Options of KalObservations. */
#include "observationsimpl.h"

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

/*@
   KalObservationsSetFromOptions - Takes the options with the prefix -observations_

   Collective

   Input Parameter:
.  obs - the observations

   Options Database Keys:
+  -observations_path <path> - the data, see KalObservationsSetPath()
.  -observations_batch <batch> - samples of a mini-batch, see KalObservationsSetBatch()
.  -observations_samples <samples> - use only the first training samples; 0 for all
.  -observations_normalize <none,unit,standard,feature> - what is done to the inputs: nothing; integers divided by the
     largest of their type (255 for uint8); minus the mean and over the standard deviation of all training inputs; the same
     for each entry of an input. Default: standard for uint8, none for other types
.  -observations_loss <squared,cross-entropy> - the loss, see KalObservationsSetLoss()
.  -observations_noise <gamma> - noise variance of the squared loss
.  -observations_output <probabilities,logits> - space in which the cross-entropy is linearized, see KalObservationsWhiten()
-  -observations_probability_floor <floor> - smallest probability in the weight of the cross-entropy under probabilities
@*/
PetscErrorCode KalObservationsSetFromOptions(KalObservations obs)
{
  PetscInt  batch = obs->batch, limit = obs->limit;
  PetscReal gamma = obs->gamma, floor = obs->floor;
  PetscBool pathset, normalizeset, lossset, noiseset;
  PetscEnum normalize = (PetscEnum)obs->normalize, loss = (PetscEnum)obs->loss, output = (PetscEnum)obs->output;
  char      path[PETSC_MAX_PATH_LEN];

  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckBefore(obs, "KalObservationsSetFromOptions"));
  PetscCall(CheckChoice(obs, "-observations_normalize", KalNormalizes));
  PetscCall(CheckChoice(obs, "-observations_loss", KalLossTypes));
  PetscCall(CheckChoice(obs, "-observations_output", KalOutputSpaces));
  PetscOptionsBegin(obs->comm, NULL, "Observations: data sets, mini-batches, losses", NULL);
  PetscCall(PetscOptionsString("-observations_path", "Directory with MNIST's file names, one HDF5 file, or a comma list of 2 or 4 IDX files", "KalObservationsSetPath", obs->path, path, sizeof path, &pathset));
  PetscCall(PetscOptionsInt("-observations_batch", "Samples of a mini-batch; 0: the whole training set", "KalObservationsSetBatch", batch, &batch, NULL));
  PetscCall(PetscOptionsInt("-observations_samples", "Use only so many training samples, the first ones; 0: all", "KalObservationsSetFromOptions", limit, &limit, NULL));
  PetscCall(PetscOptionsEnum("-observations_normalize", "Inputs: as they are, integers over the largest of their type, minus mean over standard deviation of all, or of each entry (default: standard for uint8, none for other types)", "KalObservationsGetNormalization", KalNormalizes, normalize, &normalize, &normalizeset));
  PetscCall(PetscOptionsEnum("-observations_loss", "Loss (default: cross-entropy for class labels, squared for real-valued targets)", "KalObservationsSetLoss", KalLossTypes, loss, &loss, &lossset));
  PetscCall(PetscOptionsReal("-observations_noise", "Variance gamma of the observation noise of the squared loss, R = gamma I", "KalObservationsSetLoss", gamma, &gamma, &noiseset));
  PetscCall(PetscOptionsEnum("-observations_output", "Space in which the cross-entropy is linearized", "KalObservationsWhiten", KalOutputSpaces, output, &output, NULL));
  PetscCall(PetscOptionsReal("-observations_probability_floor", "Smallest probability in the weight of the cross-entropy under probabilities", "KalObservationsWhiten", floor, &floor, NULL));
  PetscOptionsEnd();

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
  obs->output = (KalOutputSpace)output;
  obs->floor  = floor;
  PetscFunctionReturn(PETSC_SUCCESS);
}
