#!/usr/bin/python3
"""PyTorch's Adam (back-propagation) on the network, data, batch, step, schedule and decay of an option file; called by layered.sh.

Prints accuracy, negative log-likelihood, calibration error (15 bins), seconds of training, and the seconds to an accuracy of 0.88 on
the test set, looked at once an epoch (or -).
"""
import argparse
import glob
import gzip
import time

import numpy as np
import torch
import yaml


def idx(folder, name, offset):
    path = sorted(glob.glob(f"{folder}/{name}*"))[0]
    data = gzip.open(path).read() if path.endswith(".gz") else open(path, "rb").read()
    return np.frombuffer(data, np.uint8, offset=offset)


def data(folder):
    images = [torch.tensor(idx(folder, f"{part}-images", 16).reshape(-1, 784).astype(np.float32)) for part in ("train", "t10k")]
    labels = [torch.tensor(idx(folder, f"{part}-labels", 8).astype(np.int64)) for part in ("train", "t10k")]
    mean, sd = images[0].mean(), images[0].std()
    return [(x - mean) / sd for x in images], labels


def network(options):
    if options["model"]["type"] == "mlp":
        widths = [int(w) for w in str(options["mlp"]["layers"]).split(",")]
        active = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid}[options["mlp"]["activation"]]
        layers = []
        for a, b in zip(widths, widths[1:]):
            layers += [torch.nn.Linear(a, b), active()]
        return torch.nn.Sequential(*layers[:-1])
    cnn = options["cnn"]
    active = {"relu": torch.nn.ReLU, "sigmoid": torch.nn.Sigmoid}[cnn["activation"]]
    height, width, channels = (int(n) for n in str(cnn["input"]).split(","))
    layers, flat, bias = [torch.nn.Unflatten(1, (channels, height, width))], False, cnn.get("biases", True)
    for entry in cnn["layers"].split(","):
        kind, *numbers = entry.split(":")
        n = [int(k) for k in numbers]
        if kind == "conv":
            layers += [torch.nn.Conv2d(channels, n[0], n[1], bias=bias), active()]
            channels, height, width = n[0], height - n[1] + 1, width - n[1] + 1
        elif kind == "pool":
            layers.append(torch.nn.MaxPool2d(n[0]))
            height, width = height // n[0], width // n[0]
        else:
            if not flat:
                layers.append(torch.nn.Flatten())
            layers += [torch.nn.Linear(channels if flat else channels * height * width, n[0], bias=bias), active()]
            flat, channels = True, n[0]
    return torch.nn.Sequential(*layers[:-1])


def scores(net, x, y):
    with torch.no_grad():
        p = torch.log_softmax(net(x), 1)
    confidence, choice = p.exp().max(1)
    right = (choice == y).float()
    bins = (confidence * 15).ceil().long().clamp(1, 15)
    ece = sum(abs((right[bins == b] - confidence[bins == b]).sum().item()) for b in range(1, 16)) / len(y)
    return right.mean().item(), -p[torch.arange(len(y)), y].mean().item(), ece


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    options = yaml.safe_load(open(arguments.file))
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    (x, test), (y, label) = data(options["observations"]["path"])
    batch, cycles = options["observations"]["batch"], options["run"]["cycles"]
    net, layered = network(options), options["layered"]
    adam = torch.optim.AdamW(net.parameters(), lr=layered["step"], weight_decay=layered.get("decay", 0))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, cycles)
    epoch, seconds, reached = len(x) // batch, 0.0, "-"
    for cycle in range(cycles):
        start = time.perf_counter()
        if cycle % epoch == 0:
            order = torch.randperm(len(x))
        taken = order[cycle % epoch * batch : (cycle % epoch + 1) * batch]
        adam.zero_grad()
        torch.nn.functional.cross_entropy(net(x[taken]), y[taken]).backward()
        adam.step()
        schedule.step()
        seconds += time.perf_counter() - start
        if (cycle + 1) % epoch == 0 and reached == "-" and scores(net, test, label)[0] >= 0.88:
            reached = f"{seconds:.2f}"
    accuracy, nll, ece = scores(net, test, label)
    print(f"{accuracy:.4f} {nll:.4f} {ece:.4f} {seconds:.1f} {reached}")


if __name__ == "__main__":
    main()
