"""Generated kernels."""

import ctypes
from pathlib import Path

from minikernels._names import names

_lib = ctypes.CDLL(str(Path(__file__).with_name("libminikernels.so")))


def head_dim(name):
    return getattr(_lib, f"head_dim_{name}")()
