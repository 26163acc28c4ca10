"""A run's state after a complete epoch: written whole, read without trust."""

from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from src.errors import UserError
from src.files import load_tensors, save_tensors

VERSION = 1


def save_state(path: Path, state: dict[str, Any], identity: dict[str, Any]) -> None:
    """Write tensors and plain values with the identity (configuration, seed) of their run."""
    save_tensors({"version": VERSION, "identity": identity, **state}, path)


def load_state(path: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """State of an interrupted run, or None where there is none.

    Raises:
        UserError: the file is damaged or belongs to a run with other options.
    """
    if not path.exists():
        return None
    state = load_tensors(path)
    if not isinstance(state, dict) or state.get("version") != VERSION:
        raise UserError(f"{path} is no training state of this version; delete it to start anew")
    theirs = state["identity"]
    changed = sorted(k for k in identity if theirs.get(k) != identity[k])
    if changed:
        listed = ", ".join(f"{k} {theirs.get(k)} (now {identity[k]})" for k in changed)
        raise UserError(
            f"{path} is an interrupted run with {listed}; repeat its options to continue it, "
            "or delete the file to start anew"
        )
    return state


def lock_run(path: Path, elsewhere: str = "--main_path") -> FileLock:
    """A lock held by the one process that trains into ``path``; use it in a ``with`` statement.

    Args:
        path: what is written.
        elsewhere: what a person chooses to write to another place.

    Raises:
        UserError: another process holds it, or the folder cannot be written to.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise UserError(
            f"another run is training {path}; wait for it or choose another {elsewhere}"
        ) from error
    except OSError as error:
        raise UserError(
            f"cannot write to {path.parent}: {error.strerror or error}; choose another {elsewhere}"
        ) from error
    return lock
