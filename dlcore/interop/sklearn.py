"""Networks as scikit-learn's estimators: in pipelines, grid searches and cross-validation (extra ``sklearn``).

>>> from sklearn.datasets import load_iris
>>> x, y = load_iris(return_X_y=True)
>>> Classifier(hidden=(16,)).fit(x, y).score(x, y) > 0.9
True
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np

from backends.runtime.installation import install_line
from dlcore.data import Dataset, Normalizer
from dlcore.errors import ConfigError
from dlcore.functional import cross_entropy, mse
from dlcore.nn.module import Module
from dlcore.tensor import Tensor, as_tensor
from dlcore.train.assembly.zoo import mlp
from dlcore.train.config.config import ModelConfig, OptimizerConfig, PenaltyConfig
from dlcore.train.engine.trainer import Trainer

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, column_or_1d, validate_data
except ImportError as error:
    raise ConfigError(
        f"dlcore.interop.sklearn needs scikit-learn 1.6 or newer ({error}); {install_line('sklearn')}"
    ) from error

__all__ = ["Classifier", "Regressor"]


def _at_once(fit: Any) -> Any:
    """A ``fit`` that changes the estimator in one go at its end: predictions in other threads meanwhile, and after a
    fit that failed, are those of the fit before."""

    @functools.wraps(fit)
    def whole(self: Any, X: Any, y: Any, sample_weight: Any = None) -> Any:
        fitted = copy.copy(self)
        fit(fitted, X, y, sample_weight)
        self.__dict__ = fitted.__dict__
        return self

    return whole


def _of_one_fit(predict: Any) -> Any:
    """A method that sees the estimator as it is at the call, whatever a ``fit`` in another thread does meanwhile."""

    @functools.wraps(predict)
    def steady(self: Any, X: Any) -> Any:
        return predict(copy.copy(self), X)

    return steady


class _Network(BaseEstimator):
    """What the two have in common."""

    def __init__(
        self,
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
        model: Callable[[int], Module] | None = None,
        input_shape: tuple[int, ...] | None = None,
        optimizer: str = "adam",
        lr: float = 0.01,
        l2: float = 0.0,
        epochs: int = 100,
        batch_size: int = 64,
        normalize: bool = True,
        dtype: str = "float64",
        device: str | None = "cpu",
        random_state: Any = 0,
    ) -> None:
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.model = model
        self.input_shape = input_shape
        self.optimizer = optimizer
        self.lr = lr
        self.l2 = l2
        self.epochs = epochs
        self.batch_size = batch_size
        self.normalize = normalize
        self.dtype = dtype
        self.device = device
        self.random_state = random_state

    def _fit(self, x: np.ndarray, y: np.ndarray, weight: np.ndarray, outputs: int, loss: Any) -> Self:
        """Train a network for targets (N, M); examples of weight 0 are left out."""
        present = weight > 0
        if not present.any():
            raise ValueError("sample_weight is 0 throughout, but at least one example must count")
        x, y, weight = x[present], y[present], weight[present] / weight[present].mean()
        self._normalizer = Normalizer.of(x, weight)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        network = self._network(outputs)
        x = self._inputs(x)
        network.build(x.shape[1:], seed, dtype=self.dtype)
        trainer = Trainer(
            network,
            loss=_Weighted(loss),
            optimizer=OptimizerConfig(optimizer=self.optimizer, lr=self.lr, **_defaults(self.optimizer)).build(),
            penalty=PenaltyConfig(penalty="l2", lam=self.l2).build() if self.l2 else None,
            device=self.device,
            seed=seed,
        )
        targets = np.column_stack([y, weight])
        trainer.fit(Dataset(x, targets), epochs=self.epochs, batch_size=self.batch_size, verbose=False)
        self.model_ = network.to("cpu").eval()  # so that it can be pickled and used anywhere
        self.loss_curve_ = list(trainer.history["loss"])
        return self

    def _network(self, outputs: int) -> Module:
        if isinstance(self.model, Module):
            raise ConfigError(
                f"model is a {type(self.model).__name__} but a function that makes one is expected, so that each fit "
                "begins anew: model=lambda outputs: dl.nn.Sequential(..., dl.nn.Dense(outputs))"
            )
        if self.model is not None:
            network = self.model(outputs)
            if not isinstance(network, Module):
                raise ConfigError(f"model returned {network!r:.60} but a dlcore.nn.Module is expected")
            return network
        hidden: Any = np.asarray(self.hidden).tolist()  # plain numbers, of an array too
        config = ModelConfig(hidden=hidden or None, activation=self.activation, dropout=self.dropout)
        return mlp(outputs, config)

    def _inputs(self, x: np.ndarray) -> np.ndarray:
        """Rows as the network takes them."""
        if self.normalize:
            x = self._normalizer.transform(x, np.float64)
        x = x.astype(self.dtype)
        if self.input_shape is None:
            return x
        if math.prod(self.input_shape) != x.shape[1]:
            raise ConfigError(
                f"input_shape is {self.input_shape!r}, of {math.prod(self.input_shape)} numbers, but a row of X has "
                f"{x.shape[1]}"
            )
        return x.reshape(len(x), *self.input_shape)

    def _outputs(self, X: Any) -> np.ndarray:
        """(N, outputs) float64 of the network for (N, D)."""
        check_is_fitted(self, "model_")
        x = self._inputs(np.asarray(validate_data(self, X, reset=False, dtype=np.float64)))
        trainer = Trainer(self.model_, loss="mse", device="cpu")
        return trainer.predict(x).astype(np.float64)


class Classifier(ClassifierMixin, _Network):
    """A network that tells classes apart, by softmax and cross-entropy, as an estimator of scikit-learn.

    hidden, activation, dropout : of an mlp, as ``dlcore train --model mlp`` has them
    model : instead of these a function from the number of outputs to a Module, such as a cnn
    input_shape : what each row of X is brought to before the model sees it, such as (8, 8, 1); None leaves it a row
    optimizer, lr : a rule's name and its learning rate, per step
    l2 : strength λ of the penalty on the weights, λ / 2m ‖W‖² beside the mean loss of the m examples: 1 / C of
        scikit-learn's LogisticRegression
    epochs, batch_size : of the training
    normalize : bring each feature to mean 0 and standard deviation 1 by the training set, as
        :class:`~dlcore.data.Normalizer` does: columns of 0 and 1 stay, a constant one becomes 0, and far values are
        bounded
    dtype : "float64", scikit-learn's own, or "float32", which is faster
    device : where it is trained; None asks DLCORE_DEVICE. The fitted network is on the CPU
    random_state : an integer gives the same network each time; None or a RandomState another one
    class_weight : factors of the examples' weights: "balanced", n / (k · n_c), or a dict by label, in which others
        weigh 1; None for equal ones

    Fitted: ``classes_``, ``n_features_in_``, ``model_`` (the Module), ``loss_curve_``. Weights of examples multiply
    their losses; with one batch an epoch a weight of 2 is the same as the example twice, with several it is so on
    average.

    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> x, y = load_iris(return_X_y=True)
    >>> classifier = Classifier(hidden=(16,), epochs=30)
    >>> bool(cross_val_score(classifier, x, y, cv=3).mean() > 0.9)
    True
    >>> classifier.fit(x, y).predict(x[:2]), classifier.predict_proba(x[:2]).shape
    (array([0, 0]), (2, 3))
    """

    def __init__(
        self,
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
        model: Callable[[int], Module] | None = None,
        input_shape: tuple[int, ...] | None = None,
        optimizer: str = "adam",
        lr: float = 0.01,
        l2: float = 0.0,
        epochs: int = 100,
        batch_size: int = 64,
        normalize: bool = True,
        dtype: str = "float64",
        device: str | None = "cpu",
        random_state: Any = 0,
        class_weight: Any = None,
    ) -> None:
        super().__init__(
            hidden, activation, dropout, model, input_shape, optimizer, lr,
            l2, epochs, batch_size, normalize, dtype, device, random_state,
        )  # fmt: skip
        self.class_weight = class_weight

    @_at_once
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """X : (N, D) numbers; y : (N,) labels of any kind; sample_weight : (N,) weights, not negative."""
        X, y = validate_data(self, X, y, dtype=np.float64)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        check_classification_targets(y)
        y = column_or_1d(y, warn=True)
        self.classes_, labels = np.unique(y, return_inverse=True)
        if self.class_weight is not None:
            weight = weight * compute_sample_weight(self.class_weight, y)
        return self._fit(X, labels.astype(np.float64)[:, None], weight, len(self.classes_), _classes)

    @_of_one_fit
    def predict_proba(self, X: Any) -> np.ndarray:
        """(N, K) the probability of each class, in the order of ``classes_``."""
        scores = self._outputs(X)
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        return shares / shares.sum(axis=1, keepdims=True)

    @_of_one_fit
    def predict(self, X: Any) -> np.ndarray:
        """(N,) the most probable class."""
        scores = self._outputs(X)
        return self.classes_[scores.argmax(axis=1)]


class Regressor(RegressorMixin, _Network):
    """A network that predicts a number, or several, by the mean squared error, as an estimator of scikit-learn.

    Arguments as for :class:`Classifier`. Each target is brought to mean 0 and standard deviation 1 for the training,
    and back in ``predict``.

    >>> x = np.linspace(-1, 1, 50)[:, None]
    >>> regressor = Regressor(hidden=(16,)).fit(x, x[:, 0] ** 2)
    >>> regressor.score(x, x[:, 0] ** 2) > 0.9, regressor.predict(x[:3]).shape
    (True, (3,))
    """

    @_at_once
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """X : (N, D) numbers; y : (N,) or (N, M) numbers; sample_weight : (N,) weights, not negative."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, multi_output=True)
        weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
        self._shape = y.shape[1:]
        y = y.astype(np.float64).reshape(len(y), -1)
        if not weight.any():
            raise ValueError("sample_weight is 0 throughout, but at least one example must count")
        self._target_mean, self._target_scale = _moments(y, weight)
        return self._fit(X, (y - self._target_mean) / self._target_scale, weight, y.shape[1], mse)

    @_of_one_fit
    def predict(self, X: Any) -> np.ndarray:
        """(N,) or (N, M) numbers, as y was."""
        outputs = self._outputs(X)
        return (outputs * self._target_scale + self._target_mean).reshape(len(outputs), *self._shape)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _moments(values: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (D,) of the columns (N, D); 1 in the place of a deviation of 0."""
    mean = np.average(values, axis=0, weights=weight)
    scale = np.sqrt(np.average((values - mean) ** 2, axis=0, weights=weight))
    return mean, np.where(scale > 0, scale, 1.0)


def _classes(outputs: Any, y: Any, sample_weight: Any) -> Tensor:
    from backends.namespace import namespace_of

    xp = namespace_of(y)
    return cross_entropy(outputs, xp.astype(y[:, 0], xp.int64), sample_weight=sample_weight)


class _Weighted:
    """A loss for targets (N, M + 1): the targets and the example's weight, whose mean over the training set is 1."""

    def __init__(self, loss: Any) -> None:
        self.loss = loss

    def __call__(self, outputs: Any, y: Any) -> Tensor:
        y = as_tensor(y).data
        weight = y[:, -1]
        # The loss divides by the batch's own sum of weights; a batch of light examples shall count less.
        return self.loss(outputs, y[:, :-1], sample_weight=weight) * Tensor(weight).mean()


def _defaults(optimizer: str) -> dict[str, Any]:
    """The rule's other settings."""
    from dlcore.train.config.defaults import CHOICES

    return dict(CHOICES["optimizer"].get(optimizer, {}))
