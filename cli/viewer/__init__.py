"""The web viewer of ``codec view``: a small local server and a page that shows files sharpen.

``serve`` starts it; ``app`` says which addresses there are; ``guard`` who may ask; ``library`` what
may be seen; ``stream`` plays a file at a simulated bandwidth; ``pictures`` makes what is sent.
"""
