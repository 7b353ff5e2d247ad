/* ranks: 1 2 */
/* Whitened anomalies and residuals against dense linear algebra and finite differences of the loss. */
#include "datafiles.h"

#define C       4 /* outputs */
#define SAMPLES 7 /* of the batch */
#define FIRST   2 /* first sample of the block */
#define BLOCK   3 /* samples of the block */
#define ROWS    (C * BLOCK)
#define N       6 /* members; one column more is the center */
#define LD      (ROWS + 5)
#define FLOOR   0.05

static double    g[(N + 1) * LD], anomalies[N * ROWS], residual[ROWS], residuals[N * ROWS];
static KalStatus status[N] = {KAL_MEMBER_OK, KAL_MEMBER_OK, KAL_MEMBER_NONFINITE, KAL_MEMBER_OK, KAL_MEMBER_FAILED, KAL_MEMBER_OK};
static KalRows   rows;

static int Ok(int j)
{
  return status[j] == KAL_MEMBER_OK;
}

/* Labelled samples under the loss named by an option string. */
static void Make(const char *options, KalObservations *obs, KalBatch *batch)
{
  double x[SAMPLES], y[SAMPLES];

  for (int s = 0; s < SAMPLES; s++) {
    x[s] = s;
    y[s] = (3 * s + 1) % C;
  }
  KalCall(PetscOptionsInsertString(NULL, options));
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, obs));
  KalCall(KalObservationsSetArrays(*obs, KAL_SET_TRAIN, SAMPLES, 1, x, 0, y));
  KalCall(KalObservationsSetOutputs(*obs, C));
  KalCall(KalObservationsSetFromOptions(*obs));
  KalCall(PetscOptionsClear(NULL));
  KalCall(KalObservationsSetUp(*obs));
  KalCall(KalObservationsNext(*obs, 0, batch));
}

/* Predictions of any kind; those that do not take part are filled with NaN; the slack between columns too. */
static void Predict(void)
{
  const KalKey key = {5, KAL_DRAW_TEST, 0, 0};

  KalCall(KalDrawNormal(key, 0, (N + 1) * LD, g));
  for (int j = 0; j <= N; j++)
    for (int i = 0; i < LD; i++) {
      if (i >= ROWS || (j < N && !Ok(j))) g[j * LD + i] = NAN;
      else g[j * LD + i] *= 1.5;
    }
  memset(&rows, 0, sizeof rows);
  rows.first      = FIRST * C;
  rows.count      = ROWS;
  rows.ensembles  = 1;
  rows.members[0] = N + 1;
  rows.x[0]       = g;
  rows.ld[0]      = LD;
}

static double Whiten(KalObservations obs, const KalBatch *batch, int center, double scale)
{
  KalWhitening w;
  double       before[(N + 1) * LD];

  for (int i = 0; i < N * ROWS; i++) anomalies[i] = residuals[i] = NAN;
  memcpy(before, g, sizeof g);
  memset(&w, 0, sizeof w);
  w.rows      = &rows;
  w.members   = N;
  w.center    = center ? N : -1;
  w.status    = status;
  w.active    = 4;
  w.scale     = scale;
  w.anomalies = anomalies;
  w.residual  = residual;
  w.residuals = residuals;
  KalCall(KalObservationsWhiten(obs, batch, &w));
  KalAssert(!memcmp(before, g, sizeof g));
  for (int j = 0; j < N; j++)
    for (int i = 0; i < ROWS; i++)
      if (!Ok(j)) KalAssert(anomalies[j * ROWS + i] == 0. && residuals[j * ROWS + i] == 0.);
  return w.loss;
}

static double OneHot(const KalBatch *batch, int i)
{
  return batch->label[FIRST + i / C] == i % C;
}

/* softmax of a block's column, straight from its definition */
static void Soft(const double *logits, double *p)
{
  for (int s = 0; s < BLOCK; s++) {
    double sum = 0;

    for (int k = 0; k < C; k++) sum += exp(logits[s * C + k]);
    for (int k = 0; k < C; k++) p[s * C + k] = exp(logits[s * C + k]) / sum;
  }
}

static double Dot(const double *a, const double *b)
{
  double sum = 0;

  for (int i = 0; i < ROWS; i++) sum += a[i] * b[i];
  return sum;
}

static void Average(double (*columns)[ROWS], double *mean)
{
  for (int i = 0; i < ROWS; i++) {
    mean[i] = 0;
    for (int j = 0; j < N; j++)
      if (Ok(j)) mean[i] += columns[j][i] / 4;
  }
}

static void Columns(int soft, double (*columns)[ROWS])
{
  for (int j = 0; j <= N; j++) {
    if (soft) Soft(g + j * LD, columns[j]);
    else memcpy(columns[j], g + j * LD, ROWS * sizeof(double));
  }
}

static double SquaredLoss(const KalBatch *batch, const double *at, double gamma)
{
  double sum = 0;

  for (int i = 0; i < ROWS; i++) sum += pow(OneHot(batch, i) - at[i], 2) / (2 * gamma);
  return sum;
}

/* -log softmax(at)[label], of logits */
static double LogitsLoss(const KalBatch *batch, const double *at)
{
  double p[ROWS], sum = 0;

  Soft(at, p);
  for (int s = 0; s < BLOCK; s++) sum -= log(p[s * C + batch->label[FIRST + s]]);
  return sum;
}

static void Shift(const double *at, const double *along, double step, double *out)
{
  for (int i = 0; i < ROWS; i++) out[i] = at[i] + step * along[i];
}

/* A'r must be minus the gradient, and A_i'A_j the second derivative, of the loss along scaled anomalies. */
static void Squared(void **state)
{
  const double    gamma = 0.3, scale = 0.7, h = 1e-3;
  KalObservations obs;
  KalBatch        batch;
  double          columns[N + 1][ROWS], mean[ROWS], e[ROWS], up[ROWS], down[ROWS];

  (void)state;
  Make("-observations_loss squared -observations_noise 0.3", &obs, &batch);
  Predict();
  Columns(0, columns);
  Average(columns, mean);
  for (int center = 0; center < 2; center++) {
    const double *at   = center ? columns[N] : mean;
    const double  loss = Whiten(obs, &batch, center, scale);

    KalAssertNear(loss, SquaredLoss(&batch, at, gamma), 1e-12);
    for (int i = 0; i < ROWS; i++) KalAssertNear(residual[i], (OneHot(&batch, i) - at[i]) / sqrt(gamma), 1e-13);
    for (int j = 0; j < N; j++) {
      if (!Ok(j)) continue;
      for (int i = 0; i < ROWS; i++) {
        KalAssertNear(anomalies[j * ROWS + i], scale * (columns[j][i] - mean[i]) / sqrt(gamma), 1e-13);
        KalAssertNear(residuals[j * ROWS + i], (OneHot(&batch, i) - columns[j][i]) / sqrt(gamma), 1e-13);
        e[i] = scale * (columns[j][i] - mean[i]);
      }
      Shift(at, e, h, up);
      Shift(at, e, -h, down);
      KalAssertNear(Dot(anomalies + j * ROWS, residual), -(SquaredLoss(&batch, up, gamma) - SquaredLoss(&batch, down, gamma)) / (2 * h), 1e-8);
      KalAssertNear(Dot(anomalies + j * ROWS, anomalies + j * ROWS), (SquaredLoss(&batch, up, gamma) + SquaredLoss(&batch, down, gamma) - 2 * SquaredLoss(&batch, at, gamma)) / (h * h), 1e-6);
    }
  }
  KalCall(KalObservationsDestroy(&obs));
}

static void Probabilities(void **state)
{
  const double    scale = 0.5, h = 1e-4;
  KalObservations obs;
  KalBatch        batch;
  double          columns[N + 1][ROWS], mean[ROWS];

  (void)state;
  Predict();
  Columns(1, columns);
  Average(columns, mean);
  for (int floored = 0; floored < 2; floored++) {
    const double floor = floored ? FLOOR : 1e-9;
    int          below = 0;

    Make(floored ? "-observations_probability_floor 0.05" : "-observations_probability_floor 1e-9", &obs, &batch);
    for (int center = 0; center < 2; center++) {
      const double *at   = center ? columns[N] : mean;
      const double  loss = Whiten(obs, &batch, center, scale);
      double        want = 0;

      for (int s = 0; s < BLOCK; s++) want -= log(at[s * C + batch.label[FIRST + s]]);
      KalAssertNear(loss, want, 1e-12);
      for (int i = 0; i < ROWS; i++) {
        const double q = sqrt(fmax(mean[i], floor));

        below += mean[i] < floor;
        KalAssertNear(residual[i], (OneHot(&batch, i) - at[i]) / q, 1e-12);
        for (int j = 0; j < N; j++) {
          if (!Ok(j)) continue;
          KalAssertNear(anomalies[j * ROWS + i], scale * (columns[j][i] - mean[i]) / q, 1e-12);
          KalAssertNear(residuals[j * ROWS + i], (OneHot(&batch, i) - columns[j][i]) / q, 1e-12);
          /* affine: without a center a member's residual follows from the mean's */
          if (!center) KalAssertNear(residuals[j * ROWS + i], residual[i] - anomalies[j * ROWS + i] / scale, 1e-12);
        }
      }
      if (center || floored) continue;
      /* A'r is minus the slope of -log P[label]; A'A its curvature, averaged over labels drawn from Pbar */
      for (int j = 0; j < N; j++) {
        double slope = 0, curvature = 0;

        if (!Ok(j)) continue;
        for (int i = 0; i < ROWS; i++) {
          const double d = scale * (columns[j][i] - mean[i]), up = -log(mean[i] + h * d), down = -log(mean[i] - h * d), here = -log(mean[i]);

          slope += OneHot(&batch, i) * (up - down) / (2 * h);
          curvature += mean[i] * (up + down - 2 * here) / (h * h);
        }
        KalAssertNear(Dot(anomalies + j * ROWS, residual), -slope, 1e-6);
        KalAssertNear(Dot(anomalies + j * ROWS, anomalies + j * ROWS), curvature, 1e-5);
      }
    }
    KalAssert(floored ? below > 0 : below == 0);
    KalCall(KalObservationsDestroy(&obs));
  }
}

/* A'A = E'(diag p - p p')E for every pair of members, A'r = E'(y - p), and both are derivatives of the loss. */
static void Logits(void **state)
{
  const double    scale = 0.8, h = 1e-4;
  KalObservations obs;
  KalBatch        batch;
  double          columns[N + 1][ROWS], mean[ROWS], p[ROWS], e[N][ROWS], up[ROWS], down[ROWS], soft[ROWS];

  (void)state;
  Make("-observations_output logits", &obs, &batch);
  Predict();
  Columns(0, columns);
  Average(columns, mean);
  for (int center = 0; center < 2; center++) {
    const double *at   = center ? columns[N] : mean;
    const double  loss = Whiten(obs, &batch, center, scale);

    KalAssertNear(loss, LogitsLoss(&batch, at), 1e-12);
    Soft(at, p);
    for (int j = 0; j < N; j++)
      if (Ok(j)) Shift(columns[j], mean, -1., e[j]);
    for (int j = 0; j < N; j++)
      for (int i = 0; i < ROWS; i++) e[j][i] *= scale;
    for (int i = 0; i < ROWS; i++) KalAssertNear(residual[i], (OneHot(&batch, i) - p[i]) / sqrt(p[i]), 1e-12);
    for (int j = 0; j < N; j++) {
      double gradient = 0;

      if (!Ok(j)) continue;
      for (int i = 0; i < ROWS; i++) gradient += e[j][i] * (OneHot(&batch, i) - p[i]);
      KalAssertNear(Dot(anomalies + j * ROWS, residual), gradient, 1e-12);
      for (int l = 0; l < N; l++) {
        double weight = 0;

        if (!Ok(l)) continue;
        for (int s = 0; s < BLOCK; s++)
          for (int a = 0; a < C; a++)
            for (int b = 0; b < C; b++) weight += e[j][s * C + a] * ((a == b) * p[s * C + a] - p[s * C + a] * p[s * C + b]) * e[l][s * C + b];
        KalAssertNear(Dot(anomalies + j * ROWS, anomalies + l * ROWS), weight, 1e-12);
      }
      Shift(at, e[j], h, up);
      Shift(at, e[j], -h, down);
      KalAssertNear(Dot(anomalies + j * ROWS, residual), -(LogitsLoss(&batch, up) - LogitsLoss(&batch, down)) / (2 * h), 1e-6);
      KalAssertNear(Dot(anomalies + j * ROWS, anomalies + j * ROWS), (LogitsLoss(&batch, up) + LogitsLoss(&batch, down) - 2 * LogitsLoss(&batch, at)) / (h * h), 1e-5);
      Soft(columns[j], soft);
      for (int i = 0; i < ROWS; i++) KalAssertNear(residuals[j * ROWS + i], (OneHot(&batch, i) - soft[i]) / sqrt(p[i]), 1e-12);
    }
  }
  KalCall(KalObservationsDestroy(&obs));
}

/* Logits far from zero neither overflow nor lose the loss. */
static void LargeLogits(void **state)
{
  const char *const options[2] = {"-observations_output probabilities", "-observations_output logits"};

  (void)state;
  for (int o = 0; o < 2; o++) {
    KalObservations obs;
    KalBatch        batch;
    PetscReal       sums[N + 1] = {0};
    int             finite      = 1;
    double          loss, want = 0;

    Make(options[o], &obs, &batch);
    Predict();
    for (int j = 0; j <= N; j++)
      for (int i = 0; i < ROWS; i++) g[j * LD + i] *= 700;
    loss = Whiten(obs, &batch, 1, 1.);
    for (int i = 0; i < N * ROWS; i++) finite = finite && isfinite(anomalies[i]) && isfinite(residuals[i]);
    for (int i = 0; i < ROWS; i++) finite = finite && isfinite(residual[i]);
    KalAssert(finite);
    for (int s = 0; s < BLOCK; s++) { /* log-sum-exp of numbers hundreds apart is their largest */
      const double *z = g + N * LD + s * C;

      want += fmax(fmax(z[0], z[1]), fmax(z[2], z[3])) - z[batch.label[FIRST + s]];
    }
    KalAssert(want > 100.);
    KalAssertNear(loss, want, 1e-9);
    KalCall(KalObservationsLosses(obs, &batch, &rows, sums));
    KalAssertNear(sums[N], want, 1e-9);
    /* without a center, a label that no member believes in is cut off */
    for (int j = 0; j <= N; j++)
      for (int i = 0; i < ROWS; i++) g[j * LD + i] = i % C == batch.label[FIRST + i / C] ? -2000. : 0.;
    loss = Whiten(obs, &batch, 0, 1.);
    KalAssertNear(loss, o ? BLOCK * (2000. + log(3.)) : BLOCK * 708.3964185322641, 1e-9);
    KalCall(KalObservationsDestroy(&obs));
  }
}

static void LossesOfColumns(void **state)
{
  const char *const options[2] = {"-observations_loss squared -observations_noise 0.3", ""};

  (void)state;
  for (int o = 0; o < 2; o++) {
    KalObservations obs;
    KalBatch        batch;
    PetscReal       sums[N + 1];

    Make(options[o], &obs, &batch);
    Predict();
    for (int j = 0; j <= N; j++) sums[j] = 10. * j;
    KalCall(KalObservationsLosses(obs, &batch, &rows, sums));
    for (int j = 0; j <= N; j++) {
      if (j < N && !Ok(j)) KalAssert(isnan(sums[j]));
      else KalAssertNear(sums[j], 10. * j + (o ? LogitsLoss(&batch, g + j * LD) : SquaredLoss(&batch, g + j * LD, 0.3)), 1e-12);
    }
    KalCall(KalObservationsDestroy(&obs));
  }
}

static void Averages(void **state)
{
  const char *const options[2] = {"-observations_loss squared", ""};

  (void)state;
  for (int o = 0; o < 2; o++) {
    KalObservations obs;
    KalBatch        batch;
    double          columns[N + 1][ROWS], mean[ROWS], m[ROWS], alone[ROWS], var[ROWS];

    Make(options[o], &obs, &batch);
    Predict();
    Columns(o, columns);
    Average(columns, mean);
    KalCall(KalObservationsAverage(obs, &rows, N, status, m, var));
    KalCall(KalObservationsAverage(obs, &rows, N, status, alone, NULL));
    KalAssert(!memcmp(m, alone, sizeof m));
    for (int i = 0; i < ROWS; i++) {
      double want = 0;

      for (int j = 0; j < N; j++)
        if (Ok(j)) want += pow(columns[j][i] - mean[i], 2) / 3;
      KalAssertNear(m[i], mean[i], 1e-14);
      KalAssertNear(var[i], want, 1e-13);
    }
    KalCall(KalObservationsAverage(obs, &rows, 1, NULL, m, var)); /* one member: its own, without spread */
    for (int i = 0; i < ROWS; i++) {
      KalAssertNear(m[i], columns[0][i], 1e-15);
      KalAssert(var[i] == 0.);
    }
    KalCallFails(KalObservationsAverage(obs, &rows, 1, status + 2, m, var), "None of the 1 members is OK");
    KalCall(KalObservationsDestroy(&obs));
  }
}

/* A regression with several targets a sample. */
static void Regression(void **state)
{
  const double    x[3] = {0, 1, 2}, y[6] = {1, 2, 3, 4, 5, 6};
  double          z[8] = {0, 0, 1, 1, 2, 2, 3, 3}, a[8], r[4];
  KalObservations obs;
  KalBatch        batch;
  KalRows         block;
  KalWhitening    w;
  PetscReal       sums[2] = {0, 0};

  (void)state;
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, &obs));
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 3, 1, x, 2, y));
  KalCall(KalObservationsSetLoss(obs, KAL_LOSS_SQUARED, 4.));
  KalCall(KalObservationsSetUp(obs));
  KalCall(KalObservationsNext(obs, 0, &batch));
  memset(&block, 0, sizeof block);
  block.first      = 2;
  block.count      = 4;
  block.members[0] = 2;
  block.x[0]       = z;
  block.ld[0]      = 4;
  memset(&w, 0, sizeof w);
  w.rows      = &block;
  w.members   = 2;
  w.center    = -1;
  w.active    = 2;
  w.scale     = 1.;
  w.anomalies = a;
  w.residual  = r;
  KalCall(KalObservationsWhiten(obs, &batch, &w));
  /* means 1 1 2 2, targets 3 4 5 6, noise deviation 2 */
  KalAssert(r[0] == 1. && r[1] == 1.5 && r[2] == 1.5 && r[3] == 2. && a[0] == -.5 && a[4] == .5 && w.loss == (4. + 9. + 9. + 16.) / 8.);
  KalCall(KalObservationsLosses(obs, &batch, &block, sums));
  KalAssert(sums[0] == (9. + 16. + 16. + 25.) / 8. && sums[1] == (1. + 4. + 4. + 9.) / 8.);

  block.count = 3;
  KalCallFails(KalObservationsWhiten(obs, &batch, &w), "does not hold whole samples of 2 outputs");
  block.count = 4;
  block.first = 1;
  KalCallFails(KalObservationsLosses(obs, &batch, &block, sums), "does not hold whole samples of 2 outputs");
  block.first = 4;
  KalCallFails(KalObservationsWhiten(obs, &batch, &w), "goes beyond the 3 samples");
  block.first = 2;
  w.active    = 1;
  KalCallFails(KalObservationsWhiten(obs, &batch, &w), "1 members were said to be active, and the status of 2 of 2 is OK");
  w.active = 2;
  w.center = 2;
  KalCallFails(KalObservationsWhiten(obs, &batch, &w), "do not fit");
  KalCall(KalObservationsDestroy(&obs));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(Squared),
    cmocka_unit_test(Probabilities),
    cmocka_unit_test(Logits),
    cmocka_unit_test(LargeLogits),
    cmocka_unit_test(LossesOfColumns),
    cmocka_unit_test(Averages),
    cmocka_unit_test(Regression),
};

KAL_TEST_MAIN("observations loss", tests)
