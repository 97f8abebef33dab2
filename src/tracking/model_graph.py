"""A model's graph and its table of layers, taken without leaving a trace in the model."""

from __future__ import annotations

import contextlib
import io
import random
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.compat.proto.versions_pb2 import VersionDef
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

_HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
_COMPILED = "_compiled_call_impl"  # what Module.compile() sets; it cannot be traced
_GRAPH_VERSION = 22  # the GraphDef version that TensorBoard's graph plugin reads


def trace_model(model: nn.Module, example_inputs: Any) -> tuple[GraphDef | None, str]:
    """The model's graph, or None and the reason why there is none. Never raises.

    Args:
        model: any module; its modes, parameters, buffers, hooks and the random state are put back afterwards.
        example_inputs: one value or a tuple of positional arguments; tensors may be nested in lists, tuples, dicts and
            packed sequences.
    """
    arguments = example_inputs if type(example_inputs) is tuple else (example_inputs,)
    try:
        with _quiet(), _untouched(model), torch.no_grad():
            return _trace(getattr(model, "_orig_mod", model), arguments), ""
    except Exception as error:  # whatever a stranger's forward may raise: a graph is never worth a training run
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        return None, reason


def _trace(model: nn.Module, arguments: tuple[Any, ...]) -> GraphDef:
    # The parser behind SummaryWriter.add_graph is used by itself, because add_graph traces twice and refuses models
    # that draw random numbers or whose two traces differ in a name.
    from torch.utils.tensorboard._pytorch_graph import parse

    parameter = next(model.parameters(), None)
    tensors: list[Tensor] = []
    rebuild = _take_apart(arguments, tensors)
    if parameter is not None:
        tensors = [tensor.to(parameter.device) for tensor in tensors]
    # The root of the graph carries the name of the wrapper's class.
    wrapper = type(type(model).__name__, (_TensorsOnly,), {})(model, rebuild)
    trace = torch.jit.trace(wrapper, tuple(tensors), strict=False, check_trace=False)
    graph = trace.graph
    torch._C._jit_pass_inline(graph)
    return GraphDef(node=parse(graph, trace), versions=VersionDef(producer=_GRAPH_VERSION))


class _TensorsOnly(nn.Module):
    """A module whose inputs and outputs are flat tuples of tensors: all that a trace can hold."""

    def __init__(self, model: nn.Module, rebuild: Callable[[list[Tensor]], Any]) -> None:
        super().__init__()
        self.model = model
        self._rebuild = [rebuild]  # in a list: the tracer copies plain attributes but skips lists of functions
        self.training = False

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        outputs: list[Tensor] = []
        _take_apart(self.model(*self._rebuild[0](list(tensors))), outputs)
        if not outputs:
            raise ValueError("its forward returns no tensor")
        return tuple(outputs)


def _take_apart(value: Any, tensors: list[Tensor]) -> Callable[[list[Tensor]], Any]:
    """Append the tensors inside ``value`` to ``tensors``; return a function that puts others in their places."""
    if isinstance(value, Tensor):
        place = len(tensors)
        tensors.append(value)
        return lambda given: given[place]
    if isinstance(value, PackedSequence):
        # Lengths and orders stay as they are: they lie on the CPU and steer the computation.
        place = len(tensors)
        tensors.append(value.data)
        return lambda given: PackedSequence(
            given[place], value.batch_sizes, value.sorted_indices, value.unsorted_indices
        )
    if isinstance(value, Mapping):
        parts = {key: _take_apart(part, tensors) for key, part in value.items()}
        return lambda given: {key: part(given) for key, part in parts.items()}
    if isinstance(value, (list, tuple)):
        items = [_take_apart(item, tensors) for item in value]
        if hasattr(value, "_fields"):
            return lambda given: type(value)(*(item(given) for item in items))
        return lambda given: type(value)(item(given) for item in items)
    return lambda given: value


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No tracer warnings and no prints; and the transformer's fused fast path, which has no graph, switched off."""
    fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    nowhere = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            warnings.simplefilter("ignore")
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast_path)


@contextlib.contextmanager
def _untouched(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without hooks; afterwards modes, hooks, values and the random states are as they were."""
    modules = list(model.modules())
    modes = [module.training for module in modules]
    hooks = [(module, name, getattr(module, name)) for module in modules for name in _HOOKS]
    hooks += [(module, _COMPILED, getattr(module, _COMPILED)) for module in modules if getattr(module, _COMPILED)]
    values = [(tensor, tensor.detach().clone()) for tensor in _initialised(model)]
    buffers = [(module, dict(module._buffers)) for module in modules]
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - others use the old generator
    try:
        with torch.random.fork_rng(devices=sorted({tensor.get_device() for tensor, _ in values if tensor.is_cuda})):
            for module in modules:
                module.training = False
            for module, name, _ in hooks:
                setattr(module, name, None if name == _COMPILED else OrderedDict())
            yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
        for module, name, registered in hooks:
            setattr(module, name, registered)
        for module, registered_buffers in buffers:
            module._buffers.update(registered_buffers)
        with torch.no_grad():
            for tensor, before in values:
                if not torch.equal(tensor, before):
                    tensor.copy_(before)
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002


def _initialised(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers that have values (a lazy module has none before its first call)."""
    tensors: list[Tensor] = [*model.parameters(), *model.buffers()]
    return [tensor for tensor in tensors if not torch.nn.parameter.is_lazy(tensor)]


def model_table(model: nn.Module) -> str:
    """A Markdown table: every module that has parameters of its own, their shapes and number, and the totals."""
    lines = ["| module | type | parameters | number |", "|:--|:--|:--|--:|"]
    counted: set[int] = set()
    total = trainable = 0
    for name, module in model.named_modules():
        own = list(module.named_parameters(recurse=False))
        if not own:
            continue
        number = 0
        for _, parameter in own:
            if id(parameter) not in counted and not torch.nn.parameter.is_lazy(parameter):
                number += parameter.numel()
                trainable += parameter.numel() if parameter.requires_grad else 0
            counted.add(id(parameter))
        shapes = ", ".join(f"{parameter_name} {_shape(parameter)}" for parameter_name, parameter in own)
        lines.append(f"| {name or '(model)'} | {type(module).__name__} | {shapes} | {number:,} |")
        total += number
    lines.append(f"| **total** | {type(model).__name__} | {trainable:,} trainable | **{total:,}** |")
    return "\n".join(lines)


def _shape(parameter: Tensor) -> str:
    if torch.nn.parameter.is_lazy(parameter):
        return "not built yet"
    return "x".join(str(size) for size in parameter.shape) or "scalar"
