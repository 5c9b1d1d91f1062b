"""``codec web``: a folder of static files that shows pictures in any browser.

``static/`` holds what the page is made of. Its JavaScript is built from ``web/`` (``npm run build``
there) and kept here, so that the installed command needs no Node.
"""
