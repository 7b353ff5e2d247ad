#!/usr/bin/env bash
# What a dry run says of the machine: nothing where all is well, else one line `advice: ...` for each thing that makes it slow. An ordinary
# run says it of the slow BLAS and of too many threads.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

kalmia=$KALMIA_BIN/kalmia
export ASAN_OPTIONS="${ASAN_OPTIONS:-}:detect_leaks=0"
options=(-model_type lorenz96 -observations_type twin -analysis_type etkf -run_cycles 2)
cores=$(kal_cores)
first=$(taskset -cp $$ 2>/dev/null | sed -n 's/.*: \([0-9]*\).*/\1/p') # of the cores that this test may use
reference=/usr/lib/$(uname -m)-linux-gnu/blas
threaded=/usr/lib/$(uname -m)-linux-gnu/openblas-pthread

# advice COUNT "text" FILE: FILE has so many lines of advice, and one of them says `text`.
advice() {
  [ "$(grep -c '^advice: ' "$3")" = "$1" ] && grep '^advice: ' "$3" | grep -qE -- "$2"
}
none() { [ "$(grep -c '^advice: ' "$1")" = 0 ]; }

run 1 "$kalmia" "${options[@]}" -run_dry >good.1
run "$cores" "$kalmia" "${options[@]}" -run_dry >good.all
run $((cores + 1)) "$kalmia" "${options[@]}" >ordinary
check "as jobs/setup.sh has it: none on 1 rank" none good.1
check "nor on $cores" none good.all
check "nor in an ordinary run on more ranks than cores" none ordinary

run $((cores + 3)) "$kalmia" "${options[@]}" -run_dry >many
check "more ranks than cores" advice 1 "^advice: $((cores + 3)) ranks have $cores cores? of the node and take turns" many
tail -n 1 many >last
check "and that is said last" advice 1 "take turns" last
if [ -n "$first" ]; then
  taskset -c "$first" "$MPIEXEC" -n 2 "$kalmia" "${options[@]}" -run_dry >bound </dev/null
  check "two ranks bound to one core" advice 1 "^advice: 2 ranks have 1 core of the node" bound
fi
if [ "$cores" -ge 2 ] && ! [ -e /sys/fs/cgroup/cpu.max ] && unshare -m true 2>/dev/null; then
  echo "100000 100000" >cpu.max
  # shellcheck disable=SC2016 # expanded in that shell
  timeout 60 unshare -m bash -c 'mount -t tmpfs none /sys/fs/cgroup && cp cpu.max /sys/fs/cgroup && exec "$@"' - "$MPIEXEC" -n 2 "$kalmia" "${options[@]}" -run_dry >granted </dev/null
  check "a control group that grants one core" advice 1 "^advice: 2 ranks have 1 core of the node" granted
fi

if [ -e "$reference/libblas.so.3" ]; then
  LD_LIBRARY_PATH=$reference run 1 "$kalmia" "${options[@]}" -run_dry >slow
  LD_LIBRARY_PATH=$reference run 1 "$kalmia" "${options[@]}" >slow.run
  check "the reference BLAS" advice 1 "^advice: the BLAS that is loaded, $reference/libblas.so.3.*, is the slow reference one.*install libopenblas0-serial" slow
  check "and in an ordinary run" advice 1 "slow reference one" slow.run
fi
if [ -e "$threaded/libblas.so.3" ]; then
  LD_LIBRARY_PATH=$threaded OPENBLAS_NUM_THREADS=$((cores + 1)) run 2 "$kalmia" "${options[@]}" >threads
  check "BLAS threads that outnumber the cores" advice 1 "^advice: 2 ranks with $((2 * cores + 2)) BLAS threads in all have .*export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1" threads
fi

# OpenBLAS's kernels: older ones than the processor's, and different ones.
if [ "$(kal_vectors)" = avx512 ] && [ "$(OPENBLAS_CORETYPE=HASWELL kal_blas_core)" = Haswell ]; then
  OPENBLAS_CORETYPE=HASWELL run 1 "$kalmia" "${options[@]}" -run_dry >old
  check "kernels older than the processor" advice 1 "^advice: OpenBLAS runs its Haswell kernels on a processor with AVX-512, at about 0.6 of the speed: export OPENBLAS_CORETYPE=SKYLAKEX" old
  timeout 60 taskset -c "${first:-0}" "$MPIEXEC" -n 1 env OPENBLAS_CORETYPE=SKYLAKEX "$kalmia" "${options[@]}" -run_dry : -n 1 env OPENBLAS_CORETYPE=HASWELL "$kalmia" "${options[@]}" -run_dry >mixed </dev/null
  check "several things at once" advice 3 "^advice: OpenBLAS runs its Haswell kernels" mixed
  check "different kernels" advice 3 "^advice: ranks run different BLAS kernels, rank 0 [^ ]* SkylakeX and rank 1 [^ ]* Haswell, .*mpiexec -x OPENBLAS_CORETYPE" mixed
elif [ -n "$(kal_blas_core)" ] && [ -n "$(kal_vectors)" ]; then
  OPENBLAS_CORETYPE=NEHALEM run 1 "$kalmia" "${options[@]}" -run_dry >old
  check "kernels older than the processor" advice 1 "^advice: OpenBLAS runs its Nehalem kernels" old
fi
summary
