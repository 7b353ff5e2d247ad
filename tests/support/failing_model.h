/*
  Model type "failing" for tests: a linear model whose chosen members fail at chosen calls.

  The state has as many numbers as a sample has inputs (KalModelSetDataSizes()), a sample's one
  prediction is their dot product, the prior is standard normal.

  -failing_members 1,4     members that fail (default: none)
  -failing_calls 2,3       at which of their calls of KalModelObserve(), from 0 (default: at all)
  -failing_kind status|nan they report KAL_MEMBER_FAILED, or predict NaN (default: status)

  Calls are counted member by member, so that neither the number of ranks nor the grouping of
  members into columns matters, as long as a member stays on its rank. Columns of an ensemble of one
  (KalColumns.total == 1: a mean network) neither fail nor count. The count starts with the model.
*/
#ifndef FAILING_MODEL_H
#define FAILING_MODEL_H

#include <kalmia/model.h>

#define KALMODELFAILING "failing"

/* Puts the type into the table; may be called again. */
PetscErrorCode KalTestRegisterFailingModel(void);

#endif
