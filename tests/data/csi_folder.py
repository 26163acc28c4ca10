"""Folders of short recordings for feature extraction."""

import json
from pathlib import Path

import numpy as np
import soundfile
import yaml

RATE = 16000
SPEEDS = [0.8, 1.0, 1.25]
SHARES = {
    "test_data_unseen": 0.2,
    "train-sample_unseen": 0.2,
    "test_data_split": 0.2,
    "train-sample_data_split": 0.2,
}


def write_sound(path: Path, seconds: float, seed: int = 0) -> Path:
    """A chord with some noise."""
    samples = int(seconds * RATE)
    generator = np.random.default_rng(seed)
    notes = 110 * 2 ** (generator.integers(0, 36, 3) / 12)
    tone = np.sin(2 * np.pi * notes[:, None] * np.arange(samples) / RATE).sum(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * tone + 0.01 * generator.standard_normal(samples), RATE)
    return path


def write_lines(path: Path, rows: list[dict]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, "utf-8")


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def utts(path: Path) -> list[str]:
    return [row["utt"] for row in read_lines(path)]


def make_folder(folder: Path, works: dict[str, int], **hparams) -> Path:
    """Works with a number of versions each, and hparams.yaml."""
    rows = []
    for song, versions in works.items():
        for version in range(versions):
            number = len(rows)
            wav = write_sound(folder / "wav" / f"{number}.wav", 0.5 + 0.1 * number, number)
            rows.append(
                {
                    "utt": f"u{number}",
                    "wav": str(wav),
                    "dur_s": round(0.5 + 0.1 * number, 2),
                    "song": song,
                    "version": f"v{version}",
                }
            )
    write_lines(folder / "dataset.txt", rows)
    set_hparams(folder, **hparams)
    return folder


def set_hparams(folder: Path, **hparams) -> None:
    text = yaml.safe_dump({"device": "cpu"} | hparams)
    (folder / "hparams.yaml").write_text(text, "utf-8")


def edit_lines(folder: Path, change) -> None:
    """Rewrite dataset.txt: ``change`` gets its rows and returns the new ones."""
    path = folder / "dataset.txt"
    write_lines(path, change(read_lines(path)))
