/*
  ETD-RK4 for u_t = L u + N(u), L = k^2 - k^4 and N(u) = -(u^2)_x/2 by wave number k: Kassam and Trefethen, SIAM J. Sci.
  Comput. 26 (2005), eqs. 2.5 to 2.8.

  FFTW's plans are made once, by estimate (a measured plan, and its bits, would differ from run to run) and for arrays that lie
  anywhere; each transform is of one field.
*/
#include <complex.h> /* before FFTW's header, whose complex type it decides */
#include <models/kuramoto_sivashinsky.h>

#define CONTOUR 32 /* points of the upper half of the circle of radius 1 that coefficients are means over */

/* Numbers of a field and of a spectrum with what makes whole lines of them. */
static size_t Padded(PetscInt n)
{
  return ((size_t)n + KAL_LINE - 1) / KAL_LINE * KAL_LINE;
}

/* Numbers of all arrays: the mean, a field, seven coefficients, eight spectra. */
size_t KalKSWork_Private(const KalKS *ks)
{
  return 2 * Padded(ks->points) + 15 * Padded(2 * (ks->points / 2 + 1));
}

/* The coefficients of one wave with h L = z, by means over a circle about z: they are even in the imaginary part. */
static void Coefficients(PetscReal h, PetscReal z, PetscReal *q, PetscReal *f1, PetscReal *f2, PetscReal *f3)
{
  double sum[4] = {0.0, 0.0, 0.0, 0.0};

  for (int j = 0; j < CONTOUR; j++) {
    const double complex r = z + cexp(I * (PETSC_PI * ((double)j + 0.5) / CONTOUR)), e = cexp(r), r3 = r * r * r;

    sum[0] += creal((cexp(0.5 * r) - 1.0) / r);
    sum[1] += creal((-4.0 - r + e * (4.0 - 3.0 * r + r * r)) / r3);
    sum[2] += creal((2.0 + r + e * (r - 2.0)) / r3);
    sum[3] += creal((-4.0 - 3.0 * r - r * r + e * (4.0 - r)) / r3);
  }
  *q  = h * sum[0] / CONTOUR;
  *f1 = h * sum[1] / CONTOUR;
  *f2 = h * sum[2] / CONTOUR;
  *f3 = h * sum[3] / CONTOUR;
}

static void SetCoefficients(KalKS *ks)
{
  const PetscInt  n = ks->points;
  const PetscReal h = ks->step;

  for (PetscInt w = 0; 2 * w < ks->spectrum; w++) {
    const PetscReal k = 2.0 * (PetscReal)w / ks->domain, linear = k * k - k * k * k * k;
    PetscReal       q, f1, f2, f3;

    Coefficients(h, h * linear, &q, &f1, &f2, &f3);
    for (PetscInt i = 2 * w; i < 2 * w + 2; i++) {
      ks->full[i] = PetscExpReal(h * linear);
      ks->half[i] = PetscExpReal(0.5 * h * linear);
      ks->q[i]    = q;
      ks->f1[i]   = f1;
      ks->f2[i]   = f2;
      ks->f3[i]   = f3;
      ks->g[i]    = 2 * w == n ? 0.0 : 0.5 * k / ((PetscReal)n * (PetscReal)n);
    }
  }
}

/* Takes the arrays and makes the plans. */
PetscErrorCode KalKSSetUp_Private(KalKS *ks)
{
  const size_t  m       = Padded(2 * (ks->points / 2 + 1));
  PetscScalar **array[] = {&ks->full, &ks->half, &ks->q, &ks->f1, &ks->f2, &ks->f3, &ks->g}, *next;

  PetscFunctionBeginUser;
  PetscCall(KalKSDestroy_Private(ks));
  ks->spectrum = 2 * (ks->points / 2 + 1);
  PetscCall(KalDynamicsAllocate_Private(KalKSWork_Private(ks), &ks->memory, &next));
  for (size_t a = 0; a < PETSC_STATIC_ARRAY_LENGTH(array); a++, next += m) *array[a] = next;
  for (size_t a = 0; a < PETSC_STATIC_ARRAY_LENGTH(ks->v); a++, next += m) ks->v[a] = next;
  ks->field    = next;
  ks->mean     = next + Padded(ks->points);
  ks->forward  = fftw_plan_dft_r2c_1d((int)ks->points, ks->field, (fftw_complex *)ks->v[0], FFTW_ESTIMATE | FFTW_UNALIGNED);
  ks->backward = fftw_plan_dft_c2r_1d((int)ks->points, (fftw_complex *)ks->v[0], ks->field, FFTW_ESTIMATE | FFTW_UNALIGNED);
  PetscCheck(ks->forward && ks->backward, PETSC_COMM_SELF, PETSC_ERR_LIB, "FFTW makes no plan for %" PetscInt_FMT " points; take another -kuramoto_sivashinsky_size", ks->points);
  SetCoefficients(ks);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalKSDestroy_Private(KalKS *ks)
{
  PetscFunctionBeginUser;
  if (ks->forward) fftw_destroy_plan(ks->forward);
  if (ks->backward) fftw_destroy_plan(ks->backward);
  ks->forward  = NULL;
  ks->backward = NULL;
  PetscCall(PetscFree(ks->memory));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void Forward(const KalKS *ks, PetscScalar *field, PetscScalar *v)
{
  fftw_execute_dft_r2c(ks->forward, field, (fftw_complex *)v);
}

/* Destroys the spectrum. */
static void Backward(const KalKS *ks, PetscScalar *v, PetscScalar *field)
{
  fftw_execute_dft_c2r(ks->backward, (fftw_complex *)v, field);
}

/* v *= -i g */
KAL_WIDER static void Derive(PetscInt m, const PetscScalar *restrict g, PetscScalar *restrict v)
{
  for (PetscInt i = 0; i < m; i += 2) {
    const PetscScalar re = v[i], im = v[i + 1];

    v[i]     = g[i] * im;
    v[i + 1] = -(g[i] * re);
  }
}

KAL_WIDER static void Square(PetscInt n, PetscScalar *u)
{
  for (PetscInt i = 0; i < n; i++) u[i] *= u[i];
}

/* u *= 2 t */
KAL_WIDER static void Double(PetscInt n, const PetscScalar *restrict t, PetscScalar *restrict u)
{
  for (PetscInt i = 0; i < n; i++) u[i] *= 2.0 * t[i];
}

/* c = e v + q d */
KAL_WIDER static void Stage(PetscInt m, const PetscScalar *e, const PetscScalar *v, const PetscScalar *q, const PetscScalar *d, PetscScalar *restrict c)
{
  for (PetscInt i = 0; i < m; i++) c[i] = e[i] * v[i] + q[i] * d[i];
}

/* c = e v + q (2 d2 - d1) */
KAL_WIDER static void LastStage(PetscInt m, const PetscScalar *e, const PetscScalar *v, const PetscScalar *q, const PetscScalar *d2, const PetscScalar *d1, PetscScalar *restrict c)
{
  for (PetscInt i = 0; i < m; i++) c[i] = e[i] * v[i] + q[i] * (2.0 * d2[i] - d1[i]);
}

/* v = e v + f1 d1 + 2 f2 (d2 + d3) + f3 d4 */
KAL_WIDER static void Finish(PetscInt m, const KalKS *ks, const PetscScalar *d1, const PetscScalar *d2, const PetscScalar *d3, const PetscScalar *d4, PetscScalar *restrict v)
{
  const PetscScalar *e = ks->full, *f1 = ks->f1, *f2 = ks->f2, *f3 = ks->f3;

  for (PetscInt i = 0; i < m; i++) v[i] = e[i] * v[i] + f1[i] * d1[i] + 2.0 * (d2[i] + d3[i]) * f2[i] + f3[i] * d4[i];
}

KAL_WIDER static void Copy(PetscInt n, const PetscScalar *restrict from, PetscScalar *restrict to)
{
  for (PetscInt i = 0; i < n; i++) to[i] = from[i];
}

/*
  The tendency's nonlinear part d of a spectrum v; scratch is a spectrum. Where there is a trajectory, it is n times the field
  that d is linearized about, and v a departure from it; else the field of v, times n, is kept in `keep` where that is given.
*/
static void Nonlinear(const KalKS *ks, const PetscScalar *v, const PetscScalar *trajectory, PetscScalar *keep, PetscScalar *scratch, PetscScalar *d)
{
  PetscScalar *u = ks->field;

  Copy(ks->spectrum, v, scratch);
  Backward(ks, scratch, u);
  if (keep) Copy(ks->points, u, keep);
  if (trajectory) Double(ks->points, trajectory, u);
  else Square(ks->points, u);
  Forward(ks, u, d);
  Derive(ks->spectrum, ks->g, d);
}

/*
  One step of the spectrum v[0], or of a departure from the trajectory given by its fields at the four stages; `keep` is room
  for such fields, or NULL.
*/
static void Step(const KalKS *ks, PetscScalar *const trajectory[4], PetscScalar *const keep[4])
{
  const PetscInt m = ks->spectrum;
  PetscScalar   *v = ks->v[0], *a = ks->v[1], *b = ks->v[2];
  PetscScalar   *d1 = ks->v[3], *d2 = ks->v[4], *d3 = ks->v[5], *d4 = ks->v[6];
  PetscScalar   *none[4] = {NULL, NULL, NULL, NULL}, *scratch = ks->v[7];

  if (!trajectory) trajectory = none;
  if (!keep) keep = none;
  Nonlinear(ks, v, trajectory[0], keep[0], scratch, d1);
  Stage(m, ks->half, v, ks->q, d1, a);
  Nonlinear(ks, a, trajectory[1], keep[1], scratch, d2);
  Stage(m, ks->half, v, ks->q, d2, b);
  Nonlinear(ks, b, trajectory[2], keep[2], scratch, d3);
  LastStage(m, ks->half, a, ks->q, d3, d1, b);
  Nonlinear(ks, b, trajectory[3], keep[3], scratch, d4);
  Finish(m, ks, d1, d2, d3, d4, v);
}

/* The field of v[0], whose spectrum is lost. */
static void TakeField(const KalKS *ks, PetscScalar *x)
{
  const PetscReal n = (PetscReal)ks->points;

  Backward(ks, ks->v[0], ks->field);
  for (PetscInt i = 0; i < ks->points; i++) x[i] = ks->field[i] / n;
}

/* Some steps of one member, in place. */
void KalKSAdvance_Private(const KalKS *ks, PetscInt steps, PetscScalar *x)
{
  if (!steps) return;
  Copy(ks->points, x, ks->field);
  Forward(ks, ks->field, ks->v[0]);
  for (PetscInt s = 0; s < steps; s++) Step(ks, NULL, NULL);
  TakeField(ks, x);
}

/* Some steps of departures from the trajectory that starts at x, in place. */
PetscErrorCode KalKSTangent_Private(const KalKS *ks, PetscInt steps, const PetscScalar *x, PetscInt columns, PetscScalar *dx)
{
  const size_t n = (size_t)ks->points, m = (size_t)ks->spectrum;
  PetscScalar *memory, *state, *stage[4];

  PetscFunctionBeginUser;
  if (!steps) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(4 * n + m, &memory));
  state = memory + 4 * n;
  for (int r = 0; r < 4; r++) stage[r] = memory + (size_t)r * n;
  PetscCall(PetscArraycpy(ks->field, x, n));
  Forward(ks, ks->field, state);
  for (PetscInt s = 0; s < steps; s++) {
    PetscCall(PetscArraycpy(ks->v[0], state, m));
    Step(ks, NULL, stage);
    PetscCall(PetscArraycpy(state, ks->v[0], m));
    for (PetscInt k = 0; k < columns; k++) {
      PetscCall(PetscArraycpy(ks->field, dx + (size_t)k * n, n));
      Forward(ks, ks->field, ks->v[0]);
      Step(ks, stage, NULL);
      TakeField(ks, dx + (size_t)k * n);
    }
  }
  PetscCall(PetscFree(memory));
  PetscFunctionReturn(PETSC_SUCCESS);
}
