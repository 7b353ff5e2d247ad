# The plots of jobs/scaling.sh:  gnuplot -e "table='scaling/scaling.csv'; folder='scaling'" share/plots/scaling.gp
# Needs awk. Draws time, efficiency, phases-STUDY and bytes, each as .png and .svg.
set datafile separator comma
studies = system(sprintf("awk -F, 'NR > 1 && !seen[$1]++ { print $1 }' '%s'", table))
phases  = "forecast observe exchange whiten gram sum tell solve transform draw update score snapshot other"

# Lines of a study and phase by ranks: ranks, seconds a cycle, most bytes that a rank sends or receives a cycle (half of what it works on in a
# shared window, which is read and written), the bound.
awk(study, phase) = sprintf("< awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next } $1 == \"%s\" && $c[\"phase\"] == \"%s\" && $c[\"cycles\"] > 0 { n = $c[\"cycles\"]; b = $c[\"sent_most\"] > $c[\"received_most\"] ? $c[\"sent_most\"] : $c[\"received_most\"]; b += $c[\"shared_most\"] / 2; print $c[\"ranks\"] \",\" $c[\"seconds\"] / n \",\" b / n \",\" (\"bound\" in c ? $c[\"bound\"] : \"NaN\") }' '%s' | sort -n", study, phase, table)
# Seconds on the fewest ranks, times these for a strong study.
first(study) = real(system(sprintf("awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next } $1 == \"%s\" && $c[\"phase\"] == \"all\" { print $c[\"ranks\"], $c[\"seconds\"] / $c[\"cycles\"] * (\"%s\" == \"strong\" ? $c[\"ranks\"] : 1) }' '%s' | sort -n | head -n 1 | cut -d' ' -f2", study, study, table)))

set key top left
set grid
set xlabel "ranks"
set logscale x 2
colours = "#4477aa #66ccee #228833 #ccbb44 #ee6677 #aa3377 #222255 #884411 #88ccaa #ddaa77 #999933 #bbbbbb #000000 #dddddd"
do for [i = 1:words(colours)] { set linetype i lc rgb word(colours, i) lw 2 pt 7 }

do for [kind in "png svg"] {
  if (kind eq "png") {
    if (strstrt(GPVAL_TERMINALS, "pngcairo")) { set terminal pngcairo size 900,600 } else { set terminal png size 900,600 }
  } else {
    set terminal svg size 900,600 background "white"
  }
  set logscale y
  set ylabel "seconds a cycle"
  set output sprintf("%s/time.%s", folder, kind)
  plot for [study in studies] awk(study, "all") using 1:2 with linespoints lw 2 pt 7 title study, \
       for [study in studies] awk(study, "all") using 1:(study eq "strong" ? first(study) / $1 : first(study)) with lines dt 2 title study." ideal"

  unset logscale y
  set ylabel "efficiency"
  set yrange [0:1.2]
  set output sprintf("%s/efficiency.%s", folder, kind)
  plot for [study in studies] awk(study, "all") using 1:(first(study) / ($2 * (study eq "strong" ? $1 : 1))) with linespoints lw 2 pt 7 title study
  set yrange [0:*]

  set ylabel "seconds a cycle, the slowest rank's in each phase"
  set key outside right
  set style data histograms
  set style histogram rowstacked
  set style fill solid 0.8 border -1
  set boxwidth 0.7
  unset logscale x
  do for [study in studies] {
    set output sprintf("%s/phases-%s.%s", folder, study, kind)
    plot for [phase in phases] awk(study, phase) using 2:xtic(1) title phase
  }
  set style data points
  set key inside top right
  set logscale x 2
  set logscale y
  set yrange [*:*]
  set ylabel "bytes that a rank sends or receives in a cycle"
  set output sprintf("%s/bytes.%s", folder, kind)
  plot for [study in studies] awk(study, "all") using 1:($3 > 0 ? $3 : NaN) with linespoints lw 2 pt 7 title study, \
       for [study in studies] awk(study, "all") using 1:4 with lines dt 2 title study." bound"
  unset logscale y
  set key top left
}
