/*
  The model "kuramoto-sivashinsky": a periodic field, by Fourier transforms and ETD-RK4. The scheme is in
  kuramoto_sivashinsky_step.c.
*/
#include <models/kuramoto_sivashinsky.h>

#define START_TIME 150.0 /* that the initial members' mean is forecast from the start of Kassam and Trefethen */

static PetscErrorCode KalModelSetFromOptions_KS(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalKS *ks = (KalKS *)model->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model kuramoto-sivashinsky: a chaotic periodic field");
  PetscCall(PetscOptionsInt("-kuramoto_sivashinsky_size", "points", "KALMODELKURAMOTOSIVASHINSKY", ks->points, &ks->points, NULL));
  PetscCall(PetscOptionsReal("-kuramoto_sivashinsky_domain", "length of the domain in units of pi", "KALMODELKURAMOTOSIVASHINSKY", ks->domain, &ks->domain, NULL));
  PetscCall(PetscOptionsReal("-kuramoto_sivashinsky_step", "time step", "KALMODELKURAMOTOSIVASHINSKY", ks->step, &ks->step, NULL));
  PetscCall(PetscOptionsReal("-kuramoto_sivashinsky_variance", "variance of each point of the initial members", "KALMODELKURAMOTOSIVASHINSKY", ks->variance, &ks->variance, NULL));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The initial members' mean: on the attractor, from cos(q) (1 + sin(q)), q = 2 pi x/length, at the points x = length/n, ..., length. */
static PetscErrorCode SetMean(KalModel model)
{
  KalKS    *ks    = (KalKS *)model->data;
  PetscReal steps = PetscMax(1.0, PetscFloorReal(START_TIME / ks->step + 1e-6));
  int       bad   = 0;

  PetscFunctionBeginUser;
  PetscCheck(steps <= 1e7, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-kuramoto_sivashinsky_step %g: it must be at least %g", (double)ks->step, START_TIME / 1e7);
  for (PetscInt i = 0; i < ks->points; i++) {
    const PetscReal q = 2.0 * PETSC_PI * (PetscReal)(i + 1) / (PetscReal)ks->points;

    ks->mean[i] = PetscCosReal(q) * (1.0 + PetscSinReal(q));
  }
  KalKSAdvance_Private(ks, (PetscInt)steps, ks->mean);
  for (PetscInt i = 0; i < ks->points; i++) bad |= !(PetscAbsScalar(ks->mean[i]) <= PETSC_MAX_REAL);
  PetscCheck(!bad, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "With -kuramoto_sivashinsky_size %" PetscInt_FMT ", -kuramoto_sivashinsky_domain %g and -kuramoto_sivashinsky_step %g the forecast of the initial mean over %g time units grows without bound; take a shorter step, or more points", ks->points, (double)ks->domain, (double)ks->step, START_TIME);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_KS(KalModel model)
{
  KalKS *ks = (KalKS *)model->data;

  PetscFunctionBeginUser;
  PetscCheck(ks->points >= 8 && ks->points <= KAL_KS_MOST, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-kuramoto_sivashinsky_size %" PetscInt_FMT ": allowed are 8 to %d points", ks->points, KAL_KS_MOST);
  PetscCall(KalDynamicsCheckReal_Private(model, "-kuramoto_sivashinsky_domain", ks->domain, 0.0, PETSC_TRUE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-kuramoto_sivashinsky_step", ks->step, 0.0, PETSC_TRUE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-kuramoto_sivashinsky_variance", ks->variance, 0.0, PETSC_FALSE));
  PetscCall(KalDynamicsSetUp_Private(model, ks->points, ks->step));
  PetscCall(KalKSSetUp_Private(ks));
  PetscCall(SetMean(model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_KS(KalModel model, KalKey key, PetscScalar *x)
{
  const KalKS *ks = (const KalKS *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalDynamicsDraw_Private(key, ks->points, ks->mean, ks->variance, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_KS(KalModel model, PetscReal *spread)
{
  const KalKS *ks = (const KalKS *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < ks->points; i++) spread[i] = PetscSqrtReal(ks->variance);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelPropagate_KS(KalModel model, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *columns, KalStatus *status)
{
  PetscInt steps;

  PetscFunctionBeginUser;
  (void)parameters;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  for (PetscInt k = 0; k < columns->count; k++) KalKSAdvance_Private((const KalKS *)model->data, steps, columns->column[k]);
  PetscCall(KalDynamicsMark_Private(columns, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelTangent_KS(KalModel model, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  PetscInt steps;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  PetscCall(KalKSTangent_Private((const KalKS *)model->data, steps, x, columns, dx));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_KS(KalModel model, size_t size, char *text)
{
  const KalKS *ks = (const KalKS *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, size, "kuramoto-sivashinsky %" PetscInt_FMT " domain %.15g step %.15g", ks->points, (double)ks->domain, (double)ks->step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_KS(KalModel model, PetscInt samples, PetscReal *bytes)
{
  PetscFunctionBeginUser;
  (void)samples;
  *bytes = (PetscReal)KalKSWork_Private((const KalKS *)model->data) * sizeof(PetscScalar);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_KS(KalModel model, PetscViewer viewer)
{
  const KalKS *ks = (const KalKS *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " points on a domain of %g pi, time step %g (ETD-RK4)\n", ks->points, (double)ks->domain, (double)ks->step));
  PetscCall(PetscViewerASCIIPrintf(viewer, "initial members about a state of the attractor, variance %g\n", (double)ks->variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_KS(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(KalKSDestroy_Private((KalKS *)model->data));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELKURAMOTOSIVASHINSKY - "kuramoto-sivashinsky", the simplest partial differential equation with chaos

   Options Database Keys:
+  -kuramoto_sivashinsky_size <128> - points of the grid, at least 8
.  -kuramoto_sivashinsky_domain <32> - length of the periodic domain in units of pi
.  -kuramoto_sivashinsky_step <0.5> - time step
-  -kuramoto_sivashinsky_variance <0.001> - variance of each point of the initial members

   Notes:
   u_t = -u u_x - u_xx - u_xxxx on a periodic domain, in Fourier space with products at the grid's points (no dealiasing),
   by the exponential time differencing Runge-Kutta scheme of order 4. Time is in the units of the equation. Of an even
   number of points the highest wave has no first derivative on the grid; its even derivatives are what its wave number says,
   where the program published with the scheme takes them as 0.

   Entry i of a member's start is mean_i + sqrt(variance) z_i, z_i the i-th normal number of its key. The mean is a state of
   the attractor: cos(q) (1 + sin(q)), q = 2 pi x/length, forecast over 150 time units. Entry i is the field at
   x = (i + 1) length/n; for localization it lies at coordinate i of a circle of length n, so that radii are in points. The
   tangent is that of the discrete scheme.

   Source: Kassam and Trefethen, Fourth-order time-stepping for stiff PDEs, SIAM J. Sci. Comput. 26 (2005), section 2 (the
   coefficients, by contour integrals) and section 3. The domain of 32 pi with 128 points, a step of 0.5 and that start are those
   of the published scores with observations of every point one time unit apart.
M*/
PetscErrorCode KalModelCreate_KuramotoSivashinsky(KalModel model)
{
  KalKS *ks;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&ks));
  ks->points                = 128;
  ks->domain                = 32.0;
  ks->step                  = 0.5;
  ks->variance              = 0.001;
  model->data               = ks;
  model->ops.setfromoptions = KalModelSetFromOptions_KS;
  model->ops.setup          = KalModelSetUp_KS;
  model->ops.initial        = KalModelInitial_KS;
  model->ops.spread         = KalModelSpread_KS;
  model->ops.propagate      = KalModelPropagate_KS;
  model->ops.tangent        = KalModelTangent_KS;
  model->ops.locate         = KalCircleLocate_Private;
  model->ops.domain         = KalCircleDomain_Private;
  model->ops.layout         = KalModelLayout_KS;
  model->ops.memory         = KalModelMemory_KS;
  model->ops.view           = KalModelView_KS;
  model->ops.destroy        = KalModelDestroy_KS;
  PetscFunctionReturn(PETSC_SUCCESS);
}
