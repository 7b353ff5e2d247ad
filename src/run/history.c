/* The history: one number a cycle of every quantity that is printed. */
#include "runimpl.h"

const KalHistoryInfo KalHistoryInfos[KAL_HISTORY_COLUMNS] = {
    {"cycle",                 "cycle, from 1",                                                                 "1", KAL_HISTORY_ALWAYS     },
    {"epoch",                 "passes over the training set",                                                  "1", KAL_HISTORY_OF_TRAINING},
    {"loss",                  "loss a sample or observation at the mean prediction, before the update",        "1", KAL_HISTORY_ALWAYS     },
    {"step",                  "time step or step length taken",                                                "1", KAL_HISTORY_OF_TRAINING},
    {"time",                  "sum of the steps",                                                              "1", KAL_HISTORY_OF_TRAINING},
    {"spread",                "root mean square over the entries of the members' standard deviation",          "1", KAL_HISTORY_OF_TRAINING},
    {"failed",                "members that failed and were redrawn",                                          "1", KAL_HISTORY_ALWAYS     },
    {"rejected",              "1 where the method left the ensemble as it was",                                "1", KAL_HISTORY_ALWAYS     },
    {"accuracy",              "accuracy of the mean network, where it was scored",                             "1", KAL_HISTORY_OF_TRAINING},
    {"nll",                   "negative log-likelihood a sample of the mean network, where it was scored",     "1", KAL_HISTORY_OF_TRAINING},
    {"ece",                   "expected calibration error of the mean network, where it was scored",           "1", KAL_HISTORY_OF_TRAINING},
    {"rmse",                  "root mean square error of the mean network's predictions, where it was scored", "1", KAL_HISTORY_OF_TRAINING},
    {"seconds_forecast",      "time in the forecast",                                                          "s", KAL_HISTORY_ALWAYS     },
    {"seconds_observe",       "time in the observation of the members",                                        "s", KAL_HISTORY_ALWAYS     },
    {"seconds_analysis",      "time in the analysis, exchange included",                                       "s", KAL_HISTORY_ALWAYS     },
    {"forward_passes",        "forward passes that the method asked for",                                      "1", KAL_HISTORY_ALWAYS     },
    {"model_time",            "model time of the observations",                                                "1", KAL_HISTORY_OF_TIME    },
    {"observations",          "observations, those that the background check left out among them",             "1", KAL_HISTORY_OF_TIME    },
    {"observations_rejected", "observations that the background check left out",                               "1", KAL_HISTORY_OF_TIME    },
    {"rmse_forecast",         "root mean square error of the forecast mean against the truth",                 "1", KAL_HISTORY_OF_TIME    },
    {"rmse_analysis",         "root mean square error of the analysis mean against the truth",                 "1", KAL_HISTORY_OF_TIME    },
    {"spread_forecast",       "root mean square of the forecast members' standard deviation",                  "1", KAL_HISTORY_OF_TIME    },
    {"spread_analysis",       "root mean square of the analysis members' standard deviation",                  "1", KAL_HISTORY_OF_TIME    },
    {"crps_forecast",         "continuous ranked probability score of the forecast members",                   "1", KAL_HISTORY_OF_TIME    },
    {"crps_analysis",         "continuous ranked probability score of the analysis members",                   "1", KAL_HISTORY_OF_TIME    },
    {"innovation",            "squared innovations over their expectation, 1 where spread and errors agree",   "1", KAL_HISTORY_OF_TIME    },
    {"dfs",                   "degrees of freedom for signal, tr(H K)",                                        "1", KAL_HISTORY_OF_TIME    },
    {"effective",             "effective ensemble size of the predicted anomalies",                            "1", KAL_HISTORY_OF_TIME    },
    {"inflation",             "factor on the prior anomalies",                                                 "1", KAL_HISTORY_OF_TIME    },
    {"diverged",              "1 where errors or innovations were far larger than the spread",                 "1", KAL_HISTORY_OF_TIME    },
};

/*
  KalRunHistoryHas - Whether a column is kept for this kind of run
*/
PetscBool KalRunHistoryHas(KalRun run, KalHistoryColumn column)
{
  const KalHistoryKind kind = KalHistoryInfos[column].kind;

  return (PetscBool)(kind == KAL_HISTORY_ALWAYS || (kind == KAL_HISTORY_OF_TIME) == (run->timed != PETSC_FALSE));
}

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
