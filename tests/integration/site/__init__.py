"""A small site, as a user of the package would have one; a JSON file says which parts it has.

``SMTPX_SITE`` in the environment is that file's path.
"""
