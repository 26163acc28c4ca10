"""Finding SoundFonts on this machine, and saying how to get one."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from src.errors import UserError

# General MIDI SoundFonts that may be used freely, best known first, with their licences.
LICENCES = {
    "FluidR3_GM": "MIT",
    "MuseScore_General": "MIT",
    "MuseScore_General_Full": "MIT",
    "MuseScore_General_HQ": "MIT",
    "MuseScore_General_Lite": "MIT",
    "TimGM6mb": "GPL-2",
    "GeneralUser-GS": "GeneralUser GS License 2.0 (free for any use)",
}
SUFFIXES = (".sf2", ".sf3")
INSTALL_ADVICE = (
    "on Debian or Ubuntu: apt install fluid-soundfont-gm musescore-general-soundfont timgm6mb-"
    "soundfont; on macOS or elsewhere put FluidR3_GM.sf2 into ~/.local/share/soundfonts"
)


def soundfont_folders() -> list[Path]:
    """The folders in which systems keep SoundFonts, own folders of the person first."""
    folders = [
        Path.home() / ".local/share/soundfonts",
        Path.home() / ".local/share/sounds/sf2",
        Path.home() / "Library/Audio/Sounds/Banks",
        Path("/usr/share/sounds/sf2"),
        Path("/usr/share/sounds/sf3"),
        Path("/usr/share/soundfonts"),
        Path("/usr/local/share/soundfonts"),
        Path("/usr/local/share/sounds/sf2"),
        Path("/opt/homebrew/share/soundfonts"),
        Path("/opt/local/share/sounds/sf2"),
    ]
    own = os.environ.get("SOUNDFONTS")  # a list of folders, as PATH is
    return [Path(p) for p in own.split(os.pathsep) if p] + folders if own else folders


def available_soundfonts() -> dict[str, Path]:
    """SoundFonts found here by file stem (``FluidR3_GM``), without links such as ``default-GM``."""
    found: dict[str, Path] = {}
    for folder in soundfont_folders():
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in SUFFIXES and not path.is_symlink() and path.is_file():
                found.setdefault(path.stem, path)
    return found


def find_soundfonts(names: Iterable[str] | None = None) -> dict[str, Path]:
    """Resolve SoundFonts by name or path, in the order given.

    Args:
        names: stems (``FluidR3_GM``; ``MuseScore_General`` also matches its ``_Full``, ``_HQ`` and
            ``_Lite`` editions) or paths; None takes every known free General MIDI font found here.

    Returns:
        name (file stem) -> path.

    Raises:
        UserError: one of them, or all, are missing; says how to install them.
    """
    here = available_soundfonts()
    if names is None:
        found = {name: here[name] for name in LICENCES if name in here}
        if not found:
            raise UserError(f"no General MIDI SoundFont was found; {INSTALL_ADVICE}")
        return found
    found = {}
    for name in names:
        path = Path(name).expanduser()
        if path.suffix.lower() in SUFFIXES:
            if not path.is_file():
                raise UserError(f"SoundFont {name} does not exist; {INSTALL_ADVICE}")
            found[path.stem] = path
            continue
        stem = next((s for s in here if s == name), None)
        stem = stem or next((s for s in sorted(here) if s.startswith(f"{name}_")), None)
        if stem is None:
            raise UserError(f"SoundFont {name} was not found; {INSTALL_ADVICE}")
        found[stem] = here[stem]
    if not found:
        raise UserError("the list of SoundFonts is empty; name one, or leave the list out")
    return found


def fingerprint(path: Path) -> str:
    """SHA-256 of a SoundFont file, so that a corpus can say exactly what it was played with."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
