"""Reports: the curves of a training run, and where its model errs."""

from dlcore.report.curves import curves_svg, draw_curves
from dlcore.report.examine import Examination, Mistake, examine

__all__ = ["Examination", "Mistake", "curves_svg", "draw_curves", "examine"]
