/* KalModel: the table of types, life cycle and sizes. The calls a run makes are in dispatch.c. */
#include <models/parameterizationimpl.h>

#include <string.h>

#define KAL_MODEL_TYPES 32

const char *const KalPrecisions[] = {"double", "single", "KalPrecision", "KAL_", NULL};

static struct {
  char name[KAL_MODEL_NAME];
  PetscErrorCode (*create)(KalModel);
} types[KAL_MODEL_TYPES] = {
    {KALMODELMLP,                 KalModelCreate_MLP                },
    {KALMODELCNN,                 KalModelCreate_CNN                },
    {KALMODELLORENZ63,            KalModelCreate_Lorenz63           },
    {KALMODELLORENZ96,            KalModelCreate_Lorenz96           },
    {KALMODELLORENZ96AVERAGES,    KalModelCreate_Lorenz96Averages   },
    {KALMODELKURAMOTOSIVASHINSKY, KalModelCreate_KuramotoSivashinsky},
    {KALMODELADVECTION,           KalModelCreate_Advection          },
    {KALMODELLINEAR,              KalModelCreate_Linear             },
    {KALMODELELLIPTIC,            KalModelCreate_Elliptic           },
    {KALMODELDIFFUSION,           KalModelCreate_Diffusion          },
    {KALMODELDARCY,               KalModelCreate_Darcy              },
    {KALMODELPATH,                KalModelCreate_Path               },
    {KALMODELSHELL,               KalModelCreate_Shell              },
    {KALMODELCOMMAND,             KalModelCreate_Command            }
};

static char registered[KAL_MODEL_NAME];

PetscErrorCode KalModelRegistered(const char **name)
{
  PetscFunctionBeginUser;
  if (name) *name = registered;
  else registered[0] = '\0';
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The names in the table, separated by spaces. */
static PetscErrorCode ListTypes(size_t size, char *text)
{
  PetscFunctionBeginUser;
  text[0] = '\0';
  for (int i = 0; i < KAL_MODEL_TYPES && types[i].create; i++) {
    if (i) PetscCall(PetscStrlcat(text, " ", size));
    PetscCall(PetscStrlcat(text, types[i].name, size));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelRegister - Adds a type of model, or replaces the one of that name

   Not Collective; every rank registers the same types

   Input Parameters:
+  name - name for KalModelSetType() and `-model_type`, shorter than 64 characters
-  create - sets the operations of a model (KalModelGetOps()) and its data (KalModelSetData())

   Errors: PETSC_ERR_ARG_OUTOFRANGE for an empty or too long name or a full table (32 types)
@*/
PetscErrorCode KalModelRegister(const char *name, PetscErrorCode (*create)(KalModel))
{
  int i = 0;

  PetscFunctionBeginUser;
  PetscCheck(name && name[0] && strlen(name) < KAL_MODEL_NAME, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "The name of a model type has 1 to %d characters, not %d", KAL_MODEL_NAME - 1, name ? (int)strlen(name) : 0);
  PetscCheck(create, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "No function given that creates models of type %s", name);
  while (i < KAL_MODEL_TYPES && types[i].create && strcmp(types[i].name, name)) i++;
  PetscCheck(i < KAL_MODEL_TYPES, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "No room for model type %s: the table holds %d types", name, KAL_MODEL_TYPES);
  PetscCall(PetscStrncpy(types[i].name, name, sizeof types[i].name));
  types[i].create = create;
  if (!registered[0]) PetscCall(PetscStrncpy(registered, name, sizeof registered));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelCreate - Makes a model without a type

   Collective

   Input Parameter:
.  comm - the ranks that will run members of it

   Output Parameter:
.  model - the model; in double precision, one stage, sizes unknown
@*/
PetscErrorCode KalModelCreate(MPI_Comm comm, KalModel *model)
{
  PetscFunctionBeginUser;
  PetscCheck(model, comm, PETSC_ERR_ARG_NULL, "No place given for the new model");
  PetscCall(PetscNew(model));
  PetscCall(PetscCommDuplicate(comm, &(*model)->comm, NULL));
  (*model)->stages   = 1;
  (*model)->together = MPI_COMM_SELF;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetMemberComm - Says which ranks run a member of a model together

   Collective on the ranks of the group

   Input Parameters:
+  model - the model, not set up yet
-  group - the ranks; borrowed, it must last as long as the model

.seealso: KalModelGetMemberComm()
@*/
PetscErrorCode KalModelSetMemberComm(KalModel model, MPI_Comm group)
{
  PetscFunctionBeginUser;
  PetscCheck(!model->ready, model->comm, PETSC_ERR_ORDER, "Which ranks run a member together is set before KalModelSetUp()");
  model->together = group;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetMemberComm - Gets the ranks that run a member together, for a model that computes in parallel itself

   Not Collective

   Input Parameter:
.  model - the model; the group is known from its set-up on

   Output Parameter:
.  group - the ranks: MPI_COMM_SELF, or as many as -run_ranks_per_member says

   Notes:
   A model whose operations say KAL_TOGETHER_ALL has its `propagate`, `observe` and `tangent` called on every rank of a group at the same
   time, with the same columns. Each rank has copies of its own to write to; those of the rank that is first in the group count, so that the others may leave
   theirs unfinished. A status must be set by the first rank. `initial`, `spread` and `locate` are called by single ranks and must not communicate.

   Whether the bits depend on the size of the group is the model's affair; on the number of groups they do not.

   The model borrows the communicator; one that sends messages of more than one kind, or hands it to a library, makes a duplicate in its `setup`.
@*/
PetscErrorCode KalModelGetMemberComm(KalModel model, MPI_Comm *group)
{
  PetscFunctionBeginUser;
  *group = model->together;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode DestroyType(KalModel model)
{
  PetscFunctionBeginUser;
  if (model->own) PetscCall(KalModelDestroy(&model->own)); /* whose the data are */
  else if (model->ops.destroy) PetscCall((*model->ops.destroy)(model));
  PetscCall(PetscMemzero(&model->ops, sizeof model->ops));
  model->data    = NULL;
  model->type[0] = '\0';
  model->size    = 0;
  model->stages  = 1;
  model->ready   = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetType - Makes a model one of a registered type; what it held of another type is lost

   Collective

   Input Parameters:
+  model - the model
-  type - name in the table, for instance KALMODELMLP; or the path of a plug-in, a name with a slash or one that ends in .so:
          it is loaded, and the type becomes the one it registers

   Options Database Key:
.  -model_type - the name or path

   Errors: PETSC_ERR_ARG_UNKNOWN_TYPE for a name that is not in the table, PETSC_ERR_FILE_OPEN for a plug-in
   that cannot be loaded, is none, or was built for something else

.seealso: KAL_MODEL_PLUGIN
@*/
PetscErrorCode KalModelSetType(KalModel model, KalModelType type)
{
  char known[KAL_MODEL_TYPES * KAL_MODEL_NAME], name[KAL_MODEL_NAME];
  int  i = 0;

  PetscFunctionBeginUser;
  PetscCheck(type, model->comm, PETSC_ERR_ARG_NULL, "No model type given");
  if (KalModelIsPlugin(type)) {
    PetscCall(KalModelLoadPlugin(model->comm, type, sizeof name, name));
    type = name;
  }
  while (i < KAL_MODEL_TYPES && types[i].create && strcmp(types[i].name, type)) i++;
  if (i == KAL_MODEL_TYPES || !types[i].create) {
    PetscCall(ListTypes(sizeof known, known));
    SETERRQ(model->comm, PETSC_ERR_ARG_UNKNOWN_TYPE, "Unknown model type %s (-model_type); known: %s", type, known);
  }
  if (!strcmp(model->type, type)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(DestroyType(model));
  PetscCall(PetscStrncpy(model->type, type, sizeof model->type));
  PetscCall((*types[i].create)(model));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetType - The name of a model's type

   Not Collective

   Input Parameter:
.  model - the model

   Output Parameter:
.  type - the name, or NULL where none was set
@*/
PetscErrorCode KalModelGetType(KalModel model, KalModelType *type)
{
  PetscFunctionBeginUser;
  *type = model->type[0] ? model->type : NULL;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalModelGetOps - The operations of a model, for the function that creates a type to fill

   Not Collective

   Input Parameter:
.  model - the model

   Output Parameter:
.  ops - its operations; those that stay NULL the type lacks
@*/
PetscErrorCode KalModelGetOps(KalModel model, KalModelOps **ops)
{
  PetscFunctionBeginUser;
  *ops = &model->ops;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetData - Gives a model what its type keeps; the type's `destroy` frees it

   Not Collective

   Input Parameters:
+  model - the model
-  data - anything
@*/
PetscErrorCode KalModelSetData(KalModel model, void *data)
{
  PetscFunctionBeginUser;
  model->data = data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetData - What a model's type keeps

   Not Collective

   Input Parameter:
.  model - the model

   Output Parameter:
.  data - the pointer (pass its address)
@*/
PetscErrorCode KalModelGetData(KalModel model, void *data)
{
  PetscFunctionBeginUser;
  *(void **)data = model->data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetSize - Sets how many numbers a state has; a type does so in its `setup`

   Logically Collective

   Input Parameters:
+  model - the model
-  size - numbers of a state, at least 1
@*/
PetscErrorCode KalModelSetSize(KalModel model, PetscInt size)
{
  PetscFunctionBeginUser;
  PetscCheck(size >= 1, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "A model's state has at least 1 number, not %" PetscInt_FMT, size);
  model->size = size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetSize - How many numbers a state has

   Not Collective

   Input Parameter:
.  model - the model, set up

   Output Parameter:
.  size - numbers of a state
@*/
PetscErrorCode KalModelGetSize(KalModel model, PetscInt *size)
{
  PetscFunctionBeginUser;
  *size = model->size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetDataSizes - Tells a model what a sample of the data looks like, before KalModelSetUp()

   Logically Collective

   Input Parameters:
+  model - the model
.  inputs - numbers of a sample's input, 0 where unknown
-  outputs - numbers of a sample's prediction, 0 where unknown

   Errors: PETSC_ERR_ORDER after KalModelSetUp(); a type refuses sizes that do not fit it in KalModelSetUp()
@*/
PetscErrorCode KalModelSetDataSizes(KalModel model, PetscInt inputs, PetscInt outputs)
{
  PetscFunctionBeginUser;
  PetscCheck(inputs >= 0 && outputs >= 0, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "Samples of %" PetscInt_FMT " inputs and %" PetscInt_FMT " outputs: neither may be negative (0 is unknown)", inputs, outputs);
  PetscCheck(!model->ready, model->comm, PETSC_ERR_ORDER, "KalModelSetDataSizes() comes before KalModelSetUp()");
  model->inputs  = inputs;
  model->outputs = outputs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetDataSizes - What a model takes and predicts of a sample

   Not Collective

   Input Parameter:
.  model - the model

   Output Parameters:
+  inputs - numbers of a sample's input, 0 where unknown (or pass NULL)
-  outputs - numbers of a sample's prediction, 0 where unknown (or pass NULL)

   Note:
   After KalModelSetUp() these are the model's own, where its type knows them.
@*/
PetscErrorCode KalModelGetDataSizes(KalModel model, PetscInt *inputs, PetscInt *outputs)
{
  PetscFunctionBeginUser;
  if (inputs) *inputs = model->inputs;
  if (outputs) *outputs = model->outputs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetStages - Sets how many stages (layers, times) a model has; a type does so in its `setup`

   Logically Collective

   Input Parameters:
+  model - the model
-  stages - at least 1
@*/
PetscErrorCode KalModelSetStages(KalModel model, PetscInt stages)
{
  PetscFunctionBeginUser;
  PetscCheck(stages >= 1, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "A model has at least 1 stage, not %" PetscInt_FMT, stages);
  model->stages = stages;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetStages - How many stages (layers, times) a model has

   Not Collective

   Input Parameter:
.  model - the model

   Output Parameter:
.  stages - how many
@*/
PetscErrorCode KalModelGetStages(KalModel model, PetscInt *stages)
{
  PetscFunctionBeginUser;
  *stages = model->stages;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetPrecision - Sets in which precision members are run; states and predictions stay double

   Logically Collective

   Input Parameters:
+  model - the model
-  precision - KAL_DOUBLE (the default) or KAL_SINGLE

   Options Database Key:
.  -model_precision - double or single

   Errors: PETSC_ERR_ORDER after KalModelSetUp()
@*/
PetscErrorCode KalModelSetPrecision(KalModel model, KalPrecision precision)
{
  PetscFunctionBeginUser;
  PetscCheck(precision == KAL_DOUBLE || precision == KAL_SINGLE, model->comm, PETSC_ERR_ARG_OUTOFRANGE, "Precision %d is neither KAL_DOUBLE nor KAL_SINGLE", (int)precision);
  PetscCheck(!model->ready || precision == model->precision, model->comm, PETSC_ERR_ORDER, "KalModelSetPrecision() comes before KalModelSetUp()");
  model->precision = precision;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetPrecision - In which precision members are run, and batches are expected

   Not Collective

   Input Parameter:
.  model - the model

   Output Parameter:
.  precision - KAL_DOUBLE or KAL_SINGLE
@*/
PetscErrorCode KalModelGetPrecision(KalModel model, KalPrecision *precision)
{
  PetscFunctionBeginUser;
  *precision = model->precision;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetFromOptions - Takes a model's type, precision and the options of its type from the options database

   Collective

   Input Parameter:
.  model - the model

   Options Database Keys:
+  -model_type - name of the type or path of a plug-in, mlp where none was set
.  -model_precision - double or single
-  -parameterization_type - what lies between the state and the model, none where nothing was set

   Errors: as KalModelSetType(), and whatever the type refuses; PETSC_ERR_ORDER after KalModelSetUp()
@*/
PetscErrorCode KalModelSetFromOptions(KalModel model)
{
  char         type[PETSC_MAX_PATH_LEN], between[KAL_MODEL_NAME], known[KAL_MODEL_TYPES * KAL_MODEL_NAME], text[sizeof known + 64];
  KalPrecision precision = model->precision;

  PetscFunctionBeginUser;
  PetscCheck(!model->ready, model->comm, PETSC_ERR_ORDER, "KalModelSetFromOptions() comes before KalModelSetUp()");
  PetscCall(PetscStrncpy(type, model->type[0] ? model->type : KALMODELMLP, sizeof type));
  PetscCall(ListTypes(sizeof known, known));
  PetscCall(PetscSNPrintf(text, sizeof text, "type of the model, a plug-in (./libNAME.so) or one of: %s", known));
  PetscOptionsBegin(model->comm, NULL, "Model options", "KalModel");
  PetscCall(PetscOptionsString("-model_type", text, "KalModelSetType", type, type, sizeof type, NULL));
  PetscCall(PetscOptionsEnum("-model_precision", "precision in which members are run", "KalModelSetPrecision", KalPrecisions, (PetscEnum)precision, (PetscEnum *)&precision, NULL));
  PetscCall(KalModelSetPrecision(model, precision));
  PetscCall(KalModelSetType(model, type));
  if (model->ops.setfromoptions) PetscCall((*model->ops.setfromoptions)(model, PetscOptionsObject));
  PetscCall(PetscStrncpy(between, model->parameterization ? model->parameterization->type : KALPARAMETERIZATIONNONE, sizeof between));
  PetscCall(KalParameterizationListTypes(sizeof known, known));
  PetscCall(PetscSNPrintf(text, sizeof text, "between the state and what the model takes, one of: %s", known));
  PetscCall(PetscOptionsString("-parameterization_type", text, "KalModelSetParameterization", between, between, sizeof between, NULL));
  PetscCall(KalModelSetParameterization(model, between));
  if (model->parameterization && model->parameterization->ops.setfromoptions) PetscCall((*model->parameterization->ops.setfromoptions)(model->parameterization, PetscOptionsObject));
  PetscOptionsEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetUp - Makes a model ready: its options and sizes are final and checked

   Collective

   Input Parameter:
.  model - the model

   Errors: PETSC_ERR_ORDER without a type or where the type leaves its state size open, and whatever the type refuses
@*/
PetscErrorCode KalModelSetUp(KalModel model)
{
  PetscFunctionBeginUser;
  if (model->ready) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(model->type[0], model->comm, PETSC_ERR_ORDER, "The model has no type: call KalModelSetType() or KalModelSetFromOptions() first");
  if (model->parameterization) PetscCall(KalModelParameterize(model));
  else if (model->ops.setup) PetscCall((*model->ops.setup)(model));
  PetscCheck(model->size >= 1, model->comm, PETSC_ERR_ORDER, "Models of type %s need KalModelSetSize() before KalModelSetUp()", model->type);
  model->ready = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelView - Prints what a model is

   Collective

   Input Parameters:
+  model - the model
-  viewer - an ASCII viewer, or NULL for standard output
@*/
PetscErrorCode KalModelView(KalModel model, PetscViewer viewer)
{
  PetscBool ascii;

  PetscFunctionBeginUser;
  if (!viewer) PetscCall(PetscViewerASCIIGetStdout(model->comm, &viewer));
  PetscCall(PetscObjectTypeCompare((PetscObject)viewer, PETSCVIEWERASCII, &ascii));
  if (!ascii) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscViewerASCIIPrintf(viewer, "Model: type %s, %" PetscInt_FMT " numbers a state, %s precision\n", model->type[0] ? model->type : "not set", model->size, KalPrecisions[model->precision]));
  if (model->ops.view) {
    PetscCall(PetscViewerASCIIPushTab(viewer));
    PetscCall((*model->ops.view)(model, viewer));
    PetscCall(PetscViewerASCIIPopTab(viewer));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelDestroy - Frees a model and nulls the pointer

   Collective

   Input Parameter:
.  model - address of the model; NULL in it is left alone
@*/
PetscErrorCode KalModelDestroy(KalModel *model)
{
  PetscFunctionBeginUser;
  if (!model || !*model) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(DestroyType(*model));
  PetscCall(KalParameterizationDestroy(&(*model)->parameterization));
  PetscCall(PetscFree((*model)->layerwork));
  PetscCall(PetscCommDestroy(&(*model)->comm));
  PetscCall(PetscFree(*model));
  PetscFunctionReturn(PETSC_SUCCESS);
}
