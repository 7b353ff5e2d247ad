/*
  The model "lorenz96-averages": the forcing of a lorenz96 is the state, averages over time are predicted. For inverse problems of a chaotic model.

  It holds a model of type lorenz96 whose last entry is its forcing, and runs it for each member from one fixed start.
*/
#include <models/lorenz96.h>

#define INPUTS  2 /* of a sample: times that it is averaged from and to */
#define OUTPUTS 2 /* mean and standard deviation */

typedef struct {
  KalModel lorenz96;
} KalAverages;

/* The times of a batch in steps, one pair a sample, when the last of them ends, and which are open at a step. */
typedef struct {
  PetscInt  samples, first, last;
  PetscInt *from, *to;
  PetscInt *order, begun; /* samples by their beginning, and how many have begun */
  PetscInt *open, count;
} KalWindows;

static KalLorenz96 *Inside(KalModel model)
{
  return (KalLorenz96 *)((KalAverages *)model->data)->lorenz96->data;
}

static PetscErrorCode KalModelSetFromOptions_Averages(KalModel model, KalOptionItems PetscOptionsObject)
{
  KalModel lorenz96 = ((KalAverages *)model->data)->lorenz96;

  PetscFunctionBeginUser;
  PetscCall((*lorenz96->ops.setfromoptions)(lorenz96, PetscOptionsObject));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSetUp_Averages(KalModel model)
{
  KalModel lorenz96 = ((KalAverages *)model->data)->lorenz96;

  PetscFunctionBeginUser;
  PetscCheck(Inside(model)->estimate, model->comm, PETSC_ERR_ARG_INCOMP, "The model lorenz96-averages has the forcing for its state; leave -lorenz96_estimate_forcing out");
  PetscCheck(model->precision == KAL_DOUBLE, model->comm, PETSC_ERR_SUP, "The model lorenz96-averages runs in double precision only; leave -model_precision single out");
  PetscCheck(!model->inputs || model->inputs == INPUTS, model->comm, PETSC_ERR_ARG_SIZ, "The model lorenz96-averages takes two inputs a sample, the times to average from and to, but the data have %" PetscInt_FMT, model->inputs);
  PetscCheck(!model->outputs || model->outputs == OUTPUTS, model->comm, PETSC_ERR_ARG_SIZ, "The model lorenz96-averages predicts two numbers a sample, mean and standard deviation, but the data have %" PetscInt_FMT, model->outputs);
  PetscCall(KalModelSetUp(lorenz96));
  PetscCheck(Inside(model)->prior_spread > 0.0, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "-lorenz96_forcing_spread 0: must be positive");
  PetscCall(KalModelSetSize(model, 1));
  PetscCall(KalModelSetDataSizes(model, INPUTS, OUTPUTS));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelInitial_Averages(KalModel model, KalKey key, PetscScalar *x)
{
  const KalLorenz96 *inside = Inside(model);

  PetscFunctionBeginUser;
  PetscCall(KalDrawNormal(key, 0, 1, x));
  x[0] = inside->prior_mean + inside->prior_spread * x[0];
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelSpread_Averages(KalModel model, PetscReal *spread)
{
  PetscFunctionBeginUser;
  spread[0] = Inside(model)->prior_spread;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMean_Averages(KalModel model, PetscScalar *mean)
{
  PetscFunctionBeginUser;
  mean[0] = Inside(model)->prior_mean;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode WindowsCreate(KalModel lorenz96, const KalBatch *batch, KalWindows *w)
{
  const double *x = (const double *)batch->input;

  PetscFunctionBeginUser;
  *w = (KalWindows){.samples = batch->samples, .first = PETSC_MAX_INT};
  PetscCall(PetscMalloc4(w->samples, &w->from, w->samples, &w->to, w->samples, &w->order, w->samples, &w->open));
  for (PetscInt s = 0; s < w->samples; s++) {
    PetscCall(KalModelGetSteps(lorenz96, 0.0, x[INPUTS * s], &w->from[s]));
    PetscCall(KalModelGetSteps(lorenz96, 0.0, x[INPUTS * s + 1], &w->to[s]));
    PetscCheck(w->to[s] > w->from[s], PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "A sample is to be averaged from time %g to time %g: the second must be later", x[INPUTS * s], x[INPUTS * s + 1]);
    w->first    = PetscMin(w->first, w->from[s]);
    w->last     = PetscMax(w->last, w->to[s]);
    w->order[s] = s;
  }
  PetscCall(PetscSortIntWithPermutation(w->samples, w->from, w->order));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Goes on to a step, one after the other: windows that it lies in are open. */
static void WindowsOpen(KalWindows *w, PetscInt step)
{
  PetscInt kept = 0;

  for (PetscInt k = 0; k < w->count; k++) {
    if (step <= w->to[w->open[k]]) w->open[kept++] = w->open[k];
  }
  while (w->begun < w->samples && w->from[w->order[w->begun]] < step) w->open[kept++] = w->order[w->begun++];
  w->count = kept;
}

/* Every member from the start: 0 but for the first place, with its own forcing. */
static PetscErrorCode Start(KalModel model, const KalColumns *columns, PetscScalar *memory, PetscScalar **column)
{
  const KalLorenz96 *inside = Inside(model);
  const size_t       n      = (size_t)inside->places + 1;

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(memory, (size_t)columns->count * n));
  for (PetscInt k = 0; k < columns->count; k++) {
    column[k]        = memory + (size_t)k * n;
    column[k][0]     = inside->first;
    column[k][n - 1] = columns->column[k][0];
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Adds the sums over the places of x and x^2 to the open windows; y has them in place of mean and standard deviation. */
static void Accumulate(const KalWindows *w, PetscInt places, const PetscScalar *x, PetscScalar *y)
{
  PetscScalar sum = 0.0, square = 0.0;

  for (PetscInt i = 0; i < places; i++) {
    sum += x[i];
    square += x[i] * x[i];
  }
  for (PetscInt k = 0; k < w->count; k++) {
    y[OUTPUTS * w->open[k]] += sum;
    y[OUTPUTS * w->open[k] + 1] += square;
  }
}

static void Finish(const KalWindows *w, PetscInt places, PetscScalar *y)
{
  for (PetscInt s = 0; s < w->samples; s++) {
    const PetscReal   count = (PetscReal)places * (w->to[s] - w->from[s]);
    const PetscScalar mean = y[OUTPUTS * s] / count, variance = y[OUTPUTS * s + 1] / count - mean * mean;

    y[OUTPUTS * s]     = mean;
    y[OUTPUTS * s + 1] = variance < 0.0 ? 0.0 : PetscSqrtScalar(variance); /* what is not a number stays so */
  }
}

static PetscErrorCode KalModelObserve_Averages(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  KalModel        lorenz96 = ((KalAverages *)model->data)->lorenz96;
  const PetscInt  places   = Inside(model)->places;
  const PetscReal step     = Inside(model)->step;
  KalColumns      states   = {.first = columns->first, .count = columns->count, .total = columns->total, .size = lorenz96->size};
  PetscScalar    *memory;
  KalWindows      w;

  PetscFunctionBeginUser;
  (void)parameters;
  (void)stage;
  PetscCall(WindowsCreate(lorenz96, batch, &w));
  PetscCall(PetscMalloc2((size_t)columns->count * (size_t)lorenz96->size, &memory, columns->count, &states.column));
  PetscCall(Start(model, columns, memory, states.column));
  for (PetscInt k = 0; k < columns->count; k++) PetscCall(PetscArrayzero(y[k], OUTPUTS * (size_t)w.samples));
  PetscCall(KalModelPropagate(lorenz96, NULL, 0.0, w.first * step, &states, status));
  for (PetscInt t = w.first + 1; t <= w.last; t++) {
    PetscCall(KalModelPropagate(lorenz96, NULL, (t - 1) * step, t * step, &states, status));
    WindowsOpen(&w, t);
    for (PetscInt k = 0; k < columns->count; k++) Accumulate(&w, places, states.column[k], y[k]);
  }
  for (PetscInt k = 0; k < columns->count; k++) Finish(&w, places, y[k]);
  PetscCall(PetscFree2(memory, states.column));
  PetscCall(PetscFree4(w.from, w.to, w.order, w.open));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelLayout_Averages(KalModel model, size_t size, char *text)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelGetLayout(((KalAverages *)model->data)->lorenz96, size, text));
  PetscCall(PetscStrlcat(text, ", averages", size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelMemory_Averages(KalModel model, PetscInt samples, PetscReal *bytes)
{
  KalModel lorenz96 = ((KalAverages *)model->data)->lorenz96;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetMemory(lorenz96, samples, bytes));
  *bytes += 64.0 * lorenz96->size * sizeof(PetscScalar) + 4.0 * samples * sizeof(PetscInt); /* as many members as a run hands over at once */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelView_Averages(KalModel model, PetscViewer viewer)
{
  const KalLorenz96 *inside = Inside(model);

  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "averages over time of %" PetscInt_FMT " places, from (%g, 0, ...) on, time step %g (RK4)\n", inside->places, (double)inside->first, (double)inside->step));
  PetscCall(PetscViewerASCIIPrintf(viewer, "prior of the forcing N(%g, %g^2)\n", (double)inside->prior_mean, (double)inside->prior_spread));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode KalModelDestroy_Averages(KalModel model)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelDestroy(&((KalAverages *)model->data)->lorenz96));
  PetscCall(PetscFree(model->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALMODELLORENZ96AVERAGES - "lorenz96-averages", the forcing of Lorenz's model of 1996 as the unknown of an inverse problem

   Options Database Keys:
+  -lorenz96_size <40> - places on the circle, at least 4
.  -lorenz96_step <0.05> - time step
.  -lorenz96_mean_first <1> - entry 0 of the start, that of every member; the others are 0
.  -lorenz96_forcing_mean <8> - prior mean of the forcing
-  -lorenz96_forcing_spread <1> - its prior standard deviation

   Notes:
   The state is one number, the forcing F; member m draws it as mean + spread z, z draw 0 of its key. A sample of a data set has two
   inputs, the times to average from and to (whole numbers of steps, the second the later), and two targets: mean and standard
   deviation of all places over the steps that end after the one and not after the other. Each member runs a KALMODELLORENZ96 from time 0
   on; the first few units of time are not to be averaged over.

   The averages of a chaotic model over a time that is not long depend on F without being smooth: methods that smooth over
   their members can be set apart from those that take derivatives. Multiplied by x and averaged, the equation says that the mean
   square is F times the mean, once the time is long (Lorenz 1996).
M*/
PetscErrorCode KalModelCreate_Lorenz96Averages(KalModel model)
{
  KalAverages *averages;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&averages));
  model->data = averages;
  PetscCall(KalModelCreate(model->comm, &averages->lorenz96));
  PetscCall(KalModelSetType(averages->lorenz96, KALMODELLORENZ96));
  Inside(model)->estimate   = PETSC_TRUE;
  model->ops.setfromoptions = KalModelSetFromOptions_Averages;
  model->ops.setup          = KalModelSetUp_Averages;
  model->ops.initial        = KalModelInitial_Averages;
  model->ops.spread         = KalModelSpread_Averages;
  model->ops.mean           = KalModelMean_Averages;
  model->ops.observe        = KalModelObserve_Averages;
  model->ops.layout         = KalModelLayout_Averages;
  model->ops.memory         = KalModelMemory_Averages;
  model->ops.view           = KalModelView_Averages;
  model->ops.destroy        = KalModelDestroy_Averages;
  PetscFunctionReturn(PETSC_SUCCESS);
}
