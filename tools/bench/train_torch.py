#!/usr/bin/env python3
"""Times one Adam step over a whole block in PyTorch: the peer of hgv-train-speed.

Usage: train_torch.py MODELS [--compile] [--cuda]   (MODELS: JSON, as `hgv-train-speed --models` prints it)

Each model is run in every formulation below with 1 and 2 threads; the fastest of each is printed,
one JSON line per model and thread count. Same levels, features, network and batch as hgv; linear
refinement; hash tables are gathered once per vertex through indices computed beforehand.

* interpolate: F.interpolate (trilinear, align_corners), skip features summed coarse to fine
* matmul: the same interpolation as three small matrix products, one per axis
--compile adds torch.compile of both; --cuda runs on the first GPU instead, and says 0 threads.
"""
import json
import sys
import time

import torch
import torch.nn.functional as F


def hash_indices(m, table):
    x = torch.arange(m, dtype=torch.int64)
    y = (x * 2654435761) & 0xFFFFFFFF
    z = (x * 805459861) & 0xFFFFFFFF
    index = x[None, None, :] ^ y[None, :, None] ^ z[:, None, None]
    return (index % table).reshape(-1)


def axis_matrix(m, spacing, n):
    """[n, m]: linear interpolation from vertices at multiples of `spacing` to n voxels."""
    matrix = torch.zeros(n, m)
    for i in range(n):
        low, rest = divmod(i, spacing)
        matrix[i, low] += 1 - rest / spacing
        if rest:
            matrix[i, low + 1] += rest / spacing
    return matrix


class Model(torch.nn.Module):
    def __init__(self, spec, how):
        super().__init__()
        self.n, self.how = spec["side"], how
        self.levels = spec["levels"]
        self.tables, self.indices, self.matrices = torch.nn.ParameterList(), [], []
        for level in self.levels:
            m, entries = level["vertices"], level["table"]
            dense = m**3 <= entries
            count = m**3 if dense else entries
            self.tables.append(torch.nn.Parameter(torch.randn(level["features"], count) * 0.01))
            self.indices.append(None if dense else hash_indices(m, entries))
            spacing = round(self.n / (m - 1)) if m < self.n else 1
            self.matrices.append(axis_matrix(m, spacing, self.n))
        self.weights = torch.nn.ParameterList()
        if spec["hidden"]:
            inputs = sum(level["features"] for level in self.levels)
            sizes = [inputs] + [spec["width"]] * spec["hidden"] + [1]
            for a, b in zip(sizes, sizes[1:]):
                self.weights.append(torch.nn.Parameter(torch.randn(b, a) * (2 / a) ** 0.5))
                self.weights.append(torch.nn.Parameter(torch.zeros(b, 1)))

    def lattice(self, i):
        m, table = self.levels[i]["vertices"], self.tables[i]
        if self.indices[i] is not None:
            table = table.index_select(1, self.indices[i])
        return table.view(-1, m, m, m)

    def finer(self, values, m):
        """To m vertices an axis; values: [channels, z, y, x]."""
        size = values.shape[-1]
        whole = m if m % 2 else m + 1
        if size == m:
            return values
        out = F.interpolate(values[None], size=(whole,) * 3, mode="trilinear", align_corners=True)
        return out[0, :, :m, :m, :m]

    def planes(self, i, values):
        if values.shape[-1] == self.n:
            return values
        if self.how == "interpolate":
            return self.finer(values, self.n)
        a = self.matrices[i]
        out = values @ a.T
        out = a @ out
        return (a @ out.flatten(2)).view(-1, self.n, self.n, self.n)

    def skip_sum(self, lattices):
        total = None
        for i, (level, values) in enumerate(zip(self.levels, lattices)):
            if not level["skip"]:
                continue
            own = values[:1]
            if self.how == "matmul":
                own = self.planes(i, own)
                total = own if total is None else total + own
            else:
                total = own if total is None else self.finer(total, level["vertices"]) + own
        return 0.0 if total is None else self.finer(total, self.n).reshape(1, -1)

    def forward(self):
        lattices = [self.lattice(i) for i in range(len(self.levels))]
        if not len(self.weights):
            return self.skip_sum(lattices)
        planes = [self.planes(i, values) for i, values in enumerate(lattices)]
        if self.how == "matmul":
            base = [p[:1] for p, level in zip(planes, self.levels) if level["skip"]]
            base = sum(base).reshape(1, -1) if base else 0.0
        else:
            base = self.skip_sum(lattices)
        x = torch.cat([p.reshape(p.shape[0], -1) for p in planes])
        layers = len(self.weights) // 2
        for layer in range(layers):
            x = torch.addmm(self.weights[2 * layer + 1], self.weights[2 * layer], x)
            x = x.relu() if layer + 1 < layers else x
        return base + x


def seconds(spec, how, compiled):
    torch.manual_seed(0)
    model = Model(spec, how)
    target = torch.randn(1, spec["side"] ** 3)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    forward = torch.compile(model) if compiled else model

    cuda = "--cuda" in sys.argv

    def step():
        adam.zero_grad(set_to_none=True)
        loss = F.mse_loss(forward(), target)
        loss.backward()
        adam.step()
        if cuda:
            torch.cuda.synchronize()

    for _ in range(3):
        step()
    # One thread: CPU time, from which other work on the machine takes less away.
    clock = time.process_time if torch.get_num_threads() == 1 and not cuda else time.perf_counter
    best, end = float("inf"), time.perf_counter() + 4
    while time.perf_counter() < end:
        start = clock()
        step()
        best = min(best, clock() - start)
    return best


def main():
    ways = [(how, c) for c in ([False, True] if "--compile" in sys.argv else [False]) for how in ("interpolate", "matmul")]
    cuda = "--cuda" in sys.argv
    if cuda:
        torch.set_default_device("cuda")
    for spec in json.loads(sys.argv[1]):
        for threads in (0,) if cuda else (1, 2):
            torch.set_num_threads(max(threads, 1))
            times = {}
            for how, compiled in ways:
                times[how + (", compiled" if compiled else "")] = seconds(spec, how, compiled)
            how = min(times, key=times.get)
            print(json.dumps({"name": spec["name"], "threads": threads, "how": how, "seconds": times[how], "all": times}), flush=True)
            print(spec["name"], threads, {k: f"{v * 1e3:.1f} ms" for k, v in times.items()}, "torch", torch.__version__, file=sys.stderr)


main()
