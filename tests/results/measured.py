"""What a testbed would have measured of a made-up run."""

from pathlib import Path

from airtune.results.testbed_facts import ClientFacts, Facts
from airtune.results.testbed_rows import Row, write_rows

CORES = {"phone-0": 0.3, "phone-1": 0.3, "jetson": 0.85}


def row(round_number: int, client: str, upload_s: float) -> Row:
    """20 s of computing are predicted and 21 measured, 10 s of uploading and `upload_s`."""
    rest_s = 4.0 + 21.0 + 6.5
    return Row(
        round=round_number,
        client=client,
        download_predicted_s=1.0,
        download_measured_s=4.0,
        compute_predicted_s=20.0,
        compute_measured_s=21.0,
        upload_predicted_s=10.0,
        upload_measured_s=upload_s,
        overhead_predicted_s=9.0,
        overhead_measured_s=6.5,
        round_predicted_s=40.0,
        round_measured_s=rest_s + upload_s,
        all_predicted_s=41.0,
        all_measured_s=rest_s + 12.0,
        bytes_down=1864040,
        bytes_down_wire=2080601,
        bytes_up=3707240,
        bytes_up_wire=4222402,
        cpu_s=10.038,
    )


def write_measured(directory: Path, rounds: int) -> None:
    """testbed.csv and testbed.json; phone-0 is left out of every third round."""
    rows = [
        row(number, client, upload_s)
        for number in range(1, rounds + 1)
        for client, upload_s in (("phone-0", 11.0), ("phone-1", 12.0), ("jetson", 10.0))
        if client != "phone-0" or number % 3
    ]
    write_rows(directory, rows)
    clients = [ClientFacts(id=name, cores=cores, overhead_s=9.0) for name, cores in CORES.items()]
    Facts(
        factor=1.44,
        core_flops_per_s=133e9,
        reading_s=1.0,
        framing_down=1.12,
        framing_up=1.14,
        clients=clients,
    ).write(directory)
