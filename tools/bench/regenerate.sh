#!/usr/bin/env bash
# Everything that follows from the table files in format-spec/tables and from what encoders and
# layers are: the SHA-256 of each table where it is stated, vectors, malformed files and fuzz inputs.
# Run it after any of them has changed; `git diff --stat` then says what that changed.
#
# The table files themselves: hgv-train-tables wavelet|grid|mixing OUT.bin VOLUME.npy ...
#
# usage: tools/bench/regenerate.sh        (PYTHON = a Python with NumPy, for the check)
set -euo pipefail
cd "$(dirname "$0")/../.."

# state TABLE DECODER PATTERN: the specification states a sum within three lines from the link to the
# table, the reference decoder in the line that matches PATTERN.
state() {
    local sum
    sum=$(sha256sum "format-spec/tables/$1" | cut -d ' ' -f 1)
    sed -i "/^The file \[tables\/$1\]/,+2s/[0-9a-f]\{64\}/$sum/" format-spec/payload.md
    sed -i "/$3/s/[0-9a-f]\{64\}/$sum/" "$2"
    for file in format-spec/payload.md "$2"; do
        grep -q "$sum" "$file" || { echo "$file does not state $sum" >&2; exit 1; }
    done
}
state coder-r.bin tools/refdecoder/hgv_stream.py '^WAVELET_TABLES'
state coder-r-grid.bin tools/refdecoder/hgv_stream.py '^GRID_TABLES'
state coder-m.bin tools/refdecoder/hgv_mixing.py '^SHA256'

cargo build --release -p hgv-bench --bin hgv-payload-vectors --bin hgv-vectors --bin hgv-fuzz-smoke
target/release/hgv-payload-vectors format-spec/vectors/payload
target/release/hgv-vectors format-spec/vectors/good
target/release/hgv-fuzz-smoke --write-corpus
HGV_WRITE_BAD=1 cargo test --test bad_files --test bad_grid --test curves --test ranks
"${PYTHON:-python3}" tools/refdecoder/check_vectors.py
