# ruff: noqa: E501, RUF001 - a table is read by its columns, and tools write in many scripts
"""What the first line of an error looks like, tool by tool.

The order of the table is the order of trust: the first shape that fits decides. Every expression is anchored at the
start of the cleaned line or at a colon, so that "error" in a path, a flag or the name of a test is no error.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum

from bringup.model.knowledge import Category


class Weight(IntEnum):
    """How much a shape says about the root cause."""

    NONE = 0
    WRAPPER = 20  # says only that something below it failed
    VAGUE = 30  # names the program that failed, not why
    SYMPTOM = 50  # a process ended by a signal: the cause, if nothing else explains it
    LIGHT = 60  # scripts go on after many of these
    GENERAL = 80  # an error line of some tool
    STRONG = 100  # a compiler, linker, resolver or interpreter says what is wrong


@dataclass(frozen=True, slots=True)
class Shape:
    """A kind of error line: its name, what it weighs, the category it suggests, how it is recognised."""

    name: str
    weight: Weight
    category: Category
    pattern: re.Pattern[str]


# gcc's words in the languages that it ships: fatal error and error, before a colon of either width.
_ERROR = (
    r"(?:(?:fatal |internal compiler |catastrophic )?error|schwerwiegender Fehler|Fehler|interner Compiler-Fehler"
    r"|erreur fatale|erreur|error fatal|errore irreversibile|errore|erro fatal|erro"
    r"|致命错误|错误|內部錯誤|嚴重錯誤|錯誤|致命的エラー|エラー|치명적인 오류|오류|фатальная ошибка|ошибка|błąd krytyczny|błąd)"
)
_COMPILER = (
    r"(?:[\w./+-]{0,200}/)?(?:[\w.]+-(?:linux|w64|conda)[\w.-]*-)?"
    r"(?:nvcc|ptxas(?:-blackwell)?|cudafe\+\+|nvlink|cicc|fatbinary|nvprune|cc1plus|cc1|cc1obj|lto1|gcc|g\+\+|cc|c\+\+"
    r"|clang|clang\+\+|gfortran|f951|hipcc|icpx|as|cpp|rustc)(?:-[\d.]+)?"
)
# How a line of a program begins that says an error, and is none: what `grep`, `cat` and `git show` print.
_CODE = (
    r"(?://|raise \w[\w.]*\(|throw \w[\w:]*[({]|(?:TORCH_CHECK|TORCH_WARN|CHECK|static_assert|f?printf|print|echo|logger\.\w+"
    r"|logging\.\w+|warnings\.warn)\(|(?:\w{1,20}[._])?(?:msg|message|text|reason|hint)\s?[+]?=\s)"
)
_RULES: tuple[tuple[str, Weight, Category, str], ...] = (
    # --- noise: looks like an error, is none
    ("check", Weight.NONE, Category.CONFIGURE, r"(?:-- |checking |Checking |Looking for |Performing |Check(?:ing)? )"),
    ("probe", Weight.NONE, Category.CONFIGURE, r"configure:(?:\d+:)? (?!error: )"),
    ("trace", Weight.NONE, Category.COMPILE, r"\++ (?!\S{1,80}==)\S"),
    ("gcc", Weight.STRONG, Category.COMPILE, r"(?:warning: [\w.+-]{1,80}@[\w.+-]{1,40}|cargo:warning=[^:]{0,200}): ?.{0,300}:\d+: (?:fatal )?error: "),
    ("nvrtc", Weight.STRONG, Category.JIT, r"Warning: .{0,200}NVCC compilation failed: "),
    ("warning", Weight.NONE, Category.COMPILE, r"(?:\S+: )?(?:\[?[Ww]arning\]?|WARNING|DEPRECATION|note|remark|Note|hint)\b\s*[:：]"),
    ("warning", Weight.NONE, Category.COMPILE, r"[^\s:]{1,400}(?::\d+){1,2}:\s*(?:warning|note|remark|Warnung|注意|警告|\w{1,60}Warning:)"),
    ("warning", Weight.NONE, Category.RUNTIME, r"warnings\.warn\("),
    ("warning", Weight.NONE, Category.COMPILE, r"(?:[^\s:()]{1,400}\(\d+\): (?:warning|remark)|(?:[\w.]*\.)?\w*Warning:)"),
    ("passed", Weight.NONE, Category.RUNTIME, r".{0,300}(?:\bPASSED\b|\.\.\. ok$|\bSKIPPED\b|\bXFAIL\b|\[ {6} OK \])"),
    ("commit", Weight.NONE, Category.RUNTIME, r"(?:[0-9a-f]{7,40} )?(?:\([^)]{1,80}\) )?(?:[Ff]ix(?:es|ed)?|feat|docs|chore|Merge|Revert|Bump|HEAD is now at)\b(?! the)"),
    ("ignored", Weight.NONE, Category.RUNTIME, r"(?i:caught(?: the)?(?: expected[^:]{0,40})?|handled|expected (?:error|failure|exception)\b[^:]{0,40}|(?:ignor(?:ed|ing)|skipp(?:ed|ing)|simulat(?:ed|ing)|suppressed|recovered from)\b[^:]{0,60}): "),
    ("ignored", Weight.NONE, Category.RUNTIME, r".{0,200}NCCL (?:INFO |WARN (?:Failed to open libibverbs|NET/Plugin|PLUGIN|.{0,40}\b[Pp]lugin\b|Missing \\?\"|.{0,60}using (?:internal|default)))"),
    ("excerpt", Weight.NONE, Category.COMPILE, rf"(?:[\w./+-]{{1,200}}\.\w{{1,6}}:\d{{1,6}}:\s*)?{_CODE}"),
    ("commit", Weight.NONE, Category.RUNTIME, r"(?=[0-9a-f]{0,39}[a-f])(?=[a-f]{0,39}[0-9])[0-9a-f]{7,40} (?!error|fatal)\S"),
    ("commit", Weight.NONE, Category.RUNTIME, r".{1,200} \(#\d{2,6}\)$"),
    ("excerpt", Weight.NONE, Category.COMPILE, r"(?:\d{1,6} \| |detected during |instantiated from |inlined from |required from )"),
    ("ignored", Weight.NONE, Category.INSTALL, r"E: Can ?not write log \(Is /dev/pts mounted"),
    ("name", Weight.NONE, Category.RUNTIME, r"(?:cudaError\w{1,80}|CUDA_ERROR_\w{1,80}|_Z\w{1,400})$"),
    ("zero", Weight.NONE, Category.RUNTIME, r".{0,200}\b(?:0|no) (?:errors?|failures?|failed)\b"),
    ("ignored", Weight.NONE, Category.COMPILE, r".{0,400}(?:\(ignored\)|\(non-fatal\)|\bnot fatal\b|\(will retry\)|\bskipped\.?$)"),
    ("command", Weight.NONE, Category.COMPILE, rf"(?:\[\d+/\d+\] )?(?:: && )?(?:ccache |sccache )?{_COMPILER} (?:.* )?-(?:c|o|E|I\S+)(?: |$)"),
    ("probe", Weight.NONE, Category.CONFIGURE, r"(?:(?:g?make(?:\[\d+\])?: \*\*\* |FAILED: |ninja: ).{0,300}(?:cmTC_|CMakeTmp|TryCompile))"),
    # --- consequences
    ("command-failed", Weight.VAGUE, Category.COMPILE, r"error: [Cc]ommand ['\"\[].{1,3000} (?:failed|returned non-zero)"),
    ("backend", Weight.STRONG, Category.INSTALL, r"error: (?:backend-unavailable|connection-failed|[a-z]+-(?:unavailable|failed|timeout|error))$"),
    ("wrapper", Weight.WRAPPER, Category.COMPILE, r"(?:ninja: build stopped|FAILED: |compilation terminated|\d+ errors? (?:generated|detected|found))"),
    ("wrapper", Weight.WRAPPER, Category.LINK, r"(?:\S*collect2\S*|collect2).{0,20}[:：].{0,80}\bld\b"),
    ("wrapper", Weight.WRAPPER, Category.COMPILE, r"(?:g?make|gmake)(?:\[\d+\])?: \*\*\* (?:\[.{1,400}\] .{1,20} \d+|Waiting for)"),
    ("wrapper", Weight.WRAPPER, Category.COMPILE, r"error: (?:could not compile|aborting due to|build failed|\d+ jobs? failed|subprocess-exited|metadata-generation|legacy-install|failed-wheel-build|linking with `)"),
    ("wrapper", Weight.WRAPPER, Category.INSTALL, r"ERROR: (?:Ignored the following|Failed building wheel|Failed to build|Could not build wheels|Command errored out|No matching distribution|Failed cleaning|Cannot uninstall.{0,80}distutils|Exception:)"),
    ("wrapper", Weight.WRAPPER, Category.INSTALL, r"(?:Failed to build|Failed to download and build|The build backend returned|Call to `|Build backend failed|Failed to install requirements|Failed to resolve requirements|Failed to prepare|error: Failed to prepare|error: Failed to build|note: This error originates)"),
    ("wrapper", Weight.WRAPPER, Category.COMPILE, r"(?:[\w.]*CalledProcessError|[\w.]*CompileError|[\w.]*BackendUnavailable_|[\w.]*DistutilsExecError): "),
    ("wrapper", Weight.WRAPPER, Category.JIT, r"(?:[\w.]*Error: )?(?:Error compiling (?:objects for extension|Cython file)|Error building extension|Ninja build failed)"),
    ("wrapper", Weight.WRAPPER, Category.CONFIGURE, r"(?:CMake configuration failed|\*\*\* CMake (?:configuration|build) failed|See also \"|Configuring incomplete)"),
    ("wrapper", Weight.WRAPPER, Category.RUNTIME, r"(?:ERROR: process \"|ERROR: failed to solve|failed to solve: process|Error: Process completed with exit code|ERROR: Job failed|Finished: FAILURE|Command exited with non-zero status|error: Recipe `|The command .{1,300} returned a non-zero code)"),
    ("wrapper", Weight.WRAPPER, Category.RUNTIME, r"(?:[\w.]*ChildFailedError|.{0,40}\bprocess(?:es)? .{0,80}(?:exitcode|exit code)\s*: ?1\b|torch\.distributed\.elastic\.multiprocessing\.errors)"),
    ("test", Weight.GENERAL, Category.RUNTIME, r"\d+/\d+ Test +#\d+: .{0,200}\*\*\*(?:Failed|Exception|Timeout)"),
    ("wrapper", Weight.WRAPPER, Category.RUNTIME, r"(?:FAILED \S+::|=+ .*\b\d+ failed|ERROR \S+\.py|srun: error: .{0,80}Exited with exit code 1\b)"),
    # --- compilers
    ("gcc", Weight.STRONG, Category.COMPILE, rf"(?:In file .{{0,10}} )?(?:[^\s:][^:]{{0,600}}:\d+(?::\d+)?|<[\w -]{{1,40}}>): ?{_ERROR} ?[:：]"),
    ("edg", Weight.STRONG, Category.COMPILE, r"[^\s(][^(]{0,600}\(\d+\): (?:catastrophic |internal )?[Ee]rror(?: #[\w-]{1,20})?\s?:"),
    ("edg", Weight.STRONG, Category.COMPILE, r"(?:Error|Catastrophic error): (?:#|Internal)"),
    ("compiler", Weight.STRONG, Category.COMPILE, rf"{_COMPILER}\s?:? ?(?:{_ERROR}|fatal|Error)\s*[:：]"),
    ("ptxas", Weight.STRONG, Category.COMPILE, r"(?:`?ptxas\S*|nvlink) [^,\n]{1,400}[,;] line \d+; (?:fatal|error)\s*:"),
    ("as", Weight.STRONG, Category.COMPILE, r"(?:\{standard input\}|[^\s:]{1,300}):\d+: Error: "),
    ("nvrtc", Weight.STRONG, Category.JIT, r"(?:nvrtc: error|NVCC compilation failed|nvrtc compilation failed)"),
    ("compiler", Weight.STRONG, Category.COMPILE, rf"(?:/bin/sh: (?:line )?(?:\d+: )?)?{_COMPILER}: (?:No such file or directory|not found|command not found|[Pp]ermission denied|cannot execute)"),
    ("compiler", Weight.STRONG, Category.COMPILE, r"(?:Fatal Error|Error): .{1,300} at \(\d\)"),
    # --- linkers
    ("nothing", Weight.NONE, Category.LINK, r".{0,400}\bld(?:\.\w+)?: .{0,600}(?:: in function |warning:|skipping incompatible|NOTE:|: dans la fonction|in Funktion)"),
    ("ld", Weight.STRONG, Category.LINK, r"(?:[\w./+-]{0,200}[/-])?(?:real-)?ld(?:\.bfd|\.gold|\.lld|64\.lld)? ?:(?! warning)"),
    ("ld", Weight.STRONG, Category.LINK, r"[^\s:][^:]{0,600}:(?:\([.\w+]{1,80}\)|\d+): (?:undefined reference to|multiple definition|more undefined)"),
    ("ld", Weight.STRONG, Category.LINK, r".{0,600}: undefined reference to [`'‘]"),
    ("ld", Weight.STRONG, Category.LINK, r"[^\s:][^:]{0,600}:(?:\([.\w+]{1,80}\)|\d+): (?:relocation truncated to fit|dangerous relocation|unresolvable \w+ relocation)"),
    ("binutils", Weight.STRONG, Category.LINK, r"(?:\S{0,200}/)?(?:[\w-]{1,60}-)?(?:strip|objcopy|objdump|ranlib|ar|nm|readelf): .{0,300}(?:[Uu]nable to|No space left|not recogni[sz]ed|not a valid|[Pp]ermission denied|No such file|malformed|format)"),
    ("perl", Weight.GENERAL, Category.CONFIGURE, r"Can't locate \S{1,100}\.pm in @INC"),
    ("usage", Weight.GENERAL, Category.COMPILE, r"[\w./+-]{1,100}: (?:unrecognized|unknown|invalid|illegal|ambiguous) option "),
    ("mold", Weight.STRONG, Category.LINK, r"(?:mold|lld|rust-lld): (?:error|fatal)"),
    # --- build systems
    ("cmake", Weight.STRONG, Category.CONFIGURE, r"CMake Error(?: \(dev\))?(?: at | in |:)"),
    ("meson", Weight.STRONG, Category.CONFIGURE, r"(?:\S{0,300}meson\.build:\d+:\d+: ERROR: |meson\S*: error:)"),
    ("autoconf", Weight.STRONG, Category.CONFIGURE, r"configure(?:\.ac:\d+)?: error: "),
    ("ninja", Weight.STRONG, Category.COMPILE, r"ninja: (?:error|fatal): "),
    ("make", Weight.STRONG, Category.COMPILE, r"(?:g?make)(?:\[\d+\])?: (?:\*\*\* |[\w./+-]{1,200}: (?:No such file|Command not found|Permission denied))"),
    ("make", Weight.STRONG, Category.COMPILE, r"(?:[\w./-]{0,200}[Mm]akefile|GNUmakefile|\S{1,200}\.mk):\d+: \*\*\* "),
    ("bazel", Weight.STRONG, Category.COMPILE, r"ERROR: /\S{1,300}BUILD(?:\.bazel)?:\d+"),
    # --- Python
    ("traceback", Weight.STRONG, Category.RUNTIME, r"(?:\+ )?(?:Exception Group )?Traceback \(most recent call last\)"),
    ("interpreter", Weight.STRONG, Category.RUNTIME, r"Fatal Python error: "),
    ("exception", Weight.GENERAL, Category.RUNTIME, r"(?:\w{1,60}\.){0,8}(?:[A-Z]\w{0,80})?(?:Error|Exception|OutOfResources|NotFound): \S"),
    ("exception", Weight.GENERAL, Category.RUNTIME, r"(?:\w{1,60}\.){0,8}[A-Z]\w{0,80}(?:Error|Exception|OutOfResources|NotFound)(?:: |:?$)"),
    ("python", Weight.GENERAL, Category.LAUNCH, r"[\w./-]{0,200}python[\d.]*: (?:No module named|Error while finding module|can't open file|can't find '__main__')"),
    ("daemon", Weight.STRONG, Category.LAUNCH, r"(?:\d{4}/\d\d/\d\d \S{8} |nginx: )?\[emerg\] "),
    ("cython", Weight.STRONG, Category.COMPILE, r"[\w./-]{1,200}\.pyx:\d+:\d+: \S"),
    ("usage", Weight.GENERAL, Category.LAUNCH, r"[\w./-]{1,100}(?: [\w-]{1,40}){0,3}: error: (?:argument|unrecognized|the following|ambiguous|invalid choice|too few)"),
    # --- packages
    ("resolver", Weight.STRONG, Category.INSTALL, r"(?:error: )?No solution found when resolving"),
    ("pip", Weight.NONE, Category.INSTALL, r"ERROR: pip's dependency resolver does not currently"),
    ("pip", Weight.STRONG, Category.INSTALL, r"(?:Could not find a version that satisfies|ERROR: (?:Could not find a version|Cannot install|ResolutionImpossible|Package '|THESE PACKAGES|Could not install packages|Directory|.{0,200}not a (?:supported|valid) wheel|Wheel '|Hash|In --require-hashes|Invalid|Could not open))"),
    ("apt", Weight.GENERAL, Category.INSTALL, r"(?:E: \S|dpkg: (?:error processing |dependency problems))"),
    ("process", Weight.GENERAL, Category.RUNTIME, r"(?:[\w./-]{1,60}: )?(?:line \d+: )?(?:fork: .{0,60}Resource temporarily|sudo: a password is required)"),
    ("npm", Weight.GENERAL, Category.INSTALL, r"npm (?:ERR!|error) "),
    # --- Rust
    ("rustc", Weight.STRONG, Category.COMPILE, r"(?:[^\s:]{1,400}:\d+:\d+: )?error(?:\[E\d{4}\])(?:: |$)"),
    ("cargo", Weight.GENERAL, Category.COMPILE, r"error: failed to run custom build"),
    ("wrapper", Weight.WRAPPER, Category.COMPILE, r"error occurred(?: in cc-rs)?: [Cc]ommand"),
    ("cargo", Weight.STRONG, Category.COMPILE, r"error: (?:failed to (?:run `rustc`|parse|get|load|select|download|fetch|resolve|read)|no matching package|linker `|package `|cannot find|rustc |the lock file|could not find `|feature `|unexpected |expected |unresolved )"),
    ("panic", Weight.STRONG, Category.COMPILE, r"thread '.{1,60}' (?:\(\d+\) )?panicked at "),
    ("maturin", Weight.WRAPPER, Category.COMPILE, r"(?:💥 )?maturin failed"),
    # --- processes and systems
    ("kernel", Weight.GENERAL, Category.RUNTIME, r".{0,200}(?:Out of memory: Kill|oom-kill:|Memory cgroup out of memory|oom_kill|OOM Killed|OOMKilled|\bout-of-memory\b.{0,30}kill|NVRM: Xid)"),
    ("signal", Weight.SYMPTOM, Category.RUNTIME, r"(?:.{0,200}[:\s] ?|\s*)(?:Killed|Segmentation fault|Bus error|Aborted|Illegal instruction|Floating point exception|Speicherzugriffsfehler|Getötet)(?: \(core dumped\)|\s*$|\s{2,})"),
    ("signal", Weight.SYMPTOM, Category.RUNTIME, r".{0,300}(?:exit(?:ed|s)?(?: with)?(?: code| status|code)?\s?[:=]?\s?\(?(?:137|139|134|-9|-11|-6)\b|returned -(?:9|11|6)\b|died (?:due to|with) (?:signal|<Signals)|received signal SIG(?:SEGV|KILL|ABRT|BUS)|terminated by signal)"),
    ("signal", Weight.SYMPTOM, Category.RUNTIME, r"(?:(?:\*\*\* )?.{1,80} detected \*\*\*: |free\(\): |malloc\(\): |double free|munmap_chunk\(\): |corrupted (?:size|double)|malloc_consolidate)"),
    ("assert", Weight.STRONG, Category.RUNTIME, r"(?:[^\s:]{1,300}: )?[^\s:]{1,400}:\d+: .{1,400}\b[Aa]ssertion [`'‘].{1,400}['’`] failed"),
    ("terminate", Weight.STRONG, Category.RUNTIME, r"terminate called (?:after throwing|without)"),
    ("cuda", Weight.GENERAL, Category.RUNTIME, r".{0,200}(?:CUDA (?:driver |runtime )?error\b|CUDA out of memory|CUDNN_STATUS_\w+|CUBLAS_STATUS_\w+|\bcudaError[A-Z]\w+|CUDA driver version is insufficient|CUDA_ERROR_\w+)"),
    ("nccl", Weight.GENERAL, Category.RUNTIME, r".{0,200}(?:NCCL WARN|NCCL error|Watchdog caught collective operation timeout|watchdog got stuck|The client socket has (?:timed out|failed)|\bnccl(?:System|Internal|UnhandledCuda|Remote|InvalidUsage|InvalidArgument)\w*)"),
    ("shell", Weight.LIGHT, Category.RUNTIME, r"(?:[\w./ -]{1,200}: )?(?:(?:line|Zeile|ligne|línea|linea|行|строка) ?\d+ ?[:：] ?)?[\w./+-]{1,200} ?[:：] ?(?:\w{1,20} )?(?:nicht gefunden|introuvable|non trouvée?|no encontrad[oa]|no se encontró|未找到命令|未找到|找不到命令|コマンドが見つかりません|não encontrado|не найдена?)\.?$"),
    ("shell", Weight.LIGHT, Category.RUNTIME, r"(?:[\w./-]{1,200}: \w{4,8} \d+: )?(?:\S{0,100}/)?(?:cp|mv|cat|install|ln|tar|ba?sh|source|cd|chmod|mkdir|patch|sed|python[\d.]*|env) ?[:：] ?.{1,300}(?:Datei oder Verzeichnis nicht gefunden|Aucun fichier ou dossier de ce (?:type|nom)|No existe el (?:fichero|archivo) o el directorio|没有那个文件或目录|そのようなファイルやディレクトリはありません|Нет такого файла или каталога)\.?$"),
    ("git", Weight.STRONG, Category.INSTALL, r"(?:Schwerwiegend|[Ff]atal |致命错误|致命的エラー) ?[:：] ?.{0,200}(?:[Rr]epository|[Dd]épôt|repositorio|仓库|リポジトリ|Verzweigung|branche|unterst)"),
    ("shell", Weight.LIGHT, Category.RUNTIME, r"(?:\S{0,200}/)?env: .{1,200}: (?:No such file|[Pp]ermission denied)"),
    ("shell", Weight.LIGHT, Category.RUNTIME, r"[\w./-]{1,200}: (?:line )?\d+: (?:.{0,80}: not found$|[Ss]yntax error)"),
    ("shell", Weight.LIGHT, Category.RUNTIME, r"(?:[\w./ -]{1,200}: )?(?:line \d+: |\d+: )?[\w./+:-]{1,200}: (?:command not found|not found$|[Pp]ermission denied|cannot execute|Exec format error|unbound variable|Kommando nicht gefunden|commande introuvable)"),
    ("shell", Weight.LIGHT, Category.RUNTIME, r"[\w./+-]{1,100}: (?:line \d+: |\d+: |can't open |cd: can't cd to|cannot (?:access|stat|create|open|touch|remove|execute))"),
    ("loader", Weight.STRONG, Category.IMPORT, r".{0,600}(?:error while loading shared libraries|symbol lookup error|cannot open shared object file|version [`'‘]GLIBC\w*_[\d.]+['’] not found)"),
    ("git-probe", Weight.LIGHT, Category.INSTALL, r"fatal: (?:not a git repository|No names found|[Nn]o tag|No annotated tags)"),
    ("git", Weight.LIGHT, Category.INSTALL, r"fatal: (?:detected dubious|unsafe repository)"),
    ("git", Weight.STRONG, Category.INSTALL, r"(?:\S+@\S+: Permission denied \(|Host key verification failed)"),
    ("git", Weight.VAGUE, Category.INSTALL, r"fatal: the remote end hung up unexpectedly|(?:error: external filter|warning: Clone succeeded)"),
    ("git", Weight.STRONG, Category.INSTALL, r"(?:fatal|error): (?:unable to access|'[^']{1,300}' does not appear|Could not read from remote|Remote branch|repository|not a git|could not read|remote|couldn't find|Your local changes|pathspec|patch failed|patch does not apply|clone of|reference is not|destination path|early EOF|unsafe|detected dubious|corrupt|invalid path|bad object|.{0,100}did not match any)"),
    ("download", Weight.GENERAL, Category.INSTALL, r"(?:curl: \(\d+\)|wget: (?:unable|.*error)|ERROR 4\d\d:|ERROR 5\d\d:|Failed to fetch)"),
    ("disk", Weight.GENERAL, Category.RUNTIME, r".{0,600}(?:No space left on device|Disk quota exceeded|Read-only file system)"),
    ("network", Weight.GENERAL, Category.INSTALL, r".{0,400}(?:Temporary failure in name resolution|Could not resolve host|Name or service not known|Network is unreachable|CERTIFICATE_VERIFY_FAILED|Connection refused|Connection timed out|No route to host)"),
    ("patch", Weight.GENERAL, Category.INSTALL, r"(?:Hunk #\d+ FAILED|\d+ out of \d+ hunks? (?:FAILED|failed)|Patch failed at |patch: \*\*\*\* )"),
    ("archive", Weight.GENERAL, Category.INSTALL, r"\S{1,300}\.(?:tar|gz|tgz|xz|bz2|zst|zip|whl|deb|run|bin|so|safetensors)\S{0,40}: FAILED(?: open or read)?$"),
    ("archive", Weight.GENERAL, Category.INSTALL, r"(?:(?:tar|gzip|bzip2|xz|unzip|zstd|cpio)(?:: [^:]{1,200})?: (?:.{0,100}(?:not in gzip format|Unexpected end|unexpected end|[Cc]annot|[Ee]rror |corrupt|End-of-central|not found|File format)))"),
    ("docker", Weight.GENERAL, Category.LAUNCH, r"(?:docker: )?(?:Error response from daemon|unable to prepare context:|[Cc]annot connect to the Docker daemon)|nvidia-container-cli: "),
    ("rustc", Weight.STRONG, Category.COMPILE, r"error: environment variable `"),
    ("general", Weight.GENERAL, Category.RUNTIME, r"(?:error|fatal error|fatal|ERROR|Error|Fatal [Ee]rror|FATAL|FATAL ERROR|CRITICAL|ERR!)(?:\(\w+\))?\s?:\s{1,12}\S"),
    ("located", Weight.GENERAL, Category.RUNTIME, r"(?:\w{1,20}: )?[^\s:]{1,300}\.(?:c|cc|cpp|cxx|cu|cuh|h|hpp|rs|go):(?:[A-Za-z_]\w{0,80}:)?\d+:? (?!.{0,40}(?:warning|note)\b).{0,300}\b(?:failed|failure|error|non-zero status)\b"),
    ("general", Weight.GENERAL, Category.RUNTIME, r"(?:[A-Z][\w.-]{1,40} [Ee]rror: \S|Error running \w+ command: )"),
    ("general", Weight.GENERAL, Category.RUNTIME, r"[\w./+-]{1,60}: (?:error|fatal|fatal error|ERROR|FATAL)\s?: "),
)  # fmt: skip
SHAPES = tuple(Shape(name, weight, category, re.compile(pattern)) for name, weight, category, pattern in _RULES)

# All in one, so that a line costs one call; no shape has a capturing group of its own.
_ANY = re.compile("|".join(f"(?P<s{number}>{shape.pattern.pattern})" for number, shape in enumerate(SHAPES)))

# Words of which an error line has at least one; lower case.
# Few, because each costs a pass over the log at memory speed; the rarer shapes rely on words that they bring along, or
# on standing at the end of the log, where every line is looked at.
TRIGGERS: tuple[str, ...] = (
    "error:", "error  ", "error[e", "error #", "error\x1b", "error at ", "error in ", "error resp", "error (dev)",
    "error occ", "fatal", "fail", "exception", "traceback (m", "killed", "could not", "unable", "not found", "no such",
    "undefined ", "multiple def", "relocation ", "cannot ", "can't ", "segmentation", "core dumped", "no space", "*** ", "denied", "panicked",
    "no solution", "exit ", "exited", "terminate called", "cudaerror", "nccl warn", "out of memory", "oom-", "ld:", "ld : ",
    "curl: (", "watchdog ", "xid (", "not in gzip", "unexpected end", "unbound var", "fehler", "erreur", ".pyx:",
)  # fmt: skip
# The same in other scripts; looked for only where a log is not plain ASCII.
FOREIGN_TRIGGERS: tuple[str, ...] = (
    "ld\u00a0:",
    "getötet",
    "schwerwiegend",
    "introuvable",
    "aucun fichier",
    "nicht gefunden",
    "no existe el",
    "没有那个",
    "已杀死",
    "错误",
    "錯誤",
    "エラー",
    "오류",
    "ошибка",
    "błąd",
)


def classify(core: str) -> Shape | None:
    """Return the shape of a cleaned line, or None where it is no error line (noise has weight NONE)."""
    found = _ANY.match(core)
    return SHAPES[int(found.lastgroup[1:])] if found and found.lastgroup else None
