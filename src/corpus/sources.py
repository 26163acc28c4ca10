"""The collections together: parsed once into a cache, merged into works."""

import os
from pathlib import Path

from src.corpus.chorale import read_chorales
from src.corpus.fiddle import read_fiddle_books
from src.corpus.identity import merge_works
from src.corpus.openewld import read_openewld
from src.corpus.pop909 import read_pop909
from src.corpus.tune import Tune, load_tunes, save_tunes
from src.errors import UserError

READERS = {
    "openewld": read_openewld,
    "fiddle": read_fiddle_books,
    "pop909": read_pop909,
    "chorale": read_chorales,
}
WITH_MUSIC21 = ("fiddle", "chorale")  # come with music21; need no folder


def cached_tunes(
    collection: str, cache: str | os.PathLike, folder: str | os.PathLike | None = None
) -> list[Tune]:
    """Works of one collection, from ``cache/<collection>.json`` or parsed and written there.

    Args:
        collection: openewld, fiddle, pop909 or chorale.
        folder: where the collection is unpacked; not needed for fiddle and chorale (music21's
            corpus) nor once the cache is there.

    Raises:
        UserError: unknown collection, or neither a cache nor a folder.
    """
    if collection not in READERS:
        raise UserError(f"unknown collection {collection!r}; choose from {', '.join(READERS)}")
    path = Path(cache) / f"{collection}.json"
    if path.is_file():
        return load_tunes(path)
    if folder is None and collection not in WITH_MUSIC21:
        raise UserError(
            f"{path} is not there; say in which folder {collection} is unpacked to make it"
        )
    tunes, _ = READERS[collection](folder)
    tunes = merge_works(tunes)
    save_tunes(tunes, path)
    return tunes


def all_works(cache: str | os.PathLike, folders: dict[str, str | os.PathLike | None]) -> list[Tune]:
    """Works of several collections (name to folder), merged across them by melody."""
    tunes = [t for name, folder in folders.items() for t in cached_tunes(name, cache, folder)]
    return merge_works(tunes)
