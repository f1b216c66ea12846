"""g++: compilation units as libraries for the fibers, and as programs for the sanitizers."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import re
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

__all__ = ["build_all", "kernels", "library", "program", "replay", "use_folder"]

HERE = Path(__file__).parent
SANITIZERS = {
    "address": (
        "-fsanitize=address,undefined,alignment,bounds", "-fno-sanitize-recover=all", "-fsanitize-sections=shim_shared",
    ),
    "thread": ("-fsanitize=thread",),
}  # fmt: skip

# The kernels' own arithmetic: no contraction, and packs read through pointers to their elements.
_FLAGS = (
    "-std=c++17", "-fno-strict-aliasing", "-ffp-contract=off", "-fno-gnu-unique", "-U_FORTIFY_SOURCE",
    "-fvisibility=hidden", "-Wall", "-Werror", "-Wno-unknown-pragmas", "-Wno-sign-compare", "-Wno-unused",
)  # fmt: skip
_KERNEL = re.compile(r'extern "C" __global__ void (?:__launch_bounds__\([^)]*\) )?(\w+)\(')
_DYNAMIC = re.compile(r"extern __shared__ ([\w ]+?) (\w+)\[\];")
_folder: Path | None = None


def use_folder(folder: Path) -> None:
    """Where the results are kept from now on."""
    global _folder
    _folder = folder


def library(code: str, options: tuple[str, ...]) -> Path:
    """A unit as a shared library that runs its threads as fibers; unoptimised, for it runs less than g++ takes."""
    return _linked(code, (*_macros(options), "-O0"), ("-shared", "-fPIC"), ("runtime.cpp",))


def program(code: str, options: tuple[str, ...], sanitizer: str) -> Path:
    """A unit as a program that replays launches in threads under "address" (with "undefined") or "thread"."""
    flags = (*_macros(options), "-DSHIM_THREADS", "-O1", "-g1", "-pthread", *SANITIZERS[sanitizer])
    return _linked(code, flags, (), ("runtime.cpp", "replay.cpp"))


def replay(program: Path, launches: Path, skipped: int = 0) -> tuple[int, str]:
    """Run a program on recorded launches, without the barrier of a line: its exit status, and what it says."""
    command = [str(program), str(launches), str(skipped)]
    status, output = _said(command)
    # GCC 12's ThreadSanitizer does not start where addresses are spread widely; later ones see to it themselves.
    return _said(["setarch", "-R", *command]) if "unexpected memory mapping" in output else (status, output)


def _said(command: list[str]) -> tuple[int, str]:
    # All threads are done when a program ends, and ThreadSanitizer need not wait a second for them.
    environment = {**os.environ, "TSAN_OPTIONS": "atexit_sleep_ms=0"}
    process = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    return process.returncode, process.stdout + process.stderr


def build_all(units: list[tuple[str, tuple[str, ...]]]) -> None:
    """Compile libraries side by side, as many at once as there are processors."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda unit: library(*unit), units))


def kernels(code: str) -> list[str]:
    """The names of the kernels of a unit."""
    return _KERNEL.findall(code)


def _macros(options: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(option for option in options if option.startswith("-D"))


def _source(code: str) -> str:
    """A unit for g++: the code as it is, but for dynamic shared memory, between the shim and a table of its kernels."""
    code = _DYNAMIC.sub(r"\1* \2 = reinterpret_cast<\1*>(shim::dynamic);", code)
    rows = [f'{{"{k}", shim::Kernel<&::{k}>::run, shim::Kernel<&::{k}>::signature}}' for k in kernels(code)]
    table = f"const shim::Entry shim::kernels[] = {{{', '.join(rows)}, {{nullptr, nullptr, nullptr}}}};"
    return f'#include "shim.h"\n#line 1 "kernel.cu"\n{code}\n{table}\n'


def _linked(code: str, flags: tuple[str, ...], how: tuple[str, ...], others: tuple[str, ...]) -> Path:
    """The unit with the other files, under ``flags``."""
    common = tuple(flag for flag in (*flags, *how) if not flag.startswith("-DFLOAT"))
    parts = [_object(_source(code), (*flags, *how))]
    parts += [_object((HERE / name).read_text(), (*common, "-std=c++20")) for name in others]  # atomics that wait
    return _kept("linked", (*map(str, parts), *common), lambda to: _run(*common, *map(str, parts), "-o", to))


def _object(source: str, flags: tuple[str, ...]) -> Path:
    def compile(to: str) -> None:
        _run(*_FLAGS, *flags, "-I", str(HERE), "-x", "c++", "-c", "-", "-o", to, text=source)

    return _kept("object", (source, _headers(), *flags), compile)


@functools.cache
def _headers() -> str:
    return "".join((HERE / name).read_text() for name in ("shim.h", "cuda_fp16.h"))


def _kept(kind, key, make) -> Path:
    """The file of that key, made once; under its name only when whole, for processes that build side by side."""
    assert _folder is not None, "use_folder() first"
    path = _folder / f"{kind}-{hashlib.sha256(repr((_FLAGS, key)).encode()).hexdigest()[:24]}"
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes second waits, and does not compile it once more
        if not path.exists():
            handle, name = tempfile.mkstemp(dir=_folder)
            os.close(handle)
            make(name)
            os.replace(name, path)
    return path


def _run(*arguments: str, text: str = "") -> None:
    try:
        process = subprocess.run(["g++", *arguments], input=text, capture_output=True, text=True, timeout=300)
    except FileNotFoundError:
        raise AssertionError("g++ is missing: the CUDA kernels are tested with it (apt install g++)") from None
    assert process.returncode == 0, process.stderr
