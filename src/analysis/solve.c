/*
  The small systems: (M + shift I) x = b through a PETSc KSP that every rank runs on its own, in lockstep,
  and the symmetric inverse root by LAPACK. Where the ranks do not run the same BLAS kernels, rank 0
  solves and sends.
*/
#define _GNU_SOURCE
#include "analysisimpl.h"

#include <dlfcn.h>
#include <petscblaslapack.h>

const char *const KalSpaces[] = {"auto", "ensemble", "observation", "matrix-free", "KalSpace", "KAL_SPACE_", NULL};

PETSC_EXTERN void dsyevd_(const char *, const char *, const PetscBLASInt *, PetscReal *, const PetscBLASInt *, PetscReal *, PetscReal *, const PetscBLASInt *, PetscBLASInt *, const PetscBLASInt *, PetscBLASInt *);

/*@
   KalGetKernels - Names the BLAS at hand and the kernels it runs

   Not Collective

   Input Parameter:
.  length - size of `name`

   Output Parameter:
.  name - file name of the library that dgemm comes from, and OpenBLAS's name of its kernels where it is one

   Note:
   The kernels are asked of the very library that dgemm comes from; another copy loaded beside it does not count.
@*/
PetscErrorCode KalGetKernels(size_t length, char *name)
{
  union {
    void *object;
    char *(*core)(void);
    void (*gemm)(void);
  } symbol;
  Dl_info     info;
  void       *library;
  const char *file = NULL;

  PetscFunctionBeginUser;
  symbol.object = dlsym(RTLD_DEFAULT, "dgemm_");
  if (!symbol.object || !dladdr(symbol.object, &info) || !info.dli_fname) {
    PetscCall(PetscStrncpy(name, "unknown", length));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscStrrchr(info.dli_fname, '/', (char **)&file));
  PetscCall(PetscStrncpy(name, file, length));
  library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  if (!library) PetscFunctionReturn(PETSC_SUCCESS);
  symbol.object = dlsym(library, "openblas_get_corename");
  if (symbol.object) {
    PetscCall(PetscStrlcat(name, " ", length));
    PetscCall(PetscStrlcat(name, symbol.core(), length));
  }
  dlclose(library);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalFromFirst - Numbers of rank 0 on every rank, where ranks run different BLAS kernels; nothing otherwise

  Collective
*/
PetscErrorCode KalFromFirst(KalAnalysis analysis, size_t numbers, PetscReal *x)
{
  PetscFunctionBeginUser;
  for (size_t at = 0; !analysis->uniform && at < numbers; at += 1 << 28) PetscCallMPI(MPI_Bcast(x + at, (PetscMPIInt)PetscMin(numbers - at, (size_t)1 << 28), MPI_DOUBLE, 0, analysis->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Whether every rank names the same kernels. */
static PetscErrorCode SameKernels(MPI_Comm comm, PetscBool *same)
{
  char       name[256];
  PetscInt64 mine, extreme[2];

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(name, sizeof name));
  PetscCall(KalGetKernels(sizeof name, name));
  PetscCall(KalDigest(name, sizeof name, 0, &mine));
  extreme[0] = mine;
  extreme[1] = ~mine; /* the least of ~x is the greatest of x */
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, extreme, 2, MPI_INT64_T, MPI_MIN, comm));
  *same = (PetscBool)(extreme[0] == ~extreme[1]);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  A preconditioner that is not the inverse needs iterations: -analysis_pc_type alone makes them conjugate
  gradients; preonly with it, and a factorization without a matrix, are refused.
*/
static PetscErrorCode CheckSolver(KalAnalysis analysis, PetscBool matrixfree)
{
  PetscBool preonly, direct, asked;
  PC        pc;
  PCType    type;

  PetscFunctionBeginUser;
  PetscCall(KSPGetPC(analysis->ksp, &pc));
  PetscCall(PCGetType(pc, &type));
  PetscCall(PetscObjectTypeCompare((PetscObject)analysis->ksp, KSPPREONLY, &preonly));
  PetscCall(PetscObjectTypeCompareAny((PetscObject)pc, &direct, PCCHOLESKY, PCLU, PCSVD, PCQR, PCREDUNDANT, ""));
  PetscCall(PetscOptionsHasName(NULL, NULL, "-analysis_ksp_type", &asked));
  PetscCheck(!matrixfree || analysis->uniform, analysis->comm, PETSC_ERR_SUP, "-analysis_space matrix-free needs the same BLAS kernels on every rank; these ranks run different ones: set OPENBLAS_CORETYPE, or use another -analysis_space");
  PetscCheck(!matrixfree || !direct, analysis->comm, PETSC_ERR_ARG_INCOMP, "-analysis_pc_type %s factors a matrix, and -analysis_space matrix-free has none; use -analysis_pc_type none", type);
  if (!preonly || direct) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(!asked, analysis->comm, PETSC_ERR_ARG_INCOMP, "-analysis_ksp_type preonly with -analysis_pc_type %s does not solve the system; use cg, or a direct -analysis_pc_type (cholesky, lu)", type);
  PetscCall(KSPSetType(analysis->ksp, KSPCG));
  PetscCall(KSPSetFromOptions(analysis->ksp));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSolverSetUp - Makes the KSP under the prefix analysis_, for a method that solves with one: direct, or conjugate gradients without a matrix
*/
PetscErrorCode KalSolverSetUp(KalAnalysis analysis)
{
  const PetscBool matrixfree = (PetscBool)(analysis->space == KAL_SPACE_MATRIXFREE);
  PC              pc;

  PetscFunctionBeginUser;
  PetscCall(SameKernels(analysis->comm, &analysis->uniform));
  if (!(analysis->takes & KAL_TAKES_SOLVER)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KSPCreate(PETSC_COMM_SELF, &analysis->ksp));
  PetscCall(KSPSetOptionsPrefix(analysis->ksp, "analysis_"));
  PetscCall(KSPGetPC(analysis->ksp, &pc));
  PetscCall(KSPSetType(analysis->ksp, matrixfree ? KSPCG : KSPPREONLY));
  PetscCall(PCSetType(pc, matrixfree ? PCNONE : PCCHOLESKY));
  PetscCall(KSPSetTolerances(analysis->ksp, 1e-10, PETSC_DEFAULT, PETSC_DEFAULT, 10000));
  PetscCall(KSPSetFromOptions(analysis->ksp));
  PetscCall(PetscOptionsHasName(NULL, "analysis_", "-ksp_view", &analysis->kspview));
  PetscCall(CheckSolver(analysis, matrixfree));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The operator (A'A + shift I), A being rows of an ensemble: each product is a fixed-order sum over the blocks. */
typedef struct {
  KalEnsemble      rows;
  PetscInt         N;
  PetscReal        shift;
  const PetscReal *v;
  PetscScalar     *work, *block; /* a product of a block's rows, and a contiguous copy of these */
} KalOperator;

static PetscErrorCode VisitProduct(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalOperator       *op  = (KalOperator *)ctx;
  const PetscReal    one = 1.0, zero = 0.0;
  const PetscScalar *A = rows->x[0];
  PetscBLASInt       count, N, inc = 1;
  PetscInt           j;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(rows->count, &count));
  PetscCall(PetscBLASIntCast(op->N, &N));
  /* OpenBLAS's dgemv, unlike its dgemm, has other bits where 1 to 3 rows are contiguous, and with Prescott's kernels by alignment: always copy them */
  for (j = 0; j < op->N; j++) PetscCall(PetscArraycpy(op->block + (size_t)j * rows->count, A + (size_t)j * rows->ld[0], rows->count));
  PetscCallBLAS("BLASgemv", BLASgemv_("N", &count, &N, &one, op->block, &count, op->v, &inc, &zero, op->work, &inc));
  PetscCallBLAS("BLASgemv", BLASgemv_("T", &count, &N, &one, op->block, &count, op->work, &inc, &zero, sums, &inc));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Multiply(Mat mat, Vec x, Vec y)
{
  KalOperator *op;
  PetscScalar *out;
  PetscInt     i;

  PetscFunctionBeginUser;
  PetscCall(MatShellGetContext(mat, &op));
  PetscCall(VecGetArrayRead(x, &op->v));
  PetscCall(VecGetArray(y, &out));
  PetscCall(KalEnsembleSumRows(1, &op->rows, VisitProduct, op, op->N, out));
  for (i = 0; i < op->N; i++) out[i] += op->shift * op->v[i];
  PetscCall(VecRestoreArray(y, &out));
  PetscCall(VecRestoreArrayRead(x, &op->v));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Converged(KalAnalysis analysis)
{
  KSPConvergedReason reason;
  PetscInt           iterations;

  PetscFunctionBeginUser;
  PetscCall(KSPGetConvergedReason(analysis->ksp, &reason));
  PetscCall(KSPGetIterationNumber(analysis->ksp, &iterations));
  PetscCheck(reason >= 0, analysis->comm, PETSC_ERR_NOT_CONVERGED, "The analysis' linear system was not solved: %s after %" PetscInt_FMT " iterations; look with -analysis_ksp_converged_reason, or solve directly with -analysis_ksp_type preonly -analysis_pc_type cholesky", KSPConvergedReasons[reason], iterations);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* KSPReset() makes a KSP forget that it is to be viewed. */
static PetscErrorCode ViewSolver(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  if (analysis->kspview) PetscCall(KSPViewFromOptions(analysis->ksp, NULL, "-ksp_view"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Sets the KSP up; a matrix that has no factors is told of with what helps. */
static PetscErrorCode Factorize(KalAnalysis analysis)
{
  PetscErrorCode code;

  PetscFunctionBeginUser;
  PetscCall(PetscPushErrorHandler(PetscIgnoreErrorHandler, NULL));
  code = KSPSetUp(analysis->ksp);
  PetscCall(PetscPopErrorHandler());
  PetscCheck(code != PETSC_ERR_MAT_CH_ZRPVT && code != PETSC_ERR_MAT_LU_ZRPVT, analysis->comm, code, "The analysis' linear system is not positive definite to working precision: predictions of members are too far apart beside the errors of observations. Take a shorter step, a larger -observations_noise or more members");
  PetscCall(code);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* KSPMatSolve() tells how the last column fared; iterative solvers do them one after another, and each is asked about. */
static PetscErrorCode SolveColumns(KalAnalysis analysis, Mat A, PetscInt size, PetscInt columns, PetscReal *b, PetscReal *x)
{
  PetscBool direct;
  PetscInt  j;
  Mat       B, X;
  Vec       left, right;

  PetscFunctionBeginUser;
  PetscCall(KSPReset(analysis->ksp));
  PetscCall(KSPSetOperators(analysis->ksp, A, A));
  PetscCall(Factorize(analysis));
  PetscCall(PetscObjectTypeCompare((PetscObject)analysis->ksp, KSPPREONLY, &direct));
  if (direct && columns > 1) {
    PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, size, columns, b, &B));
    PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, size, columns, x, &X));
    PetscCall(KSPMatSolve(analysis->ksp, B, X));
    PetscCall(MatDestroy(&X));
    PetscCall(MatDestroy(&B));
    PetscCall(Converged(analysis));
    PetscCall(ViewSolver(analysis));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (j = 0; j < columns; j++) {
    PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, size, b + (size_t)j * size, &right));
    PetscCall(VecCreateSeqWithArray(PETSC_COMM_SELF, 1, size, x + (size_t)j * size, &left));
    PetscCall(KSPSolve(analysis->ksp, right, left));
    PetscCall(VecDestroy(&left));
    PetscCall(VecDestroy(&right));
    PetscCall(Converged(analysis));
  }
  PetscCall(ViewSolver(analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The matrix' diagonal is shifted and put back, so that no second matrix is needed. */
static PetscErrorCode SolveAssembled(KalAnalysis analysis, PetscInt size, PetscReal *matrix, PetscReal shift, PetscInt columns, PetscReal *b, PetscReal *x)
{
  PetscReal *diagonal;
  PetscInt   i;
  Mat        A;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(size, &diagonal));
  for (i = 0; i < size; i++) {
    diagonal[i] = matrix[i + (size_t)i * size];
    matrix[i + (size_t)i * size] += shift;
  }
  PetscCall(MatCreateSeqDense(PETSC_COMM_SELF, size, size, matrix, &A));
  PetscCall(MatSetOption(A, MAT_SPD, PETSC_TRUE));
  PetscCall(SolveColumns(analysis, A, size, columns, b, x));
  PetscCall(MatDestroy(&A));
  for (i = 0; i < size; i++) matrix[i + (size_t)i * size] = diagonal[i];
  PetscCall(PetscFree(diagonal));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSolve - Solves (M + shift I) X = B for `columns` right-hand sides, on every rank with the same bits

  Collective. M is `matrix` (size x size, symmetric; its diagonal is shifted and restored), or, matrix-free, A'A with A the rows of an ensemble.
*/
PetscErrorCode KalSolve(KalAnalysis analysis, KalSpace space, PetscInt size, PetscReal *matrix, PetscReal shift, KalEnsemble rows, PetscInt columns, PetscReal *b, PetscReal *x)
{
  const size_t   numbers = (size_t)size * columns;
  KalOperator    op      = {.rows = rows, .N = size, .shift = shift};
  PetscErrorCode error   = PETSC_SUCCESS;
  PetscInt       block;
  int            bad;
  Mat            A;

  PetscFunctionBeginUser;
  PetscCheck(analysis->ksp, analysis->comm, PETSC_ERR_PLIB, "%s solves a linear system, but its create function does not say KAL_TAKES_SOLVER", analysis->type);
  PetscCall(KalEventBegin(KAL_EVENT_SOLVE));
  PetscCall(PetscArrayzero(x, numbers));
  if (space == KAL_SPACE_MATRIXFREE) {
    PetscCall(KalEnsembleGetBlocks(rows, &block, NULL));
    PetscCall(PetscMalloc2(block, &op.work, (size_t)block * size, &op.block));
    PetscCall(MatCreateShell(PETSC_COMM_SELF, size, size, size, size, &op, &A));
    PetscCall(MatShellSetOperation(A, MATOP_MULT, (KalOperation)Multiply));
    PetscCall(MatSetOption(A, MAT_SYMMETRIC, PETSC_TRUE));
    PetscCall(SolveColumns(analysis, A, size, columns, b, x)); /* collective inside: never on one rank alone */
    PetscCall(MatDestroy(&A));
    PetscCall(PetscFree2(op.work, op.block));
    PetscCall(KalEventEnd(KAL_EVENT_SOLVE));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  if (analysis->uniform || analysis->rank == 0) error = SolveAssembled(analysis, size, matrix, shift, columns, b, x);
  if (!analysis->uniform) {
    bad = (int)error;
    PetscCallMPI(MPI_Bcast(&bad, 1, MPI_INT, 0, analysis->comm)); /* nobody waits for a solution that rank 0 does not have */
    error = (PetscErrorCode)bad;
    if (!bad) PetscCall(KalFromFirst(analysis, numbers, x));
  }
  PetscCall(error);
  PetscCall(KalEventEnd(KAL_EVENT_SOLVE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Work space of dsyevd for matrices of one order, kept until another order comes. */
static PetscErrorCode ReserveEigen(KalAnalysis analysis, PetscBLASInt n)
{
  PetscBLASInt lwork = -1, liwork = -1, info = 0, isize = 0;
  PetscReal    size = 0.0;

  PetscFunctionBeginUser;
  if (analysis->eigenorder == n) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalSolverReset(analysis));
  dsyevd_("V", "L", &n, NULL, &n, NULL, &size, &lwork, &isize, &liwork, &info);
  analysis->eigenlwork  = (PetscBLASInt)size;
  analysis->eigenliwork = isize;
  PetscCall(PetscMalloc2(analysis->eigenlwork, &analysis->eigenwork, analysis->eigenliwork, &analysis->eigeniwork));
  analysis->eigenorder = n;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalSolverReset - Gives back the work space of KalEigen()
*/
PetscErrorCode KalSolverReset(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(analysis->eigenwork, analysis->eigeniwork));
  analysis->eigenorder = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalEigen - Eigenvalues, ascending, and eigenvectors of a symmetric matrix, by LAPACK's dsyevd, on every rank with the same bits

  Collective. S is N x N, of which the lower triangle is read; V (N x N) may be S. Of the drivers dsyev, dsyevd and dsyevr this one is the
  fastest for 30 rows and more, and as fast as the first below (N = 24: 39 microseconds, with OpenBLAS 0.3.21).
*/
PetscErrorCode KalEigen(KalAnalysis analysis, PetscInt N, const PetscReal *S, PetscReal *value, PetscReal *V)
{
  PetscBLASInt n, info = 0;

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_SOLVE));
  PetscCall(PetscBLASIntCast(N, &n));
  if (analysis->uniform || analysis->rank == 0) {
    PetscCall(ReserveEigen(analysis, n));
    if (V != S) PetscCall(PetscArraycpy(V, S, (size_t)N * N));
    PetscCall(PetscFPTrapPush(PETSC_FP_TRAP_OFF));
    dsyevd_("V", "L", &n, V, &n, value, analysis->eigenwork, &analysis->eigenlwork, analysis->eigeniwork, &analysis->eigenliwork, &info);
    PetscCall(PetscFPTrapPop());
  }
  if (!analysis->uniform) {
    PetscCall(KalFromFirst(analysis, (size_t)N * N, V));
    PetscCall(KalFromFirst(analysis, N, value));
    PetscCallMPI(MPI_Bcast(&info, 1, MPI_INT, 0, analysis->comm));
  }
  PetscCheck(!info, analysis->comm, PETSC_ERR_LIB, "LAPACK's dsyevd did not diagonalize the %" PetscInt_FMT " x %" PetscInt_FMT " Gram matrix: info = %d; its entries are not finite, or the BLAS is faulty", N, N, (int)info);
  PetscCall(KalEventEnd(KAL_EVENT_SOLVE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInverseRoot - The symmetric root (I + step S)^{-1/2} on every rank with the same bits

  Collective. S is N x N, symmetric and positive semidefinite; eigenvalues that rounding made negative count as 0.
*/
PetscErrorCode KalInverseRoot(KalAnalysis analysis, PetscInt N, const PetscReal *S, PetscReal step, PetscReal *root)
{
  const size_t    NN  = (size_t)N * N;
  const PetscReal one = 1.0, zero = 0.0;
  PetscBLASInt    n;
  PetscReal      *V, *scaled, *value;
  PetscInt        i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(N, &n));
  PetscCall(PetscMalloc3(NN, &V, NN, &scaled, N, &value));
  PetscCall(KalEigen(analysis, N, S, value, V));
  for (j = 0; j < N; j++) {
    const PetscReal factor = 1.0 / PetscSqrtReal(1.0 + step * PetscMax(0.0, value[j]));

    for (i = 0; i < N; i++) scaled[i + (size_t)j * N] = factor * V[i + (size_t)j * N];
  }
  PetscCallBLAS("BLASgemm", BLASgemm_("N", "T", &n, &n, &n, &one, scaled, &n, V, &n, &zero, root, &n));
  PetscCall(KalFromFirst(analysis, (size_t)N * N, root));
  PetscCall(PetscFree3(V, scaled, value));
  PetscFunctionReturn(PETSC_SUCCESS);
}
