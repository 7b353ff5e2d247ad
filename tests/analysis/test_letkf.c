/* ranks: 3 */
/*
  letkf against dense formulas, batch by batch: every taper and convention in 1 to 3 dimensions, more and fewer observations than
  members, inflation, failed members, entries and observations without a place; the same bits on 1, 2 and 3 ranks and by both exchanges.
*/
#include "subcomm.h"

#include <petscblaslapack.h>
#include <stdlib.h>

#define SEED         5
#define MOST_STATE   60
#define MOST_OBS     70
#define MOST_MEMBERS 16

typedef enum {
  NONE,
  GASPARI,
  GAUSSIAN,
  BOXCAR,
} Taper;

typedef struct {
  const char *name, *options;
  PetscInt    n, N, p, dimension, batch, block;
  double      length[KAL_DIMENSIONS];
  Taper       taper;
  double      size;       /* c, L or edge of the taper */
  double      cut;        /* 0 beyond, if not 0 */
  PetscInt    parameters; /* entries without a place, at the end */
  PetscInt    kinds;      /* 2: entries of the second half are of another kind */
  PetscBool   everywhere; /* observation 3 has no place */
  PetscInt    gap;        /* nothing is observed from here on, but by entries' own observations before */
  double      prior, posterior, rtpp, rtps, additive;
  PetscInt    nfail, fail[3];
  double      error;  /* times the usual ones */
  double      reject; /* standard deviations of the background check, or 0 */
} Case;

#define PLAIN .prior = 1.0, .posterior = 1.0, .error = 1.0

#define CASE(...) \
  { \
    __VA_ARGS__ \
  }

static const Case cases[] = {
    CASE(.name = "Lorenz-96 like", .options = "-localization_radius 4", .n = 40, .N = 7, .p = 40, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 7.28, PLAIN),
    CASE(.name = "batches of 3 cut by blocks of 7", .options = "-localization_radius 3 -letkf_batch 3", .n = 40, .N = 9, .p = 30, .dimension = 1, .batch = 3, .block = 7, .length = {40.0}, .taper = GASPARI, .size = 5.46, PLAIN),
    CASE(.name = "few observations", .options = "-localization_radius 3 -localization_convention half-support", .n = 40, .N = 12, .p = 13, .dimension = 1, .batch = 2, .block = 6, .taper = GASPARI, .size = 3.0, PLAIN),
    CASE(.name = "plane", .options = "-localization_type gaussian -localization_radius 1.3 -letkf_batch 1", .n = 48, .N = 8, .p = 48, .dimension = 2, .batch = 1, .block = 10, .taper = GAUSSIAN, .size = 1.3, PLAIN),
    CASE(.name = "cylinder", .options = "-localization_type gaussian -localization_radius 4 -localization_convention support", .n = 48, .N = 8, .p = 30, .dimension = 2, .batch = 2, .block = 10, .length = {8.0}, .taper = GAUSSIAN, .size = 2.0 / 1.82, .cut = 4.0, PLAIN),
    CASE(.name = "torus", .options = "-localization_type boxcar -localization_radius 2.1 -letkf_batch 4", .n = 60, .N = 16, .p = 40, .dimension = 3, .batch = 4, .block = 20, .length = {5.0, 4.0, 3.0}, .taper = BOXCAR, .size = 2.1, PLAIN),
    CASE(.name = "space", .options = "-localization_radius 3 -localization_convention support", .n = 60, .N = 6, .p = 60, .dimension = 3, .batch = 2, .block = 0, .taper = GASPARI, .size = 1.5, PLAIN),
    CASE(.name = "boxcar over all", .options = "-localization_type boxcar -localization_radius 100", .n = 30, .N = 7, .p = 20, .dimension = 1, .batch = 2, .block = 6, .taper = BOXCAR, .size = 100.0, PLAIN),
    CASE(.name = "gap", .options = "-localization_radius 2", .n = 60, .N = 8, .p = 20, .dimension = 1, .batch = 2, .block = 8, .taper = GASPARI, .size = 3.64, .gap = 30, PLAIN),
    CASE(.name = "parameters", .options = "-localization_radius 2.5", .n = 43, .N = 10, .p = 30, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 4.55, .parameters = 3, PLAIN),
    CASE(.name = "parameters, inflation, failures", .options = "-localization_radius 2.5 -inflation_factor 1.2 -inflation_on prior-anomalies -inflation_rtpp 0.3 -inflation_rtps 0.2", .n = 43, .N = 10, .p = 30, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 4.55, .parameters = 3, .prior = 1.2, .posterior = 1.0, .rtpp = 0.3, .rtps = 0.2, .nfail = 2, .fail = {0, 4}, .error = 1.0),
    CASE(.name = "an observation of everything", .options = "-localization_radius 2", .n = 40, .N = 10, .p = 13, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 3.64, .everywhere = PETSC_TRUE, PLAIN),
    CASE(.name = "two kinds", .options = "-localization_radius 3 -letkf_batch 4", .n = 46, .N = 8, .p = 40, .dimension = 1, .batch = 4, .block = 0, .length = {23.0}, .taper = GASPARI, .size = 5.46, .kinds = 2, PLAIN),
    CASE(.name = "posterior inflation", .options = "-localization_radius 4 -inflation_factor 1.1", .n = 40, .N = 7, .p = 40, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 7.28, .prior = 1.0, .posterior = 1.1, .error = 1.0),
    CASE(.name = "prior covariance, few observations, rtpp", .options = "-localization_radius 2 -inflation_factor 1.44 -inflation_on prior-covariance -inflation_rtpp 0.4", .n = 40, .N = 12, .p = 15, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 3.64, .prior = 1.2, .posterior = 1.0, .rtpp = 0.4, .error = 1.0),
    CASE(.name = "rtps and posterior inflation", .options = "-localization_radius 2 -inflation_rtps 0.7 -inflation_factor 1.05", .n = 40, .N = 12, .p = 40, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 3.64, .prior = 1.0, .posterior = 1.05, .rtps = 0.7, .error = 1.0),
    CASE(.name = "additive", .options = "-localization_radius 2 -inflation_additive 0.3", .n = 40, .N = 7, .p = 20, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 3.64, .prior = 1.0, .posterior = 1.0, .additive = 0.3, .error = 1.0),
    CASE(.name = "failures", .options = "-localization_radius 4 -inflation_factor 1.1", .n = 40, .N = 10, .p = 40, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 7.28, .prior = 1.0, .posterior = 1.1, .nfail = 3, .fail = {1, 2, 9}, .error = 1.0),
    CASE(.name = "two survivors", .options = "-localization_radius 4", .n = 20, .N = 5, .p = 20, .dimension = 1, .batch = 2, .block = 6, .length = {20.0}, .taper = GASPARI, .size = 7.28, PLAIN, .nfail = 3, .fail = {0, 2, 3}),
    CASE(.name = "background check", .options = "-localization_radius 3 -inflation_factor 1.1 -inflation_on prior-anomalies", .n = 40, .N = 7, .p = 40, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 5.46, .prior = 1.1, .posterior = 1.0, .error = 1.0, .reject = 1.0),
    CASE(.name = "sharp observations", .options = "-localization_radius 4", .n = 40, .N = 7, .p = 40, .dimension = 1, .batch = 2, .block = 6, .length = {40.0}, .taper = GASPARI, .size = 7.28, .prior = 1.0, .posterior = 1.0, .error = 1e-3),
    CASE(.name = "none", .options = "-localization_type none", .n = 40, .N = 7, .p = 40, .batch = 2, .block = 6, .taper = NONE, PLAIN),
    CASE(.name = "none, failures, inflation", .options = "-localization_type none -inflation_factor 1.3 -inflation_rtpp 0.1 -inflation_rtps 0.5", .n = 40, .N = 9, .p = 5, .batch = 2, .block = 6, .taper = NONE, .prior = 1.0, .posterior = 1.3, .rtpp = 0.1, .rtps = 0.5, .nfail = 2, .fail = {3, 8}, .error = 1.0),
};
#define CASES (sizeof cases / sizeof cases[0])

/* Where entries are: a line, rows of 8 in a plane, rows of 5 in planes of 20 in space. */
static void Place(const Case *test, PetscInt entry, double *x, PetscInt *kind)
{
  const PetscInt half = test->n / 2, i = test->kinds == 2 && entry >= half ? entry - half : entry;

  x[0]  = test->dimension == 1 ? (double)i : test->dimension == 2 ? (double)(i % 8)
                                                                  : (double)(i % 5);
  x[1]  = test->dimension == 2 ? (double)(i / 8) : test->dimension == 3 ? (double)(i / 5 % 4)
                                                                        : 0.0;
  x[2]  = test->dimension == 3 ? (double)(i / 20) : 0.0;
  *kind = entry >= test->n - test->parameters ? -1 : test->kinds == 2 && entry >= half ? 1
                                                                                       : 0;
  if (*kind < 0) x[0] = x[1] = x[2] = NAN;
}

static PetscErrorCode Locate(void *ctx, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  PetscInt i;

  PetscFunctionBeginUser;
  for (i = 0; i < count; i++) Place((const Case *)ctx, entries[i], coordinates + KAL_DIMENSIONS * i, &kinds[i]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Observation i is of one entry and a little of its neighbour, and lies near the entry. */
typedef struct {
  double   y[MOST_OBS], error[MOST_OBS], location[KAL_DIMENSIONS * MOST_OBS], H[MOST_OBS * MOST_STATE];
  PetscInt kind[MOST_OBS];
} Observed;

static void Observe(const Case *test, PetscInt cycle, Observed *o)
{
  const PetscInt last = test->gap ? test->gap : test->n - test->parameters;
  PetscInt       i, d, kind;

  memset(o, 0, sizeof *o);
  for (i = 0; i < test->p; i++) {
    const PetscInt entry = (i * 7 + 2 * cycle) % last;

    Place(test, entry, o->location + KAL_DIMENSIONS * i, &kind);
    for (d = 0; d < test->dimension; d++) o->location[KAL_DIMENSIONS * i + d] += 0.4 * KalTestNumber(51, (uint64_t)(3 * i + d));
    o->kind[i]                             = test->everywhere && i == 3 ? -1 : kind;
    o->H[i + entry * test->p]              = 1.0;
    o->H[i + (entry + 1) % last * test->p] = 0.2;
    o->error[i]                            = test->error * (0.7 + 0.3 * KalTestNumber(52, (uint64_t)i));
    o->y[i]                                = 2.0 * KalTestNumber(53, (uint64_t)(cycle * MOST_OBS + i));
  }
}

static void Start(const Case *test, double *U)
{
  PetscInt i;

  for (i = 0; i < test->n * test->N; i++) U[i] = 1.5 * KalTestNumber(54, (uint64_t)i) + 0.3 * (double)(i % test->n % 5);
}

static double Prior(PetscInt i)
{
  return 1.0 + 0.5 * KalTestNumber(55, (uint64_t)i);
}

static PetscBool Fails(const Case *test, PetscInt j)
{
  PetscInt f;

  for (f = 0; f < test->nfail; f++) {
    if (test->fail[f] == j) return PETSC_TRUE;
  }
  return PETSC_FALSE;
}

/* ---- the reference ---- */

static double Coefficient(const Case *test, double d)
{
  const double z = d / test->size;
  double       c;

  if (test->cut > 0.0 && d > test->cut) return 0.0;
  if (test->taper == BOXCAR) return d <= test->size ? 1.0 : 0.0;
  if (test->taper == GAUSSIAN) c = exp(-z * z / 2.0);
  else if (z < 1.0) c = (((-z / 4.0 + 0.5) * z + 0.625) * z - 5.0 / 3.0) * z * z + 1.0; /* Gaspari and Cohn by Horner's rule */
  else if (z < 2.0) c = ((((z / 12.0 - 0.5) * z + 0.625) * z + 5.0 / 3.0) * z - 5.0) * z + 4.0 - 2.0 / (3.0 * z);
  else c = 0.0;
  return c >= 1e-3 ? c : 0.0;
}

static double Around(double d, double length)
{
  while (length > 0.0 && d > length / 2.0) d -= length;
  while (length > 0.0 && d < -length / 2.0) d += length;
  return d;
}

/* The radius that the options give. */
static double Radius(const Case *test)
{
  return strtod(strstr(test->options, "-localization_radius ") + strlen("-localization_radius "), NULL);
}

/* The mean place of the patch that an entry is in. */
static void Patch(const Case *test, PetscInt rows, PetscInt entry, double *center)
{
  double   x[KAL_DIMENSIONS], first[KAL_DIMENSIONS], sum[KAL_DIMENSIONS] = {0.0};
  PetscInt i, d, kind, mine, from = 0, count = 0;

  Place(test, entry, x, &mine);
  for (i = 0; i <= entry; i++) { /* where the last patch before or at the entry begins */
    double   square = 0.0, place[KAL_DIMENSIONS];
    PetscInt other;

    Place(test, from, first, &kind);
    Place(test, i, place, &other);
    for (d = 0; d < test->dimension; d++) square += pow(Around(place[d] - first[d], test->length[d]), 2.0);
    if (i / rows != from / rows || i / test->batch != from / test->batch || other != kind || sqrt(square) > Radius(test)) from = i;
  }
  Place(test, from, first, &kind);
  for (i = from; i < test->n; i++) { /* all entries whose patch begins there */
    PetscInt other;
    double   square = 0.0;

    Place(test, i, x, &other);
    for (d = 0; d < test->dimension; d++) square += pow(Around(x[d] - first[d], test->length[d]), 2.0);
    if (i / rows != from / rows || i / test->batch != from / test->batch || other != mine || sqrt(square) > Radius(test)) break;
    for (d = 0; d < test->dimension; d++) sum[d] += Around(x[d] - first[d], test->length[d]);
    count++;
  }
  for (d = 0; d < test->dimension; d++) center[d] = first[d] + sum[d] / (double)count;
}

/* Coefficients of all observations for an entry. */
static void Coefficients(const Case *test, const Observed *o, PetscInt rows, PetscInt entry, double *c)
{
  double   center[KAL_DIMENSIONS], x[KAL_DIMENSIONS];
  PetscInt i, d, kind;

  Place(test, entry, x, &kind);
  if (kind >= 0 && test->taper != NONE) Patch(test, rows, entry, center);
  for (i = 0; i < test->p; i++) {
    double square = 0.0;

    c[i] = 1.0;
    if (kind < 0 || o->kind[i] < 0 || test->taper == NONE) continue;
    for (d = 0; d < test->dimension; d++) square += pow(Around(center[d] - o->location[KAL_DIMENSIONS * i + d], test->length[d]), 2.0);
    c[i] = Coefficient(test, sqrt(square));
  }
}

/* T = (I + S)^{-1/2} and w = (I + S)^{-1} A'r by eigenvectors; A is p x m with its coefficients taken in. */
static PetscErrorCode Transform(PetscInt p, PetscInt m, const double *A, const double *r, double *T, double *w)
{
  double       V[MOST_MEMBERS * MOST_MEMBERS], value[MOST_MEMBERS], d[MOST_MEMBERS], work[8 * MOST_MEMBERS];
  PetscBLASInt n = m, lwork = 8 * MOST_MEMBERS, info = 0;
  PetscInt     a, b, i, k;

  PetscFunctionBeginUser;
  for (a = 0; a < m; a++) {
    d[a] = 0.0;
    for (i = 0; i < p; i++) d[a] += A[i + a * p] * r[i];
    for (b = 0; b < m; b++) {
      V[a + b * m] = 0.0;
      for (i = 0; i < p; i++) V[a + b * m] += A[i + a * p] * A[i + b * p];
    }
  }
  LAPACKsyev_("V", "U", &n, V, &n, value, work, &lwork, &info);
  PetscCheck(!info, PETSC_COMM_SELF, PETSC_ERR_LIB, "dsyev: info = %d", (int)info);
  for (a = 0; a < m; a++) {
    w[a] = 0.0;
    for (b = 0; b < m; b++) {
      T[a + b * m] = 0.0;
      for (k = 0; k < m; k++) {
        T[a + b * m] += V[a + k * m] * V[b + k * m] / sqrt(1.0 + PetscMax(0.0, value[k]));
        w[a] += V[a + k * m] * V[b + k * m] * d[b] / (1.0 + PetscMax(0.0, value[k]));
      }
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* New row of the survivors: u (m numbers) before and after. */
static PetscErrorCode ReferenceRow(const Case *test, const Observed *o, PetscInt m, const double *c, const double *Y, double *u)
{
  double   A[MOST_OBS * MOST_MEMBERS], r[MOST_OBS], T[MOST_MEMBERS * MOST_MEMBERS], w[MOST_MEMBERS], x[MOST_MEMBERS], z[MOST_MEMBERS], mean = 0.0, before = 0.0, after = 0.0;
  PetscInt i, a, b;

  PetscFunctionBeginUser;
  for (a = 0; a < m; a++) mean += u[a] / m;
  for (a = 0; a < m; a++) x[a] = test->prior * (u[a] - mean);
  for (i = 0; i < test->p; i++) {
    double gbar = 0.0, variance = 0.0, root = sqrt(c[i]);

    for (a = 0; a < m; a++) gbar += Y[i + a * test->p] / m;
    for (a = 0; a < m; a++) variance += pow(Y[i + a * test->p] - gbar, 2.0) / (m - 1.0);
    if (test->reject > 0.0 && fabs(o->y[i] - gbar) > test->reject * sqrt(pow(o->error[i], 2.0) + variance)) root = 0.0; /* as if it were not there */
    r[i] = root * (o->y[i] - gbar) / o->error[i];
    for (a = 0; a < m; a++) A[i + a * test->p] = root * test->prior * (Y[i + a * test->p] - gbar) / o->error[i] / sqrt(m - 1.0);
  }
  PetscCall(Transform(test->p, m, A, r, T, w));
  for (a = 0; a < m; a++) {
    mean += x[a] * w[a] / sqrt(m - 1.0);
    z[a] = 0.0;
    for (b = 0; b < m; b++) z[a] += (1.0 - test->rtpp) * x[b] * T[b + a * m];
    z[a] += test->rtpp * x[a];
    before += x[a] * x[a];
    after += z[a] * z[a];
  }
  for (a = 0; a < m; a++) u[a] = mean + test->posterior * (1.0 + test->rtps * (sqrt(before / after) - 1.0)) * z[a];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What all members (n x N) become. */
static PetscErrorCode Reference(const Case *test, const Observed *o, PetscInt rows, PetscInt cycle, double *U)
{
  double   Y[MOST_OBS * MOST_MEMBERS], c[MOST_OBS], u[MOST_MEMBERS], z[MOST_STATE * MOST_MEMBERS], draw[MOST_MEMBERS];
  PetscInt survivor[MOST_MEMBERS], m = 0, i, j, k, a;

  PetscFunctionBeginUser;
  for (j = 0; j < test->N; j++) {
    if (Fails(test, j)) continue;
    for (i = 0; i < test->p; i++) {
      Y[i + m * test->p] = 0.0;
      for (k = 0; k < test->n; k++) Y[i + m * test->p] += o->H[i + k * test->p] * U[k + j * test->n];
    }
    survivor[m++] = j;
  }
  for (i = 0; i < test->n; i++) {
    double mean = 0.0;

    for (a = 0; a < m; a++) u[a] = U[i + survivor[a] * test->n];
    Coefficients(test, o, rows, i, c);
    PetscCall(ReferenceRow(test, o, m, c, Y, u));
    for (a = 0; a < m; a++) {
      U[i + survivor[a] * test->n] = u[a];
      mean += u[a] / m;
    }
    for (k = 0; k < test->nfail; k++) {
      PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_RECOVERY, cycle, test->fail[k]}, 0, test->N, draw));
      U[i + test->fail[k] * test->n] = mean;
      for (a = 0; a < m; a++) U[i + test->fail[k] * test->n] += (u[a] - mean) * draw[survivor[a]] / sqrt(m - 1.0);
    }
  }
  for (j = 0; j < test->N; j++) PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_INFLATION, cycle, j}, 0, test->n, z + j * test->n));
  for (i = 0; i < test->n; i++) {
    double mean = 0.0;

    for (j = 0; j < test->N; j++) mean += z[i + j * test->n] / test->N;
    for (j = 0; j < test->N; j++) U[i + j * test->n] += test->additive * Prior(i) * (z[i + j * test->n] - mean);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* ---- the library ---- */

typedef struct {
  MPI_Comm          comm;
  const Case       *test;
  KalExchange       exchange;
  KalObservations   obs;
  KalAnalysis       analysis;
  KalEnsemble       ensemble;
  KalAnalysisReport report;
  double            prior[MOST_STATE];
} Local;

static PetscErrorCode MakeEnsemble(Local *local, PetscInt n, KalEnsemble *ensemble)
{
  PetscFunctionBeginUser;
  PetscCall(KalEnsembleCreate(local->comm, ensemble));
  PetscCall(KalEnsembleSetSizes(*ensemble, n, local->test->N));
  PetscCall(KalEnsembleSetExchange(*ensemble, local->exchange));
  PetscCall(KalEnsembleSetFromOptions(*ensemble));
  PetscCall(KalEnsembleSetUp(*ensemble));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode MakeAnalysis(MPI_Comm comm, const Case *test, const char *type, const char *more, KalAnalysis *analysis)
{
  KalDomain domain = {
      test->dimension, {test->length[0], test->length[1], test->length[2]}
  };
  char text[32];

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscSNPrintf(text, sizeof text, "-ensemble_block_rows %" PetscInt_FMT, test->block));
  PetscCall(PetscOptionsInsertString(NULL, text));
  PetscCall(PetscOptionsInsertString(NULL, test->options));
  if (more) PetscCall(PetscOptionsInsertString(NULL, more));
  PetscCall(KalAnalysisCreate(comm, analysis));
  PetscCall(KalAnalysisSetType(*analysis, type));
  PetscCall(KalAnalysisSetSizes(*analysis, test->n, test->N));
  PetscCall(KalAnalysisSetSeed(*analysis, SEED));
  PetscCall(KalAnalysisSetDomain(*analysis, &domain, test->dimension ? Locate : NULL, (void *)test));
  PetscCall(KalAnalysisSetFromOptions(*analysis));
  PetscCall(KalAnalysisSetUp(*analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LocalCreate(MPI_Comm comm, const Case *test, KalExchange exchange, const char *type, const char *more, const double *U, Local *local)
{
  static const double nothing[2] = {0.0, 1.0};
  PetscInt            first, last, j, i;
  double             *x;

  PetscFunctionBeginUser;
  *local = (Local){.comm = comm, .test = test, .exchange = exchange};
  PetscCall(MakeAnalysis(comm, test, type, more, &local->analysis));
  PetscCall(KalObservationsCreate(comm, &local->obs));
  PetscCall(KalObservationsSetArrays(local->obs, KAL_SET_TRAIN, 2, 1, nothing, 1, nothing));
  PetscCall(KalObservationsSetLoss(local->obs, KAL_LOSS_SQUARED, 1.0));
  PetscCall(KalObservationsSetReject(local->obs, test->reject));
  PetscCall(KalObservationsSetUp(local->obs));
  PetscCall(MakeEnsemble(local, test->n, &local->ensemble));
  PetscCall(KalEnsembleGetOwnershipRange(local->ensemble, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(local->ensemble, j, &x));
    PetscCall(PetscArraycpy(x, U + j * test->n, test->n));
  }
  PetscCall(KalEnsembleChanged(local->ensemble));
  for (i = 0; i < test->n; i++) local->prior[i] = Prior(i);
  PetscCall(KalAnalysisSetPrior(local->analysis, local->prior));
  PetscCall(KalAnalysisSetEnsemble(local->analysis, local->ensemble, 0, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode LocalDestroy(Local *local)
{
  PetscFunctionBeginUser;
  PetscCall(KalAnalysisDestroy(&local->analysis));
  PetscCall(KalEnsembleDestroy(&local->ensemble));
  PetscCall(KalObservationsDestroy(&local->obs));
  PetscCall(PetscOptionsClear(NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One cycle; a member that fails holds NaN, and its predictions anything. */
static PetscErrorCode LocalCycle(Local *local, PetscInt cycle, const Observed *o, PetscBool located)
{
  const Case *test  = local->test;
  KalBatch    batch = {.samples = test->p, .outputs = 1, .precision = KAL_DOUBLE, .target = o->y, .timed = PETSC_TRUE, .to = 1.0, .error = o->error, .location = located ? o->location : NULL, .kind = o->kind};
  KalTold     told  = {.observations = local->obs, .batch = &batch, .cycle = cycle};
  KalStatus   status[MOST_MEMBERS];
  KalVerdict  verdict;
  KalAsk      ask;
  PetscInt    first, last, i, j, k;
  double     *x, *y;

  PetscFunctionBeginUser;
  for (j = 0; j < test->N; j++) status[j] = Fails(test, j) ? KAL_MEMBER_NONFINITE : KAL_MEMBER_OK;
  told.status = status;
  PetscCall(KalAnalysisBegin(local->analysis, cycle));
  PetscCall(KalAnalysisAsk(local->analysis, &ask));
  PetscCall(MakeEnsemble(local, test->p, &told.predictions));
  PetscCall(KalEnsembleGetOwnershipRange(ask.points, &first, &last));
  for (j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(ask.points, j, &x));
    PetscCall(KalEnsembleGetMember(told.predictions, j, &y));
    for (i = 0; i < test->p; i++) {
      y[i] = 0.0;
      for (k = 0; k < test->n; k++) y[i] += o->H[i + k * test->p] * x[k];
      if (Fails(test, j)) y[i] = NAN;
    }
    for (k = 0; k < test->n && Fails(test, j); k++) x[k] = NAN;
  }
  PetscCall(KalEnsembleChanged(told.predictions));
  PetscCall(KalAnalysisTell(local->analysis, &told, &verdict));
  KalHolds(verdict == KAL_VERDICT_ACCEPT);
  PetscCall(KalAnalysisUpdate(local->analysis));
  PetscCall(KalAnalysisGetReport(local->analysis, &local->report));
  PetscCall(KalEnsembleDestroy(&told.predictions));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Compare(const Case *test, const double *U, const double *V, double tolerance)
{
  double   worst = 0.0;
  PetscInt i, at = 0;

  for (i = 0; i < test->n * test->N; i++) {
    if (fabs(U[i] - V[i]) <= worst) continue;
    worst = fabs(U[i] - V[i]);
    at    = i;
    if (worst != worst) break;
  }
  if (!(worst <= tolerance) && kal_holds) print_error("%s: entry %d of member %d is %.17g, not %.17g\n", test->name, (int)(at % test->n), (int)(at / test->n), U[at], V[at]);
  KalHolds(worst <= tolerance);
}

static PetscErrorCode DenseOn(MPI_Comm comm, void *ctx)
{
  const KalExchange exchanges[] = {KAL_EXCHANGE_SHARED, KAL_EXCHANGE_MESSAGES};
  static double     U[MOST_STATE * MOST_MEMBERS], V[MOST_STATE * MOST_MEMBERS], W[MOST_STATE * MOST_MEMBERS];
  size_t            c, x;

  PetscFunctionBeginUser;
  (void)ctx;
  for (c = 0; c < CASES; c += KALTEST_STRIDE) {
    const Case *test = &cases[c];

    for (x = 0; x < 2; x++) {
      Observed o;
      Local    local;
      PetscInt rows, cycle;

      Start(test, V);
      PetscCall(LocalCreate(comm, test, exchanges[x], KALANALYSISLETKF, NULL, V, &local));
      PetscCall(KalEnsembleGetBlocks(local.ensemble, &rows, NULL));
      for (cycle = 0; cycle < 3; cycle++) { /* in the second the observations are elsewhere, in the third where they were */
        Observe(test, PetscMin(cycle, 1), &o);
        PetscCall(LocalCycle(&local, cycle, &o, PETSC_TRUE));
        PetscCall(Reference(test, &o, rows, cycle, V));
        PetscCall(KalEnsembleGatherRows(local.ensemble, U));
        Compare(test, U, V, test->error < 1.0 ? 1e-8 : 1e-10); /* S is of the order of error^-2, and its roundings too */
      }
      PetscCall(KalSameBits(comm, U, (size_t)(test->n * test->N) * sizeof *U));
      if (x) KalHolds(!memcmp(U, W, (size_t)(test->n * test->N) * sizeof *U)); /* the exchange changes no bit */
      PetscCall(PetscArraycpy(W, U, test->n * test->N));
      PetscCall(LocalDestroy(&local));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void AsDenseFormulas(void **state)
{
  (void)state;
  KalOnEachCount(DenseOn, NULL);
}

/* Beyond every observation's reach not a bit changes but by rounding of the mean; without inflation. */
static PetscErrorCode FarOn(MPI_Comm comm, void *ctx)
{
  static double U[MOST_STATE * MOST_MEMBERS], V[MOST_STATE * MOST_MEMBERS];
  const Case   *test = NULL;
  Observed      o;
  Local         local;
  PetscInt      i, j, near = 0;
  size_t        c;

  PetscFunctionBeginUser;
  (void)ctx;
  for (c = 0; c < CASES; c++) test = cases[c].gap ? &cases[c] : test;
  Start(test, V);
  PetscCall(LocalCreate(comm, test, KAL_EXCHANGE_AUTO, KALANALYSISLETKF, NULL, V, &local));
  Observe(test, 0, &o);
  PetscCall(LocalCycle(&local, 0, &o, PETSC_TRUE));
  PetscCall(KalEnsembleGatherRows(local.ensemble, U));
  for (j = 0; j < test->N; j++) {
    for (i = 0; i < test->n; i++) {
      if (i >= test->gap + 8) KalNear(U[i + j * test->n], V[i + j * test->n], 4e-16 * 4.0);
      near += i < test->gap && U[i + j * test->n] != V[i + j * test->n];
    }
  }
  KalHolds(near > test->gap * test->N / 2);
  PetscCall(LocalDestroy(&local));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void FarFromEveryObservation(void **state)
{
  (void)state;
  KalOnEachCount(FarOn, NULL);
}

/* letkf without localization is etkf, with everything that inflation has and with failures; its report too. */
static PetscErrorCode GlobalOn(MPI_Comm comm, void *ctx)
{
  static const char *const more[] = {"", "-inflation_factor 1.1 -analysis_rotate", "-inflation_adaptive anderson -inflation_rtps 0.4 -analysis_rotate", "-inflation_adaptive miyoshi -inflation_additive 0.1"};
  static double            U[2][MOST_STATE * MOST_MEMBERS], V[MOST_STATE * MOST_MEMBERS];
  Case                     test = {.name = "etkf", .n = 40, .N = 9, .p = 30, .batch = 2, .block = 6, .taper = NONE, PLAIN, .nfail = 1, .fail = {4}};
  size_t                   k;

  PetscFunctionBeginUser;
  (void)ctx;
  for (k = 0; k < sizeof more / sizeof more[0]; k++) {
    Local    local[2];
    Observed o;
    PetscInt cycle, m;

    Start(&test, V);
    for (m = 0; m < 2; m++) {
      test.options = m ? "-localization_type none" : "-analysis_space ensemble";
      PetscCall(LocalCreate(comm, &test, KAL_EXCHANGE_AUTO, m ? KALANALYSISLETKF : KALANALYSISETKF, more[k], V, &local[m]));
      for (cycle = 0; cycle < 3; cycle++) {
        Observe(&test, cycle, &o);
        PetscCall(LocalCycle(&local[m], cycle, &o, PETSC_FALSE)); /* no locations are needed */
      }
      PetscCall(KalEnsembleGatherRows(local[m].ensemble, U[m]));
    }
    Compare(&test, U[1], U[0], 1e-10);
    KalNear(local[0].report.dfs, local[1].report.dfs, 1e-10);
    KalNear(local[0].report.innovation, local[1].report.innovation, 1e-10);
    KalNear(local[0].report.effective, local[1].report.effective, 1e-10);
    KalNear(local[0].report.inflation, local[1].report.inflation, 1e-10);
    for (m = 0; m < 2; m++) PetscCall(LocalDestroy(&local[m]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void WithoutLocalizationEtkf(void **state)
{
  (void)state;
  KalOnEachCount(GlobalOn, NULL);
}

/* A rotation changes the members and neither their mean nor, between any two entries, their covariance. */
static PetscErrorCode RotationOn(MPI_Comm comm, void *ctx)
{
  static double U[2][MOST_STATE * MOST_MEMBERS];
  const Case   *test = &cases[0];
  Observed      o;
  Local         local;
  PetscInt      m, i, k, j;
  double        apart = 0.0;

  PetscFunctionBeginUser;
  (void)ctx;
  for (m = 0; m < 2; m++) {
    Start(test, U[m]);
    PetscCall(LocalCreate(comm, test, KAL_EXCHANGE_AUTO, KALANALYSISLETKF, m ? "-analysis_rotate -inflation_factor 1.04" : "-inflation_factor 1.04", U[m], &local));
    Observe(test, 0, &o);
    PetscCall(LocalCycle(&local, 0, &o, PETSC_TRUE));
    PetscCall(KalEnsembleGatherRows(local.ensemble, U[m]));
    PetscCall(LocalDestroy(&local));
  }
  for (i = 0; i < test->n * test->N; i++) apart = PetscMax(apart, fabs(U[0][i] - U[1][i]));
  KalHolds(apart > 0.1);
  for (i = 0; i < test->n; i++) {
    for (k = 0; k <= i; k++) {
      double mean[2][2] = {{0.0}}, C[2] = {0.0};

      for (m = 0; m < 2; m++) {
        for (j = 0; j < test->N; j++) {
          mean[m][0] += U[m][i + j * test->n] / test->N;
          mean[m][1] += U[m][k + j * test->n] / test->N;
        }
        for (j = 0; j < test->N; j++) C[m] += (U[m][i + j * test->n] - mean[m][0]) * (U[m][k + j * test->n] - mean[m][1]);
      }
      KalNear(mean[0][0], mean[1][0], 1e-12);
      KalNear(C[0], C[1], 1e-12);
    }
  }
  PetscCall(KalSameBits(comm, U[1], (size_t)(test->n * test->N) * sizeof(double)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void RotationKeepsMoments(void **state)
{
  (void)state;
  KalOnEachCount(RotationOn, NULL);
}

/* Observations far sharper than the ensemble is wide: finite members that agree with them, and an error where nothing can be said. */
static PetscErrorCode SharpOn(MPI_Comm comm, void *ctx)
{
  static double U[MOST_STATE * MOST_MEMBERS];
  Case          test = cases[0];
  Observed      o;
  Local         local;
  PetscInt      i, j;

  PetscFunctionBeginUser;
  (void)ctx;
  test.error   = 1e-12;
  test.p       = 6; /* fewer than members, and one apart from the other: all can be met */
  test.options = "-localization_radius 1 -letkf_batch 1";
  Start(&test, U);
  PetscCall(LocalCreate(comm, &test, KAL_EXCHANGE_AUTO, KALANALYSISLETKF, NULL, U, &local));
  Observe(&test, 0, &o);
  memset(o.H, 0, sizeof o.H);
  for (i = 0; i < test.p; i++) {
    o.H[i + 6 * i * test.p]        = 1.0;
    o.location[KAL_DIMENSIONS * i] = 6.0 * (double)i;
  }
  PetscCall(LocalCycle(&local, 0, &o, PETSC_TRUE));
  PetscCall(KalEnsembleGatherRows(local.ensemble, U));
  for (i = 0; i < test.n * test.N; i++) KalHolds(U[i] == U[i] && fabs(U[i]) < 1e3);
  for (i = 0; i < test.p; i++) {
    for (j = 0; j < test.N; j++) KalNear(U[6 * i + j * test.n], o.y[i], 1e-9);
  }
  PetscCall(LocalDestroy(&local));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void SharpObservations(void **state)
{
  (void)state;
  KalOnEachCount(SharpOn, NULL);
}

static PetscErrorCode BadTimes(const Case *test, PetscBool located)
{
  static double U[MOST_STATE * MOST_MEMBERS];
  Observed      o;
  Local         local;

  PetscFunctionBeginUser;
  Start(test, U);
  Observe(test, 0, &o);
  if (located) o.location[3 * 5] = INFINITY;
  PetscCall(LocalCreate(PETSC_COMM_WORLD, test, KAL_EXCHANGE_AUTO, KALANALYSISLETKF, NULL, U, &local));
  PetscCall(LocalCycle(&local, 0, &o, located));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode NaNLocate(void *ctx, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  PetscInt i;

  PetscFunctionBeginUser;
  PetscCall(Locate(ctx, count, entries, coordinates, kinds));
  for (i = 0; i < count; i++) {
    if (entries[i] == 17) coordinates[KAL_DIMENSIONS * i] = NAN;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode BadPlaces(void)
{
  static double   U[MOST_STATE * MOST_MEMBERS];
  const KalDomain domain = {
      1, {40.0, 0.0, 0.0}
  };
  Observed o;
  Local    local;

  PetscFunctionBeginUser;
  Start(&cases[0], U);
  Observe(&cases[0], 0, &o);
  PetscCall(LocalCreate(PETSC_COMM_WORLD, &cases[0], KAL_EXCHANGE_AUTO, KALANALYSISLETKF, NULL, U, &local));
  PetscCall(KalAnalysisSetDomain(local.analysis, &domain, NaNLocate, (void *)&cases[0]));
  PetscCall(LocalCycle(&local, 0, &o, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Diverged(void)
{
  static double U[MOST_STATE * MOST_MEMBERS];
  Case          test = cases[0];
  Observed      o;
  Local         local;

  PetscFunctionBeginUser;
  Start(&test, U);
  Observe(&test, 0, &o);
  o.error[11] = 1e-120;
  PetscCall(LocalCreate(PETSC_COMM_WORLD, &test, KAL_EXCHANGE_AUTO, KALANALYSISLETKF, NULL, U, &local));
  PetscCall(LocalCycle(&local, 0, &o, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Refusals(void **state)
{
  Case        bare = cases[0];
  KalAnalysis analysis;
  KalNeeds    needs;

  (void)state;
  KalRefused(MakeAnalysis(PETSC_COMM_WORLD, &cases[0], KALANALYSISLETKF, "-localization_radius 0", &analysis), "the radius of -localization_type gaspari-cohn must be positive; -localization_type none does without");
  KalRefused(MakeAnalysis(PETSC_COMM_WORLD, &cases[0], KALANALYSISLETKF, "-localization_radius -2", &analysis), "-localization_radius -2");
  KalRefused(MakeAnalysis(PETSC_COMM_WORLD, &cases[0], KALANALYSISLETKF, "-localization_threshold 1", &analysis), "must be at least 0 and less than 1");
  KalRefused(MakeAnalysis(PETSC_COMM_WORLD, &cases[0], KALANALYSISLETKF, "-letkf_batch 0", &analysis), "0");
  KalRefused(MakeAnalysis(PETSC_COMM_WORLD, &cases[0], KALANALYSISLETKF, "-analysis_space observation", &analysis), "letkf works in ensemble space");
  bare.options = "";
  KalRefused(MakeAnalysis(PETSC_COMM_WORLD, &bare, KALANALYSISLETKF, NULL, &analysis), "-localization_radius 0"); /* a radius has no default */
  bare           = cases[0];
  bare.dimension = 0;
  KalRefused(MakeAnalysis(PETSC_COMM_WORLD, &bare, KALANALYSISLETKF, NULL, &analysis), "this model has no locations; use a model with them, or -localization_type none");
  KalRefused(BadTimes(&cases[0], PETSC_FALSE), "The 40 observations of cycle 1 have no locations");
  KalRefused(BadTimes(&cases[0], PETSC_TRUE), "Coordinate 0 of observation 5 is inf");
  KalRefused(BadPlaces(), "Coordinate 0 of state entry 17 is nan");
  KalRefused(Diverged(), "not finite");
  KalCall(MakeAnalysis(PETSC_COMM_WORLD, &cases[0], KALANALYSISLETKF, NULL, &analysis));
  KalCall(KalAnalysisGetNeeds(analysis, &needs));
  KalAssert(needs.least == 2 && needs.points == 7 && needs.timed && needs.locations && !needs.copies);
  KalCall(KalAnalysisDestroy(&analysis));
  bare.options = "-localization_type none"; /* no locations: none are needed */
  KalCall(MakeAnalysis(PETSC_COMM_WORLD, &bare, KALANALYSISLETKF, NULL, &analysis));
  KalCall(KalAnalysisGetNeeds(analysis, &needs));
  KalAssert(!needs.locations);
  KalCall(KalAnalysisDestroy(&analysis));
  KalCall(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(AsDenseFormulas),
    cmocka_unit_test(FarFromEveryObservation),
    cmocka_unit_test(WithoutLocalizationEtkf),
    cmocka_unit_test(RotationKeepsMoments),
    cmocka_unit_test(SharpObservations),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis letkf", tests)
