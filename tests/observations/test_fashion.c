/* ranks: 1 2 */
/* The real Fashion-MNIST, where Debian's package dataset-fashion-mnist is installed. */
#include "datafiles.h"

#include <unistd.h>

#define FOLDER "/usr/share/datasets/fashion-mnist"

static void ReadsFashion(void **state)
{
  const PetscInt  labels[5] = {9, 0, 0, 3, 0};
  PetscInt        samples, inputs, outputs, count, counts[10] = {0};
  PetscReal      *mean, *sd, bytes;
  KalObservations obs;
  KalBatch        batch;
  int             ranks, here = !access(FOLDER "/train-images-idx3-ubyte.gz", R_OK);

  (void)state;
  if (!KalTestAll(here)) skip();
  (void)MPI_Comm_size(PETSC_COMM_WORLD, &ranks);
  KalCall(Observe(FOLDER, &obs));
  KalCall(KalObservationsGetSizes(obs, KAL_SET_TRAIN, &samples, &inputs, &outputs));
  KalAssert(samples == 60000 && inputs == 784 && outputs == 10);
  KalCall(KalObservationsGetSizes(obs, KAL_SET_TEST, &samples, NULL, NULL));
  KalAssert(samples == 10000);
  KalCall(KalObservationsGetMemory(obs, &bytes)); /* 55 MB of pixels and labels, over the ranks, and the full batch */
  KalAssertNear(bytes, 70000. * 785 / ranks + 60000. * (784 * 8 + 80 + sizeof(PetscInt)) + 784 * 8, 1.);
  /* the widely used figures 0.2860 and 0.3530 of pixels over 255 */
  KalCall(KalObservationsGetNormalization(obs, &count, &mean, &sd));
  KalAssert(count == 1);
  KalAssertNear(mean[0] / 255, .2860, 5e-5);
  KalAssertNear(sd[0] / 255, .3530, 5e-5);
  KalCall(KalObservationsGetBlock(obs, KAL_SET_TRAIN, 0, 5, &batch));
  for (int i = 0; i < 5; i++) KalAssert(batch.label[i] == labels[i]);
  for (PetscInt first = 0; first < 10000; first += 1000) { /* the test set has 1000 of each class */
    KalCall(KalObservationsGetBlock(obs, KAL_SET_TEST, first, 1000, &batch));
    for (int i = 0; i < 1000; i++) counts[batch.label[i]]++;
  }
  for (int k = 0; k < 10; k++) KalAssert(counts[k] == 1000);
  KalCall(KalObservationsDestroy(&obs));
}

static const struct CMUnitTest tests[] = {cmocka_unit_test(ReadsFashion)};

KAL_TEST_MAIN("observations fashion", tests)
