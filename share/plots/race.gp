# The plots of share/race/run.sh:  gnuplot -e "table='race/race.csv'; folder='race'" share/plots/race.gp
# Needs awk. For each problem of the table one plot against forward passes and one against seconds, as .png and .svg: test accuracy of trainers,
# error of inverters. Of several seeds the first is drawn. The lines to beat, adam and layered, are thick and black, layered with larger points.
problems = system(sprintf("awk -F, 'NR > 1 && !seen[$1]++ { print $1 }' '%s'", table))
entrants(problem) = system(sprintf("awk -F, '$1 == \"%s\" && !seen[$2]++ { print $2 }' '%s'", problem, table))
# Lines of an entrant's first seed: forward passes, seconds, accuracy or error.
awk(problem, entrant) = sprintf("< awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next } $1 == \"%s\" && $2 == \"%s\" { if (!first) first = $3; if ($3 == first) { y = $c[\"accuracy\"] != \"\" ? $c[\"accuracy\"] : $c[\"error\"]; print $c[\"forward_passes\"], $c[\"seconds\"], y } }' '%s'", problem, entrant, table)
leads(name) = name eq "adam" || name eq "layered"
colours = "#4477aa #66ccee #228833 #ccbb44 #ee6677 #aa3377 #222255 #884411 #88ccaa #ddaa77 #999933 #bbbbbb"
colour(k) = word(colours, (k - 1) % words(colours) + 1)

set grid
set key outside right
set logscale x
do for [kind in "png svg"] {
  if (kind eq "png") {
    if (strstrt(GPVAL_TERMINALS, "pngcairo")) { set terminal pngcairo size 1000,650 } else { set terminal png size 1000,650 }
  } else {
    set terminal svg size 1000,650 background "white"
  }
  do for [problem in problems] {
    names = entrants(problem)
    accurate = strstrt(problem, "fashion-mnist") == 1
    if (accurate) {
      unset logscale y
      set yrange [0:0.95]
      set ylabel "test accuracy of the mean network"
    } else {
      set logscale y
      set yrange [*:*]
      set ylabel problem eq "lorenz96" ? "error of the forcing" : "error of the mean in standard deviations of the posterior"
    }
    do for [column = 1:2] {
      set xlabel column == 1 ? "forward passes" : "seconds"
      set output sprintf("%s/%s-%s.%s", folder, problem, column == 1 ? "passes" : "seconds", kind)
      plot for [k = 1:words(names)] awk(problem, word(names, k)) using column:3 with linespoints \
        pt (5 + 2 * ((k - 1) / words(colours))) ps (word(names, k) eq "layered" ? 1.5 : 0.5) lw (leads(word(names, k)) ? 4 : 1.5) lc rgb (leads(word(names, k)) ? "#000000" : colour(k)) title word(names, k)
    }
  }
}
