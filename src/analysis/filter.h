/*
  What the filters share that transform the whole ensemble by one N x N matrix: inflation, rotation, failed members,
  diagnostics. They differ in their weights.
*/
#ifndef KALMIA_FILTER_H
#define KALMIA_FILTER_H

#include "analysisimpl.h"

/* Inflation and rotation, in inflation.c and rotation.c; also used by the local filters. */
typedef enum {
  KAL_INFLATE_POSTERIOR_ANOMALIES, /* default: DAPPER's infl */
  KAL_INFLATE_PRIOR_ANOMALIES,
  KAL_INFLATE_PRIOR_COVARIANCE,
} KalInflateOn;
typedef enum {
  KAL_ADAPT_NONE,
  KAL_ADAPT_ANDERSON,
  KAL_ADAPT_MIYOSHI,
} KalAdapt;

typedef struct {
  KalInflateOn on;          /* -inflation_on */
  PetscReal    factor;      /* -inflation_factor <1> */
  PetscReal    additive;    /* -inflation_additive <0>: times the prior's standard deviations */
  PetscReal    rtpp;        /* -inflation_rtpp <0>: relaxation to prior perturbations */
  PetscReal    rtps;        /* -inflation_rtps <0>: relaxation to prior spread */
  KalAdapt     adapt;       /* -inflation_adaptive <none> */
  PetscReal    sd;          /* -inflation_adaptive_sd: standard deviation of the adaptive factor's prior */
  PetscReal    least, most; /* -inflation_adaptive_least <1>, -inflation_adaptive_most <10>: bounds of the adaptive factor */
  PetscReal    state[2];    /* adaptive factor on the prior covariance and its variance; survive a restart */
} KalInflation;

/* What an adaptive factor is estimated from: the innovation of a cycle, before any inflation. */
typedef struct {
  PetscInt  p;     /* observations */
  PetscReal rr;    /* sum of squares of the whitened innovation */
  PetscReal trace; /* of S: sum over the observations of the predicted variance, divided by that of the error */
} KalConsistency;

PETSC_INTERN PetscErrorCode KalInflationDefaults(KalInflation *);
PETSC_INTERN PetscErrorCode KalInflationSetFromOptions(KalAnalysis, KalInflation *, KalOptionItems);
PETSC_INTERN PetscErrorCode KalInflationCheck(KalAnalysis, const KalInflation *);
PETSC_INTERN PetscErrorCode KalInflationView(const KalInflation *, PetscViewer);
PETSC_INTERN PetscErrorCode KalInflationArray(KalInflation *, KalArray *);
PETSC_INTERN PetscErrorCode KalInflationAdapt(KalInflation *, const KalConsistency *);
PETSC_INTERN PetscErrorCode KalInflationFactors(const KalInflation *, PetscReal *prior, PetscReal *posterior);
PETSC_INTERN PetscErrorCode KalInflationSpread(const KalInflation *, PetscInt rows, PetscInt N, const KalStatus *, PetscInt active, const PetscScalar *prior, PetscInt ldprior, PetscScalar *x, PetscInt ld, PetscReal *work);
PETSC_INTERN PetscErrorCode KalInflationAdd(KalAnalysis, const KalInflation *, PetscInt cycle, const KalRows *, PetscReal *work);
PETSC_INTERN PetscErrorCode KalRotationMatrix(KalAnalysis, PetscInt cycle, PetscInt N, PetscReal *Q);
PETSC_INTERN PetscErrorCode KalProjection(PetscInt N, const PetscReal *x, PetscReal *y);
PETSC_INTERN PetscErrorCode KalProjectionTranspose(PetscInt N, const PetscReal *y, PetscReal *x);

/*
  The spectrum of S = A'A, in ensemble space or, where observations are fewer, in observation space: S = sum over i of value_i v_i v_i'.
  B holds v_i in ensemble space, A'u_i with u_i the eigenvectors of AA' in observation space, where v_i is not at hand for small values.
  Either way d = scale B c, and (I + S)^{-1} d = scale B diag(1/(1 + value)) c.
*/
typedef struct {
  PetscInt   q, room;  /* modes; modes that there is memory for */
  PetscBool  observed; /* in observation space */
  PetscReal  scale;    /* of B */
  PetscReal *value;    /* q, ascending, none negative */
  PetscReal *B;        /* N x q */
  PetscReal *c;        /* q */
  PetscReal *u;        /* q: components of the whitened innovation along the directions that A spans; 0 where value is 0 */
  PetscReal *work;     /* N x q */
} KalSpectrum;

PETSC_INTERN PetscErrorCode KalSpectrumReserve(KalAnalysis, PetscInt N, PetscInt q, KalSpectrum *);
PETSC_INTERN PetscErrorCode KalSpectrumCompute(KalAnalysis, const KalInnovation *, KalSpectrum *);
PETSC_INTERN PetscErrorCode KalSpectrumResidual(KalSpectrum *);
PETSC_INTERN PetscErrorCode KalSpectrumScale(PetscReal factor, KalSpectrum *);
PETSC_INTERN PetscErrorCode KalSpectrumMean(PetscInt N, const KalSpectrum *, PetscReal *w);
PETSC_INTERN PetscErrorCode KalSpectrumInverse(PetscInt N, const KalSpectrum *, PetscReal *T);
PETSC_INTERN PetscErrorCode KalSpectrumInverseRoot(PetscInt N, const KalSpectrum *, PetscReal *T);
PETSC_INTERN PetscErrorCode KalSpectrumDestroy(KalSpectrum *);

typedef struct KalFilter KalFilter;
struct KalFilter {
  KalInflation inflation;
  PetscBool    rotate; /* -analysis_rotate <false>: random mean-preserving rotation after the analysis */
  /* of the cycle in hand */
  PetscInt     cycle, active;
  PetscBool    observed;   /* there are observations */
  KalStatus   *status;     /* N */
  PetscReal   *T, *w;      /* N x N: new members = old members times T; N */
  PetscReal   *Q, *packed; /* N x N each, where there is a rotation */
  KalSpectrum  spectrum;   /* of S, after prior inflation where `weights` sees it */
  PetscReal    dfs;        /* degrees of freedom for signal; set by `weights` where there is no spectrum */
  PetscReal    prior;      /* factor on the prior anomalies, */
  PetscReal    posterior;  /* and on those after the analysis */
  PetscReal    further;    /* factor on the prior anomalies that `weights` itself found, in T and w already */
  PetscScalar *work;       /* a block of rows, */
  PetscReal   *moments;    /* and 4 numbers a row of it */
  /* what the method itself adds */
  PetscInt  wants;         /* KAL_WANT_... of the innovation */
  PetscBool ensemblespace; /* works in ensemble space alone */
  PetscBool losses;        /* takes other losses than the squared one */
  /* makes filter->spectrum; NULL for a method that needs none */
  PetscErrorCode (*decompose)(KalAnalysis, const KalInnovation *, KalSpectrum *);
  /*
    Fills w (N weights of the mean) and T (N x N, the transform of the anomalies, column j makes member j): with X the anomalies x_j - mean of the
    members that did not fail, after prior inflation, the new mean is mean + scale X w and the new anomalies X T. in->S, d and so on, and the
    spectrum, are those after prior inflation. Rows and columns of failed members do not matter.
  */
  PetscErrorCode (*weights)(KalAnalysis, const KalTold *, const KalInnovation *, PetscReal *w, PetscReal *T);
  /*
    In the place of such a transform, for an update that is none: takes what it needs from the innovation after prior inflation, and moves a block
    of rows, inflated too. `weights` is not called then.
  */
  PetscErrorCode (*prepare)(KalAnalysis, const KalTold *, const KalInnovation *);
  PetscErrorCode (*update)(KalAnalysis, const KalRows *);
  PetscInt most;   /* numbers of the predictions, p x N, that it can work with; 0: any */
  void    *method; /* the method's own data: one PetscNew() */
};

PETSC_INTERN PetscErrorCode KalFilterCreate(KalAnalysis, KalFilter **);
PETSC_INTERN PetscErrorCode KalFilterSetFromOptions(KalAnalysis, KalOptionItems);
PETSC_INTERN PetscErrorCode KalFilterDepartures(KalAnalysis, const KalInnovation *, PetscBool unit, PetscReal *G);
PETSC_INTERN PetscErrorCode KalFilterSquareRoot(KalAnalysis, const KalTold *, const KalInnovation *, PetscReal *w, PetscReal *T);

#endif
