/* What the methods share that linearize the model statistically and keep the prior as their preconditioner; they differ in three numbers. */
#ifndef KALMIA_LINEARIZED_H
#define KALMIA_LINEARIZED_H

#include "prior.h"

/*
  u_j <- u_j + pull (m_j - u_j) + P^{1/2} V w_j,  w_j = factor (S~ + shift I)^{-1} (J'r_j + b_j) - pull b_j, where V spans the anomalies P^{-1/2} X with
  orthonormal columns, J is the whitened Jacobian along it, S~ = J'J, and b_j = V'P^{-1/2} (m_j - u_j), 0 where there is no pull.
*/
typedef struct {
  PetscReal shift, factor, pull;
} KalLinearized;

PETSC_INTERN PetscErrorCode KalLinearizedCreate(KalAnalysis, const char *prefix, KalLinearized (*)(PetscReal step));

#endif
