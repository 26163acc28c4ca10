"""What methods say of one set, computed once, however many rows of a comparison need it."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from src.retrieval.collection import Collection
from src.training.methods import Method, Together


class Kept:
    """Descriptions and distances of the recordings of a set, by method.

    Args:
        collection: the set.
    """

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self._described: dict[Method, list[Any]] = {}
        self._distances: dict[Method, np.ndarray] = {}

    def described(self, method: Method) -> list[Any]:
        """A description of each recording.

        Raises:
            UserError: the set has no features for the method.
        """
        if method not in self._described:
            self._described[method] = (
                method.together([self.described(part) for part in method.parts])
                if isinstance(method, Together)
                else method.describe_set(self.collection)
            )
        return self._described[method]

    def distances(self, method: Method) -> np.ndarray:
        """``(N, N)`` between all recordings.

        Raises:
            UserError: see :meth:`described`.
        """
        if method not in self._distances:
            self._distances[method] = (
                method.joined([self.distances(part) for part in method.parts])
                if isinstance(method, Together)
                else method.distances(self.described(method), None)
            )
        return self._distances[method]

    def keep_for(self, methods: Iterable[Method]) -> None:
        """Forget what none of these methods needs."""
        needed = {part for method in methods for part in (method, *method.parts)}
        for known in (self._described, self._distances):
            for method in known.keys() - needed:
                del known[method]
