#!/usr/bin/env python3
"""What a cycle moves and takes: the formulas of share/doc/architecture.md ("What is sent") and share/doc/performance.md.

  model.py traffic --state n --members N --observations p --ranks P [...]   bytes and messages of a rank in a cycle, by phase
  model.py check TABLE.csv ... [...]     a table of -run_phases held against them; fails where a count is beyond 1.1 of its formula
  model.py bound TABLE.csv [...]         the table with a column of the bound of bytes that a rank sends or receives in a cycle
  model.py predict --state n --members N --observations p --ranks P1,P2,... [...]   seconds of a cycle, by phase, and what is largest

Options of all:
  --method eki       eki, etki (a transform of the ensemble), etkf (the same in time, with a truth), haber (members made about a mean)
  --outputs 1        numbers a sample's prediction has: a block has whole samples
  --copies 0         copies of the ensemble (momentum)
  --block-rows 0     -ensemble_block_rows
  --exchange messages   or shared
  --ranks-per-member 1  -run_ranks_per_member; --ranks 64,1024x4 says it for each number of ranks
  --stochastic       eki with perturbed observations
Options of predict: constants of a machine, a rank each, as kalmia-bench -bench_rows machine prints them
  --gemm 40e9        products, flops a second
  --memory 5e9       copies, bytes a second
  --network 1e9      messages, bytes a second
  --latency 2e-6     seconds a message
  --machine FILE     the four above from kalmia-bench -bench_rows machine --csv FILE
  --forecast 0       seconds that the forecast of one member takes
  --forward 0        flops of one member's prediction of one sample (default: 2 n, a network's; 2 of etkf, whose observations see an entry each)
"""
import argparse
import csv
import math
import sys

BLOCK_NUMBERS, BLOCK_MOST, BLOCK_LEAST, BLOCK_GRAM, TREE_SMALL, TOGETHER_BLOCK, BYTES = 65536, 4096, 64, 1024, 4096, 32, 8
MESSAGE_NUMBERS, BUNDLE_MOST = 4096, 16


DRAW_FLOPS = 60  # a normal number takes as long as so many operations of a product
EIGEN = 40  # N^3 times so many, at the rate of products: the spectrum of an N x N matrix


def share(count, rank, ranks):
    return count * rank // ranks


def blocks(n, N, least, group=1, wanted=0):
    """Rows of a canonical block, and how many blocks there are (ChooseBlocks in src/ensemble/ensemble.c)."""
    rows = min(wanted, n) if wanted else max(least, min(BLOCK_MOST, BLOCK_NUMBERS // N))
    count = -(-n // rows)
    if not wanted and count > 2:
        unit = 2 if count <= 8 else 4
        count = -(-count // unit) * unit
    groups = -(-n // group)
    rows = -(-rows // group) * group if wanted else -(-groups // count) * group
    return rows, -(-n // rows)


class Layout:
    """Who holds which members and works on which blocks."""

    def __init__(self, n, N, ranks, per_member, rows, count):
        self.n, self.N, self.ranks, self.s, self.rows, self.count = n, N, ranks, per_member, rows, count

    def members(self, rank):
        first = lambda r: share(self.N, -(-r // self.s), self.ranks // self.s)
        return first(rank + 1) - first(rank)

    def block_range(self, rank):
        return share(self.count, rank, self.ranks), share(self.count, rank + 1, self.ranks)

    def own_rows(self, rank):
        first, last = self.block_range(rank)
        return max(0, min(self.n, last * self.rows) - min(self.n, first * self.rows))

    def bundle(self):
        """Blocks that travel together (Bundle in src/ensemble/rows.c)."""
        numbers = self.rows * -(-self.N // (self.ranks // self.s))
        return max(1, min(-(-MESSAGE_NUMBERS // numbers), BUNDLE_MOST, -(-self.count // self.ranks) // 2))

    def rounds(self, rank):
        first, last = self.block_range(rank)
        return -(-(last - first) // self.bundle())

    def all_rounds(self):
        """Of all ranks; a rank has as many blocks as another, or one more."""
        few, more = self.count // self.ranks, self.count % self.ranks
        return (self.ranks - more) * -(-few // self.bundle()) + more * -(-(few + 1) // self.bundle())

    def holders(self):
        return min(self.N, self.ranks // self.s)


def add(total, **counts):
    for key, value in counts.items():
        total[key] = total.get(key, 0) + value


def stream(total, layout, rank, back, shared):
    """KalEnsembleSumRows (out) or KalEnsembleMapRows (out and back) of one ensemble."""
    m, R = layout.members(rank), layout.own_rows(rank)
    own = layout.rounds(rank)
    ways = 2 if back else 1
    out, home = m * (layout.n - R) * BYTES, R * (layout.N - m) * BYTES
    if shared:
        add(total, shared=ways * home)
        return
    others = layout.holders() - (1 if m else 0)
    messages = (layout.all_rounds() - own if m else 0) + own * others
    add(total, sent=out + (home if back else 0), received=home + (out if back else 0), messages=ways * messages)


def whole_nodes(begin, end):
    """Nodes of the tree among leaves begin..end-1 that are whole (src/ensemble/tree.c)."""
    nodes = 0
    while begin < end:
        width = begin & -begin if begin else 1 << (end.bit_length())
        while begin + width > end:
            width //= 2
        begin += width
        nodes += 1
    return nodes


def tree(total, count, leaves, rank, ranks):
    """A sum of `count` numbers over blocks."""
    own = [whole_nodes(share(leaves, r, ranks), share(leaves, r + 1, ranks)) for r in (range(ranks) if ranks <= 64 else ())]
    if own:
        mine, all_nodes = own[rank], sum(own)
    else:  # of many ranks: as many nodes as those of this one
        mine = whole_nodes(share(leaves, rank, ranks), share(leaves, rank + 1, ranks))
        all_nodes = sum(whole_nodes(share(leaves, r, ranks), share(leaves, r + 1, ranks)) for r in range(0, ranks, max(1, ranks // 64))) * max(1, ranks // 64)
    if ranks == 1:
        return
    if count < TREE_SMALL:
        add(total, sent=mine * count * BYTES, received=(all_nodes - mine) * count * BYTES, collectives=1)
        return
    length = share(count, rank + 1, ranks) - share(count, rank, ranks)
    add(total, sent=(mine * (count - length) + length) * BYTES, received=((all_nodes - mine) * length + count - length) * BYTES,
        messages=mine * (ranks - 1) + all_nodes - mine, collectives=1)
    total["nodes"] = all_nodes


def cycle(o, ranks, rank):
    """What a rank moves in a cycle, by phase."""
    phases = {name: {} for name in ("exchange", "sum", "other", "tell")}
    shared, N, n, p, s = o.exchange == "shared", o.members, o.state, o.observations, o.ranks_per_member
    points = N + 1 if o.method == "haber" else N
    predictions = Layout(p, points, ranks, s, *blocks(p, points, BLOCK_GRAM, o.outputs, o.block_rows))
    state = Layout(n, N, ranks, s, *blocks(n, N, BLOCK_LEAST, 1, 0 if o.method == "haber" else o.block_rows))
    if ranks == 1:
        return phases, predictions, state
    stream(phases["exchange"], predictions, rank, False, shared)
    tree(phases["sum"], 2 * N + 3 + N * (N + 1) // 2 + (N * N if o.stochastic else 0), predictions.count, rank, ranks)
    mine = predictions.members(rank)
    add(phases["other"], sent=mine, received=points - mine, collectives=1)  # statuses
    add(phases["other"], sent=24, received=24, collectives=1)  # times
    if o.method == "haber":
        own = state.own_rows(rank)
        add(phases["tell"], sent=own * BYTES, received=(n - own) * BYTES, collectives=1)
    else:
        for _ in range(1 + o.copies):
            stream(phases["exchange"], state, rank, True, shared)
        if o.method != "etkf":
            tree(phases["other"], 1, state.count, rank, ranks)  # spread
    if o.method == "etkf":
        truth = Layout(n, 1, ranks, s, state.rows, state.count)
        for _ in range(2):
            stream(phases["exchange"], state, rank, False, shared)
            stream(phases["exchange"], truth, rank, False, shared)
            tree(phases["sum"], 4 + N + 1, state.count, rank, ranks)
        owner = rank == ranks - s
        add(phases["other"], sent=p * BYTES if owner else 0, received=0 if owner else p * BYTES, collectives=1)
    if s > 1 and o.method != "etkf":
        group(phases["exchange"], o, predictions, rank, shared)
    return phases, predictions, state


def group(total, o, predictions, rank, shared):
    """Members of the first rank of a group, read by the others, and what these predict, brought to the first (src/run/together.c)."""
    place, first = rank % o.ranks_per_member, rank - rank % o.ranks_per_member
    m, samples, stored = predictions.members(first), o.observations // o.outputs, o.method != "haber"
    blocks_of = -(-samples // TOGETHER_BLOCK)
    bounds = [min(samples, share(blocks_of, i, o.ranks_per_member) * TOGETHER_BLOCK) * o.outputs for i in range(o.ranks_per_member + 1)]
    own = bounds[place + 1] - bounds[place]
    columns = min(64, max(1, (64 << 20 if stored else 3 << 20) // BYTES // o.state))
    at = sum(predictions.members(r) for r in range(0, first, o.ranks_per_member))
    chunks = -(-(at + m) // columns) - at // columns if m else 0
    add(total, sent=m, received=m, collectives=chunks)  # statuses
    if shared:
        add(total, shared=0 if not place else m * ((o.state if stored else 0) + own) * BYTES)
        return
    if stored:
        add(total, sent=0 if place else m * o.state * BYTES, received=m * o.state * BYTES if place else 0, collectives=m)
    if place:
        add(total, sent=m * own * BYTES, messages=chunks if own else 0)
    else:
        parts = sum(bounds[i + 1] > bounds[i] for i in range(1, o.ranks_per_member))
        add(total, received=m * (o.observations - own) * BYTES, messages=chunks * parts)


def most(o, ranks, phase, key):
    return max(cycle(o, ranks, rank)[0][phase].get(key, 0) for rank in range(ranks))


def bound(o, ranks):
    """DESIGN's: 2 n ceil(N/P) numbers for the transform, p ceil(N/P) for the Gram product, 2 N^2 for its sum; in bytes."""
    members = -(-o.members // (ranks // o.ranks_per_member))
    transform = 2 * o.state * members * (1 + o.copies) if o.method != "haber" else o.state
    return BYTES * (transform + o.observations * members + 2 * o.members**2)


def traffic(o):
    print("ranks,phase,sent_most,received_most,messages_most,collectives_most,shared_most,bound")
    for ranks, o.ranks_per_member in o.ranks:
        for phase in ("exchange", "sum", "other", "tell"):
            counts = [most(o, ranks, phase, key) for key in ("sent", "received", "messages", "collectives", "shared")]
            print("%d,%s,%s,%d" % (ranks, phase, ",".join(map(str, counts)), bound(o, ranks)))


def take(o, line):
    """The sizes that a line of a table has."""
    o.method, o.exchange, o.ranks_per_member = line["method"], line["exchange"], int(line.get("ranks_per_member", 1))
    o.state, o.members, o.observations = int(line["state"]), int(line["members"]), int(line["observations"])
    return int(line["ranks"]), int(line["cycles"])


def add_bound(o):
    for path in o.tables:
        with open(path) as file:
            reader = csv.DictReader(file)
            print(",".join(reader.fieldnames + ["bound"]))
            for line in reader:
                ranks, _ = take(o, line)
                print(",".join(line[name] for name in reader.fieldnames) + ",%d" % bound(o, ranks))


def check(o):
    wrong = 0
    print("%-28s %6s %6s %-9s %-9s %14s %14s %7s" % ("table", "ranks", "per m.", "phase", "of a cycle", "counted", "formula", "ratio"))
    for path in o.tables:
        with open(path) as file:
            lines = list(csv.DictReader(file))
        for line in lines:
            ranks, cycles = take(o, line)
            if line["phase"] not in ("exchange", "sum", "tell") or not cycles:
                continue
            for key in ("sent", "received", "messages", "shared"):
                counted = int(line[key + "_most"]) / cycles
                formula = most(o, ranks, line["phase"], key)
                if not counted and not formula:
                    continue
                ratio = counted / formula if formula else math.inf
                wrong += not 1 / 1.1 <= ratio <= 1.1
                print("%-28s %6d %6d %-9s %-9s %14.0f %14d %7.3f" % (path[-28:], ranks, o.ranks_per_member, line["phase"], key, counted, formula, ratio))
    if wrong:
        sys.exit("%d counts are beyond 1.1 of the formula" % wrong)


def seconds(o, ranks, rank):
    """Seconds of a rank in a cycle, by phase, and the bytes and messages it moves: share/doc/performance.md."""
    phases, predictions, state = cycle(o, ranks, rank)
    N, n, p, s, F, M = o.members, o.state, o.observations, o.ranks_per_member, o.gemm, o.memory
    first = rank - rank % s
    m, R, Rp = predictions.members(first), state.own_rows(rank), predictions.own_rows(rank)
    samples, c = p // o.outputs, 2 * N + 3 + N * (N + 1) // 2 + (N * N if o.stochastic else 0)
    part = min(samples, -(-(-(-samples // TOGETHER_BLOCK)) // s) * TOGETHER_BLOCK) if s > 1 else samples
    moved = {name: latency_and_bytes(o, ranks, counts) for name, counts in phases.items()}
    haber = o.method == "haber"
    leaves = predictions.block_range(rank)[1] - predictions.block_range(rank)[0]
    takes = {
        "forecast": m * o.forecast,
        "observe": m * part * (o.forward or (2.0 if o.method == "etkf" else 2.0 * n)) / F + (m * n * DRAW_FLOPS / F if haber else 0.0),
        "exchange": moved["exchange"],
        "whiten": 16.0 * Rp * N / M,
        "gram": Rp * N * (N + 1.0) / F,
        "sum": moved["sum"] + 12.0 * (max(0, leaves - 1) * c + phases["sum"].get("nodes", 0) * c / ranks) / M,
        "solve": (1 / 3 if haber else 7 / 3) * N**3 / F if o.method != "etkf" else EIGEN * N**3 / F,
        "transform": R * N * DRAW_FLOPS / F if haber else (1 + o.copies) * (2.0 * R * N * N / F + (8.0 if o.exchange == "shared" else 24.0) * R * N / M),
        "other": moved["other"] + moved["tell"],
    }
    total = {key: sum(counts.get(key, 0) for counts in phases.values()) for key in ("sent", "received", "messages", "shared")}
    total["memory"] = 8.0 * ((0 if haber else (1 + o.copies) * n * (state.members(rank))) + p * predictions.members(rank) + (4 if haber else 2) * n + 6 * N * N)
    return takes, total


def latency_and_bytes(o, ranks, counts):
    """A message costs half a latency on each side, a collective call one for each doubling of the ranks; in a window bytes are copied."""
    wire = max(counts.get("sent", 0), counts.get("received", 0)) / o.network + counts.get("shared", 0) / o.memory
    return wire + o.latency * (counts.get("messages", 0) / 2 + counts.get("collectives", 0) * math.log2(max(2, ranks)))


def constants(o):
    """Those of kalmia-bench -bench_rows machine --csv FILE, a rank each."""
    with open(o.machine) as file:
        rates = {line["row"]: line for line in csv.DictReader(file)}
    ranks = int(rates["machine dgemm"]["size"].split()[0])
    take_rate = lambda name: float(rates["machine " + name]["rate"])
    o.gemm, o.memory, o.network, o.latency = take_rate("dgemm") * 1e9 / ranks, take_rate("copy") * 1e9 / ranks, take_rate("alltoall") * 1e9 / ranks, take_rate("latency") * 1e-6


def predict(o):
    if o.machine:
        constants(o)
    names = ("forecast", "observe", "exchange", "whiten", "gram", "sum", "solve", "transform", "other")
    print("constants of a rank: products %.3g GF/s, copies %.3g GB/s, messages %.3g GB/s, latency %.3g us" % (o.gemm * 1e-9, o.memory * 1e-9, o.network * 1e-9, o.latency * 1e6))
    print("n = %d, N = %d, p = %d, %s, %s\n" % (o.state, o.members, o.observations, o.method, o.exchange))
    print("| ranks | a member | " + " | ".join(names) + " | cycle s | efficiency | MB moved | messages | MiB | largest |")
    print("| --- " * (len(names) + 8) + "|")
    base = None
    for ranks, s in o.ranks:
        o.ranks_per_member = s
        some = sorted({0, 1 % ranks, s % ranks, ranks // 2, ranks // 2 // s * s, ranks - 1, ranks - s})
        each = [seconds(o, ranks, rank) for rank in some]
        takes = {name: max(t[name] for t, _ in each) for name in names}
        most_of = lambda key: max(total[key] for _, total in each)
        whole = sum(takes.values())
        base = base or whole * ranks
        print("| %d | %d | %s | %.3g | %.2f | %.4g | %d | %.0f | %s |" % (ranks, s, " | ".join("%.2g" % takes[name] for name in names), whole, base / whole / ranks, max(most_of("sent"), most_of("received"), most_of("shared") / 2) / 1e6, most_of("messages"), most_of("memory") / 2**20, max(takes, key=takes.get)))


def points(text):
    """Ranks, by commas; PxS has S ranks a member."""
    return [tuple(int(number) for number in (point + "x0").split("x")[:2]) for point in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("traffic", "check", "bound", "predict"))
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--method", default="eki")
    for name in ("state", "members", "observations"):
        parser.add_argument("--" + name, type=int, default=0)
    parser.add_argument("--ranks", type=points, default=[(1, 0)])
    for name, default in (("outputs", 1), ("copies", 0), ("block-rows", 0), ("ranks-per-member", 1)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--exchange", choices=("messages", "shared"), default="messages")
    parser.add_argument("--stochastic", action="store_true")
    for name, default in (("gemm", 40e9), ("memory", 5e9), ("network", 1e9), ("latency", 2e-6), ("forecast", 0.0), ("forward", 0.0)):
        parser.add_argument("--" + name, type=float, default=default)
    parser.add_argument("--machine", default="")
    o = parser.parse_intermixed_args()
    if o.what in ("traffic", "predict") and min(o.state, o.members, o.observations) < 1:
        parser.error("--state, --members and --observations are needed, each at least 1")
    o.ranks = [(ranks, span or o.ranks_per_member) for ranks, span in o.ranks]
    if any(ranks < 1 or span < 1 or ranks % span for ranks, span in o.ranks):
        parser.error("--ranks are positive multiples of the ranks a member")
    {"traffic": traffic, "check": check, "bound": add_bound, "predict": predict}[o.what](o)


if __name__ == "__main__":
    main()
