"""What pip is told, in words of uv, which reads none of it."""

import ast

UV_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "trusted-host": "--allow-insecure-host",
}
UV_VARIABLES = {"cert": "SSL_CERT_FILE", "timeout": "UV_HTTP_TIMEOUT", "default-timeout": "UV_HTTP_TIMEOUT"}


def pip_settings(listed: str) -> dict[str, str]:
    """Return what pip is told, of what `pip config list` prints: files first, the environment above them."""
    found = [line.partition("=") for line in listed.splitlines() if "=" in line]
    sections = ("global", "install", ":env:")
    return {
        key.partition(".")[2]: str(ast.literal_eval(value))
        for section in sections
        for key, _, value in found
        if key.partition(".")[0] == section
    }


def in_words_of_uv(settings: dict[str, str]) -> tuple[list[str], dict[str, str]]:
    """Return the options and variables by which uv is told what pip is told."""
    options = [f"{option}={value}" for name, option in UV_OPTIONS.items() for value in settings.get(name, "").split()]
    if settings.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        options.append("--no-index")
    return options, {variable: settings[name] for name, variable in UV_VARIABLES.items() if name in settings}
