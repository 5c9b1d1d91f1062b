"""The ``codec`` command. Thin: everything it can do, the library can do."""
