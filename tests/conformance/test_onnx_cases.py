"""The cases that ONNX publishes for its operators and for whole models, run through this package's functions.

A case passes where every output has the shape, the dtype and the values that the case stores. What has no counterpart
here is counted with its reason, so that a case which is left out shows: ``benchmarks/figures/conformance.json``.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from full_report import Figures
from onnx import numpy_helper
from onnx_graph import NotExpressibleError, run

CaseOf = tuple[str, Any, list[tuple[Any, Any]], float, float]


def node_cases() -> Iterator[CaseOf]:
    """One operator each, and its expansion into others; they are generated with the package."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the generators: overflows that they mean
        cases = collect_testcases(None)
    for case in cases:
        yield case.name, case.model, case.data_sets, case.rtol, case.atol


def stored_cases(kind: str) -> Iterator[CaseOf]:
    """Models that were exported from elsewhere, with the inputs and outputs of that time, as files."""
    from onnx.backend.test.loader import load_model_tests

    for case in load_model_tests(kind=kind):
        folder = Path(case.model_dir)
        sets = [
            tuple(
                [_stored(path) for path in sorted(data.glob(f"{what}_*.pb"), key=lambda p: int(p.stem.split("_")[1]))]
                for what in ("input", "output")
            )
            for data in sorted(folder.glob("test_data_set_*"))
        ]
        yield case.name, onnx.load(folder / "model.onnx"), sets, case.rtol, case.atol


def _stored(path: Path) -> Any:
    tensor = onnx.TensorProto()
    try:
        tensor.ParseFromString(path.read_bytes())
        return numpy_helper.to_array(tensor)
    except Exception:  # a sequence or a map, which is no tensor
        return None


def check(cases: Iterator[CaseOf]) -> tuple[int, Counter[str], list[str]]:
    """How many passed, why others could not be expressed, and what failed."""
    passed, reasons, failures = 0, Counter[str](), []
    for name, model, sets, rtol, atol in cases:
        try:
            for inputs, expected in sets:
                with np.errstate(all="ignore"):  # some cases are about NaN
                    results = run(model, inputs)
                for result, value in zip(results, expected, strict=True):
                    _compare(result, np.asarray(value), rtol, atol)
            passed += 1
        except NotExpressibleError as reason:
            reasons[str(reason)] += 1
        except Exception as error:  # everything else is a failure, whatever it is
            failures.append(f"{name}: {type(error).__name__}: {str(error).strip()[:300]}")
    return passed, reasons, failures


def _compare(result: np.ndarray, expected: np.ndarray, rtol: float, atol: float) -> None:
    assert result.dtype == expected.dtype, f"{result.dtype} but {expected.dtype} is expected"
    assert result.shape == expected.shape, f"{result.shape} but {expected.shape} is expected"
    # The cases' own bounds; sums in another order may differ by more than 1e-7 near zero.
    np.testing.assert_allclose(result, expected, rtol=rtol, atol=max(atol, 1e-6))


def test_models_that_were_exported_elsewhere_give_their_outputs():
    passed, reasons, failures = check(stored_cases("pytorch-operator"))
    assert not failures
    assert passed > len(reasons) > 0


def test_a_wrong_value_is_a_failure():
    (name, model, sets, *bounds) = next(c for c in stored_cases("pytorch-operator") if c[0] == "test_operator_conv")
    wrong = [(inputs, [outputs[0] + np.float32(0.01)]) for inputs, outputs in sets]
    assert check(iter([(name, model, sets, *bounds)])) == (1, Counter(), [])
    assert check(iter([(name, model, wrong, *bounds)]))[2]


@pytest.mark.full
@pytest.mark.parametrize("kind", ["node", "simple", "pytorch-converted", "pytorch-operator"])
def test_every_case_passes_or_is_counted(kind: str, figures: Figures):
    passed, reasons, failures = check(node_cases() if kind == "node" else stored_cases(kind))
    figures["conformance"] = {
        f"ONNX {onnx.__version__}, {kind}": {
            "passed": passed,
            "not expressible": sum(reasons.values()),
            "reasons": dict(reasons.most_common()),
            "failed": len(failures),
        }
    }
    assert not failures, "\n".join(failures)
