/* What the tests of dynamical models share: models from options, members, and checks that each of them must pass. */
#ifndef DYNAMICAL_H
#define DYNAMICAL_H

#include "kaltest.h"

#include <stdlib.h>

#define MEMBERS 17

/* A model with options "-name value ...", set up; the options are taken away again. */
static inline KalModel Make(const char *options)
{
  KalModel model = NULL;

  KalCall(PetscOptionsInsertString(NULL, options));
  KalCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  KalCall(KalModelSetFromOptions(model));
  KalCall(KalModelSetUp(model));
  KalCall(PetscOptionsClear(NULL));
  return model;
}

static inline PetscErrorCode Configure(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelSetFromOptions(model));
  PetscCall(KalModelSetUp(model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Options that are refused with a message. */
static inline void Refused(const char *options, const char *message)
{
  KalModel model = NULL;

  KalCall(PetscOptionsInsertString(NULL, options));
  KalCall(KalModelCreate(PETSC_COMM_WORLD, &model));
  KalCallFails(Configure(model), message);
  KalCall(KalModelDestroy(&model));
  KalCall(PetscOptionsClear(NULL));
}

static inline KalKey KeyOf(KalDrawPurpose purpose, PetscInt64 cycle, PetscInt64 member)
{
  const KalKey key = {17, purpose, cycle, member};

  return key;
}

static inline PetscScalar *Numbers(size_t n)
{
  PetscScalar *x = calloc(n, sizeof *x);

  assert_non_null(x);
  return x;
}

static inline PetscInt SizeOf(KalModel model)
{
  PetscInt n;

  KalCall(KalModelGetSize(model, &n));
  return n;
}

/* Members first, ..., first + count - 1 of those in x, one after the other, over some time. */
static inline void Forecast(KalModel model, PetscReal from, PetscReal to, PetscInt first, PetscInt count, PetscScalar *x, KalStatus *status)
{
  const PetscInt n = SizeOf(model);
  PetscScalar   *column[64];
  KalColumns     columns = {first, count, 64, n, column};

  assert_true(count <= 64);
  for (PetscInt k = 0; k < count; k++) column[k] = x + (size_t)(first + k) * (size_t)n;
  KalCall(KalModelPropagate(model, NULL, from, to, &columns, status + first));
}

/* A single state. */
static inline void Run(KalModel model, PetscReal time, PetscScalar *x)
{
  KalStatus status = KAL_MEMBER_OK;

  Forecast(model, 0.0, time, 0, 1, x, &status);
  KalAssert(status == KAL_MEMBER_OK);
}

/* Drawn twice with the same key a member has the same bits; another member, cycle or purpose has others. */
static inline void CheckInitial(KalModel model)
{
  const PetscInt n = SizeOf(model);
  PetscScalar   *a = Numbers((size_t)n), *b = Numbers((size_t)n);

  for (int k = 0; k < 2; k++) {
    const KalDrawPurpose purpose = k ? KAL_DRAW_TRUTH : KAL_DRAW_PRIOR;

    KalCall(KalModelInitial(model, KeyOf(purpose, 0, 3), a));
    KalCall(KalModelInitial(model, KeyOf(purpose, 0, 3), b));
    KalAssert(!memcmp(a, b, (size_t)n * sizeof *a));
    KalCall(KalModelInitial(model, KeyOf(purpose, 0, 4), b));
    KalAssert(a[0] != b[0] && a[n / 2] != b[n / 2]);
    KalCall(KalModelInitial(model, KeyOf(purpose, 1, 3), b));
    KalAssert(a[0] != b[0] && a[n / 2] != b[n / 2]);
    KalCall(KalModelInitial(model, KeyOf(k ? KAL_DRAW_PRIOR : KAL_DRAW_TRUTH, 0, 3), b));
    KalAssert(a[0] != b[0] && a[n / 2] != b[n / 2]);
  }
  free(a);
  free(b);
}

/*
  Members have the same bits in whatever groups they are forecast: all together, one by one, by 3 and by 7, with and without
  the time cut in two where `cut` says that this changes no bit.
*/
static inline void CheckGroups(KalModel model, PetscReal time, PetscReal half)
{
  static const PetscInt group[] = {MEMBERS, 1, 3, 7};
  const PetscInt        n       = SizeOf(model);
  const size_t          all     = (size_t)n * MEMBERS;
  PetscScalar          *start = Numbers(all), *x = Numbers(all), *y = Numbers(all);
  KalStatus             status[MEMBERS] = {KAL_MEMBER_OK};

  KalCall(KalModelSetKey(model, KeyOf(KAL_DRAW_NOISE, 5, 0)));
  for (PetscInt m = 0; m < MEMBERS; m++) KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, m), start + (size_t)m * (size_t)n));
  for (size_t g = 0; g < sizeof group / sizeof *group; g++) {
    PetscScalar *z = g ? y : x;

    memcpy(z, start, all * sizeof *z);
    for (PetscInt first = 0; first < MEMBERS; first += group[g]) {
      const PetscInt count = PetscMin(group[g], MEMBERS - first);

      if (half > 0.0 && g) {
        Forecast(model, 0.0, half, first, count, z, status);
        Forecast(model, half, time, first, count, z, status);
      } else Forecast(model, 0.0, time, first, count, z, status);
    }
    KalAssert(!memcmp(x, z, all * sizeof *z));
  }
  for (PetscInt m = 0; m < MEMBERS; m++) KalAssert(status[m] == KAL_MEMBER_OK);
  KalAssert(memcmp(x, start, all * sizeof *x));
  free(start);
  free(x);
  free(y);
}

/* The tangent against central differences of forecasts about x, in some directions; errors relative to the largest entry. */
static inline void CheckTangent(KalModel model, PetscReal time, const PetscScalar *x, PetscReal tolerance)
{
  const PetscInt  n = SizeOf(model), directions = 3;
  const PetscReal delta = 1e-5;
  PetscScalar    *d = Numbers((size_t)(n * directions)), *e = Numbers((size_t)(n * directions)), *up = Numbers((size_t)n), *down = Numbers((size_t)n);

  KalCall(KalDrawNormal(KeyOf(KAL_DRAW_TEST, 0, 0), 0, (PetscInt64)n * directions, d));
  memcpy(e, d, (size_t)(n * directions) * sizeof *d);
  KalCall(KalModelTangent(model, 0.0, time, x, directions, d));
  for (PetscInt k = 0; k < directions; k++) {
    PetscReal worst = 0.0, largest = 0.0;

    for (PetscInt i = 0; i < n; i++) {
      up[i]   = x[i] + delta * e[k * n + i];
      down[i] = x[i] - delta * e[k * n + i];
    }
    Run(model, time, up);
    Run(model, time, down);
    for (PetscInt i = 0; i < n; i++) {
      worst   = PetscMax(worst, PetscAbsReal((up[i] - down[i]) / (2.0 * delta) - d[k * n + i]));
      largest = PetscMax(largest, PetscAbsReal(d[k * n + i]));
    }
    KalAssert(largest > 0.1);
    KalAssertNear(worst / largest, 0.0, tolerance);
  }
  free(d);
  free(e);
  free(up);
  free(down);
}

/* Sample moments of entry i of starts 0, ..., draws - 1. */
static inline void Moments(KalModel model, PetscInt draws, PetscInt i, PetscReal *mean, PetscReal *variance)
{
  const PetscInt n   = SizeOf(model);
  PetscScalar   *x   = Numbers((size_t)n);
  PetscReal      sum = 0.0, squares = 0.0;

  for (PetscInt m = 0; m < draws; m++) {
    KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, m), x));
    sum += x[i];
    squares += x[i] * x[i];
  }
  *mean     = sum / draws;
  *variance = squares / draws - *mean * *mean;
  free(x);
}

/* Entry i lies at coordinate i of a circle. */
static inline void CheckCircle(KalModel model, PetscInt length)
{
  const PetscInt entries[3] = {length - 1, 0, 5};
  PetscReal      coordinates[3 * KAL_DIMENSIONS];
  PetscInt       kinds[3];
  KalDomain      domain;

  KalCall(KalModelGetDomain(model, &domain));
  KalAssert(domain.dimension == 1 && domain.length[0] == (PetscReal)length);
  KalCall(KalModelLocate(model, 3, entries, coordinates, kinds));
  for (int k = 0; k < 3; k++) KalAssert(kinds[k] == 0 && coordinates[k * KAL_DIMENSIONS] == (PetscReal)entries[k] && coordinates[k * KAL_DIMENSIONS + 1] == 0.0);
}

/* A member with a number that is not finite is marked and zeroed, its neighbours are as without it. */
static inline void CheckNonfinite(KalModel model, PetscReal time)
{
  const PetscInt n   = SizeOf(model);
  const size_t   all = (size_t)n * 5;
  PetscScalar   *x = Numbers(all), *y = Numbers(all);
  int            same      = 1;
  KalStatus      before[5] = {KAL_MEMBER_OK}, status[5] = {KAL_MEMBER_OK, KAL_MEMBER_OK, KAL_MEMBER_OK, KAL_MEMBER_FAILED, KAL_MEMBER_OK};

  for (PetscInt m = 0; m < 5; m++) KalCall(KalModelInitial(model, KeyOf(KAL_DRAW_PRIOR, 0, m), x + (size_t)m * (size_t)n));
  memcpy(y, x, all * sizeof *x);
  y[n + n / 2] = INFINITY;
  Forecast(model, 0.0, time, 0, 5, x, before);
  Forecast(model, 0.0, time, 0, 5, y, status);
  for (PetscInt m = 0; m < 5; m++) {
    KalAssert(status[m] == (m == 1 ? KAL_MEMBER_NONFINITE : m == 3 ? KAL_MEMBER_FAILED
                                                                   : KAL_MEMBER_OK));
    for (PetscInt i = 0; i < n; i++) same = same && y[m * n + i] == (m == 1 ? 0.0 : x[m * n + i]);
  }
  KalAssert(same);
  free(x);
  free(y);
}

/* Layout, memory and view work, and the layout names what `part` says. */
static inline void CheckTexts(KalModel model, const char *part)
{
  char        layout[256];
  PetscReal   bytes;
  PetscViewer viewer;

  KalCall(KalModelGetLayout(model, sizeof layout, layout));
  KalAssert(strstr(layout, part) != NULL);
  KalCall(KalModelGetMemory(model, 10, &bytes));
  KalAssert(bytes > 0.0 && bytes < 1e9);
  KalCall(PetscViewerASCIIOpen(PETSC_COMM_WORLD, "/dev/null", &viewer));
  KalCall(KalModelView(model, viewer));
  KalCall(PetscViewerDestroy(&viewer));
}

#endif
