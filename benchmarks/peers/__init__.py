"""The same work in dlcore and in its peers, side by side: ``python -m benchmarks.peers``.

Every figure is made in a process of its own, which does one workload in one framework with one setting: it imports,
warms up, and takes the median of its repetitions. The processes of all frameworks take turns, round after round, so
that a machine which slows down for a while slows all of them. Absolute times drift from day to day; what is claimed is
the ratio *best peer / dlcore* of one run, from the medians over the rounds and from the best rounds: above 1 dlcore is
faster. Of the peers the setting that is fastest counts.

dlcore is measured twice: in one's own loop, where NumPy's BLAS takes the threads that it likes, and as the ``Trainer``
runs it, which gives the BLAS one. Its kernels and the peers take the threads that they take by themselves; the output
says how many. OpenCV's and SciPy's filters get the memory for the output, dlcore's make it.

Memory is the most that a process came to hold, less what it held after the import and before anything was built.
PyTorch and JAX bring their kernels with the import; dlcore's are imported at first use, so here they are imported too,
before the second figure is read. Tables show the whole peak beside it.

``--json FILE`` writes an object::

    commit, changes      what was measured; changes: whether files differ from the commit
    date, machine        when, and on what: processor, cores, system, NumPy's BLAS, environment
    load                 averages over 1, 5 and 15 minutes, at the start and at the end
    rounds               how many
    versions, missing    by framework: its version, or why it could not take part
    threads              by framework and setting: how many, in words
    results              a list: suite, workload, part, framework, setting; ms, one figure a round; best, median;
                         peak_bytes and imported_bytes, one a round; check, a number of the result, or null
    ratios               a list: suite, workload, part, dlcore's setting; of_medians, of_bests, the peers they are to
    failures             a list: suite, workload, framework, setting, round, error
    starting             seconds, one figure a round: the suite ``compile``
"""
