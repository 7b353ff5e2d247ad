/*
  Logistic growth, x' = r x (1 - x/K) with x(0) = 0.5: log r and log K are estimated from twenty observations of x.
  The model is two C functions of this program, handed to the library as PETSc's shells are.
*/
#include <kalmia.h>

#include <math.h>

#define SAMPLES 20
#define START   0.5 /* x(0) */

typedef struct {
  PetscReal step; /* of the time integration, at most */
} Growth;

static PetscReal Rate(PetscReal r, PetscReal K, PetscReal x)
{
  return r * x * (1.0 - x / K);
}

/* From time `from` to `to` by fourth-order Runge and Kutta steps. */
static PetscReal Integrate(const Growth *growth, PetscReal r, PetscReal K, PetscReal from, PetscReal to, PetscReal x)
{
  const PetscInt  steps = PetscMax(1, (PetscInt)PetscCeilReal((to - from) / growth->step));
  const PetscReal h     = (to - from) / (PetscReal)steps;

  for (PetscInt s = 0; s < steps; s++) {
    const PetscReal a = Rate(r, K, x), b = Rate(r, K, x + 0.5 * h * a), c = Rate(r, K, x + 0.5 * h * b), d = Rate(r, K, x + h * c);

    x += h / 6.0 * (a + 2.0 * b + 2.0 * c + d);
  }
  return x;
}

/* What one member predicts: x at the times that are the samples' inputs, in ascending order. */
static PetscErrorCode Observe(KalModel model, PetscInt member, PetscReal stage, const PetscScalar *u, const KalBatch *batch, PetscScalar *y, KalStatus *status)
{
  const double   *time = (const double *)batch->input;
  const PetscReal r = PetscExpReal(u[0]), K = PetscExpReal(u[1]);
  PetscReal       now = 0.0, x = START;
  Growth         *growth;

  PetscFunctionBeginUser;
  (void)member;
  (void)stage;
  PetscCall(KalModelShellGetContext(model, &growth));
  if (!(r < 1e3)) { /* would take for ever: the member is left out and drawn anew */
    *status = KAL_MEMBER_FAILED;
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (PetscInt s = 0; s < batch->samples; s++) {
    x    = Integrate(growth, r, K, now, time[s], x);
    now  = time[s];
    y[s] = x;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Observations with errors of standard deviation 0.1, by the solution x = K/(1 + (K/x0 - 1) exp(-r t)). */
static PetscErrorCode MakeData(PetscReal r, PetscReal K, PetscReal time[], PetscReal y[])
{
  const KalKey key = {.seed = 1, .purpose = KAL_DRAW_TEST};

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal(key, 0, SAMPLES, y));
  for (PetscInt s = 0; s < SAMPLES; s++) {
    time[s] = 0.5 * (PetscReal)(s + 1);
    y[s]    = K / (1.0 + (K / START - 1.0) * PetscExpReal(-r * time[s])) + 0.1 * y[s];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PrintEstimate(KalRun run, const PetscReal truth[])
{
  static const char *const names[] = {"log r", "log K"};
  KalEnsemble              ensemble;
  const PetscScalar       *mean;
  PetscScalar              sum[2] = {0.0}, square[2], *x;
  PetscInt                 first, last, N;

  PetscFunctionBeginUser;
  PetscCall(KalRunGetEnsemble(run, &ensemble));
  PetscCall(KalEnsembleGetSizes(ensemble, NULL, &N));
  PetscCall(KalEnsembleGetMean(ensemble, &mean));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(ensemble, j, &x));
    for (PetscInt i = 0; i < 2; i++) sum[i] += (x[i] - mean[i]) * (x[i] - mean[i]);
  }
  PetscCallMPI(MPI_Allreduce(sum, square, 2, MPIU_SCALAR, MPI_SUM, PETSC_COMM_WORLD));
  for (PetscInt i = 0; i < 2; i++) PetscCall(PetscPrintf(PETSC_COMM_WORLD, "%s: truth %.4f, estimate %.4f +- %.4f\n", names[i], (double)truth[i], (double)mean[i], sqrt(square[i] / (double)(N - 1))));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Work(void)
{
  const PetscReal   truth[2]  = {log(0.8), log(10.0)};
  const PetscScalar mean[2]   = {0.0, 1.5};
  const PetscReal   spread[2] = {0.7, 0.7};
  Growth            growth    = {.step = 0.05};
  PetscReal         time[SAMPLES], y[SAMPLES];
  KalRun            run;
  KalModel          model;
  KalObservations   observations;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsGetReal(NULL, NULL, "-logistic_step", &growth.step, NULL));
  PetscCheck(growth.step > 0.0, PETSC_COMM_WORLD, PETSC_ERR_ARG_OUTOFRANGE, "-logistic_step %g: must be positive", (double)growth.step);
  PetscCall(MakeData(PetscExpReal(truth[0]), PetscExpReal(truth[1]), time, y));
  PetscCall(KalModelCreateShell(PETSC_COMM_WORLD, 2, &growth, &model));
  PetscCall(KalModelShellSetPrior(model, mean, spread));
  PetscCall(KalModelShellSetDataSizes(model, 1, 1));
  PetscCall(KalModelShellSetObserve(model, Observe));
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  PetscCall(KalRunSetModel(run, model));
  PetscCall(KalRunGetObservations(run, &observations));
  PetscCall(KalObservationsSetArrays(observations, KAL_SET_TRAIN, SAMPLES, 1, time, 1, y));
  PetscCall(KalRunSetFromOptions(run));
  PetscCall(KalRunSolve(run));
  PetscCall(PrintEstimate(run, truth));
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

int main(int argc, char **argv)
{
  PetscErrorCode error = KalInitialize(&argc, &argv, "Estimates the two parameters of logistic growth\n");
  int            code  = KAL_EXIT_ERROR;

  if (!error) error = Work();
  if (KalFinalize(error, &code)) return KAL_EXIT_ERROR;
  return code;
}
