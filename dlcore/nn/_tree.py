"""A model as people see it: the tree of its layers in text and in HTML, and the table of its summary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dlcore._core import markup
from dlcore._core.configurable import changed, one_line
from dlcore.nn._build import with_size
from dlcore.nn.parameter import Parameter

if TYPE_CHECKING:
    from dlcore.nn.module import Module

__all__ = ["html", "summary", "tree"]

_MOST = 300
"""More layers than this are counted, not shown, in the tree."""
_WIDE = 100
"""Longer settings of a layer are cut."""
_NOT_BUILT = "not built: call model.build(input_shape) or pass it data, for shapes and parameters"


@dataclass(frozen=True)
class _Row:
    """A module in the tree.

    depth : 0 for the model itself
    name : of its field
    parts : whether there are modules in it
    output : its shape in words, "" where it is not known
    own : how many parameters are its own, without those of its parts; None where they are not made yet
    """

    depth: int
    path: str
    name: str
    module: Module
    parts: bool
    output: str
    own: int | None

    @property
    def settings(self) -> str:
        """The constructor's arguments that differ from their defaults, without modules."""
        said = {name: value for name, value in changed(self.module).items() if not _holds_modules(value)}
        words = ", ".join(f"{name}={one_line(value)}" for name, value in said.items())
        return words if len(words) <= _WIDE else f"{words[: _WIDE - 3]}..."

    @property
    def comment(self) -> str:
        """The shape of the output and the number of parameters, as far as they are known."""
        return ", ".join(filter(None, [self.output, f"{self.own:,} parameters" if self.own else ""]))


def _rows(model: Module) -> Iterator[_Row]:
    from dlcore.nn.module import Module

    shapes: dict[str, Any] = model._shapes if model.vector is not None else {}
    seen: set[int] = set()

    def walk(module: Module, name: str, path: str, depth: int) -> Iterator[_Row]:
        seen.add(id(module))
        fields = list(module._members())
        parts = [(field, value) for field, value in fields if isinstance(value, Module) and id(value) not in seen]
        own = [value.size for _, value in fields if isinstance(value, Parameter)]
        shape = shapes.get(path)
        output = str(("N", *with_size("T", shape[1:]))).replace("'", "") if isinstance(shape, tuple) else ""
        yield _Row(depth, path, name, module, bool(parts), output, sum(own) if own or module._ready else None)
        for field, part in parts:
            if id(part) not in seen:
                yield from walk(part, field, f"{path}.{field}" if path else field, depth + 1)

    return walk(model, "", "", 0)


def _holds_modules(value: Any) -> bool:
    from dlcore.nn.module import Module

    if isinstance(value, dict):
        return any(map(_holds_modules, value.values()))
    return any(map(_holds_modules, value)) if isinstance(value, list | tuple) else isinstance(value, Module)


def tree(model: Module) -> str:
    """``repr``: a layer in one line, a model with a line for each layer, and shapes and parameters once it is built.

    >>> from dlcore import nn
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         self.body = nn.Sequential(nn.Dense(4), nn.ReLU())
    ...         self.head = nn.Dense(2)
    ...     def forward(self, x):
    ...         return self.head(self.body(x))
    >>> print(tree(Net().build((3,))))
    Net(
      body: Sequential(
        0: Dense(units=4)  # (N, 4), 16 parameters
        1: ReLU()  # (N, 4)
      )
      head: Dense(units=2)  # (N, 2), 10 parameters
    )  # 26 parameters
    """
    rows = list(_rows(model))
    if not rows[0].parts:
        return f"{type(model).__name__}({rows[0].settings})"
    lines: list[str] = []
    open_at: list[int] = []
    for row in rows[:_MOST]:
        while open_at and open_at[-1] >= row.depth:
            lines.append("  " * open_at.pop() + ")")
        name = f"{row.name}: " if row.depth else ""
        start = "  " * row.depth + f"{name}{type(row.module).__name__}("
        if row.parts:
            lines.append(start)
            open_at.append(row.depth)
            if row.settings:
                lines.append("  " * (row.depth + 1) + row.settings)
        else:
            lines.append(f"{start}{row.settings})" + (f"  # {row.comment}" if row.comment else ""))
    if len(rows) > _MOST:
        lines.append("  " * (rows[_MOST - 1].depth) + f"... and {len(rows) - _MOST:,} more layers")
    lines += ["  " * depth + ")" for depth in reversed(open_at)]
    if model.vector is not None:
        lines[-1] += f"  # {model.count():,} parameters"
    return "\n".join(lines)


def html(model: Module) -> str:
    """The same as a table."""
    rows = list(_rows(model))
    cells = [
        (
            row.name if row.depth else type(model).__name__,
            f"{type(row.module).__name__}({row.settings})" if row.depth or not row.parts else row.settings,
            row.output or "?",
            "?" if row.own is None else f"{row.own:,}" if row.own or not row.parts else "",
        )
        for row in rows[:_MOST]
    ]
    more = f"and {len(rows) - _MOST:,} more layers" if len(rows) > _MOST else ""
    built = all(row.own is not None for row in rows)
    where = f", {model.device}, {str(model.vector.dtype).rpartition('.')[2]}" if model.vector is not None else ""
    return markup.together(
        markup.title(type(model).__name__, f"{model.count():,} parameters{where}" if built else _NOT_BUILT),
        markup.table(
            ("Layer", "Type and settings", "Output", "Parameters"), cells, numbers=(3,),
            indents=[row.depth for row in rows[:_MOST]],
        ),
        markup.title("", more) if more else "",
    )  # fmt: skip


def summary(model: Module) -> str:
    """The table of :meth:`~dlcore.nn.Module.summary`."""
    every = list(_rows(model))
    shown = [row for row in every if row.path and (row.own or not row.parts)]
    rows = [("layer", "type", "output", "parameters")]
    rows += [
        (row.path, type(row.module).__name__, row.output or "?", "?" if row.own is None else f"{row.own:,}")
        for row in shown
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [f"{row[0]:{widths[0]}}  {row[1]:{widths[1]}}  {row[2]:{widths[2]}}  {row[3]:>{widths[3]}}" for row in rows]
    built = all(row.own is not None for row in every)
    return "\n".join([*lines, f"total: {model.count():,} parameters" if built else _NOT_BUILT])
