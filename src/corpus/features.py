"""What is kept of a rendered version instead of its sound: the features the systems train on."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from src.corpus.note_activity import Played
from src.files import atomic_path

Feature = Literal["crema_pcp-0.1.0", "crema_pcp-0.2.0", "cqt", "note_pcp", "note_cqt"]
FEATURES: tuple[str, ...] = get_args(Feature)
NOTE_FEATURE: Feature = "note_pcp"  # needs no sound
NOTE_CQT: Feature = "note_cqt"  # needs no sound, but SoundFonts of which the notes are known

_CREMA_KEYS = {"crema_pcp-0.1.0": "crema_pcp", "crema_pcp-0.2.0": "crema_pcp_020"}


def need_sound(features: Sequence[str]) -> bool:
    """Whether one of these features is taken from sound."""
    return any(name not in (NOTE_FEATURE, NOTE_CQT) for name in features)


class FeatureWriter:
    """Extracts features of versions and writes them; the networks are loaded once.

    cremaPCP, and what imitates it from the notes, go into one compressed ``.npz`` as float16. The
    CQT, of which training reads random pieces, goes beside it into ``.cqt.npy`` in steps of half a
    decibel, one byte a value; the one made from notes into ``.note_cqt.npy``.

    Args:
        features: what is kept.
        banks: files of notes by SoundFont, for ``note_cqt``.
    """

    def __init__(self, features: Sequence[str], *, banks: Mapping[str, Path] | None = None) -> None:
        self.features = tuple(features)
        self._banks = banks or {}
        self._extractors: dict[str, Any] = {}

    def write(
        self,
        signal: np.ndarray | None,
        sample_rate: int,
        path: Path,
        *,
        played: Played | None = None,
    ) -> dict[str, Any]:
        """Write the features of one version.

        Args:
            signal: ``(N,)`` mono float32; None where no feature needs sound.
            sample_rate: Hz.
            path: the ``.npz``; the CQT's name is made from it.
            played: the notes, for ``note_pcp`` and ``note_cqt``.

        Returns:
            What the manifest says of them: ``features`` (cremaPCP), ``feat`` and ``feat_len``
            (CQT), as far as they are kept. Beside the CQT of the sound, that of the notes is
            ``note_feat``.
        """
        row: dict[str, Any] = {}
        arrays = {
            _CREMA_KEYS[name]: self._extractor(name)(signal, sample_rate).astype(np.float16)
            for name in self.features
            if name in _CREMA_KEYS
        }
        if NOTE_FEATURE in self.features:
            arrays[NOTE_FEATURE] = self._extractor(NOTE_FEATURE)(played).astype(np.float16)
        if arrays:
            with atomic_path(path) as temporary:
                np.savez_compressed(temporary, **arrays)
            row["features"] = path.as_posix()
        if NOTE_CQT in self.features:
            target, length = self._write_cqt(NOTE_CQT, path, played)
            row |= {"feat": target, "feat_len": length}
        if "cqt" in self.features:
            if "feat" in row:
                row["note_feat"] = row["feat"]
            target, length = self._write_cqt("cqt", path, signal, sample_rate)
            row |= {"feat": target, "feat_len": length}
        return row

    def _write_cqt(self, name: str, path: Path, *arguments: Any) -> tuple[str, int]:
        """Path and number of frames."""
        from src.data.cqt_features import encode_cqt, save_cqt, write_spec

        extract = self._extractor(name)
        features = extract(*arguments)
        target = path.with_suffix(f".{name}.npy")
        save_cqt(encode_cqt(features), target)
        write_spec(target.parent, extract.spec)
        return target.as_posix(), len(features)

    def _extractor(self, name: str) -> Any:
        """The extractor of a feature; torch is loaded only where one is needed."""
        if name not in self._extractors:
            if name == "cqt":
                from src.audio.cqt import Audio2CQT

                self._extractors[name] = Audio2CQT()
            elif name == NOTE_FEATURE:
                from src.corpus.note_chroma import NoteChroma

                self._extractors[name] = NoteChroma()
            elif name == NOTE_CQT:
                from src.corpus.note_cqt import NoteCqt

                self._extractors[name] = NoteCqt(self._banks)
            else:
                from src.audio.crema import Audio2CremaPCP

                self._extractors[name] = Audio2CremaPCP(name.removeprefix("crema_pcp-"), "cpu")
        return self._extractors[name]
