/* Observation files that the tests write, and observations in time made from them. */
#ifndef TIMEDFILES_H
#define TIMEDFILES_H

#include "datafiles.h"

#include <hdf5.h>

static char path[1024];

/* A new file at `path`. */
static inline void NewFile(const char *name)
{
  int ok = 1;

  snprintf(path, sizeof path, "%s", KalTestPath(name));
  if (!TestRank()) {
    const hid_t file = H5Fcreate(path, H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

    ok = file >= 0 && H5Fclose(file) >= 0;
  }
  KalAssert(ok);
}

/* Writes a data set into the file, in the place of one of the same name. */
static inline void Put(const char *name, hid_t filetype, hid_t memtype, int ndims, const hsize_t *dims, const void *data)
{
  int ok = 1;

  if (!TestRank()) {
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT), space = H5Screate_simple(ndims, dims, NULL);
    hid_t       set;

    if (H5Lexists(file, name, H5P_DEFAULT) > 0) H5Ldelete(file, name, H5P_DEFAULT);
    set = H5Dcreate2(file, name, filetype, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    ok  = set >= 0 && H5Dwrite(set, memtype, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0;
    H5Dclose(set);
    H5Sclose(space);
    H5Fclose(file);
  }
  KalAssert(ok);
}

static inline void PutReals(const char *name, int count, const double *data)
{
  const hsize_t dims[1] = {(hsize_t)count};

  Put(name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 1, dims, data);
}

static inline void PutInts(const char *name, int count, const int *data)
{
  const hsize_t dims[1] = {(hsize_t)count};

  Put(name, H5T_STD_I64LE, H5T_NATIVE_INT, 1, dims, data);
}

static inline void PutMatrix(const char *name, int rows, int columns, const double *data)
{
  const hsize_t dims[2] = {(hsize_t)rows, (hsize_t)columns};

  Put(name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, 2, dims, data);
}

static inline void Remove(const char *name)
{
  if (!TestRank()) {
    const hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);

    H5Ldelete(file, name, H5P_DEFAULT);
    H5Fclose(file);
  }
  KalAssert(1);
}

/* The options given are pairs "-name", "value", NULL at the end; they are taken away again. */
static inline PetscErrorCode Timed(const char *type, PetscInt n, PetscReal step, const char *const *options, KalObservations *obs)
{
  PetscErrorCode ierr;

  if ((ierr = KalObservationsCreate(PETSC_COMM_WORLD, obs))) return ierr;
  for (int i = 0; options && options[i]; i += 2) (void)PetscOptionsSetValue(NULL, options[i], options[i + 1]);
  (void)PetscOptionsSetValue(NULL, "-observations_type", type);
  ierr = KalObservationsSetFromOptions(*obs);
  for (int i = 0; options && options[i]; i += 2) (void)PetscOptionsClearValue(NULL, options[i]);
  (void)PetscOptionsClearValue(NULL, "-observations_type");
  if (!ierr) ierr = KalObservationsSetState(*obs, n, step);
  if (!ierr) ierr = KalObservationsSetSeed(*obs, 7);
  if (!ierr) ierr = KalObservationsSetUp(*obs);
  if (ierr) (void)KalObservationsDestroy(obs);
  return ierr;
}

#define OPTIONS(...) ((const char *const[]){__VA_ARGS__, NULL})

/* A call that is to fail may still succeed by mistake: then nothing is left behind. */
static inline PetscErrorCode TryTimed(const char *type, PetscInt n, PetscReal step, const char *const *options)
{
  KalObservations obs;
  PetscErrorCode  ierr = Timed(type, n, step, options, &obs);

  if (!ierr) (void)KalObservationsDestroy(&obs);
  return ierr;
}

/* Whether what KalObservationsView() prints on rank 0 has some text in it. */
static inline int Shows(KalObservations obs, const char *text)
{
  char        name[1100];
  PetscViewer viewer;
  int         shown = 1;

  snprintf(name, sizeof name, "%s", KalTestPath("view.txt"));
  if (PetscViewerASCIIOpen(PETSC_COMM_WORLD, name, &viewer) || KalObservationsView(obs, viewer) || PetscViewerDestroy(&viewer)) return 0;
  if (!TestRank()) {
    size_t         count;
    unsigned char *bytes = ReadFile(name, &count);

    bytes[count] = 0;
    shown        = strstr((char *)bytes, text) != NULL;
    free(bytes);
  }
  return shown;
}

/* Whitens all predictions of a batch, p x (members and perhaps a center), as one block. */
static inline PetscErrorCode WhitenAll(KalObservations obs, const KalBatch *batch, PetscInt columns, double *g, KalWhitening *w)
{
  const KalRows  rows = {.first = 0, .count = batch->samples, .ensembles = 1, .members = {columns}, .x = {g}, .ld = {batch->samples}};
  PetscErrorCode ierr;

  w->rows = &rows;
  ierr    = KalObservationsWhiten(obs, batch, w);
  w->rows = NULL;
  return ierr;
}

#endif
