/* ranks: 1 2 */
/*
  Tapers, radii, distances and neighbours, and the root that local analyses are made with. The sources are included, since what they
  define is the library's own.
*/
#include "../../src/analysis/localization.c"
#include "../../src/analysis/localroot.c"

#include "subcomm.h"

#include <petscblaslapack.h>

static KalLocalization Make(KalLocalizationType type, KalRadiusConvention convention, double radius, double threshold, PetscInt dimension, const double *length)
{
  KalLocalization loc;
  PetscInt        d;

  (void)KalLocalizationDefaults(&loc);
  loc.type             = type;
  loc.convention       = convention;
  loc.radius           = radius;
  loc.threshold        = threshold;
  loc.domain.dimension = dimension;
  for (d = 0; d < KAL_DIMENSIONS; d++) loc.domain.length[d] = d < dimension && length ? length[d] : 0.0;
  Lengths(&loc);
  return loc;
}

/* Gaspari and Cohn (1999), eq. 4.10, at points where it is a plain fraction: 263/384 at c/2, 5/24 at c, 19/1152 at 3c/2. */
static void GaspariAndCohn(void **state)
{
  KalLocalization loc = Make(KAL_LOCALIZE_GASPARI_COHN, KAL_RADIUS_HALF_SUPPORT, 3.0, 0.0, 1, NULL);
  const double    c = 3.0, h = 1e-5;
  double          before, after;
  PetscInt        k, i;

  (void)state;
  KalAssertNear(KalLocalizationCoefficient(&loc, 0.0), 1.0, 0.0);
  KalAssertNear(KalLocalizationCoefficient(&loc, 0.5 * c), 263.0 / 384.0, 1e-15);
  KalAssertNear(KalLocalizationCoefficient(&loc, c), 5.0 / 24.0, 1e-15);
  KalAssertNear(KalLocalizationCoefficient(&loc, 1.5 * c), 19.0 / 1152.0, 1e-15);
  KalAssertNear(KalLocalizationCoefficient(&loc, 2.0 * c), 0.0, 0.0);
  KalAssertNear(KalLocalizationCoefficient(&loc, 2.1 * c), 0.0, 0.0);
  for (k = 1; k <= 2; k++) { /* value, slope and curvature from the left and from the right of c and 2c */
    const double at = k * c, f = KalLocalizationCoefficient(&loc, at);

    for (i = -1; i <= 1; i += 2) KalAssertNear(KalLocalizationCoefficient(&loc, at + i * 1e-9), f, 1e-8);
    before = (f - KalLocalizationCoefficient(&loc, at - h)) / h;
    after  = (KalLocalizationCoefficient(&loc, at + h) - f) / h;
    KalAssertNear(before, after, 1e-5);
  }
  KalAssertNear((1.0 - KalLocalizationCoefficient(&loc, 1e-3)) / 1e-6, 5.0 / 3.0 / (c * c), 1e-3); /* flat at 0, with curvature 10/3/c^2 */
  for (i = 0; i < 1000; i++) {                                                                     /* falls */
    before = KalLocalizationCoefficient(&loc, i * 0.006);
    after  = KalLocalizationCoefficient(&loc, (i + 1) * 0.006);
    KalAssert(after <= before && after >= 0.0);
  }
}

/* Coefficients that DAPPER's dist2coeff() gives for radius 4 (0.6336 at the radius), and where it ends. */
static void RadiusConventions(void **state)
{
  KalLocalization loc = Make(KAL_LOCALIZE_GASPARI_COHN, KAL_RADIUS_LENGTH_SCALE, 4.0, 1e-3, 1, NULL);
  const double    z   = 1.0 / 1.82;

  (void)state;
  KalAssertNear(loc.length, 1.82 * 4.0, 1e-15);
  KalAssertNear(KalLocalizationCoefficient(&loc, 4.0), 1.0 + z * z * (-z * z * z / 4.0 + z * z / 2.0) + z * z * z * 5.0 / 8.0 - z * z * 5.0 / 3.0, 1e-15);
  KalAssertNear(KalLocalizationCoefficient(&loc, 4.0), 0.63356, 1e-5);
  KalAssert(KalLocalizationCoefficient(&loc, 12.79) >= 1e-3 && KalLocalizationCoefficient(&loc, 12.8) == 0.0); /* dropped under the threshold */
  loc = Make(KAL_LOCALIZE_GASPARI_COHN, KAL_RADIUS_SUPPORT, 4.0, 0.0, 1, NULL);
  KalAssertNear(KalLocalizationCoefficient(&loc, 2.0), 5.0 / 24.0, 1e-15);
  KalAssert(KalLocalizationCoefficient(&loc, 3.99) > 0.0 && KalLocalizationCoefficient(&loc, 4.0) == 0.0);
  loc = Make(KAL_LOCALIZE_GAUSSIAN, KAL_RADIUS_LENGTH_SCALE, 4.0, 1e-3, 1, NULL);
  KalAssertNear(KalLocalizationCoefficient(&loc, 4.0), exp(-0.5), 1e-15);
  KalAssertNear(KalLocalizationCoefficient(&loc, 8.0), exp(-2.0), 1e-15);
  KalAssert(KalLocalizationCoefficient(&loc, 14.8) > 0.0 && KalLocalizationCoefficient(&loc, 14.9) == 0.0);
  loc = Make(KAL_LOCALIZE_GAUSSIAN, KAL_RADIUS_HALF_SUPPORT, 1.82, 1e-9, 1, NULL);
  KalAssertNear(KalLocalizationCoefficient(&loc, 1.0), exp(-0.5), 1e-15);
  KalAssert(KalLocalizationCoefficient(&loc, 3.63) > 0.0 && KalLocalizationCoefficient(&loc, 3.65) == 0.0);
  loc = Make(KAL_LOCALIZE_GAUSSIAN, KAL_RADIUS_SUPPORT, 3.64, 1e-9, 1, NULL);
  KalAssertNear(KalLocalizationCoefficient(&loc, 1.0), exp(-0.5), 1e-15);
  KalAssert(KalLocalizationCoefficient(&loc, 3.63) > 0.0 && KalLocalizationCoefficient(&loc, 3.65) == 0.0);
  loc = Make(KAL_LOCALIZE_BOXCAR, KAL_RADIUS_LENGTH_SCALE, 4.0, 1e-3, 1, NULL);
  KalAssert(KalLocalizationCoefficient(&loc, 4.0) == 1.0 && KalLocalizationCoefficient(&loc, 4.01) == 0.0);
  loc = Make(KAL_LOCALIZE_BOXCAR, KAL_RADIUS_HALF_SUPPORT, 4.0, 1e-3, 1, NULL);
  KalAssert(KalLocalizationCoefficient(&loc, 8.0) == 1.0 && KalLocalizationCoefficient(&loc, 8.01) == 0.0);
  loc = Make(KAL_LOCALIZE_BOXCAR, KAL_RADIUS_SUPPORT, 4.0, 1e-3, 1, NULL);
  KalAssert(KalLocalizationCoefficient(&loc, 4.0) == 1.0 && KalLocalizationCoefficient(&loc, 4.01) == 0.0);
}

static void Distances(void **state)
{
  const KalDomain line = {
                      1, {40.0, 0.0, 0.0}
  },
                  plane = {2, {10.0, 0.0, 0.0}}, space = {3, {10.0, 8.0, 6.0}};
  const double a[] = {1.0, 1.0, 1.0}, b[] = {39.0, 99.0, 99.0}, c[] = {9.5, 7.0, 5.5}, d[] = {-3.0, 1.0, 1.0}, e[] = {9.0, 4.0, 77.0};

  (void)state;
  KalAssertNear(KalLocalizationDistance(&line, a, b), 2.0, 0.0); /* the long way is 38; further coordinates do not count */
  KalAssertNear(KalLocalizationDistance(&line, d, b), 2.0, 1e-15);
  KalAssertNear(KalLocalizationDistance(&plane, a, e), sqrt(2.0 * 2.0 + 3.0 * 3.0), 1e-15);
  KalAssertNear(KalLocalizationDistance(&space, a, c), sqrt(1.5 * 1.5 + 2.0 * 2.0 + 1.5 * 1.5), 1e-15);
}

typedef struct {
  PetscInt            dimension, p;
  double              length[KAL_DIMENSIONS], extent[KAL_DIMENSIONS]; /* observations lie from -extent/4 to extent */
  KalLocalizationType type;
  KalRadiusConvention convention;
  double              radius;
} Cloud;

static const Cloud clouds[] = {
    {1, 300,  {0},            {50.0},           KAL_LOCALIZE_GASPARI_COHN, KAL_RADIUS_LENGTH_SCALE, 1.5  },
    {1, 300,  {50.0},         {70.0},           KAL_LOCALIZE_GASPARI_COHN, KAL_RADIUS_SUPPORT,      4.0  },
    {1, 40,   {40.0},         {40.0},           KAL_LOCALIZE_GASPARI_COHN, KAL_RADIUS_LENGTH_SCALE, 9.0  },
    {1, 40,   {40.0},         {40.0},           KAL_LOCALIZE_BOXCAR,       KAL_RADIUS_LENGTH_SCALE, 300.0},
    {2, 900,  {0},            {30.0, 20.0},     KAL_LOCALIZE_GAUSSIAN,     KAL_RADIUS_LENGTH_SCALE, 1.0  },
    {2, 900,  {30.0, 0.0},    {30.0, 5.0},      KAL_LOCALIZE_BOXCAR,       KAL_RADIUS_LENGTH_SCALE, 2.0  },
    {2, 10,   {1e5, 1e5},     {1e5, 1e5},       KAL_LOCALIZE_BOXCAR,       KAL_RADIUS_LENGTH_SCALE, 1.0  },
    {3, 1500, {10.0, 8.0, 0}, {10.0, 8.0, 6.0}, KAL_LOCALIZE_GASPARI_COHN, KAL_RADIUS_SUPPORT,      1.5  },
    {3, 1500, {0},            {10.0, 8.0, 0.0}, KAL_LOCALIZE_GAUSSIAN,     KAL_RADIUS_HALF_SUPPORT, 0.7  },
    {3, 0,    {0},            {10.0, 8.0, 1.0}, KAL_LOCALIZE_GAUSSIAN,     KAL_RADIUS_HALF_SUPPORT, 0.7  },
};

static double Coordinate(const Cloud *cloud, uint64_t stream, PetscInt i, PetscInt d)
{
  return d < cloud->dimension ? cloud->extent[d] * (0.375 + 0.625 * KalTestNumber(stream, (uint64_t)(KAL_DIMENSIONS * i + d))) : 1e9;
}

/* Each found once, with its coefficient, and none missing, whoever and wherever one asks. */
static void FoundAsByBruteForce(void **state)
{
  size_t k;

  (void)state;
  for (k = 0; k < sizeof clouds / sizeof clouds[0]; k++) {
    const Cloud    *cloud = &clouds[k];
    KalLocalization loc   = Make(cloud->type, cloud->convention, cloud->radius, 1e-3, cloud->dimension, cloud->length);
    KalNeighbours   near  = {0};
    PetscInt        i, q, d, missed = 0, wrong = 0, *kind;
    double         *location, *expected;
    PetscBool       changed;

    KalCall(PetscMalloc3(KAL_DIMENSIONS * cloud->p, &location, cloud->p, &expected, cloud->p, &kind));
    for (i = 0; i < cloud->p; i++) {
      kind[i] = i % 50 == 7 ? -1 : i % 3;
      for (d = 0; d < KAL_DIMENSIONS; d++) location[KAL_DIMENSIONS * i + d] = kind[i] < 0 ? NAN : i % 20 == 3 ? floor(Coordinate(cloud, 81, i, d))
                                                                                                              : Coordinate(cloud, 81, i, d);
    }
    KalCall(KalLocalizationIndex(PETSC_COMM_WORLD, &loc, cloud->p, location, kind, &changed));
    KalAssert(changed);
    KalAssert((double)loc.bins[0] * loc.bins[1] * loc.bins[2] <= 2.0 * cloud->p + 1.0);
    for (q = 0; q < 200; q++) {
      double place[KAL_DIMENSIONS];

      for (d = 0; d < KAL_DIMENSIONS; d++) place[d] = q % 4 ? 1.3 * Coordinate(cloud, 82, q, d) : cloud->p && !(q % 50 == 7) && kind[q % cloud->p] >= 0 ? location[KAL_DIMENSIONS * (q % cloud->p) + d]
                                                                                                                                                        : 0.0;
      for (i = 0; i < cloud->p; i++) expected[i] = kind[i] < 0 ? 1.0 : KalLocalizationCoefficient(&loc, KalLocalizationDistance(&loc.domain, place, location + KAL_DIMENSIONS * i));
      KalCall(KalLocalizationFind(&loc, place, &near));
      for (i = 0; i < near.count; i++) {
        wrong += !(fabs(near.coefficient[i] - expected[near.index[i]]) <= 1e-9) || near.coefficient[i] <= 0.0;
        expected[near.index[i]] = 0.0; /* a second time is wrong */
      }
      for (i = 0; i < cloud->p; i++) missed += expected[i] > 1e-3 + 1e-9 || (cloud->type == KAL_LOCALIZE_BOXCAR && expected[i] > 0.0);
    }
    if (missed || wrong) print_error("cloud %d: %d missed, %d wrong\n", (int)k, (int)missed, (int)wrong);
    KalAssert(!missed && !wrong);
    KalCall(KalLocalizationIndex(PETSC_COMM_WORLD, &loc, cloud->p, location, kind, &changed)); /* they did not move */
    KalAssert(!changed);
    if (cloud->p) {
      location[0] += 0.25;
      KalCall(KalLocalizationIndex(PETSC_COMM_WORLD, &loc, cloud->p, location, kind, &changed));
      KalAssert(changed);
      location[0] = NAN;
      KalRefused(KalLocalizationIndex(PETSC_COMM_WORLD, &loc, cloud->p, location, kind, &changed), "Coordinate 0 of observation 0 is nan");
    }
    KalCall(PetscFree3(location, expected, kind));
    KalCall(KalNeighboursDestroy(&near));
    KalCall(KalLocalizationDestroy(&loc));
  }
}

/* Looking up must not look at everything: a hundred times the observations in a hundred times the space takes about as long a place. */
static void NotQuadratic(void **state)
{
  const double    length[] = {1e6, 0.0, 0.0};
  KalLocalization loc      = Make(KAL_LOCALIZE_GASPARI_COHN, KAL_RADIUS_SUPPORT, 10.0, 1e-3, 1, length);
  KalNeighbours   near     = {0};
  const PetscInt  p        = 200000;
  PetscInt        i, most = 0, b;
  double         *location;
  PetscBool       changed;

  (void)state;
  KalCall(PetscCalloc1(KAL_DIMENSIONS * p, &location));
  for (i = 0; i < p; i++) location[KAL_DIMENSIONS * i] = 1e6 * (0.5 + 0.5 * KalTestNumber(83, (uint64_t)i));
  KalCall(KalLocalizationIndex(PETSC_COMM_WORLD, &loc, p, location, NULL, &changed));
  for (b = 0; b < loc.bins[0]; b++) most = PetscMax(most, loc.start[b + 1] - loc.start[b]);
  KalAssert(most < 20); /* one in a bin on average, and Find() looks into 5 bins */
  KalCall(KalLocalizationFind(&loc, location, &near));
  KalAssert(near.count >= 1 && near.count < 30);
  KalCall(PetscFree(location));
  KalCall(KalNeighboursDestroy(&near));
  KalCall(KalLocalizationDestroy(&loc));
}

/* Q f(T) Q'x against LAPACK's eigenvectors; relative to the largest number of the result. */
static double RootError(KalRoot *root, PetscInt m, const double *S, const double *x, const double *value, const double *V, int which)
{
  double  *expected, *got, error = 0.0, most = 0.0;
  PetscInt i, k;

  if (PetscMalloc2(m, &expected, m, &got)) return NAN;
  for (i = 0; i < m; i++) {
    expected[i] = 0.0;
    got[i]      = x[i];
  }
  (void)S;
  for (k = 0; k < m; k++) {
    const double l = PetscMax(0.0, value[k]), s = sqrt(1.0 + l), f = which == 0 ? 1.0 / s : which == 1 ? 1.0 / (s * (1.0 + s))
                                                                                                       : 1.0 / (1.0 + l);
    double       c = 0.0;

    for (i = 0; i < m; i++) c += V[i + k * m] * x[i];
    for (i = 0; i < m; i++) expected[i] += f * c * V[i + k * m];
  }
  KalRootEnter(root, got);
  if (which < 2) KalRootApply(root, which == 0 ? KAL_ROOT_INVERSE : KAL_ROOT_GAP, got);
  else KalRootSolve(root, got);
  KalRootLeave(root, got);
  for (i = 0; i < m; i++) {
    most  = PetscMax(most, fabs(expected[i]));
    error = fabs(got[i] - expected[i]) <= error ? error : fabs(got[i] - expected[i]);
  }
  (void)PetscFree2(expected, got);
  return error / most;
}

/* Sizes on both sides of LAPACK's, full and low rank, eigenvalues from 0 to 1e24. */
static void RootsWithoutEigenvectors(void **state)
{
  const PetscInt sizes[] = {1, 2, 3, 8, 33, 64, 97, 120};
  KalRoot        root    = {0};
  PetscBool      finite;
  size_t         s;
  PetscInt       rank, power, i, j, k;

  (void)state;
  for (s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
    const PetscInt m = sizes[s];
    double        *S, *V, *x, *value, *work;

    KalCall(PetscMalloc5(m * m, &S, m * m, &V, m, &x, m, &value, 4 * m, &work));
    for (i = 0; i < m; i++) x[i] = KalTestNumber(91, (uint64_t)i);
    for (rank = 0; rank <= 2; rank++) {
      for (power = -12; power <= 24; power += 4) {
        const PetscInt all[] = {0, (m + 1) / 2, 2 * m}, columns = all[rank];                     /* S = 0, singular, regular */
        const double   tolerance = 1e-11 + (rank == 1 ? 1e-14 * pow(10.0, (double)power) : 0.0); /* eigenvalues that are 0 are known to eps times the largest */
        PetscBLASInt   n = m, lwork = 4 * m, info = 0;
        PetscBool      ok;

        for (i = 0; i < m; i++) {
          for (j = 0; j < m; j++) {
            double sum = 0.0;

            for (k = 0; k < columns; k++) sum += KalTestNumber(92, (uint64_t)(k * m + i)) * KalTestNumber(92, (uint64_t)(k * m + j));
            S[i + j * m] = V[i + j * m] = sum * pow(10.0, (double)power) / m;
          }
        }
        LAPACKsyev_("V", "L", &n, V, &n, value, work, &lwork, &info);
        KalAssert(info == 0);
        KalCall(KalRootReserve(&root, m));
        KalCall(PetscArraycpy(root.S, S, m * m));
        for (j = 1; j < m; j++) {
          for (i = 0; i < j; i++) root.S[i + j * m] = NAN; /* the lower triangle is enough */
        }
        KalCall(KalRootFactor(&root, &ok));
        KalAssert(ok);
        if (rank == 1 && power > 8) continue; /* what is 0 beside 1 is not known to LAPACK either */
        for (k = 0; k < 3; k++) KalAssertNear(RootError(&root, m, S, x, value, V, (int)k), 0.0, tolerance);
      }
    }
    KalCall(KalRootReserve(&root, m));
    for (i = 0; i < m * m; i++) root.S[i] = i % (m + 1) ? 0.0 : 1e80;
    KalCall(KalRootFactor(&root, &finite));
    KalAssert(!finite);
    root.S[0] = NAN;
    KalCall(KalRootFactor(&root, &finite));
    KalAssert(!finite);
    KalCall(PetscFree5(S, V, x, value, work));
  }
  KalCall(KalRootDestroy(&root));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(GaspariAndCohn),
    cmocka_unit_test(RadiusConventions),
    cmocka_unit_test(Distances),
    cmocka_unit_test(FoundAsByBruteForce),
    cmocka_unit_test(NotQuadratic),
    cmocka_unit_test(RootsWithoutEigenvectors),
};

KAL_TEST_MAIN("analysis localization", tests)
