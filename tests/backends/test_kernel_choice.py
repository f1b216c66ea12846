"""Which implementation of a kernel runs: the reference, or an alternative that accepts the call; and why."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from arrays import backend
from case import implementations
from cases import CASES

from backends import dispatch as kernel_module
from backends.dispatch import Kernel, UpdateKernel, explain, kernel, kernels, reference_only, update_kernel
from backends.namespace import NUMPY

X = np.array([1.0, 2.0, 3.0])


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels defined in a test are forgotten after it."""
    monkeypatch.setattr(kernel_module, "_REGISTRY", kernels())


@pytest.fixture
def double() -> Kernel:
    """A kernel of its own: its reference gives 2x."""

    @kernel
    def double(xp, x, *, power=1, needed):
        return 2 * x**power, x

    @double.backward
    def _(xp, dy, saved, *, power=1, needed):
        return (2 * dy,)

    return double


def pair_named(name: str, factor: float) -> Any:
    """An alternative that tells itself apart by its result."""
    return type(
        name,
        (),
        {
            "forward": staticmethod(lambda xp, x, *, needed, **params: (factor * x, None)),
            "backward": staticmethod(lambda xp, dy, saved, *, needed, **params: (factor * dy,)),
        },
    )


def odd(x: Any, **params: Any) -> str | None:
    return f"N={x.shape[0]} is odd" if x.shape[0] % 2 else None


# --- the choice


def test_the_reference_runs_where_there_is_nothing_else(double: Kernel):
    assert double.choose(NUMPY, [X], {}) is double
    assert double(X).tolist() == [2.0, 4.0, 6.0]
    assert double(X, power=2).tolist() == [2.0, 8.0, 18.0]


def test_an_alternative_without_a_condition_takes_every_call(double: Kernel):
    fast = double.alternative("numpy")(pair_named("Fast", 20.0))
    assert double.choose(NUMPY, [X], {}) is fast
    assert double(X).tolist() == [20.0, 40.0, 60.0]


def test_an_alternative_that_declines_leaves_the_call_to_the_reference(double: Kernel):
    fast = double.alternative("numpy", unless=odd)(pair_named("Even", 20.0))
    assert double(X).tolist() == [2.0, 4.0, 6.0]
    assert double(X[:2]).tolist() == [20.0, 40.0]
    assert double.choose(NUMPY, [X[:2]], {}) is fast


def test_the_condition_sees_arrays_and_parameters(double: Kernel):
    seen = []

    def unless(*arrays: Any, **params: Any) -> None:
        seen.append((arrays, params))

    double.alternative("numpy", unless=unless)(pair_named("Fast", 20.0))
    double(X, power=3)
    assert len(seen) == 1
    assert seen[0][0][0] is X
    assert seen[0][1] == {"power": 3}


def test_later_registrations_are_tried_first(double: Kernel):
    double.alternative("numpy")(pair_named("First", 10.0))
    double.alternative("numpy", unless=odd)(pair_named("Second", 20.0))
    assert double(X[:2]).tolist() == [20.0, 40.0]
    assert double(X).tolist() == [10.0, 20.0, 30.0]


def test_alternatives_of_another_library_are_not_taken(double: Kernel):
    double.alternative("cupy")(pair_named("Foreign", 30.0))
    assert double(X).tolist() == [2.0, 4.0, 6.0]
    with backend("cupy-standin") as arrays:
        assert arrays.host(double(arrays.place(X))).tolist() == [30.0, 60.0, 90.0]
    with backend("strict") as arrays:
        assert arrays.host(double(arrays.place(X))).tolist() == [2.0, 4.0, 6.0]


def test_reference_only_forces_the_reference(double: Kernel):
    double.alternative("numpy")(pair_named("Fast", 20.0))
    with reference_only():
        assert double(X).tolist() == [2.0, 4.0, 6.0]
        with reference_only():
            pass
        assert double.choose(NUMPY, [X], {}) is double
    assert double(X).tolist() == [20.0, 40.0, 60.0]


def test_reference_only_ends_with_an_error(double: Kernel):
    fast = double.alternative("numpy")(pair_named("Fast", 20.0))
    with pytest.raises(ZeroDivisionError), reference_only():
        _ = 1 / 0
    assert double.choose(NUMPY, [X], {}) is fast


def test_a_kernel_of_several_outputs_gives_them_all_when_called():
    @kernel
    def halves(xp, x, *, needed):
        return (x / 2, x / 4), None

    assert [y.tolist() for y in halves(X)] == [[0.5, 1.0, 1.5], [0.25, 0.5, 0.75]]


def test_update_kernels_choose_too():
    @update_kernel
    def grow_(xp, x, *, by):
        x += by

    assert isinstance(grow_, UpdateKernel)
    x = X.copy()
    assert grow_(x, by=1.0) is None
    assert x.tolist() == [2.0, 3.0, 4.0]

    @grow_.alternative("numpy", unless=odd)
    class Fast:
        @staticmethod
        def forward(xp, x, *, by):
            x += 10 * by

    grow_(x, by=1.0)
    assert x.tolist() == [3.0, 4.0, 5.0]
    grow_(x[:2], by=1.0)
    assert x.tolist() == [13.0, 14.0, 5.0]


# --- explain


def test_explain_names_the_reference(double: Kernel):
    assert str(explain(double, X)) == "double on numpy: reference"


def test_explain_takes_a_parameter_called_kernel():
    x = np.zeros((1, 4, 4, 2))
    choice = explain(kernels()["max_pool2d"], x, kernel=(2, 2), stride=(2, 2), padding=((0, 0), (0, 0)))
    assert choice.taken == "reference"


def test_explain_names_what_was_taken_and_why_what_comes_before_was_not(double: Kernel):
    double.alternative("numpy")(pair_named("Never", 10.0))
    double.alternative("numpy")(pair_named("Fast", 20.0))
    double.alternative("numpy", unless=odd)(pair_named("Faster", 30.0))
    assert str(explain(double, X)) == "double on numpy: Fast\n  not Faster: N=3 is odd"
    assert str(explain(double, X[:2], power=2)) == "double on numpy: Faster"


def test_explain_gives_every_reason_where_all_decline(double: Kernel):
    double.alternative("numpy", unless=lambda x, **params: "dtype is float64")(pair_named("Single", 20.0))
    double.alternative("numpy", unless=odd)(pair_named("Even", 30.0))
    choice = explain(double, X)
    assert choice.taken == "reference"
    assert choice.declined == (("Even", "N=3 is odd"), ("Single", "dtype is float64"))
    assert str(choice).splitlines()[1:] == ["  not Even: N=3 is odd", "  not Single: dtype is float64"]


def test_explain_says_when_the_reference_is_forced(double: Kernel):
    double.alternative("numpy")(pair_named("Fast", 20.0))
    with reference_only():
        assert str(explain(double, X)) == "double on numpy: reference\n  not Fast: reference_only() is on"


def test_explain_names_the_library(double: Kernel):
    for name, library in (("strict", "array_api_strict"), ("cupy-standin", "cupy")):
        with backend(name) as arrays:
            assert str(explain(double, arrays.place(X))) == f"double on {library}: reference"


# --- definitions


def test_a_second_kernel_of_the_same_name_is_refused(double: Kernel):
    def again(xp, x, *, needed): ...

    again.__name__ = "double"
    with pytest.raises(ValueError, match="double: defined twice"):
        kernel(again)
    assert kernels()["double"] is double


def test_an_update_kernel_must_end_in_an_underscore():
    def grow(xp, x, *, by): ...

    with pytest.raises(ValueError, match=r"grow: .* must end in _"):
        update_kernel(grow)
    assert "grow" not in kernels()


def test_kernels_gives_a_copy_of_the_table(double: Kernel):
    kernels().clear()
    assert kernels()["double"] is double


def test_a_kernel_keeps_the_documentation_of_its_reference():
    relu = kernels()["relu"]
    assert "max(0, x)" in (relu.__doc__ or "")
    assert relu.__module__ == "backends.reference.elementwise"
    assert repr(relu) == "<kernel relu>"


# --- alternatives are imported late


@pytest.fixture
def package_of_alternatives(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    """A package that registers an alternative of the kernel ``double`` for NumPy when it is imported."""
    (tmp_path / "toy_alternatives.py").write_text(
        "from backends.dispatch import kernels\n"
        "@kernels()['double'].alternative('numpy')\n"
        "class Late:\n"
        "    forward = staticmethod(lambda xp, x, *, needed, **params: (40.0 * x, None))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(kernel_module._ALTERNATIVES_OF, "numpy", "toy_alternatives")
    kernel_module._library.cache_clear()
    yield "toy_alternatives"
    sys.modules.pop("toy_alternatives", None)
    kernel_module._library.cache_clear()


def test_alternatives_are_imported_when_their_library_is_first_used(double: Kernel, package_of_alternatives: str):
    with backend("strict") as arrays:
        double(arrays.place(X))
    assert package_of_alternatives not in sys.modules
    assert double(X).tolist() == [40.0, 80.0, 120.0]
    assert package_of_alternatives in sys.modules


def test_explain_and_reference_only_import_them_too(double: Kernel, package_of_alternatives: str):
    with reference_only():
        assert double(X).tolist() == [2.0, 4.0, 6.0]
    assert str(explain(double, X)) == "double on numpy: Late"


def test_a_library_without_a_package_has_the_references(double: Kernel, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(kernel_module._ALTERNATIVES_OF, "numpy", "backends.of_nobody")
    kernel_module._library.cache_clear()
    try:
        assert double.choose(NUMPY, [X], {}) is double
    finally:
        kernel_module._library.cache_clear()


# --- the table of cases tests an alternative as soon as it is registered


@pytest.fixture(scope="module")
def kernel_tests() -> ModuleType:
    """The tests of the table."""
    path = Path(__file__).with_name("test_kernels.py")
    spec = importlib.util.spec_from_file_location("kernel_tests_of_the_choice", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def relu(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """The kernel relu; what a test registers for it is forgotten."""
    relu = kernels()["relu"]
    assert isinstance(relu, Kernel)
    relu.choose(NUMPY, [X], {})  # imports what there is
    monkeypatch.setattr(relu, "alternatives", {})
    return relu


class Toy:
    """An alternative of relu: right, and counting its calls."""

    calls = 0

    @classmethod
    def forward(cls, xp, x, *, needed):
        cls.calls += 1
        positive = x > 0
        return np.where(positive | np.isnan(x), x, 0).astype(x.dtype), positive

    @staticmethod
    def backward(xp, dy, positive, *, needed):
        return (np.where(positive, dy, 0).astype(dy.dtype),)


class WrongForward(Toy):
    @classmethod
    def forward(cls, xp, x, *, needed):
        return np.abs(x), x > 0


class WrongBackward(Toy):
    @staticmethod
    def backward(xp, dy, positive, *, needed):
        return (np.where(positive, dy, 0.5 * dy).astype(dy.dtype),)


class WrongDtype(Toy):
    @classmethod
    def forward(cls, xp, x, *, needed):
        y, positive = super().forward(xp, x, needed=needed)
        return np.asarray(y, np.float64), positive


class WrongMemory(Toy):
    @classmethod
    def forward(cls, xp, x, *, needed):
        positive = x > 0
        x[x < 0] = 0
        return x.copy(), positive


class WrongLayout(Toy):
    @classmethod
    def forward(cls, xp, x, *, needed):
        y, positive = super().forward(xp, x, needed=needed)
        return y.ravel("K").reshape(x.shape), positive  # the order of the memory, as a C kernel would go through it


def run_on_relu(kernel_tests: ModuleType, test: str) -> None:
    with backend("numpy") as arrays:
        getattr(kernel_tests, test)("relu", arrays)


EVERY_TEST = [
    "test_forward_equals_the_oracle",
    "test_float32_stays_float32",
    "test_backward_is_the_derivative",
    "test_nothing_is_copied_or_waited_for",
    "test_inputs_are_left_alone",
    "test_other_memory_layouts_give_the_same",
    "test_backward_takes_a_broadcast_view",
    "test_only_needed_gradients_are_given",
]


@pytest.mark.parametrize("test", EVERY_TEST)
def test_a_right_alternative_passes_every_test_of_the_table(kernel_tests, relu, test, monkeypatch):
    monkeypatch.setattr(Toy, "calls", 0)
    relu.alternative("numpy")(Toy)
    run_on_relu(kernel_tests, test)
    assert Toy.calls >= sum(case.kernel == "relu" for case in CASES) or test == "test_only_needed_gradients_are_given"


@pytest.mark.parametrize(
    ("pair", "test"),
    [
        (WrongForward, "test_forward_equals_the_oracle"),
        (WrongBackward, "test_backward_is_the_derivative"),
        (WrongDtype, "test_float32_stays_float32"),
        (WrongMemory, "test_inputs_are_left_alone"),
        (WrongLayout, "test_other_memory_layouts_give_the_same"),
    ],
)
def test_a_wrong_alternative_fails_and_is_named(kernel_tests, relu, pair, test):
    relu.alternative("numpy")(pair)
    with pytest.raises(AssertionError, match=pair.__name__) as caught:
        run_on_relu(kernel_tests, test)
    assert "in the case relu-" in "".join(caught.value.__notes__)


def test_an_alternative_is_tested_on_the_cases_that_it_accepts(relu: Kernel):
    relu.alternative("numpy", unless=lambda x: None if x.ndim == 2 else f"{x.ndim} axes")(Toy)
    for case in CASES:
        if case.kernel == "relu":
            names = [name for name, _ in implementations(case, NUMPY, case.host("float64"))]
            assert names == [f"{case}, reference", *([f"{case}, Toy"] if case.arrays[0].ndim == 2 else [])]


@pytest.mark.parametrize("reason", ["", " ", False, 0])
def test_an_alternative_must_say_why_it_declines(relu: Kernel, reason: Any):
    relu.alternative("numpy", unless=lambda x: reason)(Toy)
    case = next(case for case in CASES if case.kernel == "relu")
    with pytest.raises(AssertionError, match="Toy declines"):
        list(implementations(case, NUMPY, case.host("float64")))


def test_the_stand_in_tries_no_alternative(kernel_tests: ModuleType, relu: Kernel):
    """It has the arrays of CuPy, but runs no CUDA code."""
    relu.alternative("cupy")(SimpleNamespace(__name__="Cuda", forward=None, backward=None))
    with backend("cupy-standin") as arrays:
        kernel_tests.test_forward_equals_the_oracle("relu", arrays)
