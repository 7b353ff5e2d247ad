/* The history: one number a cycle of every quantity that is printed. */
#include "runimpl.h"

const KalHistoryInfo KalHistoryInfos[KAL_HISTORY_COLUMNS] = {
    {"cycle",            "cycle, from 1",                                                                 "1"},
    {"epoch",            "passes over the training set",                                                  "1"},
    {"loss",             "training loss a sample at the mean prediction, before the update",              "1"},
    {"step",             "time step or step length taken",                                                "1"},
    {"time",             "sum of the steps",                                                              "1"},
    {"spread",           "root mean square over the entries of the members' standard deviation",          "1"},
    {"failed",           "members that failed and were redrawn",                                          "1"},
    {"rejected",         "1 where the method left the ensemble as it was",                                "1"},
    {"accuracy",         "accuracy of the mean network, where it was scored",                             "1"},
    {"nll",              "negative log-likelihood a sample of the mean network, where it was scored",     "1"},
    {"ece",              "expected calibration error of the mean network, where it was scored",           "1"},
    {"rmse",             "root mean square error of the mean network's predictions, where it was scored", "1"},
    {"seconds_forecast", "time in the forecast",                                                          "s"},
    {"seconds_observe",  "time in the observation of the members",                                        "s"},
    {"seconds_analysis", "time in the analysis, exchange included",                                       "s"},
};

/*
  KalRunHistoryResize - Makes room for as many cycles
*/
PetscErrorCode KalRunHistoryResize(KalRun run, PetscInt cycles)
{
  PetscInt c, size = PetscMax(64, run->historysize);

  PetscFunctionBeginUser;
  if (cycles <= run->historysize) PetscFunctionReturn(PETSC_SUCCESS);
  while (size < cycles) size = size > PETSC_MAX_INT / 2 ? cycles : 2 * size;
  for (c = 0; c < KAL_HISTORY_COLUMNS; c++) PetscCall(PetscRealloc((size_t)size * sizeof(PetscReal), &run->history[c]));
  run->historysize = size;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunHistoryAdd - Adds the numbers of the cycle that was just done
*/
PetscErrorCode KalRunHistoryAdd(KalRun run, const PetscReal values[])
{
  PetscInt c;

  PetscFunctionBeginUser;
  PetscCall(KalRunHistoryResize(run, run->cycle));
  for (c = 0; c < KAL_HISTORY_COLUMNS; c++) run->history[c][run->cycle - 1] = values[c];
  PetscFunctionReturn(PETSC_SUCCESS);
}
