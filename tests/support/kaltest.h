/*
  cmocka under MPI: rank 0 alone reports, an assertion that fails on one rank fails on all, an
  alarm ends a test that hangs. Link tests/support/kaltest.c and the library.

  The first line of a test file names its rank counts: "ranks: 1 2 3 5" in a comment.
*/
#ifndef KALTEST_H
#define KALTEST_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>
#include <kalmia.h>

/* Collective over PETSC_COMM_WORLD: the minimum over the ranks of a truth value. */
int KalTestAll(int ok);

/* A call that fails need not free all it took, as PETSc's own do not: its leaks are not looked for. */
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/lsan_interface.h>
#define KalLeaksBegin() __lsan_disable()
#define KalLeaksEnd()   __lsan_enable()
#else
#define KalLeaksBegin() ((void)0)
#define KalLeaksEnd()   ((void)0)
#endif

/* Passes if cond holds on every rank; every rank calls it. */
#define KalAssert(cond) assert_true(KalTestAll((cond) ? 1 : 0))
/* Passes if |a - b| <= tol on every rank. */
#define KalAssertNear(a, b, tol) \
  do { \
    const double kal_a = (double)(a), kal_b = (double)(b), kal_t = (double)(tol); \
    const int    kal_ok = fabs(kal_a - kal_b) <= kal_t; \
    if (!kal_ok) print_error("%s:%d: |%.17g - %.17g| = %.3g > %.3g\n", __FILE__, __LINE__, kal_a, kal_b, fabs(kal_a - kal_b), kal_t); \
    assert_true(KalTestAll(kal_ok)); \
  } while (0)
/* Passes if a PETSc call returns no error on every rank. */
#define KalCall(call) \
  do { \
    const int kal_ierr = (int)(call); \
    if (kal_ierr) print_error("%s:%d: error %d in %s: %s\n", __FILE__, __LINE__, kal_ierr, #call, KalTestMessage()); \
    assert_true(KalTestAll(kal_ierr == 0)); \
  } while (0)
/* Passes if a PETSc call returns an error on every rank whose message contains `text`; nothing is printed. */
#define KalCallFails(call, text) \
  do { \
    int kal_ierr; \
    KalLeaksBegin(); \
    kal_ierr = (int)(call); \
    KalLeaksEnd(); \
    if (!kal_ierr || !strstr(KalTestMessage(), (text))) print_error("%s:%d: error %d, message \"%s\" lacks \"%s\"\n", __FILE__, __LINE__, kal_ierr, KalTestMessage(), (text)); \
    assert_true(KalTestAll(kal_ierr != 0 && strstr(KalTestMessage(), (text)) != NULL)); \
  } while (0)

/* The message of the last error raised (the initial one, not the trace). */
const char *KalTestMessage(void);
/* A path in a scratch folder of this launch (environment KALTEST_SCRATCH or /tmp), the same on every rank. */
const char *KalTestPath(const char *name);

/* Runs the tests between PetscInitialize and PetscFinalize; returns the failures. */
int KalTestMain(int argc, char **argv, const char *group, const struct CMUnitTest *tests, size_t count);
#define KAL_TEST_MAIN(group, tests) \
  int main(int argc, char **argv) \
  { \
    return KalTestMain(argc, argv, group, tests, sizeof(tests) / sizeof((tests)[0])); \
  }

#endif
