/*
  A model with a parameterization: the operations that a run calls, on states u, by those of the model's own, which takes w = T(u).

  Set-up moves the model into a KalModel of its own and leaves operations here in its place. Members are mapped some at a time,
  so that there is no second ensemble.
*/
#include <models/parameterizationimpl.h>

#include <string.h>

/* Members that are mapped at once: as many as a run hands over, unless they are long. */
#define KAL_MAPPED_MOST  64
#define KAL_MAPPED_BYTES (64 << 20)

static KalColumns Slice(const KalColumns *columns, PetscInt first, PetscInt count)
{
  return (KalColumns){.first = columns->first + first, .count = count, .total = columns->total, .size = columns->size, .column = columns->column + first};
}

static PetscErrorCode Reserve(size_t count, size_t *size, PetscScalar **array)
{
  PetscFunctionBeginUser;
  if (count <= *size) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscFree(*array));
  PetscCall(PetscMalloc1(count, array));
  *size = count;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* What the model takes of members first, ..., first + w->count - 1 of some; the pointers are of `room`. */
static PetscErrorCode Map(KalParameterization p, const KalColumns *u, PetscInt first, PetscScalar **room, KalColumns *w)
{
  const PetscInt count = PetscMin(p->most, u->count - first), n = p->model->size;

  PetscFunctionBeginUser;
  PetscCall(Reserve((size_t)count * (size_t)n, &p->worksize, &p->work));
  *w = (KalColumns){.first = u->first + first, .count = count, .total = u->total, .size = n, .column = room};
  for (PetscInt k = 0; k < count; k++) {
    room[k] = p->work + (size_t)k * (size_t)n;
    PetscCall((*p->ops.map)(p, u->column[first + k], room[k]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Initial(KalModel model, KalKey key, PetscScalar *u)
{
  KalParameterization p = model->parameterization;

  PetscFunctionBeginUser;
  if (p->ops.initial) PetscCall((*p->ops.initial)(p, key, u));
  else if (p->ops.entrywise) PetscCall(KalModelInitial(p->model, key, u));
  else PetscCall(KalDrawNormal(key, 0, p->size, u));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Spread(KalModel model, PetscReal *spread)
{
  KalParameterization p = model->parameterization;

  PetscFunctionBeginUser;
  if (p->ops.spread) PetscCall((*p->ops.spread)(p, spread));
  else if (p->ops.entrywise) PetscCall(KalModelSpread(p->model, spread));
  else {
    for (PetscInt i = 0; i < p->size; i++) spread[i] = 1.0;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Mean(KalModel model, PetscScalar *mean)
{
  KalParameterization p = model->parameterization;
  PetscBool           known;

  PetscFunctionBeginUser;
  if (p->ops.mean) PetscCall((*p->ops.mean)(p, mean));
  else if (p->ops.entrywise) PetscCall(KalModelMean(p->model, mean, &known));
  else PetscCall(PetscArrayzero(mean, p->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* u of a member that was forecast to w; entries that the forecast left alone stay as they are, to the bit. */
static PetscErrorCode TakeBack(KalParameterization p, const PetscScalar *w, PetscScalar *before, PetscScalar *room, PetscScalar *u, KalStatus *status)
{
  PetscFunctionBeginUser;
  PetscCall((*p->ops.map)(p, u, before));
  PetscCall((*p->ops.inverse)(p, w, room));
  for (PetscInt i = 0; i < p->size; i++) {
    if (p->ops.entrywise && w[i] == before[i]) continue;
    u[i] = room[i];
    if (PetscIsInfOrNanScalar(u[i]) && *status == KAL_MEMBER_OK) *status = KAL_MEMBER_NONFINITE;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Propagate(KalModel model, const KalColumns *parameters, PetscReal from, PetscReal to, KalColumns *columns, KalStatus *status)
{
  KalParameterization p = model->parameterization;
  PetscScalar        *room[KAL_MAPPED_MOST], *before, *back;
  KalColumns          w, part;

  PetscFunctionBeginUser;
  PetscCall(KalModelSetKey(p->model, model->key));
  PetscCall(PetscMalloc2(p->model->size, &before, p->size, &back));
  for (PetscInt k = 0; k < columns->count; k += w.count) {
    PetscCall(Map(p, columns, k, room, &w));
    if (parameters) part = Slice(parameters, k, w.count);
    PetscCall(KalModelPropagate(p->model, parameters ? &part : NULL, from, to, &w, status + k));
    for (PetscInt j = 0; j < w.count; j++) PetscCall(TakeBack(p, room[j], before, back, columns->column[k + j], status + k + j));
  }
  PetscCall(PetscFree2(before, back));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalModelObserve_Parameterized - What members u predict: the model's own of T(u), or a batch's linear operator of T(u)

  Not Collective
*/
PetscErrorCode KalModelObserve_Parameterized(KalModel model, const KalColumns *parameters, PetscReal stage, const KalColumns *columns, const KalBatch *batch, PetscScalar **y, KalStatus *status)
{
  KalParameterization p = model->parameterization;
  PetscScalar        *room[KAL_MAPPED_MOST];
  KalColumns          w, part;

  PetscFunctionBeginUser;
  PetscCall(KalModelSetKey(p->model, model->key));
  for (PetscInt k = 0; k < columns->count; k += w.count) {
    PetscCall(Map(p, columns, k, room, &w));
    if (parameters) part = Slice(parameters, k, w.count);
    PetscCall(KalModelObserve(p->model, parameters ? &part : NULL, stage, &w, batch, y + k, status + k));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A sensitivity whose columns are counted from those that were given, not from those that are mapped at once. */
typedef struct {
  KalSensitivity sensitivity;
  void          *ctx;
  PetscInt       first;
} Shifted;

static PetscErrorCode ShiftedSensitivity(void *ctx, PetscInt column, PetscInt first, PetscInt samples, const PetscScalar *y, PetscScalar *s)
{
  const Shifted *shifted = (const Shifted *)ctx;

  PetscFunctionBeginUser;
  PetscCall((*shifted->sensitivity)(shifted->ctx, shifted->first + column, first, samples, y, s));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Adjoint(KalModel model, const KalColumns *columns, const KalBatch *batch, KalSensitivity sensitivity, void *ctx, PetscScalar **gradient)
{
  KalParameterization p = model->parameterization;
  PetscScalar        *room[KAL_MAPPED_MOST], *slope[KAL_MAPPED_MOST];
  Shifted             shifted = {sensitivity, ctx, 0};
  KalColumns          w;

  PetscFunctionBeginUser;
  for (PetscInt k = 0; k < columns->count; k += w.count) {
    PetscCall(Map(p, columns, k, room, &w));
    PetscCall(Reserve((size_t)w.count * (size_t)w.size, &p->slopesize, &p->slope));
    for (PetscInt j = 0; j < w.count; j++) slope[j] = p->slope + (size_t)j * (size_t)w.size;
    shifted.first = k;
    PetscCall(KalModelAdjoint(p->model, &w, batch, ShiftedSensitivity, &shifted, slope));
    for (PetscInt j = 0; j < w.count; j++) PetscCall((*p->ops.adjoint)(p, columns->column[k + j], slope[j], gradient[k + j]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Inputs(KalModel model, const KalBatch *batch, size_t size, char *text)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelCheckInputs(model->parameterization->model, batch, size, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Locate(KalModel model, PetscInt count, const PetscInt *entries, PetscReal *coordinates, PetscInt *kinds)
{
  KalParameterization p = model->parameterization;

  PetscFunctionBeginUser;
  if (p->ops.locate) PetscCall((*p->ops.locate)(p, count, entries, coordinates, kinds));
  else PetscCall(KalModelLocate(p->model, count, entries, coordinates, kinds));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Domain(KalModel model, KalDomain *domain)
{
  KalParameterization p = model->parameterization;

  PetscFunctionBeginUser;
  if (p->ops.domain) PetscCall((*p->ops.domain)(p, domain));
  else PetscCall(KalModelGetDomain(p->model, domain));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* "mlp 784,32,10 relu; subspace 8:16,10:32" */
static PetscErrorCode Layout(KalModel model, size_t size, char *text)
{
  KalParameterization p = model->parameterization;
  size_t              length;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetLayout(p->model, size, text));
  PetscCall(PetscStrlcat(text, "; ", size));
  PetscCall(PetscStrlcat(text, p->type, size));
  if (!p->ops.layout) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscStrlcat(text, " ", size));
  PetscCall(PetscStrlen(text, &length));
  if (length < size) PetscCall((*p->ops.layout)(p, size - length, text + length));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Memory(KalModel model, PetscInt samples, PetscReal *bytes)
{
  KalParameterization p   = model->parameterization;
  PetscReal           own = 0.0;

  PetscFunctionBeginUser;
  if (p->ops.memory) PetscCall((*p->ops.memory)(p, &own));
  PetscCall(KalModelGetMemory(p->model, samples, bytes));
  *bytes += own + (PetscReal)p->most * (PetscReal)p->model->size * (PetscReal)sizeof(PetscScalar);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalModel model, PetscViewer viewer)
{
  KalParameterization p = model->parameterization;

  PetscFunctionBeginUser;
  if (p->model->ops.view) PetscCall((*p->model->ops.view)(p->model, viewer));
  PetscCall(PetscViewerASCIIPrintf(viewer, "parameterization %s: the %" PetscInt_FMT " numbers that the model takes are made of a state of %" PetscInt_FMT "%s\n", p->type, p->model->size, p->size, p->ops.entrywise ? "" : "; its prior is that of the members"));
  PetscCall(PetscViewerASCIIPushTab(viewer));
  if (p->ops.view) PetscCall((*p->ops.view)(p, viewer));
  PetscCall(PetscViewerASCIIPopTab(viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A type that says less than its model needs. */
static PetscErrorCode Check(KalParameterization p)
{
  const KalModelOps *own = &p->model->ops;

  PetscFunctionBeginUser;
  PetscCheck(p->ops.map, p->comm, PETSC_ERR_ORDER, "The parameterization %s has no map", p->type);
  PetscCheck(p->size >= 1, p->comm, PETSC_ERR_ORDER, "The parameterization %s does not say how many numbers a state has: KalParameterizationSetSize() in its set-up", p->type);
  PetscCheck(!p->ops.entrywise || p->size == p->model->size, p->comm, PETSC_ERR_ARG_SIZ, "The parameterization %s is entrywise, but makes %" PetscInt_FMT " numbers of %" PetscInt_FMT, p->type, p->model->size, p->size);
  PetscCheck(!own->propagate || p->ops.inverse, p->comm, PETSC_ERR_SUP, "The model %s forecasts its state, and the parameterization %s cannot be undone to take it back: leave -parameterization_type out, or take one that works entry by entry (bounds)", p->model->type, p->type);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalModelParameterize - Sets up a model that has a parameterization: its own first, then the parameterization, then what a run calls

  Collective
*/
PetscErrorCode KalModelParameterize(KalModel model)
{
  KalParameterization p = model->parameterization;
  const KalModelOps  *own;

  PetscFunctionBeginUser;
  if (!model->own) {
    PetscCall(PetscNew(&model->own));
    *model->own                  = *model;
    model->own->own              = NULL;
    model->own->parameterization = NULL;
    PetscCall(PetscCommDuplicate(model->comm, &model->own->comm, NULL));
  }
  model->own->inputs  = model->inputs;
  model->own->outputs = model->outputs;
  PetscCall(KalModelSetUp(model->own));
  own      = &model->own->ops;
  p->model = model->own;
  p->most  = (PetscInt)PetscMin(KAL_MAPPED_MOST, PetscMax(1, (PetscInt64)KAL_MAPPED_BYTES / ((PetscInt64)sizeof(PetscScalar) * p->model->size)));
  if (p->ops.setup) PetscCall((*p->ops.setup)(p));
  else if (p->ops.entrywise) p->size = p->model->size;
  PetscCall(Check(p));
  model->ops = (KalModelOps){
      .together  = own->together,
      .initial   = p->ops.entrywise && !p->ops.initial && !own->initial ? NULL : Initial,
      .spread    = p->ops.entrywise && !p->ops.spread && !own->spread ? NULL : Spread,
      .mean      = p->ops.entrywise && !p->ops.mean && !own->mean ? NULL : Mean,
      .inputs    = own->inputs ? Inputs : NULL,
      .propagate = own->propagate ? Propagate : NULL,
      .observe   = own->observe ? KalModelObserve_Parameterized : NULL,
      .locate    = p->ops.locate || (p->ops.entrywise && own->locate) ? Locate : NULL,
      .domain    = p->ops.domain || (p->ops.entrywise && own->domain) ? Domain : NULL,
      .adjoint   = p->ops.adjoint && own->adjoint ? Adjoint : NULL,
      .layout    = Layout,
      .memory    = Memory,
      .view      = View,
  };
  model->size    = p->size;
  model->inputs  = model->own->inputs;
  model->outputs = model->own->outputs;
  model->stages  = model->own->stages;
  model->step    = model->own->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelSetParameterization - Puts a parameterization between the state that an analysis updates and what a model takes

   Collective

   Input Parameters:
+  model - the model, not set up yet
-  type - a name in the table, for instance KALPARAMETERIZATIONBOUNDS; KALPARAMETERIZATIONNONE takes the one there is away

   Options Database Key:
.  -parameterization_type <none> - the name

   Notes:
   From its set-up on the model's size, prior, places, derivatives and layout are those of the state u; what it takes is T(u). A model
   with a parameterization has no tangent and no layers: methods that work on these need the model's own state.

   Errors: PETSC_ERR_ARG_UNKNOWN_TYPE for a name that is not in the table, PETSC_ERR_ORDER after KalModelSetUp(); in KalModelSetUp()
   PETSC_ERR_SUP where the model forecasts its state and the type has no inverse

.seealso: KalParameterizationRegister(), KalModelGetOwn(), KalModelMap()
@*/
PetscErrorCode KalModelSetParameterization(KalModel model, const char *type)
{
  PetscFunctionBeginUser;
  PetscCheck(type, model->comm, PETSC_ERR_ARG_NULL, "No type of parameterization given");
  if (!strcmp(type, model->parameterization ? model->parameterization->type : KALPARAMETERIZATIONNONE)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(!model->ready && !model->own, model->comm, PETSC_ERR_ORDER, "KalModelSetParameterization() comes before KalModelSetUp()");
  PetscCall(KalParameterizationDestroy(&model->parameterization));
  if (strcmp(type, KALPARAMETERIZATIONNONE)) PetscCall(KalParameterizationCreate(model->comm, type, &model->parameterization));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetParameterization - The parameterization of a model

   Not Collective

   Input Parameter:
.  model - the model

   Output Parameter:
.  parameterization - it belongs to the model; NULL where there is none
@*/
PetscErrorCode KalModelGetParameterization(KalModel model, KalParameterization *parameterization)
{
  PetscFunctionBeginUser;
  *parameterization = model->parameterization;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetOwn - The model under a parameterization, whose state is w = T(u)

   Not Collective

   Input Parameter:
.  model - the model, set up

   Output Parameter:
.  own - the model's own, borrowed; the model itself where it has no parameterization
@*/
PetscErrorCode KalModelGetOwn(KalModel model, KalModel *own)
{
  PetscFunctionBeginUser;
  *own = model->own ? model->own : model;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelMap - What a model takes for a state: T(u), or the state itself where there is no parameterization

   Not Collective

   Input Parameters:
+  model - the model, set up
-  u - the state, as many numbers as KalModelGetSize() says

   Output Parameter:
.  w - as many numbers as KalModelGetSize() says of KalModelGetOwn()
@*/
PetscErrorCode KalModelMap(KalModel model, const PetscScalar *u, PetscScalar *w)
{
  PetscFunctionBeginUser;
  PetscCheck(model->ready, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model is used before KalModelSetUp()");
  if (model->parameterization) PetscCall((*model->parameterization->ops.map)(model->parameterization, u, w));
  else PetscCall(PetscArraycpy(w, u, model->size));
  PetscFunctionReturn(PETSC_SUCCESS);
}
