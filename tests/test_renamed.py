"""The modules' names of version 0.1 give what they gave, and say where it is today at the line that imports them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from backends._renamed import NAMES as OF_BACKENDS
from dlcore._core.renamed import NAMES as OF_DLCORE

NAMES = {**OF_BACKENDS, **OF_DLCORE}
PUBLIC = {
    "backends.device": "CPU Device DeviceReport describe resolve survey",
    "backends.kernel": "Alternative Choice Kernel UpdateKernel explain kernel kernels reference_only update_kernel",
    "backends.memory": "Limit Usage in_words is_cuda limited pool_of told usage",
    "backends.standard": (
        "Padding clip device_of fold_windows mean_axes one_hot output_size pad select sign smallest strip "
        "sum_axes sum_rows tap unbroadcast windows"
    ),
    "backends.threads": "blas_threads kernel_threads limit_kernel_threads loaded_blas",
    "backends.transfer": (
        "Counts TransferError count_upload counts guard guard_with register_download synchronize to_device to_host"
    ),
    "dlcore.diagnosis": "Diagnosis Gap WORDS diagnose diagnose_parts faults_of",
    "dlcore.train.health": "DEAD EXPLODING GradientHealth HealthFile REMEDIES VANISHING is_record words",
    "dlcore.train.history": "History",
    "dlcore.train.models": "build cnn from_file linear logistic mlp recurrent",
    "dlcore.train.rebuild": "describe load_about load_model rebuild save_about save_model",
    "dlcore.train.run": (
        "BEFORE Begin MetricsFile Run about bring_back create empty forget keep plain recover settle write_settings"
    ),
    "dlcore.train.snapshot": (
        "FOLDER LINES Snapshot after_epoch check files find go_back log_of newest paths put_back "
        "put_back_callbacks read take write"
    ),
    "dlcore.train.trainer": "Trainer",
    "dlcore.train.transfer": "Transfer Unfreeze classes_of plan read_source transfer_weights",
}
"""What each exported in version 0.1."""


def test_each_old_name_is_checked() -> None:
    assert NAMES.keys() == PUBLIC.keys()


@pytest.mark.parametrize("old", NAMES)
def test_an_old_name_gives_all_that_it_exported_with_a_warning_at_the_line_that_imports_it(old: str) -> None:
    package, _, name = old.rpartition(".")
    code = f"import importlib\nfrom {package} import {name}\n"
    code += f"modules = [importlib.import_module(one) for one in {NAMES[old]!r}]\n"
    code += f"for public in {PUBLIC[old].split()!r}:\n"
    code += (
        f"    assert any(getattr({name}, public) is vars(module).get(public, module) for module in modules), public\n"
    )
    words = [sys.executable, "-W", "always::DeprecationWarning", "-"]
    done = subprocess.run(words, input=code, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (line, *_) = [line for line in done.stderr.splitlines() if "DeprecationWarning" in line]
    assert line.startswith("<stdin>:2: ")
    assert f"{old} is called {NAMES[old][0]} since dlcore 0.2" in line


def test_names_are_taken_from_them_and_from_the_modules_inside() -> None:
    code = "from backends.kernel import kernel; import backends.transfer as t; from backends import dispatch\n"
    code += "from dlcore.train.run import create, Begin\nimport dlcore as dl\ndl.train.run.Run, dl.train.models.build\n"
    code += "assert kernel is dispatch.kernel and t.guard('forbid') is not None\n"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_a_name_that_it_never_had_is_refused_in_its_own_words() -> None:
    code = "import dlcore.train.run as run\ntry:\n    run.nothing\nexcept AttributeError as error:\n    print(error)\n"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "module 'dlcore.train.run' has no attribute 'nothing'\n"
