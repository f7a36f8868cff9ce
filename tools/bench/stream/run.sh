#!/usr/bin/env bash
# Streams three volumes in four formats through four links, and writes results/stream.csv, stream.md and
# stream-*.png. From nothing:
#
#   tools/bench/stream/run.sh [--quick] [--work FOLDER] [--data FOLDER]
#
# Needs nginx (Debian: apt install nginx-light), Python 3.11 with PyPI, cargo, and the development volumes
# (../shared/data beside the repository, or --data). --quick takes 512^3 in place of 2048^3, and 45 s
# a session at most. --work keeps what was made there, so that a second run goes on; without it
# all is deleted at the end. Peak on disk: 30 GB, with --quick 1 GB.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../../.." && pwd)
side=2048 patience=120 work="" data="$root/../shared/data"
while [ $# -gt 0 ]; do
    case $1 in
        --quick) side=512 patience=45 ;;
        --work) work=$2; shift ;;
        --data) data=$2; shift ;;
        *) sed -n '2,11s/^# \?//p' "$0"; exit 2 ;;
    esac
    shift
done
if [ ! -e "$data/ct_vhf_head.nrrd" ]; then
    echo "skipped: no volumes in $data"
    exit 0
fi
command -v nginx > /dev/null || { echo "nginx is missing: apt install nginx-light" >&2; exit 2; }
if [ -z "$work" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work/site"

cd "$root"
cargo build --release -p hgv-cli -p hgv-bench --bin hgv --bin hgv-generate --bin hgv-stream-bench
bin="$root/target/release"
[ -x "$work/env/bin/python" ] || python3 -m venv "$work/env"
"$work/env/bin/pip" install -q -r "$here/requirements.txt"
python="$work/env/bin/python"

[ -e "$work/em_320x320x320_uint8.raw" ] || "$python" "$here/prepare.py" "$data" "$work"

# name, distance of the final view from the middle over the longest side
volumes="ct:0.75 em:0.85 porous:0.6"
# A volume in all formats; the voxels themselves go once that is done.
make_volume() {
    local name=$1 site="$work/site/$1" preset=balanced voxels
    [ -e "$site/done" ] && return
    if [ "$name" = porous ]; then
        # Preset balanced takes two hours of a processor for 2048^3.
        preset=fast
        "$bin/hgv-generate" porous --size $side,$side,$side --force -o "$work/porous.raw"
    fi
    voxels=$(ls "$work/${name}"_*_uint8.raw)
    mkdir -p "$site"
    "$bin/hgv" encode "$voxels" -o "$site/volume.hgv" --preset $preset --force
    "$python" "$here/write.py" "$voxels" "$site"
    rm "$voxels"
    touch "$site/done"
}

port=18080
sed -e "s|WORK|$work|g" -e "s|PORT|$port|g" "$here/nginx.conf" > "$work/nginx.conf"
nginx -p "$work" -c "$work/nginx.conf" &
server=$!
trap 'kill $server 2> /dev/null || true; case $work in /tmp/tmp.*) rm -rf "$work" ;; esac' EXIT

for entry in $volumes; do
    name=${entry%:*} near=${entry#*:}
    make_volume "$name"
    for format in hgv raw zarr precomputed; do
        out="$work/$name-$format.jsonl"
        [ -e "$out" ] && continue
        # Blocks of hgv take the processor to decode: fewer sessions at a time.
        at_once=4
        [ $format = hgv ] && at_once=2
        "$bin/hgv-stream-bench" --server 127.0.0.1:$port --path "$name" --folder "$work/site/$name" \
            --format $format --transfer "$here/transfer/$name.json" --near "$near" \
            --truth "$work/$name.ppm" --pictures "$work" --patience $patience --at-once $at_once \
            --links 10:20,10:100,100:20,100:100 > "$out.partial"
        mv "$out.partial" "$out"
    done
done
"$python" "$here/report.py" "$work" "$root/tools/bench/results" --side $side --patience $patience
