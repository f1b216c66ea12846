"""Models in several threads of Python at once, and in a child process: the bits of one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import dlcore as dl


def trained(seed: int) -> bytes:
    """The weights after some steps of one's own loop, in which other threads do not stop the recording."""
    nn = dl.nn
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((64, 20), np.float32), rng.integers(0, 3, 64)
    model = nn.Sequential(nn.Dense(32), nn.BatchNorm(), nn.ReLU(), nn.Dropout(0.2), nn.Dense(3))
    model.build((20,), seed)
    optimizer = dl.optim.Adam(0.01).attach(model)
    for _ in range(8):
        with dl.no_grad():
            model.eval()(x[:5])
        dl.functional.cross_entropy(model.train()(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
    return b"".join(np.asarray(value).tobytes() for value in model.state_dict().values())


def test_four_threads_train_as_one_after_the_other() -> None:
    expected = [trained(seed) for seed in range(4)]
    found: list[bytes] = [b""] * 4

    def work(seed: int) -> None:
        found[seed] = trained(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected


FORK = """
import os, sys
sys.path.insert(0, sys.argv[1])
from test_threads import trained
before = trained(1)
child = os.fork()
if child == 0:
    os._exit(0 if trained(1) == before else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), trained(1) == before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_child_of_a_fork_trains_as_its_parent() -> None:
    words = [sys.executable, "-c", FORK, str(Path(__file__).parent)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "0 True\n"), done.stderr
