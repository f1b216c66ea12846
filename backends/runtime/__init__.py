"""Devices and what belongs to them.

device        names such as "cuda:1", and whether they can be used here
current       the library's current device
installation  which package of CuPy is installed, and which is needed
copies        between host and device: counted, and forbidden where asked
prefetch      batches on their way to a device, one copy each
memory        how much is used, and the limit
threads       of the BLAS and of the compiled kernels
tf32          whether products of float32 may round to TF32
"""
