"""``codec bench``: this codec beside others, on any folder of images.

``codecs`` says what is compared, ``metrics`` how pictures are judged, ``runner`` measures and
resumes, ``curves`` sums up, ``plots``, ``tables`` and ``report`` show it; ``speed`` and ``stages``
time.
"""
