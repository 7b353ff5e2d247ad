/*
  Advice: what stands in the way of speed on the machine at hand, and the remedy. Each rank looks at its BLAS, the ranks of a node
  count together what they ask of its cores; of the ranks that have something to say the first is heard.
*/
#define _GNU_SOURCE
#include "runimpl.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define KAL_PROCESSORS 8192 /* of a node that are told apart: as many as Linux can be built for */
#define KAL_ADVICE     1024 /* characters of one piece of advice */

/* The library that dgemm comes from. */
typedef struct {
  void *library;                  /* NULL: it cannot be asked */
  char  file[PETSC_MAX_PATH_LEN]; /* its links resolved */
  char  core[64];                 /* OpenBLAS's name of its kernels; empty for any other */
} KalBLAS;

/* A function of that very library, or of one that it is linked to. */
typedef union {
  void *object;
  int (*number)(void);
  char *(*text)(void);
  void (*gemm)(void);
} KalSymbol;

/* Kernels by the vectors they use. */
typedef enum {
  KAL_VECTORS_SHORT,
  KAL_VECTORS_AVX2,
  KAL_VECTORS_AVX512,
} KalVectors;

typedef struct {
  int ranks, threads, cores; /* threads: of the BLAS, of all ranks; cores: that these may run on */
} KalNode;

static KalSymbol Look(const KalBLAS *blas, const char *name)
{
  return (KalSymbol){.object = blas->library ? dlsym(blas->library, name) : NULL};
}

static PetscErrorCode FindBLAS(KalBLAS *blas)
{
  KalSymbol symbol = {.object = dlsym(RTLD_DEFAULT, "dgemm_")};
  Dl_info   info;
  char     *real;

  PetscFunctionBeginUser;
  PetscCall(PetscMemzero(blas, sizeof *blas));
  if (!symbol.object || !dladdr(symbol.object, &info) || !info.dli_fname) PetscFunctionReturn(PETSC_SUCCESS);
  real = realpath(info.dli_fname, NULL);
  PetscCall(PetscStrncpy(blas->file, real ? real : info.dli_fname, sizeof blas->file));
  free(real);
  blas->library = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
  symbol        = Look(blas, "openblas_get_corename");
  if (symbol.object) PetscCall(PetscStrncpy(blas->core, symbol.text(), sizeof blas->core));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  Netlib's own build is libblas.so.3.11.0 or the like, on Debian in a folder blas. OpenBLAS and ATLAS, which may go by that name, are known
  by their symbols; BLIS, whose symbols are hidden, is not versioned so.
*/
static PetscBool IsReference(const KalBLAS *blas)
{
  static const char *const others[] = {"openblas_get_config", "bli_init", "MKL_Get_Version", "ATL_buildinfo", "flexiblas_avail"};
  const char              *name     = strrchr(blas->file, '/');

  if (!name || strncmp(name, "/libblas.so.3", 13)) return PETSC_FALSE;
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(others); k++) {
    if (Look(blas, others[k]).object) return PETSC_FALSE;
  }
  return (PetscBool)(name[13] == '.' || strstr(blas->file, "/blas/libblas.so.3"));
}

/* Threads that a call of the BLAS runs on: as it says itself, or as a BLAS that uses OpenMP is told. */
static int Threads(const KalBLAS *blas)
{
  static const char *const asked[] = {"openblas_get_num_threads", "MKL_Get_Max_Threads"};
  const char              *told    = getenv("OMP_NUM_THREADS");

  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(asked); k++) {
    KalSymbol symbol = Look(blas, asked[k]);

    if (symbol.object) return PetscMax(1, symbol.number());
  }
  return told && Look(blas, "omp_get_max_threads").object ? PetscMax(1, atoi(told)) : 1;
}

static KalVectors OfProcessor(void)
{
#if defined(__GNUC__) && defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) return KAL_VECTORS_AVX512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return KAL_VECTORS_AVX2;
#endif
  return KAL_VECTORS_SHORT;
}

/* Of OpenBLAS's kernels for x86; those of a name that is not known here are taken for the newest. */
static KalVectors OfKernels(const char *core)
{
  static const char *const avx2[] = {"Haswell", "Zen"};
  static const char *const old[]  = {"Prescott", "Core2", "Penryn", "Dunnington", "Nehalem", "Sandybridge", "Atom", "Nano", "Katmai", "Coppermine", "Northwood", "Banias", "Athlon", "Opteron", "Opteron_SSE3", "Barcelona", "Bobcat", "Bulldozer", "Piledriver", "Steamroller", "Excavator", "Generic", "Unknown"};

  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(avx2); k++) {
    if (!strcasecmp(core, avx2[k])) return KAL_VECTORS_AVX2;
  }
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(old); k++) {
    if (!strcasecmp(core, old[k])) return KAL_VECTORS_SHORT;
  }
  return KAL_VECTORS_AVX512;
}

/* Marks the processors that this rank may run on. */
static void MarkProcessors(size_t size, cpu_set_t *set)
{
  memset(set, 0, size);
  if (sched_getaffinity(0, size, set)) memset(set, 0, size);
}

/* Cores that the control group of this process and those above it grant (version 2; 0 quota: no limit). */
static PetscReal Granted(void)
{
  char   line[PETSC_MAX_PATH_LEN], file[2 * PETSC_MAX_PATH_LEN], *end;
  double quota, period, least = PETSC_MAX_REAL;
  FILE  *f = fopen("/proc/self/cgroup", "r");

  line[0] = '\0';
  while (f && fgets(line, sizeof line, f) && strncmp(line, "0::", 3)) line[0] = '\0';
  if (f) (void)fclose(f);
  line[strcspn(line, "\n")] = '\0';
  while (!strncmp(line, "0::", 3)) {
    (void)snprintf(file, sizeof file, "/sys/fs/cgroup%s/cpu.max", line + 3);
    f = fopen(file, "r");
    if (f && fscanf(f, "%lf %lf", &quota, &period) == 2 && quota > 0.0 && period > 0.0) least = PetscMin(least, quota / period);
    if (f) (void)fclose(f);
    end = strrchr(line + 3, '/');
    if (!end) break;
    *end = '\0';
  }
  return least;
}

/* What the ranks of this rank's node ask of it, and what it has for them: they may be bound to different cores. */
static PetscErrorCode CountNode(MPI_Comm comm, const KalBLAS *blas, KalNode *node)
{
  union {
    cpu_set_t     set;
    unsigned char byte[KAL_PROCESSORS / 8];
  } mask;
  PetscReal granted = Granted();
  MPI_Comm  neighbours;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &neighbours));
  MarkProcessors(sizeof mask, &mask.set);
  node->threads = Threads(blas);
  PetscCallMPI(MPI_Comm_size(neighbours, &node->ranks));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &node->threads, 1, MPI_INT, MPI_SUM, neighbours));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, mask.byte, (int)sizeof mask, MPI_BYTE, MPI_BOR, neighbours));
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &granted, 1, MPI_DOUBLE, MPI_MAX, neighbours));
  PetscCallMPI(MPI_Comm_free(&neighbours));
  node->cores = CPU_COUNT_S(sizeof mask, &mask.set);
  if (!node->cores) node->cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
  if (granted < (PetscReal)node->cores) node->cores = (int)PetscCeilReal(granted);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Prints what the first rank that has something to say says. */
static PetscErrorCode Tell(MPI_Comm comm, const char *mine)
{
  PetscMPIInt rank, size, first;
  char        text[KAL_ADVICE] = "";

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  first = mine[0] ? rank : size;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, comm));
  if (first == size) PetscFunctionReturn(PETSC_SUCCESS);
  if (first == rank) PetscCall(PetscStrncpy(text, mine, sizeof text));
  PetscCallMPI(MPI_Bcast(text, (int)sizeof text, MPI_CHAR, first, comm));
  PetscCall(PetscPrintf(comm, "advice: %s\n", text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TellReference(MPI_Comm comm, const KalBLAS *blas)
{
  char text[KAL_ADVICE] = "";

  PetscFunctionBeginUser;
  if (IsReference(blas)) PetscCall(PetscSNPrintf(text, sizeof text, "the BLAS that is loaded, %s, is the slow reference one, about a tenth as fast as others: install libopenblas0-serial (Debian), or load a module with OpenBLAS", blas->file));
  PetscCall(Tell(comm, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Ranks alone may outnumber the cores on purpose, as in a test: `threads` is to look at those of the BLAS alone. */
static PetscErrorCode TellCores(MPI_Comm comm, const KalBLAS *blas, PetscBool threads)
{
  char        text[KAL_ADVICE] = "", cores[MPI_MAX_PROCESSOR_NAME + 64], name[MPI_MAX_PROCESSOR_NAME + 2] = " ";
  PetscMPIInt size;
  KalNode     node;
  int         length;

  PetscFunctionBeginUser;
  PetscCall(CountNode(comm, blas, &node));
  PetscCallMPI(MPI_Comm_size(comm, &size));
  if (size > node.ranks) PetscCallMPI(MPI_Get_processor_name(name + 1, &length));
  PetscCall(PetscSNPrintf(cores, sizeof cores, "%d core%s of the node%s", node.cores, node.cores > 1 ? "s" : "", name[1] ? name : ""));
  if (node.threads > node.cores && node.threads > node.ranks) {
    PetscCall(PetscSNPrintf(text, sizeof text, "%d rank%s with %d BLAS threads in all have %s: export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1", node.ranks, node.ranks > 1 ? "s" : "", node.threads, cores));
    if (node.ranks > node.cores) PetscCall(PetscStrlcat(text, ", and run no more ranks on a node than cores", sizeof text));
  } else if (node.ranks > node.cores && !threads) {
    PetscCall(PetscSNPrintf(text, sizeof text, "%d ranks have %s and take turns: run no more ranks on a node than cores, and bind them, if at all, to different ones", node.ranks, cores));
  }
  PetscCall(Tell(comm, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  A kernel set is advised that every rank's processor has. How much slower older ones are was measured with OpenBLAS 0.3.21: products of 384
  rows on a processor with AVX-512 at 53 GF/s by SkylakeX, 35 by Haswell, 20 by Sandybridge, 9 by Prescott.
*/
static PetscErrorCode TellKernels(MPI_Comm comm, const KalBLAS *blas)
{
  const KalVectors runs             = OfKernels(blas->core);
  KalSymbol        config           = Look(blas, "openblas_get_config");
  char             text[KAL_ADVICE] = "";
  int              has              = OfProcessor();

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Allreduce(MPI_IN_PLACE, &has, 1, MPI_INT, MPI_MIN, comm));
  if (blas->core[0] && (int)runs < has) {
    const PetscBool wide  = (PetscBool)(has == KAL_VECTORS_AVX512);
    const char     *speed = !wide ? "0.6 or less" : runs == KAL_VECTORS_AVX2 ? "about 0.6"
                                                                             : "less than half";

    PetscCall(PetscSNPrintf(text, sizeof text, "OpenBLAS runs its %s kernels on a processor with %s, at %s of the speed: ", blas->core, wide ? "AVX-512" : "AVX2", speed));
    if (!config.object || !strstr(config.text(), "DYNAMIC_ARCH")) PetscCall(PetscStrlcat(text, "load one that was built for this processor, or with DYNAMIC_ARCH", sizeof text));
    else {
      PetscCall(PetscStrlcat(text, wide ? "export OPENBLAS_CORETYPE=SKYLAKEX" : "export OPENBLAS_CORETYPE=HASWELL", sizeof text));
      PetscCall(PetscStrlcat(text, " (`. jobs/setup.sh` does, where it is not set)", sizeof text));
    }
  }
  PetscCall(Tell(comm, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode TellDifference(MPI_Comm comm)
{
  char        text[KAL_ADVICE] = "", mine[256] = "", first[256] = "";
  PetscMPIInt rank;
  PetscBool   same;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Comm_rank(comm, &rank));
  PetscCall(KalGetKernels(sizeof mine, mine));
  if (rank == 0) PetscCall(PetscStrncpy(first, mine, sizeof first));
  PetscCallMPI(MPI_Bcast(first, (int)sizeof first, MPI_CHAR, 0, comm));
  PetscCall(PetscStrcmp(mine, first, &same));
  if (!same) PetscCall(PetscSNPrintf(text, sizeof text, "ranks run different BLAS kernels, rank 0 %s and rank %d %s, so that rank 0 solves alone and the number of ranks may change the bits: load the same BLAS everywhere, and export one OPENBLAS_CORETYPE to all ranks (mpiexec -x OPENBLAS_CORETYPE)", first, rank, mine));
  PetscCall(Tell(comm, text));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode Advise(MPI_Comm comm, PetscBool all)
{
  KalBLAS blas;

  PetscFunctionBeginUser;
  PetscCall(FindBLAS(&blas));
  PetscCall(TellReference(comm, &blas));
  PetscCall(TellCores(comm, &blas, (PetscBool)!all));
  if (all) {
    PetscCall(TellKernels(comm, &blas));
    PetscCall(TellDifference(comm));
  }
  if (blas.library) (void)dlclose(blas.library);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalAdvise - Prints what makes this machine slower than it need be, with the remedy, a line `advice: ...` each; nothing where all is well

   Collective

   Input Parameter:
.  comm - the ranks that will compute

   Notes:
   What is looked for:
+  the BLAS - the reference one, about a tenth as fast as others. It is known by its file and by what it lacks, not by its name: a libblas.so.3
              may be any
.  cores - BLAS threads of all ranks on a node, or the ranks themselves, are more than the cores that these ranks may run on: those of their
           affinity masks together, and no more than their control group grants (cpu.max). OpenBLAS and MKL are asked how many threads they
           use; another BLAS that is linked to OpenMP takes OMP_NUM_THREADS
.  kernels - OpenBLAS's are for a processor older than this one, as those it falls back to where it does not know the processor: on one with
             AVX-512 any before SkylakeX, on one with AVX2 and FMA any before Haswell
-  difference - ranks run different kernels

   Of several ranks or nodes with the same trouble the first is named. kalmia -run_dry prints all of it; an ordinary run, whose header begins
   with the BLAS and its kernels, the reference BLAS and too many threads alone.

.seealso: KalGetKernels()
@*/
PetscErrorCode KalAdvise(MPI_Comm comm)
{
  PetscFunctionBeginUser;
  PetscCall(Advise(comm, PETSC_TRUE));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalAdviseLoudly - Of the advice, what no run should be without: the reference BLAS, and BLAS threads that outnumber the cores

  Collective
*/
PetscErrorCode KalAdviseLoudly(MPI_Comm comm)
{
  PetscFunctionBeginUser;
  PetscCall(Advise(comm, PETSC_FALSE));
  PetscFunctionReturn(PETSC_SUCCESS);
}
