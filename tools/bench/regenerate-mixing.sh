#!/usr/bin/env bash
# Everything that follows from format-spec/tables/coder-m.bin: its SHA-256 where it is stated, and the
# vectors and fuzz inputs of coder M. Run it after the table file or the layers of coder M have changed.
# Blocks of coder R must not change; it fails if one does.
#
# The table file itself: hgv-train-tables mixing format-spec/tables/coder-m.bin VOLUME.npy ...
#
# usage: tools/bench/regenerate-mixing.sh        (PYTHON = a Python with NumPy, for the check)
set -euo pipefail
cd "$(dirname "$0")/../.."

sum=$(sha256sum format-spec/tables/coder-m.bin | cut -d ' ' -f 1)
sed -i "/^The file \[tables\/coder-m.bin\]/{n;s/[0-9a-f]\{64\}/$sum/;}" format-spec/payload.md
sed -i "/^SHA256/s/[0-9a-f]\{64\}/$sum/" tools/refdecoder/hgv_mixing.py
for file in format-spec/payload.md tools/refdecoder/hgv_mixing.py; do
    grep -q "$sum" "$file" || { echo "$file does not state $sum" >&2; exit 1; }
done

cargo build --release -p hgv-bench --bin hgv-payload-vectors --bin hgv-vectors --bin hgv-fuzz-smoke
target/release/hgv-payload-vectors format-spec/vectors/payload
target/release/hgv-vectors format-spec/vectors/good auto-best
target/release/hgv-fuzz-smoke --write-corpus --target payload

changed=$(git diff --name-only -- format-spec/vectors | grep -Ev '/(mixing-|auto-best)' || true)
[ -z "$changed" ] || { printf 'changed without need:\n%s\n' "$changed" >&2; exit 1; }
"${PYTHON:-python3}" tools/refdecoder/check_vectors.py
