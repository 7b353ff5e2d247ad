/* KalParameterization: the table of types, life cycle, and what a type sets and gets. What a model does with one is in parameterized.c. */
#include <models/parameterizationimpl.h>

#include <string.h>

#define KAL_PARAMETERIZATION_TYPES 32

static struct {
  char name[KAL_MODEL_NAME];
  PetscErrorCode (*create)(KalParameterization);
} types[KAL_PARAMETERIZATION_TYPES] = {
    {KALPARAMETERIZATIONBOUNDS,     KalParameterizationCreate_Bounds    },
    {KALPARAMETERIZATIONSUBSPACE,   KalParameterizationCreate_Subspace  },
    {KALPARAMETERIZATIONPROJECTION, KalParameterizationCreate_Projection},
    {KALPARAMETERIZATIONINDUCING,   KalParameterizationCreate_Inducing  },
    {KALPARAMETERIZATIONSCALES,     KalParameterizationCreate_Scales    },
    {KALPARAMETERIZATIONFIELD,      KalParameterizationCreate_Field     },
    {KALPARAMETERIZATIONLEVELSET,   KalParameterizationCreate_LevelSet  },
    {KALPARAMETERIZATIONCHANNEL,    KalParameterizationCreate_Channel   },
};

/*
  KalParameterizationListTypes - The names in the table, separated by spaces
*/
PetscErrorCode KalParameterizationListTypes(size_t size, char *text)
{
  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(text, KALPARAMETERIZATIONNONE, size));
  for (int i = 0; i < KAL_PARAMETERIZATION_TYPES && types[i].create; i++) {
    PetscCall(PetscStrlcat(text, " ", size));
    PetscCall(PetscStrlcat(text, types[i].name, size));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalParameterizationRegister - Adds a type of parameterization, or replaces the one of that name

   Not Collective; every rank registers the same types

   Input Parameters:
+  name - name for KalModelSetParameterization() and `-parameterization_type`, shorter than 64 characters
-  create - sets the operations of a parameterization (KalParameterizationGetOps()) and its data (KalParameterizationSetData())

   Errors: PETSC_ERR_ARG_OUTOFRANGE for an empty or too long name, for `none`, or a full table (32 types)

   Note:
   A plug-in of `-model_type` may call it beside KalModelRegister().
@*/
PetscErrorCode KalParameterizationRegister(const char *name, PetscErrorCode (*create)(KalParameterization))
{
  int i = 0;

  PetscFunctionBeginUser;
  PetscCheck(name && name[0] && strlen(name) < KAL_MODEL_NAME && strcmp(name, KALPARAMETERIZATIONNONE), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "The name of a type of parameterization has 1 to %d characters and is not %s; this one is \"%s\"", KAL_MODEL_NAME - 1, KALPARAMETERIZATIONNONE, name ? name : "");
  PetscCheck(create, PETSC_COMM_SELF, PETSC_ERR_ARG_NULL, "No function given that creates parameterizations of type %s", name);
  while (i < KAL_PARAMETERIZATION_TYPES && types[i].create && strcmp(types[i].name, name)) i++;
  PetscCheck(i < KAL_PARAMETERIZATION_TYPES, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "No room for parameterization type %s: the table holds %d types", name, KAL_PARAMETERIZATION_TYPES);
  PetscCall(PetscStrncpy(types[i].name, name, sizeof types[i].name));
  types[i].create = create;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalParameterizationCreate - Makes a parameterization of a type

  Collective
*/
PetscErrorCode KalParameterizationCreate(MPI_Comm comm, const char *type, KalParameterization *parameterization)
{
  char known[KAL_PARAMETERIZATION_TYPES * KAL_MODEL_NAME];
  int  i = 0;

  PetscFunctionBeginUser;
  while (i < KAL_PARAMETERIZATION_TYPES && types[i].create && strcmp(types[i].name, type)) i++;
  if (i == KAL_PARAMETERIZATION_TYPES || !types[i].create) {
    PetscCall(KalParameterizationListTypes(sizeof known, known));
    SETERRQ(comm, PETSC_ERR_ARG_UNKNOWN_TYPE, "Unknown type %s of a parameterization (-parameterization_type); known: %s", type, known);
  }
  PetscCall(PetscNew(parameterization));
  (*parameterization)->comm = comm;
  PetscCall(PetscStrncpy((*parameterization)->type, type, sizeof(*parameterization)->type));
  PetscCall((*types[i].create)(*parameterization));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalParameterizationDestroy - Frees a parameterization and nulls the pointer
*/
PetscErrorCode KalParameterizationDestroy(KalParameterization *parameterization)
{
  KalParameterization p = *parameterization;

  PetscFunctionBeginUser;
  if (!p) PetscFunctionReturn(PETSC_SUCCESS);
  if (p->ops.destroy) PetscCall((*p->ops.destroy)(p));
  PetscCall(PetscFree(p->work));
  PetscCall(PetscFree(p->slope));
  PetscCall(PetscFree(*parameterization));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@C
   KalParameterizationGetOps - The operations of a parameterization, for the function that creates a type to fill

   Not Collective

   Input Parameter:
.  parameterization - the parameterization

   Output Parameter:
.  ops - its operations; `map` is needed, those that stay NULL the type lacks
@*/
PetscErrorCode KalParameterizationGetOps(KalParameterization parameterization, KalParameterizationOps **ops)
{
  PetscFunctionBeginUser;
  *ops = &parameterization->ops;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalParameterizationSetData - Gives a parameterization what its type keeps; the type's `destroy` frees it

   Not Collective

   Input Parameters:
+  parameterization - the parameterization
-  data - anything
@*/
PetscErrorCode KalParameterizationSetData(KalParameterization parameterization, void *data)
{
  PetscFunctionBeginUser;
  parameterization->data = data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalParameterizationGetData - What a parameterization's type keeps

   Not Collective

   Input Parameter:
.  parameterization - the parameterization

   Output Parameter:
.  data - the pointer (pass its address)
@*/
PetscErrorCode KalParameterizationGetData(KalParameterization parameterization, void *data)
{
  PetscFunctionBeginUser;
  *(void **)data = parameterization->data;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalParameterizationSetSize - Sets how many numbers u has; a type does so in its `setup`

   Logically Collective

   Input Parameters:
+  parameterization - the parameterization
-  size - numbers, at least 1
@*/
PetscErrorCode KalParameterizationSetSize(KalParameterization parameterization, PetscInt size)
{
  PetscFunctionBeginUser;
  PetscCheck(size >= 1, parameterization->comm, PETSC_ERR_ARG_OUTOFRANGE, "The parameterization %s leaves a state of %" PetscInt_FMT " numbers; it needs at least 1", parameterization->type, size);
  parameterization->size = size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalParameterizationGetSize - How many numbers u has

   Not Collective

   Input Parameter:
.  parameterization - the parameterization, set up with its model

   Output Parameter:
.  size - numbers
@*/
PetscErrorCode KalParameterizationGetSize(KalParameterization parameterization, PetscInt *size)
{
  PetscFunctionBeginUser;
  *size = parameterization->size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalParameterizationGetModel - The model that takes w = T(u), set up: its size, layers and prior

   Not Collective

   Input Parameter:
.  parameterization - the parameterization

   Output Parameter:
.  model - the model's own, without the parameterization; NULL before its set-up

.seealso: KalModelGetOwn()
@*/
PetscErrorCode KalParameterizationGetModel(KalParameterization parameterization, KalModel *model)
{
  PetscFunctionBeginUser;
  *model = parameterization->model;
  PetscFunctionReturn(PETSC_SUCCESS);
}
