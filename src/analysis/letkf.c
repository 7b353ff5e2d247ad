/*
  Local ensemble transform Kalman filter: the method, the patches of state entries that share an analysis, and which observations
  reach this rank. The local analyses themselves are in letkf_rows.c.
*/
#include "letkf.h"

static inline KalLETKF *LETKF(KalAnalysis analysis)
{
  return (KalLETKF *)((KalFilter *)analysis->data)->method;
}

static PetscErrorCode SetFromOptions(KalAnalysis analysis, KalOptionItems PetscOptionsObject)
{
  KalLETKF *letkf = LETKF(analysis);

  PetscFunctionBeginUser;
  PetscCall(letkf->base.setfromoptions(analysis, PetscOptionsObject));
  PetscCall(KalLocalizationSetFromOptions(analysis, &letkf->localization, PetscOptionsObject));
  PetscCall(PetscOptionsBoundedInt("-letkf_batch", "Neighbouring state entries that share one local analysis", "KALANALYSISLETKF", letkf->batch, &letkf->batch, NULL, 1));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Update(KalAnalysis);

static PetscErrorCode SetUp(KalAnalysis analysis)
{
  KalLETKF *letkf = LETKF(analysis);

  PetscFunctionBeginUser;
  PetscCall(letkf->base.setup(analysis));
  PetscCall(KalLocalizationSetUp(analysis, &letkf->localization));
  if (letkf->localization.type == KAL_LOCALIZE_NONE) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(letkf->batch >= 1, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-letkf_batch %" PetscInt_FMT ": at least 1 state entry is needed", letkf->batch);
  analysis->needs.timed     = PETSC_TRUE;
  analysis->needs.locations = PETSC_TRUE;
  analysis->needs.brought   = 2;
  analysis->ops.rows        = NULL;
  analysis->ops.update      = Update;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The global filter makes the report, the adaptive factor, the rotation, and the transform of entries without a place. */
static PetscErrorCode Tell(KalAnalysis analysis, const KalTold *told, KalVerdict *verdict)
{
  KalLETKF       *letkf = LETKF(analysis);
  const KalBatch *batch = told->batch;
  const PetscInt  p     = batch->samples * batch->outputs;

  PetscFunctionBeginUser;
  if (letkf->localization.type != KAL_LOCALIZE_NONE && p) {
    PetscCheck(batch->timed && batch->error && batch->target, analysis->comm, PETSC_ERR_ARG_WRONGSTATE, "A localized letkf works on observations in time, with their values and errors");
    PetscCheck(batch->location, analysis->comm, PETSC_ERR_ARG_WRONGSTATE, "The %" PetscInt_FMT " observations of cycle %" PetscInt_FMT " have no locations; give them in the file, observe entries that have some, or use -localization_type none", p, told->cycle + 1);
  }
  PetscCall(letkf->base.tell(analysis, told, verdict));
  letkf->told = *told;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode View(KalAnalysis analysis, PetscViewer viewer)
{
  const KalLETKF *letkf = LETKF(analysis);

  PetscFunctionBeginUser;
  PetscCall(letkf->base.view(analysis, viewer));
  PetscCall(KalLocalizationView(&letkf->localization, viewer));
  if (letkf->localization.type != KAL_LOCALIZE_NONE) PetscCall(PetscViewerASCIIPrintf(viewer, "  one local analysis for up to %" PetscInt_FMT " neighbouring state entries\n", letkf->batch));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Destroy(KalAnalysis analysis)
{
  KalLETKF *letkf = LETKF(analysis);

  PetscFunctionBeginUser;
  PetscCall(KalLocalizationDestroy(&letkf->localization));
  PetscCall(PetscFree(letkf->start));
  PetscCall(PetscFree(letkf->patch));
  PetscCall(PetscFree(letkf->entries));
  PetscCall(PetscFree(letkf->position));
  PetscCall(KalLETKFFree(letkf));
  PetscCall(letkf->base.destroy(analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The place of an entry relative to another, the shorter way round. */
static void Apart(const KalDomain *domain, const PetscReal *from, const PetscReal *to, PetscReal *apart)
{
  PetscInt d;

  for (d = 0; d < KAL_DIMENSIONS; d++) {
    apart[d] = d < domain->dimension ? to[d] - from[d] : 0.0;
    if (d < domain->dimension && domain->length[d] > 0.0) apart[d] -= domain->length[d] * PetscFloorReal(apart[d] / domain->length[d] + 0.5);
  }
}

/* Whether entry i goes on with the patch: of its kind, in its batch, and no farther than the radius from its first entry. */
static PetscBool GoesOn(const KalLETKF *letkf, const KalPatch *patch, PetscInt row, const PetscReal *place, const PetscInt *kind, PetscInt at, PetscInt i)
{
  const KalLocalization *loc = &letkf->localization;

  if (kind[i] < 0 || patch->unplaced) return (PetscBool)(kind[i] < 0 && patch->unplaced);
  if (kind[i] != kind[at] || (row + i) / letkf->batch != patch->first / letkf->batch) return PETSC_FALSE;
  return (PetscBool)(KalLocalizationDistance(&loc->domain, place + (size_t)KAL_DIMENSIONS * at, place + (size_t)KAL_DIMENSIONS * i) <= loc->radius);
}

/* Cuts a row block into patches, which lie where their entries are on average. */
static void CutBlock(KalLETKF *letkf, PetscInt row, PetscInt count, const PetscReal *place, const PetscInt *kind, PetscInt *patches)
{
  PetscInt i = 0, d, at;

  while (i < count) {
    KalPatch *patch               = &letkf->patch[(*patches)++];
    PetscReal sum[KAL_DIMENSIONS] = {0.0}, apart[KAL_DIMENSIONS];

    at              = i++;
    patch->first    = row + at;
    patch->unplaced = (PetscBool)(kind[at] < 0);
    while (i < count && GoesOn(letkf, patch, row, place, kind, at, i)) {
      Apart(&letkf->localization.domain, place + (size_t)KAL_DIMENSIONS * at, place + (size_t)KAL_DIMENSIONS * i++, apart);
      for (d = 0; d < KAL_DIMENSIONS; d++) sum[d] += apart[d];
    }
    patch->count = i - at;
    for (d = 0; d < KAL_DIMENSIONS; d++) patch->center[d] = patch->unplaced ? 0.0 : place[(size_t)KAL_DIMENSIONS * at + d] + sum[d] / (PetscReal)patch->count;
  }
}

/*
  Cuts the row blocks that this rank works on into patches: batches of consecutive entries, counted from entry 0, that end where a
  block or the kind of entry does. Blocks and batches follow from sizes and options alone.
*/
static PetscErrorCode Cut(KalAnalysis analysis, KalLETKF *letkf)
{
  PetscReal *place;
  PetscInt  *entry, *kind, block, i, total, patches = 0;
  char       text[256] = "";

  PetscFunctionBeginUser;
  PetscCall(KalEnsembleGetBlocks(analysis->ensemble, &letkf->rows, NULL));
  PetscCall(KalEnsembleGetBlockRange(analysis->ensemble, &letkf->firstblock, &letkf->lastblock));
  letkf->rows = PetscMin(letkf->rows, analysis->n);
  total       = (PetscInt)PetscMax(0, PetscMin((PetscInt64)analysis->n, (PetscInt64)letkf->lastblock * letkf->rows) - (PetscInt64)letkf->firstblock * letkf->rows);
  PetscCall(PetscMalloc1(letkf->lastblock - letkf->firstblock + 1, &letkf->start));
  PetscCall(PetscMalloc1(total, &letkf->patch));
  PetscCall(PetscMalloc3((size_t)KAL_DIMENSIONS * letkf->rows, &place, letkf->rows, &entry, letkf->rows, &kind));
  for (block = letkf->firstblock; block < letkf->lastblock; block++) {
    const PetscInt row = block * letkf->rows, count = PetscMin(letkf->rows, analysis->n - row);

    letkf->start[block - letkf->firstblock] = patches;
    PetscCall(PetscArrayzero(place, (size_t)KAL_DIMENSIONS * count));
    for (i = 0; i < count; i++) {
      entry[i] = row + i;
      kind[i]  = 0;
    }
    PetscCall(analysis->locate(analysis->locatectx, count, entry, place, kind));
    for (i = 0; i < KAL_DIMENSIONS * count && !text[0]; i++) {
      if (kind[i / KAL_DIMENSIONS] >= 0 && i % KAL_DIMENSIONS < analysis->domain.dimension && !(PetscAbsReal(place[i]) <= KAL_PLACE_MOST)) PetscCall(PetscSNPrintf(text, sizeof text, "Coordinate %" PetscInt_FMT " of state entry %" PetscInt_FMT " is %g; a localized analysis needs finite ones, or a negative kind for an entry without a place", i % KAL_DIMENSIONS, row + i / KAL_DIMENSIONS, (double)place[i]));
    }
    if (!text[0]) CutBlock(letkf, row, count, place, kind, &patches);
  }
  letkf->start[letkf->lastblock - letkf->firstblock] = patches;
  PetscCall(PetscFree3(place, entry, kind));
  KalCheckAll(analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, text);
  PetscCall(KalLETKFRoom(analysis, letkf));
  letkf->cut = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* The observations near any patch of this rank; a single rank takes all without looking. */
static PetscErrorCode Want(KalAnalysis analysis, KalLETKF *letkf)
{
  const PetscInt p = letkf->localization.p, patches = letkf->start[letkf->lastblock - letkf->firstblock];
  PetscInt       i, k;

  PetscFunctionBeginUser;
  PetscCall(PetscFree(letkf->position));
  PetscCall(PetscFree(letkf->entries));
  PetscCall(PetscMalloc1(p, &letkf->position));
  for (i = 0; i < p; i++) letkf->position[i] = analysis->size == 1 ? 0 : -1;
  for (k = 0; k < patches && analysis->size > 1; k++) {
    if (letkf->patch[k].unplaced) continue;
    PetscCall(KalLocalizationFind(&letkf->localization, letkf->patch[k].center, &letkf->near));
    for (i = 0; i < letkf->near.count; i++) letkf->position[letkf->near.index[i]] = 0;
  }
  for (letkf->wanted = 0, i = 0; i < p; i++) letkf->wanted += letkf->position[i] == 0;
  PetscCall(PetscMalloc1(letkf->wanted, &letkf->entries));
  for (k = 0, i = 0; i < p; i++) {
    if (letkf->position[i] < 0) continue;
    letkf->position[i]  = k;
    letkf->entries[k++] = i;
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode VisitStand(void *ctx, const KalRows *rows)
{
  KalAnalysis analysis = (KalAnalysis)ctx;

  PetscFunctionBeginUser;
  PetscCall(LETKF(analysis)->base.rows(analysis, rows));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Brings the predictions that count here to this rank, and analyses the rows. */
static PetscErrorCode Update(KalAnalysis analysis)
{
  const KalFilter *filter = (const KalFilter *)analysis->data;
  KalLETKF        *letkf  = LETKF(analysis);
  const KalBatch  *batch  = letkf->told.batch;
  PetscBool        moved;

  PetscFunctionBeginUser;
  if (!filter->observed) {
    PetscCall(KalEnsembleMapRows(1, &analysis->ensemble, VisitStand, analysis));
    PetscFunctionReturn(PETSC_SUCCESS);
  }
  PetscCall(KalLocalizationIndex(analysis->comm, &letkf->localization, batch->samples * batch->outputs, batch->location, batch->kind, &moved));
  moved = (PetscBool)(moved || !letkf->cut);
  if (!letkf->cut) PetscCall(Cut(analysis, letkf));
  if (moved) PetscCall(Want(analysis, letkf));
  PetscCall(KalLETKFPredictions(analysis, letkf));
  letkf->error[0] = '\0';
  PetscCall(KalEnsembleMapRows(1, &analysis->ensemble, KalLETKFRows, analysis));
  KalCheckAll(analysis->comm, PETSC_ERR_FP, letkf->error);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*MC
   KALANALYSISLETKF = "letkf" - Local ensemble transform Kalman filter

   Each patch of neighbouring state entries has an analysis of its own (Hunt, Kostelich and Szunyogh 2007, Physica D 230; Ott et al. 2004,
   Tellus A 56): an etkf of the observations near it, whose whitened anomalies and innovations are scaled by the square root of the
   localization's coefficient at their distance (R-localization). Far from every observation the forecast stays.

   Options Database Keys:
+  -letkf_batch <2> - state entries of a patch: consecutive ones, counted from entry 0, of one kind, within the radius of the first of
                      them, and in one row block; distances are those from their mean place
.  -localization_... - the keys of KalLocalization
.  -inflation_... - the keys of KalInflation; one adaptive factor for the state
-  -analysis_rotate <false> - one random mean-preserving rotation of all anomalies after the local analyses

   Notes:
   DAPPER's `LETKF`. Lorenz-96 with 40 variables, all observed at each step with unit errors: rmse 0.22 with N = 7,
   -inflation_factor 1.04 -analysis_rotate -localization_radius 4 (share/doc/figures.md).

   -localization_type none needs no locations and is etkf. Entries of a negative kind, as parameters of the model, are analysed as etkf
   does, with all observations. Members that failed are drawn anew from the survivors, with the same coefficients in every entry.

   Degrees of freedom for signal, effective ensemble size and the adaptive factor are those of the observations all together,
   without localization. With a dense R the localization is that of the whitened observations, as in DAPPER.

   Only predictions that count in a rank's row blocks travel to it.

.seealso: KALANALYSISETKF, KalLocalization, KalInflation, KalEnsembleFetchRows()
M*/
PetscErrorCode KalAnalysisCreate_LETKF(KalAnalysis analysis)
{
  KalFilter *filter;
  KalLETKF  *letkf;

  PetscFunctionBeginUser;
  PetscCall(KalFilterCreate(analysis, &filter));
  PetscCall(PetscNew(&letkf));
  PetscCall(KalLocalizationDefaults(&letkf->localization));
  letkf->base                  = analysis->ops;
  letkf->batch                 = 2;
  filter->method               = letkf;
  filter->weights              = KalFilterSquareRoot; /* without localization, and for entries without a place */
  filter->ensemblespace        = PETSC_TRUE;          /* the predictions stay as they are */
  filter->wants                = KAL_WANT_GRAM;
  analysis->ops.setfromoptions = SetFromOptions;
  analysis->ops.setup          = SetUp;
  analysis->ops.tell           = Tell;
  analysis->ops.view           = View;
  analysis->ops.destroy        = Destroy;
  PetscFunctionReturn(PETSC_SUCCESS);
}
