"""Sound written to files."""

import os

import numpy as np
import soundfile

from src.errors import UserError
from src.files import atomic_path

SUBTYPE = "PCM_16"


def write_wav(path: str | os.PathLike, signal: np.ndarray, sample_rate: int) -> None:
    """Write a signal as 16-bit wav, atomically.

    Args:
        path: created with its folder, or replaced.
        signal: ``(n,)`` floating point; what exceeds full scale is clipped.
        sample_rate: in Hz.

    Raises:
        UserError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        try:
            soundfile.write(temporary, signal, sample_rate, subtype=SUBTYPE, format="WAV")
        except soundfile.LibsndfileError as error:
            raise UserError(
                f"cannot write {path} ({error}); free some space or choose another folder"
            ) from error
