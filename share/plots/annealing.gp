# Action against the weight of the dynamics, a line a path:  gnuplot -e "table='levels.csv'; figure='annealing'" share/plots/annealing.gp
# `table` is one of -run_levels. Draws figure.png and figure.svg; the dashed line is the chi-square level.
set datafile separator comma
if (!exists("figure")) figure = "annealing"
stats table using 3 skip 1 nooutput
members = int(STATS_max) + 1
stats table using 7 skip 1 nooutput
expected = STATS_max

set logscale xy
set format x "10^{%T}"
set format y "10^{%T}"
set xlabel "weight of the dynamics, R_f"
set ylabel "action"
set grid
set key bottom right
do for [kind in "png svg"] {
  if (kind eq "png") {
    if (strstrt(GPVAL_TERMINALS, "pngcairo")) { set terminal pngcairo size 900,600 } else { set terminal png size 900,600 }
  } else {
    set terminal svg size 900,600 background "white"
  }
  set output sprintf("%s.%s", figure, kind)
  plot for [j=0:members-1] table skip 1 every members::j using 2:4 with linespoints lw 1 pt 7 ps 0.4 lc (j + 1) title (j ? "" : sprintf("%d paths", members)), \
       (expected > 0 ? expected : NaN) with lines dt 2 lw 2 lc "black" title "chi-square level"
}
