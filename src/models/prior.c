/* Prior draws of networks. */
#include <models/prior.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The standard deviation that he, xavier, lecun or a number names; negative for anything else. */
PetscReal KalPriorScale(const char *text, PetscInt fan_in, PetscInt fan_out)
{
  char     *end;
  PetscReal value;

  if (!strcmp(text, "he")) return PetscSqrtReal(2.0 / (PetscReal)fan_in);
  if (!strcmp(text, "xavier")) return PetscSqrtReal(2.0 / ((PetscReal)fan_in + (PetscReal)fan_out));
  if (!strcmp(text, "lecun")) return PetscSqrtReal(1.0 / (PetscReal)fan_in);
  errno = 0;
  value = strtod(text, &end);
  return end == text || *end || errno || !(value > 0.0 && value <= PETSC_MAX_REAL) ? -1.0 : value;
}

/* x = sd (c + spread z) about the network c, the same for every member of a seed; or x = sd z. A center's key gives c itself. */
PetscErrorCode KalPriorDraw(PetscBool centered, PetscReal spread, KalKey key, PetscReal sd, PetscInt64 first, PetscInt64 count, PetscScalar *x)
{
  PetscReal center[1024];
  KalKey    one = key;

  PetscFunctionBeginUser;
  one.purpose = KAL_DRAW_CENTER;
  one.cycle   = 0;
  one.member  = 0;
  for (PetscInt64 i = 0; i < count; i += (PetscInt64)PETSC_STATIC_ARRAY_LENGTH(center)) {
    const PetscInt64 n = PetscMin(count - i, (PetscInt64)PETSC_STATIC_ARRAY_LENGTH(center));

    PetscCall(KalDrawNormal(key, first + i, n, x + i));
    if (!centered || key.purpose == KAL_DRAW_CENTER) {
      for (PetscInt64 j = 0; j < n; j++) x[i + j] *= sd;
    } else {
      PetscCall(KalDrawNormal(one, first + i, n, center));
      for (PetscInt64 j = 0; j < n; j++) x[i + j] = sd * (center[j] + spread * x[i + j]);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}
