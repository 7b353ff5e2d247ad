/* Activation functions, in both precisions, by operations that vectorize. */
#include <models/activation.h>

#include <ensemble/wider.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

const char *const KalActivations[] = {"relu", "tanh", "sigmoid", "heaviside", "linear", "sign", "steps", "KalActivationType", "KAL_", NULL};

static inline int32_t BitsOf(float x)
{
  int32_t bits;

  memcpy(&bits, &x, sizeof bits);
  return bits;
}

static inline float FloatOf(int32_t bits)
{
  float x;

  memcpy(&x, &bits, sizeof x);
  return x;
}

/* condition ? a : b with both computed: a branch would keep compilers from vectorizing. */
static inline float Select(int condition, float a, float b)
{
  return FloatOf((BitsOf(a) & -condition) | (BitsOf(b) & (condition - 1)));
}

/* exp(x) for |x| <= 87 to a few units in the last place: Cody and Waite's reduction, Cephes' polynomial. */
static inline float ExpSingle(float x)
{
  const int   n = (int)(x * 1.44269504f + 128.5f) - 128;
  const float r = (x - (float)n * 0.693359375f) + (float)n * 2.12194440e-4f;
  float       p = 1.9875691500e-4f;

  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * FloatOf((int32_t)((uint32_t)(n + 127) << 23));
}

/* Within [-bound, bound], also where x is a NaN. */
static inline float Clamped(float x, float bound)
{
  x = Select(x > -bound, x, -bound);
  return Select(x < bound, x, bound);
}

/* Cephes' polynomial near 0, by exp(2|x|) further out. */
static inline float TanhSingle(float x)
{
  const float c     = FloatOf(BitsOf(Clamped(x, 9.1f)) & 0x7fffffff);
  const float z     = c * c;
  const float large = 1.0f - 2.0f / (ExpSingle(2.0f * c) + 1.0f);
  float       p     = -5.70498872745e-3f, t;

  p = p * z + 2.06390887954e-2f;
  p = p * z - 5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z - 3.33332819422e-1f;
  p = p * z * c + c;
  t = Select(c < 0.625f, p, large);
  t = FloatOf(BitsOf(t) | (BitsOf(x) & INT32_MIN));
  return Select(x == x, t, x);
}

static inline float SigmoidSingle(float x)
{
  return Select(x == x, 1.0f / (1.0f + ExpSingle(Clamped(-x, 87.0f))), x);
}

static inline double SigmoidDouble(double x)
{
  return 1.0 / (1.0 + PetscExpReal(-x));
}

#define REAL    float
#define NAME(x) x##Single
#define TANH    TanhSingle
#define SIGMOID SigmoidSingle
#define CEIL    ceilf
#include <models/activation_kernels.h>

#define REAL    double
#define NAME(x) x##Double
#define TANH    tanh
#define SIGMOID SigmoidDouble
#define CEIL    ceil
#include <models/activation_kernels.h>

PetscBool KalActivationIsDifferentiable(const KalActivation *activation)
{
  return (PetscBool)(activation->type == KAL_RELU || activation->type == KAL_TANH || activation->type == KAL_SIGMOID || activation->type == KAL_LINEAR);
}

/* What must agree for a restart, and what is printed: the name, and the levels of steps. */
PetscErrorCode KalActivationText(const KalActivation *activation, size_t size, char *text)
{
  PetscFunctionBeginUser;
  if (activation->type == KAL_STEPS) PetscCall(PetscSNPrintf(text, size, "steps of %" PetscInt_FMT " levels", activation->levels));
  else PetscCall(PetscStrncpy(text, KalActivations[activation->type], size));
  PetscFunctionReturn(PETSC_SUCCESS);
}
