"""Code for the CPU by Numba and LLVM: the only files that know of vectors, threads and addresses.

compile      Numba's compiler: late, kept on disk, announced once
simd         vectors of sixteen numbers
registers    several vectors at once, in registers
math         exp, sigmoid and tanh of vectors
gemm         products of matrices, and the tile that they are made of
thread_pool  tasks, and the threads that share them
"""
