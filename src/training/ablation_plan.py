"""What an ablation changes: a plan in YAML, a base and variants that change one thing each."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from src.data.recordings import located_rows
from src.data.row_choice import as_many, choose_rows
from src.errors import UserError
from src.hparams import Block, Count, Share, Text
from src.yaml_file import read_yaml, validated

BASE = "base"
COVERHUNTER, REMOVE = "coverhunter", "re-move"
_SELECTION = ("works", "versions", "where", "without")

Seed = Annotated[int, Field(ge=0)]
Row = Mapping[str, Any]


class Choice(Block):
    """Which recordings a variant is trained on, and how; what is left out is as in the base."""

    system: Literal["coverhunter", "re-move"] | None = Field(
        None, description="coverhunter or re-move; another than the base's takes its own options"
    )
    corpus: Text | None = Field(None, description="the path of a list, such as full.txt")
    works: Count | None = Field(None, description="a largest number of works, such as 500")
    versions: Annotated[int, Field(ge=2)] | None = Field(
        None, description="a largest number of versions of a work, 2 or more"
    )
    where: dict[str, Any] = Field(
        {}, description="a block of keys and values, such as {arrangement.harmony: given}"
    )
    without: dict[str, Any] = Field(
        {}, description="a block of keys and values, such as {arrangement.harmony: none}"
    )
    like: Text | None = Field(
        None, description="the name of a variant of which each work has as many versions"
    )
    options: dict[str, Any] = Field(
        {}, description="a block of keys of hparams.yaml, or of options of main.py"
    )
    against: Text = Field(BASE, description="the name of the variant it is compared with")


class Plan(Block):
    """A base, its variants, and what all of them share."""

    system: Literal["coverhunter", "re-move"] = Field(description="coverhunter or re-move")
    corpus: Text = Field(description="the path of a list, such as data/opencorpus/train.txt")
    validation: Text | None = Field(
        None, description="re-move: the path of a list by which the best epoch is chosen"
    )
    sets: dict[str, str] = Field(min_length=1, description="names and lists of evaluation sets")
    steps: Count = Field(description="a number of optimizer steps, such as 2000")
    seeds: list[Seed] = Field([0], min_length=1, description="a list such as [0, 1]")
    decay_at: list[Share] = Field(
        [], description="re-move: shares of the training after which the rate falls, such as [0.7]"
    )
    average: Count = Field(
        1, description="coverhunter: the number of last checkpoints whose mean is evaluated"
    )
    crema_version: Literal["0.1.0", "0.2.0", "0.2.0-notes"] = Field(
        "0.1.0", description="re-move: 0.1.0, 0.2.0 or 0.2.0-notes"
    )
    works: Count | None = Field(None, description="a largest number of works, such as 500")
    versions: Annotated[int, Field(ge=2)] | None = Field(
        None, description="a largest number of versions of a work, 2 or more"
    )
    where: dict[str, Any] = Field({}, description="a block of keys and values")
    without: dict[str, Any] = Field({}, description="a block of keys and values")
    options: dict[str, Any] = Field(
        {}, description="a block of keys of hparams.yaml, or of options of main.py"
    )
    variants: dict[str, Choice] = Field({}, description="named blocks of changes")

    @model_validator(mode="after")
    def _fits_together(self) -> "Plan":
        if BASE in self.variants:
            raise ValueError(f"{BASE} is the name of the plan itself; call the variant otherwise")
        names = [BASE, *self.variants]
        folders = [slug(name) for name in names]
        for name, folder in zip(names, folders, strict=True):
            if folders.count(folder) > 1:
                raise ValueError(f"the name of variant {name!r} is too much like another one")
        for name, variant in self.variants.items():
            for other in (variant.against, variant.like):
                if other is not None and (other == name or other not in names):
                    raise ValueError(f"variant {name!r} names {other!r}, which is no other variant")
            if variant.like and (variant.where or variant.without or variant.versions):
                raise ValueError(
                    f"variant {name!r}: like says which versions; where, without and versions "
                    "cannot stand beside it"
                )
            if variant.like in self.variants and self.variants[variant.like].like:
                raise ValueError(f"variant {name!r}: {variant.like!r} is itself like another")
        if set(self.options) & {"train_path", "max_epochs", "steps_per_epoch", "seed"}:
            raise ValueError("options say nothing of data, steps and seeds: the plan itself does")
        return self

    @property
    def names(self) -> list[str]:
        """The base and all variants."""
        return [BASE, *self.variants]

    def choice(self, name: str) -> Choice:
        """A variant; the base is one without changes."""
        return self.variants.get(name) or Choice()

    def system_of(self, name: str) -> str:
        return self.choice(name).system or self.system

    def options_of(self, name: str) -> dict[str, Any]:
        """Options of a variant; those of the base belong to its system only."""
        own = self.choice(name).options
        return self.options | own if self.system_of(name) == self.system else dict(own)


def load_plan(path: str | os.PathLike) -> Plan:
    """Read a plan.

    Raises:
        UserError: the file is missing or no YAML, or a key is unknown or has a wrong value.
    """
    return validated(Plan, read_yaml(path), path)


def slug(name: str) -> str:
    """A name as part of a folder's."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def rows_of(plan: Plan, name: str, corpora: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The recordings that a variant is trained on.

    Args:
        plan: the plan.
        name: of the variant.
        corpora: rows of each list that the plan names.

    Raises:
        UserError: a condition is not understood, or leaves nothing.
    """
    choice = plan.choice(name)
    rows = corpora[choice.corpus or plan.corpus]
    try:
        if choice.like is None:
            return choose_rows(rows, **_selection(plan, choice))
        whole = choose_rows(rows, **_selection(plan, choice) | {"versions": None})
        return as_many(whole, rows_of(plan, choice.like, corpora))
    except UserError as error:
        raise UserError(f"variant {name!r}: {error}") from error


def _selection(plan: Plan, choice: Choice) -> dict[str, Any]:
    """Conditions add up; numbers of a variant replace those of the base."""
    numbers = {key: getattr(choice, key) or getattr(plan, key) for key in _SELECTION[:2]}
    return numbers | {key: getattr(plan, key) | getattr(choice, key) for key in _SELECTION[2:]}


def read_corpora(plan: Plan) -> dict[str, list[Row]]:
    """Rows of every list that training reads, their files found from anywhere.

    Raises:
        UserError: a list cannot be read.
    """
    named = {plan.corpus, *(c.corpus for c in plan.variants.values() if c.corpus)}
    if plan.validation:
        named.add(plan.validation)
    return {path: located_rows(path) for path in sorted(named)}
