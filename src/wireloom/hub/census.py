"""Census: how many connections each address and each user has. Law: whoever is counted is given back exactly once.

Who is not limited is not counted, so that nobody pays for limits that are off.
"""

from __future__ import annotations

from typing import Any

from wireloom.core.network import network_of
from wireloom.errors import RequestError
from wireloom.hub.connection import Connection

__all__ = ["Census", "TooManyConnections"]


class TooManyConnections(RequestError):
    """There are as many connections as there may be.

    Args:
        whose: such as ``"of this user"``.
    """

    def __init__(self, whose: str) -> None:
        super().__init__("TOO_MANY_CONNECTIONS", f"Too many connections {whose}")


class _Tally:
    """Connections by the name of whose they are.

    Args:
        most: of one name; 0: nobody is counted.
        whose: what a refusal says.
    """

    __slots__ = ("_counts", "_names", "_whose", "most")

    def __init__(self, most: int, whose: str) -> None:
        self.most = most
        self._whose = whose
        self._counts: dict[str, int] = {}
        self._names: dict[Connection, str] = {}

    def __len__(self) -> int:
        return len(self._names)

    def check(self, name: str | None) -> None:
        """Refuses a further connection.

        Raises:
            TooManyConnections: there is no room for it.
        """
        if self.most and name is not None and self._counts.get(name, 0) >= self.most:
            raise TooManyConnections(self._whose)

    def put(self, connection: Connection, name: str | None) -> None:
        """Counts a connection under this name, and no longer under the one that it had.

        Raises:
            TooManyConnections: there is no room for it; it is counted as before.
        """
        if not self.most or self._names.get(connection) == name:
            return
        self.check(name)
        self.give_back(connection)
        if name is not None:
            self._names[connection] = name
            self._counts[name] = self._counts.get(name, 0) + 1

    def give_back(self, connection: Connection) -> None:
        """Counts it no longer; nothing if it is not counted."""
        name = self._names.pop(connection, None)
        if name is not None:
            self._counts[name] -= 1
            if not self._counts[name]:
                del self._counts[name]


class Census:
    """Counts the open connections of one process.

    Args:
        per_ip: connections of one IP address, of IPv6 its /64; 0 for no limit.
        per_user: connections of one user; 0 for no limit.
    """

    def __init__(self, per_ip: int = 0, per_user: int = 0) -> None:
        self._addresses = _Tally(per_ip, "from this address")
        self._users = _Tally(per_user, "of this user")
        self._entered: set[Connection] = set()

    def __len__(self) -> int:
        """How many entries are kept."""
        return len(self._entered) + len(self._addresses) + len(self._users)

    def check_address(self, connection: Connection) -> None:
        """Refuses a connection early, before anybody is asked whose it is.

        Raises:
            TooManyConnections: there is no room for its address.
        """
        if self._addresses.most:
            self._addresses.check(_address_of(connection))

    def enter(self, connection: Connection) -> None:
        """Counts a connection that is about to open, with the user whom its endpoint has let in.

        Raises:
            TooManyConnections: there is no room for it; it is not counted.
        """
        if self._addresses.most:
            self._addresses.put(connection, _address_of(connection))
        if self._users.most:
            try:
                self._users.put(connection, _user_of(connection.user))
            except TooManyConnections:
                self._addresses.give_back(connection)
                raise
            self._entered.add(connection)  # of those who have left, nobody is counted any more

    def change_user(self, connection: Connection, user: Any) -> None:
        """Counts an open connection as another user's from now on.

        Raises:
            TooManyConnections: there is no room for it; it is counted as before.
        """
        if connection in self._entered:
            self._users.put(connection, _user_of(user))

    def leave(self, connection: Connection) -> None:
        """Counts a connection no longer."""
        self._entered.discard(connection)
        self._addresses.give_back(connection)
        self._users.give_back(connection)


def _address_of(connection: Connection) -> str | None:
    client = connection.client
    return None if client is None else network_of(client[0])


def _user_of(user: Any) -> str | None:
    """Whom a connection is counted for: by id, or by the text that an application's own ``auth`` gave."""
    name = getattr(user, "user_id", None) or getattr(user, "root_id", None) or user
    return str(name) if isinstance(name, (str, int)) and not isinstance(name, bool) else None
