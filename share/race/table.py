#!/usr/bin/python3
"""The tables of share/doc/race.md from a race's table: table.py race.csv [race.md]. Without a page they are printed.

A table stands between the lines "<!-- table PROBLEM -->" and "<!-- end -->" of the page, which stay. Of several seeds the means are shown.
"""
import collections
import csv
import statistics
import sys


def finals(path, problem):
    """The last line of each entrant and seed, in the order of the table; of filters with the error over the second half of the run."""
    runs = collections.OrderedDict()
    with open(path, newline="") as f:
        for row in csv.DictReader(f):
            if row["problem"] == problem:
                runs.setdefault((row["entrant"], row["seed"]), []).append(row)
    grouped = collections.OrderedDict()
    for (entrant, _), rows in runs.items():
        last = rows[-1]
        if problem == "lorenz96":
            last["error"] = statistics.mean(float(row["error"]) ** 2 for row in rows[len(rows) // 2 :]) ** 0.5
        grouped.setdefault(entrant, []).append(last)
    return grouped


def mean(rows, column):
    values = [float(row[column]) for row in rows if row[column] != ""]
    return statistics.mean(values) if values else float("nan")


def text(value, form):
    return "" if value != value else format(value, form)


def passes(rows):
    return f"{mean(rows, 'forward_passes') / 1e6:.2f} M" if mean(rows, "forward_passes") >= 1e6 else f"{mean(rows, 'forward_passes'):.0f}"


def trainers(groups):
    yield "| entrant | N | forward passes | accuracy | nll | calibration error | of the ensemble | seconds |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for entrant, rows in sorted(groups.items(), key=lambda group: -mean(group[1], "accuracy")):
        several = int(rows[0]["members"]) > 1
        yield f"| `{entrant}` | {rows[0]['members']} | {passes(rows)} | {mean(rows, 'accuracy'):.4f} | {text(mean(rows, 'nll'), '.3f')} | {text(mean(rows, 'ece'), '.3f')} | {text(mean(rows, 'accuracy_ensemble'), '.4f') if several else ''} | {mean(rows, 'seconds'):.1f} |"


def inverters(groups):
    yield "| entrant | N | cycles | forward passes | error | spread | seconds |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for entrant, rows in sorted(groups.items(), key=lambda group: mean(group[1], "error")):
        yield f"| `{entrant}` | {rows[0]['members']} | {mean(rows, 'cycle'):.0f} | {passes(rows)} | {text(mean(rows, 'error'), '.3g')} | {text(mean(rows, 'spread'), '.3g')} | {mean(rows, 'seconds'):.2f} |"


def lines(path, problem):
    groups = finals(path, problem)
    return list(trainers(groups) if problem.startswith("fashion-mnist") else inverters(groups)) if groups else []


def main():
    if len(sys.argv) == 2:
        for problem in ("fashion-mnist", "fashion-mnist-relu", "elliptic", "forcing", "lorenz96"):
            print("\n".join([problem, ""] + lines(sys.argv[1], problem) + [""]))
        return
    page, out, inside = open(sys.argv[2]).read().splitlines(), [], False
    for line in page:
        if line.startswith("<!-- table "):
            made = lines(sys.argv[1], line.split()[2])
            inside = bool(made)  # of a problem that the race did not run the old table stays
            out += [line, *made] if made else [line]
        elif line == "<!-- end -->":
            inside = False
            out.append(line)
        elif not inside:
            out.append(line)
    with open(sys.argv[2], "w") as f:
        f.write("\n".join(out) + "\n")


if __name__ == "__main__":
    main()
