#!/usr/bin/env bash
# Everything that follows from format-spec/tables/coder-r-grid.bin: its SHA-256 where it is stated,
# and the vectors, malformed records and fuzz inputs of model kind 2. Run it after the table file or
# the layers of kind 2 have changed. Files of kind 1 must not change; it fails if one does.
#
# usage: tools/bench/regenerate-grid.sh        (PYTHON = a Python with NumPy, for the check)
set -euo pipefail
cd "$(dirname "$0")/../.."

sum=$(sha256sum format-spec/tables/coder-r-grid.bin | cut -d ' ' -f 1)
# It is stated in two places: the specification, section 21, on the line behind "Its SHA-256 is", and
# the reference decoder.
sed -i "/4 \* 1652\` bytes. Its SHA-256 is/{n;s/[0-9a-f]\{64\}/$sum/;}" format-spec/payload.md
sed -i "/^GRID_TABLES/s/[0-9a-f]\{64\}/$sum/" tools/refdecoder/hgv_stream.py
for file in format-spec/payload.md tools/refdecoder/hgv_stream.py; do
    grep -q "$sum" "$file" || { echo "$file does not state $sum" >&2; exit 1; }
done

cargo build --release -p hgv-bench --bin hgv-payload-vectors --bin hgv-vectors --bin hgv-fuzz-smoke
target/release/hgv-payload-vectors format-spec/vectors/payload
target/release/hgv-vectors format-spec/vectors/good \
    grid-uint8 grid-float32-q3 grid-mask grid-lossless-uint8 grid-bounded-uint8 auto-best
target/release/hgv-fuzz-smoke --write-corpus --target payload
HGV_WRITE_BAD=1 cargo test --test bad_files --test bad_grid

changed=$(git diff --name-only -- format-spec/vectors tests/bad | grep -Ev '/(grid-|auto-best|grid/)' || true)
[ -z "$changed" ] || { printf 'changed without need:\n%s\n' "$changed" >&2; exit 1; }
"${PYTHON:-python3}" tools/refdecoder/check_vectors.py
