/* A command in words, without a shell: quotes, backslashes, and places such as {state} that are filled in for each member. */
#include <models/commandimpl.h>

#include <stdlib.h>
#include <string.h>

static PetscBool IsBlank(char c)
{
  return (PetscBool)(c == ' ' || c == '\t' || c == '\n' || c == '\r');
}

/*
  One word from *at on into `to`: '...' is taken as it is; in "..." a backslash takes away the meaning of " and \ alone;
  outside of quotes it takes away that of any character. Returns the end of the word, NULL where a quote is left open.
*/
static char *Word(const char **at, char *to)
{
  const char *c     = *at;
  char        quote = '\0';

  for (; *c && (quote || !IsBlank(*c)); c++) {
    if (quote == '\'' && *c != '\'') *to++ = *c;
    else if (*c == quote) quote = '\0';
    else if (!quote && (*c == '\'' || *c == '"')) quote = *c;
    else if (*c == '\\' && c[1] && (!quote || c[1] == '"' || c[1] == '\\')) *to++ = *++c;
    else *to++ = *c;
  }
  *at = c;
  return quote ? NULL : to;
}

/*
  KalWordsSplit - Splits a command into its words; what is wrong with it goes into `why`, which must be empty

  Nothing else has a meaning: no variables, patterns, ; | & > or ~.
*/
PetscErrorCode KalWordsSplit(const char *command, KalWords *words, size_t size, char *why)
{
  const size_t length = strlen(command);
  const char  *at     = command;
  char        *to;

  PetscFunctionBeginUser;
  PetscCall(PetscMalloc1(length + 1, &words->text)); /* each word and its end take no more than it and the blank before the next */
  PetscCall(PetscCalloc1(length / 2 + 2, &words->word));
  words->count = 0;
  to           = words->text;
  while (PETSC_TRUE) {
    while (IsBlank(*at)) at++;
    if (!*at) break;
    words->word[words->count++] = to;
    to                          = Word(&at, to);
    if (!to) {
      PetscCall(PetscSNPrintf(why, size, "-model_command %s: a quote is opened and not closed", command));
      PetscFunctionReturn(PETSC_SUCCESS);
    }
    *to++ = '\0';
  }
  if (!words->count || !words->word[0][0]) PetscCall(PetscSNPrintf(why, size, "The model command needs -model_command \"PROGRAM ARGUMENTS\": %s", words->count ? "the program's name is empty" : "none was given"));
  PetscFunctionReturn(PETSC_SUCCESS);
}

PetscErrorCode KalWordsDestroy(KalWords *words)
{
  PetscFunctionBeginUser;
  PetscCall(PetscFree(words->text));
  PetscCall(PetscFree(words->word));
  words->count = 0;
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*
  The next piece of an argument: plain characters, a brace written twice, or a place. Returns where the next one begins, NULL
  for a brace that is neither; `first` and `length` are the characters to copy, or the name of the place.
*/
static const char *Piece(const char *at, const char **first, size_t *length, PetscBool *place)
{
  const size_t plain = strcspn(at, "{}");

  *place  = PETSC_FALSE;
  *first  = at;
  *length = plain;
  if (plain) return at + plain;
  if (at[0] == at[1]) {
    *length = 1;
    return at + 2;
  }
  *first  = at + 1;
  *length = strcspn(at + 1, "{}");
  *place  = PETSC_TRUE;
  return at[0] == '{' && at[1 + *length] == '}' ? at + 2 + *length : NULL;
}

static PetscBool IsNamed(const char *first, size_t length, const char *name)
{
  return (PetscBool)(strlen(name) == length && !strncmp(first, name, length));
}

PetscBool KalWordsHave(const KalWords *words, const char *name)
{
  const char *first;
  size_t      length;
  PetscBool   place;

  for (PetscInt i = 1; i < words->count; i++) {
    for (const char *at = words->word[i]; at && *at;) {
      at = Piece(at, &first, &length, &place);
      if (at && place && IsNamed(first, length, name)) return PETSC_TRUE;
    }
  }
  return PETSC_FALSE;
}

PetscErrorCode KalWordsCheck(const KalWords *words, const char *const known[], size_t size, char *why)
{
  const char *first;
  size_t      length;
  PetscBool   place;
  PetscInt    k;

  PetscFunctionBeginUser;
  for (PetscInt i = 1; i < words->count && !why[0]; i++) {
    for (const char *at = words->word[i]; at && *at && !why[0];) {
      at = Piece(at, &first, &length, &place);
      for (k = 0; at && place && known[k] && !IsNamed(first, length, known[k]);) k++;
      if (at && (!place || known[k])) continue;
      PetscCall(PetscSNPrintf(why, size, "-model_command: the argument %s has a brace that is no place to be filled in; these are", words->word[i]));
      for (k = 0; known[k]; k++) {
        PetscCall(PetscStrlcat(why, " {", size));
        PetscCall(PetscStrlcat(why, known[k], size));
        PetscCall(PetscStrlcat(why, "}", size));
      }
      PetscCall(PetscStrlcat(why, ", and a brace itself is written twice", size));
    }
  }
  PetscFunctionReturn(PETSC_SUCCESS);
}

/* An argument of its own memory, with the places filled in; NULL where it gets too long. Its places were checked. */
static char *Fill(const char *word, const KalPlace places[])
{
  char  *text = (char *)malloc(KAL_COMMAND_LENGTH), *shrunk;
  size_t used = 0, length;

  for (const char *at = word; text && *at;) {
    const char *first;
    PetscBool   place;
    PetscInt    k = 0;

    at = Piece(at, &first, &length, &place);
    if (place) {
      while (!IsNamed(first, length, places[k].name)) k++;
      first  = places[k].value;
      length = strlen(first);
    }
    if (used + length >= KAL_COMMAND_LENGTH) {
      free(text);
      return NULL;
    }
    memcpy(text + used, first, length);
    used += length;
  }
  if (!text) return NULL;
  text[used] = '\0';
  shrunk     = (char *)realloc(text, used + 1);
  return shrunk ? shrunk : text;
}

PetscBool KalWordsFill(const KalWords *words, const KalPlace places[], char ***arguments)
{
  char **list = (char **)calloc((size_t)words->count + 1, sizeof *list);

  *arguments = list;
  for (PetscInt i = 0; list && i < words->count; i++) {
    list[i] = i ? Fill(words->word[i], places) : strdup(words->word[i]);
    if (!list[i]) {
      KalWordsFree(list);
      *arguments = NULL;
      return PETSC_FALSE;
    }
  }
  return (PetscBool)(list != NULL);
}

void KalWordsFree(char **arguments)
{
  for (char **a = arguments; a && *a; a++) free(*a);
  free(arguments);
}
