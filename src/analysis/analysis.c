/* Life cycle of an analysis and the table of its types. */
#include "analysisimpl.h"

typedef PetscErrorCode (*KalCreate)(KalAnalysis);

static PetscFunctionList types;

/* A method is added in one file and one line here. */
static const struct {
  const char *name;
  KalCreate   create;
} table[] = {
    {KALANALYSISEKI,           KalAnalysisCreate_EKI          },
    {KALANALYSISETKI,          KalAnalysisCreate_ETKI         },
    {KALANALYSISHABER,         KalAnalysisCreate_Haber        },
    {KALANALYSISLAYERED,       KalAnalysisCreate_Layered      },
    {KALANALYSISSGD,           KalAnalysisCreate_SGD          },
    {KALANALYSISADAM,          KalAnalysisCreate_Adam         },
    {KALANALYSISEKF,           KalAnalysisCreate_EKF          },
    {KALANALYSISDEKF,          KalAnalysisCreate_DEKF         },
    {KALANALYSISKOALAV,        KalAnalysisCreate_KoalaV       },
    {KALANALYSISKOALAM,        KalAnalysisCreate_KoalaM       },
    {KALANALYSISGF,            KalAnalysisCreate_GF           },
    {KALANALYSISGPF,           KalAnalysisCreate_GPF          },
    {KALANALYSISENKF,          KalAnalysisCreate_EnKF         },
    {KALANALYSISETKF,          KalAnalysisCreate_ETKF         },
    {KALANALYSISESTKF,         KalAnalysisCreate_ESTKF        },
    {KALANALYSISDENKF,         KalAnalysisCreate_DEnKF        },
    {KALANALYSISENSRF,         KalAnalysisCreate_EnSRF        },
    {KALANALYSISENKFN,         KalAnalysisCreate_EnKFN        },
    {KALANALYSISIENKS,         KalAnalysisCreate_IEnKS        },
    {KALANALYSISESMDA,         KalAnalysisCreate_ESMDA        },
    {KALANALYSISCLIMATOLOGY,   KalAnalysisCreate_Climatology  },
    {KALANALYSISOI,            KalAnalysisCreate_OI           },
    {KALANALYSIS3DVAR,         KalAnalysisCreate_3DVar        },
    {KALANALYSISEXTKF,         KalAnalysisCreate_ExtKF        },
    {KALANALYSISLETKF,         KalAnalysisCreate_LETKF        },
    {KALANALYSISTEKI,          KalAnalysisCreate_TEKI         },
    {KALANALYSISIEKSSL,        KalAnalysisCreate_IEKSSL       },
    {KALANALYSISGNKI,          KalAnalysisCreate_IEKSSL       },
    {KALANALYSISEKISL,         KalAnalysisCreate_EKISL        },
    {KALANALYSISTEKISL,        KalAnalysisCreate_TEKISL       },
    {KALANALYSISUKI,           KalAnalysisCreate_UKI          },
    {KALANALYSISUKF,           KalAnalysisCreate_UKF          },
    {KALANALYSISEKS,           KalAnalysisCreate_EKS          },
    {KALANALYSISALDI,          KalAnalysisCreate_ALDI         },
    {KALANALYSISENGPS,         KalAnalysisCreate_EnGPS        },
    {KALANALYSISENRML,         KalAnalysisCreate_EnRML        },
    {KALANALYSISCBO,           KalAnalysisCreate_CBO          },
    {KALANALYSISYEGENOGLU,     KalAnalysisCreate_Yegenoglu    },
    {KALANALYSISOTENKF,        KalAnalysisCreate_OTEnKF       },
    {KALANALYSISVENKF,         KalAnalysisCreate_VEnKF        },
    {KALANALYSISANNEALING,     KalAnalysisCreate_Annealing    },
    {KALANALYSISANNEALINGENKS, KalAnalysisCreate_AnnealingEnKS},
};

/*@
   KalAnalysisRegister - Adds a method to the table of types

   Not Collective

   Input Parameters:
+  name - its name, as -analysis_type takes it
-  create - fills in the operations and data of a new analysis
@*/
PetscErrorCode KalAnalysisRegister(const char *name, PetscErrorCode (*create)(KalAnalysis))
{
  PetscFunctionBeginUser;
  PetscCall(PetscFunctionListAdd(&types, name, create));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ForgetTypes(void)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFunctionListDestroy(&types));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode RegisterAll(void)
{
  static PetscBool hooked = PETSC_FALSE;
  size_t           i;

  PetscFunctionBeginUser;
  if (!hooked) PetscCall(PetscRegisterFinalize(ForgetTypes));
  hooked = PETSC_TRUE;
  for (i = 0; i < PETSC_STATIC_ARRAY_LENGTH(table); i++) PetscCall(KalAnalysisRegister(table[i].name, table[i].create));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisCreate - Makes an analysis without a type

   Collective

   Input Parameter:
.  comm - the communicator, that of the ensemble

   Output Parameter:
.  analysis - the analysis
@*/
PetscErrorCode KalAnalysisCreate(MPI_Comm comm, KalAnalysis *analysis)
{
  KalAnalysis a;

  PetscFunctionBeginUser;
  if (!types) PetscCall(RegisterAll());
  PetscCall(PetscNew(&a));
  PetscCallMPI(MPI_Comm_dup(comm, &a->comm));
  PetscCallMPI(MPI_Comm_rank(a->comm, &a->rank));
  PetscCallMPI(MPI_Comm_size(a->comm, &a->size));
  a->perepoch = 1;
  a->report   = (KalAnalysisReport){.innovation = NAN, .dfs = NAN, .effective = NAN, .inflation = NAN};
  *analysis   = a;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetType - Chooses the method

   Collective

   Input Parameters:
+  analysis - the analysis, without a type yet
-  type - name of the method

   Options Database Key:
.  -analysis_type <type> - eki, etki, haber, or a registered one
@*/
PetscErrorCode KalAnalysisSetType(KalAnalysis analysis, KalAnalysisType type)
{
  KalCreate create;
  char      names[512] = "";
  size_t    i;

  PetscFunctionBeginUser;
  PetscCall(PetscFunctionListFind(types, type, &create));
  for (i = 0; i < PETSC_STATIC_ARRAY_LENGTH(table); i++) {
    PetscCall(PetscStrlcat(names, i ? ", " : "", sizeof names));
    PetscCall(PetscStrlcat(names, table[i].name, sizeof names));
  }
  PetscCheck(create, analysis->comm, PETSC_ERR_ARG_UNKNOWN_TYPE, "Unknown -analysis_type \"%s\"; known are %s and those registered with KalAnalysisRegister()", type, names);
  PetscCheck(!analysis->type[0], analysis->comm, PETSC_ERR_ORDER, "The analysis has the type %s already", analysis->type);
  PetscCall(PetscStrncpy(analysis->type, type, sizeof analysis->type));
  PetscCall(create(analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetType - Gets the method's name

   Not Collective

   Input Parameter:
.  analysis - the analysis

   Output Parameter:
.  type - its name
@*/
PetscErrorCode KalAnalysisGetType(KalAnalysis analysis, KalAnalysisType *type)
{
  PetscFunctionBeginUser;
  *type = analysis->type;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetSizes - Tells the sizes of the ensemble

   Logically Collective

   Input Parameters:
+  analysis - the analysis
.  n - numbers in a member
-  N - members
@*/
PetscErrorCode KalAnalysisSetSizes(KalAnalysis analysis, PetscInt n, PetscInt N)
{
  PetscFunctionBeginUser;
  analysis->n = n;
  analysis->N = N;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetSeed - Sets the seed of the method's draws

   Logically Collective

   Input Parameters:
+  analysis - the analysis
-  seed - the seed, not negative
@*/
PetscErrorCode KalAnalysisSetSeed(KalAnalysis analysis, PetscInt seed)
{
  PetscFunctionBeginUser;
  PetscCheck(seed >= 0, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "The seed is %" PetscInt_FMT "; it must not be negative", seed);
  analysis->seed = seed;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetEpoch - Tells how many cycles an epoch has

   Logically Collective

   Input Parameters:
+  analysis - the analysis
-  cycles - mini-batches in an epoch, at least 1
@*/
PetscErrorCode KalAnalysisSetEpoch(KalAnalysis analysis, PetscInt cycles)
{
  PetscFunctionBeginUser;
  PetscCheck(cycles >= 1, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "An epoch of %" PetscInt_FMT " cycles was given; at least 1 is needed", cycles);
  analysis->perepoch = cycles;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetPrior - Gives the prior standard deviation of each state entry, for redraws and perturbations

   Logically Collective

   Input Parameters:
+  analysis - the analysis
-  deviation - n numbers, the same on every rank; borrowed
@*/
PetscErrorCode KalAnalysisSetPrior(KalAnalysis analysis, const PetscReal *deviation)
{
  PetscFunctionBeginUser;
  analysis->prior = deviation;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetPriorMean - Gives the prior mean of each state entry, to a method whose needs ask for it

   Logically Collective

   Input Parameters:
+  analysis - the analysis, with its sizes
-  mean - n numbers, the same on every rank; copied

   Note:
   Where it is not given, such a method takes the mean of the first members.
@*/
PetscErrorCode KalAnalysisSetPriorMean(KalAnalysis analysis, const PetscScalar *mean)
{
  PetscFunctionBeginUser;
  if (!analysis->priormean) PetscCall(PetscMalloc1(analysis->n, &analysis->priormean));
  PetscCall(PetscArraycpy(analysis->priormean, mean, analysis->n));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetEnsemble - Gives the ensemble that the method works on

   Collective

   Input Parameters:
+  analysis - the analysis
.  ensemble - the ensemble; borrowed
.  copies - as many as KalNeeds says
-  copy - duplicates of the ensemble that the method keeps its own things in; borrowed
@*/
PetscErrorCode KalAnalysisSetEnsemble(KalAnalysis analysis, KalEnsemble ensemble, PetscInt copies, KalEnsemble copy[])
{
  PetscInt i;

  PetscFunctionBeginUser;
  PetscCheck(copies == analysis->needs.copies, analysis->comm, PETSC_ERR_ARG_SIZ, "%s needs %" PetscInt_FMT " copies of the ensemble, not %" PetscInt_FMT, analysis->type, analysis->needs.copies, copies);
  analysis->ensemble = ensemble;
  analysis->copies   = copies;
  for (i = 0; i < copies; i++) analysis->copy[i] = copy[i];
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetDomain - Tells where the state's entries are, for localization

   Logically Collective

   Input Parameters:
+  analysis - the analysis
.  domain - dimension and periods
.  locate - gives coordinates and kinds of state entries, without communication; NULL: there are none
-  ctx - its context; borrowed
@*/
PetscErrorCode KalAnalysisSetDomain(KalAnalysis analysis, const KalDomain *domain, KalLocate locate, void *ctx)
{
  PetscFunctionBeginUser;
  analysis->domain    = *domain;
  analysis->locate    = locate;
  analysis->locatectx = ctx;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetLayers - Gives the layers of the network whose parameters the members are, before KalAnalysisSetUp()

   Logically Collective

   Input Parameters:
+  analysis - the analysis
-  layers - sizes, and how states go through them; what it points to is borrowed
@*/
PetscErrorCode KalAnalysisSetLayers(KalAnalysis analysis, const KalLayers *layers)
{
  PetscFunctionBeginUser;
  analysis->layers = *layers;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetResiduals - Gives the residuals of a model whose state is a path, before KalAnalysisSetUp()

   Logically Collective

   Input Parameters:
+  analysis - the analysis
-  residuals - how many there are, they themselves, their transposed derivative; what the context points to is borrowed

.seealso: KalModelResiduals()
@*/
PetscErrorCode KalAnalysisSetResiduals(KalAnalysis analysis, const KalResiduals *residuals)
{
  PetscFunctionBeginUser;
  analysis->residuals = *residuals;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetFiltered - The members at the time of the last observations, after their analysis

   Not Collective

   Input Parameter:
.  analysis - the analysis

   Output Parameter:
.  ensemble - the ensemble; of a smoother with a longer window, one that it keeps beside it
@*/
PetscErrorCode KalAnalysisGetFiltered(KalAnalysis analysis, KalEnsemble *ensemble)
{
  PetscFunctionBeginUser;
  *ensemble = analysis->filtered ? analysis->filtered : analysis->ensemble;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetMean - Gives the mean that a method with a generated ensemble updates

   Logically Collective

   Input Parameters:
+  analysis - the analysis
-  mean - n numbers, the same on every rank; borrowed, written in KalAnalysisUpdate()
@*/
PetscErrorCode KalAnalysisSetMean(KalAnalysis analysis, PetscScalar *mean)
{
  PetscFunctionBeginUser;
  analysis->mean = mean;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetFromOptions - Sets an analysis from the options database

   Collective

   Input Parameter:
.  analysis - the analysis

   Options Database Keys:
+  -analysis_type <eki> - the method
.  -analysis_space <auto> - where its linear system is solved: ensemble (N x N), observation (p x p), matrix-free; auto: the smaller of the first two
-  -analysis_schedule_cycles <0> - cycles over which schedules of step and spread run; of a method that has them

   Note:
   The linear system of the methods that form one (share/doc/options.md has their names) is a KSP with the prefix analysis_ : -analysis_ksp_type, -analysis_pc_type and
   so on. The others take an eigen-decomposition, and none of these options. climatology and methods from outside the library have no space.

.seealso: KalAnalysisGetKSP()
@*/
PetscErrorCode KalAnalysisSetFromOptions(KalAnalysis analysis)
{
  char      type[64];
  PetscEnum space = (PetscEnum)analysis->space;

  PetscFunctionBeginUser;
  PetscCall(PetscStrncpy(type, analysis->type[0] ? analysis->type : KALANALYSISEKI, sizeof type));
  PetscOptionsBegin(analysis->comm, NULL, "Analysis", "KalAnalysis");
  PetscCall(PetscOptionsFList("-analysis_type", "Method", "KalAnalysisSetType", types, type, type, sizeof type, NULL));
  if (!analysis->type[0]) PetscCall(KalAnalysisSetType(analysis, type));
  if (analysis->takes & KAL_TAKES_SPACE) PetscCall(PetscOptionsEnum("-analysis_space", "Space of the linear system", "KalAnalysisSetFromOptions", KalSpaces, space, &space, NULL));
  if (analysis->takes & KAL_TAKES_SCHEDULE) PetscCall(PetscOptionsBoundedInt("-analysis_schedule_cycles", "Cycles over which schedules of step and spread run", "KalAnalysisSetFromOptions", analysis->horizon, &analysis->horizon, NULL, 0));
  analysis->space = (KalSpace)space;
  if (analysis->ops.setfromoptions) PetscCall(analysis->ops.setfromoptions(analysis, PetscOptionsObject));
  PetscOptionsEnd();
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisSetUp - Makes an analysis ready; its needs are known afterwards

   Collective

   Input Parameter:
.  analysis - the analysis, with a type and sizes
@*/
PetscErrorCode KalAnalysisSetUp(KalAnalysis analysis)
{
  PetscFunctionBeginUser;
  if (analysis->setup) PetscFunctionReturn(PETSC_SUCCESS);
  PetscCheck(analysis->type[0], analysis->comm, PETSC_ERR_ORDER, "The analysis has no type: use -analysis_type or KalAnalysisSetType()");
  PetscCall(analysis->ops.setup(analysis));
  PetscCheck(analysis->N >= analysis->needs.least, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "-ensemble_size %" PetscInt_FMT " is too small: %s needs at least %" PetscInt_FMT " members", analysis->N, analysis->type, analysis->needs.least);
  PetscCall(KalSolverSetUp(analysis));
  analysis->setup = PETSC_TRUE;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetNeeds - Gets what the method asks of the run

   Not Collective

   Input Parameter:
.  analysis - the analysis, set up

   Output Parameter:
.  needs - least size, copies, vectors and so on
@*/
PetscErrorCode KalAnalysisGetNeeds(KalAnalysis analysis, KalNeeds *needs)
{
  PetscFunctionBeginUser;
  *needs = analysis->needs;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisGetKSP - Gets the solver of the method's linear system

   Not Collective

   Input Parameter:
.  analysis - the analysis, set up

   Output Parameter:
.  ksp - the solver, which every rank runs on its own; NULL of a method that solves no linear system
@*/
PetscErrorCode KalAnalysisGetKSP(KalAnalysis analysis, KSP *ksp)
{
  PetscFunctionBeginUser;
  *ksp = analysis->ksp;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisCheck - Refuses observations that the method cannot work with, before any cycle

   Collective

   Input Parameters:
+  analysis - the analysis, set up
-  observations - the observations of the run
@*/
PetscErrorCode KalAnalysisCheck(KalAnalysis analysis, KalObservations observations)
{
  PetscInt samples, outputs;
  KalSpace space;

  PetscFunctionBeginUser;
  PetscCall(KalObservationsGetCycle(observations, &samples, NULL));
  PetscCall(KalObservationsGetSizes(observations, KAL_SET_TRAIN, NULL, NULL, &outputs));
  PetscCheck((PetscInt64)samples * outputs <= PETSC_MAX_INT, analysis->comm, PETSC_ERR_ARG_OUTOFRANGE, "A batch of %" PetscInt_FMT " samples of %" PetscInt_FMT " outputs has too many observations; choose a smaller -observations_batch", samples, outputs);
  PetscCall(KalInnovationSpace(analysis, analysis->N, samples * outputs, &space));
  if (analysis->ops.check) PetscCall(analysis->ops.check(analysis, observations));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisView - Prints what an analysis will do

   Collective

   Input Parameters:
+  analysis - the analysis
-  viewer - an ASCII viewer
@*/
PetscErrorCode KalAnalysisView(KalAnalysis analysis, PetscViewer viewer)
{
  PetscFunctionBeginUser;
  PetscCall(PetscViewerASCIIPrintf(viewer, "analysis: %s", analysis->type));
  if (analysis->takes & KAL_TAKES_SPACE) PetscCall(PetscViewerASCIIPrintf(viewer, ", linear system in %s space", KalSpaces[analysis->space]));
  PetscCall(PetscViewerASCIIPrintf(viewer, "\n"));
  if (!analysis->uniform && analysis->setup) PetscCall(PetscViewerASCIIPrintf(viewer, "  ranks run different BLAS kernels: rank 0 solves and sends; other rank counts may give other bits\n"));
  if (analysis->ops.view) PetscCall(analysis->ops.view(analysis, viewer));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAnalysisDestroy - Frees an analysis and nulls the pointer

   Collective

   Input Parameter:
.  analysis - the analysis; NULL is left alone
@*/
PetscErrorCode KalAnalysisDestroy(KalAnalysis *analysis)
{
  PetscFunctionBeginUser;
  if (!*analysis) PetscFunctionReturn(PETSC_SUCCESS);
  if ((*analysis)->ops.destroy) PetscCall((*analysis)->ops.destroy(*analysis));
  PetscCall(KSPDestroy(&(*analysis)->ksp));
  PetscCall(KalSolverReset(*analysis));
  PetscCall(PetscFree((*analysis)->priormean));
  PetscCall(KalTransformDestroy(&(*analysis)->transform));
  PetscCallMPI(MPI_Comm_free(&(*analysis)->comm));
  PetscCall(PetscFree(*analysis));
  PetscFunctionReturn(PETSC_SUCCESS);
}
