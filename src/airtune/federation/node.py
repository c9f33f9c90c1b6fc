"""`airtune node`: a client's SuperNode, started by hand where the client is.

A keeper process ends it and all that it has started when this process is gone.
"""

import re
import shutil
import signal
import ssl
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from airtune.device_profile import read_device
from airtune.errors import AirtuneError, InputError, words
from airtune.federation.commands import environment, free_ports, node_command
from airtune.federation.keeper import ProcessPlan, kept
from airtune.federation.report import ReportedDevice
from airtune.federation.warm_node import TERMINATED, warm, write_warm_start
from airtune.learning.tasks import own_examples
from airtune.privacy.noise import read_key
from airtune.scenario import Scenario
from airtune.scenario_file import dump_scenario

MOST_NAMES = 20  # in an error
_ADDRESS = re.compile(r"(?!-)([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True)
class Connection:
    """How a node reaches its SuperLink, and shows who it is.

    Attributes:
        superlink: its address, HOST:PORT.
        insecure: neither encrypted nor authenticated.
        root_certificates: whom to believe that it is the SuperLink; None for whom the system believes.
        private_key: of the registered node, where the SuperLink asks for that.
    """

    superlink: str
    insecure: bool = False
    root_certificates: Path | None = None
    private_key: Path | None = None

    def options(self) -> list[str]:
        """Of `flower-supernode`.

        Raises:
            InputError: the address is none, a file is not what it should be, or files go with `insecure`.
        """
        address = _ADDRESS.fullmatch(self.superlink)
        if address is None or not 0 < int(address["port"]) < 65536:
            raise InputError("--superlink", "", self.superlink, "HOST:PORT")
        if self.insecure:
            if self.root_certificates or self.private_key:
                found = words("--insecure beside a certificate or key")
                raise InputError("--insecure", "", found, "one or the other: keys need encryption")
            return ["--insecure"]
        options = []
        if self.root_certificates is not None:
            _check_certificates(self.root_certificates)
            options += ["--root-certificates", str(self.root_certificates.absolute())]
        if self.private_key is not None:
            _check_private_key(self.private_key)
            options += ["--auth-supernode-private-key", str(self.private_key.absolute())]
        return options


def run_node(
    scenario: Scenario,
    client: str,
    connection: Connection,
    profile: Path | None = None,
    noise_key: Path | None = None,
    data: Path | None = None,
) -> int:
    """Start a client's SuperNode and wait for its end. It starts warm where that is possible.

    Args:
        scenario: what it loads before the first message; what it trains is what the run says.
        client: its id in the scenario.
        profile: of `airtune profile`, to be reported.
        noise_key: file of its secret.
        data: its own, which nobody else has; without it the client trains on its part of the scenario's.

    Returns:
        The SuperNode's exit status.

    Raises:
        InputError: an option or a file is wrong; nothing has been started then.
        AirtuneError: it cannot be started.
    """
    number, clients = _number(scenario, client), len(scenario.members())
    security = connection.options()
    if profile is not None:
        ReportedDevice.read(read_device(profile), str(profile))
    if noise_key is not None:
        read_key(noise_key)
    if data is not None:
        own_examples(scenario.task, str(data), scenario.seed)
    (port,) = free_ports(1)
    command = node_command(
        number, clients, connection.superlink, port, security, profile=profile, noise_key=noise_key, data=data
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    try:
        home = Path(tempfile.mkdtemp(prefix="airtune-"))
        try:
            write_warm_start(home, dump_scenario(scenario), data)
            plan = ProcessPlan([], "", [], warm(home, command))
            keeper = [sys.executable, "-m", "airtune.federation.keeper", plan.to_json(), str(home)]
            with kept(keeper, environment(FLWR_HOME=str(home / "flwr"))) as process:
                status = process.wait()
        finally:
            shutil.rmtree(home, ignore_errors=True)
    except OSError as error:
        raise AirtuneError(f"the node cannot be started: {error}") from error
    if status == 0:  # nobody has stopped it, and Flower gives no reason
        print("airtune: the SuperNode has ended by itself; is this machine's clock right?", file=sys.stderr)
    return status


def _number(scenario: Scenario, client: str) -> int:
    names = [member.id for member in scenario.members()]
    if client not in names:
        more = ", …" if len(names) > MOST_NAMES else ""
        raise InputError("--client", "", client, f"one of {', '.join(names[:MOST_NAMES])}{more}")
    return names.index(client)


def _check_certificates(file: Path) -> None:
    expected = "certificates of authorities, in PEM"
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(file)
    except ssl.SSLError as error:
        raise InputError(file, "", words("something else"), expected) from error
    except OSError as error:
        raise InputError(file, "", words(error.strerror or "no access"), expected) from error


def _check_private_key(file: Path) -> None:
    expected = "a private key of ssh-keygen -t ecdsa, without a passphrase"
    try:
        key = load_ssh_private_key(file.read_bytes(), None)
    except OSError as error:
        raise InputError(file, "", words(error.strerror or "no access"), expected) from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError(file, "", words("something else"), expected) from error
    if not isinstance(key, EllipticCurvePrivateKey):
        raise InputError(file, "", words("a key of another kind"), expected)
