"""The modules' names of version 0.1 give the modules of today, and say so once where they are imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from backends._renamed import NAMES as OF_BACKENDS
from dlcore._core.renamed import NAMES as OF_DLCORE

NAMES = {**OF_BACKENDS, **OF_DLCORE}


@pytest.mark.parametrize("old", NAMES)
def test_an_old_name_is_the_same_module_with_a_warning_at_the_line_that_imports_it(old: str) -> None:
    package, _, name = old.rpartition(".")
    code = f"import importlib\nfrom {package} import {name}\nassert {name} is importlib.import_module('{NAMES[old]}')\n"
    done = subprocess.run(
        [sys.executable, "-W", "always::DeprecationWarning", "-"],
        input=code,
        capture_output=True,
        text=True,
        check=True,
    )
    (line, *_) = [line for line in done.stderr.splitlines() if "DeprecationWarning" in line]
    assert line.startswith("<stdin>:2: ")
    assert f"{old} is called {NAMES[old]} since dlcore 0.2" in line


def test_names_are_taken_from_them_and_from_the_modules_inside() -> None:
    code = "from backends.kernel import kernel; import backends.transfer as t; from backends import dispatch\n"
    code += "assert kernel is dispatch.kernel and t.guard('allow') is not None\n"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
