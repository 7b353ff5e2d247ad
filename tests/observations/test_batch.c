/* ranks: 1 2 3 */
/* Normalization, mini-batches, the shuffle, options, and data from memory. */
#include "datafiles.h"

/* Bytes 0..11 as 4 samples of 3, label s % 2, in an IDX pair. */
static char list[3100];

static void WriteBytes(void)
{
  const unsigned dims[2] = {4, 3};
  unsigned char  x[12], y[4] = {0, 1, 0, 1};
  char           images[1024], labels[1024];

  for (int i = 0; i < 12; i++) x[i] = (unsigned char)(i * i);
  snprintf(images, sizeof images, "%s", KalTestPath("bx.idx"));
  snprintf(labels, sizeof labels, "%s", KalTestPath("by.idx"));
  snprintf(list, sizeof list, "%s,%s", images, labels);
  WriteIdx(images, 0x08, 2, dims, x, 12, 1, 0);
  WriteIdx(labels, 0x08, 1, dims, y, 4, 1, 0);
}

/* Observations with the options of a string, which are cleared again. */
static PetscErrorCode WithOptions(const char *path, const char *options, KalObservations *obs)
{
  PetscErrorCode ierr;

  if ((ierr = PetscOptionsClear(NULL)) || (ierr = PetscOptionsInsertString(NULL, options)) || (ierr = KalObservationsCreate(PETSC_COMM_WORLD, obs))) return ierr;
  if (path) ierr = KalObservationsSetPath(*obs, path);
  if (!ierr) ierr = KalObservationsSetFromOptions(*obs);
  if (!ierr) ierr = KalObservationsSetUp(*obs);
  if (ierr) (void)KalObservationsDestroy(obs);
  (void)PetscOptionsClear(NULL);
  return ierr;
}

static PetscErrorCode TryOptions(const char *options)
{
  KalObservations obs  = NULL;
  PetscErrorCode  ierr = WithOptions(list, options, &obs);

  if (!ierr) (void)KalObservationsDestroy(&obs);
  return ierr;
}

/* Squares 0 1 4 ... 121: sum 506, sum of squares 39974 (sums of i^2 and i^4 up to 11). */
static void NormalizesBytes(void **state)
{
  const double    mean = 506. / 12, sd = sqrt(39974. / 12 - mean * mean);
  KalObservations obs;
  KalBatch        batch;
  PetscInt        count;
  PetscReal      *m, *s;

  (void)state;
  WriteBytes();
  KalCall(WithOptions(list, "", &obs)); /* standard is the default for uint8 */
  KalCall(KalObservationsGetNormalization(obs, &count, &m, &s));
  KalAssert(count == 1);
  KalAssertNear(m[0], mean, 1e-13);
  KalAssertNear(s[0], sd, 1e-12);
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 1, 2, &batch));
  for (int i = 0; i < 6; i++) KalAssertNear(((const double *)batch.input)[i], ((i + 3) * (i + 3) - mean) / sd, 1e-13);
  KalCall(KalObservationsSetPrecision(obs, KAL_SINGLE));
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 1, 2, &batch));
  KalAssert(batch.precision == KAL_SINGLE);
  for (int i = 0; i < 6; i++) KalAssert(((const float *)batch.input)[i] == (float)(((i + 3) * (i + 3) - m[0]) / s[0]));
  KalCall(KalObservationsDestroy(&obs));

  KalCall(WithOptions(list, "-observations_normalize none", &obs));
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 4, &batch));
  for (int i = 0; i < 12; i++) KalAssert(((const double *)batch.input)[i] == i * i);
  KalCall(KalObservationsDestroy(&obs));

  KalCall(WithOptions(list, "-observations_normalize unit", &obs));
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 4, &batch));
  for (int i = 0; i < 12; i++) KalAssert(((const double *)batch.input)[i] == i * i / 255.);
  KalCall(KalObservationsDestroy(&obs));

  /* entry 0: 0 9 36 81; mean and sd of the first two samples alone where only they are used */
  KalCall(WithOptions(list, "-observations_normalize feature", &obs));
  KalCall(KalObservationsGetNormalization(obs, &count, &m, &s));
  KalAssert(count == 3);
  KalAssertNear(m[0], 31.5, 1e-13);
  KalAssertNear(s[0], sqrt((31.5 * 31.5 + 22.5 * 22.5 + 4.5 * 4.5 + 49.5 * 49.5) / 4), 1e-12);
  KalAssertNear(m[2], (4 + 25 + 64 + 121) / 4., 1e-13);
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 3, 1, &batch));
  KalAssertNear(((const double *)batch.input)[0], 49.5 / s[0], 1e-13);
  KalAssertNear(((const double *)batch.input)[2], (121 - m[2]) / s[2], 1e-13);
  KalCall(KalObservationsDestroy(&obs));
  KalCall(WithOptions(list, "-observations_normalize feature -observations_samples 2", &obs));
  KalCall(KalObservationsGetNormalization(obs, &count, &m, &s));
  KalAssertNear(m[0], 4.5, 1e-14);
  KalAssertNear(s[0], 4.5, 1e-14);
  KalCall(KalObservationsDestroy(&obs));
}

/* Floats take the path of two passes; a constant entry has sd 1; a large offset does no harm. */
static void NormalizesReals(void **state)
{
  const double    x[8] = {1e9 + 1, 5, 1e9 + 2, 5, 1e9 + 3, 5, 1e9 + 4, 5}, y[4] = {0, 1, 0, 1};
  const double    mean[2] = {1, 2}, sd[2] = {4, .5}, wrong[2] = {1, 0};
  KalObservations obs;
  KalBatch        batch;
  PetscInt        count;
  PetscReal      *m, *s;

  (void)state;
  KalCall(PetscOptionsInsertString(NULL, "-observations_normalize feature"));
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, &obs));
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 4, 2, x, 0, y));
  KalCall(KalObservationsSetFromOptions(obs));
  KalCall(PetscOptionsClear(NULL));
  KalCallFails(KalObservationsGetNormalization(obs, &count, &m, &s), "too early");
  KalCall(KalObservationsSetUp(obs));
  KalCall(KalObservationsGetNormalization(obs, &count, &m, &s));
  KalAssert(count == 2 && m[0] == 1e9 + 2.5 && m[1] == 5. && s[1] == 1.);
  KalAssertNear(s[0], sqrt(1.25), 1e-14);
  KalCall(KalObservationsSetNormalization(obs, 2, mean, sd));
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 1, &batch));
  KalAssert(((const double *)batch.input)[0] == 250000000. && ((const double *)batch.input)[1] == 6.);
  KalCallFails(KalObservationsSetNormalization(obs, 2, mean, wrong), "Standard deviation 1 of the normalization is 0");
  KalCallFails(KalObservationsSetNormalization(obs, 3, x, x), "has 3 means");
  KalCall(KalObservationsDestroy(&obs));

  /* given before set-up, as after a restart */
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, &obs));
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 4, 2, x, 0, y));
  KalCall(KalObservationsSetNormalization(obs, 2, mean, sd));
  KalCall(KalObservationsSetUp(obs));
  KalCall(KalObservationsGetNormalization(obs, &count, &m, &s));
  KalAssert(count == 2 && m[0] == 1. && s[1] == .5);
  KalCall(KalObservationsDestroy(&obs));
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, &obs));
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 4, 2, x, 0, y));
  KalCall(KalObservationsSetNormalization(obs, 3, x, x));
  KalCallFails(KalObservationsSetUp(obs), "has 3 means");
  KalCall(KalObservationsDestroy(&obs));
}

/* Sample i is the number i with label i: what was drawn can be read off the batch. */
static void MakeCounting(int samples, PetscInt batch, PetscInt seed, KalObservations *obs)
{
  double *x = (double *)malloc((size_t)samples * sizeof *x);

  for (int i = 0; i < samples; i++) x[i] = i;
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, obs));
  KalCall(KalObservationsSetArrays(*obs, KAL_SET_TRAIN, samples, 1, x, 0, x));
  KalCall(KalObservationsSetBatch(*obs, batch));
  KalCall(KalObservationsSetSeed(*obs, seed));
  KalCall(KalObservationsSetUp(*obs));
  free(x);
}

static void ShufflesEveryEpoch(void **state)
{
  const int       n = 103, size = 10;
  KalObservations obs, other;
  KalBatch        batch;
  PetscInt        b, batches;
  int             order[3][100], again = 1, single = 1, moved = 0, differ = 0, sizes = 1, epochs = 1, seeds = 0;

  (void)state;
  MakeCounting(n, size, 7, &obs);
  KalCall(KalObservationsGetCycle(obs, &b, &batches));
  KalAssert(b == size && batches == 10);
  for (int epoch = 0; epoch < 3; epoch++) {
    int seen[103] = {0};

    for (int c = 0; c < 10; c++) {
      KalCall(KalObservationsNext(obs, 10 * epoch + c, &batch));
      sizes  = sizes && batch.samples == size && batch.inputs == 1 && batch.outputs == n;
      epochs = epochs && batch.epoch == epoch;
      for (int i = 0; i < size; i++) {
        const int s = (int)((const double *)batch.input)[i];

        single                   = single && s >= 0 && s < n && !seen[s]++ && batch.label[i] == s && batch.target[i * n + s] == 1.;
        order[epoch][10 * c + i] = s;
        moved += s != 10 * c + i;
      }
    }
  }
  KalAssert(sizes && epochs && single);
  for (int i = 0; i < 100; i++) differ += order[0][i] != order[1][i];
  KalAssert(moved > 240 && differ > 80); /* a permutation has one fixed point on average */
  /* every rank has drawn the same; the order follows from seed and cycle, not from what was asked before */
  for (int e = 0; e < 3; e++) {
    int low[100], high[100];

    (void)MPI_Allreduce(order[e], low, 100, MPI_INT, MPI_MIN, PETSC_COMM_WORLD);
    (void)MPI_Allreduce(order[e], high, 100, MPI_INT, MPI_MAX, PETSC_COMM_WORLD);
    KalAssert(!memcmp(low, high, sizeof low));
  }
  KalCall(KalObservationsNext(obs, 14, &batch));
  for (int i = 0; i < size; i++) again = again && (int)((const double *)batch.input)[i] == order[1][40 + i];
  KalAssert(again);
  /* and by the stated key, whatever the number of ranks */
  for (int i = 0; i < size; i++) {
    const KalKey key = {7, KAL_DRAW_SHUFFLE, 1, 0};
    PetscInt64   want;

    KalCall(KalDrawPermuted(key, n, 40 + i, &want));
    KalAssert(want == order[1][40 + i]);
  }
  MakeCounting(n, size, 8, &other);
  KalCall(KalObservationsNext(other, 14, &batch));
  for (int i = 0; i < size; i++) seeds += (int)((const double *)batch.input)[i] != order[1][40 + i];
  KalAssert(seeds > 0);
  KalCallFails(KalObservationsNext(obs, -1, &batch), "Cycle -1");
  KalCall(KalObservationsDestroy(&other));
  KalCall(KalObservationsDestroy(&obs));
}

static void FullBatchKeepsOrder(void **state)
{
  const PetscInt sizes[3] = {0, 12, 13};

  (void)state;
  for (int k = 0; k < 3; k++) {
    KalObservations obs;
    KalBatch        batch;
    PetscInt        size, batches;
    int             same = 1;

    MakeCounting(12, sizes[k], 3, &obs);
    KalCall(KalObservationsGetCycle(obs, &size, &batches));
    KalAssert(size == 12 && batches == 1);
    KalCall(KalObservationsNext(obs, 5, &batch));
    for (int i = 0; i < 12; i++) same = same && ((const double *)batch.input)[i] == i;
    KalAssert(same && batch.epoch == 5 && batch.samples == 12);
    KalCall(KalObservationsDestroy(&obs));
  }
}

/* A block of the test set leaves the batch in hand alone, and buffers that are large enough stay where they are. */
static void BuffersAreApart(void **state)
{
  const double    x[3] = {100, 101, 102}, y[3] = {2, 1, 0};
  KalObservations obs;
  KalBatch        batch, block, smaller;
  double          train[8];
  PetscInt        samples;
  int             same = 1;

  (void)state;
  for (int i = 0; i < 8; i++) train[i] = i;
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, &obs));
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 8, 1, train, 0, train));
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TEST, 3, 1, x, 0, y));
  KalCall(KalObservationsSetUp(obs));
  KalCall(KalObservationsNext(obs, 0, &batch));
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TEST, 0, 3, &block));
  KalAssert(((const double *)block.input)[2] == 102. && block.label[0] == 2 && block.target[2] == 1.);
  for (int i = 0; i < 8; i++) same = same && ((const double *)batch.input)[i] == i && batch.label[i] == i;
  KalAssert(same);
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TEST, 1, 2, &smaller));
  KalAssert(smaller.input == block.input && smaller.target == block.target && smaller.samples == 2 && ((const double *)smaller.input)[0] == 101.);
  KalCallFails(KalObservationsGetBlock(obs, KAL_SET_TEST, 2, 2, &block), "2 samples from sample 2 on");
  KalCallFails(KalObservationsGetBlock(obs, KAL_SET_TEST, -1, 1, &block), "the test set has 3");
  /* more outputs than classes: the targets grow */
  KalCall(KalObservationsSetOutputs(obs, 20));
  KalCall(KalObservationsNext(obs, 0, &batch));
  KalAssert(batch.outputs == 20 && batch.target[7 * 20 + 7] == 1. && batch.target[7 * 20 + 19] == 0.);
  KalCall(KalObservationsDestroy(&obs));
  MakeCounting(4, 0, 0, &obs);
  KalCall(KalObservationsGetSizes(obs, KAL_SET_TEST, &samples, NULL, NULL));
  KalAssert(samples == 0);
  KalCallFails(KalObservationsGetBlock(obs, KAL_SET_TEST, 0, 1, &block), "There is no test set");
  KalCall(KalObservationsDestroy(&obs));
}

static void RefusesOptions(void **state)
{
  (void)state;
  WriteBytes();
  KalCall(TryOptions("-observations_batch 3 -observations_noise 0.5 -observations_loss squared -observations_output logits -observations_probability_floor 0.1 -observations_samples 4"));
  KalCallFails(TryOptions("-observations_batch -2"), "-observations_batch -2 is negative");
  KalCallFails(TryOptions("-observations_samples -1"), "-observations_samples -1 is negative");
  KalCallFails(TryOptions("-observations_samples 5"), "-observations_samples 5 asks for more samples than the training set has (4)");
  KalCallFails(TryOptions("-observations_noise -1"), "-observations_noise -1");
  KalCallFails(TryOptions("-observations_noise 0"), "-observations_noise 0");
  KalCallFails(TryOptions("-observations_noise nan"), "-observations_noise nan");
  KalCallFails(TryOptions("-observations_probability_floor 0"), "-observations_probability_floor 0");
  KalCallFails(TryOptions("-observations_probability_floor 1.5"), "-observations_probability_floor 1.5");
  KalCallFails(TryOptions("-observations_loss hinge"), "-observations_loss hinge is unknown; allowed: squared, cross-entropy");
  KalCallFails(TryOptions("-observations_normalize pca"), "-observations_normalize pca is unknown; allowed: none, unit, standard, feature");
  KalCallFails(TryOptions("-observations_output odds"), "-observations_output odds is unknown; allowed: probabilities, logits");
}

static void TakesOptions(void **state)
{
  KalObservations obs;
  KalLossType     loss;
  PetscReal       gamma;
  PetscBool       affine;
  PetscInt        samples, batch, batches;
  char            options[3300];

  (void)state;
  WriteBytes();
  snprintf(options, sizeof options, "-observations_path %s -observations_batch 2 -observations_samples 3 -observations_loss squared -observations_noise 0.25", list);
  KalCall(WithOptions(NULL, options, &obs));
  KalCall(KalObservationsGetSizes(obs, KAL_SET_TRAIN, &samples, NULL, NULL));
  KalCall(KalObservationsGetCycle(obs, &batch, &batches));
  KalCall(KalObservationsGetLoss(obs, &loss, &gamma, &affine));
  KalAssert(samples == 3 && batch == 2 && batches == 1 && loss == KAL_LOSS_SQUARED && gamma == .25 && affine);
  KalCallFails(KalObservationsSetPath(obs, "x"), "KalObservationsSetPath() comes too late");
  KalCall(KalObservationsDestroy(&obs));
  KalAssert(obs == NULL);
  KalCall(WithOptions(list, "-observations_output logits", &obs));
  KalCall(KalObservationsGetLoss(obs, &loss, NULL, &affine));
  KalAssert(loss == KAL_LOSS_CROSS_ENTROPY && !affine);
  KalCall(KalObservationsDestroy(&obs));
  KalCall(WithOptions(list, "", &obs));
  KalCall(KalObservationsGetLoss(obs, &loss, NULL, &affine));
  KalAssert(loss == KAL_LOSS_CROSS_ENTROPY && affine);
  KalCall(KalObservationsDestroy(&obs));
}

static void RefusesArrays(void **state)
{
  const double    x[4] = {1, 2, 3, NAN}, good[4] = {1, 2, 3, 4}, half[4] = {0, 1.5, 0, 0}, minus[4] = {0, 0, -1, 0}, inf[4] = {0, INFINITY, 0, 0};
  KalObservations obs;

  (void)state;
  KalCall(KalObservationsCreate(PETSC_COMM_WORLD, &obs));
  KalCallFails(KalObservationsSetUp(obs), "There are no training data");
  KalCallFails(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 2, 2, x, 0, good), "array of inputs holds NaN in sample 1, number 1");
  KalCallFails(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 4, 1, good, 1, x), "array of targets holds NaN in sample 3, number 0");
  KalCallFails(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 4, 1, good, 0, half), "label of sample 1 (from 0) in the array of targets is 1.5");
  KalCallFails(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 4, 1, good, 0, minus), "label of sample 2 (from 0) in the array of targets is -1");
  KalCallFails(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 4, 1, good, 0, inf), "label of sample 1 (from 0) in the array of targets is inf");
  KalCallFails(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 0, 1, good, 0, good), "0 samples");
  KalCallFails(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 4, -1, good, 0, good), "-1 inputs");
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TRAIN, 4, 1, good, 0, good));
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TEST, 2, 2, good, 0, good));
  KalCallFails(KalObservationsSetUp(obs), "A sample of the test set has 2 inputs and one of the training set 1");
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TEST, 2, 1, good, 1, good));
  KalCallFails(KalObservationsSetUp(obs), "The test set has real-valued targets and the training set class labels");
  KalCall(KalObservationsSetArrays(obs, KAL_SET_TEST, 2, 1, good, 0, good));
  KalCall(KalObservationsSetPath(obs, "somewhere"));
  KalCallFails(KalObservationsSetUp(obs), "from memory and by -observations_path somewhere as well");
  KalCall(KalObservationsSetPath(obs, ""));
  KalCall(PetscOptionsInsertString(NULL, "-observations_normalize unit"));
  KalCall(KalObservationsSetFromOptions(obs));
  KalCall(PetscOptionsClear(NULL));
  KalCallFails(KalObservationsSetUp(obs), "the inputs are float64");
  KalCallFails(KalObservationsSetBatch(obs, -1), "-observations_batch -1");
  KalCallFails(KalObservationsSetLoss(obs, KAL_LOSS_SQUARED, 0.), "noise variance 0");
  KalCall(KalObservationsDestroy(&obs));
  KalCall(KalObservationsDestroy(&obs)); /* NULL is left alone */
}

/* What View prints is on rank 0. */
static void Views(void **state)
{
  KalObservations obs;
  PetscViewer     viewer;
  char            file[1024];
  int             ok = 1;

  (void)state;
  snprintf(file, sizeof file, "%s", KalTestPath("view.txt"));
  MakeCounting(12, 5, 0, &obs);
  KalCall(PetscViewerASCIIOpen(PETSC_COMM_WORLD, file, &viewer));
  KalCall(KalObservationsView(obs, viewer));
  KalCall(PetscViewerDestroy(&viewer));
  if (!TestRank()) {
    size_t         n;
    unsigned char *text = ReadFile(file, &n);

    text[n] = 0;
    ok      = strstr((char *)text, "training set: 12 samples of 1 inputs (float64), class labels 0 to 11") && strstr((char *)text, "batch: 5 samples, 2 an epoch, shuffled") && strstr((char *)text, "loss: cross-entropy, linearized in probabilities, floor 0.02");
    free(text);
  }
  KalAssert(ok);
  KalCall(KalObservationsDestroy(&obs));
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(NormalizesBytes),
    cmocka_unit_test(NormalizesReals),
    cmocka_unit_test(ShufflesEveryEpoch),
    cmocka_unit_test(FullBatchKeepsOrder),
    cmocka_unit_test(BuffersAreApart),
    cmocka_unit_test(RefusesOptions),
    cmocka_unit_test(TakesOptions),
    cmocka_unit_test(RefusesArrays),
    cmocka_unit_test(Views),
};

KAL_TEST_MAIN("observations batch", tests)
