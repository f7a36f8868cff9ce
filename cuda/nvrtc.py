"""NVRTC, NVIDIA's run-time compiler, as a library that pip installs: no CUDA toolkit, no GPU."""

import ctypes
import glob
import os
import re
import subprocess
import sys
import venv

# One release makes one text: PTX is compared byte for byte.
PACKAGES = ["nvidia-cuda-nvrtc-cu12==12.0.140"]


class Unavailable(Exception):
    """NVRTC cannot be installed or loaded here."""


class Rejected(Exception):
    """The compiler refused the source; the text is its log."""


def install(folder):
    """Installs PACKAGES into a virtual environment in `folder`; returns the folder of the libraries."""
    stamp = os.path.join(folder, "installed.txt")
    wanted = "\n".join(PACKAGES)
    if not (os.path.exists(stamp) and open(stamp).read() == wanted):
        try:
            venv.create(folder, with_pip=True, clear=True)
            python = os.path.join(folder, "bin", "python")
            subprocess.run(
                [python, "-m", "pip", "install", "--quiet", "--no-deps", *PACKAGES], check=True, timeout=600
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"pip cannot install {' '.join(PACKAGES)}: {error}") from error
        with open(stamp, "w") as file:
            file.write(wanted)
    found = glob.glob(os.path.join(folder, "lib", "python*", "site-packages", "nvidia", "cuda_nvrtc", "lib"))
    if not found:
        raise Unavailable(f"no NVRTC below {folder}")
    return found[0]


class Compiler:
    """The library, loaded once a process."""

    def __init__(self, folder):
        try:
            # NVRTC asks for this one by name only, which works if it is loaded already.
            ctypes.CDLL(glob.glob(os.path.join(folder, "libnvrtc-builtins.so.*"))[0], ctypes.RTLD_GLOBAL)
            self.lib = ctypes.CDLL(glob.glob(os.path.join(folder, "libnvrtc.so.*"))[0])
        except (OSError, IndexError) as error:
            raise Unavailable(f"cannot load NVRTC from {folder}: {error}") from error
        self.lib.nvrtcGetErrorString.restype = ctypes.c_char_p

    def compile(self, path, options):
        """Compiles a file; returns the PTX text and the log."""
        with open(path, "rb") as file:
            source = file.read()
        program = ctypes.c_void_p()
        name = os.path.basename(path).encode()
        self._check(self.lib.nvrtcCreateProgram(ctypes.byref(program), source, name, 0, None, None))
        try:
            words = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            result = self.lib.nvrtcCompileProgram(program, len(options), words)
            log = self._text(program, "ProgramLog")
            if result:
                raise Rejected(log or self.lib.nvrtcGetErrorString(result).decode())
            return self._text(program, "PTX"), log
        finally:
            self.lib.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program, what):
        size = ctypes.c_size_t()
        self._check(getattr(self.lib, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        buffer = ctypes.create_string_buffer(size.value)
        self._check(getattr(self.lib, f"nvrtcGet{what}")(program, buffer))
        return buffer.value.decode()

    def _check(self, result):
        if result:
            raise Rejected(self.lib.nvrtcGetErrorString(result).decode())


def strip(ptx):
    """PTX without comments, empty lines and the tables of target names that NVRTC adds to every file.

    Comments must go: NVRTC numbers calls in them across all that a process has compiled before, so they differ
    from run to run.
    """
    lines = []
    for line in ptx.splitlines():
        if re.match(r"\.global .*2nv6target", line):
            continue
        line = re.sub(r"\s*//.*", "", line).rstrip()
        if line:
            lines.append(line)
    return "\n".join(lines) + "\n"


def resources(log):
    """What the assembler's report says of each function: {name: {"registers", "shared", "stack", "spills"}}."""
    found, name = {}, None
    for line in log.splitlines():
        if match := re.search(r"Function properties for (\S+)", line):
            name = match[1]
            found.setdefault(name, {"registers": 0, "shared": 0, "stack": 0, "spills": 0})
        elif match := re.search(
            r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line
        ):
            found[name]["stack"] = int(match[1])
            found[name]["spills"] = int(match[2]) + int(match[3])
        elif match := re.search(r"Used (\d+) registers", line):
            found[name]["registers"] = int(match[1])
            if shared := re.search(r"(\d+) bytes smem", line):
                found[name]["shared"] = int(shared[1])
    return found


if __name__ == "__main__":
    print(install(sys.argv[1]))
