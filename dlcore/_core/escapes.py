"""Names from files and folders on the way to a terminal or a page: control characters are shown, not sent.

A terminal obeys what it is sent: a class whose name holds an escape sequence could clear the screen, write its title or
hide a line. Characters that reverse the direction of the text around them make it read as something else, on a page
too. Each becomes six characters such as ``\\u001b``, which stay what they are within JSON. All other characters, emoji
and joiners among them, stay.
"""

from __future__ import annotations

import html
import re
from typing import Any, TextIO

__all__ = ["Escaping", "escape", "escaped"]

_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]|\r(?!\n)")
"""C0 but for tab and the end of a line, DEL, C1, and what overrides or isolates a direction."""


def escaped(text: str) -> str:
    """``text`` with its control characters shown.

    >>> print(escaped("cat\\x1b[2J \\u202egpj.exe, naïve 👩‍🔬"))
    cat\\u001b[2J \\u202egpj.exe, naïve 👩‍🔬
    """
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def escape(text: str, quote: bool = True) -> str:
    """``text`` for a page: as :func:`html.escape`, with its control characters shown.

    >>> escape("a <b> \\x07")
    'a &lt;b&gt; \\\\u0007'
    """
    return html.escape(escaped(text), quote)


class Escaping:
    """A text stream that shows control characters; all else is that of the stream that it writes to.

    rich, whose colours and bars are control sequences, writes to that stream itself, by the name ``rich_proxied_file``;
    texts that it is given are to be :func:`escaped`.

    >>> import io
    >>> stream = io.StringIO()
    >>> print("a\\x1b[31m", file=Escaping(stream)); stream.getvalue()
    'a\\\\u001b[31m\\n'
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        self.rich_proxied_file.write(escaped(text))
        return len(text)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)
