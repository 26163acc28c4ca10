"""Sound made from sound: copies at another tempo, and copies with noise."""

import shutil

import numpy as np

from src.audio.errors import AudioError

SOX = "sox"
FULL_SCALE = 0.999
# A factor this near to 1 asks for the recording itself.
SAME_TEMPO = 0.01


def require_sox() -> None:
    """Do nothing if the SoX program is there.

    Raises:
        AudioError: it is not; the sentence says how to get it.
    """
    if shutil.which(SOX) is None:
        raise AudioError(
            "copies at another tempo need the SoX program, which is not installed: get it with "
            "apt-get install sox (Debian, Ubuntu), brew install sox (macOS) or from "
            "https://sourceforge.net/projects/sox/ (Windows), or set aug_speed_mode: [1.0]"
        )


def changes_tempo(speed: float) -> bool:
    """Whether a factor of ``aug_speed_mode`` asks for a copy; near 1 it means the original."""
    return abs(speed - 1) > SAME_TEMPO


def change_tempo(signal: np.ndarray, sample_rate: int, speed: float) -> np.ndarray:
    """Play faster or slower at the same pitch: SoX's ``tempo`` effect.

    Args:
        signal: ``(n,)`` floating point, of any level.
        sample_rate: in Hz.
        speed: 1.25 plays faster, so that the result lasts 1 / 1.25 of the time.

    Returns:
        ``(about n / speed,)`` float32, the same for the same input. A signal that exceeds full
        scale is turned down to it first, because SoX would clip it.

    Raises:
        AudioError: SoX is missing or fails, or ``speed`` is not positive.
    """
    if not speed > 0:
        raise AudioError(f"a tempo factor must be positive, not {speed:g}")
    require_sox()
    import sox  # asks for the program when it is imported, so not before it is needed

    peak = float(np.abs(signal).max(initial=0.0))
    signal = np.asarray(signal * min(1.0, FULL_SCALE / max(peak, FULL_SCALE)), dtype=np.float32)
    transformer = sox.Transformer()
    transformer.tempo(speed)
    try:
        # 32-bit samples in and out: the rounding to 16 bits is left to who writes the file.
        changed = transformer.build_array(input_array=signal[:, None], sample_rate_in=sample_rate)
    except sox.SoxError as error:
        reason = " ".join(str(error).split())
        raise AudioError(f"SoX cannot change the tempo by {speed:g} ({reason})") from error
    return np.asarray(changed, dtype=np.float32).reshape(-1)


def noise_gain(
    signal: np.ndarray,
    noise: np.ndarray,
    *,
    volume: float | None = None,
    snr_db: float | None = None,
) -> float:
    """Factor that brings noise to a level relative to a signal.

    Args:
        signal: ``(n,)`` floating point.
        noise: ``(m,)`` floating point, of any level.
        volume: wanted peak of the noise as a share of the signal's peak; or
        snr_db: wanted ratio of the mean powers of signal and noise in dB.

    Returns:
        The factor; 0 for silent noise, and for a silent signal, which is no measure of a level.

    Raises:
        ValueError: not exactly one level is given.
    """
    if (volume is None) == (snr_db is None):
        raise ValueError("give either volume or snr_db")
    level = _peak if snr_db is None else _rms
    theirs = level(noise)
    if not theirs:
        return 0.0
    ratio = volume if snr_db is None else 10 ** (-snr_db / 20)
    return ratio * level(signal) / theirs


def _peak(signal: np.ndarray) -> float:
    return float(np.abs(signal).max(initial=0.0))


def _rms(signal: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(signal, dtype=np.float64)))) if len(signal) else 0.0
