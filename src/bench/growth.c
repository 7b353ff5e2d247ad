/* How the time of a phase grows with a size: exponents over a decade, beside those expected. */
#include <bench/benchimpl.h>

const KalBenchGroup KalBenchGrowth = {"growth", PETSC_FALSE, 0, NULL, NULL, NULL};
