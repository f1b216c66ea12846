"""The trainer: its steps, epochs and evaluations, what goes into them, and how signals and callbacks reach them."""
