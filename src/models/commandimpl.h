/* The inside of the model type "command": an external command that is run once a member. */
#ifndef KALMIA_COMMANDIMPL_H
#define KALMIA_COMMANDIMPL_H

#include <models/modelimpl.h>

#include <sys/types.h>

#define KAL_COMMAND_LENGTH 16384 /* characters of -model_command, and of an argument after its places are filled in */
#define KAL_COMMAND_REASON 1024  /* characters that say why a member failed */
#define KAL_COMMAND_GRACE  2.0   /* seconds between SIGTERM and SIGKILL */

typedef enum {
  KAL_COMMAND_OBSERVE,
  KAL_COMMAND_FORECAST,
  KAL_COMMAND_BOTH,
} KalCommandTask;
PETSC_EXTERN const char *const KalCommandTasks[];

typedef enum {
  KAL_COMMAND_RAW,
  KAL_COMMAND_HDF5,
} KalCommandFormat;
PETSC_EXTERN const char *const KalCommandFormats[];

/* command_words.c: the words of a command, and the places in them. */
typedef struct {
  char    *text;  /* the words' characters */
  char   **word;  /* count pointers and NULL */
  PetscInt count; /* the program and its arguments */
} KalWords;
typedef struct {
  const char *name, *value;
} KalPlace;
PETSC_INTERN PetscErrorCode KalWordsSplit(const char *command, KalWords *, size_t, char *why);
PETSC_INTERN PetscErrorCode KalWordsDestroy(KalWords *);
/* Whether the arguments have the place; with places of an unknown name, or a lone brace, a text in `why`. */
PETSC_INTERN PetscBool      KalWordsHave(const KalWords *, const char *place);
PETSC_INTERN PetscErrorCode KalWordsCheck(const KalWords *, const char *const known[], size_t, char *why);
/* The arguments with their places filled in; PETSC_FALSE where one gets too long or memory is short. Freed by KalWordsFree(). */
PETSC_INTERN PetscBool KalWordsFill(const KalWords *, const KalPlace[], char ***arguments);
PETSC_INTERN void      KalWordsFree(char **arguments);

/* command_process.c: children of this process, in process groups of their own. */
typedef struct {
  pid_t     pid;
  double    started, terminated; /* seconds of KalProcessNow(); terminated: when SIGTERM was sent, 0 before */
  PetscBool killed;              /* SIGKILL was sent */
} KalProcess;
PETSC_INTERN double         KalProcessNow(void);
PETSC_INTERN PetscErrorCode KalProcessEnvironment(char ***); /* this process's without the launcher's variables; KalProcessEnvironmentFree() */
PETSC_INTERN PetscErrorCode KalProcessEnvironmentFree(char ***);
PETSC_INTERN PetscBool      KalProcessStart(const char *program, char *const arguments[], char *const environment[], const char *log, KalProcess *, size_t, char *why);
/* Whether it has ended, with waitpid()'s status; past `timeout` seconds (0: never) its group is told to end and then killed. */
PETSC_INTERN PetscBool KalProcessEnded(KalProcess *, double timeout, int *status);

/* command_files.c: what is exchanged with a child; each returns PETSC_FALSE and says why where it fails. */
PETSC_INTERN PetscBool KalScratchCreate(const char *parent, PetscInt member, size_t, char *path, size_t, char *why);
PETSC_INTERN PetscBool KalScratchRemove(const char *path);
PETSC_INTERN void      KalScratchTail(const char *log, size_t, char *text); /* the last lines of a log, in one line */
PETSC_INTERN PetscBool KalExchangeWrite(KalCommandFormat, const char *path, const char *name, PetscInt rows, PetscInt columns, const double *, size_t, char *why);
PETSC_INTERN PetscBool KalExchangeRead(KalCommandFormat, const char *path, const char *name, PetscInt64 count, double *, size_t, char *why);

typedef struct {
  char             command[KAL_COMMAND_LENGTH];
  KalWords         words;
  char             program[PETSC_MAX_PATH_LEN]; /* what is executed */
  char           **environment;
  KalCommandTask   task;
  KalCommandFormat format;
  PetscInt         size, outputs, retries, parallel;
  PetscReal        step, timeout;
  PetscBool        keep;
  char             scratch[PETSC_MAX_PATH_LEN];
  char             mean[KAL_COMMAND_LENGTH], spread[KAL_COMMAND_LENGTH]; /* numbers, or an HDF5 file */
  PetscReal       *prior;                                                /* n means, n standard deviations */
  PetscBool        input;                                                /* the command wants the samples' inputs */
  double          *work;                                                 /* n numbers or predictions of a member */
  size_t           works;
  PetscInt         warned; /* lines of warning that this rank printed */
} KalCommand;

/* command_prior.c */
PETSC_INTERN PetscErrorCode KalCommandPrior(KalModel, const char *option, const char *dataset, const char *text, PetscReal *);
/* command_run.c: the command for every column, in place (batch NULL) or into y. */
PETSC_INTERN PetscErrorCode KalCommandRun(KalModel, PetscReal from, PetscReal to, const KalColumns *, const KalBatch *, PetscScalar **y, KalStatus *);

#endif
