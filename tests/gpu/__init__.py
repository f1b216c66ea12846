"""Level 7: all that only a real GPU can show, by one command, ``tests/gpu/run_all.sh``.

suite    the parts in processes of their own, the report, the summary
parts    what each part does: the table of them
facts    the device, its driver and the libraries
kernels  every kernel in every dtype against float64
runs     training runs on the CPU and on the GPU, from equal weights
stream   a training step that never waits for the device
outside  compute-sanitizer, ``dlcore bench`` and pytest, each a process of its own

What the parts compute is the tests' own: the table of cases, the stand-in's helpers, the samples of the sanitizers.
"""
