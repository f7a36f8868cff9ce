#!/usr/bin/env python3
"""The two real volumes as uint8 raw files: prepare.py DATA FOLDER.

ct_vhf_head: stored values (HU + 1024) over 10, cut to 0..255: a window of -1024 to 1535 HU.
em_fib25_320: as it is.
"""

import sys
from pathlib import Path

import nrrd
import numpy as np


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data, folder = Path(sys.argv[1]), Path(sys.argv[2])
    ct, _ = nrrd.read(str(data / "ct_vhf_head.nrrd"), index_order="C")
    em, _ = nrrd.read(str(data / "em_fib25_320.nrrd"), index_order="C")
    for name, volume in (("ct", np.clip(ct // 10, 0, 255)), ("em", em)):
        z, y, x = volume.shape
        volume.astype(np.uint8).tofile(folder / f"{name}_{x}x{y}x{z}_uint8.raw")


if __name__ == "__main__":
    main()
