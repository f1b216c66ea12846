"""NVRTC, CUDA's run-time compiler, from its wheel: it needs neither a driver nor a GPU. For tests only."""

from __future__ import annotations

import ctypes
import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Resources", "compile", "resources"]

INSTALL = "pip install 'nvidia-cuda-nvrtc>=13,<14' 'nvidia-cuda-runtime>=13,<14' (the `test` extra has them)"


class NVRTCError(AssertionError):
    """NVRTC is missing, or refuses a source."""


@dataclass(frozen=True)
class Resources:
    """What a kernel takes of a chip: registers, bytes of local memory and of spills a thread, shared bytes a block."""

    registers: int
    stack: int
    spilled: int
    shared: int


@cache
def _folder() -> Path:
    """The wheels' common folder, with ``lib`` and ``include``."""
    spec = importlib.util.find_spec("nvidia")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / "cu13" / "lib" / "libnvrtc.so.13").exists():
            return Path(folder) / "cu13"
    raise NVRTCError(f"NVRTC is missing: {INSTALL}")


@cache
def _library() -> ctypes.CDLL:
    return ctypes.CDLL(str(_folder() / "lib" / "libnvrtc.so.13"))


def compile(code: str, options: Sequence[str], architecture: str) -> tuple[bytes, str]:
    """A source for ``"sm_80"``, the machine code, or ``"compute_80"``, the assembly; and what the compiler says of it.

    The options that CuPy adds to its own are added here too.
    """
    of_cupy = ("-ftz=true", "--device-as-default-execution-space")
    include = f"-I{_folder() / 'include'}"
    everything = [*options, *of_cupy, "--ptxas-options=-v", include, f"-arch={architecture}"]
    nvrtc, program = _library(), ctypes.c_void_p()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), code.encode(), b"kernel.cu", 0, None, None)
    try:
        words = (ctypes.c_char_p * len(everything))(*(option.encode() for option in everything))
        failed = nvrtc.nvrtcCompileProgram(program, len(everything), words)
        log = _read(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).rstrip(b"\0").decode()
        if failed:
            raise NVRTCError(log)
        if architecture.startswith("sm_"):
            return _read(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program), log
        return _read(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program), log
    finally:
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))


def _read(size_of, read, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    size_of(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    read(program, buffer)
    return buffer.raw


def resources(log: str) -> dict[str, Resources]:
    """Of each kernel what the assembler reports."""
    found = {}
    for part in re.split(r"Compiling entry function '", log)[1:]:
        number = lambda pattern, part=part: sum(map(int, re.findall(pattern, part)))  # noqa: E731
        found[part.partition("'")[0]] = Resources(
            registers=number(r"Used (\d+) registers"),
            stack=number(r"(\d+) bytes stack frame"),
            spilled=number(r"(\d+) bytes spill"),
            shared=number(r"(\d+) bytes smem"),
        )
    return found
