"""A GPU that is not there: PyTorch computes on the CPU, but says that tensors lie elsewhere and refuses to mix.

Inside of ``StrictDevice("cuda")`` what is made for, or moved to, that device carries a mark; results of marked tensors
are marked; operations on marked and unmarked tensors together fail as they do with a real GPU, and so do numpy's views
of marked ones. "mps" has no double precision either. Python's scalars and unmarked tensors of one number may mix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, resolve_name

MARK = "_pretended_device"
_HOME = {"to", "copy_", "cpu", "type_as", "to_", "set_", "get_device", "is_cuda", "_has_compatible_shallow_copy_type"}
_TO_NUMPY = {"numpy", "__array__", "from_numpy"}


class MixedDevicesError(RuntimeError):
    """What a real GPU raises."""


class StrictDevice(TorchFunctionMode):
    """See above; ``operations`` counts what ran on the pretended device."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.device = torch.device(kind)
        self.operations = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        whole = str(resolve_name(func) or name)
        if name == "__get__":
            return self._property(func, whole, args)
        if name == "__set__" and whole.startswith("torch.Tensor.data"):
            self._mark(args[0], _marked(args[1]))
            return func(*args, **kwargs)
        tensors = list(_tensors((args, kwargs)))
        if name == "_parse_to":  # a module reads its arguments; its tensors follow one by one
            return func(*args, **kwargs)
        if name in ("to", "_to_copy"):
            return self._to(func, args, kwargs)
        if name == "cpu":
            return self._mark(func(*args).clone() if _marked(args[0]) else func(*args), False)
        if name in _TO_NUMPY and any(map(_marked, tensors)):
            raise MixedDevicesError(f"can't convert a {self.device} tensor to numpy in {whole}")
        there = self._check(name, whole, args, kwargs, tensors)
        result = func(*args, **kwargs)
        if there:
            self.operations += 1
        if name not in ("copy_", "__setitem__"):
            for tensor in _tensors(result):
                self._mark(tensor, there)
        return result

    def _property(self, func: Callable[..., Any], whole: str, args: tuple[Any, ...]) -> Any:
        tensor = args[0]
        if whole.startswith("torch.Tensor.device") and _marked(tensor):
            return self.device
        result = func(*args)
        for part in _tensors(result):
            self._mark(part, _marked(tensor))
        return result

    def _to(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        """Only the first tensor moves; another one says where to."""
        source, rest, there = args[0], [], _marked(args[0])
        for value in (*args[1:], *([kwargs.pop("device")] if kwargs.get("device") is not None else [])):
            if isinstance(value, Tensor):
                there = _marked(value)
                rest.append(value.dtype)
            elif isinstance(value, torch.device | str):
                there = torch.device(value).type == self.device.type
            elif isinstance(value, bool):  # without a device before it, its place is another one
                kwargs["non_blocking"] = value
            elif value is not None:
                rest.append(value)
        result = func(source, *rest, **kwargs)
        if there != _marked(source):
            if result is source:
                result = source.clone()
            return self._mark(result, there)
        return self._mark(result, there) if result is not source else result

    def _check(
        self, name: str, whole: str, args: tuple[Any, ...], kwargs: dict[str, Any], tensors: list[Tensor]
    ) -> bool:
        """Whether the result lies on the pretended device; ``kwargs`` lose it."""
        marked = [t for t in tensors if _marked(t)]
        device = kwargs.get("device")
        if device is not None:
            there = torch.device(device).type == self.device.type
            if there:
                kwargs["device"] = torch.device("cpu")
                if kwargs.get("generator") is not None:
                    raise MixedDevicesError(f"a CPU generator for a {self.device} tensor in {whole}")
            if name.startswith(("new_", "tensor", "as_tensor")) or name.endswith("_like"):
                return there
        else:
            there = bool(marked)
        if name in ("__getitem__", "__setitem__", "copy_"):
            # An index may lie on the CPU; what is indexed decides.
            if name != "copy_" and not _marked(args[0]) and any(_marked(t) for t in _tensors(args[1])):
                raise MixedDevicesError(f"indices on {self.device} for a tensor on the CPU in {whole}")
            value = list(_tensors(args[2:])) if name == "__setitem__" else []
            if any(isinstance(i, Tensor) for i in _flat(args[1])) and any(
                _marked(t) != _marked(args[0]) and t.ndim for t in value
            ):
                raise MixedDevicesError(f"values and tensor lie apart in {whole}")
            return _marked(args[0])
        loose = [t for t in tensors if not _marked(t) and _dimensions(t) > 0]
        if there and loose and name not in _HOME:
            raise MixedDevicesError(f"{self.device} and cpu in {whole}: {[tuple(t.shape) for t in tensors]}")
        return there

    def _mark(self, tensor: Tensor, there: bool) -> Tensor:
        if there and self.device.type == "mps":
            with torch._C.DisableTorchFunction():
                if tensor.dtype in (torch.float64, torch.complex128):
                    raise TypeError("Cannot convert a MPS Tensor to float64")
        setattr(tensor, MARK, there)
        return tensor


class Lacking(StrictDevice):
    """Fails at one operation, as an older PyTorch on Apple's GPU, once it was called ``after`` times."""

    def __init__(self, kind: str, operation: str, after: int = 0) -> None:
        super().__init__(kind)
        self.lacking, self.left = operation, after

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        on_gpu = any(_marked(x) for x in _tensors((args, kwargs or {})))
        if on_gpu and getattr(func, "__name__", "") == self.lacking:
            self.left -= 1
            if self.left < 0:
                raise NotImplementedError(f"The operator 'aten::{self.lacking}' is not implemented for the MPS device.")
        return super().__torch_function__(func, types, args, kwargs)


def _marked(value: Any) -> bool:
    return bool(isinstance(value, Tensor) and value.__dict__.get(MARK, False))


def _dimensions(tensor: Tensor) -> int:
    with torch._C.DisableTorchFunction():
        return tensor.dim()


def _flat(value: Any) -> list[Any]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
