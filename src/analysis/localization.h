/* Which observations are near a place, and how much each counts there. */
#ifndef KALMIA_LOCALIZATION_H
#define KALMIA_LOCALIZATION_H

#include "analysisimpl.h"

typedef enum {
  KAL_LOCALIZE_NONE,
  KAL_LOCALIZE_GASPARI_COHN,
  KAL_LOCALIZE_GAUSSIAN,
  KAL_LOCALIZE_BOXCAR,
} KalLocalizationType;
typedef enum {
  KAL_RADIUS_LENGTH_SCALE,
  KAL_RADIUS_HALF_SUPPORT,
  KAL_RADIUS_SUPPORT,
} KalRadiusConvention;

typedef struct {
  KalLocalizationType type;       /* -localization_type */
  KalRadiusConvention convention; /* -localization_convention */
  PetscReal           radius;     /* -localization_radius */
  PetscReal           threshold;  /* -localization_threshold <1e-3> */
  /* after set-up */
  KalDomain domain;
  PetscReal length; /* c of Gaspari and Cohn, standard deviation of the Gaussian, edge of the boxcar */
  PetscReal edge;   /* no coefficient beyond this distance counts */
  PetscReal reach;  /* a little more, to look up to */
  /* the observations in hand: those with a place in bins, the others apart */
  PetscBool  indexed;
  PetscInt64 digest; /* of their places */
  PetscInt   p, placed;
  PetscInt  *unplaced;               /* p - placed observations that are near everything */
  PetscInt   bins[KAL_DIMENSIONS];   /* in each direction */
  PetscReal  origin[KAL_DIMENSIONS]; /* of the first bin */
  PetscReal  width[KAL_DIMENSIONS];  /* of a bin */
  PetscInt  *start;                  /* of each bin in */
  PetscInt  *order;                  /* observations bin by bin, and */
  PetscReal *place;                  /* their coordinates, KAL_DIMENSIONS each */
} KalLocalization;

#define KAL_PLACE_MOST 1e100 /* coordinates are finite and no larger */

/* Observations near a place. */
typedef struct {
  PetscInt   count, most;
  PetscInt  *index;
  PetscReal *coefficient;
} KalNeighbours;

PETSC_INTERN PetscErrorCode KalLocalizationDefaults(KalLocalization *);
PETSC_INTERN PetscErrorCode KalLocalizationSetFromOptions(KalAnalysis, KalLocalization *, KalOptionItems);
PETSC_INTERN PetscErrorCode KalLocalizationSetUp(KalAnalysis, KalLocalization *);
PETSC_INTERN PetscErrorCode KalLocalizationView(const KalLocalization *, PetscViewer);
PETSC_INTERN PetscErrorCode KalLocalizationDestroy(KalLocalization *);
PETSC_INTERN PetscReal      KalLocalizationCoefficient(const KalLocalization *, PetscReal distance);
PETSC_INTERN PetscReal      KalLocalizationDistance(const KalDomain *, const PetscReal *a, const PetscReal *b);
PETSC_INTERN PetscErrorCode KalLocalizationIndex(MPI_Comm, KalLocalization *, PetscInt p, const PetscReal *location, const PetscInt *kind, PetscBool *changed);
PETSC_INTERN PetscErrorCode KalLocalizationFind(const KalLocalization *, const PetscReal *place, KalNeighbours *);
PETSC_INTERN PetscErrorCode KalNeighboursDestroy(KalNeighbours *);

#endif
