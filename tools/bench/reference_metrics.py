#!/usr/bin/env python3
"""Numbers that tests/quality.rs expects, computed with the benchmark's own metrics.

    python3 reference_metrics.py        (numpy, numba)

The volumes come from integer hashes, so that the test can make the same ones. `peers.py` multiplies
in 32-bit floats; here its SSIM runs on 64-bit copies, so that ten digits can be compared.
"""
import numpy as np

from peers import Metrics, _ssim3d, down

EXTENT = (280, 60, 57)                             # x, y, z


def hashed(x, y, z, salt):
    h = (x * 73856093) ^ (y * 19349663) ^ (z * 83492791) ^ (salt * 2654435761)
    h = (h & 0xFFFFFFFF) * 2246822519 & 0xFFFFFFFF
    return (h ^ (h >> 15)) & 0xFFFFFFFF


def volumes():
    z, y, x = np.meshgrid(*(np.arange(n, dtype=np.uint64) for n in EXTENT[::-1]), indexing="ij")
    ramp = 9 * x + 31 * y + 17 * z + 400 * ((x // 24 + y // 16 + z // 12) % 2)
    a = ramp + hashed(x, y, z, 1) % 512
    b = a + hashed(x, y, z, 2) % 301 + 100 * ((x // 40) % 2)
    return a.astype(np.uint16), b.astype(np.uint16)


def main():
    a, b = volumes()
    for name, a, b in (("u16", a, b), ("f32", a.astype(np.float32) / 8 - 100, b.astype(np.float32) / 8 - 100)):
        m = Metrics(a)(b)
        e = a.astype(np.float64) - b
        rmse = float(np.sqrt(np.mean(e * e)))
        r = float(a.max()) - float(a.min())
        print(name, "range", repr(r), "rmse", repr(rmse), "max", np.abs(e).max(), "psnr", repr(20 * np.log10(r / rmse)))
        print("  psnr", [m["psnr" + s] for s in ("", "_l1", "_l2", "_l3")])
        print("  ssim", [m["ssim" + s] for s in ("", "_l1", "_l2", "_l3")])
        print("  ssim in 64 bits", exact_ssim(a, b))


def exact_ssim(a, b):
    metrics = Metrics(a)
    level, out = metrics._norm(b), []
    for reference in metrics.ref:
        out.append(_ssim3d(reference.astype(np.float64), level.astype(np.float64), 0.01 ** 2, 0.03 ** 2))
        level = down(level)
    return out


if __name__ == "__main__":
    main()
