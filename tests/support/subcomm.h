/*
  Several rank counts in one launch: work is done on the first 1, 2, 3, 5 and 7 ranks in turn, each time
  on a communicator of their own, and what must not depend on the number of ranks is compared bit by bit.

  Inside the work KalHolds() and KalNear() take the place of cmocka's assertions: they note a failure and go on, so that
  no rank leaves the others in a collective call. The assertion follows once the work is done.
*/
#ifndef KALTEST_SUBCOMM_H
#define KALTEST_SUBCOMM_H

#include "kaltest.h"

#if defined(__SANITIZE_ADDRESS__)
#define KALTEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KALTEST_SANITIZED 1
#endif
#endif

#ifdef KALTEST_SANITIZED /* ten times as slow, and looks for other things */
static const int KalTestCounts[] = {1, 3};
#define KALTEST_STRIDE 3 /* of the combinations of a test, one in so many */
#else
#define KALTEST_STRIDE 1
static const int KalTestCounts[] = {1, 2, 3, 5, 7};
#endif
#define KALTEST_COUNTS ((int)(sizeof KalTestCounts / sizeof KalTestCounts[0]))

static int kal_holds = 1;
#define KalHolds(cond) \
  do { \
    if (!(cond)) { \
      if (kal_holds) print_error("%s:%d: does not hold: %s\n", __FILE__, __LINE__, #cond); \
      kal_holds = 0; \
    } \
  } while (0)
/* |a - b| <= tol, false for NaN */
#define KalNear(a, b, tol) \
  do { \
    const double kal_x = (double)(a), kal_y = (double)(b); \
    if (!(fabs(kal_x - kal_y) <= (double)(tol))) { \
      if (kal_holds) print_error("%s:%d: |%.17g - %.17g| = %.3g > %.3g\n", __FILE__, __LINE__, kal_x, kal_y, fabs(kal_x - kal_y), (double)(tol)); \
      kal_holds = 0; \
    } \
  } while (0)

/* Digests of what must be the same on every number of ranks: kept by world rank 0, which is in every communicator. */
#define KALTEST_SLOTS 512
typedef struct {
  PetscInt   next, known;
  PetscInt64 digest[KALTEST_SLOTS];
} KalTestBits;
static KalTestBits kal_bits;

/* The n-th call of each work compares the same thing: with what the ranks of one communicator hold, and with the first count of ranks. */
static inline PetscErrorCode KalSameBits(MPI_Comm comm, const void *data, size_t bytes)
{
  PetscInt64 mine, first;

  PetscFunctionBeginUser;
  PetscCheck(kal_bits.next < KALTEST_SLOTS, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "too many comparisons");
  PetscCall(KalDigest(data, bytes, 0, &mine));
  first = mine;
  if (kal_bits.next < kal_bits.known) first = kal_bits.digest[kal_bits.next];
  else kal_bits.digest[kal_bits.known++] = mine;
  kal_bits.next++;
  PetscCallMPI(MPI_Bcast(&first, 1, MPI_INT64_T, 0, comm));
  if (mine != first && kal_holds) print_error("comparison %d: other bits on this number of ranks\n", (int)kal_bits.next - 1);
  if (mine != first) kal_holds = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

typedef PetscErrorCode (*KalTestWork)(MPI_Comm, void *);

/* Does the work on each count of ranks that the launch has, the world's own included if it is 1, 2, 3, 5 or 7. */
static inline void KalOnEachCount(KalTestWork work, void *ctx)
{
  PetscMPIInt rank, size;
  int         k;

  (void)MPI_Comm_rank(PETSC_COMM_WORLD, &rank);
  (void)MPI_Comm_size(PETSC_COMM_WORLD, &size);
  kal_bits.known = 0;
  for (k = 0; k < KALTEST_COUNTS && KalTestCounts[k] <= size; k++) {
    MPI_Comm comm;
    int      error = 0;

    (void)MPI_Comm_split(PETSC_COMM_WORLD, rank < KalTestCounts[k] ? 0 : MPI_UNDEFINED, 0, &comm);
    kal_holds     = 1;
    kal_bits.next = 0;
    if (comm != MPI_COMM_NULL) {
      error = (int)work(comm, ctx);
      if (error) print_error("on %d ranks: error %d: %s\n", KalTestCounts[k], error, KalTestMessage());
      else (void)MPI_Comm_free(&comm);
    }
    if (rank == 0 && !KalTestAll(kal_holds && !error)) print_error("the above on %d ranks\n", KalTestCounts[k]);
    else if (rank) (void)KalTestAll(kal_holds && !error);
    KalAssert(kal_holds && !error);
  }
}

/* What a refused call took and left is no leak to report: a program ends after it. */
#ifdef KALTEST_SANITIZED
#include <sanitizer/lsan_interface.h>
#define KalRefused(call, text) \
  do { \
    __lsan_disable(); \
    KalCallFails(call, text); \
    __lsan_enable(); \
  } while (0)
#else
#define KalRefused(call, text) KalCallFails(call, text)
#endif

/* Test numbers that no generator of the library makes: splitmix64, uniform in [-1, 1). */
static inline double KalTestNumber(uint64_t stream, uint64_t index)
{
  uint64_t z = (stream * 1000003u + index + 1u) * 0x9e3779b97f4a7c15u;

  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  z ^= z >> 31;
  return (double)(z >> 11) / 4503599627370496.0 - 1.0;
}

#endif
