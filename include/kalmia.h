/* Kalmia: ensemble Kalman methods over MPI. One header a noun; this one includes them all. */
#ifndef KALMIA_H
#define KALMIA_H

#include <kalmia/types.h>
#include <kalmia/ensemble.h>
#include <kalmia/observations.h>
#include <kalmia/model.h>
#include <kalmia/parameterization.h>
#include <kalmia/analysis.h>
#include <kalmia/snapshot.h>
#include <kalmia/run.h>
#include <kalmia/bench.h>

#endif
