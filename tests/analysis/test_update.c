/* ranks: 5 */
/*
  eki and etki, cycle by cycle, against dense formulas: both losses and their linearizations, every space and several solvers,
  step rules, momentum, redraws, inflation, failed members; the same bits on 1, 2, 3 and 5 ranks.
*/
#include "reference.h"

typedef struct {
  const char *name, *options; /* without the method's prefix: E stands for -eki or -etki */
  PetscBool   etki, stochastic;
  Loss        loss;
  PetscInt    N, inputs, samples, batch, cycles;
  Rule        rule;
  double      step, floor, most, total;
  PetscInt    momentum; /* 1: constant, 2: Nesterov */
  PetscInt    redraw;   /* cycles */
  PetscBool   aboutmember;
  double      inflation, additive;
  const char *fail; /* members that fail: "0,3" */
  PetscBool   span; /* fewer members than entries: they stay in the span of the first */
} Case;

#define FACTOR 0.8
#define SPREAD 0.3

#define CASE(...) \
  { \
    __VA_ARGS__ \
  }

static const Case cases[] = {
    CASE(.name = "p < N", .options = "", .N = 8, .inputs = 5, .samples = 6, .cycles = 2, .step = 1.0),
    CASE(.name = "p > N", .options = "E_step 0.7", .N = 8, .inputs = 5, .samples = 20, .cycles = 2, .step = 0.7),
    CASE(.name = "n > N", .options = "", .N = 6, .inputs = 15, .samples = 10, .cycles = 3, .step = 1.0, .span = PETSC_TRUE),
    CASE(.name = "perturbed, p < N", .options = "E_update stochastic E_step 0.5", .stochastic = PETSC_TRUE, .N = 9, .inputs = 4, .samples = 5, .cycles = 2, .step = 0.5),
    CASE(.name = "perturbed, p > N", .options = "E_update stochastic", .stochastic = PETSC_TRUE, .N = 6, .inputs = 4, .samples = 15, .cycles = 2, .step = 1.0),
    CASE(.name = "logits", .options = "E_step 0.6 -observations_output logits", .loss = LOGITS, .N = 9, .inputs = 4, .samples = 7, .cycles = 2, .step = 0.6),
    CASE(.name = "logits, p < N", .options = "-observations_output logits", .loss = LOGITS, .N = 20, .inputs = 4, .samples = 5, .cycles = 2, .step = 1.0),
    CASE(.name = "probabilities", .options = "E_step 0.6", .loss = PROBABILITIES, .N = 9, .inputs = 4, .samples = 7, .cycles = 2, .step = 0.6),
    CASE(.name = "root, p < N", .options = "E_step 0.5", .etki = PETSC_TRUE, .N = 9, .inputs = 4, .samples = 5, .cycles = 2, .step = 0.5),
    CASE(.name = "root, n > N", .options = "", .etki = PETSC_TRUE, .N = 5, .inputs = 10, .samples = 15, .cycles = 2, .step = 1.0, .span = PETSC_TRUE),
    CASE(.name = "root, logits", .options = "-observations_output logits", .etki = PETSC_TRUE, .loss = LOGITS, .N = 9, .inputs = 3, .samples = 7, .cycles = 2, .step = 1.0),
    CASE(.name = "root, probabilities", .options = "", .etki = PETSC_TRUE, .loss = PROBABILITIES, .N = 9, .inputs = 3, .samples = 2, .cycles = 2, .step = 1.0),
    CASE(.name = "adaptive", .options = "E_step_rule adaptive E_step 2", .N = 8, .inputs = 5, .samples = 20, .cycles = 4, .rule = ADAPTIVE, .step = 2.0, .floor = 0.5),
    CASE(.name = "adaptive, bounded", .options = "E_step_rule adaptive E_step 3 E_step_floor 0.001 E_step_most 0.02", .N = 8, .inputs = 5, .samples = 5, .cycles = 4, .rule = ADAPTIVE, .step = 3.0, .floor = 0.001, .most = 0.02),
    CASE(.name = "root, adaptive, logits", .options = "E_step_rule adaptive -observations_output logits", .etki = PETSC_TRUE, .loss = LOGITS, .N = 8, .inputs = 3, .samples = 7, .cycles = 3, .rule = ADAPTIVE, .step = 1.0, .floor = 0.5),
    CASE(.name = "misfit", .options = "E_step_rule misfit E_step_total 1", .N = 8, .inputs = 3, .samples = 12, .cycles = 9, .rule = MISFIT, .total = 1.0),
    CASE(.name = "root, misfit", .options = "E_step_rule misfit", .etki = PETSC_TRUE, .N = 8, .inputs = 3, .samples = 5, .cycles = 3, .rule = MISFIT),
    CASE(.name = "misfit, logits", .options = "E_step_rule misfit -observations_output logits", .loss = LOGITS, .N = 8, .inputs = 3, .samples = 5, .cycles = 2, .rule = MISFIT),
    CASE(.name = "misfit, probabilities", .options = "E_step_rule misfit", .loss = PROBABILITIES, .N = 8, .inputs = 3, .samples = 5, .cycles = 2, .rule = MISFIT),
    CASE(.name = "root, misfit, logits", .options = "E_step_rule misfit -observations_output logits", .etki = PETSC_TRUE, .loss = LOGITS, .N = 8, .inputs = 3, .samples = 5, .cycles = 2, .rule = MISFIT),
    CASE(.name = "Nesterov", .options = "E_momentum nesterov E_step 0.1", .N = 8, .inputs = 5, .samples = 12, .cycles = 6, .step = 0.1, .momentum = 2),
    CASE(.name = "root, momentum", .options = "E_momentum constant E_momentum_factor 0.8 E_step 0.1", .etki = PETSC_TRUE, .N = 8, .inputs = 5, .samples = 12, .cycles = 4, .step = 0.1, .momentum = 1),
    CASE(.name = "redraw", .options = "E_redraw_cycles 2 E_redraw_spread 0.3", .N = 6, .inputs = 9, .samples = 12, .cycles = 5, .step = 1.0, .redraw = 2),
    CASE(.name = "redraw by epochs, about members, Nesterov", .options = "E_redraw_epochs 1 E_redraw_spread 0.3 E_redraw_about member E_momentum nesterov", .N = 6, .inputs = 4, .samples = 15, .batch = 5, .cycles = 8, .step = 1.0, .redraw = 3, .aboutmember = PETSC_TRUE, .momentum = 2),
    CASE(.name = "inflation", .options = "E_inflation 1.2 E_inflation_additive 0.3", .N = 7, .inputs = 4, .samples = 12, .cycles = 3, .step = 1.0, .inflation = 1.2, .additive = 0.3),
    CASE(.name = "root, inflation", .options = "E_inflation 1.05", .etki = PETSC_TRUE, .N = 7, .inputs = 4, .samples = 12, .cycles = 3, .step = 1.0, .inflation = 1.05),
    CASE(.name = "failures", .options = "", .N = 12, .inputs = 5, .samples = 20, .cycles = 3, .step = 1.0, .fail = "0,3,4,11"),
    CASE(.name = "failures, p < N, perturbed", .options = "E_update stochastic", .stochastic = PETSC_TRUE, .N = 12, .inputs = 5, .samples = 6, .cycles = 2, .step = 1.0, .fail = "1,2,11"),
    CASE(.name = "failures, logits, adaptive", .options = "E_step_rule adaptive -observations_output logits", .loss = LOGITS, .N = 10, .inputs = 3, .samples = 9, .cycles = 2, .rule = ADAPTIVE, .step = 1.0, .floor = 0.5, .fail = "0,1,9"),
    CASE(.name = "root, failures, misfit", .options = "E_step_rule misfit", .etki = PETSC_TRUE, .N = 12, .inputs = 4, .samples = 20, .cycles = 2, .rule = MISFIT, .fail = "5,7,9"),
    CASE(.name = "root, failures, p < N", .options = "", .etki = PETSC_TRUE, .N = 12, .inputs = 4, .samples = 7, .cycles = 2, .step = 1.0, .fail = "0,1,2,3,5,7,9,10"),
    CASE(.name = "failures, Nesterov, inflation", .options = "E_momentum nesterov E_step 0.2 E_inflation 1.3", .N = 10, .inputs = 4, .samples = 12, .cycles = 5, .step = 0.2, .momentum = 2, .inflation = 1.3, .fail = "2,8"),
};
#define CASES (sizeof cases / sizeof cases[0])

/* What a run carries from cycle to cycle. */
typedef struct {
  double U[MOST_STATE * MOST_MEMBERS], previous[MOST_STATE * MOST_MEMBERS];
  double theta, factor, time;
} Carried;

/* Members anew: about the mean or themselves, by draws with the key of a redraw. */
static PetscErrorCode Redrawn(const Case *test, PetscInt n, PetscInt cycle, Carried *carried)
{
  double   mean[MOST_STATE], z[MOST_STATE];
  PetscInt i, j;

  PetscFunctionBeginUser;
  DenseMean(n, test->N, carried->U, mean);
  for (j = 0; j < test->N; j++) {
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_REDRAW, cycle, j}, 0, n, z));
    for (i = 0; i < n; i++) carried->U[i + j * n] = (test->aboutmember ? carried->U[i + j * n] : mean[i]) + SPREAD * Prior(i) * z[i];
  }
  memcpy(carried->previous, carried->U, sizeof carried->previous);
  carried->theta  = 1.0;
  carried->factor = 0.0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Failed members: the survivors' new mean plus normal combinations of their new departures from it. */
static PetscErrorCode Recovered(const Case *test, const Problem *failing, PetscInt n, PetscInt cycle, const PetscInt *survivor, PetscInt active, const double *S, double *U)
{
  double   mean[MOST_STATE], z[MOST_MEMBERS];
  PetscInt f, i, k;

  PetscFunctionBeginUser;
  DenseMean(n, active, S, mean);
  for (f = 0; f < failing->nfail; f++) {
    double *u = U + failing->fail[f] * n;

    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_RECOVERY, cycle, failing->fail[f]}, 0, test->N, z));
    for (i = 0; i < n; i++) {
      u[i] = mean[i];
      for (k = 0; k < active; k++) u[i] += (S[i + k * n] - mean[i]) * z[survivor[k]] / sqrt(active - 1.0);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Inflated(const Case *test, PetscInt n, PetscInt cycle, double *U)
{
  double   z[MOST_STATE * MOST_MEMBERS], mean[MOST_STATE];
  PetscInt i, j;

  PetscFunctionBeginUser;
  for (j = 0; j < test->N; j++) PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_INFLATION, cycle, j}, 0, n, z + j * n));
  DenseMean(n, test->N, z, mean);
  for (j = 0; j < test->N; j++) {
    for (i = 0; i < n; i++) U[i + j * n] += test->additive * Prior(i) * (z[i + j * n] - mean[i]);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One cycle of the reference, from what was carried to it. */
static PetscErrorCode Reference(const Case *test, PetscInt n, PetscInt cycle, PetscInt batches, const KalBatch *batch, Carried *carried, double *step, double *loss)
{
  Dense    d = {.n = n, .p = batch->samples * batch->outputs, .c = batch->outputs, .loss = test->loss, .noise = 0.4};
  double   V[MOST_STATE * MOST_MEMBERS], G[MOST_OBS * MOST_MEMBERS], noise[MOST_OBS * MOST_MEMBERS], S[MOST_STATE * MOST_MEMBERS], mean[MOST_STATE], theta;
  Problem  failing;
  PetscInt i, j, survivor[MOST_MEMBERS];

  PetscFunctionBeginUser;
  if (test->redraw && cycle && cycle % test->redraw == 0) PetscCall(Redrawn(test, n, cycle, carried));
  FailMembers(&failing, test->fail);
  for (j = 0; j < test->N; j++) {
    if (Fails(&failing, j)) continue;
    for (i = 0; i < n; i++) V[i + d.N * n] = carried->U[i + j * n] + carried->factor * (carried->U[i + j * n] - carried->previous[i + j * n]);
    PetscCall(KalDrawNormal((KalKey){SEED, KAL_DRAW_OBSERVATION, cycle, j}, 0, d.p, noise + d.N * d.p));
    survivor[d.N++] = j;
  }
  theta   = carried->theta;
  d.scale = 1.0 / sqrt(d.N - 1.0);
  DensePredict((const double *)batch->input, batch->samples, batch->inputs, batch->outputs, d.N, V, G);
  DenseLinearize(&d, G, batch->target, NULL);
  *loss = d.loss_at_center / batch->samples;
  *step = DenseStep(&d, test->rule, test->step, test->floor);
  if (test->most > 0.0) *step = fmin(*step, test->most);
  if (test->total > 0.0) *step = fmin(*step, (test->total - carried->time) * batches);
  if (test->etki) PetscCall(DenseRoot(&d, V, *step, S));
  else if (test->loss == SQUARED) PetscCall(DenseKalman(&d, V, *step, batch->target, test->stochastic ? noise : NULL, S));
  else PetscCall(DenseEnsemble(&d, V, *step, S));
  DenseMean(n, d.N, S, mean);
  for (j = 0; test->inflation > 0.0 && j < d.N; j++) {
    for (i = 0; i < n; i++) S[i + j * n] = mean[i] + test->inflation * (S[i + j * n] - mean[i]);
  }
  memcpy(carried->previous, carried->U, sizeof carried->previous);
  for (j = 0; j < d.N; j++) memcpy(carried->U + survivor[j] * n, S + j * n, (size_t)n * sizeof *S);
  PetscCall(Recovered(test, &failing, n, cycle, survivor, d.N, S, carried->U));
  if (test->additive > 0.0) PetscCall(Inflated(test, n, cycle, carried->U));
  for (j = 0; j < failing.nfail; j++) memcpy(carried->previous + failing.fail[j] * n, carried->U + failing.fail[j] * n, (size_t)n * sizeof *S); /* no past */
  if (test->momentum == 1) carried->factor = FACTOR;
  if (test->momentum == 2) { /* theta' solves theta'^2 = (1 - theta') theta^2 */
    carried->theta  = 0.5 * (sqrt(pow(theta, 4) + 4.0 * theta * theta) - theta * theta);
    carried->factor = carried->theta * (1.0 / theta - 1.0);
  }
  carried->time += *step / batches;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The distance of members from the span of the first ones, by Gram and Schmidt. */
static double OutOfSpan(PetscInt n, PetscInt N, const double *first, const double *U)
{
  double   Q[MOST_STATE * MOST_MEMBERS], u[MOST_STATE], far = 0.0;
  PetscInt i, j, k, pass;

  for (j = 0; j < 2 * N; j++) {
    double norm = 0.0;

    memcpy(u, j < N ? first + j * n : U + (j - N) * n, (size_t)n * sizeof *u);
    for (pass = 0; pass < 2; pass++) {
      for (k = 0; k < PetscMin(j, N); k++) {
        double dot = 0.0;

        for (i = 0; i < n; i++) dot += Q[i + k * n] * u[i];
        for (i = 0; i < n; i++) u[i] -= dot * Q[i + k * n];
      }
    }
    for (i = 0; i < n; i++) norm += u[i] * u[i];
    if (j >= N) far = fmax(far, sqrt(norm));
    for (i = 0; j < N && i < n; i++) Q[i + j * n] = u[i] / sqrt(norm);
  }
  return far;
}

static void Expand(const Case *test, char *options, size_t size)
{
  const char *c;
  size_t      at = 0;

  for (c = test->options; *c && at + 8 < size; c++) {
    if (*c == 'E' && c[1] == '_') at += (size_t)snprintf(options + at, size - at, "%s", test->etki ? "-etki" : "-eki");
    else options[at++] = *c;
  }
  options[at] = 0;
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test, const char *space)
{
  char     options[512];
  Problem  problem = {.type = test->etki ? "etki" : "eki", .options = options, .N = test->N, .inputs = test->inputs, .outputs = test->loss == SQUARED ? 1 : 3, .samples = test->samples, .batch = test->batch, .labels = test->loss == SQUARED ? PETSC_FALSE : PETSC_TRUE, .noise = 0.4, .spread = 0.8};
  Twin     twin;
  Carried  carried = {.theta = 1.0};
  double   U[MOST_STATE * MOST_MEMBERS], first[MOST_STATE * MOST_MEMBERS];
  PetscInt batches, cycle;

  PetscFunctionBeginUser;
  Expand(test, options, sizeof options);
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, space, &twin));
  PetscCall(KalObservationsGetCycle(twin.obs, NULL, &batches));
  KalHolds(twin.needs.copies == (test->momentum ? 1 : 0) && twin.needs.least == 2 && !twin.needs.generated);
  PetscCall(TwinState(&twin, first));
  memcpy(carried.U, first, sizeof first);
  memcpy(carried.previous, first, sizeof first);
  for (cycle = 0; cycle < test->cycles; cycle++) {
    double step = 0.0, loss = 0.0, distance;

    PetscCall(TwinCycle(&twin));
    PetscCall(TwinState(&twin, U));
    PetscCall(Reference(test, twin.n, cycle, batches, &twin.batch, &carried, &step, &loss));
    distance = DenseDistance((size_t)twin.n * test->N, U, carried.U);
    if (!(distance <= 1e-8) && kal_holds) print_error("\"%s\" with %s, cycle %d: %g from the formula\n", test->name, space, (int)cycle, distance);
    KalHolds(distance <= 1e-8);
    KalNear(twin.report.step, step, 1e-8 * step);
    KalNear(twin.report.loss, loss, 1e-8 * loss);
    KalNear(twin.report.time, carried.time, 1e-8);
    memcpy(carried.U, U, sizeof U); /* differences do not add up from cycle to cycle */
    if (test->total > 0.0 && twin.verdict == KAL_VERDICT_STOP) break;
  }
  KalHolds((twin.verdict == KAL_VERDICT_STOP) == (test->total > 0.0) && (test->total == 0.0 || fabs(twin.report.time - test->total) < 1e-12));
  if (test->span) KalHolds(OutOfSpan(twin.n, test->N, first, U) < 1e-9 && DenseDistance((size_t)twin.n * test->N, U, first) > 0.05);
  PetscCall(KalSameBits(comm, U, (size_t)twin.n * test->N * sizeof *U));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode UpdatesOn(MPI_Comm comm, void *ctx)
{
  const char *spaces[] = {
      "-ensemble_exchange shared",
      "-ensemble_exchange messages -analysis_space ensemble -ensemble_block_rows 2",
      "-ensemble_exchange shared -analysis_space observation -ensemble_block_rows 4",
      "-ensemble_exchange messages -analysis_space matrix-free -analysis_ksp_rtol 1e-13 -ensemble_block_rows 3",
      "-ensemble_exchange messages -analysis_space ensemble -analysis_ksp_type minres -analysis_pc_type none -analysis_ksp_rtol 1e-13",
  };
  size_t t, s;

  PetscFunctionBeginUser;
  (void)ctx;
  for (t = 0; t < CASES; t++) {
    for (s = t % KALTEST_STRIDE; s < PETSC_STATIC_ARRAY_LENGTH(spaces); s += KALTEST_STRIDE) PetscCall(RunCase(comm, &cases[t], spaces[s]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void UpdatesFollowTheFormulas(void **state)
{
  (void)state;
  KalOnEachCount(UpdatesOn, NULL);
}

/* Redrawn members are a sample of the survivors' Gaussian: half of many fail, and the moments of the two halves are compared. */
static PetscErrorCode RedrawnOn(MPI_Comm comm, void *ctx)
{
  enum {
    MANY = 400,
    HALF = 200
  };
  Problem  problem = {.type = "etki", .N = MANY, .inputs = 2, .outputs = 1, .samples = 5, .noise = 0.4, .spread = 0.8, .nfail = HALF};
  Twin     twin;
  double   U[2 * MANY], mean[2][2] = {{0.0}}, C[2][4] = {{0.0}};
  PetscInt i, j, k;

  PetscFunctionBeginUser;
  (void)ctx;
  for (j = 0; j < HALF; j++) problem.fail[j] = 2 * j;
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, NULL, &twin));
  PetscCall(TwinCycle(&twin));
  PetscCall(TwinState(&twin, U));
  PetscCall(TwinDestroy(&twin));
  for (j = 0; j < MANY; j++) {
    for (i = 0; i < 2; i++) mean[j % 2][i] += U[i + 2 * j] / HALF;
  }
  for (j = 0; j < MANY; j++) {
    for (i = 0; i < 4; i++) C[j % 2][i] += (U[i % 2 + 2 * j] - mean[j % 2][i % 2]) * (U[i / 2 + 2 * j] - mean[j % 2][i / 2]) / (HALF - 1);
  }
  for (i = 0; i < 2; i++) {
    KalNear(mean[0][i], mean[1][i], 5.0 * sqrt(C[1][3 * i] / HALF));
    KalHolds(fabs(mean[0][i] - mean[1][i]) > 1e-9);
    for (k = 0; k < 2; k++) KalNear(C[0][i + 2 * k], C[1][i + 2 * k], 5.0 * sqrt((C[1][3 * i] * C[1][3 * k] + pow(C[1][i + 2 * k], 2)) / HALF));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void RedrawnMembersAreLikeSurvivors(void **state)
{
  (void)state;
  KalOnEachCount(RedrawnOn, NULL);
}

static PetscErrorCode OneCycle(const Problem *problem, const char *options)
{
  Twin twin;

  PetscFunctionBeginUser;
  PetscCall(TwinCreate(PETSC_COMM_WORLD, problem, options, &twin));
  PetscCall(TwinCycle(&twin));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A system that is not solved ends the run with a message on every rank, whichever right-hand side it was. */
static void UnsolvedSystems(void **state)
{
  static const char *const options[] = {"-analysis_space matrix-free -analysis_ksp_max_it 1", "-analysis_space ensemble -analysis_ksp_type minres -analysis_pc_type none -analysis_ksp_max_it 1", "-analysis_space observation -analysis_ksp_type cg -analysis_pc_type none -analysis_ksp_max_it 1"};
  Problem                  problem   = {.type = "eki", .N = 8, .inputs = 5, .outputs = 1, .samples = 12, .noise = 1e-4, .spread = 1.0};
  size_t                   s;

  (void)state;
  for (s = 0; s < 2 * PETSC_STATIC_ARRAY_LENGTH(options); s++) {
    FailMembers(&problem, s % 2 ? "7" : NULL); /* the last member's system has the solution 0 if it failed: solved at once */
    MakeData(&problem);
    KalRefused(OneCycle(&problem, options[s / 2]), "linear system was not solved");
  }
  KalCall(PetscOptionsClear(NULL));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(UpdatesFollowTheFormulas),
    cmocka_unit_test(RedrawnMembersAreLikeSurvivors),
    cmocka_unit_test(UnsolvedSystems),
};

KAL_TEST_MAIN("analysis update", tests)
