/* The inside of KalAnalysis and the kernels that methods share, for src/analysis alone. */
#ifndef KALMIA_ANALYSISIMPL_H
#define KALMIA_ANALYSISIMPL_H

#include <kalmia/analysis.h>

#include <ensemble/events.h>
#include <ensemble/multiply.h>
#include <ensemble/panels.h>
#include <ensemble/wider.h>
#include <petscblaslapack.h>

typedef enum {
  KAL_SPACE_AUTO,
  KAL_SPACE_ENSEMBLE,
  KAL_SPACE_OBSERVATION,
  KAL_SPACE_MATRIXFREE,
} KalSpace;

/* Options of every method's prefix that a method reads; its create function says which. Any other is unknown to the run. */
#define KAL_TAKES_SPACE    1 /* -analysis_space */
#define KAL_TAKES_SOLVER   2 /* -analysis_ksp_..., -analysis_pc_...: it calls KalSolve() */
#define KAL_TAKES_SCHEDULE 4 /* -analysis_schedule_cycles */

PETSC_INTERN const char *const KalSpaces[];

#define KAL_MOST_COPIES 2
#define KAL_MOST_SYSTEM 10000 /* unknowns of a system that is formed, and members of N x N weights */

/* What KalTransformRows() multiplies by, and its work: T in panels of columns, rows of X in panels of rows. */
typedef struct {
  const KalPanels     *kernels;
  const KalPanelWidth *width;
  KalPrecision         precision;
  PetscInt             N, height, rows; /* of X, at once */
  PetscScalar         *T, *X, *panels;
  float               *Tsingle, *Xsingle, *product, *panelssingle; /* X and Xsingle lie in the memory of panels */
  PetscReal           *mean;
  PetscBool           *base; /* whether a member starts from itself, not from the mean */
} KalTransform;

/* Work of products A'B of N columns each. */
typedef struct {
  const KalPanels     *kernels;
  const KalPanelWidth *width;
  PetscInt             N, high;      /* N in whole panels */
  PetscScalar         *panels;       /* memory of what follows: */
  PetscScalar         *left, *right; /* some rows of A and B, in panels */
  PetscReal           *product;      /* high x high */
} KalGram;
PETSC_INTERN PetscErrorCode KalGramCreate(PetscInt N, KalGram *);
PETSC_INTERN PetscErrorCode KalGramTake(KalGram *, PetscInt rows, const PetscScalar *A, const PetscScalar *B);
PETSC_INTERN PetscErrorCode KalGramDestroy(KalGram *);

struct _p_KalAnalysis {
  MPI_Comm          comm;
  PetscMPIInt       rank, size;
  char              type[64];
  KalAnalysisOps    ops;
  void             *data;
  PetscBool         setup;
  int               takes; /* of KAL_TAKES_... */
  PetscInt          n, N, seed;
  PetscInt          perepoch;  /* cycles in an epoch */
  PetscInt          horizon;   /* cycles over which schedules run, 0: none was given */
  const PetscReal  *prior;     /* n prior standard deviations; borrowed */
  PetscScalar      *priormean; /* n, or NULL: not known */
  KalEnsemble       ensemble;
  PetscInt          copies;
  KalEnsemble       copy[KAL_MOST_COPIES];
  PetscScalar      *mean;     /* of a generated ensemble; borrowed, updated by the method */
  KalEnsemble       filtered; /* members at the time of the cycle's observations, where that is not the ensemble */
  KalDomain         domain;
  KalLocate         locate; /* NULL: state entries have no locations */
  void             *locatectx;
  const PetscReal  *climatemean, *climatecovariance; /* n and n x n; borrowed */
  KalTangent        tangent;
  void             *tangentctx;
  KalLayers         layers;
  KalResiduals      residuals; /* of a path; functions NULL: the state is none */
  KalNeeds          needs;
  KalAnalysisReport report;

  KalPrecision  precision; /* of the transform's increments */
  KalTransform  transform;
  KalSpace      space;
  PetscBool     uniform;   /* all ranks run the same BLAS kernels: they may solve in lockstep */
  KSP           ksp;       /* kept for its options between cycles; NULL unless the method takes a solver */
  PetscBool     kspview;   /* -analysis_ksp_view */
  PetscReal    *eigenwork; /* of KalEigen() */
  PetscBLASInt *eigeniwork, eigenorder, eigenlwork, eigenliwork;
};

/*
  What the predictions say (share/doc/methods.md, "The one update"): with A the whitened anomalies, r the whitened residual at the
  mean and R those of the members, S = A'A, d = A'r, D = A'R; P = A' Xi with Xi whitened perturbations.
*/
typedef struct {
  PetscInt         N, p;   /* members that take part; observations */
  PetscInt         active; /* members that did not fail */
  PetscInt         taken;  /* observations that passed the background check */
  PetscReal        scale;  /* of the anomalies */
  PetscBool        affine; /* R = r 1' - A/scale */
  const KalStatus *status;
  KalSpace         space;
  KalEnsemble      predictions;           /* hold A after a matrix-free or observation-space build */
  PetscReal        loss;                  /* summed over the batch, at the mean prediction */
  PetscReal        trace;                 /* of S */
  PetscReal        rr;                    /* r'r */
  PetscReal       *d, *diagonal, *misfit; /* N each: A'r, the diagonal of S, R_j'R_j */
  PetscReal       *S, *D, *P;             /* N x N, or NULL */
  PetscScalar     *A, *r, *R;             /* p x N, p, p x N in observation space, or NULL */
} KalInnovation;

/* What a method wants of the predictions. */
#define KAL_WANT_MEMBERS   1  /* D: the residual of each member, not of the mean alone */
#define KAL_WANT_PERTURBED 2  /* P: observations are perturbed */
#define KAL_WANT_GRAM      4  /* S whatever the space */
#define KAL_WANT_ANOMALIES 8  /* A and r whatever the space, on every rank */
#define KAL_WANT_NOISE     16 /* P whatever the space */

PETSC_INTERN PetscErrorCode KalInnovationCreate(KalAnalysis, const KalTold *, PetscInt center, PetscReal scale, PetscInt wants, KalInnovation *);
PETSC_INTERN PetscErrorCode KalInnovationSpace(KalAnalysis, PetscInt N, PetscInt p, KalSpace *);
PETSC_INTERN PetscErrorCode KalInnovationDestroy(KalInnovation *);
PETSC_INTERN PetscErrorCode KalInnovationSolve(KalAnalysis, const KalTold *, const KalInnovation *, PetscReal shift, PetscInt columns, PetscReal perturbed, PetscReal *W);
PETSC_INTERN PetscErrorCode KalInnovationSides(KalAnalysis, const KalTold *, const KalInnovation *, PetscInt columns, PetscReal perturbed, PetscScalar *b);
PETSC_INTERN PetscErrorCode KalInnovationScale(PetscReal factor, KalInnovation *);
PETSC_INTERN PetscErrorCode KalInnovationNorm(KalAnalysis, const KalInnovation *, PetscReal *);

PETSC_INTERN PetscErrorCode KalSolverSetUp(KalAnalysis);
PETSC_INTERN PetscErrorCode KalSolverReset(KalAnalysis);
PETSC_INTERN PetscErrorCode KalFromFirst(KalAnalysis, size_t numbers, PetscReal *);
PETSC_INTERN PetscErrorCode KalEigen(KalAnalysis, PetscInt N, const PetscReal *S, PetscReal *value, PetscReal *V);
PETSC_INTERN PetscErrorCode KalSolve(KalAnalysis, KalSpace, PetscInt size, PetscReal *matrix, PetscReal shift, KalEnsemble rows, PetscInt columns, PetscReal *b, PetscReal *x);
PETSC_INTERN PetscErrorCode KalInverseRoot(KalAnalysis, PetscInt N, const PetscReal *S, PetscReal step, PetscReal *root);

/* X T, with columns of failed members left out on the right and redrawn from the survivors. */
PETSC_INTERN PetscErrorCode KalTransformRecover(KalAnalysis, PetscInt cycle, const KalStatus *, PetscInt active, PetscReal *T);
PETSC_INTERN PetscErrorCode KalTransformRecoverRows(KalAnalysis, PetscInt cycle, PetscInt N, const KalStatus *, PetscInt active, PetscInt rows, PetscScalar *x, PetscInt ld);
PETSC_INTERN PetscErrorCode KalCheckPerturbed(KalAnalysis, KalObservations, const char *);
PETSC_INTERN PetscErrorCode KalMembersFinite(KalAnalysis, PetscInt, const char *, PetscReal);
PETSC_INTERN PetscErrorCode KalTransformCenter(PetscInt N, const KalStatus *, PetscInt active, PetscReal *T);
PETSC_INTERN PetscErrorCode KalTransformInflate(PetscInt N, PetscReal factor, const KalStatus *, PetscInt active, PetscReal *T);
PETSC_INTERN PetscErrorCode KalTransformSetFromOptions(KalAnalysis, KalOptionItems);
PETSC_INTERN PetscErrorCode KalTransformSet(KalAnalysis, PetscInt N, const KalStatus *, const PetscReal *T);
PETSC_INTERN PetscErrorCode KalTransformRows(KalAnalysis, PetscInt rows, const KalStatus *, const PetscScalar *from, PetscInt ldfrom, PetscScalar *x, PetscInt ld);
PETSC_INTERN PetscErrorCode KalTransformDestroy(KalTransform *);

PETSC_INTERN PetscErrorCode KalAnalysisCreate_EKI(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_ETKI(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_TEKI(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_IEKSSL(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_EKISL(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_TEKISL(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_UKI(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_UKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_EKS(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_ALDI(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_EnGPS(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_EnRML(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_CBO(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_Yegenoglu(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_OTEnKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_VEnKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_IEnKS(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_ESMDA(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_Climatology(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_OI(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_3DVar(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_ExtKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_Haber(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_Layered(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_SGD(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_Adam(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_EKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_DEKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_KoalaV(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_KoalaM(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_GPF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_GF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_Annealing(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_AnnealingEnKS(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_EnKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_ETKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_ESTKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_DEnKF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_EnSRF(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_EnKFN(KalAnalysis);
PETSC_INTERN PetscErrorCode KalAnalysisCreate_LETKF(KalAnalysis);

#endif
