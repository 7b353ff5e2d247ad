/* From a path to data sets: which files to read, and checks of what they hold together. */
#include "observationsimpl.h"

#include <string.h>
#include <sys/stat.h>

static const char *const SetNames[] = {"training", "test"};

/* Node rank 0 reads a table; what it finds wrong is raised on every rank. */
static PetscErrorCode LoadTable(KalObservations obs, const KalSource *source, KalTable *table)
{
  KalFault   fault = {PETSC_SUCCESS, ""};
  KalShape   shape = {KAL_ELEMENT_UINT8, 0, 0, 0};
  PetscInt64 mine[4], first[4];
  char       where[PETSC_MAX_PATH_LEN + 32];

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(where, sizeof where, "%s%s%s", source->dataset, source->dataset[0] ? " of " : "", source->file));
  if (!obs->noderank) {
    if (source->dataset[0]) KalHdf5Shape(source->file, source->dataset, &shape, &fault);
    else KalIdxShape(source->file, &shape, &fault);
  }
  KalCheckAll(obs->comm, fault.code, fault.text);
  mine[0] = (PetscInt64)shape.element;
  mine[1] = shape.ndims;
  mine[2] = shape.samples;
  mine[3] = shape.width;
  PetscCall(PetscArraycpy(first, mine, 4));
  PetscCallMPI(MPI_Bcast(first, 4, MPIU_INT64, 0, obs->comm));
  if (!obs->noderank && memcmp(mine, first, sizeof mine)) KalFaultSet(&fault, PETSC_ERR_FILE_UNEXPECTED, "%s is not the same on every node; put the same data on each", where);
  KalCheckAll(obs->comm, fault.code, fault.text);
  shape.element = (KalElement)first[0];
  shape.ndims   = (PetscInt)first[1];
  shape.samples = (PetscInt)first[2];
  shape.width   = (PetscInt)first[3];

  PetscCall(KalTableCreate(obs, &shape, where, table));
  if (!obs->noderank) {
    if (source->dataset[0]) KalHdf5Read(source->file, source->dataset, &shape, table->shared.data, &fault);
    else KalIdxRead(source->file, &shape, table->shared.data, &fault);
  }
  PetscCall(KalTablePublish(obs, where, table, &fault));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The file of that name in the directory, plain or with .gz behind it; false if there is neither. */
static PetscBool FindFile(const char *directory, const char *name, char file[PETSC_MAX_PATH_LEN])
{
  static const char *const endings[] = {"", ".gz"};

  for (int i = 0; i < 2; i++) {
    struct stat info;

    (void)PetscSNPrintf(file, PETSC_MAX_PATH_LEN, "%s/%s%s", directory, name, endings[i]);
    if (!stat(file, &info)) return PETSC_TRUE;
  }
  (void)PetscSNPrintf(file, PETSC_MAX_PATH_LEN, "%s/%s", directory, name);
  return PETSC_FALSE;
}

/* The sources that are there are bits of `sources`, in the order training inputs, targets, test inputs, targets. */
static void SourcesOfDirectory(const char *directory, PetscBool optional, KalSource source[4], PetscInt *sources, KalFault *fault)
{
  static const char *const names[4] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};
  PetscBool                found[4];

  *sources = 0;
  for (int i = 0; i < 4; i++) {
    found[i] = FindFile(directory, names[i], source[i].file);
    if (found[i]) *sources |= 1 << i;
  }
  for (int i = 0; i < 4; i++) {
    const PetscBool needed = i == 0 || (i == 1 && !optional) || (i == 2 && found[3]) || (i == 3 && found[2] && !optional) ? PETSC_TRUE : PETSC_FALSE;

    if (!found[i] && needed) KalFaultSet(fault, PETSC_ERR_FILE_OPEN, "The directory %s has no %s, neither plain nor with .gz; it must hold MNIST's file names train-images-idx3-ubyte and train-labels-idx1-ubyte, and may hold t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte", directory, names[i]);
  }
}

static void SourcesOfHdf5(const char *path, PetscBool optional, KalSource source[4], PetscInt *sources, KalFault *fault)
{
  static const char *const names[4] = {"/x", "/y", "/x_test", "/y_test"};
  PetscBool                holds[4];

  *sources = 1;
  for (int i = 0; i < 4; i++) {
    (void)PetscStrncpy(source[i].file, path, sizeof source[i].file);
    (void)PetscStrncpy(source[i].dataset, names[i], sizeof source[i].dataset);
    KalHdf5Holds(path, names[i], &holds[i], fault);
    if (holds[i]) *sources |= 1 << i;
  }
  if (!optional) *sources |= 2; /* reading it says what is missing */
  if (!fault->text[0] && holds[2] != holds[3] && !(optional && holds[2])) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "The HDF5 file %s has %s but no %s; a test set needs both", path, names[holds[2] ? 2 : 3], names[holds[2] ? 3 : 2]);
}

static void SourcesOfList(const char *list, KalSource source[4], PetscInt *sources, KalFault *fault)
{
  PetscInt    n     = 0;
  const char *start = list;

  for (;;) {
    const char  *comma  = strchr(start, ',');
    const size_t length = comma ? (size_t)(comma - start) : strlen(start);

    if (n < 4) {
      memcpy(source[n].file, start, length);
      source[n].file[length] = 0;
      if (!length) KalFaultSet(fault, PETSC_ERR_ARG_WRONG, "-observations_path %s has an empty name at place %" PetscInt_FMT, list, n + 1);
    }
    n++;
    if (!comma) break;
    start = comma + 1;
  }
  if (n != 2 && n != 4) KalFaultSet(fault, PETSC_ERR_ARG_WRONG, "-observations_path %s lists %" PetscInt_FMT " files; give 2 IDX files (training images,labels) or 4 (training images,labels,test images,labels)", list, n);
  *sources = n == 4 ? 15 : 3;
}

static void FindSources(const char *path, PetscBool optional, KalSource source[4], PetscInt *sources, KalFault *fault)
{
  struct stat info;

  if (!stat(path, &info)) {
    if (S_ISDIR(info.st_mode)) SourcesOfDirectory(path, optional, source, sources, fault);
    else if (optional && KalIdxIs(path)) {
      (void)PetscStrncpy(source[0].file, path, sizeof source[0].file);
      *sources = 1;
    } else SourcesOfHdf5(path, optional, source, sources, fault);
  } else if (strchr(path, ',')) SourcesOfList(path, source, sources, fault);
  else KalFaultSet(fault, PETSC_ERR_FILE_OPEN, "-observations_path %s does not exist; give a directory with MNIST's file names, one HDF5 file, or a comma list of 2 or 4 IDX files", path);
}

/* Labels are integers of one dimension; looks for one below zero, and for the largest. */
static void ScanLabels(const KalTable *y, PetscInt samples, const char *where, PetscInt64 *largest, KalFault *fault)
{
  *largest = -1;
  for (PetscInt i = 0; i < samples; i++) {
    const PetscInt64 label = KalTableLabel(y, i);

    if (label < 0 || label >= (PetscInt64)PETSC_MAX_INT) {
      KalFaultSet(fault, PETSC_ERR_ARG_OUTOFRANGE, "The label of sample %" PetscInt_FMT " (from 0) in %s is %lld; class labels are allowed from 0 to one less than the number of outputs", i, where, (long long)label);
      return;
    }
    *largest = PetscMax(*largest, label);
  }
}

/* Collective. Checks that inputs and targets of a set belong together, and what kind of targets they are; `yname` NULL: none. */
PetscErrorCode KalDataCheck(KalObservations obs, KalDataSet set, const char *xname, const char *yname)
{
  KalData *data  = &obs->set[set];
  KalFault fault = {PETSC_SUCCESS, ""};

  PetscFunctionBeginUser;
  data->samples = data->x.shape.samples;
  data->largest = -1;
  data->labels  = PETSC_FALSE;
  data->targets = yname ? PETSC_TRUE : PETSC_FALSE;
  if (!yname) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(data->x.shape.samples == data->y.shape.samples, obs->comm, PETSC_ERR_ARG_SIZ, "The %s set has %" PetscInt_FMT " samples in %s but %" PetscInt_FMT " in %s; both need the same number", SetNames[set], data->x.shape.samples, xname, data->y.shape.samples, yname);
  data->labels = data->y.shape.ndims == 1 && KalElementIsInteger(data->y.shape.element) ? PETSC_TRUE : PETSC_FALSE;
  if (data->labels && !obs->noderank) ScanLabels(&data->y, data->samples, yname, &data->largest, &fault);
  KalCheckAll(obs->comm, fault.code, fault.text);
  PetscCallMPI(MPI_Bcast(&data->largest, 1, MPIU_INT64, 0, obs->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective. Reads the data sets of obs->path. */
PetscErrorCode KalObservationsLoad(KalObservations obs)
{
  KalSource   source[4];
  KalFault    fault   = {PETSC_SUCCESS, ""};
  PetscInt    sources = 0;
  PetscMPIInt n;
  char        name[2][PETSC_MAX_PATH_LEN + 32];

  PetscFunctionBeginUser;
  PetscCall(PetscArrayzero(source, 4));
  if (!obs->noderank) FindSources(obs->path, obs->optional, source, &sources, &fault);
  KalCheckAll(obs->comm, fault.code, fault.text);
  n = (PetscMPIInt)sources;
  PetscCallMPI(MPI_Bcast(&n, 1, MPI_INT, 0, obs->comm));
  PetscCallMPI(MPI_Bcast(source, (PetscMPIInt)sizeof source, MPI_BYTE, 0, obs->comm));
  for (int i = 0; i < 4; i++) {
    KalData *data = &obs->set[i / 2];

    if (!(n & 1 << i)) {
      if (i % 2 && n & 1 << (i - 1)) PetscCall(KalDataCheck(obs, (KalDataSet)(i / 2), name[0], NULL));
      continue;
    }
    PetscCall(LoadTable(obs, &source[i], i % 2 ? &data->y : &data->x));
    PetscCall(PetscSNPrintf(name[i % 2], sizeof name[i % 2], "%s%s%s", source[i].dataset, source[i].dataset[0] ? " of " : "", source[i].file));
    if (i % 2) PetscCall(KalDataCheck(obs, (KalDataSet)(i / 2), name[0], name[1]));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Collective on the node. */
PetscErrorCode KalDataDestroy(KalData *data)
{
  PetscFunctionBeginUser;
  PetscCall(KalSharedDestroy(&data->x.shared));
  PetscCall(KalSharedDestroy(&data->y.shared));
  PetscCall(PetscMemzero(data, sizeof *data));
  PetscFunctionReturn(PETSC_SUCCESS);
}
