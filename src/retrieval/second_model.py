"""References of a second model beside those of a first: the same recordings, heard otherwise."""

import os
from dataclasses import dataclass

import numpy as np

from src.errors import UserError
from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.references import References
from src.retrieval.windows import WindowTable


@dataclass(frozen=True)
class SecondModel:
    """What a second model says of references and queries.

    Attributes:
        embedder: the model.
        table: windows of the references, in the order of the first model's.
    """

    embedder: Recording2Windows
    table: WindowTable

    @classmethod
    def beside(
        cls, references: References, others: References, embedder: Recording2Windows
    ) -> "SecondModel":
        """References of a second model, put into the order of a first one's.

        Args:
            references: those of the first model.
            others: of the second, made from the same recordings.
            embedder: the second model.

        Raises:
            UserError: recordings are missing, are said to be of other works, or another model
                made them.
        """
        others.require_model(embedder)
        known = {row.name: place for place, row in enumerate(others.rows)}
        missing = [row.name for row in references.rows if row.name not in known]
        if missing:
            raise UserError(
                f"{others.folder} lacks {len(missing)} recordings of {references.folder}, such as "
                f"{missing[0]}; make both from the same recordings with tools.make_embeds"
            )
        for row in references.rows:
            other = others.rows[known[row.name]]
            if other.work != row.work:
                raise UserError(
                    f"{row.name} is a version of {row.work} in {references.folder}, but of "
                    f"{other.work} in {others.folder}; make one of them again"
                )
        places = np.array([known[row.name] for row in references.rows], np.int64)
        return cls(embedder, others.table.select(places))

    def query(self, path: str | os.PathLike) -> WindowTable:
        """The windows of a query.

        Raises:
            UserError: the recording cannot be used.
        """
        return WindowTable.build([self.embedder(path).wide.embeddings], self.table.distance)
