"""Benchmarks for users: how fast dlcore is on a machine, on one device beside another, and against an earlier run.

places      where work runs: a device, or the CPU with the reference kernels alone
workloads   what is measured: the suites ``kernels`` and ``training``
starting    imports and first calls, in fresh processes
timing      warm-up, rounds, and what is made of their times
measure     all of it for one place, or for two that take turns
records     files in the format of pytest-benchmark
compare     two sets of figures beside each other
picture     the same as a drawing
provenance  the commit and the machine that a figure belongs to

``dlcore bench`` is the command made of them.
"""
