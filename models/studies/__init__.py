"""Experiments that ship nothing: own networks, own commands, each with a page in docs/decisions.

Production imports none of them, and the wheel leaves them out.
"""
