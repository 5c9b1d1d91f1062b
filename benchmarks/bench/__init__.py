"""``codec bench``: this codec beside others, on any folder of images.

``codecs`` says what is compared, ``images`` on what, ``metrics`` how pictures are judged.
``measuring`` makes the ``records`` of one image, ``runner`` those of many; ``curves``, ``bands``
and ``checks`` sum up, ``plots``, ``tables`` and ``report`` show it; ``speed`` and ``stages`` time.
``sizes`` finds the largest file within a size. Nothing here imports the commands of
:mod:`benchmarks`.
"""
