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
        alone: only for the root line itself, not for the lines below it.
        category: overrides the category that the shape of the line suggests.
        cause: what such a line means.
        fix: what usually helps.
    """

    name: str
    pattern: str
    near: str = ""
    when: Category | None = None
    alone: bool = False
    category: Category | None = None
    cause: str
    fix: tuple[str, ...]


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A package, and by which names a failing line asks for it.

    Attributes:
        name: what people call it.
        headers: exact, or a folder that ends in `/`, or with `*`.
        libs: names as after -l, also with `*`.
        symbols: expressions for a whole name in C, or for its beginning where they end in `::`.
        identifiers: expressions for names in its headers that are no functions of a library: types, macros, templates.
        modules: import names; a submodule belongs to the nearest one.
        cmake: names for find_package and pkg-config; capitals do not matter.
        programs: names of commands, also with `*`.
        objects: expressions for names of classes.
        builds: distributions on PyPI that need it where they are built from source.
        apt: Debian packages to compile against it.
        runtime: what brings the shared library.
        pip: distributions on PyPI.
        devel: whether those of `pip` have headers and libraries too, where Debian has them as well.
        conda: packages of conda-forge.
        tool: Debian packages that have the programs.
        link: what to link with.
        note: what else helps.
    """

    name: str
    headers: tuple[str, ...] = ()
    libs: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    cmake: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    builds: tuple[str, ...] = ()
    apt: str = ""
    runtime: str = ""
    pip: str = ""
    devel: bool = False
    conda: str = ""
    tool: str = ""
    link: str = ""
    note: str = ""


class Kind(StrEnum):
    """What a name in a line is the name of."""

    HEADER = "header"
    LIBRARY = "library"
    SHARED = "shared"
    SYMBOL = "symbol"
    IDENTIFIER = "identifier"
    MODULE = "module"
    CMAKE = "cmake"
    PROGRAM = "program"
    OBJECT = "object"
    BUILT = "built"
    ANY = "any"


class Mention(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a line names what it misses or does not fit, and what to say of it.

    Attributes:
        kind: what the group `name` of `pattern` is; `any` is looked up nowhere and always says `unknown`.
        pattern: regular expression over the root line and, one by one, the `rows` lines after it. Other named groups
            may be used in the texts.
        rows: how many lines after the root line are searched too.
        above: whether the lines above the root line are searched too, the nearest first, where it fits nowhere else.
        near: expression that must be found around it, if any.
        known: what to say where a provider has the name; {name}, {provider}, {install}, {link}, {version} and {caller}
            (the innermost package of the traceback) are filled in.
        unknown: what to say where none has; nothing where this is empty.
    """

    kind: Kind
    pattern: str
    rows: int = 0
    above: bool = False
    near: str = ""
    known: str = ""
    unknown: str = ""


class EndingWeights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each fact of the end of a log weighs; positive speaks for a good end (bringup.diagnose.ending.Facts).

    Attributes:
        bias: without any fact.
        shape: distance of the last line that has the shape of an error.
        bad: distance of the last line with a word of failure.
        good: distance of the last line that reports something done.
        advice: share of the last lines that only add to what failed.
        advised: the very last line does.
        stopped: a line that says for good that a step failed comes after the last sign of success.
        failed: there is such a line at all.
        over: a sign of success comes after all that could be a root cause.
        known: a known issue comes after the last sign of success.
    """

    bias: float
    shape: float
    bad: float
    good: float
    advice: float
    advised: float
    stopped: float
    failed: float
    over: float
    known: float


class Ending(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the end of a log tells whether its errors mattered: wordings, and what each fact of the end weighs.

    Attributes:
        good: expressions for a line that reports something done.
        bad: expressions for a line that says that something went wrong.
        mere: expressions for what is taken out of a line before `bad` is sought in it.
        advice: expressions for the beginning of a line that only adds to what failed.
        weights: of a logistic regression over the facts of the end.
    """

    good: tuple[str, ...]
    bad: tuple[str, ...]
    mere: tuple[str, ...]
    advice: tuple[str, ...]
    weights: EndingWeights


class KnowledgeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One knowledge/*.toml file.

    Attributes:
        issue: known failures.
        advice: what can be said of others.
        mention: how lines name what they miss.
        provider: which package has it.
        ending: how logs end; in one file only.
    """

    issue: tuple[Issue, ...] = ()
    advice: tuple[Advice, ...] = ()
    mention: tuple[Mention, ...] = ()
    provider: tuple[Provider, ...] = ()
    ending: Ending | None = None
