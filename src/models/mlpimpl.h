/* The inside of the model type "mlp": layers, prior and work space. */
#ifndef KALMIA_MLPIMPL_H
#define KALMIA_MLPIMPL_H

#include <models/modelimpl.h>

#define KAL_MLP_LAYERS        64  /* most layers of weights */
#define KAL_MLP_BLOCK_UNITS   256 /* a member block's first product has at least so many columns, ... */
#define KAL_MLP_BLOCK_MAX     16  /* ... if that takes no more members than this */
#define KAL_MLP_BLOCK_SAMPLES 512 /* rows of the products */

typedef enum {
  KAL_RELU,
  KAL_TANH,
  KAL_SIGMOID,
  KAL_HEAVISIDE,
  KAL_LINEAR,
} KalActivation;

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
  PetscInt      block;                      /* members of a canonical block */
  PetscInt      widest;                     /* largest hidden or output width but the first */
  size_t        work_bytes;
  void         *work;
} KalMLP;

PETSC_EXTERN const char *const KalActivations[];

/* Numbers of work space that a forward pass over batches of so many samples takes. */
PETSC_INTERN PetscInt64     KalMLPWork_Private(const KalMLP *, PetscInt samples);
PETSC_INTERN PetscErrorCode KalModelObserve_MLP(KalModel, const KalColumns *, PetscReal, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);

#endif
