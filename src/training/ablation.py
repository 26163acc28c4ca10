"""Ablations: a base and its variants trained alike, evaluated alike, one line a run, a table."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from src.data.names import work_key
from src.errors import UserError
from src.files import read_json, write_json
from src.retrieval.collection import Collection, open_collection
from src.retrieval.confidence import bootstrap_mean
from src.retrieval.identity import json_digest
from src.retrieval.metrics import average_precisions
from src.training.ablation_contents import Contents
from src.training.ablation_plan import (
    BASE,
    COVERHUNTER,
    REMOVE,
    Plan,
    read_corpora,
    rows_of,
    slug,
)
from src.training.ablation_runs import Trained, train_coverhunter_run, train_remove_run
from src.training.method_list import open_model

logger = logging.getLogger(__name__)

RESULTS, RUNS, TRAINED = "runs.jsonl", "runs", "trained.json"
RESAMPLES = 2000
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A variant with a seed.

    Attributes:
        variant: its name.
        seed: of the training.
        rows: recordings it is trained on.
        identity: digest of all that decides its result, but for the sets.
        folder: name of its folder; runs of one identity, which differ in what they are compared
            with, share that of the first.
    """

    variant: str
    seed: int
    rows: list[Row]
    identity: str
    folder: str


class Ablation:
    """A plan with its data, and the folder of its results.

    Args:
        plan: see :func:`src.training.ablation_plan.load_plan`.
        out: folder; ``runs.jsonl`` gets a line for every run that ends.
        device: where to train and to evaluate.

    Raises:
        UserError: a list is missing, a variant leaves nothing to train on, or a work is in the
            training of one and in a set. Everything is checked before anything is trained.
    """

    def __init__(self, plan: Plan, out: Path, *, device: torch.device) -> None:
        self.plan = plan
        self.out = out
        self.device = device
        self.corpora = read_corpora(plan)
        self.sets = {name: open_collection(path, device=device) for name, path in plan.sets.items()}
        if plan.validation is None and REMOVE in map(plan.system_of, plan.names):
            raise UserError(
                "the plan lacks validation, the list by which Re-MOVE's epoch is chosen"
            )
        contents = Contents()
        self.runs = list(self._runs(contents))
        self.set_digests = {
            name: json_digest(contents.of_set(collection.rows, collection.folder))
            for name, collection in self.sets.items()
        }

    def _runs(self, contents: Contents) -> Iterator[Run]:
        """Every variant with the first seed, then with the second, ..., so that a run that is
        stopped leaves a table with all rows."""
        plan = self.plan
        chosen = {name: rows_of(plan, name, self.corpora) for name in plan.names}
        for name, rows in chosen.items():
            self._check_apart(name, rows)
        digests = {name: self._digest(name, rows, contents) for name, rows in chosen.items()}
        folders: dict[str, str] = {}
        for seed in plan.seeds:
            for name, rows in chosen.items():
                identity = json_digest([digests[name], seed])
                folder = folders.setdefault(identity, f"{slug(name)}_{seed}_{identity[:8]}")
                yield Run(name, seed, rows, identity, folder)

    def _digest(self, name: str, rows: Sequence[Row], contents: Contents) -> str:
        """Of all that decides the result of a variant, but for the seed."""
        plan, system, options = self.plan, self.plan.system_of(name), self.plan.options_of(name)
        decides = {
            "system": system,
            "options": options,
            "named": contents.of_options(options),
            "recordings": contents.of_training(system, options, rows),
            "steps": plan.steps,
        }
        if system == COVERHUNTER:
            decides["average"] = plan.average
        else:
            decides["validation"] = contents.of_training(system, options, self._validation())
            decides |= {"decay_at": plan.decay_at, "crema_version": plan.crema_version}
        return json_digest(decides)

    def _validation(self) -> list[Row]:
        return self.corpora[self.plan.validation] if self.plan.validation else []

    def _check_apart(self, name: str, rows: Sequence[Row]) -> None:
        works = _works(rows)
        held_out = {f"the set {key}": collection.rows for key, collection in self.sets.items()}
        if self.plan.system_of(name) == REMOVE:
            held_out["validation"] = self._validation()
        for where, others in held_out.items():
            if shared := works & _works(others):
                raise UserError(
                    f"variant {name!r}: {len(shared)} of its works are in {where}, such as "
                    f"{min(shared)}; hold out works that nothing is trained on"
                )

    def work(self, *, only: Sequence[str] = ()) -> None:
        """Train and evaluate what is not done yet.

        Args:
            only: names of variants; none takes all.

        Raises:
            UserError: there is no such variant, or a run cannot be made.
        """
        for name in only:
            if name not in self.plan.names:
                raise UserError(f"the plan has no variant {name!r}; it has {self.plan.names}")
        done = self._done()
        for run in self.runs:
            before = done.get(run.identity, {"folder": f"{RUNS}/{run.folder}", "sets": {}})
            missing = [name for name in self.sets if name not in before["sets"]]
            if (only and run.variant not in only) or not missing:
                continue
            logger.info("%s, seed %d: %d recordings", run.variant, run.seed, len(run.rows))
            line = self._finish(run, before["folder"], missing)
            self._append(line)
            done[run.identity] = {**line, "sets": before["sets"] | line["sets"]}

    def _finish(self, run: Run, name: str, sets: Sequence[str]) -> dict[str, Any]:
        """The line of a run in the folder of that name: train it (or find that it is trained) and
        evaluate it on sets."""
        folder = self.out / name
        note = folder / TRAINED
        if not note.is_file():
            start = perf_counter()
            trained = self._train(run, folder)
            seconds = round(perf_counter() - start, 1)
            model = str(trained.model.relative_to(folder))
            write_json({"model": model, "steps": trained.steps, "seconds": seconds}, note)
        trained = read_json(note)
        method = open_model(folder / trained["model"], device=self.device)
        return {
            "variant": run.variant,
            "seed": run.seed,
            "identity": run.identity,
            "works": len(_works(run.rows)),
            "recordings": len(run.rows),
            "steps": trained["steps"],
            "seconds": trained["seconds"],
            "folder": name,
            "sets": {
                one: {"list": self.set_digests[one], **evaluate(method, self.sets[one])}
                for one in sets
            },
        }

    def _train(self, run: Run, folder: Path) -> Trained:
        plan = self.plan
        options = plan.options_of(run.variant)
        common = {"steps": plan.steps, "seed": run.seed, "device": self.device}
        if plan.system_of(run.variant) == COVERHUNTER:
            return train_coverhunter_run(folder, run.rows, options, average=plan.average, **common)
        return train_remove_run(
            folder,
            run.rows,
            self._validation(),
            options,
            decay_at=plan.decay_at,
            crema_version=plan.crema_version,
            **common,
        )

    def _append(self, line: Mapping[str, Any]) -> None:
        path = self.out / RESULTS
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, 2)
                if file.read(1) != b"\n":  # a line that was cut off stands alone
                    file.write(b"\n")
            file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")

    def results(self) -> dict[tuple[str, int], dict[str, Any]]:
        """Lines of the runs of this plan by (variant, seed), with the figures of all sets; figures
        of sets that have changed since are left out of them."""
        done = self._done()
        return {
            (run.variant, run.seed): {**done[run.identity], "variant": run.variant}
            for run in self.runs
            if run.identity in done
        }

    def _done(self) -> dict[str, dict[str, Any]]:
        """All lines of one identity as one, by identity."""
        path = self.out / RESULTS
        found: dict[str, dict[str, Any]] = {}
        for text in path.read_text("utf-8").split("\n") if path.is_file() else ():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # empty, or cut off when a run was stopped
            known = found.get(line["identity"], {}).get("sets", {})
            sets = {
                name: figures
                for name, figures in line["sets"].items()
                if figures["list"] == self.set_digests.get(name)
            }
            found[line["identity"]] = {**line, "sets": known | sets}
        return found

    def table(self, *, resamples: int = RESAMPLES, seed: int = 0) -> str:
        """Means over seeds, and differences with 95 % intervals (bootstrap over works), Markdown.

        Differences are between the seeds that both have.
        """
        results = self.results()
        names = list(self.sets)
        head = ["variant", "works", "recordings", "steps", "seeds"]
        for name in names:
            head += [f"{name}: mAP", "difference"]
        lines = ["| " + " | ".join(head) + " |", "| --- |" + " ---: |" * (len(head) - 1)]
        for variant in self.plan.names:
            runs = {s: line for (name, s), line in results.items() if name == variant}
            if not runs:
                continue
            first = next(iter(runs.values()))
            against = self.plan.choice(variant).against
            cells = [variant if against == BASE else f"{variant} (against {against})"]
            cells += [str(first[key]) for key in ("works", "recordings", "steps")]
            cells.append(str(len(runs)))
            others = {s: line for (name, s), line in results.items() if name == against}
            for name in names:
                cells += self._cells(name, variant, runs, others, resamples, seed)
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def _cells(
        self,
        name: str,
        variant: str,
        runs: Mapping[int, Mapping[str, Any]],
        others: Mapping[int, Mapping[str, Any]],
        resamples: int,
        seed: int,
    ) -> list[str]:
        """Mean (lowest to highest seed), and the difference with its interval."""
        figures = [line["sets"][name]["mAP"] for line in runs.values() if name in line["sets"]]
        if not figures:
            return ["", ""]
        mean = f"{np.mean(figures):.3f}"
        if len(figures) > 1:
            mean += f" ({min(figures):.3f} to {max(figures):.3f})"
        both = [s for s in runs if s in others]
        both = [s for s in both if name in runs[s]["sets"] and name in others[s]["sets"]]
        if variant == BASE or not both:
            return [mean, ""]
        mine, theirs = (
            np.mean([_precisions(side[s]["sets"][name]) for s in both], axis=0)
            for side in (runs, others)
        )
        difference = mine - theirs
        interval = bootstrap_mean(
            difference,
            self.sets[name].labels,
            generator=np.random.default_rng(seed),
            resamples=resamples,
        )
        text = f"{np.nanmean(difference):+.3f}"
        return [
            mean,
            text if interval is None else f"{text} ({interval[0]:+.3f} to {interval[1]:+.3f})",
        ]


def evaluate(method: Any, collection: Collection) -> dict[str, Any]:
    """mAP of a method on a set, and the average precision of each query (None: no version)."""
    described = method.describe_set(collection)
    precisions = average_precisions(method.rank(described, collection.labels))
    return {
        "mAP": round(float(np.nanmean(precisions)), 6),
        "average_precision": [None if np.isnan(p) else round(float(p), 6) for p in precisions],
    }


def _works(rows: Sequence[Row]) -> set[str]:
    return {work_key(row.get("song")) for row in rows}


def _precisions(figures: Mapping[str, Any]) -> np.ndarray:
    return np.array(figures["average_precision"], dtype=float)  # None becomes NaN
