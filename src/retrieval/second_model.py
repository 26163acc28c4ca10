"""References of a second model beside those of a first: the same recordings, heard otherwise."""

import os
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from src.errors import UserError
from src.retrieval.calibration import (
    Calibration,
    calibrate_table,
    load_calibration,
    save_calibration,
)
from src.retrieval.identity import json_digest
from src.retrieval.joint import JointTable
from src.retrieval.recording_windows import Recording2Windows
from src.retrieval.references import References
from src.retrieval.windows import WindowTable

TOGETHER_CALIBRATION = "calibration_together.json"


@dataclass(frozen=True)
class SecondModel:
    """What a second model says of references and queries.

    Attributes:
        embedder: the model.
        table: windows of the references, in the order of the first model's.
        digest: of its references, see :attr:`References.digest`.
    """

    embedder: Recording2Windows
    table: WindowTable
    digest: str

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
        return cls(embedder, others.table.select(places), others.digest)

    def query(self, path: str | os.PathLike) -> WindowTable:
        """The windows of a query.

        Raises:
            UserError: the recording cannot be used.
        """
        return WindowTable.build([self.embedder(path).wide.embeddings], self.table.distance)


def joint_references(references: References, second: SecondModel) -> tuple[JointTable, Calibration]:
    """References by two models as one, and their calibration.

    Both take long where there are many references. What was found out is kept beside them, in
    ``calibration_together.json``, until one of the two changes or another second model is used;
    where that cannot be written, it is found out each time.
    """
    tables = (references.table, second.table)
    path = references.folder / TOGETHER_CALIBRATION
    digest = json_digest([references.digest, second.digest])
    if (kept := load_calibration(path, digest)) is not None:
        calibration, content = kept
        with suppress(KeyError, TypeError, ValueError):
            first, other = ((float(middle), float(spread)) for middle, spread in content["scales"])
            return JointTable(tables, (first, other)), calibration
    table = JointTable.build(tables)
    calibration = calibrate_table(table, references.codes)
    with suppress(UserError):
        save_calibration(calibration, path, digest, more={"scales": table.scales})
    return table, calibration
