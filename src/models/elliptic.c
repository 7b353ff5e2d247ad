/* The model "elliptic": a boundary value problem in one dimension with two unknowns and a closed form, for inverse problems. */
#include <models/dynamics.h>

typedef struct {
  PetscScalar mean[2];
  PetscReal   spread[2];
} KalElliptic;

static PetscErrorCode KalModelSetFromOptions_Elliptic(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalElliptic *elliptic = (KalElliptic *)model->data;
  PetscInt     n        = 2;
  PetscBool    given;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model elliptic: a boundary value problem with two unknowns");
  PetscCall(PetscOptionsRealArray("-elliptic_mean", "prior means of u_1, u_2", "KALMODELELLIPTIC", elliptic->mean, &n, &given));
  PetscCheck(!given || n == 2, model->comm, PETSC_ERR_ARG_SIZ, "-elliptic_mean has %" PetscInt_FMT " numbers; give 2, as in 0,100", n);
  n = 2;
  PetscCall(PetscOptionsRealArray("-elliptic_spread", "prior standard deviations of u_1, u_2", "KALMODELELLIPTIC", elliptic->spread, &n, &given));
  PetscCheck(!given || n == 2, model->comm, PETSC_ERR_ARG_SIZ, "-elliptic_spread has %" PetscInt_FMT " numbers; give 2, as in 1,10", n);
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_Elliptic(KalModel model)
{
  const KalElliptic *elliptic = (const KalElliptic *)model->data;

  PetscFunctionBeginUser;
  PetscCheck(model->precision == KAL_DOUBLE, model->comm, PETSC_ERR_SUP, "The model elliptic runs in double precision only; leave -model_precision single out");
  PetscCheck(!model->inputs || model->inputs == 1, model->comm, PETSC_ERR_ARG_SIZ, "The model elliptic takes one input a sample, the place x, but the data have %" PetscInt_FMT, model->inputs);
  PetscCheck(!model->outputs || model->outputs == 1, model->comm, PETSC_ERR_ARG_SIZ, "The model elliptic predicts one number a sample, p(x), but the data have %" PetscInt_FMT, model->outputs);
  for (int i = 0; i < 2; i++) {
    PetscCall(KalDynamicsCheckReal_Private(model, "An entry of -elliptic_mean", elliptic->mean[i], -PETSC_MAX_REAL, PETSC_FALSE));
    PetscCall(KalDynamicsCheckReal_Private(model, "An entry of -elliptic_spread", elliptic->spread[i], 0.0, PETSC_TRUE));
  }
  PetscCall(KalModelSetSize(model, 2));
  PetscCall(KalModelSetDataSizes(model, 1, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_Elliptic(KalModel model, KalKey key, PetscScalar *u)
{
  const KalElliptic *elliptic = (const KalElliptic *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal(key, 0, 2, u));
  for (int i = 0; i < 2; i++) u[i] = elliptic->mean[i] + elliptic->spread[i] * u[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_Elliptic(KalModel model, PetscReal *spread)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(spread, ((const KalElliptic *)model->data)->spread, 2));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMean_Elliptic(KalModel model, PetscScalar *mean)
{
  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(mean, ((const KalElliptic *)model->data)->mean, 2));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelObserve_Elliptic(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  const double *x = (const double *)batch->input;

  PetscFunctionBeginUser;
  (void)model;
  (void)parameters;
  (void)stage;
  (void)status; /* an overflow of the exponential is found by who called */
  for (PetscInt k = 0; k < columns->count; k++) {
    const PetscScalar *u = columns->column[k];
    const PetscScalar  c = 0.5 * PetscExpScalar(-u[0]);

    for (PetscInt s = 0; s < batch->samples; s++) y[k][s] = u[1] * x[s] + c * (x[s] - x[s] * x[s]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_Elliptic(KalModel model, size_t size, char *text)
{
  PetscFunctionBeginUser;
  (void)model;
  PetscCall(PetscStrncpy(text, "elliptic", size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_Elliptic(KalModel model, PetscInt samples, PetscReal *bytes)
{
  PetscFunctionBeginUser;
  (void)model;
  (void)samples;
  *bytes = (PetscReal)sizeof(KalElliptic);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_Elliptic(KalModel model, PetscViewer viewer)
{
  const KalElliptic *elliptic = (const KalElliptic *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "prior N(%g, %g^2), N(%g, %g^2)\n", (double)elliptic->mean[0], (double)elliptic->spread[0], (double)elliptic->mean[1], (double)elliptic->spread[1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_Elliptic(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELELLIPTIC - "elliptic", a boundary value problem in one dimension with two unknowns

   Options Database Keys:
+  -elliptic_mean <0,100> - prior means of u_1 and u_2
-  -elliptic_spread <1,10> - their prior standard deviations

   Notes:
   -(e^{u_1} p')' = 1 on (0, 1), p(0) = 0, p(1) = u_2, which p(x) = u_2 x + e^{-u_1} (x - x^2)/2 solves. A sample of a data set has one input, the
   place x, and one target, what was observed of p there. Entry i of a member is mean_i + spread_i z_i, z_i draw i of its key.

   The test problem of many papers on ensemble Kalman inversion, with 27.5 and 79.7 observed at x = 0.25 and 0.75 (Ernst, Sprungk and
   Starkloff, Analysis of the ensemble and polynomial chaos Kalman filters in Bayesian inverse problems, SIAM/ASA J. Uncertainty
   Quantification 3, 2015; Garbuno-Inigo, Hoffmann, Li and Stuart, Interacting Langevin diffusions, SIAM J. Applied Dynamical
   Systems 19, 2020). With errors of standard deviation 0.1 and the prior N(0, 10^2) of both the posterior mean is (-2.7138, 104.3458).
M*/
PetscErrorCode KalModelCreate_Elliptic(KalModel model)
{
  KalElliptic *elliptic;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&elliptic));
  elliptic->mean[1]         = 100.0;
  elliptic->spread[0]       = 1.0;
  elliptic->spread[1]       = 10.0;
  model->data               = elliptic;
  model->ops.setfromoptions = KalModelSetFromOptions_Elliptic;
  model->ops.setup          = KalModelSetUp_Elliptic;
  model->ops.initial        = KalModelInitial_Elliptic;
  model->ops.spread         = KalModelSpread_Elliptic;
  model->ops.mean           = KalModelMean_Elliptic;
  model->ops.observe        = KalModelObserve_Elliptic;
  model->ops.layout         = KalModelLayout_Elliptic;
  model->ops.memory         = KalModelMemory_Elliptic;
  model->ops.view           = KalModelView_Elliptic;
  model->ops.destroy        = KalModelDestroy_Elliptic;
  PetscFunctionReturn(PETSC_SUCCESS);
}
