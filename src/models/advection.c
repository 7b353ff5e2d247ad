/* The model "advection": a periodic field that moves by whole cells, exactly, perhaps damped and with model noise. */
#include <models/dynamics.h>

#include <fftw3.h>

#define MOST_CELLS    100000000 /* FFTW counts with int */
#define DEFAULT_WAVES 25
#define NOT_GIVEN     PETSC_MIN_INT /* a number of waves: as many as the default, if the circle holds them */

typedef struct {
  PetscInt     cells, speed;
  PetscReal    damping;
  PetscReal    mean, variance; /* prior */
  PetscInt     waves;          /* of the prior's fields; 0: white */
  PetscReal    noise;          /* standard deviation of a step's model noise */
  PetscInt     noise_waves;    /* likewise */
  PetscScalar *field, *spectrum;
  fftw_plan    backward;
} KalAdvection;

/* Wave numbers that a circle of so many cells holds with both phases. */
static PetscInt MostWaves(PetscInt cells)
{
  return PetscMax((cells - 1) / 2, 0);
}

/* An option of wave numbers, whose default follows from the size. */
static PetscErrorCode WavesFromOptions(KalOptionItems PetscOptionsObject, const char *option, const char *text, PetscInt cells, PetscInt *waves)
{
  PetscInt  value = *waves == NOT_GIVEN ? PetscMin(DEFAULT_WAVES, MostWaves(cells)) : *waves;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsInt(option, text, "KALMODELADVECTION", value, &value, &given));
  if (given) *waves = value;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetFromOptions_Advection(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalAdvection *advection = (KalAdvection *)model->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Model advection: a field that moves around a circle");
  PetscCall(PetscOptionsInt("-advection_size", "cells of the circle", "KALMODELADVECTION", advection->cells, &advection->cells, NULL));
  PetscCall(PetscOptionsInt("-advection_speed", "cells a step, positive towards higher entries", "KALMODELADVECTION", advection->speed, &advection->speed, NULL));
  PetscCall(PetscOptionsReal("-advection_damping", "factor of the field in a step", "KALMODELADVECTION", advection->damping, &advection->damping, NULL));
  PetscCall(PetscOptionsReal("-advection_mean", "mean of each cell of the initial members", "KALMODELADVECTION", advection->mean, &advection->mean, NULL));
  PetscCall(PetscOptionsReal("-advection_variance", "variance of each cell of the initial members", "KALMODELADVECTION", advection->variance, &advection->variance, NULL));
  PetscCall(WavesFromOptions(PetscOptionsObject, "-advection_waves", "wave numbers of the initial members; 0: white", advection->cells, &advection->waves));
  PetscCall(PetscOptionsReal("-advection_noise", "standard deviation of each cell of a step's model noise", "KALMODELADVECTION", advection->noise, &advection->noise, NULL));
  PetscCall(WavesFromOptions(PetscOptionsObject, "-advection_noise_waves", "wave numbers of the model noise; 0: white", advection->cells, &advection->noise_waves));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckWaves(KalModel model, const char *option, PetscInt cells, PetscInt *waves)
{
  const PetscInt most = MostWaves(cells);

  PetscFunctionBeginUser;
  if (*waves == NOT_GIVEN) *waves = PetscMin(DEFAULT_WAVES, most);
  PetscCheck(*waves >= 0 && *waves <= most, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %" PetscInt_FMT ": with -advection_size %" PetscInt_FMT " allowed are 1 to %" PetscInt_FMT " wave numbers, or 0 for white noise", option, *waves, cells, most);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Free(KalAdvection *advection)
{
  PetscFunctionBeginUser;
  if (advection->backward) fftw_destroy_plan(advection->backward);
  advection->backward = NULL;
  PetscCall(PetscFree2(advection->field, advection->spectrum));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_Advection(KalModel model)
{
  KalAdvection  *advection = (KalAdvection *)model->data;
  const PetscInt n         = advection->cells;

  PetscFunctionBeginUser;
  PetscCheck(n >= 3 && n <= MOST_CELLS, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-advection_size %" PetscInt_FMT ": allowed are 3 to %d cells", n, MOST_CELLS);
  PetscCall(KalDynamicsCheckReal_Private(model, "-advection_damping", advection->damping, 0.0, PETSC_TRUE));
  PetscCheck(advection->damping <= 1.0, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-advection_damping %g: the factor of a step is at most 1", (double)advection->damping);
  PetscCall(KalDynamicsCheckReal_Private(model, "-advection_mean", advection->mean, -PETSC_MAX_REAL, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-advection_variance", advection->variance, 0.0, PETSC_FALSE));
  PetscCall(KalDynamicsCheckReal_Private(model, "-advection_noise", advection->noise, 0.0, PETSC_FALSE));
  PetscCall(CheckWaves(model, "-advection_waves", n, &advection->waves));
  PetscCall(CheckWaves(model, "-advection_noise_waves", n, &advection->noise_waves));
  PetscCall(KalDynamicsSetUp_Private(model, n, 1.0));
  PetscCall(Free(advection));
  PetscCall(PetscMalloc2(n, &advection->field, 2 * (n / 2 + 1), &advection->spectrum));
  advection->backward = fftw_plan_dft_c2r_1d((int)n, (fftw_complex *)advection->spectrum, advection->field, FFTW_ESTIMATE | FFTW_UNALIGNED);
  PetscCheck(advection->backward, model->comm, PETSC_ERR_LIB, "FFTW makes no plan for %" PetscInt_FMT " cells; take another -advection_size", n);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  A random field of mean 0 and standard deviation sd: for waves k = 1, ..., K
  sd/sqrt(K) sum_k (z_(2k-2) cos(2 pi k i/n) + z_(2k-1) sin(2 pi k i/n)) by one transform; white for K = 0. The z are normal numbers
  of the key from `first` on.
*/
static PetscErrorCode DrawField(const KalAdvection *advection, KalKey key, PetscInt64 first, PetscInt waves, PetscReal sd, PetscScalar *x)
{
  const PetscInt n = advection->cells;
  PetscScalar   *c = advection->spectrum;

  PetscFunctionBeginUser;
  if (!waves) {
    PetscCall(KalDrawNormal(key, first, n, x));
    for (PetscInt i = 0; i < n; i++) x[i] *= sd;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscArrayzero(c, 2 * (n / 2 + 1)));
  PetscCall(KalDrawNormal(key, first, 2 * (PetscInt64)waves, c + 2));
  for (PetscInt k = 1; k <= waves; k++) {
    const PetscReal factor = 0.5 * sd / PetscSqrtReal((PetscReal)waves);

    c[2 * k] *= factor;
    c[2 * k + 1] *= -factor;
  }
  fftw_execute_dft_c2r(advection->backward, (fftw_complex *)c, x);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_Advection(KalModel model, KalKey key, PetscScalar *x)
{
  const KalAdvection *advection = (const KalAdvection *)model->data;

  PetscFunctionBeginUser;
  PetscCall(DrawField(advection, key, 0, advection->waves, PetscSqrtReal(advection->variance), x));
  for (PetscInt i = 0; i < advection->cells; i++) x[i] += advection->mean;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_Advection(KalModel model, PetscReal *spread)
{
  const KalAdvection *advection = (const KalAdvection *)model->data;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < advection->cells; i++) spread[i] = PetscSqrtReal(advection->variance);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x_i of some steps later is x_(i - speed steps), without damping and noise. */
static PetscErrorCode Shift(const KalAdvection *advection, PetscInt64 steps, PetscScalar *x)
{
  const PetscInt64 n = advection->cells, by = (((PetscInt64)advection->speed % n * (steps % n)) % n + n) % n;

  PetscFunctionBeginUser;
  if (!by) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscArraycpy(advection->field, x, n));
  PetscCall(PetscArraycpy(x + by, advection->field, n - by));
  PetscCall(PetscArraycpy(x, advection->field + (n - by), by));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Scale(PetscInt n, PetscReal factor, PetscScalar *x)
{
  for (PetscInt i = 0; i < n; i++) x[i] *= factor;
}

static PetscErrorCode KalModelPropagate_Advection(KalModel model, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *columns, KalStatus *status)
{
  const KalAdvection *advection = (const KalAdvection *)model->data;
  const PetscInt      n         = advection->cells;
  KalKey              key;
  PetscInt            steps;

  PetscFunctionBeginUser;
  (void)parameters;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  PetscCall(KalModelGetKey(model, &key));
  for (PetscInt k = 0; k < columns->count; k++) {
    PetscScalar *x = columns->column[k];

    key.member = (PetscInt64)columns->first + k;
    if (advection->noise == 0.0) PetscCall(Shift(advection, steps, x));
    for (PetscInt s = 0; s < steps && (advection->noise > 0.0 || advection->damping != 1.0); s++) {
      if (advection->noise > 0.0) PetscCall(Shift(advection, 1, x));
      Scale(n, advection->damping, x);
      if (advection->noise > 0.0) {
        PetscCall(DrawField(advection, key, (PetscInt64)s * n, advection->noise_waves, advection->noise, advection->field));
        for (PetscInt i = 0; i < n; i++) x[i] += advection->field[i];
      }
    }
  }
  PetscCall(KalDynamicsMark_Private(columns, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelTangent_Advection(KalModel model, PetscReal from, PetscReal to, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  const KalAdvection *advection = (const KalAdvection *)model->data;
  const PetscInt      n         = advection->cells;
  PetscInt            steps;

  PetscFunctionBeginUser;
  (void)x;
  PetscCall(KalModelGetSteps(model, from, to, &steps));
  for (PetscInt k = 0; k < columns; k++) {
    PetscScalar *d = dx + (size_t)k * (size_t)n;

    PetscCall(Shift(advection, steps, d));
    for (PetscInt s = 0; s < steps && advection->damping != 1.0; s++) Scale(n, advection->damping, d);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_Advection(KalModel model, size_t size, char *text)
{
  const KalAdvection *advection = (const KalAdvection *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, size, "advection %" PetscInt_FMT " speed %" PetscInt_FMT " damping %.15g noise %.15g of %" PetscInt_FMT " waves", advection->cells, advection->speed, (double)advection->damping, (double)advection->noise, advection->noise_waves));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_Advection(KalModel model, PetscInt samples, PetscReal *bytes)
{
  const PetscInt n = ((const KalAdvection *)model->data)->cells;

  PetscFunctionBeginUser;
  (void)samples;
  *bytes = ((PetscReal)n + 2.0 * (PetscReal)(n / 2 + 1)) * sizeof(PetscScalar);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_Advection(KalModel model, PetscViewer viewer)
{
  const KalAdvection *advection = (const KalAdvection *)model->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " cells, %" PetscInt_FMT " a step of time 1, damping factor %g\n", advection->cells, advection->speed, (double)advection->damping));
  PetscCall(PetscViewerASCIIPrintf(viewer, "initial members about %g, variance %g, %" PetscInt_FMT " wave numbers (0: white)\n", (double)advection->mean, (double)advection->variance, advection->waves));
  if (advection->noise > 0.0) PetscCall(PetscViewerASCIIPrintf(viewer, "model noise of sd %g a step, %" PetscInt_FMT " wave numbers (0: white)\n", (double)advection->noise, advection->noise_waves));
  else PetscCall(PetscViewerASCIIPrintf(viewer, "no model noise\n"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_Advection(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(Free((KalAdvection *)model->data));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELADVECTION - "advection", a periodic field that moves by whole cells, with or without model noise

   Options Database Keys:
+  -advection_size <1000> - cells of the circle, at least 3
.  -advection_speed <1> - cells a step, positive towards higher entries
.  -advection_damping <1> - factor of the field in a step, over 0 and at most 1
.  -advection_mean <0> - mean of each cell of the initial members
.  -advection_variance <1> - variance of each cell of the initial members
.  -advection_waves <25, or the most that the size allows> - wave numbers of the initial members; 0 is white
.  -advection_noise <0> - standard deviation of each cell of a step's model noise
-  -advection_noise_waves <25, or the most that the size allows> - wave numbers of the model noise; 0 is white

   Notes:
   x_i(t + 1) = damping x_(i - speed)(t) + noise_i, which is advection and damping exactly. The step is 1 time unit.

   Random fields are q_i = sqrt(variance/K) sum over k = 1, ..., K of z_(2k-2) cos(2 pi k i/n) + z_(2k-1) sin(2 pi k i/n): Gaussian
   and homogeneous, of the stated variance, with the covariance of the sums of sinusoids of the sources (which draw
   amplitudes and phases uniformly and scale each field to variance 1). A member's start takes the z from number 0 of its key on, the
   noise of step s of a forecast from number s n of the key of KalModelSetKey(). White fields take z_i for entry i.

   Entry i lies at coordinate i of a circle of length n. The tangent leaves the noise out.

   Source: Evensen, Data assimilation: the ensemble Kalman filter, Springer (2009), the linear advection example (n = 1000,
   variance 1, observations of 4 cells with error variance 0.01 every 5 steps); Sakov and Oke, Tellus 60A (2008), for the sums
   over 25 wave numbers. Damping 0.98 with noise 0.1 and variance 0.05 is the case of Raanes, Carrassi and Bertino, Extending the
   square root method to account for additive forecast noise, Mon. Wea. Rev. 143 (2015).
M*/
PetscErrorCode KalModelCreate_Advection(KalModel model)
{
  KalAdvection *advection;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&advection));
  advection->cells          = 1000;
  advection->speed          = 1;
  advection->damping        = 1.0;
  advection->variance       = 1.0;
  advection->waves          = NOT_GIVEN;
  advection->noise_waves    = NOT_GIVEN;
  model->data               = advection;
  model->ops.setfromoptions = KalModelSetFromOptions_Advection;
  model->ops.setup          = KalModelSetUp_Advection;
  model->ops.initial        = KalModelInitial_Advection;
  model->ops.spread         = KalModelSpread_Advection;
  model->ops.propagate      = KalModelPropagate_Advection;
  model->ops.tangent        = KalModelTangent_Advection;
  model->ops.locate         = KalCircleLocate_Private;
  model->ops.domain         = KalCircleDomain_Private;
  model->ops.layout         = KalModelLayout_Advection;
  model->ops.memory         = KalModelMemory_Advection;
  model->ops.view           = KalModelView_Advection;
  model->ops.destroy        = KalModelDestroy_Advection;
  PetscFunctionReturn(PETSC_SUCCESS);
}
