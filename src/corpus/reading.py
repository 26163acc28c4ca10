"""Reading folders of scores, of which some are damaged or not what they should be."""

import logging
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

from src.corpus.tune import Tune

logger = logging.getLogger(__name__)

# What the readers of scores raise at files that are damaged or lack what makes a tune.
UNREADABLE = (
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    ZeroDivisionError,
    EOFError,
    OSError,
    ElementTree.ParseError,
    zipfile.BadZipFile,
)


def read_each(paths: Iterable[Path], read: Callable[[Path], Tune]) -> tuple[list[Tune], list[str]]:
    """Read every file that can be read.

    Returns:
        tunes, and one line for each file that was skipped and why.
    """
    tunes: list[Tune] = []
    skipped: list[str] = []
    for path in paths:
        try:
            tunes.append(read(path))
        except UNREADABLE as error:
            skipped.append(f"{path.name}: {error}")
            logger.debug("skipped %s: %s", path, error)
    return tunes, skipped
