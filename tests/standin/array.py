"""The device array: NumPy memory behind a face that gives away nothing which a GPU would not.

An array remembers its device. Reading it on the host is a counted copy and a wait; NumPy cannot read it at all.
Arithmetic, indexing and the methods that compute are attached by ``standin.operators``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from standin import device, queues
from standin.counters import record
from standin.pool import Block
from standin.spec import DTYPE_CHARACTERS, class_names

# Fresh memory holds this byte: NaN in float16, 3e38 in float32, 1e306 in float64, beyond every index in an integer.
# (0xAB would read as -1e-12 in float32, and hide in any sum.)
GARBAGE = 0x7F

_IMPLICIT_CONVERSION = (
    "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
)


@dataclass(frozen=True)
class Flags:
    """``ndarray.flags``: CuPy knows these three and no ``writeable``."""

    c_contiguous: bool
    f_contiguous: bool
    owndata: bool

    def __getitem__(self, name: str) -> bool:
        if name not in ("C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA"):
            raise KeyError(f"{name} is not defined for cupy.ndarray.flags")
        return getattr(self, name.lower())


@dataclass(frozen=True)
class _Pointer:
    """``cupy.cuda.MemoryPointer``, of which the stand-in knows the address alone."""

    ptr: int


class ndarray:  # noqa: N801 (CuPy's name)
    """An array on a device of the pretended machine, with the attributes of ``cupy.ndarray`` and no others."""

    __slots__ = ("_base", "_block", "_device", "_host", "_memory")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]
    _base: ndarray | None
    _block: Block
    _device: int
    _host: np.ndarray
    _memory: queues.Memory

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: Any = "C"):
        if memptr is not None or strides is not None:
            raise NotImplementedError("cupy.ndarray(memptr=, strides=): the stand-in has no device pointers")
        self._host = np.empty(shape, check_dtype(np.dtype(dtype)), order or "C")
        _fill_with_garbage(self._host)
        _allocate(self)

    def __getattr__(self, name: str) -> NoReturn:
        if name in class_names("cupy.ndarray"):
            raise NotImplementedError(f"cupy.ndarray.{name} exists in CuPy, but the stand-in has no double of it yet")
        raise AttributeError(f"'ndarray' object has no attribute '{name}'")

    # What the host knows without asking the device.

    dtype = property(lambda self: self._host.dtype)
    ndim = property(lambda self: self._host.ndim)
    size = property(lambda self: self._host.size)
    itemsize = property(lambda self: self._host.itemsize)
    nbytes = property(lambda self: self._host.nbytes)
    strides = property(lambda self: self._host.strides)
    base = property(lambda self: self._base)
    data = property(lambda self: _Pointer(self._host.ctypes.data))

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes; assigning reshapes without a copy, or raises AttributeError."""
        return self._host.shape

    @shape.setter
    def shape(self, shape: Any) -> None:
        try:
            self._host = self._host.reshape(shape, copy=False)
        except ValueError:
            raise AttributeError("incompatible shape") from None

    @property
    def flags(self) -> Flags:
        """Memory layout."""
        return Flags(self._host.flags.c_contiguous, self._host.flags.f_contiguous, self._base is None)

    @property
    def device(self) -> Any:
        """The ``cupy.cuda.Device`` on which the array resides."""
        from standin.cuda import Device

        return Device(self._device)

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("len() of unsized object")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))  # type: ignore[index] (attached by standin.operators)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, self._device)  # kDLCUDA

    # Views: the same memory, so neither a kernel nor a device of one's own.

    @property
    def T(self) -> ndarray:
        """The axes reversed; below two dimensions the array itself."""
        return self if self.ndim < 2 else view_of(self, self._host.T)

    @property
    def mT(self) -> ndarray:  # noqa: N802 (CuPy's name)
        """The last two axes exchanged."""
        if self.ndim < 2:
            raise ValueError("matrix transpose with ndim < 2 is undefined")
        return view_of(self, self._host.mT)

    def view(self, dtype: Any = None, type: Any = None) -> ndarray:
        """The same memory, read as ``dtype``."""
        if type not in (None, ndarray):
            raise NotImplementedError(f"cupy.ndarray.view(type={type}): the stand-in has no subclasses")
        return view_of(self, self._host.view() if dtype is None else self._host.view(check_dtype(np.dtype(dtype))))

    def transpose(self, *axes: Any) -> ndarray:
        """The axes permuted, by default reversed."""
        return view_of(self, self._host.transpose(*axes))

    def reshape(self, *shape: Any, order: str = "C", copy: bool | None = None) -> ndarray:
        """Another shape: a view where the memory allows it, otherwise a copy."""
        reshaped = lambda: self._host.reshape(*shape, order=order, copy=copy)  # type: ignore[call-overload]  # noqa: E731
        return share_or_own(reshaped(), (self,), "ndarray.reshape", again=reshaped)

    # Copies on the device.

    def copy(self, order: str = "C") -> ndarray:
        """A copy on the current device, wherever the array resides."""
        if self._device == device.current():
            return own(self._host.copy(order), "ndarray.copy")  # type: ignore[arg-type]
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise NotImplementedError("CuPy cannot copy non-contiguous array between devices.")
        record("d2d", "ndarray.copy", self.nbytes)
        return own(self._host.copy("K"), None)

    __copy__ = copy

    def __deepcopy__(self, memo: Any) -> ndarray:
        with self.device:
            return self.copy()

    def astype(
        self, dtype: Any, order: Any = "K", casting: Any = None, subok: Any = None, copy: bool = True
    ) -> ndarray:
        """A copy with another dtype; with ``copy=False`` the array itself where it has that dtype already."""
        if casting is not None or subok is not None:
            raise TypeError(f"{'subok' if casting is None else 'casting'} is not supported yet")
        target = check_dtype(np.dtype(dtype))
        with np.errstate(all="ignore"):
            if not copy and self._host.astype(target, order or "K", copy=False) is self._host:
                return self
            device.check_use(self)  # before it is read: a copy into it may be under way
            return own(self._host.astype(target, order or "K"), "ndarray.astype")

    def fill(self, value: Any) -> None:
        """Sets every element to a scalar, or to a 0-d array of the device."""
        if isinstance(value, (list, tuple)):
            raise TypeError(f"Unsupported type {type(value)}")
        if isinstance(value, (ndarray, np.ndarray)) and value.shape != ():
            library = "cupy" if isinstance(value, ndarray) else "numpy"
            raise ValueError(f"non-scalar {library}.ndarray cannot be used for fill")
        for array in (self, value):
            if isinstance(array, ndarray):
                device.check_use(array)
        device.launch("ndarray.fill")
        with np.errstate(all="ignore"):
            self._host[...] = value._host if isinstance(value, ndarray) else value

    # Between host and device.

    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        """A copy on the host. With ``blocking=False`` its contents are there only after the stream's next wait."""
        queue = None if stream is None else stream._queue
        return self._to_host("ndarray.get", order, out, blocking, queue)

    def set(self, arr: Any, stream: Any = None) -> None:
        """Copies an array of the host, of equal shape and dtype, into this one, in a stream."""
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self.dtype} array")
        if self.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if not (self.flags.c_contiguous or self.flags.f_contiguous):
            raise RuntimeError("Cannot set to non-contiguous array")
        record("h2d", "ndarray.set", self.nbytes)
        with self.device:
            queue = queues.current(self._device) if stream is None else stream._queue
            queues.copy_to_device(self._memory, self._host, arr, queue)
            if self._memory.copies:
                _fill_with_garbage(self._host)

    def item(self) -> Any:
        """The one element, as a Python scalar."""
        if self.size != 1:
            raise ValueError("can only convert an array of size 1 to a Python scalar")
        return self._to_host("ndarray.item").item()

    def tolist(self) -> Any:
        """The elements as nested lists."""
        return self._to_host("ndarray.tolist").tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        """The elements' bytes."""
        return self._to_host("ndarray.tobytes").tobytes(order)

    def __bool__(self) -> bool:
        if self.size > 1:
            raise ValueError(
                "The truth value of an array with more than one element is ambiguous. Use a.any() or a.all()"
            )
        return self.size == 1 and bool(self._to_host("ndarray.__bool__"))

    def __float__(self) -> float:
        return float(self._to_host("ndarray.__float__"))

    def __int__(self) -> int:
        return int(self._to_host("ndarray.__int__"))

    def __complex__(self) -> complex:
        return complex(self._to_host("ndarray.__complex__"))

    def __bytes__(self) -> bytes:
        return bytes(self._to_host("ndarray.__bytes__"))

    def __repr__(self) -> str:
        return repr(self._to_host("ndarray.__repr__"))

    def __str__(self) -> str:
        return str(self._to_host("ndarray.__str__"))

    def __format__(self, format_spec: str) -> str:
        return format(self._to_host("ndarray.__format__"), format_spec)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[np.ndarray]]:
        from standin.creation import array

        return array, (self._to_host("ndarray.__reduce__"),)

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise TypeError(_IMPLICIT_CONVERSION)

    def _to_host(
        self, call: str, layout: str = "C", out: Any = None, blocking: bool = True, queue: queues.Queue | None = None
    ) -> np.ndarray:
        """The copy to the host, in the name of ``call``, in a stream; an empty array needs none."""
        if out is not None:
            if not isinstance(out, np.ndarray):
                raise TypeError("Only numpy.ndarray can be obtained from cupy.ndarray")
            if out.dtype != self.dtype:
                raise TypeError(f"{out.dtype} array cannot be obtained from {self.dtype} array")
            if out.shape != self.shape:
                raise ValueError(f"Shape mismatch. Expected shape: {self.shape}, actual shape: {out.shape}")
        if self.size:
            queue = queues.current(self._device) if queue is None else queue
            self._memory.use(queue)
            record("d2h", call, self.nbytes)
            queue.work()
            if blocking:
                device.synchronize(call, queue.moment())
        if out is None:
            return self._host.copy(layout)  # type: ignore[arg-type]
        out[...] = self._host
        return out


def check_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype, if CuPy has it; otherwise ValueError."""
    if dtype.char not in DTYPE_CHARACTERS or dtype.byteorder == ">":
        raise ValueError(f"Unsupported dtype {dtype}")
    return dtype


def own(host: np.ndarray, call: str | None) -> ndarray:
    """A new array of the current device that takes over ``host``: the result of the kernel ``call``, if given."""
    new = ndarray.__new__(ndarray)
    new._host = host
    check_dtype(host.dtype)
    _allocate(new)
    if call is not None and host.size:
        device.launch(call)
        new._memory.used = new._memory.home.given
    return new


def _allocate(new: ndarray) -> None:
    """Memory of the pool for a new array, from what belongs to the current stream."""
    new._device, new._base = device.allocate(), None
    new._memory, new._block = queues.Memory(queues.current(new._device)), Block(new._device, new._host.nbytes)


def view_of(array: ndarray, host: np.ndarray) -> ndarray:
    """An array over memory that ``array`` owns, on its device."""
    new = ndarray.__new__(ndarray)
    new._host, new._device, new._memory, new._block = host, array._device, array._memory, array._block
    new._base = array if array._base is None else array._base
    return new


def share_or_own(
    host: np.ndarray, sources: tuple[ndarray, ...], call: str, again: Callable[[], np.ndarray] | None = None
) -> ndarray:
    """A view of the source whose memory ``host`` shares; otherwise the result of the kernel ``call`` on all of them.

    ``again`` computes it anew, where that was done before the sources were used: copies into them may be under way.
    """
    for source in sources:
        if host is source._host:
            return source
        if np.may_share_memory(host, source._host):  # a new buffer's bounds never meet a living one's
            return view_of(source, host)
    for source in sources:
        device.check_use(source)
    return own(host if again is None else again(), call)


def _fill_with_garbage(host: np.ndarray) -> None:
    host.reshape(-1, order="A", copy=False).view(np.uint8)[...] = GARBAGE
