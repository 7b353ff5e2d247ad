/*
  Localization: tapers, radii, distances, and finding the observations near a place without looking at all of them.

  Observations are sorted into bins of half the reach. Bins and their order follow from the places of all observations alone, so that
  the neighbours of a place come in the same order whoever asks.
*/
#include "localization.h"

static const char *const Types[]       = {"none", "gaspari-cohn", "gaussian", "boxcar", "KalLocalizationType", "KAL_LOCALIZE_", NULL};
static const char *const Conventions[] = {"length-scale", "half-support", "support", "KalRadiusConvention", "KAL_RADIUS_", NULL};

/* Gaspari and Cohn's half-support for a length scale of 1: about sqrt(10/3), where the curvatures at 0 agree. */
#define KAL_GASPARI_COHN 1.82

PetscErrorCode KalLocalizationDefaults(KalLocalization *loc)
{
  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(loc, sizeof *loc));
  loc->type      = KAL_LOCALIZE_GASPARI_COHN;
  loc->threshold = 1e-3;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KalLocalization - How much an observation counts at a distance

   Options Database Keys:
+  -localization_type <gaspari-cohn> - gaspari-cohn, gaussian, boxcar; none: every observation counts everywhere, no locations are needed, and
                                      none of the other keys is allowed
.  -localization_radius <r> - the radius, in the model's unit of length; there is no default
.  -localization_convention <length-scale> - what the radius is: length-scale, half-support, support
-  -localization_threshold <0.001> - smaller coefficients are dropped; at least 0, less than 1

   Notes:
   gaspari-cohn is the compactly supported fifth-order piecewise rational function of Gaspari and Cohn (1999), eq. 4.10; at distance
   d, with z = d/c,

.vb
     1 - 5/3 z^2 + 5/8 z^3 + 1/2 z^4 - 1/4 z^5                     0 <= z <= 1
     4 - 5 z + 5/3 z^2 + 5/8 z^3 - 1/2 z^4 + 1/12 z^5 - 2/(3 z)    1 <= z <= 2
     0                                                             2 <= z
.ve

   gaussian is exp(-d^2/(2 L^2)); boxcar is 1 up to its edge and 0 beyond.

   With r the radius, the conventions are
+  length-scale - that of DAPPER and of the figures in share/doc/figures.md: L = r, c = 1.82 r, and the boxcar's edge is r. The Gaussian
                  is exp(-1/2) = 0.607 at r. 1.82 is about sqrt(10/3) = 1.826, where the two functions have the same curvature at 0;
                  Gaspari and Cohn's is then 0.634 at r, and 0 from 3.64 r on (exactly exp(-1/2) at r would be c = 1.7386 r)
.  half-support - c = r: the coefficient is 0 beyond 2 r
-  support - c = r/2: the coefficient is 0 beyond r

   In the last two the Gaussian has L = c/1.82 and is cut off at the support, where the boxcar has its edge. With the default threshold
   Gaspari and Cohn's coefficients are dropped from 1.76 c on, those of the Gaussian from 3.72 L on.

   Distances are Euclidean in the 1 to 3 dimensions of the model's locations, the shorter way round in directions that are
   periodic. Entries and observations of a negative kind have no place and are near everything: coefficient 1.

   A local analysis scales whitened anomalies and innovations by the square root of the coefficient, as if the variance of the
   observation's error were divided by it (R-localization; Hunt, Kostelich and Szunyogh 2007, Physica D 230).

.seealso: KALANALYSISLETKF
M*/
PetscErrorCode KalLocalizationSetFromOptions(KalAnalysis analysis, KalLocalization *loc, KalOptionItems PetscOptionsObject)
{
  PetscEnum type = (PetscEnum)loc->type, convention = (PetscEnum)loc->convention;

  PetscFunctionBeginUser;
  (void)analysis;
  PetscCall(PetscOptionsEnum("-localization_type", "How the weight of an observation falls with distance", "KalLocalization", Types, type, &type, NULL));
  PetscCall(PetscOptionsEnum("-localization_convention", "What the radius is", "KalLocalization", Conventions, convention, &convention, NULL));
  PetscCall(PetscOptionsReal("-localization_radius", "Radius of localization", "KalLocalization", loc->radius, &loc->radius, NULL));
  PetscCall(PetscOptionsReal("-localization_threshold", "Smaller coefficients are dropped", "KalLocalization", loc->threshold, &loc->threshold, NULL));
  loc->type       = (KalLocalizationType)type;
  loc->convention = (KalRadiusConvention)convention;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The length in the taper's formula and the distance it ends at, of a radius in its convention. */
static void Lengths(KalLocalization *loc)
{
  const PetscBool scale = (PetscBool)(loc->convention == KAL_RADIUS_LENGTH_SCALE);
  const PetscReal c     = loc->radius * (scale ? KAL_GASPARI_COHN : loc->convention == KAL_RADIUS_SUPPORT ? 0.5
                                                                                                          : 1.0);

  loc->length = c;
  loc->edge   = 2.0 * c;
  if (loc->type == KAL_LOCALIZE_BOXCAR) loc->length = loc->edge = scale ? loc->radius : 2.0 * c;
  if (loc->type == KAL_LOCALIZE_GAUSSIAN) {
    const PetscReal last = PetscSqrtReal(-2.0 * PetscLogReal(PetscMax(loc->threshold, 1e-300)));

    loc->length = scale ? loc->radius : c / KAL_GASPARI_COHN;
    if (scale) loc->edge = last * loc->length;
  }
  loc->reach = loc->edge * (1.0 + 1e-9);
}

/* Without a localization there is nothing that these could say. */
static PetscErrorCode RefuseUnused(KalAnalysis analysis)
{
  static const char *const unused[] = {"-localization_radius", "-localization_convention", "-localization_threshold", "-letkf_batch"};
  PetscBool                set;

  PetscFunctionBeginUser;
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(unused); k++) {
    PetscCall(PetscOptionsHasName(NULL, NULL, unused[k], &set));
    PetscCheck(!set, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s makes no sense with -localization_type none, where every observation counts everywhere; leave one of them out", unused[k]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalLocalizationSetUp - Checks the options and that there are locations

  Collective
*/
PetscErrorCode KalLocalizationSetUp(KalAnalysis analysis, KalLocalization *loc)
{
  PetscFunctionBeginUser;
  if (loc->type == KAL_LOCALIZE_NONE) {
    PetscCall(RefuseUnused(analysis));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCheck(loc->radius > 0.0 && !PetscIsInfOrNanReal(loc->radius), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-localization_radius %g: the radius of -localization_type %s must be positive; -localization_type none does without", (double)loc->radius, Types[loc->type]);
  PetscCheck(loc->threshold >= 0.0 && loc->threshold < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-localization_threshold %g: must be at least 0 and less than 1", (double)loc->threshold);
  PetscCheck(analysis->locate && analysis->domain.dimension > 0, analysis->comm, PETSC_ERR_ARG_INCOMP, "-localization_type %s needs to know where state entries are, and this model has no locations; use a model with them, or -localization_type none", Types[loc->type]);
  PetscCheck(analysis->domain.dimension <= KAL_DIMENSIONS, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "Locations in %" PetscInt_FMT " dimensions; 1 to %d are possible", analysis->domain.dimension, KAL_DIMENSIONS);
  loc->domain = analysis->domain;
  Lengths(loc);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalLocalizationView(const KalLocalization *loc, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  if (loc->type == KAL_LOCALIZE_NONE) PetscCall(PetscViewerASCIIPrintf(viewer, "  localization none\n"));
  else PetscCall(PetscViewerASCIIPrintf(viewer, "  localization %s, radius %g (%s), coefficients under %g dropped\n", Types[loc->type], (double)loc->radius, Conventions[loc->convention], (double)loc->threshold));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscReal GaspariCohn(PetscReal z)
{
  const PetscReal zz = z * z, zzz = z * zz;

  if (z >= 2.0) return 0.0;
  if (z <= 1.0) return 1.0 - 5.0 / 3.0 * zz + 5.0 / 8.0 * zzz + 0.5 * zz * zz - 0.25 * zz * zzz;
  return PetscMax(0.0, 4.0 - 5.0 * z + 5.0 / 3.0 * zz + 5.0 / 8.0 * zzz - 0.5 * zz * zz + zz * zzz / 12.0 - 2.0 / (3.0 * z));
}

/*
  KalLocalizationCoefficient - What an observation at a distance counts, from 0 to 1; 0 where that is under the threshold
*/
PetscReal KalLocalizationCoefficient(const KalLocalization *loc, PetscReal distance)
{
  const PetscReal z = distance / loc->length;
  PetscReal       coefficient;

  if (distance > loc->edge) return 0.0;
  if (loc->type == KAL_LOCALIZE_GASPARI_COHN) coefficient = GaspariCohn(z);
  else if (loc->type == KAL_LOCALIZE_GAUSSIAN) coefficient = PetscExpReal(-0.5 * z * z);
  else coefficient = 1.0;
  return coefficient >= loc->threshold ? coefficient : 0.0;
}

static inline PetscReal SquaredDistance(const KalDomain *domain, const PetscReal *a, const PetscReal *b)
{
  PetscReal square = 0.0;
  PetscInt  d;

  for (d = 0; d < domain->dimension; d++) {
    PetscReal apart = PetscAbsReal(a[d] - b[d]);

    if (domain->length[d] > 0.0) {
      if (apart > domain->length[d]) apart -= domain->length[d] * PetscFloorReal(apart / domain->length[d]);
      apart = PetscMin(apart, domain->length[d] - apart);
    }
    square += apart * apart;
  }
  return square;
}

/*
  KalLocalizationDistance - Euclidean, the shorter way round where a direction is periodic
*/
PetscReal KalLocalizationDistance(const KalDomain *domain, const PetscReal *a, const PetscReal *b)
{
  return PetscSqrtReal(SquaredDistance(domain, a, b));
}

static PetscErrorCode Forget(KalLocalization *loc)
{
  PetscFunctionBeginUser;
  loc->indexed = PETSC_FALSE;
  PetscCall(PetscFree3(loc->unplaced, loc->order, loc->place));
  PetscCall(PetscFree(loc->start));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalLocalizationDestroy(KalLocalization *loc)
{
  PetscFunctionBeginUser;
  PetscCall(Forget(loc));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalNeighboursDestroy(KalNeighbours *near)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(near->index, near->coefficient));
  near->count = near->most = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bins of half the reach over all that is placed, made wider until there are no more than twice as many as observations. */
static void ChooseBins(KalLocalization *loc, const PetscReal *least, const PetscReal *most)
{
  const PetscInt D      = loc->domain.dimension;
  PetscReal      width  = 0.5 * loc->reach;
  const double   enough = 2.0 * loc->placed + 1.0;
  PetscInt       d;

  for (;; width *= 1.5) {
    double total = 1.0;

    for (d = 0; d < KAL_DIMENSIONS; d++) {
      const PetscBool periodic = (PetscBool)(d < D && loc->domain.length[d] > 0.0);
      const PetscReal extent   = d >= D ? 0.0 : periodic ? loc->domain.length[d]
                                                         : most[d] - least[d],
                      count    = PetscFloorReal(extent / width);

      loc->bins[d]   = 1 + (PetscInt)PetscMin(count, enough);
      loc->origin[d] = d >= D || periodic ? 0.0 : least[d];
      loc->width[d]  = width;
      if (periodic) {
        loc->bins[d]  = PetscMax(1, loc->bins[d] - 1);
        loc->width[d] = extent / loc->bins[d];
      }
      total *= loc->bins[d];
    }
    if (total <= enough) return;
  }
}

static inline PetscReal Wrap(const KalDomain *domain, PetscInt d, PetscReal x)
{
  return domain->length[d] > 0.0 ? x - domain->length[d] * PetscFloorReal(x / domain->length[d]) : x;
}

/* The bin of a coordinate that lies within the bins. */
static inline PetscInt Bin(const KalLocalization *loc, PetscInt d, PetscReal x)
{
  return PetscMax(0, PetscMin(loc->bins[d] - 1, (PetscInt)((x - loc->origin[d]) / loc->width[d])));
}

static PetscInt BinOf(const KalLocalization *loc, const PetscReal *x)
{
  PetscInt d, bin = 0;

  for (d = loc->domain.dimension - 1; d >= 0; d--) bin = bin * loc->bins[d] + Bin(loc, d, Wrap(&loc->domain, d, x[d]));
  return bin;
}

/* Sorts the placed observations by bin, those of one bin in their order. */
static PetscErrorCode Sort(KalLocalization *loc, const PetscReal *location, const PetscInt *kind)
{
  const PetscInt bins = loc->bins[0] * loc->bins[1] * loc->bins[2];
  PetscInt       i, d, b, *at;

  PetscFunctionBeginUser;
  PetscCall(PetscCalloc1((size_t)bins + 2, &loc->start)); /* start[b + 2] counts, then start[b + 1] moves from the start of b to its end */
  at = loc->start + 1;
  for (i = 0; i < loc->p; i++) {
    if (!kind || kind[i] >= 0) at[BinOf(loc, location + (size_t)KAL_DIMENSIONS * i) + 1]++;
  }
  for (b = 1; b <= bins; b++) at[b] += at[b - 1];
  for (i = 0; i < loc->p; i++) {
    const PetscReal *x = location + (size_t)KAL_DIMENSIONS * i;
    PetscInt         to;

    if (kind && kind[i] < 0) continue;
    to             = at[BinOf(loc, x)]++;
    loc->order[to] = i;
    for (d = 0; d < KAL_DIMENSIONS; d++) loc->place[(size_t)KAL_DIMENSIONS * to + d] = d < loc->domain.dimension ? Wrap(&loc->domain, d, x[d]) : 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalLocalizationIndex - Sorts the observations of a cycle into bins, unless they are where they were

  Collective: every rank has the places of all observations. `kind` may be NULL: all have a place. `changed` tells whether they moved.
*/
PetscErrorCode KalLocalizationIndex(MPI_Comm comm, KalLocalization *loc, PetscInt p, const PetscReal *location, const PetscInt *kind, PetscBool *changed)
{
  PetscReal  least[KAL_DIMENSIONS] = {0.0}, most[KAL_DIMENSIONS] = {0.0};
  PetscInt64 digest;
  PetscInt   i, d, unplaced = 0;

  PetscFunctionBeginUser;
  PetscCall(KalDigest(location, (size_t)KAL_DIMENSIONS * p * sizeof *location, 0, &digest));
  if (kind) PetscCall(KalDigest(kind, (size_t)p * sizeof *kind, digest, &digest));
  *changed = (PetscBool)(!loc->indexed || p != loc->p || digest != loc->digest);
  if (!*changed) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(Forget(loc));
  loc->p      = p;
  loc->digest = digest;
  loc->placed = 0;
  PetscCall(PetscMalloc3(p, &loc->unplaced, p, &loc->order, (size_t)KAL_DIMENSIONS * p, &loc->place));
  for (i = 0; i < p; i++) {
    const PetscReal *x = location + (size_t)KAL_DIMENSIONS * i;

    if (kind && kind[i] < 0) {
      loc->unplaced[unplaced++] = i;
      continue;
    }
    for (d = 0; d < loc->domain.dimension; d++) {
      PetscCheck(PetscAbsReal(x[d]) <= KAL_PLACE_MOST, comm, PETSC_ERR_ARG_OUTOFRANGE, "Coordinate %" PetscInt_FMT " of observation %" PetscInt_FMT " is %g; a localized analysis needs finite ones, or a negative kind for an observation without a place", d, i, (double)x[d]);
      least[d] = loc->placed ? PetscMin(least[d], x[d]) : x[d];
      most[d]  = loc->placed ? PetscMax(most[d], x[d]) : x[d];
    }
    loc->placed++;
  }
  ChooseBins(loc, least, most);
  PetscCall(Sort(loc, location, kind));
  loc->indexed = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Add(KalNeighbours *near, PetscInt index, PetscReal coefficient)
{
  PetscFunctionBeginUser;
  if (near->count == near->most) {
    const PetscInt more = PetscMax(64, near->most > PETSC_MAX_INT / 2 ? PETSC_MAX_INT : 2 * near->most);
    PetscInt      *indices;
    PetscReal     *coefficients;

    PetscCall(PetscMalloc2(more, &indices, more, &coefficients));
    PetscCall(PetscArraycpy(indices, near->index, near->count));
    PetscCall(PetscArraycpy(coefficients, near->coefficient, near->count));
    PetscCall(PetscFree2(near->index, near->coefficient));
    near->index       = indices;
    near->coefficient = coefficients;
    near->most        = more;
  }
  near->index[near->count]         = index;
  near->coefficient[near->count++] = coefficient;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Bins of a direction within reach of x: `count` of them from `first` on, counted round where it is periodic. */
static void BinsNear(const KalLocalization *loc, PetscInt d, PetscReal x, PetscInt *first, PetscInt *count)
{
  const PetscInt bins = loc->bins[d];
  PetscReal      low, high;

  *first = 0;
  *count = bins;
  if (d >= loc->domain.dimension || bins == 1) return;
  low  = PetscFloorReal((x - loc->reach - loc->origin[d]) / loc->width[d]);
  high = PetscFloorReal((x + loc->reach - loc->origin[d]) / loc->width[d]);
  if (loc->domain.length[d] > 0.0) {
    if (high - low + 1.0 >= (PetscReal)bins) return;
    *first = ((PetscInt)low % bins + bins) % bins;
    *count = (PetscInt)(high - low) + 1;
    return;
  }
  low    = PetscMax(low, 0.0);
  high   = PetscMin(high, (PetscReal)(bins - 1));
  *count = high < low ? 0 : (PetscInt)(high - low) + 1;
  if (*count) *first = (PetscInt)low;
}

static PetscErrorCode FindInBin(const KalLocalization *loc, PetscInt bin, const PetscReal *x, KalNeighbours *near)
{
  const PetscReal square = loc->reach * loc->reach;
  PetscInt        k;

  PetscFunctionBeginUser;
  for (k = loc->start[bin]; k < loc->start[bin + 1]; k++) {
    const PetscReal apart = SquaredDistance(&loc->domain, x, loc->place + (size_t)KAL_DIMENSIONS * k);
    PetscReal       coefficient;

    if (apart > square) continue;
    coefficient = KalLocalizationCoefficient(loc, PetscSqrtReal(apart));
    if (coefficient > 0.0) PetscCall(Add(near, loc->order[k], coefficient));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalLocalizationFind - The observations that count at a place, in an order that follows from where the observations are alone
*/
PetscErrorCode KalLocalizationFind(const KalLocalization *loc, const PetscReal *place, KalNeighbours *near)
{
  PetscReal x[KAL_DIMENSIONS] = {0.0};
  PetscInt  first[KAL_DIMENSIONS], count[KAL_DIMENSIONS], i[KAL_DIMENSIONS], d;

  PetscFunctionBeginUser;
  near->count = 0;
  for (d = 0; d < loc->p - loc->placed; d++) PetscCall(Add(near, loc->unplaced[d], 1.0));
  if (!loc->placed) PetscFunctionReturn(PETSC_SUCCESS);
  for (d = 0; d < KAL_DIMENSIONS; d++) {
    if (d < loc->domain.dimension) x[d] = Wrap(&loc->domain, d, place[d]);
    BinsNear(loc, d, x[d], &first[d], &count[d]);
  }
  for (i[2] = 0; i[2] < count[2]; i[2]++) {
    for (i[1] = 0; i[1] < count[1]; i[1]++) {
      for (i[0] = 0; i[0] < count[0]; i[0]++) {
        PetscInt bin = 0;

        for (d = KAL_DIMENSIONS - 1; d >= 0; d--) bin = bin * loc->bins[d] + (first[d] + i[d]) % loc->bins[d];
        PetscCall(FindInBin(loc, bin, x, near));
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
