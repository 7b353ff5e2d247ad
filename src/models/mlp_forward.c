/*
  The forward pass of the model "mlp", in both precisions.

  A member's predictions must have the same bits whatever other columns are given. The bits of a BLAS
  call follow from its shape, so shapes follow from the layer widths and the batch alone: member m is
  slot m % block of block m / block, the first layer of a block is one product of full shape whose empty
  slots are zero, further layers are one product a member, and samples go through in blocks of
  KAL_MLP_BLOCK_SAMPLES. Activations stand unit by unit, a column of samples each, which makes the bias
  one number a column and the products tall, as BLAS likes them.
*/
#include <models/mlpimpl.h>

#include <petscblaslapack.h>
#include <stdint.h>
#include <string.h>

/* PETSc declares BLAS for its own precision only. */
#if defined(PETSC_BLASLAPACK_CAPS)
#define KAL_SGEMM SGEMM
#elif defined(PETSC_BLASLAPACK_UNDERSCORE)
#define KAL_SGEMM sgemm_
#else
#define KAL_SGEMM sgemm
#endif
PETSC_EXTERN void KAL_SGEMM(const char *, const char *, const PetscBLASInt *, const PetscBLASInt *, const PetscBLASInt *, const float *, const float *, const PetscBLASInt *, const float *, const PetscBLASInt *, const float *, float *, const PetscBLASInt *);

/* Numbers of a cache line of the smaller type; pieces of the work space start on lines. */
#define LINE       16
#define ROUNDED(n) (((PetscInt64)(n) + LINE - 1) / LINE * LINE)

/* Numbers of a member behind its first weights: the first biases and the further layers. */
static PetscInt64 Rest(const KalMLP *mlp)
{
  return mlp->offset[mlp->layers] - (PetscInt64)mlp->width[0] * mlp->width[1];
}

PetscInt64 KalMLPWork_Private(const KalMLP *mlp, PetscInt samples)
{
  const PetscInt64 rows = PetscMin(samples, KAL_MLP_BLOCK_SAMPLES), units = (PetscInt64)mlp->block * mlp->width[1];

  return ROUNDED(units * mlp->width[0]) + ROUNDED(mlp->block * Rest(mlp)) + ROUNDED(units * rows) + 2 * ROUNDED(mlp->widest * rows) + LINE;
}

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

/* Compiled for wider vectors too, chosen as the program starts. The bits are the same, since the build contracts no multiply-adds. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && defined(__gnu_linux__)
#define WIDER __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define WIDER
#endif

#define REAL    float
#define NAME(x) x##Single
#define GEMM    KAL_SGEMM
#define TANH    TanhSingle
#define SIGMOID SigmoidSingle
#include <models/mlp_kernels.h>

#define REAL    double
#define NAME(x) x##Double
#define GEMM    BLASgemm_
#define TANH    tanh
#define SIGMOID SigmoidDouble
#include <models/mlp_kernels.h>

PetscErrorCode KalModelObserve_MLP(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  KalMLP      *mlp   = (KalMLP *)model->data;
  const size_t bytes = (size_t)KalMLPWork_Private(mlp, batch->samples) * (model->precision == KAL_SINGLE ? sizeof(float) : sizeof(double));
  double       flops = 0.0;

  PetscFunctionBeginUser;
  (void)parameters;
  (void)stage;
  (void)status; /* KalModelObserve() looks for numbers that are not finite */
  if (bytes > mlp->work_bytes) {
    PetscCall(PetscFree(mlp->work));
    mlp->work_bytes = 0;
    PetscCall(PetscMalloc(bytes, &mlp->work));
    mlp->work_bytes = bytes;
  }
  if (model->precision == KAL_SINGLE) ForwardSingle(mlp, columns, batch, y);
  else ForwardDouble(mlp, columns, batch, y);
  for (PetscInt l = 0; l < mlp->layers; l++) flops += 2.0 * mlp->width[l] * mlp->width[l + 1];
  PetscCall(PetscLogFlops(flops * batch->samples * columns->count));
  PetscFunctionReturn(PETSC_SUCCESS);
}
