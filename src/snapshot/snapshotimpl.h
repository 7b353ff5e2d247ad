/* Inside of KalSnapshot: how its HDF5 file is laid out, and the steps that its sources share. */
#ifndef KALMIA_SNAPSHOTIMPL_H
#define KALMIA_SNAPSHOTIMPL_H

#include <kalmia/snapshot.h>

#include <hdf5.h>

#ifndef H5_HAVE_PARALLEL
#error "Kalmia needs an HDF5 built with MPI"
#endif
#ifdef PETSC_WORDS_BIGENDIAN
#error "A snapshot's checksums are of little-endian numbers: this machine is not supported"
#endif

#define KAL_SNAPSHOT_TEXT    1024                /* longest message; as KalCheckAll() carries it */
#define KAL_SNAPSHOT_BLOCK   ((hsize_t)32 << 20) /* bytes that a rank moves in one call */
#define KAL_SNAPSHOT_ALIGN   ((hsize_t)1 << 20)  /* datasets from this size on start on a multiple of it */
#define KAL_SNAPSHOT_COMPACT ((hsize_t)16 << 10) /* datasets up to this size lie in their checksummed header */
#define KAL_SNAPSHOT_NAME    256                 /* longest name of a dataset, with its end */
#define KAL_FORMAT           "kalmia_format"     /* root attribute: KAL_SNAPSHOT_VERSION */
#define KAL_CHECKSUM         "checksum"          /* attribute: XXH64 of a dataset's bytes */
#define KAL_COMPANION        "_checksum"         /* behind a dataset's name: one XXH64 a member */
#define KAL_SCALES           "kalmia_scales"     /* root attribute: first byte, bytes and XXH64 of the part with the dimension scales */
#define KAL_NOT_A_VARIABLE   "This is a netCDF dimension but not a netCDF variable. "

/* A dataset that is written: the file keeps what `type` says, byte for byte. */
typedef struct {
  const char *name, *meaning, *units;
  hid_t       type;
  PetscInt    ndims;
  PetscInt64  size[KAL_SNAPSHOT_RANK];
  const char *dimension[KAL_SNAPSHOT_RANK];
  const void *data; /* the same on every rank */
} KalItem;

/* What the dimension scales are made from when the file is closed. */
typedef struct {
  char      *name;
  PetscInt   ndims;
  PetscInt64 size[KAL_SNAPSHOT_RANK];
  char      *dimension[KAL_SNAPSHOT_RANK]; /* path in the file, or NULL */
} KalScaled;

struct _p_KalSnapshot {
  MPI_Comm        comm;
  PetscMPIInt     rank, size;
  KalSnapshotMode mode;
  char           *path, *tmp;
  hid_t           file;     /* writing: opened by all ranks together; reading: by rank 0 alone */
  hid_t           parallel; /* reading: opened by all ranks together when members are read */
  hid_t           transfer; /* of values: reading collective, writing independent */
  PetscBool       open;
  PetscInt        keep;
  PetscInt        count, capacity;
  KalScaled      *scaled;
};

/* A walk over an array in boxes of at most so many elements, each a contiguous run of the array. */
typedef struct {
  int     ndims, level;
  hsize_t size[KAL_SNAPSHOT_RANK];
  hsize_t rows;  /* of dimension `level` in a box */
  hsize_t steps; /* boxes along dimension `level` */
  hsize_t inner; /* elements behind one index of dimension `level` */
  hsize_t count; /* boxes in all */
} KalBoxes;
typedef struct {
  hsize_t start[KAL_SNAPSHOT_RANK], count[KAL_SNAPSHOT_RANK];
  hsize_t first, elements; /* in the array as one row */
} KalBox;

/* Does `call`; where it fails, puts what was tried and HDF5's reason into `text` and goes to `done`. */
#define KalH5(text, call, ...) \
  do { \
    if ((call) < 0) { \
      KalH5Text((text), __VA_ARGS__); \
      goto done; \
    } \
  } while (0)

/* hdf5.c: local steps; a message in `text` (KAL_SNAPSHOT_TEXT bytes) where one failed */
PETSC_INTERN void        KalH5Quiet(void);
PETSC_INTERN void        KalText(char *text, const char *format, ...);
PETSC_INTERN void        KalH5Text(char *text, const char *format, ...);
PETSC_INTERN void        KalH5Close(hid_t);
PETSC_INTERN hid_t       KalH5Access(MPI_Comm);
PETSC_INTERN hid_t       KalH5Group(hid_t class);
PETSC_INTERN hid_t       KalH5TextType(size_t);
PETSC_INTERN hid_t       KalH5Type(KalDataType);
PETSC_INTERN const char *KalH5TypeName(hid_t);
PETSC_INTERN herr_t      KalH5PutText(hid_t, const char *, const char *);
PETSC_INTERN herr_t      KalH5PutNumber(hid_t, const char *, hid_t, const void *);
PETSC_INTERN PetscBool   KalH5GetText(hid_t, const char *, size_t, char *);
PETSC_INTERN htri_t      KalH5Exists(hid_t, const char *);
PETSC_INTERN void        KalBoxesCreate(int, const hsize_t *, hsize_t, KalBoxes *);
PETSC_INTERN void        KalBoxesGet(const KalBoxes *, hsize_t, KalBox *);
PETSC_INTERN herr_t      KalH5Move(PetscBool, hid_t, hid_t, hid_t, int, const KalBox *, void *);
PETSC_INTERN hid_t       KalH5OpenSerial(const char *, unsigned, char *);
PETSC_INTERN void        KalH5CheckFormat(hid_t, const char *, char *);

/* file.c */
PETSC_INTERN void KalSnapshotCheckRoom(KalSnapshot, const char *, hsize_t, char *);

/* write.c */
PETSC_INTERN PetscErrorCode KalSnapshotCheck(KalSnapshot, KalSnapshotMode, const char *);
PETSC_INTERN PetscErrorCode KalSnapshotCreateDataset(KalSnapshot, const KalItem *, PetscBool, const PetscInt64 *, hid_t *);
PETSC_INTERN PetscErrorCode KalSnapshotWriteItem(KalSnapshot, const KalItem *);

/* read.c */
PETSC_INTERN void KalH5ReadWhole(hid_t, const char *, const char *, hid_t, PetscInt, const PetscInt64 *, void *, char *);

PETSC_INTERN int  KalH5Shape(hid_t, hsize_t *);
PETSC_INTERN void KalH5Checksum(hid_t, const char *, const char *, uint64_t *, char *);

/* verify.c */
typedef struct {
  PetscInt count; /* problems found */
  size_t   bytes, room;
  char    *text;       /* a line each, of the first KAL_PROBLEMS */
  int      rank, size; /* of those that share the members; rank 0 looks at all else. Size 0: there are no others */
} KalProblems;
#define KAL_PROBLEMS 100
PETSC_INTERN void      KalProblemAdd(KalProblems *, const char *, const char *);
PETSC_INTERN void      KalH5CheckDataset(hid_t, const char *, KalProblems *);
PETSC_INTERN PetscBool KalH5IsBareScale(hid_t);
typedef void (*KalH5Visit)(void *ctx, hid_t object, const char *name);
PETSC_INTERN void KalH5Walk(hid_t, const char *, KalProblems *, KalH5Visit, void *);

/* scales.c */
PETSC_INTERN PetscErrorCode KalSnapshotAddScales(KalSnapshot, const char *, PetscInt, const PetscInt64 *, const char *const *);
PETSC_INTERN void           KalSnapshotWriteScales(KalSnapshot, char *);
PETSC_INTERN herr_t         KalH5PutTail(hid_t, PetscBool, const uint64_t *);
PETSC_INTERN void           KalH5CheckTail(hid_t, const char *, char *);

#endif
