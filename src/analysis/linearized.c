/*
  Statistical linearization in the ensemble space. In the prior's metric, v = P^{-1/2} u, the model's derivative is H = E V_X^+ of the predictions'
  anomalies E and the members' V_X = P^{-1/2} X. With V_X'V_X = Y L Y' (rank q, at most n and N - 1), the columns of
  V = V_X Y L^{-1/2} are orthonormal, H = J V' with J = E Y L^{-1/2}, and all that is solved is q x q.
*/
#include "linearized.h"

typedef struct {
  char      prefix[16];
  PetscReal step, truncation;
  KalPrior  prior;
  PetscReal time; /* survives a restart */
  KalLinearized (*method)(PetscReal step);
  /* of the cycle in hand */
  PetscInt   cycle, active;
  KalStatus *status;
  PetscReal *T;
  PetscReal *z; /* a block's draws of one member */
} KalLinearization;

static const char *Option(const KalLinearization *lin, const char *name)
{
  static char text[64];

  (void)PetscSNPrintf(text, sizeof text, "-%s_%s", lin->prefix, name);
  return text;
}

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalLinearization *lin = (KalLinearization *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsReal(Option(lin, "step"), "Step length", NULL, lin->step, &lin->step, NULL));
  PetscCall(PetscOptionsReal(Option(lin, "truncation"), "Directions with less than this part of the largest variance, in the prior's units, are left out of the linearization", NULL, lin->truncation, &lin->truncation, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalLinearization *lin = (KalLinearization *)analysis->data;
  const PetscInt    N   = analysis->N;

  PetscFunctionBeginUser;
  PetscCheck(lin->step > 0.0 && lin->step <= 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: the step length must be above 0 and at most 1", Option(lin, "step"), (double)lin->step);
  PetscCheck(lin->truncation > 0.0 && lin->truncation < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must be above 0 and less than 1", Option(lin, "truncation"), (double)lin->truncation);
  PetscCheck(N <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_size %" PetscInt_FMT " is too large: %s makes N x N weights, for at most %d members", N, analysis->type, KAL_MOST_SYSTEM);
  analysis->space        = KAL_SPACE_ENSEMBLE;
  analysis->needs.least  = 2;
  analysis->needs.points = N;
  PetscCall(KalPriorCreate(analysis, &lin->prior));
  PetscCall(PetscMalloc2(N, &lin->status, (size_t)N * N, &lin->T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  PetscReal k;

  PetscFunctionBeginUser;
  PetscCall(KalCheckPerturbed(analysis, observations, analysis->type));
  PetscCall(KalObservationsGetReject(observations, &k));
  PetscCheck(k == 0.0, analysis->comm, PETSC_ERR_ARG_INCOMP, "-observations_reject %g: %s goes over the same observations again and again, and would leave out others each time; leave it out", (double)k, analysis->type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalLinearization *lin = (KalLinearization *)analysis->data;

  PetscFunctionBeginUser;
  lin->cycle = cycle;
  PetscCall(KalPriorBegin(analysis, &lin->prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* B = Y L^{-1/2}, N x q, of the directions that carry variance; ascending eigenvalues, the last q. */
static PetscErrorCode Basis(KalAnalysis analysis, PetscReal truncation, PetscInt N, const PetscReal *G, PetscReal *B, PetscInt *q)
{
  PetscReal *value, *Y, least;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2(N, &value, (size_t)N * N, &Y));
  PetscCall(KalEigen(analysis, N, G, value, Y));
  least = truncation * value[N - 1];
  PetscCheck(value[N - 1] > 0.0, analysis->comm, PETSC_ERR_FP, "All members are the same, and %s takes the model's derivative from their differences: begin with members that are spread", analysis->type);
  *q = 0;
  for (PetscInt j = 0; j < N; j++) {
    if (value[j] <= least) continue;
    for (PetscInt i = 0; i < N; i++) B[i + (size_t)*q * N] = Y[i + (size_t)j * N] / PetscSqrtReal(value[j]);
    (*q)++;
  }
  PetscCall(PetscFree2(value, Y));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* W = B w (N x N), w as in linearized.h; D holds A'(r_j + perturbations), pull the X'P^{-1} (m_j - u_j). */
static PetscErrorCode Weights(KalAnalysis analysis, const KalLinearized *method, PetscInt N, PetscInt q, const PetscReal *B, const PetscReal *S, PetscReal *D, const PetscReal *pull, PetscReal *W)
{
  PetscReal *SB, *system, *right, *x, *b;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc5((size_t)N * q, &SB, (size_t)q * q, &system, (size_t)q * N, &right, (size_t)q * N, &x, (size_t)q * N, &b));
  PetscCall(KalMultiply("NN", N, q, N, 1.0, S, B, 0.0, SB));
  PetscCall(KalMultiply("TN", q, q, N, 1.0, B, SB, 0.0, system));
  PetscCall(PetscArrayzero(b, (size_t)q * N));
  if (method->pull > 0.0) {
    PetscCall(KalMultiply("TN", q, N, N, 1.0, B, pull, 0.0, b));
    for (size_t i = 0; i < (size_t)N * N; i++) D[i] += pull[i];
  }
  PetscCall(KalMultiply("TN", q, N, N, 1.0, B, D, 0.0, right));
  PetscCall(KalSolve(analysis, KAL_SPACE_ENSEMBLE, q, system, method->shift, NULL, N, right, x));
  for (size_t i = 0; i < (size_t)q * N; i++) x[i] = method->factor * x[i] - method->pull * b[i];
  PetscCall(KalMultiply("NN", N, N, q, 1.0, B, x, 0.0, W));
  PetscCall(KalFromFirst(analysis, (size_t)N * N, W));
  PetscCall(PetscFree5(SB, system, right, x, b));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Transform(KalAnalysis analysis, const KalTold *told, KalInnovation *in)
{
  KalLinearization   *lin    = (KalLinearization *)analysis->data;
  const KalLinearized method = lin->method(lin->step);
  const PetscReal     spread = PetscSqrtReal(2.0 / lin->step);
  const PetscInt      N      = in->N;
  PetscReal          *B, *pull;
  PetscInt            q = 0;
  KalPriorGram        gram;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc2((size_t)N * N, &B, (size_t)N * N, &pull));
  PetscCall(KalPriorGramCreate(analysis, &lin->prior, analysis->ensemble, in->status, in->scale, told->cycle, (PetscBool)(method.pull > 0.0), &gram));
  if (method.pull > 0.0) KalPriorPull(&gram, in->status, spread, pull);
  PetscCall(Basis(analysis, lin->truncation, N, gram.G, B, &q));
  for (size_t i = 0; i < (size_t)N * N; i++) in->D[i] += spread * in->P[i];
  PetscCall(Weights(analysis, &method, N, q, B, in->S, in->D, pull, lin->T));
  PetscCall(KalTransformCenter(N, in->status, in->active, lin->T));
  for (size_t i = 0; i < (size_t)N * N; i++) lin->T[i] *= in->scale;
  for (PetscInt j = 0; j < N; j++) {
    if (in->status[j] == KAL_MEMBER_OK) lin->T[j + (size_t)j * N] += 1.0 - method.pull;
  }
  PetscCall(KalTransformSet(analysis, N, in->status, lin->T));
  PetscCall(KalPriorGramDestroy(&gram));
  PetscCall(PetscFree2(B, pull));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalLinearization *lin = (KalLinearization *)analysis->data;
  KalInnovation     in;

  PetscFunctionBeginUser;
  PetscCall(Check(analysis, told->observations));
  PetscCall(KalInnovationCreate(analysis, told, -1, 0.0, KAL_WANT_MEMBERS | KAL_WANT_NOISE | KAL_WANT_GRAM, &in));
  PetscCall(Transform(analysis, told, &in));
  PetscCall(PetscArraycpy(lin->status, told->status, in.N));
  lin->active = in.active;
  lin->time += lin->step;
  analysis->report.loss = in.loss / told->batch->samples;
  analysis->report.step = lin->step;
  analysis->report.time = lin->time;
  *verdict              = KAL_VERDICT_ACCEPT;
  PetscCall(KalInnovationDestroy(&in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The pull towards m + sqrt(2/step) P^{1/2} z, with the draws that the weights were made of. */
static PetscErrorCode Rows(KalAnalysis analysis, const KalRows *rows)
{
  KalLinearization *lin  = (KalLinearization *)analysis->data;
  const PetscReal   pull = lin->method(lin->step).pull, spread = PetscSqrtReal(2.0 / lin->step);
  KalKey            key = {analysis->seed, KAL_DRAW_ANCHOR, lin->cycle, 0};
  PetscInt          most, i, j;

  PetscFunctionBeginUser;
  if (!lin->z) {
    PetscCall(KalEnsembleGetBlocks(analysis->ensemble, &most, NULL));
    PetscCall(PetscMalloc1(most, &lin->z));
  }
  PetscCall(KalTransformRows(analysis, rows->count, lin->status, rows->x[0], rows->ld[0], rows->x[0], rows->ld[0]));
  for (j = 0; pull > 0.0 && j < analysis->N; j++) {
    PetscScalar *x = rows->x[0] + (size_t)j * rows->ld[0];

    if (lin->status[j] != KAL_MEMBER_OK) continue;
    key.member = j;
    PetscCall(KalDrawNormal(key, rows->first, rows->count, lin->z));
    for (i = 0; i < rows->count; i++) x[i] += pull * (lin->prior.mean[rows->first + i] + spread * analysis->prior[rows->first + i] * lin->z[i]);
  }
  PetscCall(KalTransformRecoverRows(analysis, lin->cycle, analysis->N, lin->status, lin->active, rows->count, rows->x[0], rows->ld[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalLinearization *lin = (KalLinearization *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalPriorArray(analysis, &lin->prior, &arrays[0]));
  arrays[1].name    = "time";
  arrays[1].meaning = "sum of the steps";
  arrays[1].count   = 1;
  arrays[1].data    = &lin->time;
  *count            = 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalLinearization *lin = (const KalLinearization *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  step %g, directions from %g of the largest variance on\n", (double)lin->step, (double)lin->truncation));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalLinearization *lin = (KalLinearization *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalPriorDestroy(&lin->prior));
  PetscCall(PetscFree2(lin->status, lin->T));
  PetscCall(PetscFree(lin->z));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalLinearizedCreate - Fills in what these methods share; `method` says the three numbers of a step length
*/
PetscErrorCode KalLinearizedCreate(KalAnalysis analysis, const char *prefix, KalLinearized (*method)(PetscReal))
{
  KalLinearization *lin;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&lin));
  PetscCall(PetscStrncpy(lin->prefix, prefix, sizeof lin->prefix));
  lin->step                    = 0.1;
  lin->truncation              = 1e-10;
  lin->method                  = method;
  analysis->data               = lin;
  analysis->takes              = KAL_TAKES_SOLVER; /* in ensemble space alone */
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.tell           = Tell;
  analysis->ops.rows           = Rows;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
