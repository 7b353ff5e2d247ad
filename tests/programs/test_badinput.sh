#!/usr/bin/env bash
# labels: long
# Bad input: one message that names the value and the remedy, no trace of PETSc's, exit code 1 on every rank, no hang,
# nothing computed, nothing overwritten. Each case on 1 and 3 ranks.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python

kalmia=$KALMIA_BIN/kalmia
export OMPI_MCA_orte_abort_on_non_zero_status=0 # each rank ends by itself, and its own exit code is seen
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
make_data classes classes.h5
make_data regression regression.h5
make_data idx images
mkdir folder

# The data that are wrong.
"$PYTHON" - <<'PY' || exit 1
import gzip, h5py, numpy, os, shutil, struct

def h5(name, **change):
    with h5py.File("classes.h5") as f:
        sets = {k: f[k][()] for k in f}
    sets.update(change)
    with h5py.File(name, "w") as f:
        for k, v in sets.items():
            if v is not None:
                f[k] = v
    return sets

good = h5("same.h5")
x, y = good["x"], good["y"]
nan, label, minus = x.copy(), y.copy(), y.copy()
nan[7, 3], label[5], minus[11] = numpy.nan, 9, -2
h5("nan.h5", x=nan)
h5("label.h5", y=label)
h5("minus.h5", y=minus)
h5("noy.h5", y=None)
h5("notesty.h5", y_test=None)
h5("counts.h5", y=y[:-1])
h5("widths.h5", x_test=good["x_test"][:, :-1])
h5("empty.h5", x=x[:0], y=y[:0])
h5("text.h5", x=numpy.array([b"a"] * 400))
open("cut.h5", "wb").write(open("same.h5", "rb").read()[:50000])
open("plain.txt", "w").write("this is no data set\n")

def idx(name, **change):
    shutil.copytree("images", name)
    for file, f in change.items():
        path = "%s/%s" % (name, {"x": "train-images-idx3-ubyte", "y": "train-labels-idx1-ubyte.gz"}[file])
        data = f(open(path, "rb").read())
        if data is None:
            os.remove(path)
        else:
            open(path, "wb").write(data)

labels = lambda values: gzip.compress(struct.pack(">BBBBI", 0, 0, 8, 1, len(values)) + bytes(values))
idx("idx-cut", x=lambda b: b[:-100])
idx("idx-header", x=lambda b: b[:6])
idx("idx-long", x=lambda b: b + b"junk")
idx("idx-magic", x=lambda b: b"\x01\x02" + b[2:])
idx("idx-type", x=lambda b: b[:2] + b"\x07" + b[3:])
idx("idx-size", x=lambda b: b[:4] + struct.pack(">I", 4000000000) + b[8:])
idx("idx-counts", y=lambda b: labels([0, 1, 2, 3] * 99))
idx("idx-label", y=lambda b: labels([0, 1, 2, 7] * 100))
idx("idx-gzcut", y=lambda b: b[:-30])
idx("idx-gzflip", y=lambda b: b[:60] + bytes([b[60] ^ 0x10]) + b[61:])
idx("idx-missing", y=lambda b: None)
open("broken.yaml", "w").write("run:\n  cycles: [1, 2\n   seed: }\n")
PY

base="-observations_batch 100 -ensemble_size 13 -run_cycles 4 -analysis_type etki"
data="-observations_path classes.h5"
layers="-mlp_layers 20,7,4"
# shellcheck disable=SC2086 # options are words
run 1 "$kalmia" $base $data $layers -snapshot_path run.h5 -snapshot_every 2 >out 2>err
check "a run for the snapshots" [ -s run.h5 -a -s run.h5.1 ] || summary

# The snapshots that are damaged.
"$PYTHON" - <<'PY' || exit 1
import h5py
good = bytearray(open("run.h5", "rb").read())
with h5py.File("run.h5") as f:
    at = f["ensemble/members"].id.get_offset() + 1234
def write(name, data):
    open(name, "wb").write(data)
write("cut-run.h5", good[: len(good) * 2 // 3])
flip = bytearray(good)
flip[at] ^= 1
write("flip-run.h5", flip)
flip = bytearray(good)
for i in range(96, 160):
    flip[i] ^= 0xff
write("head-run.h5", flip)
write("version-run.h5", good)
with h5py.File("version-run.h5", "r+") as f:
    value = f.attrs["kalmia_format"]
    f.attrs.modify("kalmia_format", value + 1)
PY

digest() { find . -name '*.h5*' -o -path '*idx*' -type f | sort | xargs sha256sum | sha256sum; }
before=$(digest)

# refuse "what" "message" OPTION...: on 1 rank (without mpiexec) and on 3, at the same time.
refuse() {
  local what=$1 message=$2 ranks
  shift 2
  rm -f codes.*
  {
    timeout -k 5 60 "$kalmia" "$@" >out.1 2>err.1 </dev/null
    echo $? >codes.1
  } &
  KALMIA_LIMIT=60 run 3 bash -c '"$@"; code=$?; echo $code >>codes.3; exit $code' - "$kalmia" "$@" >out.3 2>err.3
  wait $!
  for ranks in 1 3; do check "$what: refused on $ranks" refused "$message" $ranks || sed 's/^/    | /' err.$ranks | head -n 8; done
}
refused() {
  [ "$(grep -c '^kalmia: error' "err.$2")" = 1 ] || { echo "    not one message"; return 1; }
  grep '^kalmia: error' "err.$2" | grep -qF -- "$1" || { echo "    not with \"$1\""; return 1; }
  ! grep -qE 'PETSC ERROR|MPI_ABORT|HDF5-DIAG|Sanitizer|runtime error' "err.$2" || { echo "    with a trace"; return 1; }
  [ "$(sort "codes.$2" | uniq -c | tr -s ' ')" = " $2 1" ] || { echo "    exit codes $(tr '\n' ' ' <"codes.$2")"; return 1; }
  ! grep -qE '^(cycle|result)' "out.$2" || { echo "    after it began"; return 1; }
}
# shellcheck disable=SC2086
bad() { refuse "$1" "$2" $base $data $layers "${@:3}"; }
# shellcheck disable=SC2086
baddata() { refuse "$1" "$3" $base $layers -observations_path "$2"; }

# Data
# shellcheck disable=SC2086
refuse "no data" "name them with -observations_path" $base $layers
baddata "missing file" none.h5 "-observations_path none.h5 does not exist"
baddata "no HDF5 file" plain.txt "plain.txt is no HDF5 file"
baddata "HDF5 cut short" cut.h5 "cut.h5"
baddata "NaN" nan.h5 "/x of nan.h5 holds NaN in sample 7, number 3"
baddata "label out of range" label.h5 "The label of sample 5 (from 0) in the training set is 9; with 4 outputs, labels from 0 to 3 are allowed"
baddata "negative label" minus.h5 "The label of sample 11 (from 0) in /y of minus.h5 is -2"
baddata "no targets" noy.h5 "has no data set /y"
baddata "no targets of the test set" notesty.h5 "has /x_test but no /y_test"
baddata "other number of targets" counts.h5 "400 samples in /x of counts.h5 but 399 in /y of counts.h5"
baddata "other width of the test set" widths.h5 "A sample of the test set has 19 inputs"
baddata "no samples" empty.h5 "holds no numbers"
baddata "text for numbers" text.h5 "type that is not supported"
baddata "IDX cut short" idx-cut "idx-cut/train-images-idx3-ubyte is truncated"
baddata "IDX cut in its header" idx-header "idx-header/train-images-idx3-ubyte is truncated"
baddata "IDX with trailing bytes" idx-long "has trailing garbage"
baddata "IDX with wrong magic" idx-magic "its magic number is 0x01020803"
baddata "IDX of an unknown type" idx-type "has type 0x07"
baddata "IDX with wrong sizes" idx-size "idx-size/train-images-idx3-ubyte"
baddata "IDX with other counts" idx-counts "400 samples in idx-counts/train-images-idx3-ubyte but 396"
baddata "IDX with a label out of range" idx-label "The label of sample 3 (from 0) in the training set is 7"
baddata "gzip cut short" idx-gzcut "is cut short"
baddata "gzip damaged" idx-gzflip "idx-gzflip/train-labels-idx1-ubyte.gz is corrupt"
baddata "IDX labels missing" idx-missing "has no train-labels-idx1-ubyte"
baddata "a list of three" a,b,c "lists 3 files"
# shellcheck disable=SC2086
refuse "targets for labels" "The loss cross-entropy needs class labels" $base -mlp_layers 20,3 -observations_path regression.h5 -observations_loss cross-entropy

# Sizes
bad "layers that do not fit the inputs" "-mlp_layers begins with 21 but the data have 20 inputs" -mlp_layers 21,7,4
# shellcheck disable=SC2086
refuse "layers that do not fit the targets" "-mlp_layers ends with 4 but the data have 3 outputs" $base $layers -observations_path regression.h5
bad "layers that do not fit the classes" "with 3 outputs, labels from 0 to 2 are allowed; give the model 4 outputs" -mlp_layers 20,7,3
# shellcheck disable=SC2086
refuse "no layers" "give -mlp_layers" $base $data
bad "a layer of no width" "-mlp_layers has a layer of width 0" -mlp_layers 20,0,4
bad "a layer of negative width" "-mlp_layers has a layer of width -5" -mlp_layers 20,-5,4
bad "an empty width" "-mlp_layers 20,,4 has an empty entry" -mlp_layers 20,,4
bad "an empty width at the end" "-mlp_layers 20,4, has an empty entry" -mlp_layers 20,4,
bad "more weights than can be counted" "-mlp_layers makes more than" -mlp_layers 20,60000,60000,4
bad "one member" "needs at least 2" -ensemble_size 1
bad "a negative number of members" "of -ensemble_size -3" -ensemble_size -3
bad "more survivors than members" "-run_survivors 99: there are only 13 members" -run_survivors 99
bad "fewer survivors than the method needs" "-run_survivors 1: the method needs at least 2 members" -run_survivors 1
bad "an endless step" "-etki_step inf" -etki_step inf
bad "too many members for N x N weights" "-ensemble_size 200000 is too large" -ensemble_size 200000
bad "a solver that does not solve" "preonly with -analysis_pc_type jacobi does not solve" -analysis_ksp_type preonly -analysis_pc_type jacobi
bad "a factorization without a matrix" "-analysis_pc_type lu factors a matrix" -analysis_space matrix-free -analysis_pc_type lu
bad "a negative number of cycles" "-run_cycles -1: must not be negative" -run_cycles -1
bad "a negative batch" "-observations_batch -7 is negative" -observations_batch -7
bad "more samples than there are" "-observations_samples 1000 asks for more samples than the training set has (400)" -observations_samples 1000

# Values of options
bad "a word for a whole number" "of -run_cycles abc" -run_cycles abc
bad "a word for a number" "of -etki_step abc" -etki_step abc
bad "a number that is not whole" "of -ensemble_size 7.5" -ensemble_size 7.5
bad "a number too large" "-ensemble_size 4294967298 is too large" -ensemble_size 4294967298
bad "a number far too large" "-run_seed 99999999999999999999 is too large" -run_seed 99999999999999999999
bad "a width too large" "-mlp_layers 20,4294967303,4 is too large" -mlp_layers 20,4294967303,4
bad "a value of two lines" "The value of -snapshot_path has more than one line" -snapshot_path $'two\nlines.h5'
bad "no value" "-run_seed stands without a value" -run_seed
bad "no path" "-snapshot_path stands without a value" -snapshot_path -run_seed 3
bad "a step of zero" "-etki_step 0.: the time step must be positive" -etki_step 0
bad "a step that is NaN" "nan" -etki_step nan
bad "a noise of zero" "-observations_noise 0. is a variance" -observations_noise 0
bad "a prior of no scale" "Prior scale wide of layer 1" -mlp_prior_scale wide
bad "a negative seed" "of -run_seed -1" -run_seed -1
bad "unknown option" "Unknown option -bogus" -bogus 1
bad "two unknown options" "-ensemble_sizes" -ensemble_sizes 4 -run_cycle 7
bad "an option of another method" "Unknown option -haber_step" -haber_step 1
bad "unknown method" "foo" -analysis_type foo
bad "unknown model" "foo" -model_type foo
bad "unknown activation" "Unknown option foo for -mlp_activation. Available options: relu tanh sigmoid heaviside linear" -mlp_activation foo
bad "unknown loss" "-observations_loss foo is unknown; allowed: squared, cross-entropy" -observations_loss foo
bad "unknown exchange" "Unknown option foo for -ensemble_exchange. Available options: auto shared messages" -ensemble_exchange foo
bad "perturbed observations of classes" "-eki_update stochastic with -observations_loss cross-entropy" -analysis_type eki -eki_update stochastic
bad "flipout without whole blocks" "takes members in blocks of 16" -analysis_type haber -haber_draws flipout
bad "flipout that is projected" "leaves nothing to -haber_project" -analysis_type haber -haber_draws flipout -haber_project -ensemble_size 16
# shellcheck disable=SC2086
refuse "rank-one of pooled layers" "take -cnn_pooling average" $base $data -model_type cnn -cnn_input 4,5,1 -cnn_layers conv:3:2,pool:2,dense:4 -analysis_type haber -haber_draws rank-one
bad "moments with a line search" "leave -haber_line_search out" -analysis_type haber -haber_scaling moments -haber_line_search 2
bad "a schedule without its cycles" "needs -analysis_schedule_cycles" -analysis_type haber -haber_step_schedule cosine
bad "a schedule that nothing follows" "-analysis_schedule_cycles 4: nothing runs over them" -analysis_type haber -analysis_schedule_cycles 4
bad "a schedule of a method without" "Unknown option -analysis_schedule_cycles (the method has no schedule)" -analysis_schedule_cycles 4
bad "a climatology of a network" "Unknown option -run_climatology_cycles (the method takes no climatology)" -run_climatology_cycles 50
bad "a solver's option that is misspelt" "Unknown option -analysis_ksp_tpye: no part" -analysis_ksp_tpye cg
bad "an option file that is not there" "Option file none.yaml is not there" -options_file none.yaml
bad "an option file that is broken" "Option file broken.yaml cannot be understood" -options_file broken.yaml

# Where snapshots go
bad "a folder that is not there" "folder nowhere" -snapshot_path nowhere/new.h5
bad "a folder for a snapshot" "is a folder; give a file name in it" -snapshot_path folder
bad "a folder that cannot be written to" "/proc/new.h5" -snapshot_path /proc/new.h5
bad "a data set for a snapshot" "classes.h5 is a file that is no snapshot of Kalmia, and is not overwritten" -snapshot_path classes.h5
bad "no path for the snapshots" "needs a file: -snapshot_path" -snapshot_every 2
bad "negative -snapshot_every" "of -snapshot_every -2" -snapshot_every -2 -snapshot_path run.h5
bad "no snapshot kept" "of -snapshot_keep 0" -snapshot_keep 0 -snapshot_path run.h5

# Memory: one rank alone finds that there is none, so exit codes are not looked at but on one rank.
# shellcheck disable=SC2086
ASAN_OPTIONS="$ASAN_OPTIONS:allocator_may_return_null=1" expect_fail "out of memory in KalEnsemble" timeout 60 "$kalmia" $base $data $layers -analysis_type haber -ensemble_size 2000000000

# What a run begins from
bad "no initial members" "none.h5" -ensemble_initial none.h5
bad "initial members of another size" "run.h5" -ensemble_initial run.h5 -mlp_layers 20,8,4
bad "initial members of another number" "run.h5" -ensemble_initial run.h5 -ensemble_size 14
bad "initial members of something else" "classes.h5" -ensemble_initial classes.h5
refuse "restart from nothing" "There is no snapshot none.h5" -restart none.h5
refuse "restart from data" "classes.h5 is an HDF5 file but not a snapshot" -restart classes.h5
refuse "restart from text" "plain.txt" -restart plain.txt
refuse "restart from a truncated snapshot" "cut-run.h5 is truncated" -restart cut-run.h5 -run_cycles 9
refuse "restart from a flipped bit" "flip-run.h5 is damaged" -restart flip-run.h5 -run_cycles 9
refuse "restart from a damaged header" "head-run.h5" -restart head-run.h5 -run_cycles 9
refuse "restart from another format" "version" -restart version-run.h5 -run_cycles 9
refuse "restart with other layers" 'run.h5 was written with model/layout "mlp 20,7,4 relu"' -restart run.h5 -run_cycles 9 -mlp_layers 20,8,4
refuse "restart with another activation" 'this run has "mlp 20,7,4 tanh"' -restart run.h5 -run_cycles 9 -mlp_activation tanh
refuse "restart with another number of members" "run.h5 was written with ensemble/N = 13, this run has 14: leave -ensemble_size out" -restart run.h5 -run_cycles 9 -ensemble_size 14
refuse "restart with another seed" "run.h5 was written with run/seed = 0, this run has 8: leave -run_seed out" -restart run.h5 -run_cycles 9 -run_seed 8
refuse "restart with another method" 'run.h5 was written with analysis/type "etki", this run has "eki"' -restart run.h5 -run_cycles 9 -analysis_type eki
refuse "restart with other data" "400" -restart run.h5 -run_cycles 9 -observations_path idx-counts
refuse "restart and initial members" "give one of them" -restart run.h5 -ensemble_initial run.h5

same "no file was changed" "$(digest)" "$before"
check "no file was left over" [ -z "$(find . -name '*.tmp*')$(find . -name 'new.h5')" ]
summary
