/* The model "lorenz63": three variables, RK4. */
#include <models/dynamics.h>

typedef struct {
  PetscReal   sigma, rho, beta, step, variance;
  PetscScalar mean[3];
} KalLorenz63;

static PetscErrorCode KalModelSetFromOptions_Lorenz63(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalLorenz63 *lorenz = (KalLorenz63 *)model->data;
  PetscInt     n      = 3;
  PetscBool    given;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model lorenz63: three variables of convection");
  PetscCall(PetscOptionsReal("-lorenz63_sigma", "Prandtl number", "KALMODELLORENZ63", lorenz->sigma, &lorenz->sigma, NULL));
  PetscCall(PetscOptionsReal("-lorenz63_rho", "Rayleigh number over its critical value", "KALMODELLORENZ63", lorenz->rho, &lorenz->rho, NULL));
  PetscCall(PetscOptionsReal("-lorenz63_beta", "aspect ratio's coefficient", "KALMODELLORENZ63", lorenz->beta, &lorenz->beta, NULL));
  PetscCall(PetscOptionsReal("-lorenz63_step", "time step", "KALMODELLORENZ63", lorenz->step, &lorenz->step, NULL));
  PetscCall(PetscOptionsRealArray("-lorenz63_mean", "mean of the initial members: x,y,z", "KALMODELLORENZ63", lorenz->mean, &n, &given));
  PetscCheck(!given || n == 3, model->comm, PETSC_ERR_ARG_SIZ, "-lorenz63_mean has %" PetscInt_FMT " numbers; give 3, as in 1.509,-1.531,25.46", n);
  PetscCall(PetscOptionsReal("-lorenz63_variance", "variance of each entry of the initial members", "KALMODELLORENZ63", lorenz->variance, &lorenz->variance, NULL));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_Lorenz63(KalModel model)
{
  const KalLorenz63 *lorenz = (const KalLorenz63 *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz63_sigma", lorenz->sigma, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz63_rho", lorenz->rho, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz63_beta", lorenz->beta, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz63_step", lorenz->step, 0.0, PETSC_TRUE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-lorenz63_variance", lorenz->variance, 0.0, PETSC_FALSE));
  for (int i = 0; i < 3; i++) PetscCall(KalDynamicsCheckReal_Private(model, "An entry of -lorenz63_mean", lorenz->mean[i], -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsSetUp_Private(model, 3, lorenz->step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_Lorenz63(KalModel model, KalKey key, PetscScalar *x)
{
  const KalLorenz63 *lorenz = (const KalLorenz63 *)model->data;

  PetscFunctionBeginUser;
  PetscCall(KalDynamicsDraw_Private(key, 3, lorenz->mean, lorenz->variance, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_Lorenz63(KalModel model, PetscReal *spread)
{
  const KalLorenz63 *lorenz = (const KalLorenz63 *)model->data;

  PetscFunctionBeginUser;
  for (int i = 0; i < 3; i++) spread[i] = PetscSqrtReal(lorenz->variance);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Some steps of the members side by side; each lane is on its own. */
KAL_WIDER static void Advance(const KalLorenz63 *lorenz, PetscInt steps, PetscScalar *x)
{
  const PetscReal sigma = lorenz->sigma, rho = lorenz->rho, beta = lorenz->beta, step = lorenz->step, half = 0.5 * step, sixth = step / 6.0;
  PetscScalar    *y = x + KAL_LANES, *z = y + KAL_LANES;

  for (PetscInt s = 0; s < steps; s++) {
    for (int l = 0; l < KAL_LANES; l++) {
      const PetscScalar x1 = x[l], y1 = y[l], z1 = z[l];
      const PetscScalar u1 = sigma * (y1 - x1), v1 = x1 * (rho - z1) - y1, w1 = x1 * y1 - beta * z1;
      const PetscScalar x2 = x1 + half * u1, y2 = y1 + half * v1, z2 = z1 + half * w1;
      const PetscScalar u2 = sigma * (y2 - x2), v2 = x2 * (rho - z2) - y2, w2 = x2 * y2 - beta * z2;
      const PetscScalar x3 = x1 + half * u2, y3 = y1 + half * v2, z3 = z1 + half * w2;
      const PetscScalar u3 = sigma * (y3 - x3), v3 = x3 * (rho - z3) - y3, w3 = x3 * y3 - beta * z3;
      const PetscScalar x4 = x1 + step * u3, y4 = y1 + step * v3, z4 = z1 + step * w3;
      const PetscScalar u4 = sigma * (y4 - x4), v4 = x4 * (rho - z4) - y4, w4 = x4 * y4 - beta * z4;

      x[l] = x1 + sixth * (u1 + 2.0 * u2 + 2.0 * u3 + u4);
      y[l] = y1 + sixth * (v1 + 2.0 * v2 + 2.0 * v3 + v4);
      z[l] = z1 + sixth * (w1 + 2.0 * w2 + 2.0 * w3 + w4);
    }
  }
}

static PetscErrorCode KalModelPropagate_Lorenz63(KalModel model, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *columns, KalStatus *status)
{
  const KalLorenz63 *lorenz = (const KalLorenz63 *)model->data;
  PetscScalar        lanes[3 * KAL_LANES];
  PetscInt           steps;

  PetscFunctionBeginUser;
  (void)parameters;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  for (PetscInt k = 0; k < columns->count; k += KAL_LANES) {
    KalLanesGather_Private(columns, k, 3, lanes);
    Advance(lorenz, steps, lanes);
    KalLanesScatter_Private(lanes, k, 3, columns);
  }
  PetscCall(KalDynamicsMark_Private(columns, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Tendency(const KalLorenz63 *lorenz, const PetscScalar x[3], PetscScalar dx[3])
{
  dx[0] = lorenz->sigma * (x[1] - x[0]);
  dx[1] = x[0] * (lorenz->rho - x[2]) - x[1];
  dx[2] = x[0] * x[1] - lorenz->beta * x[2];
}

/* The tendency's derivative at x in the direction e. */
static void Derivative(const KalLorenz63 *lorenz, const PetscScalar x[3], const PetscScalar e[3], PetscScalar de[3])
{
  de[0] = lorenz->sigma * (e[1] - e[0]);
  de[1] = e[0] * (lorenz->rho - x[2]) - x[0] * e[2] - e[1];
  de[2] = e[0] * x[1] + x[0] * e[1] - lorenz->beta * e[2];
}

/* The states of a step's four stages, and where it ends. */
static void Stages(const KalLorenz63 *lorenz, PetscScalar x[3], PetscScalar stage[4][3])
{
  const PetscReal factor[4] = {0.0, 0.5 * lorenz->step, 0.5 * lorenz->step, lorenz->step}, weight[4] = {1.0, 2.0, 2.0, 1.0};
  PetscScalar     dx[3] = {0.0, 0.0, 0.0}, sum[3] = {0.0, 0.0, 0.0};

  for (int r = 0; r < 4; r++) {
    for (int i = 0; i < 3; i++) stage[r][i] = x[i] + factor[r] * dx[i];
    Tendency(lorenz, stage[r], dx);
    for (int i = 0; i < 3; i++) sum[i] += weight[r] * dx[i];
  }
  for (int i = 0; i < 3; i++) x[i] += lorenz->step / 6.0 * sum[i];
}

static PetscErrorCode KalModelTangent_Lorenz63(KalModel model, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  const KalLorenz63 *lorenz    = (const KalLorenz63 *)model->data;
  const PetscReal    factor[4] = {0.0, 0.5 * lorenz->step, 0.5 * lorenz->step, lorenz->step}, weight[4] = {1.0, 2.0, 2.0, 1.0};
  PetscScalar        state[3] = {x[0], x[1], x[2]}, stage[4][3];
  PetscInt           steps;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  for (PetscInt s = 0; s < steps; s++) {
    Stages(lorenz, state, stage);
    for (PetscInt k = 0; k < columns; k++) {
      PetscScalar *d = dx + (size_t)k * 3, e[3], de[3] = {0.0, 0.0, 0.0}, sum[3] = {0.0, 0.0, 0.0};

      for (int r = 0; r < 4; r++) {
        for (int i = 0; i < 3; i++) e[i] = d[i] + factor[r] * de[i];
        Derivative(lorenz, stage[r], e, de);
        for (int i = 0; i < 3; i++) sum[i] += weight[r] * de[i];
      }
      for (int i = 0; i < 3; i++) d[i] += lorenz->step / 6.0 * sum[i];
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_Lorenz63(KalModel model, size_t size, char *text)
{
  const KalLorenz63 *lorenz = (const KalLorenz63 *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, size, "lorenz63 sigma %.15g rho %.15g beta %.15g step %.15g", (double)lorenz->sigma, (double)lorenz->rho, (double)lorenz->beta, (double)lorenz->step));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_Lorenz63(KalModel model, PetscInt samples, PetscReal *bytes)
{
  PetscFunctionBeginUser;
  (void)model;
  (void)samples;
  *bytes = (PetscReal)sizeof(KalLorenz63);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_Lorenz63(KalModel model, PetscViewer viewer)
{
  const KalLorenz63 *lorenz = (const KalLorenz63 *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "sigma %g, rho %g, beta %g, time step %g (RK4)\n", (double)lorenz->sigma, (double)lorenz->rho, (double)lorenz->beta, (double)lorenz->step));
  PetscCall(PetscViewerASCIIPrintf(viewer, "initial members about (%g, %g, %g), variance %g\n", (double)lorenz->mean[0], (double)lorenz->mean[1], (double)lorenz->mean[2], (double)lorenz->variance));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_Lorenz63(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELLORENZ63 - "lorenz63", Lorenz's three variables of convection

   Options Database Keys:
+  -lorenz63_sigma <10> - Prandtl number
.  -lorenz63_rho <28> - Rayleigh number over its critical value
.  -lorenz63_beta <8/3> - coefficient of the aspect ratio
.  -lorenz63_step <0.01> - time step
.  -lorenz63_mean <1.509,-1.531,25.46> - mean of the initial members
-  -lorenz63_variance <2> - variance of each of their entries

   Notes:
   dx/dt = sigma (y - x), dy/dt = x (rho - z) - y, dz/dt = x y - beta z, by the classical Runge-Kutta scheme of order 4.
   Time is in the units of these equations: a circuit of one wing of the attractor takes about 0.75.

   Entry i of a member's start is mean_i + sqrt(variance) z_i, z_i the i-th normal number of its key. Entries have no
   places. The tangent is that of the discrete scheme.

   Source: Lorenz, Deterministic nonperiodic flow, J. Atmos. Sci. 20 (1963), eqs. 25 to 27. Step and start are those of
   Sakov, Oliver and Bertino, An iterative EnKF for strongly nonlinear systems, Mon. Wea. Rev. 140 (2012), as
   the published scores of the ETKF, EnKF and IEnKS with observations 0.25 apart take them.
M*/
PetscErrorCode KalModelCreate_Lorenz63(KalModel model)
{
  KalLorenz63 *lorenz;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&lorenz));
  lorenz->sigma             = 10.0;
  lorenz->rho               = 28.0;
  lorenz->beta              = 8.0 / 3.0;
  lorenz->step              = 0.01;
  lorenz->variance          = 2.0;
  lorenz->mean[0]           = 1.509;
  lorenz->mean[1]           = -1.531;
  lorenz->mean[2]           = 25.46;
  model->data               = lorenz;
  model->ops.setfromoptions = KalModelSetFromOptions_Lorenz63;
  model->ops.setup          = KalModelSetUp_Lorenz63;
  model->ops.initial        = KalModelInitial_Lorenz63;
  model->ops.spread         = KalModelSpread_Lorenz63;
  model->ops.propagate      = KalModelPropagate_Lorenz63;
  model->ops.tangent        = KalModelTangent_Lorenz63;
  model->ops.layout         = KalModelLayout_Lorenz63;
  model->ops.memory         = KalModelMemory_Lorenz63;
  model->ops.view           = KalModelView_Lorenz63;
  model->ops.destroy        = KalModelDestroy_Lorenz63;
  PetscFunctionReturn(PETSC_SUCCESS);
}
