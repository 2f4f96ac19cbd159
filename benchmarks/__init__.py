"""How fast the SMTP client and the outbox are, how much memory they take, and how they compare.

Each of these measures one thing, on one machine, and needs no network:

- ``python -m benchmarks.loopback``: messages a second and CPU time a message, without a delay
- ``python -m benchmarks.roundtrip``: messages a second where a round trip takes its time
- ``python -m benchmarks.compose``: CPU time and memory that it takes to make bytes of a mail
- ``python -m benchmarks.memory``: memory that a large attachment takes
- ``python -m benchmarks.outbox``: what queueing and sending costs, beside other queues for Django
- ``python -m benchmarks.backlog``: what a message costs beside a million rows, and the admin
- ``python -m benchmarks.recipients``: time a recipient takes where a server takes only so many

All of them know ``--runs``, ``--messages`` and ``--json``. What is compared is measured in turns;
a ratio is made of the two figures of one run, and the median over all runs is what is shown. A goal
that is missed is said so and is no error: a machine may be busy.
"""
