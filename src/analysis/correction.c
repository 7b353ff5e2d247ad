/*
  Sampling errors of correlations. The covariances C_ug (n x p, a block of rows at a time) and C_gg (p x p) are formed, their correlations are corrected entry by
  entry, and the update u_j <- u_j + C_ug (C_gg + R/h)^{-1} (y_j - g_j) is made of what becomes of them: no longer one N x N transform, and not bound to the span of the
  members.
*/
#include "correction.h"

const char *const KalCorrects[] = {"none", "sec", "sec-fisher", "nice", "dropout", "KalCorrect", "KAL_CORRECT_", NULL};

#define KAL_NICE_SUMS (2 * KAL_NICE_POWERS + 1)

void KalCorrectionDefaults(KalCorrection *c)
{
  *c = (KalCorrection){.exponent = 1.0, .tolerance = 1.0, .probability = 0.9};
}

/* Adds -<prefix>_correction and what belongs to it. */
PetscErrorCode KalCorrectionSetFromOptions(const char *prefix, KalCorrection *c, KalOptionItems PetscOptionsObject)
{
  PetscEnum type = (PetscEnum)c->type;
  char      option[64];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_correction", prefix));
  PetscCall(PetscOptionsEnum(option, "Correction of sampling errors in the correlations", NULL, KalCorrects, type, &type, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_correction_exponent", prefix));
  PetscCall(PetscOptionsReal(option, "Of sec: r becomes r |r|^exponent", NULL, c->exponent, &c->exponent, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_correction_cutoff", prefix));
  PetscCall(PetscOptionsReal(option, "Of sec: smaller correlations become 0", NULL, c->cutoff, &c->cutoff, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_correction_tolerance", prefix));
  PetscCall(PetscOptionsReal(option, "Of nice: change of all correlations, in their standard errors", NULL, c->tolerance, &c->tolerance, NULL));
  PetscCall(PetscSNPrintf(option, sizeof option, "-%s_correction_probability", prefix));
  PetscCall(PetscOptionsReal(option, "Of dropout: probability that an entry of the covariance is kept", NULL, c->probability, &c->probability, NULL));
  c->type = (KalCorrect)type;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Refuses values that mean nothing; a correction makes its method one in observation space. */
PetscErrorCode KalCorrectionSetUp(KalAnalysis analysis, const char *prefix, const KalCorrection *c)
{
  PetscFunctionBeginUser;
  PetscCheck(c->exponent >= 0.0 && c->exponent <= 100.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_correction_exponent %g: must be from 0 to 100", prefix, (double)c->exponent);
  PetscCheck(c->cutoff >= 0.0 && c->cutoff < 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_correction_cutoff %g: must be at least 0 and less than 1", prefix, (double)c->cutoff);
  PetscCheck(c->tolerance >= 0.0 && !PetscIsInfOrNanReal(c->tolerance), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_correction_tolerance %g: must not be negative", prefix, (double)c->tolerance);
  PetscCheck(c->probability > 0.0 && c->probability <= 1.0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-%s_correction_probability %g: must be above 0 and at most 1", prefix, (double)c->probability);
  if (c->type == KAL_CORRECT_NONE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(analysis->space == KAL_SPACE_AUTO || analysis->space == KAL_SPACE_OBSERVATION, analysis->comm, PETSC_ERR_ARG_INCOMP, "-%s_correction %s forms the covariances with the observations, and solves in their space; leave -analysis_space out", prefix, KalCorrects[c->type]);
  PetscCheck(analysis->precision == KAL_DOUBLE, analysis->comm, PETSC_ERR_ARG_INCOMP, "-%s_correction %s: the update is no transform of the members any more, so that -analysis_transform_precision does not go with it; leave it out", prefix, KalCorrects[c->type]);
  analysis->takes |= KAL_TAKES_SOLVER;
  analysis->space          = KAL_SPACE_OBSERVATION;
  analysis->needs.gathered = 4;
  analysis->needs.least    = c->type == KAL_CORRECT_DROPOUT ? 2 : 4;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Memory, and ranks that would not agree, where p observations are taken at a time. */
PetscErrorCode KalCorrectionCheck(KalAnalysis analysis, const char *prefix, const KalCorrection *c, PetscInt p)
{
  PetscInt rows = 0;

  PetscFunctionBeginUser;
  if (c->type == KAL_CORRECT_NONE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(analysis->uniform, analysis->comm, PETSC_ERR_SUP, "-%s_correction %s needs the same BLAS kernels on every rank; these ranks run different ones: set OPENBLAS_CORETYPE, or leave it out", prefix, KalCorrects[c->type]);
  analysis->needs.work = 24.0 * p * (2.0 * p + analysis->N); /* with what an eigen-decomposition takes */
  if (analysis->ensemble) PetscCall(KalEnsembleGetBlocks(analysis->ensemble, &rows, NULL));
  analysis->needs.work += 8.0 * rows * ((PetscReal)analysis->N + p);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscReal Sec(const KalCorrection *c, PetscReal r)
{
  return PetscAbsReal(r) < c->cutoff ? 0.0 : r * PetscPowReal(PetscAbsReal(r), c->exponent);
}

/* With the standard error of the correlation, taken in Fisher's z = atanh r, where it is 1/sqrt(N - 3): r Q^2/(1 + Q^2), Q = r/error. */
static PetscReal SecFisher(const KalCorrection *c, PetscReal r)
{
  const PetscReal sd = 1.0 / PetscSqrtReal((PetscReal)c->active - 3.0);
  PetscReal       z, error, square;

  if (PetscAbsReal(r) > 1.0 - 1e-12) return r;
  z      = atanh(r);
  error  = 0.5 * (tanh(z + sd) - tanh(z - sd));
  square = PetscSqr(r / error);
  return r * square / (1.0 + square);
}

static PetscReal Corrected(const KalCorrection *c, const KalNice *nice, PetscReal r)
{
  PetscReal power = r;

  if (c->type == KAL_CORRECT_DROPOUT) return r;
  if (c->type == KAL_CORRECT_SEC) return Sec(c, r);
  if (c->type == KAL_CORRECT_SEC_FISHER) return SecFisher(c, r);
  for (PetscInt k = 1; k < nice->power; k += 2) power *= r * r;
  return nice->weight * power + (1.0 - nice->weight) * power * r * r;
}

/* Adds up, of e_k = r^(2k + 1) - r, k = 0, 1, ...: e_k^2 and e_k e_(k + 1); and the squared standard errors (1 - r^2)^2/N. */
static void NiceSums(const KalCorrection *c, PetscReal r, PetscReal *sums)
{
  PetscReal e = 0.0, power = r;

  if (r == 0.0) return; /* nothing to correct: what has no spread, as an observation that was rejected, has no errors either */
  for (PetscInt k = 0; k < KAL_NICE_POWERS; k++) {
    const PetscReal next = power * r * r - r;

    sums[2 * k] += e * e;
    sums[2 * k + 1] += e * next;
    e     = next;
    power = power * r * r;
  }
  sums[2 * KAL_NICE_POWERS] += PetscSqr(1.0 - r * r) / c->active;
}

/* The least power whose departure from r is beyond tolerance times the standard errors, and how much of the power before makes it just that. */
static void NiceChoose(const KalCorrection *c, const PetscReal *sums, KalNice *nice)
{
  const PetscReal most = PetscSqr(c->tolerance) * sums[2 * KAL_NICE_POWERS];

  for (PetscInt k = 0; k + 1 < KAL_NICE_POWERS; k++) {
    const PetscReal aa = sums[2 * k], ab = sums[2 * k + 1], bb = sums[2 * k + 2], square = aa - 2.0 * ab + bb;

    nice->power  = 2 * k + 1;
    nice->weight = 0.0;
    if (bb <= most) continue;
    /* w^2 aa + 2 w (1 - w) ab + (1 - w)^2 bb = most */
    if (square > 0.0) nice->weight = PetscMin(1.0, PetscMax(0.0, ((bb - ab) - PetscSqrtReal(PetscMax(0.0, PetscSqr(bb - ab) - square * (bb - most)))) / square));
    return;
  }
}

/* A block's C_ug into c->C, as correlations. */
static PetscErrorCode Correlations(KalCorrection *c, const KalRows *rows)
{
  const PetscInt b = rows->count;

  PetscFunctionBeginUser;
  if (b > c->rows) {
    PetscCall(PetscFree2(c->X, c->C));
    PetscCall(PetscMalloc2((size_t)b * c->N, &c->X, (size_t)b * c->p, &c->C));
    c->rows = b;
  }
  for (PetscInt i = 0; i < b; i++) {
    PetscReal mean = 0.0, square = 0.0;

    for (PetscInt j = 0; j < c->N; j++) mean += c->status[j] == KAL_MEMBER_OK ? rows->x[0][i + (size_t)j * (size_t)rows->ld[0]] / c->active : 0.0;
    for (PetscInt j = 0; j < c->N; j++) {
      const PetscReal x = c->status[j] == KAL_MEMBER_OK ? c->scale * (rows->x[0][i + (size_t)j * (size_t)rows->ld[0]] - mean) : 0.0;

      c->X[i + (size_t)j * b] = x;
      square += x * x;
    }
    square = PetscSqrtReal(square);
    for (PetscInt j = 0; square > 0.0 && j < c->N; j++) c->X[i + (size_t)j * b] /= square;
  }
  PetscCall(KalMultiply("NT", b, c->p, c->N, 1.0, c->X, c->A, 0.0, c->C));
  for (PetscInt k = 0; k < c->p; k++) {
    for (PetscInt i = 0; i < b; i++) c->C[i + (size_t)k * b] = c->sd[k] > 0.0 ? PetscMax(-1.0, PetscMin(1.0, c->C[i + (size_t)k * b] / c->sd[k])) : 0.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitNice(void *ctx, const KalRows *rows, PetscReal *sums)
{
  KalCorrection *c = (KalCorrection *)ctx;

  PetscFunctionBeginUser;
  PetscCall(Correlations(c, rows));
  for (size_t i = 0; i < (size_t)rows->count * c->p; i++) NiceSums(c, c->C[i], sums);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The corrected C_gg, whitened: p x p, on every rank. */
static PetscErrorCode Predictions(KalAnalysis analysis, KalCorrection *c, PetscReal *G)
{
  PetscReal sums[KAL_NICE_SUMS] = {0.0};
  KalNice   nice                = {1, 1.0};

  PetscFunctionBeginUser;
  PetscCall(KalMultiply("NT", c->p, c->p, c->N, 1.0, c->A, c->A, 0.0, G));
  PetscCall(KalFromFirst(analysis, (size_t)c->p * c->p, G));
  for (PetscInt k = 0; k < c->p; k++) c->sd[k] = PetscSqrtReal(PetscMax(0.0, G[k + (size_t)k * c->p]));
  for (PetscInt k = 0; k < c->p; k++) {
    for (PetscInt l = 0; l < c->p; l++) {
      const PetscReal sd = c->sd[k] * c->sd[l];

      G[l + (size_t)k * c->p] = l == k ? 1.0 : sd > 0.0 ? PetscMax(-1.0, PetscMin(1.0, G[l + (size_t)k * c->p] / sd))
                                                        : 0.0;
      if (c->type == KAL_CORRECT_NICE && l != k) NiceSums(c, G[l + (size_t)k * c->p], sums);
    }
  }
  if (c->type == KAL_CORRECT_NICE) NiceChoose(c, sums, &nice);
  for (PetscInt k = 0; k < c->p; k++) {
    for (PetscInt l = 0; l <= k; l++) G[l + (size_t)k * c->p] = G[k + (size_t)l * c->p] = c->sd[k] * c->sd[l] * (l == k ? 1.0 : Corrected(c, &nice, G[l + (size_t)k * c->p]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* G <- its positive part: entry by entry corrected correlations need not be those of anything. */
static PetscErrorCode Positive(KalAnalysis analysis, PetscInt p, PetscReal *G)
{
  PetscReal *value, *V, *scaled;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc3(p, &value, (size_t)p * p, &V, (size_t)p * p, &scaled));
  PetscCall(KalEigen(analysis, p, G, value, V));
  if (p && value[0] < 0.0) {
    for (PetscInt j = 0; j < p; j++) {
      for (PetscInt i = 0; i < p; i++) scaled[i + (size_t)j * p] = PetscMax(0.0, value[j]) * V[i + (size_t)j * p];
    }
    PetscCall(KalMultiply("NT", p, p, p, 1.0, scaled, V, 0.0, G));
  }
  PetscCall(PetscFree3(value, V, scaled));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Takes out of the sides b = R + Xi what the perturbations Xi are on average over the members. */
static void Center(const KalInnovation *in, PetscReal *b)
{
  for (PetscInt i = 0; i < in->p; i++) {
    PetscReal mean = 0.0;

    for (PetscInt j = 0; j < in->N; j++) mean += (b[i + (size_t)j * in->p] - in->R[i + (size_t)j * in->p]) / in->active; /* zero where a member failed */
    for (PetscInt j = 0; j < in->N; j++) b[i + (size_t)j * in->p] -= in->status[j] == KAL_MEMBER_OK ? mean : 0.0;
  }
}

/*
  KalCorrectionPrepare - Makes what the rows need: M = (C_gg + shift I)^{-1} (R + perturbed Xi), with the corrected C_gg, whitened

  Collective. The innovation is one in observation space with the members' residuals.
*/
PetscErrorCode KalCorrectionPrepare(KalAnalysis analysis, const KalTold *told, const KalInnovation *in, const KalStatus *status, PetscReal shift, PetscReal perturbed, KalCorrection *c)
{
  const size_t size = (size_t)in->p * in->N;
  PetscReal   *G, *b, sums[KAL_NICE_SUMS];

  PetscFunctionBeginUser;
  c->key = (KalKey){analysis->seed, KAL_DRAW_DROPOUT, told->cycle, 0};
  PetscCheck(c->type != KAL_CORRECT_SEC_FISHER || in->active > 3, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "Only %" PetscInt_FMT " members did not fail; the correction sec-fisher needs 4", in->active);
  PetscCall(PetscFree3(c->A, c->sd, c->M));
  PetscCall(PetscMalloc3(size, &c->A, in->p, &c->sd, size, &c->M));
  PetscCall(PetscArraycpy(c->A, in->A, size));
  if (in->p != c->p || in->N != c->N) c->rows = 0; /* X and C are made anew */
  c->N      = in->N;
  c->p      = in->p;
  c->active = in->active;
  c->scale  = in->scale;
  c->status = status;
  PetscCall(PetscMalloc2((size_t)in->p * in->p, &G, size, &b));
  PetscCall(Predictions(analysis, c, G));
  if (c->type != KAL_CORRECT_DROPOUT) PetscCall(Positive(analysis, in->p, G)); /* whole, it is */
  PetscCall(KalInnovationSides(analysis, told, in, in->N, perturbed, b));
  if (c->centered) Center(in, b);
  PetscCall(KalSolve(analysis, KAL_SPACE_OBSERVATION, in->p, G, shift, NULL, in->N, b, c->M));
  PetscCall(PetscFree2(G, b));
  if (c->type != KAL_CORRECT_NICE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalEnsembleSumRows(1, &analysis->ensemble, VisitNice, c, KAL_NICE_SUMS, sums));
  NiceChoose(c, sums, &c->nice);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Entries of a block's C_ug, in c->C, that are dropped in this cycle: entry i, k where number i of the stream of observation k is not below the probability. */
static PetscErrorCode Drop(KalCorrection *c, const KalRows *rows)
{
  KalKey key = c->key;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < c->p; k++) {
    key.member = c->first + k;
    PetscCall(KalDrawUniform(key, rows->first, rows->count, c->X)); /* which the correlations are made of already */
    for (PetscInt i = 0; i < rows->count; i++) {
      if (c->X[i] >= c->probability) c->C[i + (size_t)k * rows->count] = 0.0;
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalCorrectionRows - x_j <- x_j + C_ug M_j for a block of rows, with the corrected C_ug; members that failed are not touched
*/
PetscErrorCode KalCorrectionRows(KalAnalysis analysis, KalCorrection *c, const KalRows *rows)
{
  const PetscInt b = rows->count;

  PetscFunctionBeginUser;
  (void)analysis;
  PetscCall(Correlations(c, rows));
  for (PetscInt i = 0; i < b; i++) {
    PetscReal mean = 0.0, square = 0.0;

    for (PetscInt j = 0; j < c->N; j++) mean += c->status[j] == KAL_MEMBER_OK ? rows->x[0][i + (size_t)j * (size_t)rows->ld[0]] / c->active : 0.0;
    for (PetscInt j = 0; j < c->N; j++) square += c->status[j] == KAL_MEMBER_OK ? PetscSqr(c->scale * (rows->x[0][i + (size_t)j * (size_t)rows->ld[0]] - mean)) : 0.0;
    for (PetscInt k = 0; k < c->p; k++) c->C[i + (size_t)k * b] = PetscSqrtReal(square) * c->sd[k] * Corrected(c, &c->nice, c->C[i + (size_t)k * b]);
  }
  if (c->type == KAL_CORRECT_DROPOUT) PetscCall(Drop(c, rows));
  PetscCall(KalMultiply("NN", b, c->N, c->p, 1.0, c->C, c->M, 0.0, c->X));
  for (PetscInt j = 0; j < c->N; j++) {
    for (PetscInt i = 0; c->status[j] == KAL_MEMBER_OK && i < b; i++) rows->x[0][i + (size_t)j * (size_t)rows->ld[0]] += c->X[i + (size_t)j * b];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The work of a block goes from one correction to another of the same sizes. */
void KalCorrectionHand(KalCorrection *from, KalCorrection *to)
{
  to->X    = from->X;
  to->C    = from->C;
  to->rows = from->rows;
  to->N    = from->N;
  to->p    = from->p;
  from->X = from->C = NULL;
  from->rows        = 0;
}

PetscErrorCode KalCorrectionDestroy(KalCorrection *c)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(c->A, c->sd, c->M));
  PetscCall(PetscFree2(c->X, c->C));
  PetscFunctionReturn(PETSC_SUCCESS);
}
