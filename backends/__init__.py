"""Arrays in, arrays out: the part of dlcore that knows of devices and libraries, and nothing of layers.

device      names such as "cuda:1", and whether they can be used here
transfer    copies between host and device: counted, and forbidden where asked
prefetch    batches on their way to a device, one copy each
namespace   which Array API library an array belongs to
kernel      reference pairs, their alternatives, and which one runs
standard    what the standard lacks, built from its calls
threads     how many the BLAS may use
random      a counter-based generator: the same bits on every device
reference   the reference kernels, one family a file
errors      what reaches a user

The modules are imported one by one where they are needed; importing the package alone costs nothing.

PYTEST_DONT_REWRITE: see dlcore.
"""
