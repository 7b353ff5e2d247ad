/* Tables of numbers, kept as the bytes they came in, once a node. */
#include "observationsimpl.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* Keeps the first thing that was found wrong. */
void KalFaultSet(KalFault *fault, PetscErrorCode code, const char *format, ...)
{
  va_list args;

  if (fault->text[0]) return;
  fault->code = code;
  va_start(args, format);
  (void)vsnprintf(fault->text, sizeof fault->text, format, args);
  va_end(args);
}

size_t KalElementSize(KalElement element)
{
  switch (element) {
  case KAL_ELEMENT_UINT8:
  case KAL_ELEMENT_INT8:
    return 1;
  case KAL_ELEMENT_UINT16:
  case KAL_ELEMENT_INT16:
    return 2;
  case KAL_ELEMENT_UINT32:
  case KAL_ELEMENT_INT32:
  case KAL_ELEMENT_FLOAT32:
    return 4;
  default:
    return 8;
  }
}

const char *KalElementName(KalElement element)
{
  static const char *const names[] = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64", "unknown"};

  return names[element];
}

PetscBool KalElementIsInteger(KalElement element)
{
  return element < KAL_ELEMENT_FLOAT32 ? PETSC_TRUE : PETSC_FALSE;
}

/* Sizes as a file states them, made into a shape; refuses empty sets and sizes that no index or memory holds. */
void KalShapeSet(KalShape *shape, KalElement element, PetscInt ndims, const unsigned long long *dims, const char *where, KalFault *fault)
{
  const unsigned long long most  = (unsigned long long)PETSC_MAX_INT;
  unsigned long long       width = 1;

  for (PetscInt i = 0; i < ndims; i++) {
    if (!dims[i]) {
      KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "%s holds no numbers: its size is 0 in dimension %" PetscInt_FMT " of %" PetscInt_FMT "; a data set needs at least one sample", where, i + 1, ndims);
      return;
    }
    if (i && dims[i] > most / width) {
      KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "%s says that a sample has more than %llu numbers (its size is %llu in dimension %" PetscInt_FMT " of %" PetscInt_FMT "); its header is damaged, or the data are too large", where, most, dims[i], i + 1, ndims);
      return;
    }
    if (i) width *= dims[i];
  }
  if (dims[0] > most || dims[0] > ((unsigned long long)1 << 60) / width / KalElementSize(element)) {
    KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "%s says that it has %llu samples of %llu numbers; its header is damaged, or the data are too large", where, dims[0], width);
    return;
  }
  shape->element = element;
  shape->ndims   = ndims;
  shape->samples = (PetscInt)dims[0];
  shape->width   = (PetscInt)width;
}

static PetscInt64 TableBytes(const KalShape *shape)
{
  return (PetscInt64)shape->samples * (PetscInt64)shape->width * (PetscInt64)KalElementSize(shape->element);
}

/* More than a node has is refused before it is taken. */
void KalMemoryCheck(const char *what, PetscInt64 bytes, KalFault *fault)
{
  const PetscInt64 pages = (PetscInt64)sysconf(_SC_PHYS_PAGES), page = (PetscInt64)sysconf(_SC_PAGESIZE);

  if (pages > 0 && page > 0 && bytes / page > pages) KalFaultSet(fault, PETSC_ERR_MEM, "%s takes %.1f GiB in memory, and this node has %.1f GiB", what, (double)bytes / 1073741824., (double)pages * (double)page / 1073741824.);
}

/* Collective. Takes the memory of a table; the shape must be the same on every rank. */
PetscErrorCode KalTableCreate(KalObservations obs, const KalShape *shape, const char *where, KalTable *table)
{
  const PetscInt64 bytes = TableBytes(shape);
  KalFault         fault = {PETSC_SUCCESS, ""};

  PetscFunctionBeginUser;
  KalMemoryCheck(where, bytes, &fault);
  KalCheckAll(obs->comm, fault.code, fault.text);
  PetscCall(KalSharedDestroy(&table->shared));
  table->shape = *shape;
  PetscCall(KalSharedCreate(obs->comm, bytes, &table->shared));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The first NaN or Inf among `count` numbers, or -1. */
static PetscInt64 FirstNonfinite(KalElement element, const void *data, PetscInt64 count)
{
  if (element == KAL_ELEMENT_FLOAT32) {
    for (PetscInt64 i = 0; i < count; i++)
      if (!isfinite(((const float *)data)[i])) return i;
  } else if (element == KAL_ELEMENT_FLOAT64) {
    for (PetscInt64 i = 0; i < count; i++)
      if (!isfinite(((const double *)data)[i])) return i;
  }
  return -1;
}

/*
  Collective. After node rank 0 filled a table: raises what it found wrong on every rank, refuses NaN and Inf,
  shows the numbers to the node, and makes sure that all nodes hold the same.
*/
PetscErrorCode KalTablePublish(KalObservations obs, const char *where, KalTable *table, KalFault *fault)
{
  const PetscInt64 bytes  = TableBytes(&table->shape);
  PetscInt64       digest = 0, first;

  PetscFunctionBeginUser;
  if (!obs->noderank && !fault->text[0]) {
    const PetscInt64 bad = FirstNonfinite(table->shape.element, table->shared.data, (PetscInt64)table->shape.samples * table->shape.width);

    if (bad >= 0) {
      const double value = table->shape.element == KAL_ELEMENT_FLOAT32 ? (double)((const float *)table->shared.data)[bad] : ((const double *)table->shared.data)[bad];

      KalFaultSet(fault, PETSC_ERR_FP, "%s holds %s in sample %lld, number %lld (both from 0); remove or mend the sample", where, isnan(value) ? "NaN" : value > 0 ? "Inf"
                                                                                                                                                                   : "-Inf",
                  (long long)(bad / table->shape.width), (long long)(bad % table->shape.width));
    }
    PetscCall(KalDigest(table->shared.data, (size_t)bytes, 0, &digest));
  }
  KalCheckAll(obs->comm, fault->code, fault->text);
  PetscCall(KalSharedSync(&table->shared));
  first = digest;
  PetscCallMPI(MPI_Bcast(&first, 1, MPIU_INT64, 0, obs->comm));
  if (!obs->noderank && first != digest) KalFaultSet(fault, PETSC_ERR_FILE_UNEXPECTED, "%s is not the same on every node; put the same data on each", where);
  KalCheckAll(obs->comm, fault->code, fault->text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

#define KAL_ROW(type) \
  for (PetscInt i = 0; i < n; i++) row[i] = (PetscReal)((const type *)table->shared.data)[at + (size_t)i]

/* One sample of a table as reals. */
void KalTableRow(const KalTable *table, PetscInt sample, PetscReal *row)
{
  const PetscInt n  = table->shape.width;
  const size_t   at = (size_t)sample * (size_t)n;

  switch (table->shape.element) {
  case KAL_ELEMENT_UINT8:
    KAL_ROW(uint8_t);
    break;
  case KAL_ELEMENT_INT8:
    KAL_ROW(int8_t);
    break;
  case KAL_ELEMENT_UINT16:
    KAL_ROW(uint16_t);
    break;
  case KAL_ELEMENT_INT16:
    KAL_ROW(int16_t);
    break;
  case KAL_ELEMENT_UINT32:
    KAL_ROW(uint32_t);
    break;
  case KAL_ELEMENT_INT32:
    KAL_ROW(int32_t);
    break;
  case KAL_ELEMENT_UINT64:
    KAL_ROW(uint64_t);
    break;
  case KAL_ELEMENT_INT64:
    KAL_ROW(int64_t);
    break;
  case KAL_ELEMENT_FLOAT32:
    KAL_ROW(float);
    break;
  default:
    KAL_ROW(double);
    break;
  }
}

/* The class label of a sample; one that no PetscInt64 holds comes back as the largest that there is. */
PetscInt64 KalTableLabel(const KalTable *table, PetscInt sample)
{
  const void *data = table->shared.data;

  switch (table->shape.element) {
  case KAL_ELEMENT_UINT8:
    return ((const uint8_t *)data)[sample];
  case KAL_ELEMENT_INT8:
    return ((const int8_t *)data)[sample];
  case KAL_ELEMENT_UINT16:
    return ((const uint16_t *)data)[sample];
  case KAL_ELEMENT_INT16:
    return ((const int16_t *)data)[sample];
  case KAL_ELEMENT_UINT32:
    return ((const uint32_t *)data)[sample];
  case KAL_ELEMENT_INT32:
    return ((const int32_t *)data)[sample];
  case KAL_ELEMENT_UINT64:
    return (PetscInt64)PetscMin(((const uint64_t *)data)[sample], (uint64_t)INT64_MAX);
  default:
    return (PetscInt64)((const int64_t *)data)[sample];
  }
}
