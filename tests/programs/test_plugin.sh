#!/usr/bin/env bash
# A model from a shared object: found and run, the same bits on 1, 2 and 3 ranks and after a restart; a file that is
# missing, is no plug-in, or was built for something else is refused on every rank with one message.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python
compgen -G "$KALMIA_BUILD/lib/libkalmia.so*" >/dev/null || skip "plug-ins need a shared libkalmia"

kalmia=$KALMIA_BIN/kalmia
heat=$KALMIA_SOURCE/share/examples/heat
library=$KALMIA_BUILD/examples/heat/libheat.so
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
check "the example's plug-in is built" [ -s "$library" ] || summary
cp "$library" libheat.so
"$PYTHON" "$heat/makedata.py" heat.h5 || exit 1
options="-options_file $heat/heat.yaml -run_cycles 6 -ensemble_size 9 -run_monitor_every 0"

first=
for ranks in 1 2 3; do
  rm -f heat-run.h5*
  # shellcheck disable=SC2086 # options are words
  check "it runs on $ranks" run $ranks "$kalmia" $options >out || cat out
  first=${first:-$(result_value checksum <out)}
  same "the same bits" "$(result_value checksum <out)" "$first"
done
check "the type is the one that was registered" grep -q '^Model: type heat, 2 numbers' out
check "its options are documented" bash -c "'$kalmia' -model_type ./libheat.so -help >help && grep -q -- -heat_zones help"
# shellcheck disable=SC2086
run 1 "$kalmia" $options -run_cycles 3 -snapshot_path half.h5 >out
check "a restart loads it again" run 2 "$kalmia" -restart half.h5 -run_cycles 6 >out
same "and goes on with the same bits" "$(result_value checksum <out)" "$first"
check "loaded by its absolute path" run 2 "$kalmia" -restart half.h5 -run_cycles 6 -model_type "$PWD/libheat.so" >out
same "with the same bits" "$(result_value checksum <out)" "$first"
# shellcheck disable=SC2086
LD_LIBRARY_PATH=$PWD${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} check "or by its name alone, where the loader looks" run 1 "$kalmia" $options -model_type libheat.so >out
# shellcheck disable=SC2086
same "too" "$(result_value checksum <out)" "$first"
# shellcheck disable=SC2086
expect_fail "Unknown option -heat_zone:" run 2 "$kalmia" $options -heat_zone 3
# shellcheck disable=SC2086
expect_fail "type registered" run 1 bash -c "cd / && '$kalmia' -model_type registered -observations_path '$PWD/heat.h5' 2>&1 | sed 's/Unknown model type registered/type registered/'; exit 1"

# What is wrong with a file.
build() { # build NAME: a shared object from the C text on standard input
  "${CC:-cc}" -shared -fPIC -x c - -o "$1"
}
build nothing.so <<'C'
int nothing_of_kalmia = 1;
C
build half.so <<C
const char *KalModelPluginBuild(void) { return "anything"; }
C
build other.so <<C
const char *KalModelPluginBuild(void) { return "Kalmia 0.0.9, PETSc 3.18, 32-bit indices"; }
int KalModelPluginRegister(void) { return 0; }
C
mine=$("$PYTHON" - libheat.so <<'PY'
import ctypes, sys
f = ctypes.CDLL("./" + sys.argv[1]).KalModelPluginBuild
f.restype = ctypes.c_char_p
print(f().decode())
PY
)
[ -n "$mine" ] || mine=$(strings -a libheat.so | grep '^Kalmia .*, PETSc .* indices$' | head -n 1)
build silent.so <<C
const char *KalModelPluginBuild(void) { return "$mine"; }
int KalModelPluginRegister(void) { return 0; }
C
build unresolved.so <<C
int no_such_function_anywhere(void);
const char *KalModelPluginBuild(void) { return "$mine"; }
int KalModelPluginRegister(void) { return no_such_function_anywhere(); }
C
echo "this is text" >text.so
export OMPI_MCA_orte_abort_on_non_zero_status=0
refuse() { # refuse "what" "message" PATH
  local ranks
  for ranks in 1 3; do
    rm -f codes
    # shellcheck disable=SC2016
    KALMIA_LIMIT=60 run $ranks bash -c '"$@"; code=$?; echo $code >>codes; exit $code' - "$kalmia" -observations_path heat.h5 -model_type "$3" >out 2>err
    check "$1: exit code 1 on each of $ranks" [ "$(sort codes | uniq -c | tr -s ' ')" = " $ranks 1" ]
    check "$1: one message" [ "$(grep -c '^kalmia: error' err)" = 1 ]
    check "$1: that says \"$2\"" grep -qF -- "$2" err || cat err
  done
}
refuse "missing" "Cannot load the model plug-in ./nosuch.so (-model_type)" ./nosuch.so
refuse "missing, without a slash" "a file of this folder is named with ./ before it" nosuch.so
refuse "a folder" "Cannot load the model plug-in ./" ./
refuse "text" "Cannot load the model plug-in ./text.so" ./text.so
refuse "no plug-in" "./nothing.so (-model_type) is no plug-in of Kalmia: it lacks the symbol KalModelPluginBuild" ./nothing.so
refuse "half a plug-in" "lacks the symbol KalModelPluginRegister" ./half.so
refuse "another version" "was built for Kalmia 0.0.9, PETSc 3.18, 32-bit indices, and this is $mine: build it again" ./other.so
refuse "registers nothing" "registered no type of model" ./silent.so
refuse "an open symbol" "no_such_function_anywhere" ./unresolved.so
summary
