#!/usr/bin/env python3
"""Compiles cuda/*.cu and holds the result against what is committed.

    python3 cuda/build.py            check: fails on stale PTX, spills, stack frames, register growth
    python3 cuda/build.py --refresh  writes cuda/ptx/, cuda/registers.txt and src/backend/cuda/ptx.rs
    python3 cuda/build.py NAME...    compiles the named modules only and prints their resources

Needs x86-64 Linux and PyPI, neither a GPU nor a CUDA toolkit. Where NVRTC cannot be had, the check says
SKIPPED and succeeds; the other two fail.
"""

import concurrent.futures
import os
import re
import sys
import time

import nvrtc

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
PTX = os.path.join(HERE, "ptx")
REGISTERS = os.path.join(HERE, "registers.txt")
TABLE = os.path.join(ROOT, "src", "backend", "cuda", "ptx.rs")
ARCHITECTURES = [75, 80, 90]
OPTIONS = ["--std=c++17", "--device-as-default-execution-space", "--fmad=false", f"--include-path={HERE}"]

REGISTERS_HEAD = """\
# Registers of each kernel by architecture, and bytes of static shared memory. Made by cuda/build.py --refresh;
# the check fails if a compile differs from it, so growth is seen in a review.
"""

TABLE_HEAD = """\
//! Compiled kernels. Written by `cuda/build.py --refresh`.

use super::module::Ptx;

/// Every module for every architecture whose text differs from that of the one below.
#[rustfmt::skip]
pub(super) const PTX: &[Ptx] = &[
"""

compiler = None


def compile_one(folder, module, architecture):
    """One module for one architecture, in a worker process: (module, architecture, PTX, resources, error)."""
    global compiler
    compiler = compiler or nvrtc.Compiler(folder)
    options = OPTIONS + [f"--gpu-architecture=sm_{architecture}", "--ptxas-options=-v"]
    try:
        ptx, log = compiler.compile(os.path.join(HERE, f"{module}.cu"), options)
    except nvrtc.Rejected as error:
        return module, architecture, "", {}, str(error)
    return module, architecture, nvrtc.strip(ptx), nvrtc.resources(log), None


def compile_all(folder, modules):
    """Everything, the largest sources first: {(module, architecture): (PTX, resources)} and errors."""
    size = lambda module: os.path.getsize(os.path.join(HERE, f"{module}.cu"))
    jobs = [(module, arch) for module in sorted(modules, key=size, reverse=True) for arch in ARCHITECTURES]
    results, errors = {}, []
    with concurrent.futures.ProcessPoolExecutor() as pool:
        futures = [pool.submit(compile_one, folder, module, arch) for module, arch in jobs]
        for future in concurrent.futures.as_completed(futures):
            module, arch, ptx, resources, error = future.result()
            results[module, arch] = (ptx, resources)
            if error:
                errors.append(f"{module}.cu for sm_{arch}:\n{error}")
    return results, errors


def spills(results):
    """Complaints about local memory: it is traffic that no kernel here should cause."""
    complaints = []
    for (module, arch), (_, resources) in sorted(results.items()):
        for name, used in resources.items():
            if used["stack"] or used["spills"]:
                complaints.append(
                    f"{module}.cu, {name}, sm_{arch}: {used['stack']} bytes of stack frame, {used['spills']} of spills"
                )
    return complaints


def registers_rows(results):
    rows = {}
    for (module, arch), (_, resources) in results.items():
        for name, used in resources.items():
            if used["registers"]:
                row = rows.setdefault((module, name), {})
                row[arch], row["shared"] = used["registers"], max(used["shared"], row.get("shared", 0))
    return rows


def registers_text(results):
    width = max([len(name) for _, name in registers_rows(results)], default=0)
    columns = "  ".join(f"sm_{arch}" for arch in ARCHITECTURES)
    lines = [f"{'# kernel':<{width}}  {columns}  shared"]
    for (_, name), row in sorted(registers_rows(results).items()):
        numbers = "  ".join(f"{row.get(arch, 0):>5}" for arch in ARCHITECTURES)
        lines.append(f"{name:<{width}}  {numbers}  {row['shared']:>6}")
    return REGISTERS_HEAD + "\n".join(lines) + "\n"


def ptx_files(results):
    """{file name: text}, without a text that says the same as the one for an older architecture."""
    files = {}
    for module in sorted({module for module, _ in results}):
        kept = None
        for arch in ARCHITECTURES:
            text = results[module, arch][0]
            plain = text.replace(f".target sm_{arch}\n", ".target\n", 1)
            if plain != kept:
                files[f"{module}.sm_{arch}.ptx"] = text
                kept = plain
    return files


def table_text(files):
    entries = []
    for name in sorted(files):
        module, arch = re.fullmatch(r"(\w+)\.sm_(\d+)\.ptx", name).groups()
        entries.append(
            f'    Ptx {{\n        module: "{module}",\n        architecture: {arch},\n'
            f'        text: include_str!("../../../cuda/ptx/{name}"),\n    }},\n'
        )
    return TABLE_HEAD + "".join(entries) + "];\n"


def outputs(results):
    """{path: text} of every committed file that this script makes."""
    files = ptx_files(results)
    made = {os.path.join(PTX, name): text for name, text in files.items()}
    made[REGISTERS] = registers_text(results)
    made[TABLE] = table_text(files)
    return made


def committed():
    """{path: text} of those files as they are now."""
    paths = [os.path.join(PTX, name) for name in os.listdir(PTX)] if os.path.isdir(PTX) else []
    paths += [path for path in (REGISTERS, TABLE) if os.path.exists(path)]
    return {path: open(path, encoding="utf-8").read() for path in paths}


def refresh(made):
    os.makedirs(PTX, exist_ok=True)
    for path in committed().keys() - made.keys():
        os.remove(path)
    for path, text in made.items():
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)


def stale(made):
    """Complaints about committed files that differ from what the sources give."""
    there, complaints = committed(), []
    for path in sorted(made.keys() | there.keys()):
        name = os.path.relpath(path, ROOT)
        if path not in made:
            complaints.append(f"{name}: no source makes it")
        elif path not in there:
            complaints.append(f"{name}: missing")
        elif there[path] != made[path]:
            complaints.append(f"{name}: differs from what the sources give")
    if REGISTERS in there and there[REGISTERS] != made[REGISTERS]:
        before, now = there[REGISTERS].splitlines(), made[REGISTERS].splitlines()
        complaints += [f"  was {line}" for line in before if line not in now]
        complaints += [f"  now {line}" for line in now if line not in before]
    return complaints


def main(words):
    start = time.monotonic()
    named = [re.sub(r"\.cu$", "", os.path.basename(word)) for word in words if not word.startswith("--")]
    update = "--refresh" in words
    try:
        folder = nvrtc.install(os.path.join(ROOT, "target", "nvrtc"))
    except nvrtc.Unavailable as error:
        if update or named:
            sys.exit(str(error))
        print(f"SKIPPED: kernels are not compiled: {error}")
        return
    modules = named or sorted(name[:-3] for name in os.listdir(HERE) if name.endswith(".cu"))
    results, errors = compile_all(folder, modules)
    if errors:
        sys.exit("\n".join(errors))
    complaints = spills(results)
    if named:
        print(registers_text(results), end="")
    elif update:
        refresh(outputs(results))
    elif differences := stale(outputs(results)):
        complaints += differences + ["python3 cuda/build.py --refresh writes these files"]
    kernels = len(registers_rows(results))
    architectures = ", ".join(f"sm_{arch}" for arch in ARCHITECTURES)
    print(f"{len(modules)} modules, {kernels} kernels for {architectures}: {time.monotonic() - start:.1f} s")
    if complaints:
        sys.exit("\n".join(complaints))


if __name__ == "__main__":
    main(sys.argv[1:])
