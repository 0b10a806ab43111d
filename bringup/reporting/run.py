"""The whole of `report`: examine, read the log's end, arrange, remove."""

from __future__ import annotations

import gzip
import platform
from pathlib import Path

from bringup.config.paths import PACKAGE
from bringup.diagnose.model import Diagnosis
from bringup.doctor.facts import Question
from bringup.doctor.gather import gather
from bringup.doctor.places import Places
from bringup.doctor.table import examine
from bringup.reporting import last_command, make_redactor, upstream_named, write_issue
from bringup.reporting.content import Material
from bringup.system.awskeys import secrets_of

# Where a command may stand in a log of ours: it is written before its output.
HEAD_BYTES = 1 << 20


def make_issue(
    question: Question,
    places: Places,
    *,
    upstream: str = "",
    diagnosis: Diagnosis | None = None,
    command: str = "",
    target: Path | None = None,
) -> str:
    """Return an issue as markdown.

    Args:
        question: the target; its environment is described.
        places: where to look.
        upstream: project whose template is followed; "" for none.
        diagnosis: of the failed log.
        command: what fails; the last command of the log if "".
        target: the target's folder in the build directory, whose wheels are named by hash.

    Raises:
        UsageError: there is no template of this name, or the environment is none.
    """
    template = upstream_named(upstream)
    facts = gather(question, places)
    material = Material(
        facts=facts,
        report=examine(facts),
        diagnosis=diagnosis,
        command=command or (_command_of(Path(diagnosis.log)) if diagnosis and diagnosis.log != "-" else ""),
        wheels=tuple(target.glob("work/*/out")) if target else (),
        patches=[patch.path for package in question.packages.values() for patch in package.patches],
    )
    folders = {places.build: "<build>", places.cache: "<cache>", PACKAGE: "<bringup>"}
    if question.environment is not None:
        folders[question.environment.expanduser().absolute()] = "<environment>"
    secrets = secrets_of(places.env)
    redact = make_redactor(places.env, host=platform.node(), folders=folders, secrets=secrets)
    return write_issue(material, template, redact)


def _command_of(log: Path) -> str:
    try:
        if log.suffix == ".gz":
            with gzip.open(log) as stream:
                head = stream.read(HEAD_BYTES)
        else:
            with log.open("rb") as plain:
                head = plain.read(HEAD_BYTES)
    except (OSError, EOFError):
        return ""
    return last_command(head.decode("utf-8", "replace"))
