"""Bytes only: the container, its chunks and checksums, and range coding. No torch in here."""
