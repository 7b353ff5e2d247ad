/* Paths in a run: what a method is told of their residuals, and the actions of all of them, printed and as a table. */
#include "runimpl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KAL_LEVELS_SHOWN 4    /* in a cycle's line */
#define KAL_LEVELS_SAME  1e-3 /* relative difference of actions that are one level */

static PetscErrorCode Equations(void *ctx, const KalBatch *batch, PetscInt *measured, PetscInt *dynamics)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelEquations((KalModel)ctx, batch, measured, dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Residuals(void *ctx, const KalBatch *batch, const PetscScalar *x, PetscScalar *measured, PetscScalar *dynamics)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelResiduals((KalModel)ctx, batch, x, measured, dynamics));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Adjoint(void *ctx, const KalBatch *batch, const PetscScalar *x, const PetscScalar *measured, const PetscScalar *dynamics, PetscScalar *g)
{
  PetscFunctionBeginUser;
  PetscCall(KalModelResidualsAdjoint((KalModel)ctx, batch, x, measured, dynamics, g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalRunTellResiduals - Tells the method the residuals of the model, where its state is a path
*/
PetscErrorCode KalRunTellResiduals(KalRun run)
{
  const KalResiduals residuals = {Equations, Residuals, Adjoint, run->model};
  KalModelOps       *ops;

  PetscFunctionBeginUser;
  PetscCall(KalModelGetOps(run->model, &ops));
  if (ops->residualsadjoint) PetscCall(KalAnalysisSetResiduals(run->analysis, &residuals));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static int Ascending(const void *a, const void *b)
{
  const PetscReal x = *(const PetscReal *)a, y = *(const PetscReal *)b;

  return (x > y) - (x < y);
}

/*
  KalRunLevelsLine - Prints the levels of the last rung, from the lowest on, and how many paths are at each
*/
PetscErrorCode KalRunLevelsLine(KalRun run)
{
  KalLevels  levels;
  PetscReal *action;
  PetscInt   shown = 0, at = 0;

  PetscFunctionBeginUser;
  PetscCall(KalAnalysisGetLevels(run->analysis, &levels));
  if (!levels.rungs || levels.members < 2) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(PetscMalloc1(levels.members, &action));
  PetscCall(PetscArraycpy(action, levels.action + (size_t)(levels.rungs - 1) * levels.members, levels.members));
  qsort(action, (size_t)levels.members, sizeof *action, Ascending);
  PetscCall(PetscPrintf(run->comm, "  levels"));
  for (; at < levels.members && shown < KAL_LEVELS_SHOWN; shown++) {
    PetscInt end = at;

    while (end < levels.members && action[end] <= action[at] * (1.0 + KAL_LEVELS_SAME)) end++;
    PetscCall(PetscPrintf(run->comm, " %.4g x %" PetscInt_FMT, (double)action[at], end - at));
    at = end;
  }
  if (at < levels.members) PetscCall(PetscPrintf(run->comm, " to %.4g", (double)action[levels.members - 1]));
  PetscCall(PetscFree(action));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The whole table, under another name until it is complete; before the first rung a try whether that can be written. */
static void Write(const char *path, const KalLevels *levels, size_t size, char *text)
{
  char  name[PETSC_MAX_PATH_LEN + 8];
  FILE *file;

  (void)snprintf(name, sizeof name, "%s.tmp", path);
  file = fopen(name, "w");
  if (file) {
    (void)fprintf(file, "rung,weight,member,action,measured,dynamics,expected\n");
    for (PetscInt k = 0; k < levels->rungs; k++) {
      for (PetscInt j = 0; j < levels->members; j++) {
        const size_t i = (size_t)k * (size_t)levels->members + (size_t)j;

        (void)fprintf(file, "%d,%.17g,%d,%.17g,%.17g,%.17g,%.17g\n", (int)k, (double)levels->weight[k], (int)j, (double)levels->action[i], (double)levels->measured[i], (double)(levels->action[i] - levels->measured[i]), (double)levels->expected);
      }
    }
  }
  if (!file || ferror(file) | fclose(file) || (levels->rungs ? rename(name, path) : remove(name))) (void)snprintf(text, size, "-run_levels %s cannot be written (%s): give a file in a folder that is there", path, strerror(errno));
}

/*
  KalRunLevelsWrite - Writes the actions of all members and rungs where -run_levels names a file; a line each

  Collective. The table is that of the whole run, also after a restart.
*/
PetscErrorCode KalRunLevelsWrite(KalRun run)
{
  KalLevels levels;
  char      text[PETSC_MAX_PATH_LEN + 128] = "";

  PetscFunctionBeginUser;
  if (!run->levels[0]) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(KalAnalysisGetLevels(run->analysis, &levels));
  PetscCheck(levels.members, run->comm, PETSC_ERR_ARG_INCOMP, "-run_levels %s: the method has no levels; it is for annealing and annealing-enks", run->levels);
  if (!run->rank) Write(run->levels, &levels, sizeof text, text);
  KalCheckAll(run->comm, PETSC_ERR_FILE_WRITE, text);
  PetscFunctionReturn(PETSC_SUCCESS);
}
