"""Numbers of a torch module that are neither parameters nor buffers: no code lists them and no noise reaches them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

_OWN = {"_parameters", "_buffers", "_modules"}


def unnamed_numbers(module: torch.nn.Module) -> list[str]:
    """Name every place in which a module keeps tensors or arrays of its own, or may keep them out of sight.

    Attributes of its parts and of their classes, inside of lists and dictionaries too; parts that are not registered;
    compiled parts, and those with a state of their own, whose numbers cannot be listed.
    """
    from torch import jit, nn

    found = []
    for name, part in module.named_modules():
        classes = [vars(kind) for kind in type(part).__mro__ if not kind.__module__.startswith("torch.")]
        for own, value in {k: v for space in (*classes[::-1], vars(part)) for k, v in space.items()}.items():
            if own not in _OWN and _holds(value):
                found.append(f"{name}.{own}".lstrip("."))
        if isinstance(part, jit.ScriptModule) or type(part).get_extra_state is not nn.Module.get_extra_state:
            found.append(name or type(part).__name__)
    return found


def _holds(value: Any) -> bool:
    """Whether a value is, or contains, a tensor, an array or a module that is not registered."""
    import torch

    if isinstance(value, (torch.Tensor, np.ndarray)):
        return (value.numel() if isinstance(value, torch.Tensor) else value.size) > 0
    if isinstance(value, dict):
        return any(map(_holds, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(_holds, value))
    return isinstance(value, (torch.nn.Module, torch.ScriptObject))
