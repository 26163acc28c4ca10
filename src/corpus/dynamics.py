"""Compression, limiting, saturation and clipping."""

import numpy as np

_HOP_S = 0.005  # the level is followed in steps of 5 ms


def compress(
    signal: np.ndarray,
    sample_rate: int,
    *,
    threshold_db: float,
    ratio: float,
    attack_ms: float = 10.0,
    release_ms: float = 150.0,
) -> np.ndarray:
    """Downward compression of what lies above a threshold relative to the signal's own peak level.

    Args:
        signal: float32 ``(samples,)``.
        threshold_db: threshold below the loudest 5 ms of the signal, negative.
        ratio: at least 1; 20 and more is a limiter.
        attack_ms, release_ms: time constants of the level follower.

    Returns:
        float32 ``(samples,)``, never louder than the input.
    """
    hop = max(int(_HOP_S * sample_rate), 1)
    blocks = -(-len(signal) // hop)
    padded = np.zeros(blocks * hop, dtype=np.float32)
    padded[: len(signal)] = signal
    rms = np.sqrt(np.mean(padded.reshape(blocks, hop) ** 2, axis=1))
    if not rms.max() > 0:
        return signal
    level = 20 * np.log10(np.maximum(rms / rms.max(), 1e-6))
    over = np.maximum(level - threshold_db, 0.0) * (1 - 1 / ratio)
    reduction = _follow(over, attack_ms, release_ms)
    gain = (10 ** (-reduction / 20)).astype(np.float32)
    return signal * _between(gain, hop)[: len(signal)]


def _between(values: np.ndarray, hop: int) -> np.ndarray:
    """Linear interpolation of values that stand in the middle of blocks of ``hop`` samples."""
    lead = (hop + 1) // 2
    share = ((np.arange(hop) + lead - hop / 2) / hop).astype(np.float32)
    following = np.append(values[1:], values[-1])
    ramps = values[:, None] + (following - values)[:, None] * share  # (blocks, hop)
    return np.concatenate([np.full(lead, values[0]), ramps.ravel()])


def _follow(values: np.ndarray, attack_ms: float, release_ms: float) -> np.ndarray:
    """One-pole follower that rises with the attack and falls with the release time."""
    rise = 1 - float(np.exp(-_HOP_S * 1000 / max(attack_ms, 0.1)))
    fall = 1 - float(np.exp(-_HOP_S * 1000 / max(release_ms, 0.1)))
    state, followed = 0.0, []
    for value in values.tolist():
        state += (rise if value > state else fall) * (value - state)
        followed.append(state)
    return np.array(followed)


def saturate(signal: np.ndarray, *, drive: float, bias: float = 0.0) -> np.ndarray:
    """Soft saturation of tape, valves or a groove: tanh, with even harmonics where biased.

    Args:
        signal: float32 ``(samples,)``.
        drive: gain in front of the curve when the signal's peak is 1; 0.5 is hardly audible.
        bias: shift of the working point, 0 to 0.5.

    Returns:
        float32 ``(samples,)`` with the input's peak.
    """
    peak = float(np.max(np.abs(signal), initial=0.0))
    if peak == 0:
        return signal
    shaped = np.tanh(signal * np.float32(drive / peak) + np.float32(bias))
    shaped -= np.float32(np.tanh(bias))
    return shaped * np.float32(peak / float(np.max(np.abs(shaped))))


def clip(signal: np.ndarray, *, over_db: float) -> np.ndarray:
    """Overload a converter: everything more than ``over_db`` below the peak is cut off flat."""
    limit = np.float32(np.max(np.abs(signal), initial=0.0) * 10 ** (-over_db / 20))
    return np.clip(signal, -limit, limit)
