"""The folder of a run: what is in it, what it replaces, and how it is shown."""
