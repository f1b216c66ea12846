"""Guides, whose code the tests run, and the API reference, which is built from the docstrings.

layer-and-kernel.md         a layer and a kernel of one's own in 40 lines
from-pytorch-or-keras.md    what is called what, and where the same name means something else
devices.md                  devices, memory, precision, and a CI that tests on a CPU and on a GPU
reference.py                ``python -m dlcore.guides FOLDER`` writes a page for each public module, by pdoc
"""
