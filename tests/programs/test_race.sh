#!/usr/bin/env bash
# labels: long
# The race: two entrants with a tiny budget, its table, plots and page; a race that goes on leaves out what it has; what it refuses.
# shellcheck source=tests/programs/common.sh
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"
need_python
make_data classes classes.h5

race() { KALMIA=$KALMIA_BIN/kalmia KALMIA_PYTHON=$PYTHON timeout "${KALMIA_LIMIT:-240}" "$KALMIA_SOURCE/share/race/run.sh" "$@"; }
small="-observations_path $PWD/classes.h5 -mlp_layers 20,7,4 -observations_batch 20"

check "trainers race" race --budget 100000 --options "$small" fashion-mnist/adam fashion-mnist/haber
check "inverters race" race --budget 2000 elliptic/etki elliptic/enrml
cp race/race.csv first.csv
check "the race goes on" race --budget 2000 elliptic/etki elliptic/enrml forcing/uki lorenz96/etkf
check "and leaves out what it has" [ "$(head -n "$(wc -l <first.csv)" race/race.csv | cmp - first.csv && echo same)" = same ]
check "it adds the others" [ "$(cut -d, -f1,2 race/race.csv | sort -u | wc -l)" = 7 ]

# column ENTRANT NAME: the last value of an entrant.
column() { awk -F, -v entrant="$1" -v name="$2" 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i } $2 == entrant { v = $c[name] } END { print v }' race/race.csv; }
for entrant in adam haber; do
  check "$entrant: within its budget, and near it" awk -v p="$(column $entrant forward_passes)" 'BEGIN { exit !(p <= 100000 && p > 90000) }'
  check "$entrant: better than chance" awk -v a="$(column $entrant accuracy)" 'BEGIN { exit !(a > 0.3 && a <= 1) }'
done
check "etki: as many moments as cycles" [ "$(grep -c "^elliptic,etki," race/race.csv)" = "$(column etki cycle)" ]
check "etkf: some 20 moments" [ "$(grep -c "^lorenz96,etkf," race/race.csv)" -ge 15 ]
check "etki: near the posterior" awk -v e="$(column etki error)" -v s="$(column etki spread)" 'BEGIN { exit !(e < 3 && s > 0.3 && s < 5) }'
check "enrml: iterations in place of cycles" [ "$(column enrml cycle)" = 1 ]
check "enrml: within its budget, and near it" awk -v p="$(column enrml forward_passes)" 'BEGIN { exit !(p <= 2000 && p > 1000) }'
check "etkf: the forcing is found" awk -v e="$(column etkf error)" 'BEGIN { exit !(e < 1) }'
if command -v gnuplot >/dev/null; then
  for plot in fashion-mnist-passes elliptic-seconds lorenz96-passes; do check "plot $plot" [ -s "race/$plot.png" ]; done
fi

printf 'before\n<!-- table elliptic -->\nold\n<!-- end -->\n<!-- table fashion-mnist -->\n<!-- end -->\nafter\n' >page.md
check "the page's tables" "$PYTHON" "$KALMIA_SOURCE/share/race/table.py" race/race.csv page.md
check "the page keeps its text" [ "$(sed -n '1p;$p' page.md | tr '\n' ' ')" = "before after " ]
check "the page has the entrants" [ "$(grep -cE '^\| `(etki|enrml|adam|haber)` \|' page.md)" = 4 ]
check "the old table is gone" sh -c '! grep -q old page.md'

expect_fail "there is no problem and no entrant nobody" race nobody
expect_fail "is no whole number" race --budget 1e6 elliptic/uki
check "entrants are named" [ "$(race --list elliptic/uki)" = elliptic/uki ]
race --list >entrants
check "a list of all entrants" [ "$(wc -l <entrants)" -gt 50 ]
summary
