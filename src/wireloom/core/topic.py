"""Topics: names with subscribers. Users, clients and channels are kinds of topic, told apart by a prefix added here."""

from __future__ import annotations

__all__ = ["CONTROL", "EVERYONE", "PUBLIC_ROOT_ID", "Topic", "as_topic", "channel", "client", "user", "walker_topic"]

PUBLIC_ROOT_ID = "n::000000000000000000000001"  # of everyone who has not logged in


class Topic(str):
    """A topic's full name. Made by the functions of this module, never from outside text."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The name without its kind."""
        return self.partition(":")[2]


EVERYONE = Topic("everyone:")
CONTROL = Topic("control:")  # from hub to hub; no connection hears it


def channel(name: str) -> Topic:
    """The topic of a channel."""
    return Topic(f"channel:{name}")


def client(client_id: str) -> Topic:
    """The topic of one connection."""
    return Topic(f"client:{client_id}")


def user(root_id: str) -> Topic:
    """The topic of all connections of a user."""
    return Topic(f"user:{root_id}")


def walker_topic(name: str) -> Topic:
    """The topic of all connections of a walker that broadcasts."""
    return Topic(f"walker:{name}")


def as_topic(name: str) -> Topic:
    """A topic as it is; any other string is a channel's name."""
    return name if type(name) is Topic else channel(name)
