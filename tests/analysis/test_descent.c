/* ranks: 1 2 3 */
/*
  sgd and adam after five steps from a given network (5-4-3, tanh; 9 samples) against PyTorch 2, in double precision:

    w = [0.5 sin(0.3 + 1.1 i)], X = [sin(1 + 1.7 i)] (9 x 5), T = [i mod 3], Y = [cos(2.3 i)] (9 x 3)
    net = torch.nn.Sequential(Linear(5, 4), Tanh(), Linear(4, 3)), its parameters in order from w
    opt = ...; five times: opt.zero_grad(); l = loss(net(X)); l.backward(); opt.step()
    printed: parameters 0, 7, 21, 30, 38 and loss(net(X))

  with loss cross_entropy(z, T) or 0.5*((z - Y)**2).sum(1).mean(), and the optimizers named below.
*/
#include "kaltest.h"

#define SAMPLES 9
#define INPUTS  5
#define OUTPUTS 3
#define N       39

static double inputs[SAMPLES * INPUTS], targets[SAMPLES * OUTPUTS], labels[SAMPLES];

static PetscErrorCode Train(const char *options, PetscBool classes, PetscInt networks, double *x, PetscReal *loss)
{
  KalRun            run;
  KalObservations   obs;
  KalAnalysis       analysis;
  KalAnalysisReport report;
  KalEnsemble       ensemble;
  double           *member;
  PetscInt          first, last;
  PetscMPIInt       size;

  PetscFunctionBeginUser;
  PetscCall(PetscOptionsClear(NULL));
  PetscCall(PetscOptionsInsertString(NULL, "-mlp_layers 5,4,3 -mlp_activation tanh -run_monitor_every 0 -run_progress 0 -run_cycles 6 -observations_normalize none"));
  PetscCall(PetscOptionsInsertString(NULL, options));
  if (networks > 1) PetscCall(PetscOptionsInsertString(NULL, "-ensemble_size 4"));
  else PetscCall(PetscOptionsInsertString(NULL, "-ensemble_size 1"));
  PetscCall(KalRunCreate(PETSC_COMM_WORLD, &run));
  PetscCall(KalRunGetObservations(run, &obs));
  PetscCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, SAMPLES, INPUTS, inputs, classes ? 0 : OUTPUTS, classes ? labels : targets));
  PetscCall(KalRunSetFromOptions(run));
  PetscCall(KalRunSetQuiet(run, PETSC_TRUE));
  PetscCall(KalRunSetUp(run));
  PetscCall(KalRunGetEnsemble(run, &ensemble));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  for (PetscInt m = first; m < last; m++) {
    PetscCall(KalEnsembleGetMember(ensemble, m, &member));
    for (int i = 0; i < N; i++) member[i] = 0.5 * sin(0.3 + 1.1 * i);
  }
  PetscCall(KalEnsembleChanged(ensemble));
  for (int k = 0; k < 5; k++) PetscCall(KalRunStep(run));
  if (last > first) {
    PetscCall(KalEnsembleGetMember(ensemble, last - 1, &member));
    PetscCall(PetscArraycpy(x, member, N));
  }
  PetscCallMPI(MPI_Comm_size(PETSC_COMM_WORLD, &size));
  PetscCallMPI(MPI_Bcast(x, N, MPI_DOUBLE, size - 1, PETSC_COMM_WORLD));
  PetscCall(KalRunStep(run)); /* its loss is that before it moves */
  PetscCall(KalRunGetAnalysis(run, &analysis));
  PetscCall(KalAnalysisGetReport(analysis, &report));
  *loss = report.loss;
  PetscCall(KalRunDestroy(&run));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Check(const char *options, PetscBool classes, const double *expected)
{
  const int at[] = {0, 7, 21, 30, 38};
  double    x[N], loss = 0.0;

  for (int i = 0; i < SAMPLES * INPUTS; i++) inputs[i] = sin(1.0 + 1.7 * i);
  for (int i = 0; i < SAMPLES * OUTPUTS; i++) targets[i] = cos(2.3 * i);
  for (int i = 0; i < SAMPLES; i++) labels[i] = i % OUTPUTS;
  for (PetscInt networks = 1; networks <= 4; networks += 3) {
    KalCall(Train(options, classes, networks, x, &loss));
    for (int i = 0; i < 5; i++) KalAssertNear(x[at[i]], expected[i], 1e-12);
    KalAssertNear(loss, expected[5], 1e-12);
  }
}

/* torch.optim.SGD(lr=0.1, momentum=0.9, weight_decay=0.01), SGD(lr=0.1) */
static void StochasticGradientDescent(void **state)
{
  const double momentum[] = {0.362513368231449, 0.478238877193551, -0.56521394724478, 0.67841276525559, -0.405987131895915, 0.676979445989025};
  const double plain[]    = {0.206599480089508, 0.444509996455744, -0.56404381997978, 0.365058591495659, -0.371552050658318, 0.877066492906624};

  (void)state;
  Check("-analysis_type sgd -sgd_step 0.1 -sgd_decay 0.01", PETSC_TRUE, momentum);
  Check("-analysis_type sgd -sgd_step 0.1 -sgd_momentum 0", PETSC_FALSE, plain);
}

/* torch.optim.AdamW(lr=0.01, weight_decay=0.1), Adam(lr=0.01, betas=(0.8, 0.9)) */
static void AdaptiveMoments(void **state)
{
  const double decayed[] = {0.196859615540068, 0.445438429532548, -0.54009989229383, 0.523270776240345, -0.423742627571743, 1.07404424764093};
  const double other[]   = {0.197323667989425, 0.44511050811107, -0.543052258592569, 0.426170470340994, -0.42633769294848, 0.957973990999897};

  (void)state;
  Check("-analysis_type adam -adam_step 0.01 -adam_decay 0.1", PETSC_TRUE, decayed);
  Check("-analysis_type adam -adam_step 0.01 -adam_first 0.8 -adam_second 0.9", PETSC_FALSE, other);
}

/*
  koala-v and koala-m of the same network, by this script after the one above (L: parameters by layer, per: losses of the samples,
  vec and put: a layer's parameters as one vector, F = [[1, 1], [0, 0.9]]); the loss printed is that at the next forecast:

    rho, qw, P = 1.0, 0.01, 0.1*eye(2) if momentum else 0.1;  vel, mean = zeros like vec(L), vec(L)
    five times:
      if momentum:
        for each layer: put(l, vec(l) + vel[i]); vel[i] *= 0.9
        P = F @ P @ F.T + diag([qw, 0.01]); mean = 0.9*mean + 0.1*vec(L); qw = 0.9*qw + 0.1*norm(mean - vec(L))/n; p11, p21 = P[0, 0], P[1, 0]
      else: P = P + 1; p11 = P
      each = per(net(X)); each.mean().backward(); rho = 0.9*rho + 0.1*(each**2).mean(); h = 0
      for each layer: x = vec(l); g = grad(l) + wd*x; loss = each.mean() + 0.5*wd*(x@x); s = p11*(g@g) + rho
        put(l, x - lr*p11*(loss - target)/s*g); if momentum: vel[i] -= lr*p21*(loss - target)/s*g
        h = max(h, (g@g)/s)
      P = P - P @ diag([h, 0]) @ P if momentum else P - P*P*h
*/
static void TheLossIsTheObservation(void **state)
{
  const double scalar[]   = {0.512121932541823, 0.463584321414381, -0.53671549439893, 1.06141211780948, -0.182133355993644, 0.229528032918286};
  const double aimed[]    = {0.306070581356518, 0.371414652066469, -0.649270284226687, 0.186854433754433, -0.316403611551982, 0.748435094554694};
  const double momentum[] = {0.384021781743937, 0.481572518297269, -0.555682061496937, 0.750690504472939, -0.365296590775793, 0.541355384199444};
  const double other[]    = {0.291361683723788, 0.378719605694991, -0.637858418290522, 0.21607440703206, -0.310778948475897, 0.754677481348059};

  (void)state;
  Check("-analysis_type koala-v -koala-v_decay 0.01", PETSC_TRUE, scalar);
  Check("-analysis_type koala-v -koala-v_step 0.5 -koala-v_target 0.1", PETSC_FALSE, aimed);
  Check("-analysis_type koala-m -koala-m_step 0.5 -koala-m_decay 0.01", PETSC_TRUE, momentum);
  Check("-analysis_type koala-m -koala-m_step 0.5", PETSC_FALSE, other);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(TheLossIsTheObservation),
    cmocka_unit_test(StochasticGradientDescent),
    cmocka_unit_test(AdaptiveMoments),
};

KAL_TEST_MAIN("analysis descent", tests)
