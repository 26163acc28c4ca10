"""The only place that imports torchaudio, which not every machine can.

Its Linux wheels need CUDA libraries and fail to import beside a torch that was built without them.
Nothing on a CPU needs it; on a GPU it saves the way to the CPU and back.
"""

import importlib
from types import ModuleType


def torchaudio_or_none() -> ModuleType | None:
    """``torchaudio.functional`` if it imports on this machine, else None."""
    try:
        return importlib.import_module("torchaudio.functional")
    except (ImportError, OSError, RuntimeError):  # missing, or its shared libraries are
        return None
