"""Reports: the curves of a training run, where its model errs, and one page that shows both and needs no network.

``examine`` looks at a development set, :class:`Report` holds what there is to say, and ``write`` makes the page of it.
"""

from dlcore.report.curves import curves_svg, draw_curves
from dlcore.report.examine import Examination, Mistake, examine
from dlcore.report.html import Report, write

__all__ = ["Examination", "Mistake", "Report", "curves_svg", "draw_curves", "examine", "write"]


def __dir__() -> list[str]:
    return sorted(__all__)
