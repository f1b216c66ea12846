"""Arrays in, arrays out: the part of dlcore that knows of devices and libraries, and nothing of layers.

dispatch          kernels: a reference, its alternatives, and which of them runs
reference         the reference kernels, one family a file
cpu               compiled alternatives for NumPy
cuda              alternatives for CuPy in CUDA C++
namespace         which Array API library an array belongs to
array_ops         functions that the standard lacks, built from its calls
packed_sequences  padded sequences as rows, and back
float16           float16 on the CPU, computed in float32
random            a counter-based generator: the same bits on every device
runtime           devices, copies, memory, threads
diagnostics       libraries and kernels, checked where they are installed
errors            the errors that reach a user

The modules are imported one by one where they are needed; importing the package alone costs nothing.

PYTEST_DONT_REWRITE: see dlcore.
"""
