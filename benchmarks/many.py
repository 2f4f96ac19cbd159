"""A process that sends to many, and says how long it took: ``python -m benchmarks.many``."""

from __future__ import annotations

import argparse
import gc
import json
import time

from benchmarks.clients import HOST, RECIPIENT, SENDER, cpu_seconds, message
from django_smtpx.smtp import Client, Envelope


def main() -> None:
    """Measure one size of envelope."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("port", type=int)
    parser.add_argument("--recipients", type=int, required=True)
    parser.add_argument("--messages", type=int, required=True)
    options = parser.parse_args()
    content = message(3_000)
    names = [f"recipient{number}@example.net" for number in range(options.recipients)]
    with Client(HOST, options.port, security="none") as client:
        client.send(Envelope(SENDER, [RECIPIENT], content))
        gc.collect()
        cpu, started = cpu_seconds(), time.perf_counter()
        taken = 0
        for outcome in client.send_all(
            Envelope(SENDER, names, content) for _ in range(options.messages)
        ):
            taken += sum(result.outcome == "sent" for result in outcome.results)
        seconds, cpu = time.perf_counter() - started, cpu_seconds() - cpu
    wanted = options.recipients * options.messages
    if taken != wanted:
        raise RuntimeError(f"{taken} of {wanted} recipients were taken")
    print(json.dumps({"seconds": seconds, "cpu": cpu}))


if __name__ == "__main__":
    main()
