"""consumer config: which settings are in force, and how editors know them."""

import typer

from consumer.commands.frame import AsJson, SettingsFile, console, ending, open_settings, write_line

app = typer.Typer(name="config", help="Settings: what is in force, and their JSON Schema.", no_args_is_help=True)


@app.command()
def show(*, as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Every key with its value in force and where it comes from: environment, secret file, file or default.

    Passwords, keys and tokens are shown as ***.

    Exit codes: 0 done, 2 settings that cannot be used, with all their problems.

    Example: consumer config show --json | jq '.[] | select(.origin != "default")'
    """
    with ending():
        open_settings(settings)
        from consumer.origins import effective_settings

        found = list(effective_settings(settings))
        if as_json:
            write_line(found)
            return
        wide = max(len(one.key) for one in found)
        for one in found:
            line = f"{one.key:{wide}}  {one.text}  ({one.origin})"
            style = "dim" if one.origin == "default" else None
            console.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


@app.command()
def schema() -> None:
    """Print the JSON Schema of the settings file, with the meaning of each key.

    Editors with a YAML language server complete and check settings.yaml by it when its first line is:
    # yaml-language-server: $schema=settings.schema.json

    Exit codes: 0 done.

    Example: consumer config schema > settings.schema.json
    """
    from consumer.settings_schema import FILE

    with ending():
        typer.echo(FILE.read_text(encoding="utf-8"), nl=False)
