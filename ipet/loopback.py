"""Where the processes of one machine meet: a store that listens on its loopback, to nobody outside.

torch's own rendezvous listens on every address of the machine, and asks nobody who they are.
"""

import os
import socket

from torch.distributed import PrefixStore, TCPStore
from torch.distributed.elastic.rendezvous import (
    RendezvousHandler,
    RendezvousInfo,
    RendezvousParameters,
    RendezvousStoreInfo,
    rendezvous_handler_registry,
)

BACKEND = "loopback"
ADDRESS = "127.0.0.1"
INTERFACES = ("lo", "lo0")  # as Linux and macOS call it
VARIABLES = ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME")  # where the processes talk to one another


class Loopback(RendezvousHandler):
    """The rendezvous of one launcher, which holds the store that its processes meet in.

    Args:
        run_id: of the launcher.
    """

    def __init__(self, run_id: str):
        listening = socket.create_server((ADDRESS, 0))
        port = listening.getsockname()[1]
        self.run_id = run_id
        self.store = TCPStore(
            ADDRESS, port, is_master=True, wait_for_workers=False, master_listen_fd=listening.detach()
        )
        place = RendezvousStoreInfo(ADDRESS, port)
        self.info = RendezvousInfo(
            PrefixStore(run_id, self.store), rank=0, world_size=1, bootstrap_store_info=place
        )

    @property
    def use_agent_store(self) -> bool:
        """True: the processes are guests of this store, and none of them holds one."""
        return True

    def next_rendezvous(self) -> RendezvousInfo:
        """One launcher, which is there already."""
        return self.info

    def get_backend(self) -> str:
        """The name that it is registered by."""
        return BACKEND

    def get_run_id(self) -> str:
        """As it was given."""
        return self.run_id

    def is_closed(self) -> bool:
        """False: it ends with its launcher."""
        return False

    def set_closed(self) -> None:
        """Nothing."""

    def num_nodes_waiting(self) -> int:
        """0: no other launcher can join."""
        return 0

    def shutdown(self) -> bool:
        """True: there is nothing to say goodbye to."""
        return True


def new_loopback(parameters: RendezvousParameters) -> Loopback:
    """What torch's launcher makes of ``rdzv_backend="loopback"``."""
    return Loopback(parameters.run_id)


rendezvous_handler_registry.register(BACKEND, new_loopback)


def stay_on_loopback() -> None:
    """Let gloo and NCCL of the processes to come listen there, unless the environment says otherwise."""
    there = {name for _, name in socket.if_nameindex()}
    interface = next((name for name in INTERFACES if name in there), None)
    for variable in VARIABLES if interface else ():
        os.environ.setdefault(variable, interface)
