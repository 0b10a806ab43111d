"""Load knowledge/*.toml, and refuse what is not right in it."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec
from packaging.requirements import InvalidRequirement, Requirement

from bringup.config.paths import data_root
from bringup.diagnose.signature import CompiledSignature
from bringup.diagnose.text import MAX_LINE
from bringup.errors import ConfigError
from bringup.model.knowledge import Advice, Ending, EndingWeights, Issue, KnowledgeFile, Mention, Provider, Signature

REFERENCE = "docs/reference/known-issues.md"

# What a mention's texts may use besides the groups of its pattern.
SAID = ("provider", "install", "link", "version", "pip", "caller", "deb")
HINT = "see docs/how-to/add-known-issue.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledIssue:
    """An issue ready for matching."""

    issue: Issue
    signatures: tuple[CompiledSignature, ...]
    explains: tuple[re.Pattern[str], ...]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class CompiledEnding:
    """What `Ending` says, ready for matching."""

    good: re.Pattern[str]
    bad: re.Pattern[str]
    mere: re.Pattern[str]
    advice: re.Pattern[str]
    weights: EndingWeights


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Knowledge:
    """All that is known; two of them are never compared, so each is a key of caches.

    Attributes:
        issues: by id.
        advice: kinds of failures that are not in the list, first match first.
        mentions: how lines name what they miss, in the order of their use.
        providers: which package has it.
        ending: how logs end, if that is known.
    """

    issues: dict[str, CompiledIssue]
    advice: tuple[tuple[Advice, re.Pattern[str]], ...]
    mentions: tuple[tuple[Mention, re.Pattern[str]], ...] = ()
    providers: tuple[Provider, ...] = ()
    ending: CompiledEnding | None = None

    @property
    def scanned(self) -> frozenset[str]:
        """Literals of signatures whose lines have no general word of error, lower case."""
        return frozenset(
            word
            for item in self.issues.values()
            for signature in item.signatures
            if signature.scan
            for word in signature.has
        )


def knowledge_folder() -> Path:
    """Return the folder of the project's own knowledge."""
    return data_root() / "knowledge"


def load_knowledge(folder: Path | None = None) -> Knowledge:
    """Read and check every *.toml of a folder.

    Raises:
        ConfigError: with one line for each thing that is wrong: unknown keys with the nearest name, expressions that
            do not compile or could take very long, ids that are there twice, references to ids that are not.
    """
    root = folder or knowledge_folder()
    problems: list[str] = []
    texts = tuple((path, _text(path, problems)) for path in sorted(root.glob("*.toml")))
    if not texts:
        msg = f"{root}: no *.toml with known issues"
        raise ConfigError(msg)
    if problems:
        raise ConfigError("\n".join(problems), hint=HINT)
    return _compiled(texts)


def _text(path: Path, problems: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        problems.append(f"{path}: {exc}")
        return ""


@functools.lru_cache(maxsize=16)
def _compiled(texts: tuple[tuple[Path, str], ...]) -> Knowledge:
    """Check and compile what stands in the files, once as long as they stay the same."""
    problems: list[str] = []
    issues: dict[str, CompiledIssue] = {}
    advice: list[tuple[Advice, re.Pattern[str]]] = []
    mentions: list[tuple[Mention, re.Pattern[str]]] = []
    providers: list[Provider] = []
    ending: CompiledEnding | None = None
    for path, text in texts:
        content = _read(path, text, problems)
        for issue in content.issue:
            if issue.id in issues:
                problems.append(f"{path}: {issue.id}: there is another issue with this id")
            issues[issue.id] = _compile_issue(issue, path, problems)
        for kind in content.advice:
            pattern = _compile(kind.pattern, f"{path}: advice {kind.name}: pattern", problems)
            if kind.near:
                _compile(kind.near, f"{path}: advice {kind.name}: near", problems)
            problems += _placeholders(kind.name, (*kind.fix, kind.cause), {*pattern.groupindex}, path)
            advice.append((kind, pattern))
        for mention in content.mention:
            pattern = _compile(mention.pattern, f"{path}: mention: pattern", problems)
            groups = {*pattern.groupindex, *SAID}
            problems += _placeholders(f"mention {mention.pattern[:40]}", (mention.known, mention.unknown), groups, path)
            mentions.append((mention, pattern))
        providers += content.provider
        if content.ending is not None:
            ending = _compile_ending(content.ending, path, problems)
    for item in issues.values():
        problems += [
            f"{item.issue.id}: over names {other!r}, which is not an id" + _nearest(other, issues)
            for other in item.issue.over
            if other not in issues
        ]
    if problems:
        raise ConfigError("\n".join(problems), hint=HINT)
    return Knowledge(
        issues=issues,
        advice=tuple(advice),
        mentions=tuple(mentions),
        providers=tuple(providers),
        ending=ending,
    )


def _read(path: Path, text: str, problems: list[str]) -> KnowledgeFile:
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        problems.append(f"{path}: {exc}")
        return KnowledgeFile()
    unknown = list(_unknown_keys(data))
    if unknown:
        problems += [f"{path}: {text}" for text in unknown]
        return KnowledgeFile()
    try:
        return msgspec.convert(data, KnowledgeFile)
    except msgspec.ValidationError as exc:
        problems.append(f"{path}: {_named(str(exc), data)}")
        return KnowledgeFile()


def _named(message: str, data: dict[str, Any]) -> str:
    """Replace the index in msgspec's `$.issue[3].fix` by the issue's id."""
    found = re.search(r"\$\.(issue|advice|mention|provider)\[(\d+)\]", message)
    if not found:
        return message
    entry = data[found[1]][int(found[2])]
    name = entry.get("id") or entry.get("name") if isinstance(entry, dict) else None
    return f"{name or found[0]}: {message}"


def _unknown_keys(data: dict[str, Any]) -> Iterator[str]:
    yield from _strange(data, KnowledgeFile, "")
    if isinstance(ending := data.get("ending"), dict):
        yield from _strange(ending, Ending, "ending: ")
        if isinstance(weights := ending.get("weights"), dict):
            yield from _strange(weights, EndingWeights, "ending: weights: ")
    for kind, model in (("issue", Issue), ("advice", Advice), ("mention", Mention), ("provider", Provider)):
        entries = data.get(kind)
        for entry in entries if isinstance(entries, list) else []:
            if not isinstance(entry, dict):
                continue
            label = f"{entry.get('id') or entry.get('name') or kind}: "
            yield from _strange(entry, model, label)
            signatures = entry.get("signature")
            for signature in signatures if isinstance(signatures, list) else []:
                if isinstance(signature, dict):
                    yield from _strange(signature, Signature, f"{label}signature: ")


def _strange(table: dict[str, Any], model: type[msgspec.Struct], label: str) -> Iterator[str]:
    for key in table:
        if key not in model.__struct_fields__:
            yield f"{label}unknown key {key!r}" + _nearest(key, model.__struct_fields__)


def _nearest(word: str, known: Any) -> str:
    near = get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def _compile_issue(issue: Issue, path: Path, problems: list[str]) -> CompiledIssue:
    label = f"{path}: {issue.id}"
    if not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", issue.id):
        problems.append(f"{label}: an id is lower case words joined by hyphens")
    for name in ("signature", "fix", "sources"):
        if not getattr(issue, name):
            problems.append(f"{label}: {name} is empty")
    for text in issue.affected:
        try:
            Requirement(text)
        except InvalidRequirement as exc:
            problems.append(f"{label}: affected = {text!r} is no requirement: {str(exc).splitlines()[0]}")
    signatures = tuple(_compile_signature(item, label, problems) for item in issue.signature)
    groups = set.intersection(*({*item.pattern.groupindex} for item in signatures)) if signatures else set()
    problems += _placeholders(issue.id, (*issue.fix, *issue.by_hand, issue.cause), groups, path)
    explains = tuple(_compile(text, f"{label}: explains", problems) for text in issue.explains)
    return CompiledIssue(issue=issue, signatures=signatures, explains=explains)


def _compile_ending(ending: Ending, path: Path, problems: list[str]) -> CompiledEnding:
    def joined(name: str, texts: tuple[str, ...]) -> re.Pattern[str]:
        for text in texts:
            _compile(text, f"{path}: ending: {name}", problems)
        return _compile("(?i)(?:" + "|".join(texts or ("(?!)",)) + ")", f"{path}: ending: {name}", [])

    return CompiledEnding(
        good=joined("good", ending.good),
        bad=joined("bad", ending.bad),
        mere=joined("mere", ending.mere),
        advice=joined("advice", ending.advice),
        weights=ending.weights,
    )


def _compile_signature(signature: Signature, label: str, problems: list[str]) -> CompiledSignature:
    if not signature.has or any(len(word) < 4 for word in signature.has):
        problems.append(f"{label}: signature: has needs literals of four letters or more")
    if not 1 <= signature.lines <= 20:
        problems.append(f"{label}: signature: lines = {signature.lines} is not between 1 and 20")
    return CompiledSignature(
        has=tuple(word.lower() for word in signature.has),
        pattern=_compile(signature.pattern, f"{label}: pattern", problems),
        lines=signature.lines,
        near=tuple(_compile(text, f"{label}: near", problems) for text in signature.near),
        unless=tuple(_compile(text, f"{label}: unless", problems) for text in signature.unless),
        last=signature.last,
        scan=signature.scan,
    )


# A repetition of something that itself repeats without a bound: (a+)+, (?:x*y?)*. These can take exponential time.
_NESTED = re.compile(r"\((?:\?:|\?P<\w+>)?[^()]*[^\\()][*+](?:\?|\))?[^()]*\)(?:[*+]|\{\d+,\})")


def _compile(text: str, label: str, problems: list[str]) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as exc:
        problems.append(f"{label}: {text!r} is no regular expression: {exc}")
        return re.compile(r"(?!)")
    if pattern.search(""):
        problems.append(f"{label}: {text!r} fits an empty line")
    if _NESTED.search(text) and "(?:[" not in text:
        problems.append(f"{label}: {text!r} repeats a repetition; on a long line ({MAX_LINE} signs) it may never end")
    return pattern


def _placeholders(name: str, texts: tuple[str, ...], groups: set[str], path: Path) -> list[str]:
    known = {"gpu", "cuda", "jobs", "stack", "target", "packages"} | groups
    return [
        f"{path}: {name}: {{{word}}} is neither a fact nor a group that every signature has"
        for text in texts
        for word in re.findall(r"\{(\w+)\}", text)
        if word not in known
    ]
