"""YAML written by people: read, checked against a pydantic model, faults named in one sentence."""

import difflib
import os
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from src.errors import UserError

BLOCKS_OF_ANY_NAME = "test_sets"  # a field that no key stands for

Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Numbers like 1e-3 are numbers, and no key may stand twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} stands there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


# YAML 1.1, and so PyYAML, takes a number without a point before its exponent for text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+[eE][-+]?\d+$"), list("-+0123456789")
)


def read_yaml(path: str | os.PathLike) -> dict[str, Any]:
    """The settings of a YAML file; an empty file has none.

    Raises:
        UserError: the file cannot be read, is no YAML, or does not consist of keys and values.
    """
    path = Path(path)
    try:
        values = yaml.load(path.read_text("utf-8-sig"), _Loader)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not a text file in UTF-8 (byte {error.start})") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        what = getattr(error, "problem", None) or "it cannot be parsed"
        raise UserError(f"{path}{where} is no valid YAML: {what}") from error
    if values is None:
        return {}
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise UserError(f"{path} must consist of lines such as batch_size: 64")
    return values


def validated(
    model: type[Model], values: dict[str, Any], path: str | os.PathLike, *, strict: bool = True
) -> Model:
    """``values`` checked against ``model``.

    Args:
        model: every field has a description of what it takes: "a number, such as 3".
        values: what :func:`read_yaml` returned; keys without a value count as left out.
        path: where they come from, for messages.
        strict: False passes over unknown keys. Validators find it in their context.

    Raises:
        UserError: the first fault: file, key and what is needed.
    """
    values = _without_none(values)
    while True:
        try:
            return model.model_validate(values, context={"strict": strict})
        except ValidationError as error:
            faults = error.errors()
            unknown = [fault["loc"] for fault in faults if fault["type"] == "extra_forbidden"]
            if strict or not unknown:
                raise UserError(f"{path}: {_sentence(model, faults[0], values)}") from error
            for loc in unknown:
                _remove(values, loc)


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, dict) else value
        for key, value in values.items()
        if value is not None
    }


def _remove(values: dict[str, Any], loc: tuple[Any, ...]) -> None:
    for part in loc[:-1]:
        values = values[part]
    del values[loc[-1]]


def _sentence(model: type[BaseModel], fault: dict[str, Any], values: Any) -> str:
    """What is wrong, for a person."""
    loc, kind = fault["loc"], fault["type"]
    if not loc:  # found by a validator of the whole
        return str(fault.get("ctx", {}).get("error", fault["msg"]))
    # A list is blamed as a whole: its description says what belongs into it.
    loc = loc[: next((n for n, part in enumerate(loc) if isinstance(part, int)), len(loc))]
    parent, field = _find(model, loc)
    key = ".".join(loc).removeprefix(f"{BLOCKS_OF_ANY_NAME}.")
    if kind == "extra_forbidden":
        (near,) = difflib.get_close_matches(loc[-1], _names(parent), n=1, cutoff=0)
        return f"unknown key {key}; the nearest known key is {near}"
    if kind == "value_error":  # found by a validator of a block
        return f"{key}: {fault['ctx']['error']}"
    needed = field.description if field else "something else"
    if kind == "missing":
        return f"the key {key} is missing; it is {needed}"
    for part in loc:
        values = values[part]
    return f"{key} must be {needed}, not {values!r}"


def _find(model: type[BaseModel], loc: tuple[Any, ...]) -> tuple[type[BaseModel], FieldInfo | None]:
    """The innermost model on the way to a fault, and the last field."""
    field = None
    for part in loc:
        found = next((f for n, f in model.model_fields.items() if part in _spellings(n, f)), None)
        if found is None:
            inner = None if field is None else _model_in(field.annotation)
            if inner is not None and isinstance(part, str):
                continue  # a name of one's own, in a mapping of blocks
            break
        field = found
        inner = _model_in(found.annotation)
        if inner is not None:
            model = inner
    return model, field


def _spellings(name: str, field: FieldInfo) -> list[str]:
    """Ways to write a key, the best first."""
    alias = field.validation_alias
    choices = getattr(alias, "choices", [alias] if isinstance(alias, str) else [])
    return [*(str(choice) for choice in choices), *([] if name in choices else [name])]


def _names(model: type[BaseModel]) -> list[str]:
    return [
        spelling
        for name, field in model.model_fields.items()
        if name != BLOCKS_OF_ANY_NAME
        for spelling in _spellings(name, field)
    ]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model within ``X | None`` or ``dict[str, X]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, dict):
        inner = (_model_in(part) for part in typing.get_args(annotation))
        return next((model for model in inner if model is not None), None)
    return None
