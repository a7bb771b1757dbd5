"""The pytest plugin is found because the package is installed: nothing is imported."""

import pytest

pytest_plugins = ("pytester",)

TESTS = """
    import pytest
    from wireloom import App

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    def anyio_backend():
        return "asyncio"

    async def test_echo(wireloom_server):
        app = App()

        @app.websocket("/")
        async def echo(message: str) -> str:
            return message

        async with wireloom_server(app, timeout=3) as server:
            assert server.timeout == 3
            async with server.websocket("/") as ws:
                await ws.send_text("hello")
                assert await ws.receive_text() == "hello"
            assert (await server.http.get("/")).status_code == 426

    def test_the_names_are_no_tests(wireloom_server):
        assert wireloom_server.__name__ == "TestServer"

    from wireloom.testing import TestServer, TestWebSocket
"""


def test_the_fixture_is_there_without_an_import(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess("-q", "-W", "error", timeout=30)
    result.assert_outcomes(passed=2)
