/*
  The parameterizations "field" and "level-set": a Whittle-Matern field on a grid, whose length, exponent and standard deviation may be unknown
  too, as it is or cut at levels.
*/
#include <models/dynamics.h>
#include <models/parameterizationimpl.h>

#include <fftw3.h>

#define KAL_FIELD_LEVELS 32

enum {
  KAL_FIELD_LENGTH,
  KAL_FIELD_EXPONENT,
  KAL_FIELD_SD,
  KAL_FIELD_HYPERS
};

static const char *const Hypers[KAL_FIELD_HYPERS] = {"length", "exponent", "sd"};

typedef struct {
  PetscInt   dimension, grid[2], modes[2]; /* a line has 1 of the second */
  PetscInt   sides, cut;                   /* how many were given */
  PetscReal  side[2], mean;
  PetscReal  median[KAL_FIELD_HYPERS], spread[KAL_FIELD_HYPERS]; /* spread 0: known */
  PetscInt   entry[KAL_FIELD_HYPERS];                            /* in the state, negative where known */
  PetscBool  exponential, sets;
  PetscInt   thresholds, values;
  PetscReal  threshold[KAL_FIELD_LEVELS], value[KAL_FIELD_LEVELS + 1];
  PetscReal *modal; /* grid: coefficients of all its cosines, 0 of those that are left out */
  fftw_plan  plan;
} KalField;

static PetscErrorCode SetFromOptions(KalParameterization p, KalOptionItems PetscOptionsObject)
{
  KalField *f = (KalField *)p->data;
  PetscInt  n = 2;
  PetscBool given;
  char      option[64];

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Parameterizations field and level-set: a Whittle-Matern field on a grid");
  PetscCall(KalDynamicsCheckList_Private(p->comm, "-field_grid", 2));
  PetscCall(KalDynamicsCheckList_Private(p->comm, "-field_modes", 2));
  PetscCall(KalDynamicsCheckList_Private(p->comm, "-field_sides", 2));
  PetscCall(PetscOptionsIntArray("-field_grid", "places along each side", "KALPARAMETERIZATIONFIELD", f->grid, &n, &given));
  if (given) f->dimension = n;
  n = 2;
  PetscCall(PetscOptionsIntArray("-field_modes", "modes along each side; as many as places where none are given", "KALPARAMETERIZATIONFIELD", f->modes, &n, &given));
  if (given) f->cut = n;
  n = 2;
  PetscCall(PetscOptionsRealArray("-field_sides", "lengths of the sides", "KALPARAMETERIZATIONFIELD", f->side, &n, &given));
  if (given) f->sides = n;
  PetscCall(PetscOptionsReal("-field_mean", "mean of the field", "KALPARAMETERIZATIONFIELD", f->mean, &f->mean, NULL));
  for (int h = 0; h < KAL_FIELD_HYPERS; h++) {
    PetscCall(PetscSNPrintf(option, sizeof option, "-field_%s", Hypers[h]));
    PetscCall(PetscOptionsReal(option, "of the field: its value, or its prior median", "KALPARAMETERIZATIONFIELD", f->median[h], &f->median[h], NULL));
    PetscCall(PetscSNPrintf(option, sizeof option, "-field_%s_spread", Hypers[h]));
    PetscCall(PetscOptionsReal(option, "prior standard deviation of its logarithm; 0: it is known", "KALPARAMETERIZATIONFIELD", f->spread[h], &f->spread[h], NULL));
  }
  if (!f->sets) PetscCall(PetscOptionsBool("-field_exponential", "the model takes the exponential of the field", "KALPARAMETERIZATIONFIELD", f->exponential, &f->exponential, NULL));
  else {
    PetscCall(KalDynamicsCheckList_Private(p->comm, "-level_set_thresholds", KAL_FIELD_LEVELS));
    PetscCall(KalDynamicsCheckList_Private(p->comm, "-level_set_values", KAL_FIELD_LEVELS + 1));
    n = KAL_FIELD_LEVELS;
    PetscCall(PetscOptionsRealArray("-level_set_thresholds", "levels of the field, rising", "KALPARAMETERIZATIONLEVELSET", f->threshold, &n, &given));
    if (given) f->thresholds = n;
    n = KAL_FIELD_LEVELS + 1;
    PetscCall(PetscOptionsRealArray("-level_set_values", "what the model takes below the first level, between levels, above the last", "KALPARAMETERIZATIONLEVELSET", f->value, &n, &given));
    if (given) f->values = n;
  }
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckGrid(KalParameterization p)
{
  KalField *f = (KalField *)p->data;
  PetscInt  size;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSize(p->model, &size));
  if (!f->dimension) {
    f->dimension = 1;
    f->grid[0]   = size;
  }
  if (f->dimension == 1) f->grid[1] = 1;
  for (PetscInt a = 0; a < f->dimension; a++) PetscCheck(f->grid[a] >= 1, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-field_grid has a side of %" PetscInt_FMT " places; it needs at least 1", f->grid[a]);
  PetscCheck((PetscInt64)f->grid[0] * f->grid[1] == size, p->comm, PETSC_ERR_ARG_SIZ, "-field_grid makes %" PetscInt_FMT " x %" PetscInt_FMT " places, but the model %s takes %" PetscInt_FMT " numbers; give a grid with as many places", f->grid[0], f->grid[1], p->model->type, size);
  PetscCheck(!f->sides || f->sides == f->dimension, p->comm, PETSC_ERR_ARG_SIZ, "-field_sides has %" PetscInt_FMT " numbers; -field_grid has %" PetscInt_FMT, f->sides, f->dimension);
  PetscCheck(!f->cut || f->cut == f->dimension, p->comm, PETSC_ERR_ARG_SIZ, "-field_modes has %" PetscInt_FMT " numbers; -field_grid has %" PetscInt_FMT, f->cut, f->dimension);
  for (PetscInt a = 0; a < 2; a++) {
    if (!f->cut || a >= f->dimension) f->modes[a] = f->grid[a];
    if (!f->sides || a >= f->dimension) f->side[a] = 1.0;
    PetscCheck(f->modes[a] >= 1 && f->modes[a] <= f->grid[a], p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-field_modes has %" PetscInt_FMT " along a side of %" PetscInt_FMT " places; from 1 to as many as places are possible", f->modes[a], f->grid[a]);
    PetscCheck(f->side[a] > 0.0 && f->side[a] <= PETSC_MAX_REAL, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-field_sides has a side of %g; it must be positive and finite", (double)f->side[a]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckNumbers(KalParameterization p)
{
  const KalField *f = (const KalField *)p->data;

  PetscFunctionBeginUser;
  PetscCheck(!PetscIsInfOrNanReal(f->mean), p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-field_mean must be finite");
  for (int h = 0; h < KAL_FIELD_HYPERS; h++) {
    PetscCheck(f->median[h] > 0.0 && f->median[h] <= PETSC_MAX_REAL, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-field_%s %g: must be positive and finite", Hypers[h], (double)f->median[h]);
    PetscCheck(f->spread[h] >= 0.0 && f->spread[h] <= 100.0, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-field_%s_spread %g: must be from 0 to 100", Hypers[h], (double)f->spread[h]);
  }
  if (!f->sets) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(f->thresholds >= 1 && f->values == f->thresholds + 1, p->comm, PETSC_ERR_ARG_SIZ, "-level_set_thresholds has %" PetscInt_FMT " numbers and -level_set_values %" PetscInt_FMT "; give at least one level, and one value more than levels", f->thresholds, f->values);
  for (PetscInt i = 1; i < f->thresholds; i++) PetscCheck(f->threshold[i] > f->threshold[i - 1], p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-level_set_thresholds has %g after %g; they must rise", (double)f->threshold[i], (double)f->threshold[i - 1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalParameterization p)
{
  KalField    *f = (KalField *)p->data;
  PetscInt64   size;
  PetscScalar *w;

  PetscFunctionBeginUser;
  PetscCall(CheckGrid(p));
  PetscCall(CheckNumbers(p));
  PetscCall(PetscCalloc1(p->model->size, &f->modal));
  PetscCall(PetscMalloc1(p->model->size, &w));
  f->plan = fftw_plan_r2r_2d((int)f->grid[1], (int)f->grid[0], f->modal, w, FFTW_REDFT01, FFTW_REDFT01, FFTW_ESTIMATE | FFTW_UNALIGNED | FFTW_PRESERVE_INPUT);
  PetscCall(PetscFree(w));
  PetscCheck(f->plan, p->comm, PETSC_ERR_LIB, "FFTW makes no plan for %" PetscInt_FMT " x %" PetscInt_FMT " places; take another -field_grid", f->grid[0], f->grid[1]);
  size = (PetscInt64)f->modes[0] * f->modes[1];
  for (int h = 0; h < KAL_FIELD_HYPERS; h++) f->entry[h] = f->spread[h] > 0.0 ? (PetscInt)size++ : -1;
  PetscCheck(size <= PETSC_MAX_INT, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "The state of %lld numbers is more than this PETSc can count", (long long)size);
  PetscCall(KalParameterizationSetSize(p, (PetscInt)size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscReal Hyper(const KalField *f, int h, const PetscScalar *u)
{
  return f->entry[h] < 0 ? f->median[h] : f->median[h] * PetscExpReal(f->spread[h] * u[f->entry[h]]);
}

/* f->modal = sd C^(1/2) xi, of cosines whose square is 1 in the mean; FFTW's, but for the constant, are twice the cosine. */
static void Scale(KalField *f, const PetscScalar *u)
{
  const PetscReal length = Hyper(f, KAL_FIELD_LENGTH, u), power = -0.5 * Hyper(f, KAL_FIELD_EXPONENT, u);
  const PetscInt  m0 = f->modes[0], m1 = f->modes[1];
  PetscReal       sum = 0.0, factor;

  for (PetscInt l = 0; l < m1; l++) {
    for (PetscInt k = 0; k < m0; k++) {
      const PetscReal a = PETSC_PI * (PetscReal)k / f->side[0] * length, b = PETSC_PI * (PetscReal)l / f->side[1] * length;
      const PetscReal root = PetscPowReal(1.0 + a * a + b * b, power);

      sum += root * root;
      f->modal[(size_t)l * (size_t)f->grid[0] + (size_t)k] = (k ? PETSC_SQRT2 / 2.0 : 1.0) * (l ? PETSC_SQRT2 / 2.0 : 1.0) * root * u[(size_t)l * (size_t)m0 + (size_t)k];
    }
  }
  factor = Hyper(f, KAL_FIELD_SD, u) / PetscSqrtReal(sum);
  for (PetscInt l = 0; l < m1; l++) {
    for (PetscInt k = 0; k < m0; k++) f->modal[(size_t)l * (size_t)f->grid[0] + (size_t)k] *= factor;
  }
}

static PetscErrorCode Map(KalParameterization p, const PetscScalar *u, PetscScalar *w)
{
  KalField *f = (KalField *)p->data;

  PetscFunctionBeginUser;
  Scale(f, u);
  fftw_execute_r2r(f->plan, f->modal, w);
  for (PetscInt i = 0; i < f->grid[0] * f->grid[1]; i++) {
    PetscInt level = 0;

    w[i] += f->mean;
    if (f->exponential) w[i] = PetscExpScalar(w[i]);
    if (!f->sets || PetscIsInfOrNanScalar(w[i])) continue;
    while (level < f->thresholds && w[i] >= f->threshold[level]) level++;
    w[i] = f->value[level];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Layout(KalParameterization p, size_t size, char *text)
{
  const KalField *f = (const KalField *)p->data;
  PetscInt64      digest;

  PetscFunctionBeginUser;
  PetscCall(KalDigest(f->side, sizeof f->side, 0, &digest));
  PetscCall(KalDigest(&f->mean, sizeof f->mean, digest, &digest));
  PetscCall(KalDigest(f->median, sizeof f->median, digest, &digest));
  PetscCall(KalDigest(f->spread, sizeof f->spread, digest, &digest));
  PetscCall(KalDigest(f->threshold, (size_t)f->thresholds * sizeof *f->threshold, digest, &digest));
  PetscCall(KalDigest(f->value, (size_t)f->values * sizeof *f->value, digest, &digest));
  PetscCall(PetscSNPrintf(text, size, "%" PetscInt_FMT " x %" PetscInt_FMT " places, %" PetscInt_FMT " x %" PetscInt_FMT " modes%s, %016llx", f->grid[0], f->grid[1], f->modes[0], f->modes[1], f->exponential ? ", exponential" : "", (unsigned long long)digest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Memory(KalParameterization p, PetscReal *bytes)
{
  PetscFunctionBeginUser;
  *bytes = (PetscReal)p->model->size * (PetscReal)sizeof(PetscReal);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalParameterization p, PetscViewer viewer)
{
  const KalField *f = (const KalField *)p->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " x %" PetscInt_FMT " places, %" PetscInt_FMT " x %" PetscInt_FMT " modes, mean %g", f->grid[0], f->grid[1], f->modes[0], f->modes[1], (double)f->mean));
  PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_FALSE));
  for (int h = 0; h < KAL_FIELD_HYPERS; h++) {
    PetscCall(PetscViewerASCIIPrintf(viewer, ", %s %g", Hypers[h], (double)f->median[h]));
    if (f->entry[h] >= 0) PetscCall(PetscViewerASCIIPrintf(viewer, " e^(%g z)", (double)f->spread[h]));
  }
  if (f->sets) PetscCall(PetscViewerASCIIPrintf(viewer, ", cut at %" PetscInt_FMT " levels", f->thresholds));
  PetscCall(PetscViewerASCIIPrintf(viewer, "\n"));
  PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalParameterization p)
{
  KalField *f = (KalField *)p->data;

  PetscFunctionBeginUser;
  if (f->plan) fftw_destroy_plan(f->plan);
  PetscCall(PetscFree(f->modal));
  PetscCall(PetscFree(p->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALPARAMETERIZATIONFIELD - "field", a Whittle-Matern field on a grid of one or two dimensions, of independent normal numbers

   Options Database Keys:
+  -field_grid - places along each side, as 24,24; a line of as many as the model takes where it is not given. The first runs fastest
.  -field_sides <1,...> - lengths of the sides; a place is the middle of a cell
.  -field_modes <as many as places> - modes along each side; fewer make a state of fewer numbers
.  -field_mean <0> - mean
.  -field_length <0.2> - l
.  -field_exponent <2> - alpha
.  -field_sd <1> - standard deviation, its square averaged over the places
.  -field_length_spread <0>, -field_exponent_spread <0>, -field_sd_spread <0> - prior standard deviations of their logarithms, about those of the
                                                                        values above; 0\: known
-  -field_exponential <false> - the model takes the exponential of the field

   Notes:
   w = mean + sd (sum_k c_k^2)^(-1/2) sum_k c_k phi_k xi_k, phi_k products of cosines k_a pi x_a/L_a (no flux through the sides), of mean square 1, and
   c_k^2 = (1 + l^2 |pi k/L|^2)^(-alpha)\: the root of a multiple of (1/l^2 - Laplace)^(-alpha) times white noise. In d dimensions draws have the
   Matern smoothness alpha - d/2; far from the sides the covariance falls off with the length l, as exp(-r/l) for d = 1, alpha = 1.

   The state holds the xi_k, those of the first side running fastest, then one number z for each of length, exponent and sd that is unknown, in
   this order, which is value e^(spread z). All are independent N(0, 1) before any data. That is the non-centred form of a hierarchical prior\: the state's coefficients do
   not depend on length and exponent, so that an analysis of both moves the field out of the span of its first draws.

   A member takes one cosine transform (FFTW): of the order of places x log(places) operations.

   Sources\: Chada, Iglesias, Roininen and Stuart, Parameterizations for ensemble Kalman inversion, Inverse Problems 34 (2018); Lindgren, Rue and
   Lindstrom, J. R. Statist. Soc. B 73 (2011).
M*/
PetscErrorCode KalParameterizationCreate_Field(KalParameterization p)
{
  KalField *f;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&f));
  f->median[KAL_FIELD_LENGTH]   = 0.2;
  f->median[KAL_FIELD_EXPONENT] = 2.0;
  f->median[KAL_FIELD_SD]       = 1.0;
  p->data                       = f;
  p->ops.setfromoptions         = SetFromOptions;
  p->ops.setup                  = SetUp;
  p->ops.map                    = Map;
  p->ops.layout                 = Layout;
  p->ops.memory                 = Memory;
  p->ops.view                   = View;
  p->ops.destroy                = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALPARAMETERIZATIONLEVELSET - "level-set", numbers that are constant between the levels of a Whittle-Matern field

   Options Database Keys:
+  -level_set_thresholds - levels t_1 < ... < t_m of the field
.  -level_set_values - v_0, ..., v_m\: the model takes v_i where t_i <= field < t_{i+1}
-  -field_... - the field; see KALPARAMETERIZATIONFIELD, whose -field_exponential it lacks

   Note:
   The map is constant almost everywhere, and only an ensemble whose fields cross levels at different places sees how predictions change with it.

   Source\: Chada, Iglesias, Roininen and Stuart, Inverse Problems 34 (2018); Iglesias, Lu and Stuart, A Bayesian level set method for geometric
   inverse problems, Interfaces and Free Boundaries 18 (2016).
M*/
PetscErrorCode KalParameterizationCreate_LevelSet(KalParameterization p)
{
  PetscFunctionBeginUser;
  PetscCall(KalParameterizationCreate_Field(p));
  ((KalField *)p->data)->sets = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}
