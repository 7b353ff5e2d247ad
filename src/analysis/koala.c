/* Filters of networks whose one observation is the loss: koala.h. */
#include "koala.h"

#define KAL_KOALA_KEEP 0.9 /* of the running second moment of the losses */

PetscErrorCode KalKoalaSetFromOptions(KalKoala *koala, KalOptionItems PetscOptionsObject)
{
  char option[64];

  PetscFunctionBeginUser;
  PetscCall(KalDescentSetFromOptions(&koala->descent, PetscOptionsObject));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_variance", koala->descent.name));
  PetscCall(PetscOptionsReal(option, "Variances before the first batch", NULL, koala->variance, &koala->variance, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_target", koala->descent.name));
  PetscCall(PetscOptionsReal(option, "Loss that is aimed at", NULL, koala->target, &koala->target, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Layers of a network, each a range of parameters; of another model all of them are one. */
static PetscErrorCode TakeLayers(KalAnalysis analysis, KalKoala *koala)
{
  PetscFunctionBeginUser;
  koala->layers = PetscMax(1, analysis->layers.count);
  PetscCall(PetscMalloc2(koala->layers + 1, &koala->start, koala->layers, &koala->layer));
  koala->start[0] = 0;
  for (PetscInt l = 1; l < koala->layers; l++) koala->start[l] = (PetscInt)analysis->layers.layer[l].offset;
  koala->start[koala->layers] = analysis->n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalKoalaSetUp(KalAnalysis analysis, KalKoala *koala)
{
  PetscFunctionBeginUser;
  PetscCheck(koala->variance > 0.0 && !PetscIsInfOrNanReal(koala->variance), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_variance %g: must be positive and finite", koala->descent.name, (double)koala->variance);
  PetscCheck(koala->target >= 0.0 && !PetscIsInfOrNanReal(koala->target), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_target %g: must not be negative", koala->descent.name, (double)koala->target);
  PetscCall(KalDescentSetUp(analysis, &koala->descent));
  PetscCall(TakeLayers(analysis, koala));
  PetscCall(KalGroupCreate(analysis->comm, analysis->N, &koala->group));
  PetscCall(PetscCalloc1((size_t)koala->numbers * (size_t)analysis->N, &koala->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalKoala *koala = (KalKoala *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalDescentTell(analysis, &koala->descent, told, verdict));
  for (PetscInt m = 0; m < analysis->N; m++) {
    PetscReal *noise = koala->state + m * koala->numbers;

    *noise = KAL_KOALA_KEEP * *noise + (1.0 - KAL_KOALA_KEEP) * told->losses[2 * m + 1];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Each layer's S and what it takes of the loss; the largest norm/S. */
PetscReal KalKoalaObserve(KalKoala *koala, PetscReal P, PetscReal noise, PetscReal loss, const PetscScalar *g, const PetscScalar *x)
{
  const PetscReal decay = koala->descent.decay;
  PetscReal       most  = 0.0;

  for (PetscInt l = 0; l < koala->layers; l++) {
    KalKoalaLayer *layer = &koala->layer[l];
    PetscReal      size  = 0.0, S;

    layer->norm = 0.0;
    for (PetscInt i = koala->start[l]; i < koala->start[l + 1]; i++) {
      layer->norm += (g[i] + decay * x[i]) * (g[i] + decay * x[i]);
      size += x[i] * x[i];
    }
    layer->loss   = loss + 0.5 * decay * size;
    S             = P * layer->norm + noise;
    layer->factor = S > 0.0 ? (layer->loss - koala->target) / S : 0.0;
    if (S > 0.0) most = PetscMax(most, layer->norm / S);
  }
  return most;
}

/* The owners move their networks; what they keep of each goes to all. */
PetscErrorCode KalKoalaUpdate(KalAnalysis analysis, KalKoala *koala, KalDescentMove move)
{
  PetscFunctionBeginUser;
  PetscCall(KalDescentUpdate(analysis, &koala->descent, move));
  PetscCall(KalGroupCollect(&koala->group, koala->numbers, koala->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalKoala *koala = (KalKoala *)analysis->data;

  PetscFunctionBeginUser;
  arrays[0] = KalDescentArray(&koala->descent);
  arrays[1] = (KalArray){.name = "state", .meaning = "of each network: second moment of the losses, covariances", .count = koala->numbers * analysis->N, .data = koala->state};
  *count    = 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalKoalaDestroy(KalKoala *koala)
{
  PetscFunctionBeginUser;
  PetscCall(KalGroupDestroy(&koala->group));
  PetscCall(PetscFree2(koala->start, koala->layer));
  PetscCall(PetscFree(koala->state));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Defaults, and the operations that do not differ; `koala` is, or begins, the data of the method. */
PetscErrorCode KalKoalaCreate(KalAnalysis analysis, const char *name, PetscInt numbers, KalKoala *koala)
{
  PetscFunctionBeginUser;
  koala->descent.name  = name;
  koala->descent.step  = 1.0;
  koala->variance      = 0.1;
  koala->numbers       = numbers;
  analysis->data       = koala;
  analysis->takes      = KAL_TAKES_SCHEDULE;
  analysis->ops.ask    = KalDescentAsk;
  analysis->ops.tell   = Tell;
  analysis->ops.arrays = Arrays;
  PetscFunctionReturn(PETSC_SUCCESS);
}
