"""consumer publish: jobs from a prefix, a folder or stdin onto the jobs topic."""

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from consumer.commands.frame import (
    INTERRUPTED,
    AsJson,
    SettingsFile,
    console,
    ending,
    errors,
    open_settings,
    write_line,
)
from consumer.errors import CheckFailed, ConsumerError, SettingsError

if TYPE_CHECKING:
    from consumer.publishing.drafts import Draft, Lines, Template
    from consumer.publishing.following import Awaited
    from consumer.publishing.picking import FolderImages, PrefixImages, Selection
    from consumer.publishing.report import PublicationReport
    from consumer.publishing.stopping import Stopping
    from consumer.settings import Settings

    Supply = FolderImages | PrefixImages | Lines

PATIENCE = 120.0
# That of consumer.publishing.drafts, which help need not import.
KeyChoice = Literal["none", "image", "folder", "job-id"]


def publish(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="s3://bucket/prefix: a job for each image below it. A folder: its images are uploaded first, see "
            "--to. -: stdin, on each line an s3://bucket/key or a job in JSON.",
        ),
    ],
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="S3-URI", help="Where a folder's images are uploaded: s3://bucket/prefix."),
    ] = None,
    match: Annotated[
        list[str] | None,
        typer.Option(
            metavar="GLOB",
            help="Images by their names behind the prefix or folder; * is anything, / too. May be given more than "
            "once. [default: names that end as images do, such as .jpg]",
        ),
    ] = None,
    start_after: Annotated[
        str, typer.Option(metavar="KEY", help="Go on behind this key of a prefix, to resume what was interrupted.")
    ] = "",
    key: Annotated[
        KeyChoice,
        typer.Option(help="The record's key: jobs of one key stay in order, those without are spread."),
    ] = "none",
    parameters: Annotated[
        str | None, typer.Option(metavar="JSON", help='For every job that has none, such as {"confidence": 0.4}.')
    ] = None,
    metadata: Annotated[
        str | None, typer.Option(metavar="JSON", help="For every job that has none; it comes back with the outcome.")
    ] = None,
    rate: Annotated[float | None, typer.Option(metavar="N", min=0.001, help="At most so many jobs per second.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="The first N jobs alone.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the jobs; nothing is sent or uploaded, no broker is asked.")
    ] = False,
    wait: Annotated[
        bool,
        typer.Option("--wait", help="Wait for the outcomes of these jobs; a dead letter among them is exit code 1."),
    ] = False,
    timeout: Annotated[
        float, typer.Option(metavar="S", min=0.0, help="With --wait: give up when no outcome has come for S seconds.")
    ] = PATIENCE,
    as_json: AsJson = False,
    settings: SettingsFile = None,
) -> None:
    """Publish jobs, each one acknowledged by the broker or named as not sent.

    Jobs that were not sent are kept in a file, whose name is printed; send them with: consumer publish - < FILE

    Exit codes: 0 all were sent (and with --wait all have results), 1 some were not, or a dead letter or a missing
    outcome with --wait, or there was nothing to send, 2 arguments, settings, topics, buckets or credentials, 3 broker
    or store not reachable, 130 Ctrl-C, SIGTERM or SIGHUP.

    Example: consumer publish s3://parts/line-3/ --key folder --wait

    Example: consumer publish ./photos --to s3://parts/line-3/ --rate 50

    Example: grep NOK recheck.csv | cut -d, -f2 | consumer publish - --metadata '{"recheck": true}'
    """
    from consumer.publishing.drafts import Template
    from consumer.publishing.picking import Selection
    from consumer.publishing.publication import open_publication
    from consumer.publishing.report import PublicationReport
    from consumer.publishing.stopping import Stopping

    with ending():
        loaded = open_settings(settings, inspects=False)
        template = Template(parameters=parameters, metadata=metadata)
        selection = Selection(tuple(match or ()), warn=_warn)
        with _supply(source, loaded, to=to, start_after=start_after, template=template, selection=selection) as supply:
            drafts = _noticed(_some(supply, selection, limit), loaded)
            if dry_run:
                _show(drafts, key, loaded, as_json=as_json)
                return
            total = supply.total if limit is None or supply.total is None else min(limit, supply.total)
            stopping = Stopping()
            outcomes: Awaited | None = None
            failure: Exception | None = None  # raised once it is told what was done
            with (
                open_publication(loaded, key=key, rate=rate, follows=wait, stopping=stopping) as publication,
                stopping.signals(),
            ):
                _upload(supply, loaded, stopping, limit=limit)
                try:
                    with _progress("publishing", total) as show:
                        publication.run(drafts, tell=lambda: show(publication.acknowledged))
                    with _progress("waiting for outcomes", publication.acknowledged) as show:
                        outcomes = publication.wait(timeout, tell=lambda: show(publication.settled))
                except (ConsumerError, OSError) as error:
                    failure = error
                # Told while signals are still held off: whoever presses Ctrl-C once more learns of the file as well.
                report = PublicationReport(loaded.topics.jobs, publication, selection.skipped, outcomes)
                _tell(report, failure, is_interrupted=stopping.is_set(), as_json=as_json)
                if problems := report.problems(timeout):
                    raise CheckFailed("; ".join(problems))


@contextlib.contextmanager
def _supply(
    source: str,
    settings: "Settings",
    *,
    to: str | None,
    start_after: str,
    template: "Template",
    selection: "Selection",
) -> "Iterator[Supply]":
    from consumer.images.access import S3Access
    from consumer.publishing.drafts import Lines
    from consumer.publishing.picking import FolderImages, PrefixImages, location, unicode_text

    is_prefix, is_stdin = source.startswith("s3:"), source == "-"
    if to is not None and (is_prefix or is_stdin):
        raise SettingsError(f"--to: images are uploaded from a folder alone, not from {source}")
    if start_after and not is_prefix:
        raise SettingsError("--start-after: a prefix alone can be gone on with")
    unicode_text(start_after, "--start-after")
    if is_stdin:
        if sys.stdin is None:
            raise SettingsError("-: stdin is closed")
        with Lines(sys.stdin.buffer, template) as lines:
            yield lines
    elif is_prefix:
        where = location(source, "SOURCE")
        yield PrefixImages(S3Access(settings.s3), where, selection, template, start_after=start_after)
    elif to is None:
        raise SettingsError(f"{source} is taken for a folder: --to s3://bucket/prefix says where it is uploaded")
    else:
        yield FolderImages(Path(source), location(to, "--to"), selection, template)


def _some(supply: "Supply", selection: "Selection", limit: int | None) -> "Iterator[Draft]":
    """The drafts, once it is known that there is one."""
    drafts = iter(supply)
    first = next(drafts, None)
    if first is None:
        skipped = ", ".join(f"{why} {count:,}" for why, count in selection.skipped.items())
        raise CheckFailed(f"{supply.name}: nothing to publish" + (f" (skipped: {skipped})" if skipped else ""))
    return itertools.islice(itertools.chain([first], drafts), limit)


def _noticed(drafts: "Iterable[Draft]", settings: "Settings") -> "Iterator[Draft]":
    """Warn of each bucket that these settings' consumers may not read."""
    refused: set[str] = set()
    for draft in drafts:
        bucket = draft.image.bucket
        if bucket not in refused and not settings.images.allows(bucket):
            refused.add(bucket)
            _warn(f"bucket {bucket} is not in images.allowed_buckets: its jobs become dead letters")
        yield draft


def _show(drafts: "Iterable[Draft]", key: KeyChoice, settings: "Settings", *, as_json: bool) -> None:
    """Print what would be sent: lines that `publish -` takes, or with --json the records."""
    from msgspec import Raw

    count = 0
    for draft in drafts:
        count += 1
        record_key = draft.key(key)
        named = None if record_key is None else record_key.decode()
        write_line({"key": named, "value": Raw(draft.value)} if as_json else Raw(draft.value))
    errors.print(
        f"{count:,} job{'' if count == 1 else 's'} would be sent to {settings.topics.jobs}; nothing was",
        highlight=False,
    )


@contextlib.contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, with the time that is left where the end is known; nothing elsewhere."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    ends = () if total is None else (TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *ends, console=errors, transient=True, disable=not errors.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _upload(supply: "Supply", settings: "Settings", stopping: "Stopping", *, limit: int | None) -> None:
    from consumer.images.access import S3Access
    from consumer.publishing.picking import FolderImages

    if not isinstance(supply, FolderImages):
        return
    new = done = 0
    try:
        with _progress("uploading", supply.total if limit is None else min(limit, supply.total)) as show:
            for image in stopping.draw(supply.upload(S3Access(settings.s3), limit=limit)):
                new += image.is_new
                done += 1
                show(done)
    except ConsumerError:
        _say(f"{done:,} images are uploaded, no job is published; what is there is not uploaded again")
        raise
    if stopping.is_set():
        _say(f"interrupted; {done:,} images are uploaded, no job is published; what is there is not uploaded again")
        raise typer.Exit(INTERRUPTED)
    _say(f"uploaded {new:,} images; {done - new:,} were there already")


def _tell(report: "PublicationReport", failure: Exception | None, *, is_interrupted: bool, as_json: bool) -> None:
    """Say what was done; raises the failure, or ends, when that was not all."""
    try:
        if as_json:
            write_line(report.fields)
        else:
            console.print("\n".join(report.lines), markup=False, highlight=False, soft_wrap=True)
    except OSError as error:  # nobody reads; what was not sent is named all the same
        failure = failure or error
    if failure is not None:
        _say("; ".join(report.open_ends))
        raise failure
    if is_interrupted:
        _say("; ".join(["interrupted", *report.open_ends]))
        raise typer.Exit(INTERRUPTED)


def _say(text: str) -> None:
    errors.print(text, markup=False, highlight=False, soft_wrap=True)


def _warn(text: str) -> None:
    errors.print(f"warning: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True)
