"""Reports: the curves of a training run."""

from dlcore.report.curves import curves_svg, draw_curves

__all__ = ["curves_svg", "draw_curves"]
