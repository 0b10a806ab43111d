"""Writes one .cu file for each head dimension and element type, and the ninja file that compiles and links them."""

import os
from pathlib import Path

HEAD_DIMS = (64, 128)
TYPES = {"f32": "float", "f64": "double"}

KERNEL = """\
#include <minifmt.h>

__global__ void kernel_{name}({type} *data) {{
  __shared__ {type} rows[{dim}];
  rows[threadIdx.x % {dim}] = data[threadIdx.x] * MINIFMT_WIDTH;
  __syncthreads();
  data[threadIdx.x] = rows[threadIdx.x % {dim}];
}}

extern "C" int launch_{name}({type} *data, int n) {{
  kernel_{name}<<<1, n>>>(data);
  return cudaGetLastError();
}}

extern "C" int head_dim_{name}() {{ return {dim} + MINIFMT_WIDTH - 3; }}
"""

NINJA = """\
nvcc = {nvcc}
cflags = -O2 -std=c++17 -Xcompiler=-fPIC -ccbin {host} {gencode} -I{fmt}

rule cuda
  command = $nvcc $cflags -MD -MF $out.d -c $in -o $out
  depfile = $out.d
  deps = gcc
  description = $in

rule link
  command = $nvcc -shared -ccbin {host} {gencode} $in -o $out
"""


def gencode(arch_list):
    flags = []
    for entry in arch_list.replace(" ", ";").split(";"):
        number = entry.replace(".", "").removesuffix("+PTX")
        flags.append(f"-gencode=arch=compute_{number},code=sm_{number}")
        if entry.endswith("+PTX"):
            flags.append(f"-gencode=arch=compute_{number},code=compute_{number}")
    return " ".join(flags)


def write_if_changed(path, text):
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def generate(out, fmt):
    """Write the sources into `out`; returns the names of the kernels."""
    out.mkdir(parents=True, exist_ok=True)
    names = []
    for dim in HEAD_DIMS:
        for short, type_ in TYPES.items():
            names.append(f"{short}_{dim}")
            text = KERNEL.format(name=names[-1], dim=dim, type=type_)
            write_if_changed(out / f"kernel_{names[-1]}.cu", text)
    nvcc = Path(os.environ["CUDA_HOME"], "bin/nvcc")
    text = NINJA.format(
        nvcc=nvcc,
        host=os.environ.get("CUDAHOSTCXX", "g++"),
        fmt=fmt,
        gencode=gencode(os.environ["TORCH_CUDA_ARCH_LIST"]),
    )
    objects = [f"kernel_{name}.o" for name in names]
    text += "".join(f"\nbuild kernel_{name}.o: cuda kernel_{name}.cu\n" for name in names)
    text += f"\nbuild libminikernels.so: link {' '.join(objects)}\n"
    write_if_changed(out / "build.ninja", text)
    return names
