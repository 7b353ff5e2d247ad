/* ranks: 5 */
/*
  haber, cycle by cycle, against its formula in dense loops and the same draws: damping, momentum, line search,
  schedules, losses, failed members; the same bits on 1, 2, 3 and 5 ranks.
*/
#include "reference.h"

typedef struct {
  const char *name, *options;
  Loss        loss;
  PetscInt    N, inputs, samples, batch, cycles;
  double      damping, step, momentum, spread;
  PetscInt    halvings, schedule, spreadschedule, horizon; /* schedules: 1 cosine, 2 geometric */
  double      final, spreadfinal;
  PetscBool   antithetic;
  const char *fail;     /* members that fail: "0,3" */
  PetscInt    rejected; /* cycles that must be */
} Case;

#define CASE(...) \
  { \
    __VA_ARGS__ \
  }

static const Case cases[] = {
    CASE(.name = "p < N", .options = "-haber_damping 0.5 -haber_step 1 -haber_spread 0.3", .N = 12, .inputs = 6, .samples = 5, .cycles = 3, .damping = 0.5, .step = 1.0, .spread = 0.3),
    CASE(.name = "p > N", .options = "-haber_damping 0.5 -haber_step 1 -haber_spread 0.3", .N = 4, .inputs = 12, .samples = 20, .cycles = 3, .damping = 0.5, .step = 1.0, .spread = 0.3),
    CASE(.name = "defaults", .options = "", .N = 9, .inputs = 6, .samples = 12, .cycles = 2, .damping = 20.0, .step = 0.1, .spread = 0.1),
    CASE(.name = "momentum, mini-batches", .options = "-haber_momentum 0.9 -haber_step 0.3 -haber_damping 1", .N = 9, .inputs = 6, .samples = 20, .batch = 5, .cycles = 5, .damping = 1.0, .step = 0.3, .momentum = 0.9, .spread = 0.1),
    CASE(.name = "logits", .options = "-observations_output logits -haber_damping 2 -haber_step 1", .loss = LOGITS, .N = 8, .inputs = 4, .samples = 9, .cycles = 3, .damping = 2.0, .step = 1.0, .spread = 0.1),
    CASE(.name = "probabilities", .options = "-haber_damping 2 -haber_step 1 -haber_momentum 0.5", .loss = PROBABILITIES, .N = 8, .inputs = 4, .samples = 9, .cycles = 3, .damping = 2.0, .step = 1.0, .momentum = 0.5, .spread = 0.1),
    CASE(.name = "line search", .options = "-haber_line_search 4 -haber_step 2 -haber_damping 0.1", .N = 10, .inputs = 5, .samples = 12, .cycles = 4, .damping = 0.1, .step = 2.0, .spread = 0.1, .halvings = 4),
    CASE(.name = "line search, logits, momentum", .options = "-haber_line_search 6 -haber_step 8 -haber_damping 1 -observations_output logits -haber_momentum 0.6", .loss = LOGITS, .N = 10, .inputs = 4, .samples = 9, .cycles = 4, .damping = 1.0, .step = 8.0, .spread = 0.1, .momentum = 0.6, .halvings = 6),
    CASE(.name = "nothing better", .options = "-haber_line_search 2 -haber_step 50 -haber_damping 0.01 -haber_momentum 0.9", .N = 12, .inputs = 4, .samples = 15, .cycles = 3, .damping = 0.01, .step = 50.0, .spread = 0.1, .momentum = 0.9, .halvings = 2, .rejected = 3),
    CASE(.name = "sometimes better", .options = "-haber_line_search 1 -haber_step 1 -haber_damping 0.05 -haber_momentum 0.9", .N = 12, .inputs = 4, .samples = 15, .cycles = 8, .damping = 0.05, .step = 1.0, .spread = 0.1, .momentum = 0.9, .halvings = 1, .rejected = 4),
    CASE(.name = "schedules", .options = "-haber_step_schedule cosine -haber_step 1 -haber_step_final 0.1 -haber_spread_schedule geometric -haber_spread 0.4 -haber_spread_final 0.001 -analysis_schedule_cycles 4", .N = 6, .inputs = 5, .samples = 9, .cycles = 6, .damping = 20.0, .step = 1.0, .spread = 0.4, .schedule = 1, .spreadschedule = 2, .horizon = 4, .final = 0.1, .spreadfinal = 0.001),
    CASE(.name = "schedules, the other way", .options = "-haber_step_schedule geometric -haber_step 1 -haber_step_final 0.1 -haber_spread_schedule cosine -haber_spread 0.4 -haber_spread_final 0.01 -analysis_schedule_cycles 3", .N = 6, .inputs = 5, .samples = 9, .cycles = 5, .damping = 20.0, .step = 1.0, .spread = 0.4, .schedule = 2, .spreadschedule = 1, .horizon = 3, .final = 0.1, .spreadfinal = 0.01),
    CASE(.name = "antithetic", .options = "-haber_antithetic -haber_damping 1", .N = 8, .inputs = 6, .samples = 12, .cycles = 2, .damping = 1.0, .step = 0.1, .spread = 0.1, .antithetic = PETSC_TRUE),
    CASE(.name = "antithetic, odd", .options = "-haber_antithetic -haber_damping 1", .N = 7, .inputs = 6, .samples = 3, .cycles = 2, .damping = 1.0, .step = 0.1, .spread = 0.1, .antithetic = PETSC_TRUE),
    CASE(.name = "failures", .options = "-haber_damping 1 -haber_line_search 3", .N = 9, .inputs = 6, .samples = 12, .cycles = 3, .damping = 1.0, .step = 0.1, .spread = 0.1, .halvings = 3, .fail = "0,4,8"),
    CASE(.name = "failures, p < N", .options = "-haber_damping 1 -observations_output logits -haber_antithetic", .loss = LOGITS, .N = 14, .inputs = 4, .samples = 3, .cycles = 2, .damping = 1.0, .step = 0.1, .spread = 0.1, .antithetic = PETSC_TRUE, .fail = "3,13"),
};
#define CASES (sizeof cases / sizeof cases[0])

static double Scheduled(PetscInt schedule, PetscInt horizon, double start, double final, PetscInt cycle)
{
  const double t = horizon ? fmin(1.0, (double)cycle / horizon) : 0.0;

  if (schedule == 1) return final + 0.5 * (start - final) * (1.0 + cos(acos(-1.0) * t));
  if (schedule == 2) return start * pow(final / start, t);
  return start;
}

static double LossAt(const Case *test, const KalBatch *batch, const double *x)
{
  double   G[MOST_OBS], P[MOST_OBS], loss = 0.0;
  PetscInt i, p = batch->samples * batch->outputs;

  DensePredict((const double *)batch->input, batch->samples, batch->inputs, batch->outputs, 1, x, G);
  DenseSoftmax(p, batch->outputs, G, P);
  for (i = 0; i < p; i++) loss += test->loss == SQUARED ? 0.5 * pow(batch->target[i] - G[i], 2) / 0.4 : -batch->target[i] * log(P[i]);
  return loss;
}

/*
  theta and velocity after a cycle: Omega of the cycle's draws, Q anomalies about the members' mean, the residual at
  theta, c = (Q'HQ + damping tr/N)^{-1} Q' gradient with its mean removed, v = beta v + Omega c, theta + mu v.
*/
static PetscErrorCode Reference(const Case *test, PetscInt n, PetscInt cycle, const KalBatch *batch, double *theta, double *velocity, double *step, double *loss)
{
  Dense        d      = {.n = n, .p = batch->samples * batch->outputs, .c = batch->outputs, .loss = test->loss, .noise = 0.4, .scale = 1.0};
  const double spread = Scheduled(test->spreadschedule, test->horizon, test->spread, test->spreadfinal, cycle);
  double       omega[MOST_STATE * MOST_MEMBERS], V[MOST_STATE * MOST_MEMBERS], G[MOST_OBS * MOST_MEMBERS], at[MOST_OBS], S[MOST_MEMBERS * MOST_MEMBERS], c[MOST_MEMBERS], v[MOST_STATE], trace = 0.0, mean = 0.0, prior[MOST_STATE], least;
  KalEnsemble  members;
  KalColumns   columns;
  Problem      failing;
  PetscInt     i, j, k;

  PetscFunctionBeginUser;
  FailMembers(&failing, test->fail);
  for (i = 0; i < n; i++) prior[i] = Prior(i);
  PetscCall(KalEnsembleCreateGaussian(PETSC_COMM_SELF, n, test->N, theta, prior, &members));
  PetscCall(KalEnsembleGaussianSet(members, (KalKey){SEED, KAL_DRAW_PERTURBATION, cycle, 0}, spread, test->antithetic, PETSC_FALSE));
  PetscCall(KalEnsembleGetColumns(members, 0, test->N, &columns));
  for (j = 0; j < test->N; j++) {
    if (Fails(&failing, j)) continue;
    for (i = 0; i < n; i++) {
      V[i + d.N * n]     = columns.column[j][i];
      omega[i + d.N * n] = columns.column[j][i] - theta[i];
    }
    d.N++;
  }
  PetscCall(KalEnsembleRestoreColumns(members, &columns));
  PetscCall(KalEnsembleDestroy(&members));
  DensePredict((const double *)batch->input, batch->samples, batch->inputs, batch->outputs, d.N, V, G);
  DensePredict((const double *)batch->input, batch->samples, batch->inputs, batch->outputs, 1, theta, at);
  DenseLinearize(&d, G, batch->target, at);
  *loss = d.loss_at_center / batch->samples;
  DenseGram(&d, S);
  DenseTN(d.p, d.N, 1, d.E, d.mean, c);
  for (j = 0; j < d.N; j++) trace += S[j + j * d.N];
  for (j = 0; j < d.N; j++) S[j + j * d.N] += test->damping * trace / d.N;
  PetscCall(DenseSolve(d.N, S, 1, c));
  for (j = 0; j < d.N; j++) mean += c[j] / d.N;
  for (i = 0; i < n; i++) {
    v[i] = test->momentum * velocity[i];
    for (j = 0; j < d.N; j++) v[i] += omega[i + j * n] * (c[j] - mean);
  }
  *step = Scheduled(test->schedule, test->horizon, test->step, test->final, cycle);
  least = LossAt(test, batch, theta);
  KalNear(least, d.loss_at_center, 1e-10 * least);
  if (test->halvings) {
    double mu = *step, tried[MOST_STATE];

    *step = 0.0;
    for (k = 0; k < test->halvings; k++, mu *= 0.5) {
      for (i = 0; i < n; i++) tried[i] = theta[i] + mu * v[i];
      if (LossAt(test, batch, tried) < least) {
        least = LossAt(test, batch, tried);
        *step = mu;
      }
    }
  }
  for (i = 0; i < n; i++) {
    theta[i] += *step * v[i];
    velocity[i] = *step == 0.0 ? 0.0 : v[i]; /* a rejected direction leaves nothing behind */
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CheckArrays(const Twin *twin, const double *velocity, double time)
{
  KalArray arrays[KAL_ANALYSIS_ARRAYS];
  PetscInt count, a, seen = 0;

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetArrays(twin->analysis, &count, arrays));
  for (a = 0; a < count; a++) {
    if (!strcmp(arrays[a].name, "velocity")) {
      KalHolds(arrays[a].count == twin->n && DenseDistance((size_t)twin->n, arrays[a].data, velocity) < 1e-8);
      seen++;
    }
    if (!strcmp(arrays[a].name, "time")) {
      KalNear(arrays[a].data[0], time, 1e-10);
      seen++;
    }
  }
  KalHolds(seen == 2 && count == 2);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RunCase(MPI_Comm comm, const Case *test, const char *space)
{
  Problem  problem = {.type = "haber", .options = test->options, .N = test->N, .inputs = test->inputs, .outputs = test->loss == SQUARED ? 1 : 3, .samples = test->samples, .batch = test->batch, .labels = test->loss == SQUARED ? PETSC_FALSE : PETSC_TRUE, .noise = 0.4};
  Twin     twin;
  double   theta[MOST_STATE], velocity[MOST_STATE] = {0.0}, time = 0.0;
  PetscInt cycle, rejected = 0, moved = 0;

  PetscFunctionBeginUser;
  FailMembers(&problem, test->fail);
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, space, &twin));
  KalHolds(twin.needs.generated && !twin.needs.copies && twin.needs.points == PetscMax(test->N + 1, test->halvings));
  memcpy(theta, twin.mean, (size_t)twin.n * sizeof *theta);
  for (cycle = 0; cycle < test->cycles; cycle++) {
    double     step = 0.0, loss = 0.0, distance, factor;
    KalKey     key;
    PetscBool  antithetic;
    PetscInt64 checksum;

    PetscCall(TwinCycle(&twin));
    PetscCall(Reference(test, twin.n, cycle, &twin.batch, theta, velocity, &step, &loss));
    distance = DenseDistance((size_t)twin.n, theta, twin.mean);
    if (!(distance <= 1e-8) && kal_holds) print_error("\"%s\" with %s, cycle %d: %g from the formula\n", test->name, space, (int)cycle, distance);
    KalHolds(distance <= 1e-8);
    time += step;
    KalNear(twin.report.step, step, 1e-12 * step);
    KalNear(twin.report.loss, loss, 1e-10 * loss);
    KalNear(twin.report.time, time, 1e-10);
    KalHolds((twin.verdict == KAL_VERDICT_REJECT) == (step == 0.0) && (step == 0.0 || twin.verdict == KAL_VERDICT_ACCEPT));
    rejected += step == 0.0;
    moved += step != 0.0;
    PetscCall(CheckArrays(&twin, velocity, time));
    PetscCall(KalEnsembleGaussianGet(twin.ensemble, &key, &factor, &antithetic));
    KalHolds(key.seed == SEED && key.cycle == cycle && antithetic == test->antithetic);
    KalNear(factor, Scheduled(test->spreadschedule, test->horizon, test->spread, test->spreadfinal, cycle), 1e-14);
    memcpy(theta, twin.mean, (size_t)twin.n * sizeof *theta);
    PetscCall(KalEnsembleChecksum(twin.ensemble, &checksum));
    PetscCall(KalSameBits(comm, &checksum, sizeof checksum));
  }
  KalHolds(rejected == test->rejected && moved == test->cycles - rejected);
  PetscCall(KalSameBits(comm, twin.mean, (size_t)twin.n * sizeof *twin.mean));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode StepsOn(MPI_Comm comm, void *ctx)
{
  const char *spaces[] = {
      "-ensemble_exchange shared",
      "-ensemble_exchange messages -analysis_space ensemble -ensemble_block_rows 4",
      "-ensemble_exchange shared -analysis_space observation -ensemble_block_rows 2",
      "-ensemble_exchange messages -analysis_space matrix-free -analysis_ksp_rtol 1e-13",
      "-ensemble_exchange messages -analysis_space observation -analysis_ksp_type minres -analysis_pc_type none -analysis_ksp_rtol 1e-13",
  };
  size_t t = *(const size_t *)ctx, s;

  PetscFunctionBeginUser;
  for (; t < CASES; t += 2) { /* half of them at a time: room for the bits */
    for (s = t % KALTEST_STRIDE; s < PETSC_STATIC_ARRAY_LENGTH(spaces); s += KALTEST_STRIDE) PetscCall(RunCase(comm, &cases[t], spaces[s]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void StepsFollowTheFormula(void **state)
{
  size_t t;

  (void)state;
  for (t = 0; t < 2; t++) KalOnEachCount(StepsOn, &t);
}

/* The mean's own prediction must be finite, and perturbations must change predictions. */
static void Refusals(void **state)
{
  Problem problem = {.type = "haber", .options = "", .N = 6, .inputs = 4, .outputs = 1, .samples = 5, .noise = 0.4};
  Twin    twin;
  double  x[20] = {0.0};

  (void)state;
  FailMembers(&problem, "6"); /* the one behind the members: the mean */
  MakeData(&problem);
  KalCall(TwinCreate(PETSC_COMM_WORLD, &problem, NULL, &twin));
  KalRefused(TwinCycle(&twin), "The mean's own prediction is not finite in cycle 0");
  KalCall(TwinDestroy(&twin));
  FailMembers(&problem, NULL);
  problem.x = x;
  KalCall(TwinCreate(PETSC_COMM_WORLD, &problem, NULL, &twin));
  KalRefused(TwinCycle(&twin), "The perturbations change no prediction");
  KalCall(TwinDestroy(&twin));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(StepsFollowTheFormula),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis haber", tests)
