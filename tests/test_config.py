"""Every option from every place, the precedence between places, and errors that say where and what instead."""

from __future__ import annotations

import types
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest

from wireloom import App, Config, ConfigError, Limits
from wireloom.config import Option, load_config, options

DEFAULTS = {
    "host": "127.0.0.1",
    "port": 8000,
    "workers": 1,
    "dev": False,
    "log_level": "info",
    "ssl_certfile": None,
    "ssl_keyfile": None,
    "forwarded_allow_ips": "127.0.0.1,::1",
    "allowed_hosts": (),
    "allowed_origins": (),
    "validation_details": False,
    "handshake_timeout_seconds": 10.0,
    "max_header_bytes": 16384,
    "max_connections": 100_000,
    "drain_timeout_seconds": 30.0,
    "max_message_bytes": 1024 * 1024,
    "max_fragments": 100_000,
    "inbound_queue": 64,
    "outbox_bytes": 1024 * 1024,
    "outbox_policy": "close",
    "ping_interval_seconds": 25.0,
    "ping_timeout_seconds": 8.0,
    "close_timeout_seconds": 10.0,
}

# Four values for each type that are no option's default: for the base, the file, the environment and the flag.
SAMPLES: dict[str, list[Any]] = {
    "int": [11, 12, 13, 14],
    "float": [1.5, 2.5, 3.5, 4.5],
    "str": ["first", "second", "third", "fourth"],
    "tuple": [("https://a",), ("https://b", "https://*.b"), ("https://c", "null"), ("*",)],
    "addresses": [("10.0.0.1",), ("10.0.0.0/8", "fd00::/8"), ("::1", "10.0.0.2"), ("*",)],
    "hosts": [("example.com",), ("*.example.com", "10.0.0.0/8"), ("[::1]", "::1", "local_host."), ("*",)],
}


def kind_of(option: Option) -> str:
    wanted = option.type
    if get_origin(wanted) in (types.UnionType, Union):
        wanted = next(arm for arm in get_args(wanted) if arm is not type(None))
    if get_origin(wanted) is Literal:
        return "choice"
    if option.texts != "any":
        return option.texts
    return "tuple" if get_origin(wanted) is tuple else wanted.__name__


def samples(option: Option) -> list[Any]:
    kind = kind_of(option)
    if kind == "bool":
        return [True, False, True, False]
    if kind == "choice":
        choices = [choice for choice in get_args(option.type) if choice != option.default]
        return [choices[number % len(choices)] for number in range(4)]
    if option.within is not None:
        least, most = option.within
        return [least, most or 1_000_000_000, least + 1, (most or 1_000_000) - 1]
    return SAMPLES[kind]


def as_toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return f'"{value}"' if isinstance(value, str) else str(value)


def as_text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def value_of(config: Config, option: Option) -> Any:
    return getattr(config.limits if option.of_limits else config, option.name)


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


ALL = pytest.mark.parametrize("option", list(options()), ids=lambda option: option.name)


# -- the declarations ------------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_specification() -> None:
    assert {option.name: option.default for option in options()}.items() >= DEFAULTS.items()
    loaded = load_config(environ={})
    assert loaded == Config()
    for option in options():
        assert value_of(loaded, option) == option.default


def test_every_field_is_an_option_with_help_and_a_name_of_its_own() -> None:
    declared = [option.name for option in options()]
    assert len(set(declared)) == len(declared)
    in_classes = {field.name for owner in (Config, Limits) for field in fields(owner)} - {"limits"}
    assert set(declared) == in_classes
    for option in options():
        assert option.help
        assert option.flag == "--" + option.name.replace("_", "-")
        assert option.variable == "WIRELOOM_" + option.name.upper()
        if kind_of(option) in ("int", "float") and option.name != "port":
            assert option.unit, option.name


# -- precedence ------------------------------------------------------------------------------------------------------


@ALL
def test_flag_over_environment_over_file_over_base_over_default(option: Option, tmp_path: Path) -> None:
    in_base, in_file, in_environment, in_flag = samples(option)
    environ = {option.variable: as_text(in_environment), "PATH": "/bin", "OTHER_PORT": "x"}
    file = tmp_path / "wireloom.toml"
    base = App(**{option.name: in_base}).config
    others = [other for other in options() if other.name != option.name]

    def check(config: Config, expected: Any) -> None:
        found = value_of(config, option)
        assert found == expected
        assert type(found) is type(expected)
        assert all(value_of(config, other) == other.default for other in others)

    check(base, in_base)
    check(load_config(environ={}, base=base), in_base)
    file.write_text(f"# comment\n{option.name} = {as_toml(in_file)}\n")
    check(load_config(environ={}), in_file)
    check(load_config(environ={}, base=base), in_file)
    check(load_config(environ=environ, base=base), in_environment)
    check(load_config({option.name: in_flag}, environ=environ, base=base), in_flag)
    check(load_config({option.name: as_text(in_flag)}, environ=environ, base=base), in_flag)
    check(load_config({option.name: None}, environ=environ, base=base), in_environment)


def test_the_process_environment_is_the_default_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WIRELOOM_PORT", "4321")
    assert load_config().port == 4321
    assert load_config(environ={}).port == 8000


def test_a_named_file_is_read_instead_of_the_one_here(tmp_path: Path) -> None:
    (tmp_path / "wireloom.toml").write_text("port = 1111")
    (tmp_path / "other.toml").write_text("port = 2222")
    assert load_config(environ={}).port == 1111
    assert load_config(environ={}, file=tmp_path / "other.toml").port == 2222
    assert load_config(environ={}, file="other.toml").port == 2222


# -- spellings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        *(("DEV", text, True) for text in ("1", "true", "True", "YES", "on")),
        *(("DEV", text, False) for text in ("0", "false", "FALSE", "no", "Off")),
        ("PORT", "0", 0),
        ("PORT", " 80 ", 80),
        ("DRAIN_TIMEOUT_SECONDS", "2", 2.0),
        ("DRAIN_TIMEOUT_SECONDS", "1e1", 10.0),
        ("ALLOWED_ORIGINS", "", ()),
        ("ALLOWED_ORIGINS", "https://a, https://b https://c", ("https://a", "https://b", "https://c")),
        ("SSL_CERTFILE", "/etc/cert.pem", "/etc/cert.pem"),
    ],
)
def test_spellings_in_the_environment(variable: str, text: str, value: Any) -> None:
    config = load_config(environ={f"WIRELOOM_{variable}": text})
    found = getattr(config, variable.lower())
    assert found == value
    assert type(found) is type(value)


# -- mistakes --------------------------------------------------------------------------------------------------------

BAD: dict[str, list[str]] = {
    "int": ["abc", "", "1.5", "-1", "1e3", "nan", "inf"],
    "float": ["abc", "", "-0.5", "nan", "-inf"],
    "bool": ["maybe", "", "2"],
    "choice": ["", "loud", "CLOSE!"],
    "str": [],
    "tuple": [],
    "addresses": ["prometheus", "10.0.0.0/99", "10.0.0.1, 300.1.1.1"],
    "hosts": ["example.com:8000", "http://example.com", "a,*b.com", "*.", "10.0.0.0/99", "exämple.com", "/"],
}


@ALL
def test_bad_text_in_the_environment_names_the_variable(option: Option) -> None:
    for text in BAD[kind_of(option)]:
        with pytest.raises(ConfigError) as caught:
            load_config(environ={option.variable: text})
        assert str(caught.value).startswith(f"{option.variable}: {option.name} must be ")
        assert repr(text) in str(caught.value)


@ALL
def test_bad_text_in_a_flag_names_the_flag(option: Option) -> None:
    for text in BAD[kind_of(option)]:
        with pytest.raises(ConfigError) as caught:
            load_config({option.name: text}, environ={})
        assert str(caught.value).startswith(f"{option.flag}: {option.name} must be ")


BAD_TOML: dict[str, list[str]] = {
    "int": ['"abc"', "1.5", "-1", "[1]", "{}", "2020-01-01", "nan"],
    "float": ['"abc"', "-0.5", "[1.0]", "nan"],
    "bool": ['"maybe"', "2", "[true]", "1.5"],
    "choice": ['"loud"', "1", '["close"]', "true"],
    "str": ["1", "true", '["a"]', "1.5"],
    "tuple": [],
    "addresses": ['"prometheus"', '["10.0.0.1", "10.1.2"]', "[1]", "5"],
    "hosts": ['"example.com:80"', '["example.com", "https://*.example.com"]', "[1]", "5"],
}


@ALL
def test_a_bad_value_in_the_file_names_file_and_line(option: Option, tmp_path: Path) -> None:
    file = tmp_path / "wireloom.toml"
    for value in BAD_TOML[kind_of(option)]:
        file.write_text(f"# a comment\n\n{option.name} = {value}\n")
        with pytest.raises(ConfigError) as caught:
            load_config(environ={})
        assert str(caught.value).startswith(f"wireloom.toml:3: {option.name} must be "), value


def file_refuses(kind: str, *values: str) -> None:
    """Every option of a kind refuses these values with its place, and with no error but a ConfigError."""
    for option in options():
        if kind_of(option) == kind:
            for value in values:
                Path("wireloom.toml").write_text(f"{option.name} = {value}\n")
                with pytest.raises(ConfigError) as caught:
                    load_config(environ={})
                assert str(caught.value).startswith(f"wireloom.toml:1: {option.name} must be "), value


def test_infinity_is_no_whole_number() -> None:
    file_refuses("int", "inf", "-inf", "1e400")


def test_infinity_is_no_time() -> None:
    file_refuses("float", "inf")


def test_true_is_no_number_in_a_file() -> None:
    file_refuses("int", "true", "false")
    file_refuses("float", "true")


def test_a_number_is_no_list() -> None:
    file_refuses("tuple", "5", "true", "1.5")


def test_a_list_of_numbers_is_no_list_of_text() -> None:
    file_refuses("tuple", "[1, 2]")


def test_an_unknown_key_names_the_nearest_one_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "wireloom.toml").write_text('host = "::"\nprot = 80\n')
    with pytest.raises(ConfigError) as caught:
        load_config(environ={})
    assert str(caught.value) == "wireloom.toml:2: unknown option 'prot'; did you mean 'port'?"
    assert caught.value.source == "wireloom.toml:2"
    (tmp_path / "other.toml").write_text("\n\n\nfoo = 1")
    with pytest.raises(ConfigError) as caught:
        load_config(environ={}, file="other.toml")
    assert str(caught.value) == "other.toml:4: unknown option 'foo'"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("ping_timeout_seconds = 8\nping_timeout = 3", 2),  # a known key that begins with the unknown one
        ("\t\tfoo = 1", 1),
        ('"foo" = 1', 1),
        ("# foo = 1\nfoo = 2", 2),
        ("port = 1\n[foo]\nbar = 1", 2),
        ("port = 1\nfoo.bar = 1", 2),
    ],
)
def test_the_line_is_that_of_the_key(tmp_path: Path, text: str, line: int) -> None:
    (tmp_path / "wireloom.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(environ={})
    assert caught.value.source == f"wireloom.toml:{line}"


def test_an_unknown_variable_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(environ={"WIRELOOM_PROT": "80"})
    assert str(caught.value) == "WIRELOOM_PROT: unknown option; did you mean 'WIRELOOM_PORT'?"
    with pytest.raises(ConfigError) as caught:
        load_config(environ={"WIRELOOM_": "80"})
    assert "unknown option" in str(caught.value)
    assert load_config(environ={"WIRELOOMS_PROT": "80", "wireloom_port": "1"}) == Config()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^missing\.toml: cannot read the configuration: No such file"):
        load_config(environ={}, file="missing.toml")
    (tmp_path / "folder.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot read the configuration"):
        load_config(environ={}, file="folder.toml")
    (tmp_path / "broken.toml").write_text("port = \n")
    with pytest.raises(ConfigError, match=r"^broken\.toml:1:8: not valid TOML: Invalid value$"):
        load_config(environ={}, file="broken.toml")
    (tmp_path / "latin.toml").write_bytes(b'host = "\xfc"')
    with pytest.raises(ConfigError, match=r"^latin\.toml: not valid TOML"):
        load_config(environ={}, file="latin.toml")
    (tmp_path / "twice.toml").write_text("port = 1\nport = 2")
    with pytest.raises(ConfigError, match=r"^twice\.toml(:2:\d+)?: not valid TOML"):
        load_config(environ={}, file="twice.toml")


# -- the application -------------------------------------------------------------------------------------------------


def test_an_app_takes_every_option_by_name() -> None:
    for option in options():
        chosen = samples(option)[2]
        assert value_of(App(**{option.name: chosen}).config, option) == chosen
    config = App(port=1, inbound_queue=2).config
    assert (config.port, config.limits.inbound_queue) == (1, 2)
    assert App().config == Config()


def test_an_app_refuses_an_unknown_option_and_names_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        App(max_conections=5)
    assert str(caught.value) == "App has no option 'max_conections'; did you mean 'max_connections'?"
    with pytest.raises(ConfigError, match=r"^App has no option 'xyz'$"):
        App(xyz=5)
    with pytest.raises(ConfigError, match="no option 'limits'"):
        App(limits=Limits())


def test_an_app_refuses_a_value_of_the_wrong_type() -> None:
    wrong: Any = {"int": "many", "float": "long", "bool": "maybe", "choice": "loud", "str": 5, "tuple": 5}
    wrong |= {"addresses": ["10.1.2"], "hosts": ["example.com:80"]}
    for option in options():
        with pytest.raises(ConfigError, match=option.name):
            App(**{option.name: wrong[kind_of(option)]})


def test_options_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Config().port = 1  # type: ignore[misc]
    with pytest.raises(AttributeError):
        Limits().inbound_queue = 1  # type: ignore[misc]
