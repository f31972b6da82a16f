"""``vlae-codec man``: the manual page, made of the help of all commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from inspect import cleandoc

import click

from vlae_codec import __version__

STATUS = (
    ("0", "Everything was done."),
    ("1", "Something failed: a line on stderr says what is wrong and what to do."),
    ("2", "The command was used wrongly."),
    ("3", "With --salvage: a part of a damaged file was brought back."),
    ("130", "An interrupt (Ctrl-C)."),
    ("141", "Nobody read standard output to its end."),
    ("143, 129", "SIGTERM or SIGHUP, after what was half-written was removed."),
)
ENVIRONMENT = (
    ("VLAE_CODEC_MODELS", "Folders and files with more models, separated as in PATH."),
    ("VLAE_CODEC_TARGET", "The instruction set of the core, such as avx2 or generic; it changes no byte."),
    ("VLAE_CODEC_DEBUG", "If set, a failure shows its traceback."),
)


@click.command()
@click.pass_context
def man(context: click.Context) -> None:
    """Print the manual page: vlae-codec man > vlae-codec.1, for a folder man1 of your MANPATH."""
    parent = context.parent
    assert parent is not None
    click.echo(page(parent))


def page(parent: click.Context) -> str:
    """The page of a group in the language of the macros man(7)."""
    group = parent.command
    assert isinstance(group, click.Group)
    lines = [
        f'.TH VLAE\\-CODEC 1 "" "vlae\\-codec {__version__}" "User Commands"',
        ".SH NAME",
        f"vlae\\-codec \\- {_text(_first(group.help)).rstrip('.')}",
        ".SH SYNOPSIS",
        ".B vlae\\-codec",
        ".I COMMAND",
        ".RI [ OPTION ]...\n.RI [ FILE ]...",
        ".SH DESCRIPTION",
        *_paragraphs(group.help),
        ".SH COMMANDS",
    ]
    for name in group.list_commands(parent):
        command = group.get_command(parent, name)
        assert command is not None
        lines += _command(click.Context(command, parent, name), command)
    for title, items in (("EXIT STATUS", STATUS), ("ENVIRONMENT", ENVIRONMENT)):
        lines.append(f".SH {title}")
        for term, text in items:
            lines += [".TP", f".B {_text(term)}", _text(text)]
    return "\n".join(lines)


def _command(context: click.Context, command: click.Command) -> Iterator[str]:
    """The section of a command."""
    yield f".SS {_text(str(context.info_name))}"
    yield f".B {_text(context.command_path)}"
    yield " ".join(_text(piece) for piece in command.collect_usage_pieces(context))
    yield from _paragraphs(command.help)
    for param in command.get_params(context):
        record = param.get_help_record(context)
        if isinstance(param, click.Option) and record is not None:
            yield ".TP"
            yield f".B {_text(record[0])}"
            yield _text(record[1])


def _paragraphs(text: str | None) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", cleandoc(text or "")):
        yield ".PP"
        if paragraph.startswith("\b"):  # click's mark of lines that stay as they are
            yield "\n".join([".nf", *map(_text, paragraph[1:].strip().splitlines()), ".fi"])
        else:
            yield _text(" ".join(paragraph.split()))


def _first(text: str | None) -> str:
    return " ".join((text or "").split("\n\n")[0].split())


def _text(text: str) -> str:
    """Text of which nothing is taken for a command or an escape."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in text)
    return "\\&" + text if text[:1] in (".", "'") else text
