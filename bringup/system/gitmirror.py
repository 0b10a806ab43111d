"""Fetches exact commits into bare mirrors that are kept in the cache and shared by all builds.

A mirror holds single commits without history. Our own refs, written last, say which of them are complete:
`refs/bringup/commits/<id>` for a commit, `refs/bringup/tags/<tag>` for what a tag meant when it was first fetched.
What has no ref is never used, so an interrupted fetch leaves nothing that a later run would trust.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bringup.errors import FetchError
from bringup.system.gitcommand import (
    FULL_ID,
    Failure,
    GitAccess,
    check_space,
    classify,
    git,
    last_words,
    locked,
    remote,
)
from bringup.system.giturl import check_url, host_of, mirror_name, redact, rewrite

COMMIT_REF = "refs/bringup/commits/"
TAG_REF = "refs/bringup/tags/"
INCOMING_REF = "refs/bringup/incoming"


@dataclass(frozen=True, kw_only=True, slots=True)
class ResolvedCommit:
    """One commit that a mirror holds completely.

    Attributes:
        url: the repository's address as the recipe has it, without credentials.
        commit: full commit id.
        tree: id of the commit's tree; the same for commits with the same content.
        tag: the tag it was asked by, empty if by commit alone.
        mirror: the bare repository that holds it.
        downloaded: whether the network was used for it in this call.
    """

    url: str
    commit: str
    tree: str
    tag: str = ""
    mirror: Path
    downloaded: bool = False


def mirror_path(access: GitAccess, url: str) -> Path:
    """Return where the mirror of `url` is or would be; rewriting does not change it."""
    return access.mirrors / mirror_name(url)


def has_commit(access: GitAccess, url: str, *, commit: str | None, tag: str | None = None) -> bool:
    """Tell whether the mirror of `url` holds the commit (or what the tag meant at its first fetch) completely."""
    ref = f"{COMMIT_REF}{commit}" if commit else f"{TAG_REF}{tag}"
    mirror = mirror_path(access, url)
    return (mirror / "HEAD").exists() and _ref(access, mirror, ref) is not None


def _ref(access: GitAccess, mirror: Path, ref: str) -> str | None:
    status, lines = git(access, mirror, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", log=False)
    return lines[-1] if status == 0 and lines and FULL_ID.match(lines[-1]) else None


def fetch_commit(url: str, *, commit: str | None, tag: str | None = None, access: GitAccess) -> ResolvedCommit:
    """Make sure that the mirror of `url` holds one exact commit, over the network only if it does not yet.

    Args:
        url: address as the recipe has it; `access.rewrites` are applied here.
        commit: full commit id. None: what `tag` means, recorded at the first fetch.
        tag: a tag that must mean `commit` whenever the server is asked.
        access: cache, environment, mirrors, retries.

    Raises:
        FetchError: out of reach, no such commit, a tag that moved, or offline and not in the cache.
        StorageError: the cache cannot be written.
    """
    shown = redact(check_url(url))
    if commit is not None and not FULL_ID.match(commit):
        msg = f"{shown}: {commit!r} is not a full commit id"
        raise FetchError(msg, hint="write all 40 characters, lower case")
    if commit is None and not tag:
        msg = f"{shown}: neither a commit nor a tag is named, and a default branch is never used"
        raise FetchError(msg, hint="name a commit in the recipe")
    mirror = mirror_path(access, url)
    with locked(access, mirror) as lock:
        _clear_leftovers(mirror)
        wanted = commit or _commit_of_tag(access, url, mirror, tag or "")
        downloaded = _ref(access, mirror, f"{COMMIT_REF}{wanted}") is None
        if downloaded:
            if access.offline:
                raise missing_offline([f"{shown} {tag or ''} {wanted}".replace("  ", " ")])
            if commit and tag:
                _check_tag(access, url, tag, commit)
            _create(access, mirror)
            _download(access, url, mirror, wanted, tag=tag, lock=lock)
            _record(access, mirror, f"{COMMIT_REF}{wanted}", wanted)
        if tag:
            _record(access, mirror, f"{TAG_REF}{tag}", wanted)
        tree = tree_of(access, mirror, wanted)
    return ResolvedCommit(url=shown, commit=wanted, tree=tree, tag=tag or "", mirror=mirror, downloaded=downloaded)


def missing_offline(names: Sequence[str]) -> FetchError:
    """Return the error for sources that an offline run would need and the cache does not hold."""
    listed = "".join(f"\n    {name}" for name in names)
    return FetchError(f"offline, and the cache does not hold{listed}", hint="run once without --offline")


def tree_of(access: GitAccess, mirror: Path, commit: str) -> str:
    """Return the id of a commit's tree."""
    status, lines = git(access, mirror, "rev-parse", "--verify", f"{commit}^{{tree}}", log=False)
    if status != 0 or not lines or not FULL_ID.match(lines[-1]):
        msg = f"the mirror {mirror} is damaged: {last_words(lines)}"
        raise FetchError(msg, hint=f"remove {mirror} and run again")
    return lines[-1]


def resolve_tag(url: str, tag: str, *, access: GitAccess) -> str | None:
    """Ask the server which commit a tag means now; None if it has no such tag.

    Raises:
        FetchError: out of reach.
    """
    names = (f"refs/tags/{tag}", f"refs/tags/{tag}^{{}}")
    status, lines = _insist(access, None, url, "ls-remote", "{url}", *names)
    if status != 0:
        raise _unreachable(access, url, f"tag {tag}", lines)
    refs = [line.split("\t", 1) for line in lines if re.match(r"^[0-9a-f]{40,64}\t", line)]
    found = {name: commit for commit, name in refs}
    return found.get(names[1]) or found.get(names[0])


def _commit_of_tag(access: GitAccess, url: str, mirror: Path, tag: str) -> str:
    """Return what the tag meant at the first fetch; ask the server if this is the first, or if it still says so."""
    known = _ref(access, mirror, f"{TAG_REF}{tag}") if (mirror / "HEAD").exists() else None
    if access.offline:
        if known is None:
            raise missing_offline([f"{redact(url)} tag {tag}"])
        return known
    if known is not None:
        _check_tag(access, url, tag, known)
        return known
    now = resolve_tag(url, tag, access=access)
    if now is None:
        msg = f"{redact(url)} has no tag {tag}"
        raise FetchError(msg, hint="look the tag up at the project, or name the commit in the recipe")
    return now


def _check_tag(access: GitAccess, url: str, tag: str, commit: str) -> None:
    """Raise if the server says that the tag means another commit; a server that lacks the tag proves nothing."""
    now = resolve_tag(url, tag, access=access)
    if now is None:
        access.message(f"{redact(url)} has no tag {tag}: going by the commit {commit} alone")
    elif now != commit:
        msg = f"{redact(url)}: tag {tag} has moved from {commit} to {now}"
        hint = "find out why before trusting either; to go with the new one, change the commit in the recipe"
        raise FetchError(msg, hint=hint)


def _download(access: GitAccess, url: str, mirror: Path, commit: str, *, tag: str | None, lock: int) -> None:
    """Bring `commit` into the mirror: by its id, by the tag, or, from old servers, with everything they show."""
    ways = [("by commit", ("--depth=1", "{url}", f"+{commit}:{INCOMING_REF}"))]
    if tag:
        ways.append(("by tag", ("--depth=1", "{url}", f"+refs/tags/{tag}:{INCOMING_REF}")))
    everything = ("+refs/heads/*:refs/bringup/all/heads/*", "+refs/tags/*:refs/bringup/all/tags/*")
    ways.append(("with all branches and tags", ("{url}", *everything)))
    lines: list[str] = []
    for name, words in ways:
        fetch = ("fetch", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--force", *words)
        status, lines = _insist(access, mirror, url, *fetch, lock=lock)
        if status == 0 and _ref(access, mirror, commit) is not None:
            return
        check_space(lines, mirror)
        if status != 0 and classify("\n".join(lines)) is not Failure.REFUSED:
            raise _unreachable(access, url, f"commit {commit}", lines)
        if any("upload-pack: not our ref" in line for line in lines):
            break  # a server that hands out any commit it has says that it has not got this one
        access.message(f"{redact(url)} does not give {commit[:12]} {name}: {last_words(lines)}")
    msg = f"{redact(url)} has no commit {commit}"
    raise FetchError(msg, hint="check the commit in the recipe, or name a --mirror that has it", log=_log(access))


def _insist(
    access: GitAccess, mirror: Path | None, url: str, *args: str, lock: int | None = None
) -> tuple[int, list[str]]:
    """Run a command against a server, again and again for failures that may pass."""
    wait = access.backoff
    fds = () if lock is None else (lock,)
    for attempt in range(access.retries + 1):
        status, lines = remote(access, mirror, url, *args, pass_fds=fds)
        if status == 0 or attempt == access.retries or classify("\n".join(lines)) is not Failure.PASSING:
            return status, lines
        access.message(f"{redact(url)}: {last_words(lines)}; trying again in {wait:g} s")
        time.sleep(wait)
        wait *= 2
    raise AssertionError


def _unreachable(access: GitAccess, url: str, what: str, lines: Sequence[str]) -> FetchError:
    host = host_of(rewrite(url, access.rewrites))
    msg = f"cannot fetch {what} of {redact(url)}: {last_words(lines)}"
    return FetchError(msg, hint=reach_hint(host), log=_log(access))


def reach_hint(host: str) -> str:
    """Return what to do when a host cannot be reached."""
    if not host:
        return "check the path"
    return (
        f"if {host} cannot be reached from here: --mirror https://{host}/=ADDRESS names a copy, "
        "and --stack kernels builds from package registries alone"
    )


def _log(access: GitAccess) -> str:
    return str(access.log or "")


def _create(access: GitAccess, mirror: Path) -> None:
    """Make the bare repository, in a temporary folder that is renamed when complete."""
    if (mirror / "HEAD").exists():
        return
    shutil.rmtree(mirror, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{mirror.name}.", dir=mirror.parent))
    fresh.chmod(0o755)
    status, lines = git(access, None, "init", "--quiet", "--bare", "--template=", fresh)
    if status != 0:
        shutil.rmtree(fresh, ignore_errors=True)
        msg = f"cannot make the mirror {mirror}: {last_words(lines)}"
        raise FetchError(msg, log=_log(access))
    fresh.replace(mirror)


def _clear_leftovers(mirror: Path) -> None:
    """Remove what a killed git left; whoever holds the lock knows that no git works here."""
    if not mirror.exists():
        return
    for pattern in ("*.lock", "refs/**/*.lock", "objects/pack/tmp_*", "objects/tmp_*", "objects/??/tmp_*"):
        for path in mirror.glob(pattern):
            path.unlink(missing_ok=True)


def _record(access: GitAccess, mirror: Path, ref: str, commit: str) -> None:
    status, lines = git(access, mirror, "update-ref", "--no-deref", ref, commit, log=False)
    if status != 0:
        msg = f"cannot record {commit} in the mirror {mirror}: {last_words(lines)}"
        raise FetchError(msg, log=_log(access))


def forget(access: GitAccess, mirror: Path) -> None:
    """Remove a damaged mirror, so that the next fetch starts afresh."""
    with locked(access, mirror):
        shutil.rmtree(mirror, ignore_errors=True)
