"""Peak memory of some processes, as PSS: a page that k of them share counts 1/k in each.

pss.py COUNT FILE waits until FILE holds COUNT process ids and polls /proc/PID/smaps_rollup until all of them are gone. Prints the peak of
their sum and the largest peak of one of them, in KiB; 0 0 where they were never seen all at once, or after 240 s.
"""
import sys
import time


def ids(file):
    try:
        return [int(word) for word in open(file).read().split()]
    except (OSError, ValueError):
        return []


def pss(pid):
    """KiB, or None of a process that is gone."""
    try:
        with open("/proc/%d/smaps_rollup" % pid) as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Pss:")), None)
    except OSError:
        return None


def main():
    count, file = int(sys.argv[1]), sys.argv[2]
    peak, one, seen, pids, end = 0, 0, 0, [], time.time() + 240
    while time.time() < end:
        if len(pids) < count:
            pids = ids(file)
        sizes = [size for size in map(pss, pids) if size is not None]
        peak, one, seen = max(peak, sum(sizes)), max([one] + sizes), max(seen, len(sizes))
        if len(pids) == count and not sizes:
            break
        time.sleep(0.02)
    print(peak, one) if seen == count else print(0, 0)


main()
