# ruff: noqa: E501 - a table is read by its columns
"""Tell errors that were dealt with from errors that ended the run.

A build log holds many errors that nobody minds: feature checks that fail on purpose, optional extensions, retries.
"""

from __future__ import annotations

import re

from bringup.diagnose.attempts import lines_below
from bringup.diagnose.blocks import Candidate
from bringup.diagnose.shapes import Weight, classify
from bringup.diagnose.text import Line
from bringup.model.knowledge import Category

_BUILDING = frozenset({Category.CONFIGURE, Category.COMPILE, Category.LINK, Category.INSTALL, Category.JIT})
_PROBED = frozenset({Category.CONFIGURE, Category.COMPILE, Category.LINK})
_ALL = frozenset(Category)

# Signs that something came to a good end, and the categories of earlier errors that it proves harmless.
_SUCCESS: tuple[tuple[re.Pattern[str], frozenset[Category]], ...] = (
    (re.compile(r"Successfully (?:installed|built|tagged) \S"), _BUILDING | {Category.RUNTIME}),
    (re.compile(r"(?:Installed|Prepared|Audited) \d+ packages? in "), _BUILDING | {Category.RUNTIME}),
    (re.compile(r"Build files have been written to"), _PROBED),
    (re.compile(r"\[100%\] Built target "), _BUILDING | {Category.RUNTIME}),
    (re.compile(r"\[(?P<n>\d+)/(?P=n)\] "), _BUILDING | {Category.RUNTIME}),
    (re.compile(r"Finished (?:`?\w+`? profile|(?:release|dev|test) \[)"), _BUILDING | {Category.RUNTIME}),
    (re.compile(r"config\.status: (?:creating|executing)"), _PROBED),
    (re.compile(r"=+ (?!.*\b(?:failed|errors?)\b)(?:.*, )?\d+ passed\b"), _ALL),
    (re.compile(r"(?!.*\b(?:failed|errors?)\b)(?:.*, )?\d+ passed(?:, .{0,80})? in [\d.]+s"), _ALL),
    (re.compile(r"100% tests passed"), _ALL),
    (re.compile(r".{0,80}\b(?i:compiled|built|build|finished|completed)\b.{0,20}\b(?i:successfully|without errors?)\b"), _BUILDING | {Category.RUNTIME}),
    (re.compile(r"Fail: {3,}0$"), _ALL),
    (re.compile(r".{0,80}\b(?i:finished|done|completed?|ended)\b.{0,40}\b(?:0|no) (?:errors?|failures?|failed)\b(?!.*\b[1-9]\d* (?:errors?|failures?|failed))"), _ALL),
    (re.compile(r"Result: SUCCESS"), _ALL),
    (re.compile(r"test result: ok\."), _ALL),
    (re.compile(r"OK \(.{1,60}\)$"), _ALL),
    (re.compile(r"OK$"), frozenset({Category.RUNTIME, Category.IMPORT})),
    (re.compile(r".{0,60}(?:exit(?:ed)?(?: with)? (?:code|status):? ?0\b|\bexit(?:ed)?:? 0$|Job succeeded|Finished: SUCCESS|BUILD SUCCESS)"), _ALL),
    (re.compile(r".{0,80}Finished server process \["), frozenset({Category.RUNTIME, Category.IMPORT})),
    (re.compile(r".{0,40}\b[Ss]erver (?:has )?(?:stopped|shut down)(?: cleanly| gracefully)?\.?$"), frozenset({Category.RUNTIME, Category.IMPORT})),
    (re.compile(r".{0,80}(?:Application startup complete|(?:[Tt]he )?server is fired up and ready to roll)"), _ALL),
    (re.compile(r"(?i:(?:all|everything)\b.{0,60}\b(?:is|are|were) (?:there|here|ready|present|ok|okay|fine|good|up to date|in place|installed|built|complete)[.!]?$)"), _BUILDING | {Category.RUNTIME}),
    (re.compile(r"(?:naming to \S+ done|writing image sha256|exporting layers .*done)"), _ALL),
)  # fmt: skip
_MAYBE_SUCCESS = re.compile("|".join(f"(?:{pattern.pattern})" for pattern, _ in _SUCCESS))
SUCCESS_TRIGGERS: tuple[str, ...] = (
    "success", " packages in ", " package in ", "build files have", "[100%]", "finished ", " passed", "test result: ok",
    "job succeeded", "startup complete", "fired up", "config.status: ", "naming to ", "result: ",
)  # fmt: skip

# How a CI says that the run as a whole failed; what comes later is its clearing up.
_GIVEN_UP = re.compile(
    r"(?:(?:Error: )?Process completed with exit code [1-9]|ERROR: Job failed|Finished: FAILURE|ERROR: failed to solve)"
)

# Lines after which no later success of another step makes the failure undone.
_HARD = re.compile(
    r"(?:error: (?:subprocess-exited|metadata-generation|failed-wheel|legacy-install|externally-managed|could not compile)"
    r"|ERROR: (?:Could not (?:build|find|install)|No matching|Cannot install|ResolutionImpossible|Failed to build|Failed building wheel)"
    r"|ninja: build stopped|FAILED: (?:\[code=\d+\] )?\S+\.\w+|Configuring incomplete|CMake Generate step failed|g?make(?:\[\d+\])?: \*\*\* "
    rf"|No solution found when resolving|=+ .*\b\d+ (?:failed|error)|{_GIVEN_UP.pattern})"
)

# How a run says at its very end that it ended well; nothing before it can have failed it.
_ENDED = re.compile(
    r".{0,60}(?:\bexit(?:ed)?(?: with)?(?: code| status)?:? 0$|Job succeeded$|Finished: SUCCESS$|BUILD SUCCESS(?:FUL)?\b)"
)

# A counter at its end is no success where the tool says right after it that it stopped: with -k it counts to the end.
_COUNTED = re.compile(r"\[(?P<n>\d+)/(?P=n)\] |\[100%\] ")
_STOPPED = re.compile(r"ninja: build stopped|g?make(?:\[\d+\])?: (?:\*\*\* |Target )")

PROBE = 16  # lines between the title of a check in CMakeError.log and its error
_PROBE_SHOWN = re.compile(
    r"(?:Performing \S+ SOURCE FILE Test \S+|Determining (?:if|size of) .{1,300}) failed with the following output:$"
    r"|FAILED: \S*\bcmTC_"
)
_PROBE_PATH = re.compile(
    r"(?:\bconftest\b|_configtest|CMakeScratch|CMakeTmp|TryCompile|\btestC(?:XX|CUDA)?Compiler|flagcheck|CheckSymbol"
    r"|CheckIncludeFile|CheckFunction|CMakeFiles/_CMake|\bfeature_tests?\b|meson-private|/tmp/tmp\w+/(?:src|test|a)\.c"
    r"|sanitycheckc|testfile\.c|CompilerIdC)"
)
_FATAL = re.compile(r"configure: error|CMake Error|.*setup\.py.*rror:")
_DEALT_WITH = re.compile(
    r"(?i)(?:\bwill retry\b|\bretry scheduled\b|\bretrying\b(?![-=<>~!])|\b(?:at|on|after) attempt \d|\battempt \d+ (?:succeeded|ok)\b|\bfall(?:ing|s)? ?back\b|\boptional extension\b|\(optional\)|is optional"
    r"|could not be compiled|speedups are not enabled|pure[- ]python|Plain-Python|\bnon-fatal\b|not fatal\b"
    r"|\(ignored\)|removing: _configtest|safely ignore|can be ignored|ha(?:s|ve) been ignored|continuing (?:without|anyway)"
    r"|\btry(?:ing)? (?:the )?(?:next|another|other|mirror|alternative)\S*|\bresum(?:e|ing) (?:the )?download|\bno GPU, using\b"
    r"|\busing (?:the )?(?:pre-?built|fallback|bundled|built-?in|slow(?:er)?|CPU)\b|config(?:uration)? (?:was )?skipped"
    r"|building without|compiling without|proceeding without|Using (?:the )?python implementation|disabling \S+ support"
    r"|(?:already|, )\s?(?:there|applied|skipped)\b|\brecovered\b|skipping (?:this|optional|the test)|\b(?:as|is|was) expected\b|\(expected\b|\bexpected (?:failure|error)\b)"
)
_LEFT_OUT = re.compile(r"[:,;(] ?(?:skipped|ignored|not needed)\)?\.?$")
# The error line itself says that something else is tried.
_TRIED_AGAIN = re.compile(
    r"(?i)\b(?:will (?:retry|try again|be retried)|retrying (?:in|after|with|\(|\.\.\.)|retry \d+ (?:of|/) ?\d+|willRetry=1|falling back to|using \S+ instead$)"
    r"|[;,(:] ?(?:continuing|going on|carrying on|proceeding)\b"
)
# Advice on what could be done is no word of what was done.
_OFFER = re.compile(r"(?i)(?:you (?:can|could|may|might)\b|to \w+ this\b|consider\b|please\b)")
_QUIET = ("I", "D", "W")
_CALM = ("I", "D")
_BUSY = re.compile(r"(?:Decode|Prefill) batch\b|.{0,80}\bHTTP/[\d.]+\" 2\d\d\b")
_DOOMED = re.compile(
    r"(?i)(?:\bshut(?:ting)?[ _-]?down|\bexit|\babort|\bterminat|\bfail|\berror|\bkill|\bcrash|\bstop|\bgiving up"
    r"|\bfatal|\bsig(?:quit|term|kill|segv)|\bexception|\btraceback|\bclean(?:ing)?[ _-]?up|\bclos(?:e|ing)\b|\bdestroy"
    r"|\bwaiting for\b|\bnot ready\b|\bunhealthy|\bretr(?:y|ies)|HTTP/[\d.]+\" 5\d\d)"
)
BEYOND = 9  # lines below an error in which it may be said that it does not matter
ORDINARY = 8  # lines after a light failure, none of which says that anything failed
# After these no process works on, whatever others write.
_MORTAL = re.compile(r"(?i)\bcuda\w{0,40} error|\bCUDA error|nccl|cudnn|cublas|illegal memory|device-side assert")
LIFE = 3  # lines of ordinary work after a traceback that tell that its program lives on


def success_of(line: Line) -> frozenset[Category]:
    """Return the categories of earlier errors that this line proves harmless; empty for most lines."""
    if not _MAYBE_SUCCESS.match(line.core):
        return frozenset()
    return next((categories for pattern, categories in _SUCCESS if pattern.match(line.core)), frozenset())


def is_hard(line: Line) -> bool:
    """Return whether the line says for good that a step failed."""
    return _HARD.match(line.core) is not None and "cmTC_" not in line.core


def is_ended(line: Line) -> bool:
    """Return whether the line gives success as the end of the whole run."""
    return _ENDED.match(line.core) is not None


def is_given_up(line: Line) -> bool:
    """Return whether a CI says that the run failed."""
    return _GIVEN_UP.match(line.core) is not None


def is_counted(line: Line) -> bool:
    """Return whether the line only shows that the last step of a build was started or ended."""
    return _COUNTED.match(line.core) is not None


def is_stopped(line: Line) -> bool:
    """Return whether a build tool says that it gave up."""
    return _STOPPED.match(line.core) is not None and "cmTC_" not in line.core


def is_harmless(found: Candidate) -> bool:
    """Return whether the surroundings say that this error was expected or dealt with."""
    if found.kind == "cmake" or found.weight <= Weight.WRAPPER:
        return False
    quiet = found.hit.line.level in _QUIET
    if quiet and (found.weight <= Weight.GENERAL or (found.kind == "traceback" and found.line.level in _QUIET)):
        return True
    if found.weight <= Weight.GENERAL and _TRIED_AGAIN.search(found.line.core):
        return True
    if found.category in _PROBED and _is_probe(found) and not _fatal_next(found):
        return True
    if (found.kind == "git-probe" and _goes_on(found)) or (found.weight is Weight.LIGHT and _scripted_on(found)):
        return True
    before = [line for line in found.hit.before[-14:] if line.stream == found.hit.line.stream and line.core]
    if before and found.kind == "traceback":
        said = before[-1].core
        if said.startswith("Exception ignored"):
            return True
        # A program that wrote nothing after it ended there, whatever it had said before.
        if _DEALT_WITH.search(said) and not _OFFER.match(said) and _goes_on(found):
            return True
    if found.kind == "traceback" and _lives_on(found):
        return True
    # What a script says below a traceback looks like more of its message, so there only the plainest word counts.
    if any(_LEFT_OUT.search(line.core) for at, line in lines_below(found, found.no) if at <= found.end):
        return True
    beyond = [line for at, line in lines_below(found, found.end) if at <= found.end + BEYOND]
    return any(_DEALT_WITH.search(line.core) and not _OFFER.match(line.core) for line in beyond)


def _is_probe(found: Candidate) -> bool:
    """Return whether a feature check failed, as a build tool shows it or its log that somebody printed."""
    rows = [found.line, *found.hit.before[-PROBE:]]
    return bool(_PROBE_PATH.search(found.line.core)) or any(_PROBE_SHOWN.match(line.core) for line in rows)


def _fatal_next(found: Candidate) -> bool:
    """Return whether a configure step gives up right below."""
    return any(_FATAL.match(line.core) for at, line in lines_below(found, found.hit.no) if at < found.hit.no + 20)


def _goes_on(found: Candidate) -> bool:
    """Return whether anything comes after the block in its stream."""
    return any(line.core for _, line in lines_below(found, found.end))


def _lives_on(found: Candidate) -> bool:
    """Return whether the program that logged a traceback went on with its ordinary work, as far as the log shows."""
    if _MORTAL.search(found.line.core):
        return False
    rows = [line for line in found.hit.after[found.no - found.hit.no + 1 :] if line.core]
    busy = [line for line in rows if line.level in _CALM or _BUSY.match(line.core)]
    said = [line for line in rows if line.level or line in busy]  # others write between
    doomed = any(_DOOMED.search(line.core) for line in rows if line.level != "D")
    return len(busy) >= LIFE and said[-1] in busy and not doomed


def _scripted_on(found: Candidate) -> bool:
    """Return whether a script wrote many ordinary lines after a light failure, and nothing else."""
    rows = [line for line in found.hit.after[1:] if line.core]
    return len(rows) >= ORDINARY and not any(
        (shape := classify(line.core)) and shape.weight > Weight.NONE for line in rows
    )
