/*
  The forward pass of the model "mlp", in both precisions, in packed panels (ensemble/panels.h).

  Inputs are packed once for a block of samples, in panels of samples; the weights of a member are converted and packed layer by
  layer, in panels of units. The product of two panels is a piece of the next layer's packed input, biased and activated while it is
  in the first-level cache. Each number is one chain of multiply-adds, so that a member's predictions have the same bits whatever
  other members and samples are given.
*/
#include <models/mlpimpl.h>

#include <ensemble/panels.h>
#include <ensemble/wider.h>
#include <stdint.h>
#include <string.h>

/* Numbers of a cache line of the smaller type; pieces of the work space start on lines. */
#define LINE       16
#define ROUNDED(n) (((PetscInt64)(n) + LINE - 1) / LINE * LINE)

/* Units of a layer with those that fill the last panel. */
static PetscInt Padded(const KalPanels *kernels, PetscInt units)
{
  const PetscInt width = KalPanelsChoose(kernels, units)->width;

  return KalPanelCount(units, width) * width;
}

/* Numbers of the pieces of the work space: packed inputs, packed weights of a layer, activations of a layer. */
typedef struct {
  PetscInt64 inputs, weights, activations;
} KalMLPRoom;

static KalMLPRoom Room(const KalMLP *mlp, KalPrecision precision, PetscInt samples)
{
  const KalPanels *kernels = KalPanelsGet();
  const PetscInt   height = precision == KAL_SINGLE ? kernels->heightsingle : kernels->height, rows = KalPanelCount(PetscMin(samples, KAL_MLP_BLOCK_SAMPLES), height) * height;
  KalMLPRoom       room = {ROUNDED((PetscInt64)rows * mlp->width[0]), 0, 0};

  for (PetscInt l = 0; l < mlp->layers; l++) {
    const PetscInt64 units = Padded(kernels, mlp->width[l + 1]);

    room.weights     = PetscMax(room.weights, ROUNDED(units * mlp->width[l]));
    room.activations = PetscMax(room.activations, ROUNDED(units * rows));
  }
  return room;
}

PetscInt64 KalMLPWork_Private(const KalMLP *mlp, KalPrecision precision, PetscInt samples)
{
  const KalMLPRoom room = Room(mlp, precision, samples);

  return room.inputs + room.weights + 2 * room.activations + LINE;
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

#define REAL        float
#define NAME(x)     x##Single
#define PRODUCT     productsingle
#define HEIGHT      heightsingle
#define PACKSAMPLES kernels->packsingle
#define PACKUNITS   kernels->packrounded
#define TANH        TanhSingle
#define SIGMOID     SigmoidSingle
#include <models/mlp_kernels.h>

#define REAL        double
#define NAME(x)     x##Double
#define PRODUCT     product
#define HEIGHT      height
#define PACKSAMPLES kernels->pack
#define PACKUNITS   kernels->pack
#define TANH        tanh
#define SIGMOID     SigmoidDouble
#include <models/mlp_kernels.h>

PetscErrorCode KalModelObserve_MLP(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  KalMLP      *mlp   = (KalMLP *)model->data;
  const size_t bytes = (size_t)KalMLPWork_Private(mlp, model->precision, batch->samples) * (model->precision == KAL_SINGLE ? sizeof(float) : sizeof(double));
  double       flops = 0.0;

  PetscFunctionBeginUser;
  (void)parameters;
  (void)stage;
  (void)status; /* KalModelObserve() looks for numbers that are not finite */
  if (bytes > mlp->work_bytes) {
    PetscCall(PetscFree(mlp->work));
    mlp->work_bytes = 0;
    mlp->packed     = 0;
    PetscCall(PetscMalloc(bytes, &mlp->work));
    mlp->work_bytes = bytes;
  }
  if (model->precision == KAL_SINGLE) ForwardSingle(mlp, columns, batch, y);
  else ForwardDouble(mlp, columns, batch, y);
  for (PetscInt l = 0; l < mlp->layers; l++) flops += 2.0 * mlp->width[l] * mlp->width[l + 1];
  PetscCall(PetscLogFlops(flops * batch->samples * columns->count));
  PetscFunctionReturn(PETSC_SUCCESS);
}
