# /// script
# requires-python = ">=3.11"
# dependencies = ["msgspec", "packaging", "scikit-learn"]
# ///
"""Fit the weights of knowledge/ending.toml to the logs that are kept with the tests.

`uv run scripts/fit_ending.py` prints them, and of the logs that were left out of a fit (a tenth at a time) how many it
judges wrongly.
"""

from __future__ import annotations

import gzip
import io
import sys
import tomllib
from dataclasses import asdict, fields
from pathlib import Path

import msgspec
from sklearn.linear_model import LogisticRegression  # type: ignore[import-not-found]
from sklearn.pipeline import make_pipeline  # type: ignore[import-not-found]
from sklearn.preprocessing import StandardScaler  # type: ignore[import-not-found]

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from bringup.diagnose.collect import Collector  # noqa: E402
from bringup.diagnose.ending import Facts, facts_of, likelihood  # noqa: E402
from bringup.diagnose.evidence import EVEN  # noqa: E402
from bringup.diagnose.knowledge import Knowledge, load_knowledge  # noqa: E402
from bringup.model.knowledge import EndingWeights  # noqa: E402

CLEAN_COUNTS = 3.0  # a false alarm on one of the few clean logs counts as much as this many failures not seen
STRENGTH = 0.3  # of the penalty on the weights of standardised facts, inverse
FOLDS = 10

Row = tuple[str, bool, Facts]
NAMES = ("bias", *(field.name for field in fields(Facts)))


def main() -> None:
    """Print the weights, and how well they hold for logs that they were not fitted to."""
    rows = read_rows(load_knowledge())
    missed, alarms = [], []
    for fold in range(FOLDS):
        weights = fit([row for at, row in enumerate(rows) if at % FOLDS != fold])
        for name, clean, facts in rows[fold::FOLDS]:
            well = likelihood(weights, facts) > EVEN
            missed += [name] * (well and not clean)
            alarms += [name] * (clean and not well)
    count = sum(clean for _, clean, _ in rows)
    print(f"# {len(rows) - count} failing logs, {count} clean ones that have errors; of those left out of the fit")
    print(f"# {len(missed)} failing ones were taken for clean ({', '.join(missed)})")
    print(f"# {len(alarms)} clean ones for failing ({', '.join(alarms)})")
    print("[ending.weights]")
    for name, value in msgspec.structs.asdict(fit(rows)).items():
        print(f"{name} = {value:.3f}")


def read_rows(knowledge: Knowledge) -> list[Row]:
    """Return name, whether it is clean, and facts of each log that has errors."""
    assert knowledge.ending is not None
    rows: list[Row] = []
    for name, answer, data in kept_logs():
        collector = Collector(knowledge)
        reader = collector.read(io.BytesIO(data))
        silent = answer in knowledge.issues and knowledge.issues[answer].issue.silent
        if not collector.evidence.candidates or silent:
            continue
        rows.append((name, answer == "clean", facts_of(knowledge.ending, reader.tail, collector.evidence)))
    return rows


def kept_logs() -> list[tuple[str, str, bytes]]:
    """Return name, right answer and content of each log that is kept with the tests and of each excerpt."""
    logs = []
    for folder in (ROOT / "tests/unit/diagnose/logs", ROOT / "tests/unit/diagnose/blind"):
        expected = tomllib.loads((folder / "expected.toml").read_text(encoding="utf-8"))
        for name, want in expected.items():
            answer = want["answer"] if isinstance(want["answer"], str) else want["answer"][0]
            plain = folder / f"{name}.log"
            data = plain.read_bytes() if plain.exists() else gzip.decompress((folder / f"{name}.log.gz").read_bytes())
            logs.append((name, answer, data))
    excerpts = sorted((ROOT / "knowledge/excerpts").glob("*.log"))
    return [*logs, *((path.stem, path.stem.partition(".")[0], path.read_bytes()) for path in excerpts)]


def fit(rows: list[Row]) -> EndingWeights:
    """Return the weights of a logistic regression."""
    model = make_pipeline(StandardScaler(), LogisticRegression(class_weight={0: 1.0, 1: CLEAN_COUNTS}, C=STRENGTH))
    model.fit([list(asdict(facts).values()) for _, _, facts in rows], [int(clean) for _, clean, _ in rows])
    scale, found = model[0], model[1]
    weights = found.coef_[0] / scale.scale_
    values = (found.intercept_[0] - weights @ scale.mean_, *weights)
    return EndingWeights(**dict(zip(NAMES, map(float, values), strict=True)))


if __name__ == "__main__":
    main()
