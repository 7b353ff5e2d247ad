/* A program outside Kalmia's tree: four members of three numbers, and their mean. */
#include <kalmia.h>

int main(int argc, char **argv)
{
  KalEnsemble        ensemble;
  PetscScalar       *member;
  const PetscScalar *mean;
  PetscInt           first, last;

  PetscCall(PetscInitialize(&argc, &argv, NULL, NULL));
  PetscCall(KalEnsembleCreate(PETSC_COMM_WORLD, &ensemble));
  PetscCall(KalEnsembleSetSizes(ensemble, 3, 4));
  PetscCall(KalEnsembleSetUp(ensemble));
  PetscCall(KalEnsembleGetOwnershipRange(ensemble, &first, &last));
  for (PetscInt j = first; j < last; j++) {
    PetscCall(KalEnsembleGetMember(ensemble, j, &member));
    for (PetscInt i = 0; i < 3; i++) member[i] = (PetscScalar)(1 + i + j);
  }
  PetscCall(KalEnsembleChanged(ensemble));
  PetscCall(KalEnsembleGetMean(ensemble, &mean));
  PetscCall(PetscPrintf(PETSC_COMM_WORLD, "mean: %g %g %g\n", (double)mean[0], (double)mean[1], (double)mean[2]));
  PetscCall(KalEnsembleDestroy(&ensemble));
  return (int)PetscFinalize();
}
