"""Measurements, each a command ``python -m benchmarks.NAME``; what they share is in ``bench/``.
What codes files for curves goes through one engine, ``bench.runner``, which keeps what it measured.

* weights judged: ``rate_distortion``, ``adopt``, ``worst_cases``, ``effort``, ``complexity``
* looked at: ``demo``, ``looks``, ``equal_bits``, ``conceptual``, ``drawings``, ``super_resolution``
* timed: ``progressive``, ``batch``, ``training_step``, ``data_loading``; encoding and decoding by
  ``codec bench --speed``
* pages: ``pages`` fills the tables of README, results and model cards
"""
