# ruff: noqa: E501 - lines of logs are as long as they are
"""Logs written by hand for what real failing builds show only now and then."""

import io

import pytest
from helpers.own_data import own_knowledge
from thorough import THOROUGH

from bringup.diagnose import Diagnosis, diagnose_stream, exit_code
from bringup.diagnose.knowledge import Knowledge
from bringup.diagnose.model import Status
from bringup.diagnose.unknown import fill


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return own_knowledge()


def look(knowledge: Knowledge, text: str, **facts: str) -> Diagnosis:
    return diagnose_stream(io.BytesIO(text.encode()), knowledge=knowledge, facts=facts)


def traceback_of(rank: int) -> list[str]:
    rows = [
        "Traceback (most recent call last):",
        '  File "/w/train.py", line 10, in <module>',
        "    main()",
        f'    raise ValueError("rope scaling of rank {rank}")',
        f"ValueError: rope scaling of rank {rank}",
    ]
    return [f"[rank{rank}]: {row}" for row in rows]


def test_interleaved_ranks(knowledge: Knowledge):
    both = [row for pair in zip(traceback_of(0), traceback_of(1), strict=True) for row in pair]
    answer = look(knowledge, "\n".join(["start", *both, "ChildFailedError: "]))
    assert answer.status is Status.UNKNOWN
    assert (answer.findings[0].line_no, answer.findings[0].line) == (10, "ValueError: rope scaling of rank 0")


JIT_IN_CAPTURE = """\
[2025-06-01 12:00:02 TP0] Capture cuda graph begin. This can take up to several minutes. avail mem=29.73 GB
[2025-06-01 12:00:08 TP0] Scheduler hit an exception: Traceback (most recent call last):
  File "/env/lib/python3.11/site-packages/flashinfer/jit/cpp_ext.py", line 223, in run_ninja
    subprocess.run(
subprocess.CalledProcessError: Command '['ninja', '-v']' returned non-zero exit status 1.

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/env/lib/python3.11/site-packages/flashinfer/jit/cpp_ext.py", line 235, in run_ninja
    raise RuntimeError(msg) from e
RuntimeError: Ninja build failed. Ninja output:
ninja: Entering directory `/home/user/.cache/flashinfer/90/cached_ops'
FAILED: batch_prefill.cuda.o
{error}
ninja: build stopped: subcommand failed.

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/sgl/srt/managers/scheduler.py", line 2000, in run_scheduler_process
    scheduler = Scheduler(server_args)
Exception: Capture cuda graph failed: Ninja build failed. Ninja output:
Possible solutions:
1. set --mem-fraction-static to a smaller value (e.g., 0.8 or 0.7)
"""


def test_the_compiler_error_inside_a_failed_capture(knowledge: Knowledge):
    text = JIT_IN_CAPTURE.format(error="/x/utils.cuh:21:10: fatal error: cuda_fp8.h: No such file or directory")
    best = look(knowledge, text, gpu="b200").findings[0]
    assert (best.id, best.line_no) == ("flashinfer-jit-cuda-fp8-header-missing", 15)
    assert best.fix[0].startswith("invoke build --gpu b200 ")


def test_commands_name_the_target_or_fit_any(knowledge: Knowledge):
    text = JIT_IN_CAPTURE.format(error="/x/utils.cuh:21:10: fatal error: cuda_fp8.h: No such file or directory")
    named = look(knowledge, text, gpu="b200", stack="registry", target="b200-cu130-cp311").findings[0].fix
    assert named[0].startswith("invoke build --gpu b200 --stack registry --toolkit wheels ")
    assert named[1].startswith("invoke doctor --gpu b200 --stack registry ")
    assert look(knowledge, text, gpu="b200").findings[0].fix[0].startswith("invoke build --gpu b200 --toolkit ")
    assert look(knowledge, text).findings[0].fix[0].startswith("invoke build --gpu auto --toolkit wheels ")
    assert fill("invoke build --gpu {gpu} --stack kernels", {"stack": "x"}) == "invoke build --gpu auto --stack kernels"


def test_an_unknown_error_inside_a_known_wrapper_keeps_its_line(knowledge: Knowledge):
    best = look(knowledge, JIT_IN_CAPTURE.format(error='/x/a.cuh(7): error: identifier "warp" is undefined')).findings[
        0
    ]
    assert (best.id, best.line_no) == ("flashinfer-ninja-build-failed", 15)


def test_the_innermost_of_chained_exceptions(knowledge: Knowledge):
    text = """\
Traceback (most recent call last):
  File "/sgl/srt/model_executor/cuda_graph_runner.py", line 351, in capture
    out = self.capture_one_batch_size(bs, forward)
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 448.00 MiB.

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/sgl/srt/managers/scheduler.py", line 1748, in run_scheduler_process
    scheduler = Scheduler(server_args)
Exception: Capture cuda graph failed: CUDA out of memory. Tried to allocate 448.00 MiB.
"""
    best = look(knowledge, text).findings[0]
    assert (best.id, best.line_no) == ("sglang-capture-oom", 4)


def test_a_lookup_that_failed_on_the_way_is_not_the_cause(knowledge: Knowledge):
    text = """\
Traceback (most recent call last):
  File "x.py", line 2, in <module>
    models[name]
KeyError: 'llama9'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "x.py", line 4, in <module>
    raise ValueError("unknown model llama9")
ValueError: unknown model llama9
"""
    assert look(knowledge, text).findings[0].line == "ValueError: unknown model llama9"


def test_first_error_of_a_parallel_build_in_many_lines(knowledge: Knowledge):
    first, last = (41_000, 63_000) if THOROUGH else (4_100, 6_300)
    rows = [
        f"[{n}/63000] nvcc -DERROR -Werror=all-warnings -I/w/error -c /w/k{n}.cu -o k{n}_error.o" for n in range(first)
    ]
    rows += [f"FAILED: k{first}.o", "nvcc error   : 'cicc' died due to signal 9 (Kill signal)"]
    for n in range(first + 2, last, 2):
        rows += [f"[{n}/63000] nvcc -c /w/k{n}.cu", f'/w/k{n}.cu(12): error: identifier "gen_{n}" is undefined']
    rows.append("ninja: build stopped: subcommand failed.")
    best = look(knowledge, "\n".join(rows)).findings[0]
    assert (best.id, best.line_no) == ("build-oom-cc1plus-killed", first + 2)
    assert best.follows == len(rows) - first - 2


def test_hundreds_of_failed_probes_do_not_hide_the_error(knowledge: Knowledge):
    rows = []
    for n in range(600):
        word = "".join(chr(ord("a") + int(digit)) for digit in f"{n:04}")
        rows += [f"configure:{n}: checking for {word}", f"conftest.c:{n}:1: fatal error: {word}.h: No such file"]
    rows += ["FAILED: a.o", "/w/a.cpp:3:1: error: 'foo' does not name a type"]
    first = len(rows)
    rows += [f"/w/{row.split()[-1]}.cpp:1:1: error: {row.split()[-1]} is no type" for row in rows[:200:2]]
    assert look(knowledge, "\n".join(rows)).findings[0].line_no == first


def test_of_several_attempts_the_last_one_counts(knowledge: Knowledge):
    failed = "[1/2] cc -c a.c\na.c:1:1: error: unknown type name 'foo'\nninja: build stopped: subcommand failed.\n"
    again = "failed with 8 jobs, trying again with fewer\n"
    assert look(knowledge, failed + again + "[1/2] cc -c a.c\n[2/2] ar rcs a.a a.o\nok\n").findings == ()
    assert look(knowledge, (failed + again) * 4 + failed).findings[0].line_no == 18
    assert look(knowledge, failed + again).findings[0].line_no == 2
    advice = "please correct the flags and try again\nsee the manual\nbye\n"
    assert look(knowledge, failed + advice).findings[0].line_no == 2


LANGUAGES = {
    "zh": "/x/utils.cuh:21:10: 致命错误：cuda_fp8.h：没有那个文件或目录",  # noqa: RUF001
    "de": "/x/utils.cuh:21:10: schwerwiegender Fehler: cuda_fp8.h: Datei oder Verzeichnis nicht gefunden",
    "fr": "/x/utils.cuh:21:10: erreur fatale: cuda_fp8.h : Aucun fichier ou dossier de ce type",
    "ja": "/x/utils.cuh:21:10: 致命的エラー: cuda_fp8.h: そのようなファイルやディレクトリはありません",
    "clang": "/x/utils.cuh:21:10: fatal error: 'cuda_fp8.h' file not found",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages(language: str, knowledge: Knowledge):
    answer = look(knowledge, "In file included from x.cu:1:\n" + LANGUAGES[language] + "\n")
    assert answer.findings[0].id == "flashinfer-jit-cuda-fp8-header-missing"
    assert answer.findings[0].line_no == 2


@pytest.mark.parametrize(
    "line",
    [
        "/usr/bin/ld: cannot find -lcuda: No such file or directory",
        "/usr/bin/ld: kann -lcuda nicht finden: Datei oder Verzeichnis nicht gefunden",
        "/usr/bin/ld : impossible de trouver -lcuda : Aucun fichier ou dossier de ce type",
        "/usr/bin/ld: 找不到 -lcuda: 没有那个文件或目录",
    ],
)
def test_languages_of_the_linker(line: str, knowledge: Knowledge):
    assert (
        look(knowledge, line + "\ncollect2: error: ld returned 1 exit status\n").findings[0].id
        == "ld-cannot-find-lcuda"
    )


# Near a known issue, and not it.
NOT_KNOWN = {
    "other library": "/usr/bin/ld: cannot find -lcudart: No such file or directory",
    "other header": "a.cu:1:10: fatal error: cublas_v2.h: No such file or directory",
    "other module": "ModuleNotFoundError: No module named 'torchao'",
    "plain run": 'Traceback (most recent call last):\n  File "/w/serve.py", line 1, in <module>\n    import torch\n'
    "ModuleNotFoundError: No module named 'torch'",
    "other extension": "ImportError: /env/flash_attn_2_cuda.so: undefined symbol: _ZN3c105ErrorC2ENS_14SourceLocationESs",
    "glibc": "ImportError: /lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found (required by /env/x.so)",
    "memory at run time": "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
}


@pytest.mark.parametrize("case", NOT_KNOWN)
def test_neighbours_are_not_pressed_into_the_list(case: str, knowledge: Knowledge):
    answer = look(knowledge, NOT_KNOWN[case] + "\n")
    assert answer.status is Status.UNKNOWN
    assert answer.findings[0].line == NOT_KNOWN[case].splitlines()[-1]
    assert exit_code([answer]) == 11


HARMLESS = {
    "commits": "1a2b3c4 fix: CUDA_HOME environment variable is not set\n* 2b3c4d5 fix error: no kernel image is available "
    "for execution on the device\n",
    "swap asked for": "Collecting torch\nInstalling collected packages: torch\n  Attempting uninstall: torch\n"
    "    Found existing installation: torch 2.8.0\n      Successfully uninstalled torch-2.8.0\n"
    "Successfully installed torch-2.9.0\n",
    "server": "[2025-06-01 12:00:00] flashinfer.jit: Loading JIT ops: norm\n[2025-06-01 12:00:02] Ignore import error "
    "when loading sglang.srt.models.foo: libcuda.so.1: cannot open shared object file\n[2025-06-01 12:00:04] a\n"
    "[2025-06-01 12:00:04] b\n[2025-06-01 12:00:05] The server is fired up and ready to roll!\n",
    "ignored": 'Exception ignored in: <function f>\nTraceback (most recent call last):\n  File "x.py", line 1, in f\n'
    "ValueError: gone\ndone\n",
    "retry": "error: RPC failed; curl 56 recv failure\nfatal: early EOF, retrying\nSuccessfully installed x-1.0\n",
}


@pytest.mark.parametrize("case", HARMLESS)
def test_harmless_words(case: str, knowledge: Knowledge):
    answer = look(knowledge, HARMLESS[case])
    assert answer.findings == ()
    assert exit_code([answer]) == 0


def test_a_warning_explains_the_error_that_follows(knowledge: Knowledge):
    text = (
        "UserWarning: NVIDIA B200 with CUDA capability sm_100 is not compatible with the current PyTorch installation.\n"
        "RuntimeError: CUDA error: no kernel image is available for execution on the device\n"
    )
    answer = look(knowledge, text)
    assert [finding.id for finding in answer.findings] == ["torch-capability-not-compatible-warning", "no-kernel-image"]
    assert exit_code([answer]) == 10


def test_versions_of_the_target_speak_against_an_issue(knowledge: Knowledge):
    text = "RuntimeError: FlashInfer requires sm75+\nerror: something else went wrong\n"
    assert look(knowledge, text).findings[0].id == "flashinfer-requires-sm75-arch-list"
    weaker = look(knowledge, text, flashinfer="0.6.8.post1").findings[0]
    assert weaker.confidence < look(knowledge, text, flashinfer="0.4.0").findings[0].confidence


def test_git_and_shell_words_before_the_real_error(knowledge: Knowledge):
    text = (
        "fatal: not a git repository (or any of the parent directories): .git\n/bin/sh: 1: nvidia-smi: not found\n"
        "cc -c a.c\na.c:1:1: error: unknown type name 'foo'\nmake: *** [Makefile:2: a.o] Error 1\n"
    )
    assert look(knowledge, text).findings[0].line_no == 4
    assert look(knowledge, text.splitlines()[0]).findings[0].line_no == 1


def test_an_error_that_seemed_dealt_with_counts_when_the_build_failed_after_all(knowledge: Knowledge):
    text = "a.c:1:1: error: unknown type name 'foo'\nthe speedups could not be compiled\n"
    assert look(knowledge, text).findings == ()
    assert look(knowledge, text + "make: *** [Makefile:2: a.o] Error 1\n").findings[0].line_no == 1
