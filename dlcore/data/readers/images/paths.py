"""Which files of a folder are pictures, and what else lies there, counted by the reason for which it is left out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dlcore.data.readers.file import shown
from dlcore.data.readers.images.decode import FORMATS, START, reader_of
from dlcore.errors import DataError

__all__ = ["Found", "find", "has_pictures", "is_hidden", "left_out", "pictures_below"]

HIDDEN, LINKS, LOOSE, OTHERS = "hidden", "links", "loose", "others"
_REASONS = {
    HIDDEN: ("hidden", "hidden"),
    LINKS: ("link to a folder", "links to folders"),
    LOOSE: ("picture beside the folders of the classes", "pictures beside the folders of the classes"),
    OTHERS: (f"not {FORMATS} by its content", f"not {FORMATS} by their content"),
}
"""What is left out, in words: of one file, and of several."""

_EARLIER = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
"""What version 0.1 took for pictures, by suffix alone."""
_CLAIMED = (*_EARLIER, ".jpe", ".jfif", ".dib", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm")
"""Suffixes of files that are pictures, or damaged: what they hold is not looked at before it is decoded."""
_RAW = (".dng", ".cr2", ".nef", ".arw", ".pef", ".orf", ".rw2")
"""Files of cameras, which begin as a TIFF does, with a small preview."""
_NAMED = 4  # suffixes of other files that are named


class Found:
    """The pictures of a folder.

    root : the folder
    classes : by class, which is the name of a folder in ``root``, its pictures, sorted
    left : how many files were left out, by reason
    suffixes : how often each suffix occurs among those that are not pictures
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.classes: dict[str, list[Path]] = {}
        self.left: Counter[str] = Counter()
        self.suffixes: Counter[str] = Counter()

    @property
    def files(self) -> tuple[Path, ...]:
        """Of all classes."""
        return tuple(file for files in self.classes.values() for file in files)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's: hidden, or left behind by a system."""
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


def has_pictures(folder: Path) -> bool:
    """Whether a picture lies in a folder itself."""
    return any(not is_hidden(entry) and _is_picture(folder / entry, 2) for entry in os.listdir(folder))


def pictures_below(folder: str | os.PathLike[str]) -> list[Path]:
    """The pictures in a folder and the folders in it, sorted; by their content where the suffix does not say.

    Raises DataError where a folder cannot be read.

    >>> import tempfile
    >>> pictures_below(tempfile.mkdtemp())
    []
    """
    found = Found(Path(folder))
    return sorted(path for path, is_picture in _below(found, Path(folder), 2) if is_picture)


def find(root: Path, rules: int = 2) -> Found:
    """The pictures of a folder that has a folder for each class.

    rules : 1 for those of version 0.1, which knew pictures by their suffix alone

    Raises DataError, naming the folder, where there is none, no picture, a class without any, or one class alone.
    """
    name, found = shown(root), Found(root)
    try:
        entries = sorted(os.listdir(root))
        classes = [entry for entry in entries if not is_hidden(entry) and (root / entry).is_dir()]
    except (OSError, ValueError) as error:
        raise DataError(f"{name}: the folder cannot be read: {getattr(error, 'strerror', None) or error}") from error
    for entry in entries:
        if is_hidden(entry):
            found.left[HIDDEN] += 1
        elif entry not in classes and _is_picture(root / entry, rules):
            found.left[LOOSE] += 1
        elif entry not in classes:
            found.left[OTHERS] += 1
            found.suffixes[_suffix(entry)] += 1
    if not classes:
        loose = found.left[LOOSE]
        what = (
            f"{_count(loose, 'picture')} {'lies' if loose == 1 else 'lie'} in the folder itself"
            if loose
            else "there is no folder in it"
        )
        raise DataError(f"{name}: {what}, but one folder of pictures per class is expected")
    others = Counter[str]()
    for entry in classes:
        taken = found.classes[entry] = []
        for path, is_picture in _below(found, root / entry, rules):
            if is_picture:
                taken.append(path)
            else:
                others[entry] += 1
                found.left[OTHERS] += 1
                found.suffixes[_suffix(path.name)] += 1
        taken.sort()
    if not found.files:
        raise DataError(
            f"{name}: no picture in the folders {', '.join(map(shown, classes[:5]))}"
            f"{', ...' if len(classes) > 5 else ''}, but {_count(others.total(), 'other file')}{_suffixes(found)}; "
            f"expected {FORMATS}"
        )
    for entry, files in found.classes.items():
        if not files:
            rest = f", but {_count(others[entry], 'other file')}" if others[entry] else ""
            raise DataError(
                f"{shown(root / entry)}: no picture of this class{rest}; add some ({FORMATS}), or take the folder out"
            )
    if len(classes) == 1:
        only = root / classes[0]
        inner = [entry for entry in os.listdir(only) if (only / entry).is_dir() and not is_hidden(entry)]
        hint = f"; give {shown(only)} if the classes are the folders in it" if len(inner) > 1 else ""
        raise DataError(f"{name}: {shown(classes[0])} is the only class, but at least two folders are expected{hint}")
    return found


def left_out(found: list[Found], unreadable: int) -> str | None:
    """A line that counts what was left out, by reason; None where nothing was.

    unreadable : pictures that were left out because they cannot be read

    >>> one = Found(Path("x"))
    >>> one.left.update({HIDDEN: 2, LINKS: 1})
    >>> left_out([one], 1)
    'left out: 2 hidden, 1 link to a folder, 1 unreadable'
    """
    whole = Found(Path())
    for one in found:
        whole.left.update(one.left)
        whole.suffixes.update(one.suffixes)
    parts = [
        f"{whole.left[reason]:,} {words[whole.left[reason] > 1]}{_suffixes(whole) if reason == OTHERS else ''}"
        for reason, words in _REASONS.items()
        if whole.left[reason]
    ]
    parts += [f"{unreadable:,} unreadable"] if unreadable else []
    return f"left out: {', '.join(parts)}" if parts else None


def _below(found: Found, folder: Path, rules: int) -> Iterator[tuple[Path, bool]]:
    """Every file below a folder, and whether it is taken for a picture. Links to folders are not followed."""
    places = [folder]
    while places:
        place = places.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    path = place / entry.name
                    if is_hidden(entry.name):
                        found.left[HIDDEN] += 1
                    elif not entry.is_dir():
                        yield path, _is_picture(path, rules)
                    elif entry.is_symlink():
                        found.left[LINKS] += 1
                    else:
                        places.append(path)
        except OSError as error:
            raise DataError(f"{shown(place)}: the folder cannot be read: {error.strerror or error}") from error


def _is_picture(path: Path, rules: int) -> bool:
    """Whether the suffix says that a file is a picture, or else its first bytes."""
    suffix = path.suffix.lower()
    if rules == 1:
        return path.name.lower().endswith(_EARLIER)
    if path.name.lower().endswith(_CLAIMED):
        return True
    if suffix in _RAW or not path.is_file():  # not a pipe, which would wait
        return False
    try:
        with path.open("rb") as file:
            return reader_of(file.read(START)) is not None
    except OSError:
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _suffixes(found: Found) -> str:
    """How often each suffix occurs among the other files, the most frequent first."""
    common = found.suffixes.most_common(_NAMED)
    words = [f"{shown(suffix) or 'no suffix'} {count:,}" for suffix, count in common]
    words += ["..."] if len(found.suffixes) > _NAMED else []
    return f" ({', '.join(words)})" if words else ""


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
