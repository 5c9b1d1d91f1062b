"""The web viewer of ``codec view``: a small local server and a page that shows files sharpen.

``serve`` starts it; ``app`` says which addresses there are; ``guard`` who may ask; ``questions``
checks what is asked; ``offers`` lists what is installed; ``folder`` says what may be seen;
``memory`` holds what was dropped; ``stream`` plays a file at a simulated bandwidth; ``pictures``,
``thumbnails``, ``rivals`` and ``measures`` make what is sent, on the threads of ``workers``.
"""
