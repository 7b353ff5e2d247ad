/* ranks: 5 */
/* enkf with corrected covariances: where nothing is corrected it is enkf, with every inflation and members that fail; and what it and yegenoglu refuse. */
#include "filters.h"
#include "refusals.h"

#define MOST_MEMBERS 12
#define WHOLE        "-enkf_correction dropout -enkf_correction_probability 1 "

static const char *const inflations[] = {
    "",
    "-inflation_factor 1.3",
    "-inflation_factor 1.3 -inflation_on prior-anomalies",
    "-inflation_factor 1.2 -inflation_on prior-covariance -inflation_rtpp 0.4",
    "-inflation_rtps 0.6 -inflation_additive 0.3",
};

static PetscErrorCode WholeOn(MPI_Comm comm, void *ctx)
{
  const PetscInt sizes[] = {20, 3}; /* more observations than members, and fewer */
  double         plain[MOST_STATE * MOST_MEMBERS], other[MOST_STATE * MOST_MEMBERS];
  char           text[256];

  PetscFunctionBeginUser;
  (void)ctx;
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(inflations); k++) {
    for (PetscInt s = 0; s < 2; s++) {
      Setting      set  = {.type = "enkf", .options = inflations[k], .n = 6, .N = 12, .p = sizes[s], .nfail = s, .fail = {4}};
      const size_t size = (size_t)(set.n * set.N);

      FilterStart(&set, plain);
      PetscCall(PetscArraycpy(other, plain, size));
      PetscCall(FilterOnce(comm, &set, 7, plain, NULL));
      PetscCall(PetscSNPrintf(text, sizeof text, WHOLE "%s", inflations[k]));
      set.options = text;
      PetscCall(FilterOnce(comm, &set, 7, other, NULL));
      for (PetscInt j = 0; s && j < set.n; j++) plain[4 * set.n + j] = other[4 * set.n + j] = 0.0; /* drawn anew, of other weights */
      if (!(DenseDistance(size, plain, other) <= 1e-10) && kal_holds) print_error("'%s', %d observations: %g apart\n", inflations[k], (int)set.p, DenseDistance(size, plain, other));
      KalHolds(DenseDistance(size, plain, other) <= 1e-10);
      PetscCall(KalSameBits(comm, other, size * sizeof *other));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void WithoutACorrectionItIsEnkf(void **state)
{
  (void)state;
  KalOnEachCount(WholeOn, NULL);
}

/* Each correction changes the mean, to the same bits on each number of ranks. */
static PetscErrorCode CorrectedOn(MPI_Comm comm, void *ctx)
{
  static const char *const types[] = {"sec -enkf_correction_exponent 2 -enkf_correction_cutoff 0.3", "sec-fisher", "nice", "dropout -enkf_correction_probability 0.5"};
  double                   plain[MOST_STATE * MOST_MEMBERS], other[MOST_STATE * MOST_MEMBERS], mean[2][MOST_STATE];
  Setting                  set  = {.type = "enkf", .options = "", .n = 6, .N = 6, .p = 5};
  const size_t             size = (size_t)(set.n * set.N);
  char                     text[256];

  PetscFunctionBeginUser;
  (void)ctx;
  FilterStart(&set, plain);
  PetscCall(FilterOnce(comm, &set, 0, plain, NULL));
  DenseMean(set.n, set.N, plain, mean[0]);
  for (size_t k = 0; k < PETSC_STATIC_ARRAY_LENGTH(types); k++) {
    PetscCall(PetscSNPrintf(text, sizeof text, "-enkf_correction %s", types[k]));
    set.options = text;
    FilterStart(&set, other);
    PetscCall(FilterOnce(comm, &set, 0, other, NULL));
    DenseMean(set.n, set.N, other, mean[1]);
    KalHolds(DenseDistance((size_t)set.n, mean[0], mean[1]) > 1e-3);
    PetscCall(KalSameBits(comm, other, size * sizeof *other));
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

static void CorrectionsChangeTheMean(void **state)
{
  (void)state;
  KalOnEachCount(CorrectedOn, NULL);
}

static void Refusals(void **state)
{
  static const Refusal refused[] = {
      {"enkf",      "-enkf_correction sec -enkf_correction_cutoff 1",                           "-enkf_correction_cutoff 1"                  },
      {"enkf",      "-enkf_correction dropout -enkf_correction_probability 1.5",                "-enkf_correction_probability 1.5"           },
      {"enkf",      "-enkf_correction nice -analysis_rotate",                                   "-analysis_rotate does not go with it"       },
      {"enkf",      "-enkf_correction nice -analysis_space ensemble",                           "leave -analysis_space out"                  },
      {"enkf",      "-enkf_correction nice -analysis_space matrix-free",                        "leave -analysis_space out"                  },
      {"enkf",      "-enkf_correction sec -analysis_transform_precision single",                "leave it out"                               },
      {"eki",       "-eki_correction sec -analysis_transform_precision single",                 "leave it out"                               },
      {"yegenoglu", "-yegenoglu_correction sec -yegenoglu_size_step 1 -yegenoglu_size_first 3", "-yegenoglu_size_least 2: must be at least 4"},
      {"yegenoglu", "-yegenoglu_correction nice",                                               "take sec, sec-fisher or dropout"            },
      {"yegenoglu", "-yegenoglu_correction sec -yegenoglu_refresh true",                        "leave one of them out"                      },
  };

  (void)state;
  AreRefused(6, 9, PETSC_STATIC_ARRAY_LENGTH(refused), refused);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(WithoutACorrectionItIsEnkf),
    cmocka_unit_test(CorrectionsChangeTheMean),
    cmocka_unit_test(Refusals),
};

KAL_TEST_MAIN("analysis filter_correction", tests)
