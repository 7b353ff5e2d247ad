/* ranks: 2 */
#include "linear.h"
static PetscErrorCode On(MPI_Comm comm, void *ctx)
{
  Problem problem = {.type = "etki", .options = "-etki_step 1 -etki_step_total 1", .N = 12, .inputs = 4, .outputs = 1, .samples = 30, .noise = 0.3, .spread = 1.0};
  Twin twin; double U[48]; KalEnsemble pts, pred; KalStatus st[12]; double G[360];
  PetscFunctionBeginUser; (void)ctx;
  MakeData(&problem);
  PetscCall(TwinCreate(comm, &problem, "-ensemble_exchange shared -ensemble_block_rows 1", &twin));
  PetscCall(TwinState(&twin, U));
  PetscCall(KalSameBits(comm, U, sizeof U));
    PetscCall(KalObservationsNext(twin.obs, twin.cycle, &twin.batch));
  PetscCall(KalSameBits(comm, twin.batch.target, 30*8));
  PetscCall(KalSameBits(comm, twin.batch.input, 120*8));
  PetscCall(KalAnalysisBegin(twin.analysis, 0));
  PetscCall(KalAnalysisAsk(twin.analysis, &pts));
  PetscCall(TwinEvaluate(&twin, pts, &pred, st));
  PetscCall(KalEnsembleGatherRows(pred, G));
  PetscCall(KalSameBits(comm, G, sizeof G));
  KalTold   told = {.observations = twin.obs, .batch = &twin.batch, .cycle = twin.cycle, .predictions=pred, .status=st};
  PetscCall(KalAnalysisTell(twin.analysis, &told, &twin.verdict));
  { KalAnalysisReport r; PetscCall(KalAnalysisGetReport(twin.analysis,&r)); print_error("loss %g step %g\n", r.loss, r.step); PetscCall(KalSameBits(comm, &r.loss, 8));}
  PetscCall(KalAnalysisUpdate(twin.analysis));
  PetscCall(TwinState(&twin, U));
  PetscCall(KalSameBits(comm, U, sizeof U));
  PetscCall(TwinDestroy(&twin));
  PetscFunctionReturn(PETSC_SUCCESS);
}
static void A(void **s) { (void)s; KalOnEachCount(On, NULL); }
static const struct CMUnitTest tests[] = { cmocka_unit_test(A)};
KAL_TEST_MAIN("zz", tests)
