"""What figures of a run mean: gaps between sets, their intervals, and a diagnosis."""
