"""``python -m tests.run_mutations 10000``: decode so many broken files, and count what happens.

Uses the files of the conformance corpus. Ends with status 1 at the first traceback, at a wrong
picture passed off as right, or where a file takes more than ten seconds of processor time.
"""

from __future__ import annotations

import sys
import time
from collections import Counter

import numpy as np

from tests.codec.test_hostile import outcome, pictures
from tests.conformance.test_corpus import CORPUS
from tests.mutations import FAITHFUL, KINDS, mutate


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    files = [path.read_bytes() for path in sorted(CORPUS.glob("*.cci"))]
    shown = [pictures(data) for data in files]
    results: Counter[tuple[str, str]] = Counter()
    slowest = 0.0
    for seed in range(count):
        kind, which = KINDS[seed % len(KINDS)], seed // len(KINDS) % len(files)
        broken = mutate(files[which], kind, np.random.default_rng(seed))
        started = time.process_time()
        result = outcome(broken, shown[which])
        seconds = time.process_time() - started
        slowest = max(slowest, seconds)
        results[kind, str(result)] += 1
        if seconds > 10 or (result == "another" and kind in FAITHFUL):
            sys.exit(f"seed {seed}, {kind}: {result}, {seconds:.1f} s")
    for (kind, result), number in sorted(results.items()):
        print(f"{kind:18s} {result:22s} {number:6d}")
    print(f"{count} files, slowest {slowest:.2f} s")


if __name__ == "__main__":
    main()
