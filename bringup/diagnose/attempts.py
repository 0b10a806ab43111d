# ruff: noqa: E501 - a table is read by its columns
"""Tell a failed attempt from a failed run: the same work was begun again, and how that ended counts.

Three things in the lines below a failure say so: that the work is begun again (`attempt 2 of 4`, `trying again`), the
same command a second time without an error, or a tool that reports the very thing as done that had failed (a package,
a file, a submodule, a target). Of each thing the last word counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bringup.diagnose.blocks import Candidate
from bringup.diagnose.shapes import Weight, classify
from bringup.diagnose.text import Line

NEAR = 4  # ordinary lines between the end of an attempt and the word that another begins
MESSAGE = 10  # lines below an error that still speak of it
ABOVE = 8  # lines above an error among which its command is

# That the work is begun again.
_AGAIN = re.compile(
    r"(?i)(?:.{0,120}\b(?:try(?:ing)? (?:\w+ )?again|retrying(?![-=<>~!])|retry scheduled|will retry|once more|re-?running (?:the|failed))\b"
    r"|.{0,80}\b(?:second|third|fourth|fifth|next|another|new|last|final) (?:try|attempt)\b(?! (?:also )?(?:failed|ended))"
    r"|[^\w:]{0,4}(?:\w+ ){0,3}(?:attempt|try|retry)(?: no\.?)? ?[#(\[]?(?:[2-9]|1\d)\b(?!.{0,20}\b(?:failed|ended|failure|unsuccessful))"
    r"|.{0,60}\bfall(?:ing)? ?back (?:to|on)\b|.{0,60}\btrying (?:the |with )?(?:next|another|other|mirror|alternative|fewer|less|an? )"
    r"|(?:\w+ ){0,2}try(?:ing)? (?:[a-z+]{2,10}://|/|\./)\S+$|(?:now )?(?:trying|using|switching to) (?:the )?(?:next |other |another |second )?(?:mirror|source|url|server|host)\b(?! (?:is|was|did|has|not)\b)"
    r"|(?:.{0,80}[,;:] )?(?:now )?(?:re)?building (?:it |this )?from (?:source|sdist)(?: instead)?\.{0,3}$"
    r"|.{0,80}\b(?:again|retry) with (?:fewer|less|more|a |one|1|--|-j)|.{0,80}, resuming\b|.{0,60}\b(?:will restart|restarting) (?:the )?(?:build|download|transfer|step|job|worker|server|container|process)|.{0,60}\btrying to (?:resume|reconnect|recover)\b)"
)  # fmt: skip
_NOT_AGAIN = re.compile(
    r"(?i)(?:(?:re)?try (?:again|once more|with|later|to)\b|re-?run(?:ning)?\b.{0,40}\b(?:may|might|with --)|you (?:can|could|may|might|should)\b|please\b|consider\b|hint:|to \w+ this\b|.{0,200}\b(?:giving up|gave up|give up|no more (?:retries|attempts|tries)|abort|not retrying|no retry|(?:then|and|before|or) (?:try(?:ing)?|retry(?:ing)?)(?: again)?\b))"
)
# What a build still prints between its error and its end: other steps, and that it stops.
_PROGRESS = re.compile(
    r"\[\s{0,3}\d+(?:/\d+|%)\]|\s*$|[|~^ \d]+$|(?:\S+/)?(?:gcc|g\+\+|cc|c\+\+|nvcc|clang)\b|(?:g?make)\[\d+\]: "
)

# What a failure belongs to, in its own lines, in those above that began it, and in those below that sum it up.
_BEGAN = (
    re.compile(r"Cloning into '(?:.*/)?(?P<name>[^/']+)'"),
    re.compile(r"\++ .*?\b(?:curl|wget|aria2c)\b.* (?:-o|-O|--output|--output-document)[ =](?P<name>[^\s/-]\S*|/\S+)"),
    re.compile(r"(?:\++ |\$ )?.*?\b(?:curl|wget|aria2c)\b.* ['\"]?(?:https?|ftp)://\S*/(?P<name>[^\s/'\"?]+)"),
    re.compile(r"--\S+ \S+--  \S*/(?P<name>[^\s/?]+)"),  # wget
)  # fmt: skip
_FAILED = (
    re.compile(r"(?:ERROR: )?Failed building (?:wheel|editable) for (?P<name>[\w.-]+)"),
    re.compile(
        r"(?:Building (?:wheel|editable) for|Running setup\.py (?:install|develop) for) (?P<name>[\w.-]+?)\b(?:| .*|:.*)(?:finished with status 'error'|\berror$)"
    ),
    re.compile(r"(?:error: )?Failed to (?:build|download(?: and build)?|fetch|prepare) `(?P<name>[\w.-]+)"),
    re.compile(r"Failed to clone '(?:.*/)?(?P<name>[^/']+)'|.*into submodule path '(?:.*/)?(?P<name2>[^/']+)' failed"),
    re.compile(r"FAILED: (?:\[code=\d+\] )?(?P<name>\S+)"),
    re.compile(r"g?make(?:\[\d+\])?: \*\*\* \[(?:[^\]]*: )?(?P<name>[^\]:\s]+)\] "),
    re.compile(r"error: could not compile `(?P<name>[\w-]+)`"),
    re.compile(r"dpkg: error processing (?:package|archive) (?:\S*/)?(?P<name>[a-z0-9][a-z0-9+.-]+)"),
    re.compile(r"(?:E: Unable to locate package|E: Failed to fetch \S*/) ?(?P<name>[a-z0-9][a-z0-9+.-]+)"),
    re.compile(r"(?P<name>\S+): FAILED(?: open or read)?$"),
)
# That it was done after all.
_DONE = (
    re.compile(r"Successfully (?:installed|built) (?P<names>\S.*)"),
    re.compile(r"Running setup\.py (?:install|develop) for (?P<name>[\w.-]+?)(?:: finished with status 'done'|(?: \.\.\.|\.\.\.).*\bdone$)"),
    re.compile(r"Building (?:wheel|editable) for (?P<name>[\w.-]+?) .*(?:finished with status 'done'|\bdone$)"),
    re.compile(r"\+ (?P<name>[\w.-]+)==\S+"),
    re.compile(r"Submodule path '(?:.*/)?(?P<name>[^/']+)': checked out"),
    re.compile(r"(?P<name>\S+): OK$"),
    re.compile(r"(?P<name>\S+): FAILED$"),  # a checksum of a file that was got; what is wrong with it comes here
    re.compile(r".* - ['`]?(?P<name>[^'` ]+)['`]? saved \[|.* -> \"(?P<name2>[^\"]+)\" \[\d+\]"),
    re.compile(r"\[\s*\d+(?:/\d+|%)\] .*?(?P<names>\S+\.(?:o|obj|so|a|stamp|cubin|ptx|cu\.o|cpp\.o)\b.*)"),
    # A command is written before it is run; where it fails, make names its target again.
    re.compile(r"(?:\S+/)?(?:gcc|g\+\+|cc|c\+\+|clang(?:\+\+)?|nvcc|ld)(?:-\d+)? .*?-o (?P<name>\S+)"),
    re.compile(r"(?:\S+/)?(?:gcc-)?ar [-\w]+ (?P<name>\S+\.a)\b"),
    re.compile(r"\[\s*\d+%\] Built target (?P<name>\S+)"),
    re.compile(r"Setting up (?P<name>[a-z0-9][a-z0-9+.-]+)(?::\w+)? \("),
)  # fmt: skip
_VERSION = re.compile(r"-\d[\w.+!]*$")
_NETWORK = frozenset({"download", "network", "git"})
_COMMAND = re.compile(r"(?:\++ |\$ |> )\S|Cloning into '")


ATTEMPT_TRIGGERS: tuple[str, ...] = (
    "trying ",
    "retry",
    "attempt",
    " try ",
    "from source",
    "again",
    "once more",
    "running",
)


def is_again(line: Line) -> bool:
    """Return whether the line says that work is begun again."""
    return _AGAIN.match(line.core) is not None and _NOT_AGAIN.match(line.core) is None


def tried_again(found: Candidate) -> bool:
    """Return whether the attempt that failed with this error was followed by another."""
    quiet = 0
    rows = list(lines_below(found, found.no))
    for at, (no, line) in enumerate(rows):
        if is_again(line):
            return any(row.core for _, row in rows[at + 1 :])
        if (found.kind == "cmake" and no <= found.end) or _PROGRESS.match(
            line.core
        ):  # a long message, other steps of the build
            continue
        quiet = 0 if _fails(line) else quiet + 1
        if quiet > NEAR:
            return False
    return False


def redone(found: Candidate) -> int:
    """Return how many lines below the error the same thing is reported as done, 0 where it is not."""
    rows = [line for _, line in lines_below(found, max(found.no, found.end))]
    return _named(found, rows) or _repeated(found, rows)


def lines_below(found: Candidate, no: int) -> Iterator[tuple[int, Line]]:
    """Yield the lines below line `no` that the same process wrote, with their numbers."""
    no = max(no, found.hit.no)
    for at, line in enumerate(found.hit.after[no - found.hit.no + 1 :], no + 1):
        if line.stream == found.hit.line.stream:
            yield at, line


def _fails(line: Line) -> bool:
    shape = classify(line.core)
    return shape is not None and shape.weight is not Weight.NONE


def _named(found: Candidate, rows: Sequence[Line]) -> int:
    """Return where the last word on a thing that failed is that it is done."""
    last = dict.fromkeys(_things(found, rows), 0)
    shown = found.hit.line.core.startswith("FAILED: ")  # ninja writes the command below
    for at, line in enumerate(rows if last else (), 1):
        got = not shown and (found.kind in _NETWORK or not line.core.endswith(": FAILED"))
        shown = line.core.startswith("FAILED: ")
        for thing in last.keys() & {*_names(_DONE if got else (), line), *_names(_FAILED, line)}:
            last[thing] = at if got and thing in _names(_DONE, line) else 0
    return max(last.values(), default=0)


def _things(found: Candidate, rows: Sequence[Line]) -> list[str]:
    """Return the packages, files or targets that the error is about, as far as lines name them."""
    above = [line for line in found.hit.before if line.stream == found.hit.line.stream][-ABOVE:]
    own = [line for line in found.hit.after[: found.end - found.hit.no + 1] if line.stream == found.hit.line.stream]
    things = [name for line in (*own, *rows[:MESSAGE]) for name in _names(_FAILED, line)]
    began = _BEGAN if found.kind in _NETWORK else _FAILED
    begun: list[str] = next((names for line in reversed(above) if (names := _names(began, line))), [])
    return [*things, *begun]


def _names(patterns: Sequence[re.Pattern[str]], line: Line) -> list[str]:
    return [name for pattern in patterns if (match := pattern.match(line.core)) for name in _plain(match)]


def _plain(match: re.Match[str]) -> Iterator[str]:
    for group, text in match.groupdict().items():
        for word in (text or "").split() if group == "names" else [text] if text else []:
            bare = _VERSION.sub("", word.strip("'\"`,;:")) if group == "names" else word
            yield bare.lower().replace("_", "-")


def _repeated(found: Candidate, rows: Sequence[Line]) -> int:
    """Return where the command that failed stands once more, if no error and another command come after it."""
    above = [line for line in found.hit.before if line.stream == found.hit.line.stream][-ABOVE:]
    command = next((line.core for line in reversed(above) if _COMMAND.match(line.core)), "")
    last = max((at for at, line in enumerate(rows) if command and line.core == command), default=-1)
    if last < 0:
        return 0
    for at, line in enumerate(rows[last + 1 :], last + 2):
        if _fails(line):
            return 0
        if _COMMAND.match(line.core):
            return at
    return 0
