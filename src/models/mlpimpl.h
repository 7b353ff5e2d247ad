/* The inside of the model type "mlp": layers, prior and work space. */
#ifndef KALMIA_MLPIMPL_H
#define KALMIA_MLPIMPL_H

#include <models/activation.h>
#include <models/modelimpl.h>

#include <ensemble/panels.h>

#define KAL_MLP_LAYERS        64  /* most layers of weights */
#define KAL_MLP_BLOCK_SAMPLES 512 /* samples whose inputs are packed together: they stay in the second-level cache */

typedef struct {
  PetscInt      layers;                     /* of weights, at least 1 */
  PetscInt      width[KAL_MLP_LAYERS + 1];  /* inputs, hidden widths, outputs */
  PetscInt64    offset[KAL_MLP_LAYERS + 1]; /* in the state: of a layer's weights; its biases follow them */
  KalActivation activation;                 /* of the hidden layers */
  char          scale[KAL_MLP_LAYERS][32];  /* prior: he, xavier, lecun or a number, by layer */
  PetscInt      scales;                     /* how many were given: 1 for all layers, or one a layer */
  PetscReal     sd[KAL_MLP_LAYERS];         /* prior: of the weights, by layer */
  PetscReal     bias_scale;                 /* prior: sd of the biases */
  PetscBool     center;                     /* prior: members scattered about one network */
  PetscReal     spread;                     /* prior: sd of that scatter in units of sd */
  size_t        work_bytes;
  PetscInt64    packed; /* stamp of the batch whose inputs lie packed in the work space, or 0 */
  void         *work;
} KalMLP;

/* Numbers of a cache line of the smaller type; pieces of the work space start on lines. */
#define KAL_MLP_LINE       16
#define KAL_MLP_ROUNDED(n) (((PetscInt64)(n) + KAL_MLP_LINE - 1) / KAL_MLP_LINE * KAL_MLP_LINE)

/* Units of a layer with those that fill the last panel. */
static inline PetscInt KalMLPPadded_Private(const KalPanels *kernels, PetscInt units)
{
  const PetscInt width = KalPanelsChoose(kernels, units)->width;

  return KalPanelCount(units, width) * width;
}

/* Numbers of work space that a forward pass over batches of so many samples takes. */
PETSC_INTERN PetscInt64     KalMLPWork_Private(const KalMLP *, KalPrecision, PetscInt samples);
PETSC_INTERN PetscInt64     KalMLPAdjointWork_Private(const KalMLP *, KalPrecision, PetscInt samples);
PETSC_INTERN PetscErrorCode KalMLPReserve_Private(KalModel, PetscInt64 numbers);
PETSC_INTERN PetscErrorCode KalModelAdjoint_MLP(KalModel, const KalColumns *, const KalBatch *, KalSensitivity, void *, PetscScalar **);
PETSC_INTERN PetscErrorCode KalModelObserve_MLP(KalModel, const KalColumns *, PetscReal, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);

#endif
