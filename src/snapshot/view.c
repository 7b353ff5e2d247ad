/* What a snapshot holds, for people. */
#include <snapshot/snapshotimpl.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A list of texts that grows; rank 0 makes it, all get it. */
typedef struct {
  char  *text; /* each with its end, one behind the other */
  size_t bytes, room;
} Lines;

static void LineAdd(Lines *lines, const char *line)
{
  const size_t need = strlen(line) + 1;

  if (lines->bytes + need > lines->room) {
    const size_t room = 2 * lines->room + need;
    char        *more = realloc(lines->text, room);
    if (!more) return;
    lines->text = more;
    lines->room = room;
  }
  memcpy(lines->text + lines->bytes, line, need);
  lines->bytes += need;
}

/* One line of the table: name, type, shape, units, meaning. */
static void Describe(void *ctx, hid_t dataset, const char *name)
{
  const hid_t type = H5Dget_type(dataset);
  char        units[64], meaning[256], shape[96] = "scalar", line[KAL_SNAPSHOT_TEXT];
  hsize_t     size[KAL_SNAPSHOT_RANK];
  const int   ndims = KalH5Shape(dataset, size);

  for (int d = 0; d < ndims; d++) {
    const size_t used = d ? strlen(shape) : 0;
    snprintf(shape + used, sizeof shape - used, "%s%llu", d ? " x " : "", (unsigned long long)size[d]);
  }
  (void)KalH5GetText(dataset, "units", sizeof units, units);
  (void)KalH5GetText(dataset, "long_name", sizeof meaning, meaning);
  if (KalH5IsBareScale(dataset)) snprintf(meaning, sizeof meaning, "a dimension");
  snprintf(line, sizeof line, "  %-28s %-8s %-16s %-4s %s", name, type < 0 ? "damaged" : KalH5TypeName(type), ndims < 0 ? "damaged" : shape, units, meaning);
  for (size_t end = strlen(line); end && line[end - 1] == ' '; end--) line[end - 1] = 0;
  LineAdd(ctx, line);
  KalH5Close(type);
}

static void AddName(void *ctx, hid_t dataset, const char *name)
{
  if (!KalH5IsBareScale(dataset)) LineAdd(ctx, name);
}

static PetscErrorCode LinesBroadcast(KalSnapshot snap, Lines *lines)
{
  PetscMPIInt bytes = (PetscMPIInt)lines->bytes;

  PetscFunctionBeginUser;
  PetscCallMPI(MPI_Bcast(&bytes, 1, MPI_INT, 0, snap->comm));
  if (snap->rank) lines->text = malloc((size_t)bytes + 1);
  PetscCheck(lines->text || !bytes, PETSC_COMM_SELF, PETSC_ERR_MEM, "No memory for %d characters", bytes);
  lines->bytes = (size_t)bytes;
  PetscCallMPI(MPI_Bcast(lines->text, bytes, MPI_CHAR, 0, snap->comm));
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotView - Prints a table of the datasets of a snapshot: name, type, shape, units, meaning

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that was opened to be read
-  viewer - where to, of type ASCII
@*/
PetscErrorCode KalSnapshotView(KalSnapshot snap, PetscViewer viewer)
{
  Lines lines = {0};

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_READ, NULL));
  if (!snap->rank) KalH5Walk(snap->file, "", NULL, Describe, &lines);
  PetscCall(LinesBroadcast(snap, &lines));
  for (size_t i = 0; i < lines.bytes; i += strlen(lines.text + i) + 1) PetscCall(PetscViewerASCIIPrintf(viewer, "%s\n", lines.text + i));
  free(lines.text);
  PetscFunctionReturn(PETSC_SUCCESS);
}

/*@
   KalSnapshotGetNames - Gets the names of the datasets in a group, dimensions without coordinates left out

   Collective on the snapshot

   Input Parameters:
+  snap - a snapshot that was opened to be read
-  group - path of the group, as "history"; empty for all of the file

   Output Parameters:
+  count - how many; 0 where there is no such group
-  names - their paths in the file, sorted; each and the array are to be given back with PetscFree()
@*/
PetscErrorCode KalSnapshotGetNames(KalSnapshot snap, const char *group, PetscInt *count, char ***names)
{
  Lines lines = {0};

  PetscFunctionBeginUser;
  PetscCall(KalSnapshotCheck(snap, KAL_SNAPSHOT_READ, group[0] ? group : NULL));
  if (!snap->rank) {
    hid_t id = H5I_INVALID_HID;
    if (!group[0]) KalH5Walk(snap->file, "", NULL, AddName, &lines);
    else if (KalH5Exists(snap->file, group) > 0 && (id = H5Oopen(snap->file, group, H5P_DEFAULT)) >= 0 && H5Iget_type(id) == H5I_GROUP) KalH5Walk(id, group, NULL, AddName, &lines);
    (void)H5Eclear2(H5E_DEFAULT);
    KalH5Close(id);
  }
  PetscCall(LinesBroadcast(snap, &lines));
  *count = 0;
  for (size_t i = 0; i < lines.bytes; i += strlen(lines.text + i) + 1) (*count)++;
  PetscCall(PetscCalloc1((size_t)*count + 1, names));
  *count = 0;
  for (size_t i = 0; i < lines.bytes; i += strlen(lines.text + i) + 1) PetscCall(PetscStrallocpy(lines.text + i, &(*names)[(*count)++]));
  free(lines.text);
  PetscFunctionReturn(PETSC_SUCCESS);
}
