#!/usr/bin/python3
"""Kalmia beside PyTorch and NumPy, on the same two cores; called by compare.sh, which says what is printed.

The driver starts one worker for each build of OpenBLAS that it is given (its threads are OpenMP's or its own), and tries every
formulation of a row in all of them. Two take turns with kalmia-bench: the fastest that leaves threads to the libraries, and the
fastest that divides the members between two Python threads. Workers answer requests on standard input, and make a row's data once.
"""
import argparse
import csv
import ctypes
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

MEMBERS, BATCH, THREADS = 512, 512, 2
SIZE = f"N={MEMBERS} batch={BATCH}"
NETWORKS = ([784, 100, 10], [784, 256, 128, 10])
SPLIT = "two Python threads"  # how a formulation is named that divides the members itself
# kalmia-bench's row and network, the row here that it is held against, and how many times as fast it should be
ROWS = (
    ("forward", "784-100-10", "forward 784-100-10", 1.5),
    ("forward", "784-256-128-10", "forward 784-256-128-10", 1.5),
    ("cycle eki", "784-100-10", "eki", 1.2),
    ("cycle eki single", "784-100-10", "eki", 1.5),
    ("cycle eki single", "784-100-10", "eki float32", None),
    ("cycle haber", "784-100-10", "haber", 3.0),
)


# The worker --------------------------------------------------------------------------------------------------------------


class Blas:
    """The OpenBLAS that this process has loaded: it must be one, and with threads."""

    def __init__(self):
        with open("/proc/self/maps") as maps:
            files = {line.split()[-1] for line in maps if "openblas" in line and "/libblas" not in line and "/liblapack" not in line}
        if len(files) != 1:
            raise RuntimeError(f"one OpenBLAS should be loaded, there are: {' '.join(sorted(files)) or 'none'}")
        self.library = ctypes.CDLL(files.pop())
        self.library.openblas_get_corename.restype = self.library.openblas_get_config.restype = ctypes.c_char_p

    def describe(self):
        return {
            "kernels": self.library.openblas_get_corename().decode(),
            "threads": self.library.openblas_get_num_threads(),
            "config": self.library.openblas_get_config().decode(),
        }

    def threads(self, count):
        self.library.openblas_set_num_threads(count)


def halves(function):
    """function(part) for the two halves at once, in a Python thread each, with one thread of BLAS and of PyTorch.

    Both release the interpreter's lock, so that this is two threads that never wait for each other inside a product.
    """
    blas.threads(1)
    list(pool.map(function, range(THREADS)))
    blas.threads(THREADS)


def one_thread():
    blas.threads(1)
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)


def pytorch(layers):
    """Formulations of the ensemble's forward pass: name -> function. Samples are columns but where it says otherwise."""
    last = len(layers) - 2
    draw = torch.Generator().manual_seed(1)
    W = [torch.randn(MEMBERS, o, i, generator=draw) / i**0.5 for i, o in zip(layers, layers[1:])]
    b = [0.1 * torch.randn(MEMBERS, o, 1, generator=draw) for o in layers[1:]]
    X = torch.randn(BATCH, layers[0], generator=draw)
    inputs = X.T.contiguous()
    right = [w.transpose(1, 2).contiguous() for w in W]
    # Made once, since fresh memory of this size is paid for page by page: predictions, hidden values, and the first layer with its
    # biases as one more column, met by a row of ones.
    out = torch.empty(MEMBERS, layers[-1], BATCH)
    hidden = [torch.empty(MEMBERS, o, BATCH) for o in layers[1:-1]]
    first = torch.cat([W[0], b[0]], 2)
    ones = torch.cat([inputs, torch.ones(1, BATCH)])

    def rows():
        H = X.expand(MEMBERS, -1, -1)
        for l in range(last + 1):
            H = torch.baddbmm(b[l].transpose(1, 2), H, right[l])
            if l < last:
                H.relu_()
        return H.transpose(1, 2)

    def columns():
        H = inputs.expand(MEMBERS, -1, -1)
        for l in range(last + 1):
            H = torch.baddbmm(b[l], W[l], H, out=hidden[l] if l < last else out)
            if l < last:
                H.relu_()
        return H

    def einsum():
        H = torch.einsum("noi,bi->nob", W[0], X).add_(b[0])
        for l in range(1, last + 1):
            H = torch.einsum("noi,nib->nob", W[l], H.relu_()).add_(b[l])
        return H

    def vmap():
        def one(*p):
            H = X
            for l in range(last + 1):
                H = torch.addmm(p[2 * l + 1], H, p[2 * l])
                if l < last:
                    H = torch.relu(H)
            return H

        import functorch

        return functorch.vmap(one)(*[t for l in range(last + 1) for t in (right[l], b[l][:, :, 0])]).transpose(1, 2)

    def loop():
        for j in range(MEMBERS):
            H = inputs
            for l in range(last + 1):
                H = torch.addmm(b[l][j], W[l][j], H, out=hidden[l][0] if l < last else out[j])
                if l < last:
                    H.relu_()
        return out

    def side_by_side(count, begin=0, end=MEMBERS, part=0):
        """The first layers of `count` members at once as one product, then the others' in a batch."""
        for j in range(begin, end, count):
            members = slice(j, j + count)
            scratch = slice(part * count, (part + 1) * count)
            H = hidden[0][scratch]
            torch.mm(first[members].view(count * layers[1], -1), ones, out=H.view(count * layers[1], BATCH))
            for l in range(1, last + 1):
                H = torch.baddbmm(b[l][members], W[l][members], H.relu_(), out=hidden[l][scratch] if l < last else out[members])
        return out

    def split(count):
        each = MEMBERS // THREADS
        halves(lambda part: side_by_side(count, part * each, (part + 1) * each, part))
        return out

    def onednn(count):
        """oneDNN's product, which takes and gives samples as rows, in the place of the BLAS for the first layer."""
        for j in range(0, MEMBERS, count):
            members = slice(j, j + count)
            H = torch._C._nn.mkldnn_linear(mkldnn, first[members].view(count * layers[1], -1)).to_dense()
            H = H.view(BATCH, count, layers[1]).permute(1, 2, 0)
            for l in range(1, last + 1):
                H = torch.baddbmm(b[l][members], W[l][members], H.relu_(), out=hidden[l][:count] if l < last else out[members])
        return out

    mkldnn = ones.T.contiguous().to_mkldnn()
    return {
        "baddbmm, samples as rows": rows,
        "baddbmm, samples as columns": columns,
        "einsum": einsum,
        "vmap": vmap,
        "a loop over members": loop,
        "first layers side by side": lambda: side_by_side(MEMBERS),
        "side by side, 64 at once": lambda: side_by_side(64),
        "side by side, 16 at once": lambda: side_by_side(16),
        "oneDNN side by side, 16 at once": lambda: onednn(16),
        f"{SPLIT}, 16 at once": lambda: split(16),
    }


class Cycle:
    """What the two cycles have in common. `parts` is 1 (the BLAS has two threads) or 2 (two Python threads, as in `halves`)."""

    floor, chunk = 0.02, 32

    def __init__(self):
        d, h, o = self.sizes = NETWORKS[0]
        draw = self.draw = np.random.Generator(np.random.SFC64(1))
        self.columns = np.ones((d + 1, BATCH), np.float32)  # a row of ones for the biases
        self.columns[:d] = draw.standard_normal((d, BATCH))
        self.target = np.eye(o)[draw.integers(0, o, BATCH)].T
        self.P = np.empty((MEMBERS, o, BATCH), np.float32)
        self.A = np.empty((MEMBERS, o * BATCH))
        self.S = np.empty((MEMBERS, MEMBERS))
        # Hidden values of one chunk, again with a row of ones.
        self.H = np.ones((THREADS, self.chunk, h + 1, BATCH), np.float32)
        self.F = np.empty((THREADS, self.chunk * h, BATCH), np.float32)
        self.phases = {}

    def each(self, parts, function):
        """function(members, part) for all members, or for two halves of them at once."""
        if parts == 1:
            function(slice(0, MEMBERS), 0)
        else:
            halves(lambda part: function(slice(part * MEMBERS // parts, (part + 1) * MEMBERS // parts), part))

    def tick(self, phase=None):
        now = time.perf_counter()
        if phase:
            self.phases.setdefault(phase, []).append(now - self.last)
        self.last = now

    def softmax(self, P):
        P -= P.max(axis=-2, keepdims=True)
        np.exp(P, out=P)
        P /= P.sum(axis=-2, keepdims=True)

    def whiten(self, parts, scale, center=None):
        """Anomalies A (members as rows) and the residual, by the cross-entropy linearized in probabilities."""
        A, sums = self.A.reshape(self.P.shape), [0, 0]

        def probabilities(members, part):
            self.softmax(self.P[members])
            sums[part] = self.P[members].sum(axis=0, dtype=float)

        def anomalies(members, part):
            np.subtract(self.P[members], mean, out=A[members])
            A[members] *= weight * scale

        self.each(parts, probabilities)
        mean = (sums[0] + sums[1]) / MEMBERS
        weight = 1 / np.sqrt(np.maximum(mean, self.floor))
        self.each(parts, anomalies)
        return ((self.target - (mean if center is None else center)) * weight).ravel()

    def gram(self, residual):
        np.matmul(self.A, self.A.T, out=self.S)  # NumPy takes the symmetric product here
        return self.A @ residual


class Eki(Cycle):
    """Members as rows, the first layer's weights before those of the second, a unit's bias behind its weights."""

    def __init__(self, dtype):
        super().__init__()
        d, h, o = self.sizes
        self.cut = h * (d + 1)
        self.E = self.draw.standard_normal((MEMBERS, self.cut + o * (h + 1))).astype(dtype)
        self.E *= 0.05
        self.new = np.empty_like(self.E)
        self.W1 = np.empty((THREADS, self.chunk, self.cut), np.float32)
        self.W2 = np.empty((THREADS, self.chunk, o * (h + 1)), np.float32)

    def forward(self, members, part):
        d, h, o = self.sizes
        W1, W2, H, F = self.W1[part], self.W2[part], self.H[part], self.F[part]
        for j in range(members.start, members.stop, self.chunk):
            np.copyto(W1, self.E[j : j + self.chunk, : self.cut], casting="same_kind")
            np.copyto(W2, self.E[j : j + self.chunk, self.cut :], casting="same_kind")
            np.matmul(W1.reshape(-1, d + 1), self.columns, out=F)
            np.maximum(F.reshape(-1, h, BATCH), 0, out=H[:, :h])
            np.matmul(W2.reshape(-1, o, h + 1), H, out=self.P[j : j + self.chunk])

    def transform(self, T, parts):
        n = self.E.shape[1]
        cuts = [part * (n // parts) // 16 * 16 for part in range(parts)] + [n]

        def some(_, part):
            np.matmul(T, self.E[:, cuts[part] : cuts[part + 1]], out=self.new[:, cuts[part] : cuts[part + 1]])

        self.each(parts, some)
        self.E, self.new = self.new, self.E

    def cycle(self, parts, step=1.0):
        scale = (MEMBERS - 1) ** -0.5
        self.tick()
        self.each(parts, self.forward)
        self.tick("forward")
        r = self.whiten(parts, scale)
        self.tick("whiten")
        d = self.gram(r)
        self.tick("gram")
        D = self.S / -scale
        D += d[:, None]
        self.S.flat[:: MEMBERS + 1] += 1 / step
        T = np.linalg.solve(self.S, D)
        T -= T.mean(axis=0)
        T *= scale
        T.flat[:: MEMBERS + 1] += 1
        T = np.ascontiguousarray(T.T, self.E.dtype)
        self.tick("solve")
        self.transform(T, parts)
        self.tick("transform")


class Haber(Cycle):
    """Each cycle's draws are kept for the combination; both layers' are scaled where that is the least work."""

    spread, damping, rate, momentum = 0.1, 20.0, 0.1, 0.9

    def __init__(self):
        super().__init__()
        d, h, o = self.sizes
        self.omega = [np.empty((MEMBERS, h, d + 1), np.float32), np.empty((MEMBERS, o, h + 1), np.float32)]
        self.theta = [0.05 * self.draw.standard_normal(w.shape[1:], np.float32) for w in self.omega]
        self.velocity = [np.zeros_like(w) for w in self.theta]
        # Standard deviations: 1/sqrt(fan in), of the biases 0.1.
        self.sd = [self.spread * np.append(np.full(k, k**-0.5, np.float32), np.float32(0.1)) for k in (d, h)]
        self.scaled = self.sd[0][:, None] * self.columns
        self.generators = [np.random.Generator(np.random.SFC64(seed)) for seed in np.random.SeedSequence(1).spawn(THREADS)]

    def perturb(self, members, part):
        for w in self.omega:
            self.generators[part].standard_normal(out=w[members], dtype=np.float32)

    def forward(self, members, part):
        d, h, o = self.sizes
        H, F = self.H[part], self.F[part]
        F3 = F.reshape(-1, h, BATCH)
        for j in range(members.start, members.stop, self.chunk):
            np.matmul(self.omega[0][j : j + self.chunk].reshape(-1, d + 1), self.scaled, out=F)
            np.add(F3, self.base, out=F3)
            np.maximum(F3, 0, out=H[:, :h])
            np.matmul(self.omega[1][j : j + self.chunk] * self.sd[1] + self.theta[1], H, out=self.P[j : j + self.chunk])

    def center(self):
        self.base = self.theta[0] @ self.columns
        P = self.theta[1] @ np.append(np.maximum(self.base, 0), self.columns[-1:], axis=0)
        self.softmax(P)
        return P

    def cycle(self, parts):
        self.tick()
        self.each(2, self.perturb)  # NumPy's generators have one thread each
        self.tick("draw")
        center = self.center()
        self.each(parts, self.forward)
        self.tick("forward")
        r = self.whiten(parts, 1.0, center)
        self.tick("whiten")
        d = self.gram(r)
        self.tick("gram")
        self.S.flat[:: MEMBERS + 1] += self.damping * self.S.trace() / MEMBERS
        c = np.linalg.solve(self.S, d)
        c = (c - c.mean()).astype(np.float32)
        self.tick("solve")
        for w, theta, velocity, sd in zip(self.omega, self.theta, self.velocity, self.sd):
            velocity *= self.momentum
            velocity += (c @ w.reshape(MEMBERS, -1)).reshape(theta.shape) * sd
            theta += self.rate * velocity
        self.tick("combine")


def numpy_cycle(cycle):
    return {"the BLAS's threads": lambda: cycle.cycle(1), SPLIT: lambda: cycle.cycle(2)}, cycle.phases


def formulations(row):
    """The formulations of a row, whose data are made once, and the phases that they note their seconds in, if any."""
    if row not in made:
        if row.startswith("forward "):
            made[row] = pytorch([int(k) for k in row.split()[1].split("-")]), {}
        else:
            made[row] = numpy_cycle(Haber() if row == "haber" else Eki(np.float32 if row == "eki float32" else float))
    return made[row]


def measure(row, formulation, repeats, limit):
    """Seconds of some repeats after one that does not count, which is enough if it takes longer than `limit`."""
    functions, phases = formulations(row)
    function = functions[formulation]
    seconds = []
    for i in range(repeats + 1):
        begin = time.perf_counter()
        result = function()
        seconds.append(time.perf_counter() - begin)
        if row.startswith("forward ") and i == 0:
            first = made.setdefault(row + " result", result.clone())
            if not torch.allclose(result, first, rtol=1e-3, atol=1e-3):
                raise RuntimeError("the result is another than that of the other formulations")
        if seconds[0] > limit:
            return {"seconds": seconds}
        if i == 0:
            phases.clear()
            busy = time.process_time()
    busy = (time.process_time() - busy) / sum(seconds[1:])
    return {"seconds": seconds[1:], "busy": busy, "phases": {k: statistics.median(v) for k, v in phases.items()}}


def work():
    global blas, made, np, pool, torch
    from concurrent.futures import ThreadPoolExecutor

    import numpy as np
    import torch

    blas, made = Blas(), {}
    pool = ThreadPoolExecutor(THREADS, initializer=one_thread)
    torch.set_num_threads(THREADS)
    torch.set_grad_enabled(False)
    print(json.dumps({**blas.describe(), "versions": f"PyTorch {torch.__version__}, NumPy {np.__version__}"}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if "forget" in request:  # data of a row that is run by another worker
                made.pop(request["forget"], None)
                reply = {}
            elif "list" in request:
                reply = {"formulations": list(formulations(request["list"])[0])}
            else:
                reply = measure(**request)
        except Exception as error:  # a formulation that this version does not have
            reply = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(reply), flush=True)


# The driver --------------------------------------------------------------------------------------------------------------


class Worker:
    def __init__(self, folder):
        self.name = os.path.basename(folder)
        environment = {**os.environ, "LD_LIBRARY_PATH": folder, "OMP_NUM_THREADS": str(THREADS), "OPENBLAS_NUM_THREADS": str(THREADS)}
        self.process = subprocess.Popen([sys.executable, __file__, "--work"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = self.read()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"compare: the Python side with {self.name} ended")
        return json.loads(line)

    def ask(self, **request):
        print(json.dumps(request), file=self.process.stdin, flush=True)
        return self.read()


def kalmia(program, names, repeats):
    """Seconds by row and network, of one run of kalmia-bench."""
    rows = sorted({name.split()[0] for name in names})
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "bench.csv")
        command = ["mpiexec", "-n", str(THREADS), program, "--csv", path, "-bench_rows", ",".join(rows), "-bench_repeats", str(repeats)]
        run = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode or not os.path.exists(path):
            sys.exit(f"compare: {' '.join(command)} failed:\n{run.stdout[-2000:]}")
        with open(path, newline="") as file:
            return {(row["row"], (row["size"].split() or [""])[0]): float(row["seconds"]) for row in csv.DictReader(file) if row["seconds"]}


def trial(workers, row):
    """Tries all formulations of a row, prints their seconds, and gives the two that go on."""
    tried, best = [], float("inf")
    for worker in workers:
        for name in worker.ask(list=row)["formulations"]:
            reply = worker.ask(row=row, formulation=name, repeats=3, limit=3 * best)
            if "error" in reply:
                print(f"  {row:24} {name:32} {worker.name:18} left out: {reply['error']}")
                continue
            seconds = min(reply["seconds"])  # the least is what a disturbance changes least
            best = min(best, seconds)
            tried.append((seconds, name, worker))
    tried.sort(key=lambda t: t[0])
    for seconds, name, worker in tried:
        print(f"  {row:24} {name:32} {worker.name:18} {seconds:.3f}", flush=True)
    chosen = [next((name, worker) for _, name, worker in tried if name.startswith(SPLIT) == split) for split in (False, True)]
    for worker in workers:
        if worker not in [worker for _, worker in chosen]:
            worker.ask(forget=row)
    return chosen


def drive(options):
    rows = [row for row in ROWS if not options.rows or set(options.rows) & {*row[0].split(), *row[2].split()}]
    if not rows:
        sys.exit(f"compare: no row is named so; there are forward, eki, haber: {' '.join(options.rows)}")
    workers = [Worker(folder) for folder in options.blas]
    for worker in workers:
        about = worker.about
        print(f"{about['versions']} with {worker.name}: {about['config']}, {about['threads']} threads")
        if about["threads"] != THREADS:
            sys.exit(f"compare: {worker.name} should run {THREADS} threads")
        if options.kernels and about["kernels"] != options.kernels:
            sys.exit(f"compare: Kalmia's BLAS runs {options.kernels} kernels, {worker.name} {about['kernels']}")
    print("\nEvery formulation, least seconds of three (of those three times as slow as another, of one):")
    chosen = {row: trial(workers, row) for row in dict.fromkeys(row[2] for row in rows)}
    ours, taken = {}, {}
    for _ in range(options.rounds):
        for key, seconds in kalmia(options.kalmia, {row[0] for row in rows}, options.repeats).items():
            ours.setdefault(key, []).append(seconds)
        for row, two in chosen.items():
            for name, worker in two:
                taken.setdefault((row, name, worker.name), []).append(worker.ask(row=row, formulation=name, repeats=options.repeats, limit=float("inf")))
    report(options, rows, ours, taken)
    for worker in workers:
        worker.process.stdin.close()
        worker.process.wait()


def report(options, rows, ours, taken):
    """The table: medians over the rounds."""
    theirs = {}
    for (row, name, build), replies in taken.items():
        theirs.setdefault(row, []).append(
            {
                "against": f"{'PyTorch' if row.startswith('forward') else 'NumPy'}{' float32' * row.endswith('float32')}: {name}, {build}",
                "against seconds": statistics.median(statistics.median(reply["seconds"]) for reply in replies),
                "cores": statistics.median(reply["busy"] for reply in replies),
                "phases": {phase: statistics.median(reply["phases"][phase] for reply in replies) for phase in replies[0]["phases"]},
            }
        )
    lines = []
    for name, network, row, target in rows:
        if (name, network) not in ours:
            sys.exit(f"compare: kalmia-bench has no row {name} for {network}; there are {sorted(ours)}")
        seconds = statistics.median(ours[name, network])
        for their in theirs[row]:
            ratio = their["against seconds"] / seconds
            verdict = "" if target is None else "reached" if ratio >= target else "missed"
            lines.append({"row": name, "size": f"{network} {SIZE}", "seconds": seconds, **their, "ratio": ratio, "target": target or "", "verdict": verdict})
    print(f"\nKalmia on {THREADS} ranks against {THREADS} threads, medians over {options.rounds} rounds of {options.repeats}; ratio: times as fast; cores: kept busy")
    print(f"{'row':17} {'size':34} {'Kalmia s':>8} {'s':>7} {'ratio':>6} {'target':>6} {'':7} {'cores':>5}  against")
    for line in lines:
        print("{row:17} {size:34} {seconds:8.4f} {against seconds:7.4f} {ratio:6.2f} {target:>6} {verdict:7} {cores:5.2f}  {against}".format(**line))
    for row, their in ((row, their) for row, all in theirs.items() for their in all if their["phases"]):
        print(f"  {row}, {their['against']}: " + ", ".join(f"{phase} {seconds:.4f}" for phase, seconds in their["phases"].items()) + " s")
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, [k for k in lines[0] if k != "phases"], extrasaction="ignore")
            writer.writeheader()
            writer.writerows(lines)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--kalmia", help="the program kalmia-bench")
    parser.add_argument("--kernels", help="the kernels of Kalmia's BLAS, which the others must have too")
    parser.add_argument("--blas", nargs="+", help="folders of OpenBLAS with threads")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--csv")
    parser.add_argument("rows", nargs="*")
    options = parser.parse_args()
    work() if options.work else drive(options)


if __name__ == "__main__":
    main()
