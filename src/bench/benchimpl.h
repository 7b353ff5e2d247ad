/* The inside of KalBench, for src/bench alone. */
#ifndef KALMIA_BENCHIMPL_H
#define KALMIA_BENCHIMPL_H

#include <kalmia/bench.h>

#include <ensemble/events.h>

/* What the machine can do, all ranks at once. */
typedef enum {
  KAL_RATE_DGEMM,    /* flops a second, 2048 x 2048 */
  KAL_RATE_SGEMM,    /* the same in single precision */
  KAL_RATE_COPY,     /* bytes copied a second, each read once and written once */
  KAL_RATE_ALLTOALL, /* bytes a second, what stays on its rank included */
  KAL_RATE_MESSAGES, /* messages of 8 bytes that a rank sends one after the other in a second: the inverse of the latency */
  KAL_RATE_DRAW,     /* normal numbers a second */
  KAL_RATE_WRITE,    /* bytes a second, flushed to the disk */
  KAL_RATE_READ,     /* bytes a second from the disk, none of them cached */
  KAL_RATES,
} KalRate;
#define KAL_RATE_BIT(rate) (1u << (rate))

#define KAL_BENCH_ROWS 96
#define KAL_BENCH_TEXT 96

/* One line of the table: what was measured in each repeat, beside what the machine allows. */
typedef struct {
  char        name[KAL_BENCH_TEXT], size[KAL_BENCH_TEXT];
  const char *unit;        /* of the work */
  PetscReal   work;        /* in this unit, over all ranks; 0: none is stated */
  PetscReal   least, most; /* targets: ratio at least, seconds at most; 0: none */
  PetscReal   exponent;    /* expected of seconds over bound, for sizes ten times apart; 0: the row is no growth */
  PetscReal  *seconds, *bound;
} KalBenchRow;

struct _p_KalBench {
  MPI_Comm    comm;
  PetscMPIInt rank, size;
  /* options */
  char     wanted[4 * KAL_BENCH_TEXT]; /* groups, by commas */
  char     folder[PETSC_MAX_PATH_LEN];
  PetscInt repeats, state, members, observations, batch, filesize; /* 0: those of the table of targets; filesize in MiB */
  PetscInt layers, width[64];
  /* measured */
  PetscInt    repeat; /* the one in hand; -1: warming up */
  PetscReal   rate[KAL_RATES];
  PetscReal  *rates[KAL_RATES]; /* all that were taken */
  PetscInt    taken[KAL_RATES], room;
  PetscInt    rows;
  KalBenchRow row[KAL_BENCH_ROWS];
  void       *work[2];                      /* of the machine's own measurements */
  char        data[2 * PETSC_MAX_PATH_LEN]; /* files of samples made up for networks */
};

/* Measurements that are made ready together and then repeated in turn. */
typedef struct {
  const char *name;
  PetscBool   usual; /* measured unless -bench_rows says otherwise */
  unsigned    rates; /* what the machine is asked before each repeat */
  PetscErrorCode (*create)(KalBench, void **);
  PetscErrorCode (*measure)(KalBench, void *);
  PetscErrorCode (*destroy)(KalBench, void **);
} KalBenchGroup;
PETSC_INTERN const KalBenchGroup KalBenchNetworks, KalBenchCycle, KalBenchGram, KalBenchAnalysis, KalBenchExchange, KalBenchLocal, KalBenchFile, KalBenchGrowth, KalBenchMachine;

PETSC_INTERN PetscErrorCode KalBenchRates(KalBench, unsigned rates);
PETSC_INTERN PetscErrorCode KalBenchRecord(KalBench, const KalBenchRow *, PetscReal seconds, PetscReal bound);
PETSC_INTERN PetscErrorCode KalBenchSlowest(KalBench, double seconds, PetscReal *slowest);
PETSC_INTERN PetscErrorCode KalBenchFilePlain(KalBench, const char *path, PetscBool write, PetscInt64 bytes, void *data, PetscReal *seconds);
PETSC_INTERN PetscErrorCode KalBenchForget(const char *path);
PETSC_INTERN PetscReal      KalBenchMedian(PetscInt count, const PetscReal *values);

/* A run that is stepped: its phases by the events of -log_view. */
typedef struct {
  KalRun    run;
  PetscBool here;                      /* this rank takes part */
  PetscReal seconds[KAL_EVENTS], step; /* of the last step, the slowest rank's */
} KalStepped;
PETSC_INTERN PetscErrorCode KalSteppedCreate(KalBench, PetscBool alone, const char *options, KalStepped *);
PETSC_INTERN PetscErrorCode KalSteppedStep(KalBench, KalStepped *);
PETSC_INTERN PetscErrorCode KalSteppedDestroy(KalStepped *);

/* A network, its members and its mini-batch. */
typedef struct {
  PetscInt layers, width[64], members, batch;
} KalBenchNet;
PETSC_INTERN PetscErrorCode KalBenchData(KalBench, const KalBenchNet *); /* samples to learn from, in files */
PETSC_INTERN PetscErrorCode KalBenchStart(KalBench, const KalBenchNet *, PetscBool alone, const char *options, KalStepped *, char *label);

#endif
