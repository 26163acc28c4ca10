"""Named tensors from a file: do they fit the model they are meant for?"""

import torch
from torch import Tensor, nn

from src.errors import UserError

WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every name
NAMES_SHOWN = 3


def without_wrapper(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names without the prefix that a wrapped model gives all of them."""
    for prefix in WRAPPERS:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def fill(model: nn.Module, state: dict[str, Tensor], path: object, complaint: str) -> None:
    """Give ``model`` the tensors of ``state``, widened to the types of the model.

    Args:
        model: may be on the meta device; its parameters are replaced, not written to.
        state: named tensors from ``path``.
        path: named when there are non-finite numbers.
        complaint: how the sentence begins when names, shapes or types are others.

    Raises:
        UserError: the tensors do not fit the model or are not finite.
    """
    expected = model.state_dict()
    require_fit(state, expected, path, complaint)
    widened = {
        name: state[name].to(wanted.dtype, copy=True, memory_format=torch.contiguous_format)
        for name, wanted in expected.items()
    }
    model.load_state_dict(widened, assign=True)


def require_fit(
    state: dict[str, Tensor], expected: dict[str, Tensor], path: object, complaint: str
) -> None:
    """Raise a sentence that names what in ``state`` is not as in ``expected``, see :func:`fill`."""
    if missing := [name for name in expected if name not in state]:
        raise UserError(f"{complaint}: {_some(missing)} missing")
    if unknown := [name for name in state if name not in expected]:
        raise UserError(f"{complaint}: {_some(unknown)} not expected")
    for name, wanted in expected.items():
        found = state[name]
        if found.shape != wanted.shape:
            raise UserError(
                f"{complaint}: {name} has shape {tuple(found.shape)} instead of "
                f"{tuple(wanted.shape)}"
            )
        same_kind = found.is_floating_point() == wanted.is_floating_point()
        if not same_kind or found.is_complex() or found.dtype is torch.bool:
            raise UserError(
                f"{complaint}: {name} is of type {_name(found.dtype)} instead of "
                f"{_name(wanted.dtype)}"
            )
        if found.is_meta or found.layout is not torch.strided or found.is_quantized:
            raise UserError(f"{complaint}: {name} is not an ordinary tensor")
        if not torch.isfinite(found).all():
            raise UserError(
                f"{path} holds numbers that are not finite (in {name}); it was damaged or its "
                "training diverged"
            )


def halved(state: dict[str, Tensor], full: tuple[str, ...], path: object) -> dict[str, Tensor]:
    """``state`` in 16-bit floats.

    Args:
        state: named tensors.
        full: parts of names whose tensors stay as they are.
        path: named when a number is too large.

    Raises:
        UserError: a weight does not fit into 16 bits.
    """
    result = {}
    for name, value in state.items():
        if value.is_floating_point() and not any(part in name for part in full):
            value = value.half()
            if not torch.isfinite(value).all():
                raise UserError(
                    f"{name} does not fit into half precision; write {path} in full precision"
                )
        result[name] = value
    return result


def _some(names: list[str]) -> str:
    """The first few of ``names``, with their verb."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more + (" is" if len(names) == 1 else " are")


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
