"""Single notes of a SoundFont as constant-Q spectra over time: what versions are composed of.

A bank holds, for every General MIDI program at pitches a fourth apart and for every drum, softly
and loudly struck, the power of a note that is held for two seconds, and how it fades when the key
is released. It is played once by FluidSynth (a minute a SoundFont) and kept in a file; what lies
between its pitches is moved by whole bins, which are semitones.
"""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import numpy as np
import soxr
import torch
from tqdm import tqdm

from src.audio.cqt import CQT, CQTSpec
from src.config import REPOSITORY
from src.corpus.performance import Performance, PlayedNote, Track
from src.corpus.render import Renderer
from src.corpus.soundfonts import fingerprint
from src.errors import UserError
from src.files import atomic_path

SPEC = CQTSpec()
FRAME_S = SPEC.hop_size
BANK_FOLDER = REPOSITORY / "data" / "note_bank"
FORM = 1  # of the files; counts up when the notes, their times or the arrays change

PITCHES = tuple(range(24, 105, 5))
DRUMS = tuple(range(27, 88))
VELOCITIES = (45, 95)
PROGRAMS = 128
BEFORE = 7  # frames before a note begins or ends that hear it: half the lowest bin's window
HELD = 43  # frames from the beginning of a note
LOOP = 8  # the last of them, which are heard again and again in longer notes
RELEASED = 20  # frames after its end
SILENT = 255  # half decibels below the reference of the bank

_HOLD = HELD + BEFORE  # frames for which the key is down
_SLOT = BEFORE + _HOLD + RELEASED + 8  # frames from note to note
_SAMPLE_RATE = 22050
_DRUM_PROGRAM = PROGRAMS  # in the table of entries, after the others
_KEYS_OF_A_DRUM_PART = 20


@dataclass(frozen=True)
class NoteBank:
    """The notes of one SoundFont, N in all.

    Attributes:
        held: ``(N, BEFORE + HELD, 96)`` uint8, half decibels below ``level``; a note begins at
            frame BEFORE.
        release: ``(N, BEFORE + RELEASED, 96)`` uint8, half decibels that a note loses about its
            end, which is at frame BEFORE.
        level: ``(N,)`` float32, power in dB of the loudest value of each note.
        decay: ``(N,)`` float32, half decibels that a held note loses in a frame, in the end.
    """

    held: np.ndarray
    release: np.ndarray
    level: np.ndarray
    decay: np.ndarray


def entries(
    program: int, pitches: np.ndarray, velocities: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the notes in a bank that are nearest to some notes of one player.

    Args:
        program: 0 to 127.
        pitches, velocities: ``(N,)`` int.

    Returns:
        ``(N,)`` entries, and ``(N,)`` semitones by which these are to be moved up.
    """
    step = PITCHES[1] - PITCHES[0]
    place = np.clip((pitches - PITCHES[0] + step // 2) // step, 0, len(PITCHES) - 1)
    layer = _layer(velocities)
    entry = (program * len(PITCHES) + place) * len(VELOCITIES) + layer
    return entry, pitches - np.array(PITCHES)[place]


def drum_entries(keys: np.ndarray, velocities: np.ndarray) -> np.ndarray:
    """Numbers of the drums in a bank: ``(N,)`` keys of the General MIDI percussion map."""
    place = np.clip(keys, DRUMS[0], DRUMS[-1]) - DRUMS[0]
    first = PROGRAMS * len(PITCHES)
    return (first + place) * len(VELOCITIES) + _layer(velocities)


def velocity_power(velocities: np.ndarray) -> np.ndarray:
    """Factor on the power of the nearest layer: FluidSynth's amplitude is the velocity squared."""
    return (velocities / np.array(VELOCITIES)[_layer(velocities)]) ** 4.0


def _layer(velocities: np.ndarray) -> np.ndarray:
    border = float(np.sqrt(VELOCITIES[0] * VELOCITIES[1]))
    return (velocities > border).astype(np.int64)


def ready_banks(soundfonts: Mapping[str, Path], folder: Path = BANK_FOLDER) -> dict[str, Path]:
    """The files of the banks of some SoundFonts; what is missing is made now.

    Raises:
        UserError: FluidSynth is missing, or the folder cannot be written.
    """
    paths = {}
    for name, soundfont in soundfonts.items():
        path = paths[name] = folder / f"{name}_{_settings_name(soundfont)}.npz"
        if not path.is_file():
            save_bank(make_bank(soundfont), path)
    return paths


def _settings_name(soundfont: Path) -> str:
    """What decides the contents of a bank, in short."""
    settings = (FORM, SPEC, PITCHES, DRUMS, VELOCITIES, BEFORE, HELD, LOOP, RELEASED, _SAMPLE_RATE)
    words = f"{fingerprint(soundfont)} {settings}"
    return hashlib.sha256(words.encode()).hexdigest()[:12]


def save_bank(bank: NoteBank, path: Path) -> None:
    """Write a bank as compressed ``.npz``, atomically."""
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **{f.name: getattr(bank, f.name) for f in fields(bank)})


def load_bank(path: Path) -> NoteBank:
    """Read a bank.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            bank = NoteBank(**{field.name: file[field.name] for field in fields(NoteBank)})
        _check(bank)
        return bank
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"the notes in {path} are missing or damaged; delete the file and begin again, it is "
            "made anew"
        ) from error


def _check(bank: NoteBank) -> None:
    count = len(VELOCITIES) * (PROGRAMS * len(PITCHES) + len(DRUMS))
    shapes = {
        "held": (count, BEFORE + HELD, SPEC.bins),
        "release": (count, BEFORE + RELEASED, SPEC.bins),
        "level": (count,),
        "decay": (count,),
    }
    for name, shape in shapes.items():
        array, kind = getattr(bank, name), np.uint8 if len(shape) > 1 else np.float32
        if array.shape != shape or array.dtype != kind:
            raise ValueError(f"{name} has shape {array.shape} of {array.dtype}")


def make_bank(soundfont: Path) -> NoteBank:
    """Play and analyse every note of a SoundFont.

    Raises:
        UserError: FluidSynth is missing, or the SoundFont lacks an instrument.
    """
    parts = []
    with Renderer(soundfont, sample_rate=_SAMPLE_RATE) as renderer:
        drums = [
            DRUMS[i : i + _KEYS_OF_A_DRUM_PART] for i in range(0, len(DRUMS), _KEYS_OF_A_DRUM_PART)
        ]
        players = [(program, PITCHES) for program in range(PROGRAMS)]
        players += [(_DRUM_PROGRAM, keys) for keys in drums]
        for program, pitches in tqdm(players, desc=f"notes of {soundfont.stem}", unit="player"):
            parts.append(note_powers(renderer, program, pitches))
    return bank_from_powers(np.concatenate(parts))


def note_powers(renderer: Renderer, program: int, pitches: tuple[int, ...]) -> np.ndarray:
    """Play and analyse the notes of one instrument.

    Args:
        renderer: at 22050 Hz.
        program: 0 to 127, or 128 for the drums.
        pitches: of the notes; each is played at all VELOCITIES.

    Returns:
        ``(notes, frames, 96)`` power; a note begins at frame BEFORE.
    """
    drums = program == _DRUM_PROGRAM
    struck = [(pitch, velocity) for pitch in pitches for velocity in VELOCITIES]
    notes = tuple(
        # A frame hears most of what is at its middle.
        PlayedNote((i * _SLOT + BEFORE + 0.5) * FRAME_S, _HOLD * FRAME_S, pitch, velocity)
        for i, (pitch, velocity) in enumerate(struck)
    )
    track = Track("one", 0 if drums else program, drums, notes)
    seconds = (len(struck) * _SLOT + 1) * FRAME_S
    sound = renderer.render(Performance((track,), 0.0, seconds), tail=0.0).mean(1)
    sound = soxr.resample(sound, _SAMPLE_RATE, SPEC.sample_rate, quality="HQ")
    magnitudes = _transform().magnitudes(torch.from_numpy(sound)[None])[0].numpy()
    return magnitudes[: len(struck) * _SLOT].reshape(len(struck), _SLOT, -1) ** 2


@lru_cache(maxsize=1)
def _transform() -> CQT:
    return CQT(SPEC)


def bank_from_powers(powers: np.ndarray) -> NoteBank:
    """A bank from the power of notes, ``(N, frames, 96)``, that begin at frame BEFORE and end
    BEFORE + HELD frames later; some notes of an instrument may be silent."""
    decibels = 10 * np.log10(np.maximum(powers, 1e-18)).astype(np.float32)
    level = decibels.max((1, 2))
    held = decibels[:, : BEFORE + HELD]
    total = 10 * np.log10(np.maximum(powers[:, BEFORE : BEFORE + HELD].sum(2), 1e-18))
    earlier = total[:, -2 * LOOP : -LOOP].mean(1)
    decay = np.clip(2 * (earlier - total[:, -LOOP:].mean(1)) / LOOP, 0, 8)
    # What a note would have gone on to be, in every bin, had it not been released.
    last = held[:, -LOOP:].mean(1)[:, None]
    end = BEFORE + _HOLD
    gone = np.arange(-BEFORE, RELEASED) + _HOLD - (HELD - (LOOP + 1) / 2)
    expected = last - (decay[:, None] * gone)[..., None] / 2
    loss = expected - decibels[:, end - BEFORE : end + RELEASED]
    return NoteBank(
        _half_decibels(level[:, None, None] - held),
        _half_decibels(np.maximum.accumulate(loss, axis=1)),
        level.astype(np.float32),
        decay.astype(np.float32),
    )


def _half_decibels(below: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(2 * below), 0, SILENT).astype(np.uint8)
