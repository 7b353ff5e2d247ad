/* Increments of a layer scaled by the inverse of a running covariance of its features: a ridge regression of its states on them. */
#include "layered.h"

/* covariance <- memory covariance + (1 - memory) sum f f'/samples, f with a constant 1 behind it; lower triangle. */
static PetscErrorCode TakeCovariance(KalAnalysis analysis, const KalLayeredKernels *kernels, const KalLayer *layer, PetscInt samples, PetscReal *covariance)
{
  KalLayered     *layered = (KalLayered *)analysis->data;
  const PetscInt  F = layer->features, rows = samples * layer->rows;
  const PetscReal share = (1.0 - layered->memory) / samples;
  PetscReal       keep  = layered->memory;
  PetscBLASInt    order, count;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(F + 1, &order));
  for (PetscInt k = 0; k < rows; k += KAL_LAYERED_ROWS) {
    const PetscInt taken = PetscMin(KAL_LAYERED_ROWS, rows - k);

    for (PetscInt i = 0; i < taken; i++) {
      kernels->get(F, (const char *)layered->features + (size_t)(k + i) * (size_t)F * layered->real, layered->rows + (size_t)i * (size_t)order);
      layered->rows[(size_t)i * (size_t)order + (size_t)F] = layer->biased ? 1.0 : 0.0;
    }
    PetscCall(PetscBLASIntCast(taken, &count));
    PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "N", &order, &count, &share, layered->rows, &order, &keep, covariance, &order));
    keep = 1.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* right <- (covariance + ridge)^-1 right, for the increments of all units */
static PetscErrorCode Solve(KalLayered *layered, PetscBLASInt order, PetscBLASInt units, PetscReal correction, const PetscReal *covariance)
{
  PetscBLASInt info;
  PetscReal    trace = 0.0;

  PetscFunctionBeginUser;
  for (size_t i = 0; i < (size_t)order * (size_t)order; i++) layered->normal[i] = correction * covariance[i];
  for (PetscInt i = 0; i < order; i++) trace += layered->normal[(size_t)i * (size_t)(order + 1)];
  for (PetscInt i = 0; i < order; i++) layered->normal[(size_t)i * (size_t)(order + 1)] += layered->ridge * trace / order;
  PetscCallBLAS("LAPACKpotrf", LAPACKpotrf_("L", &order, layered->normal, &order, &info));
  PetscCheck(info == 0, PETSC_COMM_SELF, PETSC_ERR_FP, "The covariance of a layer's features is not positive definite; a larger -layered_ridge than %g makes it so", (double)layered->ridge);
  PetscCallBLAS("LAPACKpotrs", LAPACKpotrs_("L", &order, &units, layered->normal, &order, layered->right, &order, &info));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void MoveUnits(const KalLayered *layered, const KalLayer *layer, PetscReal step, PetscReal correction, KalNetwork *network)
{
  const PetscInt  F    = layer->features;
  const PetscReal keep = layered->first, shrink = 1.0 - step * layered->decay;

  for (PetscInt u = 0; u < layer->units; u++) {
    for (PetscInt i = 0; i < F + (layer->biased ? 1 : 0); i++) {
      const PetscInt64 at = layer->offset + (i < F ? (PetscInt64)u * F + i : (PetscInt64)layer->units * F + u);

      network->first[at] = keep * network->first[at] + (1.0 - keep) * layered->right[(size_t)u * (size_t)(F + 1) + (size_t)i];
      network->x[at]     = (i < F ? shrink : 1.0) * network->x[at] - step * correction * network->first[at];
    }
  }
}

/*
  KalLayeredRidge - Moves a layer's parameters by w_u <- w_u - step (E f f' + ridge)^-1 E f delta_u, and keeps the covariance

  Not Collective; every rank that holds the network does the same. Its features and increments were made.
*/
PetscErrorCode KalLayeredRidge(KalAnalysis analysis, const KalTold *told, PetscInt stage, PetscReal correction, PetscReal step, KalNetwork *network)
{
  KalLayered              *layered = (KalLayered *)analysis->data;
  const KalLayer          *layer   = &analysis->layers.layer[stage - 1];
  const PetscBool          single  = (PetscBool)(analysis->layers.precision == KAL_SINGLE);
  const KalLayeredKernels *kernels = single ? &KalLayeredSingle : &KalLayeredDouble;
  const PetscInt           order = layer->features + 1, pitch = KalLayeredPitch(layer, single ? KalPanelsGet()->heightsingle : KalPanelsGet()->height);
  const PetscReal          t          = told->cycle + 1.0;
  PetscReal               *covariance = layered->covariance + (size_t)network->member * (size_t)layered->covariances;
  PetscBLASInt             size, units;

  PetscFunctionBeginUser;
  for (PetscInt l = 1; l < stage; l++) covariance += (size_t)(analysis->layers.layer[l - 1].features + 1) * (size_t)(analysis->layers.layer[l - 1].features + 1);
  PetscCall(PetscBLASIntCast(order, &size));
  PetscCall(PetscBLASIntCast(layer->units, &units));
  PetscCall(TakeCovariance(analysis, kernels, layer, told->batch->samples, covariance));
  for (PetscInt u = 0; u < layer->units; u++) kernels->get(order, (const char *)layered->increment + (size_t)u * (size_t)pitch * layered->real, layered->right + (size_t)u * (size_t)order);
  for (size_t i = 0; i < (size_t)order * (size_t)layer->units; i++) layered->right[i] /= told->batch->samples;
  PetscCall(Solve(layered, size, units, 1.0 / (1.0 - PetscPowReal(layered->memory, t)), covariance));
  MoveUnits(layered, layer, step, correction, network);
  PetscFunctionReturn(PETSC_SUCCESS);
}
