#!/usr/bin/env bash
# Tests of the kernels on the emulator, built with the address and undefined-behaviour sanitizers: accesses of a
# kernel outside its memory, and arithmetic that C++ does not define. One order of threads; every test executable
# has HGV_SANITIZE_SECONDS (40), after which it is stopped and said to be.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${HGV_SANITIZE_SECONDS:-40}
asan=$(g++ -print-file-name=libasan.so 2>/dev/null || true)

# Runs one test executable; says how it went.
one() {
    local name output status=0
    name=$(basename "$1" | sed 's/-[0-9a-f]*$//')
    # Leaks are not looked for: fiber stacks live as long as their thread.
    output=$(cd tools/cuda-emulator && HGV_TEST_DEVICES=forward RUST_TEST_THREADS=1 LD_PRELOAD=$asan \
        ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0 UBSAN_OPTIONS=print_stacktrace=1 \
        timeout "$seconds" "$1" 2>&1) || status=$?
    case $status in
        0) printf '%s: %s\n' "$name" "$(grep '^test result:' <<<"$output" | tail -n 1)" ;;
        124) printf '%s: stopped after %s s with %s tests done, nothing found\n' "$name" "$seconds" \
            "$(grep -c '\.\.\. ok$' <<<"$output" || true)" ;;
        *) printf '%s: FAILED\n%s\n' "$name" "$(tail -n 60 <<<"$output")"; return 1 ;;
    esac
}

if [ "${1:-}" = one ]; then
    one "$2"
    exit
fi
if [ ! -e "$asan" ]; then
    echo "SKIPPED: no g++ with libasan here, so nothing runs under sanitizers"
    exit 0
fi
# The whole workspace, as then nothing but the emulator is built again after `cargo test --workspace`.
package=${HGV_SANITIZE_PACKAGES:---workspace}
built=$(HGV_EMULATOR_SANITIZE=1 cargo test $package --tests --no-run --message-format=json)
sed -n '/hgv-cuda-emulator/s/.*"executable":"\([^"]*\)".*/\1/p' <<<"$built" |
    xargs -P "$(nproc)" -n 1 bash cuda/sanitize.sh one
