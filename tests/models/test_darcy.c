/* ranks: 1 2 */
/* The model darcy: its pressures balance the flow of every cell, and are those of the series for a constant conductivity; bad input is refused. */
#include "kaltest.h"

static PetscErrorCode Make(const char *options, KalModel *model)
{
  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, options));
  PetscCall(KalModelCreate(PETSC_COMM_WORLD, model));
  PetscCall(KalModelSetType(*model, KALMODELDARCY));
  PetscCall(KalModelSetFromOptions(*model));
  PetscCall(KalModelSetUp(*model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Observe(KalModel model, PetscInt samples, const double *x, PetscScalar *w, PetscScalar *y, KalStatus *status)
{
  PetscScalar *column[1] = {w}, *out[1] = {y};
  KalColumns   columns = {.first = 0, .count = 1, .total = 1, .column = column};
  KalBatch     batch   = {.samples = samples, .inputs = 2, .outputs = 1, .precision = KAL_DOUBLE, .input = x};

  PetscFunctionBeginUser;
  *status = KAL_MEMBER_OK;
  PetscCall(KalModelGetSize(model, &columns.size));
  PetscCall(KalModelObserve(model, NULL, 1.0, &columns, &batch, out, status));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What flows out of cell i, j through its sides is what its source gives; read at the cells' centres, with 4 x 3 of them. */
static void FlowsBalance(void **state)
{
  enum {
    NX = 4,
    NY = 3
  };
  static const int beside[4][2] = {
      {-1, 0 },
      {1,  0 },
      {0,  -1},
      {0,  1 }
  };
  PetscScalar w[NX * NY], p[NX * NY + 2];
  double      x[2 * (NX * NY + 2)];
  KalStatus   status;
  KalModel    model;

  (void)state;
  for (int c = 0; c < NX * NY; c++) {
    w[c]         = sin(3.7 * c + 0.2);
    x[2 * c]     = (c % NX + 0.5) / NX;
    x[2 * c + 1] = ((double)(c / NX) + 0.5) / NY;
  }
  x[2 * NX * NY]     = 0.0; /* on the boundary, and a quarter of a cell from it */
  x[2 * NX * NY + 1] = 0.5;
  x[2 * NX * NY + 2] = 0.25 / NX;
  x[2 * NX * NY + 3] = 0.5;
  KalCall(Make("-darcy_cells 4,3 -darcy_load 7", &model));
  for (int solver = 0; solver < 2; solver++) {
    KalCall(Observe(model, NX * NY + 2, x, w, p, &status));
    KalAssert(status == KAL_MEMBER_OK && fabs(p[NX * NY]) < 1e-14 && fabs(p[NX * NY + 1] - 0.5 * p[NX]) < 1e-12);
    for (int c = 0; c < NX * NY; c++) {
      double out = 0.0;

      for (int s = 0; s < 4; s++) {
        const int    i = c % NX + beside[s][0], j = c / NX + beside[s][1], d = i + NX * j;
        const double wide = s < 2 ? 1.0 / NY : 1.0 / NX, apart = s < 2 ? 1.0 / NX : 1.0 / NY;

        if (i < 0 || j < 0 || i >= NX || j >= NY) out += exp(w[c]) * p[c] / (0.5 * apart) * wide;
        else out += 2.0 / (exp(-w[c]) + exp(-w[d])) * (p[c] - p[d]) / apart * wide;
      }
      KalAssert(fabs(out - 7.0 / (NX * NY)) < 1e-7);
    }
    KalCall(KalModelDestroy(&model));
    if (!solver) KalCall(Make("-darcy_cells 4,3 -darcy_load 7 -darcy_ksp_type cg -darcy_pc_type jacobi -darcy_ksp_rtol 1e-12", &model));
  }
}

/* -laplace p = 1: 0.0736713533 in the middle of the square (Fourier series); the scheme is of second order. */
static void ConstantConductivity(void **state)
{
  const double exact = 0.0736713533;
  double       error[2], middle[2] = {0.5, 0.5};
  PetscScalar *w, p[1];
  KalStatus    status;
  KalModel     model;

  (void)state;
  for (int r = 0; r < 2; r++) {
    const PetscInt n = r ? 31 : 15;

    KalCall(Make(r ? "-darcy_cells 31,31" : "-darcy_cells 15,15", &model));
    KalCall(PetscMalloc1(n * n, &w));
    for (PetscInt i = 0; i < n * n; i++) w[i] = log(10.0); /* and a load of 10 */
    KalCall(Observe(model, 1, middle, w, p, &status));
    error[r] = fabs(p[0] - exact);
    w[3]     = 1e4;
    KalCall(Observe(model, 1, middle, w, p, &status));
    KalAssert(status == KAL_MEMBER_NONFINITE && p[0] == 0.0);
    KalCall(PetscFree(w));
    KalCall(KalModelDestroy(&model));
  }
  KalAssert(error[0] < 1e-3 && error[1] < 0.3 * error[0]);
}

static void Refusals(void **state)
{
  static const char *const refused[][2] = {
      {"-darcy_cells 8",                                      "-darcy_cells has 1 numbers; give 2"   },
      {"-darcy_cells 8,1",                                    "-darcy_cells 8,1: both must be from 2"},
      {"-darcy_cells 9,7,5",                                  "-darcy_cells has more than 2 numbers" },
      {"-darcy_ksp_initial_guess_nonzero -darcy_ksp_type cg", "-darcy_ksp_initial_guess_nonzero"     },
      {"-darcy_ksp_guess_type fischer -darcy_ksp_type cg",    "-darcy_ksp_guess_type"                },
      {"-darcy_ksp_reuse_preconditioner",                     "-darcy_ksp_reuse_preconditioner"      },
      {"-darcy_spread 0",                                     "-darcy_spread 0"                      },
      {"-model_precision single",                             "leave -model_precision single out"    },
      {"-darcy_pc_type no-such",                              "no-such"                              }
  };
  KalModel    model = NULL;
  PetscScalar w[4]  = {0.0}, p[1];
  KalStatus   status;

  (void)state;
  for (size_t s = 0; s < PETSC_STATIC_ARRAY_LENGTH(refused); s++) {
    KalCallFails(Make(refused[s][0], &model), refused[s][1]);
    KalCall(PetscOptionsClear(NULL));
    KalCall(KalModelDestroy(&model));
  }
  KalCall(Make("-darcy_cells 2,2", &model));
  KalCallFails(Observe(model, 1, (double[]){0.5, 1.5}, w, p, &status), "lies at 0.5, 1.5");
  KalCall(KalModelDestroy(&model));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(FlowsBalance),
    cmocka_unit_test(ConstantConductivity),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("models darcy", tests)
