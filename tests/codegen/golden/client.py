# Made by `wireloom client` of Wireloom 0.1.0. Do not edit; make it anew:
# wireloom client --lang python application.py --out client.py

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypeAlias, TypedDict

from wireloom.clients.typed import AnsweringConnection, Connection, EndpointOf, EventSocket, File, OperationOf, Query, Rest, TypedClient


class Access(TypedDict):
    """A name and a password: `username` or `email` with `password`, or names with a `credential`.
    Registering takes `identities`, logging in one `identity`.
    """
    username: NotRequired[str | None]
    email: NotRequired[str | None]
    password: NotRequired[str | None]
    identities: NotRequired[list[Name] | None]
    identity: NotRequired[Name | None]
    credential: NotRequired[Credential | None]


class Answer(TypedDict):
    """How many publications were made."""
    publications: int


class Credential(TypedDict):
    """What proves who somebody is."""
    # `password`
    type: str
    password: str


class Draw(TypedDict):
    """A line from point to point."""
    type: Literal['draw']
    points: list[list[float]]


class Echo(TypedDict):
    """Says what it hears."""
    message: str
    # Whose run it is; taken out of the message.
    token: NotRequired[str]


class Folder(TypedDict):
    """What holds others of its kind."""
    name: str
    size: NotRequired[int]
    folders: NotRequired[list[Folder]]


class Heard(TypedDict):
    """What everybody in a room hears. */ Not the end of a comment."""
    at: str
    loud: bool
    room: str
    text: str


class Key(TypedDict):
    """An API key without its secrets."""
    api_key_id: str
    name: str
    created_at: str | None
    expires_at: str | None
    allowed_walkers: list[str] | None
    legacy_signature: bool


class Keys(TypedDict):
    api_keys: list[Key]


class Login(TypedDict):
    """A user with a new token."""
    user_id: str
    root_id: str
    username: str
    role: str
    expires_at: str | None
    token: str


class MadeKey(TypedDict):
    """An API key with its secrets, which are shown once."""
    api_key_id: str
    name: str
    created_at: str | None
    expires_at: str | None
    allowed_walkers: list[str] | None
    legacy_signature: bool
    api_key: str
    signing_secret: str


Mood: TypeAlias = "Literal['calm', 'merry']"


class Name(TypedDict):
    """One of a user's names."""
    # `username` or `email`
    type: str
    value: str


class NewKey(TypedDict):
    name: str
    expiry_days: NotRequired[int | None]
    allowed_walkers: NotRequired[list[str] | None]
    legacy_signature: NotRequired[bool]


class NewPassword(TypedDict):
    old_password: str
    new_password: str


# An empty object.
Nothing: TypeAlias = "dict[str, Any]"


class Notice(TypedDict):
    """Data, and whom it is for: users, channels or clients."""
    data: Any
    users: NotRequired[list[str] | None]
    channels: NotRequired[list[str] | None]
    clients: NotRequired[list[str] | None]


class Password(TypedDict):
    password: str


class Rename(TypedDict):
    """Another name."""
    old: str
    # At least one character.
    new: str


class Renamed(TypedDict):
    name: str


Said = TypedDict(
    "Said",
    {
        "mood": NotRequired["Mood"],
        "reply-to": NotRequired["int | None"],
        "text": "str",
    },
)


class Sum(TypedDict):
    """Adds numbers."""
    numbers: NotRequired[list[int]]
    start: NotRequired[int]


class User(TypedDict):
    """A user, and when the token that was shown or given expires."""
    user_id: str
    root_id: str
    username: str
    role: str
    expires_at: str | None


class Wipe(TypedDict):
    """Nothing is left."""
    type: Literal['wipe']
    confirm: Literal[True]


class PostUploadByFolderAnswer(TypedDict):
    reports: list[Any]


class PostUploadByFolderBody(TypedDict):
    label: str
    file: File


class PostNotesByTopicBody(TypedDict):
    text: str


class GetSumAnswer(TypedDict):
    reports: list[Any]


class PostSumAnswer(TypedDict):
    reports: list[Any]


class GetSumByNodeIdAnswer(TypedDict):
    reports: list[Any]


class PostSumByNodeIdAnswer(TypedDict):
    reports: list[Any]


class EchoReceived(TypedDict):
    ok: Literal[True]
    data: EchoReceivedData


class EchoReceivedData(TypedDict):
    reports: list[Any]


class Http(Rest):
    """The endpoints of HTTP. Each raises `RequestError`, and `NoAnswer` where none comes."""

    async def create_key(self, body: NewKey) -> MadeKey:
        """Makes a key; its secrets are shown here and never again.
        POST /api-key/create
        """
        answer: MadeKey = await self._send(
            OperationOf("POST", "/api-key/create", auth="bearer"),
            body,
        )
        return answer

    async def list_keys(self) -> Keys:
        """Lists one's own keys.
        GET /api-key/list
        """
        answer: Keys = await self._get(OperationOf("GET", "/api-key/list", auth="bearer"))
        return answer

    async def revoke_key(self, *, api_key_id: str | int) -> Nothing:
        """Removes a key of one's own.
        DELETE /api-key/{api_key_id}
        """
        answer: Nothing = await self._get(
            OperationOf("DELETE", "/api-key/{api_key_id}", auth="bearer"),
            path={"api_key_id": api_key_id},
        )
        return answer

    async def post_upload_by_folder(
        self,
        body: PostUploadByFolderBody,
        *,
        folder: str | int,
    ) -> PostUploadByFolderAnswer:
        """POST /files/{folder}"""
        answer: PostUploadByFolderAnswer = await self._send(
            OperationOf("POST", "/files/{folder}"),
            body,
            path={"folder": folder},
        )
        return answer

    async def post_notes_by_topic(
        self,
        body: PostNotesByTopicBody,
        *,
        topic: str | int,
        query: Query | None = None,
    ) -> Any:
        """POST /notes/{topic}"""
        answer: Any = await self._send(
            OperationOf("POST", "/notes/{topic}", enveloped=False),
            body,
            path={"topic": topic},
            query=query,
        )
        return answer

    async def notify(self, body: list[Notice] | Notice) -> Answer:
        """Publishes for users, channels and clients.
        POST /notify
        """
        answer: Answer = await self._send(OperationOf("POST", "/notify", auth="api_key"), body)
        return answer

    async def delete_user(self, body: Password) -> Nothing:
        """Removes oneself.
        DELETE /user
        """
        answer: Nothing = await self._send(OperationOf("DELETE", "/user", auth="bearer"), body)
        return answer

    async def login(self, body: Access | None = None) -> Login:
        """Logs a user in.
        POST /user/login
        """
        answer: Login = await self._send(OperationOf("POST", "/user/login"), body)
        return answer

    async def logout(self) -> Nothing:
        """Ends the token that is shown.
        POST /user/logout
        """
        answer: Nothing = await self._get(OperationOf("POST", "/user/logout", auth="bearer"))
        return answer

    async def me(self) -> User:
        """Says who one is.
        GET /user/me
        """
        answer: User = await self._get(OperationOf("GET", "/user/me", auth="bearer"))
        return answer

    async def change_password(self, body: NewPassword) -> Login:
        """Gives oneself another password.
        PUT /user/password
        """
        answer: Login = await self._send(OperationOf("PUT", "/user/password", auth="bearer"), body)
        return answer

    async def refresh(self) -> Login:
        """Gives a new token for one that is good.
        POST /user/refresh-token
        """
        answer: Login = await self._get(OperationOf("POST", "/user/refresh-token", auth="bearer"))
        return answer

    async def register(self, body: Access | None = None) -> Login:
        """Adds a user.
        POST /user/register
        """
        answer: Login = await self._send(OperationOf("POST", "/user/register"), body)
        return answer

    async def get_sum(
        self,
        *,
        numbers: list[int] | None = None,
        start: int | None = None,
    ) -> GetSumAnswer:
        """Adds numbers.
        GET /walker/Sum
        """
        answer: GetSumAnswer = await self._get(
            OperationOf("GET", "/walker/Sum"),
            query={"numbers": numbers, "start": start},
        )
        return answer

    async def post_sum(self, body: Sum | None = None) -> PostSumAnswer:
        """Adds numbers.
        POST /walker/Sum
        """
        answer: PostSumAnswer = await self._send(OperationOf("POST", "/walker/Sum"), body)
        return answer

    async def get_sum_by_node_id(
        self,
        *,
        node_id: str | int,
        numbers: list[int] | None = None,
        start: int | None = None,
    ) -> GetSumByNodeIdAnswer:
        """Adds numbers.
        GET /walker/Sum/{node_id}
        """
        answer: GetSumByNodeIdAnswer = await self._get(
            OperationOf("GET", "/walker/Sum/{node_id}"),
            path={"node_id": node_id},
            query={"numbers": numbers, "start": start},
        )
        return answer

    async def post_sum_by_node_id(
        self,
        body: Sum | None = None,
        *,
        node_id: str | int,
    ) -> PostSumByNodeIdAnswer:
        """Adds numbers.
        POST /walker/Sum/{node_id}
        """
        answer: PostSumByNodeIdAnswer = await self._send(
            OperationOf("POST", "/walker/Sum/{node_id}"),
            body,
            path={"node_id": node_id},
        )
        return answer


class Calls:
    """What the server has by name."""

    def __init__(self, events: EventSocket) -> None:
        self._events = events

    async def sum(self, context: Sum | None = None) -> list[Any]:
        """Adds numbers."""
        return await self._events.call_by_name("Sum", context)

    async def class_(self, context: dict[str, Any] | None = None) -> list[list[str]]:
        """Calls class."""
        return await self._events.call_by_name("class", context)

    async def delete_all(self, context: dict[str, Any] | None = None) -> list[Any]:
        """Calls delete-all."""
        return await self._events.call_by_name("delete-all", context)

    async def rename(self, context: Rename) -> list[Renamed]:
        """Gives something another name."""
        return await self._events.call_by_name("rename", context)


class Events(EventSocket):
    """One connection for everything."""

    @property
    def call(self) -> Calls:
        """What the server has by name."""
        return Calls(self)


class Client(TypedClient):
    """A client of the application."""

    @property
    def rest(self) -> Http:
        """The endpoints of HTTP."""
        return Http(self)

    def events(self) -> Events:
        """The event socket; open it with `async with`."""
        return Events(self, "/websocket")

    def board(self, *, query: Query | None = None) -> Connection[Draw | Wipe, Draw | Wipe]:
        """Everything twice.
        WebSocket /board
        """
        return Connection(self, EndpointOf("/board"), query=query)

    def chat(
        self,
        *,
        room: str | int,
        loud: bool | None = None,
    ) -> AnsweringConnection[Said, Heard]:
        """Says something in a room.
        WebSocket /chat/{room}
        """
        return AnsweringConnection(
            self,
            EndpointOf("/chat/{room}"),
            path={"room": room},
            query={"loud": loud},
        )

    def folders(self, *, query: Query | None = None) -> Connection[Folder, Folder | None]:
        """WebSocket /folders"""
        return Connection(self, EndpointOf("/folders"), query=query)

    def raw(
        self,
        *,
        query: Query | None = None,
    ) -> AnsweringConnection[str | bytes, str | bytes]:
        """WebSocket /raw"""
        return AnsweringConnection(self, EndpointOf("/raw", json=False), query=query)

    def secret(
        self,
        *,
        query: Query | None = None,
    ) -> AnsweringConnection[dict[str, int], dict[str, str]]:
        """WebSocket /secret"""
        return AnsweringConnection(self, EndpointOf("/secret", bearer=True), query=query)

    def echo(self, *, query: Query | None = None) -> AnsweringConnection[Echo, EchoReceived]:
        """Says what it hears.
        WebSocket /ws/Echo
        """
        return AnsweringConnection(
            self,
            EndpointOf("/ws/Echo", errors="walker", bearer=True),
            query=query,
        )

    def upper_case(self, *, query: Query | None = None) -> Connection[str, str | bytes]:
        """WebSocket /ws/upper"""
        return Connection(self, EndpointOf("/ws/upper", json=False), query=query)
