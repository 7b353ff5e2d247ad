/*
  From predictions to small matrices: one pass over the rows of the predictions, whitened by the loss,
  gives every product that a method needs; a fixed-order sum over the blocks makes them the same on any
  number of ranks.
*/
#include "analysisimpl.h"

#include <petscblaslapack.h>

#define KAL_RUNNING 32 /* sums that go side by side */

/* Where each sum stands in the array that is summed over blocks; -1 where it is not taken. */
typedef struct {
  PetscInt diagonal, d, scalars, misfit, gram, cross, perturbed, count;
} KalLayout;

typedef struct {
  KalAnalysis    analysis;
  const KalTold *told;
  KalInnovation *innovation;
  PetscInt       center;
  PetscBool      residuals, keep; /* take R; leave A where the predictions were */
  KalLayout      at;
  PetscScalar   *anomalies, *residual, *members, *noise; /* work of a block */
  KalGram        gram;                                   /* of a block, before it is packed */
} KalPass;

static PetscInt Take(PetscInt *count, PetscBool wanted, PetscInt numbers)
{
  const PetscInt at = *count;

  if (!wanted) return -1;
  *count += numbers;
  return at;
}

/* Whitened perturbations of the block's observations: entry i of member j is normal i of member j's key. */
static PetscErrorCode Perturb(const KalPass *pass, PetscInt first, PetscInt count, PetscScalar *noise)
{
  const KalInnovation *in  = pass->innovation;
  KalKey               key = {pass->analysis->seed, KAL_DRAW_OBSERVATION, pass->told->cycle, 0};
  PetscInt             j;

  PetscFunctionBeginUser;
  for (j = 0; j < in->N; j++) {
    key.member = j;
    if (in->status[j] == KAL_MEMBER_OK) PetscCall(KalDrawNormal(key, first, count, noise + (size_t)j * count));
    else PetscCall(PetscArrayzero(noise + (size_t)j * count, count));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The lower triangle of A'A, packed column by column. */
static PetscErrorCode PutGram(KalPass *pass, PetscInt rows, PetscReal *packed)
{
  const KalGram *gram = &pass->gram;

  PetscFunctionBeginUser;
  PetscCall(KalGramTake(&pass->gram, rows, pass->anomalies, pass->anomalies));
  for (PetscInt j = 0; j < gram->N; j++) {
    PetscCall(PetscArraycpy(packed, gram->product + (size_t)j * gram->high + j, gram->N - j));
    packed += gram->N - j;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PutCross(KalPass *pass, PetscInt rows, const PetscScalar *right, PetscReal *sum)
{
  const KalGram *gram = &pass->gram;

  PetscFunctionBeginUser;
  PetscCall(KalGramTake(&pass->gram, rows, pass->anomalies, right));
  for (PetscInt j = 0; j < gram->N; j++) PetscCall(PetscArraycpy(sum + (size_t)j * gram->N, gram->product + (size_t)j * gram->high, gram->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* a'a and a'r of some columns, in running sums that vectorize. */
KAL_WIDER static void ColumnSums(PetscInt rows, PetscInt N, const PetscScalar *a, const PetscScalar *r, PetscReal *restrict aa, PetscReal *restrict ar)
{
  for (PetscInt j = 0; j < N; j++, a += rows) {
    PetscReal s[2][KAL_RUNNING] = {{0.0}};
    PetscInt  i, l;

    for (i = 0; i + KAL_RUNNING <= rows; i += KAL_RUNNING) {
      for (l = 0; l < KAL_RUNNING; l++) s[0][l] += a[i + l] * a[i + l];
      for (l = 0; l < KAL_RUNNING; l++) s[1][l] += a[i + l] * r[i + l];
    }
    for (l = 0; i + l < rows; l++) {
      s[0][l] += a[i + l] * a[i + l];
      s[1][l] += a[i + l] * r[i + l];
    }
    aa[j] = ar[j] = 0.0;
    for (l = 0; l < KAL_RUNNING; l++) {
      aa[j] += s[0][l];
      ar[j] += s[1][l];
    }
  }
}

static PetscErrorCode VectorSums(const KalPass *pass, PetscInt rows, PetscReal loss, PetscInt rejected, PetscReal *sums)
{
  const PetscInt N = pass->innovation->N;
  PetscInt       i, j;

  PetscFunctionBeginUser;
  ColumnSums(rows, N, pass->anomalies, pass->residual, sums + pass->at.diagonal, sums + pass->at.d);
  sums[pass->at.scalars] = loss;
  for (i = 0; i < rows; i++) sums[pass->at.scalars + 1] += pass->residual[i] * pass->residual[i];
  sums[pass->at.scalars + 2] = (PetscReal)rejected;
  if (pass->at.misfit < 0) PetscFunctionReturn(PETSC_SUCCESS);
  for (j = 0; j < N; j++) {
    const PetscScalar *r = pass->members + (size_t)j * rows;

    for (i = 0; i < rows; i++) sums[pass->at.misfit + j] += r[i] * r[i];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitRows(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalPass       *pass  = (KalPass *)ctx;
  KalInnovation *in    = pass->innovation;
  KalWhitening   white = {.rows = rows, .members = in->N, .center = pass->center, .status = in->status, .active = in->active, .scale = in->scale, .anomalies = pass->anomalies, .residual = pass->residual, .residuals = pass->residuals ? pass->members : NULL};

  PetscFunctionBeginUser;
  PetscCall(KalEventBegin(KAL_EVENT_WHITEN));
  PetscCall(KalObservationsWhiten(pass->told->observations, pass->told->batch, &white));
  PetscCall(VectorSums(pass, rows->count, white.loss, white.rejected, sums));
  PetscCall(KalEventEnd(KAL_EVENT_WHITEN));
  PetscCall(KalEventBegin(KAL_EVENT_GRAM));
  if (pass->at.gram >= 0) PetscCall(PutGram(pass, rows->count, sums + pass->at.gram));
  if (pass->at.cross >= 0) PetscCall(PutCross(pass, rows->count, pass->members, sums + pass->at.cross));
  if (pass->at.perturbed >= 0) {
    PetscCall(Perturb(pass, rows->first, rows->count, pass->noise));
    PetscCall(PutCross(pass, rows->count, pass->noise, sums + pass->at.perturbed));
  }
  PetscCall(KalEventEnd(KAL_EVENT_GRAM));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Puts A in the place of the predictions, R in that of a second ensemble, r in its own array. */
static PetscErrorCode VisitKeep(void *ctx, const KalRows *rows)
{
  KalPass       *pass  = (KalPass *)ctx;
  KalInnovation *in    = pass->innovation;
  KalWhitening   white = {.rows = rows, .members = in->N, .center = pass->center, .status = in->status, .active = in->active, .scale = in->scale, .anomalies = pass->anomalies, .residual = pass->residual, .residuals = rows->ensembles > 1 ? pass->members : NULL};
  PetscInt       j;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsWhiten(pass->told->observations, pass->told->batch, &white));
  for (j = 0; j < in->N; j++) {
    PetscCall(PetscArraycpy(rows->x[0] + (size_t)j * rows->ld[0], pass->anomalies + (size_t)j * rows->count, rows->count));
    if (rows->ensembles > 1) PetscCall(PetscArraycpy(rows->x[1] + (size_t)j * rows->ld[1], pass->members + (size_t)j * rows->count, rows->count));
  }
  for (; j < rows->members[0]; j++) PetscCall(PetscArrayzero(rows->x[0] + (size_t)j * rows->ld[0], rows->count));
  if (in->r) PetscCall(PetscArraycpy(in->r + rows->first, pass->residual, rows->count));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PassCreate(KalPass *pass)
{
  KalInnovation *in = pass->innovation;
  PetscInt       rows;
  size_t         size;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetBlocks(in->predictions, &rows, NULL));
  size = (size_t)rows * in->N;
  PetscCall(PetscMalloc2(size, &pass->anomalies, rows, &pass->residual));
  PetscCall(PetscMalloc1(size, &pass->members));
  if (pass->at.perturbed >= 0) PetscCall(PetscMalloc1(size, &pass->noise));
  if (pass->at.gram >= 0 || pass->at.cross >= 0 || pass->at.perturbed >= 0) PetscCall(KalGramCreate(in->N, &pass->gram));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode PassDestroy(KalPass *pass)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree2(pass->anomalies, pass->residual));
  PetscCall(PetscFree(pass->members));
  PetscCall(PetscFree(pass->noise));
  PetscCall(KalGramDestroy(&pass->gram));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Full symmetric S out of its packed lower triangle. */
static PetscErrorCode Unpack(PetscInt N, const PetscReal *packed, PetscReal *S)
{
  PetscInt i, j;

  PetscFunctionBeginUser;
  for (j = 0; j < N; j++) {
    for (i = j; i < N; i++, packed++) S[i + (size_t)j * N] = S[j + (size_t)i * N] = *packed;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* D = d 1' - S/scale where residuals are affine in the predictions; columns of failed members are zero. */
static PetscErrorCode AffineCross(KalInnovation *in)
{
  PetscInt k, j;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1((size_t)in->N * in->N, &in->D));
  for (j = 0; j < in->N; j++) {
    PetscReal       *D  = in->D + (size_t)j * in->N;
    const PetscReal *S  = in->S + (size_t)j * in->N;
    const PetscBool  ok = (PetscBool)(in->status[j] == KAL_MEMBER_OK);

    for (k = 0; k < in->N; k++) D[k] = ok ? in->d[k] - S[k] / in->scale : 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Unfold(KalPass *pass, const PetscReal *sums)
{
  KalInnovation *in = pass->innovation;
  const size_t   NN = (size_t)in->N * in->N;
  PetscInt       j;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(in->N, &in->d, in->N, &in->diagonal, in->N, &in->misfit));
  PetscCall(PetscArraycpy(in->d, sums + pass->at.d, in->N));
  PetscCall(PetscArraycpy(in->diagonal, sums + pass->at.diagonal, in->N));
  in->loss  = sums[pass->at.scalars];
  in->rr    = sums[pass->at.scalars + 1];
  in->taken = in->p - (PetscInt)sums[pass->at.scalars + 2];
  for (j = 0; j < in->N; j++) {
    in->trace += in->diagonal[j];
    if (pass->at.misfit >= 0) in->misfit[j] = sums[pass->at.misfit + j];
    else in->misfit[j] = in->status[j] == KAL_MEMBER_OK ? PetscMax(0.0, in->rr - 2.0 * in->d[j] / in->scale + in->diagonal[j] / (in->scale * in->scale)) : 0.0;
  }
  if (pass->at.gram >= 0) {
    PetscCall(PetscMalloc1(NN, &in->S));
    PetscCall(Unpack(in->N, sums + pass->at.gram, in->S));
  }
  if (pass->at.cross >= 0) {
    PetscCall(PetscMalloc1(NN, &in->D));
    PetscCall(PetscArraycpy(in->D, sums + pass->at.cross, NN));
  }
  if (pass->at.perturbed >= 0) {
    PetscCall(PetscMalloc1(NN, &in->P));
    PetscCall(PetscArraycpy(in->P, sums + pass->at.perturbed, NN));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Every rank gets A, r and, where they are no function of these, R; in observation space p < N, so no more than S would be. */
static PetscErrorCode GatherObservationSpace(KalPass *pass, PetscInt wants)
{
  KalInnovation *in      = pass->innovation;
  KalEnsemble    both[2] = {in->predictions, NULL};
  PetscInt       columns, i, j;
  PetscScalar   *all;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetSizes(in->predictions, NULL, &columns));
  PetscCall(PetscMalloc1(in->p, &in->r));
  if (wants & KAL_WANT_MEMBERS && !in->affine) PetscCall(KalEnsembleDuplicate(in->predictions, &both[1]));
  PetscCall(KalEnsembleMapRows(both[1] ? 2 : 1, both, VisitKeep, pass));
  PetscCall(KalEnsembleGatherBlocks(in->predictions, in->r));
  PetscCall(PetscMalloc1((size_t)in->p * columns, &in->A));
  PetscCall(KalEnsembleGatherRows(in->predictions, in->A));
  if (wants & KAL_WANT_MEMBERS) {
    PetscCall(PetscMalloc1((size_t)in->p * columns, &all));
    if (both[1]) PetscCall(KalEnsembleGatherRows(both[1], all));
    else {
      for (j = 0; j < in->N; j++) {
        for (i = 0; i < in->p; i++) all[i + (size_t)j * in->p] = in->status[j] == KAL_MEMBER_OK ? in->r[i] - in->A[i + (size_t)j * in->p] / in->scale : 0.0;
      }
    }
    in->R = all;
  }
  PetscCall(KalEnsembleDestroy(&both[1]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInnovationSpace - The space of the linear system for N members and p observations; a system that is too large is refused
*/
PetscErrorCode KalInnovationSpace(KalAnalysis analysis, PetscInt N, PetscInt p, KalSpace *space)
{
  PetscFunctionBeginUser;
  *space = analysis->space;
  if (*space == KAL_SPACE_AUTO) *space = p < N ? KAL_SPACE_OBSERVATION : KAL_SPACE_ENSEMBLE;
  PetscCheck(*space != KAL_SPACE_ENSEMBLE || N <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "A system in ensemble space has the size N = %" PetscInt_FMT "; at most %d is possible: use fewer members, a batch with fewer observations than members, or -analysis_space matrix-free", N, KAL_MOST_SYSTEM);
  PetscCheck(*space != KAL_SPACE_OBSERVATION || p <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "A system in observation space has the size p = %" PetscInt_FMT "; at most %d is possible: use -analysis_space ensemble, a smaller -observations_batch or no correction of the correlations", p, KAL_MOST_SYSTEM);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInnovationCreate - Takes the products that a method needs from the predictions it was told

  Collective. `center` is the column that predicts for the mean (then the members are those before it), or
  -1; `scale` 0 stands for 1/sqrt(active - 1). In observation space and matrix-free the predictions
  are overwritten by the whitened anomalies.
*/
PetscErrorCode KalInnovationCreate(KalAnalysis analysis, const KalTold *told, PetscInt center, PetscReal scale, PetscInt wants, KalInnovation *in)
{
  const PetscBool members = (PetscBool)((wants & KAL_WANT_MEMBERS) != 0);
  PetscBool       gram, cross, perturbed;
  KalPass         pass = {.analysis = analysis, .told = told, .innovation = in, .center = center};
  PetscReal      *sums;
  PetscInt        j;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(in, sizeof *in));
  in->predictions = told->predictions;
  in->status      = told->status;
  PetscCall(KalEnsembleGetSizes(told->predictions, &in->p, &in->N));
  if (center >= 0) in->N = center;
  for (j = 0; j < in->N; j++) in->active += told->status[j] == KAL_MEMBER_OK;
  in->scale = scale > 0.0 ? scale : 1.0 / PetscSqrtReal((PetscReal)PetscMax(1, in->active - 1));
  PetscCall(KalObservationsGetLoss(told->observations, NULL, NULL, &in->affine));
  if (center >= 0) in->affine = PETSC_FALSE;
  PetscCall(KalInnovationSpace(analysis, in->N, in->p, &in->space));

  gram             = (PetscBool)(in->space == KAL_SPACE_ENSEMBLE || (wants & KAL_WANT_GRAM) != 0 || (in->space == KAL_SPACE_MATRIXFREE && members && in->affine));
  cross            = (PetscBool)(members && !in->affine && in->space != KAL_SPACE_OBSERVATION);
  pass.residuals   = (PetscBool)(members && !in->affine);
  pass.at.diagonal = Take(&pass.at.count, PETSC_TRUE, in->N);
  pass.at.d        = Take(&pass.at.count, PETSC_TRUE, in->N);
  pass.at.scalars  = Take(&pass.at.count, PETSC_TRUE, 3);
  pass.at.misfit   = Take(&pass.at.count, pass.residuals, in->N);
  perturbed        = (PetscBool)((wants & KAL_WANT_NOISE) != 0 || ((wants & KAL_WANT_PERTURBED) != 0 && in->space != KAL_SPACE_OBSERVATION));
  PetscCheck(!(gram || cross || perturbed) || in->N <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%" PetscInt_FMT " members are too many for N x N products; at most %d are possible", in->N, KAL_MOST_SYSTEM);
  pass.at.gram      = Take(&pass.at.count, gram, gram ? in->N * (in->N + 1) / 2 : 0);
  pass.at.cross     = Take(&pass.at.count, cross, cross ? in->N * in->N : 0);
  pass.at.perturbed = Take(&pass.at.count, perturbed, perturbed ? in->N * in->N : 0);

  PetscCall(PassCreate(&pass));
  PetscCall(PetscMalloc1(pass.at.count, &sums));
  PetscCall(KalEnsembleSumRows(1, &in->predictions, VisitRows, &pass, pass.at.count, sums));
  PetscCall(Unfold(&pass, sums));
  PetscCall(PetscFree(sums));
  if (members && in->affine && in->S) PetscCall(AffineCross(in));
  if (in->space == KAL_SPACE_OBSERVATION || wants & KAL_WANT_ANOMALIES) PetscCall(GatherObservationSpace(&pass, wants));
  if (in->space == KAL_SPACE_MATRIXFREE) PetscCall(KalEnsembleMapRows(1, &in->predictions, VisitKeep, &pass));
  PetscCall(PassDestroy(&pass));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalInnovationDestroy(KalInnovation *in)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(in->d, in->diagonal, in->misfit));
  PetscCall(PetscFree(in->S));
  PetscCall(PetscFree(in->D));
  PetscCall(PetscFree(in->P));
  PetscCall(PetscFree(in->A));
  PetscCall(PetscFree(in->r));
  PetscCall(PetscFree(in->R));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInnovationScale - Makes the products what they are for anomalies that are multiplied by a factor, the residual at the mean staying as it is

  Not for a method that takes D.
*/
PetscErrorCode KalInnovationScale(PetscReal factor, KalInnovation *in)
{
  const size_t NN = (size_t)in->N * in->N, pN = (size_t)in->p * in->N;
  size_t       i;

  PetscFunctionBeginUser;
  if (factor == 1.0) PetscFunctionReturn(PETSC_SUCCESS);
  for (i = 0; i < (size_t)in->N; i++) {
    in->d[i] *= factor;
    in->diagonal[i] *= factor * factor;
  }
  in->trace *= factor * factor;
  for (i = 0; in->S && i < NN; i++) in->S[i] *= factor * factor;
  for (i = 0; in->P && i < NN; i++) in->P[i] *= factor;
  for (i = 0; in->A && i < pN; i++) in->A[i] *= factor;
  for (i = 0; in->R && in->affine && i < pN; i++) in->R[i] = in->status[i / (size_t)in->p] == KAL_MEMBER_OK ? in->r[i % (size_t)in->p] - in->A[i] / in->scale : 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInnovationNorm - Frobenius norm of D = A'R, for the adaptive time step

  Collective; the same on every rank.
*/
PetscErrorCode KalInnovationNorm(KalAnalysis analysis, const KalInnovation *in, PetscReal *norm)
{
  const size_t    NN  = (size_t)in->N * in->N;
  const PetscReal one = 1.0, zero = 0.0;
  PetscReal      *D = in->D, square = 0.0;
  PetscBLASInt    N, p;
  size_t          i;

  PetscFunctionBeginUser;
  if (!D) {
    PetscCall(PetscBLASIntCast(in->N, &N));
    PetscCall(PetscBLASIntCast(in->p, &p));
    PetscCall(PetscMalloc1(NN, &D));
    PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &N, &N, &p, &one, in->A, &p, in->R, &p, &zero, D, &N));
  }
  for (i = 0; i < NN; i++) square += D[i] * D[i];
  *norm = PetscSqrtReal(square);
  PetscCall(KalFromFirst(analysis, 1, norm));
  if (!in->D) PetscCall(PetscFree(D));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInnovationSides - Right-hand sides in observation space: r, or R with perturbations
*/
PetscErrorCode KalInnovationSides(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscInt columns, PetscReal perturbed, PetscScalar *b)
{
  KalInnovation copy = *in;
  const KalPass pass = {.analysis = analysis, .told = told, .innovation = &copy};
  const size_t  size = (size_t)in->p * columns;
  PetscScalar  *noise;
  size_t        i;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(b, columns == 1 ? in->r : in->R, size));
  if (perturbed == 0.0) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(size, &noise));
  PetscCall(Perturb(&pass, 0, in->p, noise));
  for (i = 0; i < size; i++) b[i] += perturbed * noise[i];
  PetscCall(PetscFree(noise));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* W = A' (A A' + shift I)^{-1} R, equal to (S + shift I)^{-1} A' R. */
static PetscErrorCode SolveObservation(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal shift, PetscInt columns, PetscReal perturbed, PetscReal *W)
{
  const PetscReal one = 1.0, zero = 0.0;
  PetscBLASInt    N, p, k;
  PetscReal      *M, *b, *x;
  PetscInt        i, j;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(in->N, &N));
  PetscCall(PetscBLASIntCast(in->p, &p));
  PetscCall(PetscBLASIntCast(columns, &k));
  PetscCall(PetscMalloc3((size_t)p * p, &M, (size_t)p * columns, &b, (size_t)p * columns, &x));
  PetscCallBLAS("BLASsyrk", BLASsyrk_("L", "N", &p, &N, &one, in->A, &p, &zero, M, &p));
  for (j = 0; j < p; j++) {
    for (i = j + 1; i < p; i++) M[j + (size_t)i * p] = M[i + (size_t)j * p];
  }
  PetscCall(KalInnovationSides(analysis, told, in, columns, perturbed, b));
  PetscCall(KalSolve(analysis, KAL_SPACE_OBSERVATION, in->p, M, shift, NULL, columns, b, x));
  PetscCallBLAS("BLASgemm", BLASgemm_("T", "N", &N, &k, &p, &one, in->A, &p, x, &p, &zero, W, &N));
  PetscCall(KalFromFirst(analysis, (size_t)in->N * columns, W));
  PetscCall(PetscFree3(M, b, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalInnovationSolve - Solves (S + shift I) W = A'(R + perturbed Xi) in the space that was chosen

  Collective. `columns` is 1 (the residual at the mean, R = r) or N (those of the members).
*/
PetscErrorCode KalInnovationSolve(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, PetscReal shift, PetscInt columns, PetscReal perturbed, PetscReal *W)
{
  const size_t size = (size_t)in->N * columns;
  PetscReal   *b;
  size_t       i;

  PetscFunctionBeginUser;
  if (in->space == KAL_SPACE_OBSERVATION) {
    PetscCall(SolveObservation(analysis, told, in, shift, columns, perturbed, W));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(PetscMalloc1(size, &b));
  PetscCall(PetscArraycpy(b, columns == 1 ? in->d : in->D, size));
  if (perturbed != 0.0) {
    for (i = 0; i < size; i++) b[i] += perturbed * in->P[i];
  }
  PetscCall(KalSolve(analysis, in->space, in->N, in->S, shift, in->predictions, columns, b, W));
  PetscCall(PetscFree(b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalCheckPerturbed - Refuses observations without the Gaussian noise that `what`, a method or an option of one, perturbs them by
*/
PetscErrorCode KalCheckPerturbed(KalAnalysis analysis, KalObservations observations, const char *what)
{
  KalLossType loss;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetLoss(observations, &loss, NULL, NULL));
  PetscCheck(loss == KAL_LOSS_SQUARED, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s with -observations_loss %s: class labels and counts have no Gaussian noise to perturb them by; use the squared loss, or a method that does not perturb, as etki", what, KalLossTypes[loss]);
  PetscFunctionReturn(PETSC_SUCCESS);
}
