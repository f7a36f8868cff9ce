#!/usr/bin/env bash
# Tests and measures a CUDA device.
#
#   tools/bench/gpu.sh build FOLDER     makes a folder with all that `run` needs: programs, test executables,
#                                       vectors and small volumes. Needs the Rust toolchain and a repository.
#   FOLDER/gpu.sh run [OPTION ...]      needs that folder and a driver, no Rust, no internet. Runs every GPU
#                                       test, measures, and writes FOLDER/results/gpu-NAME.md.
#       --name NAME       names the result [the device's own name]
#       --quick           fits in 15 minutes of device time: volumes of 256^3 and 512^3
#       --work FOLDER     where volumes of up to 4 GiB go [FOLDER/work]
#
# Exit status: 0 all well; 1 a test or a comparison failed; 2 no device, or not called as above.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

fail() {
    printf 'gpu.sh: %s\n' "$1" >&2
    exit 2
}

# The paths of the test executables of a package, one a line.
test_executables() {
    cargo test -p "$1" --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p'
}

build() {
    local folder=$1 repository executable emulator
    repository=$(cd "$here/../.." && pwd)
    mkdir -p "$folder/bin" "$folder/tests" "$folder/repository/format-spec" "$folder/volumes" "$folder/emulator"
    folder=$(cd "$folder" && pwd)
    cd "$repository"
    cargo build --release -p hgv-cli -p hgv-bench
    local target=${CARGO_TARGET_DIR:-target} program
    for program in hgv hgv-generate hgv-gpu-bench hgv-train-speed; do
        cp "$target/release/$program" "$folder/bin/"
    done
    rm -f "$folder"/tests/*
    test_executables hgv-cuda-emulator | while read -r executable; do
        cp "$executable" "$folder/tests/$(basename "$executable" | sed 's/-[0-9a-f]*$//')"
    done
    # The emulator as a driver: `run --emulator` tries this script without a device.
    emulator=$(find "$target/debug/build" -path '*/out/driver/libcuda.so.1' -printf '%T@ %h\n' | sort -n | tail -n 1 | cut -d ' ' -f 2)
    if [ -n "$emulator" ]; then
        cp "$emulator/libcuda.so.1" "$emulator/../libhgv_cuda_emulator.so" "$folder/emulator/"
    fi
    cp -r format-spec/vectors "$folder/repository/format-spec/"
    cp tools/bench/gpu.sh tools/bench/train_torch.py "$folder/"
    git describe --always --dirty >"$folder/version.txt" 2>/dev/null || echo unknown >"$folder/version.txt"
    "$folder/bin/hgv-generate" porous --size 64,64,64 --force --quiet -o "$folder/volumes/rock.raw"
    "$folder/bin/hgv-generate" porous --size 128,128,128 --force --quiet -o "$folder/volumes/rock.raw"
    printf 'built %s (%s)\n' "$folder" "$(du -sh "$folder" | cut -f 1)"
}

name='' quick='' emulator='' work=''

options() {
    while [ $# -gt 0 ]; do
        case $1 in
            --name) name=${2:?}; shift ;;
            --work) work=${2:?}; shift ;;
            --quick) quick=yes ;;
            --emulator) emulator=yes ;;
            *) fail "what is $1? See the head of this script" ;;
        esac
        shift
    done
}

# One test executable after the other; counts passes and failures.
run_tests() {
    local executable output status
    printf '## Tests\n\n| executable | result |\n|---|---|\n'
    for executable in "$here"/tests/*; do
        if [ -n "$emulator" ] && [ "$(basename "$executable")" != device ]; then
            continue
        fi
        status=0
        output=$(HGV_TEST_DEVICES=gpu RUST_TEST_THREADS=4 HGV_REPOSITORY=$here/repository timeout 600 "$executable" 2>&1) || status=$?
        printf '%s\n' "$output" >"$work/test-$(basename "$executable").log"
        [ "$status" = 0 ] || { failures=$((failures + 1)); printf '%s\n' "$output" | tail -n 40 >&2; }
        printf '| %s | %s |\n' "$(basename "$executable")" \
            "$(printf '%s\n' "$output" | grep '^test result:' | tail -n 1 | sed 's/^test result: //; s/; [0-9]* measured.*//' || echo "no result, status $status")"
    done
    printf '\n'
}

# The quality at which the small volume comes to about 30:1.
quality_near_30() {
    local quality ratio chosen=60
    for quality in 60 55 50 45 40 35 30; do
        ratio=$("$here/bin/hgv" encode "$here/volumes/rock_128x128x128_uint8.raw" -o "$work/probe.hgv" --force \
            --backend cpu --preset fast --quality $quality --json | sed 's/.*"ratio":\([0-9]*\).*/\1/')
        chosen=$quality
        [ "$ratio" -ge 30 ] && break
    done
    echo "$chosen"
}

# measure COMMAND...: one line of JSON, or a failure that is told and counted.
measure() {
    printf '%s\n' "$*" >&2
    "$here/bin/hgv-gpu-bench" "$@" >>"$work/lines.jsonl" || { failures=$((failures + 1)); printf 'failed: %s\n' "$*" >&2; }
}

# with_cpu SIDE PRESET: whether the CPU encodes it too, which takes minutes where it is large.
with_cpu() {
    case $2 in
        fast | balanced) [ "$1" -le 512 ] && echo cpu || echo no-cpu ;;
        *) [ "$1" -le 256 ] && echo cpu || echo no-cpu ;;
    esac
}

measure_all() {
    local sides=$1 runs=$2 quality side preset volume
    quality=$(quality_near_30)
    : >"$work/lines.jsonl"
    cd "$work"
    for side in $sides; do
        "$here/bin/hgv-generate" porous --size "$side,$side,$side" --force --quiet -o "$work/rock.raw"
        volume=rock_${side}x${side}x${side}_uint8.raw
        for preset in fast balanced best hashgrid; do
            # Grids are trained for every block: a small volume says as much a voxel.
            [ "$preset" = hashgrid ] && [ "$side" -gt 256 ] && continue
            measure encode "$runs" "$preset" "$(with_cpu "$side" "$preset")" "$quality" "$volume" "rock-$side-$preset.hgv"
            [ -f "rock-$side-$preset.hgv" ] && measure decode "$((runs + 2))" "rock-$side-$preset.hgv"
        done
        rm -f "$volume"
    done
}

# Pictures of a volume in memory: pictures SIDE FRAMES.
pictures() {
    local side=$1 frames=$2
    printf '## Pictures of %s^3 voxels\n\n' "$side"
    "$here/bin/hgv-generate" porous --size "$side,$side,$side" --force --quiet -o "$work/rock.raw"
    "$here/bin/hgv-gpu-bench" render "$frames" "$work/rock_${side}x${side}x${side}_uint8.raw" || failures=$((failures + 1))
    rm -f "$work/rock_${side}x${side}x${side}_uint8.raw"
}

# Training of block models, as many at a time as the device holds.
training() {
    printf '## Training\n\n'
    if [ -n "$emulator" ]; then
        printf 'Not measured: an emulator.\n\n'
        return 0
    fi
    "$here/bin/hgv-train-speed" --device || failures=$((failures + 1))
    printf '\n'
}

# The usual research code, if there is a PyTorch that sees the device.
torch_loop() {
    printf '## PyTorch\n\n'
    if ! python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
        printf 'Not measured: no PyTorch with CUDA here.\n\n'
        return 0
    fi
    printf 'One Adam step over a 64^3 block, eager, fused Adam, the faster of two formulations (`train_torch.py`):\n\n```\n'
    python3 "$here/train_torch.py" "$("$here/bin/hgv-train-speed" --models)" --cuda 2>/dev/null || failures=$((failures + 1))
    printf '```\n\n'
}

run() {
    options "$@"
    if [ -n "$emulator" ]; then
        export LD_LIBRARY_PATH=$here/emulator HGV_FAKE_MEMORY=4294967296
    fi
    local devices device bandwidth result failures=0
    devices=$("$here/bin/hgv" devices) || fail "bin/hgv does not run here"
    if ! "$here/bin/hgv" devices --json | grep -q '"compute_capability"'; then
        fail "$(printf '%s\n' "$devices" | tail -n 1)"
    fi
    device=$("$here/bin/hgv" devices --json | sed 's/.*"gpus":\[{"name":"\([^"]*\)".*/\1/')
    name=${name:-$(printf '%s' "$device" | tr -cs 'A-Za-z0-9' '-' | tr 'A-Z' 'a-z' | sed 's/^-//; s/-$//')}
    work=${work:-$here/work}
    mkdir -p "$work" "$here/results"
    work=$(cd "$work" && pwd)
    result=$here/results/gpu-$name.md
    bandwidth=$("$here/bin/hgv-gpu-bench" bandwidth)
    {
        printf '# %s\n\nMade by `tools/bench/gpu.sh run%s` of hgv %s on %s.\n\n' "$device" "${quick:+ --quick}" \
            "$(cat "$here/version.txt")" "$(date -u +%Y-%m-%d)"
        [ -z "$emulator" ] || printf '**Run on the emulator, without a GPU: every time is that of a CPU.**\n\n'
        printf '```\n%s\n```\n\n' "$devices"
        if command -v nvidia-smi >/dev/null && [ -z "$emulator" ]; then
            printf 'Driver %s.\n\n' "$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -n 1)"
        fi
        printf 'Volumes are porous rock of `hgv-generate`, uint8, at one quality near 30:1 for GPU and CPU, whose times are of\nthis run, all cores. A floor is what moving the least bytes of a kernel takes at %s GB/s, what filling memory reached\nhere; kernels that are bound by their symbols have none.\n\n' "$bandwidth"
        run_tests
    } >"$result"
    if [ -n "$emulator" ]; then
        measure_all "32" 1
    elif [ -n "$quick" ]; then
        measure_all "256 512" 2
    else
        measure_all "256 512 1024" 3
    fi
    {
        "$here/bin/hgv-gpu-bench" report "$bandwidth" "$work/lines.jsonl"
        if [ -n "$emulator" ]; then
            pictures 32 1
        else
            pictures 512 60
        fi
        training
        torch_loop
    } >>"$result"
    cat "$result"
    printf '%s, %d failures\n' "$result" "$failures" >&2
    [ "$failures" = 0 ]
}

case ${1:-} in
    build) [ $# = 2 ] || fail "build takes one folder"; build "$2" ;;
    run) shift; run "$@" ;;
    *) fail "usage: gpu.sh build FOLDER, or FOLDER/gpu.sh run [--quick] [--name NAME] [--work FOLDER]" ;;
esac
