/* Networks: forward passes, the Gram product of their predictions, whole cycles. */
#include <bench/benchimpl.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NETWORKS 3
#define GRAMS    2

/* The network of the options, or the one given, with the sizes of the options where they are set. */
static void Choose(KalBench bench, PetscInt layers, const PetscInt width[], PetscInt members, KalBenchNet *net)
{
  net->layers = bench->layers ? bench->layers : layers;
  for (PetscInt l = 0; l <= net->layers; l++) net->width[l] = bench->layers ? bench->width[l] : width[l];
  net->members = bench->members ? bench->members : members;
  net->batch   = bench->batch ? bench->batch : 512;
}

static PetscReal NetSize(const KalBenchNet *net)
{
  PetscReal n = 0.0;

  for (PetscInt l = 0; l < net->layers; l++) n += (PetscReal)(net->width[l] + 1) * net->width[l + 1];
  return n;
}

static PetscReal NetFlops(const KalBenchNet *net)
{
  PetscReal products = 0.0;

  for (PetscInt l = 0; l < net->layers; l++) products += (PetscReal)net->width[l] * net->width[l + 1];
  return 2.0 * products * net->members * net->batch;
}

/* The options of a run with a network, and what a row says of its sizes. */
static PetscErrorCode NetOptions(KalBench bench, const KalBenchNet *net, size_t length, char *options, char *label)
{
  char widths[512] = "", one[16];

  PetscFunctionBeginUser;
  label[0] = '\0';
  for (PetscInt l = 0; l <= net->layers; l++) {
    PetscCall(PetscSNPrintf(one, sizeof one, "%s%" PetscInt_FMT, l ? "," : "", net->width[l]));
    PetscCall(PetscStrlcat(widths, one, sizeof widths));
    if (l) one[0] = '-';
    PetscCall(PetscStrlcat(label, one, KAL_BENCH_TEXT));
  }
  PetscCall(PetscSNPrintf(widths + sizeof widths - 64, 64, " N=%" PetscInt_FMT " batch=%" PetscInt_FMT, net->members, net->batch));
  PetscCall(PetscStrlcat(label, widths + sizeof widths - 64, KAL_BENCH_TEXT));
  PetscCall(PetscSNPrintf(options, length, "-observations_path %s -observations_batch %" PetscInt_FMT " -mlp_layers %s -ensemble_size %" PetscInt_FMT " -run_evaluate_ensemble 0 -run_monitor_every 0 -run_cycles 1000000", bench->data, net->batch, widths, net->members));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  KalBenchStart - Makes a run with a network, its samples and more options

  Collective.
*/
PetscErrorCode KalBenchStart(KalBench bench, const KalBenchNet *net, PetscBool alone, const char *more, KalStepped *stepped, char *label)
{
  char options[4096], *comma;

  PetscFunctionBeginUser;
  PetscCall(KalBenchData(bench, net));
  PetscCall(NetOptions(bench, net, sizeof options, options, label));
  PetscCall(PetscStrlcat(options, more, sizeof options));
  PetscCall(KalSteppedCreate(bench, alone, options, stepped));
  PetscCallMPI(MPI_Barrier(bench->comm));
  if (!bench->rank) { /* they were read */
    comma  = strchr(bench->data, ',');
    *comma = '\0';
    (void)unlink(bench->data);
    (void)unlink(comma + 1);
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* Seconds that the machine would take for an amount of work. */
static PetscReal Seconds(KalBench bench, KalRate rate, PetscReal work)
{
  return work / bench->rate[rate];
}

/* ---- forward passes ---- */

typedef struct {
  KalBenchNet net[NETWORKS];
  KalStepped  stepped[NETWORKS];
  char        label[NETWORKS][KAL_BENCH_TEXT];
  PetscReal   least[NETWORKS];
  PetscInt    count;
} Forward;

static PetscErrorCode ForwardCreate(KalBench bench, void **group)
{
  static const PetscInt width[NETWORKS][4] = {
      {784,  100, 10},
      {   784,  32,  10  },
      { 784, 256,  128,   10},
  };
  static const PetscReal least[NETWORKS] = {0.75, 0.60, 0.0};
  Forward               *forward;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&forward));
  forward->count = bench->layers ? 1 : NETWORKS;
  for (PetscInt i = 0; i < forward->count; i++) {
    Choose(bench, i == 2 ? 3 : 2, width[i], 512, &forward->net[i]);
    forward->least[i] = bench->layers || bench->members || bench->batch ? 0.0 : least[i];
    PetscCall(KalBenchStart(bench, &forward->net[i], PETSC_FALSE, " -analysis_type haber -model_precision single", &forward->stepped[i], forward->label[i]));
  }
  *group = forward;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ForwardMeasure(KalBench bench, void *group)
{
  Forward *forward = (Forward *)group;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < forward->count; i++) {
    const PetscReal flops = NetFlops(&forward->net[i]);
    KalBenchRow     row   = {.name = "forward", .unit = "GF", .work = flops * 1e-9, .least = forward->least[i]};

    PetscCall(KalSteppedStep(bench, &forward->stepped[i]));
    PetscCall(PetscStrncpy(row.size, forward->label[i], sizeof row.size));
    PetscCall(KalBenchRecord(bench, &row, forward->stepped[i].seconds[KAL_EVENT_OBSERVE], Seconds(bench, KAL_RATE_SGEMM, flops)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode ForwardDestroy(KalBench bench, void **group)
{
  Forward *forward = (Forward *)*group;

  PetscFunctionBeginUser;
  (void)bench;
  for (PetscInt i = 0; i < forward->count; i++) PetscCall(KalSteppedDestroy(&forward->stepped[i]));
  PetscCall(PetscFree(*group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const KalBenchGroup KalBenchNetworks = {"forward", PETSC_TRUE, KAL_RATE_BIT(KAL_RATE_SGEMM), ForwardCreate, ForwardMeasure, ForwardDestroy};

/* ---- Gram product ---- */

typedef struct {
  KalBenchNet net[GRAMS];
  KalStepped  stepped[GRAMS];
  PetscInt    count;
} Gram;

static PetscErrorCode GramCreate(KalBench bench, void **group)
{
  static const PetscInt members[GRAMS] = {256, 1024};
  Gram                 *gram;
  char                  label[KAL_BENCH_TEXT];

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&gram));
  gram->count = bench->members ? 1 : GRAMS;
  for (PetscInt i = 0; i < gram->count; i++) { /* a small network that predicts much */
    gram->net[i] = (KalBenchNet){
        .layers = 1, .width = {8, 10},
             .members = bench->members ? bench->members : members[i], .batch = PetscMax(1, (bench->observations ? bench->observations : 10000) / 10)
    };
    PetscCall(KalBenchStart(bench, &gram->net[i], PETSC_FALSE, " -analysis_type eki -observations_loss squared -analysis_space ensemble", &gram->stepped[i], label));
  }
  *group = gram;
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GramMeasure(KalBench bench, void *group)
{
  Gram *gram = (Gram *)group;

  PetscFunctionBeginUser;
  for (PetscInt i = 0; i < gram->count; i++) {
    const PetscReal  N = gram->net[i].members, p = 10.0 * gram->net[i].batch, flops = p * N * (N + 1.0), bytes = 8.0 * p * N;
    const PetscReal *seconds  = gram->stepped[i].seconds;
    KalBenchRow      product  = {.name = "gram", .unit = "GF", .work = flops * 1e-9, .least = bench->members || bench->observations ? 0.0 : 0.70};
    KalBenchRow      exchange = {.name = "gram exchange", .unit = "GB", .work = bytes * 1e-9};

    PetscCall(KalSteppedStep(bench, &gram->stepped[i]));
    PetscCall(PetscSNPrintf(product.size, sizeof product.size, "p=%.0f N=%.0f", (double)p, (double)N));
    PetscCall(PetscStrncpy(exchange.size, product.size, sizeof exchange.size));
    PetscCall(KalBenchRecord(bench, &product, seconds[KAL_EVENT_GRAM] + seconds[KAL_EVENT_SUM], Seconds(bench, KAL_RATE_DGEMM, flops)));
    PetscCall(KalBenchRecord(bench, &exchange, seconds[KAL_EVENT_WHITEN] + seconds[KAL_EVENT_EXCHANGE], Seconds(bench, KAL_RATE_COPY, bytes)));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode GramDestroy(KalBench bench, void **group)
{
  Gram *gram = (Gram *)*group;

  PetscFunctionBeginUser;
  (void)bench;
  for (PetscInt i = 0; i < gram->count; i++) PetscCall(KalSteppedDestroy(&gram->stepped[i]));
  PetscCall(PetscFree(*group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const KalBenchGroup KalBenchGram = {"gram", PETSC_TRUE, KAL_RATE_BIT(KAL_RATE_DGEMM) | KAL_RATE_BIT(KAL_RATE_COPY), GramCreate, GramMeasure, GramDestroy};

/* ---- whole cycles ---- */

typedef enum {
  EKI,
  EKI_SINGLE,
  HABER,
  METHODS,
} Method;

typedef struct {
  KalBenchNet net;
  KalStepped  all[METHODS], alone[METHODS];
  char        label[KAL_BENCH_TEXT];
} Cycle;

static const struct {
  const char *name, *options;
} methods[METHODS] = {
    {"eki",        " -analysis_type eki -model_precision single"                                     },
    {"eki single", " -analysis_type eki -model_precision single -analysis_transform_precision single"},
    {"haber",      " -analysis_type haber -model_precision single"                                   },
};

static PetscErrorCode CycleCreate(KalBench bench, void **group)
{
  static const PetscInt width[] = {784, 100, 10};
  Cycle                *cycle;

  PetscFunctionBeginUser;
  PetscCall(PetscNew(&cycle));
  Choose(bench, 2, width, 512, &cycle->net);
  for (int m = 0; m < METHODS; m++) {
    PetscCall(KalBenchStart(bench, &cycle->net, PETSC_FALSE, methods[m].options, &cycle->all[m], cycle->label));
    if (bench->size > 1) PetscCall(KalBenchStart(bench, &cycle->net, PETSC_TRUE, methods[m].options, &cycle->alone[m], cycle->label));
  }
  *group = cycle;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The sum of what the phases of a cycle would take: forward passes, exchange of predictions, Gram and cross products (of residuals
  that are not affine in the predictions, in eki), the solve on every rank; then the exchange out and back and the transform (eki),
  or the draws, once for the members and once for their combination (haber).
*/
static PetscReal Bound(KalBench bench, const KalBenchNet *net, Method method)
{
  const PetscReal N = net->members, n = NetSize(net), p = (PetscReal)net->batch * net->width[net->layers];
  const KalRate   gemm    = method == EKI_SINGLE ? KAL_RATE_SGEMM : KAL_RATE_DGEMM;
  PetscReal       seconds = Seconds(bench, KAL_RATE_SGEMM, NetFlops(net)) + Seconds(bench, KAL_RATE_COPY, 8.0 * p * N) + Seconds(bench, KAL_RATE_DGEMM, p * N * (N + 1.0));

  if (method == HABER) return seconds + Seconds(bench, KAL_RATE_DGEMM, N * N * N / 3.0) * bench->size + 2.0 * Seconds(bench, KAL_RATE_DRAW, N * n);
  seconds += Seconds(bench, KAL_RATE_DGEMM, 2.0 * p * N * N) + Seconds(bench, KAL_RATE_DGEMM, (1.0 / 3.0 + 2.0) * N * N * N) * bench->size;
  return seconds + 2.0 * Seconds(bench, KAL_RATE_COPY, 8.0 * n * N) + Seconds(bench, gemm, 2.0 * n * N * N);
}

/* The analysis of haber: its passes over the perturbations, which are drawn once for the members and once for their combination; and all of it. */
static PetscErrorCode HaberAnalysis(KalBench bench, const Cycle *cycle)
{
  const PetscReal *seconds = cycle->all[HABER].seconds, N = cycle->net.members, n = NetSize(&cycle->net), p = (PetscReal)cycle->net.batch * cycle->net.width[cycle->net.layers];
  KalBenchRow      row = {.name = "haber analysis"}, passes = {.name = "haber passes", .unit = "G", .work = 2.0 * N * n * 1e-9, .least = 0.70};
  const PetscReal  bound = Seconds(bench, KAL_RATE_COPY, 8.0 * p * N) + Seconds(bench, KAL_RATE_DGEMM, p * N * (N + 1.0)) + Seconds(bench, KAL_RATE_DGEMM, N * N * N / 3.0) * bench->size + Seconds(bench, KAL_RATE_DRAW, N * n);

  PetscFunctionBeginUser;
  PetscCall(PetscSNPrintf(row.size, sizeof row.size, "n=%.0f N=%.0f", (double)n, (double)N));
  PetscCall(PetscStrncpy(passes.size, row.size, sizeof passes.size));
  PetscCall(KalBenchRecord(bench, &passes, seconds[KAL_EVENT_DRAW], 2.0 * Seconds(bench, KAL_RATE_DRAW, N * n)));
  PetscCall(KalBenchRecord(bench, &row, seconds[KAL_EVENT_TELL] + seconds[KAL_EVENT_UPDATE], bound));
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CycleMeasure(KalBench bench, void *group)
{
  Cycle *cycle = (Cycle *)group;

  PetscFunctionBeginUser;
  for (int m = 0; m < METHODS; m++) {
    KalBenchRow row = {.least = m == EKI_SINGLE ? 0.0 : 1.0 / 1.4}, alone = {.least = m == EKI_SINGLE ? 0.0 : 0.90};

    PetscCall(KalSteppedStep(bench, &cycle->all[m]));
    PetscCall(PetscSNPrintf(row.name, sizeof row.name, "cycle %s", methods[m].name));
    PetscCall(PetscStrncpy(row.size, cycle->label, sizeof row.size));
    PetscCall(KalBenchRecord(bench, &row, cycle->all[m].step, Bound(bench, &cycle->net, (Method)m)));
    if (m == HABER) PetscCall(HaberAnalysis(bench, cycle));
    if (bench->size == 1) continue;
    PetscCall(KalSteppedStep(bench, &cycle->alone[m]));
    PetscCall(PetscSNPrintf(alone.name, sizeof alone.name, "efficiency %s", methods[m].name));
    PetscCall(PetscSNPrintf(alone.size, sizeof alone.size, "%d ranks against 1", bench->size));
    PetscCall(KalBenchRecord(bench, &alone, cycle->all[m].step, cycle->alone[m].step / bench->size));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static PetscErrorCode CycleDestroy(KalBench bench, void **group)
{
  Cycle *cycle = (Cycle *)*group;

  PetscFunctionBeginUser;
  for (int m = 0; m < METHODS; m++) {
    PetscCall(KalSteppedDestroy(&cycle->all[m]));
    if (bench->size > 1) PetscCall(KalSteppedDestroy(&cycle->alone[m]));
  }
  PetscCall(PetscFree(*group));
  PetscFunctionReturn(PETSC_SUCCESS);
}

const KalBenchGroup KalBenchCycle = {"cycle", PETSC_TRUE, KAL_RATE_BIT(KAL_RATE_SGEMM) | KAL_RATE_BIT(KAL_RATE_DGEMM) | KAL_RATE_BIT(KAL_RATE_COPY) | KAL_RATE_BIT(KAL_RATE_DRAW), CycleCreate, CycleMeasure, CycleDestroy};
