#!/usr/bin/env bash
# Builds and runs every test: the suite, the batch scripts on a Slurm of virtual nodes, the suite once more under the
# sanitizers, a strict build with clang and the layout of the sources (the last two where clang and clang-format are there).
# Installs what is missing.
#   KALMIA_BUILD  the build folder (default: build in the tree); its neighbours BUILD-sanitize and BUILD-clang
#                 hold the other builds
#   KALMIA_PARTS  which parts to run (default: "suite slurm sanitize clang format")
# The last line is "N passed, N failed", counted over all parts, with ", N skipped" where there are any.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=jobs/setup.sh
. "$root/jobs/setup.sh"
build=${KALMIA_BUILD:-$root/build}
parts=" ${KALMIA_PARTS:-suite slurm sanitize clang format} "
passed=0
failed=0
skipped=0
failures=()

fail() {
  failed=$((failed + 1))
  failures+=("$1")
}

# one "name" COMMAND...: a case of its own
one() {
  local name=$1
  shift
  echo "== $name"
  if "$@"; then passed=$((passed + 1)); else fail "$name"; fi
}

# suite "part" BUILD CTEST-OPTION...: runs ctest, counts its cases and notes the names of those that failed.
suite() { # twice as many at once as there are cores: most of a short run is its start
  local part=$1 folder=$2 log=$2/ctest.log before=$failed line
  shift 2
  echo "== $part"
  (cd "$folder" && ctest --parallel "$((2 * $(kal_cores)))" --output-on-failure --no-tests=error "$@" 2>&1) | tee "$log"
  local code=${PIPESTATUS[0]}
  while IFS= read -r line; do
    case $line in
      *" Passed "*) passed=$((passed + 1)) ;;
      *"***Skipped"*) skipped=$((skipped + 1)) ;;
      *) fail "$part: $(sed -E 's/^ *[0-9]+\/[0-9]+ Test +#[0-9]+: ([^ ]+).*/\1/' <<<"$line")" ;;
    esac
  done < <(grep -E '^ *[0-9]+/[0-9]+ Test +#[0-9]+: ' "$log")
  if [ "$code" -ne 0 ] && [ "$failed" -eq "$before" ]; then fail "$part: ctest returned $code"; fi
}

# Each case of tests/slurm is a case; all are skipped where there is no Slurm and none can be installed.
slurm() {
  local line before=$((passed + failed + skipped))
  echo "== batch scripts on Slurm"
  if ! kal_packages slurm; then
    echo "skipped: Slurm cannot be installed here"
    skipped=$((skipped + 1))
    return
  fi
  while IFS= read -r line; do
    echo "$line"
    case $line in
      'passed: '*) passed=$((passed + 1)) ;;
      'skipped: '*) skipped=$((skipped + 1)) ;;
      'failed: '*) fail "${line#failed: }" ;;
    esac
  done < <(KALMIA_BUILD=$build bash "$root/tests/slurm/run.sh" 2>&1)
  if [ $((passed + failed + skipped)) -eq $before ]; then fail "slurm: no case was run"; fi
}

format() {
  local file wrong=0
  while IFS= read -r file; do
    if ! clang-format --dry-run --Werror "$file" 2>/dev/null; then
      echo "  not laid out by .clang-format: ${file#"$root"/}"
      wrong=1
    fi
  done < <(find "$root/include" "$root/src" "$root/apps" "$root/tests" -name '*.[ch]' | sort)
  return $wrong
}

start=$SECONDS
if ! kal_packages tests; then
  fail "packages"
else
  case $parts in *" suite "*)
    if kal_build all "$root" "$build" -DKALMIA_TESTS=ON -DKALMIA_SANITIZE=OFF; then
      suite "suite" "$build"
    else
      fail "suite: build"
    fi
    ;;
  esac
  case $parts in *" slurm "*)
    if kal_build programs "$root" "$build" -DKALMIA_SANITIZE=OFF; then slurm; else fail "slurm: build"; fi
    ;;
  esac
  case $parts in *" sanitize "*)
    if kal_build all "$root" "$build-sanitize" -DKALMIA_TESTS=ON -DKALMIA_SANITIZE=ON; then
      suite "sanitized suite" "$build-sanitize" --label-regex '^sanitize$'
    else
      fail "sanitized suite: build"
    fi
    ;;
  esac
  case $parts in *" clang "*)
    if command -v clang >/dev/null; then
      one "strict build with clang" kal_build all "$root" "$build-clang" -DKALMIA_TESTS=ON -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS=-Werror
    fi
    ;;
  esac
  case $parts in *" format "*)
    if command -v clang-format >/dev/null; then one "sources are laid out by .clang-format" format; fi
    ;;
  esac
fi

echo
for name in "${failures[@]+"${failures[@]}"}"; do echo "failed: $name"; done
echo "$((SECONDS - start)) seconds"
line="$passed passed, $failed failed"
if [ $skipped -gt 0 ]; then line="$line, $skipped skipped"; fi
echo "$line"
[ $failed -eq 0 ] && [ $passed -gt 0 ]
