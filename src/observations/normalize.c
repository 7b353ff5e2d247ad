/* Mean and standard deviation of the training inputs, by one rank in one fixed order. */
#include "observationsimpl.h"

/* Sums of 8- and 16-bit integers and of their squares are exact in 128 bits for any set that fits an index. */
__extension__ typedef __int128 KalWide;

static PetscReal SdFromSums(KalWide sum, KalWide squares, PetscInt64 count)
{
  const KalWide spread = (KalWide)count * squares - sum * sum; /* count^2 times the variance */

  return spread > 0 ? PetscSqrtReal((PetscReal)spread) / (PetscReal)count : 1.0;
}

/* Exact: of all numbers together (entries = 1), or of each of the inputs. */
static PetscErrorCode Exact(KalObservations obs, PetscInt entries, PetscReal *mean, PetscReal *sd)
{
  const KalTable  *x      = &obs->set[KAL_SET_TRAIN].x;
  const PetscInt   inputs = x->shape.width, samples = obs->set[KAL_SET_TRAIN].samples;
  const PetscInt64 count = (PetscInt64)samples * (entries == 1 ? inputs : 1);
  KalWide         *sum, *squares;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc2(entries, &sum, entries, &squares));
  for (PetscInt s = 0; s < samples; s++) {
    KalTableRow(x, s, obs->row);
    for (PetscInt i = 0; i < inputs; i++) {
      const PetscInt64 v = (PetscInt64)obs->row[i];

      sum[entries == 1 ? 0 : i] += v;
      squares[entries == 1 ? 0 : i] += v * v;
    }
  }
  for (PetscInt e = 0; e < entries; e++) {
    mean[e] = (PetscReal)sum[e] / (PetscReal)count;
    sd[e]   = SdFromSums(sum[e], squares[e], count);
  }
  PetscCall(PetscFree2(sum, squares));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Wider numbers: two passes, sample by sample; each sample's share is summed first. */
static PetscErrorCode TwoPasses(KalObservations obs, PetscInt entries, PetscReal *mean, PetscReal *sd)
{
  const KalTable *x      = &obs->set[KAL_SET_TRAIN].x;
  const PetscInt  inputs = x->shape.width, samples = obs->set[KAL_SET_TRAIN].samples;
  const PetscReal count = (PetscReal)samples * (entries == 1 ? (PetscReal)inputs : 1.0);

  PetscFunctionBeginUser;
  for (int pass = 0; pass < 2; pass++) {
    PetscReal *const out = pass ? sd : mean;

    PetscCall(PetscArrayzero(out, entries));
    for (PetscInt s = 0; s < samples; s++) {
      PetscReal share = 0.0;

      KalTableRow(x, s, obs->row);
      for (PetscInt i = 0; i < inputs; i++) {
        const PetscReal v = pass ? obs->row[i] - mean[entries == 1 ? 0 : i] : obs->row[i], term = pass ? v * v : v;

        if (entries == 1) share += term;
        else out[i] += term;
      }
      if (entries == 1) out[0] += share;
    }
    for (PetscInt e = 0; e < entries; e++) {
      out[e] /= count;
      if (pass) sd[e] = sd[e] > 0.0 ? PetscSqrtReal(sd[e]) : 1.0;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscReal LargestOf(KalElement element)
{
  static const PetscReal largest[] = {255., 127., 65535., 32767., 4294967295., 2147483647., 18446744073709551615., 9223372036854775807.};

  return largest[element];
}

/* Collective. Finds mean and sd unless they were given; see KalObservationsGetNormalization(). */
PetscErrorCode KalObservationsNormalize(KalObservations obs)
{
  const KalShape *shape = &obs->set[KAL_SET_TRAIN].x.shape;
  PetscMPIInt     rank, count;
  PetscBool       finite = PETSC_TRUE;

  PetscFunctionBeginUser;
  if (obs->normalization) {
    PetscCheck(obs->normcount == 1 || obs->normcount == shape->width, obs->comm, PETSC_ERR_ARG_SIZ, "The given normalization has %" PetscInt_FMT " means and standard deviations; the data take 1 or %" PetscInt_FMT ", the numbers a sample has", obs->normcount, shape->width);
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (!obs->normalizeset) obs->normalize = shape->element == KAL_ELEMENT_UINT8 ? KAL_NORMALIZE_STANDARD : KAL_NORMALIZE_NONE;
  PetscCheck(obs->normalize != KAL_NORMALIZE_UNIT || KalElementIsInteger(shape->element), obs->comm, PETSC_ERR_ARG_WRONG, "-observations_normalize unit divides integers by the largest of their type, and the inputs are %s; allowed for them: none, standard, feature", KalElementName(shape->element));
  obs->normcount = obs->normalize == KAL_NORMALIZE_FEATURE ? shape->width : 1;
  PetscCall(PetscFree2(obs->mean, obs->sd));
  PetscCall(PetscMalloc2(obs->normcount, &obs->mean, obs->normcount, &obs->sd));
  PetscCallMPI(MPI_Comm_rank(obs->comm, &rank));
  if (obs->normalize == KAL_NORMALIZE_NONE || obs->normalize == KAL_NORMALIZE_UNIT) {
    obs->mean[0] = 0.0;
    obs->sd[0]   = obs->normalize == KAL_NORMALIZE_UNIT ? LargestOf(shape->element) : 1.0;
  } else if (!rank) {
    if (shape->element <= KAL_ELEMENT_INT16) PetscCall(Exact(obs, obs->normcount, obs->mean, obs->sd));
    else PetscCall(TwoPasses(obs, obs->normcount, obs->mean, obs->sd));
  }
  PetscCall(PetscMPIIntCast(obs->normcount, &count));
  PetscCallMPI(MPI_Bcast(obs->mean, count, MPIU_REAL, 0, obs->comm));
  PetscCallMPI(MPI_Bcast(obs->sd, count, MPIU_REAL, 0, obs->comm));
  for (PetscInt i = 0; i < obs->normcount; i++)
    if (PetscIsInfOrNanReal(obs->mean[i]) || PetscIsInfOrNanReal(obs->sd[i])) finite = PETSC_FALSE;
  PetscCheck(finite, obs->comm, PETSC_ERR_FP, "Mean or standard deviation of the training inputs overflow; scale the data");
  obs->normalization = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsGetNormalization - The numbers by which inputs are normalized: (input - mean)/sd

   Not Collective

   Input Parameter:
.  obs - the observations, set up

   Output Parameters:
+  count - 1: the same for every entry of a sample; else the number of inputs; 0 for observations in time
.  mean - `count` means; borrowed, may be NULL
-  sd - `count` standard deviations (divisor: the number of samples; a zero is replaced by 1); borrowed, may be NULL

   Notes:
   `none` is mean 0 and sd 1, `unit` mean 0 and sd the largest number of the integer type. Mean and sd are taken
   over the training samples in use. They belong in a snapshot: KalObservationsSetNormalization() takes them back.
@*/
PetscErrorCode KalObservationsGetNormalization(KalObservations obs, PetscInt *count, PetscReal **mean, PetscReal **sd)
{
  PetscFunctionBeginUser;
  PetscCall(KalObservationsCheckSetUp(obs, "KalObservationsGetNormalization"));
  if (count) *count = obs->normcount;
  if (mean) *mean = obs->mean;
  if (sd) *sd = obs->sd;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalObservationsSetNormalization - Gives the numbers by which inputs are normalized, in place of those of the data

   Logically Collective

   Input Parameters:
+  obs - the observations
.  count - 1, or the number of inputs
.  mean - `count` means; copied
-  sd - `count` standard deviations, positive; copied

   Note:
   Overrides -observations_normalize. It may be called before or after KalObservationsSetUp(), but no batch that was
   made before follows it.
@*/
PetscErrorCode KalObservationsSetNormalization(KalObservations obs, PetscInt count, const PetscReal *mean, const PetscReal *sd)
{
  PetscReal *newmean, *newsd;

  PetscFunctionBeginUser;
  PetscCheck(obs->type == KAL_TYPE_DATASET, obs->comm, PETSC_ERR_ARG_WRONGSTATE, "Observations of type %s have no inputs to be normalized", KalObservationsTypes[obs->type]);
  PetscCheck(count >= 1, obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "A normalization of %" PetscInt_FMT " numbers was given; allowed: 1, or the number of inputs", count);
  PetscCheck(!obs->setup || count == 1 || count == obs->set[KAL_SET_TRAIN].x.shape.width, obs->comm, PETSC_ERR_ARG_SIZ, "The given normalization has %" PetscInt_FMT " means and standard deviations; the data take 1 or %" PetscInt_FMT ", the numbers a sample has", count, obs->set[KAL_SET_TRAIN].x.shape.width);
  for (PetscInt i = 0; i < count; i++) {
    PetscCheck(!PetscIsInfOrNanReal(mean[i]), obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "Mean %" PetscInt_FMT " of the normalization is %g; it must be finite", i, (double)mean[i]);
    PetscCheck(sd[i] > 0.0 && !PetscIsInfOrNanReal(sd[i]), obs->comm, PETSC_ERR_ARG_OUTOFRANGE, "Standard deviation %" PetscInt_FMT " of the normalization is %g; it must be positive and finite", i, (double)sd[i]);
  }
  PetscCall(PetscMalloc2(count, &newmean, count, &newsd));
  PetscCall(PetscArraycpy(newmean, mean, count));
  PetscCall(PetscArraycpy(newsd, sd, count));
  PetscCall(PetscFree2(obs->mean, obs->sd));
  obs->mean          = newmean;
  obs->sd            = newsd;
  obs->normcount     = count;
  obs->normalization = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
