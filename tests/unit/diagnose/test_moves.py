# ruff: noqa: E501, RUF001 - lines of logs are as long as they are, with the quotes that tools write
"""What is said of failures without an entry: who provides the names in the line, who excludes whom, what a build needs."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bringup.diagnose import Diagnosis, diagnose_stream
from bringup.diagnose.check import _wrong_providers
from bringup.diagnose.conflict import conflicts
from bringup.diagnose.knowledge import Knowledge, load_knowledge
from bringup.diagnose.mangle import demangled, is_cxx11
from bringup.diagnose.moves import built, moves
from bringup.diagnose.supply import Supply
from bringup.model.knowledge import Category, Kind, Provider


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load_knowledge()


def look(knowledge: Knowledge, text: str) -> Diagnosis:
    return diagnose_stream(io.BytesIO(text.encode()), knowledge=knowledge)


DEMANGLED = {
    "_ZN3c105ErrorC2ENS_14SourceLocationESs": "c10::Error::Error",
    "_ZNK2at6Tensor7is_cudaEv": "at::Tensor::is_cuda",
    "_ZTVN10__cxxabiv120__si_class_type_infoE": "vtable for __cxxabiv1::__si_class_type_info",
    "_ZSt24__throw_out_of_range_fmtPKcz": "std::__throw_out_of_range_fmt",
    "_Z13launch_kernelPfi": "launch_kernel",
    "_ZN5torch8autograd4NodeD2Ev": "torch::autograd::Node::~Node",
    "_ZNKSt7__cxx1112basic_stringIcE4sizeEv": "std::__cxx11::basic_string",
    "cublasCreate_v2": "cublasCreate_v2",
    "_Z": "_Z",
}


@pytest.mark.parametrize("symbol", DEMANGLED)
def test_demangled(symbol: str):
    assert demangled(symbol) == DEMANGLED[symbol]


def test_the_newer_abi_shows_in_the_name():
    assert is_cxx11("_ZNSt7__cxx1112basic_stringE")
    assert not is_cxx11("_ZN3c105ErrorC2ENS_14SourceLocationESs")


@given(st.text(alphabet="_ZNKSt0123456789abC", max_size=40).map(lambda text: "_Z" + text))
def test_any_mangled_text_is_read_to_its_end(symbol: str):
    assert demangled(symbol)


FOUND = {
    (Kind.HEADER, "google/protobuf/message.h"): "Protocol Buffers",
    (Kind.HEADER, "cublas_v2.h"): "cuBLAS",
    (Kind.LIBRARY, "boost_filesystem"): "Boost",
    (Kind.SHARED, "libcudnn.so.9"): "cuDNN",
    (Kind.SHARED, "/usr/lib/libnuma.so.1"): "libnuma",
    (Kind.SHARED, "libhdf5.so.103"): "HDF5",
    (Kind.SYMBOL, "_ZN3c105ErrorC2ENS_14SourceLocationESs"): "PyTorch",
    (Kind.SYMBOL, "cuMemAlloc_v2"): "CUDA driver library",
    (Kind.SYMBOL, "cudnnCreate"): "cuDNN",
    (Kind.SYMBOL, "fmt::v9::vformat(fmt::v9::basic_string_view<char>)"): "fmt",
    (Kind.SYMBOL, "void at::native::fill<float>(at::Tensor&)"): "PyTorch",
    (Kind.IDENTIFIER, "uint32_t"): "the header <cstdint>",
    (Kind.IDENTIFIER, "NPY_ARRAY_OWNDATA"): "NumPy",
    (Kind.MODULE, "google.protobuf.internal"): "Protocol Buffers",
    (Kind.CMAKE, "OpenMP_CXX"): "OpenMP (libgomp)",
    (Kind.CMAKE, "zlib"): "zlib",
    (Kind.PROGRAM, "/usr/bin/protoc"): "Protocol Buffers",
    (Kind.OBJECT, "LlamaConfig"): "transformers",
    (Kind.BUILT, "Flash_Attn"): "what torch extensions are compiled with",
}


@pytest.mark.parametrize(("kind", "name"), FOUND)
def test_who_provides_a_name(kind: Kind, name: str, knowledge: Knowledge):
    found = Supply(knowledge.providers).find(kind, name)
    assert found is not None
    assert found.name == FOUND[kind, name]


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.HEADER, "mine.h"),
        (Kind.LIBRARY, "mine"),
        (Kind.SYMBOL, "run_mine"),
        (Kind.SYMBOL, "customer"),
        (Kind.CMAKE, "Mine"),
    ],
)
def test_names_that_nobody_provides(kind: Kind, name: str, knowledge: Knowledge):
    assert Supply(knowledge.providers).find(kind, name) is None


def test_wrong_providers_are_told():
    wrong = [Provider(name="a", libs=("x",), symbols=("(",)), Provider(name="b", libs=("x",))]
    assert [text.partition(":")[0] for text in _wrong_providers(wrong)] == ["a", "b"]


# What a line without an entry has to lead to.
LEADS = {
    "/w/a.cpp:3:10: fatal error: numa.h: No such file or directory": "apt-get install libnuma-dev",
    "/usr/bin/ld: cannot find -lz: No such file or directory": "zlib1g-dev",
    "x.cpp:(.text+0x1): undefined reference to `cublasCreate_v2'": "link with -lcublas",
    "x.cpp:(.text+0x1): undefined reference to `launch_it(float*)'": "launch_it(float*): find the library or source",
    "ModuleNotFoundError: No module named 'cv2'": "pip install opencv-python-headless",
    "ImportError: libgomp.so.1: cannot open shared object file: No such file or directory": "libgomp1",
    "ImportError: libtinfo.so.5: cannot open shared object file: No such file or directory": "libtinfo5",
    "AttributeError: module 'torch' has no attribute 'float9'": "float9 is not in the PyTorch that is installed",
    "a.cpp:1:1: error: ‘FLT_MAX’ was not declared in this scope": "<cfloat>",
    "ptxas x.ptx, line 5; error   : Feature '.bf16' requires .target sm_80 or higher": "code=sm_80",
    "collect2: fatal error: cannot find 'ld'": "binutils",
    "PermissionError: [Errno 13] Permission denied: '/opt/cache/x'": "/opt/cache/x",
    "fatal: unable to access 'https://e.example/': server certificate verification failed. CAfile: none": "ca-certificates",
    "error: toolchain '1.90-x86_64-unknown-linux-gnu' is not installed": "rustup toolchain install 1.90",
    "sudo: a password is required": "root",
}


@pytest.mark.parametrize("line", LEADS)
def test_the_next_move_names_what_helps(line: str, knowledge: Knowledge):
    answer = look(knowledge, line + "\n")
    assert answer.findings[0].id is None
    assert LEADS[line] in "\n".join(answer.findings[0].fix)


def test_a_python_package_is_offered_only_where_it_has_the_headers(knowledge: Knowledge):
    missing = "a.cpp:1:10: fatal error: {}: No such file or directory\n"
    assert "pip install zstandard" not in "\n".join(look(knowledge, missing.format("zstd.h")).findings[0].fix)
    assert "pip install nvidia-nccl-cu12" in "\n".join(look(knowledge, missing.format("nccl.h")).findings[0].fix)


PREFIXED = """\
server-0 engine Traceback (most recent call last):
server-0 engine   File "x.py", line 1, in f
server-0 engine     g()
server-0 engine ValueError: no group
"""
SURVIVED = """\
2026-01-01 10:00:00,001 ERROR request failed
Traceback (most recent call last):
  File "srv.py", line 6, in get
    raise KeyError("max_tokens")
KeyError: 'max_tokens'
2026-01-01 10:00:00,002 INFO "GET /ok" 200
Traceback (most recent call last):
  File "srv.py", line 16, in <module>
    run()
RuntimeError: the pool is gone
"""


def test_pod_and_container_before_each_line(knowledge: Knowledge):
    assert look(knowledge, PREFIXED).findings[0].line.endswith("ValueError: no group")


def test_the_traceback_that_ended_a_server_and_not_the_one_it_survived(knowledge: Knowledge):
    assert look(knowledge, SURVIVED).findings[0].line == "RuntimeError: the pool is gone"


@pytest.mark.parametrize("end", ["exit 0", "Finished: SUCCESS"])
def test_a_run_that_ended_well_had_no_failure(end: str, knowledge: Knowledge):
    text = "CMake Error at x:1 (find_package):\n  Could NOT find NCCL (missing: NCCL_LIB)\n\n-- Configuring incomplete, errors occurred!\n"
    assert look(knowledge, text + "built without it\n" + end + "\n").findings == ()
    assert look(knowledge, text + "built without it\nexit 1\n").findings != ()


def test_at_most_three_sentences_and_each_provider_once(knowledge: Knowledge):
    rows = ["undefined reference to `deflate'", "undefined reference to `inflate'"]
    said = moves("a.o: undefined reference to `crc32'", rows, [], rows, "", knowledge)
    assert len(said) == 1
    assert "zlib" in said[0]


PIP = """\
The conflict is caused by:
    The user requested numpy==2.1.0
    app 1.0 depends on numpy<2
"""
UV = (
    "Because sglang==0.5.2 depends on torch==2.8.0 and you require torch==2.9.0, we can conclude that your",
    "requirements and sglang==0.5.2 are incompatible.",
)


def test_requirements_that_exclude_one_another():
    (said,) = conflicts("ERROR: Cannot install app==1.0 and numpy==2.1.0 because of", PIP.splitlines())
    assert "numpy==2.1.0 (your own requirement) and numpy<2 (wanted by app 1.0)" in said
    (said,) = conflicts(UV[0], UV[1:])
    assert "torch==2.8.0 (wanted by sglang==0.5.2) and torch==2.9.0 (your own requirement)" in said
    (said,) = conflicts("Because there is no version of app==9 and you require app==9, we can conclude", [])
    assert said.startswith("the index has no app==9")
    (said,) = conflicts("Because only b==1 is available and a==1 depends on b==2, we can conclude", [])
    assert "b==2 (wanted by a==1)" in said
    assert conflicts("Because it rains", []) == []


@given(st.text(alphabet="Because depnson>=<1. and,you require", max_size=200))
def test_any_reason_can_be_read(text: str):
    assert isinstance(conflicts(text, [text]), list)


def test_what_the_build_of_a_package_needs(knowledge: Knowledge):
    said = built(["Collecting h5py==3.11.0", "  Building wheel for h5py (pyproject.toml): started"], knowledge)
    assert "libhdf5-dev" in said[0]
    assert "--only-binary :all: h5py" in said[1]
    assert built(["nothing is built"], knowledge) == []


IN_PIP = """\
Collecting signpost==1
  Building wheel for signpost (pyproject.toml): finished with status 'error'
  error: subprocess-exited-with-error

  × Building wheel for signpost (pyproject.toml) did not run successfully.
  │ exit code: 1
  ╰─> [4 lines of output]
      running bdist_wheel
      copying error/__init__.py -> build/lib
      The real name is signpost2: this one cannot be built
      second line
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
ERROR: Could not build wheels for signpost, which is required
"""


def test_the_line_inside_what_pip_shows(knowledge: Knowledge):
    best = look(knowledge, IN_PIP).findings[0]
    assert best.line.strip() == "The real name is signpost2: this one cannot be built"
    assert best.category is Category.INSTALL


def test_the_line_below_a_failed_command_and_above_makes(knowledge: Knowledge):
    ninja = "[1/2] x\nFAILED: a.o \n/usr/bin/tool -c a.c -o a.o\ntool (options): Unknown argument '-foo'\nninja: build stopped: subcommand failed.\n"
    assert look(knowledge, ninja).findings[0].line == "tool (options): Unknown argument '-foo'"
    make = "tool -c a.c\nthe licence server refused the tool\ncompilation terminated.\nmake: *** [Makefile:3: a.o] Error 1\n"
    assert look(knowledge, make).findings[0].line == "the licence server refused the tool"


def test_a_known_message_that_cmake_has_wrapped(knowledge: Knowledge):
    text = (
        "CMake Error at CMakeLists.txt:3 (enable_language):\n  /usr/include/bits/mathcalls.h(79): error: exception\n"
        '  specification is incompatible with that of previous function "cospi"\n  (declared at line 5554)\n\n'
        "-- Configuring incomplete, errors occurred!\n"
    )
    best = look(knowledge, text).findings[0]
    assert (best.id, best.line_no) == ("glibc-241-cuda-math-noexcept", 2)


def test_a_traceback_that_a_logger_only_warns_of_is_none(knowledge: Knowledge):
    rows = ["Traceback (most recent call last):", '  File "x.py", line 1, in f', "    g()", "ValueError: no graph"]
    text = "\n".join(["start", *(f"W1121 17:34:23.898000 16700 torch/x.py:24] {row}" for row in rows), "done"])
    assert look(knowledge, text).findings == ()
    assert look(knowledge, "\n".join(rows)).findings != ()
