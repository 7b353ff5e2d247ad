/* Types of models from a shared object that is named in place of a type. */
#include <models/modelimpl.h>

#include <dlfcn.h>
#include <string.h>

/* Whether a name in place of a type is that of a shared object. */
PetscBool KalModelIsPlugin(const char *name)
{
  const size_t length = strlen(name);

  return (PetscBool)(strchr(name, '/') || (length > 3 && !strcmp(name + length - 3, ".so")));
}

typedef const char *(*KalPluginBuild)(void);
typedef PetscErrorCode (*KalPluginRegister)(void);

/* A function of a shared object: ISO C knows no conversion from the pointer to an object that dlsym() gives. */
static PetscBool Find(void *object, const char *name, void *function, size_t size)
{
  void *symbol = dlsym(object, name);

  if (symbol) memcpy(function, &symbol, size);
  return (PetscBool)(symbol != NULL);
}

/* Loads the object and finds its registration; what is wrong with it goes into the text. */
static PetscErrorCode Load(const char *path, KalPluginRegister *enter, size_t size, char *text)
{
  KalPluginBuild build  = NULL;
  void          *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);

  PetscFunctionBeginUser;
  *enter = NULL;

  if (!object) {
    const char *why = dlerror();

    PetscCall(PetscSNPrintf(text, size, "Cannot load the model plug-in %s (-model_type): %s%s", path, why ? why : "no reason given", strchr(path, '/') ? "" : "; a file of this folder is named with ./ before it"));
  } else if (!Find(object, "KalModelPluginBuild", &build, sizeof build) || !Find(object, "KalModelPluginRegister", enter, sizeof *enter)) {
    PetscCall(PetscSNPrintf(text, size, "%s (-model_type) is no plug-in of Kalmia: it lacks the symbol %s, which the line KAL_MODEL_PLUGIN(function) in one of its sources defines", path, build ? "KalModelPluginRegister" : "KalModelPluginBuild"));
  } else if (strcmp((*build)(), KAL_MODEL_PLUGIN_BUILD)) {
    PetscCall(PetscSNPrintf(text, size, "The model plug-in %s (-model_type) was built for %s, and this is %s: build it again", path, (*build)(), KAL_MODEL_PLUGIN_BUILD));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalModelLoadPlugin - Loads a shared object and has it register its type of model

  Collective. The object stays loaded until the process ends, since the table of types and PETSc keep pointers into it;
  what is loaded again is the object there is.
*/
PetscErrorCode KalModelLoadPlugin(MPI_Comm comm, const char *path, size_t size, char *type)
{
  KalPluginRegister enter;
  const char       *name;
  char              text[2 * PETSC_MAX_PATH_LEN] = "";

  PetscFunctionBeginUser;
  PetscCall(Load(path, &enter, sizeof text, text));
  KalCheckAll(comm, PETSC_ERR_FILE_OPEN, text);
  PetscCall(KalModelRegistered(NULL));
  PetscCall((*enter)());
  PetscCall(KalModelRegistered(&name));
  PetscCheck(name[0], comm, PETSC_ERR_ARG_WRONGSTATE, "The model plug-in %s (-model_type) registered no type of model: the function it gives to KAL_MODEL_PLUGIN() must call KalModelRegister(), of the same shared libkalmia as this program's", path);
  PetscCall(PetscStrncpy(type, name, size));
  PetscFunctionReturn(PETSC_SUCCESS);
}
