"""The samples by which PyTorch tests its own operators, through ours: values, and gradients for a random dy.

Both compute in float64 and in float32; what has no counterpart here is counted with its reason.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from full_report import Figures
from onnx_graph import NotExpressibleError
from opinfo import OURS

import dlcore as dl

pytestmark = pytest.mark.full
BOUNDS = {"float32": {"rtol": 1e-4, "atol": 1e-5}, "float64": {"rtol": 1e-10, "atol": 1e-11}}


def operators() -> list[Any]:
    pytest.importorskip("torch", reason="the oracle is PyTorch, which is not installed")
    pytest.importorskip("expecttest", reason="PyTorch's own samples need expecttest, which is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return [info for info in op_db if info.name in OURS]


def _mapped(x: Any, change: Any) -> Any:
    import torch

    if isinstance(x, torch.Tensor):
        return change(x)
    if isinstance(x, (list, tuple)):
        parts = [_mapped(part, change) for part in x]
        return tuple(parts) if isinstance(x, tuple) else parts
    if isinstance(x, dict):
        return {name: _mapped(part, change) for name, part in x.items()}
    return x


def _tensors(x: Any) -> Iterator[Any]:
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, (list, tuple)):
        for part in x:
            yield from _tensors(part)
    elif hasattr(x, "requires_grad"):
        yield x


def check(info: Any, sample: Any, dtype: str) -> None:
    """One sample: what both give for it, and the gradients of everything that asks for one."""
    import torch

    def ours(x: Any) -> Any:
        if x.dtype.is_complex or x.dtype is torch.bfloat16:
            raise NotExpressibleError(f"dtype {x.dtype}")
        return dl.Tensor(x.detach().numpy(), requires_grad=x.requires_grad)

    theirs = _mapped((sample.input, sample.args, sample.kwargs), lambda x: x.detach().requires_grad_(x.requires_grad))
    mine = _mapped(theirs, ours)
    result = OURS[info.name](mine[0], *mine[1], **mine[2])
    expected = info.op(theirs[0], *theirs[1], **theirs[2])
    results = list(_tensors(result)) if isinstance(result, (tuple, list)) else [result]
    values = list(_tensors(expected)) if isinstance(expected, (tuple, list)) else [expected]
    assert len(results) == len(values), "the number of outputs"
    rng = np.random.default_rng(0)
    loss, their_loss = 0.0, 0.0
    for y, value in zip(results, values, strict=True):
        assert tuple(y.shape) == tuple(value.shape), f"{tuple(y.shape)} but {tuple(value.shape)} is expected"
        assert str(value.dtype) in (f"torch.{y.dtype}",), f"{y.dtype} but {value.dtype} is expected"
        np.testing.assert_allclose(y.numpy(), value.detach().numpy(), **BOUNDS[dtype])
        if value.requires_grad:
            dy = rng.standard_normal(tuple(value.shape)).astype(dtype)
            loss = loss + (y * dy).sum()
            their_loss = their_loss + (value * torch.from_numpy(np.asarray(dy))).sum()
    leaves = [(x, z) for x, z in zip(_tensors(mine), _tensors(theirs), strict=True) if z.requires_grad]
    if not isinstance(their_loss, float) and leaves:
        loss.backward()
        their_loss.backward()
        for x, z in leaves:
            gradient = np.zeros(tuple(z.shape)) if z.grad is None else z.grad.numpy()
            own = np.zeros(tuple(x.shape)) if x.grad is None else x.grad
            np.testing.assert_allclose(own, gradient, **BOUNDS[dtype], err_msg="gradient")


def test_every_sample_of_pytorchs_operators_passes_or_is_counted(figures: Figures):
    import torch

    passed, reasons, failures, names = Counter[str](), Counter[str](), [], set()
    for info in operators():
        names.add(info.name)
        for dtype in ("float32", "float64"):
            if getattr(torch, dtype) not in info.supported_dtypes("cpu"):
                continue
            torch.manual_seed(0)
            for sample in info.sample_inputs("cpu", getattr(torch, dtype), requires_grad=info.supports_autograd):
                try:
                    with np.errstate(all="ignore"), warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        check(info, sample, dtype)
                    passed[info.name] += 1
                except NotExpressibleError as reason:
                    reasons[f"{info.name}: {reason}"] += 1
                except Exception as error:  # everything else is a failure, whatever it is
                    text = " ".join(str(error).split())[:300]
                    failures.append(f"{info.name} {dtype} {sample.summary()[:200]}: {type(error).__name__}: {text}")
    figures["conformance"] = {
        f"PyTorch {torch.__version__}, operators": {
            "operators": len(names),
            "passed": passed.total(),
            "not expressible": reasons.total(),
            "reasons": dict(reasons.most_common()),
            "failed": len(failures),
        }
    }
    assert not failures, f"{len(failures)} of {passed.total() + len(failures)}:\n" + "\n".join(failures)
