"""The outbox and other mail queues of Django, as :mod:`benchmarks.outbox` measures them.

What runs in a site (``settings``, ``kinds``, ``mails``, ``process``) needs Django and the queue
alone: it runs in the environment of each queue.
"""
