"""One line of a log, freed from what terminals, CI systems and launchers put around it."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

# Longer lines are cut: no message needs more, and it bounds the time of every regular expression.
MAX_LINE = 4000
REMEMBERED_BYTES = 512

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)"  # OSC: titles, links
    r"|\x1b[PX^_][^\x1b]{0,2000}\x1b\\"  # strings for devices
    r"|\x1b_bk;t=\d+\x07"
    r"|\x1b[ -/]*[0-~]?"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
# Bidirectional overrides and zero-width marks can make a terminal show something else than what is there.
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\u2028\u2029\ufeff\ufff9-\ufffb]"
)

_TIME = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_DATE = r"\d{4}[-/]\d\d[-/]\d\d"
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_DAY = r"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_PREFIX = re.compile(
    rf"(?P<syslog3>{_DATE}T{_TIME}(?:Z|[+-]\d\d:?\d\d)\s(?!\d\d[OE])[\w.-]{{1,64}}\s(?!g?make\[)(?:[\w./@-]{{1,64}}\[\d+\]|kernel|dockerd|systemd):\s)"
    rf"|(?P<time>{_DATE}[T ]{_TIME}(?:Z|[+-]\d\d:?\d\d|\sUTC)?(?:\s\d\d[OE][+ ]?)?\s?)"
    rf"|(?P<teamcity>\[{_TIME}\][EWFi ]?:[ \t]{{1,4}})"
    rf"|(?P<btime>\[(?:{_DATE}[T ])?{_TIME}(?:Z|[+-]\d\d:?\d\d)?(?P<tp>(?: (?:TP|DP|PP|EP|MOE_EP|ATTN_TP)\d+)*)\]\s?)"
    rf"|(?P<btime2>[\[(]?{_TIME}[\])]?(?:\s{{1,2}}|$))"
    rf"|(?P<dmesg>\[{_DAY} {_MONTH}\s{{1,2}}\d{{1,2}}\s{_TIME}\s\d{{4}}\]\s)"
    r"|(?P<docker>\#\d{1,4}\s(?:\d{1,6}\.\d{1,3}\s)?)"
    r"|(?P<buildkit>(?:\d\.\d{3}|\d\d\.\d\d|\d{3,6}\.\d)\s)"  # the last lines of a step, as its summary repeats them
    r"|(?P<numbered>\s{0,8}\d{1,8}\t)"
    r"|(?P<spack>\s{0,4}>>\s\d{1,8}\s{4})"
    r"|(?P<compose>[A-Za-z][\w.-]{0,60}[-_]\d{1,4}\s{1,40}\|\s)"
    r"|(?P<rank0>rank\d{1,4}:\s)"
    r"|(?P<rank>\[(?:rank|default|worker|tp|dp|pp|Rank|RANK|WORKER)[ _]?\d{1,5}\]:?[ ]?)"
    r"|(?P<mpi>\[\d{1,5},\d{1,5}\]<std(?:err|out)>:\s?)"
    r"|(?P<ray>\((?:[\w:.=\-, ]{1,80}\s)?pid=\d+(?:,[^)]{0,80})?\)\s)"
    r"|(?P<srun>\s{0,3}\d{1,4}:\s(?=[A-Za-z/\[\s\u0080-\uffff#<(\d'\"*=+.-]))"
    r"|(?P<level>##\[\w{1,20}\]|::(?:error|warning|notice|debug)(?:\s[^:]{0,200})?::)"
    r"|(?P<gitlab>section_(?:start|end):\d+:\S{1,80}\s?)"
    r"|(?P<kernel>(?:<\d>)?\[\s{0,8}\d{1,9}\.\d{6}\]\s?)"
    rf"|(?P<syslog>{_MONTH}\s{{1,2}}\d{{1,2}}\s{_TIME}\s[\w.-]{{1,64}}\s[\w./@-]{{1,64}}\[\d+\]:\s)"
    rf"|(?P<syslog2>{_MONTH}\s{{1,2}}\d{{1,2}}\s{_TIME}\s[\w.-]{{0,60}}[\d-][\w.-]{{0,60}}\s[a-z][\w./@-]{{0,64}}:\s)"
    rf"|(?P<month>(?:{_DAY}\s)?{_MONTH}\s{{1,2}}\d{{1,2}}\s{_TIME}\s(?:\d{{4}}\s)?)"
    rf"|(?P<bamboo>(?:(?:build|error|simple|command)\t)?\d\d-{_MONTH}-\d{{4}}\s{_TIME}\s)"
    r"|(?P<cri>std(?:out|err)\s[FP]\s)"
    r"|(?P<pod>\[pod/[\w./-]{1,200}\]\s)"
    rf"|(?P<ghrun>[^\t]{{1,100}}\t[^\t]{{1,100}}\t(?={_DATE}T))"
    r"|(?P<seconds>\[\s{0,6}\d{1,6}s\]\s)"
    r"|(?P<epoch>1\d{9}\.\d{1,9}\s)"
    r"|(?P<std>std(?:err|out)(?::| \|)\s)"
    r"|(?P<step>\[(?:Step|Container|Pipeline|stage|Build)\b[^\]]{0,60}\]\s)"
)
_STREAMS = ("docker", "compose", "rank", "rank0", "mpi", "ray", "srun", "tp", "pod")
LOGGER = re.compile(
    rf"(?P<a>DEBUG|INFO|WARNING|ERROR|CRITICAL|FATAL)\s+(?:\d\d-\d\d|{_DATE})[ T]{_TIME}\s+(?:\[[^\]]{{1,120}}\]\s?)?"
    r"|(?P<b>[DIWEF])\d{4}\s\d\d:\d\d:\d\d[.\d]*\s+\d+\s[\w./<>-]{1,200}:\d+\]\s?(?:\[\d+/\d+\w*\]\s?)?"
    r"|\[(?P<c>[DIWEF])\d{3,4}\s\d\d:\d\d:\d\d[^\]]{0,100}\]\s?"
    r"|(?P<k>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL)\s{1,8}[\w./-]{1,80}\.py:\d{1,6}:\s"
    r"|(?P<d>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL)\s{1,5}(?=\[|[a-z_.]{2,60}:(?:\d{1,6}:)?\s)"
    r"|(?P<h>DEBUG|INFO|WARNING|ERROR|CRITICAL):[A-Za-z_][\w.]{0,100}:"
    r"|(?:-\s)?(?:[A-Za-z_][\w.:/-]{1,80}\s-\s)?(?P<i>DEBUG|INFO|WARN|WARNING|ERROR|CRITICAL)\s-\s(?:[A-Za-z_][\w.:/]{1,80}\s-\s)?"
    r"|(?P<j>INFO|DEBUG):\s{2,8}(?=\S)"
    r"|\[(?P<f>[DIWEF]) [\w./-]{1,80}\.(?:cpp|cc|cu|h):\d+\]\s?(?:\[c10d\]\s)?"
    r"|\|\s{1,2}(?P<g>DEBUG|INFO|WARNING|ERROR|CRITICAL)\s{1,6}\|\s(?:[\w.:<>]{1,160}\s[|-]\s)?"
    r"|\[(?P<e>DEBUG|INFO|WARNING|ERROR|CRITICAL|debug|info|warning|error)\]:?\s"
    r"|E\s{3}(?=\s*\S)"
)
# What French sets before a colon; quotes as gcc writes them, and as pages and chats make them.
_PLAIN = {0xA0: " ", 0x202F: " "} | dict.fromkeys((0x2018, 0x2019, 0x201A, 0x201B), "'")
_PLAIN |= dict.fromkeys((0x201C, 0x201D, 0x201F), '"')
_DECORATION = re.compile(r"^[\s│┃|├╰└─▶►>\u00d7✗✘•❌*-]*(?:\[(?:stderr|stdout)\]\s*)?(?:= note: )?")


def level_of(found: re.Match[str] | None) -> str:
    """Return the first letter of the level in what `LOGGER` found, empty for nothing."""
    return next((group for group in found.groups() if group), "E")[0].upper() if found else ""


class Line(NamedTuple):
    """A line in three degrees of cleaning.

    Attributes:
        text: without terminal codes and CI prefixes; what is shown and reported.
        body: also without a logger's prefix; indentation kept.
        core: also without indentation and the signs that tools draw trees with; what is matched.
        stream: which process or build step wrote it, as far as its prefix tells; empty otherwise.
        level: first letter of the logger's level, or empty.
    """

    text: str
    body: str
    core: str
    stream: str
    level: str


def clean_line(raw: bytes, learned: re.Pattern[str] | None = None) -> Line:
    """Return the cleaned forms of one raw line (without its newline); never raises.

    Args:
        raw: the line.
        learned: a prefix that `prefix.learn_prefix` found before nearly all lines of this log.
    """
    return _remembered(raw, learned) if len(raw) <= REMEMBERED_BYTES else _cleaned(raw, learned)


def _cleaned(raw: bytes, learned: re.Pattern[str] | None) -> Line:
    line = raw[: MAX_LINE * 4].decode("utf-8", "replace")
    if line.startswith('{"log":"'):
        line = _unwrap(line)
    if "\r" in line:
        line = next((part for part in reversed(line.split("\r")) if part.strip()), "")
    if "\x1b" in line or "\x9b" in line:
        line = _ESCAPES.sub("", line)
    line = _CONTROLS.sub("", line)[:MAX_LINE]
    stream, line = _without(learned, line)
    found = LOGGER.match(line)
    level, body = level_of(found), line[found.end() :] if found else line
    if not body.isascii():
        body = body.translate(_PLAIN)
    core = body[_DECORATION.match(body).end() :].rstrip()  # type: ignore[union-attr]  # matches the empty string
    return Line(line.rstrip(), body.rstrip(), core, stream, level)


def _without(learned: re.Pattern[str] | None, line: str) -> tuple[str, str]:
    """Return the stream and the line without prefixes, the learned one before or after those that are known."""
    if learned is None:
        return _strip_prefixes(line)
    outer = learned.match(line)
    stream, line = _strip_prefixes(line[outer.end() :] if outer else line)
    found = outer or learned.match(line)
    if not found:
        return stream, line
    if not outer:
        inner, line = _strip_prefixes(line[found.end() :])
        stream = "/".join(filter(None, (stream, inner)))
    # numbers of lines, quoting, what one logger writes and times name nobody
    name = "" if learned is LOGGER or re.search(r"\d:\d\d:\d\d", found[0]) else found[0].strip(" \t>|:0123456789")
    return (f"{stream}/{found[0].strip()}" if name else stream), line


# What stands around one failure is looked at again for the next one a few lines below.
_remembered = functools.lru_cache(maxsize=2048)(_cleaned)


def _unwrap(line: str) -> str:
    """Return the text inside a line of Docker's json-file log."""
    text = line.removeprefix('{"log":"').partition('","stream":')[0]
    return text.removesuffix("\\n").replace('\\"', '"').replace("\\t", "\t").replace("\\u001b", "\x1b")


def _strip_prefixes(line: str) -> tuple[str, str]:
    streams: list[str] = []
    for _ in range(6):
        found = _PREFIX.match(line)
        if not found:
            break
        streams += [name + _stream_key(name, found[name]) for name in _STREAMS if found[name]]
        line = line[found.end() :]
    return "/".join(streams), line


def _stream_key(name: str, text: str) -> str:
    """Return what stays the same in every prefix of one stream (a docker prefix also has a time)."""
    return text.split(maxsplit=1)[0] if name == "docker" else text.strip()


def printable(text: str, limit: int = 400) -> str:
    """Return `text` fit for a terminal: one line, no control characters, at most `limit` characters."""
    plain = _CONTROLS.sub("", _ESCAPES.sub("", text.replace("\n", " "))).replace("\t", "    ")
    plain = plain.encode("utf-8", "replace").decode("utf-8")
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
