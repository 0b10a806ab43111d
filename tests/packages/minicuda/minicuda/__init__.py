"""Loads the library and says what it was built with."""

import ctypes
from pathlib import Path

from minicuda._version import __version__, arch_list

include_dir = Path(__file__).with_name("include")
library_dir = Path(__file__).with_name("lib")

_lib = ctypes.CDLL(str(library_dir / "libminicuda.so"))
_lib.minicuda_scale_host.restype = ctypes.c_float
_lib.minicuda_scale_host.argtypes = [ctypes.c_float]
for _name in ("minicuda_greeting", "minicuda_nvcc", "minicuda_host_compiler"):
    getattr(_lib, _name).restype = ctypes.c_char_p


def scale_host(value):
    return _lib.minicuda_scale_host(value)


def scale(values):
    """Scale on the GPU; raises RuntimeError with the CUDA error number where there is none."""
    data = (ctypes.c_float * len(values))(*values)
    status = _lib.minicuda_scale(data, len(values))
    if status:
        raise RuntimeError(f"CUDA error {status}")
    return list(data)


greeting = _lib.minicuda_greeting().decode()
nvcc = _lib.minicuda_nvcc().decode()
host_compiler = _lib.minicuda_host_compiler().decode()
toolkit = _lib.minicuda_toolkit()
