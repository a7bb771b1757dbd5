"""What mypy must refuse: under --strict it tells of an ignore that nothing needs."""

from __future__ import annotations

from client import Client


async def misuse(client: Client) -> None:
    client.chat()  # type: ignore[call-arg]
    client.chat(room="r", loud="very")  # type: ignore[arg-type]
    client.chat(room="r", quiet=True)  # type: ignore[call-arg]
    async with client.chat(room="r") as chat, client.board() as board, client.folders() as folders:
        await chat.send({"mood": "calm"})  # type: ignore[typeddict-item]
        await chat.send({"text": "t", "mood": "sad"})  # type: ignore[typeddict-item]
        await chat.send({"text": "t", "colour": "red"})  # type: ignore[typeddict-unknown-key]
        async for message in chat:
            message["colour"]  # type: ignore[typeddict-item]
        await board.request({"type": "wipe", "confirm": True})  # type: ignore[attr-defined]
        await board.send({"type": "wipe", "confirm": False})  # type: ignore[typeddict-item]
        await folders.send({"name": "a", "folders": [{"name": 1}]})  # type: ignore[typeddict-item]
    async with client.events() as events:
        await events.call.remove({})  # type: ignore[attr-defined]
        await events.call.rename({"old": "a"})  # type: ignore[typeddict-item]
        [renamed] = await events.call.rename({"old": "a", "new": "b"})
        number: int = renamed["name"]  # type: ignore[assignment]
        print(number)
    await client.rest.post_sum({"numbers": ["1"]})  # type: ignore[arg-type]
