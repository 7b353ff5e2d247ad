/* The parameterization "bounds": entries that stay above, below or between bounds, by a logarithm or a logit. */
#include <models/parameterizationimpl.h>

typedef struct {
  PetscInt   count; /* entries that were listed, 0: all */
  PetscInt  *entry;
  PetscInt   lowers, uppers; /* how many were given: none, one for all, or one each */
  PetscReal *lower, *upper;
} KalBounds;

/* Most numbers of a list. */
#define KAL_BOUNDS_MOST 100000

/* A list of numbers, as long as it is; kept where the option is not given. PETSc's own way prints them all in -help. */
static PetscErrorCode Reals(KalOptionItems PetscOptionsObject, const char *name, const char *text, PetscInt *count, PetscReal **values)
{
  char       unused[8] = "";
  PetscReal *list;
  PetscInt   n = KAL_BOUNDS_MOST;
  PetscBool  given;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsString(name, text, "KALPARAMETERIZATIONBOUNDS", unused, unused, sizeof unused, NULL));
  PetscCall(PetscMalloc1(n, &list));
  PetscCall(PetscOptionsGetRealArray(NULL, NULL, name, list, &n, &given));
  if (given) {
    PetscCall(PetscFree(*values));
    PetscCall(PetscMalloc1(n, values));
    PetscCall(PetscArraycpy(*values, list, n));
    *count = n;
  }
  PetscCall(PetscFree(list));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Entries(KalOptionItems PetscOptionsObject, KalBounds *bounds)
{
  char      unused[8] = "";
  PetscInt *list, n = KAL_BOUNDS_MOST;
  PetscBool given;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsString("-bounds_entries", "entries that have bounds, from 0; all where none are listed", "KALPARAMETERIZATIONBOUNDS", unused, unused, sizeof unused, NULL));
  PetscCall(PetscMalloc1(n, &list));
  PetscCall(PetscOptionsGetIntArray(NULL, NULL, "-bounds_entries", list, &n, &given));
  if (given) {
    PetscCall(PetscFree(bounds->entry));
    PetscCall(PetscMalloc1(n, &bounds->entry));
    PetscCall(PetscArraycpy(bounds->entry, list, n));
    bounds->count = n;
  }
  PetscCall(PetscFree(list));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetFromOptions(KalParameterization p, KalOptionItems PetscOptionsObject)
{
  KalBounds *bounds = (KalBounds *)p->data;

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Parameterization bounds: entries that stay within bounds");
  PetscCall(Entries(PetscOptionsObject, bounds));
  PetscCall(Reals(PetscOptionsObject, "-bounds_lower", "what entries stay above: one number, or one an entry that is listed", &bounds->lowers, &bounds->lower));
  PetscCall(Reals(PetscOptionsObject, "-bounds_upper", "what entries stay below: one number, or one an entry that is listed", &bounds->uppers, &bounds->upper));
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Of bound i; none is PETSc's infinity, a finite number. */
static PetscReal Lower(const KalBounds *bounds, PetscInt i)
{
  return bounds->lowers ? bounds->lower[bounds->lowers == 1 ? 0 : i] : PETSC_NINFINITY;
}

static PetscReal Upper(const KalBounds *bounds, PetscInt i)
{
  return bounds->uppers ? bounds->upper[bounds->uppers == 1 ? 0 : i] : PETSC_INFINITY;
}

/* What entry i of the list stays within. */
typedef struct {
  PetscReal lower, upper;
  PetscBool above, below; /* whether it has the one and the other */
} Interval;

static Interval Within(const KalBounds *bounds, PetscInt i)
{
  const PetscReal lower = Lower(bounds, i), upper = Upper(bounds, i);

  return (Interval){lower, upper, (PetscBool)(lower > PETSC_NINFINITY), (PetscBool)(upper < PETSC_INFINITY)};
}

static PetscInt Count(KalParameterization p)
{
  const KalBounds *bounds = (const KalBounds *)p->data;

  return bounds->count ? bounds->count : p->size;
}

static PetscInt Entry(const KalBounds *bounds, PetscInt i)
{
  return bounds->count ? bounds->entry[i] : i;
}

static PetscErrorCode CheckEntries(KalParameterization p)
{
  const KalBounds *bounds = (const KalBounds *)p->data;
  PetscInt        *sorted;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < bounds->count; i++) PetscCheck(bounds->entry[i] >= 0 && bounds->entry[i] < p->size, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-bounds_entries lists entry %" PetscInt_FMT ": the model %s has entries 0 to %" PetscInt_FMT, bounds->entry[i], p->model->type, p->size - 1);
  PetscCall(PetscMalloc1(bounds->count, &sorted));
  PetscCall(PetscArraycpy(sorted, bounds->entry, bounds->count));
  PetscCall(PetscSortInt(bounds->count, sorted));
  for (PetscInt i = 1; i < bounds->count; i++) PetscCheck(sorted[i] != sorted[i - 1], p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-bounds_entries lists entry %" PetscInt_FMT " twice", sorted[i]);
  PetscCall(PetscFree(sorted));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalParameterization p)
{
  KalBounds *bounds = (KalBounds *)p->data;
  PetscInt   n;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSize(p->model, &n));
  PetscCall(KalParameterizationSetSize(p, n));
  PetscCall(CheckEntries(p));
  PetscCheck(bounds->lowers || bounds->uppers, p->comm, PETSC_ERR_ARG_WRONGSTATE, "The parameterization bounds has none: give -bounds_lower (0 keeps entries positive), -bounds_upper or both");
  PetscCheck(bounds->lowers <= 1 || bounds->lowers == Count(p), p->comm, PETSC_ERR_ARG_SIZ, "-bounds_lower has %" PetscInt_FMT " numbers; give one, or one for each of the %" PetscInt_FMT " entries", bounds->lowers, Count(p));
  PetscCheck(bounds->uppers <= 1 || bounds->uppers == Count(p), p->comm, PETSC_ERR_ARG_SIZ, "-bounds_upper has %" PetscInt_FMT " numbers; give one, or one for each of the %" PetscInt_FMT " entries", bounds->uppers, Count(p));
  for (PetscInt i = 0; i < Count(p); i++) PetscCheck(Lower(bounds, i) < Upper(bounds, i), p->comm, PETSC_ERR_ARG_OUTOFRANGE, "Entry %" PetscInt_FMT " is to stay above %g (-bounds_lower) and below %g (-bounds_upper); the one must be less than the other", Entry(bounds, i), (double)Lower(bounds, i), (double)Upper(bounds, i));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* 1/(1 + exp(-u)) without an overflow, and to a relative rounding for u of either sign. */
static PetscReal Logistic(PetscReal u)
{
  const PetscReal e = PetscExpReal(-PetscAbsReal(u));

  return (u >= 0.0 ? 1.0 : e) / (1.0 + e);
}

static PetscErrorCode Map(KalParameterization p, const PetscScalar *u, PetscScalar *w)
{
  const KalBounds *bounds = (const KalBounds *)p->data;

  PetscFunctionBeginUser;
  if (bounds->count) PetscCall(PetscArraycpy(w, u, p->size));
  for (PetscInt i = 0; i < Count(p); i++) {
    const PetscInt e  = Entry(bounds, i);
    const Interval in = Within(bounds, i);

    if (in.above && in.below) w[e] = in.lower + (in.upper - in.lower) * Logistic(u[e]);
    else if (in.above) w[e] = in.lower + PetscExpReal(u[e]);
    else if (in.below) w[e] = in.upper - PetscExpReal(u[e]);
    else w[e] = u[e];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Adjoint(KalParameterization p, const PetscScalar *u, const PetscScalar *g, PetscScalar *gradient)
{
  const KalBounds *bounds = (const KalBounds *)p->data;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(gradient, g, p->size));
  for (PetscInt i = 0; i < Count(p); i++) {
    const PetscInt e  = Entry(bounds, i);
    const Interval in = Within(bounds, i);

    if (in.above && in.below) gradient[e] *= (in.upper - in.lower) * Logistic(u[e]) * Logistic(-u[e]);
    else if (in.above) gradient[e] *= PetscExpReal(u[e]);
    else if (in.below) gradient[e] *= -PetscExpReal(u[e]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Not a number for w beyond its bounds. */
static PetscErrorCode Inverse(KalParameterization p, const PetscScalar *w, PetscScalar *u)
{
  const KalBounds *bounds = (const KalBounds *)p->data;

  PetscFunctionBeginUser;
  if (bounds->count) PetscCall(PetscArraycpy(u, w, p->size));
  for (PetscInt i = 0; i < Count(p); i++) {
    const PetscInt e  = Entry(bounds, i);
    const Interval in = Within(bounds, i);

    if (in.above && in.below) u[e] = PetscLogReal(w[e] - in.lower) - PetscLogReal(in.upper - w[e]);
    else if (in.above) u[e] = PetscLogReal(w[e] - in.lower);
    else if (in.below) u[e] = PetscLogReal(in.upper - w[e]);
    else u[e] = w[e];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "3 of 41 entries above 0" */
static PetscErrorCode Text(KalParameterization p, size_t size, char *text)
{
  const KalBounds *bounds = (const KalBounds *)p->data;
  const double     lo = (double)Lower(bounds, 0), hi = (double)Upper(bounds, 0);
  size_t           length;

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(text, size, "%" PetscInt_FMT " of %" PetscInt_FMT " entries ", Count(p), p->size));
  PetscCall(PetscStrlen(text, &length));
  if (bounds->lowers > 1 || bounds->uppers > 1) PetscCall(PetscSNPrintf(text + length, size - length, "within bounds of their own"));
  else if (!bounds->uppers) PetscCall(PetscSNPrintf(text + length, size - length, "above %g", lo));
  else if (!bounds->lowers) PetscCall(PetscSNPrintf(text + length, size - length, "below %g", hi));
  else PetscCall(PetscSNPrintf(text + length, size - length, "between %g and %g", lo, hi));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* With a digest of what the text rounds or leaves out. */
static PetscErrorCode Layout(KalParameterization p, size_t size, char *text)
{
  const KalBounds *bounds = (const KalBounds *)p->data;
  PetscInt64       digest;
  char             words[128];

  PetscFunctionBeginUser;
  PetscCall(Text(p, sizeof words, words));
  PetscCall(KalDigest(bounds->entry, (size_t)bounds->count * sizeof *bounds->entry, 0, &digest));
  PetscCall(KalDigest(bounds->lower, (size_t)bounds->lowers * sizeof *bounds->lower, digest, &digest));
  PetscCall(KalDigest(bounds->upper, (size_t)bounds->uppers * sizeof *bounds->upper, digest, &digest));
  PetscCall(PetscSNPrintf(text, size, "%s, %016llx", words, (unsigned long long)digest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Memory(KalParameterization p, PetscReal *bytes)
{
  const KalBounds *bounds = (const KalBounds *)p->data;

  PetscFunctionBeginUser;
  *bytes = (PetscReal)bounds->count * (PetscReal)sizeof(PetscInt) + (PetscReal)(bounds->lowers + bounds->uppers) * (PetscReal)sizeof(PetscReal);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalParameterization p, PetscViewer viewer)
{
  char words[128];

  PetscFunctionBeginUser;
  PetscCall(Text(p, sizeof words, words));
  PetscCall(PetscViewerASCIIPrintf(viewer, "%s\n", words));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalParameterization p)
{
  KalBounds *bounds = (KalBounds *)p->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree(bounds->entry));
  PetscCall(PetscFree(bounds->lower));
  PetscCall(PetscFree(bounds->upper));
  PetscCall(PetscFree(p->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALPARAMETERIZATIONBOUNDS - "bounds", entries that stay within bounds, whatever an analysis makes of them

   Options Database Keys:
+  -bounds_lower <none> - what entries stay above: one number, or one an entry that is listed; -inf: nothing
.  -bounds_upper <none> - what entries stay below, likewise; inf: nothing
-  -bounds_entries <all> - entries that have bounds, from 0, at most 100000

   Notes:
   w_i = l + exp(u_i) above l, h - exp(u_i) below h, l + (h - l)/(1 + exp(-u_i)) between both; entries without bounds are w_i = u_i.
   Prior draws, means and standard deviations of the model are then those of u_i: of the logarithm of w_i - l, as -elliptic_mean 0.5,4.6
   -bounds_lower 0 has medians of exp(0.5) and exp(4.6). The same holds of a model's truth in a twin experiment.

   A forecast works on w and is taken back to u by the inverse; a member that it takes to a bound or beyond is one that is not finite. Entries
   that a forecast leaves alone keep their bits.

   At a distance from a bound that is below the rounding of the bound itself w lies on it.
M*/
PetscErrorCode KalParameterizationCreate_Bounds(KalParameterization p)
{
  KalBounds *bounds;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&bounds));
  p->data               = bounds;
  p->ops.entrywise      = PETSC_TRUE;
  p->ops.setfromoptions = SetFromOptions;
  p->ops.setup          = SetUp;
  p->ops.map            = Map;
  p->ops.adjoint        = Adjoint;
  p->ops.inverse        = Inverse;
  p->ops.layout         = Layout;
  p->ops.memory         = Memory;
  p->ops.view           = View;
  p->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
