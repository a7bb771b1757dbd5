"""Tasks of a team: lists that people share, and everybody who may see one sees its changes at once.

All that can be done is a walker, written once: the page runs it over the event socket, curl runs it over REST. A list
is a node of whoever made it; its tasks are nodes that it leads to. Who else may read or change them is the graph's to
know, by `grant`, so no walker asks about rights.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

from msgspec import Meta, field
from msgspec.structs import asdict

from wireloom import App, Connection, Node, RequestError, Root, Walker, entry, notify

app = App()

DOORS = ["websocket", "post"]  # the event socket, and POST /walker/NAME/LIST
MAX_LISTS, MAX_TASKS = 50, 200

Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"\S")]


class Person(TypedDict):
    """Somebody who sees a list."""

    name: str
    level: Literal["own", "write", "read"]


class Task(Node):
    text: str
    done: bool = False
    by: str  # who changed it last
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class TaskList(Node):
    title: str
    people: dict[str, Person]  # by the ids of their roots; the owner is one of them
    revision: int = 1  # counts changes: of two pictures of a list the one with the greater number is newer
    edition: int = 1  # counts those who were shut out

    @property
    def channel(self) -> str:
        """Where its changes are told. Another one once somebody is shut out, whoever still listens to the old one."""
        return f"list:{self.id}:{self.edition}"


async def picture(here: TaskList) -> dict[str, Any]:
    """All that there is to see of a list."""
    tasks = [{"id": task.id, **asdict(task)} for task in await here.nodes(Task)]
    return {"id": here.id, "channel": here.channel, **asdict(here), "tasks": tasks}


# -- lists -------------------------------------------------------------------------------------------------------------


@app.walker(methods=["websocket", "get"])
class Lists(Walker):
    """One's own lists, and those that others share."""

    @entry(Root)
    async def show(self, here: Root) -> None:
        for each in [*await here.nodes(TaskList), *await here.granted(TaskList)]:
            self.report(await picture(each))


@app.walker(methods=DOORS)
class MakeList(Walker):
    title: Text

    @entry(Root)
    async def make(self, here: Root) -> None:
        if len(await here.nodes(TaskList, limit=MAX_LISTS)) == MAX_LISTS:
            raise RequestError("FULL", f"{MAX_LISTS} lists are enough")
        me = Person(name=self.request.user.username, level="own")
        made = here.connect(TaskList(title=self.title, people={here.id: me}))
        self.report(await picture(made))
        self.on_commit(lambda: notify.users([here], ["lists"]))  # one's other windows


class Change(Walker):
    """What all changes of a list have in common: whoever looks at it is shown what it has become."""

    async def tell(self, here: TaskList, did: str) -> None:
        here.revision += 1
        now = {**await picture(here), "by": self.request.user.username, "did": did}
        self.report(now)
        self.on_commit(lambda: notify.channels([now["channel"]], ["list", now]))


@app.walker(methods=DOORS)
class RenameList(Change):
    title: Text

    @entry(TaskList)
    async def rename(self, here: TaskList) -> None:
        here.title = self.title
        await self.tell(here, f"named the list “{self.title}”")


@app.walker(methods=DOORS)
class DeleteList(Walker):
    @entry(TaskList)
    async def delete(self, here: TaskList) -> None:
        for task in await here.nodes(Task):
            task.delete()
        here.delete()
        everyone = list(here.people)
        self.on_commit(lambda: notify.users(everyone, ["lists"]))


# -- sharing -----------------------------------------------------------------------------------------------------------


@app.walker(methods=DOORS)
class Share(Change):
    name: Text
    level: Literal["read", "write"] = "read"

    @entry(TaskList)
    async def share(self, here: TaskList) -> None:
        user = await self.find_user(self.name.strip())
        if user is None:
            raise RequestError("NO_SUCH_USER", f"Nobody here is called “{self.name}”")
        if user.root_id == self.root.id:
            raise RequestError("YOURSELF", "You see this list already")
        here.grant(user, self.level, deep=True)  # deep: with its tasks
        here.people[user.root_id] = Person(name=user.username, level=self.level)
        await self.tell(here, f"shared the list with {user.username}")
        self.on_commit(lambda: notify.users([user], ["lists"]))


@app.walker(methods=DOORS)
class Unshare(Change):
    name: Text

    @entry(TaskList)
    async def unshare(self, here: TaskList) -> None:
        everyone = list(here.people)
        for root_id, person in [*here.people.items()]:
            if person["name"] == self.name and person["level"] != "own":
                here.revoke(root_id)
                del here.people[root_id]
                here.edition += 1
        await self.tell(here, f"no longer shares the list with {self.name}")
        self.on_commit(lambda: notify.users(everyone, ["lists"]))


# -- tasks -------------------------------------------------------------------------------------------------------------


@app.walker(methods=DOORS)
class AddTask(Change):
    text: Text

    @entry(TaskList)
    async def add(self, here: TaskList) -> None:
        if len(await here.nodes(Task, limit=MAX_TASKS)) == MAX_TASKS:
            raise RequestError("FULL", f"{MAX_TASKS} tasks are enough for a list")
        here.connect(Task(text=self.text, by=self.request.user.username))
        await self.tell(here, f"added “{self.text}”")


@app.walker(protocol="webhook")
class TaskFromElsewhere(AddTask):
    """The same for a CI or a form: a signed request, with the key of somebody who may change the list."""

    to: str  # the list's id

    @entry(Root)
    async def find(self, here: Root) -> None:
        lists = [*await here.nodes(TaskList), *await here.granted(TaskList)]
        found = [each for each in lists if each.id == self.to]
        if not found:
            raise RequestError("NOT_FOUND", "There is no such list, or it is not shared with you")
        self.visit(found)


async def find_task(here: TaskList, task_id: str) -> Task:
    """A task of a list. What was granted with a list is reached through it, so it is not looked up by its own id."""
    for task in await here.nodes(Task, where=lambda task: task.id == task_id, limit=1):
        return task
    raise RequestError("GONE", "Somebody has deleted this task meanwhile")


@app.walker(methods=DOORS)
class ChangeTask(Change):
    task: str
    text: Text | None = None
    done: bool | None = None

    @entry(TaskList)
    async def change(self, here: TaskList) -> None:
        task = await find_task(here, self.task)
        did = f"changed “{task.text}”"
        if self.text is not None:
            task.text, did = self.text, f"renamed “{task.text}” to “{self.text}”"
        if self.done is not None:
            task.done, did = self.done, f"{'ticked off' if self.done else 'reopened'} “{task.text}”"
        task.by, task.at = self.request.user.username, datetime.now(UTC)
        await self.tell(here, did)


@app.walker(methods=DOORS)
class DeleteTask(Change):
    task: str

    @entry(TaskList)
    async def delete(self, here: TaskList) -> None:
        task = await find_task(here, self.task)
        task.delete()
        await self.tell(here, f"deleted “{task.text}”")


# -- who hears what ----------------------------------------------------------------------------------------------------


async def allow(connection: Connection, kind: str, names: Sequence[str]) -> bool:
    """One may listen to lists that one may read, on the channels that they have now. All else is said by walkers."""
    if kind != "subscribe" or connection.user is None or app.graph is None:
        return False
    look = app.graph.begin(connection.root_id)
    try:
        lists = [await look.node(name.removeprefix("list:").rpartition(":")[0]) for name in names]
        return all(isinstance(here, TaskList) and here.channel == name for here, name in zip(lists, names, strict=True))
    except RequestError:  # there is no such list, as far as this user can see
        return False
    finally:
        await look.close()


app.events(allow=allow)
app.static("/", Path(__file__).parent / "public")
