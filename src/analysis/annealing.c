/* Variational annealing: paths fitted to data and dynamics, these weighing more from rung to rung; each path by TAO on the rank that holds it. */
#include "ladder.h"

#include <petsctao.h>

typedef struct {
  KalLadder ladder;
  PetscReal lower, upper; /* bounds of every number of a path */
  Vec       x, low, high; /* of this rank */
} KalAnnealing;

static PetscBool IsBounded(const KalAnnealing *annealing)
{
  return (PetscBool)(annealing->lower > PETSC_NINFINITY || annealing->upper < PETSC_INFINITY);
}

/* The minimizer, with what the user chose of it. */
static PetscErrorCode Minimizer(KalAnnealing *annealing, Tao *tao)
{
  PetscFunctionBeginUser;
  PetscCall(TaoCreate(PETSC_COMM_SELF, tao));
  PetscCall(TaoSetOptionsPrefix(*tao, "annealing_"));
  PetscCall(TaoSetType(*tao, IsBounded(annealing) ? TAOBLMVM : TAOLMVM));
  PetscCall(TaoSetTolerances(*tao, 1e-7, 0.0, 0.0));
  PetscCall(TaoSetMaximumIterations(*tao, 1000));
  PetscCall(TaoSetMaximumFunctionEvaluations(*tao, 10000));
  PetscCall(TaoSetFromOptions(*tao));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalAnnealing *annealing = (KalAnnealing *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalLadderSetFromOptions(analysis, &annealing->ladder, PetscOptionsObject));
  PetscCall(PetscOptionsReal("-annealing_lower", "Lower bound of every number of a path", NULL, annealing->lower, &annealing->lower, NULL));
  PetscCall(PetscOptionsReal("-annealing_upper", "Upper bound of every number of a path", NULL, annealing->upper, &annealing->upper, NULL));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* A minimizer must take gradients alone, minimize the action and nothing else, and keep the bounds where there are some. */
static PetscErrorCode CheckMinimizer(KalAnalysis analysis, Tao tao)
{
  static const char *const types[] = {TAOLMVM, TAOCG, TAOBLMVM, TAOBNCG, TAOBQNLS, TAOBQNKLS, TAOBQNKTR, TAOBQNKTL};
  const PetscBool          bounded = IsBounded((const KalAnnealing *)analysis->data);
  TaoType                  type;
  PetscBool                allowed = PETSC_FALSE;

  PetscFunctionBeginUser;
  PetscCall(TaoGetType(tao, &type));
  for (size_t k = bounded ? 2 : 0; k < PETSC_STATIC_ARRAY_LENGTH(types) && !allowed; k++) PetscCall(PetscStrcmp(type, types[k], &allowed));
  PetscCheck(allowed, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_tao_type %s: %s", type, bounded ? "with -annealing_lower or -annealing_upper take blmvm, bncg, bqnls, bqnkls, bqnktr or bqnktl" : "take lmvm, cg, blmvm, bncg, bqnls, bqnkls, bqnktr or bqnktl");
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalAnnealing *annealing = (KalAnnealing *)analysis->data;
  Tao           tao;

  PetscFunctionBeginUser;
  PetscCheck(annealing->lower < annealing->upper, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-annealing_lower %g: must be below -annealing_upper %g", (double)annealing->lower, (double)annealing->upper);
  PetscCall(KalLadderSetUp(analysis, &annealing->ladder));
  PetscCall(Minimizer(annealing, &tao)); /* its options are looked up before the first cycle */
  PetscCall(CheckMinimizer(analysis, tao));
  PetscCall(TaoDestroy(&tao));
  analysis->needs.work += sizeof(PetscScalar) * (4.0 + 20.0) * (PetscReal)analysis->n; /* a dozen pairs of a quasi-Newton method, residuals, the path that is scored */
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Ask(KalAnalysis analysis, KalAsk *ask)
{
  PetscFunctionBeginUser;
  ask->points  = analysis->ensemble;
  ask->observe = PETSC_FALSE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Action and derivative for TAO; where they overflow, a wall that a line search turns back from. */
static PetscErrorCode Evaluate(Tao tao, Vec x, PetscReal *f, Vec g, void *ctx)
{
  KalAnalysis        analysis  = (KalAnalysis)ctx;
  KalAnnealing      *annealing = (KalAnnealing *)analysis->data;
  const PetscScalar *path;
  PetscScalar       *slope;
  PetscReal          terms[2];

  PetscFunctionBeginUser;
  (void)tao;
  PetscCall(VecGetArrayRead(x, &path));
  PetscCall(VecGetArray(g, &slope));
  PetscCall(KalLadderAction(analysis, &annealing->ladder, path, terms, slope));
  *f = terms[0];
  if (!(terms[0] <= 1e200)) {
    *f = 1e200;
    PetscCall(PetscArrayzero(slope, analysis->n));
  }
  PetscCall(VecRestoreArray(g, &slope));
  PetscCall(VecRestoreArrayRead(x, &path));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Reserve(KalAnalysis analysis)
{
  KalAnnealing *annealing = (KalAnnealing *)analysis->data;

  PetscFunctionBeginUser;
  if (annealing->x) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecCreateSeq(PETSC_COMM_SELF, analysis->n, &annealing->x));
  PetscCall(VecDuplicate(annealing->x, &annealing->low));
  PetscCall(VecDuplicate(annealing->x, &annealing->high));
  PetscCall(VecSet(annealing->low, annealing->lower));
  PetscCall(VecSet(annealing->high, annealing->upper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* One path, from where it is. A minimizer of its own each time: what one has learned of another path must not count. */
static PetscErrorCode Minimize(KalAnalysis analysis, PetscScalar *path, PetscReal terms[2])
{
  KalAnnealing      *annealing = (KalAnnealing *)analysis->data;
  PetscReal          before[2];
  const PetscScalar *found;
  PetscScalar       *x;
  Tao                tao;

  PetscFunctionBeginUser;
  PetscCall(Reserve(analysis));
  for (PetscInt i = 0; i < analysis->n; i++) path[i] = PetscMin(PetscMax(path[i], annealing->lower), annealing->upper);
  PetscCall(KalLadderAction(analysis, &annealing->ladder, path, before, NULL));
  terms[0] = before[0];
  terms[1] = before[1];
  if (!(before[0] <= 1e200)) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCall(VecGetArrayWrite(annealing->x, &x));
  PetscCall(PetscArraycpy(x, path, analysis->n));
  PetscCall(VecRestoreArrayWrite(annealing->x, &x));
  PetscCall(Minimizer(annealing, &tao));
  PetscCall(TaoSetSolution(tao, annealing->x));
  PetscCall(TaoSetObjectiveAndGradient(tao, NULL, Evaluate, analysis));
  if (IsBounded(annealing)) PetscCall(TaoSetVariableBounds(tao, annealing->low, annealing->high));
  PetscCall(TaoSolve(tao)); /* that it stops short of its tolerance is no error: the next rung goes on from there */
  PetscCall(TaoDestroy(&tao));
  PetscCall(VecGetArrayRead(annealing->x, &found));
  PetscCall(KalLadderAction(analysis, &annealing->ladder, found, terms, NULL));
  if (terms[0] <= before[0]) PetscCall(PetscArraycpy(path, found, analysis->n));
  else {
    terms[0] = before[0];
    terms[1] = before[1];
  }
  PetscCall(VecRestoreArrayRead(annealing->x, &found));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalAnnealing *annealing = (KalAnnealing *)analysis->data;
  char          text[160] = "";
  PetscInt      first, last;

  PetscFunctionBeginUser;
  PetscCall(KalLadderCheck(analysis, told->observations));
  PetscCall(KalLadderBegin(analysis, &annealing->ladder, told));
  PetscCall(KalEnsembleGetOwnershipRange(analysis->ensemble, &first, &last));
  for (PetscInt m = first; m < last; m++) {
    PetscScalar *path;
    PetscReal   *terms;

    PetscCall(KalEnsembleGetMember(analysis->ensemble, m, &path));
    PetscCall(KalLadderTerms(&annealing->ladder, m, &terms));
    annealing->ladder.passes = 0.0;
    PetscCall(Minimize(analysis, path, terms));
    terms[2] = annealing->ladder.passes;
    if (!text[0] && !(terms[0] <= 1e200)) PetscCall(PetscSNPrintf(text, sizeof text, "The action of path %" PetscInt_FMT " is %g on rung %" PetscInt_FMT ": take a smaller -path_spread, or bounds (-annealing_lower, -annealing_upper)", m, (double)terms[0], told->cycle));
  }
  KalCheckAll(analysis->comm, PETSC_ERR_FP, text);
  PetscCall(KalEnsembleChanged(analysis->ensemble));
  PetscCall(KalLadderEnd(analysis, &annealing->ladder, told->cycle, verdict));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Arrays(KalAnalysis analysis, PetscInt *count, KalArray arrays[])
{
  PetscFunctionBeginUser;
  PetscCall(KalLadderArrays(analysis, &((KalAnnealing *)analysis->data)->ladder, count, arrays));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Levels(KalAnalysis analysis, KalLevels *levels)
{
  PetscFunctionBeginUser;
  PetscCall(KalLadderLevels(analysis, &((KalAnnealing *)analysis->data)->ladder, levels));
  levels->lowest = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode IsDone(KalAnalysis analysis, PetscBool *done)
{
  PetscFunctionBeginUser;
  *done = KalLadderIsDone(&((KalAnnealing *)analysis->data)->ladder);
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalAnnealing *annealing = (const KalAnnealing *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(KalLadderView(&annealing->ladder, viewer));
  if (IsBounded(annealing)) PetscCall(PetscViewerASCIIPrintf(viewer, "  paths are kept from %g to %g\n", (double)annealing->lower, (double)annealing->upper));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalAnnealing *annealing = (KalAnnealing *)analysis->data;

  PetscFunctionBeginUser;
  PetscCall(VecDestroy(&annealing->x));
  PetscCall(VecDestroy(&annealing->low));
  PetscCall(VecDestroy(&annealing->high));
  PetscCall(KalLadderDestroy(&annealing->ladder));
  PetscCall(PetscFree(analysis->data));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISANNEALING = "annealing" - Variational annealing: paths under dynamics that may err, less and less

   A member is a path (KALMODELPATH) with p numbers that were measured, with errors of variance gamma, and q equations. On rung k = 0, 1, ... each path goes
   from where the rung before left it to a minimum of the action

     A(x) = 1/(gamma p) |x_measured - y|^2 + R_f/q |equations(x)|^2,    R_f = first growth^k,

   and keeps it. Paths begin at draws of their own and may end at minima of their own: the levels of their actions. As R_f grows, those of a model that is
   consistent with the data level off at the chi-square level 1 - (n - q)/p, n the numbers of a path, n - q what is free in one that obeys its equations;
   others grow.

   Abarbanel, Rozdeba and Shirman, Machine learning: deepest learning as statistical data assimilation problems, Neural Computation 30 (2018); with the
   normalization of the code published by the first two.

   Options Database Keys:
+  -annealing_first <1e-6> - R_f on the first rung
.  -annealing_growth <2> - its factor from rung to rung
.  -annealing_rungs <40> - rungs, a cycle each; the run ends with the last
.  -annealing_lower <none>, -annealing_upper <none> - bounds of every number of a path
-  -annealing_tao_type <lmvm; with bounds blmvm> - TAO's minimizer: blmvm, bncg, bqnls, bqnkls, bqnktr, bqnktl, without bounds also lmvm and cg; and all its options with the prefix -annealing_tao_: gatol <1e-7>, max_it <1000>, max_funcs <10000>

   Notes:
   Squared loss, all data on every rung. Each path is minimized by the rank that holds it (PETSC_COMM_SELF); with as many ranks as paths no more is
   gained. A rung is a cycle: a snapshot is one between rungs, and has all actions so far (analysis/action, analysis/measured). A minimizer that stops short of
   its tolerance is no error. The printed loss is the lowest action, the step R_f, scores of the mean are those of the path with that action. -run_levels writes the actions as a table.

.seealso: KALMODELPATH, KALANALYSISANNEALINGENKS
M*/
PetscErrorCode KalAnalysisCreate_Annealing(KalAnalysis analysis)
{
  KalAnnealing *annealing;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&annealing));
  annealing->ladder            = (KalLadder){.first = 1e-6, .growth = 2.0, .rungs = 40};
  annealing->lower             = PETSC_NINFINITY;
  annealing->upper             = PETSC_INFINITY;
  analysis->data               = annealing;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.check          = KalLadderCheck;
  analysis->ops.ask            = Ask;
  analysis->ops.tell           = Tell;
  analysis->ops.arrays         = Arrays;
  analysis->ops.levels         = Levels;
  analysis->ops.isdone         = IsDone;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
