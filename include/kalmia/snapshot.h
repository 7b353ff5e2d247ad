/* KalSnapshot: an HDF5 file that is whole or absent; it does not know what its numbers mean. */
#ifndef KALMIA_SNAPSHOT_H
#define KALMIA_SNAPSHOT_H

#include <kalmia/ensemble.h>

#define KAL_SNAPSHOT_VERSION 1

typedef enum {
  KAL_SNAPSHOT_WRITE,
  KAL_SNAPSHOT_READ,
} KalSnapshotMode;
typedef enum {
  KAL_TYPE_REAL,
  KAL_TYPE_INT64,
  KAL_TYPE_BYTE,
} KalDataType;

/* A named array of a snapshot, replicated on every rank. */
#define KAL_SNAPSHOT_RANK 3
typedef struct {
  const char *name;    /* path in the file, as "history/loss" */
  const char *meaning; /* long_name attribute, or NULL */
  const char *units;   /* units attribute, "1" where it has none */
  KalDataType type;
  PetscInt    ndims;
  PetscInt64  size[KAL_SNAPSHOT_RANK];
  const char *dimension[KAL_SNAPSHOT_RANK]; /* names of the dimensions: become HDF5 dimension scales in the same group */
  void       *data;
} KalDataset;

PETSC_EXTERN PetscErrorCode KalSnapshotOpen(MPI_Comm, const char *, KalSnapshotMode, KalSnapshot *);
PETSC_EXTERN PetscErrorCode KalSnapshotSetKeep(KalSnapshot, PetscInt);
PETSC_EXTERN PetscErrorCode KalSnapshotCommit(KalSnapshot);
PETSC_EXTERN PetscErrorCode KalSnapshotClose(KalSnapshot *);

PETSC_EXTERN PetscErrorCode KalSnapshotWriteMembers(KalSnapshot, const char *, const char *, KalEnsemble);
PETSC_EXTERN PetscErrorCode KalSnapshotReadMembers(KalSnapshot, const char *, KalEnsemble);
PETSC_EXTERN PetscErrorCode KalSnapshotWriteArray(KalSnapshot, const KalDataset *);
PETSC_EXTERN PetscErrorCode KalSnapshotReadArray(KalSnapshot, KalDataset *);
PETSC_EXTERN PetscErrorCode KalSnapshotGetSize(KalSnapshot, const char *, PetscInt *, PetscInt64 *, PetscBool *);
PETSC_EXTERN PetscErrorCode KalSnapshotGetType(KalSnapshot, const char *, KalDataType *, PetscBool *);
PETSC_EXTERN PetscErrorCode KalSnapshotWriteText(KalSnapshot, const char *, const char *);
PETSC_EXTERN PetscErrorCode KalSnapshotReadText(KalSnapshot, const char *, char **, PetscBool *);
PETSC_EXTERN PetscErrorCode KalSnapshotWriteInt(KalSnapshot, const char *, PetscInt64);
PETSC_EXTERN PetscErrorCode KalSnapshotReadInt(KalSnapshot, const char *, PetscInt64 *, PetscBool *);

/* A dataset that is too large to be held: its rows are given block by block. */
typedef struct _p_KalSnapshotTable *KalSnapshotTable;
PETSC_EXTERN PetscErrorCode         KalSnapshotTableBegin(KalSnapshot, const KalDataset *, KalSnapshotTable *);
PETSC_EXTERN PetscErrorCode         KalSnapshotTableWrite(KalSnapshotTable, PetscInt, const void *);
PETSC_EXTERN PetscErrorCode         KalSnapshotTableEnd(KalSnapshotTable *);
PETSC_EXTERN PetscErrorCode         KalSnapshotHolds(MPI_Comm, const char *, const char *, PetscBool *);

/* To look at a snapshot: what it holds, and plain files made from it (.h5, .hdf5, else NumPy's .npy) */
PETSC_EXTERN PetscErrorCode KalSnapshotView(KalSnapshot, PetscViewer);
PETSC_EXTERN PetscErrorCode KalSnapshotGetNames(KalSnapshot, const char *, PetscInt *, char ***);
PETSC_EXTERN PetscErrorCode KalSnapshotExport(KalSnapshot, const char *, const char *, const char *);
PETSC_EXTERN PetscErrorCode KalSnapshotExportMean(KalSnapshot, const char *, const KalStatus *, const char *, const char *);

/* Members or a mean out of a snapshot or of any HDF5 file with /members or /mean, to begin a run from. */
PETSC_EXTERN PetscErrorCode KalSnapshotPlainHas(MPI_Comm, const char *, const char *, PetscBool *);
PETSC_EXTERN PetscErrorCode KalSnapshotPlainReadMembers(const char *, const KalStatus *, KalEnsemble);
PETSC_EXTERN PetscErrorCode KalSnapshotPlainReadMean(MPI_Comm, const char *, PetscInt, PetscScalar *);
PETSC_EXTERN PetscErrorCode KalSnapshotPlainGetSize(MPI_Comm, const char *, const char *, PetscInt *, PetscInt64 *, PetscBool *);
PETSC_EXTERN PetscErrorCode KalSnapshotPlainReadArray(const char *, KalDataset *, size_t, char *);

/* Checks every checksum of a file: 0 problems, or a text that names each (one a line; PetscFree it). */
PETSC_EXTERN PetscErrorCode KalSnapshotVerify(MPI_Comm, const char *, PetscInt *, char **);
PETSC_EXTERN PetscErrorCode KalSnapshotPlace(const char *, PetscInt, size_t, char *);
PETSC_EXTERN PetscErrorCode KalSnapshotFindNewest(MPI_Comm, const char *, size_t, char *, PetscInt *, char **);

#endif
