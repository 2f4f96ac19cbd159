"""How fast the SMTP client is, how much memory it takes, and how it compares.

Each of these measures one thing, on one machine, and needs no network:

- ``python -m benchmarks.loopback``: messages a second and CPU time a message, without a delay
- ``python -m benchmarks.roundtrip``: messages a second where a round trip takes its time
- ``python -m benchmarks.memory``: memory that a large attachment takes
- ``python -m benchmarks.recipients``: time a recipient takes where a server takes only so many

All of them know ``--runs``, ``--messages`` and ``--json``. What is compared is measured in turns;
a ratio is made of the two figures of one run, and the median over all runs is what is shown. A goal
that is missed is said so and is no error: a machine may be busy.
"""
