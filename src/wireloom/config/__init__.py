"""Every option: declared once, read from several sources."""

from wireloom.config.declared import LOCAL_HOSTS, Config, Limits, Option, grouped_options, guard_hosts, options
from wireloom.config.sources import choose_options, load_config

__all__ = [
    "LOCAL_HOSTS",
    "Config",
    "Limits",
    "Option",
    "choose_options",
    "grouped_options",
    "guard_hosts",
    "load_config",
    "options",
]
