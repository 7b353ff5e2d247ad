/* The parameterization "channel": a channel through the unit square, by its shape and two numbers, one inside and one outside of it. */
#include <models/dynamics.h>
#include <models/parameterizationimpl.h>

enum {
  KAL_CHANNEL_AMPLITUDE,
  KAL_CHANNEL_FREQUENCY,
  KAL_CHANNEL_SLOPE,
  KAL_CHANNEL_OFFSET,
  KAL_CHANNEL_WIDTH,
  KAL_CHANNEL_SHAPES,
  KAL_CHANNEL_INSIDE = KAL_CHANNEL_SHAPES,
  KAL_CHANNEL_OUTSIDE,
  KAL_CHANNEL_NUMBERS
};

static const char *const Names[KAL_CHANNEL_NUMBERS] = {"amplitude", "frequency", "slope", "offset", "width", "inside", "outside"};

typedef struct {
  PetscInt  nx, ny;
  PetscReal pair[KAL_CHANNEL_NUMBERS][2]; /* least and largest of a shape's number; mean and standard deviation of the others */
} KalChannel;

static PetscErrorCode SetFromOptions(KalParameterization p, KalOptionItems PetscOptionsObject)
{
  KalChannel *c       = (KalChannel *)p->data;
  PetscInt    grid[2] = {c->nx, c->ny}, n = 2;
  PetscBool   given;
  char        option[64];

  PetscFunctionBeginUser;
  PetscOptionsHeadBegin(PetscOptionsObject, "Parameterization channel: a channel through the unit square");
  PetscCall(KalDynamicsCheckList_Private(p->comm, "-channel_grid", 2));
  PetscCall(PetscOptionsIntArray("-channel_grid", "cells along x and y", "KALPARAMETERIZATIONCHANNEL", grid, &n, &given));
  PetscCheck(!given || n == 2, p->comm, PETSC_ERR_ARG_SIZ, "-channel_grid has %" PetscInt_FMT " numbers; give 2, as in 24,24", n);
  c->nx = grid[0];
  c->ny = grid[1];
  for (int i = 0; i < KAL_CHANNEL_NUMBERS; i++) {
    n = 2;
    PetscCall(PetscSNPrintf(option, sizeof option, "-channel_%s", Names[i]));
    PetscCall(KalDynamicsCheckList_Private(p->comm, option, 2));
    PetscCall(PetscOptionsRealArray(option, i < KAL_CHANNEL_SHAPES ? "least and largest" : "prior mean and standard deviation", "KALPARAMETERIZATIONCHANNEL", c->pair[i], &n, &given));
    PetscCheck(!given || n == 2, p->comm, PETSC_ERR_ARG_SIZ, "-channel_%s has %" PetscInt_FMT " numbers; give 2, %s", Names[i], n, i < KAL_CHANNEL_SHAPES ? "the least and the largest" : "mean and standard deviation");
  }
  PetscOptionsHeadEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalParameterization p)
{
  const KalChannel *c = (const KalChannel *)p->data;
  PetscInt          size;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetSize(p->model, &size));
  PetscCheck(c->nx >= 1 && c->ny >= 1, p->comm, PETSC_ERR_ARG_WRONGSTATE, "The parameterization channel needs -channel_grid, cells along x and y, as in 24,24");
  PetscCheck((PetscInt64)c->nx * c->ny == size, p->comm, PETSC_ERR_ARG_SIZ, "-channel_grid makes %" PetscInt_FMT " x %" PetscInt_FMT " cells, but the model %s takes %" PetscInt_FMT " numbers; give a grid with as many cells", c->nx, c->ny, p->model->type, size);
  for (int i = 0; i < KAL_CHANNEL_NUMBERS; i++) {
    const PetscReal *pair = c->pair[i];

    PetscCheck(!PetscIsInfOrNanReal(pair[0]) && !PetscIsInfOrNanReal(pair[1]), p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-channel_%s %g,%g: must be finite", Names[i], (double)pair[0], (double)pair[1]);
    if (i < KAL_CHANNEL_SHAPES) PetscCheck(pair[0] < pair[1], p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-channel_%s %g,%g: the least must be less than the largest", Names[i], (double)pair[0], (double)pair[1]);
    else PetscCheck(pair[1] > 0.0, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-channel_%s %g,%g: the standard deviation must be positive", Names[i], (double)pair[0], (double)pair[1]);
  }
  PetscCheck(c->pair[KAL_CHANNEL_WIDTH][0] >= 0.0, p->comm, PETSC_ERR_ARG_OUTOFRANGE, "-channel_width %g,%g: must not be negative", (double)c->pair[KAL_CHANNEL_WIDTH][0], (double)c->pair[KAL_CHANNEL_WIDTH][1]);
  PetscCall(KalParameterizationSetSize(p, KAL_CHANNEL_NUMBERS));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The part of a cell that the channel takes is that of the line through its middle, up. */
static PetscErrorCode Map(KalParameterization p, const PetscScalar *u, PetscScalar *w)
{
  const KalChannel *c = (const KalChannel *)p->data;
  const PetscReal   h = 1.0 / (PetscReal)c->ny;
  PetscReal         v[KAL_CHANNEL_NUMBERS];

  PetscFunctionBeginUser;
  for (int i = 0; i < KAL_CHANNEL_NUMBERS; i++) {
    if (!PetscIsInfOrNanScalar(u[i])) continue;
    for (PetscInt j = 0; j < c->nx * c->ny; j++) w[j] = NAN; /* a comparison would make a number of it */
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  for (int i = 0; i < KAL_CHANNEL_NUMBERS; i++) {
    const PetscReal *pair = c->pair[i];

    if (i < KAL_CHANNEL_SHAPES) v[i] = pair[0] + (pair[1] - pair[0]) * 0.5 * erfc(-u[i] / PetscSqrtReal(2.0));
    else v[i] = pair[0] + pair[1] * u[i];
  }
  for (PetscInt i = 0; i < c->nx; i++) {
    const PetscReal x      = ((PetscReal)i + 0.5) / (PetscReal)c->nx;
    const PetscReal middle = v[KAL_CHANNEL_OFFSET] + v[KAL_CHANNEL_SLOPE] * x + v[KAL_CHANNEL_AMPLITUDE] * PetscSinReal(2.0 * PETSC_PI * v[KAL_CHANNEL_FREQUENCY] * x);
    const PetscReal low = middle - 0.5 * v[KAL_CHANNEL_WIDTH], high = middle + 0.5 * v[KAL_CHANNEL_WIDTH];

    for (PetscInt j = 0; j < c->ny; j++) {
      const PetscReal part = (PetscMin(high, (PetscReal)(j + 1) * h) - PetscMax(low, (PetscReal)j * h)) / h;

      w[(size_t)j * (size_t)c->nx + (size_t)i] = v[KAL_CHANNEL_OUTSIDE] + (v[KAL_CHANNEL_INSIDE] - v[KAL_CHANNEL_OUTSIDE]) * PetscMax(0.0, part);
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Layout(KalParameterization p, size_t size, char *text)
{
  const KalChannel *c = (const KalChannel *)p->data;
  PetscInt64        digest;

  PetscFunctionBeginUser;
  PetscCall(KalDigest(c->pair, sizeof c->pair, 0, &digest));
  PetscCall(PetscSNPrintf(text, size, "%" PetscInt_FMT " x %" PetscInt_FMT " cells, %016llx", c->nx, c->ny, (unsigned long long)digest));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalParameterization p, PetscViewer viewer)
{
  const KalChannel *c = (const KalChannel *)p->data;

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "%" PetscInt_FMT " x %" PetscInt_FMT " cells", c->nx, c->ny));
  PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_FALSE));
  for (int i = 0; i < KAL_CHANNEL_NUMBERS; i++) PetscCall(PetscViewerASCIIPrintf(viewer, i < KAL_CHANNEL_SHAPES ? ", %s from %g to %g" : ", %s %g with sd %g", Names[i], (double)c->pair[i][0], (double)c->pair[i][1]));
  PetscCall(PetscViewerASCIIPrintf(viewer, "\n"));
  PetscCall(PetscViewerASCIIUseTabs(viewer, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalParameterization p)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(p->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALPARAMETERIZATIONCHANNEL - "channel", a channel through a grid on the unit square

   Options Database Keys:
+  -channel_grid - cells along x, which runs fastest, and y; needed
.  -channel_amplitude <0,0.3> - least and largest amplitude a
.  -channel_frequency <0.5,1.5> - of the frequency f
.  -channel_slope <-0.3,0.3> - of the slope s
.  -channel_offset <0.2,0.8> - of the height b at x = 0
.  -channel_width <0.1,0.4> - of the width d
.  -channel_inside <2,0.5> - prior mean and standard deviation of the number inside
-  -channel_outside <0,0.5> - of the number outside

   Notes:
   The channel is what lies within d/2 of y = b + s x + a sin(2 pi f x), measured along y. A cell that lies partly within takes numbers in between, by the part of
   the line through its middle; so the map is continuous.

   The state is seven numbers, N(0, 1) each and in the order above\: least + (largest - least) Phi(u) for the shape, whose prior is uniform, and mean + sd u.

   Source\: Iglesias, Lin and Stuart, Well-posed Bayesian geometric inverse problems arising in subsurface flow, Inverse Problems 30 (2014); Chada,
   Iglesias, Roininen and Stuart, Inverse Problems 34 (2018).
M*/
PetscErrorCode KalParameterizationCreate_Channel(KalParameterization p)
{
  static const PetscReal pairs[KAL_CHANNEL_NUMBERS][2] = {
      {0.0,  0.3},
      {0.5,  1.5},
      {-0.3, 0.3},
      {0.2,  0.8},
      {0.1,  0.4},
      {2.0,  0.5},
      {0.0,  0.5}
  };
  KalChannel *c;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&c));
  PetscCall(PetscMemcpy(c->pair, pairs, sizeof pairs));
  p->data               = c;
  p->ops.setfromoptions = SetFromOptions;
  p->ops.setup          = SetUp;
  p->ops.map            = Map;
  p->ops.layout         = Layout;
  p->ops.view           = View;
  p->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
