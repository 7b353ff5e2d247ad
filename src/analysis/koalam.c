/* KOALA-M: a filter of the parameters and their velocity with one 2 x 2 covariance, whose observation is the loss. */
#include "koala.h"

/* Of a network's state: the covariance of a parameter (X) and its velocity (V), and the process noise of parameters. */
enum {
  NOISE,
  XX,
  XV,
  VV,
  PROCESS,
  NUMBERS
};

#define KEEP 0.9 /* of the running means of parameters and process noise */

typedef struct {
  KalKoala  koala; /* first: the shared operations take the data for it */
  PetscReal friction, process, velocity;
} KalKoalaM;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalKoalaM *m = (KalKoalaM *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalKoalaSetFromOptions(&m->koala, PetscOptionsObject));
  PetscCall(PetscOptionsReal("-koala-m_momentum", "Part of the velocity that is kept", NULL, m->friction, &m->friction, NULL));
  PetscCall(PetscOptionsReal("-koala-m_process", "Variance added to parameters in the first cycle", NULL, m->process, &m->process, NULL));
  PetscCall(PetscOptionsReal("-koala-m_process_velocity", "Variance added to velocities in each cycle", NULL, m->velocity, &m->velocity, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalKoalaM *m = (KalKoalaM *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalDescentFactor(analysis, &m->koala.descent, "momentum", m->friction));
  PetscCheck(m->process >= 0.0 && !PetscIsInfOrNanReal(m->process), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-koala-m_process %g: must not be negative", (double)m->process);
  PetscCheck(m->velocity >= 0.0 && !PetscIsInfOrNanReal(m->velocity), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-koala-m_process_velocity %g: must not be negative", (double)m->velocity);
  PetscCall(KalKoalaSetUp(analysis, &m->koala));
  analysis->needs.copies = 2;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Velocities begin at zero, running means of parameters at these. */
static PetscErrorCode Start(KalAnalysis analysis)
{
  KalKoalaM   *m = (KalKoalaM *)analysis->data;
  PetscInt     first, last;
  PetscScalar *x, *mean;

  PetscFunctionBeginUser;
  PetscCall(KalDescentBegin(analysis, 0));
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(analysis->ensemble, j, &x));
    PetscCall(KalEnsembleGetMember(analysis->copy[1], j, &mean));
    PetscCall(PetscArraycpy(mean, x, analysis->n));
  }
  for (PetscInt j = 0; j < analysis->N; j++) {
    PetscReal *state = m->koala.state + j * NUMBERS;

    state[NOISE]   = 1.0;
    state[XX]      = m->koala.variance;
    state[XV]      = 0.0;
    state[VV]      = m->koala.variance;
    state[PROCESS] = m->process;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A network and its covariance are forecast; its process noise follows from how far it lies from its running mean. */
static void Forecast(const KalKoalaM *m, PetscInt n, PetscReal *state, PetscScalar *x, PetscScalar *v, PetscScalar *mean)
{
  PetscReal squares = 0.0;

  for (PetscInt i = 0; i < n; i++) {
    x[i] += v[i];
    v[i] *= m->friction;
    mean[i] = KEEP * mean[i] + (1.0 - KEEP) * x[i];
    squares += (mean[i] - x[i]) * (mean[i] - x[i]);
  }
  state[XX]      = state[XX] + 2.0 * state[XV] + state[VV] + state[PROCESS];
  state[XV]      = m->friction * (state[XV] + state[VV]);
  state[VV]      = m->friction * m->friction * state[VV] + m->velocity;
  state[PROCESS] = KEEP * state[PROCESS] + (1.0 - KEEP) * PetscSqrtReal(squares) / n;
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalKoalaM   *m = (KalKoalaM *)analysis->data;
  PetscInt     first, last;
  PetscScalar *x, *v, *mean;

  PetscFunctionBeginUser;
  if (!cycle) PetscCall(Start(analysis));
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(analysis->ensemble, j, &x));
    PetscCall(KalEnsembleGetMember(analysis->copy[0], j, &v));
    PetscCall(KalEnsembleGetMember(analysis->copy[1], j, &mean));
    Forecast(m, analysis->n, m->koala.state + j * NUMBERS, x, v, mean);
  }
  PetscCall(KalEnsembleChanged(analysis->ensemble));
  for (PetscInt i = 0; i < analysis->copies; i++) PetscCall(KalEnsembleChanged(analysis->copy[i]));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Move(KalAnalysis analysis, PetscInt member, PetscInt n, const PetscScalar *g, PetscScalar *x, PetscScalar *kept[])
{
  KalKoalaM      *m     = (KalKoalaM *)analysis->data;
  KalKoala       *koala = &m->koala;
  PetscReal      *state = koala->state + member * NUMBERS;
  const PetscReal decay = koala->descent.decay, step = koala->descent.taken;
  const PetscReal most = KalKoalaObserve(koala, state[XX], state[NOISE], koala->descent.losses[2 * member], g, x);

  (void)n;
  for (PetscInt l = 0; l < koala->layers; l++) {
    const PetscReal gain[2] = {step * state[XX] * koala->layer[l].factor, step * state[XV] * koala->layer[l].factor};

    for (PetscInt i = koala->start[l]; i < koala->start[l + 1]; i++) {
      const PetscReal gi = g[i] + decay * x[i];

      x[i] -= gain[0] * gi;
      kept[0][i] -= gain[1] * gi;
    }
  }
  state[VV] -= most * state[XV] * state[XV];
  state[XV] -= most * state[XX] * state[XV];
  state[XX] -= most * state[XX] * state[XX];
}

static PetscErrorCode Update(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalKoalaUpdate(analysis, (KalKoala *)analysis->data, Move));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalKoalaM *m = (const KalKoalaM *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  step %g (%s), momentum %g, variance %g, process %g and %g, target %g, decay %g, %" PetscInt_FMT " networks\n", (double)m->koala.descent.step, KalSchedules[m->koala.descent.schedule], (double)m->friction, (double)m->koala.variance, (double)m->process, (double)m->velocity, (double)m->koala.target, (double)m->koala.descent.decay, analysis->N));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  PetscCall(KalKoalaDestroy((KalKoala *)analysis->data));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISKOALAM = "koala-m" - KOALA with momentum (Davtyan, Sameni, Cerkezi, Meishvili, Bielski and Favaro, AAAI 2022)

   As koala-v, with a velocity v for each parameter and a 2 x 2 covariance P that all share. Before a batch

     x <- x + v,  v <- a v,  P <- F P F' + diag(q, process_velocity),  F = [1 1; 0 a],
     m <- 0.9 m + 0.1 x,  q <- 0.9 q + 0.1 |m - x|/n   (m begins as x, q as `process`; the new q is for the next cycle)

   and with g_l, loss_l and rho of koala-v at the forecast x, S_l = P_xx |g_l|^2 + rho, h = max_l |g_l|^2/S_l,

     x_l <- x_l - step P_xx (loss_l - target)/S_l g_l,  v_l <- v_l - step P_vx (loss_l - target)/S_l g_l,  P <- P - P diag(h, 0) P

   Options Database Keys:
+  -koala-m_step <1>, -koala-m_step_schedule <constant>, -koala-m_step_final <0> - factor of the gain, and how it falls over -analysis_schedule_cycles
.  -koala-m_momentum <0.9> - a
.  -koala-m_variance <0.1> - P_xx and P_vv before the first batch; P_xv is 0
.  -koala-m_process <0.01> - q in the first cycle
.  -koala-m_process_velocity <0.01> - variance that is added to velocities in each cycle
.  -koala-m_target <0> - the loss that is aimed at
-  -koala-m_decay <0> - weight decay, of weights and biases

   Notes:
   It keeps two copies of the ensemble, v and m. -ensemble_size counts networks, each trained by itself.

.seealso: KALANALYSISKOALAV, KALANALYSISSGD
M*/
PetscErrorCode KalAnalysisCreate_KoalaM(KalAnalysis analysis)
{
  KalKoalaM *m;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&m));
  m->friction = 0.9;
  m->process  = 0.01;
  m->velocity = 0.01;
  PetscCall(KalKoalaCreate(analysis, "koala-m", NUMBERS, &m->koala));
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.begin          = Begin;
  analysis->ops.update         = Update;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
