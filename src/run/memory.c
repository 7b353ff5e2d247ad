/* What a run will take, before it is taken: memory a rank, and seconds a cycle. */
#include "runimpl.h"

#include <petscblaslapack.h>

#define KAL_MEGA 1048576.0

static PetscErrorCode Line(KalRun run, const char *what, PetscReal bytes, PetscReal *sum)
{
  PetscFunctionBeginUser;
  *sum += bytes;
  if (bytes >= 0.05 * KAL_MEGA) PetscCall(PetscPrintf(run->comm, " %s %.1f", what, (double)(bytes / KAL_MEGA)));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Rate of a GEMM of the kind a cycle is made of, in operations a second: the median of a few. */
static PetscErrorCode GemmRate(PetscReal *rate)
{
  const PetscBLASInt n   = 384;
  const PetscReal    one = 1.0, zero = 0.0;
  PetscReal         *a, *b, *c, seconds[5], swap;
  PetscInt           i, k;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(n * n, &a, n * n, &b, n * n, &c));
  for (i = 0; i < n * n; i++) a[i] = b[i] = 1.0 + 1e-3 * (i % 7);
  for (k = 0; k < 5; k++) {
    const double start = MPI_Wtime();

    PetscCallBLAS("BLASgemm", BLASgemm_("N", "N", &n, &n, &n, &one, a, &n, b, &n, &zero, c, &n));
    seconds[k] = MPI_Wtime() - start;
    for (i = k; i > 0 && seconds[i] < seconds[i - 1]; i--) {
      swap           = seconds[i];
      seconds[i]     = seconds[i - 1];
      seconds[i - 1] = swap;
    }
  }
  *rate = 2.0 * n * n * n / PetscMax(seconds[2], 1e-9);
  PetscCall(PetscFree3(a, b, c));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Seconds that one member's forecast over the first window takes, tried on a member of its own. */
static PetscErrorCode TryForecast(KalRun run, PetscReal *seconds)
{
  PetscScalar *x[1];
  KalColumns   columns = {.first = 0, .count = 1, .total = 1, .size = run->n, .column = x};
  KalStatus    status  = KAL_MEMBER_OK;
  PetscReal    from, to;
  double       start;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetTime(run->observations, -1, &from));
  PetscCall(KalObservationsGetTime(run->observations, 0, &to));
  PetscCall(PetscMalloc1(run->n, &x[0]));
  PetscCall(KalModelInitial(run->model, (KalKey){run->seed, KAL_DRAW_PRIOR, 0, 0}, x[0]));
  PetscCall(KalModelSetKey(run->model, (KalKey){run->seed, KAL_DRAW_NOISE, 0, 0}));
  start = MPI_Wtime();
  PetscCall(KalModelPropagate(run->model, NULL, from, to, &columns, &status));
  *seconds = MPI_Wtime() - start;
  PetscCall(PetscFree(x[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Seconds a cycle: products alone, at the rate of a small GEMM, twice it in single precision, the rest guessed at half as much. */
static PetscErrorCode EstimateCycle(KalRun run, PetscInt samples)
{
  const PetscReal N = run->N, p = (PetscReal)samples * run->outputs;
  KalPrecision    precision;
  PetscReal       rate = 1.0, forward, analysis, forecast = 0.0, seconds;
  KalModel        own;
  PetscInt        taken;

  PetscFunctionBeginUser;
  PetscCall(GemmRate(&rate));
  PetscCall(KalModelGetPrecision(run->model, &precision));
  PetscCall(KalModelGetOwn(run->model, &own));
  PetscCall(KalModelGetSize(own, &taken));
  forward = run->timed ? 0.0 : 2.0 * N * samples * taken / run->size / (precision == KAL_SINGLE ? 2.0 : 1.0);
  if (run->timed) PetscCall(TryForecast(run, &forecast));
  analysis = (N * N * p + (run->needs.generated ? 20.0 * N * run->n : 2.0 * N * N * run->n)) / run->size + N * N * N;
  seconds  = 1.5 * (forward + analysis) / rate + forecast * ((run->N + run->size / run->span - 1) / (run->size / run->span));
  PetscCall(PetscPrintf(run->comm, "estimate: %.3g s a cycle, %.3g s in all, from products at %.3g GF/s a rank%s\n", (double)seconds, (double)(seconds * run->cycles), (double)(rate * 1e-9), run->timed ? " and the forecast of one member" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunMemory - Prints the estimated memory of the fullest rank, and with -run_dry the time of a cycle
*/
PetscErrorCode KalRunMemory(KalRun run)
{
  const PetscInt  groups  = run->size / run->span;
  const PetscReal members = (run->N + groups - 1) / groups, share = 8.0 * run->n * members;
  const PetscReal N = run->N, n = run->n, columns = PetscMin(64.0, members);
  PetscReal       sum = 0.0, data, work, p;
  PetscInt        samples;
  PetscBool       truth;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetCycle(run->observations, &samples, NULL));
  PetscCall(KalObservationsHasTruth(run->observations, &truth));
  PetscCall(KalObservationsGetMemory(run->observations, &data));
  PetscCall(KalModelGetMemory(run->model, samples, &work));
  p = (PetscReal)samples * run->outputs;
  PetscCall(PetscPrintf(run->comm, "memory: MiB a rank:"));
  if (run->needs.generated) PetscCall(Line(run, "mean, spread, method", 8.0 * run->n * (2.0 + run->needs.vectors), &sum));
  else {
    PetscCall(Line(run, "ensemble", share, &sum));
    PetscCall(Line(run, "copies", share * run->needs.copies, &sum));
    PetscCall(Line(run, run->needs.vectors ? "mean, spread, method" : "mean and spread", 8.0 * run->n * (2.0 + run->needs.vectors), &sum));
  }
  if (run->needs.adjoint) PetscCall(Line(run, "derivatives", share + 32.0 * n, &sum));
  if (truth) PetscCall(Line(run, "truth", 8.0 * n, &sum));
  if (run->needs.generated || run->needs.copies) PetscCall(Line(run, "columns", PetscMin(8.0 * run->n * columns, 64.0 * KAL_MEGA), &sum));
  if (run->schedule == KAL_RUN_DYNAMIC && run->size > 1) PetscCall(Line(run, "members of others", 8.0 * (run->n + (PetscReal)samples * run->outputs) * PetscMin(run->schedulemembers, columns), &sum));
  if (run->needs.climatology) PetscCall(Line(run, "climatology", 8.0 * run->n * (run->n + 65.0), &sum));
  if (run->needs.tangent) PetscCall(Line(run, "covariance", 16.0 * n * n, &sum));
  if (run->needs.dense) PetscCall(Line(run, "gain", 8.0 * p * (2.0 * n + p), &sum));
  PetscCall(Line(run, "predictions", 8.0 * p * ((run->needs.points + groups - 1) / groups), &sum));
  PetscCall(Line(run, "predictions of all members", 8.0 * p * N * (run->needs.gathered + (PetscReal)run->needs.brought / run->size), &sum));
  PetscCall(Line(run, "N x N", 8.0 * N * N * (run->needs.generated ? 3.0 : 6.0), &sum));
  if (run->needs.work > 0.0) PetscCall(Line(run, "method", run->needs.work, &sum));
  PetscCall(Line(run, "data", data, &sum));
  PetscCall(Line(run, "model", work, &sum));
  PetscCall(PetscPrintf(run->comm, " = %.1f\n", (double)(sum / KAL_MEGA)));
  if (run->dry) PetscCall(EstimateCycle(run, samples));
  PetscFunctionReturn(PETSC_SUCCESS);
}
