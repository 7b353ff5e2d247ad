# shellcheck shell=bash
# The environment Kalmia runs in, and the packages it is built with. To be sourced by bash:
#
#   . jobs/setup.sh                    exports the environment, once a shell
#   kal_packages [tests] [data] [plots] [torch] [slurm]  installs what is missing (Debian, as root or through sudo)
#   kal_build TARGET SOURCE BUILD [OPTION...]  configures and builds, quietly unless something fails
#   kal_cores                          prints how many ranks this machine has cores for

# Cores that may be used: those of the affinity mask, or fewer where a control group grants fewer.
kal_cores() {
  local cores quota period
  # nproc would answer OMP_NUM_THREADS, which is 1 here.
  cores=$(env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
  if [ -r /sys/fs/cgroup/cpu.max ] && read -r quota period </sys/fs/cgroup/cpu.max && [ "$quota" != max ]; then
    quota=$(((quota + period - 1) / period))
    if [ "$quota" -lt "$cores" ]; then cores=$quota; fi
  fi
  if [ "$cores" -lt 1 ]; then cores=1; fi
  echo "$cores"
}

# The kernel set that OpenBLAS takes when it is loaded as libblas.so.3; nothing for any other BLAS.
kal_blas_core() {
  OPENBLAS_VERBOSE=2 LD_PRELOAD=libblas.so.3 /bin/true 2>&1 | sed -n 's/^Core: //p' | head -n 1
}

# The vectors of the processor that OpenBLAS has kernels for: avx512, avx2, or nothing.
kal_vectors() {
  local flag flags
  flags=" $(sed -n 's/^flags[^:]*://p;T;q' /proc/cpuinfo) "
  case $flags in *' avx2 '*) ;; *) return 0 ;; esac
  case $flags in *' fma '*) ;; *) return 0 ;; esac
  for flag in avx512f avx512cd avx512bw avx512dq avx512vl; do
    case $flags in *" $flag "*) ;; *)
      echo avx2
      return 0
      ;;
    esac
  done
  echo avx512
}

# What mpiexec and BLAS are to be told. A value that is set already stays.
kal_environment() {
  local core best good
  if [ "$(id -u)" -eq 0 ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
  fi
  export OMPI_MCA_rmaps_base_oversubscribe="${OMPI_MCA_rmaps_base_oversubscribe:-1}"
  export OMPI_MCA_hwloc_base_binding_policy="${OMPI_MCA_hwloc_base_binding_policy:-none}"
  export OMPI_MCA_mpi_yield_when_idle="${OMPI_MCA_mpi_yield_when_idle:-1}"
  export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OPENBLAS_NUM_THREADS="${OPENBLAS_NUM_THREADS:-1}"
  # An OpenBLAS older than the processor falls back to kernels of an older one, at 0.6 of the speed or less.
  if [ -z "${OPENBLAS_CORETYPE:-}" ] && [ -r /proc/cpuinfo ]; then
    case $(kal_vectors) in
      avx512) best=SKYLAKEX good='SkylakeX|Cooperlake|Sapphire' ;;
      avx2) best=HASWELL good='Haswell|Zen|SkylakeX|Cooperlake|Sapphire' ;;
      *) return 0 ;;
    esac
    core=$(kal_blas_core)
    if [ -n "$core" ] && ! grep -qiE "^($good)" <<<"$core"; then
      core=$(OPENBLAS_CORETYPE=$best kal_blas_core)
      if [ "${core^^}" = $best ]; then export OPENBLAS_CORETYPE=$best; fi
    fi
  fi
}

# Whether the C compiler finds a header.
kal_header() {
  printf '#include <%s>\n' "$1" | "${CC:-cc}" -E -x c - >/dev/null 2>&1
}

# Whether one of some pkg-config modules is there.
kal_module() {
  local module
  command -v pkg-config >/dev/null || return 1
  for module; do
    if pkg-config --exists "$module"; then return 0; fi
  done
  return 1
}

# Whether a Debian package is installed.
kal_debian() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

# The packages that are missing, by what is found rather than by name, so that a cluster's modules count.
kal_missing() {
  local want=" $* " debian=0
  if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then debian=1; fi
  command -v "${CC:-cc}" >/dev/null || echo gcc
  kal_header stdio.h || echo libc6-dev
  command -v make >/dev/null || echo make
  command -v cmake >/dev/null || echo cmake
  command -v pkg-config >/dev/null || echo pkg-config
  command -v mpicc >/dev/null || echo libopenmpi-dev
  command -v mpiexec >/dev/null || echo openmpi-bin
  [ -n "${PETSC_DIR:-}" ] || kal_module PETSc petsc || echo libpetsc-real-dev
  [ -n "${HDF5_ROOT:-}" ] || kal_module hdf5-openmpi hdf5-mpich hdf5-mpi || command -v h5pcc >/dev/null || echo libhdf5-openmpi-dev
  kal_header zlib.h || echo zlib1g-dev
  kal_module fftw3 || kal_header fftw3.h || echo libfftw3-dev
  kal_header Random123/philox.h || echo librandom123-dev
  kal_header xxhash.h || echo libxxhash-dev
  if [ $debian = 1 ]; then
    kal_module blas || echo libblas-dev
    kal_module lapack || echo liblapack-dev
    # Any BLAS but the reference one, which is ten times slower, is taken as it is.
    case $(readlink -f "/usr/lib/$(uname -m)-linux-gnu/libblas.so.3") in
      /usr/lib/*-gnu/libblas.so.3 | */blas/libblas.so.3*) echo libopenblas0-serial ;;
    esac
  fi
  case $want in *" tests "*)
    kal_module cmocka || echo libcmocka-dev
    command -v h5dump >/dev/null || echo hdf5-tools
    if [ $debian = 1 ]; then
      kal_debian python3-numpy || echo python3-numpy
      kal_debian python3-h5py || echo python3-h5py
    else
      python3 -c 'import h5py, numpy' 2>/dev/null || echo python3-h5py
    fi
    ;;
  esac
  case $want in *" data "*)
    [ -d /usr/share/datasets/fashion-mnist ] || echo dataset-fashion-mnist
    ;;
  esac
  case $want in *" plots "*)
    command -v gnuplot >/dev/null || echo gnuplot-nox
    ;;
  esac
  case $want in *" slurm "*)
    PATH=$PATH:/usr/sbin:/sbin
    command -v slurmctld >/dev/null || echo slurmctld
    command -v slurmd >/dev/null || echo slurmd
    command -v sbatch >/dev/null || echo slurm-client
    command -v munged >/dev/null || echo munge
    if [ $debian = 1 ]; then kal_debian slurm-wlm-basic-plugins || echo slurm-wlm-basic-plugins; fi
    command -v unshare >/dev/null || echo util-linux
    command -v ip >/dev/null || echo iproute2
    command -v ps >/dev/null || echo procps
    ;;
  esac
  case $want in *" torch "*)
    if [ $debian = 1 ]; then
      kal_debian python3-numpy || echo python3-numpy
      kal_debian python3-torch || echo python3-torch
    else
      python3 -c 'import numpy, torch' 2>/dev/null || echo python3-torch
    fi
    ;;
  esac
}

# Installs what is missing; with nothing missing it takes no time and no network.
kal_packages() {
  local missing log apt as_root=() policy=/usr/sbin/policy-rc.d
  missing=$(kal_missing "$@" | sort -u | tr '\n' ' ')
  missing=${missing% }
  if [ -z "$missing" ]; then return 0; fi
  if ! command -v apt-get >/dev/null; then
    echo "setup: not found here, by their Debian names: $missing" >&2
    echo "setup: there is no apt-get to install them; load your cluster's modules or install them, and try again" >&2
    return 1
  fi
  if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null || { [ ! -t 0 ] && ! sudo -n true 2>/dev/null; }; then
      echo "setup: these packages are missing and installing them needs root or sudo:" >&2
      echo "  apt-get update && apt-get install -y --no-install-recommends $missing" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300)
  echo "setup: installing $missing"
  log=$(mktemp)
  # Slurm and munge are wanted as programs; nobody asked for their daemons to be started.
  if [[ " $* " == *" slurm "* ]] && [ ! -e $policy ]; then
    trap '"${as_root[@]}" rm -f "$policy"; exit 130' INT TERM
    "${as_root[@]}" sh -c "printf '#!/bin/sh\nexit 101\n' >$policy && chmod 755 $policy"
  else
    policy=
  fi
  "${apt[@]}" update >"$log" 2>&1 || echo "setup: apt-get update failed; trying with the package lists there are" >&2
  # shellcheck disable=SC2086 # one word a package
  if ! "${apt[@]}" install -y --no-install-recommends $missing >>"$log" 2>&1; then
    tail -n 30 "$log" >&2
    echo "setup: apt-get could not install: $missing" >&2
    rm -f "$log"
    if [ -n "$policy" ]; then
      "${as_root[@]}" rm -f $policy
      trap - INT TERM
    fi
    return 1
  fi
  rm -f "$log"
  if [ -n "$policy" ]; then
    "${as_root[@]}" rm -f $policy
    trap - INT TERM
  fi
  missing=$(kal_missing "$@" | sort -u | tr '\n' ' ')
  if [ -n "$missing" ]; then
    echo "setup: installed, but still not found: $missing" >&2
    return 1
  fi
  kal_environment
}

# kal_build TARGET SOURCE BUILD [OPTION...]: the log is shown only where something fails.
kal_build() {
  local target=$1 source=$2 build=$3 log
  shift 3
  mkdir -p "$build"
  log=$build/build.log
  if ! { cmake -S "$source" -B "$build" "$@" && cmake --build "$build" --target "$target" --parallel "$(kal_cores)"; } >"$log" 2>&1; then
    grep -E -A 12 'error|Error|undefined' "$log" | head -n 60 >&2
    echo "build: failed; the whole log is $log" >&2
    return 1
  fi
}

kal_environment
