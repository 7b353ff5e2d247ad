/*
  Interacting Langevin dynamics, preconditioned by the members' own covariance C = X X' (divisor N, as in the papers):

    du_j = -C grad Phi(u_j) dt - C P^{-1} (u_j - m) dt + [correction] (n + 1)/N (u_j - mean) dt + sqrt(2) X dW_j,  dW_j in N dimensions.

  The prior's drift is implicit: (I + dt C P^{-1}) u* = v has the solution u* = v - dt X (I + dt X'P^{-1}X)^{-1} X'P^{-1} v, so that a step is a combination of
  the members.
*/
#include "langevin.h"

const char *KalLangevinOption(const KalLangevin *l, const char *name)
{
  static char text[64];

  (void)PetscSNPrintf(text, sizeof text, "-%s_%s", l->prefix, name);
  return text;
}

PetscErrorCode KalLangevinSetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalLangevin *l = (KalLangevin *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsReal(KalLangevinOption(l, "step"), "Numerator of the adaptive step", NULL, l->step, &l->step, NULL));
  PetscCall(PetscOptionsReal(KalLangevinOption(l, "step_floor"), "Added to the denominator of the adaptive step", NULL, l->floor, &l->floor, NULL));
  PetscCall(PetscOptionsReal(KalLangevinOption(l, "step_most"), "Largest step", NULL, l->most, &l->most, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalLangevin   *l = (KalLangevin *)analysis->data;
  const PetscInt N = analysis->N;

  PetscFunctionBeginUser;
  PetscCheck(l->step > 0.0 && !PetscIsInfOrNanReal(l->step), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must be positive and finite", KalLangevinOption(l, "step"), (double)l->step);
  PetscCheck(l->floor >= 0.0 && !PetscIsInfOrNanReal(l->floor), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must not be negative", KalLangevinOption(l, "step_floor"), (double)l->floor);
  PetscCheck(l->most > 0.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "%s %g: must be positive", KalLangevinOption(l, "step_most"), (double)l->most);
  PetscCheck(N <= KAL_MOST_SYSTEM, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_size %" PetscInt_FMT " is too large: %s makes N x N weights, for at most %d members", N, analysis->type, KAL_MOST_SYSTEM);
  PetscCheck(N > analysis->n + 1, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_size %" PetscInt_FMT ": %s samples all of the %" PetscInt_FMT " parameters with more than n + 1 members alone; take %" PetscInt_FMT " or more, or fewer parameters", N, analysis->type, analysis->n, analysis->n + 2);
  analysis->space        = KAL_SPACE_ENSEMBLE;
  analysis->needs.least  = 2;
  analysis->needs.points = N;
  PetscCall(KalPriorCreate(analysis, &l->prior));
  PetscCall(PetscMalloc2(N, &l->status, (size_t)N * N, &l->T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  PetscReal k;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetReject(observations, &k));
  PetscCheck(k == 0.0, analysis->comm, PETSC_ERR_ARG_INCOMP, "-observations_reject %g: %s goes over the same observations again and again, and would leave out others each time; leave it out", (double)k, analysis->type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalLangevin *l = (KalLangevin *)analysis->data;

  PetscFunctionBeginUser;
  (void)cycle;
  PetscCall(KalPriorBegin(analysis, &l->prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  W (N x N), the step of member j as X W_j, X the anomalies over sqrt(active): v_j = u_j - dt X phi_j + dt X X'P^{-1}m + dt (n + 1)/active (u_j - mean), and
  X'P^{-1}(v_j - m), of which the implicit solution is made; b_j = X'P^{-1}(m - u_j), c that of the mean.
*/
static PetscErrorCode Drift(KalAnalysis analysis, const KalInnovation *in, const KalPriorGram *gram, PetscReal dt, PetscReal *W)
{
  const KalLangevin *l = (const KalLangevin *)analysis->data;
  const size_t       N = (size_t)in->N, NN = N * N;
  const PetscReal    root = PetscSqrtReal((PetscReal)in->active), extra = l->correction ? dt * (analysis->n + 1) / in->active : 0.0;
  PetscReal         *GW, *x, *system;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(NN, &GW, NN, &x, NN, &system));
  /* explicit part: W = -dt root phi + extra root e_j, so that v_j = u_j + X W_j, the constant m left out on both sides */
  for (size_t i = 0; i < NN; i++) W[i] *= -dt * root;
  for (size_t j = 0; j < N; j++) {
    if (in->status[j] == KAL_MEMBER_OK) W[j + j * N] += extra * root;
  }
  /* u* - m = (I + dt X X'P^{-1})^{-1} (v - m) = v - m - dt X (I + dt G)^{-1} X'P^{-1} (v - m),  X'P^{-1}(v_j - m) = -b_j + G W_j */
  PetscCall(KalMultiply("NN", in->N, in->N, in->N, 1.0, gram->G, W, 0.0, GW));
  KalPriorPull(gram, in->status, 0.0, x);
  for (size_t i = 0; i < NN; i++) GW[i] = (GW[i] - x[i]) / dt;
  PetscCall(PetscArraycpy(system, gram->G, NN));
  PetscCall(KalSolve(analysis, KAL_SPACE_ENSEMBLE, in->N, system, 1.0 / dt, NULL, in->N, GW, x));
  for (size_t i = 0; i < NN; i++) W[i] -= dt * x[i];
  PetscCall(PetscFree3(GW, x, system));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* W += sqrt(2 dt) Xi, keyed by cycle, member and the member that the number multiplies. */
static PetscErrorCode Diffuse(KalAnalysis analysis, const KalInnovation *in, PetscInt cycle, PetscReal dt, PetscReal *W)
{
  const size_t N   = (size_t)in->N;
  KalKey       key = {analysis->seed, KAL_DRAW_DIFFUSION, cycle, 0};
  PetscReal   *z;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(N, &z));
  for (size_t j = 0; j < N; j++) {
    key.member = (PetscInt64)j;
    PetscCall(KalDrawNormal(key, 0, in->N, z));
    for (size_t k = 0; k < N; k++) W[k + j * N] += PetscSqrtReal(2.0 * dt) * z[k];
  }
  PetscCall(PetscFree(z));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Transform(KalAnalysis analysis, const KalTold *told, KalInnovation *in, PetscReal *step)
{
  KalLangevin    *l      = (KalLangevin *)analysis->data;
  const size_t    N      = (size_t)in->N;
  const PetscReal scale  = 1.0 / PetscSqrtReal((PetscReal)in->active);
  PetscReal       square = 0.0;
  KalPriorGram    gram;

  PetscFunctionBeginUser;
  PetscCall(KalPriorGramCreate(analysis, &l->prior, analysis->ensemble, in->status, scale, told->cycle, PETSC_FALSE, &gram));
  PetscCall((*l->gradient)(analysis, in, &gram, l->T));
  PetscCall(KalFromFirst(analysis, (size_t)N * in->N, l->T));
  for (size_t i = 0; i < N * N; i++) square += l->T[i] * l->T[i];
  *step = PetscMin(l->most, l->step / (PetscSqrtReal(square) + l->floor));
  PetscCall(Drift(analysis, in, &gram, *step, l->T));
  PetscCall(Diffuse(analysis, in, told->cycle, *step, l->T));
  PetscCall(KalTransformCenter(in->N, in->status, in->active, l->T));
  for (size_t i = 0; i < N * N; i++) l->T[i] *= scale;
  for (size_t j = 0; j < N; j++) l->T[j + j * N] += in->status[j] == KAL_MEMBER_OK ? 1.0 : 0.0;
  PetscCall(KalTransformRecover(analysis, told->cycle, in->status, in->active, l->T));
  PetscCall(KalFromFirst(analysis, (size_t)N * in->N, l->T));
  PetscCall(KalTransformSet(analysis, in->N, in->status, l->T));
  PetscCall(KalPriorGramDestroy(&gram));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalLangevin  *l = (KalLangevin *)analysis->data;
  KalInnovation in;
  PetscReal     step = 0.0;

  PetscFunctionBeginUser;
  PetscCall(KalInnovationCreate(analysis, told, -1, 0.0, l->wants, &in));
  PetscCall(Transform(analysis, told, &in, &step));
  PetscCall(PetscArraycpy(l->status, told->status, in.N));
  l->time += step;
  analysis->report.loss = in.loss / told->batch->samples;
  analysis->report.step = step;
  analysis->report.time = l->time;
  *verdict              = KAL_VERDICT_ACCEPT;
  PetscCall(KalInnovationDestroy(&in));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Rows(KalAnalysis analysis, const KalRows *rows)
{
  const KalLangevin *l = (const KalLangevin *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalTransformRows(analysis, rows->count, l->status, rows->x[0], rows->ld[0], rows->x[0], rows->ld[0]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  KalLangevin *l = (KalLangevin *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalPriorArray(analysis, &l->prior, &arrays[0]));
  arrays[1].name    = "time";
  arrays[1].meaning = "sum of the steps";
  arrays[1].count   = 1;
  arrays[1].data    = &l->time;
  *count            = 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalLangevin *l = (const KalLangevin *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  adaptive step %g/(|D| + %g)%s\n", (double)l->step, (double)l->floor, l->correction ? ", with the correction for a finite ensemble" : ""));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalLangevin *l = (KalLangevin *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalPriorDestroy(&l->prior));
  PetscCall(PetscFree2(l->status, l->T));
  PetscCall(PetscFree(l->method));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Phi_kj = <g_k - mean, g_j - y>/active, whitened: the gradient of the misfit, its derivative replaced by differences of the members. */
static PetscErrorCode Differences(KalAnalysis analysis, KalInnovation *in, const KalPriorGram *gram, PetscReal *Phi)
{
  const size_t NN = (size_t)in->N * in->N;

  PetscFunctionBeginUser;
  (void)analysis;
  (void)gram;
  for (size_t i = 0; i < NN; i++) Phi[i] = -in->D[i] / (in->scale * in->active);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalLangevinCreate - Fills in what these samplers share: the gradient by differences, no correction; the caller changes what is different
*/
PetscErrorCode KalLangevinCreate(KalAnalysis analysis, const char *prefix, KalLangevin **created)
{
  KalLangevin *l;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&l));
  PetscCall(PetscStrncpy(l->prefix, prefix, sizeof l->prefix));
  l->step                      = 1.0;
  l->floor                     = 1e-8;
  l->most                      = 1.0;
  l->gradient                  = Differences;
  l->wants                     = KAL_WANT_MEMBERS;
  analysis->data               = l;
  analysis->takes              = KAL_TAKES_SOLVER; /* in ensemble space alone */
  analysis->ops.setfromoptions = KalLangevinSetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.tell           = Tell;
  analysis->ops.rows           = Rows;
  analysis->ops.arrays         = Arrays;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  *created                     = l;
  PetscFunctionReturn(PETSC_SUCCESS);
}
