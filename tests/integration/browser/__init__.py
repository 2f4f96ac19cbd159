"""The admin as a person meets it: a small site with some history, looked at with a real Chromium.

``settings`` is the site, and ``settings_unfold`` the same in another theme; ``seeding`` gives it a
past; ``serving`` serves it from a process of its own; ``lab`` is the browser, and ``pages`` the list
of what there is to look at. ``screenshots`` makes the pictures of the documentation.
"""
