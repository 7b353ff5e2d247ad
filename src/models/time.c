/* Time of a dynamical model: its step, how many of them lie between two times, and the key of its noise. */
#include <models/modelimpl.h>

/*@
   KalModelSetStep - Sets the model time of one time step; called by a dynamical model's `setup`

   Logically Collective

   Input Parameters:
+  model - the model
-  step - model time, positive

   Errors: PETSC_ERR_ARG_OUTOFRANGE
@*/
PetscErrorCode KalModelSetStep(KalModel model, PetscReal step)
{
  PetscFunctionBeginUser;
  PetscCheck(step > 0.0 && !PetscIsInfOrNanReal(step), model->comm, PETSC_ERR_ARG_OUTOFRANGE, "The time step of the model %s is %g; it must be positive", model->type, (double)step);
  model->step = step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetStep - The model time of one time step

   Not Collective

   Input Parameter:
.  model - the model, set up

   Output Parameter:
.  step - model time; 0 where the model is not dynamical
@*/
PetscErrorCode KalModelGetStep(KalModel model, PetscReal *step)
{
  PetscFunctionBeginUser;
  *step = model->step;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetSteps - How many time steps lie between two times

   Not Collective

   Input Parameters:
+  model - the model, set up, with a time step
.  from - the earlier time
-  to - the later one

   Output Parameter:
.  steps - their number

   Errors: PETSC_ERR_ARG_OUTOFRANGE where the times are not a whole number of steps apart (to 1e-6 of a step), or in the wrong order
@*/
PetscErrorCode KalModelGetSteps(KalModel model, PetscReal from, PetscReal to, PetscInt *steps)
{
  const PetscReal exact = model->step > 0.0 ? (to - from) / model->step : 0.0, whole = PetscFloorReal(exact + 0.5);

  PetscFunctionBeginUser;
  PetscCheck(model->step > 0.0, PETSC_COMM_SELF, PETSC_ERR_ORDER, "The model %s has no time step", model->type);
  PetscCheck(whole >= 0.0 && whole < 1e9, PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "From time %g to time %g is not forward, or farther than 10^9 steps of %g", (double)from, (double)to, (double)model->step);
  PetscCheck(PetscAbsReal(exact - whole) <= 1e-6 * PetscMax(1.0, whole), PETSC_COMM_SELF, PETSC_ERR_ARG_OUTOFRANGE, "From time %g to time %g are %g steps of %g of the model %s; it must be a whole number", (double)from, (double)to, (double)exact, (double)model->step, model->type);
  *steps = (PetscInt)whole;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelSetKey - Sets the key of the model noise of the next forecast

   Not Collective

   Input Parameters:
+  model - the model
-  key - seed, purpose and cycle; the member is that of the column

   Note:
   A model draws the noise of step s (from 0, in the forecast in hand) and entry i as number s n + i of the key of the member.
@*/
PetscErrorCode KalModelSetKey(KalModel model, KalKey key)
{
  PetscFunctionBeginUser;
  model->key = key;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalModelGetKey - The key of the model noise, for a type's `propagate`

   Not Collective

   Input Parameter:
.  model - the model

   Output Parameter:
.  key - seed, purpose and cycle
@*/
PetscErrorCode KalModelGetKey(KalModel model, KalKey *key)
{
  PetscFunctionBeginUser;
  *key = model->key;
  PetscFunctionReturn(PETSC_SUCCESS);
}
