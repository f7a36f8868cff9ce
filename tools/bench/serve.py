#!/usr/bin/env python3
"""`hgv serve` beside nginx: one file, both servers in one run, the same client.

    cargo build --release -p hgv-cli -p hgv-bench
    python3 tools/bench/serve.py                  # writes tools/bench/results/serve.md

Needs nginx (Debian package). A file of 1 GiB of random bytes is served from a temporary folder on loopback. Each round
measures both servers, one after the other, in turns; CPU time is that of the server's processes alone. Fails if there is
an error, a wrong byte, or more memory than is promised.
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = ROOT / "target/release"
RANGE = 256 << 10
# A connection holds at most two chunks of a file and what waits to be sent.
BASE_MEMORY = 32 << 20
CONNECTION_MEMORY = 256 << 10
TICK = os.sysconf("SC_CLK_TCK")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(port):
    for _ in range(500):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    sys.exit("a server does not start")


class Server:
    """A running server: its port and its processes."""

    def __init__(self, name, process, port):
        self.name, self.process, self.port = name, process, port
        wait_for(port)

    def pids(self):
        """The process and its children."""
        pid = self.process.pid
        children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [pid, *map(int, children)]

    def cpu_seconds(self):
        """Time in user and system mode of all processes."""
        total = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICK

    def peak_memory(self):
        """Largest resident memory of each process, summed, in bytes."""
        total = 0
        for pid in self.pids():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1]) << 10
        return total

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)


def start_hgv(folder):
    port = free_port()
    log = open(folder / "hgv.log", "wb")
    words = [RELEASE / "hgv", "serve", folder / "site", "--addr", f"127.0.0.1:{port}"]
    words += ["--max-connections", "1200"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=log)
    return Server("hgv", process, port)


NGINX = """
daemon off;
worker_processes {workers};
{user}
pid {home}/pid;
error_log {home}/error.log;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log {home}/access.log;
    {scratch}
    default_type application/octet-stream;
    sendfile on;
    keepalive_requests 1000000;
    server {{ listen 127.0.0.1:{port} backlog=1024; root {site}; }}
}}
"""


def start_nginx(program, folder, workers):
    home, port = folder / "nginx", free_port()
    home.mkdir()
    kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    scratch = "\n".join(f"    {k}_temp_path {home}/{k};" for k in kinds)
    user = "user root;" if os.getuid() == 0 else ""
    text = NGINX.format(
        workers=workers, user=user, home=home, scratch=scratch, port=port, site=folder / "site"
    )
    (home / "nginx.conf").write_text(text)
    words = [program, "-e", home / "error.log", "-p", home, "-c", home / "nginx.conf"]
    return Server("nginx", subprocess.Popen(words), port)


def load(server, clients, requests, check=None):
    """One run of the client: its report, and the server's CPU seconds for it."""
    words = [RELEASE / "hgv-http-load", f"http://127.0.0.1:{server.port}/big.hgv"]
    words += ["--clients", str(clients), "--requests", str(requests), "--range", str(RANGE)]
    if check:
        words += ["--check", check]
    before = server.cpu_seconds()
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode > 1:
        sys.exit(f"{server.name}: {done.stderr}")
    report = json.loads(done.stdout)
    report["cpu"] = server.cpu_seconds() - before
    if report["errors"]:
        sys.exit(f"{server.name}: {report['errors']} errors, first: {report['first_error']}")
    return report


def busy():
    """Share of the machine that other work takes, in percent, over a second."""

    def read():
        fields = list(map(int, open("/proc/stat").readline().split()[1:9]))
        return sum(fields), fields[3] + fields[4]

    (total, idle), _ = read(), time.sleep(1)
    now, now_idle = read()
    return 100 * (1 - (now_idle - idle) / max(1, now - total))


def make_file(path, size):
    path.parent.mkdir(parents=True)
    with open(path, "wb") as f:
        for _ in range(size >> 20):
            f.write(os.urandom(1 << 20))


def throughput(servers, rounds, clients, requests):
    for server in servers:
        load(server, clients, 20)
    runs = {s.name: [] for s in servers}
    for number in range(rounds):
        order = servers if number % 2 == 0 else servers[::-1]
        for server in order:
            runs[server.name].append(load(server, clients, requests))
    return runs


def gigabytes(run):
    return run["requests"] * RANGE / 1e9


def report(args, others, runs, crowd, memory):
    speed = {k: statistics.median(r["megabytes_per_second"] for r in v) for k, v in runs.items()}
    cpu = {k: statistics.median(r["cpu"] / gigabytes(r) for r in v) for k, v in runs.items()}
    ratio, cpu_ratio = speed["hgv"] / speed["nginx"], cpu["nginx"] / cpu["hgv"]
    cores = os.cpu_count()
    version = subprocess.run([args.nginx, "-v"], capture_output=True, text=True).stderr.strip()
    most = BASE_MEMORY + args.crowd * CONNECTION_MEMORY
    lines = [
        "# `hgv serve` beside nginx",
        "",
        "Written by [`serve.py`](../serve.py): release build, a file of"
        f" {args.mebibytes} MiB on loopback, random ranges of 256 KiB over kept connections,"
        f" {version.removeprefix('nginx version: ')} (Debian package: `sendfile`, {cores} workers) and"
        " `hgv serve`, both with an access log, in turns in one run on a"
        f" {cores}-core virtual machine. The client runs on the same cores; other work took"
        f" {others:.0f} % of them before the run.",
        "",
        f"**Throughput {ratio:.2f} of nginx's; per CPU second {cpu_ratio:.2f}** (medians of"
        f" {args.rounds} rounds).",
        "",
        f"| {args.clients} clients, {args.clients * args.requests} requests a round | hgv | nginx |",
        "|---|---|---|",
    ]
    measures = [
        ("MB/s", lambda r: r["megabytes_per_second"], 0),
        ("median ms", lambda r: r["milliseconds"]["median"], 1),
        ("99 % ms", lambda r: r["milliseconds"]["p99"], 1),
        ("CPU seconds of the server for a GB", lambda r: r["cpu"] / gigabytes(r), 2),
    ]
    for name, pick, digits in measures:
        cells = []
        for server in ["hgv", "nginx"]:
            values = [pick(r) for r in runs[server]]
            text = ", ".join(f"{v:.{digits}f}" for v in values)
            cells.append(f"{statistics.median(values):.{digits}f} ({text})")
        lines.append(f"| {name} | {cells[0]} | {cells[1]} |")
    lines += [
        "",
        f"| {args.crowd} clients at once, {crowd['hgv']['requests']} requests, every byte checked | hgv |"
        " nginx |",
        "|---|---|---|",
    ]
    cell = lambda pick: " | ".join(pick(s) for s in ["hgv", "nginx"])
    ms = lambda s: crowd[s]["milliseconds"]
    times = lambda s: f"{ms(s)['median']:.0f}, {ms(s)['p99']:.0f}, {ms(s)['most']:.0f}"
    lines += [
        f"| errors | {cell(lambda s: str(crowd[s]['errors']))} |",
        f"| MB/s | {cell(lambda s: format(crowd[s]['megabytes_per_second'], '.0f'))} |",
        f"| median, 99 %, longest ms | {cell(times)} |",
        f"| largest memory of the server, MB | {cell(lambda s: format(memory[s] / 1e6, '.0f'))} |",
        "",
        f"Asserted: no error, no wrong byte, at most {most / 1e6:.0f} MB for hgv"
        f" ({BASE_MEMORY >> 20} MiB and {CONNECTION_MEMORY >> 10} KiB a connection: two chunks of 64 KiB, buffers).",
        "",
    ]
    return "\n".join(lines), ratio


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=500, help="of each client in a round")
    parser.add_argument("--crowd", type=int, default=1000, help="clients at once")
    parser.add_argument("--least", type=float, default=0.5, help="share of nginx's throughput")
    parser.add_argument("--nginx", default=shutil.which("nginx") or "/usr/sbin/nginx")
    parser.add_argument("--output", default=ROOT / "tools/bench/results/serve.md")
    args = parser.parse_args()
    if not pathlib.Path(args.nginx).exists():
        sys.exit("no nginx (Debian package nginx)")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        file = folder / "site/big.hgv"
        make_file(file, args.mebibytes << 20)
        others = busy()
        servers = [start_hgv(folder), start_nginx(args.nginx, folder, os.cpu_count())]
        try:
            runs = throughput(servers, args.rounds, args.clients, args.requests)
            crowd = {s.name: load(s, args.crowd, 10, file) for s in servers}
            memory = {s.name: s.peak_memory() for s in servers}
        finally:
            for server in servers:
                server.stop()
    text, ratio = report(args, others, runs, crowd, memory)
    print(text)
    if memory["hgv"] > BASE_MEMORY + args.crowd * CONNECTION_MEMORY:
        sys.exit(f"hgv took {memory['hgv']} bytes")
    if ratio < args.least:
        sys.exit(f"only {ratio:.2f} of nginx's throughput")
    pathlib.Path(args.output).write_text(text)


if __name__ == "__main__":
    main()
