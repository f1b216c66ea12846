"""Nearest neighbours against a convolutional network (notes 4.1).

The classifier of nearest neighbours learns by heart, at once; then it compares every new image with all that it has
seen. A network takes its time to learn, and then answers in the same time however much it has seen.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

import dlcore as dl
from dlcore.recipes.lesson import Result, Setup, at_least, at_most, recipe
from dlcore.recipes.picture import label, lines, panels


def timed(work: Any, rounds: int) -> float:
    """The least CPU time of some rounds, in milliseconds."""
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(1e3 * (time.process_time() - start))
    return min(times)


@recipe(
    "4.1", "Nearest neighbours train in O(1) and evaluate in O(n); a CNN evaluates in O(1), with fewer numbers held."
)
def nearest_neighbours(setup: Setup) -> Result:
    data: Any = dl.data.load("fashion-subset", seed=setup.seed)
    x, y = data.train.rows(slice(None))
    queries, test = data.test.x[:100], data.test[: setup.pick(1000, 200)]
    # Twice as many images at a time: beyond those of the package, the same ones a little brighter or darker.
    rng = np.random.default_rng(setup.seed)
    sizes = setup.pick((1000, 2000, 4000, 8000, 16000), (500, 1000, 2000, 4000))
    train, query = [], []
    for n in sizes:
        rows = rng.integers(0, len(x), n)
        images, labels = x[rows] * rng.uniform(0.9, 1.1, (n, 1, 1, 1)).astype(np.float32), y[rows]
        knn = dl.neighbors.KNNClassifier(5, "l1", device=setup.device)
        train.append(timed(lambda knn=knn, images=images, labels=labels: knn.fit(images, labels), 3))
        knn.predict(queries)
        query.append(timed(lambda knn=knn: knn.predict(queries), 3))

    few = setup.pick(4500, 1500)
    model = dl.nn.Sequential(
        dl.nn.Conv2D(8, 3, padding="same"), dl.nn.ReLU(), dl.nn.MaxPool2D(2),
        dl.nn.Conv2D(16, 3, padding="same"), dl.nn.ReLU(), dl.nn.MaxPool2D(2), dl.nn.Flatten(), dl.nn.Dense(10),
    )  # fmt: skip
    trainer = dl.Trainer(
        model, optimizer=dl.optim.Adam(3e-3), metrics=["accuracy"], seed=setup.seed, device=setup.device
    )
    start = time.process_time()
    trainer.fit(data.train[:few], epochs=setup.pick(10, 3), batch_size=64)
    learnt = 1e3 * (time.process_time() - start)
    answer = timed(lambda: trainer.predict(queries), 5)
    knn = dl.neighbors.KNNClassifier(5, "l1", device=setup.device).fit(x[:few], y[:few])
    accuracy = {
        "nearest neighbours": knn.score(test.x, test.y),
        "CNN": trainer.evaluate(test)["accuracy"],
    }
    grows = float(np.polyfit(np.log(sizes), np.log(query), 1)[0])

    def draw(figure: Any) -> None:
        left, right = panels(figure, 2)
        lines(left, sizes, {"nearest neighbours": query, "CNN": [answer] * len(sizes)}, marks=True)
        label(left, "To answer 100 queries", "training images n", "CPU time, ms", log="xy")
        lines(
            right,
            sizes,
            {"nearest neighbours": train, f"CNN on {few:,} images": [learnt] * len(sizes)},
            marks=True,
            place="center right",
        )
        label(right, "To train", "training images n", "CPU time, ms", log="xy")

    return Result(
        ("", "training, CPU ms", "100 queries, CPU ms", "numbers held", f"accuracy, {few:,} images"),
        [
            *((f"nearest of {n:,}", t, q, n * 784, None) for n, t, q in zip(sizes, train, query, strict=True)),
            ("nearest neighbours", None, None, few * 784, accuracy["nearest neighbours"]),
            ("CNN", learnt, answer, model.count(), accuracy["CNN"]),
        ],
        [
            at_least("exponent p of the query time, as n to the power p", grows, 0.7),
            at_least("training time, CNN over nearest neighbours", learnt / train[-1], 5),
            at_least("query time, nearest of all over CNN", query[-1] / answer, 3),
            at_least("numbers held, nearest neighbours over CNN", few * 784 / model.count(), 50),
            at_most(
                "accuracy of nearest neighbours less that of the CNN",
                accuracy["nearest neighbours"] - accuracy["CNN"],
                0.05,
            ),
        ],
        draw,
        ["O(1) is the training without the copy of the data, which is O(n) too, only fast"],
    )
