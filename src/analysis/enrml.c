/* Ensemble randomized maximum likelihood: Gauss-Newton for each member, in ensemble space. */
#include "prior.h"
#include "smoother.h"

typedef struct {
  KalSmoother smoother;
  PetscInt    iterations;
  PetscReal   step, damping;
  /* of the cycle in hand */
  PetscInt   iteration, active;
  PetscReal *W;    /* N x N: members are the first ones' mean plus their anomalies times W */
  PetscReal *zero; /* N */
  PetscBool  thin; /* members outnumber parameters: predictions are projected on what is linear in these */
  KalPrior   prior;
} KalEnrml;

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalEnrml *enrml = (KalEnrml *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsInt("-enrml_iterations", "Gauss-Newton iterations", NULL, enrml->iterations, &enrml->iterations, NULL));
  PetscCall(PetscOptionsReal("-enrml_step", "Step length of an iteration", NULL, enrml->step, &enrml->step, NULL));
  PetscCall(PetscOptionsReal("-enrml_damping", "Levenberg-Marquardt damping, times that of the prior", NULL, enrml->damping, &enrml->damping, NULL));
  PetscCall(KalSmootherSetFromOptions(analysis, &enrml->smoother, PetscOptionsObject));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalEnrml           *enrml     = (KalEnrml *)analysis->data;
  const KalInflation *inflation = &enrml->smoother.inflation;
  const PetscInt      N         = analysis->N;

  PetscFunctionBeginUser;
  PetscCheck(enrml->iterations >= 1 && enrml->iterations <= 10000, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-enrml_iterations %" PetscInt_FMT ": must be from 1 to 10000", enrml->iterations);
  PetscCheck(enrml->step > 0.0 && enrml->step <= 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-enrml_step %g: must be above 0 and at most 1", (double)enrml->step);
  PetscCheck(enrml->damping >= 0.0 && !PetscIsInfOrNanReal(enrml->damping), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-enrml_damping %g: must not be negative", (double)enrml->damping);
  PetscCheck(inflation->rtpp == 0.0 && inflation->rtps == 0.0 && inflation->on == KAL_INFLATE_POSTERIOR_ANOMALIES, analysis->comm, PETSC_ERR_SUP, "-inflation_rtpp, -inflation_rtps and an -inflation_on the prior would change what enrml iterates towards; use -inflation_factor on the posterior");
  analysis->space = KAL_SPACE_ENSEMBLE;
  PetscCall(KalSmootherSetUp(analysis, &enrml->smoother, enrml->iterations));
  PetscCall(PetscMalloc1((size_t)N * N, &enrml->W));
  PetscCall(PetscCalloc1(N, &enrml->zero));
  enrml->thin = (PetscBool)(analysis->n < N - 1);
  if (enrml->thin) PetscCall(KalPriorCreate(analysis, &enrml->prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Check(KalAnalysis analysis, KalObservations observations)
{
  const KalEnrml *enrml = (const KalEnrml *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalSmootherCheck(analysis, observations, enrml->iterations, "-enrml_iterations"));
  PetscCall(KalCheckPerturbed(analysis, observations, analysis->type));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Back to the members as they are. */
static PetscErrorCode Restart(KalEnrml *enrml, PetscInt N)
{
  PetscFunctionBeginUser;
  enrml->iteration = 0;
  PetscCall(PetscArrayzero(enrml->W, (size_t)N * N));
  for (PetscInt j = 0; j < N; j++) enrml->W[j + (size_t)j * N] = 1.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Begin(KalAnalysis analysis, PetscInt cycle)
{
  KalEnrml *enrml = (KalEnrml *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalSmootherBegin(analysis, &enrml->smoother, cycle));
  PetscCall(Restart(enrml, analysis->N));
  enrml->active = analysis->N;
  if (enrml->thin) PetscCall(KalPriorBegin(analysis, &enrml->prior));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* T: the transform of the first members into those of the iteration. */
static PetscErrorCode Compose(KalAnalysis analysis)
{
  KalEnrml *enrml = (KalEnrml *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscArraycpy(enrml->smoother.T, enrml->W, (size_t)analysis->N * analysis->N));
  PetscCall(KalSmootherCompose(analysis->N, enrml->smoother.status, enrml->active, 1.0, enrml->zero, enrml->smoother.T));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  KalEnrml       *enrml    = (KalEnrml *)analysis->data;
  KalSmoother    *smoother = &enrml->smoother;
  const PetscBool iterate  = (PetscBool)(smoother->phase == KAL_PHASE_ITERATE);

  PetscFunctionBeginUser;
  ask->points  = iterate ? analysis->copy[0] : analysis->ensemble;
  ask->observe = iterate;
  if (!iterate) PetscFunctionReturn(PETSC_SUCCESS);
  if (enrml->iteration || enrml->active < analysis->N) PetscCall(Compose(analysis));
  PetscCall(KalSmootherCopy(analysis, smoother, enrml->iteration || enrml->active < analysis->N ? smoother->T : NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* x <- A^{-1} x of a general A (N x N, overwritten), on every rank with the same bits. */
static PetscErrorCode Solve(KalAnalysis analysis, PetscInt N, PetscReal *A, PetscReal *x)
{
  PetscBLASInt n, info = 0, *pivot;

  PetscFunctionBeginUser;
  PetscCall(PetscBLASIntCast(N, &n));
  PetscCall(PetscMalloc1(N, &pivot));
  LAPACKgesv_(&n, &n, A, &n, pivot, x, &n, &info);
  PetscCall(KalFromFirst(analysis, (size_t)N * N, x));
  if (!analysis->uniform) PetscCallMPI(MPI_Bcast(&info, 1, MPI_INT, 0, analysis->comm));
  PetscCheck(!info, analysis->comm, PETSC_ERR_FP, "The members of enrml have become linearly dependent: dgesv stops in row %d; take fewer -enrml_iterations, a smaller -enrml_step, or more -enrml_damping", (int)info);
  PetscCall(PetscFree(pivot));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  S <- Q S Q and D <- Q D, Q the projection on the row space of the iteration's departures: where members outnumber parameters, what of the predictions is not linear in
  these would else be taken for a derivative.
*/
static PetscErrorCode Project(KalAnalysis analysis, PetscReal *S, PetscReal *D)
{
  KalEnrml        *enrml = (KalEnrml *)analysis->data;
  const size_t     N = (size_t)analysis->N, NN = N * N;
  const KalStatus *status = enrml->smoother.status;
  KalPriorGram     gram;
  PetscReal       *W, *x, *Q, *value;

  PetscFunctionBeginUser;
  PetscCall(KalPriorGramCreate(analysis, &enrml->prior, analysis->ensemble, status, 1.0, 0, PETSC_FALSE, &gram));
  PetscCall(PetscMalloc4(NN, &W, NN, &x, NN, &Q, N, &value));
  for (size_t k = 0; k < N; k++) { /* departures from the iteration's mean: the mean of the columns is taken out */
    PetscReal mean = 0.0;

    for (size_t j = 0; j < N; j++) mean += status[j] == KAL_MEMBER_OK ? enrml->W[k + j * N] / enrml->active : 0.0;
    for (size_t j = 0; j < N; j++) W[k + j * N] = status[j] == KAL_MEMBER_OK && status[k] == KAL_MEMBER_OK ? enrml->W[k + j * N] - mean : 0.0;
  }
  PetscCall(KalMultiply("NN", analysis->N, analysis->N, analysis->N, 1.0, gram.G, W, 0.0, x));
  PetscCall(KalMultiply("TN", analysis->N, analysis->N, analysis->N, 1.0, W, x, 0.0, Q));
  PetscCall(KalEigen(analysis, analysis->N, Q, value, W));
  PetscCall(PetscArrayzero(Q, NN));
  for (size_t a = N; a-- > 0 && value[a] > 1e-12 * value[N - 1];) {
    for (size_t j = 0; j < N; j++) {
      for (size_t k = 0; k < N; k++) Q[k + j * N] += W[k + a * N] * W[j + a * N];
    }
  }
  PetscCall(KalMultiply("NN", analysis->N, analysis->N, analysis->N, 1.0, S, Q, 0.0, x));
  PetscCall(KalMultiply("NN", analysis->N, analysis->N, analysis->N, 1.0, Q, x, 0.0, S));
  PetscCall(PetscArraycpy(x, D, NN));
  PetscCall(KalMultiply("NN", analysis->N, analysis->N, analysis->N, 1.0, Q, x, 0.0, D));
  PetscCall(PetscFree4(W, x, Q, value));
  PetscCall(KalPriorGramDestroy(&gram));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  With E the whitened anomalies over sqrt(N - 1), those of the first members would be Y = E Omega^{-1}, Omega the departures' part of W:

    W <- W - step ((1 + damping) I + Y'Y)^{-1} ((W - I) - Y'(y_j - g_j)/sqrt(N - 1)).

  Rows and columns of members that failed are those of I: they take no part.
*/
static PetscErrorCode Step(KalAnalysis analysis, const KalInnovation *in)
{
  KalEnrml        *enrml  = (KalEnrml *)analysis->data;
  const KalStatus *status = enrml->smoother.status;
  const size_t     N = (size_t)in->N, NN = N * N;
  PetscReal       *inverse, *system, *right, *x;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc4(NN, &inverse, NN, &system, NN, &right, NN, &x));
  for (size_t k = 0; k < N; k++) { /* Omega: W with the mean of its columns 1/active: it takes the first departures to those of the iteration */
    PetscReal mean = 0.0;

    for (size_t j = 0; j < N; j++) mean += status[j] == KAL_MEMBER_OK ? enrml->W[k + j * N] / enrml->active : 0.0;
    for (size_t j = 0; j < N; j++) {
      system[k + j * N]  = status[j] == KAL_MEMBER_OK && status[k] == KAL_MEMBER_OK ? enrml->W[k + j * N] - mean + 1.0 / enrml->active : (k == j ? 1.0 : 0.0);
      inverse[k + j * N] = k == j ? 1.0 : 0.0;
    }
  }
  PetscCall(Solve(analysis, in->N, system, inverse));
  for (size_t i = 0; i < NN; i++) in->D[i] += in->P[i];
  if (enrml->thin) PetscCall(Project(analysis, in->S, in->D));
  PetscCall(KalMultiply("NN", in->N, in->N, in->N, 1.0, in->S, inverse, 0.0, x));
  PetscCall(KalMultiply("TN", in->N, in->N, in->N, 1.0, inverse, x, 0.0, system)); /* Y'Y */
  PetscCall(KalMultiply("TN", in->N, in->N, in->N, 1.0, inverse, in->D, 0.0, right));
  for (size_t j = 0; j < N; j++) {
    for (size_t k = 0; k < N; k++) right[k + j * N] = in->scale * right[k + j * N] - (enrml->W[k + j * N] - (k == j ? 1.0 : 0.0));
  }
  PetscCall(KalSolve(analysis, KAL_SPACE_ENSEMBLE, in->N, system, 1.0 + enrml->damping, NULL, in->N, right, x));
  for (size_t j = 0; j < N; j++) {
    for (size_t k = 0; k < N; k++) {
      if (status[j] == KAL_MEMBER_OK && status[k] == KAL_MEMBER_OK) enrml->W[k + j * N] += enrml->step * x[k + j * N];
    }
  }
  PetscCall(PetscFree4(inverse, system, right, x));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Members that fail in any iteration take no further part: the iterations begin anew without them. */
static PetscErrorCode Failures(KalAnalysis analysis, const KalTold *told, PetscBool *anew)
{
  KalEnrml      *enrml  = (KalEnrml *)analysis->data;
  KalStatus     *status = enrml->smoother.status;
  const PetscInt before = enrml->active;

  PetscFunctionBeginUser;
  for (PetscInt j = 0; j < analysis->N; j++) {
    if (status[j] == KAL_MEMBER_OK) status[j] = told->status[j];
  }
  PetscCall(KalSmootherSurvivors(analysis, status, told->cycle, &enrml->active));
  *anew = (PetscBool)(enrml->active < before && enrml->iteration > 0);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Iterate(KalAnalysis analysis, const KalTold *told)
{
  KalEnrml     *enrml    = (KalEnrml *)analysis->data;
  KalSmoother  *smoother = &enrml->smoother;
  KalTold       kept     = *told;
  KalInnovation in;
  PetscBool     anew = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(Failures(analysis, told, &anew));
  if (anew) {
    PetscCall(Restart(enrml, analysis->N));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  kept.status = smoother->status;
  PetscCall(KalInnovationCreate(analysis, &kept, -1, 0.0, KAL_WANT_MEMBERS | KAL_WANT_PERTURBED | KAL_WANT_GRAM, &in));
  if (!enrml->iteration) PetscCall(KalSmootherReport(analysis, told, &in, 1.0));
  PetscCall(Step(analysis, &in));
  PetscCall(KalInnovationDestroy(&in));
  enrml->iteration++;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalEnrml    *enrml    = (KalEnrml *)analysis->data;
  KalSmoother *smoother = &enrml->smoother;

  PetscFunctionBeginUser;
  *verdict = KAL_VERDICT_AGAIN;
  if (smoother->phase == KAL_PHASE_ITERATE) {
    PetscCall(Check(analysis, told->observations));
    PetscCall(Iterate(analysis, told));
    if (enrml->iteration < enrml->iterations) PetscFunctionReturn(PETSC_SUCCESS);
    PetscCall(Compose(analysis));
    PetscCall(KalSmootherAnalyse(analysis, smoother, enrml->active, PETSC_TRUE, smoother->T));
    analysis->report.step = enrml->iterations;
    smoother->phase       = KAL_PHASE_ADVANCE;
    if (!told->batch->timed) *verdict = KAL_VERDICT_ACCEPT; /* there is no time to go on to */
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalSmootherForecast(analysis, smoother, told));
  *verdict = KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalEnrml *enrml = (const KalEnrml *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  %" PetscInt_FMT " iterations, step %g, damping %g\n", enrml->iterations, (double)enrml->step, (double)enrml->damping));
  PetscCall(KalSmootherView(&enrml->smoother, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalEnrml *enrml = (KalEnrml *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(PetscFree(enrml->W));
  PetscCall(PetscFree(enrml->zero));
  PetscCall(KalPriorDestroy(&enrml->prior));
  PetscCall(KalSmootherDestroy(&enrml->smoother));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISENRML = "enrml" - Ensemble randomized maximum likelihood, an iterative ensemble smoother

   Each member minimizes the misfit with data and prior draw of its own, |y_j - h(x)|^2/2 in R^{-1} + |x - x_j|^2/2 in C^{-1}, C the sample covariance of the first
   members, by Gauss-Newton steps with the derivative that the members say. In ensemble space, with A the first members' departures from their mean, members
   mean + A W_j, W = I at first, predictions g_j with anomalies E over sqrt(N - 1), and Y = E Omega^{-1}, Omega = W (I - 1 1'/N) + 1 1'/N:

     W <- W - gamma ((1 + mu) I + Y'R^{-1}Y)^{-1} (W - I - Y'R^{-1} (y_j - g_j)/sqrt(N - 1)),    y_j ~ N(y, R), drawn once a cycle.

   Chen and Oliver 2012 and 2013; in this form Raanes, Stordal and Evensen, Revising the stochastic iterative ensemble smoother, Nonlin. Processes Geophys. 26
   (2019). One iteration with gamma 1 is the analysis of stochastic eki with step 1. The prior term stays exact, where eki forgets it beyond step 1.

   Options Database Keys:
+  -enrml_iterations <5> - iterations of a cycle
.  -enrml_step <1> - gamma
.  -enrml_damping <0> - mu, Levenberg and Marquardt's
-  -inflation_factor <1>, -inflation_additive, -analysis_rotate - after the last iteration

   Notes:
   Squared loss. As esmda it takes data sets (a batch is the window) and observations in time (members are forecast from the window's start in each
   iteration, and to its end after the last). A member that fails takes no part any more: the iterations begin anew without it, and it is drawn anew from the
   survivors at the end. The perturbations' mean over the members is not taken out. With more members than n + 1 the predictions' departures are first projected
   on what is linear in the members (E X^+ X, X the departures of the iteration; Evensen et al. 2019), without which the iterations go astray.

.seealso: KALANALYSISESMDA, KALANALYSISIENKS, KALANALYSISEKI
M*/
PetscErrorCode KalAnalysisCreate_EnRML(KalAnalysis analysis)
{
  KalEnrml *enrml;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&enrml));
  PetscCall(KalInflationDefaults(&enrml->smoother.inflation));
  enrml->iterations            = 5;
  enrml->step                  = 1.0;
  analysis->data               = enrml;
  analysis->takes              = KAL_TAKES_SOLVER; /* in ensemble space alone */
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = Check;
  analysis->ops.begin          = Begin;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = Tell;
  analysis->ops.update         = KalSmootherUpdate;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
