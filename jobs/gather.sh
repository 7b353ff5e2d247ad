#!/usr/bin/env bash
# One CSV table of a sweep's runs:  jobs/gather.sh [SWEEP.txt [FOLDER]] >table.csv
# A row for each line of SWEEP.txt: its number, the mark of FOLDER/NUMBER.h5 (absent where there is none, damaged where it cannot be read), the cycles done,
# the options of the line, and what the result line has, once the run is done.
set -euo pipefail
sweep=${1:-sweep.txt}
folder=${2:-sweep}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [ -n "${KALMIA_BIN:-}" ]; then PATH=$KALMIA_BIN:$PATH; elif [ -x "$root/build/kalmia-inspect" ]; then PATH=$root/build:$PATH; fi
command -v kalmia-inspect >/dev/null || { echo "gather: kalmia-inspect is not there; build it, or name its folder in KALMIA_BIN" >&2; exit 1; }

number=0
while IFS= read -r line || [ -n "$line" ]; do
  number=$((number + 1))
  file=$folder/$number.h5
  mark=$(kalmia-inspect "$file" --mark 2>/dev/null) || mark="absent 0"
  if [ "$mark" = "absent 0" ] && [ -e "$file" ]; then mark="damaged 0"; fi
  result=
  case $mark in done*) result=$(kalmia-inspect "$file" | sed -n 's/^result  *result: //p') ;; esac
  printf '%s\t%s\t%s\t%s\t%s\n' $number "${mark% *}" "${mark#* }" "$line" "$result"
done <"$sweep" | awk -F '\t' '
  { row[NR] = $1 "," $2 "," $3; gsub(/"/, "\"\"", $4); options[NR] = $4
    count = split($5, pairs, " ")
    for (i = 1; i <= count; i++) {
      at = index(pairs[i], "=")
      key = substr(pairs[i], 1, at - 1)
      if (key == "cycles") continue
      if (!(key in known)) { known[key] = 1; keys[++n] = key }
      value[NR, key] = substr(pairs[i], at + 1)
    } }
  END {
    printf "run,mark,cycles,options"
    for (k = 1; k <= n; k++) printf ",%s", keys[k]
    printf "\n"
    for (r = 1; r <= NR; r++) {
      printf "%s,\"%s\"", row[r], options[r]
      for (k = 1; k <= n; k++) printf ",%s", value[r, keys[k]]
      printf "\n"
    }
  }'
