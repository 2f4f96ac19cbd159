"""Hostile input for the SMTP client: what a server may send, made up by a fuzzer.

``python -m fuzz.run`` looks for new trouble, led by coverage. What it has found is kept in
``fuzz/regressions``, and the tests feed it again without a fuzzer.
"""
