"""A folder with dataset.txt -> CQT features, full.txt and its split, stage by stage.

========  ===================================================================================
stage     writes
========  ===================================================================================
0         ``data.init.txt``: dataset.txt sorted by utt, without repeated utts
3         ``sp_aug/`` and ``sp_aug.txt``: copies at other tempi (with ``aug_speed_mode``)
4         ``cqt_feat/`` and ``full.txt``
5         copies with noise in ``full.txt`` (with ``add_noise``, if its list of noise exists)
8         ``song_id`` and ``version_id`` in ``full.txt``; the ``.map`` files
13        ``train.txt``, ``train-sample.txt`` (validation), ``dev.txt`` (test)
========  ===================================================================================

Every run writes the text files anew, so that they fit dataset.txt and hparams.yaml as they are
now; sound and features, which take the time, are made again only where their source has changed.
A run may begin at a later stage, if what the earlier ones left fits.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from src.audio.cqt import CQTSpec
from src.audio.sound_augment import changes_tempo, require_sox
from src.data.csi_noise import NoiseSettings, add_noise_copies
from src.data.csi_stages import (
    RECORDS,
    TEMPO_FOLDER,
    Workshop,
    extract_features,
    init_rows,
    make_tempo_copies,
    open_feature_folder,
)
from src.data.manifest import read_manifest, write_manifest
from src.data.maps import add_ids, write_maps
from src.data.splits import NOISE_PREFIX, SplitShares, split_rows
from src.errors import UserError
from src.files import read_json, write_json

STAGES = (0, 3, 4, 5, 8, 13)
DATASET, INIT, TEMPO, FULL = "dataset.txt", "data.init.txt", "sp_aug.txt", "full.txt"
TRAIN, VALIDATION, TEST = "train.txt", "train-sample.txt", "dev.txt"
SPLIT_KEYS = (
    "test_data_unseen",
    "train-sample_unseen",
    "test_data_split",
    "train-sample_data_split",
)
RECORD = Path(RECORDS, "stages.json")  # which state of its input every stage has worked on


@dataclass(frozen=True)
class ExtractSettings:
    """What hparams.yaml asks for.

    Attributes:
        spec: the CQT.
        speeds: tempo factors, in their order; None makes no copies and leaves ``dur_s`` alone.
        noise: None for no noise.
        shares: of the split; None for no split.
        seed: of the split.
    """

    spec: CQTSpec = field(default_factory=CQTSpec)
    speeds: tuple[int | float, ...] | None = None
    noise: NoiseSettings | None = None
    shares: SplitShares | None = None
    seed: int = 1


@dataclass
class Outcome:
    """What a run has done.

    Attributes:
        lines: number of lines in each manifest written.
        failures: recording -> why it (or a copy of it) was left out.
        notes: sentences for the person.
    """

    lines: dict[Path, int] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def extract_csi(
    folder: str | os.PathLike,
    settings: ExtractSettings,
    *,
    start_stage: int = 0,
    end_stage: int = STAGES[-1],
    workers: int = 1,
    device: str = "cpu",
    progress: bool = False,
) -> Outcome:
    """Run the stages from ``start_stage`` to ``end_stage`` on a folder.

    Args:
        folder: holds dataset.txt; the paths in what is written begin with it as given.
        settings: see there.
        start_stage: the first stage; stage 0 always runs, it takes no time.
        end_stage: the last stage.
        workers: recordings worked on at the same time.
        device: of the CQT.
        progress: show progress bars.

    Raises:
        UserError: dataset.txt or what an earlier stage should have left is missing or does not
            fit, SoX is missing, the features were made with another CQT, or not a single
            recording can be used. Before any of these nothing is written but text files.
    """
    return _Run(Path(folder), settings, start_stage, end_stage, workers, device, progress).run()


class _Run:
    def __init__(
        self,
        folder: Path,
        settings: ExtractSettings,
        start: int,
        end: int,
        workers: int,
        device: str,
        progress: bool,
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.stages = [stage for stage in STAGES if start <= stage <= end]
        if not self.stages:
            raise UserError(f"no stage lies between {start} and {end}; stages are {STAGES}")
        self.shop = Workshop(folder, workers, device, progress)
        self.outcome = Outcome(failures=self.shop.failures)
        self.record: dict[str, str] = {}
        if (folder / RECORD).exists():
            found = read_json(folder / RECORD)
            self.record = found if isinstance(found, dict) else {}

    def run(self) -> Outcome:
        rows = self._init()
        states = self._states(rows)
        copies = any(map(changes_tempo, self.settings.speeds or ()))
        if 3 in self.stages and copies and not self._tempo_copies_exist(rows):
            require_sox()
        if 4 in self.stages or 5 in self.stages:
            open_feature_folder(self.shop, self.settings.spec)
        steps = {3: self._tempo, 4: self._features, 5: self._noise, 8: self._ids}
        done = 0
        for stage, step in steps.items():
            if stage in self.stages:
                rows = step(self._input(rows, done, states))
                done = stage
                self._note_stage(stage, states)
        if 13 in self.stages:
            self._split(self._input(rows, done, states), done, states)
        return self.outcome

    # --- the stages

    def _init(self) -> list[dict[str, Any]]:
        path = self.folder / DATASET
        given = read_manifest(path, required=("utt", "song"), unique=False)
        rows = init_rows(given)
        if len(rows) < len(given):
            self.outcome.notes.append(
                f"{path}: {len(given) - len(rows)} lines repeat an utt; the first of each is kept"
            )
        self._write(INIT, rows)
        return rows

    def _tempo(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        speeds = self.settings.speeds
        if speeds is None:
            if self.record.pop("3", None):  # ours, of hparams that are no more
                (self.folder / TEMPO).unlink(missing_ok=True)
            return [dict(row) for row in rows]
        copies = make_tempo_copies(rows, speeds, self.settings.spec.sample_rate, self.shop)
        without = sum(not row.get("wav") for row in rows)
        if without and any(map(changes_tempo, speeds)):
            self.outcome.notes.append(
                f"{without} lines bring features without a recording, so there are no copies of "
                "them at other tempi"
            )
        self._require_some(copies)
        self._write(TEMPO, copies)
        return copies

    def _features(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        full = extract_features(rows, self.settings.spec, self.shop)
        self._require_some(full)
        self._write(FULL, full)
        return full

    def _noise(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        # A second run of this stage alone finds the copies of the first.
        utts = {row["utt"] for row in rows}
        copies = {NOISE_PREFIX + utt for utt in utts}
        clean = [dict(row) for row in rows if row["utt"] not in copies]
        noise = self.settings.noise
        if noise is not None and not Path(noise.path).exists():
            self.outcome.notes.append(
                f"no noise is added, because the list of noise {noise.path} does not exist"
            )
            noise = None
        if noise is not None:
            clean = add_noise_copies(clean, noise, self.settings.spec, self.shop)
        self._write(FULL, clean)
        return clean

    def _ids(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        full = add_ids(rows)
        write_maps(full, self.folder)
        self._write(FULL, full)
        return full

    def _split(
        self, rows: Sequence[Mapping[str, Any]], done: int, states: Mapping[int, str]
    ) -> None:
        ours = self.record.pop("13", None)
        if any("song_id" not in row for row in rows):
            raise UserError(f"{self.folder / FULL} has no song_id yet; run stage 8 before 13")
        shares = self.settings.shares
        if shares is None:
            self.outcome.notes.append(
                f"no split into {TRAIN}, {VALIDATION} and {TEST}, because hparams.yaml has none "
                f"of the keys {', '.join(SPLIT_KEYS)}"
            )
            parts: dict[str, list] = {TRAIN: [], VALIDATION: [], TEST: []}
        else:
            split = split_rows(rows, shares, seed=self.settings.seed)
            parts = {TRAIN: split.train, VALIDATION: split.validation, TEST: split.test}
        for name, part in parts.items():
            if part:
                self._write(name, part)
            elif ours or shares is not None:
                # What an earlier run left here would not fit the rest.
                (self.folder / name).unlink(missing_ok=True)
        if shares is not None:
            self._note_stage(13, states)
        else:
            write_json(self.record, self.folder / RECORD)

    # --- what one stage leaves for the next

    def _states(self, rows: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        """A digest of all that decides the result of each stage."""
        settings = self.settings
        states = {0: _digest(*map(json.dumps, rows))}
        states[3] = _digest(states[0], settings.speeds)
        states[4] = _digest(states[3], settings.spec)
        states[5] = _digest(states[4], settings.noise)
        states[8] = states[4]
        states[13] = _digest(states[8], settings.shares, settings.seed)
        return states

    def _input(
        self, rows: Sequence[Mapping[str, Any]], done: int, states: Mapping[int, str]
    ) -> list[dict[str, Any]]:
        """What the next stage works on: the rows of this run, or what an earlier run left."""
        first = self.stages[0]
        if done or first in (0, 3):
            return [dict(row) for row in rows]
        before = 3 if first == 4 else 4
        if before == 3 and self.settings.speeds is None:
            return [dict(row) for row in rows]
        path = self.folder / (TEMPO if before == 3 else FULL)
        if not path.exists():
            raise UserError(f"{path} does not exist; start at stage {before} or earlier")
        # A file without record is a person's own, or from another program: it is taken as it is.
        if self.record.get(str(before), states[before]) != states[before]:
            raise UserError(
                f"{path} was made from another {DATASET} or with other hparams; start at stage "
                "0 (without --start_stage)"
            )
        return read_manifest(path, required=("utt", "song"))

    def _note_stage(self, stage: int, states: Mapping[int, str]) -> None:
        self.record[str(stage)] = states[stage]
        write_json(self.record, self.folder / RECORD)

    def _tempo_copies_exist(self, rows: Sequence[Mapping[str, Any]]) -> bool:
        return all(
            Path(self.shop.path(TEMPO_FOLDER, f"sp_{speed}-{row['utt']}.wav")).is_file()
            for row in rows
            if row.get("wav")
            for speed in self.settings.speeds or ()
            if changes_tempo(speed)
        )

    def _require_some(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if not rows:
            reason = next(iter(self.shop.failures.values()), "there is none")
            raise UserError(f"none of the recordings in {self.folder} can be used: {reason}")

    def _write(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        path = self.folder / name
        write_manifest(rows, path)
        self.outcome.lines[path] = len(rows)


def _digest(*parts: Any) -> str:
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()[:16]
