"""Known failures as data: the shape of knowledge/*.toml."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Category(StrEnum):
    """When a failure shows itself, from the first configure step to a serving process."""

    CONFIGURE = "configure"
    COMPILE = "compile"
    LINK = "link"
    INSTALL = "install"
    IMPORT = "import"
    JIT = "jit"
    CAPTURE = "capture"
    LAUNCH = "launch"
    RUNTIME = "runtime"


class Certainty(StrEnum):
    """How well cause and fix are established; taken over into the confidence of an answer."""

    MAINTAINER = "confirmed-by-maintainer"
    USERS = "confirmed-by-users"
    PLAUSIBLE = "plausible"


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way in which a failure writes itself into a log.

    Attributes:
        has: literals, of which one must be in the line (any case); they keep regexes away from most lines.
        pattern: regular expression, searched in the cleaned line and the `lines` - 1 lines after it.
        lines: how many lines `pattern` may span.
        near: expressions that must each be found within 60 lines before or 120 after.
        unless: expressions, none of which may be found there.
        scan: look for `has` in every line; needed only where the line has no general word of error ("error:",
            "failed", "cannot" ...), because each such literal costs a pass over the log.
        last: the line must be among the last three of the log (a process that hangs, not one that fails).
    """

    has: tuple[str, ...]
    pattern: str
    lines: int = 1
    near: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    scan: bool = False
    last: bool = False


class Issue(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One known failure.

    Attributes:
        id: lasting name, the anchor in docs/reference/known-issues.md.
        title: one line.
        category: when it shows itself.
        component: what it is about (flashinfer, cuda, driver ...).
        affected: packages with version ranges, as requirement specifiers ("flashinfer>=0.2,<0.5").
        affected_note: what a specifier cannot say.
        cause: about two sentences.
        fix: what to do with this project, best first; may use {gpu}, {cuda}, {jobs}, {stack} and the named groups
            of the signatures.
        by_hand: what to do without it.
        check: how the failure can be seen before it happens.
        sources: addresses that establish it.
        certainty: how well it is established.
        silent: a warning or a line of a run that goes on; counts only where nothing else failed.
        wrapper: says only that something failed; anything more exact is preferred.
        weak: a common line; an unknown failure before it is preferred.
        over: ids that this one is the more exact form of.
        explains: expressions of later failures that this silent one is the cause of.
        signature: how to recognise it.
    """

    id: str
    title: str
    category: Category
    component: str
    affected: tuple[str, ...] = ()
    affected_note: str = ""
    cause: str
    fix: tuple[str, ...]
    by_hand: tuple[str, ...] = ()
    check: str = ""
    sources: tuple[str, ...]
    certainty: Certainty = Certainty.PLAUSIBLE
    silent: bool = False
    wrapper: bool = False
    weak: bool = False
    over: tuple[str, ...] = ()
    explains: tuple[str, ...] = ()
    signature: tuple[Signature, ...]


class Advice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What can be said of a failure that is not in the list: its kind, and the usual way out.

    Attributes:
        name: short name of the kind.
        pattern: regular expression over the root line; its named groups may be used in `cause` and `fix`.
        near: expression that must be found in the 60 lines before or the 40 after, if any.
        when: only for failures of this category, if given.
        category: overrides the category that the shape of the line suggests.
        cause: what such a line means.
        fix: what usually helps.
    """

    name: str
    pattern: str
    near: str = ""
    when: Category | None = None
    category: Category | None = None
    cause: str
    fix: tuple[str, ...]


class KnowledgeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One knowledge/*.toml file.

    Attributes:
        issue: known failures.
        advice: what can be said of others.
    """

    issue: tuple[Issue, ...] = ()
    advice: tuple[Advice, ...] = ()
