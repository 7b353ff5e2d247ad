/* See ladder.h. */
#include "ladder.h"

#define KAL_MOST_ACTIONS 100000000 /* every rank keeps those of all members and rungs */

PetscErrorCode KalLadderSetFromOptions(KalAnalysis analysis, KalLadder *ladder, KalOptionItems PetscOptionsObject)
{
  PetscFunctionBeginUser;
  (void)analysis;
  PetscCall(PetscOptionsReal("-annealing_first", "Weight of the dynamics on the first rung, R_f0", NULL, ladder->first, &ladder->first, NULL));
  PetscCall(PetscOptionsReal("-annealing_growth", "Its factor from rung to rung", NULL, ladder->growth, &ladder->growth, NULL));
  PetscCall(PetscOptionsInt("-annealing_rungs", "Rungs of the ladder, a cycle each", NULL, ladder->rungs, &ladder->rungs, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalLadderSetUp(KalAnalysis analysis, KalLadder *ladder)
{
  PetscReal last;

  PetscFunctionBeginUser;
  PetscCheck(analysis->residuals.adjoint, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s fits paths: take -model_type path", analysis->type);
  PetscCheck(ladder->first > 0.0 && !PetscIsInfOrNanReal(ladder->first), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_first %g: must be positive", (double)ladder->first);
  PetscCheck(ladder->growth >= 1.0 && !PetscIsInfOrNanReal(ladder->growth), analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_growth %g: must be at least 1", (double)ladder->growth);
  PetscCheck(ladder->rungs >= 1 && ladder->rungs <= 100000, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_rungs %" PetscInt_FMT ": must be from 1 to 100000", ladder->rungs);
  PetscCheck((PetscInt64)ladder->rungs * analysis->N <= KAL_MOST_ACTIONS, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_rungs %" PetscInt_FMT " and %" PetscInt_FMT " members make a table of more than %d actions: take fewer of one of them", ladder->rungs, analysis->N, KAL_MOST_ACTIONS);
  last = ladder->first * PetscPowRealInt(ladder->growth, ladder->rungs - 1);
  PetscCheck(last <= 1e100, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_growth %g makes the weight of the dynamics %g on rung %" PetscInt_FMT "; take fewer -annealing_rungs", (double)ladder->growth, (double)last, ladder->rungs);
  analysis->needs.residuals = PETSC_TRUE;
  analysis->needs.untimed   = PETSC_TRUE;
  analysis->needs.points    = 0; /* nothing is predicted */
  analysis->needs.work      = sizeof(PetscReal) * 2.0 * ladder->rungs * analysis->N;
  PetscCall(PetscCalloc3((size_t)ladder->rungs * analysis->N, &ladder->action, (size_t)ladder->rungs * analysis->N, &ladder->measured, ladder->rungs, &ladder->weight));
  for (PetscInt k = 0; k < ladder->rungs; k++) ladder->weight[k] = ladder->first * PetscPowRealInt(ladder->growth, k);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Residuals are of the squared loss, and every rung is fitted to the same data. */
PetscErrorCode KalLadderCheck(KalAnalysis analysis, KalObservations observations)
{
  KalLossType loss;
  PetscInt    samples, batches;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetLoss(observations, &loss, NULL, NULL));
  PetscCheck(loss == KAL_LOSS_SQUARED, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s fits real-valued targets: -observations_loss squared, not %s", analysis->type, KalLossTypes[loss]);
  PetscCall(KalObservationsGetCycle(observations, &samples, &batches));
  PetscCheck(batches == 1, analysis->comm, PETSC_ERR_ARG_INCOMP, "%s fits all data on every rung, and -observations_batch %" PetscInt_FMT " makes %" PetscInt_FMT " batches of them: leave it out", analysis->type, samples, batches);
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalLadderBegin(KalAnalysis analysis, KalLadder *ladder, const KalTold *told)
{
  const KalResiduals *residuals = &analysis->residuals;

  PetscFunctionBeginUser;
  PetscCheck(told->cycle < ladder->rungs, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "The ladder has %" PetscInt_FMT " rungs (-annealing_rungs), and this is cycle %" PetscInt_FMT, ladder->rungs, told->cycle + 1);
  ladder->batch  = told->batch;
  ladder->passes = 0.0;
  ladder->R      = ladder->weight[told->cycle];
  PetscCall(KalObservationsGetLoss(told->observations, NULL, &ladder->gamma, NULL));
  PetscCall(residuals->equations(residuals->ctx, told->batch, &ladder->p, &ladder->q));
  if (ladder->p + ladder->q > ladder->room) {
    PetscCall(PetscFree2(ladder->r, ladder->s));
    ladder->room = ladder->p + ladder->q;
    PetscCall(PetscMalloc2(ladder->room, &ladder->r, ladder->room, &ladder->s));
  }
  if (!ladder->terms) {
    PetscCall(KalEnsembleCreate(analysis->comm, &ladder->terms));
    PetscCall(KalEnsembleSetSizes(ladder->terms, 3, analysis->N));
    PetscCall(KalEnsembleSetUp(ladder->terms));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalLadderAction - A = 1/(gamma p) |measured|^2 + R/q |dynamics|^2 of a path, the first term of it, and its derivative unless g is NULL

  The residuals stay in ladder->r. Counted in ladder->passes: a forward pass for each sample, with the derivative two more.
*/
PetscErrorCode KalLadderAction(KalAnalysis analysis, KalLadder *ladder, const PetscScalar *x, PetscReal terms[2], PetscScalar *g)
{
  const KalResiduals *residuals = &analysis->residuals;
  const PetscReal     data = 1.0 / (ladder->gamma * ladder->p), dynamics = ladder->R / ladder->q;
  PetscReal           sum[2] = {0.0, 0.0};

  PetscFunctionBeginUser;
  PetscCall(residuals->residuals(residuals->ctx, ladder->batch, x, ladder->r, ladder->r + ladder->p));
  for (PetscInt i = 0; i < ladder->p; i++) sum[0] += ladder->r[i] * ladder->r[i];
  for (PetscInt i = ladder->p; i < ladder->p + ladder->q; i++) sum[1] += ladder->r[i] * ladder->r[i];
  ladder->passes += (g ? 3.0 : 1.0) * ladder->batch->samples;
  terms[1] = data * sum[0];
  terms[0] = terms[1] + dynamics * sum[1];
  if (!g) PetscFunctionReturn(PETSC_SUCCESS);
  for (PetscInt i = 0; i < ladder->p + ladder->q; i++) ladder->s[i] = 2.0 * (i < ladder->p ? data : dynamics) * ladder->r[i];
  PetscCall(residuals->adjoint(residuals->ctx, ladder->batch, x, ladder->s, ladder->s + ladder->p, g));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Where the action of a member of this rank is put, the part of the data, and the passes that it took. */
PetscErrorCode KalLadderTerms(KalLadder *ladder, PetscInt member, PetscReal **terms)
{
  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetMember(ladder->terms, member, terms));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalLadderEnd - Remembers the terms of all members, reports the lowest action and the passes of all, and stops after the last rung

  Collective
*/
PetscErrorCode KalLadderEnd(KalAnalysis analysis, KalLadder *ladder, PetscInt cycle, KalVerdict *verdict)
{
  const size_t N = (size_t)analysis->N, at = (size_t)cycle * N;
  PetscReal   *terms, lowest = PETSC_MAX_REAL, passes = 0.0;

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleChanged(ladder->terms));
  PetscCall(PetscMalloc1(3 * N, &terms));
  PetscCall(KalEnsembleGatherRows(ladder->terms, terms));
  for (size_t j = 0; j < N; j++) {
    ladder->action[at + j]   = terms[3 * j];
    ladder->measured[at + j] = terms[3 * j + 1];
    lowest                   = PetscMin(lowest, terms[3 * j]);
    passes += terms[3 * j + 2];
  }
  PetscCall(PetscFree(terms));
  ladder->done[0]         = (PetscReal)(cycle + 1);
  ladder->done[1]         = (PetscReal)ladder->p;
  ladder->done[2]         = (PetscReal)ladder->q;
  analysis->report.loss   = lowest;
  analysis->report.step   = ladder->R;
  analysis->report.time   = cycle;
  analysis->report.passes = passes;
  *verdict                = KalLadderIsDone(ladder) ? KAL_VERDICT_STOP : KAL_VERDICT_ACCEPT;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalLadderArrays(KalAnalysis analysis, KalLadder *ladder, PetscInt *count, KalArray arrays[])
{
  const PetscInt all = ladder->rungs * analysis->N;

  PetscFunctionBeginUser;
  arrays[0] = (KalArray){.name = "action", .meaning = "actions of all members, rung by rung", .count = all, .data = ladder->action, .option = "-annealing_rungs"};
  arrays[1] = (KalArray){.name = "measured", .meaning = "of these, the part of the data", .count = all, .data = ladder->measured, .option = "-annealing_rungs"};
  arrays[2] = (KalArray){.name = "rungs", .meaning = "rungs done, measured numbers, equations", .count = 3, .data = ladder->done};
  *count    = 3;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A path that obeys its equations has n - q free numbers, which p measurements fit: the mean square of their errors is left with p - (n - q) degrees of freedom. */
PetscErrorCode KalLadderLevels(KalAnalysis analysis, const KalLadder *ladder, KalLevels *levels)
{
  PetscFunctionBeginUser;
  levels->rungs    = (PetscInt)ladder->done[0];
  levels->members  = analysis->N;
  levels->expected = ladder->done[1] > 0.0 ? 1.0 - (analysis->n - ladder->done[2]) / ladder->done[1] : 0.0;
  levels->weight   = ladder->weight;
  levels->action   = ladder->action;
  levels->measured = ladder->measured;
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalLadderView(const KalLadder *ladder, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "  weight of the dynamics from %g, times %g on each of %" PetscInt_FMT " rungs\n", (double)ladder->first, (double)ladder->growth, ladder->rungs));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalLadderDestroy(KalLadder *ladder)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree3(ladder->action, ladder->measured, ladder->weight));
  PetscCall(PetscFree2(ladder->r, ladder->s));
  PetscCall(KalEnsembleDestroy(&ladder->terms));
  PetscFunctionReturn(PETSC_SUCCESS);
}
