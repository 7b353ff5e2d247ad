/* KalModel: what is run once a member; one file a model, one entry in the table of types. */
#ifndef KALMIA_MODEL_H
#define KALMIA_MODEL_H

#include <kalmia/observations.h>

typedef const char *KalModelType;
#define KALMODELMLP                 "mlp"
#define KALMODELCNN                 "cnn"
#define KALMODELLORENZ63            "lorenz63"
#define KALMODELLORENZ96            "lorenz96"
#define KALMODELLORENZ96AVERAGES    "lorenz96-averages"
#define KALMODELKURAMOTOSIVASHINSKY "kuramoto-sivashinsky"
#define KALMODELADVECTION           "advection"
#define KALMODELLINEAR              "linear"
#define KALMODELELLIPTIC            "elliptic"
#define KALMODELDIFFUSION           "diffusion"
#define KALMODELDARCY               "darcy"
#define KALMODELPATH                "path"    /* all states of another model, free of its equations */
#define KALMODELSHELL               "shell"   /* a program's own functions */
#define KALMODELCOMMAND             "command" /* an external command, run once a member */

/*
  A layer of a network: the states of stage l are z = W f + b, for each of `rows` rows f of features (one, or the positions of a
  convolution), which follow from the states of stage l - 1. A state of stage l has rows x units numbers, a row contiguous; that of
  stage 0 is a sample's input, that of the last stage its prediction. Where the layer pools, its rows are lines of `across`, and of
  each square of pool x pool rows the largest number of each unit is kept; what squares leave over at the end is dropped.
*/
typedef struct {
  PetscInt   features, units, rows;
  PetscInt   pool, across; /* at least 1 */
  PetscBool  biased;       /* whether units have biases */
  PetscInt64 offset;       /* in the parameters: the features' weights of unit after unit, then the units' biases */
} KalLayer;

/* Numbers of a state of a layer's stage. */
static inline PetscInt KalLayerStates(const KalLayer *layer)
{
  return (layer->rows / layer->across / layer->pool) * (layer->across / layer->pool) * layer->units;
}

/*
  What the derivative of a sum of predictions is taken along: given the predictions y of some samples (from `first` on of the
  batch, a sample contiguous) for column `column`, the sensitivities s to them, of the same shape.
*/
typedef PetscErrorCode (*KalSensitivity)(void *ctx, PetscInt column, PetscInt first, PetscInt samples, const PetscScalar *y, PetscScalar *s);

/*
  What a model provides. A stage is a time of a dynamical model or a layer of a network; a network's
  weights are a state whose forecast is the identity, so its `propagate` is NULL and `observe` is its
  forward pass. A dynamical model has a time step (KalModelSetStep()) and mostly no `observe`: what is observed
  of it are linear functions of its state, which come with the batch. The columns given are whole and local. No operation
  communicates but on the ranks of its group, and there only propagate, observe and tangent of a model that says KAL_TOGETHER_ALL.
*/
/* What the ranks of a group do with its members (-run_ranks_per_member). */
typedef enum {
  KAL_TOGETHER_NOT,     /* the first one runs them, the others wait */
  KAL_TOGETHER_SAMPLES, /* each predicts some samples of a mini-batch: what is predicted of a sample must have the same bits whatever others are given with it */
  KAL_TOGETHER_ALL,     /* each makes every call, with the whole columns, and may communicate on KalModelGetMemberComm(); what the first one is given counts */
} KalTogether;

typedef struct {
  KalTogether together;
  PetscErrorCode (*setfromoptions)(KalModel, KalOptionItems);
  PetscErrorCode (*setup)(KalModel);                                    /* sets the state size and the stages */
  PetscErrorCode (*initial)(KalModel, KalKey, PetscScalar *);           /* prior draw of member key.member: n numbers */
  PetscErrorCode (*spread)(KalModel, PetscReal *);                      /* prior standard deviation of each of n entries */
  PetscErrorCode (*mean)(KalModel, PetscScalar *);                      /* prior mean of each of n entries, where it is known */
  PetscErrorCode (*inputs)(KalModel, const KalBatch *, size_t, char *); /* says what is wrong with the first sample whose input it cannot take; else nothing */
  PetscErrorCode (*propagate)(KalModel, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *, KalStatus *);
  PetscErrorCode (*observe)(KalModel, const KalColumns *parameters, PetscReal stage, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);
  PetscErrorCode (*locate)(KalModel, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds);
  PetscErrorCode (*domain)(KalModel, KalDomain *);
  PetscErrorCode (*tangent)(KalModel, PetscReal from, PetscReal to, const PetscScalar *, PetscInt columns, PetscScalar *);       /* n x columns departures, in place */
  PetscErrorCode (*adjoint)(KalModel, const KalColumns *, const KalBatch *, KalSensitivity, void *ctx, PetscScalar **);          /* of `observe`: n numbers a column, sums over the batch */
  PetscErrorCode (*layer)(KalModel, PetscInt stage, KalLayer *);                                                                 /* of stage 1 and on */
  PetscErrorCode (*features)(KalModel, PetscInt stage, PetscInt samples, const void *before, void *room, const void **features); /* of a stage, in `room` or, where they are these, the states before it */
  PetscErrorCode (*tendency)(KalModel, const PetscScalar *x, PetscScalar *dx);                                                   /* time derivative of a state */
  PetscErrorCode (*tendencyadjoint)(KalModel, const PetscScalar *x, const PetscScalar *s, PetscScalar *g);                       /* adds to g the transposed derivative of `tendency` at x times s */
  /* Of a model whose state is a path: what it misses of each measured number, and of each equation of the dynamics */
  PetscErrorCode (*equations)(KalModel, const KalBatch *, PetscInt *measured, PetscInt *dynamics); /* how many */
  PetscErrorCode (*residuals)(KalModel, const KalBatch *, const PetscScalar *x, PetscScalar *measured, PetscScalar *dynamics);
  PetscErrorCode (*residualsadjoint)(KalModel, const KalBatch *, const PetscScalar *x, const PetscScalar *measured, const PetscScalar *dynamics, PetscScalar *g); /* the transposed derivative of both */
  PetscErrorCode (*layout)(KalModel, size_t, char *);                                                                                                             /* what must agree for a restart, as text */
  PetscErrorCode (*memory)(KalModel, PetscInt samples, PetscReal *);                                                                                              /* bytes of work space a rank takes */
  PetscErrorCode (*view)(KalModel, PetscViewer);
  PetscErrorCode (*destroy)(KalModel);
} KalModelOps;

PETSC_EXTERN PetscErrorCode KalModelRegister(const char *, PetscErrorCode (*)(KalModel));
PETSC_EXTERN PetscErrorCode KalModelGetOps(KalModel, KalModelOps **);
PETSC_EXTERN PetscErrorCode KalModelSetData(KalModel, void *);
PETSC_EXTERN PetscErrorCode KalModelGetData(KalModel, void *);

PETSC_EXTERN PetscErrorCode KalModelCreate(MPI_Comm, KalModel *);
PETSC_EXTERN PetscErrorCode KalModelSetType(KalModel, KalModelType);
PETSC_EXTERN PetscErrorCode KalModelGetType(KalModel, KalModelType *);
PETSC_EXTERN PetscErrorCode KalModelSetSize(KalModel, PetscInt);
PETSC_EXTERN PetscErrorCode KalModelGetSize(KalModel, PetscInt *);
PETSC_EXTERN PetscErrorCode KalModelSetDataSizes(KalModel, PetscInt, PetscInt);
PETSC_EXTERN PetscErrorCode KalModelGetDataSizes(KalModel, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalModelSetStages(KalModel, PetscInt);
PETSC_EXTERN PetscErrorCode KalModelGetStages(KalModel, PetscInt *);
PETSC_EXTERN PetscErrorCode KalModelSetStep(KalModel, PetscReal);
PETSC_EXTERN PetscErrorCode KalModelGetStep(KalModel, PetscReal *);
PETSC_EXTERN PetscErrorCode KalModelGetSteps(KalModel, PetscReal, PetscReal, PetscInt *);
PETSC_EXTERN PetscErrorCode KalModelSetKey(KalModel, KalKey);
PETSC_EXTERN PetscErrorCode KalModelGetKey(KalModel, KalKey *);
PETSC_EXTERN PetscErrorCode KalModelSetPrecision(KalModel, KalPrecision);
PETSC_EXTERN PetscErrorCode KalModelGetPrecision(KalModel, KalPrecision *);
PETSC_EXTERN PetscErrorCode KalModelSetMemberComm(KalModel, MPI_Comm);
PETSC_EXTERN PetscErrorCode KalModelGetMemberComm(KalModel, MPI_Comm *);
PETSC_EXTERN PetscErrorCode KalModelSetFromOptions(KalModel);
PETSC_EXTERN PetscErrorCode KalModelSetUp(KalModel);
PETSC_EXTERN PetscErrorCode KalModelView(KalModel, PetscViewer);
PETSC_EXTERN PetscErrorCode KalModelDestroy(KalModel *);

PETSC_EXTERN PetscErrorCode KalModelInitial(KalModel, KalKey, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalModelSpread(KalModel, PetscReal *);
PETSC_EXTERN PetscErrorCode KalModelMean(KalModel, PetscScalar *, PetscBool *);
PETSC_EXTERN PetscErrorCode KalModelCheckInputs(KalModel, const KalBatch *, size_t, char *);
PETSC_EXTERN PetscErrorCode KalModelPropagate(KalModel, const KalColumns *, PetscReal, PetscReal, KalColumns *, KalStatus *);
PETSC_EXTERN PetscErrorCode KalModelObserve(KalModel, const KalColumns *, PetscReal, const KalColumns *, const KalBatch *, PetscScalar **, KalStatus *);
PETSC_EXTERN PetscErrorCode KalModelLocate(KalModel, PetscInt, const PetscInt *, PetscReal *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalModelGetDomain(KalModel, KalDomain *);
PETSC_EXTERN PetscErrorCode KalModelTangent(KalModel, PetscReal, PetscReal, const PetscScalar *, PetscInt, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalModelAdjoint(KalModel, const KalColumns *, const KalBatch *, KalSensitivity, void *, PetscScalar **);
/* Networks, layer by layer; states are of the model's precision, a sample contiguous. */
PETSC_EXTERN PetscErrorCode KalModelGetLayer(KalModel, PetscInt, KalLayer *);
PETSC_EXTERN PetscErrorCode KalModelFeatures(KalModel, PetscInt, PetscInt, const void *, void *, const void **);
PETSC_EXTERN PetscErrorCode KalModelAdvance(KalModel, const PetscScalar *, PetscInt, PetscInt, PetscInt, const void *, void *);
PETSC_EXTERN PetscErrorCode KalModelUnpool(KalModel, const PetscScalar *, PetscInt, PetscInt, const void *, const void *, void *);
/* States and their equations */
PETSC_EXTERN PetscErrorCode KalModelTendency(KalModel, const PetscScalar *, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalModelTendencyAdjoint(KalModel, const PetscScalar *, const PetscScalar *, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalModelEquations(KalModel, const KalBatch *, PetscInt *, PetscInt *);
PETSC_EXTERN PetscErrorCode KalModelResiduals(KalModel, const KalBatch *, const PetscScalar *, PetscScalar *, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalModelResidualsAdjoint(KalModel, const KalBatch *, const PetscScalar *, const PetscScalar *, const PetscScalar *, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalModelGetLayout(KalModel, size_t, char *);
PETSC_EXTERN PetscErrorCode KalModelGetMemory(KalModel, PetscInt, PetscReal *);

/* A model of type shell: functions of a program, called for one member at a time. Those that say so may set the member's state. */
typedef PetscErrorCode (*KalModelShellInitial)(KalModel, KalKey, PetscScalar *x);
typedef PetscErrorCode (*KalModelShellPropagate)(KalModel, PetscInt member, PetscReal from, PetscReal to, PetscScalar *x, KalStatus *);
typedef PetscErrorCode (*KalModelShellObserve)(KalModel, PetscInt member, PetscReal stage, const PetscScalar *x, const KalBatch *, PetscScalar *y, KalStatus *);
typedef PetscErrorCode (*KalModelShellLocate)(KalModel, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds);
typedef PetscErrorCode (*KalModelShellTangent)(KalModel, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx);
typedef PetscErrorCode (*KalModelShellDestroy)(void *ctx);

PETSC_EXTERN PetscErrorCode KalModelCreateShell(MPI_Comm, PetscInt, void *, KalModel *);
PETSC_EXTERN PetscErrorCode KalModelShellSetContext(KalModel, void *);
PETSC_EXTERN PetscErrorCode KalModelShellGetContext(KalModel, void *);
PETSC_EXTERN PetscErrorCode KalModelShellSetDestroy(KalModel, KalModelShellDestroy);
PETSC_EXTERN PetscErrorCode KalModelShellSetDataSizes(KalModel, PetscInt, PetscInt);
PETSC_EXTERN PetscErrorCode KalModelShellSetPrior(KalModel, const PetscScalar *, const PetscReal *);
PETSC_EXTERN PetscErrorCode KalModelShellSetInitial(KalModel, KalModelShellInitial);
PETSC_EXTERN PetscErrorCode KalModelShellSetSpread(KalModel, const PetscReal *);
PETSC_EXTERN PetscErrorCode KalModelShellSetPropagate(KalModel, KalModelShellPropagate);
PETSC_EXTERN PetscErrorCode KalModelShellSetObserve(KalModel, KalModelShellObserve);
PETSC_EXTERN PetscErrorCode KalModelShellSetLocate(KalModel, KalModelShellLocate);
PETSC_EXTERN PetscErrorCode KalModelShellSetDomain(KalModel, PetscInt, const PetscReal *);
PETSC_EXTERN PetscErrorCode KalModelShellSetTangent(KalModel, KalModelShellTangent);

/*
  A plug-in: a shared object that -model_type names, as in -model_type ./libheat.so. Somewhere in its sources it has the line
  KAL_MODEL_PLUGIN(function), where `function` calls KalModelRegister() for its type of model.
*/
#define KAL_MODEL_PLUGIN_BUILD "Kalmia " KALMIA_VERSION ", PETSc " PetscStringize(PETSC_VERSION_MAJOR) "." PetscStringize(PETSC_VERSION_MINOR) ", " KAL_MODEL_PLUGIN_INDICES
#if defined(PETSC_USE_64BIT_INDICES)
#define KAL_MODEL_PLUGIN_INDICES "64-bit indices"
#else
#define KAL_MODEL_PLUGIN_INDICES "32-bit indices"
#endif
/*MC
   KAL_MODEL_PLUGIN - Makes a shared object one that `-model_type ./libNAME.so` loads

   Input Parameter:
.  function - of type PetscErrorCode (void); registers a type of model with KalModelRegister()

   Notes:
   The line stands once, outside of any function. It defines the two symbols that a plug-in exports: KalModelPluginRegister(), which
   calls `function`, and KalModelPluginBuild(), which tells what the plug-in was compiled with; another version of Kalmia,
   PETSc or the size of its indices is refused.

   The type becomes the one that `function` registers, the first where there are several. The object is never unloaded.

   Example:
.vb
   static PetscErrorCode Register(void) { return KalModelRegister("heat", Create); }
   KAL_MODEL_PLUGIN(Register)
.ve

.seealso: KalModelSetType(), KalModelRegister()
M*/
#define KAL_MODEL_PLUGIN(function) \
  PETSC_EXTERN const char *KalModelPluginBuild(void); \
  PETSC_EXTERN const char *KalModelPluginBuild(void) \
  { \
    return KAL_MODEL_PLUGIN_BUILD; \
  } \
  PETSC_EXTERN PetscErrorCode KalModelPluginRegister(void); \
  PETSC_EXTERN PetscErrorCode KalModelPluginRegister(void) \
  { \
    return (function)(); \
  }

#endif
